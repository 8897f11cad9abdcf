"""The report as a page: what is wrong, where, and how to mend it, at a glance.

Plain HTML and SVG without scripts or inline styles, so that the same fragment stands in a
single file and on a page under a strict content security policy. Cells of the data are masked
unless the reader may see them.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from html import escape
from importlib.resources import files
from typing import Any, Literal

from yaosu_schemas.errors import Text
from yaosu_schemas.measures import measure
from yaosu_schemas.report import kinds_of, lane_of, runs_of, without_place

from .html_values import clip, figure, short, size_of
from .mending import how_to_mend
from .svg import bar, heat_map, histogram, shades

Lang = Literal["zh", "en", "both"]
Rows = Callable[[str, Sequence[int]], str | None]
"""The address where rows of a resource can be read, for those who may; None for others."""

_LISTED = 100
_TASKS = 200
_UNFOLDED = 2
_FIELDS = 16
_FEW_CHECKS = 4
_BUCKETS = 80
_PLACES = 10
_WIDE = 24
_COLUMNS = 500
_TYPES = {
    "table": ("table", "表格"),
    "json": ("JSON", "JSON"),
    "text": ("text", "文本"),
    "file": ("file", "文件"),
}


@cache
def report_css(*, scorecard: bool = True) -> str:
    """Return the style sheet of the report: to be served, or put in the one file."""
    names = ("report.css", "scorecard.css") if scorecard else ("report.css",)
    sheets = ((files("yaosu_validators") / n).read_text(encoding="utf-8") for n in names)
    return re.sub(r"\s*([{};])\s*", r"\1", "".join(sheets))


def report_html(report: Mapping[str, Any], *, lang: Lang = "both", show_cells: bool = False) -> str:
    """Return one self-contained HTML document for a report (JSON, as in the contract)."""
    tag = {"zh": "zh-Hans", "en": "en", "both": "zh-Hans"}[lang]
    title = {"zh": "检验报告", "en": "Validation report", "both": "检验报告 · Validation report"}[
        lang
    ]
    return (
        f'<!DOCTYPE html>\n<html lang="{tag}">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        '<meta http-equiv="Content-Security-Policy" content="default-src \'none\'; '
        "style-src 'unsafe-inline'\">\n"
        f"<title>{title}</title>\n<style>\n{report_css(scorecard=bool(report.get('metrics')))}</style>\n</head>\n"
        f'<body class="yr-page">\n<main>\n<h1>{title}</h1>\n'
        f"{report_fragment(report, lang=lang, show_cells=show_cells)}\n</main>\n</body>\n</html>\n"
    )


def report_fragment(
    report: Mapping[str, Any],
    *,
    lang: Lang = "both",
    show_cells: bool = False,
    rows: Rows | None = None,
) -> str:
    """Return the report as one `<section class="yr">`, styled by `report_css()` alone.

    `rows` leads to where the rows behind a number can be read, for those who may.
    """
    from .scorecard_html import scorecard_fragment

    page = _Page(lang, show_cells)
    tasks = [task for task in report.get("tasks") or () if isinstance(task, Mapping)]
    errors = list(report.get("errors") or ())
    everything = errors + [error for task in tasks for error in task.get("errors") or ()]
    noticed = [finding for task in tasks for finding in task.get("findings") or ()]
    parts = [
        page.verdict(report, tasks),
        scorecard_fragment(report, lang=lang, rows=rows),
        page.kinds(everything, Text("What is wrong", "问题分类")),
        page.kinds(noticed, Text("What was noticed", "值得注意")),
        page.package_errors(errors),
        *(page.task(task, unfolded=len(tasks) <= _UNFOLDED) for task in tasks[:_TASKS]),
        page.left_out(len(tasks)),
        page.metrics(m for m in report.get("metrics") or () if measure(str(m.get("id"))) is None),
        page.checks(report.get("checks") or ()),
        page.origin(report),
    ]
    return '<section class="yr">\n' + "\n".join(filter(None, parts)) + "\n</section>"


class _Page:
    """One rendering: its language, and whether cells may be shown."""

    def __init__(self, lang: Lang, show_cells: bool) -> None:
        self.lang = lang
        self.show_cells = show_cells

    # --- words -----------------------------------------------------------------------------------

    def say(self, en: str, zh: str) -> str:
        """Return words in the language of the page, or in both."""
        if self.lang == "en" or not zh:
            return escape(en)
        if self.lang == "zh" or not en:
            return escape(zh)
        return (
            f'<span lang="zh-Hans">{escape(zh)}</span> '
            f'<span class="yr-en" lang="en">{escape(en)}</span>'
        )

    def words(self, en: str, zh: str) -> str:
        return {"en": en, "zh": zh, "both": f"{zh} {en}"}[self.lang]

    def plain(self, en: str, zh: str) -> str:
        """Return words without markup, for attributes and SVG."""
        return escape(self.words(en, zh))

    def text(self, text: Text) -> str:
        return self.say(text.en, text.zh)

    def told(self, thing: Mapping[str, Any], key: str) -> str:
        en, zh = str(thing.get(key) or ""), str(thing.get(f"{key}_zh") or "")
        return self.say(clip(en), clip(zh)) if en or zh else ""

    # --- parts -----------------------------------------------------------------------------------

    def verdict(self, report: Mapping[str, Any], tasks: Sequence[Mapping[str, Any]]) -> str:
        stats = report.get("stats") or {}
        valid = bool(report.get("valid"))
        kind, mark, word = "yr-valid", "✓", self.say("Valid", "通过")
        bad = bool(stats.get("errors"))
        if report.get("partial") and not bad:
            word = self.say("Stopped, no error until then", "已停止，此前未发现错误")
            kind, mark = "yr-partial", "…"
        elif not valid:
            kind, mark, word = "yr-invalid", "✗", self.say("Not valid", "未通过")
        rows = [_number_of(task, "rows") for task in tasks]
        size = [_number_of(task, "bytes") for task in tasks]
        tiles = [
            (
                self.say("errors", "错误"),
                figure(stats.get("errors", 0)),
                "yr-bad" if bad else "",
            ),
            (self.say("warnings", "警告"), figure(stats.get("warnings", 0)), ""),
            (self.say("resources", "资源"), figure(len(tasks)), ""),
            (self.say("rows", "行"), figure(sum(rows)) if any(rows) else "–", ""),
            (self.say("size", "大小"), size_of(sum(size)) if any(size) else "–", ""),
        ]
        cells = "".join(
            f'<div class="yr-tile {tone}"><dd>{value}</dd><dt>{name}</dt></div>'
            for name, value, tone in tiles
        )
        return (
            f'<header class="yr-verdict {kind}">'
            f'<p class="yr-mark"><span aria-hidden="true">{mark}</span> <strong>{word}</strong></p>'
            f'<dl class="yr-tiles">{cells}</dl></header>' + self._notes(report.get("warnings"))
        )

    def kinds(self, errors: Sequence[Mapping[str, Any]], title: Text) -> str:
        """Return what was found by kind, most frequent first, each with how to mend it."""
        if not errors:
            return ""
        counts = Counter(str(error.get("type")) for error in errors)
        first = {str(error.get("type")): error for error in reversed(errors)}
        most = max(counts.values())
        rows = "".join(
            f'<tr><th scope="row">{self.told(first[kind], "title") or escape(kind)}'
            f"<br><code>{escape(kind)}</code></th>"
            f'<td class="yr-num">{figure(n)}</td><td>{bar(n, most)}</td>'
            f"<td>{self.told(first[kind], 'description')}</td>"
            f"<td>{self.text(how_to_mend(kind))}</td></tr>"
            for kind, n in counts.most_common()
        )
        return f"<h2>{self.text(title)}</h2>" + _table(
            [
                self.say("kind", "类型"),
                self.say("count", "数量"),
                "",
                self.say("meaning", "含义"),
                self.say("how to mend it", "如何修改"),
            ],
            rows,
            self.plain(*title),
            numbers=[1],
            kind="yr-stack",
        )

    def package_errors(self, errors: Sequence[Mapping[str, Any]]) -> str:
        if not errors:
            return ""
        items = "".join(
            f"<li><code>{escape(str(error.get('pointer') or error.get('type') or ''))}</code> "
            f"{self.message(error)}</li>"
            for error in errors[:_LISTED]
        )
        return f'<h2>{self.say("The package", "数据包")}</h2><ul class="yr-list">{items}</ul>'

    def task(self, task: Mapping[str, Any], *, unfolded: bool = False) -> str:
        """Return one resource: verdict, map of its errors, the first of them, its columns."""
        stats = task.get("stats") or {}
        errors = [error for error in task.get("errors") or () if isinstance(error, Mapping)]
        total = max(int(stats.get("errors") or 0), len(errors))
        badge = self.badge(self.say("valid", "通过"), good=True)
        if task.get("partial") and not total:
            badge = f'<span class="yr-badge yr-partial">{self.say("stopped", "已停止")}</span>'
        elif not task.get("valid"):
            word = self.say("error" if total == 1 else "errors", "个错误")
            badge = self.badge(f"{figure(total)} {word}", good=False)
        type_ = str(task.get("type") or "")
        facts = [str(task.get("place") or ""), self.words(*_TYPES.get(type_, (type_, type_)))]
        if isinstance(stats.get("rows"), int):
            word = self.plain("row" if stats["rows"] == 1 else "rows", "行")
            facts.append(f"{figure(stats['rows'])} {word}")
        if isinstance(stats.get("bytes"), int):
            facts.append(size_of(stats["bytes"]))
        if findings := task.get("findings") or ():
            n = figure(len(findings))
            facts.append(self.words(f"{n} noticed", f"{n} 处值得注意"))
        body = [self._notes(task.get("warnings"))]
        if errors:
            body += [self.map(errors, stats), self.errors(errors, total)]
        body.append(self.noticed(findings))
        body.append(self.columns(task.get("profile")))
        return (
            f'<details class="yr-task"{" open" if errors or unfolded else ""}><summary>'
            f"<strong>{escape(str(task.get('name') or ''))}</strong> {badge} "
            f'<span class="yr-dim">{escape(" · ".join(filter(None, facts)))}</span></summary>'
            f"{''.join(body)}</details>"
        )

    def map(self, errors: Sequence[Mapping[str, Any]], stats: Mapping[str, Any]) -> str:
        """Return where errors stand: rows from left to right, fields from top to bottom."""
        placed = [e for e in errors if isinstance(e.get("rowNumber"), int)]
        if not placed:
            return ""
        rows = max(int(stats.get("rows") or 0) + 1, *(e["rowNumber"] for e in placed))
        lanes = Counter(lane_of(error) for error in placed)
        order = {lane_of(error): _place(error) for error in placed}
        names = sorted((name for name, _ in lanes.most_common(_FIELDS)), key=lambda n: order[n])
        labels = [name or self.words("whole row", "整行") for name in names]
        buckets = min(_BUCKETS, rows)
        counts: Counter[tuple[int, int]] = Counter()
        for error in placed:
            if lane_of(error) in names:
                bucket = (error["rowNumber"] - 1) * buckets // rows
                counts[names.index(lane_of(error)), bucket] += 1
        name = self.plain("Map of the errors over rows and fields", "错误在行与字段上的分布")

        def tip(lane: int, bucket: int, n: int) -> str:
            return f"{escape(labels[lane])} · {self._rows_of(bucket, buckets, rows)}: {n}"

        drawn = heat_map(labels, counts, buckets=buckets, last=figure(rows), label=name, tip=tip)
        more = len(lanes) - len(names)
        note = self.say(f"{more} more fields with errors", f"另有 {more} 个字段有错误")
        return (
            f"<h3>{self.say('Where', '分布')}</h3>"
            f'<div class="yr-scroll" tabindex="0" role="region" aria-label="{name}">{drawn}</div>'
            + f'<p class="yr-dim">{self._scale(counts)}{note if more else ""}</p>'
        )

    def _scale(self, counts: Counter[tuple[int, int]]) -> str:
        """Say what the shades mean, where there is more than one."""
        most = max(counts.values(), default=1)
        if most == 1:
            return ""
        words = self.say(f"at most {figure(most)} errors", f"最多 {figure(most)} 个错误")
        return f"{shades()} {words} "

    def _rows_of(self, bucket: int, buckets: int, rows: int) -> str:
        first = bucket * rows // buckets + 1
        last = max(first, (bucket + 1) * rows // buckets)
        return self.plain(f"rows {first}–{last}", f"第 {first}–{last} 行")

    def errors(self, errors: Sequence[Mapping[str, Any]], total: int) -> str:
        runs = runs_of(errors)
        body = "".join(self._error(run) for run in runs[:_LISTED])
        shown = sum(map(len, runs[:_LISTED]))
        title = self.say(
            f"The first {figure(shown)} of {figure(total)}",
            f"前 {figure(shown)} 个，共 {figure(total)} 个",
        )
        if shown == total:
            title = self.say(f"All {figure(shown)}", f"全部 {figure(shown)} 个")
        heads = [
            self.say("row", "行"),
            self.say("field", "字段"),
            self.say("kind", "类型"),
            self.say("cell", "单元格"),
            self.say("message", "说明"),
        ]
        words = self.plain("Errors", "错误")
        return f"<h3>{title}</h3>" + _table(heads, body, words, numbers=[0], kind="yr-stack")

    def _error(self, run: Sequence[Mapping[str, Any]]) -> str:
        """Return one line for one error, or for a run of the same error over many rows."""
        error, row, last = run[0], run[0].get("rowNumber"), run[-1].get("rowNumber")
        rows = figure(row) if isinstance(row, int) else ""
        kind = self.told(error, "title") or escape(str(error.get("type")))
        message = self.sentence(error)
        if len(run) > 1:
            rows = f"{rows}–{figure(last)}"
            kind += f' <span class="yr-badge yr-invalid">×\u202f{figure(len(run))}</span>'
            message = self.told(error, "description")
        return (
            f'<tr><td class="yr-num">{rows}</td><td>{self._field(error)}</td><td>{kind}</td>'
            f"<td>{self.cell(error)}</td><td>{message}</td></tr>"
        )

    def noticed(self, findings: Sequence[Mapping[str, Any]]) -> str:
        """Return what is no error by kind and field, each with the first of its rows."""
        if not findings:
            return ""
        body = "".join(self._noticed(group) for group in kinds_of(findings)[:_LISTED])
        heads = [
            self.say("kind", "类型"),
            self.say("count", "数量"),
            self.say("field", "字段"),
            self.say("rows", "行"),
        ]
        words = self.plain("Noticed", "值得注意")
        return f"<h3>{self.say('Noticed', '值得注意')}</h3>" + _table(
            heads, body, words, numbers=[1], kind="yr-stack"
        )

    def _noticed(self, group: Sequence[Mapping[str, Any]]) -> str:
        first = group[0]
        rows = sorted({f["rowNumber"] for f in group if isinstance(f.get("rowNumber"), int)})
        places = ", ".join(map(figure, rows[:_PLACES])) + ", …" * (len(rows) > _PLACES)
        kind = self.told(first, "title") if len(group) > 1 else self.message(first)
        return (
            f'<tr><td>{kind}</td><td class="yr-num">{figure(len(group))}</td>'
            f"<td>{self._field(first)}</td><td>{places}</td></tr>"
        )

    def _field(self, error: Mapping[str, Any]) -> str:
        name, number = error.get("fieldName"), error.get("fieldNumber")
        if not name and number is None:
            return ""
        shown = f"<code>{escape(clip(str(name), 60))}</code>" if name else ""
        return shown + (f' <span class="yr-dim">{number}</span>' if isinstance(number, int) else "")

    def cell(self, error: Mapping[str, Any]) -> str:
        """Return the offending cell, or its shape alone where the reader may not see it."""
        value = error.get("cell")
        if value is None:
            return ""
        text = str(value)
        if self.show_cells:
            return f"<code>{escape(clip(text, 80))}</code>"
        hint = self.plain(f"{len(text)} characters, masked", f"{len(text)} 个字符，已遮盖")
        return f'<code class="yr-masked" title="{hint}">{escape(mask(text))}</code>'

    def message(self, error: Mapping[str, Any]) -> str:
        """Return the sentence of a finding; a sentence that quotes a cell only if it may."""
        quotes = error.get("cell") is not None or error.get("cells") is not None
        if quotes and not self.show_cells:
            return self.told(error, "description")
        return self.told(error, "message")

    def sentence(self, error: Mapping[str, Any]) -> str:
        """Return the sentence of an error whose row and field stand beside it."""
        bare = without_place(error)
        return self.message({**error, "message": bare.en, "message_zh": bare.zh})

    def columns(self, profile: object) -> str:
        """Return the profile of each column, where the report carries one."""
        columns = profile.get("columns") if isinstance(profile, Mapping) else None
        if not isinstance(columns, list) or not columns:
            return ""
        rows = "".join(self._column(c) for c in columns[:_COLUMNS] if isinstance(c, Mapping))
        heads = [
            self.say("column", "列"),
            self.say("type", "类型"),
            self.say("missing", "缺失"),
            self.say("distinct", "不同值"),
            self.say("range", "范围"),
            self.say("length", "长度"),
            self.say("distribution", "分布"),
        ]
        title = self.say("Columns", "列概况") + self._seen(profile)
        table = _table(heads, rows, self.plain("Columns", "列概况"), numbers=[2, 3, 5])
        if len(columns) > _COLUMNS:
            table += f'<p class="yr-dim">{self._more(len(columns) - _COLUMNS)}</p>'
        if len(columns) <= _WIDE:
            return f"<h3>{title}</h3>{table}"
        count = f'<span class="yr-dim">{figure(len(columns))}</span>'
        return f'<details class="yr-more"><summary>{title} {count}</summary>{table}</details>'

    def _more(self, columns: int) -> str:
        return self.say(f"{figure(columns)} more columns", f"另有 {figure(columns)} 列")

    def _seen(self, profile: object) -> str:
        """Say of how many rows a profile is, where it is not of all."""
        if not isinstance(profile, Mapping) or profile.get("whole", True):
            return ""
        rows = figure(profile.get("rows", 0))
        words = self.say(f"of the first {rows} rows", f"前 {rows} 行")
        return f' <span class="yr-dim">{words}</span>'

    def _column(self, column: Mapping[str, Any]) -> str:
        count, nulls = column.get("count"), column.get("nulls")
        share = (
            f"{nulls / count:.1%}"
            if isinstance(count, int) and count and isinstance(nulls, int)
            else ""
        )
        low, high = column.get("min"), column.get("max")
        shown = str if column.get("type") == "year" else short
        hidden = not self.show_cells or (low is None and high is None)
        span = "" if hidden else f"{shown(low)} – {shown(high)}"
        distinct, over = column.get("distinct"), column.get("distinct_over")
        several = figure(distinct) if isinstance(distinct, int) else ""
        if isinstance(over, int):
            several = f"&gt;\u202f{figure(over)}"
        length = column.get("length")
        long = ""
        if isinstance(length, Mapping):
            low, high = (short(length.get(end)) for end in ("min", "max"))
            long = low if low == high else f"{low} – {high}"
        return (
            f'<tr><th scope="row"><code>{escape(str(column.get("name")))}</code></th>'
            f"<td>{escape(str(column.get('type') or ''))}</td>"
            f'<td class="yr-num">{share}</td>'
            f'<td class="yr-num">{several}</td>'
            f'<td>{escape(span)}</td><td class="yr-num">{escape(long)}</td>'
            f"<td>{self._distribution(column)}</td></tr>"
        )

    def _distribution(self, column: Mapping[str, Any]) -> str:
        drawn = _bins(column.get("histogram"))
        if drawn:
            return histogram(drawn, self.plain("histogram", "直方图"))
        top = column.get("top")
        if not isinstance(top, list):
            drawn = _bins(column.get("lengths"))
            words = self.plain("histogram of lengths", "长度直方图")
            note = f' <span class="yr-dim">{self.say("of lengths", "长度")}</span>'
            return histogram(drawn, words) + note if drawn else ""
        pairs = [(str(value), n) for value, n in top[:5] if isinstance(n, int)]
        most = max((n for _, n in pairs), default=1)
        return "".join(
            f'<div class="yr-top"><span>{escape(self._value(value))}</span> '
            f"{bar(n, most)} {figure(n)}</div>"
            for value, n in pairs
        )

    def _value(self, value: str) -> str:
        return clip(value, 24) if self.show_cells else mask(value)

    def metrics(self, metrics: Iterable[Mapping[str, Any]]) -> str:
        rows = "".join(self._metric(metric) for metric in metrics)
        if not rows:
            return ""
        heads = [
            self.say("measure", "指标"),
            self.say("standard", "标准"),
            self.say("value", "值"),
            self.say("counted from", "计数"),
            self.say("basis", "依据"),
            self.say("result", "结果"),
        ]
        return f"<h2>{self.say('Quality measures', '质量指标')}</h2>" + _table(
            heads, rows, self.plain("Quality measures", "质量指标"), numbers=[2, 3]
        )

    def _metric(self, metric: Mapping[str, Any]) -> str:
        value, unit = metric.get("value"), str(metric.get("unit") or "")
        shown = "–" if value is None else short(value)
        if unit == "ratio" and isinstance(value, int | float):
            shown = f"{value:.2%}"
        elif unit not in ("", "ratio"):
            shown = f"{shown} {unit}"
        top, bottom = metric.get("numerator"), metric.get("denominator")
        counted = "" if bottom is None else f"{short(top)} / {short(bottom)}"
        basis = _BASES.get(str(metric.get("basis")), Text("", ""))
        passed = metric.get("pass")
        result = ""
        if isinstance(passed, bool):
            word = self.say("met", "达标") if passed else self.say("not met", "未达标")
            result = (
                f'<span class="yr-badge {"yr-valid" if passed else "yr-invalid"}">{word}</span>'
            )
        return (
            f'<tr><th scope="row"><code>{escape(str(metric.get("id")))}</code></th>'
            f"<td>{escape(str(metric.get('standard') or ''))}</td>"
            f'<td class="yr-num">{escape(shown)}</td><td class="yr-num">{escape(counted)}</td>'
            f"<td>{self.text(basis)}</td><td>{result}</td></tr>"
        )

    def checks(self, checks: Iterable[Mapping[str, Any]]) -> str:
        """Return what ran and how much of the data each check looked at."""
        rows = "".join(self._check(check) for check in checks)
        if not rows:
            return ""
        heads = [
            self.say("check", "检查"),
            self.say("version", "版本"),
            self.say("rows looked at", "已检查行数"),
            "",
            self.say("coverage", "覆盖"),
        ]
        title = self.say("What was looked at", "检查范围")
        table = _table(heads, rows, self.plain("What was looked at", "检查范围"), numbers=[2])
        if rows.count("<tr>") <= _FEW_CHECKS:
            return f"<h2>{title}</h2>{table}"
        return (
            f'<details class="yr-task"><summary><strong>{title}</strong></summary>{table}</details>'
        )

    def _check(self, check: Mapping[str, Any]) -> str:
        coverage = check.get("coverage") or {}
        seen, total = coverage.get("rows_seen"), coverage.get("rows_total")
        seen = seen if isinstance(seen, int) else 0
        of, drawn, word = figure(seen), "", ""
        if isinstance(total, int):
            of, drawn = f"{figure(seen)} / {figure(total)}", bar(seen, max(total, 1))
            whole = seen >= total
            word = self.say("everything", "全部") if whole else self.say("in part", "部分")
        return (
            f'<tr><th scope="row"><code>{escape(str(check.get("name")))}</code></th>'
            f"<td>{escape(str(check.get('version') or ''))}</td>"
            f'<td class="yr-num">{of}</td><td>{drawn}</td><td>{word}</td></tr>'
        )

    def origin(self, report: Mapping[str, Any]) -> str:
        stats = report.get("stats") or {}
        seconds = stats.get("seconds")
        facts = [
            (self.say("judged", "检验对象"), str(report.get("target") or "")),
            (self.say("rules", "规则集"), str(report.get("ruleset") or "")),
            (self.say("at", "时间"), str(report.get("started_at") or "")),
            (self.say("engine", "引擎"), str(report.get("engine") or "")),
            (
                self.say("seconds", "用时（秒）"),
                f"{seconds:g}" if isinstance(seconds, int | float) else "",
            ),
        ]
        items = "".join(
            f"<div><dt>{name}</dt><dd><code>{escape(value)}</code></dd></div>"
            for name, value in facts
            if value
        )
        return f'<dl class="yr-origin">{items}</dl>' if items else ""

    def left_out(self, tasks: int) -> str:
        if tasks <= _TASKS:
            return ""
        n = tasks - _TASKS
        return f'<p class="yr-dim">{self.say(f"{n} more resources", f"另有 {n} 个资源")}</p>'

    def badge(self, word: str, *, good: bool) -> str:
        return f'<span class="yr-badge {"yr-valid" if good else "yr-invalid"}">{word}</span>'

    def _notes(self, notes: object) -> str:
        if not isinstance(notes, list) or not notes:
            return ""
        own = (_half(str(note), self.lang) for note in notes[:_LISTED])
        items = "".join(f"<li>{escape(clip(note, 500))}</li>" for note in own)
        return f'<ul class="yr-list yr-notes">{items}</ul>'


_BASES = {
    "content": Text("the bytes", "数据内容"),
    "market": Text("the market", "市场数据"),
    "human": Text("people", "人工评审"),
}


def mask(text: str) -> str:
    """Return the shape of a text without its words: letters and digits become dots."""
    shape = re.sub(r"\w", "•", text[:24])
    return shape + "…" if len(text) > 24 else shape


def _half(note: str, lang: Lang) -> str:
    en, _, zh = note.partition(" / ")
    return note if lang == "both" or " / " in zh or zh.isascii() else zh if lang == "zh" else en


def _place(error: Mapping[str, Any]) -> tuple[int, str]:
    """Return where the lane of an error stands: in the order of the fields, whole rows last."""
    number = error.get("fieldNumber")
    return (number if isinstance(number, int) else 1 << 30, lane_of(error))


_NUM = ' class="yr-num"'


def _table(
    heads: Sequence[str], rows: str, label: str, *, numbers: Sequence[int] = (), kind: str = ""
) -> str:
    head = "".join(
        f'<th scope="col"{_NUM if i in numbers else ""}>{item}</th>' for i, item in enumerate(heads)
    )
    return (
        f'<div class="yr-scroll" tabindex="0" role="region" aria-label="{label}">'
        f'<table class="{f"yr-table {kind}".strip()}"><thead><tr>{head}</tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


def _bins(found: object) -> list[int]:
    counts = found.get("counts") if isinstance(found, Mapping) else None
    if not isinstance(counts, list) or not all(isinstance(n, int) for n in counts):
        return []
    return counts


def _number_of(task: Mapping[str, Any], key: str) -> int:
    value = (task.get("stats") or {}).get(key)
    return value if isinstance(value, int) else 0
