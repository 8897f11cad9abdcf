"""The tree: RFC 6962 / RFC 9162 §2.1 against a definition, reference roots, and tampering."""

from __future__ import annotations

import hashlib
import random

import pytest

from yaosu.proof import merkle

ENTRIES = [f"entry {n}".encode() for n in range(130)]
LEAVES = [merkle.leaf_hash(e) for e in ENTRIES]
NODE = merkle.node_in_memory(LEAVES)


def by_definition(entries: list[bytes]) -> bytes:
    """MTH of RFC 6962 §2.1, word for word."""
    if not entries:
        return hashlib.sha256().digest()
    if len(entries) == 1:
        return hashlib.sha256(b"\x00" + entries[0]).digest()
    k = 1
    while k * 2 < len(entries):
        k *= 2
    left, right = by_definition(entries[:k]), by_definition(entries[k:])
    return hashlib.sha256(b"\x01" + left + right).digest()


ROOTS = [by_definition(ENTRIES[:n]) for n in range(131)]

# The inputs and roots that Certificate Transparency implementations test each other with.
CT_INPUTS = [
    "", "00", "10", "2021", "3031", "40414243", "5051525354555657",
    "606162636465666768696a6b6c6d6e6f",
]  # fmt: skip
CT_ROOTS = [
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]


def test_the_reference_roots_of_certificate_transparency_come_out() -> None:
    leaves = [merkle.leaf_hash(bytes.fromhex(i)) for i in CT_INPUTS]
    node = merkle.node_in_memory(leaves)
    assert [merkle.root(node, n).hex() for n in range(1, 9)] == CT_ROOTS
    assert merkle.root(node, 0) == hashlib.sha256(b"").digest()


def test_every_root_up_to_130_is_the_one_of_the_definition() -> None:
    assert [merkle.root(NODE, n) for n in range(131)] == ROOTS


def test_every_leaf_of_every_tree_up_to_130_is_proven() -> None:
    for size in range(1, 131):
        for index in range(size):
            proof = merkle.inclusion_proof(NODE, index, size)
            assert merkle.verify_inclusion(LEAVES[index], index, size, proof, ROOTS[size])


def test_every_pair_of_trees_up_to_130_is_proven_consistent() -> None:
    for new in range(131):
        for old in range(new + 1):
            proof = merkle.consistency_proof(NODE, old, new)
            assert merkle.verify_consistency(old, new, ROOTS[old], ROOTS[new], proof), (old, new)


def test_a_proof_for_anything_else_does_not_hold() -> None:
    rng = random.Random(1)
    for _ in range(600):
        size = rng.randint(1, 130)
        index = rng.randrange(size)
        proof = merkle.inclusion_proof(NODE, index, size)
        root = ROOTS[size]

        def holds(
            leaf: bytes = LEAVES[index],
            index: int = index,
            size: int = size,
            proof: list[bytes] = proof,
            root: bytes = root,
        ) -> bool:
            return merkle.verify_inclusion(leaf, index, size, proof, root)

        assert holds()
        other = (index + rng.randint(1, size)) % size
        assert other == index or not holds(leaf=LEAVES[other])
        assert other == index or not holds(index=other)
        assert not holds(index=size)
        assert not holds(index=-1)
        assert not holds(root=ROOTS[size - 1])
        assert not holds(proof=[*proof, rng.randbytes(32)])
        assert not proof or not holds(proof=proof[:-1])
        for at in range(len(proof)):
            bent = list(proof)
            bent[at] = bytes([bent[at][0] ^ 1]) + bent[at][1:]
            assert not holds(proof=bent)
            bent[at] = proof[at][:-1]
            assert not holds(proof=bent)


def test_a_tree_that_forgot_or_changed_a_leaf_is_not_consistent() -> None:
    rng = random.Random(2)
    for _ in range(300):
        new = rng.randint(2, 130)
        old = rng.randint(1, new - 1)
        proof = merkle.consistency_proof(NODE, old, new)
        changed = list(LEAVES[:new])
        changed[rng.randrange(old)] = rng.randbytes(32)
        fork = merkle.node_in_memory(changed)
        assert not merkle.verify_consistency(
            old, new, ROOTS[old], merkle.root(fork, new), merkle.consistency_proof(fork, old, new)
        )
        assert not merkle.verify_consistency(old, new, ROOTS[old - 1], ROOTS[new], proof)
        assert not merkle.verify_consistency(old, new, ROOTS[old], ROOTS[new - 1], proof)
        assert not merkle.verify_consistency(new, old, ROOTS[new], ROOTS[old], proof)
        assert not merkle.verify_consistency(old, new, ROOTS[old], ROOTS[new], [*proof, bytes(32)])
        assert not merkle.verify_consistency(old, new, ROOTS[old], ROOTS[new], proof[:-1])


def test_what_is_not_in_the_tree_cannot_be_asked_for() -> None:
    for index, size in ((5, 5), (-1, 5), (0, 0)):
        with pytest.raises(ValueError, match="not in a tree"):
            merkle.inclusion_proof(NODE, index, size)
    with pytest.raises(ValueError, match="does not begin"):
        merkle.consistency_proof(NODE, 6, 5)


def test_tile_paths_are_those_of_the_specification_and_each_tile_has_one() -> None:
    assert merkle.tile_path(0, 1234067) == "tile/0/x001/x234/067"
    assert merkle.tile_path(2, 7, 5) == "tile/2/007.p/5"
    assert merkle.entries_path(1000) == "tile/entries/x001/000"
    for level, index, width in [(0, 0, 256), (3, 999, 1), (63, 1_000_000, 255), (0, 1000, 256)]:
        assert merkle.read_path(merkle.tile_path(level, index, width)) == (level, index, width)
        assert merkle.read_path(merkle.entries_path(index, width)) == (None, index, width)
    for bad in (
        "tile/0/0", "tile/00/000", "tile/64/000", "tile/0/x000/000", "tile/0/000.p/0",
        "tile/0/000.p/256", "tile/0/000.p/01", "tile/0/../000", "tile/0/000/", "/tile/0/000",
        "tile/entries", "tile/0/001/000", "", "checkpoint", "tile/-1/000", "tile/0/٠٠٠",
    ):  # fmt: skip
        assert merkle.read_path(bad) is None, bad


def test_a_bundle_gives_its_entries_back_and_a_cut_one_is_refused() -> None:
    entries = [b"", b"a", bytes(65_535)]
    bundle = merkle.pack(entries)
    assert merkle.unpack(bundle) == entries
    assert bundle[:5] == b"\0\0\0\1a"
    for cut in (1, 4, len(bundle) - 1):
        if cut != 2:
            with pytest.raises(ValueError, match="cut"):
                merkle.unpack(bundle[:cut])
    with pytest.raises(ValueError, match="65535"):
        merkle.pack([bytes(65_536)])


def test_the_tiles_of_a_size_hold_every_complete_hash_once() -> None:
    for size in (0, 1, 255, 256, 257, 65_536, 65_537, 70_000):
        per_level: dict[int, int] = {}
        for level, _, width in merkle.tiles_of(size):
            per_level[level] = per_level.get(level, 0) + width
        assert all(n == size >> 8 * level for level, n in per_level.items())
