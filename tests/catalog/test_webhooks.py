"""Webhooks: signed, in order, nothing left out, and one that is down is nobody else's trouble."""

from __future__ import annotations

import base64
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from standardwebhooks import Webhook

from paper import Paper
from people import USCC, Hall, Person, open_hall, small_corpus, until
from receiver import Got, receiver
from stall import offered, sold_as

LOOPBACK = "127.0.0.0/8"


@dataclass(frozen=True)
class Stall:
    """A market on which one corpus is for sale."""

    hall: Hall
    provider: Person
    buyer: Person
    listing: str


@pytest.fixture(scope="module")
def stall(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stall]:
    folder = tmp_path_factory.mktemp("hall") / "data"
    with open_hall(folder, outgoing_allow=LOOPBACK) as hall:
        provider = hall.person("hook-provider", "provider", uscc=USCC[0])
        listing = offered(hall, provider)
        yield Stall(hall, provider, hall.person("hook-buyer", "buyer"), listing)


def state_of(person: Person, hook: dict[str, str], **query: str) -> list[dict[str, object]]:
    path = f"/v1/webhooks/{hook['webhook_id']}/deliveries"
    found: list[dict[str, object]] = person.get(path, params=query)["items"]
    return found


def test_a_trade_arrives_signed_whole_and_in_order(stall: Stall) -> None:
    hall, buyer = stall.hall, stall.buyer
    with receiver() as inbox:
        made = buyer.post("/v1/webhooks", {"url": inbox.url, "topics": ["trade.*"]})
        trade = buyer.buy(stall.listing)
        hall.pay(trade)
        trade = buyer.wait(trade["trade_id"], "delivered")
        events = buyer.get(f"/v1/trades/{trade['trade_id']}/events")["items"]
        until(lambda: inbox.got, lambda got: len(got) >= len(events))
        buyer.post(f"/v1/webhooks/{made['webhook_id']}/remove")
    hook = Webhook(made["secret"])
    seen = [hook.verify(g.body, g.headers) for g in inbox.got]
    assert [s["data"] for s in seen] == events
    assert {s["specversion"] for s in seen} == {"1.0"}
    assert [s["id"] for s in seen] == inbox.ids
    assert {g.headers["content-type"] for g in inbox.got} == {"application/cloudevents+json"}


def test_a_record_in_the_form_of_an_exchange_comes_along_with_the_events_of_a_trade(
    stall: Stall,
) -> None:
    buyer = stall.buyer
    unknown = buyer.raw(
        "POST", "/v1/webhooks", {"url": "http://127.0.0.1:9/", "topics": ["*"], "form": "x"}
    )
    assert (unknown.status_code, unknown.json()["field"]) == (422, "form")
    with receiver() as inbox:
        asked = {"url": inbox.url, "topics": ["trade.*", "party.*"], "form": "generic"}
        made = buyer.post("/v1/webhooks", asked)
        trade = buyer.buy(stall.listing)
        stall.hall.pay(trade)
        place = f"/v1/trades/{trade['trade_id']}"
        buyer.wait(trade["trade_id"], "delivered")
        count = len(buyer.get(f"{place}/events")["items"])
        until(
            lambda: [e for e in inbox.got if e.event["subject"] == trade["trade_id"]],
            lambda got: len(got) >= count,
        )
        buyer.post(f"/v1/webhooks/{made['webhook_id']}/remove")
    told = [g.event["data"] for g in inbox.got if g.event["subject"] == trade["trade_id"]]
    assert {t["form"] for t in told} == {"generic"}
    assert told[-1]["record"] == buyer.get(f"{place}/record", params={"form": "generic"})
    assert all("record" not in g.event["data"] for g in inbox.got if g.event["subject"] == buyer.id)


def test_a_stranger_is_sent_nothing_of_the_trades_of_others(stall: Stall) -> None:
    other = stall.hall.person("hook-other", "buyer")
    with receiver() as mine, receiver() as theirs:
        hook = stall.buyer.post("/v1/webhooks", {"url": mine.url, "topics": ["*"]})
        alien = other.post("/v1/webhooks", {"url": theirs.url, "topics": ["*"]})
        stall.buyer.buy(stall.listing)
        until(lambda: mine.got, lambda got: len(got) >= 3)
        own = until(lambda: theirs.got, lambda got: len(got) >= 1)
        time.sleep(0.5)
        assert {g.event["subject"] for g in own} == {other.id}
        path = f"/v1/webhooks/{hook['webhook_id']}"
        assert other.raw("GET", path).status_code == 404
        assert other.raw("POST", f"{path}/rotate", {}).status_code == 404
        stall.buyer.post(f"{path}/remove")
        other.post(f"/v1/webhooks/{alien['webhook_id']}/remove")


