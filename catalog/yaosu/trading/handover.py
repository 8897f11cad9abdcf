"""What whole trades and their periods have in common: handing over, paying out, vouching."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from datetime import timedelta

from yaosu import contract
from yaosu.errors import Unsupported
from yaosu.listing import files_of
from yaosu.model import (
    Actor,
    DeliveredFile,
    Delivery,
    Event,
    Holding,
    Listing,
    Trade,
    TradeState,
    Venue,
    new_id,
)
from yaosu.model_money import Period
from yaosu.package_files import tables_of
from yaosu.ports import Reader, Transaction
from yaosu.steps import Step
from yaosu_schemas.canonical import digest

from . import sharing
from .moves import move, need
from .recall import is_recalled

COMPLETE_AFTER = timedelta(days=7)


def new_delivery(
    tx: Transaction, trade: Trade, listing: Listing, period: Period | None = None
) -> Delivery:
    """Add the delivery of a version, as files or as rows over the API; a job opens it (T9)."""
    need(
        not is_recalled(tx, listing.id),
        "this version was recalled: nothing of it is delivered",
        "该版本已被召回，不再交付",
        next=["terminate"],
    )
    made = (_rows if trade.terms.delivery_mode == "api" else _files)(tx, trade, listing, period)
    tx.add(made)
    tx.enqueue(
        "deliver",
        {"trade_id": trade.id, "delivery_id": made.id, "period_id": made.period_id},
        once=f"deliver:{made.id}",
    )
    return made


def _files(tx: Reader, trade: Trade, listing: Listing, period: Period | None) -> Delivery:
    files = []
    for _, path, sha256, _size in files_of(listing.descriptor):
        holding = tx.one(Holding, party_id=trade.provider_id, sha256=sha256)
        if holding is None:
            raise Unsupported("a file of this listing is not held here", "挂牌文件不在本市场")
        files.append(DeliveredFile(path=path, bytes=holding.bytes, sha256=sha256))
    return _delivery(tx, trade, listing, period, files=tuple(files))


def _rows(tx: Reader, trade: Trade, listing: Listing, period: Period | None) -> Delivery:
    """Return a delivery of rows: what was bought of them is its quota, in the meter's measure."""
    sold = tx.get(Listing, trade.listing_id)
    limits = trade.agreement["delivery"].get("limits") or contract.api_limits(sold)
    metered = contract.meter_of(contract.price_of(sold, trade.terms.mode))
    quota = limits.get("quota") if metered is None else trade.terms.quantity * metered[1]
    return replace(
        _delivery(tx, trade, listing, period),
        mode="api",
        resources=tuple(tables_of(listing.descriptor)),
        rate_per_minute=limits["rate_per_minute"],
        max_rows=limits["max_rows"],
        quota=quota,
        meter="call" if metered is None else metered[0],
    )


def _delivery(
    tx: Reader,
    trade: Trade,
    listing: Listing,
    period: Period | None,
    files: tuple[DeliveredFile, ...] = (),
) -> Delivery:
    made = Delivery(
        id=new_id("dlv"),
        trade_id=trade.id,
        provider_id=trade.provider_id,
        user_id=trade.user_id,
        files=files,
        manifest_digest="",
        created_at=getattr(tx, "now", trade.updated_at),
        listing_id=listing.id,
        period_id=period.id if period else None,
    )
    sold = listing.id == trade.listing_id
    content = trade.content_digest if sold else str(listing.content_digest)
    named = manifest_digest(trade.id, content, files)
    return replace(made, content_digest=content, manifest_digest=named)


def manifest_digest(trade_id: str, content_digest: str, files: Iterable[DeliveredFile]) -> str:
    """Return the digest that the buyer checks after the last byte."""
    return digest(
        {
            "trade_id": trade_id,
            "content_digest": content_digest,
            "files": [{"path": f.path, "bytes": f.bytes, "sha256": f.sha256} for f in files],
        }
    )


def resources_missing(reader: Reader, delivery: Delivery) -> list[str]:
    """Return the resources of a delivery of rows whose columns have not been made yet."""
    listing = reader.get(Listing, str(delivery.listing_id))
    return [r for r in delivery.resources if sharing.table_of(reader, listing, r) is None]


def revoke(tx: Transaction, delivery_id: str | None) -> None:
    """Close the way to the bytes and the rows, at once."""
    if delivery_id is not None:
        delivery = tx.get(Delivery, delivery_id)
        tx.put(replace(delivery, state="revoked", revoked_at=delivery.revoked_at or tx.now))


def pay_out(
    tx: Transaction,
    trade: Trade,
    event: Event,
    escrow: str,
    venue: Venue,
    *,
    fee: int,
    shares: Iterable[tuple[str, int]],
    refund: int = 0,
) -> None:
    """Post what leaves an escrow: to the right holders, the place of trading, and back."""
    lines: dict[str, int] = {}
    parts = [(f"provider:{party}", fen) for party, fen in shares]
    for account, fen in (*parts, (f"fee:{venue.id}", fee), (f"buyer:{trade.user_id}", refund)):
        if fen:
            lines[account] = lines.get(account, 0) + fen
    if lines:
        tx.post(trade.id, event, {escrow: -sum(lines.values()), **lines})


def vouch(tx: Transaction, trade: Trade, row: Step[TradeState], actor: Actor) -> Trade:
    """T14: the evidence chain holds from end to end; the receipt is built by a job."""
    _check_chain(tx, trade)
    number = f"V{trade.agreement['contract_no'][2:]}"
    moved, event = move(
        tx,
        trade,
        row,
        actor,
        {"voucher_no": number, "agreement_digest": trade.agreement_digest},
        voucher_no=number,
        vouchered_at=tx.now,
    )
    tx.enqueue("receipt", {"trade_id": trade.id}, once=f"receipt:{trade.id}:{event.seq}")
    tx.enqueue("complete", {"trade_id": trade.id}, delay=COMPLETE_AFTER)
    return moved


def _check_chain(tx: Reader, trade: Trade) -> None:
    """Recompute the trade's chain before a voucher vouches for it (I1)."""
    before: str | None = None
    for seq, event in enumerate(tx.events(trade.id)):
        whole = event.seq == seq and event.prev_digest == before
        need(whole, "the evidence chain is broken", "存证链不完整", seq=seq)
        before = event.digest
