"""The two state machines as tables: who may take which step from where (domain c.2, c.3).

The tables are the only place that knows the steps; `listing` and `trading` hold what each step
does. A row whose target is None leaves the state as it is. Every step taken is one event.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, TypeVar

from .errors import WrongState
from .model import ListingState as L
from .model import TradeState as T

S = TypeVar("S", L, T)


class Relation(StrEnum):
    """How an actor stands to a thing; what the tables and the matrix allow is said in these."""

    ANYONE = "anyone"
    MEMBER = "member"
    PROVIDER = "provider"
    BUYER = "buyer"
    REVIEWER = "reviewer"
    EXCHANGE = "exchange"
    ADMIN = "admin"
    SYSTEM = "system"


R = Relation


@dataclass(frozen=True, slots=True, kw_only=True)
class Step(Generic[S]):
    """One row: `number` is that of the domain table, `two` asks an admin for a second one."""

    number: str
    action: str
    sources: frozenset[S]
    target: S | None
    actors: frozenset[Relation]
    event: str
    two: bool = False


def _listing(
    number: str, action: str, sources: set[L], target: L | None, *actors: Relation
) -> Step[L]:
    return Step(
        number=number,
        action=action,
        sources=frozenset(sources),
        target=target,
        actors=frozenset(actors),
        event=action,
    )


def _trade(
    number: str,
    action: str,
    sources: set[T],
    target: T | None,
    *actors: Relation,
    event: str = "",
    two: bool = False,
) -> Step[T]:
    return Step(
        number=number,
        action=action,
        sources=frozenset(sources),
        target=target,
        actors=frozenset(actors),
        event=event or action,
        two=two,
    )


_JUDGED = {L.REVIEW, L.RETURNED, L.NOTICE, L.REGISTERED, L.LISTED, L.SUSPENDED}
"""Where a version has a report that its provider can contest."""

LISTING_STEPS: tuple[Step[L], ...] = (
    _listing("L1", "submit", {L.DRAFT, L.RETURNED}, L.SUBMITTED, R.PROVIDER),
    _listing("L2", "start_validation", {L.SUBMITTED}, L.VALIDATING, R.SYSTEM),
    _listing("L3", "fail_validation", {L.VALIDATING}, L.RETURNED, R.SYSTEM),
    _listing("L4", "pass_validation", {L.VALIDATING}, L.REVIEW, R.SYSTEM),
    _listing("L5", "return", {L.REVIEW}, L.RETURNED, R.REVIEWER, R.EXCHANGE),
    _listing("L6", "register", {L.REVIEW}, L.REGISTERED, R.REVIEWER, R.EXCHANGE),
    _listing(
        "L6",
        "renew_certificate",
        {L.REGISTERED, L.LISTED, L.SUSPENDED},
        None,
        R.REVIEWER,
        R.EXCHANGE,
    ),
    _listing("L6a", "open_notice", {L.REVIEW}, L.NOTICE, R.REVIEWER, R.EXCHANGE),
    _listing("L6a", "close_notice", {L.NOTICE}, L.REGISTERED, R.REVIEWER, R.EXCHANGE, R.SYSTEM),
    _listing("L6b", "uphold_objection", {L.NOTICE}, L.RETURNED, R.REVIEWER, R.EXCHANGE),
    _listing("L6a", "object", {L.NOTICE}, None, R.MEMBER),
    _listing("L6a", "answer_objection", {L.NOTICE}, None, R.PROVIDER, R.REVIEWER, R.EXCHANGE),
    _listing("L7", "apply", {L.REGISTERED}, None, R.PROVIDER),
    _listing("L7", "list", {L.REGISTERED}, L.LISTED, R.REVIEWER, R.EXCHANGE),
    _listing("L8", "suspend", {L.LISTED}, L.SUSPENDED, R.REVIEWER, R.EXCHANGE, R.ADMIN, R.SYSTEM),
    _listing("L9", "resume", {L.SUSPENDED}, L.LISTED, R.REVIEWER, R.EXCHANGE, R.ADMIN),
    _listing(
        "L10",
        "delist",
        {L.LISTED, L.SUSPENDED},
        L.DELISTED,
        R.PROVIDER,
        R.REVIEWER,
        R.EXCHANGE,
        R.ADMIN,
        R.SYSTEM,
    ),
    _listing(
        "L11",
        "withdraw",
        {
            L.DRAFT,
            L.RETURNED,
            L.SUBMITTED,
            L.VALIDATING,
            L.REVIEW,
            L.NOTICE,
            L.REGISTERED,
        },
        L.WITHDRAWN,
        R.PROVIDER,
    ),
    _listing("L1", "revise", {L.DRAFT, L.RETURNED}, None, R.PROVIDER),
    _listing("L7", "edit_text", {L.LISTED, L.SUSPENDED}, None, R.PROVIDER),
    _listing(
        "L7",
        "offer",
        {L.DRAFT, L.RETURNED, L.REVIEW, L.NOTICE, L.REGISTERED, L.LISTED},
        None,
        R.PROVIDER,
    ),
    _listing("L5", "contest", _JUDGED, None, R.PROVIDER),
    _listing("L5", "answer_contest", _JUDGED, None, R.REVIEWER, R.EXCHANGE),
    _listing("L5", "comment", set(L) - {L.DRAFT}, None, R.PROVIDER, R.REVIEWER, R.EXCHANGE),
)
"""L1-L11 of domain c.2; L12 (a new version) makes a new listing, which starts at L1."""

_RUNNING = {
    T.SIGNED,
    T.FILED,
    T.DELIVERING,
    T.DELIVERED,
    T.ACCEPTED,
    T.SETTLING,
}

TRADE_STEPS: tuple[Step[T], ...] = (
    _trade("T2", "answer", {T.INTENT}, T.NEGOTIATING, R.PROVIDER, event="offer"),
    _trade("T2a", "take", {T.INTENT}, T.AGREED, R.BUYER, event="agree"),
    _trade("T3", "counter", {T.NEGOTIATING}, None, R.PROVIDER, R.BUYER),
    _trade("T4", "agree", {T.NEGOTIATING}, T.AGREED, R.PROVIDER, R.BUYER),
    _trade("T5", "assess", {T.AGREED}, T.COMPLIANCE, R.REVIEWER, R.EXCHANGE, event="compliance"),
    _trade("T5b", "refuse", {T.COMPLIANCE}, T.CANCELLED, R.REVIEWER, R.EXCHANGE, event="cancel"),
    _trade("T6", "sign", {T.AGREED, T.COMPLIANCE}, T.SIGNED, R.PROVIDER, R.BUYER),
    _trade("T7", "file", {T.SIGNED}, T.FILED, R.EXCHANGE, R.ADMIN, R.SYSTEM, two=True),
    _trade(
        "T7b",
        "refuse_filing",
        {T.SIGNED},
        T.TERMINATED,
        R.EXCHANGE,
        R.ADMIN,
        event="terminate",
        two=True,
    ),
    _trade(
        "T7c",
        "confirm_payment",
        {T.FILED, T.SETTLING},
        None,
        R.EXCHANGE,
        R.ADMIN,
        event="paid",
        two=True,
    ),
    _trade("T8", "deliver", {T.FILED}, T.DELIVERING, R.PROVIDER, R.SYSTEM, event="deliver_start"),
    _trade("T9", "delivered", {T.DELIVERING}, T.DELIVERED, R.SYSTEM, event="deliver_done"),
    _trade("T10", "accept", {T.DELIVERED}, T.ACCEPTED, R.BUYER, R.SYSTEM),
    _trade("T11", "reject", {T.DELIVERED}, T.DELIVERING, R.BUYER),
    _trade("T11", "redeliver", {T.DELIVERING}, None, R.PROVIDER, event="deliver_start"),
    _trade("T12", "bill", {T.ACCEPTED}, T.SETTLING, R.EXCHANGE, R.ADMIN, R.SYSTEM, two=True),
    _trade("T13", "settle", {T.SETTLING}, T.SETTLED, R.EXCHANGE, R.ADMIN, R.SYSTEM, two=True),
    _trade("T14", "voucher", {T.SETTLED}, T.VOUCHERED, R.EXCHANGE, R.ADMIN, R.SYSTEM, two=True),
    _trade("T14", "conclude", {T.FILED}, T.VOUCHERED, R.SYSTEM, event="voucher"),
    _trade("T15", "stop", {T.FILED}, None, R.PROVIDER, R.BUYER),
    _trade("T15", "complete", {T.VOUCHERED}, T.COMPLETED, R.PROVIDER, R.BUYER, R.SYSTEM),
    _trade("T15", "rate", {T.VOUCHERED, T.COMPLETED}, None, R.BUYER),
    _trade(
        "T16",
        "cancel",
        {T.INTENT, T.NEGOTIATING, T.AGREED, T.COMPLIANCE},
        T.CANCELLED,
        R.PROVIDER,
        R.BUYER,
    ),
    _trade(
        "T17",
        "terminate",
        _RUNNING,
        T.TERMINATED,
        R.PROVIDER,
        R.BUYER,
        R.EXCHANGE,
        R.SYSTEM,
    ),
    _trade(
        "T18",
        "dispute",
        _RUNNING | {T.SETTLED, T.VOUCHERED},
        T.DISPUTED,
        R.PROVIDER,
        R.BUYER,
        R.EXCHANGE,
    ),
    _trade(
        "T13",
        "correct",
        {T.SETTLED, T.VOUCHERED, T.COMPLETED, T.TERMINATED},
        None,
        R.ADMIN,
        event="correction",
        two=True,
    ),
    _trade("T18", "exhibit", {T.DISPUTED}, None, R.PROVIDER, R.BUYER, event="evidence"),
    _trade("T19", "resolve", {T.DISPUTED}, None, R.REVIEWER, R.EXCHANGE, R.ADMIN, two=True),
)
"""T2-T19 of domain c.3; T1 (intent) makes the trade. T19 names its own target."""

_OPEN = {T.FILED, T.DELIVERING, T.DELIVERED, T.ACCEPTED, T.SETTLING}

PERIOD_STEPS: tuple[Step[T], ...] = (
    _trade(
        "T7c",
        "confirm_payment",
        {T.FILED, T.SETTLING},
        None,
        R.EXCHANGE,
        R.ADMIN,
        event="period_paid",
        two=True,
    ),
    _trade(
        "T8", "deliver", {T.FILED}, T.DELIVERING, R.PROVIDER, R.SYSTEM, event="period_deliver_start"
    ),
    _trade("T9", "delivered", {T.DELIVERING}, T.DELIVERED, R.SYSTEM, event="period_deliver_done"),
    _trade("T10", "accept", {T.DELIVERED}, T.ACCEPTED, R.BUYER, R.SYSTEM, event="period_accept"),
    _trade("T11", "reject", {T.DELIVERED}, T.DELIVERING, R.BUYER, event="period_reject"),
    _trade("T11", "redeliver", {T.DELIVERING}, None, R.PROVIDER, event="period_deliver_start"),
    _trade(
        "T12",
        "bill",
        {T.ACCEPTED},
        T.SETTLING,
        R.EXCHANGE,
        R.ADMIN,
        R.SYSTEM,
        event="period_bill",
        two=True,
    ),
    _trade(
        "T13",
        "settle",
        {T.SETTLING},
        T.SETTLED,
        R.EXCHANGE,
        R.ADMIN,
        R.SYSTEM,
        event="period_settle",
        two=True,
    ),
    _trade("T17", "end", _OPEN, T.TERMINATED, R.SYSTEM, event="period_end"),
)
"""T7c-T13 and T17 for one period of a trade, which rests in FILED meanwhile (domain c.3)."""


def find(table: tuple[Step[S], ...], action: str) -> Step[S] | None:
    """Return the row of that action."""
    return next((step for step in table if step.action == action), None)


def next_actions(table: tuple[Step[S], ...], state: S) -> list[str]:
    """Return the actions that are legal from `state`, in the order of the table."""
    return [step.action for step in table if state in step.sources]


def check(table: tuple[Step[S], ...], state: S, action: str) -> Step[S]:
    """Return the row, or refuse with the reason and the legal next steps."""
    step = find(table, action)
    if step is None or state not in step.sources:
        legal = next_actions(table, state)
        raise WrongState(
            f"'{action}' is not possible while the state is '{state}'"
            + (f"; possible: {', '.join(legal)}" if legal else "; nothing is possible any more"),
            f"状态为“{state}”时不能执行“{action}”"
            + (f"；可执行：{'、'.join(legal)}" if legal else "；已无后续步骤"),
            state=str(state),
            action=action,
            next=legal,
        )
    return step
