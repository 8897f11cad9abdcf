"""What an operator relies on: figures, readiness, a stop that loses nobody's call, time."""

from __future__ import annotations

import asyncio
import os
import re
import signal
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from campaigns.real import Scene, Wire, awake, free_port, nursery, prepare
from conftest import HeldClock
from people import Hall, Person, open_hall, until
from yaosu.model import Event
from yaosu.storage.files import Disk


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    return prepare(tmp_path_factory.mktemp("scene") / "data")


@pytest.fixture(scope="module")
def hall(scene: Scene, tmp_path_factory: pytest.TempPathFactory) -> Any:
    mine = scene.copy(tmp_path_factory.mktemp("mine") / "data")
    with open_hall(mine.folder, people=False) as found:
        yield found


def figures(hall: Hall) -> dict[str, float]:
    text = Person(hall.address, None).raw("GET", "/metrics").text
    lines = [line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#")]
    assert all(re.fullmatch(r'yaosu_[a-z_]+(\{([a-z]+="[^"]*",?)+\})?', n) for n, _ in lines)
    return {name: float(value) for name, value in lines}


def test_the_figures_say_what_is_waiting_and_what_room_is_left(hall: Hall) -> None:
    waiting = 'yaosu_jobs{state="ready"}'
    found = until(lambda: figures(hall), lambda found: found[waiting] == 0)  # those of the scene
    for name in ("oldest_job_seconds", "log_waiting", "index_behind", "free_bytes"):
        assert found[f"yaosu_{name}"] >= 0
    for state in ("ready", "leased", "dead"):
        assert f'yaosu_jobs{{state="{state}"}}' in found
    assert found["yaosu_database_bytes"] > 0
    assert found["yaosu_writing"] == 1

    def wait(tx: Any) -> None:
        tx.enqueue("complete", {"trade_id": "trd_none"}, delay=timedelta(days=1))

    hall.market.store.write(wait)
    assert figures(hall)[waiting] == 1
    assert figures(hall)["yaosu_oldest_job_seconds"] < 60


def test_requests_are_counted_by_route_and_not_by_what_a_stranger_types(
    hall: Hall, scene: Scene
) -> None:
    buyer = Person(hall.address, scene.buyer)
    for n in range(3):
        buyer.raw("GET", f"/v1/trades/trd_{n:032x}")
    buyer.raw("GET", f"/v1/listings/{scene.free}", headers={"authorization": ""})
    buyer.raw("POST", f"/v1/trades/trd_{'0' * 32}/agree", {"offer_digest": "x"})
    buyer.raw("GET", '/no/such"}place')
    found = figures(hall)
    seen = {name: n for name, n in found.items() if name.startswith("yaosu_requests_total")}

    def label(method: str, route: str, status: int) -> str:
        return f'yaosu_requests_total{{method="{method}",route="{route}",status="{status}"}}'

    assert seen[label("GET", "/v1/trades/{trade_id}", 404)] == 3
    assert seen[label("GET", "/v1/listings/{listing_id}", 200)] >= 1
    assert seen[label("POST", "/v1/trades/{trade_id}/agree", 404)] == 1
    assert not [name for name in seen if "such" in name or "trd_" in name]


def test_the_market_says_when_it_is_ready_and_when_room_is_low(
    hall: Hall, monkeypatch: pytest.MonkeyPatch
) -> None:
    stranger = Person(hall.address, None)
    assert stranger.get("/readyz")["space"] == "ok"
    monkeypatch.setattr(type(hall.market), "free_bytes", lambda _: -1)
    assert stranger.get("/readyz")["space"] == "low"
    assert stranger.get("/healthz")["status"] == "ok"


def test_a_full_disk_is_said_so_and_reading_goes_on(
    hall: Hall, scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """507 with the reason and a time to come back (P2); nothing has to be restarted after it."""
    provider = Person(hall.address, scene.provider)
    head = {"tus-resumable": "1.0.0", "upload-length": "1000"}
    monkeypatch.setattr(hall.market.store, "_reserve_bytes", 1 << 62)
    wish = {"listing_id": scene.free, "wish": {"purpose": "x"}}
    refused = Person(hall.address, scene.buyer).raw("POST", "/v1/trades", wish)
    assert (refused.status_code, refused.json()["code"]) == (507, "no_space")
    assert int(refused.headers["retry-after"]) > 0
    assert Person(hall.address, None).raw("GET", f"/v1/listings/{scene.free}").status_code == 200
    assert provider.raw("POST", "/v1/uploads", headers=head).status_code == 507
    monkeypatch.undo()
    assert provider.raw("POST", "/v1/uploads", headers=head).status_code == 201
    monkeypatch.setattr(hall.market.uploads.disk, "_reserve_bytes", 1 << 62)
    refused = provider.raw("POST", "/v1/uploads", headers=head)
    assert refused.status_code == 507
    assert isinstance(hall.market.uploads.disk, Disk)
    assert refused.json()["free_bytes"] >= 0


def test_a_stop_answers_what_is_in_flight_and_leaves_nothing_open(
    scene: Scene, tmp_path: Path
) -> None:
    mine = scene.copy(tmp_path / "data")
    port = free_port()
    data = os.urandom(300_000)

    async def half_sent(wire: Wire) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        head = {"tus-resumable": "1.0.0", "upload-length": str(len(data))}
        _, made, _ = await wire.ask("POST", "/v1/uploads", headers=head)
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        place = made["location"].split("/", 3)[3]
        lines = [
            f"PATCH /{place} HTTP/1.1", "host: market", "tus-resumable: 1.0.0", "upload-offset: 0",
            "content-type: application/offset+octet-stream", f"content-length: {len(data)}",
            f"authorization: Bearer {mine.provider}",
        ]  # fmt: skip
        writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + data[:100_000])
        await writer.drain()
        return reader, writer

    with nursery() as lives:
        life = lives.serve(mine.folder, port)

        async def act() -> tuple[bytes, list[int]]:
            await awake(port)
            reader, writer = await half_sent(Wire(port, mine.provider))
            await asyncio.sleep(0.2)
            wish = {"listing_id": mine.free, "wish": {"purpose": "x"}}
            wires = [Wire(port, mine.buyer) for _ in range(8)]
            calls = [
                asyncio.create_task(w.post("/v1/trades", wish, f"k{n}"))
                for n, w in enumerate(wires)
            ]
            await asyncio.sleep(0)
            await asyncio.gather(*calls[:1])
            os.kill(life.pid, signal.SIGTERM)
            await asyncio.sleep(0.3)
            writer.write(data[100_000:])
            answer = await reader.readuntil(b"\r\n\r\n")
            return answer, [status for status, _ in await asyncio.gather(*calls)]

        answer, statuses = asyncio.run(act())
        assert answer.split(b"\r\n")[0].endswith(b"204 No Content")
        assert set(statuses) == {201}
        assert os.waitstatus_to_exitcode(lives.ended(life.pid)) == 0
        again = lives.serve(mine.folder, port)
        asyncio.run(awake(port))
        assert again.stop() == 0


def test_time_never_goes_backwards_in_the_record(scene: Scene, tmp_path: Path) -> None:
    """The machine's clock is set back by a day: what happens then is not earlier (I9)."""
    mine = scene.copy(tmp_path / "data")
    clock = HeldClock()
    with open_hall(mine.folder, people=False, clock=clock) as hall:
        clock.at = hall.market.store.write(lambda tx: tx.now)
        buyer = Person(hall.address, mine.buyer)
        wish = {"listing_id": mine.free, "wish": {"purpose": "x"}}
        trade = buyer.post("/v1/trades", wish)["trade_id"]
        clock.at -= timedelta(days=1)
        buyer.post(f"/v1/trades/{trade}/cancel")
        buyer.post("/v1/trades", wish)
        with hall.market.store.read() as reader:
            events: list[Event] = reader.events_after(0, limit=10_000)
            chain = reader.events(trade)
        assert [e.at for e in events] == sorted(e.at for e in events)
        assert [e.type for e in chain] == ["intent", "cancel"]
    with open_hall(mine.folder, people=False, clock=clock) as hall:
        before = max(e.at for e in events)
        Person(hall.address, mine.buyer).post("/v1/trades", wish)
        with hall.market.store.read() as reader:
            assert reader.events_after(events[-1].id)[0].at >= before
