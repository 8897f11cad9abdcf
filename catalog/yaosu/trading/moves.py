"""How a trade moves: who, from where, written with one event (the table is in `steps`)."""

from __future__ import annotations

from typing import Any

from yaosu.errors import Conflict, Forbidden, InvalidInput, NotFound
from yaosu.identity import absent, let_in_by, must_see, relations
from yaosu.listing import venue_of
from yaosu.model import JSON, SYSTEM, Actor, Event, Trade, TradeState, Venue, new_id
from yaosu.model_money import Period
from yaosu.model_organisation import Approval
from yaosu.organisation import confirmations
from yaosu.organisation.approvals import AwaitsSecond, hold
from yaosu.ports import Reader, Transaction
from yaosu.records import replace
from yaosu.steps import TRADE_STEPS, Relation, Step, check
from yaosu_schemas.canonical import digest

__all__ = [
    "EVERYWHERE",
    "AwaitsSecond",
    "load",
    "move",
    "need",
    "permit",
    "written",
]

EVERYWHERE = frozenset({"resolve", "correct"})
"""What two operators may do on the place of an exchange, too."""


def load(tx: Reader, actor: Actor, trade_id: str) -> tuple[Trade, Venue]:
    """Return a trade that exists for the actor, and its place of trading."""
    try:
        trade = tx.get(Trade, trade_id)
    except NotFound:
        raise absent("trade", trade_id) from None
    venue = venue_of(tx, trade)
    if actor != SYSTEM:
        must_see(actor, trade, venue)
    return trade, venue


def permit(
    tx: Transaction,
    trade: Trade,
    venue: Venue,
    action: str,
    actor: Actor,
    payload: JSON,
    *,
    table: tuple[Step[TradeState], ...] = TRADE_STEPS,
    period: Period | None = None,
) -> Step[TradeState]:
    """Check who and from where; an admin's step waits for a second admin.

    A step of one period of the trade has a table of its own.
    """
    step = next(s for s in table if s.action == action)
    mine = step.actors & relations(actor, trade, venue)
    if Relation.ADMIN in mine and venue.party_id is not None and action not in EVERYWHERE:
        # The operator stands in for an exchange only where there is none (场外).
        mine -= {Relation.ADMIN}
    if step.two and actor.party_id in (trade.provider_id, trade.user_id):
        # Nobody confirms the payments of their own organisation.
        mine -= {Relation.ADMIN}
    if not mine:
        raise Forbidden(
            f"your key may not do this: {action}", f"您的密钥无权执行：{action}", operation=action
        )
    check(table, trade.state if period is None else period.state, action)
    if step.two and mine == {Relation.ADMIN}:
        asked = payload if period is None else {"period_id": period.id, "payload": payload}
        _four_eyes(tx, trade, action, actor, asked)
    return step


def _four_eyes(tx: Transaction, trade: Trade, action: str, actor: Actor, payload: JSON) -> None:
    """Let the second admin pass who asks for the very same thing of the very same trade.

    Two people are two only if neither is here on the word of the other, or both on that of a
    third: else one operator would be enough to make the second.
    """
    wanted = digest(
        {
            "subject": trade.id,
            "action": action,
            "payload": payload,
            "as_of": trade.updated_at.isoformat(),
        }
    )
    waiting = [
        a
        for a in tx.find(Approval, subject_id=trade.id, limit=1000)
        if a.payload_digest == wanted and a.used_by is None
    ]
    own = let_in_by(tx, actor.member_id)
    other = next((a for a in waiting if not own & let_in_by(tx, a.member_id)), None)
    if other is None:
        first = next((a for a in waiting if a.member_id == actor.member_id), None)
        approval = first or Approval(
            id=new_id("apv"),
            subject_id=trade.id,
            action=action,
            payload_digest=wanted,
            member_id=actor.member_id,
            created_at=tx.now,
            state=confirmations.STATE,
        )
        if first is None:
            tx.add(approval)
            tx.record(
                trade.id,
                "approval",
                actor_id=actor.id,
                from_state=trade.state,
                to_state=trade.state,
                payload={"action": action, "payload_digest": wanted},
            )
        raise AwaitsSecond(approval)
    for asked in waiting:  # of whoever else asked for the same, too: it is taken once
        tx.put(replace(asked, used_by=actor.member_id, state="done", ended_at=tx.now))


def move(
    tx: Transaction,
    trade: Trade,
    step: Step[TradeState],
    actor: Actor,
    payload: JSON = None,
    *,
    to: TradeState | None = None,
    asked: JSON = None,
    about: str | None = None,
    **changes: Any,
) -> tuple[Trade, Event]:
    """Write the trade in its new state with one event, or keep the step as a request.

    `asked` and `about` are what a rule of the actor's organisation needs: see `approvals.hold`.
    """
    target = to or step.target or trade.state
    moved = replace(trade, state=target, updated_at=tx.now, **changes)
    if passed := hold(tx, actor, moved, step.action, asked, about):
        payload = {**(payload or {}), **passed}
    tx.put(moved)
    event = tx.record(
        trade.id,
        step.event,
        actor_id=actor.id,
        from_state=trade.state,
        to_state=target,
        payload=payload,
    )
    return moved, event


def need(condition: bool, en: str, zh: str, **facts: object) -> None:
    if not condition:
        raise Conflict(en, zh, **facts)


def written(text: str) -> str:
    if not text.strip():
        raise InvalidInput("a written reason is needed", "需要书面说明", field="reason")
    return text.strip()
