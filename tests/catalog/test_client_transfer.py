"""Bytes arrive whole and right, whatever the line does."""

from __future__ import annotations

import hashlib
import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from badline import Answer, Asked, bad_line, scripted
from people import USCC, Hall, Person, open_hall
from yaosu import Client, errors
from yaosu.client.connection import Connection
from yaosu.client.transfer import Download, Upload, UploadMemory

CHUNK = 64 << 10


@pytest.fixture(scope="module")
def hall(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hall]:
    with open_hall(tmp_path_factory.mktemp("hall")) as found:
        yield found


@pytest.fixture(scope="module")
def provider(hall: Hall) -> Person:
    return hall.person("lingnan", "provider", uscc=USCC[0])


def line_to(address: str, person: Person) -> Connection:
    return Connection(address, person.key, attempts=6, patience=0.001)


def parcel(folder: Path, size: int, seed: int) -> tuple[Path, str]:
    """Write random bytes; returns (file, SHA-256)."""
    data = random.Random(seed).randbytes(size)
    place = folder / f"{seed}.bin"
    place.write_bytes(data)
    return place, hashlib.sha256(data).hexdigest()


def uploading(connection: Connection, place: Path, sha256: str, memory: UploadMemory) -> Upload:
    return Upload(
        connection,
        place,
        name=place.name,
        sha256=sha256,
        size=place.stat().st_size,
        memory=memory,
        chunk_bytes=CHUNK,
    )


# --- up ---------------------------------------------------------------------------------------


def test_an_upload_survives_a_line_that_breaks_five_times(
    hall: Hall, provider: Person, tmp_path: Path
) -> None:
    place, sha256 = parcel(tmp_path, 700_000, 1)
    with bad_line(hall.address) as (address, weather):
        weather.cut_up = [10_000, 90_000, 40_000, 150_000, 30_000]
        uploading(line_to(address, provider), place, sha256, UploadMemory(tmp_path / "m")).run()
        assert weather.cut_up == []
    assert hall.market.blobs.verify(sha256)
    assert Client(hall.address, provider.key).holds(sha256)


def test_a_byte_that_changes_on_the_way_is_noticed_and_sent_again(
    hall: Hall, provider: Person, tmp_path: Path
) -> None:
    place, sha256 = parcel(tmp_path, 300_000, 2)
    with bad_line(hall.address) as (address, weather):
        weather.flip_up = [30_000]
        connection = line_to(address, provider)
        connection.close()
        uploading(connection, place, sha256, UploadMemory(tmp_path / "m")).run()
        assert weather.flip_up == []
    assert hall.market.blobs.verify(sha256)


def test_another_run_of_the_program_goes_on_where_the_first_one_stopped(
    hall: Hall, provider: Person, tmp_path: Path
) -> None:
    place, sha256 = parcel(tmp_path, 600_000, 3)
    memory = UploadMemory(tmp_path / "m")
    stopped_at = 4 * CHUNK

    class Stop(Exception):
        pass

    def stop(stage: str, name: str, done: int, total: int) -> None:
        if done >= stopped_at:
            raise Stop

    first = uploading(line_to(hall.address, provider), place, sha256, memory)
    first._progress = stop
    with pytest.raises(Stop):
        first.run()
    sent: list[int] = []
    second = uploading(line_to(hall.address, provider), place, sha256, memory)
    second._progress = lambda stage, name, done, total: sent.append(done)
    second.run()
    assert sent[0] == stopped_at
    assert hall.market.blobs.verify(sha256)
    assert list((tmp_path / "m").iterdir()) == []


def test_an_upload_that_the_market_forgot_begins_anew(
    hall: Hall, provider: Person, tmp_path: Path
) -> None:
    place, sha256 = parcel(tmp_path, 100_000, 4)
    memory = UploadMemory(tmp_path / "m")
    connection = line_to(hall.address, provider)
    memory.keep(connection.base, sha256, f"{hall.address}/v1/uploads/upl_{'0' * 32}")
    uploading(connection, place, sha256, memory).run()
    assert hall.market.blobs.verify(sha256)


