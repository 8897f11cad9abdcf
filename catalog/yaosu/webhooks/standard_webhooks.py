"""Signatures of Standard Webhooks: what is signed, how it is written, how it is checked.

The signed text is `id.timestamp.body`. `v1` is HMAC-SHA256 under a shared secret (`whsec_`),
`v1a` is Ed25519 under a key of the sender (`whsk_`, `whpk_`).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta

from yaosu.errors import OutOfTime, Unauthenticated
from yaosu.proof import signing

TOLERANCE = timedelta(minutes=5)
HEADERS = ("webhook-id", "webhook-timestamp", "webhook-signature")
MAX_ID = 200
_MAX_SIGNATURES = 10


def secret_text(secret: bytes) -> str:
    """Return a shared secret as both sides write it."""
    return "whsec_" + base64.b64encode(secret).decode()


def public_text(public_key: bytes) -> str:
    """Return a public key as both sides write it."""
    return "whpk_" + base64.b64encode(public_key).decode()


def read_public(text: str) -> bytes:
    """Return the raw public key of a text, with or without its prefix."""
    return signing.read_public_key(text.removeprefix("whpk_"))


def signed_text(message_id: str, at: datetime, body: bytes) -> bytes:
    return f"{message_id}.{int(at.timestamp())}.".encode() + body


def headers(
    message_id: str, at: datetime, body: bytes, secrets: Sequence[bytes], *, scheme: str = "v1"
) -> dict[str, str]:
    """Return the three headers; during a rotation one signature for each secret."""
    text = signed_text(message_id, at, body)
    signatures = [
        f"{scheme},{base64.b64encode(_sign(scheme, secret, text)).decode()}" for secret in secrets
    ]
    stamp = str(int(at.timestamp()))
    return dict(zip(HEADERS, (message_id, stamp, " ".join(signatures)), strict=True))


def _sign(scheme: str, secret: bytes, text: bytes) -> bytes:
    if scheme == "v1a":
        return signing.Signer.from_seed(secret).sign_bytes(text)
    return hmac.new(secret, text, hashlib.sha256).digest()


def verify(
    given: Mapping[str, str],
    body: bytes,
    *,
    secrets: Sequence[bytes] = (),
    public_keys: Sequence[bytes] = (),
    now: datetime,
) -> tuple[str, datetime]:
    """Return the id and the time of a message that is signed and of these minutes.

    Unauthenticated for a forged one, OutOfTime for a stale one:
    only who can sign learns that the time is the reason.
    """
    message_id, stamp, signatures = (given.get(name, "") for name in HEADERS)
    if not (0 < len(message_id) <= MAX_ID and message_id.isascii() and message_id.isprintable()):
        raise _forged()
    if not (stamp.isascii() and stamp.isdigit() and len(stamp) <= 11) or "." in message_id:
        raise _forged()
    text = f"{message_id}.{stamp}.".encode() + body
    if not any(
        _holds(item, text, secrets, public_keys) for item in signatures.split()[:_MAX_SIGNATURES]
    ):
        raise _forged()
    sent = datetime.fromtimestamp(int(stamp), UTC)
    if abs(sent - now) > TOLERANCE:
        raise OutOfTime(
            "the message is not of these minutes: send it again with the time of sending",
            "消息时间戳超出允许范围，请以当前时间重新发送",
            field="webhook-timestamp",
        )
    return message_id, sent


def _holds(item: str, text: bytes, secrets: Sequence[bytes], public_keys: Sequence[bytes]) -> bool:
    scheme, _, encoded = item.partition(",")
    try:
        value = base64.b64decode(encoded.encode("ascii"), validate=True)
    except (ValueError, binascii.Error):
        return False
    if scheme == "v1":
        return any(hmac.compare_digest(_sign("v1", s, text), value) for s in secrets)
    if scheme == "v1a" and len(value) == 64:
        return any(signing.verify_bytes(key, text, value) for key in public_keys)
    return False


def _forged() -> Unauthenticated:
    return Unauthenticated("the signature does not hold", "签名无效")
