"""Hostile and broken input: a typed verdict within limits, never a crash, a hang, or "valid"."""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from yaosu_schemas.report import Report
from yaosu_validators import blocks, validate


def types(report: Report) -> list[str]:
    return [e.type for e in (*report.errors, *(e for t in report.tasks for e in t.errors))]


@pytest.fixture(autouse=True)
def in_time() -> Iterator[None]:
    started = time.process_time()
    yield
    assert time.process_time() - started < 20


# --- broken files --------------------------------------------------------------------------------


def test_broken_parquet_is_never_valid(tmp_path: Path) -> None:
    columns = {"a": list(range(2000)), "b": [f"text {n}" for n in range(2000)]}
    pq.write_table(pa.table(columns), tmp_path / "good.parquet", write_page_checksum=True)
    good = (tmp_path / "good.parquet").read_bytes()
    broken = {
        "empty": b"",
        "cut": good[: len(good) // 2],
        "magic": b"PAR1" + b"\0" * 100 + b"PAR1",
        "flipped": good[:900] + bytes(b ^ 0xFF for b in good[900:1400]) + good[1400:],
        "text": b"a,b\n1,2\n",
    }
    for name, data in broken.items():
        path = tmp_path / f"{name}.parquet"
        path.write_bytes(data)
        report = validate(path)
        assert not report.valid, name
        assert set(types(report)) <= {"source-error", "format-mismatch"}, name


def test_broken_arrow_is_never_valid(tmp_path: Path) -> None:
    table = pa.table({"a": ["x", "y"] * 500})
    with (
        pa.OSFile(str(tmp_path / "good.arrow"), "wb") as sink,
        pa.ipc.new_file(sink, table.schema) as writer,
    ):
        writer.write_table(table)
    assert validate(tmp_path / "good.arrow").valid
    good = (tmp_path / "good.arrow").read_bytes()
    for number, data in enumerate([b"", good[:300], b"ARROW1\0\0" + b"\1" * 200]):
        path = tmp_path / f"{number}.arrow"
        path.write_bytes(data)
        assert not validate(path).valid


def test_text_that_is_not_utf8_in_parquet_is_found(tmp_path: Path) -> None:
    raw = pa.Array.from_buffers(
        pa.string(), 1, [None, pa.py_buffer(b"\0\0\0\0\2\0\0\0"), pa.py_buffer(b"\xff\xfe")]
    )
    pq.write_table(pa.table({"a": raw}), tmp_path / "a.parquet")
    assert types(validate(tmp_path / "a.parquet")) == ["source-error"]


@pytest.mark.parametrize("text", ["", "\n", "\n\n\n", "{", "[", "[[", '{"a":1}\n{', "7", "null"])
def test_broken_json_lines_are_never_valid(tmp_path: Path, text: str) -> None:
    (tmp_path / "a.jsonl").write_text(text, encoding="utf-8")
    report = validate(tmp_path / "a.jsonl")
    assert types(report) == ["source-error"]


def test_json_that_is_nested_without_end_is_refused(tmp_path: Path) -> None:
    deep = "[" * 10_000 + "]" * 10_000
    (tmp_path / "a.jsonl").write_text('{"a": ' + deep + "}\n", encoding="utf-8")
    (tmp_path / "a.json").write_text('[{"a": ' + deep + "}]", encoding="utf-8")
    (tmp_path / "b.json").write_text(deep, encoding="utf-8")
    for name in ("a.jsonl", "a.json", "b.json"):
        assert not validate(tmp_path / name).valid, name
    (tmp_path / "datapackage.json").write_text('{"resources": ' + deep + "}", encoding="utf-8")
    assert types(validate(tmp_path / "datapackage.json")) == ["package-error"]


@pytest.mark.parametrize("checks", [None, ["structure", "corpus.records"]])
@pytest.mark.parametrize("form", ["[{}]", "{}\n"])
def test_a_record_that_fills_the_memory_as_values_is_refused(
    tmp_path: Path, form: str, checks: list[str] | None
) -> None:
    small = '{"id": 1, "a": [], "text": "a, [b], \\\\\\", {c}"}'
    long = '{"id": 2, "a": [], "text": "' + 'a, [b], \\" ' * 1_000_000 + '"}'
    many = '{"id": 3, "text": "", "a": [' + "[]," * 3_000_000 + "[]]}"
    path = tmp_path / ("a.json" if "[" in form else "a.jsonl")
    between = ",\n" if "[" in form else "\n"
    for records, wanted in (([small, long, small], []), ([small, many, small], ["resource-limit"])):
        path.write_text(form.replace("{}", between.join(records)), encoding="utf-8")
        assert types(validate(path, checks=checks)) == wanted


def test_an_item_of_a_json_array_that_never_ends_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("yaosu_validators.json_texts.MAX_ROW_BYTES", 1 << 21)
    (tmp_path / "a.json").write_text('[{"a": "b"}, {"a": "' + "text " * 1_000_000 + '"}]')
    assert types(validate(tmp_path / "a.json")) == ["resource-limit"]


@pytest.mark.parametrize("name", ["NaN", "Infinity", "-Infinity"])
def test_numbers_that_json_does_not_have_are_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "a.jsonl").write_text('{"a": 1}\n{"a": ' + name + "}\n", encoding="utf-8")
    assert types(validate(tmp_path / "a.jsonl")) == ["source-error"]


