"""Keys of any size, exactly: unique fields, primary keys, unique keys, foreign keys.

While the table is read each key only collects (canonical text, row). At the end the pairs are
sorted; equal neighbours are duplicates, and each names the row before it. What does not fit into
memory lies on disk as sorted runs, and is read back range by range.

A canonical text is equal exactly where the typed values are equal ("01" and "1" of an integer).
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Literal

from .fields import Field, ForeignKey, Schema

if TYPE_CHECKING:
    import pyarrow as pa

Rule = Literal["unique", "primary", "unique-key", "foreign", "lookup"]
PART = "\x1f"  # between the parts of a composite key
ESCAPE = "\x1e"
_NULL = ESCAPE + "2"
BUFFER = 1 << 16
BUDGET_BYTES = 32 << 20
SETTLE_BYTES = 8 << 20
RUN_ROWS = 1 << 12  # rows that are read back at a time
AHEAD = 256  # so many times, of all runs together

_NUMERIC = ("integer", "number", "year", "boolean")
_PLAIN_EXPONENT = 30


@dataclass(frozen=True, slots=True, kw_only=True)
class Key:
    """One rule over some columns of a table (positions from 0)."""

    rule: Rule
    columns: tuple[int, ...]
    names: tuple[str, ...]
    reference: ForeignKey | None = None
    families: tuple[str, ...] = ()
    reading: tuple[int, ...] = ()  # the order in which Frictionless reads the cells


def keys_of(schema: Schema, columns: Sequence[Field], *, ignore_case: bool = False) -> list[Key]:
    """Return the keys that the columns at hand can be judged by, in order of reporting."""
    places: dict[str, int] = {}
    for i, column in enumerate(columns):
        places.setdefault(column.name, i)

    def key(rule: Rule, names: Sequence[str], reference: ForeignKey | None = None) -> Key | None:
        if not names or any(name not in places for name in names):
            return None
        at = tuple(places[name] for name in names)
        return Key(
            rule=rule,
            columns=at,
            names=tuple(names),
            reference=reference,
            families=tuple(family(columns[i]) for i in at),
            reading=tuple(sorted(at)) if ignore_case else at,
        )

    wanted = [key("unique", (c.name,)) for c in columns if c.unique]
    wanted.append(key("primary", schema.primary_key))
    wanted += [key("unique-key", names) for names in schema.unique_keys]
    wanted += [key("foreign", fk.fields, fk) for fk in schema.foreign_keys]
    return [k for k in wanted if k is not None]


def lookup_key(columns: Sequence[Field], names: Sequence[str]) -> Key | None:
    """Return the key that collects what foreign keys of other tables refer to."""
    places = {column.name: i for i, column in enumerate(columns)}
    if any(name not in places for name in names):
        return None
    at = tuple(places[name] for name in names)
    return Key(
        rule="lookup",
        columns=at,
        names=tuple(names),
        families=tuple(family(columns[i]) for i in at),
    )


def family(field_: Field) -> str:
    """Return which values can be equal at all: numbers of any kind are, text and numbers not."""
    return "number" if field_.type in _NUMERIC else field_.type


def comparable(left: Sequence[str], right: Sequence[str]) -> bool:
    """Say whether keys of these families can be equal; text of `any` is text."""
    text = ("any", "string")
    same = (a == b or (a in text and b in text) for a, b in zip(left, right, strict=False))
    return len(left) == len(right) and all(same)


def canonical(values: Sequence[Any], families: Sequence[str] = ()) -> str | None:
    """Return the text of a key, or None if it can equal no other (it holds a NaN).

    Values of `any` may be text or not: "1" and 1 are told apart there.
    """
    parts = []
    loose = "any" in families
    for value in values:
        if value is None:
            parts.append(_NULL)
            continue
        text = value if type(value) is str else _text(value)
        if text is None:
            return None
        if ESCAPE in text or PART in text:
            text = text.replace(ESCAPE, ESCAPE + "0").replace(PART, ESCAPE + "1")
        if loose and type(value) is not str and families[len(parts)] == "any":
            text = ESCAPE + "3" + text
        parts.append(text)
    return parts[0] if len(parts) == 1 else PART.join(parts)


def _text(value: Any) -> str | None:
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, int):
        return _integer(value)
    if isinstance(value, float | Decimal):
        return _decimal(Decimal(str(value)) if isinstance(value, float) else value)
    if isinstance(value, datetime | time):
        return _moment(value)
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, timedelta):
        return f"{value.days}:{value.seconds}:{value.microseconds}"
    if isinstance(value, tuple):
        return ",".join("" if v is None else str(_text(v)) for v in value)
    if isinstance(value, list | dict):
        return json.dumps(value, sort_keys=True, default=str)
    return str(value)


def _integer(value: int) -> str:
    try:
        return str(value)
    except ValueError:  # Python refuses to write more than 4,300 digits
        return hex(value)


def _decimal(value: Decimal) -> str | None:
    if value.is_nan():
        return None
    if value.is_infinite():
        return "-inf" if value < 0 else "inf"
    sign, digits, exponent = value.as_tuple()
    text = "".join(map(str, digits)).lstrip("0")
    if not text:
        return "0"
    assert isinstance(exponent, int)
    stripped = text.rstrip("0")
    exponent += len(text) - len(stripped)
    mark = "-" if sign else ""
    if abs(exponent) > _PLAIN_EXPONENT:
        return f"{mark}{stripped}E{exponent}"
    if exponent >= 0:
        return mark + stripped + "0" * exponent
    padded = stripped.rjust(1 - exponent, "0")
    return f"{mark}{padded[:exponent]}.{padded[exponent:]}"


def _moment(value: datetime | time) -> str:
    offset = value.utcoffset()
    if offset is None:
        return value.isoformat()
    if isinstance(value, datetime):
        try:
            return (value.replace(tzinfo=None) - offset).isoformat() + "Z"
        except OverflowError:
            return value.isoformat()
    return value.isoformat()


class KeyPairs:
    """The (key, row) pairs of one key in one part of a table; rows count from the part's start."""

    __slots__ = ("chunks", "index", "lost", "rows", "texts")

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.rows: list[int] = []
        self.chunks: list[Any] = []  # pyarrow.RecordBatch of key: text, row
        self.index: KeyIndex | None = None  # where pairs go that are too many to hold
        self.lost: OSError | None = None  # why they could not go there: nothing is known of keys

    def __getstate__(self) -> tuple[list[str], list[int], list[Any]]:
        """Travel to another process with everything on board."""
        settled = [] if self.index is None else list(self.index.batches())
        return self.texts, self.rows, [*settled, *self.chunks]

    def __setstate__(self, state: tuple[list[str], list[int], list[Any]]) -> None:
        self.texts, self.rows, self.chunks = state
        self.index = self.lost = None

    def add(self, text: str, row: int) -> None:
        self.texts.append(text)
        self.rows.append(row)
        if len(self.texts) >= BUFFER:
            self.flush()

    def add_arrays(self, keys: pa.Array, rows: pa.Array) -> None:
        import pyarrow as pa

        if not pa.types.is_int64(keys.type):
            keys = keys.cast(pa.large_string())
        self.chunks.append(pa.RecordBatch.from_arrays([keys, rows], names=["key", "row"]))
        self.flush()  # behind the others, which mostly grow: see `_numbers_by_key`

    def flush(self) -> None:
        if not self.texts:
            return
        import pyarrow as pa

        self.chunks.append(
            pa.RecordBatch.from_arrays(
                [pa.array(_sound(self.texts), pa.large_string()), pa.array(self.rows, pa.int64())],
                names=["key", "row"],
            )
        )
        self.texts, self.rows = [], []

    def settle(self) -> None:
        """Hand the pairs over to an index, which keeps many of them on disk.

        Only for the first part of a table: what has settled cannot be moved to other rows.
        """
        if self.lost is not None:
            self.drain()
        elif sum(c.nbytes for c in self.chunks) > SETTLE_BYTES:
            self.index = self.index or KeyIndex()
            try:
                self.index.add(self.drain())
            except OSError as why:  # the disk is full: told where keys are judged
                self.lost = why
                self.index.close()
                self.index = None

    def settled(self) -> KeyIndex:
        """Return the index of all pairs; asked again it gives the same one."""
        if self.lost is not None:
            raise self.lost
        self.index = self.index or KeyIndex()
        self.index.add(self.drain())
        return self.index

    def drain(self) -> list[Any]:
        """Give up what was collected so far."""
        self.flush()
        chunks, self.chunks = self.chunks, []
        return chunks


