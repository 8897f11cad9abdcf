"""The first records of a resource: JSON-able, cut with a mark, and never from elsewhere."""

from __future__ import annotations

import datetime
import decimal
import gzip
import json
import struct
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from yaosu_schemas.errors import NotFound
from yaosu_validators.preview import cell, preview
from yaosu_validators.sandbox import run_in_sandbox


def shown(target: Path, **more: Any) -> dict[str, Any]:
    said = preview(target, **more).as_json()
    json.dumps(said, allow_nan=False)
    return said


def test_a_table_shows_its_first_rows_and_says_there_are_more(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id,name\n" + "".join(f"{n},n{n}\n" for n in range(100)))
    said = shown(tmp_path / "a.csv", rows=3)
    assert said["rows"] == [{"id": str(n), "name": f"n{n}"} for n in range(3)]
    assert said["truncated"]
    assert [f["name"] for f in said["fields"]] == ["id", "name"]


def test_types_and_titles_come_from_the_descriptor(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id;x\n1;2\n")
    fields = [{"name": "id", "type": "integer", "title": "编号"}, {"name": "x", "type": "any"}]
    resource = {
        "name": "t", "path": "a.csv", "rows": 1, "dialect": {"delimiter": ";"},
        "schema": {"fields": fields},
    }  # fmt: skip
    (tmp_path / "datapackage.json").write_text(json.dumps({"resources": [resource]}))
    for target in (tmp_path, tmp_path / "datapackage.json"):
        said = shown(target, resource="t")
        assert said["fields"] == fields
        assert (said["rows"], said["total"]) == ([{"id": "1", "x": "2"}], 1)
    assert shown(tmp_path, resource=resource)["fields"] == fields


def test_long_texts_are_cut_with_a_visible_mark(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text(json.dumps({"t": "x" * 500, "l": list(range(99))}) + "\n")
    row = shown(tmp_path / "a.jsonl", cut=100)["rows"][0]
    assert row["t"] == "x" * 100 + "… (+400)"
    assert row["l"][-1] == "… (+79)"


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (float("nan"), "nan"),
        (b"\x89PNG\r\n\x1a\n" + b"0" * 92, "<image/png, 100 bytes>"),
        (b"\0\1", "<binary, 2 bytes>"),
        (datetime.datetime(2026, 1, 2, 3, tzinfo=datetime.UTC), "2026-01-02T03:00:00+00:00"),
        (decimal.Decimal("1.20"), "1.20"),
        (True, True),
        ({"a": {"b": [1, None]}}, {"a": {"b": [1, None]}}),
    ],
)
def test_every_value_becomes_json(value: object, expected: object) -> None:
    assert cell(value) == expected


def test_deep_values_are_cut(tmp_path: Path) -> None:
    value: Any = "x"
    for _ in range(50):
        value = [value]
    assert json.dumps(cell(value)).count("[") < 10


def test_typed_columns_are_shown_as_they_are(tmp_path: Path) -> None:
    table = pa.table(
        {
            "t": pa.array([1], pa.timestamp("ns")),
            "b": [b"\xff\xd8\xff\xe0rest"],
            "s": [{"k": [1.5]}],
        }
    )
    pq.write_table(table, tmp_path / "a.parquet")
    said = shown(tmp_path / "a.parquet")
    assert said["rows"][0]["b"] == "<image/jpeg, 8 bytes>"
    assert said["rows"][0]["s"] == {"k": [1.5]}
    assert said["rows"][0]["t"].startswith("1970-01-01")


def test_media_show_their_measures(tmp_path: Path) -> None:
    head = b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sII", 13, b"IHDR", 40, 30) + b"\x08\0\0\0\0" * 2
    for name in ("1.png", "2.png"):
        (tmp_path / name).write_bytes(head)
    said = shown(tmp_path, resource={"name": "m", "path": ["1.png", "2.png"]})
    assert [(r["path"], r["width"], r["height"]) for r in said["rows"]] == [
        ("1.png", 40, 30),
        ("2.png", 40, 30),
    ]


def test_shards_are_read_one_after_the_other(tmp_path: Path) -> None:
    for n in range(3):
        (tmp_path / f"{n}.jsonl.gz").write_bytes(gzip.compress(b'{"n": %d}\n' % n))
    paths = [f"{n}.jsonl.gz" for n in range(3)]
    said = shown(tmp_path, resource={"name": "m", "path": paths}, rows=2)
    assert said["rows"] == [{"n": 0}, {"n": 1}]
    assert said["truncated"]


@pytest.mark.parametrize(
    "path", ["../secret.csv", "/etc/passwd", "link.csv", "sub/a.csv", ".h.csv"]
)
def test_nothing_outside_the_folder_is_shown(tmp_path: Path, path: str) -> None:
    (tmp_path / "secret.csv").write_text("key\n1\n")
    folder = tmp_path / "data"
    folder.mkdir()
    (folder / "link.csv").symlink_to(tmp_path / "secret.csv")
    (folder / "sub").symlink_to(tmp_path)
    (folder / ".h.csv").write_text("a\n1\n")
    said = shown(folder, resource={"name": "x", "path": path})
    assert said["rows"] == []
    assert said["error"]["type"] in ("unsafe_path", "not_found")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.jsonl.gz", b"version https://git-lfs.github.com/spec/v1\n"),
        ("a.parquet", b"PAR1xxxx"),
        ("a.json", b"[1, 2"),
        ("a.json", b"[" * 100_000),
        ("a.gz", gzip.compress(b"x" * 1000, mtime=0)[:20]),
        ("a.arrow", b"ARROW1\0\0junk"),
        ("a.tar", b"\0" * 257 + b"ustar" + b"\xff" * 300),
    ],
)
def test_what_cannot_be_read_says_why(tmp_path: Path, name: str, content: bytes) -> None:
    (tmp_path / name).write_bytes(content)
    said = shown(tmp_path / name)
    if "error" in said:
        assert said["error"]["message"]
        assert said["error"]["message_zh"]
    else:
        assert name == "a.tar"


def test_it_runs_in_the_sandbox(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("城市,人口\n广州,1881\n")
    said = run_in_sandbox("preview", target=tmp_path, args={"resource": "a.csv", "rows": 5})
    assert said["rows"] == [{"城市": "广州", "人口": "1881"}]
    with pytest.raises(NotFound):
        run_in_sandbox("preview", target=tmp_path, args={"resource": "none"})
