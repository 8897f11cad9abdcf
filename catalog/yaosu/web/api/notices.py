"""Native routes: a person's notices, saved searches, and datasets they watch."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Request, Response
from pydantic import Field

from yaosu.model import Actor, Dataset
from yaosu.model_notices import Inbox, Notice, SavedSearch, Watch
from yaosu.notices import inbox, searches
from yaosu.ports import Reader, SearchQuery, Transaction
from yaosu.storage.search import check_query
from yaosu.web.door import (
    Secret,
    StrictRoute,
    change,
    json_response,
    market_of,
    page,
    read_own,
)
from yaosu.web.pages.notice_words import told

from .bodies import Body, Line, Nothing
from .market import FACETS, search_query

router = APIRouter(prefix="/v1", route_class=StrictRoute, tags=["notices"])
Kind = Annotated[str, Field(max_length=40)]
Value = Annotated[str, Field(min_length=1, max_length=200)]
NAME = Field(min_length=1, max_length=searches.MOST_NAME, examples=["中文指令数据"])


class Read(Body):
    read: bool = True


class ReadAll(Body):
    kind: Kind = ""


class Muted(Body):
    muted: list[Kind] = Field(max_length=20, examples=[["trade"]])


class NewSearch(Body):
    """What a search page or `GET /v1/listings` takes: words, facets, an order."""

    name: Line = NAME
    q: Annotated[str, Field(max_length=1000)] = ""
    facets: dict[Kind, list[Value]] = Field(
        default_factory=dict, examples=[{"modality": ["text"]}], max_length=len(FACETS)
    )
    sort: Kind = "newest"


class SearchChange(Body):
    name: Line | None = None
    on: bool | None = Field(default=None, description="whether new listings are told of")


class Watched(Body):
    on: bool = Field(default=True, description="false: not even of what was bought")


# --- notices ----------------------------------------------------------------------------------


@router.get("/notices")
async def notices(
    request: Request,
    kind: Kind = "",
    unread: bool = False,
    cursor: str | None = None,
    limit: int = 50,
) -> Response:
    """List one's own notices, newest first; `unread` leaves out what was read."""
    size = max(1, min(limit, 100))

    def look(reader: Reader, actor: Actor) -> list[Notice]:
        return inbox.page(reader, actor, kind=kind, only_unread=unread, cursor=cursor, size=size)

    found = await read_own(request, look)
    base = market_of(request).settings.public_url.rstrip("/")
    return page(
        request, [told(n, base) for n in found], found[-1].id if len(found) == size else None
    )


@router.post("/notices/{notice_id}/read")
async def read_notice(request: Request, notice_id: str, body: Read) -> Response:
    """Mark a notice as read, or as unread again."""
    return await change(
        request,
        lambda tx, actor: inbox.mark(tx, actor, notice_id, read=body.read),
        lambda _, notice: told(notice),
    )


@router.post("/notices/read")
async def read_all(request: Request, body: ReadAll) -> Response:
    """Mark the oldest 500 unread notices as read, all or of a kind; says how many are left."""
    return await change(
        request,
        lambda tx, actor: inbox.mark_all(tx, actor, body.kind),
        lambda _, counts: {"read": counts[0], "unread": counts[1]},
    )


def _inbox(request: Request, reader: Reader, actor: Actor, mine: Inbox) -> dict[str, Any]:
    return {
        "unread": inbox.unread(reader, actor),
        "muted": list(mine.muted),
        "feed": links(request, mine),
    }


def links(request: Request, mine: Inbox) -> dict[str, str] | None:
    """Return the secret addresses of a person's feed, or None without one."""
    market = market_of(request)
    token = inbox.token_of(mine, market.hook_secret)
    if token is None:
        return None
    base = f"{market.settings.public_url.rstrip('/')}/feeds/{token}"
    return {"atom": f"{base}.atom", "json": f"{base}.json"}


@router.get("/inbox")
async def my_inbox(request: Request) -> Response:
    """Show how many notices are unread, which kinds are left out, and the link of the feed."""

    def look(reader: Reader, actor: Actor) -> dict[str, Any]:
        return _inbox(request, reader, actor, inbox.of(reader, actor))

    return json_response(await read_own(request, look), headers={"cache-control": "no-store"})


@router.put("/inbox")
async def set_inbox(request: Request, body: Muted) -> Response:
    """Choose the kinds of notices that are left out from now on."""

    def step(tx: Transaction, actor: Actor) -> Inbox:
        return inbox.mute(tx, actor, body.muted)

    return await change(request, step, lambda _, mine: {"muted": list(mine.muted)})


@router.post("/inbox/feed", status_code=201)
async def new_feed(request: Request, body: Nothing) -> Response:
    """Make the secret link to one's feed; the one before opens nothing any more."""

    def render(_: Reader, mine: Inbox) -> Secret:
        return Secret({"feed": links(request, mine)}, {"feed": None})

    return await change(request, inbox.new_link, render, status=201)


@router.delete("/inbox/feed")
async def end_feed(request: Request) -> Response:
    """End the feed and its link."""
    return await change(request, inbox.end_link, lambda *_: {"feed": None})


# --- saved searches ---------------------------------------------------------------------------


def query_of(body: NewSearch) -> SearchQuery:
    """Return the search that is to be saved; its facets and order are those of the index."""
    given = {"q": [body.q], "sort": [body.sort], **body.facets}
    query = search_query(given, None)
    check_query(query)
    return query


@router.get("/searches")
async def saved(request: Request) -> Response:
    """List one's own saved searches."""

    def look(reader: Reader, actor: Actor) -> list[dict[str, Any]]:
        return [searches.shown(s) for s in searches.of_person(reader, actor)]

    return page(request, await read_own(request, look), None)


@router.post("/searches", status_code=201)
async def save(request: Request, body: NewSearch) -> Response:
    """Save a search: a notice comes for every version that it finds from now on, once."""
    query = query_of(body)

    def step(tx: Transaction, actor: Actor) -> SavedSearch:
        return searches.save(tx, actor, body.name, query)

    return await change(request, step, lambda _, made: searches.shown(made), status=201)


@router.put("/searches/{search_id}")
async def change_search(request: Request, search_id: str, body: SearchChange) -> Response:
    """Give a saved search another name, or switch its notices on or off."""

    def step(tx: Transaction, actor: Actor) -> SavedSearch:
        return searches.change(tx, actor, search_id, name=body.name, on=body.on)

    return await change(request, step, lambda _, found: searches.shown(found))


@router.delete("/searches/{search_id}")
async def remove(request: Request, search_id: str) -> Response:
    """Forget a saved search."""
    return await change(
        request,
        lambda tx, actor: searches.remove(tx, actor, search_id),
        lambda _, found: {"search_id": found.id, "removed": True},
    )


# --- watches ----------------------------------------------------------------------------------


@router.get("/watches")
async def watches(request: Request) -> Response:
    """List the datasets that one watches, or is silent about."""

    def look(reader: Reader, actor: Actor) -> list[dict[str, Any]]:
        return [searches.watch_shown(*found) for found in searches.watched(reader, actor)]

    return page(request, await read_own(request, look), None)


@router.put("/datasets/{dataset_id}/watch")
async def watch(request: Request, dataset_id: str, body: Watched) -> Response:
    """Watch a dataset, or be silent about it."""

    def render(reader: Reader, kept: Watch) -> dict[str, Any]:
        return searches.watch_shown(kept, reader.get(Dataset, kept.dataset_id))

    return await change(
        request, lambda tx, actor: searches.watch(tx, actor, dataset_id, on=body.on), render
    )
