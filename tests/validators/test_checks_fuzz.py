"""Generated schemas and files: frictionless is the oracle, and both of our paths must agree."""

from __future__ import annotations

import json
import os
import random
import warnings
from collections.abc import Iterator
from copy import deepcopy
from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from parity_oracle import small_parts
from yaosu_schemas.report import Report
from yaosu_validators import blocks, judge, parts, validate

frictionless = pytest.importorskip("frictionless")
# A whole case per seed: drawn piece by piece it would cost a hundred times as much.
SEEDS = st.integers(0, 2**48)
Verdict = tuple[list[tuple[Any, ...]], int | None]

CELLS: dict[str, list[str]] = {
    "integer": [
        "1",
        "-5",
        "007",
        "1_000",
        "+5",
        " 7 ",
        "1.0",
        "x",
        "",
        "9" * 20,
        "１２",
        "0",
        "NA",
    ],
    "number": [
        *("1", "1.5", "-2.50", "1e3", "NaN", "inf", ".5", "5.", "1,5", "x", "", "  3 ", "0.05"),
        *("100.001", "1_0"),
    ],
    "string": [
        *("a", "abc", "中文", "", "hello world", '"q"', "x,y", "NA", " lead", "trail ", "l\nm"),
        *("éé", "A1-22"),
    ],
    "boolean": ["true", "false", "1", "0", "True", "yes", "", " true"],
    "date": [
        *("2020-01-01", "2020-02-30", "2020-1-5", "", "2019-12-31", "20200101", "2024-02-29"),
        *("2023-02-29", "x", " 2020-01-01"),
    ],
    "datetime": [
        *("2020-01-01T10:00:00", "2020-01-01 10:00:00", "2020-01-01T24:00:00", "2020-01-01", ""),
        *("2020-01-01T10:00:60", "2020-01-01T10:00:00Z", "2020-01-01T10:00:00.5+02:00", "x"),
    ],
    "time": ["10:00:00", "25:00:00", "10:00", "", "10:00:00Z", "23:59:59.5"],
    "year": ["2020", "99", "12345", "-001", "", "+123", "２０２０"],
    "yearmonth": ["2020-01", "2020-13", "2020-1", "", "x"],
    "any": ["a", "", "1", "中"],
    "duration": ["P1D", "PT5M", "x", "", "P1Y2M"],
    "array": ["[1,2]", "[]", "{}", "x", ""],
    "object": ['{"a":1}', "{}", "[1]", "x", ""],
    "geopoint": ["1,2", "200,1", "x", "", " 1 , 2 "],
    "list": ["a,b", "1", "", "x,,y"],
    "geojson": ['{"type":"Point","coordinates":[1,2]}', "{}", ""],
}
CONSTRAINTS: dict[str, list[tuple[str, list[Any]]]] = {
    "integer": [
        ("minimum", [0, "1", -3]),
        ("maximum", [10, "99"]),
        ("exclusiveMinimum", [0]),
        ("enum", [[1, 5, 7], ["1", "0"]]),
    ],
    "number": [
        ("minimum", [0, "0.05", -1.5]),
        ("maximum", ["100", 1.5]),
        ("exclusiveMaximum", [5, "1.5"]),
        ("enum", [[1, "1.5"]]),
    ],
    "string": [
        ("minLength", [1, 2]),
        ("maxLength", [3, 5]),
        ("pattern", ["[a-z]+", r"\w\d-\d{2}", "a|b.*", ".*o"]),
        ("enum", [["a", "abc", "中文"], ["x,y"]]),
    ],
    "date": [
        ("minimum", ["2019-12-31"]),
        ("maximum", ["2020-06-01"]),
        ("enum", [["2020-01-01"]]),
    ],
    "time": [("minimum", ["09:00:00"])],
    "year": [("minimum", [2000]), ("maximum", ["2020"])],
    "yearmonth": [("enum", [["2020-01"]])],
    "boolean": [("enum", [["true"]])],
    "any": [("enum", [["a", "1"]])],
    "array": [("minLength", [1])],
    "object": [("maxLength", [0])],
    "list": [("minLength", [2])],
}
UNHASHABLE = ("array", "object", "list", "geojson")
PROFILE = "https://datapackage.org/profiles/2.0/tableschema.json"


