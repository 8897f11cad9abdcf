"""A catalog as a folder of Data Packages: what is read, what is refused, what is written."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from yaosu_connectors import Record, Skipped, local
from yaosu_connectors.folder import FolderCatalog
from yaosu_schemas.errors import Malformed, UnsafePath, YaosuError

Make = Callable[..., Path]


def harvest(root: Path) -> list[Record | Skipped]:
    return list(FolderCatalog().harvest(str(root)))


def write(path: Path, document: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document), "utf-8")
    return path


def only(root: Path) -> Record:
    (found,) = harvest(root)
    assert isinstance(found, Record), found
    return found


def refused(root: Path) -> Skipped:
    (found,) = harvest(root)
    assert isinstance(found, Skipped), found
    return found


def with_path(root: Path, path: Any) -> None:
    write(root / "d" / "datapackage.json", {"name": "d", "resources": [{"path": path}]})


# --- what is read ------------------------------------------------------------------------------


def test_each_folder_with_a_descriptor_is_a_dataset(tmp_path: Path, make_package: Make) -> None:
    for place in ("a", "deep/er/b"):
        make_package(tmp_path / place, place.rsplit("/", 1)[-1])
    assert [item.origin_id for item in harvest(tmp_path)] == ["a", "deep/er/b"]


def test_the_folder_itself_may_be_the_dataset(tmp_path: Path, make_package: Make) -> None:
    make_package(tmp_path, "alone")
    assert only(tmp_path).origin_id == "."


def test_a_descriptor_may_stand_beside_its_files(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("id\n1\n")
    write(tmp_path / "any.json", {"name": "any", "resources": [{"path": "rows.csv"}]})
    write(tmp_path / "numbers.json", [1, 2, 3])
    found = only(tmp_path)
    assert found.origin_id == "any.json"
    assert set(found.files) == {"rows.csv"}


def test_a_descriptor_may_be_yaml(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    text = "name: d\ncreated: 2026-11-01\nresources: []\n"
    (tmp_path / "d" / "datapackage.yaml").write_text(text)
    assert only(tmp_path).document["created"] == "2026-11-01"


def test_a_yaml_text_that_grows_is_refused() -> None:
    text = "a: &a [x, x]\nb: [*a, *a]\n"
    with pytest.raises(Malformed):
        local.parse_yaml(text)


def test_schemas_in_files_of_their_own_come_along(tmp_path: Path) -> None:
    schema = {"fields": [{"name": "id", "type": "integer"}]}
    write(tmp_path / "d" / "schemas" / "rows.json", schema)
    (tmp_path / "d" / "rows.csv").write_text("id\n1\n")
    resource = {"name": "rows", "path": "rows.csv", "schema": "schemas/rows.json"}
    write(tmp_path / "d" / "datapackage.json", {"name": "d", "resources": [resource]})
    assert only(tmp_path).document["resources"][0]["schema"] == schema


def test_a_change_in_a_file_is_a_change_of_the_dataset(tmp_path: Path, make_package: Make) -> None:
    make_package(tmp_path / "a", "a")
    before = only(tmp_path).digest
    (tmp_path / "a" / "data" / "rows.csv").write_text("id\n2\n")
    assert only(tmp_path).digest != before


def test_a_missing_file_is_noted_and_the_dataset_comes(tmp_path: Path) -> None:
    with_path(tmp_path, "rows.csv")
    (note,) = only(tmp_path).notes
    assert (note.pointer, note.code) == ("/resources/0/path", "missing_file")


# --- what is refused ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    ["../outside.csv", "/etc/passwd", "data/../../outside.csv", ".hidden/rows.csv", "data/.rows",
     "http://127.0.0.1:9/rows.csv", "file:///etc/passwd", "s3://bucket/rows.csv", "a\\b.csv",
     "C:/rows.csv", "", "a//b.csv", "\u202erows.csv", "a\x00b", 7, ["rows.csv", None]],
)  # fmt: skip
def test_a_path_that_leaves_or_hides_is_never_opened(tmp_path: Path, path: Any) -> None:
    (tmp_path / "outside.csv").write_text("secret")
    with_path(tmp_path, path)
    found = refused(tmp_path)
    assert found.origin_id == "d"
    assert found.why.zh


@pytest.mark.parametrize("link", ["rows.csv", "data"])
def test_a_path_through_a_link_is_never_opened(tmp_path: Path, link: str) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "rows.csv").write_text("secret")
    root = tmp_path / "root"
    with_path(root, "rows.csv" if link == "rows.csv" else "data/rows.csv")
    target = outside / "rows.csv" if link == "rows.csv" else outside
    (root / "d" / link).symlink_to(target)
    found = harvest(root)
    assert [type(item) for item in found if item.origin_id == "d"] == [Skipped]


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with_path(tmp_path, "data")
    (tmp_path / "d" / "data").mkdir()
    assert "plain file" in refused(tmp_path).why.en


def test_a_remote_schema_is_never_fetched(tmp_path: Path) -> None:
    resource = {"name": "r", "data": [], "schema": "http://127.0.0.1:9/schema.json"}
    write(tmp_path / "d" / "datapackage.json", {"name": "d", "resources": [resource]})
    assert "never fetched" in refused(tmp_path).why.en


def test_two_paths_that_fold_into_one_are_refused(tmp_path: Path) -> None:
    with_path(tmp_path, ["Rows.csv", "rows.csv"])
    for name in ("Rows.csv", "rows.csv"):
        (tmp_path / "d" / name).write_text("id\n")
    assert isinstance(harvest(tmp_path)[0], Skipped)


def test_a_number_that_has_no_canonical_form_is_a_reason(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "datapackage.json").write_text('{"name": "d", "n": 1e999}')
    assert refused(tmp_path).why.en


@given(st.text(max_size=60))
def test_no_text_as_a_path_reaches_outside(tmp_path_factory: Any, path: str) -> None:
    root = tmp_path_factory.getbasetemp() / "gate"
    root.mkdir(exist_ok=True)
    try:
        found = local.plain_file(root, path)
    except YaosuError:
        return
    assert found.resolve().is_relative_to(root)


# --- what is written ---------------------------------------------------------------------------


def published(tmp_path: Path, make: Make) -> tuple[Record, Path]:
    make(tmp_path / "in" / "a", "a")
    record = only(tmp_path / "in")
    FolderCatalog().publish([record], str(tmp_path / "out"))
    return record, tmp_path / "out"


def test_files_and_descriptor_are_written_byte_for_byte(tmp_path: Path, make_package: Make) -> None:
    _, out = published(tmp_path, make_package)
    assert (out / "a" / "data" / "rows.csv").read_bytes() == b"id\n1\n"
    assert {p.name for p in out.iterdir()} == {"a", "catalog.json"}


def test_a_dataset_of_the_same_name_gets_a_folder_of_its_own(
    tmp_path: Path, make_package: Make
) -> None:
    for place in ("x", "y"):
        make_package(tmp_path / "in" / place, "same")
    found = [item for item in harvest(tmp_path / "in") if isinstance(item, Record)]
    FolderCatalog().publish(found, str(tmp_path / "out"))
    again = harvest(tmp_path / "out")
    assert sorted(item.origin_id for item in again) == ["x", "y"]


def test_a_folder_of_somebody_else_is_left_alone(tmp_path: Path, make_package: Make) -> None:
    (tmp_path / "out" / "a").mkdir(parents=True)
    (tmp_path / "out" / "a" / "mine.txt").write_text("mine")
    published(tmp_path, make_package)
    assert [p.name for p in (tmp_path / "out" / "a").iterdir()] == ["mine.txt"]


def test_a_record_whose_file_would_land_outside_is_skipped(tmp_path: Path) -> None:
    secret = tmp_path / "rows.csv"
    secret.write_text("id\n")
    document = {"name": "a", "resources": [{"path": "../x.csv"}]}
    record = Record(
        origin_id="a", kind="dataset", document=document, digest="d", files={"../x.csv": secret}
    )
    report = FolderCatalog().publish([record], str(tmp_path / "out"))
    assert [origin for origin, _ in report.skipped] == ["a"]
    assert list((tmp_path / "out").iterdir()) == []
    assert not (tmp_path / "x.csv").exists()


def test_a_name_cannot_choose_a_folder_outside(tmp_path: Path) -> None:
    record = Record(
        origin_id="a", kind="dataset", document={"name": "../../../up"}, digest="sha256:1"
    )
    FolderCatalog().publish([record], str(tmp_path / "out"))
    assert [p.name for p in tmp_path.iterdir()] == ["out"]


def test_an_index_that_was_tampered_with_removes_nothing_outside(
    tmp_path: Path, make_package: Make
) -> None:
    _, out = published(tmp_path, make_package)
    (tmp_path / "precious").mkdir()
    (out / "link").symlink_to(tmp_path / "precious")
    entries = [
        {"origin_id": name, "folder": name, "digest": "sha256:1"}
        for name in ("../precious", "link", ".", "")
    ]
    write(out / "catalog.json", {"datasets": entries})
    FolderCatalog().publish([], str(out), prune=True)
    assert (tmp_path / "precious").is_dir()
    assert (out / "a").is_dir()


def test_a_write_that_breaks_off_leaves_the_older_dataset(
    tmp_path: Path, make_package: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    _, out = published(tmp_path, make_package)
    (tmp_path / "in" / "a" / "data" / "rows.csv").write_text("id\n2\n")
    newer = only(tmp_path / "in")

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", full)
    with pytest.raises(YaosuError) as caught:
        FolderCatalog().publish([newer], str(out))
    assert caught.value.code == "no_space"
    assert (out / "a" / "data" / "rows.csv").read_bytes() == b"id\n1\n"
    assert {p.name for p in out.iterdir()} == {"a", "catalog.json"}


def test_what_is_delivered_answers_for_its_digest(tmp_path: Path, make_package: Make) -> None:
    make_package(tmp_path / "in" / "a", "a")
    record = only(tmp_path / "in")
    (file,) = FolderCatalog().deliver(record, str(tmp_path / "out"))
    size, digest = local.file_digest(tmp_path / "out" / "data" / "rows.csv")
    assert (file.path, file.bytes, file.hash) == ("data/rows.csv", size, digest)


def test_a_delivery_never_leaves_its_folder(tmp_path: Path, make_package: Make) -> None:
    make_package(tmp_path / "in" / "a", "a")
    record = only(tmp_path / "in")
    (tmp_path / "out").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "out" / "data").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UnsafePath):
        list(FolderCatalog().deliver(record, str(tmp_path / "out")))
    assert list((tmp_path / "elsewhere").iterdir()) == []


# --- real input --------------------------------------------------------------------------------


def test_published_datasets_of_others_go_round(testdata: Path, tmp_path: Path) -> None:
    root = testdata / "frictionless" / "datasets"
    found = [item for item in harvest(root) if isinstance(item, Record)]
    assert {"gdp", "country-codes", "co2-ppm"} <= {record.origin_id for record in found}
    FolderCatalog().publish(found, str(tmp_path))
    again = harvest(tmp_path)
    assert {r.origin_id: r.digest for r in again if isinstance(r, Record)} == {
        r.origin_id: r.digest for r in found
    }
