"""Tricks with documents, digests, prices and identities: what was signed is what is done."""

from __future__ import annotations

import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from people import USCC, Hall, Person, Refused, small_corpus
from stall import delivered, offered, sold_as


@pytest.fixture(scope="module")
def provider(hall: Hall) -> Person:
    return hall.person("lingnan", "provider", uscc=USCC[0])


@pytest.fixture(scope="module")
def buyer(hall: Hall) -> Person:
    return hall.person("model-lab", "buyer")


@pytest.fixture(scope="module")
def listing_id(hall: Hall, provider: Person) -> str:
    return offered(hall, provider, "for-sale")


def purchase(buyer: Person, listing_id: str, **wish: Any) -> tuple[str, dict[str, Any]]:
    """Return where to buy and a body that would buy."""
    wanted = {"purpose": "training", **wish}
    quote = buyer.post(f"/v1/listings/{listing_id}/quote", wanted)
    return f"/v1/listings/{listing_id}/buy", {
        "wish": wanted,
        "trade_id": quote["trade_id"],
        "quoted_at": quote["quoted_at"],
        "signature": buyer.sign(quote["agreement_digest"]),
    }


# --- buying in one step -------------------------------------------------------------------------


def test_a_signature_buys_what_it_was_made_for_and_nothing_else(
    hall: Hall, buyer: Person, provider: Person, listing_id: str
) -> None:
    path, body = purchase(buyer, listing_id)
    now = datetime.now(UTC)
    rival = hall.person("rival", "buyer")
    rival.sign("sha256:" + "0" * 64)
    for changed in (
        {"wish": {**body["wish"], "purpose": "resale"}},
        {"wish": {**body["wish"], "term_days": 30000}},
        {"wish": {**body["wish"], "rights": ["use", "operate"]}},
        {"trade_id": "trd_" + uuid.uuid4().hex},
        {"trade_id": None},
        {"quoted_at": (now - timedelta(seconds=5)).isoformat()},
        {"signature": {**body["signature"], "value": ""}},
        {"signature": {**body["signature"], "value": "A" * 88}},
        {"signature": {"key_id": body["signature"]["key_id"], "platform": True}},
    ):
        refused = buyer.raw("POST", path, {**body, **changed})
        assert refused.status_code == 422, (changed, refused.text)
    for thief in (rival, provider):
        assert thief.raw("POST", path, body).status_code in (403, 404)
    assert buyer.get("/v1/trades")["items"] == []
    assert buyer.post(path, body)["state"] == "filed"
    assert buyer.raw("POST", path, body).status_code == 409


@pytest.mark.parametrize(
    "at",
    [
        "2026-01-01T00:00:00",
        "yesterday",
        "2000-01-01T00:00:00Z",
        "2999-01-01T00:00:00Z",
        "0001-01-01T00:00:00+23:59",
        "9999-12-31T23:59:59-23:59",
        "",
    ],
)
def test_a_stale_or_invented_quote_is_refused(buyer: Person, listing_id: str, at: str) -> None:
    path, body = purchase(buyer, listing_id)
    refused = buyer.raw("POST", path, {**body, "quoted_at": at})
    assert refused.status_code == 422
    assert refused.json()["field"] == "quoted_at"


@pytest.mark.parametrize("trade_id", ["trd_x", "lst_" + "0" * 32, "trd_" + "Z" * 32, "../x", ""])
def test_a_trade_id_has_one_form(buyer: Person, listing_id: str, trade_id: str) -> None:
    path, body = purchase(buyer, listing_id)
    assert buyer.raw("POST", path, {**body, "trade_id": trade_id}).status_code == 422


def test_two_trades_of_a_careful_choice_of_ids_have_two_contract_numbers(
    buyer: Person, listing_id: str
) -> None:
    tail = uuid.uuid4().hex[-12:]
    numbers = set()
    for head in ("0" * 20, "1" * 20):
        body = {
            "listing_id": listing_id,
            "wish": {"purpose": "x"},
            "trade_id": f"trd_{head}{tail}",
        }
        trade = buyer.post("/v1/trades", body)
        trade = buyer.post(
            f"/v1/trades/{trade['trade_id']}/take", {"offer_digest": trade["offer_digest"]}
        )
        numbers.add(trade["agreement"]["contract_no"])
    assert len(numbers) == 2


# --- the standing offer -------------------------------------------------------------------------


