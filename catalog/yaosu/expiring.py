"""What runs out for one person's organisation, gathered from everywhere, the soonest first."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from . import present, profiles
from .identity import relations
from .model import AccessKey, Actor, Delivery, Listing, Party, Role, Trade, TradeState
from .model_money import Invoice, Period
from .model_renewal import Renewal
from .ports import Reader

DAYS = 90
MOST_DAYS = 730
MOST = 500
"""Records of a kind that are looked at, the newest first."""
KINDS = ("certificate", "offer", "notice", "period", "access", "invoice", "key", "qualification")


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """One thing that ends, or is due, on a day; `page` is where something can be done about it."""

    kind: str
    at: datetime
    name: str
    name_en: str = ""
    subject_id: str
    page: str
    state: str = ""  # asked: a renewal is on its way


def gather(reader: Reader, actor: Actor, now: datetime, days: int = DAYS) -> list[Ending]:
    """Return what ends within so many days, or has ended within the last 30."""
    until, since = now + timedelta(days=max(1, min(days, MOST_DAYS))), now - timedelta(days=30)
    found: list[Ending] = [*_keys(reader, actor), *_qualifications(reader, actor)]
    mine = relations(actor)
    if "provider" in mine:
        found += _listings(reader, actor)
        found += _invoices(reader, actor)
    for role, column in ((Role.PROVIDER, "provider_id"), (Role.BUYER, "user_id")):
        if role in actor.roles:
            found += _periods(reader, actor, column)
    if Role.BUYER in actor.roles:
        found += _access(reader, actor)
    return sorted((e for e in found if since <= e.at <= until), key=lambda e: (e.at, e.subject_id))


def _end(day: date | str) -> datetime:
    """Return the end of a day in Beijing, which is within the same day in UTC."""
    given = date.fromisoformat(day) if isinstance(day, str) else day
    return datetime.combine(given, time(15, 59, 59), UTC)


def _titles(listing: Listing) -> dict[str, str]:
    name, english = present.titles(listing)
    return {"name": name, "name_en": english}


def _listings(reader: Reader, actor: Actor) -> Iterator[Ending]:
    """Yield certificates, offers and public notices of one's own listings."""
    states = ("notice", "registered", "listed", "suspended")
    for v in reader.find(
        Listing, provider_id=actor.party_id, state=states, newest=True, limit=MOST
    ):
        common = {"subject_id": v.id, "page": f"/console/listings/{v.id}", **_titles(v)}
        if v.certificate is not None and v.certificate.valid_until is not None:
            asked = reader.find(Renewal, listing_id=v.id, state="open", limit=1)
            yield Ending(
                kind="certificate", at=_end(v.certificate.valid_until), subject_id=v.id,
                page=f"/renewals/new?listing={v.id}" if not asked else f"/renewals/{asked[0].id}",
                state="asked" if asked else "", **_titles(v),
            )  # fmt: skip
        valid_to = ((v.descriptor.get("dataElement") or {}).get("offer") or {}).get("valid_to")
        if isinstance(valid_to, str) and v.state != "notice" and _is_day(valid_to):
            yield Ending(kind="offer", at=_end(valid_to), **common)
        if v.state == "notice" and v.notice_until is not None:
            yield Ending(kind="notice", at=v.notice_until, **common)


def _is_day(text: str) -> bool:
    try:
        date.fromisoformat(text)
    except ValueError:
        return False
    return True


def _of_trade(reader: Reader, trade_id: str) -> dict[str, str]:
    trade = reader.get(Trade, trade_id)
    return _titles(reader.get(Listing, trade.listing_id))


def _periods(reader: Reader, actor: Actor, column: str) -> Iterator[Ending]:
    """Yield periods that run, or that were opened ahead and have to be paid by their start."""
    done = (TradeState.SETTLED, TradeState.TERMINATED)
    running = tuple(s for s in TradeState if s not in done)
    mine: dict[str, Any] = {column: actor.party_id, "state": running}
    for period in reader.find(Period, newest=True, limit=MOST, **mine):
        at = period.ends_at or (period.opens_after if not period.paid_at else None)
        if at is not None:
            yield Ending(
                kind="period", at=at, subject_id=period.id, page=f"/trades/{period.trade_id}",
                **_of_trade(reader, period.trade_id),
            )  # fmt: skip


def _access(reader: Reader, actor: Actor) -> Iterator[Ending]:
    """Yield deliveries whose way to the bytes closes."""
    for one in reader.find(Delivery, user_id=actor.party_id, state="open", newest=True, limit=MOST):
        if one.closes_at is not None:
            yield Ending(
                kind="access", at=one.closes_at, subject_id=one.id, page=f"/trades/{one.trade_id}",
                **_of_trade(reader, one.trade_id),
            )  # fmt: skip


def _invoices(reader: Reader, actor: Actor) -> Iterator[Ending]:
    """Yield paid trades that were settled and have no invoice: due since they were settled."""
    settled = (TradeState.SETTLED, TradeState.VOUCHERED, TradeState.COMPLETED)
    for trade in reader.find(
        Trade, provider_id=actor.party_id, state=settled, newest=True, limit=MOST
    ):
        if trade.billed_fen and not reader.find(Invoice, trade_id=trade.id, limit=1):
            yield Ending(
                kind="invoice", at=trade.settled_at or trade.updated_at, subject_id=trade.id,
                page=f"/trades/{trade.id}", **_titles(reader.get(Listing, trade.listing_id)),
            )  # fmt: skip


def _keys(reader: Reader, actor: Actor) -> Iterator[Ending]:
    """Yield the person's own access keys that end."""
    for key in reader.find(AccessKey, member_id=actor.member_id, newest=True, limit=MOST):
        if key.expires_at is not None and key.revoked_at is None and not key.scope:
            yield Ending(
                kind="key", at=key.expires_at, subject_id=key.id, page="/keys",
                name=key.label or key.id, name_en=key.label or key.id,
            )  # fmt: skip


def _qualifications(reader: Reader, actor: Actor) -> Iterator[Ending]:
    party = reader.get(Party, actor.party_id)
    for one in profiles.of(reader, party).qualifications:
        if one.valid_until is not None:
            yield Ending(
                kind="qualification", at=_end(one.valid_until), subject_id=party.id,
                page="/profile#qualifications", name=one.name, name_en=one.name_en,
            )  # fmt: skip


def shown(one: Ending) -> dict[str, Any]:
    """Return an ending as JSON."""
    return dict(present.plain(one))
