"""Records of other people's catalogs that are brought over on a schedule."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from .model import JSON

ACTIVE = ("queued", "fetching", "importing")
"""States of a run that is not over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Harvest:
    """A catalog of others that a party brings over as drafts; `rights` says on what ground.

    `interval_hours` 0 means by hand only. `run_id` is the run that is not over, or "". `since`
    is the source's mark of its last run, `whole_at` when all of it was read last.
    """

    id: str
    party_id: str
    kind: str
    url: str
    rights: str
    venue: str = "otc"
    interval_hours: int = 24
    deadline_s: int = 3600
    state: str = "on"
    next_at: datetime | None = None
    run_id: str = ""
    since: str = ""
    whole_at: datetime | None = None
    created_by: str
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class HarvestRun:
    """One run: queued, fetching, importing, then done, failed or stopped, with its report.

    It reads what has changed since its mark `since`, all where there is none; `mark` is the one
    that the source gave it.
    """

    id: str
    harvest_id: str
    party_id: str
    state: str = "queued"
    since: str = ""
    mark: str = ""
    stop: bool = False
    fetched: int = 0
    imported: int = 0
    complete: bool = True
    again: bool = False  # a record waits for the next run
    failures: int = 0
    counts: Mapping[str, int] = field(default_factory=dict)
    report: Mapping[str, JSON] = field(default_factory=dict)
    why: JSON = None
    leased_until: datetime | None = None
    not_before: datetime | None = None
    deadline_at: datetime
    started_at: datetime
    ended_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class HarvestItem:
    """One dataset of a harvest: what its source said last, and in which run it was there."""

    id: str
    harvest_id: str
    origin_id: str
    digest: str
    dataset_id: str
    run_id: str
