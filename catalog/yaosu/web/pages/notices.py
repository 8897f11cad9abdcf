"""Pages of what one is told: inbox, saved searches, watches, the secret link of the feed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote, urlencode

from fastapi import APIRouter, Request, Response

from yaosu.errors import InvalidInput, YaosuError
from yaosu.identity import absent
from yaosu.model import Actor, Dataset
from yaosu.model_notices import Notice, SavedSearch
from yaosu.notices import inbox, searches
from yaosu.notices.causes import KINDS
from yaosu.ports import Reader, Transaction
from yaosu.storage.search import check_query
from yaosu.web.api.market import FACETS, search_query
from yaosu.web.api.notices import links

from .notice_words import as_rows, place
from .visit import Form, PageRoute, Visit, act, one, read_form, show

router = APIRouter(route_class=PageRoute, include_in_schema=False)
PAGE = 50


# --- the inbox --------------------------------------------------------------------------------


def _facts(reader: Reader, visit: Visit) -> Mapping[str, Any]:
    wanted = visit.request.query_params
    kind = wanted.get("kind", "")
    only_unread = wanted.get("unread") == "yes"
    found = inbox.page(
        reader, visit.known, kind=kind if kind in KINDS else "", only_unread=only_unread,
        cursor=wanted.get("cursor") or None, size=PAGE,
    )  # fmt: skip
    return {
        "rows": as_rows(found),
        "kinds": KINDS,
        "kind": kind if kind in KINDS else "",
        "only_unread": only_unread,
        "after": found[-1].id if len(found) == PAGE else None,
    }


@router.get("/notices")
async def notices(request: Request) -> Response:
    """What one has been told, newest first."""
    return await show(request, "notices.html", _facts)


@router.post("/notices/read")
async def read_all(request: Request) -> Response:
    """Mark the oldest unread notices as read, or one, and lead to what it is about."""
    form = await read_form(request)
    back = f"/notices?{urlencode({'kind': one(form, 'kind')})}" if one(form, "kind") else "/notices"
    return await act(
        request, lambda tx, actor: inbox.mark_all(tx, actor, one(form, "kind")), lambda _: back
    )


@router.post("/notices/{notice_id}/open")
async def open_notice(request: Request, notice_id: str) -> Response:
    """Mark a notice as read and go where it leads."""
    await read_form(request)
    return await act(
        request, lambda tx, actor: inbox.mark(tx, actor, notice_id), lambda notice: place(notice)
    )


@router.post("/notices/{notice_id}/mark")
async def mark(request: Request, notice_id: str) -> Response:
    """Mark a notice as read or unread and stay."""
    form = await read_form(request)

    def step(tx: Transaction, actor: Actor) -> Notice:
        return inbox.mark(tx, actor, notice_id, read=one(form, "read") != "no")

    return await act(request, step, lambda _: "/notices")


# --- saved searches, watches, how one is told -------------------------------------------------


def _searches(reader: Reader, visit: Visit) -> Mapping[str, Any]:
    actor = visit.known
    mine = inbox.of(reader, actor)
    return {
        "saved": [
            {
                **searches.shown(s),
                "address": f"/search?{urlencode(searches.parameters(s))}",
                "chosen": [(f, v) for f, values in s.filters.items() for v in values],
            }
            for s in searches.of_person(reader, actor)
        ],
        "watched": [searches.watch_shown(*w) for w in searches.watched(reader, actor)],
        "kinds": KINDS,
        "muted": mine.muted,
        "feed": links(visit.request, mine),
        "most": searches.MOST_SEARCHES,
    }


@router.get("/searches")
async def saved_searches(request: Request) -> Response:
    """One's saved searches and watched datasets, and how one is told."""
    return await show(request, "searches.html", _searches)


async def _again(request: Request, error: YaosuError, status: int) -> Response:
    if error.code == "not_found":
        raise error
    return await show(request, "searches.html", _searches, status=status, error=error)


@router.post("/searches")
async def save(request: Request) -> Response:
    """Save the search that the search page shows."""
    form = await read_form(request)

    def step(tx: Transaction, actor: Actor) -> SavedSearch:
        given = {name: form[name] for name in ("q", "sort", *FACETS) if form.get(name)}
        query = search_query(given, None)
        check_query(query)
        return searches.save(tx, actor, one(form, "name") or one(form, "q"), query)

    return await act(
        request,
        step,
        lambda _: "/searches?done=search_saved",
        again=lambda error, status: _again(request, error, status),
    )


_STEPS: Mapping[str, Callable[[Transaction, Actor, str, Form], object]] = {
    "rename": lambda tx, actor, name, form: searches.change(
        tx, actor, name, name=one(form, "name")
    ),
    "on": lambda tx, actor, name, _: searches.change(tx, actor, name, on=True),
    "off": lambda tx, actor, name, _: searches.change(tx, actor, name, on=False),
    "remove": lambda tx, actor, name, _: searches.remove(tx, actor, name),
}


@router.post("/searches/{search_id}/{action}")
async def change_search(request: Request, search_id: str, action: str) -> Response:
    """Rename a saved search, switch its notices, or forget it."""
    form = await read_form(request)
    do = _STEPS.get(action)
    if do is None:
        raise InvalidInput("no such step", "没有此操作", field="action")
    return await act(
        request,
        lambda tx, actor: do(tx, actor, search_id, form),
        lambda _: "/searches?done=step",
        again=lambda error, status: _again(request, error, status),
    )


@router.post("/datasets/{publisher}/{name}/watch")
async def watch(request: Request, publisher: str, name: str) -> Response:
    """Watch a dataset, or be silent about it."""
    form = await read_form(request)
    on = one(form, "on") != "no"

    def step(tx: Transaction, actor: Actor) -> object:
        dataset = tx.one(Dataset, publisher=publisher, name=name)
        if dataset is None:
            raise absent("dataset", f"{publisher}/{name}")
        return searches.watch(tx, actor, dataset.id, on=on)

    page = f"/datasets/{quote(publisher)}/{quote(name)}"
    back = "/searches" if one(form, "back") == "searches" else page
    return await act(request, step, lambda _: f"{back}?done={'watched' if on else 'unwatched'}")


@router.post("/inbox/muted")
async def mute(request: Request) -> Response:
    """Choose which kinds of notices one gets."""
    form = await read_form(request)
    wanted = set(form.get("kinds", ()))
    return await act(
        request,
        lambda tx, actor: inbox.mute(tx, actor, [k for k in KINDS if k not in wanted]),
        lambda _: "/searches?done=step#told",
    )


@router.post("/inbox/feed")
async def feed(request: Request) -> Response:
    """Make a new secret link, or end the feed."""
    form = await read_form(request)

    def step(tx: Transaction, actor: Actor) -> object:
        return (inbox.end_link if one(form, "end") else inbox.new_link)(tx, actor)

    return await act(request, step, lambda _: "/searches?done=step#told")
