"""Native routes: datasets, listings, search, review, reports."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any

from fastapi import APIRouter, Query, Request, Response

from yaosu import listing as shelf
from yaosu import present, review
from yaosu.errors import InvalidInput, Problem
from yaosu.identity import absent, allow, can_see, may
from yaosu.model import (
    Actor,
    Dataset,
    Holding,
    Listing,
    ListingState,
    Party,
    StoredReport,
    Venue,
)
from yaosu.package_files import judged
from yaosu.ports import Reader, SearchQuery, Transaction
from yaosu.trading import negotiation
from yaosu.web.door import (
    StrictRoute,
    beside,
    change,
    etag_of,
    in_children,
    json_response,
    market_of,
    must_match,
    page,
    read,
    read_own,
)
from yaosu_schemas.canonical import digest
from yaosu_schemas.texts import clip

from . import bodies
from .quality import noted

router = APIRouter(prefix="/v1", route_class=StrictRoute, tags=["market"])

FACETS: Mapping[str, str | None] = {
    "modality": "modality",
    "language": None,
    "licence": "licence",
    "industry": "industry",
    "dex12": "dex12",
    "hq_field": "hq_field",
    "stage": "stage",
    "region": "division",
    "price_band": None,
    "publisher": None,
    "size": None,
    "quality": None,
    "venue": "exchange",
    "object_type": "object_type",
}
"""The facets of the search, and the code list that names their values."""

BIG = 16 << 20
DEFAULT_FACETS = ("modality", "language", "licence", "industry", "stage", "price_band")


def shown(reader: Reader, listing: Listing, actor: Actor | None) -> dict[str, Any]:
    """Return the listing as this actor may see it."""
    report = reader.get(StoredReport, listing.report_id) if listing.report_id else None
    venue = reader.get(Venue, listing.venue)
    return present.listing(
        listing,
        reader.get(Party, listing.provider_id),
        report=report,
        private=may(actor, "listing.read_draft", listing, venue),
    )


def problems_json(problems: list[Problem]) -> list[dict[str, str]]:
    return [p.as_json() for p in problems]


# --- datasets ---------------------------------------------------------------------------------


@router.post("/problems", max_body_size=BIG)
async def problems(request: Request, body: bodies.DescriptorBody) -> Response:
    """Say everything that a submission of this descriptor would be refused for; changes nothing."""

    def who(reader: Reader, actor: Actor) -> str:
        allow(actor, "listing.create")
        return actor.party_id

    party_id = await read_own(request, who)
    found = await _would_be_refused(request, party_id, body.descriptor)
    return json_response({"problems": problems_json(found)})


async def _would_be_refused(
    request: Request, party_id: str, descriptor: dict[str, Any]
) -> list[Problem]:
    """Judge a descriptor beside the loop and the writer; what was found is remembered."""

    def look() -> list[Problem]:
        with market_of(request).store.read() as reader:
            return shelf.submission_problems(reader, party_id, descriptor)

    return await beside(look)


@router.post("/datasets", status_code=201, max_body_size=BIG)
async def new_dataset(request: Request, body: bodies.NewDataset) -> Response:
    """Register a dataset with a first draft; a plain Data Package is told what is missing."""

    def step(tx: Transaction, actor: Actor) -> tuple[Dataset, Listing]:
        return shelf.create_dataset(
            tx,
            actor,
            body.descriptor,
            venue=body.venue,
            view_policy=body.view_policy,
            invited=tuple(body.invited),
            origin_id=body.origin_id,
        )

    def render(reader: Reader, made: tuple[Dataset, Listing]) -> dict[str, Any]:
        found = judged(made[1].descriptor, "draft")
        provider = reader.get(Party, made[1].provider_id)
        return {
            "dataset": present.dataset(made[0], [made[1]]),
            "listing": present.listing(made[1], provider, private=True),
            "problems": problems_json(found),
        }

    await beside(lambda: judged(body.descriptor, "draft"))
    return await change(
        request, step, render, status=201, location=lambda m: f"/v1/listings/{m[1].id}"
    )


@router.get("/datasets")
async def datasets(request: Request, cursor: str | None = None, limit: int = 50) -> Response:
    """List one's own datasets."""
    size = max(1, min(limit, 100))

    def look(reader: Reader, actor: Actor) -> list[dict[str, Any]]:
        found = reader.find(Dataset, provider_id=actor.party_id, after=cursor, limit=size)
        return [
            present.dataset(d, reader.find(Listing, dataset_id=d.id, limit=1000)) for d in found
        ]

    items = await read_own(request, look)
    return page(request, items, items[-1]["dataset_id"] if len(items) == size else None)


