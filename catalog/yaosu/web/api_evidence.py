"""Native routes of evidence: vouchers by their code."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from .door import StrictRoute, json_response, read
from .pages_voucher import public_voucher

router = APIRouter(prefix="/v1", route_class=StrictRoute, tags=["evidence"])


@router.get("/vouchers/{code}")
async def one_voucher(request: Request, code: str) -> Response:
    """Say that a voucher with this code was issued: digest, dates and status, nothing else."""
    return json_response(await read(request, lambda reader, _: public_voucher(reader, code)))
