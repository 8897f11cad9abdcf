"""Pages of an organisation: what waits for one, its people and rules, and a link that invites."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

from fastapi import APIRouter, Request, Response

from yaosu import expiring, present
from yaosu.errors import InvalidInput, NotFound, YaosuError
from yaosu.identity import issue_key
from yaosu.model import Actor, Member, Role
from yaosu.model_organisation import Approval, Invitation
from yaosu.organisation import approvals, invitations, members, rules, shown, waiting
from yaosu.organisation.kinds import STEPS
from yaosu.ports import Reader, Transaction
from yaosu.trading.performing import performer
from yaosu.web import session
from yaosu.web.api.organisation import link, member_facts

from .account import key_page
from .steps_forms import fen, whole
from .visit import (
    Form,
    PageRoute,
    Visit,
    act,
    market_of,
    one,
    read_form,
    see_other,
    show,
    status_of,
)

router = APIRouter(route_class=PageRoute, include_in_schema=False)
HISTORY = 30
SOON_DAYS = 30


# --- waiting for you --------------------------------------------------------------------------


def _waiting_facts(reader: Reader, visit: Visit) -> Mapping[str, Any]:
    actor = visit.known
    now = visit.market.clock.now()
    items = waiting.of(reader, actor)
    found = approvals.of_party(reader, actor, limit=100)
    names = {m.id: m.name for m in reader.find(Member, party_id=actor.party_id, limit=1000)}
    return {
        "asked": [_request(reader, actor, a) for a in found if approvals.answers(reader, actor, a)],
        "todo": [_line(reader, i) for i in items if i.kind != "approve"],
        "soon": expiring.gather(reader, actor, now, SOON_DAYS),
        "now": now,
        "mine": [
            _request(reader, actor, a)
            for a in found
            if a.member_id == actor.member_id and a.state == "waiting"
        ],
        "before": [_request(reader, actor, a) for a in found if a.state != "waiting"][:HISTORY],
        "names": names,
    }


def _line(reader: Reader, item: waiting.Item) -> dict[str, Any]:
    return {"item": item, "listing": waiting.listing_of(reader, item.about)}


def _request(reader: Reader, actor: Actor, found: Approval) -> dict[str, Any]:
    return {
        **shown.approval(reader, found, actor),
        "listing": waiting.listing_of(reader, found.subject_id),
        "where": waiting.place(found.subject_id),
        "given_by": [d.member_id for d in found.given],
    }


@router.get("/waiting")
async def what_waits(request: Request) -> Response:
    """What waits for this member, what they asked for, and what became of earlier requests."""
    return await show(request, "waiting.html", _waiting_facts)


@router.post("/waiting/{approval_id}/{answer}")
async def answer(request: Request, approval_id: str, answer: str) -> Response:
    """Say yes or no to a request, or take back one's own."""
    form = await read_form(request)
    perform = performer(market_of(request).sign_for)
    steps: Mapping[str, Callable[[Transaction, Actor], Approval]] = {
        "approve": lambda tx, actor: approvals.approve(tx, actor, approval_id, perform),
        "refuse": lambda tx, actor: approvals.refuse(
            tx, actor, approval_id, one(form, "reason")[:4000]
        ),
        "withdraw": lambda tx, actor: approvals.withdraw(
            tx, actor, approval_id, one(form, "reason")[:4000]
        ),
    }
    if answer not in steps:
        raise NotFound("no such step", "没有此步骤", action=answer[:40])

    async def again(error: YaosuError, status: int) -> Response:
        if error.code == "not_found":
            raise error
        return await show(request, "waiting.html", _waiting_facts, status=status, error=error)

    return await act(request, steps[answer], lambda _: "/waiting?done=step", again=again)


# --- people and rules -------------------------------------------------------------------------


def _organisation_facts(
    form: Form | None = None, made: tuple[Invitation, str] | None = None
) -> Callable[[Reader, Visit], Mapping[str, Any]]:
    def look(reader: Reader, visit: Visit) -> Mapping[str, Any]:
        actor = visit.known
        owner = members.is_owner(reader, actor)
        people = member_facts(reader, actor.party_id)
        assert visit.party is not None
        return {
            "party": present.party(visit.party),
            "owner": owner,
            "people": people,
            "names": {m["member_id"]: m["name"] for m in people},
            "rules": [shown.rule(r) for r in rules.of_party(reader, actor.party_id)],
            "steps": _steps(actor),
            "invitations": [shown.invitation(i) for i in invitations.of_party(reader, actor)]
            if owner
            else [],
            "roles": sorted(actor.roles),
            "given": form or {},
            "made": shown.invitation(made[0]) if made else None,
            "link": link(visit.request, made[1]) if made else "",
        }

    return look


def _steps(actor: Actor) -> list[str]:
    """Return the kinds of rules that mean something to this organisation."""
    found = {"sign"}
    found |= {"order", "declare"} if Role.BUYER in actor.roles else set()
    found |= {"publish", "price"} if Role.PROVIDER in actor.roles else set()
    return [s for s in STEPS if s in found]


