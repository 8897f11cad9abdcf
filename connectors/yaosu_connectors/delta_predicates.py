"""Predicates that a client sends as hints: can a file with these statistics hold such a row?

The JSON form of the protocol (`jsonPredicateHints`): operations over columns and literals. A hint
is never a filter: whatever is not understood lets the file through, and the client filters.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import Any

MAX_HINT = 100_000
DEEP = 50
_READ: Mapping[str, Callable[[str], Any]] = {
    "int": int,
    "long": int,
    "string": str,
    "float": float,
    "double": float,
    "date": date.fromisoformat,
    "bool": lambda text: {"true": True, "false": False}[text.lower()],
    "boolean": lambda text: {"true": True, "false": False}[text.lower()],
    "timestamp": lambda text: _utc(datetime.fromisoformat(text)),
}
_RULES: Mapping[str, Callable[[Any, Any, Any], bool]] = {
    "equal": lambda low, high, value: low <= value <= high,
    "lessThan": lambda low, high, value: low < value,
    "lessThanOrEqual": lambda low, high, value: low <= value,
    "greaterThan": lambda low, high, value: high > value,
    "greaterThanOrEqual": lambda low, high, value: high >= value,
}
_TURNED = {"lessThan": "greaterThan", "lessThanOrEqual": "greaterThanOrEqual",
           "greaterThan": "lessThan", "greaterThanOrEqual": "lessThanOrEqual"}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Range:
    """What is known of a column of a file; `low` is None where only nulls are counted."""

    low: Any
    high: Any
    nulls: int | None
    rows: int


class _Unknown(Exception):
    """Something that this reader does not understand."""


_ODD = (_Unknown, ValueError, LookupError, TypeError, AttributeError, RecursionError)


def may_hold(hint: object, columns: Mapping[str, Range]) -> bool:
    """Say whether a file can hold a row for which the hint is true; True for what is no hint."""
    if not isinstance(hint, str) or not hint or len(hint) > MAX_HINT:
        return True
    try:
        return _may(json.loads(hint), {name.lower(): r for name, r in columns.items()}, 0)
    except _ODD:
        return True


def _may(said: Any, columns: Mapping[str, Range], depth: int) -> bool:
    if not isinstance(said, dict) or depth > DEEP:
        raise _Unknown
    operation = str(said.get("op"))
    parts = said.get("children") or []
    if operation in ("and", "or"):
        # A part that is not understood may be true: it never rules anything out.
        found = [_or_true(part, columns, depth) for part in parts]
        return all(found) if operation == "and" else any(found) or not found
    if operation == "isNull":
        column = _column(parts[0], columns)
        return column.nulls is None or column.nulls > 0
    if operation == "in":
        column = _column(parts[0], columns)
        return any(_compare("equal", column, _literal(part)) for part in parts[1:])
    if operation not in _RULES or len(parts) != 2:
        raise _Unknown
    if parts[0].get("op") == "literal":  # 5 < column
        return _compare(_TURNED.get(operation, operation), _column(parts[1], columns),
                        _literal(parts[0]))  # fmt: skip
    return _compare(operation, _column(parts[0], columns), _literal(parts[1]))


def _or_true(part: Any, columns: Mapping[str, Range], depth: int) -> bool:
    try:
        return _may(part, columns, depth + 1)
    except _ODD:
        return True


def _column(said: Any, columns: Mapping[str, Range]) -> Range:
    if said.get("op") != "column":
        raise _Unknown
    return columns[str(said["name"]).lower()]


def _literal(said: Any) -> Any:
    if said.get("op") != "literal":
        raise _Unknown
    return _READ[str(said.get("valueType"))](str(said["value"]))


def _compare(operation: str, column: Range, value: Any) -> bool:
    """Compare a literal with the range of a column; nulls alone equal nothing."""
    if column.nulls is not None and column.nulls == column.rows:
        return False
    low, high = column.low, column.high
    if low is None or high is None:
        return True
    if isinstance(low, datetime) and isinstance(value, datetime):
        low, high = _utc(low), _utc(high)
    numbers = (int, float)
    same = type(low) is type(value) or (isinstance(low, numbers) and isinstance(value, numbers))
    if not same or any(isinstance(v, float) and math.isnan(v) for v in (low, high, value)):
        return True
    return _RULES[operation](low, high, value)


def _utc(moment: datetime) -> datetime:
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
