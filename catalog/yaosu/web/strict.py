"""JSON at the door: strict, bounded, and never echoed (reliability §3).

Refused are: more than one value per key, NaN and infinities, integers beyond ±(2^53-1), lone
surrogates, control and bidirectional override characters, nesting over 64, over 100,000 items.
"""

from __future__ import annotations

import json
import math
import re
from typing import Any

import orjson

from yaosu.errors import InvalidDocument, Malformed, Problem, TooLarge

MAX_DEPTH = 64
MAX_ITEMS = 100_000
MAX_INT = 2**53 - 1
# C0 and C1 controls but tab and line ends; surrogates; bidi embeddings, overrides, isolates.
_UNWELCOME = re.compile(
    "[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff\u202a-\u202e\u2066-\u2069]"
)

# The usual body: ASCII without escapes. Every other one is walked through name by name.
_PLAIN = re.compile(rb"[\t\n\r\x20-\x5b\x5d-\x7e]*")
_BEFORE_ITEMS = (b",", b"[", b"{")
_STRING = re.compile(rb'"[^"\\]*(?:\\.[^"\\]*)*"', re.DOTALL)


class _Twice(ValueError):
    """A key stands twice in one object."""


def _no_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _Twice
    return found


def parse(body: bytes) -> Any:
    """Return the JSON value; Malformed, TooLarge or InvalidDocument say what is wrong."""
    if _crowded(body):
        raise _too_many()
    try:
        value = orjson.loads(body)
        if _PLAIN.fullmatch(body) and _is_plain(value, body.count(b":")):
            return value
        value = json.loads(body, object_pairs_hook=_no_twins)
    except _Twice:
        raise Malformed("a key stands twice in one object", "同一对象中出现重复的键") from None
    except (ValueError, RecursionError):
        # The parser's own message may quote the input.
        raise Malformed("the body is not JSON (RFC 8259)", "请求体不是有效的 JSON") from None
    _examine(value)
    return value


def _is_plain(value: Any, colons: int) -> bool:
    """Tell whether a value of welcome characters only has nothing else that could be refused.

    A key that stands twice leaves fewer members than there are colons; so does a colon in a text.
    """
    level = [value]
    for _ in range(MAX_DEPTH):
        below: list[Any] = []
        for node in level:
            kind = type(node)
            if kind is dict:
                colons -= len(node)
                below += node.values()
            elif kind is list:
                below += node
            elif kind is int:
                if not -MAX_INT <= node <= MAX_INT:
                    return False
            elif kind is float:
                return False
        if not below:
            return colons == 0
        level = below
    return False


def _crowded(body: bytes) -> bool:
    """Tell, before anything is built of it, whether a body holds more items than may be.

    16 MiB of brackets are five million objects and half a minute; counting them is nothing.
    """
    if sum(map(body.count, _BEFORE_ITEMS)) <= MAX_ITEMS:
        return False
    bare = _STRING.sub(b"", body)
    return sum(map(bare.count, _BEFORE_ITEMS)) > MAX_ITEMS


def _too_many() -> TooLarge:
    return TooLarge(f"more than {MAX_ITEMS} keys and items", f"键与元素超过 {MAX_ITEMS} 个")


def _examine(value: Any) -> None:
    """Walk the value without recursion and collect every problem of it."""
    problems: list[Problem] = []
    stack: list[tuple[Any, str, int]] = [(value, "", 1)]
    while stack:
        node, pointer, depth = stack.pop()
        if depth > MAX_DEPTH:
            raise TooLarge(f"JSON nested deeper than {MAX_DEPTH}", f"JSON 嵌套超过 {MAX_DEPTH} 层")
        if isinstance(node, dict):
            for name, child in node.items():
                if _UNWELCOME.search(name):
                    problems.append(_text_problem(pointer))
                stack.append((child, f"{pointer}/{_escaped(name)}", depth + 1))
        elif isinstance(node, list):
            stack.extend((child, f"{pointer}/{i}", depth + 1) for i, child in enumerate(node))
        elif isinstance(node, str) and _UNWELCOME.search(node):
            problems.append(_text_problem(pointer))
        elif isinstance(node, (int, float)) and not _fits(node):
            problems.append(_number_problem(pointer))
    if problems:
        raise InvalidDocument(problems[:100])


def _fits(number: int | float) -> bool:
    return math.isfinite(number) and abs(number) <= MAX_INT


def _escaped(name: str) -> str:
    return name[:80].replace("~", "~0").replace("/", "~1")


def _text_problem(pointer: str) -> Problem:
    return Problem(
        pointer=_UNWELCOME.sub("?", pointer),
        code="unwelcome_character",
        en="control, surrogate or bidirectional override characters are not taken",
        zh="不接受控制字符、代理字符或双向覆盖字符",
    )


def _number_problem(pointer: str) -> Problem:
    return Problem(
        pointer=pointer,
        code="number_range",
        en="numbers are finite and within ±(2^53-1); larger amounts go as text",
        zh="数值须有限且在 ±(2^53-1) 之内",
    )
