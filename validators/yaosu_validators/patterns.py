"""Patterns of strangers: the meaning of Python's `re`, run by RE2 in linear time.

A pattern is parsed with Python's own parser and written again in RE2's syntax: with Unicode
classes where Python has them, and `$` before a final line break. What RE2 cannot run at all
(look-around, back-references, possessive repeats, repeats over 1,000) is refused by name.
`subset` writes a narrower pattern that is sound as one cell inside a whole line of CSV.
"""

from __future__ import annotations

import functools
import re
import re._constants as op  # type: ignore[import-not-found]
import re._parser as parser  # type: ignore[import-not-found]
from collections.abc import Callable, Iterable
from typing import Any

_SPACE = (
    r"\t-\r\x1c-\x20\x{85}\x{a0}\x{1680}\x{2000}-\x{200a}\x{2028}\x{2029}\x{202f}\x{205f}\x{3000}"
)
_WORD = r"\p{L}\p{N}_"
_CLASSES = {
    op.CATEGORY_DIGIT: (r"\p{Nd}", False),
    op.CATEGORY_NOT_DIGIT: (r"\p{Nd}", True),
    op.CATEGORY_SPACE: (_SPACE, False),
    op.CATEGORY_NOT_SPACE: (_SPACE, True),
    op.CATEGORY_WORD: (_WORD, False),
    op.CATEGORY_NOT_WORD: (_WORD, True),
}
_UNICODE_INVERSE = {r"\p{Nd}": r"\P{Nd}"}


class Unsupported(ValueError):
    """The pattern is broken, or linear time cannot run it."""


def translate(pattern: str) -> str:
    """Return RE2 text that matches where Python's `re.match(f"^{pattern}$", cell)` does."""
    try:
        tree = parser.parse(f"^{pattern}$")
    except (re.error, OverflowError, RecursionError) as why:
        raise Unsupported(str(why)) from None
    return r"\A(?:" + _sequence(tree, _Writer()) + ")"


@functools.lru_cache(maxsize=512)
def matcher(pattern: str) -> Callable[[str], bool]:
    """Return a test for one cell; Unsupported if RE2 refuses the pattern."""
    import re2

    options = re2.Options()
    options.log_errors = False
    try:
        compiled = re2.compile(translate(pattern), options)
    except re2.error as why:
        raise Unsupported(_words(why)) from None

    plain = re.compile(f"^{pattern}$") if _is_tame(parser.parse(f"^{pattern}$")) else None

    def test(cell: str) -> bool:
        if plain is not None and len(cell) <= _SHORT:
            return plain.match(cell) is not None
        try:
            return compiled.search(cell) is not None
        except UnicodeEncodeError:  # half a surrogate pair, which no UTF-8 can hold
            return False

    return test


@functools.lru_cache(maxsize=512)
def searcher(pattern: str) -> Callable[[str], bool]:
    """Return a test that looks for the pattern anywhere in a text (JSON Schema, `pattern`)."""
    import re2

    options = re2.Options()
    options.log_errors = False
    try:
        compiled = re2.compile(_sequence(parser.parse(pattern), _Writer()), options)
    except (re.error, re2.error, OverflowError, RecursionError) as why:
        raise Unsupported(_words(why)) from None
    return lambda text: compiled.search(text.encode("utf-8", "replace").decode()) is not None


_SHORT = 256  # characters; with two repeats at most, no more than some ten thousand steps


def _is_tame(tree: Any) -> bool:
    """Say whether backtracking stays cheap on a short cell: few repeats, none inside another."""
    found = 0

    def walk(nodes: Any, inside: bool) -> bool:
        nonlocal found
        for kind, value in nodes:
            if kind in (op.MAX_REPEAT, op.MIN_REPEAT):
                wide = value[1] is op.MAXREPEAT or value[1] > 8
                found += wide
                if (wide and inside) or found > 2 or not walk(value[2], inside or wide):
                    return False
            elif kind is op.BRANCH:
                if not all(walk(branch, inside) for branch in value[1]):
                    return False
            elif kind is op.SUBPATTERN and not walk(value[3], inside):
                return False
        return True

    return walk(tree, False)


def subset(pattern: str, excluded: str) -> str | None:
    """Return RE2 text that holds for a part of the cells that match, and never for others.

    No text it matches holds a character of `excluded`, so it can stand between delimiters.
    None where the pattern has anchors inside, or anything else that needs the whole cell.
    """
    try:
        tree = list(parser.parse(pattern))
        return "(?:" + _sequence(_unanchored(tree), _Writer(excluded)) + ")"
    except (Unsupported, re.error, OverflowError, RecursionError):
        return None


def _unanchored(tree: list[Any]) -> list[Any]:
    if len(tree) == 1 and tree[0][0] is op.BRANCH:
        raise Unsupported("`^a|b$` anchors its branches one by one")
    if tree and tree[0] == (op.AT, op.AT_BEGINNING):
        tree = tree[1:]
    if tree and tree[-1] == (op.AT, op.AT_END):
        tree = tree[:-1]
    return tree


