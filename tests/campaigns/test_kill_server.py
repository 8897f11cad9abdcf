"""The real server, killed at any moment under load, has kept every promise that it made (R3).

Traders negotiate and buy, providers upload, all over HTTP. What was answered is written down here;
after every kill the server starts on what is left, and every answer of the life before has to be in
its books, byte for byte. A call whose answer was lost is sent again with the same key.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

import pytest

from campaigns.real import (
    PATIENCE,
    Broken,
    Life,
    Nursery,
    Scene,
    Wire,
    awake,
    free_port,
    nursery,
    rows,
    write_result,
)
from yaosu.proof.verify import verify_path

NEGOTIATORS, BUYERS, UPLOADERS = 8, 2, 2
TUS = {"tus-resumable": "1.0.0"}
LEFT = (
    "SELECT count(*) FROM log_queue",
    "SELECT count(*) FROM job WHERE state IN ('ready', 'leased')"
    " AND run_at < strftime('%Y-%m-%dT%H:%M:%fZ', 'now')",
)
"""What a server still has to do: events without a leaf, jobs that are due."""
LOST_WORKERS = "SELECT id FROM job WHERE state = 'dead' AND error LIKE 'the worker was lost%'"
"""Jobs that were at work in five lives that were killed: a person restarts such a one."""
CHUNK = {**TUS, "content-type": "application/offset+octet-stream"}


@dataclass
class Books:
    """What the world outside has been told, over all lives."""

    answers: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    fresh: list[str] = field(default_factory=list)
    offsets: dict[str, int] = field(default_factory=dict)
    synced: int = 0
    whole: dict[str, int] = field(default_factory=dict)
    sent_again: int = 0
    lost: int = 0

    def told(self, key: str, status: int, body: bytes) -> None:
        self.answers[key] = (status, body)
        self.fresh.append(key)

    @property
    def acknowledged(self) -> int:
        return len(self.answers) + self.synced


@dataclass
class Caller:
    """Somebody who sends one call after another, each until it is answered."""

    name: str
    books: Books
    count: int = 0
    waiting: tuple[str, str, Any] | None = None
    by: str = ""

    async def call(self, wire: Wire, path: str, body: Any) -> Any:
        """Take a step exactly once, however many lives of the server that takes."""
        if self.waiting is None:
            self.count += 1
            step = path.rsplit("/", 1)[1]
            self.waiting = (f"{self.name}-{self.count}-{step}", path, body)
            self.by = str(wire.key)
        key, path, body = self.waiting
        status, answer = await wire.post(path, body, key)
        if status >= 300:
            raise AssertionError(f"{path}: {status} {answer[:300]!r}")
        self.books.told(key, status, answer)
        self.waiting = None
        return json.loads(answer)

    async def finish(self, port: int) -> None:
        """Send what was not answered in the life before once more."""
        if self.waiting is not None:
            wire = Wire(port, self.by)
            self.books.sent_again += 1
            await self.call(wire, *self.waiting[1:])
            wire.close()


@dataclass
class Negotiator(Caller):
    """Makes counter-offers in a trade, turn about."""

    trade: str = ""
    turn: int = 0

    async def act(self, scene: Scene, port: int, chance: random.Random) -> None:
        wires = [Wire(port, scene.buyer), Wire(port, scene.provider)]
        try:
            while True:
                if not self.trade:
                    wish = {"purpose": self.name, "amount_fen": 1000}
                    body = {"listing_id": scene.negotiated, "wish": wish}
                    self.trade = (await self.call(wires[0], "/v1/trades", body))["trade_id"]
                step = "counter" if self.turn else "answer"
                body = {"changes": {"amount_fen": 1000 + self.turn}}
                side = wires[(self.turn + 1) % 2]
                self.books.sent_again += self.waiting is not None
                await self.call(side, f"/v1/trades/{self.trade}/{step}", body)
                self.turn += 1
        finally:
            for wire in wires:
                wire.close()


@dataclass
class Buyer(Caller):
    """Buys what is free, again and again: agreement, delivery, settlement, receipt."""

    async def act(self, scene: Scene, port: int, chance: random.Random) -> None:
        wire = Wire(port, scene.buyer)
        try:
            await self.finish(port)
            while True:
                path = f"/v1/listings/{scene.free}"
                wish = {"purpose": self.name}
                head = {"content-type": "application/json"}
                asked = json.dumps(wish).encode()
                _, _, found = await wire.ask("POST", f"{path}/quote", asked, head)
                quote = json.loads(found)
                body = {
                    "wish": wish,
                    "trade_id": quote["trade_id"],
                    "quoted_at": quote["quoted_at"],
                    "signature": {"key_id": scene.signing_key, "platform": True},
                    "accept_on_delivery": True,
                }
                await self.call(wire, f"{path}/buy", body)
                await asyncio.sleep(chance.uniform(0, 0.05))
        finally:
            wire.close()


@dataclass
class Uploader(Caller):
    """Sends files in pieces and goes on where the server says."""

    place: str = ""
    data: bytes = b""

    async def act(self, scene: Scene, port: int, chance: random.Random) -> None:
        wire = Wire(port, scene.provider)
        try:
            while True:
                if not self.place:
                    await self.begin(wire, chance)
                status, head, _ = await wire.ask("HEAD", self.place, headers=TUS)
                assert status == 200, status
                offset = int(head["upload-offset"])
                # The promise: what was acknowledged is there.
                self.books.lost += offset < self.books.offsets.get(self.place, 0)
                while offset < len(self.data):
                    offset = await self.send(wire, offset, chance)
                sha256 = hashlib.sha256(self.data).hexdigest()
                status, _, _ = await wire.ask("GET", f"/v1/holdings/{sha256}")
                assert status == 200, "an upload that was finished is no holding"
                self.books.whole[sha256] = len(self.data)
                self.place = ""
        finally:
            wire.close()

    async def begin(self, wire: Wire, chance: random.Random) -> None:
        self.count += 1
        data = chance.randbytes(chance.randrange(200_000, 2_000_000))
        head = {**TUS, "upload-length": str(len(data))}
        status, found, _ = await wire.ask("POST", "/v1/uploads", headers=head)
        assert status == 201, status
        self.data, self.place = data, "/v1/uploads/" + found["location"].rsplit("/", 1)[1]

    async def send(self, wire: Wire, offset: int, chance: random.Random) -> int:
        piece = self.data[offset : offset + chance.randrange(50_000, 400_000)]
        head = {**CHUNK, "upload-offset": str(offset)}
        status, found, answer = await wire.ask("PATCH", self.place, piece, head)
        assert status == 204, (status, answer)
        self.books.offsets[self.place] = int(found["upload-offset"])
        self.books.synced += 1
        return int(found["upload-offset"])


Act = Callable[[Scene, int, random.Random], Awaitable[None]]


def crowd(books: Books) -> list[Any]:
    return [
        *(Negotiator(f"n{i}", books) for i in range(NEGOTIATORS)),
        *(Buyer(f"b{i}", books) for i in range(BUYERS)),
        *(Uploader(f"u{i}", books) for i in range(UPLOADERS)),
    ]


async def besiege(
    scene: Scene, life: Life, people: list[Any], chance: random.Random, seconds: float
) -> None:
    """Let everyone act until the server is killed under them."""

    async def one(act: Act, seed: float) -> None:
        with contextlib.suppress(Broken):
            await act(scene, life.port, random.Random(seed))

    tasks = [asyncio.create_task(one(p.act, chance.random())) for p in people]
    await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_EXCEPTION)
    life.kill()
    await asyncio.gather(*tasks)


def reckon(scene: Scene, books: Books, keys: list[str]) -> int:
    """Count the answers that are not in the books of the server as they were given."""
    database = scene.folder / "market.db"
    missing = 0
    for start in range(0, len(keys), 500):
        some = keys[start : start + 500]
        marks = ",".join("?" * len(some))
        found = rows(database, f"SELECT key, status, body FROM reply WHERE key IN ({marks})", some)
        kept = {key: (status, bytes(body)) for key, status, body in found}
        missing += sum(kept.get(key) != books.answers[key] for key in some)
    return missing


def campaign(
    scene: Scene, lives: Nursery, kills: int, seed: int, *, seconds: float = 0.5
) -> tuple[Books, list[Any]]:
    """Kill the server `kills` times; every life is checked against what was said in the last."""
    chance = random.Random(seed)
    books = Books()
    people = crowd(books)
    port = free_port()
    for _ in range(kills):
        life = lives.serve(scene.folder, port)
        if chance.random() < 0.1:  # before it is up
            time.sleep(chance.uniform(0, 0.4))
            life.kill()
            continue

        async def one_life(life: Life = life) -> None:
            await awake(port)
            await besiege(scene, life, people, chance, chance.uniform(0.05, seconds))

        asyncio.run(one_life())
        books.lost += reckon(scene, books, books.fresh)
        books.fresh.clear()
    return books, people


async def finish_work(scene: Scene, port: int, people: list[Any]) -> None:
    """Send again what was not answered, restart what killed its worker too often, and wait."""
    await awake(port)
    for person in people:
        if isinstance(person, Caller):
            await person.finish(port)
    operator = Wire(port, scene.admin)
    database = scene.folder / "market.db"
    least, since = float("inf"), time.monotonic()
    while time.monotonic() - since < 60 * PATIENCE:  # as long as it gets less
        for (job_id,) in rows(database, LOST_WORKERS):
            status, _ = await operator.post(f"/v1/jobs/{job_id}/restart", {}, f"again-{job_id}")
            assert status == 200
        left = sum(rows(database, sql)[0][0] for sql in LEFT)
        if not left:
            operator.close()
            return
        if left < least:
            least, since = left, time.monotonic()
        await asyncio.sleep(0.1)
    raise AssertionError([rows(database, sql) for sql in LEFT])


def settle(scene: Scene, lives: Nursery, books: Books, people: list[Any]) -> Counter[str]:
    """Let the last life finish its work; count what is wrong with the whole of it."""
    port = free_port()
    life = lives.serve(scene.folder, port)
    asyncio.run(finish_work(scene, port, people))
    assert life.stop() == 0
    wrong = Counter({"offsets or answers": books.lost})
    wrong["answers"] += reckon(scene, books, list(books.answers))
    database = scene.folder / "market.db"
    for step, event in (("answer", "offer"), ("counter", "counter"), ("buy", "sign")):
        taken = "SELECT count(*) FROM event WHERE type = ? AND subject_id LIKE 'trd_%'"
        done = rows(database, taken, (event,))[0][0]
        said = sum(key.endswith(step) for key in books.answers)
        wrong[f"events of {step}"] += abs(done - said)
    wrong["dead jobs"] += rows(database, "SELECT count(*) FROM job WHERE state = 'dead'")[0][0]
    blobs = {path.name: path for path in (scene.folder / "blobs/sha256").rglob("*")}
    for sha256, size in books.whole.items():
        wrong["blobs"] += sha256 not in blobs or blobs[sha256].stat().st_size != size
    wrong["verification"] += not verify_path(scene.folder).valid
    return +wrong


def test_nothing_that_was_answered_is_lost_when_the_real_server_is_killed(
    scene: Scene, lives: Nursery
) -> None:
    kills = 50 if os.environ.get("CI") else 3
    books, people = campaign(scene, lives, kills, seed=3)
    assert books.lost == 0
    assert not settle(scene, lives, books, people)
    assert books.acknowledged


def test_a_server_that_answers_before_it_commits_is_found_out(scene: Scene) -> None:
    """The control: without it the campaign might see nothing at all."""
    with nursery("--lie") as liars:
        try:
            books, _ = campaign(scene, liars, 3, seed=4, seconds=0.3)
        except AssertionError as gone:  # what was acknowledged, a trade or an upload, is not there
            assert "not_found" in str(gone) or "404" in str(gone)  # noqa: PT017
        else:
            assert books.lost > 0


@pytest.mark.slow
def test_nothing_that_was_answered_is_lost_in_a_thousand_kills(
    scene: Scene, lives: Nursery
) -> None:
    kills = int(os.environ.get("YAOSU_KILLS", "1000"))
    books, people = campaign(scene, lives, kills, seed=300, seconds=2.0)
    wrong = settle(scene, lives, books, people)
    write_result(
        "r3_kill_server",
        "1,000 SIGKILLs of the real server, 100,000 acknowledgements, 0 lost",
        violations=wrong.total(),
        broken=dict(wrong),
        whole=kills >= 1000 and books.acknowledged >= 100_000,
        kills=kills,
        acknowledgements=books.acknowledged,
        synced_pieces=books.synced,
        uploads_finished=len(books.whole),
        sent_again_after_a_kill=books.sent_again,
    )
    assert not wrong
    assert books.acknowledged >= 5 * kills  # the machine may be busy; the result says how many
