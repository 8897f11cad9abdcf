"""Text as UTF-8 blocks that end with a line, whatever the encoding of the file."""

from __future__ import annotations

import codecs
import random
from collections.abc import Generator, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import IO, Any

import numpy as np
import pyarrow as pa

from . import simd, turns
from .streams import MAX_ROW_BYTES, SourceProblem, row_too_long, undecodable
from .utf8 import is_utf8

BLOCK = 8 << 20
ROOM = 1 << 16  # in front of what is read, for the beginning of its first line
CHUNK = 8192  # what Python's text layer decodes at a time: a bad byte voids its whole chunk


@dataclass(slots=True)
class Block:
    """Whole lines of UTF-8 text; `start` is where they lie in the stream, if it is UTF-8."""

    data: bytearray
    last: bool
    start: int
    failure: SourceProblem | None = None  # what follows could not be decoded


_STEP = 1 << 18  # what is worked on stays in the cache


def places(raw: Any, chars: bytes) -> tuple[Any, Any]:
    """Return where one of these characters stands, as 32-bit numbers, and which are the last."""
    found, last = [np.empty(0, np.int32)], [np.empty(0, np.int64)]
    room, other = np.empty(_STEP, bool), np.empty(_STEP, bool)
    count = 0
    for start in range(0, len(raw), _STEP):
        part = raw[start : start + _STEP]
        hit, more = room[: len(part)], other[: len(part)]
        np.equal(part, chars[0], out=hit)
        for char in chars[1:]:
            np.logical_or(hit, np.equal(part, char, out=more), out=hit)
        at = np.flatnonzero(hit)
        if len(chars) > 1:
            last.append(np.flatnonzero(more.take(at)) + count)
        count += len(at)
        found.append(at.astype(np.int32) + np.int32(start))
    return np.concatenate(found), np.concatenate(last)


def spoiled_lines(data: bytearray, char: bytes) -> Any:
    """Return a place in each line that holds a character, which is rare: the C library leaps."""
    found: list[int] = []
    at = data.find(char)
    while at >= 0:
        if len(found) * _STEP > len(data) * _LEAPS:
            return places(np.frombuffer(data, np.uint8), char)[0]
        found.append(at)
        end = data.find(b"\n", at)
        at = data.find(char, end) if end >= 0 else -1
    return np.array(found, np.int32)


_LEAPS = 128  # in one step of text as many leaps cost less than to look at each byte


class Lines:
    """The lines of a block, where they lie: line i is data[ends[i] : ends[i + 1]], break included.

    A last line without a line break is given one. Where a delimiter is named, `separators` are the
    offsets of all delimiters and line breaks, and `breaks` tells which of them are line breaks.
    `spoils` is a character that is asked for later.
    """

    def __init__(
        self, data: bytearray, last: bool, delimiter: bytes = b"", spoils: bytes = b""
    ) -> None:
        self.broken_off = last and bool(data) and not data.endswith(b"\n")
        if self.broken_off:
            data = data + b"\n"
        self.data = data
        self.raw = np.frombuffer(data, np.uint8)
        self.spoils = spoils
        self.cut = simd.cut(self.raw, delimiter, spoils, more=not last)
        if self.cut is not None:
            self.separators, self.breaks = self.cut.separators, self.cut.breaks
        else:
            self.separators, self.breaks = places(self.raw, delimiter + b"\n")
        breaks = self.separators.take(self.breaks) if delimiter else self.separators
        self.ends = np.zeros(len(breaks) + 1, np.int32)
        np.add(breaks, 1, out=self.ends[1:])

    def __len__(self) -> int:
        return len(self.ends) - 1

    def __getitem__(self, at: int) -> bytearray:
        return self.data[self.ends.item(at) : self.ends.item(at + 1) - 1]

    @cached_property
    def is_utf8(self) -> bool:
        """Whether all of it is well-formed."""
        return is_utf8(self.data) if self.cut is None else self.cut.is_utf8

    def must_be_utf8(self) -> None:
        """Raise the UnicodeDecodeError of what is not."""
        if not self.is_utf8:
            self.data.decode("utf-8")

    @cached_property
    def has_controls(self) -> bool:
        """Whether there is any character below the space but LF."""
        if self.cut is not None:
            return self.cut.has_controls
        if self.raw.min() < _LF:
            return True
        return bool((self.raw - np.uint8(_LF + 1)).min() < _SPACE - _LF - 1)

    @cached_property
    def has_returns(self) -> bool:
        """Whether there is any CR."""
        return (self.cut is None or self.cut.has_controls) and b"\r" in self.data

    def spoiled(self) -> Any:
        """Return a place or more in each line that holds the character that was asked for."""
        if self.cut is not None and self.cut.spoils is not None:
            return self.cut.spoils
        return spoiled_lines(self.data, self.spoils) if self.spoils else np.empty(0, np.int32)

    def column(self) -> Any:
        """Return the lines as an Arrow column over the block itself."""
        return self.texts(self.ends)

    def texts(self, ends: Any) -> Any:
        """Return what lies between offsets as an Arrow column; nothing is copied."""
        buffers = [None, pa.py_buffer(ends), pa.py_buffer(self.data)]
        return pa.Array.from_buffers(pa.utf8(), len(ends) - 1, buffers)

    def cells(self, starts: Any, stops: Any) -> Any:
        """Return one text for each pair of offsets, in order of where they lie."""
        if not len(starts):
            return pa.array([], pa.utf8())
        ends = np.empty(2 * len(starts), np.int32)
        ends[0::2], ends[1::2] = starts, stops
        return self.texts(ends).take(pa.arange(0, len(ends), 2))


