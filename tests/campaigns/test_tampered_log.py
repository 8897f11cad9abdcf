"""A million entries, and everything an operator with the key can do to them is caught (R15).

Three who watch: a client that keeps its receipts and the last checkpoint, a monitor that reads the
tiles (a second verifier), and a witness. Corruption is the monitor's; a rewritten history, signed
with the log's own key and consistent in itself, is caught by all three.
"""

from __future__ import annotations

import os
import random
import shutil
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from campaigns.real import write_result
from campaigns.tile_reader import WIDTH, Caught, Reader, head_from_path, sha, tree_head
from yaosu.proof import merkle
from yaosu.proof.checkpoint import Checkpoint, verifier_key
from yaosu.proof.evidence import leaf_entry
from yaosu.proof.signing import Signer
from yaosu.proof.tiles import TileFolder
from yaosu.proof.witness_client import request
from yaosu.proof.witness_server import Witness

ORIGIN = "campaign.test/log"
KEY = Signer.from_seed(b"\x07" * 32)
BATCH = 4096


def entry(rng: random.Random, n: int) -> bytes:
    return leaf_entry(
        {
            "subject_id": f"trd_{rng.getrandbits(128):032x}",
            "seq": n % 20,
            "type": "deliver_start",
            "digest": f"sha256:{rng.getrandbits(256):064x}",
            "at": "2026-01-01T00:00:00.000000Z",
        }
    )


@dataclass
class Grown:
    """A log on disk, what a client kept of it, and what it cost."""

    folder: Path
    size: int
    seen: list[tuple[int, bytes]] = field(default_factory=list)  # checkpoints on the way
    kept: dict[int, bytes] = field(default_factory=dict)  # leaves that a client has receipts of
    append_s: float = 0.0

    def reader(self) -> Reader:
        return Reader(self.folder, ORIGIN, KEY.public_bytes)


def grow(folder: Path, size: int) -> Grown:
    """Append in batches as the sequencer does, signing after each; time the writing alone."""
    rng, tiles, made = random.Random(size), TileFolder(folder), Grown(folder, size)
    folder.mkdir(parents=True)
    wanted = set(rng.sample(range(size), 64))
    done = 0
    while done < size:
        batch = [entry(rng, n) for n in range(done, min(size, done + BATCH))]
        before = time.process_time()
        tiles.append(done, batch)
        tiles.drop_superseded(done, done + len(batch))
        made.append_s += time.process_time() - before
        for n in wanted & set(range(done, done + len(batch))):
            made.kept[n] = sha(b"\0", batch[n - done])
        done += len(batch)
        root = merkle.root(tiles.node(done), done)
        made.seen.append((done, root))
    sign(folder, done, root)
    return made


def sign(folder: Path, size: int, root: bytes) -> bytes:
    note = Checkpoint(ORIGIN, size, root).signed(KEY)
    (folder / "checkpoint").write_bytes(note)
    return note


# --- what the operator does ----------------------------------------------------------------------