def _sound(texts: list[str]) -> list[str]:
    """Replace half surrogate pairs, which Arrow's UTF-8 cannot hold, by text of their own."""
    try:
        "".join(texts).encode()
        return texts
    except UnicodeEncodeError:
        return [t.encode("utf-8", "backslashreplace").decode() for t in texts]


class KeyIndex:
    """All pairs of one key of one table, sorted; on disk where they are many.

    Whole numbers are kept as numbers: they sort faster, and ids that only grow need no sorting.
    """

    def __init__(self) -> None:
        self.numbers = _Runs("int64")
        self.texts = _Runs("large_string")

    def add(self, chunks: Iterable[Any]) -> None:
        """Take chunks of (key, row)."""
        import pyarrow as pa
        import pyarrow.compute as pc

        for chunk in chunks:
            if pa.types.is_int64(chunk.schema.field(0).type):
                self.numbers.add(chunk)
                continue
            try:
                numbers = pc.cast(chunk.column(0), pa.int64())
                whole = pa.RecordBatch.from_arrays([numbers, chunk.column(1)], names=_NAMES)
                if not _spelled(chunk.column(0)):
                    raise pa.ArrowInvalid
                self.numbers.add(whole)
                continue
            except pa.ArrowInvalid:
                pass
            plain = pc.match_substring_regex(chunk.column(0), _WHOLE)
            some = chunk.filter(plain)
            if some.num_rows:
                column = pc.cast(some.column(0), pa.int64())
                self.numbers.add(pa.RecordBatch.from_arrays([column, some.column(1)], names=_NAMES))
            rest = chunk.filter(pc.invert(plain))
            if rest.num_rows:
                self.texts.add(rest)

    def parts(self) -> tuple[_Runs, _Runs]:
        return self.numbers, self.texts

    def batches(self) -> Iterator[Any]:
        """Yield everything once more as it came in: keys as text, and rows."""
        import pyarrow as pa
        import pyarrow.compute as pc

        for runs in self.parts():
            for table in runs.ranges():
                for batch in table.to_batches():
                    keys = pc.cast(batch.column(0), pa.large_string())
                    yield pa.RecordBatch.from_arrays([keys, batch.column(1)], names=_NAMES)

    def close(self) -> None:
        self.numbers.close()
        self.texts.close()


