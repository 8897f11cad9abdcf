"""Files as sets: shards, annotations, arrays, references of records; what poses as data."""

from __future__ import annotations

import contextlib
import gzip
import io
import json
import struct
import zipfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy import zeros

from mediafiles import (
    bilingual,
    encoded,
    found,
    in_parts,
    kinds,
    looked,
    mp4,
    photo,
    seen,
    tar,
    value,
    wav,
)
from yaosu_schemas.report import Report
from yaosu_validators import validate
from yaosu_validators.filecheck import files_of
from yaosu_validators.tars import TarProblem, members


def sample(number: int, *extensions: str) -> list[tuple[str, bytes]]:
    return [(f"{number:06d}.{e}", e.encode() + bytes([number])) for e in extensions]


# --- shards ------------------------------------------------------------------------------------


def test_real_shards_hold_what_they_are_known_to_hold(testdata: Path) -> None:
    result = seen(testdata / "ai" / "webdataset", "media.webdataset")
    assert result.evidence["samples"] == 103
    assert result.evidence["sets"] == {"ten": 100, "txt.gz": 3}
    assert not result.findings


def test_samples_without_their_pair_and_keys_that_come_again_are_counted(tmp_path: Path) -> None:
    first = sample(0, "jpg", "cls") + sample(1, "jpg") + sample(2, "jpg", "cls")
    second = sample(3, "jpg", "cls") + sample(4, "jpg", "cls") + sample(3, "txt", "jpg")
    (tmp_path / "set-000.tar").write_bytes(tar(first))
    (tmp_path / "set-001.tar").write_bytes(tar(second + sample(0, "jpg", "cls")))
    result = seen(tmp_path, "media.webdataset")
    notes = {note for _, note in found(result)}
    assert notes == {
        "set-000.tar: 1 samples do not have the usual members (cls,jpg)",
        "set-001.tar: 1 samples do not have the usual members (cls,jpg)",
        "set-001.tar: keys that come again after another sample: 1 (first: '000003')",
        "1 keys stand in several shards",
    }
    assert value(result, "own:shards_samples_alike") == 5 / 7
    assert value(result, "own:shards_keys_unique") == 5 / 7
    assert bilingual(result.findings)


def test_files_of_one_member_each_may_come_in_any_order(tmp_path: Path) -> None:
    names = ["b/1.jpg", "a/2.jpg", "b/1.png"]
    (tmp_path / "a.tar").write_bytes(tar([(n, b"x") for n in names]))
    result = seen(tmp_path, "media.webdataset")
    assert {f.severity for _, f in result.findings} == {"warning"}


def test_members_that_would_leave_their_folder_are_errors(tmp_path: Path) -> None:
    bad = [("../evil.jpg", b"x"), ("/etc/passwd.txt", b"x"), ("a/../../b.jpg", b"x")]
    (tmp_path / "a.tar").write_bytes(tar([*sample(1, "jpg"), *bad]))
    result = seen(tmp_path, "media.webdataset")
    assert found(result) == [
        ("unsafe-path", "a.tar: members whose names leave the folder, hide or deceive: 3 "
                        "(first: '../evil.jpg')")
    ]  # fmt: skip
    assert looked(tmp_path, "media.images").members == 1  # they are never opened either


@pytest.mark.parametrize("cut", [700, 1024, 1600, 3000])
def test_a_shard_that_breaks_off_says_where(tmp_path: Path, cut: int) -> None:
    whole = tar(sample(1, "jpg", "cls"))
    (tmp_path / "a.tar").write_bytes(whole[:cut] if cut < 3000 else whole[:700] + b"?" * 2000)
    assert kinds(seen(tmp_path, "media.webdataset")) == {"shard-broken"}


def test_packed_shards_are_read_and_a_bomb_is_not(tmp_path: Path) -> None:
    (tmp_path / "a.tar.gz").write_bytes(gzip.compress(tar(sample(1, "jpg", "cls"))))
    bomb = tar([("1.bin", b"\0" * (40 << 20))])
    (tmp_path / "b.tar.gz").write_bytes(gzip.compress(bomb))
    result = seen(tmp_path, "media.webdataset")
    assert result.evidence["samples"] == 1
    assert [(t, n.split(":")[0]) for t, n in found(result)] == [("shard-broken", "b.tar.gz")]


