"""A backup taken while trades go on, and how long until a restored market has been verified whole.

    python benchmarks/run.py backup

The peer of the backup is a plain copy of the same files; that of the restore is reading them.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import threading
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from figure import Figure  # noqa: E402

from people import USCC, Hall, open_hall, small_corpus  # noqa: E402
from stall import sold_as  # noqa: E402
from yaosu.backup import backup, restore  # noqa: E402
from yaosu.model import Actor, Holding, Role, new_id  # noqa: E402
from yaosu.trading import negotiation  # noqa: E402

BLOB_MIB = 16


def filled(hall: Hall, trades: int, mib: int) -> tuple[str, Actor]:
    """Put trades and files into a market; returns the listing and a buyer."""
    provider = hall.person("provider", "provider", uscc=USCC[0])
    buyer = hall.person("buyer", "buyer")
    descriptor, data = small_corpus(provider, mode="negotiated")
    provider.upload(data)
    listing_id = sold_as(hall, provider, descriptor)
    actor = Actor(party_id=buyer.id, member_id="mbr", key_id="k", roles=frozenset({Role.BUYER}))

    def some(tx: Any) -> None:
        for _ in range(500):
            negotiation.intend(tx, actor, listing_id, {"purpose": "bench"})

    for _ in range(max(1, trades // 500)):
        hall.market.store.write(some)
    for _ in range(mib // BLOB_MIB):
        sha256, size = hall.market.blobs.put([os.urandom(1 << 20) for _ in range(BLOB_MIB)])

        def hold(tx: Any, sha256: str = sha256, size: int = size) -> None:
            tx.add(
                Holding(
                    id=new_id("hld"),
                    party_id=provider.id,
                    sha256=sha256,
                    bytes=size,
                    created_at=tx.now,
                )
            )

        hall.market.store.write(hold)
    hall.market.integrate()
    return listing_id, actor


def measure(quick: bool) -> Iterable[Figure]:
    trades, mib = (1_000, 64) if quick else (50_000, 2048)
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch)
        with open_hall(place / "data") as hall:
            listing_id, actor = filled(hall, trades, mib)
            stop, taken = threading.Event(), []

            def load() -> None:
                while not stop.is_set():
                    began = time.perf_counter()
                    hall.market.store.write(
                        lambda tx: negotiation.intend(tx, actor, listing_id, {"purpose": "load"})
                    )
                    taken.append(time.perf_counter() - began)

            thread = threading.Thread(target=load)
            thread.start()
            began = time.perf_counter()
            size = backup(place / "data", place / "market.tar") / 2**20
            seconds = time.perf_counter() - began
            stop.set()
            thread.join()
            began = time.perf_counter()
            shutil.copytree(place / "data/blobs", place / "copy")
            copying = time.perf_counter() - began
        shutil.rmtree(place / "copy")
        yield Figure(
            name="backup under load",
            value=size / seconds,
            unit="MiB/s",
            lower_is_better=False,
            peer="copy of the blobs",
            peer_value=mib / copying,
            note=f"{size:.0f} MiB, {trades} trades, {len(taken) / seconds:.0f} steps/s meanwhile",
            facts={"longest_step_ms": round(max(taken) * 1000, 1)},
        )
        began = time.perf_counter()
        restore(place / "market.tar", place / "again")
        seconds = time.perf_counter() - began
        yield Figure(
            name="restore, verified whole",
            value=seconds,
            unit="s",
            goal=600.0,
            note=f"{size:.0f} MiB; every chain, posting, leaf, signature and blob",
            facts={"mib_per_second": round(size / seconds, 1)},
        )


if __name__ == "__main__":
    for figure in measure(quick="--quick" in sys.argv):
        print(f"{figure.name}: {figure.value:.1f} {figure.unit} {figure.reached}")
