"""Receipts of a market with a long past: how many one worker makes in a second.

    python benchmarks/run.py receipts

Trades are bought over HTTP; then the log gets 100,000 other events, the receipts are taken away,
and one worker thread makes them all again. CPU is this process's, user and system.
"""

from __future__ import annotations

import contextlib
import sqlite3
import sys
import tempfile
import time
from collections.abc import Iterable
from functools import partial
from pathlib import Path
from typing import Any

from figure import Figure

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from people import USCC, open_hall, small_corpus, until  # noqa: E402
from yaosu.market import Market  # noqa: E402
from yaosu.settings import load  # noqa: E402

STEP = 500
LEFT = "SELECT count(*) FROM job WHERE kind = 'receipt' AND state IN ('ready', 'leased')"


def bought(folder: Path, trades: int, others: int) -> None:
    """Leave a market in which so many trades have their receipts, and other events follow."""
    with open_hall(folder, calls_per_minute=0) as hall:
        provider = hall.person("provider", "provider", uscc=USCC[0])
        buyer = hall.person("buyer", "buyer")
        descriptor, data = small_corpus(provider, mode="free")
        provider.upload(data)
        listing_id = provider.draft(descriptor)["listing_id"]
        provider.submit(listing_id)
        hall.listed(provider, listing_id)
        provider.offer(listing_id)
        made = [buyer.buy(listing_id, purpose=f"training {n}")["trade_id"] for n in range(trades)]
        for trade_id in made:
            trade = buyer.wait(trade_id, "delivered")
            manifest = buyer.get(f"/v1/deliveries/{trade['delivery_id']}")["manifest_digest"]
            buyer.post(f"/v1/trades/{trade_id}/accept", {"manifest_digest": manifest})
        store = hall.market.store
        for n in range(others // STEP):
            store.write(partial(_more, n=n))

        def idle() -> bool:
            with store.read() as reader:
                return not reader.log_waiting() and not _left(folder)

        until(idle, bool, seconds=600)


def _more(tx: Any, n: int) -> None:
    for k in range(STEP):
        tx.record(f"other_{n}_{k % 20}", "noted", actor_id="system", payload={"n": k})


def _left(folder: Path) -> int:
    with contextlib.closing(sqlite3.connect(folder / "market.db")) as connection:
        return int(connection.execute(LEFT).fetchone()[0])


def measure(quick: bool) -> Iterable[Figure]:
    trades, others = (30, 10_000) if quick else (300, 100_000)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name) / "data"
        bought(folder, trades, others)
        with contextlib.closing(sqlite3.connect(folder / "market.db")) as connection:
            connection.execute("DELETE FROM view WHERE key LIKE 'receipt:%'")
            connection.execute("UPDATE job SET state = 'ready', attempts = 0 WHERE kind='receipt'")
            connection.commit()
            (waiting,) = connection.execute(LEFT).fetchone()
        market = Market(load(data=str(folder), reserve_bytes=0, workers=1))
        cpu, began = time.process_time(), time.monotonic()
        market.start()
        until(lambda: _left(folder), lambda left: not left, seconds=600, every=0.02)
        taken, cpu = time.monotonic() - began, time.process_time() - cpu
        market.close()
        yield Figure(
            name="receipts of one worker",
            value=waiting / taken,
            unit="1/s",
            goal=100,
            lower_is_better=False,
            note=f"{waiting} trades, {others} other events in the log",
            facts={"cpu_ms": round(1000 * cpu / waiting, 2)},
        )


if __name__ == "__main__":
    for figure in measure(quick="--quick" in sys.argv):
        print(f"{figure.name}: {figure.value:.1f} {figure.unit} {figure.reached} {figure.facts}")
