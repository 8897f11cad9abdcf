"""A person's notices: told once, read, left out by kind, and fed to readers by a secret link."""

from __future__ import annotations

import contextlib
import hmac
import secrets
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from functools import partial
from typing import Any

from yaosu import present
from yaosu.errors import AlreadyExists, InvalidInput
from yaosu.identity import absent
from yaosu.model import JSON, AccessKey, Actor, Role, new_id
from yaosu.model_notices import Inbox, Notice
from yaosu.model_organisation import SignIn
from yaosu.organisation.members import living
from yaosu.ports import Reader, Store, Transaction

from .causes import KINDS

AT_ONCE = 500
"""How many notices one call marks as read."""

SecretOf = Callable[[str, int], bytes]
"""(inbox id, generation) → the 32 secret bytes of its link."""


# --- telling ----------------------------------------------------------------------------------


def people(reader: Reader, party_id: str, role: Role, now: datetime) -> list[str]:
    """Return the members of a party who hold a key of that role that works now, or sign in."""
    found: dict[str, None] = {}
    after: str | None = None
    while page := reader.find(AccessKey, party_id=party_id, after=after, limit=500):
        after = page[-1].id
        found |= {k.member_id: None for k in page if role in k.roles and _works(k, now)}
    for member in living(reader, party_id):  # and who signs in without any key
        if member.id not in found and role in (member.roles or ()):
            found |= {s.member_id: None for s in reader.find(SignIn, member_id=member.id, limit=1)}
    return list(found)


def _works(key: AccessKey, now: datetime) -> bool:
    ended = key.expires_at is not None and key.expires_at <= now
    return key.revoked_at is None and not ended and not key.scope


def tell(
    tx: Transaction,
    party_id: str,
    members: Iterable[str],
    *,
    kind: str,
    cause: str,
    subject_id: str,
    at: datetime,
    role: Role | None = None,
    facts: Mapping[str, JSON] | None = None,
) -> int:
    """Leave a notice with each of these people, once for a cause; returns how many were told."""
    told = 0
    for member_id in members:
        inbox = tx.one(Inbox, member_id=member_id)
        if inbox is not None and kind in inbox.muted:
            continue
        made = Notice(
            id=_id_at(at, cause), party_id=party_id, member_id=member_id, unread_by=member_id,
            role=role or "", kind=kind, cause=cause, subject_id=subject_id, facts=facts or {},
            at=at, created_at=tx.now,
        )  # fmt: skip
        with contextlib.suppress(AlreadyExists):  # told of this cause before
            tx.add(made)
            told += 1
    return told


def _id_at(at: datetime, cause: str) -> str:
    """Return an id that sorts by the time of the cause: jobs tell of causes in any order.

    Within a millisecond events sort as they came, by the last 12 bits of their number.
    """
    number = cause.removeprefix("evt_")
    order = int(number) & 0xFFF if number.isdigit() else 0
    head = int(at.timestamp() * 1000) << 80 | 7 << 76 | order << 64
    return f"ntc_{head | 2 << 62 | secrets.randbits(62):032x}"


# --- reading ----------------------------------------------------------------------------------


def _seen_as(roles: Iterable[Role]) -> tuple[str, ...]:
    return ("", *sorted(roles))


def unread(reader: Reader, actor: Actor) -> int:
    """Return how many notices the person has not read, of those that this key may see."""
    return reader.count(Notice, unread_by=actor.member_id, role=_seen_as(actor.roles))


def page(
    reader: Reader,
    actor: Actor,
    *,
    kind: str = "",
    only_unread: bool = False,
    cursor: str | None = None,
    size: int = 50,
) -> list[Notice]:
    """Return a page of the person's notices, newest first."""
    where: dict[str, object] = {"unread_by" if only_unread else "member_id": actor.member_id}
    if kind:
        where["kind"] = checked([kind])[0]
    role = _seen_as(actor.roles)
    return reader.find(Notice, after=cursor, limit=size, newest=True, role=role, **where)


def load(reader: Reader, actor: Actor, notice_id: str) -> Notice:
    """Return a notice of the actor's own; all others do not exist for them."""
    found = reader.one(Notice, id=notice_id)
    if found is None or found.member_id != actor.member_id:
        raise absent("notice", notice_id)
    if found.role not in _seen_as(actor.roles):
        raise absent("notice", notice_id)
    return found


def mark(tx: Transaction, actor: Actor, notice_id: str, *, read: bool = True) -> Notice:
    """Say that a notice was read, or that it is to be looked at again."""
    found = load(tx, actor, notice_id)
    if (found.read_at is not None) == read:
        return found
    marked = replace(
        found,
        unread_by=None if read else actor.member_id,
        read_at=tx.now if read else None,
    )
    tx.put(marked)
    return marked


