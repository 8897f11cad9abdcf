"""Signed callbacks in: what an exchange reports takes the step that its people would take here.

A message is a CloudEvent under a Standard Webhooks signature. It has its effect once, in one
transaction with the record of it and the reply; a replay gets the recorded reply. What fails
leaves nothing behind, so that it can be sent again when its time has come.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, TypeAdapter, ValidationError

from yaosu import listing as shelf
from yaosu import present, review
from yaosu.errors import (
    Conflict,
    IdempotencyReuse,
    InvalidDocument,
    InvalidInput,
    OutOfOrder,
    Problem,
    Unauthenticated,
)
from yaosu.identity import absent, allow
from yaosu.model import JSON, Actor, Reply, Role, Venue, new_id
from yaosu.model_outside import Callback, CallbackKey
from yaosu.ports import Reader, Transaction
from yaosu.steps import LISTING_STEPS, find
from yaosu.trading import fulfilment, periods
from yaosu.webhooks import hooks, standard_webhooks

MOST_KEYS = 10
MAX_BODY = 64 << 10


# --- what they say ----------------------------------------------------------------------------


class _Said(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, str_max_length=300)


class Filed(_Said):
    filing_no: str


class FilingRefused(_Said):
    reason: str


class PaymentConfirmed(_Said):
    amount_fen: int
    payer: str
    reference: str = ""


class CertificateIssued(_Said):
    scheme: str
    number: str
    agency: str = ""
    registered_at: str | None = None
    valid_until: str | None = None


Do = Callable[[Transaction, Actor, str, Any], Any]


def _certified(tx: Transaction, actor: Actor, listing_id: str, said: CertificateIssued) -> Any:
    certificate = said.model_dump()
    listing = shelf.load(tx, actor, listing_id)
    renewal = find(LISTING_STEPS, "renew_certificate")
    if renewal is not None and listing.state in renewal.sources:
        return review.renew_certificate(tx, actor, listing_id, certificate=certificate)
    if tx.get(Venue, listing.venue).notice_days > 0:
        return review.open_notice(tx, actor, listing_id, certificate=certificate)
    return review.register(tx, actor, listing_id, certificate=certificate)


TYPES: Mapping[str, tuple[type[_Said], Do]] = {
    "trade.filed": (
        Filed,
        lambda t, a, i, said: fulfilment.file(t, a, i, filing_no=said.filing_no),
    ),
    "trade.filing_refused": (
        FilingRefused,
        lambda t, a, i, said: fulfilment.refuse_filing(t, a, i, said.reason),
    ),
    "trade.payment_confirmed": (
        PaymentConfirmed,
        lambda t, a, i, said: fulfilment.confirm_payment(
            t, a, i, amount_fen=said.amount_fen, payer=said.payer, reference=said.reference
        ),
    ),
    "period.payment_confirmed": (
        PaymentConfirmed,
        lambda t, a, i, said: periods.confirm_payment(
            t, a, i, amount_fen=said.amount_fen, payer=said.payer, reference=said.reference
        ),
    ),
    "listing.certificate_issued": (CertificateIssued, _certified),
}
"""What can be reported, in which words, and the step it is."""


# --- keys -------------------------------------------------------------------------------------


def venue_held(reader: Reader, actor: Actor, venue_id: str) -> Venue:
    """Return the actor's own place of trading; Forbidden for that of others."""
    venue = reader.one(Venue, id=venue_id)
    if venue is None:
        raise absent("venue", venue_id)
    allow(actor, "venue.desk", venue, venue)
    return venue


def add_key(
    tx: Transaction, actor: Actor, venue_id: str, *, public_key: str = "", label: str = ""
) -> CallbackKey:
    """Register what the exchange signs with: its Ed25519 key, or a secret that is made here."""
    venue = venue_held(tx, actor, venue_id)
    if sum(k.revoked_at is None for k in keys_of(tx, venue.id)) >= MOST_KEYS:
        raise Conflict(f"at most {MOST_KEYS} keys at a time", f"同时至多 {MOST_KEYS} 个密钥")
    if public_key:
        standard_webhooks.read_public(public_key)
    key = CallbackKey(
        id=new_id("cbk"),
        venue=venue.id,
        scheme="v1a" if public_key else "v1",
        public_key=public_key,
        label=label,
        created_at=tx.now,
    )
    tx.add(key)
    payload = {"key_id": key.id, "venue": venue.id, "scheme": key.scheme, "public_key": public_key}
    tx.record(actor.party_id, "callback_key_added", actor_id=actor.id, payload=payload)
    return key


def keys_of(reader: Reader, venue_id: str) -> list[CallbackKey]:
    return reader.find(CallbackKey, venue=venue_id, limit=1000)


def revoke_key(tx: Transaction, actor: Actor, venue_id: str, key_id: str) -> CallbackKey:
    """End a key; what was signed with it and had its effect stays."""
    venue = venue_held(tx, actor, venue_id)
    key = tx.one(CallbackKey, id=key_id)
    if key is None or key.venue != venue.id:
        raise absent("key", key_id)
    ended = replace(key, revoked_at=key.revoked_at or tx.now)
    tx.put(ended)
    payload = {"key_id": key.id, "venue": venue.id}
    tx.record(actor.party_id, "callback_key_revoked", actor_id=actor.id, payload=payload)
    return ended


