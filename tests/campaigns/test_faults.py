"""A system call that kills or fails, and a disk that is full: no answer that is not kept (R4, R6).

strace is fastened to the running server just before one upload and one whole trade, from the quote
to the voucher, and strikes at the n-th call of a kind that a thread of it makes. Afterwards the
server starts again on what is left.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import os
import random
import shutil
import subprocess
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

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
    rows,
    write_result,
)
from campaigns.test_kill_server import CHUNK, TUS
from yaosu.proof.verify import verify_path

CALLS = ("pwrite64", "write", "fdatasync", "fsync", "rename", "linkat", "unlink")
LAST_STATES = ("vouchered", "completed")
SIZE = 300_000


@pytest.fixture(autouse=True)
def strace() -> None:
    """Faults are injected by strace; where it is missing, or may not trace, this is said."""
    if shutil.which("strace") is None:
        pytest.skip("faults of system calls are injected by strace, which is not installed")
    may = subprocess.run(["strace", "-qq", "-e", "trace=none", "true"], capture_output=True)
    if may.returncode:
        pytest.skip("faults of system calls are injected by strace, which may not trace here")


@dataclass
class Story:
    """What one upload and one trade were told, and where they stand."""

    scene: Scene
    name: str = field(default_factory=lambda: uuid.uuid4().hex)
    answers: dict[str, tuple[int, bytes]] = field(default_factory=dict)
    refused: Counter[int] = field(default_factory=Counter)
    place: str = ""
    offset: int = 0

    def data(self) -> bytes:
        return random.Random(self.name).randbytes(SIZE)

    async def tell(self, port: int) -> bool:
        """Upload, then buy and wait for the voucher; False when something was refused."""
        provider, buyer = Wire(port, self.scene.provider), Wire(port, self.scene.buyer)
        try:
            return await self.upload(provider) and await self.trade(buyer)
        finally:
            provider.close()
            buyer.close()

    async def upload(self, wire: Wire) -> bool:
        if not self.place:
            head = {**TUS, "upload-length": str(SIZE)}
            status, found, answer = await wire.ask("POST", "/v1/uploads", headers=head)
            if status != 201:
                return self.no(status, found)
            self.place = "/v1/uploads/" + found["location"].rsplit("/", 1)[1]
        status, found, _ = await wire.ask("HEAD", self.place, headers=TUS)
        if status != 200:
            return self.no(status, found)
        at = int(found["upload-offset"])
        assert at >= self.offset, "acknowledged bytes are gone"
        while at < SIZE:
            head = {**CHUNK, "upload-offset": str(at)}
            piece = self.data()[at : at + 120_000]
            status, found, _ = await wire.ask("PATCH", self.place, piece, head)
            if status != 204:
                return self.no(status, found)
            at = self.offset = int(found["upload-offset"])
        sha256 = hashlib.sha256(self.data()).hexdigest()
        status, found, _ = await wire.ask("GET", f"/v1/holdings/{sha256}")
        return status == 200 or self.no(status, found)

    async def trade(self, wire: Wire) -> bool:
        path, head = f"/v1/listings/{self.scene.free}", {"content-type": "application/json"}
        trade_id = f"trd_{self.name}"
        if "buy" not in self.answers:
            wish = {"purpose": "训练"}
            asked = json.dumps(wish).encode()
            status, found, answer = await wire.ask("POST", f"{path}/quote", asked, head)
            if status != 200:
                return self.no(status, found)
            body = {
                "wish": wish,
                "trade_id": trade_id,
                "quoted_at": json.loads(answer)["quoted_at"],
                "signature": {"key_id": self.scene.signing_key, "platform": True},
                "accept_on_delivery": True,
            }
            again = {**head, "idempotency-key": self.name}
            kept = json.dumps(body).encode()
            status, found, answer = await wire.ask("POST", f"{path}/buy", kept, again)
            if status == 422 and json.loads(answer)["code"] == "idempotency_reuse":
                self.answers["buy"] = (0, b"")  # it was bought in the life that was cut off
            elif status != 201:
                return self.no(status, found)
            else:
                self.answers["buy"] = (status, answer)
        for _ in range(int(400 * PATIENCE)):
            status, found, answer = await wire.ask("GET", f"/v1/trades/{trade_id}")
            if status != 200:
                return self.no(status, found)
            if json.loads(answer)["state"] in LAST_STATES:
                return True
            await asyncio.sleep(0.025)
        return False

    def no(self, status: int, headers: dict[str, str]) -> bool:
        """Note a refusal: a full or broken disk says so, and when to come back."""
        assert status in (503, 507), status
        assert int(headers["retry-after"]) > 0
        self.refused[status] += 1
        return False

    def lost(self) -> int:
        status, body = self.answers.get("buy", (0, b""))
        if not status:
            return 0
        database = self.scene.folder / "market.db"
        kept = rows(database, "SELECT status, body FROM reply WHERE key = ?", (self.name,))
        return int([(s, bytes(b)) for s, b in kept] != [(status, body)])


@contextlib.contextmanager
def fault(life: Life, call: str, what: str) -> Iterator[None]:
    """Fasten strace to a life; `what` is for example `signal=SIGKILL:when=3`."""
    tracer = subprocess.Popen(
        ["strace", "-f", "-qq", "-o", "/dev/null", "-e", f"trace={call}",
         "-e", f"inject={call}:{what}", "-p", str(life.pid)],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        for _ in range(1000):
            status = Path(f"/proc/{life.pid}/status").read_text("utf-8")
            if "TracerPid:\t0\n" not in status:
                break
            time.sleep(0.01)
        time.sleep(0.05)
        yield
    finally:
        tracer.kill()  # the kernel lets go of whom it traced
        tracer.wait(30)


def struck(
    scene: Scene, lives: Nursery, call: str, what: str, *, must_end: bool = False
) -> tuple[bool, int]:
    """Tell one story under a fault, then to its end; return (it struck, rules broken).

    `must_end`: a server that the fault does not kill has to end by itself, with exit code 1 (P1).
    """
    port = free_port()
    life = lives.serve(scene.folder, port)
    asyncio.run(awake(port))
    story = Story(scene)
    through = False
    with fault(life, call, what), contextlib.suppress(Broken):
        through = asyncio.run(asyncio.wait_for(story.tell(port), 60 * PATIENCE))
    ended = life.ended_by_now(0.1 if through else 5.0 * PATIENCE)
    if ended is None:
        life.kill()
    wrong = story.lost() + (must_end and ended != 1)
    again = lives.serve(scene.folder, port)
    asyncio.run(awake(port))
    wrong += not asyncio.run(asyncio.wait_for(story.tell(port), 60 * PATIENCE))
    wrong += again.stop() != 0
    wrong += story.lost()
    wrong += not verify_path(scene.folder).valid
    return not through or ended is not None, wrong


def test_killed_at_a_system_call_the_story_goes_on(scene: Scene, lives: Nursery) -> None:
    strikes = 0
    for call, n in (("fdatasync", 2), ("linkat", 1), ("rename", 1)):
        hit, wrong = struck(scene, lives, call, f"signal=SIGKILL:when={n}")
        assert wrong == 0, (call, n)
        strikes += hit
    assert strikes >= 2


def test_after_a_failed_sync_the_server_ends_and_nothing_is_lost(
    scene: Scene, lives: Nursery
) -> None:
    """P1: what the page cache holds is unknown then, so no further write is attempted."""
    hit, wrong = struck(scene, lives, "fdatasync", "error=EIO:when=3", must_end=True)
    assert hit
    assert wrong == 0


def test_a_disk_without_room_is_a_refusal_and_not_an_end(scene: Scene, lives: Nursery) -> None:
    """ENOSPC at every write: refused with a time to come back; then all goes on, in 5 s."""
    port = free_port()
    life = lives.serve(scene.folder, port)
    asyncio.run(awake(port))
    story = Story(scene)
    with fault(life, "pwrite64", "error=ENOSPC:when=1+"):
        assert not asyncio.run(asyncio.wait_for(story.tell(port), 60 * PATIENCE))
        assert story.refused
        wire = Wire(port, scene.buyer)
        status, _, _ = asyncio.run(wire.ask("GET", f"/v1/listings/{scene.free}"))
        assert status == 200
    began = time.monotonic()
    assert asyncio.run(asyncio.wait_for(story.tell(port), 30 * PATIENCE))
    assert time.monotonic() - began < 15  # one whole trade included
    assert life.stop() == 0
    assert story.lost() == 0
    assert verify_path(scene.folder).valid


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "disk"
    place.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=96m", "tmpfs", str(place)]
    if os.geteuid() != 0 or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("a small disk is a tmpfs: mounting one needs root")
    try:
        yield place
    finally:
        subprocess.run(["umount", "-l", str(place)], check=True)


def recovery_seconds(untouched: Scene, lives: Nursery, disk: Path) -> float:
    """Fill the disk under a running server, make room again; return how long it then needed."""
    scene = untouched.copy(disk / "data")
    port = free_port()
    life = lives.serve(scene.folder, port)
    asyncio.run(awake(port))
    story = Story(scene)
    ballast = disk / "ballast"
    with ballast.open("wb") as file, contextlib.suppress(OSError):
        while True:
            file.write(b"x" * (1 << 16))
            file.flush()
    assert not asyncio.run(story.tell(port))
    assert set(story.refused) == {507}
    status, _, _ = asyncio.run(Wire(port).ask("GET", f"/v1/listings/{scene.free}"))
    assert status == 200
    ballast.unlink()
    began = time.monotonic()

    async def until_taken() -> float:
        wire = Wire(port, scene.provider)
        while True:
            head = {**TUS, "upload-length": "10"}
            status, _, _ = await wire.ask("POST", "/v1/uploads", headers=head)
            if status == 201:
                wire.close()
                return time.monotonic() - began
            await asyncio.sleep(0.05)

    seconds = asyncio.run(asyncio.wait_for(until_taken(), 30))
    assert asyncio.run(asyncio.wait_for(story.tell(port), 60 * PATIENCE))
    assert life.stop() == 0
    assert story.lost() == 0
    assert verify_path(scene.folder).valid
    return seconds


def test_a_full_disk_stops_writing_only_and_room_brings_it_back(
    untouched: Scene, lives: Nursery, small_disk: Path
) -> None:
    assert recovery_seconds(untouched, lives, small_disk) <= 5


MOST_POINTS = 2000  # of one call; a story makes some hundred


@pytest.mark.slow
def test_every_crash_point_of_an_upload_and_a_trade(
    untouched: Scene, lives: Nursery, tmp_path: Path
) -> None:
    """Each strike meets a market as it was: one that has grown would take longer every time."""
    stride = int(os.environ.get("YAOSU_STRIDE", "1"))
    points: Counter[str] = Counter()
    wrong: Counter[str] = Counter()
    for call in CALLS:
        misses, n = 0, 1 - stride
        while misses < 2 and n < MOST_POINTS:
            n += stride
            scene = untouched.copy(tmp_path / "struck")
            hit, found = struck(scene, lives, call, f"signal=SIGKILL:when={n}")
            shutil.rmtree(scene.folder)
            wrong[f"{call} {n}"] += found
            points[call] += hit
            misses = 0 if hit else misses + 1
    wrong = +wrong
    write_result(
        "r4_crash_points",
        "every write, sync, rename and link of one upload and one whole trade: killed, 0 lost",
        violations=wrong.total(),
        broken=dict(wrong),
        whole=stride == 1 and max(points.values()) < MOST_POINTS,
        points=sum(points.values()),
        by_call=dict(points),
    )
    assert not wrong
    assert sum(points.values()) > 30


@pytest.mark.slow
def test_every_input_output_error_of_an_upload_and_a_trade(
    scene: Scene, untouched: Scene, lives: Nursery, small_disk: Path
) -> None:
    points: Counter[str] = Counter()
    wrong = 0
    for call in ("pwrite64", "fdatasync", "fsync", "write", "linkat", "rename"):
        for error in ("EIO", "ENOSPC"):
            for n in (1, 2, 3, 4, 5, 6, 8, 11, 15, 21, 30, 45):
                hit, found = struck(scene, lives, call, f"error={error}:when={n}")
                wrong += found
                points[f"{call} {error}"] += hit
    seconds = recovery_seconds(untouched, lives, small_disk)
    write_result(
        "r6_disk_faults",
        "EIO and ENOSPC at writes and syncs: nothing answered is lost; room returns, in 5 s",
        violations=wrong + (seconds > 5),
        faults=dict(points),
        seconds_to_recover_from_a_full_disk=round(seconds, 2),
    )
    assert wrong == 0
    assert seconds <= 5
