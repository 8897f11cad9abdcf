"""Plan, judge, report: from a target to the verdict on everything in it.

target → plan (which resources, by which descriptor) → outcomes (one pass each, anywhere)
       → keys across resources, promises of the descriptor → Report
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yaosu_schemas.errors import InvalidInput, Text
from yaosu_schemas.report import CheckRun, Report, Task, TaskStats
from yaosu_schemas.texts import system_reason

from .check import Chosen, Conclusion, Finding, expanded, registered
from .checks.structure import VERSION, in_order
from .indexes import Indexes
from .judge import Limits, Outcome
from .messages import report_error, report_text
from .passes import Pass, Progress
from .plans import Plan, make_plan
from .resources import Resource
from .results import Results
from .steady import few_looks, leave_pandas_out
from .stopped import PARTIAL, nothing_seen, so_many_rows, unseen

if TYPE_CHECKING:
    from .engines import ProcessEngine
    from .filecheck import FilePart, Looked, PackageFiles, Seen

RULESET = "yaosu-validators/1"


def validate(
    target: str | Path | Mapping[str, Any],
    *,
    kind: str | None = None,
    schema: str | Path | Mapping[str, Any] | None = None,
    checks: Sequence[str] | None = None,
    options: Mapping[str, Mapping[str, Any]] | None = None,
    limit_errors: int = 1000,
    workers: int = 1,
    profile: bool = False,
    progress: Progress | None = None,
    cache: Results | None = None,
    private: Callable[[Mapping[str, Any]], None] | None = None,
) -> Report:
    """Return the report on a file, folder, descriptor or archive.

    `checks` names what to run (all of it: `check_names()`; `quality` is every check of a corpus);
    without it, the structure. `options` are those of the checks, by name. `profile` adds what
    stands in each column, at the cost of one more pass. `private` takes what only the owner of
    the data may keep. InvalidInput if the target cannot be opened at all;
    whatever is wrong inside is a finding.
    """
    started = time.perf_counter()
    at = datetime.now(UTC)
    leave_pandas_out()
    try:
        wanted = replace(Wanted.of(checks, options), profile=profile)
        media = bool(wanted.files)
        with few_looks(), make_plan(target, kind=kind, schema=schema, media=media) as plan:
            plan.findings += wanted.documents_of(plan.document)
            if wanted.folds:
                _check_records(plan)
            outcomes = _outcomes(plan, wanted, limit_errors, workers, progress, cache)
            concluded: dict[str, Conclusion] = {}
            looked = _concluded(plan, wanted, outcomes, workers, progress, concluded)
            try:
                report = _report(plan, wanted, outcomes, limit_errors, concluded, looked)
            except KeyboardInterrupt:  # while keys were compared: they are left out
                plan.stopped = True
                bare = (plan, wanted, outcomes, limit_errors, concluded, looked)
                report = _report(*bare, keys=False)
            if private is not None:
                for line in (line for c in concluded.values() for line in c.private):
                    private(line)
    except KeyboardInterrupt:
        report = nothing_seen()
    return replace(
        report,
        started_at=at.strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
        seconds=round(time.perf_counter() - started, 3),
    )


def _check_records(plan: Plan) -> None:
    """See that what a publisher says of the records can be followed; else say so, and guess."""
    from .corpus.shapes import mapping_of

    for number, resource in enumerate(plan.resources):
        try:
            mapping_of((), resource.records)
        except InvalidInput as why:
            plan.findings.append(
                Finding(type="resource-error", note=Text(why.en, why.zh), label=resource.name)
            )
            plan.resources[number] = replace(resource, records=None)


def _concluded(
    plan: Plan,
    wanted: Wanted,
    outcomes: list[Outcome],
    workers: int,
    progress: Progress | None,
    concluded: dict[str, Conclusion],
) -> Looked | None:
    """Add what the checks of the corpus and of its files conclude, until a person stops them."""
    try:
        files = plan.package() if wanted.files or wanted.folds else None
        concluded.update(_conclude(wanted, outcomes, files, _trial_of(plan.document)))
        return None if plan.stopped else _look(wanted, files, workers, progress, concluded)
    except KeyboardInterrupt:
        plan.stopped = True
        return None


def _conclude(
    wanted: Wanted, outcomes: list[Outcome], files: PackageFiles | None, trial: str
) -> dict[str, Conclusion]:
    """Return what each check of the corpus concludes over all resources together."""
    if not wanted.folds:
        return {}
    from .corpus.folds import conclude

    folded = _counted(outcomes, trial)
    names = [chosen.name for chosen in wanted.folds]
    return dict(zip(names, conclude(wanted.folds, folded, files), strict=True))


def _counted(outcomes: list[Outcome], trial: str) -> list[Any]:
    """Return what was folded of the corpus; its trial sample is a copy, and counts only alone."""
    folded = [o.folded for o in outcomes if o.folded is not None]
    return [f for f in folded if f.about.resource != trial] or folded


def _trial_of(document: Mapping[str, Any] | None) -> str:
    """Return the resource that a package offers as its sample (`dataElement.offer.trial`)."""
    found: Any = document or {}
    for name in ("dataElement", "offer", "trial", "resource"):
        found = found.get(name) if isinstance(found, Mapping) else None
    return found if isinstance(found, str) else ""


def _look(
    wanted: Wanted,
    files: PackageFiles | None,
    workers: int,
    progress: Progress | None,
    concluded: dict[str, Conclusion],
) -> Looked | None:
    """Show the files of the target to the checks of files; adds what they conclude."""
    if not wanted.files or files is None:
        return None
    from .filecheck import look

    if workers <= 1:
        looked = look(files, wanted.files, progress=progress)
    else:
        from .engines import ProcessEngine

        engine = ProcessEngine(workers)
        try:
            seen = partial(_seen_by, engine)
            looked = look(files, wanted.files, seen, progress=progress)
        finally:
            engine.close()
    names = [chosen.name for chosen in wanted.files]
    concluded.update(zip(names, looked.conclusions, strict=True))
    return looked


def _seen_by(engine: ProcessEngine, _: object, parts: list[FilePart]) -> Iterator[Seen]:
    return engine.see(parts)


def _outcomes(
    plan: Plan,
    wanted: Wanted,
    limit_errors: int,
    workers: int,
    progress: Progress | None,
    cache: Results | None,
) -> list[Outcome]:
    limits = [_limits(plan, resource, limit_errors, wanted) for resource in plan.resources]
    return Pass(plan, workers, progress, cache).over(limits)


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which checks run: the structure of tables, others over rows, others over the descriptor."""

    structure: bool = True
    rows: tuple[str, ...] = ()
    documents: tuple[str, ...] = ()
    folds: tuple[Chosen, ...] = ()
    files: tuple[Chosen, ...] = ()
    reports: tuple[Chosen, ...] = ()
    profile: bool = False

    @classmethod
    def of(
        cls,
        names: Sequence[str] | None,
        options: Mapping[str, Mapping[str, Any]] | None = None,
    ) -> Wanted:
        """Sort the names of checks by what they look at; InvalidInput for an unknown one."""
        options = options or {}
        names = ["structure"] if names is None else names
        names = expanded(names)
        others = [name for name in names if name != "structure"]
        for name in options:
            if name not in names:
                raise InvalidInput(
                    f"options are given for {name!r}, which is not among the checks that run",
                    f"给出了“{name}”的选项，但该检查不在运行之列",
                    check=name,
                )
        documents = [n for n in others if hasattr(registered(n).make, "document")]
        seen = {n: getattr(registered(n).make, "sees", "") for n in others}
        chosen = {
            n: Chosen(n, tuple(sorted(options.get(n, {}).items()))) for n in others if seen[n]
        }
        for each in chosen.values():
            each.make()  # an option that does not exist is refused before anything is read
        return cls(
            structure="structure" in names,
            rows=tuple(n for n in others if n not in documents and n not in chosen),
            documents=tuple(documents),
            folds=tuple(c for n, c in chosen.items() if seen[n] == "records"),
            files=tuple(c for n, c in chosen.items() if seen[n] == "files"),
            reports=tuple(c for n, c in chosen.items() if seen[n] == "report"),
        )

    def documents_of(self, document: Mapping[str, Any] | None) -> list[Finding]:
        """Return what the checks of the descriptor find."""
        if document is None:
            return []
        return [f for n in self.documents for f in registered(n).make().document(document)]


