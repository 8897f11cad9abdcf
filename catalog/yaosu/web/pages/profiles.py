"""Pages of parties: the directory, what one shows, and the form to edit one's own."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import date
from typing import Any
from urllib.parse import quote

from fastapi import APIRouter, Request, Response

from yaosu import profiles
from yaosu.errors import InvalidInput, NotFound, YaosuError
from yaosu.identity import absent
from yaosu.model import Actor, Party
from yaosu.model_profile import Profile, Qualification, Service
from yaosu.ports import Reader, Transaction
from yaosu_schemas.codes import code_list

from .steps_forms import fen
from .visit import Form, PageRoute, Visit, act, one, read_form, show
from .words import data_block

router = APIRouter(route_class=PageRoute, include_in_schema=False)
PAGE = 50
IN_DIRECTORY = ("provider", "data_dealer", "broker", "third_party", "exchange", "user")


def _today(visit: Visit) -> date:
    return visit.market.clock.now().date()


# --- the directory, and one party -------------------------------------------------------------


@router.get("/parties")
async def directory(request: Request) -> Response:
    """Parties that show themselves, by role and region."""

    def look(reader: Reader, visit: Visit) -> Mapping[str, Any]:
        asked = visit.request.query_params
        role, region = asked.get("role", ""), asked.get("region", "")
        found, after = profiles.directory(
            reader, role=role, region=region, cursor=asked.get("cursor") or None, size=PAGE
        )
        return {
            "rows": [profiles.shown(party, shown, _today(visit)) for party, shown in found],
            "after": after,
            "role": role,
            "region": region,
            "roles": IN_DIRECTORY,
            "regions": _provinces(),
        }

    return await show(request, "parties.html", look)


def _provinces() -> list[Any]:
    return [entry for entry in code_list("division") if entry.code.endswith("0000")]


@router.get("/parties/{slug}")
async def party_page(request: Request, slug: str) -> Response:
    """What a party shows of itself, and what the market has seen of it."""

    def look(reader: Reader, visit: Visit) -> Mapping[str, Any]:
        party = reader.one(Party, slug=slug)
        found = profiles.public(reader, party) if party else None
        if party is None or found is None:
            raise absent("party", slug)
        counts, latest = profiles.attested(reader, party)
        page = f"{visit.market.settings.public_url.rstrip('/')}/parties/{quote(slug)}"
        return {
            "who": profiles.shown(party, found, _today(visit)),
            "published": found.state == "public",
            "listings": profiles.listed(reader, party),
            "counts": counts,
            "attested": latest,
            "statistics": profiles.statistics(reader, party) if found.show_statistics else None,
            "jsonld": data_block(profiles.schema_org(party, found, page)),
            "operates": visit.may("party.verify") and visit.known.party_id != party.id,
        }

    return await show(request, "party.html", look)


@router.post("/parties/{slug}/qualifications/{number}/check")
async def check(request: Request, slug: str, number: int) -> Response:
    """Record that an operator has seen the proof of a qualification."""
    await read_form(request)

    def step(tx: Transaction, actor: Actor) -> object:
        party = tx.one(Party, slug=slug)
        if party is None:
            raise absent("party", slug)
        return profiles.check_qualification(tx, actor, party.id, number)

    return await act(request, step, lambda _: f"/parties/{quote(slug)}?done=step")


# --- one's own --------------------------------------------------------------------------------


def _own(reader: Reader, visit: Visit) -> Mapping[str, Any]:
    party = reader.get(Party, visit.known.party_id)
    kept = profiles.of(reader, party)
    return {
        "who": profiles.shown(party, kept, _today(visit), own=True),
        "claims": profiles.CLAIMED,
        "kinds": list(code_list("service_kind")),
        "divisions": [e for e in code_list("division") if e.code.endswith("00")],
        "provinces": _provinces(),
    }


@router.get("/profile")
async def own(request: Request) -> Response:
    """The form of what one's own party shows."""
    return await show(request, "profile.html", _own)


Change = Callable[[Profile, Form], dict[str, Any]]


def _texts(_: Profile, form: Form) -> dict[str, Any]:
    contact = {n: one(form, n)[:300] for n in ("email", "phone", "address") if one(form, n)}
    return {
        "state": "public" if one(form, "public") else "hidden",
        "region": one(form, "region")[:20],
        "roles": tuple(dict.fromkeys(form.get("roles", ()))),
        "about": one(form, "about")[:4000],
        "about_en": one(form, "about_en")[:4000],
        "website": one(form, "website")[:300],
        "contact": contact,
        "show_uscc": bool(one(form, "show_uscc")),
        "show_statistics": bool(one(form, "show_statistics")),
    }


def _new_service(kept: Profile, form: Form) -> dict[str, Any]:
    price = one(form, "price")
    made = Service(
        kind=one(form, "kind"),
        name=one(form, "name")[:300],
        name_en=one(form, "name_en")[:300],
        text=one(form, "text")[:4000],
        text_en=one(form, "text_en")[:4000],
        regions=tuple(r for r in form.get("regions", ()) if r),
        price_fen=fen(price) if price else None,
        unit=one(form, "unit")[:300],
    )
    return {"services": (*kept.services, made)}


def _new_qualification(kept: Profile, form: Form) -> dict[str, Any]:
    made = Qualification(
        name=one(form, "name")[:300],
        name_en=one(form, "name_en")[:300],
        number=one(form, "number")[:300],
        issuer=one(form, "issuer")[:300],
        valid_from=_day(one(form, "valid_from"), "valid_from"),
        valid_until=_day(one(form, "valid_until"), "valid_until"),
    )
    return {"qualifications": (*kept.qualifications, made)}


def _day(text: str, name: str) -> date | None:
    try:
        return date.fromisoformat(text) if text else None
    except ValueError:
        raise InvalidInput("a day is YYYY-MM-DD", "日期格式为 YYYY-MM-DD", field=name) from None


def _without(name: str) -> Change:
    def change(kept: Profile, form: Form) -> dict[str, Any]:
        number = one(form, "number")
        at = int(number) if number.isascii() and number.isdigit() and len(number) < 4 else -1
        items = list(getattr(kept, name))
        if not 0 <= at < len(items):
            raise NotFound("it is not there any more", "该项已不存在")
        return {name: tuple(items[:at] + items[at + 1 :])}

    return change


_CHANGES: Mapping[str, Change] = {
    "texts": _texts,
    "new_service": _new_service,
    "remove_service": _without("services"),
    "new_qualification": _new_qualification,
    "remove_qualification": _without("qualifications"),
}


@router.post("/profile/{action}")
async def edit(request: Request, action: str) -> Response:
    """Change a part of what one's own party shows."""
    form = await read_form(request)
    change = _CHANGES.get(action)
    if change is None:
        raise InvalidInput("no such step", "没有此操作", field="action")

    def step(tx: Transaction, actor: Actor) -> Profile:
        kept = profiles.of(tx, tx.get(Party, actor.party_id))
        return profiles.edit(tx, actor, **change(kept, form))

    async def again(error: YaosuError, status: int) -> Response:
        return await show(request, "profile.html", _own, status=status, error=error)

    return await act(request, step, lambda _: "/profile?done=step", again=again)
