"""What parties show of themselves: edited by them, checked by operators, found by anyone.

Nothing is shown of a party that has not published its profile, but for providers what their
datasets say anyway: their name. Contacts of the account are never shown: a party writes down what
it wants to be reached by.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import date
from typing import Any
from urllib.parse import urlsplit

from yaosu_schemas.codes import code_list
from yaosu_schemas.texts import clip

from . import present
from .errors import InvalidInput
from .identity import absent, allow, may
from .model import Actor, Listing, Party, Role, Trade, TradeState, new_id
from .model_profile import Attested, Profile, Qualification, Service
from .ports import Reader, Transaction

MOST_SERVICES = 30
MOST_QUALIFICATIONS = 30
MOST_LOOKED_AT = 10_000
"""Profiles that one request to the directory looks through; the cursor goes on from there."""
CLAIMED = ("data_dealer", "broker", "third_party")
"""Roles (domain b.18) that a party gives itself; the others follow from what its keys may do."""
_OF_KEYS = {
    Role.PROVIDER: "provider",
    Role.BUYER: "user",
    Role.REVIEWER: "third_party",
    Role.EXCHANGE: "exchange",
    Role.ADMIN: "operator",
}
_CONTACT = {
    "email": re.compile(r"[A-Za-z0-9._%+-]{1,64}@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+"),
    "phone": re.compile(r"[0-9+() -]{5,30}"),
    "address": re.compile(r".{1,200}"),
}
ENDED = (TradeState.VOUCHERED, TradeState.COMPLETED)


# --- editing ----------------------------------------------------------------------------------


def of(reader: Reader, party: Party) -> Profile:
    """Return a party's profile; who never wrote one has one that says and shows nothing."""
    found = reader.one(Profile, party_id=party.id)
    return found or Profile(
        id=new_id("prf"), party_id=party.id, created_at=party.created_at,
        updated_at=party.created_at,
    )  # fmt: skip


def edit(tx: Transaction, actor: Actor, **changes: Any) -> Profile:
    """Change what one's own party shows; a qualification that was changed is unchecked again."""
    allow(actor, "profile.edit")
    party = tx.get(Party, actor.party_id)
    kept = of(tx, party)
    if "qualifications" in changes:
        changes["qualifications"] = _still_checked(kept, changes["qualifications"])
    made = replace(kept, **changes, updated_at=tx.now)
    _check(made)
    known = tx.one(Profile, party_id=party.id) is not None
    (tx.put if known else tx.add)(made)
    payload = {"state": made.state, "changed": sorted(changes)}
    tx.record(party.id, "profile_edited", actor_id=actor.id, payload=payload)
    return made


def _still_checked(kept: Profile, given: Sequence[Qualification]) -> tuple[Qualification, ...]:
    """Keep an operator's word on what was not touched; nobody gives it to themselves."""
    known = {_plain(q): q for q in kept.qualifications}
    return tuple(known.get(_plain(q), _plain(q)) for q in given)


def _plain(one: Qualification) -> Qualification:
    return replace(one, checked_by="", checked_at=None)


def check_qualification(tx: Transaction, actor: Actor, party_id: str, number: int) -> Profile:
    """Record that an operator has seen the proof of a qualification (0: the first)."""
    allow(actor, "party.verify")
    party = tx.one(Party, id=party_id)
    kept = of(tx, party) if party else None
    if kept is None or not 0 <= number < len(kept.qualifications) or party_id == actor.party_id:
        raise absent("qualification", f"{party_id}/{number}")
    one = replace(kept.qualifications[number], checked_by=actor.id, checked_at=tx.now)
    rest = list(kept.qualifications)
    rest[number] = one
    made = replace(kept, qualifications=tuple(rest), updated_at=tx.now)
    tx.put(made)
    payload = {"number": one.number, "valid_until": present.plain(one.valid_until)}
    tx.record(party_id, "qualification_checked", actor_id=actor.id, payload=payload)
    return made


def _wrong(field: str, en: str, zh: str) -> InvalidInput:
    return InvalidInput(en, zh, field=field)


def _check(made: Profile) -> None:
    """Refuse what no page can show rightly."""
    if made.state not in ("hidden", "public"):
        raise _wrong("state", "hidden or public", "应为 hidden 或 public")
    if bad := set(made.roles) - set(CLAIMED):
        raise _wrong(
            "roles", f"a party claims {', '.join(CLAIMED)}, not {clip(sorted(bad))}",
            f"可声明的角色为 {'、'.join(CLAIMED)}，不含 {clip(sorted(bad))}",
        )  # fmt: skip
    if made.region and made.region not in code_list("division"):
        raise _wrong("region", "not a division of GB/T 2260", "不是 GB/T 2260 行政区划代码")
    if made.website:
        _check_website(made.website)
    for name, value in made.contact.items():
        form = _CONTACT.get(name)
        if form is None or not form.fullmatch(value) or not value.isprintable():
            raise _wrong(
                f"contact/{clip(name)}", "contact is email, phone or address, well formed",
                "公开联系方式为 email、phone、address，且格式正确",
            )  # fmt: skip
    if len(made.services) > MOST_SERVICES or len(made.qualifications) > MOST_QUALIFICATIONS:
        raise _wrong("services", "at most 30 of each", "服务与资质各至多 30 项")
    for at, service in enumerate(made.services):
        _check_service(f"services/{at}", service)
    for at, one in enumerate(made.qualifications):
        _check_qualification(f"qualifications/{at}", one)


