"""The nouns of money beside the trade: periods, metered calls, invoices. Records without I/O."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime

from .model import TradeState


@dataclass(frozen=True, slots=True, kw_only=True)
class Period:
    """One period of a trade that runs in periods: T8-T13 and escrow of its own (domain c.3)."""

    id: str
    trade_id: str
    provider_id: str
    user_id: str
    venue: str
    number: int
    state: TradeState = TradeState.FILED
    amount_fen: int
    opens_after: datetime  # not delivered before
    starts_at: datetime | None = None
    ends_at: datetime | None = None
    delivery_id: str | None = None
    listing_id: str | None = None
    objection: str = ""
    paid_fen: int = 0
    paid_at: datetime | None = None
    payment_ref: str = ""
    bill_no: str | None = None
    used: int = 0
    billed_fen: int = 0
    settled_at: datetime | None = None
    fee_fen: int = 0
    shares: tuple[tuple[str, int], ...] = ()
    refund_fen: int = 0
    reason: str = ""
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One metered call: counted once under the id that its caller gave it, never changed."""

    id: str
    delivery_id: str
    call_id: str
    trade_id: str
    key_id: str
    resource: str
    query_digest: str
    rows: int
    bytes: int
    units: int
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class DataRead:
    """Bytes of bought data on their way out: recorded before the last of them leaves.

    What broke off is taken back by a second row with `corrects`, negative bytes and no count.
    """

    id: str
    delivery_id: str
    trade_id: str
    key_id: str  # the key that asked, or that asked for the link
    way: str  # file, table, rows, dataset or ckan
    name: str  # the path or resource
    sha256: str
    start: int
    end: int
    bytes: int
    count: int = 1
    status: int
    address: str
    corrects: str | None = None
    at: datetime
    hour: str = ""  # the hour that it is anchored with (`anchors`); before there were any: none


@dataclass(frozen=True, slots=True, kw_only=True)
class DataUse:
    """The sums of the reads of one thing of a delivery on one day (UTC): what its provider sees."""

    id: str
    delivery_id: str
    trade_id: str
    day: str
    way: str
    name: str
    bytes: int = 0
    count: int = 0
    first_at: datetime
    last_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Invoice:
    """A VAT invoice (发票) as its issuer reports it; one in red corrects another, by number."""

    id: str
    trade_id: str
    period_id: str | None = None
    provider_id: str
    user_id: str
    number: str
    amount_fen: int
    tax_fen: int
    tax_rate: str | None = None
    issued_on: date
    corrects: str | None = None
    reason: str = ""
    created_at: datetime
