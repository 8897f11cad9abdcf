"""Native routes: catalogs of others that are brought over on a schedule, and their reports."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Request, Response
from pydantic import Field

from yaosu.harvest import harvests
from yaosu.identity import absent
from yaosu.model import Actor
from yaosu.model_harvest import Harvest, HarvestRun
from yaosu.ports import Reader, Transaction
from yaosu.web.door import StrictRoute, change, json_response, market_of, page, read_own

from .bodies import Body, Line, Nothing, Whole

router = APIRouter(prefix="/v1/harvests", route_class=StrictRoute, tags=["harvests"])
PAGE = 100


class NewHarvest(Body):
    kind: Line = Field(
        default="ckan", description="what answers there: ckan, croissant, dcat or oai-pmh"
    )
    url: Annotated[str, Field(max_length=2000)] = Field(examples=["https://data.example.org"])
    rights: Annotated[str, Field(min_length=1, max_length=2000)] = Field(
        description="on what ground this may be brought over and offered",
        examples=["Open data under CC BY 4.0; terms at https://data.example.org/terms"],
    )
    venue: Line = "otc"
    interval_hours: Whole = Field(default=24, ge=0, le=8760, description="0: by hand only")
    deadline_s: Whole = Field(default=3600, ge=10, le=harvests.LONGEST_S)


class Switch(Body):
    on: bool
    interval_hours: Whole | None = Field(default=None, ge=0, le=8760)


def _shown(_: Reader, found: Harvest) -> dict[str, Any]:
    return harvests.shown(found)


@router.post("", status_code=201)
async def new_harvest(request: Request, body: NewHarvest) -> Response:
    """Have a catalog brought over as drafts of one's own, now and at every interval."""
    market_of(request).gate.target(body.url)
    return await change(
        request,
        lambda tx, actor: harvests.create(tx, actor, **body.model_dump()),
        _shown,
        status=201,
        location=lambda found: f"/v1/harvests/{found.id}",
    )


@router.get("")
async def list_harvests(request: Request) -> Response:
    """List the harvests of one's own party; the operator sees all."""

    def look(reader: Reader, actor: Actor) -> list[dict[str, Any]]:
        return [harvests.shown(h) for h in harvests.visible(reader, actor)]

    return page(request, await read_own(request, look), None)


@router.get("/{harvest_id}")
async def one_harvest(request: Request, harvest_id: str) -> Response:
    """Show a harvest: what runs now, and when it is due."""

    def look(reader: Reader, actor: Actor) -> dict[str, Any]:
        return harvests.shown(harvests.load(reader, actor, harvest_id))

    return json_response(await read_own(request, look))


@router.post("/{harvest_id}/switch")
async def switch(request: Request, harvest_id: str, body: Switch) -> Response:
    """Switch the schedule on or off, or change its interval."""
    return await change(
        request,
        lambda tx, actor: harvests.switch(
            tx, actor, harvest_id, on=body.on, interval_hours=body.interval_hours
        ),
        _shown,
    )


Do = Callable[[Transaction, Actor, str], Harvest]


def _step(name: str, do: Do) -> None:
    async def route(request: Request, harvest_id: str, body: Nothing) -> Response:
        return await change(request, lambda tx, actor: do(tx, actor, harvest_id), _shown)

    route.__doc__ = do.__doc__
    router.add_api_route(
        f"/{{harvest_id}}/{name}", route, methods=["POST"], name=f"harvest_{name}",
        response_model=None,
    )  # fmt: skip


_step("start", harvests.start)
_step("stop", harvests.stop)


@router.get("/{harvest_id}/runs")
async def runs(request: Request, harvest_id: str, cursor: str | None = None) -> Response:
    """List runs, newest first, each with its report."""

    def look(reader: Reader, actor: Actor) -> list[HarvestRun]:
        found = harvests.load(reader, actor, harvest_id)
        return reader.find(HarvestRun, harvest_id=found.id, after=cursor, limit=PAGE, newest=True)

    found = await read_own(request, look)
    after = found[-1].id if len(found) == PAGE else None
    return page(request, [harvests.run_shown(r) for r in found], after)


@router.get("/{harvest_id}/runs/{run_id}")
async def one_run(request: Request, harvest_id: str, run_id: str) -> Response:
    """Show what a run added, changed, found gone, and skipped with the reason."""

    def look(reader: Reader, actor: Actor) -> dict[str, Any]:
        harvest = harvests.load(reader, actor, harvest_id)
        run = reader.one(HarvestRun, id=run_id)
        if run is None or run.harvest_id != harvest.id:
            raise absent("run", run_id)
        return harvests.run_shown(run)

    return json_response(await read_own(request, look))
