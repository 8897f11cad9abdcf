"""The nouns of the marketplace: frozen records without I/O.

Descriptions that cross the border (a dataset's descriptor) stay the JSON they are; states of
the market (listing, trade, delivery) are typed here. Money is integer fen, times are aware UTC,
digests are ``sha256:<64 hex>``, ids are ``<prefix>_<uuid7 hex>``.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Mapping
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from enum import StrEnum
from typing import Any

JSON = Any
"""A JSON value: the shape is checked by the schema that governs it, not by the type."""


def new_id(prefix: str) -> str:
    """Return `<prefix>_<uuid7>` in hex: unique, and sorted by time of creation.

    Ids of one process never go back, even within a millisecond or when the clock does
    (RFC 9562 §6.2, method 2): the random part of the id before is counted up by a random step.
    What the caller chose an id for gets that one (`client_ids`).
    """
    global _last_id
    chosen = chosen_ids.get()
    if chosen and prefix in chosen:
        return chosen.pop(prefix)
    value = (time.time_ns() // 1_000_000) << 74 | int.from_bytes(os.urandom(10), "big") >> 6
    with _id_lock:
        if value >> 74 <= _last_id >> 74:
            value = _last_id + 1 + int.from_bytes(os.urandom(4), "big")
        _last_id = value
    # 48 bits of time, version 7, 12 bits, variant 2, 62 bits.
    head, middle, tail = value >> 74, value >> 62 & 0xFFF, value & (1 << 62) - 1
    return f"{prefix}_{head << 80 | 7 << 76 | middle << 64 | 2 << 62 | tail:032x}"


chosen_ids: ContextVar[dict[str, str] | None] = ContextVar("chosen_ids", default=None)
_last_id = 0
_id_lock = threading.Lock()


class Role(StrEnum):
    """What a key may act as (domain b.18; the authorisation matrix speaks in these)."""

    PROVIDER = "provider"
    BUYER = "buyer"
    REVIEWER = "reviewer"
    EXCHANGE = "exchange"
    ADMIN = "admin"


class ListingState(StrEnum):
    """Where a version of a dataset stands on its way into the market (domain c.2)."""

    DRAFT = "draft"
    SUBMITTED = "submitted"
    VALIDATING = "validating"
    REVIEW = "review"
    NOTICE = "notice"
    REGISTERED = "registered"
    LISTED = "listed"
    SUSPENDED = "suspended"
    DELISTED = "delisted"
    RETURNED = "returned"
    WITHDRAWN = "withdrawn"


class TradeState(StrEnum):
    """Where a trade stands, from intent to completion (domain c.3)."""

    INTENT = "intent"
    NEGOTIATING = "negotiating"
    AGREED = "agreed"
    COMPLIANCE = "compliance"
    SIGNED = "signed"
    FILED = "filed"
    DELIVERING = "delivering"
    DELIVERED = "delivered"
    ACCEPTED = "accepted"
    SETTLING = "settling"
    SETTLED = "settled"
    VOUCHERED = "vouchered"
    COMPLETED = "completed"
    CANCELLED = "cancelled"
    TERMINATED = "terminated"
    DISPUTED = "disputed"


@dataclass(frozen=True, slots=True, kw_only=True)
class Actor:
    """Who takes a step: a member of a party, through one key, in the roles of that key."""

    party_id: str
    member_id: str
    key_id: str
    roles: frozenset[Role]
    approval: str = ""  # the request that a second person said yes to, where a rule asks for one
    operations: frozenset[str] | None = None  # what alone the key may; None: all of its roles
    bound_to: frozenset[str] = frozenset()  # the listings and trades it is for, if not for all

    @property
    def id(self) -> str:
        return self.member_id


SYSTEM = Actor(party_id="system", member_id="system", key_id="system", roles=frozenset())
"""The market itself: jobs, timers, standing instructions."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Party:
    """An organisation or a natural person that acts on the market."""

    id: str
    slug: str
    name: str
    name_en: str = ""
    holder_type: str = "legal_person"
    uscc: str | None = None
    roles: tuple[Role, ...] = ()
    contact: Mapping[str, str] = field(default_factory=dict)
    verified_by: str | None = None
    verified_at: datetime | None = None
    evidence: str = ""
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Member:
    """A person who acts for a party; an owner may invite others, and set rules."""

    id: str
    party_id: str
    name: str
    created_at: datetime
    roles: tuple[Role, ...] | None = None  # None: one from before members had any
    owner: bool = False
    ended_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessKey:
    """A bearer key of a member; only its SHA-256 is kept."""

    id: str
    party_id: str
    member_id: str
    secret_sha256: str
    roles: tuple[Role, ...]
    label: str = ""
    created_at: datetime
    expires_at: datetime | None = None
    revoked_at: datetime | None = None
    scope: str = ""  # what alone it opens; without one, what its roles may
    operations: tuple[str, ...] | None = None
    bound_to: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class SigningKey:
    """A party's public key, of Ed25519 or SM2; `held_by` says who has the private half.

    "own": it never leaves the client (contract sign_mode 01); "platform": the market signs on
    the party's instruction (sign_mode 02), and every signature says so.
    """

    id: str
    party_id: str
    public_key: str
    held_by: str = "own"
    label: str = ""
    created_at: datetime
    revoked_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Venue:
    """A place of trading and its rules: an exchange, or `otc` (场外) with none of them."""

    id: str
    name: str
    name_en: str
    party_id: str | None = None
    certificate_required: bool = False
    notice_days: int = 0
    filing_required: bool = False
    assessment_above_fen: int | None = None
    fee_permyriad: int = 0
    inspection_days: int = 7
    report_max_age_days: int = 365


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """What a provider offers through its versions, under one invariant name."""

    id: str
    provider_id: str
    publisher: str
    name: str
    origin_id: str | None = None
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Certificate:
    """A registration certificate as an operator verified it (domain a.2, G1)."""

    scheme: str
    number: str
    agency: str = ""
    registered_at: date | None = None
    valid_until: date | None = None
    seized: bool = False
    verified_by: str = ""
    verified_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Signature:
    """A signature over a digest; `over` names which document the digest is of."""

    party_id: str
    key_id: str
    public_key: str
    over: str
    digest: str
    value: str
    sign_mode: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Remark:
    """A comment, objection or answer on a listing, kept for good."""

    kind: str
    by: str
    party_id: str
    text: str
    at: datetime
    about: str = ""  # the measure or kind of finding that a contest and its answer are about


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """One immutable version of a dataset, and where it stands in the market."""

    id: str
    dataset_id: str
    provider_id: str
    publisher: str
    name: str
    version: int
    state: ListingState = ListingState.DRAFT
    venue: str = "otc"
    descriptor: JSON
    view_policy: str = "public"
    invited: tuple[str, ...] = ()
    content_digest: str | None = None
    terms_digest: str | None = None
    report_id: str | None = None
    report_valid: bool | None = None
    reported_at: datetime | None = None
    applied: bool = False
    certificate: Certificate | None = None
    notice_until: datetime | None = None
    standing_offer: JSON = None
    standing_signature: Signature | None = None
    remarks: tuple[Remark, ...] = ()
    reviewed_by: str | None = None
    change: str = "major"
    created_at: datetime
    updated_at: datetime
    listed_at: datetime | None = None
    title: str = ""
    due: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredReport:
    """A validation report, bound to the digest that it judged."""

    id: str
    listing_id: str
    target: str
    digest: str
    valid: bool
    body: JSON
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Floor:
    """A quality floor: a measure of the market's report, and what it has to keep to.

    `threshold` is a decimal as text; `operator` one of gteq, gt, lteq, lt, eq (ODRL's words).
    """

    metric: str
    operator: str
    threshold: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Terms:
    """What the two sides trade: price, quantity, rights, purpose, periods (domain c.1).

    With a `period` (ISO 8601, such as P1M) the trade runs in so many `periods`, each paid,
    delivered and settled by itself.
    """

    mode: str
    unit: str = ""
    unit_price_fen: int = 0
    quantity: int = 1
    amount_fen: int = 0
    tax_rate: str | None = None
    currency: str = "CNY"
    payment_timing: str = "prepaid"
    rights: tuple[str, ...] = ("use",)
    rights_mode: str = "licence"
    exclusive: bool = False
    purpose: str = ""
    scenario: str = ""
    territory: str = ""
    term_days: int | None = None
    inspection_days: int = 7
    silent_acceptance: bool = False
    note: str = ""
    floors: tuple[Floor, ...] = ()
    delivery_mode: str = "file"
    period: str = ""
    periods: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Assessment:
    """A compliance assessment (合规评估) of an agreed trade."""

    outcome: str
    opinion: str
    by: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Exhibit:
    """What a side brings forward in a dispute: words, and the digest of what they are about."""

    party_id: str
    text: str
    digest: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Dispute:
    """A dispute (争议), its evidence and its outcome."""

    raised_by: str
    ground: str
    channel: str
    from_state: TradeState
    opened_at: datetime
    outcome: str = ""
    resolved_to: TradeState | None = None
    resolved_at: datetime | None = None
    refund_fen: int = 0
    evidence: tuple[Exhibit, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Correction:
    """An entry that mends earlier ones: what was posted stays, this stands beside it."""

    reason: str
    lines: tuple[tuple[str, int], ...]
    by: str
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Trade:
    """One buyer's acquisition of one listing, from intent to completion."""

    id: str
    listing_id: str
    listing_version: int
    content_digest: str
    terms_digest: str
    report_digest: str
    venue: str
    provider_id: str
    user_id: str
    state: TradeState = TradeState.INTENT
    terms: Terms
    offer_digest: str
    turn: str
    standing: bool = False
    auto_accept: bool = False
    assessment_required: bool = False
    assessment: Assessment | None = None
    agreement: JSON = None
    agreement_digest: str | None = None
    signatures: tuple[Signature, ...] = ()
    signed_at: datetime | None = None
    filing_no: str | None = None
    paid_fen: int = 0
    paid_at: datetime | None = None
    payment_ref: str = ""
    delivery_id: str | None = None
    delivered_at: datetime | None = None
    accepted_at: datetime | None = None
    accepted_by: str | None = None
    objection: str = ""
    bill_no: str | None = None
    billed_fen: int = 0
    settled_at: datetime | None = None
    fee_fen: int = 0
    shares: tuple[tuple[str, int], ...] = ()
    refund_fen: int = 0
    voucher_no: str | None = None
    vouchered_at: datetime | None = None
    rating: int | None = None
    rating_text: str = ""
    disputes: tuple[Dispute, ...] = ()
    corrections: tuple[Correction, ...] = ()
    stopped_at: datetime | None = None  # no period is opened after the one that runs
    reason: str = ""
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class DeliveredFile:
    """One file of a delivery: path in the package, size, and the digest it must have."""

    path: str
    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """The files that one trade gives access to, and until when."""

    id: str
    trade_id: str
    provider_id: str
    user_id: str
    files: tuple[DeliveredFile, ...]
    manifest_digest: str
    state: str = "preparing"
    opens_at: datetime | None = None
    closes_at: datetime | None = None
    revoked_at: datetime | None = None
    created_at: datetime
    listing_id: str | None = None  # the version that is delivered; None: the one that was sold
    content_digest: str | None = None
    period_id: str | None = None
    mode: str = "file"
    resources: tuple[str, ...] = ()  # what a key reads rows of, where the mode is api
    rate_per_minute: int | None = None
    max_rows: int = 1000
    quota: int | None = None  # in the measure of the meter
    meter: str = "call"
    used: int = 0
    calls: int = 0
    minute: datetime | None = None
    in_minute: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Upload:
    """A resumable upload (tus 1.0); `offset` bytes are on disk and synced."""

    id: str
    party_id: str
    length: int
    offset: int = 0
    sha256: str | None = None
    filename: str = ""
    state: str = "open"
    created_at: datetime
    expires_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Holding:
    """A party's right to name a blob in its descriptors: it uploaded those bytes."""

    id: str
    party_id: str
    sha256: str
    bytes: int
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Registered:
    """One version of a benchmark or word list that every corpus is looked through for."""

    id: str
    purpose: str  # benchmark, ruleset
    name: str
    number: int  # 1, 2, … of this name
    state: str = "active"  # replaced by the next number, or removed
    sha256: str
    bytes: int
    suffix: str  # of the file, says its format: ".jsonl"
    facts: Mapping[str, Any]  # counts and digest of what is looked for, never its text
    added_by: str
    created_at: datetime
    ended_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One link of the evidence chain of its subject (domain c.4).

    `digest` = SHA-256 over JCS of the `statement`; `prev_digest` links to the previous event of
    the same subject. `id` orders all events of the store. The payload is bound by its digest
    alone, so that an event can be verified by someone who may not read the payload.
    """

    id: int
    subject_id: str
    seq: int
    type: str
    from_state: str | None
    to_state: str | None
    actor_id: str
    at: datetime
    payload: JSON
    payload_digest: str
    prev_digest: str | None
    digest: str

    @property
    def statement(self) -> dict[str, JSON]:
        """What `digest` is over: every field but id, payload and digest; `at` in microseconds."""
        return {
            "subject_id": self.subject_id,
            "seq": self.seq,
            "type": self.type,
            "from_state": self.from_state,
            "to_state": self.to_state,
            "actor_id": self.actor_id,
            "at": self.at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z"),
            "payload_digest": self.payload_digest,
            "prev_digest": self.prev_digest,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Posting:
    """One line of a balanced entry: `amount_fen` is added to `account`."""

    trade_id: str
    event_digest: str
    account: str
    amount_fen: int
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """Work outside the transaction, with lease, retries and a dead letter at the end."""

    id: int
    kind: str
    body: JSON
    state: str
    attempts: int
    run_at: datetime
    leased_by: str | None = None
    lease_until: datetime | None = None
    error: str = ""
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Reply:
    """What an idempotent call answered, kept for ever with its effect."""

    fingerprint: str
    status: int
    headers: Mapping[str, str]
    body: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class OutboxRow:
    """A fact for a follower (the search index): the key of the thing that changed."""

    id: int
    topic: str
    key: str
