"""Rules and approvals within organisations, invitations, and who signs in from where."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

TEXT = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")


def _record(name: str, looked_up_by: str, unique: str = "") -> None:
    columns, keys = looked_up_by.split(), unique.split()
    op.create_table(
        name,
        sa.Column("id", TEXT, primary_key=True),
        *(sa.Column(c, TEXT, nullable=False) for c in [*columns, *keys]),
        sa.Column("body", TEXT, nullable=False),
        *([sa.UniqueConstraint(*keys, name=f"{name}_{'_'.join(keys)}_key")] if keys else []),
    )
    for column in columns:
        op.create_index(f"{name}_{column}_idx", name, [column, "id"])


def upgrade() -> None:
    for column in ("party_id", "state"):
        op.add_column("approval", sa.Column(column, TEXT, nullable=True))
        op.create_index(f"approval_{column}_idx", "approval", [column, "id"])
    _record("approval_rule", "party_id")
    _record("invitation", "party_id state email", "secret_sha256")
    _record("sign_in", "member_id", "issuer subject")
