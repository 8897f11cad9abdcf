"""Pages for everyone: home, search, the page of a dataset, its descriptor."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Mapping
from functools import partial
from typing import Any
from urllib.parse import quote

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse
from markupsafe import Markup

from yaosu import present
from yaosu.errors import InvalidInput, YaosuError
from yaosu.identity import absent, can_see, may, relations
from yaosu.listing import load, venue_of
from yaosu.model import (
    Actor,
    Dataset,
    Listing,
    ListingState,
    Party,
    StoredReport,
    Trade,
    Venue,
    new_id,
)
from yaosu.model_notices import Watch
from yaosu.ports import Reader, SearchQuery
from yaosu.quality import market_overlap
from yaosu.storage.search_order import SORTS
from yaosu.web.api.market import FACETS, sample_of, search_query
from yaosu.web.api.quality import measured, noted, readable, row_numbers
from yaosu.web.door import in_children
from yaosu.web.surfaces.dcat import alternate
from yaosu.web.surfaces.faces import dataset_named, published
from yaosu_connectors import schema_org
from yaosu_connectors.ckan_package import flat_name
from yaosu_validators.html import report_css
from yaosu_validators.scorecard import scorecard

from . import words
from .visit import (
    PageRoute,
    Visit,
    error_facts,
    html,
    language_of,
    market_of,
    read_of,
    see_other,
    show,
    visit_of,
)

router = APIRouter(route_class=PageRoute, include_in_schema=False)

SHOWN_FACETS = (
    "modality",
    "price_band",
    "licence",
    "language",
    "stage",
    "industry",
    "hq_field",
    "dex12",
    "region",
    "size",
    "quality",
    "publisher",
)
OPEN_FACETS = frozenset({"modality", "price_band", "licence", "language", "stage"})
LIMITS = ("buyer", "buyer_qualification", "environment", "territory", "resale", "export")
OTHER_FORMATS = (
    ("Data Package", "/datapackage.json"),
    ("Croissant", "/croissant.json"),
    ("DCAT-AP Turtle", ".ttl"),
    ("RDF/XML", ".rdf"),
    ("JSON-LD", ".jsonld"),
)
SAMPLE_ROWS = 10
SAMPLES_KEPT = 256


def query_params(request: Request) -> dict[str, list[str]]:
    params: dict[str, list[str]] = {}
    for name, value in request.query_params.multi_items():
        if value:
            params.setdefault(name, []).append(value)
    return params


# --- home and search --------------------------------------------------------------------------


@router.get("/")
async def home(request: Request) -> Response:
    """What this market is, how much is in it, and what came last."""
    market = market_of(request)

    def look(reader: Reader, visit: Visit) -> Mapping[str, Any]:
        newest = market.search.search(
            SearchQuery(
                filters={"state": ["listed"]},
                sort="newest",
                limit=6,
                facets=("modality",),
                viewer=visit.actor.party_id if visit.actor else None,
                lang=visit.lang,
            )
        )
        return {
            "hits": newest.hits,
            "modalities": newest.facets.get("modality", ()),
            "listings": newest.total,
            "trades": reader.count(Trade),
            "settled": reader.count(Trade, state=("vouchered", "completed")),
            "publishers": reader.count(Party),
            "log_size": reader.log_size(),
        }

    return await show(request, "home.html", look, slow=True)


@router.get("/search")
async def search(request: Request) -> Response:
    """Results with facets; a wrong parameter or an old cursor is said on the page."""
    market = market_of(request)
    given = query_params(request)
    plain = {k: v for k, v in given.items() if k not in ("lang", "done")}
    lang = language_of(request)

    def look(reader: Reader, visit: Visit) -> Mapping[str, Any]:
        viewer = visit.actor.party_id if visit.actor else None
        asked = {**plain, "facets": [",".join(SHOWN_FACETS)]}
        problem: YaosuError | None = None
        try:
            query = search_query(asked, viewer, lang)
            found = market.search.search(query)
        except InvalidInput as error:
            if error.facts.get("field") != "cursor":
                raise
            problem = error  # an old or foreign cursor: begin with the first page
            asked.pop("cursor", None)
            query = search_query(asked, viewer, lang)
            found = market.search.search(query)
        return {
            "query": query,
            "found": found,
            "facets": [_facet(name, found.facets.get(name, ()), query) for name in SHOWN_FACETS],
            "sorts": [s for s in SORTS if s != "relevance" or query.text],
            "chosen": [(n, v) for n in FACETS for v in query.filters.get(n, ()) if n in plain],
            "problem": problem,
            "names": {hit.card["publisher"]: hit.card for hit in found.hits},
            "near": [] if found.total else _near(market, query.text),
        }

    return await show(request, "search.html", look, slow=True)


def _facet(name: str, counts: Any, query: SearchQuery) -> dict[str, Any]:
    chosen = set(query.filters.get(name, ()))
    values = [
        {"value": value, "count": count, "chosen": value in chosen} for value, count in counts
    ]
    return {
        "name": name,
        "codes": FACETS[name],
        "values": values,
        "open": bool(chosen) or name in OPEN_FACETS,
    }


def _near(market: Any, text: str) -> list[str]:
    """Return what could have been meant: completions of the beginnings of the words."""
    found: dict[str, None] = {}
    for word in text.split()[:4] or [text]:
        for length in (len(word), 4, 2, 1):
            for item in market.search.suggest(word[:length], limit=4):
                found[item] = None
            if found:
                break
    return list(found)[:6]


@router.get("/suggest")
async def suggest(request: Request, q: str = "") -> Response:
    """Completions as options of the search box."""
    items = await asyncio.to_thread(market_of(request).search.suggest, q[:100])
    body = Markup("").join(Markup('<option value="{}"></option>').format(i) for i in items)
    return HTMLResponse(str(body))


@router.get("/report.css")
async def report_style(request: Request) -> Response:
    """The style sheet of validation reports."""
    return Response(
        report_css(), media_type="text/css", headers={"cache-control": "public, max-age=3600"}
    )


# --- the page of a dataset --------------------------------------------------------------------


def current(reader: Reader, actor: Actor | None, dataset: Dataset) -> list[Listing]:
    """Return the versions that exist for the actor, the one to show first at the head."""
    rank = {"listed": 0, "suspended": 1, "notice": 2, "delisted": 3}
    found = [
        v
        for v in reader.find(Listing, dataset_id=dataset.id, newest=True, limit=200)
        if v.state in rank and can_see(actor, v, reader.get(Venue, v.venue))
    ]
    return sorted(found, key=lambda v: (rank[v.state], -v.version))


def find_dataset(
    reader: Reader, visit: Visit, publisher: str, name: str, version: str | None = None
) -> tuple[Dataset, Listing, list[Listing]]:
    """Return (dataset, version to show, all visible versions); NotFound hides the rest."""
    dataset = reader.one(Dataset, publisher=publisher, name=name)
    versions = current(reader, visit.actor, dataset) if dataset else []
    chosen = [v for v in versions if version in (None, str(v.version))]
    if dataset is None or not chosen:
        raise absent("dataset", f"{publisher}/{name}")
    return dataset, chosen[0], sorted(versions, key=lambda v: -v.version)


@router.get("/datasets/{publisher}/{name}")
async def dataset_page(request: Request, publisher: str, name: str) -> Response:
    """Everything that anyone may know of a dataset; JSON of its descriptor for those who ask."""
    if (other := alternate(request, publisher, name)) is not None:
        return other
    if _wants_json(request):
        return see_other(f"/datasets/{quote(publisher)}/{quote(name)}/datapackage.json")
    return await dataset_view(request, publisher, name)


def _wants_json(request: Request) -> bool:
    accept = request.headers.get("accept", "")
    return "application/json" in accept and "text/html" not in accept


async def dataset_view(
    request: Request,
    publisher: str,
    name: str,
    *,
    error: YaosuError | None = None,
    status: int = 200,
    given: Mapping[str, list[str]] | None = None,
) -> Response:
    """Render a dataset's page, with what was wrong in the order that was sent."""

    def work() -> tuple[Visit, dict[str, Any]]:
        with market_of(request).store.read() as reader:
            visit = visit_of(request, reader)
            found = find_dataset(
                reader, visit, publisher, name, request.query_params.get("version")
            )
            return visit, dataset_facts(reader, visit, *found)

    visit, facts = await read_of(request, work)
    listing: Listing = facts["listing"]
    facts["error"] = error_facts(error) if error else None
    facts["given"] = given or {}
    if listing.state == ListingState.DELISTED:
        return html(visit, "gone.html", facts, 410)
    if facts["sample_name"] is not None:
        facts["sample"] = await sample(request, listing, facts["sample_name"])
    return html(visit, "dataset.html", facts, status)


