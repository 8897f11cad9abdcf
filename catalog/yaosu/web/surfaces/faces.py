"""What every surface of other catalogs shares: who sees which version, and its files.

A surface reads the same record as the pages; it decides nothing of its own about who may see.
"""

from __future__ import annotations

import base64
import binascii
import uuid
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from fastapi import APIRouter, Request, Response

from yaosu import present
from yaosu.errors import Forbidden, Unauthenticated
from yaosu.identity import absent, authenticate, can_see, may
from yaosu.market import Market
from yaosu.model import Actor, Dataset, Delivery, Listing, ListingState, Party, Trade, Venue
from yaosu.ports import Reader, Selection
from yaosu.trading.recall import flows
from yaosu.web.api.trade import is_open
from yaosu.web.door import asked, market_of
from yaosu.web.pages.visit import read_of
from yaosu.web.paid import Paid, paid
from yaosu.web.ranged import ranged
from yaosu_connectors.ckan_package import flat_name
from yaosu_connectors.published import Published, files_of
from yaosu_connectors.solr_query import Every

router = APIRouter(include_in_schema=False)
_OPEN = ("listed", "suspended")
_GONE = ("delisted", "withdrawn")
PAGE = 500


def actor_of(reader: Reader, request: Request) -> Actor | None:
    """Return who asks: a bearer key, a bare one as CKAN clients send it, or basic credentials."""
    given = request.headers.get("authorization") or request.headers.get("x-ckan-api-key") or ""
    scheme, _, rest = given.strip().partition(" ")
    token = scheme
    if rest:
        token = _password(rest) if scheme.lower() == "basic" else rest.strip()
    if not token:
        return None
    return authenticate(reader, token, now=market_of(request).clock.now(), **asked(request))


def _password(credentials: str) -> str:
    try:
        return base64.b64decode(credentials, validate=True).decode().partition(":")[2]
    except (binascii.Error, UnicodeDecodeError):
        raise Unauthenticated("the credentials cannot be read", "凭据无法读取") from None


def version_for(reader: Reader, actor: Actor | None, dataset: Dataset) -> Listing | None:
    """Return the version that exists for the actor: one's own newest, or the one on the market."""
    versions = reader.find(Listing, dataset_id=dataset.id, newest=True, limit=200)
    if actor is not None and actor.party_id == dataset.provider_id:
        return next((v for v in versions if v.state not in _GONE), None)
    seen = [
        v for v in versions if v.state in _OPEN and can_see(actor, v, reader.get(Venue, v.venue))
    ]
    return min(seen, key=lambda v: (_OPEN.index(v.state), -v.version), default=None)


def dataset_named(reader: Reader, actor: Actor | None, name: str) -> Dataset:
    """Return a dataset by flat name, UUID, own id, or, for its owner, by its own name."""
    found: Dataset | None = None
    digits = name.replace("-", "").lower()
    if len(digits) == 32 and set(digits) <= set("0123456789abcdef"):
        found = reader.one(Dataset, id=f"dst_{uuid.UUID(digits).hex}")
    elif name.startswith("dst_"):
        found = reader.one(Dataset, id=name)
    if found is None and "__" in name:
        publisher, _, rest = name.partition("__")
        found = reader.one(Dataset, publisher=publisher, name=rest)
        if found is None and "-" in rest:
            found = _shortened(reader, publisher, name)
    if found is None and actor is not None:
        found = reader.one(Dataset, publisher=reader.get(Party, actor.party_id).slug, name=name)
    if found is None:
        raise absent("package", name)
    return found


def _shortened(reader: Reader, publisher: str, flat: str) -> Dataset | None:
    """Return the publisher's dataset whose name had to be shortened to this flat one."""
    owner = reader.one(Party, slug=publisher)
    after: str | None = None
    while owner is not None:
        page = reader.find(Dataset, provider_id=owner.id, after=after, limit=PAGE)
        for one in page:
            if flat_name(publisher, one.name) == flat:
                return one
        if len(page) < PAGE:
            return None
        after = page[-1].id
    return None


def published(
    market: Market, reader: Reader, dataset: Dataset, listing: Listing, actor: Actor | None
) -> Published:
    """Return a version as the mappings of other catalogs take it."""
    own = actor is not None and actor.party_id == dataset.provider_id
    party = reader.get(Party, dataset.provider_id)
    earlier: list[Listing] = []
    if listing.version > 1:
        earlier = reader.find(Listing, dataset_id=dataset.id, newest=True, limit=200)
    before = [
        v.version for v in earlier
        if v.version < listing.version and (v.listed_at is not None) and v.state != "withdrawn"
    ]  # fmt: skip
    return Published(
        dataset_id=dataset.id,
        publisher=dataset.publisher,
        publisher_name=party.name,
        publisher_name_en=party.name_en,
        name=dataset.name,
        number=listing.version,
        descriptor=present.descriptor(listing, private=own),
        state=str(listing.state),
        private=listing.state not in _OPEN,
        created_at=dataset.created_at,
        updated_at=listing.updated_at,
        listed_at=listing.listed_at,
        base=market.settings.public_url.rstrip("/"),
        previous=max(before, default=None),
    )


