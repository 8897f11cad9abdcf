"""From a signed contract to a settled, recorded trade: the steps T7-T19 of domain c.3.

Every function is one step over a transaction: table, guard, change, postings, one event. What
touches the outside (reading blobs, building receipts) is a job.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from yaosu_schemas.canonical import digest

from . import amounts, contract
from .errors import InvalidInput, Unsupported
from .listing import files_of
from .model import (
    SYSTEM,
    Actor,
    DeliveredFile,
    Delivery,
    Dispute,
    Event,
    Holding,
    Listing,
    Trade,
    TradeState,
    Venue,
    new_id,
)
from .moves import load, move, need, permit, written
from .ports import Reader, Transaction
from .recall import is_recalled
from .steps import Step

DELIVERY_DAYS = 30
COMPLETE_AFTER = timedelta(days=7)


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
    return deliver_if_due(tx, filed)


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


def deliver_if_due(tx: Transaction, trade: Trade) -> Trade:
    """Start delivery by itself where the provider's standing offer says so."""
    due = trade.terms.payment_timing == "postpaid" or trade.paid_fen == trade.terms.amount_fen
    due = due and not is_recalled(tx, trade.listing_id)
    return deliver(tx, SYSTEM, trade.id) if trade.standing and due else trade


def deliver(tx: Transaction, actor: Actor, trade_id: str) -> Trade:
    """T8: open the way to the bytes; a job reads them all again before the buyer may (T9)."""
    trade, venue = load(tx, actor, trade_id)
    row = permit(tx, trade, venue, "deliver", actor, None)
    need(
        trade.terms.payment_timing == "postpaid" or trade.paid_fen == trade.terms.amount_fen,
        "the payment has not been confirmed",
        "付款尚未确认",
    )
    delivery = _delivery(tx, trade)
    tx.add(delivery)
    payload = {"delivery_id": delivery.id, "manifest_digest": delivery.manifest_digest}
    moved, _ = move(tx, trade, row, actor, payload, delivery_id=delivery.id)
    tx.enqueue("deliver", {"trade_id": trade.id}, once=f"deliver:{delivery.id}")
    return moved


def _delivery(tx: Transaction, trade: Trade) -> Delivery:
    listing = tx.get(Listing, trade.listing_id)
    need(
        not is_recalled(tx, listing.id),
        "this version was recalled: nothing of it is delivered",
        "该版本已被召回，不再交付",
        next=["terminate"],
    )
    files = []
    for _, path, sha256, _size in files_of(listing.descriptor):
        holding = tx.one(Holding, party_id=trade.provider_id, sha256=sha256)
        if holding is None:
            raise Unsupported("a file of this listing is not held here", "挂牌文件不在本市场")
        files.append(DeliveredFile(path=path, bytes=holding.bytes, sha256=sha256))
    return Delivery(
        id=new_id("dlv"),
        trade_id=trade.id,
        provider_id=trade.provider_id,
        user_id=trade.user_id,
        files=tuple(files),
        manifest_digest=manifest_digest(trade, files),
        created_at=tx.now,
    )


def manifest_digest(trade: Trade, files: list[DeliveredFile]) -> str:
    """Return the digest that the buyer checks after the last byte."""
    return digest(
        {
            "trade_id": trade.id,
            "content_digest": trade.content_digest,
            "files": [{"path": f.path, "bytes": f.bytes, "sha256": f.sha256} for f in files],
        }
    )


def redeliver(tx: Transaction, actor: Actor, trade_id: str) -> Trade:
    """T11, second half: the provider accepts the objection and delivers again."""
    trade, venue = load(tx, actor, trade_id)
    row = permit(tx, trade, venue, "redeliver", actor, None)
    need(bool(trade.objection), "the delivery is under way", "正在交付中")
    delivery = _delivery(tx, trade)
    tx.add(delivery)
    _revoke(tx, trade)
    payload = {"delivery_id": delivery.id, "manifest_digest": delivery.manifest_digest}
    moved, _ = move(tx, trade, row, actor, payload, delivery_id=delivery.id, objection="")
    tx.enqueue("deliver", {"trade_id": trade.id}, once=f"deliver:{delivery.id}")
    return moved


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
        trade.paid_fen == trade.billed_fen,
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
    _pay_out(tx, trade, event, held, fee, shares, venue)
    return settled


def _pay_out(
    tx: Transaction,
    trade: Trade,
    event: Event,
    held: int,
    fee: int,
    shares: tuple[tuple[str, int], ...],
    venue: Venue,
) -> None:
    if not held:
        return
    lines: dict[str, int] = {f"escrow:{trade.id}": -held}
    for party, fen in (*((f"provider:{p}", f) for p, f in shares), (f"fee:{venue.id}", fee)):
        if fen:
            lines[party] = lines.get(party, 0) + fen
    tx.post(trade.id, event, lines)