def make_field(r: random.Random, name: str) -> dict[str, Any]:
    kind = r.choice(sorted(CELLS))
    field: dict[str, Any] = {"name": name, "type": kind}
    constraints = {c: r.choice(v) for c, v in CONSTRAINTS.get(kind, ()) if r.random() < 0.3}
    if r.random() < 0.2:
        constraints["required"] = True
    if r.random() < 0.15 and kind not in UNHASHABLE:
        constraints["unique"] = True
    if constraints:
        field["constraints"] = constraints
    if r.random() < 0.1:
        field["missingValues"] = r.choice([["", "NA"], ["NA"], ["-", "1"], []])
    if kind == "number" and r.random() < 0.2:
        field.update(r.choice([{"groupChar": ","}, {"decimalChar": ","}, {"bareNumber": False}]))
        if "decimalChar" in field:  # a bound that is no number is refused: a named difference
            for name in [n for n, v in constraints.items() if "imum" in n and type(v) is str]:
                constraints[name] = constraints[name].replace(".", ",")
    if kind == "boolean" and r.random() < 0.2:
        field.update(trueValues=["yes"], falseValues=["no", "0"])
    return field


def make_schema(r: random.Random) -> dict[str, Any]:
    fields = [make_field(r, f"f{i}") for i in range(r.randint(1, 5))]
    schema: dict[str, Any] = {"$schema": PROFILE, "fields": fields}
    names = [f["name"] for f in fields if f["type"] not in UNHASHABLE]
    if names and r.random() < 0.3:
        schema["primaryKey"] = r.sample(names, min(len(names), r.randint(1, 2)))
    if r.random() < 0.2:
        schema["missingValues"] = ["", "NA"]
    if r.random() < 0.15:
        schema["fieldsMatch"] = r.choice(["exact", "equal", "subset", "superset", "partial"])
    return schema


def write_cell(r: random.Random, value: str, delimiter: str) -> str:
    odd = any(c in value for c in delimiter + '"\n\r')
    if (odd and r.random() < 0.95) or r.random() < 0.08:
        return '"' + value.replace('"', '""') + '"'
    return value


def make_text(r: random.Random, schema: dict[str, Any], delimiter: str) -> str:
    fields = schema["fields"]
    names = [f["name"] for f in fields]
    if r.random() < 0.1:
        names[r.randrange(len(names))] = r.choice(["", "zz", names[0]])
    if r.random() < 0.05:
        names.append("extra")
    lines = [delimiter.join(names)]
    for _ in range(r.randint(0, 40)):
        few = r.random() < 0.6
        row = [
            write_cell(r, r.choice(CELLS[f["type"]][: 3 if few else 99]), delimiter) for f in fields
        ]
        spoil = r.random()
        if spoil < 0.04:
            row.append(r.choice(["", "e"]))
        elif spoil < 0.08:
            row.pop()
        elif spoil < 0.11:
            row = [""] * len(fields)
        elif spoil < 0.13:
            row = []
        elif spoil < 0.14:
            row[0] = '"open'
        lines.append(delimiter.join(row))
    end = r.choice(["\n", "\n", "\r\n", "\r"])
    return end.join(lines) + (end if r.random() < 0.8 else "")


def make_case(r: random.Random) -> tuple[dict[str, Any], bytes]:
    schema = make_schema(r)
    delimiter = r.choice([",", ",", ",", ";", "\t", "|"])
    encoding = r.choice(["utf-8"] * 6 + ["utf-8-sig", "gb18030", "utf-16"])
    raw = make_text(r, schema, delimiter).encode(encoding, "replace")
    if r.random() < 0.04 and encoding == "utf-8":
        at = r.randrange(len(raw) + 1)
        raw = raw[:at] + b"\xff\xfe" + raw[at:]
    resource: dict[str, Any] = {"name": "t", "path": "t.csv", "schema": schema}
    if encoding in ("gb18030", "utf-16"):
        resource["encoding"] = encoding
    dialect = {
        key: value
        for key, value in (
            ("delimiter", delimiter),
            ("commentChar", "a"),
            ("skipInitialSpace", True),
            ("header", False),
            ("skipBlankRows", True),
        )
        if r.random() < 0.06
    }
    if dialect:
        resource["dialect"] = dialect
    return resource, raw


