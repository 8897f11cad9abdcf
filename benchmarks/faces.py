"""The surfaces of other catalogs over many listings: CKAN's search, and all of DCAT as a stream.

10,000 and 100,000 listings (or YAOSU_BENCH_LISTINGS), written into the store as they are; one
process asks the actions and the writer of RDF without HTTP between. CPU time: what a machine that
has other work still measures.
"""

from __future__ import annotations

import json
import os
import re
import tempfile
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Any

from figure import Figure, percentile

from yaosu.market import Market
from yaosu.model import Dataset, Listing, ListingState, Party, new_id
from yaosu.settings import load
from yaosu.web.surfaces import ckan_read, dcat
from yaosu_connectors import rdf

AT = datetime(2026, 1, 1, tzinfo=UTC)


def fill(market: Market, count: int) -> None:
    """Put so many listed versions into the store, and follow."""
    example = files("yaosu_schemas") / "json" / "example-dataset.json"
    said: dict[str, Any] = json.loads(example.read_text("utf-8"))
    party = Party(id=new_id("pty"), slug="bench", name="基准", created_at=AT)
    market.store.write(lambda tx: tx.add(party))

    def some(tx: Any, begin: int, end: int) -> None:
        for n in range(begin, end):
            name = f"corpus-{n}"
            shared = {"provider_id": party.id, "publisher": "bench", "name": name}
            dataset = Dataset(id=new_id("dst"), created_at=AT, **shared)
            tx.add(dataset)
            listing = Listing(
                id=new_id("lst"), dataset_id=dataset.id, version=1, state=ListingState.LISTED,
                descriptor={**said, "name": name, "keywords": [f"k{n % 50}", "语料"]},
                title=f"语料 {n}", created_at=AT, updated_at=AT, listed_at=AT, **shared,
            )  # fmt: skip
            tx.add(listing)
            tx.notify("listing", listing.id)

    for begin in range(0, count, 5000):
        end = min(count, begin + 5000)
        market.store.write(lambda tx, a=begin, b=end: some(tx, a, b))  # type: ignore[misc]
    market.rebuild_search()


FACETS = ["organization", "groups", "tags", "res_format", "license_id"]
GOAL_MS = 50.0


def searches(count: int) -> Iterator[tuple[str, dict[str, Any], int | None]]:
    """Yield what is asked, by name, with how many packages answer it where that is known."""
    yield "all, 20 rows", {"rows": 20}, count
    filtered = {"fq": "tags:k7 +res_format:JSONL", "rows": 20, "facet.field": FACETS[:3]}
    yield "two filters, 20 rows, 3 facets", filtered, -(-(count - 7) // 50)
    yield "words, 20 rows, 5 facets", {"q": "语料", "rows": 20, "facet.field": FACETS}, count
    since = "metadata_modified:[2025-01-01T00:00:00.000000Z TO *] -organization:x"
    yield "changed since, 20 rows", {"fq": since, "rows": 20, "sort": "id asc"}, count
    yield "facets alone", {"rows": 0, "facet.field": FACETS}, count
    half = {"sort": "id asc", "rows": 100, "start": count // 2}
    yield "page of a harvest half-way, 100 rows", half, count
    last = {"rows": 20, "start": max(0, count - 20), "sort": "metadata_modified desc"}
    yield "last page, 20 rows", last, count
    yield "1,000 rows", {"rows": 1000}, count


def measure(quick: bool) -> Iterator[Figure]:
    """Yield latencies of package_search, and rate and memory of the whole export."""
    given = os.environ.get("YAOSU_BENCH_LISTINGS")
    for count in (300,) if quick else (int(given),) if given else (10_000, 100_000):
        with tempfile.TemporaryDirectory() as folder:
            market = Market(load(data=str(Path(folder)), reserve_bytes=0))
            fill(market, count)
            yield from _searched(market, count, 5 if quick else 40)
            yield from _exported(market, count)
            market.close()


def _searched(market: Market, count: int, times: int) -> Iterator[Figure]:
    for name, params, there in searches(count):

        def search(params: dict[str, Any] = params) -> dict[str, Any]:
            with market.store.read() as reader:
                return ckan_read.package_search(ckan_read.Asked(market, reader, None, params))

        assert there is None or search()["count"] == there, (name, search()["count"])
        many = params["rows"] > 100
        spent = sorted(_cpu(search) for _ in range(max(5, times // 8) if many else times))
        yield Figure(
            name=f"package_search of {count}: {name}, p50",
            value=round(percentile(spent, 0.5) * 1000, 2), unit="CPU ms",
            goal=None if many else GOAL_MS,
            facts={"n": len(spent), "p95_ms": round(percentile(spent, 0.95) * 1000, 2)},
        )  # fmt: skip


def _cpu(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def _exported(market: Market, count: int) -> Iterator[Figure]:
    """Write all of DCAT; the memory is the process's own, without files that are mapped."""
    start, size, before, most = time.process_time(), 0, _own_mib(), 0.0
    for number, piece in enumerate(rdf.write(dcat._everything(market), "ttl")):
        size += len(piece)
        if number % 1000 == 0:
            most = max(most, _own_mib() - before)
    seconds = time.process_time() - start
    yield Figure(name=f"DCAT of {count} as Turtle", value=round(count / seconds, 1),
                 unit="datasets per CPU second", lower_is_better=False,
                 facts={"characters": size})  # fmt: skip
    yield Figure(name=f"DCAT of {count}: memory that grew", value=round(most, 1), unit="MiB",
                 goal=64.0)  # fmt: skip


def _own_mib() -> float:
    """Return the memory of this process that no file backs (Linux)."""
    found = re.search(r"RssAnon:\s+(\d+) kB", Path("/proc/self/status").read_text())
    assert found is not None
    return int(found[1]) / 1024
