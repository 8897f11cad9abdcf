"""CKAN's Action API: envelope, errors as its clients map them, and one table of actions.

Every action answers GET and POST under `/api/action` and `/api/3/action`. Keys come bare in
`Authorization` or in `X-CKAN-API-Key`. An error is `{"error": {"__type": …}}`, or a plain JSON
string where CKAN answers so (views/api.py of CKAN 2.11).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import parse_qsl

import orjson
from fastapi import APIRouter, Request, Response

from yaosu.errors import (
    Forbidden,
    Gone,
    InvalidDocument,
    Malformed,
    NotFound,
    TooLarge,
    Unauthenticated,
    Unavailable,
    YaosuError,
)
from yaosu.model import Actor, Delivery
from yaosu.web.door import json_response, market_of
from yaosu.web.multipart import FormStream
from yaosu.web.pages.console import take_form
from yaosu.web.paid import paid
from yaosu.web.strict import parse
from yaosu.web.uploads import UNLIMITED

from . import ckan_read, ckan_write, faces

log = logging.getLogger(__name__)
router = APIRouter(tags=["ckan"])
Bought = list[tuple[Delivery, str, str]]
SMALL, LARGE = 1 << 20, 16 << 20
READS: Mapping[str, Callable[[ckan_read.Asked], Any]] = ckan_read.ACTIONS
WRITES = ckan_write.ACTIONS
_TYPES: tuple[tuple[type[Exception], int, str], ...] = (
    (ckan_read.QueryWrong, 400, "Search Query Error"),
    (Unauthenticated, 403, "Authorization Error"),
    (Forbidden, 403, "Authorization Error"),
    (NotFound, 404, "Not Found Error"),
    (Gone, 404, "Not Found Error"),
    (Unavailable, 503, "Internal Server Error"),
    (TooLarge, 413, "Validation Error"),
    (YaosuError, 409, "Validation Error"),
)


class _Unread(Exception):
    """The request is none that CKAN's door lets in: answered with a JSON string."""

    def __init__(self, en: str) -> None:
        super().__init__(en)
        self.en = en


def _help(request: Request, name: str) -> str:
    return (
        f"{market_of(request).settings.public_url.rstrip('/')}/api/3/action/help_show?name={name}"
    )


def _refusal(request: Request, name: str, error: YaosuError | ckan_read.QueryWrong) -> Response:
    status, kind = next((s, k) for t, s, k in _TYPES if isinstance(error, t))
    said: dict[str, Any] = {"__type": kind}
    if isinstance(error, YaosuError) and kind == "Validation Error":
        said |= _fields(error)
    else:
        before = {"Authorization Error": "Access denied: ", "Not Found Error": "Not found: "}
        said |= {"message": before.get(kind, "") + error.en, "message_zh": error.zh}
    body = {"help": _help(request, name), "success": False, "error": said}
    return json_response(body, status=status)


def _fields(error: YaosuError) -> dict[str, list[str]]:
    """Return messages by field, in both languages, as the form of a CKAN client shows them."""
    if not isinstance(error, InvalidDocument):
        return {str(error.facts.get("field") or "message"): [error.en, error.zh]}
    found: dict[str, list[str]] = {}
    for problem in error.problems[:200]:
        name = problem.pointer.strip("/").replace("/", ".") or "message"
        found.setdefault("_" + name if name == "__type" else name, []).append(
            f"{problem.en} / {problem.zh}"
        )
    return found


# --- what is asked -----------------------------------------------------------------------------


async def _body(request: Request, actor: Actor | None) -> bytes:
    limit = LARGE if actor is not None else SMALL
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit:
            raise TooLarge("the request is too large", "请求过大", limit=limit)
    return bytes(body)


def _query(request: Request) -> dict[str, Any]:
    """Return the parameters of the address: a list where a name stands more than once."""
    found: dict[str, Any] = {}
    for name, value in request.query_params.multi_items():
        if name in found:
            before = found[name] if isinstance(found[name], list) else [found[name]]
            found[name] = [*before, value]
        else:
            found[name] = value
    return found


