"""Every surface: out, in and out again is the same, and the tables say truly what is lost."""

from __future__ import annotations

import copy
import json
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from yaosu import corpora, demo
from yaosu.model import Party
from yaosu_connectors import (
    card,
    ckan_package,
    croissant,
    croissant_descriptor,
    dcat,
    dcat_catalog,
    delta_sharing,
    load,
    mappings,
    oai,
    oai_catalog,
    plain_xml,
    rdf,
    schema_org,
)
from yaosu_connectors.connector import Record
from yaosu_connectors.published import Mapped, Published
from yaosu_schemas.canonical import digest
from yaosu_schemas.documents import public_view
from yaosu_validators.describe import describe

AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
Said = dict[str, Any]


def version(descriptor: Said) -> Published:
    return Published(
        dataset_id="dst_0198c0de00007000800000000000abcd", publisher="office",
        publisher_name="鹏城", name=descriptor["name"], descriptor=public_view(descriptor),
        created_at=AT,
        updated_at=AT, listed_at=AT, base="https://market.example",
    )  # fmt: skip


# --- the surfaces ------------------------------------------------------------------------------


@dataclass(frozen=True)
class Surface:
    """How a version is said, how that is read, and the table that tells what is lost."""

    fields: Sequence[Mapped]
    say: Callable[[Published], Any]
    read: Callable[[Any], Said]
    sorted: bool = False  # whether it keeps no order of resources
    single: bool = False  # whether several files of one resource become one each
    same: Callable[[Any], Any] = lambda said: said  # what is equal in the words of the format


def _spelt(spelling: str) -> Callable[[Published], str]:
    return lambda one: "".join(rdf.write(dcat.dataset(one), spelling))


def _graph(kind: str) -> Callable[[str], Said]:
    def read(text: str) -> Said:
        (record,) = dcat_catalog.datasets(dcat_catalog.graph_of(text, kind))
        return dict(record.document)

    return read


def _triples(kind: str) -> Callable[[str], Any]:
    return lambda text: set(dcat_catalog.graph_of(text, kind))


def _oai(prefix: str) -> Callable[[Published], str]:
    def say(one: Published) -> str:
        body = f"<ListRecords>{oai.record('market.example', one, prefix)}</ListRecords>"
        return oai.envelope("https://market.example/oai", AT, {}, body)

    return say


def _listed(text: str) -> Said:
    (record,) = oai_catalog.records(plain_xml.parse(text.encode()))
    assert isinstance(record, Record), record
    return dict(record.document)


def _card(dialect: card.Dialect) -> Surface:
    def say(one: Published) -> tuple[str, str, list[str]]:
        paths = [
            p for r in one.resources
            for p in ([r["path"]] if isinstance(r["path"], str) else r["path"])
        ]  # fmt: skip
        text = card.write(card.front_matter(one.descriptor, dialect), card.body(one.descriptor))
        return one.name, text, paths

    def read(said: tuple[str, str, list[str]]) -> Said:
        parts = card.read(said[1])
        assert parts is not None
        return card.descriptor(*parts, said[0], said[2])[0]

    return Surface(card.FIELDS, say, read, same=lambda said: said[1])  # the files are given


def _json(say: Callable[[Published], Any]) -> Callable[[Published], Any]:
    return lambda one: json.loads(json.dumps(say(one)))


