"""Reads a table once and says what it is: fields, rows, encoding, dialect, languages, troubles."""

from __future__ import annotations

import codecs
import csv
import io
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from yaosu_schemas.errors import Malformed, Text, YaosuError
from yaosu_validators.media import by_content

from . import jsonstream
from .bytestream import Utf8, encodings_of, open_bytes
from .inference import TextColumn, ValueColumn, arrow_fields, strings_in, unique_names
from .language import SAMPLE, Languages

if TYPE_CHECKING:
    import pyarrow as pa

_HEAD = 1 << 16
_BLOCKS = (4 << 20, 64 << 20)
_MAX_FIELDS = 10_000
_KEPT_RAGGED = 10_000
_LONGEST_LINE = 1 << 20
_DENSE = ("zh", "zh?", "zh-Hant", "ja", "ko")
_SAMPLED_CHARACTERS = 1 << 18


@dataclass(slots=True)
class Table:
    """What one pass over a file found; `fields` is empty where the records have no columns.

    `sparse` says that some record lacks a column, `wordy` that cells are prose.
    """

    format: str
    rows: int = 0
    fields: list[dict[str, Any]] = field(default_factory=list)
    encoding: str | None = None
    dialect: dict[str, Any] = field(default_factory=dict)
    languages: Languages = field(default_factory=Languages)
    wordy: bool = False
    sparse: bool = False
    embedded: set[str] = field(default_factory=set)
    troubles: list[tuple[str, Text]] = field(default_factory=list)

    def trouble(self, code: str, en: str, zh: str) -> None:
        self.troubles.append((code, Text(en, zh)))


def read_table(path: Path, format_: str, compression: str = "") -> Table:
    """Return what the file holds; damage is among `troubles`, never an exception."""
    reader = _READERS.get(format_)
    table = Table(format_)
    if reader is None:
        return table
    try:
        return reader(path, format_, compression)
    except YaosuError as why:
        table.trouble(why.code, why.en, why.zh)
    except UnicodeDecodeError:
        table.trouble("encoding-error", "its text is not valid UTF-8", "文本不是有效的 UTF-8")
    except MemoryError:
        raise
    except Exception as why:  # foreign bytes make libraries raise anything
        name = type(why).__name__
        table.trouble(
            "unreadable",
            f"it cannot be read as {format_} ({name})",
            f"无法按 {format_} 读取（{name}）",
        )
    return table


class _Sampler:
    """Takes texts for language and length: all of them at first, then ever fewer."""

    def __init__(self) -> None:
        self.languages = Languages()
        self._stride, self._room = 1, _SAMPLED_CHARACTERS

    def wants(self, row: int) -> bool:
        return row % self._stride == 0

    def take(self, texts: Iterable[str]) -> None:
        for text in texts:
            self.languages.add(text)
            self._room -= min(len(text), SAMPLE)
        if self._room < 0:
            self._stride *= 2
            self._room = _SAMPLED_CHARACTERS


def is_wordy(characters: int, cells: int, languages: Languages, *, short: int = 40) -> bool:
    """Say whether cells of a column are prose: long on average, and in a language."""
    if not cells or not languages.weights:
        return False
    dense = sum(languages.weights.get(tag, 0.0) for tag in _DENSE)
    if dense > 0.7 * sum(languages.weights.values()):
        short = int(short / 2.5)  # one such character says as much as a short word
    return characters / cells >= short


# --- JSON ----------------------------------------------------------------------------------------


def _read_json(path: Path, format_: str, compression: str) -> Table:
    with open_bytes(path, compression) as source:
        head = source.read(_HEAD)
        text = head.decode("utf-8-sig", "ignore")
        by_lines = jsonstream.is_lines(text, complete=len(head) < _HEAD)
    if by_lines is None:
        by_lines = format_ == "jsonl"
    table = Table("jsonl" if by_lines else "json", encoding="utf-8")
    with open_bytes(path, compression) as source:
        values = jsonstream.lines(source) if by_lines else jsonstream.items(source)
        try:
            _observe_values(values, table, text.lstrip()[:1] == "{")
        finally:
            if table.format != format_:
                table.trouble(
                    "format-mismatch",
                    f"it is named .{format_} and holds {_SPOKEN[table.format].en}",
                    f"文件名为 .{format_}，内容是{_SPOKEN[table.format].zh}",
                )
    return table


