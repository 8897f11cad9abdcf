"""The profile of columns: exact, whatever the batches; it says how far it looked."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from yaosu import present
from yaosu_validators import validate
from yaosu_validators.column_profile import BINS, MOST_DISTINCT, Column, profile_of
from yaosu_validators.html import report_html
from yaosu_validators.judge import Limits, judge
from yaosu_validators.resources import from_path

VALUES = [None, "", "1", "2.5", "-7", "1e3", "0.001", "99999999", "x", "中文", "2020-01-05", "  3"]
CELL = st.sampled_from(VALUES) | st.floats(allow_nan=False, width=32).map(str)
TYPES = ["string", "integer", "number", "date", "year", "boolean", "any"]


def told(parts: list[list[str | None]], type_: str, *, merged: bool) -> dict[str, Any]:
    whole = Column("c", type_)
    for part in parts:
        target = Column("c", type_) if merged else whole
        target.observe(pa.array(part, pa.string()))
        if merged:
            whole.merge(target)
    return whole.as_json()


@given(
    cells=st.lists(CELL, min_size=1, max_size=60), type_=st.sampled_from(TYPES), seed=st.integers()
)
def test_neither_batches_nor_parts_change_a_profile(
    cells: list[str | None], type_: str, seed: int
) -> None:
    r = random.Random(seed)
    cuts = sorted({0, len(cells), *(r.randrange(len(cells)) for _ in range(4))})
    parts = [cells[a:b] for a, b in zip(cuts, cuts[1:], strict=False)]
    once = told([cells], type_, merged=False)
    assert told(parts, type_, merged=False) == once
    assert told(parts, type_, merged=True) == once


@given(cells=st.lists(st.floats(-1e12, 1e12, allow_nan=False), min_size=1, max_size=80))
def test_a_histogram_counts_every_number_once_in_few_bars(cells: list[float]) -> None:
    plain = [f"{c:.3f}" for c in cells]
    drawn = told([plain], "number", merged=False)["histogram"]
    assert sum(drawn["counts"]) == len(cells)
    assert len(drawn["counts"]) <= BINS + 1
    assert drawn["low"] <= min(map(float, plain))
    assert max(map(float, plain)) < drawn["low"] + drawn["width"] * len(drawn["counts"])


def test_more_distinct_values_than_are_counted_are_said_to_be_more() -> None:
    said = told([[str(i) for i in range(MOST_DISTINCT + 1)]], "string", merged=False)
    assert said["distinct_over"] == MOST_DISTINCT
    assert "distinct" not in said
    assert "top" not in said


@pytest.fixture
def table(tmp_path: Path) -> Path:
    rows = "".join(f"{i},{'甲乙'[i % 2]},{i / 4},2024-01-{i % 28 + 1:02}\n" for i in range(400))
    (tmp_path / "t.csv").write_text("id,kind,n,day\n" + rows + "x,,,\n", encoding="utf-8")
    return tmp_path / "t.csv"


def test_a_report_has_a_profile_only_where_one_was_asked_for(table: Path) -> None:
    assert "profile" not in validate(table).as_json()["tasks"][0]
    profile = validate(table, profile=True).as_json()["tasks"][0]["profile"]
    assert profile["rows"] == 401
    assert profile["whole"]
    by_name = {c["name"]: c for c in profile["columns"]}
    assert by_name["kind"]["top"] == [["乙", 200], ["甲", 200]]
    assert by_name["kind"]["nulls"] == 1
    assert by_name["kind"]["length"] == {"min": 1, "max": 1}
    assert (by_name["n"]["min"], by_name["n"]["max"]) == (0, 99.75)
    assert (by_name["day"]["min"], by_name["day"]["max"]) == ("2024-01-01", "2024-01-28")


def test_a_profile_says_where_it_stopped(table: Path) -> None:
    outcome = judge(from_path(table.parent, table.name), Limits())
    profile = profile_of(outcome, most_cells=40)
    assert profile is not None
    assert (profile["rows"], profile["whole"]) == (10, False)
    body = {"tasks": [{"name": "t", "valid": True, "profile": dict(profile)}]}
    assert "of the first 10 rows" in report_html(body, lang="en")


@pytest.mark.parametrize("name", ["t.jsonl", "t.parquet", "t.xlsx"])
def test_every_format_has_a_profile(tmp_path: Path, name: str) -> None:
    records = [{"id": i, "tags": ["a"] * (i % 3), "ok": i % 2 == 0} for i in range(50)]
    if name == "t.jsonl":
        (tmp_path / name).write_text("\n".join(json.dumps(r) for r in records))
    elif name == "t.parquet":
        import pyarrow.parquet as pq

        pq.write_table(pa.Table.from_pylist(records), tmp_path / name)
    else:
        import openpyxl

        book = openpyxl.Workbook()
        for row in [["id", "tags", "ok"], *([r["id"], "x", r["ok"]] for r in records)]:
            book.active.append(row)
        book.save(tmp_path / name)
    profile = validate(tmp_path / name, profile=True).as_json()["tasks"][0]["profile"]
    (id_, _, ok) = profile["columns"]
    assert (id_["count"], id_["nulls"], id_["distinct"], id_["max"]) == (50, 0, 50, 49)
    assert ok["distinct"] == 2


def test_the_market_keeps_the_form_of_a_distribution_and_hides_its_values(table: Path) -> None:
    body = validate(table, profile=True).as_json()
    hidden = present.masked(body)["tasks"][0]["profile"]["columns"]
    by_name = {c["name"]: c for c in hidden}
    assert by_name["kind"]["top"] == [["•••", 200], ["•••", 200]]
    assert not {"min", "max"} & (by_name["n"].keys() | by_name["day"].keys())
    assert by_name["n"]["histogram"].keys() == {"counts"}
    assert body["tasks"][0]["profile"]["columns"][2]["max"] == 99.75  # the kept one stays whole


def test_the_page_shows_values_only_to_those_who_may_see_them(table: Path) -> None:
    body = validate(table, profile=True).as_json()
    assert "甲" in report_html(body, show_cells=True)
    hidden = report_html(body, show_cells=False)
    assert "甲" not in hidden
    assert "yr-histogram" in hidden
