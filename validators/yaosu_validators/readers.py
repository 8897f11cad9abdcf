"""Exact cell readers: one value at a time, with the verdicts of Frictionless 5.21.

`cell_reader(field)` returns a function `cell -> (value, notes)`: notes is None, or a list of
(finding type, Text). The fast filters may only accept what these readers accept.
"""

from __future__ import annotations

import base64
import json
import operator
import re
from collections.abc import Callable, Mapping
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from functools import partial
from typing import Any, NamedTuple

from yaosu_schemas.errors import Text
from yaosu_schemas.texts import clip

from .fields import BOUNDS, CONSTRAINTS, Field, field_from
from .patterns import matcher, searcher

Notes = list[tuple[str, Text]] | None
ValueReader = Callable[[Any], Any]
CellReader = Callable[[Any], tuple[Any, Notes]]

_LONGEST_INTEGER = 1 << 16  # Python reads 4,300 digits
_LONGEST_MOMENT = 1 << 16  # Python would write the whole of it into its error
_IN_NO_NUMBER = re.compile(r"[b-dg-hj-mo-ru-xzB-DG-HJ-MO-RU-XZ]")  # letters but e, inf and nan
_LONGEST_DATE = 1_000  # dateutil is superlinear in long digit runs
_MOMENT = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}.[0-9]{2}:[0-9]{2}:[0-9]{2}")
_AFFIXES = re.compile(r"((^[^-\d]*)|(\D*$))")


class BadConstraint(ValueError):
    """A constraint that its own field cannot read, such as the minimum "abc" of an integer."""

    def __init__(self, field: str, constraint: str, why: str = "") -> None:
        super().__init__(f"constraint {constraint!r} of field {field!r} {why}".strip())
        self.field = field
        self.constraint = constraint
        self.why = why


class GeoPoint(NamedTuple):
    lon: Any
    lat: Any


class YearMonth(NamedTuple):
    year: Any
    month: Any


def cell_reader(field: Field) -> CellReader:
    """Return the reader of one field; BadConstraint if the field contradicts itself."""
    read = value_reader(field)
    missing = frozenset(field.missing)
    tests = _tests(field, read)
    wrong = [("type-error", _type_note(field))]

    def reader(cell: Any) -> tuple[Any, Notes]:
        if (cell if type(cell) is str else str(cell)) in missing:
            cell = None
        if cell is not None:
            cell = read(cell)
            if cell is None:
                return None, wrong
        notes: Notes = None
        for test, note in tests:
            if not test(cell):
                notes = notes or []
                notes.append(("constraint-error", note))
        return cell, notes

    if field.type == "array" and field.array_item:
        return _array_reader(field, reader)
    return reader


def value_reader(field: Field) -> ValueReader:
    """Return the function that casts a present cell, or gives None if it is not of the type."""
    return _READERS[field.type](field)


def _type_note(field: Field) -> Text:
    name = f"{field.type}/{field.format}"
    if field.type == "list":
        return Text(
            f'an item is not of type "{field.item_type}"', f"有元素不是类型“{field.item_type}”"
        )
    return Text(f'it is not of type "{name}"', f"不是类型“{name}”")


def _tests(field: Field, read: ValueReader) -> list[tuple[Callable[[Any], bool], Text]]:
    tests: list[tuple[Callable[[Any], bool], Text]] = []
    for name in CONSTRAINTS[field.type]:
        raw = field.constraints.get(name)
        if raw is None:
            continue
        shown = _shown(raw)
        note = Text(f'{name} is "{shown}"', f"{name} 为“{shown}”")
        tests.append((_test(field, name, raw, read), note))
    if field.categories is not None:
        values = [read(v) for v in field.categories]
        shown = _shown(list(field.categories))
        note = Text(f'categories are "{shown}"', f"categories 为“{shown}”")
        tests.append((partial(_one_of, values), note))
    return tests


def _shown(value: Any) -> str:
    """Return a value of a constraint as its descriptor writes it: `true`, never `True`."""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
    return clip(text, 120)


def _test(field: Field, name: str, raw: Any, read: ValueReader) -> Callable[[Any], bool]:
    if name == "required":
        return partial(_present, bool(raw))
    if name in BOUNDS:
        bound = read(raw)
        if bound is None:
            raise BadConstraint(field.name, name, f"is not of type {field.type!r}")
        return partial(_COMPARE[name], bound)
    if name == "enum":
        return partial(_one_of, [read(v) for v in raw])
    if name == "pattern":
        return partial(_matches, matcher(raw))
    if name == "jsonSchema":
        return _conforms(field, raw)
    return partial(_longer if name == "minLength" else _shorter, raw)