@router.get("/datasets/{dataset_id}")
async def one_dataset(request: Request, dataset_id: str) -> Response:
    """Show a dataset with the versions that exist for the asker."""

    def look(reader: Reader, actor: Actor | None) -> dict[str, Any]:
        dataset = reader.one(Dataset, id=dataset_id)
        if dataset is None:
            raise absent("dataset", dataset_id)
        versions = [
            v
            for v in reader.find(Listing, dataset_id=dataset.id, limit=1000)
            if can_see(actor, v, reader.get(Venue, v.venue))
        ]
        if not versions:
            raise absent("dataset", dataset_id)
        return present.dataset(dataset, versions)

    return json_response(await read(request, look))


@router.post("/datasets/{dataset_id}/versions", status_code=201, max_body_size=BIG)
async def new_version(request: Request, dataset_id: str, body: bodies.DescriptorBody) -> Response:
    """Start the next version; the one that is listed stays until this one is."""

    def render(reader: Reader, made: Listing) -> dict[str, Any]:
        found = judged(made.descriptor, "draft")
        provider = reader.get(Party, made.provider_id)
        return {
            "listing": present.listing(made, provider, private=True),
            "problems": problems_json(found),
        }

    await beside(lambda: judged(body.descriptor, "draft"))
    return await change(
        request,
        lambda tx, actor: shelf.new_version(tx, actor, dataset_id, body.descriptor),
        render,
        status=201,
        location=lambda made: f"/v1/listings/{made.id}",
    )


# --- search -----------------------------------------------------------------------------------


def search_query(
    params: Mapping[str, list[str]], viewer: str | None, lang: str = "zh"
) -> SearchQuery:
    """Return the query that the parameters ask for; unknown names are refused."""

    def one(name: str, default: str) -> str:
        return params.get(name, [default])[-1]

    if unknown := set(params) - {*FACETS, "q", "sort", "limit", "cursor", "facets", "lang"}:
        raise InvalidInput(
            f"unknown parameters: {clip(sorted(unknown))}; facets are: {', '.join(FACETS)}",
            f"未知参数：{clip(sorted(unknown))}；可用分面：{'、'.join(FACETS)}",
            fields=[clip(name, 40) for name in sorted(unknown)[:4]],
        )
    if any(len(value) > 200 for name in FACETS for value in params.get(name, ())):
        raise InvalidInput("a facet's value has at most 200 characters", "分面取值最多 200 个字符")
    limit = one("limit", "20")
    if not limit.isascii() or not limit.isdigit() or not 1 <= int(limit[:4]) <= 100:
        raise InvalidInput("limit is 1 to 100", "limit 为 1–100", field="limit")
    wanted = [f for f in one("facets", ",".join(DEFAULT_FACETS)).split(",") if f]
    if bad := [f for f in wanted if f not in FACETS]:
        raise InvalidInput(
            f"no such facets: {clip(bad)}", f"没有这些分面：{clip(bad)}", field="facets"
        )
    return SearchQuery(
        text=one("q", "")[:1000],
        filters={"state": ["listed"], **{f: params[f][:50] for f in FACETS if f in params}},
        sort=one("sort", "relevance" if params.get("q", [""])[-1] else "newest")[:40],
        limit=int(limit),
        cursor=params["cursor"][-1] if "cursor" in params else None,
        facets=wanted,
        viewer=viewer,
        lang=one("lang", lang),
    )


def facet_json(name: str, counts: Any) -> list[dict[str, Any]]:
    codes = FACETS[name]
    return [
        {
            "value": value,
            "count": count,
            "label": present.label(codes, value, "en") if codes else value,
            "label_zh": present.label(codes, value, "zh") if codes else value,
        }
        for value, count in counts
    ]


@router.get("/listings")
async def search(
    request: Request,
    q: str = "",
    sort: str | None = Query(default=None, examples=["newest"]),
    limit: int = 20,
    cursor: str | None = None,
) -> Response:
    """Search listings: text, facets (OR inside one, AND between), counts, stable cursor."""
    params: dict[str, list[str]] = {}
    for name, value in request.query_params.multi_items():
        params.setdefault(name, []).append(value)
    actor = await read(request, lambda _, who: who)
    query = search_query(params, actor.party_id if actor else None)
    found = await asyncio.to_thread(market_of(request).search.search, query)
    body = {
        "items": [
            {"listing_id": h.listing_id, "card": h.card, "snippet": h.snippet, "score": h.score}
            for h in found.hits
        ],
        "total": found.total,
        "facets": {name: facet_json(name, counts) for name, counts in found.facets.items()},
        "next": found.cursor,
    }
    headers = {}
    if found.cursor:
        url = request.url.include_query_params(cursor=found.cursor)
        headers["link"] = f'<{url.path}?{url.query}>; rel="next"'
    return json_response(body, headers=headers)


