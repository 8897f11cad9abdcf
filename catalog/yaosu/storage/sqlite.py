"""The embedded store: one SQLite file, one writer thread, many readers on WAL snapshots.

Steps of many callers share one commit; each is a savepoint, so one that fails takes nothing of
its neighbours along, and a caller hears of success only after the shared commit is on disk.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import queue
import sqlite3
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from yaosu.errors import Unavailable, YaosuError
from yaosu.ports import Clock, Reader, Transaction
from yaosu.proof.resting import seal, unseal

from .refusals import no_space, refused, stopping, tell
from .transaction import Kept, SqlReader, SqlTransaction

T = TypeVar("T")

MAX_BATCH = 200
MAX_WAITING = 10_000
MAX_READERS = 16
STEPS_PER_CHECKPOINT = 400
WAL_LIMIT_BYTES = 64 * 2**20
# Room to checkpoint and to get out of a full disk again; uploads keep a far larger one.
RESERVE_BYTES = 32 * 2**20
WRITER_CACHE_KIB = 64 * 2**10

# What a connection must run under; read back at start, and the start refused if one differs.
PRAGMAS = {
    "journal_mode": ("WAL", "wal"),
    "synchronous": ("FULL", 2),
    "foreign_keys": ("ON", 1),
    "recursive_triggers": ("ON", 1),
    "trusted_schema": ("OFF", 0),
}

_FULL = {sqlite3.SQLITE_FULL}
_BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
# After one of these the state of the page cache is unknown: no further write may be attempted.
_FATAL = {
    sqlite3.SQLITE_IOERR,
    sqlite3.SQLITE_CORRUPT,
    sqlite3.SQLITE_NOTADB,
    sqlite3.SQLITE_READONLY,
    sqlite3.SQLITE_CANTOPEN,
}


class SqliteStore:
    """The truth in one file: every change is one step, durable before it is acknowledged (I8)."""

    def __init__(
        self,
        path: Path,
        held: int,
        *,
        clock: Clock,
        on_fatal: Callable[[BaseException], None] | None = None,
        busy_seconds: float = 2.0,
        reserve_bytes: int = RESERVE_BYTES,
    ) -> None:
        self.path = path
        self._clock = clock
        self._on_fatal = on_fatal
        self._busy_ms = int(busy_seconds * 1000)
        self._reserve_bytes = reserve_bytes
        self._connection = self._connect()
        self._last = self._last_time()
        self._lock_file = held
        self._listeners: list[Callable[[], None]] = []
        self._broken: YaosuError | None = None
        self._steps: queue.SimpleQueue[_Step | None] = queue.SimpleQueue()
        self._readers: queue.LifoQueue[sqlite3.Connection] = queue.LifoQueue()
        self._reader_permits = threading.Semaphore(MAX_READERS)
        self._closed = False
        self._door = threading.Lock()
        self._uncheckpointed = 0
        self._kept = Kept()
        self._writer = threading.Thread(
            target=self._write_for_ever, name="store-writer", daemon=True
        )
        self._writer.start()

    # --- the port -------------------------------------------------------------------------------

    @contextlib.contextmanager
    def read(self) -> Iterator[Reader]:
        with self._reader_permits:
            try:
                connection = self._readers.get_nowait()
            except queue.Empty:
                connection = self._connect(reading=True)
            try:
                connection.execute("BEGIN")
                yield SqlReader(connection.cursor(), "sqlite")
            except sqlite3.Error as e:
                raise translated(e) from e
            finally:
                connection.rollback()
                if self._closed:
                    connection.close()
                else:
                    self._readers.put(connection)

    def write(self, step: Callable[[Transaction], T]) -> T:
        return self.submit(step).result()

    def submit(self, step: Callable[[Transaction], T]) -> Future[T]:
        if threading.current_thread() is self._writer:
            raise RuntimeError("a step may not start another one: it would wait for itself")
        future: Future[T] = Future()
        with self._door:
            if self._closed:
                raise stopping()
            if self._broken is not None:
                raise self._broken
            if self._steps.qsize() >= MAX_WAITING:
                raise Unavailable("too many steps are waiting", "等待处理的操作过多，请稍后重试")
            self._steps.put(_Step(step, future))
        return future

    def on_work(self, listener: Callable[[], None]) -> None:
        """Call `listener` after each commit that left a job or an outbox row."""
        self._listeners.append(listener)

    @property
    def broken(self) -> YaosuError | None:
        """Why nothing is written any more, or None."""
        return self._broken

    def close(self) -> None:
        with self._door:
            if self._closed:
                return
            self._closed = True
            self._steps.put(None)
        self._writer.join()
        while True:
            try:
                self._readers.get_nowait().close()
            except queue.Empty:
                break
        if self._broken is None:
            with contextlib.suppress(sqlite3.Error):
                self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self._connection.close()
        if self._broken is None:
            with contextlib.suppress(OSError):
                seal(self.path)
        os.close(self._lock_file)

    # --- the writer -----------------------------------------------------------------------------

    def _write_for_ever(self) -> None:
        while True:
            batch, stop = self._next_batch()
            if batch:
                try:
                    self._commit(batch)
                except BaseException as e:  # a bug of ours: nobody may wait for ever
                    self._broken = Unavailable("the store has failed", "存储发生内部错误")
                    _fail(batch, e)
            if stop:
                return

    def _next_batch(self) -> tuple[list[_Step], bool]:
        first = self._steps.get()
        batch = [first] if first is not None else []
        stop = first is None
        while len(batch) < MAX_BATCH and not stop:
            try:
                step = self._steps.get_nowait()
            except queue.Empty:
                break
            if step is None:
                stop = True
            else:
                batch.append(step)
        # A caller that went away before its step began has taken no step.
        return [s for s in batch if s.future.set_running_or_notify_cancel()], stop

    def _commit(self, batch: list[_Step]) -> None:
        if self._broken is not None:
            _fail(batch, self._broken)
            return
        woken: list[bool] = []
        results: list[tuple[_Step, Any, BaseException | None]] = []
        try:
            self._guard_space()
            self._connection.execute("BEGIN IMMEDIATE")
            for step in batch:
                results.append((step, *self._take(step, woken)))
            # Where every step was refused nothing is left to make durable: no sync is paid for it.
            kept = any(error is None for _, _, error in results)
            self._connection.execute("COMMIT" if kept else "ROLLBACK")
        except BaseException as e:
            self._abandon(batch, e)
            return
        for step, value, error in results:
            if error is not None:
                step.future.set_exception(error)
            else:
                step.future.set_result(value)
        if woken:
            tell(self._listeners)
        self._checkpoint(len(batch))

    def _take(self, step: _Step, woken: list[bool]) -> tuple[Any, BaseException | None]:
        """Run one step in a savepoint: (value, None), or (None, why it left nothing)."""
        connection = self._connection
        now = max(self._clock.now(), self._last)
        work: list[bool] = []
        wake = partial(work.append, True)
        tx = SqlTransaction(connection.cursor(), "sqlite", now, wake, self._kept)
        connection.execute("SAVEPOINT step")
        try:
            value = step.run(tx)
            connection.execute("RELEASE step")
        except BaseException as e:
            if not connection.in_transaction:
                raise  # SQLite gave up the whole batch (disk full, I/O error)
            connection.execute("ROLLBACK TO step")
            connection.execute("RELEASE step")
            if isinstance(e, sqlite3.Error):
                if _code(e) in _FATAL:
                    raise
                return None, translated(e)
            return None, e
        tx.keep()
        self._last = now
        woken += work
        return value, None

    def _abandon(self, batch: list[_Step], error: BaseException) -> None:
        """Nothing of the batch is committed: say so to every caller of it."""
        self._kept.clear()
        fatal = isinstance(error, sqlite3.Error) and _code(error) in _FATAL
        if isinstance(error, sqlite3.Error):
            told: BaseException = translated(error)
        else:
            told = error
        if fatal and isinstance(told, YaosuError):
            self._broken = told
        with contextlib.suppress(sqlite3.Error):
            if self._connection.in_transaction:
                self._connection.rollback()
        _fail(batch, told)
        if fatal and self._on_fatal is not None:
            on_fatal = self._on_fatal
            tell([lambda: on_fatal(error)])

    def _checkpoint(self, steps: int) -> None:
        """Copy the WAL into the file now and then; a failed sync in it is not passed over (P1)."""
        self._uncheckpointed += steps
        if self._uncheckpointed < STEPS_PER_CHECKPOINT:
            return
        self._uncheckpointed = 0
        try:
            _, pages, _ = self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchone()
            if pages * 4096 > WAL_LIMIT_BYTES:
                self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        except sqlite3.Error as e:
            if _code(e) in _FATAL:
                self._abandon([], e)

    def _guard_space(self) -> None:
        stat = os.statvfs(self.path.parent)
        if stat.f_bavail * stat.f_frsize < self._reserve_bytes:
            raise no_space()

    # --- connections ----------------------------------------------------------------------------

    def _connect(self, *, reading: bool = False) -> sqlite3.Connection:
        try:
            connection = sqlite3.connect(
                self.path,
                timeout=self._busy_ms / 1000,
                isolation_level=None,
                check_same_thread=False,
                cached_statements=512,
            )
        except sqlite3.Error as e:
            raise translated(e) from e
        try:
            for name, (wanted, _) in PRAGMAS.items():
                connection.execute(f"PRAGMA {name}={wanted}")
            connection.execute("PRAGMA wal_autocheckpoint=0")
            connection.execute(f"PRAGMA journal_size_limit={WAL_LIMIT_BYTES}")
            if reading:
                connection.execute("PRAGMA query_only=ON")
            else:
                connection.execute(f"PRAGMA cache_size=-{WRITER_CACHE_KIB}")
            must_keep_its_word(connection)
        except sqlite3.Error as e:
            connection.close()
            raise translated(e) from e
        except BaseException:
            connection.close()
            raise
        return connection

    def _last_time(self) -> datetime:
        row = self._connection.execute("SELECT max(at) FROM event").fetchone()
        return datetime.fromisoformat(row[0]) if row[0] else datetime.min.replace(tzinfo=UTC)


class _Step:
    """A step and the promise made to its caller."""

    __slots__ = ("future", "run")

    def __init__(self, run: Callable[[Transaction], Any], future: Future[Any]) -> None:
        self.run = run
        self.future = future


def must_keep_its_word(connection: sqlite3.Connection) -> None:
    """Refuse a connection whose commits would not survive a power cut."""
    for name, (_, wanted) in PRAGMAS.items():
        (found,) = connection.execute(f"PRAGMA {name}").fetchone()
        if found != wanted:
            raise Unavailable(
                f"SQLite does not keep {name} at {wanted} here",
                f"此处 SQLite 无法保持 {name}={wanted}",
            )


def hold(path: Path) -> int:
    """Hold the store for this process (P4); a second server hears Unavailable."""
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        file = os.open(f"{path}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as e:
        raise Unavailable(
            f"the data folder cannot be opened: {e.strerror}", f"无法打开数据目录：{e.strerror}"
        ) from e
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        unseal(path)
    except OSError as e:
        os.close(file)
        if e.errno not in (errno.EWOULDBLOCK, errno.EACCES):
            raise
        raise Unavailable(
            "another server has this data folder open: stop it first",
            "另一个服务正在使用该数据目录，请先停止它",
            path=str(path),
        ) from None
    return file


def _fail(batch: list[_Step], error: BaseException) -> None:
    for step in batch:
        if not step.future.done():
            step.future.set_exception(error)


def _code(error: sqlite3.Error) -> int:
    """Return the primary result code (extended ones keep it in the low byte)."""
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF


def translated(error: sqlite3.Error) -> BaseException:
    """Return what a caller is told instead of a driver's error."""
    code = _code(error)
    if code in _FULL:
        return no_space()
    if code in _BUSY:
        return Unavailable(
            "the database is locked by another program: try again",
            "数据库被其他程序锁定，请稍后重试",
        )
    if code in _FATAL:
        return Unavailable(
            f"the database cannot be read or written: {error}", f"数据库无法读写：{error}"
        )
    if code == sqlite3.SQLITE_CONSTRAINT:
        return refused(str(error))
    return error
