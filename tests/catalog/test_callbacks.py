"""Signed callbacks: what an exchange reports has its effect once, and nothing else has any."""

from __future__ import annotations

import base64
import itertools
import json
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx2
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from standardwebhooks import Webhook

from people import USCC, Hall, Person, open_hall, small_corpus, until
from stall import sold_as
from yaosu.exchange.statement import BEIJING
from yaosu.model import Trade

_numbers = itertools.count(1)


@dataclass
class Exchange:
    """A place of trading whose system speaks to the market by callbacks alone."""

    hall: Hall
    person: Person
    secret: str
    provider: Person
    buyer: Person
    listing: str

    def signed(self) -> dict[str, Any]:
        """Return a trade that waits to be filed."""
        found: dict[str, Any] = self.buyer.buy(self.listing)
        assert found["state"] == "signed"
        return found

    def message(self, kind: str, subject: str, data: Any, **more: Any) -> dict[str, Any]:
        return {
            "specversion": "1.0",
            "id": uuid.uuid4().hex,
            "source": "urn:test:exchange",
            "type": kind,
            "subject": subject,
            "time": datetime.now(UTC).isoformat(),
            "data": data,
            **more,
        }

    def filed(self, trade: dict[str, Any], **more: Any) -> dict[str, Any]:
        number = f"BA-{next(_numbers)}"
        return self.message("trade.filed", trade["trade_id"], {"filing_no": number}, **more)

    def paid(self, trade: dict[str, Any], **more: Any) -> dict[str, Any]:
        data = {
            "amount_fen": trade["terms"]["amount_fen"],
            "payer": trade["user"]["party_id"],
            "reference": "bank-1",
        }
        return self.message("trade.payment_confirmed", trade["trade_id"], data, **more)

    def send(
        self, message: Any, *, at: datetime | None = None, secret: str = "", name: str = ""
    ) -> httpx2.Response:
        body = message if isinstance(message, str) else json.dumps(message, ensure_ascii=False)
        at = at or datetime.now(UTC)
        name = name or message["id"]
        headers = {
            "webhook-id": name,
            "webhook-timestamp": str(int(at.timestamp())),
            "webhook-signature": Webhook(secret or self.secret).sign(name, at, body),
        }
        return self.post(body, headers)

    def post(self, body: str, headers: dict[str, str]) -> httpx2.Response:
        path = f"{self.hall.address}/v1/venues/gz-test/callbacks"
        return httpx2.post(path, content=body.encode(), headers=headers)

    def events(self, trade: dict[str, Any]) -> list[str]:
        items = self.buyer.get(f"/v1/trades/{trade['trade_id']}/events")["items"]
        return [e["type"] for e in items]


@pytest.fixture(scope="module")
def exchange(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Exchange]:
    with open_hall(tmp_path_factory.mktemp("hall") / "data") as hall:
        person = hall.exchange("gz-test", filing_required=True, certificate_required=True)
        secret = person.post("/v1/venues/gz-test/callback-keys", {})["secret"]
        provider = hall.person("seller", "provider", uscc=USCC[0])
        made = Exchange(hall, person, secret, provider, hall.person("buyer", "buyer"), "")
        descriptor, data = small_corpus(provider)
        descriptor["dataElement"]["offer"]["valid_to"] = "2029-09-01"
        provider.upload(data)
        draft = provider.draft(descriptor, venue="gz-test")["listing_id"]
        assert provider.submit(draft)["state"] == "review"
        provider.offer(draft)
        certificate = {
            "scheme": "nda",
            "number": "SJ4412026090001",
            "agency": "test",
            "registered_at": "2026-09-01",
            "valid_until": "2029-09-01",
        }
        answer = made.send(made.message("listing.certificate_issued", draft, certificate))
        assert answer.status_code == 200, answer.text
        assert answer.json()["state"] == "registered"
        person.post(f"/v1/listings/{draft}/list")
        made.listing = draft
        yield made


def test_filing_and_payment_arrive_as_signed_messages(exchange: Exchange) -> None:
    trade = exchange.signed()
    assert exchange.send(exchange.filed(trade)).json()["state"] == "filed"
    assert exchange.send(exchange.paid(trade)).json()["paid_fen"] == 10_001
    exchange.buyer.wait(trade["trade_id"], "delivered")
    with exchange.hall.market.store.read() as reader:
        assert reader.balance(f"escrow:{trade['trade_id']}") == 10_001
    items = exchange.buyer.get(f"/v1/trades/{trade['trade_id']}/events")["items"]
    actor = next(e["actor_id"] for e in items if e["type"] == "paid")
    keys = exchange.person.get("/v1/venues/gz-test/callback-keys")["items"]
    assert actor in {k["key_id"] for k in keys}, "the evidence names the key that spoke"


