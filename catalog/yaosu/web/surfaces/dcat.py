"""DCAT-AP 3.0.1 of the whole catalog and of each dataset, in three spellings."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from urllib.parse import quote

from fastapi import APIRouter, Request, Response
from fastapi.responses import StreamingResponse

from yaosu.errors import InvalidInput
from yaosu.identity import absent
from yaosu.market import Market
from yaosu.model import Dataset
from yaosu.web.door import market_of
from yaosu.web.pages.visit import see_other
from yaosu_connectors import croissant, dcat, rdf
from yaosu_connectors.published import Published
from yaosu_connectors.rdf import Triple

from . import faces

router = APIRouter(tags=["dcat"])
SIZE = 100
TITLE = "Yaosu 要素"
_WANTED = (
    ("text/turtle", "ttl"),
    ("application/rdf+xml", "rdf"),
    ("application/ld+json", "jsonld"),
)


def wanted(request: Request) -> str | None:
    """Return the spelling that the client prefers before HTML, or None."""
    best: tuple[float, str] | None = None
    html = 0.0
    for item in request.headers.get("accept", "").split(",")[:20]:
        kind, _, q = item.strip().partition(";q=")
        try:
            weight = float(q or 1)
        except ValueError:
            continue
        kind = kind.split(";")[0].strip().lower()
        if kind == "text/html":
            html = max(html, weight)
        spelling = next((s for k, s in _WANTED if k == kind), None)
        if spelling is not None and (best is None or weight > best[0]):
            best = weight, spelling
    return best[1] if best is not None and best[0] > html else None


@router.get("/catalog", include_in_schema=False)
async def any_spelling(request: Request) -> Response:
    """Lead to the spelling that is asked for."""
    return see_other(f"/catalog.{wanted(request) or 'ttl'}")


@router.get("/catalog.ttl", response_class=StreamingResponse)
async def catalog_ttl(request: Request, page: str = "1") -> Response:
    """The catalog as Turtle: a page of 100 datasets, or `page=all` as one stream."""
    return await _catalog(request, page, "ttl")


@router.get("/catalog.rdf", response_class=StreamingResponse)
async def catalog_rdf(request: Request, page: str = "1") -> Response:
    """The catalog as RDF/XML."""
    return await _catalog(request, page, "rdf")


@router.get("/catalog.jsonld", response_class=StreamingResponse)
async def catalog_jsonld(request: Request, page: str = "1") -> Response:
    """The catalog as JSON-LD."""
    return await _catalog(request, page, "jsonld")


async def _catalog(request: Request, page: str, spelling: str) -> Response:
    market = market_of(request)
    if page == "all":
        # Read in pieces of their own snapshots: a long reader never holds the store.
        body: Iterator[str] = rdf.write(_everything(market), spelling)
        return StreamingResponse(body, media_type=rdf.MEDIA[spelling])
    if not page.isascii() or not page.isdigit() or not 1 <= int(page[:7]) <= 10**6:
        raise InvalidInput(
            "page is a number from 1 on, or all", "page 应为正整数或 all", field="page"
        )
    text = await asyncio.to_thread(_page, market, int(page), spelling)
    return Response(text, media_type=rdf.MEDIA[spelling])


def _page(market: Market, number: int, spelling: str) -> str:
    base = market.settings.public_url.rstrip("/")
    with market.store.read() as reader:
        offset = (number - 1) * SIZE
        found = list(faces.listed(market, reader, offset=offset, limit=SIZE))
    total = faces.count_listed(market)
    head = dcat.paging(f"{base}/catalog.{spelling}", page=number, size=SIZE, total=total)
    names = map(dcat.iri_of, found)
    triples = [*head, *dcat.catalog(base, TITLE, names, market.clock.now())]
    triples += [t for version in found for t in dcat.dataset(version)]
    return "".join(rdf.write(_once(triples), spelling))


def _once(triples: list[Triple]) -> Iterator[Triple]:
    """Yield triples with those of one subject together, in the order of their first."""
    by_subject: dict[str, list[Triple]] = {}
    for triple in triples:
        by_subject.setdefault(triple[0], []).append(triple)
    for group in by_subject.values():
        yield from group


def _everything(market: Market) -> Iterator[Triple]:
    base = market.settings.public_url.rstrip("/")
    yield from dcat.catalog(base, TITLE, (), market.clock.now())
    for version in faces.everything(market):
        yield f"{base}/catalog#catalog", "dcat:dataset", rdf.Iri(dcat.iri_of(version))
        yield from dcat.dataset(version)


# --- one dataset -------------------------------------------------------------------------------


async def version_of(request: Request, publisher: str, name: str) -> Published:
    """Return the version of a dataset that exists for who asks."""
    market = market_of(request)

    def work() -> Published:
        with market.store.read() as reader:
            actor = faces.actor_of(reader, request)
            dataset = reader.one(Dataset, publisher=publisher, name=name)
            if dataset is None:
                raise absent("dataset", f"{publisher}/{name}")
            return faces.shown_of(market, reader, actor, dataset)

    return await asyncio.to_thread(work)


@router.get("/datasets/{publisher}/{name}.ttl")
async def dataset_ttl(request: Request, publisher: str, name: str) -> Response:
    """One dataset as Turtle."""
    return _dataset(await version_of(request, publisher, name), "ttl")


@router.get("/datasets/{publisher}/{name}.rdf")
async def dataset_rdf(request: Request, publisher: str, name: str) -> Response:
    """One dataset as RDF/XML."""
    return _dataset(await version_of(request, publisher, name), "rdf")


@router.get("/datasets/{publisher}/{name}.jsonld")
async def dataset_jsonld(request: Request, publisher: str, name: str) -> Response:
    """One dataset as JSON-LD."""
    return _dataset(await version_of(request, publisher, name), "jsonld")


@router.get("/datasets/{publisher}/{name}/croissant.json")
async def dataset_croissant(request: Request, publisher: str, name: str) -> Response:
    """One dataset as Croissant 1.1: files, record sets, usage."""
    found = croissant.document(await version_of(request, publisher, name))
    body = json.dumps(found, ensure_ascii=False)
    return Response(body, media_type=croissant.MEDIA, headers={"cache-control": "no-cache"})


def _dataset(version: Published, spelling: str) -> Response:
    text = "".join(rdf.write(dcat.dataset(version), spelling))
    return Response(text, media_type=rdf.MEDIA[spelling], headers={"cache-control": "no-cache"})


def alternate(request: Request, publisher: str, name: str) -> Response | None:
    """Return a redirect to the spelling that a program prefers to the page, or None."""
    spelling = wanted(request)
    if spelling is None:
        return None
    return see_other(f"/datasets/{quote(publisher)}/{quote(name)}.{spelling}")
