"""A market behind real HTTP, on each database."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from people import Hall, open_hall


@pytest.fixture(scope="module")
def hall(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hall]:
    """A market on SQLite, shared by the tests of one file: names must not collide."""
    with open_hall(tmp_path_factory.mktemp("hall")) as found:
        yield found


@pytest.fixture
def fresh_hall(tmp_path: Path) -> Iterator[Hall]:
    """A market on SQLite of one's own."""
    with open_hall(tmp_path / "data") as found:
        yield found


@pytest.fixture(params=["sqlite", "postgresql"])
def any_hall(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Hall]:
    """A market on SQLite, and one on PostgreSQL."""
    url = request.getfixturevalue("migrated_url") if request.param == "postgresql" else ""
    with open_hall(tmp_path / "data", database_url=url) as found:
        yield found
