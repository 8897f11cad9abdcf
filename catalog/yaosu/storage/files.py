"""How files are made durable: in one order, with every failed sync fatal to the operation."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from yaosu.errors import NoSpace, Unavailable

CHUNK_BYTES = 1 << 20
RESERVE_BYTES = 1 << 30
RESERVE_PERCENT = 5

_OUT_OF_SPACE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def write_all(fd: int, data: bytes | memoryview) -> None:
    """Write every byte; NoSpace when the disk takes no more, Unavailable when it fails."""
    rest = memoryview(data)
    with failures_are_typed():
        while rest:
            rest = rest[os.write(fd, rest) :]


@contextlib.contextmanager
def failures_are_typed() -> Iterator[None]:
    """Turn the operating system's "disk full" into NoSpace, and a device's failure into a refusal.

    What fails here was not acknowledged and is rolled back; a failed sync is another matter (P1).
    """
    try:
        yield
    except OSError as e:
        if e.errno in _OUT_OF_SPACE:
            raise no_space() from e
        if e.errno == errno.EIO:
            raise Unavailable(
                f"the disk did not take what was to be written: {e.strerror}",
                f"磁盘写入失败：{e.strerror}",
            ) from e
        raise


def no_space(**facts: object) -> NoSpace:
    return NoSpace(
        "the disk has no room for that; what is stored stays readable",
        "磁盘空间不足，无法写入；已存储的内容仍可读取",
        **facts,
    )


class Disk:
    """A folder's file system: keeps a reserve of free bytes (P2), and syncs or stops (P1)."""

    def __init__(
        self,
        folder: Path,
        *,
        reserve_bytes: int | None = None,
        on_fatal: Callable[[BaseException], None] | None = None,
    ) -> None:
        self._folder = folder
        self._reserve_bytes = reserve_bytes
        self._on_fatal = on_fatal
        self._broken: Unavailable | None = None

    def must_hold(self, more_bytes: int) -> None:
        """Refuse with NoSpace what would eat into the reserve: max(1 GiB, 5 %) by default."""
        if self._broken is not None:
            raise self._broken
        stat = os.statvfs(self._folder)
        free = stat.f_bavail * stat.f_frsize
        reserve = self._reserve_bytes
        if reserve is None:
            total = stat.f_blocks * stat.f_frsize
            reserve = max(RESERVE_BYTES, total * RESERVE_PERCENT // 100)
        if free - more_bytes < reserve:
            raise no_space(free_bytes=free, reserve_bytes=reserve, wanted_bytes=more_bytes)

    def sync(self, fd: int) -> None:
        """Make a file durable. After a failure the page cache cannot be trusted: never again."""
        if self._broken is not None:
            raise self._broken
        try:
            os.fsync(fd)
        except OSError as e:
            if e.errno in _OUT_OF_SPACE:
                raise no_space() from e
            self._broken = Unavailable(
                f"the disk did not take what was written: {e.strerror}",
                f"磁盘未能保存已写入的内容：{e.strerror}",
            )
            if self._on_fatal is not None:
                self._on_fatal(e)
            raise self._broken from e

    def sync_folder(self, folder: Path) -> None:
        """Make the names in a folder durable."""
        fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            self.sync(fd)
        finally:
            os.close(fd)

    def make_folder(self, folder: Path) -> None:
        """Make a folder and those above it, each name durable; nothing if it is there."""
        if folder.is_dir():
            return
        self.make_folder(folder.parent)
        with failures_are_typed(), contextlib.suppress(FileExistsError):
            folder.mkdir(mode=0o700)
        self.sync_folder(folder.parent)


class Turn:
    """Lets one thread of one process at a time into a section, through a lock file."""

    def __init__(self, path: Path) -> None:
        self._fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        self._lock = threading.Lock()

    def __enter__(self) -> None:
        self._lock.acquire()
        fcntl.flock(self._fd, fcntl.LOCK_EX)

    def __exit__(self, *_: object) -> None:
        fcntl.flock(self._fd, fcntl.LOCK_UN)
        self._lock.release()

    def __del__(self) -> None:
        with contextlib.suppress(OSError, AttributeError):
            os.close(self._fd)
