"""Ed25519 keys and signatures of parties, and of the log: one message form, one file form.

What is signed is never a document but its digest, behind a line that says what the signature is
for. Public keys and signatures travel as base64 of the raw 32 and 64 bytes (as WebCrypto gives
them); private keys stay in a file that only its owner can read.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)

from yaosu_schemas.canonical import is_digest
from yaosu_schemas.errors import AlreadyExists, Forbidden, InvalidInput, NotFound

PREFIX = b"yaosu-signature-v1\n"


def message(digest: str) -> bytes:
    """Return the bytes that are signed for a document of this digest."""
    if not is_digest(digest):
        raise InvalidInput(
            "what is signed is a digest: sha256: and 64 hex digits",
            "签名对象应为摘要：sha256: 加 64 位十六进制",
            field="digest",
        )
    return PREFIX + digest.encode("ascii")


def _raw(text: str, length: int) -> bytes:
    """Return the bytes of canonical base64; ValueError for any other spelling of them."""
    raw = base64.b64decode(text.encode("ascii"), validate=True)
    if len(raw) != length or base64.b64encode(raw).decode() != text:
        raise ValueError("not canonical")
    return raw


def base64_bytes(text: str) -> bytes:
    """Return the bytes of base64 text; ValueError when it is none."""
    return base64.b64decode(text.encode("ascii"), validate=True)


def base64_text(raw: bytes) -> str:
    """Return bytes as base64 text."""
    return base64.b64encode(raw).decode()


def read_public_key(text: str) -> bytes:
    """Return the 32 raw bytes of a public key; InvalidInput when it is none."""
    try:
        raw = _raw(text, 32)
        Ed25519PublicKey.from_public_bytes(raw)
    except (ValueError, binascii.Error, UnsupportedAlgorithm):
        raise InvalidInput(
            "a public key is base64 of 32 bytes (Ed25519, raw)",
            "公钥应为 32 字节 Ed25519 原始公钥的 base64",
            field="public_key",
        ) from None
    return raw


def key_id(public_key: str) -> str:
    """Return a short name for a public key: `ed25519:` and 16 hex digits of its SHA-256."""
    return "ed25519:" + hashlib.sha256(read_public_key(public_key)).hexdigest()[:16]


def verify(public_key: str, digest: str, value: str) -> bool:
    """Say whether `value` is this key's signature over the digest; bad input is just False."""
    try:
        return verify_bytes(read_public_key(public_key), message(digest), _raw(value, 64))
    except (InvalidInput, ValueError, binascii.Error):
        return False


def verify_bytes(public_key: bytes, data: bytes, signature: bytes) -> bool:
    """Say whether the signature of a raw public key holds over these bytes (RFC 8032)."""
    try:
        Ed25519PublicKey.from_public_bytes(public_key).verify(signature, data)
    except (InvalidSignature, ValueError):
        return False
    return True


@dataclass(frozen=True, slots=True, repr=False)
class Signer:
    """A private key in the hand; it never shows itself in a log or a trace."""

    _private: Ed25519PrivateKey

    @classmethod
    def generate(cls) -> Signer:
        """Return a new key from the system's randomness."""
        return cls(Ed25519PrivateKey.generate())

    @classmethod
    def from_seed(cls, seed: bytes) -> Signer:
        """Return the key of a 32-byte seed (RFC 8032 §5.1.5)."""
        return cls(Ed25519PrivateKey.from_private_bytes(seed))

    @property
    def public_bytes(self) -> bytes:
        return self._private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)

    @property
    def public_key(self) -> str:
        return base64.b64encode(self.public_bytes).decode()

    @property
    def key_id(self) -> str:
        return key_id(self.public_key)

    def sign(self, digest: str) -> str:
        """Return the base64 signature over a digest."""
        return base64.b64encode(self._private.sign(message(digest))).decode()

    def sign_bytes(self, data: bytes) -> bytes:
        """Return the raw signature over bytes that say themselves what they are."""
        return self._private.sign(data)

    def save(self, path: Path) -> None:
        """Write the key as PKCS #8 PEM, for its owner only; AlreadyExists, never overwritten."""
        pem = self._private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        part = path.with_name(f".{path.name}.{os.getpid()}.part")
        part.unlink(missing_ok=True)
        fd = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        try:
            with os.fdopen(fd, "wb") as out:
                out.write(pem)
                out.flush()
                os.fsync(out.fileno())
            os.link(part, path)  # a link is refused where a rename would replace
        except FileExistsError:
            raise AlreadyExists(
                "there is a key in this file already; it is not overwritten",
                "该文件中已有密钥，不会覆盖",
                path=path.name,
            ) from None
        finally:
            part.unlink(missing_ok=True)
        _sync(path.parent)

    def __repr__(self) -> str:
        return f"Signer({self.key_id})"


def generate() -> Signer:
    """Return a new key."""
    return Signer.generate()


def load(path: Path) -> Signer:
    """Return the key in a file: PKCS #8 PEM, or a seed as 64 hex digits or base64.

    Forbidden when others can read the file: such a key is no longer one's own.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except FileNotFoundError:
        raise NotFound(
            f"there is no key file {path.name}", f"没有密钥文件 {path.name}", path=path.name
        ) from None
    except OSError:
        raise _not_a_key(path) from None
    with os.fdopen(fd, "rb") as file:
        if stat.S_IMODE(os.fstat(fd).st_mode) & 0o077:
            raise Forbidden(
                f"others can read the key file {path.name}: run `chmod 600` on it, "
                "and if it may have been copied, make a new key",
                f"密钥文件 {path.name} 可被他人读取：请执行 chmod 600；若可能已泄露，请更换密钥",
                path=path.name,
            )
        content = file.read(10_000)
    return parse(content, path)


def parse(content: bytes, path: Path = Path("key")) -> Signer:
    """Return the key in these bytes, in any of the forms of a key file."""
    try:
        if content.lstrip().startswith(b"-----BEGIN"):
            key = load_pem_private_key(content, password=None)
            if not isinstance(key, Ed25519PrivateKey):
                raise ValueError("another algorithm")
            return Signer(key)
        text = content.decode("ascii").strip()
        seed = bytes.fromhex(text) if len(text) == 64 else _raw(text, 32)
        return Signer.from_seed(seed)
    except (ValueError, TypeError, binascii.Error, UnsupportedAlgorithm):
        raise _not_a_key(path) from None


def load_or_create(path: Path) -> Signer:
    """Return the key in a file; the first time, make one and keep it there."""
    if not path.exists():
        try:
            made = Signer.generate()
            made.save(path)
            return made
        except AlreadyExists:
            pass  # another process was first
    return load(path)


def _not_a_key(path: Path) -> InvalidInput:
    return InvalidInput(
        f"{path.name} holds no Ed25519 private key (PKCS #8 PEM without password, or a seed)",
        f"{path.name} 中没有 Ed25519 私钥（无口令的 PKCS #8 PEM 或种子）",
        path=path.name,
    )


def _sync(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
