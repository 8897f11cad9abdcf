"""Durable steps of the store per second: one step is what an accepted trade command writes.

    python benchmarks/run.py store_writes
    YAOSU_BENCH_POSTGRES=postgresql://… python benchmarks/run.py store_writes

The rate at which the disk syncs a file, measured just before, is the peer: it is what a store
with one commit per step could reach.
"""

from __future__ import annotations

import functools
import os
import tempfile
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from figure import Figure, latencies

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


def run(store: Store, clients: int, seconds: float) -> list[float]:
    """Let `clients` threads send commands, each waiting for its acknowledgement; latencies."""
    taken: list[list[float]] = [[] for _ in range(clients)]
    until = time.perf_counter() + seconds

    def client(n: int) -> None:
        trade_id = store.write(open_trade)
        while (began := time.perf_counter()) < until:
            key = new_id("key")
            store.write(functools.partial(command, trade_id=trade_id, key=key))
            taken[n].append(time.perf_counter() - began)

    threads = [threading.Thread(target=client, args=(n,)) for n in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return [seconds for one in taken for seconds in one]


def cpu_microseconds(store: Store, steps: int) -> float:
    """Return what one step costs the processor, without threads, commits and waiting."""

    def many(tx: Transaction) -> float:
        trade_id = open_trade(tx)
        began = time.thread_time()
        for _ in range(steps):
            command(tx, trade_id, new_id("key"))
        return (time.thread_time() - began) / steps * 1e6

    return store.write(many)


def measure(quick: bool) -> Iterator[Figure]:
    """Measure SQLite in a temporary folder and, where one is named, PostgreSQL."""
    seconds = 1.0 if quick else 6.0
    with tempfile.TemporaryDirectory(dir=os.environ.get("YAOSU_BENCH_DIR")) as folder:
        syncs = round(syncs_per_second(Path(folder)))
        places: dict[str, str | Path] = {"SQLite": Path(folder) / "data"}
        if os.environ.get("YAOSU_BENCH_POSTGRES"):
            places["PostgreSQL"] = os.environ["YAOSU_BENCH_POSTGRES"]
            upgrade(places["PostgreSQL"])
        for name, place in places.items():
            store = open_store(place, clock=Now())
            try:
                yield from _figures(store, name, seconds, syncs)
            finally:
                store.close()


def _figures(store: Store, name: str, seconds: float, syncs: int) -> Iterator[Figure]:
    for clients, goal in ((1, None), (8, None), (32, None), (64, 1000.0)):
        taken = run(store, clients, seconds)
        yield Figure(
            name=f"{name}, {clients} clients",
            value=round(len(taken) / seconds),
            unit="steps/s",
            goal=goal,
            lower_is_better=False,
            peer="one sync per step",
            peer_value=syncs,
        )
        if goal:
            yield from latencies(f"{name}, {clients} clients", taken, p99=100.0)
    yield Figure(
        name=f"{name}, processor time of one step",
        value=round(cpu_microseconds(store, 200 if seconds < 2 else 2000)),
        unit="us",
    )
