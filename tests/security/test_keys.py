"""Keys can be replaced without a gap, and never become a way to be somebody else, or more."""

from __future__ import annotations

from collections.abc import Iterator

import httpx2
import pytest

from people import USCC, Hall, Person, Refused, open_hall


@pytest.fixture(scope="module")
def hall(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hall]:
    with open_hall(tmp_path_factory.mktemp("keys")) as found:
        yield found


@pytest.fixture(scope="module")
def provider(hall: Hall) -> Person:
    return hall.person("rotating", "provider", "buyer", uscc=USCC[0])


def status_with(hall: Hall, key: str) -> int:
    answer = httpx2.get(f"{hall.address}/v1/me", headers={"authorization": f"Bearer {key}"})
    return answer.status_code


def test_a_replaced_key_works_on_for_the_overlap_and_not_a_moment_longer(
    hall: Hall, provider: Person
) -> None:
    old = provider.post("/v1/keys", {"label": "robot", "roles": ["buyer"], "days": 90})
    made = provider.post(f"/v1/keys/{old['key_id']}/rotate", {"overlap_hours": 1})
    assert made["roles"] == ["buyer"]
    assert made["label"] == "robot"
    assert made["expires_at"] > old["expires_at"]  # 90 days from now, not from then
    assert status_with(hall, old["key"]) == status_with(hall, made["key"]) == 200
    provider.post(f"/v1/keys/{made['key_id']}/rotate", {"overlap_hours": 0})
    assert status_with(hall, made["key"]) == 401
    with pytest.raises(Refused, match="does not work any more"):
        provider.post(f"/v1/keys/{made['key_id']}/rotate", {})


def test_a_key_that_may_less_cannot_replace_one_that_may_more(hall: Hall, provider: Person) -> None:
    whole = provider.post("/v1/keys", {})
    less = provider.post("/v1/keys", {"roles": ["buyer"]})
    refused = httpx2.post(
        f"{hall.address}/v1/keys/{whole['key_id']}/rotate",
        json={},
        headers={"authorization": f"Bearer {less['key']}", "idempotency-key": "less"},
    )
    assert refused.status_code == 403
    assert status_with(hall, whole["key"]) == 200


def test_nobody_replaces_the_key_of_a_colleague(hall: Hall, provider: Person) -> None:
    colleague = provider.post("/v1/members", {"name": "colleague", "roles": ["buyer"]})
    known = {k["key_id"] for k in provider.get("/v1/keys")["items"]}
    theirs = next(
        k for k in provider.get("/v1/keys")["items"] if k["member_id"] == colleague["member_id"]
    )
    with pytest.raises(Refused):
        provider.post(f"/v1/keys/{theirs['key_id']}/rotate", {})
    assert {k["key_id"] for k in provider.get("/v1/keys")["items"]} == known
    assert status_with(hall, colleague["key"]) == 200


def test_a_repeated_rotation_makes_one_key_and_shows_it_once(hall: Hall, provider: Person) -> None:
    old = provider.post("/v1/keys", {})
    answers = [
        httpx2.post(
            f"{hall.address}/v1/keys/{old['key_id']}/rotate",
            json={},
            headers={"authorization": f"Bearer {provider.key}", "idempotency-key": "rotate-once"},
        ).json()
        for _ in range(2)
    ]
    assert answers[0]["key"]
    assert answers[1]["key"] is None
    assert answers[0]["key_id"] == answers[1]["key_id"]
