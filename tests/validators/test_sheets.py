"""Sheets are read by the frictionless library, which trusts what it reads: in the child alone."""

from __future__ import annotations

import subprocess
import sys
from datetime import date, datetime, time
from pathlib import Path
from typing import Any

import openpyxl
import pytest

from yaosu_schemas.errors import SandboxFailed
from yaosu_validators import excel, sandbox, validate
from yaosu_validators.sandbox import IN_CHILD
from yaosu_validators.streams import SourceProblem

VALUES = [1, 1.5, True, None, "中 文", datetime(2020, 1, 2, 3, 4, 5), date(2020, 1, 2), time(3, 4)]


@pytest.fixture
def book(tmp_path: Path) -> Path:
    made = openpyxl.Workbook()
    made.active.append([f"c{i}" for i, _ in enumerate(VALUES)])
    made.active.append(VALUES)
    made.save(tmp_path / "t.xlsx")
    return tmp_path / "t.xlsx"


@pytest.mark.parametrize("name", ["table-with-ints-floats-dates.ods", "merged-cells-boolean.xls"])
def test_what_the_child_sends_is_what_it_read(
    testdata: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    data = (testdata / "frictionless" / "frictionless-py" / "data" / name).read_bytes()
    sent = list(excel.sheet_rows(data, name[-3:], {}))
    monkeypatch.setenv(IN_CHILD, "1")
    read = list(excel.sheet_rows(data, name[-3:], {}))
    assert sent == read
    assert [[type(v) for v in row] for row in sent] == [[type(v) for v in row] for row in read]


def test_every_kind_of_value_comes_through(book: Path) -> None:
    rows = list(excel.sheet_rows(book.read_bytes(), "xlsx", {}))
    expected = [datetime(2020, 1, 2) if type(v) is date else v for v in VALUES]
    assert rows[1] == expected


def test_the_process_of_the_person_never_loads_the_library(book: Path) -> None:
    code = (
        "import sys; from yaosu_validators import validate; "
        f"r = validate({str(book)!r}); "
        "print(r.valid, r.tasks[0].stats.rows, 'frictionless' in sys.modules)"
    )
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.split() == ["True", "1", "False"]


def test_a_machine_without_a_sandbox_says_so_and_still_reads_text(
    book: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (book.parent / "t.csv").write_text("a\n1\n")
    monkeypatch.setattr(sys, "executable", "/bin/false")
    monkeypatch.setattr(sandbox, "_nurseries", {})  # a program has no warm process either
    assert validate(book.parent / "t.csv").valid
    with pytest.raises(SandboxFailed, match="YAOSU_SANDBOX=false") as refused:
        validate(book)
    assert "YAOSU_SANDBOX=false" in refused.value.zh


def test_a_damaged_sheet_is_a_finding(tmp_path: Path) -> None:
    (tmp_path / "t.xlsx").write_bytes(b"PK\x03\x04" + b"\0" * 500)
    report = validate(tmp_path / "t.xlsx")
    assert [e.type for t in report.tasks for e in t.errors] == ["format-error"]


@pytest.mark.parametrize(
    "answer",
    [
        *({}, {"rows": None}, {"rows": ["x"]}, {"rows": [[{"date": "x"}]]}),
        *({"rows": [[{}]]}, {"rows": [[{"os": "x"}]]}, {"rows": [[{"date": 5}]]}),
    ],
)
def test_a_child_that_was_taken_over_can_say_nothing_but_rows(
    book: Path, monkeypatch: pytest.MonkeyPatch, answer: dict[str, Any]
) -> None:
    monkeypatch.setattr(excel, "run_in_sandbox", lambda *_, **__: answer)
    with pytest.raises(SourceProblem) as refused:
        list(excel.sheet_rows(book.read_bytes(), "xlsx", {}))
    assert refused.value.finding.type == "source-error"
