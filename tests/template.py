"""An empty market's tables, made by the migrations once and copied for every store after that.

The migrations take a third of a second of a processor. That they bring a folder from nothing to
today's tables is kept by `promises/test_migrations.py`; here only their result is wanted.
"""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path

from yaosu.storage.sql import DATABASE_FILE, upgrade


@cache
def _tables() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        upgrade(folder)
        assert [path.name for path in Path(folder).glob("*-wal")] == [], "all is in the one file"
        return Path(folder, DATABASE_FILE).read_bytes()


def with_tables(folder: Path) -> Path:
    """Return the folder, in which a market that starts finds today's tables, if it had none."""
    file = folder / DATABASE_FILE
    if not file.exists():
        folder.mkdir(parents=True, exist_ok=True)
        file.write_bytes(_tables())
    return folder
