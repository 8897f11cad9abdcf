"""The same promises of a harvest, asked of every kind of source that a schedule can name."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from people import USCC, Hall, Person, open_hall, until
from stall import offered
from yaosu import market as markets
from yaosu.harvest import harvester
from yaosu.model_harvest import Harvest, HarvestRun
from yaosu_connectors import names

LOOPBACK = "127.0.0.1/32"
OLD, NOW, LATER = "2026-01-01T00:00:00Z", "2026-02-01T00:00:00Z", "2026-03-01T00:00:00Z"
PAGE = 40
Answer = tuple[int, dict[str, str], bytes]
HTML: Answer = (200, {"content-type": "text/html"}, b"<html><body>Welcome</body></html>")
INSIDE: Answer = (302, {"location": "http://169.254.169.254/latest/meta-data/"}, b"")
ENTITIES: Answer = (
    200,
    {"content-type": "application/xml"},
    b'<?xml version="1.0"?><!DOCTYPE r [<!ENTITY a "b">]><r>&a;</r>',
)


class Site:
    """One catalog of numbered datasets, in the words of one kind of source."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.titles: dict[int, str] = {}
        self.gone: set[int] = set()
        self.dates: dict[int, str] = {}
        self.granularity = "YYYY-MM-DDThh:mm:ssZ"
        self.since: list[str] = []
        self.endless = False
        self.spoil: Callable[[int], Answer | None] = lambda place: None
        self.asked: list[str] = []
        site = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                site.reply(self, self.path, b"")

            def do_POST(self) -> None:
                length = int(self.headers.get("content-length") or 0)
                site.reply(self, self.path, self.rfile.read(length))

            def log_message(self, *_: Any) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.base = f"http://127.0.0.1:{self.server.server_address[1]}"
        self.server.handle_error = lambda *_: None  # type: ignore[method-assign]
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()

    @property
    def url(self) -> str:
        paths = {"dcat": "/catalog.ttl", "oai-pmh": "/oai", "croissant": "/sitemap.xml"}
        return self.base + paths.get(self.kind, "")

    def fill(self, count: int) -> None:
        self.titles = {n: f"Set {n}" for n in range(count)}

    def page(self, start: int, since: str = "") -> tuple[list[int], bool]:
        """Return the numbers of a page, and whether another follows."""
        if self.endless:
            return list(range(start, start + PAGE)), True
        listed = sorted(n for n in self.titles if self.dates.get(n, OLD) >= since)
        return listed[start : start + PAGE], start + PAGE < len(listed)

    def reply(self, to: BaseHTTPRequestHandler, path: str, body: bytes) -> None:
        self.asked.append(path)
        status, headers, sent = self.answer(path, body)
        to.send_response(status)
        for name, value in {"content-length": str(len(sent)), **headers}.items():
            to.send_header(name, value)
        to.end_headers()
        to.wfile.write(sent)

    def answer(self, path: str, body: bytes) -> Answer:
        query = {k: v[0] for k, v in parse_qs(urlsplit(path).query).items()}
        return getattr(self, "_" + self.kind.replace("-", "_"))(urlsplit(path).path, query, body)

    def title(self, number: int) -> str:
        return self.titles.get(number, f"Set {number}")

    def _ckan(self, path: str, query: dict[str, str], body: bytes) -> Answer:
        asked = json.loads(body or b"{}")
        said: Any = "ok"
        if path.endswith("package_search"):
            start = int(asked["start"])
            self.since.append(str(asked.get("fq", "")))
            if (spoilt := self.spoil(start)) is not None:
                return spoilt
            found, _ = self.page(start, since=self.since[-1][19:45])
            said = {"results": [
                {"id": f"id-{n}", "name": f"set-{n}", "title": self.title(n),
                 "metadata_modified": self.dates.get(n, OLD).removesuffix("Z")} for n in found
            ]}  # fmt: skip
        return 200, {}, json.dumps({"success": True, "result": said}).encode()

    def _dcat(self, path: str, query: dict[str, str], body: bytes) -> Answer:
        start = int(query.get("start", 0))
        if (spoilt := self.spoil(start)) is not None:
            return spoilt
        found, more = self.page(start)
        lines = ["@prefix dcat: <http://www.w3.org/ns/dcat#> .",
                 "@prefix dct: <http://purl.org/dc/terms/> ."]  # fmt: skip
        lines += [
            f'<https://example.org/set-{n}> a dcat:Dataset ; dct:title "{self.title(n)}" .'
            for n in found
        ]
        if more:
            lines.append("<> <http://www.w3.org/ns/hydra/core#next>"
                         f" </catalog.ttl?start={start + PAGE}> .")  # fmt: skip
        return 200, {"content-type": "text/turtle"}, "\n".join(lines).encode()

    def _oai_pmh(self, path: str, query: dict[str, str], body: bytes) -> Answer:
        head = '<?xml version="1.0"?><OAI-PMH xmlns="http://www.openarchives.org/OAI/2.0/">'
        if query["verb"] == "ListMetadataFormats":
            said = ("<ListMetadataFormats><metadataFormat><metadataPrefix>oai_dc</metadataPrefix>"
                    "</metadataFormat></ListMetadataFormats>")  # fmt: skip
            return 200, {"content-type": "text/xml"}, f"{head}{said}</OAI-PMH>".encode()
        if query["verb"] == "Identify":
            said = (f"<responseDate>{NOW}</responseDate><Identify><granularity>{self.granularity}"
                    "</granularity></Identify>")  # fmt: skip
            return 200, {"content-type": "text/xml"}, f"{head}{said}</OAI-PMH>".encode()
        start = int(query.get("resumptionToken", 0))
        self.since.append(query.get("from", ""))
        if (spoilt := self.spoil(start)) is not None:
            return spoilt
        found, more = self.page(start, since=self.since[-1])
        if not found:
            said = '<error code="noRecordsMatch"/>'
            return 200, {"content-type": "text/xml"}, f"{head}{said}</OAI-PMH>".encode()
        records = "".join(self._record(n) for n in found)
        token = f"<resumptionToken>{start + PAGE}</resumptionToken>" if more else ""
        said = f"<ListRecords>{records}{token}</ListRecords>"
        return 200, {"content-type": "text/xml"}, f"{head}{said}</OAI-PMH>".encode()

    def _record(self, number: int) -> str:
        gone = ' status="deleted"' if number in self.gone else ""
        header = (f"<header{gone}><identifier>oai:example.org:set-{number}</identifier>"
                  "<datestamp>2999-01-01T00:00:00Z</datestamp></header>")  # fmt: skip
        said = (
            '<metadata><d:dc xmlns:d="http://www.openarchives.org/OAI/2.0/oai_dc/"'
            ' xmlns:dc="http://purl.org/dc/elements/1.1/">'
            f"<dc:title>{self.title(number)}</dc:title>"
            f"<dc:identifier>https://example.org/set-{number}</dc:identifier></d:dc></metadata>"
        )
        return f"<record>{header}{'' if gone else said}</record>"

    def _croissant(self, path: str, query: dict[str, str], body: bytes) -> Answer:
        if path == "/sitemap.xml":
            listed = sorted(self.titles) if not self.endless else range(harvester.MAX_RECORDS + 1)
            urls = "".join(f"<url><loc>{self.base}/set-{n}</loc></url>" for n in listed)
            space = 'xmlns="http://www.sitemaps.org/schemas/sitemap/0.9"'
            return 200, {"content-type": "text/xml"}, f"<urlset {space}>{urls}</urlset>".encode()
        number = int(path.rpartition("-")[2])
        if (spoilt := self.spoil(number)) is not None:
            return spoilt
        said = {"@context": {"@vocab": "https://schema.org/"}, "@type": "sc:Dataset",
                "@id": f"https://example.org/set-{number}", "name": f"set-{number}",
                "alternateName": self.title(number), "dateModified": "2999-01-01",
                "conformsTo": "http://mlcommons.org/croissant/1.1"}  # fmt: skip
        return 200, {"content-type": "application/ld+json"}, json.dumps(said).encode()


