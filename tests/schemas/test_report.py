"""The report: the JSON of the contract, readable as a Frictionless report, the same twice."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from yaosu_schemas import documents
from yaosu_schemas.report import CheckRun, Metric, Report, ReportError, Task, TaskStats

SOURCE = Path(documents.__file__).parent.parent


def error(**changes: object) -> ReportError:
    base = ReportError(
        type="type-error",
        title="Type Error",
        title_zh="类型错误",
        message="the cell “secret-cell” is no integer",
        message_zh="单元格“secret-cell”不是整数",
        tags=("#table", "#row", "#cell"),
        note="secret-cell",
        row_number=3,
        field_name="age",
        field_number=2,
        cell="secret-cell",
        cells=("1", "secret-cell"),
    )
    return replace(base, **changes)  # type: ignore[arg-type]


def report() -> Report:
    return Report(
        target="sha256:" + "ab" * 32,
        tasks=(
            Task(
                name="people",
                place="data/people.csv",
                labels=("id", "age"),
                stats=TaskStats(
                    errors=1, seconds=0.5, sha256="cd" * 32, bytes=120, fields=2, rows=9
                ),
                errors=(error(),),
            ),
            Task(name="notes", place="notes.txt", type="file", stats=TaskStats(seconds=0.1)),
        ),
        warnings=("one",),
        checks=(CheckRun(name="structure", version="1", rows_seen=9, rows_total=9),
                CheckRun(name="sample", version="2", rows_seen=5, rows_total=None)),
        metrics=(Metric(id="iso5259:Com-ML-1", standard="ISO/IEC 5259-2:2024", value=0.5,
                        numerator=1, denominator=2, n=2, passed=True),
                 Metric(id="tc609:0201", standard="TC609-5-2025-04", value=None, n=0, seed=7,
                        basis="market")),
        ruleset="yaosu@1",
        started_at="2026-11-23T08:00:00Z",
        engine="local",
        seconds=0.75,
    )  # fmt: skip


def test_it_has_the_keys_of_the_contract() -> None:
    found = report().as_json()
    assert set(found) == {"valid", "stats", "warnings", "errors", "tasks", "target", "checks",
                          "metrics", "ruleset", "started_at", "engine"}  # fmt: skip
    assert found["stats"] == {"tasks": 2, "errors": 1, "warnings": 1, "seconds": 0.75}
    task = found["tasks"][0]
    assert set(task) == {"name", "type", "valid", "place", "labels", "stats", "warnings", "errors",
                         "findings"}  # fmt: skip
    assert task["stats"] == {"sha256": "cd" * 32, "bytes": 120, "fields": 2, "rows": 9,
                             "errors": 1, "warnings": 0, "seconds": 0.5}  # fmt: skip
    assert {"type", "title", "description", "message", "tags", "note", "rowNumber", "fieldName",
            "fieldNumber", "cell", "cells"} <= set(task["errors"][0])  # fmt: skip
    assert found["checks"][0]["coverage"] == {"rows_seen": 9, "rows_total": 9}
    assert found["metrics"][0]["pass"] is True
    assert "pass" not in found["metrics"][1]


def test_it_passes_its_own_schema() -> None:
    assert documents.check(report().as_json(), against="report") == []
    broken = {**report().as_json(), "valid": "yes", "engine": None}
    assert {p.pointer for p in documents.check(broken, against="report")} == {"/valid", "/engine"}


def test_it_passes_the_published_schema_in_a_plain_validator() -> None:
    from jsonschema import Draft202012Validator

    assert not list(Draft202012Validator(documents.load("report")).iter_errors(report().as_json()))


def test_it_reads_back_as_it_was() -> None:
    assert Report.from_json(json.loads(json.dumps(report().as_json()))) == report()


def test_a_report_of_frictionless_can_be_read() -> None:
    theirs = {
        "valid": False,
        "stats": {"tasks": 1, "errors": 1, "warnings": 0, "seconds": 0.01},
        "warnings": [],
        "errors": [],
        "tasks": [
            {"name": "t", "type": "table", "valid": False, "place": "t.csv", "labels": ["id"],
             "stats": {"errors": 1, "warnings": 0, "seconds": 0.01, "md5": "x", "rows": 2},
             "warnings": [],
             "errors": [{"type": "blank-row", "title": "Blank Row", "description": "d",
                         "message": "m", "tags": ["#table"], "note": "n", "rowNumber": 3,
                         "cells": [""]}]},
        ],
    }  # fmt: skip
    ours = Report.from_json(theirs)
    assert not ours.valid
    assert ours.tasks[0].errors[0].row_number == 3
    assert ours.as_json()["stats"] == theirs["stats"]


@pytest.mark.parametrize(
    "change",
    [{"started_at": "2030-01-01T00:00:00Z"}, {"engine": "ray://x"}, {"seconds": 99.0}],
)
def test_clock_and_engine_do_not_change_its_digest(change: dict[str, object]) -> None:
    other = replace(report(), **change)  # type: ignore[arg-type]
    assert other.digest() == report().digest()
    assert other.as_json() != report().as_json()


def test_seconds_of_a_task_do_not_change_its_digest() -> None:
    task = report().tasks[0]
    slow = replace(task, stats=replace(task.stats, seconds=9.0))
    assert replace(report(), tasks=(slow, *report().tasks[1:])).digest() == report().digest()


def test_what_was_found_does_change_its_digest() -> None:
    assert replace(report(), tasks=report().tasks[:1]).digest() != report().digest()
    assert replace(report(), target="").digest() != report().digest()


def test_a_masked_report_holds_no_word_of_the_data() -> None:
    masked = report().masked()
    assert "secret-cell" not in json.dumps(masked.as_json(), ensure_ascii=False)
    assert masked.tasks[0].errors[0].row_number == 3
    assert masked.tasks[0].errors[0].message_zh == "类型错误"


def test_errors_that_a_limit_left_out_still_count() -> None:
    task = Task(name="t", place="t.csv", stats=TaskStats(errors=5000), errors=(error(),))
    found = Report(target="x", tasks=(task,))
    assert found.error_count == 5000
    assert not found.valid
    assert not Report(target="x", tasks=(replace(task, errors=()),)).valid


def test_only_blocking_errors_return_a_listing() -> None:
    task = Task(name="t", place="t", errors=(error(blocking=False),))
    assert not Report(target="x", tasks=(task,)).blocking
    assert report().blocking
    assert Report(target="x").valid


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=30), st.integers(1, 2**31))
def test_any_cell_survives_the_way_through_json(cell: str, row: int) -> None:
    one = error(cell=cell, cells=(cell,), row_number=row, field_name=cell)
    assert ReportError.from_json(json.loads(json.dumps(one.as_json()))) == one


@pytest.mark.parametrize(
    ("module", "seconds"),
    [("yaosu_schemas", 0.05), ("yaosu_schemas.report", 0.2), ("yaosu_schemas.codes", 0.2),
     ("yaosu_schemas.documents", 0.2)],
)  # fmt: skip
def test_it_is_cheap_to_import(module: str, seconds: float, tmp_path: Path) -> None:
    # As installed, with byte code; what counts is that nothing heavy comes along.
    kept = {k: v for k, v in os.environ.items() if k != "PYTHONDONTWRITEBYTECODE"}
    code = (
        f"import sys, time; sys.path.insert(0, {str(SOURCE)!r}); t = time.process_time();"
        f"import {module}; took = time.process_time() - t;"
        "heavy = [m for m in ('jsonschema', 'pydantic', 'referencing', 'rfc8785') "
        "if m in sys.modules]; print(took, heavy)"
    )
    runs = [
        subprocess.run(
            [sys.executable, "-c", code],
            capture_output=True,
            text=True,
            check=True,
            env={**kept, "PYTHONPYCACHEPREFIX": str(tmp_path)},
        ).stdout.split(" ", 1)
        for _ in range(4)
    ]
    assert {heavy.strip() for _, heavy in runs} == {"[]"}
    assert min(float(took) for took, _ in runs) < seconds
