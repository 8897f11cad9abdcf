"""Pages of who one is: log in with an access key, sign up, keys for access and for signing."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from fastapi import APIRouter, Request, Response

from yaosu import identity, operations, present
from yaosu.errors import InvalidInput, NotFound, YaosuError
from yaosu.identity import absent
from yaosu.model import AccessKey, Actor, Member, Party, Role, SigningKey
from yaosu.model_organisation import SignIn
from yaosu.organisation import sign_in
from yaosu.ports import Reader, Transaction
from yaosu.web import session
from yaosu_schemas.codes import code_list

from .sign_in import signed_out
from .visit import (
    Form,
    PageRoute,
    Visit,
    act,
    html,
    market_of,
    one,
    read_form,
    read_of,
    see_other,
    show,
    status_of,
    visit_of,
)

router = APIRouter(route_class=PageRoute, include_in_schema=False)


def safe_next(url: str) -> str:
    """Return where to go after logging in: a path of this market, never another site."""
    if url.startswith("/") and not url.startswith(("//", "/\\")) and url.isprintable():
        return url
    return "/"


@router.get("/login")
async def login(request: Request) -> Response:
    """The form that takes an access key."""
    back = safe_next(request.query_params.get("next", "/"))
    return await show(request, "login.html", lambda *_: {"next": back})


@router.post("/login")
async def log_in(request: Request) -> Response:
    """Open a session for the bearer of a key; the key itself is kept nowhere."""
    form = await read_form(request)
    back = safe_next(one(form, "next", "/"))
    answer = see_other(back)

    def work() -> None:
        market = market_of(request)
        with market.store.read() as reader:
            session.open_session(market, reader, one(form, "key"), answer)

    try:
        await read_of(request, work)
    except YaosuError as error:
        return await show(
            request, "login.html", lambda *_: {"next": back}, status=status_of(error), error=error
        )
    return answer


@router.post("/logout")
async def log_out(request: Request) -> Response:
    """End the session in this browser."""
    await read_form(request)
    answer = await signed_out(request, see_other("/?done=logged_out"))
    session.close_session(answer)
    return answer


# --- signing up -------------------------------------------------------------------------------


def _signup_facts(form: Form | None = None) -> Mapping[str, Any]:
    return {"given": form or {}, "holder_types": list(code_list("holder_type"))}


@router.get("/signup")
async def signup(request: Request) -> Response:
    """The form that registers an organisation or a person."""
    return await show(request, "signup.html", lambda *_: _signup_facts())


@router.post("/signup")
async def sign_up(request: Request) -> Response:
    """Register, open a session, and show the first key once."""
    form = await read_form(request)
    market = market_of(request)

    def work(tx: Transaction) -> tuple[Party, str]:
        return identity.register_party(
            tx,
            slug=one(form, "slug"),
            name=_needed(form, "name"),
            name_en=one(form, "name_en"),
            member=_needed(form, "member"),
            roles=frozenset(Role(r) for r in form.get("roles", ()) if r in ("provider", "buyer")),
            holder_type=_holder_type(form),
            uscc=one(form, "uscc") or None,
            contact={
                name: one(form, name) for name in ("person", "phone", "email") if one(form, name)
            },
        )

    try:
        if not form.get("roles"):
            raise InvalidInput("choose at least one role", "请至少选择一种角色", field="roles")
        _, key = await asyncio.wrap_future(market.store.submit(work))
    except YaosuError as error:
        return await show(
            request,
            "signup.html",
            lambda *_: _signup_facts(form),
            status=status_of(error),
            error=error,
        )
    return await key_page(request, key)


def _holder_type(form: Form) -> str:
    given = one(form, "holder_type", "legal_person")
    if given not in code_list("holder_type"):
        raise InvalidInput("no such kind of organisation", "未知的主体类型", field="holder_type")
    return given


def _needed(form: Form, name: str) -> str:
    value = one(form, name)[:300]
    if not value:
        raise InvalidInput(f"'{name}' is needed", f"“{name}”为必填项", field=name)
    return value


async def key_page(request: Request, key: str) -> Response:
    """Show a new key, once; whoever is not logged in goes on from the form with it."""

    def work() -> Visit:
        with market_of(request).store.read() as reader:
            return visit_of(request, reader)

    visit = await read_of(request, work)
    answer = html(visit, "key.html", {"key": key}, 201)
    answer.headers["cache-control"] = "no-store"
    return answer


# --- keys -------------------------------------------------------------------------------------


def _keys_facts(reader: Reader, visit: Visit) -> Mapping[str, Any]:
    actor = visit.known
    mine: dict[str, Any] = {"party_id": actor.party_id, "limit": 500}
    return {
        "keys": [
            present.key(k) for k in reader.find(AccessKey, **mine) if k.scope != sign_in.SESSION
        ],
        "bound": reader.count(SignIn, member_id=actor.member_id),
        "signing_keys": [present.signing_key(k) for k in reader.find(SigningKey, **mine)],
        "members": {m.id: m.name for m in reader.find(Member, **mine)},
        "roles": sorted(actor.roles),
        "operations": operations.told(operations.useful_to(actor.roles)),
        "current": actor.key_id,
        "party": present.party(reader.get(Party, actor.party_id), private=True),
    }


@router.get("/keys")
async def keys(request: Request) -> Response:
    """Who one is, one's access keys and signing keys."""
    return await show(request, "keys.html", _keys_facts)