_NAMES = ["key", "row"]
_WHOLE = r"\A(?:0|-?[1-9][0-9]{0,17})\z"


def _spelled(keys: Any) -> bool:
    """Say whether every key is a number in its one spelling (a cast also takes "0x1" and "01")."""
    import pyarrow.compute as pc

    return bool(pc.all(pc.match_substring_regex(keys, _WHOLE)).as_py())


class _Runs:
    """Pairs of one type of key: in memory up to a budget, then as sorted runs on disk.

    The runs are files without a name, so nothing is left behind even by a killed process.
    """

    def __init__(self, type_: str) -> None:
        self._type = type_
        self._runs: list[Any] = []
        self._held: list[Any] = []
        self._held_bytes = 0

    def add(self, chunk: Any) -> None:
        self._held.append(chunk)
        self._held_bytes += chunk.nbytes
        if self._held_bytes > BUDGET_BYTES:
            self._spill()

    def _sorted(self) -> pa.Table:
        import pyarrow as pa

        key = pa.int64() if self._type == "int64" else pa.large_string()
        schema = pa.schema([("key", key), ("row", pa.int64())])
        table = pa.Table.from_batches(self._held, schema).combine_chunks()
        return table if _grows(table) else _by_key(table)

    def _spill(self) -> None:
        import pyarrow as pa

        table = self._sorted()
        self._held, self._held_bytes = [], 0
        file = tempfile.TemporaryFile(prefix="yaosu-keys-")  # noqa: SIM115 - lives as long as we
        with pa.ipc.new_file(pa.PythonFile(file, "w"), table.schema) as writer:
            writer.write_table(table, max_chunksize=RUN_ROWS)
        file.flush()
        self._runs.append(file)
        del table
        pa.default_memory_pool().release_unused()

    def repeated(self) -> Iterator[tuple[Any, Any]]:
        """Yield (keys, rows) sorted by both that hold at least every key that stands twice."""
        if self._type == "int64" and not self._runs:
            few = _suspects([(c.column(0), c.column(1)) for c in self._held])
            if few is not None:
                yield few
                return
        for table in self.ranges():
            yield table.column(0).combine_chunks(), table.column(1).combine_chunks()

    def ranges(self) -> Iterator[pa.Table]:
        """Yield sorted tables of (key, row), in order; no key is in two of them."""
        if not self._runs:
            table = self._sorted()
            self._held = table.to_batches()
            yield table
            return
        if self._held:
            self._spill()
        yield from _merged(self._runs)

    def close(self) -> None:
        for file in self._runs:
            file.close()
        self._held, self._runs = [], []


