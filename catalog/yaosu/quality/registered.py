"""What operators have every corpus looked through for: benchmarks, and word lists of unsafe text.

Each name has numbered versions; the newest that was not removed is looked for. Its bytes are a blob
that nobody can read over the market: shown are its digests and counts.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from yaosu.identity import absent, allow
from yaosu.model import Actor, Holding, Registered, new_id
from yaosu.ports import BlobStore, Reader, Transaction
from yaosu_schemas.errors import InvalidInput

KINDS = {"benchmarks": "benchmark", "rulesets": "ruleset"}
HOLDER = "registered"  # holds the blobs, whatever becomes of the party that sent them
_SUFFIX = re.compile(r"(?:\.[A-Za-z0-9]{1,8}){1,2}$")
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")


def suffix_of(filename: str, kind: str) -> str:
    """Return the ending of a file name, which says its format; InvalidInput without one."""
    found = _SUFFIX.search(filename)
    if found is None or (kind == "ruleset" and found[0].lower() != ".csv"):
        raise InvalidInput(
            "filename: its ending says the format (.jsonl, .csv, .parquet …; word lists: .csv)",
            "filename：需以扩展名说明格式（.jsonl、.csv、.parquet 等；词表为 .csv）",
            field="filename",
        )
    return found[0].lower()


def held(reader: Reader, actor: Actor, sha256: str) -> Holding:
    """Return the file that an operator has uploaded to be registered."""
    allow(actor, "registered.manage")
    found = reader.one(Holding, party_id=actor.party_id, sha256=sha256)
    if found is None:
        raise absent("upload", sha256)
    return found


def versions(reader: Reader, actor: Actor | None, kind: str) -> list[Registered]:
    """Return all versions of a kind, newest first, to members."""
    allow(actor, "registered.read")
    found: list[Registered] = []
    for state in ("active", "replaced", "removed"):
        found += (r for r in reader.find(Registered, state=state, limit=1000) if r.purpose == kind)
    return sorted(found, key=lambda r: r.id, reverse=True)


def current(reader: Reader, kind: str, name: str) -> Registered | None:
    """Return the version of a name that is looked for now."""
    live = reader.find(Registered, state="active", limit=1000)
    return next((r for r in live if (r.purpose, r.name) == (kind, name)), None)


def add(
    tx: Transaction, actor: Actor, kind: str, name: str, sha256: str, suffix: str,
    facts: Mapping[str, Any],
) -> Registered:  # fmt: skip
    """Register the next version of a name; the same bytes again change nothing."""
    file = held(tx, actor, sha256)
    if not _NAME.fullmatch(name):
        raise InvalidInput("name: a-z, 0-9, -", "name：仅限 a-z、0-9、-", field="name")
    before = current(tx, kind, name)
    if before is not None:
        before = tx.get(Registered, before.id)
        if before.sha256 == sha256 and before.suffix == suffix:
            return before
        tx.put(replace(before, state="replaced", ended_at=tx.now))
    number = 1
    while tx.one(Registered, purpose=kind, name=name, number=number) is not None:
        number += 1
    made = Registered(
        id=new_id("rgd"), purpose=kind, name=name, number=number, sha256=sha256, bytes=file.bytes,
        suffix=suffix, facts=dict(facts), added_by=actor.id, created_at=tx.now,
    )  # fmt: skip
    tx.add(made)
    if tx.one(Holding, party_id=HOLDER, sha256=sha256) is None:
        tx.add(replace(file, id=new_id("hld"), party_id=HOLDER, created_at=tx.now))
    tx.record(f"{kind}:{name}", "registered", actor_id=actor.id, payload=shown(made))
    return made


def remove(tx: Transaction, actor: Actor, kind: str, name: str) -> Registered:
    """Look for a name no longer; what was found before stays in its reports."""
    allow(actor, "registered.manage")
    found = current(tx, kind, name)
    if found is None:
        raise absent(kind, name)
    ended = replace(tx.get(Registered, found.id), state="removed", ended_at=tx.now)
    tx.put(ended)
    tx.record(f"{kind}:{name}", "removed", actor_id=actor.id, payload=shown(ended))
    return ended


def shown(one: Registered) -> dict[str, Any]:
    """Return what anyone with a key may know: digests and counts, no text."""
    return {
        "id": one.id,
        "kind": one.purpose,
        "name": one.name,
        "version": one.number,
        "state": one.state,
        "sha256": one.sha256,
        "bytes": one.bytes,
        **one.facts,
        "added_at": one.created_at.isoformat(),
        "ended_at": one.ended_at.isoformat() if one.ended_at else None,
    }


def lay_out(
    reader: Reader, blobs: BlobStore, by_hand: Path, place: Path
) -> tuple[dict[str, dict[str, Any]], list[Path]]:
    """Return options of checks, and the folders they read: of `place`, or those made by hand.

    Files in `benchmarks` and `safety` of the market's data count as registered too.
    """
    options: dict[str, dict[str, Any]] = {}
    live = reader.find(Registered, state="active", limit=1000)
    reads = []
    sought = sorted(p.resolve() for p in (by_hand / "benchmarks").glob("*") if p.is_file())
    if sought:
        reads.append(by_hand / "benchmarks")
    files = {_file(r): r.sha256 for r in live if r.purpose == "benchmark"}
    if files:
        blobs.lay_out(files, place / "benchmarks")
        sought += sorted(place.resolve() / "benchmarks" / name for name in files)
        reads.append(place / "benchmarks")
    if sought:
        options["corpus.contamination"] = {"benchmarks": [str(path) for path in sought]}
    words = by_hand / "safety"
    lists = [r for r in live if r.purpose == "ruleset"]
    if lists:
        words = _one_ruleset(lists, blobs, words, place / "safety")
    if words.is_dir() and any(words.iterdir()):
        options["corpus.safety"] = {"words": str(words.resolve())}
        reads.append(words)
    return options, reads


def _one_ruleset(lists: list[Registered], blobs: BlobStore, by_hand: Path, place: Path) -> Path:
    """Lay all word lists out as one ruleset whose version names each of them."""
    blobs.lay_out({_file(r): r.sha256 for r in lists}, place)
    for path in by_hand.glob("*.csv"):
        (place / f"by-hand-{path.name}").write_bytes(path.read_bytes())
    told = ", ".join(f"{r.name} {r.number}" for r in sorted(lists, key=lambda r: r.name))
    about = {"name": "registered", "version": told if len(told) <= 100 else f"{told[:99]}…"}
    (place / "ruleset.json").write_text(json.dumps(about), "utf-8")
    return place


def _file(one: Registered) -> str:
    return f"{one.name}@{one.number}{one.suffix}"
