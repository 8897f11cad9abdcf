"""Texts of a batch as one flat array of characters, and how many of each kind every record has.

Kinds are scripts and the few characters that rules ask for. They come from Unicode blocks and from
the categories of Unicode 3.2, which every Python carries unchanged: a report does not depend on
the version that made it.
"""

from __future__ import annotations

import functools
import unicodedata
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from .view import Ints, View

Bools = npt.NDArray[np.bool_]
SLICE_BYTES = 1 << 19  # of text at a time: the arrays of a slice stay near the cache
SLICE_RECORDS = 4096
SHARED_BYTES = 16 << 20  # of a batch up to which its slices are kept for the next check
LONGEST = 4 << 20  # bytes of one record that are looked at; what lies behind is told as cut


class Kind(IntEnum):
    """What a character is; every character has one."""

    OTHER = 0
    SPACE = 1
    NEWLINE = 2
    DIGIT = 3
    LATIN = 4  # ASCII letters and the rest of the script
    LATIN_ODD = 5  # Ã, Â, â …: how UTF-8 begins when it is read as Windows-1252
    HAN = 6  # written alike in both forms of Chinese
    SIMPLIFIED = 7
    TRADITIONAL = 8
    HAN_ODD = 9  # what common Chinese becomes when its UTF-8 is read as GBK
    KANA = 10
    HANGUL = 11
    CYRILLIC = 12
    ARABIC = 13
    HEBREW = 14
    THAI = 15
    DEVANAGARI = 16
    GREEK = 17
    TIBETAN = 18
    MONGOLIAN = 19
    LETTER = 20  # of any other script
    MARK = 21  # punctuation and symbols
    WIDE = 22  # punctuation of East Asia
    HASH = 23
    BRACE = 24  # the opening curly bracket
    LESS = 25
    AMPERSAND = 26
    DOT = 27
    ELLIPSIS = 28
    REPLACEMENT = 29  # U+FFFD
    CONTROL = 30
    NUL = 31
    BOM = 32
    PRIVATE = 33


KINDS = 34
HAN = (Kind.HAN, Kind.SIMPLIFIED, Kind.TRADITIONAL, Kind.HAN_ODD)
LATIN = (Kind.LATIN, Kind.LATIN_ODD)
LETTERS = tuple(Kind(n) for n in range(Kind.LATIN, Kind.MARK))
_BLOCKS = (
    (Kind.LATIN, ((0x41, 0x5A), (0x61, 0x7A), (0xC0, 0xD6), (0xD8, 0xF6), (0xF8, 0x24F),
                  (0x250, 0x2AF), (0x1E00, 0x1EFF), (0x2C60, 0x2C7F), (0xA720, 0xA7FF),
                  (0xFF21, 0xFF3A), (0xFF41, 0xFF5A))),
    (Kind.HAN, ((0x3005, 0x3007), (0x3400, 0x4DBF), (0x4E00, 0x9FFF), (0xF900, 0xFAFF),
                (0x20000, 0x323AF))),
    (Kind.KANA, ((0x3041, 0x309F), (0x30A1, 0x30FA), (0x30FC, 0x30FF), (0x31F0, 0x31FF),
                 (0xFF66, 0xFF9F))),
    (Kind.HANGUL, ((0x1100, 0x11FF), (0x3131, 0x318E), (0xA960, 0xA97F), (0xAC00, 0xD7FF))),
    (Kind.CYRILLIC, ((0x400, 0x52F), (0x1C80, 0x1C8F), (0x2DE0, 0x2DFF), (0xA640, 0xA69F))),
    (Kind.ARABIC, ((0x620, 0x65F), (0x66E, 0x6D3), (0x6D5, 0x6DC), (0x750, 0x77F),
                   (0x8A0, 0x8FF), (0xFB50, 0xFDFF), (0xFE70, 0xFEFC))),
    (Kind.HEBREW, ((0x591, 0x5F4), (0xFB1D, 0xFB4F))),
    (Kind.THAI, ((0xE01, 0xE3A), (0xE40, 0xE4E))),
    (Kind.DEVANAGARI, ((0x900, 0x963), (0x970, 0x97F), (0xA8E0, 0xA8FF))),
    (Kind.GREEK, ((0x370, 0x3FF), (0x1F00, 0x1FFF))),
    (Kind.TIBETAN, ((0xF00, 0xF00), (0xF40, 0xFBC))),
    (Kind.MONGOLIAN, ((0x1820, 0x18AA),)),
    (Kind.WIDE, ((0x3001, 0x3004), (0x3008, 0x3020), (0xFE30, 0xFE4F), (0xFF01, 0xFF0F),
                 (0xFF1A, 0xFF20), (0xFF3B, 0xFF40), (0xFF5B, 0xFF65))),
    (Kind.PRIVATE, ((0xE000, 0xF8FF), (0xF0000, 0x10FFFF))),
    (Kind.CONTROL, ((0x01, 0x08), (0x0E, 0x1B), (0x7F, 0x84), (0x86, 0x9F))),
    (Kind.SPACE, ((0x09, 0x09), (0x0B, 0x0D), (0x1C, 0x20), (0x85, 0x85), (0xA0, 0xA0),
                  (0x1680, 0x1680), (0x2000, 0x200A), (0x2028, 0x2029), (0x202F, 0x202F),
                  (0x205F, 0x205F), (0x3000, 0x3000))),
)  # fmt: skip
# Where Unicode 3.2 names characters one by one; the rest is Han, hangul, private or nothing.
_NAMED = ((0, 0x3400), (0x4DC0, 0x4E00), (0xA000, 0xAC00), (0xF900, 0x10500), (0x1D000, 0x1D800))
_ALONE = {"\n": Kind.NEWLINE, "#": Kind.HASH, "{": Kind.BRACE, "<": Kind.LESS, ".": Kind.DOT,
          "&": Kind.AMPERSAND, "…": Kind.ELLIPSIS, "\ufffd": Kind.REPLACEMENT, "\0": Kind.NUL,
          "\ufeff": Kind.BOM}  # fmt: skip
