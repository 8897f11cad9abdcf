"""Turns causes into notices: follows the log leaf by leaf, and holds listings against searches.

An event is looked at once: the notices it leaves, the jobs that tell many people, and how far the
follower has come are one step. A job goes page by page, and a page done twice tells nobody twice.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from datetime import timedelta
from typing import Any, Protocol

from yaosu import present
from yaosu.errors import NotFound
from yaosu.identity import can_see
from yaosu.listing import venue_of
from yaosu.model import (
    SYSTEM,
    AccessKey,
    Actor,
    Event,
    Listing,
    Member,
    Party,
    Role,
    Trade,
    TradeState,
)
from yaosu.model_notices import Follower, SavedSearch, Watch
from yaosu.ports import Reader, SearchQuery, Store, Transaction
from yaosu.profiles import note_attested

from . import within
from .causes import ATTESTED, DESK, FITS, OTHERS, OWN, SIDES
from .inbox import people, tell
from .searches import query_of

NAME = "notices"
LEAVES = 20
PAGE = 200
REST = 3.0
"""So many times as long as a look took is rested behind it."""
REMIND_KEY = timedelta(days=7)
"""How long before the end of an access key its person is reminded."""
OWNED = frozenset(TradeState) - {
    TradeState.INTENT, TradeState.NEGOTIATING, TradeState.AGREED, TradeState.COMPLIANCE,
    TradeState.CANCELLED, TradeState.TERMINATED,
}  # fmt: skip
"""A trade in one of these states has a buyer who is told of new versions."""

CardOf = Callable[[Reader, Listing], dict[str, Any]]


class OnTrial(Protocol):
    """A listing that searches are tried on."""

    def fits(self, query: SearchQuery) -> bool: ...


OnTrialOf = Callable[[str, dict[str, Any]], OnTrial]
"""(listing id, card) → that listing, to be tried."""


# --- following the log ------------------------------------------------------------------------


def begin(tx: Transaction) -> None:
    """Start at the end of a log that was there before notices were; at the start of a new one."""
    if tx.one(Follower, id=NAME) is None:
        tx.add(Follower(id=NAME, leaf=tx.log_size()))


def follow(store: Store) -> int:
    """Look at the next leaves; returns how many there were."""
    with store.read() as reader:
        mine = reader.one(Follower, id=NAME)
        start = mine.leaf if mine else 0
        events = reader.leaves(start, limit=LEAVES)
    if mine is None or not events:
        return 0
    told = [event for event in events if concerns(event)]

    def step(tx: Transaction) -> None:
        if tx.get(Follower, NAME).leaf != start:
            return  # another process was faster
        desk = Desk(tx)
        for event in told:
            desk.hear(event)
        tx.put(Follower(id=NAME, leaf=start + len(events)))

    store.write(step)
    return len(events)


def catch_up(store: Store, wait: Callable[[float], bool] = lambda _: False) -> None:
    """Look at everything that is in the log; `wait` rests so many seconds, and says when to stop.

    Traders come first: of the time that notices are behind, they take a quarter at most.
    """
    rest = 0.0
    while not wait(rest):
        began = time.monotonic()
        if not follow(store):
            return
        rest = REST * (time.monotonic() - began)


def concerns(event: Event) -> bool:
    """Tell whether an event is one that anybody is told of."""
    kind = event.subject_id[:4]
    if kind == "trd_":
        return event.type in SIDES
    if event.type in ATTESTED:
        return True
    if kind == "lst_":
        return any(event.type in table for table in (OWN, DESK, OTHERS, FITS))
    return event.type == "key_issued" or event.type in within.HEARD


class Desk:
    """One step's look at events: a listing, and who the people of a party are, is asked once."""

    def __init__(self, tx: Transaction) -> None:
        self.tx = tx
        self._people: dict[tuple[str, Role], list[str]] = {}
        self._listings: dict[str, Listing] = {}

    def listing(self, listing_id: str) -> Listing:
        known = self._listings.get(listing_id)
        if known is None:
            known = self._listings[listing_id] = self.tx.get(Listing, listing_id)
        return known

    def people(self, party_id: str, role: Role) -> list[str]:
        known = self._people.get((party_id, role))
        if known is None:
            known = self._people[party_id, role] = people(self.tx, party_id, role, self.tx.now)
        return known

    def hear(self, event: Event) -> None:
        """Leave the notices of one event, and the jobs that tell many."""
        if event.type in ATTESTED:
            self._attested(event)
        if event.subject_id.startswith("trd_"):
            self._trade(event)
        elif event.subject_id.startswith("lst_"):
            self._listing(event)
        elif event.type == "key_issued":
            _remember_key(self.tx, event)
        elif event.type in within.HEARD:
            within.hear(self.tx, event)

    def _attested(self, event: Event) -> None:
        """Keep whose people put their name to a version."""
        listing_id = event.subject_id.removeprefix("sample_")
        if party_id := _party_of(self.tx, event.actor_id):
            note_attested(self.tx, party_id, listing_id, event.type, event.at)

    def _trade(self, event: Event) -> None:
        trade = self.tx.get(Trade, event.subject_id)
        kind, side = SIDES[event.type]
        did = _party_of(self.tx, event.actor_id)
        facts = {**_of_listing(self.listing(trade.listing_id)), "event": event.type}
        sides = (
            (trade.provider_id, trade.user_id, Role.PROVIDER),
            (trade.user_id, trade.provider_id, Role.BUYER),
        )
        for party_id, other_id, role in sides:
            if party_id == did or side not in ("both", str(role)):
                continue
            other = _named(self.tx.get(Party, other_id))
            self._tell(party_id, role, event, kind, facts | other | _more(event))

    def _listing(self, event: Event) -> None:
        listing = self.listing(event.subject_id)
        if event.type in OWN and listing.provider_id != _party_of(self.tx, event.actor_id):
            facts = {**_of_listing(listing), "event": event.type, **_more(event)}
            self._tell(listing.provider_id, Role.PROVIDER, event, OWN[event.type], facts)
        if event.type in DESK and (exchange := venue_of(self.tx, listing).party_id):
            facts = {**_of_listing(listing), "event": event.type, **_more(event)}
            self._tell(exchange, Role.EXCHANGE, event, DESK[event.type], facts)
        if event.type in OTHERS and _for_others(event):
            body = {"listing_id": listing.id, "event": event.id, "stage": 0, "after": None}
            self.tx.enqueue("notices_tell", body, once=f"tell:{event.id}")
        if event.type in FITS and listing.state == "listed":
            body = {"listing_id": listing.id, "event": event.id, "after": None}
            self.tx.enqueue("notices_match", body, once=f"match:{event.id}")

    def _tell(
        self, party_id: str, role: Role, event: Event, kind: str, facts: dict[str, Any]
    ) -> None:
        tell(
            self.tx, party_id, self.people(party_id, role), kind=kind, cause=f"evt_{event.id}",
            subject_id=event.subject_id, at=event.at, role=role, facts=facts,
        )  # fmt: skip


