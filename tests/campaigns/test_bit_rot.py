"""One bit turns somewhere in a data directory, and `yaosu verify` says so (R7).

At rest every byte is covered, the unused ones too. While a market runs, or was killed, its database
has no sum of its own: then every byte that says something is covered, whatever table it is of. Not
covered are work in hand (jobs, positions of followers), which proves nothing and is done again, and
room that nothing is read from; those are counted by name.
"""

from __future__ import annotations

import os
import random
import shutil
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from campaigns.live_bytes import Stretch, live_bytes
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
        yield kind, flipped(kept, rng.choice(kept.files[kind]), rng)


def flipped(kept: Kept, path: Path, rng: random.Random, at: int | None = None) -> bool:
    """Turn one bit of a file, at a place or anywhere, and back; return whether it was found."""
    mode, good = path.stat().st_mode, path.read_bytes()
    at = rng.randrange(len(good)) if at is None else at
    path.chmod(0o644)
    try:
        path.write_bytes(good[:at] + bytes([good[at] ^ 1 << rng.randrange(8)]) + good[at + 1 :])
        return found_by_verify(kept.data)
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


WORK = frozenset({"job", "outbox", "log_queue", "sqlite_sequence", "alembic_version"})
"""Tables of what is still to be done, and of which migration was the last."""
RUNNING = ("ledger", "tiles", "ledger", "entries", "ledger", "blobs", "ledger", "checkpoint")


@pytest.fixture
def running(kept: Kept, tmp_path: Path) -> Kept:
    """The same market as it is while it runs: its database has no sum."""
    data = tmp_path / "live"
    shutil.copytree(kept.data, data)
    (data / "market.db.sum").unlink()
    return Kept(data, _files(data))


def stretches(running: Kept) -> tuple[list[Stretch], list[Stretch]]:
    """Return what says something in the database: of the books, and of work in hand."""
    found = live_bytes(running.data / "market.db")
    books = [s for s in found if s.table not in WORK]
    return books, [s for s in found if s.table in WORK]


def in_books(stretches_: list[Stretch], rng: random.Random) -> int:
    """Return the place of a byte, each as likely as any other."""
    sizes = [s.end - s.start for s in stretches_]
    one = rng.choices(stretches_, sizes)[0]
    return rng.randrange(one.start, one.end)


def turned(running: Kept, count: int, seed: int) -> Counter[str]:
    """Turn bits in the books, tiles, entries, blobs and checkpoint of a running market."""
    rng = random.Random(seed)
    books, _ = stretches(running)
    seen: Counter[str] = Counter()
    for n in range(count):
        kind = RUNNING[n % len(RUNNING)]
        path = rng.choice(running.files[kind])
        at = in_books(books, rng) if kind == "ledger" else None
        seen[f"{kind} {'found' if flipped(running, path, rng, at) else 'missed'}"] += 1
    return seen


def test_a_bit_that_turns_while_the_market_runs_is_found(running: Kept) -> None:
    seen = turned(running, 48, 3)
    assert not [name for name in seen if name.endswith("missed")], seen
    books, work = stretches(running)
    live = sum(s.end - s.start for s in books)
    assert live > 20 * sum(s.end - s.start for s in work)


def test_a_reply_and_the_schema_are_covered_while_the_market_runs(running: Kept) -> None:
    """Two that no record holds: what was answered, and what the tables are."""
    books, _ = stretches(running)
    rng = random.Random(5)
    for table in ("reply", "sqlite_schema"):
        own = [s for s in books if s.table == table]
        for _ in range(6):
            at = in_books(own, rng)
            assert flipped(running, running.data / "market.db", rng, at), (table, at)


@pytest.mark.slow
def test_a_thousand_bits_that_turn_are_a_thousand_found(kept: Kept, running: Kept) -> None:
    count = int(os.environ.get("YAOSU_FLIPS", "1000"))
    at_rest: Counter[str] = Counter()
    for kind, found in flips(kept, count, 71, KINDS):
        at_rest[f"{kind} {'found' if found else 'missed'}"] += 1
    while_running = turned(running, count, 72)
    books, work = stretches(running)
    whole = (running.data / "market.db").stat().st_size
    said = [sum(s.end - s.start for s in part) for part in (books, work)]
    missed = [n for seen in (at_rest, while_running) for k, n in seen.items() if "missed" in k]
    write_result(
        "bit_rot",
        "R7: 1,000 single bits turned in ledger, tiles, blobs, checkpoint: all found; at rest "
        "anywhere, while the market runs wherever a byte says something",
        violations=sum(missed),
        whole=count >= 1000,
        at_rest=dict(at_rest),
        while_running=dict(while_running),
        database_bytes={"books": said[0], "work in hand": said[1], "room": whole - sum(said)},
    )
    assert not missed, (at_rest, while_running)
