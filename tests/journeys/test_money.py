"""Disputes, refunds, corrections, invoices and statements: money that is mended in the open."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from people import USCC, Hall, Person, Refused, open_hall, small_corpus, until
from stall import delivered, sold_as
from yaosu.proof.verify_market import verify_market
from yaosu.proof.verify_receipt import verify_receipt

SHA = "sha256:" + "ab" * 32


@pytest.fixture(scope="module")
def hall(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hall]:
    with open_hall(tmp_path_factory.mktemp("hall")) as found:
        yield found


@pytest.fixture(scope="module")
def provider(hall: Hall) -> Person:
    return hall.person("lingnan", "provider", uscc=USCC[0])


@pytest.fixture(scope="module")
def buyer(hall: Hall) -> Person:
    return hall.person("lab", "buyer")


@pytest.fixture(scope="module")
def listing_id(hall: Hall, provider: Person) -> str:
    descriptor, data = small_corpus(provider, "for-money")
    descriptor["dataElement"]["offer"]["tax_rate"] = "0.06"
    provider.upload(data)
    return sold_as(hall, provider, descriptor)


def settled(hall: Hall, buyer: Person, listing_id: str) -> dict[str, Any]:
    trade = delivered(hall, buyer, listing_id)
    _, manifest = buyer.fetch(trade)
    done: dict[str, Any] = buyer.post(
        f"/v1/trades/{trade['trade_id']}/accept", {"manifest_digest": manifest}
    )
    return done


def sound(hall: Hall) -> None:
    """What `yaosu verify` says of the live directory."""
    report = verify_market(hall.market.settings.folder)
    assert [p for p in report.problems if p.severity == "error"] == []


def test_a_dispute_hears_both_sides_and_may_give_a_part_back(
    hall: Hall, provider: Person, buyer: Person, listing_id: str
) -> None:
    trade = delivered(hall, buyer, listing_id)
    path = f"/v1/trades/{trade['trade_id']}"
    evidence = [{"text": "三成记录为空", "digest": SHA}]
    wrong = {"ground": "g", "evidence": [{"text": "x", "digest": "sha256:zz"}]}
    with pytest.raises(Refused, match="64 hex"):
        buyer.post(f"{path}/dispute", wrong)
    raised = buyer.post(
        f"{path}/dispute", {"ground": "质量不符", "channel": "mediation", "evidence": evidence}
    )
    assert raised["disputes"][0]["evidence"][0]["digest"] == SHA
    heard = provider.post(f"{path}/exhibit", {"text": "抽样记录", "digest": SHA})
    assert [e["party_id"] for e in heard["disputes"][0]["evidence"]] == [buyer.id, provider.id]
    said = buyer.get(f"{path}/events")["items"][-1]
    assert said["type"] == "evidence"
    assert "抽样记录" not in str(said)
    with pytest.raises(Refused, match="held"):
        hall.reviewer.post(
            f"{path}/resolve", {"outcome": "x", "to": "terminated", "refund_fen": 10_002}
        )
    with pytest.raises(Refused, match="goes with"):
        hall.reviewer.post(f"{path}/resolve", {"outcome": "x", "to": "delivered", "refund_fen": 1})
    decided = hall.reviewer.post(
        f"{path}/resolve", {"outcome": "退三成", "to": "settling", "refund_fen": 3_000}
    )
    assert (decided["state"], decided["billed_fen"], decided["refund_fen"]) == (
        "settling", 7_001, 3_000,
    )  # fmt: skip
    for admin in (hall.admin, hall.admin2):
        admin.post(f"{path}/settle")
    money = buyer.get(f"/v1/settlements/{trade['trade_id']}")["balances"]
    assert money[f"provider:{provider.id}"] == 7_001
    assert money[f"buyer:{buyer.id}"] == -7_001
    assert money[f"escrow:{trade['trade_id']}"] == 0
    for admin in (hall.admin, hall.admin2):
        admin.post(f"{path}/voucher")
    made = until(lambda: buyer.raw("GET", f"{path}/receipt"), lambda a: a.status_code == 200)
    assert verify_receipt(made.json()).problems == ()
    sound(hall)


def test_a_trade_that_ends_in_a_dispute_pays_out_what_is_not_given_back(
    hall: Hall, provider: Person, buyer: Person, listing_id: str
) -> None:
    trade = delivered(hall, buyer, listing_id)
    path = f"/v1/trades/{trade['trade_id']}"
    buyer.post(f"{path}/dispute", {"ground": "g"})
    ended = hall.reviewer.post(
        f"{path}/resolve", {"outcome": "各半", "to": "terminated", "refund_fen": 5_000}
    )
    assert (ended["state"], ended["refund_fen"]) == ("terminated", 5_000)
    money = buyer.get(f"/v1/settlements/{trade['trade_id']}")["balances"]
    assert money[f"provider:{provider.id}"] == 5_001
    assert buyer.get(f"/v1/deliveries/{trade['delivery_id']}")["state"] == "revoked"
    sound(hall)


def test_a_correction_is_an_entry_beside_the_others_and_needs_two(
    hall: Hall, provider: Person, buyer: Person, listing_id: str
) -> None:
    trade = settled(hall, buyer, listing_id)
    path = f"/v1/trades/{trade['trade_id']}/correct"
    account = f"buyer:{buyer.id}"
    lines = [
        {"account": f"provider:{provider.id}", "amount_fen": -1_000},
        {"account": account, "amount_fen": 1_000},
    ]
    body = {"reason": "多收一成", "lines": lines}
    before = buyer.get(f"/v1/settlements/{trade['trade_id']}")["postings"]
    assert hall.admin.raw("POST", path, body).status_code == 202
    assert hall.admin.raw("POST", path, body).status_code == 202  # the same one is no second
    done = hall.admin2.post(path, body)
    assert done["corrections"][0]["reason"] == "多收一成"
    after = buyer.get(f"/v1/settlements/{trade['trade_id']}")["postings"]
    assert after[: len(before)] == before
    assert len(after) == len(before) + 2
    for wrong in (
        [{**lines[0], "amount_fen": -999}, lines[1]],
        [{**lines[0], "account": f"escrow:{trade['trade_id']}"}, lines[1]],
        [{**lines[0], "account": "provider:pty_other"}, lines[1]],
    ):
        hall.admin.raw("POST", path, {"reason": "x", "lines": wrong})
        assert hall.admin2.raw("POST", path, {"reason": "x", "lines": wrong}).status_code == 422
    with pytest.raises(Refused, match="403"):
        provider.post(path, body)
    sound(hall)


def test_invoices_never_exceed_what_was_charged_and_are_taken_back_in_red(
    hall: Hall, provider: Person, buyer: Person, listing_id: str
) -> None:
    trade = settled(hall, buyer, listing_id)
    path = f"/v1/trades/{trade['trade_id']}/invoices"
    first = {"number": "2444000000000001", "amount_fen": 6_000, "issued_on": "2026-01-31"}
    mine = {**first, "invoice_id": "inv_" + "5" * 32}
    made = provider.post(path, mine)
    assert made["tax_fen"] == round(6_000 * 6 / 106)  # the rate of the offer: 0.06
    assert provider.raw("POST", path, mine).status_code == 409  # its id is taken: there is one
    with pytest.raises(Refused, match="too much"):
        provider.post(path, {**first, "number": "2", "amount_fen": 4_002})
    with pytest.raises(Refused, match="403"):
        buyer.post(path, first)
    red_path = f"/v1/invoices/{made['invoice_id']}/correct"
    red = provider.post(red_path, {"number": "R1", "issued_on": "2026-02-01", "reason": "抬头有误"})
    assert (red["amount_fen"], red["tax_fen"]) == (-6_000, -made["tax_fen"])
    with pytest.raises(Refused, match="0 fen"):
        provider.post(red_path, {"number": "R2", "issued_on": "2026-02-01", "reason": "x"})
    with pytest.raises(Refused, match="red itself"):
        provider.post(
            f"/v1/invoices/{red['invoice_id']}/correct",
            {"number": "R3", "issued_on": "2026-02-01", "reason": "x"},
        )
    provider.post(path, {**first, "number": "3", "amount_fen": 10_001})
    assert {i["number"] for i in buyer.get("/v1/invoices")["items"]} >= {"R1", "3"}
    sound(hall)


def test_a_payout_statement_adds_up_and_holds_no_formula(
    hall: Hall, buyer: Person, tmp_path: Path
) -> None:
    seller = hall.person("formulas", "provider", uscc=USCC[2])
    descriptor, data = small_corpus(seller, "formula")
    descriptor["title"] = "=HYPERLINK(1)"
    seller.upload(data)
    listing_id = sold_as(hall, seller, descriptor)
    trades = [settled(hall, buyer, listing_id) for _ in range(2)]
    found = seller.get("/v1/statements/payout")
    assert found["paid_fen"] == found["closing_fen"] == 20_002
    assert [line["trade_id"] for line in found["lines"]] == [t["trade_id"] for t in trades]
    text = seller.raw("GET", "/v1/statements/payout.csv").content.decode("utf-8-sig")
    rows = list(csv.DictReader(io.StringIO(text)))
    assert sum(int(r["amount_fen"]) for r in rows) == 20_002
    assert all(r["title"] == "'=HYPERLINK(1)" for r in rows)
    past = seller.get("/v1/statements/payout", params={"from": "2020-01-01", "to": "2020-01-31"})
    assert (past["lines"], past["closing_fen"]) == ([], 0)
    for wrong in ({"from": "x"}, {"from": "2026-02-01", "to": "2026-01-01"}):
        with pytest.raises(Refused, match="422"):
            seller.get("/v1/statements/payout", params=wrong)
    with pytest.raises(Refused, match="403"):
        buyer.get("/v1/statements/payout", params={"party_id": seller.id})
    assert hall.admin.get("/v1/statements/payout", params={"party_id": seller.id})["lines"]


def test_the_pages_show_periods_invoices_and_the_statement(
    hall: Hall, provider: Person, buyer: Person
) -> None:
    descriptor, data = small_corpus(
        provider, "paged", mode="subscription", unit="month", price_fen=500
    )
    provider.upload(data)
    trade = buyer.buy(sold_as(hall, provider, descriptor), quantity=2)
    login = Person(hall.address, None)
    page = login.http.get("/login")
    token = re.search(r'name="([^"]+)" value="([^"]+)"', page.text)
    assert token
    login.http.post("/login", data={token[1]: token[2], "key": provider.key, "next": "/payout"})
    shown = login.http.get("/payout", params={"lang": "zh"})
    assert shown.status_code == 200
    assert "结算对账单" in shown.text
    assert login.http.get("/payout.csv").status_code == 200
    view = login.http.get(f"/trades/{trade['trade_id']}", params={"lang": "en"})
    assert "Periods" in view.text
    assert 'id="periods"' in view.text
