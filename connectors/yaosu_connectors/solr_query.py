"""The query language of CKAN's `q` and `fq` (Solr's standard parser) as a small tree.

Terms that stand side by side must all hold, as in CKAN. Boosts and fuzziness are read and have
no effect. What cannot be read raises `Malformed` with the place.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from yaosu_schemas.errors import Malformed

MAX_LENGTH = 10_000
MAX_TERMS = 500
MAX_DEPTH = 30


@dataclass(frozen=True, slots=True)
class Every:
    """Everything matches (`*:*`)."""


@dataclass(frozen=True, slots=True)
class Term:
    """One word or phrase in a field ("" is the text); `prefix` for `word*`."""

    field: str
    text: str
    phrase: bool = False
    prefix: bool = False


@dataclass(frozen=True, slots=True)
class Between:
    """A range; None is an open end."""

    field: str
    low: str | None
    high: str | None
    with_low: bool = True
    with_high: bool = True


@dataclass(frozen=True, slots=True)
class Not:
    part: Tree


@dataclass(frozen=True, slots=True)
class Each:
    """All parts hold."""

    parts: tuple[Tree, ...]


@dataclass(frozen=True, slots=True)
class Some:
    """At least one part holds."""

    parts: tuple[Tree, ...]


Tree = Every | Term | Between | Not | Each | Some

_TOKEN = re.compile(
    r"""\s*(?:
    (?P<quoted>"(?:[^"\\]|\\.)*")
    |(?P<range>[\[{]\s*(?:"[^"]*"|\S+)\s+TO\s+(?:"[^"]*"|[^\s\]}]+)\s*[\]}])
    |(?P<mark>[()+!]|&&|\|\||-(?=\S))
    |(?P<word>(?:[^\s()\[\]{}"\\:^~]|\\.)+)
    |(?P<colon>:)
    |(?P<boost>[\^~][\d.]*)
    )""",
    re.VERBOSE,
)


def read(text: str) -> Tree:
    """Return the tree of a query; an empty one matches everything."""
    if len(text) > MAX_LENGTH:
        raise Malformed("the query is too long", "查询过长")
    return _Reader(text).whole()


class _Reader:
    """Reads tokens from left to right."""

    def __init__(self, text: str) -> None:
        self._tokens: list[tuple[str, str]] = []
        at, text = 0, text.rstrip()
        while at < len(text):
            found = _TOKEN.match(text, at)
            if found is None or found.end() == at:
                raise _wrong(text[at : at + 20])
            kind = str(found.lastgroup)
            if kind != "boost":
                self._tokens.append((kind, found.group(kind)))
            at = found.end()
        if len(self._tokens) > MAX_TERMS * 4:
            raise Malformed("the query has too many parts", "查询条件过多")
        self._at = 0

    def whole(self) -> Tree:
        if not self._tokens:
            return Every()
        tree = self._some("", 0)
        if self._at < len(self._tokens):
            raise _wrong(self._tokens[self._at][1])
        return tree

    def _peek(self) -> tuple[str, str]:
        return self._tokens[self._at] if self._at < len(self._tokens) else ("", "")

    def _is(self, *words: str) -> bool:
        kind, text = self._peek()
        return kind in ("word", "mark") and text in words

    def _some(self, field: str, depth: int) -> Tree:
        if depth > MAX_DEPTH:
            raise Malformed("the query is nested too deeply", "查询嵌套过深")
        parts = [self._each(field, depth)]
        while self._is("OR", "||"):
            self._at += 1
            parts.append(self._each(field, depth))
        return parts[0] if len(parts) == 1 else Some(tuple(parts))

    def _each(self, field: str, depth: int) -> Tree:
        parts = [self._one(field, depth)]
        while True:
            if self._is("AND", "&&"):
                self._at += 1
            elif not self._peek()[0] or self._is("OR", "||", ")"):
                return parts[0] if len(parts) == 1 else Each(tuple(parts))
            parts.append(self._one(field, depth))

    def _one(self, field: str, depth: int) -> Tree:
        if self._is("NOT", "-", "!"):
            self._at += 1
            if depth > MAX_DEPTH:
                raise Malformed("the query is nested too deeply", "查询嵌套过深")
            return Not(self._one(field, depth + 1))
        if self._is("+"):
            self._at += 1
            return self._one(field, depth + 1)
        if self._is("("):
            self._at += 1
            inner = self._some(field, depth + 1)
            if not self._is(")"):
                raise _wrong("(")
            self._at += 1
            return inner
        kind, text = self._peek()
        if kind not in ("word", "quoted", "range") or text in ("AND", "OR", "&&", "||"):
            raise _wrong(text or "…")
        self._at += 1
        if kind == "word" and self._peek()[0] == "colon":
            self._at += 1
            name = "" if text in ("*", "text") else text
            if text == "*" and self._is("*"):
                self._at += 1
                return Every()
            return self._one(name, depth + 1)
        return _leaf(field, kind, text)


def _leaf(field: str, kind: str, text: str) -> Tree:
    if kind == "quoted":
        return Term(field, _unescaped(text[1:-1]), phrase=True)
    if kind == "range":
        low, high = re.split(r"\s+TO\s+", text[1:-1].strip(), maxsplit=1)
        ends = [None if end.strip() == "*" else end.strip().strip('"') for end in (low, high)]
        return Between(field, ends[0], ends[1], text[0] == "[", text[-1] == "]")
    if text == "*":
        return Every() if not field else Between(field, None, None)
    prefix = text.endswith("*") and not text.endswith("\\*")
    return Term(field, _unescaped(text.rstrip("*") if prefix else text), prefix=prefix)


def _unescaped(text: str) -> str:
    return re.sub(r"\\(.)", r"\1", text)


def _wrong(where: str) -> Malformed:
    return Malformed(
        f"the query cannot be read at '{where[:20]}'", f"查询在“{where[:20]}”处无法解析"
    )
