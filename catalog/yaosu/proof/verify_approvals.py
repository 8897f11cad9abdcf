"""Offline verification of approvals: no step under a rule was taken without its yes (four eyes).

Everything is read from the chains of events, which nobody can change: rules as they were set and
ended, requests, every yes, and the steps themselves, whose events name the request they rest on.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import chain
from typing import Any

from yaosu.organisation.kinds import LISTING, TRADE, USAGE

from .proofs import Findings, strict_json
from .verify_database import Database, PostgresDatabase

_Event = tuple[int, str, str, str, datetime, Mapping[str, Any]]
"""Store number, subject, type, who, when, payload."""
_SLACK = timedelta(seconds=5)
"""On PostgreSQL steps run beside each other: one that began before a rule never saw it."""
_OF_EVENT = {
    ("trd", "sign"): "sign",
    ("trd", "offer"): "answer",
    ("trd", "counter"): "counter",
    ("trd", "agree"): "agree",
    ("trd", "deletion_confirmed"): "confirm_deletion",
    ("usr", "usage_recorded"): "record_usage",
    ("lst", "submit"): "submit",
    ("lst", "offer"): "offer",
}
_KEPT = ("rule_set", "rule_ended", "approval_asked", "approval_given", "approval_done")
_STEPS = tuple(sorted({type for _, type in _OF_EVENT}))


@dataclass(slots=True)
class _Rule:
    party_id: str
    step: str
    above_fen: int | None
    approvers: frozenset[str]
    set_id: int
    set_at: datetime
    ended_id: int | None = None
    ended_at: datetime | None = None


@dataclass(slots=True)
class _Request:
    party_id: str
    subject_id: str
    action: str
    asked_by: str
    given: list[tuple[str, frozenset[str]]] = field(default_factory=list)
    done: bool = False


def check_approvals(db: Database, found: Findings) -> None:
    """Read rules and requests, then ask of each step what it rests on."""
    if "approval_rule" not in db.tables():
        return  # of a release before there were any
    rules: dict[str, _Rule] = {}
    requests: dict[str, _Request] = {}
    ends: list[_Event] = []
    for event in _events(db, _KEPT):
        number, subject, type, actor, at, said = event
        _of_party(number, subject, type, actor, at, said, rules, requests)
        if type == "rule_ended":
            ends.append((number, str(said["rule_id"]), type, actor, at, said))
    if rules or requests:
        steps = (e for e in _events(db, _STEPS) if (e[1][:3], e[2]) in _OF_EVENT)
        _Steps(db, rules, requests, found).check(chain(ends, steps))


def _events(db: Database, types: Sequence[str]) -> Iterator[_Event]:
    """Yield the events of these types in store order, their payloads read."""
    marks = ", ".join(f"'{t}'" for t in types)
    rows = db.execute(
        "SELECT id, subject_id, type, actor_id, at, payload FROM event "
        f"WHERE type IN ({marks}) ORDER BY id"
    )
    for number, subject, type, actor, at, payload in rows:
        said = strict_json(payload) or {}
        yield number, subject, type, actor, datetime.fromisoformat(at), said


def _of_party(
    number: int,
    party_id: str,
    type: str,
    actor: str,
    at: datetime,
    said: Mapping[str, Any],
    rules: dict[str, _Rule],
    requests: dict[str, _Request],
) -> None:
    if type == "rule_set":
        rules[said["rule_id"]] = _Rule(
            party_id, said["step"], said["above_fen"], frozenset(said["approvers"]), number, at
        )
    elif type == "rule_ended":
        rules[said["rule_id"]].ended_id, rules[said["rule_id"]].ended_at = number, at
    elif type == "approval_asked":
        made = _Request(party_id, said["subject_id"], said["action"], actor)
        requests[said["approval_id"]] = made
    elif type == "approval_given":
        requests[said["approval_id"]].given.append((actor, frozenset(said["rules"])))
    else:
        requests[said["approval_id"]].done = True


def _trades(db: Database) -> Iterator[tuple[str, tuple[str, int | None]]]:
    """Yield the buyer of each trade and what it comes to."""
    for trade_id, body in db.execute("SELECT id, body FROM trade"):
        trade = strict_json(body)
        yield trade_id, (trade["user_id"], trade["terms"].get("amount_fen"))


class _Steps:
    """The steps of a market, each held against the rules and the requests."""

    def __init__(
        self,
        db: Database,
        rules: Mapping[str, _Rule],
        requests: Mapping[str, _Request],
        found: Findings,
    ) -> None:
        self.rules = rules
        self.requests = requests
        self.found = found
        self.by_time = isinstance(db, PostgresDatabase)
        self.party_of = {
            i: strict_json(body)["party_id"]
            for i, body in db.execute("SELECT id, body FROM member")
        }
        self.trades = dict(_trades(db))
        self.used: Counter[str] = Counter()

    def check(self, steps: Iterable[_Event]) -> None:
        for number, subject, type, actor, at, said in steps:
            place = f"/events/{number}"
            with self.found.shape(place):
                self._step(place, number, subject, type, actor, at, said)
        for name, request in self.requests.items():
            self.found.checked["approvals"] += 1
            self.found.need(
                self.used[name] == (1 if request.done else 0),
                f"/approvals/{name}",
                "approval",
                f"the request was carried out {self.used[name]} times; it is "
                f"{'approved' if request.done else 'not approved'}",
                f"该审批执行了 {self.used[name]} 次，"
                f"状态为{'已批准' if request.done else '未批准'}",
            )

    def _step(
        self,
        place: str,
        number: int,
        subject: str,
        type: str,
        actor: str,
        at: datetime,
        said: Mapping[str, Any],
    ) -> None:
        name = said.get("approval_id")
        request = self.requests.get(str(name))
        action = "end_rule" if type == "rule_ended" else _OF_EVENT[subject[:3], type]
        if name is not None:
            self.used[str(name)] += 1
            self.found.need(
                request is not None
                and request.done
                and (request.subject_id, request.asked_by) == (subject, actor)
                and action == request.action,
                place,
                "approval",
                "the step names a request that is not for it, or was not approved",
                "该步骤引用的审批不存在、未批准或与其不符",
            )
        party = self.party_of.get(actor)
        if party is None or action == "end_rule":
            return
        for rule_id, rule in self._applying(number, subject, action, party, at):
            self.found.checked["steps under a rule"] += 1
            self.found.need(
                request is not None
                and any(
                    rule_id in ids and who in rule.approvers and who != actor
                    for who, ids in request.given
                ),
                place,
                "approval",
                f"the step stands under the rule {rule_id}, and no approver of it said yes",
                f"该步骤受规则 {rule_id} 约束，但没有审批人批准",
            )

    def _applying(
        self, number: int, subject: str, action: str, party: str, at: datetime
    ) -> list[tuple[str, _Rule]]:
        """Return the rules of the party that held when the step was taken."""
        buyer, amount = self.trades.get(subject, ("", None))
        table = TRADE["buyer" if buyer == party else "provider"]
        kinds = {"trd": table, "usr": USAGE}.get(subject[:3], LISTING).get(action, ())
        return [
            (rule_id, rule)
            for rule_id, rule in self.rules.items()
            if rule.party_id == party
            and rule.step in kinds
            and (rule.above_fen is None or (amount is not None and amount > rule.above_fen))
            and self._held(rule, number, at)
        ]

    def _held(self, rule: _Rule, number: int, at: datetime) -> bool:
        if not self.by_time:
            return rule.set_id < number and (rule.ended_id is None or number < rule.ended_id)
        return rule.set_at + _SLACK < at and (rule.ended_at is None or at < rule.ended_at - _SLACK)
