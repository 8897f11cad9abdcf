"""JSON Lines at Arrow speed: a line that the automaton accepts is one valid record.

The keys of the first record, in their order, make a template with one form per value; a key that
is not required may be left out. Whatever else a line may be (another order, escapes where lengths
count, other spacing) is read by `json.loads` and judged cell by cell.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Iterable, Mapping, Sequence, Set
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from .blocks import Block, Blocks, Lines, sound_bytes
from .checks.structure import Structure, TableState
from .column_proofs import flags
from .fields import BOUNDS, Field
from .grammar import decimals, form_of, integers, literal
from .json_texts import parse_json, parse_long_json, reason
from .keys import ESCAPE, PART
from .lines import (
    MAX_COLUMNS,
    Judged,
    Mark,
    add_keys,
    easy_places,
    one_by_one,
    picked_rows,
)
from .marks import LONG_LINE
from .patterns import subset
from .plain import PlainLines
from .plain_records import RecordFilter
from .readers import value_reader
from .streams import problem, undecodable
from .utf8 import first_bad, must_be_utf8

_S = "[ \\t]*"
_ESCAPE = r'\\(?:["\\/bfnrt]|u[0-9a-fA-F]{4})'
_ONE = (  # an escape that stands for one character, not for half a surrogate pair
    r'\\(?:["\\/bfnrt]|u(?:[0-9a-cefA-CEF][0-9a-fA-F]{3}|[dD][0-7][0-9a-fA-F]{2}))'
)
_PLAIN = r'[^"\\\x00-\x1f]'
_STRING = f'"(?:{_PLAIN}|{_ESCAPE})*"'
_NUMBER = r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?"
_EXCLUDED = '"\\' + "".join(map(chr, range(32)))
_DEPTH = 2
_SHORT_NUMBER = r"-?[0-9.]{1,15}"  # floats of more digits are not what their text says


def _values(depth: int) -> str:
    """Return a form for any JSON value nested at most so deep."""
    value = f"(?:{_STRING}|{_NUMBER}|true|false|null)"
    for _ in range(depth):
        value = f"(?:{_STRING}|{_NUMBER}|true|false|null|{_array(value)}|{_object(value)})"
    return value


def _array(value: str) -> str:
    item = f"{_S}{value}{_S}"
    return rf"\[(?:{item}(?:,{item})*|{_S})\]"


def _object(value: str) -> str:
    pair = f"{_S}{_STRING}{_S}:{_S}{value}{_S}"
    return rf"\{{(?:{pair}(?:,{pair})*|{_S})\}}"


@dataclass(frozen=True, slots=True)
class RecordForm:
    """The automaton of one kind of record."""

    accept: str
    values: tuple[str, ...]  # of plain records; () where they cannot be told by their quotes
    short: str  # must match, too: numbers short enough to be compared as text
    blank: str  # may not match: every value may be absent
    extract: str
    taken: tuple[int, ...]


def record_form(check: Structure, labels: Sequence[str]) -> RecordForm | None:
    """Return the automaton for records with these keys, or None where only the exact path reads."""
    if len(labels) != len(check.columns) or len(set(labels)) != len(labels) or not labels:
        return None
    if len(labels) > MAX_COLUMNS:
        return None
    keyed = sorted({c for key in check.keys for c in key.columns})
    values = []
    for i, column in enumerate(check.columns):
        value = _key_value(column) if i in keyed else _value(column)
        if value is None:
            return None
        values.append(value)
    must = _must(check.columns, keyed)
    accept = r"\A" + _S + r"\{" + _pairs(labels, values, must) + r"\}" + _S
    blank = ""
    if not any(c.required for c in check.columns) and not keyed:
        nulls = [_null(c, bare=True) for c in check.columns]
        blank = r"\A" + _S + r"\{" + _pairs(labels, nulls, must) + r"\}"
    form = RecordForm(
        accept + r"\r?\n\z",
        _plain_values(check.columns, keyed),
        _short(check.columns, labels, values, must),
        blank,
        _extract(labels, values, keyed, must),
        tuple(keyed),
    )
    try:
        probe = pa.array(["{}"])
        for pattern in (form.accept, form.short, form.blank):
            pc.match_substring_regex(probe, pattern)
        if form.extract:
            pc.extract_regex(probe, form.extract)
    except pa.ArrowException:
        return None
    return form


_MOST_OPTIONAL = 64  # of more that may be left out, the states are too many for RE2's memory


def _must(columns: Sequence[Field], keyed: Sequence[int]) -> Set[int]:
    """Return which keys an accepted record has."""
    if len(columns) > _MOST_OPTIONAL:
        return set(range(len(columns)))
    return {0, *keyed, *(i for i, column in enumerate(columns) if column.required)}


def _short(
    columns: Sequence[Field], labels: Sequence[str], values: Sequence[str], must: Set[int]
) -> str:
    """Return a form that ends behind the last number with bounds; "" where there is none."""
    bound = [i for i, column in enumerate(columns) if _may_be_long(column)]
    if not bound:
        return ""
    values = [
        f"(?:{_SHORT_NUMBER}|{_null(columns[i])})" if i in bound else value
        for i, value in enumerate(values)
    ]
    stop = bound[-1] + 1
    return r"\A" + _S + r"\{" + _pairs(labels[:stop], values[:stop], must) + "[,}]"


def _may_be_long(column: Field) -> bool:
    """Say whether the form of a number with bounds leaves its length open."""
    if column.type != "number" or not set(column.constraints) & set(BOUNDS):
        return False
    read = value_reader(column)
    bounds = {n: read(v) for n, v in column.constraints.items() if n in BOUNDS and v is not None}
    return not _fraction_room({n: Decimal(v) for n, v in bounds.items()})


def _pairs(labels: Sequence[str], values: Sequence[str], must: Set[int]) -> str:
    parts = []
    for i, (label, value) in enumerate(zip(labels, values, strict=True)):
        pair = _pair(label, value)
        comma = "," if i else ""
        parts.append(comma + pair if i in must else f"(?:{comma}{pair})?")
    return "".join(parts)


def _pair(label: str, value: str) -> str:
    spelled = json.dumps(label, ensure_ascii=False)
    other = json.dumps(label)
    name = literal(spelled) if spelled == other else f"(?:{literal(spelled)}|{literal(other)})"
    return f"{_S}{name}{_S}:{_S}{value}{_S}"


def _null(column: Field, *, bare: bool = False) -> str:
    """Return a form for absent values; with `bare`, for all that may be one, and more."""
    texts = ["null", *(literal(json.dumps(m, ensure_ascii=False)) for m in column.missing)]
    if bare and _has_bare_null(column):
        texts.append(_values(_DEPTH))
    return "(?:" + "|".join(texts) + ")"


def _has_bare_null(column: Field) -> bool:
    """Say whether a value without quotes may be absent: the number -999 where "-999" is missing."""
    return column.type not in _TEXTS and any(map(_BARE_TEXT.match, column.missing))


_TEXTS = ("string", "date", "datetime", "time", "yearmonth")
_BARE_TEXT = re.compile(r"-?[0-9]|[\[{]|(?:True|False|-?inf|nan)$")  # as Python writes values


def _key_value(column: Field) -> str | None:
    """Return a form whose text is the key: never null, never escaped."""
    form = form_of(column, _EXCLUDED + ESCAPE + PART, canonical=True)
    if form is None or not form.whole or set(column.missing) - {""}:
        return None
    if column.type == "integer":
        return form.text
    return f'"{form.text}"' if column.type in ("string", "date", "datetime") else None


def _value(column: Field) -> str | None:
    value = _present(column)
    if value is None:
        return None
    if column.required:
        texts = set(column.missing) - {""} and column.type in ("string", "any")
        return None if texts or _has_bare_null(column) else value
    return f"(?:{value}|{_null(column)})"


def _present(column: Field) -> str | None:
    """Return a form for a present value of the type; None where only the exact reader knows."""
    constraints = {k for k, v in column.constraints.items() if v is not None} - {
        "required",
        "unique",
    }
    kind = column.type
    if column.categories is not None or "enum" in constraints:
        return _listed(column) if kind == "string" else None
    if kind == "string":
        return _string(column, constraints)
    if kind == "boolean":
        return "(?:true|false)"
    if kind == "integer":
        return _integer(column, constraints)
    if kind == "number":
        return _number(column, constraints)
    if constraints and kind in ("array", "object", "any", "geojson", "geopoint", "list"):
        return None
    if kind == "any":
        return _values(_DEPTH) if not column.required else None
    if kind == "array" and not column.array_item:
        return _array(_values(_DEPTH - 1))
    if kind == "object":
        return _object(_values(_DEPTH - 1))
    if kind in ("date", "datetime", "time", "yearmonth"):
        form = form_of(column, _EXCLUDED)
        return None if form is None or not form.whole else f'"{form.text}"'
    return None


def _listed(column: Field) -> str | None:
    if column.categories is not None:
        return None
    form = form_of(column, _EXCLUDED)
    return None if form is None or not form.whole else f'"{form.text}"'


def _string(column: Field, constraints: set[str]) -> str | None:
    if column.format != "default":
        return None
    if not constraints:
        return f'"(?:{_PLAIN}|{_ESCAPE})+"' if column.required else _STRING
    if constraints == {"pattern"}:
        inner = subset(column.constraints["pattern"], _EXCLUDED)
        return None if inner is None else f'"{inner}"'
    form = form_of(column, _EXCLUDED)
    if form is None or not form.whole:
        return None
    plain = "[^" + "".join(f"\\x{{{ord(c):x}}}" for c in _EXCLUDED) + "]"
    text = form.text
    if constraints <= {"minLength", "maxLength"} and text.startswith(plain + "{"):
        text = f"(?:{plain}|{_ONE}){text.removeprefix(plain)}"
    return f'"{text}"'


def _integer(column: Field, constraints: set[str]) -> str | None:
    read = value_reader(column)
    bounds = {name: read(column.constraints[name]) for name in BOUNDS if name in constraints}
    lows = [bounds[n] + (n != "minimum") for n in ("minimum", "exclusiveMinimum") if n in bounds]
    highs = [bounds[n] - (n != "maximum") for n in ("maximum", "exclusiveMaximum") if n in bounds]
    return integers(max(lows, default=None), min(highs, default=None))


def _number(column: Field, constraints: set[str]) -> str | None:
    if column.float_number:
        return None
    read = value_reader(column)
    bounds = {name: read(column.constraints[name]) for name in BOUNDS if name in constraints}
    if not bounds:
        return r"-?(?:0|[1-9][0-9]{0,17})(?:\.[0-9]{1,18})?(?:[eE][+-]?[0-9]{1,2})?"
    exact = {n: v if isinstance(v, Decimal) else Decimal(v) for n, v in bounds.items()}
    if any(not v.is_finite() or abs(v) > 10**12 for v in exact.values()):
        return None
    text = decimals(exact)
    room = _fraction_room(exact)
    if text is None or not room:
        return text
    # Floats of more digits are not what their text says.
    return text.replace("[0-9]+", f"[0-9]{{1,{room}}}").replace("[0-9]*", f"[0-9]{{0,{room}}}")


def _fraction_room(bounds: Mapping[str, Decimal]) -> int:
    """Return how many digits may follow in a fraction of at most 15 characters; 0 if too few.

    Numbers between two bounds have as many digits in front as the longer one.
    """
    if not any("inimum" in name for name in bounds) or not any("aximum" in n for n in bounds):
        return 0
    texts = [f"{abs(v):f}".partition(".") for v in bounds.values()]
    whole = max(len(front) for front, _, _ in texts)
    room = _MOST_DIGITS - len("-.") - whole - 1 - max(len(rest) for _, _, rest in texts)
    return room if room >= _LEAST_ROOM else 0


_MOST_DIGITS = 15
_LEAST_ROOM = 5


def _plain_values(columns: Sequence[Field], keyed: Sequence[int]) -> tuple[str, ...]:
    """Return a form for each value by whether it stands in quotes; () where that may change."""
    values = []
    for i, column in enumerate(columns):
        value = _key_value(column) if i in keyed else _present(column)
        if value is None or (column.type not in _BARE and not value.startswith('"')):
            return ()
        if i not in keyed and not column.required:
            if column.type in _BARE:
                value = f"(?:{value}|null)"
            else:
                texts = (literal(json.dumps(m, ensure_ascii=False)[1:-1]) for m in column.missing)
                value = '"' + "|".join((value[1:-1], *texts)) + '"'
        values.append(value)
    return tuple(values)


_BARE = ("integer", "number", "boolean")


def _extract(
    labels: Sequence[str], values: Sequence[str], keyed: Sequence[int], must: Set[int]
) -> str:
    if not keyed:
        return ""
    grouped = list(values[: keyed[-1] + 1])
    for i in keyed:
        group = f"(?P<c{i}>{values[i].strip(chr(34))})"
        grouped[i] = f'"{group}"' if values[i].startswith('"') else group
    return r"\A" + _S + r"\{" + _pairs(labels[: len(grouped)], grouped, must)


class RecordJudge:
    """Judges the lines of one JSON Lines file, block by block."""

    def __init__(self, check: Structure, labels: Sequence[str], form: RecordForm) -> None:
        self.check = replace(check, settles=False)  # a bad byte may take a block back
        self.settles = check.settles
        self.labels = list(labels)
        self.form = form
        self.reader = check.reader()
        self.line = 0
        self.keyed = {c for key in check.keys for c in key.columns}
        self.plain: RecordFilter | None = None
        if form.values and not form.short:
            self.plain = RecordFilter(check.columns, labels, form.values, self.keyed)

    def read(self, state: TableState, blocks: Blocks, *, head: bool = True) -> None:
        """Judge a whole stream; the header row that Frictionless imagines is row 1."""
        state.numbers = int(head)
        for block in blocks:
            self.observe(state, block)
            if self.settles:
                self.check.settle(state)
            if state.full:
                return
            if block.failure is not None:
                raise block.failure

    def observe(self, state: TableState, block: Block) -> None:
        """Add the lines of a block."""
        mark = Mark.of(state)
        line = self.line
        try:
            self._observe(state, block.data, block.last)
        except UnicodeDecodeError as why:
            mark.restore(state)
            self.line = line
            good = sound_bytes(block, first_bad(block.data) or why)
            self._observe(state, block.data[:good], False)
            if not state.full:
                raise undecodable(why) from None

    def _observe(self, state: TableState, data: bytearray, last: bool) -> None:
        cut = (self.plain.delimiter, self.plain.spoils) if self.plain else (b"", b"")
        lines = Lines(data, last, *cut)
        if not len(lines):
            return
        plain = None if self.plain is None else self.plain.cut(lines)
        if plain is None:
            self.plain = None  # what is not plain here will hardly be further on
            lines.must_be_utf8()  # RE2 lets characters pass that are longer than they may be
        judged = self._judged(lines, plain)
        runs: list[tuple[int, int, int]] = []
        left: list[int] = []  # lines that are no rows of a run but for their keys
        at = 0
        for rejected in one_by_one(np.flatnonzero(~judged.mask)):
            self._accept(state, runs, at, rejected)
            at = rejected + 1
            doubts = judged.doubts.get(rejected) if judged.doubts else None
            try:
                keyed = self._exact(state, lines, rejected, doubts)
            except Exception:
                self._keys(state, lines, plain, judged, runs, left)
                raise
            if not keyed:
                runs.append((rejected, at, state.numbers))
                left.append(rejected)
            if state.full:
                break
        else:
            self._accept(state, runs, at, len(lines))
        self._keys(state, lines, plain, judged, runs, left)

    def _judged(self, lines: Lines, plain: PlainLines | None) -> Judged:
        column = lines.column()
        if plain is None or self.plain is None:
            return Judged(self._whole(column))
        good = self.plain.accept(plain)
        mask = np.zeros(len(lines), bool)
        mask[plain.numbers[good]] = True
        if self.form.blank:
            blank = pc.match_substring_regex(column, self.form.blank)
            mask &= ~flags(blank)
        others = np.flatnonzero(~mask)
        if len(others):
            mask[others] = self._whole(column.take(pa.array(others)))
        return Judged(mask, good, self.plain.doubts_of(plain, ~mask))

    def _whole(self, lines: Any) -> Any:
        """Ask the automaton of whole records."""
        mask = pc.match_substring_regex(lines, self.form.accept)
        if self.form.short:
            mask = pc.and_(mask, pc.match_substring_regex(lines, self.form.short))
        if self.form.blank:
            mask = pc.and_not(mask, pc.match_substring_regex(lines, self.form.blank))
        return flags(mask)

    def _accept(
        self, state: TableState, runs: list[tuple[int, int, int]], start: int, stop: int
    ) -> None:
        count = stop - start
        if count > 0:
            runs.append((start, stop, state.numbers + 1))
            state.rows += count
            state.numbers += count
            self.line += count

    def _exact(
        self, state: TableState, lines: Lines, at: int, doubts: Sequence[int] | None
    ) -> bool:
        """Judge a line by its values and say whether its keys were collected, too."""
        keyed = True
        for line in _json_texts(lines, at):
            self.line += 1
            try:
                item = parse_json(line) if isinstance(line, str) else parse_long_json(line)
            except (ValueError, RecursionError) as why:
                note = reason(why)
                raise problem(
                    "source-error",
                    f"line {self.line} is not JSON: {note.en}",
                    f"第 {self.line} 行不是 JSON：{note.zh}",
                ) from None
            if not isinstance(item, dict):
                raise problem(
                    "source-error",
                    "the records are not all objects, or all arrays",
                    "记录并非全部为对象或全部为数组",
                )
            number = state.numbers + 1
            if doubts is not None and self.plain and self.plain.is_of_template(self.labels, item):
                cells = list(item.values())
                keyed = not self.check.keys or not self.keyed.isdisjoint(doubts)
                self.check.row_with_doubts(state, number, cells, doubts, self.reader, keys=keyed)
            else:
                cells = [item.get(label) for label in self.labels]
                self.check.rows(state, [(number, cells)], self.reader)
            if state.full:
                break
        return keyed

    def _keys(
        self,
        state: TableState,
        lines: Lines,
        plain: PlainLines | None,
        judged: Judged,
        runs: list[tuple[int, int, int]],
        left: list[int],
    ) -> None:
        if not self.check.keys or not runs:
            return
        picked, rows = picked_rows(runs)
        chosen = easy_places(lines, plain, judged, picked)
        if plain is not None and left:
            chosen[np.searchsorted(picked, left)] = np.searchsorted(plain.numbers, left)
        if plain is not None and self.plain is not None:
            easy = {i: self.plain.texts(plain, i, chosen[chosen >= 0]) for i in self.form.taken}
        else:
            easy = {}
        hard: dict[int, Any] = {}
        if not easy or (chosen < 0).any():
            rest = lines.column().take(pa.array(picked[chosen < 0]))
            found = pc.extract_regex(rest, self.form.extract)
            hard = {i: found.field(n) for n, i in enumerate(self.form.taken)}
        add_keys(self.check, state, easy, hard, chosen, rows)


def _json_texts(lines: Lines, at: int) -> Iterable[str | memoryview]:
    """Return what Python's text layer takes for lines in one line; a long one as bytes."""
    start, stop = lines.ends.item(at), lines.ends.item(at + 1) - 1
    if stop - start > LONG_LINE:
        raw = memoryview(lines.data)[start:stop]
        stop -= raw[-1] == ord("\r")
        if lines.data.find(b"\r", start, stop) < 0:
            must_be_utf8(raw)
            return (raw[: stop - start],)
    text = lines[at].decode("utf-8")
    return io.StringIO(text, newline=None) if "\r" in text else (text,)
