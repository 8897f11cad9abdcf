"""Pages of webhooks: where events are sent, what became of each message, dead letters."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote

from fastapi import APIRouter, Request, Response

from yaosu.errors import InvalidInput, YaosuError
from yaosu.model import Actor
from yaosu.model_outside import Message, Webhook
from yaosu.ports import Reader, Transaction
from yaosu.web import session
from yaosu.web.api.webhooks import secret_facts
from yaosu.webhooks import hooks
from yaosu_connectors.exchange import names

from .visit import (
    Form,
    PageRoute,
    Visit,
    act,
    market_of,
    one,
    read_form,
    show,
    status_of,
)

router = APIRouter(route_class=PageRoute, include_in_schema=False)
PAGE = 50
TOPICS = ("trade.*", "listing.*", "party.*", "*")


def _list_facts(form: Form | None = None) -> Callable[[Reader, Visit], Mapping[str, Any]]:
    def look(reader: Reader, visit: Visit) -> Mapping[str, Any]:
        return {
            "hooks": [hooks.shown(h) for h in hooks.of_party(reader, visit.known)],
            "topics": TOPICS,
            "forms": names(),
            "given": form or {},
        }

    return look


@router.get("/webhooks")
async def webhooks(request: Request) -> Response:
    """The webhooks of one's own party, and the form for another."""
    return await show(request, "webhooks.html", _list_facts())


@router.post("/webhooks")
async def create(request: Request) -> Response:
    """Add a webhook; its secret is shown on the page that answers, once."""
    form = await read_form(request)
    market = market_of(request)

    def work(tx: Transaction) -> Webhook:
        actor = session.must_be_known(session.actor_of(market, tx, request))
        return hooks.create(
            tx,
            actor,
            url=one(form, "url"),
            topics=form.get("topics", []),
            description=one(form, "description")[:300],
            scheme=hooks.scheme_of(one(form, "scheme", "v1")),
            form=one(form, "form"),
        )

    try:
        market.gate.target(one(form, "url"))
        made = await asyncio.wrap_future(market.store.submit(work))
    except YaosuError as error:
        return await show(
            request, "webhooks.html", _list_facts(form), status=status_of(error), error=error
        )
    return await _page(request, made.id, secret=secret_facts(request, made), status=201)


@router.get("/webhooks/{webhook_id}")
async def one_webhook(request: Request, webhook_id: str) -> Response:
    """How far a webhook has come, its latest messages, and what can be done."""
    return await _page(request, webhook_id)


async def _page(
    request: Request,
    webhook_id: str,
    *,
    secret: Mapping[str, Any] | None = None,
    error: YaosuError | None = None,
    status: int = 200,
) -> Response:
    wanted = request.query_params.get("state", "")
    cursor = request.query_params.get("cursor")

    def look(reader: Reader, visit: Visit) -> Mapping[str, Any]:
        hook = hooks.load(reader, visit.known, webhook_id)
        states = {"state": wanted} if wanted in ("dead", "pending", "delivered", "parked") else {}
        found = reader.find(
            Message, webhook_id=hook.id, after=cursor, limit=PAGE, newest=True, **states
        )
        return {
            "hook": hooks.shown(hook),
            "messages": [hooks.message_shown(m) for m in found],
            "dead": reader.count(Message, webhook_id=hook.id, state="dead"),
            "parked": reader.count(Message, webhook_id=hook.id, state="parked"),
            "after": found[-1].id if len(found) == PAGE else None,
            "secret": secret or {},
            "wanted": wanted,
        }

    return await show(request, "webhook.html", look, status=status, error=error)


@router.post("/webhooks/{webhook_id}/rotate")
async def rotate(request: Request, webhook_id: str) -> Response:
    """Begin a new secret and show it once."""
    await read_form(request)
    market = market_of(request)

    def work(tx: Transaction) -> Webhook:
        actor = session.must_be_known(session.actor_of(market, tx, request))
        return hooks.rotate(tx, actor, webhook_id)

    made = await asyncio.wrap_future(market.store.submit(work))
    return await _page(request, made.id, secret=secret_facts(request, made))


def _replay(tx: Transaction, actor: Actor, webhook_id: str, form: Form) -> Webhook:
    text = one(form, "event_id")
    if not text.isascii() or not text.isdigit() or len(text) > 18:
        raise InvalidInput("an event has a number", "事件编号应为数字", field="event_id")
    return hooks.replay(tx, actor, webhook_id, int(text))


_STEPS: Mapping[str, Callable[[Transaction, Actor, str, Form], object]] = {
    "pause": lambda tx, actor, name, _: hooks.pause(tx, actor, name),
    "resume": lambda tx, actor, name, _: hooks.resume(tx, actor, name),
    "ping": lambda tx, actor, name, _: hooks.ping(tx, actor, name),
    "remove": lambda tx, actor, name, _: hooks.remove(tx, actor, name),
    "replay": _replay,
    "retry": lambda tx, actor, name, form: hooks.second_chance(
        tx, actor, name, one(form, "message_id")
    ),
}


@router.post("/webhooks/{webhook_id}/{action}")
async def step(request: Request, webhook_id: str, action: str) -> Response:
    """Take one of the steps of a webhook."""
    form = await read_form(request)
    do = _STEPS.get(action)
    if do is None:
        raise InvalidInput("no such step", "没有此操作", field="action")
    here = "/webhooks" if action == "remove" else f"/webhooks/{quote(webhook_id)}"

    async def again(error: YaosuError, status: int) -> Response:
        if error.code == "not_found":
            raise error
        return await _page(request, webhook_id, error=error, status=status)

    return await act(
        request,
        lambda tx, actor: do(tx, actor, webhook_id, form),
        lambda _: f"{here}?done=step",
        again=again,
    )
