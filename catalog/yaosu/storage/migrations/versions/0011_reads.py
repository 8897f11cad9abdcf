"""Reads of bought data, which only grow, and their sums by day."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

TEXT = sa.Text().with_variant(postgresql.TEXT(collation="C"), "postgresql")
NUMBER = sa.BigInteger()


def upgrade() -> None:
    for table in ("data_read", "data_use"):
        op.create_table(
            table,
            sa.Column("id", TEXT, primary_key=True),
            sa.Column("delivery_id", TEXT, nullable=False),
            sa.Column("trade_id", TEXT, nullable=False),
            sa.Column("bytes", NUMBER, nullable=False),
            sa.Column("count", NUMBER, nullable=False),
            sa.Column("body", TEXT, nullable=False),
        )
        for column in ("delivery_id", "trade_id"):
            op.create_index(f"{table}_{column}_idx", table, [column, "id"])
    connection = op.get_bind()
    if connection.dialect.name == "sqlite":
        for verb in ("UPDATE", "DELETE"):
            connection.exec_driver_sql(
                f"CREATE TRIGGER data_read_no_{verb.lower()} BEFORE {verb} ON data_read "
                "BEGIN SELECT RAISE(ABORT, 'data_read is append-only'); END"
            )
    else:
        connection.exec_driver_sql(
            "CREATE TRIGGER data_read_append_only BEFORE UPDATE OR DELETE OR TRUNCATE "
            "ON data_read FOR EACH STATEMENT EXECUTE FUNCTION refuse_change()"
        )
