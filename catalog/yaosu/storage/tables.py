"""The tables, and which record lives in which: the only place that names a column.

A record is one row: its id, the attributes it is looked up by, and the whole of it as JSON in
`body`. Evidence, postings, replies and log leaves are append-only: triggers, which the migrations
make, refuse the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Generic, TypeVar, get_type_hints

import orjson
import sqlalchemy as sa
from pydantic import TypeAdapter
from sqlalchemy.dialects import postgresql

from yaosu.model import (
    AccessKey,
    Dataset,
    Delivery,
    Holding,
    Listing,
    Member,
    Party,
    Registered,
    SigningKey,
    StoredReport,
    Trade,
    Upload,
    Venue,
)
from yaosu.model_evidence import Recall, RecallNotice, UsageReceipt, UsageSource
from yaosu.model_harvest import Harvest, HarvestItem, HarvestRun
from yaosu.model_money import Call, DataRead, DataUse, Invoice, Period
from yaosu.model_notices import Follower, Inbox, Notice, SavedSearch, Watch
from yaosu.model_organisation import Approval, Invitation, Rule, SignIn
from yaosu.model_outside import Callback, CallbackKey, Message, Reconciliation, Webhook
from yaosu.model_profile import Attested, Profile
from yaosu.model_renewal import Renewal
from yaosu.proof.evidence import row_sum

T = TypeVar("T")

metadata = sa.MetaData()

# Bytes decide the order of text on both databases, whatever the locale of the server.
TEXT = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")
NUMBER = sa.BigInteger()
# SQLite gives numbers to rows only in a column called INTEGER.
SERIAL = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


@dataclass(frozen=True, slots=True)
class Kind(Generic[T]):
    """A kind of record, its table, and the attributes that are columns of it."""

    type: type[T]
    table: sa.Table
    columns: tuple[str, ...]
    adapter: TypeAdapter[T]
    locked: bool
    kept: bool

    def row(self, record: T, columns: Sequence[str]) -> dict[str, object]:
        """Return the values of these columns by name."""
        values = {c: column_value(getattr(record, c)) for c in columns if c != "body"}
        values["body"] = summed(self._json(record).decode())
        return values

    def _json(self, record: T) -> bytes:
        """Return the record as JSON: what orjson knows in half the time, and as pydantic would."""
        try:
            return orjson.dumps(record, option=orjson.OPT_UTC_Z)
        except TypeError:  # numbers beyond 64 bits, sets
            return self.adapter.dump_json(record)

    def changed(self, before: T | None, after: T) -> tuple[str, ...]:
        """Return the columns to set: those that differ, all but the id if `before` is unknown."""
        names = self.columns[1:]
        if before is not None:
            names = tuple(c for c in names if getattr(before, c) != getattr(after, c))
        return (*names, "body")

    def load(self, body: str) -> T:
        return self.adapter.validate_json(body)


def summed(body: str) -> str:
    """Return the JSON of a record with its own sum as the first member (`yaosu verify` reads it).

    No part of a record lies outside: a bit that turns on the disk is found, whatever it says.
    """
    return f'{{"#":"{row_sum(body)}",{body[1:]}'


KINDS: dict[type[Any], Kind[Any]] = {}


def column_value(value: object) -> object:
    """Return a value as the driver takes it: enums as text, times as `stamp`."""
    if isinstance(value, StrEnum):
        return value.value
    return stamp(value) if isinstance(value, datetime) else value


def stamp(at: datetime) -> str:
    """Return RFC 3339 in UTC with microseconds and Z: sorts as text."""
    return at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _keep(
    type_: type[T],
    name: str,
    *looked_up_by: str,
    unique: Sequence[tuple[str, ...]] = (),
    summed: Sequence[str] = (),
    chosen: Sequence[str] = (),
    locked: bool = False,
    kept: bool = False,
) -> None:
    """Declare the table of a kind; a lookup column is indexed together with the id (paging).

    `chosen` columns only narrow a lookup by another one and have no index. `locked`: a step that
    gets the record has it to itself (PostgreSQL). Not for what every step looks at (venues,
    parties, keys): they would all wait for each other. `kept`: the one writer of an embedded
    store remembers those that it has met lately.
    """
    hints = get_type_hints(type_)
    names = list(
        dict.fromkeys([*looked_up_by, *(c for key in unique for c in key), *summed, *chosen])
    )
    table = sa.Table(
        name,
        metadata,
        sa.Column("id", TEXT, primary_key=True),
        *(
            sa.Column(c, NUMBER if hints[c] is int else TEXT, nullable=_optional(hints[c]))
            for c in names
        ),
        sa.Column("body", TEXT, nullable=False),
        *(sa.UniqueConstraint(*key, name=f"{name}_{'_'.join(key)}_key") for key in unique),
        *(sa.Index(f"{name}_{c}_idx", c, "id") for c in looked_up_by),
    )
    assert set(names) <= {f.name for f in fields(type_)}, name  # type: ignore[arg-type]
    KINDS[type_] = Kind(type_, table, ("id", *names), TypeAdapter(type_), locked, kept)


def _optional(hint: Any) -> bool:
    return type(None) in getattr(hint, "__args__", ())


def kind_of(type_: type[T]) -> Kind[T]:
    """Return how a kind of record is stored."""
    return KINDS[type_]


# One line per kind: the type, its table, what it is looked up by. A line that is added or
# changed here needs a migration; tests/promises/test_migrations.py compares the two.
_keep(Party, "party", "uscc", unique=[("slug",)], kept=True)
_keep(Member, "member", "party_id", kept=True)
_keep(
    AccessKey, "access_key", "party_id", "member_id", unique=[("secret_sha256",)], kept=True
)  # fmt: skip
_keep(SigningKey, "signing_key", "party_id", "public_key")
_keep(Venue, "venue", "party_id", kept=True)
_keep(Dataset, "dataset", "provider_id", "origin_id", unique=[("publisher", "name")], locked=True)
_keep(
    Listing, "listing", "dataset_id", "provider_id", "state", "venue", "content_digest",
    "publisher", "name", "report_id", "view_policy", "due", unique=[("dataset_id", "version")],
    locked=True,
)  # fmt: skip
_keep(StoredReport, "report", "listing_id", "target", "digest")
_keep(
    Trade, "trade", "listing_id", "provider_id", "user_id", "state", "venue",
    "filing_no", "bill_no", "voucher_no", locked=True, kept=True,
)  # fmt: skip
_keep(Delivery, "delivery", "trade_id", "provider_id", "user_id", "state", locked=True)
_keep(Period, "period", "trade_id", "provider_id", "user_id", "state", locked=True)
_keep(
    Call, "metered_call", "delivery_id", "trade_id", unique=[("delivery_id", "call_id")],
    summed=["units", "rows", "bytes"],
)  # fmt: skip
_keep(DataRead, "data_read", "delivery_id", "trade_id", "hour", summed=["bytes", "count"])
_keep(DataUse, "data_use", "delivery_id", "trade_id", summed=["bytes", "count"], locked=True)
_keep(
    Invoice, "invoice", "trade_id", "provider_id", "user_id", "corrects",
    unique=[("provider_id", "number")], summed=["amount_fen"],
)  # fmt: skip
_keep(Upload, "upload", "party_id", "state", summed=["length"], locked=True)
_keep(Holding, "holding", "sha256", unique=[("party_id", "sha256")], summed=["bytes"])
_keep(Approval, "approval", "subject_id", "action", "party_id", "state", locked=True)
_keep(Rule, "approval_rule", "party_id")
_keep(
    Invitation, "invitation", "party_id", "state", "email", unique=[("secret_sha256",)], locked=True
)  # fmt: skip
_keep(SignIn, "sign_in", "member_id", unique=[("issuer", "subject")])
_keep(UsageReceipt, "usage_receipt", "party_id", "model")
_keep(UsageSource, "usage_source", "receipt_id", "trade_id", "listing_id", "party_id")
_keep(Recall, "recall", "root_id", "listing_id", "provider_id", "state", locked=True)
_keep(RecallNotice, "recall_notice", "recall_id", "trade_id", "user_id", "state", locked=True)
_keep(Webhook, "webhook", "party_id", "state", locked=True)
_keep(Message, "webhook_message", "webhook_id", "state", unique=[("webhook_id", "event_id")])
_keep(CallbackKey, "callback_key", "venue")
_keep(Callback, "callback", "subject_id", unique=[("venue", "message_id")])
_keep(Reconciliation, "reconciliation", "venue")
_keep(Harvest, "harvest", "party_id", "state", locked=True)
_keep(HarvestRun, "harvest_run", "harvest_id", "state", locked=True)
_keep(HarvestItem, "harvest_item", "harvest_id")
_keep(Registered, "registered", "state", unique=[("purpose", "name", "number")], locked=True)

_keep(SavedSearch, "saved_search", "member_id", "state")
_keep(Watch, "watch", "dataset_id", unique=[("member_id", "dataset_id")])
_keep(
    Notice, "notice", "member_id", "unread_by", unique=[("member_id", "cause")],
    chosen=["role", "kind"],
)  # fmt: skip
_keep(Inbox, "inbox", unique=[("member_id",)])
_keep(Follower, "follower", locked=True)
_keep(Profile, "profile", "state", unique=[("party_id",)], locked=True)
_keep(Attested, "attested", "party_id", unique=[("party_id", "listing_id", "what")])
_keep(Renewal, "renewal", "listing_id", "provider_id", "state", locked=True)


# --- evidence and money: append-only -----------------------------------------------------------

events = sa.Table(
    "event",
    metadata,
    sa.Column("id", SERIAL, sa.Identity(), primary_key=True),
    sa.Column("subject_id", TEXT, nullable=False),
    sa.Column("seq", NUMBER, nullable=False),
    sa.Column("type", TEXT, nullable=False),
    sa.Column("from_state", TEXT),
    sa.Column("to_state", TEXT),
    sa.Column("actor_id", TEXT, nullable=False),
    sa.Column("at", TEXT, nullable=False),
    sa.Column("payload", TEXT, nullable=False),
    sa.Column("payload_digest", TEXT, nullable=False),
    sa.Column("prev_digest", TEXT),
    sa.Column("digest", TEXT, nullable=False),
    sa.UniqueConstraint("subject_id", "seq", name="event_chain_key"),
    sa.CheckConstraint("(seq = 0) = (prev_digest IS NULL)", name="event_chain_check"),
    sa.Index("event_type_idx", "type", "id"),
    sa.Index("event_at_idx", "at"),
)

postings = sa.Table(
    "posting",
    metadata,
    sa.Column("id", SERIAL, sa.Identity(), primary_key=True),
    sa.Column("trade_id", TEXT, nullable=False),
    sa.Column("event_digest", TEXT, nullable=False),
    sa.Column("account", TEXT, nullable=False),
    sa.Column("amount_fen", NUMBER, nullable=False),
    sa.Column("at", TEXT, nullable=False),
    sa.CheckConstraint(
        "amount_fen BETWEEN -1000000000000000 AND 1000000000000000", name="posting_amount_check"
    ),
    sa.Index("posting_trade_idx", "trade_id"),
    sa.Index("posting_account_idx", "account", "amount_fen"),
    sa.Index("posting_account_at_idx", "account", "at"),
)

# Kept by a trigger on `posting`: what is held for a buyer can never be overdrawn (I3).
escrow = sa.Table(
    "escrow",
    metadata,
    sa.Column("account", TEXT, primary_key=True),
    sa.Column("amount_fen", NUMBER, nullable=False),
    sa.CheckConstraint("amount_fen >= 0", name="escrow_not_negative"),
)

replies = sa.Table(
    "reply",
    metadata,
    sa.Column("actor_id", TEXT, primary_key=True),
    sa.Column("key", TEXT, primary_key=True),
    sa.Column("fingerprint", TEXT, nullable=False),
    sa.Column("status", NUMBER, nullable=False),
    sa.Column("headers", TEXT, nullable=False),
    sa.Column("body", sa.LargeBinary, nullable=False),
    sa.Column("at", TEXT, nullable=False),
)

# Events wait in `log_queue` until the sequencer gives each its place among the leaves: ids may
# commit out of order on PostgreSQL, places never do.
log_queue = sa.Table(
    "log_queue",
    metadata,
    sa.Column("event_id", NUMBER, primary_key=True, autoincrement=False),
)

leaves = sa.Table(
    "leaf",
    metadata,
    sa.Column("place", NUMBER, primary_key=True, autoincrement=False),
    sa.Column("event_id", NUMBER, nullable=False),
    sa.UniqueConstraint("event_id", name="leaf_event_key"),
)

# The place of an event is found by the first 12 digits of its digest, `sha256:…`. An index of
# the events would cost every commit; this costs the sequencer, which writes it with the leaf.
leaf_digests = sa.Table(
    "leaf_digest",
    metadata,
    sa.Column("head", TEXT, primary_key=True),
    sa.Column("place", NUMBER, primary_key=True, autoincrement=False),
    sqlite_with_rowid=False,
)

# The names of the tables whose rows are never changed or removed.
APPEND_ONLY = ("event", "posting", "reply", "leaf", "metered_call", "invoice", "data_read")


# --- work and followers ------------------------------------------------------------------------

jobs = sa.Table(
    "job",
    metadata,
    sa.Column("id", SERIAL, sa.Identity(), primary_key=True),
    sa.Column("kind", TEXT, nullable=False),
    sa.Column("body", TEXT, nullable=False),
    sa.Column("state", TEXT, nullable=False),
    sa.Column("attempts", NUMBER, nullable=False),
    sa.Column("run_at", TEXT, nullable=False),
    sa.Column("leased_by", TEXT),
    sa.Column("lease_until", TEXT),
    sa.Column("error", TEXT, nullable=False),
    sa.Column("created_at", TEXT, nullable=False),
    sa.Column("once", TEXT),
    sa.CheckConstraint("state IN ('ready', 'leased', 'done', 'dead')", name="job_state_check"),
    sa.Index("job_due_idx", "state", "run_at"),
    sa.Index(
        "job_once_key",
        "once",
        unique=True,
        sqlite_where=sa.text("state IN ('ready', 'leased')"),
        postgresql_where=sa.text("state IN ('ready', 'leased')"),
    ),
    sqlite_autoincrement=True,
)

# Followers read by `place`, which PostgreSQL gives to a row when it is seen committed, so that a
# slow transaction can never slip in behind a follower. SQLite has one writer: there the id will
# do, and `place` is 0.
outbox = sa.Table(
    "outbox",
    metadata,
    sa.Column("id", SERIAL, sa.Identity(), primary_key=True),
    sa.Column("topic", TEXT, nullable=False),
    sa.Column("key", TEXT, nullable=False),
    sa.Column("place", NUMBER),
    sa.Index("outbox_topic_idx", "topic", "place", "id"),
    sa.Index(
        "outbox_unplaced_idx",
        "id",
        sqlite_where=sa.text("place IS NULL"),
        postgresql_where=sa.text("place IS NULL"),
    ),
    sqlite_autoincrement=True,
)

views = sa.Table(
    "view",
    metadata,
    sa.Column("key", TEXT, primary_key=True),
    sa.Column("etag", TEXT, nullable=False),
    sa.Column("body", sa.LargeBinary, nullable=False),
)