def dataset_facts(
    reader: Reader, visit: Visit, dataset: Dataset, listing: Listing, versions: list[Listing]
) -> dict[str, Any]:
    """Return what the page of a version shows: nothing private, cells only to who may read."""
    venue = venue_of(reader, listing)
    report = reader.get(StoredReport, listing.report_id) if listing.report_id else None
    provider = reader.get(Party, listing.provider_id)
    mine = relations(visit.actor, listing, venue)
    return {
        "dataset": dataset,
        "listing": listing,
        "shown": present.listing(listing, provider, report=report),
        "pkg": present.descriptor(listing),
        "card": present.card(listing, provider, report),
        "provider": present.party(provider),
        "venue": venue,
        "versions": versions,
        "limits": LIMITS,
        "report": measured(
            reader,
            listing,
            present.report(
                report,
                cells=may(visit.actor, "data.read", listing, venue),
                contests=present.contests(listing),
            ),
        )
        if report
        else None,
        "shared": market_overlap.shown(reader, listing, visit.actor)[:10],
        "history": _history(reader, versions) if len(versions) > 1 else [],
        "own": visit.actor is not None and visit.actor.party_id == listing.provider_id,
        "watching": _watching(reader, visit.actor, dataset),
        "buyer": visit.may("trade.create"),
        "handles": bool(mine & {"provider", "reviewer", "exchange", "admin"}),
        "sample_name": _sample_name(reader, listing, visit.actor),
        "sample": None,
        "new_trade_id": new_id("trd"),
        "given": {},
        "tools": {
            "url": visit.market.settings.public_url.rstrip("/"),
            "ckan": flat_name(dataset.publisher, dataset.name),
            "links": OTHER_FORMATS,
        },
        "jsonld": _for_engines(visit, reader, dataset, listing),
        "owner_verified": visit.party is not None and visit.party.verified_at is not None,
    }


