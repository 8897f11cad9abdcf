"""A renewal is asked for in its window, decided by others, granted in one step."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta
from typing import Any

import pytest

from yaosu import expiring, profiles, renewals, review
from yaosu.demo import OPERATOR
from yaosu.errors import Conflict, Forbidden, InvalidInput, NotFound
from yaosu.identity import authenticate, register_party, verify_party
from yaosu.model import (
    AccessKey,
    Actor,
    Certificate,
    Holding,
    Listing,
    ListingState,
    Role,
    Venue,
    new_id,
)
from yaosu.model_profile import Qualification
from yaosu.model_renewal import Renewal
from yaosu.organisation import waiting
from yaosu.ports import Store, Transaction

TODAY = date(2026, 3, 1)  # of the held clock
SHA = "ab" * 32


def person(store: Store, clock: Any, slug: str, *roles: Role) -> Actor:
    def step(tx: Transaction) -> str:
        party, key = register_party(
            tx, slug=slug, name=slug, member=slug, roles=frozenset(roles), by=OPERATOR
        )
        verify_party(tx, OPERATOR, party.id, "test")
        return key

    key = store.write(step)
    with store.read() as reader:
        return authenticate(reader, key, now=clock.now())


class Place:
    """A provider with a listed version under a certificate, and people who decide."""

    def __init__(self, store: Store, clock: Any) -> None:
        self.store, self.clock = store, clock
        self.provider = person(store, clock, "provider", Role.PROVIDER)
        self.other = person(store, clock, "other", Role.PROVIDER)
        self.reviewer = person(store, clock, "reviewer", Role.REVIEWER)
        self.listing = self._listing()

    def _listing(self) -> Listing:
        def step(tx: Transaction) -> Listing:
            tx.add(Venue(id="otc", name="场外", name_en="OTC"))
            made = Listing(
                id=new_id("lst"), dataset_id=new_id("dst"), provider_id=self.provider.party_id,
                publisher="provider", name="a", version=1, state=ListingState.LISTED, title="甲",
                descriptor={"name": "a"}, certificate=ending(TODAY + timedelta(days=60)),
                created_at=tx.now, updated_at=tx.now, listed_at=tx.now,
            )  # fmt: skip
            tx.add(made)
            held = Holding(
                id=new_id("hld"), party_id=self.provider.party_id, sha256=SHA, bytes=10,
                created_at=tx.now,
            )  # fmt: skip
            tx.add(held)
            return made

        return self.store.write(step)

    def under(self, certificate: Certificate | None) -> None:
        self.store.write(
            lambda tx: tx.put(replace(tx.get(Listing, self.listing.id), certificate=certificate))
        )

    def ask(self, by: Actor | None = None, **more: Any) -> Renewal:
        given = {"scheme": "nda", "number": "SJ4412031090001", "valid_until": "2031-03-01"}
        asked = {**given, **more.pop("certificate", {})}
        actor = by or self.provider
        return self.store.write(lambda tx: renewals.ask(tx, actor, self.listing.id, asked, **more))

    def do(self, step: Any, by: Actor, *given: Any) -> Renewal:
        return self.store.write(lambda tx: step(tx, by, *given))

    def waits(self, who: Actor) -> list[tuple[str, str]]:
        """Return what waits for a person, of all that may."""
        with self.store.read() as reader:
            found = waiting.of(reader, who, self.clock.now())
            return [(item.kind, item.subject_id) for item in found]

    def now(self) -> Listing:
        with self.store.read() as reader:
            return reader.get(Listing, self.listing.id)


def ending(day: date, scheme: str = "nda") -> Certificate:
    return Certificate(scheme=scheme, number="SJ4412026090001", valid_until=day)


@pytest.fixture
def place(store: Store, clock: Any) -> Place:
    return Place(store, clock)


def test_a_granted_renewal_puts_the_certificate_on_the_listing_in_one_step(place: Place) -> None:
    one = place.ask(documents=[("凭证.pdf", SHA)], text="已领取")
    assert place.waits(place.reviewer) == [("renewal", one.id)]
    assert place.waits(place.other) == []
    assert [d.name for d in one.documents] == ["凭证.pdf"]
    granted = place.do(renewals.grant, place.reviewer, one.id)
    assert (granted.state, granted.decided_by) == ("granted", place.reviewer.id)
    kept = place.now().certificate
    assert kept is not None
    assert (kept.valid_until, kept.verified_by) == (date(2031, 3, 1), place.reviewer.id)
    with place.store.read() as reader:
        types = [e.type for e in reader.events(place.listing.id)]
    assert types == ["renewal_requested", "renew_certificate"]
    assert place.waits(place.reviewer) == []
    with pytest.raises(Conflict):
        place.do(renewals.refuse, place.reviewer, one.id, "late")


def test_a_renewal_that_comes_from_elsewhere_ends_the_request(place: Place) -> None:
    """An exchange's message may renew the certificate while the request waits."""
    one = place.ask()
    given = {"scheme": "other", "number": "x", "valid_until": "2031-05-05"}
    place.store.write(
        lambda tx: review.renew_certificate(tx, place.reviewer, place.listing.id, given)
    )
    with place.store.read() as reader:
        assert reader.get(Renewal, one.id).state == "granted"