@router.get("/suggest")
async def suggest(request: Request, q: str = "") -> Response:
    """Complete what is being typed."""
    items = await asyncio.to_thread(market_of(request).search.suggest, q[:100])
    return json_response({"items": items})


# --- listings ---------------------------------------------------------------------------------


@router.get("/my/listings")
async def my_listings(
    request: Request,
    state: str | None = None,
    q: str = "",
    cursor: str | None = None,
    limit: int = 50,
) -> Response:
    """List the versions that one's own party provides, newest first; with `q`, search them."""
    size = max(1, min(limit, 100))
    wanted = {"state": _state(state)} if state else {}
    if q.strip():
        return await _search_mine(request, q, wanted, cursor, size)

    def look(reader: Reader, actor: Actor) -> list[dict[str, Any]]:
        found = reader.find(
            Listing, provider_id=actor.party_id, after=cursor, limit=size, newest=True, **wanted
        )
        return [shown(reader, v, actor) for v in found]

    items = await read_own(request, look)
    return page(request, items, items[-1]["listing_id"] if len(items) == size else None)


async def _search_mine(
    request: Request, q: str, wanted: Mapping[str, str], cursor: str | None, size: int
) -> Response:
    def who(reader: Reader, actor: Actor) -> tuple[Actor, str]:
        return actor, reader.get(Party, actor.party_id).slug

    actor, slug = await read_own(request, who)
    query = SearchQuery(
        text=q[:1000],
        filters={"publisher": [slug], **{name: [value] for name, value in wanted.items()}},
        limit=size,
        cursor=cursor,
        viewer=actor.party_id,
    )
    found = await asyncio.to_thread(market_of(request).search.search, query)

    def look(reader: Reader, actor: Actor) -> list[dict[str, Any]]:
        kept = [reader.one(Listing, id=hit.listing_id) for hit in found.hits]
        return [shown(reader, v, actor) for v in kept if v is not None]

    return page(request, await read_own(request, look), found.cursor)


def _state(text: str) -> ListingState:
    try:
        return ListingState(text)
    except ValueError:
        raise InvalidInput(
            f"states are: {', '.join(ListingState)}",
            f"状态取值：{'、'.join(ListingState)}",
            field="state",
        ) from None


REVIEWED = (ListingState.REVIEW, ListingState.NOTICE, ListingState.REGISTERED)


@router.get("/review")
async def review_queue(request: Request, cursor: str | None = None, limit: int = 50) -> Response:
    """List what waits for a reviewer, an exchange or the operator."""
    size = max(1, min(limit, 100))

    def look(reader: Reader, actor: Actor) -> tuple[list[dict[str, Any]], str | None]:
        allow(actor, "review.queue")
        found = reader.find(Listing, state=REVIEWED, after=cursor, limit=size)
        mine = [v for v in found if may(actor, "review.queue", v, reader.get(Venue, v.venue))]
        after = found[-1].id if len(found) == size else None
        return [shown(reader, v, actor) for v in mine], after

    return page(request, *await read_own(request, look))


@router.get("/listings/{listing_id}")
async def one_listing(request: Request, listing_id: str) -> Response:
    """Show a listing; who handles it also sees remarks and the legal next steps."""

    def look(reader: Reader, actor: Actor | None) -> tuple[dict[str, Any], str]:
        found = shelf.load(reader, actor, listing_id)
        return shown(reader, found, actor), etag_of(found)

    body, etag = await read(request, look)
    if request.headers.get("if-none-match") == etag:
        return Response(status_code=304, headers={"etag": etag})
    return json_response(body, headers={"etag": etag, "cache-control": "no-cache"})


