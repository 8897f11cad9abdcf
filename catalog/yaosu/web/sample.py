"""The manual sample over HTTP: where it stands, the next records for a reviewer, their verdicts."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any
from urllib.parse import quote

from fastapi import APIRouter, Request, Response

from yaosu import listing as shelf
from yaosu.errors import InvalidInput, YaosuError
from yaosu.model import Actor, Listing
from yaosu.ports import Reader, Transaction
from yaosu.quality import manual_sample

from .api import bodies
from .api.quality import noted
from .door import StrictRoute, change, in_children, json_response, market_of, read, read_own
from .pages.visit import PageRoute, Visit, act, error_facts, html, one, read_form, read_of, visit_of

router = APIRouter(prefix="/v1", route_class=StrictRoute, tags=["review"])
pages = APIRouter(route_class=PageRoute, include_in_schema=False)


@router.get("/listings/{listing_id}/sample")
async def sample(request: Request, listing_id: str) -> Response:
    """Say where the manual sample of a version stands, and what it came to."""

    def look(reader: Reader, actor: Actor | None) -> dict[str, Any]:
        return manual_sample.state_of(reader, shelf.load(reader, actor, listing_id)).as_json()

    return json_response(await read(request, look))


@router.get("/listings/{listing_id}/sample/next")
async def sample_next(request: Request, listing_id: str, limit: int = 10) -> Response:
    """Return the next records that this reviewer is to judge, without what others said."""

    def look(reader: Reader, actor: Actor) -> tuple[Listing, Actor, list[_Item]]:
        found = shelf.load(reader, actor, listing_id)
        return found, actor, _next(reader, actor, found, max(1, min(limit, 50)))

    found, actor, items = await read_own(request, look)
    await noted(request, found, actor, None, len(items))
    return json_response({"records": await _records(request, found, items)})


@router.post("/listings/{listing_id}/sample")
async def judge(request: Request, listing_id: str, body: bodies.Verdicts) -> Response:
    """Record what a reviewer says of records of the sample."""
    said = [(v.item, v.passed) for v in body.verdicts]
    return await change(
        request,
        lambda tx, actor: manual_sample.judge(tx, actor, listing_id, said),
        lambda reader, done: done,
    )


_Item = tuple[int, str, int]  # number in the sample's order of records, resource, number in it


def _next(reader: Reader, actor: Actor, found: Listing, limit: int) -> list[_Item]:
    items = manual_sample.next_items(reader, actor, found, limit)
    state = manual_sample.state_of(reader, found)
    return [(item, *state.place(item)) for item in items]


async def _records(request: Request, found: Listing, items: list[_Item]) -> list[dict[str, Any]]:
    """Return the records of some items, read once for each resource."""
    shown: dict[tuple[str, int], dict[str, Any]] = {}
    for resource in dict.fromkeys(r for _, r, _ in items):
        numbers = [n for _, r, n in items if r == resource]
        look = partial(market_of(request).records, found, resource, numbers, by_number=True)
        for row in (await in_children(look)).get("rows") or ():
            shown[resource, row["number"]] = row
    return [
        {"item": item, "resource": resource, **shown.get((resource, number), {"record": None})}
        for item, resource, number in items
    ]


# --- pages ------------------------------------------------------------------------------------


@pages.get("/review/{listing_id}/sample")
async def sample_page(request: Request, listing_id: str) -> Response:
    """Records of the sample one below the other, each to be passed or not."""
    return await _page(request, listing_id)


async def _page(
    request: Request, listing_id: str, error: YaosuError | None = None, status: int = 200
) -> Response:
    def work() -> tuple[Visit, Listing, list[_Item], Mapping[str, Any]]:
        with market_of(request).store.read() as reader:
            visit = visit_of(request, reader)
            found = shelf.load(reader, visit.known, listing_id)
            items = _next(reader, visit.known, found, manual_sample.PAGE)
            return visit, found, items, manual_sample.state_of(reader, found).as_json()

    visit, found, items, state = await read_of(request, work)
    await noted(request, found, visit.actor, None, len(items))
    facts = {
        "listing": found,
        "state": state,
        "records": await _records(request, found, items),
        "error": error_facts(error) if error else None,
    }
    return html(visit, "sample.html", facts, status)


@pages.post("/review/{listing_id}/sample")
async def judge_page(request: Request, listing_id: str) -> Response:
    """Take the verdicts of one page."""
    form = await read_form(request)

    def step(tx: Transaction, actor: Actor) -> dict[str, Any]:
        said = []
        for name in form:
            if name.startswith("item-") and name[5:].isdigit() and len(name) < 24:
                said.append((int(name[5:]), one(form, name) == "pass"))
        if not said:
            raise InvalidInput("judge at least one record", "请至少判定一条记录", field="verdicts")
        return manual_sample.judge(tx, actor, listing_id, said)

    async def again(error: YaosuError, status: int) -> Response:
        return await _page(request, listing_id, error, status)

    here = f"/review/{quote(listing_id)}/sample"
    return await act(request, step, lambda _: f"{here}?done=step", again=again)
