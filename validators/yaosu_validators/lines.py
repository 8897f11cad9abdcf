"""Text tables at Arrow speed: whole lines are proven valid by one automaton, the rest row by row.

The cells of a schema are written as one regular expression over a whole line (RE2: linear time,
no backtracking). A line that matches is one complete, valid row of plain cells. Every other line
starts the exact path: Python's `csv.reader` takes as many lines as its row needs, and the row is
judged cell by cell. A quoted line break therefore never deceives: the lines that the exact path
has eaten are taken out again.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from .blocks import Block, Blocks, Lines, sound_bytes
from .checks.structure import MAX_SKIPS, Structure, TableState
from .column_proofs import ColumnFilter, flags
from .dialects import Dialect, csv_reader
from .feeds import Behind, Feed, NeedMore
from .fields import Field
from .grammar import form_of, literal
from .keys import ESCAPE, PART
from .marks import LONG_LINE, Marks
from .plain import Doubts, PlainFilter, PlainLines
from .streams import SourceProblem, undecodable
from .utf8 import first_bad

MAX_COLUMNS = 1_000  # of more an automaton is slower than the exact path: RE2's memory is full
_QUOTE_END = '"\r\n'
_QUOTED = r'(?:[^"\r\n]|"")*'


@dataclass(slots=True)
class LineForm:
    """The automaton of a table: lines it accepts, lines it must give back, cells left to ask."""

    accept: str
    reject: tuple[str, ...] = ()
    residual: tuple[int, ...] = ()
    extract: str = ""
    taken: tuple[int, ...] = ()
    plain: tuple[str, ...] = ()  # cells without quotes


def line_form(check: Structure, dialect: Dialect) -> LineForm | None:
    """Return the automaton, or None for tables that only the exact path can read."""
    quote = '"' if dialect.quote_char is None else dialect.quote_char
    delimiter = dialect.delimiter or ","
    if dialect.escape_char or len(delimiter) != 1 or quote not in ('"', ""):
        return None
    if not 0 < len(check.columns) <= MAX_COLUMNS:
        return None
    if any(row >= dialect.first_content_row for row in dialect.comment_rows):
        return None
    if delimiter in '\r\n"' or not delimiter.isascii():
        return None
    writer = _Writer(check, dialect, delimiter, quote)
    form = writer.form()
    if form is None:
        return None
    try:
        probe = pa.array(["a"])
        for pattern in (form.accept, *form.reject):
            pc.match_substring_regex(probe, pattern)
        if form.extract:
            pc.extract_regex(probe, form.extract)
    except pa.ArrowException:  # too many columns for one automaton
        return None
    return form


class _Writer:
    """Writes the expressions of one table."""

    def __init__(self, check: Structure, dialect: Dialect, delimiter: str, quote: str) -> None:
        self.check = check
        self.dialect = dialect
        self.delimiter = delimiter
        self.quote = quote
        self.plain = delimiter + '"\r\n'
        self.keyed: dict[int, bool] = {}
        for key in check.keys:
            alone = key.rule in ("unique", "foreign", "lookup") and len(key.columns) == 1
            for column in key.columns:
                self.keyed[column] = self.keyed.get(column, True) and alone
        self.residual: list[int] = []
        self.plains: list[str] = []
        self.reject: list[str] = []

    def form(self) -> LineForm | None:
        cells = []
        for i, column in enumerate(self.check.columns):
            cell = self._keyed_cell(i, column) if i in self.keyed else self._cell(i, column)
            if cell is None:
                return None
            cells.append(self._either(*cell))
            self.plains.append(cell[0])
        end = r"\r?\n\z"
        self._blank(end)
        taken = tuple(sorted({*self.keyed, *self.residual}))
        return LineForm(
            accept=r"\A" + literal(self.delimiter).join(cells) + end,
            reject=tuple(self.reject),
            residual=tuple(self.residual),
            extract=self._extract(taken) if taken else "",
            taken=taken,
            plain=() if self.dialect.skip_initial_space else tuple(self.plains),
        )

    def _cell(self, i: int, column: Field) -> tuple[str, str] | None:
        """Return the expressions of a cell without and with quotes."""
        plain = form_of(column, self.plain)
        spaced = bool(self.dialect.skip_initial_space)
        free = f"[^{_chars(self.plain)}]*"
        if plain is None or not plain.whole:
            self.residual.append(i)
            return None if spaced else (free, _QUOTED)
        nulls = self._nulls(i, column)
        if column.type in ("string", "any"):
            if not column.constraints or set(column.constraints) <= {"required", "unique"}:
                if column.required and "" in column.missing:
                    return None if spaced else (free[:-1] + "+", _QUOTED[:-1] + "+")
                start = f"(?:[^ {_chars(self.plain)}]{free})?"
                return start if spaced else free, _QUOTED
            if spaced:
                return None
        quoted = form_of(column, _QUOTE_END) or plain
        inner = (plain if self.delimiter == " " else quoted).text
        if column.type in ("string", "any") and set(column.constraints) & {
            "minLength",
            "maxLength",
        }:
            inner = inner.replace(f"[^{_chars(_QUOTE_END)}]", _QUOTED[:-1])
        return "|".join((plain.text, *nulls)), "|".join((inner, *nulls))

    def _keyed_cell(self, i: int, column: Field) -> tuple[str, str] | None:
        plain = form_of(column, self.plain + ESCAPE + PART, canonical=True)
        if plain is None or self.dialect.skip_initial_space:
            return None
        if not plain.whole:
            self.residual.append(i)
        alone = self.keyed[i] and not column.required
        if set(column.missing) - {""}:
            self._not_missing(i, column)
        text = plain.text + ("|" if alone and "" in column.missing else "")
        return text, text

    def _either(self, plain: str, quoted: str) -> str:
        space = " *" if self.dialect.skip_initial_space else ""
        if not self.quote:
            return f"{space}(?:{plain})"
        return f'{space}(?:{plain}|"(?:{quoted})")'

    def _nulls(self, i: int, column: Field) -> list[str]:
        """Return the spellings of an absent cell; required cells may not have any of them."""
        others = [m for m in column.missing if m]
        if column.required:
            if others:
                self._not_missing(i, column)
            return []
        texts = [literal(m) for m in others if not any(c in m for c in self.plain)]
        return [*texts, ""] if "" in column.missing else texts

    def _not_missing(self, i: int, column: Field) -> None:
        before = f"(?:{self._any_cell()}{literal(self.delimiter)}){{{i}}}" if i else ""
        texts = "|".join(self._spellings(column))
        after = literal(self.delimiter) if i + 1 < len(self.check.columns) else r"\r?\n\z"
        if texts:
            self.reject.append(rf"\A{before}(?:{texts}){after}")

    def _spellings(self, column: Field) -> list[str]:
        texts = []
        for missing in column.missing:
            if not any(c in missing for c in self.plain):
                texts.append(literal(missing))
            if self.quote and not any(c in missing for c in "\r\n"):
                texts.append('"' + literal(missing.replace('"', '""')) + '"')
        return texts

    def _any_cell(self) -> str:
        return self._either(f"[^{_chars(self.plain)}]*", _QUOTED)

    def _blank(self, end: str) -> None:
        """Give back rows that may be blank, empty lines, and comments."""
        columns = self.check.columns
        if len(columns) == 1:
            self.reject.append(r"\A" + end)
        if all(c.missing and not c.required for c in columns):
            space = " *" if self.dialect.skip_initial_space else ""
            cells = [space + "(?:" + "|".join(self._spellings(c)) + ")" for c in columns]
            self.reject.append(r"\A" + literal(self.delimiter).join(cells) + end)
        if self.dialect.comment_char:
            self.reject.append(r'\A *"? *' + literal(self.dialect.comment_char))
        if self.dialect.skip_blank_rows:
            self.reject.append(rf'\A(?:(?:"")?{literal(self.delimiter)})*(?:"")?{end}')

    def _extract(self, taken: Sequence[int]) -> str:
        """Return an expression with one group for each cell that is looked at on its own."""
        parts, at = [r"\A"], 0
        skip = f"{self._any_cell()}{literal(self.delimiter)}"
        for i in taken:
            if i > at:
                parts.append(f"(?:{skip}){{{i - at}}}")
            group = f"[^{_chars(self.plain)}]*"
            quoted = f'"(?P<q{i}>{_QUOTED})"' if self.quote else ""
            parts.append(f"(?:{quoted}|(?P<c{i}>{group}))" if quoted else f"(?P<c{i}>{group})")
            at = i + 1
            if i + 1 < len(self.check.columns):
                parts.append(literal(self.delimiter))
        return "".join(parts)


def _chars(text: str) -> str:
    return "".join(f"\\x{{{ord(c):x}}}" for c in text)


class LineJudge:
    """Judges the text of one table, or of one part of it, block by block."""

    def __init__(self, check: Structure, dialect: Dialect, form: LineForm, format_: str) -> None:
        self.check = replace(check, settles=False)  # a bad byte may take a block back
        self.settles = check.settles
        self.dialect = dialect
        self.form = form
        self.reader = check.reader()
        self.newline = "" if format_ == "csv" else None
        self.filters = {i: ColumnFilter(check.columns[i]) for i in form.residual}
        self.plain: PlainFilter | None = None
        self.keyed = {c for key in check.keys for c in key.columns}
        if form.plain:
            quote = '"' if dialect.quote_char is None else dialect.quote_char
            between = dialect.delimiter or ","
            self.plain = PlainFilter(
                check.columns, form.plain, self.keyed, form.residual, between, quote
            )

    def read(
        self, state: TableState, blocks: Blocks, first: int, beyond: Iterable[Block] = ()
    ) -> None:
        """Judge a whole stream; rows before number `first` are counted and passed over.

        What the last row takes of the text beyond the stream is `unused` below nothing.
        """
        ahead, further = iter(blocks), iter(beyond)
        for block in ahead:
            behind = Behind(ahead, further)
            try:
                self.observe(state, block, first, behind)
            except NeedMore:
                if block.failure is not None:  # the row would go on where nothing can be read
                    raise block.failure from None
                blocks.unused += behind.needed
                return
            if self.settles:
                self.check.settle(state)
            if state.full:
                return
            taken, rest = behind.rest(block)
            if behind.beyond:
                blocks.unused = -behind.beyond
            elif rest:
                blocks.keep(rest)
            elif taken.failure is not None:
                raise taken.failure

    def observe(self, state: TableState, block: Block, first: int, behind: Behind) -> None:
        """Add the rows that begin in a block, however far behind it they go on."""
        if not block.data:
            return
        mark = Mark.of(state)
        try:
            self._observe(state, block.data, block.last, first, behind)
        except UnicodeDecodeError as why:
            # Frictionless decodes 8 KiB at a time: a bad byte takes its whole chunk with it.
            mark.restore(state)
            good = block.data[: sound_bytes(block, first_bad(block.data) or why)]
            with suppress(NeedMore):
                self._observe(state, good, False, first, Behind(iter(()), iter(())))
            if not state.full:
                raise undecodable(why) from None

    def _observe(
        self, state: TableState, data: bytearray, last: bool, first: int, behind: Behind
    ) -> None:
        cut = (self.plain.delimiter, self.plain.spoils) if self.plain else (b"", b"")
        lines = Lines(data, last, *cut)
        if not len(lines):
            return
        plain = None if self.plain is None else self.plain.cut(lines)
        if plain is None:
            self.plain = None  # what is not plain here will hardly be further on
            lines.must_be_utf8()  # RE2 lets characters pass that are longer than they may be
        judged = self._judged(lines, plain)
        _Pass(self, state, lines, plain, judged, last, first, behind).run()

    def _judged(self, lines: Lines, plain: PlainLines | None) -> Judged:
        column = lines.column()
        if plain is None or self.plain is None:
            return Judged(self._whole(column))
        good = self.plain.accept(plain)
        mask = np.zeros(len(lines), bool)
        mask[plain.numbers[good]] = True
        odd = np.zeros(len(lines), bool)
        for pattern in self.form.reject:
            odd |= flags(pc.match_substring_regex(column, pattern))
        mask &= ~odd
        others = np.flatnonzero(~mask)
        if len(others):
            mask[others] = self._whole(column.take(pa.array(others)))
        return Judged(mask, good, self.plain.doubts_of(plain, ~(mask | odd)))

    def _whole(self, lines: Any) -> Any:
        """Ask the automaton of whole lines, then the cells that it left open."""
        mask = pc.match_substring_regex(lines, self.form.accept)
        for pattern in self.form.reject:
            mask = pc.and_not(mask, pc.match_substring_regex(lines, pattern))
        mask = flags(mask)
        picked = np.flatnonzero(mask)
        if self.filters and len(picked):
            cells = self.cells(lines.take(pa.array(picked)))
            for i, filter_ in self.filters.items():
                mask[picked] &= flags(filter_.each(cells[i]))
        return mask

    def cells(self, lines: Any) -> dict[int, Any]:
        """Return the cells of some columns of accepted lines; null where the text is odd."""
        found = pc.extract_regex(lines, self.form.extract)
        names = {found.type.field(n).name: n for n in range(found.type.num_fields)}
        columns = {}
        for i in self.form.taken:
            cell = found.field(names[f"c{i}"])
            if f"q{i}" in names:
                quoted = pc.replace_substring(found.field(names[f"q{i}"]), '""', '"')
                cell = pc.if_else(pc.equal(cell, ""), quoted, cell)
            columns[i] = cell
        return columns


def picked_rows(runs: list[tuple[int, int, int]]) -> tuple[Any, Any]:
    """Return the lines of some runs (from, to, number of the first row), and their rows."""
    spans = np.array(runs, np.int64)
    lengths = spans[:, 1] - spans[:, 0]
    steps = np.arange(lengths.sum()) - np.repeat(lengths.cumsum() - lengths, lengths)
    return np.repeat(spans[:, 0], lengths) + steps, np.repeat(spans[:, 2], lengths) + steps


def one_by_one(numbers: Any) -> Iterator[int]:
    """Yield the numbers of an array; there may be too many to have them all as Python's own."""
    for start in range(0, len(numbers), _FEW):
        yield from numbers[start : start + _FEW].tolist()


