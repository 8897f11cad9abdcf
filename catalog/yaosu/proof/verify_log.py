"""Offline verification of the transparency log: entries, tiles, root, signature."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from yaosu_schemas.errors import NotFound, YaosuError

from . import checkpoint as notes
from . import merkle, signing
from .evidence import leaf_entry
from .proofs import Findings, Progress
from .tiles import TileFolder
from .witness import Demand, check_witnesses, read_key


def check_checkpoint(
    log: Path, log_key: str | None, demand: Demand, found: Findings
) -> notes.Checkpoint | None:
    """Return the checkpoint if its signature holds under the key of the log."""
    try:
        signed = (log / "checkpoint").read_bytes()
        line = (log / "key").read_text("utf-8")
        name, _, key = line.rstrip("\n").split("+", 2)
        raw = signing.base64_bytes(key)[1:]
        if line != f"{notes.verifier_key(name, raw)}\n":
            raise ValueError("the key of the log is not a verifier key")
    except FileNotFoundError as error:
        missing = Path(str(error.filename)).name
        found.wrong(
            f"/log/{missing}", "missing", f"the log has no {missing}", f"日志缺少 {missing}"
        )
        return None
    public_key = signing.base64_text(raw)
    found.facts |= {"log_origin": name, "log_key": public_key}
    found.need(
        log_key is None or log_key == public_key,
        "/log/key",
        "key",
        "the log has another key than the one you know",
        "日志密钥与您已知的密钥不同",
    )
    tree = notes.verified(signed, name, public_key)
    found.need(
        signed == tree.body().encode() + b"\n" + signed.rpartition(b"\n\n")[2]
        and signed.count(b"\n") == 5,
        "/log/checkpoint",
        "form",
        "the checkpoint is not in the form in which it was signed",
        "检查点与签名时的形式不同",
    )
    with found.shape("/log/origin"):
        kept = _optional(log / "origin")
        found.need(
            kept in (None, f"{name}\n".encode()),
            "/log/origin",
            "mismatch",
            "the name of the log is not that of its key",
            "日志名称与其密钥不符",
        )
    found.facts["log_size"] = tree.size
    found.checked["checkpoints"] += 1
    _check_cosigned(log, tree, name, public_key, demand, found)
    return tree


def _optional(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def _check_cosigned(
    log: Path, tree: notes.Checkpoint, name: str, key: str, demand: Demand, found: Findings
) -> None:
    """Check what witnesses said of the log; its root is compared once the entries are read."""
    with found.shape("/log/cosigned"):
        kept = _optional(log / "witnesses") or b""
        keys = kept.decode("utf-8").split("\n")[:-1]
        found.need(
            kept == "".join(f"{read_key(k)}\n" for k in keys).encode(),
            "/log/witnesses",
            "form",
            "the keys of the witnesses are not in the form in which they were written",
            "见证方密钥与写入时的形式不同",
        )
        whole = _optional(log / "cosigned")
        if whole is None:
            found.need(
                demand.quorum == 0,
                "/log/cosigned",
                "witness",
                "no witness has cosigned this log",
                "没有见证方联署该日志",
            )
            return
        seen = notes.verified(whole, name, key)
        holds = check_witnesses(whole, keys, demand, "/log/cosigned", found)
        lines = {who for who, _ in notes.read(whole).signatures} - {name}
        found.need(
            lines <= {k.partition("+")[0] for k in holds} and seen.size <= tree.size,
            "/log/cosigned",
            "witness",
            "a cosignature here is of nobody that is named, or of a larger log",
            "存在未列名的联署，或联署的日志更大",
        )
        found.facts["witnesses"] = {k: str(at) for k, at in holds.items()}
        found.facts["cosigned_size"] = seen.size


def _cosigned_root(log: Path, hashes: list[bytes], found: Findings) -> None:
    """What witnesses have signed is the beginning of what is here."""
    whole = _optional(log / "cosigned")
    if whole is None:
        return
    with found.shape("/log/cosigned"):
        seen = notes.read(whole).checkpoint
        node = merkle.node_in_memory(hashes[: seen.size] or [b""])
        found.need(
            (merkle.root(node, seen.size) if seen.size else merkle.EMPTY_ROOT) == seen.root,
            "/log/cosigned",
            "root",
            "the witnesses have cosigned another log than this one",
            "见证方联署的是另一个日志",
        )


def check_log(
    log: Path,
    tree: notes.Checkpoint,
    events: Iterator[Mapping[str, Any]] | None,
    found: Findings,
    progress: Progress,
) -> None:
    """Recompute every tile and the root from the entries, and the entries from the events.

    `events` are those that the database gives the leaves to, in order; None where there is none.
    """
    tiles = TileFolder(log)
    hashes: list[bytes] = []
    for index in range(-(-tree.size // merkle.TILE_WIDTH)):
        width = min(merkle.TILE_WIDTH, tree.size - index * merkle.TILE_WIDTH)
        pointer = f"/log/{merkle.entries_path(index, width)}"
        entries: list[bytes] = []
        try:
            entries = tiles.entries(index, width)
        except (NotFound, ValueError, OSError) as error:
            _unreadable(found, pointer, error)
        hashes += [merkle.leaf_hash(e) for e in entries]
        hashes += [b""] * (width - len(entries))
        if events is not None:
            for at in range(width):
                _entry(entries, at, index * merkle.TILE_WIDTH + at, next(events, None), found)
        progress("log", min(tree.size, (index + 1) * merkle.TILE_WIDTH), tree.size)
    root = _check_tiles(tiles, hashes, found) if tree.size else merkle.EMPTY_ROOT
    _cosigned_root(log, hashes, found)
    found.need(
        root == tree.root,
        "/log/checkpoint",
        "root",
        "the entries do not make the root that the log has signed",
        "日志条目推不出已签名的根",
    )
    _note(log, tree, found)


def _entry(
    entries: list[bytes], at: int, place: int, event: Mapping[str, Any] | None, found: Findings
) -> None:
    if event is None:
        found.wrong(
            f"/log/leaves/{place}",
            "unbound",
            "the log has a leaf that the database does not know",
            "日志中有数据库未知的叶子",
        )
        return
    found.checked["entries"] += 1
    if at < len(entries):
        found.need(
            entries[at] == leaf_entry(event),
            f"/log/leaves/{place}",
            "mismatch",
            f"the leaf is not that of event {event['id']}",
            f"该叶子与事件 {event['id']} 不符",
        )


def _check_tiles(tiles: TileFolder, hashes: list[bytes], found: Findings) -> bytes:
    """Compare every tile with what the entries make, and return the root they make."""
    level, here = 0, hashes
    levels: list[list[bytes]] = []
    while here:
        levels.append(here)
        above: list[bytes] = []
        for start in range(0, len(here), merkle.TILE_WIDTH):
            part = here[start : start + merkle.TILE_WIDTH]
            pointer = f"/log/{merkle.tile_path(level, start // merkle.TILE_WIDTH, len(part))}"
            try:
                found.checked["tiles"] += 1
                found.need(
                    tiles.hashes(level, start // merkle.TILE_WIDTH, len(part)) == b"".join(part),
                    pointer,
                    "mismatch",
                    "the tile is not what the entries make",
                    "数据块与条目推算结果不符",
                )
            except (NotFound, OSError) as error:
                _unreadable(found, pointer, error)
            if len(part) == merkle.TILE_WIDTH:
                while len(part) > 1:
                    part = merkle.pair_up(part)
                above.append(part[0])
        level, here = level + 1, above
    content = {
        (n, index): b"".join(row[index * 256 : index * 256 + 256])
        for n, row in enumerate(levels)
        for index in range(-(-len(row) // 256))
    }
    try:
        return merkle.root(
            merkle.node_in_tiles(lambda level, index: content[level, index]), len(hashes)
        )
    except (KeyError, ValueError):
        return b""  # an unreadable entry, noted above


def _unreadable(found: Findings, pointer: str, error: Exception) -> None:
    reason = error.en if isinstance(error, YaosuError) else str(error)
    found.wrong(
        pointer,
        "missing",
        f"this part of the log is missing or cut: {reason}",
        f"日志的这一部分缺失或被截断：{reason}",
    )


def _note(log: Path, tree: notes.Checkpoint, found: Findings) -> None:
    """The root that was noted before its signature is the one that was signed (I10)."""
    noted = _optional(log / "next")
    if noted is None:
        return
    with found.shape("/log/next"):
        note = json.loads(noted)
        size, root = note["size"], note["root"]
        found.need(
            noted == json.dumps({"size": size, "root": root}).encode()
            and root == bytes.fromhex(root).hex(),
            "/log/next",
            "form",
            "the noted root is not in the form in which it was written",
            "记录的根与写入时的形式不同",
        )
        # A larger size waits for its signature; its tiles were written before it was noted.
        there = merkle.root(TileFolder(log).node(size), size) if size > tree.size else tree.root
        found.need(
            size >= tree.size and bytes.fromhex(root) == there,
            "/log/next",
            "root",
            "another root was noted for the size that was signed",
            "同一大小曾记录过另一个根",
        )
