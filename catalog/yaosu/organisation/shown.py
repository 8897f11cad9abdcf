"""What rules, requests, members and invitations look like to the people of their organisation."""

from __future__ import annotations

from typing import Any

from yaosu.model import Actor, Member
from yaosu.model_organisation import Approval, Invitation, Rule
from yaosu.ports import Reader
from yaosu.present import plain

from . import approvals, members


def rule(found: Rule) -> dict[str, Any]:
    return {
        "rule_id": found.id,
        "step": found.step,
        "above_fen": found.above_fen,
        "approvers": list(found.approvers),
        "days": found.days,
        "set_by": found.set_by,
        "created_at": plain(found.created_at),
        "ended_at": plain(found.ended_at),
    }


def approval(reader: Reader, found: Approval, viewer: Actor | None = None) -> dict[str, Any]:
    """Return a request; what was asked for (a signature, terms) stays inside."""
    return {
        "approval_id": found.id,
        "action": found.action,
        "subject_id": found.subject_id,
        "amount_fen": found.amount_fen,
        "declares": _declares(found),
        "state": found.state,
        "asked_by": found.member_id,
        "rules": list(found.rule_ids),
        "given": [plain(d) for d in found.given],
        "mine": viewer is not None and bool(approvals.answers(reader, viewer, found)),
        "reason": found.reason,
        "created_at": plain(found.created_at),
        "expires_at": plain(found.expires_at),
        "ended_at": plain(found.ended_at),
    }


def _declares(found: Approval) -> dict[str, Any] | None:
    """Return what a statement says, to who is asked to stand for it; None for other steps."""
    asked = found.asked or {}
    if found.action == "confirm_deletion":
        return {"statement": asked.get("statement")}
    if found.action != "record_usage":
        return None
    given = asked.get("given") or {}
    return {
        "model": given.get("model"),
        "model_version": given.get("model_version"),
        "trades": [s["trade_id"] for s in given.get("sources") or ()],
    }


def member(reader: Reader, found: Member, owners: set[str]) -> dict[str, Any]:
    return {
        "member_id": found.id,
        "name": found.name,
        "roles": sorted(members.roles_of(reader, found)),
        "owner": found.id in owners,
        "created_at": plain(found.created_at),
        "ended_at": plain(found.ended_at),
    }


def invitation(found: Invitation) -> dict[str, Any]:
    return {
        "invitation_id": found.id,
        "name": found.name,
        "email": found.email,
        "roles": list(found.roles),
        "owner": found.owner,
        "state": found.state,
        "invited_by": found.invited_by,
        "member_id": found.member_id,
        "created_at": plain(found.created_at),
        "expires_at": plain(found.expires_at),
        "ended_at": plain(found.ended_at),
    }
