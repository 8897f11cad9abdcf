"""Parties, keys, and who may do what: one place that answers.

A key is ``yk_<key id>_<secret>``; the store keeps the SHA-256 of the secret only (256 random
bits need no slow hash). What an actor may not see does not exist for it (404, not 403).
"""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from functools import cache

from yaosu_schemas.texts import clip

from . import operations as operations_
from .errors import AlreadyExists, Conflict, Forbidden, InvalidInput, NotFound, Unauthenticated
from .model import (
    SYSTEM,
    AccessKey,
    Actor,
    Delivery,
    Listing,
    Member,
    Party,
    Role,
    SigningKey,
    Trade,
    Venue,
    new_id,
)
from .ports import Reader, Transaction
from .steps import Relation

SELF_SERVICE_ROLES = frozenset({Role.PROVIDER, Role.BUYER})
_KEY_ID = re.compile(r"[0-9a-f]{32}")
_SLUG = re.compile(r"[a-z0-9][a-z0-9-]{0,62}[a-z0-9]")
_CONTACT_FIELDS = frozenset({"person", "phone", "email", "address"})


def _denied(what: str) -> Forbidden:
    return Forbidden(
        f"your key may not do this: {what}", f"您的密钥无权执行：{what}", operation=what
    )


@cache
def _matrix() -> dict[str, frozenset[str]]:
    return {name: frozenset(who) for name, who in operations_.table()["operations"].items()}


def relations(actor: Actor | None, thing: object = None, venue: Venue | None = None) -> set[str]:
    """Return how the actor stands to the thing, in the words of the tables and the matrix.

    A reviewer or an exchange with a tie to a side of the thing is none (four eyes); an exchange
    key counts on the things of its own venue only.
    """
    if actor is None:
        return {Relation.ANYONE}
    if actor == SYSTEM:
        return {Relation.ANYONE, Relation.SYSTEM}
    found: set[str] = {Relation.ANYONE, Relation.MEMBER}
    me, roles = actor.party_id, actor.roles
    provider, user = getattr(thing, "provider_id", None), getattr(thing, "user_id", None)
    if Role.PROVIDER in roles and (provider == me or thing is None):
        found.add(Relation.PROVIDER)
    if Role.BUYER in roles and (user == me or thing is None):
        found.add(Relation.BUYER)
    if me not in (provider, user):
        if Role.REVIEWER in roles:
            found.add(Relation.REVIEWER)
        if Role.EXCHANGE in roles and (
            thing is None or (venue is not None and venue.party_id == me)
        ):
            found.add(Relation.EXCHANGE)
    if Role.ADMIN in roles:
        found.add(Relation.ADMIN)
    if isinstance(thing, Party) and thing.id == me and not actor.bound_to:
        found.add("own")
    return found


def may(
    actor: Actor | None, operation: str, thing: object = None, venue: Venue | None = None
) -> bool:
    """Tell whether the matrix allows the operation, and the key it."""
    if actor is not None and actor.operations is not None and operation not in actor.operations:
        return Relation.ANYONE in _matrix()[operation]
    return _stands(actor, operation, thing, venue)


def _stands(actor: Actor | None, operation: str, thing: object, venue: Venue | None) -> bool:
    return bool(_matrix()[operation] & relations(actor, thing, venue))


def allow(
    actor: Actor | None, operation: str, thing: object = None, venue: Venue | None = None
) -> None:
    """Let the actor pass, or raise Unauthenticated or Forbidden."""
    if may(actor, operation, thing, venue):
        return
    if actor is None:
        raise Unauthenticated(
            "this needs a key: Authorization: Bearer <key>",
            "此操作需要密钥：Authorization: Bearer <key>",
        )
    raise _denied(operation)


def can_see(actor: Actor | None, thing: Listing | Trade | Delivery, venue: Venue | None) -> bool:
    """Tell whether the thing exists for the actor."""
    if isinstance(thing, Listing):
        if _stands(actor, "listing.read_draft", thing, venue):
            return True
        if thing.state not in ("listed", "suspended", "delisted"):
            # Only a notice is public before the listing (domain L6a).
            return thing.state == "notice"
        if thing.view_policy == "public":
            return True
        if actor is None:
            return False
        return thing.view_policy == "member" or actor.party_id in thing.invited
    if isinstance(thing, Trade):
        mine = relations(actor, thing, venue)
        if Relation.REVIEWER in mine and not mine & {"provider", "buyer", "exchange", "admin"}:
            # A reviewer sees a trade that waits for an assessment, or that is disputed.
            return thing.state in ("agreed", "compliance", "disputed")
        return bool(mine & _matrix()["trade.read"])
    return _stands(actor, "delivery.describe", thing, venue)


