"""Witnesses: a log that forks, shrinks or lies gets no cosignature (C2SP tlog-witness)."""

from __future__ import annotations

import base64
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from people import until
from watch import Watching, watching
from yaosu.errors import InvalidInput, Malformed
from yaosu.proof import merkle, witness
from yaosu.proof.checkpoint import Checkpoint, read, verifier_key
from yaosu.proof.signing import Signer
from yaosu.proof.witness_client import Witnesses, WitnessPlace, read_places, request
from yaosu.proof.witness_server import Witness

ORIGIN = "log.test/one"
KEY = Signer.generate()
LOG_KEY = verifier_key(ORIGIN, KEY.public_bytes)


@dataclass
class Tree:
    """A log in memory, signed with its key; what witnesses answered is kept."""

    leaves: list[bytes] = field(default_factory=list)
    key: Signer = KEY
    origin: str = ORIGIN
    lines: list[str] = field(default_factory=list)

    def grow(self, count: int, what: str = "leaf") -> Tree:
        size = len(self.leaves)
        self.leaves += [merkle.leaf_hash(f"{what} {size + n}".encode()) for n in range(count)]
        return self

    def signed(self, size: int | None = None) -> bytes:
        size = len(self.leaves) if size is None else size
        node = merkle.node_in_memory(self.leaves[:size] or [b""])
        return Checkpoint(self.origin, size, merkle.root(node, size)).signed(self.key)

    def proof(self, old: int, new: int | None = None) -> list[str]:
        new = len(self.leaves) if new is None else new
        node = merkle.node_in_memory(self.leaves or [b""])
        return [h.hex() for h in merkle.consistency_proof(node, old, new)]

    # what the client needs of a log
    def waits_for_witnesses(self) -> bytes | None:
        return self.signed()

    def consistency(self, old: int, new: int | None = None) -> dict[str, list[str]]:
        return {"hashes": self.proof(old, new)}

    def keep_cosignatures(self, signed: bytes, lines: list[str]) -> int:
        self.lines = list(lines)
        return len(lines)


@pytest.fixture
def watch(tmp_path: Path) -> Iterator[Watching]:
    with watching(tmp_path / "w", "w.test/1", [LOG_KEY]) as found:
        yield found


def test_a_log_that_grows_is_cosigned_step_by_step(watch: Watching) -> None:
    tree = Tree()
    client = Witnesses(tree, [WitnessPlace(watch.address, witness.read_key(watch.key))])
    for count in (1, 0, 6, 300, 1):
        tree.grow(count)
        assert client.ask() == 1
        note = read(witness.merged(tree.signed(), tree.lines))
        assert note.signed_by(ORIGIN, KEY.public_bytes)
        assert witness.cosigned_at(note, witness.read_key(watch.key)) is not None
    client.close()


def test_every_refusal_is_the_one_that_the_protocol_names(watch: Watching) -> None:
    tree = Tree().grow(9)
    good = request(0, [], tree.signed(5))
    assert watch.post(good).status_code == 200
    stranger = Tree(origin="log.test/other").grow(9)
    forged = Tree(key=Signer.generate()).grow(9)
    proof = tree.proof(5, 9)
    cases = {
        404: request(5, stranger.proof(5), stranger.signed()),
        403: request(5, forged.proof(5), forged.signed()),
        400: request(10, [], tree.signed(9)),
        422: request(5, proof[:-1], tree.signed(9)),
    }
    for status, body in cases.items():
        assert watch.post(body).status_code == status, status
    for bad in (b"", b"old 5\n", b"old 05\n\n" + tree.signed(9), b"old 5\n!\n\n" + tree.signed(9)):
        assert watch.post(bad).status_code == 400
    too_many = [h.hex() for h in [b"\0" * 32] * 64]
    assert watch.post(request(5, too_many, tree.signed(9))).status_code == 400
    assert watch.post(b"x" * (1 << 17)).status_code == 413
    stale = watch.post(request(3, tree.proof(3, 9), tree.signed(9)))
    assert (stale.status_code, stale.text) == (409, "5\n")
    assert stale.headers["content-type"] == "text/x.tlog.size"
    assert watch.post(request(5, proof, tree.signed(9))).status_code == 200
    assert watch.post(request(9, [], tree.signed(9))).status_code == 200  # asked for again


