"""What may follow an answer: the links of the OpenAPI document (OpenAPI 3.1 §4.8.20).

The life of a listing and of a trade is read off the tables of steps: an answer links to the steps
that are possible from the state it shows. The rest is said here, one line to an answer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from yaosu.steps import LISTING_STEPS, TRADE_STEPS, Step

Link = tuple[str, str, Mapping[str, str], Any]
"""Operation that answered, operation that may follow, its parameters, what of its body is known."""

_BODY = "$response.body#"
_TRADE = {"trade_id": f"{_BODY}/trade_id"}
_LISTING = {"listing_id": f"{_BODY}/listing_id"}

# What a step needs that the answer before it holds.
_GIVEN: dict[str, Any] = {
    "agree": {"offer_digest": f"{_BODY}/offer_digest"},
    "take": {"offer_digest": f"{_BODY}/offer_digest"},
    "confirm_payment": {
        "amount_fen": f"{_BODY}/terms/amount_fen",
        "payer": f"{_BODY}/user/party_id",
    },
}

_LOOKS = {
    "trade": ("", "/events", "/record", "/receipt", "/periods"),
    "listing": ("", "/events", "/descriptor", "/report", "/preview", "/problems", "/records"),
}


def _steps(noun: str, table: tuple[Step[Any], ...], paths: Mapping[str, Any]) -> Iterator[Link]:
    """Yield the ways from step to step of a trade or a listing, where both have a route."""
    base = f"/v1/{noun}s/{{{noun}_id}}"
    own = _TRADE if noun == "trade" else _LISTING
    for before in table:
        origin = f"POST {base}/{before.action}"
        if f"{base}/{before.action}" not in paths:
            continue
        after = before.sources if before.target is None else {before.target}
        for step in table:
            if step.sources & after and f"{base}/{step.action}" in paths:
                yield origin, f"POST {base}/{step.action}", own, _GIVEN.get(step.action)
        for look in _LOOKS[noun]:
            if base + look in paths:
                yield origin, f"GET {base}{look}", own, None


def _links(paths: Mapping[str, Any]) -> Iterator[Link]:
    yield from _steps("trade", TRADE_STEPS, paths)
    yield from _steps("listing", LISTING_STEPS, paths)
    yield from _beginnings()
    yield from _deliveries()
    yield from _things()


def _beginnings() -> Iterator[Link]:
    """How a listing and a trade come about."""
    found = {"listing_id": f"{_BODY}/items/0/listing_id"}
    listings, listing, trade = "/v1/listings", "/v1/listings/{listing_id}", "/v1/trades/{trade_id}"
    yield f"GET {listings}", "POST /v1/trades", {}, found
    for path in ("", "/report", "/scorecard", "/events", "/descriptor", "/standing-offer"):
        yield f"GET {listings}", f"GET {listing}{path}", found, None
    yield f"GET {listings}", f"POST {listing}/quote", found, None
    yield f"GET {listing}", "POST /v1/trades", {}, dict(_LISTING)
    yield f"GET {listing}", f"POST {listing}/quote", _LISTING, None
    yield (
        f"GET {listing}",
        "GET /v1/datasets/{dataset_id}",
        {"dataset_id": f"{_BODY}/dataset_id"},
        None,
    )
    made = {"listing_id": f"{_BODY}/listing/listing_id"}
    for action in ("submit", "withdraw", "comment"):
        yield "POST /v1/datasets", f"POST {listing}/{action}", made, None
    yield "POST /v1/datasets", f"GET {listing}", made, None
    yield (
        "POST /v1/datasets",
        "GET /v1/datasets/{dataset_id}",
        {"dataset_id": f"{_BODY}/dataset/dataset_id"},
        None,
    )
    for action in ("answer", "take", "cancel"):
        yield "POST /v1/trades", f"POST {trade}/{action}", _TRADE, _GIVEN.get(action)
    first = {"trade_id": f"{_BODY}/items/0/trade_id"}
    yield "GET /v1/trades", f"GET {trade}", first, None
    yield "POST /v1/trades", f"GET {trade}", _TRADE, None
    for step in TRADE_STEPS:
        yield f"GET {trade}", f"POST {trade}/{step.action}", _TRADE, _GIVEN.get(step.action)


def _deliveries() -> Iterator[Link]:
    """From a trade to what was delivered, what was paid, and what was said of both."""
    trade, delivery = "/v1/trades/{trade_id}", "/v1/deliveries/{delivery_id}"
    holds = {"delivery_id": f"{_BODY}/delivery_id"}
    for origin in (f"GET {trade}", f"POST {trade}/deliver", f"POST {trade}/accept"):
        yield origin, f"GET {delivery}", holds, None
        yield origin, "GET /v1/settlements/{trade_id}", _TRADE, None
    manifest = {"manifest_digest": f"{_BODY}/manifest_digest"}
    yield f"GET {delivery}", f"POST {trade}/accept", _TRADE, manifest
    yield f"GET {delivery}", f"POST {trade}/reject", _TRADE, None
    yield (
        f"GET {delivery}",
        f"POST {trade}/dispute",
        _TRADE,
        {"evidence": [{"text": "manifest", "digest": f"{_BODY}/manifest_digest"}]},
    )
    yield f"GET {delivery}", f"GET {delivery}/usage", holds, None
    proof = {"digest": f"{_BODY}/items/0/digest"}
    yield f"GET {trade}/events", "GET /v1/log/inclusion", proof, None


def _things() -> Iterator[Link]:
    """Keys, signing keys, webhooks, parties, venues, receipts of use, recalls, invoices."""
    key = {"key_id": f"{_BODY}/key_id"}
    first = {"key_id": f"{_BODY}/items/0/key_id"}
    for origin, named in (("POST /v1/keys", key), ("GET /v1/keys", first)):
        if origin.startswith("POST"):
            yield origin, "POST /v1/keys/{key_id}/rotate", named, None
            yield origin, "POST /v1/keys/{key_id}/revoke", named, None
    signing = "/v1/signing-keys"
    yield f"POST {signing}", f"POST {signing}/{{key_id}}/revoke", key, None
    yield (
        f"POST {signing}",
        "POST /v1/listings/{listing_id}/offer",
        {},
        {"signature": {"key_id": f"{_BODY}/key_id", "platform": True}},
    )
    hook = {"webhook_id": f"{_BODY}/webhook_id"}
    base = "/v1/webhooks/{webhook_id}"
    for target in (f"GET {base}", f"GET {base}/deliveries", f"POST {base}/rotate",
                   f"POST {base}/replay", f"POST {base}/ping"):  # fmt: skip
        yield "POST /v1/webhooks", target, hook, None
        if not target.endswith(base):
            yield f"GET {base}", target, hook, None
    yield (
        f"GET {base}/deliveries",
        f"POST {base}/deliveries/{{message_id}}/retry",
        {
            "webhook_id": f"{_BODY}/items/0/webhook_id",
            "message_id": f"{_BODY}/items/0/message_id",
        },
        None,
    )
    party = {"party_id": f"{_BODY}/party/party_id"}
    yield "POST /v1/parties", "GET /v1/parties/{party_id}", party, None
    yield "POST /v1/parties", "POST /v1/parties/{party_id}/verify", party, None
    yield (
        "GET /v1/venues",
        "GET /v1/venues/{venue_id}/statement",
        {"venue_id": f"{_BODY}/items/0/venue_id"},
        None,
    )
    use = {"usage_receipt_id": f"{_BODY}/usage_receipt_id"}
    yield "POST /v1/usage-receipts", "GET /v1/usage-receipts/{usage_receipt_id}", use, None
    recall = {"recall_id": f"{_BODY}/recall_id"}
    yield "POST /v1/listings/{listing_id}/recall", "GET /v1/recalls/{recall_id}", recall, None
    yield "GET /v1/recalls/{recall_id}", "POST /v1/recalls/{recall_id}/close", recall, None
    invoice = {"invoice_id": f"{_BODY}/invoice_id"}
    made = "POST /v1/trades/{trade_id}/invoices"
    yield made, "GET /v1/invoices/{invoice_id}", invoice, None
    yield made, "POST /v1/invoices/{invoice_id}/correct", invoice, None
    upload = {"upload_id": f"{_BODY}/upload_id"}
    yield "GET /v1/uploads/{upload_id}", "DELETE /v1/uploads/{upload_id}", upload, None


def add(document: dict[str, Any]) -> None:
    """Add the links to the answers of a document that has its paths."""
    paths = document["paths"]
    for origin, target, parameters, given in _links(paths):
        found, follows = _operation(paths, origin), _operation(paths, target)
        if found is None or follows is None:
            continue
        good = next(code for code in found["responses"] if code.startswith("2"))
        links = found["responses"][good].setdefault("links", {})
        method, _, path = target.partition(" ")
        name = path.removeprefix("/v1/").replace("{", "").replace("}", "").replace("/", ".")
        links[f"{method.lower()}.{name}"] = {
            "operationId": follows["operationId"],
            "parameters": dict(parameters),
            **({"requestBody": given} if given is not None else {}),
        }


def _operation(paths: Mapping[str, Any], route: str) -> dict[str, Any] | None:
    method, _, path = route.partition(" ")
    operation: dict[str, Any] | None = paths.get(path, {}).get(method.lower())
    return operation
