"""Subscriptions and metered rows, from the order to the voucher, on both databases."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest

from people import USCC, Hall, Person, Refused, open_hall, small_corpus, until
from stall import sold_as
from yaosu.proof.verify_market import verify_market
from yaosu.proof.verify_receipt import verify_receipt
from yaosu_connectors.trading_record import problems
from yaosu_schemas.documents import check


class Held:
    """A clock that runs, and can be moved forward."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def now(self) -> datetime:
        return datetime.now(UTC) + self.ahead


@pytest.fixture
def clock() -> Held:
    return Held()


BOTH = pytest.mark.parametrize("hall", ["sqlite", "postgresql"], indirect=True)


@pytest.fixture
def hall(request: pytest.FixtureRequest, tmp_path: Path, clock: Held) -> Iterator[Hall]:
    other = getattr(request, "param", "sqlite") == "postgresql"
    url = request.getfixturevalue("migrated_url") if other else ""
    with open_hall(tmp_path / "data", database_url=url, clock=clock) as found:
        yield found
        if not other:  # whatever a test did, the books are in order
            report = verify_market(found.market.settings.folder)
            assert [p for p in report.problems if p.severity == "error"] == []


@pytest.fixture
def provider(hall: Hall) -> Person:
    return hall.person("lingnan", "provider", uscc=USCC[0])


@pytest.fixture
def buyer(hall: Hall) -> Person:
    return hall.person("lab", "buyer")


def subscription(provider: Person, name: str = "monthly", **offer: Any) -> dict[str, Any]:
    descriptor, data = small_corpus(provider, name, mode="subscription", unit="月", price_fen=3_334)
    descriptor["dataElement"]["offer"] |= offer
    provider.upload(data)
    return descriptor


def over_api(provider: Person, name: str = "calls", **price: Any) -> dict[str, Any]:
    descriptor, data = small_corpus(provider, name, **price)
    descriptor["dataElement"]["offer"] |= {
        "object_type": "api",
        "delivery_modes": ["api"],
        "api": {"rate_per_minute": 50, "max_rows": 15},
    }
    provider.upload(data)
    return descriptor


def periods(person: Person, trade: dict[str, Any]) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = person.get(f"/v1/trades/{trade['trade_id']}/periods")["items"]
    return found


def pay(hall: Hall, trade: dict[str, Any], period: dict[str, Any], amount: int) -> None:
    body = {"amount_fen": amount, "payer": trade["user"]["party_id"], "reference": "bank"}
    for admin in (hall.admin, hall.admin2):
        admin.post(f"/v1/periods/{period['period_id']}/confirm_payment", body)


def open_period(person: Person, trade: dict[str, Any], number: int) -> dict[str, Any]:
    found = until(
        lambda: periods(person, trade),
        lambda all_: len(all_) >= number and all_[number - 1]["state"] == "delivered",
    )
    return found[number - 1]


def accept(buyer: Person, period: dict[str, Any]) -> dict[str, Any]:
    manifest = buyer.get(f"/v1/deliveries/{period['delivery_id']}")
    done: dict[str, Any] = buyer.post(
        f"/v1/periods/{period['period_id']}/accept",
        {"manifest_digest": manifest["manifest_digest"]},
    )
    return done


def balances(person: Person, trade: dict[str, Any]) -> dict[str, int]:
    found: dict[str, int] = person.get(f"/v1/settlements/{trade['trade_id']}")["balances"]
    return found


def receipt_holds(person: Person, trade: dict[str, Any]) -> None:
    """The receipt proves the trade offline, and its record is whole."""
    path = f"/v1/trades/{trade['trade_id']}"
    made = until(lambda: person.raw("GET", f"{path}/receipt"), lambda a: a.status_code == 200)
    report = verify_receipt(made.json())
    assert report.problems == (), report.problems
    assert [p for p in problems(person.get(f"{path}/record")) if p.severity == "error"] == []
    assert [
        p for p in check(trade["agreement"], against="agreement") if p.severity == "error"
    ] == []


