"""Plain lines of a text table: no quotes, as many cells as columns. Cells are cut by position.

Most lines of most tables are plain, and it is cheaper to ask only the cells that have something to
prove, column by column, than to lead one automaton over every byte of the line.
"""

from __future__ import annotations

from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from .blocks import Lines
from .column_proofs import ColumnFilter, flags
from .fields import Field
from .grammar import literal
from .simd import Runs

_TOGETHER = 8  # lines: of more too often one is wrong
_FEW = 256  # rejected lines of a block are sooner read whole than their columns asked one by one
Sizes = tuple[int, int, bool]  # of a cell in bytes: the least, the most, and whether none will do


@dataclass(frozen=True, slots=True)
class PlainLines:
    """The plain lines of one block, and where their cells end."""

    lines: Lines
    numbers: Any  # which lines, ascending
    separators: Any  # offsets of all delimiters and line breaks
    first: Any  # for each plain line the place of its first separator
    width: int
    returns: bool  # some lines end with CRLF

    def cells(self, column: int, chosen: Any = None) -> Any:
        """Return the cells of one column, of all plain lines or of some of them (by place)."""
        if self.lines.cut is not None and not (self.returns and column == self.width - 1):
            first = self.first if chosen is None else self.first.take(chosen)
            cells = self.lines.cut.joined(first, [(column, column + 1)], trim=1, keep=True)
            if cells is not None:
                return cells
        return self.lines.cells(*self.bounds(column, chosen))

    def bounds(self, column: int, chosen: Any = None) -> tuple[Any, Any]:
        """Return where the cells of a column start and stop."""
        first, numbers = self.first, self.numbers
        if chosen is not None:
            first, numbers = first.take(chosen), numbers.take(chosen)
        take = self.separators.take
        stops = take(first + column)
        starts = take(first + (column - 1)) + 1 if column else self.lines.ends.take(numbers)
        if self.returns and column == self.width - 1:  # a lone CR was refused before
            returns = self.lines.raw[np.maximum(stops, 1) - 1] == ord("\r")
            stops = np.where(returns & (stops > starts), stops - 1, stops)
        return starts, stops

    def joined(self, runs: Runs, chosen: Any = None) -> Any:
        """Return for plain lines one text each: the cells of some runs, all delimiters included.

        It may be lent: what is asked next makes it void.
        """
        first = self.first if chosen is None else self.first.take(chosen)
        if not len(first):
            return pa.array([], pa.utf8())
        if self.lines.cut is not None:
            texts = self.lines.cut.joined(first, runs, trim=0)
            if texts is not None:
                return texts
        places = first[:, None] + (np.ravel(runs) - 1)
        ends = self.separators.take(places, mode="clip")
        ends += 1
        if runs[0][0] == 0 and first[0] == 0:
            ends[0, 0] = 0  # no line break is before the first line
        texts = self.lines.texts(ends.ravel()).take(pa.arange(0, ends.size, 2))
        _, bounds, data = texts.buffers()
        bounds = np.frombuffer(bounds, np.int32)[: len(texts) + 1 : len(runs)]
        buffers = [None, pa.py_buffer(np.ascontiguousarray(bounds)), data]
        return pa.Array.from_buffers(pa.utf8(), len(ends), buffers)

    def alike(self, runs: Runs) -> Any:
        """Say which plain lines hold in some runs what the first of them holds."""
        if self.lines.cut is not None:
            same = self.lines.cut.alike(self.first, runs)
            if same is not None:
                return same
        texts = self.joined(runs)
        return flags(pc.equal(texts, texts[0]))


