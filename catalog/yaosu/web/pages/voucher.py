"""The voucher on paper: a receipt as a page in both languages, and the page behind its code."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, Request, Response
from markupsafe import Markup

from yaosu.errors import NotFound
from yaosu.identity import allow
from yaosu.model import Trade, TradeState
from yaosu.ports import Reader
from yaosu.proof import checkpoint as notes
from yaosu.proof import voucher, witness
from yaosu.trading import recall
from yaosu.trading.moves import load
from yaosu.web import session

from .texts import said
from .visit import PageRoute, Visit, market_of, read_of, see_other, show

router = APIRouter(route_class=PageRoute, include_in_schema=False)

VALID = (TradeState.VOUCHERED, TradeState.COMPLETED)


def both(name: str) -> Markup:
    """Return a sentence in both languages: a voucher is read by both sides and by third ones."""
    text = said(name)
    return Markup('<span lang="zh-CN">{}</span> <span lang="en" class="dim">{}</span>').format(
        text.zh, text.en
    )


def status_of(reader: Reader, trade: Trade) -> str:
    """Return how a voucher stands today, to whoever holds its code."""
    if any(n.state != "released" for n in recall.notices(reader, trade.id)):
        return "recalled"
    if trade.state in VALID:
        return "valid"
    return "disputed" if trade.state == TradeState.DISPUTED else "ended"


def public_voucher(reader: Reader, text: str) -> dict[str, Any]:
    """Return what may be known by a code: digest, dates, status; NotFound for any other text."""
    code = voucher.read_code(text[:64])
    kept = reader.view(f"voucher:{code}") if code else None
    if kept is None:
        raise NotFound("there is no voucher with this code", "没有此验证码对应的凭证")
    about = json.loads(kept[1])
    trade = reader.get(Trade, about.pop("trade_id"))
    return {"code": code, **about, "status": status_of(reader, trade)}


@router.get("/trades/{trade_id}/receipt")
async def receipt_page(request: Request, trade_id: str) -> Response:
    """The receipt to be read and printed, with the code by which anyone can check it."""
    market = market_of(request)

    def look() -> None:
        with market.store.read() as reader:
            actor = session.must_be_known(session.actor_of(market, reader, request))
            trade, venue = load(reader, actor, trade_id)
            allow(actor, "receipt.read", trade, venue)

    await read_of(request, look)
    found = json.loads(await asyncio.to_thread(market.receipt, trade_id))

    def facts(reader: Reader, visit: Visit) -> Mapping[str, Any]:
        return receipt_facts(found, market.settings.public_url.rstrip("/"))

    return await show(request, "voucher.html", facts)


def receipt_facts(receipt: Mapping[str, Any], base: str) -> dict[str, Any]:
    """Return what the page of a receipt shows."""
    code = voucher.code_of(receipt)
    address = f"{base}/verify/{code}"
    note = notes.read(receipt["checkpoint"].encode())
    keys = [witness.read_key(k) for k in receipt.get("witnesses") or ()]
    return {
        "receipt": receipt,
        "trade": receipt["trade"],
        "code": code,
        "address": address,
        "qr": qr_code(address),
        "size": note.checkpoint.size,
        "witnessed": [(k.name, at) for k in keys if (at := witness.cosigned_at(note, k))],
        "digests": receipt.get("digests") or {},
        "both": both,
    }


def qr_code(text: str) -> Markup:
    """Return the code as SVG, with its modules in the colour of the text."""
    import segno

    drawn = segno.make(text, error="m").svg_inline(scale=3, border=2, omitsize=True)
    return Markup(drawn)  # digits, letters and slashes of our own


@router.get("/verify")
async def ask_code(request: Request) -> Response:
    """The page to type a code into."""
    code = request.query_params.get("code", "")
    known = voucher.read_code(code[:64])
    if known:
        return see_other(f"/verify/{known}")

    def look(reader: Reader, visit: Visit) -> Mapping[str, Any]:
        return {"found": None, "typed": code[:64], "both": both}

    return await show(request, "verify.html", look)


@router.get("/verify/{code}")
async def by_code(request: Request, code: str) -> Response:
    """What anyone may know of a voucher: that it was issued, its digest, dates and status."""

    def look(reader: Reader, visit: Visit) -> Mapping[str, Any]:
        return {"found": public_voucher(reader, code), "typed": "", "both": both}

    return await show(request, "verify.html", look)
