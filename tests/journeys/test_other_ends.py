"""Notices, certificates, objections, refunds, disputes: the ways a listing or trade may go."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from people import USCC, Hall, Person, Refused, open_hall, small_corpus, until


class Held:
    """A clock that runs, and can be moved forward."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def now(self) -> datetime:
        return datetime.now(UTC) + self.ahead


@pytest.fixture
def clock() -> Held:
    return Held()


@pytest.fixture
def hall(tmp_path: Path, clock: Held) -> Iterator[Hall]:
    with open_hall(tmp_path / "data", clock=clock) as found:
        yield found


@pytest.fixture
def provider(hall: Hall) -> Person:
    return hall.person("lingnan", "provider", uscc=USCC[0])


@pytest.fixture
def buyer(hall: Hall) -> Person:
    return hall.person("lab", "buyer")


def reviewed(provider: Person, change: Any = None, venue: str = "otc", **price: Any) -> str:
    """Bring a small corpus up to review; returns its id."""
    descriptor, data = small_corpus(provider, **price)
    if change:
        change(descriptor)
    provider.upload(data)
    listing = provider.draft(descriptor, venue=venue)
    found = provider.submit(listing["listing_id"])
    assert found["state"] == "review", found
    return str(listing["listing_id"])


def listed(hall: Hall, provider: Person, **more: Any) -> str:
    listing_id = reviewed(provider, **more)
    provider.offer(listing_id)
    hall.listed(provider, listing_id)
    return listing_id


def delivered(hall: Hall, buyer: Person, listing_id: str) -> dict[str, Any]:
    trade = buyer.buy(listing_id)
    hall.pay(trade)
    return buyer.wait(trade["trade_id"], "delivered")


def until_2026(descriptor: dict[str, Any]) -> None:
    descriptor["dataElement"]["offer"]["valid_to"] = "2026-12-31"


CERTIFICATE = {
    "scheme": "nda",
    "number": "SJ4412026090001",
    "agency": "登记机构",
    "registered_at": "2026-09-01",
    "valid_until": "2031-08-31",
}


def test_an_exchange_with_notice_and_certificate_gets_both(
    hall: Hall, provider: Person, buyer: Person, clock: Held
) -> None:
    exchange = hall.exchange(
        "strict", certificate_required=True, notice_days=5, filing_required=True
    )
    listing_id = reviewed(provider, until_2026, venue="strict")
    path = f"/v1/listings/{listing_id}"
    with pytest.raises(Refused, match="certificate"):
        exchange.post(f"{path}/open_notice")
    with pytest.raises(Refused, match="certificate number"):
        exchange.post(
            f"{path}/open_notice", {"certificate": {**CERTIFICATE, "number": "SJ4412026130001"}}
        )
    with pytest.raises(Refused, match="not_found"):
        hall.stranger.get(path)
    noticed = exchange.post(f"{path}/open_notice", {"certificate": CERTIFICATE})
    assert noticed["state"] == "notice"
    assert hall.stranger.get(path)["state"] == "notice"

    buyer.post(f"{path}/object", {"text": "来源不明"})
    with pytest.raises(Refused, match="runs until"):
        exchange.post(f"{path}/close_notice")
    clock.ahead = timedelta(days=6)
    with pytest.raises(Refused, match="no answer"):
        exchange.post(f"{path}/close_notice")
    provider.post(f"{path}/answer_objection", {"text": "来源见附件"})
    assert exchange.post(f"{path}/close_notice")["state"] == "registered"
    assert exchange.post(f"{path}/list")["state"] == "listed"
    shown = hall.stranger.get(path)
    assert shown["certificate"]["number"] == CERTIFICATE["number"]
    assert "remarks" not in shown


def test_an_upheld_objection_sends_the_listing_back(
    hall: Hall, provider: Person, buyer: Person
) -> None:
    exchange = hall.exchange("strict", notice_days=5)
    listing_id = reviewed(provider, venue="strict")
    path = f"/v1/listings/{listing_id}"
    exchange.post(f"{path}/open_notice")
    buyer.post(f"{path}/object", {"text": "侵权"})
    back = exchange.post(f"{path}/uphold_objection", {"reason": "异议成立"})
    assert back["state"] == "returned"
    assert provider.get(path)["remarks"][-1]["text"] == "异议成立"


def test_a_licence_that_forbids_sale_is_not_even_drafted_for_sale(provider: Person) -> None:
    descriptor, _ = small_corpus(provider, license_spdx="CC-BY-NC-4.0")
    with pytest.raises(Refused, match="licence_non_commercial"):
        provider.draft(descriptor)


