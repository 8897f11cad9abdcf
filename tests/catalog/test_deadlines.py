"""Time moves what is due, and costs the rest of the market one look."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from yaosu import deadlines, due_dates
from yaosu.market import Market, new_venue
from yaosu.model import Certificate, Dataset, Listing, ListingState, Party, Venue, new_id
from yaosu.settings import load


def _put(market: Market, party: Party, name: str, until: str, **facts: Any) -> Listing:
    now = market.clock.now()
    shared = {"provider_id": party.id, "publisher": party.slug, "name": name, "created_at": now}
    dataset = Dataset(id=new_id("dst"), **shared)
    listing = Listing(
        id=new_id("lst"), dataset_id=dataset.id, version=1, state=ListingState.LISTED,
        descriptor={"name": name, "dataElement": {"offer": {"valid_to": until}}},
        title=name, updated_at=now, listed_at=now, **shared,
    )  # fmt: skip
    listing = replace(listing, **facts)
    market.store.write(lambda tx: (tx.add(dataset), tx.add(listing)))
    return listing


def test_a_look_each_day_takes_a_step_only_where_something_is_due(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    market = Market(load(data=str(tmp_path), reserve_bytes=0))
    now = market.clock.now()
    party = Party(id=new_id("pty"), slug="seller", name="卖方", created_at=now)
    market.store.write(lambda tx: tx.add(party))
    new_venue(market, Venue(id="otc", name="场外", name_en="Over the counter"))
    for n in range(20):
        _put(market, party, f"open-{n}", "2999-01-01")
    over = _put(market, party, "over", "2020-01-01")
    soon = (now + timedelta(days=20)).date()
    held = Certificate(
        scheme="other", number="C-1", agency="a", registered_at=now.date(), valid_until=soon
    )
    ends = _put(market, party, "ends-soon", "2999-01-01", certificate=held)
    notice = _put(market, party, "notice", "", state=ListingState.NOTICE,
                  notice_until=now + timedelta(days=3))  # fmt: skip
    steps: list[str] = []
    own = market.store.write

    def counted(step: Any) -> Any:
        steps.append(str(getattr(step, "keywords", {}).get("listing_id", "")))
        return own(step)

    monkeypatch.setattr(market.store, "write", counted)
    market.tick()
    assert sorted(filter(None, steps)) == sorted([over.id, ends.id])
    with market.store.read() as reader:
        assert reader.get(Listing, over.id).state == "delisted"
        assert reader.get(Listing, notice.id).state == "notice"
        assert [e.type for e in reader.events(ends.id)] == ["certificate_expiring"]
    steps.clear()
    market.tick()
    assert steps == [""] * len(steps), "nothing more is due today"
    with market.store.read() as reader:
        kept = {found.name: found.due for found in reader.find(Listing)}
    assert kept["over"] is None
    assert kept["open-0"] == "2999-01-01~"
    assert kept["ends-soon"] == (soon - timedelta(days=7)).isoformat()
    market.close()


def _listing(now: datetime, state: str, offered: str = "", **facts: Any) -> Listing:
    return Listing(
        id="lst_1", dataset_id="d", provider_id="p", publisher="s", name="n", version=1,
        state=ListingState(state), created_at=now, updated_at=now,
        descriptor={"dataElement": {"offer": {"valid_to": offered}}}, **facts,
    )  # fmt: skip


@given(
    state=st.sampled_from(["registered", "listed", "suspended", "draft"]),
    until=st.none() | st.integers(-200, 200),
    offered=st.none() | st.integers(-200, 200),
    looks=st.lists(st.integers(0, 250), max_size=6),
)
def test_looking_only_when_due_misses_nothing_that_a_look_each_day_sees(
    state: str, until: int | None, offered: int | None, looks: list[int]
) -> None:
    """Whoever is looked at on the days `due` names sees each threshold and each end in time."""
    start = datetime(2026, 3, 1, 5, tzinfo=UTC)

    def day(n: int | None) -> date | None:
        return None if n is None else (start + timedelta(days=n)).date()

    held = None if until is None else Certificate(scheme="o", number="1", valid_until=day(until))
    found = _listing(start, state, str(day(offered) or ""), certificate=held)
    at, before = due_dates.due(found), start - timedelta(days=400)
    for n in sorted(looks):
        now = start + timedelta(days=n)
        span = [before + timedelta(days=k) for k in range(1, (now - before).days + 1)]
        ended = state in ("listed", "suspended") and due_dates.expired(found, now.date())
        passed = [
            k.date()
            for k in span
            if until is not None
            and state != "draft"
            and (day(until) - k.date()).days in due_dates.REMIND_DAYS
        ]  # type: ignore[operator]
        if ended or passed:
            assert at is not None
            assert at <= due_dates.moment(now)
        if at is not None and at <= due_dates.moment(now):
            if ended:
                return  # it is delisted
            at = due_dates.due(found, now)
            assert at is None or at > now.date().isoformat()
        before = now


def test_a_notice_is_due_at_its_end_and_again_after_every_step(tmp_path: Path) -> None:
    now = datetime(2026, 3, 1, 5, tzinfo=UTC)
    notice = _listing(now, "notice", notice_until=now)
    assert due_dates.due(notice) == due_dates.moment(now)
    assert due_dates.due(notice, now) is None, "an objection holds it: its answer is a step"
    early = now - timedelta(hours=1)
    assert due_dates.due(notice, early) == due_dates.moment(now)


def test_listings_of_an_older_version_are_dated_once(tmp_path: Path) -> None:
    market = Market(load(data=str(tmp_path), reserve_bytes=0))
    party = Party(id=new_id("pty"), slug="seller", name="卖方", created_at=market.clock.now())
    market.store.write(lambda tx: tx.add(party))
    for n in range(7):
        _put(market, party, f"open-{n}", "2999-01-01" if n else "")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(deadlines, "PAGE", 3)
        deadlines.date_all(market.store)
    with market.store.read() as reader:
        dues = [found.due for found in reader.find(Listing)]
        assert sorted(map(str, dues)) == ["2999-01-01~"] * 6 + ["None"]
        assert len(reader.due_listings("3", limit=100)) == 6
        assert reader.due_listings("2026-11-28T00:00:00Z", limit=100) == []
    market.close()
