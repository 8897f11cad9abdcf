"""Recall and takedown: what was sold is called back, and who has confirmed to have deleted it.

A recall stops at once: the version leaves the market, open deliveries close, none begins. Who else
offers the same content is found by its digests; it is stopped too where the actor may, and named
to operators where not: a provider could else silence another's offer by recalling a copy of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from yaosu import contract, present
from yaosu import listing as shelf
from yaosu.contract import PlatformSigner
from yaosu.errors import Conflict, InvalidInput, NotFound
from yaosu.identity import absent, allow, may
from yaosu.listing import files_of, venue_of
from yaosu.model import (
    JSON,
    SYSTEM,
    Actor,
    Delivery,
    Holding,
    Listing,
    ListingState,
    Party,
    Trade,
    TradeState,
    Venue,
    new_id,
)
from yaosu.model_evidence import Recall, RecallNotice
from yaosu.organisation.approvals import hold
from yaosu.ports import Reader, Transaction
from yaosu_schemas.canonical import digest

from . import usage
from .moves import load, written

AT_ONCE = 200
"""Trades that are dealt with in the step itself; a job goes on with the rest."""
SOLD = (ListingState.LISTED, ListingState.SUSPENDED, ListingState.DELISTED)
STATEMENTS = ("deleted", "never_fetched", "kept_by_law")
_NOT_BOUND = (TradeState.CANCELLED,)


# --- calling back -------------------------------------------------------------------------------


def recall(
    tx: Transaction,
    actor: Actor,
    listing_id: str,
    *,
    reason: str,
    scope: str = "version",
    files: Sequence[str] = (),
) -> Recall:
    """Call back a version, or some files of it, wherever the same content was sold."""
    listing = shelf.load(tx, actor, listing_id)
    allow(actor, "listing.recall", listing, venue_of(tx, listing))
    if listing.state not in SOLD:
        raise Conflict(
            f"only what was on the market is recalled; the listing is '{listing.state}'",
            f"仅已上架的版本可召回，当前状态为“{listing.state}”",
            state=str(listing.state),
        )
    if is_recalled(tx, listing.id):
        raise Conflict("it is recalled already", "该版本已被召回", listing_id=listing.id)
    wanted = _files(listing, scope, files)
    mine = [listing]
    others: list[Listing] = []
    for other in _same_content(tx, listing, wanted):
        if not is_recalled(tx, other.id):
            stops = may(actor, "listing.recall", other, venue_of(tx, other))
            (mine if stops else others).append(other)
    root = new_id("rcl")
    made = [
        _start(tx, actor, found, root, written(reason), scope, wanted, tuple(o.id for o in others))
        for found in mine
    ]
    for one in made:
        spread(tx, one.id)
    return tx.get(Recall, made[0].id)


def _files(listing: Listing, scope: str, files: Sequence[str]) -> tuple[str, ...]:
    held = {sha for _, _, sha, _ in files_of(listing.descriptor) if sha}
    if scope == "version":
        return ()
    wanted = {f.removeprefix("sha256:").lower() for f in files}
    if scope != "files" or not wanted or not wanted <= held:
        raise InvalidInput(
            "a recall is of the version, or of files of it by their SHA-256",
            "召回范围应为整个版本，或以 SHA-256 指定的该版本文件",
            field="files" if scope == "files" else "scope",
        )
    return tuple(sorted(wanted))


def _same_content(tx: Reader, listing: Listing, files: tuple[str, ...]) -> Iterator[Listing]:
    """Yield other versions that were sold with the same content, or with a file of it."""
    wanted = set(files) or {sha for _, _, sha, _ in files_of(listing.descriptor) if sha}
    seen = {listing.id}
    holders = {h.party_id for sha in sorted(wanted) for h in _all(tx, Holding, sha256=sha)}
    for party in sorted(holders | {listing.provider_id}):
        for other in _all(tx, Listing, provider_id=party, state=SOLD):
            has = {sha for _, _, sha, _ in files_of(other.descriptor)} & wanted
            if other.id not in seen and (has or other.content_digest == listing.content_digest):
                seen.add(other.id)
                yield other


def _all(tx: Reader, kind: type[Any], **equals: Any) -> Iterator[Any]:
    after: str | None = None
    while page := tx.find(kind, after=after, limit=500, **equals):
        after = page[-1].id
        yield from page


def _start(
    tx: Transaction,
    actor: Actor,
    listing: Listing,
    root: str,
    reason: str,
    scope: str,
    files: tuple[str, ...],
    elsewhere: tuple[str, ...],
) -> Recall:
    """Write the recall of one version and take it off the market."""
    made = Recall(
        id=new_id("rcl"),
        root_id=root,
        listing_id=listing.id,
        provider_id=listing.provider_id,
        party_id=actor.party_id,
        actor_id=actor.id,
        reason=reason,
        scope=scope,
        files=files,
        content_digest=listing.content_digest,
        elsewhere=elsewhere,
        created_at=tx.now,
    )
    tx.add(made)
    payload = {"recall_id": made.id, "reason": reason, "scope": scope, "files": list(files)}
    tx.record(
        listing.id,
        "recalled",
        actor_id=actor.id,
        from_state=listing.state,
        to_state=listing.state,
        payload=payload,
    )
    if listing.state == ListingState.LISTED:
        shelf.step(tx, listing, "suspend", SYSTEM, {"reason": "recall", "recall_id": made.id})
    return made


def spread(tx: Transaction, recall_id: str, limit: int = AT_ONCE) -> bool:
    """Reach the next trades of a recalled version; True when none is left.

    Else a job goes on. Meanwhile nothing flows: links ask whether the version is recalled.
    """
    made = tx.get(Recall, recall_id)
    dataset = tx.get(Listing, made.listing_id).dataset_id
    # A trade of one version may be delivered another (subscriptions).
    versions = tuple(v.id for v in _all(tx, Listing, dataset_id=dataset))
    page = tx.find(Trade, listing_id=versions, after=made.spread_to, limit=limit)
    for trade in page:
        every = _all(tx, Delivery, trade_id=trade.id)
        given = [d for d in every if _of(d, trade) == made.listing_id]
        if trade.state not in _NOT_BOUND and (given or trade.listing_id == made.listing_id):
            _reach(tx, made, trade, given)
    done = len(page) < limit
    last = page[-1].id if page else made.spread_to
    tx.put(replace(made, spread_to=last, spread=done))
    if not done:
        tx.enqueue("recall", {"recall_id": recall_id}, once=f"recall:{recall_id}:{last}")
    return done


def _of(delivery: Delivery, trade: Trade) -> str:
    """Return the version that a delivery is of."""
    return getattr(delivery, "listing_id", None) or trade.listing_id


def _reach(tx: Transaction, made: Recall, trade: Trade, given: Sequence[Delivery]) -> None:
    """Close a trade's deliveries, tell both sides, and ask the buyer for its word."""
    had = any(d.opens_at is not None for d in given)
    stopped = [d for d in given if d.state in ("open", "preparing")]
    for delivery in stopped:
        tx.put(replace(delivery, state="revoked", revoked_at=tx.now))
    notice = RecallNotice(
        id=new_id("rcn"),
        recall_id=made.id,
        trade_id=trade.id,
        listing_id=made.listing_id,
        provider_id=trade.provider_id,
        user_id=trade.user_id,
        deliveries=tuple(d.id for d in given),
        state="pending" if had else "informed",
        stopped=tuple((d.id, d.state) for d in stopped),
        created_at=tx.now,
    )
    tx.add(notice)
    tx.record(
        trade.id,
        "recalled",
        actor_id=made.actor_id,
        from_state=trade.state,
        to_state=trade.state,
        payload={
            "recall_id": made.id,
            "reason": made.reason,
            "content_digest": made.content_digest,
            "files": list(made.files),
            "deletion": had,
        },
    )


