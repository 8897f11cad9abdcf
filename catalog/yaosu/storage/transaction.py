"""One step over the tables: what the domain reads and writes, on either database."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, Protocol, TypeVar

import orjson

from yaosu.errors import AlreadyExists, Conflict, InvalidInput, NotFound
from yaosu.model import JSON, Event, Job, OutboxRow, Posting, Reply
from yaosu.proof.evidence import reply_sum
from yaosu_schemas.canonical import jcs, sha256_hex

from .statements import statements
from .tables import Kind, column_value, kind_of, stamp

T = TypeVar("T")

MAX_AMOUNT_FEN = 10**15


class Cursor(Protocol):
    """What both drivers' cursors have in common."""

    @property
    def rowcount(self) -> int: ...
    def execute(self, sql: Any, parameters: Any = ...) -> Any: ...
    def executemany(self, sql: Any, parameters: Any) -> Any: ...
    def fetchone(self) -> Any: ...
    def fetchall(self) -> list[Any]: ...


class SqlReader:
    """A consistent snapshot, read through a driver's cursor."""

    writing = False

    def __init__(self, cursor: Cursor, dialect: str) -> None:
        self._cursor = cursor
        self._statements = statements(dialect)

    def _run(self, name: str, **parameters: object) -> Cursor:
        self._cursor.execute(self._statements.fixed[name], parameters)
        return self._cursor

    # --- records --------------------------------------------------------------------------------

    def get(self, kind: type[T], id: str) -> T:
        found = self._by_id(kind, id, "lock")
        if found is None:
            raise absent(kind_of(kind).table.name, id)
        return found

    def _by_id(self, kind: type[T], id: str, verb: str) -> T | None:
        """Return the record of this id; in a step, `lock` has it alone and `look` does not."""
        stored = kind_of(kind)
        sql = self._statements.compiled(stored, verb if self.writing else "select")
        self._cursor.execute(sql, {"id_": id})
        row = self._cursor.fetchone()
        return None if row is None else self._load(stored, row)

    def _load(self, stored: Kind[T], row: Sequence[Any]) -> T:
        return stored.load(row[0])

    def one(self, kind: type[T], /, **equals: object) -> T | None:
        lookup: Mapping[str, Any] = equals
        if equals.keys() == {"id"}:
            return self._by_id(kind, lookup["id"], "look")
        return next(iter(self.find(kind, limit=1, **lookup)), None)

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
        stored = kind_of(kind)
        if () in equals.values():
            return []
        where, parameters = _filter(stored.columns, equals)
        page = "n" * newest + "a" * (after is not None) + "w" * self.writing
        sql = self._statements.find(stored, where, page)
        if after is not None:
            parameters["after_"] = after
        parameters["limit_"] = limit
        self._cursor.execute(sql, parameters)
        return [self._load(stored, row) for row in self._cursor.fetchall()]

    def count(self, kind: type[T], /, **equals: object) -> int:
        return self._total(kind, None, equals)

    def total(self, kind: type[T], column: str, /, **equals: object) -> int:
        """Return the sum of a column over the records whose columns equal."""
        return self._total(kind, column, equals)

    def _total(self, kind: type[T], column: str | None, equals: Mapping[str, object]) -> int:
        stored = kind_of(kind)
        if () in equals.values():
            return 0
        where, parameters = _filter(stored.columns, equals)
        self._cursor.execute(self._statements.total(stored, where, column), parameters)
        return int(self._cursor.fetchone()[0] or 0)

    def due_listings(self, now: str, *, limit: int) -> list[str]:
        """Return the ids of the listings whose `due` is not after a moment, the first one first."""
        return [row[0] for row in self._run("listing_due", now=now, limit=limit).fetchall()]

    # --- evidence and money ---------------------------------------------------------------------

    def events(self, subject_id: str) -> list[Event]:
        return _events(self._run("events_of", subject_id=subject_id))

    def events_after(
        self, event_id: int, *, limit: int = 100, types: Sequence[str] = ()
    ) -> list[Event]:
        parameters: dict[str, object] = {"after": event_id, "limit": limit}
        named = {f"type_{i}": t for i, t in enumerate(types)} if len(types) > 1 else {}
        parameters |= named or ({"type": types[0]} if types else {})
        self._cursor.execute(self._statements.events_after(len(types)), parameters)
        return _events(self._cursor)

    def balance(self, account: str) -> int:
        name = "escrow" if account.startswith("escrow:") else "balance"
        row = self._run(name, account=account).fetchone()
        return int(row[0]) if row is not None and row[0] is not None else 0

    def balance_before(self, account: str, at: datetime) -> int:
        """Return the sum of the account's postings before a time, in fen."""
        row = self._run("balance_before", account=account, until=stamp(at)).fetchone()
        return int(row[0] or 0)

    def postings(self, trade_id: str) -> list[Posting]:
        return _postings(self._run("postings_of", trade_id=trade_id))

    def account(
        self, account: str, *, since: datetime, until: datetime, limit: int
    ) -> list[Posting]:
        """Return what was posted to an account from a time up to before another, oldest first."""
        between = {"since": stamp(since), "until": stamp(until), "limit": limit}
        return _postings(self._run("account", account=account, **between))

    # --- the log --------------------------------------------------------------------------------

    def log_pending(self, limit: int = 1000) -> list[Event]:
        """Return events that have no place in the log yet, by store order."""
        return _events(self._run("pending", limit=limit))

    def log_next(self, limit: int) -> list[int]:
        """Return the ids of the next events that have no place in the log; a write locks them."""
        rows = self._run("next_lock" if self.writing else "next", limit=limit).fetchall()
        return [row[0] for row in rows]

    def log_waiting(self) -> int:
        """Return how many events have no place in the log yet."""
        return int(self._run("waiting").fetchone()[0])

    def log_size(self) -> int:
        """Return how many events have a place in the log: the next leaf's index."""
        return int(self._run("leaf_count").fetchone()[0])

    def leaves(self, start: int, *, limit: int = 1000) -> list[Event]:
        """Return the events of the leaves `start`, `start + 1`, …"""
        return _events(self._run("leaves", start=start, limit=limit))

    def leaf_of(self, event_id: int) -> int | None:
        """Return the index of an event's leaf, or None while it waits for one."""
        row = self._run("leaf_of", event_id=event_id).fetchone()
        return None if row is None else int(row[0])

    def leaf_by_digest(self, event_digest: str) -> int | None:
        """Return the index of the leaf of the event of this digest, or None."""
        row = self._run("leaf_by_digest", digest=event_digest, head=event_digest[7:19]).fetchone()
        return None if row is None else int(row[0])

    # --- views, followers, jobs -----------------------------------------------------------------

    def view(self, key: str) -> tuple[str, bytes] | None:
        row = self._run("view", key=key).fetchone()
        return None if row is None else (row[0], bytes(row[1]))

    def outbox(self, topic: str, after: int, *, limit: int = 500) -> list[OutboxRow]:
        rows = self._run("outbox", topic_=topic, after=after, limit=limit).fetchall()
        return [OutboxRow(id=i, topic=t, key=k) for i, t, k in rows]

    def outbox_head(self, topic: str) -> int:
        """Return the position of the newest row of a topic, 0 if there is none."""
        return int(self._run("outbox_head", topic_=topic).fetchone()[0] or 0)

    def jobs(self, *, state: str | None = None, limit: int = 100) -> list[Job]:
        if state is None:
            return [_job(row) for row in self._run("jobs", limit=limit).fetchall()]
        return [_job(r) for r in self._run("jobs_in", state_=state, limit=limit).fetchall()]

    def job(self, job_id: int) -> Job:
        """Return one job; NotFound if absent. In a write it is locked."""
        row = self._run("job_lock" if self.writing else "job", id_=job_id).fetchone()
        if row is None:
            raise absent("job", str(job_id))
        return _job(row)

    def job_states(self) -> dict[str, tuple[int, datetime]]:
        """Return per state how many jobs are in it, and the earliest time of one of them."""
        return {state: (n, _time(at)) for state, n, at in self._run("job_states").fetchall()}

    def due_job(self, now: datetime) -> Job | None:
        """Return a job whose lease ran out, or the first whose time has come; a write locks it."""
        lock = "_lock" if self.writing else ""
        for name in ("job_lost", "job_due"):
            row = self._run(name + lock, now=stamp(now)).fetchone()
            if row is not None:
                return _job(row)
        return None


