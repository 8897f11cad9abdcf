"""When time next has something to say to a listing: what its `due` holds, and the sweep reads by.

Text of days (`2026-11-28`) and of moments sorts as time: a day comes before its every moment.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta

from .model import Listing

REMIND_DAYS = (7, 30, 90)
"""How long before the end of a certificate its holder is reminded."""


def moment(at: datetime) -> str:
    """Return a moment as it is compared with what is due (RFC 3339, UTC)."""
    return at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def due(listing: Listing, after: datetime | None = None) -> str | None:
    """Return the first day or moment at which time may move a listing; with `after`, beyond it.

    Whatever changes a listing asks for all of them, so that none is passed over unseen: the next
    sweep looks at once where the first has passed, and then asks for those that still come.
    """
    found = list(_days(listing))
    if after is not None:
        found = [day for day in found if day > after.date().isoformat()]
    if listing.state == "notice":
        ends = moment(listing.notice_until) if listing.notice_until else ""
        found = [ends] if after is None or ends > moment(after) else []
    return min(found, default=None)


def _days(listing: Listing) -> Iterator[str]:
    offered = listing.state in ("listed", "suspended")
    until = certified_until(listing)
    if until is not None and (offered or listing.state == "registered"):
        yield from (_shifted(until, -days) for days in REMIND_DAYS)
        yield _shifted(until, 1)
    ended = offered_until(listing)
    if offered and ended:
        yield f"{ended}~"  # after its every moment, whatever the text says


def _shifted(day: date, days: int) -> str:
    try:
        return (day + timedelta(days=days)).isoformat()
    except OverflowError:
        return day.isoformat()


def certified_until(listing: Listing) -> date | None:
    """Return the last day of a listing's certificate, if it has one."""
    return listing.certificate.valid_until if listing.certificate else None


def offered_until(listing: Listing) -> str:
    """Return the last day of the offer as its descriptor says it, or nothing."""
    offer = (listing.descriptor.get("dataElement") or {}).get("offer") or {}
    return str(offer.get("valid_to") or "")


def expired(listing: Listing, today: date) -> str:
    """Return why the listing may no longer be offered, in both languages (L10), or nothing."""
    until = certified_until(listing)
    if listing.certificate and until is not None and until < today:
        number = listing.certificate.number
        return f"登记凭证 {number} 已于 {until} 到期 / The certificate {number} ended on {until}"
    ended = offered_until(listing)
    if ended and ended < today.isoformat():
        return f"挂牌期限已于 {ended} 届满 / The offer ended on {ended}"
    return ""
