"""The door: who comes in, exactly-once for what they change, JSON for what they get.

A changing call is one transaction: authenticate, replay or run the step, record the reply.
"""

from __future__ import annotations

import asyncio
import hashlib
import threading
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import orjson
from fastapi import Request, Response
from fastapi.routing import APIRoute

from yaosu import client_ids
from yaosu.errors import IdempotencyReuse, InFlight, Malformed, Stale, Unauthenticated
from yaosu.identity import authenticate
from yaosu.market import Market
from yaosu.model import Actor, Reply
from yaosu.operations import of_address
from yaosu.ports import Reader, Transaction
from yaosu.trading.moves import AwaitsSecond

from .session import actor_of_script
from .strict import parse

T = TypeVar("T")
MAX_KEY = 255
ANONYMOUS = "anonymous"
LARGE = 64 << 10
LARGEST_OF_STRANGERS = 1 << 20


class StrictRequest(Request):
    """A request whose JSON is read strictly."""

    async def json(self) -> Any:
        body = await self.body()
        # The rest goes on while a large body is read.
        return parse(body) if len(body) < LARGE else await beside(lambda: parse(body))


class StrictRoute(APIRoute):
    """Reads every JSON body through the strict parser, and a large one from known people only."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handler = super().get_route_handler()
        large = (getattr(self, "max_body_size", None) or 0) > LARGEST_OF_STRANGERS

        async def strict(request: Request) -> Response:
            if large:
                await read(request, lambda _, actor: actor, needed=True)
            return await handler(StrictRequest(request.scope, request.receive))

        return strict


_BESIDE = ThreadPoolExecutor(1, thread_name_prefix="beside")


_CHILDREN = ThreadPoolExecutor(2, thread_name_prefix="children")


async def beside(work: Callable[[], T]) -> T:
    """Run what a stranger can make long in one thread for all: it delays its own kind only."""
    return await asyncio.get_running_loop().run_in_executor(_BESIDE, work)


async def in_children(work: Callable[[], T]) -> T:
    """Run what waits for a child process that anyone may ask for: two at a time for all."""
    return await asyncio.get_running_loop().run_in_executor(_CHILDREN, work)


@dataclass(frozen=True, slots=True)
class Secret:
    """A reply that holds a secret: it is shown once and never stored."""

    shown: dict[str, Any]
    kept: dict[str, Any]


def market_of(request: Request) -> Market:
    market: Market = request.app.state.market
    return market


def header(request: Request, name: bytes) -> str:
    """Return the first header of that name (lower case), or nothing."""
    for given, value in request.scope["headers"]:
        if given == name:
            text: str = value.decode("latin-1")
            return text
    return ""


def presented_key(request: Request) -> str | None:
    """Return the bearer key of the request, or None."""
    given = header(request, b"authorization")
    if not given:
        return None
    scheme, _, token = given.partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise Unauthenticated(
            "this needs 'Authorization: Bearer <key>'", "需要 Authorization: Bearer <key>"
        )
    return token.strip()


def actor_in(reader: Reader, request: Request, *, needed: bool = True) -> Actor | None:
    """Return who asks; a wrong key is refused even where none is needed."""
    key = presented_key(request)
    if key is None:
        script = actor_of_script(market_of(request), reader, request)
        if script is not None:
            return script
        if needed:
            raise Unauthenticated(
                "this needs a key: Authorization: Bearer <key>",
                "此操作需要密钥：Authorization: Bearer <key>",
            )
        return None
    return authenticate(reader, key, now=market_of(request).clock.now(), **asked(request))


def asked(request: Request) -> dict[str, Any]:
    """Return which operation of the matrix a request is, and where."""
    path = request.scope["path"]
    template = getattr(request.scope.get("route"), "path", "")
    return {"operation": of_address(request.method, template, path), "path": path}


async def read(
    request: Request,
    look: Callable[[Reader, Actor | None], T],
    *,
    needed: bool = False,
    beside: bool = False,
) -> T:
    """Run a read over one snapshot; in a thread where it waits for a socket (PostgreSQL).

    `beside` is for a read that may be long: it has a thread on either store.
    """
    market = market_of(request)

    def work() -> T:
        with market.store.read() as reader:
            return look(reader, actor_in(reader, request, needed=needed))

    return work() if market.embedded and not beside else await asyncio.to_thread(work)


async def read_own(
    request: Request, look: Callable[[Reader, Actor], T], *, beside: bool = False
) -> T:
    """Run a read that only somebody with a key may ask for."""

    def known(reader: Reader, actor: Actor | None) -> T:
        assert actor is not None
        return look(reader, actor)

    return await read(request, known, needed=True, beside=beside)


async def change(
    request: Request,
    step: Callable[[Transaction, Actor], T],
    render: Callable[[Reader, T], dict[str, Any] | Secret],
    *,
    status: int = 200,
    location: Callable[[T], str] | None = None,
) -> Response:
    """Run a step exactly once per (actor, Idempotency-Key) and answer with its reply."""

    def known(tx: Transaction, actor: Actor | None) -> T:
        assert actor is not None
        return step(tx, actor)

    return await _once(request, known, render, status, location, needed=True)


async def register(
    request: Request,
    step: Callable[[Transaction, Actor | None], T],
    render: Callable[[Reader, T], dict[str, Any] | Secret],
    *,
    location: Callable[[T], str] | None = None,
) -> Response:
    """As `change`, for the one call that a stranger may make."""
    return await _once(request, step, render, 201, location, needed=False)


async def _once(
    request: Request,
    step: Callable[[Transaction, Actor | None], T],
    render: Callable[[Reader, T], dict[str, Any] | Secret],
    status: int,
    location: Callable[[T], str] | None,
    *,
    needed: bool,
) -> Response:
    key = idempotency_key(request)
    body = await request.body()
    address = request.scope["path"].encode()
    if query := request.scope.get("query_string"):
        address += b"?" + query
    ids = request.headers.get(client_ids.HEADER, "")
    if ids:
        address += b"\n" + ids.encode()
    fingerprint = hashlib.sha256(b"\n".join((request.method.encode(), address, body))).hexdigest()
    shown: list[bytes] = []

    def work(tx: Transaction) -> Reply:
        actor = actor_in(tx, request, needed=needed)
        owner = actor.id if actor else ANONYMOUS
        before = tx.replay(owner, key)
        if before is not None:
            return _again(before, fingerprint)
        answer: dict[str, Any] | Secret
        headers: dict[str, str] = {}
        code = status
        try:
            with client_ids.chosen(ids):
                result = step(tx, actor)
            answer = render(tx, result)
            if location is not None:
                headers["location"] = location(result)
        except AwaitsSecond as waiting:
            approval = waiting.approval
            answer = {
                "approval_id": approval.id,
                "action": approval.action,
                "subject_id": approval.subject_id,
                "waits_for": "admin" if approval.party_id is None else "approver",
            }
            code = 202
        shown.clear()
        if isinstance(answer, Secret):
            shown.append(orjson.dumps(answer.shown))
            answer = answer.kept
        reply = Reply(
            fingerprint=fingerprint, status=code, headers=headers, body=orjson.dumps(answer)
        )
        tx.remember(owner, key, reply)
        return reply

    with in_flight(request, key):
        reply = await settled(market_of(request).store.submit(work))
    return Response(
        shown[0] if shown else reply.body,
        status_code=reply.status,
        headers=dict(reply.headers),
        media_type="application/json",
    )


class _Landing:
    """Brings what a commit has settled to one event loop: all of it in one wake-up."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.loop = loop
        self._lock = threading.Lock()
        self._landed: list[tuple[Future[Any], asyncio.Future[Any]]] = []

    def expect(self, future: Future[T]) -> asyncio.Future[T]:
        waiter: asyncio.Future[T] = self.loop.create_future()

        def landed(done: Future[T]) -> None:
            with self._lock:
                first = not self._landed
                self._landed.append((done, waiter))
            if first and not self.loop.is_closed():
                self.loop.call_soon_threadsafe(self._hand_on)

        future.add_done_callback(landed)
        return waiter

    def _hand_on(self) -> None:
        with self._lock:
            landed, self._landed = self._landed, []
        for done, waiter in landed:
            if waiter.done():
                continue  # its caller went away
            if done.cancelled():
                waiter.cancel()
            elif error := done.exception():
                waiter.set_exception(error)
            else:
                waiter.set_result(done.result())


