"""Harvest any CKAN and publish to one: our own server is the other end, and hostile ones are."""

from __future__ import annotations

import http.server
import json
import os
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from people import USCC, Hall, Person, small_corpus, until
from stall import sold_as
from yaosu_connectors import Record, Report, Skipped, compare, load
from yaosu_connectors.ckan import CkanCatalog, CkanPublisher
from yaosu_schemas.errors import InvalidInput, NotFound, Unavailable, YaosuError

DATA = Path(os.environ.get("YAOSU_TESTDATA", Path(__file__).parents[3] / "shared" / "data"))


def record(name: str, **more: Any) -> Record:
    document = {
        "name": name, "title": f"Title of {name}", "description": "About it",
        "keywords": ["语料", "two words"],
        "licenses": [{"name": "CC-BY-4.0", "title": "CC BY 4.0"}],
        "contributors": [{"title": "Office", "roles": ["publisher"]}],
        "sources": [{"title": "there", "path": "https://example.org/there"}],
        "dataElement": {"holder": {"name": "Office"}, "license_spdx": "CC-BY-4.0"}, **more,
    }  # fmt: skip
    return Record(origin_id=f"origin:{name}", kind="dataset", document=document,
                  digest=f"sha256:{hash(json.dumps(document, sort_keys=True)):x}")  # fmt: skip


@pytest.fixture(scope="module")
def owner(hall: Hall) -> Person:
    return hall.person("ckan-office", "provider", uscc=USCC[0])


def publisher(owner: Person) -> CkanPublisher:
    return CkanPublisher(key=owner.key)


def test_publishing_creates_updates_and_leaves_alone(hall: Hall, owner: Person) -> None:
    records = [record(n) for n in ("one", "two", "three")]
    first = publisher(owner).publish(records, hall.address)
    assert first.added == tuple(r.origin_id for r in records), first
    again = publisher(owner).publish(records, hall.address)
    assert again == Report(unchanged=first.added)
    records[1] = record("two", title="Another title")
    third = publisher(owner).publish(records, hall.address)
    assert third.changed == (records[1].origin_id,)
    assert len(third.unchanged) == 2
    wrong = Record(origin_id="x", kind="trade", document={"name": "x"}, digest="sha256:0")
    assert [o for o, _ in publisher(owner).publish([wrong], hall.address).skipped] == ["x"]
    with pytest.raises(InvalidInput):
        CkanPublisher(key=None, organization="o").publish([], "ftp://nowhere")
    refused = CkanPublisher(key=None, organization="o").publish(records, hall.address)
    assert len(refused.skipped) == 3


def test_what_left_the_source_is_withdrawn_when_asked(hall: Hall, owner: Person) -> None:
    descriptor, data = small_corpus(owner, "withdrawn-one")
    owner.upload(data)
    one = Record(origin_id="origin:gone", kind="dataset", document=descriptor, digest="sha256:1")
    made = publisher(owner).publish([one], hall.address)
    assert made.added == ("origin:gone",), made
    mine = owner.get("/v1/my/listings?limit=100")["items"]
    listing = next(v for v in mine if v["name"] == "withdrawn-one")
    assert owner.submit(listing["listing_id"])["state"] == "review"
    owner.offer(listing["listing_id"])
    hall.listed(owner, listing["listing_id"])
    hall.market.follow()
    assert publisher(owner).publish([], hall.address).removed == ()
    report = publisher(owner).publish([], hall.address, prune=True)
    assert "origin:gone" in report.removed
    assert owner.get(f"/v1/listings/{listing['listing_id']}")["state"] == "delisted"


def test_a_harvest_of_our_own_market_brings_the_descriptors_as_they_are(
    hall: Hall, owner: Person
) -> None:
    wanted = {}
    for name in ("harvest-one", "harvest-two"):
        descriptor, data = small_corpus(owner, name)
        owner.upload(data)
        sold_as(hall, owner, descriptor)
        for key in ("contact", "phone", "address"):
            descriptor["dataElement"]["holder"].pop(key)
        wanted[name] = descriptor
    hall.market.follow()
    found = {
        r.document["name"]: r for r in CkanCatalog().harvest(hall.address) if isinstance(r, Record)
    }
    for name, descriptor in wanted.items():
        assert found[name].document == descriptor
    known = {r.origin_id: r.digest for r in found.values()}
    again = Report.of(compare(CkanCatalog().harvest(hall.address), known))
    assert again == Report(unchanged=tuple(known))
    late = CkanCatalog(since=datetime.now(UTC) + timedelta(days=2)).harvest(hall.address)
    assert list(late) == []
    recent = CkanCatalog(since=datetime.now(UTC) - timedelta(days=1)).harvest(hall.address)
    assert len(list(recent)) == len(known)
    rest = [item for _, page in CkanCatalog().pages(hall.address, 1) for item in page]
    assert len(rest) == len(known) - 1


def test_real_records_are_published_and_come_back(hall: Hall, tmp_path: Path) -> None:
    source = DATA / "china" / "firstdata"
    if not source.exists():
        pytest.skip("no YAOSU_TESTDATA")
    bureau = hall.person("ckan-bureau", "provider", uscc=USCC[2])
    found = [r for r in load("bilingual-records").harvest(str(source)) if isinstance(r, Record)]
    report = publisher(bureau).publish(found[:40], hall.address)
    assert len(report.added) == 40, report.skipped[:3]
    import ckanapi

    action = ckanapi.RemoteCKAN(hall.address, apikey=bureau.key).action
    for one in found[:5]:
        shown = action.package_show(id=one.document["name"])
        assert shown["title"] == one.document["title"]
        assert [t["name"] for t in shown["tags"]]
    again = publisher(bureau).publish(found[:40], hall.address)
    assert len(again.unchanged) == 40


