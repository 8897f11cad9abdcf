"""Pictures are decoded whole, within limits; doubles, blur and positions come out."""

from __future__ import annotations

import io
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image, ImageFilter

from mediafiles import bilingual, encoded, found, in_parts, kinds, looked, photo, seen, value
from yaosu_validators.filecheck import files_of
from yaosu_validators.mediacheck.pictures import clusters, perceptual_hash, sharpness, snr_db


def test_real_pictures_decode_and_are_measured(testdata: Path) -> None:
    result = seen(testdata / "ai" / "llama-factory" / "data" / "mllm_demo_data", "media.images")
    assert value(result, "own:images_decodable") == 1.0
    assert value(result, "tc609:02080201") == 168  # 300x168, 300x199, 300x166
    assert result.evidence["decoded"] == 3
    assert result.evidence["near_duplicates"] == 0
    assert not result.findings


def test_transparent_and_rgb_pictures_of_others_decode(testdata: Path) -> None:
    folder = testdata / "ai" / "hf-datasets-fixtures" / "tests" / "features" / "data"
    assert seen(folder, "media.images").evidence["decoded"] == 2


def test_one_motif_in_other_formats_and_sizes_is_one_cluster(tmp_path: Path) -> None:
    motif = photo(1)
    (tmp_path / "a.png").write_bytes(encoded(motif, "PNG"))
    (tmp_path / "b.jpg").write_bytes(encoded(motif, "JPEG", quality=60))
    (tmp_path / "c.webp").write_bytes(encoded(motif.resize((320, 240)), "WEBP"))
    for number in range(12):
        (tmp_path / f"z{number}.png").write_bytes(encoded(photo(100 + number), "PNG"))
    result = seen(tmp_path, "media.images")
    assert result.evidence["clusters"]["members"] == [["a.png", "b.jpg", "c.webp"]]
    assert value(result, "tc609:02080202") == 2 / 15


def test_a_motif_in_train_and_test_is_a_leak(tmp_path: Path) -> None:
    for split, format_ in (("train", "PNG"), ("test", "JPEG")):
        (tmp_path / split).mkdir()
        (tmp_path / split / "a").write_bytes(encoded(photo(1), format_))
        (tmp_path / split / f"{split}.png").write_bytes(encoded(photo(len(split)), "PNG"))
    result = seen(tmp_path, "media.images")
    assert result.evidence["clusters_across_splits"] == 1
    assert found(result) == [
        ("picture-leak", "1 motifs stand in more than one split (first: test/a)")
    ]


def test_pictures_of_one_colour_are_not_one_motif(tmp_path: Path) -> None:
    for shade in (10, 120, 240):
        (tmp_path / f"{shade}.png").write_bytes(encoded(Image.new("L", (64, 64), shade), "PNG"))
    (tmp_path / "again.png").write_bytes(encoded(Image.new("L", (64, 64), 10), "PNG"))
    assert seen(tmp_path, "media.images").evidence["clusters"]["members"] == [
        ["10.png", "again.png"]
    ]


def test_a_blurred_picture_counts_as_blurred(tmp_path: Path) -> None:
    (tmp_path / "sharp.png").write_bytes(encoded(photo(3), "PNG"))
    soft = photo(3).filter(ImageFilter.GaussianBlur(4))
    (tmp_path / "soft.png").write_bytes(encoded(soft, "PNG"))
    result = seen(tmp_path, "media.images")
    assert result.evidence["blurred"] == 1
    assert value(result, "tc609:02080204") == 0.5


def huge_png(width: int, height: int) -> bytes:
    def chunk(kind: bytes, body: bytes) -> bytes:
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(b"\0" * 9))
            + chunk(b"IEND", b""))  # fmt: skip


@pytest.mark.parametrize(("width", "height"), [(40_000, 25_000), (12_000, 9_000)])
def test_a_picture_of_too_many_pixels_is_a_finding_and_never_decoded(
    tmp_path: Path, width: int, height: int
) -> None:
    (tmp_path / "huge.png").write_bytes(huge_png(width, height))
    result = seen(tmp_path, "media.images")
    assert found(result) == [
        ("picture-too-large", f"huge.png: more pixels than the limit ({width} x {height})")
    ]


