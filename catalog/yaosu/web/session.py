"""Who a browser is: a sealed cookie that names a key, and a token that every form carries.

The cookie holds no secret, only the id of an access key and a MAC of the market over it; a key
that is revoked ends its sessions with it. A form is taken from our own pages only: it carries a
token bound to the cookie, and a browser that says it comes from elsewhere is refused.
"""

from __future__ import annotations

import hmac
import secrets
from datetime import datetime

from fastapi import Request, Response

from yaosu.errors import Forbidden, Unauthenticated
from yaosu.identity import authenticate
from yaosu.market import Market
from yaosu.model import AccessKey, Actor
from yaosu.ports import Reader

COOKIE = "yaosu_session"
VISITOR = "yaosu_visitor"
TOKEN_FIELD = "form_token"
TOKEN_HEADER = "x-form-token"
HOURS = 12


def _sealed(market: Market, key_id: str, expires: int, nonce: str) -> str:
    body = f"{key_id}.{expires}.{nonce}"
    return f"{body}.{market.seal('session:' + body)}"


def open_session(market: Market, reader: Reader, presented: str, response: Response) -> Actor:
    """Check an access key and give the browser its session; Unauthenticated for a wrong key.

    The pages are for whole keys: one for some operations is Forbidden here.
    """
    actor = authenticate(reader, presented.strip(), now=market.clock.now())
    set_session(market, actor.key_id, response)
    return actor


def set_session(market: Market, key_id: str, response: Response) -> None:
    """Give the browser a session on a key."""
    expires = int(market.clock.now().timestamp()) + HOURS * 3600
    response.set_cookie(
        COOKIE,
        _sealed(market, key_id, expires, secrets.token_hex(8)),
        max_age=HOURS * 3600,
        path="/",
        secure=is_secure(market),
        httponly=True,
        samesite="strict",
    )


def close_session(response: Response) -> None:
    response.delete_cookie(COOKIE, path="/", httponly=True, samesite="strict")


def is_secure(market: Market) -> bool:
    """Tell whether the market is reached over TLS, so that cookies may say so."""
    return market.settings.public_url.startswith("https://")


def actor_of(market: Market, reader: Reader, request: Request) -> Actor | None:
    """Return who the session cookie stands for; None when it is absent, old or not ours."""
    cookie = request.cookies.get(COOKIE, "")
    key_id, _, rest = cookie.partition(".")
    expires, _, tail = rest.partition(".")
    nonce, _, _ = tail.partition(".")
    if not (expires.isascii() and expires.isdigit() and len(expires) < 12):
        return None
    if not hmac.compare_digest(
        _sealed(market, key_id, int(expires), nonce).encode(), cookie.encode()
    ):
        return None
    return _still_good(reader.one(AccessKey, id=key_id), int(expires), market.clock.now())


def _still_good(key: AccessKey | None, expires: int, now: datetime) -> Actor | None:
    if key is None or key.revoked_at is not None or expires <= now.timestamp():
        return None
    if key.operations is not None or key.bound_to:
        return None
    if key.expires_at is not None and key.expires_at <= now:
        return None
    return Actor(
        party_id=key.party_id,
        member_id=key.member_id,
        key_id=key.id,
        roles=frozenset(key.roles),
    )


def form_token(market: Market, request: Request) -> str:
    """Return the token of this browser's forms: bound to its session, or to its visit."""
    bound = request.cookies.get(COOKIE) or request.cookies.get(VISITOR) or ""
    return market.seal("form:" + bound) if bound else ""


def new_visitor() -> str:
    return secrets.token_urlsafe(18)


def visitor_token(market: Market, visitor: str) -> str:
    return market.seal("form:" + visitor)


def from_our_form(market: Market, request: Request, token: str) -> None:
    """Let a form pass that one of our own pages made for this browser, or raise Forbidden."""
    wanted = form_token(market, request)
    came = request.headers.get("sec-fetch-site", "same-origin")
    if (
        came not in ("same-origin", "none")
        or not wanted
        or not hmac.compare_digest(wanted.encode(), token.encode())
    ):
        raise Forbidden(
            "this form is too old, or comes from another site: load the page again",
            "表单已过期或来自其他网站，请刷新页面后重试",
            operation="form",
        )


def actor_of_script(market: Market, reader: Reader, request: Request) -> Actor | None:
    """Return whose session a script of our pages uses; it shows the form token in a header."""
    token = request.headers.get(TOKEN_HEADER)
    if token is None:
        return None
    from_our_form(market, request, token)
    return actor_of(market, reader, request)


def must_be_known(actor: Actor | None) -> Actor:
    """Return the actor, or ask to log in."""
    if actor is None:
        raise Unauthenticated("log in to go on", "请先登录")
    return actor