def theirs(resource: dict[str, Any], limit: int) -> Verdict | None:
    """Return the oracle's verdict, or None where it crashes or refuses the schema."""
    with warnings.catch_warnings(), frictionless.system.use_context(trusted=True):
        warnings.simplefilter("ignore")
        try:
            report = frictionless.validate(deepcopy(resource), type="resource", limit_errors=limit)
        except Exception:
            return None
    if report.errors:
        return None
    task = report.tasks[0]
    found = [
        (
            e.type,
            getattr(e, "row_number", None),
            getattr(e, "field_number", None),
            getattr(e, "field_name", None) or None,
        )
        for e in task.errors
    ]
    return found, task.stats.get("rows") or None


def ours(resource: dict[str, Any], limit: int) -> Verdict:
    report = validate(deepcopy(resource), kind="resource", limit_errors=limit)
    if report.errors:
        return [(e.type,) for e in report.errors], None
    task = report.tasks[0]
    found = [(e.type, e.row_number, e.field_number, e.field_name or None) for e in task.errors]
    return found, task.stats.rows or None


@pytest.fixture
def in_folder(tmp_path: Path) -> Iterator[Path]:
    before = Path.cwd()
    os.chdir(tmp_path)
    yield tmp_path
    os.chdir(before)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(seed=SEEDS, limit=st.sampled_from([1000, 1000, 5, 2]))
def test_generated_tables_have_the_verdict_of_frictionless(
    in_folder: Path, seed: int, limit: int
) -> None:
    resource, raw = make_case(random.Random(seed))
    (in_folder / "t.csv").write_bytes(raw)
    expected = theirs(resource, limit)
    if expected is None:
        return
    assert ours(resource, limit) == expected


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    seed=SEEDS,
    limit=st.sampled_from([1000, 0, 5]),
    block=st.sampled_from([7, 50, 300, 4 << 20]),
)
def test_whole_lines_and_single_rows_give_one_verdict(
    in_folder: Path, seed: int, limit: int, block: int
) -> None:
    resource, raw = make_case(random.Random(seed))
    (in_folder / "t.csv").write_bytes(raw)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(judge, "SMALL", 1 << 40)
        exact = ours(resource, limit)
        patch.setattr(judge, "SMALL", 0)
        patch.setattr(blocks, "BLOCK", block)
        assert ours(resource, limit) == exact


VALUES: list[Any] = [
    *(None, True, False, 0, 1, -5, 7, 10**20, 1.0, 1.5, -2.5, 0.05, 1e300),
    *("", "a", "abc", "中文", "NA", "true", "7", "2020-01-01", "2020-02-30", "x\ny", 'q"', "\\"),
    *("2020-01-01T10:00:00", "\ud83d\ude00", [], [1, "a"], [[1], {"b": [None]}], {}, {"a": 1}),
    *({"a": {"b": [1, 2]}}, "A1-22", " 7 ", "1e3", 1e16, 123456789012345678),
]


def make_records(r: random.Random, schema: dict[str, Any]) -> bytes:
    names = [f["name"] for f in schema["fields"]]
    lines = []
    for number in range(r.randint(1, 40)):
        record = {n: r.choice(VALUES) for n in names}
        if number and r.random() < 0.1:
            record.pop(r.choice(names))
        if number and r.random() < 0.05:
            record["more"] = 1
        if number and r.random() < 0.1:
            record = dict(reversed(list(record.items())))
        line = json.dumps(
            record,
            ensure_ascii=r.random() < 0.5,
            separators=(",", ":") if r.random() < 0.3 else None,
        )
        if r.random() < 0.02:
            line = r.choice(["", "[1]", "{", "7", line + " x"])
        lines.append(line)
    end = r.choice(["\n", "\n", "\n", "\r\n", "\r"])
    return (end.join(lines) + r.choice(["", end])).encode("utf-8", "surrogatepass")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(seed=SEEDS, block=st.sampled_from([50, 4 << 20]), limit=st.sampled_from([1000, 3]))
