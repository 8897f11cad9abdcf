"""A server in the small that is there to be killed: it says what it has acknowledged.

    python store_victim.py DATABASE FOLDER SEED [--lie]

Every line on stdout is a promise made to somebody outside: `event SUBJECT SEQ DIGEST SHA256`,
`upload ID OFFSET`, `job N`. With --lie it promises first and keeps its word afterwards: a test
that does not notice would notice nothing.
"""

from __future__ import annotations

import hashlib
import os
import random
import sys
import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from yaosu.jobs import SqlJobQueue, Worker
from yaosu.model import Holding, Reply, Upload, new_id
from yaosu.ports import Store, Transaction
from yaosu.storage.blobs import LocalBlobs
from yaosu.storage.sql import open_store
from yaosu.storage.uploads import UploadFiles

UPLOAD_BYTES = 1 << 20
DONE = Reply(fingerprint="", status=200, headers={}, body=b"")


class Now:
    def now(self) -> datetime:
        return datetime.now(UTC)


def upload_bytes(upload_id: str, start: int, end: int) -> bytes:
    """What belongs at these places of an upload: anybody who knows its id can tell."""
    block = hashlib.sha256(upload_id.encode()).digest()
    return (block * (end // len(block) + 1))[start:end]


def say(*words: object) -> None:
    os.write(1, (" ".join(map(str, words)) + "\n").encode())


def stop(error: BaseException) -> None:
    """End at once, as a server must whose disk failed it (P1)."""
    say("stopped", type(error).__name__)
    os._exit(70)


def trade(store: Store, blobs: LocalBlobs, chance: random.Random, lie: bool) -> None:
    """Publish bytes, then record them, with money and a job, in one step; for ever."""
    subject = new_id("trd")
    seq = 0
    while True:
        data = chance.randbytes(chance.randrange(1, 20_000))
        if lie:
            say("event", subject, seq, "unknown", hashlib.sha256(data).hexdigest())
        sha256, size = blobs.put([data])

        def step(tx: Transaction, sha256: str = sha256, size: int = size) -> Any:
            tx.add(
                Holding(
                    id=new_id("hld"), party_id=subject, sha256=sha256, bytes=size, created_at=tx.now
                )
            )
            event = tx.record(subject, "step", actor_id="victim", payload={"sha256": sha256})
            amount = chance.randrange(1, 10**9)
            tx.post(subject, event, {f"buyer:{subject}": -amount, f"escrow:{subject}": amount})
            tx.enqueue("count", {"job": f"{subject}-{event.seq}"})
            tx.notify("trade", subject)
            return event

        event = store.write(step)
        if not lie:
            say("event", subject, event.seq, event.digest, sha256)
        seq = event.seq + 1


def upload(store: Store, files: UploadFiles, chance: random.Random) -> None:
    """Take up an open upload where it is acknowledged, or begin one; for ever."""
    while True:
        with store.read() as reader:
            known = reader.one(Upload, state="open")
        if known is None:
            known = store.write(begin)
            files.create(known.id, known.length)
        with files.resume(known.id, known.offset, known.length) as appending:
            while appending.offset < known.length:
                end = min(known.length, appending.offset + chance.randrange(1, 100_000))
                appending.write(upload_bytes(known.id, appending.offset, end))
                known = replace(known, offset=appending.sync())
                store.write(lambda tx, known=known: tx.put(known))
                say("upload", known.id, known.offset)
        store.write(lambda tx, known=known: tx.put(replace(known, state="done")))


def begin(tx: Transaction) -> Upload:
    made = Upload(
        id=new_id("upl"),
        party_id="p",
        length=UPLOAD_BYTES,
        created_at=tx.now,
        expires_at=tx.now + timedelta(days=1),
    )
    tx.add(made)
    return made


def main() -> None:
    database, folder, seed = sys.argv[1:4]
    lie = "--lie" in sys.argv
    store = open_store(database, clock=Now(), on_fatal=stop)
    blobs = LocalBlobs(Path(folder) / "blobs", reserve_bytes=0, on_fatal=stop)
    files = UploadFiles(Path(folder) / "uploads", reserve_bytes=0, on_fatal=stop)
    with store.read() as reader:
        for known in reader.find(Upload, state="open"):
            if not (files.root / known.id).exists():
                files.create(known.id, known.length)  # killed between the row and the file
    queue = SqlJobQueue(store, Now(), attempts=100)

    def count(body: Any) -> None:
        """Do the job's one effect, however often it is run."""
        store.write(
            lambda tx: tx.replay("worker", body["job"]) or tx.remember("worker", body["job"], DONE)
        )

    queue.take_back()
    Worker(queue, {"count": count}, threads=1).start()
    say("ready")
    for n in range(3):
        chance = random.Random(f"{seed} {n}")
        threading.Thread(target=trade, args=(store, blobs, chance, lie), daemon=True).start()
    upload(store, files, random.Random(seed))


if __name__ == "__main__":
    main()
