"""Anchors of the audit of reads: what was read in an hour cannot be changed after it unseen.

When an hour is over, the Merkle root of its rows becomes the payload of one event, and with it a
leaf of the transparency log, which shows a digest and nothing of who read what. A row says which
hour it stands in; none joins an hour that is anchored, not even when the clock goes back.
"""

from __future__ import annotations

from dataclasses import asdict
from datetime import datetime, timedelta

from yaosu.errors import AlreadyExists
from yaosu.model import SYSTEM
from yaosu.model_money import DataRead
from yaosu.ports import Reader, Store, Transaction
from yaosu.proof import merkle
from yaosu.proof.evidence import READS, READS_ANCHORED, read_leaf

GRACE = timedelta(minutes=10)
"""So long after an hour its last rows are surely written, on PostgreSQL too."""
PAGE = 1000
_HOUR = timedelta(hours=1)
_PLACE = "reads:anchored"
_BEFORE = ""
"""The hour of rows from before there were anchors: they are anchored together, first."""


def hour_of(at: datetime) -> str:
    """Return the name of an hour (UTC); names sort as hours do."""
    return at.strftime("%Y-%m-%dT%H")


def open_hour(reader: Reader, at: datetime) -> str:
    """Return the hour that a row written now stands in."""
    kept = reader.view(_PLACE)
    return max(hour_of(at), kept[1].decode() if kept else "")


def anchor(store: Store, now: datetime) -> int:
    """Anchor the hours that are over; returns how many held a read."""
    with store.read() as reader:
        kept = reader.view(_PLACE)
        since = kept[1].decode() if kept else None
        upto = hour_of(now - GRACE)
        found = [(hour, *_root(reader, hour)) for hour in _hours(since, upto)]
    if since is not None and since >= upto:
        return 0

    def step(tx: Transaction) -> int:
        again = tx.view(_PLACE)
        if (again[1].decode() if again else None) != since:
            return 0  # another process was quicker
        held = [(hour, count, root) for hour, count, root in found if count]
        for hour, count, root in held:
            payload = {"hour": hour, "count": count, "root": f"sha256:{root}"}
            tx.record(READS, READS_ANCHORED, actor_id=SYSTEM.id, payload=payload)
        tx.keep_view(_PLACE, upto.encode())
        return len(held)

    try:
        return store.write(step)
    except AlreadyExists:  # at the same time as another process, which has done it
        return 0


def _hours(since: str | None, upto: str) -> list[str]:
    if since is None:
        return [_BEFORE]
    at = datetime.strptime(since, "%Y-%m-%dT%H")
    found = []
    while (name := hour_of(at)) < upto:
        found.append(name)
        at += _HOUR
    return found


def _root(reader: Reader, hour: str) -> tuple[int, str]:
    """Return how many rows an hour holds and the root over them, in the order of their ids."""
    leaves: list[bytes] = []
    after: str | None = None
    while page := reader.find(DataRead, hour=hour, after=after, limit=PAGE):
        after = page[-1].id
        leaves += [merkle.leaf_hash(read_leaf(asdict(read))) for read in page]
    return len(leaves), merkle.root(merkle.node_in_memory(leaves), len(leaves)).hex()
