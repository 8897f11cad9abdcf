"""What a client asks about what parties show, and about renewals of certificates."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .connection import Connection, route

if TYPE_CHECKING:
    from .client import Client

JSON = dict[str, Any]


class Profiles:
    """The directory of parties, and what one's own shows."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def directory(self, role: str = "", region: str = "") -> Iterator[JSON]:
        """Yield the parties that show themselves: by role (`broker`) and seat (`440000`)."""
        return self._connection.pages("/v1/parties", {"role": role, "region": region})

    def of(self, party_id: str) -> JSON:
        """Return what a party shows: services, qualifications, listings, attestations."""
        return dict(self._connection.get(route("v1", "parties", party_id, "profile")))

    def mine(self) -> JSON:
        """Return what one's own party shows, published or not."""
        return dict(self._connection.get("/v1/profile"))

    def edit(self, **changes: Any) -> JSON:
        """Change some of it; `state="public"` publishes, lists are replaced whole."""
        return dict(self._connection.call("PUT", "/v1/profile", body=changes).json)

    def check(self, party_id: str, number: int) -> JSON:
        """Record that the proof of a qualification was seen (operator); 0 is the first."""
        path = route("v1", "parties", party_id, "qualifications", str(number), "check")
        return dict(self._connection.post(path))


class Renewals:
    """Renewals of certificates: one's own, or those that one decides."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._connection = client.connection

    def __iter__(self) -> Iterator[JSON]:
        return self.all()

    def all(self, state: str | None = None) -> Iterator[JSON]:
        """Yield requests, newest first."""
        return self._connection.pages("/v1/renewals", {"state": state})

    def get(self, renewal_id: str) -> JSON:
        """Return a request."""
        return dict(self._connection.get(route("v1", "renewals", renewal_id)))

    def ask(
        self,
        listing_id: str,
        certificate: Mapping[str, Any],
        *,
        documents: Sequence[str | Path] = (),
        text: str = "",
    ) -> JSON:
        """Ask for a renewal, sending the files that prove the new certificate."""
        sent = [(Path(place).name, self._client.upload(place)["sha256"]) for place in documents]
        body = {
            "certificate": dict(certificate),
            "documents": [{"name": name, "sha256": sha256} for name, sha256 in sent],
            "text": text,
        }
        path = route("v1", "listings", listing_id, "renewals")
        return dict(self._connection.post(path, body, makes="rnw"))

    def act(self, renewal_id: str, action: str, **body: Any) -> JSON:
        """Take a step: grant (certificate, text), refuse (reason) or withdraw."""
        given = {name: value for name, value in body.items() if value is not None}
        return dict(self._connection.post(route("v1", "renewals", renewal_id, action), given))

    def document(self, renewal_id: str, number: int) -> bytes:
        """Return the bytes of a document; 0 is the first."""
        path = route("v1", "renewals", renewal_id, "documents", str(number))
        return self._connection.call("GET", path).content