_FEW = 1 << 13


@dataclass(slots=True)
class Mark:
    """How far a state had come before a block."""

    numbers: int
    rows: int
    found: int
    skips: int
    chunks: list[int]

    @classmethod
    def of(cls, state: TableState) -> Mark:
        for pairs in state.pairs:
            pairs.flush()
        chunks = [len(pairs.chunks) for pairs in state.pairs]
        return cls(state.numbers, state.rows, len(state.found), len(state.skips), chunks)

    def restore(self, state: TableState) -> None:
        state.numbers, state.rows, state.full = self.numbers, self.rows, False
        del state.found[self.found :], state.skips[self.skips :]
        for pairs, count in zip(state.pairs, self.chunks, strict=True):
            pairs.texts.clear()
            pairs.rows.clear()
            del pairs.chunks[count:]


@dataclass(frozen=True, slots=True)
class Judged:
    """Which lines of a block are valid rows, which plain lines are, which cells are in doubt."""

    mask: Any
    good: Any = None
    doubts: Doubts | None = None  # columns of a plain line


@dataclass(slots=True)
class _Pass:
    """One block on its way through: accepted runs of lines, and exact rows between them."""

    judge: LineJudge
    state: TableState
    lines: Lines
    plain: PlainLines | None
    judged: Judged
    last: bool
    first: int
    behind: Behind
    runs: list[tuple[int, int, int]] = field(
        default_factory=list
    )  # line from, to, first row number
    left: list[int] = field(
        default_factory=list
    )  # lines that are rows of a run for their keys only

    def run(self) -> None:
        try:
            self._rows()
        except (SourceProblem, NeedMore):  # what was seen before it stands
            self._keys()
            raise
        self._keys()

    def _rows(self) -> None:
        marks = Marks(self.judge.dialect)
        feed = Feed(self.lines, self.last, self.judge.newline, self.behind, marks)
        reader = csv_reader(self.judge.dialect, feed)
        self._skip_header(feed, reader)
        line = feed.at
        for at in one_by_one(np.flatnonzero(~self.judged.mask)):
            if at < line:
                continue
            self._accept(line, at)
            if self._doubtful(at):
                line = at + 1
            else:
                feed.at = at
                self._exact(feed, reader)
                line = feed.at
            if self.state.full:
                return
        self._accept(line, len(self.lines))

    def _skip_header(self, feed: Feed, reader: Iterator[list[str]]) -> None:
        """Count the rows before the data."""
        while self.state.numbers + 1 < self.first:
            feed.begin()
            if next(reader, None) is None:
                return
            self.state.numbers += 1

    def _accept(self, start: int, stop: int) -> None:
        if stop > start:
            self.runs.append((start, stop, self.state.numbers + 1))
            self.state.rows += stop - start
            self.state.numbers += stop - start

    def _doubtful(self, line: int) -> bool:
        """Judge a plain row by its doubtful cells alone; False where it goes the exact way."""
        doubts = self.judged.doubts.get(line) if self.judged.doubts else None
        if doubts is None or (cells := self._plain(line)) is None:
            return False
        number = self.state.numbers + 1
        if not self.judge.dialect.keeps(number, cells):
            return False
        check = self.judge.check
        keys = not check.keys or not self.judge.keyed.isdisjoint(doubts)
        check.row_with_doubts(self.state, number, cells, doubts, self.judge.reader, keys=keys)
        if not keys:
            self.runs.append((line, line + 1, number))
            self.left.append(line)
        return True

    def _exact(self, feed: Feed, reader: Iterator[list[str]]) -> None:
        """Judge rows from the feed's line on until a row ends with a line."""
        check, state, dialect = self.judge.check, self.state, self.judge.dialect
        rows: list[list[str]] = []
        if (plain := self._plain(feed.at)) is not None:
            rows.append(plain)
            feed.at += 1
        feed.begin()
        while not rows or feed.pending:
            cells = next(reader, None)
            if cells is None:
                break
            rows.append(feed.marks.restored(cells))
        for cells in rows:
            number = state.numbers + 1
            if dialect.keeps(number, cells):
                check.rows(state, [(number, cells)], self.judge.reader)
                if state.full:
                    break
            else:
                state.numbers = number
                if len(state.skips) < MAX_SKIPS:
                    state.skips.append(number)
            cells.clear()
        feed.begin()

    def _plain(self, line: int) -> list[str] | None:
        """Return the cells of a line that needs no reader to cut it: no quotes, no odd breaks."""
        ends = self.lines.ends
        if self.plain is None or ends.item(line + 1) - ends.item(line) > LONG_LINE:
            return None
        raw = self.lines[line].removesuffix(b"\r")
        if not raw or b'"' in raw or b"\r" in raw:
            return None
        return raw.decode("utf-8").split(self.judge.dialect.delimiter or ",")

    def _keys(self) -> None:
        if not self.judge.check.keys or not self.runs:
            return
        picked, rows = picked_rows(self.runs)
        chosen = easy_places(self.lines, self.plain, self.judged, picked)
        easy: dict[int, Any] = {}
        if self.plain is not None and self.left:
            chosen[np.searchsorted(picked, self.left)] = np.searchsorted(
                self.plain.numbers, self.left
            )
        if self.plain is not None:
            taken = self.judge.form.taken
            easy = {i: self.plain.cells(i, chosen[chosen >= 0]) for i in taken}
        hard: dict[int, Any] = {}
        if not easy or (chosen < 0).any():
            hard = self.judge.cells(self.lines.column().take(pa.array(picked[chosen < 0])))
        add_keys(self.judge.check, self.state, easy, hard, chosen, rows)


