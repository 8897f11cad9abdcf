"""Invitations: a link that makes one person, once, a member of an organisation.

The link holds 256 random bits; the store keeps their SHA-256. Whoever opens it first is the one
who was meant, so it goes to that person alone, ends after some days, and can be taken back.
"""

from __future__ import annotations

import hashlib
import re
import secrets
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from yaosu.errors import Conflict, Forbidden, Gone, InvalidInput
from yaosu.identity import absent
from yaosu.model import SYSTEM, Actor, Member, Party, Role, new_id
from yaosu.model_organisation import Invitation
from yaosu.ports import Reader, Transaction

from .members import need_owner, roles_of

DAYS = 7
MOST_DAYS = 30
MOST_OPEN = 200
REMIND = timedelta(days=1)
"""How long before its end an invitation that nobody took is called to mind, once."""
_EMAIL = re.compile(r"[^@\s<>\",;]{1,64}@[^@\s<>\",;]{1,190}\.[^@\s<>\",;]{2,63}")


@dataclass(frozen=True, slots=True)
class Joined:
    """Who took an invitation; `fresh` if the member was made by it."""

    member: Member
    invitation: Invitation
    fresh: bool


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode(errors="replace")).hexdigest()


def invite(
    tx: Transaction,
    actor: Actor,
    *,
    name: str,
    email: str = "",
    roles: frozenset[Role] = frozenset(),
    owner: bool = False,
    days: int = DAYS,
) -> tuple[Invitation, str]:
    """Make an invitation to the actor's party; returns it and its secret, which is kept nowhere."""
    need_owner(tx, actor)
    if not name.strip():
        raise InvalidInput("say who is invited", "请填写受邀人姓名", field="name")
    if email and not _EMAIL.fullmatch(email):
        raise InvalidInput("this is not an e-mail address", "邮箱格式不正确", field="email")
    if not 1 <= days <= MOST_DAYS:
        raise InvalidInput(
            f"an invitation holds 1 to {MOST_DAYS} days", f"有效期为 1–{MOST_DAYS} 天", field="days"
        )
    if not roles <= actor.roles:
        raise Forbidden(
            "nobody gives a role that they do not have",
            "不能授予自己没有的角色",
            operation="organisation.manage",
        )
    if tx.count(Invitation, party_id=actor.party_id, state="open") >= MOST_OPEN:
        raise Conflict(f"{MOST_OPEN} invitations are open already", "未处理的邀请过多")
    secret = secrets.token_urlsafe(32)
    made = Invitation(
        id=new_id("ivt"),
        party_id=actor.party_id,
        secret_sha256=_digest(secret),
        name=name.strip(),
        email=email.lower(),
        roles=tuple(sorted(roles)),
        owner=owner,
        invited_by=actor.member_id,
        created_at=tx.now,
        expires_at=tx.now + timedelta(days=days),
    )
    tx.add(made)
    _record(tx, made, "member_invited", actor.id, roles=list(made.roles), owner=owner)
    return made, secret


def _record(tx: Transaction, made: Invitation, type: str, actor_id: str, **more: object) -> None:
    payload = {"invitation_id": made.id, **more}  # who was invited is nobody else's business
    tx.record(made.party_id, type, actor_id=actor_id, payload=payload)


def of_party(reader: Reader, actor: Actor) -> list[Invitation]:
    """Return the invitations of the actor's party, newest first."""
    need_owner(reader, actor)
    return reader.find(Invitation, party_id=actor.party_id, newest=True, limit=MOST_OPEN)


def revoke(tx: Transaction, actor: Actor, invitation_id: str) -> Invitation:
    """Take an invitation back; who has come stays."""
    need_owner(tx, actor)
    made = tx.one(Invitation, id=invitation_id)
    if made is None or made.party_id != actor.party_id:
        raise absent("invitation", invitation_id)
    if made.state != "open":
        raise Conflict(f"the invitation is '{made.state}'", f"该邀请已结束：{made.state}")
    ended = replace(made, state="revoked", ended_at=tx.now)
    tx.put(ended)
    _record(tx, ended, "invitation_revoked", actor.id)
    return ended


def look(reader: Reader, secret: str, now: datetime) -> Invitation:
    """Return the invitation of a link; one answer for wrong, taken, revoked and old ones."""
    found = reader.one(Invitation, secret_sha256=_digest(secret))
    if found is None or found.state != "open" or found.expires_at <= now:
        raise _over()
    return found


def _over() -> Gone:
    return Gone(
        "this invitation holds no more: ask for another one",
        "邀请链接已失效，请联系对方重新邀请",
    )


def addressed_to(reader: Reader, email: str) -> Invitation | None:
    """Return the one open invitation that was addressed to this e-mail, or None."""
    found = reader.find(Invitation, email=email.lower(), state="open", limit=2)
    return found[0] if email and len(found) == 1 else None


def accept(tx: Transaction, invitation: Invitation, by: Actor | None, name: str = "") -> Joined:
    """Take an invitation: as a member of that party already, or as a new one.

    Whoever is signed in for another party stays what they are: a member belongs to one.
    """
    invitation = tx.get(Invitation, invitation.id)
    if invitation.state != "open" or invitation.expires_at <= tx.now:
        raise _over()
    if by is not None and by.party_id != invitation.party_id:
        raise Conflict(
            "you are signed in for another organisation: log out, then open the link again",
            "您当前以其他机构身份登录，请退出后重新打开邀请链接",
        )
    if by is not None:
        before = tx.get(Member, by.member_id)
        member = replace(
            before,
            roles=tuple(sorted(roles_of(tx, before) | set(invitation.roles))),
            owner=before.owner or invitation.owner,
        )
        tx.put(member)
    else:
        member = Member(
            id=new_id("mbr"),
            party_id=invitation.party_id,
            name=name.strip()[:300] or invitation.name,
            roles=invitation.roles,
            owner=invitation.owner,
            created_at=tx.now,
        )
        tx.add(member)
        _record(tx, invitation, "member_added", invitation.invited_by, member_id=member.id)
    taken = replace(invitation, state="accepted", member_id=member.id, ended_at=tx.now)
    tx.put(taken)
    _record(tx, taken, "invitation_accepted", member.id, member_id=member.id)
    return Joined(member, taken, by is None)


# --- time -------------------------------------------------------------------------------------


def open_ones(reader: Reader) -> list[str]:
    """Return the invitations that time may end."""
    return [i.id for i in reader.find(Invitation, state="open", limit=100_000)]


def tick(tx: Transaction, invitation_id: str) -> None:
    """End an invitation whose days are over; call it to mind once before that."""
    made = tx.get(Invitation, invitation_id)
    if made.state != "open":
        return
    if made.expires_at <= tx.now:
        tx.put(replace(made, state="expired", ended_at=tx.now))
        _record(tx, made, "invitation_expired", SYSTEM.id)
    elif made.reminded_at is None and made.expires_at - tx.now <= REMIND:
        tx.put(replace(made, reminded_at=tx.now))
        _record(tx, made, "invitation_reminder", SYSTEM.id, expires_at=made.expires_at.isoformat())


def party_of(reader: Reader, invitation: Invitation) -> Party:
    return reader.get(Party, invitation.party_id)
