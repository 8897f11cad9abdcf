"""What happens on the market as a feed: who may see an event, and its envelope."""

from __future__ import annotations

from typing import Any

from yaosu import present
from yaosu.errors import InvalidDocument
from yaosu.identity import can_see, may
from yaosu.listing import venue_of
from yaosu.model import Actor, Event, Listing, Trade
from yaosu.model_evidence import UsageReceipt
from yaosu.ports import Reader
from yaosu.proof.evidence import stamp
from yaosu.topics import topic
from yaosu.trading.record import neutral_record
from yaosu_connectors.exchange import form


def concerns(reader: Reader, actor: Actor, subject_id: str) -> bool:
    """Tell whether the events of a subject exist for the actor."""
    if subject_id.startswith("trd_"):
        trade = reader.one(Trade, id=subject_id)
        return trade is not None and can_see(actor, trade, venue_of(reader, trade))
    if subject_id.startswith("lst_"):
        found = reader.one(Listing, id=subject_id)
        return found is not None and may(
            actor, "listing.read_draft", found, venue_of(reader, found)
        )
    if subject_id.startswith("usr_"):
        kept = reader.one(UsageReceipt, id=subject_id)
        return kept is not None and kept.party_id == actor.party_id
    return subject_id == actor.party_id or "admin" in actor.roles


def topic_of(event: Event) -> str:
    return topic(event.subject_id, event.type)


def event_name(event: Event) -> str:
    """Return the id of an event as an envelope has it, and as receivers tell repeats by."""
    return f"evt_{event.id}"


def envelope(event: Event, leaf: int, source: str) -> dict[str, Any]:
    """Return an event as a CloudEvent 1.0; `sequence` is its leaf in the transparency log."""
    return {
        "specversion": "1.0",
        "id": event_name(event),
        "source": source,
        "type": f"yaosu.{topic_of(event)}",
        "subject": event.subject_id,
        "time": stamp(event.at),
        "datacontenttype": "application/json",
        "sequence": str(leaf),
        "data": present.event(event),
    }


def record_of(reader: Reader, trade_id: str, name: str) -> dict[str, Any]:
    """Return the record of a trade as it stands, in a form; or what in it has no word there."""
    record = neutral_record(reader, reader.get(Trade, trade_id))
    try:
        return {"form": name, "record": form(name).say(record)}
    except InvalidDocument as said:
        return {"form": name, "record": None, "problems": present.plain(said.problems)}
