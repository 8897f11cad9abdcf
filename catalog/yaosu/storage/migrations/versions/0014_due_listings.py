"""When time next moves a listing: the sweep reads those that are due, and no other."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None

TEXT = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")


def upgrade() -> None:
    op.add_column("listing", sa.Column("due", TEXT))
    op.create_index("listing_due_idx", "listing", ["due", "id"])