_SPOKEN = {
    "jsonl": Text("JSON Lines", "JSON Lines（每行一条）"),
    "json": Text("one JSON document", "单个 JSON 文档"),
}


def _observe_values(values: Iterable[Any], table: Table, is_object: bool) -> None:
    """Observe every value; one JSON object that fills a file is a document, not a row."""
    columns: dict[str, ValueColumn] = {}
    sampler = _Sampler()
    broken = others = 0
    for value in values:
        if value is jsonstream.Broken:
            broken += 1
            continue
        table.rows += 1
        if sampler.wants(table.rows - 1):
            sampler.take(strings_in(value))
        if not isinstance(value, dict) or len(columns) > _MAX_FIELDS:
            others += 1
            continue
        for name, cell in value.items():
            column = columns.get(name)
            if column is None:
                column = columns[name] = ValueColumn()
            column.observe(cell)
    table.languages = sampler.languages
    if broken:
        table.trouble(
            "source-error", f"{broken} lines are blank or no JSON", f"有 {broken} 行为空或不是 JSON"
        )
    document = is_object and table.format == "json"
    if columns and not others and not document and "" not in columns:
        table.fields = [column.field(name) for name, column in columns.items()]
        table.sparse = any(column.seen < table.rows for column in columns.values())
    texts = [c for c in columns.values() if c.strings]
    nested = any(c.kinds.keys() & {"array", "object"} for c in columns.values())
    short = 15 if 2 * len(texts) >= len(columns) else 40
    table.wordy = bool(table.languages.weights) and (
        nested
        or not columns
        or any(is_wordy(c.characters, c.strings, table.languages, short=short) for c in texts)
    )


# --- delimited text ------------------------------------------------------------------------------


def _read_csv(path: Path, format_: str, compression: str) -> Table:
    with open_bytes(path, compression) as source:
        head = source.read(_HEAD)
    if not head.strip():
        table = Table(format_)
        table.trouble("source-error", "it is empty", "文件为空")
        return table
    for encoding in encodings_of(head):
        try:
            return _read_delimited(path, format_, compression, encoding, head)
        except UnicodeDecodeError:
            continue
    raise Malformed("its encoding is none that is known", "无法识别其字符编码")


def _read_delimited(
    path: Path, format_: str, compression: str, encoding: str, head: bytes
) -> Table:
    """Read a whole file of delimited text; UnicodeDecodeError if the encoding does not hold."""
    import pyarrow as pa

    sample = codecs.getincrementaldecoder(encoding)().decode(head).removeprefix("\ufeff")
    delimiter = sniff_delimiter(sample, "\t" if format_ == "tsv" else ",")
    labels = next(csv.reader(io.StringIO(sample, newline=""), delimiter=delimiter))
    table = Table(format_, encoding=encoding)
    if delimiter != ("\t" if format_ == "tsv" else ","):
        table.dialect["delimiter"] = delimiter
    headless = bool(labels) and all(_is_figure(label) for label in labels)
    if headless:
        table.dialect["header"] = False
        labels = [""] * len(labels)
    for block in _BLOCKS:
        try:
            with open_bytes(path, compression) as source:
                return _observe_csv(source, encoding, delimiter, labels, headless, block, table)
        except pa.ArrowInvalid as why:
            if "straddling" not in str(why):
                raise Malformed("its rows cannot be told apart", "无法按行解析") from None
    raise Malformed("one row is longer than 64 MiB", "单行超过 64 MiB")


