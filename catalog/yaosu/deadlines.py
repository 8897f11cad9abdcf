"""What time does to a listing: reminders before an end, notices that close, offers that expire.

The sweep runs it for each listing by itself, so that one that fails holds up no other. Running it
twice changes nothing more.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, datetime

from .listing import step
from .model import SYSTEM, Listing, Remark
from .ports import Reader, Transaction
from .review import notice_reasons

REMIND_DAYS = (7, 30, 90)
"""How long before the end of a certificate its holder is reminded."""
_EXPIRING = "certificate_expiring"


def due(reader: Reader, now: datetime) -> Iterator[str]:
    """Return the listings that time moves now; each costs a step, all others only this look."""
    for state in ("notice", "registered", "listed", "suspended"):
        # One state at a time is read along its index; several would be sorted for every page.
        after: str | None = None
        while page := reader.find(Listing, state=state, after=after, limit=500):
            after = page[-1].id
            yield from (found.id for found in page if _moves(found, now))


def tick(tx: Transaction, listing_id: str) -> None:
    """Do what is due for one listing: close its notice, delist it, or remind its holder."""
    listing = tx.get(Listing, listing_id)
    today = tx.now.date()
    if listing.state == "notice":
        if not notice_reasons(listing, tx.now):
            step(tx, listing, "close_notice", SYSTEM, {"reason": "notice_ended"})
    elif listing.state in ("listed", "suspended") and (why := _expired(listing, today)):
        note = Remark(kind="delist", by=SYSTEM.id, party_id=SYSTEM.party_id, text=why, at=tx.now)
        step(tx, listing, "delist", SYSTEM, {"reason": "expired"}, remarks=(*listing.remarks, note))
    elif listing.state in ("registered", "listed", "suspended"):
        _remind(tx, listing, today)


def _moves(listing: Listing, now: datetime) -> bool:
    if listing.state == "notice":
        return not notice_reasons(listing, now)
    today = now.date()
    if listing.state != "registered" and _expired(listing, today):
        return True
    until = _certified_until(listing)
    return until is not None and 0 <= (until - today).days <= max(REMIND_DAYS)


def _certified_until(listing: Listing) -> date | None:
    return listing.certificate.valid_until if listing.certificate else None


def _offered_until(listing: Listing) -> str:
    offer = (listing.descriptor.get("dataElement") or {}).get("offer") or {}
    return str(offer.get("valid_to") or "")


def _expired(listing: Listing, today: date) -> str:
    """Return why the listing may no longer be offered, in both languages (L10), or nothing."""
    until = _certified_until(listing)
    if listing.certificate and until is not None and until < today:
        number = listing.certificate.number
        return f"登记凭证 {number} 已于 {until} 到期 / The certificate {number} ended on {until}"
    ended = _offered_until(listing)
    if ended and ended < today.isoformat():
        return f"挂牌期限已于 {ended} 届满 / The offer ended on {ended}"
    return ""


def _remind(tx: Transaction, listing: Listing, today: date) -> None:
    """Leave one event for each threshold passed; after a pause only the nearest is said."""
    until = _certified_until(listing)
    if until is None:
        return
    left = (until - today).days
    due = next((days for days in REMIND_DAYS if 0 <= left <= days), None)
    if due is None:
        return
    said = [
        event.payload["days"]
        for event in tx.events(listing.id)
        if event.type == _EXPIRING and event.payload["valid_until"] == until.isoformat()
    ]
    if said and min(said) <= due:
        return
    tx.record(
        listing.id,
        _EXPIRING,
        actor_id=SYSTEM.id,
        from_state=listing.state,
        to_state=listing.state,
        payload={"valid_until": until.isoformat(), "days": due},
    )
