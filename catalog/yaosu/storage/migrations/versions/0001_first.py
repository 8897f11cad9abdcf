"""The tables of the first release."""

from alembic import op

from yaosu.storage.tables import ddl, metadata

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    connection = op.get_bind()
    metadata.create_all(connection)
    for statement in ddl(connection.dialect.name):
        connection.exec_driver_sql(statement)