def test_late_bad_bytes_are_one_finding(tmp_path: Path) -> None:
    data = b"a,b\n" + b"1,2\n" * 50_000
    (tmp_path / "a.csv").write_bytes(data + b"1,\xff\n" + b"1,2\n" * 10)
    report = validate(tmp_path / "a.csv")
    assert types(report) == ["encoding-error"]
    assert "byte 200,006, in line 50,002, is not utf-8" in report.tasks[0].errors[0].message
    assert "第 200,006 字节（第 50,002 行）不是 utf-8" in report.tasks[0].errors[0].message_zh


@pytest.mark.parametrize(
    ("encoding", "size", "place"),
    [("utf-8", 200_000, "byte 800,006, in line 200,002"), ("gb18030", 9, "byte 42, in line 11")],
)
def test_bad_bytes_are_placed_whoever_reads(
    tmp_path: Path, encoding: str, size: int, place: str
) -> None:
    (tmp_path / "a.csv").write_bytes(b"a,b\n" + b"1,2\n" * size + b"1,\xff\n" + b"1,2\n" * 10)
    resource = {"name": "a", "path": "a.csv", "encoding": encoding}
    (tmp_path / "datapackage.json").write_text(json.dumps({"resources": [resource]}))
    report = validate(tmp_path)
    assert types(report) == ["encoding-error"]
    assert place in report.tasks[0].errors[0].message


def test_nul_bytes_are_cells_like_others(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"a,b\n1,\0\n2\n")
    assert types(validate(tmp_path / "a.csv")) == ["missing-cell"]


def test_all_kinds_of_line_ends_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_bytes(b"a,b\r\n1,2\n3,4\r5,6\r\n7\n")
    report = validate(tmp_path / "a.csv")
    assert report.tasks[0].stats.rows == 4
    assert types(report) == ["missing-cell"]


# --- too much ------------------------------------------------------------------------------------


def test_a_bomb_is_refused(tmp_path: Path) -> None:
    zeros = b"a,b\n" + b"0" * (60 << 20)
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress(zeros, 6))
    (tmp_path / "a.csv.zst").write_bytes(zstandard.compress(zeros))
    for name in ("a.csv.gz", "a.csv.zst"):
        assert types(validate(tmp_path / name)) == ["resource-limit"], name


def test_a_quote_that_is_never_closed_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blocks, "MAX_ROW_BYTES", 1 << 20)
    monkeypatch.setattr("yaosu_validators.feeds.MAX_ROW_BYTES", 1 << 20)
    monkeypatch.setattr(blocks, "BLOCK", 1 << 18)
    rows = b"a,b\n" + b"1,2\n" * 1000
    (tmp_path / "a.csv").write_bytes(rows + b'3,"' + b"text, text\n" * 400_000)
    assert types(validate(tmp_path / "a.csv")) == ["resource-limit"]


