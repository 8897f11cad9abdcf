"""The nouns of what a party says of itself in public, and of what it was seen to do."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import date, datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Qualification:
    """A licence or accreditation: as the party says, until an operator has checked it."""

    name: str
    name_en: str = ""
    number: str = ""
    issuer: str = ""
    valid_from: date | None = None
    valid_until: date | None = None
    checked_by: str = ""
    checked_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """A service that a party offers, by its code; without a price, the price is on request."""

    kind: str
    name: str
    name_en: str = ""
    text: str = ""
    text_en: str = ""
    regions: tuple[str, ...] = ()  # GB/T 2260 divisions; none: everywhere
    price_fen: int | None = None
    unit: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Profile:
    """What a party shows of itself: nothing before it says so, then what it chose."""

    id: str
    party_id: str
    state: str = "hidden"  # or public
    region: str = ""  # GB/T 2260 division of its seat
    roles: tuple[str, ...] = ()
    about: str = ""
    about_en: str = ""
    website: str = ""
    contact: Mapping[str, str] = field(default_factory=dict)
    show_uscc: bool = False
    show_statistics: bool = False
    qualifications: tuple[Qualification, ...] = ()
    services: tuple[Service, ...] = ()
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Attested:
    """That people of a party put their name to a version: reviewed it, or judged its sample."""

    id: str
    party_id: str
    listing_id: str
    what: str  # register, sample_judged
    at: datetime