@BOTH
def test_a_subscription_is_paid_delivered_and_settled_period_by_period(
    hall: Hall, provider: Person, buyer: Person, clock: Held
) -> None:
    listing_id = sold_as(hall, provider, subscription(provider))
    trade = buyer.buy(listing_id, quantity=2)
    assert trade["state"] == "filed"
    assert trade["terms"]["period"] == "P1M"
    assert trade["terms"]["amount_fen"] == 6_668
    with pytest.raises(Refused, match="periods"):
        hall.pay(trade)
    [first] = periods(buyer, trade)
    assert (first["state"], first["amount_fen"]) == ("filed", 3_334)
    with pytest.raises(Refused, match="amount and payer"):
        pay(hall, trade, first, 1)
    pay(hall, trade, first, 3_334)
    first = open_period(buyer, trade, 1)
    assert accept(buyer, first)["state"] == "settled"
    assert balances(buyer, trade)[f"provider:{provider.id}"] == 3_334
    assert buyer.get(f"/v1/trades/{trade['trade_id']}")["state"] == "filed"

    clock.ahead = timedelta(days=26)
    hall.market.tick()
    second = periods(buyer, trade)[1]
    assert second["state"] == "filed"
    assert second["opens_after"] == first["ends_at"]
    pay(hall, trade, second, 3_334)
    assert periods(buyer, trade)[1]["state"] == "filed"
    clock.ahead = timedelta(days=32)
    hall.market.tick()
    second = open_period(buyer, trade, 2)
    assert accept(buyer, second)["state"] == "settled"
    done = buyer.get(f"/v1/trades/{trade['trade_id']}")
    assert done["state"] == "vouchered"
    assert done["paid_fen"] == done["billed_fen"] == 6_668
    assert sum(balances(buyer, trade).values()) == 0
    events = [e["type"] for e in buyer.get(f"/v1/trades/{trade['trade_id']}/events")["items"]]
    assert events.count("period_settle") == 2
    assert "voucher" in events
    receipt_holds(buyer, trade)


def test_the_next_version_is_delivered_only_when_it_keeps_the_quality_that_was_agreed(
    hall: Hall, provider: Person, buyer: Person, clock: Held
) -> None:
    floor = {"metric": "own:dup_exact", "operator": "lteq", "threshold": "0.05"}
    descriptor = subscription(provider, floors=[floor])
    listing_id = sold_as(hall, provider, descriptor)
    trade = buyer.buy(listing_id, quantity=3)
    assert trade["terms"]["floors"] == [floor]
    assert trade["agreement"]["quality_floors"] == [floor]
    assert trade["agreement"]["subject"]["report_digest"] == trade["report_digest"]
    [first] = periods(buyer, trade)
    pay(hall, trade, first, 3_334)
    open_period(buyer, trade, 1)

    worse = b'{"instruction": "q", "output": "a"}\n' * 20 + b'{"instruction": "r", "output": "b"}\n'
    next_version = {**descriptor, "version": "1.1.0"}
    resource = {
        **descriptor["resources"][0],
        "bytes": len(worse),
        "hash": f"sha256:{provider.upload(worse)}",
    }
    next_version["resources"] = [resource]
    size = {"records": 21, "bytes": len(worse)}
    next_version["dataElement"] = {**descriptor["dataElement"], "size": size}
    dataset_id = provider.get(f"/v1/listings/{listing_id}")["dataset_id"]
    made = provider.post(f"/v1/datasets/{dataset_id}/versions", {"descriptor": next_version})
    second_id = made["listing"]["listing_id"]
    assert provider.submit(second_id)["state"] == "review"
    hall.listed(provider, second_id)

    clock.ahead = timedelta(days=26)
    hall.market.tick()
    second = periods(buyer, trade)[1]
    pay(hall, trade, second, 3_334)
    clock.ahead = timedelta(days=32)
    hall.market.tick()
    second = periods(buyer, trade)[1]
    assert second["state"] == "filed"
    assert "own:dup_exact" in second["reason"]
    path = f"/v1/periods/{second['period_id']}/deliver"
    refused = provider.raw("POST", path, {})
    assert refused.status_code == 409
    assert refused.json()["code"] == "below_floor"
    assert refused.json()["floors"][0]["metric"] == "own:dup_exact"
    assert "低于约定的质量下限" in refused.json()["detail_zh"]
    # The version that was sold keeps to what was agreed.
    assert provider.post(path, {"listing_id": listing_id})["state"] == "delivering"
    assert open_period(buyer, trade, 2)["listing_id"] == listing_id


def test_a_floor_that_the_version_itself_misses_is_never_agreed_on(
    hall: Hall, provider: Person, buyer: Person
) -> None:
    listing_id = sold_as(hall, provider, subscription(provider))
    wish = {"purpose": "x", "floors": [{"metric": "own:dup_exact", "operator": "lt",
                                        "threshold": "0"}]}  # fmt: skip
    with pytest.raises(Refused, match="below_floor"):
        buyer.post(f"/v1/listings/{listing_id}/quote", wish)
    for wrong in ({"metric": "own:nothing"}, {"operator": "like"}, {"threshold": "1e3"}):
        wish["floors"][0] = {"metric": "own:dup_exact", "operator": "lt", "threshold": "1", **wrong}  # type: ignore[index]
        with pytest.raises(Refused, match="422"):
            buyer.post(f"/v1/listings/{listing_id}/quote", wish)


