"""What the embedded store promises beyond the port: durable settings, one server, full disks."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest

from yaosu.errors import NoSpace, Unavailable, Unsupported
from yaosu.ports import Store, Transaction
from yaosu.storage.sql import open_store
from yaosu.storage.sqlite import MAX_BATCH, must_keep_its_word


class Now:
    def now(self) -> datetime:
        return datetime.now(UTC)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    return tmp_path / "data"


@pytest.fixture
def embedded(data: Path) -> Iterator[Store]:
    store = open_store(data, clock=Now(), busy_seconds=0.2)
    yield store
    store.close()


def note(tx: Transaction, name: str = "s", size: int = 10) -> int:
    return tx.record(name, "note", actor_id="a", payload="x" * size).id


def notes(store: Store) -> int:
    with store.read() as reader:
        return len(reader.events_after(0, limit=10_000))


# --- commits that are shared ----------------------------------------------------------------------


def test_a_step_that_fails_takes_nothing_of_its_neighbours_along(embedded: Store) -> None:
    gate = threading.Event()
    embedded.submit(lambda tx: gate.wait(10))

    def broken(tx: Transaction) -> None:
        note(tx, "broken")
        raise RuntimeError("no")

    steps = [broken if n % 3 == 0 else note for n in range(60)]
    futures = [embedded.submit(step) for step in steps]
    gate.set()
    for step, future in zip(steps, futures, strict=True):
        assert isinstance(future.exception(10), RuntimeError) is (step is broken)
    assert notes(embedded) == 40
    with embedded.read() as reader:
        assert [e.seq for e in reader.events("s")] == list(range(40))
        assert reader.events("broken") == []


def test_a_step_that_is_refused_costs_the_disk_nothing(embedded: Store, data: Path) -> None:
    embedded.write(note)
    wal = data / "market.db-wal"
    before = wal.stat()

    def refused(tx: Transaction) -> None:
        note(tx, size=100_000)
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        embedded.write(refused)
    after = wal.stat()
    assert (after.st_size, after.st_mtime_ns) == (before.st_size, before.st_mtime_ns)
    embedded.write(note)
    assert notes(embedded) == 2


def test_nothing_is_acknowledged_or_seen_before_the_shared_commit(embedded: Store) -> None:
    gate, reached = threading.Event(), threading.Event()
    first = embedded.submit(lambda tx: (reached.set(), gate.wait(10)))
    assert reached.wait(10)
    early = embedded.submit(note)
    late_gate, late = threading.Event(), threading.Event()
    last = embedded.submit(lambda tx: (late.set(), late_gate.wait(10)))
    gate.set()
    first.result(10)
    assert late.wait(10), "the two share a commit, and the second is still at work"
    assert not early.done()
    assert notes(embedded) == 0
    late_gate.set()
    last.result(10)
    assert early.done()
    assert notes(embedded) == 1


def test_more_steps_than_fit_one_commit_are_all_taken(embedded: Store) -> None:
    futures = [embedded.submit(note) for _ in range(3 * MAX_BATCH)]
    assert len({future.result(30) for future in futures}) == 3 * MAX_BATCH


def test_a_caller_that_went_away_before_its_turn_has_taken_no_step(embedded: Store) -> None:
    gate = threading.Event()
    embedded.submit(lambda tx: gate.wait(10))
    gone = embedded.submit(note)
    assert gone.cancel()
    gate.set()
    embedded.write(lambda tx: None)
    assert notes(embedded) == 0


def test_a_step_that_would_wait_for_another_step_is_refused(embedded: Store) -> None:
    with pytest.raises(RuntimeError, match="wait for itself"):
        embedded.write(lambda tx: embedded.write(note))
    embedded.write(note)


def test_many_readers_at_once_wait_for_nobody(embedded: Store) -> None:
    embedded.write(note)
    counts: list[int] = []

    def read() -> None:
        for _ in range(20):
            counts.append(notes(embedded))

    threads = [threading.Thread(target=read) for _ in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert counts == [1] * 800


def test_a_reader_cannot_write(embedded: Store) -> None:
    with (
        pytest.raises(Unavailable, match="readonly"),
        embedded.read() as reader,
    ):
        reader._cursor.execute("DELETE FROM job")  # type: ignore[attr-defined]
    assert embedded.broken is None


def test_the_log_beside_the_database_stays_small(embedded: Store, data: Path) -> None:
    for _ in range(10):
        for future in [embedded.submit(lambda tx: note(tx, size=4000)) for _ in range(200)]:
            future.result(30)
    assert (data / "market.db-wal").stat().st_size < 32 * 2**20
    embedded.close()
    assert not (data / "market.db-wal").exists()


# --- what it starts under -------------------------------------------------------------------------


def test_a_connection_that_would_lose_commits_is_refused(data: Path) -> None:
    with pytest.raises(Unavailable, match="journal_mode"):
        must_keep_its_word(sqlite3.connect(":memory:"))
    store = open_store(data, clock=Now())
    try:
        must_keep_its_word(store._connection)  # type: ignore[attr-defined]
        store.write(lambda tx: tx._cursor.execute("PRAGMA foreign_keys=OFF"))  # type: ignore[attr-defined]
    finally:
        store.close()
    weak = sqlite3.connect(data / "market.db")
    with pytest.raises(Unavailable):
        must_keep_its_word(weak)
    weak.close()


def test_a_second_server_on_the_same_folder_is_refused(embedded: Store, data: Path) -> None:
    with pytest.raises(Unavailable, match="another server"):
        open_store(data, clock=Now())
    other = subprocess.run(
        [sys.executable, "-c", OPEN_ELSEWHERE, str(data)],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert "another server" in other.stdout, other.stderr
    embedded.write(note)
    embedded.close()
    open_store(data, clock=Now()).close()


OPEN_ELSEWHERE = """
import sys
from yaosu.errors import Unavailable
from yaosu.storage.sql import open_store
try:
    open_store(sys.argv[1], clock=None)
