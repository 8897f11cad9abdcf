"""Rows of a table as a caller asks for them: columns, conditions, a page at a time.

What is read are the columns that the market itself made of a resource (Parquet), never a file of
a stranger. A page is found again by its cursor, which holds the row to go on from.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from yaosu.errors import InvalidInput
from yaosu_schemas.canonical import digest
from yaosu_schemas.texts import clip

OPERATORS = {
    "eq": pc.equal,
    "ne": pc.not_equal,
    "lt": pc.less,
    "le": pc.less_equal,
    "gt": pc.greater,
    "ge": pc.greater_equal,
}
BATCH_ROWS = 8192
MOST_SCANNED = 1_000_000
"""Rows that one call looks at; a page may end before its limit, and goes on by its cursor."""
MOST_FILTERS = 20


@dataclass(frozen=True, slots=True)
class Query:
    """What a call asks for."""

    columns: tuple[str, ...] = ()
    filters: tuple[tuple[str, str, str], ...] = ()
    limit: int = 100
    start: int = 0

    @property
    def digest(self) -> str:
        return digest(
            {
                "columns": list(self.columns),
                "filters": [list(f) for f in self.filters],
                "limit": self.limit,
                "start": self.start,
            }
        )

    def page_of(self) -> str:
        """Return what all pages of one question have in common."""
        named = {"columns": list(self.columns), "filters": [list(f) for f in self.filters]}
        return digest(named)[7:23]


@dataclass(frozen=True, slots=True)
class Page:
    """Rows as JSON, how many, and where to go on."""

    items: bytes
    rows: int
    next: str | None


def query(columns: Sequence[str], filters: Sequence[str], limit: int, cursor: str | None) -> Query:
    """Return what the parameters of a call ask for; a filter is ``column:operator:value``."""
    names = tuple(dict.fromkeys(n for part in columns for n in part.split(",") if n))
    if len(filters) > MOST_FILTERS:
        raise InvalidInput("these are too many filters", "筛选条件过多", field="filter")
    asked = Query(names, tuple(_filter(f) for f in filters), max(1, limit))
    if cursor is None:
        return asked
    return Query(asked.columns, asked.filters, asked.limit, _start(cursor, asked.page_of()))


def _filter(text: str) -> tuple[str, str, str]:
    parts = text.split(":", 2)
    if len(parts) != 3 or parts[1] not in OPERATORS:
        raise InvalidInput(
            f"a filter is column:operator:value; operators are {', '.join(OPERATORS)}",
            f"筛选格式为 列:运算符:值；运算符为 {'、'.join(OPERATORS)}",
            field="filter",
        )
    return parts[0], parts[1], parts[2]


def _start(cursor: str, page_of: str) -> int:
    try:
        row, _, of = base64.urlsafe_b64decode(cursor.encode() + b"==").decode().partition(".")
        if of == page_of and row.isdigit() and len(row) < 16:
            return int(row)
    except (binascii.Error, ValueError):
        pass
    raise InvalidInput(
        "this cursor belongs to no page of this question", "游标无效", field="cursor"
    )


def read(path: Path, asked: Query) -> Page:
    """Return one page of a Parquet file."""
    with pq.ParquetFile(path) as file:
        schema = file.schema_arrow
        names = list(asked.columns) or schema.names
        tests = _tests(schema, names, asked)
        wanted = list(dict.fromkeys([*names, *(name for name, _, _ in tests)]))
        found: list[dict[str, Any]] = []
        row, end = asked.start, file.metadata.num_rows
        for batch in _batches(file, wanted, asked.start):
            keep = _keep(batch, tests)
            columns = batch.select(names)
            for n in keep:
                if len(found) >= asked.limit:
                    return _page(found, row + n, end, asked)
                found.append({c: columns.column(c)[n].as_py() for c in names})
            row += batch.num_rows
            if row - asked.start >= MOST_SCANNED:
                break
        return _page(found, row, end, asked)


def _tests(
    schema: pa.Schema, names: Sequence[str], asked: Query
) -> list[tuple[str, Any, pa.Scalar]]:
    known = set(schema.names)
    for name in (*names, *(f[0] for f in asked.filters)):
        if name not in known:
            raise InvalidInput(
                f"no such column: {clip(name)}; there are: {clip(schema.names)}",
                f"没有该列：{clip(name)}",
                field="columns",
            )
    tests = []
    for name, operator, value in asked.filters:
        kind = schema.field(name).type
        try:
            tests.append((name, OPERATORS[operator], pa.scalar(value).cast(kind)))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError):
            raise InvalidInput(
                f"the column {clip(name)} holds {kind}: the value of its filter is none",
                f"列 {clip(name)} 的类型为 {kind}，筛选值无效",
                field="filter",
            ) from None
    return tests


def _batches(file: pq.ParquetFile, columns: list[str], start: int) -> Any:
    """Yield batches from a row on; groups of rows that lie before it are not read."""
    first, skipped = 0, 0
    while first < file.metadata.num_row_groups:
        rows = file.metadata.row_group(first).num_rows
        if skipped + rows > start:
            break
        skipped, first = skipped + rows, first + 1
    groups = list(range(first, file.metadata.num_row_groups))
    left = start - skipped
    for batch in file.iter_batches(BATCH_ROWS, row_groups=groups, columns=columns):
        if left >= batch.num_rows:
            left -= batch.num_rows
            continue
        yield batch.slice(left)
        left = 0


def _keep(batch: pa.RecordBatch, tests: Sequence[tuple[str, Any, pa.Scalar]]) -> list[int]:
    if not tests:
        return list(range(batch.num_rows))
    mask: Any = None
    for name, holds, value in tests:
        try:
            one = holds(batch.column(name), value)
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
            raise InvalidInput(
                f"the column {clip(name)} cannot be compared",
                f"列 {clip(name)} 不可比较",
                field="filter",
            ) from None
        mask = one if mask is None else pc.and_kleene(mask, one)
    return list(pc.indices_nonzero(pc.fill_null(mask, False)).to_pylist())


def _page(found: list[dict[str, Any]], row: int, end: int, asked: Query) -> Page:
    after = None
    if row < end:
        text = f"{row}.{asked.page_of()}"
        after = base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")
    return Page(
        orjson.dumps(found, default=_plain, option=orjson.OPT_NON_STR_KEYS), len(found), after
    )


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, Mapping):
        return dict(value)
    return str(value)
