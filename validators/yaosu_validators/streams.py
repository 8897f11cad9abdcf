"""Bytes of one resource: opened without following links, hashed, decompressed in bounds.

Every failure is a `SourceProblem` that carries one finding; nothing here raises a bare OSError.
"""

from __future__ import annotations

import bz2
import codecs
import gzip
import hashlib
import io
import lzma
import os
import stat
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Any

from yaosu_schemas.errors import Text, UnsafePath
from yaosu_schemas.paths import is_remote, safe_path
from yaosu_schemas.texts import clip, system_reason

from .check import Finding

CHUNK = 1 << 20
FREE_BYTES = 10 << 20  # below this much output no ratio is asked for
MAX_RATIO = 200
MAX_ROW_BYTES = 64 << 20
MAX_MEMBERS = 10_000
COMPRESSIONS = ("zip", "gz", "bz2", "xz", "zst")

MAGIC = (
    (b"\x1f\x8b", "gz"),
    (b"PK\x03\x04", "zip"),
    (b"PK\x05\x06", "zip"),
    (b"BZh", "bz2"),
    (b"\xfd7zXZ\x00", "xz"),
    (b"\x28\xb5\x2f\xfd", "zst"),
    (b"PAR1", "parquet"),
    (b"ARROW1", "arrow"),
    (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "xls"),
    (b"%PDF-", "pdf"),
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"\xff\xd8\xff", "jpeg"),
    (b"SQLite format 3\x00", "sqlite"),
)
_LFS = b"version https://git-lfs.github.com/spec/"


