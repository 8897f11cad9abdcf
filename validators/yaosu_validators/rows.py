"""The exact row path: one row at a time, cell by cell, with findings in the order of the house.

Order within a row: fields, extra cells, missing cells; a row without any value is one
`blank-row` instead. Keys come after, from `keys.py`.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import fields
from itertools import zip_longest
from operator import attrgetter
from typing import Any

from yaosu_schemas.texts import clip_all

from .check import Finding
from .fields import Field
from .readers import CellReader, cell_reader

_SHOWN_CELLS = 100
_SHOWN_SIZE = 1 << 10  # characters of a cell; a report shows fewer


class RowReader:
    """Reads rows of one table; `read` gives typed values (None where wrong) and findings."""

    def __init__(self, columns: Sequence[Field], keyed: Sequence[int] = (), most: int = 0) -> None:
        self.columns = tuple(columns)
        self._readers = _readers(columns)
        self._missing = [f.missing for f in columns]
        self._keyed = tuple(keyed)
        self._most = most or sys.maxsize  # findings that count: a row may have a million
        self._width = len(self._readers)

    def read(self, cells: Sequence[Any], row: int) -> tuple[list[Any], list[Finding]]:
        """Return the values by column and what is wrong with them, in order."""
        values: list[Any] = []
        wrong: list[tuple[int, Any]] = []
        blank = 0
        count = len(cells)
        for reader, cell in zip_longest(self._readers, cells[: self._width]):
            value, notes = reader(cell)
            if notes:
                wrong.append((len(values), notes))
            values.append(value)
            if value is None and (not notes or notes[0][0] != "type-error"):
                blank += 1
        if not wrong and count == self._width and blank < self._width:
            return values, []
        if blank == self._width:
            return values, [Finding(type="blank-row", row=row, cells=_texts(cells))]
        return values, self._findings(cells, row, wrong)

    def read_some(
        self, cells: Sequence[Any], row: int, doubtful: Sequence[int]
    ) -> tuple[list[Any], list[Finding]]:
        """Do what `read` does where all cells but the doubtful ones are there and proven valid.

        A proven cell stands for its own value, which is enough for keys; a null key is None.
        """
        values: list[Any] = list(cells)
        wrong: list[tuple[int, Any]] = []
        blank = True
        for i in self._keyed:
            if _is_null(cells[i], self._missing[i]):
                values[i] = None
        for i in doubtful:
            value, notes = self._readers[i](cells[i])
            values[i] = value
            if notes:
                wrong.append((i, notes))
            if value is not None or (notes and notes[0][0] == "type-error"):
                blank = False
        if blank and all(map(_is_null, cells, self._missing)):
            return [None] * len(values), [Finding(type="blank-row", row=row, cells=_texts(cells))]
        return values, self._findings(cells, row, wrong) if wrong else []

    def _findings(
        self, cells: Sequence[Any], row: int, wrong: list[tuple[int, Any]]
    ) -> list[Finding]:
        shown = _texts(cells)
        found = [
            Finding(
                type=kind,
                note=note,
                row=row,
                field_name=self.columns[i].name,
                field_number=i + 1,
                cell=spelled(cells[i] if i < len(cells) else None)[:_SHOWN_SIZE],
                cells=shown,
            )
            for i, notes in wrong
            for kind, note in notes
        ]
        for i in range(self._width, min(len(cells), self._width + self._most)):
            found.append(
                Finding(
                    type="extra-cell",
                    row=row,
                    field_name="",
                    field_number=i + 1,
                    cell=spelled(cells[i])[:_SHOWN_SIZE],
                    cells=shown,
                )
            )
        for i in range(len(cells), min(self._width, len(cells) + self._most)):
            found.append(
                Finding(
                    type="missing-cell",
                    row=row,
                    field_name=self.columns[i].name,
                    field_number=i + 1,
                    cell="",
                    cells=shown,
                )
            )
        return found


def _readers(columns: Sequence[Field]) -> list[CellReader]:
    """Return a reader for each column; plain columns that differ by name alone share one."""
    shared: dict[Any, CellReader] = {}
    readers = []
    for column in columns:
        if column.constraints or column.categories is not None or column.array_item:
            readers.append(cell_reader(column))
            continue
        shape = _shape(column)
        if shape not in shared:
            shared[shape] = cell_reader(column)
        readers.append(shared[shape])
    return readers


_shape = attrgetter(
    *(f.name for f in fields(Field) if f.name not in ("name", "constraints", "array_item"))
)


def _is_null(cell: Any, missing: Sequence[str]) -> bool:
    return cell is None or (cell if type(cell) is str else str(cell)) in missing


def _texts(cells: Sequence[Any]) -> tuple[str, ...]:
    return clip_all([c if type(c) is str else spelled(c) for c in cells[:_SHOWN_CELLS]])


def spelled(value: Any) -> str:
    """Return a value as the data writes it: `true`, never `True`; nothing for a null."""
    kind = type(value)
    if kind is str:
        return value  # type: ignore[no-any-return]
    if kind is bool:
        return "true" if value else "false"
    if value is None:
        return ""
    if kind is list or kind is dict:
        return json.dumps(value, ensure_ascii=False, default=str)
    return str(value)
