"""SM2 for parties that have to sign so: OpenSSL agrees, and a whole trade stands on it."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.utils import (
    decode_dss_signature,
    encode_dss_signature,
)

from people import USCC, Refused, open_hall, until
from stall import delivered, offered
from yaosu.errors import InvalidInput
from yaosu.proof import signing, sm2
from yaosu.proof.signing import Signer
from yaosu.proof.verify import verify_path

DIGEST = "sha256:" + "ab" * 32
OPENSSL = ["openssl", "pkeyutl", "-rawin", "-digest", "sm3"]
IDENTITY = ["-pkeyopt", f"distid:{sm2.IDENTITY.decode()}"]


def test_the_example_of_the_standard_holds() -> None:
    """GB/T 32918.5, annex A.2."""
    public = bytes.fromhex(
        "0409f9df311e5421a150dd7d161e4bc5c672179fad1833fc076bb08ff356f35020"
        "ccea490ce26775a52dc6ea718cc1aa600aed05fbf35e084a6632f6072da9ad13"
    )
    signature = bytes.fromhex(
        "f5a03b0648d2c4630eeac513e1bb81a15944da3827d5b74143ac7eaceee720b3"
        "b1b6aa29df212fd8763182bc0d421ca1bb9038fd1f7f42d4840b69c485bbc1aa"
    )
    assert sm2.verify(public, b"message digest", signature)
    assert not sm2.verify(public, b"message digesu", signature)
    for at in (0, 31, 32, 63):
        bent = bytearray(signature)
        bent[at] ^= 1
        assert not sm2.verify(public, b"message digest", bytes(bent))
    assert not sm2.verify(public, b"message digest", bytes(64))


def test_openssl_and_the_market_accept_each_others_keys_and_signatures(tmp_path: Path) -> None:
    if shutil.which("openssl") is None:
        pytest.skip("OpenSSL, which would give the second opinion on SM2, is not installed")
    ours, theirs, said = tmp_path / "ours.pem", tmp_path / "theirs.pem", tmp_path / "said"
    Signer.generate("sm2").save(ours)
    subprocess.run(["openssl", "genpkey", "-algorithm", "SM2", "-out", theirs], check=True)
    theirs.chmod(0o600)
    said.write_bytes(signing.message(DIGEST))
    for key in (ours, theirs):
        signer = signing.load(key)
        raw = base64.b64decode(signer.sign(DIGEST))
        made = encode_dss_signature(
            int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big")
        )
        (tmp_path / "made").write_bytes(made)
        files = ["-inkey", key, "-in", said, *IDENTITY]
        check = [*OPENSSL, "-verify", "-sigfile", tmp_path / "made", *files]
        assert subprocess.run(check, capture_output=True).returncode == 0
        found = subprocess.run([*OPENSSL, "-sign", *files], check=True, capture_output=True).stdout
        value = b"".join(n.to_bytes(32, "big") for n in decode_dss_signature(found))
        assert signing.verify(signer.public_key, DIGEST, base64.b64encode(value).decode())


def test_a_key_has_one_spelling_and_lies_on_the_curve(tmp_path: Path) -> None:
    signer = Signer.generate("sm2")
    assert signer.key_id.startswith("sm2:")
    assert signing.key_id(signer.public_key) == signer.key_id
    off = bytearray(signer.public_bytes)
    off[64] ^= 1
    beyond = b"\x04" + b"\xff" * 64
    for raw in (bytes(off), beyond, bytes(65), b"\x06" + signer.public_bytes[1:]):
        text = base64.b64encode(raw).decode()
        assert not signing.verify(text, DIGEST, signer.sign(DIGEST))
        with pytest.raises(InvalidInput, match="SM2"):
            signing.read_party_key(text)
    path = tmp_path / "key.pem"
    other = sm2.PrivateKey(sm2.PrivateKey.generate().secret, signer.public_bytes)
    path.write_bytes(other.pem())  # the halves are of two keys
    path.chmod(0o600)
    with pytest.raises(InvalidInput):
        signing.load(path)


def test_the_log_never_takes_such_a_key(tmp_path: Path) -> None:
    Signer.generate("sm2").save(tmp_path / "log.seed")
    with pytest.raises(InvalidInput):
        signing.load_or_create(tmp_path / "log.seed")


def test_a_trade_signed_by_both_is_proved_and_says_when_it_cannot_be(tmp_path: Path) -> None:
    with open_hall(tmp_path / "market") as hall:
        provider = hall.person("lingnan", "provider", uscc=USCC[0])
        buyer = hall.person("model-lab", "buyer")
        provider.algorithm = buyer.algorithm = "sm2"
        trade = delivered(hall, buyer, offered(hall, provider))
        _, manifest = buyer.fetch(trade)
        path = f"/v1/trades/{trade['trade_id']}"
        buyer.post(f"{path}/accept", {"manifest_digest": manifest})
        answer = until(lambda: buyer.raw("GET", f"{path}/receipt"), lambda a: a.status_code == 200)
        record, made = buyer.get(f"{path}/record"), buyer.sign(DIGEST)
        buyer.sign = lambda _: {**made, "value": base64.b64encode(bytes(64)).decode()}  # type: ignore[method-assign]
        with pytest.raises(Refused, match="does not fit"):
            buyer.buy(trade["listing_id"])
    assert {s["algorithm"] for s in record["signatures"]} == {"SM2"}
    file = tmp_path / "receipt.json"
    file.write_bytes(answer.content)
    report = verify_path(file)
    assert report.valid, report.problems
    assert report.checked["signatures"] >= 2
    receipt = json.loads(answer.content)
    assert all(len(s["public_key"]) == 88 for s in receipt["signatures"])
    without = "import sys; sys.modules['gmalg'] = None; from yaosu.cli import main; main()"
    ran = subprocess.run(
        [sys.executable, "-c", without, "verify", str(file), "--json"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert ran.returncode == 1, ran.stderr
    problems = {p["code"]: p for p in json.loads(ran.stdout)["problems"]}
    assert "yaosu[sm2]" in problems["unsupported"]["message"]
