"""What is found when proofs are checked: problems in both languages, and counts of what held."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from yaosu_schemas.errors import Malformed, Problem, Text, YaosuError

T = TypeVar("T")

Progress = Callable[[str, int, int], None]
"""(stage, done, in all): stages are events, postings, log, blobs, files."""


def silent(stage: str, done: int, total: int) -> None:
    """Tell nobody."""


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifyReport:
    """The outcome of a verification: what it was, what was checked, everything that is wrong."""

    kind: str
    target: str
    facts: Mapping[str, Any] = field(default_factory=dict)
    checked: Mapping[str, int] = field(default_factory=dict)
    problems: tuple[Problem, ...] = ()
    proved: tuple[Text, ...] = ()

    @property
    def valid(self) -> bool:
        return not any(p.severity == "error" for p in self.problems)

    def as_json(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "target": self.target,
            "valid": self.valid,
            "facts": dict(self.facts),
            "checked": dict(self.checked),
            "proved": [{"en": p.en, "zh": p.zh} for p in self.proved],
            "problems": [p.as_json() for p in self.problems],
        }


class Findings:
    """Collects problems and counts while a verification runs; nothing stops at the first."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self.checked: Counter[str] = Counter()
        self.facts: dict[str, Any] = {}
        self.proved: list[Text] = []

    def wrong(self, pointer: str, code: str, en: str, zh: str, *, severity: str = "error") -> None:
        self.problems.append(Problem(pointer=pointer, code=code, en=en, zh=zh, severity=severity))

    def need(self, holds: bool, pointer: str, code: str, en: str, zh: str) -> bool:
        """Note the problem unless the condition holds; return whether it does."""
        if not holds:
            self.wrong(pointer, code, en, zh)
        return holds

    @contextmanager
    def proving(self, pointer: str, en: str, zh: str) -> Iterator[None]:
        """Say that something is proved if nothing was found wrong while it was checked."""
        before = len(self.problems)
        with self.shape(pointer):
            yield
        if len(self.problems) == before:
            self.proved.append(Text(en, zh))

    @contextmanager
    def shape(self, pointer: str) -> Iterator[None]:
        """Turn a part that is not of the expected shape into a problem at its place."""
        try:
            yield
        except YaosuError as error:
            self.wrong(pointer, error.code, error.en, error.zh)
        except (
            *(LookupError, TypeError, ValueError, AttributeError, RecursionError),
            *(ArithmeticError, OSError),
        ) as e:
            detail = f"{type(e).__name__}: {e}"[:120]
            self.wrong(
                pointer,
                "malformed",
                f"this part is missing or not of the expected shape ({detail})",
                f"此部分缺失或结构不符（{detail}）",
            )

    def within(self, prefix: str, other: Findings) -> None:
        """Take over what was found in a part."""
        for p in other.problems:
            self.wrong(f"{prefix}{p.pointer}", p.code, p.en, p.zh, severity=p.severity)
        self.checked.update(other.checked)
        self.proved += other.proved

    def report(self, kind: str, target: str) -> VerifyReport:
        return VerifyReport(
            kind=kind,
            target=target,
            facts=self.facts,
            checked=dict(self.checked),
            problems=tuple(self.problems),
            proved=tuple(self.proved),
        )


def strict_json(content: bytes | str) -> Any:
    """Return the JSON value; Malformed for duplicate names, NaN, bad UTF-8, deep nesting."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise ValueError("a name occurs twice in one object")
        return found

    def refuse(constant: str) -> Any:
        raise ValueError(f"{constant} is not JSON")

    try:
        text = content.decode("utf-8") if isinstance(content, bytes) else content
        return json.loads(text, object_pairs_hook=unique, parse_constant=refuse)
    except (ValueError, RecursionError) as error:
        raise Malformed(
            f"this is not JSON: {str(error)[:120]}", f"不是有效的 JSON：{str(error)[:120]}"
        ) from None


def read_bytes(path: Path, *, limit: int = 256 << 20) -> bytes:
    """Return the content of a file; Malformed when it is larger than `limit` bytes."""
    with path.open("rb") as file:
        content = file.read(limit + 1)
    if len(content) > limit:
        raise Malformed(
            f"{path.name} is larger than {limit >> 20} MiB", f"{path.name} 超过 {limit >> 20} MiB"
        )
    return content


def read_json(path: Path) -> Any:
    """Return the JSON value of a file; Malformed when it is none, or too large."""
    return strict_json(read_bytes(path))