class Pieces:
    """Some cells of every line, each with what stands behind it, as one text of one form.

    What stands behind a cell is never in it. Some lines together have the form repeated, if all
    of them have it: to ask for each alone takes longer than to read it.
    """

    def __init__(self, forms: Mapping[int, str]) -> None:
        """Take for each cell the form of it and of what stands behind it."""
        self.runs: list[tuple[int, int]] = []  # the cells of one run are neighbours
        for i in forms:
            left = self.runs.pop()[0] if self.runs and self.runs[-1][1] == i else i
            self.runs.append((left, i + 1))
        form = "".join(forms.values())
        self._form, self._forms = rf"\A{form}\z", rf"\A(?:{form})+\z"

    def match(self, plain: PlainLines, chosen: Any = None) -> Any:
        """Say which plain lines have the form."""
        texts = plain.joined(self.runs, chosen)
        _, bounds, data = texts.buffers()
        ends = np.frombuffer(bounds, np.int32)[: len(texts) + 1]
        last = ends[len(texts) :] if len(texts) % _TOGETHER else ends[:0]
        groups = pa.py_buffer(np.concatenate((ends[::_TOGETHER], last)))
        count = len(groups) // ends.itemsize - 1
        together = pa.Array.from_buffers(pa.utf8(), count, [None, groups, data])
        mask = flags(pc.match_substring_regex(together, self._forms))
        mask = np.repeat(mask, _TOGETHER)[: len(texts)]
        others = np.flatnonzero(~mask)
        if len(others):
            apart = texts.take(pa.array(others))
            mask[others] = flags(pc.match_substring_regex(apart, self._form))
        return mask

    def match_as_first(self, plain: PlainLines) -> Any:
        """Say the same where nearly all lines are like the first."""
        if not self.match(plain, np.zeros(1, np.int64)).all():
            return self.match(plain)
        same = plain.alike(self.runs)
        others = np.flatnonzero(~same)
        if len(others):
            same[others] = self.match(plain, others)
        return same


class PlainFilter:
    """Accepts plain lines whose cells are certainly valid. `spoils` is what no plain line holds.

    `forms` are the automata of the cells; those of `keyed` columns may be stricter than the type,
    and what they leave open (`residual`) is asked of the exact reader.
    """

    def __init__(
        self,
        columns: Sequence[Field],
        forms: Sequence[str],
        keyed: Container[int],
        residual: Container[int],
        delimiter: str,
        quote: str,
    ) -> None:
        self.delimiter = delimiter.encode()
        self.spoils = quote.encode()
        self.width = len(columns)
        self.asked: Sequence[int] = range(len(columns))  # for each column the place of its cell
        self.forms = dict(enumerate(forms))
        self.sizes: dict[int, Sizes] = {}
        self.filters: dict[int, ColumnFilter] = {}
        matched: dict[int, str] = {}
        for i, (column, form) in enumerate(zip(columns, forms, strict=True)):
            sizes = None if i in keyed else sizes_of(column)
            if sizes is not None:
                self.sizes[i] = sizes
                continue
            if i in residual:
                self.filters[i] = ColumnFilter(column)
                if i not in keyed:
                    del self.forms[i]
                    continue
            behind = literal(delimiter) if i + 1 < self.width else r"\r?\n"
            matched[i] = f"(?:{form}){behind}"
        self.matched = Pieces(matched)

    def cut(self, lines: Lines) -> PlainLines | None:
        """Cut a block into cells by its separators; None where that is not safe or not worth it."""
        data = lines.data
        returns = lines.has_returns
        if returns and data.count(b"\r") != data.count(b"\r\n"):
            return None
        breaks = lines.breaks
        plain = np.diff(breaks, prepend=-1) == self.width
        plain[np.searchsorted(lines.ends[1:], lines.spoiled(), "right")] = False
        numbers = np.flatnonzero(plain)
        if 2 * len(numbers) < len(plain) or not lines.is_utf8:
            return None
        first = breaks[numbers] - (self.width - 1)
        return PlainLines(lines, numbers, lines.separators, first, self.width, returns)

    def accept(self, plain: PlainLines) -> Any:
        """Return for each plain line whether every cell of it is proven valid."""
        mask = np.ones(len(plain.numbers), bool)
        for i, sizes in self.sizes.items():
            if sizes != ANY:
                mask &= fits(*plain.bounds(i), sizes)
        if self.matched.runs:
            mask &= self.matched.match(plain)
        for i, filter_ in self.filters.items():
            mask &= flags(filter_.each(plain.cells(i)))
        return mask

    def doubts_of(self, plain: PlainLines, rejected: Any) -> Doubts:
        """Return for rejected plain lines the columns whose cell is not proven valid."""
        chosen = np.flatnonzero(rejected[plain.numbers])
        if len(chosen) < _FEW:
            chosen = chosen[:0]
        return Doubts(self, plain, chosen)

    def doubts(self, plain: PlainLines, chosen: Any) -> list[list[int]]:
        """Return for some plain lines (by place) the columns whose cell is not proven valid."""
        found: list[list[int]] = [[] for _ in chosen]
        bounds = [plain.bounds(at, chosen) for at in self.asked]
        starts, stops = (np.concatenate(side) for side in zip(*bounds, strict=True))
        order = np.argsort(starts, kind="stable")
        places_ = np.empty(len(order), np.int64)
        places_[order] = np.arange(len(order))
        cells = plain.lines.cells(starts[order], stops[order]).take(pa.array(places_))
        for i, (at, (first, last)) in enumerate(zip(self.asked, bounds, strict=True)):
            if at in self.sizes:
                mask = fits(first, last, self.sizes[at])
            else:
                mask = self._proven(at, cells.slice(i * len(chosen), len(chosen)))
            for line in np.flatnonzero(~mask).tolist():
                found[line].append(i)
        return found

    def _proven(self, at: int, cells: Any) -> Any:
        mask = np.ones(len(cells), bool)
        if at in self.forms:
            mask &= flags(pc.match_substring_regex(cells, rf"\A(?:{self.forms[at]})\z"))
        if at in self.filters:
            mask &= flags(self.filters[at].each(cells))
        return mask


