"""Native routes: trades, deliveries, settlements, events, jobs."""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import Callable
from datetime import datetime
from typing import Annotated, Any

from fastapi import APIRouter, Request, Response
from pydantic import Field

from yaosu import present
from yaosu.errors import Forbidden, InvalidInput
from yaosu.identity import absent, allow, can_see, may, must_see
from yaosu.jobs import restart as restart_job
from yaosu.listing import venue_of
from yaosu.model import AccessKey, Actor, Delivery, Job, Party, Trade, TradeState, Venue
from yaosu.ports import Reader, Transaction
from yaosu.trading import endings, fulfilment, negotiation, periods, sharing
from yaosu.trading.moves import load
from yaosu.trading.recall import flows
from yaosu.trading.record import neutral_record
from yaosu.web.door import (
    Secret,
    StrictRoute,
    change,
    header,
    json_response,
    market_of,
    must_match,
    page,
    read_own,
)
from yaosu.web.paid import paid
from yaosu.web.ranged import ranged
from yaosu.webhooks.feed import concerns
from yaosu_connectors.delta_sharing import profile
from yaosu_connectors.exchange import form as exchange_form

from . import bodies

Serial = Annotated[int, Field(ge=0, lt=2**63)]
"""A position in the store: what a database takes for a number."""

router = APIRouter(prefix="/v1", route_class=StrictRoute, tags=["trades"])


def shown(reader: Reader, trade: Trade) -> dict[str, Any]:
    """Return the trade as its sides and operators see it."""
    return present.trade(
        trade,
        reader.get(Party, trade.provider_id),
        reader.get(Party, trade.user_id),
        contacts=True,
    )


# --- making trades ----------------------------------------------------------------------------


@router.post("/trades", status_code=201)
async def new_trade(request: Request, body: bodies.NewTrade) -> Response:
    """Say that one wants to buy (T1)."""
    return await change(
        request,
        lambda tx, actor: negotiation.intend(
            tx, actor, body.listing_id, body.wish.model_dump(), trade_id=body.trade_id
        ),
        shown,
        status=201,
        location=lambda trade: f"/v1/trades/{trade.id}",
    )


@router.post("/listings/{listing_id}/quote")
async def quote(request: Request, listing_id: str, body: bodies.Wish) -> Response:
    """Draw up the agreement that buying now would make; nothing is stored."""
    now = market_of(request).clock.now()

    def look(reader: Reader, actor: Actor) -> dict[str, Any]:
        return negotiation.quote(reader, actor, listing_id, body.model_dump(), now)

    return json_response(await read_own(request, look))


@router.post("/listings/{listing_id}/buy", status_code=201)
async def buy(request: Request, listing_id: str, body: bodies.Purchase) -> Response:
    """Take the standing offer, sign, and let follow what follows by itself (T1 to T15)."""
    sign = market_of(request).sign_for

    def step(tx: Transaction, actor: Actor) -> Trade:
        return negotiation.buy(
            tx,
            actor,
            listing_id,
            body.wish.model_dump(),
            body.signature.model_dump(),
            sign,
            trade_id=body.trade_id,
            quoted_at=_time(body.quoted_at),
            accept_on_delivery=body.accept_on_delivery,
        )

    return await change(
        request, step, shown, status=201, location=lambda trade: f"/v1/trades/{trade.id}"
    )


def _time(text: str | None) -> datetime | None:
    if text is None:
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        at = datetime.min
    if at.tzinfo is None:
        raise InvalidInput(
            "a time is RFC 3339 with an offset", "时间应为带时区的 RFC 3339 格式", field="quoted_at"
        )
    return at


@router.get("/trades")
async def trades(
    request: Request, state: str | None = None, cursor: str | None = None, limit: int = 50
) -> Response:
    """List one's trades as either side, newest first; operators see those they handle."""
    size = max(1, min(limit, 100))
    where: dict[str, Any] = {}
    if state:
        try:
            where["state"] = TradeState(state)
        except ValueError:
            raise InvalidInput(
                f"states are: {', '.join(TradeState)}",
                f"状态取值：{'、'.join(TradeState)}",
                field="state",
            ) from None

    def look(reader: Reader, actor: Actor) -> tuple[list[dict[str, Any]], str | None]:
        found = visible_trades(reader, actor, where, cursor, size)
        after = found[-1].id if len(found) == size else None
        return [shown(reader, t) for t in found], after

    return page(request, *await read_own(request, look))


