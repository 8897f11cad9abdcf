"""Long rows: what stands in them is the same, in less memory, and one process at a time."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from yaosu_validators import json_texts, marks
from yaosu_validators.dialects import Dialect, csv_reader
from yaosu_validators.streams import SourceProblem


@pytest.fixture(autouse=True)
def everything_is_long(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(marks, "_LONG_CELL", 3)
    monkeypatch.setattr(json_texts, "_LONG_STRING", 3)
    for name, size in (("LONG_LINE", 8), ("LONG_ROW", 16)):
        monkeypatch.setattr(marks, name, size)


_IN_PATTERNS = "^]-?*"  # what means something else in a regular expression
_dialects = st.builds(
    Dialect,
    delimiter=st.sampled_from([*",,; \té", *_IN_PATTERNS]),
    quote_char=st.sampled_from([*'""|', *_IN_PATTERNS, ""]),
    escape_char=st.sampled_from([None, None, "\\"]),
    skip_initial_space=st.booleans(),
    double_quote=st.booleans(),
)
_pieces = [
    "a",
    "bc",
    "long long",
    "😀",
    ",",
    ";",
    " ",
    '"',
    '""',
    "\n",
    "\r\n",
    "\\",
    "|",
    "é",
    "\t",
    *_IN_PATTERNS,
]


@settings(max_examples=600, deadline=None)
@given(dialect=_dialects, pieces=st.lists(st.sampled_from(_pieces), max_size=30))
def test_a_row_of_marks_is_the_row_itself(dialect: Dialect, pieces: list[str]) -> None:
    text = "".join(pieces)

    def rows(lines: Any) -> Any:
        try:
            return list(lines())
        except (csv.Error, SourceProblem) as why:
            return str(why)

    lines = marks.bounded(io.TextIOWrapper(io.BytesIO(text.encode()), "utf-8", newline=""))
    wanted = rows(lambda: csv_reader(dialect, io.StringIO(text, newline="")))
    assert rows(lambda: marks.csv_rows(dialect, lines)) == wanted


_parts = ["a", "bcd", "\\n", '\\"', "\\\\", "\\u00e9", "\\ud83d", "\\ude00", "😀", "é", " ", ",[{"]
_strings = st.lists(st.sampled_from([*_parts, *_parts, "\\q", "\1", '"']), max_size=8).map("".join)
_texts = st.recursive(
    st.one_of(_strings.map('"{}"'.format), st.sampled_from(["1", "null", "NaN", "[]", "{}", "é"])),
    lambda inner: st.one_of(
        st.lists(inner, max_size=4).map(lambda some: f"[{', '.join(some)}]"),
        st.lists(st.tuples(_strings, inner), max_size=4).map(
            lambda pairs: "{" + ", ".join(f'"{k}" : {v}' for k, v in pairs) + "}"
        ),
    ),
    max_leaves=8,
)


@settings(max_examples=600, deadline=None)
@given(text=_texts)
def test_a_long_json_text_has_the_same_value_or_the_same_fault(text: str) -> None:
    def read(parse: Any, text: Any) -> Any:
        try:
            return parse(text)
        except ValueError as why:
            return json_texts.reason(why)

    wanted = read(json_texts.parse_json, text)
    assert read(json_texts.parse_long_json, text.encode()) == wanted
    assert json.dumps(wanted, default=str)


def test_a_row_of_too_many_cells_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(marks, "MAX_CELLS", 10)
    for text in ("a," * 5 + "\n", '"' + "a," * 50 + '"\n'):
        assert len(list(marks.csv_rows(Dialect(), marks.bounded(io.StringIO(text))))) == 1  # type: ignore[arg-type]
    with pytest.raises(SourceProblem, match="resource-limit"):
        list(marks.csv_rows(Dialect(), marks.bounded(io.StringIO("a," * 50))))  # type: ignore[arg-type]
