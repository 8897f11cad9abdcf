"""Records that stand there twice, exactly or nearly, within a resource, across them, across splits.

exact   the same content after NFKC and folding of white space (BLAKE2b-128), ids left out
near    Jaccard similarity of shingle sets of at least `threshold`: candidates by MinHash-LSH (one
        permutation with densification, 21 bands of 6), each candidate compared by the bottom 256
        hashes of both sets, which is exact for texts of up to 256 shingles
task    what is asked (prompt, input, system, tools) is the same, whatever is answered

While records are read a state keeps some 200 bytes and the bottom hashes of each; from 64 MiB on
they lie in temporary files that have no name. Of these only numbers of 8 bytes per record are in
memory when the clusters are made; band after band is sorted, range after range where there are
many. (Broder 1997; Li, Owen, Zhang 2012; Shrivastava 2017.)
"""

from __future__ import annotations

import functools
import hashlib
import itertools
import tempfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import IO, Any, ClassVar

import numpy as np
import numpy.typing as npt
import orjson
import pyarrow as pa
import pyarrow.compute as pc

from yaosu_validators.check import Conclusion, check
from yaosu_validators.long_texts import whole

from . import pieces
from .shapes import SPLIT_NAMES
from .shingles import HASH_BITS, I64, U64, alike, blocks, clean_of, mixed, shingles, utf8_of
from .view import ANSWERS, About, Places, Role, View

BANDS, ROWS = 21, 6
BINS = BANDS * ROWS
BOTTOM = 256
SPILL_BYTES = 64 << 20
_SPLITS = ("", "train", "validation", "test")
_COLUMNS: dict[str, tuple[str, int]] = {
    "positions": ("i8", 1),
    "digests": ("u8", 2),
    "splits": ("u1", 1),
    "bands": ("u8", BANDS),
    "sizes": ("u4", 1),  # shingles of the whole text
    "ends": ("u4", 1),  # of them kept
    "answers": ("u8", 1),
    "labels": ("u8", 1),  # hash of all labels; 0 without one
}


@dataclass(slots=True)
class Ledger:
    """What is kept of the records of one resource, in their order; long ones lie on disk."""

    chunks: list[dict[str, Any]] = field(default_factory=list)
    count: int = 0
    size_bytes: int = 0
    spilled: list[dict[str, tuple[int, int]]] = field(default_factory=list)
    file: IO[bytes] | None = None

    def add(self, chunk: dict[str, Any]) -> None:
        self.chunks.append(chunk)
        self.count += len(chunk["positions"])
        self.size_bytes += sum(column.nbytes for column in chunk.values())

    def join(self, right: Ledger) -> None:
        """Take the chunks of the part behind; lay everything on disk where it is much."""
        for chunk in right.all():
            self.add(chunk)
        if self.size_bytes > SPILL_BYTES:
            self._spill()

    def _spill(self) -> None:
        if self.file is None:
            self.file = tempfile.TemporaryFile(prefix="yaosu-duplicates-")  # noqa: SIM115
        for chunk in self.chunks:
            places = {}
            for name, column in chunk.items():
                places[name] = (self.file.seek(0, 2), len(column))
                self.file.write(np.ascontiguousarray(column).data)
            self.spilled.append(places)
        self.chunks, self.size_bytes = [], 0

    def all(self) -> Iterator[dict[str, Any]]:
        """Yield every chunk whole, in order."""
        names = (*_COLUMNS, "bottoms", "tasks", "askers")
        for place in range(len(self.spilled)):
            yield {name: self._read(place, name) for name in names}
        yield from self.chunks

    def column(self, name: str, band: int | None = None) -> Iterator[npt.NDArray[Any]]:
        """Yield one column, chunk after chunk; of the bands, one."""
        for place in range(len(self.spilled)):
            found = self._read(place, name, band)
            yield found
        for chunk in self.chunks:
            yield chunk[name] if band is None else chunk[name][band]

    def pieces(self, name: str) -> Iterator[tuple[int, Callable[[int, int], npt.NDArray[Any]]]]:
        """Yield of each chunk how many values one column has, and what reads a slice of them."""
        for places in self.spilled:
            at, count = places[name]
            yield count, functools.partial(self._slice, at, np.dtype(_LISTS[name][0]))
        for chunk in self.chunks:
            yield len(chunk[name]), functools.partial(_sliced, chunk[name])

    def _slice(self, at: int, dtype: np.dtype[Any], start: int, stop: int) -> npt.NDArray[Any]:
        assert self.file is not None
        self.file.seek(at + start * dtype.itemsize)
        return np.frombuffer(self.file.read((stop - start) * dtype.itemsize), dtype)

    def _read(self, place: int, name: str, band: int | None = None) -> npt.NDArray[Any]:
        assert self.file is not None
        at, count = self.spilled[place][name]
        kind, width = _COLUMNS.get(name, _LISTS.get(name, ("u8", 1)))
        dtype = np.dtype(kind)
        if name == "bands":
            rows = self.spilled[place]["positions"][1]
            if band is not None:
                self.file.seek(at + band * rows * 8)
                return np.frombuffer(self.file.read(rows * 8), dtype)
            self.file.seek(at)
            return np.frombuffer(self.file.read(width * rows * 8), dtype).reshape(width, rows)
        self.file.seek(at)
        found = np.frombuffer(self.file.read(count * width * dtype.itemsize), dtype)
        return found.reshape(count, width) if width > 1 else found

    def __getstate__(self) -> dict[str, Any]:
        return {"chunks": list(self.all()), "count": self.count, "size_bytes": self.size_bytes}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.chunks, self.count, self.size_bytes = (
            state["chunks"],
            state["count"],
            state["size_bytes"],
        )
        self.spilled, self.file = [], None


