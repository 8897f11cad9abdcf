"""Descriptors from disk: read in bounds, brought into one form, references taken in.

Nothing is ever fetched: a remote schema, dialect or resource is a finding. Local references stay
below the folder of the descriptor and never go through links.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Mapping
from copy import deepcopy
from pathlib import Path
from typing import Any

from yaosu_schemas.errors import Text
from yaosu_schemas.paths import is_remote
from yaosu_schemas.texts import clip

from .check import Finding
from .dialects import CSV_KEYS
from .fields import CONSTRAINTS
from .json_texts import reason
from .profiles import (
    PROFILES,
    RESOURCE_TYPES,
    control_findings,
    dialect_findings,
    odd_fields,
    package_findings,
    resource_findings,
    schema_findings,
    version_of,
)
from .streams import SourceProblem, open_file

MAX_BYTES = 16 << 20
MAX_DEPTH = 64
MAX_NODES = 2_000_000
_ERRORS = {
    "package": "package-error",
    "resource": "resource-error",
    "schema": "schema-error",
    "dialect": "dialect-error",
}


class Refused(Exception):
    """A descriptor cannot be judged further; the findings say why."""

    def __init__(self, *findings: Finding) -> None:
        super().__init__(findings[0].type if findings else "refused")
        self.findings = findings


class Unresolved(Refused):
    """A resource is well written, and what it refers to is missing or wrong."""


def read_document(root: Path, path: str, kind: str) -> dict[str, Any]:
    """Return the JSON or YAML object of a file; Refused with the error kind of `kind`."""
    type_ = _ERRORS.get(kind, "metadata-error")
    if is_remote(path):
        raise Refused(_never_fetched(type_, path))
    try:
        with open_file(root, path.removeprefix("./")) as file:
            data = file.read(MAX_BYTES + 1)
    except SourceProblem as why:
        raise Refused(Finding(type=type_, note=why.finding.note)) from None
    try:
        value = parse_document(data, yaml=path.lower().endswith((".yaml", ".yml")))
    except ValueError as why:
        note = reason(why)
        raise Refused(
            Finding(type=type_, note=Text(f"it cannot be read: {note.en}", f"无法读取：{note.zh}"))
        ) from None
    if not isinstance(value, dict):
        raise Refused(Finding(type=type_, note=Text("it is not an object", "顶层不是对象")))
    return value


def parse_document(data: bytes, *, yaml: bool = False) -> Any:
    """Return the value of JSON or YAML bytes; ValueError if malformed, too large or too deep."""
    if len(data) > MAX_BYTES:
        raise ValueError(f"it is larger than {MAX_BYTES >> 20} MiB")
    text = data.decode("utf-8-sig" if yaml else "utf-8")
    try:
        value = _yaml(text) if yaml else json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if _depth(value) > MAX_DEPTH:
        raise ValueError(f"it is nested deeper than {MAX_DEPTH}, or unfolds without end")
    return value


def _yaml(text: str) -> Any:
    import yaml

    class Plain(yaml.SafeLoader):
        """YAML as JSON knows it: dates stay text."""

    Plain.yaml_implicit_resolvers = {
        k: [(tag, rx) for tag, rx in v if tag != "tag:yaml.org,2002:timestamp"]
        for k, v in yaml.SafeLoader.yaml_implicit_resolvers.items()
    }
    try:
        return yaml.load(text, Plain)
    except yaml.YAMLError as why:
        raise ValueError(clip(why, 160)) from None


def _depth(value: Any) -> int:
    """Return how deep a value is nested; aliases of YAML may unfold without end: bounded."""
    deepest, count, todo = 0, 0, [(value, 1)]
    while todo:
        item, depth = todo.pop()
        count += 1
        if depth > MAX_DEPTH or count > MAX_NODES:
            return MAX_DEPTH + 1
        deepest = max(deepest, depth)
        if isinstance(item, dict):
            todo += [(v, depth + 1) for v in item.values()]
        elif isinstance(item, list):
            todo += [(v, depth + 1) for v in item]
    return deepest


def kind_of(document: Mapping[str, Any]) -> str | None:
    """Return which kind of descriptor an object is, by its properties."""
    if "resources" in document:
        return "package"
    if "path" in document or "data" in document:
        return "resource"
    return "schema" if "fields" in document else None


def package_from(document: Mapping[str, Any], root: Path) -> dict[str, Any]:
    """Return the package in one form with all references taken in; Refused with all findings."""
    _untyped(document, "field-error", "package")
    package = normal_package(document)
    found = package_findings(package)
    if found:
        raise Refused(*found)
    for described in (*package["resources"], package):
        _profiled(described, root)
    for i, resource in enumerate(package["resources"]):
        _imported(resource, f"/resources/{i}")
    version = version_of(package)
    package["resources"] = [_resolved(r, root, version) for r in package["resources"]]
    return package


def resource_from_document(document: Mapping[str, Any], root: Path) -> dict[str, Any]:
    """Return the resource in one form with its references taken in."""
    resource = normal_resource(document)
    found = resource_findings(resource)
    if found:
        raise Refused(*found)
    _profiled(resource, root)
    _imported(resource)
    return _resolved(resource, root, version_of(resource))


def schema_from_document(document: Mapping[str, Any], version: str | None = None) -> dict[str, Any]:
    """Return the schema in one form; Refused with all findings."""
    _untyped(document, "schema-error", "schema")
    schema = normal_schema(document)
    found = schema_findings(schema, version) or odd_fields(schema)
    if found:
        raise Refused(*found)
    return schema


def _untyped(document: Mapping[str, Any], error: str, what: str) -> None:
    """Refuse a document that calls itself of a type, where its kind knows none."""
    kind = document.get("type")
    if kind:
        note = Text(f"there is no {what} type {clip(kind)!r}", f"没有 {what} 类型“{clip(kind)}”")
        raise Refused(Finding(type=error, note=note))


def _profiled(document: Mapping[str, Any], root: Path) -> None:
    """Refuse a profile that is neither known, nor elsewhere, nor a file beside the descriptor."""
    profile = document.get("profile")
    if not profile or profile in PROFILES or is_remote(profile):
        return
    with contextlib.suppress(OSError, ValueError):
        if (root / profile).is_file():
            return
    note = Text(f"there is no profile {clip(profile)!r}", f"没有 profile“{clip(profile)}”")
    raise Refused(Finding(type="metadata-error", note=note))


def _imported(resource: Mapping[str, Any], at: str = "") -> None:
    """Refuse a resource for controls and odd fields, which Frictionless reads after all else."""
    found = control_findings(resource.get("dialect"), f"{at}/dialect")
    found = found or odd_fields(resource.get("schema"), f"{at}/schema")
    if found:
        raise Refused(*found)


def _resolved(resource: dict[str, Any], root: Path, version: str) -> dict[str, Any]:
    try:
        return _with_references(resource, root, version)
    except Refused as why:
        raise Unresolved(*why.findings) from None


def _with_references(resource: dict[str, Any], root: Path, version: str) -> dict[str, Any]:
    if isinstance(resource.get("dialect"), str):
        raw = read_document(root, resource["dialect"], "dialect")
        _untyped(raw, "dialect-error", "dialect")
        dialect = normal_dialect(raw)
        found = dialect_findings(dialect) or control_findings(dialect)
        if found:
            raise Refused(*found)
        resource["dialect"] = dialect
    if isinstance(resource.get("schema"), str):
        raw = read_document(root, resource["schema"], "schema")
        resource["schema"] = schema_from_document(raw, version)
    return resource


def normal_package(document: Mapping[str, Any]) -> dict[str, Any]:
    """Bring a package into the form of v2; what v1 wrote otherwise is moved."""
    package = deepcopy(dict(document))
    package.pop("$frictionless", None)
    _profiles(package)
    resources = package.get("resources")
    if isinstance(resources, list):
        package["resources"] = [
            normal_resource(r) if isinstance(r, Mapping) else r for r in resources
        ]
    return package


def normal_resource(document: Mapping[str, Any]) -> dict[str, Any]:
    """Bring a resource into one form; Refused for a type that does not exist."""
    resource = deepcopy(dict(document))
    kind = resource.get("type")
    if kind and (not isinstance(kind, str) or kind not in RESOURCE_TYPES):
        raise Refused(
            Finding(
                type="resource-error",
                note=Text(
                    f"there is no resource type {clip(kind)!r}", f"没有资源类型“{clip(kind)}”"
                ),
            )
        )
    url = resource.pop("url", None)
    if not resource.get("path") and resource.get("data") is None and url:
        resource.setdefault("path", url)
    path = resource.get("path")
    if isinstance(path, list) and path:
        resource["path"] = path[0]
        resource["extrapaths"] = path[1:]
    _profiles(resource)
    _stats(resource)
    if resource.get("compression") == "no":
        del resource["compression"]
    if resource.get("profile") == "tabular-data-resource":
        resource["type"] = "table"
    layout = resource.pop("layout", None)
    if isinstance(layout, Mapping) and layout:
        dialect = resource.setdefault("dialect", {})
        if isinstance(dialect, dict):
            dialect.update(layout)
    if isinstance(resource.get("dialect"), Mapping):
        resource["dialect"] = normal_dialect(resource["dialect"])
    if isinstance(resource.get("schema"), Mapping):
        resource["schema"] = normal_schema(resource["schema"])
    if not resource.get("bytes", 1):  # no promise at all
        del resource["bytes"]
    return resource


def _profiles(document: dict[str, Any]) -> None:
    profiles = document.pop("profiles", None)
    if isinstance(profiles, list) and profiles and isinstance(profiles[0], str):
        document["profile"] = profiles[0]


def _stats(resource: dict[str, Any]) -> None:
    """Move promised hashes and counts of older drafts to where v2 has them."""
    stats = resource.pop("stats", None)
    if not isinstance(stats, Mapping):
        return
    hashing = resource.get("hashing")
    if hashing and stats.get("hash"):
        resource.setdefault("hash", f"{hashing}:{stats['hash']}")
    for algorithm in ("sha256", "md5"):
        if stats.get(algorithm):
            resource.setdefault("hash", f"{algorithm}:{stats[algorithm]}")
    for name in ("bytes", "fields", "rows"):
        if stats.get(name):
            resource[name] = stats[name]


def normal_dialect(document: Mapping[str, Any]) -> dict[str, Any]:
    """Move the CSV properties of v1 under `csv`."""
    dialect = dict(document)
    for name in CSV_KEYS:
        value = dialect.pop(name, None)
        if value is not None:
            dialect.setdefault("csv", {})
            if isinstance(dialect["csv"], dict):
                dialect["csv"][name] = value
    return dialect


def normal_schema(document: Mapping[str, Any]) -> dict[str, Any]:
    """Bring keys into lists; Refused for a field type that does not exist."""
    schema = deepcopy(dict(document))
    fields = schema.get("fields")
    for field in fields if isinstance(fields, list) else ():
        if isinstance(field, dict):
            _normal_field(field)
    key = schema.get("primaryKey")
    if key and not isinstance(key, list):
        schema["primaryKey"] = [key]
    unique = schema.get("uniqueKeys")
    if isinstance(unique, list):
        schema["uniqueKeys"] = [[k] if isinstance(k, str) else k for k in unique]
    foreign = schema.get("foreignKeys")
    for key in foreign if isinstance(foreign, list) else ():
        if isinstance(key, dict):
            _normal_foreign(key)
    return schema


def _normal_field(field: dict[str, Any]) -> None:
    kind = field.get("type")
    if kind and (not isinstance(kind, str) or kind not in CONSTRAINTS):
        raise Refused(
            Finding(
                type="field-error",
                note=Text(f"there is no field type {clip(kind)!r}", f"没有字段类型“{clip(kind)}”"),
            )
        )
    format_ = field.get("format")
    if isinstance(format_, str):
        field["format"] = format_.replace("fmt:", "") if format_.startswith("fmt:") else format_


def _normal_foreign(key: dict[str, Any]) -> None:
    key.setdefault("fields", [])
    reference = key.setdefault("reference", {})
    if not isinstance(reference, dict):
        return
    reference.setdefault("resource", "")
    reference.setdefault("fields", [])
    if not isinstance(key["fields"], list):
        key["fields"] = [key["fields"]]
    if not isinstance(reference["fields"], list):
        reference["fields"] = [reference["fields"]]


def _never_fetched(type_: str, path: str) -> Finding:
    return Finding(
        type=type_,
        note=Text(
            f"{clip(path, 120)!r} lies elsewhere; remote places are never fetched",
            f"“{clip(path, 120)}”位于远程；从不读取远程内容",
        ),
    )
