"""Notices: what a publication costs with many saved searches, and what following the log costs.

10,000 saved searches (YAOSU_BENCH_SEARCHES) of 200 people are held against one version; then a log
of trade events is followed, each told to one person. CPU is this process's, user and system.
"""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from figure import Figure

from yaosu.demo import OPERATOR
from yaosu.identity import authenticate, register_party
from yaosu.market import Market
from yaosu.model import Actor, Listing, ListingState, Role, Terms, Trade, TradeState, Venue, new_id
from yaosu.model_notices import Notice, SavedSearch
from yaosu.notices import follower
from yaosu.settings import load
from yaosu.storage.search_one import OneListing

AT = datetime(2026, 1, 1, tzinfo=UTC)
WORDS = ("巡检", "指令 数据", "机器人 对话", '"微调"', "word problems", "语料 -图像")
CARD = {
    "title": "人形机器人巡检指令微调数据集",
    "description": "一千五百条巡检指令与应答，用于微调对话模型。",
    "keywords": ["机器人", "巡检", "指令"], "modality": ["text"], "licence": "CC-BY-4.0",
    "language": ["zh-Hans"], "stage": ["instruction_tuning"], "state": "listed",
    "view_policy": "public", "listed_at": 1,
}  # fmt: skip


def person(market: Market, slug: str, role: Role) -> Actor:
    def step(tx: Any) -> str:
        return register_party(
            tx, slug=slug, name=slug, member=slug, roles=frozenset({role}), by=OPERATOR
        )[1]

    key = market.store.write(step)
    with market.store.read() as reader:
        return authenticate(reader, key, now=market.clock.now())


def listed(market: Market, provider: Actor) -> Listing:
    def step(tx: Any) -> Listing:
        made = Listing(
            id=new_id("lst"), dataset_id=new_id("dst"), provider_id=provider.party_id,
            publisher="p", name="a", version=1, state=ListingState.LISTED, descriptor={},
            title=CARD["title"], created_at=AT, updated_at=AT, listed_at=AT,
        )  # fmt: skip
        tx.add(made)
        tx.record(made.id, "list", actor_id="system", to_state="listed", payload={})
        return made

    found: Listing = market.store.write(step)
    return found


def measure(quick: bool) -> Iterator[Figure]:
    """Yield CPU per saved search and per version, and per event that is followed."""
    count = 400 if quick else int(os.environ.get("YAOSU_BENCH_SEARCHES", "10000"))
    with tempfile.TemporaryDirectory() as folder:
        market = Market(load(data=str(Path(folder)), reserve_bytes=0))
        market.store.write(follower.begin)
        market.store.write(lambda tx: tx.add(Venue(id="otc", name="otc", name_en="otc")))
        provider = person(market, "provider", Role.PROVIDER)
        buyers = [person(market, f"buyer-{n}", Role.BUYER) for n in range(4 if quick else 200)]
        yield from _searches(market, provider, buyers, count)
        yield from _events(market, provider, buyers[0], 500 if quick else 10_000)
        market.close()


def _searches(market: Market, provider: Actor, buyers: list[Actor], count: int) -> Iterator[Figure]:
    def fill(tx: Any, begin: int, end: int) -> None:
        for n in range(begin, end):
            who = buyers[n % len(buyers)]
            facets = {"modality": ("text",)} if n % 2 else {"stage": ("pretraining",)}
            tx.add(
                SavedSearch(
                    id=new_id("ssr"), party_id=who.party_id, member_id=who.member_id,
                    name=str(n), text=f"{WORDS[n % len(WORDS)]} {'' if n % 3 else n}",
                    filters=facets, created_at=AT, updated_at=AT,
                )
            )  # fmt: skip

    for begin in range(0, count, 1000):
        end = min(count, begin + 1000)
        market.store.write(lambda tx, a=begin, b=end: fill(tx, a, b))  # type: ignore[misc]
    listing = listed(market, provider)
    with market.store.read() as reader:
        event = reader.events(listing.id)[0].id
    body: dict[str, Any] = {"listing_id": listing.id, "event": event, "after": None}
    start, longest, looked = time.process_time(), 0.0, 0
    while True:
        begun = time.process_time()
        found = follower.match_page(market.store, body, lambda *_: CARD, OneListing)
        longest = max(longest, time.process_time() - begun)
        looked += found
        if found < follower.LEAVES:
            break
        with market.store.read() as reader:
            body = max(
                (j.body for j in reader.jobs(state="ready") if j.kind == "notices_match"),
                key=lambda b: str(b["after"]),
            )
    seconds = time.process_time() - start
    assert looked == count
    told = market.store.write(lambda tx: tx.count(Notice, kind="search"))
    yield Figure(name=f"one version against {count} saved searches", value=round(seconds, 2),
                 unit="CPU s", facts={"told": told})  # fmt: skip
    yield Figure(name="one saved search", value=round(seconds / count * 1e6, 1), unit="CPU µs")
    yield Figure(name=f"longest job of {follower.LEAVES} searches", value=round(longest * 1000, 1),
                 unit="CPU ms")  # fmt: skip


def _events(market: Market, provider: Actor, buyer: Actor, count: int) -> Iterator[Figure]:
    listing = listed(market, provider)
    trade = Trade(
        id=new_id("trd"), listing_id=listing.id, listing_version=1, content_digest="", venue="otc",
        terms_digest="", report_digest="", provider_id=provider.party_id, user_id=buyer.party_id,
        state=TradeState.NEGOTIATING, terms=Terms(mode="negotiated"), offer_digest="", turn="",
        created_at=AT, updated_at=AT,
    )  # fmt: skip
    market.store.write(lambda tx: tx.add(trade))

    def some(tx: Any, begin: int, end: int) -> None:
        for _ in range(begin, end):
            tx.record(trade.id, "counter", actor_id=buyer.id, payload={})

    for begin in range(0, count, 1000):
        end = min(count, begin + 1000)
        market.store.write(lambda tx, a=begin, b=end: some(tx, a, b))  # type: ignore[misc]
    while market.integrate():
        pass
    start = time.process_time()
    follower.catch_up(market.store)
    seconds = time.process_time() - start
    told = market.store.write(lambda tx: tx.count(Notice, member_id=provider.member_id))
    yield Figure(name="following the log, each event told to one person",
                 value=round(seconds / count * 1e6, 1), unit="CPU µs per event",
                 facts={"events": count, "told": told})  # fmt: skip
