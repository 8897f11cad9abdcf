"""Usage receipts, recalls and what buyers confirm."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

TEXT = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")
RECORDS = {
    "usage_receipt": "party_id model",
    "usage_source": "receipt_id trade_id listing_id party_id",
    "recall": "root_id listing_id provider_id state",
    "recall_notice": "recall_id trade_id user_id state",
}


def upgrade() -> None:
    for name, looked_up_by in RECORDS.items():
        columns = looked_up_by.split()
        op.create_table(
            name,
            sa.Column("id", TEXT, primary_key=True),
            *(sa.Column(c, TEXT, nullable=False) for c in columns),
            sa.Column("body", TEXT, nullable=False),
        )
        for column in columns:
            op.create_index(f"{name}_{column}_idx", name, [column, "id"])
