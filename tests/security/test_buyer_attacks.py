"""A buyer who wants the data for nothing, and strangers who want what others bought."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import httpx2
import pytest

from people import USCC, Hall, Person, open_hall
from stall import delivered, offered


class Held:
    """A clock that runs, and can be moved forward."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def now(self) -> datetime:
        return datetime.now(UTC) + self.ahead


@pytest.fixture(scope="module")
def clock() -> Held:
    return Held()


@pytest.fixture(scope="module")
def hall(tmp_path_factory: pytest.TempPathFactory, clock: Held) -> Iterator[Hall]:
    with open_hall(tmp_path_factory.mktemp("hall"), clock=clock) as found:
        yield found


@pytest.fixture(scope="module")
def provider(hall: Hall) -> Person:
    return hall.person("lingnan", "provider", uscc=USCC[0])


@pytest.fixture(scope="module")
def buyer(hall: Hall) -> Person:
    return hall.person("model-lab", "buyer", uscc=USCC[1])


@pytest.fixture(scope="module")
def rival(hall: Hall) -> Person:
    return hall.person("rival-lab", "buyer", uscc=USCC[2])


@pytest.fixture(scope="module")
def listing_id(hall: Hall, provider: Person) -> str:
    return offered(hall, provider, "for-sale")


def money(person: Person, trade: dict[str, Any]) -> dict[str, int]:
    found: dict[str, int] = person.get(f"/v1/settlements/{trade['trade_id']}")["balances"]
    return found


def test_whoever_had_the_bytes_cannot_take_the_money_back_alone(
    hall: Hall, buyer: Person, provider: Person, listing_id: str
) -> None:
    trade = delivered(hall, buyer, listing_id)
    path = f"/v1/trades/{trade['trade_id']}"
    buyer.fetch(trade)
    assert buyer.raw("POST", f"{path}/terminate", {"reason": "x"}).status_code == 409
    buyer.post(f"{path}/reject", {"objection": "not what I thought"})
    assert buyer.raw("POST", f"{path}/terminate", {"reason": "x"}).status_code == 409
    buyer.post(f"{path}/dispute", {"ground": "x"})
    for body in ({"outcome": "mine", "to": "terminated"}, {"outcome": "mine", "to": "filed"}):
        assert buyer.raw("POST", f"{path}/resolve", body).status_code == 403
    assert money(buyer, trade)[f"escrow:{trade['trade_id']}"] == 10_001
    assert provider.get(path)["state"] == "disputed"


def test_before_the_delivery_money_goes_back_and_no_byte_follows(
    hall: Hall, buyer: Person, provider: Person
) -> None:
    from people import small_corpus

    descriptor, data = small_corpus(provider, "by-hand", mode="negotiated")
    provider.upload(data)
    listing = provider.draft(descriptor)["listing_id"]
    assert provider.submit(listing)["state"] == "review"
    hall.listed(provider, listing)
    wish = {"purpose": "x", "amount_fen": 5_000}
    trade = buyer.post("/v1/trades", {"listing_id": listing, "wish": wish})
    path = f"/v1/trades/{trade['trade_id']}"
    trade = provider.post(f"{path}/answer")
    trade = buyer.post(f"{path}/agree", {"offer_digest": trade["offer_digest"]})
    for side in (provider, buyer):
        trade = side.post(f"{path}/sign", {"signature": side.sign(trade["agreement_digest"])})
    assert provider.raw("POST", f"{path}/deliver", {}).status_code == 409
    hall.pay(trade)
    ended = buyer.post(f"{path}/terminate", {"reason": "no longer wanted"})
    assert (ended["state"], ended["refund_fen"]) == ("terminated", 5_000)
    for action, body in (("terminate", {"reason": "again"}), ("accept", {"manifest_digest": "x"})):
        assert buyer.raw("POST", f"{path}/{action}", body).status_code == 409
    assert provider.raw("POST", f"{path}/deliver", {}).status_code == 409
    assert set(money(buyer, trade).values()) == {0}


def test_an_objection_comes_within_the_inspection_period(
    hall: Hall, buyer: Person, listing_id: str, clock: Held
) -> None:
    trade = delivered(hall, buyer, listing_id)
    clock.ahead += timedelta(days=8)
    path = f"/v1/trades/{trade['trade_id']}"
    refused = buyer.raw("POST", f"{path}/reject", {"objection": "late"})
    assert refused.status_code == 409
    assert "inspection period" in refused.json()["detail"]


def test_accepting_and_ending_at_once_moves_the_money_once(
    hall: Hall, buyer: Person, provider: Person, listing_id: str
) -> None:
    trade = delivered(hall, buyer, listing_id)
    path = f"/v1/trades/{trade['trade_id']}"
    manifest = buyer.get(f"/v1/deliveries/{trade['delivery_id']}")["manifest_digest"]
    calls = [
        (buyer, "accept", {"manifest_digest": manifest}),
        (provider, "terminate", {"reason": "x"}),
        (buyer, "reject", {"objection": "x"}),
        (buyer, "dispute", {"ground": "x"}),
    ] * 3
    with ThreadPoolExecutor(12) as pool:
        hands = [
            (Person(hall.address, who.key, who.party), action, body) for who, action, body in calls
        ]
        answers = list(pool.map(lambda c: c[0].raw("POST", f"{path}/{c[1]}", c[2]), hands))
    assert {a.status_code for a in answers} <= {200, 409}
    balances = money(buyer, trade)
    assert sum(balances.values()) == 0
    assert all(fen >= 0 for account, fen in balances.items() if account.startswith("escrow"))
    seller = balances.get(f"provider:{provider.id}", 0)
    assert (seller, balances[f"buyer:{buyer.id}"]) in {(10_001, -10_001), (0, 0), (0, -10_001)}