def flows(reader: Reader, delivery: Delivery) -> bool:
    """Tell whether no recall is open of the version that a delivery is of."""
    return not is_recalled(reader, _of(delivery, reader.get(Trade, delivery.trade_id)))


def is_recalled(reader: Reader, listing_id: str) -> bool:
    """Tell whether a recall of the version is open: nothing of it may flow."""
    return bool(reader.find(Recall, listing_id=listing_id, state="open", limit=1))


def close(tx: Transaction, actor: Actor, recall_id: str, reason: str) -> Recall:
    """End a recall, with the reason: the version may be resumed, deliveries made again.

    A provider ends its own, operators any that they may.
    """
    made = see(tx, actor, recall_id)
    listing = tx.get(Listing, made.listing_id)
    if made.party_id != actor.party_id or not may(
        actor, "listing.recall", listing, venue_of(tx, listing)
    ):
        allow(actor, "recall.close", listing, venue_of(tx, listing))
    if made.state != "open":
        raise Conflict("this recall is closed", "该召回已结束", recall_id=recall_id)
    ended = replace(made, state="closed", closed_at=tx.now, closing=written(reason))
    tx.put(ended)
    tx.record(
        listing.id,
        "recall_closed",
        actor_id=actor.id,
        from_state=listing.state,
        to_state=listing.state,
        payload={"recall_id": made.id, "reason": ended.closing},
    )
    for notice in _all(tx, RecallNotice, recall_id=made.id):
        _release(tx, notice)
    return ended


