"""Trades that run in periods: subscriptions, and what is metered (domain c.3).

A period is its own object with its own payment, escrow, delivery, acceptance, bill and
settlement (T7c-T13). Its steps are events of the trade, which rests in FILED meanwhile and is
vouchered when the last period is settled. What opens, ends and renews periods by time is `tick`.
"""

from __future__ import annotations

import calendar
import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from yaosu import amounts, contract, floors
from yaosu.errors import Conflict, InvalidInput, NotFound
from yaosu.identity import absent
from yaosu.model import (
    JSON,
    SYSTEM,
    Actor,
    Delivery,
    Event,
    Listing,
    ListingState,
    Trade,
    TradeState,
    Venue,
    new_id,
)
from yaosu.model_money import Period
from yaosu.ports import Reader, Transaction
from yaosu.steps import PERIOD_STEPS, Step
from yaosu_schemas.canonical import digest

from .handover import new_delivery, pay_out, revoke, vouch
from .moves import load, move, need, permit, written

T = TradeState
ENDED = frozenset({T.SETTLED, T.TERMINATED})
LEAD = timedelta(days=7)
"""The next period is opened so long before this one ends, so that it can be paid in time."""
_LENGTH = re.compile(r"P([1-9][0-9]{0,4})([DWMY])")


def after(start: datetime, length: str) -> datetime:
    """Return the end of a period: calendar months and years, on the last day where it is short."""
    match = _LENGTH.fullmatch(length)
    if match is None:
        raise InvalidInput("a period is P and days, weeks, months or years", "周期格式无效")
    count, unit = int(match[1]), match[2]
    if unit in "DW":
        return start + timedelta(days=count * (7 if unit == "W" else 1))
    months = start.month - 1 + count * (12 if unit == "Y" else 1)
    year, month = start.year + months // 12, months % 12 + 1
    return start.replace(
        year=year, month=month, day=min(start.day, calendar.monthrange(year, month)[1])
    )


# --- looking ----------------------------------------------------------------------------------


def of_trade(reader: Reader, trade_id: str) -> list[Period]:
    """Return the periods of a trade, the first one first."""
    return reader.find(Period, trade_id=trade_id, limit=2000)


def find(reader: Reader, actor: Actor, period_id: str) -> tuple[Period, Trade, Venue]:
    """Return a period of a trade that exists for the actor."""
    period = reader.one(Period, id=period_id)
    try:
        if period is None:
            raise absent("period", period_id)
        trade, venue = load(reader, actor, period.trade_id)
    except NotFound:  # whoever may not see the trade is told nothing of it
        raise absent("period", period_id) from None
    return reader.get(Period, period_id), trade, venue


def newest_version(reader: Reader, trade: Trade) -> Listing:
    """Return the newest listed version under the same MAJOR as the one that was sold."""
    sold = reader.get(Listing, trade.listing_id)
    listed = reader.find(
        Listing, dataset_id=sold.dataset_id, state=ListingState.LISTED, newest=True, limit=200
    )
    fitting = [v for v in listed if v.version >= sold.version and _major(v) == _major(sold)]
    return max(fitting, key=lambda v: v.version, default=sold)


def _major(listing: Listing) -> str:
    return str(listing.descriptor.get("version") or "").partition(".")[0]


def _metered(reader: Reader, trade: Trade) -> tuple[str, int] | None:
    if trade.terms.delivery_mode != "api":
        return None
    sold = reader.get(Listing, trade.listing_id)
    return contract.meter_of(contract.price_of(sold, trade.terms.mode))


def owed(reader: Reader, trade: Trade, period: Period) -> tuple[int, int]:
    """Return (amount in fen, measured use) that a period comes to as it stands."""
    metered = _metered(reader, trade)
    if metered is None:
        return period.amount_fen, 0
    delivery = reader.get(Delivery, period.delivery_id) if period.delivery_id else None
    used = delivery.used if delivery is not None else 0
    # Each call is counted whole; the sum is rounded once (I6).
    amount = used * trade.terms.unit_price_fen // metered[1]
    return min(amount, period.amount_fen), used


