"""Table Schema from values: a type is inferred only if every value of the column has it.

Types are looked for where a reader of Table Schema would accept each value as written, so that
a file described here passes under its own description. Codes such as `007` stay strings.
"""

from __future__ import annotations

import datetime
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow as pa

# The whole cell, in RE2 syntax: Arrow runs them over columns, Python over single values.
PATTERNS = {
    "integer": r"^ *[+-]?(?:0|[1-9][0-9]*) *$",
    "number": r"^ *[+-]?(?:(?:0|[1-9][0-9]*)(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})? *$",
    "boolean": r"^(?:true|false|True|False|TRUE|FALSE)$",
    "date": r"^[0-9]{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01])$",
    "datetime": (
        r"^[0-9]{4}-(?:0[1-9]|1[0-2])-(?:0[1-9]|[12][0-9]|3[01])"
        r"T(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9](?:\.[0-9]{1,6})?(?:Z|[+-][0-9]{2}:[0-9]{2})?$"
    ),
    "time": r"^(?:[01][0-9]|2[0-3]):[0-5][0-9]:[0-5][0-9]$",
    "yearmonth": r"^[0-9]{4}-(?:0[1-9]|1[0-2])$",
    "year": r"^[0-9]{4}$",
}
_COMPILED = {name: re.compile(pattern) for name, pattern in PATTERNS.items()}
_YEAR_NAMES = re.compile(r"\byear\b|年份?$|^年", re.IGNORECASE)


class TextColumn:
    """What the cells of one column of text (CSV) can all be."""

    def __init__(self, label: str) -> None:
        self.label = label
        self.candidates = list(PATTERNS)
        self.filled = 0
        self.characters = 0

    def observe(self, cells: pa.Array) -> None:
        """Drop what a cell of this batch rules out; empty cells say nothing."""
        import pyarrow.compute as pc

        cells = cells.filter(pc.not_equal(cells, ""))
        if not len(cells):
            return
        self.filled += len(cells)
        self.characters += pc.sum(pc.utf8_length(cells)).as_py() or 0
        cells = pc.unique(cells)
        kept: list[str] = []
        for name in self.candidates:
            # Every integer is a number: the wider pattern only runs where the narrower failed.
            if (name == "number" and "integer" in kept) or _all_match(cells, name):
                kept.append(name)
        self.candidates = kept

    def field(self, name: str) -> dict[str, Any]:
        found = self.candidates if self.filled else []
        if "year" in found and not _YEAR_NAMES.search(self.label):
            found = [other for other in found if other != "year"]
        for kind in ("year", "integer", "number", "boolean", "date", "datetime"):
            if kind in found:
                return {"name": name, "type": kind}
        for kind in ("time", "yearmonth"):
            if kind in found:
                return {"name": name, "type": kind}
        return {"name": name, "type": "string"}


def _all_match(cells: pa.Array, name: str) -> bool:
    import pyarrow as pa
    import pyarrow.compute as pc

    if not _COMPILED[name].search(cells[0].as_py()):  # most columns are ruled out by one cell
        return False
    if not pc.all(pc.match_substring_regex(cells, PATTERNS[name])).as_py():
        return False
    if name in ("date", "datetime"):  # 30 February looks like a date
        try:
            pc.cast(pc.utf8_slice_codeunits(cells, 0, 10), pa.date32())
        except pa.ArrowInvalid:
            return False
    return True


@dataclass(slots=True)
class ValueColumn:
    """What the JSON values under one name are, over all records."""

    seen: int = 0
    nulls: int = 0
    kinds: dict[str, int] = field(default_factory=dict)
    dates: list[str] = field(default_factory=lambda: ["date", "datetime"])
    strings: int = 0
    characters: int = 0

    def observe(self, value: object) -> None:
        self.seen += 1
        if value is None:
            self.nulls += 1
            return
        if isinstance(value, str):
            kind = "string"
            self.strings += 1
            self.characters += len(value)
            if self.dates:
                self.dates = [name for name in self.dates if _is_moment(value, name)]
        else:
            kind = _JSON_TYPES.get(type(value), "any")
        self.kinds[kind] = self.kinds.get(kind, 0) + 1

    def field(self, name: str) -> dict[str, Any]:
        kinds = set(self.kinds)
        if kinds == {"integer", "number"}:
            kinds = {"number"}
        if not kinds:
            return {"name": name, "type": "any"}  # null in every record: nothing rules a type out
        if len(kinds) > 1:
            return {"name": name, "type": "any"}
        kind = kinds.pop()
        if kind == "string" and len(self.dates) == 1:
            kind = self.dates[0]
        return {"name": name, "type": kind}


_JSON_TYPES: Mapping[type, str] = {
    bool: "boolean",
    int: "integer",
    float: "number",
    list: "array",
    dict: "object",
}


def _is_moment(value: str, name: str) -> bool:
    if not _COMPILED[name].search(value):
        return False
    try:
        datetime.date.fromisoformat(value[:10])
    except ValueError:
        return False
    return True


def arrow_fields(schema: pa.Schema) -> list[dict[str, Any]]:
    """Return the Table Schema fields of typed columns (Parquet, Arrow)."""
    names = unique_names(schema.names)
    return [
        {"name": name, **arrow_type(column.type)}
        for name, column in zip(names, schema, strict=True)
    ]


def arrow_type(type_: pa.DataType) -> dict[str, Any]:
    """Return the Table Schema type of an Arrow type; what it has no word for is `any`."""
    import pyarrow.types as t

    if t.is_dictionary(type_):
        return arrow_type(type_.value_type)
    for test, name in (
        (t.is_boolean, "boolean"),
        (t.is_integer, "integer"),
        (t.is_floating, "number"),
        (t.is_decimal, "number"),
        (t.is_date, "date"),
        (t.is_timestamp, "datetime"),
        (t.is_time, "time"),
        (t.is_struct, "object"),
        (t.is_map, "object"),
    ):
        if test(type_):
            return {"type": name}
    if t.is_string(type_) or t.is_large_string(type_) or t.is_string_view(type_):
        return {"type": "string"}
    if t.is_list(type_) or t.is_large_list(type_) or t.is_fixed_size_list(type_):
        return {"type": "array"}
    return {"type": "any"}


def unique_names(labels: Sequence[str]) -> list[str]:
    """Return a field name for each label: blank ones numbered, repeated ones told apart."""
    names: list[str] = []
    taken: set[str] = set()
    for number, label in enumerate(labels, start=1):
        name = label or f"field{number}"
        again = 2
        while name in taken:
            name, again = f"{label or f'field{number}'}{again}", again + 1
        taken.add(name)
        names.append(name)
    return names


def strings_in(value: object, depth: int = 0) -> Iterator[str]:
    """Yield the texts inside a JSON value, keys aside."""
    if isinstance(value, str):
        yield value
    elif depth < 8 and isinstance(value, list):
        for item in value:
            yield from strings_in(item, depth + 1)
    elif depth < 8 and isinstance(value, dict):
        for item in value.values():
            yield from strings_in(item, depth + 1)
