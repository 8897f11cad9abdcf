"""The other ends of a trade: termination, dispute, resolution, correction (T17-T19).

What was posted is never changed: money goes back, or to another, by an entry of its own.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from yaosu import amounts, contract
from yaosu.errors import InvalidInput
from yaosu.model import JSON, Actor, Correction, Dispute, Exhibit, Trade, TradeState, Venue
from yaosu.ports import Transaction
from yaosu.steps import Step
from yaosu_schemas.canonical import digest
from yaosu_schemas.codes import code_list

from . import periods
from .handover import pay_out, revoke
from .moves import load, move, need, permit, written

MOST_EXHIBITS = 100
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")


def terminate(tx: Transaction, actor: Actor, trade_id: str, reason: str) -> Trade:
    """T17: ended by contract or by the exchange; access closes, escrow goes back.

    A buyer who had the bytes cannot take the money back alone: the provider, the exchange or
    the outcome of a dispute gives it. Of a period that runs, what was not used goes back.
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
    return _terminated(tx, trade, venue, row, actor, written(reason))


def _terminated(
    tx: Transaction,
    trade: Trade,
    venue: Venue,
    row: Step[TradeState],
    actor: Actor,
    reason: str,
    refund_fen: int | None = None,
) -> Trade:
    """End a trade: all that is held goes back, or `refund_fen` of it and the rest is paid out."""
    if trade.terms.period:
        trade = periods.end_all(tx, trade, venue, reason)
    held = tx.balance(f"escrow:{trade.id}")
    refund = held if refund_fen is None else _within(refund_fen, held)
    rate = int(trade.agreement.get("fee_permyriad", venue.fee_permyriad))
    pinned = contract.agreed_shares(tx, trade) if held - refund else []
    fee, shares = amounts.split(held - refund, rate, trade.provider_id, pinned)
    revoke(tx, trade.delivery_id)
    payload = {"reason": reason, "refund_fen": refund}
    if held - refund:
        payload |= {
            "amount_fen": held - refund,
            "fee_fen": fee,
            "shares": [list(s) for s in shares],
        }
    settled: dict[str, Any] = {"fee_fen": fee, "shares": shares} if held - refund else {}
    moved, event = move(
        tx,
        trade,
        row,
        actor,
        payload,
        to=TradeState.TERMINATED,
        reason=reason,
        refund_fen=trade.refund_fen + refund,
        **settled,
    )
    escrow = f"escrow:{trade.id}"
    pay_out(tx, trade, event, escrow, venue, fee=fee, shares=shares, refund=refund)
    return moved


def _within(refund_fen: int, held: int) -> int:
    if not 0 <= refund_fen <= held:
        raise InvalidInput(
            f"a refund is 0 to what is held: {held} fen",
            f"退款应在 0 与托管余额 {held} 分之间",
            field="refund_fen",
            held_fen=held,
        )
    return refund_fen


# --- disputes ---------------------------------------------------------------------------------


def dispute(
    tx: Transaction,
    actor: Actor,
    trade_id: str,
    *,
    ground: str,
    channel: str = "negotiation",
    evidence: tuple[Mapping[str, str], ...] = (),
) -> Trade:
    """T18: either side disputes; everything waits for the outcome."""
    trade, venue = load(tx, actor, trade_id)
    row = permit(tx, trade, venue, "dispute", actor, None)
    channels = [str(entry.code) for entry in code_list("dispute_channel")]
    if channel not in channels:
        raise InvalidInput(
            f"channels are: {', '.join(channels)}",
            f"解决方式为：{'、'.join(channels)}",
            field="channel",
            choices=channels,
        )
    shown = tuple(_exhibit(tx, actor, e.get("text", ""), e.get("digest", "")) for e in evidence)
    raised = Dispute(
        raised_by=actor.party_id,
        ground=written(ground),
        channel=channel,
        from_state=trade.state,
        opened_at=tx.now,
        evidence=shown,
    )
    payload = {
        "ground_digest": digest(ground),
        "channel": channel,
        "evidence": [_bound(e) for e in shown],
    }
    return move(tx, trade, row, actor, payload, disputes=(*trade.disputes, raised))[0]


def exhibit(tx: Transaction, actor: Actor, trade_id: str, *, text: str, about: str = "") -> Trade:
    """Bring evidence forward while a dispute is open: words, and the digest of what they mean."""
    trade, venue = load(tx, actor, trade_id)
    row = permit(tx, trade, venue, "exhibit", actor, None)
    last = trade.disputes[-1]
    need(
        len(last.evidence) < MOST_EXHIBITS,
        f"a dispute has at most {MOST_EXHIBITS} pieces of evidence",
        f"每宗争议最多 {MOST_EXHIBITS} 项证据",
    )
    shown = _exhibit(tx, actor, text, about)
    heard = replace(last, evidence=(*last.evidence, shown))
    disputes = (*trade.disputes[:-1], heard)
    return move(tx, trade, row, actor, _bound(shown), disputes=disputes)[0]


