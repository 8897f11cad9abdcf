"""Time moves what is due, and costs the rest of the market one look."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

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
    market.close()
