"""The transparency log: every event's digest in one Merkle tree, in tiles that anyone can check.

The store gives each event its place for good; then, and in this order, entries and tiles are
written and synced, the root is noted, the checkpoint signed and kept, and only then shown. A
restart at any point goes on to the same leaves in the same places: no size ever gets two roots.
"""

from __future__ import annotations

import errno
import fcntl
import json
import logging
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from yaosu.errors import InvalidInput, NotFound, Unavailable, Unverified
from yaosu.model import Event
from yaosu.ports import Store, Transaction
from yaosu_schemas.canonical import digest

from . import merkle
from .checkpoint import Checkpoint, check_origin, read, verified, verifier_key
from .evidence import leaf_entry
from .merkle import TILE_WIDTH
from .signing import Signer
from .tiles import TileFolder, write_durably
from .witness import WitnessKey, cosigned_at, holding, merged

_log = logging.getLogger("yaosu.log")


def entry_of(event: Event) -> bytes:
    """Return the leaf of a stored event."""
    return leaf_entry(
        {
            "subject_id": event.subject_id,
            "seq": event.seq,
            "type": event.type,
            "digest": event.digest,
            "at": event.at,
        }
    )


class Log:
    """One log in one folder, signed with one key, fed by one sequencer at a time."""

    def __init__(
        self,
        folder: Path,
        store: Store,
        key: Signer,
        origin: str,
        *,
        witnesses: Sequence[WitnessKey] = (),
        quorum: int = 0,
    ) -> None:
        self.folder = Path(folder)
        self._store = store
        self._key = key
        self._lock = threading.RLock()
        self._broken: BaseException | None = None
        self._agrees = False
        self._tiles = TileFolder(self.folder)
        self.folder.mkdir(parents=True, exist_ok=True)
        self.origin = self._kept_origin(check_origin(origin))
        self._keep_key()
        self._seen: tuple[int, int, int] | None = None
        self._witness_keys = tuple(witnesses)
        self._quorum = quorum
        self._cosigned: tuple[Checkpoint, bytes] | None = None
        self._cosigned_seen: tuple[int, int] | None = None
        with self._held():
            self._open()
            self._keep_witnesses()
            self._take_cosigned()

    # --- what anyone may read -------------------------------------------------------------------

    @property
    def _checkpoint(self) -> Checkpoint:
        return self._shown[0]

    @property
    def size(self) -> int:
        return self._current()[0].size

    def identity(self) -> dict[str, str]:
        """Return the log's name and key, as a receipt carries them."""
        return {
            "origin": self.origin,
            "public_key": self._key.public_key,
            "verifier_key": verifier_key(self.origin, self._key.public_bytes),
        }

    def checkpoint_bytes(self) -> bytes:
        """Return the latest signed checkpoint, with the cosignatures that are there.

        Where a quorum of witnesses is asked for, the latest that has one.
        """
        checkpoint, signed = self._current()
        seen = self._cosigned
        if seen is not None and (self._quorum or seen[0] == checkpoint):
            return seen[1]
        return signed

    def witnesses(self) -> list[str]:
        """Return the keys of the witnesses that this log asks, in their one-line form."""
        return [str(key) for key in self._witness_keys]

    def resource(self, path: str) -> bytes:
        """Return `checkpoint`, a tile or an entry bundle by its path; NotFound if not (yet) there.

        Nothing beyond the checkpoint is shown. A partial tile is the beginning of a fuller one.
        """
        checkpoint, _ = self._current()
        if path == "checkpoint":
            return self.checkpoint_bytes()
        wanted = merkle.read_path(path)
        if wanted is not None:
            level, index, width = wanted
            there = (checkpoint.size >> 8 * (level or 0)) - index * TILE_WIDTH
            if width <= there:
                if level is None:
                    return merkle.pack(self._tiles.entries(index, width))
                return self._tiles.hashes(level, index, width)
        raise NotFound("the log has no such tile", "日志中没有该数据块", path=path)

    def inclusion(self, event_digest: str, size: int | None = None) -> dict[str, Any]:
        """Return the proof that an event is in the tree of `size` (the latest without it).

        NotFound while the event waits for its place, or lies beyond `size`.
        """
        size = self._known(size)
        with self._store.read() as reader:
            index = reader.leaf_by_digest(event_digest)
        return self._included(event_digest, index, size)

    def _included(self, event_digest: str, index: int | None, size: int) -> dict[str, Any]:
        if index is None or index >= size:
            raise NotFound(
                "the event is not in this tree of the log (yet)",
                "该存证事件（尚）不在此日志树中",
                digest=event_digest,
                size=size,
            )
        path = merkle.inclusion_proof(self._tiles.node(size), index, size)
        hashes = [h.hex() for h in path]
        return {"event_digest": event_digest, "index": index, "size": size, "hashes": hashes}

    def prove(self, events: Sequence[Event]) -> tuple[str, list[dict[str, Any]]]:
        """Return one checkpoint and the inclusion proofs of all these events in it.

        Where a quorum of witnesses is asked for, only a checkpoint that has one will do; else one
        that has cosignatures is preferred if the events are in it.
        """
        checkpoint, signed = self._current()
        with self._store.read() as reader:
            places = [reader.leaf_of(event.id) for event in events]
        if self._cosigned is not None:
            in_it = all(p is not None and p < self._cosigned[0].size for p in places)
            if in_it or self._quorum:
                checkpoint, signed = self._cosigned
        elif self._quorum:
            raise NotFound("no witness has cosigned the log yet", "尚无见证方联署日志")
        proofs = [
            self._included(event.digest, place, checkpoint.size)
            for event, place in zip(events, places, strict=True)
        ]
        return signed.decode(), proofs

    def seal(self, document: dict[str, Any]) -> dict[str, str]:
        """Return the log's own signature over a document that the market vouches for."""
        named = digest(document)
        return {
            "public_key": self._key.public_key,
            "digest": named,
            "value": self._key.sign(named),
        }

    def consistency(self, old: int, new: int | None = None) -> dict[str, Any]:
        """Return the proof that the tree of `new` begins with that of `old`."""
        new = self._known(new)
        if not 0 <= old <= new:
            raise InvalidInput(
                f"there is no tree of {old} leaves within one of {new}",
                f"{new} 个叶子的树中没有 {old} 个叶子的前身",
                field="old",
            )
        hashes = [h.hex() for h in merkle.consistency_proof(self._tiles.node(new), old, new)]
        return {"old": old, "new": new, "hashes": hashes}

    def close(self) -> None:
        """Wait for the batch in hand; what was signed is on disk already."""
        with self._lock:
            self._tiles.forget()

    def _known(self, size: int | None) -> int:
        have = self.size
        if size is not None and not 0 <= size <= have:
            raise InvalidInput(
                f"the log has {have} leaves, not {size}",
                f"日志现有 {have} 个叶子，没有 {size} 个",
                field="size",
            )
        return have if size is None else size

    # --- the sequencer --------------------------------------------------------------------------

    def integrate(self, limit: int = 4096) -> int:
        """Give waiting events their leaves, in batches of `limit`; return the size then."""
        with self._lock:
            if self._broken is not None:
                raise Unavailable(
                    "the log stopped after a disk error: the server has to be restarted",
                    "日志因磁盘错误而停止，需要重启服务",
                ) from self._broken
            with self._held():
                self._refresh()
                while self._integrate_batch(limit) == limit:
                    pass
            return self._checkpoint.size

    def _integrate_batch(self, limit: int) -> int:
        with self._store.read() as reader:
            waiting = bool(reader.log_next(1))
        if waiting:
            self._store.write(lambda tx: _give_places(tx, limit))
        size = self._checkpoint.size
        with self._store.read() as reader:
            self._must_agree(reader.log_size(), reader.leaves)
            events = reader.leaves(size, limit=limit)
        if events:
            try:
                self._append([entry_of(event) for event in events])
            except OSError as error:
                # Space comes back; after a failed sync nobody knows what is on the disk (P1).
                if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                    self._broken = error
                raise
        return len(events)

    def _must_agree(self, placed: int, leaves: Callable[..., list[Event]]) -> None:
        """Refuse to go on from a store that does not know what the log has already signed."""
        size = self._checkpoint.size
        agrees = placed >= size
        if agrees and size and not self._agrees:
            last = size - 1
            mine = self._tiles.entries(last // TILE_WIDTH, last % TILE_WIDTH + 1)[-1]
            agrees = [entry_of(event) for event in leaves(last, limit=1)] == [mine]
        if not agrees:
            raise Unverified(
                "the database is not the one this log was signed for (an older copy?): "
                "nothing is appended",
                "数据库与已签名的日志不一致（可能恢复了旧备份），已停止追加",
                size=size,
                placed=placed,
            )
        self._agrees = True

    def _append(self, entries: Sequence[bytes]) -> None:
        """Write the leaves, note the new root, sign it, keep it, show it: in this order."""
        old = self._checkpoint.size
        new = old + len(entries)
        self._tiles.append(old, entries)
        root = merkle.root(self._tiles.node(new), new)
        note = json.dumps({"size": new, "root": root.hex()}).encode()
        write_durably(self.folder / "next", note)
        self._publish(Checkpoint(self.origin, new, root))
        self._tiles.drop_superseded(old, new)

    def _publish(self, checkpoint: Checkpoint) -> None:
        signed = checkpoint.signed(self._key)
        write_durably(self.folder / "checkpoint", signed)
        self._show(checkpoint, signed)

    def _show(self, checkpoint: Checkpoint, signed: bytes) -> None:
        self._shown = checkpoint, signed
        at = (self.folder / "checkpoint").stat()
        self._seen = (at.st_ino, at.st_mtime_ns, at.st_size)

    # --- witnesses ------------------------------------------------------------------------------

    def waits_for_witnesses(self) -> bytes | None:
        """Return the latest checkpoint if a witness has not cosigned it yet, else None."""
        checkpoint, signed = self._current()
        kept = self._cosigned
        if kept is not None and kept[0] == checkpoint:
            note = read(kept[1])
            if all(cosigned_at(note, key) for key in self._witness_keys):
                return None
            signed = kept[1]
        return signed if self._witness_keys else None

    def keep_cosignatures(self, signed: bytes, lines: Sequence[str]) -> int:
        """Keep what witnesses said of a checkpoint of this log; return how many cosigned it.

        Cosignatures that do not hold are left out; a checkpoint with fewer than the quorum never
        takes the place of one that has it.
        """
        checkpoint = verified(signed, self.origin, self._key.public_key)
        with self._lock:
            kept = self._cosigned
            if kept is not None and kept[0].size > checkpoint.size:
                return 0
            base = kept[1] if kept is not None and kept[0] == checkpoint else signed
            good = [w for key in self._witness_keys for w in holding(signed, "".join(lines), key)]
            whole = merged(base, good)
            note = read(whole)
            count = sum(cosigned_at(note, key) is not None for key in self._witness_keys)
            if count and count >= self._quorum:
                write_durably(self.folder / "cosigned", whole)
                self._cosigned = checkpoint, whole
            return count

    def _keep_witnesses(self) -> None:
        """Leave the keys of the witnesses beside the tiles, for whoever verifies a copy."""
        path = self.folder / "witnesses"
        if self._witness_keys:
            write_durably(path, "".join(f"{key}\n" for key in self._witness_keys).encode())
        elif path.exists():
            # What witnesses said before goes on to be checkable; nobody is asked any more.
            _log.info("the log has cosignatures of witnesses that are no longer asked")

    def _take_cosigned(self) -> None:
        """Take over what is on disk, if this process or another has written it since."""
        path = self.folder / "cosigned"
        try:
            seen = (path.stat().st_ino, path.stat().st_mtime_ns)
            if seen == self._cosigned_seen:
                return
            whole = path.read_bytes()
        except FileNotFoundError:
            return
        self._cosigned = verified(whole, self.origin, self._key.public_key), whole
        self._cosigned_seen = seen

    # --- opening --------------------------------------------------------------------------------

    def _kept_origin(self, wanted: str) -> str:
        """Return the name the log was begun under: it is signed into every checkpoint."""
        path = self.folder / "origin"
        try:
            kept = check_origin(path.read_text("utf-8").strip())
        except FileNotFoundError:
            try:
                kept = read((self.folder / "checkpoint").read_bytes()).checkpoint.origin
            except FileNotFoundError:
                kept = wanted
            write_durably(path, f"{kept}\n".encode())
        if kept != wanted:
            _log.info("the log keeps its name %r, not %r", kept, wanted)
        return kept

    def _keep_key(self) -> None:
        """Leave the public key beside the tiles, for whoever verifies a copy of the folder."""
        path = self.folder / "key"
        line = f"{verifier_key(self.origin, self._key.public_bytes)}\n".encode()
        if not path.exists():
            write_durably(path, line)
        elif path.read_bytes() != line:
            raise Unverified(
                "this log was begun with another key",
                "该日志由另一把密钥签名",
                origin=self.origin,
            )

    def _open(self) -> None:
        """Read the last checkpoint; finish a step that was broken off before its signature."""
        try:
            signed = (self.folder / "checkpoint").read_bytes()
        except FileNotFoundError:
            self._publish(Checkpoint(self.origin, 0, merkle.EMPTY_ROOT))
        else:
            self._take(signed)
        try:
            note = json.loads((self.folder / "next").read_bytes())
            size, root = int(note["size"]), bytes.fromhex(note["root"])
        except FileNotFoundError:
            return
        except (ValueError, KeyError, TypeError):
            raise self._damaged("next") from None
        if size > self._checkpoint.size:
            if self._root(size) != root:
                raise self._damaged("next")
            self._publish(Checkpoint(self.origin, size, root))

    def _take(self, signed: bytes) -> None:
        checkpoint = verified(signed, self.origin, self._key.public_key)
        if self._root(checkpoint.size) != checkpoint.root:
            raise self._damaged("tile")
        self._show(checkpoint, signed)

    def _root(self, size: int) -> bytes:
        try:
            return merkle.root(self._tiles.node(size), size)
        except (NotFound, ValueError):
            raise self._damaged("tile") from None

    @staticmethod
    def _damaged(what: str) -> Unverified:
        return Unverified(
            f"the log on disk does not fit its signed checkpoint ({what}): run `yaosu verify`",
            f"磁盘上的日志与已签名的检查点不符（{what}），请运行 yaosu verify",
            file=what,
        )

    def _current(self) -> tuple[Checkpoint, bytes]:
        """Return what is shown; while a batch is being written that is the state before it."""
        if self._lock.acquire(blocking=False):
            try:
                self._refresh()
            finally:
                self._lock.release()
        return self._shown

    def _refresh(self) -> None:
        """Take over what another process has signed meanwhile."""
        at = (self.folder / "checkpoint").stat()
        if (at.st_ino, at.st_mtime_ns, at.st_size) != self._seen:
            self._tiles.forget()
            self._take((self.folder / "checkpoint").read_bytes())
        self._take_cosigned()

    @contextmanager
    def _held(self) -> Iterator[None]:
        """Hold the folder against other sequencers, for as long as a batch takes."""
        fd = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)


def _give_places(tx: Transaction, limit: int) -> None:
    tx.log_done(tx.log_next(limit))