class _Writer:
    """What differs between the two ways of writing: the characters that may not be matched."""

    def __init__(self, excluded: str = "") -> None:
        self.excluded = excluded
        self.out = "".join(_escape(ord(c)) for c in excluded)

    def literal(self, code: int) -> str:
        if chr(code) in self.excluded:
            raise Unsupported("the pattern needs a delimiter")
        return _escape(code)


def _escape(code: int) -> str:
    if 0xD800 <= code <= 0xDFFF:
        raise Unsupported("half a surrogate pair")
    char = chr(code)
    if char.isascii() and char.isalnum():
        return char
    return f"\\x{{{code:x}}}"


def _sequence(tree: Iterable[Any], w: _Writer) -> str:
    return "".join(_node(kind, value, w) for kind, value in tree)


def _node(kind: Any, value: Any, w: _Writer) -> str:
    if kind is op.LITERAL:
        return w.literal(value)
    if kind is op.NOT_LITERAL:
        return f"[^{_escape(value)}{w.out}]"
    if kind is op.ANY:
        return f"[^\\n{w.out}]"
    if kind is op.IN:
        return _set(value, w)
    if kind is op.BRANCH:
        return "(?:" + "|".join(_sequence(branch, w) for branch in value[1]) + ")"
    if kind is op.SUBPATTERN:
        return _group(value, w)
    if kind in (op.MAX_REPEAT, op.MIN_REPEAT):
        low, high, inner = value
        if low > 1000 or (high is not op.MAXREPEAT and high > 1000):
            raise Unsupported("a repeat over 1,000")
        times = f"{{{low},}}" if high is op.MAXREPEAT else f"{{{low},{high}}}"
        lazy = "?" if kind is op.MIN_REPEAT else ""
        return f"(?:{_sequence(inner, w)}){times}{lazy}"
    if kind is op.AT:
        return _anchor(value, w)
    raise Unsupported(f"{str(kind).lower().replace('_', ' ')} needs more than linear time")


def _group(value: Any, w: _Writer) -> str:
    _, add, remove, inner = value
    known = re.IGNORECASE | re.DOTALL | re.MULTILINE
    if (add | remove) & ~int(known | re.UNICODE | re.VERBOSE) or (w.excluded and (add | remove)):
        raise Unsupported("a flag that RE2 does not have")
    if (add | remove) & int(re.DOTALL | re.MULTILINE):
        raise Unsupported("a flag inside the pattern")
    flags = "i" if add & re.IGNORECASE else "-i" if remove & re.IGNORECASE else ""
    return f"(?{flags}:{_sequence(inner, w)})"


def _anchor(value: Any, w: _Writer) -> str:
    if w.excluded:
        raise Unsupported("an anchor inside the pattern")
    if value in (op.AT_BEGINNING, op.AT_BEGINNING_STRING):
        return r"\A"
    if value is op.AT_END:
        return r"(?:\n?\z)"
    if value is op.AT_END_STRING:
        return r"\z"
    if value is op.AT_BOUNDARY:
        return r"\b"  # ASCII words only: RE2 has no other (docs/frictionless-differences.md)
    if value is op.AT_NON_BOUNDARY:
        return r"\B"
    raise Unsupported("an anchor that RE2 does not have")


def _set(items: list[Any], w: _Writer) -> str:
    negated = bool(items) and items[0][0] is op.NEGATE
    members = items[1:] if negated else items
    if len(members) == 1 and members[0][0] is op.CATEGORY:
        text, inverse = _CLASSES[members[0][1]]
        if inverse != negated:
            return f"[^{text}{w.out}]"
    inverses = [_CLASSES[v][0] for k, v in members if k is op.CATEGORY and _CLASSES[v][1]]
    if inverses and (w.excluded or not _UNICODE_INVERSE.keys() >= set(inverses)):
        raise Unsupported("a class that holds the inverse of another class")
    text = "".join(_member(k, v, w, negated) for k, v in members)
    if negated:
        return f"[^{text}{w.out}]"
    if not text:
        raise Unsupported("a class that only holds delimiters")
    return f"[{text}]"


def _member(kind: Any, value: Any, w: _Writer, negated: bool) -> str:
    if kind is op.LITERAL:
        return "" if not negated and chr(value) in w.excluded else _escape(value)
    if kind is op.RANGE:
        low, high = value
        if negated or not any(low <= ord(c) <= high for c in w.excluded):
            return f"{_escape(low)}-{_escape(high)}"
        return _without(low, high, w.excluded)
    text, inverse = _CLASSES[value]
    if inverse:
        return _UNICODE_INVERSE[text]
    if w.excluded and not negated and text == _SPACE:
        return "".join(_escape(ord(c)) for c in " \t\x0b\x0c" if c not in w.excluded)
    return text


def _without(low: int, high: int, excluded: str) -> str:
    """Return the range as pieces around the characters that may not be matched."""
    pieces, start = [], low
    for code in sorted({ord(c) for c in excluded if low <= ord(c) <= high}):
        if start < code:
            pieces.append(f"{_escape(start)}-{_escape(code - 1)}")
        start = code + 1
    if start <= high:
        pieces.append(f"{_escape(start)}-{_escape(high)}")
    return "".join(pieces)


def _words(why: Exception) -> str:
    message = why.args[0] if why.args else why
    return message.decode(errors="replace") if isinstance(message, bytes) else str(message)