class SourceProblem(Exception):
    """The bytes cannot be read as a table; the one finding says why."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(finding.type)
        self.finding = finding


def problem(type_: str, en: str, zh: str) -> SourceProblem:
    return SourceProblem(Finding(type=type_, note=Text(en, zh)))


class RowTooLong(SourceProblem):
    """The row behind the last that was read is longer than a row may be."""


def row_too_long(byte: int | None = None) -> RowTooLong:
    """Return the finding for a row that no one meant to be one, or for a line by its first byte."""
    size = MAX_ROW_BYTES >> 20
    en, zh = ("the row", "该行") if byte is None else (
        f"the line that begins at byte {byte:,}", f"从第 {byte:,} 字节开始的一行"
    )  # fmt: skip
    note = Text(
        f"{en} is longer than {size} MiB, the most a row may have; a quote may never be closed",
        f"{zh}超过单行上限 {size} MiB；可能引号未闭合",
    )
    return RowTooLong(Finding(type="resource-limit", note=note))


class Undecodable(SourceProblem):
    """Bytes are not text in their encoding."""

    def __init__(self, encoding: str, reason: str) -> None:
        note = Text(f"the bytes are not {encoding}: {reason}", f"字节不是 {encoding} 编码")
        super().__init__(Finding(type="encoding-error", note=note))
        self.encoding = encoding
        self.reason = reason

    def placed(self, stream: IO[bytes]) -> Finding:
        """Return the finding with the first such byte of a stream, which is read once more."""
        at = self._first(stream)
        if at is None:
            return self.finding
        byte, line = at
        wide = self.encoding.startswith(("utf-16", "utf-32"))  # where a byte is no character
        en, zh = ("", "") if wide else (f", in line {line:,}", f"（第 {line:,} 行）")
        note = Text(
            f"byte {byte:,}{en}, is not {self.encoding}: {self.reason}",
            f"第 {byte:,} 字节{zh}不是 {self.encoding} 编码",
        )
        return replace(self.finding, note=note)

    def _first(self, stream: IO[bytes]) -> tuple[int, int] | None:
        decoder = codecs.getincrementaldecoder(self.encoding)()
        at, line = 0, 1
        chunk = b"-"
        while chunk:
            chunk = stream.read(CHUNK)
            held = len(decoder.getstate()[0])
            try:
                decoder.decode(chunk, not chunk)
            except UnicodeDecodeError as why:
                in_chunk = max(why.start - held, 0)
                return at + why.start - held, line + chunk.count(b"\n", 0, in_chunk)
            at += len(chunk)
            line += chunk.count(b"\n")
        return None


def undecodable(why: UnicodeDecodeError) -> Undecodable:
    """Return the finding for bytes that are not text in their encoding."""
    return Undecodable(why.encoding, why.reason)


@dataclass(frozen=True, slots=True)
class Digests:
    """What was read from one file: digests in hex and the number of bytes."""

    sha256: str
    md5: str
    bytes: int


class HashedFile(io.RawIOBase):
    """A file that hashes what is read from front to back; `finish` reads the rest."""

    def __init__(self, raw: IO[bytes], tell: Callable[[int], None] | None = None) -> None:
        self._raw = raw
        self._tell = tell
        self._before = os.fstat(raw.fileno())
        self._sha256 = hashlib.sha256()
        self._md5 = hashlib.md5(usedforsecurity=False)
        self._hashed = 0
        self._at = 0
        self._untold = self._before.st_size  # bytes of which it was not told that they are read

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        self._at = self._raw.seek(offset, whence)
        return self._at

    def tell(self) -> int:
        return self._at

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        count = self._raw.readinto(view)  # type: ignore[attr-defined]
        new = self._at + count - self._hashed
        if count and self._at <= self._hashed < self._at + count:
            self._update(view[count - new : count])
        self._at += count
        self._told(count)
        return int(count)

    def _update(self, data: Any) -> None:
        self._sha256.update(data)
        self._md5.update(data)
        self._hashed += len(data)

    def _told(self, count: int) -> None:
        """Tell how much was read: of what is read twice, once."""
        count = min(count, self._untold)
        if self._tell is not None and count:
            self._untold -= count
            self._tell(count)

    def again(self) -> None:
        """Tell once more of all that is read from here on."""
        self._untold = self._before.st_size

    def finish(self) -> Digests:
        """Hash what was not read yet, and see whether the file changed meanwhile."""
        self._raw.seek(self._hashed)
        while chunk := self._raw.read(CHUNK):
            self._update(chunk)
            self._told(len(chunk))
        self._told(self._untold)
        return Digests(self._sha256.hexdigest(), self._md5.hexdigest(), self._hashed)

    def changed(self) -> Text | None:
        """Say how the file differs from when it was opened, or None."""
        return difference(self._before, os.fstat(self._raw.fileno()))

    @property
    def size(self) -> int:
        return self._before.st_size

    def close(self) -> None:
        """Stay open: every wrapper calls this when it goes, and another may follow."""

    def release(self) -> None:
        """Close the file itself."""
        self._raw.close()


def difference(then: os.stat_result, now: os.stat_result) -> Text | None:
    """Say how a file differs from what it was, or None."""
    if now.st_size != then.st_size:
        return Text(
            f"it had {then.st_size} bytes and now has {now.st_size}",
            f"原有 {then.st_size} 字节，现有 {now.st_size} 字节",
        )
    if (now.st_mtime_ns, now.st_ino) != (then.st_mtime_ns, then.st_ino):
        return Text("it was written to", "文件被写入")
    return None


def is_database(path: str) -> bool:
    return path.lower().startswith(("sqlite:", "mysql:", "postgresql:", "mssql:"))


def elsewhere(type_: str, path: str) -> SourceProblem:
    return problem(
        type_,
        f"{clip(path)!r} lies elsewhere; remote places are never read",
        f"“{clip(path)}”位于远程；从不读取远程内容",
    )


def open_file(root: Path, path: str) -> IO[bytes]:
    """Open a file below a folder for reading; links are never followed, devices never opened."""
    if not path:
        raise problem("scheme-error", "the path is empty", "路径为空")
    if is_remote(path):
        raise elsewhere("scheme-error", path)
    try:
        parts = safe_path(path.removeprefix("./")).split("/")
    except UnsafePath as why:
        raise problem("unsafe-path", why.en, why.zh) from None
    fd = -1
    try:
        fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        for name in parts[:-1]:
            inner = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=fd)
            os.close(fd)
            fd = inner
        flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
        file = os.open(parts[-1], flags, dir_fd=fd)
    except OSError as why:
        raise _not_opened(path, why) from None
    finally:
        if fd >= 0:
            os.close(fd)
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        raise problem("scheme-error", f"{path!r} is not a file", f"“{path}”不是文件")
    return os.fdopen(file, "rb", buffering=0)


def _not_opened(path: str, why: OSError) -> SourceProblem:
    import errno

    if why.errno in (errno.ELOOP, errno.ENOTDIR) or why.errno == errno.EMLINK:
        return problem(
            "unsafe-path",
            f"{path!r} goes through a link; links are never followed",
            f"“{path}”经过链接；从不跟随链接",
        )
    reason = system_reason(why)
    return problem("scheme-error", f"{path!r}: {reason.en}", f"“{path}”：{reason.zh}")


def magic(head: bytes) -> str | None:
    """Return the format that the first bytes give away, or None (text, or unknown)."""
    for mark, name in MAGIC:
        if head.startswith(mark):
            return name
    return None


def named_intruder(head: bytes) -> SourceProblem | None:
    """Return the finding for what often poses as data: an LFS pointer, a web page."""
    if head.startswith(_LFS):
        lines = head.decode("utf-8", "replace").splitlines()
        size = next((line[5:] for line in lines if line.startswith("size ")), "?")
        return problem(
            "lfs-pointer",
            f"the data itself ({size} bytes) was never downloaded; run `git lfs pull`",
            f"数据本身（{size} 字节）并未下载；请运行 git lfs pull",
        )
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n")[:64].lower()
    if start.startswith((b"<!doctype html", b"<html")):
        return problem("html-page", "it starts with <html>", "文件以 <html> 开头")
    return None


@contextmanager
def decompressed(
    raw: io.RawIOBase, compression: str | None, member: str | None, *, size: int
) -> Iterator[tuple[IO[bytes], str | None]]:
    """Give the plain bytes as a buffered stream, and the name of the zip member read."""
    if compression is None:
        yield io.BufferedReader(raw, CHUNK), None
        return
    name = None
    if compression not in COMPRESSIONS:
        raise problem(
            "compression-error",
            f"the compression {compression!r} is not read",
            f"不支持压缩方式“{compression}”",
        )
    try:
        if compression == "zip":
            archive, name = _zip_member(raw, member)
            plain: Any = archive.open(name)
            size = archive.getinfo(name).compress_size
        else:
            plain = _OPENERS[compression](raw)
        yield io.BufferedReader(_Bounded(plain, size, compression), CHUNK), name
    except SourceProblem:
        raise
    except _BROKEN as why:
        raise broken(compression, why) from None
    except NotImplementedError as why:
        raise problem("compression-error", str(why), "不支持该压缩方式") from None


def _zst(raw: Any) -> Any:
    import zstandard

    from .zstd_frames import must_be_whole

    must_be_whole(raw)
    return zstandard.ZstdDecompressor(max_window_size=1 << 27).stream_reader(
        raw, read_across_frames=True
    )


_OPENERS: dict[str, Any] = {
    "gz": lambda raw: gzip.GzipFile(fileobj=raw, mode="rb"),
    "bz2": bz2.BZ2File,
    "xz": lzma.LZMAFile,
    "zst": _zst,
}
_BROKEN = (EOFError, zlib.error, lzma.LZMAError, zipfile.BadZipFile, OSError, RuntimeError)


def broken(compression: str, why: Exception) -> SourceProblem:
    """Return the finding for a stream that breaks off or does not hold what it should."""
    if isinstance(why, EOFError):
        return problem(
            "compression-error",
            f"the {compression} stream is cut off before its end",
            f"{compression} 数据流在结束前被截断",
        )
    return problem(
        "compression-error",
        f"the {compression} stream is broken: {str(why)[:120]}",
        f"{compression} 数据流已损坏：{str(why)[:120]}",
    )


def _zip_member(raw: Any, member: str | None) -> tuple[zipfile.ZipFile, str]:
    archive = open_zip(raw)
    names = [i.filename for i in archive.infolist() if not i.is_dir()]
    if not names:
        raise problem("compression-error", "the archive is empty", "压缩包为空")
    name = member or names[0]
    if name not in names:
        raise problem(
            "compression-error",
            f"the archive has no member {name!r}",
            f"压缩包中没有“{name}”",
        )
    if archive.getinfo(name).flag_bits & 0x1:
        raise problem(
            "encrypted-archive", f"member {name!r} needs a password", f"成员“{name}”需要密码"
        )
    return archive, name


def open_zip(raw: Any) -> zipfile.ZipFile:
    """Open an archive whose directory stays within the limits."""
    try:
        archive = zipfile.ZipFile(raw)
    except (zipfile.BadZipFile, OSError, ValueError) as why:
        raise problem(
            "compression-error", f"it is not a zip archive: {why}", "不是有效的 zip 压缩包"
        ) from None
    if len(archive.infolist()) > MAX_MEMBERS:
        raise problem(
            "resource-limit",
            f"the archive has more than {MAX_MEMBERS} members",
            f"压缩包成员超过 {MAX_MEMBERS} 个",
        )
    return archive


class _Bounded(io.RawIOBase):
    """Plain bytes of a compressed stream, as long as they stay in proportion to what was read."""

    def __init__(self, plain: Any, size: int, compression: str) -> None:
        self._plain = plain
        self._limit = max(FREE_BYTES, MAX_RATIO * max(size, 1))
        self._compression = compression
        self._count = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        try:
            data = self._plain.read(min(len(view), CHUNK))
        except _BROKEN as why:
            raise broken(self._compression, why) from None
        except Exception as why:  # zstandard has its own tree of errors
            if type(why).__name__ != "ZstdError":
                raise
            raise broken(self._compression, why) from None
        self._count += len(data)
        if self._count > self._limit:
            raise problem(
                "resource-limit",
                f"it unpacks to more than {MAX_RATIO} times its size",
                f"解压后超过原大小的 {MAX_RATIO} 倍",
            )
        view[: len(data)] = data
        return len(data)
