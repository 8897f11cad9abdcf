"""Work outside the transaction: a queue in the store's own rows, and the worker that empties it.

A job is taken under a lease that its worker renews. A worker that dies stops renewing, and the
job comes back; a job that keeps failing, or keeps killing its worker, ends among the dead
letters, where a person can see and restart it.
"""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import threading
import uuid
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta

from .errors import NotFound, Stale, Unavailable, WrongState
from .model import JSON, Job
from .ports import Clock, JobLease, JobQueue, Store, Transaction

log = logging.getLogger(__name__)

Leave = Callable[[Transaction], object]
"""What a job leaves in the store: done in the step that marks the job as done."""
Handler = Callable[[JSON], Leave | None]

MAX_ATTEMPTS = 5
FIRST_DELAY_SECONDS = 1.0
LONGEST_DELAY_SECONDS = 3600.0
ERROR_CHARS = 2000
KEPT_DONE = timedelta(days=7)
FORGOTTEN_AT_ONCE = 1000
MOST_FORGOTTEN = 200_000


class Hopeless(Exception):
    """Raised by a handler when another attempt cannot help: the job is dead at once."""


def restart(tx: Transaction, job_id: int) -> Job:
    """Give a dead job its attempts back (a person's decision)."""
    job = tx.job(job_id)
    if job.state != "dead":
        raise WrongState(
            "only a dead job can be restarted",
            "只有失败终止的任务可以重新启动",
            state=job.state,
        )
    again = replace(job, state="ready", attempts=0, run_at=tx.now)
    tx.put_job(again)
    return again


def forget_done(store: Store, now: datetime) -> int:
    """Remove what was done more than `KEPT_DONE` ago, in small steps; return how many are gone.

    A name given by `once` is guarded by the job that has not ended, so no job runs again because
    a done one is gone; the days are for people who look for what happened. The dead stay.
    """
    gone = 0
    while gone < MOST_FORGOTTEN:
        some = store.write(
            lambda tx: tx.forget_jobs(min(now, tx.now) - KEPT_DONE, limit=FORGOTTEN_AT_ONCE)
        )
        gone += some
        if some < FORGOTTEN_AT_ONCE:
            break
    return gone


