"""Pages of renewals: a provider asks, whoever may register decides; and what runs out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from datetime import date
from typing import Any
from urllib.parse import urlencode

from fastapi import APIRouter, Request, Response

from yaosu import expiring, renewals
from yaosu import listing as shelf
from yaosu.errors import InvalidInput, YaosuError
from yaosu.identity import allow, may
from yaosu.listing import venue_of
from yaosu.model import Actor, Listing
from yaosu.model_renewal import Document, Renewal
from yaosu.ports import Reader, Transaction
from yaosu.web import session
from yaosu.web.api.renewals import sent
from yaosu.web.multipart import FormStream
from yaosu.web.uploads import UNLIMITED
from yaosu_schemas.codes import code_list

from .console import take_form
from .visit import (
    Form,
    PageRoute,
    Visit,
    act,
    market_of,
    one,
    read_form,
    read_of,
    see_other,
    show,
    status_of,
    visit_of,
)

router = APIRouter(route_class=PageRoute, include_in_schema=False)
PAGE = 50
DAYS = (30, 90, 180, 365)


@router.get("/expiring")
async def what_ends(request: Request) -> Response:
    """What runs out for one's organisation, the soonest first."""
    text = request.query_params.get("days", "")
    days = int(text) if text in map(str, DAYS) else expiring.DAYS

    def look(reader: Reader, visit: Visit) -> Mapping[str, Any]:
        now = visit.market.clock.now()
        rows = expiring.gather(reader, visit.known, now, days)
        return {"rows": rows, "now": now, "days": days, "choices": DAYS}

    return await show(request, "expiring.html", look)


@router.get("/renewals")
async def all_renewals(request: Request) -> Response:
    """Requests of one's own, or those that one may decide."""
    cursor = request.query_params.get("cursor") or None

    def look(reader: Reader, visit: Visit) -> Mapping[str, Any]:
        found = renewals.visible(reader, visit.known, cursor=cursor, size=PAGE)
        return {
            "rows": [(r, reader.get(Listing, r.listing_id)) for r in found],
            "after": found[-1].id if len(found) == PAGE else None,
        }

    return await show(request, "renewals.html", look)


# --- asking -----------------------------------------------------------------------------------


def _new_facts(listing_id: str, given: Mapping[str, str] | None = None) -> Any:
    def look(reader: Reader, visit: Visit) -> Mapping[str, Any]:
        actor = visit.known
        listing = shelf.load(reader, actor, listing_id)
        allow(actor, "renewal.ask", listing, venue_of(reader, listing))
        return {
            "listing": listing,
            "reasons": renewals.reasons(reader, listing, visit.market.clock.now().date()),
            "schemes": [e for e in code_list("registration_scheme") if e.code != "none"],
            "given": given or {},
        }

    return look


@router.get("/renewals/new")
async def new(request: Request) -> Response:
    """The form of a request."""
    listing_id = request.query_params.get("listing", "")
    return await show(request, "renewal_new.html", _new_facts(listing_id))


@router.post("/renewals", max_body_size=UNLIMITED)
async def ask(request: Request) -> Response:
    """Take the request with its document from a form."""
    reading = FormStream(request.headers.get("content-type", ""), request.stream())
    fields = await reading.fields()
    market = market_of(request)
    session.from_our_form(market, request, fields.get(session.TOKEN_FIELD, ""))
    listing_id = fields.get("listing", "")

    def provider() -> Actor:
        with market.store.read() as reader:
            actor = session.must_be_known(session.actor_of(market, reader, request))
            listing = shelf.load(reader, actor, listing_id)
            allow(actor, "renewal.ask", listing, venue_of(reader, listing))
            return actor

    actor = await read_of(request, provider)
    try:
        documents = []
        if reading.filename:
            upload = await take_form(request, actor, reading.filename, reading.file())
            documents.append((reading.filename, str(upload.sha256)))

        def step(tx: Transaction) -> Renewal:
            return renewals.ask(
                tx, actor, listing_id, _certificate(fields), documents=documents,
                text=fields.get("text", ""),
            )  # fmt: skip

        made = await asyncio.wrap_future(market.store.submit(step))
    except YaosuError as error:
        facts = _new_facts(listing_id, fields)
        return await show(request, "renewal_new.html", facts, status=status_of(error), error=error)
    return see_other(f"/renewals/{made.id}?{urlencode({'done': 'renewal_asked'})}")


def _certificate(fields: Mapping[str, str]) -> dict[str, Any] | None:
    """Return the certificate of a form, or None where nothing of it was filled in."""
    given: dict[str, Any] = {
        name: fields.get(name, "").strip()[:300] for name in ("scheme", "number", "agency")
    }
    for name in ("registered_at", "valid_until"):
        given[name] = _day(fields.get(name, "").strip(), name)
    return given if given["number"] else None


def _day(text: str, name: str) -> str | None:
    try:
        return date.fromisoformat(text).isoformat() if text else None
    except ValueError:
        raise InvalidInput("a day is YYYY-MM-DD", "日期格式为 YYYY-MM-DD", field=name) from None


# --- deciding ---------------------------------------------------------------------------------


def _facts(renewal_id: str) -> Any:
    def look(reader: Reader, visit: Visit) -> Mapping[str, Any]:
        found, listing = renewals.see(reader, visit.known, renewal_id)
        venue = venue_of(reader, listing)
        return {
            "renewal": found,
            "listing": listing,
            "decides": may(visit.known, "renewal.decide", listing, venue),
            "asks": may(visit.known, "renewal.ask", listing, venue),
        }

    return look


@router.get("/renewals/{renewal_id}")
async def one_renewal(request: Request, renewal_id: str) -> Response:
    """A request, its documents, and what one may do with it."""
    return await show(request, "renewal.html", _facts(renewal_id))


@router.get("/renewals/{renewal_id}/documents/{number}")
async def one_document(request: Request, renewal_id: str, number: int) -> Response:
    """Send a document of a request as it was uploaded."""

    def work() -> Document:
        with market_of(request).store.read() as reader:
            known = visit_of(request, reader).known
            return renewals.document(reader, known, renewal_id, number)

    return sent(request, await read_of(request, work))


def _grant(tx: Transaction, actor: Actor, name: str, form: Form) -> Renewal:
    fields = {key: values[-1] for key, values in form.items()}
    return renewals.grant(tx, actor, name, _certificate(fields), one(form, "text")[:4000])


_STEPS: Mapping[str, Callable[[Transaction, Actor, str, Form], Renewal]] = {
    "grant": _grant,
    "refuse": lambda tx, actor, name, form: renewals.refuse(
        tx, actor, name, one(form, "reason")[:4000]
    ),
    "withdraw": lambda tx, actor, name, _: renewals.withdraw(tx, actor, name),
}


@router.post("/renewals/{renewal_id}/{action}")
async def step(request: Request, renewal_id: str, action: str) -> Response:
    """Decide a request, or take it back."""
    form = await read_form(request)
    do = _STEPS.get(action)
    if do is None:
        raise InvalidInput("no such step", "没有此操作", field="action")

    async def again(error: YaosuError, status: int) -> Response:
        if error.code == "not_found":
            raise error
        return await show(request, "renewal.html", _facts(renewal_id), status=status, error=error)

    return await act(
        request,
        lambda tx, actor: do(tx, actor, renewal_id, form),
        lambda done: f"/renewals/{done.id}?done=step",
        again=again,
    )
