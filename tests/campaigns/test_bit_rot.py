"""One bit turns somewhere in a data directory, and `yaosu verify` says so (R7).

At rest every byte is covered, the unused ones too. While a market runs its database has no sum of
its own: then every bit of a record, event, posting, leaf or stored answer is covered, and what is
not covered is counted by name.
"""

from __future__ import annotations

import random
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from campaigns.real import write_result
from people import USCC, open_hall, until
from stall import delivered, offered
from watch import watching
from yaosu.proof.verify import verify_path
from yaosu_schemas.errors import YaosuError

ORIGIN = "rot.test/log"


@dataclass(frozen=True)
class Kept:
    """A data directory of a market that was stopped, and its files by what they hold."""

    data: Path
    files: dict[str, list[Path]]


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Kept:
    """A market that sold, delivered, settled and recalled; then it was stopped."""
    folder = tmp_path_factory.mktemp("rot")
    with open_hall(folder / "data", origin=ORIGIN, people=False) as hall:
        log_key = hall.market.log.identity()["verifier_key"]
    with (
        watching(folder / "w", "w.test/rot", [log_key]) as witness,
        open_hall(folder / "data", origin=ORIGIN, witnesses=witness.place) as hall,
    ):
        provider = hall.person("lingnan", "provider", uscc=USCC[0])
        buyer = hall.person("lab", "buyer")
        listings = [offered(hall, provider, f"rot-{n}") for n in range(2)]
        for listing in (*listings, listings[0]):
            trade = delivered(hall, buyer, listing)
            _, manifest = buyer.fetch(trade)
            path = f"/v1/trades/{trade['trade_id']}"
            buyer.post(f"{path}/accept", {"manifest_digest": manifest})
            until(lambda p=path: buyer.raw("GET", f"{p}/receipt"), lambda a: a.status_code == 200)
        provider.post(f"/v1/listings/{listings[1]}/recall", {"reason": "r"})
        until(hall.market.log.waits_for_witnesses, lambda waits: waits is None)
    report = verify_path(folder / "data")
    assert report.valid, report.problems
    assert report.facts["cosigned_size"] > 0
    return Kept(folder / "data", _files(folder / "data"))


def _files(data: Path) -> dict[str, list[Path]]:
    log = data / "log"
    tiles = sorted(p for p in (log / "tile").rglob("*") if p.is_file())
    return {
        "ledger": [data / "market.db"],
        "tiles": [p for p in tiles if "entries" not in p.parts],
        "entries": [p for p in tiles if "entries" in p.parts],
        "checkpoint": [log / n for n in ("checkpoint", "cosigned", "next", "key", "witnesses")],
        "blobs": sorted(p for p in (data / "blobs" / "sha256").rglob("*") if p.is_file()),
        "sum": [data / "market.db.sum"],
    }


def flips(kept: Kept, count: int, seed: int, kinds: Sequence[str]) -> Iterator[tuple[str, bool]]:
    """Turn one bit at a time in a file of each kind in turn; yield (kind, whether it was found)."""
    rng = random.Random(seed)
    for n in range(count):
        kind = kinds[n % len(kinds)]
        path = rng.choice(kept.files[kind])
        mode, good = path.stat().st_mode, path.read_bytes()
        at = rng.randrange(len(good))
        path.chmod(0o644)
        try:
            path.write_bytes(good[:at] + bytes([good[at] ^ 1 << rng.randrange(8)]) + good[at + 1 :])
            yield kind, found_by_verify(kept.data)
        finally:
            path.write_bytes(good)
            path.chmod(mode)


def found_by_verify(data: Path) -> bool:
    try:
        return not verify_path(data).valid
    except YaosuError:
        return True  # it cannot even be opened, and says so


KINDS = ("ledger", "tiles", "ledger", "entries", "ledger", "blobs", "checkpoint", "sum")


def test_a_bit_that_turns_in_a_stopped_market_is_found(kept: Kept) -> None:
    missed = [kind for kind, found in flips(kept, 24, 7, KINDS) if not found]
    assert missed == []
    assert verify_path(kept.data).valid


def test_a_bit_that_turns_in_a_record_is_found_while_the_market_runs(
    kept: Kept, tmp_path: Path
) -> None:
    """Every table with records, each at three places inside its rows."""
    import sqlite3

    data = tmp_path / "live"
    shutil.copytree(kept.data, data)
    (data / "market.db.sum").unlink()
    path, rng = data / "market.db", random.Random(3)
    good = path.read_bytes()
    with sqlite3.connect(path) as db:
        texts = [
            text.encode()
            for table in ("party", "listing", "trade", "delivery", "holding", "recall_notice")
            for (text,) in db.execute(f"SELECT body FROM {table} LIMIT 1")
        ]
        texts += [t.encode() for (t,) in db.execute("SELECT payload FROM event LIMIT 3")]
    db.close()
    tried = 0
    for text in texts:
        piece = text[: min(len(text), 300)]  # a long row goes on in other pages
        start = good.find(piece)
        if start < 0:
            continue
        for _ in range(2):
            at = start + rng.randrange(len(piece))
            path.write_bytes(good[:at] + bytes([good[at] ^ 1 << rng.randrange(8)]) + good[at + 1 :])
            assert found_by_verify(data), (text[:80], at - start)
            tried += 1
    assert tried >= 10


@pytest.mark.slow
def test_a_thousand_bits_that_turn_are_a_thousand_found(kept: Kept) -> None:
    at_rest: Counter[str] = Counter()
    for kind, found in flips(kept, 1000, 71, KINDS):
        at_rest[f"{kind} {'found' if found else 'missed'}"] += 1
    missed = sum(n for name, n in at_rest.items() if name.endswith("missed"))
    sum_file = kept.data / "market.db.sum"
    line = sum_file.read_bytes()
    sum_file.unlink()
    running: Counter[str] = Counter()
    for _, found in flips(kept, 200, 72, ("ledger",)):
        running["found" if found else "not covered"] += 1
    sum_file.write_bytes(line)
    write_result(
        "bit_rot",
        "R7: 1,000 single bits turned in ledger, tiles, blobs, checkpoint: all found",
        violations=missed,
        at_rest=dict(at_rest),
        ledger_without_its_sum=dict(running),
        database_bytes=(kept.data / "market.db").stat().st_size,
    )
    assert missed == 0, at_rest
