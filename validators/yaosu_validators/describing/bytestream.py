"""A file of a stranger as plain bytes: decompressed, counted, and stopped when it is a bomb."""

from __future__ import annotations

import bz2
import codecs
import gzip
import io
import lzma
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

from yaosu_schemas.errors import Malformed, TooLarge

CHUNK = 1 << 20
_FREE_BYTES = 10 << 20
_MAX_RATIO = 200


class _Counted(io.RawIOBase):
    """Bytes of a decompressor, at most 200 for each byte of the file after the first 10 MiB."""

    def __init__(self, source: IO[bytes], packed_bytes: int) -> None:
        self._source = source
        self._bound = _FREE_BYTES + _MAX_RATIO * packed_bytes
        self._seen = 0

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        try:
            data = self._source.read(len(buffer))
        except (OSError, EOFError, zlib.error, lzma.LZMAError, ValueError) as why:
            raise Malformed(
                "the compressed file is damaged or cut short", "压缩文件已损坏或不完整"
            ) from why
        except Exception as why:  # zstandard's own error type, not importable without it
            raise Malformed(
                "the compressed file is damaged or cut short", "压缩文件已损坏或不完整"
            ) from why
        self._seen += len(data)
        if self._seen > self._bound:
            raise TooLarge(
                f"it unpacks to more than {_MAX_RATIO} times its size: a compression bomb",
                f"解压后超过原文件的 {_MAX_RATIO} 倍，疑似压缩炸弹",
            )
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self._source.close()
        super().close()


def open_bytes(path: Path, compression: str = "") -> IO[bytes]:
    """Open a file for reading, through its decompressor ("gz", "zst", "bz2", "xz") if it has one.

    Malformed is raised while reading if the compressed stream is damaged, TooLarge if it is a
    bomb (reliability.md §3).
    """
    if not compression:
        return path.open("rb")
    source: IO[bytes] = _DECOMPRESSORS[compression](path)
    return io.BufferedReader(_Counted(source, path.stat().st_size), CHUNK)


def _zstd(path: Path) -> IO[bytes]:
    import zstandard

    reader = zstandard.ZstdDecompressor(max_window_size=1 << 27)
    return reader.stream_reader(path.open("rb"), read_across_frames=True)


_DECOMPRESSORS: dict[str, Callable[[Path], Any]] = {
    "gz": lambda path: gzip.GzipFile(path),
    "bz2": lambda path: bz2.BZ2File(path),
    "xz": lambda path: lzma.LZMAFile(path),  # noqa: SIM115
    "zst": _zstd,
}


class Utf8(io.RawIOBase):
    """Bytes in any encoding as UTF-8 without a byte-order mark; UnicodeDecodeError if they lie."""

    def __init__(self, source: IO[bytes], encoding: str) -> None:
        self._source = source
        self._decoder = codecs.getincrementaldecoder(encoding)()
        self._ready = b""
        self._ended = False
        self._begun = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._ready and not self._ended:
            data = self._source.read(CHUNK)
            self._ended = not data
            text = self._decoder.decode(data, self._ended)
            if text and not self._begun:
                self._begun = True
                text = text.removeprefix("\ufeff")
            self._ready = text.encode()
        n = min(len(buffer), len(self._ready))
        buffer[:n] = self._ready[:n]
        self._ready = self._ready[n:]
        return n


def encodings_of(head: bytes) -> list[str]:
    """Return the encodings worth trying on bytes that begin like this, likeliest first."""
    if head.startswith(codecs.BOM_UTF8):
        return ["utf-8"]
    if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return ["utf-16"]
    if head and head[1::2].count(0) > len(head) // 3:
        return ["utf-16-le"]
    if head and head[0::2].count(0) > len(head) // 3:
        return ["utf-16-be"]
    return ["utf-8", "gb18030", "cp1252"]