class Doubts:
    """Which cells of plain lines are in doubt: asked of some lines at a time, as they come up.

    Nearly all lines of a block may be in doubt, and none of them looked at.
    """

    def __init__(self, filter_: PlainFilter, plain: PlainLines, chosen: Any) -> None:
        self._filter, self._plain, self._chosen = filter_, plain, chosen
        self._lines = plain.numbers.take(chosen)
        self._known: dict[int, list[int]] = {}
        self._last = -1  # line up to which all is known

    def get(self, line: int) -> list[int] | None:
        """Return the columns in doubt; None of a line that is not one of these. Lines only grow."""
        if line > self._last:
            at = int(self._lines.searchsorted(line))
            lines = self._lines[at : at + _LINES_AT_ONCE].tolist()
            self._last = lines[-1] if lines else len(self._plain.lines)
            found = self._filter.doubts(self._plain, self._chosen[at : at + len(lines)])
            self._known = dict(zip(lines, found, strict=True))
        return self._known.get(line)


_LINES_AT_ONCE = 1 << 13


def fits(starts: Any, stops: Any, sizes: Sizes) -> Any:
    """Say which cells have a size that proves them."""
    least, most, empty = sizes
    size = stops - starts
    fits = (size >= least) & (size <= most)
    return fits | (size == 0) if empty else fits


_LONGEST = (1 << 31) - 1
ANY = (0, _LONGEST, True)


def sizes_of(column: Field) -> Sizes | None:
    """Return how many bytes prove a text right (least, most, or none); None for other columns.

    A character takes one to four bytes.
    """
    asked = {k: v for k, v in column.constraints.items() if v is not None and k != "unique"}
    if column.type == "any" and not set(asked) - {"required"} and column.categories is None:
        asked = {}
    elif column.type != "string" or column.format != "default" or column.categories is not None:
        return None
    if set(asked) - {"required", "minLength", "maxLength"}:
        return None
    if column.missing != ("",) and (asked or column.required):
        return None
    least = max(4 * int(asked.get("minLength", 0)), int(column.required))
    return least, int(asked.get("maxLength", _LONGEST)), not column.required
