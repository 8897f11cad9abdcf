"""Bought bytes on their way out: no reply ends before its read is on record."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

from fastapi import Request
from starlette.concurrency import iterate_in_threadpool

from yaosu.market import Market
from yaosu.model import Delivery, new_id
from yaosu.model_money import DataRead
from yaosu.trading.reads import ReadLog, broken_off

from .door import market_of


@dataclass(frozen=True, slots=True)
class Paid:
    """Who reads what was bought, by which way."""

    market: Market
    delivery: Delivery
    key_id: str
    way: str
    name: str
    address: str

    def read(self, sha256: str, start: int, end: int, status: int) -> Going:
        """Return a read that is about to begin."""
        read = DataRead(
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
        return Going(self.market.reads, read)


class Going:
    """A read under way: recorded as it begins, and taken back where it breaks off.

    The write goes on beside the bytes: only the last of them wait for it.
    """

    def __init__(self, log: ReadLog, read: DataRead) -> None:
        self.read = read
        self._log = log
        self._left = 0

    def __enter__(self) -> Going:
        self._durable = self._log.note(self.read)
        return self

    def __exit__(self, *_: object) -> None:
        if self._left < self.read.bytes:
            self._log.note(broken_off(self.read, self._left))

    def left(self, count: int) -> None:
        """Count bytes that have left."""
        self._left += count

    async def durable(self) -> None:
        """Wait until the read is on disk; the error of the store when it cannot be."""
        await asyncio.wrap_future(self._durable)


async def recorded(going: Going, chunks: Iterator[bytes]) -> AsyncIterator[bytes]:
    """Yield the bytes of a read; the last of them when it is on record."""
    held = b""
    with going:
        async for chunk in iterate_in_threadpool(chunks):
            if held:
                going.left(len(held))
                yield held
            held = chunk
        await going.durable()
        going.left(len(held))
        if held:
            yield held


def paid(request: Request, delivery: Delivery, key_id: str, way: str, name: str) -> Paid:
    """Return who reads what by this request."""
    address = request.client.host if request.client is not None else ""
    return Paid(market_of(request), delivery, key_id, way, name, address)
