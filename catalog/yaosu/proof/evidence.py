"""What an event's digest covers, and what of an event the public log shows (domain c.4).

Works on plain JSON, so that a receipt is checked by the same words that made it, without a store.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from yaosu_schemas.canonical import digest, jcs

COVERED = (
    "subject_id",
    "seq",
    "type",
    "from_state",
    "to_state",
    "actor_id",
    "at",
    "payload_digest",
    "prev_digest",
)
"""What the digest of an event is taken over: all of it but its number in the store."""


READS, READS_ANCHORED = "market:reads", "reads_anchored"
"""Whose chain holds the anchors of the audit of reads, and the type of its events."""
READ_COVERED = (
    "id", "delivery_id", "trade_id", "key_id", "way", "name", "sha256", "start", "end", "bytes",
    "count", "status", "address", "corrects", "hour",
)  # fmt: skip


def read_leaf(read: Mapping[str, Any]) -> bytes:
    """Return what an anchor covers of a read: all of it, its time as the ledger writes it."""
    facts = {name: read.get(name) for name in READ_COVERED}
    return jcs({**facts, "hour": facts["hour"] or "", "at": stamp(read["at"])})


def stamp(at: object) -> object:
    """Return a time as the ledger writes it (RFC 3339, UTC, microseconds, Z); else what it is."""
    read = at
    if isinstance(at, str):
        try:
            read = datetime.fromisoformat(at)
        except ValueError:
            return at
    if not isinstance(read, datetime) or read.tzinfo is None:
        return at
    return read.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def row_sum(body: str) -> str:
    """Return the sum that a stored record carries: 16 hex digits of SHA-256 over the rest of it."""
    return hashlib.sha256(body.encode()).hexdigest()[:16]


def reply_sum(
    actor_id: str, key: str, fingerprint: str, status: int, headers: str, body: bytes, at: str
) -> str:
    """Return the sum that a recorded reply carries in its headers: over every column of it."""
    said = "\n".join((actor_id, key, fingerprint, str(status), headers, at)).encode() + b"\n"
    return hashlib.sha256(said + body).hexdigest()[:16]


def event_digest(event: Mapping[str, Any]) -> str:
    """Return the digest that the event must carry."""
    return digest({name: event.get(name) for name in COVERED} | {"at": stamp(event.get("at"))})


def leaf_entry(event: Mapping[str, Any]) -> bytes:
    """Return the event's leaf in the log: opaque ids, a type, a time and a digest, no content."""
    return jcs(
        {
            "subject": event.get("subject_id"),
            "seq": event.get("seq"),
            "type": event.get("type"),
            "digest": event.get("digest"),
            "at": stamp(event.get("at")),
        }
    )
