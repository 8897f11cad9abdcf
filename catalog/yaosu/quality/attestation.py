"""The market's signed word on the quality of a version: which content, which checks, which numbers.

Every measure carries its basis: `content` can be counted again from the files (`yaosu verify` does
so on what was delivered), `market` and `human` rest on what others hold and judged: of these the
signature is what can be checked.
"""

from __future__ import annotations

from typing import Any, Protocol

from yaosu.identity import absent
from yaosu.model import Listing, StoredReport
from yaosu.ports import Reader

from . import manual_sample, market_overlap

TYPE = "yaosu-quality"


class Sealer(Protocol):
    """What an attestation needs of the transparency log: its name, and its signature."""

    def seal(self, document: dict[str, Any]) -> dict[str, str]: ...
    def identity(self) -> dict[str, str]: ...


def build(reader: Reader, log: Sealer, listing: Listing) -> dict[str, Any]:
    """Return the attestation of a version; NotFound before it has a report.

    The same for the same report, verdicts and other listings: it names no time of its own.
    """
    if listing.report_id is None:
        raise absent("report", listing.id)
    report = reader.get(StoredReport, listing.report_id)
    body = report.body
    made = {
        "type": TYPE,
        "version": 1,
        "listing_id": listing.id,
        "content_digest": report.target,
        "report_digest": report.digest,
        "ruleset": body.get("ruleset") or "",
        "checks": [
            {"name": c["name"], "version": c["version"], "options": c.get("options") or {}}
            for c in body.get("checks") or ()
        ],
        "measures": [
            *(body.get("metrics") or ()),
            *manual_sample.measures(reader, listing),
            *market_overlap.measures(reader, listing),
        ],
        "log": log.identity(),
    }
    return {**made, "seal": log.seal(made)}
