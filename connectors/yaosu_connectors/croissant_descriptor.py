"""What a Croissant document says, as a Data Package descriptor."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from yaosu_schemas import licences
from yaosu_schemas.codes import code_list
from yaosu_schemas.paths import path_problem

from .croissant import TYPES
from .dcat_policy import CONTEXT, RULES

_TYPES = {theirs: ours for ours, theirs in reversed(TYPES.items())}
_NUMBERS = {"Int": "integer", "UInt": "integer", "Float": "number"}


def bare(name: Any) -> str:
    """Return a name without prefix or vocabulary."""
    return re.split(r"[/#:]", name)[-1] if isinstance(name, str) else ""


def items(said: Mapping[str, Any], key: str) -> list[Any]:
    """Return what stands under a key, whatever prefix it has, as a list."""
    for name in (key, f"cr:{key}", f"sc:{key}", f"ml:{key}"):
        if name in said:
            value = said[name]
            return value if isinstance(value, list) else [value]
    return []


def one_of(said: Mapping[str, Any], key: str) -> Any:
    found = items(said, key)
    return found[0] if found else None


def kinds(said: Any) -> set[str]:
    kind = said.get("@type") if isinstance(said, dict) else None
    return {bare(k) for k in (kind if isinstance(kind, list) else [kind])}


def id_of(said: Mapping[str, Any]) -> str:
    return str(said.get("@id") or text_of(said.get("name")) or "")


def reference(value: Any) -> str:
    return str(value.get("@id", "")) if isinstance(value, dict) else str(value)


def text_of(value: Any) -> str:
    """Return a text, of several languages the Chinese, the English or the first."""
    if isinstance(value, list):
        return text_of(value[0]) if value else ""
    if isinstance(value, dict):
        if "@value" in value:
            return text_of(value["@value"])
        languages = [value.get("zh"), value.get("en"), *value.values()]
        return next((v for v in languages if isinstance(v, str)), "")
    return str(value).strip() if isinstance(value, str | int | float) else ""


def descriptor(said: Mapping[str, Any]) -> dict[str, Any]:
    """Return a document as a descriptor: files of the package apart from all others."""
    found = common(said)
    if derived := list(sources(said, "prov:wasDerivedFrom")):
        found["sources"] = derived
    resources, elsewhere = _resources(said)
    if resources:
        found["resources"] = resources
    if elsewhere:
        found["croissant:distribution"] = elsewhere
    return found


def common(said: Mapping[str, Any]) -> dict[str, Any]:
    """Return what schema.org has words for, and what Croissant adds to the dataset itself."""
    name = text_of(one_of(said, "name"))
    plain = re.sub(r"[^a-z0-9._-]+", "-", name.lower()).strip("-.")[:100] or "dataset"
    title = text_of(one_of(said, "alternateName")) or name or plain
    found: dict[str, Any] = {"name": plain, "title": title}
    for ours, theirs in (("description", "description"), ("created", "dateCreated"),
                         ("version", "version"), ("homepage", "sameAs")):  # fmt: skip
        if text := text_of(one_of(said, theirs)):
            found[ours] = text
    if words := list(_words(items(said, "keywords"))):
        found["keywords"] = words
    spdx = _licence(said, found)
    people = [_person(c) for c in items(said, "creator") if isinstance(c, dict)]
    if known := [p for p in people if p["title"]]:
        found["contributors"] = known
    if element := _element(said, spdx):
        found["dataElement"] = element
    return found


def _words(given: list[Any]) -> Iterator[str]:
    """Yield keywords; one text alone may hold several."""
    for word in given if len(given) > 1 else text_of(given).split(","):
        if text := text_of(word):
            yield text


def _licence(said: Mapping[str, Any], found: dict[str, Any]) -> str | None:
    given = one_of(said, "license")
    text = (
        text_of(given.get("name") or given.get("url")) if isinstance(given, dict)
        else text_of(given)
    )  # fmt: skip
    if not text or text == "unspecified":
        return None
    spdx = licences.from_open_definition(text.rstrip("/").rsplit("/", 1)[-1]) or (
        text if text.startswith("LicenseRef-") else None
    )
    found["licenses"] = [{"name": spdx} if spdx else {"title": text[:300]}]
    return spdx


def _person(said: Mapping[str, Any]) -> dict[str, Any]:
    roles = [text_of(r) for r in items(said, "additionalType") if text_of(r)]
    found: dict[str, Any] = {"title": text_of(said.get("name")), "roles": roles or ["creator"]}
    for ours, theirs in (("email", "email"), ("path", "url")):
        if text := text_of(said.get(theirs)):
            found[ours] = text
    return found


def sources(said: Mapping[str, Any], key: str) -> Iterator[dict[str, str]]:
    """Yield what a dataset was made from."""
    for one in items(said, key):
        if isinstance(one, dict):
            title, url = text_of(one.get("name")), text_of(one.get("url") or one.get("@id"))
            if title or url:
                yield {"title": title or url, **({"path": url} if url else {})}


# --- dataElement -------------------------------------------------------------------------------


def _element(said: Mapping[str, Any], spdx: str | None) -> dict[str, Any]:
    found: dict[str, Any] = {}
    if spdx:
        found["license_spdx"] = spdx
    if languages := [text_of(t) for t in items(said, "inLanguage") if text_of(t)]:
        found["languages"] = languages
    if coverage := _coverage(said):
        found["coverage"] = coverage
    if policy := _policy(said):
        found["policy"] = policy
    return found | _responsible(said)


def _coverage(said: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    span = text_of(one_of(said, "temporalCoverage")).split("/")
    if len(span) == 2:
        ends = {k: v for k, v in zip(("start", "end"), span, strict=True) if v not in ("..", "")}
        if ends:
            found["temporal"] = ends
    codes = [
        mark.removeprefix("GB/T 2260:") for p in items(said, "spatialCoverage")
        if isinstance(p, dict)
        and (mark := text_of(p.get("identifier"))).startswith("GB/T 2260:")
    ]  # fmt: skip
    if codes:
        found["spatial_codes"] = codes
    return found


def _policy(said: Mapping[str, Any]) -> dict[str, Any]:
    """Return the rules of an ODRL offer, with the names of its members without their space."""
    for usage in items(said, "usageInfo"):
        if isinstance(usage, dict):
            rules = {k: _bare_names(items(usage, f"odrl:{k}"), 0) for k in RULES}
            if found := {k: v for k, v in rules.items() if v}:
                return {"@context": CONTEXT, "@type": "Offer", **found}
    return {}


def _bare_names(value: Any, depth: int) -> Any:
    if isinstance(value, list) and depth < 12:
        return [_bare_names(v, depth + 1) for v in value]
    if not isinstance(value, dict) or depth >= 12:
        return value
    return {k.removeprefix("odrl:"): _bare_names(v, depth + 1) for k, v in value.items()}


_LIMITS = ("buyer", "buyer_qualification", "environment", "territory", "resale", "export")


def _responsible(said: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is said of the making and the risks of the data (Croissant RAI 1.0)."""
    found: dict[str, Any] = {}
    if text := text_of(said.get("rai:dataUseCases")):
        found["scenario"] = text
    period = text_of(said.get("rai:dataReleaseMaintenancePlan"))
    if period in code_list("update_frequency"):
        found["update_frequency"] = period
    limits = dict(
        text_of(v).split(": ", 1) for v in items(said, "rai:dataLimitations")
        if text_of(v).partition(": ")[0] in _LIMITS
    )  # fmt: skip
    if limits:
        found["restrictions"] = limits
    origins = [
        code for v in items(said, "rai:dataCollectionType") if (code := _code("origin", v))
    ]  # fmt: skip
    if origins:
        found["provenance"] = {"origin": origins}
    if personal := _code("personal_info", said.get("rai:personalSensitiveInformation")):
        found["compliance"] = {"personal_info": personal}
    notes: dict[str, Any] = {}
    if text := text_of(said.get("rai:dataAnnotationProtocol")):
        notes["protocol"] = text
    each = text_of(said.get("rai:annotationsPerItem"))
    if each.isascii() and each.isdigit() and len(each) < 7:
        notes["items_per"] = int(each)
    splits = [
        {"name": str(row["splits/name"])}
        for one in items(said, "recordSet")
        if isinstance(one, dict) and one.get("@id") == "splits"
        for row in items(one, "data")
        if isinstance(row, dict) and row.get("splits/name")
    ]
    if ai := {**({"splits": splits} if splits else {}), **({"annotation": notes} if notes else {})}:
        found["ai"] = ai
    return found


