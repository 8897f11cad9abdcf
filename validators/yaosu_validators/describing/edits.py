"""A second description over a first one: measures are renewed, everything a person wrote stays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

from yaosu_schemas.errors import Problem

# Facts about bytes, not opinions: a stale one is an error, so the new one stands.
_MEASURED_OF_RESOURCE = ("bytes", "hash", "parts", "rows")
_MEASURED_OF_SIZE = ("records", "bytes", "images", "duration_s")
_MISSING = object()


@dataclass(frozen=True, slots=True)
class Change:
    """One value that differs from the description before, at a JSON pointer."""

    pointer: str
    before: Any
    after: Any

    def as_json(self) -> dict[str, Any]:
        return {"pointer": self.pointer, "before": self.before, "after": self.after}


@dataclass(slots=True)
class Merged:
    """A descriptor, what changed in it, and what a person should look at."""

    descriptor: dict[str, Any]
    changes: list[Change]
    problems: list[Problem]


def merge(existing: Mapping[str, Any] | None, fresh: dict[str, Any]) -> Merged:
    """Return `existing` completed by `fresh`; only bytes, digests and counts are overwritten."""
    if not existing:
        return Merged(fresh, [], [])
    out = Merged(deepcopy(dict(existing)), [], [])
    for key, value in fresh.items():
        if key not in ("resources", "dataElement"):
            _fill(out, out.descriptor, key, value, "")
    _merge_resources(out, fresh["resources"])
    _merge_element(out, fresh["dataElement"])
    return out


def _fill(out: Merged, target: dict[str, Any], key: str, value: Any, pointer: str) -> None:
    """Put a value where a person left none."""
    if target.get(key) in (None, "", [], {}):
        target[key] = value
        out.changes.append(Change(f"{pointer}/{key}", None, value))


def _renew(out: Merged, target: dict[str, Any], key: str, value: Any, pointer: str) -> None:
    """Put a measure in place of an older one; a measure that cannot be taken any more goes."""
    before = target.get(key, _MISSING)
    if value is _MISSING:
        if before is not _MISSING:
            del target[key]
            out.changes.append(Change(f"{pointer}/{key}", before, None))
    elif before != value:
        target[key] = value
        shown = None if before is _MISSING else before
        out.changes.append(Change(f"{pointer}/{key}", shown, value))


def _merge_resources(out: Merged, fresh: Sequence[dict[str, Any]]) -> None:
    kept = out.descriptor.get("resources")
    resources: list[Any] = kept if isinstance(kept, list) else []
    out.descriptor["resources"] = resources
    matched = _match(resources, fresh)
    for number, new in enumerate(fresh):
        at = matched.get(number)
        if at is None:
            _append(out, resources, new)
        else:
            _merge_resource(out, resources[at], new, at)
    gone = set(range(len(resources))) - set(matched.values())
    for at in sorted(gone):
        old = resources[at]
        if isinstance(old, dict) and "path" in old and old not in fresh:
            _missing_file(out, at, old)


def _append(out: Merged, resources: list[Any], new: dict[str, Any]) -> None:
    taken = {old.get("name") for old in resources if isinstance(old, dict)}
    name, again = new["name"], 2
    while new["name"] in taken:
        new["name"], again = f"{name}-{again}", again + 1
    resources.append(new)
    out.changes.append(Change(f"/resources/{len(resources) - 1}", None, new["name"]))


def _match(old: Sequence[Any], fresh: Sequence[dict[str, Any]]) -> dict[int, int]:
    """Return which fresh resource is which old one: by its files, else by its bytes."""
    found: dict[int, int] = {}
    taken: set[int] = set()

    def take(number: int, at: int) -> None:
        found[number] = at
        taken.add(at)

    for number, new in enumerate(fresh):
        wanted = set(_paths(new))
        at = _best(old, taken, lambda paths, wanted=wanted: len(wanted & set(paths)))
        if at is not None:
            take(number, at)
    for number, new in enumerate(fresh):
        if number in found or "hash" not in new:
            continue
        for at, item in enumerate(old):
            if at not in taken and isinstance(item, dict) and item.get("hash") == new["hash"]:
                take(number, at)
                break
    return found


def _best(old: Sequence[Any], taken: set[int], score: Any) -> int | None:
    best, at_best = 0, None
    for at, item in enumerate(old):
        if at in taken or not isinstance(item, dict):
            continue
        points = score(_paths(item))
        if points > best:
            best, at_best = points, at
    return at_best


def _paths(resource: Mapping[str, Any]) -> list[str]:
    path = resource.get("path")
    if isinstance(path, str):
        return [path]
    return [item for item in path if isinstance(item, str)] if isinstance(path, list) else []


def _merge_resource(out: Merged, old: dict[str, Any], new: dict[str, Any], at: int) -> None:
    pointer = f"/resources/{at}"
    if _paths(old) != _paths(new):  # renamed, or a shard came or went
        _renew(out, old, "path", new["path"], pointer)
    measured = [*_MEASURED_OF_RESOURCE]
    if "rows" not in old and new.get("type") != "table":
        measured.remove("rows")
    for key in measured:
        _renew(out, old, key, new.get(key, _MISSING), pointer)
    for key, value in new.items():
        if key not in (*_MEASURED_OF_RESOURCE, "path"):
            _fill(out, old, key, value, pointer)
    _compare_fields(out, old, new, pointer)


def _compare_fields(out: Merged, old: dict[str, Any], new: dict[str, Any], pointer: str) -> None:
    kept, found = _field_names(old), _field_names(new)
    if not kept or not found or kept == found:
        return
    added = [name for name in found if name not in kept]
    gone = [name for name in kept if name not in found]
    if added or gone:
        out.problems.append(
            Problem(
                pointer=f"{pointer}/schema/fields",
                code="schema-differs",
                en=f"the file has other columns than the schema: new {added[:5]}, gone {gone[:5]}",
                zh=f"文件的列与模式不一致：新增 {added[:5]}，缺少 {gone[:5]}",
                severity="warning",
            )
        )


def _field_names(resource: Mapping[str, Any]) -> list[str]:
    schema = resource.get("schema")
    fields = schema.get("fields") if isinstance(schema, dict) else None
    if not isinstance(fields, list):
        return []
    return [str(item.get("name")) for item in fields if isinstance(item, dict)]


def _missing_file(out: Merged, at: int, old: Mapping[str, Any]) -> None:
    names = ", ".join(_paths(old)[:3])
    out.problems.append(
        Problem(
            pointer=f"/resources/{at}/path",
            code="file-missing",
            en=f"{names}: described before, and not there any more",
            zh=f"{names}：此前已描述，现已不存在",
        )
    )


def _merge_element(out: Merged, fresh: Mapping[str, Any]) -> None:
    kept = out.descriptor.get("dataElement")
    element: dict[str, Any] = kept if isinstance(kept, dict) else {}
    out.descriptor["dataElement"] = element
    for key, value in fresh.items():
        pointer = f"/dataElement/{key}"
        old = element.get(key)
        if not isinstance(value, dict) or not isinstance(old, dict):
            _fill(out, element, key, value, "/dataElement")
            continue
        for inner, item in value.items():
            if (key == "size" and inner in _MEASURED_OF_SIZE) or (key, inner) == ("ai", "splits"):
                _renew(out, old, inner, item, pointer)
            else:
                _fill(out, old, inner, item, pointer)
