"""The surfaces of other catalogs over many listings: CKAN's search, and all of DCAT as a stream.

10,000 listings by default (YAOSU_BENCH_LISTINGS), written into the store as they are; one process
asks the actions and the writer of RDF without HTTP between.
"""

from __future__ import annotations

import json
import os
import resource
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib.resources import files
from pathlib import Path
from typing import Any

from figure import Figure, latencies, timed

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


def measure(quick: bool) -> Iterator[Figure]:
    """Yield latencies of package_search, and rate and memory of the whole export."""
    count = 300 if quick else int(os.environ.get("YAOSU_BENCH_LISTINGS", "10000"))
    with tempfile.TemporaryDirectory() as folder:
        market = Market(load(data=str(Path(folder)), reserve_bytes=0))
        fill(market, count)

        def search(**params: Any) -> Any:
            with market.store.read() as reader:
                asked = ckan_read.Asked(market, reader, None, params)
                return ckan_read.package_search(asked)

        faceted = {"fq": "tags:k7 +res_format:JSONL", "rows": 20,
                   "facet.field": ["organization", "tags", "license_id"]}  # fmt: skip
        found = search(**faceted)
        assert found["count"] == -(-(count - 7) // 50)
        times = 20 if quick else 200
        name = f"package_search of {count} (20 rows, 3 facets)"
        yield from latencies(name, timed(lambda: search(**faceted), times))
        page = timed(lambda: search(sort="id asc", rows=100, start=count // 2), max(5, times // 10))
        yield from latencies(f"package_search of {count} (page of a harvest, 100 rows)", page)
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        start, size = time.process_time(), 0
        for piece in rdf.write(dcat._everything(market), "ttl"):
            size += len(piece)
        seconds = time.process_time() - start
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024
        yield Figure(name=f"DCAT of {count} as Turtle", value=round(count / seconds, 1),
                     unit="datasets per CPU second", lower_is_better=False,
                     facts={"characters": size})  # fmt: skip
        yield Figure(name=f"DCAT of {count}: memory that grew", value=round(grown, 1), unit="MiB",
                     goal=64.0)  # fmt: skip
        market.close()
