"""How long a page of search takes: 20 hits and the counts of six multi-select facets.

Listings are generated (seeded): bilingual titles and descriptions over a Zipf vocabulary.
100,000 by default; YAOSU_BENCH_LISTINGS=1000000 measures a million (some minutes, 2 GiB of disk).
"""

from __future__ import annotations

import os
import random
import tempfile
import time
from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path
from typing import Any

from figure import Figure, latencies

from yaosu.ports import SearchQuery
from yaosu.storage.search import TantivyIndex

SEED = 20
FACETS = ("modality", "language", "licence", "industry", "region", "stage")
VALUES: dict[str, list[str]] = {
    "modality": [
        "text",
        "code",
        "image",
        "audio",
        "video",
        "point_cloud",
        "time_series",
        "tabular",
    ],
    "language": ["zh", "en", "ja", "ko", "de", "fr", "es", "ru", "ar", "vi"],
    "licence": ["CC-BY-4.0", "CC0-1.0", "MIT", "Apache-2.0", "ODbL-1.0", "LicenseRef-provider"],
    "industry": [f"{section}{n:02d}" for n, section in enumerate("ABCDEFGHIJKLMNOPQRST", 1)] * 2,
    "region": [f"{p}0000" for p in range(11, 66) if p % 10 < 7],
    "stage": ["pretraining", "sft", "rl", "evaluation"],
}
_GOALS = {100_000: (20.0, "the goal is 10"), 1_000_000: (120.0, "the goal is 60")}


class Words:
    """A vocabulary whose words occur by Zipf's law."""

    def __init__(self, rng: random.Random, words: list[str]) -> None:
        self.rng = rng
        self.words = words
        # Without the few words that are everywhere: nobody searches for those.
        self.weights = list(accumulate(1 / (rank + 20) for rank in range(len(words))))

    def some(self, n: int) -> list[str]:
        return self.rng.choices(self.words, cum_weights=self.weights, k=n)


def vocabularies(rng: random.Random) -> tuple[Words, Words]:
    """Return Chinese words of 2 to 4 characters and Latin words of 2 to 4 syllables."""
    level_1 = [bytes([0xB0 + r, 0xA1 + c]).decode("gb2312") for r in range(39) for c in range(94)]
    zh = {
        "".join(rng.choices(level_1[:1500], k=rng.choice((2, 2, 2, 3, 4)))) for _ in range(12_000)
    }
    syllables = [c + v for c in "bcdfghklmnprstvz" for v in ("a", "e", "i", "o", "un", "er")]
    en = {"".join(rng.choices(syllables, k=rng.randint(2, 4))) for _ in range(12_000)}
    shuffled = [sorted(words) for words in (zh, en)]
    for words in shuffled:
        rng.shuffle(words)
    return Words(rng, shuffled[0]), Words(rng, shuffled[1])


