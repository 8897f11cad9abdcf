"""The straight way answers as the framework does, and forgets at once what has ended."""

from __future__ import annotations

import asyncio
import threading
import uuid
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import replace
from typing import Any

import pytest

from people import USCC, Hall, Person, open_hall, small_corpus
from stall import sold_as
from yaosu.errors import Conflict
from yaosu.model import Party
from yaosu.web.app import create_app
from yaosu.web.door import settled

STRAIGHT, FRAMEWORK = "application/json", "application/json;charset=UTF-8"


@pytest.fixture(scope="module")
def hall(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hall]:
    with open_hall(tmp_path_factory.mktemp("hall") / "data") as found:
        yield found


@pytest.fixture(scope="module")
def sides(hall: Hall) -> tuple[Person, Person, str]:
    provider = hall.person("seller", "provider", uscc=USCC[0])
    buyer = hall.person("wanting", "buyer")
    descriptor, data = small_corpus(provider, mode="negotiated")
    provider.upload(data)
    return provider, buyer, sold_as(hall, provider, descriptor)


BODIES: list[Any] = [
    b'{"changes": {"amount_fen": 7}}',
    b'{"changes": {"amount_fen": 7.0}}',
    b'{"changes": {"amount_fen": NaN}}',
    b'{"changes": {"amount_fen": 7, "amount_fen": 8}}',
    b'{"changes": {"note": "\\ud800"}}',
    b'{"changes": {}, "state": "settled"}',
    b'{"changes": []}',
    b"[]",
    b"null",
    b"{",
    b"",
    b"\xff\xfe",
]


@pytest.mark.parametrize("key", ["own", "none", "wrong"])
@pytest.mark.parametrize("body", BODIES)
def test_a_call_is_answered_as_the_framework_answers_it(
    hall: Hall, sides: tuple[Person, Person, str], body: bytes, key: str
) -> None:
    provider, buyer, listing_id = sides
    answers = []
    for kind in (STRAIGHT, FRAMEWORK):
        wish = {"purpose": "x", "amount_fen": 1000}
        trade_id = buyer.post("/v1/trades", {"listing_id": listing_id, "wish": wish})["trade_id"]
        who = {
            "own": f"Bearer {provider.key}",
            "none": "",
            "wrong": f"Bearer {str(provider.key)[:-1]}",
        }[key]
        answer = hall.stranger.raw(
            "POST",
            f"/v1/trades/{trade_id}/answer",
            content=body,
            headers={"content-type": kind, "authorization": who},
        )
        said = answer.json()
        for moment in ("created_at", "updated_at"):
            said.pop(moment, None)
        headers = {n: v for n, v in answer.headers.items() if n not in ("date", "content-length")}
        answers.append((answer.status_code, str(said).replace(trade_id, "T"), headers))
    assert answers[0] == answers[1]


def test_every_native_step_has_a_straight_way(hall: Hall) -> None:
    app = create_app(hall.market)
    straight = next(m for m in app.user_middleware if m.cls.__name__ == "Straight")
    built: Any = straight.cls(None, *straight.args, **straight.kwargs)
    steps = {p for p in app.openapi()["paths"] if p.startswith("/v1/trades/{trade_id}/")}
    posts = {p.rsplit("/", 1)[1] for p in steps if "post" in app.openapi()["paths"][p]}
    assert {way[4] for way in built.ways if way[:4] == ("", "v1", "trades", "{")} >= posts
    assert ("", "v1", "trades") in built.ways


def test_a_revoked_key_opens_nothing_from_the_next_step_on(
    hall: Hall, sides: tuple[Person, Person, str]
) -> None:
    _, buyer, listing_id = sides
    made = buyer.post("/v1/keys", {"label": "short"})
    short = Person(hall.address, made["key"], buyer.party)
    wish = {"listing_id": listing_id, "wish": {"purpose": "x", "amount_fen": 1000}}
    for _ in range(3):
        short.post("/v1/trades", wish)
    buyer.post(f"/v1/keys/{made['key_id']}/revoke")
    assert short.raw("POST", "/v1/trades", wish).status_code == 401


def test_what_a_failed_step_wrote_is_not_remembered(hall: Hall) -> None:
    """The writer keeps parties and keys in memory: never one that was not committed."""
    someone = hall.person(f"kept-{uuid.uuid4().hex[:8]}", "buyer")
    store = hall.market.store

    def fail(tx: Any) -> None:
        party = tx.get(Party, someone.id)
        tx.put(replace(party, name="另一个"))
        assert tx.get(Party, someone.id).name == "另一个"
        raise Conflict("no", "否")

    before = store.write(lambda tx: tx.get(Party, someone.id))
    with pytest.raises(Conflict):
        store.write(fail)
    assert store.write(lambda tx: tx.get(Party, someone.id)) == before

    def change(tx: Any) -> None:
        tx.put(replace(tx.get(Party, someone.id), name="新名"))

    store.write(change)
    assert store.write(lambda tx: tx.get(Party, someone.id)).name == "新名"
    with store.read() as reader:
        assert reader.get(Party, someone.id).name == "新名"


def test_the_kept_are_few() -> None:
    from yaosu.storage.transaction import Kept

    kept = Kept()
    for n in range(Kept.LIMIT + 10):
        kept.remember((Party, str(n)), n)
    assert kept.get((Party, str(Kept.LIMIT + 9))) == Kept.LIMIT + 9
    assert kept.get((Party, "0")) is None


def test_what_many_commits_settle_reaches_everyone_who_waits() -> None:
    """Results and refusals alike, from several threads at once; who goes away is not served."""
    futures: list[Future[int]] = [Future() for _ in range(2000)]
    places = {future: number for number, future in enumerate(futures)}

    def settle(part: list[Future[int]]) -> None:
        for future in part:
            if not future.set_running_or_notify_cancel():
                continue
            number = places[future]
            if number % 7 == 0:
                future.set_exception(Conflict("no", "不"))
            else:
                future.set_result(number)

    async def everyone() -> list[int | BaseException]:
        waiting = [asyncio.ensure_future(settled(future)) for future in futures]
        await asyncio.sleep(0)
        waiting[1].cancel()
        threads = [threading.Thread(target=settle, args=(futures[n::4],)) for n in range(4)]
        await asyncio.sleep(0)
        for thread in threads:
            thread.start()
        return await asyncio.wait_for(asyncio.gather(*waiting, return_exceptions=True), 60)

    found = asyncio.run(everyone())
    assert futures[1].cancelled()
    assert isinstance(found[1], asyncio.CancelledError)
    for number, value in enumerate(found):
        if number % 7 == 0:
            assert isinstance(value, Conflict)
        elif number != 1:
            assert value == number
