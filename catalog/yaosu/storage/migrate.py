"""Bring the tables of a database up to date, in one transaction, with alembic's revisions."""

from __future__ import annotations

import hashlib
import sqlite3
from pathlib import Path
from typing import Any

import sqlalchemy as sa

from yaosu.errors import Unavailable, Unsupported
from yaosu.proof.resting import SCHEMA, schema_text

from .sqlite import translated

MIGRATIONS = Path(__file__).parent / "migrations"

# The newest revision in migrations/versions (a test compares). Known here, so that a store that
# is up to date opens without loading alembic.
HEAD = "0015"

# Any number will do, as long as every process that migrates takes the same one.
_MIGRATION_LOCK = 7_261_005


def upgrade_sqlite(path: Path) -> None:
    """Bring the tables of a file up to date; the caller holds the lock of the store."""
    try:
        if _sqlite_revision(path) != HEAD:
            _upgrade_sqlite(path)
    except sqlite3.Error as e:
        raise translated(e) from e
    except sa.exc.DBAPIError as e:
        raise (translated(e.orig) if isinstance(e.orig, sqlite3.Error) else e) from e


def _upgrade_sqlite(path: Path) -> None:
    def connect() -> sqlite3.Connection:
        connection = sqlite3.connect(path, isolation_level=None)
        connection.execute("PRAGMA journal_mode=WAL")
        connection.execute("PRAGMA synchronous=FULL")
        return connection

    engine = sa.create_engine("sqlite://", creator=connect, poolclass=sa.pool.NullPool)
    # The driver opens no transaction before DDL: half a migration would survive a crash.
    sa.event.listen(engine, "begin", lambda c: c.exec_driver_sql("BEGIN IMMEDIATE"))
    with engine.begin() as connection:
        _run(connection)
        text = schema_text(connection.exec_driver_sql).encode()
        connection.exec_driver_sql(
            "INSERT OR REPLACE INTO view (key, etag, body) VALUES (?, ?, ?)",
            (SCHEMA, hashlib.sha256(text).hexdigest(), text),
        )


def upgrade_postgresql(url: str) -> None:
    """Bring the tables of a database up to date; servers that start together take turns."""
    engine = sa.create_engine(url, poolclass=sa.pool.NullPool)
    try:
        with engine.begin() as connection:
            connection.execute(sa.select(sa.func.pg_advisory_xact_lock(_MIGRATION_LOCK)))
            if _postgresql_revision(connection) != HEAD:
                _run(connection)
    except sa.exc.OperationalError as e:
        raise Unavailable(
            "the database cannot be reached", "无法连接数据库", reason=type(e.orig).__name__
        ) from e


def _run(connection: sa.Connection) -> None:
    from alembic import command
    from alembic.config import Config
    from alembic.util import CommandError

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, "head")
    except CommandError as e:
        raise Unsupported(
            "the database was written by a newer version of this program",
            "该数据库由更新版本的程序写入，请升级程序",
        ) from e


def _sqlite_revision(path: Path) -> str | None:
    if not path.exists():
        return None
    connection = sqlite3.connect(path)
    try:
        row: Any = connection.execute("SELECT version_num FROM alembic_version").fetchone()
        return str(row[0]) if row else None
    except sqlite3.OperationalError:
        return None
    finally:
        connection.close()


def _postgresql_revision(connection: sa.Connection) -> str | None:
    if not sa.inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(sa.text("SELECT version_num FROM alembic_version")).scalar()