@settings(max_examples=150)
@given(st.data())
def test_no_change_of_any_byte_breaks_the_walk_through_a_tar(data: st.DataObject) -> None:
    content = bytearray(tar(sample(1, "jpg", "cls") + [("x" * 90 + "/" + "y" * 90 + ".jpg", b"z")]))
    for _ in range(data.draw(st.integers(1, 5))):
        content[data.draw(st.integers(0, 3500))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(content)))
    with contextlib.suppress(TarProblem):
        for member in members(io.BytesIO(bytes(content[:cut]))):
            assert 0 <= member.offset <= member.offset + member.size <= cut


def test_pictures_in_archives_are_looked_at_like_others(tmp_path: Path) -> None:
    motif = encoded(photo(1), "PNG")
    (tmp_path / "a.tar").write_bytes(tar([("1.png", motif), ("2.png", motif[:200])]))
    with zipfile.ZipFile(tmp_path / "b.zip", "w") as archive:
        archive.writestr("3.png", motif)
        archive.writestr("../4.png", motif)
    result = seen(tmp_path, "media.images")
    assert result.evidence["clusters"]["members"] == [["a.tar!/1.png", "b.zip!/3.png"]]
    assert found(result) == [("picture-broken", "a.tar!/2.png: it breaks off before its end")]


def test_a_zip_that_unpacks_to_too_much_is_a_finding(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.png", b"\0" * (30 << 20))
    result = looked(tmp_path, "media.images")
    assert [(path, f.type) for path, f in result.findings] == [("", "resource-limit")]


# --- what files are ----------------------------------------------------------------------------


def test_files_that_are_not_what_their_names_say_are_named(tmp_path: Path) -> None:
    (tmp_path / "a.jpg").write_bytes(encoded(photo(1), "JPEG"))
    (tmp_path / "b.jpg").write_bytes(encoded(photo(1), "PNG"))
    (tmp_path / "c.png").write_bytes(b"")
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n"
    (tmp_path / "d.mp4").write_text(pointer)
    (tmp_path / "e.wav").write_text("<!DOCTYPE html><html>404</html>")
    hidden = io.BytesIO()
    with zipfile.ZipFile(hidden, "w") as archive:
        archive.writestr("x", "y")
    (tmp_path / "f.jpg").write_bytes(encoded(photo(2), "JPEG") + hidden.getvalue())
    result = seen(tmp_path, "media.files")
    assert {n[0]: t for t, n in found(result)} == {
        "b": "file-kind", "c": "file-empty", "d": "lfs-pointer", "e": "html-page",
        "f": "file-polyglot",
    }  # fmt: skip
    assert value(result, "tc609:0207") == 2 / 6
    assert bilingual(result.findings)


def test_links_and_hidden_files_are_never_opened(tmp_path: Path) -> None:
    outside = tmp_path / "outside.png"
    outside.write_bytes(encoded(photo(1), "PNG"))
    inside = tmp_path / "data"
    (inside / ".git").mkdir(parents=True)
    (inside / "a.png").symlink_to(outside)
    (inside / "loop").symlink_to(inside)
    (inside / ".git" / "b.png").write_bytes(outside.read_bytes())
    assert not files_of(inside).sizes
    assert files_of(inside, only=["a.png", "../outside.png"]).sizes == {}


# --- arrays ------------------------------------------------------------------------------------


def test_real_label_files_hold_ten_classes_of_equal_size(testdata: Path) -> None:
    arrays = seen(testdata / "ai" / "fashion-mnist", "media.idx").evidence["arrays"]
    assert [a["shape"] for a in arrays] == [[10000], [60000]]
    assert arrays[0]["classes"] == {str(n): 1000 for n in range(10)}
    assert arrays[1]["classes"] == {str(n): 6000 for n in range(10)}


def test_arrays_that_are_not_as_large_as_they_say_are_named(tmp_path: Path) -> None:
    labels = struct.pack(">IIBBB", 0x801, 4, 0, 1, 2)
    pictures = struct.pack(">IIII", 0x803, 2, 1, 1) + b"\0\0"
    (tmp_path / "train-labels-idx1-ubyte").write_bytes(labels)
    (tmp_path / "train-images-idx3-ubyte").write_bytes(pictures)
    (tmp_path / "t10k-labels-idx1-ubyte.gz").write_bytes(gzip.compress(b"\1\2\3\4\5"))
    notes = dict(n.split(": ") for _, n in found(seen(tmp_path, "media.idx")))
    assert notes == {
        "train-labels-idx1-ubyte": "it declares 4 values and holds 3",
        "train-images-idx3-ubyte": "it has 2 pictures for 4 labels",
        "t10k-labels-idx1-ubyte.gz": "its header is no IDX header",
    }


# --- COCO --------------------------------------------------------------------------------------


def coco(folder: Path, **changes: Any) -> None:
    for number in (1, 2):
        (folder / f"{number}.png").write_bytes(encoded(photo(number, 160, 120), "PNG"))
    document: dict[str, Any] = {
        "images": [{"id": n, "file_name": f"{n}.png", "width": 160, "height": 120} for n in (1, 2)],
        "categories": [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}],
        "annotations": [
            {"id": n, "image_id": 1 + n % 2, "category_id": 1 + n % 2, "iscrowd": 0,
             "bbox": [10.0, 10.0, 40.0, 30.0], "area": 1200,
             "segmentation": [[10, 10, 50, 10, 50, 40, 10, 40]]}
            for n in range(6)
        ],
    }  # fmt: skip
    document.update(changes)
    (folder / "instances.json").write_text(json.dumps(document))


