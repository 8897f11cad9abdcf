"""The store on PostgreSQL: one transaction per step, many at once, retried where they collide.

Steps run at READ COMMITTED: what `get` locks is seen as it is after the wait. What was only read
and then replaced is compared with the revision that was read, so no change of another step is
ever overwritten unseen. The evidence chain needs no lock of its own: a place in it is taken once.
"""

from __future__ import annotations

import contextlib
import logging
import queue
import random
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import datetime
from typing import Any, TypeVar

import psycopg
from psycopg import errors
from psycopg.pq import TransactionStatus

from yaosu.errors import InvalidInput, Unavailable, Unsupported, YaosuError
from yaosu.model import OutboxRow, Reply
from yaosu.ports import Clock, Reader, Transaction

from .migrate import HEAD
from .refusals import locked, no_space, refused, stopping, tell
from .statements import statements
from .tables import column_value
from .transaction import Collision, SqlReader, SqlTransaction

T = TypeVar("T")

log = logging.getLogger(__name__)

CONNECTIONS = 16
MAX_TRIES = 30
LOCK_SECONDS = 10
# Any number will do, as long as every process takes the same one.
_OUTBOX_LOCK = 7_261_006

# Two steps wanted the same place: the later one starts again and sees what the first one did.
_PLACES = {"event_chain_key", "reply_pkey", "leaf_pkey", "leaf_event_key"}

_CONFLICTS = (errors.SerializationFailure, errors.DeadlockDetected)


class PostgresStore:
    """The truth in a PostgreSQL database that several servers may share."""

    def __init__(
        self,
        url: str,
        *,
        clock: Clock,
        on_fatal: Callable[[BaseException], None] | None = None,
        connections: int = CONNECTIONS,
    ) -> None:
        del on_fatal  # the server itself stops on a failed sync
        self._url = "postgresql://" + url.partition("://")[2]
        self._clock = clock
        self._idle: queue.LifoQueue[psycopg.Connection[Any]] = queue.LifoQueue()
        self._permits = threading.Semaphore(connections)
        self._closed = False
        self._listeners: list[Callable[[], None]] = []
        self._placing = threading.Lock()
        with self._connection() as connection:
            _must_be_ready(connection)
        self._threads = ThreadPoolExecutor(connections, thread_name_prefix="store")

    # --- the port -------------------------------------------------------------------------------

    @contextlib.contextmanager
    def read(self) -> Iterator[Reader]:
        with self._connection() as connection:
            connection.execute("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY")
            try:
                yield PostgresReader(connection.cursor(), self._place_outbox)
            except psycopg.Error as e:
                raise _translated(e) from e
            finally:
                _roll_back(connection)

    def write(self, step: Callable[[Transaction], T]) -> T:
        for tries in range(MAX_TRIES):
            try:
                return self._try(step)
            except Collision:
                # The longer it goes on, the further apart the contenders are sent.
                time.sleep(random.uniform(0, 0.002 * min(tries + 1, 20)))
        raise Unavailable(
            "too many others change the same thing: try again", "并发修改过多，请稍后重试"
        )

    def submit(self, step: Callable[[Transaction], T]) -> Future[T]:
        if self._closed:
            raise stopping()
        return self._threads.submit(self.write, step)

    def on_work(self, listener: Callable[[], None]) -> None:
        """Call `listener` after each commit here that left a job or an outbox row."""
        self._listeners.append(listener)

    @property
    def broken(self) -> YaosuError | None:
        """None: a database server that cannot write answers so by itself."""
        return None

    def close(self) -> None:
        self._closed = True
        self._threads.shutdown()
        self._drop_idle()

    def _drop_idle(self) -> None:
        while True:
            try:
                self._idle.get_nowait().close()
            except queue.Empty:
                return

    # --- steps ----------------------------------------------------------------------------------

    def _try(self, step: Callable[[Transaction], T]) -> T:
        work: list[bool] = []
        with self._connection() as connection:
            connection.execute("BEGIN")
            try:
                value = self._run(connection, step, work)
                connection.execute("COMMIT")
            except psycopg.Error as e:
                raise _translated(e) from e
            finally:
                _roll_back(connection)
        if work:
            tell(self._listeners)
        return value

    def _run(
        self,
        connection: psycopg.Connection[Any],
        step: Callable[[Transaction], T],
        work: list[bool],
    ) -> T:
        cursor = connection.cursor()
        last = cursor.execute(statements("postgresql").fixed["last_time"]).fetchone()
        now = self._clock.now()
        if last is not None and last[0] is not None:
            now = max(now, datetime.fromisoformat(last[0]))
        tx = PostgresTransaction(cursor, now, lambda: work.append(True))
        value = step(tx)
        if tx.collided:
            raise Collision
        # A COMMIT after a refused statement would roll back and report no error.
        if connection.info.transaction_status != TransactionStatus.INTRANS:
            raise RuntimeError("a step went on after the database had refused a statement")
        return value

    def _place_outbox(self) -> None:
        """Give committed outbox rows the next places, one process at a time.

        Rows commit in another order than they are numbered in; places are only given to rows
        that are seen committed, so a follower that has read up to a place has missed nothing.
        """
        with self._placing, self._connection(extra=True) as connection:
            unplaced = "SELECT id FROM outbox WHERE place IS NULL ORDER BY id LIMIT 10000"
            if connection.execute(f"SELECT EXISTS ({unplaced})").fetchone() == (False,):
                return
            with connection.transaction():
                connection.execute("SELECT pg_advisory_xact_lock(%s)", [_OUTBOX_LOCK])
                connection.execute(
                    "WITH next AS (SELECT id, nextval(pg_get_serial_sequence('outbox', 'id')) "
                    f"AS place FROM ({unplaced}) AS waiting) "
                    "UPDATE outbox SET place = next.place FROM next WHERE outbox.id = next.id"
                )

    # --- connections ----------------------------------------------------------------------------

    @contextlib.contextmanager
    def _connection(self, *, extra: bool = False) -> Iterator[psycopg.Connection[Any]]:
        """Lend a connection; one that broke is not lent again. `extra` needs no permit."""
        with contextlib.nullcontext() if extra else self._permits:
            if self._closed:
                raise stopping()
            try:
                connection = self._idle.get_nowait()
            except queue.Empty:
                connection = self._connect()
            try:
                yield connection
            except psycopg.Error as e:
                raise _translated(e) from e
            finally:
                if connection.closed or self._closed:
                    connection.close()
                    self._drop_idle()  # what broke this one has broken them
                else:
                    self._idle.put(connection)

    def _connect(self) -> psycopg.Connection[Any]:
        try:
            connection = psycopg.connect(self._url, autocommit=True, connect_timeout=10)
        except psycopg.OperationalError as e:
            raise _unreachable(e) from e
        connection.prepared_max = 500
        connection.execute("SET synchronous_commit = on")
        connection.execute(f"SET lock_timeout = '{LOCK_SECONDS}s'")
        connection.execute("SET client_min_messages = warning")
        return connection