def test_a_replay_gets_the_recorded_reply_and_has_no_second_effect(exchange: Exchange) -> None:
    trade = exchange.signed()
    message = exchange.filed(trade)
    answers = [exchange.send(message) for _ in range(3)]
    assert {a.status_code for a in answers} == {200}
    assert len({a.content for a in answers}) == 1
    assert exchange.events(trade).count("file") == 1


def test_many_at_once_under_one_id_have_one_effect(exchange: Exchange) -> None:
    trade = exchange.signed()
    exchange.send(exchange.filed(trade))
    payment = exchange.paid(trade)
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(exchange.send, [payment] * 32))
    assert {a.status_code for a in answers} == {200}
    assert len({a.content for a in answers}) == 1
    with exchange.hall.market.store.read() as reader:
        assert reader.balance(f"escrow:{trade['trade_id']}") == 10_001
    assert exchange.events(trade).count("paid") == 1


def test_the_same_id_with_another_payload_is_refused(exchange: Exchange) -> None:
    trade = exchange.signed()
    message = exchange.filed(trade)
    exchange.send(message)
    answer = exchange.send({**message, "data": {"filing_no": "BA-other"}})
    assert (answer.status_code, answer.json()["code"]) == (422, "idempotency_reuse")


@pytest.mark.parametrize("minutes", [-6, 6, -100_000])
def test_a_message_of_another_time_is_refused(exchange: Exchange, minutes: int) -> None:
    trade = exchange.signed()
    answer = exchange.send(exchange.filed(trade), at=datetime.now(UTC) + timedelta(minutes=minutes))
    assert (answer.status_code, answer.json()["code"]) == (422, "out_of_time")
    assert "file" not in exchange.events(trade)


def test_a_payment_before_its_filing_is_refused_and_can_be_sent_again(exchange: Exchange) -> None:
    trade = exchange.signed()
    payment = exchange.paid(trade, time=(datetime.now(UTC) + timedelta(seconds=1)).isoformat())
    early = exchange.send(payment)
    assert (early.status_code, early.json()["code"]) == (409, "wrong_state")
    exchange.send(exchange.filed(trade))
    assert exchange.send(payment).status_code == 200


def test_what_happened_before_is_no_news_any_more(exchange: Exchange) -> None:
    trade = exchange.signed()
    exchange.send(exchange.filed(trade))
    old = (datetime.now(UTC) - timedelta(minutes=1)).isoformat()
    answer = exchange.send(exchange.paid(trade, time=old))
    assert (answer.status_code, answer.json()["code"]) == (409, "out_of_order")


def test_a_forged_message_is_refused_without_saying_why(exchange: Exchange) -> None:
    trade = exchange.signed()
    message = exchange.filed(trade)
    body = json.dumps(message)
    now = datetime.now(UTC)
    good = {
        "webhook-id": message["id"],
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Webhook(exchange.secret).sign(message["id"], now, body),
    }
    other = "whsec_" + base64.b64encode(b"x" * 32).decode()
    value = good["webhook-signature"].partition(",")[2]
    forged = [
        exchange.send(message, secret=other),
        exchange.post(body.replace("BA-", "BB-"), good),
        exchange.post(body, {**good, "webhook-id": "another"}),
        exchange.post(body, {**good, "webhook-timestamp": str(int(now.timestamp()) + 1)}),
        exchange.post(body, {**good, "webhook-signature": ""}),
        exchange.post(body, {**good, "webhook-signature": f"v2,{value}"}),
        exchange.post(body, {**good, "webhook-signature": f"v1a,{value}"}),
        exchange.post(body, {**good, "webhook-signature": "v1,not base64"}),
        exchange.post(body, {**good, "webhook-timestamp": "soon"}),
        exchange.post(body, {}),
    ]
    assert {f.status_code for f in forged} == {401}
    assert len({f.content for f in forged}) == 1
    assert exchange.events(trade) == exchange.events(trade)
    assert "file" not in exchange.events(trade)
    assert exchange.post(body, good).status_code == 200


