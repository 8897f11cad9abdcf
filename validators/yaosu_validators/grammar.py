"""Lexical forms as RE2 text: what a valid cell of a type may look like, bounds included.

Every form is a *part* of what `readers.py` accepts, never more: a cell outside goes the exact
way. Forms hold no delimiter, quote or line break, so they can stand inside a line of CSV.
"""

from __future__ import annotations

import calendar
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime, time
from decimal import Decimal
from typing import Any

from .fields import BOUNDS, Field
from .patterns import subset
from .readers import cell_reader, value_reader

MAX_DIGITS = 18
_MAX_LENGTH = 200  # longer counted repeats make automata that thrash
_MAX_TEXTS = 2_000
_LEAP = r"(?:[0-9]{2}(?:0[48]|[2468][048]|[13579][26])|(?:0[48]|[2468][048]|[13579][26])00)"
_YEAR = r"(?:000[1-9]|00[1-9][0-9]|0[1-9][0-9]{2}|[1-9][0-9]{3})"
_MONTH_DAY = (
    r"(?:(?:0[13578]|1[02])-(?:0[1-9]|[12][0-9]|3[01])"
    r"|(?:0[469]|11)-(?:0[1-9]|[12][0-9]|30)|02-(?:0[1-9]|1[0-9]|2[0-8]))"
)
_DATE = rf"(?:{_YEAR}-{_MONTH_DAY}|{_LEAP}-02-29)"
_HOURS = r"(?:[01][0-9]|2[0-3])"
_MIN_SEC = r":[0-5][0-9]:[0-5][0-9]"
_FRACTION = r"(?:\.[0-9]{1,6})?"
_ZONE = r"(?:Z|[+-](?:0[0-9]|1[0-9]|2[0-3]):[0-5][0-9])?"


@dataclass(frozen=True, slots=True)
class Form:
    """RE2 text for a present cell. `whole` says that it proves every constraint of the field."""

    text: str
    whole: bool = True


def form_of(field: Field, excluded: str, *, canonical: bool = False) -> Form | None:
    """Return a form for one field, or None where nothing can be said.

    `canonical` keeps to forms whose text is the key itself: one spelling for each value.
    """
    texts = _texts(field, excluded)
    if texts is not None:
        return None if canonical and field.type != "string" else Form(_one_of(texts))
    if field.type in ("array", "object") or field.categories is not None:
        return None
    constraints = {
        k: v
        for k, v in field.constraints.items()
        if v is not None and k not in ("required", "unique")
    }
    maker = _FORMS.get(field.type)
    if maker is None or "enum" in constraints:
        return None
    return maker(field, constraints, excluded, canonical)


def _texts(field: Field, excluded: str) -> list[str] | None:
    """Return the spellings of a field that has few, each tried on the exact reader."""
    if field.type == "boolean" and not field.constraints.get("enum"):
        raw: Iterable[Any] = (*field.true_values, *field.false_values)
    elif field.constraints.get("enum") and len(field.constraints["enum"]) <= _MAX_TEXTS:
        raw = field.constraints["enum"]
    else:
        return None
    read = cell_reader(field)
    good = []
    for text in dict.fromkeys(v if isinstance(v, str) else str(v) for v in raw):
        value, notes = read(text)
        if value is not None and not notes and not any(c in text for c in excluded):
            good.append(text)
    return good or None


def _one_of(texts: list[str]) -> str:
    return "(?:" + "|".join(literal(t) for t in texts) + ")"


def literal(text: str) -> str:
    """Return RE2 text for exactly this text."""
    return "".join(
        c if c.isascii() and (c.isalnum() or c in " _") else f"\\x{{{ord(c):x}}}" for c in text
    )


# --- text --------------------------------------------------------------------------------------


