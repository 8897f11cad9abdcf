"""The two state machines, exhaustively: every state × every action × every relation."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from desk import ACTORS, TRADE_CALLS, fill, listing_record, probe, trade_record
from yaosu import listing as shelf
from yaosu import review
from yaosu.errors import (
    Conflict,
    Forbidden,
    InvalidInput,
    NotFound,
    Unverified,
    WrongState,
)
from yaosu.market import SystemClock
from yaosu.model import Actor, Listing, ListingState, Trade, TradeState
from yaosu.ports import Store, Transaction
from yaosu.steps import LISTING_STEPS, TRADE_STEPS, Relation, next_actions
from yaosu.storage.sql import open_store
from yaosu.trading import fulfilment
from yaosu.trading.moves import EVERYWHERE, AwaitsSecond


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    opened = open_store(tmp_path_factory.mktemp("steps"), clock=SystemClock())
    opened.write(fill)
    yield opened
    opened.close()


RENEWED = {"scheme": "other", "number": "1", "valid_until": "2099-12-31"}
LISTING_CALLS: dict[str, Callable[[Transaction, Actor, str], Any]] = {
    "submit": lambda t, a, i: shelf.submit(t, a, i),
    "return": lambda t, a, i: review.return_listing(t, a, i, "no"),
    "register": lambda t, a, i: review.register(t, a, i),
    "renew_certificate": lambda t, a, i: review.renew_certificate(t, a, i, RENEWED),
    "open_notice": lambda t, a, i: review.open_notice(t, a, i),
    "close_notice": lambda t, a, i: review.close_notice(t, a, i),
    "uphold_objection": lambda t, a, i: review.uphold_objection(t, a, i, "no"),
    "object": lambda t, a, i: review.object_to(t, a, i, "no"),
    "answer_objection": lambda t, a, i: review.answer_objection(t, a, i, "no"),
    "apply": lambda t, a, i: review.apply(t, a, i),
    "list": lambda t, a, i: review.publish(t, a, i),
    "suspend": lambda t, a, i: review.suspend(t, a, i, "no"),
    "resume": lambda t, a, i: review.resume(t, a, i),
    "delist": lambda t, a, i: review.delist(t, a, i, "no"),
    "withdraw": lambda t, a, i: review.withdraw(t, a, i),
    "edit_text": lambda t, a, i: review.edit_text(t, a, i, {"title": "new"}),
    "comment": lambda t, a, i: review.comment(t, a, i, "x"),
    "contest": lambda t, a, i: review.contest(t, a, i, "own:dup_near", "x"),
    "answer_contest": lambda t, a, i: review.answer_contest(t, a, i, "own:dup_near", "x"),
}
BY_JOB = {"start_validation", "fail_validation", "pass_validation", "delivered", "conclude"}
OTHERWISE_TESTED = {"revise", "offer"}


def test_every_action_of_the_tables_is_exercised_here() -> None:
    assert {s.action for s in TRADE_STEPS} - BY_JOB == set(TRADE_CALLS)
    assert {s.action for s in LISTING_STEPS} - BY_JOB - OTHERWISE_TESTED == set(LISTING_CALLS)


@pytest.mark.parametrize("venue", ["otc", "x"])
def test_a_trade_moves_along_its_table_and_nowhere_else(store: Store, venue: str) -> None:
    legal = 0
    for state, action in itertools.product(TradeState, TRADE_CALLS):
        row = next(s for s in TRADE_STEPS if s.action == action)
        for relation, who in ACTORS.items():
            found = probe(
                store,
                trade_record(state, venue),
                lambda tx, a=action, w=who: TRADE_CALLS[a](tx, w, "trd_" + "1" * 32),
            )
            where = f"{venue}: {relation} {action} from {state}: {found!r}"
            admitted = relation in row.actors
            if relation == Relation.EXCHANGE and venue == "otc":
                admitted = False
            if relation == Relation.ADMIN and venue != "otc" and action not in EVERYWHERE:
                admitted = False
            if not admitted:
                assert isinstance(found, (Forbidden, NotFound)), where
            elif state not in row.sources:
                # A reviewer does not see a trade that needs no judgement of theirs.
                assert isinstance(found, (WrongState, NotFound)), where
                if isinstance(found, WrongState):
                    assert found.facts["next"] == next_actions(TRADE_STEPS, state), where
            elif isinstance(found, Trade):
                legal += 1
                assert found.state in (row.target, state) or action in ("resolve", "accept"), where
            else:
                # A guard: the reason is said, nothing else happens.
                assert isinstance(
                    found, (Conflict, InvalidInput, NotFound, Unverified, AwaitsSecond)
                ), where
                assert not isinstance(found, WrongState), where
    assert legal > 40


@pytest.mark.parametrize("venue", ["otc", "x"])
def test_a_listing_moves_along_its_table_and_nowhere_else(store: Store, venue: str) -> None:
    legal = 0
    for state, action in itertools.product(ListingState, LISTING_CALLS):
        row = next(s for s in LISTING_STEPS if s.action == action)
        for relation, who in ACTORS.items():
            if relation == Relation.SYSTEM:
                continue
            found = probe(
                store,
                listing_record(state, venue),
                lambda tx, a=action, w=who: LISTING_CALLS[a](tx, w, "lst_1"),
            )
            where = f"{venue}: {relation} {action} from {state}: {found!r}"
            admitted = relation in row.actors or Relation.MEMBER in row.actors
            if relation == Relation.EXCHANGE and venue == "otc":
                admitted = Relation.MEMBER in row.actors
            if relation == Relation.REVIEWER and venue != "otc" and action == "list":
                admitted = False
            if not admitted:
                assert isinstance(found, (Forbidden, NotFound, WrongState, Conflict)), where
                assert not isinstance(found, Listing), where
            elif state not in row.sources:
                assert isinstance(found, (WrongState, NotFound)), where
            elif isinstance(found, Listing):
                legal += 1
                assert found.state == (row.target or state), where
            else:
                assert isinstance(found, (Conflict, InvalidInput, NotFound)), where
                assert not isinstance(found, WrongState), where
    assert legal > 25


def test_four_eyes_are_two_members_who_ask_for_the_same(store: Store) -> None:
    trade = trade_record(TradeState.FILED, "otc")

    def run(tx: Transaction) -> Trade:
        def confirm(member: str, amount: int = 100) -> Any:
            who = replace(ACTORS[Relation.ADMIN], member_id=member)
            return fulfilment.confirm_payment(
                tx, who, trade.id, amount_fen=amount, payer="pty_b", reference="r"
            )

        for member, amount in (("m1", 100), ("m1", 100), ("m2", 99)):
            with pytest.raises(AwaitsSecond):
                confirm(member, amount)
        return confirm("m2")

    found = probe(store, trade, run)
    assert isinstance(found, Trade), found
    assert found.paid_fen == 100