def visible_trades(
    reader: Reader, actor: Actor, where: dict[str, Any], cursor: str | None, size: int
) -> list[Trade]:
    """Return the trades that exist for the actor, newest first."""
    ways: list[dict[str, Any]] = [{"user_id": actor.party_id}, {"provider_id": actor.party_id}]
    places = [v.id for v in reader.find(Venue, party_id=actor.party_id, limit=100)]
    if places and "exchange" in actor.roles:
        ways.append({"venue": tuple(places)})
    if "admin" in actor.roles:
        ways = [{}]
    elif "reviewer" in actor.roles and "state" not in where:
        ways.append({"state": (TradeState.AGREED, TradeState.COMPLIANCE, TradeState.DISPUTED)})
    found = {
        trade.id: trade
        for way in ways
        for trade in reader.find(Trade, after=cursor, limit=size, newest=True, **{**way, **where})
    }
    chosen = [found[i] for i in sorted(found, reverse=True)][:size]
    return [t for t in chosen if can_see(actor, t, venue_of(reader, t))]


# --- one trade --------------------------------------------------------------------------------


@router.get("/trades/{trade_id}")
async def one_trade(request: Request, trade_id: str) -> Response:
    """Show a trade to its sides and to the operators that handle it."""

    def look(reader: Reader, actor: Actor) -> dict[str, Any]:
        return shown(reader, load(reader, actor, trade_id)[0])

    return json_response(await read_own(request, look))


@router.get("/trades/{trade_id}/events")
async def trade_events(request: Request, trade_id: str) -> Response:
    """Return the evidence chain of a trade, event 0 first."""

    def look(reader: Reader, actor: Actor) -> list[dict[str, Any]]:
        load(reader, actor, trade_id)
        return [present.event(e) for e in reader.events(trade_id)]

    return page(request, await read_own(request, look), None)


@router.get("/trades/{trade_id}/receipt")
async def trade_receipt(request: Request, trade_id: str) -> Response:
    """Return the receipt: one file that proves the trade offline."""

    def look(reader: Reader, actor: Actor) -> None:
        trade, venue = load(reader, actor, trade_id)
        allow(actor, "receipt.read", trade, venue)

    await read_own(request, look)
    body = await asyncio.to_thread(market_of(request).receipt, trade_id)
    name = f"{trade_id}.receipt.json"
    return Response(
        body,
        media_type="application/json",
        headers={"content-disposition": f'attachment; filename="{name}"'},
    )


@router.get("/trades/{trade_id}/record")
async def trade_record(request: Request, trade_id: str, form: str = "") -> Response:
    """Return the neutral trading record of a trade (dictionary c.1), or a form of it."""
    said = exchange_form(form).say if form else dict

    def look(reader: Reader, actor: Actor) -> dict[str, Any]:
        trade, _ = load(reader, actor, trade_id)
        return said(neutral_record(reader, trade))

    return json_response(await read_own(request, look))


@router.get("/settlements/{trade_id}", tags=["settlements"])
async def settlement(request: Request, trade_id: str) -> Response:
    """Return the postings of a trade: balanced, append-only."""

    def look(reader: Reader, actor: Actor) -> dict[str, Any]:
        load(reader, actor, trade_id)
        lines = reader.postings(trade_id)
        accounts = {line.account: 0 for line in lines}
        for line in lines:
            accounts[line.account] += line.amount_fen
        return {
            "trade_id": trade_id,
            "postings": [present.posting(line) for line in lines],
            "balances": accounts,
        }

    return json_response(await read_own(request, look))


# --- steps ------------------------------------------------------------------------------------

Do = Callable[[Transaction, Actor, str, Any], Trade]


def _step(action: str, body_type: type[bodies.Body], do: Do) -> None:
    async def route(request: Request, trade_id: str, body: bodies.Body) -> Response:
        def step(tx: Transaction, actor: Actor) -> Trade:
            if header(request, b"if-match"):
                must_match(request, load(tx, actor, trade_id)[0])
            return do(tx, actor, trade_id, body)

        return await change(request, step, shown)

    route.__annotations__["body"] = body_type
    route.__doc__ = f"Take the step '{action}'."
    router.add_api_route(
        f"/trades/{{trade_id}}/{action}",
        route,
        methods=["POST"],
        name=f"trade_{action}",
        response_model=None,
    )


def _changes(body: Any) -> dict[str, Any]:
    given: dict[str, Any] = body.model_dump(exclude_unset=True)
    return {name: value for name, value in given.items() if value is not None}


@router.post("/trades/{trade_id}/sign")
async def sign(request: Request, trade_id: str, body: bodies.Signed) -> Response:
    """Sign the agreement with one's own key, or have the market sign (T6)."""
    by = market_of(request).sign_for
    return await change(
        request,
        lambda tx, actor: negotiation.sign(tx, actor, trade_id, body.signature.model_dump(), by),
        shown,
    )


