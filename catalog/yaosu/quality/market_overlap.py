"""What a version shares with the other versions of the market, estimated from their sketches.

Counted once for each pair, when the later of the two is judged, and kept with both sides. What is
kept names listings; what is shown of it is only what the reader may see.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from yaosu.identity import can_see
from yaosu.model import Actor, Listing, ListingState, Venue
from yaosu.ports import Reader, Transaction
from yaosu_schemas.errors import InvalidInput
from yaosu_validators import Sketch
from yaosu_validators import overlap as compared

LEAST = 0.01  # of either side, by the lower bound of the estimate: less is noise
MOST = 50  # that are kept of one version, the largest
_ALIVE = (
    ListingState.REVIEW,
    ListingState.NOTICE,
    ListingState.REGISTERED,
    ListingState.LISTED,
    ListingState.SUSPENDED,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """One pair as its first side sees it: equal records, and runs of 13 tokens."""

    other: str
    body: dict[str, Any]


def count(reader: Reader, listing: Listing, sketch: dict[str, Any]) -> list[Shared] | None:
    """Compare a sketch with those of other datasets; None for one without samples."""
    try:
        mine = Sketch.from_json(sketch)
    except InvalidInput:
        return None
    found = []
    for other in _others(reader, listing):
        theirs = _sketch_of(reader, other.id)
        if theirs is None:
            continue
        both = {name: o.as_json() for name, o in compared(mine, theirs).items()}
        if _worth(both):
            found.append(Shared(other=other.id, body=both))
    return found


def keep(tx: Transaction, listing: Listing, shared: list[Shared]) -> None:
    """Keep what was counted with this version, and turned around with each other one."""
    tx.keep_view(_view(listing.id), _packed([{"listing_id": s.other, **s.body} for s in shared]))
    for pair in shared:
        before = [x for x in _kept(tx, pair.other) if x["listing_id"] != listing.id]
        turned = {name: _turned(both) for name, both in pair.body.items()}
        tx.keep_view(_view(pair.other), _packed([*before, {"listing_id": listing.id, **turned}]))


def shown(reader: Reader, listing: Listing, actor: Actor | None) -> list[dict[str, Any]]:
    """Return the listed versions with shared content, as far as the actor may see them."""
    found = []
    for entry in _kept(reader, listing.id):
        other = reader.one(Listing, id=entry["listing_id"])
        if other is None or other.state != ListingState.LISTED:
            continue
        if can_see(actor, other, reader.get(Venue, other.venue)):
            named = {"publisher": other.publisher, "name": other.name, "title": other.title}
            found.append({**entry, **named, "listing_version": other.version})
    return found


def measures(reader: Reader, listing: Listing) -> list[dict[str, Any]]:
    """Return the largest overlap with a listing that anyone may see, as a measure of a report."""
    sketch = _sketch_of(reader, listing.id)
    if sketch is None:
        return []
    largest = max(
        (entry["records"]["of_mine"]["estimate"] for entry in shown(reader, listing, None)),
        default=0.0,
    )
    counted = sketch.records - sketch.left_out
    return [
        {
            "id": "own:market_overlap",
            "standard": "own",
            "value": largest,
            "unit": "ratio",
            "numerator": round(largest * counted),
            "denominator": counted,
            "n": counted,
            "basis": "market",
        }
    ]


def _others(reader: Reader, listing: Listing) -> Iterator[Listing]:
    after: str | None = None
    while page := reader.find(Listing, state=_ALIVE, after=after, limit=500):
        after = page[-1].id
        yield from (v for v in page if v.dataset_id != listing.dataset_id)


def _sketch_of(reader: Reader, listing_id: str) -> Sketch | None:
    kept = reader.view(f"sketch:{listing_id}")
    if kept is None:
        return None
    try:
        return Sketch.from_json(json.loads(kept[1]))
    except InvalidInput:
        return None


def _worth(both: dict[str, Any]) -> bool:
    return any(
        both[kind][side]["low"] >= LEAST
        for kind in ("records", "runs")
        for side in ("of_mine", "of_theirs")
    )


def _turned(both: dict[str, Any]) -> dict[str, Any]:
    return {**both, "of_mine": both["of_theirs"], "of_theirs": both["of_mine"]}


def _packed(entries: list[dict[str, Any]]) -> bytes:
    def size(entry: dict[str, Any]) -> float:
        return max(float(entry[kind]["of_mine"]["estimate"]) for kind in ("records", "runs"))

    return json.dumps(sorted(entries, key=size, reverse=True)[:MOST]).encode()


def _kept(reader: Reader, listing_id: str) -> list[dict[str, Any]]:
    kept = reader.view(_view(listing_id))
    found: list[dict[str, Any]] = json.loads(kept[1]) if kept is not None else []
    return found


def _view(listing_id: str) -> str:
    return f"overlap:{listing_id}"