@BOTH
def test_what_is_not_used_of_a_period_goes_back_and_a_stopped_one_is_the_last(
    hall: Hall, provider: Person, buyer: Person, clock: Held
) -> None:
    listing_id = sold_as(hall, provider, subscription(provider))
    trade = buyer.buy(listing_id, quantity=12)
    path = f"/v1/trades/{trade['trade_id']}"
    [first] = periods(buyer, trade)
    pay(hall, trade, first, 3_334)
    first = open_period(buyer, trade, 1)
    start, end = (datetime.fromisoformat(first[k]) for k in ("starts_at", "ends_at"))
    clock.ahead = (end - start) / 2
    ended = provider.post(f"{path}/terminate", {"reason": "停止供应"})
    assert ended["state"] == "terminated"
    assert abs(ended["refund_fen"] - 1_667) <= 1
    money = balances(buyer, trade)
    assert money[f"provider:{provider.id}"] + ended["refund_fen"] == 3_334
    assert money[f"escrow:{first['period_id']}"] == 0
    assert buyer.get(f"/v1/deliveries/{first['delivery_id']}")["state"] == "revoked"

    trade = buyer.buy(listing_id, quantity=12)
    path = f"/v1/trades/{trade['trade_id']}"
    [first] = periods(buyer, trade)
    pay(hall, trade, first, 3_334)
    first = open_period(buyer, trade, 1)
    assert buyer.post(f"{path}/stop", {"reason": "不再需要"})["stopped_at"]
    with pytest.raises(Refused, match="stopped already"):
        provider.post(f"{path}/stop")
    accept(buyer, first)
    assert buyer.get(path)["state"] == "vouchered"


def test_a_period_that_nobody_pays_lapses_and_the_trade_ends(
    hall: Hall, provider: Person, buyer: Person, clock: Held
) -> None:
    trade = buyer.buy(sold_as(hall, provider, subscription(provider)), quantity=2)
    clock.ahead = timedelta(days=32)
    hall.market.tick()
    assert buyer.get(f"/v1/trades/{trade['trade_id']}")["state"] == "terminated"
    assert periods(buyer, trade)[0]["state"] == "terminated"


def key_of(buyer: Person, trade: dict[str, Any], address: str) -> httpx2.Client:
    made = buyer.post(f"/v1/trades/{trade['trade_id']}/api_key")
    headers = {"authorization": f"Bearer {made['key']}"}
    client = httpx2.Client(base_url=address, headers=headers, timeout=30)
    client.key_id = made["key_id"]  # type: ignore[attr-defined]
    return client


@BOTH
def test_rows_are_served_by_the_call_and_each_call_counts_once(
    hall: Hall, provider: Person, buyer: Person, clock: Held
) -> None:
    listing_id = sold_as(
        hall, provider, over_api(provider, mode="per_call", unit="次", price_fen=7)
    )
    trade = buyer.buy(listing_id, quantity=6, term_days=30)
    assert trade["agreement"]["delivery"]["mode"] == "api"
    [period] = periods(buyer, trade)
    assert period["amount_fen"] == 42
    pay(hall, trade, period, 42)
    period = open_period(buyer, trade, 1)
    path = f"/v1/apis/{period['delivery_id']}/train/rows"
    api = key_of(buyer, trade, hall.address)
    assert api.get("/v1/me").status_code == 401  # it opens rows and nothing else
    assert buyer.raw("GET", path).status_code == 401
    about = api.get(f"/v1/apis/{period['delivery_id']}").json()
    assert about["resources"][0]["rows"] == 40

    first = api.get(path, params={"columns": "output", "limit": 100}).json()
    assert len(first["items"]) == 15  # the most that was agreed
    assert first["items"][0] == {"output": "回答 0"}
    more = {"columns": "output", "cursor": first["next"], "limit": 100}
    once = {"idempotency-key": "call-2"}
    second = api.get(path, params=more, headers=once).json()
    assert second["items"][0] == {"output": "回答 15"}
    assert api.get(path, params=more, headers=once).json() == second
    other = api.get(path, params={"limit": 1}, headers=once)
    assert other.status_code == 422
    found = api.get(path, params={"filter": "output:eq:回答 33"}).json()
    assert found["items"] == [{"instruction": "问题 33", "output": "回答 33"}]
    for wrong in ({"columns": "no"}, {"filter": "a:b"}, {"filter": "no:eq:1"}, {"cursor": "x"}):
        assert api.get(path, params=wrong).status_code in (400, 422), wrong
    used = provider.get(f"/v1/deliveries/{period['delivery_id']}/usage")["items"]
    assert len(used) == 3
    assert sum(c["units"] for c in used) == 3
    read = buyer.get(f"/v1/trades/{trade['trade_id']}/reads")["items"]
    assert [r["way"] for r in read] == ["rows"] * 4  # the repeated call left twice
    assert {r["key_id"] for r in read} == {api.key_id}  # type: ignore[attr-defined]
    assert sum(c["bytes"] for c in used) < sum(r["bytes"] for r in read)
    for _ in range(3):
        assert api.get(path).status_code == 200
    spent = api.get(path)
    assert spent.status_code == 402
    assert spent.json()["code"] == "payment_needed"

    with pytest.raises(Refused, match="bill"):
        buyer.post(f"/v1/periods/{period['period_id']}/bill")
    clock.ahead = timedelta(days=31)
    assert api.get(path).status_code == 403
    hall.market.tick()
    done = periods(buyer, trade)[0]
    assert (done["state"], done["used"], done["billed_fen"]) == ("settled", 6, 42)
    receipt_holds(buyer, trade)
    assert buyer.get(f"/v1/trades/{trade['trade_id']}")["state"] == "vouchered"


