"""Records of what happens to data after it was bought: used, recalled, deleted."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from .model import JSON, Signature


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageReceipt:
    """A buyer's signed word on which trades fed which model; `document` is what it signed."""

    id: str
    party_id: str
    model: str
    model_version: str
    run: str
    document: JSON
    digest: str
    signature: Signature
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageSource:
    """One trade among the sources of a usage receipt."""

    id: str
    receipt_id: str
    trade_id: str
    listing_id: str
    party_id: str
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Recall:
    """One version of a dataset that was called back; `root_id` names the recall that found it.

    `files` are SHA-256 of what is recalled; empty means the whole version. `elsewhere` names
    listings of others with the same content, which this actor could not stop.
    """

    id: str
    root_id: str
    listing_id: str
    provider_id: str
    party_id: str
    actor_id: str
    state: str = "open"
    reason: str
    scope: str
    files: tuple[str, ...] = ()
    content_digest: str | None = None
    elsewhere: tuple[str, ...] = ()
    spread_to: str | None = None
    spread: bool = False
    created_at: datetime
    closed_at: datetime | None = None
    closing: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RecallNotice:
    """A trade that a recall affects, and what its buyer has confirmed.

    "informed": nothing was delivered; "pending": deletion is to be confirmed; "confirmed";
    "released": the recall was closed before.
    """

    id: str
    recall_id: str
    trade_id: str
    listing_id: str
    provider_id: str
    user_id: str
    deliveries: tuple[str, ...] = ()
    state: str = "pending"
    stopped: tuple[tuple[str, str], ...] = ()  # deliveries that it closed, and what they were
    statement: str = ""
    document: JSON = None
    signature: Signature | None = None
    created_at: datetime
    confirmed_at: datetime | None = None
