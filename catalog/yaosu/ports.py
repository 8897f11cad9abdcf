"""The ports: what the domain needs of a store, blobs, search, and time. Protocols only."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Protocol, TypeVar

from yaosu_connectors.solr_query import Tree

from .errors import YaosuError
from .model import JSON, Event, Job, OutboxRow, Posting, Reply

T = TypeVar("T")


class Clock(Protocol):
    """Time, so that tests can hold it."""

    def now(self) -> datetime:
        """Return an aware UTC datetime."""
        ...


class Reader(Protocol):
    """A consistent snapshot of the store."""

    def get(self, kind: type[T], id: str) -> T:
        """Return the record; NotFound if absent. In a write what has steps of its own is locked."""
        ...

    def one(self, kind: type[T], /, **equals: object) -> T | None:
        """Return the only or first record whose indexed columns equal, or None."""
        ...

    def find(
        self,
        kind: type[T],
        /,
        *,
        after: str | None = None,
        limit: int = 100,
        newest: bool = False,
        **equals: object,
    ) -> list[T]:
        """Return records by indexed columns (a tuple means any of), ordered by id.

        `after` is the id of the last record of the page before; ids sort by time of creation.
        """
        ...

    def count(self, kind: type[T], /, **equals: object) -> int: ...

    def total(self, kind: type[T], column: str, /, **equals: object) -> int:
        """Return the sum of a column (bytes of holdings, length of uploads) over records."""
        ...

    def due_listings(self, now: str, *, limit: int) -> list[str]:
        """Return the ids of the listings whose `due` is not after a moment, the first one first."""
        ...

    def events(self, subject_id: str) -> list[Event]:
        """Return the evidence chain of one subject, seq 0 first."""
        ...

    def events_after(
        self, event_id: int, *, limit: int = 100, types: Sequence[str] = ()
    ) -> list[Event]:
        """Return events of all subjects by store order, for feeds and verification."""
        ...

    def balance(self, account: str) -> int:
        """Return the sum of the account's postings in fen."""
        ...

    def balance_before(self, account: str, at: datetime) -> int:
        """Return the sum of the account's postings before a time, in fen."""
        ...

    def postings(self, trade_id: str) -> list[Posting]: ...

    def account(
        self, account: str, *, since: datetime, until: datetime, limit: int
    ) -> list[Posting]:
        """Return what was posted to an account from a time up to before another, oldest first."""
        ...

    def view(self, key: str) -> tuple[str, bytes] | None:
        """Return (etag, body) of stored bytes, or None."""
        ...

    def outbox(self, topic: str, after: int, *, limit: int = 500) -> list[OutboxRow]: ...

    def outbox_head(self, topic: str) -> int:
        """Return the position of the newest row of a topic, 0 if there is none."""
        ...

    def jobs(self, *, state: str | None = None, limit: int = 100) -> list[Job]: ...

    def job(self, job_id: int) -> Job:
        """Return one job; NotFound if absent. In a write it is locked."""
        ...

    def due_job(self, now: datetime) -> Job | None:
        """Return the first job whose time has come or whose lease ran out; a write locks it."""
        ...

    def job_states(self) -> dict[str, tuple[int, datetime]]:
        """Return per state how many jobs are in it, and the earliest time of one of them."""
        ...

    def log_waiting(self) -> int:
        """Return how many events have no place in the log yet."""
        ...

    def log_next(self, limit: int) -> list[int]:
        """Return the ids of the next events that have no place in the log; a write locks them."""
        ...

    def log_pending(self, limit: int = 1000) -> list[Event]:
        """Return events that have no place in the log yet, by store order."""
        ...

    def log_size(self) -> int:
        """Return how many events have a place in the log: the next leaf's index."""
        ...

    def leaves(self, start: int, *, limit: int = 1000) -> list[Event]:
        """Return the events of the leaves `start`, `start + 1`, …"""
        ...

    def leaf_of(self, event_id: int) -> int | None:
        """Return the index of an event's leaf, or None while it waits for one."""
        ...

    def leaf_by_digest(self, event_digest: str) -> int | None:
        """Return the index of the leaf of the event of this digest, or None."""
        ...


