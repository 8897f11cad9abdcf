"""Croissant 1.1: its own library validates every listing, and loads samples and what was bought."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import httpx2
import rdflib

import shapes as dcat
from people import USCC, Hall, Person, open_hall
from stall import delivered, sold_as, with_sample
from strangers import python_of
from yaosu.demo import fill

READ = """
import json, sys, itertools
import mlcroissant as mlc
out = {}
for url, sets in json.loads(sys.argv[1]).items():
    dataset = mlc.Dataset(jsonld=url)
    issues = dataset.metadata.ctx.issues
    rows = {name: [{k: v.decode() if isinstance(v, bytes) else str(v) for k, v in row.items()}
                   for row in itertools.islice(dataset.records(name), 5)] for name in sets}
    out[url] = {"errors": sorted(issues.errors), "warnings": sorted(issues.warnings), "rows": rows,
                "sets": [r.uuid for r in dataset.metadata.record_sets]}
print(json.dumps(out))
"""


def library(asked: dict[str, list[str]], **env: str) -> dict[str, Any]:
    """Load documents by mlcroissant in its own environment."""
    done = subprocess.run(
        [python_of("mlcroissant"), "-c", READ, json.dumps(asked)],
        capture_output=True, text=True, timeout=180, check=False, env={**os.environ, **env},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_the_library_loads_samples_and_what_was_bought(hall: Hall, tmp_path: Path) -> None:
    provider = hall.person("cr-robots", "provider", uscc=USCC[1])
    listing = sold_as(hall, provider, with_sample(provider, "arm-talk"))
    url = f"{hall.address}/datasets/cr-robots/arm-talk/croissant.json"
    assert httpx2.get(url).headers["content-type"].startswith("application/ld+json; profile=")
    found = library({url: ["sample"]}, HOME=str(tmp_path))[url]
    assert found["errors"] == []
    assert found["sets"] == ["train", "sample"]
    assert found["rows"]["sample"][0] == {
        "sample/instruction": "样例 0", "sample/output": "答 0"
    }  # fmt: skip
    buyer = hall.person("cr-lab", "buyer")
    delivered(hall, buyer, listing)
    key = {"CROISSANT_BASIC_AUTH_USERNAME": "key",
           "CROISSANT_BASIC_AUTH_PASSWORD": str(buyer.key)}  # fmt: skip
    bought = library({url: ["train"]}, HOME=str(tmp_path / "b"), **key)[url]
    assert bought["rows"]["train"][0]["train/instruction"] == "问题 0"


def test_every_listing_of_the_demonstration_validates(tmp_path: Path) -> None:
    """By mlcroissant, and by the official shapes of DCAT-AP."""
    with open_hall(tmp_path / "demo", people=False) as hall:
        fill(hall.market)
        hall.market.follow()
        who = Person(hall.address, None)
        cards = [i["card"] for i in who.get("/v1/listings?limit=100")["items"]]
        asked = {
            f"{hall.address}/datasets/{c['publisher']}/{c['name']}/croissant.json": []
            for c in cards
        }
        graph = rdflib.Graph().parse(data=who.raw("GET", "/catalog.ttl").text, format="turtle")
        found = library(asked, HOME=str(tmp_path))
    assert len(found) == len(cards) >= 5
    for url, verdict in found.items():
        assert verdict["errors"] == [], url
        assert verdict["warnings"] == [], url
    assert sum(len(v["sets"]) for v in found.values()) >= 5
    assert len(set(graph.objects(None, dcat.DCAT_DATASET))) == len(cards)
    dcat.conforms(graph)
