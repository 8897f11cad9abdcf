"""Ten days of receivers that fail in every way: nothing left out, nothing early (R9, I11)."""

from __future__ import annotations

import contextlib
import random
from collections import Counter
from datetime import timedelta
from pathlib import Path

import pytest

from campaigns.real import write_result
from hookbench import Bench
from receiver import GOOD, Answer, Got, Receiver, receiver
from yaosu.model_outside import Message, Webhook
from yaosu.proof.verify import verify_path
from yaosu.webhooks import hooks
from yaosu.webhooks.courier import SCHEDULE_S

MOODS = ("good", "bad", "lost", "redirect", "large", "later")


class Moody:
    """A receiver that changes its mind; `taken` is what it acted on, whatever it answered."""

    def __init__(self, inbox: Receiver) -> None:
        self.inbox = inbox
        self.mood = "good"
        self.taken: list[str] = []
        self.requests = 0
        inbox.answer = self.answer

    def answer(self, got: Got) -> Answer:
        self.requests += 1
        if self.mood in ("good", "lost"):
            self.taken.append(got.headers["webhook-id"])
        return {
            "good": GOOD,
            "redirect": (302, {"location": "http://127.0.0.1:9/"}, b""),
            "large": (200, {}, b"x" * ((1 << 20) + 1)),
            "later": (429, {"retry-after": "7200"}, b""),
            "gone": (410, {}, b""),
        }.get(self.mood, (503, {}, b""))


def early(bench: Bench, hook: Webhook) -> int:
    """Return how many tries of one run of the schedule came before their time."""
    found = 0
    with bench.market.store.read() as reader:
        messages = reader.find(Message, webhook_id=hook.id, limit=100_000)
    for message in messages:
        waits = [
            (b.at - a.at).total_seconds()
            for a, b in zip(message.attempts, message.attempts[1:], strict=False)
            if a.status != 410
        ]
        # A replay or a resume begins a new run: its first try may follow at once.
        found += sum(0 < w < SCHEDULE_S[1] for w in waits)
    return found


def live(bench: Bench, moody: list[Moody], days: int, seed: int) -> tuple[list[str], Counter[str]]:
    """Let days pass by half hours; returns the events in order, and what happened how often."""
    chance = random.Random(seed)
    wanted: list[str] = []
    seen: Counter[str] = Counter()
    for hour in range(days * 48):
        wanted += bench.happen(chance.randint(0, 3))
        for one in moody:
            if chance.random() < 0.08:
                one.mood = chance.choice(MOODS) if chance.random() < 0.95 else "gone"
                seen[one.mood] += 1
        bench.carry()
        if hour % 48 == 47:
            bench.restart()
            seen["restart"] += 1
        bench.clock.forward(minutes=30)
    return wanted, seen


@pytest.mark.slow
def test_ten_days_of_receivers_that_fail_in_every_way(tmp_path: Path) -> None:
    bench = Bench(tmp_path / "data")
    with contextlib.ExitStack() as stack:
        moody = [Moody(stack.enter_context(receiver())) for _ in range(8)]
        made = [bench.hook(one.inbox) for one in moody]
        wanted, seen = live(bench, moody, 10, seed=9)
        dead = sum(len(bench.messages(hook, "dead")) for hook in made)
        for one, hook in zip(moody, made, strict=True):
            one.mood = "good"
            if bench.now(hook).state == "disabled":
                seen["disabled"] += 1
                bench.market.store.write(lambda tx, i=hook.id: hooks.resume(tx, bench.actor, i))
        bench.clock.forward(days=2)
        bench.carry()
        gone = {m.event_id for hook in made for m in bench.messages(hook, "dead")}
        for hook in made:
            bench.market.store.write(lambda tx, i=hook.id: hooks.replay(tx, bench.actor, i, 0))
        bench.carry()
        gaps = sum(set(one.taken) != set(wanted) for one in moody)
        order = sum(
            [i for i in dict.fromkeys(one.taken) if i not in gone]
            != [i for i in wanted if i not in gone]
            for one in moody
        )
        before = sum(early(bench, hook) for hook in made)
        left = sum(len(bench.messages(hook, "pending")) for hook in made)
        report = verify_path(bench.market.settings.folder)
        requests = sum(one.requests for one in moody)
        bench.market.close()
    assert bench.clock.now() >= bench.began + timedelta(days=12)
    violations = gaps + order + before + left + len(report.problems)
    write_result(
        "webhooks_down",
        "every event at least once, in order, no try before its time",
        violations=violations,
        events=len(wanted),
        receivers=len(moody),
        requests=requests,
        dead_letters=dead,
        moods=dict(seen),
        verified_messages=report.checked["messages"],
    )
    assert violations == 0, (gaps, order, before, left, report.problems)
