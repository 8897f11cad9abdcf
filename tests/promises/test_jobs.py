"""What the queue promises: no job is lost, none runs for ever, all of them can be seen."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest

from yaosu import jobs as jobs_mod
from yaosu.errors import Stale, WrongState
from yaosu.jobs import Hopeless, SqlJobQueue, Worker
from yaosu.model import Job
from yaosu.ports import Store, Transaction


@pytest.fixture
def queue(store: Store, clock: Any) -> SqlJobQueue:
    return SqlJobQueue(store, clock=clock, attempts=3)


def jobs(store: Store, state: str | None = None) -> list[Job]:
    with store.read() as reader:
        return reader.jobs(state=state)


def wait_for(seen: Callable[[], bool], seconds: float = 10.0) -> None:
    until = time.monotonic() + seconds
    while not seen():
        assert time.monotonic() < until, "waited in vain"
        time.sleep(0.01)


def test_a_job_is_taken_by_one_worker_and_done_once(store: Store, queue: SqlJobQueue) -> None:
    store.write(lambda tx: tx.enqueue("count", {"n": 1}))
    lease = queue.lease("a", seconds=30)
    assert lease is not None
    assert lease.job.body == {"n": 1}
    assert queue.lease("b", seconds=30) is None
    queue.done(lease)
    assert [j.state for j in jobs(store)] == ["done"]
    assert queue.lease("b", seconds=30) is None


def test_a_delayed_job_waits_for_its_time(store: Store, queue: SqlJobQueue, clock: Any) -> None:
    from datetime import timedelta

    store.write(lambda tx: tx.enqueue("later", None, delay=timedelta(hours=1)))
    assert queue.lease("a", seconds=30) is None
    clock.forward(hours=1)
    assert queue.lease("a", seconds=30) is not None


def test_a_job_named_once_is_there_once_until_it_is_finished(
    store: Store, queue: SqlJobQueue
) -> None:
    for _ in range(2):
        store.write(lambda tx: tx.enqueue("index", None, once="index"))
    assert len(jobs(store)) == 1
    lease = queue.lease("a", seconds=30)
    assert lease is not None
    queue.done(lease)
    store.write(lambda tx: tx.enqueue("index", None, once="index"))
    assert [j.state for j in jobs(store)] == ["ready", "done"]


def test_the_job_of_a_lost_worker_comes_back_and_the_lost_one_is_told(
    store: Store, queue: SqlJobQueue, clock: Any
) -> None:
    store.write(lambda tx: tx.enqueue("long", None))
    lost = queue.lease("a", seconds=30)
    assert lost is not None
    clock.forward(seconds=20)
    queue.beat(lost, seconds=30)
    clock.forward(seconds=20)
    assert queue.lease("b", seconds=30) is None, "it was renewed"
    clock.forward(seconds=20)
    taken = queue.lease("b", seconds=30)
    assert taken is not None
    for move in (queue.done, lambda lease: queue.fail(lease, "x")):
        with pytest.raises(Stale):
            move(lost)
    queue.done(taken)


def test_a_failing_job_backs_off_then_dies_and_a_person_restarts_it(
    store: Store, queue: SqlJobQueue, clock: Any
) -> None:
    store.write(lambda tx: tx.enqueue("poison", None))
    for attempt, delay in ((1, 1), (2, 4), (3, None)):
        lease = queue.lease("a", seconds=30)
        assert lease is not None
        assert lease.job.attempts == attempt
        queue.fail(lease, "it broke")
        if delay:
            assert queue.lease("a", seconds=30) is None
            clock.forward(seconds=delay)
    (dead,) = jobs(store, "dead")
    assert (dead.error, dead.attempts) == ("it broke", 3)
    clock.forward(days=1)
    assert queue.lease("a", seconds=30) is None
    assert queue.restart(dead.id).attempts == 0
    with pytest.raises(WrongState):
        queue.restart(dead.id)
    assert queue.lease("a", seconds=30) is not None


def test_a_job_that_kills_its_workers_ends_among_the_dead(
    store: Store, queue: SqlJobQueue, clock: Any
) -> None:
    store.write(lambda tx: tx.enqueue("killer", None))
    for _ in range(3):
        assert queue.lease("a", seconds=30) is not None
        clock.forward(seconds=31)
    assert queue.lease("a", seconds=30) is None
    (dead,) = jobs(store, "dead")
    assert "lost" in dead.error


def test_a_start_takes_back_what_the_dead_process_had_in_hand(
    store: Store, queue: SqlJobQueue
) -> None:
    for kind in ("one", "two"):
        store.write(lambda tx, kind=kind: tx.enqueue(kind, None))
    lost = queue.lease("a", seconds=30)
    assert lost is not None
    assert queue.take_back() == 1
    again = queue.lease("b", seconds=30)
    assert again is not None
    with pytest.raises(Stale):
        queue.done(lost)
    assert sorted(j.state for j in jobs(store)) == ["leased", "ready"]


def test_a_worker_runs_jobs_by_their_kind_soon_after_the_commit(
    store: Store, queue: SqlJobQueue
) -> None:
    ran: list[Any] = []
    worker = Worker(queue, {"echo": ran.append}, threads=2, poll_seconds=60)
    worker.start()
    try:
        time.sleep(0.05)
        began = time.monotonic()
        store.write(lambda tx: tx.enqueue("echo", 7))
        wait_for(lambda: ran == [7])
        assert time.monotonic() - began < 1.0, "woken, not polled"
        wait_for(lambda: [j.state for j in jobs(store)] == ["done"])
    finally:
        assert worker.stop(timeout=5)


def test_what_a_job_leaves_is_there_with_its_end_or_not_at_all(
    store: Store, queue: SqlJobQueue, clock: Any
) -> None:
    store.write(lambda tx: tx.enqueue("make", None))
    lost = queue.lease("a", seconds=30)
    clock.forward(seconds=31)
    taken = queue.lease("b", seconds=30)
    assert lost is not None
    assert taken is not None

    def keep(body: bytes) -> Callable[[Transaction], object]:
        return lambda tx: tx.keep_view("made", body)

    with pytest.raises(Stale):
        queue.done(lost, keep(b"by the lost one"))
    with store.read() as reader:
        assert reader.view("made") is None
    queue.done(taken, keep(b"once"))
    with store.read() as reader:
        found = reader.view("made")
    assert found is not None
    assert found[1] == b"once"


def test_a_job_whose_leaving_is_refused_is_tried_again(store: Store, queue: SqlJobQueue) -> None:
    def refuse(tx: Transaction) -> None:
        tx.keep_view("half", b"made")
        raise WrongState("not now", "现在不行")

    worker = Worker(queue, {"make": lambda _: refuse})
    store.write(lambda tx: tx.enqueue("make", None))
    assert worker.run_one()
    (job,) = jobs(store, "ready")
    assert (job.attempts, "not now" in job.error) == (1, True)
    with store.read() as reader:
        assert reader.view("half") is None


def test_the_step_that_ends_a_job_takes_the_next_one(store: Store, queue: SqlJobQueue) -> None:
    for n in range(2):
        store.write(lambda tx, n=n: tx.enqueue("count", n))
    first = queue.lease("a", seconds=30)
    assert first is not None
    second = queue.done(first, next_seconds=30)
    assert second is not None
    assert (second.job.body, second.job.leased_by, second.job.attempts) == (1, "a", 1)
    assert queue.lease("b", seconds=30) is None
    assert queue.done(second, next_seconds=30) is None
    assert [j.state for j in jobs(store)] == ["done", "done"]


def test_of_many_jobs_each_runs_once_and_none_is_left(store: Store, queue: SqlJobQueue) -> None:
    ran: list[Any] = []
    worker = Worker(queue, {"echo": ran.append}, threads=3, poll_seconds=60)
    for n in range(60):
        store.write(lambda tx, n=n: tx.enqueue("echo", n))
    worker.start()
    wait_for(lambda: len(ran) == 60)
    assert worker.stop(timeout=5)
    assert sorted(ran) == list(range(60))
    assert {j.state for j in jobs(store)} == {"done"}


def test_a_hopeless_or_unknown_job_is_dead_at_once(store: Store, queue: SqlJobQueue) -> None:
    def refuse(_: Any) -> None:
        raise Hopeless("never")

    worker = Worker(queue, {"refuse": refuse})
    store.write(lambda tx: tx.enqueue("refuse", None))
    store.write(lambda tx: tx.enqueue("unheard_of", None))
    assert worker.run_one()
    assert worker.run_one()
    assert not worker.run_one()
    errors = [j.error for j in jobs(store, "dead")]
    assert "unheard_of" in errors[0]
    assert errors[1] == "Hopeless: never"


def test_stopping_waits_for_the_job_in_hand(store: Store, queue: SqlJobQueue) -> None:
    begun, go_on = threading.Event(), threading.Event()

    def slow(_: Any) -> None:
        begun.set()
        assert go_on.wait(10)

    worker = Worker(queue, {"slow": slow}, threads=1, poll_seconds=0.01)
    worker.start()
    store.write(lambda tx: tx.enqueue("slow", None))
    assert begun.wait(10)
    threading.Timer(0.1, go_on.set).start()
    assert worker.stop(timeout=10)
    assert [j.state for j in jobs(store)] == ["done"]


def end(queue: SqlJobQueue) -> None:
    lease = queue.lease("a", seconds=30)
    assert lease is not None
    queue.done(lease)


def test_what_was_done_is_forgotten_after_a_week_and_nothing_else(
    store: Store, queue: SqlJobQueue, clock: Any
) -> None:
    for kind in ("early", "late"):
        store.write(lambda tx, kind=kind: tx.enqueue(kind, None, once=kind))
        end(queue)
        clock.forward(days=4)
    for kind in ("waiting", "in hand", "dead"):
        store.write(lambda tx, kind=kind: tx.enqueue(kind, None, once=kind))
    queue_dead = SqlJobQueue(store, clock, attempts=1)
    for kind in ("waiting", "in hand", "dead"):
        lease = queue.lease("a", seconds=10**7)
        assert lease is not None
        if kind == "waiting":
            queue.fail(lease, "later")
        elif kind == "dead":
            queue_dead.fail(lease, "never")
    assert jobs_mod.forget_done(store, clock.now()) == 1
    kept = {j.kind: j.state for j in jobs(store)}
    assert kept == {"late": "done", "waiting": "ready", "in hand": "leased", "dead": "dead"}


def test_forgetting_takes_small_steps_until_all_is_gone(
    store: Store, queue: SqlJobQueue, clock: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jobs_mod, "FORGOTTEN_AT_ONCE", 2)
    for n in range(5):
        store.write(lambda tx, n=n: tx.enqueue("count", n))
        end(queue)
    clock.forward(days=8)
    assert store.write(lambda tx: tx.forget_jobs(clock.now(), limit=2)) == 2
    assert [j.body for j in jobs(store)] == [4, 3, 2], "the oldest go first"
    assert jobs_mod.forget_done(store, clock.now()) == 3
    assert jobs(store) == []


def test_forgetting_the_done_lets_no_job_run_twice(
    store: Store, queue: SqlJobQueue, clock: Any
) -> None:
    """`once` is guarded by whoever has not ended: whether a done one is kept changes nothing."""
    for forgotten in (False, True):
        store.write(lambda tx: tx.enqueue("index", None, once="index"))
        end(queue)
        clock.forward(days=8)
        store.write(lambda tx: tx.enqueue("index", None, once="index"))
        if forgotten:
            assert jobs_mod.forget_done(store, clock.now()) >= 1
        store.write(lambda tx: tx.enqueue("index", None, once="index"))
        assert [j.state for j in jobs(store)].count("ready") == 1
        end(queue)
        assert queue.lease("a", seconds=30) is None


def test_a_lost_worker_whose_job_was_done_and_forgotten_is_told(
    store: Store, queue: SqlJobQueue, clock: Any
) -> None:
    store.write(lambda tx: tx.enqueue("long", None))
    lost = queue.lease("a", seconds=30)
    assert lost is not None
    clock.forward(seconds=31)
    end(queue)
    clock.forward(days=8)
    assert jobs_mod.forget_done(store, clock.now()) == 1
    with pytest.raises(Stale):
        queue.done(lost)
    store.write(lambda tx: tx.enqueue("other", None))
    assert jobs(store)[0].id > lost.job.id, "a number is never given twice"
