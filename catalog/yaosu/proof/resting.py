"""The sum of a database at rest: what no digest inside it covers, this does.

SQLite has no checksums of pages. When the last writer closes the file, its SHA-256 is left beside
it; whoever opens it for writing removes that first. A copy, a backup or a stopped market can so be
verified to the last unused byte; while a market runs, the digests of rows and events speak alone.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from .tiles import sync_folder, write_durably

SCHEMA = "schema"
"""The name under which a database keeps its own schema, as the last migration left it."""


def schema_text(execute: Callable[[str], Iterable[Any]]) -> str:
    """Return what a SQLite database says of its tables, indexes and triggers, one to a line."""
    rows = execute("SELECT type, name, tbl_name, sql FROM sqlite_master ORDER BY type, name")
    return "\n".join(json.dumps(list(row)) for row in rows)


def _place(database: Path) -> Path:
    return database.with_name(f"{database.name}.sum")


def line(database: Path) -> bytes:
    """Return the sum of a file that nobody writes to: its size in bytes and SHA-256."""
    with database.open("rb") as file:
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    return f"{database.stat().st_size} {sha256}\n".encode()


def seal(database: Path) -> None:
    """Leave the sum beside a database that was closed; not where its log still holds pages."""
    if database.exists() and not _pages_outside(database):
        write_durably(_place(database), line(database))


def unseal(database: Path) -> None:
    """Remove the sum before the first write."""
    with contextlib.suppress(FileNotFoundError):
        os.unlink(_place(database))
        sync_folder(database.parent)


def holds(database: Path) -> bool | None:
    """Say whether the file is as it was closed; None where there is no sum."""
    try:
        said = _place(database).read_bytes()
    except FileNotFoundError:
        return None
    return not _pages_outside(database) and said == line(database)


def _pages_outside(database: Path) -> bool:
    wal = database.with_name(f"{database.name}-wal")
    return wal.exists() and wal.stat().st_size > 0