SURFACES = {
    "CKAN packages": Surface(
        ckan_package.FIELDS, _json(ckan_package.package), ckan_package.descriptor
    ),
    "Croissant 1.1": Surface(
        croissant.FIELDS, _json(croissant.document), croissant_descriptor.descriptor, single=True
    ),
    "schema.org/Dataset": Surface(
        schema_org.FIELDS,
        _json(lambda v: schema_org.document(v, "Yaosu")),
        schema_org.descriptor,
        single=True,
    ),
    "DCAT-AP 3.0.1, ttl": Surface(
        dcat.FIELDS, _spelt("ttl"), _graph("turtle"), sorted=True, same=_triples("turtle")
    ),
    "DCAT-AP 3.0.1, rdf": Surface(
        dcat.FIELDS, _spelt("rdf"), _graph("xml"), sorted=True, same=_triples("xml")
    ),
    "DCAT-AP 3.0.1, jsonld": Surface(
        dcat.FIELDS, _spelt("jsonld"), _graph("json-ld"), sorted=True, same=_triples("json-ld")
    ),
    "OAI-PMH, oai_dc": Surface(oai.FIELDS, _oai("oai_dc"), _listed),
    "OAI-PMH, dcat": Surface(
        dcat.FIELDS, _oai("dcat"), _listed, sorted=True, same=lambda t: sorted(t.split("\n"))
    ),
    "README of huggingface": _card("huggingface"),
    "README of modelscope": _card("modelscope"),
}


# --- what the tables say -----------------------------------------------------------------------


def paths_of(row: Mapped) -> list[str]:
    """Return the places of a row: what has no dot follows the first one's place."""
    first, *rest = row.ours.split(", ")
    before = first.rpartition(".")[0]
    return [first, *(p if "." in p or not before else f"{before}.{p}" for p in rest)]