def test_an_ed25519_webhook_needs_no_shared_secret(stall: Stall) -> None:
    with receiver() as inbox:
        made = stall.buyer.post(
            "/v1/webhooks", {"url": inbox.url, "topics": ["party.x"], "scheme": "v1a"}
        )
        stall.buyer.post(f"/v1/webhooks/{made['webhook_id']}/ping")
        got = until(lambda: inbox.got, bool)[0]
    assert "secret" not in made
    key = Ed25519PublicKey.from_public_bytes(base64.b64decode(made["public_key"][5:]))
    version, _, value = got.headers["webhook-signature"].partition(",")
    assert version == "v1a"
    text = f"{got.headers['webhook-id']}.{got.headers['webhook-timestamp']}.".encode()
    key.verify(base64.b64decode(value), text + got.body)


def test_after_a_rotation_both_secrets_verify(stall: Stall) -> None:
    with receiver() as inbox:
        made = stall.buyer.post("/v1/webhooks", {"url": inbox.url, "topics": ["party.x"]})
        path = f"/v1/webhooks/{made['webhook_id']}"
        fresh = stall.buyer.post(f"{path}/rotate")
        stall.buyer.post(f"{path}/ping")
        got = until(lambda: inbox.got, bool)[0]
    assert made["secret"] != fresh["secret"]
    for secret in (made["secret"], fresh["secret"]):
        assert Webhook(secret).verify(got.body, got.headers)["type"] == "yaosu.ping"


def test_a_secret_is_shown_once_and_kept_nowhere_in_the_store(stall: Stall) -> None:
    key = uuid.uuid4().hex
    body = {"url": "http://127.0.0.1:9/", "topics": ["*"]}
    first, again = (
        stall.buyer.post("/v1/webhooks", body, headers={"idempotency-key": key}) for _ in range(2)
    )
    assert first["secret"].startswith("whsec_")
    assert again["secret"] is None
    raw = first["secret"].removeprefix("whsec_").encode()
    folder = stall.hall.market.settings.folder
    holding = [p for p in folder.rglob("*") if p.is_file() and raw in p.read_bytes()]
    assert holding == []
    assert "secret" not in stall.buyer.get(f"/v1/webhooks/{first['webhook_id']}")
    stall.buyer.post(f"/v1/webhooks/{first['webhook_id']}/remove")


def test_a_replay_sends_the_same_ids_again_and_pausing_loses_nothing(stall: Stall) -> None:
    with receiver() as inbox:
        made = stall.buyer.post("/v1/webhooks", {"url": inbox.url, "topics": ["trade.*"]})
        path = f"/v1/webhooks/{made['webhook_id']}"
        stall.buyer.post(f"{path}/pause")
        trade = stall.buyer.buy(stall.listing)
        events = stall.buyer.get(f"/v1/trades/{trade['trade_id']}/events")["items"]
        time.sleep(0.6)
        assert inbox.got == []
        stall.buyer.post(f"{path}/resume")
        until(lambda: inbox.got, lambda got: len(got) == len(events))
        stall.buyer.post(f"{path}/replay", {"event_id": events[1]["event_id"]})
        until(lambda: inbox.got, lambda got: len(got) == 2 * len(events) - 1)
        assert inbox.ids[len(events) :] == inbox.ids[1 : len(events)]
        assert [e["event_id"] for e in events] == [
            g.event["data"]["event_id"] for g in inbox.got[: len(events)]
        ]
        future = stall.buyer.raw("POST", f"{path}/replay", {"event_id": 10**9})
        assert future.status_code == 404
        stall.buyer.post(f"{path}/remove")


def test_a_receiver_that_hangs_delays_the_others_by_less_than_a_second(stall: Stall) -> None:
    def hang(got: Got) -> tuple[int, dict[str, str], bytes]:
        time.sleep(8)
        return 200, {}, b""

    hall, provider = stall.hall, stall.provider
    with receiver() as slow, receiver() as quick:
        slow.answer = hang
        hanging = [
            stall.buyer.post("/v1/webhooks", {"url": slow.url, "topics": ["*"]}) for _ in range(5)
        ]
        hook = provider.post("/v1/webhooks", {"url": quick.url, "topics": ["trade.*"]})
        before = time.monotonic()
        trade = stall.buyer.buy(stall.listing)
        events = stall.buyer.get(f"/v1/trades/{trade['trade_id']}/events")["items"]
        bought = time.monotonic()
        until(lambda: quick.got, lambda got: len(got) >= len(events), every=0.01)
        # 0.25 s until the log has the events, 0.25 s until the courier looks again
        assert quick.got[len(events) - 1].at - bought < 1.5, bought - before
        for one in hanging:
            stall.buyer.post(f"/v1/webhooks/{one['webhook_id']}/remove")
        provider.post(f"/v1/webhooks/{hook['webhook_id']}/remove")
    assert hall.market.fatal is None


