"""What is lost on a journey is written down where the mapping is, and CKAN loses nothing."""

from __future__ import annotations

import contextlib
import json
from dataclasses import replace
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from yaosu_connectors import ckan_package, mappings
from yaosu_connectors.published import Published
from yaosu_connectors.solr_query import read
from yaosu_schemas.errors import Malformed

DOCS = Path(__file__).resolve().parents[2] / "docs" / "connectors.md"
AT = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
TEXT = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=20).filter(
    lambda s: s.strip() == s
)


def version(descriptor: dict[str, Any]) -> Published:
    return Published(
        dataset_id="dst_0198c0de00007000800000000000abcd", publisher="office",
        publisher_name="鹏城", name=descriptor["name"], descriptor=descriptor, created_at=AT,
        updated_at=AT, listed_at=AT, base="https://market.example",
    )  # fmt: skip


def test_the_tables_are_fresh() -> None:
    written = DOCS.read_text("utf-8")
    assert written == mappings.written(written), "run: python -m yaosu_connectors.mappings"


def test_a_package_comes_back_as_the_descriptor_that_it_was() -> None:
    example = files("yaosu_schemas") / "json" / "example-dataset.json"
    said = json.loads(example.read_text("utf-8"))
    package = ckan_package.package(version(said))
    assert ckan_package.descriptor(json.loads(json.dumps(package))) == said
    again = ckan_package.package(version(ckan_package.descriptor(package)))
    assert again == package
    draft = ckan_package.package(replace(version(said), private=True))
    assert ckan_package.descriptor(draft) == said


@given(
    title=TEXT,
    words=st.lists(TEXT, min_size=1, max_size=4),
    extra=st.dictionaries(st.sampled_from(["x1", "x2"]), st.lists(st.integers()), max_size=2),
    names=st.lists(st.from_regex(r"[a-z0-9]{1,8}", fullmatch=True), unique=True, max_size=3),
)
def test_any_descriptor_survives_the_journey(
    title: str, words: list[str], extra: dict[str, Any], names: list[str]
) -> None:
    said: dict[str, Any] = {
        "name": "any", "title": title, "keywords": words,
        "contributors": [{"title": title}], **extra,
    }  # fmt: skip
    if names:
        said["resources"] = [
            {"name": n, "path": f"data/{n}.csv", "format": "csv", "bytes": 3,
             "schema": {"fields": [{"name": title, "type": "string"}]}}
            for n in names
        ]  # fmt: skip
    package = ckan_package.package(version(said))
    assert ckan_package.descriptor(json.loads(json.dumps(package))) == said


@given(st.text(st.sampled_from('ab:*()[]{}"\\ +-!&|ANDORTO^~机'), max_size=40))
def test_any_query_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(Malformed):
        hash(read(text))
