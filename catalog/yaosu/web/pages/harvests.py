"""Pages of harvests: what a party brings over on a schedule, its runs and their reports."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, Request, Response

from yaosu.errors import InvalidInput, YaosuError
from yaosu.harvest import harvests
from yaosu.identity import may
from yaosu.model import Actor, Venue
from yaosu.model_harvest import Harvest, HarvestRun
from yaosu.ports import Reader, Transaction

from .visit import Form, PageRoute, Visit, act, market_of, one, read_form, show

router = APIRouter(route_class=PageRoute, include_in_schema=False)
RUNS = 20


@router.get("/harvests")
async def all_harvests(request: Request) -> Response:
    """The harvests of one's own party (the operator's: all), and the form for a new one."""
    return await _harvests(request)


async def _harvests(
    request: Request, error: YaosuError | None = None, status: int = 200, form: Form | None = None
) -> Response:
    def look(reader: Reader, visit: Visit) -> Mapping[str, Any]:
        return {
            "rows": harvests.visible(reader, visit.known),
            "venues": reader.find(Venue, limit=100),
            "kinds": harvests.kinds(),
            "may_harvest": may(visit.known, "listing.create"),
            "given": form or {},
        }

    return await show(request, "harvests.html", look, error=error, status=status)


@router.post("/harvests")
async def add(request: Request) -> Response:
    """Have a catalog brought over."""
    form = await read_form(request)
    gate = market_of(request).gate

    def step(tx: Transaction, actor: Actor) -> Harvest:
        gate.target(one(form, "url"))
        return harvests.create(
            tx,
            actor,
            kind=one(form, "kind", "ckan"),
            url=one(form, "url"),
            rights=_rights(form),
            venue=one(form, "venue", "otc"),
            interval_hours=_hours(form),
        )

    async def again(error: YaosuError, status: int) -> Response:
        return await _harvests(request, error, status, form)

    return await act(request, step, lambda made: f"/harvests/{made.id}", again=again)


def _rights(form: Form) -> str:
    said = one(form, "rights").strip()
    if not said or len(said) > 2000:
        raise InvalidInput("say on what ground", "请说明导入依据", field="rights")
    return said


def _hours(form: Form) -> int:
    said = one(form, "interval_hours", "24").strip()
    if not (said.isascii() and said.isdigit() and len(said) < 5 and int(said) <= 8760):
        raise InvalidInput("0 to 8760 hours", "应为 0–8760 小时", field="interval_hours")
    return int(said)


@router.get("/harvests/{harvest_id}")
async def one_harvest(request: Request, harvest_id: str) -> Response:
    """A harvest with its latest runs: what each added, changed, found gone, and skipped why."""
    return await _harvest(request, harvest_id)


async def _harvest(
    request: Request, harvest_id: str, error: YaosuError | None = None, status: int = 200
) -> Response:
    def look(reader: Reader, visit: Visit) -> Mapping[str, Any]:
        found = harvests.load(reader, visit.known, harvest_id)
        runs = reader.find(HarvestRun, harvest_id=found.id, limit=RUNS, newest=True)
        kind = harvests.kinds().get(found.kind)
        return {"found": found, "kind": kind, "runs": runs, "listed": harvests.LISTED}

    return await show(request, "harvest.html", look, error=error, status=status)


@router.post("/harvests/{harvest_id}/{what}")
async def move(request: Request, harvest_id: str, what: str) -> Response:
    """Start or stop a run, switch the schedule on or off."""
    await read_form(request)

    def step(tx: Transaction, actor: Actor) -> Harvest:
        if what == "start":
            return harvests.start(tx, actor, harvest_id)
        if what == "stop":
            return harvests.stop(tx, actor, harvest_id)
        if what not in ("on", "off"):
            raise InvalidInput("no such step", "没有该操作", field="step")
        return harvests.switch(tx, actor, harvest_id, on=what == "on")

    async def again(error: YaosuError, status: int) -> Response:
        return await _harvest(request, harvest_id, error, status)

    return await act(request, step, lambda made: f"/harvests/{made.id}", again=again)
