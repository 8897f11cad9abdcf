"""A certificate is watched over: notices end, its holder is reminded, its end takes it off."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from people import USCC, Hall, Person, Refused, open_hall, small_corpus


class Days:
    """Real time, so many days on."""

    on = 0

    def now(self) -> datetime:
        return datetime.now(UTC) + timedelta(days=self.on)


@pytest.fixture(params=["sqlite", "postgresql"])
def days_and_hall(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[Days, Hall]]:
    url = request.getfixturevalue("migrated_url") if request.param == "postgresql" else ""
    days = Days()
    with open_hall(tmp_path / "data", database_url=url, clock=days) as hall:
        yield days, hall


def certificate(number: str, days: int) -> dict[str, Any]:
    until = (datetime.now(UTC) + timedelta(days=days)).date().isoformat()
    return {"certificate": {"scheme": "sz_resource", "number": number, "valid_until": until}}


def submitted(provider: Person, venue: str, name: str) -> str:
    descriptor, data = small_corpus(provider, name)
    ends = (datetime.now(UTC) + timedelta(days=100)).date().isoformat()
    descriptor["dataElement"]["offer"]["valid_to"] = ends  # G6: not beyond the certificate
    provider.upload(data)
    found = provider.submit(provider.draft(descriptor, venue=venue)["listing_id"])
    assert found["state"] == "review", found
    return str(found["listing_id"])


def test_a_certificate_is_told_of_renewed_and_at_its_end_delists(
    days_and_hall: tuple[Days, Hall],
) -> None:
    days, hall = days_and_hall
    provider = hall.person("holder", "provider", uscc=USCC[0])
    exchange = hall.exchange("gz", certificate_required=True, notice_days=3)
    kept, lapsed = (submitted(provider, "gz", name) for name in ("kept", "lapsed"))
    for id_ in (kept, lapsed):
        exchange.post(f"/v1/listings/{id_}/open_notice", certificate("R-1", 100))
    exchange.post(f"/v1/listings/{kept}/object", {"text": "source?"})
    states = []
    for days.on in (0, 4):
        hall.market.sweep()
        states.append([provider.get(f"/v1/listings/{i}")["state"] for i in (kept, lapsed)])
    assert states == [["notice", "notice"], ["notice", "registered"]]  # an objection is open
    provider.post(f"/v1/listings/{kept}/answer_objection", {"text": "our own"})
    hall.market.sweep()
    for id_ in (kept, lapsed):
        provider.post(f"/v1/listings/{id_}/apply")
        exchange.post(f"/v1/listings/{id_}/list")

    def seen(id_: str, type_: str) -> list[dict[str, Any]]:
        events = provider.get(f"/v1/listings/{id_}/events")["items"]
        return [e["payload"] for e in events if e["type"] == type_]

    for days.on in (5, 11, 12, 71, 72):
        hall.market.sweep()
    assert [e["days"] for e in seen(kept, "remind")] == [89, 29]
    with pytest.raises(Refused, match="longer"):
        exchange.post(f"/v1/listings/{kept}/renew", certificate("R-2", 100))
    exchange.post(f"/v1/listings/{kept}/renew", certificate("R-2", 300))
    assert provider.get(f"/v1/listings/{kept}")["certificate"]["number"] == "R-2"
    for days.on in (94, 101):
        hall.market.sweep()
    assert [e["days"] for e in seen(kept, "remind")] == [89, 29]
    assert [e["days"] for e in seen(lapsed, "remind")] == [89, 29, 6]
    assert seen(kept, "delist") == [{"reason": "offer"}]
    assert seen(lapsed, "delist") == [{"reason": "certificate"}]
