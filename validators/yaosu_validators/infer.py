"""A schema for data that has none: types from the first hundred rows, as Frictionless guesses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from .fields import Field, Schema
from .header import unique_names
from .readers import CellReader, cell_reader

SAMPLE_ROWS = 100
_CONFIDENCE = 0.9
_CANDIDATES = (
    "yearmonth",
    "geopoint",
    "duration",
    "geojson",
    "object",
    "array",
    "datetime",
    "time",
    "date",
    "integer",
    "number",
    "boolean",
    "year",
    "string",
)


def infer_schema(labels: Sequence[str], fragment: Sequence[Sequence[Any]]) -> Schema:
    """Return one field per label, each of the first type that nine in ten cells have."""
    names = list(labels)
    if not names:
        if not fragment:
            return Schema()
        names = [f"field{n}" for n in range(1, len(fragment[0]) + 1)]
    names = unique_names([name or f"field{n}" for n, name in enumerate(names, start=1)])
    if not fragment:
        return Schema(fields=tuple(Field(name=name, type="any") for name in names))
    tests = [_Test(kind, cell_reader(Field(name="shared", type=kind))) for kind in _CANDIDATES]
    known: dict[object, str] = {}
    fields = []
    for index, name in enumerate(names):
        kinds = {_kind(cells[index]) if len(cells) > index else str for cells in fragment}
        only = kinds.pop() if len(kinds) == 1 else str
        found = known.get(only) or _infer(index, fragment, tests)
        if only in _ALIKE:
            known[only] = found
        fields.append(Field(name=name, type=found))
    return Schema(fields=tuple(fields))


_DIGITS = "digits"
_ALIKE = (int, bool, type(None), _DIGITS)  # columns of one of these are of one type, all of them


def _kind(cell: Any) -> object:
    if type(cell) is str and cell.isdigit() and cell.isascii() and len(cell) <= _LONGEST:
        return _DIGITS
    return type(cell)


_LONGEST = 18


_KNOWN = 1 << 12  # cells that a test remembers


@dataclass(frozen=True, slots=True)
class _Test:
    """Says whether a cell is of one type; a cell that stands there again is not read again."""

    kind: str
    read: CellReader
    known: dict[tuple[type, Any], bool] = field(default_factory=dict)

    def accepts(self, cell: Any) -> bool:
        if not isinstance(cell, str | int | float):
            return not self.read(cell)[1]
        key = (type(cell), cell)  # true is no 1, and 1.0 neither
        found = self.known.get(key)
        if found is None:
            found = not self.read(cell)[1]
            if len(self.known) < _KNOWN:
                self.known[key] = found
        return found


def with_types(schema: Schema, types: Sequence[str]) -> Schema:
    """Return the schema with other types, in order."""
    fields = zip(schema.fields, types, strict=True)
    return replace(schema, fields=tuple(replace(f, type=t) for f, t in fields))


def _infer(index: int, fragment: Sequence[Sequence[Any]], tests: Sequence[_Test]) -> str:
    most = len(fragment)
    floor = len(fragment) * (_CONFIDENCE - 1)
    scores = [0] * len(tests)
    for cells in fragment:
        cell = cells[index] if len(cells) > index else None
        absent = cell == "" and isinstance(cell, str)
        if absent:
            most -= 1
        for i, test in enumerate(tests):
            if scores[i] < floor:
                continue
            if not absent:
                scores[i] += 1 if test.accepts(cell) else -1
            if most > 0 and scores[i] >= most * _CONFIDENCE:
                return test.kind
    return "any"