@pytest.mark.skipif(not os.environ.get("YAOSU_TEST_CKAN_URL"), reason="no YAOSU_TEST_CKAN_URL")
def test_a_real_ckan_is_harvested() -> None:
    found = CkanCatalog().harvest(os.environ["YAOSU_TEST_CKAN_URL"])
    first = [item for item, _ in zip(found, range(300), strict=False)]
    assert sum(isinstance(item, Record) for item in first) > 0


# --- hostile ends ------------------------------------------------------------------------------

Answer = Callable[[str, dict[str, Any]], tuple[int, dict[str, str], bytes]]


@pytest.fixture
def end() -> Iterator[Callable[[Answer], str]]:
    """A server on loopback that answers as a test says."""
    servers: list[http.server.ThreadingHTTPServer] = []

    def serve(answer: Answer) -> str:
        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                action = self.path.rsplit("/", 1)[-1]
                status, headers, out = answer(action, json.loads(body or b"{}"))
                self.send_response(status)
                for name, value in headers.items():
                    self.send_header(name, value)
                self.send_header("content-length", str(len(out)))
                self.end_headers()
                self.wfile.write(out)

            def log_message(self, *args: Any) -> None: ...

        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}"

    yield serve
    for server in servers:
        server.shutdown()


def good(result: Any) -> tuple[int, dict[str, str], bytes]:
    return 200, {}, json.dumps({"success": True, "result": result}).encode()


def test_packages_of_wrong_types_are_skipped_one_by_one(end: Any) -> None:
    whole = {"id": "good", "name": "good", "title": "Good", "resources": []}
    wrong: list[Any] = [
        None, "text", [], {}, {"id": 1, "name": "x"}, {"id": "a"}, {"id": "b", "name": ["x"]},
        {**whole, "id": "c", "tags": "x"}, {**whole, "id": "d", "extras": [1]},
        {**whole, "id": "e", "resources": {"a": 1}}, {**whole, "id": "f", "title": {"en": "x"}},
        {**whole, "id": "g", "resources": 7},
        {**whole, "id": "h", "resources": [{}] * 10_001},
        {**whole, "id": "i", "organization": {"title": 7}},
        {**whole, "id": "j", "extras": [{"key": "dataElement", "value": "[1]"}]},
        {**whole, "id": "k", "resources": [{"name": "n", "path": "../../etc/passwd"}]},
    ]  # fmt: skip
    pages = [[*wrong, whole], []]

    def answer(action: str, asked: dict[str, Any]) -> tuple[int, dict[str, str], bytes]:
        if action == "site_read":
            return good(True)
        return good({"count": 99, "results": pages[0] if asked["start"] == 0 else pages[1]})

    found = list(CkanCatalog().harvest(end(answer)))
    records = {r.origin_id: r for r in found if isinstance(r, Record)}
    assert "good" in records
    assert set(records) <= {"good", "j", "k"}
    assert "passwd" not in json.dumps(records["k"].document.get("resources", ""))
    assert all(s.why.en and s.why.zh for s in found if isinstance(s, Skipped))
    assert len(found) == len(wrong) + 1


@pytest.mark.parametrize(
    ("status", "headers", "body"),
    [
        (200, {"content-type": "text/html"}, b"<html>hello</html>"),
        (302, {"location": "http://169.254.169.254/latest/meta-data"}, b""),
        (307, {"location": "http://127.0.0.1:1/"}, b""),
        (200, {}, b'{"success": true}'),
        (500, {}, b"oops"),
        (404, {}, b"[]"),
        (200, {}, b"null"),
    ],
)
def test_what_is_no_ckan_is_refused_before_the_first_record(
    end: Any, status: int, headers: dict[str, str], body: bytes
) -> None:
    with pytest.raises(YaosuError) as refused:
        CkanCatalog().harvest(end(lambda *_: (status, headers, body)))
    assert isinstance(refused.value, InvalidInput | NotFound | Unavailable)


def test_pages_without_end_end(end: Any) -> None:
    page = [{"id": "a", "name": "a-1"}]

    def answer(action: str, asked: dict[str, Any]) -> tuple[int, dict[str, str], bytes]:
        return good(True if action == "site_read" else {"results": page})

    found = CkanCatalog().harvest(end(answer))
    assert isinstance(next(found), Record)
    with pytest.raises(InvalidInput, match="paging"):
        next(found)


def test_a_harvest_that_breaks_off_removes_nothing(end: Any) -> None:
    def answer(action: str, asked: dict[str, Any]) -> tuple[int, dict[str, str], bytes]:
        if action == "site_read":
            return good(True)
        if asked["start"] == 0:
            return good({"results": [{"id": "a", "name": "a-1"}]})
        return 502, {}, b"<html>bad gateway</html>"

    changes = compare(CkanCatalog().harvest(end(answer)), {"a": "x", "gone": "y"})
    assert next(changes).outcome == "changed"
    with pytest.raises(YaosuError):
        next(changes)


def test_the_index_sees_what_was_listed(hall: Hall) -> None:
    import ckanapi

    action = ckanapi.RemoteCKAN(hall.address).action
    until(lambda: action.package_search(rows=0)["count"], lambda n: n >= 2)
