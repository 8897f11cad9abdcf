"""Durable steps per second of the store: one step is what an accepted trade command writes.

    python benchmarks/store_writes.py [--url postgresql://…] [--clients 64] [--seconds 5]

Prints one JSON line: steps/s, latency in ms, steps per commit, and the file sync rate of the disk
measured just before, because that rate is what a single commit can reach.
"""

from __future__ import annotations

import argparse
import functools
import json
import os
import platform
import statistics
import tempfile
import threading
import time
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from yaosu.model import Reply, Terms, Trade, TradeState, new_id
from yaosu.ports import Store, Transaction
from yaosu.storage.sql import open_store, upgrade


class Now:
    """The machine's clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)


def open_trade(tx: Transaction) -> str:
    trade = Trade(
        id=new_id("trd"),
        listing_id=new_id("lst"),
        listing_version=1,
        content_digest="sha256:" + "0" * 64,
        terms_digest="sha256:" + "1" * 64,
        report_digest="sha256:" + "2" * 64,
        venue="otc",
        provider_id=new_id("pty"),
        user_id=new_id("pty"),
        terms=Terms(mode="one_off", amount_fen=100_00),
        offer_digest="sha256:" + "3" * 64,
        turn="provider",
        created_at=tx.now,
        updated_at=tx.now,
    )
    tx.add(trade)
    return trade.id


def command(tx: Transaction, trade_id: str, key: str) -> None:
    """Write what a counter-offer writes: about ten statements."""
    if tx.replay("mem_1", key) is not None:
        return
    trade = tx.get(Trade, trade_id)
    trade = replace(trade, state=TradeState.NEGOTIATING, updated_at=tx.now)
    tx.put(trade)
    tx.record(
        trade_id,
        "counter",
        actor_id="mem_1",
        from_state=trade.state,
        to_state=trade.state,
        payload={"amount_fen": 100_00, "note": "x" * 100},
    )
    tx.keep_view(f"trade:{trade_id}", b"{" + b"x" * 1500 + b"}")
    tx.notify("trade", trade_id)
    reply = Reply(fingerprint="f" * 64, status=200, headers={}, body=b"{" + b"x" * 400 + b"}")
    tx.remember("mem_1", key, reply)


def syncs_per_second(folder: Path) -> float:
    began, n = time.perf_counter(), 0
    with (folder / "probe").open("wb") as file:
        while time.perf_counter() - began < 1:
            file.write(b"x" * 4096)
            file.flush()
            os.fsync(file.fileno())
            n += 1
    return n / (time.perf_counter() - began)


def run(store: Store, clients: int, seconds: float) -> dict[str, Any]:
    """Let `clients` threads send commands, each waiting for its acknowledgement."""
    latencies: list[list[float]] = [[] for _ in range(clients)]
    until = time.perf_counter() + seconds

    def client(n: int) -> None:
        trade_id = store.write(open_trade)
        while (began := time.perf_counter()) < until:
            key = new_id("key")
            store.write(functools.partial(command, trade_id=trade_id, key=key))
            latencies[n].append(time.perf_counter() - began)

    threads = [threading.Thread(target=client, args=(n,)) for n in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    every = sorted(x for one in latencies for x in one)
    percentiles = statistics.quantiles(every, n=100)
    return {
        "clients": clients,
        "steps": len(every),
        "steps_per_second": round(len(every) / seconds),
        "p50_ms": round(percentiles[49] * 1000, 1),
        "p99_ms": round(percentiles[98] * 1000, 1),
        "worst_ms": round(every[-1] * 1000, 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--url")
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 8, 64])
    parser.add_argument("--seconds", type=float, default=5)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(dir=os.environ.get("YAOSU_BENCH_DIR")) as folder:
        syncs = round(syncs_per_second(Path(folder)))
        if options.url:
            upgrade(options.url)
        store = open_store(options.url or Path(folder) / "data", clock=Now())
        try:
            for clients in options.clients:
                result = run(store, clients, options.seconds)
                machine = {"cpus": os.cpu_count(), "python": platform.python_version()}
                print(json.dumps({**result, "syncs_per_second": syncs, **machine}))
        finally:
            store.close()


if __name__ == "__main__":
    main()
