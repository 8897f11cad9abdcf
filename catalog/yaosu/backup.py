"""Copies a data folder into one file while the market runs, and back into an empty folder.

Order matters. The log is copied before the database, so that it is never ahead of it (a log that
is behind is the state after a crash, from which it catches up); blobs are copied after the
database, so that everything it refers to is there.
"""

from __future__ import annotations

import contextlib
import io
import os
import sqlite3
import tarfile
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

from .errors import AlreadyExists, Malformed, NotFound, Unverified
from .proof import resting
from .storage.sql import DATABASE_FILE

MARK = "yaosu-backup-1"
Progress = Callable[[str, int], None]


def backup(data: Path, target: Path, progress: Progress = lambda name, size: None) -> int:
    """Write `target` (a tar, mode 0600: it holds the market's keys); returns its size in bytes.

    The data folder may be in use. NotFound without a market in it, AlreadyExists if `target` is
    there.
    """
    if not (data / DATABASE_FILE).is_file():
        raise NotFound(
            "there is no embedded market in this folder", "该目录中没有内嵌市场", folder=data.name
        )
    unfinished = target.with_name(target.name + ".part")
    if target.exists():
        raise AlreadyExists(f"{target.name} is there already", f"{target.name} 已存在")
    fd = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        with open(fd, "wb") as out:
            with tarfile.open(fileobj=out, mode="w") as archive:
                _note(archive, MARK)
                for path in _files(data, "log"):
                    _put(archive, data, path, progress)
                with _snapshot(data / DATABASE_FILE) as copy:
                    archive.add(copy, arcname=DATABASE_FILE)
                    _note(archive, resting.line(copy).decode(), f"{DATABASE_FILE}.sum")
                    progress(DATABASE_FILE, copy.stat().st_size)
                for folder in ("keys", "blobs/sha256"):
                    for path in _files(data, folder):
                        _put(archive, data, path, progress)
            out.flush()
            os.fsync(out.fileno())
        os.rename(unfinished, target)
    except BaseException:
        unfinished.unlink(missing_ok=True)
        raise
    return target.stat().st_size


def _note(archive: tarfile.TarFile, text: str, name: str = "FORMAT") -> None:
    info = tarfile.TarInfo(name)
    info.size = len(text)
    archive.addfile(info, io.BytesIO(text.encode()))


def _files(data: Path, folder: str) -> Iterator[Path]:
    for root, folders, names in os.walk(data / folder):
        folders.sort()
        for name in sorted(names):
            path = Path(root, name)
            if not path.is_symlink() and not name.startswith(".") and name != "lock":
                yield path


def _put(archive: tarfile.TarFile, data: Path, path: Path, progress: Progress) -> None:
    # A partial tile may give way to a fuller one while we look: what is gone is not needed.
    with contextlib.suppress(FileNotFoundError):
        archive.add(path, arcname=str(path.relative_to(data)), recursive=False)
        progress(path.name, path.stat().st_size)


@contextlib.contextmanager
def _snapshot(database: Path) -> Iterator[Path]:
    """Yield a consistent copy of a database that others write to (SQLite online backup)."""
    with tempfile.TemporaryDirectory(dir=database.parent) as scratch:
        copy = Path(scratch) / DATABASE_FILE
        with (
            contextlib.closing(sqlite3.connect(database, timeout=30)) as live,
            contextlib.closing(sqlite3.connect(copy)) as kept,
        ):
            live.backup(kept, pages=4096)
            kept.execute("PRAGMA journal_mode=DELETE")
        yield copy


def restore(source: Path, data: Path, progress: Progress = lambda name, size: None) -> None:
    """Unpack a backup into an empty folder and verify it whole.

    Malformed when the file is no backup; Unverified (with every problem) when it does not hold.
    """
    from .proof.verify import verify_path

    if data.exists() and any(data.iterdir()):
        raise AlreadyExists(
            "the folder is not empty: restore into a new one", "目录非空，请恢复到新目录"
        )
    with contextlib.ExitStack() as stack:
        try:
            archive = stack.enter_context(tarfile.open(source, mode="r:"))
        except (tarfile.TarError, OSError):
            raise _no_backup(source) from None
        first = archive.next()
        body = archive.extractfile(first) if first is not None else None
        if first is None or first.name != "FORMAT" or body is None or body.read() != MARK.encode():
            raise _no_backup(source)
        data.mkdir(parents=True, exist_ok=True)
        try:
            for member in archive:
                if not member.isfile():
                    raise _no_backup(source)
                archive.extract(member, data, filter="data")
                progress(member.name, member.size)
        except tarfile.TarError:  # cut off, or a path that leads out of the folder
            raise _no_backup(source) from None
    for path in _files(data, "keys"):
        path.chmod(0o600)
    for path in _files(data, "blobs/sha256"):
        path.chmod(0o444)
    found = verify_path(data)
    if not found.valid:
        raise Unverified(
            "the restored folder does not verify", "恢复后的目录未通过验证", report=found.as_json()
        )


def _no_backup(source: Path) -> Malformed:
    return Malformed(
        f"{source.name} is not a backup of a market", f"{source.name} 不是市场备份文件"
    )
