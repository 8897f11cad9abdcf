"""Foreign DCAT catalogs: every dataset and distribution comes over, violations are listed.

They are read from a folder or at an address, in Turtle, RDF/XML or JSON-LD. Contexts are never
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
from urllib.parse import unquote, urljoin

import rdflib
from rdflib.namespace import DCTERMS, FOAF, PROV, RDF
from rdflib.plugins.stores.memory import Memory

from yaosu_schemas import licences
from yaosu_schemas.canonical import digest
from yaosu_schemas.errors import Malformed, Problem, Text, TooLarge, YaosuError
from yaosu_schemas.paths import is_remote
from yaosu_schemas.texts import clip

from . import dcat_files, dcat_policy, local, remote
from .connector import About, Record, Skipped
from .dcat import FREQUENCY, LANGUAGE
from .dcat_files import DCAT
from .dcat_policy import ordered
from .rdf import PREFIXES
from .remote import After, Ask, Page, Reply

FORMATS = {".ttl": "turtle", ".rdf": "xml", ".xml": "xml", ".jsonld": "json-ld",
           ".json": "json-ld"}  # fmt: skip
_MEDIA = {"text/turtle": "turtle", "application/rdf+xml": "xml",
          "application/ld+json": "json-ld", "application/n-triples": "turtle"}  # fmt: skip
_ACCEPT = "text/turtle, application/rdf+xml;q=0.9, application/ld+json;q=0.8"
_BASE = "urn:yaosu:import:"
MAX_TRIPLES = 200_000
_ADMS, _DC, _HYDRA, _SKOS = (rdflib.Namespace(PREFIXES[p]) for p in ("adms", "dc", "hydra", "skos"))
_PERIODS = {code: ours for ours, code in FREQUENCY.items()}
_TONGUES = {code: ours for ours, code in LANGUAGE.items()}
_MANDATORY = (
    (DCAT.Dataset, DCTERMS.title), (DCAT.Dataset, DCTERMS.description),
    (DCAT.Distribution, DCAT.accessURL), (DCAT.Catalog, DCTERMS.title),
    (DCAT.Catalog, DCTERMS.description), (DCAT.Catalog, DCTERMS.publisher),
)  # fmt: skip


class DcatCatalog:
    """Harvests DCAT at an address, following its pages, or a folder of DCAT files."""

    def about(self) -> About:
        return About(
            name="dcat",
            title=Text("DCAT catalog", "DCAT 数据目录"),
            speaks=("DCAT-AP 3.0.1", "DCAT 3", "DCAT 2"),
        )

    def harvest(self, source: str, /) -> Iterator[Record | Skipped]:
        if is_remote(source):
            return remote.watched(self.pages(source))
        return _folder(local.open_root(source))

    def pages(self, source: str, /, after: After = None, ask: Ask | None = None) -> Iterator[Page]:
        """Yield the pages that `hydra:next` leads to; `after` is the address of the next one."""
        return _pages(remote.address(source), after, ask or remote.plain)


def _pages(source: str, after: After, ask: Ask) -> Iterator[Page]:
    url = source if after is None else after["next"]
    home = remote.host_of(source)
    while url:
        reply = remote.no_html(remote.get(ask, url, _ACCEPT, home=home))
        graph = _parsed(reply)
        items: list[Record | Skipped] = list(datasets(graph))
        url = _next(graph, reply.url)
        yield {"next": url}, items


def _next(graph: rdflib.Graph, here: str) -> str | None:
    """Return the address of the page after this one (Hydra core; `nextPage` is its old name)."""
    for name in ("next", "nextPage"):
        links = sorted(str(o) for o in graph.objects(None, _HYDRA[name]))
        if links:
            return urljoin(here, links[0])
    return None


def _parsed(reply: Reply) -> rdflib.Graph:
    """Return the triples of an answer, in the spelling that it names or begins like."""
    kind = next((k for m, k in _MEDIA.items() if m == reply.media), None)
    if len(reply.body) > local.DOCUMENT_BYTES:
        raise TooLarge("the document is too large: give an address with pages",
                       "文档过大，请提供分页地址")  # fmt: skip
    text = reply.body.decode("utf-8-sig", "replace")
    if kind is None:
        first = text.lstrip()[:1]
        kind = "xml" if first == "<" else "json-ld" if first in ("{", "[") else "turtle"
        if first == "<" and re.match(r"\s*<[^>]*>\s*(a|<)", text):
            kind = "turtle"  # an IRI, not a tag
    graph = graph_of(text, kind, reply.url)
    if not len(graph):
        raise Malformed("the document states nothing", "文档没有任何陈述")
    return graph


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
    raw = local.read_plain(path)
    kind = FORMATS[path.suffix]
    return graph_of(raw.decode("utf-8-sig" if kind == "json-ld" else "utf-8", "replace"), kind)


def graph_of(text: str, kind: str, base: str = _BASE) -> rdflib.Graph:
    """Return the triples of a document; Malformed, or TooLarge."""
    if kind == "json-ld":
        document = local.parse_json(text)
        if not isinstance(document, dict | list) or not document:
            raise Malformed("the document holds no linked data", "文档没有关联数据")
        text = json.dumps(_at_home(document, 0))
    elif kind == "xml" and re.search(r"<!(DOCTYPE|ENTITY)", text):
        raise Malformed("document types and entities are refused", "不接受 DTD 与实体")
    graph = rdflib.Graph(store=_Bounded())
    try:
        graph.parse(data=text, format=kind, publicID=base)
    except TooLarge:
        raise
    except Exception as error:  # the parsers raise what they like
        said = type(error).__name__
        raise Malformed(f"the document is no RDF ({said})", f"文档不是 RDF（{said}）") from None
    return graph


class _Bounded(Memory):
    """Takes no more triples than a catalog's page has: each costs a kilobyte."""

    count = 0

    def add(self, triple: Any, context: Any, quoted: bool = False) -> None:
        self.count += 1
        if self.count > MAX_TRIPLES:
            raise TooLarge("the document has too many statements: give an address with pages",
                           "文档陈述过多，请提供分页地址")  # fmt: skip
        super().add(triple, context, quoted)


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
    """Yield every dataset of a graph, in the order of IRIs.

    An earlier version that is only named beside a later one does not stand for itself.
    """
    linked = set(graph.objects(None, DCAT.dataset))
    found = set(graph.subjects(RDF.type, DCAT.Dataset)) | linked
    earlier = {
        o for o in graph.objects(None, DCAT.previousVersion)
        if o not in linked and graph.value(o, DCAT.distribution) is None
    }  # fmt: skip
    for number, one in enumerate(sorted(found - earlier, key=str)):
        document = _descriptor(graph, one, number)
        yield Record(
            origin_id=_origin(graph, one, number),
            kind="dataset",
            document=document,
            digest=digest(document),
            notes=tuple(violations(graph, one)),
        )