def _release(tx: Transaction, notice: RecallNotice) -> None:
    """Open again what the recall had closed, where the trade still stands by it."""
    if notice.state == "pending":
        tx.put(replace(notice, state="released"))
    trade = tx.get(Trade, notice.trade_id)
    if trade.state in (TradeState.TERMINATED, TradeState.CANCELLED):
        return
    for delivery_id, state in notice.stopped:
        delivery = tx.get(Delivery, delivery_id)
        if delivery.state == "revoked" and not is_recalled(tx, _of(delivery, trade)):
            tx.put(replace(delivery, state=state, revoked_at=None))
            if state == "preparing":
                tx.enqueue("deliver", {"trade_id": trade.id}, once=f"deliver:{delivery.id}")


# --- the buyer's word -------------------------------------------------------------------------


def notices(reader: Reader, trade_id: str) -> list[RecallNotice]:
    """Return what recalls ask of a trade, oldest first."""
    return reader.find(RecallNotice, trade_id=trade_id, limit=100)


def deletion(reader: Reader, trade: Trade, statement: str = "deleted") -> dict[str, Any]:
    """Return the statement that the buyer signs: everything that is pending on this trade."""
    pending = [n for n in notices(reader, trade.id) if n.state == "pending"]
    ids = list(dict.fromkeys(i for n in pending for i in n.deliveries))
    return {
        "type": "yaosu-deletion",
        "version": 1,
        "trade_id": trade.id,
        "recall_ids": [n.recall_id for n in pending],
        "content_digest": trade.content_digest,
        "manifest_digests": [reader.get(Delivery, i).manifest_digest for i in ids],
        "statement": statement,
    }


def confirm(
    tx: Transaction,
    actor: Actor,
    trade_id: str,
    statement: str,
    signature: Mapping[str, JSON],
    platform: PlatformSigner,
) -> Trade:
    """Take the buyer's signed word that what was recalled is deleted (or why it is not)."""
    trade, venue = load(tx, actor, trade_id)
    allow(actor, "deletion.confirm", trade, venue)
    if statement not in STATEMENTS:
        raise InvalidInput(
            f"a statement is one of: {', '.join(STATEMENTS)}",
            f"声明应为：{'、'.join(STATEMENTS)}",
            field="statement",
        )
    said = deletion(tx, trade, statement)
    if not said["recall_ids"]:
        raise Conflict("no recall waits for your word here", "没有待确认的召回", trade_id=trade.id)
    signed = contract.sign_as(tx, actor, "deletion", digest(said), signature, platform, tx.now)
    asked = {"statement": statement, "signature": present.plain(signature)}
    passed = hold(tx, actor, trade, "confirm_deletion", asked, digest(said))
    for notice in notices(tx, trade.id):
        if notice.recall_id in said["recall_ids"]:
            tx.put(
                replace(
                    notice,
                    state="confirmed",
                    statement=statement,
                    document=said,
                    signature=signed,
                    confirmed_at=tx.now,
                )
            )
    tx.record(
        trade.id,
        "deletion_confirmed",
        actor_id=actor.id,
        from_state=trade.state,
        to_state=trade.state,
        payload={
            "document_digest": digest(said),
            "statement": statement,
            "key_id": signed.key_id,
            "recall_ids": said["recall_ids"],
            **passed,
        },
    )
    return trade


