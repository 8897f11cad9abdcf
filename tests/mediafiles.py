"""Small media files for tests, written byte by byte or by Pillow; and one way to look at them."""

from __future__ import annotations

import io
import pickle
import struct
import tarfile
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from yaosu_validators.check import Chosen, Conclusion, Finding
from yaosu_validators.filecheck import FilePart, Looked, PackageFiles, Seen, files_of, look


def seen(folder: Path, name: str, **options: Any) -> Conclusion:
    """Return what one check of files concludes over a folder."""
    return looked(folder, name, **options).conclusions[0]


def looked(folder: Path, name: str, **options: Any) -> Looked:
    return look(files_of(folder), [Chosen(name, tuple(sorted(options.items())))])


def found(conclusion: Conclusion) -> list[tuple[str, str]]:
    """Return type and note of every finding."""
    return [(f.type, f.note.en) for _, f in conclusion.findings]


def kinds(conclusion: Conclusion) -> set[str]:
    return {f.type for _, f in conclusion.findings}


def value(conclusion: Conclusion, id_: str) -> Any:
    (metric,) = [m for m in conclusion.metrics if m.id == id_]
    return metric.value


def bilingual(findings: Iterable[tuple[str, Finding]]) -> bool:
    return all(f.note.en and f.note.zh and f.note.en != f.note.zh for _, f in findings)


def in_parts(package: PackageFiles, name: str, cuts: Sequence[int]) -> Conclusion:
    """Fold the files in the given runs, each in a state that was pickled on its way."""
    chosen = Chosen(name)
    paths = sorted(package.sizes)
    edges = [0, *sorted(cuts), len(paths)]
    fold = chosen.make()
    state = fold.start()
    for start, stop in zip(edges, edges[1:], strict=False):
        part = FilePart(package.root, tuple(paths[start:stop]), (chosen,))
        more: Seen = pickle.loads(pickle.dumps(pickle.loads(pickle.dumps(part)).see()))
        state = fold.merge(state, more.states[0])
    concluded: Conclusion = fold.conclude(state, package)
    return concluded


def photo(seed: int, width: int = 160, height: int = 120) -> Image.Image:
    """Return a picture with large shapes and fine grain, different for every seed."""
    rng = np.random.default_rng(seed)
    coarse = Image.fromarray(rng.integers(0, 255, (6, 8, 3), np.uint8)).resize((width, height), 2)
    grain = rng.normal(0, 6, (height, width, 3))
    pixels = np.clip(np.asarray(coarse, np.float64) + grain, 0, 255).astype(np.uint8)
    return Image.fromarray(pixels)


def encoded(image: Image.Image, format_: str, **options: Any) -> bytes:
    out = io.BytesIO()
    image.save(out, format_, **options)
    return out.getvalue()


def wav(
    samples: np.ndarray[Any, Any],
    rate: int = 16000,
    bits: int = 16,
    *,
    data_size: int | None = None,
    riff_size: int | None = None,
    tag: int = 1,
) -> bytes:
    """Return a WAV file; sizes in its header may be made to lie."""
    frames = np.atleast_2d(samples.T).T
    if tag == 3:
        body = frames.astype("<f4" if bits == 32 else "<f8").tobytes()
    elif bits == 8:
        body = (frames * 127 + 128).astype(np.uint8).tobytes()
    elif bits == 24:
        whole = (frames * ((1 << 23) - 1)).astype("<i4")
        body = whole.view(np.uint8).reshape(-1, 4)[:, :3].tobytes()
    else:
        body = (frames * ((1 << (bits - 1)) - 1)).astype(f"<i{bits // 8}").tobytes()
    align = frames.shape[1] * bits // 8
    head = struct.pack("<HHIIHH", tag, frames.shape[1], rate, rate * align, align, bits)
    size = len(body) if data_size is None else data_size
    chunks = b"WAVEfmt " + struct.pack("<I", 16) + head + b"data" + struct.pack("<I", size) + body
    return b"RIFF" + struct.pack("<I", len(chunks) if riff_size is None else riff_size) + chunks


def _box(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(body), kind) + body


def mp4(
    frames: int = 30, fps: int = 30, width: int = 64, height: int = 48, *,
    codec: bytes = b"av01", data: bytes = b"\0" * 64, index_first: bool = True,
) -> bytes:  # fmt: skip
    """Return an MP4 file whose boxes are true and whose frames are zeros."""
    brand = _box(b"ftyp", b"isom\0\0\2\0isom")
    entry = (b"\0" * 6 + struct.pack(">H", 1) + b"\0" * 16 + struct.pack(">HH", width, height)
             + b"\0" * 50)  # fmt: skip
    table = _box(b"stsd", struct.pack(">II", 0, 1) + _box(codec, entry))
    table += _box(b"stts", struct.pack(">IIII", 0, 1, frames, 1000))
    table += _box(b"stco", struct.pack(">III", 0, 1, 40))
    media = _box(b"mdhd", struct.pack(">IIIIIHH", 0, 0, 0, fps * 1000, frames * 1000, 0, 0))
    media += _box(b"hdlr", b"\0" * 8 + b"vide" + b"\0" * 13)
    media += _box(b"minf", _box(b"stbl", table))
    index = _box(b"moov", _box(b"trak", _box(b"mdia", media)))
    frames_ = _box(b"mdat", data)
    return brand + (index + frames_ if index_first else frames_ + index)


def _element(id_: int, body: bytes) -> bytes:
    name = id_.to_bytes((id_.bit_length() + 7) // 8, "big")
    return name + (0x10000000 | len(body)).to_bytes(4, "big") + body


def matroska(frames: int = 25, width: int = 320, height: int = 240, seconds: float = 1.0) -> bytes:
    """Return a Matroska file with one video track of simple blocks."""
    head = _element(0x1A45DFA3, _element(0x4282, b"matroska"))
    info = _element(0x2AD7B1, (1_000_000).to_bytes(3, "big"))
    info += _element(0x4489, struct.pack(">d", seconds * 1000))
    size = _element(0xB0, width.to_bytes(2, "big")) + _element(0xBA, height.to_bytes(2, "big"))
    track = _element(0xD7, b"\1") + _element(0x83, b"\1") + _element(0x86, b"V_VP9")
    blocks = b"".join(_element(0xA3, b"\x81\0\0\x80" + b"\0" * 20) for _ in range(frames))
    segment = _element(0x1549A966, info)
    segment += _element(0x1654AE6B, _element(0xAE, track + _element(0xE0, size)))
    return head + _element(0x18538067, segment + _element(0x1F43B675, blocks))


def tar(members: Iterable[tuple[str, bytes]]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.USTAR_FORMAT) as archive:
        for name, body in members:
            info = tarfile.TarInfo(name)
            info.size = len(body)
            archive.addfile(info, io.BytesIO(body))
    return out.getvalue()