def test_an_empty_file_is_a_file(hall: Hall, provider: Person, tmp_path: Path) -> None:
    place, sha256 = parcel(tmp_path, 0, 5)
    uploading(line_to(hall.address, provider), place, sha256, UploadMemory(tmp_path / "m")).run()
    assert Client(hall.address, provider.key).holds(sha256)


def test_a_file_that_changed_meanwhile_is_refused(
    hall: Hall, provider: Person, tmp_path: Path
) -> None:
    place, _ = parcel(tmp_path, 100_000, 6)
    upload = uploading(
        line_to(hall.address, provider), place, "ab" * 32, UploadMemory(tmp_path / "m")
    )
    with pytest.raises(errors.InvalidInput, match="changed"):
        upload.run()


def test_a_market_that_sends_the_upload_elsewhere_is_refused(tmp_path: Path) -> None:
    place, sha256 = parcel(tmp_path, 1000, 7)
    evil = Answer(201, headers={"location": "http://127.0.0.2:9/v1/uploads/x"})
    with scripted(lambda _: evil) as (address, seen):
        upload = uploading(
            Connection(address, "yk_x", patience=0.001), place, sha256, UploadMemory(tmp_path / "m")
        )
        with pytest.raises(errors.Unverified, match="another host"):
            upload.run()
    assert [a.method for a in seen] == ["POST"]


def test_chunks_that_never_arrive_whole_end_in_a_sentence(tmp_path: Path) -> None:
    place, sha256 = parcel(tmp_path, 1000, 8)

    def script(asked: Asked) -> Answer:
        if asked.method == "POST":
            return Answer(201, headers={"location": "/v1/uploads/x"})
        if asked.method == "HEAD":
            return Answer(200, headers={"upload-offset": "0"})
        return Answer(460)

    with scripted(script) as (address, _):
        upload = uploading(
            Connection(address, "yk_x", patience=0.001), place, sha256, UploadMemory(tmp_path / "m")
        )
        with pytest.raises(errors.Unverified, match="damaged"):
            upload.run()


# --- down -------------------------------------------------------------------------------------

DATA = random.Random(9).randbytes(500_000)
SHA256 = hashlib.sha256(DATA).hexdigest()


def shelf(asked: Asked, data: bytes = DATA) -> Answer:
    """Serve one file with single ranges (RFC 9110 §14)."""
    wanted = asked.headers.get("range")
    if not wanted:
        return Answer(body=data)
    start = int(wanted.removeprefix("bytes=").partition("-")[0])
    headers = {"content-range": f"bytes {start}-{len(data) - 1}/{len(data)}"}
    return Answer(206, body=data[start:], headers=headers)


def downloading(address: str, folder: Path, **more: object) -> Download:
    facts = {"link": lambda renew: f"{address}/file", "size": len(DATA), "sha256": SHA256} | more
    connection = Connection(address, "yk_x", attempts=5, patience=0.001)
    return Download(connection, folder / "a.bin", name="a.bin", **facts)  # type: ignore[arg-type]


def test_a_download_goes_on_where_the_line_broke(tmp_path: Path) -> None:
    with scripted(shelf) as (server, seen), bad_line(server) as (address, weather):
        weather.cut_down = [100_000, 150_000, 5_000]
        assert downloading(address, tmp_path).run().read_bytes() == DATA
    starts = [a.headers.get("range", "bytes=0-") for a in seen]
    assert starts[0] == "bytes=0-"
    assert len(starts) == 4
    assert len(set(starts)) >= 3
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.bin"]


def test_another_run_goes_on_with_the_part_that_is_there(tmp_path: Path) -> None:
    (tmp_path / f".{SHA256[:32]}.part").write_bytes(DATA[:123_456])
    with scripted(shelf) as (address, seen):
        assert downloading(address, tmp_path).run().read_bytes() == DATA
    assert [a.headers.get("range") for a in seen] == ["bytes=123456-"]


