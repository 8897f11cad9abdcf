"""Rows over the API: a metered key, calls that count once, quota and rate of the agreement.

A key opens the rows of one trade and nothing else. Whether a call may be answered, and that it is
counted, is decided in one transaction; revoking the key or the delivery ends it at once.
"""

from __future__ import annotations

import uuid
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from yaosu.errors import (
    Conflict,
    Forbidden,
    IdempotencyReuse,
    Malformed,
    PaymentNeeded,
    Stale,
    TooMany,
)
from yaosu.identity import absent, allow, authenticate, can_see, issue_key
from yaosu.listing import venue_of
from yaosu.model import AccessKey, Actor, Delivery, Listing, Member, Trade, TradeState, new_id
from yaosu.model_money import Call, DataRead
from yaosu.ports import Reader, Transaction

from .moves import load
from .reads import keep
from .recall import is_recalled
from .sharing import SharedTable, table_of

SCOPE = "api:"
KEY_DAYS = 400
MAX_CALL_ID = 255


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """What is about to be answered: which question, and how much it is."""

    resource: str
    query_digest: str
    rows: int
    bytes: int
    sha256: str
    address: str


def issue(tx: Transaction, actor: Actor, trade_id: str) -> tuple[AccessKey, str]:
    """Make a metered key for a trade whose rows are open; the buyer only, shown once."""
    trade, venue = load(tx, actor, trade_id)
    delivery = tx.get(Delivery, trade.delivery_id) if trade.delivery_id else None
    allow(actor, "delivery.read", delivery or trade, venue)
    if delivery is None or delivery.mode != "api" or not serves(delivery, tx.now):
        raise Conflict(
            "there are no rows to be called for: the delivery over the API is not open",
            "接口交付尚未开放，无法签发调用密钥",
            state=str(trade.state),
        )
    person = tx.get(Member, actor.member_id)
    return issue_key(
        tx, person, frozenset(), label=trade_id, days=KEY_DAYS, scope=SCOPE + trade_id, by=actor
    )


def serves(delivery: Delivery, now: datetime) -> bool:
    """Tell whether rows of a delivery are answered now."""
    return (
        delivery.mode == "api"
        and delivery.state == "open"
        and delivery.revoked_at is None
        and (delivery.closes_at is None or now < delivery.closes_at)
    )


def admitted(reader: Reader, key: str, delivery_id: str, now: datetime) -> tuple[Actor, Delivery]:
    """Return who calls and for what; what a key does not open is not there."""
    actor = authenticate(reader, key, now=now, scope=SCOPE)
    known = reader.get(AccessKey, actor.key_id)
    delivery = reader.one(Delivery, id=delivery_id)
    if delivery is None or known.scope != SCOPE + delivery.trade_id:
        raise absent("delivery", delivery_id)
    if not serves(delivery, now):
        raise Forbidden(
            "this delivery has ended or was revoked: nothing is answered any more",
            "该接口交付已结束或已撤销",
            operation="rows",
            delivery_id=delivery.id,
        )
    return actor, delivery


def table(reader: Reader, delivery: Delivery, resource: str) -> SharedTable:
    """Return the columns of a resource of a delivery."""
    listing = reader.get(Listing, str(delivery.listing_id))
    if is_recalled(reader, listing.id):
        raise Forbidden(
            "this version was recalled: nothing of it is answered",
            "该版本已被召回，不再提供数据",
            operation="rows",
        )
    found = table_of(reader, listing, resource) if resource in delivery.resources else None
    if found is None:
        raise absent("resource", resource)
    return found


def room(delivery: Delivery, limit: int) -> int:
    """Return how many rows a call may still be answered with; PaymentNeeded when none is left."""
    left = None if delivery.quota is None else delivery.quota - delivery.used
    if left is not None and left <= 0:
        raise PaymentNeeded(
            f"what was bought is used up: {delivery.used} of {delivery.quota} ({delivery.meter})",
            f"已购用量已用尽：{delivery.used}/{delivery.quota}（{delivery.meter}）",
            used=delivery.used,
            quota=delivery.quota,
            meter=delivery.meter,
        )
    most = min(limit, delivery.max_rows)
    return min(most, left) if left is not None and delivery.meter == "row" else most


