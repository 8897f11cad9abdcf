"""Stored files as answers: whole or one range, from the disk to the socket where the server can."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from typing import BinaryIO
from urllib.parse import quote

from fastapi import Request, Response
from fastapi.responses import StreamingResponse

from yaosu.ports import BlobStore

from .paid import Going, Paid, recorded
from .zerocopy import EXTENSION, Receive, Scope, Send

PIECE = 1 << 20
LAST = 64 << 10
"""Bytes of a bought file that wait until the read of it is on record."""
Pieces = Iterator[bytes] | AsyncIterator[bytes]


def ranged(
    request: Request, blobs: BlobStore, sha256: str, size: int, path: str, who: Paid | None = None
) -> Response:
    """Return a blob as an attachment: 200, 206 with one range, 304, or 416.

    What was bought is read by somebody (`who`), and that is on record before the reply is whole.
    """
    etag = f'"{sha256}"'
    name = quote(path.rsplit("/", 1)[-1])
    headers = {
        "etag": etag,
        "accept-ranges": "bytes",
        "content-disposition": f"attachment; filename*=UTF-8''{name}",
        "cache-control": "private, no-store",
    }
    if request.headers.get("if-none-match") == etag:
        return Response(status_code=304, headers=headers)
    start, end, status = 0, size, 200
    wanted = request.headers.get("range")
    if wanted and request.headers.get("if-range", etag) == etag:
        span = _range(wanted, size)
        if span is None:
            return Response(status_code=416, headers={"content-range": f"bytes */{size}"})
        if span != (0, 0) or size == 0:
            start, end = span
            status = 206
            headers["content-range"] = f"bytes {start}-{end - 1}/{size}"
    headers["content-length"] = str(end - start)
    kind = "application/octet-stream"
    if request.method == "HEAD":
        return Response(status_code=status, headers=headers, media_type=kind)
    going = None if who is None else who.read(sha256, start, end, status)
    place = blobs.path(sha256)
    if place is None:
        pieces: Pieces = blobs.read(sha256, start, end)
        if going is not None:
            pieces = recorded(going, blobs.read(sha256, start, end))
        return StreamingResponse(pieces, status_code=status, headers=headers, media_type=kind)
    number = os.open(place, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    return Stored(os.fdopen(number, "rb", buffering=0), start, end, status, headers, kind, going)


class Stored(StreamingResponse):
    """A part of an open file, which is closed behind it."""

    def __init__(
        self,
        file: BinaryIO,
        start: int,
        end: int,
        status: int,
        headers: dict[str, str],
        kind: str,
        going: Going | None,
    ) -> None:
        pieces: Pieces = _pieces(file, start, end)
        if going is not None:
            pieces = recorded(going, _pieces(file, start, end))
        super().__init__(pieces, status, headers, kind)
        self._file, self._start, self._end, self._going = file, start, end, going

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        with self._file as file:
            if EXTENSION not in (scope.get("extensions") or {}):
                await super().__call__(scope, receive, send)
                return
            head = {"status": self.status_code, "headers": self.raw_headers}
            count = self._end - self._start
            part = {"type": EXTENSION, "file": file, "offset": self._start, "count": count}
            await send({"type": "http.response.start", **head})
            if self._going is None:
                await send(part)
                return
            with self._going as going:
                first = max(0, count - LAST)
                told = {**part, "told": going.left}
                await send({**told, "count": first, "more_body": True})
                await going.durable()
                await send({**told, "offset": self._start + first, "count": count - first})


def _pieces(file: BinaryIO, start: int, end: int) -> Iterator[bytes]:
    file.seek(start)
    while start < end and (piece := file.read(min(end - start, PIECE))):
        start += len(piece)
        yield piece


def _range(header: str, size: int) -> tuple[int, int] | None:
    """Return [start, end) of a single byte range; (0, 0) to ignore it; None if unsatisfiable."""
    unit, _, spec = header.partition("=")
    first, dash, last = spec.strip().partition("-")
    if unit.strip() != "bytes" or not dash or "," in spec:
        return (0, 0)
    if not (first + last).isascii() or not (first + last).isdigit() or len(spec) > 40:
        return (0, 0)
    if not first:
        length = min(int(last), size)
        return (size - length, size) if length else None
    start = int(first)
    end = min(int(last) + 1, size) if last else size
    return (start, end) if start < size and start < end else None
