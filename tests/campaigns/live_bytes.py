"""Which bytes of a SQLite file say something, and of which table (SQLite file format §1.6).

Everything else is room: pages on the free list, the gap in a page, what a deleted row left behind.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

LEAF_TABLE, INNER_TABLE, LEAF_INDEX, INNER_INDEX = 13, 5, 10, 2


@dataclass(frozen=True)
class Stretch:
    """Bytes `start` to `end` of the file, which belong to a table or one of its indexes."""

    table: str
    start: int
    end: int


def live_bytes(path: Path) -> list[Stretch]:
    """Return every stretch of a database that nobody writes to at present."""
    with closing(sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)) as db:
        (size,) = db.execute("PRAGMA page_size").fetchone()
        roots = db.execute("SELECT tbl_name, rootpage FROM sqlite_master WHERE rootpage > 0")
        named = [("sqlite_schema", 1), *roots.fetchall()]
    pages = _Pages(path.read_bytes(), size)
    return [Stretch(table, *span) for table, root in named for span in pages.tree(root)]


class _Pages:
    def __init__(self, data: bytes, size: int) -> None:
        self.data, self.size = data, size

    def tree(self, number: int) -> Iterator[tuple[int, int]]:
        """Yield what is used of a page, its cells, their overflow and the pages below."""
        base = (number - 1) * self.size
        head = base + (100 if number == 1 else 0)
        kind = self.data[head]
        inner = kind in (INNER_TABLE, INNER_INDEX)
        cells = self._int(head + 3, 2)
        pointers = head + (12 if inner else 8)
        yield head, pointers + 2 * cells
        for n in range(cells):
            start = base + self._int(pointers + 2 * n, 2)
            at = start + (4 if inner else 0)
            payload = 0
            if kind != INNER_TABLE:
                payload, at = self._varint(at)
            if kind in (LEAF_TABLE, INNER_TABLE):
                _, at = self._varint(at)
            kept = self._local(kind, payload)
            end = at + kept + (4 if kept < payload else 0)
            yield start, end
            if kept < payload:
                yield from self._overflow(self._int(end - 4, 4), payload - kept)
            if inner:
                yield from self.tree(self._int(start, 4))
        if inner:
            yield from self.tree(self._int(head + 8, 4))

    def _overflow(self, number: int, left: int) -> Iterator[tuple[int, int]]:
        while left > 0:
            base = (number - 1) * self.size
            here = min(left, self.size - 4)
            yield base, base + 4 + here
            left -= here
            number = self._int(base, 4)

    def _local(self, kind: int, payload: int) -> int:
        """Return how much of a payload its own page holds (§1.6, "maximum embedded payload")."""
        most = self.size - 35 if kind == LEAF_TABLE else (self.size - 12) * 64 // 255 - 23
        if payload <= most:
            return payload
        least = (self.size - 12) * 32 // 255 - 23
        fits = least + (payload - least) % (self.size - 4)
        return fits if fits <= most else least

    def _int(self, at: int, width: int) -> int:
        return int.from_bytes(self.data[at : at + width], "big")

    def _varint(self, at: int) -> tuple[int, int]:
        value = 0
        for n in range(9):
            byte = self.data[at + n]
            if n == 8:
                return value << 8 | byte, at + 9
            value = value << 7 | byte & 0x7F
            if byte < 0x80:
                return value, at + n + 1
        raise AssertionError
