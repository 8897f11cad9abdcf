"""Formats by their first bytes, and what headers of media say."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest

from yaosu_validators.media import KINDS, Media, by_content, by_name, posing, probe


def box(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I4s", 8 + len(body), kind) + body


def mp4(seconds: int, width: int, height: int, *, late: bool = False) -> bytes:
    mvhd = box(b"mvhd", bytes(12) + struct.pack(">II", 1000, seconds * 1000) + bytes(80))
    tkhd = box(b"tkhd", bytes(76) + struct.pack(">II", width << 16, height << 16))
    moov = box(b"moov", mvhd + box(b"trak", tkhd))
    mdat = box(b"mdat", bytes(5000))
    head = box(b"ftyp", b"isom\0\0\2\0isommp42")
    return head + (mdat + moov if late else moov + mdat)


@pytest.mark.parametrize("late", [False, True])
def test_the_length_and_size_of_a_film(tmp_path: Path, late: bool) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(mp4(7, 640, 480, late=late))
    assert probe(path, KINDS["mp4"]) == Media(width=640, height=480, duration_s=7.0)


def test_a_film_without_its_index_says_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes(mp4(7, 640, 480, late=True)[:4000])
    assert probe(path, KINDS["mp4"]) is None


def test_boxes_that_claim_impossible_sizes_end_the_search(tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    for size in (0, 1, 4, 0xFFFFFFFF):
        path.write_bytes(box(b"ftyp", b"isom") + struct.pack(">I4s", size, b"moov") + bytes(9))
        probe(path, KINDS["mp4"])
    path.write_bytes(box(b"ftyp", b"isom") + box(b"free", b"") * 50_000)
    assert probe(path, KINDS["mp4"]) is None


def test_the_length_of_an_avi(tmp_path: Path) -> None:
    avih = struct.pack("<10I", 40_000, 0, 0, 0, 250, 0, 1, 0, 320, 240)
    path = tmp_path / "a.avi"
    path.write_bytes(b"RIFF\0\0\0\0AVI LIST\0\0\0\0hdrlavih" + struct.pack("<I", 56) + avih)
    assert probe(path, KINDS["avi"]) == Media(width=320, height=240, duration_s=10.0)


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (b"\x89PNG\r\n\x1a\n", "png"),
        (b"\xff\xd8\xff\xe0", "jpg"),
        (b"RIFF\0\0\0\0WAVEfmt ", "wav"),
        (b"RIFF\0\0\0\0WEBPVP8 ", "webp"),
        (b"RIFF\0\0\0\0xxxx", None),
        (b"OggS" + b"\0" * 24 + b"OpusHead", "opus"),
        (b"\0\0\0\x20ftypM4A ", "m4a"),
        (b"\0\0\0\x20ftypavif", "avif"),
        (b"\0\0\0\x14ftypqt  ", "mov"),
        (b"\xff\xfb\x90\x64", "mp3"),
        (b"\xff\xf1\x50\x80", "aac"),
        (b"\xff\xfe1\x00,\x00", None),
        (b"\xfe\xff\x00a", None),
        (b"\x1aE\xdf\xa3\x01webm", "webm"),
        (b"\0" * 257 + b"ustar\x0000", "tar"),
        (b"PK\x03\x04" + b"\0" * 30, "zip"),
        (b"BMW,1\n", None),
        (b"id,name\n1,x\n", None),
        (b"", None),
    ],
)
def test_bytes_show_what_they_are(head: bytes, expected: str | None) -> None:
    kind = by_content(head)
    assert (kind.format if kind else None) == expected


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("a.csv", ("csv", "")),
        ("A.JPEG", ("jpg", "")),
        ("x.jsonl.gz", ("jsonl", "gz")),
        ("x.ndjson.zst", ("jsonl", "zst")),
        ("shard.tgz", ("tar", "gz")),
        ("train-labels-idx1-ubyte.gz", ("idx", "gz")),
        ("brain.nii.gz", ("nii", "gz")),
        ("noext", (None, "")),
        ("v1.2", (None, "")),
    ],
)
def test_names_claim_a_format(name: str, expected: tuple[str | None, str]) -> None:
    kind, compression = by_name(name)
    assert (kind.format if kind else None, compression) == expected


def test_pointers_and_error_pages_are_known() -> None:
    assert posing(b"version https://git-lfs.github.com/spec/v1\noid") == "lfs-pointer"
    assert posing(b"\xef\xbb\xbf \n<!DOCTYPE HTML>") == "html-page"
    assert posing(b"<html lang=zh>") == "html-page"
    assert posing(b"id,<html>") == ""


def test_headers_of_noise_say_nothing(tmp_path: Path) -> None:
    path = tmp_path / "x"
    for format_, kind in KINDS.items():
        path.write_bytes(format_.encode() * 40)
        assert probe(path, kind) is None, format_
