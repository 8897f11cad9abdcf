"""Bought bytes on their way out: no reply ends before its read is on record."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from fastapi import Request
from starlette.concurrency import iterate_in_threadpool

from yaosu.market import Market
from yaosu.model import Delivery, new_id
from yaosu.model_money import DataRead
from yaosu.trading.reads import broken_off

from .door import market_of


@dataclass(slots=True)
class Outgoing:
    """A read on its way: when it is durable, how many bytes have left."""

    durable: asyncio.Future[None]
    sent: int = 0


@dataclass(frozen=True, slots=True)
class Paid:
    """Who reads what was bought, by which way."""

    market: Market
    delivery: Delivery
    key_id: str
    way: str
    name: str
    address: str

    def read(self, sha256: str, start: int, end: int, status: int) -> DataRead:
        """Return the record of a read that is about to begin."""
        return DataRead(
            id=new_id("red"),
            delivery_id=self.delivery.id,
            trade_id=self.delivery.trade_id,
            key_id=self.key_id,
            way=self.way,
            name=self.name,
            sha256=sha256,
            start=start,
            end=end,
            bytes=end - start,
            status=status,
            address=self.address,
            at=self.market.clock.now(),
        )

    @asynccontextmanager
    async def on_record(self, read: DataRead) -> AsyncIterator[Outgoing]:
        """Write down a read beside its bytes, and what of it was broken off."""
        going = Outgoing(asyncio.wrap_future(self.market.reads.note(read)))
        try:
            yield going
        finally:
            if going.sent < read.bytes:
                self.market.reads.note(broken_off(read, going.sent))

    async def stream(self, chunks: Iterator[bytes], read: DataRead) -> AsyncIterator[bytes]:
        """Yield the bytes of a read; the last of them when it is durable.

        The write begins before the first byte and goes on beside them: it delays the end only.
        """
        held = b""
        async with self.on_record(read) as going:
            async for chunk in iterate_in_threadpool(chunks):
                if held:
                    going.sent += len(held)
                    yield held
                held = chunk
            await going.durable
            going.sent += len(held)
            if held:
                yield held


def paid(request: Request, delivery: Delivery, key_id: str, way: str, name: str) -> Paid:
    """Return who reads what by this request."""
    address = request.client.host if request.client is not None else ""
    return Paid(market_of(request), delivery, key_id, way, name, address)
