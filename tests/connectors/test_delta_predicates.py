"""A hint of a Delta Sharing client never hides a row that fits it, and rules out what it can."""

from __future__ import annotations

import json
import operator
from datetime import date, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from yaosu_connectors.delta_predicates import Range, may_hold

COMPARE = {"equal": operator.eq, "lessThan": operator.lt, "lessThanOrEqual": operator.le,
           "greaterThan": operator.gt, "greaterThanOrEqual": operator.ge}  # fmt: skip
DAYS = st.integers(0, 40).map(lambda n: date(2026, 1, 1) + timedelta(days=n))
KINDS = {"n": ("long", st.integers(-5, 5)), "t": ("string", st.text("ab", max_size=2)),
         "d": ("date", DAYS)}  # fmt: skip
ROW = st.fixed_dictionaries({name: st.none() | values for name, (_, values) in KINDS.items()})


def column(name: str) -> dict[str, Any]:
    return {"op": "column", "name": name, "valueType": KINDS[name][0]}


@st.composite
def comparisons(draw: Any) -> dict[str, Any]:
    name = draw(st.sampled_from(sorted(KINDS)))
    kind, values = KINDS[name]
    how = draw(st.sampled_from([*COMPARE, "in", "isNull"]))
    if how == "isNull":
        return {"op": how, "children": [column(name)]}
    count = draw(st.integers(1, 3)) if how == "in" else 1
    said = [{"op": "literal", "value": str(draw(values)), "valueType": kind} for _ in range(count)]
    parts = [column(name), *said]
    turned = how in COMPARE and draw(st.booleans())
    return {"op": how, "children": parts[::-1] if turned else parts}


TREES = st.recursive(
    comparisons() | st.just({"op": "not", "children": []}),
    lambda inner: st.builds(
        lambda how, parts: {"op": how, "children": parts},
        st.sampled_from(["and", "or"]), st.lists(inner, min_size=1, max_size=3),
    ),
    max_leaves=6,
)  # fmt: skip


def value_of(said: dict[str, Any], row: dict[str, Any]) -> Any:
    if said["op"] == "column":
        return row[said["name"]]
    return {"long": int, "string": str, "date": date.fromisoformat}[said["valueType"]](
        said["value"]
    )


def fits(said: dict[str, Any], row: dict[str, Any]) -> bool:
    """Evaluate a hint on a row; what is not known is true."""
    parts = said["children"]
    if said["op"] in ("and", "or"):
        return (all if said["op"] == "and" else any)(fits(p, row) for p in parts)
    if said["op"] == "not":
        return True
    values = [value_of(p, row) for p in parts]
    if said["op"] == "isNull":
        return values[0] is None
    if None in values:
        return False
    if said["op"] == "in":
        return values[0] in values[1:]
    return bool(COMPARE[said["op"]](*values))


@given(rows=st.lists(ROW, max_size=5), tree=TREES)
def test_no_row_that_fits_is_hidden(rows: list[dict[str, Any]], tree: dict[str, Any]) -> None:
    ranges = {}
    for name in KINDS:
        there = [r[name] for r in rows if r[name] is not None]
        ranges[name] = Range(low=min(there, default=None), high=max(there, default=None),
                             nulls=len(rows) - len(there), rows=len(rows))  # fmt: skip
    if any(fits(tree, row) for row in rows):
        assert may_hold(json.dumps(tree), ranges)


def test_what_lies_outside_of_the_range_is_ruled_out() -> None:
    ranges = {"N": Range(low=1, high=9, nulls=0, rows=9)}
    for how, value, there in (("equal", 10, False), ("lessThan", 1, False),
                              ("greaterThanOrEqual", 9, True), ("equal", 5, True)):  # fmt: skip
        literal = {"op": "literal", "value": str(value), "valueType": "long"}
        hint = json.dumps({"op": how, "children": [column("n"), literal]})
        assert may_hold(hint, ranges) is there, hint


@pytest.mark.parametrize(
    "hint",
    ["", "{", "[]", "null", '{"op": "and"}', '{"op": "equal", "children": []}', "7" * 200_000,
     '{"op": "in", "children": []}', '{"op": "isNull", "children": [{"op": "column"}]}',
     '{"op":"or","children":[' * 5000, json.dumps({"op": "equal", "children": [1, 2]}), 7, None],
)  # fmt: skip
def test_what_is_no_hint_lets_everything_through(hint: Any) -> None:
    assert may_hold(hint, {"n": Range(low=1, high=2, nulls=0, rows=2)})