# How the UTF-8 of Latin, Greek, Cyrillic, Chinese and signs begins, read as Windows-1252.
_LATIN_ODD = "ÂÃÄÅÎÏÐÑâãäåæçèéïð"
# Among the commonest characters and marks of Chinese; read wrongly they make unmistakable ones.
_COMMON = (
    "的一是了我不人在他有这个上们来到时大地为子中你说生国年着就那和要她出也得里后自以会家可下而过"
    "天去能对小多然于心学么之都好看起发当没成只如事把还用第样道想作种开美总从无情已面最女但现前些所同日手"
    "又行意动方期它头经长儿回位分爱老因很给名法间斯知世什两次使身者被高已亲其进此话常与活正感，。、：；？！“”"
)


@functools.cache
def kinds() -> npt.NDArray[np.uint8]:
    """Return the kind of every code point: uint8 (0x110000,)."""
    table = np.zeros(0x110000, np.uint8)
    category = unicodedata.ucd_3_2_0.category
    general = {"L": Kind.LETTER, "P": Kind.MARK, "S": Kind.MARK}
    for first, stop in _NAMED:
        for code in range(first, stop):
            name = category(chr(code))
            table[code] = general.get(name[0], Kind.DIGIT if name == "Nd" else Kind.OTHER)
    for kind, blocks in _BLOCKS:
        for first, last in blocks:
            table[first : last + 1] = kind
    table[0xD7] = table[0xF7] = Kind.MARK
    _han(table)
    table[[ord(c) for c in "锟烫"]] = Kind.HAN_ODD  # U+FFFD and unused memory read as GBK
    for character, kind in _ALONE.items():
        table[ord(character)] = kind
    table[[ord(c) for c in _LATIN_ODD]] = Kind.LATIN_ODD
    table.setflags(write=False)
    return table


def _han(table: npt.NDArray[np.uint8]) -> None:
    """Tell the two written forms apart: GB 2312 has no traditional form, Big5 no simplified."""
    codes = np.arange(0x4E00, 0x9FA6)
    simple, common_simple = _pairs("gb2312", 0xD7)
    full, common_full = _pairs("big5", 0xC6)
    in_simple, in_full = np.isin(codes, simple), np.isin(codes, full)
    table[codes[in_simple & ~in_full]] = Kind.SIMPLIFIED
    table[codes[in_full & ~in_simple]] = Kind.TRADITIONAL
    two = "\n".join(first + second for first in _COMMON for second in _COMMON)
    odd = np.unique(_points(two.encode().decode("gbk", "ignore")))
    odd = odd[np.isin(table[odd], HAN)]
    wanted = np.concatenate((common_simple, common_full, _points(_COMMON)))
    table[odd[~np.isin(odd, wanted)]] = Kind.HAN_ODD


