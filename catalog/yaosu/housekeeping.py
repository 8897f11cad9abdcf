"""What a market does every hour by itself: what time asks, what was left behind, what rots.

What fails holds up nothing else; the next sweep finds the same to do.
"""

from __future__ import annotations

import logging
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING

from . import deadlines, jobs
from .errors import YaosuError
from .model import SYSTEM, Holding, Upload
from .notices import inbox
from .organisation import reminders
from .ports import Store, Transaction
from .storage.blobs import sweep_orphans
from .trading import anchors, periods

if TYPE_CHECKING:
    from .market import Market

log = logging.getLogger(__name__)

SCRUB_S = 30 * 24 * 3600.0  # every stored byte is read again within that time (B7)


def sweep(market: Market, every_s: float) -> None:
    """Do all that comes round; it is called every so many seconds."""
    now = market.clock.now()
    store = market.store
    tick(store, now)
    for chore in (
        partial(_uploads, market, now),
        partial(anchors.anchor, store, now),
        partial(jobs.forget_done, store, now),
        partial(inbox.forget_read, store, now, market.settings.notice_days),
    ):
        try:
            chore()
        except YaosuError:  # a full disk
            log.exception("%s was not done", chore.func.__name__)
    sweep_orphans(market.blobs, store, lambda tx, blob: tx.count(Holding, sha256=blob) > 0)
    for sha256 in market.blobs.scrub(every_s / SCRUB_S):
        log.critical("the bytes of blob %s have changed on disk: set aside", sha256)
        store.write(partial(_record_damage, sha256=sha256))


def tick(store: Store, now: datetime) -> None:
    """Do what time asks of listings, periods and requests."""
    deadlines.date_all(store)
    with store.read() as reader:
        timed = deadlines.due_now(reader, now)
        running = list(periods.running(reader))
    for listing_id in timed:
        try:
            store.write(partial(deadlines.tick, listing_id=listing_id))
        except YaosuError:
            log.exception("the deadlines of %s were not kept", listing_id)
    for trade_id in running:
        try:
            store.write(partial(periods.tick, trade_id=trade_id))
        except YaosuError:
            log.exception("the periods of %s did not move on", trade_id)
    reminders.run(store)


def _uploads(market: Market, now: datetime) -> None:
    """Drop uploads that were never finished (B5)."""
    with market.store.read() as reader:
        open_ones = reader.find(Upload, state="open", limit=100_000)
    for upload in open_ones:
        if upload.expires_at <= now:
            market.store.write(partial(_expire_upload, upload_id=upload.id))
            market.uploads.remove(upload.id)
    live = [u for u in open_ones if u.expires_at > now]
    market.uploads.expire({u.id: u.length - u.offset for u in live})


def _expire_upload(tx: Transaction, upload_id: str) -> None:
    upload = tx.get(Upload, upload_id)
    if upload.state == "open":
        tx.put(replace(upload, state="expired"))


def _record_damage(tx: Transaction, sha256: str) -> None:
    tx.record(f"blob_{sha256}", "quarantined", actor_id=SYSTEM.id)
