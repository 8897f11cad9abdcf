"""The neutral trading record: whole, private where it must be, and checkable by anyone."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Any

import pytest

from yaosu_connectors.trading_record import build, problems, read, tidy
from yaosu_schemas.errors import InvalidDocument, InvalidInput, Malformed

Parts = Callable[[str], dict[str, Any]]


@pytest.fixture
def record(trade: Parts) -> dict[str, Any]:
    return build(**trade("trd_1"))


def codes(found: dict[str, Any]) -> list[tuple[str, str]]:
    return [(problem.pointer, problem.code) for problem in problems(found)]


def test_a_settled_trade_is_whole(record: dict[str, Any]) -> None:
    assert problems(record) == []


def test_what_is_written_is_read_back(record: dict[str, Any]) -> None:
    assert read(json.dumps(record)) == record


def test_contacts_never_leave(record: dict[str, Any]) -> None:
    assert "13800000000" not in json.dumps(record)
    assert "contact" not in record["provider"]


def test_a_trade_under_way_says_what_it_lacks(trade: Parts) -> None:
    parts = trade("trd_1")
    young = build(trade=parts["trade"], events=parts["events"][:1])
    lacking = {problem.pointer.split("/")[1] for problem in problems(young)}
    assert {"contract", "policy", "delivery"} <= lacking


def test_it_is_kept_for_thirty_years(record: dict[str, Any]) -> None:
    assert record["retention_until"] == "2056-11-10"


def test_the_last_day_of_february_has_no_thirtieth_birthday(trade: Parts) -> None:
    parts = trade("trd_1")
    event = {**parts["events"][0], "at": "2028-02-29T00:00:00Z"}
    assert build(trade={"trade_id": "t"}, events=[event])["retention_until"] == "2058-02-28"


def test_amounts_stay_whole_fen(record: dict[str, Any]) -> None:
    assert record["price"]["amount_fen"] == 10_000
    assert record["settlement"]["fee_fen"] + 97_00 == record["settlement"]["amount_fen"]
    with pytest.raises(InvalidInput):
        tidy({"price": {"amount_fen": 99.5}})


def test_times_are_written_in_utc() -> None:
    told = tidy({"at": datetime(2026, 11, 1, 8, tzinfo=UTC), "day": date(2026, 11, 1), "no": None})
    assert told == {"at": "2026-11-01T08:00:00.000000Z", "day": "2026-11-01"}
    with pytest.raises(InvalidInput):
        tidy({"at": datetime(2026, 11, 1)})


@pytest.mark.parametrize(
    ("field", "value"),
    [("seq", 7), ("prev_digest", "sha256:" + "00" * 32), ("actor_id", "pty_9"),
     ("to", "cancelled"), ("at", "2026-12-01T08:00:00.000000Z"), ("trade_id", "trd_2")],
)  # fmt: skip
def test_a_changed_event_is_noticed(record: dict[str, Any], field: str, value: Any) -> None:
    record["events"][3][field] = value
    assert any(pointer.startswith("/events/3") for pointer, _ in codes(record))


def test_an_event_that_was_left_out_is_noticed(record: dict[str, Any]) -> None:
    del record["events"][2]
    assert any(code == "chain" for _, code in codes(record))


def test_a_settlement_that_does_not_add_up_is_noticed(record: dict[str, Any]) -> None:
    record["settlement"]["fee_fen"] += 1
    assert ("/settlement", "sum") in codes(record)


def test_a_contract_ends_after_it_begins(record: dict[str, Any]) -> None:
    record["contract"]["end_at"] = "2026-11-01T08:00:00Z"
    assert any(pointer == "/contract/end_at" for pointer, _ in codes(record))


def test_every_problem_is_told_at_once(record: dict[str, Any]) -> None:
    for field in ("contract", "provider", "policy"):
        del record[field]
    with pytest.raises(InvalidDocument) as caught:
        read(json.dumps(record))
    told = {problem.pointer.split("/")[1] for problem in caught.value.problems}
    assert {"contract", "provider", "policy"} <= told


@pytest.mark.parametrize("text", ["", "{", '{"trade_id": NaN}', '{"a": 1, "a": 2}'])
def test_what_is_not_json_is_malformed(text: str) -> None:
    with pytest.raises(Malformed):
        read(text)