@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="needs Linux")
@pytest.mark.parametrize("end", [b"", b'"\n7,8\n'])
def test_the_longest_row_takes_no_more_than_half_a_gibibyte(tmp_path: Path, end: bytes) -> None:
    with (tmp_path / "a.csv").open("wb") as file:
        file.write(b"a,b\n" + b"1,2\n" * 1000 + b'3,"')
        for _ in range(62 if end else 80):
            file.write(b"text, text, text\n" * ((1 << 20) // 17))
        file.write(end)
    report, peak = _watched(tmp_path / "a.csv", "--limit-errors", "0")
    assert types(report) == ["type-error" if end else "resource-limit"]
    assert report.tasks[0].stats.rows == (1002 if end else 1000)
    assert "64 MiB" in "".join(e.message for e in report.tasks[0].errors) or end
    assert 100 << 20 < peak < 512 << 20


@pytest.mark.skipif(not Path("/proc/self/smaps_rollup").exists(), reason="needs Linux")
def test_workers_together_take_no_more_than_half_a_gibibyte(tmp_path: Path) -> None:
    long = "some text 😀 " * (50_000_000 // 15)
    with (tmp_path / "a.csv").open("w", encoding="utf-8") as file:
        file.write("a,b\n" + "1,2\n" * 5_000_000)
        for _ in range(3):
            file.write(f'3,"{long}"\n4,5"\n')
        file.write("6,7\n" * 5_000_000)
    report, peak = _watched(tmp_path / "a.csv", "--workers", "4")
    assert types(report) == ["type-error"] * 6
    assert report.tasks[0].stats.rows == 10_000_006
    assert 150 << 20 < peak < 512 << 20


def test_a_row_of_a_million_cells_too_many_has_as_many_findings_as_count(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("a,b\n1,2\n1,2" + ",x" * 1_000_000 + "\n1,2\n")
    report = validate(tmp_path / "a.csv", limit_errors=3)
    found = [(e.type, e.row_number, e.field_number) for e in report.tasks[0].errors]
    assert found == [("extra-cell", 3, number) for number in (3, 4, 5)]
    (tmp_path / "a.csv").write_text("a,b\n1,2\n1,2" + ",xy" * 2_000_000 + "\n1,2\n")
    assert types(validate(tmp_path / "a.csv")) == ["resource-limit"]


def _watched(path: Path, *options: str) -> tuple[Report, int]:
    """Return a report and the most memory that all processes held meanwhile."""
    code = "from yaosu.cli import main; main()"
    arguments = [sys.executable, "-c", code, "validate", str(path), "--json", *options]
    with subprocess.Popen(arguments, stdout=subprocess.PIPE, text=True) as command:
        peaks = [0]
        reader = ThreadPoolExecutor(1).submit(lambda: command.stdout and command.stdout.read())
        while not reader.done():
            peaks.append(sum(map(_held_bytes, _family(command.pid))))
            time.sleep(0.02)
        return Report.from_json(json.loads(reader.result() or "")), max(peaks)


def _family(pid: int) -> list[int]:
    try:
        tasks = sorted(Path(f"/proc/{pid}/task").iterdir())
        children = [int(c) for t in tasks for c in (t / "children").read_text().split()]
    except OSError:  # it has ended
        return [pid]
    return [pid, *(one for child in children for one in _family(child))]


def _held_bytes(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text("ascii").splitlines()
    except OSError:  # it has ended
        return 0
    return sum(int(line.split()[1]) << 10 for line in lines if line.startswith("Pss:"))


def test_a_quote_that_is_never_closed_at_the_top_is_refused_before_the_table_is_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("yaosu_validators.marks.MAX_ROW_BYTES", 1 << 20)
    (tmp_path / "a.csv").write_bytes(b'a,b\n1,2\n3,"' + b"text, text\n" * 400_000)
    report = validate(tmp_path / "a.csv")
    assert types(report) == ["resource-limit"]
    assert report.tasks[0].stats.rows is None


def test_a_very_wide_table_is_read(tmp_path: Path) -> None:
    names = ",".join(f"c{n}" for n in range(20_000))
    cells = ",".join("1" * 20_000)
    (tmp_path / "a.csv").write_text(f"{names}\n{cells}\n{cells},1\n", encoding="utf-8")
    assert types(validate(tmp_path / "a.csv")) == ["extra-cell"]


def test_a_hostile_pattern_neither_hangs_nor_passes(tmp_path: Path) -> None:
    schema = {"fields": [{"name": "a", "type": "string", "constraints": {"pattern": "(a+)+$"}}]}
    (tmp_path / "a.csv").write_text("a\n" + "a" * 40 + "!\n", encoding="utf-8")
    resource: dict[str, Any] = {"name": "a", "path": "a.csv", "schema": schema}
    (tmp_path / "datapackage.json").write_text(json.dumps({"resources": [resource]}))
    assert types(validate(tmp_path)) == ["constraint-error"]
    schema["fields"][0]["constraints"] = {"pattern": r"(?=a)\1"}
    (tmp_path / "datapackage.json").write_text(json.dumps({"resources": [resource]}))
    assert types(validate(tmp_path)) == ["field-error"]


def test_yaml_that_unfolds_without_end_is_refused(tmp_path: Path) -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    (tmp_path / "datapackage.yaml").write_text("\n".join(lines), encoding="utf-8")
    assert types(validate(tmp_path)) == ["package-error"]


# --- files that change ---------------------------------------------------------------------------


def test_a_file_that_grows_while_it_is_read_is_found_out(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("a,b\n" + "1,2\n" * 200_000, encoding="utf-8")

    def grow(**facts: Any) -> None:
        if not grown.is_set():
            grown.set()
            with path.open("a", encoding="utf-8") as file:
                file.write("3,4\n")

    grown = threading.Event()
    assert "file-changed" in types(validate(path, progress=grow))


def test_a_file_that_shrinks_while_it_is_read_is_found_out(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text("a,b\n" + "1,2\n" * 500_000, encoding="utf-8")

    def shrink(**facts: Any) -> None:
        if path.stat().st_size > 1000:
            os.truncate(path, 1000)

    assert "file-changed" in types(validate(path, progress=shrink))


# --- what others collected -----------------------------------------------------------------------


def test_every_edge_case_has_a_verdict(testdata: Path) -> None:
    files = [p for p in sorted((testdata / "edge").rglob("*")) if p.is_file()]
    assert len(files) > 100
    wrong = []
    for path in files:
        kind = "table" if path.suffix in (".csv", ".json") else None
        try:
            report = validate(path, kind=kind)
        except Exception as why:
            wrong.append(f"{path.name}: {type(why).__name__}")
            continue
        if path.name.startswith("n_") and path.suffix == ".json" and report.valid:
            wrong.append(f"{path.name}: valid")
    assert not wrong, wrong