def _sliced(column: npt.NDArray[Any], start: int, stop: int) -> npt.NDArray[Any]:
    return column[start:stop]


_LISTS = {"bottoms": ("u4", 1), "tasks": ("u8", 1), "askers": ("u4", 1)}


@check("corpus.duplicates", "1")
@dataclass(frozen=True, slots=True, kw_only=True)
class Duplicates:
    """No record stands there twice, nearly twice, or in two splits."""

    threshold: float = 0.8
    listed: int = 1000  # clusters, and findings of one kind of one resource, that are listed
    sees: ClassVar = "records"

    def start(self, about: About) -> Ledger:
        return Ledger()

    def observe(self, state: Ledger, view: View) -> Ledger:
        if len(view):
            state.add(_long_chunk(view) if view.long else _chunk(view))
        return state

    def merge(self, left: Ledger, right: Ledger) -> Ledger:
        left.join(right)
        return left

    def conclude(self, states: Sequence[tuple[About, Ledger]], places: Places) -> Conclusion:
        from .clusters import conclude

        return conclude(self, [(a, s) for a, s in states if s.count], places)


# --- what is kept of a record ------------------------------------------------------------------


def _chunk(view: View) -> dict[str, Any]:
    clean = clean_of(view)
    texts = view.roles != Role.CELL
    has_text = np.bincount(view.owners()[texts], minlength=len(view)) > 0
    bodies = _joined(view, clean, texts)
    bands, bottoms, kept, sizes = _signed(bodies)
    sizes = np.where(has_text, sizes, 0)
    tasks, askers = _tasks(view, clean)
    return {
        "positions": view.positions,
        "digests": _digests(view, clean),
        "splits": _split_codes(view),
        "bands": bands,
        "sizes": sizes.astype(np.uint32),
        "ends": kept.astype(np.uint32),
        "bottoms": bottoms,
        "answers": _answers(view, clean),
        "labels": _label_hashes(view),
        "tasks": tasks,
        "askers": askers,
    }


def _long_chunk(view: View) -> dict[str, Any]:
    """Return what `_chunk` does of one record whose texts are long, piece by piece."""
    texts = view.roles != Role.CELL

    def body() -> Iterator[bytes]:
        return pieces.clean(view.texts, texts)

    by_characters = not _ascii(view.texts) and pieces.by_characters(body())
    size, lowest = 0, [np.zeros(0, np.uint64)]
    for hashes in pieces.shingles(body(), characters=by_characters).ranges():
        bins = _bins(hashes)
        firsts = np.flatnonzero(np.diff(bins, prepend=-1))
        lowest += (hashes[:BOTTOM].copy(), hashes[firsts])  # all that a signature is made of
        size += len(hashes)
    low = np.unique(np.concatenate(lowest))
    bands, bottoms, kept = signatures(low, np.array([0, len(low)], np.int64))
    tasks, askers = _long_tasks(view)
    return {
        "positions": view.positions,
        "digests": _long_digests(view),
        "splits": _split_codes(view),
        "bands": bands,
        "sizes": np.array([size], np.uint32),
        "ends": kept.astype(np.uint32),
        "bottoms": bottoms,
        "answers": _hash64_of(pieces.clean(view.texts, view.of(ANSWERS))),
        "labels": _label_hashes(view),
        "tasks": tasks,
        "askers": askers,
    }


