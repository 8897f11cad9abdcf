"""Cosignatures of witnesses under a checkpoint (C2SP tlog-cosignature, Ed25519): made and checked.

A witness says: this is the largest consistent tree that I have seen of this log. Two views of one
log therefore cannot both get the signatures of a quorum whose members are honest.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from yaosu_schemas.errors import InvalidInput, Malformed

from . import checkpoint as notes
from .proofs import Findings
from .signing import Signer, verify_bytes

COSIGNATURE = b"\x04"
_LATEST = 2**63 - 1


@dataclass(frozen=True, slots=True)
class WitnessKey:
    """A witness as those who trust it know it: a name and a public key."""

    name: str
    public_key: bytes

    @property
    def hint(self) -> bytes:
        """The 4 bytes by which a signature line tells which key made it."""
        text = self.name.encode() + b"\n" + COSIGNATURE + self.public_key
        return hashlib.sha256(text).digest()[:4]

    def __str__(self) -> str:
        body = base64.b64encode(COSIGNATURE + self.public_key).decode()
        return f"{self.name}+{self.hint.hex()}+{body}"


def read_key(text: str) -> WitnessKey:
    """Return the key of a witness from its one-line form; InvalidInput for anything else."""
    name, _, rest = text.strip().partition("+")
    try:
        raw = base64.b64decode(rest.partition("+")[2], validate=True)
    except (ValueError, binascii.Error):
        raw = b""
    key = WitnessKey(name, raw[1:])
    if raw[:1] != COSIGNATURE or len(raw) != 33 or not name or str(key) != text.strip():
        raise InvalidInput(
            "the key of a witness is written <name>+<8 hex digits>+<base64> (type 4, Ed25519)",
            "见证方密钥格式应为 <名称>+<8 位十六进制>+<base64>（类型 4，Ed25519）",
            field="witness",
        )
    return key


def key_of(name: str, signer: Signer) -> WitnessKey:
    """Return the public half under the witness's name."""
    return WitnessKey(notes.check_origin(name), signer.public_bytes)


def _message(body: bytes, seconds: int) -> bytes:
    return b"cosignature/v1\ntime %d\n" % seconds + body


def cosign(name: str, signer: Signer, body: bytes, seconds: int) -> str:
    """Return the signature line over the body of a checkpoint at a time (POSIX seconds)."""
    signature = signer.sign_bytes(_message(body, seconds))
    value = key_of(name, signer).hint + seconds.to_bytes(8, "big") + signature
    return f"— {name} {base64.b64encode(value).decode()}\n"


def cosigned_at(note: notes.Note, key: WitnessKey) -> datetime | None:
    """Return when this witness cosigned the checkpoint; None when no cosignature of it holds."""
    for name, value in note.signatures:
        if name != key.name or value[:4] != key.hint or len(value) != 76:
            continue
        seconds = int.from_bytes(value[4:12], "big")
        if seconds > _LATEST or not verify_bytes(
            key.public_key, _message(note.body, seconds), value[12:]
        ):
            continue
        try:
            return datetime.fromtimestamp(seconds, UTC)
        except (ValueError, OSError, OverflowError):
            continue
    return None


def holding(signed: bytes, answer: str, key: WitnessKey) -> list[str]:
    """Return the lines of a witness's answer that are its cosignatures under this checkpoint."""
    found = []
    for line in answer.splitlines(keepends=True)[:16]:
        try:
            note = notes.read(signed + line.encode())
        except (ValueError, Malformed):
            continue
        if cosigned_at(notes.Note(note.body, note.checkpoint, note.signatures[-1:]), key):
            found.append(line)
    return found


def merged(signed: bytes, lines: Iterable[str]) -> bytes:
    """Return the checkpoint with these cosignatures, each once, after what it has already."""
    text = signed.decode()
    for line in lines:
        if line not in text:
            text += line
    return text.encode()


# --- what a reader asks for ----------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Demand:
    """Which witnesses a reader trusts, and how many of them it wants to see."""

    keys: Sequence[WitnessKey] = ()
    quorum: int = 0

    @classmethod
    def of(cls, keys: Sequence[str], quorum: int | None = None) -> Demand:
        """Return the demand for these keys; without a quorum, for all of them."""
        read = tuple(read_key(k) for k in keys)
        wanted = len(read) if quorum is None else quorum
        if not 0 <= wanted <= len(read):
            raise InvalidInput(
                f"a quorum of {wanted} cannot come from {len(read)} witnesses",
                f"{len(read)} 个见证方无法满足 {wanted} 个的法定数",
                field="quorum",
            )
        return cls(read, wanted)


def check_witnesses(
    signed: bytes, named: Sequence[str], demand: Demand, place: str, found: Findings
) -> Mapping[str, datetime]:
    """Check every cosignature of witnesses that are named or trusted; return who holds, and when.

    Named ones (by the log itself) must hold; trusted ones (by the reader) must make the quorum.
    """
    note = notes.read(signed)
    holds: dict[str, datetime] = {}
    for text in named:
        key = read_key(text)
        at = cosigned_at(note, key)
        if at is not None:
            holds[str(key)] = at
        found.need(
            at is not None or all(name != key.name for name, _ in note.signatures),
            place,
            "witness",
            f"the cosignature of the witness {key.name} does not hold",
            f"见证方 {key.name} 的联署签名无效",
        )
    trusted = {str(k): at for k in demand.keys if (at := cosigned_at(note, k)) is not None}
    found.checked["cosignatures"] += len(holds | trusted)
    found.need(
        len(trusted) >= demand.quorum,
        place,
        "witness",
        f"{len(trusted)} of the {demand.quorum} witnesses you ask for have cosigned",
        f"您要求 {demand.quorum} 个见证方联署，实际仅有 {len(trusted)} 个",
    )
    return holds | trusted
