"""Bytes under their SHA-256, on a local disk; invariants B1-B3, B5, B7 of the design.

root/sha256/ab/cd/<hex>   published: complete, verified, synced, read-only, never overwritten
root/tmp/                 in the making; emptied at start
root/quarantine/          found to differ from its name; kept for a person to look at
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import functools
import hashlib
import math
import os
import re
import shutil
import stat
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

from yaosu.errors import AlreadyExists, InvalidInput, NotFound, UnsafePath, Unverified
from yaosu.ports import Reader, Store
from yaosu_schemas.paths import collisions, safe_path

from .files import (
    CHUNK_BYTES,
    Disk,
    Turn,
    failures_are_typed,
    write_all,
)

# Older than this and unreferenced: what a crash between publishing and committing left (B2).
ORPHAN_SECONDS = 24 * 3600
_BYTES_PER_SPACE_CHECK = 64 * CHUNK_BYTES
_HEX = re.compile(r"[0-9a-f]{64}\Z")


class LocalBlobs:
    """A folder of blobs; several processes may share it."""

    def __init__(
        self,
        root: Path,
        *,
        reserve_bytes: int | None = None,
        on_fatal: Callable[[BaseException], None] | None = None,
    ) -> None:
        self.root = root
        self._disk = Disk(root, reserve_bytes=reserve_bytes, on_fatal=on_fatal)
        self._published = root / "sha256"
        self._tmp = root / "tmp"
        self._quarantine = root / "quarantine"
        for folder in (self._published, self._tmp, self._quarantine):
            self._disk.make_folder(folder)
        # Held where a blob is found again and where one is removed: never both at once.
        self._turn = Turn(root / "lock")
        self._sweep_tmp()

    # --- writing --------------------------------------------------------------------------------

    def put(self, chunks: Iterable[bytes], *, sha256: str | None = None) -> tuple[str, int]:
        """Publish; Unverified when the digest is another. Returns (hex digest, bytes)."""
        if sha256 is not None:
            _must_be_hex(sha256)
        self._disk.must_hold(0)
        name, fd = self._new_file()
        try:
            digest, size = self._fill(fd, chunks)
            if sha256 is not None and digest != sha256:
                raise _unverified(sha256, digest)
            self._seal(fd)
            self._publish(name, digest, size)
        finally:
            name.unlink(missing_ok=True)
            os.close(fd)
        return digest, size

    def adopt(self, path: Path, *, sha256: str, verified: bool = False) -> int:
        """Publish a finished, synced file of the staging folder; returns its size in bytes.

        The file is read and compared first, unless the caller hashed it while writing it. The
        name at `path` remains the caller's to remove.
        """
        _must_be_hex(sha256)
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            facts = os.fstat(fd)
            if not stat.S_ISREG(facts.st_mode):
                raise UnsafePath("only a plain file can be published", "只能发布普通文件")
            if not verified:
                found = _digest(fd)
                if found != sha256:
                    raise _unverified(sha256, found)
            self._seal(fd)
        finally:
            os.close(fd)
        try:
            self._publish(path, sha256, facts.st_size)
        except OSError as e:
            if e.errno != errno.EXDEV:
                raise
            with path.open("rb") as other_disk:
                self.put(iter(lambda: other_disk.read(CHUNK_BYTES), b""), sha256=sha256)
        return facts.st_size

    def _new_file(self) -> tuple[Path, int]:
        """Make an empty file that says, by its lock, that somebody is at work on it."""
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        while True:
            name = self._tmp / uuid.uuid4().hex
            with failures_are_typed():
                fd = os.open(name, flags, 0o600)
            fcntl.flock(fd, fcntl.LOCK_EX)
            if os.fstat(fd).st_nlink:
                return name, fd
            os.close(fd)  # swept in the moment between the two calls

    def _seal(self, fd: int) -> None:
        """Make a file read-only and durable: nothing is published before this returns."""
        os.fchmod(fd, 0o444)
        self._disk.sync(fd)

    def _fill(self, fd: int, chunks: Iterable[bytes]) -> tuple[str, int]:
        state, size, checked = hashlib.sha256(), 0, 0
        for chunk in chunks:
            write_all(fd, chunk)
            state.update(chunk)
            size += len(chunk)
            if size - checked >= _BYTES_PER_SPACE_CHECK:
                self._disk.must_hold(0)
                checked = size
        return state.hexdigest(), size

    def _publish(self, name: Path, digest: str, size: int) -> None:
        """Give a sealed file its name for good; a blob that is there already stays (B1)."""
        target = self._path(digest)
        self._disk.make_folder(target.parent)
        with self._turn:
            try:
                with failures_are_typed():
                    os.link(name, target, follow_symlinks=False)
            except FileExistsError:
                facts = target.lstat()
                if facts.st_size != size or not stat.S_ISREG(facts.st_mode):
                    self._set_aside(target)
                    os.link(name, target, follow_symlinks=False)
                else:
                    # Young again: an orphan that is wanted now must not be swept (B2).
                    os.utime(target, follow_symlinks=False)
            self._disk.sync_folder(target.parent)

    # --- reading --------------------------------------------------------------------------------

    def size(self, sha256: str) -> int:
        """Return the size in bytes; NotFound if absent."""
        with self._open(sha256) as file:
            return os.fstat(file.fileno()).st_size

    def read(self, sha256: str, start: int = 0, end: int | None = None) -> Iterator[bytes]:
        """Return the bytes from `start` up to (not with) `end`, in pieces of at most 1 MiB."""
        file = self._open(sha256)
        file.seek(start)
        return _pieces(file, None if end is None else max(0, end - start))

    def path(self, sha256: str) -> Path | None:
        """Return the local read-only file; NotFound if absent."""
        self.size(sha256)
        return self._path(sha256)

    def lay_out(self, files: Mapping[str, str], folder: Path) -> None:
        """Make a folder of relative path → sha256, as the provider had it (hard links)."""
        paths = {safe_path(path): sha256 for path, sha256 in files.items()}
        pairs = collisions(paths)
        if pairs or len(paths) != len(files):
            raise UnsafePath(
                "two of the paths are one and the same file on some systems",
                "有两个路径在某些系统上指向同一个文件",
                paths=list(pairs[0]) if pairs else [],
            )
        for path, sha256 in paths.items():
            self.size(sha256)
            target = folder / path
            try:
                target.parent.mkdir(parents=True, exist_ok=True)
                _link_or_copy(self._path(sha256), target)
            except (FileExistsError, NotADirectoryError):
                raise AlreadyExists(
                    f"there is a file in the way of {path!r}", f"路径“{path}”处已有文件", path=path
                ) from None

    def all(self) -> Iterator[str]:
        """Return every published digest, in no order that matters."""
        for outer in _folders(self._published):
            for inner in _folders(outer):
                for name in os.listdir(inner):
                    if _HEX.match(name):
                        yield name

    # --- keeping --------------------------------------------------------------------------------

    def verify(self, sha256: str) -> bool:
        """Read every byte and compare; what differs is set aside, never repaired (B7)."""
        with self._open(sha256) as file:
            found = _digest(file.fileno())
        if found == sha256:
            return True
        with self._turn:
            self._set_aside(self._path(sha256))
        return False

    def scrub(self, share: float) -> list[str]:
        """Verify the next `share` (0 to 1) of all blobs; return those found damaged (B7).

        Goes on where the last call, of whichever process, stopped; after the last blob it begins
        anew. Called hourly with 1/720 it reads every blob within 30 days.
        """
        cursor = self.root / "scrubbed"
        after = cursor.read_text("ascii") if cursor.exists() else ""
        every = sorted(self.all())
        rest = [sha256 for sha256 in every if sha256 > after]
        batch = rest[: math.ceil(len(every) * share)]
        damaged = []
        for sha256 in batch:
            with contextlib.suppress(NotFound):
                if not self.verify(sha256):
                    damaged.append(sha256)
        # Nothing depends on this file: losing it reads some blobs twice.
        cursor.write_text(batch[-1] if len(batch) < len(rest) else "", "ascii")
        return damaged

    def quarantined(self) -> list[str]:
        """Return the digests whose bytes were found to be others."""
        return sorted({name.partition(".")[0] for name in os.listdir(self._quarantine)})

    def orphans(self, *, older_seconds: float = ORPHAN_SECONDS) -> Iterator[str]:
        """Return digests that were published, or asked for again, longer ago than that."""
        before = time.time() - older_seconds
        for sha256 in self.all():
            with contextlib.suppress(FileNotFoundError):
                if self._path(sha256).lstat().st_mtime < before:
                    yield sha256

    def remove(self, sha256: str, *, older_seconds: float = ORPHAN_SECONDS) -> bool:
        """Remove a blob, unless it was asked for again in the meantime; say whether it is gone."""
        target = self._path(sha256)
        with self._turn:
            try:
                if target.lstat().st_mtime >= time.time() - older_seconds:
                    return False
                target.unlink()
            except FileNotFoundError:
                return False
        return True

    def _set_aside(self, target: Path) -> None:
        os.replace(target, self._quarantine / f"{target.name}.{time.time_ns()}")
        self._disk.sync_folder(self._quarantine)
        self._disk.sync_folder(target.parent)

    def _sweep_tmp(self) -> None:
        """Remove what a process that is no more left in the making (B5)."""
        for entry in list(os.scandir(self._tmp)):
            with contextlib.suppress(OSError):
                fd = os.open(entry.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
                try:
                    fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    os.unlink(entry.path)
                finally:
                    os.close(fd)

    def _path(self, sha256: str) -> Path:
        _must_be_hex(sha256)
        return self._published / sha256[:2] / sha256[2:4] / sha256

    def _open(self, sha256: str) -> BinaryIO:
        try:
            fd = os.open(self._path(sha256), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError as e:
            if e.errno not in (errno.ENOENT, errno.ELOOP):
                raise
            raise NotFound(
                "there are no bytes of that digest here", "此处没有该摘要对应的内容", sha256=sha256
            ) from None
        return os.fdopen(fd, "rb", buffering=0)


def sweep_orphans(
    blobs: LocalBlobs,
    store: Store,
    referenced: Callable[[Reader, str], bool],
    *,
    older_seconds: float = ORPHAN_SECONDS,
) -> list[str]:
    """Remove blobs that are old and that nothing refers to; return their digests (B2).

    The few that look unreferenced are asked about again and removed inside one step each, so
    that no reference comes in between.
    """

    def step(tx: Reader, sha256: str) -> bool:
        return not referenced(tx, sha256) and blobs.remove(sha256, older_seconds=older_seconds)

    removed = []
    for sha256 in blobs.orphans(older_seconds=older_seconds):
        with store.read() as reader:
            if referenced(reader, sha256):
                continue
        if store.write(functools.partial(step, sha256=sha256)):
            removed.append(sha256)
    return removed


def _pieces(file: BinaryIO, left: int | None) -> Iterator[bytes]:
    with file:
        while left is None or left > 0:
            piece = file.read(CHUNK_BYTES if left is None else min(left, CHUNK_BYTES))
            if not piece:
                return
            if left is not None:
                left -= len(piece)
            yield piece


def _digest(fd: int) -> str:
    state = hashlib.sha256()
    offset = 0
    while piece := os.pread(fd, CHUNK_BYTES, offset):
        state.update(piece)
        offset += len(piece)
    return state.hexdigest()


def _link_or_copy(source: Path, target: Path) -> None:
    try:
        os.link(source, target, follow_symlinks=False)
    except OSError as e:
        if e.errno not in (errno.EXDEV, errno.EMLINK, errno.EPERM):
            raise
        with source.open("rb") as have, target.open("xb") as copy, failures_are_typed():
            shutil.copyfileobj(have, copy, CHUNK_BYTES)
        target.chmod(0o444)


def _folders(folder: Path) -> list[Path]:
    return [Path(e.path) for e in os.scandir(folder) if e.is_dir(follow_symlinks=False)]


def _must_be_hex(sha256: str) -> None:
    if not _HEX.match(sha256):
        raise InvalidInput(
            "a SHA-256 is written as 64 lower-case hex digits", "SHA-256 须为 64 位小写十六进制字符"
        )


def _unverified(wanted: str, found: str) -> Unverified:
    return Unverified(
        "the bytes do not have the digest that was declared",
        "内容与声明的摘要不一致",
        declared=f"sha256:{wanted}",
        found=f"sha256:{found}",
    )
