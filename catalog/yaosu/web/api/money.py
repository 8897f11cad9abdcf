"""Native routes: periods, rows over the API with their metering, invoices, payout statements."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response

from yaosu import present
from yaosu.errors import InvalidInput, Stale, Unauthenticated
from yaosu.identity import absent, allow
from yaosu.model import AccessKey, Actor, Delivery, Party
from yaosu.model_money import Call, Invoice, Period
from yaosu.ports import Reader, Transaction
from yaosu.trading import invoices, metering, periods, rowset
from yaosu.trading.moves import load
from yaosu.web.door import (
    Secret,
    StrictRoute,
    change,
    json_response,
    market_of,
    page,
    presented_key,
    read_own,
)

from . import bodies

router = APIRouter(prefix="/v1", route_class=StrictRoute)

ATTEMPTS = 5


# --- periods ----------------------------------------------------------------------------------


@router.get("/trades/{trade_id}/periods", tags=["trades"])
async def trade_periods(request: Request, trade_id: str) -> Response:
    """List the periods of a trade, the first one first."""

    def look(reader: Reader, actor: Actor) -> list[dict[str, Any]]:
        load(reader, actor, trade_id)
        return [present.period(p) for p in periods.of_trade(reader, trade_id)]

    return page(request, await read_own(request, look), None)


@router.get("/periods/{period_id}", tags=["trades"])
async def one_period(request: Request, period_id: str) -> Response:
    """Show a period of a trade to its sides and to the operators that handle it."""

    def look(reader: Reader, actor: Actor) -> dict[str, Any]:
        return present.period(periods.find(reader, actor, period_id)[0])

    return json_response(await read_own(request, look))


Do = Callable[[Transaction, Actor, str, Any], Period]


def _step(action: str, body_type: type[bodies.Body], do: Do) -> None:
    async def route(request: Request, period_id: str, body: bodies.Body) -> Response:
        return await change(
            request,
            lambda tx, actor: do(tx, actor, period_id, body),
            lambda _, period: present.period(period),
        )

    route.__annotations__["body"] = body_type
    route.__doc__ = f"Take the step '{action}' of a period."
    router.add_api_route(
        f"/periods/{{period_id}}/{action}",
        route,
        methods=["POST"],
        name=f"period_{action}",
        response_model=None,
        tags=["trades"],
    )


_step(
    "confirm_payment",
    bodies.Payment,
    lambda t, a, i, b: periods.confirm_payment(
        t, a, i, amount_fen=b.amount_fen, payer=b.payer, reference=b.reference
    ),
)
_step("deliver", bodies.Handover, lambda t, a, i, b: periods.deliver(t, a, i, b.listing_id))
_step("redeliver", bodies.Handover, lambda t, a, i, b: periods.redeliver(t, a, i, b.listing_id))
_step(
    "accept",
    bodies.Acceptance,
    lambda t, a, i, b: periods.accept(t, a, i, manifest=b.manifest_digest),
)
_step("reject", bodies.Objection, lambda t, a, i, b: periods.reject(t, a, i, b.objection))
_step("bill", bodies.Nothing, lambda t, a, i, b: periods.bill(t, a, i))
_step("settle", bodies.Nothing, lambda t, a, i, b: periods.settle(t, a, i))


# --- rows over the API ------------------------------------------------------------------------


@router.post("/trades/{trade_id}/api_key", status_code=201, tags=["apis"])
async def api_key(request: Request, trade_id: str, body: bodies.Nothing) -> Response:
    """Make a metered key for the rows of a trade; it is shown once."""

    def render(_: Reader, made: tuple[AccessKey, str]) -> Secret:
        key, token = made
        shown = present.key(key)
        return Secret({**shown, "key": token}, {**shown, "key": None})

    return await change(
        request, lambda tx, actor: metering.issue(tx, actor, trade_id), render, status=201
    )


def _metered_key(request: Request) -> str:
    key = presented_key(request)
    if key is None:
        raise Unauthenticated(
            "this needs a metered key: Authorization: Bearer <key>",
            "此操作需要调用密钥：Authorization: Bearer <key>",
        )
    return key


@router.get("/apis/{delivery_id}", tags=["apis"])
async def one_api(request: Request, delivery_id: str) -> Response:
    """Show what a metered key opens: resources with their columns, quota, rate, use."""
    key, market = _metered_key(request), market_of(request)

    def look() -> dict[str, Any]:
        with market.store.read() as reader:
            _, delivery = metering.admitted(reader, key, delivery_id, market.clock.now())
            tables = {r: metering.table(reader, delivery, r) for r in delivery.resources}
            return {
                **present.delivery(delivery),
                "resources": [
                    {"name": name, "fields": t.facts["fields"], "rows": t.facts["rows"]}
                    for name, t in tables.items()
                ],
            }

    return json_response(await asyncio.to_thread(look))


@router.get("/apis/{delivery_id}/{resource}/rows", tags=["apis"])
async def rows(
    request: Request,
    delivery_id: str,
    resource: str,
    columns: Annotated[list[str] | None, Query(max_length=1000)] = None,
    filter: Annotated[list[str] | None, Query(max_length=100)] = None,
    limit: Annotated[int, Query(ge=1, le=10_000)] = 100,
    cursor: str | None = None,
) -> Response:
    """Answer with rows, and count the call: with an Idempotency-Key once, however often sent.

    A filter is `column:operator:value` (eq, ne, lt, le, gt, ge); several must all hold.
    """
    key = _metered_key(request)
    call_id = metering.call_id_of(request.headers.get("idempotency-key"))
    asked = rowset.query(columns or (), filter or (), limit, cursor)
    for _ in range(ATTEMPTS):
        try:
            found, call = await _called(request, key, delivery_id, resource, asked, call_id)
        except Stale:
            continue  # others used up what was left meanwhile
        return _rows(request, found, call)
    raise Stale("others call at the same time: try again", "并发调用过多，请重试")


async def _called(
    request: Request,
    key: str,
    delivery_id: str,
    resource: str,
    asked: rowset.Query,
    call_id: str,
) -> tuple[rowset.Page, Call]:
    """Read a page, then count it in the transaction that finds that it may be answered."""
    market = market_of(request)
    question = f"{resource}:{asked.digest}"

    def look() -> tuple[rowset.Page, str]:
        with market.store.read() as reader:
            _, delivery = metering.admitted(reader, key, delivery_id, market.clock.now())
            table = metering.table(reader, delivery, resource)
            before = metering.replayed(reader, delivery, call_id, question)
            most = before.rows if before else metering.room(delivery, asked.limit)
        path = market.blobs.path(table.sha256)
        if path is None:
            raise absent("resource", resource)
        few = rowset.Query(asked.columns, asked.filters, max(1, most), asked.start)
        return rowset.read(path, few), table.sha256

    found, sha256 = await asyncio.to_thread(look)
    answer = metering.Answer(
        resource=resource,
        query_digest=question,
        rows=found.rows,
        bytes=len(found.items),
        sha256=sha256,
        address=request.client.host if request.client is not None else "",
    )

    def step(tx: Transaction) -> Call:
        return metering.count(tx, key, delivery_id, call_id, answer)

    return found, await asyncio.wrap_future(market.store.submit(step))


def _rows(request: Request, found: rowset.Page, call: Call) -> Response:
    headers = {"cache-control": "private, no-store", "x-yaosu-units": str(call.units)}
    if found.next is not None:
        url = request.url.include_query_params(cursor=found.next)
        headers["link"] = f'<{url.path}?{url.query}>; rel="next"'
    after = f'"{found.next}"' if found.next is not None else "null"
    body = b'{"items":' + found.items + f',"next":{after},"units":{call.units}}}'.encode()
    return Response(body, headers=headers, media_type="application/json")


@router.get("/deliveries/{delivery_id}/usage", tags=["apis"])
async def usage(
    request: Request, delivery_id: str, cursor: str | None = None, limit: int = 100
) -> Response:
    """List the metered calls of a delivery to its sides, newest first."""
    size = max(1, min(limit, 1000))

    def look(reader: Reader, actor: Actor) -> tuple[Delivery, list[Call]]:
        return metering.usage(reader, actor, delivery_id, after=cursor, limit=size)

    _, found = await read_own(request, look)
    after = found[-1].id if len(found) == size else None
    return page(request, [present.call(c) for c in found], after)


# --- invoices ---------------------------------------------------------------------------------


def _day(text: str, name: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise InvalidInput("a day is YYYY-MM-DD", "日期格式为 YYYY-MM-DD", field=name) from None


@router.post("/trades/{trade_id}/invoices", status_code=201, tags=["invoices"])
async def new_invoice(request: Request, trade_id: str, body: bodies.InvoiceBody) -> Response:
    """Report an invoice over what a trade was charged."""
    return await change(
        request,
        lambda tx, actor: invoices.issue(
            tx,
            actor,
            trade_id,
            number=body.number,
            amount_fen=body.amount_fen,
            issued_on=_day(body.issued_on, "issued_on"),
            tax_fen=body.tax_fen,
            period_id=body.period_id,
            invoice_id=body.invoice_id,
        ),
        lambda _, made: present.invoice(made),
        status=201,
        location=lambda made: f"/v1/invoices/{made.id}",
    )


@router.post("/invoices/{invoice_id}/correct", status_code=201, tags=["invoices"])
async def red_invoice(request: Request, invoice_id: str, body: bodies.RedInvoice) -> Response:
    """Report an invoice in red that takes back another, or a part of it."""
    return await change(
        request,
        lambda tx, actor: invoices.correct(
            tx,
            actor,
            invoice_id,
            number=body.number,
            issued_on=_day(body.issued_on, "issued_on"),
            reason=body.reason,
            amount_fen=body.amount_fen,
            new_invoice_id=body.invoice_id,
        ),
        lambda _, made: present.invoice(made),
        status=201,
        location=lambda made: f"/v1/invoices/{made.id}",
    )


@router.get("/invoices", tags=["invoices"])
async def own_invoices(request: Request, cursor: str | None = None, limit: int = 100) -> Response:
    """List the invoices that one's organisation issued or was issued, newest first."""
    size = max(1, min(limit, 500))

    def look(reader: Reader, actor: Actor) -> list[Invoice]:
        return invoices.of_party(reader, actor.party_id, after=cursor, limit=size)

    found = await read_own(request, look)
    after = found[-1].id if len(found) == size else None
    return page(request, [present.invoice(i) for i in found], after)


