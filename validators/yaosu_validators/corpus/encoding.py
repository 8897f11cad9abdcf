"""Text that was damaged on its way: read in the wrong encoding, cut, or mixed with binary data.

Counts of kinds of characters say which records may be damaged at all; only these are looked at
closer, so that sound text costs nothing.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from yaosu_schemas.errors import Text

from .script import HAN, Bools, Kind
from .view import Ints

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
