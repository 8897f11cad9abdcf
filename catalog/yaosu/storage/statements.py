"""SQL compiled once from the tables, to be run on the driver itself.

Going through SQLAlchemy's execution for every statement costs about a millisecond for a step of
eight statements; the driver alone needs a twentieth of that.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.dialects.postgresql.psycopg import PGDialect_psycopg

from yaosu.model import Listing
from yaosu.model_notices import Notice

from .tables import (
    Kind,
    escrow,
    events,
    jobs,
    kind_of,
    leaf_digests,
    leaves,
    log_queue,
    outbox,
    postings,
    replies,
    views,
)

_ONE: sa.ColumnElement[int] = sa.literal_column("1", sa.Integer())

Binds = dict[str, sa.BindParameter[Any]]

Filter = tuple[tuple[str, int], ...]
"""Columns that must equal, each with how many values are allowed (0: IS NULL)."""


class Statements:
    """The statements of one dialect, with named parameters, compiled on first use."""

    def __init__(self, dialect: str) -> None:
        self.postgresql = dialect == "postgresql"
        dialects: Any = PGDialect_psycopg if self.postgresql else sqlite.dialect
        self._dialect = dialects(paramstyle="pyformat" if self.postgresql else "named")
        self._insert = postgresql.insert if self.postgresql else sqlite.insert
        self.compiled = functools.cache(self._compiled)
        self.update = functools.cache(self._update)
        self.find = functools.cache(self._find)
        self.total = functools.cache(self._total)
        self.events_after = functools.cache(self._events_after)
        self.fixed: Mapping[str, str] = {
            name: self._sql(statement) for name, statement in self._fixed().items()
        }

    def _sql(self, statement: sa.ClauseElement) -> str:
        # SQLAlchemy gives every LIMIT on SQLite an OFFSET, with a parameter that is always 0.
        return str(statement.compile(dialect=self._dialect)).replace(" OFFSET :param_1", "")

    # --- records --------------------------------------------------------------------------------

    def _compiled(self, kind: Kind[Any], verb: str) -> str:
        table = kind.table
        by_id = table.c.id == sa.bindparam("id_")
        if verb == "insert":
            values: Binds = {c: sa.bindparam(c) for c in [*kind.columns, "body"]}
            # A conflict is an answer, not an error: on PostgreSQL an error ends the transaction.
            return self._sql(self._insert(table).values(values).on_conflict_do_nothing())
        statement = self._body(kind, writing=verb != "select").where(by_id)
        lock = verb == "lock" and kind.locked
        return self._sql(statement.with_for_update() if lock else statement)

    def _update(self, kind: Kind[Any], columns: tuple[str, ...], *, unchanged: bool) -> str:
        """Compile a replacement that sets these columns, if need be only of the revision read."""
        table = kind.table
        values: Binds = {c: sa.bindparam(c) for c in columns}
        statement = sa.update(table).where(table.c.id == sa.bindparam("id_")).values(values)
        if unchanged:
            statement = statement.where(_revision(table) == sa.bindparam("revision_"))
        return self._sql(statement)

    def _body(self, kind: Kind[Any], *, writing: bool) -> sa.Select[Any]:
        """Select a record; for a step on PostgreSQL also which revision of the row it saw."""
        if writing and self.postgresql:
            return sa.select(kind.table.c.body, _revision(kind.table))
        return sa.select(kind.table.c.body)

    def _total(self, kind: Kind[Any], where: Filter, column: str | None) -> str:
        """Compile a sum of a column over a lookup; without a column, the number of records."""
        table = kind.table
        what = sa.func.count() if column is None else sa.func.sum(table.c[column])
        return self._sql(_where(sa.select(what).select_from(table), table, where))

    def _find(self, kind: Kind[Any], where: Filter, page: str) -> str:
        """Compile a lookup; `page` may hold n (newest first), a (after an id), w (in a step)."""
        table = kind.table
        selected = _where(self._body(kind, writing="w" in page), table, where)
        newest = "n" in page
        if "a" in page:
            after: sa.BindParameter[Any] = sa.bindparam("after_")
            selected = selected.where(table.c.id < after if newest else table.c.id > after)
        order = table.c.id.desc() if newest else table.c.id
        return self._sql(selected.order_by(order).limit(sa.bindparam("limit_", type_=sa.Integer())))

    def _events_after(self, types: int) -> str:
        e = events.c
        selected = sa.select(*e).where(e.id > sa.bindparam("after"))
        if types:
            selected = selected.where(_equals(e.type, types))
        limit = sa.bindparam("limit", type_=sa.Integer())
        return self._sql(selected.order_by(e.id).limit(limit))

    # --- the rest -------------------------------------------------------------------------------

    def _fixed(self) -> dict[str, Any]:
        return {**self._evidence(), **self._log(), **self._work(), **self._followers()}

    def _evidence(self) -> dict[str, Any]:
        e, p = events.c, postings.c
        new_event: Binds = {c.name: sa.bindparam(c.name) for c in e if c.name != "id"}
        new_posting: Binds = {c.name: sa.bindparam(c.name) for c in p if c.name != "id"}
        new_reply: Binds = {c.name: sa.bindparam(c.name) for c in replies.c}
        one_reply = sa.and_(
            replies.c.actor_id == sa.bindparam("actor_id"), replies.c.key == sa.bindparam("key")
        )
        return {
            "last_time": sa.select(sa.func.max(e.at)),
            "event_insert": sa.insert(events).values(new_event).returning(e.id),
            "event_head": sa.select(e.seq, e.digest, e.at)
            .where(e.subject_id == sa.bindparam("subject_id"))
            .order_by(e.seq.desc())
            .limit(_ONE),
            "events_of": sa.select(*e)
            .where(e.subject_id == sa.bindparam("subject_id"))
            .order_by(e.seq),
            "posting_insert": sa.insert(postings).values(new_posting).inline(),
            "postings_of": sa.select(p.trade_id, p.event_digest, p.account, p.amount_fen, p.at)
            .where(p.trade_id == sa.bindparam("trade_id"))
            .order_by(p.id),
            "account": sa.select(p.trade_id, p.event_digest, p.account, p.amount_fen, p.at)
            .where(
                p.account == sa.bindparam("account"),
                p.at >= sa.bindparam("since"),
                p.at < sa.bindparam("until"),
            )
            .order_by(p.at, p.id)
            .limit(sa.bindparam("limit", type_=sa.Integer())),
            "balance_before": sa.select(sa.func.sum(p.amount_fen)).where(
                p.account == sa.bindparam("account"), p.at < sa.bindparam("until")
            ),
            "balance": sa.select(sa.func.sum(p.amount_fen)).where(
                p.account == sa.bindparam("account")
            ),
            "escrow": sa.select(escrow.c.amount_fen).where(
                escrow.c.account == sa.bindparam("account")
            ),
            "reply": sa.select(
                replies.c.fingerprint, replies.c.status, replies.c.headers, replies.c.body
            ).where(one_reply),
            "reply_insert": sa.insert(replies).values(new_reply),
        }

    def _log(self) -> dict[str, Any]:
        e = events.c
        limit = sa.bindparam("limit", type_=sa.Integer())
        placed = sa.select(*e).join(leaves, leaves.c.event_id == e.id)
        pending = sa.select(*e).join(log_queue, log_queue.c.event_id == e.id).order_by(e.id)
        next_ones = sa.select(log_queue.c.event_id).order_by(log_queue.c.event_id).limit(limit)
        return {
            "queue_insert": sa.insert(log_queue).values(event_id=sa.bindparam("event_id")),
            "queue_delete": sa.delete(log_queue).where(
                log_queue.c.event_id == sa.bindparam("event_id")
            ),
            "waiting": sa.select(sa.func.count()).select_from(log_queue),
            "pending": pending.limit(limit),
            "next": next_ones,
            "next_lock": next_ones.with_for_update(),
            "leaf_count": sa.select(
                sa.func.coalesce(sa.func.max(leaves.c.place) + _ONE, sa.literal_column("0"))
            ),
            "leaf_insert": sa.insert(leaves).values(
                place=sa.bindparam("place"), event_id=sa.bindparam("event_id")
            ),
            "leaf_digest_insert": sa.insert(leaf_digests).from_select(
                ["head", "place"],
                sa.select(sa.literal_column("substr(event.digest, 8, 12)"), leaves.c.place)
                .join(events, e.id == leaves.c.event_id)
                .where(leaves.c.place >= sa.bindparam("start")),
            ),
            "leaves": placed.where(leaves.c.place >= sa.bindparam("start"))
            .order_by(leaves.c.place)
            .limit(limit),
            "leaf_of": sa.select(leaves.c.place).where(
                leaves.c.event_id == sa.bindparam("event_id")
            ),
            "leaf_by_digest": sa.select(leaves.c.place)
            .join(leaf_digests, leaf_digests.c.place == leaves.c.place)
            .join(events, e.id == leaves.c.event_id)
            .where(leaf_digests.c.head == sa.bindparam("head"), e.digest == sa.bindparam("digest")),
        }

    def _work(self) -> dict[str, Any]:
        j = jobs.c
        new: Binds = {c.name: sa.bindparam(c.name) for c in j if c.name != "id"}
        changed = ("state", "attempts", "run_at", "leased_by", "lease_until", "error")
        limit = sa.bindparam("limit", type_=sa.Integer())
        now: sa.BindParameter[Any] = sa.bindparam("now")
        # Two looks along an index: an `or` of both would read and sort all that is due.
        due = sa.and_(j.state == sa.literal_column("'ready'"), j.run_at <= now)
        lost = sa.and_(j.state == sa.literal_column("'leased'"), j.lease_until <= now)
        by_id = j.id == sa.bindparam("id_")
        states = sa.select(j.state, sa.func.count(), sa.func.min(j.run_at)).group_by(j.state)
        first_due = sa.select(*j).where(due).order_by(j.run_at, j.id).limit(_ONE)
        first_lost = sa.select(*j).where(lost).order_by(j.run_at, j.id).limit(_ONE)
        return {
            "job_insert": self._insert(jobs).values(new).on_conflict_do_nothing(),
            "job_states": states,
            "job_due": first_due,
            "job_due_lock": first_due.with_for_update(skip_locked=True),
            "job_lost": first_lost,
            "job_lost_lock": first_lost.with_for_update(skip_locked=True),
            "job": sa.select(*j).where(by_id),
            "job_lock": sa.select(*j).where(by_id).with_for_update(),
            "jobs": sa.select(*j).order_by(j.id.desc()).limit(limit),
            "jobs_in": sa.select(*j)
            .where(j.state == sa.bindparam("state_"))
            .order_by(j.id.desc())
            .limit(limit),
            "job_update": sa.update(jobs)
            .where(by_id)
            .values({c: sa.bindparam(c) for c in changed}),
            "jobs_forget": sa.delete(jobs).where(
                j.id.in_(
                    sa.select(j.id)
                    .where(
                        j.state == sa.literal_column("'done'"), j.run_at < sa.bindparam("before")
                    )
                    .order_by(j.run_at, j.id)
                    .limit(limit)
                )
            ),
        }

    def _followers(self) -> dict[str, Any]:
        o = outbox.c
        view: Binds = {c.name: sa.bindparam(c.name) for c in views.c}
        notices = kind_of(Notice).table
        listing = kind_of(Listing).table.c
        topic = o.topic == sa.bindparam("topic_")
        insert = self._insert(views).values(view)
        # One writer numbers rows in the order it commits them; many need a place given later.
        position = o.place if self.postgresql else o.id
        unplaced = sa.null() if self.postgresql else sa.literal_column("0")
        placed = sa.true() if self.postgresql else o.place == sa.literal_column("0")
        return {
            "outbox_insert": sa.insert(outbox)
            .values(topic=sa.bindparam("topic"), key=sa.bindparam("key"), place=unplaced)
            .inline(),
            "outbox": sa.select(position, o.topic, o.key)
            .where(topic, placed, position > sa.bindparam("after"))
            .order_by(position)
            .limit(sa.bindparam("limit", type_=sa.Integer())),
            "outbox_head": sa.select(sa.func.max(position)).where(topic, placed),
            "listing_due": sa.select(listing.id)
            .where(listing.due <= sa.bindparam("now"))
            .order_by(listing.due, listing.id)
            .limit(sa.bindparam("limit", type_=sa.Integer())),
            "notice_forget": sa.delete(notices).where(notices.c.id == sa.bindparam("notice_id")),
            "outbox_forget": sa.delete(outbox).where(
                topic, placed, position <= sa.bindparam("upto")
            ),
            "view": sa.select(views.c.etag, views.c.body).where(views.c.key == sa.bindparam("key")),
            "view_upsert": insert.on_conflict_do_update(
                index_elements=[views.c.key],
                set_={"etag": insert.excluded.etag, "body": insert.excluded.body},
            ),
            "view_delete": sa.delete(views).where(views.c.key == sa.bindparam("key_")),
        }


def _where(select: sa.Select[Any], table: sa.Table, where: Filter) -> sa.Select[Any]:
    return select.where(*(_equals(table.c[column], values) for column, values in where))


def _revision(table: sa.Table) -> sa.ColumnElement[str]:
    """The transaction that wrote the row (PostgreSQL): another one, if the row was replaced."""
    return sa.cast(sa.column("xmin", _selectable=table), sa.Text())


def _equals(column: sa.Column[Any], values: int) -> sa.ColumnElement[bool]:
    if values == 0:
        return column.is_(None)
    if values == 1:
        return column == sa.bindparam(column.name)
    return column.in_([sa.bindparam(f"{column.name}_{i}") for i in range(values)])


@functools.cache
def statements(dialect: str) -> Statements:
    """Return the statements of `sqlite` or `postgresql`."""
    return Statements(dialect)
