"""Pictures inside of Parquet files are decoded and compared like files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mediafiles import bilingual, encoded, found, in_parts, kinds, photo, seen, value
from yaosu_validators.filecheck import files_of

PICTURE = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
CHECK = "media.images"


def write(path: Path, values: list[Any], kind: Any = PICTURE, stated: str | None = None) -> Path:
    path.parent.mkdir(exist_ok=True)
    schema = pa.schema([("image", kind), ("label", pa.int64())])
    if stated:
        told = {"info": {"features": {"image": {"_type": stated}}}}
        schema = schema.with_metadata({"huggingface": json.dumps(told)})
    labels = list(range(len(values)))
    pq.write_table(pa.table([pa.array(values, kind), labels], schema=schema), path)
    return path


def picture(seed: int, format_: str = "PNG") -> dict[str, Any]:
    return {"bytes": encoded(photo(seed), format_), "path": f"{seed}.png"}


@pytest.mark.parametrize("stated", [None, "Image"])
def test_pictures_of_a_struct_column_are_decoded_and_twins_are_found(
    tmp_path: Path, stated: str | None
) -> None:
    rows = [picture(1), picture(2), picture(1, "JPEG"), {"bytes": None, "path": "x.png"}, None]
    rows.append({"bytes": b"\x89PNG\r\n\x1a\n broken", "path": "b.png"})
    write(tmp_path / "data.parquet", rows, stated=stated)
    told = seen(tmp_path, CHECK)
    assert value(told, "own:images_decodable") == 3 / 4
    assert value(told, "tc609:02080202") == 1 / 3
    [(type_, note)] = found(told)
    assert type_ == "picture-broken"
    assert "data.parquet!/image, row 7" in note
    assert told.evidence["clusters"]["members"] == [
        ["data.parquet!/image, row 2", "data.parquet!/image, row 4"]
    ]
    assert told.evidence["tables"] == {
        "files": 1, "broken": 0, "rows": 6, "rows_looked_at": 6, "pictures": 4, "without_bytes": 1,
        "most_rows_of_a_file": 10_000,
    }  # fmt: skip
    assert bilingual(told.findings)


@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary(), pa.list_(PICTURE)])
def test_plain_bytes_and_lists_are_pictures_too(tmp_path: Path, kind: Any) -> None:
    pictures = [picture(n) for n in range(3)]
    lists = pa.types.is_list(kind)
    values = [[p, p] if lists else p["bytes"] for p in pictures]
    write(tmp_path / "data.parquet", values, kind)
    told = seen(tmp_path, CHECK)
    assert told.evidence["decoded"] == (6 if lists else 3)


def test_more_rows_than_the_cap_are_looked_at_in_part_and_it_says_so(tmp_path: Path) -> None:
    write(tmp_path / "data.parquet", [picture(n) for n in range(40)])
    told = seen(tmp_path, CHECK, embedded=7)
    assert told.evidence["tables"]["rows"] == 40
    assert told.evidence["tables"]["rows_looked_at"] == 7
    assert told.evidence["tables"]["pictures"] == told.evidence["decoded"] == 7


def test_a_motif_in_two_splits_is_a_leak_also_beside_files(tmp_path: Path) -> None:
    write(tmp_path / "data/train-00000-of-00001.parquet", [picture(1), picture(2)])
    write(tmp_path / "data/test-00000-of-00001.parquet", [picture(1), picture(3)])
    (tmp_path / "beside.jpg").write_bytes(encoded(photo(2), "JPEG"))
    told = seen(tmp_path, CHECK)
    assert told.evidence["clusters_across_splits"] == 1
    assert told.evidence["near_duplicates"] == 2
    assert kinds(told) == {"picture-leak"}
    package = files_of(tmp_path)
    assert in_parts(package, CHECK, [1, 2]).evidence == told.evidence


def test_other_bytes_and_sounds_and_broken_tables_are_none(tmp_path: Path) -> None:
    write(tmp_path / "hashes.parquet", [bytes([n]) * 32 for n in range(9)], pa.binary())
    sounds = [{"bytes": b"RIFF\x00\x00\x00\x00WAVE", "path": "a.wav"}] * 3
    write(tmp_path / "sounds.parquet", sounds)
    write(tmp_path / "stated.parquet", sounds, stated="Audio")
    good = write(tmp_path / "broken.parquet", [picture(1)]).read_bytes()
    (tmp_path / "broken.parquet").write_bytes(good[:4] + bytes(60) + good[64:])
    (tmp_path / "cut.parquet").write_bytes(good[:-20])
    told = seen(tmp_path, CHECK)
    assert not told.metrics or told.evidence["decoded"] == 0


def test_a_picture_beyond_the_limits_is_a_finding_and_not_decoded(tmp_path: Path) -> None:
    write(tmp_path / "data.parquet", [picture(1), picture(2)])
    assert kinds(seen(tmp_path, CHECK, max_pixels=100)) == {"picture-too-large"}
    assert kinds(seen(tmp_path, CHECK, max_bytes=100)) == {"picture-too-large"}