def _string(
    field: Field, constraints: dict[str, Any], excluded: str, canonical: bool
) -> Form | None:
    if field.format != "default":
        return Form(f"[^{_escaped(excluded)}]+", whole=False)
    low, high = constraints.get("minLength", 0), constraints.get("maxLength")
    any_ = f"[^{_escaped(excluded)}]"
    pattern = constraints.get("pattern")
    if pattern is not None:
        inner = subset(pattern, excluded)
        if inner is not None and not low and high is None:
            return Form(inner)
        return Form(any_ + "+", whole=False)
    if low > _MAX_LENGTH or (high or 0) > _MAX_LENGTH:
        return Form(any_ + "+", whole=False)
    low = max(1, low)
    return Form(any_ + (f"{{{low},}}" if high is None else f"{{{low},{high}}}"))


def _escaped(chars: str) -> str:
    return "".join(f"\\x{{{ord(c):x}}}" for c in chars)


def _any(field: Field, constraints: dict[str, Any], excluded: str, canonical: bool) -> Form | None:
    return None if constraints else Form(f"[^{_escaped(excluded)}]+")


# --- numbers -----------------------------------------------------------------------------------


def _integer(
    field: Field, constraints: dict[str, Any], excluded: str, canonical: bool
) -> Form | None:
    if not field.bare_number or field.group_char or "-" in excluded:
        return None
    low, high = _limits(field, constraints, 1)
    inner = integers(low, high)
    if inner is None:
        return None
    return Form(inner if canonical else rf" *(?:{inner}) *" if " " not in excluded else inner)


def _limits(field: Field, constraints: dict[str, Any], step: int) -> tuple[Any | None, Any | None]:
    """Return the inclusive limits of whole values."""
    read = value_reader(field)
    lows, highs = [], []
    for name in BOUNDS:
        if name not in constraints:
            continue
        bound = read(constraints[name])
        if name == "minimum":
            lows.append(bound)
        elif name == "exclusiveMinimum":
            lows.append(bound + step)
        elif name == "maximum":
            highs.append(bound)
        else:
            highs.append(bound - step)
    return max(lows, default=None), min(highs, default=None)


def integers(low: int | None, high: int | None) -> str | None:
    """Return a form for whole numbers without leading zeros in a closed interval."""
    top = 10**MAX_DIGITS - 1
    low = -top if low is None else max(low, -top)
    high = top if high is None else min(high, top)
    if low > high:
        return None
    parts = []
    if high >= 0:
        parts.append(_naturals(max(low, 0), high))
    if low < 0:
        parts.append("-" + _naturals(max(-high, 1), -low))
    return "(?:" + "|".join(parts) + ")"


def _naturals(low: int, high: int) -> str:
    if low <= 1 and high == 10**MAX_DIGITS - 1:
        return f"(?:[1-9][0-9]{{0,{MAX_DIGITS - 1}}}" + ("|0)" if low == 0 else ")")
    parts = []
    for width in range(len(str(low)), len(str(high)) + 1):
        first = max(low, 10 ** (width - 1) if width > 1 else 0)
        last = min(high, 10**width - 1)
        if first <= last:
            parts.append(digits(str(first), str(last)))
    return "(?:" + "|".join(parts) + ")"


def digits(low: str, high: str) -> str:
    """Return a form for digit strings of one width between two such strings."""
    if not low:
        return ""
    if set(low) == {"0"} and set(high) == {"9"}:
        return f"[0-9]{{{len(low)}}}"
    if low[0] == high[0]:
        return low[0] + digits(low[1:], high[1:])
    rest = len(low) - 1
    first, last = int(low[0]), int(high[0])
    parts = []
    if set(low[1:]) - {"0"}:
        parts.append(low[0] + digits(low[1:], "9" * rest))
        first += 1
    if set(high[1:]) - {"9"}:
        parts.append(high[0] + digits("0" * rest, high[1:]))
        last -= 1
    if first <= last:
        lead = str(first) if first == last else f"[{first}-{last}]"
        parts.append(lead + (f"[0-9]{{{rest}}}" if rest else ""))
    return parts[0] if len(parts) == 1 else "(?:" + "|".join(parts) + ")"


