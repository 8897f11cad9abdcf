"""What the store promises the domain, whatever database is below."""

from __future__ import annotations

from dataclasses import replace

import pytest

from yaosu.errors import AlreadyExists, NotFound
from yaosu.model import Party, Role, new_id
from yaosu.ports import Store, Transaction
from yaosu_schemas.canonical import digest


def party(tx: Transaction, slug: str = "acme") -> Party:
    made = Party(
        id=new_id("pty"), slug=slug, name="数据公司", roles=(Role.BUYER,), created_at=tx.now
    )
    tx.add(made)
    return made


def test_a_record_comes_back_as_it_went_in(store: Store) -> None:
    made = store.write(party)
    with store.read() as reader:
        assert reader.get(Party, made.id) == made
        assert reader.one(Party, slug="acme") == made


def test_a_failed_transaction_leaves_nothing(store: Store) -> None:
    def step(tx: Transaction) -> None:
        made = party(tx)
        tx.record(made.id, "register", actor_id="mem_1")
        tx.enqueue("welcome", {})
        raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        store.write(step)
    with store.read() as reader:
        assert reader.count(Party) == 0
        assert reader.events_after(0) == []
        assert reader.jobs() == []


def test_a_taken_name_is_refused_and_the_step_may_go_on(store: Store) -> None:
    store.write(party)

    def step(tx: Transaction) -> None:
        with pytest.raises(AlreadyExists):
            party(tx)
        party(tx, "other")

    store.write(step)
    with store.read() as reader:
        assert {p.slug for p in reader.find(Party)} == {"acme", "other"}


def test_only_what_is_there_can_be_replaced(store: Store) -> None:
    made = store.write(party)
    store.write(lambda tx: tx.put(replace(made, name="B")))
    with pytest.raises(NotFound):
        store.write(lambda tx: tx.put(replace(made, id="pty_other", slug="x")))
    with store.read() as reader:
        assert reader.get(Party, made.id).name == "B"


def test_evidence_is_a_dense_linked_chain_per_subject(store: Store) -> None:
    for n in range(3):
        store.write(lambda tx, n=n: tx.record("trd_1", "step", actor_id="a", payload={"n": n}))
        store.write(lambda tx, n=n: tx.record("trd_2", "step", actor_id="a", payload={"n": n}))
    with store.read() as reader:
        chain = reader.events("trd_1")
    assert [e.seq for e in chain] == [0, 1, 2]
    assert [e.prev_digest for e in chain] == [None, chain[0].digest, chain[1].digest]
    assert all(e.digest == digest(e.statement) for e in chain)
    assert all(e.payload_digest == digest(e.payload) for e in chain)