def _ascii(texts: pa.LargeStringArray) -> bool:
    return bool(pc.all(pc.string_is_ascii(texts)).as_py())


def _signed(bodies: pa.LargeStringArray) -> tuple[U64, npt.NDArray[np.uint32], I64, I64]:
    """Return band keys, bottom hashes, how many of each, and shingles of each; like with like."""
    groups = alike(bodies)
    signed = []
    for numbers in groups:
        every = bodies if len(groups) == 1 else bodies.take(pa.array(numbers))
        for _, some in blocks(every):
            found = shingles(some)
            signed.append((*signatures(found.hashes, found.starts), np.diff(found.starts)))
    bands = np.concatenate([b for b, _, _, _ in signed], axis=1)
    bottoms, kept, sizes = (np.concatenate([s[n] for s in signed]) for n in (1, 2, 3))
    if len(groups) == 1:
        return bands, bottoms, kept, sizes
    where = np.empty(len(bodies), np.int64)
    where[np.concatenate(groups)] = np.arange(len(bodies))
    firsts = (np.cumsum(kept) - kept)[where]
    kept = kept[where]
    places = np.repeat(firsts - (np.cumsum(kept) - kept), kept) + np.arange(len(bottoms))
    return np.ascontiguousarray(bands[:, where]), bottoms.take(places), kept, sizes[where]


def _joined(
    view: View, texts: pa.LargeStringArray, mask: npt.NDArray[np.bool_]
) -> pa.LargeStringArray:
    counts = np.bincount(view.owners()[mask], minlength=len(view))
    ends = np.concatenate(([0], np.cumsum(counts))).astype(np.int64)
    chosen = texts.filter(pa.array(mask))
    lists = pa.LargeListArray.from_arrays(pa.array(ends), chosen)
    return pc.binary_join(lists, _text("\n"))


def _text(text: str) -> pa.Scalar:
    return pa.scalar(text, pa.large_string())


def _digests(view: View, clean: pa.LargeStringArray) -> U64:
    """Return 128 bits of the content of each record: uint64 (n, 2)."""
    out = bytearray()
    number = next((i for i, n in enumerate(view.names) if n == view.id_name), -1)
    keep = view.fields != number
    if isinstance(view.raw, pa.RecordBatch) or not (view.roles != Role.CELL).any():
        records = view.raw.to_pylist() if isinstance(view.raw, pa.RecordBatch) else view.raw
        if not (view.roles != Role.CELL).any():
            for record in records:
                out += _hash(_dumped(record, view.id_name))
            return np.frombuffer(bytes(out), np.uint64).reshape(-1, 2)
    parts = pc.binary_join_element_wise(
        pa.array(view.names, pa.large_string()).take(pa.array(view.fields)), clean, _text("\x1e")
    )
    whole = _joined(view, parts, keep)
    labels = [column for _, column in sorted(view.labels.items())]
    offsets = np.frombuffer(whole.buffers()[1], np.int64)[
        whole.offset : whole.offset + len(whole) + 1
    ]
    data = memoryview(whole.buffers()[2] or b"")
    words = [column.to_pylist() for column in labels]
    for at in range(len(view)):
        body = data[offsets[at] : offsets[at + 1]]
        if words:
            said = repr([column[at] for column in words]).encode("utf-8", "replace")
            out += _hash(bytes(body) + b"\x1d" + said)
        else:
            out += _hash(body)
    return np.frombuffer(bytes(out), np.uint64).reshape(-1, 2)


def _long_digests(view: View) -> U64:
    if not (view.roles != Role.CELL).any():
        return _digests(view, view.texts)  # of the record itself
    number = next((i for i, n in enumerate(view.names) if n == view.id_name), -1)
    keep = view.fields != number
    names = [view.names[n] for n in view.fields[keep].tolist()]
    found = hashlib.blake2b(digest_size=16)
    for piece in pieces.clean(view.texts, keep, names):
        found.update(piece)
    if words := [column.to_pylist() for _, column in sorted(view.labels.items())]:
        said = repr([column[0] for column in words]).encode("utf-8", "replace")
        found.update(b"\x1d" + said)
    return np.frombuffer(found.digest(), np.uint64).reshape(-1, 2)


def _hash(body: Any) -> bytes:
    return hashlib.blake2b(body, digest_size=16).digest()