def _observe_csv(
    source: Any,
    encoding: str,
    delimiter: str,
    labels: list[str],
    headless: bool,
    block: int,
    table: Table,
) -> Table:
    import pyarrow as pa
    import pyarrow.csv as pacsv

    columns = [TextColumn(label) for label in labels]
    odd = _Ragged(delimiter, len(labels))

    keys = [str(number) for number in range(len(labels))]
    reader = pacsv.open_csv(
        pa.PythonFile(Utf8(source, encoding), "r"),
        pacsv.ReadOptions(
            use_threads=False,
            block_size=block,
            column_names=keys,
            skip_rows_after_names=0 if headless else 1,
        ),
        pacsv.ParseOptions(
            delimiter=delimiter,
            newlines_in_values=True,
            ignore_empty_lines=False,
            invalid_row_handler=odd.take,
        ),
        pacsv.ConvertOptions(
            column_types=dict.fromkeys(keys, pa.string()), strings_can_be_null=False
        ),
    )
    sampler = _Sampler()
    rows = 0
    for batch in reader:
        for number, column in enumerate(columns):
            column.observe(batch.column(number))
        texts = [number for number, column in enumerate(columns) if not column.candidates]
        _sample_columns(batch, texts, rows, sampler)
        rows += batch.num_rows
        odd.observe(columns)
    odd.observe(columns)
    names = unique_names(labels)
    table.rows = rows + odd.count
    table.fields = [c.field(name) for c, name in zip(columns, names, strict=True)]
    table.languages = sampler.languages
    table.wordy = any(
        is_wordy(c.characters, c.filled, table.languages)
        for c, f in zip(columns, table.fields, strict=True)
        if f["type"] == "string"
    )
    if odd.count:
        table.trouble(
            "ragged-rows",
            f"{odd.count} rows have more or fewer cells than the header",
            f"有 {odd.count} 行的单元格数与表头不一致",
        )
    return table


class _Ragged:
    """Rows of another width than the header: counted, and their cells have a say in the types."""

    def __init__(self, delimiter: str, width: int) -> None:
        self.count = 0
        self._delimiter, self._width = delimiter, width
        self._rows: list[list[str]] = []

    def take(self, row: Any) -> str:
        self.count += 1
        if len(self._rows) < _KEPT_RAGGED and row.text:
            cells = next(csv.reader([row.text], delimiter=self._delimiter), [])
            self._rows.append((cells + [""] * self._width)[: self._width])
        return "skip"

    def observe(self, columns: list[TextColumn]) -> None:
        import pyarrow as pa

        rows, self._rows = self._rows, []
        if rows:
            for column, cells in zip(columns, zip(*rows, strict=True), strict=True):
                column.observe(pa.array(cells, pa.string()))


def sniff_delimiter(sample: str, usual: str) -> str:
    """Return the delimiter under which the first lines have one and the same width."""
    lines = sample.splitlines()[:100]
    if len(sample) >= _HEAD // 4 and len(lines) > 1:
        lines = lines[:-1]
    best, best_score = usual, 0.0
    for delimiter in dict.fromkeys((usual, ",", "\t", ";", "|")):
        try:
            widths = [len(row) for row in csv.reader(lines, delimiter=delimiter) if row]
        except csv.Error:
            continue
        if not widths or widths[0] < 2:
            continue
        score = widths.count(widths[0]) / len(widths)
        if score > best_score + (0.0 if delimiter == usual else 0.05):
            best, best_score = delimiter, score
    return best


def _is_figure(label: str) -> bool:
    try:
        float(label)
    except ValueError:
        return False
    return not (len(label) == 4 and label.isdigit())  # years are common headers of pivot tables


# --- Arrow and Parquet ---------------------------------------------------------------------------


def _read_parquet(path: Path, format_: str, compression: str) -> Table:
    import pyarrow as pa
    import pyarrow.parquet as pq

    if compression:
        return Table(format_)
    try:
        with pq.ParquetFile(path) as file:
            table = Table("parquet", rows=file.metadata.num_rows)
            table.fields = arrow_fields(file.schema_arrow)
            _observe_typed(file.iter_batches(1024), file.schema_arrow, table, limit=32)
    except pa.ArrowException:
        raise Malformed("it is not a readable Parquet file", "不是可读的 Parquet 文件") from None
    return table


