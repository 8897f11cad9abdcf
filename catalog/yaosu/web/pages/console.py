"""Pages of a provider: own listings, new ones from a descriptor, files, texts, standing offers."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace
from datetime import timedelta
from typing import Any
from urllib.parse import quote

from fastapi import APIRouter, Request, Response
from fastapi.responses import JSONResponse

from yaosu import listing as shelf
from yaosu import present, review
from yaosu.errors import Malformed, TooLarge, YaosuError
from yaosu.identity import absent, allow
from yaosu.listing import venue_of
from yaosu.model import (
    Actor,
    Dataset,
    Holding,
    Listing,
    Party,
    SigningKey,
    StoredReport,
    Upload,
    Venue,
    new_id,
)
from yaosu.ports import Reader, Transaction
from yaosu.trading import negotiation
from yaosu.web import session, uploads
from yaosu.web.multipart import FormStream
from yaosu.web.strict import parse
from yaosu_schemas.canonical import digest

from .review import step_of
from .steps_forms import listing_forms
from .trade import signature_of
from .visit import (
    MAX_DOCUMENT_FORM,
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
)

router = APIRouter(route_class=PageRoute, include_in_schema=False)
PAGE = 50
CHUNK = 1 << 20
UNLIMITED = uploads.UNLIMITED


@router.get("/console")
async def console(request: Request) -> Response:
    """The provider's own versions, newest first, with what each still waits for."""
    cursor = request.query_params.get("cursor")

    def look(reader: Reader, visit: Visit) -> Mapping[str, Any]:
        actor = visit.known
        allow(actor, "listing.create")
        found = reader.find(
            Listing, provider_id=actor.party_id, after=cursor, limit=PAGE, newest=True
        )
        party = reader.get(Party, actor.party_id)
        return {
            "rows": [_row(reader, v) for v in found],
            "after": found[-1].id if len(found) == PAGE else None,
            "verified": party.verified_at is not None,
        }

    return await show(request, "console.html", look)


def _row(reader: Reader, listing: Listing) -> dict[str, Any]:
    waits = listing.state in ("draft", "returned")
    problems = (
        shelf.submission_problems(reader, listing.provider_id, listing.descriptor) if waits else []
    )
    return {
        "listing": listing,
        "venue": reader.get(Venue, listing.venue),
        "errors": sum(p.severity == "error" for p in problems),
        "waits": waits,
    }


# --- drafts -----------------------------------------------------------------------------------


def _new_facts(form: Form | None, dataset: Dataset | None) -> Any:
    def look(reader: Reader, visit: Visit) -> Mapping[str, Any]:
        allow(visit.known, "listing.create")
        return {
            "given": form or {},
            "venues": reader.find(Venue, limit=100),
            "dataset": dataset,
            "document": _last_document(reader, dataset),
            "max_bytes": MAX_DOCUMENT_FORM,
        }

    return look


def _last_document(reader: Reader, dataset: Dataset | None) -> str:
    if dataset is None:
        return ""
    last = reader.find(Listing, dataset_id=dataset.id, newest=True, limit=1)
    return _pretty(last[0].descriptor) if last else ""


def _pretty(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, indent=2)


def _own_dataset(reader: Reader, actor: Actor, dataset_id: str) -> Dataset:
    dataset = reader.one(Dataset, id=dataset_id)
    if dataset is None or dataset.provider_id != actor.party_id:
        raise absent("dataset", dataset_id)
    return dataset


@router.get("/console/new")
async def new(request: Request) -> Response:
    """The form for a new dataset, or for the next version of one."""
    wanted = request.query_params.get("dataset")

    def look(reader: Reader, visit: Visit) -> Mapping[str, Any]:
        dataset = _own_dataset(reader, visit.known, wanted) if wanted else None
        facts: Mapping[str, Any] = _new_facts(None, dataset)(reader, visit)
        return facts

    return await show(request, "console_new.html", look)


@router.post("/console/new", max_body_size=MAX_DOCUMENT_FORM)
async def create(request: Request) -> Response:
    """Make a draft from a pasted datapackage.json; what is missing is shown on its page."""
    form = await read_form(request, MAX_DOCUMENT_FORM)

    def step(tx: Transaction, actor: Actor) -> Listing:
        document = _document(form)
        if one(form, "dataset"):
            return shelf.new_version(tx, actor, one(form, "dataset"), document)
        return shelf.create_dataset(
            tx,
            actor,
            document,
            venue=one(form, "venue", "otc"),
            view_policy=one(form, "view_policy", "public"),
        )[1]

    async def again(error: YaosuError, status: int) -> Response:
        def look(reader: Reader, visit: Visit) -> Mapping[str, Any]:
            dataset = reader.one(Dataset, id=one(form, "dataset")) if one(form, "dataset") else None
            facts: Mapping[str, Any] = _new_facts(form, dataset)(reader, visit)
            return facts

        return await show(request, "console_new.html", look, status=status, error=error)

    return await act(
        request, step, lambda made: f"/console/listings/{made.id}?done=draft", again=again
    )