@router.get("/invoices/{invoice_id}", tags=["invoices"])
async def one_invoice(request: Request, invoice_id: str) -> Response:
    """Show an invoice to the sides of its trade and to the operators that handle it."""

    def look(reader: Reader, actor: Actor) -> dict[str, Any]:
        return present.invoice(invoices.find(reader, actor, invoice_id)[0])

    return json_response(await read_own(request, look))


# --- statements -------------------------------------------------------------------------------


def days_of(params: Any, now: datetime) -> tuple[date, date]:
    """Return the days that a statement is asked for; without any, this month up to today."""
    today = now.astimezone(UTC).date()
    first, last = params.get("from"), params.get("to")
    return (
        _day(first, "from") if first else today.replace(day=1),
        _day(last, "to") if last else today,
    )


async def _statement(request: Request) -> dict[str, Any]:
    since, until = days_of(request.query_params, market_of(request).clock.now())
    wanted = request.query_params.get("party_id")

    def look(reader: Reader, actor: Actor) -> dict[str, Any]:
        party = reader.one(Party, id=wanted or actor.party_id)
        if party is None:
            raise absent("party", str(wanted))
        allow(actor, "statement.read", party)
        return invoices.statement(reader, party.id, since, until)

    return await read_own(request, look)


@router.get("/statements/payout", tags=["settlements"])
async def payout(request: Request) -> Response:
    """Return what was paid out to one's organisation (operators: any), by `from` and `to`."""
    return json_response(await _statement(request))


@router.get("/statements/payout.csv", tags=["settlements"])
async def payout_csv(request: Request) -> Response:
    """Return the same as CSV; no cell of it is a formula."""
    found = await _statement(request)
    name = f"payout-{found['from']}-{found['to']}.csv"
    return Response(
        "\ufeff" + invoices.as_csv(found["lines"]),
        media_type="text/csv; charset=utf-8",
        headers={
            "content-disposition": f'attachment; filename="{name}"',
            "cache-control": "private, no-store",
        },
    )
