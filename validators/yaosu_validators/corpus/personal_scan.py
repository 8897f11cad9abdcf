"""The scan for personal information: one fast pass finds anchors, Python looks at these alone.

bytes of all segments → RE2 anchors (digit runs, @, prefixes of keys …)
→ a window of text round each, in NFKC with a map back → candidates → check digits, context
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Any

import numpy as np

from .encoding import compiled, joined_bytes
from .personal_forms import (
    ASSIGNED,
    AT,
    CONTEXT_AFTER,
    CONTEXT_BEFORE,
    PROVINCES,
    TOKENS,
    Found,
    any_word,
    candidates,
    kinds_of,
    words_of,
)
from .shingles import blocks
from .view import Ints, Role, View

BEFORE, AFTER = 192, 160  # bytes of a window before and after its anchor
_LONG = 4096  # bytes after an anchor of a token

_D, _U = "[0-9０-９]", "[A-HJ-NP-ZＡ-ＨＪ-ＮＰ-Ｚ]"
_HEX = "[0-9a-fA-F]"
_ANCHORS = "|".join(
    (
        rf"{_HEX}{{8}}-(?:{_HEX}{{4}}-){{3}}{_HEX}{{12}}",  # a UUID: taken, and never looked at
        r"0x[0-9a-fA-F]{40}",
        r"bc1[0-9a-z]{20}",
        r"[13][1-9A-HJ-NP-Za-km-z]{25}",
        rf"{_D}{{1,3}}(?:[.．]{_D}{{1,3}}){{3}}",
        rf"{_D}(?:[ .()\-]{{0,2}}{_D}){{6,40}}",
        r"(?:[0-9A-Fa-f]{2}[:\-]){5}[0-9A-Fa-f]{2}",
        r"[23][0-9A-Fa-f]{3}:[0-9A-Fa-f]{0,4}:",
        r"[A-Za-z0-9._%+\-Ａ-Ｚａ-ｚ０-９][@＠][A-Za-z0-9\-Ａ-Ｚａ-ｚ０-９]{1,63}[.．]"
        r"[A-Za-z0-9Ａ-Ｚａ-ｚ０-９]",
        rf"[{PROVINCES}]{_U}[·•.\- ]?[0-9A-Z０-９Ａ-Ｚ]{{4}}",
        r"[A-Z]{2}[0-9]{2} ?[A-Z0-9]{4} ?[A-Z0-9]{4} ?[A-Z0-9]{2}",
        r"[A-Z]{2} ?[0-9]{2} ?[0-9]{2} ?[0-9]{2} ?[A-D]",
        r"-----BEGIN [A-Z ]{0,20}PRIVATE KEY",
        r"eyJ[A-Za-z0-9_\-]{8,200}\.eyJ",
        TOKENS,
        rf"""{ASSIGNED}["']?[ ]?[:=：]{{1,2}}[ ]?["']?[A-Za-z0-9]""",
    )
)


class Tier(IntEnum):
    """How sure a hit is; the order is that of certainty."""

    LOW = 0  # the pattern alone
    MEDIUM = 1  # a check digit, or a structure that decodes
    HIGH = 2  # that, and a word beside it


@dataclass(frozen=True, slots=True)
class Hit:
    """One find: its segment, its place in the segment's bytes, what it is, and how sure."""

    segment: int
    start: int
    stop: int
    kind: int
    tier: Tier
    context: bool
    value: str  # normalised; never leaves the state but through a keyed hash


def anchors() -> Any:
    """Return the compiled anchors, one for each process."""
    return compiled(_ANCHORS)


# Lengths at which a bare row of digits counts only beside a word, whatever it is.
_DULL = (7, 9, 12)


def scan(view: View) -> Iterator[Hit]:
    """Yield what is found in the segments of a view, in their order."""
    if not view.long:
        yield from _scan(view)
        return
    for first, some in blocks(view.texts):
        stretch = np.zeros(len(view.texts), bool)
        stretch[first : first + len(some)] = True
        for hit in _scan(view.only(stretch)):
            yield replace(hit, segment=hit.segment + first)


def _scan(view: View) -> Iterator[Hit]:
    data, offsets = joined_bytes(view.texts)  # no anchor holds the line feed between two
    last, last_stop = -1, 0
    for segment, start, stop in _spans(view, data, offsets):
        if segment != last:
            last, last_stop = segment, 0
        low, high = int(offsets[segment]), int(offsets[segment + 1]) - 1
        begin = _whole_characters(data, max(low, start - BEFORE), low, -1)
        reach = _LONG if data[start] in b"e-" else AFTER  # a token, a key
        end = _whole_characters(data, min(high, stop + reach), high, 1)
        window = bytes(data[begin:end]).decode("utf-8", "replace")
        field = view.names[view.fields[segment]]
        cell = view.roles[segment] == Role.CELL
        bare = cell and start == low and stop == high
        anchor = bytes(data[start:stop])
        for found, from_byte, to_byte, context in _look(window, start - begin, anchor, field, bare):
            at = begin - low + from_byte
            if at >= last_stop:
                last_stop = begin - low + to_byte
                tier = Tier.LOW if not found.sure else Tier.HIGH if context else Tier.MEDIUM
                yield Hit(segment, at, last_stop, found.kind, tier, context, found.value)


