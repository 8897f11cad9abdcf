"""A second verifier of the log, written from the specifications alone: it reads nothing but tiles.

Shares no line with the product: its own paths (C2SP tlog-tiles), its own notes (signed-note), its
own tree by the recursive definitions of RFC 6962 §2.1, its own keys from `cryptography`.
"""

from __future__ import annotations

import base64
import hashlib
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

WIDTH = 256


class Caught(Exception):
    """What was read is not the log that was signed."""


def sha(*parts: bytes) -> bytes:
    return hashlib.sha256(b"".join(parts)).digest()


def tree_head(leaves: list[bytes]) -> bytes:
    """MTH over leaf hashes, as RFC 6962 §2.1 defines it."""
    if not leaves:
        return sha(b"")
    if len(leaves) == 1:
        return leaves[0]
    k = 1
    while k * 2 < len(leaves):
        k *= 2
    return sha(b"\x01", tree_head(leaves[:k]), tree_head(leaves[k:]))


def path_of(index: int, size: int) -> list[bool]:
    """The sides of an audit path from the leaf up: True where the sibling is on the left."""
    if size == 1:
        return []
    k = 1
    while k * 2 < size:
        k *= 2
    if index < k:
        return [*path_of(index, k), False]
    return [*path_of(index - k, size - k), True]


def head_from_path(leaf: bytes, index: int, size: int, proof: list[bytes]) -> bytes:
    sides = path_of(index, size)
    if len(sides) != len(proof):
        raise Caught("the proof has another length")
    head = leaf
    for left, sibling in zip(sides, proof, strict=True):
        head = sha(b"\x01", sibling, head) if left else sha(b"\x01", head, sibling)
    return head


class Reader:
    """A log in a folder, under the key that this reader knows."""

    def __init__(self, folder: Path, origin: str, key: bytes) -> None:
        self.folder, self.origin = folder, origin
        self._key = Ed25519PublicKey.from_public_bytes(key)
        self._hint = sha(origin.encode(), b"\n\x01", key)[:4]

    # --- what is signed ---------------------------------------------------------------------------

    def checkpoint(self, note: bytes | None = None) -> tuple[int, bytes]:
        """Size and root, if the log's own signature is under them."""
        note = (self.folder / "checkpoint").read_bytes() if note is None else note
        text, blank, signatures = note.partition(b"\n\n")
        text += b"\n"
        try:
            lines = signatures.decode().splitlines()
            given = [base64.b64decode(x.split(" ")[2]) for x in lines if x[:2] == "— "]
            origin, size, root = text.decode().splitlines()[:3]
            mine = next(g for g in given if g[:4] == self._hint)
            self._key.verify(mine[4:], text)
        except (ValueError, IndexError, StopIteration, InvalidSignature):
            raise Caught("the checkpoint is not signed by this log") from None
        if origin != self.origin or not blank:
            raise Caught("another log")
        return int(size), base64.b64decode(root)

    # --- files ------------------------------------------------------------------------------------

    def _file(self, kind: str, index: int, width: int) -> bytes:
        digits = f"{index:03d}" if index < 1000 else ""
        if not digits:
            text = f"{index:0{-(-len(str(index)) // 3) * 3}d}"
            groups = [text[i : i + 3] for i in range(0, len(text), 3)]
            digits = "/".join([f"x{g}" for g in groups[:-1]] + groups[-1:])
        place = self.folder / "tile" / kind / digits
        if place.is_file():
            return place.read_bytes()
        partials = sorted(Path(f"{place}.p").glob("*"), key=lambda p: int(p.name))
        if not partials or int(partials[-1].name) < width:
            raise Caught(f"tile {kind}/{index} is missing")
        return partials[-1].read_bytes()

    def leaves(self, index: int, width: int) -> list[bytes]:
        """Leaf hashes of the entries of a bundle."""
        body, at, found = self._file("entries", index, width), 0, []
        while at < len(body) and len(found) < width:
            length = int.from_bytes(body[at : at + 2], "big")
            entry = body[at + 2 : at + 2 + length]
            if len(entry) != length or at + 2 > len(body):
                raise Caught("a bundle is cut")
            found.append(sha(b"\x00", entry))
            at += 2 + length
        if len(found) < width or (width == WIDTH and at != len(body)):
            raise Caught("a bundle has another number of entries")
        return found

    def hashes(self, level: int, index: int, width: int) -> list[bytes]:
        body = self._file(str(level), index, width)
        if len(body) < 32 * width or (width == WIDTH and len(body) != 32 * width):
            raise Caught("a tile has another length")
        return [body[32 * i : 32 * i + 32] for i in range(width)]

    # --- audits -----------------------------------------------------------------------------------

    def audit(self, size: int, root: bytes, only: int | None = None) -> None:
        """Every tile follows from the one below, and the tree has the root.

        `only` names one leaf: then of the tiles on its way to the root alone.
        """
        count, level = size, 0
        while count:
            tiles = range(-(-count // WIDTH)) if only is None else [only >> 8 * (level + 1)]
            for index in tiles:
                width = min(WIDTH, count - index * WIDTH)
                here = self.hashes(level, index, width)
                if level == 0:
                    below = self.leaves(index, width)
                    if below != here:
                        raise Caught(f"tile 0/{index} is not what the entries make")
                    continue
                # Of one path only the child on it is read; of all, all.
                wanted = range(width) if only is None else [(only >> 8 * level) % WIDTH]
                for child in wanted:
                    if child >= width:
                        continue  # the child is not full yet: it has no hash here
                    content = self.hashes(level - 1, index * WIDTH + child, WIDTH)
                    if tree_head(content) != here[child]:
                        raise Caught(f"tile {level}/{index} is not what the one below makes")
            count, level = count // WIDTH, level + 1
        if self.head(size) != root:
            raise Caught("the tiles do not make the signed root")

    def head(self, size: int) -> bytes:
        """The root of `size` leaves, from the highest tiles and the right edge of each level."""
        if size == 0:
            return sha(b"")
        parts: list[tuple[int, bytes]] = []  # complete subtrees from left to right
        level = 0
        while size >> 8 * (level + 1):
            level += 1
        done = 0
        while level >= 0:
            have = (size - done) >> 8 * level
            if have:
                first = done >> 8 * level
                index, start = divmod(first, WIDTH)
                row = self.hashes(level, index, start + have)[start:]
                while row:
                    power = 1 << (len(row).bit_length() - 1)
                    parts.append((power << 8 * level, tree_head(row[:power])))
                    row = row[power:]
                done += have << 8 * level
            level -= 1
        head = parts.pop()[1]
        while parts:
            head = sha(b"\x01", parts.pop()[1], head)
        return head
