"""Quality floors of an agreement: what a version has to measure before it is delivered under it.

The numbers compared are those of the market's own report of the version, as exact fractions; what
was not measured does not keep a floor.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from fractions import Fraction
from typing import Any

from yaosu_schemas.measures import measure
from yaosu_schemas.texts import clip

from .errors import BelowFloor, InvalidInput
from .model import Floor, Listing, StoredReport
from .ports import Reader

OPERATORS: dict[str, tuple[Callable[[Fraction, Fraction], bool], str]] = {
    "gteq": (lambda a, b: a >= b, "≥"),
    "gt": (lambda a, b: a > b, ">"),
    "lteq": (lambda a, b: a <= b, "≤"),
    "lt": (lambda a, b: a < b, "<"),
    "eq": (lambda a, b: a == b, "="),
}
MAX_FLOORS = 50


def read(given: Iterable[Mapping[str, Any] | Floor]) -> tuple[Floor, ...]:
    """Return floors as they were asked for, each a known measure, operator and decimal."""
    found = []
    for n, row in enumerate(given):
        floor = row if isinstance(row, Floor) else Floor(**{k: str(v) for k, v in row.items()})
        if n >= MAX_FLOORS:
            raise InvalidInput("these are too many floors", "质量下限过多", field="floors")
        if measure(floor.metric) is None:
            raise _wrong(n, f"no measure {clip(floor.metric)!r}", f"没有指标“{clip(floor.metric)}”")
        if floor.operator not in OPERATORS:
            names = ", ".join(OPERATORS)
            raise _wrong(n, f"operators are: {names}", f"运算符为：{names}")
        try:
            Fraction(_short(floor.threshold))
        except (ValueError, ZeroDivisionError):
            raise _wrong(n, "a threshold is a decimal", "下限应为小数") from None
        found.append(floor)
    return tuple(found)


def _short(text: str) -> str:
    if len(text) > 40 or "e" in text.lower() or "/" in text:
        raise ValueError(text)
    return text


def _wrong(n: int, en: str, zh: str) -> InvalidInput:
    return InvalidInput(f"floor {n}: {en}", f"第 {n + 1} 项质量下限：{zh}", field=f"floors/{n}")


def missed(floors: Iterable[Floor], report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the floors that a report does not keep to, each with what was measured."""
    measured: dict[str, list[Fraction | None]] = {}
    for metric in report.get("metrics") or ():
        measured.setdefault(str(metric.get("id")), []).append(_value(metric))
    found = []
    for floor in floors:
        keeps, sign = OPERATORS[floor.operator]
        values = measured.get(floor.metric) or [None]
        bad = [v for v in values if v is None or not keeps(v, Fraction(floor.threshold))]
        if bad:
            value = None if bad[0] is None else f"{float(bad[0]):.6g}"
            found.append(
                {
                    "metric": floor.metric,
                    "operator": floor.operator,
                    "threshold": floor.threshold,
                    "measured": value,
                    "message": f"{floor.metric} is {value or 'not measured'}, "
                    f"agreed {sign} {floor.threshold}",
                    "message_zh": f"{floor.metric} 为 {value or '未测'}，"
                    f"约定 {sign} {floor.threshold}",
                }
            )
    return found


def _value(metric: Mapping[str, Any]) -> Fraction | None:
    """Return what was measured: the quotient of its counts where it has them."""
    above, below = metric.get("numerator"), metric.get("denominator")
    if isinstance(above, int) and isinstance(below, int) and metric.get("unit", "ratio") == "ratio":
        return Fraction(above, below) if below else None
    value = metric.get("value")
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    return Fraction(str(value))


def require(reader: Reader, floors: Iterable[Floor], listing: Listing) -> None:
    """Let a version pass that keeps to every floor; else BelowFloor names each that it misses."""
    floors = tuple(floors)
    if not floors:
        return
    body = reader.get(StoredReport, listing.report_id).body if listing.report_id else {}
    if found := missed(floors, body):
        raise BelowFloor(
            f"version {listing.version} is below the agreed quality: "
            + "; ".join(f["message"] for f in found),
            f"版本 {listing.version} 低于约定的质量下限："
            + "；".join(f["message_zh"] for f in found),
            listing_id=listing.id,
            floors=found,
        )
