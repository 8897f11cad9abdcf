"""What a package says of itself, and what the judgement of its tables comes to, as measures.

These checks look neither at rows nor at files but at the descriptor and the tasks of the report:
they have one method, `conclude`, and are called last.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar

from yaosu_schemas.codes import code_list
from yaosu_schemas.documents import load
from yaosu_schemas.report import Metric, Task
from yaosu_validators.check import Conclusion, check
from yaosu_validators.resources import Resource

_GB = "GB/T 36344-2018"


@check("package.documentation", "1")
@dataclass(frozen=True, slots=True, kw_only=True)
class Documentation:
    """The documentation has what TC609-5-2025-04 asks for, and the metadata what is required.

    What the descriptor itself can show (a size, a sample, sources) is believed only where it
    does; of the rest it counts what the publisher says is there.
    """

    sees: ClassVar = "report"

    def conclude(
        self,
        document: Mapping[str, Any] | None,
        tasks: Sequence[Task],
        resources: Sequence[Resource],
    ) -> Conclusion:
        if document is None:
            return Conclusion()
        element = _mapping(document.get("dataElement"))
        elements = []
        counts: dict[str, list[int]] = {}
        for entry in code_list("docs_element"):
            how = _element(entry.code, document, element)
            elements.append({"element": entry.code, "by": how})
            count = counts.setdefault(entry["metric"], [0, 0])
            count[0] += how != "absent"
            count[1] += 1
        required = list(_required(document, element))
        filled = sum(there for _, there in required)
        return Conclusion(
            metrics=(
                *(_ratio(id_, "TC609-5-2025-04", *count) for id_, count in counts.items()),
                _ratio("gbt36344:0103", _GB, filled, len(required)),
            ),
            evidence={
                "elements": elements,
                "missing": [pointer for pointer, there in required if not there],
            },
        )


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _there(value: Any) -> bool:
    return value not in (None, "", [], {})


def _element(code: str, document: Mapping[str, Any], element: Mapping[str, Any]) -> str:
    """Return how an element is known: shown by the descriptor, said where, claimed, or absent."""
    shown = _SHOWN.get(code)
    if shown is not None and shown(document, element):
        return "shown"
    group, _, name = code.partition(".")
    said = _mapping(_mapping(element.get("docs")).get(group)).get(name)
    if isinstance(said, str) and said.strip():
        return "said"
    return "claimed" if said is True and shown is None else "absent"


def _resources(document: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    found = document.get("resources")
    return [_mapping(r) for r in found] if isinstance(found, list) else []


def _at(*path: str) -> Callable[[Mapping[str, Any], Mapping[str, Any]], bool]:
    """Return a rule: something stands at this path of `dataElement`."""

    def rule(document: Mapping[str, Any], element: Mapping[str, Any]) -> bool:
        value: Any = element
        for name in path:
            value = _mapping(value).get(name)
        return _there(value)

    return rule


_SHOWN: Mapping[str, Callable[[Mapping[str, Any], Mapping[str, Any]], bool]] = {
    "basic.scale": lambda d, e: _there(_mapping(e.get("size")).get("bytes")),
    "basic.format": lambda d, e: (
        bool(_resources(d))
        and all(_there(r.get("format") or r.get("mediatype")) for r in _resources(d))
    ),
    "basic.structure": lambda d, e: (
        bool(_resources(d)) and all(_there(r.get("path") or r.get("data")) for r in _resources(d))
    ),
    "basic.access": _at("offer", "delivery_modes"),
    "content.modalities": _at("ai", "modalities"),
    "content.samples": _at("offer", "trial", "resource"),
    "construction.sources": _at("provenance", "source_records"),
    "construction.versioning": lambda d, e: _there(d.get("version")),
    "application.licence": _at("license_spdx"),
    "application.scenarios": _at("scenario"),
}


def _required(
    document: Mapping[str, Any], element: Mapping[str, Any]
) -> Iterator[tuple[str, bool]]:
    """Yield (JSON pointer, whether it is filled) of every field that a listing requires."""
    schema = load("dataset")
    for name in schema["required"]:
        if name != "dataElement":
            yield f"/{name}", _there(document.get(name))
    for name in schema["properties"]["dataElement"]["required"]:
        yield f"/dataElement/{name}", _there(element.get(name))


@check("package.tables", "1")
@dataclass(frozen=True, slots=True, kw_only=True)
class Tables:
    """What the structure of the tables comes to: rows, cells and keys without an error.

    A table of which the errors were not counted to the end is left out, and said to be.
    """

    sees: ClassVar = "report"

    def conclude(
        self,
        document: Mapping[str, Any] | None,
        tasks: Sequence[Task],
        resources: Sequence[Resource],
    ) -> Conclusion:
        by_name = {r.name: r for r in resources}
        total: Counter[str] = Counter()
        left_out = []
        for task in tasks:
            resource = by_name.get(task.name)
            if resource is None or task.type != "table":
                continue
            total.update(_digests(resource, task))
            if task.stats.rows is None or task.stats.fields is None or _cut(task):
                left_out.append(task.name)
                continue
            total.update(_counts(resource, task))
        return Conclusion(metrics=tuple(_measured(total)), evidence={"left_out": left_out})


_CELL_ERRORS = ("type-error", "constraint-error", "missing-cell", "extra-cell")
_KEY_ERRORS = ("primary-key", "unique-error", "unique-key")


def _cut(task: Task) -> bool:
    return task.stats.errors > len(task.errors) or any("error limit" in w for w in task.warnings)


def _digests(resource: Resource, task: Task) -> dict[str, int]:
    if not (resource.hash or "").startswith("sha256:"):
        return {}
    return {"hashed": 1, "same": resource.hash == f"sha256:{task.stats.sha256}"}


def _counts(resource: Resource, task: Task) -> dict[str, int]:
    rows, schema = task.stats.rows or 0, resource.schema
    wrong_rows = {e.row_number for e in task.errors if e.row_number is not None}
    cells = {(e.row_number, e.field_number) for e in task.errors if e.type in _CELL_ERRORS}
    keys = {e.row_number for e in task.errors if e.type in _KEY_ERRORS}
    strangers = sum(1 for e in task.errors if e.type == "foreign-key")
    keyed = schema is not None and bool(
        schema.primary_key or schema.unique_keys or any(f.unique for f in schema.fields)
    )
    foreign = len(schema.foreign_keys) if schema is not None else 0
    size = rows * (task.stats.fields or 0)
    return {
        "records": rows,
        "right": rows - min(rows, len(wrong_rows)),
        "errors": task.stats.errors,
        "cells": size,
        "right_cells": size - min(size, len(cells)),
        "keyed": rows if keyed else 0,
        "unique": rows - min(rows, len(keys)) if keyed else 0,
        "references": rows * foreign,
        "found": max(0, rows * foreign - strangers),
        "declared": resource.rows or 0,
        "present": rows if resource.rows else 0,
    }


def _measured(total: Mapping[str, int]) -> Iterator[Metric]:
    for id_, standard, above, below in (
        ("gbt36344:0104", _GB, "right", "records"),
        ("gbt36344:0302", _GB, "right_cells", "cells"),
        ("gbt36344:0304", _GB, "unique", "keyed"),
        ("gbt36344:0402", _GB, "found", "references"),
        ("gbt36344:0202", _GB, "present", "declared"),
        ("own:schema_violation", "own", "errors", "records"),
        ("own:hash_match", "own", "same", "hashed"),
    ):
        yield _ratio(id_, standard, total.get(above, 0), total.get(below, 0))


def _ratio(id_: str, standard: str, above: int, below: int) -> Metric:
    unit = "errors per record" if id_ == "own:schema_violation" else "ratio"
    return Metric(
        id=id_,
        standard=standard,
        value=above / below if below else None,
        unit=unit,
        numerator=above,
        denominator=below,
        n=below,
    )