def _party_of(reader: Reader, actor_id: str) -> str:
    """Return the organisation of whoever took a step; of the market itself, none."""
    member = reader.one(Member, id=actor_id) if actor_id != SYSTEM.id else None
    return member.party_id if member else ""


def _of_listing(listing: Listing) -> dict[str, Any]:
    """Return what names a version in a notice."""
    title, english = present.titles(listing)
    return {
        "listing_id": listing.id,
        "dataset_id": listing.dataset_id,
        "publisher": listing.publisher,
        "name": listing.name,
        "listing_version": listing.version,
        "version": str(listing.descriptor.get("version") or listing.version),
        "title": title,
        "title_en": english,
    }


def _named(party: Party) -> dict[str, Any]:
    return {"party": party.name, "party_en": party.name_en}


def _more(event: Event) -> dict[str, Any]:
    """Return what of an event's payload a notice says: days and numbers, no words of people."""
    payload = event.payload if isinstance(event.payload, dict) else {}
    return {k: payload[k] for k in ("days", "valid_until", "until", "number") if k in payload}


def _for_others(event: Event) -> bool:
    """Tell whether the market learns something: not of an old version, or twice of a recall."""
    payload = event.payload if isinstance(event.payload, dict) else {}
    if event.type == "offer":
        return event.to_state == "listed"
    if event.type in ("recalled", "recall_closed"):
        return True
    return not payload.get("superseded_by") and not payload.get("recall_id")


def handlers(
    store: Store, card_of: CardOf, on_trial: OnTrialOf
) -> dict[str, Callable[[Any], None]]:
    """Return what runs the jobs of notices."""

    def match(body: dict[str, Any]) -> None:
        match_page(store, body, card_of, on_trial)

    return {
        "notices_tell": lambda body: store.write(lambda tx: tell_page(tx, body)),
        "notices_match": match,
        "notices_key": lambda body: store.write(lambda tx: remind_key(tx, body["key_id"])),
    }


