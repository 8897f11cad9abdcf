"""What the store on PostgreSQL promises beyond the port: several servers, lost connections."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest

from yaosu.errors import AlreadyExists, Unavailable
from yaosu.jobs import SqlJobQueue
from yaosu.model import Listing, Party, Upload, new_id
from yaosu.ports import JobLease, Store, Transaction
from yaosu.storage.sql import open_store


class Now:
    def __init__(self, **late: float) -> None:
        self.late = timedelta(**late)

    def now(self) -> datetime:
        return datetime.now(UTC) - self.late


@pytest.fixture
def servers(migrated_url: str) -> Iterator[tuple[Store, Store]]:
    """Two servers on one database; the clock of the second is an hour late."""
    first, second = (
        open_store(migrated_url, clock=clock, connections=4) for clock in (Now(), Now(hours=1))
    )
    yield first, second
    first.close()
    second.close()


def party(tx: Transaction, slug: str = "acme") -> Party:
    made = Party(id=new_id("pty"), slug=slug, name="A", created_at=tx.now)
    tx.add(made)
    return made


def in_threads(*tasks: Any) -> list[BaseException]:
    errors: list[BaseException] = []

    def run(task: Any) -> None:
        try:
            task()
        except BaseException as e:
            errors.append(e)

    threads = [threading.Thread(target=run, args=(task,)) for task in tasks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    return errors


def test_what_one_server_acknowledged_the_other_sees(servers: tuple[Store, Store]) -> None:
    made = servers[0].write(party)
    with servers[1].read() as reader:
        assert reader.get(Party, made.id) == made
    with pytest.raises(AlreadyExists):
        servers[1].write(party)


def test_time_goes_on_whichever_server_writes(servers: tuple[Store, Store]) -> None:
    times = [
        servers[n % 2].write(lambda tx: tx.record("s", "t", actor_id="a")).at for n in range(6)
    ]
    assert times == sorted(times)


def test_two_servers_never_have_the_same_job(servers: tuple[Store, Store]) -> None:
    for n in range(30):
        servers[0].write(lambda tx, n=n: tx.enqueue("k", n))
    taken: list[int] = []

    def work(store: Store) -> None:
        queue = SqlJobQueue(store, Now())
        lease: JobLease | None
        while (lease := queue.lease(new_id("w"), seconds=60)) is not None:
            taken.append(lease.job.body)
            queue.done(lease)

    assert in_threads(*[lambda s=s: work(s) for s in servers * 2]) == []  # type: ignore[misc]
    assert sorted(taken) == list(range(30))


def test_steps_that_wait_for_each_other_in_a_circle_both_end(servers: tuple[Store, Store]) -> None:
    def upload(tx: Transaction) -> Upload:
        made = Upload(
            id=new_id("upl"), party_id="p", length=9, created_at=tx.now, expires_at=tx.now
        )
        tx.add(made)
        return made

    one, two = servers[0].write(upload), servers[0].write(upload)
    both = threading.Barrier(2)
    tries: list[int] = []  # of which the first two meet, each with what the other wants

    def step(tx: Transaction, first: Upload, second: Upload) -> None:
        tries.append(1)
        tx.put(replace(tx.get(Upload, first.id), offset=1))
        if len(tries) <= 2:
            both.wait(60)
        found = tx.get(Upload, second.id)
        tx.put(replace(found, offset=found.offset + 1))

    errors = in_threads(
        lambda: servers[0].write(lambda tx: step(tx, one, two)),
        lambda: servers[1].write(lambda tx: step(tx, two, one)),
    )
    assert errors == []
    # Who was sent back may come again before the other one wakes, and be sent back once more.
    assert len(tries) >= 3, "one of them was sent back and came again"
    with servers[0].read() as reader:
        left = sorted(reader.get(Upload, made.id).offset for made in (one, two))
    assert left == [1, 2], "each step was done once, the one whole after the other"


def test_a_step_that_goes_on_after_a_refused_statement_is_not_committed(
    servers: tuple[Store, Store],
) -> None:
    def careless(tx: Any) -> None:
        party(tx)
        with contextlib.suppress(psycopg.Error):
            tx._cursor.execute("SELECT nonsense")

    with pytest.raises(RuntimeError, match="went on"):
        servers[0].write(careless)
    with servers[0].read() as reader:
        assert reader.count(Party) == 0


def test_readers_of_venues_and_parties_do_not_wait_for_each_other(
    servers: tuple[Store, Store],
) -> None:
    """Every step looks at them: a lock there would be one lock for the whole market."""
    made = servers[0].write(party)
    both = threading.Barrier(2, timeout=10)

    def step(tx: Transaction) -> None:
        tx.get(Party, made.id)
        both.wait()

    assert in_threads(*[lambda: servers[0].write(step)] * 2) == []


def test_a_restarted_database_server_costs_one_answer_at_most(
    servers: tuple[Store, Store], migrated_url: str
) -> None:
    store = servers[0]
    in_threads(*[lambda: store.write(lambda tx: tx.count(Listing))] * 4)
    with psycopg.connect(migrated_url.replace("+psycopg", "", 1), autocommit=True) as admin:
        admin.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    try:
        store.write(party)
    except Unavailable:
        store.write(party)
    with store.read() as reader:
        assert reader.count(Party) == 1


def test_more_callers_than_connections_wait_their_turn(servers: tuple[Store, Store]) -> None:
    errors = in_threads(
        *[lambda n=n: servers[0].write(lambda tx: party(tx, f"p{n}")) for n in range(40)]
    )
    assert errors == []
    futures = [servers[0].submit(lambda tx, n=n: party(tx, f"q{n}")) for n in range(40)]
    assert len({future.result(30).id for future in futures}) == 40
    with servers[0].read() as reader:
        assert reader.count(Party) == 80