# --- looking over ------------------------------------------------------------------------------


def see(reader: Reader, actor: Actor, recall_id: str) -> Recall:
    """Return a recall that exists for the actor: its provider's, or an operator's."""
    try:
        found = reader.get(Recall, recall_id)
    except NotFound:
        raise absent("recall", recall_id) from None
    if not _visible(reader, actor, found):
        raise absent("recall", recall_id)
    return found


def _visible(reader: Reader, actor: Actor, found: Recall) -> bool:
    listing = reader.get(Listing, found.listing_id)
    return may(actor, "recall.read", listing, reader.get(Venue, listing.venue))


def visible(reader: Reader, actor: Actor, cursor: str | None, size: int) -> list[Recall]:
    """Return a page of the recalls that exist for the actor, newest first."""
    operator = {"admin", "reviewer", "exchange"} & {str(r) for r in actor.roles}
    where: dict[str, object] = {} if operator else {"provider_id": actor.party_id}
    found: list[Recall] = []
    while len(found) < size:
        page = reader.find(Recall, after=cursor, limit=size, newest=True, **where)
        found += [r for r in page if _visible(reader, actor, r)]
        if len(page) < size:
            break
        cursor = page[-1].id
    return found[:size]


def overview(reader: Reader, actor: Actor, made: Recall) -> dict[str, Any]:
    """Return a recall with every trade it reached, who has confirmed, and what it had fed."""
    operator = bool({"admin", "reviewer", "exchange"} & {str(r) for r in actor.roles})
    rows = list(_all(reader, RecallNotice, recall_id=made.id))
    found = summary(made)
    found["counts"] = {
        state: sum(n.state == state for n in rows)
        for state in ("pending", "confirmed", "informed", "released")
    }
    found["same_content"] = [
        other.listing_id for other in _all(reader, Recall, root_id=made.root_id)
        if other.id != made.id and _visible(reader, actor, other)
    ]  # fmt: skip
    found["elsewhere"] = list(made.elsewhere) if operator else len(made.elsewhere)
    found["trades"] = [_told(reader, n, operator) for n in rows]
    return found


def _told(reader: Reader, notice: RecallNotice, operator: bool) -> dict[str, Any]:
    """Return how one trade stands; the models it fed by name to operators, else as a fact."""
    trade = reader.get(Trade, notice.trade_id)
    receipts = usage.of_trade(reader, notice.trade_id)
    told = usage.informs(trade.agreement)
    return {
        **shown(notice),
        "buyer": present.party(reader.get(Party, notice.user_id)),
        "trade_state": trade.state,
        "usage": [
            {
                "digest": kept.digest,
                "created_at": present.plain(kept.created_at),
                **({"model": kept.model, "version": kept.model_version} if operator else {}),
            }
            for kept in receipts
            if operator or told
        ],
    }


def summary(made: Recall) -> dict[str, Any]:
    """Return a recall without its trades."""
    return {
        "recall_id": made.id,
        "listing_id": made.listing_id,
        "state": made.state,
        "scope": made.scope,
        "files": list(made.files),
        "content_digest": made.content_digest,
        "reason": made.reason,
        "reached_all": made.spread,
        "created_at": present.plain(made.created_at),
        "closed_at": present.plain(made.closed_at),
        "closing": made.closing,
    }


def shown(notice: RecallNotice) -> dict[str, Any]:
    """Return how a trade stands to a recall."""
    return {
        "recall_id": notice.recall_id,
        "trade_id": notice.trade_id,
        "deliveries": list(notice.deliveries),
        "state": notice.state,
        "statement": notice.statement,
        "document": notice.document,
        "signature": present.plain(notice.signature),
        "created_at": present.plain(notice.created_at),
        "confirmed_at": present.plain(notice.confirmed_at),
    }
