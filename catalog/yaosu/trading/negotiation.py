"""From intent to a signed contract: the steps T1-T6 and T16 of domain c.3, and buying in one step.

Every function is one step over a transaction: table, guard, change, one event.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from yaosu import contract, floors, present
from yaosu import listing as shelf
from yaosu.contract import PlatformSigner
from yaosu.errors import Forbidden, InvalidInput, NotFound
from yaosu.identity import absent, allow, must_see, require_verified
from yaosu.listing import venue_of
from yaosu.model import (
    JSON,
    SYSTEM,
    Actor,
    Assessment,
    Listing,
    ListingState,
    Party,
    StoredReport,
    Terms,
    Trade,
    TradeState,
    Venue,
    new_id,
)
from yaosu.ports import Reader, Transaction
from yaosu.review import list_guards
from yaosu.steps import Step
from yaosu_schemas.canonical import digest
from yaosu_schemas.texts import clip

from . import fulfilment
from .moves import load, move, need, permit, written

_TRADE_ID = re.compile(r"trd_[0-9a-f]{32}")
QUOTE_MINUTES = 30
METERED_DAYS = 365
MOST_PERIODS = 1200


# --- intent, negotiation, agreement -----------------------------------------------------------


def intend(
    tx: Transaction,
    actor: Actor,
    listing_id: str,
    wish: Mapping[str, Any],
    *,
    trade_id: str | None = None,
    at: datetime | None = None,
) -> Trade:
    """T1: a verified buyer wants what is listed; `wish` holds mode, quantity, purpose, …

    The client may give the trade its id: sending the same intent twice makes one trade.
    """
    trade = draft_trade(tx, actor, listing_id, wish, trade_id=trade_id, at=at or tx.now)
    tx.add(trade)
    tx.record(
        trade.id,
        "intent",
        actor_id=actor.id,
        to_state=trade.state,
        payload={
            "listing_id": trade.listing_id,
            "offer_digest": trade.offer_digest,
            "qualification_digest": digest(wish.get("qualification") or ""),
        },
    )
    return trade


def draft_trade(
    tx: Reader,
    actor: Actor,
    listing_id: str,
    wish: Mapping[str, Any],
    *,
    trade_id: str | None,
    at: datetime,
) -> Trade:
    """Return the trade that an intent would make, after every guard of T1."""
    allow(actor, "trade.create")
    try:
        listing = tx.get(Listing, listing_id)
    except NotFound:
        raise absent("listing", listing_id) from None
    venue = venue_of(tx, listing)
    must_see(actor, listing, venue)
    if listing.provider_id == actor.party_id:
        raise _own_organisation()
    buyer, seller = tx.get(Party, actor.party_id), tx.get(Party, listing.provider_id)
    if buyer.uscc is not None and buyer.uscc == seller.uscc:
        raise _own_organisation()
    need(
        listing.state == ListingState.LISTED,
        f"the listing is not open for new trades: it is '{listing.state}'",
        f"该挂牌当前不接受新交易：“{listing.state}”",
        state=str(listing.state),
    )
    require_verified(tx, actor.party_id)
    limits = listing.descriptor["dataElement"].get("restrictions") or {}
    if limits.get("buyer_qualification", "无") != "无" and not wish.get("qualification"):
        raise InvalidInput(
            "this listing asks for a statement of the buyer's qualification",
            "该挂牌要求买方说明资质",
            field="qualification",
        )
    return _new_trade(tx, actor, listing, _terms(listing, wish, venue), trade_id, at)


def _own_organisation() -> Forbidden:
    return Forbidden(
        "nobody buys from their own organisation", "不能购买本方的数据", operation="intent"
    )


def _new_trade(
    tx: Reader, actor: Actor, listing: Listing, terms: Terms, trade_id: str | None, at: datetime
) -> Trade:
    if trade_id is not None and not _TRADE_ID.fullmatch(trade_id):
        raise InvalidInput(
            "a trade id is 'trd_' and 32 hex digits",
            "交易编号为 trd_ 加 32 位十六进制",
            field="trade_id",
        )
    content, terms_of = str(listing.content_digest), str(listing.terms_digest)
    report = tx.get(StoredReport, str(listing.report_id))
    return Trade(
        id=trade_id or new_id("trd"),
        listing_id=listing.id,
        listing_version=listing.version,
        content_digest=content,
        terms_digest=terms_of,
        report_digest=report.digest,
        venue=listing.venue,
        provider_id=listing.provider_id,
        user_id=actor.party_id,
        terms=terms,
        offer_digest=contract.offer_digest(listing.id, listing.version, content, terms_of, terms),
        turn=listing.provider_id,
        created_at=at,
        updated_at=at,
    )


def _terms(listing: Listing, wish: Mapping[str, Any], venue: Venue) -> Terms:
    """Return the terms that a wish amounts to; rights beyond the holder's are refused."""
    offer = listing.descriptor["dataElement"]["offer"]
    mode = str(wish.get("mode") or contract.default_mode(listing))
    quantity = int(wish.get("quantity") or 1)
    unit, unit_price, amount = contract.price(listing, mode, quantity)
    if mode == "negotiated":
        amount = contract.bounded(int(wish.get("amount_fen") or 0))
    delivery_mode = _delivery_mode(offer, mode, wish.get("delivery_mode"))
    period, count = _periods(listing, mode, delivery_mode, quantity, wish)
    if period and mode != "subscription":
        amount = contract.bounded(amount * count)
    rights = _held_rights(listing, wish.get("rights") or ("use",))
    purpose = str(wish.get("purpose") or "").strip()
    if not purpose:
        raise InvalidInput("say what the data is for", "请说明使用目的", field="purpose")
    return Terms(
        mode=mode,
        unit=unit,
        unit_price_fen=unit_price,
        quantity=quantity,
        amount_fen=amount,
        tax_rate=offer.get("tax_rate"),
        payment_timing=str(offer.get("payment_timing") or "prepaid"),
        rights=rights,
        purpose=purpose,
        scenario=str(wish.get("scenario") or ""),
        territory=str(wish.get("territory") or ""),
        term_days=wish.get("term_days"),
        inspection_days=int(offer.get("inspection_days") or venue.inspection_days),
        silent_acceptance=bool(offer.get("silent_acceptance", False)),
        note=str(wish.get("note") or ""),
        floors=floors.read(wish.get("floors") or offer.get("floors") or ()),
        delivery_mode=delivery_mode,
        period=period,
        periods=count,
    )


