"""Bilingual catalog records of data sources, as drafts of metadata without files.

One JSON file is one record: `id`, `name` and `description` in `en` and `zh`, `website`,
`data_url`, `api_url`, `domains`, `tags`, `country`, `geographic_scope`, `update_frequency`,
`data_content`. What a record does not say (licence, holder's number, files, price) stays open:
a person fills it in before the draft can be submitted.
"""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any

from yaosu_schemas.canonical import digest
from yaosu_schemas.codes import code_list
from yaosu_schemas.documents import PROFILE
from yaosu_schemas.errors import InvalidInput, Problem, Text, YaosuError
from yaosu_schemas.texts import clip, text_problem

from . import local
from .connector import About, Record, Skipped

KNOWN = frozenset(
    ("id", "name", "description", "website", "data_url", "api_url", "authority_level", "country",
     "domains", "geographic_scope", "update_frequency", "tags", "data_content")
)  # fmt: skip
# Their word for how often, and ours (b.7 knows no quarter).
FREQUENCY = {
    "real-time": "realtime",
    "daily": "daily",
    "weekly": "weekly",
    "monthly": "monthly",
    "quarterly": "other",
    "annual": "yearly",
    "irregular": "other",
}
SCOPE = {"global": "international", "regional": "international", "national": "national"}


class BilingualRecords:
    """Harvests a folder (with what lies below it) of bilingual records."""

    def about(self) -> About:
        return About(
            name="bilingual-records",
            title=Text("Bilingual catalog records", "双语目录记录"),
            speaks=("bilingual data source record v2",),
        )

    def harvest(self, source: str, /) -> Iterator[Record | Skipped]:
        return _harvest(local.open_root(source))


def _harvest(root: Path) -> Iterator[Record | Skipped]:
    for step in local.walk(root):
        if isinstance(step, local.Refused):
            yield Skipped(origin_id=step.path, why=step.why)
            continue
        for name in step.files:
            if name.endswith(".json"):
                path = f"{step.path}/{name}" if step.path else name
                yield _read(root / path, path)


def _read(file: Path, path: str) -> Record | Skipped:
    try:
        said = local.read_document(file)
        _check(said)
        document, notes = draft(said)
        return Record(
            origin_id=said["id"],
            kind="dataset",
            document=document,
            digest=digest(said),
            notes=tuple(notes),
        )
    except (YaosuError, OSError) as e:
        return Skipped(origin_id=path, why=local.why_not(e))


def draft(said: Mapping[str, Any]) -> tuple[dict[str, Any], list[Problem]]:
    """Return the descriptor of one record, and a note for each word that has no code of ours."""
    name, text = said["name"], said["description"]
    title = " · ".join(dict.fromkeys(filter(None, (name.get("zh"), name.get("en")))))
    holder = name.get("zh") or name["en"]
    notes: list[Problem] = []
    sources = [
        {"title": label, "path": said[key]}
        for key, label in (("data_url", "数据入口 Data"), ("api_url", "接口 API"))
        if said.get(key)
    ]
    descriptor: dict[str, Any] = {
        "$schema": PROFILE,
        "name": said["id"],
        "title": title,
        "description": _description(text, said.get("data_content") or {}),
        "keywords": list(dict.fromkeys([*said.get("tags", []), *said.get("domains", [])])),
        "contributors": [
            {"title": holder, "path": said.get("website"), "roles": ["publisher"]}
            if said.get("website")
            else {"title": holder, "roles": ["publisher"]}
        ],
    }
    if said.get("website"):
        descriptor["homepage"] = said["website"]
    if sources:
        descriptor["sources"] = sources
    element: dict[str, Any] = {"holder": {"name": holder}}
    element |= _industry(said.get("domains", []))
    element |= _coverage(said, notes)
    element |= _frequency(said, notes)
    descriptor["dataElement"] = element
    for key in sorted(set(said) - KNOWN):
        en, zh = f"{clip(key)!r} is not carried over", f"字段“{clip(key)}”未导入"
        notes.append(_note(f"/{key}", en, zh))
    return descriptor, notes


