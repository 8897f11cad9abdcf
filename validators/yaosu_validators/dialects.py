"""How a table is written: the dialect as declared, and what the first lines give away."""

from __future__ import annotations

import codecs
import csv
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from .streams import problem

HEAD = 100_000  # bytes that the encoding is guessed from
SAMPLE_LINES = 100
SAMPLE_TEXT = 1 << 18  # `csv.Sniffer` backtracks: it never sees more than this
CSV_KEYS = (
    "delimiter",
    "lineTerminator",
    "quoteChar",
    "doubleQuote",
    "escapeChar",
    "nullSequence",
    "skipInitialSpace",
)
# Two gigabytes, as Frictionless sets it: cells are bounded by bytes read, not by csv's 128 KiB.
csv.field_size_limit((1 << 31) - 2)


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """A Table Dialect: None where the descriptor says nothing and the content decides."""

    header: bool = True
    header_rows: tuple[int, ...] = (1,)
    header_declared: bool = False
    header_join: str = " "
    header_case: bool = True
    comment_char: str | None = None
    comment_rows: tuple[int, ...] = ()
    skip_blank_rows: bool = False
    delimiter: str | None = None
    quote_char: str | None = None
    double_quote: bool = True
    escape_char: str | None = None
    null_sequence: str | None = None
    skip_initial_space: bool | None = None
    json_keys: tuple[str, ...] | None = None
    json_property: str | None = None
    controls: Mapping[str, Any] = field(default_factory=dict)

    @property
    def first_content_row(self) -> int:
        return self.header_rows[-1] + 1 if self.header and self.header_rows else 1

    @property
    def one_row_each(self) -> bool:
        """Say whether everything behind the first line is a row of data."""
        left_out = self.comment_char or self.comment_rows or self.skip_blank_rows
        return self.first_content_row == 2 and not left_out

    def keeps(self, row: int, cells: Sequence[Any]) -> bool:
        """Say whether a row is data: no comment, and not blank where blanks are skipped."""
        if self.is_comment(row, cells):
            return False
        return not (self.skip_blank_rows and all(c is None or c == "" for c in cells))

    def is_comment(self, row: int, cells: Sequence[Any]) -> bool:
        first = cells[0] if cells else None
        if self.comment_char and isinstance(first, str) and first.startswith(self.comment_char):
            return True
        return row in self.comment_rows


def dialect_from(descriptor: Mapping[str, Any] | None) -> Dialect:
    """Return the dialect of a descriptor (v1: CSV keys on top; v2: those of all formats)."""
    d = dict(descriptor or {})
    marks = {**{k: d[k] for k in CSV_KEYS if d.get(k) is not None}, **_mapping(d.get("csv"))}
    as_json = _mapping(d.get("json"))
    keys = as_json.get("keys") or d.get("itemKeys")
    return Dialect(
        header=d.get("header", True) is not False,
        header_rows=tuple(d.get("headerRows") or (1,)) if d.get("headerRows") != [] else (),
        header_declared=d.get("header") is not None or d.get("headerRows") is not None,
        header_join=d.get("headerJoin", " "),
        header_case=d.get("headerCase", True) is not False,
        comment_char=d.get("commentChar"),
        comment_rows=tuple(d.get("commentRows") or ()),
        skip_blank_rows=bool(d.get("skipBlankRows", False)),
        delimiter=marks.get("delimiter"),
        quote_char=marks.get("quoteChar"),
        double_quote=marks.get("doubleQuote", True) is not False,
        escape_char=marks.get("escapeChar"),
        null_sequence=marks.get("nullSequence"),
        skip_initial_space=marks.get("skipInitialSpace"),
        json_keys=tuple(keys) if keys else None,
        json_property=as_json.get("property") or d.get("property"),
        controls={k: v for k, v in d.items() if isinstance(v, Mapping)} | _sheet(d),
    )


def _mapping(value: Any) -> dict[str, Any]:
    return dict(value) if isinstance(value, Mapping) else {}


def _sheet(d: Mapping[str, Any]) -> dict[str, Any]:
    sheet = d.get("sheetName") or d.get("sheetNumber")
    return {} if sheet is None else {"excel": {"sheet": sheet}, "ods": {"sheet": sheet}}


def sniff_csv(dialect: Dialect, lines: Sequence[str], format_: str) -> Dialect:
    """Fill in what was not declared from the first lines, as Python's `csv.Sniffer` sees them."""
    declared = dialect.delimiter
    if declared is None and format_ == "tsv":
        declared = "\t"
    allowed = ",\t;|" if declared is None else declared
    text = "".join(lines)
    try:
        seen: Any = csv.Sniffer().sniff(text[:SAMPLE_TEXT], allowed)
    except csv.Error:
        seen = csv.excel()
    quote = seen.quotechar
    if quote == "'":
        quote = '"'  # JSON inside cells confuses the sniffer
    return replace(
        dialect,
        delimiter=seen.delimiter if declared is None else declared,
        quote_char=quote if dialect.quote_char is None else dialect.quote_char,
        escape_char=seen.escapechar if dialect.escape_char is None else dialect.escape_char,
        skip_initial_space=(
            bool(seen.skipinitialspace)
            if dialect.skip_initial_space is None
            else dialect.skip_initial_space
        ),
    )