def cards(count: int) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield so many listing cards."""
    rng = random.Random(SEED)
    zh, en = vocabularies(rng)
    for n in range(count):
        price = rng.choice((None, 0, 0, rng.randint(1, 10_000_000)))
        listing_id = f"lst_{n:032x}"
        yield (
            listing_id,
            {
                "listing_id": listing_id,
                "title": "".join(zh.some(rng.randint(3, 7))) + rng.choice(("数据集", "语料", "")),
                "title_en": " ".join(en.some(6)),
                "description": "，".join(
                    "".join(zh.some(rng.randint(3, 9))) for _ in range(rng.randint(3, 12))
                )
                + "。"
                + " ".join(en.some(rng.randint(5, 40))),
                "keywords": [*zh.some(3), *en.some(2)],
                "publisher": f"publisher-{rng.randint(1, 2000)}",
                "publisher_name": "".join(zh.some(2)) + "有限公司",
                "name": "-".join(en.some(3)),
                "resource_names": en.some(3),
                "field_names": en.some(rng.randint(3, 15)),
                "licence": rng.choice(VALUES["licence"]),
                **{
                    name: rng.sample(VALUES[name], rng.choice((1, 1, 2)))
                    for name in FACETS
                    if name != "licence"
                },
                "price_fen": price,
                "price_band": "free" if price == 0 else "negotiated" if price is None else "paid",
                "size_bytes": int(rng.lognormvariate(18, 4)),
                "records": int(rng.lognormvariate(9, 3)),
                "quality": rng.choice("ABC"),
                "listed_at": 1_700_000_000 + n,
                "view_policy": rng.choice(("public",) * 40 + ("member",)),
                "invited": [],
            },
        )


def questions(count: int) -> Iterator[SearchQuery]:
    """Yield searches as people make them: words, short runs, phrases, nothing; filters or none."""
    rng = random.Random(SEED + 1)
    zh, en = vocabularies(random.Random(SEED))
    for _ in range(count):
        text = rng.choice(
            (
                zh.some(1)[0],
                "".join(zh.some(2)),
                " ".join(zh.some(2)),
                en.some(1)[0],
                " ".join(en.some(2)),
                f"{zh.some(1)[0]} {en.some(1)[0]}",
                f'"{zh.some(1)[0]}"',
                zh.some(1)[0][0],
                "数据集",
                "",
            )
        )
        chosen = rng.sample(FACETS, rng.choice((0, 0, 0, 1, 1, 1, 2, 2, 3, 6)))
        filters = {name: rng.sample(VALUES[name], min(3, rng.choice((1, 2, 3)))) for name in chosen}
        sort = rng.choice(("relevance", "relevance", "relevance", "newest", "price_asc"))
        yield SearchQuery(text=text, filters=filters, sort=sort, facets=FACETS)


def measure(quick: bool) -> Iterator[Figure]:
    count = 2_000 if quick else int(os.environ.get("YAOSU_BENCH_LISTINGS", "100000"))
    label = f"{count:,} listings"
    with tempfile.TemporaryDirectory() as folder:
        index = TantivyIndex(Path(folder))
        start = time.perf_counter()
        index.rebuild(cards(count), checkpoint=1)
        took = time.perf_counter() - start
        yield Figure(name=f"rebuild, {label}", value=round(count / took), unit="docs/s")
        size = sum(p.stat().st_size for p in Path(folder).rglob("*") if p.is_file())
        yield Figure(name=f"index on disk, {label}", value=round(size / count), unit="B/doc")
        yield from pages(index, label, count, 100 if quick else 600)
        yield from freshness(index, 5 if quick else 20)
        index.close()


def pages(index: TantivyIndex, label: str, count: int, n: int) -> Iterator[Figure]:
    asked = list(questions(n))
    for query in asked[:20]:
        index.search(query)
    wall: list[float] = []
    cpu: list[float] = []
    for query in asked:
        before, used = time.perf_counter(), time.process_time()
        index.search(query)
        wall.append(time.perf_counter() - before)
        cpu.append(time.process_time() - used)
    goal, further = _GOALS.get(count, (None, ""))
    told = latencies(f"search page, {label}, CPU", cpu, **({"p99": goal} if goal else {}))
    yield from told
    if further:
        yield Figure(
            name=f"search page p99, {label}", value=told[-1].value, unit="ms", note=further
        )
    yield from latencies(f"search page, {label}, wall", wall)
    starts = [q.text[:2] for q in asked if q.text][:200]
    yield from latencies("suggestions", [_suggest(index, s) for s in starts])


def _suggest(index: TantivyIndex, start: str) -> float:
    before = time.perf_counter()
    index.suggest(start)
    return time.perf_counter() - before


def freshness(index: TantivyIndex, n: int) -> Iterator[Figure]:
    """Apply one listing at a time and find it: what the follower adds is its own pause."""
    seconds = []
    for k in range(n):
        listing_id, card = next(cards(1))
        fresh = {
            **card,
            "listing_id": f"{listing_id}{k}",
            "title": f"刚刚挂牌 fresh{k}",
            "view_policy": "public",
        }
        before = time.perf_counter()
        index.apply({f"{listing_id}{k}": fresh}, checkpoint=2 + k)
        found = index.search(SearchQuery(text=f"fresh{k}", filters={}))
        seconds.append(time.perf_counter() - before)
        assert found.total == 1, found.total
    yield from latencies("applied and found again", seconds, p99=1000.0)