except Unavailable as e:
    print(e.en, e.zh)
"""


@pytest.mark.parametrize("url", ["mysql://x/y", "ftp://x"])
def test_a_store_of_an_unknown_kind_is_refused(url: str) -> None:
    with pytest.raises(Unsupported):
        open_store(url, clock=Now())


def test_a_file_that_is_not_a_database_is_refused(data: Path) -> None:
    data.mkdir()
    (data / "market.db").write_bytes(b"not a database " * 100)
    with pytest.raises(Unavailable):
        open_store(data, clock=Now())
    assert (data / "market.db").read_bytes() == b"not a database " * 100


def test_a_url_names_a_file(tmp_path: Path) -> None:
    store = open_store(f"sqlite:///{tmp_path}/deep/other.db", clock=Now())
    store.write(note)
    store.close()
    assert (tmp_path / "deep/other.db").is_file()


# --- when the machine is in the way ---------------------------------------------------------------


def test_a_database_locked_by_another_program_is_unavailable_then_healthy(
    embedded: Store, data: Path
) -> None:
    other = sqlite3.connect(data / "market.db", isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    began = time.monotonic()
    with pytest.raises(Unavailable, match="locked"):
        embedded.write(note)
    assert time.monotonic() - began < 5
    assert notes(embedded) == 0
    other.execute("ROLLBACK")
    other.close()
    embedded.write(note)
    assert notes(embedded) == 1
    assert embedded.broken is None


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 24 MiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=24m", "tmpfs", str(folder)]
    if os.geteuid() != 0 or subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("a small disk needs root (mount)")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def fill_up(store: Store) -> tuple[int, NoSpace]:
    """Write until the store says that the disk is full; return how many were acknowledged."""
    acknowledged = 0
    while True:
        try:
            store.write(lambda tx: note(tx, size=200_000))
        except NoSpace as e:
            return acknowledged, e
        acknowledged += 1


def test_a_full_disk_loses_nothing_and_is_left_behind_when_there_is_room(small_disk: Path) -> None:
    (small_disk / "ballast").write_bytes(b"\0" * 4 * 2**20)
    store = open_store(small_disk / "data", clock=Now(), reserve_bytes=0)
    try:
        acknowledged, _ = fill_up(store)
        assert acknowledged > 10
        assert notes(store) == acknowledged, "reads go on"
        with pytest.raises(NoSpace):
            store.write(lambda tx: note(tx, size=200_000))
        (small_disk / "ballast").unlink()
        store.write(note)
        assert notes(store) == acknowledged + 1
        assert store.broken is None
    finally:
        store.close()
    database = sqlite3.connect(small_disk / "data/market.db")
    assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
    database.close()


def test_a_reserve_of_the_disk_is_kept_for_getting_out_again(small_disk: Path) -> None:
    store = open_store(small_disk / "data", clock=Now(), reserve_bytes=8 * 2**20)
    try:
        acknowledged, told = fill_up(store)
        assert told.zh
        assert notes(store) == acknowledged > 5
        stat = os.statvfs(small_disk)
        assert stat.f_bavail * stat.f_frsize > 4 * 2**20
    finally:
        store.close()


BREAK_THE_DISK = """
import os, resource, sys, threading
from datetime import UTC, datetime
from yaosu.errors import Unavailable
from yaosu.storage.sql import open_store

class Now:
    def now(self):
        return datetime.now(UTC)

def note(tx):
    tx.record("s", "note", actor_id="a", payload="x" * 50_000)

stopped = threading.Event()
store = open_store(sys.argv[1], clock=Now(), on_fatal=lambda e: stopped.set())
acknowledged = 0
resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, 2_000_000))  # writing beyond is an error
try:
    while True:
        store.write(note)
        acknowledged += 1
except Unavailable as e:
    print(acknowledged, type(store.broken).__name__, stopped.wait(10), flush=True)
resource.setrlimit(resource.RLIMIT_FSIZE, (2_000_000, 2_000_000))
try:
    store.write(note)
except Unavailable:
    print("refused", flush=True)
with store.read() as reader:
    print(len(reader.events("s")), flush=True)
store.close()
sys.exit(70)
"""


def test_after_an_error_of_the_disk_nothing_is_written_any_more(data: Path) -> None:
    """The first error ends writing for good and calls for the process to end (P1)."""
    run = subprocess.run(
        [sys.executable, "-c", BREAK_THE_DISK, str(data)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert run.returncode == 70, run.stderr
    first, refused, readable = run.stdout.splitlines()
    acknowledged, error, told = first.split()
    assert (error, told, refused) == ("Unavailable", "True", "refused")
    assert int(acknowledged) > 5
    assert readable == acknowledged, "reads go on"
    store = open_store(data, clock=Now())
    try:
        assert notes(store) == int(acknowledged)
        store.write(note)
    finally:
        store.close()
