"""Files from the page cache to the socket, without a copy through this process.

uvicorn hands out no extension for it, so one is put before the application: it offers
`http.response.zerocopysend` (ASGI extensions) on plain connections of its parser in C, and does
what the message says with sendfile(2); `sent` of the message then tells how many bytes have left.
Elsewhere nothing is offered and files are streamed.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from typing import Any, BinaryIO

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

EXTENSION = "http.response.zerocopysend"
STEP = 1 << 20
"""At most so much is asked of one call: a disk that is slow holds a thread for no longer."""
LOOK_S = 5.0
"""A connection that takes nothing is looked at so often: it may have been closed on our side."""


class ZeroCopy:
    """Offers the extension to an application, where the server under it lets it be kept."""

    def __init__(self, app: Any) -> None:
        self.app = app
        # A read that misses the page cache waits for the disk: never in the event loop.
        self._pool = ThreadPoolExecutor(8, thread_name_prefix="sendfile")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        cycle = getattr(send, "__self__", None)
        if scope["type"] != "http" or scope["method"] == "POST" or not _plain(cycle):
            await self.app(scope, receive, send)
            return
        scope["extensions"] = {**(scope.get("extensions") or {}), EXTENSION: {}}

        async def sending(message: Message) -> None:
            if message["type"] == EXTENSION:
                await self._sent(cycle, send, message)
            else:
                await send(message)

        await self.app(scope, receive, sending)

    async def _sent(self, cycle: Any, send: Send, message: Message) -> None:
        count, message["sent"] = int(message["count"]), 0
        transport = cycle.transport
        if cycle.disconnected or transport.is_closing():
            return  # it takes no limits any more, and may never have been told of a length
        if count > cycle.expected_content_length:
            raise RuntimeError("a file longer than the content-length that was sent")
        transport.set_write_buffer_limits(0)  # what was written before is gone when this drains
        await cycle.flow.drain()
        if cycle.disconnected or transport.is_closing():
            return
        transport.set_write_buffer_limits()
        message["sent"] = await self._copied(
            transport, message["file"], int(message["offset"]), count
        )
        if message["sent"] < count:
            cycle.disconnected = True  # nobody is there to hear of it
            transport.abort()
            return
        cycle.expected_content_length -= count
        more = bool(message.get("more_body", False))
        await send({"type": "http.response.body", "body": b"", "more_body": more})

    async def _copied(self, transport: Any, file: BinaryIO, offset: int, count: int) -> int:
        """Send a part of a file; fewer bytes left when the other end, or the file, ended before."""
        end = offset + count
        loop = asyncio.get_running_loop()
        # The event loop refuses to watch the descriptor of a transport: it watches a twin.
        twin = os.dup(transport.get_extra_info("socket").fileno())
        writable = asyncio.Event()
        with closing(_Descriptor(twin, loop)):
            while offset < end:
                step = min(end - offset, STEP)
                try:
                    sent = await loop.run_in_executor(
                        self._pool, os.sendfile, twin, file.fileno(), offset, step
                    )
                except BlockingIOError:
                    writable.clear()
                    loop.add_writer(twin, writable.set)
                    with suppress(TimeoutError):
                        await asyncio.wait_for(writable.wait(), LOOK_S)
                    loop.remove_writer(twin)
                    if transport.is_closing():
                        break
                    continue
                except OSError:
                    break
                if not sent:
                    break
                offset += sent
        return count - (end - offset)


class _Descriptor:
    def __init__(self, number: int, loop: asyncio.AbstractEventLoop) -> None:
        self._number, self._loop = number, loop

    def close(self) -> None:
        self._loop.remove_writer(self._number)
        os.close(self._number)


def _plain(cycle: Any) -> bool:
    """Tell whether a file may go past the server: no TLS, and a server that we know."""
    if sys.platform != "linux":
        return False
    try:
        from uvicorn.protocols.http.httptools_impl import RequestResponseCycle
    except ImportError:
        return False
    if not isinstance(cycle, RequestResponseCycle):
        return False
    transport = cycle.transport
    return transport.get_extra_info("sslcontext") is None
