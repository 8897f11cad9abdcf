"""Documents of a trade: offer, agreement, event, policy, trading record, report."""

from __future__ import annotations

from typing import Any

import pytest

from yaosu_schemas import documents
from yaosu_schemas.documents import check

DIGEST = "sha256:" + "ab" * 32
OTHER = "sha256:" + "cd" * 32
AT = "2026-11-03T08:00:00.000000Z"


def agreed_policy() -> dict[str, Any]:
    return {
        "@context": "http://www.w3.org/ns/odrl.jsonld",
        "@type": "Agreement",
        "uid": "urn:yaosu:trd_1",
        "assigner": "pty_1",
        "assignee": "pty_2",
        "target": DIGEST,
        "timestamp": AT,
        "permission": [{"action": "use", "target": DIGEST}],
    }


def event(seq: int = 0) -> dict[str, Any]:
    return {
        "trade_id": "trd_1",
        "seq": seq,
        "type": "intent" if seq == 0 else "agree",
        "from": None if seq == 0 else "intent",
        "to": "intent" if seq == 0 else "agreed",
        "actor_id": "pty_2",
        "at": AT,
        "payload_digest": DIGEST,
        "prev_digest": None if seq == 0 else DIGEST,
        "digest": OTHER,
    }


def record() -> dict[str, Any]:
    return {
        "trade_id": "trd_1",
        "exchange": "otc",
        "listing_id": "lst_1",
        "listing_version": 1,
        "content_digest": DIGEST,
        "object_type": "dataset",
        "business_type": "product",
        "provider": {"name": "甲", "uscc": "91440300MA5FAKE086", "contact": "13800138000"},
        "user": {"name": "乙", "uscc": "91440300MB2XQ00142"},
        "rights_granted": [{"type": "use", "mode": "licence", "exclusive": False, "term": "P1Y"}],
        "scenario": "语言模型训练",
        "purpose": "训练",
        "policy": agreed_policy(),
        "contract": {
            "no": "HT-1",
            "name": "数据提供合同",
            "template": "GF-2025-2615",
            "sign_mode": "01",
            "signed_at": AT,
            "effective_at": AT,
            "status": "signed",
            "hash": DIGEST,
        },
        "signatures": [{"party_id": "pty_1", "digest": DIGEST, "value": "c2ln"}],
        "price": {"mode": "one_off", "amount_fen": 100_00, "currency": "CNY"},
        "payment": {"timing": "prepaid"},
        "delivery": [{"mode": "file", "stage": "done", "result": "success", "bytes": 10}],
        "events": [event(0), event(1)],
        "retention_until": "2056-11-03",
    }


def places(document: Any, name: str) -> set[tuple[str, str]]:
    problems = check(document, against=name)
    assert all(p.en and p.zh for p in problems)
    return {(p.pointer, p.code) for p in problems if p.severity == "error"}


def test_whole_documents_pass() -> None:
    assert check(record(), against="trading-record") == []
    assert check(event(0), against="event") == check(event(3), against="event") == []
    assert check(agreed_policy(), against="policy") == []
    offer = documents.example()["dataElement"]["offer"]
    assert check(offer, against="offer") == []


@pytest.mark.parametrize(
    ("key", "value", "problem"),
    [("exchange", "nasdaq", None),
     ("trade_id", None, ("/trade_id", "missing")),
     ("price", {"mode": "one_off", "amount_fen": 99.5, "currency": "CNY"},
      ("/price/amount_fen", "type")),
     ("user", {"name": "乙", "uscc": "91440300MA5FAKE086"}, ("/user/uscc", "self_trade")),
     ("policy", {"@type": "Offer", "permission": [{"action": "use"}]},
      ("/policy/@type", "policy_type")),
     ("events", [], ("/events", "missing")),
     ("events", [{**event(0), "to": "flying"}], ("/events/0/to", "unknown_code")),
     ("signatures", [{"party_id": "p", "digest": OTHER, "value": "x"}],
      ("/signatures/0/digest", "digest_differs")),
     ("content_digest", "abab", ("/content_digest", "format_digest")),
     ("rating", {"score": 6}, ("/rating/score", "maximum")),
     ("dispute", [{"raised_by": "p", "ground": "g", "opened_at": "today"}],
      ("/dispute/0/opened_at", "format_date_time"))],
)  # fmt: skip
def test_a_bad_record_is_told_at_its_place(
    key: str, value: Any, problem: tuple[str, str] | None
) -> None:
    found = places({**record(), key: value}, "trading-record")
    assert found == ({problem} if problem else set())


def test_only_the_first_event_has_none_before_it() -> None:
    assert places({**event(1), "prev_digest": None}, "event") == {("/prev_digest", "missing")}
    assert places({**event(0), "prev_digest": DIGEST}, "event") == {("/prev_digest", "first_event")}


def test_an_agreement_names_both_parties_and_its_time() -> None:
    policy = agreed_policy()
    for key in ("assigner", "assignee", "target", "timestamp"):
        del policy[key]
    assert {place for place, _ in places(policy, "policy")} == {
        "/assigner", "/assignee", "/target", "/timestamp"
    }  # fmt: skip


@pytest.mark.parametrize(
    "constraint",
    [{"leftOperand": "purpose", "operator": "eq", "rightOperand": "training"},
     {"leftOperand": {"@id": "odrl:spatial"}, "operator": {"@id": "odrl:isPartOf"},
      "rightOperand": "CN"},
     {"leftOperand": "own:qualification", "operator": "isA", "rightOperandReference": "x"},
     {"and": [{"leftOperand": "count", "operator": "lteq", "rightOperand": 3}]}],
)  # fmt: skip
def test_constraints_may_be_written_in_every_form_of_odrl(constraint: dict[str, Any]) -> None:
    policy = agreed_policy()
    policy["permission"][0]["constraint"] = [constraint]
    assert places(policy, "policy") == set()


def test_a_policy_nested_without_end_is_refused_quietly() -> None:
    rule: dict[str, Any] = {"action": "use"}
    for _ in range(40):
        rule = {"action": "use", "duty": [rule]}
    policy = {**agreed_policy(), "permission": [rule]}
    assert {code for _, code in places(policy, "policy")} == {"too_large"}


@pytest.mark.parametrize("name", ["trading-record", "agreement", "event", "offer", "policy"])
@pytest.mark.parametrize("thing", [None, [], "x", {}, {"events": "x", "policy": [], "user": 1}])
def test_what_is_no_record_is_refused(name: str, thing: Any) -> None:
    assert places(thing, name)