_LF, _SPACE = 0x0A, 0x20


class Blocks:
    """A stream of text as blocks; `keep` gives back what a block did not use up."""

    def __init__(
        self,
        stream: IO[bytes],
        encoding: str,
        *,
        open_end: bool = False,
        offset: int = 0,
        instead: bytes | None = None,
    ) -> None:
        self.utf8 = encoding in ("utf-8", "utf-8-sig")
        self._source = _utf8(stream) if self.utf8 else _transcoded(stream, encoding)
        self._mark = encoding == "utf-8-sig"
        self._left = bytearray()
        self._open_end = open_end  # the text goes on behind the stream
        self._offset = offset
        self._instead = instead  # of a line that is too long; nothing: it is refused
        self.unused = 0  # bytes at the end that belong to a row that goes on

    def __iter__(self) -> Iterator[Block]:
        held, start, ahead = b"", self._offset, self._next()
        failure: SourceProblem | None = None
        dropping = False  # inside of a line that is too long
        while isinstance(ahead, bytearray):
            piece = ahead
            if self._mark and piece.startswith(codecs.BOM_UTF8, ROOM):
                del piece[ROOM : ROOM + 3]
                start += 3
            self._mark = False
            ahead = self._next()
            failure = ahead if isinstance(ahead, SourceProblem) else None
            last = ahead is None and not self._open_end
            if dropping:
                over = piece.find(b"\n", ROOM)
                dropping = over < 0
                del piece[ROOM : over if over >= 0 else None]
            cut = len(piece) if last else piece.rfind(b"\n", ROOM) + 1
            if cut <= ROOM and failure is None and not (last and held):
                held += piece[ROOM:]  # one line is longer than a piece
                if len(held) > turns.LONG:
                    turns.take("block")
                if len(held) > MAX_ROW_BYTES:
                    if self._instead is None:
                        raise row_too_long(start if self.utf8 else None)
                    held, dropping = self._instead, True
                continue
            rest = bytes(piece[cut or ROOM :])
            data = _joined(held, piece, cut) if cut else bytearray()
            held = rest if cut else held + rest
            block = Block(data, last, start, failure)
            if self.utf8 and self._instead is None and not last:
                following = ahead[ROOM : ROOM + CHUNK] if isinstance(ahead, bytearray) else b""
                _end_before_void(block, held[:CHUNK] + following)
            start = yield from self._given(block)
            if block.failure is not None:
                return
        if isinstance(ahead, SourceProblem) and failure is None:
            raise ahead  # nothing could be read before it
        self.unused = len(held)

    def _given(self, block: Block) -> Generator[Block, None, int]:
        """Yield a block, in pieces if its lines are many, then what was kept of it.

        Return where the next one starts. A piece may fail where the block does not.
        """
        data, start = block.data, block.start
        while True:
            self._left = bytearray()
            rest = data[_few_lines(data) :]
            if rest:
                del data[-len(rest) :]
            size, long = len(data), len(data) > BLOCK + ROOM
            given = Block(data, block.last and not rest, start, None if rest else block.failure)
            if rest and self.utf8 and self._instead is None:
                _end_before_void(given, rest[:CHUNK])
                block.failure = given.failure or block.failure
            block.data = data = bytearray()
            yield given
            if long:
                given.data = bytearray()  # no one needs it any more
                turns.leave("block")
            start += size - len(self._left)
            data = self._left + rest if rest else self._left
            if not data or (rest and given.failure is not None):
                return start

    def keep(self, rest: bytearray) -> None:
        """Let the end of the current block be the next one."""
        self._left = rest

    def _next(self) -> bytearray | SourceProblem | None:
        try:
            return next(self._source, None)
        except SourceProblem as why:
            return why


