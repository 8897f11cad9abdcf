"""The migrations make the tables that the code speaks of, whole or not at all."""

from __future__ import annotations

import shutil
import sqlite3
from datetime import UTC, datetime
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from yaosu.errors import Unavailable, Unsupported
from yaosu.storage import migrate
from yaosu.storage.migrate import HEAD, MIGRATIONS
from yaosu.storage.sql import open_store, upgrade
from yaosu.storage.tables import APPEND_ONLY, metadata


class Now:
    def now(self) -> datetime:
        return datetime.now(UTC)


def differences(url: str) -> list[object]:
    engine = sa.create_engine(url)
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        found = compare_metadata(context, metadata)
    engine.dispose()
    return list(found)


def test_the_known_head_is_the_newest_migration() -> None:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    assert ScriptDirectory.from_config(config).get_heads() == [HEAD]


def test_migrations_make_exactly_the_tables_of_the_code_on_sqlite(tmp_path: Path) -> None:
    upgrade(tmp_path)
    assert differences(f"sqlite:///{tmp_path / 'market.db'}") == []
    database = sqlite3.connect(tmp_path / "market.db")
    triggers = {
        r[0] for r in database.execute("SELECT name FROM sqlite_master WHERE type='trigger'")
    }
    database.close()
    assert triggers == {"posting_escrow"} | {
        f"{table}_no_{verb}" for table in APPEND_ONLY for verb in ("update", "delete")
    }


def test_migrations_make_exactly_the_tables_of_the_code_on_postgresql(postgres_url: str) -> None:
    upgrade(postgres_url)
    upgrade(postgres_url)
    assert differences(postgres_url) == []


def test_indexes_of_both_are_those_of_the_code(tmp_path: Path, postgres_url: str) -> None:
    upgrade(tmp_path)
    upgrade(postgres_url)
    wanted = {index.name for table in metadata.tables.values() for index in table.indexes}
    for url in (f"sqlite:///{tmp_path / 'market.db'}", postgres_url):
        engine = sa.create_engine(url)
        inspector = sa.inspect(engine)
        found = {i["name"] for t in metadata.tables for i in inspector.get_indexes(t)}
        engine.dispose()
        assert wanted <= found


def test_a_migration_that_is_cut_off_leaves_an_empty_database(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(MIGRATIONS, tmp_path / "migrations")
    first = next((tmp_path / "migrations/versions").glob("0001*.py"))
    code = first.read_text("utf-8")
    assert "    _work()\n" in code
    first.write_text(code.replace("    _work()\n", "    raise SystemExit\n"), "utf-8")
    monkeypatch.setattr(migrate, "MIGRATIONS", tmp_path / "migrations")
    with pytest.raises(SystemExit):
        upgrade(tmp_path / "data")
    monkeypatch.undo()
    database = sqlite3.connect(tmp_path / "data/market.db")
    assert database.execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,)
    database.close()
    open_store(tmp_path / "data", clock=Now()).close()


def test_a_postgresql_database_is_upgraded_by_a_person(postgres_url: str) -> None:
    with pytest.raises(Unavailable, match="db upgrade"):
        open_store(postgres_url, clock=Now())
    upgrade(postgres_url)
    open_store(postgres_url, clock=Now()).close()


def test_a_database_of_a_newer_version_is_left_alone(tmp_path: Path, migrated_url: str) -> None:
    upgrade(tmp_path)
    database = sqlite3.connect(tmp_path / "market.db", isolation_level=None)
    database.execute("UPDATE alembic_version SET version_num = '9999'")
    database.close()
    with pytest.raises(Unsupported, match="newer"):
        open_store(tmp_path, clock=Now())


def test_an_upgrade_waits_for_no_running_server(tmp_path: Path) -> None:
    store = open_store(tmp_path, clock=Now())
    with pytest.raises(Unavailable, match="another server"):
        upgrade(tmp_path)
    store.close()


def test_a_database_server_that_is_not_there_is_unavailable(tmp_path: Path) -> None:
    for call in (upgrade, lambda url: open_store(url, clock=Now())):
        with pytest.raises(Unavailable, match="reached"):
            call(f"postgresql://app@/none?host={tmp_path}")


def test_a_database_in_another_encoding_is_refused(postgres_server: str) -> None:
    admin = postgres_server.replace("+psycopg", "", 1)
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute("DROP DATABASE IF EXISTS latin")
        connection.execute("CREATE DATABASE latin TEMPLATE template0 ENCODING 'LATIN1' LOCALE 'C'")
    url = postgres_server.replace("/postgres?", "/latin?")
    with pytest.raises(Unsupported, match="UTF8"):
        open_store(url, clock=Now())
