"""An organisation's own matters: what waits, rules and approvals, people and invitations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from .connection import Connection, route

JSON = dict[str, Any]


class Organisation:
    """The organisation that the key belongs to."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def _list(self, *parts: str, **query: Any) -> list[JSON]:
        return list(self._connection.pages(route("v1", *parts), query or None))

    def _post(self, *parts: str, makes: str = "", **body: Any) -> JSON:
        given = {k: v for k, v in body.items() if v is not None}
        return dict(self._connection.post(route("v1", *parts), given, makes=makes))

    def waiting(self) -> list[JSON]:
        """Return what waits for the holder of the key."""
        return self._list("waiting")

    def approvals(self, state: str | None = None) -> list[JSON]:
        """Return the requests of one's organisation; `mine` are those one can answer."""
        return self._list("approvals", **({"state": state} if state else {}))

    def approval(self, approval_id: str) -> JSON:
        """Return one request."""
        return dict(self._connection.get(route("v1", "approvals", approval_id)))

    def approve(self, approval_id: str) -> JSON:
        """Say yes; the last yes takes the step."""
        return self._post("approvals", approval_id, "approve")

    def refuse(self, approval_id: str, reason: str) -> JSON:
        """Say no, with a reason."""
        return self._post("approvals", approval_id, "refuse", reason=reason)

    def withdraw(self, approval_id: str, reason: str = "") -> JSON:
        """Take back what one asked for."""
        return self._post("approvals", approval_id, "withdraw", reason=reason)

    def rules(self) -> list[JSON]:
        """Return the rules that hold."""
        return self._list("approval-rules")

    def add_rule(
        self, step: str, approvers: Sequence[str], *, above_fen: int | None = None, days: int = 7
    ) -> JSON:
        """Set a rule (owner): order, sign, publish, price or declare needs one of the approvers."""
        return self._post(
            "approval-rules", step=step, approvers=list(approvers), above_fen=above_fen, days=days,
            makes="rul",
        )  # fmt: skip

    def end_rule(self, rule_id: str) -> JSON:
        """End a rule (owner), or the request to do so, where somebody else has to say yes."""
        return self._post("approval-rules", rule_id, "end")

    def members(self) -> list[JSON]:
        """Return the people of the organisation."""
        return self._list("members")

    def end_member(self, member_id: str) -> JSON:
        """Let a person leave (owner)."""
        return self._post("members", member_id, "end")

    def invite(
        self,
        name: str,
        *,
        email: str = "",
        roles: Sequence[str] = (),
        owner: bool = False,
        days: int = 7,
    ) -> JSON:
        """Invite a person (owner); the link is shown this once."""
        return self._post(
            "invitations", name=name, email=email, roles=list(roles), owner=owner, days=days,
            makes="ivt",
        )  # fmt: skip

    def invitations(self) -> list[JSON]:
        """Return the invitations (owner)."""
        return self._list("invitations")

    def revoke_invitation(self, invitation_id: str) -> JSON:
        """Take an invitation back (owner)."""
        return self._post("invitations", invitation_id, "revoke")

    def accept_invitation(self, link: str, name: str = "") -> JSON:
        """Take an invitation by its link; a new member's key is shown this once."""
        return self._post("invitations", "accept", secret=link.rsplit("/", 1)[-1], name=name)