def test_an_exchange_can_sign_with_a_key_of_its_own(exchange: Exchange) -> None:
    private = Ed25519PrivateKey.generate()
    public = "whpk_" + base64.b64encode(private.public_key().public_bytes_raw()).decode()
    path = "/v1/venues/gz-test/callback-keys"
    made = exchange.person.post(path, {"public_key": public})
    assert made["scheme"] == "v1a"
    assert "secret" not in made
    trade = exchange.signed()
    message = exchange.filed(trade)
    body = json.dumps(message)
    stamp = str(int(datetime.now(UTC).timestamp()))
    signature = private.sign(f"{message['id']}.{stamp}.".encode() + body.encode())
    headers = {
        "webhook-id": message["id"],
        "webhook-timestamp": stamp,
        "webhook-signature": f"v1a,{base64.b64encode(signature).decode()}",
    }
    assert exchange.post(body, headers).status_code == 200
    exchange.person.post(f"{path}/{made['key_id']}/revoke")
    assert exchange.post(body, headers).status_code == 401, "an ended key opens nothing"


def test_an_exchange_reaches_nothing_of_another_place(exchange: Exchange) -> None:
    provider = exchange.provider
    descriptor, data = small_corpus(provider, "over-the-counter")
    provider.upload(data)
    trade = exchange.buyer.buy(sold_as(exchange.hall, provider, descriptor))
    answer = exchange.send(exchange.paid(trade))
    assert answer.status_code == 404, "what is not its own does not exist for it"


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"type": "trade.cancelled"}, "invalid_input"),
        ({"specversion": "0.3"}, "invalid_input"),
        ({"id": "another"}, "invalid_input"),
        ({"subject": 7}, "invalid_input"),
        ({"time": "yesterday"}, "invalid_input"),
        ({"time": "2026-11-01T00:00:00"}, "invalid_input"),
        ({"data": {}}, "invalid_document"),
        ({"data": {"filing_no": 7}}, "invalid_document"),
        ({"data": {"filing_no": "x", "state": "settled"}}, "invalid_document"),
        ({"data": None}, "invalid_document"),
        ({"subject": "trd_" + "0" * 32}, "not_found"),
    ],
)
def test_what_is_signed_but_wrong_is_refused_by_name(
    exchange: Exchange, change: dict[str, Any], code: str
) -> None:
    trade = exchange.signed()
    message = exchange.filed(trade)
    answer = exchange.send({**message, **change}, name=message["id"])
    assert answer.json()["code"] == code
    assert answer.status_code in (404, 422)
    with exchange.hall.market.store.read() as reader:
        assert reader.get(Trade, trade["trade_id"]).state == "signed"


def test_signed_bytes_that_are_no_json_are_refused(exchange: Exchange) -> None:
    for body in ("", "{", "[1e999]", '{"a": 1, "a": 2}'):
        assert exchange.send(body, name="n-1").status_code == 400


def test_a_certificate_of_what_is_listed_renews_it(exchange: Exchange) -> None:
    certificate = {"scheme": "nda", "number": "SJ4412026090009", "valid_until": "2031-09-01"}
    message = exchange.message("listing.certificate_issued", exchange.listing, certificate)
    answer = exchange.send(message)
    assert answer.json()["certificate"]["valid_until"] == "2031-09-01", answer.text
    assert answer.json()["state"] == "listed"
    shorter = {**certificate, "valid_until": "2030-09-01"}
    answer = exchange.send(
        exchange.message("listing.certificate_issued", exchange.listing, shorter)
    )
    assert answer.status_code == 409


def test_the_payment_of_a_period_arrives_and_stands_in_the_statement(exchange: Exchange) -> None:
    provider = exchange.provider
    descriptor, data = small_corpus(
        provider, "monthly", mode="subscription", unit="月", price_fen=3_334
    )
    descriptor["dataElement"]["offer"]["valid_to"] = "2029-09-01"
    provider.upload(data)
    draft = provider.draft(descriptor, venue="gz-test")["listing_id"]
    provider.submit(draft)
    provider.offer(draft)
    certificate = {"scheme": "nda", "number": "SJ4412026090002", "valid_until": "2029-09-01"}
    exchange.send(exchange.message("listing.certificate_issued", draft, certificate))
    exchange.person.post(f"/v1/listings/{draft}/list")
    trade = exchange.buyer.buy(draft, quantity=2)
    exchange.send(exchange.filed(trade))
    path = f"/v1/trades/{trade['trade_id']}/periods"
    period = until(lambda: exchange.buyer.get(path)["items"], bool)[0]
    data = {"amount_fen": period["amount_fen"], "payer": trade["user"]["party_id"]}
    answer = exchange.send(exchange.message("period.payment_confirmed", period["period_id"], data))
    assert answer.json()["paid_fen"] == period["amount_fen"], answer.text
    day = datetime.now(BEIJING).date().isoformat()
    found = exchange.person.get("/v1/venues/gz-test/statement", params={"day": day})
    line = next(i for i in found["items"] if i["trade_id"] == trade["trade_id"])
    assert (line["paid_fen"], line["held_fen"]) == (period["amount_fen"], period["amount_fen"])