def test_a_refusal_needs_a_reason_and_leaves_the_certificate(place: Place) -> None:
    one = place.ask()
    with pytest.raises(InvalidInput):
        place.do(renewals.refuse, place.reviewer, one.id, " ")
    ended = place.do(renewals.refuse, place.reviewer, one.id, "编号查无")
    assert (ended.state, ended.decision) == ("refused", "编号查无")
    assert place.now().certificate == place.listing.certificate
    assert place.ask().state == "open"  # and it may be asked for again


def test_only_its_provider_asks_and_only_others_decide(place: Place) -> None:
    with pytest.raises(Forbidden):
        place.ask(by=place.reviewer)
    with pytest.raises(Forbidden):
        place.ask(by=place.other)
    one = place.ask()
    with pytest.raises(Forbidden):
        place.do(renewals.grant, place.provider, one.id)
    for step, given in ((renewals.grant, ()), (renewals.refuse, ("r",)), (renewals.withdraw, ())):
        with pytest.raises(NotFound):
            place.do(step, place.other, one.id, *given)
    assert place.do(renewals.withdraw, place.provider, one.id).state == "withdrawn"


@pytest.mark.parametrize(
    ("days", "scheme", "possible"),
    [
        (1, "nda", True),  # the day before the end
        (0, "nda", False),  # the day of the end
        (-1, "nda", False),
        (184, "nda", True),  # 2026-09-01: six months to the day
        (185, "nda", False),
        (400, "sz_product", True),
    ],
)
def test_the_window_of_a_national_certificate_is_six_months_to_the_day_before(
    place: Place, days: int, scheme: str, possible: bool
) -> None:
    place.under(ending(TODAY + timedelta(days=days), scheme))
    if possible:
        assert place.ask().state == "open"
    else:
        with pytest.raises(Conflict):
            place.ask()


def test_what_cannot_be_renewed_is_refused_with_the_reason(place: Place) -> None:
    for wrong in (
        {"certificate": {"valid_until": "2026-04-30"}},  # no later than the one it renews
        {"certificate": {"number": "SJ4412031139999"}},  # month 13
        {"documents": [("a.pdf", "cd" * 32)]},  # never uploaded
        {"documents": [("../a.pdf", SHA)]},
        {"documents": [("a.pdf", SHA)] * 11},
    ):
        with pytest.raises(InvalidInput):
            place.ask(**wrong)
    place.ask()
    with pytest.raises(Conflict, match="waits for its decision"):
        place.ask()
    place.under(None)
    with pytest.raises(Conflict):
        place.ask()


def test_what_runs_out_is_gathered_the_soonest_first(place: Place, clock: Any) -> None:
    def step(tx: Transaction) -> None:
        key = tx.find(AccessKey, member_id=place.provider.member_id)[0]
        tx.put(replace(key, expires_at=tx.now + timedelta(days=5)))
        profiles.edit(
            tx, place.provider,
            qualifications=(Qualification(name="资质", valid_until=TODAY + timedelta(days=20)),),
        )  # fmt: skip

    place.store.write(step)

    def look(days: int = 90) -> list[Any]:
        with place.store.read() as reader:
            return expiring.gather(reader, place.provider, clock.now(), days)

    assert [e.kind for e in look()] == ["key", "qualification", "certificate"]
    assert [e.kind for e in look(10)] == ["key"]
    assert look()[-1].page == f"/renewals/new?listing={place.listing.id}"
    one = place.ask()
    assert (look()[-1].state, look()[-1].page) == ("asked", f"/renewals/{one.id}")
    with place.store.read() as reader:
        others = expiring.gather(reader, place.other, clock.now())
    assert others == []
