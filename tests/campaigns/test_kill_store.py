"""A server killed at any moment has kept every promise that it made (R3, B1-B4, I1, I2, I8)."""

from __future__ import annotations

import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import threading
import time
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from campaigns.store_victim import Now, upload_bytes
from yaosu.jobs import SqlJobQueue, Worker
from yaosu.model import Holding, Upload
from yaosu.ports import Store
from yaosu.storage.blobs import LocalBlobs
from yaosu.storage.sql import open_store
from yaosu.storage.sqlite import SqliteStore
from yaosu_schemas.canonical import digest

VICTIM = Path(__file__).parent / "store_victim.py"


@dataclass
class Promises:
    """What a victim has said, over all its lives."""

    events: dict[tuple[str, int], tuple[str, str]] = field(default_factory=dict)
    uploads: dict[str, int] = field(default_factory=lambda: defaultdict(int))

    def hear(self, lines: list[str]) -> None:
        for line in lines:
            if not line.endswith("\n"):
                continue  # torn by the kill: nobody heard it whole
            match line.split():
                case ["event", subject, seq, event_digest, sha256]:
                    self.events[subject, int(seq)] = (event_digest, sha256)
                case ["upload", upload_id, offset]:
                    self.uploads[upload_id] = max(self.uploads[upload_id], int(offset))


def live_and_die(database: str, folder: Path, chance: random.Random, *flags: str) -> list[str]:
    """Let a victim live for a moment and kill it; return what it said."""
    victim = subprocess.Popen(
        [sys.executable, VICTIM, database, folder, str(chance.random()), *flags],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    said: list[str] = []
    ready = threading.Event()

    def listen() -> None:
        assert victim.stdout is not None
        for line in victim.stdout:
            said.append(line)
            ready.set()

    ear = threading.Thread(target=listen)
    ear.start()
    if chance.random() < 0.9:
        assert ready.wait(60), "the victim did not come up"
        time.sleep(chance.uniform(0, 0.4))
    else:
        time.sleep(chance.uniform(0, 0.6))
    victim.send_signal(signal.SIGKILL)
    victim.wait()
    ear.join()
    assert victim.returncode == -signal.SIGKILL
    return said


def check(store: Store, folder: Path, promises: Promises) -> None:
    """Every promise is kept, and what is there is whole."""
    blobs = LocalBlobs(folder / "blobs", reserve_bytes=0)
    assert os.listdir(folder / "blobs/tmp") == []
    with store.read() as reader:
        subjects = {subject for subject, _ in promises.events}
        for subject in subjects:
            chain = reader.events(subject)
            assert [e.seq for e in chain] == list(range(len(chain)))
            before = None
            for event in chain:
                assert event.digest == digest(event.statement)
                assert event.payload_digest == digest(event.payload)
                assert event.prev_digest == before
                before = event.digest
            lines = reader.postings(subject)
            assert len(lines) == 2 * len(chain)
            assert sum(p.amount_fen for p in lines) == 0
            assert reader.balance(f"escrow:{subject}") == sum(
                p.amount_fen for p in lines if p.account.startswith("escrow:")
            )
            kept = {e.seq: e for e in chain}
            holdings = {h.sha256 for h in reader.find(Holding, party_id=subject, limit=10**6)}
            for seq in (seq for s, seq in promises.events if s == subject):
                event_digest, sha256 = promises.events[subject, seq]
                assert kept[seq].digest == event_digest
                assert sha256 in holdings
            for sha256 in holdings:
                assert blobs.verify(sha256)
        for upload_id, offset in promises.uploads.items():
            known = reader.get(Upload, upload_id)
            assert known.offset >= offset
            path = folder / "uploads" / upload_id
            assert path.read_bytes()[: known.offset] == upload_bytes(upload_id, 0, known.offset)
    for sha256 in blobs.all():
        assert blobs.verify(sha256), "torn, though published"


def finish_jobs(store: Store) -> None:
    """What the dead left undone is done by the living, and every job has had its effect."""
    queue = SqlJobQueue(store, Now())
    queue.take_back()
    done: set[str] = set()
    worker = Worker(queue, {"count": lambda body: done.add(body["job"])})
    while worker.run_one():
        pass
    with store.read() as reader:
        jobs = reader.jobs(limit=10**6)
    assert jobs
    assert {job.state for job in jobs} == {"done"}
    for job in jobs:
        name = job.body["job"]
        assert name in done or store.write(lambda tx, n=name: tx.replay("worker", n)) is not None


def campaign(url: str, folder: Path, rounds: int, seed: int) -> Promises:
    chance = random.Random(seed)
    promises = Promises()
    for _ in range(rounds):
        promises.hear(live_and_die(url, folder, chance))
        store = open_store(url, clock=Now())
        try:
            if isinstance(store, SqliteStore):
                (ok,) = store._connection.execute("PRAGMA integrity_check").fetchone()
                assert ok == "ok"
            check(store, folder, promises)
        finally:
            store.close()
    return promises


def test_nothing_acknowledged_is_lost_when_the_server_is_killed(
    store_url: str, tmp_path: Path
) -> None:
    rounds = 1 if "://" in store_url else 2
    promises = campaign(store_url, tmp_path, rounds=rounds, seed=1)
    assert promises.events
    store = open_store(store_url, clock=Now())
    try:
        finish_jobs(store)
    finally:
        store.close()


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(5))
def test_nothing_acknowledged_is_lost_in_two_hundred_kills(
    store_url: str, tmp_path: Path, seed: int
) -> None:
    rounds = 40
    promises = campaign(store_url, tmp_path, rounds=rounds, seed=100 + seed)
    # Enough was promised for a loss to show; how much more depends on the machine.
    assert len(promises.events) > 2 * rounds


