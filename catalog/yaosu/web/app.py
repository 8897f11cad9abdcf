"""The web application: routes put together, and the one table from error to HTTP status."""

from __future__ import annotations

import asyncio
import importlib
import logging
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import asynccontextmanager
from functools import cache
from importlib.resources import files
from types import SimpleNamespace
from typing import Any

import orjson
from fastapi import APIRouter, FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute

from yaosu import __version__
from yaosu.errors import (
    AlreadyExists,
    Conflict,
    Forbidden,
    Gone,
    IdempotencyReuse,
    InFlight,
    InvalidDocument,
    InvalidInput,
    Malformed,
    NoSpace,
    NotFound,
    PaymentNeeded,
    Problem,
    SandboxFailed,
    Stale,
    TooLarge,
    TooMany,
    Unauthenticated,
    Unavailable,
    Unsupported,
    Unverified,
    YaosuError,
)
from yaosu.market import Market
from yaosu_schemas.texts import clip

from . import operation
from .api import openapi
from .api.router import ROUTERS
from .limits import Limits
from .straight import Straight
from .surfaces import ckan, dcat, delta, faces, notice_feeds, oai

log = logging.getLogger(__name__)

FOREIGN = (delta.router, ckan.router, dcat.router, oai.router, notice_feeds.router)
MAX_BODY = 1 << 20
MAX_PROBLEMS = 40
STATUS: tuple[tuple[type[YaosuError], int], ...] = (
    (IdempotencyReuse, 422),
    (InvalidDocument, 422),
    (Malformed, 400),
    (InvalidInput, 422),
    (Unauthenticated, 401),
    (Forbidden, 403),
    (NotFound, 404),
    (Stale, 412),
    (AlreadyExists, 409),
    (Conflict, 409),
    (Gone, 410),
    (PaymentNeeded, 402),
    (TooMany, 429),
    (TooLarge, 413),
    (Unsupported, 415),
    (Unverified, 422),
    (NoSpace, 507),
    (Unavailable, 503),
    (SandboxFailed, 503),
    (YaosuError, 500),
)
"""First match wins; every error class of the tree is covered by a row."""

_TOO_LARGE = TooLarge("the body is too large", "请求体过大")

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


def status_of(error: YaosuError) -> int:
    return next(status for kind, status in STATUS if isinstance(error, kind))


def problem(error: YaosuError) -> Response:
    """Return the error as application/problem+json (RFC 9457), in both languages."""
    status = status_of(error)
    body = {
        "type": f"urn:yaosu:error:{error.code}",
        "title": error.title.en,
        "title_zh": error.title.zh,
        "status": status,
        "detail": error.en,
        "detail_zh": error.zh,
        **error.as_json(),
    }
    headers = {}
    if status == 401:
        headers["www-authenticate"] = "Bearer"
    if status in (429, 503, 507):
        headers["retry-after"] = str(error.facts.get("retry_after", 5))
    if isinstance(error, InFlight):
        headers["retry-after"] = "1"
    return Response(
        orjson.dumps(body, default=str),
        status_code=status,
        headers=headers,
        media_type="application/problem+json",
    )


def _from_pydantic(error: RequestValidationError) -> InvalidDocument:
    """Return the problems by pointer; what was sent is never echoed, names of it are clipped."""
    found = []
    for item in error.errors()[:MAX_PROBLEMS]:
        where = [clip(str(part)) for part in item["loc"] if part not in ("body", "query", "path")][
            :8
        ]
        kind = str(item["type"])
        found.append(
            Problem(
                pointer="/" + "/".join(where),
                code=kind,
                en=_SAID.get(kind, (f"not valid here ({kind})", ""))[0],
                zh=_SAID.get(kind, ("", f"此处的值无效（{kind}）"))[1],
            )
        )
    return InvalidDocument(found)


_SAID = {
    "missing": ("is required", "必填"),
    "extra_forbidden": ("is not a field of this body", "不是本请求的字段"),
    "string_too_long": ("is too long", "过长"),
    "string_too_short": ("may not be empty", "不能为空"),
    "enum": ("is not one of the allowed values", "不在允许的取值中"),
    "string_type": ("must be text", "应为文本"),
    "int_type": ("must be a whole number", "应为整数"),
    "value_error": ("must be a whole number, without a decimal point", "应为整数（不带小数点）"),
    "no_day": ("is no day of the calendar", "不是日历中的日期"),
    "string_pattern_mismatch": ("does not have the form asked for", "格式不符"),
}


