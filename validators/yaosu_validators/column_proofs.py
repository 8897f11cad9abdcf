"""Which cells of a column are certainly valid: asked of all at once, never wrong, not complete.

What is not proven is not invalid: the exact reader is asked.
"""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from .fields import BOUNDS, Field
from .patterns import translate
from .readers import CellReader, cell_reader, value_reader

Mask = Any  # pa.BooleanArray; None means every row, False no row


def both(left: Mask, right: Mask) -> Mask:
    """Return the rows that two masks have in common."""
    if left is None:
        return right
    if right is None:
        return left
    if left is False or right is False:
        return False
    return pc.and_(left, right)


def flags(mask: Any) -> Any:
    """Return a mask of Arrow as one of NumPy; by `to_numpy` Arrow would load pandas."""
    packed = pc.fill_null(mask, False).buffers()[1] if mask.null_count else mask.buffers()[1]
    bits = np.frombuffer(packed, np.uint8) if packed is not None else np.empty(0, np.uint8)
    stop = mask.offset + len(mask)
    return np.unpackbits(bits, count=stop, bitorder="little")[mask.offset :].view(bool)


def values_of(column: Any) -> list[Any]:
    """Return Python values; times in nanoseconds lose what Python cannot hold."""
    t = column.type
    if not column.null_count and (pa.types.is_int64(t) or pa.types.is_float64(t)):
        return np.asarray(column).tolist()  # type: ignore[no-any-return]
    if not column.null_count and pa.types.is_string(t) and len(column):
        _, ends, data = column.buffers()
        at = np.frombuffer(ends, np.int32)[column.offset : column.offset + len(column) + 1].tolist()
        raw = memoryview(data or b"")
        return [str(raw[start:stop], "utf-8") for start, stop in pairwise(at)]
    try:
        return column.to_pylist()  # type: ignore[no-any-return]
    except (ValueError, OverflowError, pa.ArrowException):
        return [str(value) for value in column]


class ColumnFilter:
    """Accepts cells of one column that are certainly valid."""

    def __init__(self, field: Field) -> None:
        self.field = field
        self.read: CellReader = cell_reader(field)
        self.cast = value_reader(field)
        self._known: tuple[Any, Mask, Mask] | None = None  # of the last dictionary

    def accept(self, column: Any) -> tuple[Mask, Mask]:
        """Return (mask of proven cells, mask of absent cells); None: all proven, none absent."""
        if pa.types.is_dictionary(column.type):
            return self._encoded(column)
        return self._plain(column, len(column))

    def _encoded(self, column: Any) -> tuple[Mask, Mask]:
        """Judge the values of a dictionary, which many batches may share, once."""
        values, indices = column.dictionary, column.indices
        if self._known is None or not _is_same(self._known[0], values):
            self._known = (values, *self._plain(values, len(column)))
        _, mask, absent = self._known
        if mask is not None and mask is not False:
            mask = pc.fill_null(pc.take(mask, indices), not self.field.required)
        elif mask is None and self.field.required and indices.null_count:
            mask = indices.is_valid()
        if absent is not None:
            absent = pc.fill_null(pc.take(absent, indices), True)
            absent = absent if pc.any(absent).as_py() else None
        elif indices.null_count:
            absent = indices.is_null()
        return mask, absent

    def _plain(self, column: Any, rows: int) -> tuple[Mask, Mask]:
        absent = self._absent(column)
        try:
            mask = self._proven(column)
        except (pa.ArrowException, TypeError, ValueError, OverflowError):
            mask = False
        if mask is False:
            mask = self._by_distinct(column, rows)
        if absent is not None and mask is not None and mask is not False:
            # What a test says of an absent cell is null: only `required` minds it.
            mask = pc.if_else(absent, not self.field.required, pc.fill_null(mask, False))
        elif absent is not None and self.field.required:
            mask = both(mask, pc.invert(absent))
        return mask, absent

    def each(self, column: Any) -> Any:
        """Return for every cell whether it is valid, asking the exact reader where needed."""
        there = column.is_valid()
        mask, _ = self.accept(column)
        if mask is False:
            encoded = column.dictionary_encode()
            good = [self.read(value)[1] is None for value in encoded.dictionary.to_pylist()]
            mask = pc.take(pa.array(good, pa.bool_()), encoded.indices)
        return there if mask is None else pc.fill_null(pc.and_(there, mask), False)

    def _absent(self, column: Any) -> Mask:
        t = column.type
        absent = column.is_null() if column.null_count else None
        missing = self.field.missing
        if not missing:
            return absent
        if (pa.types.is_string(t) or pa.types.is_large_string(t)) and missing == ("",):
            there = pc.equal(pc.binary_length(column), 0)
        elif pa.types.is_string(t) or pa.types.is_large_string(t):
            there = pc.is_in(column, value_set=pa.array(missing, t))
        elif pa.types.is_integer(t):
            numbers = [int(m) for m in missing if _is_int_text(m)]
            if not numbers:
                return absent
            there = pc.is_in(pc.cast(column, pa.int64()), value_set=pa.array(numbers, pa.int64()))
        elif set(missing) <= {""} or not pa.types.is_primitive(t):
            return absent
        else:
            texts = [str(v) in missing for v in values_of(column)]
            there = pa.array(texts, pa.bool_())
        if not pc.any(there).as_py():
            return absent
        return there if absent is None else pc.or_kleene(absent, there)  # `there` is null of a null

    def _proven(self, column: Any) -> Mask:
        field = self.field
        if field.categories is not None or (field.type == "array" and field.array_item):
            return False
        mask = _type_mask(field, column)
        if mask is False:
            return False
        for name, value in field.constraints.items():
            if name in ("required", "unique") or value is None:
                continue
            mask = both(mask, self._constraint(name, value, column))
            if mask is False:
                return False
        return mask

    def _constraint(self, name: str, value: Any, column: Any) -> Mask:
        t = column.type
        if name in BOUNDS:
            return _bound(name, self.cast(value), column)
        if name == "enum":
            values = [self.cast(v) for v in value]
            return pc.is_in(column, value_set=pa.array([v for v in values if v is not None], t))
        if name == "pattern":
            return pc.match_substring_regex(column, translate(value))
        if name not in ("minLength", "maxLength"):
            return False
        if not pa.types.is_string(t):
            length = pc.list_value_length(column)
        elif self._sized(name, value, pc.binary_length(column)):
            return None
        else:
            length = pc.utf8_length(column)
        compare = pc.greater_equal if name == "minLength" else pc.less_equal
        return compare(length, value)

    @staticmethod
    def _sized(name: str, value: int, sizes: Any) -> bool:
        """Say whether the bytes alone prove the length: a character takes one to four of them."""
        ends = pc.min_max(sizes).as_py()
        if ends["min"] is None:
            return True
        return bool(ends["min"] >= 4 * value if name == "minLength" else ends["max"] <= value)

    def _by_distinct(self, column: Any, rows: int) -> Mask:
        """Ask the exact reader once for each distinct value, where they are few for the rows."""
        t = column.type
        if not (pa.types.is_primitive(t) or pa.types.is_string(t) or pa.types.is_large_string(t)):
            return False
        encoded = column.dictionary_encode()
        if len(encoded.dictionary) * 2 > rows and rows > 1000:
            return False
        good = [self.read(value)[1] is None for value in values_of(encoded.dictionary)]
        return pc.take(pa.array(good, pa.bool_()), encoded.indices)


