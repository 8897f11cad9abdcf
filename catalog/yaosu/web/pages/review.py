"""Pages of those who check: the review queue, a listing under review, parties, jobs."""

from __future__ import annotations

import asyncio
import difflib
import json
from collections.abc import Callable, Mapping
from datetime import date
from typing import Any
from urllib.parse import quote

from fastapi import APIRouter, Request, Response

from yaosu import identity, present, review
from yaosu import listing as shelf
from yaosu.errors import InvalidInput, NotFound, YaosuError
from yaosu.identity import allow, may
from yaosu.listing import venue_of
from yaosu.model import Actor, Listing, Member, Party, StoredReport, Venue
from yaosu.ports import Reader, Transaction
from yaosu.quality import manual_sample
from yaosu.web import session
from yaosu.web.api.market import REVIEWED
from yaosu_schemas.codes import code_list
from yaosu_schemas.documents import descriptor_problems

from .market import sample
from .steps_forms import listing_forms
from .visit import (
    Form,
    PageRoute,
    Visit,
    act,
    error_facts,
    html,
    market_of,
    one,
    read_form,
    read_of,
    see_other,
    show,
    visit_of,
)

router = APIRouter(route_class=PageRoute, include_in_schema=False)
PAGE = 50
DIFF_LINES = 400


# --- the queue --------------------------------------------------------------------------------


@router.get("/review")
async def queue(request: Request) -> Response:
    """What waits for a reviewer, an exchange or the operator, oldest first."""
    cursor = request.query_params.get("cursor")

    def look(reader: Reader, visit: Visit) -> Mapping[str, Any]:
        allow(visit.known, "review.queue")
        found = reader.find(Listing, state=REVIEWED, after=cursor, limit=PAGE)
        mine = [v for v in found if may(visit.actor, "review.queue", v, venue_of(reader, v))]
        return {
            "rows": [_row(reader, v) for v in mine],
            "after": found[-1].id if len(found) == PAGE else None,
        }

    return await show(request, "review.html", look)


def _row(reader: Reader, listing: Listing) -> dict[str, Any]:
    report = reader.get(StoredReport, listing.report_id) if listing.report_id else None
    return {
        "listing": listing,
        "provider": present.party(reader.get(Party, listing.provider_id)),
        "venue": reader.get(Venue, listing.venue),
        "report": present.report_summary(report) if report else None,
    }


# --- one listing ------------------------------------------------------------------------------


@router.get("/review/{listing_id}")
async def one_listing(request: Request, listing_id: str) -> Response:
    """Everything that a decision needs: descriptor, what changed, report, guards, remarks."""
    return await review_view(request, listing_id)


async def review_view(
    request: Request, listing_id: str, error: YaosuError | None = None, status: int = 200
) -> Response:
    def work() -> tuple[Visit, dict[str, Any]]:
        with market_of(request).store.read() as reader:
            visit = visit_of(request, reader)
            return visit, review_facts(reader, visit, listing_id)

    visit, facts = await read_of(request, work)
    facts["error"] = error_facts(error) if error else None
    if request.query_params.get("sample") and facts["reads"]:
        facts["sample"] = await sample(
            request, facts["listing"], request.query_params["sample"][:200]
        )
    return html(visit, "review_listing.html", facts, status)


def review_facts(reader: Reader, visit: Visit, listing_id: str) -> dict[str, Any]:
    """Return what the page of a listing under review shows to its handlers."""
    actor = visit.known
    listing = shelf.load(reader, actor, listing_id)
    venue = venue_of(reader, listing)
    allow(actor, "listing.read_draft", listing, venue)
    report = reader.get(StoredReport, listing.report_id) if listing.report_id else None
    reads = may(actor, "data.read", listing, venue)
    return {
        "listing": listing,
        "pkg": listing.descriptor,
        "provider": present.party(reader.get(Party, listing.provider_id), private=True),
        "venue": venue,
        "report": present.report(report, cells=reads, contests=present.contests(listing))
        if report
        else None,
        "summary": present.report_summary(report) if report else None,
        "guards": review.list_guards(reader, listing, visit.market.clock.now().date()),
        "problems": descriptor_problems(listing.descriptor, stage="submit"),
        "changes": _changes(reader, listing),
        "remarks": [_remark(reader, r) for r in listing.remarks],
        "forms": listing_forms(listing, venue, actor),
        "schemes": list(code_list("registration_scheme")),
        "events": reader.events(listing.id),
        "reads": reads,
        "judges": report is not None and manual_sample.may_judge(reader, actor, listing),
        "sample": None,
    }


def _changes(reader: Reader, listing: Listing) -> list[tuple[str, str]] | None:
    """Return (kind, line) of the difference to the version before, or None for a first one."""
    before = [
        v
        for v in reader.find(Listing, dataset_id=listing.dataset_id, limit=1000)
        if v.version < listing.version and v.state != "withdrawn"
    ]
    if not before:
        return None
    old, new = (
        json.dumps(v.descriptor, ensure_ascii=False, indent=2, sort_keys=True).splitlines()
        for v in (max(before, key=lambda v: v.version), listing)
    )
    kinds = {"+": "new", "-": "old", "@": "at"}
    lines = difflib.unified_diff(old, new, lineterm="", n=2)
    return [(kinds.get(line[:1], "same"), line) for line in lines][2 : DIFF_LINES + 2]


def _remark(reader: Reader, remark: Any) -> dict[str, Any]:
    party = reader.one(Party, id=remark.party_id)
    return {"remark": remark, "party": present.party(party) if party else None}


# --- steps ------------------------------------------------------------------------------------

