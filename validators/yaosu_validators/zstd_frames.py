"""Whether a zstd stream is whole: its reader takes a stream that breaks off for one that ends.

Only headers are read (RFC 8878 §3.1.1): of each frame, and of each of its blocks.
"""

from __future__ import annotations

import io
import struct

_FRAME = 0xFD2FB528
_SKIPPABLE = 0x184D2A50
_HEAD = 18
_RLE = 1


def must_be_whole(raw: io.RawIOBase) -> None:
    """Raise EOFError if a frame goes on behind the end; the position is kept."""
    start = raw.tell()
    end = raw.seek(0, io.SEEK_END)
    at = start
    while at < end:
        behind = _behind_frame(raw, at, end)
        if behind is None:
            break  # no frame: for the reader to tell
        if behind > end:
            raise EOFError
        at = behind
    raw.seek(start)


def _behind_frame(raw: io.RawIOBase, at: int, end: int) -> int | None:
    """Return where the frame at a position ends, beyond `end` if it breaks off; None if none."""
    import zstandard

    head = _read(raw, at, _HEAD)
    if len(head) < 8:
        return end + 1
    (magic,) = struct.unpack_from("<I", head)
    if magic & 0xFFFFFFF0 == _SKIPPABLE:
        return at + 8 + int(struct.unpack_from("<I", head, 4)[0])
    if magic != _FRAME:
        return None
    try:
        facts = zstandard.get_frame_parameters(head)
        at += zstandard.frame_header_size(head)
    except zstandard.ZstdError:
        return end + 1 if len(head) < _HEAD else None
    last = False
    while not last:
        block = _read(raw, at, 3)
        if len(block) < 3:
            return end + 1
        facts_of_block = int.from_bytes(block, "little")
        last = bool(facts_of_block & 1)
        at += 3 + (1 if facts_of_block >> 1 & 3 == _RLE else facts_of_block >> 3)
    return at + (4 if facts.has_checksum else 0)


def _read(raw: io.RawIOBase, at: int, size: int) -> bytes:
    raw.seek(at)
    return raw.read(size) or b""
