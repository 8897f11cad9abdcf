"""Pictures that stand inside of tables: columns of a Parquet file that hold the bytes of files.

A column of pictures is one that the file itself calls so (`huggingface` in its metadata), or whose
values, plain bytes or the field `bytes` of a struct, begin like pictures. Lists of them count too.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.compute as pc

from yaosu_validators.media import by_content

ROWS = 16  # at a time: each may hold the largest picture that is looked at
_LOOKED = 32  # values that say what a column holds
_BATCH_BYTES = 1 << 30


@dataclass(frozen=True, slots=True)
class Embedded:
    """One place for a picture; without bytes where only a path, or too much, stands there."""

    column: str
    row: int  # as reports count: 2 is the first
    data: bytes | None
    size: int = 0


@dataclass(frozen=True, slots=True)
class Pictures:
    """The columns of pictures of an open Parquet file."""

    file: Any
    columns: tuple[str, ...]
    rows: int

    @classmethod
    def of(cls, stream: BinaryIO) -> Pictures | None:
        """Return the pictures of a file; None where it has none, or is not readable as Parquet."""
        import pyarrow.parquet as pq

        try:
            source = pa.PythonFile(stream, mode="r")
            file = pq.ParquetFile(source, pre_buffer=False, buffer_size=1 << 20)
            names = [f.name for f in file.schema_arrow if _may_hold(f.type)]
            if not names or not file.metadata.num_rows:
                return None
            head = next(file.iter_batches(_LOOKED, columns=names, use_threads=False))
            stated = _stated(file.schema_arrow.metadata)
            found = tuple(n for n in names if _is_column(head.column(n), stated.get(n)))
            return cls(file, found, file.metadata.num_rows) if found else None
        except (pa.ArrowException, OSError, ValueError, StopIteration):
            return None  # the structure of the table says so

    def every(self, step: int, largest: int) -> Iterator[Embedded]:
        """Yield the pictures of every so many rows; ArrowException where the file breaks off."""
        before = 0
        batches = self.file.iter_batches(ROWS, columns=list(self.columns), use_threads=False)
        for batch in batches:
            if batch.nbytes > _BATCH_BYTES:
                raise pa.ArrowInvalid("a batch is too large")
            for at in range(-before % step, batch.num_rows, step):
                for name in self.columns:
                    for value in _values(batch.column(name).slice(at, 1)):
                        size = value.as_buffer().size if value.is_valid else 0
                        taken = value.is_valid and size <= largest
                        data = value.as_buffer().to_pybytes() if taken else None
                        yield Embedded(name, before + at + 2, data, size)
            before += batch.num_rows


def _may_hold(kind: Any) -> bool:
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        kind = kind.value_type
    if pa.types.is_struct(kind):
        at = kind.get_field_index("bytes")
        return at >= 0 and _is_binary(kind.field(at).type)
    return _is_binary(kind)


def _is_binary(kind: Any) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _values(column: Any) -> Any:
    """Return the bytes of all pictures of a column, one null for each that has none."""
    if pa.types.is_list(column.type) or pa.types.is_large_list(column.type):
        column = column.flatten()
    if pa.types.is_struct(column.type):
        column = pc.struct_field(column.filter(column.is_valid()), "bytes")
    else:
        column = column.filter(column.is_valid())
    return column


def _stated(metadata: dict[bytes, bytes] | None) -> dict[str, str]:
    """Return what the file says its columns are: `Image`, `Audio` …"""
    try:
        told = json.loads((metadata or {}).get(b"huggingface", b"{}"))["info"]["features"]
        return {
            str(name): str(kind.get("_type") or kind.get("feature", {}).get("_type", ""))
            for name, one in told.items()
            if isinstance(kind := one[0] if isinstance(one, list) and one else one, dict)
        }
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        return {}


def _is_column(column: Any, stated: str | None) -> bool:
    if stated:
        return stated == "Image"
    heads = [v.as_buffer().slice(0, min(4096, v.as_buffer().size)).to_pybytes()
             for v in _values(column) if v.is_valid]  # fmt: skip
    kinds = [by_content(head) for head in heads if head]
    pictures = sum(kind is not None and kind.family == "image" for kind in kinds)
    return bool(kinds) and pictures * 2 > len(kinds)
