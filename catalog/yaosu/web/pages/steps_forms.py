"""The legal next steps of a viewer as forms: which fields each step asks for.

What is shown here is a help; what decides is the table and the guards of the step itself.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from typing import Any

from yaosu import review
from yaosu.errors import InvalidInput
from yaosu.identity import relations
from yaosu.model import Actor, Delivery, Listing, Trade, Venue
from yaosu.steps import LISTING_STEPS, TRADE_STEPS, Relation
from yaosu.trading.moves import EVERYWHERE

from .visit import Form, one


@dataclass(frozen=True, slots=True, kw_only=True)
class Field:
    """One field of a form; `kind` is a template's word: text, long, number, money, check, …"""

    name: str
    kind: str = "text"
    value: str = ""
    choices: tuple[str, ...] = ()
    needed: bool = True
    label: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class StepForm:
    """One step that the viewer may take now. `weight`: main, other, or grave."""

    action: str
    fields: tuple[Field, ...] = ()
    weight: str = "main"


REASON = Field(name="reason", kind="long")
_GRAVE = frozenset(
    {
        "cancel",
        "correct",
        "stop",
        "terminate",
        "dispute",
        "reject",
        "refuse",
        "refuse_filing",
        "delist",
        "withdraw",
    }
)
_QUIET = frozenset(
    {"comment", "counter", "edit_text", "object", "renew_certificate", "return", "suspend"}
)


def _weight(action: str) -> str:
    if action in _GRAVE:
        return "grave"
    return "other" if action in _QUIET else "main"