def _origin(graph: rdflib.Graph, one: Any, number: int) -> str:
    """Return the IRI; without one the identifier, which the source keeps, before its place."""
    if isinstance(one, rdflib.URIRef):
        return clip(str(one), 400)
    given = graph.value(one, DCTERMS.identifier)
    return clip(f"_:{given}", 400) if given is not None else f"_:{number}"


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
    for ours, theirs in (("version", DCAT.version), ("created", DCTERMS.created),
                         ("homepage", FOAF.page)):  # fmt: skip
        if (value := graph.value(one, theirs)) is not None and str(value):
            found[ours] = str(value)
    if people := _people(graph, one):
        found["contributors"] = people
    shares = ordered(graph.objects(one, DCAT.distribution))
    made = [(s, dcat_files.resource(graph, s)) for s in shares]
    resources = [r for _, r in made if r is not None]
    foreign = [_share(graph, s) for s, r in made if r is None]
    if resources:
        found["resources"] = resources
    if foreign:
        found["dcat:distributions"] = foreign
    sources = [_source(graph, s) for s in ordered(graph.objects(one, PROV.wasDerivedFrom))]
    if foreign and not sources:
        sources = [
            {"title": s.get("title") or str(title or "data"), "path": s["accessURL"]}
            for s in foreign if s.get("accessURL")
        ] or [{"title": title or "data"}]  # fmt: skip
    if sources:
        found["sources"] = sources
    element = _element(graph, one, title, shares)
    for share, resource in made:
        if resource is not None and graph.value(share, DCAT.downloadURL) is not None:
            element["offer"] = {"trial": {"resource": resource["name"]}}
    if element:
        found["dataElement"] = element
    return found


