"""Every promise of the store is kept by every adapter: the fixtures run each test on both."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest

from yaosu.ports import Store
from yaosu.storage.sql import open_store, upgrade
from yaosu.storage.tables import metadata


class HeldClock:
    """Time that moves only when a test says so."""

    def __init__(self) -> None:
        self.at = datetime(2026, 3, 1, 8, 0, 0, 123456, tzinfo=UTC)

    def now(self) -> datetime:
        return self.at

    def forward(self, **by: float) -> None:
        self.at += timedelta(**by)


@pytest.fixture
def clock() -> HeldClock:
    return HeldClock()


@pytest.fixture(scope="session")
def migrated_database(postgres_server: str) -> Iterator[str]:
    """The URL of a database with today's tables, for the tests of one process in turn."""
    name = f"migrated_{uuid.uuid4().hex[:16]}"
    admin = postgres_server.replace("+psycopg", "", 1)
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}" TEMPLATE template0')
    url = urlunsplit(urlsplit(postgres_server)._replace(path=f"/{name}"))
    upgrade(url)
    try:
        yield url
    finally:
        with psycopg.connect(admin, autocommit=True) as connection:
            connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


@pytest.fixture
def migrated_url(migrated_database: str) -> str:
    """The URL of a database with today's tables and nothing in them."""
    with psycopg.connect(migrated_database.replace("+psycopg", "", 1)) as connection:
        # Only so can append-only tables be emptied: the triggers sleep in this role.
        connection.execute("SET session_replication_role = replica")
        names = ", ".join(f'"{table}"' for table in metadata.tables)
        connection.execute(f"TRUNCATE {names} RESTART IDENTITY")
    return migrated_database


@pytest.fixture(params=["sqlite", "postgresql"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a store is, on each database in turn."""
    if request.param == "sqlite":
        return str(tmp_path / "data")
    url: str = request.getfixturevalue("migrated_url")
    return url


@pytest.fixture
def open_here(store_url: str, clock: HeldClock) -> Iterator[Callable[..., Store]]:
    """Open the store of this test, again and again; what is left open is closed."""
    opened: list[Store] = []

    def open_again(**options: Any) -> Store:
        store: Store = open_store(store_url, **{"clock": clock, **options})
        opened.append(store)
        return store

    yield open_again
    for store in opened:
        store.close()


@pytest.fixture
def store(open_here: Callable[..., Store]) -> Store:
    return open_here()
