"""Native routes of evidence after a trade: vouchers by code, usage receipts, recalls."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request, Response
from pydantic import Field

from yaosu.errors import InvalidInput
from yaosu.identity import allow
from yaosu.model import Actor, Trade
from yaosu.model_evidence import Recall, UsageReceipt
from yaosu.ports import Reader, Transaction
from yaosu.trading import recall, training_content, usage
from yaosu.trading.moves import load
from yaosu.web.door import StrictRoute, change, json_response, market_of, page, read, read_own
from yaosu.web.pages.voucher import public_voucher
from yaosu_schemas.canonical import digest

from . import bodies
from .bodies import Body, Id, Line, Paragraph, SignatureBody, Whole

router = APIRouter(prefix="/v1", route_class=StrictRoute, tags=["evidence"])

Digest = Annotated[str, Field(pattern="^sha256:[0-9a-f]{64}$")]
Day = Annotated[str, Field(pattern=r"^\d{4}-\d{2}-\d{2}$")]


class SourceBody(Body):
    """One trade that fed a model, and how much of it did."""

    trade_id: Id
    content_digest: Digest
    tokens: Whole | None = Field(default=None, ge=0, le=2**53 - 1)
    share_permille: Whole | None = Field(default=None, ge=0, le=1000)


class UsageBody(Body):
    """What was trained from which trades; the signature is over the document that this makes."""

    model: Line = Field(min_length=1, examples=["zhujiang-7b"])
    model_version: Line = Field(default="", examples=["1.2"])
    run: Line = ""
    stage: Line = Field(default="other", pattern=f"^({'|'.join(usage.STAGES)})$")
    trained_from: Day | None = None
    trained_to: Day | None = None
    sources: list[SourceBody] = Field(min_length=1, max_length=1000)
    signature: SignatureBody


class RecallBody(Body):
    """Why, and what: the version, or files of it by their SHA-256."""

    reason: Paragraph = Field(min_length=1)
    scope: Line = Field(default="version", pattern="^(version|files)$")
    files: list[Line] = Field(default_factory=list, max_length=10_000)


class DeletionBody(Body):
    """The buyer's word; the signature is over the document of `GET …/recall`."""

    statement: Line = Field(default="deleted", pattern=f"^({'|'.join(recall.STATEMENTS)})$")
    signature: SignatureBody


@router.get("/vouchers/{code}")
async def one_voucher(request: Request, code: str) -> Response:
    """Say that a voucher with this code was issued: digest, dates and status, nothing else."""
    return json_response(await read(request, lambda reader, _: public_voucher(reader, code)))


# --- usage ---------------------------------------------------------------------------------------


def _usage(reader: Reader, kept: UsageReceipt) -> dict[str, Any]:
    events = reader.events(kept.id)
    return usage.present(kept, reader.leaf_of(events[0].id) if events else None)


@router.post("/usage-receipts", status_code=201)
async def record_usage(request: Request, body: UsageBody) -> Response:
    """Record, signed, which trades fed which model."""
    given = body.model_dump(exclude={"signature"})
    sign = market_of(request).sign_for

    def step(tx: Transaction, actor: Actor) -> UsageReceipt:
        return usage.record(tx, actor, given, body.signature.model_dump(), sign)

    return await change(
        request,
        step,
        _usage,
        status=201,
        location=lambda kept: f"/v1/usage-receipts/{kept.id}",
    )


@router.get("/usage-receipts")
async def usage_receipts(
    request: Request, model: str | None = None, cursor: str | None = None, limit: int = 50
) -> Response:
    """List the usage receipts of one's own party, newest first."""
    size = max(1, min(limit, 100))

    def look(reader: Reader, actor: Actor) -> tuple[list[dict[str, Any]], str | None]:
        where = {"party_id": actor.party_id, **({"model": model} if model else {})}
        found = reader.find(UsageReceipt, after=cursor, limit=size, newest=True, **where)
        after = found[-1].id if len(found) == size else None
        return [_usage(reader, kept) for kept in found], after

    return page(request, *await read_own(request, look))


@router.get("/usage-receipts/{usage_receipt_id}")
async def one_usage_receipt(request: Request, usage_receipt_id: str) -> Response:
    """Show a usage receipt to its own party."""

    def look(reader: Reader, actor: Actor) -> dict[str, Any]:
        return _usage(reader, usage.load_receipt(reader, actor, usage_receipt_id))

    return json_response(await read_own(request, look))


Form = Annotated[str, Query(alias="format", pattern="^(json|csv)$")]


def _csv(body: bytes, name: str) -> Response:
    return Response(
        body,
        media_type="text/csv; charset=utf-8",
        headers={"content-disposition": f'attachment; filename="{name}"'},
    )


