"""An operator, a reviewer or an exchange who means harm: nobody judges or pays themselves."""

from __future__ import annotations

import uuid
from typing import Any

import pytest

from paper import Paper
from people import USCC, Hall, Person, small_corpus
from stall import offered
from yaosu.model_organisation import Approval
from yaosu.organisation import reminders


@pytest.fixture(scope="module")
def provider(hall: Hall) -> Person:
    return hall.person("lingnan", "provider", uscc=USCC[0])


@pytest.fixture(scope="module")
def buyer(hall: Hall) -> Person:
    return hall.person("model-lab", "buyer")


@pytest.fixture(scope="module")
def listing_id(hall: Hall, provider: Person) -> str:
    return offered(hall, provider, "for-sale")


def payment(trade: dict[str, Any]) -> dict[str, Any]:
    return {
        "amount_fen": trade["terms"]["amount_fen"],
        "payer": trade["user"]["party_id"],
        "reference": uuid.uuid4().hex,
    }


def test_an_operator_alone_cannot_make_the_second_pair_of_eyes(
    hall: Hall, buyer: Person, listing_id: str
) -> None:
    trade = buyer.buy(listing_id)
    path = f"/v1/trades/{trade['trade_id']}/confirm_payment"
    body = payment(trade)
    link = hall.admin.post("/v1/invitations", {"name": "c", "roles": ["admin"], "owner": True})
    secret = link["link"].rsplit("/", 1)[1]
    taken = hall.stranger.post("/v1/invitations/accept", {"secret": secret})
    child = Person(hall.address, taken["key"])
    grandchild = hall.second(child, "admin")
    puppet = hall.admin.post(
        "/v1/parties", {"slug": "puppet", "name": "p", "member": "p", "roles": ["admin"]}
    )
    stranger = Person(hall.address, puppet["key"])
    another_key = Person(hall.address, hall.admin.post("/v1/keys", {})["key"])
    for hand in (hall.admin, another_key, child, grandchild, stranger, hall.admin, child):
        assert hand.raw("POST", path, body).status_code == 202
    assert buyer.get(f"/v1/trades/{trade['trade_id']}")["paid_fen"] == 0
    assert hall.admin2.raw("POST", path, body).status_code == 200
    assert buyer.get(f"/v1/trades/{trade['trade_id']}")["paid_fen"] == body["amount_fen"]


def test_an_approval_is_of_the_trade_as_it_stood(
    hall: Hall, buyer: Person, listing_id: str
) -> None:
    trade = buyer.buy(listing_id)
    path = f"/v1/trades/{trade['trade_id']}"
    buyer.post(f"{path}/dispute", {"ground": "first"})
    ruling = {"outcome": "back to the buyer", "to": "terminated"}
    assert hall.admin.raw("POST", f"{path}/resolve", ruling).status_code == 202
    hall.reviewer.post(f"{path}/resolve", {"outcome": "settled between them", "to": "filed"})
    buyer.post(f"{path}/dispute", {"ground": "second"})
    assert hall.admin2.raw("POST", f"{path}/resolve", ruling).status_code == 202
    assert buyer.get(path)["state"] == "disputed"


def test_what_waits_for_a_second_operator_is_on_their_list_and_on_no_other(
    hall: Hall, buyer: Person, listing_id: str
) -> None:
    trade = buyer.buy(listing_id)
    path = f"/v1/trades/{trade['trade_id']}/confirm_payment"
    body = payment(trade)

    def listed(who: Person) -> list[dict[str, Any]]:
        return [i for i in who.get("/v1/waiting")["items"] if i["subject_id"] == trade["trade_id"]]

    assert listed(hall.admin2) == []
    child = hall.second(hall.admin, "admin")
    for hand in (hall.admin, child):
        assert hand.raw("POST", path, body).status_code == 202
    (item,) = listed(hall.admin2)
    assert (item["kind"], item["action"]) == ("confirm", "confirm_payment")
    assert item["amount_fen"] == body["amount_fen"]
    assert listed(hall.admin) == listed(child) == []
    assert [i["kind"] for i in listed(buyer)] == ["pay"]
    for language, said in (("en", "as the second operator"), ("zh", "作为第二位运营方复核")):
        paper = Paper(hall.address, language)
        paper.log_in(str(hall.admin2.key))
        assert paper.get("/waiting").says(said)
    assert hall.admin2.raw("POST", path, body).status_code == 200
    assert listed(hall.admin2) == []
    with hall.market.store.read() as reader:
        kept = reader.find(Approval, subject_id=trade["trade_id"])
    assert [a.state for a in kept] == ["done", "done"]


