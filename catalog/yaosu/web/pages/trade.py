"""Pages of trading: the order, the list of one's trades, and a trade with its next steps."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote

import orjson
from fastapi import APIRouter, Request, Response

from yaosu import present
from yaosu.errors import InvalidInput, NotFound, YaosuError
from yaosu.identity import allow, may, relations
from yaosu.model import (
    Actor,
    Delivery,
    Event,
    Listing,
    Member,
    Party,
    SigningKey,
    Trade,
    TradeState,
)
from yaosu.ports import Reader, Transaction
from yaosu.trading import endings, fulfilment, negotiation, periods, reads, recall
from yaosu.trading.moves import load
from yaosu.trading.reads import uses
from yaosu.trading.record import neutral_record
from yaosu.web import session
from yaosu.web.api.exchange import table as as_table
from yaosu.web.api.trade import is_open, links, visible_trades

from .market import dataset_view
from .money import money_facts
from .steps_forms import fen, given_terms, trade_forms, whole
from .visit import (
    Form,
    PageRoute,
    Visit,
    act,
    market_of,
    one,
    read_form,
    read_of,
    see_other,
    show,
)

router = APIRouter(route_class=PageRoute, include_in_schema=False)

PATH = (
    "intent",
    "negotiating",
    "agreed",
    "compliance",
    "signed",
    "filed",
    "delivering",
    "delivered",
    "accepted",
    "settling",
    "settled",
    "vouchered",
    "completed",
)
MOVING = frozenset({"signed", "delivering", "accepted", "settling", "settled"})
"""States that the market itself may leave at any moment: the page looks again by itself."""
PAGE = 50


# --- ordering ---------------------------------------------------------------------------------


@router.post("/datasets/{publisher}/{name}/order")
async def order(request: Request, publisher: str, name: str) -> Response:
    """Say that one wants to buy, and, where there is a standing offer, take it (T1, T2a)."""
    form = await read_form(request)

    def step(tx: Transaction, actor: Actor) -> Trade:
        wanted = negotiation.intend(
            tx, actor, one(form, "listing_id"), _wish(form), trade_id=one(form, "trade_id") or None
        )
        if one(form, "take") != "yes" or wanted.terms.mode == "negotiated":
            return wanted
        return negotiation.take(
            tx,
            actor,
            wanted.id,
            wanted.offer_digest,
            accept_on_delivery=one(form, "accept_on_delivery") == "yes",
        )

    async def again(error: YaosuError, status: int) -> Response:
        if error.code == "already_exists":  # the same form was sent twice
            return see_other(f"/trades/{quote(one(form, 'trade_id'))}")
        return await dataset_view(request, publisher, name, error=error, status=status, given=form)

    return await act(request, step, lambda t: f"/trades/{t.id}?done=ordered", again=again)


def _wish(form: Form) -> dict[str, Any]:
    days = one(form, "term_days")
    return {
        "mode": one(form, "mode") or None,
        "quantity": whole(one(form, "quantity", "1"), "quantity", low=1),
        "purpose": one(form, "purpose")[:4000],
        "scenario": one(form, "scenario")[:4000],
        "rights": form.get("rights") or ["use"],
        "term_days": whole(days, "term_days", low=1, high=36_500) if days else None,
        "amount_fen": fen(one(form, "amount")) if one(form, "amount") else 0,
        "qualification": one(form, "qualification")[:4000],
        "note": one(form, "note")[:4000],
    }


# --- the list ---------------------------------------------------------------------------------


@router.get("/trades")
async def trades(request: Request) -> Response:
    """One's trades on either side, newest first; operators see those that they handle."""
    wanted = request.query_params.get("state", "")
    cursor = request.query_params.get("cursor")

    def look(reader: Reader, visit: Visit) -> Mapping[str, Any]:
        where = {"state": TradeState(wanted)} if wanted in set(TradeState) else {}
        found = visible_trades(reader, visit.known, where, cursor, PAGE)
        return {
            "rows": [_row(reader, t, visit.known) for t in found],
            "states": PATH + ("cancelled", "terminated", "disputed"),
            "wanted": wanted,
            "after": found[-1].id if len(found) == PAGE else None,
        }

    return await show(request, "trades.html", look)


