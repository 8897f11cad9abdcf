"""Native routes: an organisation's rules, what waits for an approval, its people, invitations."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import Field

from yaosu.errors import InvalidInput
from yaosu.identity import issue_key
from yaosu.model import Actor, Member, Role
from yaosu.model_organisation import Approval, Invitation, Rule
from yaosu.organisation import approvals, invitations, members, rules, shown, waiting
from yaosu.ports import Reader, Transaction
from yaosu.trading.performing import performer
from yaosu.web.door import (
    Secret,
    StrictRoute,
    change,
    json_response,
    market_of,
    page,
    read_own,
    register,
)

from .bodies import Body, Id, Line, Nothing, OptionalReason, Reason, Whole

router = APIRouter(prefix="/v1", route_class=StrictRoute, tags=["organisation"])
STATES = ("waiting", "done", "refused", "withdrawn", "expired", "lapsed")


class NewRule(Body):
    step: Line = Field(examples=["order"])
    above_fen: Whole | None = Field(default=None, ge=0, le=10**15)
    approvers: list[Id] = Field(min_length=1, max_length=50, examples=[["mbr_…"]])
    days: Whole = Field(default=7, ge=1, le=rules.MOST_DAYS, description="that a request waits")


class NewInvitation(Body):
    name: Line = Field(min_length=1, examples=["李工"])
    email: Line = ""
    roles: list[Role] = Field(default_factory=list, max_length=5)
    owner: bool = False
    days: Whole = Field(default=invitations.DAYS, ge=1, le=invitations.MOST_DAYS)


class Acceptance(Body):
    secret: Line = Field(min_length=1, description="the last part of the link")
    name: Line = ""


# --- approvals --------------------------------------------------------------------------------


@router.get("/approvals")
async def list_approvals(request: Request, state: str | None = None) -> Response:
    """List the requests of one's own organisation, newest first; `mine` can be answered."""
    if state is not None and state not in STATES:
        raise InvalidInput(
            f"states are: {', '.join(STATES)}", f"状态取值：{'、'.join(STATES)}", field="state"
        )

    def look(reader: Reader, actor: Actor) -> list[dict[str, Any]]:
        found = approvals.of_party(reader, actor, state)
        return [shown.approval(reader, a, actor) for a in found]

    return page(request, await read_own(request, look), None)


@router.get("/approvals/{approval_id}")
async def one_approval(request: Request, approval_id: str) -> Response:
    """Show a request of one's own organisation."""

    def look(reader: Reader, actor: Actor) -> dict[str, Any]:
        return shown.approval(reader, approvals.load(reader, actor, approval_id), actor)

    return json_response(await read_own(request, look))


@router.post("/approvals/{approval_id}/approve")
async def approve(request: Request, approval_id: str, body: Nothing) -> Response:
    """Say yes; the last yes takes the step, as things stand now."""
    perform = performer(market_of(request).sign_for)
    return await change(
        request, lambda tx, actor: approvals.approve(tx, actor, approval_id, perform), _one
    )


@router.post("/approvals/{approval_id}/refuse")
async def refuse(request: Request, approval_id: str, body: Reason) -> Response:
    """Say no, with a reason."""
    return await change(
        request, lambda tx, actor: approvals.refuse(tx, actor, approval_id, body.reason), _one
    )


@router.post("/approvals/{approval_id}/withdraw")
async def withdraw(request: Request, approval_id: str, body: OptionalReason) -> Response:
    """Take back what one asked for."""
    return await change(
        request, lambda tx, actor: approvals.withdraw(tx, actor, approval_id, body.reason), _one
    )


def _one(reader: Reader, found: Approval) -> dict[str, Any]:
    return shown.approval(reader, found)


@router.get("/waiting")
async def what_waits(request: Request) -> Response:
    """List what waits for the asker: approvals, confirmations of operators, next steps."""

    def look(reader: Reader, actor: Actor) -> list[dict[str, Any]]:
        return [item.as_json() for item in waiting.of(reader, actor)]

    return page(request, await read_own(request, look), None)


# --- rules ------------------------------------------------------------------------------------


@router.get("/approval-rules")
async def list_rules(request: Request) -> Response:
    """List the rules of one's own organisation that hold."""

    def look(reader: Reader, actor: Actor) -> list[dict[str, Any]]:
        return [shown.rule(r) for r in rules.of_party(reader, actor.party_id)]

    return page(request, await read_own(request, look), None)


