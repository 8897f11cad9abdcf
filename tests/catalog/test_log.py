"""The log: what strangers can check, and what a crash between any two writes leaves behind."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import os
import random
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from template import with_tables
from yaosu.errors import InvalidInput, Malformed, NotFound, Unavailable, Unverified
from yaosu.model import Event
from yaosu.ports import Store
from yaosu.proof import checkpoint as notes
from yaosu.proof.log import Log
from yaosu.proof.merkle import leaf_hash, verify_consistency, verify_inclusion
from yaosu.proof.signing import Signer
from yaosu.storage.sql import open_store

ORIGIN = "market.test/log"
KEY = Signer.from_seed(bytes(range(32)))


class Clock:
    def now(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    store = open_store(with_tables(tmp_path / "data"), clock=Clock())
    yield store
    store.close()


def happen(store: Store, n: int, subject: str = "trd_1") -> list[Event]:
    def step(tx: Any) -> list[Event]:
        return [
            tx.record(subject, "agreed", actor_id="mbr_1", payload={"secret": f"price {i}"})
            for i in range(n)
        ]

    return store.write(step)


# --- a second verifier: shares no code with the log ------------------------------------------


def stranger_reads(folder: Path, public_key: str) -> tuple[int, bytes, list[bytes]]:
    """Return size, root and entries of a log on disk; AssertionError for anything wrong."""
    text = (folder / "checkpoint").read_bytes()
    body, _, tail = text.rpartition(b"\n\n")
    body += b"\n"
    origin, size_text, root_text = body.decode().splitlines()
    dash, name, value = tail.decode().rstrip("\n").split(" ")
    assert (dash, name) == ("—", origin)
    raw_key, raw = base64.b64decode(public_key), base64.b64decode(value)
    assert raw[:4] == hashlib.sha256(origin.encode() + b"\n\x01" + raw_key).digest()[:4]
    Ed25519PublicKey.from_public_bytes(raw_key).verify(raw[4:], body)
    size, root = int(size_text), base64.b64decode(root_text)

    def tile(kind: str, index: int, width: int) -> bytes:
        groups = f"{index:03d}" if index < 1000 else f"x{index // 1000:03d}/{index % 1000:03d}"
        whole = folder / "tile" / kind / groups
        return (whole if width == 256 else Path(f"{whole}.p/{width}")).read_bytes()

    entries: list[bytes] = []
    for index in range(-(-size // 256)):
        bundle = tile("entries", index, min(256, size - index * 256))
        while bundle:
            n = bundle[0] << 8 | bundle[1]
            assert len(bundle) >= 2 + n
            entries.append(bundle[2 : 2 + n])
            bundle = bundle[2 + n :]
    assert len(entries) == size
    level = [hashlib.sha256(b"\0" + e).digest() for e in entries]

    def mth(hashes: list[bytes]) -> bytes:
        if len(hashes) == 1:
            return hashes[0]
        k = 1 << (len(hashes) - 1).bit_length() - 1
        return hashlib.sha256(b"\1" + mth(hashes[:k]) + mth(hashes[k:])).digest()

    assert (mth(level) if level else hashlib.sha256().digest()) == root
    height = 0
    while level:
        for index in range(-(-len(level) // 256)):
            here = level[index * 256 : index * 256 + 256]
            assert tile(str(height), index, len(here)) == b"".join(here)
        level = [mth(level[i : i + 256]) for i in range(0, len(level) - 255, 256)]
        height += 1
    return size, root, entries


# --- promises --------------------------------------------------------------------------------


def test_every_event_gets_its_leaf_in_order_and_a_stranger_agrees(
    store: Store, tmp_path: Path
) -> None:
    log = Log(tmp_path / "log", store, KEY, ORIGIN)
    total = 0
    for n in (0, 1, 3, 252, 1, 300, 700):
        happen(store, n, subject=f"trd_{n}")
        total += n
        assert log.integrate(limit=200) == total
        size, _, entries = stranger_reads(log.folder, KEY.public_key)
        assert size == total == len(entries)
    with store.read() as reader:
        events = reader.events_after(0, limit=10_000)
    assert [e.digest.encode() in entry for e, entry in zip(events, entries, strict=True)] == [
        True
    ] * total


def test_a_leaf_shows_ids_and_digests_and_no_content(store: Store, tmp_path: Path) -> None:
    log = Log(tmp_path / "log", store, KEY, ORIGIN)
    event = happen(store, 1)[0]
    log.integrate()
    entry = log.resource("tile/entries/000.p/1")[2:]
    expected = (
        f'{{"at":"2026-01-01T00:00:00.000000Z","digest":"{event.digest}","seq":0,'
        '"subject":"trd_1","type":"agreed"}'
    )
    assert entry == expected.encode()
    assert b"price" not in entry
    assert b"mbr_1" not in entry


def test_inclusion_and_consistency_hold_against_the_signed_roots(
    store: Store, tmp_path: Path
) -> None:
    log = Log(tmp_path / "log", store, KEY, ORIGIN)
    roots: dict[int, bytes] = {}
    events: list[Event] = []
    for n in (1, 2, 250, 4, 600):
        events += happen(store, n)
        size = log.integrate()
        roots[size] = notes.verified(log.checkpoint_bytes(), ORIGIN, KEY.public_key).root
    _, _, entries = stranger_reads(log.folder, KEY.public_key)
    for index, event in enumerate(events):
        proof = log.inclusion(event.digest)
        hashes = [bytes.fromhex(h) for h in proof["hashes"]]
        assert (proof["index"], proof["size"]) == (index, size)
        assert verify_inclusion(leaf_hash(entries[index]), index, size, hashes, roots[size])
    old_proof = log.inclusion(events[0].digest, size=3)
    assert len(old_proof["hashes"]) == 2
    for old in roots:
        for new in (n for n in roots if n >= old):
            hashes = [bytes.fromhex(h) for h in log.consistency(old, new)["hashes"]]
            assert verify_consistency(old, new, roots[old], roots[new], hashes)
    text, proofs = log.prove(events[:3])
    assert text.encode() == log.checkpoint_bytes()
    assert {p["size"] for p in proofs} == {size}


def test_what_waits_or_is_unknown_has_no_proof(store: Store, tmp_path: Path) -> None:
    log = Log(tmp_path / "log", store, KEY, ORIGIN)
    event = happen(store, 1)[0]
    with pytest.raises(NotFound):
        log.inclusion(event.digest)
    log.integrate()
    assert log.inclusion(event.digest)["hashes"] == []
    with pytest.raises(NotFound):
        log.inclusion("sha256:" + "0" * 64)
    with pytest.raises(InvalidInput):
        log.inclusion(event.digest, size=2)
    with pytest.raises(InvalidInput):
        log.consistency(2, 1)


def test_a_partial_tile_of_any_earlier_width_is_served_and_none_beyond_the_checkpoint(
    store: Store, tmp_path: Path
) -> None:
    log = Log(tmp_path / "log", store, KEY, ORIGIN)
    seen = {}
    for n in (5, 5, 300):
        happen(store, n)
        size = log.integrate()
        width = min(size, 255)
        seen[width] = log.resource(f"tile/0/000.p/{width}")
        assert log.resource("checkpoint") == log.checkpoint_bytes()
    for width, content in seen.items():
        assert log.resource(f"tile/0/000.p/{width}") == content
    whole = log.resource("tile/0/000")
    assert len(whole) == 8192
    assert all(whole.startswith(part) for part in seen.values())
    assert log.resource("tile/1/000.p/1") == stranger_subtree(whole)
    for path in ("tile/0/001", "tile/0/001.p/55", "tile/1/000", "tile/2/000.p/1", "x", "../log"):
        with pytest.raises(NotFound):
            log.resource(path)
    assert sorted(p.name for p in (log.folder / "tile/0").iterdir()) == ["000", "001.p"]


def stranger_subtree(tile: bytes) -> bytes:
    hashes = [tile[i : i + 32] for i in range(0, len(tile), 32)]
    while len(hashes) > 1:
        hashes = [
            hashlib.sha256(b"\1" + hashes[i] + hashes[i + 1]).digest()
            for i in range(0, len(hashes), 2)
        ]
    return hashes[0]


def test_the_log_keeps_its_name_and_key(store: Store, tmp_path: Path) -> None:
    Log(tmp_path / "log", store, KEY, ORIGIN).close()
    again = Log(tmp_path / "log", store, KEY, "other.test/log")
    assert again.identity()["origin"] == ORIGIN
    with pytest.raises(Unverified):
        Log(tmp_path / "log", store, Signer.generate(), ORIGIN)
    with pytest.raises(InvalidInput):
        Log(tmp_path / "log2", store, KEY, "two words")


def test_an_older_copy_of_the_database_is_not_signed_over(tmp_path: Path) -> None:
    store = open_store(tmp_path / "data", clock=Clock())
    happen(store, 3)
    log = Log(tmp_path / "log", store, KEY, ORIGIN)
    log.integrate()
    store.close()
    shutil.copytree(tmp_path / "data", tmp_path / "backup")
    for folder in ("data", "backup"):
        store = open_store(tmp_path / folder, clock=Clock())
        happen(store, 2, subject=f"trd_{folder}")
        log = Log(tmp_path / "log", store, KEY, ORIGIN)
        if folder == "data":
            assert log.integrate() == 5
        else:
            with pytest.raises(Unverified):
                log.integrate()
        store.close()
    store = open_store(tmp_path / "fresh", clock=Clock())
    with pytest.raises(Unverified):
        Log(tmp_path / "log", store, KEY, ORIGIN).integrate()
    store.close()


class PowerCut(BaseException):
    """Ends a run at one write."""


def test_a_crash_at_any_write_loses_nothing_and_never_signs_two_roots_for_one_size(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    signed: dict[int, set[bytes]] = {}
    real_sign = Signer.sign_bytes

    def sign(self: Signer, data: bytes) -> bytes:
        size = int(data.split(b"\n")[1])
        signed.setdefault(size, set()).add(data)
        return real_sign(self, data)

    monkeypatch.setattr(Signer, "sign_bytes", sign)
    real = {"fsync": os.fsync, "replace": os.replace, "unlink": os.unlink}
    left = [0]

    def cut(name: str) -> Any:
        def call(*args: Any, **more: Any) -> Any:
            left[0] -= 1
            if left[0] == 0:
                raise PowerCut
            return real[name](*args, **more)

        return call

    happen(store, 250)
    Log(tmp_path / "before", store, KEY, ORIGIN).integrate()
    happen(store, 27)
    crashes = finished = 0
    for point in range(1, 60):
        shutil.copytree(tmp_path / "before", tmp_path / "log")
        log = Log(tmp_path / "log", store, KEY, ORIGIN)
        for name in real:
            monkeypatch.setattr(os, name, cut(name))
        left[0] = point
        try:
            log.integrate()
            finished += 1
        except PowerCut:
            crashes += 1
        left[0] = -1
        for name, function in real.items():
            monkeypatch.setattr(os, name, function)
        stranger_reads(log.folder, KEY.public_key)
        log = Log(tmp_path / "log", store, KEY, ORIGIN)
        assert log.integrate() == 277
        assert stranger_reads(log.folder, KEY.public_key)[0] == 277
        shutil.rmtree(tmp_path / "log")
        if finished:
            break
    assert crashes > 10
    assert finished >= 1
    for point_signed in signed.values():
        assert len(point_signed) == 1


def test_after_a_failed_sync_the_log_stops_and_a_full_disk_is_waited_out(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = Log(tmp_path / "log", store, KEY, ORIGIN)
    happen(store, 3)

    def fail(code: int) -> Any:
        def fsync(fd: int) -> None:
            raise OSError(code, os.strerror(code))

        return fsync

    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail(28))  # ENOSPC
        with pytest.raises(OSError, match="space"):
            log.integrate()
    assert log.integrate() == 3
    happen(store, 3)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", fail(5))  # EIO
        with pytest.raises(OSError, match="I/O|output"):
            log.integrate()
    with pytest.raises(Unavailable):
        log.integrate()
    assert log.size == 3
    assert Log(tmp_path / "log", store, KEY, ORIGIN).integrate() == 6


def test_two_sequencers_on_one_folder_take_turns(store: Store, tmp_path: Path) -> None:
    a = Log(tmp_path / "log", store, KEY, ORIGIN)
    b = Log(tmp_path / "log", store, KEY, ORIGIN)
    for n in range(1, 7):
        happen(store, 1)
        assert (a if n % 2 else b).integrate() == n
        assert a.size == b.size == n
    stranger_reads(a.folder, KEY.public_key)


@pytest.mark.parametrize("what", ["entries", "tile", "checkpoint", "next"])
def test_a_changed_byte_is_noticed(store: Store, tmp_path: Path, what: str) -> None:
    log = Log(tmp_path / "log", store, KEY, ORIGIN)
    happen(store, 300)
    log.integrate()
    path = {
        "entries": "tile/entries/000",
        "tile": "tile/0/001.p/44",
        "checkpoint": "checkpoint",
        "next": "next",
    }[what]
    rng = random.Random(4)
    good = (log.folder / path).read_bytes()
    for _ in range(30):
        at = rng.randrange(len(good))
        bad = good[:at] + bytes([good[at] ^ (1 << rng.randrange(8))]) + good[at + 1 :]
        (log.folder / path).write_bytes(bad)
        if what == "next":  # only followed after a crash: it never makes the log sign a guess
            with contextlib.suppress(Unverified):
                Log(tmp_path / "log", store, KEY, ORIGIN)
            stranger_reads(log.folder, KEY.public_key)
            continue
        with pytest.raises((AssertionError, Exception)):
            stranger_reads(log.folder, KEY.public_key)
        if what in ("checkpoint", "tile"):
            with pytest.raises((Unverified, Malformed)):
                Log(tmp_path / "log", store, KEY, ORIGIN)
    (log.folder / path).write_bytes(good)
    stranger_reads(log.folder, KEY.public_key)


def test_a_note_signed_by_others_is_read_as_they_wrote_it() -> None:
    """The example of the Go package `note`: key hash, key and signature are facts."""
    key = base64.b64decode("ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW")[1:]
    assert notes.verifier_key("PeterNeumann", key).split("+")[1] == "c74f20a3"
    value = base64.b64decode(
        "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM="
    )
    text = (
        b"If you think cryptography is the answer to your problem,\n"
        b"then you don't know what your problem is.\n"
    )
    note = notes.Note(text, notes.Checkpoint("", 0, b""), (("PeterNeumann", value),))
    assert note.signed_by("PeterNeumann", key)
    assert not note.signed_by("PeterNeumann", KEY.public_bytes)
    assert not note.signed_by("Other", key)


@pytest.mark.parametrize(
    "text",
    [
        b"", b"\n", b"a\n1\nx\n\n", b"\xff", b"o\n01\n" + b"A" * 43 + b"=\n\n\xe2\x80\x94 o AAAA\n",
        b"o\n1\nAAAA\n\n\xe2\x80\x94 o AAAA\n", b"o\n1\n" + b"A" * 43 + b"=\n\nnot a signature\n",
        b"o\n-1\n" + b"A" * 43 + b"=\n\n\xe2\x80\x94 o AAAA\n", b"x" * 100_000,
    ],
)  # fmt: skip
def test_what_is_no_checkpoint_is_malformed(text: bytes) -> None:
    with pytest.raises(Malformed):
        notes.read(text)
