"""The API describes itself, and truly."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from people import USCC, Hall, open_hall, small_corpus


@pytest.fixture(scope="module")
def hall(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hall]:
    with open_hall(tmp_path_factory.mktemp("openapi")) as found:
        yield found


@pytest.fixture(scope="module")
def document(hall: Hall) -> dict[str, Any]:
    found: dict[str, Any] = hall.stranger.get("/openapi.json")
    return found


def test_every_native_route_says_how_it_answers_and_refuses(document: dict[str, Any]) -> None:
    assert document["openapi"].startswith("3.1")
    for path, methods in document["paths"].items():
        if not path.startswith("/v1/"):
            continue
        for method, operation in methods.items():
            assert operation["description"] or operation["summary"], path
            assert {"401", "404", "409", "422"} <= set(operation["responses"]), (method, path)
            if method == "post" and "uploads" not in path:
                names = {p["name"] for p in operation["parameters"]}
                assert "Idempotency-Key" in names, path


def test_what_the_market_answers_fits_what_the_document_says(
    hall: Hall, document: dict[str, Any]
) -> None:
    provider = hall.person("lingnan", "provider", uscc=USCC[0])
    descriptor, data = small_corpus(provider)
    provider.upload(data)
    listing = provider.draft(descriptor)
    provider.submit(listing["listing_id"])
    answers = {
        "/v1/listings/{listing_id}": f"/v1/listings/{listing['listing_id']}",
        "/v1/my/listings": "/v1/my/listings",
        "/v1/datasets/{dataset_id}": f"/v1/datasets/{listing['dataset_id']}",
        "/v1/parties/{party_id}": f"/v1/parties/{provider.id}",
        "/v1/listings/{listing_id}/events": f"/v1/listings/{listing['listing_id']}/events",
        "/v1/listings/{listing_id}/report": f"/v1/listings/{listing['listing_id']}/report",
        "/v1/listings": "/v1/listings",
        "/v1/venues": "/v1/venues",
        "/v1/keys": "/v1/keys",
    }
    for path, address in answers.items():
        content = document["paths"][path]["get"]["responses"]["200"]["content"]
        schema = {
            **content["application/json"]["schema"],
            "components": document["components"],
        }
        found = provider.get(address)
        Draft202012Validator(schema).validate(found)
        named = schema.get("$ref", "").rsplit("/", 1)[-1]
        if named in ("ListingAnswer", "DatasetAnswer", "PartyAnswer"):
            told = set(document["components"]["schemas"][named]["properties"])
            assert told <= set(found), (path, told - set(found))


def test_a_day_is_one_of_the_calendar(hall: Hall, document: dict[str, Any]) -> None:
    for day in ("2026-02-30", "9149-50-62", "0000-01-01", "２０２６-01-01"):
        certificate = {"scheme": "sz", "number": "1", "valid_until": day}
        path = "/v1/listings/lst_x/renew_certificate"
        refused = hall.reviewer.raw("POST", path, {"certificate": certificate})
        assert refused.status_code == 422, day
        assert refused.json()["problems"][0]["pointer"] == "/certificate/valid_until"
    answers = document["paths"]["/v1/trades/{trade_id}/reads"]["get"]["responses"]["200"]
    assert set(answers["content"]) == {"application/json", "text/csv"}
