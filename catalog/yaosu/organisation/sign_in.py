"""Who a person of an identity provider is here: a member, by invitation, never by themselves.

A first sign-in is bound to a member by the link of an invitation, by a session with an access key,
or, where the operator allows it, by the verified e-mail that an open invitation was addressed to.
Nothing of the provider ever makes an organisation.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

from yaosu.errors import Conflict, Forbidden
from yaosu.identity import issue_key
from yaosu.model import AccessKey, Actor, Member, new_id
from yaosu.model_organisation import SignIn
from yaosu.ports import Reader, Transaction

from . import invitations
from .members import roles_of
from .openid import Person

SESSION = "session"
"""The scope of a key that only a browser's session stands on: as a bearer key it is none."""
HOURS = 12


def enter(
    tx: Transaction,
    person: Person,
    *,
    invitation: str = "",
    by_key: str = "",
    by_email: bool = False,
) -> AccessKey:
    """Return the key of a session for the member that the person is, or becomes now.

    `invitation` is the secret of a link, `by_key` the key of a session that asked to be bound.
    """
    bound = tx.one(SignIn, issuer=person.issuer, subject=person.subject)
    known = tx.get(Member, bound.member_id) if bound and bound.ended_at is None else None
    if invitation:
        by = None if known is None else _as_actor(tx, known)
        found = invitations.look(tx, invitation, tx.now)
        member = invitations.accept(tx, found, by, person.name).member
    elif by_key:
        member = _member_of(tx, by_key)
        if known is not None and known.id != member.id:
            raise Conflict(
                "this person of the sign-in service is somebody else here",
                "该统一登录账户已绑定其他成员",
            )
    elif known is not None:
        member = known
    else:
        addressed = by_email and person.email_verified
        found_by = invitations.addressed_to(tx, person.email) if addressed else None
        if found_by is None:
            raise Forbidden(
                "nobody has invited you yet: ask an owner of your organisation for an invitation, "
                "open its link, and sign in from there",
                "您尚未受邀：请联系本机构所有者发送邀请，打开链接后再登录",
                operation="sign_in",
            )
        member = invitations.accept(tx, found_by, None, person.name).member
    if known is None or known.id != member.id:
        _bind(tx, bound, person, member)
    return _session_key(tx, member)


def _bind(tx: Transaction, bound: SignIn | None, person: Person, member: Member) -> None:
    made = SignIn(
        id=bound.id if bound else new_id("sin"),
        issuer=person.issuer,
        subject=person.subject,
        member_id=member.id,
        party_id=member.party_id,
        created_at=tx.now,
    )
    (tx.put if bound else tx.add)(made)
    payload = {"member_id": member.id, "sign_in_id": made.id}
    tx.record(member.party_id, "sign_in_bound", actor_id=member.id, payload=payload)


def _as_actor(reader: Reader, member: Member) -> Actor:
    return Actor(
        party_id=member.party_id,
        member_id=member.id,
        key_id="",
        roles=roles_of(reader, member),
    )


def _member_of(reader: Reader, key_id: str) -> Member:
    key = reader.one(AccessKey, id=key_id)
    if key is None or key.revoked_at is not None:
        raise Forbidden("log in again first", "请重新登录", operation="sign_in")
    return reader.get(Member, key.member_id)


def _session_key(tx: Transaction, member: Member) -> AccessKey:
    """Return a key whose secret nobody ever learns: it lives as long as the session."""
    if member.ended_at is not None:
        raise Forbidden("you belong to this organisation no more", "您已不再是该机构成员")
    made, _ = issue_key(tx, member, roles_of(tx, member), label="sign-in", scope=SESSION)
    made = replace(made, expires_at=tx.now + timedelta(hours=HOURS))
    tx.put(made)
    return made


def leave(tx: Transaction, key_id: str) -> bool:
    """End the key of a session; tells whether it was one of a sign-in."""
    key = tx.one(AccessKey, id=key_id)
    if key is None or key.scope != SESSION:
        return False
    tx.put(replace(key, revoked_at=key.revoked_at or tx.now))
    tx.record(key.party_id, "key_revoked", actor_id=key.member_id, payload={"key_id": key.id})
    return True
