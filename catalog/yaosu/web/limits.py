"""How many calls one caller may make: a token bucket per key, and per address for all others.

A key counts as one once a call with it was not refused as unknown: whoever guesses keys draws on
the bucket of the address. Buckets live in the process; several processes each have their own.
Headers as in draft-ietf-httpapi-ratelimit-headers-10.
"""

from __future__ import annotations

import hashlib
import math
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from typing import Any

from fastapi import Response

from yaosu.errors import TooMany, YaosuError

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

# What watches over the market, or proves what it did, is answered also in a flood.
FREE = ("/healthz", "/readyz", "/metrics", "/log/", "/static/")
_SECRETS = (b"authorization", b"x-ckan-api-key", b"cookie")


@dataclass(slots=True)
class Bucket:
    """What a caller may still send, as of a moment of the monotonic clock."""

    left: float
    at: float


class Limits:
    """Refuses calls beyond `per_minute` of one caller with 429; all of them may come at once."""

    def __init__(
        self,
        app: Any,
        per_minute: int,
        problem: Callable[[YaosuError], Response],
        clock: Callable[[], float] = time.monotonic,
        most_callers: int = 20_000,
    ) -> None:
        self.app = app
        self.per_minute = per_minute
        self.problem = problem
        self.clock = clock
        self.most_callers = most_callers
        self.buckets: OrderedDict[bytes, Bucket] = OrderedDict()
        self.known: OrderedDict[bytes, None] = OrderedDict()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not self.per_minute or scope["path"].startswith(FREE):
            await self.app(scope, receive, send)
            return
        secret = _secret(scope)
        address = str((scope.get("client") or ("", 0))[0]).encode()
        bucket = self._bucket(secret if secret in self.known else address)
        if bucket.left < 1:
            seconds = math.ceil((1 - bucket.left) * 60 / self.per_minute)
            answer = self.problem(_too_many(self.per_minute, seconds))
            answer.headers.update(self._told(bucket))
            await answer(scope, receive, send)
            return
        bucket.left -= 1

        async def noted(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                if secret is not None:
                    self._learn(secret, refused=message["status"] == 401)
                told = self._told(bucket).items()
                message["headers"] = [
                    *message.get("headers", ()),
                    *((name.encode(), value.encode()) for name, value in told),
                ]
            await send(message)

        await self.app(scope, receive, noted)

    def _bucket(self, caller: bytes | None) -> Bucket:
        """Return the caller's bucket, filled for the time that has gone by."""
        now = self.clock()
        caller = caller or b""
        bucket = self.buckets.pop(caller, None) or Bucket(self.per_minute, now)
        bucket.left = min(self.per_minute, bucket.left + (now - bucket.at) * self.per_minute / 60)
        bucket.at = now
        self.buckets[caller] = bucket
        if len(self.buckets) > self.most_callers:
            self.buckets.popitem(last=False)
        return bucket

    def _learn(self, secret: bytes, *, refused: bool) -> None:
        self.known.pop(secret, None)
        if not refused:
            self.known[secret] = None
            if len(self.known) > self.most_callers:
                self.known.popitem(last=False)

    def _told(self, bucket: Bucket) -> dict[str, str]:
        wait = math.ceil((self.per_minute - bucket.left) * 60 / self.per_minute)
        return {
            "ratelimit-policy": f'"calls";q={self.per_minute};w=60',
            "ratelimit": f'"calls";r={max(int(bucket.left), 0)};t={wait}',
        }


def _secret(scope: Scope) -> bytes | None:
    """Return a digest of what the caller says it is known by; the secret itself is never kept."""
    for name, value in scope["headers"]:
        if name in _SECRETS and value:
            return hashlib.sha256(value).digest()
    return None


def _too_many(per_minute: int, seconds: int) -> TooMany:
    return TooMany(
        f"more than {per_minute} calls in a minute: wait {seconds} s",
        f"每分钟调用超过 {per_minute} 次，请等待 {seconds} 秒",
        retry_after=seconds,
    )
