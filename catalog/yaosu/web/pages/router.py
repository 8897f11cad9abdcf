"""The pages for people, one family per file: market, account, trade, review, console."""

from __future__ import annotations

from fastapi import APIRouter

from yaosu.web import sample

from . import (
    account,
    console,
    evidence,
    exchange,
    harvests,
    market,
    money,
    notices,
    organisation,
    profiles,
    registered,
    renewals,
    review,
    sign_in,
    trade,
    voucher,
    webhooks,
)
from .visit import error_page

router = APIRouter(include_in_schema=False)
router.include_router(sample.pages)  # before the steps of a listing under review
for part in (
    market,
    account,
    sign_in,
    organisation,
    voucher,
    webhooks,
    notices,
    profiles,
    renewals,
    exchange,
    evidence,
    money,
    trade,
    review,
    console,
    registered,
    harvests,
):
    router.include_router(part.router)

__all__ = ["error_page", "router"]
