"""How fast the transparency log grows, proves and is checked again.

200,000 leaves by default; YAOSU_BENCH_LEAVES=1000000 measures a million.
"""

from __future__ import annotations

import os
import random
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from figure import Figure, latencies

from yaosu.proof import merkle
from yaosu.proof.checkpoint import Checkpoint
from yaosu.proof.evidence import leaf_entry
from yaosu.proof.proofs import Findings, silent
from yaosu.proof.signing import Signer
from yaosu.proof.tiles import TileFolder
from yaosu.proof.verify_log import check_log

BATCH = 4096


def entries(n: int) -> Iterator[list[bytes]]:
    """Yield batches of leaves as the sequencer gets them."""
    rng = random.Random(7)
    for start in range(0, n, BATCH):
        yield [
            leaf_entry(
                {
                    "subject_id": f"trd_{rng.getrandbits(128):032x}",
                    "seq": k % 20,
                    "type": "deliver_start",
                    "digest": f"sha256:{rng.getrandbits(256):064x}",
                    "at": "2026-01-01T00:00:00.000000Z",
                }
            )
            for k in range(start, min(n, start + BATCH))
        ]


def measure(quick: bool) -> Iterator[Figure]:
    n = 20_000 if quick else int(os.environ.get("YAOSU_BENCH_LEAVES", "200000"))
    label = f"{n:,} leaves"
    with tempfile.TemporaryDirectory() as folder:
        tiles = TileFolder(Path(folder))
        spent, size = 0.0, 0
        for batch in entries(n):
            start = time.perf_counter()
            tiles.append(size, batch)
            tiles.drop_superseded(size, size + len(batch))
            spent += time.perf_counter() - start
            size += len(batch)
        yield Figure(
            name=f"append durably, batches of {BATCH}, {label}",
            value=round(n / spent),
            unit="leaves/s",
            goal=20_000,
            lower_is_better=False,
        )
        yield from proofs(tiles, n, label)
        root = merkle.root(tiles.node(n), n)
        start = time.perf_counter()
        found = Findings()
        check_log(Path(folder), Checkpoint("bench", n, root), None, found, silent)
        assert not found.problems, found.problems[:3]
        yield Figure(
            name=f"check every entry and tile, {label}",
            value=round(n / (time.perf_counter() - start)),
            unit="leaves/s",
        )
    key = Signer.generate()
    runs = 200 if quick else 2000
    start = time.perf_counter()
    for k in range(runs):
        Checkpoint("bench", k, bytes(32)).signed(key)
    yield Figure(
        name="sign a checkpoint", value=round(runs / (time.perf_counter() - start)), unit="1/s"
    )


def proofs(tiles: TileFolder, n: int, label: str) -> Iterator[Figure]:
    rng = random.Random(8)
    nodes = tiles.node(n)
    root = merkle.root(nodes, n)
    made: list[float] = []
    checked: list[float] = []
    for _ in range(500):
        index = rng.randrange(n)
        nodes = tiles.node(n)  # as a request has it: partial tiles are read again
        start = time.perf_counter()
        proof = merkle.inclusion_proof(nodes, index, n)
        middle = time.perf_counter()
        assert merkle.verify_inclusion(nodes(0, index), index, n, proof, root)
        made.append(middle - start)
        checked.append(time.perf_counter() - middle)
    yield from latencies(f"inclusion proof from tiles, {label}", made, p50=1.0)
    yield from latencies(f"verify an inclusion proof, {label}", checked)
    yield Figure(name=f"inclusion proof, {label}", value=len(proof) * 32, unit="B")
    made.clear()
    for _ in range(200):
        old = rng.randrange(1, n)
        start = time.perf_counter()
        merkle.consistency_proof(nodes, old, n)
        made.append(time.perf_counter() - start)
    yield from latencies(f"consistency proof from tiles, {label}", made)
