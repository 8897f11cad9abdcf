"""Verdict parity: the 410 recorded verdicts of frictionless 5.21 on files made by others."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from yaosu_schemas.report import Report
from yaosu_validators import validate
from yaosu_validators.sandbox import IN_CHILD

ROOT = Path(__file__).resolve().parents[2]
Found = tuple[str, Any, Any, Any]


def deliberate() -> set[str]:
    """The files that our table of differences names."""
    text = (ROOT / "docs" / "frictionless-differences.md").read_text(encoding="utf-8")
    return set(re.findall(r"`(frictionless/[^`]+)`", text))


def verdicts(testdata: Path) -> dict[str, Any]:
    path = testdata / "verdicts" / "frictionless_shared.json"
    cases: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))["cases"]
    return cases


def found_by_us(report: Report) -> list[Found]:
    errors = [*report.errors, *(e for task in report.tasks for e in task.errors)]
    return [(e.type, e.row_number, e.field_number, e.field_name or None) for e in errors]


def found_by_frictionless(case: dict[str, Any]) -> list[Found]:
    return [
        (e["type"], e.get("row_number"), e.get("field_number"), e.get("field_name") or None)
        for e in case["errors"]
    ]


def differences(report: Report, case: dict[str, Any]) -> list[str]:
    wrong = []
    if report.valid != case["valid"]:
        wrong.append(f"valid: {report.valid}")
    ours, theirs = found_by_us(report), found_by_frictionless(case)
    if ours != theirs:
        wrong.append(f"errors: {ours[:3]} and theirs {theirs[:3]}")
    rows = [task.stats.rows or None for task in report.tasks]
    expected = [task["stats"].get("rows") for task in case["tasks"]]
    if rows != expected:
        wrong.append(f"rows: {rows} and theirs {expected}")
    for task, other in zip(report.tasks, case["tasks"], strict=False):
        for name in ("sha256", "md5", "bytes"):
            if other["stats"].get(name) not in (None, getattr(task.stats, name)):
                wrong.append(f"{name} of {task.name}")
    return wrong


def test_every_recorded_verdict_is_ours_too_or_a_named_difference(
    testdata: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(IN_CHILD, "1")  # the child of each sheet is a test of its own
    cases, named = verdicts(testdata), deliberate()
    assert len(cases) == 410
    wrong, agreed = {}, set()
    for name, case in cases.items():
        report = validate(testdata / name, kind=case["frictionless_type_argument"])
        found = differences(report, case)
        if found and name not in named:
            wrong[name] = found
        elif not found:
            agreed.add(name)
    assert not wrong, f"{len(wrong)} verdicts differ: {wrong}"
    assert not named & agreed, "these are named as differences and are none"


def test_the_named_differences_stay_few(testdata: Path) -> None:
    assert len(deliberate()) <= 8


@pytest.mark.parametrize(
    ("name", "errors"),
    [("gdp", 0), ("country-codes", 0), ("co2-ppm", 827)],
)
def test_published_data_sets_have_their_published_verdict(
    testdata: Path, name: str, errors: int
) -> None:
    report = validate(testdata / "frictionless" / "datasets" / name)
    assert report.error_count == errors
    assert report.valid == (errors == 0)