def test_what_does_not_decode_is_named_with_its_reason(tmp_path: Path) -> None:
    whole = encoded(photo(5), "JPEG")
    (tmp_path / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "noise.jpg").write_bytes(b"\xff\xd8\xff" + bytes(range(256)) * 8)
    (tmp_path / "words.png").write_text("no picture at all")
    result = seen(tmp_path, "media.images")
    assert len(result.findings) == 4
    assert kinds(result) == {"picture-broken"}
    assert ("picture-broken", "cut.jpg: it breaks off before its end") in found(result)
    assert value(result, "own:images_decodable") == 0
    assert bilingual(result.findings)


def test_positions_and_names_in_exif_are_counted_and_never_shown(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x013B] = "Li Xiaoming"
    exif.get_ifd(0x8825)[1] = "N"
    exif.get_ifd(0x8825)[2] = (23.0, 7.0, 44.0)
    out = io.BytesIO()
    photo(6).save(out, "JPEG", exif=exif)
    (tmp_path / "a.jpg").write_bytes(out.getvalue())
    (tmp_path / "b.jpg").write_bytes(encoded(photo(7), "JPEG"))
    result = seen(tmp_path, "media.images")
    assert (result.evidence["with_position"], result.evidence["with_person"]) == (1, 1)
    assert [t for t, _ in found(result)] == ["picture-personal-data"] * 2
    assert "Xiaoming" not in repr(result)


def test_every_mode_of_a_picture_is_measured(tmp_path: Path) -> None:
    motif = photo(8)
    for mode in ("1", "L", "P", "RGBA", "LA", "CMYK", "I;16"):
        image = motif.convert("L").convert("I;16") if mode == "I;16" else motif.convert(mode)
        format_ = "TIFF" if mode == "CMYK" else "PNG"
        name = f"{mode.replace(';', '')}.{format_.lower()}"
        (tmp_path / name).write_bytes(encoded(image, format_))
    result = seen(tmp_path, "media.images")
    assert result.evidence["decoded"] == 7, found(result)


def test_noise_and_sharpness_are_what_their_formulas_say() -> None:
    rng = np.random.default_rng(0)
    ramp = np.tile(np.linspace(40, 200, 256, dtype=np.float32), (256, 1))
    for sigma in (2.0, 8.0):
        noisy = (ramp + rng.normal(0, sigma, ramp.shape)).astype(np.float32)
        expected = 20 * np.log10(noisy.std() / sigma)
        assert snr_db(noisy) == pytest.approx(expected, abs=0.3)
    board = (np.indices((8, 8)).sum(axis=0) % 2 * 255).astype(np.float32)
    assert sharpness(board) == pytest.approx((4 * 255) ** 2)  # the Laplacian is ±1020 everywhere


@settings(max_examples=40)
@given(st.lists(st.integers(0, 2**64 - 1), max_size=40), st.integers(0, 8), st.data())
def test_clusters_are_those_of_comparing_every_pair(
    base: list[int], distance: int, data: st.DataObject
) -> None:
    near = [h ^ (1 << data.draw(st.integers(0, 63))) for h in base[:10]]
    hashes = np.array(base + near, np.uint64)
    groups = list(range(len(hashes)))
    for i in range(len(hashes)):
        for j in range(i):
            if int(hashes[i] ^ hashes[j]).bit_count() <= distance:
                old, new = groups[i], groups[j]
                groups = [new if g == old else g for g in groups]
    expected = sorted(
        [i for i, g in enumerate(groups) if g == group]
        for group in set(groups)
        if groups.count(group) > 1
    )
    assert clusters(hashes, distance) == expected


def test_a_hash_survives_scaling_of_brightness() -> None:
    grey = np.asarray(photo(9).convert("L"), np.float32)
    apart = perceptual_hash(grey) ^ perceptual_hash((grey * 0.6 + 20).astype(np.float32))
    assert apart.bit_count() <= 1


def test_any_cut_of_the_files_gives_the_same_conclusion(tmp_path: Path) -> None:
    for number in range(9):
        (tmp_path / f"{number}.png").write_bytes(encoded(photo(number // 2), "PNG"))
    (tmp_path / "bad.png").write_bytes(b"\x89PNG\r\n\x1a\nnothing")
    package = files_of(tmp_path)
    whole = repr(looked(tmp_path, "media.images").conclusions[0])
    for cuts in ([], [1], [3, 3, 7], list(range(1, 10))):
        assert repr(in_parts(package, "media.images", cuts)) == whole
