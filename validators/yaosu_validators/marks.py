"""Marks in place of long cells, for readers that take four bytes for each character of a text.

`csv.reader` is given a mark where a cell goes on and on, and what the mark stands for, kept as
UTF-8, is put back into the cell that it gives.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from yaosu_schemas.errors import Text

from .check import Finding
from .dialects import Dialect
from .streams import RowTooLong

MARK = "\ud800"  # no text that could be decoded holds it
LONG_ROW = 1 << 20  # bytes
LONG_LINE = 4 << 20  # bytes; shorter lines are given whole
MAX_CELLS = 2_000_000  # of one row: as Python's own they take 60 bytes each
_LONG_CELL = 4096


@dataclass(frozen=True, slots=True)
class LongLine:
    """A line as UTF-8, because as text it may take four times as much; `head` is its beginning."""

    raw: bytearray
    head: str


class Marks:
    """What the marks of one row stand for, by the dialect in which it is written."""

    def __init__(self, dialect: Dialect) -> None:
        quote = ('"' if dialect.quote_char is None else dialect.quote_char).encode()
        escape = (dialect.escape_char or "").encode()
        delimiter = (dialect.delimiter or ",").encode()
        self._delimiter = delimiter
        self._counted = 0  # delimiters in the lines of a row of many lines
        self._quote = b"" if escape else quote
        self._held: list[bytes | bytearray] = []
        self._cells: re.Pattern[bytes] | None = None  # group 1: in quotes, group 2: without
        if max(len(quote), len(escape), len(delimiter)) > 1:
            return  # none of them, or one of many bytes
        ends, q = re.escape(delimiter) + rb"\r\n", re.escape(quote)
        self._open = re.compile(rb"(?:[^%b]++|%b%b)*+" % (q, q, q)) if quote else None
        self._rest = re.compile(rb"%b?([^%b]*+)(?:[%b]|\Z)" % (q, ends, ends))
        if escape:
            stretch = rb"()(?!\ )([^%b%b%b]{%d,}+)" % (ends, q, re.escape(escape), _LONG_CELL)
            self._cells = re.compile(stretch)
            return
        space = rb"\ *+" if dialect.skip_initial_space else b""
        text = rb"(?:%b((?:[^%b]++|%b%b)*+)%b?)?" % (q, q, q, q, q) if quote else b"()"
        self._cells = re.compile(rb"%b%b([^%b]*+)(?:[%b]|\Z)" % (space, text, ends, ends))

    def clear(self) -> None:
        """Expect a new row."""
        self._held.clear()
        self._counted = 0

    def count(self, raw: bytes | bytearray) -> None:
        """Count the cells of a further line of a long row."""
        self._counted += raw.count(self._delimiter)
        if self._counted > MAX_CELLS:
            raise too_many_cells()

    def add(self, text: bytes | bytearray, *, more: bool = False) -> None:
        """Let the next mark stand for a text from inside of quotes; with `more`, the last one."""
        if self._quote:
            text = text.replace(self._quote * 2, self._quote)
        if not more:
            self._held.append(text)
            return
        last = self._held[-1]
        self._held[-1] = last if isinstance(last, bytearray) else bytearray(last)
        self._held[-1] += text

    def is_inside(self, raw: bytes | bytearray) -> bool:
        """Say whether a line that begins inside of a quoted cell does not end it."""
        return bool(self._quote) and self._quote not in raw

    def shortened(self, raw: bytearray, *, inside: bool) -> str:
        """Return a line with marks for its long cells; `inside` of a quoted one it may begin."""
        if self._cells is None:
            return raw.decode("utf-8")
        parts: list[str] = []
        at = start = 0

        def mark(begin: int, end: int) -> int:
            if end - begin < _LONG_CELL:
                return at
            parts.extend((raw[at:begin].decode("utf-8"), MARK))
            text = raw[begin:end]
            self._held.append(text)
            return end

        if inside and self._quote and self._open is not None:
            found = self._open.match(raw)
            assert found is not None
            if found.end() >= _LONG_CELL:
                parts.append(MARK)
                self.add(found[0])
                at = found.end()
            rest = self._rest.match(raw, found.end())
            assert rest is not None
            at = mark(*rest.span(1))
            start = rest.end()
        for count, cell in enumerate(self._cells.finditer(raw, start)):
            begin, end = cell.span(1)
            if end - begin >= _LONG_CELL:
                parts.extend((raw[at:begin].decode("utf-8"), MARK))
                self.add(cell[1])
                at = end
            at = mark(*cell.span(2))
            if count > MAX_CELLS:
                raise too_many_cells()
        parts.append(raw[at:].decode("utf-8"))
        return "".join(parts)

    def restored(self, cells: list[str]) -> list[str]:
        """Return the cells of a row with all of their text."""
        if not self._held:
            return cells
        for at, cell in enumerate(cells):
            if cell == MARK:
                cells[at] = self._held.pop(0).decode("utf-8")
            elif MARK in cell:
                first, *others = cell.split(MARK)
                whole = bytearray(first.encode())
                for other in others:
                    whole += self._held.pop(0)
                    whole += other.encode()
                cells[at] = whole.decode("utf-8")
        return cells


def too_many_cells() -> RowTooLong:
    """Return the finding for a row that is short as text and fills the memory as cells."""
    note = Text(
        f"the row holds more than {MAX_CELLS:,} cells, the most that one may hold",
        f"该行的单元格超过单行上限 {MAX_CELLS:,} 个",
    )
    return RowTooLong(Finding(type="resource-limit", note=note))