def _limits(plan: Plan, resource: Resource, limit_errors: int, wanted_: Wanted) -> Limits:
    """Say which fields of this resource others refer to; a table referred to is read whole."""
    wanted = {
        key.reference_fields
        for other in plan.resources
        if other.schema is not None
        for key in other.schema.foreign_keys
        if (key.resource or other.name) == resource.name
    }
    return Limits(
        errors=limit_errors,
        wanted=tuple(sorted(wanted)),
        checks=wanted_.rows,
        folds=wanted_.folds,
        profile=wanted_.profile,
    )


def _report(
    plan: Plan,
    wanted: Wanted,
    outcomes: list[Outcome],
    limit: int,
    concluded: dict[str, Conclusion],
    looked: Looked | None,
    *,
    keys: bool = True,
) -> Report:
    found: dict[str, list[Finding]] = {}
    for name, finding in looked.findings if looked is not None else ():
        found.setdefault(name, []).append(finding)
    for conclusion in concluded.values():
        for name, finding in conclusion.findings:
            found.setdefault(name, []).append(finding)
    indexes = Indexes(outcomes, {r.name for r in plan.resources}, judged=keys)
    try:
        tasks = [
            _task(outcome, indexes, limit, wanted, found.get(outcome.resource.name, ()))
            for outcome in outcomes
        ]
    finally:
        indexes.close()
    for chosen in wanted.reports if not plan.stopped else ():
        concluded[chosen.name] = chosen.make().conclude(plan.document, tasks, plan.resources)
    tasks += [_document_task(plan, name) for name in plan.documents]
    loose = [*plan.findings, *found.get("", ())]  # of the target itself
    return Report(
        target=plan.digest(outcomes, looked.digests if looked is not None else ()),
        tasks=tuple(tasks),
        errors=tuple(report_error(f) for f in loose if f.severity == "error"),
        warnings=(
            *(_both(w) for w in plan.warnings),
            *(_both(w) for w in (_left_out(plan, outcomes) if plan.stopped else ())),
            *(_both(report_text(f)) for f in loose if f.severity != "error"),
        ),
        checks=tuple(_check_runs(plan, tasks, outcomes, wanted, concluded, looked)),
        metrics=tuple(m for c in concluded.values() for m in c.metrics),
        ruleset=RULESET,
        partial=plan.stopped,
    )


