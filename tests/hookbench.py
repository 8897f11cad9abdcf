"""A market that nothing moves but the test, with one party and a clock that stands still."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path

from receiver import Receiver
from template import with_tables
from yaosu.demo import OPERATOR
from yaosu.identity import register_party, verify_party
from yaosu.market import Market
from yaosu.model import Actor, Role
from yaosu.model_outside import Message, Webhook
from yaosu.settings import load
from yaosu.webhooks import hooks
from yaosu.webhooks.courier import Courier


class Clock:
    """Time stands still until it is moved."""

    def __init__(self) -> None:
        self.time = datetime(2026, 11, 1, tzinfo=UTC)

    def now(self) -> datetime:
        return self.time

    def forward(self, **by: float) -> None:
        self.time += timedelta(**by)


class Bench:
    """A market that nothing moves but the test, with one party."""

    def __init__(self, folder: Path, url: str = "") -> None:
        self.clock = Clock()
        self.began = self.clock.now()
        self._settings = load(
            data=str(folder if url else with_tables(folder)),
            database_url=url,
            reserve_bytes=0,
            outgoing_allow="127.0.0.0/8",
        )
        self.market = self._opened()
        party, _ = self.market.store.write(
            lambda tx: register_party(
                tx, slug="party", name="party", member="m", roles=frozenset({Role.BUYER})
            )
        )
        self.market.store.write(lambda tx: verify_party(tx, OPERATOR, party.id, "test"))
        self.actor = Actor(
            party_id=party.id, member_id="m", key_id="k", roles=frozenset({Role.BUYER})
        )
        self.count = 0

    def _opened(self) -> Market:
        made = Market(self._settings, clock=self.clock)
        made.courier._chance = lambda: 0.5
        return made

    def restart(self) -> None:
        """Close the market and open it again, as another process would."""
        self.market.close()
        self.market = self._opened()

    @property
    def courier(self) -> Courier:
        return self.market.courier

    def hook(self, inbox: Receiver) -> Webhook:
        self.market.integrate()
        return self.market.store.write(
            lambda tx: hooks.create(tx, self.actor, url=inbox.url, topics=["party.note"])
        )

    def happen(self, n: int = 1) -> list[str]:
        """Record events; returns the ids that a receiver will know them by."""

        def step(tx):  # type: ignore[no-untyped-def]
            return [
                tx.record(self.actor.party_id, "note", actor_id="m", payload={"n": i}).id
                for i in range(n)
            ]

        made = self.market.store.write(step)
        self.market.integrate()
        return [f"evt_{i}" for i in made]

    def now(self, hook: Webhook) -> Webhook:
        with self.market.store.read() as reader:
            return reader.get(Webhook, hook.id)

    def messages(self, hook: Webhook, state: str) -> list[Message]:
        with self.market.store.read() as reader:
            return reader.find(Message, webhook_id=hook.id, state=state, limit=1000)

    def carry(self) -> int:
        """Carry until nothing is due any more."""
        total = 0
        while tried := self.courier.once():
            total += tried
        return total
