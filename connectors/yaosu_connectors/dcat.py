"""DCAT-AP 3.0.1: a version of a dataset as triples, and foreign catalogs as records.

Every IRI that is referred to gets its type beside it: the official shapes of classes (`range`)
ask for that. `dcat:byteSize` is xsd:nonNegativeInteger, as 3.0.1 says (3.0.0 said decimal).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any
from urllib.parse import quote

from yaosu_schemas.codes import code_list
from yaosu_schemas.paths import is_remote

from . import dcat_policy
from .published import Mapped, Published, files_of, utc
from .rdf import TYPE, Iri, Literal, Node, Triple

FIELDS = (
    Mapped("name", "the IRI of the dataset"),
    Mapped("title, dataElement.titles.en", "`dct:title`, `dct:alternative`"),
    Mapped("description", "`dct:description`"),
    Mapped("keywords", "`dcat:keyword`", "their order is not kept", "changed"),
    Mapped("version", "`dcat:version`"),
    Mapped("created", "`dct:created`"),
    Mapped("homepage", "`foaf:page`"),
    Mapped("dataElement.license_spdx", "`dct:license` of every distribution"),
    Mapped("licenses", "", "the SPDX id stands for them", "lost"),
    Mapped("contributors[].title, roles, email, path",
           "`dct:creator`, `prov:qualifiedAttribution` with `dcat:hadRole`"),
    Mapped("sources[].title, path", "`prov:wasDerivedFrom`"),
    Mapped("dataElement.languages", "`dct:language`, `dc:language`", "their order is not kept",
           "changed"),
    Mapped("dataElement.update_frequency", "`dct:accrualPeriodicity`"),
    Mapped("dataElement.coverage.temporal", "`dct:temporal`"),
    Mapped("dataElement.coverage.spatial_codes", "`dct:spatial`", "in the order of codes",
           "changed"),
    Mapped("dataElement.identifiers[].scheme, value", "`adms:identifier`"),
    Mapped("dataElement.policy", "`odrl:hasPolicy`",
           "a list of one is the one, plain values have no order, the target is the dataset",
           "changed"),
    Mapped("resources[].name, title, description", "IRI, `dct:title`, `dct:description`"),
    Mapped("resources[].path, parts", "`spdx:fileName`; `dct:hasPart` where it has several files"),
    Mapped("resources[].mediatype", "`dcat:mediaType`"),
    Mapped("resources[].encoding", "`cnt:characterEncoding`"),
    Mapped("resources[].bytes, hash", "`dcat:byteSize`, `spdx:checksum`"),
    Mapped("resources[].format", "", "the ending of the file", "changed"),
    Mapped("resources[].*", "", "", "lost"),
    Mapped("dataElement.offer.trial.resource", "`dcat:downloadURL` of the sample"),
    Mapped("*", "", "all that is not named here; `rdfs:seeAlso` leads to it", "lost"),
)  # fmt: skip
PROFILE = "http://data.europa.eu/r5r/"
_EU = "http://publications.europa.eu/resource/authority/"
_IANA = "https://www.iana.org/assignments/media-types/"
FREQUENCY = {"realtime": "CONT", "daily": "DAILY", "weekly": "WEEKLY", "monthly": "MONTHLY",
              "yearly": "ANNUAL", "other": "OTHER", "none": "NEVER"}  # fmt: skip
LANGUAGE = {"zh": "ZHO", "en": "ENG", "fr": "FRA", "de": "DEU", "es": "SPA", "ja": "JPN",
             "ko": "KOR", "ru": "RUS", "ar": "ARA", "pt": "POR", "it": "ITA", "vi": "VIE",
             "th": "THA", "yue": "YUE", "zxx": "ZXX"}  # fmt: skip
_DIVISION = "urn:gb2260:"
ROLE = "urn:yaosu:role:"
_HAN = re.compile("[\u3400-\u9fff]")


def _said(text: str) -> Literal:
    """Return words with the language that their script shows."""
    return Literal(text, lang="zh" if _HAN.search(text) else "en")


def _when(moment: datetime) -> Literal:
    return Literal(utc(moment).strftime("%Y-%m-%dT%H:%M:%SZ"), datatype="xsd:dateTime")


# --- out ---------------------------------------------------------------------------------------


def catalog(base: str, title: str, datasets: Iterable[str], moment: datetime) -> Iterator[Triple]:
    """Yield the catalog itself, with the IRIs of its datasets."""
    here, owner = f"{base}/catalog#catalog", f"{base}/catalog#publisher"
    yield here, TYPE, Iri("dcat:Catalog")
    yield here, "dct:title", _said(title)
    yield here, "dct:description", Literal("A marketplace of AI corpora", "en")
    yield here, "dct:description", Literal("人工智能语料交易市场", "zh")
    yield here, "dct:publisher", Iri(owner)
    yield here, "foaf:homepage", Iri(f"{base}/")
    yield here, "dct:modified", _when(moment)
    for code in ("ZHO", "ENG"):
        yield here, "dct:language", Iri(f"{_EU}language/{code}")
    for one in datasets:
        yield here, "dcat:dataset", Iri(one)
    yield owner, TYPE, Iri("foaf:Agent")
    yield owner, "foaf:name", _said(title)
    yield f"{base}/", TYPE, Iri("foaf:Document")
    for code in ("ZHO", "ENG"):
        yield f"{_EU}language/{code}", TYPE, Iri("dct:LinguisticSystem")


def iri_of(version: Published) -> str:
    return f"{version.page}#dataset"


def dataset(version: Published) -> list[Triple]:
    """Return the triples of one version, those of one subject together."""
    return sorted(dict.fromkeys(_dataset(version)), key=lambda t: t[0])


def _dataset(version: Published) -> Iterator[Triple]:
    here, said, element = iri_of(version), version.descriptor, version.element
    yield here, TYPE, Iri("dcat:Dataset")
    yield from _words(version, here)
    yield here, "dct:identifier", Literal(version.uuid)
    for word in said.get("keywords") or ():
        yield here, "dcat:keyword", _said(str(word))
    yield from _publisher(version, here)
    yield from _contributors(version, here)
    yield from _sources(version, here)
    yield from _typed(here, "rdfs:seeAlso", f"{version.page}/datapackage.json", "rdfs:Resource")
    if created := said.get("created"):
        yield here, "dct:created", Literal(str(created))
    yield from _typed(here, "dcat:landingPage", version.page, "foaf:Document")
    if page := said.get("homepage"):
        yield from _typed(here, "foaf:page", str(page), "foaf:Document")
    yield here, "dct:modified", _when(version.updated_at)
    if version.listed_at is not None:
        yield here, "dct:issued", _when(version.listed_at)
    if number := said.get("version"):
        yield here, "dcat:version", Literal(str(number))
    right = "PUBLIC" if _free(element) else "RESTRICTED"
    yield from _typed(here, "dct:accessRights", f"{_EU}access-right/{right}", "dct:RightsStatement")
    yield from _coverage(version, here)
    yield from _identifiers(version, here)
    yield from _series(version, here)
    yield from _policy(version, here)
    for resource in version.resources:
        yield from _distribution(version, here, resource)
    if not version.resources:
        yield from _licence(version, here)
    for number_, foreign in enumerate(said.get("dcat:distributions") or ()):
        if isinstance(foreign, Mapping):
            yield from _foreign(version, here, foreign, number_)


def _words(version: Published, here: str) -> Iterator[Triple]:
    said, titles = version.descriptor, version.element.get("titles")
    title = str(said.get("title") or version.name)
    first = _said(title)
    yield here, "dct:title", first
    english = titles.get("en") if isinstance(titles, dict) else None
    if isinstance(english, str) and english and english != title:
        # Two titles in one language could not be told apart.
        kind = "title" if first.lang == "zh" else "alternative"
        yield here, f"dct:{kind}", Literal(english, "en")
    yield here, "dct:description", _said(str(said.get("description") or title))


def _typed(subject: str, predicate: str, iri: str, kind: str) -> Iterator[Triple]:
    yield subject, predicate, Iri(iri)
    yield iri, TYPE, Iri(kind)


def _publisher(version: Published, here: str) -> Iterator[Triple]:
    owner = f"{version.base}/search?publisher={quote(version.publisher)}"
    yield from _typed(here, "dct:publisher", owner, "foaf:Agent")
    yield owner, "foaf:name", _said(version.publisher_name)
    contact = f"{version.page}#contact"
    yield from _typed(here, "dcat:contactPoint", contact, "vcard:Kind")
    yield contact, TYPE, Iri("vcard:Organization")
    yield contact, "vcard:fn", _said(version.publisher_name)
    yield contact, "vcard:hasURL", Iri(version.page)


def _contributors(version: Published, here: str) -> Iterator[Triple]:
    """Yield who made it, each with every role (DCAT 3 §6.4.22); one who only publishes is told."""
    people = [c for c in version.descriptor.get("contributors") or () if isinstance(c, dict)]
    if people == [{"title": version.publisher_name, "roles": ["publisher"]}]:
        return
    for number, who in enumerate(people):
        agent = f"{version.page}#agent-{number}"
        yield agent, TYPE, Iri("foaf:Agent")
        yield agent, "foaf:name", _said(str(who.get("title") or "?"))
        if who.get("email"):
            yield agent, "foaf:mbox", Iri(f"mailto:{who['email']}")
        if who.get("path"):
            yield agent, "foaf:homepage", Iri(str(who["path"]))
        roles = who.get("roles") or ([who["role"]] if who.get("role") else [])
        roles = [str(r) for r in roles] if isinstance(roles, list) else []
        for order, role in enumerate(roles or [""]):
            mark = f"{version.page}#attribution-{number}-{order}"
            yield from _typed(here, "prov:qualifiedAttribution", mark, "prov:Attribution")
            yield mark, "prov:agent", Iri(agent)
            if role:
                yield from _typed(mark, "dcat:hadRole", f"{ROLE}{quote(role)}", "dcat:Role")
        if {"creator", "author"} & set(roles):
            yield here, "dct:creator", Iri(agent)


def _sources(version: Published, here: str) -> Iterator[Triple]:
    sources = [s for s in version.descriptor.get("sources") or () if isinstance(s, dict)]
    for number, source in enumerate(sources):
        one = f"{version.page}#source-{number}"
        yield from _typed(here, "prov:wasDerivedFrom", one, "prov:Entity")
        if source.get("title"):
            yield one, "dct:title", _said(str(source["title"]))
        if path := source.get("path"):
            yield one, "foaf:page", Iri(str(path)) if is_remote(str(path)) else Literal(str(path))


def _free(element: Mapping[str, Any]) -> bool:
    pricing = (element.get("offer") or {}).get("pricing") or ()
    return any(isinstance(p, dict) and p.get("mode") == "free" for p in pricing)


def _coverage(version: Published, here: str) -> Iterator[Triple]:
    element = version.element
    for tag in element.get("languages") or ():
        code = LANGUAGE.get(str(tag).split("-")[0].lower())
        iri = f"{_EU}language/{code}" if code else f"http://lexvo.org/id/iso639-1/{tag}"
        yield from _typed(here, "dct:language", iri, "dct:LinguisticSystem")
        yield here, "dc:language", Literal(str(tag))
    if code := FREQUENCY.get(str(element.get("update_frequency"))):
        yield from _typed(here, "dct:accrualPeriodicity", f"{_EU}frequency/{code}", "dct:Frequency")
    coverage = element.get("coverage") or {}
    for code in coverage.get("spatial_codes") or ():
        place = f"{_DIVISION}{code}"
        yield from _typed(here, "dct:spatial", place, "dct:Location")
        known = code_list("division").get(str(code))
        if known is not None:
            yield place, "skos:prefLabel", Literal(known.zh, "zh")
    span = coverage.get("temporal") or {}
    if span.get("start") or span.get("end"):
        period = f"{version.page}#period"
        yield from _typed(here, "dct:temporal", period, "dct:PeriodOfTime")
        for ours, theirs in (("start", "dcat:startDate"), ("end", "dcat:endDate")):
            if span.get(ours):
                yield period, theirs, Literal(str(span[ours])[:10], datatype="xsd:date")


def _identifiers(version: Published, here: str) -> Iterator[Triple]:
    for number, entry in enumerate(version.element.get("identifiers") or ()):
        if isinstance(entry, dict) and entry.get("value"):
            iri = f"{version.page}#identifier-{number}"
            yield from _typed(here, "adms:identifier", iri, "adms:Identifier")
            yield iri, "skos:notation", Literal(str(entry["value"]), datatype="xsd:string")
            yield iri, "adms:schemaAgency", Literal(str(entry.get("scheme") or ""))


def _series(version: Published, here: str) -> Iterator[Triple]:
    """Yield the series of versions that this one is of, and the version before it."""
    series = f"{version.page}#series"
    yield from _typed(here, "dcat:inSeries", series, "dcat:DatasetSeries")
    yield from _words(version, series)
    if version.previous is not None:
        before = f"{version.page}?version={version.previous}#dataset"
        yield from _typed(here, "dcat:previousVersion", before, "dcat:Dataset")
        yield from _words(version, before)
        yield before, "dcat:hasCurrentVersion", Iri(here)


def _policy(version: Published, here: str) -> Iterator[Triple]:
    policy = version.element.get("policy")
    if isinstance(policy, dict):
        yield from dcat_policy.triples(policy, version.page, here)


def _distribution(version: Published, of: str, resource: Mapping[str, Any]) -> Iterator[Triple]:
    name = str(resource.get("name") or "resource")
    here = f"{version.page}#{quote(name)}"
    yield of, "dcat:distribution", Iri(here)
    yield here, TYPE, Iri("dcat:Distribution")
    yield here, "dct:title", _said(str(resource.get("title") or name))
    if text := resource.get("description"):
        yield here, "dct:description", _said(str(text))
    yield from _typed(here, "dcat:accessURL", version.page, "rdfs:Resource")
    files = list(files_of(resource))
    if name == version.sample and len(files) == 1:
        url = version.file_url(files[0][0])
        yield from _typed(here, "dcat:downloadURL", url, "rdfs:Resource")
    size = [n for _, _, n in files if n is not None]
    if size:
        yield here, "dcat:byteSize", Literal(str(sum(size)), datatype="xsd:nonNegativeInteger")
    if len(files) == 1:
        yield here, "spdx:fileName", Literal(files[0][0])
        if files[0][1]:
            yield from _checksum(here, files[0][1])
    else:
        yield from _parts(here, files)
    yield from _kind(here, str(resource.get("mediatype") or ""))
    if encoding := resource.get("encoding"):
        yield here, "cnt:characterEncoding", Literal(str(encoding))
    yield from _licence(version, here)


def _parts(here: str, files: Iterable[tuple[str, str, int | None]]) -> Iterator[Triple]:
    """Yield the files of a distribution that has several."""
    for number, (path, sha256, size) in enumerate(files):
        one = f"{here}-file-{number}"
        yield from _typed(here, "dct:hasPart", one, "spdx:File")
        yield one, "spdx:fileName", Literal(path)
        if size is not None:
            yield one, "dcat:byteSize", Literal(str(size), datatype="xsd:nonNegativeInteger")
        if sha256:
            yield from _checksum(one, sha256)


def _checksum(here: str, sha256: str) -> Iterator[Triple]:
    iri, algorithm = f"{here}-checksum", "spdx:checksumAlgorithm_sha256"
    yield from _typed(here, "spdx:checksum", iri, "spdx:Checksum")
    yield iri, "spdx:algorithm", Iri(algorithm)
    yield iri, "spdx:checksumValue", Literal(sha256, datatype="xsd:hexBinary")
    yield Iri(algorithm).whole, TYPE, Iri("spdx:ChecksumAlgorithm")


def _kind(here: str, media: str) -> Iterator[Triple]:
    if re.fullmatch(r"[\w.+-]+/[\w.+-]+", media):
        iri = f"{_IANA}{media}"
        yield from _typed(here, "dcat:mediaType", iri, "dct:MediaType")
        yield from _typed(here, "dct:format", iri, "dct:MediaTypeOrExtent")


def _licence(version: Published, here: str) -> Iterator[Triple]:
    spdx = str(version.element.get("license_spdx") or "")
    if spdx:
        iri = f"https://spdx.org/licenses/{quote(spdx)}"
        yield from _typed(here, "dct:license", iri, "dct:LicenseDocument")


def _foreign(version: Published, of: str, said: Mapping[str, Any], number: int) -> Iterator[Triple]:
    """Yield a distribution that another catalog described, as it described it."""
    here = f"{version.page}#distribution-{number}"
    yield of, "dcat:distribution", Iri(here)
    yield here, TYPE, Iri("dcat:Distribution")
    for key in ("title", "description"):
        if said.get(key):
            yield here, f"dct:{key}", _said(str(said[key]))
    access = str(said.get("accessURL") or version.page)
    yield from _typed(here, "dcat:accessURL", access, "rdfs:Resource")
    if said.get("downloadURL"):
        yield from _typed(here, "dcat:downloadURL", str(said["downloadURL"]), "rdfs:Resource")
    if isinstance(said.get("bytes"), int):
        count = Literal(str(said["bytes"]), datatype="xsd:nonNegativeInteger")
        yield here, "dcat:byteSize", count
    if said.get("sha256"):
        yield from _checksum(here, str(said["sha256"]))
    yield from _kind(here, str(said.get("mediatype") or ""))
    if said.get("license"):
        yield from _typed(here, "dct:license", str(said["license"]), "dct:LicenseDocument")


# --- pages -------------------------------------------------------------------------------------


def paging(here: str, *, page: int, size: int, total: int) -> Iterator[Triple]:
    """Yield the links between pages that harvesters follow (Hydra core)."""

    def at(number: int) -> Node:
        return Iri(f"{here}?page={number}")

    last = max(1, -(-total // size))
    me = f"{here}?page={page}"
    yield me, TYPE, Iri("hydra:PagedCollection")
    yield me, TYPE, Iri("hydra:PartialCollectionView")
    yield me, "hydra:totalItems", Literal(str(total), datatype="xsd:integer")
    yield me, "hydra:itemsPerPage", Literal(str(size), datatype="xsd:integer")
    yield me, "hydra:first", at(1)
    yield me, "hydra:last", at(last)
    if page > 1:
        yield me, "hydra:previous", at(page - 1)
    if page < last:
        yield me, "hydra:next", at(page + 1)
