"""What a party's own systems need of a market: webhooks, and the desk of an exchange."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from yaosu.errors import InvalidInput

from .connection import Connection, route
from .own_ids import taken

JSON = dict[str, Any]
MEDIA: Mapping[str, str] = {
    "csv": "text/csv",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "json": "application/json",
}


class Webhooks:
    """The webhooks of one's own party."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def __iter__(self) -> Iterator[JSON]:
        return self._connection.pages("/v1/webhooks")

    def add(
        self,
        url: str,
        topics: Sequence[str] = ("trade.*",),
        *,
        description: str = "",
        scheme: str = "v1",
        form: str = "",
    ) -> JSON:
        """Have events sent to an address; `secret` (or `public_key`) is shown this once.

        With a `form` ("generic", an exchange's) events of a trade bring its record along.
        """
        body = {
            "url": url,
            "topics": list(topics),
            "description": description,
            "scheme": scheme,
            **({"form": form} if form else {}),
        }
        return dict(self._connection.post("/v1/webhooks", body, makes="whk"))

    def get(self, webhook_id: str) -> JSON:
        """Return a webhook: how far it has come, and what stops it."""
        return dict(self._connection.get(route("v1", "webhooks", webhook_id)))

    def step(self, webhook_id: str, name: str, **body: Any) -> JSON:
        """Rotate, pause, resume, ping, replay (`event_id`) or remove a webhook."""
        return dict(self._connection.post(route("v1", "webhooks", webhook_id, name), body))

    def deliveries(self, webhook_id: str, state: str | None = None) -> Iterator[JSON]:
        """Yield messages, newest first; state 'dead' are the dead letters."""
        path = route("v1", "webhooks", webhook_id, "deliveries")
        return self._connection.pages(path, {"state": state})

    def retry(self, webhook_id: str, message_id: str) -> JSON:
        """Send a dead letter once more."""
        path = route("v1", "webhooks", webhook_id, "deliveries", message_id, "retry")
        return dict(self._connection.post(path))


class Desk:
    """One place of trading as its exchange works it."""

    def __init__(self, connection: Connection, venue_id: str) -> None:
        self._connection = connection
        self.venue_id = venue_id

    def _path(self, *parts: str) -> str:
        return route("v1", "venues", self.venue_id, *parts)

    def statement(self, day: str, format: str = "json") -> bytes:
        """Return what happened on a day, as the bytes of a JSON, CSV or XLSX file."""
        params = {"day": day, "format": format}
        return self._connection.call("GET", self._path("statement"), params=params).content

    def reconcile(self, day: str, file: str | Path, *, form: str = "") -> JSON:
        """Compare a day with the other side's file; the market keeps the outcome.

        The reply holds the first 500 lines, what is not the same first (`reconciliation` all).
        """
        path = Path(file)
        kind = MEDIA.get(path.suffix.lower().lstrip("."))
        if kind is None:
            raise InvalidInput(
                "the file ends in .csv, .xlsx or .json", "文件应为 .csv、.xlsx 或 .json"
            )
        reply = self._connection.call(
            "POST",
            self._path("reconciliation"),
            params={"day": day, "form": form or None},
            raw=(kind, path.read_bytes()),
            headers=taken("rec"),
        )
        return dict(reply.json)

    def reconciliation(self, reconciliation_id: str, format: str = "json") -> bytes:
        """Return a comparison as it came out, as the bytes of a JSON, CSV or XLSX file."""
        path = self._path("reconciliations", reconciliation_id)
        return self._connection.call("GET", path, params={"format": format}).content

    def callback_keys(self) -> Iterator[JSON]:
        """Yield what callbacks are signed with."""
        return self._connection.pages(self._path("callback-keys"))

    def add_callback_key(self, public_key: str = "", label: str = "") -> JSON:
        """Register an Ed25519 key of one's own, or have a secret made (shown this once)."""
        body = {"public_key": public_key, "label": label}
        return dict(self._connection.post(self._path("callback-keys"), body, makes="cbk"))

    def revoke_callback_key(self, key_id: str) -> JSON:
        """End a key at once."""
        return dict(self._connection.post(self._path("callback-keys", key_id, "revoke")))
