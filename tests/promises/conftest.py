"""Every promise of the store is kept by every adapter: the fixtures run each test on both."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from yaosu.ports import Store
from yaosu.storage.sql import open_store


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


@pytest.fixture(params=["sqlite"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where a store is, on each database in turn."""
    if request.param == "sqlite":
        return str(tmp_path / "data")
    url: str = request.getfixturevalue("postgres_url")
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
