"""One visit of a browser: who, in which language, and what a page looks like to them."""

from __future__ import annotations

import asyncio
import hashlib
import logging
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any, TypeVar
from urllib.parse import parse_qsl, urlencode

import orjson
from fastapi import Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse
from fastapi.routing import APIRoute
from jinja2 import Environment, PackageLoader, StrictUndefined, pass_context
from jinja2.runtime import Context
from markupsafe import Markup
from starlette.exceptions import HTTPException

from yaosu import present
from yaosu.errors import Malformed, NotFound, TooLarge, Unauthenticated, YaosuError
from yaosu.identity import may
from yaosu.market import Market
from yaosu.model import Actor, Party
from yaosu.notices import inbox
from yaosu.organisation import waiting
from yaosu.ports import Reader, Transaction
from yaosu.trading.moves import AwaitsSecond
from yaosu.web import session
from yaosu.web.api.market import FACETS
from yaosu.web.strict import parse

from . import words
from .texts import TEXTS, said

log = logging.getLogger(__name__)
T = TypeVar("T")
LANGUAGE_COOKIE = "yaosu_lang"
MAX_FORM = 1 << 20
MAX_DOCUMENT_FORM = 24 << 20
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "connect-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
)
Form = dict[str, list[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """What every page knows of who looks at it."""

    request: Request
    market: Market
    lang: str
    actor: Actor | None
    party: Party | None
    form_token: str
    waiting: int  # how much there is to do
    unread: int = 0  # notices

    @property
    def known(self) -> Actor:
        return session.must_be_known(self.actor)

    def may(self, operation: str) -> bool:
        return self.actor is not None and may(self.actor, operation)


def market_of(request: Request) -> Market:
    market: Market = request.app.state.market
    return market


def language_of(request: Request) -> str:
    """Return zh or en: asked for in the address, kept from before, or what the browser prefers."""
    for given in (request.query_params.get("lang"), request.cookies.get(LANGUAGE_COOKIE)):
        if given in ("zh", "en"):
            return given
    best, weight = "zh", 0.0
    for item in request.headers.get("accept-language", "").split(",")[:20]:
        tag, _, q = item.strip().partition(";q=")
        base = tag.split("-")[0].lower()
        try:
            found = float(q or 1)
        except ValueError:
            continue
        if base in ("zh", "en") and found > weight:
            best, weight = base, found
    return best


# --- templates --------------------------------------------------------------------------------


@cache
def _environment() -> Environment:
    made = Environment(
        loader=PackageLoader("yaosu.web", "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals.update(
        t=_text, static=static_url, here=_here, without=_without, token=_token, codes_of=FACETS
    )
    for name in ("field_name", "problem_groups"):
        made.globals[name] = _in_language(getattr(words, name))
    for name in ("money", "when", "day", "language", "titled"):
        made.filters[name] = _in_language(getattr(words, name))
    made.filters["label"] = _label
    made.filters.update(
        size=words.size,
        number=words.number,
        digest=words.digest,
        markdown=words.markdown,
        cell=words.cell,
        pretty=words.pretty,
        whole=words.whole,
        report=_in_language(words.report),
        snippet_of=words.snippet_of,
    )
    return made


@pass_context
def _text(context: Context, name: str, /, **facts: object) -> str:
    """Return the sentence of that name in the language of the page."""
    text = said(name)
    chosen = text.zh if context["lang"] == "zh" else text.en
    if facts:
        chosen = chosen.format(**facts)
    return words.with_code(chosen) if "`" in chosen else chosen


def _in_language(shown: Callable[[Any, str], Any]) -> Callable[[Context, Any], Any]:
    @pass_context
    def filtered(context: Context, value: Any) -> Any:
        return shown(value, context["lang"])

    return filtered


@pass_context
def _label(context: Context, code: object, list_name: str) -> str:
    return words.label(code, list_name, context["lang"])


@pass_context
def _here(context: Context, **changes: str | None) -> str:
    """Return the address of this page with other parameters (None removes one)."""
    request: Request = context["visit"].request
    kept = [(k, v) for k, v in request.query_params.multi_items() if k not in changes]
    kept += [(k, v) for k, v in changes.items() if v is not None]
    return request.url.path + ("?" + urlencode(kept) if kept else "")


@pass_context
def _without(context: Context, name: str, value: str) -> str:
    """Return the address of this page without one choice of a filter, from its first page on."""
    request: Request = context["visit"].request
    kept = [
        (k, v)
        for k, v in request.query_params.multi_items()
        if (k, v) != (name, value) and k != "cursor"
    ]
    return request.url.path + ("?" + urlencode(kept) if kept else "")


@pass_context
def _token(context: Context) -> Markup:
    """Return the hidden field that says a form is ours."""
    field = Markup('<input type="hidden" name="{}" value="{}">')
    return field.format(session.TOKEN_FIELD, context["form_token"])


@cache
def static_url(name: str) -> str | None:
    """Return the address of a static file with its digest, or None where it is not installed."""
    file = files("yaosu").joinpath("static", *name.split("/"))
    if not file.is_file():
        return None
    return f"/static/{name}?v={hashlib.sha256(file.read_bytes()).hexdigest()[:10]}"


# --- answers ----------------------------------------------------------------------------------


def visit_of(request: Request, reader: Reader) -> Visit:
    market = market_of(request)
    actor = session.actor_of(market, reader, request)
    return Visit(
        request=request,
        market=market,
        lang=language_of(request),
        actor=actor,
        party=reader.get(Party, actor.party_id) if actor else None,
        form_token=session.form_token(market, request),
        waiting=waiting.count(reader, actor) if actor else 0,
        unread=inbox.unread(reader, actor) if actor else 0,
    )


def html(visit: Visit, template: str, facts: Mapping[str, Any], status: int = 200) -> Response:
    """Return a page; a visitor without a session gets a token of their own for its forms."""
    fresh = None
    token = visit.form_token
    if not token and visit.actor is None:
        fresh = session.new_visitor()
        token = session.visitor_token(visit.market, fresh)
    done = visit.request.query_params.get("done", "")
    body = (
        _environment()
        .get_template(template)
        .render(
            {
                "error": None,
                "notice": TEXTS.get(f"done.{done}"),
                **facts,
                "visit": visit,
                "lang": visit.lang,
                "form_token": token,
            }
        )
    )
    answer = HTMLResponse(body, status_code=status)
    answer.headers["content-security-policy"] = POLICY
    answer.headers["cache-control"] = "no-store" if visit.actor else "no-cache"
    answer.headers["vary"] = "accept-language, cookie"
    answer.headers["content-language"] = "zh-CN" if visit.lang == "zh" else "en"
    secure = session.is_secure(visit.market)
    if visit.request.query_params.get("lang") in ("zh", "en"):
        answer.set_cookie(
            LANGUAGE_COOKIE, visit.lang, max_age=31_536_000, path="/", samesite="lax", secure=secure
        )
    if fresh:
        answer.set_cookie(
            session.VISITOR, fresh, path="/", httponly=True, samesite="strict", secure=secure
        )
    return answer


Look = Callable[[Reader, Visit], Mapping[str, Any]]


async def show(
    request: Request,
    template: str,
    look: Look,
    *,
    status: int = 200,
    error: YaosuError | None = None,
    slow: bool = False,
) -> Response:
    """Read what a page shows from one snapshot, and render it; what is slow, in a thread."""

    def work() -> tuple[Visit, Mapping[str, Any]]:
        with market_of(request).store.read() as reader:
            visit = visit_of(request, reader)
            return visit, look(reader, visit)

    visit, facts = await read_of(request, work, slow=slow)
    if error is not None:
        facts = {**facts, "error": error_facts(error)}
    return html(visit, template, facts, status)


async def read_of(request: Request, work: Callable[[], T], *, slow: bool = False) -> T:
    """Run a read; on PostgreSQL in a thread, since it waits for a socket."""
    here = market_of(request).embedded and not slow
    return work() if here else await asyncio.to_thread(work)


def error_facts(error: YaosuError) -> dict[str, Any]:
    """Return what a page says of an error: title, sentence, every problem."""
    problems = error.facts.get("problems") or error.facts.get("guards") or ()
    return {
        "title": error.title,
        "en": error.en,
        "zh": error.zh,
        "problems": problems if isinstance(problems, (list, tuple)) else (),
    }


async def read_form(request: Request, limit: int = MAX_FORM) -> Form:
    """Return the fields of a form that one of our pages made for this browser."""
    kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
    if kind != "application/x-www-form-urlencoded":
        raise Malformed("a form was expected", "应为表单数据")
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > limit:
            raise TooLarge("the form is too large", "表单过大", limit_bytes=limit)
    try:
        pairs = parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=2000)
    except ValueError:
        raise Malformed("the form cannot be read", "表单无法解析") from None
    form: Form = {}
    for name, value in pairs:
        form.setdefault(name, []).append(value.replace("\r\n", "\n"))
    session.from_our_form(market_of(request), request, one(form, session.TOKEN_FIELD))
    # What no JSON may hold, no form may: controls, bidirectional overrides (a descriptor is JSON).
    parse(orjson.dumps({name: given for name, given in form.items() if name != "descriptor"}))
    return form


def one(form: Form, name: str, default: str = "") -> str:
    """Return the last value of a field, without space around it."""
    return form.get(name, [default])[-1].strip()


Again = Callable[[YaosuError, int], Coroutine[Any, Any, Response]]


async def act(
    request: Request,
    step: Callable[[Transaction, Actor], T],
    then: Callable[[T], str],
    *,
    again: Again | None = None,
    waits: str = "/",
) -> Response:
    """Take a step as who is logged in, then lead on; an error comes back on the page it is of.

    `waits` is where an admin goes whose step still needs a second one; who needs a colleague's
    yes goes to what they asked for.
    """
    market = market_of(request)

    def work(tx: Transaction) -> T | AwaitsSecond:
        actor = session.must_be_known(session.actor_of(market, tx, request))
        try:
            return step(tx, actor)
        except AwaitsSecond as waiting:
            return waiting

    try:
        result = await asyncio.wrap_future(market.store.submit(work))
    except YaosuError as error:
        if again is None or isinstance(error, Unauthenticated):
            raise
        return await again(error, status_of(error))
    if isinstance(result, AwaitsSecond):
        if result.approval.party_id is None:
            return see_other(f"{waits}?done=second")
        return see_other(f"/waiting?done=asked#{result.approval.id}")
    return see_other(then(result))


def see_other(url: str) -> Response:
    return RedirectResponse(url, status_code=303)


def status_of(error: YaosuError) -> int:
    from yaosu.web.app import status_of as mapped

    return mapped(error)


class PageRoute(APIRoute):
    """Shows errors as pages; who is not logged in is asked to, and comes back afterwards."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handler = super().get_route_handler()

        async def page(request: Request) -> Response:
            try:
                if not request.url.path.isprintable():
                    raise NotFound("no such address", "没有此地址")
                return await handler(request)
            except YaosuError as error:
                if isinstance(error, Unauthenticated) and request.method == "GET":
                    back = request.url.path + (f"?{request.url.query}" if request.url.query else "")
                    return see_other("/login?" + urlencode({"next": back}))
                return await error_page(request, error)
            except HTTPException:
                raise
            except Exception:
                log.exception("unexpected error on %s", request.url.path)
                return await error_page(
                    request,
                    YaosuError(
                        "an error of the market itself; it has been logged",
                        "平台内部错误，已记录",
                    ),
                )

        return page


async def error_page(request: Request, error: YaosuError) -> Response:
    """Return a page that says what went wrong, in the reader's language, and how to go on."""
    status = status_of(error)
    return await show(
        request, "error.html", lambda *_: {"status": status}, status=status, error=error
    )


def party_names(reader: Reader, ids: set[str]) -> dict[str, dict[str, Any]]:
    """Return parties by id as anyone may see them."""
    return {i: present.party(reader.get(Party, i)) for i in ids if i != "system"}
