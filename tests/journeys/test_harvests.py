"""Catalogs of others come over on a schedule: whole or not at all, once, and never for ever."""

from __future__ import annotations

import json
import threading
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from paper import Paper
from people import USCC, Hall, Person, Refused, open_hall, until
from stall import offered
from yaosu import Client
from yaosu.errors import Conflict
from yaosu.harvest import harvester
from yaosu.harvest.harvester import Stage
from yaosu.model_harvest import Harvest, HarvestItem, HarvestRun

LOOPBACK = "127.0.0.1/32"


class Site:
    """A CKAN in a few lines, whose answers a test may spoil."""

    def __init__(self) -> None:
        self.packages: dict[str, dict[str, Any]] = {}
        self.spoil: Callable[[dict[str, Any]], Any] | None = None
        self.asked: list[dict[str, Any]] = []
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length") or 0))
                site.answer(self, self.path.rsplit("/", 1)[-1], json.loads(body or b"{}"))

            def log_message(self, *_: Any) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"
        self.server.handle_error = lambda *_: None  # type: ignore[method-assign]
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def put(self, number: int, **more: Any) -> None:
        name = f"set-{number:04}"
        self.packages[name] = {
            "id": f"00000000-0000-4000-8000-{number:012}", "name": name, "title": f"Set {number}",
            "notes": "A set of another catalog.", "license_id": "cc-by-4.0",
            "metadata_modified": "2026-01-01T00:00:00", "tags": [{"name": "统计"}],
            "extras": [], "resources": [], **more,
        }  # fmt: skip

    def answer(self, to: BaseHTTPRequestHandler, action: str, asked: dict[str, Any]) -> None:
        said: Any = "ok"
        if action == "package_search":
            self.asked.append(asked)
            found = [self.packages[k] for k in sorted(self.packages)]
            start, rows = int(asked["start"]), int(asked["rows"])
            said = {"count": len(found), "results": found[start : start + rows]}
            if self.spoil is not None:
                spoilt = self.spoil(asked)
                if callable(spoilt):
                    return spoilt(to)
                said = said if spoilt is None else spoilt
        send(to, 200, json.dumps({"help": "", "success": True, "result": said}).encode())


def send(to: BaseHTTPRequestHandler, status: int, body: bytes, **headers: str) -> None:
    to.send_response(status)
    for name, value in {"content-length": str(len(body)), **headers}.items():
        to.send_header(name, value)
    to.end_headers()
    to.wfile.write(body)


@pytest.fixture
def site() -> Iterator[Site]:
    made = Site()
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hall]:
    """A market that may reach this machine, and no other closed address."""
    with open_hall(tmp_path_factory.mktemp("house"), outgoing_allow=LOOPBACK) as found:
        yield found


@pytest.fixture
def provider(house: Hall, request: pytest.FixtureRequest) -> Person:
    return house.person(f"reaper-{abs(hash(request.node.name)) % 10**8}", "provider")


def harvest(provider: Person, url: str, **more: Any) -> str:
    body = {"url": url, "rights": "open data, terms at the source", **more}
    return str(provider.post("/v1/harvests", body)["harvest_id"])


def over(provider: Person, harvest_id: str, *, seconds: float = 60) -> dict[str, Any]:
    """Wait until no run goes on; return the report of the last."""
    base = f"/v1/harvests/{harvest_id}"
    until(lambda: provider.get(base), lambda h: not h["run_id"], seconds=seconds)
    found: dict[str, Any] = provider.get(f"{base}/runs")["items"][0]
    return found


def again(provider: Person, harvest_id: str) -> dict[str, Any]:
    provider.post(f"/v1/harvests/{harvest_id}/start")
    return over(provider, harvest_id)


def drafts(house: Hall, provider: Person) -> dict[str, dict[str, Any]]:
    found = provider.get("/v1/datasets")["items"]
    return {d["name"]: d for d in found if d["publisher"] == provider.party["slug"]}


# --- what comes --------------------------------------------------------------------------------


