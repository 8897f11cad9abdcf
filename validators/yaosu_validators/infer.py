"""A schema for data that has none: types from the first hundred rows, as Frictionless guesses."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
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
    readers = [(kind, cell_reader(Field(name="shared", type=kind))) for kind in _CANDIDATES]
    return Schema(
        fields=tuple(
            Field(name=name, type=_infer(index, fragment, readers))
            for index, name in enumerate(names)
        )
    )


def with_types(schema: Schema, types: Sequence[str]) -> Schema:
    """Return the schema with other types, in order."""
    fields = zip(schema.fields, types, strict=True)
    return replace(schema, fields=tuple(replace(f, type=t) for f, t in fields))


def _infer(
    index: int, fragment: Sequence[Sequence[Any]], readers: Sequence[tuple[str, CellReader]]
) -> str:
    most = len(fragment)
    floor = len(fragment) * (_CONFIDENCE - 1)
    scores = [0] * len(readers)
    for cells in fragment:
        cell = cells[index] if len(cells) > index else None
        absent = cell == "" and isinstance(cell, str)
        if absent:
            most -= 1
        for i, (kind, read) in enumerate(readers):
            if scores[i] < floor:
                continue
            if not absent:
                _, notes = read(cell)
                scores[i] += -1 if notes else 1
            if most > 0 and scores[i] >= most * _CONFIDENCE:
                return kind
    return "any"
