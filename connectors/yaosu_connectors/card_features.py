"""Columns as the dataset libraries of model hubs name them, and as a Table Schema names them.

A card lists features with a name and a `dtype` (or `list`, `struct`, `class_label`); an older
`dataset_infos.json` nests objects with `_type`. What a Table Schema has no word for (the width
of a number) is kept beside the field as `feature`, so that it is written as it was read.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from yaosu_schemas.texts import clip

DEEP = 8
# The one that is meant where a field says no more than its type.
DEFAULTS = {"string": "string", "integer": "int64", "number": "float64", "boolean": "bool"}
_TYPES = {
    "bool": "boolean", "string": "string", "large_string": "string", "float16": "number",
    "float32": "number", "float64": "number", "date32": "date", "date64": "date",
    **{f"{sign}int{bits}": "integer" for sign in ("", "u") for bits in (8, 16, 32, 64)},
}  # fmt: skip
_MEDIA = frozenset(("image", "audio", "video", "pdf", "nifti", "mesh"))


def fields(features: object) -> list[dict[str, Any]]:
    """Return the features of a card, or of a `dataset_infos.json`, as fields of a Table Schema."""
    return [_field(name, feature) for name, feature in _named(features)]


def features(schema: object) -> list[dict[str, Any]] | None:
    """Return the features of a Table Schema; None where a type has no sure equal.

    A wrong claim keeps the library from loading the data at all: dates, which CSV and JSON carry
    as text, are left to the library, and with them the whole list.
    """
    listed = schema.get("fields") if isinstance(schema, Mapping) else None
    found: list[dict[str, Any]] = []
    for field in listed if isinstance(listed, list) else []:
        if not isinstance(field, Mapping) or not isinstance(field.get("name"), str):
            return None
        kept = field.get("feature")
        if isinstance(kept, Mapping):
            said = dict(kept)
        elif str(field.get("type")) in DEFAULTS and "format" not in field:
            said = {"dtype": DEFAULTS[str(field["type"])]}
        else:
            return None
        found.append({"name": field["name"], **said})
    return found or None


def _named(said: object) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield (name, feature) of both spellings; what has no name is left out."""
    if isinstance(said, Mapping):
        for name, feature in said.items():
            if isinstance(name, str):
                yield name, _modern(feature)
        return
    for feature in said if isinstance(said, list) else []:
        if isinstance(feature, Mapping) and isinstance(feature.get("name"), str):
            yield feature["name"], {k: v for k, v in feature.items() if k != "name"}


def _modern(said: object, depth: int = 0) -> dict[str, Any]:
    """Return a feature of a `dataset_infos.json` as a card says it."""
    if isinstance(said, list):
        return {"list": _item(_modern(said[0], depth + 1) if said and depth < DEEP else {})}
    if not isinstance(said, Mapping) or depth > DEEP:
        return {}
    kind = str(said.get("_type", ""))
    if kind == "Value":
        return {"dtype": str(said.get("dtype", "string"))}
    if kind == "ClassLabel":
        names = said.get("names")
        named = names if isinstance(names, list) else []
        labels = {str(n): str(name) for n, name in enumerate(named)}
        return {"dtype": {"class_label": {"names": labels}}}
    if kind in ("Sequence", "List", "LargeList"):
        return {"list": _item(_modern(said.get("feature"), depth + 1))}
    if kind.lower() in _MEDIA:
        return {"dtype": kind.lower()}
    inner = said.items() if not kind else ()
    return {"struct": [{"name": str(n), **_modern(f, depth + 1)} for n, f in inner]}


def _item(feature: dict[str, Any]) -> Any:
    """Return what a list holds: a plain type by its name alone, a struct as its list."""
    if isinstance(feature.get("dtype"), str):
        return feature["dtype"]
    return feature.get("struct", feature)


def _field(name: str, feature: Mapping[str, Any]) -> dict[str, Any]:
    kind = _kind(feature)
    found: dict[str, Any] = {"name": clip(name, 300), "type": kind}
    if labels := _labels(feature.get("dtype")):
        found["categories"] = labels
    if feature and feature != {"dtype": DEFAULTS.get(kind)}:
        found["feature"] = dict(feature)
    return found


def _kind(feature: Mapping[str, Any]) -> str:
    """Return the type of a Table Schema that a feature is."""
    dtype = feature.get("dtype")
    if isinstance(dtype, Mapping):
        return "integer" if "class_label" in dtype else "any"
    if isinstance(dtype, str):
        if dtype in _MEDIA or "struct" in feature:
            return "object"
        if dtype.startswith("timestamp"):
            return "datetime"
        if re.match(r"time(32|64)", dtype):
            return "time"
        return "number" if dtype.startswith("decimal") else _TYPES.get(dtype, "any")
    if any(key in feature for key in ("list", "sequence", "large_list")):
        return "array"
    return "object" if "struct" in feature else "any"


def _labels(dtype: object) -> list[dict[str, Any]]:
    """Return the classes of a label as categories of a field (Table Schema v2)."""
    label = dtype.get("class_label") if isinstance(dtype, Mapping) else None
    names = label.get("names") if isinstance(label, Mapping) else None
    if isinstance(names, list):
        names = dict(enumerate(names))
    if not isinstance(names, Mapping):
        return []
    return [
        {"value": int(number), "label": str(name)}
        for number, name in names.items()
        if str(number).isascii() and str(number).isdigit()
    ]
