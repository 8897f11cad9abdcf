"""Puts what was measured into the words of a Data Package and its `dataElement`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from yaosu_schemas.codes import code_list
from yaosu_schemas.documents import PROFILE
from yaosu_validators.media import KINDS

from .cards import Card
from .inventory import slug
from .language import Languages
from .measure import Measured
from .shapes import in_order

_FLAT = frozenset(("csv", "tsv", "parquet", "arrow", "arrows", "xlsx", "xls", "ods"))
_MEDIA = ("image", "audio", "video")
_TEMPORAL = frozenset(("date", "datetime", "yearmonth", "year"))
_NUMERIC = frozenset(("number", "integer"))


def compose(name: str, card: Card, items: Sequence[Measured], created: str) -> dict[str, Any]:
    """Return a descriptor of what was found; what only a person knows is left out."""
    descriptor: dict[str, Any] = {
        "$schema": PROFILE,
        "name": slug(name) or "dataset",
        "title": card.title or name,
    }
    if card.description:
        descriptor["description"] = card.description
    descriptor |= {"version": "1.0.0", "created": created}
    if card.keywords:
        descriptor["keywords"] = list(card.keywords)
    if card.licence:
        licence = {"name": card.licence}
        if card.licence_path:
            licence["path"] = card.licence_path
        descriptor["licenses"] = [licence]
    descriptor["resources"] = [resource_of(item) for item in items]
    descriptor["dataElement"] = _element(card, items)
    return descriptor


def resource_of(item: Measured) -> dict[str, Any]:
    """Return one resource: a path, or a list of paths with the measure of each part."""
    file, parts = item.first, item.parts
    kind = KINDS.get(item.format, file.kind)
    resource: dict[str, Any] = {
        "name": item.group.name,
        "type": _type(item),
        "path": parts[0].path if len(parts) == 1 else [part.path for part in parts],
    }
    if kind.format:
        resource["format"] = kind.format
    resource["mediatype"] = kind.mediatype
    if file.compression:
        resource["compression"] = file.compression
    if item.tables and item.tables[0].encoding:
        resource["encoding"] = item.tables[0].encoding
    if len(parts) == 1:
        resource |= {"bytes": item.size_bytes, "hash": parts[0].hash}
    else:  # `bytes` and `hash` of several files would be those of the files joined, as a table
        resource["parts"] = [
            {"path": part.path, "bytes": part.size_bytes, "hash": part.hash} for part in parts
        ]
    dialect = dict(item.tables[0].dialect) if item.tables else {}
    if any(table.sparse for table in item.tables):
        # Without it the columns are those of the first record, and others are never looked at.
        dialect["itemKeys"] = [field["name"] for field in item.fields]
    if dialect:
        resource["dialect"] = dialect
    if item.fields:
        resource["schema"] = {"fields": [dict(field) for field in item.fields]}
    if resource["type"] == "table" and item.sound and item.fields:
        resource["rows"] = item.rows
    if file.role != "data":
        resource["role"] = file.role
    return resource


def _type(item: Measured) -> str:
    if item.fields or item.family == "sheet":
        return "table"
    if item.format in ("json", "jsonl") and item.tables and not item.first.posing:
        return "json"
    return "text" if item.family == "text" else "file"


# --- dataElement ---------------------------------------------------------------------------------


def _element(card: Card, items: Sequence[Measured]) -> dict[str, Any]:
    real = [item for item in items if not item.first.posing]
    data = [item for item in real if item.first.role == "data"] or [
        item for item in real if item.first.role == "metadata"
    ]
    element: dict[str, Any] = {"size": _size(items, data)}
    form = _form(data)
    if form:
        element["form"] = form
    modalities = _modalities(data)
    languages = _languages(card, data, modalities)
    if languages:
        element["languages"] = languages
    ai = _ai(card, data, modalities, element["size"].get("records"))
    if ai:
        element["ai"] = ai
    if card.licence:
        element["license_spdx"] = card.licence
    return element


def _size(items: Sequence[Measured], data: Sequence[Measured]) -> dict[str, Any]:
    size: dict[str, Any] = {}
    records = _records(data)
    if records is not None:
        size["records"] = records
    size["bytes"] = sum(item.size_bytes for item in items)
    images = sum(len(item.parts) for item in data if item.family == "image")
    images += sum(listing.families.get("image", 0) for i in data for listing in i.listings)
    if images:
        size["images"] = images
    seconds = sum(m.duration_s or 0.0 for item in data for m in item.media if m is not None)
    if seconds:
        size["duration_s"] = round(seconds, 3)
    return size


def _records(data: Sequence[Measured]) -> int | None:
    """Return the rows of the tables; without any, the lines of text, else the media files."""
    for families in (("table", "sheet", "archive", "array"), ("text",)):
        counts = [item.rows for item in data if item.family in families]
        known = [count for count in counts if count is not None]
        if known:
            return sum(known)
    files = [len(item.parts) for item in data if item.family in _MEDIA or item.family == "points"]
    return sum(files) if files else None


def _form(data: Sequence[Measured]) -> dict[str, Any]:
    content: set[str] = set()
    flat = loose = 0
    for item in data:
        if item.family in _MEDIA:
            content.add(item.family)
            loose += 1
        elif item.family in ("table", "sheet"):
            content.add("text" if item.wordy or item.shape.name else "table")
            flat += item.format in _FLAT and not item.wordy
        elif item.family == "text":
            content.add("text")
            loose += 1
        elif item.listings:
            inner = {family for listing in item.listings for family in listing.families}
            content |= (inner & {*_MEDIA, "text"}) or {"other"}
            loose += 1
        else:
            content.add("other")
            loose += 1
        content |= {family for table in item.tables for family in table.embedded}
    if not content:
        return {}
    structure = "structured" if flat == len(data) else "semi_structured"
    if loose == len(data):
        structure = "unstructured"
    return {"content": in_order(content, code_list("content_form").codes), "structure": structure}


def _modalities(data: Sequence[Measured]) -> list[str]:
    found: set[str] = set()
    for item in data:
        found |= set(item.shape.modalities)
        if item.wordy:
            found.add("text")
        found |= {family for table in item.tables for family in table.embedded}
        found |= {f for listing in item.listings for f in listing.families} & {*_MEDIA, "text"}
        if item.family in _MEDIA:
            found.add(item.family)
        found |= {"points": {"point_cloud"}, "code": {"code"}}.get(item.family, set())
        if item.format in ("nii", "h5"):
            found.add("scientific")
        if _is_series(item):
            found.add("time_series")
    return in_order(found, code_list("modality").codes)


def _is_series(item: Measured) -> bool:
    """Say whether a table is one moment and figures: a series over time."""
    types = [field["type"] for field in item.fields]
    if len(types) < 2 or types[0] not in _TEMPORAL:
        return False
    return all(kind in _NUMERIC for kind in types[1:])


def _languages(card: Card, data: Sequence[Measured], modalities: list[str]) -> list[str]:
    if card.languages:
        return [tag for tag in card.languages if 2 <= len(tag) <= 35]
    if "text" not in modalities:
        return []
    tally = Languages()
    for item in data:
        if item.wordy:
            tally.merge(item.languages)
    return tally.tags()


def _ai(
    card: Card, data: Sequence[Measured], modalities: list[str], records: int | None
) -> dict[str, Any]:
    ai: dict[str, Any] = {}
    if modalities:
        ai["modalities"] = modalities
    stages = in_order(_stages(data), code_list("stage").codes)
    if stages:
        ai["stage"] = stages
    if card.tasks:
        ai["tasks"] = list(card.tasks)
    splits = _splits(data, records)
    if splits:
        ai["splits"] = splits
    return ai


def _stages(data: Sequence[Measured]) -> Iterable[str]:
    for item in data:
        if item.rows:
            yield from item.shape.stages
        if item.format == "txt" and item.wordy:
            yield "pretraining"


def _splits(data: Sequence[Measured], records: int | None) -> list[dict[str, Any]]:
    """Return the splits that names tell, if every record belongs to one of them."""
    counts: dict[str, int] = {}
    for item in data:
        for file, rows in _rows_of_files(item):
            split = file.split
            if rows is None or (not split and rows):
                return []
            if rows:
                counts[split] = counts.get(split, 0) + rows
    if not counts or sum(counts.values()) != records:
        return []
    names = in_order(counts, ("train", "validation", "test"))
    return [{"name": name, "records": counts[name]} for name in names]


def _rows_of_files(item: Measured) -> Iterable[tuple[Any, int | None]]:
    if item.family in _MEDIA:
        return [(file, 1) for file in item.group.files]
    if len(item.tables) == len(item.group.files):
        return [(f, t.rows) for f, t in zip(item.group.files, item.tables, strict=True)]
    if not item.tables and not item.listings:
        return [(item.first, 0)]
    return [(item.first, item.rows)]