class Transaction(Reader, Protocol):
    """One step: all of it is committed, or none."""

    now: datetime
    """Time of this step; never earlier than that of an event already in the store (I9)."""

    def add(self, record: object) -> None:
        """Insert; AlreadyExists when its id or a unique column is taken."""
        ...

    def put(self, record: object) -> None:
        """Replace the record of that id; NotFound when it is not there."""
        ...

    def record(
        self,
        subject_id: str,
        type: str,
        *,
        actor_id: str,
        from_state: str | None = None,
        to_state: str | None = None,
        payload: JSON = None,
    ) -> Event:
        """Append one event to the subject's evidence chain (domain c.4)."""
        ...

    def post(self, trade_id: str, event: Event, lines: Mapping[str, int]) -> None:
        """Append a balanced entry: account → fen; the sum is 0, escrow never goes below 0."""
        ...

    def enqueue(
        self, kind: str, body: JSON, *, delay: timedelta = timedelta(), once: str | None = None
    ) -> None:
        """Add a job; with `once`, do nothing if an unfinished job of that name is there."""
        ...

    def put_job(self, job: Job) -> None:
        """Replace what changes of a job: state, attempts, times, lease and error."""
        ...

    def forget_jobs(self, before: datetime, *, limit: int) -> int:
        """Remove the first jobs that were done before a time; return how many."""
        ...

    def forget_notice(self, notice_id: str) -> None:
        """Remove a notice: what a person was told, not what happened."""
        ...

    def log_done(self, ids: Sequence[int]) -> int:
        """Give pending events the next places in the log, in this order; return the first."""
        ...

    def notify(self, topic: str, key: str) -> None:
        """Add an outbox row."""
        ...

    def forget_outbox(self, topic: str, upto: int) -> None:
        """Remove rows that every follower of the topic has seen."""
        ...

    def keep_view(self, key: str, body: bytes | None) -> None:
        """Store (or with None remove) the bytes that a detail route answers with."""
        ...

    def replay(self, actor_id: str, key: str) -> Reply | None:
        """Return the reply recorded under (actor, idempotency key)."""
        ...

    def remember(self, actor_id: str, key: str, reply: Reply) -> None:
        """Record the reply under (actor, idempotency key), for ever."""
        ...


class Store(Protocol):
    """The truth: every change is one step, durable before it is acknowledged (I8)."""

    def read(self) -> AbstractContextManager[Reader]: ...

    def write(self, step: Callable[[Transaction], T]) -> T:
        """Run `step` in one transaction and return when it is durable.

        It may run more than once before it commits: a step has no effect but on `tx`.
        """
        ...

    def submit(self, step: Callable[[Transaction], T]) -> Future[T]:
        """As `write`, without waiting; steps of many callers share a commit."""
        ...

    def on_work(self, listener: Callable[[], None]) -> None:
        """Call `listener` after each commit here that left a job or an outbox row."""
        ...

    @property
    def broken(self) -> YaosuError | None:
        """Why nothing is written any more (P1), or None."""
        ...

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class JobLease:
    """A job in the hands of one worker until `until`."""

    job: Job
    until: datetime


class JobQueue(Protocol):
    """Jobs as rows of the store; leases make a killed worker's job come back."""

    def on_work(self, listener: Callable[[], None]) -> None:
        """Call `listener` when a step of this process left something to do."""
        ...

    def lease(self, worker: str, *, seconds: float) -> JobLease | None: ...

    def beat(self, lease: JobLease, *, seconds: float) -> JobLease: ...

    def done(
        self,
        lease: JobLease,
        leave: Callable[[Transaction], object] | None = None,
        *,
        next_seconds: float = 0.0,
    ) -> JobLease | None:
        """Mark as done together with what the job leaves; the same step may take the next one."""
        ...

    def fail(self, lease: JobLease, error: str, *, retry: bool = True) -> None:
        """Put back with backoff, or, when the attempts are used up, among the dead letters."""
        ...

    def restart(self, job_id: int) -> Job:
        """Give a dead job its attempts back (a person's decision)."""
        ...


