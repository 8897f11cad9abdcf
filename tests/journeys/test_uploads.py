"""Uploads over real HTTP, broken off in the middle: acknowledged bytes stay, the rest is resent."""

from __future__ import annotations

import base64
import hashlib
import io
import random
import socket
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from tusclient.client import TusClient

from people import Hall, Person, open_hall, until
from yaosu.model import Upload

TUS = {"tus-resumable": "1.0.0"}
DATA = random.Random(5).randbytes(3_000_000)


@pytest.fixture
def provider(fresh_hall: Hall) -> Person:
    return fresh_hall.person("provider", "provider")


def begin(person: Person, data: bytes = DATA, **metadata: str) -> str:
    """Create an upload; returns its address."""
    pairs = [f"{k} {base64.b64encode(v.encode()).decode()}" for k, v in metadata.items()]
    made = person.raw(
        "POST",
        "/v1/uploads",
        headers={**TUS, "upload-length": str(len(data)), "upload-metadata": ",".join(pairs)},
    )
    assert made.status_code == 201, made.text
    return str(made.headers["location"])


def send(person: Person, address: str, offset: int, data: bytes, **headers: str) -> Any:
    return person.raw(
        "PATCH",
        address,
        content=data,
        headers={
            **TUS,
            "upload-offset": str(offset),
            "content-type": "application/offset+octet-stream",
            **headers,
        },
    )


def stands_at(person: Person, address: str) -> int:
    return int(person.raw("HEAD", address, headers=TUS).headers["upload-offset"])


def patch_head(person: Person, address: str, offset: int, length: int) -> bytes:
    place = urlsplit(address)
    lines = [
        f"PATCH {place.path} HTTP/1.1",
        f"Host: {place.netloc}",
        "Tus-Resumable: 1.0.0",
        f"Authorization: Bearer {person.key}",
        f"Upload-Offset: {offset}",
        "Content-Type: application/offset+octet-stream",
        f"Content-Length: {length}",
    ]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def break_off(person: Person, address: str, offset: int, data: bytes, after: int) -> None:
    """Send a PATCH whose connection dies after so many bytes of its body."""
    place = urlsplit(address)
    with socket.create_connection((place.hostname, place.port)) as line:
        line.sendall(patch_head(person, address, offset, len(data)) + data[:after])


def test_tuspy_broken_off_in_the_middle_goes_on_where_it_was_safe(
    fresh_hall: Hall, provider: Person
) -> None:
    bearer = {"Authorization": f"Bearer {provider.key}"}
    client = TusClient(f"{fresh_hall.address}/v1/uploads", headers=bearer)
    sha256 = hashlib.sha256(DATA).hexdigest()
    first = client.uploader(
        file_stream=io.BytesIO(DATA), chunk_size=400_000, metadata={"sha256": sha256}
    )
    first.upload(stop_at=1_200_000)
    break_off(provider, first.url, 1_200_000, DATA[1_200_000:], after=300_000)
    # What the broken request brought is kept.
    until(lambda: stands_at(provider, first.url), lambda at: at > 1_200_000)
    second = client.uploader(file_stream=io.BytesIO(DATA), url=first.url, chunk_size=700_000)
    second.upload()
    held = provider.raw("GET", f"/v1/holdings/{sha256}")
    assert held.status_code == 200
    assert b"".join(fresh_hall.market.blobs.read(sha256)) == DATA


def test_a_connection_that_fell_silent_gives_way_to_the_next(provider: Person) -> None:
    address = begin(provider)
    place = urlsplit(address)
    with socket.create_connection((place.hostname, place.port)) as silent:
        silent.sendall(patch_head(provider, address, 0, len(DATA)) + DATA[:1_000_000])
        # What it brought is kept.
        until(lambda: stands_at(provider, address), lambda at: at == 1_000_000)
        assert send(provider, address, 1_000_000, DATA[1_000_000:]).status_code == 204
    assert stands_at(provider, address) == len(DATA)