def _present(required: bool, value: Any) -> bool:
    return not (required and value is None)


def _one_of(values: list[Any], value: Any) -> bool:
    return value is None or value in values


def _matches(test: Callable[[str], bool], value: Any) -> bool:
    return value is None or test(value)


def _longer(limit: int, value: Any) -> bool:
    return value is None or len(value) >= limit


def _shorter(limit: int, value: Any) -> bool:
    return value is None or len(value) <= limit


def _compared(compare: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    def test(bound: Any, value: Any) -> bool:
        if value is None:
            return True
        if value != value:  # NaN is in no order
            return False
        try:
            return bool(compare(value, bound))
        except TypeError:  # a time with a zone against one without: in no order either
            return False

    return test


def _conforms(field: Field, schema: Any) -> Callable[[Any], bool]:
    """Return a test against a JSON Schema: no reference leaves it, patterns run in RE2."""
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import SchemaError, ValidationError
    from jsonschema.validators import extend
    from referencing import Registry

    def pattern(_: Any, text: str, value: Any, __: Any) -> Any:
        if isinstance(value, str) and not searcher(text)(value):
            yield ValidationError("pattern")

    def by_pattern(checker: Any, rules: dict[str, Any], value: Any, _: Any) -> Any:
        for text, rule in rules.items():
            for key in value if isinstance(value, dict) else ():
                if searcher(text)(key):
                    yield from checker.descend(value[key], rule, path=key)

    made: Any = extend(  # type: ignore[no-untyped-call]
        Draft202012Validator, {"pattern": pattern, "patternProperties": by_pattern}
    )
    try:
        made.check_schema(schema)
    except SchemaError as why:
        raise BadConstraint(
            field.name, "jsonSchema", f"is no JSON Schema: {why.message[:80]}"
        ) from None
    checker = made(schema, registry=Registry())

    def test(value: Any) -> bool:
        if value is None:
            return True
        try:
            return bool(checker.is_valid(value))
        except Exception as why:  # a reference that leads nowhere we go: not shown to conform
            if isinstance(why, KeyboardInterrupt | MemoryError):
                raise
            return False

    return test


_COMPARE: dict[str, Callable[[Any, Any], bool]] = {
    "minimum": _compared(operator.ge),
    "maximum": _compared(operator.le),
    "exclusiveMinimum": _compared(operator.gt),
    "exclusiveMaximum": _compared(operator.lt),
}


def _array_reader(field: Field, reader: CellReader) -> CellReader:
    item = {k: v for k, v in (field.array_item or {}).items() if k != "arrayItem"}
    read_item = cell_reader(field_from({"name": field.name, "type": "any", **item}))

    def array_reader(cell: Any) -> tuple[Any, Notes]:
        values, notes = reader(cell)
        if values is None or notes:
            return values, notes
        # One note per kind of breach, however many items break it, as the last item says it.
        found: dict[str, tuple[str, Text]] = {}
        for index, raw in enumerate(values):
            values[index], wrong = read_item(raw)
            for kind, note in wrong or ():
                key = kind if kind == "type-error" else note.en
                found[key] = (kind, Text(f"array item: {note.en}", f"数组元素：{note.zh}"))
        ordered = sorted(found.values(), key=lambda f: f[0] != "type-error")
        return values, ordered or None

    return array_reader


# --- one reader for each type ------------------------------------------------------------------


def _is_longer(cell: str, size: int) -> bool:
    """Say whether a text is surely longer than so many characters without the space around it."""
    if len(cell) <= 3 * size:
        return False
    return not cell[:size].isspace() and not cell[-size:].isspace()


def _any(field: Field) -> ValueReader:
    return lambda cell: cell


def _array(field: Field) -> ValueReader:
    def read(cell: Any) -> Any:
        if isinstance(cell, str):
            cell = _json(cell)
        if isinstance(cell, tuple):
            return list(cell)
        return cell if isinstance(cell, list) else None

    return read


def _object(field: Field) -> ValueReader:
    def read(cell: Any) -> Any:
        if isinstance(cell, str):
            cell = _json(cell)
        return cell if isinstance(cell, dict) else None

    return read


def _json(text: str) -> Any:
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def _boolean(field: Field) -> ValueReader:
    mapping = {**dict.fromkeys(field.true_values, True), **dict.fromkeys(field.false_values, False)}

    def read(cell: Any) -> Any:
        if cell is True or cell is False:
            return cell
        return mapping.get(cell) if isinstance(cell, str) else None

    return read


def _integer(field: Field) -> ValueReader:
    affixes = None if field.bare_number else _AFFIXES
    plain = affixes is None and not field.group_char

    def read(cell: Any) -> Any:
        if isinstance(cell, str):
            if len(cell) > _LONGEST_INTEGER and plain and _is_longer(cell, _LONGEST_INTEGER):
                return None
            text = cell.strip()
            if affixes:
                text = affixes.sub("", text)
            if field.group_char:  # v2 groups the digits of integers, too
                text = text.replace(field.group_char, "")
            if len(text) > _LONGEST_INTEGER:  # `int` would write the whole of it into its error
                return None
            try:
                return int(text)
            except ValueError:
                return None
        if cell is True or cell is False:
            return None
        if isinstance(cell, int):
            return cell
        if isinstance(cell, float):
            return int(cell) if cell.is_integer() else None
        if isinstance(cell, Decimal) and cell.is_finite() and cell == cell.to_integral_value():
            return int(cell)
        return None

    return read


def _number(field: Field) -> ValueReader:
    first, second = (float, Decimal) if field.float_number else (Decimal, float)
    affixes = None if field.bare_number else _AFFIXES

    def ruled(text: str) -> str | None:
        if affixes:
            text = affixes.sub("", text)
        text = text.replace(field.group_char, "")
        if field.decimal_char != "." and "." in text:
            return None
        return text.replace(field.decimal_char, ".")

    def read(cell: Any) -> Any:
        if isinstance(cell, str):
            long = len(cell) > _LONGEST_INTEGER and not field.number_rules
            if long and _IN_NO_NUMBER.search(cell):  # it is not copied
                return None
            text: str | None = cell.strip()
            if field.number_rules:
                text = ruled(text or "")
                if text is None:
                    return None
            try:
                return first(text or "")
            except (ValueError, ArithmeticError):
                return None
        if isinstance(cell, first):
            return cell
        if cell is True or cell is False:
            return None
        if isinstance(cell, int):
            return cell
        if isinstance(cell, second):
            return first(str(cell) if first is Decimal else cell)
        return None

    return read


def _string(field: Field) -> ValueReader:
    accept = _STRING_FORMATS.get(field.format)
    if accept is None:
        return lambda cell: cell if isinstance(cell, str) else None
    test = accept()
    return lambda cell: cell if isinstance(cell, str) and test(cell) else None


def _uri() -> Callable[[str], bool]:
    import rfc3986
    import rfc3986.exceptions
    from rfc3986.validators import Validator

    gate = Validator().require_presence_of("scheme")

    def test(cell: str) -> bool:
        try:
            gate.validate(rfc3986.uri_reference(cell))
        except (rfc3986.exceptions.RFC3986Exception, ValueError):
            return False
        return True

    return test


def _email() -> Callable[[str], bool]:
    from validators import email

    return lambda cell: bool(email(cell))


def _uuid() -> Callable[[str], bool]:
    from validators import uuid

    return lambda cell: bool(uuid(cell))


def _binary() -> Callable[[str], bool]:
    def test(cell: str) -> bool:
        try:
            base64.b64decode(cell)
        except ValueError:
            return False
        return True

    return test


def _wkt() -> Callable[[str], bool]:
    from .geo import is_wkt

    return is_wkt


_STRING_FORMATS: Mapping[str, Callable[[], Callable[[str], bool]]] = {
    "uri": _uri,
    "email": _email,
    "uuid": _uuid,
    "binary": _binary,
    "wkt": _wkt,
}


def _date(field: Field) -> ValueReader:
    form = "%Y-%m-%d" if field.format == "default" else field.format
    plain = form == "%Y-%m-%d"

    def read(cell: Any) -> Any:
        if isinstance(cell, datetime):
            whole = cell.hour == 0 and cell.minute == 0 and cell.second == 0
            return cell.date() if whole else None
        if isinstance(cell, date):
            return cell
        if not isinstance(cell, str):
            return None
        if plain and len(cell) == 10 and cell[4] == "-" == cell[7] and cell.isascii():
            try:
                return date.fromisoformat(cell)
            except ValueError:
                pass
        if len(cell) > _LONGEST_MOMENT:
            return None
        try:
            return (_any_time(cell) if form == "any" else datetime.strptime(cell, form)).date()
        except (ValueError, OverflowError, re.error):
            return None

    return read


def _datetime(field: Field) -> ValueReader:
    def read(cell: Any) -> Any:
        if isinstance(cell, datetime):
            return cell
        if not isinstance(cell, str) or len(cell) > _LONGEST_MOMENT:
            return None
        try:
            if field.format == "default":
                if len(cell) < 19 or cell[16] != ":":
                    return None
                if len(cell) == 19 and cell[10] in "T " and cell[13] == ":" and cell.isascii():
                    try:
                        return datetime.fromisoformat(cell)
                    except ValueError:
                        if _MOMENT.fullmatch(cell) and cell[11:13] != "24":
                            return None  # ISO 8601 in full, but there is no such time
                return _iso(cell)
            if field.format == "any":
                return _any_time(cell)
            return datetime.strptime(cell, field.format)
        except (ValueError, OverflowError, re.error):
            return None

    return read


def _time(field: Field) -> ValueReader:
    def read(cell: Any) -> Any:
        if isinstance(cell, time):
            return cell
        if not isinstance(cell, str) or len(cell) > _LONGEST_MOMENT:
            return None
        try:
            if field.format == "default":
                if len(cell) < 8 or cell[5] != ":":
                    return None
                return _iso(f"2000-01-01T{cell}").timetz()
            if field.format == "any":
                return _any_time(cell).timetz()
            return datetime.strptime(cell, field.format).timetz()
        except (ValueError, OverflowError, re.error):
            return None

    return read


def _iso(text: str) -> datetime:
    from dateutil.parser import isoparse

    moment: datetime = isoparse(text)
    return moment


def _any_time(text: str) -> datetime:
    from dateutil.parser import parse

    if len(text) > _LONGEST_DATE:
        raise ValueError("too long for a date")
    try:
        moment: datetime = parse(text)
    except (TypeError, AttributeError, ArithmeticError, IndexError) as why:
        raise ValueError(str(why)) from None
    return moment


def _duration(field: Field) -> ValueReader:
    from isodate import Duration, parse_duration

    def read(cell: Any) -> Any:
        if isinstance(cell, Duration | timedelta):
            return cell
        if not isinstance(cell, str) or len(cell) > _LONGEST_MOMENT:
            return None
        try:
            return parse_duration(cell)
        except (ValueError, OverflowError, ArithmeticError):
            return None

    return read


def _geojson(field: Field) -> ValueReader:
    from .geo import is_geojson, is_topojson

    test = {"default": is_geojson, "topojson": is_topojson}.get(field.format)
    as_object = _object(field)

    def read(cell: Any) -> Any:
        value = as_object(cell)
        return value if value is not None and (test is None or test(value)) else None

    return read


def _geopoint(field: Field) -> ValueReader:
    def parts(cell: str) -> tuple[Any, Any]:
        if field.format == "default":
            lon, lat = cell.split(",", 2)  # a long cell is not cut up
            return lon.strip(), lat.strip()
        loaded = json.loads(cell)
        if field.format == "array":
            lon, lat = loaded
            return lon, lat
        if len(loaded) != 2:
            raise ValueError("a point has two coordinates")
        return loaded["lon"], loaded["lat"]

    def read(cell: Any) -> Any:
        try:
            if isinstance(cell, str):
                lon, lat = parts(cell)
                cell = GeoPoint(Decimal(lon), Decimal(lat))
            point = GeoPoint(*cell)
            if not (-180 <= point.lon <= 180 and -90 <= point.lat <= 90):
                return None
            return point
        except (ValueError, TypeError, KeyError, ArithmeticError, RecursionError):
            return None

    return read


def _list(field: Field) -> ValueReader:
    item = value_reader(Field(name=field.name, type=field.item_type))

    def read(cell: Any) -> Any:
        if isinstance(cell, str):
            cell = cell.split(field.delimiter)
        elif not isinstance(cell, list | tuple):
            return None
        items = [item(raw) for raw in cell]
        return None if any(value is None for value in items) else items

    return read


def _year(field: Field) -> ValueReader:
    def read(cell: Any) -> Any:
        if not isinstance(cell, int):
            if not isinstance(cell, str) or len(cell) != 4:
                return None
            try:
                cell = int(cell)
            except ValueError:
                return None
        return cell if 0 <= cell <= 9999 else None

    return read


def _yearmonth(field: Field) -> ValueReader:
    def read(cell: Any) -> Any:
        if isinstance(cell, tuple | list):
            return YearMonth(*cell) if len(cell) == 2 else None
        if not isinstance(cell, str) or len(cell) > _LONGEST_MOMENT:
            return None
        try:
            year, month = (int(part) for part in cell.split("-"))
        except ValueError:
            return None
        return YearMonth(year, month) if 1 <= month <= 12 else None

    return read


_READERS: Mapping[str, Callable[[Field], ValueReader]] = {
    "any": _any,
    "array": _array,
    "boolean": _boolean,
    "date": _date,
    "datetime": _datetime,
    "duration": _duration,
    "geojson": _geojson,
    "geopoint": _geopoint,
    "integer": _integer,
    "list": _list,
    "number": _number,
    "object": _object,
    "string": _string,
    "time": _time,
    "year": _year,
    "yearmonth": _yearmonth,
}
