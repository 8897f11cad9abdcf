"""What waits for a person: approvals, the next step of a trade, ends that come near."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from yaosu.model import Actor, Listing, Role, Trade
from yaosu.model_money import Invoice, Period
from yaosu.ports import Reader
from yaosu.present import plain

from . import approvals

MOST = 100
"""So many of each kind are looked at: the number in the navigation is shown as 99+."""
CERTIFICATE_DAYS = 90
INVOICE_DAYS = 30
_NEWS = ("certificate", "invoice")
_OPEN = ("intent", "negotiating", "agreed", "compliance", "filed", "delivering", "delivered")


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One thing to be done: `kind` says what, `until` by when, if there is a day."""

    kind: str
    subject_id: str
    title: str
    since: datetime
    until: datetime | None = None
    amount_fen: int | None = None
    action: str = ""

    @property
    def counts(self) -> bool:
        """Tell whether something has to be done, or is only to be known."""
        return self.kind not in _NEWS

    @property
    def where(self) -> str:
        return place(self.subject_id)

    def as_json(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "subject_id": self.subject_id,
            "action": self.action or None,
            "title": self.title,
            "amount_fen": self.amount_fen,
            "since": plain(self.since),
            "until": plain(self.until),
        }


def count(reader: Reader, actor: Actor, now: datetime) -> int:
    """Return how much there is to do."""
    return sum(item.counts for item in of(reader, actor, now))


def of(reader: Reader, actor: Actor, now: datetime) -> list[Item]:
    """Return what waits for this member, what ends first at the top."""
    asked = approvals.of_party(reader, actor, "waiting", limit=MOST)
    found = [
        Item(
            kind="approve",
            subject_id=a.id,
            action=a.action,
            title=title(reader, a.subject_id),
            since=a.created_at,
            until=a.expires_at,
            amount_fen=a.amount_fen,
        )
        for a in asked
        if approvals.answers(reader, actor, a)
    ]
    held = {(a.subject_id, a.action) for a in asked}
    if Role.BUYER in actor.roles or Role.PROVIDER in actor.roles:
        found += [i for i in _trades(reader, actor, now) if (i.subject_id, i.kind) not in held]
    if Role.PROVIDER in actor.roles:
        found += _listings(reader, actor, now)
    late = datetime.max.replace(tzinfo=now.tzinfo)
    return sorted(found, key=lambda i: (i.until or late, i.since))


def place(subject_id: str) -> str:
    """Return the page of a thing; none for a rule."""
    pages = {"trd": "/trades/", "lst": "/review/", "apv": "/waiting#"}
    page = pages.get(subject_id[:3])
    return page + subject_id if page else ""


def title(reader: Reader, subject_id: str) -> str:
    """Return what a trade or a listing is of; nothing for a rule."""
    if subject_id.startswith("trd_"):
        trade = reader.one(Trade, id=subject_id)
        subject_id = trade.listing_id if trade else ""
    listing = reader.one(Listing, id=subject_id) if subject_id.startswith("lst_") else None
    return listing.title if listing else ""


def _trades(reader: Reader, actor: Actor, now: datetime) -> Iterator[Item]:
    for side, role in (("user_id", Role.BUYER), ("provider_id", Role.PROVIDER)):
        if role not in actor.roles:
            continue
        mine: dict[str, Any] = {side: actor.party_id, "newest": True, "limit": MOST}
        for trade in reader.find(Trade, state=_OPEN, **mine):
            kind = (_buyer if role == Role.BUYER else _provider)(trade, actor.party_id)
            if kind:
                yield Item(
                    kind=kind,
                    subject_id=trade.id,
                    title=title(reader, trade.id),
                    since=trade.updated_at,
                    amount_fen=trade.terms.amount_fen,
                )
        if role == Role.BUYER:
            yield from _periods(reader, mine)
            yield from _invoices(reader, mine, now)


def _signs(trade: Trade, party_id: str) -> bool:
    passed = trade.assessment is not None and trade.assessment.outcome == "passed"
    return (
        trade.state in ("agreed", "compliance")
        and not any(s.party_id == party_id for s in trade.signatures)
        and (passed or not trade.assessment_required)
    )


def _buyer(trade: Trade, party_id: str) -> str:
    if trade.state == "negotiating":
        return "answer" if trade.turn == party_id else ""
    if _signs(trade, party_id):
        return "sign"
    prepaid = trade.terms.payment_timing != "postpaid" and not trade.terms.period
    if trade.state == "filed" and prepaid and trade.paid_fen < trade.terms.amount_fen:
        return "pay"
    return "accept" if trade.state == "delivered" else ""


def _provider(trade: Trade, party_id: str) -> str:
    if trade.state in ("intent", "negotiating"):
        return "answer" if trade.turn == party_id else ""
    if _signs(trade, party_id):
        return "sign"
    return "redeliver" if trade.state == "delivering" and trade.objection else ""


def _periods(reader: Reader, mine: dict[str, Any]) -> Iterator[Item]:
    for period in reader.find(Period, state=("filed", "delivered"), **mine):
        unpaid = period.state == "filed" and period.paid_fen < period.amount_fen
        if unpaid or period.state == "delivered":
            yield Item(
                kind="pay" if unpaid else "accept",
                subject_id=period.trade_id,
                title=title(reader, period.trade_id),
                since=period.updated_at,
                until=period.opens_after if unpaid else None,
                amount_fen=period.amount_fen,
            )


def _invoices(reader: Reader, mine: dict[str, Any], now: datetime) -> Iterator[Item]:
    """Yield the invoices that came within the last days: books are kept of them."""
    for invoice in reader.find(Invoice, **mine):
        if now - invoice.created_at > timedelta(days=INVOICE_DAYS):
            return
        yield Item(
            kind="invoice",
            subject_id=invoice.trade_id,
            title=invoice.number,
            since=invoice.created_at,
            amount_fen=invoice.amount_fen,
        )


def _listings(reader: Reader, actor: Actor, now: datetime) -> Iterator[Item]:
    found = reader.find(
        Listing,
        provider_id=actor.party_id,
        state=("returned", "notice", "listed", "suspended", "registered"),
        newest=True,
        limit=MOST,
    )
    for listing in found:
        kind, until = _listing(listing, now)
        if kind:
            yield Item(
                kind=kind,
                subject_id=listing.id,
                title=listing.title,
                since=listing.updated_at,
                until=until,
            )


def _listing(listing: Listing, now: datetime) -> tuple[str, datetime | None]:
    if listing.state == "returned":
        return "revise", None
    spoken = [r.kind for r in listing.remarks if r.kind in ("objection", "answer")]
    if listing.state == "notice":
        objected = bool(spoken) and spoken[-1] == "objection"
        return ("objection", listing.notice_until) if objected else ("", None)
    ends = listing.certificate.valid_until if listing.certificate else None
    if ends is not None and (ends - now.date()).days <= CERTIFICATE_DAYS:
        return "certificate", now.replace(year=ends.year, month=ends.month, day=ends.day)
    return "", None