def _few_lines(data: bytearray) -> int:
    """Return where lines end that are few enough to be judged at once, by a sample of the text."""
    if len(data) < _SAMPLES * _SAMPLE:
        return len(data)
    step = len(data) // _SAMPLES
    first = random.randrange(step - _SAMPLE + 1)  # whoever writes a file cannot know it
    count = sum(data.count(b"\n", at, at + _SAMPLE) for at in range(first, len(data), step))
    most = _LINES * _SAMPLES * _SAMPLE // max(count, 1)  # bytes
    return len(data) if len(data) < 2 * most else data.rfind(b"\n", 0, most) + 1 or len(data)


_SAMPLES, _SAMPLE = 32, 512
_LINES = 1 << 17  # judged at once: each takes 75 bytes or more, besides its text


def _end_before_void(block: Block, following: bytes | bytearray) -> None:
    """Let a block end where the chunk begins that is void by a bad byte behind the block."""
    end = block.start + len(block.data)
    try:
        codecs.utf_8_decode(following[: CHUNK - end % CHUNK], "strict", False)
    except UnicodeDecodeError as why:
        sound = max(end - end % CHUNK - block.start, 0)
        del block.data[block.data.rfind(b"\n", 0, sound) + 1 :]
        block.failure = undecodable(why)


def sound_bytes(block: Block, why: UnicodeDecodeError) -> int:
    """Return where lines of a block end before the chunk that is void by its first bad byte."""
    sound = max((block.start + why.start) // CHUNK * CHUNK - block.start, 0)
    if block.last and why.reason == "unexpected end of data":
        sound = why.start  # which is known only when all else was read
    return block.data.rfind(b"\n", 0, sound) + 1


def _joined(held: bytes, piece: bytearray, cut: int) -> bytearray:
    """Return what was held and a piece up to a place; the piece is used up, and not copied."""
    del piece[cut:]
    first = max(ROOM - len(held), 0)
    piece[first:ROOM] = held
    del piece[:first]
    return piece


def _utf8(stream: IO[bytes]) -> Iterator[bytearray]:
    """Yield what is read, each piece with room in front of it."""
    while True:
        piece = bytearray(ROOM + BLOCK)
        with memoryview(piece)[ROOM:] as view:
            size = stream.readinto(view)  # type: ignore[attr-defined]
        if not size:
            return
        del piece[ROOM + size :]
        yield piece


def _transcoded(stream: IO[bytes], encoding: str) -> Iterator[bytearray]:
    decoder = codecs.getincrementaldecoder(encoding)("strict")
    parts: list[str] = []
    size = 0
    try:
        while chunk := stream.read(CHUNK):
            parts.append(decoder.decode(chunk))
            size += len(chunk)
            if size >= BLOCK:
                yield _encoded(parts)
                parts, size = [], 0
        parts.append(decoder.decode(b"", True))
    except UnicodeDecodeError as why:
        yield _encoded(parts)
        raise undecodable(why) from None
    if any(parts):  # nothing is no piece: the one before it is the last
        yield _encoded(parts)


def _encoded(parts: list[str]) -> bytearray:
    return bytearray(ROOM) + "".join(parts).encode("utf-8", "surrogatepass")
