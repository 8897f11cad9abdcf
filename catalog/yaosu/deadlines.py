"""What time does to a listing: reminders before an end, notices that close, offers that expire.

The sweep runs it for each listing that is due by itself, so that one that fails holds up no other.
Running it twice changes nothing more.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime
from functools import partial

from .due_dates import REMIND_DAYS, certified_until, due, expired, moment
from .listing import step
from .model import SYSTEM, Listing, Remark
from .ports import Reader, Store, Transaction
from .review import notice_reasons

_EXPIRING = "certificate_expiring"
_DATED = "listings:dated"
_TIMED = ("notice", "registered", "listed", "suspended")
MOST = 100_000
PAGE = 200


def due_now(reader: Reader, now: datetime) -> list[str]:
    """Return the listings that time may move now; all others are not even looked at."""
    return reader.due_listings(moment(now), limit=MOST)


def date_all(store: Store) -> None:
    """Say once of every listing of an older version when it is due."""
    with store.read() as reader:
        if reader.view(_DATED) is not None:
            return
    for state in _TIMED:
        after: str | None = ""
        while after is not None:
            after = store.write(partial(_date_page, state=state, after=after))
    store.write(lambda tx: tx.keep_view(_DATED, b"{}"))


def _date_page(tx: Transaction, state: str, after: str) -> str | None:
    page = tx.find(Listing, state=state, after=after, limit=PAGE)
    for listing in page:
        if (at := due(listing)) != listing.due:
            tx.put(replace(listing, due=at))
    return page[-1].id if page else None


def tick(tx: Transaction, listing_id: str) -> None:
    """Do what is due for one listing: close its notice, delist it, or remind its holder."""
    listing = tx.get(Listing, listing_id)
    today = tx.now.date()
    if listing.state == "notice":
        if not notice_reasons(listing, tx.now):
            step(tx, listing, "close_notice", SYSTEM, {"reason": "notice_ended"})
            return
    elif listing.state in ("listed", "suspended") and (why := expired(listing, today)):
        note = Remark(kind="delist", by=SYSTEM.id, party_id=SYSTEM.party_id, text=why, at=tx.now)
        step(tx, listing, "delist", SYSTEM, {"reason": "expired"}, remarks=(*listing.remarks, note))
        return
    elif listing.state in ("registered", "listed", "suspended"):
        _remind(tx, listing, today)
    tx.put(replace(listing, due=due(listing, tx.now)))


def _remind(tx: Transaction, listing: Listing, today: date) -> None:
    """Leave one event for each threshold passed; after a pause only the nearest is said."""
    until = certified_until(listing)
    if until is None:
        return
    left = (until - today).days
    near = next((days for days in REMIND_DAYS if 0 <= left <= days), None)
    if near is None:
        return
    said = [
        event.payload["days"]
        for event in tx.events(listing.id)
        if event.type == _EXPIRING and event.payload["valid_until"] == until.isoformat()
    ]
    if said and min(said) <= near:
        return
    tx.record(
        listing.id,
        _EXPIRING,
        actor_id=SYSTEM.id,
        from_state=listing.state,
        to_state=listing.state,
        payload={"valid_until": until.isoformat(), "days": near},
    )
