"""Records of a resource in batches, whole or one part of it, with the numbers of their rows.

A row number here counts from the start of its part, as the structure of a table counts (header
and comments included), so that parts can be read anywhere. What is no record (a broken line) is
left out and counted; the structure of the table has said what is wrong with it.
"""

from __future__ import annotations

import codecs
import csv
import io
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import IO, Any

import numpy as np
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from yaosu_validators import long_texts, turns
from yaosu_validators.blocks import Block, Blocks
from yaosu_validators.columns import checked
from yaosu_validators.dialects import SAMPLE_TEXT, Dialect, content_rows
from yaosu_validators.header import unique_names
from yaosu_validators.json_texts import Measured, Shortened, kept_text
from yaosu_validators.marks import LONG_LINE, LongLine, csv_rows
from yaosu_validators.resources import Resource
from yaosu_validators.sources import JSON_BYTES, OpenFile, open_table
from yaosu_validators.streams import MAX_ROW_BYTES, SourceProblem, row_too_long
from yaosu_validators.utf8 import is_utf8

from .view import Ints

ROWS = 4096
BATCH_BYTES = 32 << 20  # of columns that are looked at in one go
SAMPLE_BYTES = 4 << 20  # of columns of which whole texts are a sample
_SMALL_JSON = 64 << 20
_SMALL_VALUES = 4_000_000
TOO_LONG = b"0"  # in place of a record over the limit of a row: no record, but it counts as one


@dataclass(slots=True)
class Batch:
    """Some records with their row numbers; `numbers` is the last row that was counted."""

    rows: Ints
    records: Sequence[Any] | pa.RecordBatch
    numbers: int
    unreadable: int = 0


def table_batches(file: OpenFile) -> Iterator[Batch]:
    """Yield the records of a whole resource; what cannot be read any further ends it."""
    try:
        table = open_table(file)
    except SourceProblem as why:
        told = why.finding.type in ("source-error", "resource-limit")
        if not told or file.resource.format not in ("json", "jsonl"):
            raise
        # The structure is refused at the first broken line; the records around it are still there.
        yield from _by_first_byte(file.resource)
        return
    if table.arrow is not None:
        yield from column_batches(table.arrow.batches(), parquet=table.format == "parquet", first=2)
    elif table.format == "jsonl" and table.records:
        table.rows, table.fragment = iter(()), []  # they may be long, and are read once more
        blocks = Blocks(file.reopen(), table.encoding, instead=TOO_LONG)
        yield from line_batches(blocks, numbers=1)
    elif table.format == "json":
        table.rows, table.fragment = iter(()), []
        small = file.size <= _SMALL_JSON and table.resource.compression is None
        name = table.dialect.json_property or ""
        yield from _json(_items(file.reopen(), name, small=small))
    else:
        yield from row_batches(table.content(), names_of(table.labels, table.fragment))


def _by_first_byte(resource: Resource) -> Iterator[Batch]:
    with OpenFile(resource) as file:
        head = file.open()[0].read(1 << 12).lstrip(b"\xef\xbb\xbf \t\r\n")
    with OpenFile(resource) as file:
        stream, _ = file.open()
        if head.startswith(b"{"):
            yield from line_batches(Blocks(stream, "utf-8-sig", instead=TOO_LONG), numbers=1)
        elif head.startswith(b"["):
            yield from _json(_items(stream, ""))


def names_of(labels: Sequence[str], fragment: Sequence[Sequence[Any]] = ()) -> list[str]:
    """Return a name for each column, none of them twice."""
    width = len(labels) or max((len(cells) for cells in fragment), default=0)
    named = [*labels, *[""] * (width - len(labels))]
    return unique_names([name or f"field{n}" for n, name in enumerate(named, start=1)])


def line_batches(blocks: Blocks, *, numbers: int) -> Iterator[Batch]:
    """Yield the records of JSON Lines; every line counts, also a broken one."""
    long, least = long_texts.are_wanted(), long_texts.LONG
    for block in blocks:
        lines = _lines(block)
        for start in range(0, len(lines), ROWS):
            some = lines[start : start + ROWS]
            rows: list[int] = []
            records: list[Any] = []
            blank = 0
            for number, line in enumerate(some, start=numbers + 1):
                record = _long_record(line) if long and len(line) > least else _record(line)
                if record is not None:
                    rows.append(number)
                    records.append(record)
                elif not line.strip():
                    blank += 1
            numbers += len(some)
            broken = len(some) - len(records) - blank
            yield Batch(np.array(rows, np.int64), records, numbers, broken)
        if block.failure is not None:
            raise block.failure