def test_generated_records_have_the_verdict_of_frictionless(
    in_folder: Path, seed: int, block: int, limit: int
) -> None:
    r = random.Random(seed)
    schema = make_schema(r)
    schema.pop("fieldsMatch", None)
    (in_folder / "t.jsonl").write_bytes(make_records(r, schema))
    resource = {"name": "t", "path": "t.jsonl", "schema": schema}
    expected = theirs(resource, limit)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(judge, "SMALL", 1 << 40)
        exact = ours(resource, limit)
        patch.setattr(judge, "SMALL", 0)
        patch.setattr(blocks, "BLOCK", block)
        assert ours(resource, limit) == exact
    if expected is not None:
        assert exact == expected


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    seed=SEEDS,
    limit=st.sampled_from([1000, 0, 3]),
    part=st.sampled_from([20, 90, 400]),
    block=st.sampled_from([50, 4 << 20]),
)
def test_parts_shipped_as_bytes_have_the_report_of_one_pass(
    in_folder: Path, seed: int, limit: int, part: int, block: int
) -> None:
    r = random.Random(seed)
    if r.random() < 0.7:
        resource, raw = make_case(r)
    else:
        schema = make_schema(r)
        resource, raw = {"name": "t", "path": "t.jsonl", "schema": schema}, make_records(r, schema)
    (in_folder / resource["path"]).write_bytes(raw)
    whole = validate(deepcopy(resource), kind="resource", limit_errors=limit)
    with small_parts(part, block):
        report = validate(deepcopy(resource), kind="resource", limit_errors=limit, workers=2)
    assert report.digest() == whole.digest(), differing(whole, report)


def make_columns(r: random.Random) -> tuple[pa.Table, dict[str, Any]]:
    """Return a typed table with nulls, nested values and repeated keys, and a schema for it."""
    rows = r.randint(0, 60)
    made: dict[str, list[Any]] = {
        "integer": [r.choice((number, None, -7)) for number in range(rows)],
        "number": [r.choice((0.5, number / 4, None, float("nan"))) for number in range(rows)],
        "string": [r.choice(("", "NA", "abc", f"k{number}", None)) for number in range(rows)],
        "boolean": [r.choice((True, False, None)) for _ in range(rows)],
        "date": [r.choice((None, date(2020, 1, 1 + number % 28))) for number in range(rows)],
        "array": [r.choice((None, [], [number, 2])) for number in range(rows)],
        "object": [r.choice((None, {"a": number}, {"a": None})) for number in range(rows)],
    }
    kinds = r.sample(sorted(made), r.randint(1, 5))
    fields = []
    for kind in kinds:
        field = {"name": kind, "type": kind}
        bounds = {c: r.choice(v) for c, v in CONSTRAINTS.get(kind, ()) if r.random() < 0.3}
        field["constraints"] = {**bounds, **r.choice(({}, {}, {"required": True}))}
        fields.append(field)
    schema: dict[str, Any] = {"$schema": PROFILE, "fields": fields}
    keys = [k for k in kinds if k not in UNHASHABLE]
    if keys and r.random() < 0.5:
        schema["primaryKey"] = keys[:2]
    return pa.table({k: pa.array(made[k], ARROW.get(k)) for k in kinds}), schema


ARROW = {
    "integer": pa.int64(),
    "number": pa.float64(),
    "string": pa.string(),
    "boolean": pa.bool_(),
    "date": pa.date32(),
    "array": pa.list_(pa.int64()),
    "object": pa.struct({"a": pa.int64()}),
}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(seed=SEEDS, limit=st.sampled_from([1000, 0, 3]), rows=st.sampled_from([1, 5, 100]))
def test_row_groups_shipped_as_bytes_have_the_report_of_one_pass(
    in_folder: Path, seed: int, limit: int, rows: int
) -> None:
    table, schema = make_columns(random.Random(seed))
    pq.write_table(table, in_folder / "t.parquet", row_group_size=rows)
    resource = {"name": "t", "path": "t.parquet", "schema": schema}
    whole = validate(deepcopy(resource), kind="resource", limit_errors=limit)
    with small_parts(20), pytest.MonkeyPatch.context() as patch:
        patch.setattr(parts, "ROW_GROUPS", 1)
        report = validate(deepcopy(resource), kind="resource", limit_errors=limit, workers=2)
    assert report.digest() == whole.digest(), differing(whole, report)


def differing(left: Report, right: Report) -> tuple[Any, ...]:
    """Return the first things that two reports say otherwise."""
    pairs = zip(
        *([*e.errors, *(x for t in e.tasks for x in t.errors)] for e in (left, right)), strict=False
    )
    return [t.stats.rows for t in (*left.tasks, *right.tasks)], next(
        ((a, b) for a, b in pairs if a != b), None
    )


