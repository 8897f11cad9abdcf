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
        proven = [i for i in asked if i not in self.sizes]
        self.values = _Runs(pieces, proven)
        self.around = _Runs(pieces, [i for i in self.forms if i not in asked])

    def cut(self, lines: Lines) -> PlainLines | None:
        """Cut a block by its quotes; None where it holds characters that JSON texts may not."""
        if lines.has_controls:
            controls = int(np.count_nonzero(lines.raw < _SPACE)) - len(lines)
            if controls and controls != lines.data.count(b"\r\n"):
                return None
        return super().cut(lines)

    def accept(self, plain: PlainLines) -> Any:
        """Return for each plain line whether every value of it is proven valid."""
        mask = self.around.match_as_first(plain.joined(self.around.runs))
        for i, sizes in self.sizes.items():
            if sizes != ANY:
                mask &= fits(*plain.bounds(i, i), sizes)
        if self.values.runs:
            mask &= self.values.match(plain.joined(self.values.runs))
        return mask

    def texts(self, plain: PlainLines, column: int, chosen: Any) -> Any:
        """Return the values of one column of some plain records, without what stands around."""
        cells = plain.cells(self.asked[column], chosen)
        return cells if self.quoted[column] else pc.ascii_trim(cells, characters=" \t:,}\r")

    def is_of_template(self, labels: Sequence[str], item: dict[str, Any]) -> bool:
        """Say whether a record's values stand at the places where plain records have them."""
        return list(item) == labels and [type(v) is str for v in item.values()] == self.quoted


_SPACE = 0x20


class _Runs:
    """Some pieces of every line, each with the quote or line break behind it, as one text."""

    def __init__(self, pieces: Sequence[str], chosen: Sequence[int]) -> None:
        self.runs: list[tuple[int, int]] = []  # (from, to): the pieces of one run are neighbours
        for i in chosen:
            left = self.runs.pop()[0] if self.runs and self.runs[-1][1] == i else i
            self.runs.append((left, i + 1))
        ends = ['"' if i + 1 < len(pieces) else r"\n" for i in chosen]
        forms = (pieces[i] + end for i, end in zip(chosen, ends, strict=True))
        self.form = rf"\A{''.join(forms)}\z"

    def match(self, texts: Any) -> Any:
        """Say which texts have the form."""
        return flags(pc.match_substring_regex(texts, self.form))

    def match_as_first(self, texts: Any) -> Any:
        """Say the same of texts of which nearly all are like the first."""
        if not self.match(texts.slice(0, 1)).all():
            return self.match(texts)
        same = flags(pc.equal(texts, texts[0]))
        others = np.flatnonzero(~same)
        if len(others):
            same[others] = self.match(texts.take(pa.array(others)))
        return same