def _yuan(fen: int) -> str:
    return f"{fen // 100}.{fen % 100:02d}" if fen % 100 else str(fen // 100)


def _terms(trade: Trade) -> tuple[Field, ...]:
    """The terms that an answer or a counter-offer may change, as they stand."""
    terms = trade.terms
    return (
        Field(name="amount", kind="money", value=_yuan(terms.amount_fen)),
        Field(
            name="term_days",
            kind="number",
            value=str(terms.term_days or ""),
            needed=False,
        ),
        Field(name="inspection_days", kind="number", value=str(terms.inspection_days)),
        Field(name="territory", value=terms.territory, needed=False),
        Field(name="purpose", kind="long", value=terms.purpose),
        Field(name="note", kind="long", value=terms.note, needed=False),
    )


def trade_forms(
    trade: Trade, venue: Venue, actor: Actor, listing: Listing, delivery: Delivery | None
) -> list[StepForm]:
    """Return the steps that this viewer may take on the trade, the likely ones first."""
    mine = relations(actor, trade, venue)
    found = []
    for row in TRADE_STEPS:
        may = row.actors & mine
        if Relation.ADMIN in may and venue.party_id is not None and row.action not in EVERYWHERE:
            may -= {Relation.ADMIN}
        if trade.state not in row.sources or not may:
            continue
        if _blocked(row.action, trade, actor, listing):
            continue
        fields = tuple(_trade_fields(row.action, trade, delivery))
        found.append(StepForm(action=row.action, fields=fields, weight=_weight(row.action)))
    return sorted(found, key=lambda f: ("main", "other", "grave").index(f.weight))


def _blocked(action: str, trade: Trade, actor: Actor, listing: Listing) -> bool:
    """Tell what the guards of the step would refuse anyway."""
    if action in ("counter", "agree"):
        return trade.turn != actor.party_id
    if action == "take":
        return listing.standing_signature is None or trade.terms.mode == "negotiated"
    if action == "sign":
        signed = any(s.party_id == actor.party_id for s in trade.signatures)
        waits = trade.assessment_required and (
            trade.assessment is None or trade.assessment.outcome != "passed"
        )
        return signed or waits
    if action == "assess":
        return not trade.assessment_required
    prepaid = trade.terms.payment_timing != "postpaid"
    if action == "confirm_payment":
        return (
            trade.paid_at is not None
            or bool(trade.terms.period)
            or trade.terms.amount_fen == 0
            or (prepaid and trade.state != "filed")
        )
    if action == "deliver" and trade.terms.period:
        return True
    if action == "stop":
        return not trade.terms.period or trade.stopped_at is not None
    if action == "deliver":
        return prepaid and trade.paid_fen != trade.terms.amount_fen
    if action == "redeliver":
        return not trade.objection
    if action == "rate":
        return trade.rating is not None
    return action == "settle" and trade.paid_fen - trade.refund_fen != trade.billed_fen


def _trade_fields(action: str, trade: Trade, delivery: Delivery | None) -> Iterator[Field]:
    if action in ("answer", "counter"):
        yield from _terms(trade)
    elif action in ("agree", "take"):
        yield Field(name="offer_digest", kind="hidden", value=trade.offer_digest)
        if action == "take":
            yield Field(name="accept_on_delivery", kind="check", needed=False)
    elif action == "assess":
        yield Field(name="passed", kind="choice", choices=("yes", "no"))
        yield Field(name="opinion", kind="long")
    elif action == "file":
        yield Field(name="filing_no")
    elif action == "confirm_payment":
        yield Field(name="amount", kind="money", value=_yuan(trade.terms.amount_fen))
        yield Field(name="reference")
    elif action == "accept":
        digest = delivery.manifest_digest if delivery else ""
        yield Field(name="manifest_digest", kind="hidden", value=digest)
    elif action == "reject":
        yield Field(name="objection", kind="long")
    elif action == "rate":
        yield Field(name="score", kind="choice", choices=("5", "4", "3", "2", "1"))
        yield Field(name="text", kind="long", needed=False)
    elif action == "dispute":
        yield Field(name="ground", kind="long")
        yield Field(
            name="channel",
            kind="select",
            choices=("negotiation", "mediation", "arbitration", "litigation"),
        )
    elif action == "resolve":
        yield Field(name="to", kind="select", choices=_outcomes(trade))
        yield Field(name="refund", kind="money", needed=False)
        yield Field(name="outcome", kind="long")
    elif action == "exhibit":
        yield Field(name="text", kind="long")
        yield Field(name="digest", needed=False)
    elif action == "correct":
        yield Field(name="from_account")
        yield Field(name="to_account")
        yield Field(name="amount", kind="money")
        yield REASON
    elif action in ("refuse", "refuse_filing", "terminate"):
        yield REASON
    elif action in ("cancel", "stop"):
        yield Field(name="reason", kind="long", needed=False)


def _outcomes(trade: Trade) -> tuple[str, ...]:
    before = str(trade.disputes[-1].from_state) if trade.disputes else ""
    settling = trade.delivered_at is not None and before not in ("settled", "vouchered")
    return tuple(dict.fromkeys([before, *(["settling"] if settling else []), "terminated"]))


# --- listings ---------------------------------------------------------------------------------


def listing_forms(listing: Listing, venue: Venue, actor: Actor) -> list[StepForm]:
    """Return the steps that this viewer may take on the listing, the likely ones first."""
    mine = relations(actor, listing, venue)
    found = []
    for row in LISTING_STEPS:
        if listing.state not in row.sources or not row.actors & mine:
            continue
        if row.action in ("revise", "offer", "edit_text"):
            continue  # they have a page of their own
        if row.action == "register" and venue.notice_days > 0:
            continue
        if row.action == "open_notice" and venue.notice_days < 1:
            continue
        if row.action == "renew_certificate" and listing.certificate is None:
            continue
        if row.action == "apply" and listing.applied:
            continue
        if row.action == "list" and not listing.applied:
            continue
        if row.action == "contest" and not listing.report_id:
            continue
        if row.action == "answer_contest" and not review.open_contests(listing):
            continue
        if row.action == "object" and listing.provider_id == actor.party_id:
            continue
        found.append(
            StepForm(
                action=row.action,
                fields=tuple(_listing_fields(row.action, venue, listing)),
                weight=_weight(row.action),
            )
        )
    return sorted(found, key=lambda f: ("main", "other", "grave").index(f.weight))


def _listing_fields(action: str, venue: Venue, listing: Listing) -> Iterator[Field]:
    if action in ("register", "open_notice", "renew_certificate"):
        needed = venue.certificate_required or action == "renew_certificate"
        yield Field(name="certificate", kind="certificate", needed=needed)
        if action != "open_notice":
            yield Field(name="text", kind="long", needed=False, label="review_text")
    elif action in ("return", "uphold_objection", "suspend", "delist"):
        yield REASON
    elif action in ("contest", "answer_contest"):
        waiting = review.open_contests(listing) if action == "answer_contest" else ()
        yield Field(name="about", value=waiting[0] if waiting else "")
        yield Field(name="text", kind="long")
    elif action in ("object", "answer_objection", "comment"):
        yield Field(name="text", kind="long")
    elif action == "submit":
        yield Field(name="apply", kind="check", value="yes", needed=False)


def fen(text: str) -> int:
    """Return an amount written in yuan as fen; InvalidInput unless it is one."""
    clean = text.strip().replace(",", "").replace("，", "").lstrip("¥￥").strip()
    try:
        value = Decimal(clean) * 100
        whole = int(value)
    except (InvalidOperation, ValueError, OverflowError):
        value, whole = Decimal(-1), -1
    if whole < 0 or value != whole or whole > 10**15:
        raise InvalidInput(
            "an amount in yuan has at most two decimals", "金额（元）最多两位小数", field="amount"
        )
    return whole


def whole(text: str, name: str, *, low: int = 0, high: int = 10**9) -> int:
    """Return a whole number within bounds, or say which field is wrong."""
    if text.isascii() and text.isdigit() and len(text) < 16 and low <= int(text) <= high:
        return int(text)
    raise InvalidInput(
        f"'{name}' is a whole number from {low} to {high}",
        f"“{name}”应为 {low} 到 {high} 的整数",
        field=name,
    )


def given_terms(form: Form) -> dict[str, Any]:
    """Return the terms of a form as an answer or a counter-offer takes them."""
    found: dict[str, Any] = {}
    if one(form, "amount"):
        found["amount_fen"] = fen(one(form, "amount"))
    for name, low, high in (("term_days", 1, 36_500), ("inspection_days", 0, 365)):
        if one(form, name):
            found[name] = whole(one(form, name), name, low=low, high=high)
    for name in ("territory", "purpose", "note", "scenario"):
        if name in form:
            found[name] = one(form, name)[:4000]
    return found