@router.put("/listings/{listing_id}", max_body_size=BIG)
async def revise(request: Request, listing_id: str, body: bodies.Revision) -> Response:
    """Replace the descriptor of a draft or of a returned listing (If-Match is honoured)."""

    def step(tx: Transaction, actor: Actor) -> Listing:
        must_match(request, shelf.load(tx, actor, listing_id))
        return shelf.revise(
            tx,
            actor,
            listing_id,
            body.descriptor,
            venue=body.venue,
            view_policy=body.view_policy,
        )

    def render(reader: Reader, found: Listing) -> dict[str, Any]:
        provider = reader.get(Party, found.provider_id)
        return {
            "listing": present.listing(found, provider, private=True),
            "problems": problems_json(judged(found.descriptor, "draft")),
        }

    await beside(lambda: judged(body.descriptor, "draft"))
    return await change(request, step, render)


@router.get("/listings/{listing_id}/problems")
async def listing_problems(request: Request, listing_id: str) -> Response:
    """Say everything that a submission of this draft would be refused for."""

    def look(reader: Reader, actor: Actor) -> Listing:
        found = shelf.load(reader, actor, listing_id)
        allow(actor, "listing.read_draft", found, reader.get(Venue, found.venue))
        return found

    found = await read_own(request, look)
    problems = await _would_be_refused(request, found.provider_id, found.descriptor)
    return json_response({"problems": problems_json(problems)})


@router.get("/listings/{listing_id}/descriptor")
async def descriptor(request: Request, listing_id: str) -> Response:
    """Return the Data Package of a listing."""

    def look(reader: Reader, actor: Actor | None) -> dict[str, Any]:
        found = shelf.load(reader, actor, listing_id)
        venue = reader.get(Venue, found.venue)
        return present.descriptor(found, private=may(actor, "listing.read_draft", found, venue))

    return json_response(await read(request, look))


@router.get("/listings/{listing_id}/standing-offer")
async def standing_offer(request: Request, listing_id: str) -> Response:
    """Return the offer that the provider of the listing would sign, with its digest."""

    def look(reader: Reader, actor: Actor | None) -> dict[str, Any]:
        found = shelf.load(reader, actor, listing_id)
        document = found.standing_offer or negotiation.standing_offer_of(reader, found)
        return {"document": document, "digest": digest(document)}

    return json_response(await read(request, look))


@router.get("/listings/{listing_id}/events")
async def listing_events(request: Request, listing_id: str) -> Response:
    """Return the evidence chain of a listing to those who handle it."""

    def look(reader: Reader, actor: Actor) -> list[dict[str, Any]]:
        found = shelf.load(reader, actor, listing_id)
        allow(actor, "listing.read_draft", found, reader.get(Venue, found.venue))
        return [present.event(e) for e in reader.events(listing_id)]

    return page(request, await read_own(request, look), None)


@router.get("/listings/{listing_id}/preview")
async def preview(
    request: Request, listing_id: str, resource: str | None = None, limit: int = 20
) -> Response:
    """Show sample rows: of the sample that the provider names, or to those who may read all."""

    def look(reader: Reader, actor: Actor | None) -> tuple[Listing, str | None, Actor | None]:
        found = shelf.load(reader, actor, listing_id)
        return found, sample_of(reader, found, actor, resource), actor

    found, name, actor = await read(request, look)
    rows = max(1, min(limit, 100))
    await noted(request, found, actor, name, rows)
    look_inside = partial(market_of(request).preview, found, name, rows)
    return json_response(await in_children(look_inside))


def sample_of(
    reader: Reader, found: Listing, actor: Actor | None, resource: str | None
) -> str | None:
    """Return the resource whose rows may be shown: the trial sample, or any to its handlers."""
    trial = (found.descriptor.get("dataElement") or {}).get("offer", {}).get("trial") or {}
    sample = trial.get("resource")
    venue = reader.get(Venue, found.venue)
    if may(actor, "data.read", found, venue):
        return resource or sample
    if sample is None or (resource is not None and resource != sample):
        raise absent("sample", resource or found.id)
    return str(sample)


@router.get("/holdings/{sha256}", tags=["uploads"])
async def holding(request: Request, sha256: str) -> Response:
    """Say whether one's own party has uploaded these bytes already."""

    def look(reader: Reader, actor: Actor) -> Holding:
        kept = reader.one(Holding, party_id=actor.party_id, sha256=sha256.lower())
        if kept is None:
            raise absent("holding", sha256)
        return kept

    kept = await read_own(request, look)
    return json_response({"sha256": kept.sha256, "bytes": kept.bytes})


# --- steps ------------------------------------------------------------------------------------

Do = Callable[[Transaction, Actor, str, Any], Listing]
Before = Callable[[Request, Listing, Any], Awaitable[object]]


