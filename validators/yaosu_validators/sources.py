"""Anything as a table: rows with labels, from text, JSON, columns or sheets, compressed or not.

`open_table` looks at the content first: what poses as data is named, and a mismatch between
content and name is a warning. Failures while reading are `SourceProblem`s with one finding.
"""

from __future__ import annotations

import io
import json
import re
import shutil
import tempfile
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from itertools import chain, islice
from typing import IO, TYPE_CHECKING, Any

from yaosu_schemas.errors import Text
from yaosu_schemas.texts import clip, system_reason

from .dialects import (
    HEAD,
    SAMPLE_LINES,
    Dialect,
    content_rows,
    detect_encoding,
    find_header,
    guess_encoding,
    read_labels,
    sniff_csv,
)
from .json_texts import Measured, parse_json, parse_long_json, reason
from .marks import LongLine, bounded, csv_rows
from .resources import Resource
from .streams import (
    Digests,
    HashedFile,
    SourceProblem,
    decompressed,
    elsewhere,
    is_database,
    magic,
    named_intruder,
    open_file,
    problem,
    undecodable,
)

if TYPE_CHECKING:
    from .columns import ColumnReader

JSON_BYTES = 1 << 20  # parsed at a time: what a long text takes grows with the number of times
SAMPLE_ROWS = 100
SAMPLE_SIZE = 16 << 20  # characters: of rows or lines this long fewer are looked at
SAMPLE_CELLS = 4_000_000  # and of rows this wide; as Python's own they take 60 bytes each
_TEXTUAL = ("csv", "tsv", "jsonl", "json")
_COLUMNS = ("parquet", "arrow")
_SHEETS = ("xlsx", "xls", "ods")


@dataclass(slots=True)
class Table:
    """An open table: what the first rows tell, and all rows from the first on."""

    resource: Resource
    dialect: Dialect
    labels: list[str] = field(default_factory=list)
    fragment: list[Sequence[Any]] = field(default_factory=list)
    rows: Iterator[Sequence[Any]] = field(default_factory=lambda: iter(()))
    encoding: str = "utf-8"
    format: str = ""
    place: str = ""
    warnings: list[Text] = field(default_factory=list)
    lone_returns: bool = False  # lines end with CR alone, which blocks of lines cannot tell
    records: bool = False  # the rows are objects under the keys of the first
    by_label: bool = False  # these keys are the labels as they stand, and every record is a row
    stream: IO[bytes] | None = None  # plain bytes from the start, before any row was taken
    arrow: Any = None  # a reader of typed batches, for Parquet and Arrow

    def content(self) -> Iterator[tuple[int, Sequence[Any]]]:
        """Yield (row number, cells) of the rows that are data."""
        return content_rows(self.dialect, self.rows)


