"""Every format under every compression gives one and the same verdict."""

from __future__ import annotations

import bz2
import gzip
import json
import lzma
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as pq
import pytest
import zstandard

from parity_packages import zipped
from yaosu_validators import validate

RECORDS: list[dict[str, Any]] = [{"id": i, "name": f"名字 {i}", "n": i / 2} for i in range(60)]
SCHEMA = {
    "fields": [
        {"name": "id", "type": "integer", "constraints": {"maximum": 57}},
        {"name": "name", "type": "string"},
        {"name": "n", "type": "number"},
    ]
}
SQUEEZE: dict[str, Callable[[bytes], bytes]] = {
    "": lambda data: data,
    ".gz": gzip.compress,
    ".bz2": bz2.compress,
    ".xz": lzma.compress,
    ".zst": zstandard.compress,
    ".zip": lambda data: zipped("inner", data),
}


def delimited(mark: str, encoding: str = "utf-8") -> bytes:
    rows = [list(RECORDS[0]), *([str(v) for v in r.values()] for r in RECORDS)]
    return "".join(mark.join(row) + "\n" for row in rows).encode(encoding)


def columns(folder: Path, format_: str) -> bytes:
    table, path = pa.Table.from_pylist(RECORDS), folder / "made"
    if format_ == "parquet":
        pq.write_table(table, path)
    else:
        feather.write_feather(table, path, compression="uncompressed")
    return path.read_bytes()


def written(folder: Path, format_: str) -> bytes:
    if format_ in ("parquet", "arrow"):
        return columns(folder, format_)
    if format_ == "json":
        return json.dumps(RECORDS).encode()
    if format_ == "jsonl":
        return "\n".join(json.dumps(r, ensure_ascii=False) for r in RECORDS).encode()
    return delimited("\t" if format_ == "tsv" else ",")


@pytest.mark.parametrize("squeeze", SQUEEZE)
@pytest.mark.parametrize("format_", ["csv", "tsv", "json", "jsonl", "parquet", "arrow"])
def test_a_format_under_a_compression_has_the_verdict_of_the_format(
    tmp_path: Path, format_: str, squeeze: str
) -> None:
    name = f"t.{format_}{squeeze}"
    (tmp_path / name).write_bytes(SQUEEZE[squeeze](written(tmp_path, format_)))
    report = validate(tmp_path / name, schema=SCHEMA)
    (task,) = report.tasks
    expected = [("constraint-error", row, "id") for row in (60, 61)]
    assert [(e.type, e.row_number, e.field_name) for e in task.errors] == expected
    assert task.stats.rows == 60


@pytest.mark.parametrize("squeeze", [s for s in SQUEEZE if s])
@pytest.mark.parametrize("format_", ["csv", "jsonl", "parquet"])
def test_what_is_cut_off_is_never_valid(tmp_path: Path, format_: str, squeeze: str) -> None:
    whole = SQUEEZE[squeeze](written(tmp_path, format_))
    (tmp_path / f"t.{format_}{squeeze}").write_bytes(whole[: len(whole) * 2 // 3])
    report = validate(tmp_path / f"t.{format_}{squeeze}")
    assert not report.valid
    found = {e.type for e in (*report.errors, *(e for t in report.tasks for e in t.errors))}
    assert found & {"compression-error", "source-error"}


@pytest.mark.parametrize("encoding", ["gbk", "gb18030", "utf-16", "utf-8-sig"])
def test_the_encodings_of_chinese_text_are_seen(tmp_path: Path, encoding: str) -> None:
    (tmp_path / "t.csv").write_bytes(delimited(",", encoding))
    report = validate(tmp_path / "t.csv", schema=SCHEMA)
    assert [e.type for e in report.tasks[0].errors] == ["constraint-error"] * 2
    said = [w for w in report.tasks[0].warnings if "looks like" in w]
    assert len(said) == (encoding in ("gbk", "gb18030")), "the others carry a mark"
    declared = {"path": "t.csv", "encoding": encoding, "schema": SCHEMA}
    path = tmp_path / "datapackage.json"
    path.write_text(json.dumps({"resources": [{"name": "t", **declared}]}))
    assert validate(path).tasks[0].warnings == (), "it is stated"


def test_an_archive_of_one_table_is_judged_whatever_it_is_called(tmp_path: Path) -> None:
    for name, tables in (("one.zip", ["a.csv"]), ("two.zip", ["a.csv", "b.csv"])):
        with zipfile.ZipFile(tmp_path / name, "w") as archive:
            for table in tables:
                archive.writestr(table, "a,b\n1\n")
    alone = validate(tmp_path / "one.zip")
    assert [(e.type, e.row_number) for e in alone.tasks[0].errors] == [("missing-cell", 2)]
    both = validate(tmp_path)
    assert [e.type for e in both.tasks[0].errors] == ["missing-cell"]
    assert any("two.zip" in warning for warning in both.warnings)


def test_what_a_folder_holds_besides_tables_is_said_not_to_be_looked_at(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id\n1\n")
    assert validate(tmp_path).warnings == ()
    for number in range(5):
        (tmp_path / f"{number}.txt").write_text("words")
    (said,) = validate(tmp_path).warnings
    assert said.startswith("5 other files not looked at: 0.txt, 1.txt, 2.txt, …")