Do = Callable[[Transaction, Actor, str, Form], Listing]


def _certificate(form: Form) -> dict[str, Any] | None:
    if not one(form, "scheme") and not one(form, "number"):
        return None
    given: dict[str, Any] = {name: one(form, name)[:300] for name in ("scheme", "number", "agency")}
    for name in ("registered_at", "valid_until"):
        given[name] = _day(one(form, name), name)
    return given


def _day(text: str, name: str) -> str | None:
    if not text:
        return None
    try:
        return date.fromisoformat(text).isoformat()
    except ValueError:
        raise InvalidInput("a day is YYYY-MM-DD", "日期格式为 YYYY-MM-DD", field=name) from None


STEPS: Mapping[str, Do] = {
    "submit": lambda t, a, i, f: shelf.submit(t, a, i, apply=one(f, "apply") == "yes"),
    "return": lambda t, a, i, f: review.return_listing(t, a, i, one(f, "reason")),
    "register": lambda t, a, i, f: review.register(
        t, a, i, certificate=_certificate(f), text=one(f, "text")
    ),
    "renew_certificate": lambda t, a, i, f: review.renew_certificate(
        t, a, i, _certificate(f), one(f, "text")
    ),
    "open_notice": lambda t, a, i, f: review.open_notice(t, a, i, certificate=_certificate(f)),
    "object": lambda t, a, i, f: review.object_to(t, a, i, one(f, "text")),
    "answer_objection": lambda t, a, i, f: review.answer_objection(t, a, i, one(f, "text")),
    "close_notice": lambda t, a, i, f: review.close_notice(t, a, i),
    "uphold_objection": lambda t, a, i, f: review.uphold_objection(t, a, i, one(f, "reason")),
    "apply": lambda t, a, i, f: review.apply(t, a, i),
    "list": lambda t, a, i, f: review.publish(t, a, i),
    "suspend": lambda t, a, i, f: review.suspend(t, a, i, one(f, "reason")),
    "resume": lambda t, a, i, f: review.resume(t, a, i),
    "delist": lambda t, a, i, f: review.delist(t, a, i, one(f, "reason")),
    "withdraw": lambda t, a, i, f: review.withdraw(t, a, i),
    "contest": lambda t, a, i, f: review.contest(t, a, i, one(f, "about"), one(f, "text")),
    "answer_contest": lambda t, a, i, f: review.answer_contest(
        t, a, i, one(f, "about"), one(f, "text")
    ),
    "comment": lambda t, a, i, f: review.comment(t, a, i, one(f, "text")),
}


def step_of(action: str, listing_id: str, form: Form) -> Callable[[Transaction, Actor], Listing]:
    """Return the step of that name; NotFound for a name that the pages do not know."""
    if action not in STEPS:
        raise NotFound("no such step", "没有此步骤", action=action[:40])
    return lambda tx, actor: STEPS[action](tx, actor, listing_id, form)


@router.post("/review/{listing_id}/{action}")
async def step(request: Request, listing_id: str, action: str) -> Response:
    """Take a step of the listing's table."""
    form = await read_form(request)

    async def again(error: YaosuError, status: int) -> Response:
        if error.code == "not_found":
            raise error
        return await review_view(request, listing_id, error, status)

    here = f"/review/{quote(listing_id)}"
    return await act(
        request, step_of(action, listing_id, form), lambda _: f"{here}?done=step", again=again
    )


# --- the operator -----------------------------------------------------------------------------


def _admin_facts(reader: Reader, visit: Visit) -> Mapping[str, Any]:
    allow(visit.known, "party.verify")
    runs_jobs = visit.may("jobs")
    parties = reader.find(Party, limit=500, newest=True)
    return {
        "waiting": [present.party(p, private=True) for p in parties if p.verified_at is None],
        "verified": [present.party(p) for p in parties if p.verified_at is not None][:100],
        "people": {
            p.id: [m.name for m in reader.find(Member, party_id=p.id, limit=5)]
            for p in parties
            if p.verified_at is None
        },
        "runs_jobs": runs_jobs,
        "dead": reader.jobs(state="dead", limit=100) if runs_jobs else [],
        "busy": [j for j in reader.jobs(limit=200) if j.state in ("ready", "leased")]
        if runs_jobs
        else [],
        "venues": reader.find(Venue, limit=100),
    }


@router.get("/admin")
async def admin(request: Request) -> Response:
    """Parties that wait for their identity to be checked, and work that failed."""
    return await show(request, "admin.html", _admin_facts)


@router.post("/admin/parties/{party_id}/verify")
async def verify(request: Request, party_id: str) -> Response:
    """Record that the identity of a party has been checked, and on what evidence."""
    form = await read_form(request)

    def do(tx: Transaction, actor: Actor) -> Party:
        if not one(form, "evidence"):
            raise InvalidInput("say what was checked", "请填写核验依据", field="evidence")
        return identity.verify_party(tx, actor, party_id, one(form, "evidence")[:4000])

    async def again(error: YaosuError, status: int) -> Response:
        return await show(request, "admin.html", _admin_facts, status=status, error=error)

    return await act(request, do, lambda _: "/admin?done=verified", again=again)


@router.post("/admin/jobs/{job_id}/restart")
async def restart(request: Request, job_id: int) -> Response:
    """Give a dead job its attempts back."""
    await read_form(request)
    market = market_of(request)

    def look() -> None:
        with market.store.read() as reader:
            allow(session.must_be_known(session.actor_of(market, reader, request)), "jobs")

    await read_of(request, look)
    await asyncio.to_thread(market.queue.restart, job_id)
    return see_other("/admin?done=restarted")
