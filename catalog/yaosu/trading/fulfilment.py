"""From a signed contract to a settled, recorded trade: the steps T7-T19 of domain c.3.

Every function is one step over a transaction: table, guard, change, postings, one event. What
touches the outside (reading blobs, building receipts) is a job.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from yaosu import amounts, contract, floors
from yaosu.errors import InvalidInput
from yaosu.model import SYSTEM, Actor, Delivery, Listing, Trade, TradeState
from yaosu.ports import Transaction
from yaosu_schemas.canonical import digest

from . import periods
from .handover import new_delivery, pay_out, revoke, vouch
from .moves import load, move, need, permit, written
from .recall import is_recalled

DELIVERY_DAYS = 30


# --- filing, payment, delivery ----------------------------------------------------------------


def file(tx: Transaction, actor: Actor, trade_id: str, *, filing_no: str) -> Trade:
    """T7: the exchange files the contract under a unique number; 场外 files by itself."""
    trade, venue = load(tx, actor, trade_id)
    row = permit(tx, trade, venue, "file", actor, {"filing_no": filing_no})
    if actor == SYSTEM:
        need(not venue.filing_required, "the exchange files this contract", "需由交易场所备案")
        filing_no = str(trade.agreement["contract_no"])
    if not filing_no:
        raise InvalidInput("a filing has a number", "备案需要编号", field="filing_no")
    need(
        tx.one(Trade, venue=trade.venue, filing_no=filing_no) is None,
        "this filing number is taken",
        "备案号已被使用",
    )
    filed, _ = move(tx, trade, row, actor, {"filing_no": filing_no}, filing_no=filing_no)
    return periods.begin(tx, filed) if trade.terms.period else deliver_if_due(tx, filed)


def refuse_filing(tx: Transaction, actor: Actor, trade_id: str, reason: str) -> Trade:
    """T7b: the exchange does not file it."""
    trade, venue = load(tx, actor, trade_id)
    row = permit(tx, trade, venue, "refuse_filing", actor, {"reason": written(reason)})
    return move(tx, trade, row, actor, {"reason": reason}, reason=reason)[0]


def confirm_payment(
    tx: Transaction, actor: Actor, trade_id: str, *, amount_fen: int, payer: str, reference: str
) -> Trade:
    """T7c: the amount has arrived from the buyer; it stands in escrow until settlement (I3)."""
    trade, venue = load(tx, actor, trade_id)
    payload = {"amount_fen": amount_fen, "payer": payer, "reference": reference}
    row = permit(tx, trade, venue, "confirm_payment", actor, payload)
    _need_whole(trade)
    postpaid = trade.terms.payment_timing == "postpaid"
    need(
        trade.state == TradeState.FILED or postpaid,
        "a prepaid trade is paid before delivery",
        "预付费交易应在交付前付款",
    )
    need(trade.paid_at is None, "the payment was confirmed already", "付款已确认")
    need(trade.terms.amount_fen > 0, "there is nothing to pay", "无需付款")
    need(
        amount_fen == trade.terms.amount_fen and payer == trade.user_id,
        "amount and payer must be those of the contract",
        "金额与付款方须与合同一致",
        amount_fen=trade.terms.amount_fen,
        payer=trade.user_id,
    )
    paid, event = move(
        tx,
        trade,
        row,
        actor,
        payload,
        paid_fen=amount_fen,
        paid_at=tx.now,
        payment_ref=reference,
    )
    tx.post(
        trade.id,
        event,
        {f"buyer:{trade.user_id}": -amount_fen, f"escrow:{trade.id}": amount_fen},
    )
    return deliver_if_due(tx, paid) if paid.state == TradeState.FILED else paid


def _need_whole(trade: Trade) -> None:
    need(
        not trade.terms.period,
        "this trade runs in periods: each is paid and delivered by itself",
        "该交易按周期履行，请对各周期分别付款与交付",
        periods=f"/v1/trades/{trade.id}/periods",
    )


def deliver_if_due(tx: Transaction, trade: Trade) -> Trade:
    """Start delivery by itself where the provider's standing offer says so."""
    due = trade.terms.payment_timing == "postpaid" or trade.paid_fen == trade.terms.amount_fen
    due = due and not is_recalled(tx, trade.listing_id)
    return deliver(tx, SYSTEM, trade.id) if trade.standing and due else trade