def _by_key(table: Any) -> Any:
    """Sort by key and row: by row first, where they are not in order, then stably by key.

    Rows of the exact path and of whole lines come in turns, so rows are only nearly in order.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    rows = table.column(1).combine_chunks()
    if pa.types.is_int64(table.schema.field(0).type):
        keys, at = table.column(0).combine_chunks().to_numpy(), rows.to_numpy()
        return pa.table(dict(zip(_NAMES, _numbers_by_key(keys, at), strict=True)))
    if len(rows) > 1 and not pc.all(pc.less(rows.slice(0, len(rows) - 1), rows.slice(1))).as_py():
        table = table.take(pc.array_sort_indices(rows))
    return table.take(pc.array_sort_indices(table.column(0).combine_chunks()))


def _numbers_by_key(keys: Any, rows: Any) -> tuple[Any, Any]:
    """Sort whole numbers and their rows by both: most ids only grow, and the few that do not are
    sorted apart and put between them."""
    import numpy as np

    peaks = np.maximum.accumulate(keys)
    grows = np.ones(len(keys), bool)
    np.greater(keys[1:], peaks[:-1], out=grows[1:])
    others = np.flatnonzero(~grows)
    if _FEW_OTHERS * len(others) > len(keys):
        order = np.lexsort((rows, keys))
        return keys[order], rows[order]
    others = others[np.lexsort((rows[others], keys[others]))]
    few, few_rows = keys[others], rows[others]
    keys, rows = keys[grows], rows[grows]
    at = np.searchsorted(keys, few)
    before = np.minimum(at, len(keys) - 1)
    at += (keys[before] == few) & (rows[before] < few_rows)
    return np.insert(keys, at, few), np.insert(rows, at, few_rows)


_FEW_OTHERS = 8  # a part of all keys


def _suspects(chunks: list[tuple[Any, Any]]) -> tuple[Any, Any] | None:
    """Return the whole numbers that may stand twice, with their rows, sorted by both; None if many.

    Numbers above all before them are different from each other: only the rest can be the same.
    """
    import numpy as np
    import pyarrow as pa

    peak: int | None = None
    grown: list[tuple[Any, Any]] = []
    others: list[tuple[Any, Any]] = []
    for keys, rows in ((k.to_numpy(), r.to_numpy()) for k, r in chunks if len(k)):
        peaks = np.maximum.accumulate(keys)
        grows = np.empty(len(keys), bool)
        np.greater(keys[1:], peaks[:-1], out=grows[1:])
        grows[0] = True
        if peak is not None and keys[0] <= peak:
            grows &= keys > peak
        peak = int(peaks[-1]) if peak is None else max(peak, int(peaks[-1]))
        if grows.all():
            grown.append((keys, rows))
            continue
        grown.append((keys[grows], rows[grows]))
        others.append((keys[~grows], rows[~grows]))
    if not others:
        return pa.array([], pa.int64()), pa.array([], pa.int64())
    few, few_rows = (np.concatenate(side) for side in zip(*others, strict=True))
    if _FEW_OTHERS * len(few) > sum(len(k) for k, _ in chunks):
        return None
    keys, rows = (np.concatenate(side) for side in zip(*grown, strict=True))
    wanted = np.unique(few)
    at = np.minimum(np.searchsorted(keys, wanted), len(keys) - 1)
    at = at[keys[at] == wanted]
    keys, rows = np.append(keys[at], few), np.append(rows[at], few_rows)
    order = np.lexsort((rows, keys))
    return pa.array(keys[order]), pa.array(rows[order])


def _grows(table: Any) -> bool:
    """Say whether the keys strictly grow from row to row: sorted, and without duplicates."""
    import pyarrow.compute as pc

    keys = table.column(0)
    if len(keys) < 2:
        return True
    keys = keys.chunk(0)
    step = pc.less(keys.slice(0, len(keys) - 1), keys.slice(1))
    return bool(pc.all(step).as_py())


def _merged(runs: list[Any]) -> Iterator[pa.Table]:
    """Merge sorted runs: take what is certainly complete, keep the rest for the next range."""
    import pyarrow as pa
    import pyarrow.compute as pc

    files = [pa.ipc.open_file(pa.PythonFile(run, "r")) for run in runs]
    share = max(1, AHEAD // len(files))
    ahead = [0] * len(files)
    held: list[Any] = [None] * len(files)
    while True:
        for i, file in enumerate(files):
            left = 0 if held[i] is None else held[i].num_rows
            if 2 * left < share * RUN_ROWS and ahead[i] < file.num_record_batches:
                stop = min(ahead[i] + share, file.num_record_batches)
                more = pa.Table.from_batches([file.get_batch(n) for n in range(ahead[i], stop)])
                ahead[i] = stop
                held[i] = pa.concat_tables([held[i], more]) if left else more
        live = [i for i in range(len(files)) if held[i] is not None]
        if not live:
            return
        open_ = [i for i in live if ahead[i] < files[i].num_record_batches]
        ready = [held[i] for i in live]
        if open_:
            # Every key below the smallest last key is complete; that key itself may go on.
            bound = min(held[i].column(0)[-1].as_py() for i in open_)
            ready = []
            for i in live:
                table = held[i]
                cut = pc.sum(pc.less(table.column(0), bound)).as_py() or 0
                ready.append(table.slice(0, cut))
                rest = table.slice(cut)
                held[i] = rest if rest.num_rows else None
            if not any(t.num_rows for t in ready):
                _extend(files, ahead, held, open_, bound)
                continue
        else:
            held = [None] * len(files)
        whole = pa.concat_tables(ready).combine_chunks()
        if whole.num_rows:
            yield _by_key(whole)


def _extend(
    files: list[Any], ahead: list[int], held: list[Any], open_: list[int], bound: object
) -> None:
    """Read on in the runs that stand at one long-repeated key."""
    import pyarrow as pa

    for i in open_:
        table = held[i]
        last = bound if table is None else table.column(0)[-1].as_py()
        if last == bound and ahead[i] < files[i].num_record_batches:
            batch = files[i].get_batch(ahead[i])
            ahead[i] += 1
            more = pa.Table.from_batches([batch])
            held[i] = more if table is None else pa.concat_tables([table, more])


def duplicates(index: KeyIndex) -> Iterator[tuple[int, int]]:
    """Yield (row, the row before it with the same key), in no particular order."""
    import pyarrow.compute as pc

    for runs in index.parts():
        for keys, rows in runs.repeated():
            if len(keys) < 2:
                continue
            same = pc.equal(keys.slice(1), keys.slice(0, len(keys) - 1))
            at = pc.indices_nonzero(same)
            if len(at):
                yield from zip(
                    rows.slice(1).take(at).to_pylist(), rows.take(at).to_pylist(), strict=True
                )


def twins(pairs: KeyPairs) -> Iterator[tuple[int, int]]:
    """Yield what `duplicates` does, for pairs so few that they were never put into columns."""
    last: dict[str, int] = {}
    for text, row in zip(_sound(pairs.texts), pairs.rows, strict=True):
        if text in last:
            yield row, last[text]
        last[text] = row


def strangers(children: KeyIndex, parents: KeyIndex) -> Iterator[tuple[int, str]]:
    """Yield (row, key) of children whose key no parent has."""
    for mine, others in zip(children.parts(), parents.parts(), strict=True):
        yield from _strangers(mine, others)


def _strangers(children: _Runs, parents: _Runs) -> Iterator[tuple[int, str]]:
    import pyarrow as pa
    import pyarrow.compute as pc

    known = parents.ranges()
    window: list[Any] = []
    done = False
    for table in children.ranges():
        if not table.num_rows:
            continue
        last = table.column(0)[-1].as_py()
        while not done and (not window or window[-1][-1].as_py() < last):
            found = next(known, None)
            if found is None:
                done = True
            elif found.num_rows:
                window.append(pc.unique(found.column(0)))
        missing = table
        if window:
            values = pa.chunked_array(window)
            missing = table.filter(pc.invert(pc.is_in(table.column(0), value_set=values)))
        texts = map(str, missing.column(0).to_pylist())
        yield from zip(missing.column(1).to_pylist(), texts, strict=True)
        window = [w for w in window if w[-1].as_py() >= last]


def shown(text: str) -> str:
    """Return a key as people read it."""
    parts = text.split(PART)
    parts = ["" if p == _NULL else p.removeprefix(ESCAPE + "3") for p in parts]
    plain = [p.replace(ESCAPE + "1", PART) for p in parts]
    return ", ".join(p.replace(ESCAPE + "0", ESCAPE) for p in plain)