def test_a_stale_request_cuts_off_nothing_that_was_acknowledged(provider: Person) -> None:
    address = begin(provider)
    assert send(provider, address, 0, DATA[:1_000_000]).status_code == 204
    stale = send(provider, address, 0, DATA[:10])
    assert stale.status_code == 409
    assert stands_at(provider, address) == 1_000_000


def test_requests_that_race_for_one_upload_leave_it_whole(
    fresh_hall: Hall, provider: Person
) -> None:
    address = begin(provider)
    answers: list[int] = []

    def racer() -> None:
        for _ in range(40):
            at = stands_at(provider, address)
            if at == len(DATA):
                return
            answers.append(send(provider, address, at, DATA[at : at + 250_000]).status_code)

    racers = [threading.Thread(target=racer) for _ in range(4)]
    for thread in racers:
        thread.start()
    for thread in racers:
        thread.join(60)
    assert set(answers) <= {204, 409, 503}
    assert stands_at(provider, address) == len(DATA)
    assert fresh_hall.market.blobs.verify(hashlib.sha256(DATA).hexdigest())


def test_a_run_whose_checksum_does_not_hold_is_refused_whole(provider: Person) -> None:
    address = begin(provider)
    good = base64.b64encode(hashlib.sha256(DATA[:1000]).digest()).decode()
    for data, status in ((b"x" * 1000, 460), (DATA[:1000], 204)):
        answer = send(provider, address, 0, data, **{"upload-checksum": f"sha256 {good}"})
        assert answer.status_code == status
    assert stands_at(provider, address) == 1000


def test_bytes_of_another_digest_than_declared_are_not_kept(
    fresh_hall: Hall, provider: Person
) -> None:
    address = begin(provider, DATA[:10], sha256="0" * 64)
    assert send(provider, address, 0, DATA[:10]).status_code in (409, 422)
    assert list(fresh_hall.market.blobs.all()) == []
    assert provider.raw("HEAD", address, headers=TUS).status_code == 410


def test_more_than_declared_is_refused(provider: Person) -> None:
    address = begin(provider, DATA[:10])
    assert send(provider, address, 0, DATA[:11]).status_code == 413
    assert send(provider, address, stands_at(provider, address), DATA[:0]).status_code == 204


def test_an_upload_killed_between_its_last_byte_and_its_blob_is_finished(
    fresh_hall: Hall, provider: Person
) -> None:
    address = begin(provider, DATA)
    send(provider, address, 0, DATA[:-1])
    upload_id = address.rpartition("/")[2]
    market = fresh_hall.market
    # What the server does for the last byte, up to the moment at which it is killed.
    with market.uploads.resume(upload_id, len(DATA) - 1, len(DATA)) as appending:
        appending.write(DATA[-1:])
        offset = appending.sync()
    market.store.write(lambda tx: tx.put(replace(tx.get(Upload, upload_id), offset=offset)))

    assert stands_at(provider, address) == len(DATA)
    sha256 = hashlib.sha256(DATA).hexdigest()
    assert provider.raw("GET", f"/v1/holdings/{sha256}").status_code == 200


def test_after_a_restart_an_upload_goes_on(tmp_path: Path) -> None:
    with open_hall(tmp_path / "data") as hall:
        provider = hall.person("provider", "provider")
        path = urlsplit(begin(provider)).path
        send(provider, path, 0, DATA[:1_000_000])
    staged = tmp_path / "data/uploads" / path.rpartition("/")[2]
    with staged.open("ab") as torn:
        torn.write(b"written, never acknowledged")
    with open_hall(tmp_path / "data", people=False) as hall:
        provider = Person(hall.address, provider.key, provider.party)
        assert stands_at(provider, path) == 1_000_000
        assert send(provider, path, 1_000_000, DATA[1_000_000:]).status_code == 204
        assert hall.market.blobs.verify(hashlib.sha256(DATA).hexdigest())


def test_another_partys_upload_is_not_there(fresh_hall: Hall, provider: Person) -> None:
    address = begin(provider)
    other = fresh_hall.person("other", "provider")
    for method in ("HEAD", "DELETE", "GET"):
        assert other.raw(method, address, headers=TUS).status_code == 404
    assert send(other, address, 0, DATA[:10]).status_code == 404
    assert stands_at(provider, address) == 0
