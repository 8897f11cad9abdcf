"""Pages of what happens after a trade: use for training, its two tables, recalls and deletions."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

import orjson
from fastapi import APIRouter, Request, Response

from yaosu.errors import NotFound, YaosuError
from yaosu.identity import allow, may
from yaosu.model import Actor, Listing, SigningKey, Trade
from yaosu.model_evidence import Recall
from yaosu.ports import Reader, Transaction
from yaosu.present import signing_key
from yaosu.trading import recall, training_content, usage
from yaosu.trading.moves import load
from yaosu.web import session
from yaosu_schemas.canonical import digest

from .trade import signature_of, trade_view
from .visit import PageRoute, Visit, act, market_of, one, read_form, read_of, show

router = APIRouter(route_class=PageRoute, include_in_schema=False)


# --- use for training -----------------------------------------------------------------------------


@router.get("/training")
async def training(request: Request) -> Response:
    """One's usage receipts, the summary of training content, and the table of sources."""
    model = request.query_params.get("model") or None

    def look(reader: Reader, visit: Visit) -> Mapping[str, Any]:
        actor = visit.known
        allow(actor, "usage.record")
        receipts = usage.used_by(reader, actor.party_id)
        return {
            "receipts": receipts,
            "models": sorted({r.model for r in receipts}),
            "model": model,
            "summary": training_content.summary(reader, actor.party_id, model),
            "records": training_content.source_records(reader, actor.party_id),
            "columns": training_content.COLUMNS,
            "blank": training_content.BLANK,
            "words": training_content.words,
        }

    return await show(request, "training.html", look)


@router.get("/training/{name}")
async def training_file(request: Request, name: str) -> Response:
    """The summary or the table of sources as a file: JSON or CSV."""
    model = request.query_params.get("model") or None

    def look() -> bytes:
        with market_of(request).store.read() as reader:
            actor = session.must_be_known(session.actor_of(market_of(request), reader, request))
            allow(actor, "usage.record")
            if name.startswith("training-content."):
                found = training_content.summary(reader, actor.party_id, model)
                if name.endswith(".csv"):
                    return training_content.summary_csv(found)
                return orjson.dumps(found, option=orjson.OPT_INDENT_2)
            records = training_content.source_records(reader, actor.party_id)
            if name.endswith(".csv"):
                return training_content.records_csv(records)
            return orjson.dumps(records, option=orjson.OPT_INDENT_2)

    kinds = {"csv": "text/csv; charset=utf-8", "json": "application/json"}
    stem, _, ending = name.partition(".")
    if stem not in ("training-content", "source-records") or ending not in kinds:
        raise NotFound("no such file", "没有此文件")
    return Response(
        await read_of(request, look),
        media_type=kinds[ending],
        headers={
            "content-disposition": f'attachment; filename="{name}"',
            "cache-control": "private, no-store",
        },
    )


# --- recalls --------------------------------------------------------------------------------------


@router.get("/recalls")
async def recalls(request: Request) -> Response:
    """The recalls of one's own listings, or those that an operator handles; and a new one."""
    return await _recalls(request)


async def _recalls(
    request: Request, error: YaosuError | None = None, status: int = 200
) -> Response:
    def look(reader: Reader, visit: Visit) -> Mapping[str, Any]:
        found = recall.visible(reader, visit.known, request.query_params.get("cursor"), 50)
        return {
            "rows": [(r, reader.get(Listing, r.listing_id)) for r in found],
            "after": found[-1].id if len(found) == 50 else None,
            "listing_id": request.query_params.get("listing_id", "")[:80],
            "may_recall": may(visit.known, "listing.recall"),
        }

    return await show(request, "recalls.html", look, error=error, status=status)


@router.post("/recalls")
async def new_recall(request: Request) -> Response:
    """Call a version back."""
    form = await read_form(request)

    def step(tx: Transaction, actor: Actor) -> Recall:
        return recall.recall(tx, actor, one(form, "listing_id"), reason=one(form, "reason")[:4000])

    async def again(error: YaosuError, status: int) -> Response:
        return await _recalls(request, error, status)

    return await act(request, step, lambda made: f"/recalls/{made.id}", again=again)


@router.get("/recalls/{recall_id}")
async def one_recall(request: Request, recall_id: str) -> Response:
    """A recall: every trade it reached, and who has confirmed what."""
    return await _recall(request, recall_id)


async def _recall(
    request: Request, recall_id: str, error: YaosuError | None = None, status: int = 200
) -> Response:
    def look(reader: Reader, visit: Visit) -> Mapping[str, Any]:
        made = recall.see(reader, visit.known, recall_id)
        found = recall.overview(reader, visit.known, made)
        return {"found": found, "listing": reader.get(Listing, made.listing_id)}

    return await show(request, "recall.html", look, error=error, status=status)


@router.post("/recalls/{recall_id}/close")
async def close_recall(request: Request, recall_id: str) -> Response:
    """End a recall."""
    form = await read_form(request)

    def step(tx: Transaction, actor: Actor) -> Recall:
        return recall.close(tx, actor, recall_id, one(form, "reason")[:4000])

    async def again(error: YaosuError, status: int) -> Response:
        return await _recall(request, recall_id, error, status)

    return await act(request, step, lambda made: f"/recalls/{made.id}", again=again)


@router.post("/trades/{trade_id}/confirm-deletion/{statement}")
async def confirm_deletion(request: Request, trade_id: str, statement: str) -> Response:
    """Take the buyer's signature under a statement of deletion."""
    form = await read_form(request)
    sign = market_of(request).sign_for

    def step(tx: Transaction, actor: Actor) -> Trade:
        return recall.confirm(tx, actor, trade_id, statement, signature_of(form), sign)

    async def again(error: YaosuError, status: int) -> Response:
        if error.code == "not_found":
            raise error
        return await trade_view(request, trade_id, error, status)

    here = f"/trades/{quote(trade_id)}"
    return await act(request, step, lambda _: f"{here}?done=step", again=again)


@router.get("/trades/{trade_id}/recall")
async def trade_recall(request: Request, trade_id: str) -> Response:
    """What a recall asks of this trade, with the statement to be signed."""

    def look(reader: Reader, visit: Visit) -> Mapping[str, Any]:
        trade, _ = load(reader, visit.known, trade_id)
        notices = recall.notices(reader, trade.id)
        keys = reader.find(SigningKey, party_id=visit.known.party_id, limit=200)
        statements = []
        if visit.known.party_id == trade.user_id and any(n.state == "pending" for n in notices):
            statements = [
                (name, digest(recall.deletion(reader, trade, name))) for name in recall.STATEMENTS
            ]
        return {
            "trade": trade,
            "listing": reader.get(Listing, trade.listing_id),
            "notices": [(n, reader.get(Recall, n.recall_id)) for n in notices],
            "statements": statements,
            "signing_keys": [signing_key(k) for k in keys if k.revoked_at is None],
        }

    return await show(request, "trade_recall.html", look)