# --- steps ------------------------------------------------------------------------------------


def begin(tx: Transaction, trade: Trade) -> Trade:
    """Open the first period of a trade that has been filed."""
    return _open(tx, trade, 1, tx.now)


def _open(tx: Transaction, trade: Trade, number: int, opens_after: datetime) -> Trade:
    parts = amounts.shared_out(trade.terms.amount_fen, [1] * trade.terms.periods)
    period = Period(
        id=new_id("per"),
        trade_id=trade.id,
        provider_id=trade.provider_id,
        user_id=trade.user_id,
        venue=trade.venue,
        number=number,
        amount_fen=parts[number - 1],
        opens_after=opens_after,
        created_at=tx.now,
        updated_at=tx.now,
    )
    tx.add(period)
    tx.record(
        trade.id,
        "period_open",
        actor_id=SYSTEM.id,
        from_state=trade.state,
        to_state=trade.state,
        payload={
            "period_id": period.id,
            "number": number,
            "to": period.state,
            "amount_fen": period.amount_fen,
        },
    )
    return _deliver_if_due(tx, trade, period)


def _permit(
    tx: Transaction, actor: Actor, period_id: str, action: str, payload: JSON = None
) -> tuple[Period, Trade, Venue, Step[TradeState]]:
    period, trade, venue = find(tx, actor, period_id)
    row = permit(tx, trade, venue, action, actor, payload, table=PERIOD_STEPS, period=period)
    need(
        trade.state == T.FILED,
        f"the trade is '{trade.state}': its periods wait",
        f"交易状态为“{trade.state}”，各周期暂停",
        state=str(trade.state),
    )
    return period, trade, venue, row


_SUMMED = ("paid_fen", "billed_fen", "fee_fen", "refund_fen")


def _move(
    tx: Transaction,
    trade: Trade,
    period: Period,
    row: Step[TradeState],
    actor: Actor,
    payload: dict[str, JSON] | None = None,
    *,
    more: dict[str, Any] | None = None,
    **changes: Any,
) -> tuple[Trade, Period, Event]:
    """Write a period in its new state and the sums of its trade, with one event of the trade."""
    target = row.target or period.state
    moved = replace(period, state=target, updated_at=tx.now, **changes)
    tx.put(moved)
    sums = {n: getattr(trade, n) + getattr(moved, n) - getattr(period, n) for n in _SUMMED}
    shares = dict(trade.shares)
    for party, fen in moved.shares if not period.shares else ():
        shares[party] = shares.get(party, 0) + fen
    now = replace(trade, updated_at=tx.now, shares=tuple(shares.items()), **sums, **(more or {}))
    tx.put(now)
    event = tx.record(
        trade.id,
        row.event,
        actor_id=actor.id,
        from_state=trade.state,
        to_state=trade.state,
        payload={
            "period_id": period.id,
            "number": period.number,
            "from": period.state,
            "to": target,
            **(payload or {}),
        },
    )
    return now, moved, event


def _row(action: str) -> Step[TradeState]:
    return next(s for s in PERIOD_STEPS if s.action == action)


def confirm_payment(
    tx: Transaction, actor: Actor, period_id: str, *, amount_fen: int, payer: str, reference: str
) -> Period:
    """T7c: what is due for a period has arrived; it stands in the period's own escrow."""
    payload = {"amount_fen": amount_fen, "payer": payer, "reference": reference}
    period, trade, venue, row = _permit(tx, actor, period_id, "confirm_payment", payload)
    postpaid = trade.terms.payment_timing == "postpaid"
    need(
        (period.state == T.SETTLING) == postpaid,
        "a prepaid period is paid before it is delivered, a postpaid one when it is billed",
        "预付费周期在交付前付款，后付费周期在出账后付款",
    )
    due = period.billed_fen if postpaid else period.amount_fen
    need(period.paid_at is None, "the payment was confirmed already", "付款已确认")
    need(due > 0, "there is nothing to pay", "无需付款")
    need(
        amount_fen == due and payer == trade.user_id,
        "amount and payer must be those of the contract",
        "金额与付款方须与合同一致",
        amount_fen=due,
        payer=trade.user_id,
    )
    trade, paid, event = _move(
        tx,
        trade,
        period,
        row,
        actor,
        payload,
        paid_fen=amount_fen,
        paid_at=tx.now,
        payment_ref=reference,
    )
    buyer = f"buyer:{trade.user_id}"
    tx.post(trade.id, event, {buyer: -amount_fen, f"escrow:{paid.id}": amount_fen})
    if paid.state == T.FILED:
        _deliver_if_due(tx, trade, paid)
    elif venue.party_id is None:
        _settle(tx, trade, venue, paid, SYSTEM)
    return tx.get(Period, period.id)


