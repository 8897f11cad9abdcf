"""Native routes: parties, members, keys, places of trading."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated, Any

from fastapi import APIRouter, Request, Response
from pydantic import Field

from yaosu import identity, operations, present, profiles
from yaosu.identity import absent, allow, may
from yaosu.model import AccessKey, Actor, Party, SigningKey, Venue
from yaosu.ports import Reader, Transaction
from yaosu.web.door import (
    Secret,
    StrictRoute,
    change,
    json_response,
    market_of,
    page,
    read,
    read_own,
    register,
)

from .bodies import (
    Evidence,
    NewKey,
    NewMember,
    NewParty,
    NewSigningKey,
    Nothing,
    Rotation,
    VenueBody,
)
from .profiles import directory

VenueId = Annotated[str, Field(pattern="^[a-z0-9][a-z0-9-]{1,62}$")]

router = APIRouter(prefix="/v1", route_class=StrictRoute, tags=["parties"])


@router.post("/parties", status_code=201)
async def new_party(request: Request, body: NewParty) -> Response:
    """Register an organisation or a person; the reply shows its first key once."""

    def step(tx: Transaction, actor: Actor | None) -> tuple[Party, str]:
        return identity.register_party(
            tx,
            slug=body.slug,
            name=body.name,
            name_en=body.name_en,
            member=body.member,
            roles=frozenset(body.roles),
            holder_type=body.holder_type,
            uscc=body.uscc,
            contact=body.contact,
            by=actor,
        )

    def render(_: Reader, made: tuple[Party, str]) -> Secret:
        shown = {"party": present.party(made[0], private=True)}
        return Secret({**shown, "key": made[1]}, {**shown, "key": None})

    return await register(request, step, render, location=lambda m: f"/v1/parties/{m[0].id}")


@router.get("/parties")
async def parties(
    request: Request,
    verified: bool | None = None,
    role: Annotated[str, Field(max_length=20)] | None = None,
    region: Annotated[str, Field(max_length=20)] | None = None,
    cursor: str | None = None,
    limit: int = 50,
) -> Response:
    """List parties: with `role` or `region` the directory, which is anyone's; else for operators.

    Operators see all parties, and whom to verify; both parameters may be empty for the directory.
    """
    if role is not None or region is not None:
        return await directory(request, role or "", region or "", cursor, limit)

    def look(reader: Reader, actor: Actor) -> list[Party]:
        allow(actor, "party.verify")
        return reader.find(Party, after=cursor, limit=max(1, min(limit, 100)))

    found = await read_own(request, look)
    shown = [
        present.party(p, private=True)
        for p in found
        if verified is None or (p.verified_at is not None) == verified
    ]
    return page(request, shown, found[-1].id if len(found) == max(1, min(limit, 100)) else None)


@router.get("/parties/{party_id}")
async def one_party(request: Request, party_id: str) -> Response:
    """Show a party: contacts and evidence only to itself and to operators, its code as it may be.

    The credit code is whole to those who trade with it, masked to others.
    """

    def look(reader: Reader, actor: Actor | None) -> dict[str, Any]:
        party = reader.one(Party, id=party_id)
        if party is None:
            raise absent("party", party_id)
        shown = present.party(party, private=may(actor, "party.read_private", party))
        return {**shown, "uscc": profiles.code_shown(reader, party, actor)}

    return json_response(await read(request, look))


@router.post("/parties/{party_id}/verify")
async def verify(request: Request, party_id: str, body: Evidence) -> Response:
    """Record that the identity of a party has been checked."""
    return await change(
        request,
        lambda tx, actor: identity.verify_party(tx, actor, party_id, body.evidence),
        lambda _, party: present.party(party, private=True),
    )


@router.get("/me")
async def me(request: Request) -> Response:
    """Show who the key stands for."""

    def look(reader: Reader, actor: Actor) -> dict[str, Any]:
        party = reader.get(Party, actor.party_id)
        return {
            "party": present.party(party, private=may(actor, "party.read_private", party)),
            "member_id": actor.member_id,
            "key_id": actor.key_id,
            "roles": sorted(actor.roles),
            "operations": operations.told(sorted(actor.operations))
            if actor.operations is not None
            else None,
            "bound_to": sorted(actor.bound_to),
        }

    return json_response(await read_own(request, look))


@router.post("/members", status_code=201)
async def new_member(request: Request, body: NewMember) -> Response:
    """Add a person to one's own party; the reply shows their key once."""

    def render(_: Reader, made: tuple[str, str]) -> Secret:
        return Secret({"member_id": made[0], "key": made[1]}, {"member_id": made[0], "key": None})

    return await change(
        request,
        lambda tx, actor: identity.add_member(tx, actor, body.name, frozenset(body.roles)),
        render,
        status=201,
    )


