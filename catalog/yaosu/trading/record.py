"""The neutral trading record (dictionary c.1): a trade as it stands, for those who may see it."""

from __future__ import annotations

from typing import Any

from yaosu import present
from yaosu.model import Delivery, Party, Trade
from yaosu.ports import Reader
from yaosu.proof import receipt
from yaosu_connectors.trading_record import build as build_record

from . import reads as reads_


def neutral_record(reader: Reader, trade: Trade) -> dict[str, Any]:
    """Return the parts of a trade in the words of the dictionary."""
    provider, user = reader.get(Party, trade.provider_id), reader.get(Party, trade.user_id)
    delivery = reader.get(Delivery, trade.delivery_id) if trade.delivery_id else None
    return build_record(
        trade=receipt.public_trade(trade, provider, user),
        agreement=trade.agreement,
        signatures=present.plain(trade.signatures),
        delivery=present.delivery(delivery) if delivery else None,
        events=[present.event(e) for e in reader.events(trade.id)],
        usage=reads_.usage(reader, trade.id),
    )
