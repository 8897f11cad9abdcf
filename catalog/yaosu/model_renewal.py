"""The nouns of a renewal: what a provider asks for before its certificate ends."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from .model import Certificate


@dataclass(frozen=True, slots=True, kw_only=True)
class Document:
    """A file that speaks for a renewal; its bytes are a blob of the provider's."""

    name: str
    sha256: str
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Renewal:
    """A provider's request to renew the certificate of a version (续期登记), and what became of it.

    `asked` is the certificate that the provider says it has got; the one that counts is what the
    decider checked, which stands on the listing.
    """

    id: str
    listing_id: str
    provider_id: str
    venue: str
    state: str = "open"  # granted, refused, withdrawn
    asked: Certificate
    documents: tuple[Document, ...] = ()
    text: str = ""
    asked_by: str
    decided_by: str = ""
    decided_at: datetime | None = None
    decision: str = ""
    created_at: datetime
    updated_at: datetime
