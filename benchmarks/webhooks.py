"""How long an event takes to its receiver, alone and beside receivers that hang; how many a second.

The receiver is a process of its own on loopback; times run from that of the event to its arrival.
The market integrates events into its log every 0.25 s and looks for work every 0.25 s.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from figure import Figure, latencies

from yaosu.demo import OPERATOR
from yaosu.identity import register_party, verify_party
from yaosu.market import Market
from yaosu.model import Actor, Role
from yaosu.settings import load
from yaosu.webhooks import hooks

RECEIVER = """
import asyncio, json, sys, time
async def main():
    async def take(reader, writer):
        head = await reader.readuntil(b"\\r\\n\\r\\n")
        lines = head.lower().split(b"\\r\\n")
        length = next(int(l.split(b":")[1]) for l in lines if l.startswith(b"content-length"))
        body = json.loads(await reader.readexactly(length))
        if head.startswith(b"POST /hang"):
            return await asyncio.sleep(60)
        print(time.time(), body["time"], flush=True)
        writer.write(b"HTTP/1.1 204 No Content\\r\\nconnection: close\\r\\n\\r\\n")
        await writer.drain()
        writer.close()
    server = await asyncio.start_server(take, "127.0.0.1", 0, backlog=4096)
    print(server.sockets[0].getsockname()[1], flush=True)
    await server.serve_forever()
asyncio.run(main())
"""


class Bench:
    """A running market with one party, and a receiver beside it."""

    def __init__(self, folder: Path) -> None:
        self.receiver = subprocess.Popen(
            [sys.executable, "-c", RECEIVER], stdout=subprocess.PIPE, text=True
        )
        self.port = int(self._line())
        self.market = Market(load(data=str(folder), reserve_bytes=0, outgoing_allow="127.0.0.0/8"))
        self.market.start()
        party, _ = self.market.store.write(
            lambda tx: register_party(
                tx, slug="party", name="p", member="m", roles=frozenset({Role.BUYER})
            )
        )
        self.market.store.write(lambda tx: verify_party(tx, OPERATOR, party.id, "bench"))
        self.actor = Actor(
            party_id=party.id, member_id="m", key_id="k", roles=frozenset({Role.BUYER})
        )
        time.sleep(1)

    def _line(self) -> str:
        assert self.receiver.stdout is not None
        return self.receiver.stdout.readline()

    def hook(self, path: str) -> None:
        url = f"http://127.0.0.1:{self.port}/{path}"
        self.market.store.write(
            lambda tx: hooks.create(tx, self.actor, url=url, topics=["party.note"])
        )

    def happen(self, n: int) -> None:
        def step(tx: Any) -> None:
            for i in range(n):
                tx.record(self.actor.party_id, "note", actor_id="m", payload={"n": i})

        self.market.store.write(step)

    def delays(self, n: int) -> list[float]:
        """Return the seconds that each of the next `n` arrivals took."""
        found = []
        for _ in range(n):
            arrived, at = self._line().split()
            found.append(float(arrived) - datetime.fromisoformat(at).timestamp())
        return found

    def close(self) -> None:
        self.market.close()
        self.receiver.kill()
        self.receiver.wait()


def measure(quick: bool) -> Iterator[Figure]:
    events, hanging = (20, 20) if quick else (200, 200)
    with tempfile.TemporaryDirectory() as folder:
        bench = Bench(Path(folder) / "data")
        try:
            bench.hook("take")
            yield from latencies("one receiver, one event at a time", _singly(bench, events))
            many = events * 10
            cpu, start = time.process_time(), time.perf_counter()
            bench.happen(many)
            bench.delays(many)
            spent = time.perf_counter() - start
            yield Figure(
                name=f"one receiver, a queue of {many:,} events, in order",
                value=round(many / spent),
                unit="messages/s",
                lower_is_better=False,
                facts={"cpu_ms_each": round((time.process_time() - cpu) * 1000 / many, 3)},
            )
            for _ in range(min(hanging, 200)):
                _unlimited(bench)
            yield from latencies(
                f"the same receiver beside {hanging} that hang", _singly(bench, events), p99=1000.0
            )
        finally:
            bench.close()


def _unlimited(bench: Bench) -> None:
    """Add a hanging receiver of another party's, since each has a limit."""
    before = hooks.MOST_PER_PARTY
    hooks.MOST_PER_PARTY = 10_000
    try:
        bench.hook("hang")
    finally:
        hooks.MOST_PER_PARTY = before


def _singly(bench: Bench, events: int) -> list[float]:
    found = []
    for _ in range(events):
        bench.happen(1)
        found += bench.delays(1)
    return found