def _number(
    field: Field, constraints: dict[str, Any], excluded: str, canonical: bool
) -> Form | None:
    if field.number_rules or field.float_number or any(c in excluded for c in "-."):
        return None
    read = value_reader(field)
    bounds: dict[str, Decimal] = {}
    for name in BOUNDS:
        if name in constraints:
            bound = read(constraints[name])
            if not isinstance(bound, Decimal):
                bound = Decimal(bound)
            if not bound.is_finite() or abs(bound) > 10**15:
                return None
            bounds[name] = bound
    if canonical:
        whole = r"(?:0|-?[1-9][0-9]{0,17})"
        fraction = r"-?(?:0|[1-9][0-9]{0,11})\.[0-9]{0,11}[1-9]"
        return None if bounds else Form(f"(?:{whole}|{fraction})")
    if not bounds:
        inner = r"[+-]?(?:[0-9]{1,18}(?:\.[0-9]{0,18})?|\.[0-9]{1,18})(?:[eE][+-]?[0-9]{1,2})?"
    else:
        found = decimals(bounds)
        if found is None:
            return None
        inner = found
    return Form(f" *(?:{inner}) *" if " " not in excluded else inner)


def decimals(bounds: dict[str, Decimal]) -> str | None:
    """Return a form for decimals between exact bounds."""
    low, low_open = _tighter(bounds, "minimum", "exclusiveMinimum", 1)
    high, high_open = _tighter(bounds, "maximum", "exclusiveMaximum", -1)
    parts = []
    if high is None or high >= 0:
        at = (low, low_open) if low is not None and low > 0 else (Decimal(0), low == 0 and low_open)
        part = _between(at[0] or Decimal(0), at[1], high, high_open)
        if part:
            parts.append(part)
    if low is None or low < 0:
        least = (-high, high_open) if high is not None and high < 0 else (Decimal(0), False)
        if high is not None and high == 0:
            least = (Decimal(0), high_open)
        most = None if low is None else -low
        part = _between(least[0], least[1], most, low_open)
        if part:
            parts.append("-" + part)
    return "(?:" + "|".join(parts) + ")" if parts else None


def _tighter(
    bounds: dict[str, Decimal], closed: str, open_: str, sign: int
) -> tuple[Decimal | None, bool]:
    a, b = bounds.get(closed), bounds.get(open_)
    if a is None:
        return b, b is not None
    if b is None or (a - b) * sign > 0:
        return a, False
    return b, True


def _between(low: Decimal, low_open: bool, high: Decimal | None, high_open: bool) -> str | None:
    """Return a form for unsigned decimals in an interval that starts at zero or above."""
    any_ = r"(?:\.[0-9]+)?"
    a, af = _split(low)
    parts = []
    if high is None:
        parts.append(_naturals(a + 1, 10**MAX_DIGITS - 1) + any_)
        parts.append(f"{a}{_fraction_above(af, low_open)}")
        return "(?:" + "|".join(parts) + ")"
    b, bf = _split(high)
    if a > b:
        return None
    if a == b:
        inner = _fraction_between(af, low_open, bf, high_open)
        return None if inner is None else f"{a}{inner}"
    if a + 1 <= b - 1:
        parts.append(_naturals(a + 1, b - 1) + any_)
    parts.append(f"{a}{_fraction_above(af, low_open)}")
    below = _fraction_below(bf, high_open)
    if below is not None:
        parts.append(f"{b}{below}")
    return "(?:" + "|".join(parts) + ")"


def _split(value: Decimal) -> tuple[int, str]:
    whole, _, fraction = f"{value:f}".partition(".")
    return int(whole), fraction.rstrip("0")


