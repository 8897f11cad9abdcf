"""The OpenAPI 3.1 document: what each route answers, with an example, and how it refuses.

Answers are shaped by `present`; the document is made from what those functions give for a made-up
market, so that it cannot say anything else than the code.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi

from yaosu import present
from yaosu.exchange.sheets import MEDIA, XLSX
from yaosu.model import (
    AccessKey,
    Dataset,
    DeliveredFile,
    Delivery,
    Event,
    Job,
    Listing,
    ListingState,
    Party,
    Posting,
    Role,
    SigningKey,
    StoredReport,
    Terms,
    Trade,
    TradeState,
    Upload,
    Venue,
)
from yaosu_schemas.documents import example as example_descriptor

from . import openapi_links, openapi_notices, openapi_outside

_AT = datetime(2026, 10, 1, 9, 0, tzinfo=UTC)
_SHA = "3f" * 32
_DIGEST = f"sha256:{_SHA}"
_ID = "0199a0c000007000800000000000000"
_ERRORS = {
    "400": "not parseable, or a header is missing",
    "401": "no key, or one that is unknown, expired or revoked",
    "402": "what was paid for is used up, or not paid yet",
    "403": "the key may not take this step",
    "404": "absent, or not visible to the key",
    "409": "not possible from the state it is in; `next` names what is",
    "412": "it changed since it was read (If-Match)",
    "413": "over a stated limit",
    "415": "not a format that is taken here",
    "422": "not valid: every problem with its JSON pointer",
    "429": "more calls in a minute than were agreed: wait `Retry-After` seconds",
    "503": "try again later",
    "507": "no space left; reads go on",
}


def _id(prefix: str, last: int) -> str:
    return f"{prefix}_{_ID}{last}"


def _examples() -> dict[str, Any]:
    """Return one example per kind of answer, made by the functions that make the answers."""
    seller = Party(
        id=_id("pty", 1), slug="pengcheng-fake", name="深圳鹏城示例机器人有限公司",
        uscc="91440300MA5FAKE086", roles=(Role.PROVIDER,), verified_at=_AT, created_at=_AT,
    )  # fmt: skip
    buyer = Party(
        id=_id("pty", 2), slug="zhujiang-model", name="珠江示例大模型实验室",
        roles=(Role.BUYER,), verified_at=_AT, created_at=_AT,
    )  # fmt: skip
    listing = Listing(
        id=_id("lst", 1), dataset_id=_id("dst", 1), provider_id=seller.id,
        publisher=seller.slug, name="humanoid-inspection-dialogue-zh", version=1,
        state=ListingState.LISTED, descriptor=example_descriptor(), content_digest=_DIGEST,
        terms_digest=_DIGEST, report_id=_id("rpt", 1), report_valid=True, reported_at=_AT,
        created_at=_AT, updated_at=_AT, listed_at=_AT, title="2024年至2025年深圳市巡检数据集",
    )  # fmt: skip
    report = StoredReport(
        id=_id("rpt", 1), listing_id=listing.id, target=_DIGEST, digest=_DIGEST, valid=True,
        body={"valid": True, "stats": {"tasks": 1, "errors": 0, "warnings": 0}, "tasks": []},
        created_at=_AT,
    )  # fmt: skip
    trade = Trade(
        id=_id("trd", 1), listing_id=listing.id, listing_version=1, content_digest=_DIGEST,
        terms_digest=_DIGEST, report_digest=_DIGEST, venue="otc", provider_id=seller.id,
        user_id=buyer.id, state=TradeState.FILED, offer_digest=_DIGEST, turn=buyer.id,
        terms=Terms(mode="one_off", amount_fen=1_280_000, purpose="微调对话模型"),
        agreement_digest=_DIGEST, created_at=_AT, updated_at=_AT,
    )  # fmt: skip
    delivery = Delivery(
        id=_id("dlv", 1), trade_id=trade.id, provider_id=seller.id, user_id=buyer.id,
        files=(DeliveredFile(path="data/train.jsonl", bytes=524288, sha256=_SHA),),
        manifest_digest=_DIGEST, state="open", opens_at=_AT, closes_at=_AT + timedelta(days=30),
        created_at=_AT,
    )  # fmt: skip
    event = Event(
        id=1, subject_id=trade.id, seq=0, type="intent", from_state=None, to_state="intent",
        actor_id=_id("mbr", 1), at=_AT, payload={"listing_id": listing.id},
        payload_digest=_DIGEST, prev_digest=None, digest=_DIGEST,
    )  # fmt: skip
    key = AccessKey(
        id=_id("key", 1), party_id=seller.id, member_id=_id("mbr", 1), secret_sha256=_SHA,
        roles=(Role.PROVIDER,), created_at=_AT,
    )  # fmt: skip
    posting = Posting(
        trade_id=trade.id, event_digest=_DIGEST, account=f"escrow:{trade.id}",
        amount_fen=1_280_000, at=_AT,
    )  # fmt: skip
    card = present.card(listing, seller, report)
    found = {
        "listing_id": listing.id,
        "card": card,
        "snippet": "巡检<mark>指令</mark>",
        "score": 3.2,
    }
    return {
        "Party": present.party(seller, private=True),
        "NewParty": {"party": present.party(seller, private=True), "key": "yk_…"},
        "Key": present.key(key),
        "SigningKey": present.signing_key(
            SigningKey(id=_id("sgk", 1), party_id=seller.id, public_key="MCow…", created_at=_AT)
        ),
        "Venue": present.venue(Venue(id="otc", name="场外", name_en="Over the counter")),
        "Dataset": present.dataset(
            Dataset(
                id=_id("dst", 1), provider_id=seller.id, publisher=seller.slug,
                name=listing.name, created_at=_AT,
            ),
            [listing],
        ),
        "Listing": present.listing(listing, seller, report=report),
        "SearchPage": {
            "items": [found],
            "total": 1,
            "facets": {
                "modality": [{"value": "text", "count": 1, "label": "Text", "label_zh": "文本"}]
            },
            "next": None,
        },
        "Report": present.report(report, cells=False),
        "Trade": present.trade(trade, seller, buyer),
        "Delivery": present.delivery(delivery),
        "Event": present.event(event),
        "Settlement": {
            "trade_id": trade.id,
            "postings": [present.posting(posting)],
            "balances": {posting.account: posting.amount_fen},
        },
        "Upload": present.upload(
            Upload(
                id=_id("upl", 1), party_id=seller.id, length=10, offset=10, sha256=_SHA,
                state="done", created_at=_AT, expires_at=_AT + timedelta(days=7),
            )
        ),
        "Job": present.job(
            Job(
                id=1, kind="validate", body={"listing_id": listing.id}, state="ready",
                attempts=0, run_at=_AT, created_at=_AT,
            )
        ),
    }  # fmt: skip


# Longest prefix wins; a list route answers with a page of what is named after the colon.
_ANSWERS = (
    ("POST /v1/parties/{party_id}/verify", "Party"),
    ("POST /v1/parties", "NewParty"),
    ("GET /v1/parties/{party_id}", "Party"),
    ("GET /v1/parties", "page:Party"),
    ("GET /v1/keys", "page:Key"),
    ("POST /v1/keys", "Key"),
    ("GET /v1/signing-keys", "page:SigningKey"),
    ("POST /v1/signing-keys", "SigningKey"),
    ("GET /v1/venues", "page:Venue"),
    ("PUT /v1/venues", "Venue"),
    ("GET /v1/datasets/{dataset_id}", "Dataset"),
    ("GET /v1/datasets", "page:Dataset"),
    ("GET /v1/listings/{listing_id}/report", "Report"),
    ("GET /v1/listings/{listing_id}/events", "page:Event"),
    ("POST /v1/listings/{listing_id}/buy", "Trade"),
    ("GET /v1/my/listings", "page:Listing"),
    ("GET /v1/review", "page:Listing"),
    ("GET /v1/reports", "Report"),
    ("GET /v1/trades/{trade_id}/events", "page:Event"),
    ("POST /v1/trades", "Trade"),
    ("GET /v1/deliveries/{delivery_id}", "Delivery"),
    ("GET /v1/settlements", "Settlement"),
    ("GET /v1/uploads", "Upload"),
    ("GET /v1/events", "page:Event"),
    ("GET /v1/jobs", "page:Job"),
    ("POST /v1/jobs", "Job"),
    *openapi_outside.ANSWERS,
    *openapi_notices.ANSWERS,
)
_EXACT = {
    "GET /v1/listings": "SearchPage",
    "GET /v1/listings/{listing_id}": "Listing",
    "GET /v1/trades": "page:Trade",
    "GET /v1/trades/{trade_id}": "Trade",
}
_OTHER_SHAPES = ("/quote", "/record", "/receipt", "/preview", "/problems", "/descriptor",
                 "/standing-offer", "/files/", "/sketch",
                 "/scorecard", "/attestation", "/records", "/sample", "/recall",
                 "/confirm-deletion")  # fmt: skip


def _answer(method: str, path: str) -> str | None:
    route = f"{method} {path}"
    if route in _EXACT:
        return _EXACT[route]
    if any(part in path for part in _OTHER_SHAPES):
        return None
    if method == "POST" and path.startswith("/v1/listings/{listing_id}/") and "buy" not in path:
        return "Listing"
    fits = [(len(prefix), name) for prefix, name in _ANSWERS if route.startswith(prefix)]
    return max(fits)[1] if fits else None


def document(app: FastAPI) -> dict[str, Any]:
    """Return the OpenAPI document of the application, made once."""
    if app.openapi_schema:
        return app.openapi_schema
    made = get_openapi(
        title=app.title,
        version=app.version,
        summary=app.summary,
        description="Errors are application/problem+json in English and Chinese. Amounts are "
        "integer fen. A changing JSON call needs an Idempotency-Key; it may choose the ids of what "
        "it makes: `Yaosu-Id: trd_<32 hex digits>`, several by commas.",
        routes=app.routes,
    )
    parts = made.setdefault("components", {})
    schemas = parts.setdefault("schemas", {})
    examples = _examples() | openapi_outside.examples() | openapi_notices.examples()
    for name, shown in examples.items():
        schemas[f"{name}Answer"] = {**_schema(shown), "examples": [shown]}
    schemas["Problem"] = _problem()
    parts["securitySchemes"] = {
        "key": {"type": "http", "scheme": "bearer", "description": "yk_…, one per person"}
    }
    for path, methods in made["paths"].items():
        for method, operation in methods.items():
            _complete(operation, method.upper(), path)
    openapi_links.add(made)
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    app.openapi_schema = made
    return made


def _complete(operation: dict[str, Any], method: str, path: str) -> None:
    answers = operation["responses"]
    answers.pop("422", None)
    name = _answer(method, path)
    good = next(code for code in answers if code.startswith("2"))
    if name is not None and method != "DELETE":
        answers[good]["content"] = {"application/json": {"schema": _reference(name)}}
    refusals = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    for code, meaning in _ERRORS.items():
        answers[code] = {"description": meaning, "content": refusals}
    if "/uploads" in path:
        answers["412"] = {"description": "another version of tus; Tus-Version names those spoken"}
    if (method, path) == ("POST", "/v1/uploads/{upload_id}"):
        operation.setdefault("parameters", []).append(
            {
                "name": "X-HTTP-Method-Override",
                "in": "header",
                "required": True,
                "schema": {"type": "string", "enum": ["PATCH"]},
                "description": "for clients that can only POST (tus 1.0)",
            }
        )
    operation["security"] = [{"key": []}, {}]
    if method == "POST" and path.startswith(_HELD):
        answers["202"] = {"description": "noted: it waits for the yes of another person"}
    if path.endswith("/invitations/accept"):
        answers["410"] = {"description": "it ended, was taken, or was taken back"}
    if f"{method} {path}" in _FILES:
        answers[good]["content"] = {
            **(answers[good].get("content") or {} if ".csv" not in path else {}),
            **{media: {"schema": {"type": "string"}} for media in _FILES[f"{method} {path}"]},
        }
    if method == "POST" and path.endswith("/reconciliation"):
        taken: dict[str, Any] = {
            media.partition(";")[0]: {"schema": {}} for media in MEDIA.values()
        }
        operation["requestBody"] = {"required": True, "content": taken}
    changes = method in ("POST", "PUT", "DELETE")
    if changes and path.startswith("/v1/") and "/uploads" not in path:
        needed = not path.endswith(("/quote", "/problems", "/callbacks"))
        limits = {"minLength": 1, "maxLength": 255, "pattern": _KEY} if needed else {}
        operation.setdefault("parameters", []).append(
            {
                "name": "Idempotency-Key",
                "in": "header",
                "required": needed,
                "schema": {"type": "string", **limits},
                "description": "chosen by the client; the same key has one effect and one reply",
            }
        )


_KEY = "^[!-~¡-¬®-ÿ]([ -~¡-¬®-ÿ]*[!-~¡-¬®-ÿ])?$"
"""What of ISO 8859-1 can be printed, without space at the ends: HTTP takes that away."""

# Steps on these may wait for another person: four eyes, and the rules of an organisation.
_HELD = ("/v1/trades/{", "/v1/periods/{", "/v1/listings/{", "/v1/approval-rules/{", "/v1/usage-")

# Answers that are files, beside or instead of JSON.
_FILES = {
    "GET /v1/statements/payout.csv": ("text/csv",),
    "GET /v1/training-content": ("text/csv",),
    "GET /v1/source-records": ("text/csv",),
    "GET /v1/trades/{trade_id}/reads": ("text/csv",),
    "GET /v1/venues/{venue_id}/statement": ("text/csv", MEDIA[XLSX]),
}


def _reference(name: str) -> dict[str, Any]:
    kind, _, item = name.rpartition(":")
    one = {"$ref": f"#/components/schemas/{item}Answer"}
    if kind != "page":
        return one
    following = {"type": ["string", "integer", "null"], "description": "cursor of the next page"}
    return {
        "type": "object",
        "properties": {"items": {"type": "array", "items": one}, "next": following},
        "required": ["items", "next"],
    }


_FREE = frozenset({"descriptor", "payload", "agreement", "standing_offer", "body", "errors"})
"""Documents with a schema of their own, or none."""


def _schema(shown: Any, name: str = "") -> dict[str, Any]:
    """Return the JSON Schema that an example spells out; what is not there yet is null."""
    if shown is None or name in _FREE:
        return {}
    if isinstance(shown, bool):
        return {"type": ["boolean", "null"]}
    if isinstance(shown, int):
        return {"type": ["integer", "null"]}
    if isinstance(shown, float):
        return {"type": ["number", "null"]}
    if isinstance(shown, list):
        return {"type": "array", "items": _schema(shown[0]) if shown else {}}
    if isinstance(shown, dict):
        fields = {k: _schema(v, k) for k, v in shown.items()}
        return {"type": ["object", "null"], "properties": fields}
    return {"type": ["string", "null"]}


def _problem() -> dict[str, Any]:
    shown = {
        "type": "urn:yaosu:error:wrong_state",
        "title": "Wrong state",
        "title_zh": "状态不允许",
        "status": 409,
        "code": "wrong_state",
        "detail": "'accept' is not possible while the state is 'filed'; possible: deliver",
        "detail_zh": "状态为“filed”时不能执行“accept”；可执行：deliver",
        "next": ["deliver"],
    }
    return {**_schema(shown), "required": ["type", "title", "status", "code"], "examples": [shown]}


def methods(app: FastAPI, path: str) -> list[str]:
    """Return what may be asked of a path, by all of its routes (RFC 9110 §10.2.1)."""
    parts = path.split("/")
    found: set[str] = set()
    for template, operations in app.openapi()["paths"].items():
        names = template.split("/")
        if len(names) == len(parts) and all(
            n == p or (n.startswith("{") and p) for n, p in zip(names, parts, strict=True)
        ):
            found |= {method.upper() for method in operations}
    return sorted(found)