def test_a_dead_letter_is_seen_and_sent_again(stall: Stall) -> None:
    with receiver() as inbox:
        inbox.answer = lambda got: (500, {}, b"")
        made = stall.buyer.post("/v1/webhooks", {"url": inbox.url, "topics": ["party.x"]})
        path = f"/v1/webhooks/{made['webhook_id']}"
        lost = stall.buyer.post(f"{path}/ping")
        until(lambda: state_of(stall.buyer, made, state="dead"), bool)
        inbox.answer = lambda got: (200, {}, b"ok")
        stall.buyer.post(f"{path}/deliveries/{lost['message_id']}/retry")
        found = until(lambda: state_of(stall.buyer, made, state="delivered"), bool)[0]
        assert [a["status"] for a in found["attempts"]] == [500, 200]  # type: ignore[attr-defined]
        assert inbox.ids == [lost["event_id"]] * 2
        answer = stall.buyer.raw("POST", f"{path}/deliveries/{lost['message_id']}/retry", {})
        assert answer.status_code == 409


def test_who_is_not_verified_has_nothing_sent_to_others(stall: Stall) -> None:
    made = stall.hall.stranger.post(
        "/v1/parties", {"slug": "new-one", "name": "n", "member": "m", "roles": ["buyer"]}
    )
    unknown = Person(stall.hall.address, made["key"], made["party"])
    body = {"url": "http://127.0.0.1:9/", "topics": ["*"]}
    assert unknown.raw("POST", "/v1/webhooks", body).status_code == 403


def test_what_is_no_topic_or_no_address_is_refused_by_name(stall: Stall) -> None:
    good = {"url": "http://127.0.0.1:9/", "topics": ["*"]}
    for field, wrong in (
        ("topics", ["trades"]),
        ("topics", ["trade.*", "x.y"]),
        ("url", "ftp://127.0.0.1/"),
        ("url", "https://user:pass@example.org/"),
        ("url", "https://10.0.0.1/"),
        ("url", "https://exa\u202ample.org/"),
        ("scheme", "v2"),
    ):
        answer = stall.buyer.raw("POST", "/v1/webhooks", {**good, field: wrong})
        assert answer.status_code in (400, 422), (field, wrong, answer.text)


def test_a_webhook_is_looked_after_on_pages_in_both_languages(stall: Stall) -> None:
    assert stall.buyer.key
    with receiver() as inbox:
        who = Paper(stall.hall.address, "en")
        who.log_in(stall.buyer.key)
        page = who.send(
            who.get("/webhooks"), "/webhooks", url=inbox.url, topics="party.*", description="d"
        )
        assert page.status == 201
        assert page.says("whsec_")
        path = next(f.action for f in page.forms if f.action.endswith("/ping"))
        here = path.removesuffix("/ping")
        assert not who.get(here).says("whsec_"), "shown once"
        until(lambda: inbox.got, bool)
        inbox.answer = lambda got: (500, {}, b"")
        who.send(who.get(here), f"{here}/ping")
        page = until(lambda: who.get(here), lambda p: p.says("Send once more"), every=0.2)
        inbox.answer = lambda got: (204, {}, b"")
        who.send(page, f"{here}/retry")
        until(lambda: who.get(here), lambda p: not p.says("Send once more"), every=0.2)
        assert who.send(who.get(here), f"{here}/rotate").says("whsec_")
        who.send(who.get(here), f"{here}/replay", event_id="0")
        assert who.send(who.get(here), f"{here}/pause").says("paused")
        chinese = Paper(stall.hall.address, "zh")
        chinese.log_in(stall.buyer.key)
        assert chinese.get(here).says("已暂停")
        who.send(who.get(here), f"{here}/remove")
        assert who.get(here).status == 404
        refused = who.send(who.get("/webhooks"), "/webhooks", url="https://10.0.0.1/", topics="*")
        assert refused.status == 422
        assert refused.says("internal")


def test_an_exchange_is_sent_what_happens_at_its_own_place(stall: Stall) -> None:
    hall = stall.hall
    here, elsewhere = hall.exchange("hook-venue"), hall.exchange("other-venue")
    with receiver() as own, receiver() as alien:
        here.post("/v1/webhooks", {"url": own.url, "topics": ["trade.*"]})
        elsewhere.post("/v1/webhooks", {"url": alien.url, "topics": ["trade.*"]})
        descriptor, data = small_corpus(stall.provider, "at-a-venue")
        stall.provider.upload(data)
        listing = sold_as(hall, stall.provider, descriptor, by=here, venue="hook-venue")
        trade = stall.buyer.buy(listing)
        events = stall.buyer.get(f"/v1/trades/{trade['trade_id']}/events")["items"]
        until(lambda: own.got, lambda got: len(got) >= len(events))
        assert {g.event["subject"] for g in own.got} == {trade["trade_id"]}
        assert alien.got == []