@router.post("/approval-rules", status_code=201)
async def new_rule(request: Request, body: NewRule) -> Response:
    """Say which step of one's own organisation needs whose approval, from now on (owner)."""

    def step(tx: Transaction, actor: Actor) -> Rule:
        return rules.add(
            tx, actor, body.step, body.approvers, above_fen=body.above_fen, days=body.days
        )

    return await change(request, step, lambda _, made: shown.rule(made), status=201)


@router.post("/approval-rules/{rule_id}/end")
async def end_rule(request: Request, rule_id: str, body: Nothing) -> Response:
    """End a rule (owner); where another owner or approver is, one of them has to say yes."""
    return await change(
        request, lambda tx, actor: rules.end(tx, actor, rule_id), lambda _, r: shown.rule(r)
    )


# --- people -----------------------------------------------------------------------------------


def member_facts(reader: Reader, party_id: str) -> list[dict[str, Any]]:
    """Return everyone who is or was a member of a party."""
    heads = {m.id for m in members.owners(reader, party_id)}
    found = reader.find(Member, party_id=party_id, limit=members.MOST)
    return [shown.member(reader, m, heads) for m in found]


@router.get("/members")
async def list_members(request: Request) -> Response:
    """List the people of one's own organisation."""

    def look(reader: Reader, actor: Actor) -> list[dict[str, Any]]:
        return member_facts(reader, actor.party_id)

    return page(request, await read_own(request, look), None)


@router.post("/members/{member_id}/end")
async def end_member(request: Request, member_id: str, body: Nothing) -> Response:
    """Let a person leave: their keys end at once (owner)."""
    return await change(
        request,
        lambda tx, actor: members.end(tx, actor, member_id),
        lambda reader, m: shown.member(reader, m, set()),
    )


def link(request: Request, secret: str) -> str:
    """Return the address that the invited person opens."""
    return f"{market_of(request).settings.public_url.rstrip('/')}/join/{secret}"


@router.post("/invitations", status_code=201)
async def invite(request: Request, body: NewInvitation) -> Response:
    """Invite a person into one's own organisation (owner); the link is shown this once."""

    def step(tx: Transaction, actor: Actor) -> tuple[Invitation, str]:
        return invitations.invite(
            tx,
            actor,
            name=body.name,
            email=body.email,
            roles=frozenset(body.roles),
            owner=body.owner,
            days=body.days,
        )

    def render(_: Reader, made: tuple[Invitation, str]) -> Secret:
        facts = shown.invitation(made[0])
        return Secret({**facts, "link": link(request, made[1])}, {**facts, "link": None})

    return await change(request, step, render, status=201)


@router.get("/invitations")
async def list_invitations(request: Request) -> Response:
    """List the invitations of one's own organisation (owner); links are kept nowhere."""

    def look(reader: Reader, actor: Actor) -> list[dict[str, Any]]:
        return [shown.invitation(i) for i in invitations.of_party(reader, actor)]

    return page(request, await read_own(request, look), None)


@router.post("/invitations/{invitation_id}/revoke")
async def revoke(request: Request, invitation_id: str, body: Nothing) -> Response:
    """Take an invitation back (owner)."""
    return await change(
        request,
        lambda tx, actor: invitations.revoke(tx, actor, invitation_id),
        lambda _, made: shown.invitation(made),
    )


@router.post("/invitations/accept", status_code=201)
async def accept(request: Request, body: Acceptance) -> Response:
    """Take an invitation: a new member gets a key, shown once; one who is here gets its roles."""

    def step(tx: Transaction, actor: Actor | None) -> tuple[invitations.Joined, str | None]:
        joined = invitations.accept(tx, invitations.look(tx, body.secret, tx.now), actor, body.name)
        if not joined.fresh:
            return joined, None
        roles = members.roles_of(tx, joined.member)
        return joined, issue_key(tx, joined.member, roles, label="first")[1]

    def render(reader: Reader, made: tuple[invitations.Joined, str | None]) -> Secret:
        member = made[0].member
        heads = {m.id for m in members.owners(reader, member.party_id)}
        facts = {**shown.member(reader, member, heads), "party_id": member.party_id}
        return Secret({**facts, "key": made[1]}, {**facts, "key": None})

    return await register(request, step, render)
