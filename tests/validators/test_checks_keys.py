"""Keys of any size: exact answers, in memory and from disk, across tables."""

from __future__ import annotations

import json
import pickle
from decimal import Decimal
from itertools import pairwise
from pathlib import Path
from random import Random

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from yaosu_schemas.report import Report
from yaosu_validators import keys, validate
from yaosu_validators.keys import KeyIndex, KeyPairs, canonical, duplicates, strangers


def index(texts: list[str]) -> KeyIndex:
    found = KeyIndex()
    pairs = KeyPairs()
    for row, text in enumerate(texts, start=2):
        pairs.add(text, row)
        if row % 7 == 0:
            found.add(pairs.drain())
    found.add(pairs.drain())
    return found


def twins(texts: list[str]) -> list[tuple[int, int]]:
    """Return (row, row before with the same key) the plain way."""
    last: dict[str, int] = {}
    result = []
    for row, text in enumerate(texts, start=2):
        if text in last:
            result.append((row, last[text]))
        last[text] = row
    return result


SPELLINGS = st.sampled_from(
    ["1", "2", "10", "007", "-3", "a", "b", "é", "1.5", "0x1", "", "9" * 25]
)


@given(
    st.lists(st.tuples(st.integers(0, 60), st.integers(-9, 99)), max_size=6),
    st.lists(st.integers(0, 60), unique=True, max_size=60),
    st.randoms(use_true_random=False),
)
def test_numbers_that_mostly_grow_are_sorted_with_the_few_that_do_not(
    spoiled: list[tuple[int, int]], rows: list[int], r: Random
) -> None:
    ids = list(range(len(rows)))
    for place, number in spoiled:
        if place < len(ids):
            ids[place] = number
    r.shuffle(rows)
    pairs = sorted(zip(ids, rows, strict=True))
    table = pa.table({"key": pa.array(ids, pa.int64()), "row": pa.array(rows, pa.int64())})
    ordered = keys._by_key(table)
    assert list(zip(*(c.to_pylist() for c in ordered.columns), strict=True)) == pairs
    found = KeyIndex()
    found.add(table.to_batches(max_chunksize=7))
    same = [(b[1], a[1]) for a, b in pairwise(pairs) if a[0] == b[0]]
    assert sorted(duplicates(found)) == sorted(same)


@given(
    st.lists(SPELLINGS | st.integers(-50, 50).map(str), max_size=120),
    st.sampled_from([64, 1 << 20]),
)
def test_duplicates_are_exact_however_little_memory_there_is(texts: list[str], budget: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keys, "BUDGET_BYTES", budget)
        found = index(texts)
        assert sorted(duplicates(found)) == sorted(twins(texts))
        found.close()