# What can go wrong with the n-th of these system calls. A failed sync may never be tried again.
FAULTS = [
    *((call, "signal=SIGKILL") for call in ("fdatasync", "fsync", "pwrite64", "linkat", "unlink")),
    *((call, "error=EIO") for call in ("fdatasync", "fsync", "pwrite64")),
    *((call, "error=ENOSPC") for call in ("pwrite64", "fsync", "linkat")),
]

# Making the tables alone takes hundreds of page writes: a promise is only made well after them.
FAULT_AT = dict.fromkeys((call for call, _ in FAULTS), (1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144))
FAULT_AT["pwrite64"] = (1, 2, 5, 13, 34, 89, 144, 233, 377, 610, 987, 1597, 2584)


@pytest.mark.slow
@pytest.mark.parametrize(("call", "fault"), FAULTS, ids=["-".join(fault) for fault in FAULTS])
def test_nothing_acknowledged_is_lost_when_a_system_call_fails(
    tmp_path: Path, call: str, fault: str
) -> None:
    """Each call in turn kills the server or fails, and it is started again on what is left."""
    if shutil.which("strace") is None:
        pytest.skip("no strace")
    database, promises, ended = str(tmp_path / "data"), Promises(), 0
    for n in FAULT_AT[call]:
        inject = f"inject={call}:{fault}:when={n}"
        victim = subprocess.Popen(
            ["strace", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={call}", "-e", inject]
            + [sys.executable, VICTIM, database, tmp_path, f"{fault}{n}"],
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        )
        killer = threading.Timer(15, os.killpg, (victim.pid, signal.SIGKILL))
        killer.start()
        assert victim.stdout is not None
        said = victim.stdout.readlines()
        killer.cancel()
        promises.hear(said)
        ended += victim.wait() in (70, -signal.SIGKILL, 128 + signal.SIGKILL)
        store = open_store(database, clock=Now())
        try:
            assert isinstance(store, SqliteStore)
            (ok,) = store._connection.execute("PRAGMA integrity_check").fetchone()
            assert ok == "ok"
            check(store, tmp_path, promises)
        finally:
            store.close()
    assert promises.events
    assert ended >= 5 or fault == "error=ENOSPC"


@pytest.mark.slow
def test_a_server_that_promises_too_early_is_found_out(tmp_path: Path) -> None:
    """The control: without it the campaign might see nothing at all."""
    chance = random.Random(7)
    found = 0
    for n in range(10):
        folder = tmp_path / str(n)
        said = live_and_die(str(folder / "data"), folder, chance, "--lie")
        promises = Promises()
        promises.hear(said)
        database = sqlite3.connect(folder / "data/market.db") if promises.events else None
        if database is None:
            continue
        kept = set(database.execute("SELECT subject_id, seq FROM event"))
        database.close()
        found += bool(set(promises.events) - kept)
    assert found >= 5
