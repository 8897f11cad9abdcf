"""Text that was damaged on its way: read in the wrong encoding, cut, or mixed with binary data.

Counts of kinds of characters say which records may be damaged at all; only these are looked at
closer, so that sound text costs nothing.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Collection, Iterable
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from yaosu_schemas.errors import Text

from .script import HAN, Bools, Flat, Kind, parted
from .shingles import utf8_of
from .view import Ints, View

MAX_MEMORY = 64 << 20  # of RE2: below, its states do not fit and it is four times slower
DAMAGE = {
    "replacement": Text(
        "holds U+FFFD: bytes that could not be decoded", "含 U+FFFD：无法解码的字节"
    ),
    "utf8_as_cp1252": Text("UTF-8 was read as Windows-1252", "UTF-8 被当作 Windows-1252 读取"),
    "utf8_as_gbk": Text("UTF-8 was read as GBK", "UTF-8 被当作 GBK 读取"),
    "gbk_as_latin1": Text("GBK was read as Latin-1", "GBK 被当作 Latin-1 读取"),
    "twice_broken": Text(
        "U+FFFD read as GBK, or unused memory", "U+FFFD 被当作 GBK 读取，或未初始化内存"
    ),
}
CONTROLS = Text("holds control characters, which text has no use for", "含文本中无用的控制字符")
_ODD_HAN = 4  # characters that common Chinese becomes: at least so many, and a fifth of all

_TAIL = "[\u0080-\u00bf‚ƒ„…†‡ˆ‰Š‹ŒŽ‘’“”•–—˜™š›œžŸ€]"
_CP1252 = (
    f"Ã{_TAIL}|Â[\u0080-\u00bf]|â(?:€|„|†|‚|ˆ|–|—|˜|œ|ž){_TAIL}|ï»¿|ï¿½|ðŸ{_TAIL}"
    f"|(?:[ÐÑÎÏÄÅ]{_TAIL}){{3}}|(?:[ãäåæçèé]{_TAIL}{{1,2}}){{3}}"
)
_FILL = "锟斤|烫烫烫"
_LATIN1 = "[¡-þ]{6}"


def damaged(texts: pa.LargeStringArray, counts: Ints) -> dict[str, Bools]:
    """Return of each kind of damage which texts have it; counts: (n, KINDS) of `script`."""
    han = counts[:, list(HAN)].sum(axis=1)
    odd = counts[:, Kind.HAN_ODD]
    strange = counts[:, Kind.LATIN_ODD] > 0
    return {
        "replacement": counts[:, Kind.REPLACEMENT] > 0,
        "utf8_as_cp1252": matching(texts, _CP1252, lambda: strange),
        "utf8_as_gbk": (odd >= _ODD_HAN) & (odd * 5 >= han),
        "gbk_as_latin1": matching(texts, _LATIN1, lambda: counts[:, Kind.LATIN_ODD] > 1),
        "twice_broken": matching(texts, _FILL, lambda: odd > 0),
    }


def with_damage(
    view: View, roles: Collection[int]
) -> tuple[pa.LargeStringArray, Iterable[tuple[Flat, Ints, dict[str, Bools]]]]:
    """Return the text of each record in these roles, and its slices with counts and damage.

    Where the slices are kept they come as a list, looked at in one go.
    """
    texts, slices = parted(view, roles)
    if not isinstance(slices, list) or not slices:
        return texts, (
            (flat, counts, damaged(texts.slice(flat.first, len(flat)), counts))
            for flat, counts in slices
        )
    every = [counts for _, counts in slices]  # one look: a pattern is compiled anew at each
    name = ("damage", view.of(roles).tobytes())
    whole = view.once(name, lambda: damaged(texts, np.concatenate(every)))
    return texts, [
        (flat, counts, {k: m[flat.first : flat.first + len(flat)] for k, m in whole.items()})
        for flat, counts in slices
    ]


def controls(counts: Ints) -> Bools:
    """Return which texts hold control characters (tab and line breaks are none) or NUL."""
    found: Bools = (counts[:, Kind.CONTROL] + counts[:, Kind.NUL]) > 0
    return found


def matching(texts: pa.LargeStringArray, pattern: str, some: Callable[[], Bools]) -> Bools:
    """Return which texts hold a match of the pattern; only where `some` allows is looked."""
    where = np.flatnonzero(some())
    found = np.zeros(len(texts), bool)
    if len(where):
        chosen = texts if len(where) == len(texts) else texts.take(pa.array(where))
        hit = pc.match_substring_regex(chosen, pattern)
        found[where] = hit.to_numpy(zero_copy_only=False)
    return found


def holding(texts: pa.LargeStringArray, pattern: str) -> Bools:
    """Return which texts hold a match of a pattern that most do not: one look over all of them.

    The pattern is compiled once in a process, and its states are kept from batch to batch. A match
    begins in the text that is told; that it also ends there a closer look has to say.
    """
    data, offsets = joined_bytes(texts)
    found = np.zeros(len(texts), bool)
    places = [match.start() for match in compiled(pattern).finditer(data)]
    found[np.searchsorted(offsets, np.array(places, np.int64), "right") - 1] = True
    return found


def joined_bytes(texts: pa.LargeStringArray) -> tuple[memoryview, Ints]:
    """Return all texts as bytes with a line feed between, and where each begins: (n + 1,)."""
    if len(texts) == 1:
        alone, _ = utf8_of(texts)  # which may be long: it is not copied
        return alone.cast("B"), np.array([0, len(alone) + 1], np.int64)
    row = pa.LargeListArray.from_arrays(pa.array([0, len(texts)], pa.int64()), texts)
    data = pc.binary_join(row, pa.scalar("\n", pa.large_string())).buffers()[2]
    ends = np.cumsum(np.asarray(pc.binary_length(texts), np.int64) + 1)
    return memoryview(data or b"").cast("B"), np.concatenate(([0], ends)).astype(np.int64)


@functools.cache
def compiled(pattern: str) -> Any:
    """Return a pattern over UTF-8, compiled once in a process."""
    import re2

    options = re2.Options()
    options.log_errors = False
    options.max_mem = MAX_MEMORY
    return re2.compile(pattern.encode(), options)