def _dumped(record: Any, id_: str) -> bytes:
    if isinstance(record, dict) and id_ in record:
        record = {k: v for k, v in record.items() if k != id_}
    for _ in range(2):
        try:
            return orjson.dumps(record, default=str, option=orjson.OPT_SORT_KEYS)
        except (TypeError, ValueError):  # an integer beyond 64 bits, a lone surrogate, a long text
            record = whole(record)
    return repr(record).encode("utf-8", "replace")


def _split_codes(view: View) -> npt.NDArray[np.uint8]:
    if view.splits is None:
        return np.zeros(len(view), np.uint8)
    codes = {name: _SPLITS.index(code) for name, code in SPLIT_NAMES.items()}
    return np.array([codes.get(str(s).lower(), 0) for s in view.splits.to_pylist()], np.uint8)


def text_digests(clean: pa.LargeStringArray, owners: I64, count: int) -> tuple[U64, I64]:
    """Return 64 bits of the text of each record, and how many characters it has: both (n,)."""
    ends = np.concatenate(([0], np.cumsum(np.bincount(owners, minlength=count)))).astype(np.int64)
    lists = pa.LargeListArray.from_arrays(pa.array(ends), clean)
    whole = pc.binary_join(lists, _text("\n"))
    return _hash64(whole), pc.utf8_length(whole).to_numpy(zero_copy_only=False).astype(np.int64)


def _hash64(texts: pa.LargeStringArray) -> U64:
    """Return 64 bits of each text; 0 for an empty one."""
    data, ends = utf8_of(texts)
    places = ends.tolist()
    blake2b = hashlib.blake2b
    found = b"".join(
        blake2b(data[start:stop], digest_size=8).digest() if start < stop else _EMPTY
        for start, stop in zip(places, places[1:], strict=False)
    )
    return np.frombuffer(found, "<u8").astype(np.uint64)


_EMPTY = bytes(8)


def _hash64_of(parts: Iterable[bytes]) -> U64:
    """Return 64 bits of one text that comes in pieces: (1,); 0 for an empty one."""
    return long_digest(parts)[0]


def long_digest(parts: Iterable[bytes]) -> tuple[U64, int]:
    """Return 64 bits of one text that comes in pieces: (1,), and how many characters it has."""
    found, size, count = hashlib.blake2b(digest_size=8), 0, 0
    for part in parts:
        found.update(part)
        size += len(part)
        count += int(np.count_nonzero(np.frombuffer(part, np.uint8) & 0xC0 != 0x80))
    digest = found.digest() if size else _EMPTY
    return np.frombuffer(digest, "<u8").astype(np.uint64), count


def _label_hashes(view: View) -> U64:
    """Return 64 bits of the labels of each record, 0 where it has none: (n,)."""
    columns = [column.to_pylist() for _, column in sorted(view.labels.items())]
    if not columns:
        return np.zeros(len(view), np.uint64)
    said = [repr(row) if any(row) else "" for row in zip(*columns, strict=True)]
    return _hash64(pa.array(said, pa.large_string()))


def _answers(view: View, clean: pa.LargeStringArray) -> U64:
    return _hash64(_joined(view, clean, view.of(ANSWERS)))


def _tasks(view: View, clean: pa.LargeStringArray) -> tuple[U64, npt.NDArray[np.uint32]]:
    """Return what is asked, as hashes: each first prompt of a record with what goes with it."""
    prompts = view.of((Role.PROMPT,)) & (view.turns <= 0)
    if not prompts.any():
        return np.zeros(0, np.uint64), np.zeros(0, np.uint32)
    owners = view.owners()[prompts]
    inputs = _joined(view, clean, view.of((Role.INPUT, Role.SYSTEM, Role.TOOLS)))
    texts = clean.filter(pa.array(prompts))
    whole = pc.binary_join_element_wise(texts, inputs.take(pa.array(owners)), _text("\n"))
    keys = _hash64(pc.utf8_trim_whitespace(whole))
    said = keys != 0
    return keys[said], owners[said].astype(np.uint32)


def _long_tasks(view: View) -> tuple[U64, npt.NDArray[np.uint32]]:
    """Return what `_tasks` does of one record whose texts are long."""
    prompts = view.of((Role.PROMPT,)) & (view.turns <= 0)
    inputs = view.of((Role.INPUT, Role.SYSTEM, Role.TOOLS))
    sizes = pc.binary_length(view.texts).to_numpy(zero_copy_only=False)
    asked = np.flatnonzero(prompts)
    if int(sizes[prompts].sum()) + len(asked) * int(sizes[inputs].sum()) <= pieces.PIECE:
        some = view.only(prompts | inputs)
        return _tasks(some, clean_of(some))
    keys = []
    for at in asked.tolist():
        one = itertools.chain(
            pieces.clean(view.texts.slice(at, 1)), [b"\n"], pieces.clean(view.texts, inputs)
        )
        keys.append(_hash64_of(pieces.stripped(one)))
    found = np.concatenate(keys)
    found = found[found != 0]
    return found, np.zeros(len(found), np.uint32)