def _check_website(url: str) -> None:
    try:
        parts = urlsplit(url)
        host = parts.hostname or ""
    except ValueError:
        host = ""
    plain = url.isascii() and url.isprintable() and not set(url) & set(" \"'<>\\`")
    if not plain or len(url) > 300 or not url.startswith("https://") or "." not in host:
        raise _wrong("website", "a website is https://… in ASCII", "网站须为 https:// 开头的地址")
    if parts.username is not None or parts.password is not None:
        raise _wrong("website", "no name or password in it", "不可含用户名或口令")


def _check_service(field: str, one: Service) -> None:
    if one.kind not in code_list("service_kind"):
        raise _wrong(f"{field}/kind", "no such kind of service", "没有此服务类型")
    if not one.name.strip():
        raise _wrong(f"{field}/name", "a service has a name", "服务须有名称")
    if any(r not in code_list("division") for r in one.regions) or len(one.regions) > 50:
        raise _wrong(
            f"{field}/regions", "up to 50 divisions of GB/T 2260", "至多 50 个 GB/T 2260 区划代码"
        )
    if one.price_fen is not None and not 0 <= one.price_fen <= 10**15:
        raise _wrong(f"{field}/price_fen", "whole fen up to 10^15", "金额须为不超过 10^15 的整数分")


def _check_qualification(field: str, one: Qualification) -> None:
    if not one.name.strip():
        raise _wrong(f"{field}/name", "a qualification has a name", "资质须有名称")
    if one.valid_from and one.valid_until and one.valid_until < one.valid_from:
        raise _wrong(f"{field}/valid_until", "it ends before it begins", "截止日早于起始日")


# --- looking ----------------------------------------------------------------------------------


def roles_of(party: Party, profile: Profile) -> list[str]:
    """Return what a party is on this market, in the words of domain b.18."""
    found = dict.fromkeys([_OF_KEYS[r] for r in party.roles] + list(profile.roles))
    return [entry.code for entry in code_list("role") if entry.code in found]


def public(reader: Reader, party: Party) -> Profile | None:
    """Return a profile that anyone may see, or None; of a provider on the market, its name."""
    kept = of(reader, party)
    if kept.state == "public":
        return kept
    shows = party.holder_type != "natural_person" and listed(reader, party, 1)
    if not shows:
        return None
    return Profile(
        id=kept.id, party_id=party.id, created_at=kept.created_at, updated_at=kept.updated_at
    )


def listed(reader: Reader, party: Party, limit: int = 100) -> list[Listing]:
    """Return what a party offers to everyone, newest first."""
    found = reader.find(
        Listing, provider_id=party.id, state="listed", view_policy="public", newest=True,
        limit=limit,
    )  # fmt: skip
    return found


def directory(
    reader: Reader, *, role: str = "", region: str = "", cursor: str | None = None, size: int = 50
) -> tuple[list[tuple[Party, Profile]], str | None]:
    """Return a page of published profiles by role and region, and where the next begins."""
    if role and role not in code_list("role"):
        raise _wrong("role", "no such role", "没有此角色")
    prefix = region.rstrip("0") if region else ""
    if region and region not in code_list("division"):
        raise _wrong("region", "not a division of GB/T 2260", "不是 GB/T 2260 行政区划代码")
    found: list[tuple[Party, Profile]] = []
    for seen, profile in enumerate(_published(reader, cursor), 1):
        cursor = profile.id
        party = reader.get(Party, profile.party_id)
        here = profile.region.startswith(prefix)
        if here and (not role or role in roles_of(party, profile)):
            found.append((party, profile))
        if len(found) == size or seen == MOST_LOOKED_AT:
            return found, cursor
    return found, None


def _published(reader: Reader, after: str | None) -> Iterator[Profile]:
    while page := reader.find(Profile, state="public", after=after, limit=500):
        yield from page
        after = page[-1].id
        if len(page) < 500:
            return


def masked_uscc(code: str) -> str:
    """Return a credit code as a page shows it: the first 3 and the last 4 characters."""
    return f"{code[:3]}{'*' * max(0, len(code) - 7)}{code[-4:]}"


