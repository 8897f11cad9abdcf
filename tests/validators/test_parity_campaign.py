"""Whole cases, made up or changed from files of others: Frictionless is the oracle.

The quick part runs a fixed range of seeds; `make campaign` runs more (PARITY_SEEDS=first:last).
"""

from __future__ import annotations

import json
import os
import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from parity_cases import mutated, recorded
from parity_oracle import compared
from parity_packages import generated
from yaosu_validators.sandbox import IN_CHILD

QUICK = 120


@pytest.fixture
def in_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setenv(IN_CHILD, "1")  # sheets are read here: their child has tests of its own
    before = Path.cwd()
    yield tmp_path
    os.chdir(before)


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
