"""What alembic runs: on the connection that `storage.migrate` hands over, in its transaction."""

from alembic import context

from yaosu.storage.tables import metadata

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=metadata,
    # SQLite alters a table by making a new one: its names must then be given, never implied.
    render_as_batch=connection.dialect.name == "sqlite",
)
context.run_migrations()
