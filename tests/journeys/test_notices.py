"""People are told: saved searches, watches, what they bought, their own trades; once each."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Callable
from typing import Any

import httpx2
import pytest

from paper import Paper
from people import USCC, Hall, Person, Refused, small_corpus, until
from stall import sold_as
from yaosu.model_notices import Follower

ATOM = "{http://www.w3.org/2005/Atom}"


def offered(hall: Hall, provider: Person, name: str, **changes: Any) -> str:
    """List a small corpus under a standing offer; returns its listing id."""
    descriptor, data = small_corpus(provider, name)
    descriptor.update(changes)
    provider.upload(data)
    return sold_as(hall, provider, descriptor)


def next_version(hall: Hall, provider: Person, listing_id: str, version: str, **price: Any) -> str:
    """List the next version of a dataset."""
    old = provider.get(f"/v1/listings/{listing_id}")
    descriptor = {**old["descriptor"], "version": version}
    if price:
        element = descriptor["dataElement"]
        offer = {**element["offer"], "pricing": [{**element["offer"]["pricing"][0], **price}]}
        descriptor["dataElement"] = {**element, "offer": offer}
    made = provider.post(f"/v1/datasets/{old['dataset_id']}/versions", {"descriptor": descriptor})
    fresh = made["listing"]["listing_id"]
    assert provider.submit(fresh)["state"] == "review"
    provider.offer(fresh)
    hall.listed(provider, fresh)
    return str(fresh)


def told(who: Person, **where: Any) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = who.get("/v1/notices", params=where)["items"]
    return found


def until_told(who: Person, there: Callable[[dict[str, Any]], bool], **where: Any) -> Any:
    """Return the first notice that is so, as soon as it is there."""
    found = until(lambda: [n for n in told(who, **where) if there(n)], bool, seconds=30)
    return found[0]


def settled(hall: Hall) -> None:
    """Wait until every event has been looked at and no job is left."""

    def quiet() -> bool:
        with hall.market.store.read() as reader:
            now = hall.market.clock.now()
            busy = [*reader.jobs(state="ready"), *reader.jobs(state="leased")]
            mine = reader.get(Follower, "notices")
            looked = not reader.log_waiting() and mine.leaf == reader.log_size()
            return looked and not [job for job in busy if job.run_at <= now]

    until(quiet, bool, seconds=30)


@pytest.fixture(scope="module")
def provider(hall: Hall) -> Person:
    return hall.person("lingnan", "provider", uscc=USCC[0])


@pytest.fixture(scope="module")
def shared(hall: Hall, provider: Person) -> str:
    """One version on the market, whose title is up to no good."""
    return offered(hall, provider, "shared-zh", title="<script>alert(1)</script> & ]]> 巡检")


def suspend_and_resume(hall: Hall, listing: str) -> None:
    hall.reviewer.post(f"/v1/listings/{listing}/suspend", {"reason": "r"})
    hall.reviewer.post(f"/v1/listings/{listing}/resume")


def watch(who: Person, listing: str, *, on: bool = True) -> int:
    dataset = who.get(f"/v1/listings/{listing}")["dataset_id"]
    return who.raw("PUT", f"/v1/datasets/{dataset}/watch", {"on": on}).status_code


def test_owners_and_watchers_are_told_what_becomes_of_a_dataset(any_hall: Hall) -> None:
    hall = any_hall
    provider = hall.person("lingnan", "provider", uscc=USCC[0])
    owner, silent, watcher = (hall.person(n, "buyer") for n in ("owner", "silent", "watcher"))
    listing = offered(hall, provider, "bought-zh")
    for who in (owner, silent):
        hall.pay(who.buy(listing))
    assert watch(silent, listing, on=False) == 200
    assert watch(watcher, listing) == 200
    second = next_version(hall, provider, listing, "1.1.0", price_fen=20_002)
    bought = until_told(owner, lambda n: n["kind"] == "version")
    assert bought["facts"]["bought"] == "1.0.0"
    assert bought["facts"]["version"] == "1.1.0"
    seen = until_told(watcher, lambda n: n["kind"] == "version")
    assert seen["facts"]["changed"] == ["price"]
    assert seen["facts"]["change"] == "minor"
    settled(hall)
    assert not told(silent, kind="version")
    hall.reviewer.post(f"/v1/listings/{second}/suspend", {"reason": "complaint"})
    until_told(watcher, lambda n: n["facts"].get("event") == "suspend")
    until_told(owner, lambda n: n["facts"].get("event") == "suspend")
    hall.reviewer.post(f"/v1/listings/{second}/resume")
    provider.post(f"/v1/listings/{second}/recall", {"reason": "a wrong column"})
    until_told(watcher, lambda n: n["kind"] == "recall")
    settled(hall)
    events = {n["facts"]["event"] for n in told(watcher)}
    assert events == {"recalled", "resume", "suspend", "list"}  # that v1 gave way is no news


def test_the_sides_of_a_trade_are_told_what_the_other_did(
    hall: Hall, provider: Person, shared: str
) -> None:
    buyer = hall.person("side", "buyer")
    keyless = hall.second(buyer)
    trade = buyer.buy(shared)
    hall.pay(trade)
    buyer.wait(trade["trade_id"], "delivered")
    until_told(buyer, lambda n: n["facts"]["event"] == "deliver_done")
    settled(hall)
    mine = [n for n in told(provider, kind="trade") if n["subject_id"] == trade["trade_id"]]
    assert mine[-1]["facts"]["event"] == "intent"
    assert "side 公司" in mine[-1]["text"]
    assert "paid" in [n["facts"]["event"] for n in mine]
    assert "intent" not in [n["facts"]["event"] for n in told(buyer)]
    assert told(keyless) == []  # a key without the role sees none of it
    with pytest.raises(Refused, match="404"):
        keyless.post(f"/v1/notices/{told(buyer)[0]['notice_id']}/read")


def test_notices_are_read_counted_left_out_and_fed(hall: Hall, shared: str) -> None:
    buyer = hall.person("reader", "buyer")
    assert watch(buyer, shared) == 200
    suspend_and_resume(hall, shared)
    until(lambda: told(buyer), lambda found: len(found) == 2)
    assert buyer.get("/v1/inbox")["unread"] == 2
    newest = told(buyer)[0]
    assert buyer.post(f"/v1/notices/{newest['notice_id']}/read")["read"] is True
    assert len(told(buyer, unread=True)) == buyer.get("/v1/inbox")["unread"] == 1
    buyer.post(f"/v1/notices/{newest['notice_id']}/read", {"read": False})
    assert buyer.post("/v1/notices/read", {"kind": "withdrawal"}) == {"read": 2, "unread": 0}

    links = buyer.post("/v1/inbox/feed")["feed"]
    assert buyer.get("/v1/inbox")["feed"] == links
    feed = httpx2.get(links["atom"])
    assert feed.headers["content-type"].startswith("application/atom+xml")
    entries = ET.fromstring(feed.content).findall(f"{ATOM}entry")
    assert len(entries) == 2
    assert "<script>alert(1)</script> & ]]> 巡检" in str(entries[0].findtext(f"{ATOM}title"))
    assert len(httpx2.get(links["json"]).json()["items"]) == 2
    fresh = buyer.post("/v1/inbox/feed")["feed"]
    assert httpx2.get(links["atom"]).status_code == 404
    assert httpx2.get(fresh["atom"]).status_code == 200
    assert httpx2.get(fresh["atom"].replace(".atom", "x.atom")).status_code == 404
    buyer.raw("DELETE", "/v1/inbox/feed")
    assert httpx2.get(fresh["atom"]).status_code == 404

    buyer.raw("PUT", "/v1/inbox", {"muted": ["withdrawal"]})
    suspend_and_resume(hall, shared)
    settled(hall)
    assert len(told(buyer)) == 2


def test_a_feed_is_dead_once_its_person_has_no_key(hall: Hall) -> None:
    buyer = hall.person("leaver", "buyer")
    links = buyer.post("/v1/inbox/feed")["feed"]
    assert httpx2.get(links["atom"]).status_code == 200
    key = buyer.get("/v1/keys")["items"][0]["key_id"]
    buyer.post(f"/v1/keys/{key}/revoke")
    assert httpx2.get(links["atom"]).status_code == 404


def test_a_private_listing_is_told_to_those_who_are_invited_alone(
    hall: Hall, provider: Person
) -> None:
    invited, stranger = hall.person("invited", "buyer"), hall.person("stranger", "buyer")
    for who in (invited, stranger):
        who.post("/v1/searches", {"name": "all", "q": "secret-zh"})
    descriptor, data = small_corpus(provider, "secret-zh")
    provider.upload(data)
    listing = sold_as(hall, provider, descriptor, view_policy="private", invited=[invited.id])
    until_told(invited, lambda n: n["kind"] == "invitation")
    until_told(invited, lambda n: n["kind"] == "search")
    settled(hall)
    assert told(stranger) == []
    dataset = provider.get(f"/v1/listings/{listing}")["dataset_id"]
    assert stranger.raw("PUT", f"/v1/datasets/{dataset}/watch", {}).status_code == 404
    assert invited.raw("PUT", f"/v1/datasets/{dataset}/watch", {}).status_code == 200


def test_saved_searches_are_ones_own_named_switched_and_bounded(hall: Hall) -> None:
    buyer, other = hall.person("saver", "buyer"), hall.person("other", "buyer")
    made = buyer.post("/v1/searches", {"name": "a", "q": "x", "facets": {"modality": ["text"]}})
    path = f"/v1/searches/{made['search_id']}"
    assert buyer.raw("POST", "/v1/searches", {"name": " a ", "q": "y"}).status_code == 409
    for wrong in ({"facets": {"colour": ["red"]}}, {"sort": "loudest"}, {"name": "\u202eevil"}):
        answer = buyer.raw("POST", "/v1/searches", {"name": "b", "q": "y", **wrong})
        assert answer.status_code in (400, 422), wrong
    assert buyer.raw("PUT", path, {"name": "b", "on": False}).json()["on"] is False
    assert other.raw("PUT", path, {"on": True}).status_code == 404
    assert buyer.raw("DELETE", path).json()["removed"] is True
    assert buyer.get("/v1/searches")["items"] == []
    for n in range(50):
        buyer.post("/v1/searches", {"name": f"s{n}"})
    assert buyer.raw("POST", "/v1/searches", {"name": "one more"}).status_code == 409


def test_the_pages_save_watch_and_read_without_scripts(hall: Hall, shared: str) -> None:
    buyer = hall.person("paper", "buyer")
    who = Paper(hall.address, "en")
    assert buyer.key
    assert who.log_in(buyer.key).status == 200
    address = "/search?q=shared-zh&modality=text"
    found = until(lambda: who.get(address), lambda p: p.says("1 datasets"))
    page = who.send(found, "/searches", name="my search")
    assert page.says("The search is saved.")
    assert page.says("my search")
    page = who.get("/datasets/lingnan/shared-zh")
    page = who.send(page, "/watch")
    assert page.says("You watch this dataset.")
    assert page.says("Do not watch any more")
    suspend_and_resume(hall, shared)
    page = until(lambda: who.get("/notices"), lambda p: p.says("3 unread"))
    assert page.says("is on offer again")
    assert page.says("fits your search “my search”")  # it is on the market anew
    assert "<script>alert" not in page.response.text
    page = who.send(page, "/open")
    assert page.url.path == "/datasets/lingnan/shared-zh"
    assert who.get("/notices").says("2 unread")
    page = who.send(who.get("/searches"), "/inbox/feed")
    assert page.says("/feeds/")
    page = who.send(page, "/remove")
    assert not page.says("my search")
    assert who.get("/expiring").status == 200
