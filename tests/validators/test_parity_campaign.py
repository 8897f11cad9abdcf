"""Whole cases, made up or changed from files of others: Frictionless is the oracle.

The quick part runs a fixed range of seeds; `make campaign` runs more (PARITY_SEEDS=first:last).
"""

from __future__ import annotations

import json
import os
import random
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from parity_cases import Case, mutated, recorded
from parity_packages import generated
from yaosu_validators import validate
from yaosu_validators.sandbox import IN_CHILD

frictionless = pytest.importorskip("frictionless")

Found = tuple[str, Any, Any, Any]
Verdict = tuple[bool, list[Found], list[int | None]]
QUICK = 120
# Each is a line of docs/frictionless-differences.md: what is ours alone, or theirs to lack.
OURS = re.compile(r"^(minimum|maximum|exclusive\w+) is not of type|the bytes are (zip|gz)")
THEIRS = re.compile(
    r'Please install "frictionless|cannot retrieve metadata|Please provide "dialect'
)


@pytest.fixture
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv(IN_CHILD, "1")  # sheets are read here: their child has tests of its own
    before = Path.cwd()
    yield tmp_path
    os.chdir(before)


def theirs(case: Case, limit: int) -> Verdict | None:
    """Return the oracle's verdict, or None where it crashes or lacks an extra."""
    wanted = {"type": case.kind} if case.kind else {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            report = frictionless.validate(case.target, limit_errors=limit, **wanted)
        except Exception:
            return None
    errors = [*report.errors, *(e for task in report.tasks for e in task.errors)]
    databases = any(b'"sql"' in data for data in case.files.values())
    unread = databases and any(e.type == "control-error" for e in errors)
    if unread or any(THEIRS.search(e.note) for e in errors):
        return None
    found = [
        (
            e.type,
            getattr(e, "row_number", None),
            getattr(e, "field_number", None),
            getattr(e, "field_name", None) or None,
        )
        for e in errors
    ]
    return report.valid, found, [task.stats.get("rows") or None for task in report.tasks]


def ours(case: Case, limit: int) -> Verdict | None:
    """Return our verdict, or None where a named difference decides."""
    report = validate(case.target, kind=case.kind, limit_errors=limit)
    errors = [*report.errors, *(e for task in report.tasks for e in task.errors)]
    if any(OURS.search(e.note or "") for e in errors):
        return None
    found = [(e.type, e.row_number, e.field_number, e.field_name or None) for e in errors]
    return report.valid, found, [task.stats.rows or None for task in report.tasks]


def compared(case: Case, folder: Path, limit: int) -> str | None:
    """Return how the two verdicts differ, or None."""
    text = (".csv", ".tsv", ".jsonl", ".ndjson")
    if any(b"\0" in d for n, d in case.files.items() if n.endswith(text)):
        return None  # the encoding is guessed otherwise
    folder.mkdir()
    case.write(folder)
    os.chdir(folder)
    mine, other = ours(case, limit), theirs(case, limit)
    if mine is None or other is None or mine == other:
        return None
    return f"{case.kind} {case.target} {case.story}: ours {mine} and theirs {other}"[:4000]


def pool(testdata: Path) -> list[tuple[str, str | None]]:
    path = testdata / "verdicts" / "frictionless_shared.json"
    cases = json.loads(path.read_text(encoding="utf-8"))["cases"]
    text = (".csv", ".tsv", ".json", ".yaml", ".jsonl", ".ndjson")
    return [
        (name, case["frictionless_type_argument"])
        for name, case in cases.items()
        if name.endswith(text)
        and "[" not in name
        and "implicit-" not in name
        and (testdata / name).stat().st_size < 100_000
    ]


def seeds(count: int) -> range:
    first, _, last = os.environ.get("PARITY_SEEDS", f"0:{count}").partition(":")
    return range(int(first), int(last))


def changed_files(testdata: Path, folder: Path, wanted: range) -> list[str]:
    names, wrong = pool(testdata), []
    for seed in wanted:
        r = random.Random(seed)
        case = mutated(r, recorded(testdata, *r.choice(names)))
        found = compared(case, folder / f"m{seed}", r.choice([1000, 1000, 3]))
        wrong += [f"seed {seed}: {found}"] if found else []
    return wrong


def made_up_packages(folder: Path, wanted: range) -> list[str]:
    wrong = []
    for seed in wanted:
        r = random.Random(seed)
        found = compared(generated(r), folder / f"g{seed}", r.choice([1000, 1000, 3]))
        wrong += [f"seed {seed}: {found}"] if found else []
    return wrong


def test_files_of_others_with_something_changed_have_the_verdict_of_frictionless(
    testdata: Path, in_folder: Path
) -> None:
    assert not changed_files(testdata, in_folder, range(QUICK))


def test_packages_made_up_have_the_verdict_of_frictionless(in_folder: Path) -> None:
    assert not made_up_packages(in_folder, range(QUICK))


def test_cases_that_once_differed_do_so_no_more(testdata: Path, in_folder: Path) -> None:
    for seed in (349, 1114):
        assert not changed_files(testdata, in_folder, range(seed, seed + 1))
    for seed in (413, 1867):
        assert not made_up_packages(in_folder, range(seed, seed + 1))


@pytest.mark.slow
def test_the_long_campaign_finds_no_difference_that_is_not_named(
    testdata: Path, in_folder: Path
) -> None:
    wrong = changed_files(testdata, in_folder, seeds(5000))
    wrong += made_up_packages(in_folder, seeds(5000))
    assert not wrong, f"{len(wrong)} cases differ: {wrong[:20]}"
