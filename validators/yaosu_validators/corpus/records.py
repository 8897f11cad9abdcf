"""Are the records what their shape asks for: something asked and answered, turns in order?"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow.compute as pc

from yaosu_schemas.errors import Text
from yaosu_schemas.report import Metric
from yaosu_validators.check import Conclusion, Finding, check

from .personal_names import shown
from .view import ANSWERS, PROMPTS, About, Ints, Places, Role, View

_START, _END = 30, 31
_R = Role
_FOLLOWS = {
    _START: (_R.SYSTEM, _R.PROMPT, _R.CHOSEN, _R.REJECTED),
    _R.SYSTEM: (_R.PROMPT,),
    _R.PROMPT: (_R.ANSWER, _R.TOOL, _R.CHOSEN, _R.REJECTED, _END),
    _R.ANSWER: (_R.PROMPT, _R.TOOL, _END),
    _R.CHOSEN: (_R.PROMPT, _R.TOOL, _END),
    _R.REJECTED: (_R.PROMPT, _R.TOOL, _END),
    _R.TOOL: (_R.OBSERVATION, _R.TOOL, _END),
    _R.OBSERVATION: (_R.ANSWER, _R.TOOL, _R.OBSERVATION, _R.CHOSEN, _R.REJECTED, _R.PROMPT),
}
_MAY_FOLLOW = np.zeros((32, 32), bool)
for _before, _after in _FOLLOWS.items():
    _MAY_FOLLOW[_before, list(_after)] = True
_ASKED = ("instruction", "messages", "preference", "kto", "qa")
KINDS = ("missing-prompt", "missing-answer", "empty-turn", "role-order", "unknown-speaker")
_NOTES = {
    "missing-prompt": Text("nothing is asked", "没有提问内容"),
    "missing-answer": Text("there is no answer, or an empty one", "没有回答，或回答为空"),
    "empty-turn": Text("a turn says nothing", "有一轮没有内容"),
    "role-order": Text("a speaker does not follow the one before", "发言者顺序不符"),
    "unknown-speaker": Text("a speaker is of no known kind", "有无法识别的发言者"),
}


@dataclass(slots=True)
class RecordsState:
    """Counts of one resource, and the first places of each problem."""

    asked: tuple[str, ...] = ()  # the problems that records of this shape can have
    records: int = 0
    bad: int = 0
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(KINDS, 0))
    places: dict[str, list[int]] = field(default_factory=lambda: {k: [] for k in KINDS})


@check("corpus.records", "1")
@dataclass(frozen=True, slots=True, kw_only=True)
class Records:
    """Every record has the parts that its shape asks for, and its turns are in order."""

    listed: int = 1000  # findings of one kind that are listed of one resource
    sees: ClassVar = "records"

    def start(self, about: About) -> RecordsState:
        return RecordsState(_asked_of(about))

    def observe(self, state: RecordsState, view: View) -> RecordsState:
        bad = np.zeros(len(view), bool)
        problems = _problems(view) if state.asked else {}
        for kind in state.asked:
            found = problems[kind]
            state.counts[kind] += int(found.sum())
            room = self.listed - len(state.places[kind])
            state.places[kind] += view.positions[found][:room].tolist()
            bad |= found
        state.records += len(view)
        state.bad += int(bad.sum())
        return state

    def merge(self, left: RecordsState, right: RecordsState) -> RecordsState:
        left.records += right.records
        left.bad += right.bad
        for kind in KINDS:
            left.counts[kind] += right.counts[kind]
            room = self.listed - len(left.places[kind])
            left.places[kind] += right.places[kind][:room]
        return left

    def conclude(self, states: Sequence[tuple[About, RecordsState]], places: Places) -> Conclusion:
        asked = [(about, state) for about, state in states if state.asked]
        findings: list[tuple[str, Finding]] = []
        for about, state in asked:
            for kind in state.asked:
                where = np.array(state.places[kind], np.int64)
                for row in places.rows(about.resource, where).tolist():
                    note = _NOTES[kind]
                    found = Finding(type=kind, note=note, row=row, severity="warning")
                    findings.append((about.resource, found))
        total = sum(s.records for _, s in asked)
        bad = sum(state.bad for _, state in asked)
        return Conclusion(
            metrics=(
                Metric(
                    id="tc609:0204",
                    standard="TC609-5-2025-04",
                    value=None if not total else (total - bad) / total,
                    numerator=total - bad,
                    denominator=total,
                    n=total,
                ),
            )
            if states
            else (),
            findings=tuple(findings),
            evidence={
                "resources": [
                    {
                        "resource": about.resource,
                        "shape": about.shape,
                        "split": about.split,
                        "records": state.records,
                        "fields": {shown(name): role for name, role in about.fields},
                        "problems": {k: state.counts[k] for k in state.asked},
                        "listed": self.listed,
                    }
                    for about, state in states
                ]
            },
        )


def _asked_of(about: About) -> tuple[str, ...]:
    """Return the problems that records of this shape can have."""
    if about.shape not in _ASKED:
        return ()
    return KINDS if about.shape in ("messages", "kto", "preference") else KINDS[:2]


def _problems(view: View) -> dict[str, npt.NDArray[np.bool_]]:
    """Return of each kind which records have it: bool (n,)."""
    said = np.asarray(
        pc.greater(pc.binary_length(pc.utf8_trim_whitespace(view.texts)), 0)
    ).astype(bool) if len(view.texts) else np.zeros(0, bool)  # fmt: skip
    owners = view.owners()
    count = len(view)

    def some(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
        return np.bincount(owners[mask], minlength=count).astype(bool)

    asked = some(view.of(PROMPTS) & said)
    sides = [some(view.of((role,)) & said) for role in ANSWERS]
    answered = sides[0] | (sides[1] & sides[2]) | (sides[1] & ~some(view.of((Role.REJECTED,))))
    called = some(view.of((Role.TOOL,)) & said)
    talk = view.turns >= 0
    spoken = talk & (view.roles != Role.CELL)
    order, empty = _turns(view, owners, said, spoken)
    paired = sides[1] & sides[2]  # both sides may hold the whole dialogue, prompt included
    return {
        "missing-prompt": ~asked & ~paired,
        "missing-answer": ~answered & ~called,
        "empty-turn": np.bincount(owners[empty], minlength=count).astype(bool),
        "role-order": np.bincount(owners[order], minlength=count).astype(bool),
        "unknown-speaker": some(spoken & (view.roles == Role.TEXT)),
    }


def _turns(
    view: View,
    owners: Ints,
    said: npt.NDArray[np.bool_],
    spoken: npt.NDArray[np.bool_],
) -> tuple[Ints, Ints]:
    """Return the segments that begin a turn out of order, and those that begin an empty one."""
    at = np.flatnonzero(spoken)
    none = np.zeros(0, np.int64)
    if not len(at):
        return none, none
    roots = np.array([_root_number(name, view.names) for name in view.names], np.int64)
    talk = owners[at] * (len(view.names) + 1) + roots[view.fields[at]]
    turn = view.turns[at]
    new_talk = np.concatenate(([True], talk[1:] != talk[:-1]))
    new_turn = new_talk | np.concatenate(([True], turn[1:] != turn[:-1]))
    firsts = np.flatnonzero(new_turn)
    lasts = np.concatenate((firsts[1:], [len(at)])) - 1
    begins = new_talk[firsts]
    role_in, role_out = view.roles[at[firsts]], view.roles[at[lasts]]
    before = np.where(begins, _START, np.concatenate(([_START], role_out[:-1])))
    ends = np.concatenate((begins[1:], [True]))
    wrong = ~_MAY_FOLLOW[before, role_in] | (ends & ~_MAY_FOLLOW[role_out, _END])
    known = (role_in != Role.TEXT) & (before != Role.TEXT) & (role_out != Role.TEXT)
    silent = np.add.reduceat(said[at].astype(np.int64), firsts) == 0
    return at[firsts[wrong & known]], at[firsts[silent]]


def _root_number(name: str, names: Sequence[str]) -> int:
    """Return the number of the conversation that a field belongs to: its path up to the list."""
    root = name.split("[]", 1)[0]
    return next((i for i, other in enumerate(names) if other.split("[]", 1)[0] == root), 0)
