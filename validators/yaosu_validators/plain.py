"""Plain lines of a text table: no quotes, as many cells as columns. Cells are cut by position.

Most lines of most tables are plain, and it is cheaper to ask only the cells that have something to
prove, column by column, than to lead one automaton over every byte of the line.
"""

from __future__ import annotations

from collections.abc import Container, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow.compute as pc

from .blocks import Lines, places
from .columns import ColumnFilter
from .fields import Field
from .grammar import literal
from .utf8 import is_utf8


@dataclass(frozen=True, slots=True)
class PlainLines:
    """The plain lines of one block, and where their cells end."""

    lines: Lines
    numbers: Any  # which lines, ascending
    separators: Any  # offsets of all delimiters and line breaks
    first: Any  # for each plain line the place of its first separator
    width: int

    def cells(self, column: int, chosen: Any = None) -> Any:
        """Return the cells of one column, of all plain lines or of some of them (by place)."""
        return self.lines.cells(*self.bounds(column, column, chosen))

    def spans(self, left: int, right: int) -> Any:
        """Return what stands from one column to another, delimiters included."""
        return self.lines.cells(*self.bounds(left, right))

    def bounds(self, left: int, right: int, chosen: Any = None) -> tuple[Any, Any]:
        """Return where the cells of some neighbouring columns start and stop."""
        first, numbers = self.first, self.numbers
        if chosen is not None:
            first, numbers = first[chosen], numbers[chosen]
        stops = self.separators[first + right]
        starts = self.separators[first + left - 1] + 1 if left else self.lines.ends[numbers]
        if right == self.width - 1:  # CRLF: a lone CR was refused before
            returns = self.lines.raw[np.maximum(stops, 1) - 1] == ord("\r")
            stops = np.where(returns & (stops > starts), stops - 1, stops)
        return starts, stops


class PlainFilter:
    """Accepts plain lines whose cells are certainly valid.

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
        self.quote = quote.encode()
        self.width = len(columns)
        self.sizes: dict[int, tuple[int, int, bool]] = {}
        self.filters: dict[int, ColumnFilter] = {}
        self.spans: list[tuple[int, int, str]] = []
        between = literal(delimiter)
        for i, (column, form) in enumerate(zip(columns, forms, strict=True)):
            sizes = None if i in keyed else _sizes(column)
            if sizes is not None:
                self.sizes[i] = sizes
                continue
            if i in residual:
                self.filters[i] = ColumnFilter(column)
                if i not in keyed:
                    continue
            if self.spans and self.spans[-1][1] == i - 1:
                left, _, text = self.spans.pop()
                self.spans.append((left, i, f"{text}{between}(?:{form})"))
            else:
                self.spans.append((i, i, f"(?:{form})"))

    def cut(self, lines: Lines) -> PlainLines | None:
        """Cut a block into cells by its separators; None where that is not safe or not worth it."""
        data, raw = lines.data, lines.raw
        if b"\r" in data and data.count(b"\r") != data.count(b"\r\n"):
            return None
        breaks = lines.breaks
        plain = np.diff(breaks, prepend=-1) == self.width
        if self.quote and self.quote in data:
            at = places(raw, self.quote)
            plain[np.searchsorted(lines.ends[1:], at, "right")] = False
        numbers = np.flatnonzero(plain)
        if 2 * len(numbers) < len(plain) or not is_utf8(data):
            return None
        first = breaks[numbers] - (self.width - 1)
        return PlainLines(lines, numbers, lines.separators, first, self.width)

    def accept(self, plain: PlainLines) -> Any:
        """Return for each plain line whether every cell of it is proven valid."""
        mask = np.ones(len(plain.numbers), bool)
        for i, (least, most, empty) in self.sizes.items():
            if (least, most, empty) == _ANY:
                continue
            starts, stops = plain.bounds(i, i)
            size = stops - starts
            fits = (size >= least) & (size <= most)
            mask &= fits | (size == 0) if empty else fits
        for left, right, form in self.spans:
            cells = plain.spans(left, right)
            mask &= _flags(pc.match_substring_regex(cells, rf"\A{form}\z"))
        for i, filter_ in self.filters.items():
            mask &= _flags(filter_.each(plain.cells(i)))
        return mask


def _flags(mask: Any) -> Any:
    return mask.to_numpy(zero_copy_only=False)


_LONGEST = (1 << 31) - 1
_ANY = (0, _LONGEST, True)


def _sizes(column: Field) -> tuple[int, int, bool] | None:
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
