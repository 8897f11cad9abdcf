"""What a person wrote into a description survives the next one."""

from __future__ import annotations

import copy
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from yaosu_validators.describe import Description, describe

LATER = datetime(2027, 1, 1, tzinfo=UTC)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "a.csv").write_text("id,name\n1,x\n2,y\n")
    (tmp_path / "b.jsonl").write_text('{"text": "The one and the other of it."}\n')
    return tmp_path


@pytest.fixture
def edited(folder: Path) -> dict[str, Any]:
    descriptor = copy.deepcopy(describe(folder).descriptor)
    descriptor["title"] = "人写的标题"
    descriptor["version"] = "2.1.0"
    descriptor["contributors"] = [{"title": "甲"}]
    descriptor["extra"] = {"kept": True}
    table = descriptor["resources"][0]
    table["name"] = "people"
    table["title"] = "人员"
    table["schema"]["primaryKey"] = ["id"]
    table["schema"]["fields"][0] |= {"title": "编号", "constraints": {"required": True}}
    table["schema"]["fields"][1]["type"] = "any"
    element = descriptor["dataElement"]
    element["languages"] = ["de"]
    element["scenario"] = "测试"
    element["size"]["tokens"] = 7
    element["ai"]["stage"] = ["evaluation"]
    return descriptor


def pointers(said: Description) -> set[str]:
    return {change["pointer"] for change in said.changed}


def test_an_untouched_folder_changes_nothing(folder: Path, edited: dict[str, Any]) -> None:
    said = describe(folder, edited, now=LATER)
    assert said.changed == []
    assert said.descriptor == edited


def test_measures_are_renewed_and_edits_stay(folder: Path, edited: dict[str, Any]) -> None:
    (folder / "a.csv").write_text("id,name\n1,x\n2,y\n3,z\n")
    said = describe(folder, edited, now=LATER)
    assert pointers(said) == {
        "/resources/0/bytes", "/resources/0/hash", "/resources/0/rows",
        "/dataElement/size/records", "/dataElement/size/bytes",
    }  # fmt: skip
    expected = copy.deepcopy(edited)
    for key in ("bytes", "hash", "rows"):
        expected["resources"][0][key] = said.descriptor["resources"][0][key]
    expected["dataElement"]["size"] |= {
        "records": 4,
        "bytes": said.descriptor["dataElement"]["size"]["bytes"],
    }
    assert said.descriptor == expected
    assert said.descriptor["resources"][0]["rows"] == 3
    before = next(c for c in said.changed if c["pointer"] == "/resources/0/rows")
    assert (before["before"], before["after"]) == (2, 3)


def test_the_earlier_description_is_not_touched(folder: Path, edited: dict[str, Any]) -> None:
    (folder / "a.csv").write_text("id,name\n9,x\n")
    kept = copy.deepcopy(edited)
    describe(folder, edited)
    assert edited == kept


def test_a_new_file_is_added_and_named(folder: Path, edited: dict[str, Any]) -> None:
    (folder / "people.csv").write_text("a,b\n1,2\n")
    said = describe(folder, edited)
    assert [r["name"] for r in said.descriptor["resources"]] == ["people", "b", "people-2"]
    assert "/resources/2" in pointers(said)


def test_a_renamed_file_keeps_what_was_written_about_it(
    folder: Path, edited: dict[str, Any]
) -> None:
    (folder / "a.csv").rename(folder / "members.csv")
    said = describe(folder, edited)
    table = said.descriptor["resources"][0]
    assert (table["path"], table["title"], table["name"]) == ("members.csv", "人员", "people")
    assert len(said.descriptor["resources"]) == 2


def test_a_file_that_is_gone_is_an_error_not_a_silent_loss(
    folder: Path, edited: dict[str, Any]
) -> None:
    (folder / "a.csv").unlink()
    said = describe(folder, edited)
    assert said.descriptor["resources"][0]["title"] == "人员"
    assert [p.pointer for p in said.todo if p.code == "file-missing"] == ["/resources/0/path"]


def test_new_columns_are_told_and_the_schema_stays(folder: Path, edited: dict[str, Any]) -> None:
    (folder / "a.csv").write_text("id,name,age\n1,x,3\n")
    said = describe(folder, edited)
    assert said.descriptor["resources"][0]["schema"] == edited["resources"][0]["schema"]
    told = next(p for p in said.todo if p.code == "schema-differs")
    assert "age" in told.en
    assert "age" in told.zh


def test_a_shard_that_comes_later_joins_its_table(tmp_path: Path) -> None:
    for number in (1, 2):
        (tmp_path / f"t-{number}.jsonl").write_text('{"n": 1}\n')
    first = describe(tmp_path).descriptor
    first["resources"][0]["title"] = "kept"
    (tmp_path / "t-3.jsonl").write_text('{"n": 1}\n')
    table = describe(tmp_path, first).descriptor["resources"]
    assert len(table) == 1
    assert (table[0]["title"], table[0]["rows"], len(table[0]["parts"])) == ("kept", 3, 3)


def test_a_plain_data_package_is_completed(folder: Path) -> None:
    plain = {"name": "old", "resources": [{"name": "a", "path": "a.csv"}]}
    said = describe(folder, plain)
    assert said.descriptor["name"] == "old"
    assert said.descriptor["resources"][0]["schema"]["fields"]
    assert said.descriptor["dataElement"]["size"]["records"] == 3


def test_inline_data_and_foreign_resources_are_left_alone(folder: Path) -> None:
    plain = {"name": "old", "resources": [{"name": "inline", "data": [{"a": 1}]}]}
    said = describe(folder, plain)
    assert said.descriptor["resources"][0] == {"name": "inline", "data": [{"a": 1}]}
    assert "file-missing" not in {p.code for p in said.todo}
