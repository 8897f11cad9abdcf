"""Every read of bought data is on record before its reply is whole, and is shown to whom it is due.

Downloads, ranges, Delta files, files beside the descriptor and CKAN rows; rows over the API are in
`test_periods`. Samples, the provider's own reads and replies without bytes are no reads.
"""

from __future__ import annotations

import asyncio
import csv
import io
import json
import shutil
import socket
import sqlite3
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest
from typer.testing import CliRunner

from paper import Paper
from people import USCC, Hall, Person, open_hall, until
from stall import delivered, sold_as, with_sample
from yaosu.cli import app as cli
from yaosu.errors import NoSpace
from yaosu.model import Delivery
from yaosu.model_money import DataRead, DataUse
from yaosu.proof.verify import verify_path
from yaosu.trading import anchors
from yaosu.trading.reads import ReadLog, broken_off, keep, use_id
from yaosu.web.paid import Paid


@dataclass(frozen=True)
class Bought:
    hall: Hall
    provider: Person
    buyer: Person
    trade: dict[str, Any]
    data: bytes
    sha256: str

    def files(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.buyer.get(f"/v1/deliveries/{self.trade['delivery_id']}")[
            "files"
        ]
        return found

    def train(self) -> dict[str, Any]:
        return next(f for f in self.files() if f["path"] == "data/train.jsonl")

    def reads(self, who: Person | None = None) -> dict[str, Any]:
        found: dict[str, Any] = (who or self.buyer).get(
            f"/v1/trades/{self.trade['trade_id']}/reads"
        )
        return found


@pytest.fixture(scope="module")
def bought(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bought]:
    with open_hall(tmp_path_factory.mktemp("reads")) as hall:
        provider = hall.person("lingnan", "provider", uscc=USCC[0])
        buyer = hall.person("model-lab", "buyer")
        listing = sold_as(hall, provider, with_sample(provider, "audited"))
        trade = delivered(hall, buyer, listing)
        made = Bought(hall, provider, buyer, trade, b"", "")
        file = made.train()
        yield replace(made, data=httpx2.get(file["url"]).content, sha256=file["sha256"])


def new_reads(bought: Bought, do: Callable[[], object]) -> list[dict[str, Any]]:
    """Return the reads that something leaves, oldest first; the record has all of it at once."""
    before = {r["read_id"] for r in bought.reads()["items"]}
    do()
    return [r for r in reversed(bought.reads()["items"]) if r["read_id"] not in before]


def test_a_download_is_on_record_the_moment_it_is_whole(bought: Bought) -> None:
    file = bought.train()
    (read,) = new_reads(bought, lambda: httpx2.get(file["url"]))
    key = bought.buyer.get("/v1/me")["key_id"]
    size = len(bought.data)
    told = {k: read[k] for k in ("key_id", "trade_id", "delivery_id", "sha256", "name", "way")}
    assert told == {
        "key_id": key, "trade_id": bought.trade["trade_id"],
        "delivery_id": bought.trade["delivery_id"], "sha256": bought.sha256,
        "name": "data/train.jsonl", "way": "file",
    }  # fmt: skip
    assert (read["start"], read["end"], read["bytes"], read["status"]) == (0, size, size, 200)
    assert read["address"] == "127.0.0.1"


def test_a_range_is_recorded_as_the_range_it_was(bought: Bought) -> None:
    url = bought.train()["url"]
    (read,) = new_reads(bought, lambda: httpx2.get(url, headers={"range": "bytes=10-19"}))
    assert (read["start"], read["end"], read["bytes"], read["status"]) == (10, 20, 10, 206)


def test_what_gives_no_bytes_and_what_is_open_or_ones_own_is_no_read(bought: Bought) -> None:
    url = bought.train()["url"]
    base = "/datasets/lingnan/audited/data"

    def others() -> None:
        assert httpx2.head(url).status_code == 200
        assert httpx2.get(url, headers={"if-none-match": f'"{bought.sha256}"'}).status_code == 304
        assert httpx2.get(url, headers={"range": "bytes=99999999-"}).status_code == 416
        assert bought.buyer.raw("GET", f"{base}/sample.jsonl").status_code == 200
        assert bought.provider.raw("GET", f"{base}/train.jsonl").content == bought.data
        assert httpx2.get(url.replace("signature=", "signature=0")).status_code == 403

    assert new_reads(bought, others) == []


def test_a_file_beside_the_descriptor_and_ckan_rows_are_reads_of_the_buyer(bought: Bought) -> None:
    path = "/datasets/lingnan/audited/data/train.jsonl"
    (read,) = new_reads(bought, lambda: bought.buyer.raw("GET", path))
    assert (read["way"], read["bytes"], read["sha256"]) == (
        "dataset", len(bought.data), bought.sha256,
    )  # fmt: skip
    package = bought.buyer.get("/api/3/action/package_show", params={"id": "lingnan__audited"})
    train = next(r for r in package["result"]["resources"] if r["name"] == "train")

    def search() -> None:
        body = {"resource_id": train["id"], "limit": 5}
        found = bought.buyer.post("/api/3/action/datastore_search", body)
        assert len(found["result"]["records"]) == 5

    (rows,) = new_reads(bought, search)
    assert (rows["way"], rows["name"], rows["sha256"]) == ("ckan", "train", bought.sha256)
    assert rows["bytes"] > 0


def test_a_delta_file_is_a_read_under_the_key_of_its_token(bought: Bought) -> None:
    made = bought.buyer.post(f"/v1/trades/{bought.trade['trade_id']}/profile")
    token = {"authorization": f"Bearer {made['bearerToken']}"}
    table = f"{made['endpoint'].rstrip('/')}/shares/lingnan/schemas/audited/tables/train/query"
    answer = until(
        lambda: httpx2.post(table, json={}, headers=token), lambda a: a.status_code == 200
    )
    file = json.loads(answer.text.splitlines()[2])["file"]
    (read,) = new_reads(bought, lambda: httpx2.get(file["url"]))
    assert (read["way"], read["key_id"], read["bytes"]) == ("table", made["key_id"], file["size"])


def test_a_read_that_broke_off_is_taken_back_to_what_left(tmp_path: Path) -> None:
    with open_hall(tmp_path) as hall:
        provider = hall.person("lingnan", "provider", uscc=USCC[0])
        buyer = hall.person("model-lab", "buyer")
        made = Bought(hall, provider, buyer, _large(hall, provider, buyer), b"", "")
        file = made.files()[0]
        parts = urlsplit(file["url"])
        with socket.create_connection((parts.hostname, parts.port)) as line:
            line.sendall(
                f"GET {parts.path}?{parts.query} HTTP/1.1\r\nhost: {parts.netloc}\r\n\r\n".encode()
            )
            came = b""
            while len(came) < 1 << 20:
                came += line.recv(1 << 20)
            assert came.startswith(b"HTTP/1.1 200")
        found = until(made.reads, lambda r: len(r["items"]) == 2)
        taken, read = found["items"]
        assert taken["corrects"] == read["read_id"]
        assert taken["count"] == 0
        assert taken["status"] == 499
        assert len(came) - 1000 <= found["bytes"] < file["bytes"]
        assert found["bytes"] == read["bytes"] + taken["bytes"]
        assert found["count"] == 1


def _large(hall: Hall, provider: Person, buyer: Person) -> dict[str, Any]:
    import hashlib

    from people import small_corpus

    descriptor, data = small_corpus(provider, "large")
    data += b'{"instruction": "' + b"x" * (24 << 20) + b'", "output": ""}\n'
    resource = descriptor["resources"][0]
    resource |= {"bytes": len(data), "hash": f"sha256:{hashlib.sha256(data).hexdigest()}"}
    descriptor["dataElement"]["size"] = {"records": 41, "bytes": len(data)}
    provider.upload(data)
    return delivered(hall, buyer, sold_as(hall, provider, descriptor))


# --- who sees what ------------------------------------------------------------------------------


def test_the_provider_sees_counts_and_times_and_nobody_else_anything(bought: Bought) -> None:
    httpx2.get(bought.train()["url"])
    theirs, ours = bought.reads(bought.provider), bought.reads()
    assert "items" not in theirs
    assert theirs["days"] == ours["days"] == bought.reads(bought.hall.admin)["days"]
    assert not {"key_id", "address"} & set(theirs["days"][0])
    assert ours["count"] == sum(r["count"] for r in ours["items"])
    assert ours["bytes"] == sum(r["bytes"] for r in ours["items"])
    path = f"/v1/trades/{bought.trade['trade_id']}/reads"
    stranger = bought.hall.person("somebody-else", "buyer")
    assert stranger.raw("GET", path).status_code == 404
    assert bought.hall.stranger.raw("GET", path).status_code == 401


def test_the_record_of_the_trade_tells_of_use_without_who(bought: Bought) -> None:
    from yaosu_connectors.trading_record import problems

    httpx2.get(bought.train()["url"])
    record = bought.provider.get(f"/v1/trades/{bought.trade['trade_id']}/record")
    assert sum(u["count"] for u in record["usage"]) == bought.reads()["count"]
    assert sum(u["bytes"] for u in record["usage"]) == bought.reads()["bytes"]
    assert {k for u in record["usage"] for k in u} == {"at", "status", "bytes", "count"}
    assert not [p for p in problems(record) if p.pointer.startswith("/usage")]


def test_page_table_and_command_say_the_same(bought: Bought) -> None:
    httpx2.get(bought.train()["url"])
    trade_id = bought.trade["trade_id"]
    found = bought.reads()
    for who, columns in ((bought.buyer, "key_id"), (bought.provider, "day")):
        text = who.raw("GET", f"/v1/trades/{trade_id}/reads", params={"format": "csv"}).text
        table = list(csv.reader(io.StringIO(text.lstrip("\ufeff"))))
        assert any(columns in name for name in table[0])
        paper = Paper(bought.hall.address, "en")
        paper.log_in(str(who.key))
        page = paper.get(f"/trades/{trade_id}")
        assert page.says("Reads of the data")
        assert paper.http.get(f"/trades/{trade_id}/reads.csv").text == text
        env = {"YAOSU_MARKET": bought.hall.address, "YAOSU_KEY": str(who.key)}
        ran = CliRunner().invoke(cli, ["trade", "reads", trade_id, "--json"], env=env)
        assert ran.exit_code == 0, ran.output
        assert json.loads(ran.stdout)["count"] == found["count"]
        ran = CliRunner().invoke(cli, ["trade", "reads", trade_id, "--csv"], env=env)
        assert len(ran.stdout.splitlines()) == len(table)


# --- the record holds ---------------------------------------------------------------------------


def test_verify_finds_every_tampered_read(bought: Bought, tmp_path: Path) -> None:
    httpx2.get(bought.train()["url"])
    folder = bought.hall.market.settings.folder
    good = verify_path(folder)
    assert good.valid, good.problems
    assert good.checked["reads"] >= 1

    def tampered(change: Callable[[sqlite3.Connection], object]) -> set[str]:
        return found_in(folder, tmp_path, change)

    last = "(SELECT max(id) FROM data_read)"
    assert tampered(lambda db: db.execute(f"DELETE FROM data_read WHERE id = {last}")) == {"uses"}
    for name, value in (("bytes", 1), ("key_id", "key_x"), ("at", "2001-01-01T00:00:00Z"),
                        ("delivery_id", "dlv_x"), ("end", 10**12)):  # fmt: skip
        assert tampered(partial(rewrite, "data_read", last, {name: value})) & {"reads", "uses"}


def found_in(folder: Path, place: Path, change: Callable[[sqlite3.Connection], object]) -> set[str]:
    """Return where `verify` finds something wrong in a copy that was changed past the triggers."""
    copy = place / f"copy{time.monotonic_ns()}"
    copy.mkdir()
    with (
        sqlite3.connect(folder / "market.db") as source,
        sqlite3.connect(copy / "market.db") as target,
    ):
        source.backup(target)
    for part in ("log", "blobs"):
        shutil.copytree(folder / part, copy / part)
    db = sqlite3.connect(copy / "market.db")
    db.execute("DROP TRIGGER data_read_no_update")
    db.execute("DROP TRIGGER data_read_no_delete")
    change(db)
    db.commit()
    db.close()
    return {p.pointer.split("/")[1] for p in verify_path(copy).problems} - {"database"}


def rewrite(table: str, which: str, facts: dict[str, Any], db: sqlite3.Connection) -> None:
    """Change a record as the market would have written it, its sum and columns included."""
    from yaosu.storage.tables import summed

    (body,) = db.execute(f"SELECT body FROM {table} WHERE id = {which}").fetchone()
    document = {k: v for k, v in json.loads(body).items() if k != "#"} | facts
    again = summed(json.dumps(document, separators=(",", ":")))
    columns = [n for n in facts if n in ("bytes", "count", "hour")]
    marks = "".join(f', "{n}" = ?' for n in columns)
    values = [again, *(facts[n] for n in columns)]
    db.execute(f"UPDATE {table} SET body = ?{marks} WHERE id = {which}", values)


def test_a_read_that_is_gone_or_another_is_found_by_its_anchor_alone(
    bought: Bought, tmp_path: Path
) -> None:
    """Whoever removes a read mends the sums beside it; the leaf in the log stays."""
    httpx2.get(bought.train()["url"])
    market = bought.hall.market
    assert anchors.anchor(market.store, datetime.now(UTC) + timedelta(hours=2)) == 1
    until(lambda: len(market.store.write(lambda tx: tx.log_pending())), (0).__eq__)
    httpx2.get(bought.train()["url"])  # of the next hour, which has no anchor yet
    folder = market.settings.folder
    good = verify_path(folder)
    assert good.valid, good.problems
    assert good.checked["hours of reads"] == 1
    with market.store.read() as reader:
        mine = [r for r in reader.find(DataRead, limit=1000) if r.way == "file" and not r.corrects]
        read, last = mine[0], mine[-1]
        (use,) = [u for u in reader.find(DataUse, limit=1000) if u.id == use_id(read)]
    assert read.hour < last.hour
    said = [e.payload for e in market.store.write(lambda tx: tx.events("market:reads"))]
    assert [sorted(p) for p in said] == [["count", "hour", "root"]]
    less = {"count": use.count - 1, "bytes": use.bytes - read.bytes}

    def removed(db: sqlite3.Connection) -> None:
        db.execute("DELETE FROM data_read WHERE id = ?", [read.id])
        rewrite("data_use", f"'{use.id}'", less, db)

    def added(db: sqlite3.Connection) -> None:
        removed(db)
        rewrite("data_read", f"'{last.id}'", {"hour": read.hour}, db)

    assert found_in(folder, tmp_path, removed) == {"reads"}
    assert found_in(folder, tmp_path, added) == {"reads"}
    for facts in ({"address": "203.0.113.9"}, {"hour": "2001-01-01T00"}, {"hour": last.hour}):
        change = partial(rewrite, "data_read", f"'{read.id}'", facts)
        assert found_in(folder, tmp_path, change) == {"reads"}, facts


def test_hours_are_anchored_once_and_none_grows_after_its_anchor(store: Any, clock: Any) -> None:
    def noted(name: str) -> str:
        read = a_read(id=name)
        store.write(lambda tx: keep(tx, [read]))
        with store.read() as reader:
            return str(reader.get(DataRead, name).hour)

    def roots() -> list[int]:
        with store.read() as reader:
            return [e.payload["count"] for e in reader.events("market:reads")]

    store.write(lambda tx: tx.add(a_read(id="red_0")))  # from before there were hours
    assert anchors.anchor(store, clock.now()) == 1
    first = noted("red_1")
    assert noted("red_2") == first
    assert anchors.anchor(store, clock.now()) == 0  # it is not over
    clock.forward(hours=5)
    later = noted("red_3")
    assert later > first
    assert anchors.anchor(store, clock.now()) == 1
    assert roots() == [1, 2]
    assert anchors.anchor(store, clock.now()) == 0
    clock.forward(hours=-4)
    assert noted("red_4") == later
    clock.forward(hours=6)
    assert anchors.anchor(store, clock.now()) == 1
    assert roots() == [1, 2, 2]


def a_read(**more: Any) -> DataRead:
    given: dict[str, Any] = {
        "id": "red_1", "delivery_id": "dlv_1", "trade_id": "trd_1", "key_id": "key_1",
        "way": "file", "name": "a", "sha256": "0" * 64, "start": 0, "end": 10, "bytes": 10,
        "status": 200, "address": "", "at": datetime(2026, 1, 1, tzinfo=UTC), **more,
    }  # fmt: skip
    return DataRead(**given)


class _Market:
    """What a stream asks of a market: a log of reads that is durable when the test says so."""

    def __init__(self) -> None:
        self.reads = self
        self.noted: list[DataRead] = []
        self.durable: Future[None] = Future()

    def note(self, read: DataRead) -> Future[None]:
        self.noted.append(read)
        return self.durable


def test_the_last_bytes_leave_only_when_the_read_is_durable() -> None:
    market = _Market()
    delivery = Delivery(
        id="dlv_1", trade_id="trd_1", provider_id="p", user_id="u", files=(), manifest_digest="",
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
    )  # fmt: skip
    who = Paid(market, delivery, "key_1", "file", "a", "")  # type: ignore[arg-type]

    async def run() -> None:
        stream = who.stream(iter([b"12345", b"67890"]), a_read())
        assert await anext(stream) == b"12345"
        last = asyncio.ensure_future(anext(stream))
        await asyncio.sleep(0.1)
        assert not last.done()
        market.durable.set_result(None)
        assert await last == b"67890"
        await stream.aclose()

    asyncio.run(run())
    assert [r.corrects for r in market.noted] == [None]


def test_a_read_that_cannot_be_recorded_does_not_end() -> None:
    market = _Market()
    who = Paid(market, None, "key_1", "file", "a", "")  # type: ignore[arg-type]
    market.durable.set_exception(NoSpace("full", "满"))

    async def run() -> list[bytes]:
        return [chunk async for chunk in who.stream(iter([b"1234567890"]), a_read())]

    with pytest.raises(NoSpace):
        asyncio.run(run())
    assert market.noted[-1].bytes == -10  # nothing of it left


def test_reads_are_summed_once_each_on_both_databases(store: Any) -> None:
    log = ReadLog(store)
    waits = [log.note(a_read(id=f"red_{n:03}", name=f"f{n % 3}")) for n in range(200)]
    for wait in waits:
        wait.result(30)
    log.note(broken_off(a_read(id="red_000", name="f0"), 4)).result(30)
    with store.read() as reader:
        uses = reader.find(DataUse, delivery_id="dlv_1")
        assert sum(u.count for u in uses) == reader.total(DataRead, "count") == 200
        assert sum(u.bytes for u in uses) == reader.total(DataRead, "bytes") == 200 * 10 - 6


def test_two_processes_sum_up_the_same_day(open_here: Callable[..., Any], store_url: str) -> None:
    if not store_url.startswith("postgresql"):
        pytest.skip("an embedded store has one process")
    logs = [ReadLog(open_here()) for _ in range(2)]
    waits = [logs[n % 2].note(a_read(id=f"red_{n:03}")) for n in range(100)]
    for wait in waits:
        wait.result(60)
    with open_here().read() as reader:
        (use,) = reader.find(DataUse, delivery_id="dlv_1")
        assert (use.count, use.bytes) == (100, 1000)