def test_metered_volume_is_billed_afterwards_and_rounded_once(
    hall: Hall, provider: Person, buyer: Person, clock: Held
) -> None:
    descriptor = over_api(provider, mode="per_volume", unit="1000 rows", price_fen=999, min_qty=1)
    descriptor["dataElement"]["offer"]["payment_timing"] = "postpaid"
    trade = buyer.buy(sold_as(hall, provider, descriptor), quantity=2, term_days=30)
    period = open_period(buyer, trade, 1)
    api = key_of(buyer, trade, hall.address)
    path = f"/v1/apis/{period['delivery_id']}/train/rows"
    for limit in (7, 15, 11):
        assert len(api.get(path, params={"limit": limit}).json()["items"]) == limit
    # A delivery of rows gives nobody the files.
    assert buyer.get(f"/v1/deliveries/{period['delivery_id']}")["files"] == []
    assert buyer.raw("POST", f"/v1/trades/{trade['trade_id']}/profile", {}).status_code == 409
    clock.ahead = timedelta(days=31)
    hall.market.tick()
    billed = periods(buyer, trade)[0]
    assert (billed["state"], billed["used"]) == ("settling", 33)
    assert billed["billed_fen"] == 33 * 999 // 1000
    pay(hall, trade, billed, 32)
    assert buyer.get(f"/v1/trades/{trade['trade_id']}")["state"] == "vouchered"


def test_rate_and_revocation_hold_at_once(hall: Hall, provider: Person, buyer: Person) -> None:
    descriptor = over_api(provider, mode="per_call", unit="次", price_fen=1)
    descriptor["dataElement"]["offer"]["api"] = {"rate_per_minute": 3}
    trade = buyer.buy(sold_as(hall, provider, descriptor), quantity=1000)
    pay(hall, trade, periods(buyer, trade)[0], 1000)
    period = open_period(buyer, trade, 1)
    path = f"/v1/apis/{period['delivery_id']}/train/rows"
    api = key_of(buyer, trade, hall.address)
    answers = [api.get(path).status_code for _ in range(8)]
    assert 429 in answers
    assert answers.count(200) <= 6  # at most two minutes were touched
    slow = until(lambda: api.get(path), lambda a: a.status_code == 429)
    assert int(slow.headers["retry-after"]) >= 1
    buyer.post(f"/v1/keys/{api.key_id}/revoke")  # type: ignore[attr-defined]
    assert api.get(path).status_code == 401
    again = key_of(buyer, trade, hall.address)
    provider.post(f"/v1/trades/{trade['trade_id']}/terminate", {"reason": "x"})
    assert again.get(path).status_code == 403
    assert again.get(f"/v1/apis/dlv_{uuid.uuid4().hex}/train/rows").status_code == 404


@pytest.mark.parametrize(
    ("offer", "pointer"),
    [
        ({"object_type": "capability"}, "/dataElement/offer/object_type"),
        ({"delivery_modes": ["file", "sandbox"]}, "/dataElement/offer/delivery_modes"),
    ],
)
def test_what_cannot_be_delivered_is_refused_openly(
    hall: Hall, provider: Person, offer: dict[str, Any], pointer: str
) -> None:
    descriptor, data = small_corpus(provider)
    descriptor["dataElement"]["offer"] |= offer
    provider.upload(data)
    listing = provider.draft(descriptor)
    with pytest.raises(Refused) as refused:
        provider.submit(listing["listing_id"])
    problems = refused.value.response.json()["problems"]
    assert [(p["pointer"], p["code"]) for p in problems] == [(pointer, "unsupported")]
    assert problems[0]["message_zh"]
