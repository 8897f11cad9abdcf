"""One long text piece by piece: what is found is what the whole text gives, in bounded memory.

A text is cut where normalising it does not look across: between two characters of which neither is
white space and the second can combine with nothing before it. Words that a border cuts, and runs
that reach over it, are carried from piece to piece.
"""

from __future__ import annotations

import functools
import tempfile
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import IO

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from . import shingles as sh
from .shingles import HASH_BITS, U64, folded, mixed, normalised, utf8_of

PIECE = 1 << 20  # bytes
HELD = 1 << 20  # hashes of one text in memory; more of them lie in a file
_RANGES = 64
_LOOK_BACK = 256
_KIRAT_RAI = range(0x16D40, 0x16D80)  # the only script whose letters combine with one before
_JAMO = (range(0x1100, 0x1200), range(0xD7B0, 0xD800))
_SYLLABLES = range(0xAC00, 0xD7A4)  # of Korean: they begin with a letter that does not combine


def clean(
    texts: pa.LargeStringArray,
    mask: npt.NDArray[np.bool_] | None = None,
    names: Sequence[str] | None = None,
) -> Iterator[bytes]:
    """Yield the chosen texts normalised and joined by line feeds; each may stand behind a name."""
    places = np.arange(len(texts)) if mask is None else np.flatnonzero(mask)
    sizes = pc.binary_length(texts).to_numpy(zero_copy_only=False).take(places)
    ends = np.concatenate(([0], np.cumsum(sizes, dtype=np.int64)))
    mark = pa.scalar("\x1e", pa.large_string())
    at = 0
    while at < len(places):
        stop = max(int(np.searchsorted(ends, ends[at] + PIECE, "right")) - 1, at + 1)
        if at:
            yield b"\n"
        if sizes[at] > PIECE:
            if names is not None:
                yield names[at].encode() + b"\x1e"
            yield from _clean(utf8_of(texts.slice(int(places[at]), 1))[0])
        else:
            some = normalised(texts.take(pa.array(places[at:stop])))
            if names is not None:
                before = pa.array(names[at:stop], pa.large_string())
                some = pc.binary_join_element_wise(before, some, mark)
            lists = pa.LargeListArray.from_arrays(pa.array([0, len(some)], pa.int64()), some)
            joined = pc.binary_join(lists, pa.scalar("\n", pa.large_string()))
            yield bytes(utf8_of(joined)[0])
        at = stop


