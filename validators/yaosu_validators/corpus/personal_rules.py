"""Rules of an operator: patterns of strangers, in RE2 only, so that all take linear time.

`[{"type": "employee", "pattern": "E-[0-9]{6}", "context": "工号|staff"}]`
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from yaosu_schemas.errors import InvalidInput

from .personal_scan import Hit, Tier
from .view import View

MOST_RULES, LONGEST = 100, 1000
_NEAR = 128  # bytes in which a word of context counts


@dataclass(frozen=True, slots=True)
class Rule:
    """One pattern under a name; with context words it counts only beside one of them."""

    type: str
    pattern: str
    compiled: Any
    context: Any = None

    def hits(self, view: View, kind: int) -> Iterator[Hit]:
        """Yield what the pattern finds, segment by segment."""
        found = pc.match_substring_regex(view.texts, self.pattern)
        for segment in np.flatnonzero(np.asarray(found.fill_null(False))).tolist():
            text = view.texts[segment].as_buffer().to_pybytes()
            for match in self.compiled.finditer(text):
                start, stop = match.span()
                near = text[max(0, start - _NEAR) : start] + b"\n" + text[stop : stop + _NEAR]
                beside = bool(self.context and self.context.search(near))
                if stop > start and (beside or not self.context):
                    value = text[start:stop].decode("utf-8", "replace")
                    yield Hit(segment, start, stop, kind, Tier.LOW, beside, value)


def own_rules(rules: Sequence[Mapping[str, Any]]) -> tuple[Rule, ...]:
    """Return the rules compiled; InvalidInput names every problem of all of them."""
    if not rules:
        return ()
    try:
        return _compiled(json.dumps(list(rules), sort_keys=True))
    except TypeError:
        raise _refused([(0, "it is no list of rules", "不是规则列表")]) from None


@lru_cache(maxsize=32)
def _compiled(text: str) -> tuple[Rule, ...]:
    rules = json.loads(text)
    problems: list[tuple[int, str, str]] = []
    made: list[Rule] = []
    if len(rules) > MOST_RULES:
        problems.append((0, f"there are more than {MOST_RULES}", f"超过 {MOST_RULES} 条"))
    for number, rule in enumerate(rules[:MOST_RULES], 1):
        try:
            made.append(_rule(rule))
        except ValueError as why:
            problems.append((number, *why.args))
    if problems:
        raise _refused(problems)
    return tuple(made)


def _rule(rule: Any) -> Rule:
    if not isinstance(rule, dict) or set(rule) - {"type", "pattern", "context"}:
        raise ValueError("it has other keys than type, pattern, context",
                         "只可有 type、pattern、context")  # fmt: skip
    name, pattern, words = (rule.get(k, "") for k in ("type", "pattern", "context"))
    if not isinstance(name, str) or not re.fullmatch("[a-z][a-z0-9_]{0,39}", name):
        raise ValueError("its type is not a word of a-z, 0-9, _", "type 须为小写字母、数字与下划线")
    if not isinstance(pattern, str) or not 0 < len(pattern) <= LONGEST:
        raise ValueError(f"its pattern is not 1 to {LONGEST} characters",
                         f"pattern 须为 1 至 {LONGEST} 个字符")  # fmt: skip
    if not isinstance(words, str) or len(words) > LONGEST:
        raise ValueError("its context is not words with | between", "context 须为以 | 分隔的词")
    compiled = _safe(pattern)
    if compiled.search(b"") is not None:
        raise ValueError("its pattern matches nothing at all", "pattern 可匹配空串")
    escaped = "|".join(re.escape(w) for w in words.split("|") if w)
    return Rule(name, pattern, compiled, _safe(f"(?i:{escaped})") if escaped else None)


def _safe(pattern: str) -> Any:
    import re2

    options = re2.Options()
    options.log_errors = False
    try:
        compiled = re2.compile(pattern.encode(), options)
        pc.match_substring_regex(pa.array([""], pa.large_string()), pattern)
    except (re2.error, pa.ArrowInvalid, UnicodeEncodeError):
        raise ValueError(
            "RE2 does not take its pattern (no look-around, no back-references, bounded repeats)",
            "RE2 不接受该 pattern（不支持环视、反向引用，重复次数有限）",
        ) from None
    return compiled


def _refused(problems: list[tuple[int, str, str]]) -> InvalidInput:
    en = "; ".join(f"rule {n}: {why}" if n else why for n, why, _ in problems)
    zh = "；".join(f"第 {n} 条规则：{why}" if n else why for n, _, why in problems)
    return InvalidInput(f"rules of corpus.personal: {en}", f"corpus.personal 的规则：{zh}",
                        check="corpus.personal", option="rules")  # fmt: skip
