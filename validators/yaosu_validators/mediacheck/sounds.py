"""What one sound is: its header against its bytes, and what its samples say.

WAV (PCM of 8 to 32 bits, float) is read in numpy; FLAC, MP3 and Vorbis by miniaudio. Every
number is counted on 20 ms frames and single samples.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt

Samples = npt.NDArray[np.float32]  # (n, channels), full scale is 1

FRAME_S = 0.02
CHUNK_FRAMES = 1 << 18
_UNKNOWN_SIZES = (0, 0xFFFFFFFF)  # what writers of streams leave where a size belongs
_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE
DECODED = ("wav", "flac", "mp3", "ogg")


@dataclass(slots=True)
class Sound:
    """One sound; what could not be measured is None or NaN."""

    rate: int = 0
    channels: int = 0
    bits: int = 0
    frames: int = 0
    bytes: int = 0
    declared_frames: int | None = None
    lies: list[str] = field(default_factory=list)  # keys of what the header has wrong
    silence: float = float("nan")  # share of frames
    clipping: float = float("nan")  # share of samples
    snr_db: float = float("nan")
    peak: float = float("nan")
    cut_short: bool = False  # longer than the limit: only its beginning was measured

    @property
    def seconds(self) -> float:
        return self.frames / self.rate if self.rate else 0.0


class NoSound(Exception):
    """The bytes do not decode; `reason` is one of ours."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