def leaves(value: Any, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield (place with numbers, value) of everything that is said."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(inner, f"{path}.{key}" if path else key)
    elif isinstance(value, list) and value:
        for number, inner in enumerate(value):
            yield from leaves(inner, f"{path}[{number}]")
    else:
        yield path, value


def row_of(fields: Sequence[Mapped], place: str) -> Mapped | None:
    """Return the row that speaks of a place: the longest that fits."""
    found: list[tuple[int, Mapped]] = []
    for row in fields:
        for path in paths_of(row):
            stem = path.removesuffix("*").rstrip(".")
            inside = not stem or re.match(rf"{re.escape(stem)}($|[.\[])", place)
            if inside:
                found.append((len(stem), row))
    return max(found, key=lambda pair: pair[0], default=(0, None))[1]


def judge(surface: Surface, said: Said, back: Said) -> list[str]:
    """Return every place where a table and a journey disagree."""
    wrong: list[str] = []
    if surface.sorted:
        said, back = ({**d, "resources": sorted(d.get("resources", ()), key=lambda r: r["name"])}
                      for d in (said, back))  # fmt: skip
    if surface.single:
        alone = [r for r in said.get("resources", ()) if isinstance(r["path"], str)]
        files = {r["path"]: r for r in back.get("resources", ())}
        said = {**said, "resources": alone}
        back = {**back, "resources": [files[r["path"]] for r in alone]}
    returned = dict(leaves(back))
    for place, value in leaves(said):
        if value in ({}, [], ""):
            continue
        row = row_of(surface.fields, re.sub(r"\[\d+\]", "[]", place))
        if row is None:
            wrong.append(f"{place}: in no row")
        elif row.loss == "" and returned.get(place) != value:
            wrong.append(f"{place}: kept, it says: {value!r} became {returned.get(place)!r}")
        elif row.loss == "lost" and place in returned:
            wrong.append(f"{place}: lost, it says, and is there: {returned[place]!r}")
    return wrong


def kept(fields: Sequence[Mapped], value: Any, place: str = "") -> Any:
    """Return a descriptor without what a table calls lost."""
    if isinstance(value, dict) and value:
        found = {
            k: kept(fields, v, f"{place}.{k}" if place else k) for k, v in value.items()
        }  # fmt: skip
        return {k: v for k, v in found.items() if v is not None} or None
    if isinstance(value, list) and value:
        listed = [kept(fields, v, f"{place}[]") for v in value]
        return [v for v in listed if v is not None] or None
    row = row_of(fields, place)
    return None if row is not None and row.loss == "lost" else value


def journey(surface: Surface, said: Said) -> Said:
    """Go out, in, out and in: what is said again is all but the lost; return what came in."""
    back = surface.read(surface.say(version(copy.deepcopy(said))))
    again = surface.say(version(copy.deepcopy(back)))
    first = surface.say(version(kept(surface.fields, said)))
    assert surface.same(again) == surface.same(first)
    assert surface.read(again) == back
    return back


# --- descriptors -------------------------------------------------------------------------------


def example() -> Said:
    place = files("yaosu_schemas") / "json" / "example-dataset.json"
    found: Said = json.loads(place.read_text("utf-8"))
    return found


WORD = st.text(
    st.characters(categories=("L", "N", "P", "S"), exclude_characters="\ufffe\uffff"),
    min_size=1, max_size=12,
).filter(lambda s: s.strip() == s)  # fmt: skip
NAME = st.from_regex(r"[a-z][a-z0-9]{0,7}", fullmatch=True)
PATHS = st.sampled_from(["https://example.org/a", "https://example.org/b?c=1"])
CODES = {
    "update_frequency": st.sampled_from(["daily", "weekly", "monthly", "yearly", "other"]),
    "license_spdx": st.sampled_from(["MIT", "CC-BY-4.0", "Apache-2.0", "LicenseRef-x"]),
    "languages": st.lists(st.sampled_from(["zh-Hans", "en", "fr", "yue"]), unique=True, min_size=1),
    "scenario": WORD,
    "titles": st.builds(lambda t: {"en": f"English {t}"}, NAME),
    "identifiers": st.lists(
        st.fixed_dictionaries({"scheme": NAME, "value": NAME}), min_size=1, max_size=3
    ),
    "restrictions": st.fixed_dictionaries({"buyer": WORD, "resale": WORD}),
}


@st.composite
def resources(draw: st.DrawFn) -> list[Said]:
    found = []
    for name in draw(st.lists(NAME, unique=True, max_size=12)):
        columns = draw(st.lists(NAME, unique=True, max_size=3))
        one: Said = {"name": name, "path": f"data/{name}.csv", "format": "csv",
                     "mediatype": "text/csv", "bytes": draw(st.integers(0, 10**12)),
                     "hash": f"sha256:{draw(st.integers(0, 2**256 - 1)):064x}"}  # fmt: skip
        if columns:
            one["schema"] = {"fields": [
                {"name": c, "type": draw(st.sampled_from(["string", "integer", "boolean", "date"]))}
                for c in columns
            ]}  # fmt: skip
        if draw(st.booleans()):
            one |= {"title": draw(WORD), "description": draw(WORD), "encoding": "utf-8"}
        if draw(st.booleans()) and not columns:
            one["path"] = [f"data/{name}-{n}.csv" for n in range(draw(st.integers(2, 12)))]
            one["parts"] = [{"path": p, "bytes": 3, "hash": f"sha256:{n:064x}"}
                            for n, p in enumerate(one["path"])]  # fmt: skip
            del one["bytes"], one["hash"]
        found.append(one)
    return found


@st.composite
def descriptors(draw: st.DrawFn) -> Said:
    """Build a descriptor: what a person may fill in, each or not."""
    said = example()
    element = said["dataElement"]
    said |= {
        "name": draw(NAME) + "-x", "title": draw(WORD), "description": draw(WORD),
        "keywords": draw(st.lists(WORD, unique=True, max_size=4)),
        "homepage": draw(PATHS), "resources": draw(resources()),
        "contributors": draw(st.lists(st.fixed_dictionaries(
            {"title": WORD, "roles": st.lists(st.sampled_from(
                ["creator", "publisher", "contributor", "rightsHolder"]), unique=True, min_size=1)},
            optional={"email": st.just("a@example.org"), "path": PATHS}), max_size=3)),
        "sources": draw(st.lists(st.fixed_dictionaries({"title": WORD}, optional={"path": PATHS}),
                                 min_size=1, max_size=12)),
    }  # fmt: skip
    samples = [r["name"] for r in said["resources"] if isinstance(r["path"], str)]
    element["offer"] |= {"trial": {"resource": draw(st.sampled_from(samples))}} if samples else {}
    if not samples:
        del element["offer"]["trial"]
    for key, values in CODES.items():
        element[key] = draw(values)
    said["licenses"] = [{"name": element["license_spdx"]}]
    optional = ("policy", "coverage", "ai", "compliance", "identifiers", "titles", "restrictions",
                "scenario", "provenance")  # fmt: skip
    for key in draw(st.sets(st.sampled_from(optional))):
        del element[key]
    for key in draw(st.sets(st.sampled_from(["version", "created", "homepage", "keywords"]))):
        del said[key]
    return said


def test_every_surface_has_its_table() -> None:
    shown = {id(fields) for fields in mappings.SURFACES.values()}
    assert {id(s.fields) for s in SURFACES.values()} <= shown


@pytest.mark.parametrize("name", SURFACES)
def test_the_example_comes_back_as_the_table_says(name: str) -> None:
    said = example()
    assert judge(SURFACES[name], said, journey(SURFACES[name], said)) == []


@pytest.mark.parametrize("name", SURFACES)
@settings(deadline=None, max_examples=15, derandomize=True, suppress_health_check=list(HealthCheck))
@given(said=descriptors())
def test_any_listing_comes_back_as_the_table_says(name: str, said: Said) -> None:
    assert judge(SURFACES[name], said, journey(SURFACES[name], said)) == []


@pytest.fixture(scope="module")
def market(tmp_path_factory: pytest.TempPathFactory) -> list[Said]:
    """Return the descriptors of the demonstration catalog, as `make run` lists them."""
    party = Party(id="pty_x", slug="pengcheng", name="深圳鹏城示例机器人有限公司",
                  uscc="91440300MA5FAKE086", created_at=AT)  # fmt: skip
    root = tmp_path_factory.mktemp("demo")
    return [
        demo.complete(describe(folder).descriptor, facts, party)
        for facts, folder in corpora.folders(root)
    ]


@pytest.mark.parametrize("name", SURFACES)
def test_the_demonstration_catalog_comes_back_as_the_table_says(
    market: list[Said], name: str
) -> None:
    assert len(market) >= 7
    wrong = {
        said["name"]: found for said in market
        if (found := judge(SURFACES[name], said, journey(SURFACES[name], said)))
    }  # fmt: skip
    assert wrong == {}


def test_a_data_package_comes_back_whole(market: list[Said], tmp_path: Path) -> None:
    folder = load("folder")
    records = [Record(origin_id=said["name"], kind="dataset", document=said, digest=digest(said))
               for said in market]  # fmt: skip
    folder.publish(records, str(tmp_path / "out"))
    back = {r.document["name"]: r.document for r in folder.harvest(str(tmp_path / "out"))}
    assert back == {said["name"]: said for said in market}


KINDS = st.sampled_from(["boolean", "int8", "int16", "int32", "int64", "float32", "float64",
                         "string", "binary", "date", "timestamp", "decimal(10,2)"])  # fmt: skip
NESTED = st.recursive(
    KINDS,
    lambda inner: st.one_of(
        st.builds(lambda t: {"list": t}, inner),
        st.builds(lambda k, v: {"map": [k, v]}, KINDS, inner),
        st.lists(st.builds(lambda n, t: {"name": n, "type": t}, NAME, inner),
                 min_size=1, max_size=3).map(lambda f: {"struct": f}),
    ),
    max_leaves=6,
)  # fmt: skip


@settings(deadline=None, max_examples=50, derandomize=True)
@given(st.lists(st.tuples(NAME, NESTED), min_size=1, max_size=5, unique_by=lambda p: p[0]), NAME)
def test_the_table_of_a_share_comes_back_as_it_was(fields: list[Any], name: str) -> None:
    table = delta_sharing.TableVersion(
        id="a" * 64, version=3, rows=7, bytes=11, created_ms=1_700_000_000_000,
        fields=[{"name": n, "type": t} for n, t in fields],
    )  # fmt: skip
    line = delta_sharing.metadata(table, name=name)
    sent = json.loads(delta_sharing.lines(line))
    assert delta_sharing.read_metadata(sent, rows=7, created_ms=table.created_ms) == table
    again = delta_sharing.read_metadata(sent, rows=7, created_ms=table.created_ms)
    assert delta_sharing.metadata(again, name=name) == line
