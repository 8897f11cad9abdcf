"""A desk on which trades and listings are put into any state, and steps are tried and undone."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from people import USCC
from yaosu.demo import complete
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
from yaosu.ports import Store, Transaction
from yaosu.steps import Relation
from yaosu.trading import endings, fulfilment, negotiation, periods

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


def fill(tx: Transaction) -> None:
    """Add the places, people and things that every probe finds."""
    tx.add(Venue(id="otc", name="场外", name_en="otc"))
    tx.add(Venue(id="x", name="x", name_en="x", party_id="pty_x", notice_days=0))
    for who in ("p", "b", "r", "x", "a", "other"):
        uscc = USCC[0] if who == "p" else None
        tx.add(Party(id=f"pty_{who}", slug=who, name=who, uscc=uscc, verified_at=AT, created_at=AT))
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


TRADE_CALLS: dict[str, Callable[[Transaction, Actor, str], Any]] = {
    "answer": lambda t, a, i: negotiation.answer(t, a, i, {}),
    "take": lambda t, a, i: negotiation.take(t, a, i, "sha256:" + SHA),
    "counter": lambda t, a, i: negotiation.counter(t, a, i, {}),
    "agree": lambda t, a, i: negotiation.agree(t, a, i, "sha256:" + SHA),
    "assess": lambda t, a, i: negotiation.assess(t, a, i, passed=True, opinion="ok"),
    "refuse": lambda t, a, i: negotiation.refuse(t, a, i, "no"),
    "sign": lambda t, a, i: negotiation.sign(t, a, i, {"key_id": "none"}, lambda k, d: ""),
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
    "cancel": lambda t, a, i: negotiation.cancel(t, a, i, "x"),
    "terminate": lambda t, a, i: endings.terminate(t, a, i, "x"),
    "dispute": lambda t, a, i: endings.dispute(t, a, i, ground="x"),
    "resolve": lambda t, a, i: endings.resolve(t, a, i, outcome="x", to="signed"),
    "exhibit": lambda t, a, i: endings.exhibit(t, a, i, text="x"),
    "correct": lambda t, a, i: endings.correct(
        t, a, i, reason="x", lines={"buyer:pty_b": -1, "provider:pty_p": 1}
    ),
    "stop": lambda t, a, i: periods.stop(t, a, i, "x"),
}


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
