"""What people are told, what parties show of themselves, and renewals of certificates."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

TEXT = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")
# Name: what it is looked up by with an index, other columns, what is unique together.
RECORDS = {
    "saved_search": ("member_id state", "", ""),
    "watch": ("dataset_id", "member_id", "member_id dataset_id"),
    "notice": ("member_id unread_by", "cause role kind", "member_id cause"),
    "inbox": ("", "member_id", "member_id"),
    "follower": ("", "", ""),
    "profile": ("state", "party_id", "party_id"),
    "attested": ("party_id", "listing_id what", "party_id listing_id what"),
    "renewal": ("listing_id provider_id state", "", ""),
}


def upgrade() -> None:
    for name, (looked_up_by, others, unique) in RECORDS.items():
        columns = [*looked_up_by.split(), *others.split()]
        keys = [unique.split()] if unique else []
        op.create_table(
            name,
            sa.Column("id", TEXT, primary_key=True),
            *(sa.Column(c, TEXT, nullable=c == "unread_by") for c in columns),
            sa.Column("body", TEXT, nullable=False),
            *(sa.UniqueConstraint(*key, name=f"{name}_{'_'.join(key)}_key") for key in keys),
        )
        for column in looked_up_by.split():
            op.create_index(f"{name}_{column}_idx", name, [column, "id"])
