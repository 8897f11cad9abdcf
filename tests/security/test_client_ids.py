"""Every native create takes an id that the client chose: one rule, whatever is made."""

from __future__ import annotations

import uuid
from typing import Any

import pytest
from test_authorisation import ROWS, SUBJECTS, Scene, ask, scene

from people import Hall, Person
from yaosu.client_ids import KINDS, read
from yaosu.errors import InvalidInput

__all__ = ["scene"]
MAKES = {
    "POST /v1/parties": "pty", "POST /v1/members": "mbr", "POST /v1/keys": "key",
    "POST /v1/signing-keys": "sgk", "POST /v1/datasets": "dst",
    "POST /v1/datasets/{dataset_id}/versions": "lst", "POST /v1/trades": "trd",
    "POST /v1/webhooks": "whk", "POST /v1/harvests": "hvs",
    "POST /v1/venues/{venue_id}/callback-keys": "cbk",
    "POST /v1/venues/{venue_id}/reconciliation": "rec",
    "POST /v1/trades/{trade_id}/invoices": "inv",
}  # fmt: skip
"""What each of these makes; usage receipts and purchases want a signature of their own."""


def with_id(scene: Scene, key: str, ids: str) -> Any:
    row = ROWS[key]
    known = scene.people[SUBJECTS[row["may"].index("+", 1)]]
    who = Person(scene.hall.address, known.key, known.party)  # its calls alone choose ids
    who._signer, who._signing_id = known._signer, known._signing_id
    who.http.headers["yaosu-id"] = ids
    return ask(scene, key, row, who)


@pytest.mark.parametrize("key", MAKES)
def test_what_is_made_has_the_id_that_was_asked_for(scene: Scene, key: str) -> None:
    chosen = f"{MAKES[key]}_{uuid.uuid4().hex}"
    made = with_id(scene, key, chosen)
    assert made.status_code == 201, made.text
    assert chosen in made.text
    again = with_id(scene, key, chosen)
    assert again.status_code == 409, again.text
    for wrong in (f"trd_{'0' * 31}", f"xyz_{'0' * 32}", f"TRD_{'0' * 32}", "trd_" + "g" * 32):
        assert with_id(scene, key, wrong).status_code == 422
    other = "trd" if MAKES[key] != "trd" else "whk"
    left = with_id(scene, key, f"{other}_{uuid.uuid4().hex}")
    assert left.status_code in (409, 422)  # some of them can be made once only
    assert left.status_code == 409 or "makes nothing" in left.text


def test_a_call_that_makes_two_things_takes_two_ids(hall: Hall, scene: Scene) -> None:
    ids = f"dst_{uuid.uuid4().hex}, lst_{uuid.uuid4().hex}"
    made = with_id(scene, "POST /v1/datasets", ids).json()
    assert all(one.strip() in str(made) for one in ids.split(","))


def test_the_id_belongs_to_what_the_idempotency_key_stands_for(hall: Hall) -> None:
    person: Person = hall.person("ids-once", "buyer")
    first, other = (f"key_{uuid.uuid4().hex}" for _ in range(2))
    once = uuid.uuid4().hex
    answers = [
        person.raw("POST", "/v1/keys", {}, headers={"idempotency-key": once, "yaosu-id": i})
        for i in (first, first, other)
    ]
    assert [a.status_code for a in answers] == [201, 201, 422]
    assert answers[0].json()["key_id"] == answers[1].json()["key_id"] == first
    assert answers[2].json()["code"] == "idempotency_reuse"
    key = Person(hall.address, answers[0].json()["key"])
    assert key.get("/v1/me")["key_id"] == first


def test_the_rule_is_one() -> None:
    both = f"trd_{'a' * 32},lst_{'b' * 32}"
    assert read(both) == {"trd": f"trd_{'a' * 32}", "lst": f"lst_{'b' * 32}"}
    for wrong in (f"trd_{'a' * 32},trd_{'b' * 32}", "evt_1", f"hld_{'a' * 32}", "a" * 1000):
        with pytest.raises(InvalidInput):
            read(wrong)
    assert all(len(kind) == 3 for kind in KINDS)