def _row(reader: Reader, trade: Trade, actor: Actor) -> dict[str, Any]:
    listing = reader.get(Listing, trade.listing_id)
    other = trade.provider_id if actor.party_id == trade.user_id else trade.user_id
    return {
        "trade": trade,
        "listing": listing,
        "other": present.party(reader.get(Party, other)),
        "side": "buyer"
        if actor.party_id == trade.user_id
        else "provider"
        if actor.party_id == trade.provider_id
        else "operator",
    }


# --- one trade --------------------------------------------------------------------------------


@router.get("/trades/{trade_id}")
async def one_trade(request: Request, trade_id: str) -> Response:
    """A trade: where it stands, what happened, what this viewer may do next."""
    return await trade_view(request, trade_id)


async def trade_view(
    request: Request, trade_id: str, error: YaosuError | None = None, status: int = 200
) -> Response:
    def look(reader: Reader, visit: Visit) -> Mapping[str, Any]:
        return trade_facts(request, reader, visit, trade_id)

    return await show(request, "trade.html", look, status=status, error=error)


def trade_facts(request: Request, reader: Reader, visit: Visit, trade_id: str) -> dict[str, Any]:
    """Return what the page of a trade shows to this viewer."""
    actor = visit.known
    trade, venue = load(reader, actor, trade_id)
    listing = reader.get(Listing, trade.listing_id)
    provider, user = reader.get(Party, trade.provider_id), reader.get(Party, trade.user_id)
    delivery = reader.one(Delivery, id=trade.delivery_id) if trade.delivery_id else None
    mine = relations(actor, trade, venue)
    forms = trade_forms(trade, venue, actor, listing, delivery)
    events = reader.events(trade.id)
    open_now = delivery is not None and is_open(delivery, visit.market.clock.now())
    return {
        "trade": trade,
        "shown": present.trade(trade, provider, user, contacts=True),
        "listing": listing,
        "venue": venue,
        "provider": present.party(provider),
        "user": present.party(user),
        "path": _path(trade, events),
        "events": [_event(reader, e) for e in events],
        "forms": [f for f in forms if f.action != "sign"],
        "may_sign": any(f.action == "sign" for f in forms),
        "signing_keys": _signing_keys(reader, actor),
        "delivery": delivery,
        "files": links(request, delivery, actor.key_id)
        if delivery is not None and open_now and "buyer" in mine
        else None,
        **money_facts(reader, trade, venue, actor),
        "postings": reader.postings(trade.id),
        "uses": uses(reader, trade.id) if may(actor, "reads.read", trade, venue) else [],
        "recalled": any(n.state != "released" for n in recall.notices(reader, trade.id)),
        "moving": trade.state in MOVING and not any(f.weight == "main" for f in forms),
        "side": "buyer" if "buyer" in mine else "provider" if "provider" in mine else "operator",
    }


def _signing_keys(reader: Reader, actor: Actor) -> list[dict[str, Any]]:
    found = reader.find(SigningKey, party_id=actor.party_id, limit=200)
    return [present.signing_key(k) for k in found if k.revoked_at is None]


def _path(trade: Trade, events: list[Event]) -> list[dict[str, Any]]:
    """Return the states of the way through, each as done, now or ahead, with its time."""
    reached = {e.to_state: e.at for e in events if e.to_state}
    ended = trade.state in ("cancelled", "terminated", "disputed")
    last = max((PATH.index(s) for s in reached if s in PATH), default=0)
    found = []
    for i, name in enumerate(PATH):
        if name not in reached and (
            i < last
            or (name == "compliance" and not trade.assessment_required)
            or (name == "negotiating" and last == 0 and trade.standing)
        ):
            continue
        if ended and i > last:
            continue
        place = "done" if i < last or ended or trade.state == "completed" else "now"
        found.append(
            {"state": name, "place": place if i <= last else "ahead", "at": reached.get(name)}
        )
    if ended:
        found.append({"state": str(trade.state), "place": "ended", "at": trade.updated_at})
    return found