async def _params(request: Request, actor: Actor | None) -> dict[str, Any]:
    if request.method == "GET":  # a body there is nothing, whatever its type says
        return _query(request)
    body = await _body(request, actor)
    if not body.strip():
        return _query(request)
    kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if kind == "application/x-www-form-urlencoded" and not body.lstrip().startswith(b"{"):
        try:
            return dict(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=500))
        except ValueError:
            raise _Unread("the form cannot be read") from None
    try:
        found = parse(body)
    except Malformed:
        raise _Unread("JSON Error: the body is not JSON") from None
    if not isinstance(found, dict):
        raise _Unread("Request data JSON decoded is not an object")
    return {**_query(request), **found}


async def _upload(
    request: Request, actor: Actor | None
) -> tuple[dict[str, Any], ckan_write.Uploaded | None]:
    """Read a form: its fields, and the one file in it, which goes the way of every upload."""
    reading = FormStream(request.headers.get("content-type", ""), request.stream())
    fields: dict[str, Any] = dict(await reading.fields())
    if not reading.filename:
        return fields, None
    if actor is None:
        raise Unauthenticated("a key is needed", "需要密钥")
    ckan_write.may_upload(market_of(request), actor, fields)
    made = await take_form(request, actor, reading.filename, reading.file())
    return fields, ckan_write.Uploaded(reading.filename, str(made.sha256), made.length)


# --- the routes --------------------------------------------------------------------------------


async def _answer(request: Request, name: str) -> Response:
    market = market_of(request)
    try:
        if name not in READS and name not in WRITES:
            raise _Unread(f"Action name not known: {name[:80]}")
        with market.store.read() as reader:
            actor = faces.actor_of(reader, request)
        uploaded = None
        form = request.headers.get("content-type", "").lower().startswith("multipart/")
        if form and request.method == "POST":
            params, uploaded = await _upload(request, actor)
        else:
            params = await _params(request, actor)
        if name in READS:
            result, bought = await asyncio.to_thread(_read, request, name, params, actor)
            if bought and actor is not None and name == "datastore_search":
                await _recorded(request, actor, bought, result)
        elif request.method == "GET":
            raise _Unread("this action needs POST")
        else:
            result = await ckan_write.run(market, name, params, actor, uploaded)
    except _Unread as error:
        return json_response(f"Bad request: {error.en}", status=400)
    except (YaosuError, ckan_read.QueryWrong) as error:
        return _refusal(request, name, error)
    except Exception:
        log.exception("unexpected error in the action %s", name[:80])
        failed = {"__type": "Internal Server Error", "message": "Internal Server Error"}
        body = {"help": _help(request, name), "success": False, "error": failed}
        return json_response(body, status=500)
    return json_response({"help": _help(request, name), "success": True, "result": result})


def _read(
    request: Request, name: str, params: dict[str, Any], actor: Actor | None
) -> tuple[Any, Bought]:
    market = market_of(request)
    with market.store.read() as reader:
        asked = ckan_read.Asked(market, reader, actor, params)
        return READS[name](asked), asked.bought


async def _recorded(request: Request, actor: Actor, bought: Bought, result: Any) -> None:
    """Have the read of bought rows on record before they leave."""
    size = len(orjson.dumps(result["records"]))
    for delivery, resource, sha256 in bought:
        who = paid(request, delivery, actor.key_id, "ckan", resource)
        note = market_of(request).reads.note(who.read(sha256, 0, size, 200))
        await asyncio.wrap_future(note)


def _known(name: str, said: str) -> None:
    async def run(request: Request) -> Response:
        return await _answer(request, name)

    run.__doc__ = said
    run.__name__ = f"ckan_{name}"
    router.add_api_route(f"/api/3/action/{name}", run, methods=["POST"], max_body_size=UNLIMITED)


for _name, _action in {**READS, **WRITES}.items():
    _known(_name, str(_action.__doc__))


@router.api_route("/api/3/action/{action}", methods=["GET", "POST"], include_in_schema=False,
                  max_body_size=UNLIMITED)  # fmt: skip
@router.api_route("/api/action/{action}", methods=["GET", "POST"], include_in_schema=False,
                  max_body_size=UNLIMITED)  # fmt: skip
async def any_action(request: Request, action: str) -> Response:
    """Run an action by name."""
    return await _answer(request, action)