def test_a_standing_offer_ends_with_the_draft_that_it_was_of(
    hall: Hall, provider: Person, buyer: Person
) -> None:
    descriptor, data = small_corpus(provider, "revised", price_fen=5)
    provider.upload(data)
    listing = provider.draft(descriptor)["listing_id"]
    provider.offer(listing)
    dear, _ = small_corpus(provider, "revised", price_fen=900_000)
    provider.raw("PUT", f"/v1/listings/{listing}", {"descriptor": dear}, headers={"if-match": "*"})
    shown = provider.get(f"/v1/listings/{listing}")
    assert shown["standing_offer"] is None
    assert provider.submit(listing)["state"] == "review"
    hall.listed(provider, listing)
    refused = buyer.raw("POST", f"/v1/listings/{listing}/quote", {"purpose": "x"})
    assert refused.status_code == 409


@pytest.mark.parametrize("ended", ["suspended", "delisted", "revoked"])
def test_an_offer_that_was_taken_back_cannot_be_taken(
    hall: Hall, provider: Person, buyer: Person, ended: str
) -> None:
    listing = offered(hall, provider, f"{ended}-offer")
    body = {"listing_id": listing, "wish": {"purpose": "x"}}
    before = buyer.post("/v1/trades", body)
    path, whole = purchase(buyer, listing)
    if ended == "suspended":
        hall.reviewer.post(f"/v1/listings/{listing}/suspend", {"reason": "complaint"})
    elif ended == "delisted":
        provider.post(f"/v1/listings/{listing}/delist", {"reason": "withdrawn"})
    else:
        provider.post(f"/v1/signing-keys/{provider._signing_id}/revoke")
        provider._signer = None
    taken = buyer.raw(
        "POST",
        f"/v1/trades/{before['trade_id']}/take",
        {"offer_digest": before["offer_digest"]},
    )
    assert taken.status_code == 409, taken.text
    assert buyer.raw("POST", path, whole).status_code == 409


def test_only_the_provider_signs_an_offer_and_only_with_its_own_key(
    hall: Hall, provider: Person, buyer: Person, listing_id: str
) -> None:
    other = hall.person("other-provider", "provider")
    document = provider.get(f"/v1/listings/{listing_id}/standing-offer")
    path = f"/v1/listings/{listing_id}/offer"
    for who in (buyer, other, hall.admin, hall.reviewer):
        signature = who.sign(document["digest"])
        assert who.raw("POST", path, {"signature": signature}).status_code == 403
        assert provider.raw("POST", path, {"signature": signature}).status_code == 404
    revoked = provider.sign(document["digest"])
    fresh = provider.post("/v1/signing-keys", {"held_by": "platform"})["key_id"]
    held = {"key_id": fresh, "platform": True}
    assert provider.raw("POST", path, {"signature": held}).status_code == 200
    provider.post(f"/v1/signing-keys/{fresh}/revoke")
    assert provider.raw("POST", path, {"signature": held}).status_code == 403
    assert provider.raw("POST", path, {"signature": revoked}).status_code == 200


# --- prices -------------------------------------------------------------------------------------


def test_amounts_stay_within_what_the_ledger_takes(
    hall: Hall, provider: Person, buyer: Person
) -> None:
    listing = offered(
        hall,
        provider,
        "by-call",
        mode="per_call",
        unit="次",
        price_fen=10**14,
        tiers=[{"from_qty": 3, "price_fen": 7}],
    )
    path = f"/v1/listings/{listing}/quote"

    def amount(quantity: Any) -> Any:
        answer = buyer.raw("POST", path, {"purpose": "x", "quantity": quantity})
        return answer.json()["terms"]["amount_fen"] if answer.status_code == 200 else None

    assert [amount(q) for q in (1, 2, 3, 10**9)] == [10**14, 2 * 10**14, 21, 7 * 10**9]
    for wrong in (0, -1, 10**9 + 1, 2**63, 1.0, True, "1", None, [1]):
        assert amount(wrong) is None, wrong


