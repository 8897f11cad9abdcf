"""Places in a document: read one without trusting its type, and tell what is wrong there."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from yaosu_schemas.errors import Problem, Text

from .conformance import label, pointer
from .identifiers import uscc

Place = tuple[str | int, ...]

ELEMENT = "dataElement"


def missing(place: Place, why: Text, schema: str = "dataset") -> Problem:
    """Return that a place is empty and a condition asks for it."""
    words = label(schema, place)
    return Problem(
        pointer=pointer(place),
        code="missing",
        en=f"{words.en}: it is missing; {why.en}",
        zh=f"{words.zh}：尚未填写；{why.zh}",
        severity="missing",
    )


def wrong(
    place: Place, code: str, text: Text, severity: str = "error", schema: str = "dataset"
) -> Problem:
    """Return that a value contradicts another one, or the law."""
    words = label(schema, place)
    return Problem(
        pointer=pointer(place),
        code=code,
        en=f"{words.en}: {text.en}",
        zh=f"{words.zh}：{text.zh}",
        severity=severity,
    )


def part(value: Mapping[str, Any], key: str) -> dict[str, Any]:
    """Return an object below a key, empty where there is none."""
    inner = value.get(key)
    return inner if isinstance(inner, dict) else {}


def rows(value: Mapping[str, Any], key: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the objects of a list below a key with their positions."""
    inner = value.get(key)
    if isinstance(inner, list):
        for i, row in enumerate(inner):
            if isinstance(row, dict):
                yield i, row


def strings(value: Mapping[str, Any], key: str) -> list[str]:
    """Return the texts of a list below a key."""
    inner = value.get(key)
    return [v for v in inner if isinstance(v, str)] if isinstance(inner, list) else []


def are_counts(values: list[Any]) -> bool:
    """Say whether all values are whole numbers (true is none)."""
    return all(isinstance(v, int) and not isinstance(v, bool) for v in values)


def uscc_warnings(
    value: Mapping[str, Any], key: str, place: Place, schema: str = "dataset"
) -> Iterator[Problem]:
    """Yield what is odd about a credit code that passes its outer check."""
    code = value.get(key)
    if isinstance(code, str):
        for text in uscc(code).warnings:
            yield wrong((*place, key), "uscc_inner", text, "warning", schema)
