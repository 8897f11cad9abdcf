"""One scorecard from a report: its measures under the names of their sources, and the few to show
first.

Nothing here measures anything, and nothing passes or fails: the numbers of the report are put in
order, with their counts, formulas and sources. What is shown first, and in which order, is a list.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from yaosu_schemas.errors import Text
from yaosu_schemas.measures import PARTS, STATUS, Measure, Part, measure

HEADLINES = (
    *("own:dup_near", "own:split_leak", "own:contamination", "iso5259:Idn-ML-1"),
    *("tc609:0208", "tc609:0204", "own:lang_share", "gbt36344:0302", "iso5259:Com-ML-1"),
    *("tc260:manual_pass", "own:market_overlap", "own:images_decodable", "own:audio_decodable"),
    *("own:robot_episodes", "own:references_found", "gbt36344:0104"),
)
"""What a buyer of training data asks first; those that apply are shown, at most so many."""
SHOWN_FIRST = 7
_ROWS = 50


@dataclass(frozen=True, slots=True)
class Line:
    """One measure of the report: the number, what it was counted from, and what it means."""

    id: str
    means: Measure
    value: int | float | str | None
    unit: str
    numerator: int | float | None
    denominator: int | float | None
    n: int | None
    seed: int | None
    basis: str
    passed: bool | None
    version: str  # of the check that counted it

    @property
    def applies(self) -> bool:
        """Say whether there was anything to count: a share of nothing is no share."""
        return self.value is not None

    @property
    def share(self) -> bool:
        return self.unit.startswith("ratio") and self.denominator is not None

    @property
    def command(self) -> str:
        """Return what counts this number again, in the folder of the data; "" for what nobody can.

        What people judged and what other listings hold cannot be counted from the files.
        """
        if self.basis != "content" or not self.means.check:
            return ""
        return f"yaosu validate . --checks {self.means.check}"

    def as_json(self) -> dict[str, Any]:
        means = self.means
        out = {
            "id": self.id,
            "name": means.name.en,
            "name_zh": means.name.zh,
            "formula": means.formula.en,
            "formula_zh": means.formula.zh,
            "direction": means.direction,
            "source": means.source,
            "status": means.status,
            "result": "measured" if self.applies else "not_applicable",
            "value": self.value,
            "unit": self.unit,
            "numerator": self.numerator,
            "denominator": self.denominator,
            "n": self.n,
            "basis": self.basis,
            "check": means.check or None,
            "check_version": self.version or None,
            "command": self.command or None,
        }
        if self.seed is not None:
            out["seed"] = self.seed
        if self.passed is not None:
            out["pass"] = self.passed
        return out


@dataclass(frozen=True, slots=True)
class Scorecard:
    """The measures of one report in the three parts of TC609-5-2025-04, and the first few."""

    target: str
    valid: bool
    records: int
    size_bytes: int
    parts: Mapping[Part, tuple[Line, ...]]
    first: tuple[Line, ...]
    documented: tuple[int, int]  # elements of the documentation that are there, of how many

    def lines(self) -> Iterator[Line]:
        for lines in self.parts.values():
            yield from lines

    def as_json(self) -> dict[str, Any]:
        return {
            "target": self.target,
            "valid": self.valid,
            "records": self.records,
            "bytes": self.size_bytes,
            "note": NOTE.en,
            "note_zh": NOTE.zh,
            "documentation": {"present": self.documented[0], "of": self.documented[1]},
            "first": [line.id for line in self.first],
            "parts": [
                {
                    "part": part,
                    "name": PARTS[part].en,
                    "name_zh": PARTS[part].zh,
                    "measures": [line.as_json() for line in lines],
                }
                for part, lines in self.parts.items()
            ],
            "sources": {key: {"en": text.en, "zh": text.zh} for key, text in STATUS.items()},
        }


NOTE = Text(
    "Measured on all of the data, reported and not certified: no pass mark is set.",
    "基于全部数据测量，仅作报告，不构成认证，未设合格线。",
)


def scorecard(report: Mapping[str, Any]) -> Scorecard:
    """Return the scorecard of a report (its JSON); measures that nobody defined are left out."""
    versions = {str(c.get("name")): str(c.get("version")) for c in report.get("checks") or () if c}
    lines = [
        _line(metric, means, versions)
        for metric in report.get("metrics") or ()
        if (means := measure(str(metric.get("id")))) is not None
    ]
    by_id = {line.id: line for line in reversed(lines)}
    tasks = report.get("tasks") or ()
    documents = [line for line in lines if line.id.startswith("tc609:01")]
    return Scorecard(
        target=str(report.get("target") or ""),
        valid=bool(report.get("valid")),
        records=sum(int((t.get("stats") or {}).get("rows") or 0) for t in tasks),
        size_bytes=sum(int((t.get("stats") or {}).get("bytes") or 0) for t in tasks),
        parts={part: tuple(x for x in lines if x.means.part == part) for part in PARTS},
        first=tuple([by_id[i] for i in HEADLINES if i in by_id and by_id[i].applies][:SHOWN_FIRST]),
        documented=(
            sum(int(line.numerator or 0) for line in documents),
            sum(int(line.denominator or 0) for line in documents),
        ),
    )


def _line(metric: Mapping[str, Any], means: Measure, versions: Mapping[str, str]) -> Line:
    return Line(
        id=str(metric["id"]),
        means=means,
        value=metric.get("value"),
        unit=str(metric.get("unit") or ""),
        numerator=metric.get("numerator"),
        denominator=metric.get("denominator"),
        n=metric.get("n"),
        seed=metric.get("seed"),
        basis=str(metric.get("basis") or "content"),
        passed=metric.get("pass"),
        version=versions.get(means.check, ""),
    )


@dataclass(frozen=True, slots=True)
class Behind:
    """The records of one resource behind a number: so many, of which these rows are listed."""

    resource: str
    kind: str
    title: Text
    count: int
    rows: tuple[int, ...]


def behind(report: Mapping[str, Any], line: Line) -> list[Behind]:
    """Return which records a number rests on, by resource and kind of finding."""
    found: list[Behind] = []
    for task in report.get("tasks") or ():
        kinds: dict[str, list[Mapping[str, Any]]] = {}
        for finding in (*(task.get("findings") or ()), *(task.get("errors") or ())):
            if finding.get("type") in line.means.findings:
                kinds.setdefault(str(finding["type"]), []).append(finding)
        for kind, findings in kinds.items():
            rows = sorted({f["rowNumber"] for f in findings if isinstance(f.get("rowNumber"), int)})
            title = Text(str(findings[0].get("title")), str(findings[0].get("title_zh")))
            found.append(
                Behind(str(task.get("name")), kind, title, len(findings), tuple(rows[:_ROWS]))
            )
    return found


def evidence(report: Mapping[str, Any], check: str) -> Mapping[str, Any]:
    """Return what a check of the report rests on; nothing where it did not run."""
    for run in report.get("checks") or ():
        if run.get("name") == check:
            found = run.get("evidence") or {}
            return found if isinstance(found, Mapping) else {}
    return {}
