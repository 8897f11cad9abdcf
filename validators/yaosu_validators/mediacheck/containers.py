"""What a video says of itself, read from the boxes of its container: no frame is decoded.

MP4 and MOV (ISO/IEC 14496-12), Matroska and WebM (RFC 8794, RFC 9559), AVI (RIFF).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from yaosu_validators.media import Box, boxes

_MAX_BOXES = 100_000
_MAX_TABLE = 16 << 20  # bytes of one table that are read
_MAX_BLOCKS = 2_000_000


@dataclass(slots=True, kw_only=True)
class Video:
    """The first video track; None where the container does not say."""

    width: int | None = None
    height: int | None = None
    frames: int | None = None
    duration_s: float | None = None
    fps: float | None = None
    codec: str | None = None
    variable_rate: bool = False
    faststart: bool | None = None  # the index lies before the frames (MP4 only)
    truncated: bool = False
    audio: bool = False

    def settle(self) -> Video:
        """Fill in what follows from the rest."""
        if self.fps is None and self.frames and self.duration_s:
            self.fps = self.frames / self.duration_s
        if self.duration_s is not None:
            self.duration_s = round(self.duration_s, 3)
        if self.fps is not None:
            self.fps = round(self.fps, 3)
        return self


def video_of(file: BinaryIO, format_: str) -> Video | None:
    """Return what the container says; None if it holds no video track or cannot be read."""
    readers = {"mp4": _mp4, "mov": _mp4, "mkv": _matroska, "webm": _matroska, "avi": _avi}
    reader = readers.get(format_)
    if reader is None:
        return None
    try:
        found = reader(file)
    except (struct.error, IndexError, OverflowError, ValueError, OSError):
        return None
    return None if found is None else found.settle()


# --- MP4 ---------------------------------------------------------------------------------------


def _mp4(file: BinaryIO) -> Video | None:
    end = file.seek(0, 2)
    video = Video()
    moov: Box | None = None
    fragments = 0
    data_seen = False
    for box in boxes(file, 0, end):
        video.truncated |= not box.whole
        if box.kind == b"moov":
            moov = box
            video.faststart = not data_seen
        elif box.kind == b"mdat":
            data_seen = True
        elif box.kind == b"moof":
            fragments += _samples_of_fragment(file, box)
    if moov is None:
        if not data_seen:
            return None
        video.truncated = True  # the index, written last, is missing
        return video
    tracks = [b for b in boxes(file, moov.start, moov.end) if b.kind == b"trak"]
    found = False
    for track in tracks[:64]:
        handler = _handler(file, track)
        video.audio |= handler == b"soun"
        if handler == b"vide" and not found:
            found = True
            _read_track(file, track, video, end)
    if not found:
        return None
    if fragments and not video.frames:
        video.frames = fragments
    return video


def _child(file: BinaryIO, box: Box, *path: bytes) -> Box | None:
    for kind in path:
        inner = next((b for b in boxes(file, box.start, box.end) if b.kind == kind), None)
        if inner is None:
            return None
        box = inner
    return box


def _body(file: BinaryIO, box: Box | None) -> bytes:
    if box is None:
        return b""
    file.seek(box.start)
    return file.read(min(box.end - box.start, _MAX_TABLE))


def _handler(file: BinaryIO, track: Box) -> bytes:
    return _body(file, _child(file, track, b"mdia", b"hdlr"))[8:12]


def _read_track(file: BinaryIO, track: Box, video: Video, end: int) -> None:
    media = _body(file, _child(file, track, b"mdia", b"mdhd"))
    if len(media) >= 24:
        long = media[0] == 1
        scale, length = struct.unpack_from(">IQ" if long else ">II", media, 20 if long else 12)
    else:
        scale = length = 0
    table = _child(file, track, b"mdia", b"minf", b"stbl")
    if table is None:
        return
    described = _body(file, _child(file, table, b"stsd"))
    if len(described) >= 44:
        video.codec = described[12:16].decode("latin-1").strip()
        video.width, video.height = struct.unpack_from(">HH", described, 40)
    times = _body(file, _child(file, table, b"stts"))
    steps = _pairs(times)
    video.frames = sum(count for count, _ in steps)
    total = sum(count * delta for count, delta in steps) or length
    lengths = {delta for count, delta in steps[:-1] if count} | {
        delta for count, delta in steps[-1:] if count > 1
    }  # the last frame alone may be of any length
    video.variable_rate = len(lengths) > 1
    if scale:
        video.duration_s = total / scale if total else None
        if len(lengths) == 1:
            video.fps = scale / next(iter(lengths)) if next(iter(lengths)) else None
    for kind, form, width in ((b"stco", ">I", 4), (b"co64", ">Q", 8)):
        offsets = _body(file, _child(file, table, kind))
        if len(offsets) >= 8 + width:
            last = struct.unpack_from(form, offsets, len(offsets) - len(offsets) % width - width)[0]
            video.truncated |= last >= end


def _pairs(table: bytes) -> list[tuple[int, int]]:
    count = min(struct.unpack_from(">I", table, 4)[0], (len(table) - 8) // 8) if table else 0
    return list(struct.iter_unpack(">II", table[8 : 8 + 8 * count]))


def _samples_of_fragment(file: BinaryIO, fragment: Box) -> int:
    """Count samples of the first track in a movie fragment (§8.8.8)."""
    part = _child(file, fragment, b"traf")
    if part is None:
        return 0
    runs = [b for b in boxes(file, part.start, part.end) if b.kind == b"trun"]
    return sum(struct.unpack_from(">I", _body(file, run), 4)[0] for run in runs)


# --- Matroska ----------------------------------------------------------------------------------

_SEGMENT, _INFO, _TRACKS, _CLUSTER = 0x18538067, 0x1549A966, 0x1654AE6B, 0x1F43B675
_TRACK, _VIDEO, _GROUP = 0xAE, 0xE0, 0xA0
_LEVEL_1 = (_INFO, _TRACKS, _CLUSTER, 0x114D9B74, 0x1C53BB6B, 0x1254C367, 0x1941A469, 0x1043A770)


@dataclass(frozen=True, slots=True)
class _Element:
    id: int
    start: int
    end: int
    whole: bool
    open_end: bool = False  # its size is not said: it goes on to the next of its level


def _vint(file: BinaryIO, keep_mark: bool) -> tuple[int, int] | None:
    first = file.read(1)
    if not first or not first[0]:
        return None
    width = 9 - first[0].bit_length()
    rest = file.read(width - 1)
    if len(rest) < width - 1:
        return None
    value = int.from_bytes(first + rest, "big")
    mask = (1 << 7 * width) - 1
    if not keep_mark and value & mask == mask:
        return -1, width  # unknown size
    return (value if keep_mark else value & mask), width


def _elements(file: BinaryIO, start: int, end: int, level_1: bool = False) -> Iterator[_Element]:
    at = start
    for _ in range(_MAX_BLOCKS):
        if at >= end:
            return
        file.seek(at)
        name = _vint(file, keep_mark=True)
        size = _vint(file, keep_mark=False) if name is not None else None
        if name is None or size is None:
            return
        body = at + name[1] + size[1]
        if size[0] < 0:
            yield _Element(name[0], body, end, True, open_end=True)
            if not level_1:
                return
            at = _next_level_1(file, body, end)
            continue
        yield _Element(name[0], body, min(body + size[0], end), body + size[0] <= end)
        at = body + size[0]


def _next_level_1(file: BinaryIO, start: int, end: int) -> int:
    """Return where the next element of level 1 begins, after one of unknown size."""
    return next((at for at, id_ in _ids(file, start, end) if id_ in _LEVEL_1), end)


def _ids(file: BinaryIO, start: int, end: int) -> Iterator[tuple[int, int]]:
    at = start
    for _ in range(_MAX_BLOCKS):
        if at >= end:
            return
        file.seek(at)
        name = _vint(file, keep_mark=True)
        size = _vint(file, keep_mark=False) if name is not None else None
        if name is None or size is None:
            return
        yield at, name[0]
        at += name[1] + size[1] + max(size[0], 0)


def _uint(file: BinaryIO, element: _Element) -> int:
    file.seek(element.start)
    return int.from_bytes(file.read(min(element.end - element.start, 8)), "big")


def _float(file: BinaryIO, element: _Element) -> float | None:
    size = element.end - element.start
    file.seek(element.start)
    return (
        struct.unpack(">d" if size == 8 else ">f", file.read(size))[0] if size in (4, 8) else None
    )


def _matroska(file: BinaryIO) -> Video | None:
    end = file.seek(0, 2)
    segment = next((e for e in _elements(file, 0, end, True) if e.id == _SEGMENT), None)
    if segment is None:
        return None
    video = Video(truncated=not segment.whole)
    number, scale, length = -1, 1_000_000, None
    frames = 0
    for element in _elements(file, segment.start, segment.end, True):
        video.truncated |= not element.whole
        if element.id == _INFO:
            for e in _elements(file, element.start, element.end):
                if e.id == 0x2AD7B1:
                    scale = _uint(file, e) or scale
                elif e.id == 0x4489:
                    length = _float(file, e)
        elif element.id == _TRACKS:
            number = _read_tracks(file, element, video)
        elif element.id == _CLUSTER and number >= 0:
            frames += _blocks(file, element, number)
    if number < 0:
        return None
    video.frames = frames or None
    video.duration_s = length * scale / 1e9 if length else None
    return video


def _read_tracks(file: BinaryIO, tracks: _Element, video: Video) -> int:
    found = -1
    for track in _elements(file, tracks.start, tracks.end):
        if track.id != _TRACK:
            continue
        parts = {e.id: e for e in _elements(file, track.start, track.end)}
        kind = _uint(file, parts[0x83]) if 0x83 in parts else 0
        video.audio |= kind == 2
        if kind != 1 or found >= 0:
            continue
        found = _uint(file, parts[0xD7]) if 0xD7 in parts else 0
        if 0x86 in parts:
            file.seek(parts[0x86].start)
            video.codec = file.read(min(parts[0x86].end - parts[0x86].start, 64)).decode("latin-1")
        if 0x23E383 in parts and (step := _uint(file, parts[0x23E383])):
            video.fps = 1e9 / step
        if _VIDEO in parts:
            size = {e.id: e for e in _elements(file, parts[_VIDEO].start, parts[_VIDEO].end)}
            video.width = _uint(file, size[0xB0]) if 0xB0 in size else None
            video.height = _uint(file, size[0xBA]) if 0xBA in size else None
    return found


def _blocks(file: BinaryIO, cluster: _Element, number: int) -> int:
    """Count the blocks of one track in a cluster."""
    count = 0
    for element in _elements(file, cluster.start, cluster.end):
        if cluster.open_end and element.id in _LEVEL_1:
            break
        if element.id == _GROUP:
            inner = _elements(file, element.start, element.end)
            block = next((e for e in inner if e.id == 0xA1), None)
        else:
            block = element if element.id == 0xA3 else None
        if block is not None:
            file.seek(block.start)
            track = _vint(file, keep_mark=False)
            count += track is not None and track[0] == number
    return count


# --- AVI ---------------------------------------------------------------------------------------


def _avi(file: BinaryIO) -> Video | None:
    end = file.seek(0, 2)
    file.seek(0)
    head = file.read(1 << 16)
    at = head.find(b"avih")
    if at < 0:
        return None
    body = struct.unpack_from("<10I", head, at + 8)
    video = Video(width=body[8] or None, height=body[9] or None, frames=body[4] or None)
    video.truncated = struct.unpack_from("<I", head, 4)[0] + 8 > end
    video.fps = 1e6 / body[0] if body[0] else None
    if video.frames and video.fps:
        video.duration_s = video.frames / video.fps
    stream = head.find(b"vids")
    if stream >= 0 and head[stream - 8 : stream - 4] == b"strh":
        video.codec = head[stream + 4 : stream + 8].decode("latin-1").strip("\0 ")
        scale, rate = struct.unpack_from("<II", head, stream + 20)
        length = struct.unpack_from("<I", head, stream + 32)[0]
        if scale and rate:
            video.fps = rate / scale
            video.frames = length or video.frames
            video.duration_s = video.frames * scale / rate if video.frames else None
    video.audio = b"auds" in head
    return video
