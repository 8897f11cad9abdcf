"""What once differed from Frictionless, or between one pass and parts: each rule in a few lines."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from parity_cases import Case
from parity_oracle import NAMED, compared, errors_of, our_verdict, ours, small_parts, theirs, types
from yaosu_validators import blocks, judge, validate

ROOT = Path(__file__).resolve().parents[2]
ROWS = b"id,name\n1,one\n2,two\n"


@pytest.fixture(autouse=True)
def back_again() -> Iterator[None]:
    before = Path.cwd()
    yield
    os.chdir(before)


def packaged(files: dict[str, bytes], *resources: dict[str, Any]) -> Case:
    document = {"resources": [{"name": f"r{i}", **r} for i, r in enumerate(resources)]}
    files = {**files, "datapackage.json": json.dumps(document).encode()}
    return Case(files, "datapackage.json", "package")


def agreed(case: Case, folder: Path, limit: int = 1000) -> tuple[Any, ...]:
    """Return the verdict that both sides and all engines have of a case."""
    folder.mkdir(exist_ok=True)
    assert compared(case, folder / "case", limit) is None
    assert theirs(case, limit), "the oracle said nothing"
    return our_verdict(ours(case, limit))


def test_every_named_difference_is_a_line_of_the_table() -> None:
    text = (ROOT / "docs" / "frictionless-differences.md").read_text(encoding="utf-8")
    assert [name for name in NAMED if f"\n| {name} |" not in text] == []


@pytest.mark.parametrize("scheme", ["zz", "http", "multipart"])
def test_several_files_are_files_whatever_scheme_is_said(tmp_path: Path, scheme: str) -> None:
    resource = {"path": ["a.csv", "b.csv"], "scheme": scheme}
    case = packaged({"a.csv": ROWS, "b.csv": ROWS}, resource)
    assert agreed(case, tmp_path) == (True, [], [4])


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
@pytest.mark.parametrize("before", [b"", b"\r", b"\n"])
def test_the_first_line_of_a_further_file_ends_as_lines_may_end(
    tmp_path: Path, end: bytes, before: bytes
) -> None:
    rows = ROWS.replace(b"\n", end)
    files = {"a.csv": rows, "b.csv": before + rows, "c.csv": b"id,name" + end, "d.csv": rows}
    schema = {"fields": [{"name": "id", "type": "integer"}, {"name": "name", "type": "string"}]}
    verdict = agreed(packaged(files, {"path": sorted(files), "schema": schema}), tmp_path)
    assert verdict[2] == [7 if before else 6]


def test_a_database_that_is_called_a_file_is_a_file_elsewhere(tmp_path: Path) -> None:
    resource = {"path": "sqlite:///a.db", "type": "file", "format": "sql"}
    verdict = agreed(packaged({}, resource), tmp_path)
    assert verdict == (False, [("scheme-error", None, None, None)], [None])


@pytest.mark.parametrize(("name", "error"), [("A b", "package-error"), ("a", "field-error")])
def test_a_field_that_is_no_object_is_said_after_all_else(
    tmp_path: Path, name: str, error: str
) -> None:
    case = packaged({"a.csv": ROWS}, {"path": "a.csv", "schema": {"fields": ["id"]}})
    document = {"name": name, **json.loads(case.files["datapackage.json"])}
    case.files["datapackage.json"] = json.dumps(document).encode()
    assert agreed(case, tmp_path) == (False, [(error, None, None, None)], [])


@pytest.mark.parametrize("text", ['{"a": {"b": [1]}}', "[1, 2]", '"x"', "7"])
def test_json_without_records_is_no_broken_table(tmp_path: Path, text: str) -> None:
    case = packaged({"a.json": text.encode()}, {"path": "a.json"})
    assert agreed(case, tmp_path) == (True, [], [None])
    assert ours(case, 9).tasks[0].type == "json"


def test_json_that_is_called_a_table_has_records(tmp_path: Path) -> None:
    for number, said in enumerate(({"type": "table"}, {"schema": {"fields": [{"name": "a"}]}})):
        case = packaged({"a.json": b'{"a": 1}'}, {"path": "a.json", **said})
        case.write(tmp_path / str(number))
        found = validate(tmp_path / str(number))
        assert [e.type for e in errors_of(found)] == ["source-error"]


def test_an_object_in_the_descriptor_is_data_and_no_table(tmp_path: Path) -> None:
    table = {"data": {"a": 1}, "type": "table"}
    assert types(validate({"resources": [{"name": "a", **table}]})) == ["source-error"]
    for number, data in enumerate(
        ({"data": {"a": 1}}, {"data": {}}, {"data": [1], "type": "json"})
    ):
        case = packaged({}, data)
        assert agreed(case, tmp_path / str(number)) == (True, [], [None])


@pytest.mark.parametrize("text", ['{"a": "13800138000" x}', '[{"a": "13800138000"}, x]'])
def test_why_json_cannot_be_read_shows_none_of_it(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.json").write_text(text, encoding="utf-8")
    report = validate(tmp_path / "a.json")
    assert [e.type for e in errors_of(report)] == ["source-error"]
    assert "1380" not in json.dumps(report.as_json())


def test_the_last_row_of_other_encodings_is_read_when_its_quote_stays_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = "id,name\n" + "1,é\n" * 40 + '2,"open\n'
    (tmp_path / "a.csv").write_text(rows, encoding="latin-1")
    case = packaged({"a.csv": rows.encode("latin-1")}, {"path": "a.csv", "encoding": "latin-1"})
    assert agreed(case, tmp_path) == (True, [], [41])
    monkeypatch.setattr(judge, "SMALL", 0)
    monkeypatch.setattr(blocks, "BLOCK", 100)  # the block is full where the text ends
    assert our_verdict(ours(case, 1000)) == (True, [], [41])


@pytest.mark.parametrize("encoding", ["gb18030", "ascii", "utf-8"])
@pytest.mark.parametrize("closed", ["", '"\n3,x\n'])
def test_a_bad_byte_is_found_in_a_row_that_goes_on_for_long(
    tmp_path: Path, encoding: str, closed: str
) -> None:
    text = "id,name\n" + "1,one\n" * 400 + '2,"open\n' + "line\n" * 3000 + closed
    data = text.encode(encoding) + b"\xff\xff\n"
    case = packaged({"a.csv": data}, {"path": "a.csv", "encoding": encoding})
    verdict = agreed(case, tmp_path)
    assert verdict == (False, [("encoding-error", None, None, None)], [400])
    with small_parts(part=1 << 30, block=blocks.BLOCK):
        assert our_verdict(ours(case, 1000)) == verdict


def test_a_header_may_be_longer_than_a_part(tmp_path: Path) -> None:
    for number, before in enumerate(("one,two,three\n" * 20, '"' + "long\n" * 50 + '",x\n')):
        text = before + "id,name\n" + "1,one\n" * 30
        row = before.count("\n") + 1 if number == 0 else 2
        files = {"a.csv": text.encode()}
        case = packaged(files, {"path": "a.csv", "dialect": {"headerRows": [row]}})
        assert agreed(case, tmp_path / str(number)) == (True, [], [30])


@pytest.mark.parametrize("dialect", [{"commentRows": [1]}, {"commentRows": [2], "headerRows": [3]}])
def test_a_comment_above_the_data_is_none_further_down(
    tmp_path: Path, dialect: dict[str, Any]
) -> None:
    lines = ["about", "about", "id,name", *["", "1,one"] * 60]
    text = "\n".join(lines[1 if dialect["commentRows"] == [1] else 0 :]).encode()
    verdict = agreed(packaged({"a.csv": text}, {"path": "a.csv", "dialect": dialect}), tmp_path)
    assert [e[0] for e in verdict[1]] == ["blank-row"] * 60
    assert verdict[2] == [120]


@pytest.mark.parametrize("last", ['"', '3,"', '3,"x\r', '3,"x\n', '3,"x\n\n', '"3\r\n4', "3\r"])
@pytest.mark.parametrize("part", [60, 1 << 30])
def test_a_quote_that_stays_open_ends_where_the_text_ends(
    tmp_path: Path, last: str, part: int
) -> None:
    text = "id,name\n" + "1,one\n" * 30 + last
    fields = [
        {"name": "id", "type": "integer"},
        {"name": "name", "constraints": {"maxLength": 3, "enum": ["one", "x", "x\r", "x\n"]}},
    ]
    case = packaged({"a.csv": text.encode()}, {"path": "a.csv", "schema": {"fields": fields}})
    verdict = agreed(case, tmp_path)
    with small_parts(part):
        assert our_verdict(ours(case, 1000, workers=2)) == verdict


@pytest.mark.parametrize("line", ["", "  ", '{"a": ', "[1]", "x"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_why_a_line_is_no_record_is_said_alike(tmp_path: Path, line: str, end: str) -> None:
    text = end.join(['{"a": 1}'] * 9 + [line] + ['{"a": 2}'] * 30)
    case = packaged({"a.jsonl": text.encode()}, {"path": "a.jsonl"})
    assert agreed(case, tmp_path)[1] == [("source-error", None, None, None)]


@pytest.mark.parametrize("missing", [["-999"], ["1.0"], ["True", "[]", "{}"], ["-", "x"]])
@pytest.mark.parametrize("required", [False, True])
def test_a_record_may_write_a_missing_value_without_quotes(
    tmp_path: Path, missing: list[str], required: bool
) -> None:
    kinds = ("integer", "number", "boolean", "array", "object", "any", "string")
    values = [-999, 1.0, True, [], {}, "-999", "x", 7, "1.0", None]
    lines = [
        json.dumps({kind: value, "z": other})
        for kind in kinds
        for value in values
        for other in (None, -999, "-")
    ]
    for kind in kinds:
        field = {"name": kind, "type": kind, "constraints": {"required": required}}
        schema = {"fields": [field, {"name": "z", "type": "integer"}], "missingValues": missing}
        data = "\n".join(x for x in lines if f'"{kind}"' in x).encode()
        case = packaged({"a.jsonl": data}, {"path": "a.jsonl", "schema": schema})
        agreed(case, tmp_path / kind)


@pytest.mark.parametrize(
    ("record", "dialect", "rows"),
    [
        ({" a": 1, "b ": "x"}, {}, 30),
        ({"a": "#1", "b": None}, {"commentChar": "#"}, None),
        ({"a": None, "b": None}, {"skipBlankRows": True}, None),
        ({"a": 1, "b": 2}, {"commentRows": [5, 6]}, 28),
        ({"a": 1, "b": 2}, {"headerRows": [1, 2]}, 29),
        ({"a": 1, "b": 2}, {"headerRows": [3]}, 28),
        ({"a": 1, "b": 2}, {"header": False}, 31),
        ({"a": 1, "b": 2}, {"json": {"keys": ["b", "a"]}}, 30),
        ({"a": 1, "b": 2}, {"json": {"keys": ["b"]}}, 30),
    ],
)
def test_records_are_read_by_their_keys_and_the_dialect_however_many(
    tmp_path: Path, record: dict[str, Any], dialect: dict[str, Any], rows: int | None
) -> None:
    lines = (json.dumps(record) + "\n").encode() * 30
    resource = {"path": "a.jsonl", "dialect": dialect} if dialect else {"path": "a.jsonl"}
    case = packaged({"a.jsonl": lines}, resource)
    verdict = agreed(case, tmp_path)
    assert verdict[2] == [rows]
    with small_parts(part=1 << 30):
        assert our_verdict(ours(case, 1000)) == verdict