def _document(form: Form) -> dict[str, Any]:
    text = one(form, "descriptor")
    value = parse(text.encode("utf-8", "surrogatepass"))
    if not isinstance(value, dict):
        raise Malformed("a descriptor is a JSON object", "描述文件应为 JSON 对象")
    return value


# --- one listing ------------------------------------------------------------------------------


@router.get("/console/listings/{listing_id}")
async def one_listing(request: Request, listing_id: str) -> Response:
    """A version in the provider's hands: state, problems, files, offer, texts."""
    return await listing_view(request, listing_id)


async def listing_view(
    request: Request,
    listing_id: str,
    error: YaosuError | None = None,
    status: int = 200,
    form: Form | None = None,
) -> Response:
    def look(reader: Reader, visit: Visit) -> Mapping[str, Any]:
        return {**console_facts(reader, visit, listing_id), "given": form or {}}

    return await show(request, "console_listing.html", look, status=status, error=error)


def _own(reader: Reader, actor: Actor, listing_id: str) -> Listing:
    listing = shelf.load(reader, actor, listing_id)
    if listing.provider_id != actor.party_id:
        raise absent("listing", listing_id)
    return listing


def console_facts(reader: Reader, visit: Visit, listing_id: str) -> dict[str, Any]:
    """Return what the page of a version shows to its provider."""
    actor = visit.known
    listing = _own(reader, actor, listing_id)
    venue = venue_of(reader, listing)
    report = reader.get(StoredReport, listing.report_id) if listing.report_id else None
    editable = listing.state in ("draft", "returned")
    problems = (
        shelf.submission_problems(reader, listing.provider_id, listing.descriptor)
        if editable
        else []
    )
    offer = listing.standing_offer or _offer_to_sign(reader, listing)
    return {
        "listing": listing,
        "pkg": listing.descriptor,
        "dataset": reader.get(Dataset, listing.dataset_id),
        "venue": venue,
        "venues": reader.find(Venue, limit=100),
        "editable": editable,
        "problems": problems,
        "files": [_file(reader, listing, *f) for f in shelf.files_of(listing.descriptor)]
        if _has_resources(listing)
        else [],
        "report": present.report(report, cells=True) if report else None,
        "summary": present.report_summary(report) if report else None,
        "remarks": [
            {"remark": r, "party": present.party(reader.get(Party, r.party_id))}
            for r in listing.remarks
        ],
        "forms": listing_forms(listing, venue, actor),
        "schemes": [],
        "offer": offer,
        "offer_digest": digest(offer) if offer else None,
        "may_offer": offer is not None
        and listing.state in ("draft", "returned", "review", "notice", "registered", "listed"),
        "may_edit_text": listing.state in ("listed", "suspended"),
        "signing_keys": [
            present.signing_key(k)
            for k in reader.find(SigningKey, party_id=actor.party_id, limit=200)
            if k.revoked_at is None
        ],
        "document": _pretty(listing.descriptor),
        "events": reader.events(listing.id),
        "moving": listing.state in ("submitted", "validating"),
        "uploads": [
            u
            for u in reader.find(Upload, party_id=actor.party_id, state="open", limit=50)
            if u.expires_at > visit.market.clock.now()
        ],
    }


def _has_resources(listing: Listing) -> bool:
    return isinstance(listing.descriptor.get("resources"), list)


def _offer_to_sign(reader: Reader, listing: Listing) -> dict[str, Any] | None:
    """Return the standing offer that the provider could sign, if the version has prices."""
    element = listing.descriptor.get("dataElement")
    offer = element.get("offer") if isinstance(element, dict) else None
    modes = {p.get("mode") for p in (offer or {}).get("pricing") or () if isinstance(p, dict)}
    if not modes - {"negotiated"}:
        return None
    try:
        return negotiation.standing_offer_of(reader, listing)
    except (YaosuError, KeyError, TypeError, ValueError):
        return None


def _file(
    reader: Reader, listing: Listing, pointer: str, path: str, sha256: str, size: int | None
) -> dict[str, Any]:
    held = (
        reader.one(Holding, party_id=listing.provider_id, sha256=sha256) is not None
        if sha256
        else False
    )
    return {"path": path, "sha256": sha256, "bytes": size, "held": held, "pointer": pointer}


@router.post("/console/listings/{listing_id}/revise", max_body_size=MAX_DOCUMENT_FORM)
async def revise(request: Request, listing_id: str) -> Response:
    """Replace the descriptor of a draft or of a returned version."""
    form = await read_form(request, MAX_DOCUMENT_FORM)
    return await _do(
        request,
        listing_id,
        lambda tx, actor: shelf.revise(
            tx,
            actor,
            listing_id,
            _document(form),
            venue=one(form, "venue") or None,
            view_policy=one(form, "view_policy") or None,
        ),
        form,
    )


@router.post("/console/listings/{listing_id}/edit_text")
async def edit_text(request: Request, listing_id: str) -> Response:
    """Change words of a listed version that no digest covers."""
    form = await read_form(request)

    def step(tx: Transaction, actor: Actor) -> Listing:
        now = _own(tx, actor, listing_id).descriptor
        wanted: dict[str, Any] = {
            "title": one(form, "title"),
            "description": one(form, "description"),
            "keywords": [k.strip() for k in re.split("[,，]", one(form, "keywords")) if k.strip()],
        }
        changes = {n: v for n, v in wanted.items() if v != (now.get(n) or type(v)())}
        return review.edit_text(tx, actor, listing_id, changes)

    return await _do(request, listing_id, step, form)


