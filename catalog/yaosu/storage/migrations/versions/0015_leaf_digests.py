"""Where a digest stands in the log: a proof is asked for by the digest of an event."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

TEXT = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "leaf_digest",
        sa.Column("head", TEXT, primary_key=True),
        sa.Column("place", sa.BigInteger(), primary_key=True, autoincrement=False),
        sqlite_with_rowid=False,
    )
    op.execute(
        "INSERT INTO leaf_digest (head, place) SELECT substr(e.digest, 8, 12), l.place "
        "FROM leaf l JOIN event e ON e.id = l.event_id"
    )
