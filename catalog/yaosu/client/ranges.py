"""A sold file read in place: only the bytes that are asked for come over the line.

A Parquet reader wants the footer and then some columns of some row groups. What comes by ranges is
as trustworthy as the line to the market: the digest of the file can be checked only over all of it
(`Purchase.file`).
"""

from __future__ import annotations

import io
from collections.abc import Callable

from yaosu.errors import Gone, Unavailable, Unverified

from .connection import Connection
from .transfer import range_start

BLOCK_BYTES = 64 << 10
"""Small reads are answered from one block: a footer is read in two or three pieces."""


class RemoteFile(io.RawIOBase):
    """A readable, seekable file of known size at an address that may have to be renewed."""

    def __init__(
        self, connection: Connection, link: Callable[[bool], str], *, name: str, size: int
    ) -> None:
        super().__init__()
        self._connection = connection
        self._link = link
        self._name = name
        self._size = size
        self._at = 0
        self._block = b""
        self._block_at = 0
        self.fetched_bytes = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def size(self) -> int:
        """Return the bytes of the whole file."""
        return self._size

    def seek(self, offset: int, whence: int = io.SEEK_SET, /) -> int:
        start = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = max(0, start + offset)
        return self._at

    def readinto(self, buffer: object, /) -> int:
        view = memoryview(buffer).cast("B")  # type: ignore[arg-type]
        found = self.read(len(view))
        view[: len(found)] = found
        return len(found)

    def readall(self) -> bytes:
        return self.read(-1)

    def read(self, size: int | None = -1, /) -> bytes:
        left = max(0, self._size - self._at)
        wanted = left if size is None or size < 0 else min(size, left)
        if not wanted:
            return b""
        found = self._within(wanted)
        if found is None and wanted < BLOCK_BYTES:
            # Towards the end, the block reaches back: that is where the footer lies.
            start = min(self._at, max(0, self._size - BLOCK_BYTES))
            self._block_at = start
            self._block = self._fetch(start, min(BLOCK_BYTES, self._size - start))
            found = self._within(wanted)
        if found is None:
            found = self._fetch(self._at, wanted)
        self._at += wanted
        return found

    def _within(self, wanted: int) -> bytes | None:
        start = self._at - self._block_at
        if start >= 0 and start + wanted <= len(self._block):
            return self._block[start : start + wanted]
        return None

    def _fetch(self, start: int, size: int) -> bytes:
        """Return a range, again on a bad line and by a new address when the old one is over."""
        failures, renew = 0, False
        while True:
            try:
                return self._once(self._link(renew), start, size)
            except (Unavailable, Gone) as error:
                failures, renew = failures + 1, isinstance(error, Gone)
                if failures >= self._connection.attempts:
                    raise
                self._connection.pause(failures)

    def _once(self, link: str, start: int, size: int) -> bytes:
        import httpx2

        url = self._connection.url(link)
        headers = {
            "Accept-Encoding": "identity",
            "Range": f"bytes={start}-{start + size - 1}",
            **self._connection.headers_for(url),
        }
        try:
            answer = self._connection.http_for(url).get(url, headers=headers)
        except httpx2.TransportError as error:
            raise self._connection.unreachable(error) from error
        if answer.status_code in (401, 403, 410):
            raise Gone("the link has expired", "交付链接已失效")
        if answer.status_code != 206:
            raise Unavailable(
                f"no part of '{self._name}' can be had (HTTP {answer.status_code})",
                f"无法读取“{self._name}”的部分内容（HTTP {answer.status_code}）",
            )
        found = answer.content
        if len(found) != size or range_start(answer.headers.get("content-range")) != start:
            raise Unverified(
                f"a part of '{self._name}' is not the one that was asked for",
                f"“{self._name}”返回的数据区间不符",
                path=self._name,
            )
        self.fetched_bytes += size
        return found
