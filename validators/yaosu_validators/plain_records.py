"""Plain records of JSON Lines: every key in order, no escapes. Values are cut out by their quotes.

The quotes of a line that holds no backslash cut it into texts and what stands between them. Where
their number is that of the template, long texts are asked for their size alone, and the automata
read only the rest. Whatever the cuts, pieces that match are together a record of the template.
"""

from __future__ import annotations

import json
from collections.abc import Container, Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from .blocks import Lines
from .column_proofs import flags
from .fields import Field
from .grammar import literal
from .plain import ANY, PlainFilter, PlainLines, fits, sizes_of

_S = "[ \\t]*"


class RecordFilter(PlainFilter):
    """Accepts records whose values are certainly valid: piece 0 is "{", piece 1 the first key."""

    def __init__(
        self,
        columns: Sequence[Field],
        labels: Sequence[str],
        values: Sequence[str],
        keyed: Container[int],
    ) -> None:
        """Take for each column the form of its value: one in quotes where it begins with one."""
        self.delimiter, self.spoils = b'"', b"\\"
        self.quoted = [value.startswith('"') for value in values]
        self.filters = {}
        self.sizes = {}
        self.spans: list[tuple[int, int, str]] = []
        pieces = [_S + r"\{" + _S]
        asked: list[int] = []
        start = 0
        for i, (column, label, value) in enumerate(zip(columns, labels, values, strict=True)):
            end = f"{_S},{_S}" if i + 1 < len(columns) else _S + r"\}" + _S + r"\r?"
            pieces.append(literal(json.dumps(label, ensure_ascii=False)[1:-1]))
            if not self.quoted[i]:
                asked.append(len(pieces))
                pieces.append(f"{_S}:{_S}{value}{end}")
                continue
            pieces.append(f"{_S}:{_S}")
            asked.append(len(pieces))
            sizes = sizes_of(column) if column.type == "string" and i not in keyed else None
            if sizes is not None:
                self.sizes[len(pieces)] = sizes
                self.spans.append((start, len(pieces) - 1, '"'.join(pieces[start:])))
                start = len(pieces) + 1
            pieces += [f"(?:{value[1:-1]})", end]
        self.spans.append((start, len(pieces) - 1, '"'.join(pieces[start:])))
        self.asked, self.width = asked, len(pieces)
        self.forms = dict(enumerate(pieces))
        self.between = {  # spans without a value
            left for left, right, _ in self.spans if not set(asked) & set(range(left, right + 1))
        }

    def cut(self, lines: Lines) -> PlainLines | None:
        """Cut a block by its quotes; None where it holds characters that JSON texts may not."""
        controls = int(np.count_nonzero(lines.raw < 0x20))
        breaks = len(lines)
        if controls != breaks and controls != breaks + lines.data.count(b"\r\n"):
            return None
        return super().cut(lines)

    def accept(self, plain: PlainLines) -> Any:
        """Return for each plain line whether every value of it is proven valid."""
        mask = np.ones(len(plain.numbers), bool)
        for i, sizes in self.sizes.items():
            if sizes != ANY:
                mask &= fits(*plain.bounds(i, i), sizes)
        for left, right, form in self.spans:
            if left in self.between:
                mask &= _as_usual(plain, left, right, form)
            else:
                mask &= flags(_matching(plain.spans(left, right), form))
        return mask

    def texts(self, plain: PlainLines, column: int, chosen: Any) -> Any:
        """Return the values of one column of some plain records, without what stands around."""
        cells = plain.cells(self.asked[column], chosen)
        return cells if self.quoted[column] else pc.ascii_trim(cells, characters=" \t:,}\r")

    def is_of_template(self, labels: Sequence[str], item: dict[str, Any]) -> bool:
        """Say whether a record's values stand at the places where plain records have them."""
        return list(item) == labels and [type(v) is str for v in item.values()] == self.quoted


def _as_usual(plain: PlainLines, left: int, right: int, form: str) -> Any:
    """Say which lines have between two values what the form allows: nearly all the very same."""
    cells = plain.spans(left, right)
    usual = cells[0]
    if not flags(_matching(pa.array([usual]), form))[0]:
        return flags(_matching(cells, form))
    same = flags(pc.equal(cells, usual))
    others = np.flatnonzero(~same)
    if len(others):
        same[others] = flags(_matching(cells.take(pa.array(others)), form))
    return same


def _matching(cells: Any, form: str) -> Any:
    return pc.match_substring_regex(cells, rf"\A{form}\z")
