"""What waits for a person: approvals, and the next steps of trades and listings."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from yaosu import renewals
from yaosu.identity import may
from yaosu.model import Actor, Listing, Role, Trade, Venue
from yaosu.model_money import Period
from yaosu.ports import Reader
from yaosu.present import plain, titles

from . import approvals, confirmations

MOST = 100
"""So many of each kind are looked at: the number in the navigation is shown as 99+."""
_OPEN = ("intent", "negotiating", "agreed", "compliance", "filed", "delivering", "delivered")


@dataclass(frozen=True, slots=True, kw_only=True)
class Item:
    """One thing to be done: `kind` says what, `until` by when, if there is a day."""

    kind: str
    subject_id: str
    since: datetime
    about: str = ""  # the trade or listing that names it
    title: str = ""
    title_en: str = ""
    until: datetime | None = None
    amount_fen: int | None = None
    action: str = ""

    @property
    def where(self) -> str:
        return place(self.subject_id)

    def as_json(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "subject_id": self.subject_id,
            "action": self.action or None,
            "title": self.title,
            "title_en": self.title_en,
            "amount_fen": self.amount_fen,
            "since": plain(self.since),
            "until": plain(self.until),
        }


def count(reader: Reader, actor: Actor) -> int:
    """Return how much there is to do: for every page, so nothing is read for its name alone."""
    return len(_items(reader, actor))


def of(reader: Reader, actor: Actor) -> list[Item]:
    """Return what waits for this member, what ends first at the top."""
    late = datetime.max.replace(tzinfo=UTC)
    found = sorted(_items(reader, actor), key=lambda i: (i.until or late, i.since))
    return [i if i.title else _titled(reader, i) for i in found]


def _titled(reader: Reader, item: Item) -> Item:
    listing = listing_of(reader, item.about)
    title, english = titles(listing) if listing else ("", "")
    return replace(item, title=title, title_en=english)


def _items(reader: Reader, actor: Actor) -> list[Item]:
    asked = approvals.of_party(reader, actor, "waiting", limit=MOST)
    found = [
        Item(
            kind="approve",
            subject_id=a.id,
            action=a.action,
            about=a.subject_id,
            since=a.created_at,
            until=a.expires_at,
            amount_fen=a.amount_fen,
        )
        for a in asked
        if approvals.answers(reader, actor, a)
    ]
    found += [
        Item(
            kind="confirm",
            subject_id=trade.id,
            action=a.action,
            about=trade.id,
            since=a.created_at,
            amount_fen=trade.terms.amount_fen,
        )
        for a, trade in confirmations.to_give(reader, actor)
    ]
    held = {(a.subject_id, a.action) for a in asked}
    if Role.BUYER in actor.roles or Role.PROVIDER in actor.roles:
        found += [i for i in _trades(reader, actor) if (i.subject_id, i.kind) not in held]
    if Role.PROVIDER in actor.roles:
        found += _listings(reader, actor)
    if Role.REVIEWER in actor.roles or Role.EXCHANGE in actor.roles:
        found += _renewals(reader, actor)
    return found


def place(subject_id: str) -> str:
    """Return the page of a thing; none for a rule."""
    pages = {"trd": "/trades/", "lst": "/review/", "apv": "/waiting#", "rnw": "/renewals/"}
    if subject_id.startswith("usr_"):
        return "/training"
    page = pages.get(subject_id[:3])
    return page + subject_id if page else ""


def listing_of(reader: Reader, subject_id: str) -> Listing | None:
    """Return the listing that a trade is of, or that it is; None for a rule."""
    if subject_id.startswith("trd_"):
        trade = reader.one(Trade, id=subject_id)
        subject_id = trade.listing_id if trade else ""
    return reader.one(Listing, id=subject_id) if subject_id.startswith("lst_") else None


def _renewals(reader: Reader, actor: Actor) -> Iterator[Item]:
    """Yield requests to renew a certificate that this member may decide."""
    for asked in renewals.visible(reader, actor, state="open", size=MOST):
        listing = reader.get(Listing, asked.listing_id)
        if may(actor, "renewal.decide", listing, reader.get(Venue, listing.venue)):
            ends = listing.certificate.valid_until if listing.certificate else None
            yield Item(
                kind="renewal",
                subject_id=asked.id,
                about=listing.id,
                since=asked.created_at,
                until=datetime(ends.year, ends.month, ends.day, tzinfo=UTC) if ends else None,
            )


def _trades(reader: Reader, actor: Actor) -> Iterator[Item]:
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
                    about=trade.listing_id,
                    since=trade.updated_at,
                    amount_fen=trade.terms.amount_fen,
                )
        if role == Role.BUYER:
            yield from _periods(reader, mine)


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
                about=period.trade_id,
                since=period.updated_at,
                until=period.opens_after if unpaid else None,
                amount_fen=period.amount_fen,
            )


def _listings(reader: Reader, actor: Actor) -> Iterator[Item]:
    """Yield the versions that were returned, and notices with an objection that has no answer."""
    mine: dict[str, Any] = {"provider_id": actor.party_id, "newest": True, "limit": MOST}
    for listing in reader.find(Listing, state=("returned", "notice"), **mine):
        spoken = [r.kind for r in listing.remarks if r.kind in ("objection", "answer")]
        if listing.state == "returned" or spoken[-1:] == ["objection"]:
            returned = listing.state == "returned"
            yield Item(
                kind="revise" if returned else "objection",
                subject_id=listing.id,
                about=listing.id,
                since=listing.updated_at,
                until=None if returned else listing.notice_until,
            )
