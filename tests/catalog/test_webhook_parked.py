"""A message that its receiver refuses is parked: what does not depend on it goes on, in order."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from hookbench import Bench
from receiver import GOOD, Answer, Receiver, receiver
from yaosu.errors import Conflict
from yaosu.model import Terms, Trade, Venue
from yaosu.model_outside import Message, Webhook
from yaosu.proof.proofs import Findings
from yaosu.proof.verify_database import open_snapshot
from yaosu.proof.verify_outside import check_webhooks
from yaosu.webhooks import hooks
from yaosu.webhooks.courier import PARKED_AFTER

NO: Answer = (422, {}, b"")
DIGEST = "sha256:" + "0" * 64


@pytest.fixture(params=["sqlite", "postgresql"])
def bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    url = request.getfixturevalue("migrated_url") if request.param == "postgresql" else ""
    made = Bench(tmp_path / "data", url)
    made.market.store.write(lambda tx: tx.add(Venue(id="otc", name="场外", name_en="otc")))
    for name in "ab":
        made.market.store.write(lambda tx, name=name: tx.add(trade(made, name, tx.now)))
    yield made
    made.market.close()


@pytest.fixture
def inbox() -> Iterator[Receiver]:
    with receiver() as found:
        yield found


def trade(bench: Bench, name: str, at) -> Trade:  # type: ignore[no-untyped-def]
    return Trade(
        id=f"trd_{name * 32}", listing_id="lst_x", listing_version=1, content_digest=DIGEST,
        terms_digest=DIGEST, report_digest=DIGEST, venue="otc", provider_id="pty_x",
        user_id=bench.actor.party_id, offer_digest=DIGEST, turn="x",
        terms=Terms(mode="one_off", amount_fen=1, purpose="p"), agreement_digest=DIGEST,
        created_at=at, updated_at=at,
    )  # fmt: skip


def happen(bench: Bench, *names: str) -> list[str]:
    """Record an event of each trade in this order; returns their ids."""

    def step(tx):  # type: ignore[no-untyped-def]
        return [
            tx.record(f"trd_{name * 32}", "note", actor_id="m", payload={"n": n}).id
            for n, name in enumerate(names)
        ]

    made = bench.market.store.write(step)
    bench.market.integrate()
    return [f"evt_{i}" for i in made]


def hook(bench: Bench, inbox: Receiver) -> Webhook:
    bench.market.integrate()
    return bench.market.store.write(
        lambda tx: hooks.create(tx, bench.actor, url=inbox.url, topics=["trade.note"])
    )


def carried(bench: Bench) -> None:
    """Carry through the first tries of the schedule."""
    for _ in range(PARKED_AFTER + 1):
        bench.carry()
        bench.clock.forward(seconds=400)


def again(bench: Bench, at: Webhook, message: Message) -> Message:
    return bench.market.store.write(
        lambda tx: hooks.second_chance(tx, bench.actor, at.id, message.id)
    )


def test_a_refused_message_holds_up_its_own_trade_and_no_other(
    bench: Bench, inbox: Receiver
) -> None:
    at = hook(bench, inbox)
    a1, b1, a2, b2 = happen(bench, "a", "b", "a", "b")
    refused = {a1}
    inbox.answer = lambda got: NO if got.headers["webhook-id"] in refused else GOOD
    carried(bench)
    assert inbox.ids == [a1] * PARKED_AFTER + [b1, b2]
    parked = sorted(bench.messages(at, "parked"), key=lambda m: m.event_id)
    assert [m.event_id for m in parked] == [a1, a2]
    assert [len(m.attempts) for m in parked] == [PARKED_AFTER, 0]
    assert bench.now(at).next_at is None
    first, second = parked
    with pytest.raises(Conflict, match="waits behind"):
        again(bench, at, second)

    again(bench, at, first)  # still refused: it stays, and so does what is behind it
    bench.carry()
    assert inbox.ids.count(a2) == 0
    assert {m.event_id for m in bench.messages(at, "parked")} == {a1, a2}

    refused.clear()
    (a3,) = happen(bench, "a")
    bench.carry()
    assert inbox.ids.count(a3) == 0  # its trade waits
    again(bench, at, first)
    bench.carry()
    assert inbox.ids[-3:] == [a1, a2, a3]  # in the order of the trade
    assert bench.messages(at, "parked") == []
    (a4,) = happen(bench, "a")
    bench.carry()
    assert inbox.ids[-1] == a4


@pytest.mark.parametrize("status", [401, 403, 404, 429, 500, 503])
def test_what_is_wrong_with_the_line_parks_nothing(
    bench: Bench, inbox: Receiver, status: int
) -> None:
    at = hook(bench, inbox)
    happen(bench, "a", "b")
    inbox.answer = lambda got: (status, {}, b"")
    carried(bench)
    assert bench.messages(at, "parked") == []
    assert len(set(inbox.ids)) == 1


def test_parked_messages_are_no_gap_and_a_replay_sends_them_in_line(
    bench: Bench, inbox: Receiver
) -> None:
    at = hook(bench, inbox)
    a1, b1, a2 = happen(bench, "a", "b", "a")
    inbox.answer = lambda got: NO if got.headers["webhook-id"] == a1 else GOOD
    carried(bench)
    folder = bench.market.settings.folder
    if bench.market.embedded:
        found = Findings()
        with open_snapshot(folder / "market.db") as db:
            check_webhooks(db, found)
        assert found.problems == []
        assert found.checked["messages"] >= 3
    inbox.answer = lambda got: GOOD
    begun = len(inbox.ids)
    number = int(a1[4:])
    bench.market.store.write(lambda tx: hooks.replay(tx, bench.actor, at.id, number))
    bench.carry()
    assert inbox.ids[begun:] == [a1, b1, a2]
    assert bench.messages(at, "parked") == []


def test_a_restart_keeps_what_is_parked(bench: Bench, inbox: Receiver) -> None:
    at = hook(bench, inbox)
    a1, a2 = happen(bench, "a", "a")
    inbox.answer = lambda got: NO if got.headers["webhook-id"] == a1 else GOOD
    carried(bench)
    bench.restart()
    bench.carry()
    assert {m.event_id for m in bench.messages(at, "parked")} == {a1, a2}
    assert hooks.message_shown(bench.messages(at, "parked")[0])["state"] == "parked"
    assert replace(bench.now(at), leased_until=None).state == "active"