def _step(action: str, body_type: type[bodies.Body], do: Do, before: Before | None = None) -> None:
    """Add the route of one step of the table; `before` does beside the writer what is long."""

    async def route(request: Request, listing_id: str, body: bodies.Body) -> Response:
        if before is not None:
            look = partial(_loaded, listing_id=listing_id)
            await before(request, await read_own(request, look), body)

        def step(tx: Transaction, actor: Actor) -> tuple[Listing, Actor]:
            if request.headers.get("if-match"):
                must_match(request, shelf.load(tx, actor, listing_id))
            return do(tx, actor, listing_id, body), actor

        return await change(request, step, lambda reader, done: shown(reader, done[0], done[1]))

    route.__annotations__["body"] = body_type
    route.__doc__ = (do.__doc__ or "").partition("\n")[0] or f"Take the step '{action}'."
    router.add_api_route(
        f"/listings/{{listing_id}}/{action}",
        route,
        methods=["POST"],
        name=f"listing_{action}",
        response_model=None,
    )


def _loaded(reader: Reader, actor: Actor | None, listing_id: str) -> Listing:
    return shelf.load(reader, actor, listing_id)


async def _judge(request: Request, found: Listing, body: Any) -> None:
    await _would_be_refused(request, found.provider_id, found.descriptor)


async def _judge_changed(request: Request, found: Listing, body: Any) -> None:
    await beside(lambda: judged({**found.descriptor, **body.changes}, "draft"))


def _certificate(body: Any) -> dict[str, Any] | None:
    return body.certificate.model_dump() if body.certificate else None


def _offer(tx: Transaction, actor: Actor, listing_id: str, body: Any, sign: Any) -> Listing:
    return negotiation.offer_standing(tx, actor, listing_id, body.signature.model_dump(), sign)


@router.post("/listings/{listing_id}/offer")
async def offer(request: Request, listing_id: str, body: bodies.Signed) -> Response:
    """Sign an offer beforehand, so that it can be taken in one step."""
    sign = market_of(request).sign_for
    return await change(
        request,
        lambda tx, actor: (_offer(tx, actor, listing_id, body, sign), actor),
        lambda reader, done: shown(reader, done[0], done[1]),
    )


_step("submit", bodies.Submission, lambda t, a, i, b: shelf.submit(t, a, i, apply=b.apply), _judge)
_step("return", bodies.Reason, lambda t, a, i, b: review.return_listing(t, a, i, b.reason))
_step(
    "register",
    bodies.Registration,
    lambda t, a, i, b: review.register(t, a, i, certificate=_certificate(b), text=b.text),
)
_step(
    "renew_certificate",
    bodies.Renewal,
    lambda t, a, i, b: review.renew_certificate(t, a, i, _certificate(b), b.text),
)
_step(
    "open_notice",
    bodies.Notice,
    lambda t, a, i, b: review.open_notice(t, a, i, certificate=_certificate(b)),
)
_step("object", bodies.Words, lambda t, a, i, b: review.object_to(t, a, i, b.text))
_step("answer_objection", bodies.Words, lambda t, a, i, b: review.answer_objection(t, a, i, b.text))
_step("close_notice", bodies.Nothing, lambda t, a, i, b: review.close_notice(t, a, i))
_step(
    "uphold_objection",
    bodies.Reason,
    lambda t, a, i, b: review.uphold_objection(t, a, i, b.reason),
)
_step("contest", bodies.Contest, lambda t, a, i, b: review.contest(t, a, i, b.about, b.text))
_step(
    "answer_contest",
    bodies.Contest,
    lambda t, a, i, b: review.answer_contest(t, a, i, b.about, b.text),
)
_step("apply", bodies.Nothing, lambda t, a, i, b: review.apply(t, a, i))
_step("list", bodies.Nothing, lambda t, a, i, b: review.publish(t, a, i))
_step("suspend", bodies.Reason, lambda t, a, i, b: review.suspend(t, a, i, b.reason))
_step("resume", bodies.Nothing, lambda t, a, i, b: review.resume(t, a, i))
_step("delist", bodies.Reason, lambda t, a, i, b: review.delist(t, a, i, b.reason))
_step("withdraw", bodies.Nothing, lambda t, a, i, b: review.withdraw(t, a, i))
_step(
    "edit_text",
    bodies.TextChanges,
    lambda t, a, i, b: review.edit_text(t, a, i, b.changes),
    _judge_changed,
)
_step("comment", bodies.Words, lambda t, a, i, b: review.comment(t, a, i, b.text))