def _exhibit(tx: Transaction, actor: Actor, text: str, about: str) -> Exhibit:
    if about and not _DIGEST.fullmatch(about):
        raise InvalidInput(
            "evidence names its bytes as 'sha256:' and 64 hex digits",
            "证据文件以 sha256: 加 64 位十六进制标识",
            field="digest",
        )
    return Exhibit(party_id=actor.party_id, text=written(text), digest=about, at=tx.now)


def _bound(shown: Exhibit) -> dict[str, str]:
    """Return what the event says of evidence: digests, never the words."""
    return {"text_digest": digest(shown.text), "digest": shown.digest, "by": shown.party_id}


def resolve(
    tx: Transaction,
    actor: Actor,
    trade_id: str,
    *,
    outcome: str,
    to: str,
    refund_fen: int | None = None,
) -> Trade:
    """T19: back to where it was, TERMINATED, or on to SETTLING; the outcome is written down.

    `refund_fen` goes back to the buyer out of what is held; where the trade ends, the rest of it
    is paid out, and where it goes on, the rest is what is billed.
    """
    trade, venue = load(tx, actor, trade_id)
    asked: dict[str, JSON] = {"outcome": written(outcome), "to": to}
    if refund_fen is not None:
        asked["refund_fen"] = refund_fen
    row = permit(tx, trade, venue, "resolve", actor, asked)
    last = trade.disputes[-1]
    allowed = {str(last.from_state), "terminated"}
    held = tx.balance(f"escrow:{trade.id}")
    if held and trade.delivered_at is not None:
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
    if refund_fen is not None and to not in ("settling", "terminated"):
        raise InvalidInput(
            "a refund goes with 'settling' or 'terminated'",
            "退款须与 settling 或 terminated 一并裁定",
            field="refund_fen",
        )
    ended = replace(
        last,
        outcome=outcome,
        resolved_to=TradeState(to),
        resolved_at=tx.now,
        refund_fen=_within(refund_fen or 0, held),
    )
    resolved = replace(trade, disputes=(*trade.disputes[:-1], ended))
    if to == "terminated":
        return _terminated(tx, resolved, venue, row, actor, outcome, refund_fen)
    if to == "settling":
        back = ended.refund_fen
        resolved = replace(
            resolved,
            bill_no=resolved.bill_no or f"B{trade.agreement['contract_no'][2:]}",
            billed_fen=held - back,
            refund_fen=trade.refund_fen + back,
        )
    payload = {"outcome_digest": digest(outcome), "to": to, "refund_fen": ended.refund_fen}
    moved, event = move(tx, resolved, row, actor, payload, to=TradeState(to))
    if ended.refund_fen:
        escrow = f"escrow:{trade.id}"
        pay_out(tx, trade, event, escrow, venue, fee=0, shares=(), refund=ended.refund_fen)
    return moved


# --- corrections ------------------------------------------------------------------------------


def correct(
    tx: Transaction, actor: Actor, trade_id: str, *, reason: str, lines: Mapping[str, int]
) -> Trade:
    """Mend what was posted by an entry beside it: balanced, with a reason and a second approver.

    It moves money between the sides, the right holders and the place of trading; never out of
    an escrow, which only the steps of the trade do.
    """
    trade, venue = load(tx, actor, trade_id)
    asked = {"reason": written(reason), "lines": dict(lines)}
    row = permit(tx, trade, venue, "correct", actor, asked)
    known = {f"buyer:{trade.user_id}", f"provider:{trade.provider_id}", f"fee:{venue.id}"}
    known |= {f"provider:{party}" for party, _ in trade.shares}
    if stray := sorted(set(lines) - known):
        raise InvalidInput(
            f"this trade has no such account: {', '.join(stray)[:200]}",
            f"该交易没有账户：{'、'.join(stray)[:200]}",
            field="lines",
            choices=sorted(known),
        )
    if not any(lines.values()):
        raise InvalidInput("a correction moves something", "更正须有金额变动", field="lines")
    made = Correction(reason=reason.strip(), lines=tuple(lines.items()), by=actor.id, at=tx.now)
    moved, event = move(tx, trade, row, actor, asked, corrections=(*trade.corrections, made))
    tx.post(trade.id, event, {account: fen for account, fen in lines.items() if fen})
    return moved
