"""Typed columns: what is proven by whole columns and what is read row by row is one verdict."""

from __future__ import annotations

import datetime as dt
import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from yaosu_validators import columns, validate

DAYS = [dt.date(2020, 1, 1) + dt.timedelta(days) for days in range(30)]
MOMENTS = [dt.datetime(2020, 1, 1) + dt.timedelta(hours=hours) for hours in range(30)]
TEXTS = ["", "NA", "a", "b", "01", "1", "x\x1fy", "z\x1ez", "长文本", "abcabc", "2020-01-01"]
# name: (Arrow types, values, types of a field)
KINDS: dict[str, tuple[list[Any], list[Any], list[str]]] = {
    "integer": (
        [pa.int64(), pa.int32(), pa.uint64()],
        [0, 1, 2, 5, 77, 1000],
        ["integer", "number", "any", "string", "year"],
    ),
    "number": (
        [pa.float64(), pa.float32()],
        [0.0, -0.0, 1.0, 1.5, float("nan"), -2.25, 7.0],
        ["number", "integer", "any"],
    ),
    "string": (
        [pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())],
        TEXTS,
        ["string", "any", "integer", "date", "boolean"],
    ),
    "boolean": ([pa.bool_()], [True, False], ["boolean", "any", "integer"]),
    "date": ([pa.date32(), pa.date64()], DAYS, ["date", "any", "datetime"]),
    "datetime": ([pa.timestamp("us"), pa.timestamp("ns")], MOMENTS, ["datetime", "any", "date"]),
    "array": ([pa.list_(pa.int64())], [[], [1], [1, 2]], ["array", "any"]),
}
LIMITS = {
    "integer": [{"minimum": 1}, {"maximum": 5}, {"enum": [1, 2]}],
    "number": [{"minimum": 1}, {"maximum": 1.25}],
    "string": [{"minLength": 2}, {"maxLength": 3}, {"enum": ["a", "01"]}, {"pattern": "[a-z]+"}],
    "date": [{"minimum": "2020-01-09"}],
}


def make_column(r: random.Random, kind: str, rows: int) -> Any:
    types, values, _ = KINDS[kind]
    if kind == "integer" and r.random() < 0.4:
        return pa.array(range(rows), r.choice(types))
    absent = r.choice((0, 0, 0.1, 0.9))
    cells = [None if r.random() < absent else r.choice(values) for _ in range(rows)]
    return pa.array(cells, r.choice(types))


def make_field(r: random.Random, name: str, kind: str) -> dict[str, Any]:
    fits = KINDS[kind][2]
    type_ = fits[0] if r.random() < 0.7 else r.choice(fits)
    constraints: dict[str, Any] = {}
    for rule in ("required", "unique"):
        if r.random() < 0.2:
            constraints[rule] = True
    if type_ in LIMITS and r.random() < 0.5:
        constraints |= r.choice(LIMITS[type_])
    return {"name": name, "type": type_, "constraints": constraints}


def make_case(r: random.Random, path: Path) -> dict[str, Any]:
    """Write a table and return a schema for it."""
    rows = r.choice((1, 5, 40, 200))
    kinds = [r.choice(list(KINDS)) for _ in range(r.randint(1, 5))]
    names = [f"f{i}" for i in range(len(kinds))]
    table = pa.table({n: make_column(r, k, rows) for n, k in zip(names, kinds, strict=True)})
    pq.write_table(table, path, row_group_size=r.choice((rows, max(1, rows // 3))))
    schema: dict[str, Any] = {
        "fields": [make_field(r, n, k) for n, k in zip(names, kinds, strict=True)]
    }
    some = r.sample(names, r.randint(1, min(2, len(names))))
    schema |= r.choice(({}, {"primaryKey": some}, {"uniqueKeys": [some]}))
    if r.random() < 0.2:
        reference = {"resource": "", "fields": [names[-1]]}
        schema["foreignKeys"] = [{"fields": [names[0]], "reference": reference}]
    if r.random() < 0.4:
        schema["missingValues"] = r.choice((["NA"], ["", "1"], ["5", ""], ["", "NA", "nan"]))
    return schema


def verdict(path: Path, schema: dict[str, Any], limit: int) -> Any:
    task = validate(path, schema=schema, limit_errors=limit).tasks[0]
    return task.errors, task.stats.rows


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(seed=st.integers(0, 2**48), limit=st.sampled_from([0, 0, 3, 20]))
def test_whole_columns_and_single_rows_give_one_verdict(
    tmp_path: Path, seed: int, limit: int
) -> None:
    path = tmp_path / "t.parquet"
    schema = make_case(random.Random(seed), path)
    found = verdict(path, schema, limit)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(columns.ColumnFilter, "accept", lambda *_: (False, None))  # nothing is proven
        assert found == verdict(path, schema, limit)


def test_the_limit_of_errors_counts_the_rows_before_it_and_keeps_their_keys(
    tmp_path: Path,
) -> None:
    path = tmp_path / "t.parquet"
    ids = [*range(10), 3, *range(11, 50)]
    marks = ["a"] * 20 + ["bad", "a", "bad", *["a"] * 27]
    pq.write_table(pa.table({"id": ids, "mark": marks}), path)
    fields = [
        {"name": "id", "type": "integer", "constraints": {"unique": True}},
        {"name": "mark", "type": "string", "constraints": {"maxLength": 1}},
    ]
    errors, rows = verdict(path, {"fields": fields}, 3)
    assert [(e.type, e.row_number) for e in errors] == [
        ("unique-error", 12),
        ("constraint-error", 22),
        ("constraint-error", 24),
    ]
    assert rows == 23
    assert verdict(path, {"fields": fields}, 2) == (errors[:2], 21)
