"""Foreign DCAT catalogs: every dataset and distribution comes over, violations are listed.

Files are read from a folder, in Turtle, RDF/XML or JSON-LD. Contexts at addresses are never
fetched: those that are pinned under `schemas` stand in for them, others are refused; so are
document types and entities of XML.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

import rdflib
from rdflib.namespace import DCTERMS, FOAF, RDF

from yaosu_schemas import licences
from yaosu_schemas.canonical import digest
from yaosu_schemas.errors import Malformed, Problem, Text, YaosuError
from yaosu_schemas.texts import clip

from . import local
from .connector import About, Record, Skipped
from .dcat import FREQUENCY, LANGUAGE

FORMATS = {".ttl": "turtle", ".rdf": "xml", ".xml": "xml", ".jsonld": "json-ld",
           ".json": "json-ld"}  # fmt: skip
_SPDX = rdflib.Namespace("http://spdx.org/rdf/terms#")
DCAT = rdflib.Namespace("http://www.w3.org/ns/dcat#")
_PERIODS = {code: ours for ours, code in FREQUENCY.items()}
_TONGUES = {code: ours for ours, code in LANGUAGE.items()}
_MANDATORY = (
    (DCAT.Dataset, DCTERMS.title), (DCAT.Dataset, DCTERMS.description),
    (DCAT.Distribution, DCAT.accessURL), (DCAT.Catalog, DCTERMS.title),
    (DCAT.Catalog, DCTERMS.description), (DCAT.Catalog, DCTERMS.publisher),
)  # fmt: skip


class DcatCatalog:
    """Harvests a folder of DCAT files; a dataset that stands in two files is one."""

    def about(self) -> About:
        return About(
            name="dcat",
            title=Text("DCAT catalog", "DCAT 数据目录"),
            speaks=("DCAT-AP 3.0.1", "DCAT 3", "DCAT 2"),
        )

    def harvest(self, source: str, /) -> Iterator[Record | Skipped]:
        return _folder(local.open_root(source))


def _folder(root: Path) -> Iterator[Record | Skipped]:
    for step in local.walk(root):
        if isinstance(step, local.Refused):
            yield Skipped(origin_id=step.path, why=step.why)
            continue
        for name in step.files:
            path = f"{step.path}/{name}" if step.path else name
            if Path(name).suffix not in FORMATS:
                continue
            try:
                yield from datasets(read(root / path))
            except (YaosuError, OSError) as error:
                yield Skipped(origin_id=path, why=local.why_not(error))


def read(path: Path) -> rdflib.Graph:
    """Return the triples of a file; Malformed where it is no RDF, or asks for an address."""
    kind = FORMATS[path.suffix]
    if kind == "json-ld":
        document = local.read_document(path)
        if not isinstance(document, dict | list) or not document:
            raise Malformed("the document holds no linked data", "文档没有关联数据")
        text = json.dumps(_at_home(document, 0))
    else:
        with local.open_plain(path) as file:
            raw = file.read(local.DOCUMENT_BYTES + 1)
        if len(raw) > local.DOCUMENT_BYTES:
            raise Malformed("the document is too large", "文档过大")
        if kind == "xml" and re.search(rb"<!(DOCTYPE|ENTITY)", raw):
            raise Malformed("document types and entities are refused", "不接受 DTD 与实体")
        text = raw.decode("utf-8", "replace")
    graph = rdflib.Graph()
    try:
        graph.parse(data=text, format=kind, publicID="urn:yaosu:import:")
    except Exception as error:  # the parsers raise what they like
        said = type(error).__name__
        raise Malformed(f"the document is no RDF ({said})", f"文档不是 RDF（{said}）") from None
    return graph


def _at_home(value: Any, depth: int) -> Any:
    """Return the document with pinned contexts in the place of addresses."""
    if depth > 60:
        raise Malformed("the document is nested too deeply", "文档嵌套过深")
    if isinstance(value, list):
        return [_at_home(v, depth + 1) for v in value]
    if not isinstance(value, dict):
        return value
    if "@import" in value:
        raise _remote(value["@import"])
    return {k: _context(v) if k == "@context" else _at_home(v, depth + 1) for k, v in value.items()}


def _context(value: Any) -> Any:
    if isinstance(value, list):
        return [_context(v) for v in value]
    if isinstance(value, str):
        known = pinned().get(value.split("#")[0])
        if known is None:
            raise _remote(value)
        return known
    return _at_home(value, 1)


def _remote(value: Any) -> Malformed:
    return Malformed(
        f"the context {clip(value)!r} is not pinned here and never fetched",
        f"上下文“{clip(value)}”未内置，且不会下载",
    )


@cache
def pinned() -> Mapping[str, Any]:
    """Return the contexts that stand in for addresses, by address."""
    folder = files("yaosu_schemas") / "contexts"
    index = json.loads((folder / "index.json").read_text("utf-8"))
    return {
        address: json.loads((folder / name).read_text("utf-8"))["@context"]
        for address, name in index.items()
    }


# --- a graph as records ------------------------------------------------------------------------


def datasets(graph: rdflib.Graph) -> Iterator[Record]:
    """Yield every dataset of a graph, in the order of IRIs."""
    found = set(graph.subjects(RDF.type, DCAT.Dataset)) | set(graph.objects(None, DCAT.dataset))
    for number, one in enumerate(sorted(found, key=str)):
        document = _descriptor(graph, one, number)
        yield Record(
            origin_id=clip(str(one), 400) if isinstance(one, rdflib.URIRef) else f"_:{number}",
            kind="dataset",
            document=document,
            digest=digest(document),
            notes=tuple(violations(graph, one)),
        )


def _best(graph: rdflib.Graph, subject: Any, predicate: Any) -> str:
    """Return the Chinese text, or the English, or the first."""
    texts = [o for o in graph.objects(subject, predicate) if isinstance(o, rdflib.Literal)]
    rank = {"zh": 0, "en": 1}
    texts.sort(key=lambda t: (rank.get((t.language or "").split("-")[0], 2), str(t)))
    return str(texts[0]).strip() if texts else ""


def _descriptor(graph: rdflib.Graph, one: Any, number: int) -> dict[str, Any]:
    title = _best(graph, one, DCTERMS.title)
    found: dict[str, Any] = {"name": _name(graph, one, number)}
    if title:
        found["title"] = title
    if text := _best(graph, one, DCTERMS.description):
        found["description"] = text[:100_000]
    if words := sorted({str(w).strip() for w in graph.objects(one, DCAT.keyword)} - {""}):
        found["keywords"] = words
    if version := graph.value(one, DCAT.version):
        found["version"] = str(version)
    if page := graph.value(one, FOAF.page):
        found["homepage"] = str(page)
    for publisher in graph.objects(one, DCTERMS.publisher):
        if name := _best(graph, publisher, FOAF.name):
            found["contributors"] = [{"title": name, "roles": ["publisher"]}]
    shares = [_share(graph, d) for d in sorted(graph.objects(one, DCAT.distribution), key=str)]
    if shares:
        found["dcat:distributions"] = shares
        found["sources"] = [
            {"title": s.get("title") or str(title or "data"), "path": s["accessURL"]}
            for s in shares
            if s.get("accessURL")
        ] or [{"title": title or "data"}]
    if element := _element(graph, one, title, shares):
        found["dataElement"] = element
    return found


def _name(graph: rdflib.Graph, one: Any, number: int) -> str:
    """Return a name from the IRI, the identifier, or the place."""
    given = str(one) if isinstance(one, rdflib.URIRef) else ""
    given = re.sub(r"#dataset$", "", given).rstrip("/#").split("?")[0]
    tail = re.split(r"[/#:]", given)[-1] or str(graph.value(one, DCTERMS.identifier) or "")
    plain = re.sub(r"[^a-z0-9._-]+", "-", tail.lower()).strip("-.")[:100]
    return plain or f"dataset-{number + 1}"


def _share(graph: rdflib.Graph, one: Any) -> dict[str, Any]:
    """Return a distribution as it describes itself."""
    texts = {key: _best(graph, one, DCTERMS[key]) for key in ("title", "description")}
    links = {k: graph.value(one, DCAT[k]) for k in ("accessURL", "downloadURL")}
    found: dict[str, Any] = {k: str(v) for k, v in {**texts, **links}.items() if v}
    size = str(graph.value(one, DCAT.byteSize) or "").split(".")[0]
    if size.isdigit() and len(size) < 19:
        found["bytes"] = int(size)
    for mark in graph.objects(one, _SPDX.checksum):
        value = str(graph.value(mark, _SPDX.checksumValue) or "")
        if re.fullmatch(r"[0-9a-fA-F]{64}", value):
            found["sha256"] = value.lower()
    media = str(graph.value(one, DCAT.mediaType) or "")
    if "/media-types/" in media:
        found["mediatype"] = media.rpartition("/media-types/")[2]
    if licence := graph.value(one, DCTERMS.license):
        found["license"] = str(licence)
    return found


def _element(
    graph: rdflib.Graph, one: Any, title: str, shares: list[dict[str, Any]]
) -> dict[str, Any]:
    found: dict[str, Any] = {}
    english = [
        str(t) for t in graph.objects(one, DCTERMS.title)
        if isinstance(t, rdflib.Literal) and t.language == "en"
    ]  # fmt: skip
    if english and english[0] != title:
        found["titles"] = {"en": english[0]}
    tongues = [
        code for o in sorted(graph.objects(one, DCTERMS.language), key=str)
        if (code := _TONGUES.get(str(o).rsplit("/", 1)[-1]))
    ]  # fmt: skip
    if tongues:
        found["languages"] = tongues
    period = str(graph.value(one, DCTERMS.accrualPeriodicity) or "").rsplit("/", 1)[-1]
    if period in _PERIODS:
        found["update_frequency"] = _PERIODS[period]
    if coverage := _coverage(graph, one):
        found["coverage"] = coverage
    for share in shares:
        spdx = licences.from_open_definition(str(share.get("license", "")).rsplit("/", 1)[-1])
        if spdx:
            found["license_spdx"] = spdx
    return found


def _coverage(graph: rdflib.Graph, one: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    places = sorted(
        str(o).rpartition(":")[2] for o in graph.objects(one, DCTERMS.spatial)
        if str(o).startswith("urn:gb2260:")
    )  # fmt: skip
    if places:
        found["spatial_codes"] = places
    for span in graph.objects(one, DCTERMS.temporal):
        ends = {
            ours: str(value)[:10]
            for ours, theirs in (("start", DCAT.startDate), ("end", DCAT.endDate))
            if (value := graph.value(span, theirs))
        }
        if ends:
            found["temporal"] = ends
    return found


def violations(graph: rdflib.Graph, one: Any) -> Iterator[Problem]:
    """Yield what DCAT-AP 3.0.1 demands and a dataset, or what it refers to, does not say."""
    shares = list(graph.objects(one, DCAT.distribution))
    within = [(one, DCAT.Dataset), *((s, DCAT.Distribution) for s in shares)]
    within += [(c, DCAT.Catalog) for c in graph.subjects(DCAT.dataset, one)]
    for subject, kind in within:
        for owner, predicate in _MANDATORY:
            if owner == kind and graph.value(subject, predicate) is None:
                name = predicate.rsplit("/", 1)[-1].rsplit("#", 1)[-1]
                yield Problem(
                    pointer="/" + name, code="dcat_mandatory", severity="warning",
                    en=f"{kind.rsplit('#', 1)[-1]} {clip(str(subject), 120)} has no {name}",
                    zh=f"{kind.rsplit('#', 1)[-1]} {clip(str(subject), 120)} 缺少 {name}",
                )  # fmt: skip