_landings: WeakKeyDictionary[asyncio.AbstractEventLoop, _Landing] = WeakKeyDictionary()


async def settled(future: Future[T]) -> T:
    """Return what a step of the store came to; one whose caller goes away is not begun."""
    loop = asyncio.get_running_loop()
    landing = _landings.get(loop)
    if landing is None:
        landing = _landings[loop] = _Landing(loop)
    try:
        return await landing.expect(future)
    except asyncio.CancelledError:
        future.cancel()
        raise


@contextmanager
def in_flight(request: Request, key: str) -> Iterator[None]:
    """Refuse a call whose first sending is still being answered by this process.

    Elsewhere two sendings meet in the store: the later one is answered with the first's reply.
    """
    flying: set[tuple[str, str, str]] = market_of(request).in_flight
    who = (header(request, b"authorization"), header(request, b"cookie"), key)
    if who in flying:
        raise InFlight(
            "the same call is being answered right now: send it again in a moment",
            "相同的请求正在处理，请稍后重发",
        )
    flying.add(who)
    try:
        yield
    finally:
        flying.discard(who)


def idempotency_key(request: Request) -> str:
    key = header(request, b"idempotency-key")
    if not key or len(key) > MAX_KEY or not key.isprintable():
        raise Malformed(
            "a changing call needs the header Idempotency-Key (1 to 255 characters)",
            "变更请求需要 Idempotency-Key 请求头（1–255 个字符）",
            field="Idempotency-Key",
        )
    return key


def _again(before: Reply, fingerprint: str) -> Reply:
    if before.fingerprint != fingerprint:
        raise IdempotencyReuse(
            "this Idempotency-Key was used for another request",
            "该 Idempotency-Key 已用于其他请求",
        )
    return before


def json_response(
    value: Any, *, status: int = 200, headers: dict[str, str] | None = None
) -> Response:
    return Response(
        orjson.dumps(value), status_code=status, headers=headers, media_type="application/json"
    )


def page(request: Request, items: list[Any], after: str | None) -> Response:
    """Return one page of a list, with the cursor of the next in body and Link (RFC 8288)."""
    headers = {}
    if after is not None:
        url = request.url.include_query_params(cursor=after)
        headers["link"] = f'<{url.path}?{url.query}>; rel="next"'
    return json_response({"items": items, "next": after}, headers=headers)


def etag_of(record: Any) -> str:
    """Return a strong validator of a record that carries `updated_at`."""
    text = f"{record.id}|{record.state}|{record.updated_at.isoformat()}"
    return f'"{hashlib.sha256(text.encode()).hexdigest()[:32]}"'


def must_match(request: Request, record: Any) -> None:
    """Refuse a change of what has changed since it was read (If-Match, RFC 9110 §13.1.1)."""
    wanted = header(request, b"if-match")
    if wanted and wanted != "*" and etag_of(record) not in [w.strip() for w in wanted.split(",")]:
        raise Stale("it changed since you read it: read it again", "内容已被更改，请重新读取")