def _event(reader: Reader, event: Event) -> dict[str, Any]:
    """Return a link of the chain with the organisation that acted; people stay unnamed."""
    member = reader.one(Member, id=event.actor_id)
    party = reader.one(Party, id=member.party_id) if member else None
    return {
        "event": event,
        "by": present.party(party) if party else None,
        "leaf": reader.leaf_of(event.id),
    }


@router.get("/trades/{trade_id}/receipt.json")
async def receipt(request: Request, trade_id: str) -> Response:
    """The receipt as a file: it proves the trade offline."""

    def look() -> None:
        with market_of(request).store.read() as reader:
            actor = session.must_be_known(session.actor_of(market_of(request), reader, request))
            trade, venue = load(reader, actor, trade_id)
            allow(actor, "receipt.read", trade, venue)

    await read_of(request, look)
    body = await asyncio.to_thread(market_of(request).receipt, trade_id)
    return _download(body, f"{trade_id}.receipt.json")


@router.get("/trades/{trade_id}/record.json")
async def record(request: Request, trade_id: str) -> Response:
    """The neutral trading record as a file."""

    def look() -> bytes:
        with market_of(request).store.read() as reader:
            actor = session.must_be_known(session.actor_of(market_of(request), reader, request))
            trade, _ = load(reader, actor, trade_id)
            return orjson.dumps(neutral_record(reader, trade), option=orjson.OPT_INDENT_2)

    return _download(await read_of(request, look), f"{trade_id}.record.json")


@router.get("/trades/{trade_id}/reads.csv")
async def reads_table(request: Request, trade_id: str) -> Response:
    """The audit of reads as a file: as much of it as this viewer may see."""

    def look() -> tuple[tuple[str, ...], list[list[Any]]]:
        with market_of(request).store.read() as reader:
            actor = session.must_be_known(session.actor_of(market_of(request), reader, request))
            return reads.table(reader, actor, trade_id)

    names, rows = await read_of(request, look)
    return as_table("csv", f"{trade_id}-reads", reads.header(names), rows)


def _download(body: bytes, name: str) -> Response:
    return Response(
        body,
        media_type="application/json",
        headers={
            "content-disposition": f'attachment; filename="{name}"',
            "cache-control": "private, no-store",
        },
    )


# --- steps ------------------------------------------------------------------------------------

Do = Callable[[Transaction, Actor, str, Form], Trade]


def _payment(tx: Transaction, actor: Actor, trade_id: str, form: Form) -> Trade:
    trade, _ = load(tx, actor, trade_id)
    return fulfilment.confirm_payment(
        tx,
        actor,
        trade_id,
        amount_fen=fen(one(form, "amount")),
        payer=trade.user_id,
        reference=_needed(form, "reference"),
    )


def _needed(form: Form, name: str) -> str:
    text = one(form, name)[:4000]
    if not text:
        raise InvalidInput(f"'{name}' is needed", f"“{name}”为必填项", field=name)
    return text