async def _keys_again(request: Request, error: YaosuError, status: int) -> Response:
    return await show(request, "keys.html", _keys_facts, status=status, error=error)


@router.post("/keys/new")
async def new_key(request: Request) -> Response:
    """Make another access key; it is shown once, on the page that answers."""
    form = await read_form(request)
    market = market_of(request)

    def work(tx: Transaction) -> str:
        actor = session.must_be_known(session.actor_of(market, tx, request))
        wanted = frozenset(Role(r) for r in form.get("roles", ()) if r in set(Role))
        if not wanted or not wanted <= actor.roles:
            raise InvalidInput(
                "choose from the roles of your own key", "请从当前密钥的角色中选择", field="roles"
            )
        days = one(form, "days")
        if one(form, "member"):
            return identity.add_member(tx, actor, one(form, "member")[:300], wanted)[1]
        return identity.new_key(
            tx,
            actor,
            roles=wanted,
            label=one(form, "label")[:300],
            days=int(days) if days.isdigit() and 0 < int(days) <= 3650 else None,
            operations=form.get("operations") or None,
            bound_to=one(form, "bound_to").split(),
        )[1]

    try:
        key = await asyncio.wrap_future(market.store.submit(work))
    except (InvalidInput, NotFound) as error:
        return await _keys_again(request, error, status_of(error))
    return await key_page(request, key)


@router.post("/keys/{key_id}/rotate")
async def rotate(request: Request, key_id: str) -> Response:
    """Replace a key of one's own; the new one is shown once, the old one works for a day."""
    await read_form(request)
    market = market_of(request)

    def work(tx: Transaction) -> str:
        actor = session.must_be_known(session.actor_of(market, tx, request))
        return identity.rotate_key(tx, actor, key_id)[1]

    try:
        key = await asyncio.wrap_future(market.store.submit(work))
    except YaosuError as error:
        return await _keys_again(request, error, status_of(error))
    return await key_page(request, key)


@router.post("/keys/{key_id}/revoke")
async def revoke(request: Request, key_id: str) -> Response:
    """End an access key at once, and every session that was opened with it."""
    await read_form(request)
    return await act(
        request,
        lambda tx, actor: identity.revoke_key(tx, actor, key_id),
        lambda _: "/keys?done=revoked",
    )


@router.post("/keys/signing")
async def new_signing_key(request: Request) -> Response:
    """Register a public key made in the browser, or have the market hold one."""
    form = await read_form(request)
    market = market_of(request)

    def step(tx: Transaction, actor: Actor) -> SigningKey:
        label = one(form, "label")[:300]
        if one(form, "held_by") != "platform":
            return identity.add_signing_key(tx, actor, one(form, "public_key"), label=label)
        public, save = market.new_platform_key()
        made = identity.add_signing_key(tx, actor, public, held_by="platform", label=label)
        save(made.id)
        return made

    back = safe_next(one(form, "next", "/keys"))
    return await act(
        request,
        step,
        lambda _: f"{back.split('?')[0]}?done=signing_key",
        again=lambda error, status: _keys_again(request, error, status),
    )


@router.post("/keys/signing/{key_id}/revoke")
async def revoke_signing_key(request: Request, key_id: str) -> Response:
    """Say that a signing key is not to be used any more."""
    await read_form(request)

    def step(tx: Transaction, actor: Actor) -> None:
        key = tx.one(SigningKey, id=key_id)
        if key is None or key.party_id != actor.party_id:
            raise absent("signing key", key_id)
        tx.put(replace(key, revoked_at=key.revoked_at or tx.now))
        tx.record(
            actor.party_id, "signing_key_revoked", actor_id=actor.id, payload={"key_id": key_id}
        )

    return await act(request, step, lambda _: "/keys?done=revoked")
