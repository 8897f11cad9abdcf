"""JSON that is none, or too much of it: a 4xx, no echo, and a server that goes on (§2, §3)."""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx2
import pytest

from people import USCC, Hall, Person

ECHO = 200
BIG_REPLY = 16 << 10
STRICTER = {"malformed", "invalid_document", "too_large"}


@pytest.fixture(scope="module")
def provider(hall: Hall) -> Person:
    return hall.person("lingnan", "provider", uscc=USCC[0])


def send(
    who: Person, body: bytes, path: str = "/v1/problems", kind: str = "application/json"
) -> httpx2.Response:
    return who.raw("POST", path, content=body, headers={"content-type": kind})


def refused(answer: httpx2.Response, body: bytes, *statuses: int) -> None:
    """The answer is a small typed problem that holds no run of what was sent."""
    assert answer.status_code in (statuses or (400, 413, 422)), answer.text[:500]
    assert answer.headers["content-type"] == "application/problem+json"
    assert len(answer.content) <= BIG_REPLY
    said = answer.json()
    assert said["status"] == answer.status_code
    assert said["detail"]
    assert said["detail_zh"]
    text = body.decode("utf-8", "replace")
    long = [text[i : i + ECHO] for i in range(0, len(text) - ECHO, ECHO)][:2000]
    assert not any(piece in answer.text for piece in long)


def healthy(hall: Hall) -> None:
    began = time.monotonic()
    assert hall.stranger.get("/healthz")["status"] == "ok"
    assert time.monotonic() - began < 1


BAD: dict[str, bytes] = {
    "nan": b'{"descriptor": {"name": NaN}}',
    "infinity": b'{"descriptor": {"name": Infinity}}',
    "minus infinity": b'{"descriptor": {"name": -Infinity}}',
    "1e400": b'{"descriptor": {"name": 1e400}}',
    "2^53": b'{"descriptor": {"name": 9007199254740992}}',
    "a long integer": b'{"descriptor": {"name": ' + b"9" * 5000 + b"}}",
    "lone surrogate": b'{"descriptor": {"name": "\\ud800"}}',
    "lone surrogate as key": b'{"descriptor": {"\\udfff": 1}}',
    "raw surrogate": b'{"descriptor": {"name": "\xed\xa0\x80"}}',
    "not utf-8": b'{"descriptor": {"name": "\xff\xfe"}}',
    "overlong": b'{"descriptor": {"name": "\xc0\xaf"}}',
    "twice": b'{"descriptor": {"name": "a", "name": "b"}}',
    "twice by escape": b'{"descriptor": {"name": "a", "n\\u0061me": "b"}}',
    "control": b'{"descriptor": {"name": "a\\u0000b"}}',
    "bidi": '{"descriptor": {"name": "a\u202eb"}}'.encode(),
    "utf-16": '{"descriptor": {"name": "a"}}'.encode("utf-16"),
    "utf-16-le": '{"descriptor": {"name": "a"}}'.encode("utf-16-le"),
    "utf-32": '{"descriptor": {"name": "a"}}'.encode("utf-32"),
    "bom": b'\xef\xbb\xbf{"descriptor": {"name": "a"}}',
    "deep arrays": b'{"descriptor": {"a": ' + b"[" * 10_000 + b"]" * 10_000 + b"}}",
    "deep objects": b'{"descriptor": ' + b'{"a":' * 10_000 + b"1" + b"}" * 10_000 + b"}",
    "depth 65": b'{"descriptor": {"a": ' + b"[" * 63 + b"]" * 63 + b"}}",
    "unclosed": b"[" * 100_000,
    "trailing": b'{"descriptor": {}} x',
    "comment": b'{"descriptor": {} /* */}',
    "single quotes": b"{'descriptor': {}}",
    "empty": b"",
    "null": b"null",
    "array": b"[]",
    "text": b'"descriptor"',
    "number": b"1",
    "wrong type": b'{"descriptor": []}',
    "unknown field": b'{"descriptor": {"name": "a"}, "state": "listed"}',
    "a long unknown field": b'{"descriptor": {}, "' + b"Q" * 5000 + b'": 1}',
    "many unknown fields": json.dumps({f"k{i}": i for i in range(9000)}).encode(),
}


@pytest.mark.parametrize("name", BAD)
def test_what_is_not_strict_json_is_refused_without_echo(
    hall: Hall, provider: Person, name: str
) -> None:
    refused(send(provider, BAD[name]), BAD[name])
    refused(send(hall.stranger, BAD[name]), BAD[name], 400, 401, 413, 422)
    refused(send(hall.stranger, BAD[name], "/v1/parties"), BAD[name])
    healthy(hall)


