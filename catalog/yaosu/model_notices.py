"""The nouns of what people are told: saved searches, watches, notices. Records without I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from .model import JSON, Role


@dataclass(frozen=True, slots=True, kw_only=True)
class SavedSearch:
    """What a person wants to be told of: the words, facets and order of a search, by a name."""

    id: str
    party_id: str
    member_id: str
    name: str
    text: str = ""
    filters: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    sort: str = "newest"
    state: str = "on"  # off: kept without notices; removed
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """A person's word on a dataset: told of all that happens to it, or of nothing."""

    id: str
    party_id: str
    member_id: str
    dataset_id: str
    state: str = "on"  # off: also silent about what one's own organisation has bought
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """What one person is told once of one cause, seen with keys of the role that it concerns.

    `unread_by` is the person until it is read: what is looked up by it stays short.
    """

    id: str
    party_id: str
    member_id: str
    unread_by: str | None
    role: str
    kind: str
    cause: str
    subject_id: str
    facts: Mapping[str, JSON] = field(default_factory=dict)
    at: datetime
    created_at: datetime
    read_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Inbox:
    """How a person gets notices: kinds that are left out, and the feed under a secret link.

    `feed` counts the links made so far, `feed_on` says whether the last of them opens.
    """

    id: str
    party_id: str
    member_id: str
    muted: tuple[str, ...] = ()
    feed: int = 0
    feed_on: bool = False
    roles: tuple[Role, ...] = ()  # of the key that made the link: it shows no more


@dataclass(frozen=True, slots=True, kw_only=True)
class Follower:
    """How far a follower of the log has come: the first leaf that it has not looked at."""

    id: str
    leaf: int