def _left_out(plan: Plan, outcomes: list[Outcome]) -> Iterator[Text]:
    """Say what a stopped run did not look at."""
    yield PARTIAL
    begun = {outcome.resource.name for outcome in outcomes}
    names = [r.name for r in plan.resources if r.name not in begun]
    if names:
        yield unseen(names)


def _check_runs(
    plan: Plan,
    tasks: list[Task],
    outcomes: list[Outcome],
    wanted: Wanted,
    concluded: Mapping[str, Conclusion],
    looked: Looked | None,
) -> Iterable[CheckRun]:
    """Say of every check how many rows it saw, of how many."""
    seen = sum(t.stats.rows or 0 for t in tasks)
    whole = bool(tasks) and not plan.stopped
    whole = whole and all(
        o.state is not None and not o.state.full and not o.state.failed and not o.interrupted
        for o in outcomes
        if o.resource.type == "table"
    )
    total = seen if whole else None
    if wanted.structure:
        yield CheckRun(name="structure", version=VERSION, rows_seen=seen, rows_total=total)
    for name in wanted.rows:
        rows = sum(c.rows for o in outcomes for c in o.extra if c.name == name)
        version = registered(name).version
        yield CheckRun(name=name, version=version, rows_seen=rows, rows_total=total)
    folded = _counted(outcomes, _trial_of(plan.document))
    records = sum(f.records for f in folded)
    unread = plan.stopped or any(f.broken for f in folded)
    every = None if unread else records + sum(f.unreadable for f in folded)
    for chosen in (*wanted.folds, *wanted.files, *wanted.reports) if plan.stopped else ():
        if chosen.name not in concluded:
            yield CheckRun(name=chosen.name, version=chosen.version, rows_seen=0, rows_total=None)
    for chosen in _among(wanted.folds, concluded):
        yield CheckRun(
            name=chosen.name,
            version=chosen.version,
            rows_seen=records,
            rows_total=every,
            options=chosen.method(),
            evidence=concluded[chosen.name].evidence,
        )
    for chosen in wanted.files if looked is not None else ():
        yield CheckRun(
            name=chosen.name,
            version=chosen.version,
            rows_seen=looked.files + looked.members if looked is not None else 0,
            rows_total=looked.files + looked.members if looked is not None else 0,
            options=dict(chosen.options),
            evidence=concluded[chosen.name].evidence,
        )
    for chosen in _among(wanted.reports, concluded):
        yield CheckRun(
            name=chosen.name,
            version=chosen.version,
            rows_seen=seen,
            rows_total=total,
            evidence=concluded[chosen.name].evidence,
        )
    for name in wanted.documents:
        yield CheckRun(name=name, version=registered(name).version, rows_seen=0, rows_total=0)


def _among(checks: Iterable[Chosen], concluded: Mapping[str, Conclusion]) -> Iterator[Chosen]:
    return (chosen for chosen in checks if chosen.name in concluded)


def _document_task(plan: Plan, name: str) -> Task:
    found = plan.documents[name]
    return Task(
        name=name,
        place=plan.place,
        type="json",
        stats=TaskStats(errors=len(found)),
        errors=tuple(report_error(f) for f in found),
    )