def _is_paid(trade: Trade, period: Period) -> bool:
    return trade.terms.payment_timing == "postpaid" or period.paid_fen == period.amount_fen


def _deliver_if_due(tx: Transaction, trade: Trade, period: Period) -> Trade:
    """Deliver by itself what is paid and due, if the offer stands or an earlier one was delivered.

    A version below the agreed quality blocks that; the period then says why.
    """
    due = period.state == T.FILED and tx.now >= period.opens_after and _is_paid(trade, period)
    if not due or not (trade.standing or period.number > 1):
        return trade
    try:
        return _deliver(tx, trade, period, _row("deliver"), SYSTEM, newest_version(tx, trade))
    except Conflict as why:  # below the agreed quality, or recalled
        said = f"{why.en} / {why.zh}"
        if period.reason != said:
            tx.put(replace(period, reason=said, updated_at=tx.now))
        return trade


def deliver(tx: Transaction, actor: Actor, period_id: str, listing_id: str | None = None) -> Period:
    """T8: hand over the newest version, or one that the provider names; floors are kept."""
    period, trade, _, row = _permit(tx, actor, period_id, "deliver")
    need(_is_paid(trade, period), "the payment has not been confirmed", "付款尚未确认")
    need(
        tx.now >= period.opens_after,
        f"this period begins on {period.opens_after:%Y-%m-%d}",
        f"该周期自 {period.opens_after:%Y-%m-%d} 开始",
    )
    _deliver(tx, trade, period, row, actor, _version(tx, trade, listing_id))
    return tx.get(Period, period.id)


def _version(tx: Reader, trade: Trade, listing_id: str | None) -> Listing:
    if listing_id is None:
        return newest_version(tx, trade)
    sold, found = tx.get(Listing, trade.listing_id), tx.one(Listing, id=listing_id)
    fits = (
        found is not None
        and found.dataset_id == sold.dataset_id
        and _major(found) == _major(sold)
        and (found.id == sold.id or found.state == ListingState.LISTED)
    )
    if found is None or not fits:
        raise InvalidInput(
            "this is no listed version of what was sold, under the same major number",
            "该版本不是所售数据集同一主版本下的在挂版本",
            field="listing_id",
        )
    return found


def _deliver(
    tx: Transaction,
    trade: Trade,
    period: Period,
    row: Step[TradeState],
    actor: Actor,
    listing: Listing,
) -> Trade:
    floors.require(tx, trade.terms.floors, listing)
    delivery = new_delivery(tx, trade, listing, period)
    payload: dict[str, JSON] = {
        "delivery_id": delivery.id,
        "manifest_digest": delivery.manifest_digest,
        "content_digest": delivery.content_digest,
    }
    changes: dict[str, Any] = {
        "delivery_id": delivery.id,
        "listing_id": listing.id,
        "objection": "",
        "reason": "",
    }
    return _move(tx, trade, period, row, actor, payload, **changes)[0]


def redeliver(
    tx: Transaction, actor: Actor, period_id: str, listing_id: str | None = None
) -> Period:
    """T11, second half: the provider accepts the objection and delivers again."""
    period, trade, _, row = _permit(tx, actor, period_id, "redeliver")
    need(bool(period.objection), "the delivery is under way", "正在交付中")
    revoke(tx, period.delivery_id)
    _deliver(tx, trade, period, row, actor, _version(tx, trade, listing_id))
    return tx.get(Period, period.id)


