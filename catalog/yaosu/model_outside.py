"""The nouns of what goes to other systems and comes from them: frozen records without I/O."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from .model import JSON, Role


@dataclass(frozen=True, slots=True, kw_only=True)
class Webhook:
    """An address of a party that events are sent to, and how far it has come.

    `cursor` is the leaf of the next event to look at: leaves never change places, so what lies
    before it, from `since` on, was delivered, is a dead letter, or concerned somebody else.
    """

    id: str
    party_id: str
    url: str
    topics: tuple[str, ...]
    roles: tuple[Role, ...]
    description: str = ""
    scheme: str = "v1"
    form: str = ""  # events of a trade bring its record along, in the words of this exchange
    state: str = "active"
    reason: str = ""
    since: int = 0
    cursor: int = 0
    next_at: datetime | None = None
    failing_since: datetime | None = None
    leased_until: datetime | None = None
    lease: str = ""
    generation: int = 1
    previous_until: datetime | None = None
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One try to deliver a message: its status, or the code of why there was no answer."""

    at: datetime
    status: int | None
    error: str
    ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """One event on its way to one webhook.

    "pending" is the one in line, "waiting" a second chance or a ping beside the line, and both end
    as "delivered" or "dead". One that its receiver refuses is "parked", and so are those of the
    same subject after it, while the others go on. `tries` counts within the schedule, `attempts`
    are the latest ones.
    """

    id: str
    webhook_id: str
    event_id: str
    type: str
    subject_id: str
    state: str = "pending"
    attempts: tuple[Attempt, ...] = ()
    tries: int = 0
    next_at: datetime | None = None
    created_at: datetime
    done_at: datetime | None = None
    parked_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class CallbackKey:
    """What an exchange signs its callbacks with: a secret of the market's, or its own key."""

    id: str
    venue: str
    scheme: str
    public_key: str = ""
    label: str = ""
    created_at: datetime
    revoked_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Callback:
    """A signed message that had its effect, under the id its sender gave it."""

    id: str
    venue: str
    message_id: str
    key_id: str
    type: str
    subject_id: str
    happened_at: datetime
    received_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconciliation:
    """The comparison of a day of a venue with the other side's file, kept as it came out."""

    id: str
    venue: str
    day: str
    by: str
    file_sha256: str
    counts: Mapping[str, int] = field(default_factory=dict)
    result: JSON = None
    created_at: datetime