def create_app(market: Market) -> FastAPI:
    """Return the application over a market; its life is the market's life."""

    @asynccontextmanager
    async def life(app: FastAPI) -> AsyncIterator[None]:
        await asyncio.to_thread(market.start)
        ready = getattr(app.state, "ready", None)
        if ready is not None:
            asyncio.get_running_loop().run_in_executor(None, ready)
        yield
        await asyncio.to_thread(market.close)

    app = FastAPI(
        title="Yaosu 要素",
        version=__version__,
        summary="A marketplace catalog for AI corpora",
        lifespan=life,
        docs_url=None,
        redoc_url=None,
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    app.state.market = market
    app.state.requests = Counter()
    app.openapi = lambda: openapi.document(app)  # type: ignore[method-assign]
    _errors(app)
    programs, people = _routes()
    app.router.routes.extend(programs)
    operation.add(app, market, problem)
    static = files("yaosu").joinpath("static")
    if static.is_dir():
        app.mount("/static", StaticFiles(directory=str(static)), name="static")
    app.router.routes.extend(people)
    app.add_middleware(
        Straight, routes=[r for router in ROUTERS for r in router.routes], problem=problem
    )
    app.add_middleware(StoredBytes, market=market)
    app.add_middleware(Limits, per_minute=market.settings.calls_per_minute, problem=problem)
    app.add_middleware(Headers)
    app.add_middleware(operation.Counted, seen=app.state.requests)
    return app


@cache
def _routes() -> tuple[list[BaseRoute], list[BaseRoute]]:
    """Return the interfaces of programs and of people, which know no market and serve any.

    FastAPI works out on the first request what each route wants, a quarter of a second in all: so
    it is done once in a process.
    """
    programs, people = APIRouter(), APIRouter()
    for router in (*ROUTERS, *FOREIGN):
        programs.include_router(router, max_body_size=MAX_BODY)
    people.include_router(_pages_module().router, max_body_size=MAX_BODY)
    people.include_router(faces.router)  # last: it takes every path below a dataset
    return programs.routes, people.routes


def _pages_module() -> Any:
    """Return the pages; they know the statuses of this module, so it names them late."""
    return importlib.import_module("yaosu.web.pages.router")


def _for_a_person(request: Request) -> bool:
    """Tell whether a browser asks for something outside the interfaces of programs."""
    program = ("/v1", "/log", "/api", "/delta-sharing", "/dsp", "/.well-known")
    return "text/html" in request.headers.get("accept", "") and not request.url.path.startswith(
        program
    )


def _errors(app: FastAPI) -> None:
    @app.exception_handler(YaosuError)
    async def yaosu(request: Request, error: YaosuError) -> Response:
        return problem(error)

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> Response:
        return problem(_from_pydantic(error))

    @app.exception_handler(HTTPException)
    async def http(request: Request, error: HTTPException) -> Response:
        known: dict[int, YaosuError] = {
            404: NotFound("no such address", "没有此地址"),
            413: _TOO_LARGE,
        }
        if isinstance(error.__cause__, YaosuError):
            return problem(error.__cause__)  # what the strict parser had to say
        if error.status_code in known:
            found = known[error.status_code]
            if _for_a_person(request):
                page: Response = await _pages_module().error_page(request, found)
                return page
            return problem(found)
        other = Malformed(str(error.detail)[:200], "请求无法处理")
        answer = problem(other)
        answer.status_code = error.status_code
        answer.headers.update(error.headers or {})
        if error.status_code == 405:
            answer.headers["allow"] = ", ".join(openapi.methods(app, request.url.path))
        return answer

    @app.exception_handler(Exception)
    async def bug(request: Request, error: Exception) -> Response:
        log.exception("unexpected error on %s", request.url.path)
        return problem(
            YaosuError("an error of the market itself; it has been logged", "平台内部错误，已记录")
        )


_LISTING = SimpleNamespace(path="/v1/listings/{listing_id}")


class StoredBytes:
    """Answers an anonymous GET of a published listing from its stored bytes."""

    def __init__(self, app: Any, market: Market) -> None:
        self.app = app
        self.market = market

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["method"] == "GET":
            path: str = scope["path"]
            if path.startswith("/v1/listings/lst_") and len(path) == 49:
                headers = dict(scope["headers"])
                if b"authorization" not in headers and await self._sent(scope, headers, send):
                    return
        await self.app(scope, receive, send)

    async def _sent(self, scope: Scope, headers: dict[bytes, bytes], send: Send) -> bool:
        if not self.market.embedded:
            return False
        with self.market.store.read() as reader:
            kept = reader.view(f"listing:{scope['path'][13:]}")
        if kept is None:
            return False
        etag = b'"' + kept[0].encode() + b'"'
        same = headers.get(b"if-none-match") == etag
        head = [
            (b"content-type", b"application/json"),
            (b"etag", etag),
            (b"cache-control", b"no-cache"),
            (b"content-length", b"0" if same else str(len(kept[1])).encode()),
        ]
        scope["route"] = _LISTING
        await send({"type": "http.response.start", "status": 304 if same else 200, "headers": head})
        await send({"type": "http.response.body", "body": b"" if same else kept[1]})
        return True


def _plain_too_large(start: MutableMapping[str, Any]) -> bool:
    """Tell whether the framework itself refused a body, in words without a form."""
    kind = next((v for n, v in start["headers"] if n.lower() == b"content-type"), b"")
    return start["status"] == 413 and kind.startswith(b"text/plain")


class Headers:
    """Adds the headers that every answer carries, unless the route has set its own."""

    _DEFAULT = (
        (b"x-content-type-options", b"nosniff"),
        (b"referrer-policy", b"same-origin"),
        (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
        (b"cross-origin-resource-policy", b"same-origin"),
    )

    def __init__(self, app: Any) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        replaced = False

        async def with_headers(message: MutableMapping[str, Any]) -> None:
            nonlocal replaced
            if replaced:
                return
            if message["type"] == "http.response.start":
                if _plain_too_large(message):
                    replaced = True
                    await problem(_TOO_LARGE)(scope, receive, send_with_headers)
                    return
                await send_with_headers(message)
                return
            await send(message)

        async def send_with_headers(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                have = {name.lower() for name, _ in message["headers"]}
                message["headers"] = [
                    *message["headers"],
                    *(pair for pair in self._DEFAULT if pair[0] not in have),
                ]
            await send(message)

        await self.app(scope, receive, with_headers if scope["type"] == "http" else send)
