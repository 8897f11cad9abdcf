"""How much of the records is filled: cells, required cells, fields and whole records.

A cell is empty when it is missing, null or a text of no characters. A table is the fields that any
of its records has; what lies below the first level of a record is not looked at.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from yaosu_schemas.report import Metric
from yaosu_validators.check import Conclusion, check

from .personal_names import shown
from .view import About, Places, View

_MOST_FIELDS = 4096
_MOST_KINDS = 4096  # of records, by which fields they fill
_ISO = "ISO/IEC 5259-2:2024"


@dataclass(slots=True)
class FilledState:
    """Filled cells by field, and records by the fields that they fill (None: too many kinds)."""

    records: int = 0
    filled: Counter[str] | None = field(default_factory=Counter)
    kinds: Counter[tuple[str, ...]] | None = field(default_factory=Counter)

    def add(self, kinds: Mapping[tuple[str, ...], int], names: Iterable[str]) -> None:
        """Count records of some kinds; `names` are fields that are there, filled or not."""
        if self.filled is None:
            return
        for name in names:
            self.filled.setdefault(name, 0)
        for kind, count in kinds.items():
            for name in kind:
                self.filled[name] += count
        if len(self.filled) > _MOST_FIELDS:
            self.filled = self.kinds = None
        elif self.kinds is not None:
            for kind, count in kinds.items():
                self.kinds[kind] += count
            if len(self.kinds) > _MOST_KINDS:
                self.kinds = None


@check("corpus.completeness", "1")
@dataclass(frozen=True, slots=True, kw_only=True)
class Completeness:
    """Fields that a table has are filled in its records."""

    sees: ClassVar = "records"

    def start(self, about: About) -> FilledState:
        return FilledState()

    def observe(self, state: FilledState, view: View) -> FilledState:
        state.records += len(view)
        if isinstance(view.raw, pa.RecordBatch):
            state.add(_of_columns(view.raw), view.raw.schema.names)
            return state
        kinds: Counter[tuple[str, ...]] = Counter()
        names: dict[str, None] = {}
        for record in view.raw:
            names.update(dict.fromkeys(record))
            # The order of the keys says nothing; texts of records come in few orders.
            kinds[tuple(sorted(k for k, v in record.items() if v is not None and v != ""))] += 1
        state.add(kinds, names)
        return state

    def merge(self, left: FilledState, right: FilledState) -> FilledState:
        left.records += right.records
        if right.filled is None:
            left.filled = left.kinds = None
        elif left.filled is not None:
            left.filled.update(right.filled)
            if len(left.filled) > _MOST_FIELDS:
                left.filled = left.kinds = None
        if right.kinds is None:
            left.kinds = None
        elif left.kinds is not None:
            left.kinds.update(right.kinds)
            if len(left.kinds) > _MOST_KINDS:
                left.kinds = None
        return left

    def conclude(self, states: Sequence[tuple[About, FilledState]], places: Places) -> Conclusion:
        counted = [(a, s) for a, s in states if s.filled is not None and s.records]
        if not counted:
            return Conclusion()
        cells = filled = required = required_filled = 0
        whole = [0, 0]
        emptiest: tuple[int, int] | None = None
        for about, state in counted:
            assert state.filled is not None
            n = state.records
            cells += n * len(state.filled)
            filled += sum(state.filled.values())
            required += n * len(about.required)
            required_filled += sum(state.filled.get(name, 0) for name in about.required)
            if state.kinds is not None:
                whole[0] += state.kinds[tuple(sorted(state.filled))]
                whole[1] += n
            for count in state.filled.values():
                if emptiest is None or count * emptiest[1] < emptiest[0] * n:
                    emptiest = (count, n)
        few = emptiest or (0, 0)
        return Conclusion(
            metrics=(
                _ratio("iso5259:Com-ML-1", _ISO, filled, cells),
                _ratio("iso5259:Com-ML-3", _ISO, *few),
                _ratio("iso5259:Com-ML-4", _ISO, *whole),
                _ratio("gbt36344:0201", "GB/T 36344-2018", required_filled, required),
            ),
            evidence={"resources": [_told(about, state) for about, state in states]},
        )


def _of_columns(batch: pa.RecordBatch) -> dict[tuple[str, ...], int]:
    """Return the records of a batch of columns by the fields that they fill."""
    names = batch.schema.names
    order = sorted(range(len(names)), key=names.__getitem__)
    masks = [_filled(batch.column(i)) for i in order]
    if not masks:
        return {(): batch.num_rows}
    packed = np.packbits(np.stack(masks, axis=1), axis=1)
    kinds, firsts, counts = np.unique(packed, axis=0, return_index=True, return_counts=True)
    return {
        tuple(names[i] for i, mask in zip(order, masks, strict=True) if mask[first]): int(count)
        for first, count in zip(firsts, counts, strict=True)
    }


def _filled(column: pa.Array) -> np.ndarray[Any, np.dtype[np.bool_]]:
    there = pc.is_valid(column)
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        there = pc.and_(there, pc.fill_null(pc.greater(pc.binary_length(column), 0), False))
    return np.asarray(there.to_numpy(zero_copy_only=False), bool)


def _told(about: About, state: FilledState) -> dict[str, Any]:
    filled = state.filled
    empty = {} if filled is None else {n: state.records - c for n, c in filled.items()}
    listed = sorted((n for n in empty if empty[n]), key=lambda n: (-empty[n], n))[:_LISTED]
    return {
        "resource": about.resource,
        "records": state.records,
        "fields": None if filled is None else len(filled),
        "empty": [{"field": shown(name), "records": empty[name]} for name in listed],
        "empty_fields": sum(1 for n in empty.values() if n),
        "records_judged": state.kinds is not None,
    }


_LISTED = 100


def _ratio(id_: str, standard: str, above: int, below: int) -> Metric:
    return Metric(
        id=id_,
        standard=standard,
        value=above / below if below else None,
        numerator=above,
        denominator=below,
        n=below,
    )
