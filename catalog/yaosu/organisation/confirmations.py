"""What operators confirm for each other (four eyes): what still waits, and for whom.

A confirmation is the very same step, taken by the second of two operators; what is kept is only
that the first asked for it. It holds for the trade as it then stood: once that moves, it is over.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from yaosu.identity import let_in_by
from yaosu.model import Actor, Role, Trade
from yaosu.model_organisation import Approval
from yaosu.ports import Reader, Transaction

STATE = "confirm"
MOST = 1000


def to_give(reader: Reader, actor: Actor) -> Iterator[tuple[Approval, Trade]]:
    """Yield what this operator can confirm for others, each step once, with its trade."""
    if Role.ADMIN not in actor.roles:
        return
    chains: dict[str, set[str]] = {}

    def behind(member_id: str) -> set[str]:
        if member_id not in chains:
            chains[member_id] = let_in_by(reader, member_id)
        return chains[member_id]

    seen: set[str] = set()
    for asked in reader.find(Approval, state=STATE, newest=True, limit=MOST):
        trade = reader.one(Trade, id=asked.subject_id)
        if trade is None or over(asked, trade) or asked.payload_digest in seen:
            continue
        aside = actor.party_id not in (trade.provider_id, trade.user_id)
        if aside and behind(actor.member_id).isdisjoint(behind(asked.member_id)):
            seen.add(asked.payload_digest)
            yield asked, trade


def over(asked: Approval, trade: Trade) -> bool:
    """Tell whether the trade has moved since: the same step would be another one now."""
    return trade.updated_at > asked.created_at


def open_ones(reader: Reader) -> list[str]:
    """Return the requests that a move of their trade may have ended."""
    return [a.id for a in reader.find(Approval, state=STATE, limit=100_000)]


def tick(tx: Transaction, approval_id: str) -> None:
    """End a request whose trade has moved on."""
    asked = tx.get(Approval, approval_id)
    trade = tx.one(Trade, id=asked.subject_id)
    if asked.state == STATE and trade is not None and over(asked, trade):
        tx.put(replace(asked, state="lapsed", ended_at=tx.now))