def delivered(tx: Transaction, period_id: str, delivery_id: str) -> Period:
    """T9: every byte was read, every row is at hand; access opens until the period ends."""
    period, trade, _ = find(tx, SYSTEM, period_id)
    if period.state != T.DELIVERING or period.delivery_id != delivery_id or trade.state != T.FILED:
        return period
    delivery = tx.get(Delivery, delivery_id)
    if delivery.revoked_at is not None:
        return period  # recalled while it was being prepared
    start = period.starts_at or max(tx.now, period.opens_after)
    end = period.ends_at or after(start, trade.terms.period)
    tx.put(replace(delivery, state="open", opens_at=tx.now, closes_at=end))
    payload: dict[str, JSON] = {
        "delivery_id": delivery.id,
        "manifest_digest": delivery.manifest_digest,
    }
    moved = _move(
        tx,
        trade,
        period,
        _row("delivered"),
        SYSTEM,
        payload,
        more={"delivery_id": delivery.id},
        starts_at=start,
        ends_at=end,
    )[1]
    if trade.auto_accept and delivery.mode == "file":
        return accept(tx, SYSTEM, moved.id, manifest=delivery.manifest_digest)
    return moved


def reject(tx: Transaction, actor: Actor, period_id: str, objection: str) -> Period:
    """T11, first half: the buyer objects within the inspection period."""
    period, trade, _, row = _permit(tx, actor, period_id, "reject")
    until = (period.starts_at or tx.now) + timedelta(days=trade.terms.inspection_days)
    need(
        tx.now <= until,
        f"the inspection period ended on {until:%Y-%m-%d}: a dispute can still be opened",
        f"验收期已于 {until:%Y-%m-%d} 届满，仍可发起争议",
        next=["accept", "dispute"],
    )
    payload: dict[str, JSON] = {"objection_digest": digest(written(objection))}
    return _move(tx, trade, period, row, actor, payload, objection=objection)[1]


def accept(tx: Transaction, actor: Actor, period_id: str, *, manifest: str) -> Period:
    """T10: the buyer accepts what it names by the manifest's digest."""
    period, trade, venue, row = _permit(tx, actor, period_id, "accept")
    delivery = tx.get(Delivery, str(period.delivery_id))
    need(
        manifest == delivery.manifest_digest,
        "this is not the manifest that was delivered",
        "与交付清单不符",
        manifest_digest=delivery.manifest_digest,
    )
    trade, period, _ = _move(tx, trade, period, row, actor, {"manifest_digest": manifest})
    _run_on(tx, trade, venue, period)
    return tx.get(Period, period.id)


def _run_on(tx: Transaction, trade: Trade, venue: Venue, period: Period) -> None:
    """Bill and settle by itself where there is no exchange: the rest is arithmetic."""
    if venue.party_id is not None or period.state != T.ACCEPTED or not _closed(tx, trade, period):
        return
    trade, period = _bill(tx, trade, period, _row("bill"), SYSTEM)
    if trade.terms.payment_timing != "postpaid" or not period.billed_fen:
        _settle(tx, trade, venue, period, SYSTEM)


def _closed(tx: Reader, trade: Trade, period: Period) -> bool:
    """Tell whether metering is closed: nothing more can be counted."""
    if _metered(tx, trade) is None:
        return True
    now = getattr(tx, "now", trade.updated_at)
    return period.ends_at is not None and now >= period.ends_at


def bill(tx: Transaction, actor: Actor, period_id: str) -> Period:
    """T12: the bill over a period: its price, or what was used of it."""
    period, trade, _, row = _permit(tx, actor, period_id, "bill")
    need(
        _closed(tx, trade, period),
        "the period still runs: its use is billed when it has ended",
        "周期尚未结束，到期后按用量出账",
        ends_at=str(period.ends_at),
    )
    return _bill(tx, trade, period, row, actor)[1]