def _delivery_mode(offer: Mapping[str, Any], mode: str, wanted: Any) -> str:
    """Return how the data gets to the buyer: a price per call is for calls, else files first."""
    served = [m for m in offer.get("delivery_modes") or ("file",) if m in shelf.DELIVERABLE]
    if wanted is None:
        first = "api" if mode == "per_call" and "api" in served else "file"
        return first if first in served or not served else served[0]
    if wanted not in served:
        raise InvalidInput(
            f"the listing is delivered as: {', '.join(served)}",
            f"该挂牌的交付方式为：{'、'.join(served)}",
            field="delivery_mode",
            choices=served,
        )
    return str(wanted)


def _periods(
    listing: Listing, mode: str, delivery_mode: str, quantity: int, wish: Mapping[str, Any]
) -> tuple[str, int]:
    """Return the length and number of the periods that a trade runs in; none: ("", 1).

    A subscription has one for each unit; what is metered has as many as are wished, each with
    the quantity as its most.
    """
    entry = contract.price_of(listing, mode)
    if mode == "subscription":
        period = contract.period_of(entry)
        if period is None:
            raise InvalidInput(
                "the offer does not say how long a period is",
                "报价未说明订阅周期",
                field="mode",
            )
        count = quantity
    elif delivery_mode == "api" and contract.meter_of(entry) is not None:
        days = int(wish.get("term_days") or METERED_DAYS)
        period = str(wish.get("period") or entry.get("period") or f"P{days}D")
        count = int(wish.get("periods") or 1)
    else:
        return "", 1
    if not 1 <= count <= MOST_PERIODS:
        raise InvalidInput(
            f"a trade has 1 to {MOST_PERIODS} periods",
            f"周期数为 1 至 {MOST_PERIODS}",
            field="periods",
        )
    return period, count


def _held_rights(listing: Listing, wanted: Iterable[str]) -> tuple[str, ...]:
    """Return the rights without repetition; refuse those that the listing does not hold."""
    rights = tuple(dict.fromkeys(wanted)) or ("use",)
    held = {r.get("type") for r in listing.descriptor["dataElement"].get("rights") or ()}
    if extra := set(rights) - held:
        raise InvalidInput(
            f"the listing does not hold these rights: {clip(sorted(extra))}",
            f"该挂牌不具备权利：{clip(sorted(extra))}",
            field="rights",
        )
    return rights


