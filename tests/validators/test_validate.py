"""What `validate` promises on real corpora and on hostile input."""

from __future__ import annotations

import gzip
import json
import os
import zipfile
from pathlib import Path
from typing import Any

import pytest

from yaosu_schemas.errors import InvalidInput, NotFound, Unsupported
from yaosu_schemas.report import Report
from yaosu_validators import validate


def types(report: Report) -> list[str]:
    return [e.type for e in (*report.errors, *(e for t in report.tasks for e in t.errors))]


def rows(report: Report) -> list[int | None]:
    return [t.stats.rows for t in report.tasks]


def package(folder: Path, *resources: dict[str, Any], **more: Any) -> Path:
    descriptor = {"name": "p", "resources": list(resources), **more}
    (folder / "datapackage.json").write_text(json.dumps(descriptor), encoding="utf-8")
    return folder


# --- corpora -----------------------------------------------------------------------------------


def test_an_instruction_corpus_is_read_as_records(testdata: Path) -> None:
    report = validate(testdata / "ai/llama-factory/data/alpaca_zh_demo.json")
    assert report.valid
    assert rows(report) == [1000]
    assert report.tasks[0].labels == ("instruction", "input", "output")


def test_json_lines_under_a_json_name_are_read_and_said(testdata: Path) -> None:
    path = next((testdata / "ai/data-juicer").rglob("demo-dataset.json"))
    report = validate(path)
    assert report.valid
    assert (report.tasks[0].stats.rows or 0) > 1
    assert "JSON Lines" in report.tasks[0].warnings[0]


def test_a_benchmark_in_json_lines_is_read(testdata: Path) -> None:
    report = validate(testdata / "ai/gsm8k/grade_school_math/data/train.jsonl")
    assert report.valid
    assert rows(report) == [7473]


def test_compressed_pairs_are_read_and_a_pointer_is_named_as_one(testdata: Path) -> None:
    assert rows(validate(testdata / "ai/hh-rlhf/harmless-base/test.jsonl.gz")) == [2312]
    report = validate(testdata / "ai/hh-rlhf/helpful-base/test.jsonl.gz")
    assert not report.valid
    assert types(report) == ["lfs-pointer"]
    assert rows(report) == [None]
    assert "git lfs pull" in report.tasks[0].errors[0].message_zh


def test_parquet_with_lists_is_read(testdata: Path) -> None:
    folder = testdata / "ai/lerobot-g1/data/chunk-000"
    report = validate(folder)
    assert report.valid
    assert rows(report) == [479, 393, 343, 459]


# --- targets -----------------------------------------------------------------------------------


def test_a_target_that_is_not_there_is_no_verdict(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        validate(tmp_path / "absent.csv")
    with pytest.raises(Unsupported):
        validate("https://example.org/data.csv")
    with pytest.raises(InvalidInput):
        validate(tmp_path, kind="nothing")
    with pytest.raises(InvalidInput, match=r"did you mean 'corpus\.language'\?"):
        validate(tmp_path, checks=["corpus.langage"])


def test_an_archive_is_looked_into(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "p.zip", "w") as archive:
        descriptor = {"name": "p", "resources": [{"name": "a", "path": "a.csv"}]}
        archive.writestr("p/datapackage.json", json.dumps(descriptor))
        archive.writestr("p/a.csv", "id,name\n1\n")
    report = validate(tmp_path / "p.zip")
    assert types(report) == ["missing-cell"]


def test_a_remote_resource_is_a_finding_and_never_fetched(tmp_path: Path) -> None:
    package(tmp_path, {"name": "a", "path": "http://127.0.0.1:9/a.csv"})
    report = validate(tmp_path)
    assert types(report) == ["scheme-error"]


@pytest.mark.parametrize(
    "path", ["../a.csv", "/etc/passwd", ".hidden/a.csv", "a\u0000.csv", "a\\b.csv", "~/a.csv"]
)
def test_a_path_that_leaves_the_folder_is_refused(tmp_path: Path, path: str) -> None:
    package(tmp_path, {"name": "a", "path": path})
    report = validate(tmp_path)
    assert not report.valid
    assert set(types(report)) <= {"resource-error", "scheme-error", "unsafe-path"}


def test_a_link_is_never_followed(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    (tmp_path / "secret.csv").write_text("a\n1\n", encoding="utf-8")
    os.symlink(tmp_path / "secret.csv", tmp_path / "in" / "a.csv")
    package(tmp_path / "in", {"name": "a", "path": "a.csv"})
    assert types(validate(tmp_path / "in")) == ["unsafe-path"]


def test_a_pipe_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.csv")
    package(tmp_path, {"name": "a", "path": "a.csv"})
    assert types(validate(tmp_path)) == ["scheme-error"]


# --- what poses as data ------------------------------------------------------------------------


def test_what_poses_as_data_is_named(tmp_path: Path) -> None:
    (tmp_path / "page.csv").write_bytes(b"<!DOCTYPE html><html><body>404</body></html>")
    assert types(validate(tmp_path / "page.csv")) == ["html-page"]
    (tmp_path / "cut.csv.gz").write_bytes(gzip.compress(b"a,b\n1,2\n" * 9999)[:-9])
    assert types(validate(tmp_path / "cut.csv.gz")) == ["compression-error"]
    (tmp_path / "plain.csv.gz").write_bytes(b"a,b\n1,2\n")
    assert types(validate(tmp_path / "plain.csv.gz")) == ["compression-error"]
    (tmp_path / "gz.json").write_bytes(gzip.compress(b"[]"))
    assert types(validate(tmp_path / "gz.json")) == ["format-mismatch"]


def test_an_encrypted_archive_is_named(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "a.csv.zip", "w") as archive:
        archive.writestr("a.csv", "a\n1\n")
    data = bytearray((tmp_path / "a.csv.zip").read_bytes())
    data[6] |= 1
    at = data.index(b"PK\x01\x02")
    data[at + 8] |= 1
    (tmp_path / "a.csv.zip").write_bytes(bytes(data))
    assert types(validate(tmp_path / "a.csv.zip")) == ["encrypted-archive"]


# --- the report --------------------------------------------------------------------------------


def test_the_same_input_gives_the_same_report_but_for_the_clock(testdata: Path) -> None:
    folder = testdata / "frictionless/datasets/co2-ppm"
    assert validate(folder).digest() == validate(folder).digest()


def test_the_report_never_shows_where_the_files_lie(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id\nx\n", encoding="utf-8")
    package(tmp_path, {"name": "a", "path": "missing.csv"}, {"name": "b", "path": "a.csv"})
    assert str(tmp_path) not in json.dumps(validate(tmp_path).as_json())


def test_promised_hash_and_size_are_compared(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id\n1\n", encoding="utf-8")
    package(tmp_path, {"name": "a", "path": "a.csv", "hash": "sha256:" + "0" * 64, "bytes": 7})
    assert types(validate(tmp_path)) == ["hash-count", "byte-count"]


def test_the_limit_of_errors_is_said_and_kept(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id,b\n" + "1\n" * 50, encoding="utf-8")
    report = validate(tmp_path / "a.csv", limit_errors=7)
    assert report.error_count == 7
    assert rows(report) == [7]
    assert "error limit: 7" in report.tasks[0].warnings[0]
    assert report.checks[0].rows_total is None


def test_every_finding_speaks_both_languages(testdata: Path) -> None:
    report = validate(testdata / "frictionless/frictionless-py/data/invalid.csv")
    for error in report.tasks[0].errors:
        assert error.message.isascii()
        assert any("\u4e00" <= c <= "\u9fff" for c in error.message_zh)
