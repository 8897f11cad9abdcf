"""The transparency log as static tiles (C2SP tlog-tiles), and proofs by digest."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter, Request, Response

from yaosu.errors import InvalidInput
from yaosu.web.door import json_response, market_of

router = APIRouter(tags=["log"])
FOR_EVER = "public, max-age=31536000, immutable"


@router.get("/log/checkpoint")
async def checkpoint(request: Request) -> Response:
    """Return the newest signed checkpoint (C2SP signed-note)."""
    return Response(
        market_of(request).log.checkpoint_bytes(),
        media_type="text/plain; charset=utf-8",
        headers={"cache-control": "no-cache"},
    )


@router.get("/log/tile/{path:path}")
async def tile(request: Request, path: str) -> Response:
    """Return a tile of hashes, or a bundle of entries."""
    body = await asyncio.to_thread(market_of(request).log.resource, f"tile/{path}")
    return Response(
        body, media_type="application/octet-stream", headers={"cache-control": FOR_EVER}
    )


@router.get("/v1/log/inclusion")
async def inclusion(request: Request, digest: str) -> Response:
    """Prove that an event is in the log (RFC 9162 §2.1.3)."""
    return json_response(await asyncio.to_thread(market_of(request).log.inclusion, digest))


@router.get("/v1/log/consistency")
async def consistency(request: Request) -> Response:
    """Prove that the log of one size begins with that of another (RFC 9162 §2.1.4)."""
    given = [request.query_params.get(name, "") for name in ("from", "to")]
    if not all(t.isascii() and t.isdigit() and len(t) < 16 for t in given):
        raise InvalidInput("from and to are log sizes", "from 与 to 应为日志大小", field="from")
    old, new = map(int, given)
    return json_response(await asyncio.to_thread(market_of(request).log.consistency, old, new))