@pytest.mark.parametrize(
    "kind",
    [
        "text/plain",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/xml",
        "application/octet-stream",
        "application/json; charset=utf-16",
        "",
    ],
)
def test_only_json_is_read_as_json(provider: Person, kind: str) -> None:
    body = b'{"name": "x", "roles": []}'
    answer = send(provider, body, "/v1/members", kind)
    if kind.startswith("application/json"):
        assert answer.status_code in (201, 415, 422)
    else:
        refused(answer, body, 400, 415, 422)


def test_bodies_have_a_size_that_holds_for_streams_too(hall: Hall, provider: Person) -> None:
    small = b'{"name": "' + b"x" * (2 << 20) + b'", "roles": []}'
    large = b'{"descriptor": {"a": "' + b"x" * (17 << 20) + b'"}}'

    def pieces(body: bytes) -> list[bytes]:
        return [body[i : i + 65536] for i in range(0, len(body), 65536)]

    for path, body in (("/v1/members", small), ("/v1/problems", large)):
        refused(send(provider, body, path), body, 413)
        streamed = provider.raw(
            "POST", path, content=iter(pieces(body)), headers={"content-type": "application/json"}
        )
        refused(streamed, body, 413)
    healthy(hall)


def test_a_stranger_cannot_make_the_server_read_a_large_body(hall: Hall) -> None:
    """Parsing costs: what only a key may do is refused before 16 MiB of brackets are read."""
    body = b'{"descriptor": {"a": [' + b"[]," * (5 << 20) + b"[]]}}"
    began = time.monotonic()
    refused(send(hall.stranger, body), body, 401)
    assert time.monotonic() - began < 2
    healthy(hall)


def test_a_large_body_of_someone_known_does_not_stop_the_others(
    hall: Hall, provider: Person
) -> None:
    body = b'{"descriptor": {"a": [' + b"[]," * (5 << 20) + b"[]]}}"
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(send, provider, body)
        slowest = 0.0
        while not answer.done():
            began = time.monotonic()
            hall.stranger.get("/healthz")
            slowest = max(slowest, time.monotonic() - began)
        refused(answer.result(), body)
    assert slowest < 3, slowest


def files(testdata: Path, prefix: str) -> list[Path]:
    return sorted((testdata / "edge" / "json-parsing" / "test_parsing").glob(f"{prefix}_*.json"))


def test_what_must_not_parse_never_does(hall: Hall, provider: Person, testdata: Path) -> None:
    found = files(testdata, "n")
    assert len(found) > 70
    for file in found:
        raw = file.read_bytes()
        for body in (raw, b'{"descriptor": {"name": "a", "x": ' + raw + b"}}"):
            answer = send(provider, body)
            refused(answer, body, 400, 413, 422)
            assert answer.json()["code"] == "malformed" or len(raw) < 2, file.name
    healthy(hall)


def test_what_must_parse_does_or_is_refused_by_a_rule_of_ours(
    hall: Hall, provider: Person, testdata: Path
) -> None:
    taken = 0
    for prefix in ("y", "i"):
        for file in files(testdata, prefix):
            body = b'{"descriptor": {"name": "a", "x": ' + file.read_bytes() + b"}}"
            answer = send(provider, body)
            if answer.status_code == 200:
                taken += 1
            else:
                refused(answer, body, 400, 413, 422)
                assert answer.json()["code"] in STRICTER
    assert taken > 75
    healthy(hall)


@pytest.mark.parametrize("path", ["/v1/problems", "/v1/datasets"])
def test_judging_a_large_descriptor_does_not_stop_the_others(
    hall: Hall, provider: Person, path: str
) -> None:
    """Neither readers nor the one writer wait for it."""
    descriptor = {
        "name": f"large-{path[4:]}",
        "resources": [{"name": f"r{i}", "path": f"{i}.csv"} for i in range(2500)],
    }
    other = hall.person(f"other-{path[4:]}", "buyer")
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(provider.raw, "POST", path, {"descriptor": descriptor})
        slowest = 0.0
        while not answer.done():
            began = time.monotonic()
            other.post("/v1/keys", {"days": 1})
            slowest = max(slowest, time.monotonic() - began)
    assert answer.result().status_code in (200, 201)
    assert slowest < 1.5, slowest