def test_a_link_opens_one_file_of_one_delivery_for_a_while(
    hall: Hall, buyer: Person, rival: Person, provider: Person, listing_id: str, clock: Held
) -> None:
    trade, other = delivered(hall, buyer, listing_id), delivered(hall, rival, listing_id)
    url = buyer.get(f"/v1/deliveries/{trade['delivery_id']}")["files"][0]["url"]
    parts = urlsplit(url)
    query = dict(parse_qsl(parts.query))

    def ask(path: str, **given: Any) -> int:
        return httpx2.get(f"{hall.address}{path}", params={**query, **given}).status_code

    assert ask(parts.path) == 200
    for changed in (
        {"expires": int(query["expires"]) + 1},
        {"expires": "9" * 400},
        {"expires": -1},
        {"signature": query["signature"][:-1] + ("0" if query["signature"][-1] != "0" else "1")},
        {"signature": ""},
        {"signature": "é" * 64},
        {"signature": query["signature"].upper()},
    ):
        assert ask(parts.path, **changed) in (403, 422), changed
    assert ask(parts.path.replace("/files/0", "/files/1")) == 403
    assert ask(parts.path.replace(trade["delivery_id"], other["delivery_id"])) == 403
    clock.ahead += timedelta(minutes=61)
    assert ask(parts.path) == 403
    fresh = buyer.get(f"/v1/deliveries/{trade['delivery_id']}")["files"][0]["url"]
    assert httpx2.get(fresh).status_code == 200
    provider.post(f"/v1/trades/{trade['trade_id']}/terminate", {"reason": "recall"})
    assert httpx2.get(fresh).status_code == 404
    assert "url" not in buyer.get(f"/v1/deliveries/{trade['delivery_id']}")["files"][0]


def test_access_ends_with_the_term_that_was_bought(
    hall: Hall, buyer: Person, listing_id: str, clock: Held
) -> None:
    trade = delivered(hall, buyer, listing_id, term_days=1)
    path = f"/v1/deliveries/{trade['delivery_id']}"
    assert "url" in buyer.get(path)["files"][0]
    clock.ahead += timedelta(days=1, minutes=1)
    assert "url" not in buyer.get(path)["files"][0]


@pytest.mark.parametrize(
    ("asked", "status"),
    [
        ("bytes=0-", 206),
        ("bytes=5-9", 206),
        ("bytes=-5", 206),
        ("bytes=-999999999999", 206),
        ("bytes=0-99999999999999999999", 206),
        ("bytes=99999999999-", 416),
        ("bytes=9-5", 416),
        ("bytes=-0", 416),
        ("bytes=0-1,3-4", 200),
        ("bytes=" + ",".join(["0-"] * 2000), 200),
        ("bytes=a-b", 200),
        ("bytes=--5", 200),
        ("bytes=１-２".encode(), 200),
        ("bytes=" + "9" * 500 + "-", 200),
        ("lines=1-2", 200),
        ("bytes", 200),
    ],
)
def test_ranges_are_single_spans_or_ignored(
    hall: Hall, buyer: Person, listing_id: str, asked: str | bytes, status: int, bought: str
) -> None:
    url = buyer.get(f"/v1/deliveries/{bought}")["files"][0]["url"]
    whole = httpx2.get(url)
    header = asked if isinstance(asked, bytes) else asked.encode()
    answer = httpx2.get(url, headers=[(b"range", header)])
    assert answer.status_code == status
    if status == 206:
        span = answer.headers["content-range"].removeprefix("bytes ").partition("/")[0]
        first, last = map(int, span.split("-"))
        assert answer.content == whole.content[first : last + 1]
    elif status == 200:
        assert answer.content == whole.content
    else:
        assert not answer.content
    for reply in (whole, answer):
        assert reply.headers["x-content-type-options"] == "nosniff"
    assert whole.headers["content-disposition"].startswith("attachment")
    assert whole.headers["content-type"] == "application/octet-stream"
    assert whole.headers["etag"] == f'"{hashlib.sha256(whole.content).hexdigest()}"'


@pytest.fixture(scope="module")
def bought(hall: Hall, buyer: Person, listing_id: str) -> str:
    """The delivery of a trade of the buyer."""
    return str(delivered(hall, buyer, listing_id)["delivery_id"])


def all_events(who: Person) -> list[dict[str, Any]]:
    """Read the whole feed."""
    found: list[dict[str, Any]] = []
    position = -1
    while True:
        page = who.get("/v1/events", params={"after": max(0, position), "limit": 500})
        found += page["items"]
        if page["next"] == max(0, position):
            return found
        position = page["next"]


def test_a_rival_sees_nothing_of_a_trade(
    hall: Hall, buyer: Person, rival: Person, listing_id: str
) -> None:
    trade = delivered(hall, buyer, listing_id)
    for path in (
        f"/v1/trades/{trade['trade_id']}",
        f"/v1/trades/{trade['trade_id']}/events",
        f"/v1/trades/{trade['trade_id']}/record",
        f"/v1/trades/{trade['trade_id']}/receipt",
        f"/v1/settlements/{trade['trade_id']}",
        f"/v1/deliveries/{trade['delivery_id']}",
    ):
        for who in (rival, hall.reviewer):
            hidden = who.raw("GET", path)
            assert hidden.status_code == 404, path
    for who in (rival, hall.reviewer):
        assert trade["trade_id"] not in {e["subject_id"] for e in all_events(who)}
        assert trade["trade_id"] not in {t["trade_id"] for t in who.get("/v1/trades")["items"]}
    assert trade["trade_id"] in {e["subject_id"] for e in all_events(buyer)}
    public = hall.stranger.get(f"/v1/listings/{listing_id}")
    assert buyer.id not in str(public)