def _is_same(left: Any, right: Any) -> bool:
    """Say whether two arrays are the same memory (the left one is still held)."""
    if len(left) != len(right) or left.offset != right.offset or left.type != right.type:
        return False
    places = zip(left.buffers(), right.buffers(), strict=True)
    return all((a and a.address) == (b and b.address) for a, b in places)


def _is_int_text(text: str) -> bool:
    body = text.removeprefix("-")
    return body.isdecimal() and body.isascii() and len(body) < 19 and str(int(text)) == text


def _type_mask(field: Field, column: Any) -> Mask:
    t, kind = column.type, field.type
    if kind == "any":
        return None
    if kind == "string" and field.format != "default":
        return False
    if kind == "integer" and pa.types.is_floating(t):
        return pc.and_(pc.is_finite(column), pc.equal(pc.floor(column), column))
    if kind == "year" and pa.types.is_integer(t):
        return pc.and_(pc.greater_equal(column, 0), pc.less_equal(column, 9999))
    if kind == "array" and pa.types.is_fixed_size_list(t):
        return None
    known = _KNOWN.get(kind, ())
    return None if any(test(t) for test in known) else False


_KNOWN: dict[str, tuple[Callable[[Any], bool], ...]] = {
    "integer": (pa.types.is_integer,),
    "number": (pa.types.is_integer, pa.types.is_floating, pa.types.is_decimal),
    "string": (pa.types.is_string, pa.types.is_large_string),
    "boolean": (pa.types.is_boolean,),
    "date": (pa.types.is_date,),
    "datetime": (pa.types.is_timestamp,),
    "time": (pa.types.is_time,),
    "array": (pa.types.is_list, pa.types.is_large_list),
    "object": (pa.types.is_struct,),
}


def _bound(name: str, bound: Any, column: Any) -> Mask:
    t = column.type
    compare = {
        "minimum": pc.greater_equal,
        "maximum": pc.less_equal,
        "exclusiveMinimum": pc.greater,
        "exclusiveMaximum": pc.less,
    }[name]
    if pa.types.is_floating(t):
        near = float(bound)
        if Decimal(near) != Decimal(bound):
            # The bound is no float: what equals the rounded bound is not proven.
            compare = pc.greater if name in ("minimum", "exclusiveMinimum") else pc.less
        return compare(column, pa.scalar(near, pa.float64()))
    if pa.types.is_integer(t) and isinstance(bound, Decimal) and bound != bound.to_integral_value():
        inner = bound.to_integral_value(
            "ROUND_FLOOR" if "Max" in name or name == "maximum" else "ROUND_CEILING"
        )
        compare = pc.less_equal if "Max" in name or name == "maximum" else pc.greater_equal
        return compare(column, pa.scalar(int(inner), pa.int64()))
    if pa.types.is_integer(t):
        return compare(column, pa.scalar(int(bound), pa.int64()))
    return compare(column, pa.scalar(bound, t))