def voucher(tx: Transaction, actor: Actor, trade_id: str) -> Trade:
    """T14: the evidence chain holds from end to end; the receipt is built by a job."""
    trade, venue = load(tx, actor, trade_id)
    row = permit(tx, trade, venue, "voucher", actor, None)
    _check_chain(tx, trade)
    number = f"V{trade.agreement['contract_no'][2:]}"
    moved, event = move(
        tx,
        trade,
        row,
        actor,
        {"voucher_no": number, "agreement_digest": trade.agreement_digest},
        voucher_no=number,
        vouchered_at=tx.now,
    )
    tx.enqueue("receipt", {"trade_id": trade.id}, once=f"receipt:{trade.id}:{event.seq}")
    tx.enqueue("complete", {"trade_id": trade.id}, delay=COMPLETE_AFTER)
    return moved


def _check_chain(tx: Reader, trade: Trade) -> None:
    """Recompute the trade's chain before a voucher vouches for it (I1)."""
    before: str | None = None
    for seq, event in enumerate(tx.events(trade.id)):
        whole = event.seq == seq and event.prev_digest == before
        need(whole, "the evidence chain is broken", "存证链不完整", seq=seq)
        before = event.digest


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


# --- the other ends ---------------------------------------------------------------------------


def terminate(tx: Transaction, actor: Actor, trade_id: str, reason: str) -> Trade:
    """T17: ended by contract or by the exchange; access closes, escrow goes back.

    A buyer who had the bytes cannot take the money back alone: the provider, the exchange or
    the outcome of a dispute gives it.
    """
    trade, venue = load(tx, actor, trade_id)
    row = permit(tx, trade, venue, "terminate", actor, None)
    if actor.party_id == trade.user_id:
        need(
            trade.delivered_at is None,
            "the data has been delivered: object to it, or open a dispute",
            "数据已交付：请提出异议或发起争议",
            next=["reject", "dispute"],
        )
    return _terminated(tx, trade, row, actor, written(reason))


def _terminated(
    tx: Transaction, trade: Trade, row: Step[TradeState], actor: Actor, reason: str
) -> Trade:
    refund = tx.balance(f"escrow:{trade.id}")
    _revoke(tx, trade)
    moved, event = move(
        tx,
        trade,
        row,
        actor,
        {"reason": reason, "refund_fen": refund},
        to=TradeState.TERMINATED,
        reason=reason,
        refund_fen=refund,
    )
    if refund:
        back = {f"escrow:{trade.id}": -refund, f"buyer:{trade.user_id}": refund}
        tx.post(trade.id, event, back)
    return moved


def _revoke(tx: Transaction, trade: Trade) -> None:
    if trade.delivery_id is not None:
        delivery = tx.get(Delivery, trade.delivery_id)
        tx.put(replace(delivery, state="revoked", revoked_at=tx.now))


def dispute(
    tx: Transaction, actor: Actor, trade_id: str, *, ground: str, channel: str = "negotiation"
) -> Trade:
    """T18: either side disputes; everything waits for the outcome."""
    trade, venue = load(tx, actor, trade_id)
    row = permit(tx, trade, venue, "dispute", actor, None)
    raised = Dispute(
        raised_by=actor.party_id,
        ground=written(ground),
        channel=channel,
        from_state=trade.state,
        opened_at=tx.now,
    )
    payload = {"ground_digest": digest(ground), "channel": channel}
    return move(tx, trade, row, actor, payload, disputes=(*trade.disputes, raised))[0]


def resolve(tx: Transaction, actor: Actor, trade_id: str, *, outcome: str, to: str) -> Trade:
    """T19: back to where it was, TERMINATED, or on to SETTLING; the outcome is written down."""
    trade, venue = load(tx, actor, trade_id)
    row = permit(tx, trade, venue, "resolve", actor, {"outcome": written(outcome), "to": to})
    last = trade.disputes[-1]
    allowed = {str(last.from_state), "terminated"}
    if tx.balance(f"escrow:{trade.id}") and trade.delivered_at is not None:
        allowed.add("settling")
    if last.from_state in (TradeState.SETTLED, TradeState.VOUCHERED):
        allowed.discard("settling")
    if to not in allowed:
        raise InvalidInput(
            f"the outcome leads to one of: {', '.join(sorted(allowed))}",
            f"结果状态应为：{'、'.join(sorted(allowed))}",
            field="to",
            choices=sorted(allowed),
        )
    ended = replace(last, outcome=outcome, resolved_to=TradeState(to), resolved_at=tx.now)
    settled = replace(trade, disputes=(*trade.disputes[:-1], ended))
    if to == "terminated":
        return _terminated(tx, settled, row, actor, outcome)
    if to == "settling" and settled.bill_no is None:
        settled = replace(
            settled,
            bill_no=f"B{trade.agreement['contract_no'][2:]}",
            billed_fen=trade.terms.amount_fen,
        )
    payload = {"outcome_digest": digest(outcome), "to": to}
    return move(tx, settled, row, actor, payload, to=TradeState(to))[0]
