"""OAI-PMH 2.0 over the catalog, and the map of the site for search engines.

A list goes through what is on the market in the order of dataset ids, then through what has left
it as it went; its token says where it stands, so that the market remembers nothing, none expires,
and no page costs more than another.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from itertools import chain, islice
from urllib.parse import parse_qsl, urlsplit
from xml.sax.saxutils import escape

from fastapi import APIRouter, Request, Response
from fastapi.responses import StreamingResponse

from yaosu import profiles
from yaosu.exchange.statement import SLACK, last_before
from yaosu.market import Market
from yaosu.model import Dataset, Listing, ListingState, Party
from yaosu.ports import Reader, Selection
from yaosu.web.door import market_of
from yaosu_connectors import oai
from yaosu_connectors.oai import Cursor, OaiError
from yaosu_connectors.published import Published
from yaosu_connectors.solr_query import Between, Each, Term, Tree

from . import faces

router = APIRouter(tags=["oai"])
SIZE = 100
MAX_FORM = 16_384
SITEMAP = 50_000
Item = tuple[Published, bool]
"""A version, and whether it has left the market."""


@router.get("/oai", response_class=Response)
async def oai_get(request: Request) -> Response:
    """Answer a verb of OAI-PMH 2.0 (metadataPrefix oai_dc or dcat)."""
    return await _answer(request, request.query_params.multi_items())


@router.post("/oai", response_class=Response)
async def oai_post(request: Request) -> Response:
    """Answer a verb that is sent as a form."""
    body = await request.body()
    try:
        pairs = parse_qsl(body[:MAX_FORM].decode(), keep_blank_values=True, max_num_fields=20)
    except ValueError:
        pairs = []
    return await _answer(request, pairs)


async def _answer(request: Request, pairs: Iterable[tuple[str, str]]) -> Response:
    market = market_of(request)
    base = market.settings.public_url.rstrip("/") + "/oai"
    try:
        asked = oai.arguments(pairs)
        body = await asyncio.to_thread(_verb, market, base, asked)
    except OaiError as error:
        plain = error.code in ("badVerb", "badArgument")
        asked = {} if plain else dict(pairs)
        body = oai.error(error)
    text = oai.envelope(base, market.clock.now(), asked, body)
    return Response(text, media_type=oai.MEDIA)


def _verb(market: Market, base: str, asked: dict[str, str]) -> str:
    verb = asked["verb"]
    with market.store.read() as reader:
        if verb == "Identify":
            first = reader.find(Dataset, limit=1)
            earliest = first[0].created_at if first else market.clock.now()
            return oai.identify(base, "Yaosu 要素", "noreply@invalid.example", earliest)
        if verb == "ListSets":
            if "resumptionToken" in asked:
                raise OaiError("badResumptionToken", "the list of sets is one page")
            return oai.sets(_sets(market, reader))
        if verb == "ListMetadataFormats":
            if "identifier" in asked:
                _by_identifier(market, reader, asked["identifier"])
            return oai.formats()
        if verb == "GetRecord":
            version, gone = _by_identifier(market, reader, asked["identifier"])
            shown = oai.record(_host(market), version, asked["metadataPrefix"], deleted=gone)
            return f"<GetRecord>{shown}</GetRecord>"
        return _list(market, reader, verb, asked)


def _host(market: Market) -> str:
    return urlsplit(market.settings.public_url).hostname or "market"


def _sets(market: Market, reader: Reader) -> Iterator[tuple[str, str]]:
    counts = market.search.select(
        Selection(where=Each(()), limit=1, facets={"organization": 10_000})
    )
    for slug, _ in sorted(counts.facets["organization"]):
        party = reader.one(Party, slug=slug)
        yield slug, party.name if party else slug


def _by_identifier(market: Market, reader: Reader, name: str) -> Item:
    digits = name.rpartition(":")[2].replace("-", "").lower()
    dataset = reader.one(Dataset, id=f"dst_{digits}") if len(digits) == 32 else None
    if dataset is not None and name.startswith(f"oai:{_host(market)}:"):
        listing = faces.version_for(reader, None, dataset)
        if listing is not None:
            return faces.published(market, reader, dataset, listing, None), False
        last = _left(reader, dataset)
        if last is not None:
            return faces.published(market, reader, dataset, last, None), True
    raise OaiError("idDoesNotExist", "there is no such record")


def _left(reader: Reader, dataset: Dataset) -> Listing | None:
    """Return the version that left the market last, where nothing of the dataset is on it."""
    versions = reader.find(Listing, dataset_id=dataset.id, newest=True, limit=200)
    if faces.version_for(reader, None, dataset) is not None:
        return None
    return next((v for v in versions if v.state == "delisted" and v.view_policy == "public"), None)


# --- lists -------------------------------------------------------------------------------------


def _list(market: Market, reader: Reader, verb: str, asked: dict[str, str]) -> str:
    if "resumptionToken" in asked:
        cursor = Cursor.read(asked["resumptionToken"])
    else:
        cursor = Cursor(asked["metadataPrefix"], asked.get("set", ""), asked.get("from", ""),
                        asked.get("until", ""))  # fmt: skip
    items, after = _page(market, reader, cursor)
    if not items and not cursor.sent:
        raise OaiError("noRecordsMatch", "nothing matches")
    host = _host(market)
    if verb == "ListIdentifiers":
        parts = [oai.header(host, version, deleted=gone) for version, gone in items]
    else:
        parts = [oai.record(host, v, cursor.prefix, deleted=gone) for v, gone in items]
    more = oai.resumption(after, paged=bool(cursor.sent))
    return f"<{verb}>{''.join(parts)}{more}</{verb}>"


def _page(market: Market, reader: Reader, cursor: Cursor) -> tuple[list[Item], Cursor | None]:
    """Return up to SIZE items from the cursor on, and the cursor of the rest."""
    since, until = oai.moments(cursor.since, cursor.until)
    found: list[tuple[Item, str]] = []
    place, gone = cursor.last, cursor.gone
    if not gone:
        live = _live(market, reader, cursor, since, until)
        found = [((version, False), version.dataset_id) for version in live]
        if len(found) <= SIZE:
            gone, place = True, ""
    if gone:
        left = _gone(market, reader, cursor.set, place, since, until)
        found += islice(left, SIZE + 1 - len(found))
    items = [item for item, _ in found[:SIZE]]
    if len(found) <= SIZE:
        return items, None
    after = Cursor(cursor.prefix, cursor.set, cursor.since, cursor.until, items[-1][1],
                   found[SIZE - 1][1], cursor.sent + SIZE)  # fmt: skip
    return items, after


def _live(
    market: Market,
    reader: Reader,
    cursor: Cursor,
    since: datetime | None,
    until: datetime | None,
) -> Iterator[Published]:
    """Yield up to SIZE + 1 versions on the market after the cursor."""
    trees: list[Tree] = []
    if since or until:
        low, high = (end.isoformat() if end else None for end in (since, until))
        trees.append(Between("metadata_modified", low, high))
    if cursor.set:
        trees.append(Term("organization", cursor.set))
    if cursor.last:
        milliseconds = int(cursor.last[-32:-20], 16)
        begin = datetime.fromtimestamp((milliseconds - 1) / 1000, UTC)
        trees.append(Between("metadata_created", begin.isoformat(), None))
    sent = 0
    for listing_id in _in_order(market, Each(tuple(trees))):
        listing = reader.one(Listing, id=listing_id)
        if listing is None or listing.state != "listed" or listing.dataset_id <= cursor.last:
            continue
        dataset = reader.get(Dataset, listing.dataset_id)
        yield faces.published(market, reader, dataset, listing, None)
        sent += 1
        if sent > SIZE:
            return


def _in_order(market: Market, where: Tree) -> Iterator[str]:
    """Yield listings in the order of dataset ids; the index knows it to the millisecond alone."""
    alike: list[tuple[str, str]] = []
    offset = 0
    while True:
        page = market.search.select(
            Selection(where=where, sort=(("id", False),), offset=offset, limit=SIZE + 1, cards=True)
        )
        for card in page.cards:
            one = str(card["dataset_id"]), str(card["listing_id"])
            if alike and one[0][:-20] != alike[0][0][:-20]:
                yield from (listing_id for _, listing_id in sorted(alike))
                alike = []
            alike.append(one)
        offset += SIZE + 1
        if len(page.cards) <= SIZE:
            break
    yield from (listing_id for _, listing_id in sorted(alike))


def _gone(
    market: Market,
    reader: Reader,
    publisher: str,
    last: str,
    since: datetime | None,
    until: datetime | None,
) -> Iterator[tuple[Item, str]]:
    """Yield the datasets that have left the market after a place in the list, and their places."""
    for listing, place in _departures(reader, publisher, last, since, until):
        at = listing.updated_at.replace(microsecond=0)
        if listing.view_policy != "public" or (since and at < since) or (until and at > until):
            continue
        dataset = reader.get(Dataset, listing.dataset_id)
        left = _left(reader, dataset)
        if left is not None and left.id == listing.id:  # the others say nothing of their own
            yield (faces.published(market, reader, dataset, left, None), True), place


def _departures(
    reader: Reader, publisher: str, last: str, since: datetime | None, until: datetime | None
) -> Iterator[tuple[Listing, str]]:
    """Yield versions that have left: those of a publisher by id, those of all as they went."""
    if publisher:
        after = last or None
        while page := reader.find(
            Listing, publisher=publisher, state=ListingState.DELISTED, after=after, limit=SIZE
        ):
            yield from ((listing, listing.id) for listing in page)
            after = page[-1].id
        return
    number = int(last) if last.isascii() and last.isdigit() and len(last) < 18 else 0
    if since is not None and not number:
        number = last_before(reader, since - SLACK)
    while events := reader.events_after(number, types=("delist",), limit=SIZE):
        for event in events:
            if until is not None and event.at > until + SLACK:
                return
            yield reader.get(Listing, event.subject_id), str(event.id)
        number = events[-1].id


# --- the map of the site -----------------------------------------------------------------------


@router.get("/sitemap.xml", response_class=StreamingResponse)
async def sitemap(request: Request, page: int = 0) -> Response:
    """The pages of datasets; over 50,000 of them an index of such maps (sitemaps.org)."""
    market = market_of(request)
    total = await asyncio.to_thread(faces.count_listed, market)
    base = market.settings.public_url.rstrip("/")
    pages = -(-total // SITEMAP)
    if page < 1 and total > SITEMAP:
        body = _index(base, pages + 1)
    elif page == pages + 1 > 2:
        body = _urls(_parties(market, base))
    else:
        found = _pages(market, max(0, min(page, 10_000) - 1) * SITEMAP)
        body = _urls(chain(found, _parties(market, base)) if total <= SITEMAP else found)
    return StreamingResponse(body, media_type="application/xml")


_SPACE = 'xmlns="http://www.sitemaps.org/schemas/sitemap/0.9"'
_HEAD = '<?xml version="1.0" encoding="UTF-8"?>\n'


def _index(base: str, pages: int) -> Iterator[str]:
    yield f"{_HEAD}<sitemapindex {_SPACE}>\n"
    for n in range(1, pages + 1):
        yield f"<sitemap><loc>{escape(base)}/sitemap.xml?page={n}</loc></sitemap>\n"
    yield "</sitemapindex>\n"


def _urls(found: Iterable[tuple[str, datetime]]) -> Iterator[str]:
    yield f"{_HEAD}<urlset {_SPACE}>\n"
    for address, at in islice(found, SITEMAP):
        yield f"<url><loc>{escape(address)}</loc><lastmod>{oai.stamp(at)}</lastmod></url>\n"
    yield "</urlset>\n"


def _parties(market: Market, base: str) -> Iterator[tuple[str, datetime]]:
    """Yield the pages of parties that show themselves."""
    after: str | None = None
    while True:
        with market.store.read() as reader:
            found, after = profiles.directory(reader, cursor=after, size=500)
        for party, profile in found:
            yield f"{base}/parties/{party.slug}", profile.updated_at
        if after is None:
            return


def _pages(market: Market, offset: int) -> Iterator[tuple[str, datetime]]:
    left = SITEMAP
    while left > 0:
        with market.store.read() as reader:
            limit = min(faces.PAGE, left)
            found = list(faces.listed(market, reader, offset=offset, limit=limit))
        yield from ((version.page, version.updated_at) for version in found)
        offset, left = offset + limit, left - limit
        if offset >= faces.count_listed(market):
            break
