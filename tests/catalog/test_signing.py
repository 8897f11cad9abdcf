"""Keys and signatures of parties."""

from __future__ import annotations

import base64
import stat
from pathlib import Path

import pytest

from yaosu.errors import AlreadyExists, Forbidden, InvalidInput, NotFound
from yaosu.proof import signing
from yaosu.proof.signing import Signer

DIGEST = "sha256:" + "ab" * 32


def test_a_signature_holds_for_its_key_and_digest_only() -> None:
    key, other = Signer.generate(), Signer.generate()
    value = key.sign(DIGEST)
    assert signing.verify(key.public_key, DIGEST, value)
    assert not signing.verify(other.public_key, DIGEST, value)
    assert not signing.verify(key.public_key, "sha256:" + "ac" * 32, value)
    raw = base64.b64decode(value)
    for at in (0, 31, 32, 63):
        bent = bytearray(raw)
        bent[at] ^= 1
        assert not signing.verify(key.public_key, DIGEST, base64.b64encode(bent).decode())


def test_the_seed_of_rfc_8032_gives_its_public_key_and_signature() -> None:
    key = Signer.from_seed(
        bytes.fromhex("9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60")
    )
    expected = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
    assert key.public_bytes.hex() == expected
    assert key.sign_bytes(b"").hex().startswith("e5564300c360ac729086e2cc806e828a84877f1e")


@pytest.mark.parametrize("value", ["", "x", "é", "A" * 88, "AAAA"])
def test_what_is_no_signature_is_refused_without_an_exception(value: str) -> None:
    key = Signer.generate()
    assert not signing.verify(key.public_key, DIGEST, value)
    assert not signing.verify(value, DIGEST, key.sign(DIGEST))


def test_only_one_spelling_of_a_signature_is_accepted() -> None:
    key = Signer.generate()
    value = key.sign(DIGEST)
    assert not signing.verify(key.public_key, DIGEST, value + "\n")
    assert not signing.verify(key.public_key, DIGEST, value.rstrip("="))


def test_only_digests_are_signed() -> None:
    with pytest.raises(InvalidInput):
        Signer.generate().sign("pay 100 yuan")


def test_a_key_file_is_for_its_owner_only_and_never_overwritten(tmp_path: Path) -> None:
    path = tmp_path / "keys" / "own.pem"
    key = signing.load_or_create(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert signing.load_or_create(path).public_key == key.public_key
    assert [p.name for p in path.parent.iterdir()] == ["own.pem"]
    with pytest.raises(AlreadyExists):
        Signer.generate().save(path)
    path.chmod(0o644)
    with pytest.raises(Forbidden, match="chmod"):
        signing.load(path)


def test_a_seed_file_is_a_key_file(tmp_path: Path) -> None:
    seed = bytes(range(32))
    for name, content in (("hex", seed.hex()), ("b64", base64.b64encode(seed).decode() + "\n")):
        path = tmp_path / name
        path.write_text(content)
        path.chmod(0o600)
        assert signing.load(path).public_bytes == Signer.from_seed(seed).public_bytes


def test_what_is_no_key_file_is_said_to_be_none(tmp_path: Path) -> None:
    with pytest.raises(NotFound):
        signing.load(tmp_path / "absent")
    path = tmp_path / "bad"
    for content in (b"", b"\xff" * 40, b"-----BEGIN PRIVATE KEY-----\nAAAA\n", b"z" * 64):
        path.write_bytes(content)
        path.chmod(0o600)
        with pytest.raises(InvalidInput):
            signing.load(path)
    (tmp_path / "link").symlink_to(path)
    with pytest.raises(InvalidInput):
        signing.load(tmp_path / "link")


def test_a_private_key_does_not_show_itself() -> None:
    key = Signer.from_seed(bytes(32))
    assert repr(key) == str(key) == f"Signer({key.key_id})"
