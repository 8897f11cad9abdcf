"""Every native create takes an id that the client chose: one rule, whatever is made."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from test_authorisation import ROWS, SUBJECTS, Scene, ask, scene

from people import Hall, Person, small_corpus
from terminal import Terminal, terminal_in
from yaosu.client import Client
from yaosu.client.own_ids import naming
from yaosu.client_ids import KINDS, read
from yaosu.errors import Conflict, InvalidInput

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


def own(kind: str) -> str:
    return f"{kind}_{uuid.uuid4().hex}"


def test_the_client_gives_its_creates_the_ids_of_the_caller(hall: Hall, scene: Scene) -> None:
    provider = scene.people["P"]
    market = Client(hall.address, provider.key)
    dataset, listing, key = own("dst"), own("lst"), own("key")
    descriptor, _ = small_corpus(provider, f"own-{dataset[-8:]}")
    with market.naming(dataset, listing):
        made = market.create_dataset(descriptor)
    assert (made["dataset"]["dataset_id"], made["listing"]["listing_id"]) == (dataset, listing)
    with pytest.raises(Conflict), market.naming(own("dst"), listing):
        market.create_dataset({**descriptor, "name": f"own-{uuid.uuid4().hex[:8]}"})
    with market.naming(key):
        assert list(market.venues())  # what makes nothing takes none
        assert market.new_key()["key_id"] == key
    trade = own("trd")
    buyer = Client(hall.address, scene.people["B"].key)
    with buyer.naming(trade):
        wanted = buyer.order(scene.things["otc"].listing.id, purpose="training")
    assert wanted.id == buyer.trade(trade).id == trade


def test_an_id_that_no_call_took_is_told(hall: Hall) -> None:
    with pytest.raises(InvalidInput, match="nothing was made"), naming(own("whk")):
        pass
    for wrong in (("trd_1", "trd_2"), ("nothing",), ("编号_1",)):
        with pytest.raises(InvalidInput), naming(*wrong):
            pass


@pytest.fixture
def yaosu(
    hall: Hall, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Terminal]:
    for found in terminal_in(tmp_path, capsys, monkeypatch):
        monkeypatch.setenv("YAOSU_MARKET", hall.address)
        yield found


def test_the_command_line_takes_ids_too(yaosu: Terminal, hall: Hall) -> None:
    person = hall.person("ids-typed", "buyer")
    hook, search = own("whk"), own("ssr")
    address = "https://example.com/hook"
    assert yaosu.ok("webhooks", "new", address, "--id", hook, key=person.key)["webhook_id"] == hook
    saved = yaosu.ok("searches", "save", "instructions", "--id", search)
    assert saved["search_id"] == search
    again = yaosu("searches", "save", "instructions again", "--id", search)
    assert again.code == 2
    left = yaosu("searches", "save", "another", "--id", own("trd"))
    assert left.code == 2
    assert "nothing was made" in left.err