def deliver(tx: Transaction, actor: Actor, trade_id: str) -> Trade:
    """T8: open the way to the bytes; a job reads them all again before the buyer may (T9)."""
    trade, venue = load(tx, actor, trade_id)
    row = permit(tx, trade, venue, "deliver", actor, None)
    _need_whole(trade)
    need(
        trade.terms.payment_timing == "postpaid" or trade.paid_fen == trade.terms.amount_fen,
        "the payment has not been confirmed",
        "付款尚未确认",
    )
    listing = tx.get(Listing, trade.listing_id)
    floors.require(tx, trade.terms.floors, listing)
    delivery = new_delivery(tx, trade, listing)
    payload = {"delivery_id": delivery.id, "manifest_digest": delivery.manifest_digest}
    return move(tx, trade, row, actor, payload, delivery_id=delivery.id)[0]


def redeliver(tx: Transaction, actor: Actor, trade_id: str) -> Trade:
    """T11, second half: the provider accepts the objection and delivers again."""
    trade, venue = load(tx, actor, trade_id)
    row = permit(tx, trade, venue, "redeliver", actor, None)
    need(bool(trade.objection), "the delivery is under way", "正在交付中")
    delivery = new_delivery(tx, trade, tx.get(Listing, trade.listing_id))
    revoke(tx, trade.delivery_id)
    payload = {"delivery_id": delivery.id, "manifest_digest": delivery.manifest_digest}
    return move(tx, trade, row, actor, payload, delivery_id=delivery.id, objection="")[0]


def delivered(tx: Transaction, trade_id: str) -> Trade:
    """T9: every byte was read and has its digest; the buyer's access opens."""
    trade, venue = load(tx, SYSTEM, trade_id)
    if trade.state != TradeState.DELIVERING:
        return trade
    row = permit(tx, trade, venue, "delivered", SYSTEM, None)
    delivery = tx.get(Delivery, str(trade.delivery_id))
    if delivery.revoked_at is not None:
        return trade  # recalled while it was being prepared
    days = trade.terms.term_days or DELIVERY_DAYS
    tx.put(
        replace(delivery, state="open", opens_at=tx.now, closes_at=tx.now + timedelta(days=days))
    )
    payload = {"delivery_id": delivery.id, "manifest_digest": delivery.manifest_digest}
    moved, _ = move(tx, trade, row, SYSTEM, payload, delivered_at=tx.now)
    if trade.auto_accept:
        return accept(tx, SYSTEM, trade.id, manifest=delivery.manifest_digest)
    if trade.terms.silent_acceptance:
        tx.enqueue(
            "accept_silently",
            {"trade_id": trade.id, "delivery_id": delivery.id},
            delay=timedelta(days=trade.terms.inspection_days),
        )
    return moved


# --- acceptance, settlement, record -----------------------------------------------------------


def accept(tx: Transaction, actor: Actor, trade_id: str, *, manifest: str) -> Trade:
    """T10: the buyer accepts what it names by the manifest's digest."""
    trade, venue = load(tx, actor, trade_id)
    row = permit(tx, trade, venue, "accept", actor, None)
    delivery = tx.get(Delivery, str(trade.delivery_id))
    need(
        manifest == delivery.manifest_digest,
        "this is not the manifest that was delivered",
        "与交付清单不符",
        manifest_digest=delivery.manifest_digest,
    )
    accepted, _ = move(
        tx,
        trade,
        row,
        actor,
        {"manifest_digest": manifest},
        accepted_at=tx.now,
        accepted_by=actor.id,
    )
    if venue.party_id is None and (accepted.paid_fen or not accepted.terms.amount_fen):
        # 场外: money was confirmed by two operators; the rest is arithmetic and needs nobody.
        bill(tx, SYSTEM, trade.id)
        settle(tx, SYSTEM, trade.id)
        return voucher(tx, SYSTEM, trade.id)
    return accepted