@pytest.mark.parametrize(
    "price",
    [
        {"price_fen": -1},
        {"price_fen": 10**15 + 1},
        {"price_fen": 1.5},
        {"price_fen": "1"},
        {"price_fen": True},
        {"mode": "per_call", "tiers": [{"from_qty": 1, "price_fen": -5}]},
        {"mode": "per_call", "tiers": [{"from_qty": "1", "price_fen": 5}]},
        {"mode": "per_call", "tiers": [{"price_fen": 5}]},
        {"mode": "per_call", "tiers": 7},
        {"mode": ["free"]},
        {"mode": "gift"},
        {"currency": "XXX"},
    ],
)
def test_a_price_that_is_none_is_never_listed(provider: Person, price: dict[str, Any]) -> None:
    descriptor, data = small_corpus(provider, f"price-{uuid.uuid4().hex[:8]}", unit="份")
    descriptor["dataElement"]["offer"]["pricing"][0] |= price
    provider.upload(data)
    made = provider.raw("POST", "/v1/datasets", {"descriptor": descriptor})
    if made.status_code == 201:
        listing = made.json()["listing"]["listing_id"]
        made = provider.raw("POST", f"/v1/listings/{listing}/submit", {})
    assert made.status_code == 422, made.text


def test_one_mode_has_one_price(provider: Person) -> None:
    descriptor, data = small_corpus(provider, "two-prices")
    pricing = descriptor["dataElement"]["offer"]["pricing"]
    pricing.append({**pricing[0], "price_fen": 1})
    provider.upload(data)
    with pytest.raises(Refused, match="stands twice"):
        provider.submit(provider.draft(descriptor)["listing_id"])


def test_terms_of_a_negotiation_stay_within_bounds(
    hall: Hall, provider: Person, buyer: Person, listing_id: str
) -> None:
    body = {"listing_id": listing_id, "wish": {"purpose": "x"}}
    trade = buyer.post("/v1/trades", body)
    path = f"/v1/trades/{trade['trade_id']}"
    for changes in (
        {"amount_fen": 10**15 + 1},
        {"amount_fen": -1},
        {"quantity": 0},
        {"rights": ["own"]},
        {"rights": ["use", "sell", "x"]},
        {"term_days": 10**9},
        {"inspection_days": -1},
        {"payment_timing": "never"},
        {"currency": "USD"},
        {"mode": "free"},
        {"unit_price_fen": 1},
        {"tax_rate": "0"},
        {"rights_mode": "assignment"},
    ):
        assert provider.raw("POST", f"{path}/answer", {"changes": changes}).status_code == 422
    provider.post(f"{path}/answer", {"changes": {"amount_fen": 10**15}})
    refused = buyer.raw("POST", f"{path}/counter", {"changes": {"rights": ["use", "lease"]}})
    assert refused.status_code == 422
    stale = trade["offer_digest"]
    assert buyer.raw("POST", f"{path}/agree", {"offer_digest": stale}).status_code == 409


# --- who is paid --------------------------------------------------------------------------------


def test_nobody_is_paid_under_the_credit_code_of_another(
    hall: Hall, provider: Person, buyer: Person
) -> None:
    impostor = hall.stranger.post(
        "/v1/parties",
        {"slug": "impostor", "name": "x", "member": "x", "roles": ["provider"], "uscc": USCC[1]},
    )
    descriptor, data = small_corpus(provider, "shared")
    descriptor["dataElement"]["offer"]["splits"] = [{"holder_uscc": USCC[1], "permille": 400}]
    provider.upload(data)
    listing = provider.draft(descriptor)["listing_id"]
    with pytest.raises(Refused, match="unknown_holder"):
        provider.submit(listing)
    partner = hall.person("partner", "provider", uscc=USCC[1])
    late = hall.admin.raw(
        "POST", f"/v1/parties/{impostor['party']['party_id']}/verify", {"evidence": "x"}
    )
    assert late.status_code == 409
    listing = sold_as_again(hall, provider, listing)
    trade = delivered(hall, buyer, listing)
    manifest = buyer.get(f"/v1/deliveries/{trade['delivery_id']}")["manifest_digest"]
    done = buyer.post(f"/v1/trades/{trade['trade_id']}/accept", {"manifest_digest": manifest})
    paid = {share["party_id"]: share["amount_fen"] for share in done["shares"]}
    assert paid == {provider.id: 10_001 - 4_000, partner.id: 4_000}


def sold_as_again(hall: Hall, provider: Person, listing_id: str) -> str:
    assert provider.submit(listing_id)["state"] == "review"
    provider.offer(listing_id)
    hall.listed(provider, listing_id)
    return listing_id


