"""The straight way in: an ordinary call of a native step goes to its route without the framework.

Matching some 200 paths, solving dependencies and reading one small body costs more than the step
that it leads to. The routes stay the only description: this table is read off them, the same
function answers, and whatever is not a plain, valid JSON call is handed on untouched, so that
every refusal is the framework's.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, MutableMapping
from dataclasses import dataclass
from typing import Any

from fastapi import Request, Response
from fastapi.routing import APIRoute
from pydantic import BaseModel, ValidationError

from yaosu.errors import YaosuError

from .door import LARGE, StrictRoute
from .strict import parse

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]

JSON_TYPE = (b"application/json", b"application/json; charset=utf-8")


@dataclass(frozen=True, slots=True)
class _Way:
    """A route that takes one JSON body and at most one id from the path."""

    route: APIRoute
    body: type[BaseModel]
    id_name: str | None


class _Call(Request):
    """A request whose body has come already."""

    def __init__(self, scope: Scope, receive: Receive, body: bytes) -> None:
        super().__init__(scope, receive)
        self._came = body

    async def body(self) -> bytes:
        return self._came


class Straight:
    """Takes plain native POSTs to their routes; everything else goes on to `app`."""

    def __init__(
        self,
        app: Any,
        routes: Iterable[Any],
        problem: Callable[[YaosuError], Response],
    ) -> None:
        self.app = app
        self.problem = problem
        self.ways: dict[tuple[str, ...], _Way] = {}
        for route in routes:
            way = _way(route)
            if way is not None:
                self.ways.setdefault(_shape(route.path, "{"), way)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        found = self._found(scope)
        if found is None:
            await self.app(scope, receive, send)
            return
        way, arguments = found
        first = await receive()
        again = _again(first, receive)
        try:
            if first["type"] != "http.request" or first.get("more_body"):
                raise ValueError
            arguments["body"] = way.body.model_validate(parse(first["body"]))
        except (YaosuError, ValidationError, ValueError):
            await self.app(scope, again, send)
            return
        scope["route"] = way.route
        try:
            call = _Call(scope, again, first["body"])
            answer = await way.route.endpoint(request=call, **arguments)
        except YaosuError as error:
            answer = self.problem(error)
        await answer(scope, receive, send)

    def _found(self, scope: Scope) -> tuple[_Way, dict[str, Any]] | None:
        """Return the route of a plain JSON call and the id that its path names."""
        if scope["type"] != "http" or scope["method"] != "POST" or not _plain(scope["headers"]):
            return None
        parts = scope["path"].split("/")
        # Where an id stands, the shape says so: /v1/trades/{/sign.
        way = self.ways.get(tuple(parts))
        if way is not None and way.id_name is None:
            return way, {}
        if len(parts) < 4 or not parts[3]:
            return None
        way = self.ways.get((*parts[:3], "{", *parts[4:]))
        return None if way is None or way.id_name is None else (way, {way.id_name: parts[3]})


def _plain(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Tell whether a small JSON body comes whole, in nothing but itself."""
    kind, length = b"", b""
    for name, value in headers:
        if name == b"content-type":
            kind = value
        elif name == b"content-length":
            length = value
    return kind in JSON_TYPE and length.isdigit() and 0 < int(length[:9]) < LARGE


def _way(route: Any) -> _Way | None:
    if not isinstance(route, StrictRoute) or route.methods != {"POST"}:
        return None
    takes, body = route.dependant, route.body_field
    ids = [field.name for field in takes.path_params]
    other = takes.query_params or takes.header_params or takes.cookie_params or takes.dependencies
    if body is None or other or len(takes.body_params) != 1 or takes.request_param_name is None:
        return None
    model = body.field_info.annotation
    if not (isinstance(model, type) and issubclass(model, BaseModel)):
        return None
    names = [f for f in takes.path_params if f.field_info.annotation is not str]
    if names or len(ids) > 1 or (ids and _shape(route.path, "{")[3:4] != ("{",)):
        return None
    return _Way(route, model, ids[0] if ids else None)


def _shape(path: str, mark: str) -> tuple[str, ...]:
    return tuple(mark if part.startswith("{") else part for part in path.split("/"))


def _again(first: Message, receive: Receive) -> Receive:
    """Return a `receive` that gives the message already taken once more."""
    given = False

    async def again() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return first

    return again
