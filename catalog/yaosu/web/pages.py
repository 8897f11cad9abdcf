"""The pages for people, one family per file: market, account, trade, review, console."""

from __future__ import annotations

from fastapi import APIRouter

from . import (
    pages_account,
    pages_console,
    pages_evidence,
    pages_exchange,
    pages_harvests,
    pages_market,
    pages_money,
    pages_organisation,
    pages_registered,
    pages_review,
    pages_sign_in,
    pages_trade,
    pages_voucher,
    pages_webhooks,
    sample,
)
from .visit import error_page

router = APIRouter(include_in_schema=False)
router.include_router(sample.pages)  # before the steps of a listing under review
for part in (
    pages_market,
    pages_account,
    pages_sign_in,
    pages_organisation,
    pages_voucher,
    pages_webhooks,
    pages_exchange,
    pages_evidence,
    pages_money,
    pages_trade,
    pages_review,
    pages_console,
    pages_registered,
    pages_harvests,
):
    router.include_router(part.router)

__all__ = ["error_page", "router"]
