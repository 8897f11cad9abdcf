"""What a client asks about notices, saved searches and watches: one method per route."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from .connection import Connection, route

JSON = dict[str, Any]


class Notices:
    """What one is told, and of what one wants to be told, as the holder of one key."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def __iter__(self) -> Iterator[JSON]:
        return self.all()

    def all(self, kind: str | None = None, *, unread: bool = False) -> Iterator[JSON]:
        """Yield notices, newest first."""
        return self._connection.pages("/v1/notices", {"kind": kind, "unread": unread or None})

    def read(self, notice_id: str, *, read: bool = True) -> JSON:
        """Mark a notice as read, or as unread again."""
        path = route("v1", "notices", notice_id, "read")
        return dict(self._connection.post(path, {"read": read}))

    def read_all(self, kind: str = "") -> int:
        """Mark all notices as read, or those of a kind; returns how many."""
        total = 0
        while True:
            done = self._connection.post("/v1/notices/read", {"kind": kind})
            total += int(done["read"])
            if not done["read"] or not done["unread"]:
                return total

    def inbox(self) -> JSON:
        """Return how many are unread, the kinds that are left out, and the links of the feed."""
        return dict(self._connection.get("/v1/inbox"))

    def mute(self, kinds: Sequence[str]) -> JSON:
        """Leave out these kinds from now on, and no others."""
        return dict(self._connection.call("PUT", "/v1/inbox", body={"muted": list(kinds)}).json)

    def new_feed(self) -> JSON:
        """Make the secret links of the feed: `{atom, json}`; those before open nothing."""
        return dict(self._connection.post("/v1/inbox/feed")["feed"])

    def end_feed(self) -> None:
        """End the feed."""
        self._connection.call("DELETE", "/v1/inbox/feed")

    def expiring(self, days: int | None = None) -> list[JSON]:
        """Return what runs out for one's organisation, the soonest first."""
        return list(self._connection.pages("/v1/expiring", {"days": days}))

    # --- of what ---------------------------------------------------------------------------------

    def searches(self) -> list[JSON]:
        """Return one's saved searches."""
        return list(self._connection.pages("/v1/searches"))

    def save(
        self,
        name: str,
        query: str = "",
        *,
        sort: str = "newest",
        **facets: str | Sequence[str],
    ) -> JSON:
        """Save a search: a notice comes for every version that it finds from now on, once."""
        chosen = {f: [v] if isinstance(v, str) else list(v) for f, v in facets.items()}
        body = {"name": name, "q": query, "facets": chosen, "sort": sort}
        return dict(self._connection.post("/v1/searches", body, makes="ssr"))

    def change(self, search_id: str, *, name: str | None = None, on: bool | None = None) -> JSON:
        """Give a saved search another name, or switch its notices."""
        given: Mapping[str, Any] = {"name": name, "on": on}
        body = {k: v for k, v in given.items() if v is not None}
        return dict(self._connection.call("PUT", self._search(search_id), body=body).json)

    def forget(self, search_id: str) -> None:
        """Forget a saved search."""
        self._connection.call("DELETE", self._search(search_id))

    @staticmethod
    def _search(search_id: str) -> str:
        return route("v1", "searches", search_id)

    def watches(self) -> list[JSON]:
        """Return the datasets that one watches, or is silent about."""
        return list(self._connection.pages("/v1/watches"))

    def watch(self, dataset_id: str, *, on: bool = True) -> JSON:
        """Watch a dataset, or be silent about it."""
        path = route("v1", "datasets", dataset_id, "watch")
        return dict(self._connection.call("PUT", path, body={"on": on}).json)
