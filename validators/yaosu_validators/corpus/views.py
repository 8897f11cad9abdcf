"""Records become views: one walk over each record, or columns taken as they are.

Every string is a segment; whole numbers of seven digits and more are too, because telephone and
identity numbers are often kept as numbers. Turns of a conversation are known by what they hold
(a speaker and a content), wherever they stand.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from yaosu_validators.long_texts import LongText, whole

from .shapes import CONTENT_KEYS, HISTORY, SPEAKER_KEYS, SPEAKERS, Mapped
from .shingles import utf8_of
from .view import Ints, Role, View

MAX_DEPTH = 64
LEAST_NUMBER = 10**6  # numbers above are looked at as text
_PREFERENCES = (Role.CHOSEN, Role.REJECTED)
_KINDS = {"tool_call": Role.TOOL, "tool_calls": Role.TOOL, "tools": Role.TOOLS,
          "tool_result": Role.OBSERVATION}  # fmt: skip


@dataclass(slots=True)
class _Node:
    """One place in the records: what stands there, and what lies below it."""

    path: str
    number: int
    role: int
    below: dict[str, _Node] = field(default_factory=dict)
    item: _Node | None = None


@dataclass(slots=True)
class ViewMaker:
    """Makes the views of one resource; fields keep their numbers from batch to batch."""

    mapped: Mapped
    names: list[str] = field(default_factory=list)
    _root: _Node = field(init=False)
    _texts: list[str] = field(default_factory=list)
    _roles: list[int] = field(default_factory=list)
    _fields: list[int] = field(default_factory=list)
    _turns: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._root = _Node("", -1, Role.CELL)

    def view(self, positions: Ints, records: Sequence[Any] | pa.RecordBatch) -> View:
        """Return the view of one batch; positions: int64 (n,)."""
        if isinstance(records, pa.RecordBatch):
            if _flat(records.schema):
                return self._columns(positions, records)
            return self._walked(positions, records.to_pylist(), records)
        return self._walked(positions, records, records)

    def _walked(self, positions: Ints, records: Sequence[Any], raw: Any) -> View:
        self._texts, self._roles, self._fields, self._turns = [], [], [], []
        starts = [0]
        for record in records:
            self._walk(record, self._root, -1, -1, 0)
            starts.append(len(self._texts))
        texts, mended = as_texts(self._texts)
        return View(
            positions=positions,
            starts=np.array(starts, np.int64),
            texts=texts,
            roles=np.array(self._roles, np.uint8),
            fields=np.array(self._fields, np.int32),
            turns=np.array(self._turns, np.int32),
            names=self.names,
            id_name=self.mapped.id,
            raw=raw,
            mended=mended,
            ids=self._values(records, self.mapped.id),
            splits=self._values(records, self.mapped.split),
            labels={name: _labels(records, name) for name in self.mapped.labels},
        )

    def _values(self, records: Sequence[Any], name: str) -> pa.Array | None:
        if not name:
            return None
        return as_texts([_scalar(_at(record, name)) for record in records])[0]

    # --- the walk ----------------------------------------------------------------------------

    def _walk(self, value: Any, node: _Node, role: int, turn: int, depth: int) -> None:
        kind = type(value)
        if kind is str or kind is LongText:
            self._add(value, node, node.role if role < 0 else role, turn)
        elif kind is dict:
            if node.role in _PREFERENCES and (spoken := _speaker(value)) is not None:
                self._turn(value, node, spoken, role, 0, depth)
                return
            if depth < MAX_DEPTH:
                for key, inner in value.items():
                    self._walk(inner, self._below(node, key), role, turn, depth + 1)
        elif kind is list:
            if depth < MAX_DEPTH and value:
                item = node.item or self._item(node)
                if node.path == HISTORY and _is_pairs(value):
                    for at, (asked, said) in enumerate(value):
                        self._add(asked, item, Role.PROMPT, 2 * at)
                        self._add(said, item, Role.ANSWER, 2 * at + 1)
                    return
                for at, inner in enumerate(value):
                    spoken = _speaker(inner) if type(inner) is dict else None
                    if spoken is None:
                        self._walk(inner, item, role, turn, depth + 1)
                    else:
                        self._turn(inner, item, spoken, role, at, depth + 1)
        elif kind is int and (value >= LEAST_NUMBER or value <= -LEAST_NUMBER):
            self._add(str(value), node, Role.CELL, turn)

    def _add(self, text: str, node: _Node, role: int, turn: int) -> None:
        if text or role:
            self._texts.append(text)
            self._roles.append(role)
            self._fields.append(node.number)
            self._turns.append(turn)

    def _turn(
        self, value: Mapping[str, Any], node: _Node, spoken: int, role: int, turn: int, depth: int
    ) -> None:
        side = node.role if node.role in _PREFERENCES else role
        if spoken == Role.ANSWER and side in _PREFERENCES:
            spoken = side
        for key, inner in value.items():
            below = self._below(node, key)
            if key in SPEAKER_KEYS:
                continue
            if key in CONTENT_KEYS:
                self._content(inner, below, spoken, turn, depth + 1)
            elif key in ("tool_calls", "function_call"):
                self._add(_dumped(inner), below, Role.TOOL, turn)
            else:
                self._walk(inner, below, Role.CELL, turn, depth + 1)

    def _content(self, value: Any, node: _Node, role: int, turn: int, depth: int) -> None:
        """Take the content of a turn: text, or parts that each say of which type they are."""
        if isinstance(value, list):
            item = node.item or self._item(node)
            for part in value:
                if isinstance(part, Mapping) and "type" in part:
                    kind = str(part["type"])
                    spoken = _KINDS.get(kind, role if _is_prose(kind) else Role.CELL)
                    for key, inner in part.items():
                        if key != "type":
                            self._walk(inner, self._below(item, key), spoken, turn, depth + 1)
                else:
                    self._walk(part, item, role, turn, depth + 1)
        elif isinstance(value, str):
            self._add(value, node, role, turn)
        elif value is not None:
            self._add(_dumped(value), node, role, turn)

    def _below(self, node: _Node, key: Any) -> _Node:
        found = node.below.get(key)
        if found is None:
            path = f"{node.path}.{key}" if node.path else str(key)
            found = node.below[key] = self._node(path, node.role)
            if len(node.below) > _MOST_KEYS:  # a record with a million keys is no schema
                node.below = {}
        return found

    def _item(self, node: _Node) -> _Node:
        node.item = self._node(f"{node.path}[]", node.role)
        return node.item

    def _node(self, path: str, inherited: int) -> _Node:
        role = self.mapped.roles.get(path, Role(inherited))
        number = len(self.names)
        if number < _MOST_FIELDS:
            self.names.append(path[:200])
        else:
            number = _MOST_FIELDS - 1
        return _Node(path, number, role)

    # --- columns -----------------------------------------------------------------------------

    def _columns(self, positions: Ints, batch: pa.RecordBatch) -> View:
        """Take flat columns without a walk over the rows."""
        count, parts, nodes = batch.num_rows, [], []
        for name, column in zip(batch.schema.names, batch.columns, strict=True):
            texts = _column_texts(column)
            if texts is not None:
                parts.append(texts)
                nodes.append(self._below(self._root, name))
        width = len(parts)
        if not width:
            parts, nodes, width = [pa.nulls(count, pa.large_string())], [self._root], 1
        texts = pa.concat_arrays(parts) if width > 1 else parts[0]
        if min(count, width) > 1:  # row by row: the segments of a record stand together
            order = np.arange(count * width, dtype=np.int64).reshape(width, count).T.ravel()
            texts = texts.take(pa.array(order))
        roles = np.tile(np.array([n.role for n in nodes], np.uint8), count)
        fields = np.tile(np.array([n.number for n in nodes], np.int32), count)
        filled = pc.fill_null(texts, "")
        empty = pc.equal(pc.binary_length(filled), 0).to_numpy(zero_copy_only=False)
        null = texts.is_null().to_numpy(zero_copy_only=False)
        keep = ~(null | (empty & (roles == Role.CELL)))
        kept = np.concatenate(([0], np.cumsum(keep.reshape(count, width).sum(axis=1))))
        return View(
            positions=positions,
            starts=kept.astype(np.int64),
            texts=filled if keep.all() else filled.filter(pa.array(keep)),
            roles=roles[keep],
            fields=fields[keep],
            turns=np.full(int(keep.sum()), -1, np.int32),
            names=self.names,
            id_name=self.mapped.id,
            raw=batch,
            ids=_column(batch, self.mapped.id),
            splits=_column(batch, self.mapped.split),
            labels={n: c for n in self.mapped.labels if (c := _column(batch, n)) is not None},
        )


_MOST_KEYS = 4096
_MOST_FIELDS = 10_000


def _is_pairs(value: Sequence[Any]) -> bool:
    return all(
        isinstance(pair, list) and len(pair) == 2 and all(isinstance(x, str) for x in pair)
        for pair in value
    )


def _is_prose(kind: str) -> bool:
    return kind in ("text", "reasoning", "thinking", "input_text", "output_text")


def _speaker(value: Mapping[str, Any]) -> int | None:
    """Return the role of who speaks, if this is a turn of a conversation."""
    for key in SPEAKER_KEYS:
        who = value.get(key)
        if isinstance(who, str):
            if any(k in value for k in CONTENT_KEYS) or "tool_calls" in value:
                return int(SPEAKERS.get(who.lower(), Role.TEXT))
            return None
    return None


def _dumped(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    text = json.dumps(value, ensure_ascii=False, default=str)
    if "\ud800" in text:  # as that which stands for a long text ends
        text = json.dumps(whole(value), ensure_ascii=False, default=str)
    return text


def as_texts(values: Sequence[str | None]) -> tuple[pa.LargeStringArray, int]:
    """Return the array of texts, and how many held lone surrogates (now U+FFFD)."""
    try:
        return pa.array(values, pa.large_string()), 0
    except UnicodeEncodeError:
        pass
    if any(type(value) is LongText for value in values):
        return _long_texts(values)
    mended = 0
    clean: list[str | None] = []
    for value in values:
        try:
            if value is not None:
                value.encode()
        except UnicodeEncodeError:
            assert value is not None
            mended += 1
            value = "".join("\ufffd" if "\ud800" <= c <= "\udfff" else c for c in value)
        clean.append(value)
    return pa.array(clean, pa.large_string()), mended


def _long_texts(values: Sequence[str | None]) -> tuple[pa.LargeStringArray, int]:
    """Return what `as_texts` does where some are long: each stands in the array, and nowhere else
    but in its record."""
    others, mended = as_texts([None if type(value) is LongText else value for value in values])
    data, ends = utf8_of(others)
    starts = ends.tolist()
    parts = [
        value.utf8 if type(value) is LongText else data[starts[at] : starts[at + 1]]
        for at, value in enumerate(values)
    ]
    sizes = np.cumsum([0, *map(len, parts)], dtype=np.int64)
    there = pa.array([value is not None for value in values]).buffers()[1]
    buffers = [there, pa.py_buffer(sizes), pa.py_buffer(b"".join(parts))]
    nulls = sum(value is None for value in values)
    return pa.Array.from_buffers(pa.large_string(), len(values), buffers, nulls), mended


def _at(record: Any, path: str) -> Any:
    if not isinstance(record, Mapping):
        return None
    if path in record:
        return record[path]
    for key in path.split("."):
        record = record.get(key) if isinstance(record, Mapping) else None
    return record


def _scalar(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int | float) else None


def _labels(records: Sequence[Any], name: str) -> pa.Array:
    """Return the labels of the records: text, or lists of text where any record has a list."""
    values = [_at(record, name) for record in records]
    if any(isinstance(v, list) for v in values):
        lists = [
            None if v is None else [_scalar(x) for x in (v if isinstance(v, list) else [v])]
            for v in values
        ]
        flat, _ = as_texts([x for v in lists if v for x in v])
        ends = np.cumsum([0, *(len(v or ()) for v in lists)])
        return pa.LargeListArray.from_arrays(pa.array(ends, pa.int64()), flat)
    return as_texts([_scalar(v) for v in values])[0]


def _flat(schema: pa.Schema) -> bool:
    return not any(pa.types.is_nested(f.type) for f in schema)


def _column_texts(column: pa.Array) -> pa.LargeStringArray | None:
    """Return what of a column is looked at as text, or None."""
    kind = column.type
    if pa.types.is_dictionary(kind):
        column, kind = column.dictionary_decode(), kind.value_type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or kind == pa.string_view():
        return column.cast(pa.large_string())
    if pa.types.is_integer(kind):
        large = pc.or_kleene(
            pc.greater_equal(column, LEAST_NUMBER),
            pc.less_equal(column, -LEAST_NUMBER) if pa.types.is_signed_integer(kind) else False,
        ) if kind.bit_width >= 32 else None  # fmt: skip
        if large is None or not pc.any(large).as_py():
            return None
        none = pa.scalar(None, pa.large_string())
        return pc.if_else(large, column.cast(pa.large_string()), none)
    return None


def _column(batch: pa.RecordBatch, name: str) -> pa.Array | None:
    if not name or name not in batch.schema.names:
        return None
    column = batch.column(name)
    if pa.types.is_dictionary(column.type):
        column = column.dictionary_decode()
    try:
        return column.cast(pa.large_string())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError):
        return None