_step("answer", bodies.Answer, lambda t, a, i, b: negotiation.answer(t, a, i, _changes(b.changes)))
_step(
    "counter", bodies.Answer, lambda t, a, i, b: negotiation.counter(t, a, i, _changes(b.changes))
)
_step("agree", bodies.Agreed, lambda t, a, i, b: negotiation.agree(t, a, i, b.offer_digest))
_step(
    "take",
    bodies.Taken,
    lambda t, a, i, b: negotiation.take(
        t, a, i, b.offer_digest, accept_on_delivery=b.accept_on_delivery
    ),
)
_step(
    "assess",
    bodies.AssessmentBody,
    lambda t, a, i, b: negotiation.assess(t, a, i, passed=b.passed, opinion=b.opinion),
)
_step("refuse", bodies.Reason, lambda t, a, i, b: negotiation.refuse(t, a, i, b.reason))
_step("cancel", bodies.OptionalReason, lambda t, a, i, b: negotiation.cancel(t, a, i, b.reason))
_step("file", bodies.Filing, lambda t, a, i, b: fulfilment.file(t, a, i, filing_no=b.filing_no))
_step(
    "refuse_filing", bodies.Reason, lambda t, a, i, b: fulfilment.refuse_filing(t, a, i, b.reason)
)
_step(
    "confirm_payment",
    bodies.Payment,
    lambda t, a, i, b: fulfilment.confirm_payment(
        t, a, i, amount_fen=b.amount_fen, payer=b.payer, reference=b.reference
    ),
)
_step("deliver", bodies.Nothing, lambda t, a, i, b: fulfilment.deliver(t, a, i))
_step("redeliver", bodies.Nothing, lambda t, a, i, b: fulfilment.redeliver(t, a, i))
_step(
    "accept",
    bodies.Acceptance,
    lambda t, a, i, b: fulfilment.accept(t, a, i, manifest=b.manifest_digest),
)
_step("reject", bodies.Objection, lambda t, a, i, b: fulfilment.reject(t, a, i, b.objection))
_step("bill", bodies.Nothing, lambda t, a, i, b: fulfilment.bill(t, a, i))
_step("settle", bodies.Nothing, lambda t, a, i, b: fulfilment.settle(t, a, i))
_step("voucher", bodies.Nothing, lambda t, a, i, b: fulfilment.voucher(t, a, i))
_step("complete", bodies.Nothing, lambda t, a, i, b: fulfilment.complete(t, a, i))
_step("rate", bodies.Rating, lambda t, a, i, b: fulfilment.rate(t, a, i, b.score, b.text))
_step("terminate", bodies.Reason, lambda t, a, i, b: endings.terminate(t, a, i, b.reason))
_step(
    "dispute",
    bodies.DisputeBody,
    lambda t, a, i, b: endings.dispute(
        t,
        a,
        i,
        ground=b.ground,
        channel=b.channel,
        evidence=tuple(e.model_dump() for e in b.evidence),
    ),
)
_step(
    "resolve",
    bodies.Outcome,
    lambda t, a, i, b: endings.resolve(
        t, a, i, outcome=b.outcome, to=b.to, refund_fen=b.refund_fen
    ),
)
_step(
    "exhibit",
    bodies.Exhibit,
    lambda t, a, i, b: endings.exhibit(t, a, i, text=b.text, about=b.digest),
)
_step(
    "correct",
    bodies.CorrectionBody,
    lambda t, a, i, b: endings.correct(
        t, a, i, reason=b.reason, lines={line.account: line.amount_fen for line in b.lines}
    ),
)
_step("stop", bodies.OptionalReason, lambda t, a, i, b: periods.stop(t, a, i, b.reason))


# --- deliveries -------------------------------------------------------------------------------


def links(request: Request, delivery: Delivery, key_id: str) -> list[dict[str, Any]]:
    """Return the files with links that work for a while, without a key."""
    market = market_of(request)
    expires = market.links_expire()
    base = str(request.url_for("delivered_file", delivery_id=delivery.id, number=0))[:-1]
    return [
        {
            "path": f.path,
            "bytes": f.bytes,
            "sha256": f.sha256,
            "url": f"{base}{n}?expires={expires}"
            f"&key={key_id}"
            f"&signature={market.link_signature(delivery.id, n, expires, key_id)}",
        }
        for n, f in enumerate(delivery.files)
    ]