class OpenFile:
    """The file or files of one resource while they are read; digests at the end."""

    def __init__(self, resource: Resource, read: Callable[[int], None] | None = None) -> None:
        self.resource = resource
        self._read = read
        self._stack = ExitStack()
        self._hashed: HashedFile | None = None
        self._joined: Joined | None = None

    def __enter__(self) -> OpenFile:
        return self

    def __exit__(self, *_: object) -> None:
        self._stack.close()

    @property
    def size(self) -> int:
        return self._hashed.size if self._hashed else 0

    def open(self) -> tuple[IO[bytes], str]:
        """Return the plain bytes and the place; SourceProblem for what poses as data."""
        r = self.resource
        if r.scheme not in (None, "", "file", "multipart") and len(r.paths) < 2:
            raise problem(
                "scheme-error",
                f"the scheme {r.scheme!r} is not read; only files are",
                f"不支持 scheme“{r.scheme}”；仅读取文件",
            )
        if len(r.paths) > 1:
            self._joined = Joined(r)
            self._stack.callback(self._joined.close)
            return io.BufferedReader(self._joined, 1 << 20), r.place
        if r.type == "table" and is_database(r.paths[0]):
            raise elsewhere("source-error", r.paths[0])
        raw = open_file(r.root, r.paths[0])
        self._hashed = HashedFile(raw, self._read)
        self._stack.callback(self._hashed.release)
        head = raw.read(512) or b""
        raw.seek(0)
        intruder = named_intruder(head) if r.format not in ("html", "txt", "text") else None
        if intruder is not None:
            raise intruder
        compression = r.compression
        if compression is None and r.format not in ("xlsx", "ods", "xls"):
            _same_kind(r, magic(head))
        plain, member = self._stack.enter_context(
            decompressed(self._hashed, compression, r.inner_path, size=self._hashed.size)
        )
        place = r.place if member is None else f"{r.paths[0]} -> {member}"
        return plain, place

    def reopen(self) -> IO[bytes]:
        """Return the plain bytes once more from the start."""
        if self._joined is not None:
            self._joined.close()
        if self._hashed is None:
            return self.open()[0]
        self._hashed.seek(0)
        plain, _ = self._stack.enter_context(
            decompressed(
                self._hashed,
                self.resource.compression,
                self.resource.inner_path,
                size=self._hashed.size,
            )
        )
        return plain

    def again(self) -> None:
        """Tell once more what is read: another pass begins."""
        if self._hashed is not None:
            self._hashed.again()

    def raw(self) -> HashedFile:
        """Return the file as it lies on disk (Parquet, sheets)."""
        assert self._hashed is not None
        self._hashed.seek(0)
        return self._hashed

    def spooled(self, plain: IO[bytes]) -> IO[bytes]:
        """Return a file to seek in: the one on disk, or its plain bytes in an unnamed one."""
        if self.resource.compression is None:
            return self.raw()  # type: ignore[return-value]
        try:
            whole = tempfile.TemporaryFile(prefix="yaosu-plain-")  # noqa: SIM115 (the stack closes it)
            self._stack.callback(whole.close)
            shutil.copyfileobj(plain, whole, 1 << 20)
            whole.seek(0)
        except OSError as why:
            reason = system_reason(why)
            raise problem(
                "resource-limit",
                f"it has to be unpacked to be read, temporary files failed: {reason.en}",
                f"需先解压才能读取，临时文件出错：{reason.zh}",
            ) from None
        return whole

    def digests(self) -> Digests | None:
        """Read what is left and return the digests; None where nothing was opened."""
        try:
            if self._joined is not None:
                return self._joined.finish()
            return None if self._hashed is None else self._hashed.finish()
        except OSError as why:
            raise problem("source-error", *system_reason(why)) from None

    def changed(self) -> Text | None:
        return None if self._hashed is None else self._hashed.changed()


def _same_kind(r: Resource, seen: str | None) -> None:
    """Refuse bytes of another kind under a text name, with the kind that Frictionless gives."""
    if seen is None or seen == r.format:
        return
    if r.format in ("csv", "tsv", "jsonl"):
        raise problem(
            "encoding-error",
            f"the bytes are {seen}, not {r.format} text",
            f"内容是 {seen} 格式，不是 {r.format} 文本",
        )
    if r.format in ("json", "parquet", "arrow"):
        raise problem(
            "format-mismatch",
            f"the bytes are {seen}, not {r.format}",
            f"内容是 {seen} 格式，不是 {r.format}",
        )


class Joined(io.RawIOBase):
    """Several files read as one; the header line of every further CSV part is left out."""

    def __init__(self, resource: Resource) -> None:
        import hashlib

        self._sha256, self._md5 = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
        self._bytes = 0
        self._chunks = self._read(resource)
        self._left = memoryview(b"")

    def _read(self, r: Resource) -> Iterator[bytes]:
        drop = r.format == "csv" and r.dialect.header
        for number, path in enumerate(r.paths):
            with OpenFile(_part(r, path)) as file:
                stream, _ = file.open()
                if drop and number:
                    yield from filter(None, [_behind_first_line(stream)])
                while chunk := stream.read(1 << 20):
                    yield chunk

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self._left:
            chunk = next(self._chunks, b"")
            self._sha256.update(chunk)
            self._md5.update(chunk)
            self._bytes += len(chunk)
            self._left = memoryview(chunk)
        view = memoryview(buffer).cast("B")
        count = min(len(view), len(self._left))
        view[:count] = self._left[:count]
        self._left = self._left[count:]
        return count

    def finish(self) -> Digests:
        buffer = bytearray(1 << 20)
        self._left = memoryview(b"")
        while self.readinto(buffer):
            self._left = memoryview(b"")
        return Digests(self._sha256.hexdigest(), self._md5.hexdigest(), self._bytes)