@pytest.mark.parametrize("part", [b"wrong beginning", DATA + b"too long", DATA[:-1] + b"x"])
def test_a_part_that_cannot_be_one_is_fetched_anew(tmp_path: Path, part: bytes) -> None:
    (tmp_path / f".{SHA256[:32]}.part").write_bytes(part)
    with scripted(shelf) as (address, _):
        assert downloading(address, tmp_path).run().read_bytes() == DATA


def test_other_bytes_than_were_sold_never_get_the_name(tmp_path: Path) -> None:
    with (
        scripted(lambda a: shelf(a, bytes(len(DATA)))) as (address, _),
        pytest.raises(errors.Unverified, match="do not accept"),
    ):
        downloading(address, tmp_path).run()
    assert not (tmp_path / "a.bin").exists()


def test_more_bytes_than_were_sold_are_not_kept(tmp_path: Path) -> None:
    with (
        scripted(lambda a: shelf(a, DATA + b"more")) as (address, _),
        pytest.raises(errors.Unverified, match="longer"),
    ):
        downloading(address, tmp_path).run()
    assert not (tmp_path / "a.bin").exists()


def test_an_expired_link_is_renewed(tmp_path: Path) -> None:
    asked_for: list[bool] = []

    def link(renew: bool) -> str:
        asked_for.append(renew)
        return "/new" if renew else "/old"

    def script(asked: Asked) -> Answer:
        return shelf(asked) if asked.path == "/new" else Answer(403, json={"code": "forbidden"})

    with scripted(script) as (address, _):
        assert downloading(address, tmp_path, link=link).run().read_bytes() == DATA
    assert asked_for == [False, True]


def test_a_server_without_ranges_is_read_from_the_start(tmp_path: Path) -> None:
    (tmp_path / f".{SHA256[:32]}.part").write_bytes(DATA[:1000])
    with scripted(lambda _: Answer(body=DATA)) as (address, _):
        assert downloading(address, tmp_path).run().read_bytes() == DATA


def test_two_programs_do_not_write_one_file(tmp_path: Path) -> None:
    import fcntl

    with (tmp_path / f".{SHA256[:32]}.part").open("wb") as held, scripted(shelf) as (address, _):
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(errors.Conflict, match="another program"):
            downloading(address, tmp_path).run()


def test_a_link_in_the_place_of_the_part_is_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("mine")
    os.symlink(victim, tmp_path / f".{SHA256[:32]}.part")
    with scripted(shelf) as (address, _), pytest.raises(OSError, match="symbolic|loop|level"):
        downloading(address, tmp_path).run()
    assert victim.read_text() == "mine"


def test_when_one_file_fails_the_others_stop_and_can_be_resumed(
    hall: Hall, provider: Person, tmp_path: Path
) -> None:
    from yaosu.client.submission import Parcel, SourceFile, upload_files

    files = []
    for seed in (21, 22, 23):
        place, sha256 = parcel(tmp_path, 30 << 20, seed)
        size = place.stat().st_size
        files.append(
            SourceFile(pointer="", path=place.name, place=place, sha256=sha256, bytes=size)
        )
    done: dict[str, int] = {}

    def progress(stage: str, name: str, at: int, total: int) -> None:
        done[name] = at
        if name == "22.bin" and at:
            raise KeyboardInterrupt

    client = Client(hall.address, provider.key)
    whole = Parcel(folder=tmp_path, descriptor={}, files=tuple(files))
    memory = UploadMemory(tmp_path / "m")
    with pytest.raises(KeyboardInterrupt):
        upload_files(client, whole, progress=progress, memory=memory)
    assert done["22.bin"] == 8 << 20
    sent, held = upload_files(client, whole, memory=memory)
    assert "22.bin" in sent
    assert set(sent) | set(held) == {"21.bin", "22.bin", "23.bin"}