def sound_of(
    file: BinaryIO, format_: str, size: int, *, max_frames: int, max_bytes: int, silence_db: float
) -> Sound:
    """Decode one sound, at most `max_frames` of it; NoSound where it cannot be."""
    sound = Sound(bytes=size)
    if size == 0:
        raise NoSound("empty")
    pieces = _wav(file, sound, size) if format_ == "wav" else _coded(file, sound, size, max_bytes)
    meter = _Meter(silence_db)
    for piece in pieces:
        left = max_frames - sound.frames
        sound.frames += min(len(piece), left)
        meter.add(piece[:left], sound.rate)
        if len(piece) > left:
            sound.cut_short = True
            break
    if not sound.frames:
        raise NoSound("empty")
    meter.settle(sound)
    if sound.declared_frames is not None and not sound.cut_short:
        apart = abs(sound.declared_frames - sound.frames)
        slack = 0 if format_ in ("wav", "flac") else max(sound.rate // 2, sound.frames // 20)
        if apart > slack and "length" not in sound.lies:
            sound.lies.append("length")
    return sound


# --- WAV ---------------------------------------------------------------------------------------


def _wav(file: BinaryIO, sound: Sound, size: int) -> Iterator[Samples]:
    """Read RIFF chunks, hold them against the file, yield the samples."""
    file.seek(0)
    head = file.read(12)
    if head[:4] in (b"RF64", b"BW64"):  # beyond 4 GiB: EBU Tech 3306
        raise NoSound("coding")
    if len(head) < 12 or head[:4] != b"RIFF" or head[8:] != b"WAVE":
        raise NoSound("header")
    riff = struct.unpack_from("<I", head, 4)[0]
    if riff in _UNKNOWN_SIZES:
        sound.lies.append("stream")
    elif riff + 8 > size + 1:  # a pad byte that is counted and left out misleads nobody
        sound.lies.append("riff")
    tag = align = rate_bytes = 0
    at = 12
    for _ in range(1000):
        file.seek(at)
        chunk = file.read(8)
        if len(chunk) < 8:
            raise NoSound("no-data" if tag else "header")
        name, length = struct.unpack("<4sI", chunk)
        if name == b"fmt ":
            body = file.read(min(length, 64))
            if len(body) < 16:
                raise NoSound("header")
            tag, sound.channels, sound.rate, rate_bytes, align, sound.bits = struct.unpack_from(
                "<HHIIHH", body
            )
            if tag == _EXTENSIBLE and len(body) >= 26:
                tag = struct.unpack_from("<H", body, 24)[0]
        elif name == b"data":
            break
        at += 8 + length + length % 2
    else:
        raise NoSound("no-data")
    _check_format(sound, tag, align, rate_bytes)
    there = size - at - 8
    if length in _UNKNOWN_SIZES and length != there:
        length = there
        if "stream" not in sound.lies:
            sound.lies.append("stream")
    if length > there:
        sound.lies.append("data")
        sound.declared_frames = None
    used = min(length, there)
    if used % align:
        sound.lies.append("block")
    yield from _pcm(file, at + 8, used - used % align, sound, tag, align)


def _check_format(sound: Sound, tag: int, align: int, rate_bytes: int) -> None:
    known = {_PCM: (8, 16, 24, 32), _FLOAT: (32, 64)}
    if tag == 0:
        raise NoSound("header")
    if tag not in known:
        raise NoSound("coding")
    if sound.bits not in known[tag] or not 0 < sound.channels <= 64 or not 0 < sound.rate < 1 << 24:
        raise NoSound("header")
    if align != sound.channels * sound.bits // 8:
        raise NoSound("header")
    if rate_bytes != align * sound.rate:
        sound.lies.append("byte-rate")


def _pcm(
    file: BinaryIO, at: int, size: int, sound: Sound, tag: int, align: int
) -> Iterator[Samples]:
    file.seek(at)
    while size > 0:
        data = file.read(min(size, CHUNK_FRAMES * align))
        data = data[: len(data) - len(data) % align]
        if not data:
            return
        size -= len(data)
        yield _floats(data, sound.bits, tag).reshape(-1, sound.channels)


def _floats(data: bytes, bits: int, tag: int) -> Samples:
    if tag == _FLOAT:
        values: Samples = np.array(np.frombuffer(data, "<f4" if bits == 32 else "<f8"), np.float32)
        values[~np.isfinite(values)] = 0.0
        return values
    if bits == 8:
        samples: Samples = np.asarray(np.frombuffer(data, np.uint8), np.float32) / np.float32(128)
        return samples - np.float32(1)
    if bits == 24:
        three = np.frombuffer(data, np.uint8).reshape(-1, 3).astype(np.int32)
        whole = (three[:, 0] << 8) | (three[:, 1] << 16) | (three[:, 2] << 24)
        return np.asarray(whole / float(1 << 31), np.float32)
    return np.asarray(np.frombuffer(data, f"<i{bits // 8}") / float(1 << (bits - 1)), np.float32)


# --- coded sounds ------------------------------------------------------------------------------


def _coded(file: BinaryIO, sound: Sound, size: int, max_bytes: int) -> Iterator[Samples]:
    """Decode FLAC, MP3 or Vorbis piece by piece, at its own rate and channels."""
    import miniaudio

    if size > max_bytes:
        raise NoSound("too-large")
    file.seek(0)
    data = file.read(max_bytes + 1)
    try:
        info = _info(data)
        sound.rate, sound.channels = info.sample_rate, info.nchannels
        sound.bits = 0 if info.file_format.name in ("MP3", "VORBIS") else info.sample_width * 8
        if data[:4] == b"fLaC" and len(data) > 26:  # STREAMINFO: 5 bits of depth, 36 of samples
            packed = int.from_bytes(data[18:26], "big")
            sound.bits = ((packed >> 36) & 31) + 1
            sound.declared_frames = (packed & ((1 << 36) - 1)) or None
        elif data[:4] == b"OggS":
            sound.declared_frames = _last_granule(data)
        else:
            sound.declared_frames = _said_mp3(data)
        if not sound.rate or not 0 < sound.channels <= 64:
            raise NoSound("header")
        stream = miniaudio.stream_memory(
            data,
            output_format=miniaudio.SampleFormat.FLOAT32,
            nchannels=sound.channels,
            sample_rate=sound.rate,
            frames_to_read=CHUNK_FRAMES // 4,
        )
        for piece in stream:
            yield np.frombuffer(piece, np.float32).reshape(-1, sound.channels)
    except (miniaudio.DecodeError, miniaudio.MiniaudioError, ValueError):
        if not sound.frames:
            raise NoSound("undecodable") from None
        sound.lies.append("length")


def _info(data: bytes) -> Any:
    import miniaudio

    readers = {b"fLaC": miniaudio.flac_get_info, b"OggS": miniaudio.vorbis_get_info}
    return readers.get(data[:4], miniaudio.mp3_get_info)(data)


def _last_granule(data: bytes) -> int | None:
    """Return the position that the last Ogg page states: samples so far (RFC 3533 §6)."""
    at = data.rfind(b"OggS")
    granule = int.from_bytes(data[at + 6 : at + 14], "little") if len(data) >= at + 14 else 0
    return granule if 0 < granule < 1 << 62 else None


def _said_mp3(data: bytes) -> int | None:
    """Return the samples that a Xing or Info header states (frames of 1,152 or 576 samples)."""
    head = data[: 1 << 16]
    at = max(head.find(b"Xing"), head.find(b"Info"))
    if at < 36 or len(data) < at + 12 or not data[at + 7] & 1:
        return None
    start = head.rfind(b"\xff", 0, at - 1)
    while start >= 0 and not (head[start + 1] & 0xE0 == 0xE0 and at - start <= 40):
        start = head.rfind(b"\xff", 0, start)
    if start < 0:
        return None
    long = head[start + 1] & 0x18 == 0x18
    return int.from_bytes(data[at + 8 : at + 12], "big") * (1152 if long else 576)


# --- what samples say --------------------------------------------------------------------------


@dataclass(slots=True)
class _Meter:
    """Adds up samples: power of each 20 ms frame, samples at full scale in runs of three."""

    silence_db: float
    powers: list[npt.NDArray[np.float64]] = field(default_factory=list)
    rest: npt.NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    ends: Samples = field(default_factory=lambda: np.zeros((0, 1), np.float32))
    clipped: int = 0
    samples: int = 0
    peak: float = 0.0

    def add(self, piece: Samples, rate: int) -> None:
        if not len(piece):
            return
        size = max(1, round(rate * FRAME_S))
        mono = np.concatenate((self.rest, np.square(piece, dtype=np.float64).mean(axis=1)))
        whole = len(mono) // size * size
        self.powers.append(mono[:whole].reshape(-1, size).mean(axis=1))
        self.rest = mono[whole:]
        self.samples += piece.size
        top = np.abs(piece)
        self.peak = max(self.peak, float(top.max()))
        joined = piece if self.ends.shape[1] != piece.shape[1] else np.vstack((self.ends, piece))
        self.clipped += _clipped(joined)
        self.ends = piece[-2:]

    def settle(self, sound: Sound) -> None:
        power = np.concatenate(self.powers) if self.powers else np.zeros(0)
        if not len(power):  # shorter than a frame
            power = np.array([self.rest.mean()]) if len(self.rest) else power
        sound.peak = self.peak
        sound.clipping = self.clipped / self.samples if self.samples else float("nan")
        if len(power):
            sound.silence = float((power < 10 ** (self.silence_db / 10)).mean())
        sound.snr_db = snr_db(power)


def _clipped(piece: Samples) -> int:
    """Count runs: samples at ±full scale that end a run of three or more of one sign."""
    if len(piece) < 3:
        return 0
    found = 0
    for side in (piece >= 32767 / 32768, piece <= -32767 / 32768):
        found += int((side[2:] & side[1:-1] & side[:-2]).sum())
    return found


def snr_db(power: npt.NDArray[np.float64]) -> float:
    """Return 10·log10((P - N) / N): N is the mean power of the quietest tenth of frames, P of all.

    Frames of digital silence hold no noise and are left out; fewer than 10 frames say nothing.
    """
    power = np.sort(power[power > 1e-12])
    if len(power) < 10:
        return float("nan")
    noise = float(power[: max(1, len(power) // 10)].mean())
    signal = float(power.mean()) - noise
    return 10 * float(np.log10(signal / noise)) if signal > 0 else 0.0
