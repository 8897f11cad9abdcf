"""Notices are made once for each cause, whatever is done twice, on either database."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from yaosu.demo import OPERATOR
from yaosu.identity import authenticate, issue_key, register_party, verify_party
from yaosu.model import (
    Actor,
    Listing,
    ListingState,
    Member,
    Role,
    Venue,
    new_id,
)
from yaosu.model_notices import Follower, Notice, SavedSearch, Watch
from yaosu.model_organisation import Approval, Rule
from yaosu.notices import follower, inbox, searches
from yaosu.ports import SearchQuery, Store, Transaction
from yaosu.storage.search_one import OneListing


class World:
    """A store with a provider, a listed version, and people who may be told of it."""

    def __init__(self, store: Store, clock: Any) -> None:
        self.store, self.clock = store, clock
        self.provider = self.person("provider", Role.PROVIDER)
        store.write(lambda tx: tx.add(Venue(id="otc", name="场外", name_en="OTC")))
        store.write(follower.begin)

    def person(self, slug: str, role: Role) -> Actor:
        def step(tx: Transaction) -> str:
            party, key = register_party(
                tx, slug=slug, name=f"{slug} 公司", member=slug, roles=frozenset({role}),
                by=OPERATOR,
            )  # fmt: skip
            verify_party(tx, OPERATOR, party.id, "test")
            return key

        key = self.store.write(step)
        with self.store.read() as reader:
            return authenticate(reader, key, now=self.clock.now())

    def listed(self, title: str = "深圳巡检数据集", **more: Any) -> Listing:
        """Put a version on the market, as its last step would."""

        def step(tx: Transaction) -> Listing:
            found = Listing(
                id=new_id("lst"), dataset_id=more.pop("dataset_id", new_id("dst")),
                provider_id=self.provider.party_id, publisher="provider", name="inspect",
                version=more.pop("version", 1), state=ListingState.LISTED, title=title,
                descriptor={"name": "inspect", "title": title}, created_at=tx.now,
                updated_at=tx.now, listed_at=tx.now, **more,
            )  # fmt: skip
            tx.add(found)
            tx.record(found.id, "list", actor_id="system", to_state="listed", payload={})
            return found

        made: Listing = self.store.write(step)
        self.into_log()
        return made

    def into_log(self) -> None:
        self.store.write(lambda tx: tx.log_done([e.id for e in tx.log_pending()]))

    def card(self, reader: Any, listing: Listing) -> dict[str, Any]:
        policy = listing.view_policy
        return {
            "title": listing.title, "modality": ["text"], "state": listing.state,
            "view_policy": policy, "provider_id": listing.provider_id,
            "invited": list(listing.invited),
        }  # fmt: skip

    def run(self, *, twice: bool = False) -> None:
        """Follow the log to its end and run the jobs of notices; each of them twice, if asked."""

        handlers = follower.handlers(self.store, self.card, OneListing)
        while follower.follow(self.store) or self._jobs(handlers, 2 if twice else 1):
            self.into_log()

    def _jobs(self, handlers: dict[str, Any], times: int) -> int:
        with self.store.read() as reader:
            ready = [j for j in reader.jobs(state="ready") if j.kind in handlers]
        for job in ready:
            for _ in range(times):
                handlers[job.kind](job.body)
            self.store.write(lambda tx, job=job: tx.put_job(replace(job, state="done")))
        return len(ready)

    def notices(self, who: Actor) -> list[Notice]:
        with self.store.read() as reader:
            return inbox.page(reader, who)


@pytest.fixture
def world(store: Store, clock: Any) -> World:
    return World(store, clock)


def save(world: World, who: Actor, name: str, text: str, **filters: Any) -> SavedSearch:
    query = SearchQuery(text=text, filters=filters, sort="newest")
    return world.store.write(lambda tx: searches.save(tx, who, name, query))


def test_a_version_is_told_of_once_however_many_searches_find_it_and_jobs_repeat(
    world: World,
) -> None:
    buyer, other = world.person("buyer", Role.BUYER), world.person("other", Role.BUYER)
    save(world, buyer, "a", "巡检")
    save(world, buyer, "b", "巡检", modality=["text"])
    save(world, other, "c", "巡检", modality=["image"])
    save(world, other, "d", "没有")
    listing = world.listed()
    world.run(twice=True)
    assert [n.subject_id for n in world.notices(buyer)] == [listing.id]
    assert world.notices(other) == []
    with world.store.read() as reader:
        said = [e for e in reader.events(buyer.party_id) if e.type == "notice"]
        assert [e.payload for e in said] == [{"kind": "search", "listing_id": listing.id}]


def test_more_searches_than_fit_on_a_page_are_all_tried(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follower, "LEAVES", 2)
    people = [world.person(f"buyer-{n}", Role.BUYER) for n in range(5)]
    for who in people:
        save(world, who, "a", "巡检")
    world.listed()
    world.run(twice=True)
    assert [len(world.notices(who)) for who in people] == [1] * 5


def test_what_was_there_before_is_no_news(world: World) -> None:
    buyer = world.person("buyer", Role.BUYER)
    listing = world.listed()
    world.clock.forward(seconds=1)
    save(world, buyer, "a", "巡检")
    kept = Watch(
        id=new_id("wch"), party_id=buyer.party_id, member_id=buyer.member_id,
        dataset_id=listing.dataset_id, created_at=world.clock.now(), updated_at=world.clock.now(),
    )  # fmt: skip
    world.store.write(lambda tx: tx.add(kept))
    world.run()
    assert world.notices(buyer) == []


def test_a_notice_that_was_read_is_kept_so_many_days_and_one_that_was_not_for_ever(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inbox, "AT_ONCE", 2)
    buyer, other = world.person("buyer", Role.BUYER), world.person("other", Role.BUYER)
    for who in (buyer, other):
        save(world, who, "a", "巡检")
    for _ in range(5):
        world.listed()
    world.run()

    def held(days: int) -> list[int]:
        inbox.forget_read(world.store, world.clock.now(), days)
        return [len(world.notices(who)) for who in (buyer, other)]

    world.clock.forward(days=50)
    late = world.notices(buyer)[0]
    for notice in world.notices(buyer)[1:]:
        world.store.write(lambda tx, n=notice: inbox.mark(tx, buyer, n.id))
    world.clock.forward(days=20)
    world.store.write(lambda tx: inbox.mark(tx, buyer, late.id))
    world.clock.forward(days=10)
    assert held(30) == [5, 5]
    world.clock.forward(seconds=1)
    assert held(0) == [5, 5]
    assert held(30) == [1, 5]  # the last of them was read later
    world.clock.forward(days=20)
    assert held(30) == [0, 5]
    with world.store.read() as reader:
        said = [e.type for e in reader.events(buyer.party_id)]
    assert said.count("notice") == 5
    world.run(twice=True)
    assert held(30) == [0, 5]  # nothing is told again


def test_two_followers_leave_what_one_leaves(world: World) -> None:
    """The slower one read the same leaves before the faster one wrote: it leaves nothing."""
    buyer = world.person("buyer", Role.BUYER)
    save(world, buyer, "a", "巡检")
    world.listed()

    class Slower:
        """A store whose step comes after another follower's."""

        read = world.store.read

        def write(self, step: Any) -> Any:
            assert follower.follow(world.store) > 0
            return world.store.write(step)

    follower.follow(Slower())  # type: ignore[arg-type]
    with world.store.read() as reader:
        kinds = [j.kind for j in reader.jobs(state="ready")]
        mine = reader.get(Follower, follower.NAME)
        assert mine.leaf == reader.log_size()
    assert sorted(kinds) == ["notices_match", "notices_tell"]