NEGOTIABLE = frozenset(
    {
        "amount_fen",
        "quantity",
        "rights",
        "exclusive",
        "purpose",
        "scenario",
        "territory",
        "term_days",
        "inspection_days",
        "silent_acceptance",
        "payment_timing",
        "note",
        "floors",
    }
)


def _changed(tx: Reader, trade: Trade, changes: Mapping[str, Any]) -> dict[str, Any]:
    """Return what counter-offered terms change of the trade."""
    if unknown := set(changes) - NEGOTIABLE:
        raise InvalidInput(
            f"these terms cannot be changed: {sorted(unknown)}",
            f"以下条款不可修改：{sorted(unknown)}",
            fields=sorted(unknown),
        )
    wanted = dict(changes)
    if "amount_fen" in wanted:
        contract.bounded(wanted["amount_fen"])
    if "floors" in wanted:
        wanted["floors"] = floors.read(wanted["floors"])
    if "rights" in wanted:
        wanted["rights"] = _held_rights(tx.get(Listing, trade.listing_id), wanted["rights"])
    return contract.other_terms(trade, **wanted)


def answer(tx: Transaction, actor: Actor, trade_id: str, changes: Mapping[str, Any]) -> Trade:
    """T2: the provider answers, as it was wished or with other terms; the buyer's turn."""
    trade, venue = load(tx, actor, trade_id)
    row = permit(tx, trade, venue, "answer", actor, None)
    return _offer(tx, actor, trade, row, changes, turn=trade.user_id)


def counter(tx: Transaction, actor: Actor, trade_id: str, changes: Mapping[str, Any]) -> Trade:
    """T3: a counter-offer of the side whose turn it is."""
    trade, venue = load(tx, actor, trade_id)
    row = permit(tx, trade, venue, "counter", actor, None)
    _need_turn(trade, actor)
    other = trade.provider_id if actor.party_id == trade.user_id else trade.user_id
    return _offer(tx, actor, trade, row, changes, turn=other)


def _offer(
    tx: Transaction,
    actor: Actor,
    trade: Trade,
    row: Step[TradeState],
    changes: Mapping[str, Any],
    *,
    turn: str,
) -> Trade:
    """Put other terms before the side whose turn it is then."""
    offered = _changed(tx, trade, changes)
    return move(
        tx,
        trade,
        row,
        actor,
        {"offer_digest": offered["offer_digest"]},
        asked={"changes": present.plain(changes)},
        about=trade.offer_digest,
        turn=turn,
        **offered,
    )[0]


def _need_turn(trade: Trade, actor: Actor) -> None:
    need(
        trade.turn == actor.party_id,
        "it is the other side's turn",
        "当前应由对方回应",
        turn=trade.turn,
    )


def agree(tx: Transaction, actor: Actor, trade_id: str, offer_digest: str) -> Trade:
    """T4: the other side accepts the offer that it names by digest."""
    trade, venue = load(tx, actor, trade_id)
    row = permit(tx, trade, venue, "agree", actor, None)
    _need_turn(trade, actor)
    _need_offer(trade, offer_digest)
    return _agreed(tx, trade, row, actor, venue, tx.now)


def _need_offer(trade: Trade, offer_digest: str) -> None:
    need(
        offer_digest == trade.offer_digest,
        "the offer changed meanwhile: read it again and name its digest",
        "报价已变更，请重新确认报价摘要",
        offer_digest=trade.offer_digest,
    )


def take(
    tx: Transaction,
    actor: Actor,
    trade_id: str,
    offer_digest: str,
    *,
    accept_on_delivery: bool = False,
    at: datetime | None = None,
) -> Trade:
    """T2a: take the offer that the provider signed beforehand, unchanged."""
    trade, venue = load(tx, actor, trade_id)
    row = permit(tx, trade, venue, "take", actor, None)
    listing = tx.get(Listing, trade.listing_id)
    signature = contract.still_offered(tx, listing, trade.terms.mode, tx.now)
    _need_offer(trade, offer_digest)
    _standing_floors(tx, listing, trade)
    taken = replace(trade, standing=True, auto_accept=accept_on_delivery, signatures=(signature,))
    return _agreed(tx, taken, row, actor, venue, at or tx.now)


