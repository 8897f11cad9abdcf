"""What stands in each column: missing, distinct, most frequent, range, distribution, length.

A fold over record batches: it is exact, and neither the size of batches nor their grouping
changes it. What can be counted without end is not: `distinct` stops at 10,000, and a table is
looked at up to five million cells; the profile says how many rows that were.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from .fields import MISSING, Field
from .judge import Outcome
from .sources import OpenFile, open_table
from .streams import SourceProblem

MOST_CELLS = 5_000_000
MOST_COLUMNS = 500
MOST_DISTINCT = 10_000
TOP = 5
BINS = 32
_LONGEST = 80  # characters of a value that is shown as frequent
_NUMBERS = ("integer", "number", "year")
_NUMBER = r"^[+-]?(?:\d{1,18}(?:\.\d*)?|\.\d{1,18})(?:[eE][+-]?\d{1,2})?$"
_DATE = r"^\d{4}-\d{2}-\d{2}"


@dataclass(slots=True)
class Bins:
    """Counts over intervals whose width is a power of two: coarser where the range grows."""

    exponent: int | None = None
    counts: Counter[int] = field(default_factory=Counter)
    low: float = math.inf
    high: float = -math.inf

    def add(self, values: np.ndarray, *, whole: bool) -> None:
        values = values[np.isfinite(values)]
        if not len(values):
            return
        self.low = min(self.low, float(values.min()))
        self.high = max(self.high, float(values.max()))
        self._fit(whole)
        assert self.exponent is not None
        places, counts = np.unique(
            np.floor(np.ldexp(values, -self.exponent)).astype(np.int64), return_counts=True
        )
        self.counts.update(dict(zip(places.tolist(), counts.tolist(), strict=True)))

    def merge(self, other: Bins, *, whole: bool) -> None:
        if other.exponent is None:
            return
        self.low, self.high = min(self.low, other.low), max(self.high, other.high)
        self._fit(whole)
        assert self.exponent is not None
        shift = self.exponent - other.exponent
        for place, n in other.counts.items():
            self.counts[place >> shift] += n

    def _fit(self, whole: bool) -> None:
        """Choose the narrowest width that the range so far leaves; it never shrinks again."""
        size = max(abs(self.low), abs(self.high))
        span = max(self.high - self.low, size * 2.0**-40, 2.0**-300)
        wanted = math.ceil(math.log2(span / (BINS - 2))) if math.isfinite(span) else 1020
        wanted = max(wanted, 0) if whole else wanted
        if self.exponent is not None and wanted > self.exponent:
            coarser: Counter[int] = Counter()
            for place, n in self.counts.items():
                coarser[place >> (wanted - self.exponent)] += n
            self.counts = coarser
        if self.exponent is None or wanted > self.exponent:
            self.exponent = wanted

    def as_json(self) -> dict[str, Any] | None:
        if self.exponent is None or not self.counts:
            return None
        first, last = min(self.counts), max(self.counts)
        width = math.ldexp(1.0, self.exponent)
        counts = [self.counts.get(place, 0) for place in range(first, last + 1)]
        return {"low": first * width, "width": width, "counts": counts}


@dataclass(slots=True)
class Column:
    """What is known of one column so far."""

    name: str
    type: str
    missing: tuple[str, ...] = MISSING
    group: str = ""
    decimal: str = "."
    count: int = 0
    nulls: int = 0
    values: Counter[Any] | None = field(default_factory=Counter)  # None: too many distinct ones
    numbers: Bins = field(default_factory=Bins)
    lengths: Bins = field(default_factory=Bins)
    dates: tuple[str, str] | None = None

    def observe(self, array: Any) -> None:
        self.count += len(array)
        if pa.types.is_nested(array.type):
            self.nulls += array.null_count
            self.values = None
            if pa.types.is_list(array.type) or pa.types.is_large_list(array.type):
                self._lengths(pc.list_value_length(array))
            return
        if pa.types.is_dictionary(array.type):
            array = array.dictionary_decode()
        text = array if pa.types.is_string(array.type) else _as_text(array)
        if text is None:
            self.nulls += array.null_count
            self.values = None
            return
        present = text.filter(
            pc.and_(text.is_valid(), pc.invert(pc.is_in(text, pa.array(self.missing, pa.string()))))
        )
        self.nulls += len(array) - len(present)
        self._distinct(present)
        if self.type in _NUMBERS:
            self._numbers(present)
        elif self.type in ("date", "datetime", "yearmonth"):
            self._dates(present)
        elif self.type != "boolean":
            self._lengths(pc.utf8_length(present))

    def _distinct(self, present: Any) -> None:
        if self.values is None or not len(present):
            return
        found = pc.value_counts(present)
        if len(found) <= MOST_DISTINCT:
            pairs = zip(found.field(0).to_pylist(), found.field(1).to_pylist(), strict=True)
            self.values.update(dict(pairs))
        if len(found) > MOST_DISTINCT or len(self.values) > MOST_DISTINCT:
            self.values = None

    def _numbers(self, present: Any) -> None:
        text = pc.utf8_trim_whitespace(present)
        if self.group:
            text = pc.replace_substring(text, self.group, "")
        if self.decimal != ".":
            text = pc.replace_substring(text, self.decimal, ".")
        text = text.filter(pc.match_substring_regex(text, _NUMBER))
        plain = pc.replace_substring_regex(text, r"^\+", "")
        self.numbers.add(
            pc.cast(plain, pa.float64()).to_numpy(zero_copy_only=False),
            whole=self.type != "number",
        )

    def _dates(self, present: Any) -> None:
        pattern = r"^\d{4}-\d{2}$" if self.type == "yearmonth" else _DATE
        text = present.filter(pc.match_substring_regex(present, pattern))
        if not len(text):
            return
        ends = pc.min_max(text).as_py()
        low, high = self.dates or (ends["min"], ends["max"])
        self.dates = min(low, ends["min"]), max(high, ends["max"])
        years = pc.cast(pc.utf8_slice_codeunits(text, 0, 4), pa.float64())
        self.numbers.add(years.to_numpy(zero_copy_only=False), whole=True)

    def _lengths(self, lengths: Any) -> None:
        known = lengths.drop_null()
        self.lengths.add(pc.cast(known, pa.float64()).to_numpy(zero_copy_only=False), whole=True)

    def merge(self, other: Column) -> None:
        """Add what was seen of the same column elsewhere."""
        self.count += other.count
        self.nulls += other.nulls
        if self.values is not None:
            self.values.update(other.values or {})
        if self.values is None or other.values is None or len(self.values) > MOST_DISTINCT:
            self.values = None
        self.numbers.merge(other.numbers, whole=self.type != "number")
        self.lengths.merge(other.lengths, whole=True)
        if other.dates is not None:
            low, high = self.dates or other.dates
            self.dates = min(low, other.dates[0]), max(high, other.dates[1])

    def as_json(self) -> dict[str, Any]:
        said: dict[str, Any] = {
            "name": self.name,
            "type": self.type,
            "count": self.count,
            "nulls": self.nulls,
        }
        if self.values is not None:
            said["distinct"] = len(self.values)
            ordered = sorted(self.values.items(), key=lambda pair: (-pair[1], pair[0]))[:TOP]
            if ordered and ordered[0][1] > 1:  # else each stands there once: none is frequent
                said["top"] = [[str(value)[:_LONGEST], n] for value, n in ordered]
        elif self.count > self.nulls and self.type not in ("array", "object"):
            said["distinct_over"] = MOST_DISTINCT
        if self.dates is not None:
            said["min"], said["max"] = self.dates
        elif self.numbers.exponent is not None:
            said["min"], said["max"] = (_plain(n) for n in (self.numbers.low, self.numbers.high))
        for name, bins in (("histogram", self.numbers), ("lengths", self.lengths)):
            drawn = bins.as_json()
            if drawn is not None:
                said[name] = drawn
        if self.lengths.exponent is not None:
            said["length"] = {"min": int(self.lengths.low), "max": int(self.lengths.high)}
        return said


def _plain(value: float) -> int | float:
    return int(value) if value.is_integer() and abs(value) < 2**53 else value


def _as_text(array: Any) -> Any:
    try:
        return pc.cast(array, pa.string())
    except pa.ArrowException:  # binary that is no text, intervals and the like
        return None


def columns_of(names: Sequence[str], fields: Iterable[Field]) -> list[Column]:
    """Return an empty column for each label, with what the schema says of it."""
    known = {f.name: f for f in fields}
    return [_column(name, known.get(name)) for name in names]


def _column(name: str, field_: Field | None) -> Column:
    if field_ is None:
        return Column(name, "string")
    return Column(name, field_.type, field_.missing, field_.group_char, field_.decimal_char)


def profile_of(outcome: Outcome, most_cells: int = MOST_CELLS) -> Mapping[str, Any] | None:
    """Return the profile of a table that could be opened, up to so many of its cells."""
    from .batches import batches, labelled

    state = outcome.state
    if not outcome.opened or state is None:
        return None
    rows, whole = 0, True
    with OpenFile(outcome.resource) as file:
        try:
            table = open_table(file)
            schema = labelled(table)
            names = schema.names[:MOST_COLUMNS]
            columns = columns_of(names, (*outcome.schema.fields, *outcome.columns))
            limit = max(1, most_cells // max(1, len(schema.names)))
            for batch in batches(table, schema):
                taken = batch.slice(0, limit - rows)
                for i, column in enumerate(columns):
                    column.observe(taken.column(i))
                rows += taken.num_rows
                if rows >= limit:
                    whole = rows == state.rows and not state.full
                    break
        except (SourceProblem, pa.ArrowException):
            whole = False  # the structure has said why
    said: dict[str, Any] = {"rows": rows, "whole": whole and state.failed is None}
    return {**said, "columns": [column.as_json() for column in columns]} if rows else None
