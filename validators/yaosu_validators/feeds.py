"""Lines of text for `csv.reader`: of one block, and of those behind it as far as a row goes on."""

from __future__ import annotations

import io
from collections.abc import Iterator

from .blocks import CHUNK, Block, Lines, undecodable
from .streams import MAX_ROW_BYTES, row_too_long


class NeedMore(Exception):
    """A row goes on behind the text at hand, and this part ends there."""


class Feed:
    """Physical lines of one block for `csv.reader`, from any line on.

    Where a row goes on behind the block, its lines are taken off the blocks that follow: they are
    read once, however long the row is, and only up to the most that a row may have.
    """

    def __init__(self, lines: Lines, last: bool, newline: str | None, behind: Behind) -> None:
        self.lines = lines
        self.count = len(lines)
        self.last = last
        self.newline = newline
        self.behind = behind
        self.at = 0
        self.size = 0  # of the row that is being read
        self.pending: list[str] = []

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        if self.pending:
            return self.pending.pop()
        if self.at < self.count:
            raw = self.lines[self.at]
            self.at += 1
            ended = self.at < self.count or not self.lines.broken_off
        elif self.last:
            raise StopIteration
        else:
            self.behind.needed = self.size
            raw, ended = self.behind.line()
        self.size += len(raw) + 1
        if self.size > MAX_ROW_BYTES:
            raise row_too_long()
        text = raw.decode("utf-8") + "\n" * ended  # in an open quote, it would be of the cell
        if "\r" in text:
            lines = list(io.StringIO(text, newline=self.newline))
            self.pending = lines[:0:-1]
            return lines[0]
        return text


class Behind:
    """The text behind a block, taken line by line; what is not taken is left to be judged."""

    def __init__(self, blocks: Iterator[Block]) -> None:
        self._blocks = blocks
        self._block: Block | None = None
        self._bad: UnicodeDecodeError | None = None
        self._stop = self._at = 0
        self.needed = 0  # bytes of the row that goes on

    def line(self) -> tuple[bytearray, bool]:
        """Return the next line, and whether a line break ends it.

        StopIteration at the end of the text, NeedMore at a part's.
        """
        while self._at >= self._stop:
            self._take()
        assert self._block is not None
        data = self._block.data
        found = data.find(b"\n", self._at, self._stop)
        end = self._stop if found < 0 else found
        line = data[self._at : end]
        self._at = end + 1
        return line, found >= 0

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
            raise NeedMore
        self._block, self._at, self._stop = found, 0, len(found.data)
        try:
            found.data.decode("utf-8")
        except UnicodeDecodeError as why:
            self._bad = why
            cut = (found.start + why.start) // CHUNK * CHUNK - found.start
            self._stop = max(found.data.rfind(b"\n", 0, max(cut, 0)) + 1, 0)

    def rest(self, block: Block) -> tuple[Block, bytearray]:
        """Return the block that was taken last, after this one, and what is left of it."""
        if self._block is None:
            return block, bytearray()
        return self._block, self._block.data[self._at :]