class SqlJobQueue:
    """The queue over a store: each move of a job is one step."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        *,
        attempts: int = MAX_ATTEMPTS,
        first_delay_seconds: float = FIRST_DELAY_SECONDS,
    ) -> None:
        self._store = store
        self._clock = clock
        self._attempts = attempts
        self._first_delay_seconds = first_delay_seconds

    def on_work(self, listener: Callable[[], None]) -> None:
        """Call `listener` when a step of this process left something to do."""
        self._store.on_work(listener)

    def lease(self, worker: str, *, seconds: float) -> JobLease | None:
        """Take a due job for so long; None if there is none."""
        with self._store.read() as reader:
            if reader.due_job(self._clock.now()) is None:
                return None
        return self._store.write(lambda tx: self._take(tx, worker, seconds))

    def beat(self, lease: JobLease, *, seconds: float) -> JobLease:
        """Hold the job for so long from now; Stale if it went to somebody else."""

        def step(tx: Transaction) -> JobLease:
            job = replace(_held(tx, lease), lease_until=tx.now + timedelta(seconds=seconds))
            tx.put_job(job)
            return JobLease(job=job, until=tx.now + timedelta(seconds=seconds))

        return self._store.write(step)

    def done(
        self,
        lease: JobLease,
        leave: Leave | None = None,
        *,
        next_seconds: float = 0.0,
    ) -> JobLease | None:
        """Mark the job as done, with what it leaves; Stale if it went to somebody else.

        With `next_seconds` its worker takes a due job for so long in the same step, and that
        is returned: a row of jobs costs one commit for each.
        """

        def step(tx: Transaction) -> JobLease | None:
            job = _held(tx, lease)
            if leave is not None:
                leave(tx)
            tx.put_job(replace(_free(job), state="done", run_at=tx.now, error=""))
            if not next_seconds:
                return None
            return self._take(tx, str(lease.job.leased_by), next_seconds)

        return self._store.write(step)

    def fail(self, lease: JobLease, error: str, *, retry: bool = True) -> None:
        """Put back with backoff, or, when the attempts are used up, among the dead letters."""

        def step(tx: Transaction) -> None:
            job = replace(_free(_held(tx, lease)), error=error[:ERROR_CHARS])
            if not retry or job.attempts >= self._attempts:
                tx.put_job(replace(job, state="dead", run_at=tx.now))
            else:
                again = tx.now + self._delay(job.attempts)
                tx.put_job(replace(job, state="ready", run_at=again))

        self._store.write(step)

    def restart(self, job_id: int) -> Job:
        """Give a dead job its attempts back."""
        return self._store.write(lambda tx: restart(tx, job_id))

    def take_back(self) -> int:
        """Free every leased job; for an embedded store at start, when no worker can be alive."""

        def step(tx: Transaction) -> int:
            leased = tx.jobs(state="leased", limit=100_000)
            for job in leased:
                tx.put_job(self._lost(tx, job))
            return len(leased)

        return self._store.write(step)

    def _lost(self, tx: Transaction, job: Job) -> Job:
        """Return the job of a worker that never came back: it may be what killed it."""
        if job.attempts < self._attempts:
            return replace(_free(job), state="ready", run_at=tx.now)
        error = f"the worker was lost at attempt {job.attempts}"
        return replace(_free(job), state="dead", run_at=tx.now, error=error)

    def _take(self, tx: Transaction, worker: str, seconds: float) -> JobLease | None:
        while (job := tx.due_job(tx.now)) is not None:
            if job.state == "leased" and job.attempts >= self._attempts:
                tx.put_job(self._lost(tx, job))
                continue
            until = tx.now + timedelta(seconds=seconds)
            job = replace(
                job,
                state="leased",
                attempts=job.attempts + 1,
                leased_by=worker,
                lease_until=until,
            )
            tx.put_job(job)
            return JobLease(job=job, until=until)
        return None

    def _delay(self, attempts: int) -> timedelta:
        seconds = self._first_delay_seconds * 4 ** (attempts - 1)
        return timedelta(seconds=min(seconds, LONGEST_DELAY_SECONDS))


class Worker:
    """Threads that run due jobs by the handler of their kind, and one that renews the leases."""

    def __init__(
        self,
        queue: JobQueue,
        handlers: Mapping[str, Handler],
        *,
        threads: int = 2,
        lease_seconds: float = 30.0,
        poll_seconds: float = 0.5,
        name: str | None = None,
    ) -> None:
        self.name = name or f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"
        self._queue = queue
        self._handlers = handlers
        self._lease_seconds = lease_seconds
        self._poll_seconds = poll_seconds
        self._stop = threading.Event()
        self._ended = threading.Event()
        self._work = threading.Condition()
        self._woken = 0
        self._held: dict[int, JobLease] = {}
        self._lock = threading.Lock()
        self._threads = [
            threading.Thread(target=self._run, name=f"worker-{n}", daemon=True)
            for n in range(threads)
        ]
        self._heart = threading.Thread(target=self._beat, name="worker-heart", daemon=True)

    def start(self) -> None:
        self._queue.on_work(self.wake)
        for thread in [*self._threads, self._heart]:
            thread.start()

    def wake(self) -> None:
        """Look for work now instead of at the next poll."""
        with self._work:
            self._woken += 1
            self._work.notify_all()

    def stop(self, *, timeout: float | None = None) -> bool:
        """Take no further job and wait for those in hand; say whether all of them ended."""
        self._stop.set()
        self.wake()
        if self._heart.ident is None:
            return True  # it was never started: a command that only needed the store
        for thread in self._threads:
            thread.join(timeout)
        if any(thread.is_alive() for thread in self._threads):
            return False  # their leases are still renewed
        self._ended.set()
        self._heart.join()
        return True

    def run_one(self) -> bool:
        """Run a due job in this thread; say whether there was one."""
        lease = self._queue.lease(self.name, seconds=self._lease_seconds)
        if lease is not None:
            self._handle(lease)
        return lease is not None

    def _run(self) -> None:
        lease: JobLease | None = None
        while lease is not None or not self._stop.is_set():
            woken = self._woken
            try:
                if lease is None:
                    lease = self._queue.lease(self.name, seconds=self._lease_seconds)
                idle = lease is None
                if lease is not None:
                    held, lease = lease, None
                    lease = self._handle(held, more=True)
            except Exception:
                log.exception("the queue cannot be read or written")
                idle = True
            if idle:
                self._wait(woken)

    def _wait(self, woken: int) -> None:
        """Wait for the next poll, unless work came since the queue was last looked at."""
        with self._work:
            self._work.wait_for(
                lambda: self._stop.is_set() or self._woken != woken, self._poll_seconds
            )

    def _handle(self, lease: JobLease, *, more: bool = False) -> JobLease | None:
        """Run a job and end it; with `more`, return the next one if it was taken already."""
        with self._lock:
            self._held[lease.job.id] = lease
        try:
            return self._end(lease, more)
        finally:
            with self._lock:
                self._held.pop(lease.job.id, None)

    def _end(self, lease: JobLease, more: bool) -> JobLease | None:
        job = lease.job
        handler = self._handlers.get(job.kind)
        try:
            if handler is None:
                raise Hopeless(f"no handler for jobs of the kind {job.kind!r}")
            leave = handler(job.body)
            seconds = self._lease_seconds if more and not self._stop.is_set() else 0.0
            return self._queue.done(lease, leave, next_seconds=seconds)
        except Exception as e:
            log.warning("job %s %s failed at attempt %s: %r", job.id, job.kind, job.attempts, e)
            with contextlib.suppress(Stale):  # it went to another worker
                error = f"{type(e).__name__}: {e}"
                self._queue.fail(lease, error, retry=not isinstance(e, Hopeless))
        return None

    def _beat(self) -> None:
        while not self._ended.wait(self._lease_seconds / 3):
            with self._lock:
                leases = list(self._held.values())
            for lease in leases:
                try:
                    self._queue.beat(lease, seconds=self._lease_seconds)
                except (Stale, Unavailable) as e:
                    log.warning("job %s cannot be held: %s", lease.job.id, e)


def _held(tx: Transaction, lease: JobLease) -> Job:
    """Return the job of a lease, locked; Stale if the lease ran out and another took the job."""
    try:
        job = tx.job(lease.job.id)
    except NotFound:  # done by another, and forgotten since
        raise Stale("this job is done", "该任务已完成", job=lease.job.id) from None
    mine = (job.leased_by, job.attempts) == (lease.job.leased_by, lease.job.attempts)
    if job.state != "leased" or not mine:
        raise Stale("the lease of this job ran out", "该任务的租约已失效", job=job.id)
    return job


def _free(job: Job) -> Job:
    return replace(job, leased_by=None, lease_until=None)