def _lines(block: Block) -> list[bytearray]:
    """Return the lines of a block, which is used up; a line that fills it is not copied."""
    data, block.data = block.data, bytearray()
    if len(data) > long_texts.LONG and data.find(b"\n") == len(data) - 1:
        del data[-1:]
        return [data]
    lines = data.split(b"\n")
    if not lines[-1]:
        lines.pop()
    return lines


def _long_record(line: bytearray) -> dict[str, Any] | None:
    """Return a record whose long strings are kept as UTF-8."""
    try:
        short = Shortened.of(line, long_texts.LONG)
    except SourceProblem:
        return None  # of more values than a record may have
    if (record := _record(short.text)) is None:
        return None
    line.clear()  # it is needed no more
    restored: dict[str, Any] | None = short.restored(record, kept_text)
    return restored


def _record(line: bytes | bytearray) -> dict[str, Any] | None:
    try:
        value = orjson.loads(line)
    except ValueError:
        try:  # numbers beyond 64 bits and lone surrogates, which RFC 8259 allows
            value = json.loads(line.decode("utf-8", "replace"))
        except (ValueError, RecursionError):
            return None
    return value if isinstance(value, dict) else None


def row_batches(rows: Iterator[tuple[int, Sequence[Any]]], names: Sequence[str]) -> Iterator[Batch]:
    """Yield rows of cells as records by their labels; an extra cell has no label and is dropped."""
    numbers: list[int] = []
    records: list[Any] = []
    for number, cells in rows:
        numbers.append(number)
        records.append(dict(zip(names, cells, strict=False)))
        if len(records) >= ROWS:
            yield Batch(np.array(numbers, np.int64), records, number)
            numbers, records = [], []
    if records:
        yield Batch(np.array(numbers, np.int64), records, numbers[-1])


def column_batches(batches: Iterator[Any], *, parquet: bool, first: int) -> Iterator[Batch]:
    """Yield typed columns as they are; `first` is the number of the first row."""
    for whole in checked(batches, full=not parquet):
        for batch in _light(whole):
            yield Batch(np.arange(first, first + batch.num_rows), batch, first + batch.num_rows - 1)
            first += batch.num_rows


def _light(batch: pa.RecordBatch) -> Iterator[pa.RecordBatch]:
    """Yield a batch in parts of few bytes, as far as its rows are: of a part there are copies."""
    if batch.num_rows <= 1 or batch.nbytes <= BATCH_BYTES:
        yield batch
        return
    half = batch.num_rows // 2
    yield from _light(batch.slice(0, half))
    yield from _light(batch.slice(half))


def first_records(records: Any, count: int) -> list[Any]:
    """Return some records to learn from; long texts of columns are cut, and not made Python's."""
    if not isinstance(records, pa.RecordBatch):
        return list(records[:count])
    some = records.slice(0, count)
    if some.nbytes > SAMPLE_BYTES:
        columns = [
            pc.utf8_slice_codeunits(c, 0, SAMPLE_TEXT) if _is_text(c.type) else c for c in some
        ]
        some = pa.RecordBatch.from_arrays(columns, names=some.schema.names)
    return some.to_pylist()  # type: ignore[no-any-return]


def _is_text(kind: pa.DataType) -> bool:
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def _json(items: Iterator[Any]) -> Iterator[Batch]:
    number = 1
    while True:
        some = [item for _, item in zip(range(ROWS), items, strict=False)]
        if not some:
            return
        if number == 1 and isinstance(some[0], list):  # arrays under one header row
            names = names_of([str(name) for name in some.pop(0)])
            some = [dict(zip(names, cells, strict=False)) for cells in some]
        good = [at for at, item in enumerate(some) if isinstance(item, Mapping)]
        rows = np.array(good, np.int64) + number + 1
        number += len(some)
        yield Batch(rows, [some[at] for at in good], number, len(some) - len(good))


def _small(data: bytes) -> Any:
    """Return the value of a small file; ValueError where it is to be read item by item."""
    if long_texts.are_wanted() and _has_long(data):
        short = Shortened.of(data, long_texts.LONG)
        return short.restored(orjson.loads(short.text), kept_text)
    if sum(map(data.count, (b",", b"[", b"{"))) > _SMALL_VALUES:
        raise ValueError("item by item it takes less memory")
    return orjson.loads(data)