def shown(market: Market, reader: Reader, actor: Actor | None, name: str) -> Published:
    """Return the version of a dataset that exists for the actor, or NotFound."""
    return shown_of(market, reader, actor, dataset_named(reader, actor, name), name)


def shown_of(
    market: Market, reader: Reader, actor: Actor | None, dataset: Dataset, asked: str = ""
) -> Published:
    """Return the version that exists for the actor; what is hidden answers as what is not there."""
    listing = version_for(reader, actor, dataset)
    if listing is None and asked:
        raise absent("package", asked)
    if listing is None:
        raise absent("dataset", f"{dataset.publisher}/{dataset.name}")
    return published(market, reader, dataset, listing, actor)


def listed(
    market: Market, reader: Reader, *, offset: int = 0, limit: int | None = None
) -> Iterator[Published]:
    """Yield what anyone may see on the market, in the order of dataset ids, page by page."""
    left = limit
    while left is None or left > 0:
        step = PAGE if left is None else min(PAGE, left)
        asked = Selection(where=Every(), sort=(("id", False),), offset=offset, limit=step)
        page = market.search.select(asked)
        for listing_id in page.listings:
            listing = reader.one(Listing, id=listing_id)
            if listing is None or listing.state != "listed" or listing.view_policy != "public":
                continue  # the index follows the store
            dataset = reader.get(Dataset, listing.dataset_id)
            yield published(market, reader, dataset, listing, None)
        offset += step
        left = None if left is None else left - step
        if len(page.listings) < step:
            return


def everything(market: Market) -> Iterator[Published]:
    """Yield all that anyone may see on the market, in the order of listings.

    Each page is read from the store behind the last one, in a snapshot of its own: a long reader
    holds nothing up, and the last page costs what the first did.
    """
    after: str | None = None
    open_to_all: dict[str, Any] = {"state": ListingState.LISTED, "view_policy": "public"}
    while True:
        with market.store.read() as reader:
            page = reader.find(Listing, after=after, limit=100, **open_to_all)
            found = [published(market, reader, reader.get(Dataset, one.dataset_id), one, None)
                     for one in page]  # fmt: skip
        yield from found
        if not page:
            return
        after = page[-1].id


def count_listed(market: Market) -> int:
    """Return how many datasets anyone may see."""
    return market.search.select(Selection(where=Every(), limit=1)).total


# --- files -------------------------------------------------------------------------------------


def may_read(
    reader: Reader, actor: Actor | None, listing: Listing, resource: str, now: datetime
) -> bool:
    """Tell whether the rows of a resource are open to the actor: sample, owner, or buyer."""
    offer = (listing.descriptor.get("dataElement") or {}).get("offer") or {}
    if resource == (offer.get("trial") or {}).get("resource"):
        return True
    if actor is None:
        return False
    if actor.party_id == listing.provider_id:
        return may(actor, "data.read", listing, reader.get(Venue, listing.venue))
    return bought(reader, actor, listing, resource, now) is not None


def bought(
    reader: Reader, actor: Actor | None, listing: Listing, resource: str, now: datetime
) -> Delivery | None:
    """Return the delivery by which the actor reads a resource; None for samples and the owner."""
    offer = (listing.descriptor.get("dataElement") or {}).get("offer") or {}
    if resource == (offer.get("trial") or {}).get("resource"):
        return None
    if actor is None or actor.party_id == listing.provider_id:
        return None
    trades = reader.find(Trade, listing_id=listing.id, user_id=actor.party_id, limit=1000)
    for trade in trades:
        if trade.delivery_id is None:
            continue
        delivery = reader.get(Delivery, trade.delivery_id)
        venue = reader.get(Venue, trade.venue)
        allowed = is_open(delivery, now) and may(actor, "delivery.read", delivery, venue)
        if allowed and flows(reader, delivery):
            return delivery
    return None


@router.head("/datasets/{publisher}/{name}/{path:path}", name="file_of_dataset_head")
@router.get("/datasets/{publisher}/{name}/{path:path}", name="file_of_dataset")
async def file_of_dataset(request: Request, publisher: str, name: str, path: str) -> Response:
    """Serve a file beside its descriptor: samples to all, the rest to owner and buyer."""
    market = market_of(request)

    def work() -> tuple[str, int, Paid | None]:
        with market.store.read() as reader:
            actor = actor_of(reader, request)
            dataset = reader.one(Dataset, publisher=publisher, name=name)
            listing = version_for(reader, actor, dataset) if dataset else None
            if listing is None:
                raise absent("dataset", f"{publisher}/{name}")
            for resource in listing.descriptor.get("resources") or ():
                for own, sha256, _ in files_of(resource):
                    if own == path and sha256:
                        right = str(resource.get("name"))
                        now = market.clock.now()
                        if may_read(reader, actor, listing, right, now):
                            by = bought(reader, actor, listing, right, now)
                            who = None
                            if by is not None and actor is not None:
                                who = paid(request, by, actor.key_id, "dataset", path)
                            return sha256, market.blobs.size(sha256), who
                        raise Forbidden(
                            "this file is for its buyers: see the page of the dataset",
                            "该文件仅限购买者，请查看数据集页面",
                        )
        raise absent("file", path)

    sha256, size, who = await read_of(request, work)
    return ranged(request, market.blobs, sha256, size, path, who)