@router.post("/console/listings/{listing_id}/offer")
async def offer(request: Request, listing_id: str) -> Response:
    """Sign the standing offer, so that it can be taken in one step."""
    form = await read_form(request)
    sign = market_of(request).sign_for
    return await _do(
        request,
        listing_id,
        lambda tx, actor: negotiation.offer_standing(
            tx, actor, listing_id, signature_of(form), sign
        ),
        form,
    )


async def _do(request: Request, listing_id: str, do: Any, form: Form) -> Response:
    async def again(error: YaosuError, status: int) -> Response:
        if error.code == "not_found":
            raise error
        return await listing_view(request, listing_id, error, status, form)

    here = f"/console/listings/{quote(listing_id)}"
    return await act(request, do, lambda _: f"{here}?done=step", again=again)


# --- files ------------------------------------------------------------------------------------


@router.get("/console/held/{sha256}")
async def held(request: Request, sha256: str) -> Response:
    """Tell a script of these pages whether one's own party has uploaded these bytes already."""
    market = market_of(request)

    def work() -> bool:
        with market.store.read() as reader:
            actor = session.must_be_known(session.actor_of(market, reader, request))
            mine = {"party_id": actor.party_id, "sha256": sha256[:64].lower()}
            return reader.one(Holding, **mine) is not None

    found = await read_of(request, work)
    return JSONResponse({"held": found}, headers={"cache-control": "no-store"})


@router.post("/console/listings/{listing_id}/files", max_body_size=UNLIMITED)
async def upload(request: Request, listing_id: str) -> Response:
    """Take one file of a plain form into the same machinery as a resumable upload."""
    reading = FormStream(request.headers.get("content-type", ""), request.stream())
    fields = await reading.fields()
    market = market_of(request)
    session.from_our_form(market, request, fields.get(session.TOKEN_FIELD, ""))

    def owner() -> Actor:
        with market.store.read() as reader:
            actor = session.must_be_known(session.actor_of(market, reader, request))
            _own(reader, actor, listing_id)
            return actor

    actor = await read_of(request, owner)
    try:
        await take_form(request, actor, reading.filename, reading.file())
    except YaosuError as error:
        return await listing_view(request, listing_id, error, status_of(error))
    return see_other(f"/console/listings/{quote(listing_id)}?done=uploaded#files")


async def take_form(
    request: Request, actor: Actor, filename: str, chunks: AsyncIterator[bytes]
) -> Upload:
    """Write a stream whose length is known only as at most the body's, then publish it."""
    market = market_of(request)
    declared = request.headers.get("content-length", "")
    if not declared.isascii() or not declared.isdigit() or len(declared) > 18:
        raise Malformed("the length of the form is needed", "需要 Content-Length")
    most = int(declared)
    if most > market.settings.max_upload_bytes:
        raise TooLarge("the file is too large", "文件过大", limit=market.settings.max_upload_bytes)

    def begin(tx: Transaction) -> Upload:
        allow(actor, "upload")
        uploads.within_quota(tx, market, actor, most)
        made = Upload(
            id=new_id("upl"),
            party_id=actor.party_id,
            length=most,
            filename=filename[:255],
            created_at=tx.now,
            expires_at=tx.now + timedelta(days=1),
        )
        market.uploads.create(made.id, most)
        tx.add(made)
        return made

    made = await asyncio.wrap_future(market.store.submit(begin))
    try:
        size = await _write(market, made, chunks)
        whole = replace(made, length=size, offset=size)
        await asyncio.wrap_future(market.store.submit(lambda tx: tx.put(whole)))
        await asyncio.to_thread(uploads.finish, market, whole)
    except BaseException:
        gone = replace(made, state="removed")
        await asyncio.wrap_future(market.store.submit(lambda tx: tx.put(gone)))
        await asyncio.to_thread(market.uploads.remove, made.id)
        raise
    with market.store.read() as reader:
        return reader.get(Upload, made.id)


async def _write(market: Any, made: Upload, chunks: AsyncIterator[bytes]) -> int:
    appending = await asyncio.to_thread(market.uploads.resume, made.id, 0, made.length)
    buffer = bytearray()
    try:
        async for chunk in chunks:
            buffer += chunk
            if len(buffer) >= CHUNK:
                await asyncio.to_thread(appending.write, bytes(buffer))
                buffer.clear()
        await asyncio.to_thread(appending.write, bytes(buffer))
        return int(await asyncio.to_thread(appending.sync))
    finally:
        await asyncio.to_thread(appending.close)


# Last, since it takes every other name of a step.
@router.post("/console/listings/{listing_id}/{action}")
async def step(request: Request, listing_id: str, action: str) -> Response:
    """Take a step of the listing's table as its provider."""
    form = await read_form(request)
    return await _do(request, listing_id, step_of(action, listing_id, form), form)