def test_a_second_run_brings_what_changed_and_says_what_is_gone(
    house: Hall, provider: Person, site: Site
) -> None:
    for number in range(230):
        site.put(number)
    name = harvest(provider, site.url)
    first = over(provider, name)
    assert (first["state"], first["counts"]) == ("done", {"added": 230})
    assert len(first["report"]["added"]) == first["listed"] == 200
    assert len(drafts(house, provider)) == 50  # the first page of the answer
    assert again(provider, name)["counts"] == {"unchanged": 230}

    mine = drafts(house, provider)["set-0003"]
    listing = provider.get(f"/v1/listings/{mine['versions'][0]['listing_id']}")
    kept = {**listing["descriptor"], "dataElement": {**listing["descriptor"]["dataElement"],
                                                     "scenario": "写在草稿里的话"}}  # fmt: skip
    changed = provider.raw("PUT", f"/v1/listings/{listing['listing_id']}", {"descriptor": kept})
    assert changed.status_code == 200, changed.text
    site.put(3, title="Another title", notes="Other words.")
    del site.packages["set-0004"]
    last = again(provider, name)
    assert last["counts"] == {"unchanged": 228, "changed": 1, "removed": 1}
    assert last["report"]["removed"] == ["00000000-0000-4000-8000-000000000004"]
    now = provider.get(f"/v1/listings/{listing['listing_id']}")["descriptor"]
    assert now["title"] == "Another title"
    assert now["dataElement"]["scenario"] == "写在草稿里的话"
    assert "set-0004" in drafts(house, provider)


def test_a_market_harvests_another_market(house: Hall, tmp_path: Path) -> None:
    with open_hall(tmp_path / "other", outgoing_allow=LOOPBACK) as other:
        seller = other.person("old-market", "provider", uscc=USCC[1])
        offered(other, seller, "old-corpus")
        shelf = "/api/3/action/package_search"  # what is harvested follows the books a moment later
        until(lambda: seller.get(shelf), lambda page: page["result"]["count"] == 1)
        buyer = house.person("new-market", "provider")
        name = harvest(buyer, other.address)
        run = over(buyer, name)
        assert run["counts"]["added"] == 1, run
        (found,) = drafts(house, buyer).values()
        said = buyer.get(f"/v1/listings/{found['versions'][0]['listing_id']}")["descriptor"]
        assert said["name"] == "old-corpus"
        assert said["title"]


def test_a_record_that_cannot_be_is_skipped_with_its_reason(
    house: Hall, provider: Person, site: Site
) -> None:
    site.put(1)
    site.put(2, name="", id="x-2")
    site.put(3, resources=[{"name": f"r{n}", "url": ""} for n in range(10_001)], id="x-3")
    site.put(4, resources="many", id="x-4")
    site.put(5, metadata_modified="2999-01-01T00:00:00")  # a clock far ahead
    site.put(6, id=None)
    run = over(provider, harvest(provider, site.url))
    assert run["state"] == "done"
    assert run["counts"]["added"] == 2
    why = {item["origin_id"]: item for item in run["report"]["skipped"]}
    assert "10000 resources" in why["x-3"]["message"]
    assert why["x-3"]["message_zh"]
    assert "name" in why["x-2"]["message"]
    assert any(origin.startswith("#") for origin in why)


