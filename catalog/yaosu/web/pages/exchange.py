"""Pages of an exchange: the day of its place of trading, the other side's file, what differs."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

from fastapi import APIRouter, Request, Response

from yaosu.errors import InvalidInput, TooLarge, YaosuError
from yaosu.exchange import callbacks, reconcile, sheets, statement
from yaosu.exchange.statement import Statement
from yaosu.identity import absent
from yaosu.model import Actor, Venue
from yaosu.model_outside import Reconciliation
from yaosu.ports import Reader, Transaction
from yaosu.web import session
from yaosu.web.api.exchange import FIRST_LINES, MAX_FILE, table
from yaosu.web.door import in_children
from yaosu.web.multipart import FormStream
from yaosu.web.strict import parse

from .visit import PageRoute, Visit, market_of, see_other, show, status_of

router = APIRouter(route_class=PageRoute, include_in_schema=False)
PAGE = 50


def _today(visit: Visit) -> str:
    return visit.market.clock.now().astimezone(statement.BEIJING).date().isoformat()


def _venues(reader: Reader, actor: Actor) -> list[Venue]:
    found = reader.find(Venue, party_id=actor.party_id, limit=100)
    return [v for v in found if "exchange" in actor.roles]


@router.get("/exchange")
async def exchange(request: Request) -> Response:
    """The day of one's own place of trading, and the form for the other side's file."""
    return await _day_page(request)


async def _day_page(
    request: Request,
    *,
    venue_id: str = "",
    day: str = "",
    error: YaosuError | None = None,
    status: int = 200,
) -> Response:
    wanted = venue_id or request.query_params.get("venue", "")
    asked = day or request.query_params.get("day", "")

    def look(reader: Reader, visit: Visit) -> Mapping[str, Any]:
        venues = _venues(reader, visit.known)
        chosen = wanted or (venues[0].id if venues else "")
        venue = callbacks.venue_held(reader, visit.known, chosen)
        at = statement.day_of(asked or _today(visit))
        made = statement.of_day(reader, venue, at)
        found = reader.find(Reconciliation, venue=venue.id, limit=PAGE, newest=True)
        return {
            "venues": venues,
            "venue": venue,
            "day": at.isoformat(),
            "lines": [statement.line_json(line) for line in made.lines[:FIRST_LINES]],
            "more": max(0, len(made.lines) - FIRST_LINES),
            "totals": made.totals,
            "titles": statement.TITLES,
            "money": statement.MONEY,
            "compared": [reconcile.shown(r, most=0) for r in found],
            "outcomes": reconcile.OUTCOMES,
        }

    return await show(request, "exchange.html", look, slow=True, status=status, error=error)


@router.get("/exchange/{venue_id}/statement.{format}")
async def statement_file(request: Request, venue_id: str, format: str) -> Response:
    """Give the statement of a day as a file."""
    day = request.query_params.get("day", "")
    made = await asyncio.to_thread(_statement, request, venue_id, day)
    return _file(format, f"{venue_id}-{day}", statement.header(), statement.rows(made))


def _statement(request: Request, venue_id: str, day: str) -> Statement:
    market = market_of(request)
    with market.store.read() as reader:
        actor = session.must_be_known(session.actor_of(market, reader, request))
        venue = callbacks.venue_held(reader, actor, venue_id)
        return statement.of_day(reader, venue, statement.day_of(day))


def _file(format_: str, name: str, header: list[str], rows: list[Any]) -> Response:
    if format_ not in (sheets.CSV, sheets.XLSX):
        raise absent("file", f"{name}.{format_}")
    answer = table(format_, name, header, rows)
    answer.headers["cache-control"] = "no-store"
    return answer


@router.post("/exchange/{venue_id}/reconciliation", max_body_size=MAX_FILE + (1 << 16))
async def compare(request: Request, venue_id: str) -> Response:
    """Compare a day with the file of the form, keep the outcome, and show it."""
    reading = FormStream(request.headers.get("content-type", ""), request.stream())
    fields = await reading.fields()
    market = market_of(request)
    session.from_our_form(market, request, fields.get(session.TOKEN_FIELD, ""))
    day = fields.get("day", "")
    try:
        ours = await asyncio.to_thread(_statement, request, venue_id, day)
        data = await _whole(reading)
        kind = _kind(reading.filename)
        key, theirs = await in_children(
            lambda: reconcile.read(data, kind, fields.get("form", ""), parse)
        )
        result = await asyncio.to_thread(reconcile.compare, ours, key, theirs)
    except YaosuError as error:
        if error.code in ("not_found", "forbidden", "unauthenticated"):
            raise
        return await _day_page(request, venue_id=venue_id, error=error, status=status_of(error))
    digest = hashlib.sha256(data).hexdigest()

    def step(tx: Transaction) -> Reconciliation:
        actor = session.must_be_known(session.actor_of(market, tx, request))
        venue = callbacks.venue_held(tx, actor, venue_id)
        return reconcile.keep(tx, actor, venue, day, digest, result)

    made = await asyncio.wrap_future(market.store.submit(step))
    return see_other(f"/exchange/{quote(venue_id)}/reconciliations/{made.id}")


async def _whole(reading: FormStream) -> bytes:
    data = bytearray()
    async for chunk in reading.file():
        data += chunk
        if len(data) > MAX_FILE:
            raise TooLarge("the file is too large", "文件过大", limit=MAX_FILE)
    return bytes(data)


def _kind(filename: str) -> str:
    kind = filename.rpartition(".")[2].lower()
    if kind not in sheets.MEDIA:
        raise InvalidInput(
            "the file ends in .csv, .xlsx or .json", "文件应为 .csv、.xlsx 或 .json", field="file"
        )
    return kind


def _compared(reader: Reader, actor: Actor, venue_id: str, name: str) -> Reconciliation:
    venue = callbacks.venue_held(reader, actor, venue_id)
    found = reader.one(Reconciliation, id=name)
    if found is None or found.venue != venue.id:
        raise absent("reconciliation", name)
    return found


@router.get("/exchange/{venue_id}/reconciliations/{name}.{format}")
async def comparison_file(request: Request, venue_id: str, name: str, format: str) -> Response:
    """Give what was compared as a file."""
    market = market_of(request)

    def work() -> Reconciliation:
        with market.store.read() as reader:
            actor = session.must_be_known(session.actor_of(market, reader, request))
            return _compared(reader, actor, venue_id, name)

    made = await asyncio.to_thread(work)
    title = f"{venue_id}-{made.day}-reconciliation"
    return _file(format, title, reconcile.header(), reconcile.rows(made))


@router.get("/exchange/{venue_id}/reconciliations/{name}")
async def comparison(request: Request, venue_id: str, name: str) -> Response:
    """What matched, what is missing on either side, and what differs, field by field."""
    outcome = request.query_params.get("outcome", "")

    def look(reader: Reader, visit: Visit) -> Mapping[str, Any]:
        made = _compared(reader, visit.known, venue_id, name)
        items = [i for i in made.result["items"] if not outcome or i["outcome"] == outcome]
        return {
            "made": reconcile.shown(made, most=0),
            "items": items[:FIRST_LINES],
            "more": max(0, len(items) - FIRST_LINES),
            "result": made.result,
            "outcomes": reconcile.OUTCOMES,
            "outcome": outcome,
            "titles": statement.TITLES,
            "money": statement.MONEY,
            "at": made.created_at,
        }

    return await show(request, "reconciliation.html", look)
