"""Pages that lead to an identity provider and back: signing in, being bound, and out again."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hmac
import json
import secrets
from dataclasses import asdict, dataclass

from fastapi import APIRouter, Request, Response

from yaosu.errors import Forbidden, NotFound
from yaosu.market import Market
from yaosu.model import AccessKey
from yaosu.organisation import sign_in
from yaosu.organisation.openid import Person, Provider, refused
from yaosu.ports import Transaction
from yaosu.web import session

from .visit import PageRoute, market_of, read_form, see_other, show

router = APIRouter(route_class=PageRoute, include_in_schema=False)

COOKIE = "yaosu_sign_in"
CALLBACK = "/login/callback"
MINUTES = 10
MAX_VALUE = 2000


@dataclass(frozen=True, slots=True)
class Flow:
    """One way to the provider and back, in the browser that began it; sealed in its cookie."""

    state: str
    expires: int
    next: str = "/"
    invitation: str = ""
    by_key: str = ""


def provider_of(request: Request) -> Provider:
    found = market_of(request).sign_in
    if found is None:
        raise NotFound("this market has no sign-in service", "本平台未启用统一登录")
    return found


def _callback(market: Market) -> str:
    return market.settings.public_url.rstrip("/") + CALLBACK


def _sealed(market: Market, flow: Flow) -> str:
    body = base64.urlsafe_b64encode(json.dumps(asdict(flow)).encode()).decode()
    return f"{body}.{market.seal('sign-in:' + body)}"


def _opened(market: Market, request: Request) -> Flow:
    """Return the flow that this browser began; Forbidden for any other (login CSRF)."""
    body, _, mac = request.cookies.get(COOKIE, "").partition(".")
    wanted = market.seal("sign-in:" + body)
    try:
        if not hmac.compare_digest(wanted.encode(), mac.encode()):
            raise ValueError
        flow = Flow(**json.loads(base64.urlsafe_b64decode(body)))
    except (ValueError, TypeError, binascii.Error):
        flow = Flow(state="", expires=0)
    given = request.query_params.get("state", "")
    if (
        flow.expires <= market.clock.now().timestamp()
        or not flow.state
        or not hmac.compare_digest(flow.state.encode(), given.encode())
    ):
        raise refused(
            "it was not begun in this browser, or too long ago: begin again",
            "不是由本浏览器发起，或已超时，请重新登录",
        )
    return flow


async def begin(
    request: Request, *, next: str = "/", invitation: str = "", by_key: str = ""
) -> tuple[str, str]:
    """Return the provider's address and the cookie of the flow."""
    market = market_of(request)
    flow = Flow(
        state=secrets.token_urlsafe(32),
        expires=int(market.clock.now().timestamp()) + MINUTES * 60,
        next=next,
        invitation=invitation,
        by_key=by_key,
    )
    address = await provider_of(request).address(flow.state, _callback(market))
    return address, _sealed(market, flow)


def _with_flow(market: Market, answer: Response, cookie: str) -> Response:
    # Lax: the way back begins on the provider's site.
    answer.set_cookie(
        COOKIE,
        cookie,
        max_age=MINUTES * 60,
        path="/login",
        httponly=True,
        samesite="lax",
        secure=session.is_secure(market),
    )
    return answer


@router.get("/login/start")
async def start(request: Request) -> Response:
    """Go to the provider, to come back where one wanted to go, or with an invitation taken."""
    from .account import safe_next

    address, cookie = await begin(
        request,
        next=safe_next(request.query_params.get("next", "/"))[:MAX_VALUE],
        invitation=request.query_params.get("join", "")[:100],
    )
    return _with_flow(market_of(request), see_other(address), cookie)


@router.post("/login/bind")
async def bind(request: Request) -> Response:
    """Go to the provider to be bound to the member whose session this is."""
    await read_form(request)
    market = market_of(request)

    def look() -> str:
        with market.store.read() as reader:
            return session.must_be_known(session.actor_of(market, reader, request)).key_id

    key_id = await asyncio.to_thread(look)
    address, cookie = await begin(request, next="/keys?done=bound", by_key=key_id)
    # A form may lead to pages of ours only (form-action): the page that answers goes on.
    return _with_flow(market, await away(request, address), cookie)


async def away(request: Request, address: str) -> Response:
    """Return a page that goes on to an address by itself."""
    return await show(request, "away.html", lambda *_: {"address": address})


@router.get(CALLBACK)
async def callback(request: Request) -> Response:
    """Come back: look at the answer, the token and who that is here; then open a session."""
    market = market_of(request)
    provider = provider_of(request)
    flow = _opened(market, request)
    person = await _person(request, provider, flow)

    def work(tx: Transaction) -> AccessKey:
        return sign_in.enter(
            tx,
            person,
            invitation=flow.invitation,
            by_key=flow.by_key,
            by_email=market.settings.oidc_by_email,
        )

    key = await asyncio.wrap_future(market.store.submit(work))
    # Not a redirect: the chain began elsewhere, and a strict cookie would not be sent along it.
    answer = await away(request, flow.next)
    session.set_session(market, key.id, answer)
    answer.delete_cookie(COOKIE, path="/login", httponly=True, samesite="lax")
    return answer


async def _person(request: Request, provider: Provider, flow: Flow) -> Person:
    given = request.query_params
    issuer = given.get("iss")
    said = (await provider.metadata()).says_issuer
    if issuer != provider.issuer and (said or issuer is not None):  # RFC 9207
        raise refused("another service answered", "应答来自其他服务")
    if "error" in given:
        raise refused("the service says no, or it was broken off", "对方拒绝或已取消")
    code = given.get("code", "")
    if not 0 < len(code) <= MAX_VALUE:
        raise refused("no code came", "未收到授权码")
    return await provider.person(code, flow.state, _callback(market_of(request)))


async def signed_out(request: Request, answer: Response) -> Response:
    """End the key of a sign-in with its session; then the provider's own session."""
    market = market_of(request)

    def work(tx: Transaction) -> bool:
        actor = session.actor_of(market, tx, request)
        return actor is not None and sign_in.leave(tx, actor.key_id)

    try:
        ours = await asyncio.wrap_future(market.store.submit(work))
    except Forbidden:
        ours = False
    if not ours or market.sign_in is None:
        return answer
    back = market.settings.public_url.rstrip("/") + "/?done=logged_out"
    address = await market.sign_in.logout_address(back)
    return await away(request, address) if address else answer
