"""Offline verification of what went out: no webhook has a gap before its place in the log (I11)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from yaosu.topics import chosen, topic

from .proofs import Findings, strict_json
from .verify_database import Database

_SIDES = (("provider_id", "provider"), ("user_id", "buyer"))
_SEE_MORE = frozenset({"admin", "reviewer"})
"""Roles whose view changes with the state of things: what they were sent is not decided here."""


def check_webhooks(db: Database, found: Findings) -> None:
    """Every event that concerned a webhook before its cursor was delivered, or is a dead letter."""
    if "webhook" not in db.tables():
        return  # of a release before there were any
    venues = {i: strict_json(body) for i, body in db.execute("SELECT id, body FROM venue")}
    for name, body in db.execute("SELECT id, body FROM webhook ORDER BY id"):
        with found.shape(f"/webhooks/{name}"):
            hook = strict_json(body)
            if not _SEE_MORE & set(hook["roles"]):
                _check(db, hook, venues, found)


def _check(
    db: Database, hook: Mapping[str, Any], venues: Mapping[str, Any], found: Findings
) -> None:
    place = f"/webhooks/{hook['id']}"
    own = set(_own(db, hook, venues))
    sent = {
        event_id
        for (event_id,) in db.execute(
            "SELECT event_id FROM webhook_message WHERE webhook_id = ?", (hook["id"],)
        )
    }
    rows = db.execute(
        "SELECT e.id, e.subject_id, e.type FROM leaf l JOIN event e ON e.id = l.event_id "
        "WHERE l.place >= ? AND l.place < ? ORDER BY l.place",
        (hook["since"], hook["cursor"]),
    )
    for event_id, subject, kind in rows:
        if subject in own and chosen(hook["topics"], topic(subject, kind)):
            found.checked["messages"] += 1
            found.need(
                f"evt_{event_id}" in sent,
                place,
                "gap",
                f"event {event_id} was passed over",
                f"事件 {event_id} 被跳过",
            )


def _own(db: Database, hook: Mapping[str, Any], venues: Mapping[str, Any]) -> Iterator[str]:
    """Yield the subjects whose events the webhook's party sees as a side, or as their exchange."""
    party, roles = hook["party_id"], set(hook["roles"])
    yield party
    for table in ("trade", "listing"):
        for name, body in db.execute(f"SELECT id, body FROM {table}"):
            thing = strict_json(body)
            sides = {thing.get(column): role for column, role in _SIDES}
            holder = venues.get(thing["venue"], {}).get("party_id")
            exchange = "exchange" in roles and holder == party and party not in sides
            if sides.get(party) in roles or exchange:
                yield name
