"""Published tables and corpora of others through CKAN's own client: every row comes back."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import ckanapi
import pytest

from people import USCC, Hall, Person


@pytest.fixture(scope="module")
def owner(hall: Hall) -> Person:
    return hall.person("real-tables", "provider", uscc=USCC[2])


def published(hall: Hall, owner: Person, name: str, file: Path, kind: str) -> str:
    """Create a package with one file as any client of CKAN does; return the resource's id."""
    action = ckanapi.RemoteCKAN(hall.address, apikey=owner.key).action
    made = action.package_create(name=name, title=name, notes="As published.")
    with file.open("rb") as content:
        resource = action.resource_create(
            package_id=made["id"], name="data", format=kind, upload=content
        )
    return str(resource["id"])


def rows(hall: Hall, owner: Person, resource: str, **asked: Any) -> list[dict[str, Any]]:
    """Page through a table to its end, as clients do."""
    action = ckanapi.RemoteCKAN(hall.address, apikey=owner.key).action
    found: list[dict[str, Any]] = []
    while True:
        page = action.datastore_search(
            resource_id=resource, limit=700, offset=len(found), **asked
        )["records"]  # fmt: skip
        if not page:
            return found
        found += page


@pytest.mark.parametrize("name", ["gdp", "population", "global-temp", "language-codes"])
def test_every_row_of_a_published_table_comes_back(
    hall: Hall, owner: Person, testdata: Path, name: str
) -> None:
    file = sorted((testdata / "frictionless" / "datasets" / name).glob("data/*.csv"))[0]
    with file.open(encoding="utf-8-sig", newline="") as text:
        expected = list(csv.DictReader(text))[:5000]
    resource = published(hall, owner, f"table-{name}", file, "CSV")
    found = rows(hall, owner, resource)[: len(expected)]
    assert len(found) == len(expected) > 100
    first = next(iter(expected[0]))
    assert [r["_id"] for r in found] == list(range(1, len(found) + 1))
    assert first in found[0], (found[:2], found[-1])
    same = [str(a[first]) == b[first] for a, b in zip(found, expected, strict=True)]
    assert sum(same) > len(same) * 0.99, (found[0], expected[0])


def test_a_corpus_is_read_beyond_its_preview_with_filters_and_order(
    hall: Hall, owner: Person, testdata: Path
) -> None:
    file = testdata / "ai" / "gsm8k" / "grade_school_math" / "data" / "test.jsonl"
    said = [json.loads(line) for line in file.read_text("utf-8").splitlines()]
    resource = published(hall, owner, "sums-test", file, "JSONL")
    found = rows(hall, owner, resource)
    assert "question" in found[0], (found[:2], len(found))
    assert [r["question"] for r in found] == [r["question"] for r in said]
    action = ckanapi.RemoteCKAN(hall.address, apikey=owner.key).action
    last = action.datastore_search(resource_id=resource, q=said[1200]["question"][:60])
    assert [r["_id"] for r in last["records"]] == [1201]
    ordered = action.datastore_search(resource_id=resource, sort="question desc", limit=3)
    expected = sorted((r["question"] for r in said), reverse=True)[:3]
    assert [r["question"] for r in ordered["records"]] == expected
    assert ordered["total"] == len(said)
    with pytest.raises(ckanapi.NotFound):  # a draft: not for strangers
        ckanapi.RemoteCKAN(hall.address).action.datastore_search(resource_id=resource)


def test_a_draft_is_taken_back_by_deleting_it(hall: Hall, owner: Person) -> None:
    action = ckanapi.RemoteCKAN(hall.address, apikey=owner.key).action
    made = action.package_create(name="only-a-thought", title="A thought", notes="Nothing yet.")
    assert action.package_delete(id=made["id"]) is None
    mine = owner.get("/v1/my/listings?limit=100")["items"]
    assert next(v["state"] for v in mine if v["name"] == "only-a-thought") == "withdrawn"
    with pytest.raises(ckanapi.NotFound):
        ckanapi.RemoteCKAN(hall.address).action.package_show(id=made["id"])