def _has_long(data: bytes) -> bool:
    """Say whether there may be a string that goes on and on: no quote ends it for a while."""
    step = 2 * long_texts.LONG
    return any(not _QUOTE.search(data, at, at + step) for at in range(0, len(data) - step, step))


_QUOTE = re.compile(rb'[^\\]"')


def _items(stream: IO[bytes], name: str, *, small: bool = False) -> Iterator[Any]:
    """Yield the items of a JSON array, at once where it is small."""
    if small:
        data = stream.read()
        try:
            value = _small(data)
            for key in name.split(".") if name else ():
                value = value[key]
            del data
            items = value if isinstance(value, list) else []
            items.reverse()
            while items:  # each is used up
                yield items.pop()
            return
        except (ValueError, KeyError, TypeError, SourceProblem):
            stream = io.BytesIO(data)
    import ijson

    try:
        measured = Measured(stream)
        prefix = f"{name}.item" if name else "item"
        yield from measured.items(
            ijson.items(measured, prefix, use_float=True, buf_size=JSON_BYTES)
        )
    except (ValueError, ijson.JSONError, RecursionError):
        return


# --- parts of a file -------------------------------------------------------------------------


class Lines:
    """Lines of text from a place in a file on; knows where the next one starts.

    A row that is too long ends them: its quote was never closed.
    """

    def __init__(self, file: IO[bytes], start: int) -> None:
        file.seek(start)
        self._file = io.BufferedReader(file, 1 << 20)  # type: ignore[type-var]
        self.at = start
        self.size = 0  # of the row so far

    def __iter__(self) -> Iterator[str | LongLine]:
        return self

    def __next__(self) -> str | LongLine:
        line = self._file.readline(_LONGEST)
        self.size += len(line)
        if self.size > _LONGEST:
            raise row_too_long()
        if not line:
            raise StopIteration
        first = self.at == 0
        self.at += len(line)
        if len(line) > LONG_LINE:
            return self._long(line, first=first)
        return line.decode("utf-8-sig" if first else "utf-8", "replace")

    @staticmethod
    def _long(line: bytes, *, first: bool) -> LongLine:
        turns.take("source")
        if not is_utf8(line):
            line = line.decode("utf-8", "replace").encode()
        return LongLine(bytearray(line.removeprefix(codecs.BOM_UTF8) if first else line), "")

    def detach(self) -> None:
        self._file.detach()


_LONGEST = MAX_ROW_BYTES


def _continued(dialect: Dialect) -> Dialect:
    """Return the dialect of a part that is not the first: its header lies before it."""
    return replace(dialect, header=False, header_rows=(), comment_rows=())


def part_rows(
    file: IO[bytes], start: int, stop: int, dialect: Dialect, names: Sequence[str]
) -> Iterator[tuple[Batch, int]]:
    """Yield the rows that begin between two places, each batch with where the next row begins."""
    lines = Lines(file, start)
    here = dialect if start == 0 else _continued(dialect)
    numbers: list[int] = []
    records: list[Any] = []
    seen = 0
    broken: SourceProblem | None = None

    def numbered() -> Iterator[Sequence[Any]]:
        nonlocal seen, broken
        try:
            for cells in csv_rows(dialect, lines):
                seen += 1
                lines.size = 0
                yield cells
                if lines.at >= stop:
                    return
        except csv.Error:
            return
        except SourceProblem as why:
            broken = why

    for number, cells in content_rows(here, numbered()):
        numbers.append(number)
        records.append(dict(zip(names, cells, strict=False)))
        if len(records) >= ROWS:
            yield Batch(np.array(numbers, np.int64), records, number), lines.at
            numbers, records = [], []
    yield Batch(np.array(numbers, np.int64), records, seen), lines.at
    lines.detach()
    if broken is not None:
        raise broken


def sample_of(resource: Resource, count: int) -> list[Any]:
    """Return the first records of a resource, as many as a batch gives and at most `count`."""
    found: list[Any] = []
    with OpenFile(resource) as file:
        try:
            for batch in table_batches(file):
                found += first_records(batch.records, count)
                if len(found) >= count:
                    break
        except SourceProblem:
            pass
    return found[:count]