def test_a_private_version_is_found_by_those_who_may_see_it_alone(world: World) -> None:
    invited, stranger = world.person("invited", Role.BUYER), world.person("stranger", Role.BUYER)
    for who in (invited, stranger):
        save(world, who, "a", "巡检")
    world.listed(view_policy="private", invited=(invited.party_id,))
    world.run()
    assert {n.kind for n in world.notices(invited)} == {"search", "invitation"}
    assert world.notices(stranger) == []


def test_a_market_that_was_there_before_notices_tells_nothing_of_its_past(
    store: Store, clock: Any
) -> None:
    def step(tx: Transaction) -> None:
        for n in range(3):
            tx.record(f"lst_{n}", "list", actor_id="system")
        tx.log_done([e.id for e in tx.log_pending()])

    store.write(step)
    store.write(follower.begin)
    store.write(follower.begin)
    with store.read() as reader:
        assert reader.get(Follower, follower.NAME).leaf == 3
    assert follower.follow(store) == 0


def test_a_key_that_ends_is_told_of_a_week_before(world: World) -> None:
    buyer = world.person("buyer", Role.BUYER)

    def step(tx: Transaction) -> str:
        member = tx.get(Member, buyer.member_id)
        return issue_key(tx, member, frozenset({Role.BUYER}), label="ci", days=30)[0].id

    key_id = world.store.write(step)
    world.into_log()
    follower.follow(world.store)
    with world.store.read() as reader:
        (job,) = [j for j in reader.jobs(state="ready") if j.kind == "notices_key"]
    assert job.run_at == world.clock.now() + timedelta(days=23)
    world.clock.forward(days=23)
    for _ in range(2):
        world.store.write(lambda tx: follower.remind_key(tx, key_id))
    assert [(n.kind, n.facts["label"]) for n in world.notices(buyer)] == [("key", "ci")]


