"""Croissant 1.1 of a version: files with digests, record sets of every table, RAI and usage.

The document says nothing that the descriptor does not: what a person has to know before buying,
and what `mlcroissant` needs to load the sample, or, with a key, what was bought.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote

from yaosu_schemas.codes import code_list

from .published import Mapped, Published, files_of, utc

VERSION = "http://mlcommons.org/croissant/1.1"
MEDIA = f'application/ld+json; profile="{VERSION}"'
FIELDS = (
    Mapped("name", "`name`"),
    Mapped("title", "`alternateName`"),
    Mapped("description", "`description`"),
    Mapped("keywords", "`keywords`"),
    Mapped("version", "`version`"),
    Mapped("created", "`dateCreated`"),
    Mapped("homepage", "`sameAs`"),
    Mapped("dataElement.license_spdx", "`license`"),
    Mapped("licenses", "`license`", "the SPDX id stands for them", "changed"),
    Mapped("contributors[].title, roles, email, path",
           "`creator` with `additionalType`, `email`, `url`"),
    Mapped("sources[].title, path", "`prov:wasDerivedFrom`"),
    Mapped("dataElement.languages", "`inLanguage`"),
    Mapped("dataElement.coverage.temporal", "`temporalCoverage`"),
    Mapped("dataElement.coverage.spatial_codes", "`spatialCoverage`"),
    Mapped("dataElement.policy", "`usageInfo` (odrl:Offer)", "its rules; the target is the dataset",
           "changed"),
    Mapped("dataElement.scenario", "`rai:dataUseCases`"),
    Mapped("dataElement.update_frequency", "`rai:dataReleaseMaintenancePlan`"),
    Mapped("dataElement.restrictions", "`rai:dataLimitations`"),
    Mapped("dataElement.provenance.origin", "`rai:dataCollectionType`"),
    Mapped("dataElement.compliance.personal_info", "`rai:personalSensitiveInformation`"),
    Mapped("dataElement.ai.annotation.protocol, items_per",
           "`rai:dataAnnotationProtocol`, `rai:annotationsPerItem`"),
    Mapped("dataElement.ai.splits[].name", "`recordSet` of `cr:Split`"),
    Mapped("resources[].path, bytes, hash, parts", "`distribution[]`",
           "several files of one become one each", "changed"),
    Mapped("resources[].description", "`distribution[].description`"),
    Mapped("resources[].name", "`recordSet[].name`", "of a file that is no table: its path",
           "changed"),
    Mapped("resources[].mediatype", "`encodingFormat`", "as Croissant writes it", "changed"),
    Mapped("resources[].format", "", "the ending of the file", "changed"),
    Mapped("resources[].schema.fields[].name", "`recordSet[].field[].source.extract.column`",
           "of plain CSV, TSV, JSON, JSON Lines and Parquet", "changed"),
    Mapped("resources[].schema.fields[].type", "`dataType`", "years are integers, objects text",
           "changed"),
    Mapped("resources[].schema.fields[].title, description", "`description`", "one of the two",
           "changed"),
    Mapped("resources[].schema.primaryKey", "`recordSet[].key`", "a list of one is the one",
           "changed"),
    Mapped("resources[].*", "", "", "lost"),
    Mapped("*", "", "all that is not named here", "lost"),
)  # fmt: skip
_CR = (
    "arrayShape citeAs column containedIn equivalentProperty extract field fileProperty fileObject"
    " fileSet format includes isArray isLiveDataset jsonPath key md5 parentField path readLines"
    " recordSet references regex repeated replace samplingRate separator source subField transform"
    " unArchive value"
)
CONTEXT: Mapping[str, Any] = {
    "@language": "zh",
    "@vocab": "https://schema.org/",
    "sc": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "dct": "http://purl.org/dc/terms/",
    "odrl": "http://www.w3.org/ns/odrl/2/",
    "prov": "http://www.w3.org/ns/prov#",
    "conformsTo": "dct:conformsTo",
    "data": {"@id": "cr:data", "@type": "@json"},
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    **{name: f"cr:{name}" for name in _CR.split()},
}
TYPES = {"string": "sc:Text", "integer": "sc:Integer", "number": "sc:Float",
         "boolean": "sc:Boolean", "date": "sc:Date", "datetime": "sc:DateTime",
         "time": "sc:Time", "year": "sc:Integer"}  # fmt: skip
ENCODINGS = {"csv": "text/csv", "tsv": "text/tab-separated-values", "json": "application/json",
             "jsonl": "application/jsonlines", "ndjson": "application/jsonlines",
             "parquet": "application/x-parquet"}  # fmt: skip
_DUO_SET = "http://purl.obolibrary.org/obo/duo.owl"
_DUO = "http://purl.obolibrary.org/obo/DUO_"


def document(version: Published) -> dict[str, Any]:
    """Return the Croissant document of a version."""
    said, element = version.descriptor, version.element
    title = str(said.get("title") or version.name)
    spdx = str(element.get("license_spdx") or "")
    named = bool(spdx) and not spdx.startswith("LicenseRef-")
    listed = utc(version.listed_at or version.created_at)
    people = _people(version)
    found: dict[str, Any] = {
        "@context": dict(CONTEXT),
        "@type": "sc:Dataset",
        "@id": f"{version.page}#dataset",
        "conformsTo": VERSION,
        "name": version.name,
        "alternateName": title,
        "description": str(said.get("description") or title),
        "url": version.page,
        "identifier": version.uuid,
        "license": f"https://spdx.org/licenses/{quote(spdx)}" if named else spdx or "unspecified",
        "creator": people,
        "publisher": {"@type": "sc:Organization", "name": version.publisher_name},
        "datePublished": listed.strftime("%Y-%m-%dT%H:%M:%SZ"),
        "dateModified": utc(version.updated_at).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "version": str(said.get("version") or f"{version.number}.0.0"),
        "citeAs": f"{version.publisher_name}: {title}. {version.page}",
        "isAccessibleForFree": _free(element),
        "distribution": list(_distribution(version)),
        "recordSet": [*_splits(version), *_record_sets(version)],
        **_optional(version),
        **_responsible(element),
    }
    if usage := _usage(element, spdx):
        found["usageInfo"] = usage
    return {k: v for k, v in found.items() if v not in (None, [], "")}


def _people(version: Published) -> list[dict[str, Any]]:
    people = [
        c for c in version.descriptor.get("contributors") or ()
        if isinstance(c, dict) and c.get("title")
    ] or [{"title": version.publisher_name}]  # fmt: skip
    return [_person(who) for who in people]


def _person(said: Mapping[str, Any]) -> dict[str, Any]:
    """Return who made it; every role but that of the maker is told."""
    roles = said.get("roles") or ([said["role"]] if said.get("role") else [])
    roles = [str(r) for r in roles] if isinstance(roles, list) else []
    found: dict[str, Any] = {"@type": "sc:Organization", "name": str(said["title"])}
    if roles not in ([], ["creator"]):
        found["additionalType"] = roles
    if said.get("email"):
        found["email"] = str(said["email"])
    if said.get("path"):
        found["url"] = str(said["path"])
    return found


def _free(element: Mapping[str, Any]) -> bool:
    pricing = (element.get("offer") or {}).get("pricing") or ()
    return any(isinstance(p, dict) and p.get("mode") == "free" for p in pricing)


def _optional(version: Published) -> dict[str, Any]:
    said, element = version.descriptor, version.element
    span = (element.get("coverage") or {}).get("temporal") or {}
    sources = [s for s in said.get("sources") or () if isinstance(s, dict)]
    return {
        "keywords": [str(k) for k in said.get("keywords") or ()],
        "inLanguage": [str(t) for t in element.get("languages") or ()],
        "dateCreated": said.get("created"),
        "sameAs": said.get("homepage"),
        "temporalCoverage": f"{span.get('start', '..')}/{span.get('end', '..')}" if span else None,
        "spatialCoverage": [_place(str(c)) for c in _codes(version)],
        "prov:wasDerivedFrom": [
            {"@type": "prov:Entity", "name": str(s.get("title") or s.get("path") or "source"),
             **({"url": str(s["path"])} if s.get("path") else {})}
            for s in sources
        ],
        "prov:wasAttributedTo": {"@type": "prov:Agent", "name": version.publisher_name},
    }  # fmt: skip


def _codes(version: Published) -> list[Any]:
    coverage = version.element.get("coverage")
    codes = coverage.get("spatial_codes") if isinstance(coverage, dict) else None
    return codes if isinstance(codes, list) else []


def _place(code: str) -> dict[str, str]:
    """Return a division of GB/T 2260 as a place."""
    named = code_list("division").text(code).zh
    return {"@type": "sc:Place", "identifier": f"GB/T 2260:{code}", "name": named}


def _responsible(element: Mapping[str, Any]) -> dict[str, Any]:
    """Return what is said of the making and the risks of the data (Croissant RAI 1.0)."""
    notes = (element.get("ai") or {}).get("annotation") or {}
    provenance = element.get("provenance") or {}
    origins = [str(o) for o in provenance.get("origin") or ()]
    personal = (element.get("compliance") or {}).get("personal_info")
    limits = [f"{k}: {v}" for k, v in (element.get("restrictions") or {}).items()]
    records = [r for r in provenance.get("source_records") or () if isinstance(r, dict)]
    found = {
        "rai:dataCollection": "; ".join(str(r["note"]) for r in records if r.get("note")),
        "rai:dataCollectionType": [code_list("origin").text(o).en for o in origins],
        "rai:dataUseCases": element.get("scenario"),
        "rai:dataLimitations": limits,
        "rai:personalSensitiveInformation":
            code_list("personal_info").text(str(personal)).en if personal else None,
        "rai:dataAnnotationProtocol": notes.get("protocol"),
        "rai:annotationsPerItem":
            str(notes["items_per"]) if notes.get("items_per") is not None else None,
        "rai:dataReleaseMaintenancePlan": element.get("update_frequency"),
    }  # fmt: skip
    return {k: v for k, v in found.items() if v not in (None, [], "")}


def _usage(element: Mapping[str, Any], spdx: str) -> list[dict[str, Any]]:
    """Return the policy as an ODRL offer, and the terms of the Data Use Ontology it implies."""
    found: list[dict[str, Any]] = []
    policy = element.get("policy")
    if isinstance(policy, dict):
        rules = {
            f"odrl:{kind}": policy[kind]
            for kind in ("permission", "prohibition", "obligation")
            if policy.get(kind)
        }
        found.append({"@type": ["CreativeWork", "odrl:Offer"], **_odrl(rules)})
    known = code_list("licence").get(spdx)
    code = "0000046" if known is not None and known["nc"] == "yes" else "0000042"
    name = "non-commercial use only" if code == "0000046" else "general research use"
    term = {"@type": "DefinedTerm", "@id": f"{_DUO}{code}", "termCode": f"DUO:{code}"}
    return [*found, {**term, "name": name, "inDefinedTermSet": _DUO_SET}]


_ODRL = frozenset(("action", "constraint", "duty", "leftOperand", "operator", "rightOperand",
                   "target", "assigner", "assignee", "refinement", "unit"))  # fmt: skip


def _odrl(value: Any) -> Any:
    """Return a policy with the names of its members in their own space."""
    if isinstance(value, list):
        return [_odrl(v) for v in value]
    if not isinstance(value, dict):
        return value
    return {f"odrl:{k}" if k in _ODRL else k: _odrl(v) for k, v in value.items() if k[:1] != "@"}


# --- files -------------------------------------------------------------------------------------


def _distribution(version: Published) -> Iterator[dict[str, Any]]:
    for resource in version.resources:
        for path, sha256, size in files_of(resource):
            one: dict[str, Any] = {
                "@type": "cr:FileObject",
                "@id": file_id(path),
                "name": path,
                "contentUrl": version.file_url(path),
                "encodingFormat": _encoding(resource, path),
            }
            if size is not None:
                one["contentSize"] = f"{size} B"
            if sha256:
                one["sha256"] = sha256
            else:
                one["isLiveDataset"] = True
            if text := resource.get("description"):
                one["description"] = str(text)
            yield one


def file_id(path: str) -> str:
    return f"files/{quote(path)}"


def _format(resource: Mapping[str, Any], path: str) -> str:
    return str(resource.get("format") or path.rsplit(".", 1)[-1]).lower()


def _encoding(resource: Mapping[str, Any], path: str) -> str:
    plain = not path.endswith((".gz", ".zst", ".bz2", ".xz", ".zip", ".tar"))
    known = ENCODINGS.get(_format(resource, path)) if plain else None
    return known or str(resource.get("mediatype") or "application/octet-stream")


# --- records -----------------------------------------------------------------------------------


def _splits(version: Published) -> Iterator[dict[str, Any]]:
    splits = (version.element.get("ai") or {}).get("splits") or ()
    names = [str(s["name"]) for s in splits if isinstance(s, dict) and s.get("name")]
    if names:
        yield {
            "@type": "cr:RecordSet",
            "@id": "splits",
            "name": "splits",
            "dataType": "cr:Split",
            "key": {"@id": "splits/name"},
            "field": [{"@type": "cr:Field", "@id": "splits/name", "name": "name",
                       "dataType": "sc:Text"}],
            "data": [{"splits/name": name} for name in names],
        }  # fmt: skip


def _record_sets(version: Published) -> Iterator[dict[str, Any]]:
    for resource in version.resources:
        schema = resource.get("schema")
        fields = schema.get("fields") if isinstance(schema, dict) else None
        fields = [f for f in fields or () if isinstance(f, dict) and f.get("name")]
        paths = [p for p, _, _ in files_of(resource)]
        for number, path in enumerate(paths):
            if not fields or _encoding(resource, path) not in ENCODINGS.values():
                continue
            name = quote(str(resource.get("name") or f"resource-{number}"))
            name = name if len(paths) == 1 else f"{name}-{number + 1}"
            one: dict[str, Any] = {
                "@type": "cr:RecordSet",
                "@id": name,
                "name": name,
                "field": [_field(name, f, path, resource) for f in fields],
            }
            if key := _keys(schema, name):
                one["key"] = key
            if text := resource.get("description") or resource.get("title"):
                one["description"] = str(text)
            yield one


def _keys(schema: Any, name: str) -> list[dict[str, str]]:
    keys = schema.get("primaryKey") or ()
    keys = [keys] if isinstance(keys, str) else keys
    return [{"@id": f"{name}/{quote(str(k))}"} for k in keys]


def _field(
    record_set: str, said: Mapping[str, Any], path: str, resource: Mapping[str, Any]
) -> dict[str, Any]:
    column, kind = str(said["name"]), str(said.get("type") or "string")
    extract: dict[str, str] = {"column": column}
    if _encoding(resource, path) == "application/json":
        extract = {"jsonPath": f"$[*]['{column}']" if "'" not in column else f'$[*]["{column}"]'}
    found: dict[str, Any] = {
        "@type": "cr:Field",
        "@id": f"{record_set}/{quote(column, safe='')}",
        "name": f"{record_set}/{column}",
        "dataType": TYPES.get(kind, "sc:Text"),
        "source": {"fileObject": {"@id": file_id(path)}, "extract": extract},
    }
    if text := said.get("description") or said.get("title"):
        found["description"] = str(text)
    if kind in ("array", "list"):
        found |= {"isArray": True, "arrayShape": "-1"}
    return found