def _standing_floors(tx: Reader, listing: Listing, trade: Trade) -> None:
    """Refuse floors that the provider never offered, and those that the version misses."""
    offered = listing.descriptor["dataElement"]["offer"].get("floors") or ()
    floors.require(tx, trade.terms.floors, listing)
    need(
        trade.terms.floors == floors.read(offered),
        "the standing offer has other quality floors: the provider has to answer",
        "长期报价的质量下限不同，需由提供方回应",
        next=["answer"],
    )


def _agreed(
    tx: Transaction,
    trade: Trade,
    row: Step[TradeState],
    actor: Actor,
    venue: Venue,
    at: datetime,
) -> Trade:
    """Draw up the agreement and say whether it needs an assessment first (T5)."""
    listing = tx.get(Listing, trade.listing_id)
    floors.require(tx, trade.terms.floors, listing)
    document = _document(tx, trade, listing, venue, at)
    compliance = listing.descriptor["dataElement"].get("compliance") or {}
    above = venue.assessment_above_fen
    needed = (
        compliance.get("data_level") == "important"
        or compliance.get("personal_info") in ("personal", "sensitive")
        or (
            compliance.get("cross_border") == "allowed_with_procedure"
            and trade.terms.territory not in ("", "CN")
        )
        or (above is not None and trade.terms.amount_fen > above)
    )
    return move(
        tx,
        trade,
        row,
        actor,
        {"offer_digest": trade.offer_digest, "agreement_digest": digest(document)},
        asked={"offer_digest": trade.offer_digest},
        agreement=document,
        agreement_digest=digest(document),
        assessment_required=needed,
    )[0]


def _document(
    tx: Reader, trade: Trade, listing: Listing, venue: Venue, at: datetime
) -> dict[str, Any]:
    provider, user = tx.get(Party, trade.provider_id), tx.get(Party, trade.user_id)
    shares = contract.shares_of(tx, listing)
    return contract.agreement(trade, listing, provider, user, venue, at, shares)


def assess(tx: Transaction, actor: Actor, trade_id: str, *, passed: bool, opinion: str) -> Trade:
    """T5: the written opinion of someone without a tie to either side."""
    trade, venue = load(tx, actor, trade_id)
    row = permit(tx, trade, venue, "assess", actor, None)
    written(opinion)
    outcome = Assessment(
        outcome="passed" if passed else "failed", opinion=opinion, by=actor.id, at=tx.now
    )
    payload = {"outcome": outcome.outcome, "opinion_digest": digest(opinion)}
    return move(tx, trade, row, actor, payload, assessment=outcome)[0]


def refuse(tx: Transaction, actor: Actor, trade_id: str, reason: str) -> Trade:
    """T5b: the assessment fails."""
    trade, venue = load(tx, actor, trade_id)
    row = permit(tx, trade, venue, "refuse", actor, None)
    return move(tx, trade, row, actor, {"reason": written(reason)}, reason=reason)[0]


def sign(
    tx: Transaction,
    actor: Actor,
    trade_id: str,
    signature: Mapping[str, JSON],
    platform: PlatformSigner,
) -> Trade:
    """T6: each side signs the agreement's digest with its own key; the second one binds."""
    trade, venue = load(tx, actor, trade_id)
    row = permit(tx, trade, venue, "sign", actor, None)
    need(
        not any(s.party_id == actor.party_id for s in trade.signatures),
        "your side has signed already",
        "贵方已签署",
    )
    if trade.assessment_required:
        need(
            trade.assessment is not None and trade.assessment.outcome == "passed",
            "a compliance assessment has to be passed first",
            "需先通过合规评估",
        )
    listing = tx.get(Listing, trade.listing_id)
    _certificate_holds(tx, listing, venue)
    made = contract.sign_as(
        tx, actor, "agreement", str(trade.agreement_digest), signature, platform, tx.now
    )
    signatures = (*trade.signatures, made)
    both = {s.party_id for s in signatures} == {trade.provider_id, trade.user_id}
    signed, _ = move(
        tx,
        trade,
        row,
        actor,
        {"agreement_digest": trade.agreement_digest, "key_id": made.key_id, "by": made.party_id},
        asked={"signature": present.plain(signature)},
        about=trade.agreement_digest,
        to=None if both else trade.state,
        signatures=signatures,
        signed_at=tx.now if both else None,
    )
    if both and not venue.filing_required:
        return fulfilment.file(tx, SYSTEM, signed.id, filing_no="")
    return signed


