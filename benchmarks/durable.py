"""Durable commands over HTTP for ten minutes, each answer looked for after a restart (R1).

    python benchmarks/run.py durable
    YAOSU_DURABLE_SECONDS=60 python benchmarks/run.py durable

64 clients in a closed loop make counter-offers; server and load generator share the machine. The
same is done for a tenth of the time on PostgreSQL, where its server programs are installed.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from figure import Figure, percentile
from http_market import CLIENTS, Acknowledged, commands, prepared, served

from conftest import postgres, postgres_binaries
from yaosu.proof.verify import verify_path
from yaosu.storage.sql import upgrade


@contextlib.contextmanager
def postgresql() -> Iterator[str | None]:
    """Run a PostgreSQL that keeps its word; yields its URL, None where it is not installed."""
    binaries = postgres_binaries()
    if binaries is None:
        print("no PostgreSQL server programs: not measured there", file=sys.stderr)
        yield None
        return
    kept = {"fsync": "on", "full_page_writes": "on", "shared_buffers": "256MB"}
    with postgres(binaries, **kept) as url:
        plain = url.replace("+psycopg", "", 1)
        upgrade(plain)
        yield plain


def lost(database: Path, acknowledged: Acknowledged) -> int:
    """Count the answers that are not in the books word for word."""
    import hashlib
    import sqlite3

    with contextlib.closing(sqlite3.connect(database)) as connection:
        kept = {
            key: hashlib.sha256(bytes(body)).digest()
            for key, body in connection.execute("SELECT key, body FROM reply WHERE status = 200")
        }
    return sum(kept.get(key) != digest for key, digest in acknowledged.items())


def measure(quick: bool) -> Iterable[Figure]:
    seconds = float(os.environ.get("YAOSU_DURABLE_SECONDS", "20" if quick else "600"))
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        with served(data) as (address, facts):
            told = asyncio.run(commands(address, prepared(address, facts), facts["pid"], seconds))
        yield from told.figures("SQLite", rate=1000, p99=100.0)
        slices = [percentile(part, 0.99) * 1000 for part in told.minutes if len(part) > CLIENTS]
        yield Figure(
            name="worst minute, p99 (SQLite)",
            value=max(slices),
            unit="ms",
            note=f"{len(slices)} minutes",
        )
        with served(data, people=False):
            pass  # it starts on what is there
        yield Figure(
            name="answers that are not in the books afterwards (SQLite)",
            value=lost(data / "market.db", told.acknowledged) + (not verify_path(data).valid),
            unit="answers",
            goal=0,
            note=f"of {len(told.acknowledged)}, after a restart; `yaosu verify` included",
        )
    with tempfile.TemporaryDirectory() as folder, postgresql() as url:
        if url is not None:
            with served(Path(folder), database_url=url) as (address, facts):
                scene = prepared(address, facts)
                told = asyncio.run(commands(address, scene, facts["pid"], seconds / 10))
            yield from told.figures("PostgreSQL")


if __name__ == "__main__":
    sys.exit(subprocess.call([sys.executable, Path(__file__).with_name("run.py"), "durable"]))
