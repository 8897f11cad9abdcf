"""The data dictionary and the sources are what the schemas and code lists say today."""

from __future__ import annotations

from pathlib import Path

import pytest

from yaosu_schemas import codes, dictionary
from yaosu_schemas.conformance import load, schema_names

ROOT = Path(__file__).resolve().parents[2]
HINT = "run: python -m yaosu_schemas.dictionary"


def test_the_dictionary_is_fresh() -> None:
    written = (ROOT / "docs" / "dictionary.md").read_text("utf-8")
    assert written == dictionary.dictionary(), HINT


def test_the_sources_are_fresh() -> None:
    written = (ROOT / "schemas" / "SOURCES.md").read_text("utf-8")
    assert written == dictionary.sources(), HINT


def test_every_schema_and_every_list_is_in_them() -> None:
    text = dictionary.dictionary()
    assert set(dictionary.SCHEMAS) == set(schema_names())
    for name in schema_names():
        assert f"(`{name}`)" in text
    for name in codes.names():
        assert f"### {name}\n" in text
        assert f"| `{name}` |" in dictionary.sources()


@pytest.mark.parametrize("name", schema_names())
def test_every_field_is_a_row(name: str) -> None:
    text = dictionary.dictionary()
    for path, node in dictionary.fields(load(name)):
        assert f"`{path}`" in text
        assert node["title_zh"] in text