def call_id_of(given: str | None) -> str:
    """Return the id that a call is counted under: the caller's, or a new one."""
    if given is None:
        return uuid.uuid4().hex
    if not given or len(given) > MAX_CALL_ID or not given.isprintable():
        raise Malformed("an id of a call has 1 to 255 characters", "调用编号应为 1–255 个字符")
    return given


def replayed(reader: Reader, delivery: Delivery, call_id: str, query_digest: str) -> Call | None:
    """Return the call that was counted under this id, if it was the same question."""
    before = reader.one(Call, delivery_id=delivery.id, call_id=call_id)
    if before is not None and before.query_digest != query_digest:
        raise IdempotencyReuse(
            "this Idempotency-Key was used for another call",
            "该 Idempotency-Key 已用于其他调用",
        )
    return before


def count(tx: Transaction, key: str, delivery_id: str, call_id: str, answer: Answer) -> Call:
    """Count a call once, in the transaction that finds that it may be answered."""
    actor, _ = admitted(tx, key, delivery_id, tx.now)
    delivery = tx.get(Delivery, delivery_id)  # locked: calls of one delivery count in turn
    before = replayed(tx, delivery, call_id, answer.query_digest)
    if before is not None:
        keep(tx, [_read(actor, delivery, answer, tx.now)])  # counted once, and read again
        return before
    if tx.get(Trade, delivery.trade_id).state in (TradeState.TERMINATED, TradeState.CANCELLED):
        raise absent("delivery", delivery_id)
    most = room(delivery, answer.rows)
    if answer.rows > most:
        raise Stale("less is left than was read: read again", "余量不足，请重新读取")
    minute = tx.now.replace(second=0, microsecond=0)
    in_minute = delivery.in_minute if delivery.minute == minute else 0
    if delivery.rate_per_minute is not None and in_minute >= delivery.rate_per_minute:
        wait = (minute + timedelta(minutes=1) - tx.now).total_seconds()
        raise TooMany(
            f"{delivery.rate_per_minute} calls a minute are agreed",
            f"约定每分钟 {delivery.rate_per_minute} 次调用",
            retry_after=max(1, round(wait)),
            rate_per_minute=delivery.rate_per_minute,
        )
    units = {"call": 1, "row": answer.rows, "byte": answer.bytes}[delivery.meter]
    if delivery.quota is not None:
        units = min(units, delivery.quota - delivery.used)
    call = Call(
        id=new_id("cal"),
        delivery_id=delivery.id,
        call_id=call_id,
        trade_id=delivery.trade_id,
        key_id=actor.key_id,
        resource=answer.resource,
        query_digest=answer.query_digest,
        rows=answer.rows,
        bytes=answer.bytes,
        units=units,
        at=tx.now,
    )
    tx.add(call)
    keep(tx, [_read(actor, delivery, answer, tx.now)])
    tx.put(
        replace(
            delivery,
            used=delivery.used + units,
            calls=delivery.calls + 1,
            minute=minute,
            in_minute=in_minute + 1,
        )
    )
    return call


def _read(actor: Actor, delivery: Delivery, answer: Answer, now: datetime) -> DataRead:
    return DataRead(
        id=new_id("red"), delivery_id=delivery.id, trade_id=delivery.trade_id,
        key_id=actor.key_id, way="rows", name=answer.resource, sha256=answer.sha256,
        start=0, end=answer.bytes, bytes=answer.bytes, status=200, address=answer.address, at=now,
    )  # fmt: skip


def usage(
    reader: Reader, actor: Actor, delivery_id: str, *, after: str | None, limit: int
) -> tuple[Delivery, list[Call]]:
    """Return the metered calls of a delivery to its sides, newest first."""
    delivery = reader.one(Delivery, id=delivery_id)
    if delivery is None or not can_see(
        actor, delivery, venue_of(reader, reader.get(Trade, delivery.trade_id))
    ):
        raise absent("delivery", delivery_id)
    found = reader.find(Call, delivery_id=delivery.id, after=after, limit=limit, newest=True)
    return delivery, found
