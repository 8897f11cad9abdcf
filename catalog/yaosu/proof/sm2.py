"""SM2 signatures with SM3 (GB/T 32918.2), for parties that have to sign so: the extra `sm2`.

Signatures are checked on public numbers only. Making one here is for trials: the arithmetic is pure
Python and takes a time that depends on the private key, so a key of value stays in its device, and
what the device signed is sent as the signature's value.
"""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from typing import Any

from yaosu_schemas.errors import Unsupported

IDENTITY = b"1234567812345678"
"""The identity that goes into the digest where parties agreed on no other (GM/T 0009, 10)."""
PUBLIC_BYTES = 65
"""An uncompressed point: 04, X and Y (GB/T 32918.1, 4.2.9)."""
_PRIME = bytes.fromhex("fffffffeffffffffffffffffffffffffffffffff00000000ffffffffffffffff")
_BEFORE_SECRET = bytes.fromhex(
    "308187020100301306072a8648ce3d020106082a811ccf5501822d046d306b0201010420"
)
_BEFORE_PUBLIC = bytes.fromhex("a144034200")
_ARMOUR = ("-----BEGIN PRIVATE KEY-----", "-----END PRIVATE KEY-----")


def _library() -> Any:
    try:
        import gmalg
    except ImportError:
        raise Unsupported(
            "SM2 is not checked here: the optional part is not installed (yaosu[sm2])",
            "此处未安装 SM2 可选组件（yaosu[sm2]），无法校验",
            extra="sm2",
        ) from None
    return gmalg


def is_public(raw: bytes) -> bool:
    """Say whether these bytes are an uncompressed point of the curve, in their one spelling."""
    if len(raw) != PUBLIC_BYTES or raw[0] != 4 or max(raw[1:33], raw[33:]) >= _PRIME:
        return False
    return bool(_library().SM2().verify_pk(raw))


def verify(public: bytes, data: bytes, signature: bytes) -> bool:
    """Say whether r and s (32 bytes each) sign the data under a key that `is_public`."""
    if len(signature) != 64:
        return False
    key = _library().SM2(uid=IDENTITY, pk=public)
    try:
        return bool(key.verify(data, signature[:32], signature[32:]))
    except TypeError:  # the sum of both points is infinity, which is written as no point
        return False


@dataclass(frozen=True, slots=True, repr=False)
class PrivateKey:
    """A private key of 32 bytes and its point."""

    secret: bytes
    public: bytes

    @classmethod
    def generate(cls) -> PrivateKey:
        """Return a new key from the system's randomness."""
        secret, public = _library().SM2().generate_keypair()
        return cls(secret.rjust(32, b"\0"), public)

    @classmethod
    def read(cls, content: bytes) -> PrivateKey | None:
        """Return the key of a PKCS #8 PEM as OpenSSL writes it; None when it is another file."""
        lines = content.decode("ascii").split()
        try:
            raw = base64.b64decode("".join(lines[3:-3]), validate=True)
        except binascii.Error:
            return None
        secret, at = raw[36:68], 68 + len(_BEFORE_PUBLIC)
        made = cls(secret, raw[at:])
        if len(raw) != at + PUBLIC_BYTES or made._der() != raw:
            return None
        return made if _library().SM2().generate_pk(secret) == made.public else None

    def sign(self, data: bytes) -> bytes:
        """Return r and s, 64 bytes."""
        pair = _library().SM2(self.secret, IDENTITY, self.public).sign(data)
        return b"".join(number.rjust(32, b"\0") for number in pair)

    def pem(self) -> bytes:
        """Return the key as PKCS #8 PEM (RFC 5958; the curve is 1.2.156.10197.1.301)."""
        text = base64.b64encode(self._der()).decode()
        lines = [text[i : i + 64] for i in range(0, len(text), 64)]
        return "\n".join([_ARMOUR[0], *lines, _ARMOUR[1], ""]).encode()

    def _der(self) -> bytes:
        return _BEFORE_SECRET + self.secret + _BEFORE_PUBLIC + self.public