def files_of(log: Grown, kind: str) -> list[Path]:
    """Return the files of a kind, from the shape of the tree: a million is not listed."""
    full = range(log.size // WIDTH)
    if kind == "entries":
        found = [log.folder / merkle.entries_path(i) for i in full]
    else:
        found = [log.folder / merkle.tile_path(0, i) for i in full]
        found += [p for level in ("1", "2") for p in (log.folder / "tile" / level).rglob("*")]
    return [p for p in found if p.is_file()]


def bundle_of(log: Grown, path: Path) -> int | None:
    """Return a leaf below a tile, to audit the path that leads through it."""
    parts = path.relative_to(log.folder / "tile").parts
    level = 0 if parts[0] == "entries" else int(parts[0])
    digits = "".join(p.removesuffix(".p").lstrip("x") for p in parts[1:] if not _partial(parts, p))
    return int(digits) * WIDTH ** (level + 1)


def _partial(parts: tuple[str, ...], part: str) -> bool:
    return part == parts[-1] and len(parts) > 2 and parts[-2].endswith(".p")


def corrupt(log: Grown, rng: random.Random, kind: str) -> tuple[Path, bytes, int]:
    """Change a file; returns it, what it was, and a leaf below it."""
    path = rng.choice(files_of(log, "entries" if kind in ("entry", "swap", "cut") else "tile"))
    good = path.read_bytes()
    at = rng.randrange(len(good))
    if kind == "cut":
        path.write_bytes(good[:at])
    elif kind == "swap":
        other = path
        while other == path:
            other = rng.choice(files_of(log, "entries"))
        path.write_bytes(other.read_bytes())
    else:
        path.write_bytes(good[:at] + bytes([good[at] ^ 1 << rng.randrange(8)]) + good[at + 1 :])
    return path, good, _leaf_below(log, path, at, kind)


def _leaf_below(log: Grown, path: Path, at: int, kind: str) -> int:
    first = bundle_of(log, path) or 0
    if kind != "tile":
        return first
    level = path.relative_to(log.folder / "tile").parts[0]
    return first + at // 32 * WIDTH ** int(level)


def rewritten(log: Grown, rng: random.Random) -> tuple[dict[Path, bytes], bytes]:
    """Rewrite one entry and everything above it, and sign: a history without a flaw of its own.

    Returns what the files were, and the new checkpoint.
    """
    before: dict[Path, bytes] = {}

    def put(path: Path, content: bytes) -> None:
        before[path] = path.read_bytes()
        path.write_bytes(content)

    index = rng.randrange(log.size // WIDTH)
    bundle = log.folder / merkle.entries_path(index)
    entries = merkle.unpack(bundle.read_bytes())
    at = rng.randrange(WIDTH)
    entries[at] = entry(rng, at)
    put(bundle, merkle.pack(entries))
    changed, place, level = sha(b"\0", entries[at]), index * WIDTH + at, 0
    while True:
        tile, slot = divmod(place, WIDTH)
        width = min(WIDTH, (log.size >> 8 * level) - tile * WIDTH)
        if width <= slot:
            break
        path = log.folder / merkle.tile_path(level, tile)
        if width < WIDTH:
            path = log.folder / merkle.tile_path(level, tile, width)
        content = bytearray(path.read_bytes())
        content[32 * slot : 32 * slot + 32] = changed
        put(path, bytes(content))
        if width < WIDTH:
            break
        changed = tree_head([bytes(content[32 * i : 32 * i + 32]) for i in range(WIDTH)])
        place, level = tile, level + 1
    put(log.folder / "checkpoint", (log.folder / "checkpoint").read_bytes())
    return before, sign(log.folder, log.size, log.reader().head(log.size))


# --- who watches ----------------------------------------------------------------------------------


def monitor_catches(log: Grown, only: int, known: tuple[int, bytes]) -> bool:
    """A second verifier over the tiles, which remembers the last checkpoint that it saw."""
    try:
        size, root = log.reader().checkpoint()
        if size < known[0] or (size == known[0] and root != known[1]):
            return True  # a shorter log, or two trees of one size, both signed: proof of guilt
        log.reader().audit(size, root, only)
    except Caught:
        return True
    return False


def client_catches(log: Grown, known: tuple[int, bytes], rng: random.Random) -> bool:
    """A client asks for the checkpoint and for consistency with the one that it holds."""
    try:
        size, root = log.reader().checkpoint()
    except Caught:
        return True
    if size < known[0] or (size == known[0] and root != known[1]):
        return True
    index, leaf = rng.choice(sorted(log.kept.items()))
    proof = merkle.inclusion_proof(TileFolder(log.folder).node(size), index, size)
    try:
        return head_from_path(leaf, index, size, proof) != root
    except Caught:
        return True


def witness_refuses(witness: Witness, log: Grown, known: tuple[int, bytes]) -> bool:
    """The witness has cosigned the true log; whatever else comes gets no name under it."""
    note = (log.folder / "checkpoint").read_bytes()
    return witness.add_checkpoint(request(known[0], [], note)).status != 200


def trials(log: Grown, count: int, folder: Path, seed: int) -> Counter[str]:
    """Run so many attacks; count what was caught, and what was not, by kind."""
    rng, found = random.Random(seed), Counter[str]()
    known = log.seen[-1]
    good_note = (log.folder / "checkpoint").read_bytes()
    witness = Witness(folder / "w", "w.test", [verifier_key(ORIGIN, KEY.public_bytes)])
    assert witness.add_checkpoint(request(0, [], good_note)).status == 200
    for _ in range(50):  # nobody cries before anything is done
        assert not monitor_catches(log, rng.randrange(log.size), known)
        assert not client_catches(log, known, rng)
    kinds = ("entry", "tile", "cut", "swap", "checkpoint", "rollback", "fork")
    for n in range(count):
        kind = kinds[n % len(kinds)]
        if kind in ("entry", "tile", "cut", "swap"):
            path, good, leaf = corrupt(log, rng, kind)
            caught = monitor_catches(log, leaf, known)
            path.write_bytes(good)
        elif kind == "checkpoint":
            at = rng.randrange(len(good_note))
            bent = good_note[:at] + bytes([good_note[at] ^ 1 << rng.randrange(8)])
            (log.folder / "checkpoint").write_bytes(bent + good_note[at + 1 :])
            caught = _not_as_signed(log, good_note)
        elif kind == "rollback":
            sign(log.folder, *rng.choice(log.seen[:-1]))
            caught = client_catches(log, known, rng) and witness_refuses(witness, log, known)
            caught = caught and monitor_catches(log, 0, known)
        else:
            before, _ = rewritten(log, rng)
            fine_in_itself = not monitor_catches(log, rng.randrange(log.size), (0, b""))
            caught = client_catches(log, known, rng) and witness_refuses(witness, log, known)
            caught = caught and monitor_catches(log, 0, known) and fine_in_itself
            for path, was in before.items():
                path.write_bytes(was)
        (log.folder / "checkpoint").write_bytes(good_note)
        found["caught" if caught else f"missed {kind}"] += 1
        found[f"tried {kind}"] += 1
    return found


def _not_as_signed(log: Grown, good: bytes) -> bool:
    """A changed checkpoint is no checkpoint, to either verifier."""
    from yaosu.errors import YaosuError
    from yaosu.proof.checkpoint import verified

    note = (log.folder / "checkpoint").read_bytes()
    try:
        ours = verified(note, ORIGIN, KEY.public_key)
    except YaosuError:
        return True
    # A byte of a line that is nobody's signature may change; what is said may not.
    size, root = log.reader().checkpoint(good)
    return (ours.size, ours.root) == (size, root) and _harmless(note, good)


def _harmless(note: bytes, good: bytes) -> bool:
    return note.partition(b"\n\n")[0] == good.partition(b"\n\n")[0]


# --- the promises ---------------------------------------------------------------------------------


def proof_times(log: Grown, count: int, seed: int) -> tuple[list[float], int]:
    """Seconds of CPU per inclusion proof, and the bytes of the longest; each is checked twice."""
    rng, spent, longest = random.Random(seed), [], 0
    node, (size, root) = TileFolder(log.folder).node(log.size), log.seen[-1]
    for _ in range(count):
        index = rng.randrange(size)
        before = time.process_time()
        proof = merkle.inclusion_proof(node, index, size)
        spent.append(time.process_time() - before)
        longest = max(longest, sum(map(len, proof)))
        leaf = log.reader().leaves(index // WIDTH, min(WIDTH, size - index // WIDTH * WIDTH))
        here = leaf[index % WIDTH]
        assert merkle.verify_inclusion(here, index, size, proof, root)
        assert head_from_path(here, index, size, proof) == root
    return sorted(spent), longest


def test_whatever_is_done_to_the_log_is_caught(tmp_path: Path) -> None:
    log = grow(tmp_path / "log", 20_000)
    log.reader().audit(*log.seen[-1])
    _, longest = proof_times(log, 20, 3)
    assert longest <= 640
    found = trials(log, 42, tmp_path, 5)
    assert found["caught"] == 42, found
    log.reader().audit(*log.seen[-1])


def test_the_second_verifier_agrees_for_every_small_size(tmp_path: Path) -> None:
    for size in (1, 2, 3, 7, 255, 256, 257, 511, 513, 65_535, 65_537):
        log = grow(tmp_path / str(size), size) if size > 64 else _small(tmp_path, size)
        assert log.reader().head(size) == log.seen[-1][1]
        log.reader().audit(*log.seen[-1])


def _small(folder: Path, size: int) -> Grown:
    made, rng = Grown(folder / str(size), size), random.Random(size)
    made.folder.mkdir()
    tiles = TileFolder(made.folder)
    tiles.append(0, [entry(rng, n) for n in range(size)])
    made.seen.append((size, merkle.root(tiles.node(size), size)))
    sign(made.folder, *made.seen[-1])
    return made


def test_the_reference_vectors_of_certificate_transparency_hold() -> None:
    leaves = [sha(b"\0", bytes.fromhex(x)) for x in CT_LEAVES]
    for n, root in enumerate(CT_ROOTS, 1):
        assert tree_head(leaves[:n]).hex() == root
        assert merkle.root(merkle.node_in_memory(leaves[:n]), n).hex() == root


CT_LEAVES = (
    "", "00", "10", "2021", "3031", "40414243", "5051525354555657",
    "606162636465666768696a6b6c6d6e6f",
)  # fmt: skip
CT_ROOTS = (
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
)


@pytest.mark.slow
def test_a_million_entries_and_five_hundred_attacks(tmp_path: Path) -> None:
    size = int(os.environ.get("YAOSU_CAMPAIGN_LEAVES", "1000000"))
    log = grow(tmp_path / "log", size)
    before = time.process_time()
    log.reader().audit(*log.seen[-1])
    audit_s = time.process_time() - before
    times, longest = proof_times(log, 1000, 1)
    found = trials(log, 500, tmp_path, 15)
    missed = 500 - found["caught"]
    write_result(
        "tampered_log",
        "R15: 1 M entries; append >= 20,000/s, proof <= 1 ms, 500 attacks caught",
        violations=missed,
        entries=size,
        appended_per_cpu_second=round(size / log.append_s),
        proof_ms_p50=round(times[len(times) // 2] * 1000, 3),
        proof_ms_p99=round(times[-10] * 1000, 3),
        proof_bytes=longest,
        second_audit_cpu_s=round(audit_s, 1),
        attacks=dict(found),
    )
    assert missed == 0, found
    assert longest <= 640
    shutil.rmtree(log.folder)
