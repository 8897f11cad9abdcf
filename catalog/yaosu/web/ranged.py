"""Stored files as answers: whole or one range, from the disk to the socket where the server can."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from typing import BinaryIO
from urllib.parse import quote

from fastapi import Request, Response
from fastapi.responses import StreamingResponse

from yaosu.model_money import DataRead
from yaosu.ports import BlobStore

from .paid import Paid
from .zerocopy import EXTENSION, Message, Receive, Scope, Send

PIECE = 1 << 20


def ranged(
    request: Request,
    blobs: BlobStore,
    sha256: str,
    size: int,
    path: str,
    who: Paid | None = None,
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
    told = None if who is None else (who, who.read(sha256, start, end, status))
    place = blobs.path(sha256)
    if place is None:
        body = _told(blobs.read(sha256, start, end), told)
        return StreamingResponse(body, status_code=status, headers=headers, media_type=kind)
    number = os.open(place, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    part = Part(os.fdopen(number, "rb", buffering=0), start, end)
    return Stored(part, told, status, headers, kind)


def _told(
    pieces: Iterator[bytes], told: tuple[Paid, DataRead] | None
) -> Iterator[bytes] | AsyncIterator[bytes]:
    return pieces if told is None else told[0].stream(pieces, told[1])


@dataclass(frozen=True, slots=True)
class Part:
    """Bytes `start` to before `end` of an open file."""

    file: BinaryIO
    start: int
    end: int

    def pieces(self) -> Iterator[bytes]:
        self.file.seek(self.start)
        left = self.end - self.start
        while left and (piece := self.file.read(min(left, PIECE))):
            left -= len(piece)
            yield piece

    async def send(self, send: Send, start: int, end: int, *, more: bool) -> int:
        """Hand bytes over to the server; return how many have left."""
        message: Message = {
            "type": EXTENSION,
            "file": self.file,
            "offset": start,
            "count": end - start,
            "more_body": more,
        }
        await send(message)
        return int(message["sent"])


class Stored(StreamingResponse):
    """A part of an open file, which is closed behind it."""

    def __init__(
        self,
        part: Part,
        told: tuple[Paid, DataRead] | None,
        status: int,
        headers: dict[str, str],
        kind: str,
    ) -> None:
        super().__init__(_told(part.pieces(), told), status, headers, kind)
        self._part, self._record = part, told

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        part = self._part
        with part.file:
            if EXTENSION not in (scope.get("extensions") or {}):
                await super().__call__(scope, receive, send)
                return
            head = {"status": self.status_code, "headers": self.raw_headers}
            await send({"type": "http.response.start", **head})
            if self._record is None:
                await part.send(send, part.start, part.end, more=False)
                return
            who, read = self._record
            last = max(part.start, part.end - 1)  # one byte waits for the record
            async with who.on_record(read) as going:
                going.sent += await part.send(send, part.start, last, more=True)
                await going.durable
                going.sent += await part.send(send, last, part.end, more=False)


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
