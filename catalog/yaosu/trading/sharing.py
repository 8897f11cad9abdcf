"""Tables that a completed delivery opens to readers of columns, under a token of its own.

A token is an access key without roles whose scope is one trade: it opens nothing else, it ends
with the delivery, and revoking it ends it at once. Tables that are no Parquet are converted once
per version, in the sandbox; what was converted, and how, is kept beside them.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime

from yaosu.errors import Conflict, Unauthenticated, Unsupported
from yaosu.identity import allow, authenticate, issue_key
from yaosu.listing import files_of
from yaosu.model import (
    JSON,
    SYSTEM,
    AccessKey,
    Actor,
    Delivery,
    Holding,
    Listing,
    Member,
    Trade,
    new_id,
)
from yaosu.package_files import tables_of
from yaosu.ports import Reader, Transaction
from yaosu_schemas.canonical import digest

from .moves import load
from .recall import flows

SCOPE = "delta:"
CONVERTER = "columnar/1"
MARKET = "market"  # holds what was made from the holdings of others
SHARE_DAYS = 90


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedVersion:
    """One version of a dataset that a buyer may read, with the delivery that opens it."""

    trade: Trade
    delivery: Delivery
    listing: Listing
    key_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SharedTable:
    """One table as columns: where its bytes are, and what the conversion did."""

    sha256: str
    source_sha256: str
    facts: JSON

    @classmethod
    def from_bytes(cls, body: bytes) -> SharedTable:
        return cls(**json.loads(body))

    def as_bytes(self) -> bytes:
        return json.dumps(
            {"sha256": self.sha256, "source_sha256": self.source_sha256, "facts": self.facts},
            ensure_ascii=False,
        ).encode()


def view_of(listing: Listing, resource: str) -> str:
    """Return the name under which the columns of a resource are kept."""
    pinned = listing.content_digest
    if not pinned:  # a draft: its own, and only as long as this is what the resource says
        said = [r for r in listing.descriptor.get("resources") or () if r.get("name") == resource]
        pinned = f"{listing.id}:{digest({'resource': said})}"
    return f"columns:{pinned}:{CONVERTER}:{resource}"


def resources_of(listing: Listing) -> list[str]:
    """Return the names of the resources that are tables in one file."""
    return tables_of(listing.descriptor)


def issue(tx: Transaction, actor: Actor, trade_id: str) -> tuple[AccessKey, str]:
    """Make a token for the tables of a delivered trade; the buyer only, and it is shown once."""
    trade, venue = load(tx, actor, trade_id)
    delivery = _open_delivery(tx, trade)
    allow(actor, "delivery.read", delivery or trade, venue)
    if delivery is None:
        raise Conflict(
            "the delivery is not open: its tables cannot be shared",
            "交付尚未开放，无法共享数据表",
            state=trade.state,
        )
    listing = tx.get(Listing, delivery.listing_id or trade.listing_id)
    names = resources_of(listing)
    if not names:
        raise Unsupported(
            "nothing in this delivery is a table: fetch its files", "交付内容没有数据表，请下载文件"
        )
    for name in names:
        if tx.view(view_of(listing, name)) is None:
            body = {"listing_id": listing.id, "resource": name}
            tx.enqueue("columns", body, once=view_of(listing, name))
    days = SHARE_DAYS
    if delivery.closes_at is not None:
        days = max(1, min(days, (delivery.closes_at - tx.now).days + 1))
    person = tx.get(Member, actor.member_id)
    return issue_key(
        tx, person, frozenset(), label=trade_id, days=days, scope=SCOPE + trade_id, by=actor
    )


def _open_delivery(reader: Reader, trade: Trade) -> Delivery | None:
    found = reader.one(Delivery, id=trade.delivery_id) if trade.delivery_id else None
    if found is not None and not flows(reader, found):
        return None
    serves = found is not None and found.state == "open" and found.mode == "file"
    return found if serves and found is not None and not found.revoked_at else None


def admitted(reader: Reader, token: str, now: datetime) -> list[SharedVersion]:
    """Return what a token opens: every version of the dataset that its buyer may read.

    Unauthenticated for a token that is wrong, expired or revoked, or whose delivery has ended.
    """
    actor = authenticate(reader, token, now=now, scope=SCOPE)
    key = reader.get(AccessKey, str(actor.key_id))
    trade = reader.one(Trade, id=key.scope.removeprefix(SCOPE))
    refused = Unauthenticated("the delivery has ended", "交付已结束")
    if trade is None or not _is_open(_open_delivery(reader, trade), now):
        raise refused
    dataset = reader.get(Listing, trade.listing_id).dataset_id
    found: dict[int, SharedVersion] = {}
    for other in reader.find(Trade, user_id=key.party_id, limit=1000):
        delivery = _open_delivery(reader, other)
        what = delivery.listing_id if delivery is not None else None
        listing = reader.get(Listing, what or other.listing_id)
        if listing.dataset_id == dataset and delivery is not None and _is_open(delivery, now):
            found[listing.version] = SharedVersion(
                trade=other, delivery=delivery, listing=listing, key_id=key.id
            )
    return [found[version] for version in sorted(found)]


def _is_open(delivery: Delivery | None, now: datetime) -> bool:
    return delivery is not None and (delivery.closes_at is None or now < delivery.closes_at)


def still_shared(reader: Reader, delivery_id: str, key_id: str) -> Delivery | None:
    """Return the delivery of a link, unless its version or its token was called back since."""
    found, key = reader.one(Delivery, id=delivery_id), reader.one(AccessKey, id=key_id)
    if found is None or key is None or key.revoked_at is not None:
        return None
    return found if flows(reader, found) else None


def table_of(reader: Reader, listing: Listing, resource: str) -> SharedTable | None:
    """Return the columns of a resource, or None while they are being made."""
    kept = reader.view(view_of(listing, resource))
    return None if kept is None else SharedTable.from_bytes(kept[1])


def keep(tx: Transaction, listing: Listing, resource: str, table: SharedTable) -> None:
    """Keep the columns of a resource with the record of their conversion."""
    if tx.one(Holding, party_id=MARKET, sha256=table.sha256) is None:
        tx.add(
            Holding(
                id=new_id("hld"),
                party_id=MARKET,
                sha256=table.sha256,
                bytes=int(table.facts["bytes"]),
                created_at=tx.now,
            )
        )
    tx.keep_view(view_of(listing, resource), table.as_bytes())
    state = tx.get(Listing, listing.id).state  # it may have gone on while the columns were made
    tx.record(
        listing.id,
        "columns_made",
        actor_id=SYSTEM.id,
        from_state=state,
        to_state=state,
        payload={
            "resource": resource,
            "source_sha256": table.source_sha256,
            "sha256": table.sha256,
            "converter": CONVERTER,
        },
    )


def source_of(listing: Listing, resource: str) -> str:
    """Return the digest of the file that a resource is made of."""
    path = next(r["path"] for r in listing.descriptor["resources"] if r["name"] == resource)
    return next(sha256 for _, at, sha256, _ in files_of(listing.descriptor) if at == path)
