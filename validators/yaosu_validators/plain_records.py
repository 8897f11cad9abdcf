"""Plain records of JSON Lines: every key in order, no escapes. Values are cut out by their quotes.

The quotes of a line that holds no backslash cut it into texts and what stands between them. Where
their number is that of the template, long texts are asked for their size alone, the keys for being
those of the first record, and an automaton reads only the other values, which are set together.
Whatever the cuts, pieces that match are together a record of the template.
"""

from __future__ import annotations

import json
from collections.abc import Container, Sequence
from typing import Any

import numpy as np
import pyarrow.compute as pc

from .blocks import Lines
from .fields import Field
from .grammar import literal
from .plain import ANY, Pieces, PlainFilter, PlainLines, fits, sizes_of

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
        pieces = [_S + r"\{" + _S]
        asked: list[int] = []
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
            pieces += [f"(?:{value[1:-1]})", end]
        self.asked, self.width = asked, len(pieces)
        self.forms = dict(enumerate(pieces))
        behind = ['"'] * (self.width - 1) + [r"\n"]
        forms = {i: form + behind[i] for i, form in self.forms.items() if i not in self.sizes}
        self.values = Pieces({i: form for i, form in forms.items() if i in asked})
        self.around = Pieces({i: form for i, form in forms.items() if i not in asked})

    def cut(self, lines: Lines) -> PlainLines | None:
        """Cut a block by its quotes; None where it holds characters that JSON texts may not."""
        if lines.has_controls:
            controls = int(np.count_nonzero(lines.raw < _SPACE)) - len(lines)
            if controls and controls != lines.data.count(b"\r\n"):
                return None
        return super().cut(lines)

    def accept(self, plain: PlainLines) -> Any:
        """Return for each plain line whether every value of it is proven valid."""
        mask = self.around.match_as_first(plain)
        for i, sizes in self.sizes.items():
            if sizes != ANY:
                mask &= fits(*plain.bounds(i), sizes)
        if self.values.runs:
            mask &= self.values.match(plain)
        return mask

    def texts(self, plain: PlainLines, column: int, chosen: Any) -> Any:
        """Return the values of one column of some plain records, without what stands around."""
        cells = plain.cells(self.asked[column], chosen)
        return cells if self.quoted[column] else pc.ascii_trim(cells, characters=" \t:,}\r")

    def is_of_template(self, labels: Sequence[str], item: dict[str, Any]) -> bool:
        """Say whether a record's values stand at the places where plain records have them."""
        return list(item) == labels and [type(v) is str for v in item.values()] == self.quoted


_SPACE = 0x20
