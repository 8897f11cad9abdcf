"""The neutral trading record (dictionary c.1): a trade as it stands, for those who may see it."""

from __future__ import annotations

from typing import Any

from yaosu import present
from yaosu.model import Delivery, Party, Signature, Trade
from yaosu.ports import Reader
from yaosu.proof import receipt, signing
from yaosu_connectors.trading_record import build as build_record

from . import reads as reads_


def neutral_record(reader: Reader, trade: Trade) -> dict[str, Any]:
    """Return the parts of a trade in the words of the dictionary."""
    provider, user = reader.get(Party, trade.provider_id), reader.get(Party, trade.user_id)
    delivery = reader.get(Delivery, trade.delivery_id) if trade.delivery_id else None
    return build_record(
        trade=receipt.public_trade(trade, provider, user),
        agreement=trade.agreement,
        signatures=[_signature(signature) for signature in trade.signatures],
        delivery=present.delivery(delivery) if delivery else None,
        events=[present.event(e) for e in reader.events(trade.id)],
        usage=reads_.usage(reader, trade.id),
    )


def _signature(signature: Signature) -> dict[str, Any]:
    """Return a signature with its algorithm, which is Ed25519 where nothing is said."""
    shown: dict[str, Any] = present.plain(signature)
    algorithm = signing.algorithm(signature.public_key)
    return shown if algorithm == "Ed25519" else {**shown, "algorithm": algorithm}
