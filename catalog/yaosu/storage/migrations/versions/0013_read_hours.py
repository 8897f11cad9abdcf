"""The hour of a read: what the audit of reads is anchored by in the transparency log."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0013"
down_revision = "0011"
branch_labels = None
depends_on = None

TEXT = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")


def upgrade() -> None:
    op.add_column("data_read", sa.Column("hour", TEXT, nullable=False, server_default=""))
    op.create_index("data_read_hour_idx", "data_read", ["hour", "id"])
