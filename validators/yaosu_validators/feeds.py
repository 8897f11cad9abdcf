"""Lines of text for `csv.reader`: of one block, and of those behind it as far as a row goes on.

The reader asks for a second line of a row only inside of a quoted cell. There nothing counts but
the quote that closes it, which is leapt to: what lies before it is given as one text. Where a cell
is long, not even that: the reader is given a mark (`marks.py`).
"""

from __future__ import annotations

import io
import re
from collections.abc import Iterator

from . import turns
from .blocks import Block, Lines, sound_bytes
from .marks import LONG_LINE, LONG_ROW, MARK, Marks
from .streams import MAX_ROW_BYTES, row_too_long, undecodable
from .utf8 import must_be_utf8

_OPEN = re.compile(rb'(?:[^"]++|"")*+')  # from inside of a quoted cell up to the quote that ends it


class NeedMore(Exception):
    """A row goes on behind the text at hand, and this part ends there."""


class Feed:
    """Physical lines of one block for `csv.reader`, from any line on.

    Where a row goes on behind the block, its lines are taken off the blocks that follow: they are
    read once, however long the row is, and only up to the most that a row may have.
    """

    def __init__(
        self, lines: Lines, last: bool, newline: str | None, behind: Behind, marks: Marks
    ) -> None:
        self.lines = lines
        self.count = len(lines)
        self.last = last
        self.newline = newline
        self.behind = behind
        self.at = 0
        self.size = 0  # of the row that is being read
        self.pending: list[str] = []
        self.marks = marks

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        if self.pending:
            return self.pending.pop()
        if self.size and (inside := self._inside()):
            return inside
        if self.at < self.count:
            raw = self.lines[self.at]
            self.at += 1
            ended = self.at < self.count or not self.lines.broken_off
        elif self.last:
            raise StopIteration
        else:
            self.behind.needed = self.size
            raw, ended = self.behind.line()
        further = self.size > 0
        self._measure(len(raw) + 1)
        if further and self.size > LONG_ROW:
            self.marks.count(raw)
        text = self._text(raw, ended, further) if len(raw) > LONG_LINE else raw.decode("utf-8")
        text += "\n" * ended  # in an open quote, it would be of the cell
        if "\r" in text or (self.newline is None and "\n" in text[:-1]):
            lines = list(io.StringIO(text, newline=self.newline))
            self.pending = lines[:0:-1]
            return lines[0]
        return text

    def begin(self) -> None:
        """Expect a new row; what was read is needed no more."""
        if self.size > turns.LONG:
            turns.leave("row")
        self.size = 0
        self.marks.clear()

    def _text(self, raw: bytearray, ended: bool, inside: bool) -> str:
        """Return a long line as text, with marks for its long cells."""
        if self.newline is None and b"\r" in raw:
            raw = raw.removesuffix(b"\r") if ended else raw
            raw = raw.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
        return self.marks.shortened(raw, inside=inside)

    def _inside(self) -> str:
        """Return the lines of the open cell before that which ends it, or a mark for them."""
        mark = ""
        while raw := self._open_lines(ending=bool(mark)):
            if self.newline is None and b"\r" in raw:
                raw = raw.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
            if self.size <= LONG_ROW:
                return raw.decode("utf-8")
            must_be_utf8(raw)
            self.marks.add(raw, more=bool(mark))
            mark = MARK
        return mark

    def _open_lines(self, *, ending: bool) -> bytearray:
        """Return whole lines without the end of the cell, as many as are at hand."""
        if self.at < self.count:
            data, start = self.lines.data, self.lines.ends.item(self.at)
            stop = _open_end(data, start, len(data) - self.lines.broken_off)
            self.at += data.count(b"\n", start, stop)
            self._measure(stop - start)  # which may take its time: before there is a copy
            return data[start:stop]
        if self.last:
            return bytearray()
        self.behind.needed = self.size
        try:
            found = self.behind.open_lines()
        except StopIteration:
            if ending:  # with the text ends the cell
                return bytearray()
            raise
        self._measure(len(found))
        return found

    def _measure(self, size: int) -> None:
        self.size += size
        if self.size > turns.LONG:
            turns.take("row")
        if self.size > MAX_ROW_BYTES:
            raise row_too_long()


def _open_end(data: bytearray, start: int, stop: int) -> int:
    """Return where the last whole line of an open cell ends."""
    found = _OPEN.match(data, start, stop)
    end = found.end() if found else start
    return max(data.rfind(b"\n", start, end) + 1, start)


class Behind:
    """The text behind a block, taken line by line; what is not taken is left to be judged.

    `blocks` are those of the part that is judged, `beyond` those behind it.
    """

    def __init__(self, blocks: Iterator[Block], beyond: Iterator[Block]) -> None:
        self._blocks = blocks
        self._beyond = beyond
        self._block: Block | None = None
        self._bad: UnicodeDecodeError | None = None
        self._stop = self._at = 0
        self.needed = 0  # bytes of the row that goes on
        self._edge = -1  # where the part ends, once that is behind us

    def line(self) -> tuple[bytearray, bool]:
        """Return the next line, and whether a line break ends it.

        StopIteration at the end of the text, NeedMore at a part's.
        """
        data = self._data()
        found = data.find(b"\n", self._at, self._stop)
        end = self._stop if found < 0 else found
        line = data[self._at : end]
        self._at = end + 1
        return line, found >= 0

    def open_lines(self) -> bytearray:
        """Return lines of an open cell before the one that ends it, of one block."""
        data, start = self._data(), self._at
        self._at = _open_end(data, start, self._stop)
        return data[start : self._at]

    def _data(self) -> bytearray:
        while self._block is None or self._at >= self._stop:
            self._take()
        return self._block.data

    def _take(self) -> None:
        if self._bad is not None:
            raise undecodable(self._bad)
        if self._block is not None:
            if self._block.failure is not None:
                raise self._block.failure
            if self._block.last:
                raise StopIteration
        found = next(self._blocks, None)
        if found is None:
            found = next(self._beyond, None)
            if found is None:
                raise NeedMore
            self._edge = found.start if self._edge < 0 else self._edge
        self._block, self._at, self._stop = found, 0, len(found.data)
        try:
            must_be_utf8(found.data)
        except UnicodeDecodeError as why:
            self._bad = why
            self._stop = sound_bytes(found, why)

    @property
    def beyond(self) -> int:
        """How many bytes behind the part were taken."""
        if self._block is None or self._edge < 0:
            return 0
        return self._block.start + min(self._at, len(self._block.data)) - self._edge

    def rest(self, block: Block) -> tuple[Block, bytearray]:
        """Return the block that was taken last, after this one, and what is left of it."""
        if self._block is None:
            return block, bytearray()
        return self._block, self._block.data[self._at :]
