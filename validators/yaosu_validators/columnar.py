"""A table of any format as one Parquet file whose types every reader of columns knows.

Values are read as the schema of the table says, by the very readers that judged it; a cell that is
wrong becomes null and is counted. Every change of type is noted, so that a buyer knows in which
words the data was delivered.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from yaosu_schemas.errors import InvalidInput, NotFound

from .columns import checked
from .fields import Field
from .header import match_header
from .infer import infer_schema
from .plans import make_plan
from .resources import Resource
from .rows import RowReader
from .sources import OpenFile, Table, open_table
from .streams import SourceProblem

ROWS = 1 << 14
GROUP_ROWS = 1 << 18
NAME = "table.parquet"
VERSION = "1"


@dataclass(slots=True)
class Columnar:
    """What was written: fields with neutral types, and what was changed on the way."""

    rows: int = 0
    bytes: int = 0
    fields: list[dict[str, Any]] = field(default_factory=list)
    notes: list[dict[str, str]] = field(default_factory=list)
    nulled: int = 0  # cells that did not have the type of their field

    def as_json(self) -> dict[str, Any]:
        return {
            "version": VERSION,
            "rows": self.rows,
            "bytes": self.bytes,
            "fields": self.fields,
            "notes": self.notes,
            "nulled": self.nulled,
        }


def columnar(target: Path, resource: str, folder: Path) -> Columnar:
    """Write a resource of a package as Parquet into `folder`; InvalidInput if it is no table."""
    with make_plan(target) as plan:
        chosen = next((r for r in plan.resources if r.name == resource), None)
        if chosen is None:
            raise NotFound(f"there is no resource {resource[:80]!r}", f"没有资源“{resource[:80]}”")
        try:
            return _written(chosen, folder / NAME)
        except SourceProblem as why:
            raise InvalidInput(why.finding.note.en, why.finding.note.zh, field=resource) from None


def _written(resource: Resource, path: Path) -> Columnar:
    done = Columnar()
    with OpenFile(resource) as file:
        table = open_table(file)
        schema, batches = _typed(table, done) if table.arrow is None else _cast(table, done)
        done.fields = [_described(f) for f in schema]
        with pq.ParquetWriter(path, schema, compression="zstd", version="2.6") as writer:
            held: list[pa.RecordBatch] = []
            for batch in batches:
                held.append(batch)
                if sum(b.num_rows for b in held) >= GROUP_ROWS:
                    writer.write_table(pa.Table.from_batches(held, schema))
                    held = []
                done.rows += batch.num_rows
            if held:
                writer.write_table(pa.Table.from_batches(held, schema))
    done.bytes = path.stat().st_size
    return done


# --- columns that have types -------------------------------------------------------------------


def _cast(table: Table, done: Columnar) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
    given: pa.Schema = table.arrow.schema
    names = _names([f.name for f in given], done)
    fields = []
    for name, column in zip(names, given, strict=True):
        kind = known_type(column.type)
        if kind != column.type:
            done.notes.append({"field": name, "from": str(column.type)[:80], "to": str(kind)[:80]})
        fields.append(pa.field(name, kind))
    schema = pa.schema(fields)

    def batches() -> Iterator[pa.RecordBatch]:
        for batch in checked(table.arrow.batches(), full=table.format != "parquet"):
            columns = [_as(column, f.type) for column, f in zip(batch.columns, schema, strict=True)]
            yield pa.RecordBatch.from_arrays(columns, schema=schema)

    return schema, batches()


def known_type(kind: pa.DataType) -> pa.DataType:
    """Return the type that columns of this type are delivered in: lossless, else text."""
    is_ = pa.types
    if is_.is_dictionary(kind):
        return known_type(kind.value_type)
    if is_.is_list(kind) or is_.is_large_list(kind) or is_.is_fixed_size_list(kind):
        return pa.list_(known_type(kind.value_type))
    if is_.is_struct(kind):
        return pa.struct([pa.field(f.name, known_type(f.type)) for f in kind])
    if is_.is_map(kind):
        return pa.map_(known_type(kind.key_type), known_type(kind.item_type))
    if is_.is_timestamp(kind):
        return pa.timestamp("us", "UTC")
    for test, same in _SAME:
        if test(kind):
            return same
    if is_.is_decimal(kind):
        return kind if kind.precision <= 38 and is_.is_decimal128(kind) else pa.string()
    return pa.string()


_SAME: tuple[tuple[Callable[[pa.DataType], bool], pa.DataType], ...] = (
    (pa.types.is_boolean, pa.bool_()),
    (pa.types.is_int8, pa.int8()),
    (pa.types.is_int16, pa.int16()),
    (pa.types.is_uint8, pa.int16()),
    (pa.types.is_int32, pa.int32()),
    (pa.types.is_uint16, pa.int32()),
    (pa.types.is_int64, pa.int64()),
    (pa.types.is_uint32, pa.int64()),
    (pa.types.is_uint64, pa.decimal128(20, 0)),
    (pa.types.is_float16, pa.float32()),
    (pa.types.is_float32, pa.float32()),
    (pa.types.is_float64, pa.float64()),
    (pa.types.is_date, pa.date32()),
    (pa.types.is_binary, pa.binary()),
    (pa.types.is_large_binary, pa.binary()),
    (pa.types.is_fixed_size_binary, pa.binary()),
)


def _as(column: pa.Array, kind: pa.DataType) -> pa.Array:
    if column.type == kind:
        return column
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    if pa.types.is_timestamp(column.type) and column.type.tz is None:
        column = pc.assume_timezone(column, "UTC")
    if pa.types.is_float16(column.type) or pa.types.is_nested(column.type):
        return pa.array(column.to_pylist(), kind)
    try:
        return column.cast(kind)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        texts = [None if v is None else str(v) for v in column.to_pylist()]
        return pa.array(texts, kind)


# --- cells that are read by a schema -----------------------------------------------------------

_KINDS = {
    "integer": pa.int64(), "year": pa.int64(), "number": pa.float64(), "boolean": pa.bool_(),
    "date": pa.date32(), "datetime": pa.timestamp("us", "UTC"),
}  # fmt: skip
_NOTED = ("array", "object", "geojson", "geopoint", "list", "any", "duration", "yearmonth", "time")


def _typed(table: Table, done: Columnar) -> tuple[pa.Schema, Iterator[pa.RecordBatch]]:
    schema = table.resource.schema
    if schema is None or not schema.fields:
        schema = infer_schema(table.labels, table.fragment)
    columns = match_header(table.labels, schema, ignore_case=False).columns
    names = _names([c.name for c in columns], done)
    kinds = [_KINDS.get(c.type, pa.string()) for c in columns]
    for column, name, kind in zip(columns, names, kinds, strict=True):
        if column.type == "number":
            done.notes.append({"field": name, "from": "number", "to": str(kind)})
        elif column.type in _NOTED:
            done.notes.append({"field": name, "from": column.type, "to": "string"})
    arrow = pa.schema([pa.field(n, k) for n, k in zip(names, kinds, strict=True)])
    return arrow, _read(table, columns, arrow, done)


def _read(
    table: Table, columns: tuple[Field, ...], schema: pa.Schema, done: Columnar
) -> Iterator[pa.RecordBatch]:
    plain = tuple(replace(c, constraints={}) for c in columns)  # a bound is no matter of type
    reader = RowReader(plain)
    held: list[list[Any]] = []
    for number, cells in table.content():
        values, wrong = reader.read(cells, number)
        done.nulled += sum(1 for f in wrong if f.type == "type-error")
        held.append(values)
        if len(held) >= ROWS:
            yield _batch(held, schema, done)
            held = []
    if held:
        yield _batch(held, schema, done)


def _batch(rows: list[list[Any]], schema: pa.Schema, done: Columnar) -> pa.RecordBatch:
    columns = []
    for at, column in enumerate(schema):
        values = [_value(row[at], column.type) for row in rows]
        try:
            columns.append(pa.array(values, column.type))
        except (pa.ArrowInvalid, OverflowError):  # an integer beyond 64 bits
            kept = [v if _fits(v) else None for v in values]
            done.nulled += sum(1 for v, k in zip(values, kept, strict=True) if v != k)
            columns.append(pa.array(kept, column.type))
    return pa.RecordBatch.from_arrays(columns, schema=schema)


def _fits(value: Any) -> bool:
    return not isinstance(value, int) or -(2**63) <= value < 2**63


def _value(value: Any, kind: pa.DataType) -> Any:
    if value is None or isinstance(value, bool):
        return value if not pa.types.is_string(kind) or value is None else str(value).lower()
    if pa.types.is_string(kind):
        if isinstance(value, str):
            return value.encode("utf-8", "replace").decode()
        if isinstance(value, dict | list | tuple):
            return json.dumps(value, ensure_ascii=False, default=str)
        return value.isoformat() if isinstance(value, dt.date | dt.time) else str(value)
    if pa.types.is_floating(kind):
        return float(value)
    if pa.types.is_timestamp(kind):
        return value if value.tzinfo is not None else value.replace(tzinfo=dt.UTC)
    return int(value) if isinstance(value, Decimal) else value


# --- names and types ---------------------------------------------------------------------------

_FORBIDDEN = str.maketrans(dict.fromkeys(' ,;{}()\n\t="', "_"))


def _names(given: list[str], done: Columnar) -> list[str]:
    """Return names that columnar readers accept, none of them twice whatever its case."""
    used: set[str] = set()
    names = []
    for number, name in enumerate(given, start=1):
        wanted = (name or f"field{number}").translate(_FORBIDDEN)[:200]
        new, suffix = wanted, 2
        while new.lower() in used:
            new, suffix = f"{wanted}_{suffix}", suffix + 1
        used.add(new.lower())
        names.append(new)
        if new != name:
            done.notes.append({"field": new, "from": f"name {name[:80]!r}", "to": "name"})
    return names


def _described(column: pa.Field) -> dict[str, Any]:
    return {"name": column.name, "type": _neutral(column.type), "nullable": True}


def _neutral(kind: pa.DataType) -> Any:
    """Return a type in neutral words: text, or an object for lists, structs and maps."""
    if pa.types.is_list(kind):
        return {"list": _neutral(kind.value_type)}
    if pa.types.is_struct(kind):
        return {"struct": [{"name": f.name, "type": _neutral(f.type)} for f in kind]}
    if pa.types.is_map(kind):
        return {"map": [_neutral(kind.key_type), _neutral(kind.item_type)]}
    if pa.types.is_decimal(kind):
        return f"decimal({kind.precision},{kind.scale})"
    return _WORDS[str(kind)]


_WORDS = {
    "bool": "boolean", "int8": "int8", "int16": "int16", "int32": "int32", "int64": "int64",
    "float": "float32", "double": "float64", "string": "string", "binary": "binary",
    "date32[day]": "date", "timestamp[us, tz=UTC]": "timestamp",
}  # fmt: skip