def must_see(actor: Actor | None, thing: Listing | Trade | Delivery, venue: Venue | None) -> None:
    """Raise NotFound for what does not exist for the actor."""
    if not can_see(actor, thing, venue):
        raise absent(type(thing).__name__.lower(), thing.id)


def absent(kind: str, id: str) -> NotFound:
    """Return the one error for absent and for hidden things: they cannot be told apart."""
    return NotFound(f"no such {kind}: {id[:80]}", f"未找到：{id[:80]}", kind=kind, id=id[:80])


# --- parties and keys -----------------------------------------------------------------------


def register_party(
    tx: Transaction,
    *,
    slug: str,
    name: str,
    member: str,
    roles: frozenset[Role],
    name_en: str = "",
    holder_type: str = "legal_person",
    uscc: str | None = None,
    contact: dict[str, str] | None = None,
    by: Actor | None = None,
) -> tuple[Party, str]:
    """Add a party with its first member; returns it and that member's key (shown once).

    Anyone may register as provider or buyer; other roles are given by an admin.
    """
    if not _SLUG.fullmatch(slug):
        raise InvalidInput(
            "a short name is 2 to 64 characters of a-z, 0-9 and inner hyphens",
            "短名为 2–64 个 a-z、0-9 字符，中间可用连字符",
            field="slug",
        )
    if not roles <= SELF_SERVICE_ROLES and not may(by, "party.roles"):
        raise _denied("party.roles")
    if unknown := set(contact or {}) - _CONTACT_FIELDS:
        raise InvalidInput(
            f"unknown contact fields: {clip(sorted(unknown))}",
            f"未知的联系信息字段：{clip(sorted(unknown))}",
            field="contact",
        )
    if uscc is not None:
        from yaosu_schemas.identifiers import uscc as check_uscc

        verdict = check_uscc(uscc)
        if verdict.problem is not None:
            raise InvalidInput(verdict.problem.en, verdict.problem.zh, field="uscc")
    if tx.one(Party, slug=slug) is not None:
        raise AlreadyExists(f"the name '{slug}' is taken", f"名称“{slug}”已被使用", field="slug")
    party = Party(
        id=new_id("pty"),
        slug=slug,
        name=name,
        name_en=name_en,
        holder_type=holder_type,
        uscc=uscc,
        roles=tuple(sorted(roles)),
        contact=contact or {},
        created_at=tx.now,
    )
    tx.add(party)
    person = Member(
        id=new_id("mbr"),
        party_id=party.id,
        name=member,
        roles=party.roles,
        owner=True,
        created_at=tx.now,
    )
    tx.add(person)
    tx.record(party.id, "party_registered", actor_id=by.id if by else person.id)
    return party, issue_key(tx, person, frozenset(party.roles), label="first")[1]


def add_member(tx: Transaction, actor: Actor, name: str, roles: frozenset[Role]) -> tuple[str, str]:
    """Add a person to the actor's party, as one of its owners; returns (member id, key)."""
    from .organisation.members import need_owner

    need_owner(tx, actor)
    if not roles <= actor.roles:
        raise _denied("key.manage")
    person = Member(
        id=new_id("mbr"),
        party_id=actor.party_id,
        name=name,
        roles=tuple(sorted(roles)),
        created_at=tx.now,
    )
    tx.add(person)
    tx.record(actor.party_id, "member_added", actor_id=actor.id, payload={"member_id": person.id})
    return person.id, issue_key(tx, person, roles, label="first")[1]


def let_in_by(reader: Reader, member_id: str) -> set[str]:
    """Return the member, and everyone on whose word it acts here, back to the first."""
    found = {member_id}
    member = reader.one(Member, id=member_id)
    while member is not None:
        chain = reader.events(member.party_id)
        words = [
            e.actor_id
            for e in chain
            if e.type == "member_added" and e.payload["member_id"] == member.id
        ] or [e.actor_id for e in chain if e.type == "party_registered"]
        member = reader.one(Member, id=words[0]) if words and words[0] not in found else None
        found |= {member.id} if member is not None else set()
    return found


