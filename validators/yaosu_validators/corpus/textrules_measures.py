"""What rules of text ask of a record, counted for all records of a slice at once.

A token is a run of characters without white space; a Chinese or Japanese character, and a mark of
East Asian punctuation, is one by itself. Where text is not spaced, two tokens stand for a word, so
that the n-grams of the rules keep their meaning.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from .script import HAN, LETTERS, Bools, Flat, Hashes, Kind, Rolling
from .textrules_repeats import Repeats, Tokens, repeats
from .view import Ints

TERMINAL = ".?!\"'"
WIDE_TERMINAL = '。！？…”』」’"!?'
_ENDS = "。！？!?.…”』」’\"')）】》〉]}>`*|~;；”"
BULLETS = "•-●○■▪·*"
_STOP_WORDS = ("the", "be", "to", "of", "and", "that", "have", "with")
_WIDE_STOP_WORDS = tuple("的是在了和有不我这他")
_LONGEST_WORD = 1000
_SOLID = (*LETTERS, Kind.DIGIT, Kind.OTHER, Kind.REPLACEMENT, Kind.PRIVATE)
LEAST_REPEATED = 50  # words that a text must have before its repetitions are judged


@functools.cache
def _marks() -> Ints:
    """Return of each kind whether it is more than a mark (1), and also a letter (2**32 + 1)."""
    table = np.zeros(256, np.int64)
    table[list(_SOLID)] = 1
    table[list(LETTERS)] += 1 << 32
    return table


@functools.cache
def _table(signs: str) -> Bools:
    """Return of each character of the first plane whether it is one of the signs."""
    table = np.zeros(1 << 16, bool)
    table[[ord(sign) for sign in signs]] = True
    return table


def _among(chars: npt.NDArray[np.uint32], signs: str) -> Bools:
    return _table(signs).take(np.minimum(chars, 0xFFFF))


@dataclass(frozen=True, slots=True)
class Lines:
    """The lines of a slice: where they lie, whose they are, and which tokens they hold."""

    starts: Ints
    ends: Ints
    owners: Ints
    first: Ints  # number of the first token
    last: Ints  # one behind the last
    open: Bools  # the last character is none that ends a sentence


@dataclass(frozen=True, slots=True)
class Measured:
    """Measures of the records of a slice by name, each int64 (n,)."""

    of: dict[str, Ints]
    spaced: Bools  # words are set apart by spaces
    lines: Lines
    sentences: Ints  # of each line
    kept: Bools  # lines that the rules of C4 keep, before words in them are looked at


def measure(flat: Flat, counts: Ints) -> Measured:
    """Return the measures of the records of a slice; counts: (n, KINDS) of `script`."""
    n = len(flat)
    rolling = Rolling(flat.chars)
    han = counts[:, [*HAN, Kind.KANA]].sum(axis=1)
    letters = counts[:, list(LETTERS)].sum(axis=1)
    spaced = han * 7 < letters * 2
    tokens = _tokens(flat, rolling)
    lines = _lines(flat, tokens)
    of: dict[str, Ints] = {"chars": flat.lengths, "spaces": counts[:, Kind.SPACE]}
    of["hashes"], of["braces"] = counts[:, Kind.HASH], counts[:, Kind.BRACE]
    _words(of, flat, tokens)
    of["stop_words"] = _stop_words(tokens, n)
    of["ellipses"] = counts[:, Kind.ELLIPSIS] + _dots(flat, n)
    ellipsis = _line_measures(of, flat, tokens, lines, n)
    judged = of["tokens"] >= np.where(spaced, LEAST_REPEATED, 2 * LEAST_REPEATED)
    _repeated_lines(of, flat, rolling, lines, judged)
    found: Repeats = repeats(tokens, flat.lengths, spaced, judged)
    of.update({f"top_{size}": chars for size, chars in found.top.items()})
    of.update({f"dup_{size}": chars for size, chars in found.dup.items()})
    sentences, kept = _kept(flat, tokens, lines, ellipsis, spaced)
    return Measured(of, spaced, lines, sentences, kept)


def _tokens(flat: Flat, rolling: Rolling) -> Tokens:
    kinds = flat.kinds
    filled = kinds - np.uint8(Kind.SPACE) > 1  # neither space nor line feed; wraps around for 0
    single = (kinds - np.uint8(Kind.HAN) <= Kind.KANA - Kind.HAN) | (kinds == Kind.WIDE)
    edge = np.ones(len(kinds) + 1, bool)  # between a character and the one before
    edge[1:-1] = single[1:] | single[:-1] | ~filled[1:] | ~filled[:-1]
    starts = np.flatnonzero(filled & edge[:-1])
    ends = np.flatnonzero(filled & edge[1:]) + 1
    return Tokens(starts, ends, flat.owners_of(starts), rolling.of(starts, ends))


def _lines(flat: Flat, tokens: Tokens) -> Lines:
    ends = np.flatnonzero(flat.kinds == Kind.NEWLINE)
    starts = np.concatenate(([0], ends[:-1] + 1))
    first = np.searchsorted(tokens.starts, starts)
    last = np.concatenate((first[1:], [len(tokens.starts)]))
    open_ = np.zeros(len(starts), bool)
    filled = last > first
    open_[filled] = ~_among(flat.chars[tokens.ends[last[filled] - 1] - 1], _ENDS)
    return Lines(starts, ends, flat.owners_of(starts), first, last, open_)


def _words(of: dict[str, Ints], flat: Flat, tokens: Tokens) -> None:
    """Count tokens, words (tokens with more than marks in them), and those with a letter."""
    bounds = np.searchsorted(tokens.starts, flat.starts)
    of["tokens"] = np.diff(bounds)
    # Letters are counted in the high half, all that is more than a mark in the low one.
    before = np.zeros(len(flat.kinds) + 1, np.int64)
    np.take(_marks(), flat.kinds, out=before[1:], mode="clip")
    np.cumsum(before[1:], out=before[1:])
    signs = before.take(tokens.ends)
    signs -= before.take(tokens.starts)
    solid = (signs & 0xFFFFFFFF) > 0
    of["alpha_words"] = _sums(signs >= 1 << 32, bounds)
    of["words"] = _sums(solid, bounds)
    of["word_chars"] = _sums((tokens.ends - tokens.starts) * solid, bounds)


def _sums(values: npt.NDArray[Any], bounds: Ints) -> Ints:
    """Return the sums of the values (or how many are true) between bounds: int64 (n,)."""
    sums = np.zeros(len(values) + 1, np.int64)
    np.cumsum(values, out=sums[1:])
    return np.diff(sums[bounds])


@functools.cache
def _known(words: tuple[str, ...]) -> Hashes:
    chars = np.frombuffer("".join(words).encode("utf-32-le"), "<u4")
    ends = np.cumsum([len(word) for word in words], dtype=np.int64)
    return np.sort(Rolling(chars).of(np.concatenate(([0], ends[:-1])), ends))


def _stop_words(tokens: Tokens, n: int) -> Ints:
    """Count the different stop words of each record, of English and Chinese alike."""
    known = _known((*_STOP_WORDS, *_WIDE_STOP_WORDS))
    heads = np.zeros(1 << 16, bool)
    heads[known >> np.uint64(48)] = True
    some = np.flatnonzero(heads[tokens.hashes >> np.uint64(48)])
    hashes = tokens.hashes[some]
    at = np.minimum(np.searchsorted(known, hashes), len(known) - 1)
    hit = known[at] == hashes
    seen = np.zeros(n * len(known), bool)
    seen[tokens.owners[some[hit]] * len(known) + at[hit]] = True
    found: Ints = seen.reshape(n, -1).sum(axis=1)
    return found


def _dots(flat: Flat, n: int) -> Ints:
    """Count the groups of three dots of each record."""
    dot = flat.kinds == Kind.DOT
    three = np.flatnonzero(dot[:-2] & dot[1:-1] & dot[2:])
    if not len(three):
        return np.zeros(n, np.int64)
    breaks = np.flatnonzero(np.diff(three, prepend=-9) > 1)
    long = np.diff(np.append(breaks, len(three))) + 2
    owners = np.searchsorted(flat.starts, three[breaks], "right") - 1
    return np.bincount(owners, long // 3, n).astype(np.int64)


def _line_measures(of: dict[str, Ints], flat: Flat, tokens: Tokens, lines: Lines, n: int) -> Bools:
    """Count lines, those with a bullet before and an ellipsis behind; return the latter."""
    filled = np.flatnonzero(lines.last > lines.first)
    chars = flat.chars
    start = chars[tokens.starts[lines.first[filled]]]
    end = tokens.ends[lines.last[filled] - 1]
    owners = lines.owners[filled]
    bullet = _among(start, BULLETS)
    far = end >= 3
    dots = np.zeros(len(filled), bool)
    dots[far] = (
        (chars[end[far] - 1] == 46) & (chars[end[far] - 2] == 46) & (chars[end[far] - 3] == 46)
    )
    ellipsis = dots | (chars[end - 1] == 0x2026)
    last = flat.starts[1:] - 2  # the last character of a record
    closing = (last >= flat.starts[:-1]) & (chars[np.maximum(last, 0)] == 10)
    of["lines"] = np.bincount(lines.owners, minlength=n) - closing
    of["filled_lines"] = np.bincount(owners, minlength=n)
    of["bullets"] = np.bincount(owners[bullet], minlength=n)
    of["ellipsis_lines"] = np.bincount(owners[ellipsis], minlength=n)
    every = np.zeros(len(lines.starts), bool)
    every[filled] = ellipsis
    ends_open = np.zeros(n, np.int64)
    ends_open[owners] = lines.open[filled]  # the last filled line of a record stays
    of["open"] = ends_open
    return every


def _repeated_lines(
    of: dict[str, Ints], flat: Flat, rolling: Rolling, lines: Lines, judged: Bools
) -> None:
    """Count lines and paragraphs that a record has had before, and their characters."""
    n = len(flat)
    filled = lines.ends > lines.starts
    before = np.concatenate(([False], filled[:-1] & (lines.owners[1:] == lines.owners[:-1])))
    opens = np.flatnonzero(filled & ~before)
    after = np.concatenate((filled[1:] & (lines.owners[1:] == lines.owners[:-1]), [False]))
    closes = np.flatnonzero(filled & ~after)
    for name, starts, ends in (
        ("line", lines.starts[filled], lines.ends[filled]),
        ("paragraph", lines.starts[opens], lines.ends[closes]),
    ):
        owners = flat.owners_of(starts)
        of[f"{name}s_met"] = np.bincount(owners, minlength=n)
        kept = judged[owners] & (of[f"{name}s_met"][owners] > 1)
        starts, ends, owners = starts[kept], ends[kept], owners[kept]
        hashes = rolling.of(starts, ends)
        order = np.lexsort((hashes, owners))
        again = np.zeros(len(order), bool)
        again[1:] = (np.diff(owners[order]) == 0) & (hashes[order][1:] == hashes[order][:-1])
        where = order[again]
        of[f"dup_{name}s"] = np.bincount(owners[where], minlength=n)
        long = (ends - starts)[where]
        of[f"dup_{name}_chars"] = np.bincount(owners[where], long, n).astype(np.int64)


def _kept(
    flat: Flat, tokens: Tokens, lines: Lines, ellipsis: Bools, spaced: Bools
) -> tuple[Ints, Bools]:
    """Return how many sentences each line has, and which lines C4's rules keep so far.

    The line ends in a mark that ends a sentence, is no ellipsis, has at least 3 words (5
    characters where text is not spaced) and no word of more than 1,000 characters.
    """
    ends = flat.chars[tokens.ends - 1]
    marks = np.where(spaced[tokens.owners], _among(ends, TERMINAL), _among(ends, WIDE_TERMINAL))
    follows = np.concatenate((marks[1:], [False])) & ~spaced[tokens.owners]
    sums = np.concatenate(([0], np.cumsum(marks & ~follows)))
    sentences = np.maximum(sums[lines.last] - sums[lines.first], 1)
    words = lines.last - lines.first
    filled = words > 0
    closed = np.zeros(len(words), bool)
    closed[filled] = marks[lines.last[filled] - 1]
    kept = closed & (words >= np.where(spaced[lines.owners], 3, 5))
    kept &= ~(ellipsis & spaced[lines.owners])
    long = np.flatnonzero(tokens.ends - tokens.starts > _LONGEST_WORD)
    kept[np.searchsorted(lines.starts, tokens.starts[long], "right") - 1] = False
    return sentences, kept