@pytest.mark.parametrize("keys", [64, 65, 130])
def test_wide_records_and_long_numbers_have_one_verdict(
    in_folder: Path, monkeypatch: pytest.MonkeyPatch, keys: int
) -> None:
    bounds = {"minimum": 0, "maximum": 1}
    fields = [{"name": f"k{i}", "type": "number", "constraints": bounds} for i in range(keys)]
    r = random.Random(keys)
    lines = []
    for _ in range(200):
        record = dict.fromkeys((f["name"] for f in fields), "0.5")
        for name in r.sample(sorted(record), 2):
            record[name] = r.choice(["1", "1.0000000000000001", "1.00000000000001", "2", "null"])
        if r.random() < 0.2:
            record.pop(r.choice(sorted(record)))
        lines.append("{" + ", ".join(f'"{k}": {v}' for k, v in record.items()) + "}\n")
    (in_folder / "t.jsonl").write_text("".join(lines), encoding="utf-8")
    resource = {"name": "t", "path": "t.jsonl", "schema": {"fields": fields}}
    monkeypatch.setattr(judge, "SMALL", 1 << 40)
    exact = ours(resource, 0)
    assert exact == theirs(resource, 1000)
    monkeypatch.setattr(judge, "SMALL", 0)
    assert ours(resource, 0) == exact


def make_keyed_records(r: random.Random, path: Path) -> dict[str, Any]:
    """Write mostly plain records with keys, some of them wrong; return their schema."""
    kind = r.choice(("integer", "string", "date"))
    text = r.choice(({}, {"minLength": 3}, {"required": True}, {"pattern": "[a-z]+"}))
    fields: list[dict[str, Any]] = [
        {"name": "id", "type": kind, "constraints": {"unique": True} if r.random() < 0.3 else {}},
        {"name": "a", "type": "integer", "constraints": {"maximum": 5}},
        {"name": "s", "type": "string", "constraints": text},
        {"name": "b", "type": "boolean"},
    ]
    r.shuffle(fields)
    rows = r.choice((5, 60, 200))
    lines = []
    for number in range(rows):
        k = number if r.random() < 0.95 else r.randint(0, rows)
        key = {"integer": k, "string": f"k{k}", "date": f"20{k % 90 + 10}-01-{k % 28 + 1:02}"}[kind]
        values = {
            "id": key,
            "a": r.choice((1, 2)),
            "s": r.choice(("abcdef", "长文本字")),
            "b": True,
        }
        if r.random() < 0.15:
            values["a"] = r.choice((9, None))
        if r.random() < 0.1:
            values["s"] = r.choice(("", "x", "NA", 'q"q', None))
        if r.random() < 0.05:
            values["id"] = r.choice((None, "", 0, "NA"))
        if r.random() < 0.04:
            values = dict.fromkeys(values, r.choice((None, "")))
        lines.append(json.dumps({f["name"]: values[f["name"]] for f in fields}, ensure_ascii=False))
    path.write_text("\n".join(lines), encoding="utf-8", newline=r.choice(("\n", "\r\n")))
    key_of = r.choice(({}, {"primaryKey": ["id"]}, {"primaryKey": ["s", "id"]}))
    return {"fields": fields, **key_of, **r.choice(({}, {"missingValues": ["", "NA"]}))}


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(seed=SEEDS, block=st.sampled_from([200, 4 << 20]), limit=st.sampled_from([0, 20]))
def test_keys_of_records_are_the_same_whichever_way_their_rows_went(
    in_folder: Path, seed: int, block: int, limit: int
) -> None:
    schema = make_keyed_records(random.Random(seed), in_folder / "t.jsonl")
    resource = {"name": "t", "path": "t.jsonl", "schema": schema}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(judge, "SMALL", 1 << 40)
        exact = ours(resource, limit)
        patch.setattr(judge, "SMALL", 0)
        patch.setattr(blocks, "BLOCK", block)
        assert ours(resource, limit) == exact


def test_keys_are_found_where_no_plain_record_is_right(in_folder: Path) -> None:
    fields = [{"name": "id", "type": "integer"}, {"name": "s", "type": "string"}]
    fields[1]["constraints"] = {"minLength": 3}
    resource = {
        "name": "t",
        "path": "t.jsonl",
        "schema": {"fields": fields, "primaryKey": ["id"]},
    }
    lines = ['{"id": 1.5, "s": "abc"}'] * 3 + ['{"id": 1, "s": "a\\"bc"}'] * 2
    (in_folder / "t.jsonl").write_text("\n".join(lines), encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(judge, "SMALL", 0)
        found = ours(resource, 0)
    assert found == theirs(resource, 1000)
