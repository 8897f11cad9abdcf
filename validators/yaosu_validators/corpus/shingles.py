"""Texts as sets of hashed shingles: whole batches at once, the same numbers on every machine.

A text in Chinese, Japanese or Korean is a set of runs of five characters (spaces left out), any
other a set of runs of five words (letters and digits, lower case). A shorter text is one shingle.
Hashes have 52 bits; constants are part of the version of whatever check uses them.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from .view import View

U64 = npt.NDArray[np.uint64]
I64 = npt.NDArray[np.int64]

N = 5
CJK_SHARE = 0.3  # of the characters that are no space: from here on a text is cut by characters
HASH_BITS = 52
_RECORD_BITS = 64 - HASH_BITS
MOST_RECORDS = 1 << _RECORD_BITS  # in one go
BLOCK_BYTES = 1 << 18
_P = np.uint64(0x9E3779B97F4A7C15)
_MIX_1, _MIX_2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_STEPS = np.array(
    [0xD6E8FEB86659FD93, 0xA0761D6478BD642F, 0xE7037ED1A0B428DB, 0x8EBC6AF09C88C6E3,
     0x589965CC75374CC3], np.uint64,
)  # fmt: skip
_RANGES = ((0x2E80, 0x9FFF), (0xAC00, 0xD7AF), (0xF900, 0xFAFF), (0x20000, 0x323AF))


def normalised(texts: pa.LargeStringArray) -> pa.LargeStringArray:
    """Return texts in NFKC with runs of white space as one space, and none at the ends."""
    return pc.utf8_trim_whitespace(folded(texts))


def folded(texts: pa.LargeStringArray) -> pa.LargeStringArray:
    """Return texts in NFKC with runs of white space as one space, at the ends too."""
    wide = pc.invert(pc.string_is_ascii(texts))
    if pc.any(wide).as_py():
        changed = pc.utf8_normalize(texts.filter(wide), form="NFKC")
        texts = pc.replace_with_mask(texts, wide, changed)
    texts, doubled = _plain_spaces(texts)
    if doubled.any():
        some = pa.array(doubled)
        plain = pc.replace_substring_regex(texts.filter(some), _FOLDED, " ")
        texts = pc.replace_with_mask(texts, some, plain)
    return texts


def clean_of(view: View) -> pa.LargeStringArray:
    """Return all segments of a view normalised: made once for all checks that want them."""
    return view.once("clean", lambda: normalised(view.texts))


def _plain_spaces(texts: pa.LargeStringArray) -> tuple[pa.LargeStringArray, npt.NDArray[np.bool_]]:
    """Return texts with ASCII white space as spaces, and in which of them more is to be folded."""
    data, ends = utf8_of(texts)
    body = bytes(data).translate(_SPACES)
    raw = np.frombuffer(body, np.uint8)
    space = raw == 0x20
    places = np.flatnonzero(space[1:] & space[:-1])
    rare = np.flatnonzero((raw == 0x0B) | (raw == 0xC2) | (raw == 0xE1) | (raw == 0xE2))
    if len(rare):  # white space that NFKC leaves: U+000B, U+0085, U+1680, U+2028, U+2029
        first = raw.take(rare)
        second, third = (raw.take(rare + n, mode="clip") for n in (1, 2))
        odd = (first == 0x0B) | ((first == 0xC2) & (second == 0x85))
        odd |= (first == 0xE1) & (second == 0x9A) & (third == 0x80)
        odd |= (first == 0xE2) & (second == 0x80) & ((third == 0xA8) | (third == 0xA9))
        places = np.concatenate((places, rare[odd]))
    doubled = np.zeros(len(texts), bool)
    doubled[np.searchsorted(ends, places, "right") - 1] = True
    buffers = [None, pa.py_buffer(ends), pa.py_buffer(body)]
    return pa.Array.from_buffers(pa.large_string(), len(texts), buffers), doubled


_SPACES = bytes(0x20 if n in b"\t\n\f\r" else n for n in range(256))


# White space that stands together, or is no plain space: what is one already is left alone.
_FOLDED = (
    r"[\s\x{85}\p{Z}][\s\x{85}\p{Z}]+"
    r"|[\t\n\f\r\x{85}\x{A0}\x{1680}\x{2000}-\x{200A}\x{2028}\x{2029}\x{202F}\x{205F}\x{3000}]"
)


def mixed(values: U64) -> U64:
    """Return a mix of 64-bit numbers in which every bit depends on every bit (splitmix64)."""
    with np.errstate(over="ignore"):
        values = values ^ (values >> np.uint64(30))
        values *= _MIX_1
        values ^= values >> np.uint64(27)
        values *= _MIX_2
    values ^= values >> np.uint64(31)
    return values


@dataclass(frozen=True, slots=True)
class Shingles:
    """The shingle sets of n texts: `hashes` sorted within each text, without repetition."""

    hashes: U64  # 52 bits each
    owners: I64  # text of each hash, ascending
    starts: I64  # (n + 1,)


def shingles(texts: pa.LargeStringArray) -> Shingles:
    """Return the shingle sets of normalised texts (at most 4,096 of them)."""
    count = len(texts)
    assert count <= MOST_RECORDS
    found = []
    for units, owner in _units(texts):
        if len(units):
            hashes, whose = run_hashes(units, owner)
            keys = whose.astype(np.uint64)
            keys <<= np.uint64(HASH_BITS)
            keys |= hashes
            found.append(keys)
    keys = _ordered(np.concatenate(found) if found else np.zeros(0, np.uint64), count)
    if len(keys):
        keys = keys[np.concatenate(([True], keys[1:] != keys[:-1]))]
    whose = (keys >> np.uint64(HASH_BITS)).astype(np.int64)
    ends = np.concatenate(([0], np.cumsum(np.bincount(whose, minlength=count))))
    return Shingles(keys & np.uint64((1 << HASH_BITS) - 1), whose, ends.astype(np.int64))


def _units(texts: pa.LargeStringArray) -> Iterator[tuple[U64, I64]]:
    """Yield characters and words, each as hashes and the text of each."""
    data, ends = utf8_of(texts)
    body = bytes(data)
    if body.isascii():  # words alone, and every byte a character
        inside = np.frombuffer(body.translate(_ALNUM), bool)
        yield words(np.frombuffer(body.lower(), np.uint8), ends, inside)
        return
    points, starts = code_points(pc.utf8_lower(texts))
    kinds = kinds_of_characters().take(points)
    cjk = _counted(kinds & CJK, starts)
    said = np.diff(starts) - _counted(kinds & SPACE, starts)
    wide = cjk >= CJK_SHARE * np.maximum(said, 1)
    wide_points = np.repeat(wide, np.diff(starts))
    if wide.any():
        mask = wide_points & ((kinds & SPACE) == 0)
        yield _characters(points, mask, np.where(wide, said, 0))
    if not wide.all():
        yield words(points, starts, ~wide_points & ((kinds & WORD) != 0))


_NAMES = bytes(n < 0x80 and (chr(n).isalnum() or n == ord("_")) for n in range(256))
_ALNUM = bytes(chr(n).isalnum() and n < 0x80 for n in range(256))


def alike(texts: pa.LargeStringArray) -> list[I64]:
    """Return the numbers of texts in ASCII, of those mostly in CJK, and of others: each faster."""
    sizes = pc.binary_length(texts).to_numpy(zero_copy_only=False)
    chars = pc.utf8_length(texts).to_numpy(zero_copy_only=False)
    group = np.where(sizes == chars, 0, np.where(sizes >= 2 * chars, 1, 2))
    return [numbers for n in range(3) if len(numbers := np.flatnonzero(group == n))]


def _ordered(keys: U64, count: int) -> U64:
    """Return keys in order. Texts apart: an order of few is found in registers, many times faster.

    Where texts are short, a stable sort of all is the faster one: texts are nearly in order.
    """
    owners = (keys >> np.uint64(HASH_BITS)).astype(np.uint16)
    if (owners[1:] < owners[:-1]).any():
        keys = keys[np.argsort(owners, kind="stable")]
    if len(keys) <= _APART * count:
        keys.sort(kind="stable")
        return keys
    ends = np.cumsum(np.bincount(owners, minlength=count)).tolist()
    for start, end in zip([0, *ends[:-1]], ends, strict=True):
        keys[start:end].sort()
    return keys


_APART = 24  # keys of a text, in the mean


def blocks(texts: pa.LargeStringArray) -> Iterator[tuple[int, pa.LargeStringArray]]:
    """Yield (number of the first, texts): neighbours that fit the caches of a processor together.

    A text is never cut, so that one long text is a block of its own.
    """
    if not len(texts):
        return
    ends = np.concatenate(([0], np.cumsum(pc.binary_length(texts).to_numpy()))).astype(np.int64)
    first = 0
    while first < len(texts):
        stop = int(np.searchsorted(ends, ends[first] + BLOCK_BYTES, "right")) - 1
        stop = min(max(stop, first + 1), first + MOST_RECORDS)
        yield first, texts.slice(first, stop - first)
        first = stop


def tokens(texts: pa.LargeStringArray) -> tuple[U64, I64]:
    """Return the hash of each token, and its text: words in lower case, CJK characters alone."""
    data, ends = utf8_of(texts)
    body = bytes(data)
    if body.isascii():
        inside = np.frombuffer(body.translate(_NAMES), bool)
        return words(np.frombuffer(body.lower(), np.uint8), ends, inside)
    points, starts = code_points(pc.utf8_lower(texts))
    kinds = kinds_of_characters().take(points)
    inside = ((kinds & WORD) != 0) | (points == ord("_"))
    return words(points, starts, inside, (kinds & CJK) != 0)


def utf8_of(texts: pa.LargeStringArray) -> tuple[memoryview, I64]:
    """Return the bytes of all texts, and where each begins among them: (n + 1,)."""
    texts = texts.cast(pa.large_string())
    _, offsets, data = texts.buffers()
    if not len(texts) or data is None:
        return memoryview(b""), np.zeros(len(texts) + 1, np.int64)
    ends = np.frombuffer(offsets, np.int64)[texts.offset : texts.offset + len(texts) + 1]
    return memoryview(data)[int(ends[0]) : int(ends[-1])], ends - ends[0]


def code_points(texts: pa.LargeStringArray) -> tuple[npt.NDArray[np.uint32], I64]:
    """Return all characters of all texts, and where each text starts among them: (n + 1,)."""
    body, ends = utf8_of(texts)
    if not len(body):
        return np.zeros(0, np.uint32), ends
    points = np.frombuffer(str(body, "utf-8").encode("utf-32-le"), np.uint32)
    if len(points) == len(body):
        return points, ends
    lengths = pc.utf8_length(texts).to_numpy(zero_copy_only=False)
    return points, np.concatenate(([0], np.cumsum(lengths, dtype=np.int64)))


def _characters(
    points: npt.NDArray[np.uint32], mask: npt.NDArray[np.bool_], counts: I64
) -> tuple[U64, I64]:
    owners = np.repeat(np.arange(len(counts), dtype=np.int64), counts)
    return points[mask].astype(np.uint64), owners


def words(
    points: npt.NDArray[np.uint32] | npt.NDArray[np.uint8],
    starts: I64,
    inside: npt.NDArray[np.bool_],
    alone: npt.NDArray[np.bool_] | None = None,
) -> tuple[U64, I64]:
    """Return one hash per word, and the text that it stands in; some characters are words alone."""
    begins = inside.copy()
    begins[1:] &= ~inside[:-1]
    borders = starts[:-1][starts[:-1] < len(points)]
    begins[borders] = inside[borders]
    if alone is not None:
        begins |= alone & inside
        begins[1:] |= alone[:-1] & inside[1:]
    if np.count_nonzero(inside) * 2 < len(points):  # the rest is not worth looking at
        places = np.flatnonzero(inside)
        points, begins, starts = points[places], begins[places], np.searchsorted(places, starts)
        inside = np.ones(len(places), bool)
    first = np.flatnonzero(begins)
    if not len(first):
        return np.zeros(0, np.uint64), np.zeros(0, np.int64)
    letters = points[first[0] :]
    few = letters.dtype == np.uint8 or int(letters.max()) < 0x80
    bits = 7 if few else 12
    # The place of a letter in its word counts, so that letters in another order differ.
    place = np.arange(len(letters), dtype=np.int32)
    place -= np.repeat((first - first[0]).astype(np.int32), np.diff(first, append=len(points)))
    np.minimum(place, _PLACES - 1, out=place)
    place <<= bits
    place |= (letters if few else letters & np.uint32((1 << bits) - 1)).astype(np.int32, copy=False)
    hashes = _letters(bits).take(place)
    with np.errstate(over="ignore"):
        if not few:
            hashes += letters.astype(np.uint64) * _P
        hashes[~inside[first[0] :]] = 0
        hashes = np.add.reduceat(hashes, first - first[0])
    counts = np.diff(np.searchsorted(first, starts))
    return mixed(hashes), np.repeat(np.arange(len(counts), dtype=np.int64), counts)


_PLACES = 32


def letter_hashes(letters: npt.NDArray[np.uint32], before: int) -> U64:
    """Return what the letters of one word add to its hash; so many letters stand before them."""
    place = np.minimum(np.arange(before, before + len(letters)), _PLACES - 1) << 12
    place |= letters & np.uint32(0xFFF)
    with np.errstate(over="ignore"):
        return _letters(12).take(place) + letters.astype(np.uint64) * _P


@functools.cache
def _letters(bits: int) -> U64:
    """Return a random number for every place in a word and the low bits of every letter.

    Of seven bits, which are whole letters, the letters are added as they are for more.
    """
    numbers = np.arange(_PLACES * 4096, dtype=np.uint64) + np.uint64(1)
    with np.errstate(over="ignore"):
        table = mixed(numbers * _P)
        if bits < 12:
            table = table.reshape(_PLACES, -1)[:, : 1 << bits]
            table = (table + np.arange(1 << bits, dtype=np.uint64) * _P).reshape(-1)
    return table


def run_hashes(units: U64, owners: I64) -> tuple[U64, I64]:
    """Return the hash of every run of N units of one text; of all units, where there are fewer."""
    count = len(units)
    with np.errstate(over="ignore"):
        total = units * _STEPS[0]
        room = np.empty(count, np.uint64)
        for step in range(1, min(N, count)):
            np.multiply(units[step:], _STEPS[step], out=room[: count - step])
            total[: count - step] += room[: count - step]
    whole = np.zeros(count, bool)
    if count >= N:
        whole[: count - N + 1] = owners[N - 1 :] == owners[: count - N + 1]
    sizes = np.bincount(owners)
    short = np.flatnonzero((sizes > 0) & (sizes < N))
    hashes, whose = mixed(total[whole]), owners[whole]
    if len(short):
        firsts = np.searchsorted(owners, short)
        with np.errstate(over="ignore"):
            few = np.array(
                [int(_short(units[f : f + sizes[o]])) for f, o in zip(firsts, short, strict=True)],
                np.uint64,
            )
        hashes, whose = np.concatenate((hashes, mixed(few))), np.concatenate((whose, short))
    return hashes >> np.uint64(_RECORD_BITS), whose


def _short(units: U64) -> np.uint64:
    with np.errstate(over="ignore"):
        total = (units * _STEPS[: len(units)]).sum(dtype=np.uint64)
        return np.uint64(total + np.uint64(len(units)))


def _characters_of_all() -> npt.NDArray[np.str_]:
    return np.arange(0x110000, dtype=np.uint32).view("U1")


CJK, SPACE, WORD = np.uint8(1), np.uint8(2), np.uint8(4)


@functools.cache
def kinds_of_characters() -> npt.NDArray[np.uint8]:
    """Return for every character whether it is CJK, white space, part of a word (bits)."""
    every = _characters_of_all()
    table = np.strings.isspace(every) * SPACE | np.strings.isalnum(every) * WORD
    for first, last in _RANGES:
        table[first : last + 1] |= CJK
    return np.asarray(table, np.uint8)


def _counted(flags: npt.NDArray[np.uint8], starts: I64) -> I64:
    """Return how many flags are set in each text: (n,)."""
    before = np.zeros(len(flags) + 1, np.int32)
    np.cumsum(flags != 0, dtype=np.int32, out=before[1:])
    return np.asarray(np.diff(before[starts]), np.int64)
