"""What the store promises the domain, whatever database is below."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import pytest

from yaosu.errors import (
    AlreadyExists,
    Conflict,
    InvalidInput,
    NotFound,
    Unavailable,
)
from yaosu.model import Dataset, Holding, Listing, ListingState, Party, Reply, Role, Venue, new_id
from yaosu.ports import Store, Transaction
from yaosu.storage.sqlite import SqliteStore
from yaosu_schemas.canonical import digest


def party(tx: Transaction, slug: str = "acme") -> Party:
    made = Party(
        id=new_id("pty"), slug=slug, name="数据公司", roles=(Role.BUYER,), created_at=tx.now
    )
    tx.add(made)
    return made


def draft(tx: Transaction, dataset_id: str, version: int) -> Listing:
    made = Listing(
        id=new_id("lst"),
        dataset_id=dataset_id,
        provider_id="pty_1",
        publisher="acme",
        name="gdp",
        version=version,
        descriptor={"name": "gdp"},
        created_at=tx.now,
        updated_at=tx.now,
    )
    tx.add(made)
    return made


def at_once(*tasks: Callable[[], object]) -> list[BaseException]:
    """Run every task in a thread of its own; return what they raised."""
    errors: list[BaseException] = []

    def run(task: Callable[[], object]) -> None:
        try:
            task()
        except BaseException as e:
            errors.append(e)

    threads = [threading.Thread(target=run, args=(task,)) for task in tasks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
        assert not thread.is_alive(), "stuck"
    return errors


# --- records ------------------------------------------------------------------------------------


def test_a_record_comes_back_as_it_went_in(store: Store) -> None:
    made = store.write(party)
    with store.read() as reader:
        assert reader.get(Party, made.id) == made
        assert reader.one(Party, slug="acme") == made
        assert reader.one(Party, slug="other") is None
        with pytest.raises(NotFound):
            reader.get(Party, "pty_other")


def test_a_failed_transaction_leaves_nothing(store: Store) -> None:
    def step(tx: Transaction) -> None:
        made = party(tx)
        event = tx.record(made.id, "register", actor_id="mem_1")
        tx.post("trd_1", event, {"buyer:1": -5, "escrow:trd_1": 5})
        tx.enqueue("welcome", {})
        tx.notify("party", made.id)
        tx.keep_view("v", b"x")
        tx.remember("mem_1", "k", Reply(fingerprint="f", status=200, headers={}, body=b""))
        raise RuntimeError("power cut")

    with pytest.raises(RuntimeError, match="power cut"):
        store.write(step)
    with store.read() as reader:
        assert reader.count(Party) == 0
        assert reader.events_after(0) == reader.log_pending() == []
        assert reader.postings("trd_1") == []
        assert reader.balance("escrow:trd_1") == 0
        assert reader.jobs() == []
        assert reader.outbox("party", 0) == []
        assert reader.view("v") is None
    assert store.write(lambda tx: tx.replay("mem_1", "k")) is None


def test_a_failed_step_is_forgotten_also_by_whoever_remembers_records(store: Store) -> None:
    made = store.write(party)
    first = store.write(lambda tx: tx.record(made.id, "register", actor_id="mem_1"))

    def step(tx: Transaction) -> None:
        tx.put(replace(tx.get(Party, made.id), name="never"))
        assert tx.get(Party, made.id).name == "never"
        tx.record(made.id, "renamed", actor_id="mem_1")
        raise RuntimeError("refused")

    for _ in range(2):
        with pytest.raises(RuntimeError, match="refused"):
            store.write(step)
    assert store.write(lambda tx: tx.get(Party, made.id)) == made
    after = store.write(lambda tx: tx.record(made.id, "renamed", actor_id="mem_1"))
    assert (after.seq, after.prev_digest) == (1, first.digest)


def test_a_taken_name_is_refused_and_the_step_may_go_on(store: Store) -> None:
    store.write(party)

    def step(tx: Transaction) -> None:
        with pytest.raises(AlreadyExists):
            party(tx)
        party(tx, "other")

    store.write(step)
    with store.read() as reader:
        assert {p.slug for p in reader.find(Party)} == {"acme", "other"}


def test_only_what_is_there_can_be_replaced_and_only_by_a_free_name(store: Store) -> None:
    made = store.write(party)
    other = store.write(lambda tx: party(tx, "other"))
    store.write(lambda tx: tx.put(replace(made, name="B", slug="b")))
    with pytest.raises(NotFound):
        store.write(lambda tx: tx.put(replace(made, id="pty_other", slug="x")))
    with pytest.raises(AlreadyExists):
        store.write(lambda tx: tx.put(replace(tx.get(Party, other.id), slug="b")))
    with store.read() as reader:
        assert reader.one(Party, slug="b") == replace(made, name="B", slug="b")
        assert reader.one(Party, slug="acme") is None


def test_a_step_sees_its_own_changes_and_can_change_them_again(store: Store) -> None:
    def step(tx: Transaction) -> Party:
        made = party(tx)
        tx.put(replace(made, uscc="1"))
        assert tx.get(Party, made.id).uscc == "1"
        tx.put(replace(made, uscc="2"))
        found = tx.one(Party, uscc="2")
        assert found is not None
        return found

    made = store.write(step)
    with store.read() as reader:
        assert reader.find(Party, uscc="2") == [made]


def test_records_are_found_by_their_columns_in_pages(store: Store) -> None:
    def step(tx: Transaction) -> list[Listing]:
        made = [draft(tx, "dst_1", n) for n in range(1, 6)]
        tx.put(replace(made[4], state=ListingState.LISTED))
        draft(tx, "dst_2", 1)
        return made

    ids = [listing.id for listing in store.write(step)]
    with store.read() as reader:

        def found(**lookup: Any) -> list[str]:
            return [listing.id for listing in reader.find(Listing, **lookup)]

        assert found(dataset_id="dst_1") == ids
        assert found(dataset_id="dst_1", newest=True) == ids[::-1]
        assert found(dataset_id="dst_1", limit=2) == ids[:2]
        assert found(dataset_id="dst_1", limit=2, after=ids[1]) == ids[2:4]
        assert found(dataset_id="dst_1", limit=9, after=ids[2], newest=True) == ids[1::-1]
        assert found(dataset_id="dst_1", state=ListingState.LISTED) == ids[4:]
        states = (ListingState.LISTED, ListingState.DRAFT)
        assert found(dataset_id="dst_1", state=states) == ids
        assert found(dataset_id="dst_1", state=(ListingState.DRAFT,)) == ids[:4]
        assert found(dataset_id="dst_1", state=()) == []
        assert found(dataset_id="dst_1", version=(2, 3)) == ids[1:3]
        assert found(content_digest=None, dataset_id="dst_2", version=1) != []
        assert found(content_digest="sha256:0") == []
        assert reader.count(Listing, state=states) == 6
        assert reader.count(Listing, state=()) == 0
        with pytest.raises(TypeError, match="title"):
            reader.find(Listing, title="x")


def test_bytes_of_a_party_are_summed_by_the_database(store: Store) -> None:
    def step(tx: Transaction) -> None:
        for n, owner in enumerate("aab"):
            held = Holding(
                id=new_id("hld"), party_id=owner, sha256=str(n), bytes=10**n, created_at=tx.now
            )
            tx.add(held)

    store.write(step)
    with store.read() as reader:
        assert reader.total(Holding, "bytes", party_id="a") == 11
        assert reader.total(Holding, "bytes", party_id=("a", "b")) == 111
        assert reader.total(Holding, "bytes", party_id="nobody") == 0


def test_a_reader_keeps_the_snapshot_it_began_with(store: Store) -> None:
    made = store.write(party)
    with store.read() as reader:
        assert reader.get(Party, made.id).name == "数据公司"
        store.write(lambda tx: tx.put(replace(made, name="B")))
        assert reader.get(Party, made.id).name == "数据公司"
    with store.read() as reader:
        assert reader.get(Party, made.id).name == "B"


def test_no_change_of_another_step_is_overwritten_unseen(store: Store) -> None:
    """However the record was read: with `get`, `one` or `find`."""
    made = store.write(lambda tx: replace(party(tx), uscc="0"))
    store.write(lambda tx: tx.put(made))
    reads: list[Callable[[Transaction], Party | None]] = [
        lambda tx: tx.get(Party, made.id),
        lambda tx: tx.one(Party, slug="acme"),
        lambda tx: tx.find(Party)[0],
    ]

    def count_up(read: Callable[[Transaction], Party | None]) -> Callable[[], None]:
        def step(tx: Transaction) -> None:
            seen = read(tx)
            assert seen is not None
            tx.put(replace(seen, uscc=str(int(seen.uscc or 0) + 1)))

        return lambda: [store.write(step) for _ in range(10)] and None

    assert at_once(*[count_up(read) for read in reads * 2]) == []
    with store.read() as reader:
        assert reader.get(Party, made.id).uscc == "60"


def test_what_a_step_decides_on_a_locked_record_still_holds_when_it_commits(store: Store) -> None:
    """Ten steps want the one exclusive place: each looks first, one gets it."""
    dataset = Dataset(
        id="dst_1", provider_id="p", publisher="a", name="n", created_at=store.write(now)
    )
    store.write(lambda tx: tx.add(dataset))

    def take(tx: Transaction) -> None:
        tx.get(Dataset, "dst_1")
        if tx.count(Party) == 0:
            party(tx, new_id("slug"))

    assert at_once(*[lambda: store.write(take)] * 10) == []
    with store.read() as reader:
        assert reader.count(Party) == 1


def now(tx: Transaction) -> Any:
    return tx.now


# --- evidence -----------------------------------------------------------------------------------


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


@pytest.mark.parametrize("payload", [None, {}, [1, 'é\u2028\x7f\x01"\\'], {"报": ["告"], "a": 1.5}])
def test_the_digest_of_an_event_is_the_canonical_one(store: Store, payload: Any) -> None:
    made = store.write(
        lambda tx: tx.record(
            '数据\x1f"\\\x7f\u2028😀', "tÿpe", actor_id="é", from_state="a", payload=payload
        )
    )
    with store.read() as reader:
        (kept,) = reader.events_after(0)
    assert kept == made
    assert kept.digest == digest(kept.statement)
    assert kept.payload_digest == digest(payload)


def test_a_payload_without_a_canonical_form_is_refused(store: Store) -> None:
    for payload in (float("nan"), 2**53, "\ud800", object()):
        with pytest.raises(InvalidInput):
            store.write(lambda tx, p=payload: tx.record("s", "t", actor_id="a", payload=p))


def test_many_writers_of_one_chain_leave_no_gap(store: Store) -> None:
    def append() -> None:
        for _ in range(10):
            store.write(lambda tx: tx.record("trd_1", "step", actor_id="a"))

    assert at_once(*[append] * 8) == []
    with store.read() as reader:
        chain = reader.events("trd_1")
    assert [e.seq for e in chain] == list(range(80))
    assert all(b.prev_digest == a.digest for a, b in zip(chain, chain[1:], strict=False))
    assert [e.at for e in chain] == sorted(e.at for e in chain)


def test_time_never_goes_back_in_the_store(open_here: Callable[..., Store], clock: Any) -> None:
    store = open_here()
    first = store.write(lambda tx: tx.record("a", "t", actor_id="a"))
    clock.forward(hours=-2)
    assert store.write(now) == first.at
    store.close()
    store = open_here()
    assert store.write(lambda tx: tx.record("b", "t", actor_id="a")).at == first.at
    clock.forward(hours=3)
    assert store.write(now) == clock.at


def test_events_of_all_subjects_can_be_followed_by_type(store: Store) -> None:
    for n, name in enumerate(["list", "delist", "list", "suspend"]):
        store.write(lambda tx, n=n, t=name: tx.record(f"lst_{n}", t, actor_id="a"))
    with store.read() as reader:
        every = reader.events_after(0)
        assert [e.subject_id for e in every] == ["lst_0", "lst_1", "lst_2", "lst_3"]
        assert reader.events_after(every[1].id, limit=1) == [every[2]]
        assert reader.events_after(0, types=["list"]) == [every[0], every[2]]
        assert reader.events_after(0, types=["delist", "suspend"]) == [every[1], every[3]]


def test_every_event_gets_one_place_in_the_log(store: Store) -> None:
    made = [
        store.write(lambda tx, n=n: tx.record(f"s{n % 2}", "t", actor_id="a")) for n in range(5)
    ]
    with store.read() as reader:
        assert reader.log_pending() == made
        assert reader.log_pending(2) == made[:2]
        assert reader.log_size() == 0
        assert reader.leaf_of(made[0].id) is None
    first = store.write(lambda tx: tx.log_done(tx.log_next(3)))
    assert first == 0
    with pytest.raises(Conflict):
        store.write(lambda tx: tx.log_done([made[4].id, made[0].id]))
    assert store.write(lambda tx: tx.log_done([made[4].id])) == 3
    with store.read() as reader:
        assert reader.log_size() == 4
        assert reader.log_pending() == [made[3]]
        assert reader.leaves(0) == [*made[:3], made[4]]
        assert reader.leaves(2, limit=1) == [made[2]]
        assert reader.leaf_of(made[4].id) == 3
        places = [reader.leaf_by_digest(event.digest) for event in made]
        assert places == [0, 1, 2, None, 3]
        assert reader.leaf_by_digest(made[0].digest[:-1] + "x") is None  # the head alone is none


def test_two_sequencers_at_once_give_each_event_one_place(store: Store) -> None:
    for n in range(30):
        store.write(lambda tx, n=n: tx.record(f"s{n}", "t", actor_id="a"))

    def sequence() -> None:
        while store.write(lambda tx: len(ids(tx)) and tx.log_done(ids(tx)) >= 0):
            pass

    def ids(tx: Transaction) -> list[int]:
        return tx.log_next(4)

    assert at_once(*[sequence] * 4) == []
    with store.read() as reader:
        assert reader.log_size() == 30
        assert len({e.id for e in reader.leaves(0)}) == 30


# --- money --------------------------------------------------------------------------------------


def pay(tx: Transaction, lines: dict[str, int]) -> None:
    tx.post("trd_1", tx.record("trd_1", "paid", actor_id="x"), lines)


def test_postings_balance_and_add_up(store: Store) -> None:
    store.write(lambda tx: pay(tx, {"buyer:b": -100, "escrow:trd_1": 100}))
    store.write(lambda tx: pay(tx, {"escrow:trd_1": -100, "provider:p": 97, "platform": 3}))
    with store.read() as reader:
        assert reader.balance("escrow:trd_1") == 0
        assert reader.balance("provider:p") == 97
        assert reader.balance("nobody") == 0
        lines = reader.postings("trd_1")
        assert sum(p.amount_fen for p in lines) == 0
        assert [p.account for p in lines][:2] == ["buyer:b", "escrow:trd_1"]
        assert {p.event_digest for p in lines} == {e.digest for e in reader.events("trd_1")}


@pytest.mark.parametrize(
    "lines",
    [
        {},
        {"a": 1},
        {"a": 1, "b": -2},
        {"a": 10**15 + 1, "b": -(10**15) - 1},
        {"a": 0.5, "b": -0.5},
        {"a": True, "b": -1},
    ],
)
def test_an_entry_that_does_not_balance_in_whole_fen_is_refused(store: Store, lines: Any) -> None:
    with pytest.raises(InvalidInput):
        store.write(lambda tx: pay(tx, lines))
    with store.read() as reader:
        assert reader.events("trd_1") == []


def test_escrow_is_never_overdrawn(store: Store) -> None:
    store.write(lambda tx: pay(tx, {"buyer:b": -100, "escrow:trd_1": 100}))
    with pytest.raises(Conflict):
        store.write(lambda tx: pay(tx, {"escrow:trd_1": -101, "provider:p": 101}))
    with pytest.raises(Conflict):
        store.write(lambda tx: pay(tx, {"escrow:trd_2": -1, "provider:p": 1}))
    errors = at_once(
        *[lambda: store.write(lambda tx: pay(tx, {"escrow:trd_1": -30, "provider:p": 30}))] * 5
    )
    assert [type(e) for e in errors] == [Conflict, Conflict]
    with store.read() as reader:
        assert reader.balance("escrow:trd_1") == 10
        assert reader.balance("provider:p") == 90


# --- idempotency, views, followers --------------------------------------------------------------

REPLY = Reply(fingerprint="f" * 64, status=201, headers={"location": "/数"}, body=b"\0\xff{}")


def test_a_reply_is_kept_with_its_effect_and_told_again(store: Store) -> None:
    store.write(lambda tx: tx.remember("mem_1", "k", REPLY))
    assert store.write(lambda tx: tx.replay("mem_1", "k")) == REPLY
    assert store.write(lambda tx: tx.replay("mem_2", "k")) is None


def test_the_same_request_sent_many_times_at_once_has_one_effect(store: Store) -> None:
    answers: list[bytes] = []

    def request() -> None:
        def step(tx: Transaction) -> Reply:
            known = tx.replay("mem_1", "key-1")
            if known is not None:
                return known
            made = party(tx, new_id("slug"))
            reply = replace(REPLY, body=made.id.encode())
            tx.remember("mem_1", "key-1", reply)
            return reply

        answers.append(store.write(step).body)

    assert at_once(*[request] * 16) == []
    assert len(answers) == 16
    assert len(set(answers)) == 1
    with store.read() as reader:
        assert reader.count(Party) == 1


def test_a_view_is_the_bytes_that_were_stored(store: Store) -> None:
    store.write(lambda tx: tx.keep_view("lst_1", b"one"))
    with store.read() as reader:
        first = reader.view("lst_1")
    assert first is not None
    assert first[1] == b"one"
    store.write(lambda tx: tx.keep_view("lst_1", b"two"))
    with store.read() as reader:
        second = reader.view("lst_1")
    assert second is not None
    assert second[1] == b"two"
    assert second[0] != first[0]
    store.write(lambda tx: tx.keep_view("lst_1", None))
    with store.read() as reader:
        assert reader.view("lst_1") is None


def test_a_follower_reads_its_topic_in_order_from_where_it_stopped(store: Store) -> None:
    for n in range(4):
        store.write(lambda tx, n=n: tx.notify("listing" if n % 2 else "trade", f"k{n}"))
    with store.read() as reader:
        rows = reader.outbox("listing", 0)
        assert [r.key for r in rows] == ["k1", "k3"]
        assert reader.outbox("listing", rows[0].id) == rows[1:]
        assert reader.outbox("listing", 0, limit=1) == rows[:1]
        assert reader.outbox_head("listing") == rows[1].id
        assert reader.outbox_head("other") == 0
    store.write(lambda tx: tx.forget_outbox("listing", rows[1].id))
    store.write(lambda tx: tx.notify("listing", "k4"))
    with store.read() as reader:
        assert [r.key for r in reader.outbox("listing", rows[1].id)] == ["k4"]


def test_a_slow_step_does_not_slip_in_behind_a_follower(store: Store) -> None:
    """The follower reads all the while; at the end it has seen every key once."""
    writing = threading.Event()
    seen: list[str] = []

    def write(n: int) -> None:
        for m in range(15):

            def step(tx: Transaction, key: str = f"{n}-{m}") -> None:
                tx.notify("listing", key)
                if n % 3 == 0 and not isinstance(store, SqliteStore):
                    time.sleep(0.01)

            store.write(step)

    def follow() -> None:
        position = 0
        while True:
            last = writing.is_set()
            with store.read() as reader:
                rows = reader.outbox("listing", position, limit=7)
            seen.extend(r.key for r in rows)
            position = rows[-1].id if rows else position
            if last and not rows:
                return

    follower = threading.Thread(target=follow)
    follower.start()
    try:
        assert at_once(*[lambda n=n: write(n) for n in range(6)]) == []  # type: ignore[misc]
    finally:
        writing.set()
        follower.join(30)
    assert len(seen) == 90
    assert set(seen) == {f"{n}-{m}" for n in range(6) for m in range(15)}


# --- life ---------------------------------------------------------------------------------------


def test_a_listener_hears_of_work_after_the_commit(store: Store) -> None:
    heard: list[int] = []

    def listen() -> None:
        with store.read() as reader:
            heard.append(len(reader.jobs()))

    store.on_work(listen)
    store.write(lambda tx: tx.enqueue("k", None))
    store.write(party)
    with pytest.raises(RuntimeError):
        store.write(lambda tx: (tx.enqueue("k", None), fail()))
    deadline = time.monotonic() + 5
    while not heard and time.monotonic() < deadline:
        time.sleep(0.01)
    assert heard == [1]


def fail() -> None:
    raise RuntimeError("refused")


def test_what_was_acknowledged_is_there_after_reopening(open_here: Callable[..., Store]) -> None:
    store = open_here()
    made = store.submit(party).result(10)
    store.close()
    with open_here().read() as reader:
        assert reader.get(Party, made.id) == made


def test_a_closed_store_says_so(store: Store) -> None:
    store.write(lambda tx: tx.add(Venue(id="otc", name="场外", name_en="OTC")))
    store.close()
    store.close()
    for ask in (lambda: store.write(party), lambda: store.submit(party).result(5)):
        with pytest.raises(Unavailable):
            ask()


def test_text_that_a_database_cannot_hold_is_the_senders_fault(store: Store) -> None:
    step = partial(party, slug="nul\0slug")
    if isinstance(store, SqliteStore):
        assert store.write(step).slug == "nul\0slug"
    else:
        with pytest.raises(InvalidInput):
            store.write(step)
