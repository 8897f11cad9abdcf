"""The real server in a process of its own, and the wire to it, for campaigns that are unkind to it.

A nursery process has loaded the program already; each life of the server is a fork of it that runs
`yaosu serve`, so that a thousand lives do not cost a thousand starts of the interpreter.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "benchmarks/results"
HERE = Path(__file__).parent
PATIENCE = float(os.environ.get("YAOSU_PATIENCE", "1"))
"""By how much longer to wait for everything: a machine with other work is slower, not wrong."""


@dataclass(frozen=True)
class Scene:
    """A data folder in which two corpora are for sale, and the keys of those who trade."""

    folder: Path
    provider: str
    buyer: str
    buyer_id: str
    admin: str
    negotiated: str
    free: str
    signing_key: str

    def copy(self, place: Path) -> Scene:
        """Return the same scene in a folder of its own, to be ruined there."""
        shutil.copytree(self.folder, place)
        return Scene(**{**asdict(self), "folder": place})


def prepare(folder: Path) -> Scene:
    """Make the scene with a market in this process."""
    from people import USCC, open_hall, small_corpus
    from stall import sold_as

    with open_hall(folder) as hall:
        provider = hall.person("provider", "provider", uscc=USCC[0])
        buyer = hall.person("buyer", "buyer")
        listings = {}
        for mode in ("negotiated", "free"):
            descriptor, data = small_corpus(provider, f"corpus-{mode}", mode=mode)
            provider.upload(data)
            listings[mode] = sold_as(hall, provider, descriptor)
        made = buyer.post("/v1/signing-keys", {"held_by": "platform"})
        return Scene(
            folder=folder,
            provider=str(provider.key),
            buyer=str(buyer.key),
            buyer_id=buyer.id,
            admin=str(hall.admin.key),
            signing_key=made["key_id"],
            **listings,
        )


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port: int = taken.getsockname()[1]
    return port


# --- lives ---------------------------------------------------------------------------------------


class Nursery:
    """Brings the server to life again and again (see `nursery.py`)."""

    def __init__(self, *flags: str) -> None:
        path = os.pathsep.join([str(HERE.parent), *sys.path])
        self.process = subprocess.Popen(
            [sys.executable, HERE / "nursery.py", *flags],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={
                **os.environ,
                "PYTHONPATH": path,
                "YAOSU_RESERVE_BYTES": "0",
                "YAOSU_CALLS_PER_MINUTE": "0",  # a crowd calls with two keys here
            },
        )

    def serve(self, data: Path, port: int) -> Life:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps([str(data), port]) + "\n")
        self.process.stdin.flush()
        return Life(self, int(self._heard()), port)

    def ended(self, pid: int) -> int:
        """Wait for a life to end; returns its status as `os.waitpid` has it."""
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(pid) + "\n")
        self.process.stdin.flush()
        return int(self._heard())

    def _heard(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline()

    def close(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(60)


@dataclass
class Life:
    """One life of the server."""

    nursery: Nursery
    pid: int
    port: int

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        assert os.WTERMSIG(self.nursery.ended(self.pid)) == signal.SIGKILL

    def ended_by_now(self, seconds: float = 3.0) -> int | None:
        """Return the exit code if it ends by itself within a moment (negative: the signal)."""
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            state = Path(f"/proc/{self.pid}/stat").read_text("utf-8").rpartition(")")[2].split()[0]
            if state == "Z":
                return os.waitstatus_to_exitcode(self.nursery.ended(self.pid))
            time.sleep(0.02)
        return None

    def stop(self) -> int:
        """Ask it to end and wait; returns its exit code."""
        os.kill(self.pid, signal.SIGTERM)
        return os.waitstatus_to_exitcode(self.nursery.ended(self.pid))


@contextlib.contextmanager
def nursery(*flags: str) -> Iterator[Nursery]:
    made = Nursery(*flags)
    try:
        yield made
    finally:
        made.close()


# --- the wire ------------------------------------------------------------------------------------


class Broken(Exception):
    """The line broke before the answer was whole: nobody knows what happened."""


class Wire:
    """One connection that is kept while it lasts."""

    def __init__(self, port: int, key: str | None = None) -> None:
        self.port = port
        self.key = key
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def ask(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        *,
        patience: float = 30.0,
    ) -> tuple[int, dict[str, str], bytes]:
        """Return (status, headers, body), or raise Broken."""
        try:
            return await asyncio.wait_for(
                self._ask(method, path, body, headers or {}), patience * PATIENCE
            )
        except (OSError, EOFError, TimeoutError, ValueError) as error:
            self.close()
            raise Broken(type(error).__name__) from None

    async def _ask(
        self, method: str, path: str, body: bytes, headers: Mapping[str, str]
    ) -> tuple[int, dict[str, str], bytes]:
        if self._streams is None:
            self._streams = await asyncio.open_connection("127.0.0.1", self.port)
        reader, writer = self._streams
        head = [f"{method} {path} HTTP/1.1", "host: market", f"content-length: {len(body)}"]
        head += [f"{name}: {value}" for name, value in headers.items()]
        if self.key:
            head.append(f"authorization: Bearer {self.key}")
        writer.write("\r\n".join(head).encode() + b"\r\n\r\n" + body)
        first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        found = dict(line.lower().split(": ", 1) for line in lines if line)
        length = 0 if method == "HEAD" else int(found.get("content-length", 0))
        answer = await reader.readexactly(length)
        if found.get("connection") == "close":
            self.close()
        return int(first.split(" ")[1]), found, answer

    async def post(self, path: str, body: Any, key: str, **more: Any) -> tuple[int, bytes]:
        """Take a step; returns (status, body)."""
        headers = {"content-type": "application/json", "idempotency-key": key}
        status, _, answer = await self.ask("POST", path, json.dumps(body).encode(), headers, **more)
        return status, answer

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


async def awake(port: int, seconds: float = 60.0) -> None:
    """Wait until the server answers."""
    end = time.monotonic() + seconds * PATIENCE
    while True:
        with contextlib.suppress(Broken):
            wire = Wire(port)
            status, _, _ = await wire.ask("GET", "/healthz", patience=5)
            wire.close()
            if status == 200:
                return
        assert time.monotonic() < end, "the server did not come up"
        await asyncio.sleep(0.02)


# --- what came of it -----------------------------------------------------------------------------


def write_result(
    name: str, goal: str, *, violations: int, whole: bool = True, **counted: Any
) -> None:
    """Keep what a long campaign found, beside the figures; `whole`: it was as long as its goal."""
    sys.path.insert(0, str(ROOT / "benchmarks"))
    from run import commit, machine  # type: ignore[import-not-found]

    told = {
        "campaign": name,
        "goal": goal,
        "violations": violations,
        "whole": whole,
        "counted": counted,
        "at": datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        "commit": commit(),
        "machine": machine(),
    }
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"campaign_{name}.json"
    path.write_text(json.dumps(told, ensure_ascii=False, indent=2) + "\n", "utf-8")


def rows(database: Path, sql: str, parameters: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
    """Read the database of a market, running or dead."""
    import sqlite3

    with contextlib.closing(sqlite3.connect(database, timeout=30)) as connection:
        return connection.execute(sql, parameters).fetchall()