def issue_key(
    tx: Transaction,
    member: Member,
    roles: frozenset[Role],
    *,
    label: str = "",
    days: int | None = None,
    scope: str = "",
    operations: tuple[str, ...] | None = None,
    bound_to: tuple[str, ...] = (),
    by: Actor | None = None,
) -> tuple[AccessKey, str]:
    """Make a key for a member; returns the record and the key itself, which is kept nowhere.

    A key with a scope opens what the scope names, and no native route. One that is made with
    another key (`by`) ends with that one at the latest.
    """
    ends = [] if days is None else [tx.now + timedelta(days=days)]
    made_with = tx.one(AccessKey, id=by.key_id) if by is not None else None
    if made_with is not None and made_with.expires_at is not None:
        ends.append(made_with.expires_at)
    secret = secrets.token_urlsafe(32)
    key = AccessKey(
        id=new_id("key"),
        party_id=member.party_id,
        member_id=member.id,
        secret_sha256=hashlib.sha256(secret.encode()).hexdigest(),
        roles=tuple(sorted(roles)),
        label=label,
        created_at=tx.now,
        expires_at=min(ends, default=None),
        scope=scope,
        operations=operations,
        bound_to=bound_to,
    )
    tx.add(key)
    tx.record(member.party_id, "key_issued", actor_id=member.id, payload={"key_id": key.id})
    return key, f"yk_{key.id[4:]}_{secret}"


def new_key(
    tx: Transaction,
    actor: Actor,
    *,
    roles: frozenset[Role] | None = None,
    label: str = "",
    days: int | None = None,
    operations: Iterable[str] | None = None,
    bound_to: Iterable[str] = (),
) -> tuple[AccessKey, str]:
    """Make another key for oneself that may as much as one's own, or less.

    `operations` are names or groups of them, `bound_to` the listings and trades that it is for.
    """
    roles = actor.roles if roles is None else roles
    if not roles <= actor.roles:
        raise InvalidInput(
            "a key cannot have roles that yours has not",
            "新密钥的角色不能超出当前密钥",
            field="roles",
        )
    names = None if operations is None else operations_.read(operations)
    if names is None and actor.operations is not None:
        names = tuple(sorted(actor.operations))
    things = operations_.things(bound_to) or tuple(sorted(actor.bound_to))
    for thing in things:
        kind: type[Listing] | type[Trade] = Trade if thing.startswith("trd_") else Listing
        found: Listing | Trade | None = tx.one(kind, id=thing)
        if found is None:
            raise absent(kind.__name__.lower(), thing)
        must_see(actor, found, tx.get(Venue, found.venue))
    if not operations_.within(tx, actor, names, things):
        raise InvalidInput(
            "a key cannot be for operations or things that yours is not for",
            "新密钥的操作与对象不能超出当前密钥",
            field="operations",
        )
    return issue_key(
        tx, tx.get(Member, actor.member_id), roles,
        label=label, days=days, operations=names, bound_to=things, by=actor,
    )  # fmt: skip


def revoke_key(tx: Transaction, actor: Actor, key_id: str) -> AccessKey:
    """End a key of the actor's party, or, for an admin, anyone's."""
    key = tx.one(AccessKey, id=key_id)
    if key is None or (key.party_id != actor.party_id and not may(actor, "key.admin")):
        raise absent("key", key_id)
    if not operations_.within(tx, actor, key.operations, key.bound_to) and not key.scope:
        raise _denied("key.manage")
    ended = replace(key, revoked_at=key.revoked_at or tx.now)
    tx.put(ended)
    tx.record(key.party_id, "key_revoked", actor_id=actor.id, payload={"key_id": key.id})
    return ended


def rotate_key(
    tx: Transaction, actor: Actor, key_id: str, *, overlap_hours: int = 24
) -> tuple[AccessKey, str]:
    """Replace one's own key: the new one may the same, the old one works on for the overlap.

    Only the member whose key it is, with a key that may as much: else a rotation would be a way
    to act as somebody else, or as more.
    """
    old = tx.one(AccessKey, id=key_id)
    if old is None or old.member_id != actor.member_id or old.scope:
        raise absent("key", key_id)
    narrower = operations_.within(tx, actor, old.operations, old.bound_to)
    if not set(old.roles) <= actor.roles or not narrower:
        raise _denied("key.manage")
    until = tx.now + timedelta(hours=overlap_hours)
    if old.revoked_at is not None or (old.expires_at is not None and old.expires_at <= tx.now):
        raise Conflict("the key does not work any more", "该密钥已失效")
    limited = actor.operations is not None or bool(actor.bound_to)
    made, secret = issue_key(
        tx, tx.get(Member, old.member_id), frozenset(old.roles), label=old.label,
        operations=old.operations, bound_to=old.bound_to, by=actor if limited else None,
    )  # fmt: skip
    if old.expires_at is not None and not limited:  # as long again as the old one was made for
        made = replace(made, expires_at=tx.now + (old.expires_at - old.created_at))
        tx.put(made)
    tx.put(replace(old, expires_at=min(until, old.expires_at or until)))
    tx.record(
        old.party_id,
        "key_rotated",
        actor_id=actor.id,
        payload={"key_id": old.id, "by": made.id, "until": until.isoformat()},
    )
    return made, secret