@router.get("/deliveries/{delivery_id}", tags=["deliveries"])
async def one_delivery(request: Request, delivery_id: str) -> Response:
    """Return the manifest; to the buyer with links, while the delivery is open."""

    def look(reader: Reader, actor: Actor) -> tuple[Delivery, str]:
        found = reader.one(Delivery, id=delivery_id)
        if found is None:
            raise absent("delivery", delivery_id)
        venue = venue_of(reader, reader.get(Trade, found.trade_id))
        must_see(actor, found, venue)
        return found, actor.key_id if may(actor, "delivery.read", found, venue) else ""

    found, key_id = await read_own(request, look)
    body = present.delivery(found)
    if key_id and is_open(found, market_of(request).clock.now()):
        body["files"] = links(request, found, key_id)
    return json_response(body)


def is_open(delivery: Delivery, now: datetime) -> bool:
    """Tell whether the buyer may fetch files now."""
    return (
        delivery.state == "open"
        and delivery.mode == "file"  # rows over the API are served, and counted, elsewhere
        and delivery.revoked_at is None
        and (delivery.closes_at is None or now < delivery.closes_at)
    )


_FILE = "/deliveries/{delivery_id}/files/{number}"


@router.head(_FILE, tags=["deliveries"], name="delivered_file_head")
@router.get(_FILE, tags=["deliveries"], name="delivered_file")
async def delivered_file(
    request: Request,
    delivery_id: str,
    number: int,
    expires: int = 0,
    key: str = "",
    signature: str = "",
) -> Response:
    """Serve one delivered file to the bearer of a link: whole or one range (RFC 9110 §14)."""
    market = market_of(request)
    now = market.clock.now()
    wanted = market.link_signature(delivery_id, number, expires, key)
    if not hmac.compare_digest(wanted.encode(), signature.encode()):
        raise Forbidden("this link is not valid", "链接无效", operation="delivery.read")
    if expires < now.timestamp():
        raise Forbidden(
            "this link has expired: ask for the delivery again", "链接已过期，请重新获取交付清单"
        )
    with market.store.read() as reader:
        found = reader.one(Delivery, id=delivery_id)
        if found is not None and not flows(reader, found):
            found = None
    if found is None or not 0 <= number < len(found.files) or not is_open(found, now):
        raise absent("delivery", delivery_id)
    file = found.files[number]
    who = paid(request, found, key, "file", file.path)
    return ranged(request, market.blobs, file.sha256, file.bytes, file.path, who)


@router.post("/trades/{trade_id}/profile", status_code=201, tags=["deliveries"])
async def share_profile(request: Request, trade_id: str, body: bodies.Nothing) -> Response:
    """Make a Delta Sharing profile for the tables of a delivery; its token is shown once."""
    endpoint = str(request.base_url) + "delta-sharing/"

    def render(_: Reader, made: tuple[AccessKey, str]) -> Secret:
        key, token = made
        expires = key.expires_at.isoformat() if key.expires_at else None
        shown = profile(endpoint, token, expires)
        return Secret({**shown, "key_id": key.id}, {**shown, "bearerToken": None, "key_id": key.id})

    return await change(
        request, lambda tx, actor: sharing.issue(tx, actor, trade_id), render, status=201
    )


# --- feeds and jobs ---------------------------------------------------------------------------


@router.get("/events", tags=["events"])
async def events(request: Request, after: Serial = 0, limit: int = 100) -> Response:
    """Return the events of what exists for the asker, in store order, from a position on."""
    size = max(1, min(limit, 500))

    def look(reader: Reader, actor: Actor) -> tuple[list[dict[str, Any]], int]:
        found = reader.events_after(max(0, after), limit=size)
        mine = [present.event(e) for e in found if concerns(reader, actor, e.subject_id)]
        return mine, found[-1].id if found else after

    items, last = await read_own(request, look)
    return json_response({"items": items, "next": last})


@router.get("/jobs", tags=["operation"])
async def jobs(request: Request, state: str | None = None) -> Response:
    """List jobs; state 'dead' are those that a person has to look at."""

    def look(reader: Reader, actor: Actor) -> list[Job]:
        allow(actor, "jobs")
        return reader.jobs(state=state, limit=500)

    return page(request, [present.job(j) for j in await read_own(request, look)], None)


@router.post("/jobs/{job_id}/restart", tags=["operation"])
async def restart(request: Request, job_id: Serial, body: bodies.Nothing) -> Response:
    """Give a dead job its attempts back."""

    def step(tx: Transaction, actor: Actor) -> Job:
        allow(actor, "jobs")
        return restart_job(tx, job_id)

    return await change(request, step, lambda _, job: present.job(job))
