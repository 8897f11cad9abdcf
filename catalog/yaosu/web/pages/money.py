"""Pages of money: periods and invoices of a trade, a metered key, the payout statement."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Mapping
from datetime import date
from typing import Any
from urllib.parse import quote

from fastapi import APIRouter, Request, Response

from yaosu.errors import InvalidInput, NotFound, YaosuError
from yaosu.identity import allow, may, relations
from yaosu.model import Actor, Delivery, Trade, Venue
from yaosu.model_money import Invoice, Period
from yaosu.ports import Reader, Transaction
from yaosu.steps import PERIOD_STEPS, Relation
from yaosu.trading import invoices, metering, periods
from yaosu.web import session
from yaosu.web.api.money import days_of

from .steps_forms import Field, StepForm, fen
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
    show,
    visit_of,
)

router = APIRouter(route_class=PageRoute, include_in_schema=False)


# --- what the page of a trade shows of its money ----------------------------------------------


def money_facts(reader: Reader, trade: Trade, venue: Venue, actor: Actor) -> dict[str, Any]:
    """Return the periods with the steps of this viewer, the metered delivery and the invoices."""
    delivery = reader.get(Delivery, trade.delivery_id) if trade.delivery_id else None
    found = periods.of_trade(reader, trade.id) if trade.terms.period else []
    issued = reader.find(Invoice, trade_id=trade.id, limit=1000)
    charged = max(trade.billed_fen, trade.paid_fen - trade.refund_fen)
    return {
        "periods": [
            {"period": p, "forms": list(_forms(reader, trade, venue, p, actor))} for p in found
        ],
        "api": delivery if delivery is not None and delivery.mode == "api" else None,
        "invoices": issued,
        "may_invoice": may(actor, "invoice.issue", trade, venue)
        and sum(i.amount_fen for i in issued) < charged,
    }


def _forms(
    reader: Reader, trade: Trade, venue: Venue, period: Period, actor: Actor
) -> Iterator[StepForm]:
    mine = relations(actor, trade, venue)
    if venue.party_id is not None:
        mine -= {Relation.ADMIN}
    postpaid = trade.terms.payment_timing == "postpaid"
    paid = postpaid or period.paid_fen == period.amount_fen
    for row in PERIOD_STEPS:
        if period.state not in row.sources or not row.actors & mine or trade.state != "filed":
            continue
        fields: tuple[Field, ...] = ()
        if row.action == "confirm_payment":
            due = period.billed_fen if postpaid else period.amount_fen
            if period.paid_at is not None or not due or (period.state == "settling") != postpaid:
                continue
            fields = (
                Field(name="amount", kind="money", value=f"{due // 100}.{due % 100:02d}"),
                Field(name="reference"),
            )
        elif row.action == "deliver":
            if not paid:
                continue
            fields = (Field(name="listing_id", needed=False),)
        elif row.action == "redeliver":
            if not period.objection:
                continue
            fields = (Field(name="listing_id", needed=False),)
        elif row.action == "accept":
            manifest = reader.get(Delivery, str(period.delivery_id)).manifest_digest
            fields = (Field(name="manifest_digest", kind="hidden", value=manifest),)
        elif row.action == "reject":
            fields = (Field(name="objection", kind="long"),)
        grave = row.action == "reject"
        yield StepForm(action=row.action, fields=fields, weight="grave" if grave else "main")


Do = Callable[[Transaction, Actor, str, Form], Period]
STEPS: Mapping[str, Do] = {
    "confirm_payment": lambda t, a, i, f: periods.confirm_payment(
        t,
        a,
        i,
        amount_fen=fen(one(f, "amount")),
        payer=periods.find(t, a, i)[1].user_id,
        reference=one(f, "reference")[:300],
    ),
    "deliver": lambda t, a, i, f: periods.deliver(t, a, i, one(f, "listing_id") or None),
    "redeliver": lambda t, a, i, f: periods.redeliver(t, a, i, one(f, "listing_id") or None),
    "accept": lambda t, a, i, f: periods.accept(t, a, i, manifest=one(f, "manifest_digest")),
    "reject": lambda t, a, i, f: periods.reject(t, a, i, one(f, "objection")),
    "bill": lambda t, a, i, f: periods.bill(t, a, i),
    "settle": lambda t, a, i, f: periods.settle(t, a, i),
}


async def _shown_again(request: Request, trade_id: str, error: YaosuError, status: int) -> Response:
    from .trade import trade_view

    if error.code == "not_found":
        raise error
    return await trade_view(request, trade_id, error, status)


@router.post("/trades/{trade_id}/periods/{period_id}/{action}")
async def period_step(request: Request, trade_id: str, period_id: str, action: str) -> Response:
    """Take a step of a period."""
    form = await read_form(request)
    if action not in STEPS:
        raise NotFound("no such step", "没有此步骤", action=action[:40])
    here = f"/trades/{quote(trade_id)}"
    return await act(
        request,
        lambda tx, actor: STEPS[action](tx, actor, period_id, form),
        lambda _: f"{here}?done=step",
        again=lambda error, status: _shown_again(request, trade_id, error, status),
        waits=here,
    )


@router.post("/trades/{trade_id}/invoices")
async def new_invoice(request: Request, trade_id: str) -> Response:
    """Report an invoice."""
    form = await read_form(request)
    here = f"/trades/{quote(trade_id)}"

    def step(tx: Transaction, actor: Actor) -> Invoice:
        return invoices.issue(
            tx,
            actor,
            trade_id,
            number=one(form, "number")[:100],
            amount_fen=fen(one(form, "amount")),
            issued_on=_day(one(form, "issued_on")),
        )

    return await act(
        request,
        step,
        lambda _: f"{here}?done=step",
        again=lambda error, status: _shown_again(request, trade_id, error, status),
    )


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise InvalidInput(
            "a day is YYYY-MM-DD", "日期格式为 YYYY-MM-DD", field="issued_on"
        ) from None


@router.post("/trades/{trade_id}/api_key")
async def api_key(request: Request, trade_id: str) -> Response:
    """Make a metered key and show it this once."""
    await read_form(request)
    market = market_of(request)

    def step(tx: Transaction) -> str:
        actor = session.must_be_known(session.actor_of(market, tx, request))
        return metering.issue(tx, actor, trade_id)[1]

    key = await asyncio.wrap_future(market.store.submit(step))

    def look() -> Visit:
        with market.store.read() as reader:
            return visit_of(request, reader)

    return html(await read_of(request, look), "key.html", {"key": key}, 201)


# --- the payout statement ---------------------------------------------------------------------


def _statement(request: Request, reader: Reader, visit: Visit) -> dict[str, Any]:
    since, until = days_of(request.query_params, visit.market.clock.now())
    allow(visit.known, "statement.read", visit.party)
    return invoices.statement(reader, visit.known.party_id, since, until)


@router.get("/payout")
async def payout(request: Request) -> Response:
    """What was paid out to one's organisation between two days."""
    return await show(
        request, "payout.html", lambda reader, visit: {"found": _statement(request, reader, visit)}
    )


@router.get("/payout.csv")
async def payout_csv(request: Request) -> Response:
    """The same as CSV; no cell of it is a formula."""

    def look() -> dict[str, Any]:
        with market_of(request).store.read() as reader:
            return _statement(request, reader, visit_of(request, reader))

    found = await read_of(request, look)
    return Response(
        "\ufeff" + invoices.as_csv(found["lines"]),
        media_type="text/csv; charset=utf-8",
        headers={
            "content-disposition": 'attachment; filename="payout.csv"',
            "cache-control": "private, no-store",
        },
    )
