"""Types, constraints, cells, keys: is the table what its schema says?

The state of a part counts rows from the part's own start, so that parts can be judged apart and
merged in order. Findings keep the order of the rows; keys are judged when all parts are there.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from itertools import groupby
from typing import Any

from yaosu_schemas.errors import Text
from yaosu_validators.check import Finding, check
from yaosu_validators.fields import Field, Schema
from yaosu_validators.keys import Key, KeyPairs, canonical, keys_of
from yaosu_validators.rows import RowReader

VERSION = "2"
_RANK = {"unique-error": 1, "primary-key": 2, "unique-key": 3, "foreign-key": 4}
MAX_SKIPS = 100_000
_SETTLE_ROWS = 1 << 18


@dataclass(slots=True)
class TableState:
    """What is known of one part of a table: counts, findings, keys."""

    numbers: int = 0  # rows of the file, comments and skipped ones included
    rows: int = 0  # rows that are data
    found: list[Finding] = field(default_factory=list)
    pairs: list[KeyPairs] = field(default_factory=list)
    skips: list[int] = field(default_factory=list)  # numbers of rows that are no data
    full: bool = False  # the limit of errors was reached: what follows was not looked at
    failed: Finding | None = None  # reading broke off


@check("structure", VERSION)
@dataclass(frozen=True, slots=True, kw_only=True)
class Structure:
    """Every row has the cells, types, constraints and keys that the schema asks for."""

    columns: tuple[Field, ...] = ()
    keys: tuple[Key, ...] = ()
    limit: int = 1000
    settles: bool = False  # this is a whole table: its row numbers are final

    def start(self, schema: Any = None) -> TableState:
        return TableState(pairs=[KeyPairs() for _ in self.keys])

    def observe(self, state: TableState, batch: Any) -> TableState:
        """Add a batch of cells as columns; every row takes the exact path."""
        columns = [column.to_pylist() for column in batch.columns]
        first = state.numbers + 1
        for offset, cells in enumerate(zip(*columns, strict=True)):
            if not self.row(state, first + offset, cells):
                break
        state.numbers = max(state.numbers, first + batch.num_rows - 1)
        return state

    def merge(self, left: TableState, right: TableState) -> TableState:
        """Join two neighbouring parts; behind a full or failed part nothing counts."""
        if left.full or left.failed:
            return left
        shift = left.numbers
        left.found += [f.moved(shift) for f in right.found]
        left.skips += [n + shift for n in right.skips[: MAX_SKIPS - len(left.skips)]]
        for mine, other in zip(left.pairs, right.pairs, strict=True):
            mine.flush()
            other.flush()
            mine.chunks += [_moved_chunk(c, shift) for c in other.chunks]
            mine.settle()
        left.numbers += right.numbers
        left.rows += right.rows
        left.failed = right.failed and right.failed.moved(shift)
        left.full = right.full or bool(self.limit and len(left.found) >= self.limit)
        return left

    def settle(self, state: TableState) -> None:
        """Let keys go to disk where they are many; between blocks of a whole table."""
        for pairs in state.pairs:
            pairs.settle()

    def finish(self, state: TableState) -> Iterable[Finding]:
        return state.found

    # --- rows --------------------------------------------------------------------------------

    def reader(self) -> RowReader:
        keyed = sorted({c for key in self.keys for c in key.columns})
        return RowReader(self.columns, keyed, self.limit)

    def rows(
        self, state: TableState, rows: Iterable[tuple[int, Sequence[Any]]], reader: RowReader
    ) -> None:
        """Judge rows one by one until the limit; numbers count from the start of the part."""
        read, keys, found, limit = reader.read, self.keys, state.found, self.limit
        for number, cells in rows:
            if number > state.numbers + 1:
                state.skips += range(state.numbers + 1, number)[: MAX_SKIPS - len(state.skips)]
            state.rows += 1
            state.numbers = number
            values, wrong = read(cells, number)
            if wrong:
                found += wrong
            if keys:
                self.collect(state, number, values)
                if self.settles and not state.rows % _SETTLE_ROWS:
                    self.settle(state)
            if limit and len(found) >= limit:
                state.full = True
                return

    def row_with_doubts(
        self,
        state: TableState,
        number: int,
        cells: Sequence[Any],
        doubtful: Sequence[int],
        reader: RowReader,
        *,
        keys: bool = True,
    ) -> None:
        """Judge the next row by its doubtful cells; every other cell is proven valid.

        Its keys are collected, unless the caller has them.
        """
        state.rows += 1
        state.numbers = number
        values, wrong = reader.read_some(cells, number, doubtful)
        if wrong:
            state.found += wrong
        if keys and self.keys:
            self.collect(state, number, values)
        if self.limit and len(state.found) >= self.limit:
            state.full = True

    def collect(self, state: TableState, number: int, values: Sequence[Any]) -> None:
        """Remember the keys of a row; a primary key that is all null is wrong at once."""
        for key, pairs in zip(self.keys, state.pairs, strict=True):
            parts = [values[i] for i in key.columns]
            if key.rule == "unique-key" or key.rule == "unique":
                if any(part is None for part in parts):
                    continue
            elif all(part is None for part in parts):
                if key.rule == "primary":
                    state.found.append(Finding(type="primary-key", note=_ALL_NULL, row=number))
                continue
            text = canonical(parts, key.families)
            if text is not None:
                pairs.add(text, number)
            elif key.rule == "foreign":
                state.found.append(Finding(type="foreign-key", note=_NO_NUMBER, row=number))

    def row(self, state: TableState, number: int, cells: Sequence[Any]) -> bool:
        self.rows(state, [(number, cells)], self.reader())
        return not state.full


_NO_NUMBER = Text("NaN equals nothing, so it refers to nothing", "NaN 不等于任何值，因此无所指")
_ALL_NULL = Text("no cell of the primary key holds a value", "主键各单元格均为空")


def structure(
    schema: Schema, columns: Sequence[Field], limit: int, *, ignore_case: bool = False
) -> Structure:
    """Return the check of one table, keys included."""
    return Structure(
        columns=tuple(columns),
        keys=tuple(keys_of(schema, columns, ignore_case=ignore_case)),
        limit=limit,
    )


def in_order(found: Iterable[Finding], keys: Sequence[Key] = ()) -> list[Finding]:
    """Sort findings by row; within a row cells come before keys.

    Cells of keys come first, because Frictionless reads them first: the unique fields, the
    primary key, the foreign keys, up to the first of these that is broken.
    """
    ordered = sorted(found, key=_order)
    if not keys:
        return ordered
    result: list[Finding] = []
    for _, group in groupby(ordered, key=lambda f: f.row):
        row = list(group)
        if len(row) > 1 and row[0].type in _CELL and row[1].type in _CELL:
            row = _read_order(row, keys)
        result += row
    return result


_CELL = ("type-error", "constraint-error")


def _read_order(row: list[Finding], keys: Sequence[Key]) -> list[Finding]:
    first: list[int] = []
    broken = {(f.type, f.field_number) for f in row if f.type in _RANK}
    for key in keys:
        if key.rule not in ("unique", "primary", "foreign"):
            continue
        first += [c + 1 for c in key.reading]
        number = key.columns[0] + 1
        if ("unique-error", number) in broken and key.rule == "unique":
            break
        if key.rule == "primary" and ("primary-key", None) in broken:
            break
    cells = [f for f in row if f.type in _CELL]
    others = [f for f in row if f.type not in _CELL]
    places = {number: i - len(first) for i, number in reversed(list(enumerate(first)))}
    return (
        sorted(cells, key=lambda f: places.get(f.field_number or 0, f.field_number or 0)) + others
    )


def _order(finding: Finding) -> tuple[int, int]:
    return finding.row or 0, _RANK.get(finding.type, 0)


def _moved_chunk(chunk: Any, shift: int) -> Any:
    import pyarrow as pa
    import pyarrow.compute as pc

    if not shift:
        return chunk
    rows = pc.add(chunk.column(1), shift)
    return pa.RecordBatch.from_arrays([chunk.column(0), rows], names=["key", "row"])


Progress = Callable[[int, int], None]