@given(
    st.lists(SPELLINGS, max_size=60),
    st.lists(SPELLINGS, max_size=60),
    st.sampled_from([64, 1 << 20]),
)
def test_children_without_parents_are_exact(
    children: list[str], parents: list[str], budget: int
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(keys, "BUDGET_BYTES", budget)
        mine, others = index(children), index(parents)
        expected = [(r, t) for r, t in enumerate(children, start=2) if t not in set(parents)]
        assert sorted(strangers(mine, others)) == sorted(expected)
        mine.close()
        others.close()


def test_runs_on_disk_have_no_name_and_stay_exact(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys, "BUDGET_BYTES", 1000)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    found = KeyIndex()
    pairs = KeyPairs()
    for row in range(2000):
        pairs.add(f"k{row % 1999}", row)
        if row % 100 == 0:
            found.add(pairs.drain())
    found.add(pairs.drain())
    assert list(duplicates(found)) == [(1999, 0)]
    assert list(duplicates(found)) == [(1999, 0)]
    assert not list(tmp_path.iterdir())
    found.close()


def test_pairs_travel_between_processes_with_all_they_hold(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(keys, "SETTLE_BYTES", 10)
    pairs = KeyPairs()
    for row, text in enumerate(["7", "a", "7", "1.5", "a"], start=2):
        pairs.add(text, row)
        pairs.flush()
        pairs.settle()
    there = pickle.loads(pickle.dumps(pairs))
    assert sorted(duplicates(there.settled())) == [(4, 2), (6, 3)]


def test_equal_values_have_one_text_and_others_do_not() -> None:
    same = [1, Decimal("1.0"), 1.0, Decimal("10E-1"), True]
    assert len({canonical([value]) for value in same}) == 1
    assert canonical([0]) == canonical([Decimal("-0.00")])
    assert canonical([Decimal("NaN")]) is None
    assert canonical(["a\x1f", "b"]) != canonical(["a", "\x1fb"])
    assert canonical([None, "a"]) != canonical(["", "a"])


# --- through the front door ----------------------------------------------------------------------


def judged(folder: Path, tables: dict[str, str], schemas: dict[str, object]) -> Report:
    resources = []
    for name, text in tables.items():
        (folder / f"{name}.csv").write_text(text, encoding="utf-8")
        resources.append({"name": name, "path": f"{name}.csv", "schema": schemas[name]})
    (folder / "datapackage.json").write_text(
        json.dumps(
            {
                "$schema": "https://datapackage.org/profiles/2.0/datapackage.json",
                "resources": resources,
            }
        ),
        encoding="utf-8",
    )
    return validate(folder)


def found(report: Report) -> list[tuple[str, str, int | None]]:
    return [(t.name, e.type, e.row_number) for t in report.tasks for e in t.errors]


CITY = {
    "fields": [{"name": "id", "type": "integer"}, {"name": "country", "type": "string"}],
    "foreignKeys": [
        {"fields": "country", "reference": {"resource": "countries", "fields": "code"}}
    ],
}
COUNTRY = {"fields": [{"name": "code", "type": "string"}], "primaryKey": "code"}


def test_foreign_keys_reach_into_other_tables(tmp_path: Path) -> None:
    report = judged(
        tmp_path,
        {"cities": "id,country\n1,cn\n2,\n3,xx\n", "countries": "code\ncn\nde\ncn\n"},
        {"cities": CITY, "countries": COUNTRY},
    )
    assert found(report) == [
        ("cities", "foreign-key", 4),
        ("countries", "primary-key", 4),
    ]
    assert "xx" in report.tasks[0].errors[0].message_zh


def test_a_table_can_refer_to_itself(tmp_path: Path) -> None:
    schema = {
        "fields": [{"name": "id", "type": "integer"}, {"name": "boss", "type": "integer"}],
        "foreignKeys": [{"fields": ["boss"], "reference": {"resource": "", "fields": ["id"]}}],
    }
    report = judged(tmp_path, {"staff": "id,boss\n1,\n02,1\n3,9\n4,2\n"}, {"staff": schema})
    assert found(report) == [("staff", "foreign-key", 4)]


def test_unique_keys_of_v2_are_kept(tmp_path: Path) -> None:
    schema = {
        "fields": [{"name": "a", "type": "integer"}, {"name": "b", "type": "string"}],
        "uniqueKeys": [["a", "b"]],
    }
    report = judged(tmp_path, {"t": "a,b\n1,x\n1,y\n01,x\n,x\n,x\n"}, {"t": schema})
    assert found(report) == [("t", "unique-key", 4)]


def test_categories_of_v2_bound_the_values(tmp_path: Path) -> None:
    schema = {
        "fields": [
            {
                "name": "a",
                "type": "string",
                "categories": [{"value": "x", "label": "X"}, {"value": "y"}],
            }
        ]
    }
    report = judged(tmp_path, {"t": "a\nx\nz\n"}, {"t": schema})
    assert found(report) == [("t", "constraint-error", 3)]


def test_a_json_schema_bounds_objects(tmp_path: Path) -> None:
    rule = {"type": "object", "properties": {"v": {"type": "integer", "pattern": "(a+)+$"}}}
    schema = {
        "fields": [{"name": "a", "type": "object", "constraints": {"jsonSchema": rule}}],
    }
    text = 'a\n"{""v"": 1}"\n"{""v"": ""bad""}"\n'
    assert found(judged(tmp_path, {"t": text}, {"t": schema})) == [("t", "constraint-error", 3)]
    schema["fields"][0]["constraints"] = {"jsonSchema": {"type": 7}}
    assert [e.type for e in judged(tmp_path, {"t": text}, {"t": schema}).errors] == ["field-error"]


def test_integers_may_be_grouped_in_v2(tmp_path: Path) -> None:
    schema = {"fields": [{"name": "a", "type": "integer", "groupChar": "."}]}
    report = judged(tmp_path, {"t": "a\n1.000.000\n1,5\n"}, {"t": schema})
    assert found(report) == [("t", "extra-cell", 3)]


def test_categories_must_be_distinct_plain_values(tmp_path: Path) -> None:
    for categories in (["x", "x"], [{"label": "x"}], "x"):
        schema = {"fields": [{"name": "a", "type": "string", "categories": categories}]}
        report = judged(tmp_path, {"t": "a\nx\n"}, {"t": schema})
        assert [e.type for e in report.errors] == ["field-error"], categories
