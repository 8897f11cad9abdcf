"""One door to every kind of document: its schema, and all that is wrong with one, at once.

A descriptor is judged at two stages. As a *draft* it may lack anything (severity `missing`) but
must not be malformed (`error`); a plain Data Package of version 1 or 2 is a draft. At *submit*
what was missing is an error. `warning` marks advice at both stages.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any, Literal

from yaosu_schemas.errors import InvalidDocument, Problem

from . import conformance
from .codes import code_list

PROFILE = "urn:yaosu:schema:dataset:1.0"
Stage = Literal["draft", "submit"]


def load(name: str) -> dict[str, Any]:
    """Return a copy of one of our JSON Schemas, code lists written out as `enum`."""
    schema: dict[str, Any] = _published(conformance.load(name))
    return schema


def names() -> tuple[str, ...]:
    """Return the names of all our schemas."""
    return conformance.schema_names()


def check(document: object, against: str = "dataset", *, missing: bool = True) -> list[Problem]:
    """Return every problem of a document, with JSON pointers and sentences in two languages."""
    conformance.load(against)  # an unknown name is refused before anything is read
    ready, problems = conformance.json_ready(document)
    if ready is None:
        return problems or [_not_an_object(against)]
    problems += conformance.conform(ready, against, missing=missing)
    problems += conformance.unsafe_texts(ready, against, _OPAQUE)
    problems += _rules(against, ready)
    if against != "dataset":
        # Only a descriptor has a draft stage; a record that lacks something is wrong.
        problems = [_required(p) for p in problems]
    return _tidy(problems, against)


def descriptor_problems(descriptor: object, stage: Stage = "draft") -> list[Problem]:
    """Return what is wrong with, and what is missing from, the descriptor of a dataset."""
    problems = check(descriptor, "dataset")
    if stage == "submit":
        return [_required(p) for p in problems]
    return [replace(p, severity="missing") if _lenient(p) else p for p in problems]


def breaks(descriptor: object) -> list[Problem]:
    """Return what even a draft of a dataset may not say; what is missing is not looked for."""
    found = check(descriptor, "dataset", missing=False)
    return [p for p in found if p.severity == "error" and not _lenient(p)]


def refuse(problems: list[Problem]) -> None:
    """Raise InvalidDocument with every error among the problems, if there is one."""
    errors = [p for p in problems if p.severity == "error"]
    if errors:
        raise InvalidDocument(errors)


def public_view(descriptor: Mapping[str, Any]) -> dict[str, Any]:
    """Return the descriptor as everybody may see it: without the applicant's private fields."""
    shown: dict[str, Any] = _without_private(descriptor, conformance.load("dataset"))
    return shown


@cache
def _example_text() -> str:
    return (Path(__file__).parent / "json" / "example-dataset.json").read_text(encoding="utf-8")


def example() -> dict[str, Any]:
    """Return a complete descriptor of a fictitious company that passes at stage `submit`."""
    descriptor: dict[str, Any] = json.loads(_example_text())
    return descriptor


# Rows of strangers and tokens of a table's dialect are data, not words for readers.
_OPAQUE = frozenset({"data", "dialect", "missingValues", "views"})
# Outside `dataElement` only these make a draft unusable; the rest can be mended later.
_STRICT_CODES = frozenset({"maxlength", "not_json", "too_large", "unsafe_text", "unsafe_path"})
_STRICT_CODES |= {"format_address", "duplicate_resource"}


def _rules(against: str, document: Any) -> list[Problem]:
    if not isinstance(document, dict):
        return []
    if against == "dataset":
        from .dataset_rules import dataset_rules

        return list(dataset_rules(document))
    from .record_rules import record_rules

    return list(record_rules(against, document))


def _lenient(problem: Problem) -> bool:
    if problem.severity != "error" or problem.code in _STRICT_CODES:
        return False
    path = problem.pointer.split("/")[1:]
    if not path or path[0] == "dataElement":
        return False
    # `resources` itself, one of them, or its path: without these nothing can be read at all.
    return not (path[0] == "resources" and (len(path) <= 2 or path[2] == "path"))


def _required(problem: Problem) -> Problem:
    return replace(problem, severity="error") if problem.severity == "missing" else problem


def _tidy(problems: list[Problem], against: str) -> list[Problem]:
    rank = {"error": 0, "missing": 1, "warning": 2}
    tidy = sorted(
        dict.fromkeys(problems),
        key=lambda p: (rank[p.severity], conformance.order(against, p.pointer), p.code),
    )
    more = len(tidy) - conformance.MAX_PROBLEMS
    if more <= 0:
        return tidy
    return [
        *tidy[: conformance.MAX_PROBLEMS],
        Problem(
            pointer="",
            code="too_many",
            en=f"{more} more problems are not listed",
            zh=f"另有 {more} 个问题未列出",
            severity=tidy[conformance.MAX_PROBLEMS].severity,
        ),
    ]


def _not_an_object(against: str) -> Problem:
    schema = conformance.load(against)
    return Problem(
        pointer="",
        code="type",
        en=f"{schema['title']}: it must be an object",
        zh=f"{schema['title_zh']}：须为对象",
    )


def _published(node: Any) -> Any:
    if isinstance(node, list):
        return [_published(inner) for inner in node]
    if not isinstance(node, Mapping):
        return node
    out = {key: _published(inner) for key, inner in node.items()}
    name = out.get("x-codes")
    if isinstance(name, str) and "enum" not in out and not code_list(name).open:
        out["enum"] = list(code_list(name).codes)
    return out


def _without_private(value: Any, schema: Mapping[str, Any]) -> Any:
    schema = conformance.deref(schema)
    if isinstance(value, Mapping):
        properties = schema.get("properties", {})
        return {
            key: _without_private(inner, properties.get(key, {}))
            for key, inner in value.items()
            if not properties.get(key, {}).get("x-private")
        }
    if isinstance(value, list):
        return [_without_private(inner, schema.get("items", {})) for inner in value]
    return value