def test_an_expired_certificate_takes_the_listing_off(
    hall: Hall, provider: Person, clock: Held
) -> None:
    exchange = hall.exchange("strict", certificate_required=True)

    listing_id = reviewed(provider, until_2026, venue="strict")
    path = f"/v1/listings/{listing_id}"
    kept = {**CERTIFICATE, "valid_until": "2026-12-31"}
    exchange.post(f"{path}/register", {"certificate": kept})
    assert exchange.post(f"{path}/list")["state"] == "listed"
    clock.ahead = timedelta(days=60)
    hall.market.sweep()
    gone = hall.stranger.get(path)
    assert gone["state"] == "delisted"
    assert "ended on 2026-12-31" in gone["ended_because"]
    page = hall.stranger.http.get(f"/datasets/{gone['publisher']}/{gone['name']}")
    assert gone["ended_because"] in page.text
    until(
        lambda: hall.stranger.get("/v1/listings", params={"q": "small"})["total"],
        lambda total: total == 0,
        seconds=3,
    )


def test_the_end_of_a_certificate_is_announced_and_a_renewal_moves_it(
    hall: Hall, provider: Person, clock: Held
) -> None:
    exchange = hall.exchange("strict", certificate_required=True)
    listing_id = reviewed(provider, until_2026, venue="strict")
    path = f"/v1/listings/{listing_id}"
    today = clock.now().date()
    kept = {**CERTIFICATE, "valid_until": str(today + timedelta(days=100))}
    exchange.post(f"{path}/register", {"certificate": kept})

    def said() -> list[int]:
        hall.market.sweep()
        hall.market.sweep()
        return [
            e["payload"]["days"]
            for e in provider.get(f"{path}/events")["items"]
            if e["type"] == "certificate_expiring"
        ]

    assert said() == []
    for ahead, days in ((10, [90]), (40, [90]), (71, [90, 30]), (95, [90, 30, 7])):
        clock.ahead = timedelta(days=ahead)
        assert said() == days
    for day, why in ((99, "no later"), (-1, "last day to come")):
        sooner = {**CERTIFICATE, "valid_until": str(today + timedelta(days=day))}
        with pytest.raises(Refused, match=why):
            exchange.post(f"{path}/renew_certificate", {"certificate": sooner})
    later = {**CERTIFICATE, "valid_until": str(today + timedelta(days=150))}
    with pytest.raises(Refused, match="forbidden"):
        provider.post(f"{path}/renew_certificate", {"certificate": later})
    renewed = exchange.post(f"{path}/renew_certificate", {"certificate": later})
    assert (renewed["state"], renewed["certificate"]["valid_until"]) == (
        "registered",
        later["valid_until"],
    )
    assert said() == [90, 30, 7, 90]


def test_a_notice_without_an_open_objection_closes_by_itself(
    hall: Hall, provider: Person, buyer: Person, clock: Held
) -> None:
    exchange = hall.exchange("strict", notice_days=5)
    path = f"/v1/listings/{reviewed(provider, venue='strict')}"
    exchange.post(f"{path}/open_notice")
    buyer.post(f"{path}/object", {"text": "来源不明"})
    for days, state in ((4, "notice"), (6, "notice")):
        clock.ahead = timedelta(days=days)
        hall.market.sweep()
        assert hall.stranger.get(path)["state"] == state
    provider.post(f"{path}/answer_objection", {"text": "来源见附件"})
    hall.market.sweep()
    assert provider.get(path)["state"] == "registered"


def test_a_terminated_trade_gives_the_money_back_and_closes_the_delivery(
    hall: Hall, provider: Person, buyer: Person
) -> None:
    trade = delivered(hall, buyer, listed(hall, provider))
    manifest = buyer.get(f"/v1/deliveries/{trade['delivery_id']}")
    link = manifest["files"][0]["url"]
    assert buyer.http.get(link).status_code == 200
    ended = provider.post(f"/v1/trades/{trade['trade_id']}/terminate", {"reason": "数据召回"})
    assert ended["state"] == "terminated"
    assert ended["refund_fen"] == 10_001
    money = buyer.get(f"/v1/settlements/{trade['trade_id']}")["balances"]
    assert set(money.values()) == {0}
    assert buyer.http.get(link).status_code == 404