def key_shown(key: CallbackKey) -> dict[str, Any]:
    facts = {k: v for k, v in present.plain(key).items() if k != "id"}
    return {"key_id": key.id, **facts}


# --- one message ------------------------------------------------------------------------------


def opened(
    reader: Reader,
    venue_id: str,
    given: Mapping[str, str],
    body: bytes,
    now: datetime,
    secret: hooks.SecretOf,
) -> tuple[str, CallbackKey]:
    """Return the id of a message and the key it is signed with; refuse what is not signed now."""
    venue = reader.one(Venue, id=venue_id)
    if venue is None:
        raise absent("venue", venue_id)
    refused = Unauthenticated("the signature does not hold", "签名无效")
    if venue.party_id is None or len(body) > MAX_BODY:
        raise refused
    for key in keys_of(reader, venue.id):
        if key.revoked_at is not None:
            continue
        own = key.scheme == "v1a"
        try:
            message_id, _ = standard_webhooks.verify(
                given,
                body,
                secrets=[] if own else [secret(key.id, 1)],
                public_keys=[standard_webhooks.read_public(key.public_key)] if own else [],
                now=now,
            )
        except Unauthenticated:
            continue
        return message_id, key
    raise refused


def receive(
    tx: Transaction,
    venue_id: str,
    message_id: str,
    key: CallbackKey,
    body: bytes,
    message: JSON,
    render: Callable[[Reader, Any], JSON],
) -> tuple[Reply | None, JSON]:
    """Take the step that a message reports; returns the recorded reply of a replay, or the new one.

    `message` is what `body` says, read strictly by the door.
    """
    owner, digest = f"callback:{venue_id}", hashlib.sha256(body).hexdigest()
    before = tx.replay(owner, message_id)
    if before is not None:
        if before.fingerprint != digest:
            raise IdempotencyReuse(
                "a message of this id said something else", "同一消息编号的内容不一致"
            )
        return before, None
    held = tx.one(CallbackKey, id=key.id)
    venue = tx.get(Venue, venue_id)
    if held is None or held.revoked_at is not None or venue.party_id is None:
        raise Unauthenticated("the signature does not hold", "签名无效")
    kind, subject, happened, said, do = _read(message, message_id)
    actor = Actor(
        party_id=venue.party_id,
        member_id=key.id,
        key_id=key.id,
        roles=frozenset({Role.EXCHANGE}),
    )
    for earlier in tx.find(Callback, subject_id=subject, limit=1000):
        if earlier.venue == venue.id and earlier.happened_at >= happened:
            raise OutOfOrder(
                "a later message about this had its effect already",
                "已处理过关于同一事项的更新消息",
                type=earlier.type,
            )
    result = do(tx, actor, subject, said)
    tx.add(
        Callback(
            id=new_id("cbm"),
            venue=venue.id,
            message_id=message_id,
            key_id=key.id,
            type=kind,
            subject_id=subject,
            happened_at=happened,
            received_at=tx.now,
        )
    )
    return None, render(tx, result)


def _read(message: JSON, message_id: str) -> tuple[str, str, datetime, Any, Do]:
    """Return type, subject, time, content and step of a CloudEvent."""
    if not isinstance(message, dict) or message.get("specversion") != "1.0":
        raise InvalidInput("a callback is a CloudEvent 1.0", "回调应为 CloudEvents 1.0 消息")
    if message.get("id") != message_id:
        raise InvalidInput(
            "the id of the event is that of the message", "事件编号须与消息编号一致", field="id"
        )
    kind, subject = message.get("type"), message.get("subject")
    if not isinstance(kind, str) or kind not in TYPES:
        raise InvalidInput(
            f"the type is one of: {', '.join(TYPES)}",
            f"类型应为：{'、'.join(TYPES)}",
            field="type",
            choices=list(TYPES),
        )
    if not isinstance(subject, str) or not 0 < len(subject) <= 80:
        raise InvalidInput("the subject is the id here", "subject 应为本平台编号", field="subject")
    try:
        happened = TypeAdapter(datetime).validate_strings(message.get("time"))
        if happened.tzinfo is None:
            raise ValueError
    except (ValueError, TypeError):
        raise InvalidInput(
            "the time is RFC 3339 with its zone", "time 应为带时区的 RFC 3339 时间", field="time"
        ) from None
    shape, do = TYPES[kind]
    try:
        said = shape.model_validate(message.get("data"))
    except ValidationError as error:
        raise InvalidDocument(
            [
                Problem(
                    pointer="/data/" + "/".join(str(p)[:80] for p in item["loc"]),
                    code=str(item["type"]),
                    en="is missing, not asked for, or of another type",
                    zh="缺失、多余或类型不符",
                )
                for item in error.errors()
            ]
        ) from None
    return kind, subject, happened, said, do