def _behind_first_line(stream: IO[bytes]) -> bytes:
    """Read past the first line, whichever way it ends; return what was read of the text behind."""
    while chunk := stream.read(1 << 16):
        if chunk.endswith(b"\r"):
            chunk += stream.read(1)
        first = chunk.splitlines(keepends=True)[0]
        if first.endswith((b"\r", b"\n")):
            return chunk[len(first) :]
    return b""


def _part(r: Resource, path: str) -> Resource:
    """Return one file of a resource in several; its scheme is that of files, whatever is said."""
    from .resources import split_name

    return replace(r, paths=(path,), scheme=None, compression=split_name(path)[2])


class Rewound(io.RawIOBase):
    """The head that was looked at, then the rest; always fills the buffer it is given."""

    def __init__(self, head: bytes, rest: IO[bytes]) -> None:
        self._head = memoryview(head)
        self._rest = rest

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")
        count = min(len(view), len(self._head))
        view[:count] = self._head[:count]
        self._head = self._head[count:]
        while count < len(view):
            got = self._rest.readinto(view[count:])  # type: ignore[attr-defined]
            if not got:
                break
            count += got
        return count


def open_table(file: OpenFile) -> Table:
    """Open the resource of a file as a table; SourceProblem if it is none."""
    r = file.resource
    known = (*_TEXTUAL, *_COLUMNS, *_SHEETS)
    if r.data is not None:
        if r.format != "inline":  # as Frictionless has it: only files are written in a format
            raise problem(
                "scheme-error" if r.format in known else "format-error",
                f"data in the descriptor is not read as {r.format!r}",
                f"描述符内的数据不能按“{r.format}”读取",
            )
        return _finish_opening(Table(r, r.dialect, format="inline", place=r.place), _inline(r))
    if r.format not in known and not (r.paths and is_database(r.paths[0])):
        raise problem(
            "format-error", f"the format {r.format!r} is not read", f"不支持格式“{r.format}”"
        )
    stream, place = file.open()
    if r.format in _COLUMNS:
        return _open_columns(file, stream, place)
    if r.format in _SHEETS:
        return _open_sheet(file, stream, place)
    head = stream.read(HEAD)
    intruder = named_intruder(head[:512])
    if intruder is not None:
        raise intruder
    stream = io.BufferedReader(Rewound(head, stream), 1 << 20)
    table = Table(r, r.dialect, place=place, format=r.format, stream=stream)
    if r.format == "json":
        return _open_json(table, head)
    table.encoding = detect_encoding(head, r.encoding, guess_encoding)
    if not r.encoding and not table.encoding.startswith("utf"):
        table.warnings.append(_guessed(table.encoding))
    if r.format == "jsonl":
        return _open_jsonl(table, head)
    return _open_csv(table)


def _guessed(encoding: str) -> Text:
    return Text(
        f'no encoding is stated, and the text looks like {encoding}: say "encoding": "{encoding}" '
        "in the descriptor, or write it as UTF-8",
        f"未声明编码，按内容推断为 {encoding}："
        f'请在描述文件中写明 "encoding": "{encoding}"，或改存为 UTF-8',
    )


def _text(table: Table) -> io.TextIOWrapper:
    assert table.stream is not None
    newline = "" if table.format == "csv" else None
    return io.TextIOWrapper(table.stream, table.encoding, newline=newline)


def _open_csv(table: Table) -> Table:
    text = _text(table)
    lines = bounded(text)
    sample = deque(_guarded(_first(lines, SAMPLE_LINES)))
    seen = text.newlines
    table.lone_returns = "\r" in ((seen,) if isinstance(seen, str) else seen or ())
    heads = [line if isinstance(line, str) else line.head for line in sample]
    table.dialect = sniff_csv(table.dialect, heads, table.format)
    return _finish_opening(table, csv_rows(table.dialect, chain(_used_up(sample), lines)))


