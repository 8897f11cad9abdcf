"""Uploads that break the protocol: refused as the protocol says, and what was safe stays."""

from __future__ import annotations

import base64
import hashlib
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest

from people import USCC, Hall, Person, open_hall

TUS = {"tus-resumable": "1.0.0"}
QUOTA = 1 << 20


class Held:
    """A clock that runs, and can be moved forward."""

    def __init__(self) -> None:
        self.ahead = timedelta()

    def now(self) -> datetime:
        return datetime.now(UTC) + self.ahead


@pytest.fixture(scope="module")
def clock() -> Held:
    return Held()


@pytest.fixture(scope="module")
def hall(tmp_path_factory: pytest.TempPathFactory, clock: Held) -> Iterator[Hall]:
    folder = tmp_path_factory.mktemp("hall") / "data"
    limits: dict[str, Any] = {
        "quota_bytes": QUOTA,
        "max_upload_bytes": QUOTA // 2,
        "unverified_quota_bytes": 1000,
    }
    with open_hall(folder, clock=clock, **limits) as found:
        yield found


@pytest.fixture
def provider(hall: Hall) -> Person:
    """A provider of its own for each test, so that quotas do not meet."""
    return hall.person(f"p-{uuid.uuid4().hex[:12]}", "provider")


def begin(who: Person, length: object, **more: str) -> httpx2.Response:
    return who.raw("POST", "/v1/uploads", headers={**TUS, "upload-length": str(length), **more})


def send(who: Person, place: str, offset: object, data: bytes, **more: str) -> httpx2.Response:
    head = {**TUS, "content-type": "application/offset+octet-stream", "upload-offset": str(offset)}
    return who.raw("PATCH", place, content=data, headers={**head, **more})


def offset(who: Person, place: str) -> int:
    return int(who.raw("HEAD", place, headers=TUS).headers["upload-offset"])


@pytest.mark.parametrize(
    ("length", "status"),
    [
        (QUOTA // 2 + 1, 413),
        (-1, 400),
        ("", 400),
        ("1e3", 400),
        ("0x10", 400),
        ("+1", 400),
        ("1 2", 400),
        ("9" * 19, 400),
        ("9" * 400, 400),
        (10**18 - 1, 413),
    ],
)
def test_a_length_is_a_number_within_the_limit(
    provider: Person, length: object, status: int
) -> None:
    refused = begin(provider, length)
    assert refused.status_code == status
    assert refused.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    "metadata",
    [
        "sha256 " + base64.b64encode(b"x" * 64).decode(),
        "sha256 " + base64.b64encode(b"ab").decode(),
        "filename !!!!",
        "filename " + base64.b64encode(b"\xff\xfe").decode(),
        ",".join(f"k{i} eA==" for i in range(3000)) + ",sha256 eA==",
    ],
)
def test_metadata_that_is_none_is_refused(provider: Person, metadata: str) -> None:
    answer = begin(provider, 1, **{"upload-metadata": metadata})
    assert answer.status_code in (400, 422), answer.text
    assert len(answer.content) < 2000


def test_every_call_speaks_the_version(provider: Person) -> None:
    place = begin(provider, 4).headers["location"]
    for version in ({}, {"tus-resumable": "0.2.2"}, {"tus-resumable": "1.0"}):
        for method, url in (("POST", "/v1/uploads"), ("HEAD", place), ("PATCH", place)):
            kind = {"content-type": "application/offset+octet-stream", "upload-offset": "0"}
            answer = provider.raw(method, url, headers={**kind, "upload-length": "1", **version})
            assert answer.status_code == 412
            assert answer.headers["tus-version"] == "1.0.0"
        assert provider.raw("DELETE", place, headers=version).status_code == 412
    assert offset(provider, place) == 0


def test_bytes_go_where_the_offset_says_or_nowhere(provider: Person) -> None:
    data = b"0123456789"
    place = begin(provider, len(data)).headers["location"]
    assert send(provider, place, 0, data[:4]).status_code == 204
    for wrong in (0, 3, 5, 10, 11):
        refused = send(provider, place, wrong, b"x")
        assert refused.status_code == 409
        assert refused.json()["offset"] == 4
    for wrong in (-1, "", "x", "4.0", "9" * 30):
        assert send(provider, place, wrong, b"x").status_code == 400
    assert send(provider, place, 4, data).status_code == 413
    other = {"content-type": "application/octet-stream"}
    assert send(provider, place, 4, b"x", **other).status_code == 415
    assert offset(provider, place) == 4
    assert send(provider, place, 4, data[4:]).status_code == 204
    assert send(provider, place, 10, b"").status_code in (204, 409)
    sha256 = hashlib.sha256(data).hexdigest()
    assert provider.get(f"/v1/holdings/{sha256}")["bytes"] == 10


