"""The forms of personal information: what stands round an anchor, and what it can be.

The surest kinds come first. Look-arounds name `[0-9A-Za-z]` because Chinese characters are word
characters to `\\b`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

from yaosu_schemas.codes import code_list

from . import personal_numbers as numbers

KINDS = code_list("pii_type").codes
AT = {code: number for number, code in enumerate(KINDS)}
_LONG = 4096  # characters that a token may take
CONTEXT_BEFORE, CONTEXT_AFTER = 48, 24  # characters in which a context word counts

PROVINCES = "京津沪渝冀豫云辽黑湘皖鲁新苏浙赣鄂桂甘晋蒙陕吉闽贵粤青藏川宁琼"
ASSIGNED = (
    r"(?i:api[_\-]?key|secret(?:[_\-]?key)?|access[_\-]?token|auth[_\-]?token|passw(?:or)?d"
    r"|密码|口令|密钥)"
)
TOKENS = (
    r"(?:AKIA|ASIA|ABIA|ACCA)[0-9A-Z]{16}|gh[pousr]_[A-Za-z0-9]{36}|github_pat_[A-Za-z0-9_]{50}"
    r"|glpat-[A-Za-z0-9_\-]{20}|sk-(?:ant-|proj-|or-)?[A-Za-z0-9_\-]{20}"
    r"|[sr]k_(?:live|test)_[A-Za-z0-9]{16}"
    r"|xox[abeprs]-[A-Za-z0-9\-]{10}|AIza[0-9A-Za-z_\-]{35}|hf_[A-Za-z]{30}|npm_[A-Za-z0-9]{36}"
    r"|pypi-AgEI[A-Za-z0-9_\-]{40}|SG\.[A-Za-z0-9_\-]{16,}\.[A-Za-z0-9_\-]{16}"
    r"|LTAI[A-Za-z0-9]{12}|AKID[A-Za-z0-9]{32}|ya29\.[A-Za-z0-9_\-]{20}"
    r"|shp(?:at|ss)_[a-fA-F0-9]{32}|dop_v1_[a-f0-9]{64}"
)


@dataclass(frozen=True, slots=True)
class Found:
    """A candidate in a window: characters `start:stop`."""

    kind: int
    start: int
    stop: int
    value: str
    sure: bool | None
    needy: bool = False  # counts only beside a word of context


@cache
def words_of() -> list[Any]:
    """Return for each kind what says whether a text in lower case (bytes) has a context word."""
    return [_spoken([entry["context"]]) for entry in code_list("pii_type")]


@cache
def any_word() -> Any:
    return _spoken([entry["context"] for entry in code_list("pii_type")])


def _spoken(lists: list[str]) -> Any:
    import re2

    words = sorted({w for each in lists for w in each.split("|") if w})
    latin = "|".join(re.escape(w) for w in words if w.isascii())
    han = "|".join(re.escape(w) for w in words if not w.isascii())
    parts = [f"(?:^|[^a-z])(?:{latin})(?:[^a-z]|$)"] * bool(latin) + [han] * bool(han)
    return re2.compile("|".join(parts).encode()).search


@lru_cache(maxsize=20_000)
def kinds_of(field: str) -> frozenset[int]:
    """Return the kinds that the name of a field speaks of."""
    name = re.sub("([a-z])([A-Z])|([A-Z])([A-Z][a-z])", r"\1\3 \2\4", field)
    name = name.replace("_", " ").lower()
    return frozenset(n for n, spoken in enumerate(words_of()) if spoken(name.encode()))


def candidates(text: str, start: int, stop: int, matched: bytes, calls: bool) -> Iterator[Found]:
    """Yield candidates of the anchor at `start:stop`, the surest kinds first."""
    first = text[start]
    if "@" in text[start:stop] and not first.isspace():
        yield from _of(_RULES["at"], text, max(0, start - 64), stop)
    if matched[:2] in (b"0x", b"bc") or (first in "13" and len(matched) >= 26):
        yield from _of(_RULES["crypto"], text, start, stop)
    if b":" in matched or matched.count(b"-") == 5:
        yield from _of(_RULES["colon"], text, max(0, start - 6), stop)
    if "0" <= first <= "9":
        before = text[max(0, start - 2) : start]
        if matched[:2] == b"92" or (before[-1:].isalpha() and before[-1:].isascii()):
            yield from _of(_RULES["letters"], text, max(0, start - 4), stop)
        yield from _digits(text, start, stop, calls)
    else:
        yield from _of(_RULES["plate" if first in PROVINCES else "words"], text, start, stop)


# --- rules by pattern --------------------------------------------------------------------------

Judge = Callable[[str], bool | None]


@dataclass(frozen=True, slots=True)
class _Rule:
    kind: str
    pattern: re.Pattern[str]
    judge: Judge | None = None
    needy: bool = False
    drop: str = ""  # characters that are no part of the number


_N, _P = r"(?<![0-9A-Za-z])", r"(?![0-9A-Za-z])"  # what must not stand before and after


def _rule(kind: str, pattern: str, *more: Any, **named: Any) -> _Rule:
    return _Rule(kind, re.compile(pattern), *more, **named)


_RULES: dict[str, tuple[_Rule, ...]] = {
    "at": (
        _rule("email", r"(?<![A-Za-z0-9._%+-])[A-Za-z0-9_%+-](?:[A-Za-z0-9._%+-]{0,62}"
              r"[A-Za-z0-9_%+-])?@(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.){1,8}"
              r"[A-Za-z]{2,24}(?![A-Za-z0-9@])"),
    ),
    "crypto": (
        _rule("crypto_address", rf"{_N}0x[0-9a-fA-F]{{40}}{_P}", numbers.crypto_address),
        _rule("crypto_address", rf"{_N}bc1[0-9a-z]{{20,87}}{_P}", numbers.crypto_address),
        _rule("crypto_address", rf"{_N}[13][1-9A-HJ-NP-Za-km-z]{{25,34}}{_P}",
              numbers.crypto_address),
    ),
    "colon": (
        _rule("mac", r"(?<![0-9A-Za-z:-])[0-9A-Fa-f]{2}([:-])(?:[0-9A-Fa-f]{2}\1){4}[0-9A-Fa-f]{2}"
              r"(?![0-9A-Za-z:-])", numbers.mac),
        _rule("ip", r"(?<![0-9A-Za-z:])[23][0-9A-Fa-f]{3}(?::{1,2}[0-9A-Fa-f]{1,4}){1,7}(?:::)?"
              r"(?![0-9A-Za-z:])", numbers.ip),
    ),
    "letters": (
        _rule("uscc_individual", rf"{_N}92[0-9]{{6}}[0-9A-HJ-NPQRTUWXY]{{10}}{_P}",
              numbers.uscc_individual),
        _rule("tw_id", rf"{_N}[A-Z][1289][0-9]{{8}}{_P}", numbers.tw_id),
        _rule("hk_id", rf"{_N}[A-Z]{{1,2}}[0-9]{{6}}\([0-9A]\)", numbers.hk_id, drop="()"),
        _rule("hk_id", rf"{_N}[A-Z]{{1,2}}[0-9]{{6}}[0-9A]{_P}", numbers.hk_id, needy=True),
        _rule("medical_licence", rf"{_N}[ABCDEFGHJKLMPRSTUX][A-Z9][0-9]{{7}}{_P}",
              numbers.medical_licence, needy=True),
        _rule("hk_macau_permit", rf"{_N}(?:C[A-HJ-NP-Z][0-9]{{7}}|[CW][0-9]{{8}}){_P}", needy=True),
        _rule("home_return_permit", rf"{_N}[HM][0-9]{{8}}(?:[0-9]{{2}})?{_P}", needy=True),
        _rule("passport_cn", rf"{_N}(?:E[A-HJ-NP-Z][0-9]{{7}}|[EGDSP][0-9]{{8}}){_P}", needy=True),
        _rule("us_passport", rf"{_N}[A-Z][0-9]{{8}}{_P}", needy=True),
        _rule("us_driver_licence", rf"{_N}[A-Z]{{1,2}}[0-9]{{5,12}}{_P}", needy=True),
    ),
    "plate": (
        _rule("plate_cn", rf"[{PROVINCES}][A-HJ-NP-Z][·•.\- ]?(?:[A-HJ-NP-Z0-9]{{4}}"
              r"[A-HJ-NP-Z0-9挂学警港澳]|[A-HJK][A-HJ-NP-Z0-9][0-9]{4}|[0-9]{5}[A-HJK])"
              rf"{_P}"),
    ),
    "words": (
        _rule("private_key", r"-----BEGIN (?:[A-Z]+ ){0,3}PRIVATE KEY(?: BLOCK)?-----"
              r"(?:\s*[A-Za-z0-9+/=:,\- ]{16,})?", numbers.private_key),
        _rule("jwt", r"(?<![A-Za-z0-9_.-])eyJ[A-Za-z0-9_-]{8,1000}\.eyJ[A-Za-z0-9_-]{4,4000}"
              r"(?:\.[A-Za-z0-9_-]*)?", numbers.jwt),
        _rule("iban", rf"{_N}[A-Z]{{2}}[0-9]{{2}}(?: ?[A-Z0-9]{{4}}){{2,7}}(?: ?[A-Z0-9]{{1,3}})?"
              rf"{_P}", numbers.iban, drop=" "),
        _rule("uk_nino", rf"{_N}[A-Z]{{2}} ?[0-9]{{2}} ?[0-9]{{2}} ?[0-9]{{2}} ?[A-D]{_P}",
              numbers.uk_nino, drop=" "),
        _rule("api_key", rf"(?<![A-Za-z0-9_-])(?:{TOKENS})[A-Za-z0-9_-]*", numbers.api_key),
        _rule("password", rf"(?:{ASSIGNED})[\"']?\s?[:=：]{{1,2}}\s?[\"']?"
              r"(?P<value>[!#-&(-+\--~]{8,128})", numbers.password),
    ),
}  # fmt: skip


def _of(rules: tuple[_Rule, ...], text: str, start: int, stop: int) -> Iterator[Found]:
    for rule in rules:
        for found in _starting(rule.pattern, text, start, stop):
            group = "value" if "value" in rule.pattern.groupindex else 0
            value = found.group(group)
            for c in rule.drop:
                value = value.replace(c, "")
            sure = rule.judge(value) if rule.judge else None
            if sure is not False:
                span = found.span(group)
                yield Found(AT[rule.kind], *span, value, sure, rule.needy)


# --- rows of digits ----------------------------------------------------------------------------

_ROOM = 64  # characters that the longest of these takes
_PAIRS = 17  # characters of a telephone number in pairs of digits
_RUN = re.compile("[0-9]+")
_DAY = re.compile(r"(?:19|20)[0-9]{2}[-. ]?[0-9]{1,2}[-. ]?[0-9]{1,2}(?:[ ]?[0-9]{0,2})?")
_NANP = re.compile(
    r"(?:\+?1[-. ]?|001[-. ]?)?(?:\([2-9][0-9]{2}\) ?|[2-9][0-9]{2}[-. ])[2-9][0-9]{2}[-. ]"
    r"[0-9]{4}"
)
_PHONE = re.compile(
    r"(?<![0-9A-Za-z_/=#@$€£¥%])(?<![0-9][.,\-:])(?:\+|00)?\(?[0-9](?:[ .()\-]{0,2}[0-9]){6,16}"
    r"(?P<more>(?: ?(?:x|ext\.?|分机|转) ?[0-9]{1,6})?)(?![0-9A-Za-z%@])(?![.,:][0-9]|-[0-9A-Za-z])"
)
_LANDLINE = re.compile(
    r"(?<![0-9A-Za-z_/=.-])(?:\(0(?:10|2[0-9]|[3-9][0-9]{2})\) ?|(?:\+?86[- ]?)?0(?:10|2[0-9]|"
    r"[3-9][0-9]{2})-|(?:\+?86[- ]?)?0(?:10|2[0-9]|[3-9][0-9]{2}) ?)[2-8][0-9]{2,3}[- ]?[0-9]{4}"
    r"(?![0-9A-Za-z])(?!\.[0-9]|-[0-9A-Za-z])"
)
# Groups in which numbers with a check are usually written; one group is always allowed.
_CARD_GROUPS = re.compile(r"4(?:,4){2,3}(?:,[1-4])?|4,6,[45]|6,1[03]|6,4,\d|4,4,5")
_MOBILE_GROUPS = ("11", "3,4,4", "3,8", "7,4", "3,3,5", "4,3,4", "2,11", "2,3,4,4")


def _digits(text: str, start: int, stop: int, calls: bool) -> Iterator[Found]:
    """Yield candidates among the digits round an anchor: whole, or in groups as people write."""
    core = text[start:stop]
    if _DAY.fullmatch(core) and not core.isdigit():
        return
    if core.count(".") == 3:
        yield from _address(text, start, stop)
    if max(len(m) for m in _RUN.findall(core)) < 3:
        if stop - start <= _PAIRS and (
            calls or _calls(text, start)
        ):  # 02.64.62.52.37, as the French write
            yield from _telephones(text, max(0, start - 4), start, stop, calls)
        return
    found = list(_alone(text, start, stop) if core.isdigit() else _joined(text, start, stop))
    yield from sorted(found, key=lambda f: (-(f.sure is True), f.kind)) if found[1:] else found
    yield from _telephones(text, max(0, start - 4), start, stop, calls)


def _address(text: str, start: int, stop: int) -> Iterator[Found]:
    after = text[stop : stop + 2]
    glued = re.search(r"(?:[0-9A-Za-z.]|(?i:version|ver|v|版本|section|§)[ .:]?)$", text[:start])
    if not glued and not re.match(r"[0-9A-Za-z]|[./][0-9]", after):  # a slash: a network
        sure = numbers.ip(text[start:stop])
        if sure is not False:
            yield Found(AT["ip"], start, stop, text[start:stop], sure)


def _alone(text: str, start: int, stop: int) -> Iterator[Found]:
    """Yield what one group of digits can be."""
    before, after = text[start - 1 : start], text[stop : stop + 1]
    if before and (_wordy(before) or before == ".") or after == "." and _row(text[stop:], "."):
        return
    tail = after in ("X", "x") and stop - start == 17 and not _wordy(text[stop + 1 : stop + 2])
    if not _wordy(after) or tail:
        stop += tail
        plain = not _reckoned(text, start, stop)
        yield from _numbers(text[start:stop].upper(), str(stop - start), start, stop, plain)


def _joined(text: str, low: int, high: int) -> Iterator[Found]:
    """Yield numbers made of whole neighbouring groups with one kind of separator."""
    groups = [m.span() for m in _starting(_RUN, text, low, high + 24, 0)]
    for i, (start, _) in enumerate(groups):
        if start >= high:
            break
        before = text[start - 1] if start else " "
        if groups[i][1] - start < 2 or _wordy(before) or before == ".":
            continue
        lengths: list[int] = []
        total, separator = 0, ""
        for j in range(i, min(i + 9, len(groups))):
            if j > i:
                between = text[groups[j - 1][1] : groups[j][0]]
                if between not in (" ", "-") or (separator and between != separator):
                    break
                separator = between
            lengths.append(groups[j][1] - groups[j][0])
            total += lengths[-1]
            if total > 19 or (len(lengths) > 1 and lengths[-2] < 2):
                break
            if total < 7:
                continue
            end = groups[j][1]
            after = text[end : end + 1]
            tail = after in ("X", "x") and total == 17 and not _wordy(text[end + 1 : end + 2])
            if _wordy(after) and not tail:
                continue
            if after == "." and text[end + 1 : end + 2].isdigit():
                continue
            value = text[start:end].replace(separator, "") if separator else text[start:end]
            shape = ",".join(map(str, lengths))
            alone = not separator or not (
                _row(text[:start][::-1], separator) or _row(text[end:], separator)
            )
            plain = alone and not _reckoned(text, start, end + tail)
            yield from _numbers(value + after.upper() * tail, shape, start, end + tail, plain)


def _wordy(c: str) -> bool:
    return c.isascii() and (c.isalnum() or c == "_") and c != ""


def _row(text: str, separator: str) -> bool:
    """Say whether a row of numbers goes on with the same separator."""
    return text[:1] == separator and text[1:2].isdigit()


_BEFORE_SUM, _AFTER_SUM = frozenset("=+*/×÷<>≈^≥≤#&"), frozenset("=+*/×÷<>≈^")


def _reckoned(text: str, start: int, stop: int) -> bool:
    """Say whether a number stands in a sum or an address: counts only beside a word then."""
    before = text[max(0, start - 8) : start].rstrip(" -$¥￥(")[-1:]
    return before in _BEFORE_SUM or text[stop : stop + 8].lstrip()[:1] in _AFTER_SUM


def _numbers(value: str, shape: str, start: int, stop: int, plain: bool) -> Iterator[Found]:
    """Yield what a row of digits can be, by its length; not plain: only beside a word."""
    length, whole = len(value), "," not in shape

    def found(kind: str, sure: bool | None, needy: bool = False) -> Iterator[Found]:
        if sure is not False:
            needy = needy or not (plain or kind == "resident_id")
            yield Found(AT[kind], start, stop, value, sure, needy)

    if length == 18 and all(int(n) >= 3 for n in shape.split(",")[:-1]):
        yield from found("resident_id", numbers.resident_id(value))
    if not value.isdigit():
        return
    if 13 <= length <= 19 and (whole or _CARD_GROUPS.fullmatch(shape)):
        yield from found("bank_card", numbers.bank_card(value), length == 13)
    if length == 15:
        if whole:
            yield from found("resident_id_15", numbers.resident_id_15(value), True)
        yield from found("imei", numbers.imei(value), True)
    if length in (11, 13) and shape in _MOBILE_GROUPS:
        number = value.removeprefix("86") if length == 13 else value
        if len(number) == 11 and number[0] == "1" and number[1] in "3456789":
            round_sum = number.endswith("00000") or len(set(number)) < 3
            yield from found("mobile_cn", None, round_sum)
    if shape == "13" and value.startswith("861") and value[3] in "3456789":
        yield from found("mobile_cn", None, True)
    if length == 10 and shape in ("10", "3,3,4"):
        yield from found("uk_nhs", numbers.uk_nhs(value), True)
    if length == 9 and shape in ("9", "3,2,4"):
        yield from found("us_ssn", numbers.us_ssn(value), whole)
        yield from found("us_itin", numbers.us_itin(value), whole)
    if whole:
        if length == 8:
            yield from found("taiwan_permit", None, True)
        if length == 9:
            yield from found("us_passport", None, True)
        if 6 <= length <= 12:
            yield from found("us_driver_licence", None, True)
        if 8 <= length <= 17:
            yield from found("us_bank_account", None, True)


def _telephones(text: str, low: int, start: int, high: int, calls: bool) -> Iterator[Found]:
    """Yield telephone numbers: as the Chinese, the North American and the others write them."""
    core = text[start:high]
    if "0" in core:
        for m in _starting(_LANDLINE, text, low, high, _ROOM):
            bare = m.group().isdigit()
            yield Found(AT["landline_cn"], *m.span(), re.sub("[^0-9]", "", m.group()), None, bare)
    if (
        core.isdigit()
        and text[low:start].strip()[-1:] not in ("+", "(")
        and not _calls(text, start)
    ):
        return
    for m in _starting(_PHONE, text, low, high, _ROOM):
        value = m.group()
        digits = re.sub("[^0-9]", "", value[: len(value) - len(m["more"])])
        if not 7 <= len(digits) <= 15 or _DAY.fullmatch(value):
            continue
        strong = (
            (
                value[0] == "+"
                and value[1:].lstrip(" (")[0] != "0"
                and (len(digits) <= 13 or not value[1:].isdigit())
            )
            or bool(m["more"])
            or bool(_NANP.fullmatch(value))
            or (value.startswith("00") and len(digits) >= 11 and "-" in value)
            or bool(re.match(r"\([0-9]{2,4}\) ?[0-9]{3,4}[ -]?[0-9]{3,4}$", value))
        )
        strong = strong and len(digits) > 7
        if not _reckoned(text, *m.span()) and (len(digits) > 7 or not value.isdigit()):
            yield Found(AT["phone"], *m.span(), digits, None, not strong)


def _calls(text: str, at: int) -> bool:
    near = text[max(0, at - CONTEXT_BEFORE) : at + 2 * CONTEXT_AFTER].lower()
    return bool(words_of()[AT["phone"]](near.encode()))


def _starting(
    pattern: re.Pattern[str], text: str, low: int, high: int, reach: int = _LONG
) -> Iterator[re.Match[str]]:
    """Yield matches that begin in `low:high`; how they end depends on what follows."""
    for found in pattern.finditer(text, low, min(len(text), high + reach)):
        if found.start() >= high:
            return
        yield found
