"""Nobody can use up a market for the others: calls are counted per key, or per address."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, MutableMapping
from typing import Any

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from people import Hall, open_hall
from yaosu.web.app import problem
from yaosu.web.limits import Limits

MOST = 40


@pytest.fixture(scope="module")
def hall(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hall]:
    with open_hall(tmp_path_factory.mktemp("limits"), calls_per_minute=MOST) as found:
        yield found


def test_a_flood_without_a_key_is_told_to_wait_and_leaves_keys_and_the_watchers_alone(
    hall: Hall,
) -> None:
    with httpx2.Client(base_url=hall.address) as http:
        keyed = {"authorization": f"Bearer {hall.admin.key}"}
        assert http.get("/v1/me", headers=keyed).status_code == 200
        answers = [http.get("/v1/listings") for _ in range(MOST + 5)]
        refused = answers[-1]
        assert refused.status_code == 429
        assert refused.json()["type"] == "urn:yaosu:error:too_many"
        assert refused.json()["detail_zh"]
        assert 0 < int(refused.headers["retry-after"]) <= 60
        assert refused.headers["ratelimit-policy"] == f'"calls";q={MOST};w=60'
        assert refused.headers["x-content-type-options"] == "nosniff"
        # Guessing keys is no way around: a key that is not known draws on the address.
        guesses = [
            http.get("/v1/me", headers={"authorization": f"Bearer yk_{n:032x}_{'x' * 43}"})
            for n in range(5)
        ]
        assert {g.status_code for g in guesses} == {429}
        assert http.get("/v1/me", headers=keyed).status_code == 200
        assert http.get("/healthz").status_code == 200
        assert http.get("/log/checkpoint").status_code in (200, 404)


class Told:
    """An application that answers 200, and a clock that stands until it is moved."""

    def __init__(self, per_minute: int, most_callers: int = 1000) -> None:
        self.now = 0.0
        self.limits = Limits(
            self, per_minute, problem, clock=lambda: self.now, most_callers=most_callers
        )

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})

    def call(self, address: str, key: str = "") -> int:
        seen: list[MutableMapping[str, Any]] = []

        async def send(message: MutableMapping[str, Any]) -> None:
            seen.append(message)

        headers = [(b"authorization", key.encode())] if key else []
        scope = {"type": "http", "path": "/v1/me", "headers": headers, "client": (address, 1)}
        asyncio.run(self.limits(scope, None, send))  # type: ignore[arg-type]
        return int(seen[0]["status"])


@given(st.integers(1, 20), st.lists(st.integers(0, 30), min_size=1, max_size=60))
def test_no_minute_lets_more_than_twice_the_limit_through_and_waiting_always_helps(
    per_minute: int, pauses: list[int]
) -> None:
    told = Told(per_minute)
    passed: list[float] = []
    for seconds in pauses:
        told.now += seconds
        if told.call("192.0.2.1") == 200:
            passed.append(told.now)
    for moment in passed:  # a full bucket, and what flows in while a minute goes by
        assert sum(moment <= t < moment + 60 for t in passed) <= 2 * per_minute
    told.now += 60
    assert told.call("192.0.2.1") == 200
    assert told.call("192.0.2.2") == 200


def test_callers_without_end_do_not_fill_the_memory() -> None:
    told = Told(5, most_callers=50)
    for n in range(400):
        told.call(f"192.0.2.{n}", f"Bearer {n}")
        told.call(f"192.0.2.{n}", f"Bearer {n}")
    assert len(told.limits.buckets) == len(told.limits.known) == 50