def _points(text: str) -> npt.NDArray[np.uint32]:
    return np.frombuffer(text.encode("utf-32-le"), "<u4")


def _pairs(encoding: str, last: int) -> tuple[npt.NDArray[np.uint32], npt.NDArray[np.uint32]]:
    """Return the characters of two bytes, and those that are common (first byte up to `last`).

    Common are level 1 of GB 2312 (3,755 characters) and of Big5 (5,401).
    """
    rows = []
    for first in range(0xA1, 0xFF):
        pairs = bytes(byte for second in range(0x40, 0xFF) for byte in (first, second, 0x0A))
        rows.append(_points(pairs.decode(encoding, "ignore")))
    return np.concatenate(rows), np.concatenate(rows[: last - 0xA0])


@dataclass(frozen=True, slots=True)
class Flat:
    """The characters of some neighbouring records, a line feed after each record."""

    first: int  # number of the first record in the batch
    chars: npt.NDArray[np.uint32]  # (c,)
    kinds: npt.NDArray[np.uint8]  # (c,)
    starts: Ints  # (n + 1,) record i is chars[starts[i] : starts[i + 1] - 1]
    cut: int  # records of which only the first LONGEST bytes are here

    def __len__(self) -> int:
        return len(self.starts) - 1

    @property
    def lengths(self) -> Ints:
        """Return the characters of each record: (n,)."""
        return np.diff(self.starts) - 1

    def owners_of(self, places: Ints) -> Ints:
        """Return the record of each of some ascending places: same shape."""
        bounds = np.searchsorted(places, self.starts)
        return np.repeat(np.arange(len(self), dtype=np.int64), np.diff(bounds))

    def counts(self) -> Ints:
        """Return how many characters of each kind each record has: (n, KINDS)."""
        n = len(self)
        if n == 1:  # which may be long
            steps = range(0, len(self.kinds), _STEP)
            parts = [np.bincount(self.kinds[a : a + _STEP], minlength=KINDS) for a in steps]
            one: Ints = np.sum(parts, axis=0, dtype=np.int64).reshape(1, KINDS)
            one[:, Kind.NEWLINE] -= 1
            return one
        keys = np.repeat(np.arange(0, n * KINDS, KINDS, dtype=np.int32), np.diff(self.starts))
        keys += self.kinds
        found: Ints = np.bincount(keys, minlength=n * KINDS).reshape(n, KINDS)
        found[:, Kind.NEWLINE] -= 1
        return found


def parted(
    view: View, roles: Collection[int]
) -> tuple[pa.LargeStringArray, Iterable[tuple[Flat, Ints]]]:
    """Return the text of each record in these roles, and its slices with their counts."""
    mask = view.of(roles)

    def made() -> tuple[pa.LargeStringArray, Iterable[tuple[Flat, Ints]]]:
        texts = view.joined(mask)
        return texts, ((flat, flat.counts()) for flat in flats(texts))

    def kept() -> tuple[pa.LargeStringArray, Iterable[tuple[Flat, Ints]]]:
        texts, slices = made()
        return texts, list(slices)

    small = view.texts.nbytes <= SHARED_BYTES
    return view.once(("parted", mask.tobytes()), kept) if small else made()


def flats(texts: pa.LargeStringArray) -> Iterator[Flat]:
    """Yield the texts of a batch in slices of neighbouring records."""
    texts = texts.cast(pa.large_string())
    if not len(texts):
        return
    sizes = pc.binary_length(texts).to_numpy(zero_copy_only=False).astype(np.int64)
    ends = np.cumsum(sizes)
    first = 0
    while first < len(texts):
        before = int(ends[first - 1]) if first else 0
        stop = int(np.searchsorted(ends, before + SLICE_BYTES, "right"))
        stop = min(max(stop, first + 1), first + SLICE_RECORDS)
        yield _flat(first, texts.slice(first, stop - first), int(sizes[first]))
        first = stop


