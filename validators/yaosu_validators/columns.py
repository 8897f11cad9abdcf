"""Typed columns (Parquet, Arrow): whole batches are proven valid at once, the rest row by row.

A column filter may only accept cells that `readers.py` accepts. Where a file brings its own types
and nobody gave a schema, the types of the file are the schema.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from yaosu_schemas.texts import clip

from .checks.structure import Structure, TableState
from .column_proofs import ColumnFilter, Mask, both, flags, values_of
from .fields import Field, Schema
from .keys import ESCAPE, PART
from .steady import steady
from .streams import problem
from .utf8 import is_text

BATCH_BYTES = 16 << 20
BATCH_ROWS = 1 << 16
_LEAST_ROWS = 64
MAX_BATCH_BYTES = 1 << 30  # a dictionary can unpack to far more than the file says


@dataclass(slots=True)
class ColumnReader:
    """An open columnar file: its schema, the rows it promises, its batches."""

    schema: Any
    rows: int | None
    batches: Callable[..., Iterator[Any]]
    groups: int = 0
    encoded: Callable[..., Iterator[Any]] | None = None

    def to_judge(self, groups: Sequence[int] | None = None) -> Iterator[Any]:
        """Yield the batches with repeated texts as dictionaries, where the file has them so."""
        if self.encoded is not None:
            return self.encoded(groups)
        return self.batches() if groups is None else self.batches(groups)


def open_columns(format_: str, file: Any) -> ColumnReader:
    """Open a Parquet or Arrow file; SourceProblem if it is broken."""
    try:
        source = pa.PythonFile(file, mode="r")
        return _parquet(source) if format_ == "parquet" else _ipc(source)
    except (pa.ArrowException, OSError, ValueError, EOFError) as why:
        raise _broken(why) from None


def _broken(why: Exception) -> Exception:
    note = clip(why, 200)
    zh = f"文件损坏、不完整，或并非 Parquet 或 Arrow（{note}）"
    return problem("source-error", f"the columns cannot be read: {note}", f"无法读取列数据：{zh}")


def _parquet(source: Any) -> ColumnReader:
    import pyarrow.parquet as pq

    # Pages are read as they are needed: a row group may hold the whole file.
    open_ = functools.partial(
        pq.ParquetFile,
        source,
        pre_buffer=False,
        buffer_size=1 << 20,
        page_checksum_verification=True,
    )
    with steady():  # a reader keeps to the memory that it was opened with
        file = open_()
        meta = file.metadata
        names = _repeated(meta, file.schema_arrow)
        coded = open_(metadata=meta, read_dictionary=names) if names else file

    def batches(groups: Sequence[int] | None = None, *, source: Any = file) -> Iterator[Any]:
        chosen = None if groups is None else list(groups)
        size = _batch_rows(meta)
        for batch in source.iter_batches(batch_size=size, row_groups=chosen, use_threads=False):
            unpacked = batch.nbytes + sum(map(_unpacked, batch.columns))
            if unpacked > MAX_BATCH_BYTES:
                raise problem(
                    "resource-limit",
                    f"{batch.num_rows} rows unpack to {unpacked >> 20} MiB",
                    f"{batch.num_rows} 行解压后达 {unpacked >> 20} MiB",
                )
            yield batch

    return ColumnReader(
        file.schema_arrow,
        meta.num_rows,
        batches,
        meta.num_row_groups,
        functools.partial(batches, source=coded),
    )


def _repeated(meta: Any, schema: Any) -> list[str]:
    """Return the text columns that the file keeps as dictionaries, by the size of a value.

    A plain text takes 4 bytes for its length alone.
    """
    names = {f.name for f in schema if pa.types.is_string(f.type)}
    for number in range(min(meta.num_row_groups, 4)):
        group = meta.row_group(number)
        for i in range(group.num_columns):
            column = group.column(i)
            if column.total_uncompressed_size >= 4 * column.num_values:
                names.discard(column.path_in_schema)
    return [f.name for f in schema if f.name in names]


def _unpacked(column: Any) -> int:
    """Return how many bytes a column takes beyond its dictionary once it is unpacked."""
    if not pa.types.is_dictionary(column.type) or not len(column.dictionary):
        return 0
    sizes = pc.binary_length(column.dictionary)
    if (pc.max(sizes).as_py() or 0) * len(column) <= BATCH_BYTES:
        return 0
    return pc.sum(pc.take(sizes, column.indices)).as_py() or 0


def _batch_rows(meta: Any) -> int:
    """Return how many rows make a batch of the wished size, by what the file says of itself."""
    widest = 1
    for number in range(min(meta.num_row_groups, 4)):
        group = meta.row_group(number)
        widest = max(widest, group.total_byte_size // max(1, group.num_rows))
    return int(max(_LEAST_ROWS, min(BATCH_ROWS, BATCH_BYTES // widest)))


def _ipc(source: Any) -> ColumnReader:
    try:
        file = pa.ipc.open_file(source)
    except pa.ArrowInvalid:
        source.seek(0)
        stream = pa.ipc.open_stream(source)
        return ColumnReader(stream.schema, None, lambda: iter(stream))

    def batches() -> Iterator[Any]:
        for number in range(file.num_record_batches):
            yield file.get_batch(number)

    return ColumnReader(file.schema, None, batches)


def checked(batches: Iterator[Any], *, full: bool = True) -> Iterator[Any]:
    """Yield batches whose buffers were looked over: a broken file must not break the reader."""
    try:
        for batch in batches:
            for column in batch.columns:
                if full or not (pa.types.is_primitive(column.type) or _is_sound(column)):
                    column.validate(full=True)
            if batch.num_rows <= BATCH_ROWS:
                yield batch
                continue
            for start in range(0, batch.num_rows, BATCH_ROWS):
                yield batch.slice(start, BATCH_ROWS)
    except (pa.ArrowException, OSError, ValueError, EOFError, NotImplementedError) as why:
        raise _broken(why) from None


def _is_sound(column: Any) -> bool:
    return pa.types.is_string(column.type) and is_text(column)


def schema_of(columns: Any) -> Schema:
    """Return the schema that the types of a columnar file spell out."""
    return Schema(
        fields=tuple(Field(name=c.name, type=_field_type(c.type), missing=()) for c in columns)
    )


def _field_type(t: Any) -> str:
    for test, name in _TYPES:
        if test(t):
            return name
    return "any"


_TYPES: tuple[tuple[Callable[[Any], bool], str], ...] = (
    (pa.types.is_boolean, "boolean"),
    (pa.types.is_integer, "integer"),
    (pa.types.is_floating, "number"),
    (pa.types.is_decimal, "number"),
    (pa.types.is_string, "string"),
    (pa.types.is_large_string, "string"),
    (pa.types.is_date, "date"),
    (pa.types.is_timestamp, "datetime"),
    (pa.types.is_time, "time"),
    (pa.types.is_list, "array"),
    (pa.types.is_large_list, "array"),
    (pa.types.is_fixed_size_list, "array"),
    (pa.types.is_struct, "object"),
)


class ColumnJudge:
    """Judges batches of typed columns for a `Structure` check."""

    def __init__(self, check: Structure, *, offset: int = 1) -> None:
        self.check = check
        self.offset = offset
        self.reader = check.reader()
        self.filters = [ColumnFilter(field) for field in check.columns]

    def observe(self, state: TableState, batch: Any) -> None:
        """Add a batch: accepted rows by columns, the others by the cells that are in doubt."""
        if state.numbers == 0:  # columns have no header row; rows are numbered as if they had
            state.numbers = self.offset
        base = state.numbers + 1
        proofs, absent = self._proofs(batch)
        accepted: Mask = None
        for proof in proofs:
            accepted = both(accepted, proof)
        if (blank := _blank(absent)) is not None:
            accepted = both(accepted, pc.invert(blank))
        if accepted is None and not self.check.keys:
            state.rows += batch.num_rows
            state.numbers += batch.num_rows
            return
        keyed = _Keyed(self.check, batch, proofs, absent)
        rejected = _rejected(both(accepted, keyed.known), batch.num_rows)
        seen = batch.num_rows
        if len(rejected):
            seen = self._rows(state, batch, rejected, base, _doubts(proofs, rejected, keyed))
        keyed.add(state, base, seen)
        if not state.full:
            state.rows += batch.num_rows - len(rejected)
            state.numbers = base + batch.num_rows - 1

    def _proofs(self, batch: Any) -> tuple[list[Mask], list[Mask]]:
        """Return for each column which cells are proven, and which are absent."""
        pairs = zip(self.filters, batch.columns, strict=False)
        found = [filter_.accept(column) for filter_, column in pairs]
        return [proof for proof, _ in found], [absent for _, absent in found]

    def _rows(
        self, state: TableState, batch: Any, rejected: Any, base: int, doubts: _Doubts
    ) -> int:
        """Judge some rows one by one and return how many rows of the batch were looked at."""
        taken = batch.take(pa.array(rejected))
        columns = [values_of(column) for column in taken.columns]
        whole = batch.num_columns != len(self.filters)  # there are cells too many or too few
        before = 0
        cells_of = zip(*columns, strict=True)
        rows = zip(rejected.tolist(), cells_of, doubts.cells, doubts.keys, strict=True)
        for offset, cells, doubtful, keys in rows:
            state.rows += offset - before
            state.numbers = base + offset - 1
            if whole:
                self.check.rows(state, [(base + offset, cells)], self.reader)
            else:
                self.check.row_with_doubts(
                    state, base + offset, cells, doubtful, self.reader, keys=keys
                )
            before = offset + 1
            if state.full:
                return int(before)
        state.rows -= before - len(rejected)
        return int(batch.num_rows)


@dataclass(frozen=True, slots=True)
class _Doubts:
    """What is not proven of some rows: columns of each, and whether its keys are still unknown."""

    cells: list[list[int]]
    keys: list[bool]


def _doubts(proofs: Sequence[Mask], rejected: Any, keyed: _Keyed) -> _Doubts:
    cells: list[list[int]] = [[] for _ in rejected]
    for i, proof in enumerate(proofs):
        if i in keyed.unspelled or proof is False:
            places = list(range(len(rejected)))
        elif proof is None:
            continue
        else:
            places = np.flatnonzero(~flags(proof)[rejected]).tolist()
        for place in places:
            cells[place].append(i)
    if keyed.known is None or keyed.known is False:
        return _Doubts(cells, [keyed.known is False] * len(cells))
    return _Doubts(cells, (~flags(keyed.known)[rejected]).tolist())


def _blank(absent: Sequence[Mask]) -> Mask:
    """Return which rows hold no value at all; None where every row does."""
    if not absent or any(mask is None for mask in absent):
        return None
    return functools.reduce(pc.and_, absent)


class _Keyed:
    """The keys of one batch as columns; `known` rows have keys that are proven and can be spelled.

    The others are left to the exact path, and so are the columns that only it can spell.
    """

    def __init__(
        self, check: Structure, batch: Any, proofs: Sequence[Mask], absent: Sequence[Mask]
    ) -> None:
        self.keys = check.keys
        self.known: Mask = None
        self.unspelled: set[int] = set()
        self.texts: list[list[Any]] = []
        for key in self.keys:
            texts = []
            for i in key.columns:
                alone = len(key.columns) == 1
                text = _key_text(check.columns[i], batch.column(i), alone=alone)
                texts.append(text)
                if text is None:
                    self.unspelled.add(i)
                    self.known = False
                    continue
                odd = _odd(text, absent[i], may_be_null=key.rule == "unique")
                if odd is not None and pc.any(odd).as_py():
                    self.known = both(self.known, pc.invert(pc.fill_null(odd, False)))
                self.known = both(self.known, proofs[i])
            self.texts.append(texts)

    def add(self, state: TableState, base: int, seen: int) -> None:
        """Collect the known keys of the rows that were looked at."""
        if self.known is False or not self.keys:
            return
        rows = pa.arange(base, base + seen)
        known = self.known if self.known is None else self.known.slice(0, seen)
        for texts, pairs in zip(self.texts, state.pairs, strict=True):
            joined: Any = texts[0]
            if len(texts) > 1:
                ready = [pc.cast(t, pa.large_string()) for t in texts]
                between = pa.scalar(PART, pa.large_string())
                joined = pc.binary_join_element_wise(*ready, between)
            joined = joined.slice(0, seen)
            keep = both(joined.is_valid() if joined.null_count else None, known)
            if keep is None:
                pairs.add_arrays(joined, rows)
            else:
                pairs.add_arrays(joined.filter(keep), rows.filter(keep))


def _odd(text: Any, absent: Mask, *, may_be_null: bool) -> Mask:
    """Return which keys are not what they seem: marked, or no values."""
    odd: Mask = None
    if not pa.types.is_int64(text.type):
        odd = pc.match_substring_regex(text, f"[{ESCAPE}{PART}]")
    if text.null_count and not may_be_null:
        odd = text.is_null() if odd is None else pc.or_kleene(odd, text.is_null())
    if absent is not None:
        missing = pc.and_(absent, text.is_valid())
        odd = missing if odd is None else pc.or_kleene(odd, missing)
    return odd


def _key_text(field: Field, column: Any, *, alone: bool) -> Any:
    """Return the keys as texts, or as numbers where they stand alone; None where it cannot."""
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    t = column.type
    if field.type == "string" and (pa.types.is_string(t) or pa.types.is_large_string(t)):
        return pc.if_else(pc.equal(column, ""), None, column)
    if field.type in ("integer", "number", "year") and pa.types.is_integer(t):
        short = alone and t != pa.uint64()
        return pc.cast(column, pa.int64() if short else pa.string())
    if field.type == "date" and pa.types.is_date32(t):
        return pc.cast(column, pa.string())
    return None


def _rejected(accepted: Mask, rows: int) -> Any:
    if accepted is None:
        return np.empty(0, np.int64)
    if accepted is False:
        return np.arange(rows)
    return np.flatnonzero(~flags(accepted))