def test_shares_beyond_the_whole_are_refused(hall: Hall, provider: Person) -> None:
    descriptor, data = small_corpus(provider, "too-much")
    descriptor["dataElement"]["offer"]["splits"] = [
        {"holder_uscc": USCC[0], "permille": 600},
        {"holder_uscc": USCC[0], "permille": 600},
    ]
    provider.upload(data)
    with pytest.raises(Refused, match="exceed"):
        provider.submit(provider.draft(descriptor)["listing_id"])


def test_nobody_trades_with_themselves_under_a_second_name(
    hall: Hall, provider: Person, listing_id: str
) -> None:
    """A second registration of the same organisation, verified or not, buys nothing of it."""
    from dataclasses import replace

    from yaosu.model import Party

    made = hall.stranger.post(
        "/v1/parties",
        {"slug": "second-name", "name": "x", "member": "x", "roles": ["buyer"], "uscc": USCC[0]},
    )
    shadow = Person(hall.address, made["key"], made["party"])
    wish = {"listing_id": listing_id, "wish": {"purpose": "x"}}
    assert shadow.raw("POST", "/v1/trades", wish).status_code == 403
    verify = f"/v1/parties/{shadow.id}/verify"
    assert hall.admin.raw("POST", verify, {"evidence": "x"}).status_code == 409

    def force(tx: Any) -> None:
        tx.put(replace(tx.get(Party, shadow.id), verified_at=tx.now))

    hall.market.store.write(force)
    assert shadow.raw("POST", "/v1/trades", wish).status_code == 403
    own = hall.second(provider, "provider")
    buying = provider.raw("POST", "/v1/members", {"name": "x", "roles": ["buyer"]})
    assert buying.status_code == 403
    assert own.raw("POST", "/v1/trades", wish).status_code == 403


def test_the_fee_is_that_of_the_contract(hall: Hall, buyer: Person) -> None:
    exchange = hall.exchange("fees", fee_permyriad=100, filing_required=True)
    seller = hall.person("seller", "provider", uscc=USCC[2])
    descriptor, data = small_corpus(seller, "fee")
    seller.upload(data)
    listing = sold_as(hall, seller, descriptor, by=exchange, venue="fees")
    trade = buyer.buy(listing)
    hall.admin.raw(
        "PUT",
        "/v1/venues/fees",
        {"name": "fees", "party_id": exchange.id, "fee_permyriad": 10_000, "filing_required": True},
    )
    path = f"/v1/trades/{trade['trade_id']}"
    exchange.post(f"{path}/file", {"filing_no": "F-1"})
    hall.pay(trade, exchange)
    trade = buyer.wait(trade["trade_id"], "delivered")
    manifest = buyer.get(f"/v1/deliveries/{trade['delivery_id']}")["manifest_digest"]
    buyer.post(f"{path}/accept", {"manifest_digest": manifest})
    for action in ("bill", "settle"):
        trade = exchange.post(f"{path}/{action}")
    assert trade["fee_fen"] == 100
    assert trade["agreement"]["fee_permyriad"] == 100


# --- signing the agreement ----------------------------------------------------------------------


def test_an_agreement_is_signed_by_each_side_once_over_its_own_digest(
    hall: Hall, provider: Person, buyer: Person, listing_id: str
) -> None:
    trades = []
    for _ in range(2):
        trade = buyer.post("/v1/trades", {"listing_id": listing_id, "wish": {"purpose": "x"}})
        path = f"/v1/trades/{trade['trade_id']}"
        trade = provider.post(f"{path}/answer")
        trades.append(buyer.post(f"{path}/agree", {"offer_digest": trade["offer_digest"]}))
    first, second = trades
    path = f"/v1/trades/{first['trade_id']}/sign"
    replayed = buyer.sign(second["agreement_digest"])
    assert buyer.raw("POST", path, {"signature": replayed}).status_code == 422
    good = buyer.sign(first["agreement_digest"])
    assert provider.raw("POST", path, {"signature": good}).status_code == 404
    for who in (hall.admin, hall.reviewer):
        own = who.sign(first["agreement_digest"])
        assert who.raw("POST", path, {"signature": own}).status_code in (403, 404)
    assert buyer.raw("POST", path, {"signature": good}).status_code == 200
    assert buyer.raw("POST", path, {"signature": good}).status_code == 409
    assert provider.get(f"/v1/trades/{first['trade_id']}")["state"] == "agreed"