Name = tuple[type[Any], str]
"""A kind of record and an id; of an event, its subject's."""


class Kept:
    """What the one writer of a store remembers: records that many steps look at, and the newest
    event of a subject.

    Only what has been read, or written by a step that ended well, is in it; a step that writes
    looks at its own first. Whoever abandons steps that others have built on clears it.
    """

    LIMIT = 4_000

    def __init__(self) -> None:
        self._records: dict[Name, Any] = {}
        self.get = self._records.get
        self.clear = self._records.clear

    def remember(self, name: Name, record: object) -> None:
        if len(self._records) >= self.LIMIT and name not in self._records:
            self.clear()
        self._records[name] = record


class Collision(Exception):
    """Another step replaced what this one read: it has to start anew."""


class SqlTransaction(SqlReader):
    """A step in the making: nothing of it is seen or durable before its commit."""

    writing = True

    def __init__(
        self,
        cursor: Cursor,
        dialect: str,
        now: datetime,
        wake: Callable[[], None],
        kept: Kept | None = None,
    ) -> None:
        super().__init__(cursor, dialect)
        self.now = now
        self._stamp = stamp(now)
        self.collided = False
        self._wake = wake
        # What this step has read or written, and which revision of the row that was.
        self._seen: dict[Name, tuple[Any, str | None]] = {}
        self._kept = kept
        self._written: dict[Name, Any] = {}

    # --- records --------------------------------------------------------------------------------

    def _by_id(self, kind: type[T], id: str, verb: str) -> T | None:
        record: T | None = self._known((kind, id))
        if record is None:
            return super()._by_id(kind, id, verb)
        self._seen[kind, id] = (record, None)
        return record

    def _known(self, name: Name) -> Any:
        """Return what this step has written under the name, or what the writer remembers."""
        if self._kept is None:
            return None
        return self._written.get(name) or self._kept.get(name)

    def keep(self) -> None:
        """Have the writer remember what this step has written: it has ended well."""
        if self._kept is not None:
            for name, record in self._written.items():
                self._kept.remember(name, record)

    def add(self, record: object) -> None:
        stored = kind_of(type(record))
        row = stored.row(record, stored.columns)
        self._cursor.execute(self._statements.compiled(stored, "insert"), row)
        if self._cursor.rowcount == 0:
            name, id = stored.table.name, str(getattr(record, "id", ""))
            raise AlreadyExists(f"this {name} is already there", f"{name} 已存在", kind=name, id=id)
        self._wrote(stored, str(row["id"]), record)

    def put(self, record: object) -> None:
        stored = kind_of(type(record))
        id: str = record.id  # type: ignore[attr-defined]
        before, revision = self._seen.get((stored.type, id), (None, None))
        # Setting a column again would rewrite every index it is in.
        columns = stored.changed(before, record)
        row = stored.row(record, columns)
        row["id_"] = id
        if revision is not None:
            row["revision_"] = revision
        sql = self._statements.update(stored, columns, unchanged=revision is not None)
        self._cursor.execute(sql, row)
        if self._cursor.rowcount == 0:
            if revision is not None:
                self.collided = True
                raise Collision
            raise absent(stored.table.name, id)
        self._wrote(stored, id, record)

    def _wrote(self, stored: Kind[Any], id: str, record: object) -> None:
        name = (stored.type, id)
        self._seen[name] = (record, None)
        if stored.kept:
            self._written[name] = record

    def _load(self, stored: Kind[T], row: Sequence[Any]) -> T:
        record = stored.load(row[0])
        revision = row[1] if self._statements.postgresql else None
        name = (stored.type, record.id)  # type: ignore[attr-defined]
        self._seen[name] = (record, revision)
        if self._kept is not None and stored.kept and name not in self._written:
            self._kept.remember(name, record)
        return record

    # --- evidence and money ---------------------------------------------------------------------

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
        name = (Event, subject_id)
        head = self._known(name) or self._run("event_head", subject_id=subject_id).fetchone()
        seq, prev, last = (head[0] + 1, head[1], head[2]) if head else (0, None, "")
        # Text of this shape sorts as time: an event is never earlier than the one before (I9).
        at = max(self._stamp, last)
        body = jcs(payload)
        values: dict[str, Any] = {
            "subject_id": subject_id,
            "seq": seq,
            "type": column_value(type),
            "from_state": column_value(from_state),
            "to_state": column_value(to_state),
            "actor_id": actor_id,
            "at": at,
            "payload_digest": "sha256:" + sha256_hex(body),
            "prev_digest": prev,
        }
        values["digest"] = "sha256:" + sha256_hex(_canonical(values))
        row = self._run("event_insert", payload=body.decode(), **values).fetchone()
        self._run("queue_insert", event_id=row[0])
        self._written[name] = (seq, values["digest"], at)
        values["at"] = self.now if at is self._stamp else _time(at)
        return Event(id=row[0], payload=payload, **values)

    def post(self, trade_id: str, event: Event, lines: Mapping[str, int]) -> None:
        _must_balance(lines)
        for account, amount in lines.items():
            if account.startswith("escrow:") and amount < 0:
                held = self.balance(account)
                if held + amount < 0:
                    raise Conflict(
                        "the escrow of this trade holds less than that",
                        "该交易的托管余额不足",
                        account=account,
                        held_fen=held,
                    )
        for account, amount in lines.items():
            self._run(
                "posting_insert",
                trade_id=trade_id,
                event_digest=event.digest,
                account=account,
                amount_fen=amount,
                at=self._stamp,
            )

    # --- the log --------------------------------------------------------------------------------

    def log_done(self, ids: Sequence[int]) -> int:
        """Give pending events the next places in the log, in this order; return the first."""
        first = self.log_size()
        if not ids:
            return first
        places = [{"place": place, "event_id": id} for place, id in enumerate(ids, first)]
        fixed = self._statements.fixed
        self._cursor.executemany(fixed["queue_delete"], [{"event_id": id} for id in ids])
        if self._cursor.rowcount != len(ids):
            raise Conflict(
                "an event has its place in the log already", "存证事件已写入日志", events=len(ids)
            )
        self._cursor.executemany(fixed["leaf_insert"], places)
        self._run("leaf_digest_insert", start=first)
        return first

    # --- jobs, followers, replies ---------------------------------------------------------------

    def enqueue(
        self, kind: str, body: JSON, *, delay: timedelta = timedelta(), once: str | None = None
    ) -> None:
        self._run(
            "job_insert",
            kind=kind,
            body=json.dumps(body, ensure_ascii=False, separators=(",", ":")),
            state="ready",
            attempts=0,
            run_at=stamp(self.now + delay),
            leased_by=None,
            lease_until=None,
            error="",
            created_at=self._stamp,
            once=once,
        )
        self._wake()

    def put_job(self, job: Job) -> None:
        """Replace what changes of a job: state, attempts, times, lease and error."""
        self._run(
            "job_update",
            id_=job.id,
            state=job.state,
            attempts=job.attempts,
            run_at=stamp(job.run_at),
            leased_by=job.leased_by,
            lease_until=job.lease_until and stamp(job.lease_until),
            error=job.error,
        )

    def forget_jobs(self, before: datetime, *, limit: int) -> int:
        """Remove the first jobs that were done before a time; return how many."""
        return self._run("jobs_forget", before=stamp(before), limit=limit).rowcount

    def forget_notice(self, notice_id: str) -> None:
        """Remove a notice: what a person was told, not what happened."""
        self._run("notice_forget", notice_id=notice_id)

    def notify(self, topic: str, key: str) -> None:
        self._run("outbox_insert", topic=topic, key=key)
        self._wake()

    def forget_outbox(self, topic: str, upto: int) -> None:
        """Remove rows that every follower of the topic has seen."""
        self._run("outbox_forget", topic_=topic, upto=upto)

    def keep_view(self, key: str, body: bytes | None) -> None:
        if body is None:
            self._run("view_delete", key_=key)
        else:
            self._run("view_upsert", key=key, etag=hashlib.sha256(body).hexdigest(), body=body)

    def replay(self, actor_id: str, key: str) -> Reply | None:
        row = self._run("reply", actor_id=actor_id, key=key).fetchone()
        if row is None:
            return None
        headers = json.loads(row[2])
        headers.pop("#", None)
        return Reply(fingerprint=row[0], status=row[1], headers=headers, body=bytes(row[3]))

    def remember(self, actor_id: str, key: str, reply: Reply) -> None:
        headers = orjson.dumps(dict(reply.headers)).decode()
        columns = (actor_id, key, reply.fingerprint, reply.status, headers, reply.body, self._stamp)
        comma = "" if headers == "{}" else ","
        self._run(
            "reply_insert",
            actor_id=actor_id,
            key=key,
            fingerprint=reply.fingerprint,
            status=reply.status,
            headers=f'{{"#":"{reply_sum(*columns)}"{comma}{headers[1:]}',
            body=reply.body,
            at=self._stamp,
        )


