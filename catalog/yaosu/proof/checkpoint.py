"""Checkpoints of the log: size and root under a signature (C2SP tlog-checkpoint, signed-note)."""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass

from yaosu_schemas.errors import InvalidInput, Malformed, Unverified

from .signing import Signer, read_public_key, verify_bytes

_ED25519 = b"\x01"
_SIGNATURE = re.compile(r"— (?P<name>[^\s+]+) (?P<value>[A-Za-z0-9+/]+={0,2})")
_MAX_BYTES = 65_536


def check_origin(origin: str) -> str:
    """Return the name of a log if it can be one; InvalidInput for blanks, plus and controls."""
    if not origin or "+" in origin or not origin.isprintable() or len(origin.split()) != 1:
        raise InvalidInput(
            "a log's name (origin) is text without blanks and without +",
            "日志名称（origin）不得含空白或加号",
            field="origin",
        )
    return origin


def _key_hash(name: str, public_key: bytes) -> bytes:
    """Return the 4 bytes by which a signature line tells which key made it."""
    return hashlib.sha256(name.encode() + b"\n" + _ED25519 + public_key).digest()[:4]


def verifier_key(origin: str, public_key: bytes) -> str:
    """Return the key in the one-line form that verifiers of signed notes take."""
    body = base64.b64encode(_ED25519 + public_key).decode()
    return f"{origin}+{_key_hash(origin, public_key).hex()}+{body}"


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a log says of itself at one moment: how many leaves, under which root."""

    origin: str
    size: int
    root: bytes

    def body(self) -> str:
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"

    def signed(self, key: Signer) -> bytes:
        """Return the checkpoint as a note signed with the log's key."""
        body = self.body()
        value = _key_hash(self.origin, key.public_bytes) + key.sign_bytes(body.encode())
        line = f"— {self.origin} {base64.b64encode(value).decode()}\n"
        return f"{body}\n{line}".encode()


@dataclass(frozen=True, slots=True)
class Note:
    """A checkpoint as it was received: what it says, and who signed it with which bytes."""

    body: bytes
    checkpoint: Checkpoint
    signatures: tuple[tuple[str, bytes], ...]

    def signed_by(self, name: str, public_key: bytes) -> bool:
        """Say whether a signature of this name and key holds (unknown ones do no harm)."""
        mine = _key_hash(name, public_key)
        return any(
            who == name and value[:4] == mine and verify_bytes(public_key, self.body, value[4:])
            for who, value in self.signatures
        )


def read(content: bytes) -> Note:
    """Read a signed checkpoint; Malformed when it is none. The signature is not checked here."""
    try:
        if len(content) > _MAX_BYTES:
            raise ValueError("too long")
        text = content.decode("utf-8")
        if any(ord(c) < 0x20 and c != "\n" for c in text) or not text.endswith("\n"):
            raise ValueError("control characters or no final newline")
        body, _, tail = text.rpartition("\n\n")
        origin, size, root = (body + "\n").split("\n")[:3]
        if not re.fullmatch(r"0|[1-9][0-9]{0,18}", size) or not origin:
            raise ValueError("no size")
        checkpoint = Checkpoint(origin, int(size), base64.b64decode(root, validate=True))
        if len(checkpoint.root) != 32 or base64.b64encode(checkpoint.root).decode() != root:
            raise ValueError("no root")
        signatures = []
        for line in tail[:-1].split("\n"):
            found = _SIGNATURE.fullmatch(line)
            if found is None:
                raise ValueError("no signature line")
            value = base64.b64decode(found["value"], validate=True)
            if base64.b64encode(value).decode() != found["value"]:
                raise ValueError("another spelling of a signature")
            signatures.append((found["name"], value))
    except (ValueError, binascii.Error) as error:
        raise Malformed(
            f"this is not a signed checkpoint: {error}",
            "这不是一个已签名的检查点",
            field="checkpoint",
        ) from None
    return Note((body + "\n").encode(), checkpoint, tuple(signatures))


def verified(content: bytes, origin: str, public_key: str) -> Checkpoint:
    """Return the checkpoint of this log under this key; Unverified when it is not."""
    note = read(content)
    if note.checkpoint.origin != origin or not note.signed_by(origin, read_public_key(public_key)):
        raise Unverified(
            f"the checkpoint is not signed by the log {origin!r} with its key",
            f"检查点并非由日志 {origin!r} 用其密钥签名",
            origin=origin,
        )
    return note.checkpoint
