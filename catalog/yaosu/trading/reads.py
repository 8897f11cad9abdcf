"""The audit of reads of bought data: who, what, how much, when, on disk before the reply is whole.

A read is recorded as it begins, with the bytes it is about to give, in one write for all that
wait; the last piece of a reply is held back until that write is durable. So a reply that came
whole is always on record. A crash loses at most reads whose reply never came whole; what broke off
is taken back by a second row. Its provider sees counts and times, its buyer and operators all of
it.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import Any

from yaosu.errors import AlreadyExists, NotFound
from yaosu.identity import allow, relations
from yaosu.model import Actor, Trade, new_id
from yaosu.model_money import DataRead, DataUse
from yaosu.ports import Reader, Store, Transaction
from yaosu.steps import Relation

from .anchors import open_hour
from .moves import load

PAGE = 500
MOST_ROWS = 100_000
COLUMNS = (
    "at", "key_id", "way", "name", "sha256", "start", "end", "bytes", "count", "status",
    "address", "read_id", "corrects", "delivery_id",
)  # fmt: skip
USES = ("day", "way", "name", "count", "bytes", "first_at", "last_at", "delivery_id")
_ZH = {
    "at": "时间", "key_id": "密钥", "way": "方式", "name": "内容", "sha256": "摘要",
    "start": "起", "end": "止", "bytes": "字节数", "count": "次数", "status": "状态",
    "address": "地址", "read_id": "记录编号", "corrects": "更正", "delivery_id": "交付编号",
    "day": "日期", "first_at": "首次", "last_at": "末次",
}  # fmt: skip


Waiting = tuple[DataRead, Future[None]]


class ReadLog:
    """Writes reads together: one write is under way, and what comes meanwhile is the next."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._waiting: list[Waiting] = []
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="reads")

    def note(self, read: DataRead) -> Future[None]:
        """Record a read; the answer comes when it is durable, or with why it is not."""
        durable: Future[None] = Future()
        with self._lock:
            self._waiting.append((read, durable))
            first = len(self._waiting) == 1
        if first:
            self._thread.submit(self._write)
        return durable

    def close(self) -> None:
        """Write what waits, and take nothing more."""
        self._thread.shutdown()

    def _write(self) -> None:
        with self._lock:
            batch, self._waiting = self._waiting, []
        error: BaseException | None = None
        try:
            self._kept([read for read, _ in batch])
        except BaseException as failed:
            error = failed
        for _, durable in batch:
            if error is None:
                durable.set_result(None)
            else:
                durable.set_exception(error)

    def _kept(self, reads: Sequence[DataRead]) -> None:
        try:
            self._store.write(lambda tx: keep(tx, reads))
        except AlreadyExists:  # another process began the same day
            self._store.write(lambda tx: keep(tx, reads))


def keep(tx: Transaction, reads: Iterable[DataRead]) -> None:
    """Add reads to the record, and to the sums of their day."""
    sums: dict[str, DataUse] = {}
    known: set[str] = set()
    hour = open_hour(tx, tx.now)
    for given in reads:
        read = replace(given, at=tx.now, hour=hour)
        tx.add(read)
        id = use_id(read)
        if id not in sums:
            try:
                sums[id] = tx.get(DataUse, id)
                known.add(id)
            except NotFound:
                sums[id] = DataUse(
                    id=id, delivery_id=read.delivery_id, trade_id=read.trade_id,
                    day=day_of(read), way=read.way, name=read.name,
                    first_at=read.at, last_at=read.at,
                )  # fmt: skip
        before = sums[id]
        sums[id] = replace(
            before,
            bytes=before.bytes + read.bytes,
            count=before.count + read.count,
            last_at=read.at,
        )
    for id in sorted(sums):
        (tx.put if id in known else tx.add)(sums[id])


def day_of(read: DataRead) -> str:
    return read.at.date().isoformat()


def use_id(read: DataRead) -> str:
    """Return the id of the sums that a read belongs to."""
    text = "\0".join((read.delivery_id, day_of(read), read.way, read.name))
    return f"use_{hashlib.sha256(text.encode()).hexdigest()[:32]}"


def broken_off(read: DataRead, sent: int) -> DataRead:
    """Return the row that takes back what never left."""
    return replace(
        read, id=new_id("red"), bytes=sent - read.bytes, count=0, status=499, corrects=read.id
    )


# --- who sees what ------------------------------------------------------------------------------


def seen_whole(actor: Actor, trade: Trade, venue: Any) -> bool:
    """Tell whether the actor sees each read, or counts and times only."""
    return bool(relations(actor, trade, venue) & {Relation.BUYER, Relation.ADMIN})


def of_trade(
    reader: Reader, actor: Actor, trade_id: str, *, after: str | None, limit: int
) -> tuple[list[DataUse], list[DataRead] | None]:
    """Return the sums by day of a trade, and to its buyer and operators its reads, newest first."""
    trade, venue = load(reader, actor, trade_id)
    allow(actor, "reads.read", trade, venue)
    whole = seen_whole(actor, trade, venue)
    found = None
    if whole:
        found = reader.find(DataRead, trade_id=trade.id, after=after, limit=limit, newest=True)
    return uses(reader, trade.id), found


def table(reader: Reader, actor: Actor, trade_id: str) -> tuple[tuple[str, ...], list[list[Any]]]:
    """Return (columns, rows) of all that the actor may see, newest first."""
    days, found = of_trade(reader, actor, trade_id, after=None, limit=MOST_ROWS)
    items = [use_shown(d) for d in days] if found is None else [shown(one) for one in found]
    names = USES if found is None else COLUMNS
    return names, [[item.get(name) for name in names] for item in items]


def uses(reader: Reader, trade_id: str) -> list[DataUse]:
    """Return the sums of a trade, by day."""
    found: list[DataUse] = []
    after: str | None = None
    while page := reader.find(DataUse, trade_id=trade_id, after=after, limit=PAGE):
        after = page[-1].id
        found += page
    return sorted(found, key=lambda u: (u.day, u.way, u.name))


def usage(reader: Reader, trade_id: str) -> list[dict[str, Any]]:
    """Return `usage[]` of a trading record: counts and times, no key and no address."""
    from yaosu.present import plain

    days: dict[tuple[str, str], dict[str, Any]] = {}
    for use in uses(reader, trade_id):
        entry = days.setdefault(
            (use.day, use.way),
            {"at": use.last_at, "status": "success", "bytes": 0, "count": 0},
        )
        entry["at"] = max(entry["at"], use.last_at)
        entry["bytes"] += use.bytes
        entry["count"] += use.count
    return [plain(days[name]) for name in sorted(days)]


def shown(read: DataRead) -> dict[str, Any]:
    from yaosu.present import plain

    facts = plain(read)
    return {"read_id": facts.pop("id"), **facts}


def use_shown(use: DataUse) -> dict[str, Any]:
    from yaosu.present import plain

    return {k: v for k, v in plain(use).items() if k not in ("id", "trade_id")}


def header(names: Sequence[str]) -> list[str]:
    return [f"{name} {_ZH[name]}" for name in names]