def test_true_annotations_have_no_findings(tmp_path: Path) -> None:
    coco(tmp_path)
    result = seen(tmp_path, "media.coco")
    assert not result.findings
    assert value(result, "tc609:0203") == 1.0
    assert value(result, "iso5259:Bal-ML-3") == 0
    (evidence,) = result.evidence["files"]
    assert [c["count"] for c in evidence["categories"]["listed"]] == [3, 3]


def test_every_fault_of_annotations_is_named_with_its_count(tmp_path: Path) -> None:
    box = {"bbox": [10, 10, 40, 30], "area": 1200}
    coco(
        tmp_path,
        images=[
            {"id": 1, "file_name": "1.png", "width": 160, "height": 120},
            {"id": 2, "file_name": "2.png", "width": 999, "height": 120},
            {"id": 3, "file_name": "gone.png", "width": 9, "height": 9},
            {"id": 3, "file_name": "1.png", "width": 160, "height": 120},
        ],
        annotations=[
            {"id": 1, "image_id": 1, "category_id": 1, **box},
            {"id": 1, "image_id": 1, "category_id": 1, **box},
            {"id": 3, "image_id": 77, "category_id": 1, **box},
            {"id": 4, "image_id": 1, "category_id": 9, **box},
            {"id": 5, "image_id": 1, "category_id": 1, "bbox": [100, 10, 90, 30], "area": 2700},
            {"id": 6, "image_id": 1, "category_id": 1, "bbox": [-9, 10, 20, 30], "area": 600},
            {"id": 7, "image_id": 1, "category_id": 1, "bbox": [1, 1, 0, 30], "area": 0},
            {"id": 8, "image_id": 1, "category_id": 2, "bbox": [1, 1, 9, 9], "area": 9000},
        ],
    )
    result = seen(tmp_path, "media.coco")
    (evidence,) = result.evidence["files"]
    assert evidence["problems"] == {
        "coco-area": 1, "coco-box": 3, "coco-category": 1, "coco-id": 2, "coco-orphan": 1,
        "coco-picture": 2,
    }  # fmt: skip
    assert evidence["faulty"] == 7
    assert value(result, "tc609:0203") == 1 / 8
    assert bilingual(result.findings)


def test_real_results_in_the_form_of_coco_are_read(testdata: Path) -> None:
    result = seen(testdata / "ai" / "coco", "media.coco")
    counts = {f["file"].split("/")[-1][:9]: f["annotations"] for f in result.evidence["files"]}
    assert counts["instances"] == 734
    assert counts["captions_"] == 1000
    assert len(counts) == 3
    assert not result.findings


def test_annotations_that_break_off_or_are_of_any_type_are_findings(tmp_path: Path) -> None:
    coco(tmp_path)
    text = (tmp_path / "instances.json").read_text()
    (tmp_path / "instances.json").write_text(text[:-60])
    assert "coco-broken" in kinds(seen(tmp_path, "media.coco"))
    odd = [None, 7, "x", [], {}, {"id": "a", "image_id": {}, "bbox": "no", "area": 1e999},
           {"bbox": [1, 2, None, True], "segmentation": [["a"]], "score": []}]  # fmt: skip
    coco(tmp_path, annotations=odd, images=[*odd, {"id": 1e40}], categories=odd)
    seen(tmp_path, "media.coco")


