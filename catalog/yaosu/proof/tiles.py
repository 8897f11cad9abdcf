"""Tiles of the log in a folder, laid out so that a plain file server could serve them.

A file is written beside its name, synced, renamed, and its folder synced: what has its name is
whole. A partial tile is replaced by a fuller one under another name and only then removed.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Sequence
from pathlib import Path

from yaosu.errors import NotFound

from . import merkle
from .merkle import HASH_BYTES, TILE_WIDTH

_TILES_KEPT = 1024


def sync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def write_durably(path: Path, content: bytes) -> None:
    """Put a whole file under its name, durable when this returns."""
    _place(path, content)
    sync_folder(path.parent)


def _place(path: Path, content: bytes) -> None:
    part = path.with_name(f".{path.name}.part")
    with part.open("wb") as out:
        out.write(content)
        out.flush()
        os.fsync(out.fileno())
    part.replace(path)


class TileFolder:
    """The tiles of one tree, read and extended."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._rows: dict[tuple[int, int, int], merkle.Rows] = {}
        self._lock = threading.Lock()

    def hashes(self, level: int, index: int, width: int) -> bytes:
        """Return the first `width` hashes of a tile; NotFound when they are not there."""
        content = self._read(merkle.tile_path(level, index), width)
        if len(content) < width * HASH_BYTES:
            raise _absent(merkle.tile_path(level, index, width))
        return content[: width * HASH_BYTES]

    def node(self, size: int) -> merkle.Node:
        """Return the subtree function of the tree of `size`; the inside of tiles is kept."""

        def rows(level: int, index: int) -> merkle.Rows:
            width = min(TILE_WIDTH, (size >> 8 * level) - index * TILE_WIDTH)
            key = level, index, width  # so many hashes of a tile never change again
            kept = self._rows.get(key)
            if kept is None:
                kept = merkle.rows_of(self.hashes(level, index, width))
                with self._lock:
                    if len(self._rows) >= _TILES_KEPT:
                        self._rows.pop(next(iter(self._rows)))
                    self._rows[key] = kept
            return kept

        return merkle.node_in_rows(rows)

    def entries(self, index: int, width: int) -> list[bytes]:
        """Return the first `width` entries of a bundle; NotFound when they are not there."""
        found = merkle.unpack(self._read(merkle.entries_path(index), width))
        if len(found) < width:
            raise _absent(merkle.entries_path(index, width))
        return found[:width]

    def forget(self) -> None:
        """Drop what is remembered of the files."""
        with self._lock:
            self._rows.clear()

    def _read(self, path: str, width: int) -> bytes:
        """Return the full tile, or the fullest partial one that has `width`."""
        whole = self.folder / path
        for _ in range(3):  # the sequencer may replace a partial tile while we look
            with contextlib.suppress(FileNotFoundError):
                return whole.read_bytes()
            widths = self.partials(path)
            if not widths or widths[-1] < width:
                break
            with contextlib.suppress(FileNotFoundError):
                return self._partial(path, widths[-1]).read_bytes()
        raise _absent(path)

    def partials(self, path: str) -> list[int]:
        """Return the widths of the partial versions of a tile on disk."""
        folder = self.folder / f"{path}.p"
        try:
            return sorted(int(name) for name in os.listdir(folder) if name.isdigit())
        except FileNotFoundError:
            return []

    def _partial(self, path: str, width: int) -> Path:
        return self.folder / f"{path}.p" / str(width)

    # --- growing --------------------------------------------------------------------------------

    def append(self, size: int, entries: Sequence[bytes]) -> None:
        """Write entries and all tiles that they change, durable when this returns."""
        touched: set[Path] = set()
        for index, first, part in _by_tile(size, list(entries)):
            before = self.entries(index, first) if first else []
            whole = [*before, *part]
            self._write(merkle.entries_path(index), len(whole), merkle.pack(whole), touched)
        level, start = 0, size
        hashes = [merkle.leaf_hash(entry) for entry in entries]
        while hashes:
            above: list[bytes] = []
            for index, first, part in _by_tile(start, hashes):
                before_hashes = self.hashes(level, index, first) if first else b""
                content = before_hashes + b"".join(part)
                width = len(content) // HASH_BYTES
                self._write(merkle.tile_path(level, index), width, content, touched)
                if width == TILE_WIDTH:
                    above.append(_tile_root(content))
            level, start, hashes = level + 1, start // TILE_WIDTH, above
        for folder in touched:
            sync_folder(folder)

    def _write(self, path: str, width: int, content: bytes, touched: set[Path]) -> None:
        target = self.folder / path if width == TILE_WIDTH else self._partial(path, width)
        if not target.parent.is_dir():
            target.parent.mkdir(parents=True)
            above = target.parent
            while above != self.folder:
                above = above.parent
                touched.add(above)
        _place(target, content)
        touched.add(target.parent)

    def drop_superseded(self, old: int, new: int) -> None:
        """Remove partial tiles of the tree of `old` that the tree of `new` has fuller."""
        level = 0
        while old >> 8 * level:
            had, have = old >> 8 * level, new >> 8 * level
            if had % TILE_WIDTH and have != had:
                paths = [merkle.tile_path(level, had // TILE_WIDTH)]
                if level == 0:
                    paths.append(merkle.entries_path(had // TILE_WIDTH))
                for path in paths:
                    self._drop(path, keep=have - had // TILE_WIDTH * TILE_WIDTH)
            level += 1

    def _drop(self, path: str, keep: int) -> None:
        """Remove partial versions narrower than `keep`; what stays by accident does no harm."""
        for width in self.partials(path):
            if width < keep:
                self._partial(path, width).unlink(missing_ok=True)
        if keep >= TILE_WIDTH:
            with contextlib.suppress(OSError):
                (self.folder / f"{path}.p").rmdir()


def _by_tile(start: int, items: list[bytes]) -> list[tuple[int, int, list[bytes]]]:
    """Return (tile index, first position in the tile, items) for items from `start` on."""
    out: list[tuple[int, int, list[bytes]]] = []
    at = 0
    while at < len(items):
        index, first = divmod(start + at, TILE_WIDTH)
        part = items[at : at + TILE_WIDTH - first]
        out.append((index, first, part))
        at += len(part)
    return out


def _tile_root(content: bytes) -> bytes:
    top = merkle.rows_of(content)[-1]
    return merkle.node_hash(top[:HASH_BYTES], top[HASH_BYTES:])


def _absent(path: str) -> NotFound:
    return NotFound("the log has no such tile", "日志中没有该数据块", path=path)