def _used_up(lines: deque[str | LongLine]) -> Iterator[str | LongLine]:
    while lines:  # they may be long
        yield lines.popleft()


def _first(lines: Iterator[str | LongLine], count: int) -> Iterator[str | LongLine]:
    size = 0
    for _ in range(count):
        line = next(lines, None)
        if line is None:
            return
        yield line
        size += len(line.raw) if isinstance(line, LongLine) else len(line)
        if size > SAMPLE_SIZE:
            return


def _finish_opening(table: Table, rows: Iterator[Sequence[Any]]) -> Table:
    """Take the first rows, and read header, labels and fragment off them."""
    rows = _guarded(rows)
    sample = list(_sample(rows))
    table.dialect = find_header(table.dialect, sample)
    table.labels = read_labels(table.dialect, sample)
    table.fragment = [cells for _, cells in content_rows(table.dialect, sample)]
    table.rows = chain(sample, rows)
    return table


def _sample(rows: Iterator[Sequence[Any]]) -> Iterator[Sequence[Any]]:
    """Yield the first rows, as many as may be held at once."""
    size = count = 0
    for number, cells in enumerate(rows, start=1):
        yield cells
        size += sum(len(cell) for cell in cells if type(cell) is str)
        count += len(cells)
        if number >= SAMPLE_ROWS or size > SAMPLE_SIZE or count > SAMPLE_CELLS:
            return


def _guarded(rows: Iterator[Any]) -> Iterator[Any]:
    """Turn whatever a reader raises into one finding."""
    import csv

    try:
        yield from rows
    except UnicodeDecodeError as why:
        raise undecodable(why) from None
    except (csv.Error, ValueError, RecursionError, EOFError) as why:
        note = clip(why, 200)
        raise problem("source-error", note, note) from None


# --- JSON --------------------------------------------------------------------------------------


class NotTabular(SourceProblem):
    """It is JSON without records, and no one said that it is a table."""


def _open_json(table: Table, head: bytes) -> Table:
    start = head.lstrip()
    if start.startswith(b"{") and not table.dialect.json_property and is_lines(start):
        table.format = "jsonl"
        table.warnings.append(
            Text(
                "the content is JSON Lines under a .json name; it was read as JSON Lines",
                "文件名为 .json，内容是 JSON Lines；已按 JSON Lines 读取",
            )
        )
        return _open_jsonl(table, head)
    named = table.resource.tabular or table.dialect.json_property is not None
    if start and not named and not _RECORDS.match(start):
        raise NotTabular(_no_records().finding)
    return _finish_opening(table, _json_rows(table))


_RECORDS = re.compile(rb"\[\s*([\[{\]]|$)")


def _open_jsonl(table: Table, head: bytes) -> Table:
    table.records = head.lstrip(b"\xef\xbb\xbf \t").startswith(b"{")
    rows = _guarded(_jsonl_rows(table, bounded(_text(table))))
    names = list(islice(rows, 1))
    _finish_opening(table, chain(names, rows))
    table.by_label = table.records and [table.labels] == names and table.dialect.one_row_each
    return table


def is_lines(head: bytes) -> bool:
    """Say whether the first line is a whole JSON object and a second one follows."""
    first, _, rest = head.partition(b"\n")
    try:
        whole = isinstance(json.loads(first), dict)
    except (ValueError, RecursionError):
        return False
    return whole and rest.lstrip().startswith(b"{")


def _json_rows(table: Table) -> Iterator[Sequence[Any]]:
    import ijson

    name = table.dialect.json_property
    prefix = f"{name}.item" if name else "item"
    assert table.stream is not None
    stream = Measured(table.stream)
    items = stream.items(ijson.items(stream, prefix, buf_size=JSON_BYTES))
    rows = _keyed(_ijson(items), table.dialect.json_keys)
    first = next(rows, None)
    if first is None:
        raise _no_records()
    yield first
    yield from rows


def _no_records() -> SourceProblem:
    return problem("source-error", "there is no array of records in it", "其中没有记录数组")