def _certificate_holds(tx: Reader, listing: Listing, venue: Venue) -> None:
    """Refuse a signature on a day on which G1 fails."""
    if venue.certificate_required:
        today = getattr(tx, "now", listing.updated_at).date()
        lapsed = [t for t in list_guards(tx, listing, today) if t.en.startswith("G1")]
        need(not lapsed, "the certificate is not valid today", "登记凭证今日无效")


def cancel(tx: Transaction, actor: Actor, trade_id: str, reason: str = "") -> Trade:
    """T16: either side steps back before it has signed."""
    trade, venue = load(tx, actor, trade_id)
    row = permit(tx, trade, venue, "cancel", actor, None)
    return move(tx, trade, row, actor, {"reason": reason}, reason=reason)[0]


# --- the standing offer, and buying in one step -----------------------------------------------


def offer_standing(
    tx: Transaction,
    actor: Actor,
    listing_id: str,
    signature: Mapping[str, JSON],
    platform: PlatformSigner,
) -> Listing:
    """Sign an offer beforehand, so that it can be taken in one step (T2a)."""
    found = shelf.load(tx, actor, listing_id)
    shelf.admit(tx, found, "offer", actor)
    document = standing_offer_of(tx, found)
    made = contract.sign_as(
        tx, actor, "standing_offer", digest(document), signature, platform, tx.now
    )
    return shelf.step(
        tx,
        found,
        "offer",
        actor,
        {"offer_digest": made.digest, "key_id": made.key_id},
        asked={"signature": present.plain(signature)},
        about=made.digest,
        standing_offer=document,
        standing_signature=made,
    )


def standing_offer_of(tx: Reader, listing: Listing) -> dict[str, Any]:
    """Return the document that the provider of the listing would sign."""
    from yaosu_schemas.canonical import content_digest, terms_digest

    return contract.standing_offer(
        listing,
        tx.get(Party, listing.provider_id),
        content_digest(listing.descriptor),
        terms_digest(listing.descriptor),
    )


def quote(
    tx: Reader, actor: Actor, listing_id: str, wish: Mapping[str, Any], now: datetime
) -> dict[str, Any]:
    """Return the agreement that buying now would make, for the buyer to read and sign.

    Nothing is stored: `buy` draws the same document again from the same id and time.
    """
    trade = draft_trade(tx, actor, listing_id, wish, trade_id=None, at=now)
    listing = tx.get(Listing, listing_id)
    trade = replace(trade, standing=True)
    contract.still_offered(tx, listing, trade.terms.mode, now)
    _standing_floors(tx, listing, trade)
    document = _document(tx, trade, listing, venue_of(tx, listing), now)
    return {
        "trade_id": trade.id,
        "quoted_at": now.isoformat(),
        "listing_id": listing.id,
        "terms": contract.terms_json(trade.terms),
        "offer_digest": trade.offer_digest,
        "agreement": document,
        "agreement_digest": digest(document),
    }


def buy(
    tx: Transaction,
    actor: Actor,
    listing_id: str,
    wish: Mapping[str, Any],
    signature: Mapping[str, JSON],
    platform: PlatformSigner,
    *,
    trade_id: str | None = None,
    quoted_at: datetime | None = None,
    accept_on_delivery: bool = False,
) -> Trade:
    """T1, T2a, T6 and what follows by itself, in one call; every step is its own event."""
    at = quoted_at or tx.now
    age = tx.now - at
    if not timedelta(minutes=-1) <= age <= timedelta(minutes=QUOTE_MINUTES):
        raise InvalidInput(
            f"the quote is older than {QUOTE_MINUTES} minutes: ask for a new one",
            f"报价已超过 {QUOTE_MINUTES} 分钟，请重新询价",
            field="quoted_at",
        )
    wanted = intend(tx, actor, listing_id, wish, trade_id=trade_id, at=at)
    taken = take(
        tx, actor, wanted.id, wanted.offer_digest, accept_on_delivery=accept_on_delivery, at=at
    )
    if taken.assessment_required:
        return taken
    return sign(tx, actor, taken.id, signature, platform)
