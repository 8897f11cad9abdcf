"""Periods, metered calls and invoices; calls and invoices only grow."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0004"
down_revision = "0002"
branch_labels = None
depends_on = None

TEXT = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")
NUMBER = sa.BigInteger()
APPEND_ONLY = ("metered_call", "invoice")


def upgrade() -> None:
    _record("period", "trade_id provider_id user_id state")
    _record(
        "metered_call",
        "delivery_id trade_id",
        plain="call_id",
        numbers="units rows bytes",
        unique="delivery_id call_id",
    )
    _record(
        "invoice",
        "trade_id provider_id user_id corrects?",
        plain="number",
        numbers="amount_fen",
        unique="provider_id number",
    )
    op.create_index("posting_account_at_idx", "posting", ["account", "at"])
    connection = op.get_bind()
    for table in APPEND_ONLY:
        if connection.dialect.name == "sqlite":
            for verb in ("UPDATE", "DELETE"):
                connection.exec_driver_sql(
                    f"CREATE TRIGGER {table}_no_{verb.lower()} BEFORE {verb} ON {table} "
                    f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
                )
        else:
            connection.exec_driver_sql(
                f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE "
                f"ON {table} FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
            )


def _record(
    name: str, indexed: str, *, plain: str = "", numbers: str = "", unique: str = ""
) -> None:
    """Make the table of a kind; a column with `?` may be null."""
    texts = [*indexed.split(), *plain.split()]
    op.create_table(
        name,
        sa.Column("id", TEXT, primary_key=True),
        *(sa.Column(c.rstrip("?"), TEXT, nullable=c.endswith("?")) for c in texts),
        *(sa.Column(c, NUMBER, nullable=False) for c in numbers.split()),
        sa.Column("body", TEXT, nullable=False),
        *(
            [sa.UniqueConstraint(*unique.split(), name=f"{name}_{'_'.join(unique.split())}_key")]
            if unique
            else []
        ),
    )
    for column in indexed.split():
        column = column.rstrip("?")
        op.create_index(f"{name}_{column}_idx", name, [column, "id"])
