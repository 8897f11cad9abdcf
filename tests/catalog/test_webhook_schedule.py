"""The schedule of webhooks on a clock that a test holds: a day without a receiver loses nothing."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from hookbench import Bench
from receiver import GOOD, Answer, Got, Receiver, receiver
from yaosu.model_outside import Webhook
from yaosu.proof.verify import verify_path
from yaosu.webhooks import hooks
from yaosu.webhooks.courier import SCHEDULE_S

BAD: Answer = (503, {}, b"")


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path / "data")
    yield made
    made.market.close()


@pytest.fixture(params=["sqlite", "postgresql"])
def any_bench(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Bench]:
    """A market on each database."""
    url = request.getfixturevalue("migrated_url") if request.param == "postgresql" else ""
    made = Bench(tmp_path / "data", url)
    yield made
    made.market.close()


@pytest.fixture
def inbox() -> Iterator[Receiver]:
    with receiver() as found:
        yield found


def test_a_receiver_that_is_down_for_a_day_misses_nothing(
    any_bench: Bench, inbox: Receiver
) -> None:
    bench = any_bench
    hook = bench.hook(inbox)
    inbox.answer = lambda got: BAD
    wanted = []
    for _ in range(24 * 2):
        wanted += bench.happen(2)
        bench.carry()
        bench.clock.forward(minutes=30)
    inbox.answer = lambda got: GOOD
    assert bench.now(hook).state == "active"
    assert set(inbox.ids) == {wanted[0]}, "those after it wait in line"
    bench.clock.forward(hours=12)
    inbox.got.clear()
    bench.carry()
    assert inbox.ids == wanted
    assert bench.messages(hook, "dead") == []
    assert bench.now(hook).failing_since is None


def test_tries_come_at_the_times_of_the_schedule_and_end_in_the_dead_letters(
    bench: Bench, inbox: Receiver
) -> None:
    hook = bench.hook(inbox)
    inbox.answer = lambda got: BAD
    start = bench.clock.now()
    first, second = bench.happen(2)
    for number, seconds in enumerate(SCHEDULE_S[1:], 1):
        assert bench.carry() == 1
        assert len(inbox.got) == number
        due = bench.now(hook).next_at
        assert due is not None
        assert (due - bench.clock.now()).total_seconds() == pytest.approx(seconds * 1.05)
        bench.clock.time = due - timedelta(seconds=1)
        assert bench.carry() == 0
        bench.clock.time = due
    inbox.answer = lambda got: BAD if got.headers["webhook-id"] == first else GOOD
    bench.carry()
    assert bench.clock.now() - start > timedelta(hours=27)
    assert [m.event_id for m in bench.messages(hook, "dead")] == [first]
    assert inbox.ids[-1] == second, "the line goes on"
    assert len(inbox.got) == len(SCHEDULE_S) + 1


def test_five_days_of_failing_disable_it_and_resuming_goes_on_where_it_stopped(
    bench: Bench, inbox: Receiver
) -> None:
    hook = bench.hook(inbox)
    inbox.answer = lambda got: BAD
    wanted = bench.happen(10)
    while bench.now(hook).state == "active":
        bench.carry()
        bench.clock.forward(hours=1)
        assert bench.clock.now() < datetime(2026, 11, 8, tzinfo=UTC)
    assert bench.now(hook).reason == "failing"
    failed_for = bench.clock.now() - datetime(2026, 11, 1, tzinfo=UTC)
    assert timedelta(days=5) <= failed_for <= timedelta(days=5, hours=12)
    dead = [m.event_id for m in bench.messages(hook, "dead")]
    inbox.answer = lambda got: GOOD
    assert bench.carry() == 0, "what is disabled is left alone"
    inbox.got.clear()
    bench.market.store.write(lambda tx: hooks.resume(tx, bench.actor, hook.id))
    bench.carry()
    assert dead + inbox.ids == wanted
    replayed = bench.market.store.write(lambda tx: hooks.replay(tx, bench.actor, hook.id, 0))
    assert replayed.cursor == 0
    inbox.got.clear()
    bench.carry()
    assert inbox.ids == wanted
    assert bench.messages(hook, "dead") == []


def test_gone_disables_at_once_and_keeps_the_message(bench: Bench, inbox: Receiver) -> None:
    hook = bench.hook(inbox)
    inbox.answer = lambda got: (410, {}, b"")
    wanted = bench.happen(2)
    bench.carry()
    bench.clock.forward(days=2)
    bench.carry()
    assert (bench.now(hook).state, bench.now(hook).reason) == ("disabled", "gone")
    assert inbox.ids == wanted[:1]
    inbox.answer = lambda got: GOOD
    bench.market.store.write(lambda tx: hooks.resume(tx, bench.actor, hook.id))
    bench.carry()
    assert inbox.ids[1:] == wanted


@pytest.mark.parametrize("asked", ["3600", "Sun, 01 Nov 2026 01:00:00 GMT"])
def test_retry_after_is_respected(bench: Bench, inbox: Receiver, asked: str) -> None:
    hook = bench.hook(inbox)
    inbox.answer = lambda got: (429, {"Retry-After": asked}, b"")
    bench.happen()
    bench.carry()
    assert bench.now(hook).next_at == bench.clock.now() + timedelta(hours=1)


@pytest.mark.parametrize(
    "answer",
    [
        (301, {"location": "http://127.0.0.1:9/"}, b""),
        (200, {}, b"x" * ((1 << 20) + 1)),
        (404, {}, b""),
        (100, {}, b""),
    ],
    ids=["redirect", "too large", "not found", "never ends"],
)
def test_what_is_no_success_is_tried_again(bench: Bench, inbox: Receiver, answer: Answer) -> None:
    hook = bench.hook(inbox)
    inbox.answer = lambda got: answer
    bench.happen()
    bench.carry()
    found = bench.messages(hook, "pending")
    assert [m.tries for m in found] == [1]


OUTCOMES = st.lists(
    st.sampled_from(["good", "bad", "lost", "restart", "replay", "event"]), max_size=14
)


@examples(max_examples=8)
@given(plan=OUTCOMES)
def test_whatever_happens_every_event_comes_at_least_once_and_in_order_of_first_sight(
    tmp_path_factory: pytest.TempPathFactory, plan: list[str]
) -> None:
    """Failures, answers lost after the effect, restarts and replays leave no gap."""
    bench = Bench(tmp_path_factory.mktemp("bench") / "data")
    taken: list[str] = []
    mood = ["good"]

    def answer(got: Got) -> Answer:
        if mood[0] in ("good", "lost"):
            taken.append(got.headers["webhook-id"])
        return GOOD if mood[0] == "good" else BAD

    with receiver() as inbox:
        inbox.answer = answer
        bench.hook(inbox)
        wanted: list[str] = []
        for step in [*plan, "good"]:
            if step == "event":
                wanted += bench.happen(2)
            elif step == "restart":
                bench.market.courier._clear.clear()
            elif step == "replay":
                hook = bench.market.store.write(lambda tx: tx.find(Webhook)[0])
                bench.market.store.write(lambda tx, i=hook.id: hooks.replay(tx, bench.actor, i, 0))
            else:
                mood[0] = step
                bench.clock.forward(hours=12)
                bench.carry()
        bench.market.close()
    assert list(dict.fromkeys(taken)) == wanted


def test_a_gap_before_the_cursor_is_found_by_verification(bench: Bench, inbox: Receiver) -> None:
    """I11, on a data folder at rest: what was passed over is told from what was sent."""
    hook = bench.hook(inbox)
    bench.happen(5)
    bench.carry()
    folder = bench.market.settings.folder
    report = verify_path(folder)
    assert report.valid, report.problems
    assert report.checked["messages"] == 5
    bench.happen(2)
    far = bench.now(hook).cursor + 2
    bench.market.store.write(lambda tx: tx.put(replace(bench.now(hook), cursor=far)))
    broken = [p.code for p in verify_path(folder).problems]
    assert broken == ["gap", "gap"]


def test_a_webhook_in_the_hands_of_another_process_is_left_to_it(
    bench: Bench, inbox: Receiver
) -> None:
    hook = bench.hook(inbox)
    bench.happen()
    until = bench.clock.now() + timedelta(seconds=60)
    bench.market.store.write(lambda tx: tx.put(replace(hook, lease="x", leased_until=until)))
    assert bench.carry() == 0
    bench.clock.forward(seconds=61)
    assert bench.carry() == 1