def easy_places(lines: Lines, plain: PlainLines | None, judged: Judged, picked: Any) -> Any:
    """Return for some accepted lines their place among the plain ones, or -1."""
    places = np.full(len(lines), -1, np.int64)
    if plain is not None:
        good = np.flatnonzero(judged.good)
        places[plain.numbers[good]] = good
    return places[picked]


def add_keys(
    check: Structure,
    state: TableState,
    easy: dict[int, Any],
    hard: dict[int, Any],
    chosen: Any,
    numbers: Any,
) -> None:
    """Collect the keys of some rows, in order: cells of plain lines (chosen >= 0), and others."""
    order = None
    if easy and hard:
        order = pa.array(np.argsort(np.argsort(chosen < 0, kind="stable"), kind="stable"))
    for key, pairs in zip(check.keys, state.pairs, strict=True):
        rows = pa.array(numbers)
        texts = []
        for i in key.columns:
            cells = pa.concat_arrays([c[i] for c in (easy, hard) if c])
            texts.append(cells if order is None else cells.take(order))
        joined = texts[0] if len(texts) == 1 else pc.binary_join_element_wise(*texts, PART)
        empty = pc.equal(pc.binary_length(joined), 0)
        if joined.null_count or pc.any(empty).as_py():
            keep = pc.fill_null(pc.invert(empty), False)
            joined, rows = joined.filter(keep), rows.filter(keep)
        if len(texts) == 1 and check.columns[key.columns[0]].type == "integer":
            joined = pc.cast(joined, pa.int64())  # the form allows one spelling only
        pairs.add_arrays(joined, rows)