def stripped(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Yield pieces without the line feeds at both ends of them all."""
    feeds = -1
    for piece in pieces:
        kept = piece.lstrip(b"\n") if feeds < 0 else piece
        body = kept.rstrip(b"\n")
        if body:
            yield b"\n" * max(feeds, 0) + body
            feeds = 0
        if feeds >= 0:
            feeds += len(kept) - len(body)


def _clean(raw: memoryview) -> Iterator[bytes]:
    """Yield one long text normalised."""
    start = 0
    while start < len(raw):
        stop = _border(raw, start)
        piece = folded(_text(raw[start:stop]))
        if start == 0:
            piece = pc.utf8_ltrim_whitespace(piece)
        if stop == len(raw):
            piece = pc.utf8_rtrim_whitespace(piece)
        yield bytes(utf8_of(piece)[0])
        start = stop


def _text(piece: bytes | memoryview) -> pa.LargeStringArray:
    return pa.array([bytes(piece)], pa.large_binary()).cast(pa.large_string())


def _border(raw: memoryview, start: int) -> int:
    """Return where a piece ends that begins at a place: where nothing reaches across."""
    stop = start
    while (stop := stop + PIECE) < len(raw):
        low = stop
        while low > start:
            high, low = low, max(low - _LOOK_BACK, start)
            # Up to a character behind each end, so that no pair of neighbours is missed.
            begin, end = _whole(raw, max(low - 4, start)), _whole(raw, min(high + 4, len(raw)))
            text = bytes(raw[begin:end]).decode("utf-8")
            for at in range(len(text) - 1, 0, -1):
                if _ends(text[at - 1]) and _begins(text[at]):
                    return begin + len(text[:at].encode())
    return len(raw)


def _whole(raw: memoryview, at: int) -> int:
    while at < len(raw) and raw[at] & 0xC0 == 0x80:
        at -= 1
    return at


@functools.lru_cache(maxsize=4096)
def _ends(sign: str) -> bool:
    """Say whether no white space that follows would stand together with some in this character."""
    last = unicodedata.normalize("NFKD", sign)[-1]
    return not any(unicodedata.category(c)[0] in "ZC" for c in (sign, last))


@functools.lru_cache(maxsize=4096)
def _begins(sign: str) -> bool:
    """Say whether a character combines with none before it, under NFKC."""
    if ord(sign) in _SYLLABLES:
        return True
    first = unicodedata.normalize("NFKD", sign)[0]
    return not any(
        unicodedata.category(c)[0] in "MZC"
        or unicodedata.combining(c)
        or any(ord(c) in block for block in (*_JAMO, _KIRAT_RAI))
        for c in (sign, first)
    )


# --- words -------------------------------------------------------------------------------------


@dataclass(slots=True)
class Points:
    """The characters of a piece in lower case, and what each is."""

    points: npt.NDArray[np.uint32]
    kinds: npt.NDArray[np.uint8]

    @classmethod
    def of(cls, piece: bytes) -> Points:
        lower = pc.utf8_lower(_text(piece))
        points, _ = sh.code_points(lower)
        return cls(points, sh.kinds_of_characters().take(points))


@dataclass(slots=True)
class _Words:
    """The hashes of words of a text that comes in pieces; a word that is cut stays open."""

    signs: bool  # as `shingles.tokens` cuts: with low lines, and CJK characters alone
    _letters: int = 0  # of the open word
    _sum: int = 0

    def add(self, piece: Points) -> U64:
        """Return the hashes of the words that end in this piece."""
        points = piece.points
        inside = (piece.kinds & sh.WORD) != 0
        alone = np.zeros(len(points), bool)
        if self.signs:
            inside |= points == ord("_")
            alone = inside & ((piece.kinds & sh.CJK) != 0)
        joins = inside & ~alone
        start, stop = 0, len(points)
        found = []
        if self._letters:
            start = stop if joins.all() else int(joins.argmin())
            self._grow(points[:start])
            if start == stop:
                return np.zeros(0, np.uint64)
            found.append(self.end())
        rest = joins[start:]
        if len(rest) and rest[-1]:
            stop = start if rest.all() else stop - int(rest[::-1].argmin())
        some = slice(start, stop)
        starts = np.array([0, stop - start], np.int64)
        found.append(sh.words(points[some], starts, inside[some], alone[some])[0])
        self._grow(points[stop:])
        return np.concatenate(found)

    def end(self) -> U64:
        """Return the hash of the word that is open, if any: nothing follows it."""
        hashes = np.array([self._sum] if self._letters else [], np.uint64)
        self._letters = self._sum = 0
        return mixed(hashes)

    def _grow(self, letters: npt.NDArray[np.uint32]) -> None:
        if len(letters):
            total = int(sh.letter_hashes(letters, self._letters).sum(dtype=np.uint64))
            self._sum = (self._sum + total) & 0xFFFF_FFFF_FFFF_FFFF
            self._letters += len(letters)


def tokens(pieces: Iterable[bytes]) -> Iterator[U64]:
    """Yield the hashes of the tokens of one text, as `shingles.tokens` has them."""
    words = _Words(signs=True)
    for piece in pieces:
        yield words.add(Points.of(piece))
    yield words.end()


# --- shingles ----------------------------------------------------------------------------------


def by_characters(pieces: Iterable[bytes]) -> bool:
    """Say whether a text is cut into shingles by characters: enough of it is CJK."""
    cjk = said = 0
    for piece in pieces:
        kinds = Points.of(piece).kinds
        cjk += int(np.count_nonzero(kinds & sh.CJK))
        said += len(kinds) - int(np.count_nonzero(kinds & sh.SPACE))
    return cjk >= sh.CJK_SHARE * max(said, 1)


def shingles(pieces: Iterable[bytes], *, characters: bool) -> Distinct:
    """Return the hashes of the shingles of one text."""
    found = Distinct()
    carried = np.zeros(0, np.uint64)
    few = True
    for units in _characters(pieces) if characters else _spoken(pieces):
        carried = np.concatenate((carried, units))
        if len(carried) >= sh.N:
            few = False
            found.add(sh.run_hashes(carried, np.zeros(len(carried), np.int64))[0])
            carried = carried[1 - sh.N :].copy()
    if few and len(carried):
        found.add(sh.run_hashes(carried, np.zeros(len(carried), np.int64))[0])
    return found


def _characters(pieces: Iterable[bytes]) -> Iterator[U64]:
    for piece in pieces:
        it = Points.of(piece)
        yield it.points[(it.kinds & sh.SPACE) == 0].astype(np.uint64)


def _spoken(pieces: Iterable[bytes]) -> Iterator[U64]:
    words = _Words(signs=False)
    for piece in pieces:
        yield words.add(Points.of(piece))
    yield words.end()


@dataclass(slots=True)
class Distinct:
    """Hashes of HASH_BITS bits, without repetition; many of them lie in a file, range by range."""

    _held: list[U64] = field(default_factory=list)
    _count: int = 0
    _file: IO[bytes] | None = None
    _runs: list[tuple[int, npt.NDArray[np.int64]]] = field(default_factory=list)

    def add(self, hashes: U64) -> None:
        self._held.append(hashes)
        self._count += len(hashes)
        if self._count <= HELD:
            return
        whole = _distinct(self._held)
        self._held, self._count = [whole], len(whole)
        if self._count * 2 > HELD:
            if self._file is None:
                self._file = tempfile.TemporaryFile(prefix="yaosu-shingles-")  # noqa: SIM115
            self._runs.append((self._file.seek(0, 2), self._bounds(whole)))
            self._file.write(whole.data)
            self._held, self._count = [], 0

    def ranges(self) -> Iterator[U64]:
        """Yield the hashes in order, one range of them after the other."""
        held = _distinct(self._held)
        mine = self._bounds(held)
        for number in range(_RANGES):
            parts = [held[mine[number] : mine[number + 1]]]
            for place, bounds in self._runs:
                assert self._file is not None
                self._file.seek(place + int(bounds[number]) * 8)
                size = int(bounds[number + 1] - bounds[number]) * 8
                parts.append(np.frombuffer(self._file.read(size), np.uint64))
            yield _distinct(parts)
        if self._file is not None:
            self._file.close()

    @staticmethod
    def _bounds(hashes: U64) -> npt.NDArray[np.int64]:
        edges = np.arange(_RANGES, dtype=np.uint64) << np.uint64(HASH_BITS - 6)
        found = np.searchsorted(hashes, edges)
        return np.append(found, len(hashes)).astype(np.int64)


def _distinct(parts: list[U64]) -> U64:
    """Return all hashes in order, without repetition."""
    every = np.concatenate((np.zeros(0, np.uint64), *parts))
    every.sort()
    return every[np.concatenate(([True], every[1:] != every[:-1]))] if len(every) else every