def _fraction_above(bound: str, open_: bool) -> str:
    if not bound:
        return r"\.[0-9]*[1-9][0-9]*" if open_ else r"(?:\.[0-9]+)?"
    parts = [f"{bound[:k]}[{int(d) + 1}-9][0-9]*" for k, d in enumerate(bound) if int(d) < 9]
    parts.append(f"{bound}[0-9]*[1-9][0-9]*" if open_ else f"{bound}[0-9]*")
    return r"\.(?:" + "|".join(parts) + ")"


def _fraction_below(bound: str, open_: bool) -> str | None:
    if not bound:
        return None if open_ else r"(?:\.0+)?"
    parts = [f"{bound[:k]}[0-{int(d) - 1}][0-9]*" for k, d in enumerate(bound) if int(d) > 0]
    parts += [bound[:k] for k in range(1, len(bound))]
    if not open_:
        parts.append(f"{bound}0*")
    return r"(?:\.(?:" + "|".join(parts) + "))?"


def _fraction_between(low: str, low_open: bool, high: str, high_open: bool) -> str | None:
    """Return a form for what follows one whole number between two fractions of it."""
    if not low and not low_open:
        return _fraction_below(high, high_open)
    width = max(len(low), len(high), 1)
    first = int(low.ljust(width, "0")) + low_open
    last = int(high.ljust(width, "0")) if high else 0
    parts = []
    for k in range(1, width + 1):
        unit = 10 ** (width - k)
        least = -(-first // unit)
        most = (last - high_open) // unit
        if least <= most:
            parts.append(digits(str(least).rjust(k, "0"), str(most).rjust(k, "0")))
    if first <= last - 1:
        inside = digits(str(first).rjust(width, "0"), str(last - 1).rjust(width, "0"))
        parts.append(inside + "[0-9]+")
    return r"\.(?:" + "|".join(parts) + ")" if parts else None


# --- time --------------------------------------------------------------------------------------


def _date(field: Field, constraints: dict[str, Any], excluded: str, canonical: bool) -> Form | None:
    if field.format not in ("default", "%Y-%m-%d") or any(c in excluded for c in "-0123456789"):
        return None
    from datetime import timedelta

    read = value_reader(field)
    low, high = date.min, date.max
    try:
        for name in BOUNDS:
            if name not in constraints:
                continue
            bound = read(constraints[name])
            if name.endswith("inimum"):
                low = max(low, bound if name == "minimum" else bound + timedelta(days=1))
            else:
                high = min(high, bound if name == "maximum" else bound - timedelta(days=1))
    except OverflowError:
        return None
    if low > high:
        return None
    return Form(dates(low, high))


def dates(low: date, high: date) -> str:
    """Return a form for dates in a closed interval."""
    if low == date.min and high == date.max:
        return _DATE
    parts = []
    first, last = low.year, high.year
    if (low.month, low.day) != (1, 1) or low.year == high.year:
        stop = high if low.year == high.year else date(low.year, 12, 31)
        parts.append(_months(low.year, (low.month, low.day), (stop.month, stop.day)))
        first += 1
    if (high.month, high.day) != (12, 31) and high.year >= first:
        parts.append(_months(high.year, (1, 1), (high.month, high.day)))
        last -= 1
    if first <= last:
        parts.append(digits(f"{first:04}", f"{last:04}") + "-" + _MONTH_DAY)
        leaps = [y for y in range(first, last + 1) if calendar.isleap(y)]
        if leaps and len(leaps) <= 100:
            parts.append("(?:" + "|".join(f"{y:04}" for y in leaps) + ")-02-29")
    return "(?:" + "|".join(parts) + ")"


def _months(year: int, low: tuple[int, int], high: tuple[int, int]) -> str:
    parts = []
    for month in range(low[0], high[0] + 1):
        first = low[1] if month == low[0] else 1
        last = calendar.monthrange(year, month)[1]
        last = high[1] if month == high[0] else last
        parts.append(f"{month:02}-{digits(f'{first:02}', f'{last:02}')}")
    return f"{year:04}-(?:{'|'.join(parts)})"


def _datetime(
    field: Field, constraints: dict[str, Any], excluded: str, canonical: bool
) -> Form | None:
    if field.format != "default" or any(c in excluded for c in "-:T0123456789"):
        return None
    bounds = [value_reader(field)(constraints[n]) for n in BOUNDS if n in constraints]
    clock = _HOURS + _MIN_SEC
    if canonical:
        return None if bounds else Form(f"{_DATE}T{clock}")
    if not bounds:
        tail = _FRACTION + _ZONE if "+" not in excluded and "." not in excluded else ""
        return Form(
            f"{_DATE}[T ]{clock}{tail}" if " " not in excluded else f"{_DATE}T{clock}{tail}"
        )
    if any(b is None or b.tzinfo is not None for b in bounds):
        return None
    inside = _days_inside(field, constraints)
    return None if inside is None else Form(f"{inside}T{clock}")


def _days_inside(field: Field, constraints: dict[str, Any]) -> str | None:
    """Return a form for the days that lie wholly between the bounds."""
    from datetime import timedelta

    read = value_reader(field)
    low, high = date.min, date.max
    day = timedelta(days=1)
    try:
        for name in BOUNDS:
            if name in constraints:
                moment: datetime = read(constraints[name])
                if name.endswith("inimum"):
                    low = max(low, moment.date() + day)
                else:
                    high = min(high, moment.date() - day)
    except OverflowError:
        return None
    return dates(low, high) if low <= high else None


def _time(field: Field, constraints: dict[str, Any], excluded: str, canonical: bool) -> Form | None:
    if field.format != "default" or canonical or any(c in excluded for c in ":0123456789"):
        return None
    bounds: list[time] = [value_reader(field)(constraints[n]) for n in BOUNDS if n in constraints]
    if not bounds:
        return Form(_HOURS + _MIN_SEC)
    if any(b.tzinfo is not None for b in bounds):
        return None
    low, high = 0, 23
    for name in BOUNDS:
        if name in constraints:
            hour = value_reader(field)(constraints[name]).hour
            if name.endswith("inimum"):
                low = max(low, hour + 1)
            else:
                high = min(high, hour - 1)
    return Form(digits(f"{low:02}", f"{high:02}") + _MIN_SEC) if low <= high else None


def _year(field: Field, constraints: dict[str, Any], excluded: str, canonical: bool) -> Form | None:
    low, high = _limits(field, constraints, 1)
    low, high = max(low or 0, 1000), min(9999 if high is None else high, 9999)
    return Form(digits(f"{low:04}", f"{high:04}")) if low <= high else None


def _yearmonth(
    field: Field, constraints: dict[str, Any], excluded: str, canonical: bool
) -> Form | None:
    if constraints or canonical or "-" in excluded:
        return None
    return Form(r"[0-9]{4}-(?:0[1-9]|1[0-2])")


def _geopoint(
    field: Field, constraints: dict[str, Any], excluded: str, canonical: bool
) -> Form | None:
    if constraints or canonical or field.format != "default" or "," in excluded:
        return None
    lon = decimals({"minimum": Decimal(-180), "maximum": Decimal(180)})
    lat = decimals({"minimum": Decimal(-90), "maximum": Decimal(90)})
    return Form(f" *{lon} *, *{lat} *")


def _loose(
    field: Field, constraints: dict[str, Any], excluded: str, canonical: bool
) -> Form | None:
    return None if canonical else Form(f"[^{_escaped(excluded)}]+", whole=False)


_FORMS = {
    "any": _any,
    "date": _date,
    "datetime": _datetime,
    "duration": _loose,
    "geopoint": _geopoint,
    "integer": _integer,
    "list": _loose,
    "number": _number,
    "string": _string,
    "time": _time,
    "year": _year,
    "yearmonth": _yearmonth,
}