@router.post("/keys", status_code=201)
async def new_key(request: Request, body: NewKey) -> Response:
    """Make another key for oneself that may as much as this one, or less."""

    def step(tx: Transaction, actor: Actor) -> tuple[AccessKey, str]:
        return identity.new_key(
            tx,
            actor,
            roles=None if body.roles is None else frozenset(body.roles),
            label=body.label,
            days=body.days,
            operations=body.operations,
            bound_to=body.bound_to,
        )

    def render(_: Reader, made: tuple[AccessKey, str]) -> Secret:
        shown = present.key(made[0])
        return Secret({**shown, "key": made[1]}, {**shown, "key": None})

    return await change(request, step, render, status=201)


@router.get("/operations")
async def all_operations(request: Request) -> Response:
    """List the operations that a key can be made for, in words."""
    return page(request, operations.told(operations.words()) or [], None)


@router.get("/keys")
async def keys(request: Request) -> Response:
    """List the keys of one's own party; secrets are kept nowhere."""

    def look(reader: Reader, actor: Actor) -> list[dict[str, Any]]:
        return [present.key(k) for k in reader.find(AccessKey, party_id=actor.party_id, limit=500)]

    return page(request, await read_own(request, look), None)


@router.post("/keys/{key_id}/rotate", status_code=201)
async def rotate(request: Request, key_id: str, body: Rotation) -> Response:
    """Replace a key of one's own; both work for the hours of the overlap."""

    def render(_: Reader, made: tuple[AccessKey, str]) -> Secret:
        shown = present.key(made[0])
        return Secret({**shown, "key": made[1]}, {**shown, "key": None})

    return await change(
        request,
        lambda tx, actor: identity.rotate_key(tx, actor, key_id, overlap_hours=body.overlap_hours),
        render,
        status=201,
    )


@router.post("/keys/{key_id}/revoke")
async def end_key(request: Request, key_id: str, body: Nothing) -> Response:
    """End a key at once."""
    return await change(
        request,
        lambda tx, actor: identity.revoke_key(tx, actor, key_id),
        lambda _, key: present.key(key),
    )


@router.post("/signing-keys", status_code=201)
async def new_signing_key(request: Request, body: NewSigningKey) -> Response:
    """Register a public signing key, or have the market hold one (sign_mode 02)."""
    market = market_of(request)

    def step(tx: Transaction, actor: Actor) -> SigningKey:
        if body.held_by == "own":
            return identity.add_signing_key(tx, actor, body.public_key, label=body.label)
        public, save = market.new_platform_key()
        made = identity.add_signing_key(tx, actor, public, held_by="platform", label=body.label)
        save(made.id)
        return made

    return await change(request, step, lambda _, key: present.signing_key(key), status=201)


@router.get("/signing-keys")
async def signing_keys(request: Request) -> Response:
    """List the signing keys of one's own party."""

    def look(reader: Reader, actor: Actor) -> list[dict[str, Any]]:
        found = reader.find(SigningKey, party_id=actor.party_id, limit=500)
        return [present.signing_key(k) for k in found]

    return page(request, await read_own(request, look), None)


@router.post("/signing-keys/{key_id}/revoke")
async def end_signing_key(request: Request, key_id: str, body: Nothing) -> Response:
    """Say that a signing key is not to be used any more; old signatures stay what they are."""

    def step(tx: Transaction, actor: Actor) -> SigningKey:
        key = tx.one(SigningKey, id=key_id)
        if key is None or key.party_id != actor.party_id:
            raise absent("signing key", key_id)
        ended = replace(key, revoked_at=key.revoked_at or tx.now)
        tx.put(ended)
        tx.record(
            actor.party_id, "signing_key_revoked", actor_id=actor.id, payload={"key_id": key_id}
        )
        return ended

    return await change(request, step, lambda _, key: present.signing_key(key))


@router.get("/venues")
async def venues(request: Request) -> Response:
    """List the places of trading and their rules."""
    found = await read(request, lambda reader, _: reader.find(Venue, limit=100))
    return page(request, [present.venue(v) for v in found], None)


@router.put("/venues/{venue_id}")
async def set_venue(request: Request, venue_id: VenueId, body: VenueBody) -> Response:
    """Add or change a place of trading (operator); the exchange that holds it never changes."""
    return await change(
        request,
        lambda tx, actor: identity.set_venue(tx, actor, Venue(id=venue_id, **body.model_dump())),
        lambda _, place: present.venue(place),
    )
