"""What one server process answers over loopback HTTP: durable commands, details, uploads.

    python benchmarks/run.py http_market

The load generator is a second process' worth of work on the same cores: the figures are those of
server and generator together.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Awaitable, Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from figure import Figure, latencies  # noqa: E402

from people import Hall, Person, small_corpus  # noqa: E402

CLIENTS = 64


@contextmanager
def served(
    folder: Path, *, people: bool = True, database_url: str = ""
) -> Iterator[tuple[str, dict[str, Any]]]:
    """Run a market in a process of its own; yields its address and what the clients need."""
    code = (
        "import sys, json\n"
        "from yaosu.serve import run\n"
        "from yaosu.settings import load\n"
        "from people import Hall, USCC, small_corpus\n"
        "def ready(market, address):\n"
        "    if len(sys.argv) < 3:\n"
        "        print(json.dumps({'address': address}), flush=True)\n"
        "        return\n"
        "    hall = Hall(market, address)\n"
        "    provider = hall.person('provider', 'provider', uscc=USCC[0])\n"
        "    buyer = hall.person('buyer', 'buyer')\n"
        "    print(json.dumps({'address': address, 'reviewer': hall.reviewer.key,"
        " 'provider': [provider.key, provider.party], 'buyer': [buyer.key, buyer.party]}),"
        " flush=True)\n"
        "sys.exit(run(load(data=sys.argv[1]), port=0, ready=ready))\n"
    )
    env = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(ROOT / "tests"), *filter(None, sys.path)]),
        "YAOSU_CALLS_PER_MINUTE": "0",
    }
    if database_url:
        env["YAOSU_DATABASE_URL"] = database_url
    server = subprocess.Popen(
        [sys.executable, "-c", code, str(folder), *(["people"] if people else [])],
        stdout=subprocess.PIPE,
        text=True,
        env=env,
    )
    assert server.stdout is not None
    try:
        line = server.stdout.readline()
        yield json.loads(line)["address"], {**json.loads(line), "pid": server.pid}
    finally:
        server.terminate()
        server.wait(30)


class Wire:
    """One keep-alive connection that speaks as little HTTP as it can."""

    def __init__(self, address: str) -> None:
        parts = urlsplit(address)
        self.host, self.port = str(parts.hostname), int(parts.port or 80)
        self.key = ""  # of the last command

    async def open(self) -> Wire:
        self.reader, self.writer = await asyncio.open_connection(self.host, self.port)
        return self

    async def ask(self, method: str, path: str, key: str | None, body: bytes = b"") -> bytes:
        head = [f"{method} {path} HTTP/1.1", f"host: {self.host}", f"content-length: {len(body)}"]
        if key:
            head.append(f"authorization: Bearer {key}")
        if body:
            self.key = uuid.uuid4().hex
            head += ["content-type: application/json", f"idempotency-key: {self.key}"]
        self.writer.write("\r\n".join(head).encode() + b"\r\n\r\n" + body)
        raw = await self.reader.readuntil(b"\r\n\r\n")
        status = int(raw[9:12])
        length = int(raw.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        answer = await self.reader.readexactly(length)
        if status >= 300:
            raise RuntimeError(f"{status} {answer[:400]!r}")
        return answer


async def load(
    address: str, clients: int, seconds: float, work: Callable[[Wire, int, int], Awaitable[None]]
) -> tuple[float, list[float]]:
    """Run `work(wire, client, turn)` in a closed loop; returns (per second, latencies)."""
    taken: list[float] = []
    wires = [await Wire(address).open() for _ in range(clients)]
    end = time.perf_counter() + seconds

    async def loop(client: int, wire: Wire) -> None:
        turn = 0
        while time.perf_counter() < end:
            began = time.perf_counter()
            await work(wire, client, turn)
            taken.append(time.perf_counter() - began)
            turn += 1

    began = time.perf_counter()
    await asyncio.gather(*(loop(n, w) for n, w in enumerate(wires)))
    for wire in wires:
        wire.writer.close()
    return len(taken) / (time.perf_counter() - began), taken


def prepared(address: str, facts: dict[str, Any]) -> tuple[Person, Person, str, list[str]]:
    """List a corpus and open one negotiation per client."""
    provider, buyer = (Person(address, *facts[side]) for side in ("provider", "buyer"))
    reviewer = Person(address, facts["reviewer"])
    descriptor, data = small_corpus(provider, mode="negotiated")
    provider.upload(data)
    listing_id = provider.draft(descriptor)["listing_id"]
    provider.submit(listing_id)
    hall = Hall.__new__(Hall)
    hall.reviewer = reviewer
    hall.listed(provider, listing_id)
    wish = {"purpose": "bench", "amount_fen": 1000}
    trades = []
    for _ in range(CLIENTS):
        trade = buyer.post("/v1/trades", {"listing_id": listing_id, "wish": wish})
        provider.post(f"/v1/trades/{trade['trade_id']}/answer", {"changes": {}})
        trades.append(trade["trade_id"])
    return provider, buyer, listing_id, trades


Acknowledged = dict[str, bytes]
"""By idempotency key, the SHA-256 of the body that was answered."""


@dataclass(frozen=True)
class Told:
    """What a run of durable commands came to."""

    rate: float
    minutes: list[list[float]]
    server_ms: float
    client_ms: float
    acknowledged: Acknowledged

    def figures(
        self, store: str, *, rate: float | None = None, p99: float | None = None
    ) -> Iterator[Figure]:
        yield Figure(
            name=f"durable commands over HTTP ({store})",
            value=self.rate,
            unit="1/s",
            goal=rate,
            lower_is_better=False,
            note=f"{CLIENTS} clients, counter-offers, each durable before its answer",
        )
        taken = [second for part in self.minutes for second in part]
        goals = {} if p99 is None else {"p99": p99}
        yield from latencies(f"durable command ({store})", taken, **goals)
        yield Figure(
            name=f"the server's CPU for one command ({store})",
            value=self.server_ms,
            unit="ms",
            facts={"load_generator_ms": round(self.client_ms, 3)},
            note=f"the load generator's own: {self.client_ms:.3f} ms",
        )


async def commands(
    address: str, scene: tuple[Person, Person, str, list[str]], pid: int, seconds: float
) -> Told:
    """Make counter-offers from every client, one after the other, and keep what was answered."""
    provider, buyer, _, trades = scene
    acknowledged: Acknowledged = {}
    began = time.perf_counter()
    minutes: list[list[float]] = [[] for _ in range(int(seconds // 60) + 1)]

    async def counter(wire: Wire, client: int, turn: int) -> None:
        side = buyer if turn % 2 == 0 else provider
        body = b'{"changes": {"amount_fen": %d}}' % (1000 + turn)
        start = time.perf_counter()
        path = f"/v1/trades/{trades[client]}/counter"
        answer = await wire.ask("POST", path, side.key, body)
        end = time.perf_counter()
        minutes[min(int((start - began) // 60), len(minutes) - 1)].append(end - start)
        acknowledged[wire.key] = hashlib.sha256(answer).digest()

    before, own = cpu_s(pid), time.process_time()
    rate, taken = await load(address, CLIENTS, seconds, counter)
    server, own = cpu_s(pid) - before, time.process_time() - own
    each = 1000 / len(taken)
    return Told(rate, minutes, server * each, own * each, acknowledged)


def cpu_s(pid: int) -> float:
    """Return the seconds of CPU that a process has used, user and system (Linux)."""
    fields = Path(f"/proc/{pid}/stat").read_text("utf-8").rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def measure(quick: bool) -> Iterable[Figure]:
    seconds = 2.0 if quick else 15.0
    with tempfile.TemporaryDirectory() as folder, served(Path(folder)) as (address, facts):
        scene = prepared(address, facts)
        provider, _, listing_id, _ = scene
        told = asyncio.run(commands(address, scene, facts["pid"], seconds))
        yield from told.figures("SQLite", rate=1000, p99=100.0)

        async def detail(wire: Wire, client: int, turn: int) -> None:
            await wire.ask("GET", f"/v1/listings/{listing_id}", None)

        rate, taken = asyncio.run(load(address, 32, seconds, detail))
        yield Figure(
            name="listing by id",
            value=rate,
            unit="1/s",
            goal=3500,
            lower_is_better=False,
            note="32 clients, stored bytes",
        )
        yield from latencies("listing by id", taken)
        yield from uploads(provider, Path(folder), 64 if quick else 4096, facts["pid"])


def resident_mib(pid: int) -> float:
    """Return the peak resident memory of a process (Linux)."""
    text = Path(f"/proc/{pid}/status").read_text("utf-8")
    return int(text.split("VmHWM:")[1].split()[0]) / 1024


def uploads(provider: Person, folder: Path, mib: int, pid: int) -> Iterator[Figure]:
    """Send one file through tus, against SHA-256 alone and a synced write of the same bytes."""
    piece = os.urandom(1 << 20)
    began = time.perf_counter()
    state = hashlib.sha256()
    for n in range(mib):
        state.update(piece[:-4] + n.to_bytes(4, "big"))
    hashing = mib / (time.perf_counter() - began)
    began = time.perf_counter()
    with (folder / "probe").open("wb") as out:
        for n in range(mib):
            out.write(piece[:-4] + n.to_bytes(4, "big"))
        out.flush()
        os.fsync(out.fileno())
    writing = mib / (time.perf_counter() - began)
    (folder / "probe").unlink()
    head = {"tus-resumable": "1.0.0"}
    made = provider.raw("POST", "/v1/uploads", headers={**head, "upload-length": str(mib << 20)})

    def stream() -> Iterator[bytes]:
        for n in range(mib):
            yield piece[:-4] + n.to_bytes(4, "big")

    memory = resident_mib(pid)
    began = time.perf_counter()
    sent = provider.raw(
        "PATCH",
        made.headers["location"],
        content=stream(),
        headers={
            **head,
            "upload-offset": "0",
            "content-type": "application/offset+octet-stream",
        },
    )
    assert sent.status_code == 204, sent.text
    rate = mib / (time.perf_counter() - began)
    yield Figure(
        name="upload: growth of the server's peak memory",
        value=resident_mib(pid) - memory,
        unit="MiB",
        goal=64,
        note=f"while {mib} MiB arrive",
    )
    limit = min(hashing, writing)
    yield Figure(
        name="upload",
        value=rate,
        unit="MiB/s",
        goal=0.7 * limit,
        lower_is_better=False,
        peer="min(SHA-256, synced write)",
        peer_value=limit,
        note=f"{mib} MiB in one PATCH, durable and hashed before the answer",
        facts={"sha256_mib_s": hashing, "synced_write_mib_s": writing},
    )


if __name__ == "__main__":
    for figure in measure(quick="--quick" in sys.argv):
        print(f"{figure.name}: {figure.value:.1f} {figure.unit} {figure.reached}")