def test_one_answer_that_is_too_large_is_left_out_and_the_rest_comes(
    house: Hall, provider: Person, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(harvester, "MAX_ANSWER", 200_000)
    for number in range(5):
        site.put(number, notes="long " * (80_000 if number == 2 else 1))
    run = over(provider, harvest(provider, site.url))
    assert run["counts"] == {"added": 4, "skipped": 1}
    assert "MiB" in run["report"]["skipped"][0]["message"]
    assert run["complete"] is False  # what it was is not known: nothing is called gone


# --- what breaks -------------------------------------------------------------------------------


def html(to: BaseHTTPRequestHandler) -> None:
    send(to, 200, b"<html><body>Welcome</body></html>", **{"content-type": "text/html"})


def inside(to: BaseHTTPRequestHandler) -> None:
    send(to, 302, b"", location="http://169.254.169.254/latest/meta-data/")


def torn(to: BaseHTTPRequestHandler) -> None:
    to.send_response(200)
    to.send_header("content-length", "1000")
    to.end_headers()
    to.wfile.write(b'{"help": "", "succ')
    to.close_connection = True


@pytest.mark.parametrize("answer", [html, inside])
def test_a_source_that_breaks_off_imports_nothing(
    house: Hall, provider: Person, site: Site, answer: Any
) -> None:
    for number in range(150):
        site.put(number)
    site.spoil = lambda asked: answer if asked["start"] >= 100 else None
    run = over(provider, harvest(provider, site.url))
    assert run["state"] == "failed"
    assert run["why"]["en"]
    assert run["why"]["zh"]
    assert run["counts"] == {}
    assert drafts(house, provider) == {}


def test_a_line_that_breaks_is_tried_again_from_the_same_page(
    house: Hall, provider: Person, site: Site
) -> None:
    for number in range(150):
        site.put(number)
    failures = iter([torn] * 2)
    site.spoil = lambda asked: next(failures, None) if asked["start"] >= 100 else None
    run = over(provider, harvest(provider, site.url))
    assert run["counts"] == {"added": 150}
    assert sum(1 for asked in site.asked if asked["start"] == 0) == 1


def test_pages_that_come_again_and_pages_without_end_are_told_apart_from_a_catalog(
    house: Hall, provider: Person, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.put(1)
    same = {"count": 1, "results": [site.packages["set-0001"]]}
    site.spoil = lambda asked: same
    run = over(provider, harvest(provider, site.url))
    assert "does not end" in run["why"]["en"]
    monkeypatch.setattr(harvester, "MAX_RECORDS", 1000)

    def endless(asked: dict[str, Any]) -> Any:
        start = int(asked["start"])
        base = site.packages["set-0001"]
        return {"results": [{**base, "id": f"i{n}", "name": f"n{n}"}
                            for n in range(start, start + 100)]}  # fmt: skip

    site.spoil = endless
    run = over(provider, harvest(provider, f"{site.url}/"))
    assert "does not end" in run["why"]["en"]
    assert drafts(house, provider) == {}


def test_a_slow_source_ends_at_the_deadline_and_one_that_hangs_can_be_stopped(
    house: Hall, provider: Person, site: Site
) -> None:
    free = threading.Event()
    name = harvest(provider, site.url)
    over(provider, name)

    def within(seconds: int) -> None:  # nobody may ask for less than ten, or would wait for it
        house.market.store.write(
            lambda tx: tx.put(replace(tx.get(Harvest, name), deadline_s=seconds))
        )
        provider.post(f"/v1/harvests/{name}/start")

    site.put(1)

    def slow(asked: dict[str, Any]) -> Any:
        free.wait(0.4)
        start = int(asked["start"])
        return {"results": [{**site.packages["set-0001"], "id": f"i{start}", "name": f"n{start}"}]}

    site.spoil = slow
    within(2)
    run = over(provider, name, seconds=40)
    assert (run["state"], run["why"]["en"]) == ("failed", "it took longer than its deadline")
    within(60)
    with pytest.raises(Refused, match="running already"):
        provider.post(f"/v1/harvests/{name}/start")
    provider.post(f"/v1/harvests/{name}/stop")
    assert over(provider, name)["state"] == "stopped"
    free.set()
    assert drafts(house, provider) == {}


def test_nothing_inside_is_reached(tmp_path: Path) -> None:
    with open_hall(tmp_path / "closed") as hall:
        provider = hall.person("curious", "provider")
        for url in ("http://127.0.0.1:8000", "https://169.254.169.254", "https://[::1]/",
                    "file:///etc/passwd", "https://a:b@example.org", "https://0x7f.1"):  # fmt: skip
            with pytest.raises(Refused) as refused:
                harvest(provider, url)
            assert refused.value.response.status_code == 422
        hall.market.gate._lookup = lambda host, port: ["10.0.0.7"]
        run = over(provider, harvest(provider, "https://data.example.org"))
        assert run["why"]["en"] == "the address is an internal one"


# --- schedule, crashes -------------------------------------------------------------------------


def test_the_schedule_begins_what_is_due_and_can_be_switched_off(
    house: Hall, provider: Person, site: Site
) -> None:
    site.put(1)
    name = harvest(provider, site.url, interval_hours=1)
    over(provider, name)

    def due(hours: int) -> None:
        def step(tx: Any) -> None:
            found = tx.get(Harvest, name)
            tx.put(replace(found, next_at=tx.now - timedelta(hours=hours)))

        house.market.store.write(step)

    due(5)
    runs = f"/v1/harvests/{name}/runs"
    until(lambda: provider.get(runs)["items"], lambda found: len(found) == 2)
    over(provider, name)
    off = provider.post(f"/v1/harvests/{name}/switch", {"on": False})
    assert (off["state"], off["next_at"]) == ("off", None)
    admin = house.admin.get("/v1/harvests")["items"]
    assert name in {h["harvest_id"] for h in admin}
    other = house.person("somebody-else", "provider")
    with pytest.raises(Refused):
        other.get(f"/v1/harvests/{name}")


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_run_goes_on_after_a_power_cut_and_imports_each_record_once(
    tmp_path: Path, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(260):
        site.put(number)
    plain, gone = harvester.judged, threading.Event()
    calls = iter(range(130))

    def dies(*more: Any) -> Any:
        if next(calls, None) is None:
            gone.set()
            raise SystemExit("power cut")  # no Exception: as if the process were gone
        return plain(*more)

    monkeypatch.setattr(harvester, "LEASE_S", 1.0)
    with open_hall(tmp_path / "data", outgoing_allow=LOOPBACK) as hall:
        provider = hall.person("persistent", "provider")
        monkeypatch.setattr(harvester, "judged", dies)
        name = harvest(provider, site.url)
        assert gone.wait(30)
        key, party = provider.key, provider.party
    monkeypatch.setattr(harvester, "judged", plain)
    pages = len(site.asked)
    with open_hall(tmp_path / "data", outgoing_allow=LOOPBACK, people=False) as hall:
        provider = Person(hall.address, key, party)
        run = over(provider, name)
        assert run["counts"] == {"added": 260}
        assert run["imported"] == 260
        assert len(site.asked) == pages  # what was fetched was not fetched again
        with hall.market.store.read() as reader:
            assert reader.count(HarvestItem, harvest_id=name) == 260
            assert reader.get(HarvestRun, run["run_id"]).leased_until is None


def test_a_torn_line_of_what_was_fetched_is_dropped(tmp_path: Path) -> None:
    stage = Stage(tmp_path / "run.jsonl")
    stage.add(2, [{"origin_id": "a"}, {"origin_id": "b"}])
    with (tmp_path / "run.jsonl").open("ab") as file:
        file.write(b'{"next": 4, "items": [{"origin')
    fresh = Stage(tmp_path / "run.jsonl")
    assert fresh.resume()[:2] == (2, 2)
    fresh.add(3, [{"origin_id": "c"}])
    assert [[i["origin_id"] for i in b] for b in fresh.batches(1, 5)] == [["b", "c"]]


def test_a_provider_adds_a_harvest_on_a_page_and_reads_its_report(
    house: Hall, provider: Person, site: Site
) -> None:
    site.put(1)
    site.put(2, name="", id="x-2")
    who = Paper(house.address, "en")
    assert provider.key
    who.log_in(provider.key)
    page = who.get("/harvests")
    assert page.says("No harvest yet.")
    refused = who.send(page, "/harvests", url="http://10.0.0.1/", rights="r")
    assert refused.status == 422
    assert refused.says("this address is not taken")
    made = who.send(page, "/harvests", url=site.url, rights="open data <b>", interval_hours="6")
    told = until(lambda: who.get(made.url.path), lambda p: p.says("done"), seconds=30, every=0.2)
    assert told.says("every 6 h")
    assert told.says("00000000-0000-4000-8000-000000000001")
    assert told.says("open data <b>")
    zh = Paper(house.address, "zh")
    zh.log_in(provider.key)
    seen = zh.get(made.url.path)
    assert seen.says("完成")
    assert seen.says("缺少 `name`")
    off = who.send(told, f"{made.url.path}/off")
    assert off.says("Switch on")
    stranger = Paper(house.address, "en")
    key = house.person("onlooker-of-harvests", "provider").key
    assert key
    stranger.log_in(key)
    assert stranger.get(made.url.path).status == 404


def test_the_client_harvests_under_an_id_of_its_own(
    house: Hall, provider: Person, site: Site
) -> None:
    site.put(1)
    own = "hvs_" + uuid.uuid4().hex
    with Client(house.address, provider.key) as market:
        with market.naming(own):
            made = market.harvests.add(site.url, "open data", interval_hours=0)
        assert made["harvest_id"] == own
        first = market.harvests.wait(own, seconds=60)
        assert first["report"]["added"] == ["00000000-0000-4000-8000-000000000001"]
        assert market.harvests.run(own, first["run_id"]) == first
        site.put(2)
        assert market.harvests.start(own)["run_id"]
        market.harvests.wait(own, seconds=60)
        assert len(list(market.harvests.runs(own))) == 2
        assert market.harvests.switch(own, False, interval_hours=48)["interval_hours"] == 48
        with pytest.raises(Conflict):
            market.harvests.stop(own)
        assert [h["harvest_id"] for h in market.harvests] == [own]
        assert market.harvests.get(own)["state"] == "off"
