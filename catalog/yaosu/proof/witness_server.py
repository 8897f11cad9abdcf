"""A witness for transparency logs (C2SP tlog-witness): sees that a log only ever grows.

Keeps one checkpoint per log. It is on disk before it is cosigned, so that after any crash the
witness knows at least what it has signed: two trees of one log never both get its name.
"""

from __future__ import annotations

import base64
import binascii
import fcntl
import hashlib
import os
import re
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from yaosu.errors import InvalidInput, Malformed

from . import checkpoint as notes
from . import merkle, signing
from .tiles import write_durably
from .witness import cosign, key_of

if TYPE_CHECKING:
    from starlette.applications import Starlette

MAX_BODY = 1 << 16
MAX_PROOF_LINES = 63
_OLD = re.compile(rb"old (0|[1-9][0-9]{0,18})")


@dataclass(frozen=True, slots=True)
class Answer:
    """What a witness replies: a status of the protocol, and a body."""

    status: int
    body: str = ""
    kind: str = "text/plain; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Submitted:
    """An add-checkpoint call: from which size, the proof, and the checkpoint."""

    old: int
    proof: Sequence[bytes]
    note: notes.Note
    signed: bytes


def read_request(body: bytes) -> Submitted:
    """Read an add-checkpoint body; Malformed when it is none."""
    head, blank, signed = body.partition(b"\n\n")
    first, *lines = head.split(b"\n")
    old = _OLD.fullmatch(first)
    try:
        if old is None or not blank or len(lines) > MAX_PROOF_LINES or len(body) > MAX_BODY:
            raise ValueError("no add-checkpoint request")
        proof = [base64.b64decode(line, validate=True) for line in lines]
        if any(base64.b64encode(p) != line for p, line in zip(proof, lines, strict=True)):
            raise ValueError("another spelling of a hash")
    except (ValueError, binascii.Error) as error:
        raise Malformed(f"this is no add-checkpoint request: {error}", "请求格式不符") from None
    return Submitted(int(old[1]), proof, notes.read(signed), signed)


def read_log_key(text: str) -> tuple[str, bytes]:
    """Return (origin, raw public key) of a log's key in its one-line form."""
    name, _, rest = text.strip().partition("+")
    try:
        raw = base64.b64decode(rest.partition("+")[2], validate=True)[1:]
        if name and notes.verifier_key(name, raw) == text.strip():
            return name, raw
    except (ValueError, binascii.Error):
        pass
    raise InvalidInput(
        "the key of a log is written <origin>+<8 hex digits>+<base64> (the file log/key)",
        "日志密钥格式应为 <日志名称>+<8 位十六进制>+<base64>（见 log/key 文件）",
        field="log_key",
    )


class Witness:
    """One witness over one folder: its key, the logs it knows, what it has seen of each."""

    def __init__(
        self,
        folder: Path,
        name: str,
        log_keys: Sequence[str],
        *,
        now: Callable[[], float] = time.time,
    ) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.folder = folder
        self.name = name
        self._now = now
        self._signer = signing.load_or_create(folder / "witness.seed")
        self.key = str(key_of(name, self._signer))
        self._logs: dict[str, list[bytes]] = {}
        for text in log_keys:
            origin, raw = read_log_key(text)
            self._logs.setdefault(origin, []).append(raw)
        self._lock = threading.Lock()

    @property
    def logs(self) -> Mapping[str, Sequence[bytes]]:
        return self._logs

    def add_checkpoint(self, body: bytes) -> Answer:
        """Answer one submission as the protocol says."""
        try:
            asked = read_request(body)
        except Malformed as error:
            return Answer(400, f"{error.en}\n")
        claimed = asked.note.checkpoint
        keys = self._logs.get(claimed.origin)
        if keys is None:
            return Answer(404, "this log is not known here\n")
        if not any(asked.note.signed_by(claimed.origin, key) for key in keys):
            return Answer(403, "the log's own signature does not hold\n")
        if asked.old > claimed.size:
            return Answer(400, "the old size is larger than the checkpoint\n")
        with self._lock, self._alone():
            return self._judged(asked)

    def _judged(self, asked: Submitted) -> Answer:
        """Compare with what was seen, remember, and only then sign."""
        new = asked.note.checkpoint
        seen = self._seen(new.origin)
        if asked.old != seen.size:
            return Answer(409, f"{seen.size}\n", "text/x.tlog.size")
        if new.size == seen.size and new.root != seen.root:
            return Answer(409, f"{seen.size}\n", "text/x.tlog.size")
        if not merkle.verify_consistency(seen.size, new.size, seen.root, new.root, asked.proof):
            return Answer(422, "the proof does not lead from what was seen to this tree\n")
        if new != seen or not self._place(new.origin).exists():
            write_durably(self._place(new.origin), asked.signed)
        return Answer(200, cosign(self.name, self._signer, asked.note.body, int(self._now())))

    def _seen(self, origin: str) -> notes.Checkpoint:
        """Return the latest checkpoint of a log; that of the empty tree before the first."""
        try:
            kept = self._place(origin).read_bytes()
        except FileNotFoundError:
            return notes.Checkpoint(origin, 0, merkle.EMPTY_ROOT)
        return notes.read(kept).checkpoint

    def _place(self, origin: str) -> Path:
        return self.folder / f"{hashlib.sha256(origin.encode()).hexdigest()}.checkpoint"

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Hold the folder against another process that serves it."""
        fd = os.open(self.folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)


def create_app(witness: Witness) -> Starlette:
    """Return the witness as a web application: one call, and one page that names its key."""
    import asyncio

    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.routing import Route

    async def add(request: Request) -> Response:
        body = bytearray()
        async for chunk in request.stream():
            body += chunk
            if len(body) > MAX_BODY:
                return Response("too large\n", status_code=413, media_type="text/plain")
        found = await asyncio.to_thread(witness.add_checkpoint, bytes(body))
        return Response(found.body, status_code=found.status, headers={"content-type": found.kind})

    async def about(request: Request) -> Response:
        known = "".join(f"log {origin}\n" for origin in witness.logs)
        return Response(f"witness {witness.key}\n{known}", media_type="text/plain")

    return Starlette(
        routes=[
            Route("/add-checkpoint", add, methods=["POST"]),
            Route("/", about, methods=["GET"]),
        ]
    )
