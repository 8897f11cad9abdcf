"""Native routes: what parties show of themselves, the directory of them, and one's own profile."""

from __future__ import annotations

from datetime import date
from typing import Annotated, Any

from fastapi import APIRouter, Request, Response
from pydantic import Field

from yaosu import present, profiles
from yaosu.identity import absent
from yaosu.model import Actor, Party
from yaosu.model_profile import Profile, Qualification, Service
from yaosu.ports import Reader, Transaction
from yaosu.web.door import StrictRoute, change, json_response, market_of, page, read, read_own

from .bodies import Body, Id, Line, Nothing, Paragraph, Whole

router = APIRouter(prefix="/v1", route_class=StrictRoute, tags=["profiles"])
Code = Annotated[str, Field(max_length=20)]


class QualificationBody(Body):
    name: Line = Field(min_length=1, examples=["信息安全服务资质"])
    name_en: Line = ""
    number: Line = ""
    issuer: Line = ""
    valid_from: date | None = None
    valid_until: date | None = None


class ServiceBody(Body):
    """One service; without `price_fen` the price is on request."""

    kind: Code = Field(examples=["quality"])
    name: Line = Field(min_length=1, examples=["语料质量评价"])
    name_en: Line = ""
    text: Paragraph = ""
    text_en: Paragraph = ""
    regions: list[Code] = Field(default_factory=list, max_length=50)
    price_fen: Whole | None = Field(default=None, ge=0, le=10**15)
    unit: Line = ""


class ProfileBody(Body):
    """What is left out stays as it is."""

    state: Code | None = Field(default=None, description="hidden or public")
    region: Code | None = None
    roles: list[Code] | None = Field(default=None, max_length=5, examples=[["data_dealer"]])
    about: Paragraph | None = None
    about_en: Paragraph | None = None
    website: Line | None = None
    contact: dict[str, Line] | None = Field(default=None, max_length=3)
    show_uscc: bool | None = None
    show_statistics: bool | None = None
    qualifications: list[QualificationBody] | None = Field(default=None, max_length=30)
    services: list[ServiceBody] | None = Field(default=None, max_length=30)


def changes_of(body: ProfileBody) -> dict[str, Any]:
    """Return the fields that are to change, as the record keeps them."""
    found = {name: getattr(body, name) for name in body.model_fields_set}
    found = {name: value for name, value in found.items() if value is not None}
    if "roles" in found:
        found["roles"] = tuple(dict.fromkeys(found["roles"]))
    if "qualifications" in found:
        found["qualifications"] = tuple(
            Qualification(**q.model_dump()) for q in found["qualifications"]
        )
    if "services" in found:
        found["services"] = tuple(
            Service(**{**s.model_dump(), "regions": tuple(s.regions)}) for s in found["services"]
        )
    return found


def whole(reader: Reader, party: Party, profile: Profile, today: date) -> dict[str, Any]:
    """Return a profile with what the market knows of the party, as far as it allows."""
    found = profiles.shown(party, profile, today)
    counts, latest = profiles.attested(reader, party)
    return {
        **found,
        "listings": [
            {
                "listing_id": v.id,
                "publisher": v.publisher,
                "name": v.name,
                "title": v.title,
                "listed_at": present.plain(v.listed_at),
            }
            for v in profiles.listed(reader, party)
        ],
        "attested": {
            "reviews": counts["register"],
            "samples": counts["sample_judged"],
            "latest": [
                {"listing_id": v.id, "title": v.title, "what": a.what, "at": present.plain(a.at)}
                for a, v in latest
            ],
        },
        "statistics": profiles.statistics(reader, party) if profile.show_statistics else None,
    }


@router.get("/parties/{party_id}/profile")
async def profile(request: Request, party_id: str) -> Response:
    """Show what a party shows of itself: services, qualifications, listings, attestations."""
    today = market_of(request).clock.now().date()

    def look(reader: Reader, _: Actor | None) -> dict[str, Any]:
        party = reader.one(Party, id=party_id)
        found = profiles.public(reader, party) if party else None
        if party is None or found is None:
            raise absent("party", party_id)
        return whole(reader, party, found, today)

    return json_response(await read(request, look))


@router.get("/profile")
async def my_profile(request: Request) -> Response:
    """Show the profile of one's own party as it stands, published or not."""
    today = market_of(request).clock.now().date()

    def look(reader: Reader, actor: Actor) -> dict[str, Any]:
        party = reader.get(Party, actor.party_id)
        return profiles.shown(party, profiles.of(reader, party), today, own=True)

    return json_response(await read_own(request, look))


@router.put("/profile")
async def edit_profile(request: Request, body: ProfileBody) -> Response:
    """Change what one's own party shows; `state` public puts it into the directory."""
    today = market_of(request).clock.now().date()

    def step(tx: Transaction, actor: Actor) -> Profile:
        return profiles.edit(tx, actor, **changes_of(body))

    def render(reader: Reader, made: Profile) -> dict[str, Any]:
        return profiles.shown(reader.get(Party, made.party_id), made, today, own=True)

    return await change(request, step, render)


@router.post("/parties/{party_id}/qualifications/{number}/check")
async def check(request: Request, party_id: Id, number: int, body: Nothing) -> Response:
    """Record that the proof of a qualification was seen (operator); 0 is the first."""
    today = market_of(request).clock.now().date()

    def render(reader: Reader, made: Profile) -> dict[str, Any]:
        return profiles.shown(reader.get(Party, made.party_id), made, today)

    return await change(
        request,
        lambda tx, actor: profiles.check_qualification(tx, actor, party_id, number),
        render,
    )


async def directory(
    request: Request, role: str, region: str, cursor: str | None, limit: int
) -> Response:
    """List the parties that have published a profile, by role and region."""
    today = market_of(request).clock.now().date()
    size = max(1, min(limit, 100))

    def look(reader: Reader, _: Actor | None) -> tuple[list[dict[str, Any]], str | None]:
        found, after = profiles.directory(
            reader, role=role, region=region, cursor=cursor, size=size
        )
        return [profiles.shown(party, shown, today) for party, shown in found], after

    items, after = await read(request, look)
    return page(request, items, after)
