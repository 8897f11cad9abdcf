"""The people of an organisation: who owns it, who belongs to it, who has left."""

from __future__ import annotations

from dataclasses import replace

from yaosu.errors import Conflict, Forbidden
from yaosu.identity import absent
from yaosu.model import SYSTEM, AccessKey, Actor, Member, Role
from yaosu.model_organisation import SignIn
from yaosu.ports import Reader, Transaction

MOST = 1000


def living(reader: Reader, party_id: str) -> list[Member]:
    """Return the members who have not left, the first one first."""
    return [m for m in reader.find(Member, party_id=party_id, limit=MOST) if m.ended_at is None]


def owners(reader: Reader, party_id: str) -> list[Member]:
    """Return who may invite, and set rules: the first member, and whom an owner made one."""
    first = reader.find(Member, party_id=party_id, limit=1)
    return [m for m in living(reader, party_id) if m.owner or m.id == first[0].id]


def is_owner(reader: Reader, actor: Actor) -> bool:
    """Tell whether the actor is an owner, by a key that may all that this member may.

    A key that was made for less (a program's) is none.
    """
    if actor.member_id == SYSTEM.member_id:
        return True  # a command on the host
    if actor.operations is not None or actor.bound_to:
        return False
    mine = next((m for m in owners(reader, actor.party_id) if m.id == actor.member_id), None)
    return mine is not None and actor.roles >= roles_of(reader, mine)


def roles_of(reader: Reader, member: Member) -> frozenset[Role]:
    """Return what a member may act as; of one from before members had roles, its keys say it."""
    if member.roles is not None:
        return frozenset(member.roles)
    keys = reader.find(AccessKey, member_id=member.id, limit=MOST)
    return frozenset(r for k in keys if k.revoked_at is None and not k.scope for r in k.roles)


def need_owner(reader: Reader, actor: Actor) -> None:
    if not is_owner(reader, actor):
        raise Forbidden(
            "this is for an owner of your organisation",
            "此操作仅限本机构的所有者",
            operation="organisation.manage",
        )


def end(tx: Transaction, actor: Actor, member_id: str) -> Member:
    """Let a member leave: its keys end, it signs in no more; what it did stays as it was."""
    need_owner(tx, actor)
    member = tx.one(Member, id=member_id)
    if member is None or member.party_id != actor.party_id:
        raise absent("member", member_id)
    if [m.id for m in owners(tx, actor.party_id)] == [member_id]:
        raise Conflict(
            "the last owner cannot leave: make another one first",
            "最后一名所有者不能移除，请先设置其他所有者",
        )
    if member.ended_at is not None:
        return member
    ended = replace(member, ended_at=tx.now)
    tx.put(ended)
    for key in tx.find(AccessKey, member_id=member_id, limit=MOST):
        if key.revoked_at is None:
            tx.put(replace(key, revoked_at=tx.now))
    for bound in tx.find(SignIn, member_id=member_id, limit=MOST):
        tx.put(replace(bound, ended_at=tx.now))
    tx.record(actor.party_id, "member_ended", actor_id=actor.id, payload={"member_id": member_id})
    return ended