def _people(graph: rdflib.Graph, one: Any) -> list[dict[str, Any]]:
    """Return who is named with a role; where nobody is, the publisher and the makers."""
    found: dict[Any, dict[str, Any]] = {}
    for mark in ordered(graph.objects(one, PROV.qualifiedAttribution)):
        agent = graph.value(mark, PROV.agent)
        if agent is None:
            continue
        who = found.setdefault(agent, _agent(graph, agent))
        role = graph.value(mark, DCAT.hadRole)
        if role is not None:
            said = re.split(r"[/#:]", unquote(str(role)))[-1]
            who.setdefault("roles", []).append(said)
    if not found:
        for kind in ("publisher", "creator", "contributor"):
            for agent in ordered(graph.objects(one, DCTERMS[kind])):
                who = found.setdefault(agent, _agent(graph, agent))
                who.setdefault("roles", []).append(kind)
    return [who for who in found.values() if who.get("title")]


def _agent(graph: rdflib.Graph, agent: Any) -> dict[str, Any]:
    found: dict[str, Any] = {"title": _best(graph, agent, FOAF.name)}
    if mail := graph.value(agent, FOAF.mbox):
        found["email"] = str(mail).removeprefix("mailto:")
    if page := graph.value(agent, FOAF.homepage):
        found["path"] = str(page)
    return found


def _source(graph: rdflib.Graph, one: Any) -> dict[str, str]:
    title, page = _best(graph, one, DCTERMS.title), graph.value(one, FOAF.page)
    path = str(page) if page is not None else ""
    if not path and not title and isinstance(one, rdflib.URIRef):
        path = str(one)
    return {**({"title": title} if title else {}), **({"path": path} if path else {})}


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
    found |= dcat_files.facts(graph, one)
    if media := dcat_files.media(graph, one):
        found["mediatype"] = media
    if licence := graph.value(one, DCTERMS.license):
        found["license"] = str(licence)
    return found


def _element(graph: rdflib.Graph, one: Any, title: str, shares: list[Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    english = sorted(
        str(t) for kind in ("title", "alternative") for t in graph.objects(one, DCTERMS[kind])
        if isinstance(t, rdflib.Literal) and t.language == "en" and str(t) != title
    )  # fmt: skip
    if english:
        found["titles"] = {"en": english[0]}
    tongues = sorted(str(t) for t in graph.objects(one, _DC.language)) or [
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
    if named := list(_identifiers(graph, one)):
        found["identifiers"] = named
    if policy := dcat_policy.policy(graph, one):
        found["policy"] = policy
    for holder in (*shares, one):
        given = unquote(str(graph.value(holder, DCTERMS.license) or "")).rstrip("/")
        name = given.rsplit("/", 1)[-1]
        spdx = licences.from_open_definition(name)
        if spdx is None and name.startswith("LicenseRef-"):
            spdx = name
        if spdx:
            found["license_spdx"] = spdx
            break
    return found


def _identifiers(graph: rdflib.Graph, one: Any) -> Iterator[dict[str, str]]:
    for mark in ordered(graph.objects(one, _ADMS.identifier)):
        value, scheme = (graph.value(mark, p) for p in (_SKOS.notation, _ADMS.schemaAgency))
        if value is not None and scheme is not None and str(scheme):
            yield {"scheme": str(scheme), "value": str(value)}


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
