"""The tables of the first release.

A migration is history: it names its tables itself and never imports those of today.
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

TEXT = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")
NUMBER = sa.BigInteger()
SERIAL = sa.BigInteger().with_variant(sa.Integer(), "sqlite")

NUMBERS = ("version", "length", "bytes")
APPEND_ONLY = ("event", "posting", "reply", "leaf")


def upgrade() -> None:
    _records()
    _evidence()
    _work()
    connection = op.get_bind()
    triggers = _sqlite if connection.dialect.name == "sqlite" else _postgresql
    for statement in triggers():
        connection.exec_driver_sql(statement)


def _text(name: str, *, null: bool = False) -> sa.Column[str]:
    return sa.Column(name, TEXT, nullable=null)


def _number(name: str, *, null: bool = False) -> sa.Column[int]:
    return sa.Column(name, NUMBER, nullable=null)


def _serial() -> sa.Column[int]:
    return sa.Column("id", SERIAL, sa.Identity(), primary_key=True)


def _record(name: str, columns: str, *, unique: str = "", plain: str = "") -> None:
    """Make the table of a kind; a column with `?` may be null, all but the `plain` are indexed."""
    columns_ = columns.split()
    op.create_table(
        name,
        sa.Column("id", TEXT, primary_key=True),
        *(
            _number(c)
            if c in ("version", "length", "bytes")
            else _text(c.rstrip("?"), null=c.endswith("?"))
            for c in columns_
        ),
        _text("body"),
        *(
            [sa.UniqueConstraint(*unique.split(), name=f"{name}_{'_'.join(unique.split())}_key")]
            if unique
            else []
        ),
    )
    for column in columns_:
        if column not in plain.split():
            column = column.rstrip("?")
            op.create_index(f"{name}_{column}_idx", name, [column, "id"])


def _records() -> None:
    _record("party", "uscc? slug", unique="slug", plain="slug")
    _record(
        "access_key",
        "party_id member_id secret_sha256",
        unique="secret_sha256",
        plain="secret_sha256",
    )
    _record("member", "party_id")
    _record("signing_key", "party_id public_key")
    _record("venue", "party_id?")
    _record(
        "dataset",
        "provider_id origin_id? publisher name",
        unique="publisher name",
        plain="publisher name",
    )
    _record(
        "listing",
        "dataset_id provider_id state venue content_digest? publisher name report_id? view_policy "
        "version",
        unique="dataset_id version",
        plain="version",
    )
    _record("report", "listing_id target digest")
    _record(
        "trade",
        "listing_id provider_id user_id state venue filing_no? bill_no? voucher_no?",
    )
    _record("delivery", "trade_id provider_id user_id state")
    _record("upload", "party_id state length", plain="length")
    _record("holding", "sha256 party_id bytes", unique="party_id sha256", plain="party_id bytes")
    _record("approval", "subject_id action")


def _evidence() -> None:
    op.create_table(
        "event",
        _serial(),
        _text("subject_id"),
        _number("seq"),
        _text("type"),
        _text("from_state", null=True),
        _text("to_state", null=True),
        _text("actor_id"),
        _text("at"),
        _text("payload"),
        _text("payload_digest"),
        _text("prev_digest", null=True),
        _text("digest"),
        sa.UniqueConstraint("subject_id", "seq", name="event_chain_key"),
        sa.CheckConstraint("(seq = 0) = (prev_digest IS NULL)", name="event_chain_check"),
    )
    op.create_index("event_type_idx", "event", ["type", "id"])
    op.create_index("event_at_idx", "event", ["at"])
    op.create_table(
        "posting",
        _serial(),
        _text("trade_id"),
        _text("event_digest"),
        _text("account"),
        _number("amount_fen"),
        _text("at"),
        sa.CheckConstraint(
            "amount_fen BETWEEN -1000000000000000 AND 1000000000000000",
            name="posting_amount_check",
        ),
    )
    op.create_index("posting_trade_idx", "posting", ["trade_id"])
    op.create_index("posting_account_idx", "posting", ["account", "amount_fen"])
    op.create_table(
        "escrow",
        sa.Column("account", TEXT, primary_key=True),
        _number("amount_fen"),
        sa.CheckConstraint("amount_fen >= 0", name="escrow_not_negative"),
    )
    op.create_table(
        "reply",
        sa.Column("actor_id", TEXT, primary_key=True),
        sa.Column("key", TEXT, primary_key=True),
        _text("fingerprint"),
        _number("status"),
        _text("headers"),
        sa.Column("body", sa.LargeBinary, nullable=False),
        _text("at"),
    )
    op.create_table(
        "log_queue", sa.Column("event_id", NUMBER, primary_key=True, autoincrement=False)
    )
    op.create_table(
        "leaf",
        sa.Column("place", NUMBER, primary_key=True, autoincrement=False),
        _number("event_id"),
        sa.UniqueConstraint("event_id", name="leaf_event_key"),
    )


def _work() -> None:
    op.create_table(
        "job",
        _serial(),
        _text("kind"),
        _text("body"),
        _text("state"),
        _number("attempts"),
        _text("run_at"),
        _text("leased_by", null=True),
        _text("lease_until", null=True),
        _text("error"),
        _text("created_at"),
        _text("once", null=True),
        sa.CheckConstraint("state IN ('ready', 'leased', 'done', 'dead')", name="job_state_check"),
        sqlite_autoincrement=True,
    )
    op.create_index("job_due_idx", "job", ["state", "run_at"])
    unfinished = sa.text("state IN ('ready', 'leased')")
    op.create_index(
        "job_once_key",
        "job",
        ["once"],
        unique=True,
        sqlite_where=unfinished,
        postgresql_where=unfinished,
    )
    op.create_table(
        "outbox",
        _serial(),
        _text("topic"),
        _text("key"),
        _number("place", null=True),
        sqlite_autoincrement=True,
    )
    op.create_index("outbox_topic_idx", "outbox", ["topic", "place", "id"])
    unplaced = sa.text("place IS NULL")
    op.create_index(
        "outbox_unplaced_idx", "outbox", ["id"], sqlite_where=unplaced, postgresql_where=unplaced
    )
    op.create_table(
        "view",
        sa.Column("key", TEXT, primary_key=True),
        _text("etag"),
        sa.Column("body", sa.LargeBinary, nullable=False),
    )


def _sqlite() -> list[str]:
    made = [
        f"CREATE TRIGGER {table}_no_{verb.lower()} BEFORE {verb} ON {table} "
        f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
        for table in APPEND_ONLY
        for verb in ("UPDATE", "DELETE")
    ]
    return [
        *made,
        "CREATE TRIGGER posting_escrow AFTER INSERT ON posting "
        "WHEN substr(NEW.account, 1, 7) = 'escrow:' BEGIN "
        "INSERT INTO escrow (account, amount_fen) VALUES (NEW.account, 0) "
        "ON CONFLICT (account) DO NOTHING; "
        "UPDATE escrow SET amount_fen = amount_fen + NEW.amount_fen "
        "WHERE account = NEW.account; END",
    ]


def _postgresql() -> list[str]:
    made = [
        f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
        "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
        for table in APPEND_ONLY
    ]
    return [
        "CREATE FUNCTION refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "RAISE EXCEPTION USING MESSAGE = TG_TABLE_NAME || ' is append-only', "
        "ERRCODE = 'restrict_violation'; END $$",
        *made,
        "CREATE FUNCTION keep_escrow() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "INSERT INTO escrow (account, amount_fen) VALUES (NEW.account, 0) "
        "ON CONFLICT (account) DO NOTHING; "
        "UPDATE escrow SET amount_fen = amount_fen + NEW.amount_fen "
        "WHERE account = NEW.account; RETURN NULL; END $$",
        "CREATE TRIGGER posting_escrow AFTER INSERT ON posting FOR EACH ROW "
        "WHEN (left(NEW.account, 7) = 'escrow:') EXECUTE FUNCTION keep_escrow()",
    ]
