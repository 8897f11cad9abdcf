"""Quality over HTTP: reports, the scorecard, the rows behind a number, sketches."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

from fastapi import APIRouter, Request, Response

from yaosu import listing as shelf
from yaosu import present, review
from yaosu.errors import InvalidInput
from yaosu.identity import absent, can_see, may
from yaosu.model import Actor, Listing, Role, StoredReport, Venue
from yaosu.ports import Reader
from yaosu.quality import attestation, manual_sample, market_overlap
from yaosu.web.door import StrictRoute, in_children, json_response, market_of, read
from yaosu_validators.scorecard import scorecard

router = APIRouter(prefix="/v1", route_class=StrictRoute, tags=["market"])


@router.get("/listings/{listing_id}/report")
async def listing_report(request: Request, listing_id: str) -> Response:
    """Return the validation report of a listing."""

    def look(reader: Reader, actor: Actor | None) -> dict[str, Any]:
        found = shelf.load(reader, actor, listing_id)
        if found.report_id is None:
            raise absent("report", listing_id)
        return _report(reader, found, reader.get(StoredReport, found.report_id), actor)

    return json_response(await read(request, look))


@router.get("/listings/{listing_id}/sketch", tags=["reports"])
async def listing_sketch(request: Request, listing_id: str) -> Response:
    """Return the sketch of a version: a sample of hashes to estimate an overlap by."""

    def look(reader: Reader, actor: Actor | None) -> bytes:
        found = shelf.load(reader, actor, listing_id)
        kept = reader.view(f"sketch:{found.id}")
        if kept is None:
            raise absent("sketch", listing_id)
        return kept[1]

    return Response(await read(request, look), media_type="application/json")


@router.get("/listings/{listing_id}/scorecard", tags=["reports"])
async def listing_scorecard(request: Request, listing_id: str) -> Response:
    """Return the measures of a version under the names of their sources, with their counts."""

    def look(reader: Reader, actor: Actor | None) -> dict[str, Any]:
        found = shelf.load(reader, actor, listing_id)
        if found.report_id is None:
            raise absent("report", listing_id)
        kept = reader.get(StoredReport, found.report_id)
        return {
            "listing_id": found.id,
            "report_id": kept.id,
            "report_digest": kept.digest,
            **scorecard(measured(reader, found, kept.body)).as_json(),
            "shares_content_with": market_overlap.shown(reader, found, actor),
        }

    return json_response(await read(request, look))


@router.get("/listings/{listing_id}/attestation", tags=["reports"])
async def listing_attestation(request: Request, listing_id: str) -> Response:
    """Return the market's signed word on the quality of a version, which `yaosu verify` checks."""
    log = market_of(request).log

    def look(reader: Reader, actor: Actor | None) -> dict[str, Any]:
        return attestation.build(reader, log, shelf.load(reader, actor, listing_id))

    return json_response(await read(request, look))


@router.get("/listings/{listing_id}/records")
async def listing_records(
    request: Request, listing_id: str, resource: str, rows: str = ""
) -> Response:
    """Return records by the row numbers of the report, to those who may read the data."""
    numbers = row_numbers(rows)
    found, actor = await read(request, partial(readable, listing_id=listing_id))
    await noted(request, found, actor, resource, len(numbers))
    look_inside = partial(market_of(request).records, found, resource, numbers)
    return json_response(await in_children(look_inside))


def measured(reader: Reader, found: Listing, body: dict[str, Any]) -> dict[str, Any]:
    """Return a report with what people and the market measured since, for its scorecard."""
    more = [*manual_sample.measures(reader, found), *market_overlap.measures(reader, found)]
    return {**body, "metrics": [*(body.get("metrics") or ()), *more]} if more else body


def readable(reader: Reader, actor: Actor | None, listing_id: str) -> tuple[Listing, Actor | None]:
    """Return a listing whose data the actor may read; to others its rows do not exist."""
    found = shelf.load(reader, actor, listing_id)
    if not may(actor, "data.read", found, reader.get(Venue, found.venue)):
        raise absent("records", listing_id)
    return found, actor


async def noted(
    request: Request, found: Listing, actor: Actor | None, resource: str | None, rows: int
) -> None:
    """Leave an event of a reviewer's look at the data before it is shown."""
    if actor is not None and Role.REVIEWER in actor.roles:
        store = market_of(request).store
        seen = store.submit(lambda tx: review.read_by_reviewer(tx, actor, found.id, resource, rows))
        await asyncio.wrap_future(seen)


def row_numbers(text: str) -> list[int]:
    """Return row numbers from `2,3,17`, at most 200; InvalidInput for anything else."""
    parts = [p for p in text.split(",") if p]
    if len(parts) > 200 or not all(p.isascii() and p.isdigit() and len(p) <= 15 for p in parts):
        raise InvalidInput(
            "rows: numbers between commas, at most 200", "rows：以逗号分隔的行号，最多 200 个",
            field="rows",
        )  # fmt: skip
    return sorted({int(p) for p in parts})


@router.get("/reports/{report_id}", tags=["reports"])
async def report(request: Request, report_id: str) -> Response:
    """Return a validation report; cell values only to those who may read the data."""

    def look(reader: Reader, actor: Actor | None) -> dict[str, Any]:
        kept = reader.one(StoredReport, id=report_id)
        if kept is None:
            raise absent("report", report_id)
        found = reader.get(Listing, kept.listing_id)
        if not can_see(actor, found, reader.get(Venue, found.venue)):
            raise absent("report", report_id)
        return _report(reader, found, kept, actor)

    return json_response(await read(request, look))


def _report(
    reader: Reader, found: Listing, kept: StoredReport, actor: Actor | None
) -> dict[str, Any]:
    venue = reader.get(Venue, found.venue)
    contests = present.contests(found) if kept.id == found.report_id else []
    return present.report(kept, cells=may(actor, "data.read", found, venue), contests=contests)