def test_a_checksum_holds_or_the_run_is_dropped(provider: Person) -> None:
    place = begin(provider, 4).headers["location"]
    good = base64.b64encode(hashlib.sha1(b"good").digest()).decode()
    for wrong, status in (
        (f"sha1 {good}", 460),
        ("sha1 AAAA", 460),
        (f"crc99 {good}", 400),
        ("sha1 !!!", 400),
        ("", 400),
    ):
        refused = send(provider, place, 0, b"evil", **{"upload-checksum": wrong})
        assert refused.status_code == status, wrong
    assert offset(provider, place) == 0
    assert send(provider, place, 0, b"good", **{"upload-checksum": f"sha1 {good}"}).is_success


def test_what_was_given_up_or_has_expired_is_gone(provider: Person, clock: Held) -> None:
    given_up = begin(provider, 4).headers["location"]
    assert provider.raw("DELETE", given_up, headers=TUS).status_code == 204
    late = begin(provider, 4).headers["location"]
    assert send(provider, late, 0, b"ab").status_code == 204
    clock.ahead += timedelta(days=7, seconds=1)
    for place in (given_up, late):
        assert send(provider, place, 2, b"cd").status_code == 410
        assert provider.raw("HEAD", place, headers=TUS).status_code == 410
        assert provider.raw("DELETE", place, headers=TUS).status_code == 410
        assert provider.raw("GET", place).status_code == 410


def test_giving_up_a_finished_upload_keeps_its_bytes(hall: Hall, provider: Person) -> None:
    data = uuid.uuid4().bytes
    place = begin(provider, len(data)).headers["location"]
    send(provider, place, 0, data)
    assert provider.raw("DELETE", place, headers=TUS).status_code == 204
    sha256 = hashlib.sha256(data).hexdigest()
    assert provider.get(f"/v1/holdings/{sha256}")["bytes"] == 16
    assert hall.market.blobs.verify(sha256)


def test_the_quota_counts_what_is_promised_too(hall: Hall, provider: Person) -> None:
    half = QUOTA // 2
    first = begin(provider, half)
    assert first.status_code == 201
    assert begin(provider, half).status_code == 201
    full = begin(provider, 1)
    assert full.status_code == 413
    assert full.json()["used"] == QUOTA
    provider.raw("DELETE", first.headers["location"], headers=TUS)
    assert begin(provider, 1).status_code == 201


def test_whoever_is_not_verified_fills_little(hall: Hall) -> None:
    made = hall.stranger.post(
        "/v1/parties",
        {"slug": "unknown", "name": "x", "member": "x", "roles": ["provider"]},
    )
    unknown = Person(hall.address, made["key"], made["party"])
    assert begin(unknown, 1000).status_code == 201
    refused = begin(unknown, 1)
    assert refused.status_code == 413
    assert "verified" in refused.json()["detail"]


def test_holdings_are_of_bytes_that_were_sent_not_of_digests_that_were_named(
    hall: Hall, provider: Person
) -> None:
    """To know a digest gives no right to the bytes, and no way to see whether they are here."""
    data = uuid.uuid4().bytes
    sha256 = provider.upload(data)
    thief = hall.person("thief", "provider", uscc=USCC[1])
    assert thief.raw("GET", f"/v1/holdings/{sha256}").status_code == 404
    known, unknown = (
        begin(thief, 16, **{"upload-metadata": f"sha256 {base64.b64encode(s.encode()).decode()}"})
        for s in (sha256, "0" * 64)
    )
    assert known.status_code == unknown.status_code == 201
    assert offset(thief, known.headers["location"]) == 0
    wrong = send(thief, known.headers["location"], 0, b"x" * 16)
    assert wrong.status_code == 422
    assert thief.raw("GET", f"/v1/holdings/{sha256}").status_code == 404
    assert hall.market.blobs.verify(sha256)


def test_ids_of_uploads_lead_nowhere_else(provider: Person, tmp_path: Path) -> None:
    for wrong in ("..", "%2e%2e%2fmarket.db", "upl_%00", "upl_" + "0" * 32, "a/b", "upl_*"):
        for method in ("HEAD", "GET", "PATCH", "DELETE"):
            head = {**TUS, "content-type": "application/offset+octet-stream", "upload-offset": "0"}
            answer = provider.raw(method, f"/v1/uploads/{wrong}", headers=head)
            assert answer.status_code in (404, 405), (method, wrong, answer.status_code)
