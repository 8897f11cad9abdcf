"""Frictionless as the oracle: its verdict beside ours, and the differences that have a name."""

from __future__ import annotations

import os
import pickle
import re
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from parity_cases import Case
from yaosu_schemas.report import Report
from yaosu_validators import blocks, judge, parts, passes, validate
from yaosu_validators.engines import Needed
from yaosu_validators.parts import Part, PartResult, judge_part

frictionless = pytest.importorskip("frictionless")

Found = tuple[str, Any, Any, Any]
Verdict = tuple[bool, list[Found], list[int | None]]
LACKING = re.compile(r'Please install "frictionless|Please provide "dialect')
BOUND = re.compile(r"^(minimum|maximum|exclusive\w+) is not of type")
BINARY = re.compile(r"^the bytes are (zip|gz)")
TEXT = (".csv", ".tsv", ".jsonl", ".ndjson")

# What docs/frictionless-differences.md calls it: (case, our report, theirs) -> does it decide here?
NAMED: dict[str, Callable[[Case, Report, Any], bool]] = {
    "the control of a database in a dialect (`sql`)": lambda case, ours, theirs: (
        any(b'"sql"' in data for data in case.files.values())
        and any(e.type == "control-error" for e in errors_of(theirs))
    ),
    'bound of another type than its field (`minimum: "abc"` of an integer)': (
        lambda case, ours, theirs: any(BOUND.search(e.note) for e in errors_of(ours))
    ),
    "zip, gzip and other binary bytes under the name of a text table": (
        lambda case, ours, theirs: any(BINARY.search(e.note) for e in errors_of(ours))
    ),
    "encoding of bytes that are UTF-8, single NULs among them": lambda case, ours, theirs: any(
        b"\0" in data for name, data in case.files.items() if name.endswith(TEXT)
    ),
    "JSON that is not called a table (no `type`, no `schema`)": lambda case, ours, theirs: any(
        b.type == "json" and (a.type == "table" or any(e.type == "source-error" for e in a.errors))
        for a, b in zip(ours.tasks, theirs.tasks, strict=False)
    ),
    "`data` that is no table (an object, or of another `type`)": lambda case, ours, theirs: (
        any(
            isinstance(m.get("data"), dict)
            or ("data" in m and m.get("type") in ("json", "text", "file"))
            for m in case.mappings()
        )
        and not {"scheme-error", "resource-error"}.isdisjoint(types(theirs))
    ),
}


def errors_of(report: Any) -> list[Any]:
    return [*report.errors, *(e for task in report.tasks for e in task.errors)]


def types(report: Any) -> list[str]:
    return [e.type for e in errors_of(report)]


def ours(case: Case, limit: int, workers: int = 1) -> Report:
    return validate(case.target, kind=case.kind, limit_errors=limit, workers=workers)


def theirs(case: Case, limit: int) -> Any:
    """Return the oracle's report, or None where it crashes or lacks an extra."""
    wanted = {"type": case.kind} if case.kind else {}
    frictionless.system.trusted = False  # a crash leaves it on: the next verdict would trust all
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            report = frictionless.validate(case.target, limit_errors=limit, **wanted)
        except Exception:
            return None
    return None if any(LACKING.search(e.note) for e in errors_of(report)) else report


def our_verdict(report: Report) -> Verdict:
    found = [
        (e.type, e.row_number, e.field_number, e.field_name or None) for e in errors_of(report)
    ]
    return report.valid, found, [task.stats.rows or None for task in report.tasks]


def their_verdict(report: Any) -> Verdict:
    found = [
        (
            e.type,
            getattr(e, "row_number", None),
            getattr(e, "field_number", None),
            getattr(e, "field_name", None) or None,
        )
        for e in errors_of(report)
    ]
    return report.valid, found, [task.stats.get("rows") or None for task in report.tasks]


def compared(case: Case, folder: Path, limit: int) -> str | None:
    """Return how the two verdicts differ, or our report in parts from that in one; else None."""
    folder.mkdir()
    case.write(folder)
    os.chdir(folder)
    mine = ours(case, limit)
    size = max(map(len, case.files.values()))
    # A bad byte voids 8 KiB: blocks are never shorter.
    block = max(50, size // 40) if "encoding-error" not in types(mine) else blocks.BLOCK
    with small_parts(max(120, size // 12), block):
        if ours(case, limit, workers=2).digest() != mine.digest():
            return f"{case.kind} {case.target} {case.story}: in parts it has another report"
    other = theirs(case, limit)
    if other is None or any(decides(case, mine, other) for decides in NAMED.values()):
        return None
    a, b = our_verdict(mine), their_verdict(other)
    if a == b:
        return None
    return f"{case.kind} {case.target} {case.story}: ours {a} and theirs {b}"[:4000]


class Shipping:
    """Judges parts here, but every part and every result travels as bytes."""

    def run(self, wanted: Sequence[Part], needed: Needed) -> Iterator[PartResult]:
        for number, part in enumerate(wanted):
            if needed(number):
                result = judge_part(pickle.loads(pickle.dumps(part)))
                yield pickle.loads(pickle.dumps(result))
            else:
                yield PartResult()


@contextmanager
def small_parts(part: int = 120, block: int = 50) -> Iterator[None]:
    """Let several workers mean parts of a few bytes, judged by whole lines, shipped as bytes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(passes, "_begun", lambda *_: Shipping())
        patch.setattr(parts, "PART_BYTES", part)
        patch.setattr(judge, "SMALL", 0)
        patch.setattr(blocks, "BLOCK", block)
        yield