class BlobStore(Protocol):
    """Bytes under their SHA-256; published whole, verified and durable, or not at all."""

    def put(self, chunks: Iterable[bytes], *, sha256: str | None = None) -> tuple[str, int]:
        """Publish; Unverified when the digest is another. Returns (hex digest, bytes)."""
        ...

    def adopt(self, path: Path, *, sha256: str, verified: bool = False) -> int:
        """Publish a finished, synced file of the staging folder; returns its size in bytes.

        It is read and compared first, unless the caller hashed it while writing it (`verified`).
        """
        ...

    def size(self, sha256: str) -> int:
        """Return the size in bytes; NotFound if absent."""
        ...

    def read(self, sha256: str, start: int = 0, end: int | None = None) -> Iterator[bytes]: ...

    def path(self, sha256: str) -> Path | None:
        """Return a local read-only file, or None where the store has none."""
        ...

    def lay_out(self, files: Mapping[str, str], folder: Path) -> None:
        """Make a folder of relative path → sha256, as the provider had it (hard links)."""
        ...

    def verify(self, sha256: str) -> bool:
        """Read every byte and compare (B7)."""
        ...

    def all(self) -> Iterator[str]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchQuery:
    """What a person searches for: text, filters per facet (OR inside, AND between), order."""

    text: str = ""
    filters: Mapping[str, Sequence[str]]
    sort: str = "relevance"
    limit: int = 20
    cursor: str | None = None
    facets: Sequence[str] = ()
    viewer: str | None = None
    lang: str = "zh"


@dataclass(frozen=True, slots=True, kw_only=True)
class Hit:
    """One listing found, with its stored card and a highlighted snippet (safe HTML)."""

    listing_id: str
    card: JSON
    snippet: str
    score: float


@dataclass(frozen=True, slots=True, kw_only=True)
class SearchPage:
    """A page of hits, counts per facet value, and the cursor of the next page."""

    hits: Sequence[Hit]
    total: int
    facets: Mapping[str, Sequence[tuple[str, int]]]
    cursor: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Selection:
    """What another catalog's client asks for: a tree of conditions, an order, an offset."""

    where: Tree
    text: str = ""
    viewer: str | None = None
    own: bool = False  # versions of the viewer's own that are not on the market, too
    sort: Sequence[tuple[str, bool]] = ()  # field, descending
    offset: int = 0
    limit: int = 10
    facets: Mapping[str, int] = field(default_factory=dict)  # field, how many values
    cards: bool = False  # with the cards of the page, too


@dataclass(frozen=True, slots=True, kw_only=True)
class Selected:
    """How many there are, the listings of the page with their cards, counts by field."""

    total: int
    listings: Sequence[str]
    cards: Sequence[JSON]
    facets: Mapping[str, Sequence[tuple[str, int]]]


class SearchIndex(Protocol):
    """Disposable: fed from the outbox, rebuilt from the store."""

    needs_rebuild: bool
    """There is no usable index: an empty one stands in its place until `rebuild`."""

    def search(self, query: SearchQuery) -> SearchPage: ...

    def select(self, asked: Selection) -> Selected: ...

    def suggest(self, prefix: str, *, limit: int = 8) -> list[str]: ...

    def apply(self, documents: Mapping[str, JSON | None], *, checkpoint: int) -> None:
        """Index (or with None remove) listings by id, and keep the outbox position."""
        ...

    def checkpoint(self) -> int: ...

    def rebuild(self, documents: Iterable[tuple[str, JSON]], *, checkpoint: int) -> int: ...

    def close(self) -> None: ...


ByteStream = AsyncIterator[bytes]
