"""Writes the description of a folder: everything about the data that need not be asked.

What is measured is exact, what is inferred holds for every row, and what only a person can know
is on the list of things to do. Reading is one pass, in memory that does not grow with the files.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from types import ModuleType
from typing import Any

from yaosu_schemas.errors import InvalidInput, Problem, Text

Progress = Callable[..., None]

# Beside these a trouble means that the file is not what a buyer would get.
_ADVICE = frozenset(("format-mismatch", "ragged-rows"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Description:
    """A descriptor, what is left to do, what differs from before, and what was left out."""

    descriptor: dict[str, Any]
    todo: list[Problem]
    changed: list[dict[str, Any]]
    skipped: list[dict[str, str]]

    def as_json(self) -> dict[str, Any]:
        return {
            "descriptor": self.descriptor,
            "todo": [problem.as_json() for problem in self.todo],
            "changed": self.changed,
            "skipped": self.skipped,
        }


def describe(
    paths: str | Path | Sequence[str | Path],
    existing: Mapping[str, Any] | None = None,
    *,
    name: str | None = None,
    now: datetime | None = None,
    progress: Progress | None = None,
    broken: Mapping[str, tuple[str, Text]] | None = None,
) -> Description:
    """Describe a folder or some files as a Data Package with its `dataElement`.

    `existing` is an earlier descriptor: what a person wrote in it stays, measures are renewed.
    `progress(done_bytes, total_bytes, path)` is called while reading. Links are never followed.
    Files in `broken` are hashed and not read, with the code and sentence given for them.
    """
    from yaosu_validators.describing.cards import read_card
    from yaosu_validators.describing.compose import compose
    from yaosu_validators.describing.edits import merge
    from yaosu_validators.describing.inventory import group, identify, names_of, roots_of, walk
    from yaosu_validators.describing.measure import measure

    starts = [Path(paths)] if isinstance(paths, str | Path) else [Path(path) for path in paths]
    if not starts:
        raise InvalidInput("nothing to describe", "没有可描述的内容")
    base, relative = roots_of(starts)
    kept, skipped = walk(base, relative)
    if not kept:
        raise InvalidInput("there is no file to describe", "没有可描述的文件", skipped=len(skipped))
    files = [identify(base, path) for path in kept]
    tell = _Teller(progress, sum(file.size_bytes for file in files))
    measured = []
    for item in group(files):
        measured += list(measure(base, item, tell, broken or {}))
    for found, title in zip(measured, names_of([m.group for m in measured]), strict=True):
        found.group = replace(found.group, name=title)
    card = read_card(base, [file.path for file in files if file.role == "documentation"])
    fresh = compose(name or os.path.basename(os.path.abspath(base)), card, measured, _moment(now))
    merged = merge(existing, fresh)
    return Description(
        descriptor=merged.descriptor,
        todo=_todo(merged.descriptor, merged.problems, measured),
        changed=[change.as_json() for change in merged.changes],
        skipped=[item.as_json() for item in skipped],
    )


class _Teller:
    """Adds up bytes and passes them on."""

    def __init__(self, progress: Progress | None, total: int) -> None:
        self._progress, self._total, self._done = progress, total, 0

    def __call__(self, path: str, n: int) -> None:
        self._done += n
        if self._progress is not None:
            self._progress(self._done, self._total, path)


def _moment(now: datetime | None) -> str:
    moment = (now or datetime.now(UTC)).astimezone(UTC)
    return moment.isoformat(timespec="seconds").replace("+00:00", "Z")


def _todo(
    descriptor: Mapping[str, Any], problems: Sequence[Problem], measured: Sequence[Any]
) -> list[Problem]:
    """Return what the files themselves need first, then what the market still asks for."""
    from yaosu_schemas.documents import descriptor_problems

    found = []
    places = {
        path: number
        for number, resource in enumerate(descriptor["resources"])
        for path in _paths(resource)
    }
    for item in measured:
        for path, code, text in item.troubles:
            found.append(
                Problem(
                    pointer=f"/resources/{places.get(path, 0)}",
                    code=code,
                    en=f"{path}: {text.en}",
                    zh=f"{path}：{text.zh}",
                    severity="warning" if code in _ADVICE else "error",
                )
            )
    return [*found, *problems, *descriptor_problems(descriptor, "submit")]


def _paths(resource: object) -> list[str]:
    path = resource.get("path") if isinstance(resource, dict) else None
    return [path] if isinstance(path, str) else list(path or ())


class _Callable(ModuleType):
    """Lets `yaosu_validators.describe(...)` work although importing this module takes the name."""

    def __call__(self, *args: Any, **named: Any) -> Description:
        return describe(*args, **named)


sys.modules[__name__].__class__ = _Callable