def _watching(reader: Reader, actor: Actor | None, dataset: Dataset) -> bool:
    if actor is None:
        return False
    kept = reader.one(Watch, member_id=actor.member_id, dataset_id=dataset.id)
    return kept is not None and kept.state == "on"


def _for_engines(visit: Visit, reader: Reader, dataset: Dataset, listing: Listing) -> Markup:
    """Return schema.org/Dataset as the text of a data block, which ends nowhere within."""
    version = published(visit.market, reader, dataset, listing, None)
    return words.data_block(schema_org.document(version, "Yaosu 要素"))


def _history(reader: Reader, versions: list[Listing]) -> list[dict[str, Any]]:
    """Return how large and how clean each version was, oldest first: the timeline of a dataset."""
    found = []
    for v in sorted(versions, key=lambda v: v.version)[-12:]:
        report = reader.get(StoredReport, v.report_id) if v.report_id else None
        if report is None:
            continue
        card = scorecard(report.body)
        twice = next((x for x in card.lines() if x.id == "own:dup_near"), None)
        found.append(
            {
                "version": v.descriptor.get("version") or v.version,
                "number": v.version,
                "listed_at": v.listed_at,
                "records": card.records,
                "duplicates": twice.value if twice else None,
                "documented": card.documented,
            }
        )
    return found


