"""`yaosu validate`: is it true? A table of what is wrong, or the report as JSON or HTML."""

from __future__ import annotations

import contextlib
import json
import os
import signal
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from yaosu.errors import InvalidInput, Text, Unsupported
from yaosu_schemas.report import kinds_of, lane_of, runs_of, without_place

from .language import reads_english
from .terminal import (
    NOT_VALID,
    STOPPED,
    Json,
    Watch,
    command,
    note,
    print_json,
    print_table,
    printed,
    say,
    shown,
)

SHOWN_FINDINGS = 100
SHOWN_ROWS = 5
SHOWN_KINDS = 12


class Kind(StrEnum):
    """What a target is, where its content does not tell."""

    PACKAGE = "package"
    RESOURCE = "resource"
    SCHEMA = "schema"
    TABLE = "table"


class Engine(StrEnum):
    """Where the checks run."""

    LOCAL = "local"
    RAY = "ray"


class Language(StrEnum):
    """The language of a page for people."""

    ZH = "zh"
    EN = "en"


@command
def validate(
    target: Annotated[
        Path,
        typer.Argument(
            metavar="TARGET", help="File, folder, datapackage.json/.yaml or zip. 校验对象。"
        ),
    ],
    kind: Annotated[
        Kind | None, typer.Option("--type", help="What it is, where it cannot be told. 类型。")
    ] = None,
    schema: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Table Schema to hold it against. 表结构。")
    ] = None,
    checks: Annotated[
        str | None,
        typer.Option(
            metavar="A,B",
            help="Only these checks, e.g. `corpus.text`; `structure,quality` is everything."
            " 只运行这些检查；structure,quality 为全部。",
        ),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="CHECK.OPTION=VALUE", help="An option. 检查的选项。"),
    ] = None,
    findings: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE",
            help="Private findings, for the owner of the data only. 仅供数据所有者的私密明细。",
        ),
    ] = None,
    limit_errors: Annotated[
        int, typer.Option(help="Errors per table, 0 = no limit. 每表错误上限，0 为不限。")
    ] = 1000,
    engine: Annotated[Engine, typer.Option(help="Where checks run. 校验引擎。")] = Engine.LOCAL,
    workers: Annotated[int, typer.Option(help="Processes. 并行进程数。")] = 1,
    html: Annotated[
        Path | None, typer.Option(metavar="FILE", help="Write the report as a page. 输出网页报告。")
    ] = None,
    lang: Annotated[
        Language | None,
        typer.Option(help="Language of the page, else the terminal's. 网页语言，默认随终端。"),
    ] = None,
    as_json: Json = False,
) -> None:
    """Check a file, a folder or a package against its schema and its own promises.

    按结构与声明校验文件、目录或数据包。

    Exit 1 when anything inside is wrong, 2 when the target cannot be opened. Ctrl-C gives the
    report on what was seen until then, and exit 130.
    """
    _refuse(engine, limit_errors, workers)
    with _stopped() as stop, Watch() as watch, _store(findings) as private:
        from yaosu_validators import leave_pandas_out
        from yaosu_validators import validate as judge
        from yaosu_validators.stopped import nothing_seen

        leave_pandas_out()
        stop.held = False
        report = (
            nothing_seen()
            if stop.pressed
            else judge(
                target,
                kind=kind.value if kind else None,
                schema=schema,
                checks=[c.strip() for c in checks.split(",") if c.strip()] if checks else None,
                options=_options(settings or []),
                private=private,
                limit_errors=limit_errors,
                workers=workers,
                profile=html is not None,
                progress=_teller(watch),
            )
        )
    body = report.as_json()
    if html is not None:
        _write_page(html, body, lang or (Language.EN if reads_english() else Language.ZH))
    if as_json:
        print_json(body)
    else:
        print_findings(body)
        print_metrics(body)
        print_summary(body)
    if stop.pressed:
        raise typer.Exit(STOPPED)
    if not report.valid:
        raise typer.Exit(NOT_VALID)


def _refuse(engine: Engine, limit_errors: int, workers: int) -> None:
    """Refuse options that make no sense, with those that do."""
    if engine is Engine.RAY:
        raise Unsupported(
            "this version checks on one machine: --engine local",
            "当前版本仅支持单机校验：--engine local",
            field="engine",
        )
    if limit_errors < 0:
        raise InvalidInput(
            f"--limit-errors {limit_errors}: 0 is no limit, a larger number so many per table",
            f"--limit-errors {limit_errors}：0 表示不限，正数为每表错误上限",
            field="limit_errors",
        )
    if workers < 1:
        raise InvalidInput(
            f"--workers {workers}: at least one process is needed, this one",
            f"--workers {workers}：至少需要一个进程（即当前进程）",
            field="workers",
        )


