"""How values look to people: money, sizes, times, codes, Markdown. Everything that HTML shows."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta, timezone
from functools import cache, lru_cache
from typing import Any, Literal
from urllib.parse import quote, urlencode

import nh3
from markdown_it import MarkdownIt
from markupsafe import Markup, escape

from yaosu.model import Listing
from yaosu.ports import Hit
from yaosu_schemas.codes import code_list
from yaosu_schemas.documents import load
from yaosu_schemas.errors import NotFound, Problem
from yaosu_validators.html import report_fragment

BEIJING = timezone(timedelta(hours=8))
_TAGS = {
    *("p", "br", "hr", "strong", "em", "s", "code", "pre", "blockquote", "ul", "ol", "li"),
    *("h3", "h4", "h5", "h6", "a", "table", "thead", "tbody", "tr", "th", "td"),
}


def money(fen: int | None, lang: str = "zh") -> str:
    """Return an amount in yuan; nothing for a price that is not fixed."""
    if fen is None:
        return "面议" if lang == "zh" else "negotiable"
    yuan, rest = divmod(abs(fen), 100)
    return f"{'-' if fen < 0 else ''}¥{yuan:,}" + (f".{rest:02d}" if rest else "")


def size(count: int | None) -> str:
    """Return a number of bytes in binary units, three digits."""
    if count is None:
        return "–"
    value = float(count)
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if value < 1024 or unit == "TiB":
            break
        value /= 1024
    return f"{int(value)} B" if unit == "B" else f"{value:.3g} {unit}"


def number(value: float | None) -> str:
    if value is None:
        return "–"
    return f"{value:,}" if isinstance(value, int) else f"{value:,.4g}"


def moment(value: Any) -> datetime | None:
    """Return a time that came as text or as a datetime, or None."""
    if isinstance(value, datetime):
        return value
    if isinstance(value, str) and value:
        try:
            return datetime.fromisoformat(value)
        except ValueError:
            return None
    return None


def when(value: Any, lang: str = "zh") -> Markup:
    """Return a time element: Beijing time in Chinese, UTC in English."""
    at = moment(value)
    if at is None:
        return Markup("–")
    if at.tzinfo is None:
        at = at.replace(tzinfo=UTC)
    shown = at.astimezone(BEIJING if lang == "zh" else UTC)
    zone = "北京时间" if lang == "zh" else "UTC"
    return Markup('<time datetime="{}" title="{}">{}</time>').format(
        at.astimezone(UTC).isoformat(timespec="seconds"), zone, f"{shown:%Y-%m-%d %H:%M}"
    )


def day(value: Any, lang: str = "zh") -> Markup:
    """Return a time element that shows the day only."""
    if isinstance(value, date) and not isinstance(value, datetime):
        return Markup('<time datetime="{0}">{0}</time>').format(value.isoformat())
    at = moment(value)
    if at is None:
        return Markup("–")
    zone = BEIJING if lang == "zh" else UTC
    shown = at.astimezone(zone) if at.tzinfo else at
    return Markup('<time datetime="{0}">{0}</time>').format(f"{shown:%Y-%m-%d}")


def digest(text: str | None) -> Markup:
    """Return a digest shortened to what an eye compares; the whole of it in the title."""
    if not text:
        return Markup("–")
    kind, _, value = text.partition(":")
    head = f"{kind}:" if value else ""
    value = value or kind
    short = value if len(value) <= 16 else f"{value[:8]}…{value[-6:]}"
    return Markup('<code class="digest" title="{}">{}{}</code>').format(text, head, short)


def titled(listing: Listing, lang: str = "zh") -> str:
    """Return the title of a listing in a language, or the one that it has."""
    element = listing.descriptor.get("dataElement")  # of a draft: anything
    titles = element.get("titles") if isinstance(element, dict) else None
    return str((titles.get(lang) if isinstance(titles, dict) else "") or listing.title)


def label(code: object, list_name: str, lang: str = "zh") -> str:
    """Return the name of a code for people, or the code itself."""
    try:
        entries = code_list(list_name)
    except NotFound:
        return str(code)
    entry = entries.get(str(code)) or entries.get(str(code).upper())
    if entry is None:
        return str(code)
    return (entry.zh if lang == "zh" else entry.en) or entry.zh or str(code)


LANGUAGES = {
    "zh": ("Chinese", "中文"),
    "en": ("English", "英文"),
    "ja": ("Japanese", "日文"),
    "ko": ("Korean", "韩文"),
    "fr": ("French", "法文"),
    "de": ("German", "德文"),
    "es": ("Spanish", "西班牙文"),
    "ru": ("Russian", "俄文"),
    "ar": ("Arabic", "阿拉伯文"),
    "pt": ("Portuguese", "葡萄牙文"),
    "vi": ("Vietnamese", "越南文"),
    "ug": ("Uyghur", "维吾尔文"),
    "bo": ("Tibetan", "藏文"),
    "mn": ("Mongolian", "蒙古文"),
    "zxx": ("No language", "无语言内容"),
    "mul": ("Several languages", "多语种"),
    "und": ("Unknown", "未确定"),
}


def language(tag: str, lang: str = "zh") -> str:
    """Return the name of a BCP 47 tag, with what follows the language in brackets."""
    base, _, rest = tag.partition("-")
    names = LANGUAGES.get(base)
    if names is None:
        return tag
    name = names[lang == "zh"]
    return f"{name} ({rest})" if rest else name


@cache
def _parser() -> MarkdownIt:
    return MarkdownIt("commonmark", {"html": False}).enable(["table", "strikethrough"])


@lru_cache(maxsize=512)
def markdown(text: str) -> Markup:
    """Return a stranger's Markdown as safe HTML: no markup of theirs, no images, no styles.

    Headings go down two levels, so that they lie below those of the page.
    """
    html = _parser().render(text[:20_000])
    html = re.sub(r"<(/?)h([1-6])>", lambda m: f"<{m[1]}h{min(6, int(m[2]) + 2)}>", html)
    return Markup(
        nh3.clean(
            html,
            tags=_TAGS,
            attributes={"a": {"href"}},
            url_schemes={"https", "http", "mailto"},
            link_rel="nofollow noopener noreferrer ugc",
        )
    )


def report(body: Mapping[str, Any], lang: str = "zh") -> Markup:
    """Return a validation report as HTML; cells that were masked for the reader stay masked.

    Who may read the data is led from a number to the rows behind it.
    """
    shown: Literal["zh", "en"] = "zh" if lang == "zh" else "en"
    masked = bool(body.get("masked"))
    listing_id = str(body.get("listing_id") or "")

    def rows(resource: str, numbers: Sequence[int]) -> str:
        query = urlencode({"resource": resource, "rows": ",".join(map(str, numbers))})
        return f"/listings/{quote(listing_id)}/rows?{query}"

    where = None if masked or not listing_id else rows
    return Markup(report_fragment(body, lang=shown, show_cells=not masked, rows=where))


def with_code(text: str) -> Markup:
    """Return a sentence of ours with what stands between backticks as code."""
    parts = text.split("`")
    shown = (Markup("<code>{}</code>" if i % 2 else "{}").format(p) for i, p in enumerate(parts))
    return Markup("").join(shown)


def data_block(value: Any) -> Markup:
    """Return JSON as the text of a block of data, which ends nowhere within."""
    text = json.dumps(value, ensure_ascii=False)
    for char in "<>&\u2028\u2029":
        text = text.replace(char, f"\\u{ord(char):04x}")
    return Markup(text)


SHOWN_NAMES = ("publisher_name", "publisher_name_en", "title_en")


def snippet_of(hit: Hit) -> Markup:
    """Return the index's snippet (escaped text with marks) without the signs of Markdown.

    Where only a name that the card shows anyway was met, the description says more.
    """
    bare = re.sub("</?mark>", "", hit.snippet)
    shown = hit.snippet
    if bare in {str(escape(hit.card.get(n) or "")) for n in SHOWN_NAMES}:
        shown = str(escape(str(hit.card.get("description") or "")[:200]))
    return Markup(re.sub(r"\*\*|`|(?:^|(?<=\n))#{1,6} ", "", shown))


def cell(value: Any) -> str:
    """Return a value of a sample row as text, at most 300 characters."""
    if value is None:
        return ""
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 300 else text[:299] + "…"


def whole(value: Any) -> str:
    """Return a value as text, as long as it came."""
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, indent=1)


def pretty(value: Any) -> str:
    """Return JSON as people read it."""
    return json.dumps(value, ensure_ascii=False, indent=2)


@lru_cache(maxsize=2048)
def field_name(pointer: str, lang: str = "zh") -> str:
    """Return the name in the dictionary of the field that a JSON pointer leads to, or nothing."""
    root: dict[str, Any] = load("dataset")
    node: Any = root
    for part in pointer.split("/")[1:]:
        node = _resolved(node, root)
        if not isinstance(node, dict):
            return ""
        if part.isdigit() or part == "-":
            node = node.get("items")
        else:
            node = (node.get("properties") or {}).get(part)
    node = _resolved(node, root)
    if not isinstance(node, dict) or not pointer:
        return ""
    return str(node.get("title_zh" if lang == "zh" else "title") or "")


def problem_groups(
    problems: Iterable[Problem], lang: str = "zh"
) -> list[tuple[str, list[Problem]]]:
    """Return problems by the part of the descriptor that they are of, under its name."""
    found: dict[str, list[Problem]] = {}
    for problem in problems:
        parts = problem.pointer.split("/")[1:]
        deep = 2 if parts[:1] in (["dataElement"], ["resources"]) else 0
        found.setdefault("/" + "/".join(parts[:deep]) if deep else "", []).append(problem)
    return [(_group_name(pointer, lang), group) for pointer, group in found.items()]


def _group_name(pointer: str, lang: str) -> str:
    if pointer.startswith("/resources/"):
        name = field_name("/resources", lang)
        number = pointer.rsplit("/", 1)[-1]
        return f"{name} {int(number) + 1}" if number.isdigit() else name
    return field_name(pointer, lang)


def _resolved(node: Any, root: dict[str, Any]) -> Any:
    """Follow a local `$ref`, keeping titles that stand beside it."""
    for _ in range(8):
        if not isinstance(node, dict) or "$ref" not in node:
            return node
        target: Any = root
        for part in str(node["$ref"]).removeprefix("#").split("/")[1:]:
            target = target.get(part, {}) if isinstance(target, dict) else {}
        node = {**target, **{k: v for k, v in node.items() if k != "$ref"}}
    return node