def csv_reader(dialect: Dialect, lines: Iterable[str]) -> Iterator[list[str]]:
    """Return Python's reader for a sniffed dialect."""
    form = csv.excel()
    form.delimiter = "," if dialect.delimiter is None else dialect.delimiter
    form.doublequote = dialect.double_quote if dialect.escape_char else True
    form.escapechar = dialect.escape_char
    quote = '"' if dialect.quote_char is None else dialect.quote_char
    form.quotechar = quote
    form.quoting = csv.QUOTE_NONE if quote == "" else csv.QUOTE_MINIMAL
    form.skipinitialspace = bool(dialect.skip_initial_space)
    try:
        return csv.reader(lines, dialect=form)  # Python 3.11 takes no empty quote character
    except (TypeError, csv.Error) as why:
        raise problem(
            "source-error", f"the dialect cannot be used: {why}", "方言无法使用"
        ) from None


def find_header(dialect: Dialect, sample: Sequence[Sequence[Any]]) -> Dialect:
    """Take as header the first row about as wide as the average, unless one is declared."""
    if dialect.header_declared or not sample:
        return dialect
    widths = [len(cells) for cells in sample]
    width = round(sum(widths) / len(widths))
    drift = max(round(width * 0.1), 1)
    for row, cells in enumerate(sample, start=1):
        if dialect.is_comment(row, cells):
            continue
        if width - drift <= len(cells) <= width + drift:
            return replace(dialect, header_rows=(row,))
    return dialect


def read_labels(dialect: Dialect, sample: Sequence[Sequence[Any]]) -> list[str]:
    """Return the labels; those of several header rows are joined, repeats left out."""
    labels: list[str] = []
    before: dict[int, str] = {}
    for row, cells in enumerate(sample, start=1):
        if not dialect.is_comment(row, cells):
            if dialect.header and row in dialect.header_rows:
                texts = ["" if c is None else str(c).strip() for c in cells]
                if not labels:
                    labels, before = texts, dict(enumerate(texts))
                    texts = []
                for i, cell in enumerate(texts):
                    if before.get(i) == cell:
                        continue
                    before[i] = cell
                    if len(labels) <= i:
                        labels.append(cell)
                    else:
                        labels[i] = dialect.header_join.join([labels[i], cell])
            if row >= dialect.first_content_row:
                break
    return labels


def content_rows(
    dialect: Dialect, rows: Iterable[Sequence[Any]]
) -> Iterator[tuple[int, Sequence[Any]]]:
    """Number the rows from 1 and give those that are data."""
    first = dialect.first_content_row
    for row, cells in enumerate(rows, start=1):
        if row >= first and dialect.keeps(row, cells):
            yield row, cells


def detect_encoding(head: bytes, declared: str | None, guess: Callable[[bytes], str]) -> str:
    """Return Python's name of the encoding: declared, else guessed, with its mark taken off."""
    try:
        name = codecs.lookup(declared or guess(head)).name
        "".encode(name)  # `rot13` and others are codecs, not encodings
    except (LookupError, TypeError, UnicodeError):
        raise problem(
            "encoding-error",
            f"there is no encoding {declared!r}",
            f"没有名为“{declared}”的编码",
        ) from None
    if name == "utf-8" and head.startswith(codecs.BOM_UTF8):
        return "utf-8-sig"
    if name == "utf-16-be" and head.startswith(codecs.BOM_UTF16_BE):
        return "utf-16"
    if name == "utf-16-le" and head.startswith(codecs.BOM_UTF16_LE):
        return "utf-16"
    return name


def _is_utf8(head: bytes) -> bool:
    """Say whether bytes are UTF-8; a character may be cut off at the end of a full head."""
    try:
        codecs.getincrementaldecoder("utf-8")().decode(head, final=len(head) < HEAD)
    except UnicodeDecodeError:
        return False
    # Wide text without its mark is valid UTF-8, too, where every other byte is zero.
    return head.count(0) * 4 <= len(head)


def guess_encoding(head: bytes) -> str:
    """Return the encoding that the bytes look like; UTF-8 where nothing speaks against it."""
    if _is_utf8(head) and not (head.isascii() and (b"\x1b" in head or b"~{" in head)):
        return "utf-8"
    from chardet import UniversalDetector

    detector = UniversalDetector()
    for line in head.splitlines():
        detector.feed(line)
    detector.close()
    seen = detector.result["encoding"] or "utf-8"
    if (detector.result["confidence"] or 0) < 0.5:
        try:
            head.decode("utf-8")
            seen = "utf-8"
        except UnicodeDecodeError:
            pass
    return "utf-8" if seen == "ascii" else seen
