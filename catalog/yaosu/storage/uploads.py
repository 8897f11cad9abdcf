"""Files in the making of resumable uploads (tus 1.0): what is acknowledged is on disk (B4)."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import threading
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

from yaosu.errors import Conflict, InvalidInput, NotFound, TooLarge, Unavailable, Unverified

from .files import CHUNK_BYTES, Disk, failures_are_typed, write_all

# A file of an upload is made just before its record.
YOUNG_SECONDS = 3600.0
# A request for which nothing came in so long gives way to another one.
SILENT_SECONDS = 2.0

_ID = re.compile(r"[a-z0-9_]{1,80}\Z")


class UploadFiles:
    """The staging folder. The store knows how many bytes of each upload are acknowledged."""

    def __init__(
        self,
        root: Path,
        *,
        reserve_bytes: int | None = None,
        on_fatal: Callable[[BaseException], None] | None = None,
    ) -> None:
        self.root = root
        self.disk = Disk(root, reserve_bytes=reserve_bytes, on_fatal=on_fatal)
        self.disk.make_folder(root)
        self._lock = threading.Lock()
        self._busy: dict[str, Hold] = {}
        # Digest of the first n bytes, kept while the process lives: finishing reads nothing again.
        self._hashed: dict[str, tuple[int, Any]] = {}
        self._promised: dict[str, int] = {}

    def create(self, upload_id: str, length: int) -> None:
        """Begin an upload; NoSpace if its bytes, and those of the others, would not fit (P2)."""
        path = self._path(upload_id)
        with self._lock:
            self.disk.must_hold(length + sum(self._promised.values()))
            self._promised[upload_id] = length
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            with failures_are_typed():
                os.close(os.open(path, flags, 0o600))
        except FileExistsError:
            raise Conflict("this upload has begun already", "该上传已开始") from None
        self.disk.sync_folder(self.root)
        self._hashed[upload_id] = (0, hashlib.sha256())

    def hold(self, upload_id: str) -> Hold:
        """Have the upload to oneself; Unavailable while another request has it.

        What the store says of the upload is to be read after this and written before the
        release: else two requests could each cut off what the other has acknowledged.
        """
        self._path(upload_id)
        with self._lock:
            holder = self._busy.get(upload_id)
            if holder is None:
                self._busy[upload_id] = hold = Hold(self, upload_id)
                return hold
        holder.wanted_by_another()
        raise Unavailable("another request is sending this upload", "该上传正由另一个请求写入")

    def resume(self, upload_id: str, offset: int, length: int) -> Appending:
        """Hold an upload and open it after its acknowledged bytes; closing releases it."""
        hold = self.hold(upload_id)
        try:
            appending = hold.resume(offset, length)
        except BaseException:
            hold.release()
            raise
        appending.releases = hold
        return appending

    def append(self, upload_id: str, offset: int, length: int, chunks: Iterable[bytes]) -> int:
        """Write and sync a run of bytes; return the offset that may be acknowledged."""
        with self.resume(upload_id, offset, length) as appending:
            for chunk in chunks:
                appending.write(chunk)
            return appending.sync()

    def finish(self, upload_id: str, length: int) -> tuple[str, Path]:
        """Return (hex digest, path) of an upload of which every byte is acknowledged."""
        with self.hold(upload_id) as hold:
            return hold.finish(length)

    def remove(self, upload_id: str) -> None:
        """Forget an upload and its bytes; nothing if it is not there."""
        with contextlib.suppress(FileNotFoundError):
            self._path(upload_id).unlink()
        self._hashed.pop(upload_id, None)
        with self._lock:
            self._promised.pop(upload_id, None)

    def expire(self, keep: Mapping[str, int], *, older_seconds: float = YOUNG_SECONDS) -> list[str]:
        """Remove all but the uploads to keep, and reserve the bytes that each has still to come.

        To be called at start and hourly (B5); returns the ids that were removed. A file that is
        young may belong to an upload whose record is only being made.
        """
        gone = []
        before = time.time() - older_seconds
        for entry in list(os.scandir(self.root)):
            with contextlib.suppress(FileNotFoundError):
                young = entry.stat(follow_symlinks=False).st_mtime > before
                if entry.name not in keep and entry.name not in self._busy and not young:
                    self.remove(entry.name)
                    gone.append(entry.name)
        with self._lock:
            self._promised |= keep
        return sorted(gone)

    def _state(self, upload_id: str, fd: int, offset: int) -> Any:
        known = self._hashed.get(upload_id)
        if known is not None and known[0] == offset:
            return known[1].copy()
        state, at = hashlib.sha256(), 0
        while at < offset:
            piece = os.pread(fd, min(CHUNK_BYTES, offset - at), at)
            state.update(piece)
            at += len(piece)
        return state

    def _keep(self, upload_id: str, offset: int, length: int, state: Any) -> None:
        self._hashed[upload_id] = (offset, state)
        with self._lock:
            self._promised[upload_id] = length - offset

    def _free(self, upload_id: str) -> None:
        with self._lock:
            self._busy.pop(upload_id, None)

    def _path(self, upload_id: str) -> Path:
        if not _ID.match(upload_id):
            raise InvalidInput("this is not the id of an upload", "上传标识无效")
        return self.root / upload_id


class Hold:
    """The right to write one upload, for one request at a time."""

    def __init__(self, files: UploadFiles, upload_id: str) -> None:
        self._files = files
        self._id = upload_id
        self._held = True
        self._active = time.monotonic()
        self.on_wanted: Callable[[], object] | None = None
        """Called, in any thread, when another request wants the upload and this one is silent."""

    def touch(self) -> None:
        """Note that bytes come in."""
        self._active = time.monotonic()

    def wanted_by_another(self) -> None:
        """Ask a holder that nothing comes in for (a dead connection, most likely) to let go."""
        if self.on_wanted is not None and time.monotonic() - self._active > SILENT_SECONDS:
            self.on_wanted()

    def resume(self, offset: int, length: int) -> Appending:
        """Open the upload after its acknowledged bytes; what was written beyond is cut off.

        Unverified if the disk holds less than was acknowledged.
        """
        fd = _open(self._files.root / self._id, os.O_RDWR)
        try:
            if os.fstat(fd).st_size < offset:
                raise Unverified(
                    "fewer bytes are on disk than were acknowledged",
                    "磁盘上的内容少于已确认的字节数",
                )
            os.ftruncate(fd, offset)
            os.lseek(fd, offset, os.SEEK_SET)
            state = self._files._state(self._id, fd, offset)
        except BaseException:
            os.close(fd)
            raise
        return Appending(self._files, self._id, fd, offset, length, state)

    def finish(self, length: int) -> tuple[str, Path]:
        """Return (hex digest, path) of an upload of which every byte is acknowledged."""
        with self.resume(length, length) as appending:
            return appending.digest(), self._files.root / self._id

    def release(self) -> None:
        if self._held:
            self._held = False
            self._files._free(self._id)

    def __enter__(self) -> Hold:
        return self

    def __exit__(self, *_: object) -> None:
        self.release()


class Appending:
    """One request's bytes: written, then synced and kept, or rolled back to where it began."""

    def __init__(
        self,
        files: UploadFiles,
        upload_id: str,
        fd: int,
        offset: int,
        length: int,
        state: Any,
    ) -> None:
        self.offset = offset
        self.length = length
        self.releases: Hold | None = None
        self._files = files
        self._id = upload_id
        self._fd = fd
        self._synced = offset
        self._state = state
        self._before = state.copy()

    def write(self, data: bytes) -> None:
        """Append; TooLarge beyond the declared length, NoSpace when the disk is full."""
        if self.offset + len(data) > self.length:
            raise TooLarge(
                "more bytes than the upload declared", "内容超过声明的长度", length=self.length
            )
        try:
            write_all(self._fd, data)
        except BaseException:
            os.ftruncate(self._fd, self.offset)
            os.lseek(self._fd, self.offset, os.SEEK_SET)
            raise
        self._state.update(data)
        self.offset += len(data)

    def sync(self) -> int:
        """Make the bytes durable; return the offset that may be acknowledged now."""
        if self.offset != self._synced:
            self._files.disk.sync(self._fd)
            self._synced = self.offset
            self._before = self._state.copy()
        return self.offset

    def rollback(self) -> None:
        """Drop what was written since the last sync (a checksum that does not hold)."""
        os.ftruncate(self._fd, self._synced)
        os.lseek(self._fd, self._synced, os.SEEK_SET)
        self.offset = self._synced
        self._state = self._before.copy()

    def digest(self) -> str:
        """Return the hex SHA-256 of the upload's bytes so far."""
        return str(self._state.hexdigest())

    def close(self) -> None:
        """Let the upload go; bytes that were not synced are cut off at the next resumption."""
        if self._fd >= 0:
            self.rollback()
            os.close(self._fd)
            self._fd = -1
            self._files._keep(self._id, self._synced, self.length, self._before)
            if self.releases is not None:
                self.releases.release()

    def __enter__(self) -> Appending:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def _open(path: Path, flags: int) -> int:
    try:
        return os.open(path, flags | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        raise NotFound("there is no such upload", "未找到该上传") from None
