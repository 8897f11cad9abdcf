"""What a file is by its first bytes, and what its header says: size in pixels, length in seconds.

Only headers are read. A picture that opens here may still not decode; that is for a check.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

HEAD_BYTES = 4096
_MAX_BOXES = 10_000


@dataclass(frozen=True, slots=True)
class Kind:
    """A format: what sort of content, its Data Package format, its media type (IANA where any)."""

    family: str
    format: str
    mediatype: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Media:
    """What a header says; None where it says nothing."""

    width: int | None = None
    height: int | None = None
    duration_s: float | None = None
    sample_rate_hz: int | None = None
    channels: int | None = None


def _kinds(table: str) -> dict[str, Kind]:
    rows = (line.split() for line in table.strip().splitlines())
    return {row[0]: Kind(row[1], row[0], row[2]) for row in rows}


# format, family, media type
KINDS = _kinds("""
csv      table    text/csv
tsv      table    text/tab-separated-values
json     table    application/json
jsonl    table    application/jsonl
parquet  table    application/vnd.apache.parquet
arrow    table    application/vnd.apache.arrow.file
arrows   table    application/vnd.apache.arrow.stream
xlsx     sheet    application/vnd.openxmlformats-officedocument.spreadsheetml.sheet
xls      sheet    application/vnd.ms-excel
ods      sheet    application/vnd.oasis.opendocument.spreadsheet
txt      text     text/plain
md       text     text/markdown
html     text     text/html
xml      text     application/xml
yaml     config   application/yaml
toml     config   application/toml
png      image    image/png
jpg      image    image/jpeg
gif      image    image/gif
webp     image    image/webp
bmp      image    image/bmp
tif      image    image/tiff
avif     image    image/avif
heic     image    image/heic
svg      image    image/svg+xml
wav      audio    audio/vnd.wave
flac     audio    audio/flac
mp3      audio    audio/mpeg
ogg      audio    audio/ogg
opus     audio    audio/ogg
aac      audio    audio/aac
m4a      audio    audio/mp4
aiff     audio    audio/aiff
mp4      video    video/mp4
mov      video    video/quicktime
avi      video    video/x-msvideo
mkv      video    video/matroska
webm     video    video/webm
flv      video    video/x-flv
mpg      video    video/mpeg
pcd      points   application/octet-stream
ply      points   application/octet-stream
las      points   application/vnd.las
tar      archive  application/x-tar
zip      archive  application/zip
7z       archive  application/x-7z-compressed
rar      archive  application/vnd.rar
pdf      document application/pdf
npy      array    application/octet-stream
npz      array    application/zip
h5       array    application/x-hdf5
nii      array    application/octet-stream
idx      array    application/octet-stream
sqlite   binary   application/vnd.sqlite3
avro     binary   application/vnd.apache.avro
orc      binary   application/vnd.apache.orc
py       code     text/x-python
""")
UNKNOWN = Kind("binary", "", "application/octet-stream")

_SUFFIXES = {
    "ndjson": "jsonl", "jpeg": "jpg", "tiff": "tif", "yml": "yaml", "text": "txt", "htm": "html",
    "markdown": "md", "feather": "arrow", "ipc": "arrow", "oga": "ogg", "aif": "aiff",
    "mpeg": "mpg", "hdf5": "h5", "pq": "parquet", "tab": "tsv", "db": "sqlite", "m4v": "mp4",
    "rst": "txt", "log": "txt", "laz": "las", "heif": "heic",
}  # fmt: skip

COMPRESSIONS = {"gz": "gz", "gzip": "gz", "zst": "zst", "zstd": "zst", "bz2": "bz2", "xz": "xz"}
COMPRESSION_MAGIC = (
    (b"\x1f\x8b", "gz"),
    (b"\x28\xb5\x2f\xfd", "zst"),
    (b"BZh", "bz2"),
    (b"\xfd7zXZ\x00", "xz"),
)

_MAGIC: tuple[tuple[int, bytes, str], ...] = (
    (0, b"\x89PNG\r\n\x1a\n", "png"),
    (0, b"\xff\xd8\xff", "jpg"),
    (0, b"GIF87a", "gif"),
    (0, b"GIF89a", "gif"),
    (0, b"II*\x00", "tif"),
    (0, b"MM\x00*", "tif"),
    (0, b"fLaC", "flac"),
    (0, b"ID3", "mp3"),
    (0, b"PAR1", "parquet"),
    (0, b"ARROW1", "arrow"),
    (0, b"%PDF-", "pdf"),
    (0, b"\x89HDF\r\n\x1a\n", "h5"),
    (0, b"\x93NUMPY", "npy"),
    (0, b"SQLite format 3\x00", "sqlite"),
    (0, b"Obj\x01", "avro"),
    (0, b"ORC", "orc"),
    (0, b"7z\xbc\xaf\x27\x1c", "7z"),
    (0, b"Rar!\x1a\x07", "rar"),
    (0, b"FLV\x01", "flv"),
    (0, b"\x00\x00\x01\xba", "mpg"),
    (0, b"\x00\x00\x01\xb3", "mpg"),
    (0, b"LASF", "las"),
    (0, b"# .PCD", "pcd"),
    (0, b"ply\n", "ply"),
    (0, b"ply\r\n", "ply"),
    (257, b"ustar", "tar"),
    (344, b"n+1\x00", "nii"),
    (0, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "xls"),
)


def by_name(name: str) -> tuple[Kind | None, str]:
    """Return what a file name claims: its kind, if known, and its compression or ""."""
    parts = name.lower().split(".")
    compression = ""
    if len(parts) > 1 and parts[-1] in COMPRESSIONS:
        compression = COMPRESSIONS[parts.pop()]
    if len(parts) > 1 and parts[-1] in ("tgz", "tbz2", "txz"):
        return KINDS["tar"], {"tgz": "gz", "tbz2": "bz2", "txz": "xz"}[parts[-1]]
    suffix = parts[-1] if len(parts) > 1 else ""
    if name.lower().endswith("-ubyte") or "-ubyte." in name.lower():
        suffix = "idx"  # the MNIST family: a suffix that is none
    return KINDS.get(_SUFFIXES.get(suffix, suffix)), compression


def by_content(head: bytes) -> Kind | None:
    """Return what the first bytes of an uncompressed file show it to be, or None."""
    for offset, magic, name in _MAGIC:
        if head.startswith(magic, offset):
            return KINDS[name]
    if head[:4] == b"RIFF":
        return KINDS.get({b"WAVE": "wav", b"AVI ": "avi", b"WEBP": "webp"}.get(head[8:12], ""))
    if head[:4] == b"FORM" and head[8:12] in (b"AIFF", b"AIFC"):
        return KINDS["aiff"]
    if head[:4] == b"OggS":
        return KINDS["opus" if b"OpusHead" in head[:64] else "ogg"]
    if head[4:8] == b"ftyp":
        return _iso_kind(head[8:12])
    if head[:4] == b"\x1aE\xdf\xa3":
        return KINDS["webm" if b"webm" in head[:64] else "mkv"]
    if head[:2] == b"BM" and len(head) > 14 and head[6:10] == b"\x00\x00\x00\x00":
        return KINDS["bmp"]
    if head[:4] in (b"PK\x03\x04", b"PK\x05\x06"):
        return _zip_kind(head)
    if len(head) > 2 and head[0] == 0xFF and head[1] & 0xF6 == 0xF0:
        return KINDS["aac"]
    if len(head) > 2 and head[0] == 0xFF and head[1] & 0xE6 == 0xE2:  # MPEG audio, layer III
        return KINDS["mp3"] if head[2] & 0xF0 not in (0xF0, 0x00) else None
    return None


def posing(head: bytes) -> str:
    """Return "lfs-pointer" or "html-page" for what is often found where data should be, or ""."""
    if head.startswith(b"version https://git-lfs.github.com/spec/"):
        return "lfs-pointer"
    start = head[:256].removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    return "html-page" if start.startswith((b"<!doctype html", b"<html")) else ""


def probe(path: Path, kind: Kind) -> Media | None:
    """Return what the header of an image, audio or video file says; None if it says nothing."""
    try:
        if kind.family == "image":
            return _image(path)
        if kind.format in ("mp4", "mov", "m4a"):
            with path.open("rb") as file:
                return _iso_media(file)
        if kind.format == "avi":
            return _avi(path)
        if kind.format in ("mkv", "webm"):
            return _matroska(path)
        if kind.family == "audio":
            return _audio(path)
    except MemoryError:
        raise
    except Exception:  # a header of a stranger makes parsers raise anything
        return None
    return None


def _iso_kind(brand: bytes) -> Kind:
    if brand in (b"avif", b"avis"):
        return KINDS["avif"]
    if brand in (b"heic", b"heix", b"mif1", b"heim"):
        return KINDS["heic"]
    if brand[:3] == b"M4A" or brand[:3] == b"M4B":
        return KINDS["m4a"]
    return KINDS["mov" if brand == b"qt  " else "mp4"]


def _zip_kind(head: bytes) -> Kind:
    if b"[Content_Types].xml" in head and b"xl/" in head:
        return KINDS["xlsx"]
    if b"mimetypeapplication/vnd.oasis.opendocument.spreadsheet" in head:
        return KINDS["ods"]
    return KINDS["zip"]


def _image(path: Path) -> Media | None:
    import imagesize

    width, height = imagesize.get(str(path))
    return Media(width=int(width), height=int(height)) if width > 0 and height > 0 else None


def _audio(path: Path) -> Media | None:
    from tinytag import TinyTag, TinyTagException

    try:
        tag = TinyTag.get(path, tags=False)
    except TinyTagException:
        return None
    if not tag.duration or tag.duration < 0:
        return None
    return Media(
        duration_s=round(float(tag.duration), 3),
        sample_rate_hz=int(tag.samplerate) if tag.samplerate else None,
        channels=int(tag.channels) if tag.channels else None,
    )


@dataclass(frozen=True, slots=True)
class Box:
    """One box of a container: its type, where its body lies, and whether all of it is there."""

    kind: bytes
    start: int
    end: int
    whole: bool = True


def boxes(file: BinaryIO, start: int, end: int) -> Iterator[Box]:
    """Yield the boxes in a range (ISO/IEC 14496-12 §4.2)."""
    at = start
    for _ in range(_MAX_BOXES):
        if at + 8 > end:
            return
        file.seek(at)
        size, kind = struct.unpack(">I4s", file.read(8))
        header = 8
        if size == 1:
            size, header = struct.unpack(">Q", file.read(8))[0], 16
        elif size == 0:
            size = end - at
        if size < header:
            return
        yield Box(kind, at + header, min(at + size, end), at + size <= end)
        at += size


def _iso_media(file: BinaryIO) -> Media | None:
    end = file.seek(0, 2)
    moov = next(((b.start, b.end) for b in boxes(file, 0, end) if b.kind == b"moov"), None)
    if moov is None:
        return None
    duration: float | None = None
    width = height = 0
    for box in boxes(file, *moov):
        kind, a, b = box.kind, box.start, box.end
        file.seek(a)
        if kind == b"mvhd":
            version = file.read(4)[0]
            file.seek(16 if version else 8, 1)
            scale, length = struct.unpack(
                ">IQ" if version else ">II", file.read(12 - 4 * (not version))
            )
            duration = length / scale if scale and length else None
        elif kind == b"trak":
            for part in boxes(file, a, b):
                inner, c, d = part.kind, part.start, part.end
                if inner == b"tkhd" and d - c >= 8:
                    file.seek(d - 8)
                    w, h = struct.unpack(">II", file.read(8))
                    width, height = max(width, w >> 16), max(height, h >> 16)
    return Media(
        width=width or None,
        height=height or None,
        duration_s=None if duration is None else round(duration, 3),
    )


def _avi(path: Path) -> Media | None:
    with path.open("rb") as file:
        head = file.read(HEAD_BYTES)
    at = head.find(b"avih")
    if at < 0:
        return None
    body = struct.unpack("<10I", head[at + 8 : at + 48])
    per_frame_us, frames, width, height = body[0], body[4], body[8], body[9]
    seconds = round(per_frame_us * frames / 1e6, 3) if per_frame_us and frames else None
    return Media(width=width or None, height=height or None, duration_s=seconds)


def _matroska(path: Path) -> Media | None:
    """Read Duration, TimestampScale and the pixel size from the first MiB (RFC 9559 §5)."""
    with path.open("rb") as file:
        head = file.read(1 << 20)
    info = head.find(b"\x15\x49\xa9\x66")
    if info < 0:
        return None
    scale, seconds = 1_000_000, None
    near = head[info : info + 512]
    at = near.find(b"\x2a\xd7\xb1")
    if at >= 0:
        scale = int.from_bytes(near[at + 4 : at + 4 + (near[at + 3] & 0x0F)], "big") or scale
    at = near.find(b"\x44\x89")
    if at >= 0:
        size = near[at + 2] & 0x0F
        value = struct.unpack(">d" if size == 8 else ">f", near[at + 3 : at + 3 + size])[0]
        seconds = round(value * scale / 1e9, 3)
    at = head.find(b"\x16\x54\xae\x6b")
    width = _ebml_uint(head, b"\xb0", at) if at >= 0 else None
    height = _ebml_uint(head, b"\xba", at) if at >= 0 else None
    return Media(width=width, height=height, duration_s=seconds)


def _ebml_uint(head: bytes, element: bytes, start: int) -> int | None:
    at = head.find(b"\xe0", start)  # the Video element holds the two sizes
    for size in (2, 1):
        found = head.find(element + bytes([0x80 | size]), at, at + 128)
        if at >= 0 and found >= 0:
            return int.from_bytes(head[found + 2 : found + 2 + size], "big")
    return None