def mark_all(tx: Transaction, actor: Actor, kind: str = "") -> tuple[int, int]:
    """Mark the oldest notices as read; returns (how many, how many are left)."""
    where = {"kind": checked([kind])[0]} if kind else {}
    mine: dict[str, Any] = {"unread_by": actor.member_id, "role": _seen_as(actor.roles), **where}
    found = tx.find(Notice, limit=AT_ONCE, **mine)
    for notice in found:
        tx.put(replace(notice, unread_by=None, read_at=tx.now))
    return len(found), tx.count(Notice, **mine)


def forget_read(store: Store, now: datetime, days: int) -> int:
    """Remove what was read more than `days` days ago, 0 keeps all; returns how many are gone.

    The events that they told of stay. What nobody has read stays, too.
    """
    gone, after, before = 0, "", now - timedelta(days=days)
    while days:
        with store.read() as reader:
            page = reader.find(Notice, unread_by=None, after=after, limit=AT_ONCE)
        old = [n for n in page if n.at < before]  # in the order of ids: none read before it was
        over = [n.id for n in old if n.read_at is not None and n.read_at < before]
        if over:
            store.write(partial(_forget, ids=over))
        gone += len(over)
        if len(old) < AT_ONCE:
            return gone
        after = old[-1].id
    return gone


def _forget(tx: Transaction, ids: Sequence[str]) -> None:
    for notice_id in ids:
        kept = tx.one(Notice, id=notice_id)
        if kept is not None and kept.read_at is not None:  # not called unread meanwhile
            tx.forget_notice(notice_id)


def checked(kinds: Sequence[str]) -> tuple[str, ...]:
    """Return kinds without repetition; InvalidInput for one that there is not."""
    if not set(kinds) <= set(KINDS):
        raise InvalidInput(
            f"a kind of notice is one of: {', '.join(KINDS)}",
            f"通知类型应为：{'、'.join(KINDS)}",
            field="kind",
        )
    return tuple(dict.fromkeys(kinds))


# --- how one is told --------------------------------------------------------------------------


def of(reader: Reader, actor: Actor) -> Inbox:
    """Return how the person gets notices; who never chose gets all of them, and no feed."""
    found = reader.one(Inbox, member_id=actor.member_id)
    return found or Inbox(id=new_id("inb"), party_id=actor.party_id, member_id=actor.member_id)


def _keep(tx: Transaction, kept: Inbox) -> Inbox:
    known = tx.one(Inbox, member_id=kept.member_id) is not None
    (tx.put if known else tx.add)(kept)
    return kept


def mute(tx: Transaction, actor: Actor, kinds: Sequence[str]) -> Inbox:
    """Leave out these kinds from now on."""
    return _keep(tx, replace(of(tx, actor), muted=checked(kinds)))


def new_link(tx: Transaction, actor: Actor) -> Inbox:
    """Make a secret link to the feed, seen with the roles of this key; the one before is dead."""
    mine = of(tx, actor)
    roles = tuple(sorted(actor.roles))
    return _keep(tx, replace(mine, feed=mine.feed + 1, feed_on=True, roles=roles))


def end_link(tx: Transaction, actor: Actor) -> Inbox:
    """End the feed: its link is as one that never was."""
    return _keep(tx, replace(of(tx, actor), feed_on=False, roles=()))


def token_of(mine: Inbox, secret: SecretOf) -> str | None:
    """Return what the link of the feed ends with, or None where there is none."""
    if not mine.feed_on:
        return None
    return f"{mine.id[4:]}.{secret(mine.id, mine.feed).hex()}"


def opened(reader: Reader, token: str, secret: SecretOf, now: datetime) -> tuple[Inbox, Actor]:
    """Return whose feed a token opens, and with whose eyes: never more than its person has now."""
    name, _, given = token.partition(".")
    mine = reader.one(Inbox, id=f"inb_{name}") if given.isascii() else None
    wanted = token_of(mine, secret) if mine else None
    if mine is None or wanted is None or not hmac.compare_digest(wanted, token):
        raise absent("feed", "feed")
    keys = reader.find(AccessKey, member_id=mine.member_id, limit=500)
    held = {role for key in keys if _works(key, now) for role in key.roles}
    if not any(_works(key, now) for key in keys):
        raise absent("feed", "feed")
    roles = frozenset(mine.roles) & held
    return mine, Actor(party_id=mine.party_id, member_id=mine.member_id, key_id="", roles=roles)


# --- as they are shown ------------------------------------------------------------------------


def shown(notice: Notice) -> dict[str, Any]:
    """Return a notice as its person sees it, without the words."""
    hidden = {"id", "party_id", "member_id", "unread_by", "role", "cause"}
    facts = {k: v for k, v in present.plain(notice).items() if k not in hidden}
    return {"notice_id": notice.id, "read": notice.read_at is not None, **facts}