# --- signatures --------------------------------------------------------------------------------


def signatures(hashes: U64, starts: I64) -> tuple[U64, npt.NDArray[np.uint32], I64]:
    """Return band keys (BANDS, n), the bottom hashes of all texts, and how many of each: (n,).

    The hashes of a text are sorted, so the first of each of BINS ranges is its minimum there; an
    empty range takes the value of a full one, chosen by its own number alone.
    """
    count = len(starts) - 1
    owners = np.repeat(np.arange(count, dtype=np.int64), np.diff(starts))
    high = hashes >> np.uint64(HASH_BITS - 32)
    cell = owners * BINS + _bins(hashes)
    firsts = np.concatenate(([True], cell[1:] != cell[:-1])) if len(cell) else np.zeros(0, bool)
    values = np.zeros(count * BINS, np.uint64)
    values[cell[firsts]] = hashes[firsts] + np.uint64(1)
    ranges = values.reshape(count, BINS)
    _densify(ranges, ranges != 0)
    keys = ranges.reshape(count, BANDS, ROWS)
    with np.errstate(over="ignore"):
        total = np.einsum("nbr,r->nb", keys, _ODD[:ROWS])
        bands = mixed(total + np.arange(BANDS, dtype=np.uint64) * _ODD[0])
    rank = np.arange(len(hashes)) - starts[owners]
    low = rank < BOTTOM
    bottoms = high[low].astype(np.uint32)
    return np.ascontiguousarray(bands.T), bottoms, np.minimum(np.diff(starts), BOTTOM)


def _bins(hashes: U64) -> npt.NDArray[np.int64]:
    """Return in which of BINS ranges each hash lies."""
    high = hashes >> np.uint64(HASH_BITS - 32)
    return (high * np.uint64(BINS) >> np.uint64(32)).astype(np.int64)


def _densify(values: U64, full: npt.NDArray[np.bool_]) -> None:
    """Give each empty range the minimum of the first full one among its donors, in place."""
    counts = full.sum(axis=1)
    some = (counts >= _FEW) & (counts < BINS)
    rows, columns = np.nonzero(~full & some[:, None])
    firsts, cells, filled = rows * BINS, values.reshape(-1), full.reshape(-1)
    for donors in _donors():
        if not len(columns):
            break
        places = donors.take(columns)
        places += firsts
        right = filled.take(places)
        at, left = np.flatnonzero(right), np.flatnonzero(~right)
        cells[firsts.take(at) + columns.take(at)] = cells.take(places.take(at))
        firsts, columns = firsts.take(left), columns.take(left)
    rows = firsts // BINS
    values[rows, columns] = values[rows, full[rows].argmax(axis=1)]
    rows = np.flatnonzero((counts > 0) & (counts < _FEW))
    if len(rows):  # the same, faster where a donor is rarely full
        bins = np.nonzero(full[rows])[1]
        firsts = np.cumsum(counts[rows]) - counts[rows]
        found = np.minimum.reduceat(_ranks()[bins], firsts, axis=0) & 0x7F
        values[rows] = np.take_along_axis(values[rows], found.astype(np.int64), axis=1)


_FEW = 32


@functools.cache
def _donors() -> npt.NDArray[np.int64]:
    numbers = np.arange(64 * BINS, dtype=np.uint64).reshape(64, BINS)
    return (mixed(numbers + np.uint64(77)) % np.uint64(BINS)).astype(np.int64)


@functools.cache
def _ranks() -> npt.NDArray[np.uint16]:
    """Return for a full range (row) and each range (column) when the first is its donor.

    That is 128 times the place among 64 donors (64: none of them) plus the number of the full one;
    a range that is full is its own donor before all others.
    """
    donors = _donors()
    ranks = np.full((BINS, BINS), 65, np.uint16)
    every = np.arange(BINS)
    for place in range(63, -1, -1):
        ranks[donors[place], every] = place + 1
    ranks[every, every] = 0
    return ranks * np.uint16(128) + every[:, None].astype(np.uint16)


_ODD = mixed(np.arange(1, 65, dtype=np.uint64)) | np.uint64(1)