def code_shown(reader: Reader, party: Party, actor: Actor | None) -> str | None:
    """Return a party's credit code as this viewer may have it.

    Whole to itself, to those who trade with it, and to whose duty it is to know who is who (Data
    Security Law art. 33: reviewers, exchanges, operators); to all where its profile says so. A
    company's code is public elsewhere, but that of a sole trader leads to a person (PIPL art. 4),
    and nothing in a code tells the two apart for certain: everybody else sees it masked.
    """
    if not party.uscc:
        return None
    if may(actor, "party.read_private", party):
        return party.uscc
    if party.holder_type == "natural_person":
        return None
    if actor is not None and (
        not actor.roles.isdisjoint((Role.REVIEWER, Role.EXCHANGE))
        or _trade_together(reader, party.id, actor.party_id)
    ):
        return party.uscc
    profile = reader.one(Profile, party_id=party.id)
    return party.uscc if profile and profile.show_uscc else masked_uscc(party.uscc)


def _trade_together(reader: Reader, one: str, other: str) -> bool:
    return any(
        reader.find(Trade, provider_id=seller, user_id=buyer, limit=1)
        for seller, buyer in ((one, other), (other, one))
    )


def statistics(reader: Reader, party: Party) -> dict[str, int]:
    """Return how much a party has traded, as it allows everyone to know."""
    mine = {"sold": {"provider_id": party.id}, "bought": {"user_id": party.id}}
    return {name: reader.count(Trade, state=ENDED, **side) for name, side in mine.items()}


def attested(reader: Reader, party: Party) -> tuple[dict[str, int], list[tuple[Attested, Listing]]]:
    """Return how often people of a party put their name to versions, and the latest of them."""
    counts = {
        what: reader.count(Attested, party_id=party.id, what=what)
        for what in ("register", "sample_judged")
    }
    latest = reader.find(Attested, party_id=party.id, newest=True, limit=50)
    shown = [(one, reader.get(Listing, one.listing_id)) for one in latest]
    return counts, [
        (one, v) for one, v in shown if v.state == "listed" and v.view_policy == "public"
    ][:20]


def note_attested(tx: Transaction, party_id: str, listing_id: str, what: str, at: Any) -> None:
    """Keep that people of a party put their name to a version, once."""
    if tx.one(Attested, party_id=party_id, listing_id=listing_id, what=what) is None:
        tx.add(
            Attested(id=new_id("att"), party_id=party_id, listing_id=listing_id, what=what, at=at)
        )


# --- as it is shown ---------------------------------------------------------------------------


def shown(party: Party, profile: Profile, today: date, *, own: bool = False) -> dict[str, Any]:
    """Return a profile as anyone sees it, or, to its own people, as it stands."""
    person = party.holder_type == "natural_person"
    code = party.uscc if party.uscc and not person else None
    if code and not profile.show_uscc and not own:
        code = masked_uscc(code)
    found = {
        "party_id": party.id,
        "slug": party.slug,
        "name": party.name,
        "name_en": party.name_en,
        "holder_type": party.holder_type,
        "verified": party.verified_at is not None,
        "uscc": code,
        "roles": roles_of(party, profile),
        "claimed": list(profile.roles),
        "region": profile.region,
        "about": profile.about,
        "about_en": profile.about_en,
        "website": profile.website,
        "contact": dict(profile.contact),
        "qualifications": [_qualification(q, today) for q in profile.qualifications],
        "services": [_service(s) for s in profile.services],
        "show_statistics": profile.show_statistics,
        "updated_at": present.plain(profile.updated_at),
    }
    return {**found, "state": profile.state, "show_uscc": profile.show_uscc} if own else found


def _qualification(one: Qualification, today: date) -> dict[str, Any]:
    facts: Mapping[str, Any] = present.plain(one)
    kept = {k: v for k, v in facts.items() if k not in ("checked_by", "checked_at")}
    over = one.valid_until is not None and one.valid_until < today
    return {**kept, "checked": one.checked_at is not None, "expired": over}


def _service(one: Service) -> dict[str, Any]:
    facts: dict[str, Any] = present.plain(one)
    return {**facts, "pricing": "on_request" if one.price_fen is None else "fixed"}


def schema_org(party: Party, profile: Profile, page: str) -> dict[str, Any]:
    """Return schema.org/Organization, or Person, of what the page says."""
    person = party.holder_type == "natural_person"
    found: dict[str, Any] = {
        "@context": "https://schema.org/",
        "@type": "Person" if person else "Organization",
        "@id": page,
        "url": profile.website or page,
        "name": party.name,
        "alternateName": party.name_en or None,
        "description": profile.about or profile.about_en or None,
        "email": profile.contact.get("email"),
        "telephone": profile.contact.get("phone"),
        "address": profile.contact.get("address"),
    }
    if profile.services:
        found["makesOffer"] = [
            {
                "@type": "Offer",
                "itemOffered": {"@type": "Service", "name": s.name, "serviceType": s.kind},
                **(
                    {"price": f"{s.price_fen / 100:.2f}", "priceCurrency": "CNY"}
                    if s.price_fen is not None
                    else {}
                ),
            }
            for s in profile.services
        ]
    return {k: v for k, v in found.items() if v is not None}
