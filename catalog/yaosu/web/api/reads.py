"""Native routes: the audit of reads of bought data, for its two sides and operators."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Request, Response
from pydantic import Field

from yaosu.exchange import sheets
from yaosu.model import Actor
from yaosu.model_money import DataRead, DataUse
from yaosu.ports import Reader
from yaosu.trading import reads
from yaosu.web.door import StrictRoute, json_response, read_own

from .exchange import table

router = APIRouter(prefix="/v1", route_class=StrictRoute, tags=["deliveries"])


@router.get("/trades/{trade_id}/reads")
async def trade_reads(
    request: Request,
    trade_id: str,
    cursor: str | None = None,
    limit: int = 100,
    format: Annotated[str, Field(pattern="^(json|csv)$")] = "json",
) -> Response:
    """List reads of what was bought: each to buyer and operator, sums by day to the provider."""
    if format == sheets.CSV:
        return await _table(request, trade_id)
    size = max(1, min(limit, 1000))

    def look(reader: Reader, actor: Actor) -> tuple[list[DataUse], list[DataRead] | None]:
        return reads.of_trade(reader, actor, trade_id, after=cursor, limit=size)

    days, found = await read_own(request, look)
    body: dict[str, Any] = {
        "trade_id": trade_id,
        "count": sum(day.count for day in days),
        "bytes": sum(day.bytes for day in days),
        "days": [reads.use_shown(day) for day in days],
    }
    if found is not None:
        body["items"] = [reads.shown(one) for one in found]
        body["next"] = found[-1].id if len(found) == size else None
    return json_response(body)


async def _table(request: Request, trade_id: str) -> Response:
    def look(reader: Reader, actor: Actor) -> tuple[tuple[str, ...], list[list[Any]]]:
        return reads.table(reader, actor, trade_id)

    names, rows = await read_own(request, look, beside=True)
    return table(sheets.CSV, f"{trade_id}-reads", reads.header(names), rows)
