"""Native routes: renewals of certificates, and what runs out."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date
from typing import Any
from urllib.parse import quote

from fastapi import APIRouter, Request, Response
from fastapi.responses import StreamingResponse
from pydantic import Field

from yaosu import expiring, renewals
from yaosu.model import Actor
from yaosu.model_renewal import Document, Renewal
from yaosu.ports import Reader, Transaction
from yaosu.web.door import StrictRoute, change, json_response, market_of, page, read_own

from .bodies import Body, Id, Line, Nothing, Paragraph

router = APIRouter(prefix="/v1", route_class=StrictRoute, tags=["renewals"])


class CertificateBody(Body):
    """The certificate that the registration agency has issued for the time to come."""

    scheme: Id = Field(examples=["nda"])
    number: Line = Field(min_length=1, examples=["SJ4412031090001"])
    agency: Line = ""
    registered_at: date | None = None
    valid_until: date = Field(examples=["2031-09-30"])


class DocumentBody(Body):
    name: Line = Field(min_length=1, examples=["续期凭证.pdf"])
    sha256: str = Field(pattern="^[0-9a-f]{64}$", description="of a file that was uploaded")


class NewRenewal(Body):
    certificate: CertificateBody
    documents: list[DocumentBody] = Field(default_factory=list, max_length=10)
    text: Paragraph = ""


class Granted(Body):
    """The certificate as it was checked; without one, as it was asked for."""

    certificate: CertificateBody | None = None
    text: Paragraph = ""


class Refused(Body):
    reason: Paragraph = Field(min_length=1)


def _told(_: Reader, one: Renewal) -> dict[str, Any]:
    return renewals.shown(one)


def _plain(body: CertificateBody | None) -> dict[str, Any] | None:
    return body.model_dump(mode="json") if body else None


@router.post("/listings/{listing_id}/renewals", status_code=201)
async def ask(request: Request, listing_id: str, body: NewRenewal) -> Response:
    """Ask for the renewal of a listing's certificate, with what proves it (provider)."""

    def step(tx: Transaction, actor: Actor) -> Renewal:
        return renewals.ask(
            tx,
            actor,
            listing_id,
            _plain(body.certificate),
            documents=[(d.name, d.sha256) for d in body.documents],
            text=body.text,
        )

    return await change(
        request, step, _told, status=201, location=lambda one: f"/v1/renewals/{one.id}"
    )


@router.get("/renewals")
async def all_renewals(
    request: Request, state: Id = "", cursor: str | None = None, limit: int = 50
) -> Response:
    """List requests: one's own, or those that one may decide; newest first."""
    size = max(1, min(limit, 100))

    def look(reader: Reader, actor: Actor) -> list[Renewal]:
        return renewals.visible(reader, actor, state=state, cursor=cursor, size=size)

    found = await read_own(request, look)
    items = [renewals.shown(one) for one in found]
    return page(request, items, found[-1].id if len(found) == size else None)


@router.get("/renewals/{renewal_id}")
async def one_renewal(request: Request, renewal_id: str) -> Response:
    """Show a request, to its provider and to those who decide."""

    def look(reader: Reader, actor: Actor) -> dict[str, Any]:
        return renewals.shown(renewals.see(reader, actor, renewal_id)[0])

    return json_response(await read_own(request, look))


@router.get("/renewals/{renewal_id}/documents/{number}")
async def one_document(request: Request, renewal_id: str, number: int) -> Response:
    """Send a document of a request as it was uploaded; 0 is the first."""

    def look(reader: Reader, actor: Actor) -> Document:
        return renewals.document(reader, actor, renewal_id, number)

    return sent(request, await read_own(request, look))


def sent(request: Request, one: Document) -> Response:
    """Send a stranger's file so that no browser opens it here."""
    name = quote(one.name, safe="")
    return StreamingResponse(
        market_of(request).blobs.read(one.sha256),
        media_type="application/octet-stream",
        headers={
            "content-length": str(one.bytes),
            "content-disposition": f"attachment; filename*=UTF-8''{name}",
            "cache-control": "private, no-store",
        },
    )


async def _decide(request: Request, step: Callable[[Transaction, Actor], Renewal]) -> Response:
    return await change(request, step, _told)


@router.post("/renewals/{renewal_id}/grant")
async def grant(request: Request, renewal_id: str, body: Granted) -> Response:
    """Keep the renewed certificate (reviewer, or the exchange of the listing's place)."""
    given = _plain(body.certificate)
    return await _decide(
        request, lambda tx, actor: renewals.grant(tx, actor, renewal_id, given, body.text)
    )


@router.post("/renewals/{renewal_id}/refuse")
async def refuse(request: Request, renewal_id: str, body: Refused) -> Response:
    """Refuse a request, with the reason."""
    return await _decide(
        request, lambda tx, actor: renewals.refuse(tx, actor, renewal_id, body.reason)
    )


@router.post("/renewals/{renewal_id}/withdraw")
async def withdraw(request: Request, renewal_id: str, body: Nothing) -> Response:
    """Take one's own request back."""
    return await _decide(request, lambda tx, actor: renewals.withdraw(tx, actor, renewal_id))


@router.get("/expiring")
async def what_ends(request: Request, days: int = expiring.DAYS) -> Response:
    """List what runs out: certificates, offers, notices, periods, access, invoices, keys."""
    now = market_of(request).clock.now()

    def look(reader: Reader, actor: Actor) -> list[dict[str, Any]]:
        return [expiring.shown(e) for e in expiring.gather(reader, actor, now, days)]

    return page(request, await read_own(request, look), None)