@router.get("/organisation")
async def organisation(request: Request) -> Response:
    """The people of one's organisation, its rules, and its invitations."""
    return await show(request, "organisation.html", _organisation_facts())


def _again(request: Request, form: Form | None = None) -> Any:
    async def again(error: YaosuError, status: int) -> Response:
        if error.code == "not_found":
            raise error
        return await show(
            request, "organisation.html", _organisation_facts(form), status=status, error=error
        )

    return again


@router.post("/organisation/rules")
async def new_rule(request: Request) -> Response:
    """Set a rule."""
    form = await read_form(request)

    def step(tx: Transaction, actor: Actor) -> object:
        amount = one(form, "above")
        kind = one(form, "step")
        return rules.add(
            tx,
            actor,
            kind,
            form.get("approvers", []),
            above_fen=fen(amount) if amount and kind == "order" else None,
            days=whole(one(form, "days", "7"), "days", low=1, high=rules.MOST_DAYS),
        )

    return await act(
        request, step, lambda _: "/organisation?done=step", again=_again(request, form)
    )


@router.post("/organisation/rules/{rule_id}/end")
async def end_rule(request: Request, rule_id: str) -> Response:
    """End a rule, or ask for it."""
    await read_form(request)
    return await act(
        request,
        lambda tx, actor: rules.end(tx, actor, rule_id),
        lambda _: "/organisation?done=step",
        again=_again(request),
        waits="/organisation",
    )


@router.post("/organisation/members/{member_id}/end")
async def end_member(request: Request, member_id: str) -> Response:
    """Let a person leave."""
    await read_form(request)
    return await act(
        request,
        lambda tx, actor: members.end(tx, actor, member_id),
        lambda _: "/organisation?done=step",
        again=_again(request),
    )


@router.post("/organisation/invitations")
async def invite(request: Request) -> Response:
    """Invite a person; the page that answers shows the link, once."""
    form = await read_form(request)
    market = market_of(request)

    def work(tx: Transaction) -> tuple[Invitation, str]:
        actor = session.must_be_known(session.actor_of(market, tx, request))
        return invitations.invite(
            tx,
            actor,
            name=one(form, "name")[:300],
            email=one(form, "email")[:300],
            roles=frozenset(Role(r) for r in form.get("roles", ()) if r in set(Role)),
            owner=one(form, "owner") == "yes",
            days=whole(one(form, "days", "7"), "days", low=1, high=invitations.MOST_DAYS),
        )

    try:
        made = await asyncio.wrap_future(market.store.submit(work))
    except YaosuError as error:
        return await show(
            request,
            "organisation.html",
            _organisation_facts(form),
            status=status_of(error),
            error=error,
        )
    answer = await show(request, "organisation.html", _organisation_facts(made=made), status=201)
    answer.headers["cache-control"] = "no-store"
    return answer


@router.post("/organisation/invitations/{invitation_id}/revoke")
async def revoke(request: Request, invitation_id: str) -> Response:
    """Take an invitation back."""
    await read_form(request)
    return await act(
        request,
        lambda tx, actor: invitations.revoke(tx, actor, invitation_id),
        lambda _: "/organisation?done=step",
        again=_again(request),
    )


# --- the link ---------------------------------------------------------------------------------


@router.get("/join/{secret}")
async def join(request: Request, secret: str) -> Response:
    """Who invites, into what, until when; and the ways to come in."""
    return await _join(request, secret)


async def _join(
    request: Request, secret: str, error: YaosuError | None = None, status: int = 200
) -> Response:
    def facts(reader: Reader, visit: Visit) -> Mapping[str, Any]:
        found = invitations.look(reader, secret, visit.market.clock.now())
        by = reader.one(Member, id=found.invited_by)
        party = invitations.party_of(reader, found)
        return {
            "party": present.party(party),
            "by": by.name if by else "",
            "invitation": shown.invitation(found),
            "secret": secret,
            "elsewhere": visit.actor is not None and visit.actor.party_id != party.id,
        }

    return await show(request, "join.html", facts, status=status, error=error)


@router.post("/join/{secret}")
async def accept(request: Request, secret: str) -> Response:
    """Take the invitation: a new member sees their key, once."""
    form = await read_form(request)
    market = market_of(request)

    def work(tx: Transaction) -> str | None:
        actor = session.actor_of(market, tx, request)
        found = invitations.look(tx, secret, tx.now)
        joined = invitations.accept(tx, found, actor, one(form, "name"))
        if not joined.fresh:
            return None
        roles = members.roles_of(tx, joined.member)
        return issue_key(tx, joined.member, roles, label="first")[1]

    try:
        key = await asyncio.wrap_future(market.store.submit(work))
    except InvalidInput as error:
        return await _join(request, secret, error, status_of(error))
    if key is None:
        return see_other("/organisation?done=step")
    return await key_page(request, key)
