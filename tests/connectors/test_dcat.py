"""Foreign DCAT: every dataset and distribution of real files comes over, and ours comes back."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from yaosu_connectors import Record, Skipped, dcat, load, rdf
from yaosu_connectors.dcat_catalog import datasets, read
from yaosu_connectors.published import Published
from yaosu_schemas.errors import Malformed

DATA = Path(os.environ.get("YAOSU_TESTDATA", Path(__file__).parents[3] / "shared" / "data"))
AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def version(descriptor: dict[str, Any]) -> Published:
    return Published(
        dataset_id="dst_0198c0de00007000800000000000abcd", publisher="office",
        publisher_name="鹏城", name=descriptor["name"], descriptor=descriptor, created_at=AT,
        updated_at=AT, listed_at=AT, base="https://market.example",
    )  # fmt: skip


def test_real_files_lose_no_dataset_and_no_distribution() -> None:
    kept = DATA / "verdicts/dcat_shacl_shared.json"
    if not kept.exists():
        pytest.skip("no YAOSU_TESTDATA")
    cases = json.loads(kept.read_text("utf-8"))["cases"]
    judged = 0
    for name, verdict in cases.items():
        path = DATA / name
        if not verdict["parses"] or not path.exists() or path.suffix == ".jsonld":
            continue
        graph = read(path)
        found = list(datasets(graph))
        assert len(found) >= verdict["datasets"], name
        shares = sum(len(r.document.get("dcat:distributions", ())) for r in found)
        linked = {o for _, _, o in graph.triples((None, dcat_term("distribution"), None))}
        assert shares >= len(linked), name
        judged += 1
    assert judged >= 13


def dcat_term(name: str) -> Any:
    from rdflib.namespace import DCAT

    return DCAT[name]


def test_json_ld_of_the_specification_is_read_with_its_pinned_context() -> None:
    folder = DATA / "metadata/dcat-ap/releases/3.0.1/html/examples"
    if not folder.exists():
        pytest.skip("no YAOSU_TESTDATA")
    read_ = [r for p in sorted(folder.glob("example-*.jsonld")) for r in datasets(read(p))]
    assert len(read_) >= 5
    assert any(r.document.get("title") == "Bee population 2022" for r in read_)


def test_there_and_back_and_there_is_the_same(tmp_path: Path) -> None:
    example = files("yaosu_schemas") / "json" / "example-dataset.json"
    first = version(json.loads(example.read_text("utf-8")))
    for spelling in ("ttl", "rdf", "jsonld"):
        (tmp_path / f"a.{spelling}").write_text(
            "".join(rdf.write(dcat.dataset(first), spelling)), "utf-8"
        )
        whole = next(
            r for r in datasets(read(tmp_path / f"a.{spelling}"))
            if r.origin_id == dcat.iri_of(first)
        )  # fmt: skip
        again = version(dict(whole.document))
        (tmp_path / f"b.{spelling}").write_text(
            "".join(rdf.write(dcat.dataset(again), spelling)), "utf-8"
        )
        back = next(
            r for r in datasets(read(tmp_path / f"b.{spelling}"))
            if r.origin_id == dcat.iri_of(again)
        )  # fmt: skip
        assert back.document == whole.document
        assert whole.document["title"] == first.descriptor["title"]
        assert whole.document["keywords"] == sorted(first.descriptor["keywords"])
        assert [r["path"] for r in whole.document["resources"]] == sorted(
            r["path"] for r in first.resources
        )
        assert whole.notes == ()


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.jsonld", '{"@context": "http://169.254.169.254/context", "@id": "x"}'),
        ("a.jsonld", '{"@context": {"@import": "http://127.0.0.1/c"}, "@id": "x"}'),
        ("a.jsonld", '{"a": {"@context": ["file:///etc/passwd"], "b": 1}}'),
        ("a.jsonld", "<html></html>"),
        ("a.rdf", '<!DOCTYPE r [<!ENTITY a "b">]><r>&a;</r>'),
        ("a.rdf", "<html><p>no</html>"),
        ("a.ttl", "<a> <b> ."),
        ("a.ttl", "\x00\x01"),
    ],
)
def test_hostile_files_are_refused_and_nothing_is_fetched(
    tmp_path: Path, name: str, text: str
) -> None:
    (tmp_path / name).write_text(text, "utf-8")
    with pytest.raises(Malformed):
        read(tmp_path / name)
    (skipped,) = load("dcat").harvest(str(tmp_path))
    assert isinstance(skipped, Skipped)


def test_what_the_profile_demands_is_listed_and_the_dataset_kept(tmp_path: Path) -> None:
    (tmp_path / "a.ttl").write_text(
        "@prefix dcat: <http://www.w3.org/ns/dcat#> .\n"
        "<urn:x:1> a dcat:Dataset ; dcat:distribution <urn:x:2> .\n"
        "<urn:x:2> a dcat:Distribution .\n"
    )
    (one,) = load("dcat").harvest(str(tmp_path))
    assert isinstance(one, Record)
    assert {n.pointer for n in one.notes} == {"/title", "/description", "/accessURL"}
    assert len(one.document["dcat:distributions"]) == 1