def _read_arrow(path: Path, format_: str, compression: str) -> Table:
    import pyarrow as pa

    if compression:
        return Table(format_)
    opened: Callable[[Any], Any] = pa.ipc.open_file if format_ == "arrow" else pa.ipc.open_stream
    try:
        # Not a memory map: a file that shrinks under one ends the process (SIGBUS).
        with pa.OSFile(str(path)) as source, opened(source) as reader:
            table = Table(format_)
            table.fields = arrow_fields(reader.schema)
            if format_ == "arrow":
                batches: Iterable[pa.RecordBatch] = (
                    reader.get_batch(i) for i in range(reader.num_record_batches)
                )
            else:
                batches = reader
            table.rows = _observe_typed(batches, reader.schema, table, limit=None)
    except pa.ArrowException:
        raise Malformed("it is not a readable Arrow file", "不是可读的 Arrow 文件") from None
    return table


def _observe_typed(
    batches: Iterable[pa.RecordBatch], schema: pa.Schema, table: Table, limit: int | None
) -> int:
    """Sample texts and pictures inside typed columns; count the rows of what was read."""
    texts = [n for n, f in enumerate(table.fields) if f["type"] in ("string", "array", "object")]
    sampler = _Sampler()
    rows = 0
    for number, batch in enumerate(batches):
        batch.validate(full=True)  # offsets of strangers point anywhere
        if number == 0:
            table.embedded = _embedded(batch)
        if limit is None or number < limit:
            _sample_columns(batch, texts, rows, sampler)
        rows += batch.num_rows
        if limit is not None and number + 1 >= limit:
            break
    table.languages = sampler.languages
    table.wordy = bool(sampler.languages.weights)
    return rows


def _sample_columns(
    batch: pa.RecordBatch, columns: Iterable[int], start: int, sampler: _Sampler
) -> None:
    for row in range(0, batch.num_rows, max(1, batch.num_rows // 64)):
        if sampler.wants(start + row):
            for number in columns:
                sampler.take(strings_in(batch.column(number)[row].as_py()))


def _embedded(batch: pa.RecordBatch) -> set[str]:
    """Return the families of media whose bytes stand in the cells of the first rows."""
    found = set()
    for column in batch.columns:
        for row in range(min(4, batch.num_rows)):
            for data in _bytes_in(column[row].as_py()):
                kind = by_content(data[:512])
                if kind is not None and kind.family in ("image", "audio", "video"):
                    found.add(kind.family)
    return found


def _bytes_in(value: object) -> list[bytes]:
    if isinstance(value, bytes):
        return [value]
    if isinstance(value, list):
        return [data for item in value[:4] for data in _bytes_in(item)]
    if isinstance(value, dict):
        return [data for item in value.values() for data in _bytes_in(item)]
    return []


# --- text, label files -----------------------------------------------------------------------


def _read_text(path: Path, format_: str, compression: str) -> Table:
    """Count the lines that are not blank; text is prose until a person says otherwise."""
    with open_bytes(path, compression) as source:
        head = source.read(_HEAD)
    for encoding in encodings_of(head):
        table = Table(format_, encoding=encoding, wordy=True)
        sampler = _Sampler()
        try:
            with open_bytes(path, compression) as source:
                text = io.TextIOWrapper(io.BufferedReader(Utf8(source, encoding)), "utf-8")
                while line := text.readline(_LONGEST_LINE):
                    if line.strip():
                        if sampler.wants(table.rows):
                            sampler.take([line])
                        table.rows += 1
        except UnicodeDecodeError:
            continue
        table.languages = sampler.languages
        return table
    raise Malformed("its encoding is none that is known", "无法识别其字符编码")


def _read_idx(path: Path, format_: str, compression: str) -> Table:
    """Read the number of items from the header of an IDX file (the MNIST family)."""
    with open_bytes(path, compression) as source:
        head = source.read(8)
    if len(head) < 8 or head[:2] != b"\0\0" or not 8 <= head[2] <= 14:
        raise Malformed("it has no IDX header", "缺少 IDX 文件头")
    return Table(format_, rows=struct.unpack(">I", head[4:])[0])


_READERS: dict[str, Callable[[Path, str, str], Table]] = {
    "json": _read_json,
    "jsonl": _read_json,
    "csv": _read_csv,
    "tsv": _read_csv,
    "parquet": _read_parquet,
    "arrow": _read_arrow,
    "arrows": _read_arrow,
    "txt": _read_text,
    "idx": _read_idx,
}