def _code(name: str, said: Any) -> str:
    """Return the code whose meaning in English is said."""
    text = text_of(said)
    codes = code_list(name)
    return next((c for c in codes.codes if text and codes.text(c).en == text), "")


# --- files -------------------------------------------------------------------------------------


def _resources(said: Mapping[str, Any]) -> tuple[list[dict[str, Any]], list[Any]]:
    """Return (files of the package, all other files as they were described)."""
    files = {id_of(f): f for f in items(said, "distribution") if isinstance(f, dict)}
    tables: dict[str, dict[str, Any]] = {}
    for one in items(said, "recordSet"):
        for field in items(one, "field") if isinstance(one, dict) else ():
            source = one_of(field, "source") if isinstance(field, dict) else None
            name = reference(one_of(source, "fileObject")) if isinstance(source, dict) else ""
            if name in files:
                tables.setdefault(name, one)
    resources, elsewhere = [], []
    for number, (id, file) in enumerate(files.items()):
        ours = id.startswith("files/") and "FileObject" in kinds(file)
        made = resource_of(file, number, tables.get(id)) if ours else None
        if made is None:
            elsewhere.append(file)  # its address is kept, and never fetched
        else:
            resources.append(made)
    return resources, elsewhere


def resource_of(
    file: Mapping[str, Any], number: int, table: Mapping[str, Any] | None = None
) -> dict[str, Any] | None:
    """Return a file of the package as a resource; None where its name is no path in one."""
    path = text_of(file.get("name"))
    if not path or path_problem(path) is not None:
        return None
    given = id_of(table) if table else path
    stem = re.sub(r"[^a-z0-9._-]+", "-", given.lower()).strip("-.") or f"resource-{number + 1}"
    found: dict[str, Any] = {"name": stem, "path": path}
    if text := text_of(file.get("description")):
        found["description"] = text
    if media := text_of(one_of(file, "encodingFormat")):
        found["mediatype"] = media
    size = re.fullmatch(r"(\d{1,17}) B", text_of(one_of(file, "contentSize")))
    if size:
        found["bytes"] = int(size.group(1))
    if sha256 := text_of(one_of(file, "sha256")):
        found["hash"] = f"sha256:{sha256}"
    if "." in path:
        found["format"] = path.rsplit(".", 1)[-1].lower()
    if table:
        fields = [f for f in items(table, "field") if isinstance(f, dict)]
        found["schema"] = {"fields": [_column(f) for f in fields]}
        names = {
            id_of(f): c["name"] for f, c in zip(fields, found["schema"]["fields"], strict=True)
        }
        keys = [names[k] for r in items(table, "key") if (k := reference(r)) in names]
        if keys:
            found["schema"]["primaryKey"] = keys if len(keys) > 1 else keys[0]
    return found


def _column(said: Mapping[str, Any]) -> dict[str, Any]:
    source = one_of(said, "source")
    extract = one_of(source, "extract") if isinstance(source, dict) else None
    column = text_of(one_of(extract, "column")) if isinstance(extract, dict) else ""
    name = column or text_of(said.get("name")).rsplit("/", 1)[-1] or id_of(said).rsplit("/", 1)[-1]
    found: dict[str, Any] = {"name": name}
    if said.get("isArray") or said.get("repeated"):
        found["type"] = "array"
    else:
        kind = text_of(one_of(said, "dataType"))
        short = re.sub(r"\d+$", "", bare(kind))
        found["type"] = _TYPES.get(f"sc:{bare(kind)}") or _NUMBERS.get(short, "string")
    if text := text_of(said.get("description")):
        found["description"] = text
    return found
