"""A market that is ready to trade, made once and copied for every ruin."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from campaigns.real import Nursery, Scene, nursery, prepare


@pytest.fixture(scope="session")
def untouched(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    return prepare(tmp_path_factory.mktemp("scene") / "data")


@pytest.fixture
def scene(untouched: Scene, tmp_path: Path) -> Scene:
    """Two corpora on sale, in a folder of this test's own."""
    return untouched.copy(tmp_path / "data")


@pytest.fixture(scope="session")
def lives() -> Iterator[Nursery]:
    with nursery() as made:
        yield made