# --- keys -------------------------------------------------------------------------------------


def _remember_key(tx: Transaction, event: Event) -> None:
    """Line up the reminder of a key that ends."""
    key = tx.one(AccessKey, id=str(event.payload["key_id"]))
    if key is not None and key.expires_at is not None and not key.scope:
        wait = key.expires_at - REMIND_KEY - tx.now
        tx.enqueue(
            "notices_key", {"key_id": key.id}, delay=max(wait, timedelta()), once=f"key:{key.id}"
        )


def remind_key(tx: Transaction, key_id: str) -> None:
    """Tell a person that one of their keys is about to end, if it still works and still ends."""
    key = tx.one(AccessKey, id=key_id)
    if key is None or key.expires_at is None or key.revoked_at is not None:
        return
    if not tx.now < key.expires_at <= tx.now + REMIND_KEY + timedelta(hours=1):
        return
    tell(
        tx, key.party_id, [key.member_id], kind="key", cause=f"key:{key.id}", subject_id=key.id,
        at=tx.now, facts={"label": key.label, "until": key.expires_at.isoformat()},
    )  # fmt: skip


# --- telling many: who bought, who watches, who is invited ------------------------------------


def tell_page(tx: Transaction, body: dict[str, Any]) -> None:
    """Tell the next people of an event of a listing, and line up those after them."""
    listing = tx.get(Listing, body["listing_id"])
    event = tx.events_after(body["event"] - 1, limit=1)[0]
    stages = (_owners, _watchers, _invited)
    stage, after = body["stage"], body["after"]
    rest = stages[stage](tx, listing, event, after)
    if rest is None:
        stage += 1
    if stage < len(stages):
        following = {**body, "stage": stage, "after": rest}
        tx.enqueue("notices_tell", following, once=f"tell:{event.id}:{stage}:{rest}")


def _owners(tx: Transaction, listing: Listing, event: Event, after: str | None) -> str | None:
    """Tell the buyers of any version of the dataset; recalls reach them through their trades."""
    if OTHERS[event.type] not in ("version", "withdrawal"):
        return None
    versions = tuple(
        v.id for v in tx.find(Listing, dataset_id=listing.dataset_id, newest=True, limit=500)
    )
    page = tx.find(Trade, listing_id=versions, after=after, limit=PAGE)
    desk = Desk(tx)
    for trade in page:
        bought = tx.get(Listing, trade.listing_id)
        news = trade.created_at <= event.at and bought.version <= listing.version
        if trade.state in OWNED and news and (bought.id != listing.id or event.type != "list"):
            members = [
                m
                for m in desk.people(trade.user_id, Role.BUYER)
                if not _silent(tx, m, listing.dataset_id)
            ]
            facts = {"bought": str(bought.descriptor.get("version") or bought.version)}
            _tell_other(tx, trade.user_id, members, listing, event, facts | {"trade_id": trade.id})
    return page[-1].id if len(page) == PAGE else None


def _silent(reader: Reader, member_id: str, dataset_id: str) -> bool:
    kept = reader.one(Watch, member_id=member_id, dataset_id=dataset_id)
    return kept is not None and kept.state == "off"


def _watchers(tx: Transaction, listing: Listing, event: Event, after: str | None) -> str | None:
    page = tx.find(Watch, dataset_id=listing.dataset_id, after=after, limit=PAGE)
    members: dict[str, list[str]] = {}
    for watch in page:
        if watch.state == "on" and watch.updated_at <= event.at:
            members.setdefault(watch.party_id, []).append(watch.member_id)
    for party_id, watching in members.items():
        _tell_other(tx, party_id, watching, listing, event)
    return page[-1].id if len(page) == PAGE else None


def _invited(tx: Transaction, listing: Listing, event: Event, after: str | None) -> str | None:
    """Tell the buyers of invited organisations of a listing that only they can see."""
    if event.type != "list" or listing.view_policy != "private":
        return None
    left = sorted(i for i in set(listing.invited) if after is None or i > after)[:PAGE]
    for party_id in left:
        members = people(tx, party_id, Role.BUYER, tx.now)
        _tell_other(tx, party_id, members, listing, event, kind="invitation")
    return left[-1] if len(left) == PAGE else None


