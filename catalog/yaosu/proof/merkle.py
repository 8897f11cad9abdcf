"""The Merkle tree of RFC 6962 / RFC 9162 §2.1, and its tiles as C2SP tlog-tiles lays them out.

Pure arithmetic over a function that gives the hash of any complete subtree, so that the same
proofs come from memory, from tiles on disk, and from tiles fetched by a stranger.
"""

from __future__ import annotations

import functools
import hashlib
import re
from collections.abc import Callable, Iterable, Sequence

HASH_BYTES = 32
TILE_HEIGHT = 8
TILE_WIDTH = 1 << TILE_HEIGHT
MAX_ENTRY_BYTES = 65_535
"""An entry bundle gives each entry a length of 16 bits (tlog-tiles, log entries)."""

EMPTY_ROOT = hashlib.sha256(b"").digest()

Node = Callable[[int, int], bytes]
"""(level, index) → the hash of leaves [index << level, (index + 1) << level)."""


def leaf_hash(entry: bytes) -> bytes:
    """Return SHA-256(0x00 ‖ entry) (RFC 9162 §2.1.1)."""
    return hashlib.sha256(b"\0" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return SHA-256(0x01 ‖ left ‖ right) (RFC 9162 §2.1.1)."""
    return hashlib.sha256(b"\1" + left + right).digest()


def pair_up(hashes: Sequence[bytes]) -> list[bytes]:
    """Return the level above: one hash per complete pair."""
    return [node_hash(hashes[i], hashes[i + 1]) for i in range(0, len(hashes) - 1, 2)]


# --- roots and proofs -------------------------------------------------------------------------


def _split(n: int) -> int:
    """Return the largest power of two smaller than n, for n > 1."""
    return 1 << ((n - 1).bit_length() - 1)


def range_hash(node: Node, start: int, end: int) -> bytes:
    """Return MTH(D[start:end]) for a range that begins at a multiple of its split."""
    n = end - start
    if n & (n - 1) == 0:
        level = n.bit_length() - 1
        return node(level, start >> level)
    k = _split(n)
    return node_hash(range_hash(node, start, start + k), range_hash(node, start + k, end))


def root(node: Node, size: int) -> bytes:
    """Return the root of the first `size` leaves."""
    return range_hash(node, 0, size) if size else EMPTY_ROOT


def inclusion_proof(node: Node, index: int, size: int) -> list[bytes]:
    """Return the audit path of leaf `index` in a tree of `size` (RFC 9162 §2.1.3.1)."""
    if not 0 <= index < size:
        raise ValueError(f"leaf {index} is not in a tree of {size}")
    path: list[bytes] = []
    start, end = 0, size
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            path.append(range_hash(node, middle, end))
            end = middle
        else:
            path.append(range_hash(node, start, middle))
            start = middle
    return path[::-1]


def consistency_proof(node: Node, old: int, new: int) -> list[bytes]:
    """Return the proof that a tree of `new` begins with the tree of `old` (§2.1.4.1)."""
    if not 0 <= old <= new:
        raise ValueError(f"a tree of {new} does not begin with one of {old}")
    if old in (0, new):
        return []
    path: list[bytes] = []
    start, end, whole = 0, new, True
    while end != old:
        middle = start + _split(end - start)
        if old <= middle:
            path.append(range_hash(node, middle, end))
            end = middle
        else:
            path.append(range_hash(node, start, middle))
            start, whole = middle, False
    if not whole:
        path.append(range_hash(node, start, end))
    return path[::-1]


# --- verification -----------------------------------------------------------------------------


def verify_inclusion(
    leaf: bytes, index: int, size: int, proof: Sequence[bytes], expected: bytes
) -> bool:
    """Say whether the audit path leads from the leaf hash to the root (RFC 9162 §2.1.3.2)."""
    if not 0 <= index < size:
        return False
    fn, sn, r = index, size - 1, leaf
    for p in proof:
        if len(p) != HASH_BYTES or sn == 0:
            return False
        if fn & 1 or fn == sn:
            r = node_hash(p, r)
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            r = node_hash(r, p)
        fn, sn = fn >> 1, sn >> 1
    return sn == 0 and r == expected


def verify_consistency(
    old: int, new: int, old_root: bytes, new_root: bytes, proof: Sequence[bytes]
) -> bool:
    """Say whether the new tree begins with the old one (RFC 9162 §2.1.4.2)."""
    if not 0 <= old <= new or any(len(p) != HASH_BYTES for p in proof):
        return False
    if old == new:
        return not proof and old_root == new_root
    if old == 0:
        return not proof and old_root == EMPTY_ROOT
    path = list(proof)
    if old & (old - 1) == 0:
        path.insert(0, old_root)
    if not path:
        return False
    fn, sn = old - 1, new - 1
    while fn & 1:
        fn, sn = fn >> 1, sn >> 1
    fr = sr = path[0]
    for c in path[1:]:
        if sn == 0:
            return False
        if fn & 1 or fn == sn:
            fr, sr = node_hash(c, fr), node_hash(c, sr)
            while not fn & 1 and fn:
                fn, sn = fn >> 1, sn >> 1
        else:
            sr = node_hash(sr, c)
        fn, sn = fn >> 1, sn >> 1
    return sn == 0 and fr == old_root and sr == new_root


# --- tiles ------------------------------------------------------------------------------------


def _number(n: int) -> str:
    """Return a tile number in groups of three digits, all but the last behind an x."""
    groups = [f"{n % 1000:03d}"]
    while n := n // 1000:
        groups.insert(0, f"x{n % 1000:03d}")
    return "/".join(groups)


def tile_path(level: int, index: int, width: int = TILE_WIDTH) -> str:
    """Return the path of a tile of hashes; `width` < 256 names a partial one."""
    partial = "" if width == TILE_WIDTH else f".p/{width}"
    return f"tile/{level}/{_number(index)}{partial}"


def entries_path(index: int, width: int = TILE_WIDTH) -> str:
    """Return the path of an entry bundle, which goes with the tile of level 0."""
    partial = "" if width == TILE_WIDTH else f".p/{width}"
    return f"tile/entries/{_number(index)}{partial}"


_PATH = re.compile(
    r"tile/(?P<level>entries|0|[1-9]|[1-5][0-9]|6[0-3])"
    r"/(?P<number>(?:x[0-9]{3}/){0,6}[0-9]{3})(?:\.p/(?P<width>[1-9][0-9]{0,2}))?"
)


def read_path(path: str) -> tuple[int | None, int, int] | None:
    """Return (level, index, width) of a tile path, level None for entries; None if it is none."""
    found = _PATH.fullmatch(path)
    if found is None:
        return None
    index = int(re.sub(r"\D", "", found["number"]))
    width = int(found["width"] or TILE_WIDTH)
    partial = found["width"] is not None
    if _number(index) != found["number"] or width > TILE_WIDTH - partial:
        return None  # one tile has one path
    return (None if found["level"] == "entries" else int(found["level"])), index, width


def tiles_of(size: int) -> Iterable[tuple[int, int, int]]:
    """Return (level, index, width) of every tile of hashes of a tree of `size` leaves."""
    level, n = 0, size
    while n:
        for index in range(0, -(-n // TILE_WIDTH)):
            yield level, index, min(TILE_WIDTH, n - index * TILE_WIDTH)
        level, n = level + 1, n // TILE_WIDTH


Rows = list[bytes]
"""The hashes inside a tile, one row per level, each row concatenated: 256, 128, … 2 of them."""


def rows_of(tile: bytes) -> Rows:
    """Return the rows of a tile; of a partial one, what is complete."""
    sha256, pair = hashlib.sha256, 2 * HASH_BYTES
    rows = [tile]
    for _ in range(TILE_HEIGHT - 1):
        below = rows[-1]
        starts = range(0, len(below) - pair + 1, pair)
        rows.append(b"".join([sha256(b"\1" + below[i : i + pair]).digest() for i in starts]))
    return rows


def node_in_rows(rows: Callable[[int, int], Rows]) -> Node:
    """Return the subtree function over tiles; `rows(level, index)` gives the rows of one."""

    def node(level: int, index: int) -> bytes:
        tile_level, height = divmod(level, TILE_HEIGHT)
        tile, place = divmod(index, TILE_WIDTH >> height)
        found = rows(tile_level, tile)[height][place * HASH_BYTES : (place + 1) * HASH_BYTES]
        if len(found) != HASH_BYTES:
            raise ValueError(f"tile {tile_level}/{tile} is too short")
        return found

    return node


def node_in_tiles(tile: Callable[[int, int], bytes]) -> Node:
    """Return the subtree function over tiles; `tile(level, index)` gives the bytes of one."""
    return node_in_rows(functools.cache(lambda level, index: rows_of(tile(level, index))))


def node_in_memory(leaves: Sequence[bytes]) -> Node:
    """Return the subtree function over leaf hashes held in memory."""
    levels = [list(leaves)]
    while len(levels[-1]) > 1:
        levels.append(pair_up(levels[-1]))
    return lambda level, index: levels[level][index]


def pack(entries: Iterable[bytes]) -> bytes:
    """Return an entry bundle: each entry behind its length in 16 bits, big-endian."""
    out = bytearray()
    for entry in entries:
        if len(entry) > MAX_ENTRY_BYTES:
            raise ValueError(f"an entry has at most {MAX_ENTRY_BYTES} bytes, not {len(entry)}")
        out += len(entry).to_bytes(2, "big") + entry
    return bytes(out)


def unpack(bundle: bytes) -> list[bytes]:
    """Return the entries of a bundle; ValueError when it is cut."""
    out: list[bytes] = []
    at = 0
    while at < len(bundle):
        length = int.from_bytes(bundle[at : at + 2], "big")
        end = at + 2 + length
        if at + 2 > len(bundle) or end > len(bundle):
            raise ValueError("the entry bundle is cut")
        out.append(bundle[at + 2 : end])
        at = end
    return out
