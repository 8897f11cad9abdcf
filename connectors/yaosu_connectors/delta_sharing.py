"""The words of the Delta Sharing protocol: profile, listings, and the lines of a table.

Nothing here knows a market: what is shared comes in as plain records, and JSON goes out
(Delta Sharing protocol, `PROTOCOL.md`, Parquet response format).
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

JSON = dict[str, Any]
NDJSON = "application/x-ndjson; charset=utf-8"
VERSION_HEADER = "delta-table-version"
MAX_RESULTS = 500
_TYPES = {
    "boolean": "boolean", "int8": "byte", "int16": "short", "int32": "integer", "int64": "long",
    "float32": "float", "float64": "double", "string": "string", "binary": "binary",
    "date": "date", "timestamp": "timestamp",
}  # fmt: skip
_NEUTRAL = {theirs: ours for ours, theirs in _TYPES.items()}


@dataclass(frozen=True, slots=True, kw_only=True)
class TableVersion:
    """One version of one table: the file that holds it."""

    id: str
    version: int
    fields: Sequence[Mapping[str, Any]]  # neutral types, as the converter wrote them
    rows: int
    bytes: int
    created_ms: int  # since 1970-01-01 UTC


def profile(endpoint: str, token: str, expires: str | None) -> JSON:
    """Return a profile file, version 1."""
    body = {"shareCredentialsVersion": 1, "endpoint": endpoint, "bearerToken": token}
    return body if expires is None else {**body, "expirationTime": expires}


def error(code: str, message: str) -> JSON:
    return {"errorCode": code, "message": message}


def name_of(text: str) -> str:
    """Return a name that clients take in share#schema.table: no dot, slash, space or control."""
    return re.sub(r"[^\w-]+", "_", text, flags=re.UNICODE).strip("_").lower()[:255] or "table"


def listed(items: Sequence[JSON], limit: str | None, token: str | None) -> JSON | None:
    """Return one page of items; None for a limit or token that nobody gave out."""
    start = 0
    if token:
        try:
            start = int(base64.urlsafe_b64decode(token.encode()).decode())
        except (ValueError, UnicodeDecodeError):
            return None
        if not 0 < start < len(items):
            return None
    try:
        size = MAX_RESULTS if limit is None else int(limit)
    except ValueError:
        return None
    if not 0 <= size <= 10_000:
        return None
    end = start + min(size, MAX_RESULTS)
    page: JSON = {"items": list(items[start:end])}
    if start < end < len(items):
        page["nextPageToken"] = base64.urlsafe_b64encode(str(end).encode()).decode()
    return page


# --- lines -------------------------------------------------------------------------------------


def lines(*objects: Mapping[str, Any]) -> bytes:
    """Return objects as newline-delimited JSON."""
    return b"".join(
        json.dumps(o, ensure_ascii=False, separators=(",", ":")).encode() + b"\n" for o in objects
    )


PROTOCOL: JSON = {"protocol": {"minReaderVersion": 1}}


def metadata(table: TableVersion, *, name: str, description: str = "") -> JSON:
    """Return the metaData line of a table version."""
    return {
        "metaData": {
            "id": table.id,
            "name": name,
            "description": description,
            "format": {"provider": "parquet"},
            "schemaString": schema_string(table.fields),
            "partitionColumns": [],
            "configuration": {},
            "version": table.version,
            "size": table.bytes,
            "numFiles": 1,
        }
    }


def schema_string(fields: Iterable[Mapping[str, Any]]) -> str:
    """Return the Delta schema as the JSON text that clients parse."""
    return json.dumps(_struct(fields), ensure_ascii=False, separators=(",", ":"))


def _struct(fields: Iterable[Mapping[str, Any]]) -> JSON:
    return {
        "type": "struct",
        "fields": [
            {"name": f["name"], "type": delta_type(f["type"]), "nullable": True, "metadata": {}}
            for f in fields
        ],
    }


def delta_type(kind: Any) -> Any:
    """Return the Delta type of a neutral one; KeyError for a word that there is not."""
    if isinstance(kind, str):
        return kind if kind.startswith("decimal(") else _TYPES[kind]
    if "list" in kind:
        return {"type": "array", "elementType": delta_type(kind["list"]), "containsNull": True}
    if "map" in kind:
        key, value = kind["map"]
        return {
            "type": "map",
            "keyType": delta_type(key),
            "valueType": delta_type(value),
            "valueContainsNull": True,
        }
    return _struct(kind["struct"])


def read_metadata(said: Mapping[str, Any], *, rows: int, created_ms: int) -> TableVersion:
    """Return what a metaData line tells of a table; rows and time stand in the line of its file."""
    told = said["metaData"]
    return TableVersion(
        id=told["id"], version=told["version"], rows=rows, bytes=told["size"],
        created_ms=created_ms, fields=_fields(json.loads(told["schemaString"])),
    )  # fmt: skip


def _fields(struct: Mapping[str, Any]) -> list[JSON]:
    return [{"name": f["name"], "type": neutral_type(f["type"])} for f in struct["fields"]]


def neutral_type(kind: Any) -> Any:
    """Return the neutral type of a Delta one; KeyError for a word that there is not."""
    if isinstance(kind, str):
        return kind if kind.startswith("decimal(") else _NEUTRAL[kind]
    if kind["type"] == "array":
        return {"list": neutral_type(kind["elementType"])}
    if kind["type"] == "map":
        return {"map": [neutral_type(kind["keyType"]), neutral_type(kind["valueType"])]}
    return {"struct": _fields(kind)}


def file_line(table: TableVersion, *, url: str, expires_ms: int, kind: str = "file") -> JSON:
    """Return the line of a file; `kind` is `file` in a query, `add` or `remove` in a feed."""
    return {
        kind: {
            "url": url,
            "id": table.id,
            "partitionValues": {},
            "size": table.bytes,
            "stats": json.dumps({"numRecords": table.rows}),
            "version": table.version,
            "timestamp": table.created_ms,
            "expirationTimestamp": expires_ms,
        }
    }