@router.get("/training-content")
async def training_summary(
    request: Request, model: str | None = None, version: str | None = None, form: Form = "json"
) -> Response:
    """Return the sections of the summary of training content for bought data, as JSON or CSV."""

    def look(reader: Reader, actor: Actor) -> dict[str, Any]:
        allow(actor, "usage.record")
        return training_content.summary(reader, actor.party_id, model, version)

    found = await read_own(request, look)
    if form == "csv":
        return _csv(training_content.summary_csv(found), "training-content.csv")
    return json_response(found)


@router.get("/source-records")
async def source_records(request: Request, form: Form = "json") -> Response:
    """Return the records of corpus sources of all bought data, as JSON or CSV."""

    def look(reader: Reader, actor: Actor) -> list[dict[str, Any]]:
        allow(actor, "usage.record")
        return training_content.source_records(reader, actor.party_id)

    found = await read_own(request, look)
    if form == "csv":
        return _csv(training_content.records_csv(found), "source-records.csv")
    return json_response({"items": found, "next": None})


# --- recalls --------------------------------------------------------------------------------------


@router.post("/listings/{listing_id}/recall", status_code=201)
async def recall_listing(request: Request, listing_id: str, body: RecallBody) -> Response:
    """Call back a version wherever it was sold: deliveries stop, buyers are asked to delete."""

    def step(tx: Transaction, actor: Actor) -> tuple[Recall, Actor]:
        made = recall.recall(
            tx, actor, listing_id, reason=body.reason, scope=body.scope, files=body.files
        )
        return made, actor

    return await change(
        request,
        step,
        lambda reader, done: recall.overview(reader, done[1], done[0]),
        status=201,
        location=lambda done: f"/v1/recalls/{done[0].id}",
    )


@router.get("/recalls")
async def recalls(request: Request, cursor: str | None = None, limit: int = 50) -> Response:
    """List the recalls of one's own listings; operators see those that they handle."""
    size = max(1, min(limit, 100))

    def look(reader: Reader, actor: Actor) -> tuple[list[dict[str, Any]], str | None]:
        found = recall.visible(reader, actor, cursor, size)
        after = found[-1].id if len(found) == size else None
        return [recall.summary(r) for r in found], after

    return page(request, *await read_own(request, look))


@router.get("/recalls/{recall_id}")
async def one_recall(request: Request, recall_id: str) -> Response:
    """Show a recall with every trade it reached and what its buyer has confirmed."""

    def look(reader: Reader, actor: Actor) -> dict[str, Any]:
        return recall.overview(reader, actor, recall.see(reader, actor, recall_id))

    return json_response(await read_own(request, look))


@router.post("/recalls/{recall_id}/close")
async def close_recall(request: Request, recall_id: str, body: bodies.Reason) -> Response:
    """End a recall; what it had closed opens again."""
    return await change(
        request,
        lambda tx, actor: (recall.close(tx, actor, recall_id, body.reason), actor),
        lambda reader, done: recall.overview(reader, done[1], done[0]),
    )


def _asked(reader: Reader, trade_id: str, statement: str = "deleted") -> dict[str, Any]:
    said = recall.deletion(reader, reader.get(Trade, trade_id), statement)
    return {
        "trade_id": trade_id,
        "notices": [recall.shown(n) for n in recall.notices(reader, trade_id)],
        "document": said if said["recall_ids"] else None,
        "digest": digest(said) if said["recall_ids"] else None,
    }


@router.get("/trades/{trade_id}/recall")
async def trade_recall(request: Request, trade_id: str, statement: str = "deleted") -> Response:
    """Say what recalls ask of a trade, with the statement that its buyer would sign."""
    if statement not in recall.STATEMENTS:
        raise InvalidInput(
            f"a statement is one of: {', '.join(recall.STATEMENTS)}",
            f"声明应为：{'、'.join(recall.STATEMENTS)}",
            field="statement",
        )

    def look(reader: Reader, actor: Actor) -> dict[str, Any]:
        load(reader, actor, trade_id)
        return _asked(reader, trade_id, statement)

    return json_response(await read_own(request, look))


@router.post("/trades/{trade_id}/confirm-deletion")
async def confirm_deletion(request: Request, trade_id: str, body: DeletionBody) -> Response:
    """Confirm, signed, that what was recalled is deleted."""
    sign = market_of(request).sign_for
    return await change(
        request,
        lambda tx, actor: recall.confirm(
            tx, actor, trade_id, body.statement, body.signature.model_dump(), sign
        ),
        lambda reader, trade: _asked(reader, trade.id),
    )
