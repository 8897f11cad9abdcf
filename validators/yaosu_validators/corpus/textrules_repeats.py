"""Repetition by n-grams within each record (Rae et al. 2021, table A1).

Two sorts over the n-grams of all records at once bound what each record can repeat; only records
that may pass a threshold are counted for every n. `top`: characters of the most frequent n-gram,
all its occurrences. `dup`: characters of n-grams that occurred before, none counted twice.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from .script import Bools, Hashes
from .view import Ints

TOP = (2, 3, 4)  # words
DUP = (5, 6, 7, 8, 9, 10)
TOP_BOUND, DUP_BOUND = 16, 10  # the lowest thresholds, per cent: below, nothing is counted
_FACTOR = np.uint64(0xFF51AFD7ED558CCD)
_LONG = 4095
_SLOTS = 2  # binary digits by which a record has more slots than tokens, at least
_MANY = 50_000  # tokens of a record above which repetitions may touch
_ROUNDS = 12


@dataclass(frozen=True, slots=True)
class Tokens:
    """The tokens of a slice in order."""

    starts: Ints
    ends: Ints
    owners: Ints
    hashes: Hashes

    def of(self, records: Bools) -> Tokens:
        """Return the tokens of the chosen records."""
        if records.all():
            return self
        at = np.flatnonzero(records[self.owners])
        return Tokens(
            self.starts.take(at), self.ends.take(at), self.owners.take(at), self.hashes.take(at)
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Repeats:
    """Repeated characters of each record, by the words of the n-gram: int64 (n,)."""

    top: dict[int, Ints]
    dup: dict[int, Ints]


def repeats(tokens: Tokens, lengths: Ints, spaced: Bools, judged: Bools) -> Repeats:
    """Return what each record repeats; where text is not spaced, a word is two tokens."""
    n = len(lengths)
    found = Repeats(
        {size: np.zeros(n, np.int64) for size in TOP},
        {size: np.zeros(n, np.int64) for size in DUP},
    )
    for factor, records in ((1, spaced & judged), (2, ~spaced & judged)):
        if records.any():
            _of_script(found, tokens.of(records), lengths, factor)
    return found


def _of_script(found: Repeats, tokens: Tokens, lengths: Ints, factor: int) -> None:
    n = len(lengths)
    least = np.maximum(lengths, 1)
    slots = _Slots.of(tokens.owners, n)
    top, most, _ = _counted(tokens, TOP[0] * factor, n, joint=factor == 1, slots=slots)
    found.top[TOP[0]][:] += top
    some = tokens.of(most * 2 * 100 >= TOP_BOUND * least)
    for size in TOP[1:] if len(some.owners) else ():
        found.top[size][:] += _counted(some, size * factor, n, joint=factor == 1)[0]
    _, _, again = _counted(tokens, DUP[0] * factor, n, joint=False, slots=slots)
    some = tokens.of(again * 100 >= DUP_BOUND * least)
    if not len(some.owners):
        return
    grams = _twice(_grams(some, DUP[0] * factor, n))
    enough = _covered(some, grams, n) * 100 >= DUP_BOUND * least
    long = np.bincount(some.owners, minlength=n) > _MANY
    grams = grams.at(enough[grams.owners])
    for size in DUP:
        if size > DUP[0]:
            grams = _longer(some, grams, factor)
        apart = _apart(grams.at(~long[grams.owners]))
        found.dup[size][:] += np.bincount(apart.owners, apart.chars, n).astype(np.int64)
        if long.any():
            found.dup[size][:] += _covered(some, grams.at(long[grams.owners]), n)


@dataclass(frozen=True, slots=True)
class _Grams:
    """N-grams that lie within a record."""

    size: int  # tokens
    hashes: Hashes
    owners: Ints
    chars: Ints  # of their tokens
    places: Ints  # numbers of their first tokens

    def keys(self) -> Hashes:
        return _keys(self.owners, self.hashes)

    def at(self, which: Bools | Ints) -> _Grams:
        """Return the chosen n-grams."""
        return _Grams(
            self.size, self.hashes[which], self.owners[which], self.chars[which], self.places[which]
        )  # fmt: skip


def _grams(tokens: Tokens, size: int, n: int, slots: _Slots | None = None) -> _Grams:
    """Return all n-grams that stand in their record twice, in order, and a few others."""
    hashes = _joined(tokens.hashes, size)[: max(len(tokens.hashes) - size + 1, 0)]
    places = _maybe_twice(hashes, slots or _Slots.of(tokens.owners, n))
    owners = tokens.owners.take(places)
    inside = np.flatnonzero(tokens.owners.take(places + (size - 1)) == owners)
    places, owners = places.take(inside), owners.take(inside)
    sums = np.zeros(len(tokens.hashes) + 1, np.int64)
    np.cumsum(tokens.ends - tokens.starts, out=sums[1:])
    chars = sums.take(places + size)
    chars -= sums.take(places)
    return _Grams(size, hashes.take(places), owners, chars, places)


def _keys(owners: Ints, hashes: Hashes) -> Hashes:
    """Return 12 bits of the record and 52 of the hash."""
    keys = hashes >> np.uint64(29)
    keys ^= hashes
    keys >>= np.uint64(12)
    keys |= owners.view(np.uint64) << np.uint64(52)
    return keys


def _joined(hashes: Hashes, size: int) -> Hashes:
    """Return the hash of each run of `size` tokens, from those of half as many."""
    if size == 1:
        return hashes
    half = size // 2
    first = _joined(hashes, half)
    second = first if half * 2 == size else _joined(hashes, size - half)
    count = max(len(hashes) - size + 1, 0)
    joined = first[:count] * np.uint64(pow(int(_FACTOR), size - half, 1 << 64))
    joined += second[half : half + count]
    return joined


@dataclass(frozen=True, slots=True)
class _Slots:
    """Slots of a table that each record has for itself, so that they stay near in memory."""

    shifts: Hashes  # of each token: leaves as many bits of a hash as its record has
    firsts: Hashes  # of each token: the first slot of its record
    count: int

    @classmethod
    def of(cls, owners: Ints, n: int) -> _Slots:
        sizes = np.bincount(owners, minlength=n)
        bits = np.frexp(sizes)[1].astype(np.int64) + _SLOTS
        ends = np.cumsum(1 << bits)
        shifts = np.repeat((64 - bits).astype(np.uint64), sizes)
        return cls(shifts, np.repeat((ends - (1 << bits)).astype(np.uint64), sizes), int(ends[-1]))


def _maybe_twice(hashes: Hashes, slots: _Slots) -> Ints:
    """Return the places of all hashes that a record has twice, and of a few that share a slot."""
    mine = hashes * _FACTOR
    mine >>= slots.shifts[: len(hashes)]
    mine += slots.firsts[: len(hashes)]
    where = mine.view(np.int64)
    table = np.empty(slots.count, np.int32)  # every slot is written before it is read
    places = np.arange(len(hashes), dtype=np.int32)
    table[where] = places
    held = table.take(where)
    mark = held != places
    mark[held.take(np.flatnonzero(mark))] = True
    return np.flatnonzero(mark)


def _counted(
    tokens: Tokens, size: int, n: int, *, joint: bool, slots: _Slots | None = None
) -> tuple[Ints, Ints, Ints]:
    """Return of each record: characters of its most frequent n-gram, the most characters that
    any repeated n-gram makes up, and those of repetitions (overlaps counted again).

    One sort of 64 bits: 12 of the record, 40 of the hash, 12 of the length.
    """
    grams = _grams(tokens, size, n, slots)
    top, most, again = np.zeros(n, np.int64), np.zeros(n, np.int64), np.zeros(n, np.int64)
    long = np.minimum(grams.chars + (size - 1 if joint else 0), _LONG).astype(np.uint64)
    keys = (grams.keys() & ~np.uint64(_LONG)) | long
    keys.sort(kind="stable")  # records are in order
    same = keys[1:] == keys[:-1]
    if not same.any():
        return top, most, again
    firsts = np.flatnonzero(np.concatenate(([True], ~same)))
    times = np.diff(np.append(firsts, len(keys)))
    repeated = times > 1
    times, keys = times[repeated], keys[firsts[repeated]]
    chars = (keys & np.uint64(_LONG)).astype(np.int64)
    records = (keys >> np.uint64(52)).astype(np.int64)
    begins = np.flatnonzero(np.diff(records, prepend=-1))
    whose = records[begins]
    best = np.maximum.reduceat((times << 12) | chars, begins)
    top[whose] = (best >> 12) * (best & _LONG)
    most[whose] = np.maximum.reduceat(times * (chars + 1), begins)
    again[whose] = np.add.reduceat((times - 1) * chars, begins)
    return top, most, again


def _longer(tokens: Tokens, grams: _Grams, more: int) -> _Grams:
    """Return the repeated n-grams of `more` tokens more: they begin with a repeated one."""
    size = grams.size + more
    ends = grams.places + (size - 1)
    inside = ends < len(tokens.owners)
    inside[inside] = tokens.owners[ends[inside]] == grams.owners[inside]
    grams = grams.at(inside)
    hashes, chars = grams.hashes, grams.chars
    for step in range(grams.size, size):
        at = grams.places + step
        hashes = hashes * _FACTOR + tokens.hashes[at]
        chars = chars + (tokens.ends[at] - tokens.starts[at])
    return _twice(_Grams(size, hashes, grams.owners, chars, grams.places))


def _twice(grams: _Grams) -> _Grams:
    _, again, times = np.unique(grams.keys(), return_inverse=True, return_counts=True)
    return grams.at(times[again] > 1)


def _covered(tokens: Tokens, grams: _Grams, n: int) -> Ints:
    """Return the characters of each record that lie in an n-gram that stood before it."""
    _, firsts = np.unique(grams.keys(), return_index=True)
    again = np.ones(len(grams.places), bool)
    again[firsts] = False
    width = len(tokens.owners) + grams.size + 1
    places = grams.places[again]
    steps = np.bincount(places, minlength=width)
    steps -= np.bincount(places + grams.size, minlength=width)
    inside = np.cumsum(steps)[: len(tokens.owners)] > 0
    chars = np.where(inside, tokens.ends - tokens.starts, 0)
    return np.bincount(tokens.owners, chars, n).astype(np.int64)


def _apart(grams: _Grams) -> _Grams:
    """Return the n-grams that stood before, taken from left to right, none over another.

    What is taken hides the n-grams that begin in it: they are not met. Which are hidden depends on
    what is left of them alone, so that taking them again and again with those hidden before left
    out ends where one walk would; each round settles one more at least, mostly all but a few.
    """
    count = len(grams.places)
    _, which = np.unique(grams.keys(), return_inverse=True)
    order = np.argsort(which, kind="stable")
    begins = np.flatnonzero(np.diff(which[order], prepend=-1))
    numbers = np.arange(count)
    met = np.ones(count, bool)
    for _ in range(_ROUNDS if count else 0):
        firsts = np.minimum.reduceat(np.where(met, numbers, count)[order], begins)
        again = np.flatnonzero(numbers > firsts[which])
        taken = again[_steps(grams.places[again], grams.size)]
        before = np.searchsorted(taken, numbers, "right") - 1
        free = before < 0
        gone = grams.places - grams.places[taken[before]] if len(taken) else numbers
        now = free | (gone >= grams.size)
        if (now == met).all():
            return grams.at(taken)
        met = now
    return grams.at(_walk(grams.places.tolist(), which.tolist(), grams.size))


def _steps(places: Ints, size: int) -> list[int]:
    """Return the first of ascending places, the first at least `size` behind it, and so on."""
    following = np.searchsorted(places, places + size).tolist()
    steps, at = [], 0
    while at < len(following):
        steps.append(at)
        at = following[at]
    return steps


def _walk(places: list[int], which: list[int], size: int) -> Ints:
    met: set[int] = set()
    taken, free = [], 0
    for number, (place, key) in enumerate(zip(places, which, strict=True)):
        if place < free:
            continue
        if key in met:
            taken.append(number)
            free = place + size
        else:
            met.add(key)
    return np.array(taken, np.int64)
