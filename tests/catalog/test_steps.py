"""The two state machines, exhaustively: every state × every action × every relation."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest

from people import USCC
from yaosu import fulfilment, review, trading
from yaosu import listing as shelf
from yaosu.demo import complete
from yaosu.errors import (
    Conflict,
    Forbidden,
    InvalidInput,
    NotFound,
    Unverified,
    WrongState,
)
from yaosu.market import SystemClock
from yaosu.model import (
    SYSTEM,
    Actor,
    Delivery,
    Dispute,
    Holding,
    Listing,
    ListingState,
    Party,
    Role,
    StoredReport,
    Terms,
    Trade,
    TradeState,
    Venue,
)
from yaosu.moves import AwaitsSecond
from yaosu.ports import Store, Transaction
from yaosu.steps import LISTING_STEPS, TRADE_STEPS, Relation, next_actions
from yaosu.storage.sql import open_store

SHA = "ab" * 32
AT = SystemClock().now()


class RolledBack(Exception):
    """Ends every probe: the next one starts from the same store."""


def actor(party: str, *roles: Role) -> Actor:
    return Actor(party_id=party, member_id=f"m-{party}", key_id="k", roles=frozenset(roles))


ACTORS = {
    Relation.PROVIDER: actor("pty_p", Role.PROVIDER),
    Relation.BUYER: actor("pty_b", Role.BUYER),
    Relation.REVIEWER: actor("pty_r", Role.REVIEWER),
    Relation.EXCHANGE: actor("pty_x", Role.EXCHANGE),
    Relation.ADMIN: actor("pty_a", Role.ADMIN),
    Relation.SYSTEM: SYSTEM,
    Relation.MEMBER: actor("pty_other", Role.PROVIDER, Role.BUYER),
}


def listing_record(state: ListingState, venue: str) -> Listing:
    provider = Party(id="pty_p", slug="p", name="p", uscc=USCC[0], created_at=AT)
    facts: dict[str, Any] = {
        "name": "corpus",
        "title": "t",
        "description": "d",
        "keywords": [],
        "license": "CC-BY-4.0",
        "industry": "I65",
        "field": "embodied",
        "stage": ["evaluation"],
        "price": {"mode": "one_off", "price_fen": 100, "currency": "CNY"},
        "sample": None,
    }
    resource = {"name": "r", "path": "r.jsonl", "hash": f"sha256:{SHA}", "bytes": 3}
    return Listing(
        id="lst_1",
        dataset_id="dst_1",
        provider_id="pty_p",
        publisher="p",
        name="corpus",
        version=1,
        state=state,
        venue=venue,
        descriptor=complete({"resources": [resource]}, facts, provider),
        content_digest="sha256:" + SHA,
        terms_digest="sha256:" + SHA,
        report_id="rpt_1",
        report_valid=True,
        reported_at=AT,
        applied=True,
        created_at=AT,
        updated_at=AT,
    )


def trade_record(state: TradeState, venue: str) -> Trade:
    return Trade(
        id="trd_" + "1" * 32,
        listing_id="lst_1",
        listing_version=1,
        content_digest="sha256:" + SHA,
        terms_digest="sha256:" + SHA,
        report_digest="sha256:" + SHA,
        venue=venue,
        provider_id="pty_p",
        user_id="pty_b",
        state=state,
        terms=Terms(mode="one_off", amount_fen=100, purpose="x"),
        offer_digest="sha256:" + SHA,
        turn="pty_b",
        agreement={"contract_no": "YS-1"},
        agreement_digest="sha256:" + SHA,
        delivery_id="dlv_1",
        objection="x",
        disputes=(
            Dispute(
                raised_by="pty_b",
                ground="g",
                channel="negotiation",
                from_state=TradeState.SIGNED,
                opened_at=AT,
            ),
        ),
        created_at=AT,
        updated_at=AT,
    )


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    opened = open_store(tmp_path_factory.mktemp("steps"), clock=SystemClock())

    def fill(tx: Transaction) -> None:
        tx.add(Venue(id="otc", name="场外", name_en="otc"))
        tx.add(Venue(id="x", name="x", name_en="x", party_id="pty_x", notice_days=0))
        for who in ("p", "b", "r", "x", "a", "other"):
            uscc = USCC[0] if who == "p" else None
            tx.add(
                Party(id=f"pty_{who}", slug=who, name=who, uscc=uscc, verified_at=AT, created_at=AT)
            )
        tx.add(Holding(id="hld_1", party_id="pty_p", sha256=SHA, bytes=3, created_at=AT))
        tx.add(
            StoredReport(
                id="rpt_1",
                listing_id="lst_1",
                target="sha256:" + SHA,
                digest="sha256:" + SHA,
                valid=True,
                body={"valid": True},
                created_at=AT,
            )
        )
        tx.add(
            Delivery(
                id="dlv_1",
                trade_id="trd_" + "1" * 32,
                provider_id="pty_p",
                user_id="pty_b",
                files=(),
                manifest_digest="sha256:" + SHA,
                created_at=AT,
            )
        )

    opened.write(fill)
    yield opened
    opened.close()


TRADE_CALLS: dict[str, Callable[[Transaction, Actor, str], Any]] = {
    "answer": lambda t, a, i: trading.answer(t, a, i, {}),
    "take": lambda t, a, i: trading.take(t, a, i, "sha256:" + SHA),
    "counter": lambda t, a, i: trading.counter(t, a, i, {}),
    "agree": lambda t, a, i: trading.agree(t, a, i, "sha256:" + SHA),
    "assess": lambda t, a, i: trading.assess(t, a, i, passed=True, opinion="ok"),
    "refuse": lambda t, a, i: trading.refuse(t, a, i, "no"),
    "sign": lambda t, a, i: trading.sign(t, a, i, {"key_id": "none"}, lambda k, d: ""),
    "file": lambda t, a, i: fulfilment.file(t, a, i, filing_no="1"),
    "refuse_filing": lambda t, a, i: fulfilment.refuse_filing(t, a, i, "no"),
    "confirm_payment": lambda t, a, i: fulfilment.confirm_payment(
        t, a, i, amount_fen=100, payer="pty_b", reference="r"
    ),
    "deliver": lambda t, a, i: fulfilment.deliver(t, a, i),
    "redeliver": lambda t, a, i: fulfilment.redeliver(t, a, i),
    "accept": lambda t, a, i: fulfilment.accept(t, a, i, manifest="sha256:" + SHA),
    "reject": lambda t, a, i: fulfilment.reject(t, a, i, "bad"),
    "bill": lambda t, a, i: fulfilment.bill(t, a, i),
    "settle": lambda t, a, i: fulfilment.settle(t, a, i),
    "voucher": lambda t, a, i: fulfilment.voucher(t, a, i),
    "complete": lambda t, a, i: fulfilment.complete(t, a, i),
    "rate": lambda t, a, i: fulfilment.rate(t, a, i, 5, ""),
    "cancel": lambda t, a, i: trading.cancel(t, a, i, "x"),
    "terminate": lambda t, a, i: fulfilment.terminate(t, a, i, "x"),
    "dispute": lambda t, a, i: fulfilment.dispute(t, a, i, ground="x"),
    "resolve": lambda t, a, i: fulfilment.resolve(t, a, i, outcome="x", to="signed"),
}

LISTING_CALLS: dict[str, Callable[[Transaction, Actor, str], Any]] = {
    "submit": lambda t, a, i: shelf.submit(t, a, i),
    "return": lambda t, a, i: review.return_listing(t, a, i, "no"),
    "register": lambda t, a, i: review.register(t, a, i),
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
BY_JOB = {"start_validation", "fail_validation", "pass_validation", "delivered"}
OTHERWISE_TESTED = {"revise", "offer"}


def probe(store: Store, record: Any, call: Callable[[Transaction], Any]) -> Any:
    """Run a step on a record in a store that is rolled back; return result or exception."""
    outcome: list[Any] = []

    def step(tx: Transaction) -> None:
        if isinstance(record, Trade):
            tx.add(listing_record(ListingState.LISTED, record.venue))
        tx.add(record)
        try:
            outcome.append(call(tx))
        except Exception as error:
            outcome.append(error)
        raise RolledBack

    with pytest.raises(RolledBack):
        store.write(step)
    return outcome[0]


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
            if relation == Relation.ADMIN and venue != "otc" and action != "resolve":
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


@pytest.mark.parametrize("amount", [0, 1, 17, 33, 99, 100, 10_001, 10**15])
@pytest.mark.parametrize("fee", [0, 1, 300, 3333, 10_000])
@pytest.mark.parametrize("shares", [(), (("a", 1),), (("a", 333), ("b", 333)), (("a", 1000),)])
def test_fee_and_shares_always_add_up(
    amount: int, fee: int, shares: tuple[tuple[str, int], ...]
) -> None:
    from yaosu.contract import split

    taken, parts = split(amount, fee, "seller", shares)
    assert taken + sum(fen for _, fen in parts) == amount
    assert taken == amount * fee // 10_000
    assert all(fen >= 0 for _, fen in parts)
    assert parts[0][0] == "seller"