@pytest.fixture(params=names("pages"))
def site(request: pytest.FixtureRequest) -> Iterator[Site]:
    made = Site(request.param)
    yield made
    made.server.shutdown()
    made.server.server_close()


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hall]:
    """A market that may reach this machine, and no other closed address; it looks often."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(markets, "HARVEST_S", 0.05)
        with open_hall(tmp_path_factory.mktemp("house"), outgoing_allow=LOOPBACK) as found:
            yield found


@pytest.fixture
def provider(house: Hall, request: pytest.FixtureRequest) -> Person:
    return house.person(f"reaper-{abs(hash(request.node.name)) % 10**8}", "provider")


def harvest(provider: Person, kind: str, url: str, **more: Any) -> str:
    body = {"kind": kind, "url": url, "rights": "open data, terms at the source", **more}
    return str(provider.post("/v1/harvests", body)["harvest_id"])


def over(provider: Person, harvest_id: str) -> dict[str, Any]:
    base = f"/v1/harvests/{harvest_id}"
    until(lambda: provider.get(base), lambda h: not h["run_id"], seconds=60)
    found: dict[str, Any] = provider.get(f"{base}/runs")["items"][0]
    return found


def again(provider: Person, harvest_id: str) -> dict[str, Any]:
    provider.post(f"/v1/harvests/{harvest_id}/start")
    return over(provider, harvest_id)


def drafts(provider: Person) -> list[str]:
    found = provider.get("/v1/datasets")["items"]
    return [d["name"] for d in found if d["publisher"] == provider.party["slug"]]


def due(house: Hall, provider: Person, harvest_id: str, **facts: Any) -> dict[str, Any]:
    """Let the time of the next run come, and return that run."""
    before = len(provider.get(f"/v1/harvests/{harvest_id}/runs")["items"])

    def step(tx: Any) -> None:
        found = tx.get(Harvest, harvest_id)
        tx.put(replace(found, next_at=tx.now - timedelta(hours=1), **facts))

    house.market.store.write(step)
    runs = f"/v1/harvests/{harvest_id}/runs"
    until(lambda: len(provider.get(runs)["items"]), lambda n: n > before, seconds=60)
    return over(provider, harvest_id)


# --- what comes --------------------------------------------------------------------------------


def test_all_pages_come_once_then_what_changed_and_what_is_gone(
    provider: Person, site: Site
) -> None:
    site.fill(2 * PAGE + 5)
    name = harvest(provider, site.kind, site.url)
    first = over(provider, name)
    assert (first["state"], first["counts"], first["why"]) == ("done", {"added": 85}, None)
    assert again(provider, name)["counts"] == {"unchanged": 85}
    site.titles[3] = "Another title"
    if site.kind == "oai-pmh":
        site.gone.add(4)  # it says so itself
    else:
        del site.titles[4]
    last = again(provider, name)
    assert last["counts"] == {"unchanged": 83, "changed": 1, "removed": 1}
    (origin,) = last["report"]["removed"]
    assert origin.endswith("4")
    (changed,) = last["report"]["changed"]
    assert changed.endswith("3")


@pytest.mark.parametrize("site", ["ckan", "oai-pmh"], indirect=True)
def test_a_due_run_asks_for_what_has_changed_and_a_whole_one_sees_what_went_silently(
    house: Hall, provider: Person, site: Site
) -> None:
    site.fill(PAGE + 5)
    site.dates[7] = NOW
    site.dates[8] = "2999-01-01T00:00:00Z"  # a clock that is wrong hides nothing
    name = harvest(provider, site.kind, site.url)
    assert over(provider, name)["counts"] == {"added": 45}
    site.titles[3], site.dates[3] = "Another title", LATER
    del site.titles[5]  # says nothing about it
    if site.kind == "oai-pmh":
        site.gone.add(9)
        site.dates[9] = LATER
    asked = len(site.since)
    second = due(house, provider, name)
    said = {"changed": 1, "removed": 1} if site.kind == "oai-pmh" else {"changed": 1}
    assert {k: n for k, n in second["counts"].items() if k != "unchanged"} == said
    assert second["since"][:19] == NOW[:19]
    assert second["fetched"] <= 4
    assert all(site.since[asked:])  # never for all
    silent = due(house, provider, name, whole_at=None)
    assert silent["since"] == ""
    assert len(silent["report"]["removed"]) == (2 if site.kind == "oai-pmh" else 1)
    site.dates.clear()
    assert due(house, provider, name)["counts"].keys() <= {"unchanged"}  # nothing matches
    assert again(provider, name)["since"] == ""  # by hand: all


@pytest.mark.parametrize("site", ["oai-pmh"], indirect=True)
def test_a_repository_is_asked_in_its_own_granularity_or_for_all(
    house: Hall, provider: Person, site: Site
) -> None:
    site.fill(3)
    site.granularity = "YYYY-MM-DD"
    name = harvest(provider, site.kind, site.url)
    over(provider, name)
    assert due(house, provider, name)["since"] == NOW[:10]
    site.granularity = "a fortnight"
    again(provider, name)
    assert due(house, provider, name)["counts"] == {"unchanged": 3}


def test_a_run_goes_on_with_the_page_that_it_had_not_seen(
    provider: Person, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(harvester, "TURN_S", 0.0)  # every page is a turn of its own
    site.fill(2 * PAGE + 5)
    assert over(provider, harvest(provider, site.kind, site.url))["counts"] == {"added": 85}
    others = ("site_read", "sitemap.xml", "Formats", "Identify")
    pages = [a for a in site.asked if not a.endswith(others)]
    assert len(pages) == len(set(pages)) or site.kind == "ckan"


# --- what breaks -------------------------------------------------------------------------------


@pytest.mark.parametrize("spoilt", [HTML, INSIDE, ENTITIES, (200, {}, b""), (200, {}, b"\x00[{<")])
def test_a_source_that_breaks_off_imports_nothing_and_says_why(
    provider: Person, site: Site, spoilt: Answer
) -> None:
    site.fill(PAGE + 5)
    site.spoil = lambda place: spoilt if place >= PAGE else None
    run = over(provider, harvest(provider, site.kind, site.url))
    if site.kind == "croissant":  # each address stands for itself: what is wrong concerns it alone
        assert run["counts"] == {"added": PAGE, "skipped": 5}
        assert all(s["message"] and s["message_zh"] for s in run["report"]["skipped"])
        return
    assert (run["state"], run["counts"]) == ("failed", {})
    assert run["why"]["en"]
    assert run["why"]["zh"]
    assert drafts(provider) == []


def test_pages_in_a_circle_and_pages_without_end_are_told_apart_from_a_catalog(
    provider: Person, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(harvester, "MAX_RECORDS", 300)
    site.endless = True
    run = over(provider, harvest(provider, site.kind, site.url))
    assert "does not end" in run["why"]["en"]
    if site.kind != "croissant":  # a list has no next page
        plain, second = site.page, "/" if site.kind == "ckan" else "?x=1"
        site.page = lambda *_, **__: (plain(0)[0], True)  # type: ignore[method-assign]
        run = over(provider, harvest(provider, site.kind, site.url + second))
        assert "does not end" in run["why"]["en"]
    assert drafts(provider) == []


def test_only_the_host_that_was_named_is_asked(provider: Person, site: Site) -> None:
    site.fill(3)
    away = f"http://localhost:{site.server.server_address[1]}"
    if site.kind == "croissant":
        site.base = away  # the map names addresses of another host
        run = over(
            provider, harvest(provider, site.kind, site.url.replace("localhost", "127.0.0.1"))
        )
        assert run["counts"] == {"skipped": 3}
        return
    site.spoil = lambda place: (307, {"location": f"{away}/elsewhere"}, b"")
    run = over(provider, harvest(provider, site.kind, site.url))
    assert run["state"] == "failed"
    assert not any(a.startswith("/elsewhere") for a in site.asked)


def test_a_redirect_within_the_host_is_followed_unless_it_is_of_a_post(
    provider: Person, site: Site
) -> None:
    site.fill(3)
    plain = site.answer

    def moved(path: str, body: bytes) -> Answer:
        if not path.startswith("/new"):
            return 301, {"location": f"/new{path}"}, b""
        return plain(path.removeprefix("/new"), body)

    site.answer = moved  # type: ignore[method-assign]
    run = over(provider, harvest(provider, site.kind, site.url))
    if site.kind == "ckan":  # its client posts
        assert run["state"] == "failed"
        assert drafts(provider) == []
        return
    assert run["counts"] == {"added": 3}


def test_a_source_that_is_away_for_a_moment_is_asked_again(provider: Person, site: Site) -> None:
    site.fill(PAGE + 5)
    failures = iter([(503, {}, b"later")] * 2)
    site.spoil = lambda place: next(failures, None) if place >= PAGE else None
    assert over(provider, harvest(provider, site.kind, site.url))["counts"] == {"added": PAGE + 5}


def test_a_run_that_waits_for_its_source_leaves_the_market_in_peace(
    provider: Person, house: Hall, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, written = house.market.store, []
    plain = store.write

    def counted(step: Callable[[Any], Any]) -> Any:
        if threading.current_thread().name == "harvest":
            written.append(step)
        return plain(step)

    monkeypatch.setattr(store, "write", counted)
    name = harvest(provider, "dcat", "http://127.0.0.1:9/catalog.ttl")  # nobody answers there
    runs = f"/v1/harvests/{name}/runs"
    until(lambda: store_run(house, name).failures, lambda n: n >= 1)
    before = len(written)
    waited = store_run(house, name)
    assert waited.not_before is not None
    time.sleep(1)
    assert len(written) == before
    provider.post(f"/v1/harvests/{name}/stop")
    over(provider, name)
    assert provider.get(runs)["items"][0]["state"] == "stopped"


def store_run(house: Hall, harvest_id: str) -> HarvestRun:
    with house.market.store.read() as reader:
        return reader.find(HarvestRun, harvest_id=harvest_id, newest=True, limit=1)[0]


# --- markets -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hall]:
    with open_hall(tmp_path_factory.mktemp("other")) as found:
        seller = found.person("old-market", "provider", uscc=USCC[1])
        offered(found, seller, "old-corpus")
        until(lambda: found.stranger.get("/v1/listings")["total"], lambda n: n == 1)
        yield found


@pytest.mark.parametrize(
    ("kind", "path"),
    [("ckan", ""), ("dcat", "/catalog.ttl"), ("dcat", "/catalog.rdf"), ("dcat", "/catalog.jsonld"),
     ("oai-pmh", "/oai"), ("oai-pmh", "/oai?metadataPrefix=oai_dc"),
     ("croissant", "/sitemap.xml"),
     ("croissant", "/datasets/old-market/old-corpus/croissant.json")],
)  # fmt: skip
def test_a_market_harvests_another_market_by_each_of_its_faces(
    provider: Person, other: Hall, kind: str, path: str
) -> None:
    run = over(provider, harvest(provider, kind, other.address + path))
    assert run["counts"] == {"added": 1}, run["report"]
    (dataset,) = [
        d for d in provider.get("/v1/datasets")["items"]
        if d["publisher"] == provider.party["slug"]
    ]  # fmt: skip
    said = provider.get(f"/v1/listings/{dataset['versions'][0]['listing_id']}")["descriptor"]
    listed = other.stranger.get("/v1/listings")["items"][0]["listing_id"]
    assert said["name"] == "old-corpus"
    assert said["title"] == other.stranger.get(f"/v1/listings/{listed}")["title"]


def test_nothing_inside_is_reached_by_any_kind(tmp_path: Path) -> None:
    with open_hall(tmp_path / "closed") as hall:
        provider = hall.person("curious", "provider")
        hall.market.gate._lookup = lambda host, port: ["10.0.0.7"]
        for kind in names("pages"):
            run = over(provider, harvest(provider, kind, f"https://{kind}.example.org/x"))
            assert run["why"]["en"] == "the address is an internal one", kind
