"""Foreign Croissant: every document that its own library loads comes over, the others do not."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

from yaosu_connectors import croissant
from yaosu_connectors.croissant_catalog import problems, record_of
from yaosu_connectors.published import Published
from yaosu_schemas.errors import InvalidDocument

DATA = Path(os.environ.get("YAOSU_TESTDATA", Path(__file__).parents[3] / "shared" / "data"))
AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
# What the upstream's message is about, and our code for it.
ABOUT = {
    "distribution_bad_contained_in": "reference",
    "distribution_bad_id": "id",
    "distribution_bad_type": "type",
    "distribution_missing_encoding_format": "required",
    "distribution_missing_property_content_url": "required",
    "metadata_bad_type": "type",
    "mlfield_bad_source": "reference",
    "mlfield_bad_type": "type",
    "mlfield_missing_source": "source",
    "recordset_bad_type": "type",
    "recordset_missing_context_for_datatype": "data_type",
    "recordset_wrong_join": "join",
}


def test_every_verdict_of_the_library_is_ours() -> None:
    kept = DATA / "verdicts/croissant_shared.json"
    if not kept.exists():
        pytest.skip("no YAOSU_TESTDATA")
    cases = json.loads(kept.read_text("utf-8"))["cases"]
    wrong = {}
    for name, verdict in cases.items():
        said = json.loads((DATA / name).read_text("utf-8"))
        found = list(problems(said))
        if bool(found) == verdict["loads"]:
            wrong[name] = [p.en for p in found]
        elif verdict["loads"]:
            record = record_of(said, name)
            files_ = record.document.get("croissant:distribution", [])
            whole = len(files_) + len(record.document.get("resources", []))
            assert whole >= len(verdict.get("distribution", ())), name
            assert record.document["title"], name
        else:
            assert ABOUT[Path(name).parent.name] in {p.code for p in found}, name
    assert not wrong, wrong
    assert len(cases) >= 60


def version(descriptor: dict[str, Any]) -> Published:
    return Published(
        dataset_id="dst_0198c0de00007000800000000000abcd", publisher="office",
        publisher_name="鹏城", name=descriptor["name"], descriptor=descriptor, created_at=AT,
        updated_at=AT, listed_at=AT, base="https://market.example",
    )  # fmt: skip


def test_there_and_back_and_there_is_the_same() -> None:
    example = files("yaosu_schemas") / "json" / "example-dataset.json"
    first = version(json.loads(example.read_text("utf-8")))
    said = croissant.document(first)
    record = record_of(said, "a")
    again = record_of(croissant.document(version(dict(record.document))), "a")
    assert again.document == record.document
    for key in ("name", "title", "description", "version", "keywords", "created"):
        assert record.document[key] == first.descriptor[key], key
    ours = {r["path"]: r for r in first.resources}
    for one in record.document["resources"]:
        for key in ("path", "bytes", "hash", "format"):
            assert one[key] == ours[one["path"]][key]
        if "schema" in ours[one["path"]]:
            assert [(f["name"], f["type"]) for f in one["schema"]["fields"]] == [
                (f["name"], f["type"]) for f in ours[one["path"]]["schema"]["fields"]
            ]


def test_every_broken_rule_is_named_at_once() -> None:
    said = {"@type": "Dataset", "name": "x", "distribution": [{"@type": "FileObject"}],
            "recordSet": [{"@type": "Wrong"}]}  # fmt: skip
    with pytest.raises(InvalidDocument) as refused:
        record_of(said, "x")
    assert len(refused.value.problems) == 3
    deep: dict[str, Any] = {"@type": "cr:Field"}
    for _ in range(500):
        deep = {"@type": "cr:Field", "subField": deep}
    hostile = {"@type": "Dataset", "name": "x", "recordSet": {"@type": "RecordSet", "field": deep}}
    with pytest.raises(Exception, match="nested"):
        record_of(hostile, "x")
