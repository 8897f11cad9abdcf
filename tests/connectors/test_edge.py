"""What strangers write: naughty strings everywhere, JSON that must and must not parse."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from yaosu_connectors import Record, Skipped, local
from yaosu_connectors.folder import FolderCatalog
from yaosu_connectors.records import BilingualRecords
from yaosu_schemas.errors import Malformed


@pytest.fixture(scope="session")
def naughty(testdata: Path) -> list[str]:
    words: list[str] = json.loads((testdata / "edge" / "blns" / "blns.json").read_text("utf-8"))
    assert len(words) > 400
    return words


def test_naughty_words_in_a_descriptor_go_round_or_are_refused(
    naughty: list[str], tmp_path: Path
) -> None:
    records = [
        Record(
            origin_id=f"n{i}",
            kind="dataset",
            document={"name": word, "title": word, "description": word, "keywords": [word]},
            digest=f"sha256:{i}",
        )
        for i, word in enumerate(naughty)
    ]
    report = FolderCatalog().publish(records, str(tmp_path / "out"))
    assert len(report.added) == len(naughty)
    found = [r for r in FolderCatalog().harvest(str(tmp_path / "out")) if isinstance(r, Record)]
    assert {r.origin_id: dict(r.document) for r in found} == {
        r.origin_id: dict(r.document) for r in records
    }
    assert {p.name for p in tmp_path.iterdir()} == {"out"}


def test_naughty_words_as_a_path_never_leave_the_folder(naughty: list[str], tmp_path: Path) -> None:
    for i, word in enumerate(naughty):
        folder = tmp_path / "in" / f"n{i}"
        folder.mkdir(parents=True)
        document = {"name": "n", "resources": [{"name": "r", "path": word}]}
        (folder / "datapackage.json").write_text(json.dumps(document), "utf-8")
    for item in FolderCatalog().harvest(str(tmp_path / "in")):
        if isinstance(item, Record):
            assert item.files == {}
            assert [note.code for note in item.notes] == ["missing_file"]
        else:
            assert item.why.en
            assert item.why.zh


def test_naughty_words_in_a_record_become_a_draft_or_a_reason(
    naughty: list[str], tmp_path: Path, make_record: Callable[[str], dict[str, Any]]
) -> None:
    for i, word in enumerate(naughty):
        said = make_record(f"n{i}")
        said["name"]["zh"] = said["description"]["en"] = word
        said["tags"] = [word]
        (tmp_path / f"n{i}.json").write_text(json.dumps(said), "utf-8")
    found = list(BilingualRecords().harvest(str(tmp_path)))
    assert len(found) == len(naughty)
    assert sum(isinstance(item, Record) for item in found) > len(naughty) * 0.9
    assert all(item.why.zh for item in found if isinstance(item, Skipped))


def test_json_that_must_parse_does_and_json_that_must_not_does_not(
    testdata: Path,
) -> None:
    cases = sorted((testdata / "edge" / "json-parsing" / "test_parsing").glob("[yn]_*.json"))
    assert len(cases) > 150
    wrong = []
    for case in cases:
        try:
            local.read_document(case)
            parsed = True
        except Malformed:
            parsed = False
        # A key twice is allowed by the grammar and refused here: which one would be meant?
        if parsed != case.name.startswith("y_") and "duplicated_key" not in case.name:
            wrong.append(case.name)
    assert wrong == []
