"""Harvests of other catalogs, their runs, and what each brought."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0008"
down_revision = "0006"
branch_labels = None
depends_on = None

TEXT = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")
RECORDS = {
    "harvest": "party_id state",
    "harvest_run": "harvest_id state",
    "harvest_item": "harvest_id",
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
