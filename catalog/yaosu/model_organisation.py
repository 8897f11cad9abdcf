"""The nouns of an organisation: its rules, what waits for an approval, who was invited."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from .model import JSON, Role


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A step that members of a party take only with the approval of another one."""

    id: str
    party_id: str
    step: str  # order, sign, publish, price, declare
    above_fen: int | None = None  # an order of more than that; None: every one
    approvers: tuple[str, ...]  # members, any of whom will do, but never the one who asks
    days: int = 7  # that a request waits
    set_by: str
    created_at: datetime
    ended_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """One approver's yes, and the rules that it answers."""

    member_id: str
    rule_ids: tuple[str, ...]
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """A step that waits for another person (four eyes).

    Without a party it is an operator's: the second operator takes the very same step. With one it
    is kept whole (`asked`) and taken, once, for the member who asked when the last yes is given.
    """

    id: str
    subject_id: str
    action: str
    payload_digest: str
    member_id: str
    created_at: datetime
    used_by: str | None = None
    party_id: str | None = None
    state: str | None = None  # waiting (an operator's: confirm), done, refused, …
    asked: JSON = None
    key_id: str = ""
    roles: tuple[Role, ...] = ()
    rule_ids: tuple[str, ...] = ()
    given: tuple[Decision, ...] = ()
    amount_fen: int | None = None
    reason: str = ""
    expires_at: datetime | None = None
    reminded_at: datetime | None = None
    ended_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Invitation:
    """A link by which one person becomes, once, a member of a party; only its digest is kept."""

    id: str
    party_id: str
    secret_sha256: str
    name: str
    email: str = ""
    roles: tuple[Role, ...] = ()
    owner: bool = False
    state: str = "open"  # accepted, revoked, expired
    invited_by: str
    created_at: datetime
    expires_at: datetime
    reminded_at: datetime | None = None
    member_id: str | None = None  # who accepted it
    ended_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SignIn:
    """A person of an identity provider, bound to a member (OpenID Connect Core §5.7)."""

    id: str
    issuer: str
    subject: str
    member_id: str
    party_id: str
    created_at: datetime
    ended_at: datetime | None = None