def test_a_fork_is_refused_whichever_way_it_is_offered(watch: Watching) -> None:
    true, other = Tree().grow(8), Tree().grow(4).grow(4, "forged")
    assert watch.post(request(0, [], true.signed())).status_code == 200
    same_size = watch.post(request(8, [], other.signed()))
    assert (same_size.status_code, same_size.text) == (409, "8\n")
    other.grow(5, "forged")
    assert watch.post(request(8, other.proof(8), other.signed())).status_code == 422
    assert watch.post(request(4, other.proof(4), other.signed())).status_code == 409
    assert watch.post(request(0, [], other.signed())).status_code == 409
    client = Witnesses(other, [WitnessPlace(watch.address, witness.read_key(watch.key))])
    assert client.ask() == 0
    assert other.lines == []
    client.close()


def test_a_witness_never_forgets_what_it_signed(tmp_path: Path) -> None:
    tree = Tree().grow(7)
    first = Witness(tmp_path, "w.test/1", [LOG_KEY])
    assert first.add_checkpoint(request(0, [], tree.signed())).status == 200
    again = Witness(tmp_path, "w.test/1", [LOG_KEY])
    assert again.key == first.key
    fork = Tree().grow(7, "forged")
    assert again.add_checkpoint(request(0, [], fork.signed())).status == 409
    assert again.add_checkpoint(request(7, [], fork.signed())).status == 409
    assert again.add_checkpoint(request(7, [], tree.signed())).status == 200


def test_a_witness_that_is_away_or_speaks_nonsense_only_goes_without_a_cosignature(
    watch: Watching,
) -> None:
    tree = Tree().grow(3)
    nobody = witness.key_of("gone.test", Signer.generate())
    liar = witness.key_of("w.test/1", Signer.generate())
    places = [
        WitnessPlace("http://127.0.0.1:9", nobody),
        WitnessPlace(watch.address, liar),  # answers, under another key than was agreed
        WitnessPlace(watch.address, witness.read_key(watch.key)),
    ]
    client = Witnesses(tree, places)
    assert client.ask() == 1
    assert [bool(p.wrong) for p in places] == [True, True, False]
    client.close()


def test_a_cosignature_holds_for_one_tree_one_time_and_one_key() -> None:
    tree, signer = Tree().grow(5), Signer.generate()
    key = witness.key_of("w.test/1", signer)
    line = witness.cosign("w.test/1", signer, read(tree.signed()).body, 1_800_000_000)
    at = witness.cosigned_at(read(witness.merged(tree.signed(), [line])), key)
    assert at is not None
    assert at.timestamp() == 1_800_000_000
    assert witness.holding(tree.signed(), line + line, key) == [line, line]
    assert witness.holding(tree.signed(4), line, key) == []
    value = bytearray(base64.b64decode(line.split()[2]))
    for i in range(len(value)):
        bent = bytes(value[:i] + bytes([value[i] ^ 1]) + value[i + 1 :])
        told = f"— w.test/1 {base64.b64encode(bent).decode()}\n"
        assert witness.holding(tree.signed(), told, key) == []


@pytest.mark.parametrize(
    "text",
    ["", "x", "w+00000000+AAAA", LOG_KEY, "https://w.test/"],
    ids=["nothing", "a letter", "no bytes", "the key of a log", "an address"],
)
def test_what_is_no_key_of_a_witness_is_refused(text: str) -> None:
    with pytest.raises(InvalidInput):
        witness.read_key(text)
    with pytest.raises(InvalidInput):
        read_places(f"https://w.test {text}")


@given(st.binary(max_size=300))
def test_whatever_is_sent_a_witness_gives_one_of_its_answers(body: bytes) -> None:
    from yaosu.proof.witness_server import read_request

    for given_body in (body, b"old 0\n\n" + body, b"old 1\n" + body + b"\n\n" + Tree().signed()):
        try:
            read_request(given_body)
        except Malformed:
            continue


def test_the_command_runs_a_witness_that_comes_back_under_its_name(tmp_path: Path) -> None:
    command = [str(Path(sys.executable).parent / "yaosu"), "witness", "--data", str(tmp_path / "w")]
    command += ["--log-key", LOG_KEY, "--port", "0"]
    for extra in (["--name", "w.test/9"], []):
        with subprocess.Popen([*command, *extra], stdout=subprocess.PIPE, text=True) as running:
            assert running.stdout is not None
            key = running.stdout.readline().split()[1]
            address = running.stdout.readline().split()[-1]
            until(lambda: _answers(address), bool)  # noqa: B023
            assert key == _answers(address).split()[1]
            assert key.startswith("w.test/9+")
            running.terminate()
            running.wait(10)


def _answers(address: str) -> str:
    try:
        return httpx2.get(address).text
    except httpx2.TransportError:
        return ""