def _canonical(statement: Mapping[str, Any]) -> bytes:
    """Return RFC 8785 of a flat object of text, whole numbers and null, at the speed of C.

    For such values and ASCII keys the compact form with sorted keys is the canonical one.
    """
    return orjson.dumps(statement, option=orjson.OPT_SORT_KEYS)


def _must_balance(lines: Mapping[str, int]) -> None:
    """Refuse an entry that is not made of whole fen in bounds, or does not sum to 0 (I2)."""
    amounts = list(lines.values())
    whole = all(isinstance(a, int) and not isinstance(a, bool) for a in amounts)
    if not whole or any(abs(a) > MAX_AMOUNT_FEN for a in amounts):
        raise InvalidInput("amounts are whole fen up to 10^15", "金额须为不超过 10^15 的整数分")
    if sum(amounts) != 0 or not lines:
        raise InvalidInput(
            "the lines of an entry must sum to 0", "分录借贷必须平衡", sum_fen=sum(amounts)
        )


def _filter(
    columns: Sequence[str], equals: Mapping[str, object]
) -> tuple[tuple[tuple[str, int], ...], dict[str, object]]:
    """Return the shape of a lookup and its parameters."""
    where: list[tuple[str, int]] = []
    parameters: dict[str, object] = {}
    for column, wanted in equals.items():
        if column not in columns:
            raise TypeError(f"not a column to look up by: {column}")
        if isinstance(wanted, (tuple, list, set, frozenset)):
            values = sorted(wanted, key=str)
            where.append((column, len(values)))
            if len(values) == 1:
                parameters[column] = column_value(values[0])
            else:
                parameters |= {f"{column}_{i}": column_value(v) for i, v in enumerate(values)}
        elif wanted is None:
            where.append((column, 0))
        else:
            where.append((column, 1))
            parameters[column] = column_value(wanted)
    return tuple(where), parameters


def absent(name: str, id: str) -> NotFound:
    return NotFound(f"there is no such {name}", f"未找到该 {name}", kind=name, id=id)


def _time(text: str) -> datetime:
    return datetime.fromisoformat(text)


def _events(cursor: Cursor) -> list[Event]:
    return [
        Event(
            id=row[0],
            subject_id=row[1],
            seq=row[2],
            type=row[3],
            from_state=row[4],
            to_state=row[5],
            actor_id=row[6],
            at=_time(row[7]),
            payload=json.loads(row[8]),
            payload_digest=row[9],
            prev_digest=row[10],
            digest=row[11],
        )
        for row in cursor.fetchall()
    ]


def _postings(cursor: Cursor) -> list[Posting]:
    return [
        Posting(trade_id=t, event_digest=d, account=a, amount_fen=n, at=_time(at))
        for t, d, a, n, at in cursor.fetchall()
    ]


def _job(row: Sequence[Any]) -> Job:
    return Job(
        id=row[0],
        kind=row[1],
        body=json.loads(row[2]),
        state=row[3],
        attempts=row[4],
        run_at=_time(row[5]),
        leased_by=row[6],
        lease_until=row[7] and _time(row[7]),
        error=row[8],
        created_at=_time(row[9]),
    )