def _bill(
    tx: Transaction, trade: Trade, period: Period, row: Step[TradeState], actor: Actor
) -> tuple[Trade, Period]:
    amount, used = owed(tx, trade, period)
    number = f"B{trade.agreement['contract_no'][2:]}-{period.number}"
    payload: dict[str, JSON] = {"bill_no": number, "amount_fen": amount, "used": used}
    return _move(
        tx, trade, period, row, actor, payload, bill_no=number, billed_fen=amount, used=used
    )[:2]


def settle(tx: Transaction, actor: Actor, period_id: str) -> Period:
    """T13: escrow goes to the right holders and the place of trading, what is too much back."""
    period, trade, venue, row = _permit(tx, actor, period_id, "settle")
    need(
        period.paid_fen >= period.billed_fen,
        f"paid {period.paid_fen} fen, billed {period.billed_fen} fen",
        f"已付 {period.paid_fen} 分，账单 {period.billed_fen} 分",
        paid_fen=period.paid_fen,
        billed_fen=period.billed_fen,
    )
    _settle(tx, trade, venue, period, actor, row)
    return tx.get(Period, period.id)


def _settle(
    tx: Transaction,
    trade: Trade,
    venue: Venue,
    period: Period,
    actor: Actor,
    row: Step[TradeState] | None = None,
) -> Trade:
    trade = _paid_out(tx, trade, venue, period, row or _row("settle"), actor, period.billed_fen)
    return _conclude(tx, trade)


def _paid_out(
    tx: Transaction,
    trade: Trade,
    venue: Venue,
    period: Period,
    row: Step[TradeState],
    actor: Actor,
    earned: int,
    **changes: Any,
) -> Trade:
    """Empty a period's escrow: what was earned is shared out, the rest goes back."""
    rate = int(trade.agreement.get("fee_permyriad", venue.fee_permyriad))
    out = min(earned, period.paid_fen)
    fee, shares = amounts.split(out, rate, trade.provider_id, contract.agreed_shares(tx, trade))
    refund = period.paid_fen - out
    payload: dict[str, JSON] = {
        "amount_fen": out,
        "fee_fen": fee,
        "shares": [list(s) for s in shares],
        "refund_fen": refund,
    }
    if "reason" in changes:
        payload["reason"] = changes["reason"]
    trade, period, event = _move(
        tx,
        trade,
        period,
        row,
        actor,
        payload,
        settled_at=tx.now,
        fee_fen=fee,
        shares=shares,
        refund_fen=refund,
        **changes,
    )
    escrow = f"escrow:{period.id}"
    pay_out(tx, trade, event, escrow, venue, fee=fee, shares=shares, refund=refund)
    return trade


# --- ends -------------------------------------------------------------------------------------


def stop(tx: Transaction, actor: Actor, trade_id: str, reason: str = "") -> Trade:
    """Either side ends the renewal: the period that runs goes to its end, and no other opens."""
    trade, venue = load(tx, actor, trade_id)
    row = permit(tx, trade, venue, "stop", actor, None)
    need(bool(trade.terms.period), "this trade has no periods", "该交易没有周期")
    need(trade.stopped_at is None, "the renewal has been stopped already", "续期已停止")
    moved = move(tx, trade, row, actor, {"reason": reason}, stopped_at=tx.now, reason=reason)[0]
    last = of_trade(tx, trade.id)[-1]
    if last.state == T.FILED and last.number > 1:
        moved = _end(tx, moved, venue, last, "stopped")
    return _conclude(tx, moved)


def end_all(tx: Transaction, trade: Trade, venue: Venue, reason: str) -> Trade:
    """End every period of a trade that is terminated; what was not used goes back (T17)."""
    for period in of_trade(tx, trade.id):
        if period.state not in ENDED:
            trade = _end(tx, trade, venue, period, reason)
    return trade


def _end(tx: Transaction, trade: Trade, venue: Venue, period: Period, reason: str) -> Trade:
    """End one period: access closes, what it earned so far is paid out, the rest goes back."""
    earned, used = earned_by(tx, trade, period)
    revoke(tx, period.delivery_id)
    billed: dict[str, Any] = {
        "bill_no": period.bill_no,
        "billed_fen": earned,
        "used": used,
        "reason": reason,
    }
    return _paid_out(tx, trade, venue, period, _row("end"), SYSTEM, earned, **billed)


