"""Labels against fields: which column is which field, and what is wrong with the header.

The five ways of `fieldsMatch` (Table Schema v2) differ in two things: `exact` pairs by position,
the others by name; and each tolerates other mismatches.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from yaosu_schemas.errors import Text

from .check import Finding
from .fields import Field, Schema

_EXTRA_ALLOWED = ("subset", "partial")
_MISSING_ALLOWED = ("superset", "partial")


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """The outcome: one field for each column of the data, and the findings about labels."""

    labels: tuple[str, ...]
    columns: tuple[Field, ...]
    findings: tuple[Finding, ...]
    refused: Finding | None = None  # the pairing is ambiguous: no row can be judged


def match_header(labels: Sequence[str], schema: Schema, *, ignore_case: bool = False) -> Header:
    """Pair the labels with the fields of the schema."""
    fields = schema.fields
    by_name = schema.fields_match != "exact"
    if not labels:
        return Header(labels=(), columns=fields, findings=())
    if by_name:
        refused = _ambiguous(labels, schema, ignore_case)
        if refused is not None:
            return Header(labels=tuple(labels), columns=(), findings=(), refused=refused)
    found = _pairs(labels, fields, by_name, ignore_case)
    names = unique_names([f.name if f else label for f, label in zip(found, labels, strict=True)])
    columns = tuple(
        f if f is not None else Field(name=name, type="any")
        for f, name in zip(found, names, strict=True)
    )
    findings = [*_extra(labels, found, schema), *_missing(labels, found, schema)]
    if schema.fields_match == "partial" and fields and not any(found):
        findings.insert(
            len(findings) - len(_missing(labels, found, schema)),
            Finding(type="unmatched-header", labels=tuple(labels)),
        )
    if not by_name:
        findings += _by_position(labels, fields, ignore_case)
    return Header(labels=tuple(labels), columns=columns, findings=tuple(findings))


_TOLD = 100  # labels, or places, that one finding repeats


def unique_names(names: Sequence[str]) -> list[str]:
    """Rename duplicates to the first free `name2`, `name3` …; the first keeps its name."""
    if len(set(names)) == len(names):
        return list(names)
    result: list[str] = []
    used: set[str] = set()
    free: dict[str, int] = {}  # below this every suffix of a name is taken
    for name in names:
        new, suffix = name, free.get(name, 2)
        while new in used:
            new = f"{name}{suffix}"
            suffix += 1
        free[name] = suffix
        result.append(new)
        used.add(new)
    return result


def _key(name: str, ignore_case: bool) -> str:
    return name.lower() if ignore_case else name


def _pairs(
    labels: Sequence[str], fields: Sequence[Field], by_name: bool, ignore_case: bool
) -> list[Field | None]:
    if not by_name:
        return [fields[i] if i < len(fields) else None for i in range(len(labels))]
    known: dict[str, Field] = {}
    for field in fields:
        known.setdefault(_key(field.name, ignore_case), field)
    return [known.get(_key(label, ignore_case)) for label in labels]


def _ambiguous(labels: Sequence[str], schema: Schema, ignore_case: bool) -> Finding | None:
    keys: dict[str, str] = {}
    for field in schema.fields:
        first = keys.setdefault(_key(field.name, ignore_case), field.name)
        if first != field.name:
            return Finding(
                type="metadata-error",
                note=Text(
                    f"fields {first!r} and {field.name!r} differ only by case, which is ignored",
                    f"字段“{first}”与“{field.name}”仅大小写不同，而大小写被忽略",
                ),
            )
    if len({_key(label, ignore_case) for label in labels}) != len(labels):
        return Finding(
            type="error",
            note=Text(
                "matching by name needs labels that differ from each other",
                "按名称匹配要求表头列名互不相同",
            ),
            labels=tuple(labels),
        )
    return None


def _extra(labels: Sequence[str], found: Sequence[Field | None], schema: Schema) -> list[Finding]:
    if schema.fields_match in _EXTRA_ALLOWED:
        return []
    told = tuple(labels[:_TOLD])
    return [
        Finding(
            type="extra-label",
            label=label,
            field_name="",
            field_number=number,
            labels=told,
        )
        for number, (label, field) in enumerate(zip(labels, found, strict=True), start=1)
        if field is None
    ]


def _missing(labels: Sequence[str], found: Sequence[Field | None], schema: Schema) -> list[Finding]:
    told = tuple(labels[:_TOLD])
    there = {f.name for f in found if f is not None}
    absent = [f for f in schema.fields if f.name not in there]
    if schema.fields_match in _MISSING_ALLOWED:
        absent = [f for f in absent if f.required or f.name in schema.primary_key]
    return [
        Finding(
            type="missing-label",
            label="",
            field_name=field.name,
            field_number=number,
            labels=told,
        )
        for number, field in enumerate(absent, start=len(labels) + 1)
    ]


def _by_position(
    labels: Sequence[str], fields: Sequence[Field], ignore_case: bool
) -> list[Finding]:
    findings: list[Finding] = []
    if all(labels) and len(set(labels)) == len(labels) and list(labels) == [f.name for f in fields]:
        return findings
    told = tuple(labels[:_TOLD])
    places: dict[str, list[int]] = {}
    for number, (field, label) in enumerate(zip(fields, labels, strict=False), start=1):
        kind, note = "", Text("", "")
        before = places.setdefault(label, [])
        if not label:
            kind = "blank-label"
        elif before:
            where = ", ".join(map(str, before[:_TOLD])) + (", …" if before[_TOLD:] else "")
            kind, note = "duplicate-label", Text(f"at position {where}", f"在第 {where} 列")
        elif _key(label, ignore_case) != _key(field.name, ignore_case):
            kind = "incorrect-label"
        before.append(number)
        if kind:
            findings.append(
                Finding(
                    type=kind,
                    note=note,
                    label=label,
                    field_name=field.name,
                    field_number=number,
                    labels=told,
                )
            )
    return findings