def authenticate(
    reader: Reader,
    presented: str,
    *,
    now: datetime,
    scope: str = "",
    operation: str | None = None,
    path: str = "",
) -> Actor:
    """Return the actor behind a key; the same answer for unknown, wrong, expired, revoked.

    `scope` is the kind of key that is asked for: one for something else is as good as none. A key
    for some operations, or some things, passes to `operation` at `path` only if it was made for it.
    """
    key = _key_of(reader, presented)
    if key is None or not (key.scope.startswith(scope) if scope else not key.scope):
        raise _unknown_key()
    if key.revoked_at is not None or (key.expires_at is not None and key.expires_at <= now):
        raise _unknown_key()
    operations_.admit(reader, key, operation, path)
    return Actor(
        party_id=key.party_id,
        member_id=key.member_id,
        key_id=key.id,
        roles=frozenset(key.roles),
        operations=None if key.operations is None else frozenset(key.operations),
        bound_to=frozenset(key.bound_to),
    )


def _key_of(reader: Reader, presented: str) -> AccessKey | None:
    prefix, _, rest = presented.partition("_")
    key_id, _, secret = rest.partition("_")
    if prefix != "yk" or not secret or not _KEY_ID.fullmatch(key_id):
        return None
    key = reader.one(AccessKey, id=f"key_{key_id}")
    digest = hashlib.sha256(secret.encode(errors="replace")).hexdigest()
    return key if key is not None and hmac.compare_digest(key.secret_sha256, digest) else None


def _unknown_key() -> Unauthenticated:
    return Unauthenticated("the key is unknown, expired or revoked", "密钥无效、已过期或已撤销")


def verify_party(tx: Transaction, actor: Actor, party_id: str, evidence: str) -> Party:
    """Record that an operator checked the party's identity (数据安全法 art. 33)."""
    allow(actor, "party.verify")
    party = tx.one(Party, id=party_id)
    if party is None:
        raise absent("party", party_id)
    if party.id == actor.party_id:
        raise _denied("party.verify")
    if party.uscc is not None:
        same = tx.find(Party, uscc=party.uscc, limit=1000)
        if taken := next((p for p in same if p.id != party.id and p.verified_at), None):
            raise Conflict(
                f"the organisation of this credit code is here already: {taken.slug}",
                f"该统一社会信用代码的主体已存在：{taken.slug}",
                party_id=taken.id,
            )
    verified = replace(party, verified_by=actor.id, verified_at=tx.now, evidence=evidence)
    tx.put(verified)
    tx.record(party.id, "party_verified", actor_id=actor.id, payload={"evidence": evidence})
    return verified


def require_verified(reader: Reader, party_id: str) -> Party:
    """Return the party, or say that an operator has to check its identity first."""
    party = reader.get(Party, party_id)
    if party.verified_at is None:
        raise Forbidden(
            "the identity of your organisation has not been verified yet: ask the operator",
            "贵方身份尚未审核，请联系运营方",
            operation="party.verify",
        )
    return party


def add_signing_key(
    tx: Transaction, actor: Actor, public_key: str, *, held_by: str = "own", label: str = ""
) -> SigningKey:
    """Register a public key of the actor's party: base64 of 32 bytes (Ed25519) or 65 (SM2)."""
    from .proof.signing import read_party_key

    read_party_key(public_key)
    key = SigningKey(
        id=new_id("sgk"),
        party_id=actor.party_id,
        public_key=public_key,
        held_by=held_by,
        label=label,
        created_at=tx.now,
    )
    tx.add(key)
    tx.record(
        actor.party_id,
        "signing_key_added",
        actor_id=actor.id,
        payload={"key_id": key.id, "public_key": public_key, "held_by": held_by},
    )
    return key


def set_venue(tx: Transaction, actor: Actor, place: Venue) -> Venue:
    """Add or change a place of trading.

    Who holds it is settled once: an operator who could hand a place of trading, with the trades
    on it, to a party of its own would need no second pair of eyes.
    """
    from .present import venue as shown

    allow(actor, "venue.manage")
    if place.party_id is not None:
        holder = tx.one(Party, id=place.party_id)
        if holder is None or Role.EXCHANGE not in holder.roles:
            raise InvalidInput(
                "the party of a venue has the role exchange", "交易场所主体须具备 exchange 角色"
            )
    known = tx.one(Venue, id=place.id)
    if known is not None and known.party_id != place.party_id:
        raise Conflict(
            "the exchange of a place of trading never changes: add another place",
            "交易场所的主体不可变更，请新增交易场所",
            party_id=known.party_id,
        )
    (tx.put if known else tx.add)(place)
    tx.record(f"venue:{place.id}", "venue_set", actor_id=actor.id, payload=shown(place))
    return place
