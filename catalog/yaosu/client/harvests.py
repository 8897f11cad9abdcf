"""What a client asks about harvests: catalogs of others that come over on a schedule."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from .connection import Connection, route

JSON = dict[str, Any]


class Harvests:
    """The harvests of one's own party; the operator sees all."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection

    def __iter__(self) -> Iterator[JSON]:
        return self._connection.pages("/v1/harvests")

    def add(
        self,
        url: str,
        rights: str,
        *,
        kind: str = "ckan",
        venue: str = "otc",
        interval_hours: int = 24,
        deadline_s: int = 3600,
    ) -> JSON:
        """Have a catalog brought over as drafts of one's own, now and at every interval.

        `rights` says on what ground; an interval of 0 hours is by hand only.
        """
        body = {
            "kind": kind,
            "url": url,
            "rights": rights,
            "venue": venue,
            "interval_hours": interval_hours,
            "deadline_s": deadline_s,
        }
        return dict(self._connection.post("/v1/harvests", body, makes="hvs"))

    def get(self, harvest_id: str) -> JSON:
        """Return a harvest: what runs now (`run_id`), and when it is due."""
        return dict(self._connection.get(route("v1", "harvests", harvest_id)))

    def switch(self, harvest_id: str, on: bool, *, interval_hours: int | None = None) -> JSON:
        """Switch the schedule on or off, or change its interval."""
        body: JSON = {"on": on}
        if interval_hours is not None:
            body["interval_hours"] = interval_hours
        return dict(self._connection.post(route("v1", "harvests", harvest_id, "switch"), body))

    def start(self, harvest_id: str) -> JSON:
        """Begin a run now, over all of the source."""
        return dict(self._connection.post(route("v1", "harvests", harvest_id, "start")))

    def stop(self, harvest_id: str) -> JSON:
        """End the run that is going on; what it imported whole stays."""
        return dict(self._connection.post(route("v1", "harvests", harvest_id, "stop")))

    def runs(self, harvest_id: str) -> Iterator[JSON]:
        """Yield runs, newest first: what was added, changed, gone, and skipped with the reason."""
        return self._connection.pages(route("v1", "harvests", harvest_id, "runs"))

    def run(self, harvest_id: str, run_id: str) -> JSON:
        """Return one run with its report."""
        return dict(self._connection.get(route("v1", "harvests", harvest_id, "runs", run_id)))

    def wait(self, harvest_id: str, *, seconds: float = 3600.0) -> JSON:
        """Wait until no run goes on; return the newest one. TimeoutError when time is up."""
        end = time.monotonic() + seconds
        while self.get(harvest_id)["run_id"]:
            if time.monotonic() > end:
                raise TimeoutError(f"{harvest_id} still runs after {seconds:g} s")
            time.sleep(0.5)
        return next(self.runs(harvest_id))
