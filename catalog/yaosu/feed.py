"""What happens on the market as a feed: who may see an event, what its topic is, its envelope."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Any

from . import present
from .errors import InvalidInput
from .evidence import stamp
from .identity import can_see, may
from .listing import venue_of
from .model import Actor, Event, Listing, Trade
from .model_evidence import UsageReceipt
from .ports import Reader

_KINDS = {"trd": "trade", "lst": "listing", "pty": "party"}
_TOPIC = re.compile(r"\*|(trade|listing|party|market)\.(\*|[a-z][a-z_]{0,40})")
MAX_TOPICS = 50


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


def topic(event: Event) -> str:
    """Return the topic of an event: what it is about, a full stop, what happened."""
    return f"{_KINDS.get(event.subject_id[:3], 'market')}.{event.type}"


def chosen(topics: Iterable[str], name: str) -> bool:
    """Tell whether a topic is among the chosen: itself, its kind with `.*`, or `*`."""
    return not {name, name.partition(".")[0] + ".*", "*"}.isdisjoint(topics)


def checked(topics: Iterable[str]) -> tuple[str, ...]:
    """Return topics without repetition; InvalidInput for what can never be one."""
    found = tuple(dict.fromkeys(topics))
    if not found or len(found) > MAX_TOPICS or not all(_TOPIC.fullmatch(t) for t in found):
        raise InvalidInput(
            "topics are 1 to 50 of '*', 'trade.*' or 'trade.paid' (trade, listing, party, market)",
            "主题为 1–50 个，形如 *、trade.* 或 trade.paid（trade、listing、party、market）",
            field="topics",
        )
    return found


def event_name(event: Event) -> str:
    """Return the id of an event as an envelope has it, and as receivers tell repeats by."""
    return f"evt_{event.id}"


def envelope(event: Event, leaf: int, source: str) -> dict[str, Any]:
    """Return an event as a CloudEvent 1.0; `sequence` is its leaf in the transparency log."""
    return {
        "specversion": "1.0",
        "id": event_name(event),
        "source": source,
        "type": f"yaosu.{topic(event)}",
        "subject": event.subject_id,
        "time": stamp(event.at),
        "datacontenttype": "application/json",
        "sequence": str(leaf),
        "data": present.event(event),
    }