class PostgresReader(SqlReader):
    """A snapshot that sees every committed outbox row in its place."""

    def __init__(self, cursor: Any, place_outbox: Callable[[], None]) -> None:
        super().__init__(cursor, "postgresql")
        self._place_outbox = place_outbox

    def outbox(self, topic: str, after: int, *, limit: int = 500) -> list[OutboxRow]:
        self._place_outbox()
        return super().outbox(topic, after, limit=limit)

    def outbox_head(self, topic: str) -> int:
        self._place_outbox()
        return super().outbox_head(topic)


class PostgresTransaction(SqlTransaction):
    """A step; one with the idempotency key of another waits until that one has its answer."""

    def __init__(self, cursor: Any, now: datetime, wake: Callable[[], None]) -> None:
        super().__init__(cursor, "postgresql", now, wake)

    def replay(self, actor_id: str, key: str) -> Reply | None:
        # The same request, sent twice at once, is answered twice from one effect (I5).
        self._cursor.execute(
            "SELECT pg_advisory_xact_lock(hashtextextended(%(name)s, 0))",
            {"name": f"{column_value(actor_id)}\n{key}"},
        )
        return super().replay(actor_id, key)


def _must_be_ready(connection: psycopg.Connection[Any]) -> None:
    """Refuse a database whose tables are not those of this version, or whose text is not UTF-8."""
    (encoding,) = connection.execute("SHOW server_encoding").fetchone() or ("",)
    if encoding != "UTF8":
        raise Unsupported(
            f"the database must be in UTF8, not {encoding}",
            f"数据库编码须为 UTF8，而不是 {encoding}",
        )
    try:
        row = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    except errors.UndefinedTable:
        row = None
    if row is None or row[0] != HEAD:
        raise Unavailable(
            "the tables are not up to date: run `yaosu db upgrade`",
            "数据库表结构不是最新版本，请先运行 `yaosu db upgrade`",
            found=row and row[0],
            wanted=HEAD,
        )
    (fsync,) = connection.execute("SHOW fsync").fetchone() or ("",)
    if fsync != "on":
        log.warning("PostgreSQL runs with fsync=off: a power cut loses acknowledged steps")


def _roll_back(connection: psycopg.Connection[Any]) -> None:
    if connection.info.transaction_status != TransactionStatus.IDLE:
        with contextlib.suppress(psycopg.Error):
            connection.execute("ROLLBACK")


def _unreachable(error: psycopg.Error) -> Unavailable:
    return Unavailable(
        "the database cannot be reached", "无法连接数据库", reason=type(error).__name__
    )


def _translated(error: psycopg.Error) -> BaseException:
    """Return what a caller is told, or `Collision`, instead of a driver's error."""
    if isinstance(error, _CONFLICTS) or error.diag.constraint_name in _PLACES:
        return Collision()
    if isinstance(error, errors.LockNotAvailable):
        return locked()
    if isinstance(error, errors.DiskFull):
        return no_space()
    if isinstance(error, errors.UniqueViolation):
        return refused(f"unique: {error.diag.constraint_name}")
    if isinstance(error, errors.IntegrityError):
        return refused(str(error.diag.message_primary))
    if isinstance(error, psycopg.DataError):
        return InvalidInput(
            "the database cannot hold this value (a NUL in text, or too large a number)",
            "数据库无法保存该值（文本含空字符，或数值过大）",
        )
    if isinstance(error, (psycopg.OperationalError, errors.InternalError)):
        return _unreachable(error)
    return error
