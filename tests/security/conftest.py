"""A market behind real HTTP, to be attacked."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from people import Hall, open_hall


@pytest.fixture(scope="module")
def hall(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hall]:
    """A market on SQLite, shared by the tests of one file: names must not collide."""
    with open_hall(tmp_path_factory.mktemp("hall") / "data") as found:
        yield found