def _task(
    outcome: Outcome,
    indexes: Indexes,
    limit: int,
    wanted: Wanted,
    concluded: Sequence[Finding],
) -> Task:
    state = outcome.state
    found = list(outcome.start)
    rows = None
    warnings = [_both(w) for w in outcome.warnings]
    partial = closed = False
    if state is not None:
        assert outcome.check is not None
        try:
            broken = indexes.findings(outcome)
        except OSError as why:  # the temporary disk is full: the keys were not judged
            broken = []
            outcome.end.append(_no_room(why))
        keyed = in_order([*state.found, *broken], outcome.check.keys)
        rows = state.rows
        total = len(found) + len(keyed)
        unreferred = indexes.unreferred(outcome)
        if unreferred is not None:  # Frictionless cannot even open the table then
            found, rows, closed = [unreferred], None, True
        elif limit and total >= limit and state.rows:
            found, rows = _cut(outcome, found, keyed, limit)
            warnings.append(_both(_limit_text(limit)))
            partial = True
        else:
            found += keyed
            if state.failed is not None:
                found.append(state.failed)
    if not wanted.structure:
        found = [f for f in found if f.type in _UNREADABLE]
    for checked in outcome.extra:
        found += [f for f in checked.found if f.severity == "error"]
        warnings += [_both(report_text(f)) for f in checked.found if f.severity != "error"]
    found += [f for f in concluded if f.severity == "error"]
    noticed = [f for f in concluded if f.severity != "error"]
    if outcome.interrupted:
        warnings.append(_both(so_many_rows(rows or 0)))
    elif not partial:
        found += outcome.end
        if outcome.opened and not closed:
            found += _promises(outcome, rows, warnings)
    digests = outcome.digests
    return Task(
        name=outcome.resource.name,
        place=outcome.place,
        type=outcome.resource.type,
        labels=outcome.labels,
        warnings=tuple(warnings),
        stats=TaskStats(
            errors=len(found),
            warnings=len(warnings) + len(noticed),
            seconds=outcome.seconds,
            md5=digests.md5 if digests else None,
            sha256=digests.sha256 if digests else None,
            bytes=digests.bytes if digests else None,
            fields=len(outcome.schema.fields) if outcome.opened and state is not None else None,
            rows=rows,
        ),
        errors=tuple(report_error(f) for f in found),
        findings=tuple(replace(report_error(f), blocking=False) for f in noticed),
        profile=outcome.profile,
        partial=outcome.interrupted,
    )


_UNREADABLE = (
    *("source-error", "scheme-error", "format-error", "encoding-error", "compression-error"),
    *("lfs-pointer", "html-page", "encrypted-archive", "format-mismatch", "resource-limit"),
    *("unsafe-path", "file-changed"),
)


def _cut(
    outcome: Outcome, found: list[Finding], keyed: list[Finding], limit: int
) -> tuple[list[Finding], int]:
    """Keep `limit` findings, and say after how many rows reading would have stopped."""
    state = outcome.state
    assert state is not None
    room = limit - len(found)
    if room <= 0:
        return found[:limit], 1
    last = keyed[room - 1].row or 0
    skipped = sum(1 for n in state.skips if n <= last)
    return found + keyed[:room], last - outcome.first_row + 1 - skipped


def _promises(outcome: Outcome, rows: int | None, warnings: list[str]) -> Iterable[Finding]:
    """Compare what the descriptor promises with what was there, in Frictionless's order."""
    r, digests = outcome.resource, outcome.digests

    def differs(type_: str, promised: object, actual: object) -> Finding:
        return Finding(
            type=type_,
            note=Text(
                f'promised is "{promised}" and there is "{actual}"',
                f"承诺为“{promised}”，实际为“{actual}”",
            ),
        )

    if r.hash and digests is not None:
        algorithm, _, promised = r.hash.rpartition(":")
        actual = {"": digests.md5, "md5": digests.md5, "sha256": digests.sha256}.get(algorithm)
        if actual is None:
            text = Text(
                f"the hash was not compared: {algorithm} is not computed (md5 and sha256 are)",
                f"未比较哈希：不计算 {algorithm}（支持 md5 与 sha256）",
            )
            warnings.append(_both(text))
        elif actual != promised:
            yield differs("hash-count", promised, actual)
    size = digests.bytes if digests is not None else None
    if r.bytes and r.bytes != size:
        yield differs("byte-count", r.bytes, size)
    columns = len(outcome.schema.fields) if outcome.state is not None else None
    if r.fields and r.fields != columns:
        yield differs("field-count", r.fields, columns)
    if r.rows and r.rows != rows:
        yield differs("row-count", r.rows, rows)


def _no_room(why: OSError) -> Finding:
    reason = system_reason(why)
    return Finding(
        type="resource-limit",
        note=Text(
            f"the keys could not be judged, temporary files failed: {reason.en}",
            f"无法检查键，临时文件出错：{reason.zh}",
        ),
    )


def _limit_text(limit: int) -> Text:
    return Text(
        f"reached error limit: {limit}; what follows was not looked at",
        f"已达到错误上限：{limit}；其后的内容未检查",
    )


def _both(text: Text) -> str:
    return f"{text.en} / {text.zh}"
