"""Formats of single values: each name, how it is judged, and how a person is told."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import date, datetime

from yaosu_schemas.errors import InvalidInput, Text

from .canonical import is_digest
from .identifiers import uscc
from .licences import known, parse

_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_DATE_TIME = re.compile(
    r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt]([0-9]{2}):[0-9]{2}:([0-9]{2})(\.[0-9]+)?"
    r"([Zz]|[+-]([0-9]{2}):([0-9]{2}))"
)
_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*:[^\s<>\"{}|\\^`\x00-\x1f\x7f]+")
_LINK = re.compile(r"https?://[^\s/?#@<>\"]+([/?#][^\s<>\"]*)?", re.IGNORECASE)
# A browser runs what stands behind these, so they are no addresses of a text or an image.
_ACTIVE = re.compile(r"[\s\x00-\x1f]*(javascript|vbscript|data|file|blob)\s*:", re.IGNORECASE)
_EMAIL = re.compile(r"[^\s@<>\"]{1,64}@[^\s@<>\"]+\.[^\s@<>\".]{2,63}")
# RFC 5646 §2.1, without the grandfathered tags.
_LANGUAGE = re.compile(
    r"(?:[A-Za-z]{2,3}(?:-[A-Za-z]{3}){0,3}|[A-Za-z]{4,8})(?:-[A-Za-z]{4})?"
    r"(?:-(?:[A-Za-z]{2}|[0-9]{3}))?(?:-(?:[A-Za-z0-9]{5,8}|[0-9][A-Za-z0-9]{3}))*"
    r"(?:-[0-9A-WY-Za-wy-z](?:-[A-Za-z0-9]{2,8})+)*(?:-x(?:-[A-Za-z0-9]{1,8})+)?"
)
_NUMERIC = r"(?:0|[1-9][0-9]*)"
_TAG = r"(?:0|[1-9][0-9]*|[0-9]*[A-Za-z-][0-9A-Za-z-]*)"
_SEMVER = re.compile(
    rf"{_NUMERIC}\.{_NUMERIC}\.{_NUMERIC}(?:-{_TAG}(?:\.{_TAG})*)?"
    r"(?:\+[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*)?"
)
_DECIMAL = re.compile(r"(?:0|[1-9][0-9]{0,17})(?:\.[0-9]{1,18})?")


@dataclass(frozen=True, slots=True)
class Format:
    """One format: its judge and what a value has to be."""

    judge: Callable[[str], bool]
    text: Text
    reason: Callable[[str], Text | None] = lambda _: None


def is_date(value: str) -> bool:
    """Say whether a text is a day of the calendar, `YYYY-MM-DD`."""
    if not _DATE.fullmatch(value):
        return False
    try:
        date.fromisoformat(value)
    except ValueError:
        return False
    return True


def is_date_time(value: str) -> bool:
    """Say whether a text is an RFC 3339 time with an offset (leap seconds included)."""
    match = _DATE_TIME.fullmatch(value)
    if match is None or not is_date(value[:10]):
        return False
    hour, second, _, _, offset_hour, offset_minute = match.groups()
    return (
        int(hour) < 24
        and int(value[14:16]) < 60
        and int(second) <= 60
        and int(offset_hour or 0) < 24
        and int(offset_minute or 0) < 60
    )


def parse_date_time(value: str) -> datetime:
    """Return the aware time of a text that `is_date_time` accepted."""
    text = value.upper().replace("Z", "+00:00")
    text = re.sub(r":60(?=[.+-])", ":59", text)
    return datetime.fromisoformat(re.sub(r"(\.[0-9]{6})[0-9]+", r"\1", text))


def _spdx_problem(value: str) -> Text | None:
    try:
        parse(value)
    except InvalidInput as e:
        return Text(e.en, e.zh)
    return None


FORMATS: dict[str, Format] = {
    "date": Format(is_date, Text("a day, such as 2026-11-23", "日期，例如 2026-11-23")),
    "date-time": Format(
        is_date_time,
        Text(
            "a time with its offset (RFC 3339), such as 2026-11-23T08:30:00+08:00",
            "带时区偏移的时间（RFC 3339），例如 2026-11-23T08:30:00+08:00",
        ),
    ),
    "uri": Format(
        lambda v: bool(_URI.fullmatch(v)),
        Text("an absolute URI", "绝对 URI"),
    ),
    "link": Format(
        lambda v: bool(_LINK.fullmatch(v)),
        Text("an http or https address", "http 或 https 地址"),
    ),
    "address": Format(
        lambda v: not _ACTIVE.match(v),
        Text("a path or an address that a browser does not run", "路径或不可执行的地址"),
    ),
    "email": Format(
        lambda v: bool(_EMAIL.fullmatch(v)),
        Text("an e-mail address", "电子邮箱地址"),
    ),
    "language": Format(
        lambda v: bool(_LANGUAGE.fullmatch(v)),
        Text(
            "a language tag (BCP 47), such as zh-Hans or en",
            "语言标签（BCP 47），例如 zh-Hans 或 en",
        ),
    ),
    "semver": Format(
        lambda v: bool(_SEMVER.fullmatch(v)),
        Text("a semantic version, such as 1.0.0", "语义化版本号，例如 1.0.0"),
    ),
    "decimal": Format(
        lambda v: bool(_DECIMAL.fullmatch(v)),
        Text("a decimal number as text, such as 0.06", "文本形式的小数，例如 0.06"),
    ),
    "quantity": Format(
        lambda v: bool(_DECIMAL.fullmatch(v)),
        Text("a whole number, or a decimal as text", "整数，或文本形式的小数"),
    ),
    "digest": Format(
        is_digest,
        Text("`sha256:` and 64 lower-case hex digits", "sha256: 加 64 位小写十六进制"),
    ),
    "spdx": Format(
        known,
        Text("an SPDX licence expression, such as CC-BY-4.0", "SPDX 许可表达式，例如 CC-BY-4.0"),
        _spdx_problem,
    ),
    "uscc": Format(
        lambda v: uscc(v).valid,
        Text(
            "a unified social credit code of 18 characters (GB 32100)",
            "18 位统一社会信用代码（GB 32100）",
        ),
        lambda v: uscc(v).problem,
    ),
}