def _ijson(items: Iterator[Any]) -> Iterator[Any]:
    from ijson.common import JSONError

    try:
        yield from items
    except (JSONError, UnicodeDecodeError) as why:
        note = reason(why)
        raise problem("source-error", note.en, note.zh) from None


def _jsonl_rows(table: Table, lines: Iterator[str | LongLine]) -> Iterator[Sequence[Any]]:
    return _keyed(_json_lines(lines), table.dialect.json_keys)


def _json_lines(lines: Iterator[str | LongLine]) -> Iterator[Any]:
    for number, line in enumerate(lines, start=1):
        if number == 1:
            line = line.removeprefix("\ufeff") if isinstance(line, str) else line
        try:
            yield parse_long_json(line.raw) if isinstance(line, LongLine) else parse_json(line)
        except (ValueError, RecursionError) as why:
            note = reason(why)
            raise problem(
                "source-error",
                f"line {number} is not JSON: {note.en}",
                f"第 {number} 行不是 JSON：{note.zh}",
            ) from None


def _inline(r: Resource) -> Iterator[Sequence[Any]]:
    keys = r.dialect.json_keys
    if r.schema is not None and r.schema.fields:
        keys = tuple(f.name for f in r.schema.fields)
    if not isinstance(r.data, list):
        raise _mixed()
    return _keyed(iter(r.data), keys)


def _keyed(items: Iterator[Any], keys: tuple[str, ...] | None) -> Iterator[Sequence[Any]]:
    """Give records as rows under one header row; arrays are rows already."""
    first = next(items, _END)
    if first is _END:
        return
    if isinstance(first, dict):
        names = list(keys or first)
        yield names
        yield [first.get(name) for name in names]
        for item in items:
            if not isinstance(item, dict):
                raise _mixed()
            yield [item.get(name) for name in names]
    elif isinstance(first, list):
        yield first
        for item in items:
            if not isinstance(item, list):
                raise _mixed()
            yield item
    else:
        raise _mixed()


_END = object()


def _mixed() -> SourceProblem:
    return problem(
        "source-error",
        "the records are not all objects, or all arrays",
        "记录并非全部为对象或全部为数组",
    )


# --- columns and sheets ------------------------------------------------------------------------


def _open_columns(file: OpenFile, stream: IO[bytes], place: str) -> Table:
    from .columns import open_columns

    r = file.resource
    table = Table(r, r.dialect, place=place, format=r.format)
    if len(r.paths) > 1:
        table.arrow = _joined_columns(r)
    else:
        table.arrow = open_columns(r.format, file.spooled(stream))
    table.labels = list(table.arrow.schema.names)
    table.fragment = [()] if table.arrow.rows else []
    return table


def _joined_columns(r: Resource) -> ColumnReader:
    """Return several columnar files as one; each is opened anew, so that few are open at once."""
    from .columns import ColumnReader

    heads = []
    for path in r.paths:
        with _part_columns(r, path) as columns:
            heads.append((columns.schema, columns.rows))
    schema = heads[0][0]
    for path, (other, _) in zip(r.paths, heads, strict=True):
        if not other.equals(schema):
            raise problem(
                "source-error",
                f"'{path}' has other columns than '{r.paths[0]}'",
                f"“{path}”与“{r.paths[0]}”的列不同",
            )

    def batches() -> Iterator[Any]:
        for path in r.paths:
            with _part_columns(r, path) as columns:
                yield from columns.batches()

    counts = [rows for _, rows in heads]
    total = None if None in counts else sum(n for n in counts if n is not None)
    return ColumnReader(schema, total, batches)


@contextmanager
def _part_columns(r: Resource, path: str) -> Iterator[ColumnReader]:
    from .columns import open_columns

    with OpenFile(_part(r, path)) as file:
        stream, _ = file.open()
        yield open_columns(r.format, file.spooled(stream))


def _open_sheet(file: OpenFile, stream: IO[bytes], place: str) -> Table:
    from .excel import sheet_rows

    r = file.resource
    table = Table(r, r.dialect, place=place, format=r.format)
    book = file.raw().read() if r.compression is None else stream.read()
    return _finish_opening(table, sheet_rows(book, r.format, r.dialect.controls))
