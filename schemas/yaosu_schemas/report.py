"""The validation report: a superset of a Frictionless report, so that its readers can read ours.

Report ── tasks ── Task (one resource) ── errors ── ReportError (type, row, field, cell)
       ├─ checks ── CheckRun (which rule ran, how much it covered)
       └─ metrics ─ Metric (numerator, denominator, unit; whose claim it is)

The JSON is fixed by `docs/` and `json/report.schema.json`; times are RFC 3339 in UTC.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from .canonical import digest
from .errors import Text

Basis = Literal["content", "market", "human"]
Number = int | float | str | None

# What two runs over the same input may differ in (the contract names clock fields and engine).
CLOCK_FIELDS = ("started_at", "engine")


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportError:
    """One thing that is wrong with the data, at a row, a field or a pointer."""

    type: str
    title: str
    title_zh: str
    message: str
    message_zh: str
    description: str = ""
    description_zh: str = ""
    tags: tuple[str, ...] = ()
    note: str = ""
    row_number: int | None = None
    field_name: str | None = None
    field_number: int | None = None
    cell: str | None = None
    cells: tuple[str, ...] | None = None
    labels: tuple[str, ...] | None = None
    pointer: str | None = None
    blocking: bool = True

    def as_json(self) -> dict[str, Any]:
        out: dict[str, Any] = {
            "type": self.type,
            "title": self.title,
            "title_zh": self.title_zh,
            "description": self.description,
            "description_zh": self.description_zh,
            "message": self.message,
            "message_zh": self.message_zh,
            "tags": list(self.tags),
            "note": self.note,
            "blocking": self.blocking,
        }
        for key, value in (
            ("rowNumber", self.row_number),
            ("fieldName", self.field_name),
            ("fieldNumber", self.field_number),
            ("cell", self.cell),
            ("cells", None if self.cells is None else list(self.cells)),
            ("labels", None if self.labels is None else list(self.labels)),
            ("pointer", self.pointer),
        ):
            if value is not None:
                out[key] = value
        return out

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> ReportError:
        cells, labels = data.get("cells"), data.get("labels")
        return cls(
            type=data["type"],
            title=data.get("title", ""),
            title_zh=data.get("title_zh", ""),
            message=data.get("message", ""),
            message_zh=data.get("message_zh", ""),
            description=data.get("description", ""),
            description_zh=data.get("description_zh", ""),
            tags=tuple(data.get("tags", ())),
            note=data.get("note", ""),
            row_number=data.get("rowNumber"),
            field_name=data.get("fieldName"),
            field_number=data.get("fieldNumber"),
            cell=data.get("cell"),
            cells=None if cells is None else tuple(cells),
            labels=None if labels is None else tuple(labels),
            pointer=data.get("pointer"),
            blocking=data.get("blocking", True),
        )

    def masked(self) -> ReportError:
        """Return the same finding without any word of the data."""
        return replace(
            self, message=self.title, message_zh=self.title_zh, note="", cell=None, cells=None
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskStats:
    """Counts of one resource; what was not counted is absent."""

    errors: int = 0
    warnings: int = 0
    seconds: float = 0.0
    md5: str | None = None
    sha256: str | None = None
    bytes: int | None = None
    fields: int | None = None
    rows: int | None = None

    def as_json(self) -> dict[str, Any]:
        out: dict[str, Any] = {}
        for key in ("md5", "sha256", "bytes", "fields", "rows"):
            value = getattr(self, key)
            if value is not None:
                out[key] = value
        return {**out, "errors": self.errors, "warnings": self.warnings, "seconds": self.seconds}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> TaskStats:
        return cls(**{key: data[key] for key in cls.__slots__ if key in data})


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """What was found in one resource; `place` is a name inside the target, never a server path."""

    name: str
    place: str
    type: str = "table"
    labels: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    stats: TaskStats = field(default_factory=TaskStats)
    errors: tuple[ReportError, ...] = ()
    findings: tuple[ReportError, ...] = ()  # noticed, and no reason to call the data invalid
    profile: Mapping[str, Any] | None = None  # counts and distribution of each column
    partial: bool = False  # a person stopped it before its end: it is never valid

    @property
    def valid(self) -> bool:
        return not (self.partial or self.stats.errors or self.errors)

    def as_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "type": self.type,
            "valid": self.valid,
            "place": self.place,
            "labels": list(self.labels),
            "stats": self.stats.as_json(),
            "warnings": list(self.warnings),
            "errors": [e.as_json() for e in self.errors],
            "findings": [e.as_json() for e in self.findings],
            **({} if self.profile is None else {"profile": dict(self.profile)}),
            **({"partial": True} if self.partial else {}),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Task:
        return cls(
            name=data["name"],
            place=data.get("place", ""),
            type=data.get("type", "table"),
            labels=tuple(data.get("labels", ())),
            warnings=tuple(data.get("warnings", ())),
            stats=TaskStats.from_json(data.get("stats", {})),
            errors=tuple(ReportError.from_json(e) for e in data.get("errors", ())),
            findings=tuple(ReportError.from_json(e) for e in data.get("findings", ())),
            profile=data.get("profile"),
            partial=bool(data.get("partial")),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckRun:
    """One rule that ran, and how many rows of how many it saw (None: nobody can know).

    `evidence` is what its measures rest on: counts, distributions, row numbers; no value of the
    data is ever in it.
    """

    name: str
    version: str
    rows_seen: int
    rows_total: int | None
    options: Mapping[str, Any] = field(default_factory=dict)
    evidence: Mapping[str, Any] = field(default_factory=dict)

    def as_json(self) -> dict[str, Any]:
        out: dict[str, Any] = {
            "name": self.name,
            "version": self.version,
            "coverage": {"rows_seen": self.rows_seen, "rows_total": self.rows_total},
        }
        if self.options:
            out["options"] = dict(self.options)
        if self.evidence:
            out["evidence"] = dict(self.evidence)
        return out

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> CheckRun:
        coverage = data.get("coverage", {})
        return cls(
            name=data["name"],
            version=str(data["version"]),
            rows_seen=coverage.get("rows_seen", 0),
            rows_total=coverage.get("rows_total"),
            options=data.get("options", {}),
            evidence=data.get("evidence", {}),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """One measure with what it was counted from.

    `passed` is None where no threshold was set; a ratio over nothing has the value None.
    """

    id: str
    standard: str
    value: Number
    unit: str = "ratio"
    numerator: int | float | None = None
    denominator: int | float | None = None
    n: int | None = None
    seed: int | None = None
    basis: Basis = "content"
    passed: bool | None = None

    def as_json(self) -> dict[str, Any]:
        out: dict[str, Any] = {
            "id": self.id,
            "standard": self.standard,
            "value": self.value,
            "unit": self.unit,
            "numerator": self.numerator,
            "denominator": self.denominator,
            "n": self.n,
            "basis": self.basis,
        }
        if self.seed is not None:
            out["seed"] = self.seed
        if self.passed is not None:
            out["pass"] = self.passed
        return out

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Metric:
        return cls(
            id=data["id"],
            standard=data.get("standard", ""),
            value=data.get("value"),
            unit=data.get("unit", ""),
            numerator=data.get("numerator"),
            denominator=data.get("denominator"),
            n=data.get("n"),
            seed=data.get("seed"),
            basis=data.get("basis", "content"),
            passed=data.get("pass"),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """The verdict on one target, bound to the digest of what was judged.

    One that is `partial` was stopped by a person: it says nothing of what was not looked at, and
    is never valid.
    """

    target: str
    tasks: tuple[Task, ...] = ()
    errors: tuple[ReportError, ...] = ()
    warnings: tuple[str, ...] = ()
    checks: tuple[CheckRun, ...] = ()
    metrics: tuple[Metric, ...] = ()
    ruleset: str = ""
    started_at: str = ""
    engine: str = "local"
    seconds: float = 0.0
    partial: bool = False

    @property
    def valid(self) -> bool:
        return not (self.partial or self.errors) and all(task.valid for task in self.tasks)

    @property
    def error_count(self) -> int:
        """Count every error, those included that a limit kept out of the lists."""
        return len(self.errors) + sum(max(t.stats.errors, len(t.errors)) for t in self.tasks)

    @property
    def blocking(self) -> bool:
        """Say whether a finding keeps the listing from going on."""
        return any(e.blocking for e in self.errors) or any(
            e.blocking for task in self.tasks for e in task.errors
        )

    def as_json(self) -> dict[str, Any]:
        return {
            "valid": self.valid,
            "stats": {
                "tasks": len(self.tasks),
                "errors": self.error_count,
                "warnings": len(self.warnings) + sum(t.stats.warnings for t in self.tasks),
                "seconds": self.seconds,
            },
            "warnings": list(self.warnings),
            "errors": [e.as_json() for e in self.errors],
            "tasks": [t.as_json() for t in self.tasks],
            "target": self.target,
            "checks": [c.as_json() for c in self.checks],
            "metrics": [m.as_json() for m in self.metrics],
            "ruleset": self.ruleset,
            "started_at": self.started_at,
            "engine": self.engine,
            **({"partial": True} if self.partial else {}),
        }

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Report:
        return cls(
            target=data.get("target", ""),
            tasks=tuple(Task.from_json(t) for t in data.get("tasks", ())),
            errors=tuple(ReportError.from_json(e) for e in data.get("errors", ())),
            warnings=tuple(data.get("warnings", ())),
            checks=tuple(CheckRun.from_json(c) for c in data.get("checks", ())),
            metrics=tuple(Metric.from_json(m) for m in data.get("metrics", ())),
            ruleset=data.get("ruleset", ""),
            started_at=data.get("started_at", ""),
            engine=data.get("engine", "local"),
            seconds=data.get("stats", {}).get("seconds", 0.0),
            partial=bool(data.get("partial")),
        )

    def timeless(self) -> dict[str, Any]:
        """Return the JSON without clock fields and engine: the same for the same input."""
        out = self.as_json()
        for key in CLOCK_FIELDS:
            del out[key]
        for stats in (out["stats"], *(task["stats"] for task in out["tasks"])):
            del stats["seconds"]
        return out

    def digest(self) -> str:
        """Return `sha256:<hex>` of the timeless form: what a signature or a ledger entry names."""
        return digest(self.timeless())

    def masked(self) -> Report:
        """Return the report as those see it who may not see the data: no cell, no message text."""
        return replace(
            self,
            errors=tuple(e.masked() for e in self.errors),
            tasks=tuple(
                replace(
                    task,
                    errors=tuple(e.masked() for e in task.errors),
                    findings=tuple(e.masked() for e in task.findings),
                )
                for task in self.tasks
            ),
        )


def lane_of(error: Mapping[str, Any]) -> str:
    """Return the field of an error (JSON), its number where it has no name, or nothing."""
    name, number = error.get("fieldName"), error.get("fieldNumber")
    return str(name) if name else f"#{number}" if isinstance(number, int) else ""


def runs_of(errors: Sequence[Mapping[str, Any]]) -> list[list[Mapping[str, Any]]]:
    """Join errors of one kind and field that stand in at least four rows one after the other."""
    groups: dict[tuple[str, str], list[list[Mapping[str, Any]]]] = {}
    order: list[list[Mapping[str, Any]]] = []
    for error in errors:
        row, key = error.get("rowNumber"), (str(error.get("type")), lane_of(error))
        runs = groups.setdefault(key, [])
        before = runs[-1][-1].get("rowNumber") if runs else None
        if isinstance(row, int) and isinstance(before, int) and row == before + 1:
            runs[-1].append(error)
        else:
            runs.append([error])
            order.append(runs[-1])
    return [part for run in order for part in ([run] if len(run) >= 4 else [[e] for e in run])]


def kinds_of(findings: Sequence[Mapping[str, Any]]) -> list[list[Mapping[str, Any]]]:
    """Return findings (JSON) together by kind and field, in the order in which these come first."""
    kinds: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for finding in findings:
        kinds.setdefault((str(finding.get("type")), lane_of(finding)), []).append(finding)
    return list(kinds.values())


def without_place(error: Mapping[str, Any]) -> Text:
    """Return both sentences of an error (JSON) for where its row and field stand beside them."""
    row, name, number = (error.get(key) for key in ("rowNumber", "fieldName", "fieldNumber"))
    return Text(
        str(error.get("message") or "").removeprefix(f"row {row}, field {name!r} ({number}): "),
        str(error.get("message_zh") or "").removeprefix(
            f"第 {row} 行，字段“{name}”（第 {number} 列）："
        ),
    )
