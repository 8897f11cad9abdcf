"""A proxy that treats every connection as its plan says: the network on a bad day.

The faults: slow (latency), cut_request (after n bytes, towards the server), drop_response (the
server has done it, the client is never told), cut_response (after n bytes), blackhole (nothing
comes back, nothing arrives), reset (RST instead of an answer).
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
from collections import Counter
from dataclasses import dataclass, field

FAULTS = ("none", "slow", "cut_request", "drop_response", "cut_response", "blackhole", "reset")


@dataclass
class Lossy:
    """Listens on `port`, forwards one request per connection to `target`."""

    target: int
    chance: random.Random
    hold_s: float = 0.5
    port: int = 0
    seen: Counter[str] = field(default_factory=Counter)

    async def __aenter__(self) -> Lossy:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0, backlog=1024)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._server.close()
        await self._server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        fault = self.chance.choice(FAULTS)
        self.seen[fault] += 1
        with contextlib.suppress(OSError, EOFError):
            await self._treat(fault, reader, writer)
        writer.close()

    async def _treat(
        self, fault: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        request = await _message(reader)
        if fault == "blackhole":
            await asyncio.sleep(self.hold_s)
            return
        if fault == "slow":
            await asyncio.sleep(self.chance.uniform(0, 0.05))
        there, out = await asyncio.open_connection("127.0.0.1", self.target)
        try:
            if fault == "cut_request":
                out.write(request[: self.chance.randrange(1, len(request))])
                await out.drain()
                return
            out.write(request)
            if fault == "reset" and self.chance.random() < 0.5:
                _reset(writer)  # at once, while the server is at work
                return
            answer = await _message(there)
        finally:
            out.close()
        if fault == "drop_response":
            return
        if fault == "reset":
            _reset(writer)
            return
        cut = self.chance.randrange(len(answer)) if fault == "cut_response" else len(answer)
        writer.write(answer[:cut])
        await writer.drain()


def _reset(writer: asyncio.StreamWriter) -> None:
    """Close with RST: the linger time is zero."""
    plug = writer.get_extra_info("socket")
    plug.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


async def _message(reader: asyncio.StreamReader) -> bytes:
    """Read one HTTP message that says its length."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = 0
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            length = int(line.split(b":")[1])
    return head + await reader.readexactly(length)
