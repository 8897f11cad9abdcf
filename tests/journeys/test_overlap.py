"""What a buyer learns before paying: the overlap of an own corpus with a listing."""

from __future__ import annotations

import hashlib
import json
import random
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaosu_validators
from people import USCC, Hall, described, jsonl
from stall import sold_as


def rows(seed: int, count: int) -> list[dict[str, Any]]:
    r = random.Random(seed)
    letters = [chr(0x4E00 + n) for n in range(2000)]
    return [{"text": "".join(r.choices(letters, k=60))} for _ in range(count)]


def test_the_overlap_with_a_listing_is_estimated_before_buying(hall: Hall, tmp_path: Path) -> None:
    provider = hall.person("sketch-seller", "provider", uscc=USCC[3])
    theirs = rows(1, 3000)
    data = jsonl(theirs)
    provider.upload(data)
    resource = {
        "name": "train", "path": "train.jsonl", "format": "jsonl", "encoding": "utf-8",
        "mediatype": "application/jsonl", "bytes": len(data),
        "hash": f"sha256:{hashlib.sha256(data).hexdigest()}",
        "schema": {"fields": [{"name": "text", "type": "string"}]},
    }  # fmt: skip
    listing_id = sold_as(hall, provider, described(provider, "crawl", [resource], records=3000))
    published = hall.stranger.get(f"/v1/listings/{listing_id}/sketch")
    assert published["listing_id"] == listing_id
    mine = tmp_path / "mine.jsonl"
    mine.write_bytes(jsonl(theirs[:1000] + rows(2, 1000)))
    assert yaosu_validators.Sketch.from_json(published).records == 3000

    yaosu = [sys.executable, "-c", "from yaosu.cli import main; main()"]
    sketch = tmp_path / "mine.json"
    subprocess.run([*yaosu, "sketch", mine, "--to", sketch], check=True, timeout=60)
    ran = subprocess.run(
        [*yaosu, "overlap", sketch, listing_id, "--market", hall.address, "--json"],
        check=True, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    found = json.loads(ran.stdout)["records"]
    assert found["of_mine"]["low"] <= 0.5 <= found["of_mine"]["high"]
    assert found["of_theirs"]["low"] <= 1 / 3 <= found["of_theirs"]["high"]
    report = hall.stranger.get(f"/v1/listings/{listing_id}/report")
    assert {m["id"] for m in report["metrics"]} >= {"own:dup_exact", "own:dup_near"}
    assert "corpus.sketch" not in {c["name"] for c in report["checks"]}
