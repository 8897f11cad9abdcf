"""schema.org/Dataset, as search engines read it in a page: ours out, those of others in."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote, urlsplit

from yaosu_schemas.canonical import digest
from yaosu_schemas.errors import InvalidInput
from yaosu_schemas.texts import clip

from . import croissant, croissant_descriptor
from .connector import Record
from .croissant_descriptor import items, kinds, text_of
from .published import Mapped, Published

FIELDS = (
    Mapped("name", "`alternateName`"),
    Mapped("title", "`name`"),
    Mapped("description", "`description`", "50 to 5,000 characters, as indexes ask for",
           "changed"),
    Mapped("keywords", "`keywords`"),
    Mapped("version", "`version`"),
    Mapped("created", "`dateCreated`"),
    Mapped("homepage", "`sameAs`"),
    Mapped("dataElement.license_spdx", "`license`"),
    Mapped("licenses", "`license`", "the SPDX id stands for them", "changed"),
    Mapped("contributors[].title, roles, email, path",
           "`creator` with `additionalType`, `email`, `url`"),
    Mapped("dataElement.languages", "`inLanguage`"),
    Mapped("dataElement.coverage.temporal", "`temporalCoverage`"),
    Mapped("dataElement.coverage.spatial_codes", "`spatialCoverage`"),
    Mapped("dataElement.identifiers[].scheme, value", "`identifier` as `PropertyValue`"),
    Mapped("sources[].title, path", "`isBasedOn`"),
    Mapped("resources[].path, bytes, hash, mediatype, description, parts", "`distribution`",
           "several files of one become one each", "changed"),
    Mapped("resources[].name, title, format", "", "named by the path", "changed"),
    Mapped("resources[].schema.fields[].name", "`variableMeasured`", "of all tables together",
           "lost"),
    Mapped("resources[].*", "", "", "lost"),
    Mapped("*", "", "all that is not named here", "lost"),
)  # fmt: skip
_KEPT = ("name", "alternateName", "description", "url", "license", "creator", "publisher",
         "datePublished", "dateModified", "dateCreated", "version", "keywords", "inLanguage",
         "temporalCoverage", "spatialCoverage", "sameAs", "isAccessibleForFree")  # fmt: skip
SHORTEST, LONGEST = 50, 5000


# --- out ---------------------------------------------------------------------------------------


def document(version: Published, catalog: str) -> dict[str, Any]:
    """Return schema.org/Dataset for the page of a version (no record sets)."""
    whole = croissant.document(version)
    found = {k: _plain(whole[k]) for k in _KEPT if k in whole}
    said = str(found["description"])
    if len(said) < SHORTEST and version.page not in said:
        said = f"{found['alternateName']}. {said} {version.page}"
    return {
        "@context": "https://schema.org/",
        "@type": "Dataset",
        **found,
        "name": found["alternateName"],
        "alternateName": version.name,
        "description": said[:LONGEST],
        "identifier": [version.uuid, *_identifiers(version)],
        "variableMeasured": list(dict.fromkeys(_columns(version)))[:200],
        "isBasedOn": [{**s, "@type": "CreativeWork"} for s in whole.get("prov:wasDerivedFrom", ())],
        "includedInDataCatalog": {"@type": "DataCatalog", "name": catalog, "url": version.base},
        "distribution": [_download(one) for one in whole.get("distribution", ())],
    }


def _identifiers(version: Published) -> Iterator[dict[str, str]]:
    for one in version.element.get("identifiers") or ():
        if isinstance(one, dict) and one.get("value"):
            yield {"@type": "PropertyValue", "propertyID": str(one.get("scheme") or ""),
                   "value": str(one["value"])}  # fmt: skip


def _columns(version: Published) -> Iterator[str]:
    for resource in version.resources:
        schema = resource.get("schema")
        for field in (schema.get("fields") or ()) if isinstance(schema, dict) else ():
            if isinstance(field, dict) and field.get("name"):
                yield str(field["name"])


def _download(said: Mapping[str, Any]) -> dict[str, Any]:
    kept = ("contentUrl", "encodingFormat", "name", "contentSize", "sha256", "description")
    return {"@type": "DataDownload", **{k: said[k] for k in kept if k in said}}


def _plain(value: Any) -> Any:
    """Return a value with types as the bare vocabulary names them."""
    if isinstance(value, list):
        return [_plain(v) for v in value]
    if isinstance(value, dict):
        return {k: _plain(v) for k, v in value.items()}
    return value.removeprefix("sc:") if isinstance(value, str) else value


# --- in ----------------------------------------------------------------------------------------


def record_of(said: Any, place: str) -> Record:
    """Return a schema.org/Dataset as a record; InvalidInput where it is none."""
    if not isinstance(said, dict) or "Dataset" not in kinds(said):
        raise InvalidInput("it is no schema.org/Dataset", "不是 schema.org/Dataset")
    if not text_of(said.get("name")):
        raise InvalidInput("it has no name", "缺少 name")
    given = said.get("@id") or said.get("url")
    document = descriptor(said)
    return Record(
        origin_id=clip(given, 400) if isinstance(given, str) and given else place,
        kind="dataset", document=document, digest=digest(document),
    )  # fmt: skip


def descriptor(said: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a page says of a dataset as a descriptor; no file is fetched."""
    title = text_of(said.get("name"))
    tail = urlsplit(text_of(said.get("url"))).path.rstrip("/").rpartition("/")[2]
    found = croissant_descriptor.common({**said, "name": text_of(said.get("alternateName")) or tail,
                                      "alternateName": title})  # fmt: skip
    if found["name"] == "dataset":
        found["name"] = re.sub(r"[^a-z0-9._-]+", "-", title.lower()).strip("-.")[:100] or "dataset"
    element = found.setdefault("dataElement", {})
    marks = [
        {"scheme": text_of(i.get("propertyID")), "value": text_of(i.get("value"))}
        for i in items(said, "identifier")
        if isinstance(i, dict) and text_of(i.get("propertyID")) and text_of(i.get("value"))
    ]
    if marks:
        element["identifiers"] = marks
    if not element:
        del found["dataElement"]
    sources = list(croissant_descriptor.sources(said, "isBasedOn"))
    here = text_of(said.get("url"))
    elsewhere: list[Any] = []
    resources: list[dict[str, Any]] = []
    for number, one in enumerate(items(said, "distribution")):
        if not isinstance(one, dict):
            continue
        made = croissant_descriptor.resource_of(one, number) if _beside(one, here) else None
        (resources if made else elsewhere).append(made or one)
    if resources:
        found["resources"] = resources
    if elsewhere:
        found["schema:distribution"] = elsewhere
        sources = sources or [
            {"title": text_of(d.get("name")) or title, "path": text_of(d.get("contentUrl"))}
            for d in elsewhere if text_of(d.get("contentUrl"))
        ]  # fmt: skip
    if sources:
        found["sources"] = sources
    return found


def _beside(said: Mapping[str, Any], page: str) -> bool:
    """Tell whether a download lies beside the page, under the path that is its name."""
    name = text_of(said.get("name"))
    return bool(page and name) and text_of(said.get("contentUrl")) == f"{page}/{quote(name)}"
