"""What happens inside an organisation, told to the people whom it concerns by name."""

from __future__ import annotations

from typing import Any

from yaosu import present
from yaosu.model import Event, Listing, Trade
from yaosu.model_organisation import Approval, Invitation
from yaosu.organisation import approvals
from yaosu.ports import Reader, Transaction

from .causes import APPROVERS, ASKERS, INVITERS
from .inbox import tell

HEARD = APPROVERS | ASKERS | INVITERS


def hear(tx: Transaction, event: Event) -> None:
    """Leave the notices of one event of an organisation."""
    if event.type in INVITERS:
        invitation = tx.one(Invitation, id=str(event.payload["invitation_id"]))
        if invitation is not None:
            facts = {"name": invitation.name, "until": invitation.expires_at.isoformat()}
            others = sorted({invitation.invited_by} - {event.actor_id})
            _tell(tx, event, "member", invitation.id, others, facts)
        return
    kept = tx.one(Approval, id=str(event.payload["approval_id"]))
    if kept is None or kept.party_id is None:
        return
    people = [kept.member_id]
    if event.type == "approval_asked":  # also of what was answered before this was written
        people = sorted(approvals.asked_of(tx, kept))
    elif event.type in APPROVERS:
        people = sorted(approvals.approvers(tx, kept))
    _tell(tx, event, "approval", kept.id, people, {"action": kept.action, **_about(tx, kept)})


def _about(reader: Reader, kept: Approval) -> dict[str, Any]:
    """Return the title of what the step is about, where there is one."""
    listing_id = kept.subject_id
    if listing_id.startswith("trd_"):
        trade = reader.one(Trade, id=listing_id)
        listing_id = trade.listing_id if trade is not None else ""
    listing = reader.one(Listing, id=listing_id) if listing_id.startswith("lst_") else None
    if listing is None:
        return {"title": "", "title_en": ""}
    title, english = present.titles(listing)
    return {"title": title, "title_en": english}


def _tell(
    tx: Transaction, event: Event, kind: str, subject_id: str, people: list[str], facts: Any
) -> None:
    """Tell people of the organisation whose chain the event is in."""
    tell(
        tx, event.subject_id, people, kind=kind,
        cause=f"evt_{event.id}", subject_id=subject_id, at=event.at,
        facts={"event": event.type, **facts},
    )  # fmt: skip