def _description(text: Mapping[str, str], content: Mapping[str, list[str]]) -> str:
    """Return both languages as Markdown, Chinese first, each with its list of contents."""
    parts: list[str] = []
    for language, heading in (("zh", "数据内容"), ("en", "Contents")):
        if text.get(language):
            parts.append(text[language])
        if content.get(language):
            lines = "\n".join(f"- {line}" for line in content[language])
            parts.append(f"**{heading}**\n\n{lines}")
    return "\n\n".join(parts)


def _industry(domains: list[str]) -> dict[str, Any]:
    """Return the industry of the first subject that has one, and all fields of action."""
    table = _domains()
    known = [table[domain] for domain in domains if domain in table]
    industry: dict[str, Any] = {}
    sections = [row["gbt4754"] for row in known if row["gbt4754"]]
    if sections:
        industry["gbt4754"] = sections[0]
    for key in ("dex12", "hq_field"):
        fields = list(dict.fromkeys(row[key] for row in known if row[key]))
        if fields:
            industry[key] = fields
    return {"industry": industry} if industry else {}


def _coverage(said: Mapping[str, Any], notes: list[Problem]) -> dict[str, Any]:
    scope = said.get("geographic_scope")
    if scope is None:
        return {}
    if scope in SCOPE:
        return {"coverage": {"spatial_level": SCOPE[scope]}}
    en = f"the scope {clip(scope)!r} leaves open which level of division is meant"
    zh = f"地域范围“{clip(scope)}”未说明具体层级"
    notes.append(_note("/geographic_scope", en, zh))
    return {}


def _frequency(said: Mapping[str, Any], notes: list[Problem]) -> dict[str, Any]:
    told = said.get("update_frequency")
    if told is None:
        return {}
    code = FREQUENCY.get(told)
    if code is None or (code == "other" and told != "irregular"):
        en = f"the frequency {clip(told)!r} has no code of its own"
        zh = f"更新频率“{clip(told)}”没有对应代码"
        notes.append(_note("/update_frequency", en, zh))
    return {"update_frequency": code} if code in code_list("update_frequency") else {}


def _note(pointer: str, en: str, zh: str) -> Problem:
    return Problem(pointer=pointer, code="not_mapped", en=en, zh=zh, severity="warning")


@cache
def _domains() -> Mapping[str, Mapping[str, str]]:
    text = (files("yaosu_connectors") / "domains.csv").read_text("utf-8")
    return {row["domain"]: row for row in csv.DictReader(text.splitlines())}


# --- what a record must be ---------------------------------------------------------------------


def _check(said: object) -> None:
    """Refuse what is no such record, with the field that says so."""
    if not isinstance(said, dict):
        raise InvalidInput("the record is not an object", "记录不是 JSON 对象")
    if not isinstance(said.get("id"), str) or not said["id"]:
        raise InvalidInput("`id` is missing", "缺少 `id`")
    for field in ("name", "description"):
        value = said.get(field)
        if not isinstance(value, dict) or not (value.get("en") or value.get("zh")):
            raise InvalidInput(f"`{field}` has neither `en` nor `zh`", f"`{field}` 缺少中英文内容")
        _texts(field, list(value.values()))
    for field in ("domains", "tags"):
        _texts(field, said.get(field, []))
    for field in ("id", "website", "data_url", "api_url", "geographic_scope", "update_frequency"):
        _texts(field, [said[field]] if said.get(field) is not None else [])
    content = said.get("data_content") or {}
    if not isinstance(content, dict):
        raise InvalidInput("`data_content` is not an object", "`data_content` 不是 JSON 对象")
    for lines in content.values():
        _texts("data_content", lines)


def _texts(field: str, values: object) -> None:
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise InvalidInput(f"`{field}` does not hold text", f"`{field}` 的内容不是文本")
    for value in values:
        problem = text_problem(value)
        if problem is not None:
            raise InvalidInput(f"`{field}`: {problem.en}", f"`{field}`：{problem.zh}")