def _options(settings: list[str]) -> dict[str, dict[str, Any]]:
    """Return the options of checks from `check.name.option=value`; a value is JSON, or a word."""
    found: dict[str, dict[str, Any]] = {}
    for setting in settings:
        path, equals, text = setting.partition("=")
        check, dot, option = path.rpartition(".")
        if not (equals and dot):
            raise InvalidInput(
                f"--set {setting!r}: write CHECK.OPTION=VALUE",
                f"--set“{setting}”：请写成 检查.选项=值",
                field="set",
            )
        try:
            value = json.loads(text)
        except ValueError:
            value = text
        found.setdefault(check, {})[option] = value
    return found


@contextlib.contextmanager
def _store(path: Path | None) -> Iterator[Callable[[Mapping[str, Any]], None] | None]:
    """Yield what writes private findings as JSON Lines into a file that only its owner reads."""
    if path is None:
        yield None
        return
    with open(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        yield lambda line: print(json.dumps(line, ensure_ascii=False), file=file)


def _teller(watch: Watch) -> Any:
    """Return a progress callback: bytes done of all, rows so far, and where."""

    def tell(done: int, total: int, rows: int, name: str) -> None:
        watch("read", name, done, total, key="all", rows=rows)

    return tell


@dataclass(slots=True)
class _Stop:
    """Whether Ctrl-C was pressed; it is `held` back while there is nothing yet to report with."""

    pressed: bool = False
    held: bool = True


@contextlib.contextmanager
def _stopped() -> Iterator[_Stop]:
    """Yield what knows whether Ctrl-C was pressed: the report is then partial."""
    stop = _Stop()

    def on_signal(number: int, frame: Any) -> None:
        stop.pressed = True
        if not stop.held:
            signal.default_int_handler(number, frame)

    before = signal.signal(signal.SIGINT, on_signal)
    try:
        yield stop
    finally:
        signal.signal(signal.SIGINT, before)


def _write_page(path: Path, body: dict[str, Any], lang: Language) -> None:
    from yaosu_validators.html import report_html

    path.write_text(report_html(body, lang=lang.value, show_cells=True), encoding="utf-8")
    note(Text(f"wrote {path}", f"已写入 {path}"))


# --- for people -------------------------------------------------------------------------------


def print_findings(body: Mapping[str, Any]) -> None:
    """Write what a report found: errors by row and field, what a corpus holds by its kind.

    A corpus has thousands of findings of a few kinds: a person reads the kinds and where to look.
    """
    found = [*_errors(body), *_kinds(body)]
    if not found:
        return
    print_table(("file 文件", "row 行", "field 字段", "what is wrong 问题"), found[:SHOWN_FINDINGS])
    if len(found) > SHOWN_FINDINGS:
        rest = len(found) - SHOWN_FINDINGS
        say(
            Text(
                f"… and {rest:,} more lines: --json or --html shows all",
                f"……另有 {rest:,} 行，见 --json 或 --html",
            )
        )
    _print_mending(body)


def _print_mending(body: Mapping[str, Any]) -> None:
    """Write what to do about each kind of finding, once, the most frequent first."""
    try:
        from yaosu_validators.mending import READ_IT, how_to_mend
    except ModuleNotFoundError:  # a client alone reads reports without having the checks
        return
    kinds: Counter[tuple[str, str]] = Counter()
    for task in ({"errors": body.get("errors")}, *(body.get("tasks") or ())):
        for finding in (*(task.get("errors") or ()), *(task.get("findings") or ())):
            kinds[finding["type"], finding.get("title_zh") or ""] += 1
    told = [(kind, zh, n, how_to_mend(kind)) for (kind, zh), n in kinds.most_common()]
    told = [each for each in told if each[3] is not READ_IT][:SHOWN_KINDS]
    if told:
        printed("\n")
        print_table(
            ("kind 类型", "count 数量", "how to mend it 如何修改"),
            [(f"{k}\n{zh}", f"{n:,}", f"{text.en}\n{text.zh}") for k, zh, n, text in told],
        )
        printed("\n")


Line = tuple[object, object, object, object]


def _errors(body: Mapping[str, Any]) -> Iterator[Line]:
    for error in body.get("errors") or ():
        yield error.get("pointer"), None, None, _sentences(error)
    for task in body.get("tasks") or ():
        place = task.get("place") or task.get("name")
        for run in runs_of(task.get("errors") or ()):
            row = run[0].get("rowNumber")
            if len(run) == 1:
                yield place, row, lane_of(run[0]), _sentences(run[0])
                continue
            first = _sentences(run[0]).split("\n")
            many = (f"{len(run):,} ×, first: ", f"共 {len(run):,} 个，首个：")
            yield (
                place,
                f"{row}–{run[-1].get('rowNumber')}",
                lane_of(run[0]),
                "\n".join(a + b for a, b in zip(many, first, strict=False)),
            )


def _kinds(body: Mapping[str, Any]) -> Iterator[Line]:
    for task in body.get("tasks") or ():
        for of_kind in kinds_of(task.get("findings") or ()):
            place, first = task.get("place") or task.get("name"), of_kind[0]
            if len(of_kind) == 1:
                yield place, first.get("rowNumber"), lane_of(first), _sentences(first)
                continue
            rows = sorted({row for f in of_kind if (row := f.get("rowNumber")) is not None})
            places = ", ".join(map(str, rows[:SHOWN_ROWS])) + ", …" * (len(rows) > SHOWN_ROWS)
            many = f"{len(of_kind):,} × "
            yield (
                place,
                places,
                lane_of(first),
                f"{many}{shown(first['title'])}  [{first['type']}]\n"
                f"{many}{shown(first['title_zh'])}",
            )


def _sentences(error: Mapping[str, Any]) -> str:
    """Return both sentences and the name of the kind, without the place that stands beside them."""
    en, zh = without_place(error)
    en = en or str(error.get("title") or "")
    lines = dict.fromkeys((f"{en}  [{error.get('type')}]", zh if zh != en else ""))
    return "\n".join(shown(line) for line in lines if line)


def print_metrics(body: Mapping[str, Any]) -> None:
    """Write the measures of a corpus that apply, each with what it was counted from."""
    from yaosu_schemas.measures import measure

    metrics = [m for m in body.get("metrics") or () if m["value"] is not None]
    if not metrics:
        return
    named = [(m, measure(m["id"])) for m in metrics]
    print_table(
        ("measure 指标", "value 值", "of 计数", "", ""),
        [
            (m["id"], _value(m), _counted(m), *((known.name.en, known.name.zh) if known else ()))
            for m, known in named
        ],
    )
    if rest := len(body["metrics"]) - len(metrics):
        say(
            Text(
                f"{rest} measures count nothing of this data: --json shows them",
                f"{rest} 项指标不适用于该数据，见 --json",
            )
        )


def _value(metric: Mapping[str, Any]) -> str:
    value = metric["value"]
    if metric.get("unit") == "ratio" and isinstance(value, int | float):
        return f"{100 * value:.2f} %"
    return f"{value:g}" if isinstance(value, float) else shown(value)


def _counted(metric: Mapping[str, Any]) -> str:
    above, below = metric.get("numerator"), metric.get("denominator")
    return "" if above is None or below is None else f"{above:,} / {below:,}"


def print_summary(body: Mapping[str, Any]) -> None:
    """Write the verdict, and how much of the data it covers."""
    stats = body["stats"]
    for task in body.get("tasks") or ():
        for warning in task.get("warnings") or ():
            note(f"! {task.get('place')}: {warning}")
    for warning in body.get("warnings") or ():
        note(f"! {warning}")
    rows = sum((t.get("stats") or {}).get("rows") or 0 for t in body.get("tasks") or ())
    errors, tasks = stats["errors"], stats["tasks"]
    mark, en, zh = "✓", "valid", "有效"
    if body.get("partial") and not errors:
        mark, en, zh = "…", "stopped, no error until then", "已停止，此前未发现错误"
    elif not body["valid"]:
        mark, en, zh = "✗", f"not valid: {_many(errors, 'error')}", f"无效：{errors:,} 个错误"
    say(
        Text(
            f"{mark} {en} · {_many(tasks, 'resource')} · {_many(rows, 'row')}"
            f" · {_coverage(body)[0]} · {stats['seconds']:g} s",
            f"{mark} {zh} · {tasks:,} 个资源 · {rows:,} 行"
            f" · {_coverage(body)[1]} · {stats['seconds']:g} 秒",
        )
    )


def _many(count: int, thing: str) -> str:
    return f"{count:,} {thing}{'s' * (count != 1)}"


def _coverage(body: Mapping[str, Any]) -> Text:
    """Say how much the checks saw, those that saw the same together."""
    seen: dict[Text, list[str]] = {}
    for check in body.get("checks") or ():
        rows, total = check["coverage"]["rows_seen"], check["coverage"]["rows_total"]
        if total is None:
            part = Text(f"saw {_many(rows, 'row')}, not all", f"已检 {rows:,} 行（非全部）")
        else:
            share = rows * 100 // total if rows < total else 100
            part = Text(f"saw {share}% of the rows", f"覆盖 {share}% 的行")
        seen.setdefault(part, []).append(check["name"])
    parts = [
        (part, names if len(names) <= 2 else None, len(names))
        for part, names in sorted(seen.items(), key=lambda each: "100%" not in each[0].en)
    ]
    en = [f"{', '.join(ns) if ns else _many(n, 'check')} {p.en}" for p, ns, n in parts]
    zh = [f"{'、'.join(ns) + ' ' if ns else f'{n} 项检查'}{p.zh}" for p, ns, n in parts]
    return Text(", ".join(en) or "no row checks", "，".join(zh) or "无行级检查")
