"""What a README and a licence file say about the data beside them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from yaosu_schemas.errors import InvalidInput

_MOST_BYTES = 1 << 20
_DOCUMENT = re.compile(
    r"(readme|licen[cs]e|copying|notice|changelog|changes|citation|contributing|authors|data_?card)"
    r"([._-].*)?",
    re.IGNORECASE,
)
_LICENCE_FILE = re.compile(r"(licen[cs]e|copying)([._-].*)?", re.IGNORECASE)
_README = re.compile(r"readme([._-].*)?", re.IGNORECASE)
_MARKUP = re.compile(r"!\[[^\]]*\]\([^)]*\)|<[^>]{1,200}>")
_LINK = re.compile(r"\[([^\]]*)\]\([^)]*\)")
_SPDX_LINE = re.compile(r"SPDX-License-Identifier:\s*([A-Za-z0-9.+-]+)")

# What every copy of a licence says, in an order where the narrower comes first.
_PHRASES: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("AGPL-3.0-only", ("gnu affero general public license", "version 3")),
    ("LGPL-3.0-only", ("gnu lesser general public license", "version 3")),
    ("LGPL-2.1-only", ("gnu lesser general public license", "version 2.1")),
    ("GPL-3.0-only", ("gnu general public license", "version 3")),
    ("GPL-2.0-only", ("gnu general public license", "version 2")),
    ("Apache-2.0", ("apache license", "version 2.0")),
    ("MPL-2.0", ("mozilla public license", "version 2.0")),
    ("CC0-1.0", ("cc0 1.0 universal",)),
    ("CC-BY-NC-SA-4.0", ("attribution-noncommercial-sharealike 4.0",)),
    ("CC-BY-NC-ND-4.0", ("attribution-noncommercial-noderivatives 4.0",)),
    ("CC-BY-NC-4.0", ("attribution-noncommercial 4.0",)),
    ("CC-BY-SA-4.0", ("attribution-sharealike 4.0",)),
    ("CC-BY-ND-4.0", ("attribution-noderivatives 4.0",)),
    ("CC-BY-4.0", ("attribution 4.0 international",)),
    ("ODbL-1.0", ("open database license", "odbl")),
    ("PDDL-1.0", ("public domain dedication", "pddl")),
    ("ODC-By-1.0", ("open data commons attribution license",)),
    ("CDLA-Permissive-2.0", ("community data license agreement", "permissive", "version 2.0")),
    ("CDLA-Sharing-1.0", ("community data license agreement", "sharing", "version 1.0")),
    ("MulanPSL-2.0", ("mulan psl v2",)),
    ("MulanPSL-2.0", ("木兰宽松许可证", "第2版")),
    ("Unlicense", ("this is free and unencumbered software released into the public domain",)),
    ("MIT", ("permission is hereby granted, free of charge", "without restriction")),
    (
        "BSD-3-Clause",
        ("redistribution and use in source and binary forms", "neither the name"),
    ),
    ("BSD-2-Clause", ("redistribution and use in source and binary forms",)),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """What the documents of a folder say; "" and () where they say nothing."""

    title: str = ""
    description: str = ""
    licence: str = ""
    licence_path: str = ""
    languages: tuple[str, ...] = ()
    keywords: tuple[str, ...] = ()
    tasks: tuple[str, ...] = ()


def is_document(name: str) -> bool:
    """Say whether a file name is that of a document about the data, such as a README."""
    stem = name.lower()
    return bool(_DOCUMENT.fullmatch(stem)) and not stem.endswith(
        (".json", ".jsonl", ".csv", ".parquet", ".gz", ".zst", ".zip")
    )


def read_card(folder: Path, paths: list[str]) -> Card:
    """Read the README and the licence among `paths`, those at the top of the folder first."""
    paths = sorted(paths, key=lambda path: (path.count("/"), path))
    readmes = [path for path in paths if _README.fullmatch(path.rpartition("/")[2])]
    front: Mapping[str, Any] = {}
    title = description = ""
    top = [path for path in readmes if "/" not in path]
    if top:
        front, body = _front_matter(_text(folder / top[0]))
        title, description = _heading_and_paragraph(body)
    licence, licence_path = _licence(folder, paths, front)
    return Card(
        title=_one_line(front.get("pretty_name")) or title,
        description=description,
        licence=licence,
        licence_path=licence_path,
        languages=_words(front.get("language")),
        keywords=_words(front.get("tags")),
        tasks=_words(front.get("task_categories")) or _words(front.get("task_ids")),
    )


def spdx_of(name: str) -> str:
    """Return the SPDX expression that a name means, in its own spelling, or ""."""
    from yaosu_schemas.licences import canonical

    try:
        return canonical(name)
    except InvalidInput:
        return ""


def licence_in(text: str) -> str:
    """Return the SPDX identifier of a licence text, or "" where it is none of the usual ones."""
    named = _SPDX_LINE.search(text)
    if named:
        return spdx_of(named[1]) or named[1]
    flat = " ".join(text.lower().split())
    for spdx, phrases in _PHRASES:
        if all(phrase in flat for phrase in phrases):
            return spdx
    return ""


def _licence(folder: Path, paths: list[str], front: Mapping[str, Any]) -> tuple[str, str]:
    files = [path for path in paths if _LICENCE_FILE.fullmatch(path.rpartition("/")[2])]
    declared = next((spdx for name in _words(front.get("license")) if (spdx := spdx_of(name))), "")
    for path in files:
        found = licence_in(_text(folder / path))
        if found and (not declared or found == declared):
            return found, path
    return declared, ""


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            return file.read(_MOST_BYTES).decode("utf-8-sig", "replace")
    except OSError:
        return ""


def _front_matter(text: str) -> tuple[Mapping[str, Any], str]:
    """Split a dataset card into its YAML head and its body."""
    if not text.startswith("---\n"):
        return {}, text
    head, mark, body = text[4:].partition("\n---")
    if not mark or len(head) > 1 << 16:
        return {}, text
    import yaml

    try:
        front = yaml.safe_load(head)
    except (yaml.YAMLError, ValueError, RecursionError):
        return {}, body
    return (front if isinstance(front, dict) else {}), body


def _heading_and_paragraph(body: str) -> tuple[str, str]:
    """Return the heading that a text opens with, if it does, and its first real paragraph."""
    title = ""
    lines = [
        line for line in body.splitlines() if not _MARKUP.sub("", _LINK.sub("", line)).isspace()
    ]
    opening = next((n for n, line in enumerate(lines) if _MARKUP.sub("", line).strip()), 0)
    if lines:
        first, below = lines[opening], "".join(lines[opening + 1 : opening + 2])
        if first.startswith("# ") or re.fullmatch(r"=+\s*", below):
            title = _one_line(first.lstrip("# "))
            lines = lines[opening + 1 :]
    for block in re.split(r"\n\s*\n", "\n".join(lines)):
        plain = _LINK.sub(r"\1", _MARKUP.sub("", block)).strip()
        if re.match(r"[#=>|`*+-]|\d+\.|---", plain) or len(re.findall(r"\w", plain)) < 20:
            continue
        return title, _clip(" ".join(plain.split()), 400)
    return title, ""


def _words(value: object) -> tuple[str, ...]:
    values = value if isinstance(value, list) else [value]
    return tuple(word for item in values[:50] if (word := _one_line(item)))


def _one_line(value: object) -> str:
    if not isinstance(value, str | int | float) or isinstance(value, bool):
        return ""
    text = _LINK.sub(r"\1", _MARKUP.sub("", str(value)))
    return _clip(" ".join(text.split()), 200)


def _clip(text: str, most: int) -> str:
    return text if len(text) <= most else text[: most - 1].rstrip() + "…"