def test_an_objection_is_delivered_again_and_a_dispute_goes_where_it_is_sent(
    hall: Hall, provider: Person, buyer: Person
) -> None:
    trade = delivered(hall, buyer, listed(hall, provider))
    path = f"/v1/trades/{trade['trade_id']}"
    assert buyer.post(f"{path}/reject", {"objection": "少了一个文件"})["state"] == "delivering"
    provider.post(f"{path}/redeliver")
    trade = buyer.wait(trade["trade_id"], "delivered")
    assert buyer.post(f"{path}/dispute", {"ground": "质量不符"})["state"] == "disputed"
    with pytest.raises(Refused, match="settling"):
        hall.reviewer.post(f"{path}/resolve", {"outcome": "x", "to": "completed"})
    resolved = hall.reviewer.post(f"{path}/resolve", {"outcome": "按约结算", "to": "settling"})
    assert resolved["state"] == "settling"
    for admin in (hall.admin, hall.admin2):
        admin.post(f"{path}/settle")
    for admin in (hall.admin, hall.admin2):
        admin.post(f"{path}/voucher")
    money = buyer.get(f"/v1/settlements/{trade['trade_id']}")["balances"]
    assert money[f"provider:{provider.id}"] == 10_001
    assert sum(money.values()) == 0


def test_right_holders_share_to_the_last_fen(hall: Hall, provider: Person, buyer: Person) -> None:
    partner = hall.person("partner", "provider", uscc=USCC[1])

    def share(descriptor: dict[str, Any]) -> None:
        descriptor["dataElement"]["offer"]["splits"] = [{"holder_uscc": USCC[1], "permille": 333}]

    trade = delivered(hall, buyer, listed(hall, provider, change=share))
    _, manifest = buyer.fetch(trade)
    done = buyer.post(f"/v1/trades/{trade['trade_id']}/accept", {"manifest_digest": manifest})
    paid = {s["party_id"]: s["amount_fen"] for s in done["shares"]}
    assert paid == {provider.id: 10_001 - 3330, partner.id: 3330}


def test_tiers_price_by_the_quantity_that_is_reached(
    hall: Hall, provider: Person, buyer: Person
) -> None:
    listing_id = listed(
        hall,
        provider,
        mode="per_volume",
        unit="GB",
        price_fen=100,
        min_qty=5,
        tiers=[{"from_qty": 10, "price_fen": 90}, {"from_qty": 100, "price_fen": 70}],
    )

    def amount(quantity: int) -> int:
        quote = buyer.post(
            f"/v1/listings/{listing_id}/quote", {"purpose": "x", "quantity": quantity}
        )
        return int(quote["terms"]["amount_fen"])

    assert [amount(q) for q in (5, 9, 10, 99, 100)] == [500, 900, 900, 8910, 7000]
    with pytest.raises(Refused, match="at least 5"):
        amount(4)


def test_silence_accepts_only_where_the_contract_says_so(
    hall: Hall, provider: Person, buyer: Person, clock: Held
) -> None:
    def silent(descriptor: dict[str, Any]) -> None:
        descriptor["dataElement"]["offer"] |= {"silent_acceptance": True, "inspection_days": 3}

    trade = delivered(hall, buyer, listed(hall, provider, change=silent))
    assert trade["terms"]["silent_acceptance"]
    clock.ahead = timedelta(days=4)
    done = buyer.wait(trade["trade_id"], "vouchered")
    events = buyer.get(f"/v1/trades/{trade['trade_id']}/events")["items"]
    assert next(e for e in events if e["type"] == "accept")["actor_id"] == "system"
    assert done["accepted_at"] is not None


def test_what_cannot_be_delivered_or_priced_here_is_refused_at_listing(
    hall: Hall, provider: Person
) -> None:
    descriptor, data = small_corpus(provider)
    descriptor["dataElement"]["offer"]["delivery_modes"] = ["sandbox"]
    descriptor["dataElement"]["offer"]["pricing"] = [{"mode": "auction", "currency": "CNY"}]
    provider.upload(data)
    listing = provider.draft(descriptor)
    with pytest.raises(Refused) as refused:
        provider.submit(listing["listing_id"])
    codes = {(p["pointer"], p["code"]) for p in refused.value.response.json()["problems"]}
    assert ("/dataElement/offer/delivery_modes", "unsupported") in codes
    assert ("/dataElement/offer/pricing/0/mode", "unsupported") in codes


def test_words_of_a_listing_change_in_the_open_and_nothing_else_does(
    hall: Hall, provider: Person
) -> None:
    listing_id = listed(hall, provider)
    path = f"/v1/listings/{listing_id}"
    before = provider.get(path)
    edited = provider.post(f"{path}/edit_text", {"changes": {"title": "2026年新标题数据集"}})
    assert edited["title"] == "2026年新标题数据集"
    assert edited["content_digest"] == before["content_digest"]
    assert hall.stranger.get(path)["title"] == "2026年新标题数据集"
    event = provider.get(f"{path}/events")["items"][-1]
    assert event["payload"]["before"] == {"title": before["title"]}
    with pytest.raises(Refused, match="immutable"):
        provider.post(f"{path}/edit_text", {"changes": {"resources": []}})
