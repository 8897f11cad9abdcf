"""Keys and signatures of parties, and of the log: one message form, one file form.

What is signed is never a document but its digest, behind a line that says what the signature is
for. Public keys and signatures travel as base64 of the raw 32 and 64 bytes (Ed25519, as WebCrypto
gives them), or 65 and 64 (SM2, for parties that have to; see `sm2`): the length tells the
algorithm. Private keys stay in a file that only its owner can read. The log, its witnesses and its
seals are Ed25519 throughout.
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

from . import sm2

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


def algorithm(public_key: str) -> str:
    """Return `SM2` or `Ed25519`, as the length of a public key tells."""
    return "SM2" if len(public_key) == 88 else "Ed25519"  # base64 of 65 bytes, of 32 bytes


def read_party_key(text: str) -> bytes:
    """Return the raw public key of a party, of either algorithm; Unsupported without `sm2`."""
    if algorithm(text) != "SM2":
        return read_public_key(text)
    try:
        raw = _raw(text, sm2.PUBLIC_BYTES)
    except (ValueError, binascii.Error):
        raw = b""
    if not sm2.is_public(raw):
        raise InvalidInput(
            "a public key of SM2 is base64 of 65 bytes: 04, X and Y of a point of the curve",
            "SM2 公钥应为 65 字节的 base64：04 与曲线上点的 X、Y",
            field="public_key",
        )
    return raw


def key_id(public_key: str) -> str:
    """Return a short name for a public key: its algorithm and 16 hex digits of its SHA-256."""
    short = hashlib.sha256(read_party_key(public_key)).hexdigest()[:16]
    return f"{algorithm(public_key).lower()}:{short}"


def verify(public_key: str, digest: str, value: str) -> bool:
    """Say whether `value` is this key's signature over the digest; bad input is just False.

    Unsupported when the key is of SM2 and the extra `sm2` is not installed.
    """
    try:
        key, data, signature = read_party_key(public_key), message(digest), _raw(value, 64)
    except (InvalidInput, ValueError, binascii.Error):
        return False
    check = sm2.verify if algorithm(public_key) == "SM2" else verify_bytes
    return check(key, data, signature)


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

    _private: Ed25519PrivateKey | sm2.PrivateKey

    @classmethod
    def generate(cls, algorithm: str = "ed25519") -> Signer:
        """Return a new key of `ed25519` or `sm2` from the system's randomness."""
        made = sm2.PrivateKey if algorithm == "sm2" else Ed25519PrivateKey
        return cls(made.generate())

    @classmethod
    def from_seed(cls, seed: bytes) -> Signer:
        """Return the key of a 32-byte seed (RFC 8032 §5.1.5)."""
        return cls(Ed25519PrivateKey.from_private_bytes(seed))

    @property
    def public_bytes(self) -> bytes:
        if isinstance(self._private, sm2.PrivateKey):
            return self._private.public
        return self._private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)

    @property
    def public_key(self) -> str:
        return base64_text(self.public_bytes)

    @property
    def key_id(self) -> str:
        return key_id(self.public_key)

    def sign(self, digest: str) -> str:
        """Return the base64 signature over a digest."""
        return base64_text(self._private.sign(message(digest)))

    def sign_bytes(self, data: bytes) -> bytes:
        """Return the raw signature over bytes that say themselves what they are."""
        return self._private.sign(data)

    def save(self, path: Path) -> None:
        """Write the key as PKCS #8 PEM, for its owner only; AlreadyExists, never overwritten."""
        if isinstance(self._private, sm2.PrivateKey):
            pem = self._private.pem()
        else:
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
            if other := sm2.PrivateKey.read(content):
                return Signer(other)
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
    """Return the Ed25519 key in a file; the first time, make one and keep it there."""
    if not path.exists():
        try:
            made = Signer.generate()
            made.save(path)
            return made
        except AlreadyExists:
            pass  # another process was first
    found = load(path)
    if isinstance(found._private, sm2.PrivateKey):
        raise _not_a_key(path)
    return found


def _not_a_key(path: Path) -> InvalidInput:
    return InvalidInput(
        f"{path.name} holds no private key of use here (Ed25519 as PKCS #8 PEM without password "
        "or as a seed; for a party also SM2 as PKCS #8 PEM)",
        f"{path.name} 中没有可用的私钥（Ed25519：无口令的 PKCS #8 PEM 或种子；主体亦可用 SM2）",
        path=path.name,
    )


def _sync(folder: Path) -> None:
    fd = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