def reject(tx: Transaction, actor: Actor, trade_id: str, objection: str) -> Trade:
    """T11, first half: the buyer objects within the inspection period."""
    trade, venue = load(tx, actor, trade_id)
    row = permit(tx, trade, venue, "reject", actor, None)
    until = (trade.delivered_at or tx.now) + timedelta(days=trade.terms.inspection_days)
    need(
        tx.now <= until,
        f"the inspection period ended on {until:%Y-%m-%d}: a dispute can still be opened",
        f"验收期已于 {until:%Y-%m-%d} 届满，仍可发起争议",
        next=["accept", "dispute"],
    )
    payload = {"objection_digest": digest(written(objection))}
    return move(tx, trade, row, actor, payload, objection=objection)[0]


def bill(tx: Transaction, actor: Actor, trade_id: str) -> Trade:
    """T12: the bill over the contract's amount."""
    trade, venue = load(tx, actor, trade_id)
    row = permit(tx, trade, venue, "bill", actor, None)
    number = f"B{trade.agreement['contract_no'][2:]}"
    amount = trade.terms.amount_fen
    payload = {"bill_no": number, "amount_fen": amount}
    return move(tx, trade, row, actor, payload, bill_no=number, billed_fen=amount)[0]


def settle(tx: Transaction, actor: Actor, trade_id: str) -> Trade:
    """T13: payments equal bills; escrow goes to the right holders and the platform (I6)."""
    trade, venue = load(tx, actor, trade_id)
    row = permit(tx, trade, venue, "settle", actor, None)
    need(
        trade.paid_fen - trade.refund_fen == trade.billed_fen,
        f"paid {trade.paid_fen} fen, billed {trade.billed_fen} fen",
        f"已付 {trade.paid_fen} 分，账单 {trade.billed_fen} 分",
        paid_fen=trade.paid_fen,
        billed_fen=trade.billed_fen,
    )
    held = tx.balance(f"escrow:{trade.id}")
    # What was agreed, not what the place of trading asks of others today.
    rate = int(trade.agreement.get("fee_permyriad", venue.fee_permyriad))
    fee, shares = amounts.split(held, rate, trade.provider_id, contract.agreed_shares(tx, trade))
    settled, event = move(
        tx,
        trade,
        row,
        actor,
        {"amount_fen": held, "fee_fen": fee, "shares": [list(s) for s in shares]},
        settled_at=tx.now,
        fee_fen=fee,
        shares=shares,
    )
    pay_out(tx, trade, event, f"escrow:{trade.id}", venue, fee=fee, shares=shares)
    return settled


def voucher(tx: Transaction, actor: Actor, trade_id: str) -> Trade:
    """T14: the evidence chain holds from end to end; the receipt is built by a job."""
    trade, venue = load(tx, actor, trade_id)
    row = permit(tx, trade, venue, "voucher", actor, None)
    return vouch(tx, trade, row, actor)


def complete(tx: Transaction, actor: Actor, trade_id: str) -> Trade:
    """T15: closed by either side, or by the timer."""
    trade, venue = load(tx, actor, trade_id)
    row = permit(tx, trade, venue, "complete", actor, None)
    moved, _ = move(tx, trade, row, actor)
    return moved


def rate(tx: Transaction, actor: Actor, trade_id: str, score: int, text: str) -> Trade:
    """Leave a rating of 1 to 5 with words."""
    trade, venue = load(tx, actor, trade_id)
    row = permit(tx, trade, venue, "rate", actor, None)
    need(trade.rating is None, "you have rated this trade", "您已评价")
    if not 1 <= score <= 5:
        raise InvalidInput("a rating is 1 to 5", "评分为 1–5", field="score")
    return move(tx, trade, row, actor, {"score": score}, rating=score, rating_text=text)[0]
