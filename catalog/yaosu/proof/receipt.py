"""The receipt: one file per trade that proves it offline (checked by `verify`)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from yaosu import present
from yaosu.errors import Conflict
from yaosu.model import Event, Listing, Party, Trade
from yaosu.ports import Reader
from yaosu.quality import attestation

from . import voucher


class Prover(Protocol):
    """What a receipt needs of the transparency log."""

    def prove(self, events: Sequence[Event]) -> tuple[str, list[dict[str, Any]]]: ...
    def seal(self, document: dict[str, Any]) -> dict[str, str]: ...
    def identity(self) -> dict[str, str]: ...
    def witnesses(self) -> list[str]: ...


def public_trade(trade: Trade, provider: Party, user: Party) -> dict[str, Any]:
    """Return the trade as its receipt and its neutral record tell it: no contacts."""
    shown = present.trade(trade, provider, user)
    for name in ("next", "turn", "agreement", "signatures", "updated_at"):
        shown.pop(name, None)
    return shown


def build(reader: Reader, log: Prover, trade_id: str) -> dict[str, Any]:
    """Return the receipt of a vouchered trade; Conflict until its events are in the log."""
    trade = reader.get(Trade, trade_id)
    if trade.vouchered_at is None:
        raise Conflict(
            f"a receipt is issued with the voucher; the trade is '{trade.state}'",
            f"凭证签发后方可出具收据，当前状态为“{trade.state}”",
            state=str(trade.state),
        )
    events = _until_voucher(reader.events(trade_id))
    told = {event.digest for event in events}  # what came after the voucher is not vouched for
    checkpoint, proofs = log.prove(events)
    provider, user = reader.get(Party, trade.provider_id), reader.get(Party, trade.user_id)
    made = {
        "type": "yaosu-receipt",
        "version": 2,
        "trade": public_trade(trade, provider, user),
        "agreement": trade.agreement,
        "agreement_digest": trade.agreement_digest,
        "signatures": present.plain(trade.signatures),
        "quality": attestation.build(reader, log, reader.get(Listing, trade.listing_id)),
        "settlement": {
            "postings": [
                present.posting(p) for p in reader.postings(trade_id) if p.event_digest in told
            ]
        },
        "events": [present.event(event) for event in events],
        "checkpoint": checkpoint,
        "proofs": proofs,
        "log": log.identity(),
        "witnesses": log.witnesses(),
    }
    made["digests"] = voucher.digests(made)
    return {**made, "seal": log.seal(made)}


def _until_voucher(events: list[Event]) -> list[Event]:
    last = max(i for i, event in enumerate(events) if event.type == "voucher")
    return events[: last + 1]
