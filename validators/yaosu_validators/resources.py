"""One resource of a target: where its bytes lie, how they are written, what is promised."""

from __future__ import annotations

import contextlib
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from .dialects import Dialect, dialect_from
from .fields import Schema, schema_from
from .streams import COMPRESSIONS

TABLE_FORMATS = (
    "csv",
    "tsv",
    "json",
    "jsonl",
    "ndjson",
    "parquet",
    "arrow",
    "feather",
    "ipc",
    "xlsx",
    "xls",
    "ods",
)
_ALIASES = {"ndjson": "jsonl", "feather": "arrow", "ipc": "arrow", "pq": "parquet", "yml": "yaml"}
_TEXT = ("txt", "js", "ts", "r", "md")


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    """Everything that is needed to judge one resource; `root` never shows in a report."""

    name: str
    root: Path
    paths: tuple[str, ...] = ()
    data: Any = None
    type: str = "table"
    tabular: bool = False  # its descriptor says that it is a table
    format: str = ""
    compression: str | None = None
    inner_path: str | None = None
    scheme: str | None = None
    encoding: str | None = None
    dialect: Dialect = field(default_factory=Dialect)
    schema: Schema | None = None
    hash: str | None = None
    bytes: int | None = None
    fields: int | None = None
    rows: int | None = None
    parts: tuple[Mapping[str, Any], ...] = ()
    records: Mapping[str, Any] | None = None  # how records are understood, by their publisher
    split: str = ""  # train, validation or test, where it is declared
    languages: tuple[str, ...] = ()  # BCP 47, where they are declared

    @property
    def size(self) -> int:
        """Return the bytes of its files, those that are there."""
        total = 0
        for path in self.paths:
            with contextlib.suppress(OSError, ValueError):
                total += os.lstat(self.root / path).st_size
        return total

    @property
    def place(self) -> str:
        """Return the name inside the target that a report shows."""
        if self.data is not None:
            return "<memory>"
        if not self.paths:
            return ""
        if len(self.paths) > 1:
            return f"{self.paths[0]} (multipart)"
        return f"{self.paths[0]} -> {self.inner_path}" if self.inner_path else self.paths[0]


def split_name(path: str, inner: str | None = None) -> tuple[str, str, str | None]:
    """Return (name, format, compression) as the file name tells them."""
    base = os.path.basename(path)
    stem, ext = os.path.splitext(base)
    format_ = ext[1:].lower()
    compression = None
    if format_ in COMPRESSIONS:
        compression = format_
        format_ = os.path.splitext(inner or stem)[1][1:].lower()
        if format_:
            stem = os.path.splitext(stem)[0]
    return slug(stem), _ALIASES.get(format_, format_), compression


def slug(name: str) -> str:
    """Return a name in the characters that v1 allows; other scripts stay as they are."""
    text = re.sub(r"[^-a-z0-9._/]+" if name.isascii() else r"\s+", "-", name.lower())
    return text.strip("-") or "name"


def from_path(root: Path, path: str, **options: Any) -> Resource:
    """Return a resource for a bare file."""
    name, format_, compression = split_name(path)
    return Resource(
        name=name,
        root=root,
        paths=(path,),
        type=type_of(format_, None),
        format=format_,
        compression=compression,
        **options,
    )


def from_descriptor(descriptor: Mapping[str, Any], root: Path) -> Resource:
    """Return the resource of a descriptor that was normalised and found valid."""
    path = descriptor.get("path")
    paths = (path, *descriptor.get("extrapaths", ())) if isinstance(path, str) else ()
    inner = descriptor.get("innerpath")
    name, format_, compression = split_name(paths[0], inner) if paths else ("memory", "", None)
    data = descriptor.get("data")
    format_ = descriptor.get("format") or format_ or ("inline" if data is not None else "")
    format_ = _ALIASES.get(format_, format_)
    declared = descriptor.get("compression") or compression
    schema = descriptor.get("schema")
    return Resource(
        name=descriptor.get("name") or name,
        root=root,
        paths=paths,
        data=data,
        type=type_of(format_, descriptor, data),
        tabular=bool(schema) or descriptor.get("type") == "table",
        format=format_,
        compression=declared or None,
        inner_path=inner,
        scheme=descriptor.get("scheme"),
        encoding=descriptor.get("encoding"),
        dialect=dialect_from(descriptor.get("dialect")),
        schema=schema_from(schema) if schema else None,
        hash=descriptor.get("hash"),
        bytes=descriptor.get("bytes"),
        fields=descriptor.get("fields"),
        rows=descriptor.get("rows"),
        parts=tuple(descriptor.get("parts") or ()),
        records=records if isinstance(records := descriptor.get("records"), Mapping) else None,
        split=str(descriptor.get("split") or ""),
        languages=languages_of(descriptor),
    )


def languages_of(descriptor: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the languages that a resource, or the `dataElement` of a package, declares."""
    element = descriptor.get("dataElement")
    found = descriptor.get("languages") or (
        element.get("languages") if isinstance(element, Mapping) else None
    )
    return tuple(x for x in found if isinstance(x, str)) if isinstance(found, list) else ()


def type_of(format_: str, descriptor: Mapping[str, Any] | None, data: Any = None) -> str:
    """Return `table`, `json`, `text` or `file`: how deeply the content is looked at."""
    declared = (descriptor or {}).get("type")
    if declared in ("table", "json", "text", "file"):
        return str(declared)
    if isinstance(data, list):
        return "table"
    if data is not None:
        return "json"
    if format_ in TABLE_FORMATS:
        return "table"
    if format_ in ("geojson", "topojson", "yaml"):
        return "json"
    return "text" if format_ in _TEXT else "file"
