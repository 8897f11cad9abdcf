"""What operators register is looked for in every corpus, and nobody reads it over the market."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import pytest

from people import USCC, Hall, Person, described, jsonl

ITEM = "how many apples does the farmer sell on a day when it rains twice and then it snows"
WORD = "verbotenwort"
WORDS = f"word,category\n{WORD},A1a\n".encode()
BENCHMARK = jsonl([{"question": ITEM, "answer": "7"}, {"question": "a b c", "answer": "1"}])


def add(who: Person, path: str, filename: str, data: bytes) -> dict[str, Any]:
    body = {"sha256": who.upload(data), "filename": filename}
    return Person._checked(who.raw("PUT", f"/v1/{path}", body))  # type: ignore[no-any-return]


def judged(provider: Person, name: str, text: str) -> dict[str, Any]:
    """Submit a corpus that holds a text; returns its report."""
    rows = [{"text": f"line {n} of a text about pumps and their valves"} for n in range(30)]
    data = jsonl([*rows, {"text": f"Somebody asked {text}, and nobody knew."}])
    hash_ = f"sha256:{hashlib.sha256(data).hexdigest()}"
    resource = {"name": "train", "path": "train.jsonl", "format": "jsonl", "encoding": "utf-8",
                "mediatype": "application/jsonl", "bytes": len(data), "hash": hash_,
                "schema": {"fields": [{"name": "text", "type": "string"}]}}  # fmt: skip
    descriptor = described(provider, name, [resource], records=31, languages=("en",))
    provider.upload(data)
    listing_id = provider.draft(descriptor)["listing_id"]
    provider.submit(listing_id)
    report: dict[str, Any] = provider.get(f"/v1/listings/{listing_id}/report")
    return report


def evidence(report: dict[str, Any], check: str) -> dict[str, Any]:
    return next(run["evidence"] for run in report["checks"] if run["name"] == check)


def test_what_is_registered_is_looked_for_in_the_sealed_child(hall: Hall) -> None:
    operator = hall.admin
    provider = hall.person("provider", "provider", uscc=USCC[0])
    add(operator, "benchmarks/farm", "test.jsonl", BENCHMARK)
    add(operator, "rulesets/house", "w.csv", WORDS)
    report = judged(provider, "pumps", f"{ITEM} {WORD}")
    (farm,) = evidence(report, "corpus.contamination")["benchmarks"]
    assert (farm["name"], farm["found_whole"], farm["too_short"]) == ("farm@1", 1, 1)
    assert evidence(report, "corpus.safety")["resources"][0]["risks"]["A1a"]["records"] == 1
    bases = {m["id"]: m["basis"] for m in report["metrics"]}
    assert bases["own:benchmark_whole"] == "market"
    text = json.dumps(report)
    assert ITEM not in text
    assert WORD not in text
    assert str(hall.market.settings.folder) not in text


def test_a_name_has_versions_of_which_the_newest_counts_until_it_is_removed(
    any_hall: Hall,
) -> None:
    operator, reader = any_hall.admin, any_hall.person("reader", "buyer")
    first = add(operator, "benchmarks/farm", "test.jsonl", BENCHMARK)
    assert (first["version"], first["items"], first["state"]) == (1, 2, "active")
    again = add(operator, "benchmarks/farm", "again.jsonl", BENCHMARK)
    assert again["id"] == first["id"]
    second = add(operator, "benchmarks/farm", "test.jsonl", BENCHMARK * 2)
    assert (second["version"], second["items"]) == (2, 4)
    seen = reader.get("/v1/benchmarks")["items"]
    assert [(b["version"], b["state"]) for b in seen] == [(2, "active"), (1, "replaced")]
    assert ITEM not in json.dumps(seen)
    assert seen[1]["sha256"] == hashlib.sha256(BENCHMARK).hexdigest()
    assert reader.raw("GET", f"/v1/holdings/{first['sha256']}").status_code == 404
    operator._checked(operator.raw("DELETE", "/v1/benchmarks/farm"))
    assert operator.raw("DELETE", "/v1/benchmarks/farm").status_code == 404
    assert {b["state"] for b in reader.get("/v1/benchmarks")["items"]} == {"removed", "replaced"}


@pytest.mark.parametrize(
    ("path", "filename", "data", "status"),
    [
        ("benchmarks/x", "x.jsonl", b"\xff\xfe\x00", 422),
        ("benchmarks/x", "x.jsonl", b"", 422),
        ("benchmarks/x", "nothing", BENCHMARK, 422),
        ("rulesets/x", "w.csv", b"word,category\nx,Z9\n", 422),
        ("rulesets/x", "w.csv", b"words\nx\n", 422),
        ("rulesets/x", "w.jsonl", BENCHMARK, 422),
        ("benchmarks/X!", "x.jsonl", BENCHMARK, 422),
    ],
)
def test_what_is_no_benchmark_or_word_list_is_refused(
    hall: Hall, path: str, filename: str, data: bytes, status: int
) -> None:
    body = {"sha256": hall.admin.upload(data), "filename": filename}
    refused = hall.admin.raw("PUT", f"/v1/{path}", body)
    assert refused.status_code == status, refused.text
    assert {"detail", "detail_zh"} <= set(refused.json())