def test_what_is_left_out_by_kind_is_never_written(world: World) -> None:
    buyer = world.person("buyer", Role.BUYER)
    save(world, buyer, "a", "巡检")
    world.store.write(lambda tx: inbox.mute(tx, buyer, ["search"]))
    world.listed()
    world.run()
    assert world.notices(buyer) == []


def test_an_approval_is_told_to_who_may_give_it_and_its_end_to_who_asked(world: World) -> None:
    asker = world.person("buyer", Role.BUYER)

    def colleague(tx: Transaction) -> Member:
        made = Member(id=new_id("mbr"), party_id=asker.party_id, name="审批人", created_at=tx.now)
        tx.add(made)
        return made

    approver = world.store.write(colleague)
    listing = world.listed()

    def ask(tx: Transaction) -> Approval:
        rule = Rule(
            id=new_id("rul"), party_id=asker.party_id, step="order",
            approvers=(approver.id, asker.member_id), set_by=approver.id, created_at=tx.now,
        )  # fmt: skip
        made = Approval(
            id=new_id("apv"), subject_id=listing.id, action="order", payload_digest="",
            member_id=asker.member_id, party_id=asker.party_id, state="waiting",
            rule_ids=(rule.id,), created_at=tx.now,
        )  # fmt: skip
        tx.add(rule)
        tx.add(made)
        for kind, by in (("approval_asked", asker.member_id), ("approval_done", approver.id)):
            payload = {"approval_id": made.id, "action": "order", "subject_id": listing.id}
            tx.record(asker.party_id, kind, actor_id=by, payload=payload)
        return made

    made = world.store.write(ask)
    world.into_log()
    world.run(twice=True)
    eyes = replace(asker, member_id=approver.id)
    assert [(n.kind, n.facts["event"]) for n in world.notices(eyes)] == [
        ("approval", "approval_asked")
    ]
    (mine,) = [n for n in world.notices(asker) if n.kind == "approval"]
    assert (mine.facts["event"], mine.subject_id) == ("approval_done", made.id)
    assert mine.facts["title"] == listing.title
