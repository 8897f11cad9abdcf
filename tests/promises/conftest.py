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
def migrated_template(postgres_server: str) -> str:
    """The name of a database with today's tables, to be copied for each test."""
    name = f"template_{uuid.uuid4().hex[:16]}"
    admin = postgres_server.replace("+psycopg", "", 1)
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}" TEMPLATE template0')
    upgrade(_database(postgres_server, name))
    return name


def _database(server: str, name: str) -> str:
    return urlunsplit(urlsplit(server)._replace(path=f"/{name}"))


@pytest.fixture
def migrated_url(postgres_server: str, migrated_template: str) -> Iterator[str]:
    """The URL of a database with today's tables and nothing in them, dropped afterwards."""
    name = f"t{uuid.uuid4().hex[:16]}"
    admin = postgres_server.replace("+psycopg", "", 1)
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}" TEMPLATE "{migrated_template}"')
    try:
        yield _database(postgres_server, name)
    finally:
        with psycopg.connect(admin, autocommit=True) as connection:
            connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


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