def test_a_confirmation_ends_when_its_trade_moves_on(
    hall: Hall, buyer: Person, listing_id: str
) -> None:
    trade = buyer.buy(listing_id)
    path = f"/v1/trades/{trade['trade_id']}"
    assert hall.admin.raw("POST", f"{path}/confirm_payment", payment(trade)).status_code == 202
    buyer.post(f"{path}/dispute", {"ground": "first"})
    found = hall.admin2.get("/v1/waiting")["items"]
    assert trade["trade_id"] not in {i["subject_id"] for i in found}
    reminders.run(hall.market.store)
    with hall.market.store.read() as reader:
        assert [a.state for a in reader.find(Approval, subject_id=trade["trade_id"])] == ["lapsed"]


def test_an_operator_whose_organisation_is_a_side_confirms_nothing(
    hall: Hall, listing_id: str
) -> None:
    both = hall.person("operator-who-buys", "admin", "buyer")
    second = hall.colleague(both, "admin", "buyer")
    trade = both.buy(listing_id)
    for hand in (both, second):
        refused = hand.raw(
            "POST", f"/v1/trades/{trade['trade_id']}/confirm_payment", payment(trade)
        )
        assert refused.status_code == 403


def test_an_operator_cannot_take_a_place_of_trading_over(
    hall: Hall, buyer: Person, listing_id: str
) -> None:
    made = hall.admin.post(
        "/v1/parties", {"slug": "own-house", "name": "h", "member": "h", "roles": ["exchange"]}
    )
    otc = {"name": "场外", "party_id": made["party"]["party_id"]}
    assert hall.admin.raw("PUT", "/v1/venues/otc", otc).status_code == 409
    exchange = hall.exchange("held")
    assert hall.admin.raw("PUT", "/v1/venues/held", {"name": "held"}).status_code == 409
    assert exchange.raw("PUT", "/v1/venues/held", {"name": "held"}).status_code == 403
    trade = buyer.buy(listing_id)
    puppet = Person(hall.address, made["key"])
    for path in ("", "/events", "/record"):
        assert puppet.raw("GET", f"/v1/trades/{trade['trade_id']}{path}").status_code == 404
    refused = puppet.raw("POST", f"/v1/trades/{trade['trade_id']}/confirm_payment", payment(trade))
    assert refused.status_code == 404


@pytest.mark.parametrize(
    "rules",
    [
        {"fee_permyriad": 10_001},
        {"fee_permyriad": -1},
        {"fee_permyriad": True},
        {"fee_permyriad": 1.0},
        {"notice_days": -1},
        {"inspection_days": "7"},
        {"name": {"a": 1}},
        {"assessment_above_fen": -1},
        {"surprise": 1},
        {"id": "otc"},
    ],
)
def test_the_rules_of_a_place_of_trading_are_checked(hall: Hall, rules: dict[str, Any]) -> None:
    body = {"name": "x", **rules}
    assert hall.admin.raw("PUT", "/v1/venues/checked", body).status_code == 422
    assert "checked" not in {v["venue_id"] for v in hall.stranger.get("/v1/venues")["items"]}


def test_nobody_approves_what_their_own_organisation_offers(hall: Hall) -> None:
    for slug, role in (("judge-and-seller", "reviewer"), ("house-and-seller", "exchange")):
        own = hall.person(slug, "provider", role, uscc=USCC[1 if role == "reviewer" else 2])
        venue = "otc"
        if role == "exchange":
            venue = "own-venue"
            from yaosu.market import new_venue
            from yaosu.model import Venue

            new_venue(hall.market, Venue(id=venue, name="v", name_en="v", party_id=own.id))
        descriptor, data = small_corpus(own, f"own-{role}")
        own.upload(data)
        listing = own.draft(descriptor, venue=venue)["listing_id"]
        assert own.submit(listing)["state"] == "review"
        for action in ("register", "list", "return", "open_notice"):
            body = {"reason": "x"} if action == "return" else {}
            refused = own.raw("POST", f"/v1/listings/{listing}/{action}", body)
            assert refused.status_code in (403, 409), (role, action, refused.text)
        assert own.get(f"/v1/listings/{listing}")["state"] == "review"
        helper = hall.second(own, role)
        refused = helper.raw("POST", f"/v1/listings/{listing}/register", {})
        assert refused.status_code == 404
