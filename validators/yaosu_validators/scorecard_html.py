"""The scorecard as a page: the few numbers that matter, pictures, and every number to be opened.

Plain HTML and SVG without scripts or inline styles, coloured by the style sheet of the report.
Row numbers are shown, cells never: who may read the data looks the rows up there.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from html import escape
from typing import Any

from yaosu_schemas.codes import code_list
from yaosu_schemas.errors import Text
from yaosu_schemas.measures import PARTS, STATUS

from .html import Lang, Rows
from .scorecard import NOTE, Line, Scorecard, behind, evidence, scorecard
from .svg import bar, columns

_BASES = {
    "content": Text("recomputable from the files", "可由文件复算"),
    "market": Text("against the market", "基于市场数据"),
    "human": Text("judged by people", "人工评审"),
}
_DIRECTIONS = {
    "up": Text("higher is better", "越高越好"),
    "down": Text("lower is better", "越低越好"),
    "informative": Text("", ""),
}
_NARROWED = {
    "confirmed": Text("with a check digit or context", "校验码或上下文确认"),
    "pattern": Text("by pattern alone", "仅模式匹配"),
}
_UNITS = {
    "per 1,000 records": "每千条",
    "characters": "字符",
    "words": "词",
    "tokens": "词元",
    "errors per record": "个错误/条",
    "labels": "个标签",
    "s": "秒",
    "bits": "位",
    "px": "像素",
}
_CONTESTED = Text("contested by the provider", "提供方有异议")
_MOST_COLUMNS = 14
_MOST_BARS = 8


def scorecard_fragment(
    report: Mapping[str, Any], *, lang: Lang = "both", rows: Rows | None = None
) -> str:
    """Return the scorecard of a report (its JSON) as one section; "" if it measured nothing."""
    card = scorecard(report)
    if not any(card.parts.values()):
        return ""
    page = _Page(lang, report, rows)
    return (
        '<section class="yr sc">\n'
        + "\n".join(filter(None, (page.first(card), page.pictures(card), page.parts(card))))
        + "\n</section>"
    )


class _Page:
    """One rendering: its language, the report behind it, and where rows can be read."""

    def __init__(self, lang: Lang, report: Mapping[str, Any], rows: Rows | None) -> None:
        self.lang = lang
        self.report = report
        self.rows = rows

    def words(self, text: Text) -> str:
        return {"en": text.en, "zh": text.zh, "both": f"{text.zh} {text.en}"}[self.lang].strip()

    def say(self, text: Text) -> str:
        return escape(self.words(text))

    # --- what is seen in ten seconds ---------------------------------------------------------

    def first(self, card: Scorecard) -> str:
        there, of = card.documented
        tiles = [self.tile(line) for line in card.first]
        if of:
            name = Text("Documentation", "说明文档")
            dots = "".join(
                f'<circle cx="{5 + 10 * (i % 10)}" cy="{5 + 10 * (i // 10)}" r="3.6" '
                f'class="{"sc-on" if i < there else "sc-off"}"/>'
                for i in range(of)
            )
            high = 10 * -(-of // 10)
            tiles.insert(
                0,
                f'<div class="sc-tile"><dt>{self.say(name)}</dt><dd>{there}'
                f'<span class="sc-of"> / {of}</span></dd>'
                f'<svg class="sc-dots" viewBox="0 0 100 {high}" width="100" height="{high}" '
                f'aria-hidden="true">{dots}</svg>'
                f"<p>{self.say(Text('elements present', '项要素已提供'))}</p></div>",
            )
        return f'<dl class="sc-first">{"".join(tiles)}</dl><p class="yr-dim">{self.say(NOTE)}</p>'

    def tile(self, line: Line) -> str:
        down = line.means.direction == "down"
        part = _part(line)
        drawn = "" if part is None else _meter(part, down=down)
        return (
            f'<div class="sc-tile"><dt>{self.say(line.means.name)}</dt>'
            f"<dd>{_value(line, self.lang)}</dd>{drawn}<p>{_counted(line)}"
            f'<span class="sc-way">{self.say(_DIRECTIONS[line.means.direction])}</span></p></div>'
        )

    # --- pictures ----------------------------------------------------------------------------

    def pictures(self, card: Scorecard) -> str:
        drawn = [picture for make in _PICTURES for picture in make(self, card)]
        return f'<div class="sc-pictures">{"".join(drawn)}</div>' if drawn else ""

    def figure(self, title: Text, body: str, note: Text | None = None) -> str:
        told = f'<p class="yr-dim">{self.say(note)}</p>' if note is not None else ""
        return f"<figure><figcaption>{self.say(title)}</figcaption>{body}{told}</figure>"

    def bars(self, counts: Iterable[tuple[str, int]], total: int) -> str:
        """Return named bars, longest first; `total` is what all of them are a part of."""
        ordered = sorted(counts, key=lambda pair: (-pair[1], pair[0]))
        rows = "".join(
            f'<tr><th scope="row">{escape(name)}</th><td>{bar(n, max(total, 1))}</td>'
            f'<td class="yr-num">{n:,}</td><td class="yr-num">{_percent(n, total)}</td></tr>'
            for name, n in ordered[:_MOST_BARS]
        )
        more = len(ordered) - _MOST_BARS
        if more > 0:
            rest = self.say(Text(f"{more} more", f"另有 {more} 项"))
            rows += f'<tr><td colspan="4" class="yr-dim">{rest}</td></tr>'
        return f'<table class="sc-bars"><tbody>{rows}</tbody></table>'

    # --- every number ------------------------------------------------------------------------

    def parts(self, card: Scorecard) -> str:
        return "".join(
            f'<details class="sc-part"><summary><strong>{self.say(PARTS[part])}</strong> '
            f'<span class="yr-dim">{self.say(_count_of(lines))}</span></summary>'
            f"{''.join(self.line(line) for line in _ordered(lines))}</details>"
            for part, lines in card.parts.items()
            if lines
        )

    def line(self, line: Line) -> str:
        part = _part(line)
        drawn = "" if part is None else _meter(part, down=line.means.direction == "down")
        value = (
            _value(line, self.lang) if line.applies else self.say(Text("not applicable", "不适用"))
        )
        kind = "" if line.applies else " sc-none"
        mark = f' <span class="yr-badge sc-said">{self.say(_CONTESTED)}</span>'
        mark = mark if self.contests(line) else ""
        name = f"{self.say(line.means.name)}{self.field(line)}{mark}"
        return (
            f'<details class="sc-line{kind}"><summary><span class="sc-name">'
            f"{name} <code>{escape(line.id)}</code></span>"
            f'<span class="sc-drawn">{drawn}</span><span class="sc-value">{value}</span>'
            f'<span class="sc-count">{_counted(line)}</span></summary>{self.opened(line)}</details>'
        )

    def field(self, line: Line) -> str:
        """Return what a measure is narrowed to: a part of its kind, or the field it is of."""
        _, _, part = line.id.partition(".")
        named = line.unit.partition(" of ")[2] or part
        known = _NARROWED.get(named)
        return f" · {escape(named[:80]) if known is None else self.say(known)}" if named else ""

    def opened(self, line: Line) -> str:
        """Return what stands behind a number: formula, source, records, and how to count again."""
        means, check = line.means, line.means.check
        source = f"{escape(means.source)} · {self.say(STATUS[means.status])}"
        facts = [
            (Text("counted as", "计算方式"), self.say(means.formula)),
            (Text("way", "方向"), self.say(_DIRECTIONS[means.direction])),
            (Text("source", "来源"), source if means.source != "own" else self.say(STATUS["own"])),
            (Text("basis", "依据"), self.say(_BASES.get(line.basis, Text(line.basis, line.basis)))),
        ]
        if check and line.version:
            told = f"<code>{escape(check)}</code> {escape(line.version)}"
            facts.append((Text("check", "检查"), told))
        if line.command:
            told = f"<code>{escape(line.command)}</code>"
            facts.append((Text("count it again", "复算命令"), told))
        facts += [(Text("records", "相关记录"), told) for told in self.records(line)]
        for said in self.contests(line):
            name = _CONTESTED if said.get("kind") == "contest" else Text("answer", "答复")
            facts.append((name, escape(str(said.get("text"))[:4000])))
        items = "".join(
            f"<div><dt>{self.say(name)}</dt><dd>{told}</dd></div>" for name, told in facts if told
        )
        return f'<dl class="sc-facts">{items}</dl>'

    def contests(self, line: Line) -> list[Mapping[str, Any]]:
        """Return what the provider contests of a number or of what is behind it, and answers."""
        about = {line.id, *line.means.findings}
        return [c for c in self.report.get("contests") or () if c.get("about") in about]

    def records(self, line: Line) -> Iterator[str]:
        for group in behind(self.report, line):
            listed = ", ".join(str(row) for row in group.rows[:20])
            more = group.count - min(20, len(group.rows))
            tail = f" … +{more:,}" if more > 0 and listed else ""
            where = self.rows(group.resource, group.rows) if self.rows is not None else None
            name = f"<code>{escape(group.resource)}</code> {self.say(group.title)} {group.count:,}"
            rows = self.say(Text("rows", "行号"))
            shown = f"{rows} {listed}{tail}" if listed else ""
            if where is not None and group.rows:
                look = self.say(Text("look at them", "查看记录"))
                shown += f' <a href="{escape(where)}">{look}</a>'
            yield f"{name} · {shown}" if shown else name


# --- pictures ---------------------------------------------------------------------------------


def _duplicates(page: _Page, card: Scorecard) -> Iterator[str]:
    by_id = {line.id: line for line in card.lines()}
    near, exact = by_id.get("own:dup_near"), by_id.get("own:dup_exact")
    if near is None or exact is None or not near.denominator:
        return
    total, twice = int(near.denominator), int(exact.numerator or 0)
    like = max(0, int(near.numerator or 0) - twice)
    parts = (
        (Text("unique", "唯一"), total - twice - like, "sc-a"),
        (Text("near duplicate", "近似重复"), like, "sc-b"),
        (Text("exact duplicate", "完全重复"), twice, "sc-c"),
    )
    left, drawn, legend = 0.0, "", ""
    for name, n, kind in parts:
        wide = 300 * n / total
        drawn += f'<rect x="{left:.2f}" width="{wide:.2f}" height="18" class="{kind}"/>'
        left += wide
        legend += (
            f'<li><svg width="10" height="10" viewBox="0 0 10 10" aria-hidden="true">'
            f'<rect width="10" height="10" rx="2" class="{kind}"/></svg> {page.say(name)} '
            f"<strong>{n:,}</strong></li>"
        )
    label = page.say(Text("unique and duplicate records", "唯一与重复记录"))
    body = (
        f'<svg class="sc-stack" viewBox="0 0 300 18" preserveAspectRatio="none" role="img" '
        f'aria-label="{label}">{drawn}</svg><ul class="sc-legend">{legend}</ul>'
    )
    found = evidence(page.report, "corpus.duplicates")
    between = [p for p in found.get("between") or () if p.get("count")]
    if between:
        rows = "".join(
            f'<tr><th scope="row"><code>{escape(str(p["records_of"]))}</code> → '
            f"<code>{escape(str(p['in']))}</code></th>"
            f'<td class="yr-num">{p["count"]:,} / {p["of"]:,}</td></tr>'
            for p in between[:_MOST_BARS]
        )
        title = page.say(Text("shared between resources", "资源之间的重合"))
        body += f'<table class="sc-bars"><caption>{title}</caption><tbody>{rows}</tbody></table>'
    yield page.figure(Text("Duplicates", "重复情况"), body)


def _lengths(page: _Page, card: Scorecard) -> Iterator[str]:
    counts: Counter[int] = Counter()
    for resource in evidence(page.report, "corpus.text").get("resources") or ():
        for step in resource.get("histogram") or ():
            counts[int(step["below"])] += int(step["records"])
    if not counts:
        return
    steps = _steps(min(counts), max(counts), 4)
    if len(steps) > _MOST_COLUMNS:
        coarse: Counter[int] = Counter()
        for edge, n in counts.items():
            coarse[1 << (edge - 1).bit_length()] += n
        counts = coarse
        steps = _steps(min(counts), max(counts), 1)
    label = page.say(Text("records by number of characters", "按字符数统计的记录"))
    drawn = columns([(f"<{_short(step)}", counts[step]) for step in steps], label)
    middle = next((x for x in card.lines() if x.id == "own:len_stats"), None)
    told = str(middle.value) if middle is not None and middle.applies else "–"
    note = Text(f"characters of a record, median {told}", f"每条记录的字符数，中位数 {told}")
    yield page.figure(Text("Lengths", "文本长度分布"), drawn, note)


def _steps(first: int, last: int, parts: int) -> list[int]:
    """Return every upper edge from first to last, so many to a power of two, empty ones too."""
    steps = [first]
    while steps[-1] < last:
        steps.append(steps[-1] + max((1 << (steps[-1].bit_length() - 1)) // parts, 1))
    return steps


def _languages(page: _Page, card: Scorecard) -> Iterator[str]:
    counts: Counter[str] = Counter()
    for resource in evidence(page.report, "corpus.language").get("resources") or ():
        for found in resource.get("found") or ():
            counts[str(found["language"])] += int(found["records"])
    if counts:
        body = page.bars(counts.items(), counts.total())
        yield page.figure(Text("Languages found", "检出语言"), body)


def _labels(page: _Page, card: Scorecard) -> Iterator[str]:
    shown = 0
    for resource in evidence(page.report, "corpus.labels").get("resources") or ():
        for field in resource.get("fields") or ():
            counts = [(str(c["label"]), int(c["records"])) for c in field.get("counts") or ()]
            if not counts or shown >= 2:
                continue
            shown += 1
            name = f"{field['field']}"
            title = Text(f"Labels: {name}", f"标签分布：{name}")
            kinds = field.get("classes")
            note = Text(f"{kinds} classes", f"共 {kinds} 类")
            yield page.figure(title, page.bars(counts, int(field.get("labelled") or 0)), note)


def _personal(page: _Page, card: Scorecard) -> Iterator[str]:
    counts: Counter[str] = Counter()
    known = code_list("pii_type")
    for resource in evidence(page.report, "corpus.personal").get("resources") or ():
        for kind, found in (resource.get("types") or {}).items():
            n = sum(v for v in found.values() if isinstance(v, int)) if found else 0
            counts[page.words(known.text(kind))] += n
    counts = Counter({name: n for name, n in counts.items() if n})
    if counts:
        body = page.bars(counts.items(), counts.total())
        yield page.figure(Text("Personal information, hits", "个人信息命中"), body)


def _media(page: _Page, card: Scorecard) -> Iterator[str]:
    for check, key, title in (
        ("media.images", "shorter_side", Text("Shorter side (px)", "图像短边（像素）")),
        ("media.audio", "seconds", Text("Seconds of sound", "音频时长（秒）")),
        ("media.video", "seconds", Text("Seconds of video", "视频时长（秒）")),
    ):
        found = evidence(page.report, check).get(key)
        counts = found.get("counts") if isinstance(found, Mapping) else None
        if not counts or not isinstance(found, Mapping) or not sum(counts):
            continue
        edges = found["edges"]
        steps = [(f"{edges[i]:.3g}", int(n)) for i, n in enumerate(counts)]
        yield page.figure(title, columns(steps, page.say(title)))


_PICTURES: Sequence[Callable[[_Page, Scorecard], Iterator[str]]] = (
    _duplicates,
    _lengths,
    _languages,
    _labels,
    _personal,
    _media,
)


# --- numbers ----------------------------------------------------------------------------------


def _ordered(lines: Sequence[Line]) -> list[Line]:
    return sorted(lines, key=lambda line: not line.applies)


def _count_of(lines: Sequence[Line]) -> Text:
    known = sum(line.applies for line in lines)
    none = len(lines) - known
    en, zh = f"{known} measures", f"{known} 项指标"
    if none:
        en, zh = f"{en}, {none} not applicable", f"{zh}，{none} 项不适用"
    return Text(en, zh)


def _part(line: Line) -> float | None:
    """Return which part of a whole a share is, 0 to 1; None for what is no share."""
    if line.share and isinstance(line.value, int | float) and 0 <= line.value <= 1:
        return float(line.value)
    return None


def _meter(part: float, *, down: bool) -> str:
    """Return a bar of a share: nothing only where there is none, full only where it is all."""
    wide = 0.0 if part <= 0 else 100.0 if part >= 1 else min(99.0, max(1.0, part * 100))
    return (
        '<svg class="sc-meter" viewBox="0 0 100 6" preserveAspectRatio="none" aria-hidden="true">'
        f'<rect width="100" height="6" rx="3" class="sc-off"/><rect width="{wide:.1f}" height="6" '
        f'rx="3" class="{"sc-down" if down else "sc-on"}"/></svg>'
    )


def _value(line: Line, lang: Lang) -> str:
    value = line.value
    if isinstance(value, str) or value is None:
        return escape(str(value or "–")[:40])
    if _part(line) is not None and line.denominator:
        return _percent(line.numerator or 0, line.denominator)
    unit = line.unit.partition(" of ")[0]
    if lang != "en":
        unit = _UNITS.get(unit, unit)
    shown = f"{value:,}" if isinstance(value, int) else f"{value:,.4g}"
    return shown + ("" if unit == "ratio" else f'<span class="sc-of"> {escape(unit)}</span>')


def _percent(above: float, below: float) -> str:
    """Return a share in percent: 100 % and 0 % are said only where they are exact."""
    if not below:
        return "–"
    share = 100 * above / below
    if 0 < share < 0.01:
        return "&lt; 0.01 %"
    if 99.99 < share < 100:
        return "&gt; 99.99 %"
    return f"{share:.2f}".rstrip("0").rstrip(".") + " %"


def _counted(line: Line) -> str:
    if line.denominator is None:
        return "" if line.n is None else f"n = {line.n:,}"
    return f"{_short(line.numerator)} / {_short(line.denominator)}"


def _short(value: object) -> str:
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:,.4g}" if isinstance(value, float) else "–"