STEPS: Mapping[str, Do] = {
    "answer": lambda t, a, i, f: negotiation.answer(t, a, i, _changes(t, a, i, f)),
    "counter": lambda t, a, i, f: negotiation.counter(t, a, i, _changes(t, a, i, f)),
    "agree": lambda t, a, i, f: negotiation.agree(t, a, i, one(f, "offer_digest")),
    "take": lambda t, a, i, f: negotiation.take(
        t, a, i, one(f, "offer_digest"), accept_on_delivery=one(f, "accept_on_delivery") == "yes"
    ),
    "assess": lambda t, a, i, f: negotiation.assess(
        t, a, i, passed=one(f, "passed") == "yes", opinion=one(f, "opinion")
    ),
    "refuse": lambda t, a, i, f: negotiation.refuse(t, a, i, one(f, "reason")),
    "cancel": lambda t, a, i, f: negotiation.cancel(t, a, i, one(f, "reason")),
    "file": lambda t, a, i, f: fulfilment.file(t, a, i, filing_no=_needed(f, "filing_no")),
    "refuse_filing": lambda t, a, i, f: fulfilment.refuse_filing(t, a, i, one(f, "reason")),
    "confirm_payment": _payment,
    "deliver": lambda t, a, i, f: fulfilment.deliver(t, a, i),
    "redeliver": lambda t, a, i, f: fulfilment.redeliver(t, a, i),
    "accept": lambda t, a, i, f: fulfilment.accept(t, a, i, manifest=one(f, "manifest_digest")),
    "reject": lambda t, a, i, f: fulfilment.reject(t, a, i, one(f, "objection")),
    "bill": lambda t, a, i, f: fulfilment.bill(t, a, i),
    "settle": lambda t, a, i, f: fulfilment.settle(t, a, i),
    "voucher": lambda t, a, i, f: fulfilment.voucher(t, a, i),
    "complete": lambda t, a, i, f: fulfilment.complete(t, a, i),
    "rate": lambda t, a, i, f: fulfilment.rate(
        t, a, i, whole(one(f, "score"), "score", low=1, high=5), one(f, "text")
    ),
    "terminate": lambda t, a, i, f: endings.terminate(t, a, i, one(f, "reason")),
    "dispute": lambda t, a, i, f: endings.dispute(
        t, a, i, ground=one(f, "ground"), channel=one(f, "channel", "negotiation")
    ),
    "resolve": lambda t, a, i, f: endings.resolve(
        t,
        a,
        i,
        outcome=one(f, "outcome"),
        to=one(f, "to"),
        refund_fen=fen(one(f, "refund")) if one(f, "refund") else None,
    ),
    "exhibit": lambda t, a, i, f: endings.exhibit(
        t, a, i, text=one(f, "text")[:4000], about=one(f, "digest")
    ),
    "correct": lambda t, a, i, f: endings.correct(
        t,
        a,
        i,
        reason=_needed(f, "reason"),
        lines={
            _needed(f, "from_account"): -fen(one(f, "amount")),
            _needed(f, "to_account"): fen(one(f, "amount")),
        },
    ),
    "stop": lambda t, a, i, f: periods.stop(t, a, i, one(f, "reason")),
}


def _changes(tx: Transaction, actor: Actor, trade_id: str, form: Form) -> dict[str, Any]:
    """Return only the terms that the form changes."""
    trade, _ = load(tx, actor, trade_id)
    return {n: v for n, v in given_terms(form).items() if getattr(trade.terms, n) != v}


def signature_of(form: Form) -> dict[str, Any]:
    """Return the signature that a form holds: made in the browser, elsewhere, or asked for."""
    key_id, _, held = one(form, "key").partition(":")
    if held == "platform":
        return {"key_id": key_id, "platform": True}
    return {"key_id": key_id, "value": "".join(one(form, "value").split())}


@router.post("/trades/{trade_id}/{action}")
async def step(request: Request, trade_id: str, action: str) -> Response:
    """Take a step of the trade's table."""
    form = await read_form(request)
    sign = market_of(request).sign_for
    if action == "sign":

        def do(tx: Transaction, actor: Actor) -> Trade:
            return negotiation.sign(tx, actor, trade_id, signature_of(form), sign)

    elif action in STEPS:

        def do(tx: Transaction, actor: Actor) -> Trade:
            return STEPS[action](tx, actor, trade_id, form)

    else:
        raise NotFound("no such step", "没有此步骤", action=action[:40])

    async def again(error: YaosuError, status: int) -> Response:
        if error.code == "not_found":
            raise error
        return await trade_view(request, trade_id, error, status)

    here = f"/trades/{quote(trade_id)}"
    return await act(request, do, lambda _: f"{here}?done=step", again=again, waits=here)
