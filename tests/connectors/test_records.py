"""Bilingual records become drafts: what carries over, what stays open, what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from yaosu_connectors import Record, Skipped
from yaosu_connectors.records import FREQUENCY, SCOPE, BilingualRecords, _domains, draft
from yaosu_schemas.codes import code_list
from yaosu_schemas.documents import descriptor_problems

Make = Callable[[str], dict[str, Any]]


def test_both_languages_can_be_found(make_record: Make) -> None:
    document, _ = draft(make_record("cn-register"))
    assert document["title"] == "登记 cn-register · Register cn-register"
    for words in ("一个登记册。", "A register.", "表格", "Tables"):
        assert words in document["description"]
    assert document["keywords"] == ["统计", "register", "finance", "law"]


def test_publisher_places_and_codes_carry_over(make_record: Make) -> None:
    document, notes = draft(make_record("cn-register"))
    assert document["homepage"] == "https://example.org/"
    assert [source["path"] for source in document["sources"]] == ["https://example.org/data"]
    assert document["contributors"][0]["roles"] == ["publisher"]
    assert document["dataElement"] == {
        "holder": {"name": "登记 cn-register"},
        "industry": {"gbt4754": "J", "dex12": ["finance"], "hq_field": ["finance"]},
        "coverage": {"spatial_level": "national"},
        "update_frequency": "yearly",
    }
    assert notes == []


def test_a_draft_claims_no_files_and_no_licence(make_record: Make) -> None:
    document, _ = draft(make_record("a"))
    assert not {"resources", "licenses"} & set(document)


def test_a_draft_is_told_what_is_missing_and_breaks_nothing(make_record: Make) -> None:
    document, _ = draft(make_record("a"))
    severities = {problem.severity for problem in descriptor_problems(document, stage="draft")}
    assert "missing" in severities
    assert "error" not in severities


@pytest.mark.parametrize(
    ("field", "value"),
    [("update_frequency", "quarterly"), ("geographic_scope", "subnational"), ("colour", "red")],
)
def test_what_has_no_word_of_ours_is_noted(make_record: Make, field: str, value: str) -> None:
    _, notes = draft({**make_record("a"), field: value})
    assert [(note.pointer, note.severity) for note in notes] == [(f"/{field}", "warning")]


@pytest.mark.parametrize(
    ("field", "value"),
    [("id", None), ("id", 7), ("name", "text"), ("name", {}), ("description", {"fr": "x"}),
     ("tags", "a"), ("tags", [1]), ("domains", {}), ("website", ["x"]), ("data_content", [1]),
     ("data_content", {"en": "x"}), ("name", {"en": "a\u202eb"}), ("name", {"zh": "\x00"})],
)  # fmt: skip
def test_a_record_of_another_shape_is_skipped(
    tmp_path: Path, make_record: Make, field: str, value: Any
) -> None:
    (tmp_path / "a.json").write_text(json.dumps({**make_record("a"), field: value}), "utf-8")
    (found,) = BilingualRecords().harvest(str(tmp_path))
    assert isinstance(found, Skipped)
    assert field in found.why.en
    assert field in found.why.zh


def test_every_code_of_the_crosswalk_exists() -> None:
    lists = {"gbt4754": "industry", "dex12": "dex12", "hq_field": "hq_field"}
    for row in _domains().values():
        for column, name in lists.items():
            assert not row[column] or row[column] in code_list(name), row
    assert all(code in code_list("update_frequency") for code in FREQUENCY.values())
    assert all(code in code_list("spatial_level") for code in SCOPE.values())


def test_all_records_of_a_real_catalog_become_drafts(testdata: Path) -> None:
    root = testdata / "china" / "firstdata" / "firstdata" / "sources"
    found = list(BilingualRecords().harvest(str(root)))
    assert len(found) == 161
    assert all(isinstance(item, Record) for item in found)
    assert len({item.origin_id for item in found}) == 161
    documents = [item.document for item in found if isinstance(item, Record)]
    assert all(" · " in document["title"] for document in documents)
    assert all(document["dataElement"]["industry"]["gbt4754"] for document in documents)
    for document in documents:
        assert not [p for p in descriptor_problems(document) if p.severity == "error"]
