"""Tables as Arrow batches for further checks: columns by label, as text or as typed."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any

import pyarrow as pa

from .header import unique_names
from .sources import Table

ROWS = 8192


def labelled(table: Table) -> Any:
    """Return the Arrow schema of a table: its own types, or text for everything that is read."""
    if table.arrow is not None:
        return table.arrow.schema
    names = table.labels
    if not names:
        width = max((len(cells) for cells in table.fragment), default=0)
        names = [f"field{n}" for n in range(1, width + 1)]
    names = unique_names([name or f"field{n}" for n, name in enumerate(names, start=1)])
    return pa.schema([(name, pa.string()) for name in names])


def batches(table: Table, schema: Any) -> Iterator[Any]:
    """Yield all rows as record batches; a missing cell is null, an extra one is dropped."""
    if table.arrow is not None:
        from .columns import checked

        yield from checked(table.arrow.batches(), full=table.format != "parquet")
        return
    held: list[Sequence[Any]] = []
    for _, cells in table.content():
        held.append(cells)
        if len(held) >= ROWS:
            yield _batch(held, schema)
            held = []
    if held:
        yield _batch(held, schema)


def _batch(rows: list[Sequence[Any]], schema: Any) -> Any:
    columns = [
        pa.array([_text(cells[i]) if i < len(cells) else None for cells in rows], pa.string())
        for i in range(len(schema))
    ]
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _text(cell: Any) -> str | None:
    if cell is None or isinstance(cell, str):
        return cell if cell is None else cell.encode("utf-8", "replace").decode()
    if isinstance(cell, bool):
        return "true" if cell else "false"
    if isinstance(cell, int | float | Decimal | date | datetime | time):
        return str(cell)
    return json.dumps(cell, ensure_ascii=False, default=str)