def _sample_name(reader: Reader, listing: Listing, actor: Actor | None) -> str | None:
    """Return the resource whose rows this visitor may see, or None."""
    try:
        name = sample_of(reader, listing, actor, None)
    except YaosuError:
        return None
    resources = listing.descriptor.get("resources") or [{}]
    return str(name or resources[0].get("name") or "")


async def sample(request: Request, listing: Listing, resource: str) -> dict[str, Any]:
    """Return sample rows, read once per version in the sandbox; or why there are none."""
    kept: OrderedDict[tuple[str, str, str], dict[str, Any]]
    state = request.app.state
    if not hasattr(state, "samples"):
        state.samples = OrderedDict()
    kept = state.samples
    key = (listing.id, str(listing.content_digest), resource)
    if key not in kept:
        try:
            found = await asyncio.to_thread(
                market_of(request).preview, listing, resource, SAMPLE_ROWS
            )
        except YaosuError as error:
            return {"resource": resource, "fields": [], "rows": [], "problem": error}
        kept[key] = {"resource": resource, "problem": None, **found}
        while len(kept) > SAMPLES_KEPT:
            kept.popitem(last=False)
    return kept[key]


@router.get("/listings/{listing_id}/rows")
async def rows_page(
    request: Request, listing_id: str, resource: str = "", rows: str = ""
) -> Response:
    """The records behind a number of the scorecard, for those who may read the data."""
    numbers = row_numbers(rows)

    def work() -> tuple[Visit, Listing]:
        with market_of(request).store.read() as reader:
            visit = visit_of(request, reader)
            return visit, readable(reader, visit.actor, listing_id)[0]

    visit, listing = await read_of(request, work)
    await noted(request, listing, visit.actor, resource, len(numbers))
    look_inside = partial(market_of(request).records, listing, resource, numbers)
    found = await in_children(look_inside)
    return html(visit, "rows.html", {"listing": listing, "found": found})


@router.get("/datasets/{publisher}/{name}/datapackage.json")
async def datapackage(request: Request, publisher: str, name: str) -> Response:
    """The public descriptor as it was judged, under its own name."""

    def work() -> dict[str, Any]:
        with market_of(request).store.read() as reader:
            visit = visit_of(request, reader)
            wanted = request.query_params.get("version")
            return present.descriptor(find_dataset(reader, visit, publisher, name, wanted)[1])

    return JSONResponse(await read_of(request, work), headers={"cache-control": "no-cache"})


@router.get("/dataset/{ckan_name}")
async def by_flat_name(request: Request, ckan_name: str) -> Response:
    """Lead from the flat name that CKAN clients know to the page of the dataset."""

    def work() -> str:
        with market_of(request).store.read() as reader:
            found = _of_flat_name(reader, ckan_name)
            return f"/datasets/{quote(found.publisher)}/{quote(found.name)}"

    return see_other(await read_of(request, work))


@router.get("/listings/{listing_id}")
async def by_id(request: Request, listing_id: str) -> Response:
    """Lead from the id of a listing, as messages and files name it, to its page."""

    def work() -> str:
        with market_of(request).store.read() as reader:
            listing = load(reader, visit_of(request, reader).actor, listing_id)
            dataset = reader.get(Dataset, listing.dataset_id)
            page = f"/datasets/{quote(dataset.publisher)}/{quote(dataset.name)}"
            return f"{page}?version={listing.version}"

    return see_other(await read_of(request, work))


def _of_flat_name(reader: Reader, flat: str) -> Dataset:
    for slug, rest in _splits(flat):
        found = reader.one(Dataset, publisher=slug, name=rest) if rest else None
        if found is not None:
            return found
    return dataset_named(reader, None, flat)


def _splits(flat: str) -> list[tuple[str, str]]:
    """Return the ways to cut a flat name into publisher and name, at hyphens."""
    return [(flat[:i], flat[i + 1 :]) for i, c in enumerate(flat) if c == "-" and i][:30]
