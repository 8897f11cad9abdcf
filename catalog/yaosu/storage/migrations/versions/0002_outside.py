"""Webhooks and their messages; keys and callbacks of exchanges; reconciliations."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

TEXT = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")


def upgrade() -> None:
    _record("webhook", "party_id state")
    _record(
        "webhook_message",
        "webhook_id state event_id",
        unique="webhook_id event_id",
        plain="event_id",
    )
    _record("callback_key", "venue")
    _record(
        "callback",
        "subject_id venue message_id",
        unique="venue message_id",
        plain="venue message_id",
    )
    _record("reconciliation", "venue")


def _record(name: str, columns: str, *, unique: str = "", plain: str = "") -> None:
    """Make the table of a kind; all of its columns but the `plain` are indexed."""
    key = "_".join(unique.split())
    op.create_table(
        name,
        sa.Column("id", TEXT, primary_key=True),
        *(sa.Column(column, TEXT, nullable=False) for column in columns.split()),
        sa.Column("body", TEXT, nullable=False),
        *([sa.UniqueConstraint(*unique.split(), name=f"{name}_{key}_key")] if unique else []),
    )
    for column in columns.split():
        if column not in plain.split():
            op.create_index(f"{name}_{column}_idx", name, [column, "id"])