def _spans(view: View, data: memoryview, offsets: Ints) -> Iterator[tuple[int, int, int]]:
    """Yield segment, start and stop (bytes) of each anchor."""
    spans = [m.span() for m in anchors().finditer(data)]
    if spans:
        where = np.array(spans, np.int64)
        owners = np.searchsorted(offsets, where[:, 0], "right") - 1
        keep = _promising(view, data, where, owners, offsets)
        yield from zip(
            owners[keep].tolist(), where[keep, 0].tolist(), where[keep, 1].tolist(), strict=True
        )


def _promising(view: View, raw: memoryview, where: Ints, owners: Ints, offsets: Ints) -> Any:
    """Return which anchors are worth a look: bool, one for each.

    UUIDs and days are not. A cell that is nothing but digits, fewer than an identity number has,
    counts only where its field is named after something personal.
    """
    data = np.frombuffer(raw, np.uint8)
    starts, length = where[:, 0], where[:, 1] - where[:, 0]

    def at(place: int, c: str) -> Any:
        return data[np.minimum(starts + place, len(data) - 1)] == ord(c)

    century = (at(0, "1") & at(1, "9")) | (at(0, "2") & at(1, "0"))
    day = century & (length == 10) & at(4, "-") & at(7, "-")
    uuid = (length == 36) & at(8, "-") & at(13, "-") & at(18, "-") & at(23, "-")
    keep = ~(day | uuid)
    whole = (offsets[owners] == starts) & (offsets[owners + 1] - 1 == where[:, 1])
    cells = np.flatnonzero(whole & keep & (view.roles[owners] == Role.CELL) & (length < 14))
    if len(cells):
        named = np.array([bool(kinds_of(name)) for name in view.names], bool)
        cells = cells[~named[view.fields[owners[cells]]]]
        for i in cells.tolist():
            keep[i] = not bytes(raw[where[i, 0] : where[i, 1]]).isdigit()
    return keep


def _whole_characters(data: memoryview, at: int, limit: int, step: int) -> int:
    while at != limit and data[at] & 0xC0 == 0x80:
        at += step
    return at


def _look(
    window: str, anchor: int, matched: bytes, field: str, bare: bool
) -> Iterator[tuple[Found, int, int, bool]]:
    """Yield the finds of one window with their bytes in it, and whether a word stands beside."""
    text, back = _plain(window)
    lower = text.lower() if len(text.lower()) == len(text) else text
    if matched.isdigit() and len(matched) in _DULL and not bare:
        before = window.encode()[anchor - 1 : anchor] if anchor else b""
        if not before.isalpha() and before not in (b"+", b"(") and not any_word()(lower.encode()):
            return
    at = _character(window, anchor, back)
    core = len(matched.decode("utf-8", "replace"))
    taken: list[tuple[int, int]] = []
    kept: list[tuple[Found, int, int, bool]] = []
    for found in candidates(text, at, at + core, matched, AT["phone"] in kinds_of(field)):
        if any(found.start < e and s < found.stop for s, e in taken):
            continue
        near = lower[max(0, found.start - CONTEXT_BEFORE) : found.start]
        near += " \n " + lower[found.stop : found.stop + CONTEXT_AFTER]
        named = found.kind in kinds_of(field)
        context = named or bool(words_of()[found.kind](near.encode()))
        if not context and (found.needy or (bare and found.kind != AT["resident_id"])):
            continue
        taken.append((found.start, found.stop))
        start, stop = _bytes(window, back, found.start), _bytes(window, back, found.stop)
        kept.append((found, start, stop, context))
    yield from sorted(kept, key=lambda k: k[1])


_COMPATIBLE = re.compile("[\uff01-\uff5e\u3000]")


def _plain(window: str) -> tuple[str, list[int] | None]:
    """Return the window in NFKC, and the character of the window that each of it came from."""
    if window.isascii() or not _COMPATIBLE.search(window):
        return window, None
    chars: list[str] = []
    back: list[int] = []
    for i, c in enumerate(window):
        plain = unicodedata.normalize("NFKC", c) if _COMPATIBLE.match(c) else c
        chars.append(plain)
        back += [i] * len(plain)
    return "".join(chars), [*back, len(window)]


def _character(window: str, byte: int, back: list[int] | None) -> int:
    """Return the place in the plain text of a byte of the window (one to one: U+FF01…5E is)."""
    return byte if window.isascii() else len(window.encode()[:byte].decode("utf-8", "replace"))


def _bytes(window: str, back: list[int] | None, at: int) -> int:
    at = at if back is None else back[at]
    return at if window.isascii() else len(window[:at].encode())