def earned_by(tx: Transaction, trade: Trade, period: Period) -> tuple[int, int]:
    """Return (fen earned, measured use) of a period that is cut off now.

    By use where it is metered, else by time, to the second; before the delivery, nothing.
    """
    if period.starts_at is None or period.ends_at is None:
        return 0, 0
    amount, used = owed(tx, trade, period)
    if _metered(tx, trade) is not None:
        return amount, used
    if period.state == T.SETTLING:
        return period.billed_fen, used
    whole = int((period.ends_at - period.starts_at).total_seconds())
    left = int((period.ends_at - tx.now).total_seconds())
    return amount - amounts.unused(amount, left, whole), used


def _conclude(tx: Transaction, trade: Trade) -> Trade:
    """Vouch for the trade when its last period has ended (FILED → VOUCHERED)."""
    every = of_trade(tx, trade.id)
    more = every[-1].number < trade.terms.periods and trade.stopped_at is None
    if more and not _lapsed(every[-1]):
        return trade
    if any(p.state not in ENDED for p in every):
        return trade
    venue = tx.get(Venue, trade.venue)
    if all(p.state == T.TERMINATED for p in every):  # nothing was delivered: nothing to vouch for
        row = permit(tx, trade, venue, "terminate", SYSTEM, None)
        return move(tx, trade, row, SYSTEM, {"reason": every[-1].reason})[0]
    row = permit(tx, trade, venue, "conclude", SYSTEM, None)
    return vouch(tx, replace(trade, settled_at=tx.now), row, SYSTEM)


def _lapsed(period: Period) -> bool:
    return period.state == T.TERMINATED


# --- time -------------------------------------------------------------------------------------


def tick(tx: Transaction, trade_id: str) -> None:
    """Do what time asks of a trade's periods: end, deliver, renew, let lapse. Run daily."""
    trade, venue = load(tx, SYSTEM, trade_id)
    if trade.state != T.FILED or not trade.terms.period:
        return
    for period in of_trade(tx, trade.id):
        if period.state in ENDED:
            continue
        _tick(tx, tx.get(Trade, trade.id), venue, period)
    trade = tx.get(Trade, trade.id)
    if trade.state != T.FILED:
        return
    last = of_trade(tx, trade.id)[-1]
    renews = trade.stopped_at is None and last.number < trade.terms.periods
    if renews and last.ends_at is not None and tx.now >= last.ends_at - _lead(last):
        _open(tx, trade, last.number + 1, last.ends_at)


def _tick(tx: Transaction, trade: Trade, venue: Venue, period: Period) -> None:
    if period.state == T.FILED:
        lapsed = tx.now >= after(period.opens_after, trade.terms.period)
        if lapsed and not _is_paid(trade, period):
            _conclude(tx, _end(tx, trade, venue, period, "not paid in time / 未按期付款"))
        else:
            _deliver_if_due(tx, trade, period)
    if period.ends_at is None or tx.now < period.ends_at:
        return
    if period.state == T.DELIVERED:
        delivery = tx.get(Delivery, str(period.delivery_id))
        if delivery.mode == "api" or trade.terms.silent_acceptance:
            accept(tx, SYSTEM, period.id, manifest=delivery.manifest_digest)
    elif period.state == T.ACCEPTED:
        _run_on(tx, trade, venue, period)


def _lead(period: Period) -> timedelta:
    if period.starts_at is None or period.ends_at is None:
        return timedelta()
    return min(LEAD, (period.ends_at - period.starts_at) / 2)


def running(reader: Reader) -> Iterator[str]:
    """Yield the trades that run in periods and have not ended, oldest first."""
    after_id: str | None = None
    while page := reader.find(Trade, state=T.FILED, after=after_id, limit=500):
        yield from (trade.id for trade in page if trade.terms.period)
        after_id = page[-1].id
