"""Purchased files open as tables, and what cannot be opened says why."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from yaosu import errors
from yaosu.client.dataframes import Tables, format_of, load

ROWS = [{"id": 1, "text": "一"}, {"id": 2, "text": "二"}]
CSV = "id,text\n1,一\n2,二\n"
JSONL = "".join(json.dumps(r, ensure_ascii=False) + "\n" for r in ROWS)


class Shelf:
    """Files on disk in the place of a purchase."""

    def __init__(self, folder: Path, files: dict[str, bytes]) -> None:
        self.folder = folder
        self.manifest = {"manifest_digest": "sha256:" + "0" * 64}
        self.paths = list(files)
        for path, data in files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_bytes(data)
        self.descriptor: dict[str, Any] = {
            "resources": [{"name": Path(p).name.partition(".")[0], "path": p} for p in files]
        }

    def file(self, path: str) -> Path:
        return self.folder / path


def tables(folder: Path, **files: bytes) -> Tables:
    named = {name.replace("__", "/").replace("_", "."): data for name, data in files.items()}
    return Tables(Shelf(folder, named))  # type: ignore[arg-type]


def parquet() -> bytes:
    import pyarrow as pa
    import pyarrow.parquet as pq

    sink = pa.BufferOutputStream()
    pq.write_table(pa.Table.from_pylist(ROWS), sink)
    found: bytes = sink.getvalue().to_pybytes()
    return found


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a_csv", CSV.encode()),
        ("a_csv_gz", gzip.compress(CSV.encode(), mtime=0)),
        ("a_tsv", CSV.replace(",", "\t").encode()),
        ("a_jsonl", JSONL.encode()),
        ("a_jsonl_gz", gzip.compress(JSONL.encode(), mtime=0)),
        ("a_ndjson", JSONL.encode()),
        ("a_json", json.dumps(ROWS).encode()),
        ("a_json_gz", gzip.compress(json.dumps(ROWS).encode(), mtime=0)),
        ("a_parquet", parquet()),
    ],
)
def test_a_file_of_each_format_opens_as_the_same_rows(
    tmp_path: Path, name: str, data: bytes
) -> None:
    found = tables(tmp_path, **{name: data}).dataset()
    assert found.to_table().to_pylist() == ROWS


def test_files_alike_open_as_one_dataset_and_one_of_them_by_name(tmp_path: Path) -> None:
    both = tables(tmp_path, train_jsonl=JSONL.encode(), test_jsonl=JSONL.encode())
    assert both.dataset().count_rows() == 4
    assert both.dataset("train").count_rows() == 2
    assert both.dataset("test.jsonl").count_rows() == 2


def test_what_the_package_calls_a_table_goes_before_what_ends_like_one(tmp_path: Path) -> None:
    found = tables(tmp_path, train_jsonl=JSONL.encode(), info_json=b'{"about": 1}')
    found._purchase.descriptor["resources"][0]["schema"] = {"fields": []}
    assert found.dataset().count_rows() == 2


def test_files_that_differ_ask_for_a_name(tmp_path: Path) -> None:
    other = tables(tmp_path, a_jsonl=JSONL.encode(), b_jsonl=b'{"other": 1}\n')
    with pytest.raises(errors.InvalidInput, match="name one resource of a, b"):
        other.dataset()
    mixed = tables(tmp_path, a_jsonl=JSONL.encode(), b_csv=CSV.encode())
    with pytest.raises(errors.InvalidInput, match="different formats"):
        mixed.dataset()
    with pytest.raises(errors.NotFound, match="there are: a, b"):
        mixed.dataset("c")


def test_what_is_no_table_says_how_to_get_its_file(tmp_path: Path) -> None:
    with pytest.raises(errors.Unsupported, match="files"):
        tables(tmp_path, a_png=b"x").dataset()
    with pytest.raises(errors.Unsupported, match="Purchase.file"):
        tables(tmp_path, a_png=b"x").dataset("a.png")
    with pytest.raises(errors.Unsupported, match="list of records"):
        tables(tmp_path, a_json=b'{"id": 1}').dataset()
    with pytest.raises(errors.Malformed):
        tables(tmp_path, a_json=b"[{").dataset()


def test_an_absent_library_is_named_with_the_way_to_get_it(tmp_path: Path) -> None:
    with pytest.raises(errors.Unsupported, match="pip install nonesuch"):
        load("nonesuch_library", "nonesuch")


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("a.CSV", "csv"),
        ("x/y.jsonl.zst", "json"),
        ("a.parquet.gz", None),
        ("a", None),
        (".gz", None),
    ],
)
def test_formats_are_told_by_name(path: str, kind: str | None) -> None:
    assert format_of(path) == kind
