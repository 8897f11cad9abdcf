"""What the client does with a market that is absent, busy, or not one at all."""

from __future__ import annotations

import socket
import subprocess
import sys
from typing import Any

import pytest

from badline import Answer, Asked, scripted
from yaosu import Client, errors
from yaosu.client.connection import Connection, error_from


def quick(address: str, key: str | None = "yk_x", **more: Any) -> Client:
    """A client that does not wait long between attempts."""
    made = Client(address, key, **more)
    made.connection.patience = 0.001
    return made


def test_importing_the_client_loads_no_server_and_no_http_library() -> None:
    code = (
        "import sys, yaosu; yaosu.Client('http://127.0.0.1:1');"
        "print([m for m in ('httpx2', 'fastapi', 'sqlalchemy', 'tantivy', 'pydantic', 'pyarrow',"
        "'yaosu.market', 'yaosu.model') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_where_no_market_answers_the_next_step_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    with pytest.raises(errors.Unavailable, match="yaosu demo") as told:
        quick(f"http://127.0.0.1:{port}").me()
    assert "YAOSU_MARKET" in told.value.zh


def test_a_step_is_sent_again_with_the_same_key_and_bytes() -> None:
    replies = iter([Answer(503), Answer(drop=True), Answer(429), Answer(json={"key_id": "key_1"})])
    with scripted(lambda _: next(replies)) as (address, seen):
        assert quick(address).new_key("laptop")["key_id"] == "key_1"
    assert len(seen) == 4
    assert len({(a.headers["idempotency-key"], a.body) for a in seen}) == 1


def test_two_steps_have_two_keys() -> None:
    with scripted(lambda _: Answer(json={})) as (address, seen):
        client = quick(address)
        client.new_key("a")
        client.new_key("a")
    assert len({a.headers["idempotency-key"] for a in seen}) == 2


def test_patience_ends() -> None:
    with scripted(lambda _: Answer(503)) as (address, seen), pytest.raises(errors.Unavailable):
        quick(address, attempts=3).me()
    assert len(seen) == 3


def test_what_is_refused_is_not_sent_again() -> None:
    with (
        scripted(lambda _: Answer(409, json={"code": "conflict"})) as (address, seen),
        pytest.raises(errors.Conflict),
    ):
        quick(address).new_key("a")
    assert len(seen) == 1


def test_a_step_that_is_still_being_answered_is_sent_again() -> None:
    flying = Answer(409, json={"code": "in_flight"})
    replies = iter([flying, flying, Answer(json={"key_id": "key_1"})])
    with scripted(lambda _: next(replies)) as (address, seen):
        assert quick(address).new_key("laptop")["key_id"] == "key_1"
    assert len({a.headers["idempotency-key"] for a in seen}) == 1


def every_error() -> list[type[errors.YaosuError]]:
    found, stack = [], [errors.YaosuError]
    while stack:
        kind = stack.pop()
        found.append(kind)
        stack.extend(kind.__subclasses__())
    return found


@pytest.mark.parametrize("kind", every_error(), ids=lambda kind: kind.code)
def test_every_error_of_the_tree_comes_back_as_itself(kind: type[errors.YaosuError]) -> None:
    body = {"code": kind.code, "status": 400, "detail": "so", "detail_zh": "如此", "field": "name"}
    error = error_from(body)
    assert type(error) is kind
    assert (error.en, error.zh, error.facts["field"]) == ("so", "如此", "name")


def test_all_problems_of_a_document_come_back() -> None:
    problem = errors.Problem(pointer="/name", code="required", en="missing", zh="缺少")
    body = {"code": "invalid_document", "detail": "1", "problems": [problem.as_json()]}
    error = error_from(body)
    assert isinstance(error, errors.InvalidDocument)
    assert error.problems == (problem,)


@pytest.mark.parametrize(
    "url", ["", "market", "ftp://x", "http://", "http://me:secret@host", "//h"]
)
def test_what_is_no_address_is_refused_before_anything_is_sent(url: str) -> None:
    with pytest.raises(errors.InvalidInput, match="address"):
        Connection(url)


@pytest.mark.parametrize("key", ["钥匙", "a b", "a\nHost: evil", "a\x00"])
def test_what_is_no_key_is_refused_before_anything_is_sent(key: str) -> None:
    with pytest.raises(errors.InvalidInput, match="key"):
        Client("http://127.0.0.1:1", key)


def test_a_page_of_someone_else_is_said_to_be_no_market() -> None:
    html = Answer(200, body=b"<html>", headers={"content-type": "text/html"})
    with scripted(lambda _: html) as (address, _), pytest.raises(errors.InvalidInput):
        quick(address).health()
    missing = Answer(404, body=b"<html>", headers={"content-type": "text/html"})
    with scripted(lambda _: missing) as (address, _), pytest.raises(errors.Malformed):
        quick(address).me()


def test_the_key_is_shown_to_the_market_alone() -> None:
    connection = Connection("http://market.example:8000", "yk_secret")
    assert connection.headers_for("http://market.example:8000/v1/me")
    for other in ("http://market.example/", "https://market.example:8000/", "http://evil/"):
        assert connection.headers_for(other) == {}


def test_pages_are_asked_for_as_they_are_read() -> None:
    def script(asked: Asked) -> Answer:
        second = "cursor=more" in asked.path
        return Answer(json={"items": [2] if second else [1], "next": None if second else "more"})

    with scripted(script) as (address, seen):
        pages = quick(address).connection.pages("/v1/datasets")
        assert next(pages) == 1  # type: ignore[comparison-overlap]
        assert len(seen) == 1
        assert list(pages) == [2]


def test_facets_repeat_and_odd_words_stay_one_parameter() -> None:
    with scripted(lambda _: Answer(json={"items": [], "total": 0, "next": None})) as (
        address,
        seen,
    ):
        results = quick(address).search("a&b=c #\ud800 中文", modality=["text", "image"], limit=3)
        assert list(results) == []
    query = seen[0].path
    assert "modality=text&modality=image" in query
    assert "limit=3" in query
    assert "a%26b%3Dc" in query


def test_an_id_cannot_leave_its_place_in_the_path() -> None:
    with scripted(lambda _: Answer(json={"listing_id": "x"})) as (address, seen):
        quick(address).listing("../parties?x=1#y")
    assert seen[0].path == "/v1/listings/..%2Fparties%3Fx%3D1%23y"


@pytest.mark.parametrize("name", ["", ".", ".."])
def test_what_is_no_id_is_refused_here(name: str) -> None:
    with pytest.raises(errors.InvalidInput):
        quick("http://127.0.0.1:1").trade(name)


def test_what_cannot_be_json_is_refused_here() -> None:
    for value in (float("nan"), "\ud800", {1, 2}):
        with pytest.raises(errors.Malformed):
            quick("http://127.0.0.1:1").problems({"title": value})


def test_a_market_that_has_moved_is_not_followed_with_the_key() -> None:
    moved = Answer(301, headers={"location": "https://market.example/"})
    with (
        scripted(lambda _: moved) as (address, seen),
        pytest.raises(errors.InvalidInput, match=r"market\.example"),
    ):
        quick(address).me()
    assert len(seen) == 1
