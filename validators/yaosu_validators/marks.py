"""Marks in place of long cells, for readers that take four bytes for each character of a text.

`csv.reader` is given a mark where a cell goes on and on, and what the mark stands for, kept as
UTF-8, is put back into the cell that it gives.
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator
from dataclasses import dataclass

from yaosu_schemas.errors import Text

from . import long_texts, turns
from .check import Finding
from .dialects import SAMPLE_TEXT, Dialect, csv_reader
from .steady import give_back
from .streams import MAX_ROW_BYTES, RowTooLong, row_too_long

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
        self.quote = b"" if escape else quote
        self._held: list[list[bytes | bytearray]] = []
        self._cells: re.Pattern[bytes] | None = None  # group 1: in quotes, group 2: without
        if max(len(quote), len(escape), len(delimiter)) > 1:
            return  # none of them, or one of many bytes
        ends, q = re.escape(delimiter) + rb"\r\n", re.escape(quote)
        self._open = re.compile(rb"(?:[^%b]++|%b%b)*+" % (q, q, q)) if quote else None
        self._rest = re.compile(rb"(?:%b)?([^%b]*+)(?:[%b]|\Z)" % (q, ends, ends))
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

    def count(self, line: bytearray | str) -> None:
        """Count the cells of a further line of a long row."""
        raw = line.encode("utf-8", "surrogatepass") if isinstance(line, str) else line
        self._counted += raw.count(self._delimiter)
        if self._counted > MAX_CELLS:
            raise too_many_cells()

    def add(self, text: bytes | bytearray, *, more: bool = False) -> None:
        """Let the next mark stand for a text from inside of quotes; with `more`, the last one."""
        if self.quote:
            text = text.replace(self.quote * 2, self.quote)
        if not more:
            self._held.append([])
        self._held[-1].append(text)

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
            self._held.append([text])
            return end

        if inside and self.quote and self._open is not None:
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
            if MARK in cell:
                first, *others = cell.split(MARK)
                pieces: list[bytes | bytearray] = [first.encode()]
                for other in others:
                    pieces += (*self._held.pop(0), other.encode())
                cells[at] = _text(pieces)
        return cells


def _text(pieces: list[bytes | bytearray]) -> str:
    """Return pieces of UTF-8 as one text, and use them up before there is any."""
    whole = b"".join(pieces)
    pieces.clear()
    if len(whole) > turns.LONG:
        give_back()
    if len(whole) > long_texts.LONG and long_texts.are_wanted():
        return long_texts.kept(whole)
    return whole.decode("utf-8")


def bounded(text: io.TextIOWrapper) -> Iterator[str | LongLine]:
    """Yield lines; one that no one meant to be a line is refused while it is read."""
    before = start = 0
    long: LongLine | None = None
    ahead = ""  # the first character of the next line
    while piece := ahead + text.readline(LONG_LINE):
        ahead = ""
        if len(piece) >= LONG_LINE and piece.endswith("\r"):
            ahead = text.readline(1)  # a line break of two characters may have been cut
            if ahead == "\n":
                piece, ahead = piece + ahead, ""
        before += len(piece) if piece.isascii() else len(piece.encode(text.encoding, "replace"))
        ended = len(piece) < LONG_LINE or piece.endswith(("\n", "\r"))
        if long is None and ended:
            start = before
            yield piece
            continue
        if long is None:
            long = LongLine(bytearray(), piece[:SAMPLE_TEXT])
        turns.take("source")
        long.raw.extend(piece.encode("utf-8", "surrogatepass"))
        if len(long.raw) > MAX_ROW_BYTES:
            raise row_too_long(start)
        if ended:
            start = before
            yield long
            long = None
    if long is not None:
        yield long


def csv_rows(dialect: Dialect, lines: Iterator[str | LongLine]) -> Iterator[list[str]]:
    """Yield rows; one of many lines that no one meant to be a row is refused while it is read."""
    feed = _LineFeed(dialect, lines)
    for cells in csv_reader(dialect, iter(feed)):
        yield feed.marks.restored(cells)
        feed.size = 0
        feed.marks.clear()


class _LineFeed:
    """Lines of text for `csv.reader`; of a long row it is given marks."""

    def __init__(self, dialect: Dialect, lines: Iterator[str | LongLine]) -> None:
        self.marks = Marks(dialect)
        self.size = 0  # of the row so far
        self._lines = lines
        self._held: list[str] = []  # lines inside of a quoted cell
        self._mark = ""  # that was not given yet

    def __iter__(self) -> Iterator[str]:
        quote, long_row = self.marks.quote.decode(), LONG_ROW
        for line in self._lines:
            if isinstance(line, LongLine):
                self._measure(len(line.raw))
                inside = self.size > len(line.raw)
                text = self.marks.shortened(line.raw, inside=inside)
            else:
                self._measure(len(line))
                if self.size > long_row and len(line) < self.size:
                    if quote and quote not in line:
                        self._held.append(line)
                        if len(self._held) >= _LINES:
                            self._keep()
                        continue
                    self.marks.count(line)
                text = line
            self._keep()
            yield self._mark + text
            self._mark = ""
        self._keep()
        if self._mark:
            yield self._mark

    def _keep(self) -> None:
        """Let a mark stand for the lines that are held."""
        if self._held:
            text = "".join(self._held)
            raw = text.encode("utf-8", "surrogatepass")
            self._held.clear()
            self._measure(len(raw) - len(text))
            self.marks.add(raw, more=bool(self._mark))
            self._mark = MARK

    def _measure(self, size: int) -> None:
        self.size += size
        if self.size > turns.LONG:
            turns.take("source")
        if self.size > MAX_ROW_BYTES:
            raise row_too_long()


_LINES = 1 << 12  # of one row, made one text at a time


def too_many_cells() -> RowTooLong:
    """Return the finding for a row that is short as text and fills the memory as cells."""
    note = Text(
        f"the row holds more than {MAX_CELLS:,} cells, the most that one may hold",
        f"该行的单元格超过单行上限 {MAX_CELLS:,} 个",
    )
    return RowTooLong(Finding(type="resource-limit", note=note))