# --- references of records ---------------------------------------------------------------------


def evidence_of(report: Report, name: str) -> Any:
    (run,) = [c for c in report.checks if c.name == name]
    return run.evidence


def test_real_records_with_media_name_files_that_are_there(testdata: Path) -> None:
    report = validate(testdata / "ai" / "llama-factory", checks=["media.references"])
    evidence = evidence_of(report, "media.references")
    assert evidence["media"] == 11
    assert evidence["unused"] == 0
    files = {e["resource"]: e["files"] for e in evidence["resources"]}
    assert all(not f["missing"] and not f["outside"] for f in files.values())
    assert sum(f["found"] for f in files.values()) == 14


def test_missing_and_unused_media_are_named_by_row_and_count(tmp_path: Path) -> None:
    (tmp_path / "img").mkdir()
    for name in ("a.jpg", "b.jpg", "idle.jpg"):
        (tmp_path / "img" / name).write_bytes(encoded(photo(1), "JPEG"))
    records = [
        {"instruction": "what?", "output": "a cat", "images": ["img/a.jpg", "img/b.jpg"]},
        {"instruction": "what?", "output": "a dog", "images": ["img/gone.jpg"]},
        {"instruction": "what?", "output": "a cow", "images": ["/photos/x.jpg"]},
        {"instruction": "what?", "output": "a fox", "images": ["https://example.org/x.jpg"]},
    ]
    lines = "".join(json.dumps(r) + "\n" for r in records)
    (tmp_path / "train.jsonl").write_text(lines)
    report = validate(tmp_path, checks=["media.references"])
    (task,) = report.tasks
    assert [(e.type, e.row_number) for e in task.errors] == [
        ("reference-missing", 3), ("reference-missing", 4),
    ]  # fmt: skip
    assert [f.type for f in task.findings] == ["reference-unused"]
    assert {m.id: m.value for m in report.metrics} == {
        "own:references_found": 0.5, "own:media_used": 2 / 3,
    }  # fmt: skip
    assert "/photos" not in json.dumps(report.as_json())


def test_a_table_that_names_pictures_which_nobody_sells_gets_one_warning(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id,photo\n" + "".join(f"{n},p{n}.jpg\n" for n in range(50)))
    report = validate(tmp_path, checks=["media.references"])
    (task,) = report.tasks
    assert report.valid
    assert [f.note for f in task.findings] == [
        "50 media files are named and none is part of the data"
    ]


# --- the whole way -----------------------------------------------------------------------------


def test_one_and_two_workers_give_the_same_report(tmp_path: Path) -> None:
    for number in range(70):
        (tmp_path / f"{number:03d}.wav").write_bytes(wav(zeros(200 + number)))
    (tmp_path / "a.png").write_bytes(encoded(photo(1), "PNG"))
    (tmp_path / "b.mp4").write_bytes(mp4())
    (tmp_path / "c.tar").write_bytes(tar(sample(1, "jpg", "cls")))
    names = ["media.files", "media.images", "media.audio", "media.video", "media.webdataset"]
    one, two = (validate(tmp_path, checks=names, workers=w).timeless() for w in (1, 2))
    assert one == two
    assert one["checks"][0]["coverage"] == {"rows_seen": 75, "rows_total": 75}


def test_a_report_on_a_folder_of_media_is_bound_to_their_bytes(tmp_path: Path) -> None:
    def target() -> str:
        return validate(tmp_path, checks=["media.files"]).target

    (tmp_path / "a.wav").write_bytes(wav(zeros(100)))
    first = target()
    assert first.startswith("sha256:")
    assert target() == first
    (tmp_path / "a.wav").write_bytes(wav(zeros(101)))
    assert target() != first


def test_any_cut_of_the_files_gives_the_same_conclusions(tmp_path: Path) -> None:
    coco(tmp_path)
    for number in range(4):
        (tmp_path / f"s{number}.tar").write_bytes(tar(sample(number // 2, "jpg", "cls")))
    (tmp_path / "x-labels-idx1-ubyte").write_bytes(struct.pack(">II", 0x801, 1) + b"\1")
    package = files_of(tmp_path)
    for name in ("media.files", "media.coco", "media.webdataset", "media.idx"):
        whole = repr(looked(tmp_path, name).conclusions[0])
        for cuts in ([2], [1, 3, 5], list(range(1, len(package.sizes)))):
            assert repr(in_parts(package, name, cuts)) == whole
