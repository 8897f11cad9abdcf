"""Uploads that break again and again, and many at once, arrive whole in little memory (R10, B4)."""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import random
import shutil
import socket
import struct
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from campaigns.real import Broken, Life, Nursery, Scene, Wire, awake, free_port, write_result
from campaigns.test_kill_server import CHUNK, TUS
from yaosu.proof.verify import verify_path

PIECE = random.Random(10).randbytes(1 << 20)


def content(name: str, start: int, end: int) -> bytes:
    """Return bytes of a file that nobody has to keep: each MiB begins with its name and number."""
    found = []
    for n in range(start >> 20, (end + (1 << 20) - 1) >> 20):
        head = f"{name} {n} ".encode()
        found.append(head + PIECE[len(head) :])
    first = (start >> 20) << 20
    return b"".join(found)[start - first : end - first]


def digest(name: str, size: int) -> str:
    state = hashlib.sha256()
    for start in range(0, size, 8 << 20):
        state.update(content(name, start, min(size, start + (8 << 20))))
    return state.hexdigest()


class Sending:
    """One file on its way, over connections that are torn off on purpose."""

    def __init__(self, port: int, key: str, name: str, size: int) -> None:
        self.wire, self.port, self.key = Wire(port, key), port, key
        self.name, self.size, self.acknowledged = name, size, 0

    async def begin(self) -> None:
        head = {**TUS, "upload-length": str(self.size)}
        status, found, _ = await self.wire.ask("POST", "/v1/uploads", headers=head)
        assert status == 201, status
        self.place = "/v1/uploads/" + found["location"].rsplit("/", 1)[1]

    async def offset(self) -> int:
        self.wire.close()  # a server closes a connection that is idle while the file is sent
        for _ in range(200):
            status, found, _ = await self.wire.ask("HEAD", self.place, headers=TUS)
            assert status == 200, status
            at = int(found["upload-offset"])
            assert at >= self.acknowledged, "acknowledged bytes are gone"
            return at
        raise AssertionError

    async def send(self, at: int, end: int, *, torn: bool = False) -> None:
        """Send bytes in one request; a torn one ends in the middle, with a reset."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        head = {**CHUNK, "host": "market", "upload-offset": str(at),
                "content-length": str(end - at), "authorization": f"Bearer {self.key}"}  # fmt: skip
        lines = [f"PATCH {self.place} HTTP/1.1", *(f"{n}: {v}" for n, v in head.items())]
        writer.write("\r\n".join(lines).encode() + b"\r\n\r\n")
        stop = at + (end - at) * 2 // 3 if torn else end
        try:
            for start in range(at, stop, 1 << 20):
                writer.write(content(self.name, start, min(stop, start + (1 << 20))))
                await writer.drain()
            if torn:
                linger = struct.pack("ii", 1, 0)
                plug = writer.get_extra_info("socket")
                plug.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
                return
            answer = await reader.readuntil(b"\r\n\r\n")
            if b" 204 " in answer.split(b"\r\n")[0]:
                self.acknowledged = end
            else:  # another request still holds it, or has moved it on: ask again
                assert answer.split(b" ")[1] in (b"409", b"503", b"423"), answer
                await asyncio.sleep(0.05)
        finally:
            writer.close()

    async def whole(self, breaks: int, chance: random.Random) -> int:
        """Send it all with so many breaks; returns how many there were."""
        await self.begin()
        done = 0
        while (at := await self.offset()) < self.size:
            if done < breaks:
                step = max(1, (self.size - at) // (breaks - done + 1))
                await self.send(at, min(self.size, at + step * 3 // 2), torn=True)
                done += 1
            else:
                await self.send(at, self.size)
        sha256 = digest(self.name, self.size)
        self.wire.close()  # that took a while
        status, _, body = await self.wire.ask("GET", f"/v1/holdings/{sha256}", patience=300)
        assert status == 200, (status, "these are other bytes")
        assert json.loads(body)["bytes"] == self.size
        self.wire.close()
        return done


def memory_mib(life: Life) -> float:
    text = Path(f"/proc/{life.pid}/status").read_text("utf-8")
    return int(text.split("VmHWM:")[1].split()[0]) / 1024


def during(
    scene: Scene, lives: Nursery, work: Callable[[int], Awaitable[int]]
) -> tuple[int, float]:
    """Run the work against a real server; returns what it counted and the growth in MiB."""
    port = free_port()
    life = lives.serve(scene.folder, port)

    async def act() -> tuple[int, float]:
        await awake(port)
        warm = Sending(port, scene.provider, "warm", 1 << 20)
        await warm.whole(0, random.Random(0))
        before = memory_mib(life)
        return await work(port), memory_mib(life) - before

    found = asyncio.run(act())
    assert life.stop() == 0
    assert verify_path(scene.folder).valid
    return found


def broken_often(scene: Scene, lives: Nursery, size: int, breaks: int) -> tuple[int, float]:
    async def work(port: int) -> int:
        return await Sending(port, scene.provider, "broken", size).whole(breaks, random.Random(1))

    return during(scene, lives, work)


def at_once(scene: Scene, lives: Nursery, count: int, size: int) -> tuple[int, float]:
    async def work(port: int) -> int:
        sendings = [Sending(port, scene.provider, f"file-{n}", size) for n in range(count)]
        chance = random.Random(2)
        turns = asyncio.Semaphore(100)

        async def one(sending: Sending) -> int:
            async with turns:
                return await sending.whole(chance.randrange(2), chance)

        await asyncio.gather(*map(one, sendings))
        return len(sendings)

    return during(scene, lives, work)


def test_an_upload_that_breaks_fifty_times_arrives_whole(scene: Scene, lives: Nursery) -> None:
    breaks, growth = broken_often(scene, lives, 24 << 20, 50)
    assert breaks == 50
    assert growth < 64


def test_many_uploads_at_once_arrive_whole(scene: Scene, lives: Nursery) -> None:
    count, growth = at_once(scene, lives, 20, 2 << 20)
    assert count == 20
    assert growth < 128


@pytest.mark.slow
def test_a_large_upload_breaks_often_and_a_hundred_go_at_once(
    scene: Scene, untouched: Scene, lives: Nursery, tmp_path: Path
) -> None:
    gib = float(os.environ.get("YAOSU_UPLOAD_GIB", "20"))
    each = int(os.environ.get("YAOSU_UPLOAD_MIB", "200"))
    try:
        breaks, growth = broken_often(scene, lives, int(gib * 2**30), 50)
    except Broken as how:
        raise AssertionError("the server did not answer") from how
    shutil.rmtree(scene.folder)  # the disk need not hold both
    other = untouched.copy(tmp_path / "other")
    count, growth_at_once = at_once(other, lives, 100, each << 20)
    write_result(
        "r10_uploads",
        "20 GiB broken 50 times in 64 MiB of memory; 100 x 200 MiB at once: every digest equal",
        violations=int(growth > 64),
        whole=gib >= 20 and each >= 200,
        gib=gib,
        breaks=breaks,
        growth_mib=round(growth, 1),
        at_once=count,
        at_once_mib_each=each,
        at_once_growth_mib=round(growth_at_once, 1),
    )
    assert growth <= 64