def _tell_other(
    tx: Transaction,
    party_id: str,
    members: Iterable[str],
    listing: Listing,
    event: Event,
    facts: dict[str, Any] | None = None,
    *,
    kind: str = "",
) -> None:
    """Leave notices of an event of somebody else's listing with those who may see it."""
    if party_id == listing.provider_id or not _visible(tx, party_id, listing):
        return
    kind = kind or OTHERS[event.type]
    before = _before(tx, listing) if event.type == "list" else {}
    told = tell(
        tx, party_id, members, kind=kind, cause=f"evt_{event.id}", subject_id=listing.id,
        at=event.at, facts={**_of_listing(listing), "event": event.type, **before, **(facts or {})},
    )  # fmt: skip
    if told:
        _publish(tx, party_id, kind, listing.id)


def _visible(reader: Reader, party_id: str, listing: Listing) -> bool:
    """Tell whether a member of the party may see a listing, whatever their key."""
    anyone = Actor(party_id=party_id, member_id="", key_id="", roles=frozenset())
    return can_see(anyone, listing, venue_of(reader, listing))


def _publish(tx: Transaction, party_id: str, kind: str, listing_id: str) -> None:
    """Say to the webhooks of an organisation, once, that people of it have a notice."""
    payload = {"kind": kind, "listing_id": listing_id}
    tx.record(party_id, "notice", actor_id=SYSTEM.id, payload=payload)


def _before(reader: Reader, listing: Listing) -> dict[str, Any]:
    """Return what a new version changes against the one that was on the market before it."""
    older = [
        v
        for v in reader.find(Listing, dataset_id=listing.dataset_id, newest=True, limit=50)
        if v.version < listing.version and v.listed_at is not None
    ]
    if not older:
        return {"first": True}
    last = max(older, key=lambda v: v.version)
    was, now = _terms(last), _terms(listing)
    return {
        "change": listing.change,
        "before": str(last.descriptor.get("version") or last.version),
        "changed": [name for name in now if was[name] != now[name]],
    }


def _terms(listing: Listing) -> dict[str, Any]:
    """Return what a buyer agrees to, part by part."""
    element = listing.descriptor.get("dataElement") or {}
    offer = element.get("offer") or {}
    return {
        "price": offer.get("pricing"),
        "terms": [element.get("restrictions"), offer.get("delivery_modes")],
        "licence": element.get("license_spdx"),
    }


# --- saved searches ---------------------------------------------------------------------------


def match_page(store: Store, body: dict[str, Any], card_of: CardOf, on_trial: OnTrialOf) -> int:
    """Hold the next saved searches against a listing; returns how many there were.

    Matching happens beside the writer: a step of it holds no one up for longer than it writes.
    """
    with store.read() as reader:
        try:
            listing = reader.get(Listing, body["listing_id"])
        except NotFound:
            return 0
        if listing.state != "listed":
            return 0
        event = reader.events_after(body["event"] - 1, limit=1)[0]
        page = reader.find(SavedSearch, state="on", after=body["after"], limit=LEAVES)
        card = card_of(reader, listing) if page else {}
    one = on_trial(listing.id, card) if page else None
    found = [
        s
        for s in page
        if s.party_id != listing.provider_id
        and s.created_at <= event.at  # what was on the market before it was saved is no news
        and one is not None
        and one.fits(query_of(s))
    ]

    def step(tx: Transaction) -> None:
        for party_id in {s.party_id: None for s in found}:
            _found(tx, [s for s in found if s.party_id == party_id], listing, event)
        if len(page) == LEAVES:
            following = {**body, "after": page[-1].id}
            tx.enqueue("notices_match", following, once=f"match:{event.id}:{page[-1].id}")

    if found or len(page) == LEAVES:
        store.write(step)
    return len(page)


def _found(tx: Transaction, saved: Sequence[SavedSearch], listing: Listing, event: Event) -> None:
    """Tell people of a party once of a version, by the first of their searches that finds it."""
    party_id, told = saved[0].party_id, 0
    for search in saved:
        facts = {**_of_listing(listing), "search_id": search.id, "search": search.name}
        told += tell(
            tx, party_id, [search.member_id], kind="search", cause=f"fit:{listing.id}",
            subject_id=listing.id, at=event.at, facts=facts,
        )  # fmt: skip
    if told:
        _publish(tx, party_id, "search", listing.id)