def _flat(first: int, texts: pa.LargeStringArray, size: int) -> Flat:
    cut = 0
    if len(texts) == 1 and size > LONGEST:
        start = np.frombuffer(texts.buffers()[1], np.int64)[texts.offset]
        head = memoryview(texts.buffers()[2])[start : start + LONGEST]
        texts = pa.array([bytes(head).decode("utf-8", "ignore")], pa.large_string())
        cut = 1
    lists = pa.LargeListArray.from_arrays(pa.array([0, len(texts)], pa.int64()), texts)
    joined = pc.binary_join(lists, pa.scalar("\n", pa.large_string()))
    text = joined[0].as_py() + "\n"
    chars = np.frombuffer(text.encode("utf-32-le"), "<u4")
    lengths = pc.utf8_length(texts).to_numpy(zero_copy_only=False)
    starts = np.concatenate(([0], np.cumsum(lengths.astype(np.int64) + 1)))
    return Flat(first, chars, _kinds_of(chars), starts, cut)


def _kinds_of(chars: npt.NDArray[np.uint32]) -> npt.NDArray[np.uint8]:
    """Return the kind of each character; ASCII goes through a table of bytes, which is quicker."""
    table = kinds()
    beyond = np.flatnonzero(chars > 0x7F)
    if len(beyond) * 3 > len(chars):
        return table[chars]
    low = np.minimum(chars, 0x7F).astype(np.uint8).tobytes()
    found = np.frombuffer(bytearray(low.translate(table[:256].tobytes())), np.uint8)
    found[beyond] = table[chars[beyond]]
    return found


_POWERS = 1 << 20  # that are kept; of a longer text they are products
_STEP = 1 << 19
_MULTIPLIER = 0x9E3779B97F4A7C15  # odd, so that it has an inverse modulo 2**64
_INVERSE = pow(_MULTIPLIER, -1, 1 << 64)
Hashes = npt.NDArray[np.uint64]


@functools.lru_cache(maxsize=8)
def _powers(count: int, multiplier: int) -> Hashes:
    powers = np.full(count, multiplier, np.uint64)
    powers[0] = 1
    return np.cumprod(powers, dtype=np.uint64)


def _far(count: int) -> Hashes:
    """Return the inverse power of each _STEP-th place."""
    step = pow(_INVERSE, _STEP, 1 << 64)
    return np.array([pow(step, n, 1 << 64) for n in range(-(-count // _STEP))], np.uint64)


def mixed(values: npt.NDArray[np.unsignedinteger]) -> Hashes:
    """Return values spread over 64 bits (the finalizer of splitmix64)."""
    x = values.astype(np.uint64)
    x += np.uint64(0x632BE59BD9B4E019)
    x ^= x >> np.uint64(30)
    x *= np.uint64(0xBF58476D1CE4E5B9)
    x ^= x >> np.uint64(27)
    x *= np.uint64(0x94D049BB133111EB)
    x ^= x >> np.uint64(31)
    return x


class Rolling:
    """Hashes of any stretches of a slice: equal text has an equal hash, wherever it stands."""

    def __init__(self, chars: npt.NDArray[np.uint32]) -> None:
        size = 1 << max(16, (len(chars) + 1).bit_length())
        self._size = min(size, _POWERS)
        sums = np.zeros(len(chars) + 1, np.uint64)
        terms = sums[1:]
        terms[:] = chars
        terms *= np.uint64(0xD1342543DE82EF95)
        if size <= _POWERS:
            terms ^= terms >> np.uint64(32)
            terms *= _powers(size, _MULTIPLIER)[: len(chars)]
        else:
            for first in range(0, len(chars), _STEP):
                some = terms[first : first + _STEP]
                some ^= some >> np.uint64(32)
                some *= _powers(_POWERS, _MULTIPLIER)[: len(some)]
                some *= np.uint64(pow(_MULTIPLIER, first, 1 << 64))
        np.cumsum(terms, out=terms)
        self._sums = sums

    def of(self, starts: Ints, ends: Ints) -> Hashes:
        """Return the hash of chars[start:end] of each stretch."""
        found = self._sums[ends] - self._sums[starts]
        down = _powers(self._size, _INVERSE)
        if len(self._sums) <= self._size:
            found *= down[starts]
        else:
            found *= down[starts & (_STEP - 1)]
            found *= _far(len(self._sums))[starts >> _STEP.bit_length() - 1]
        return mixed(found)


def runs(mask: Bools) -> tuple[Ints, Ints]:
    """Return where each run of True starts and ends."""
    edges = np.flatnonzero(np.diff(mask.astype(np.int8), prepend=0, append=0))
    return edges[::2], edges[1::2]
