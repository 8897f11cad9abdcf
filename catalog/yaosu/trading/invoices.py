"""Invoices that providers report, and statements of what was paid out to them.

An invoice is never changed: one in red letters (红字发票) takes back another, or a part of it.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from yaosu import amounts
from yaosu.errors import InvalidInput
from yaosu.identity import absent, allow, can_see
from yaosu.listing import venue_of
from yaosu.model import Actor, Event, Listing, Party, Posting, Trade, new_id
from yaosu.model_money import Invoice, Period
from yaosu.ports import Reader, Transaction
from yaosu.present import plain

from .moves import load, need, written

MOST_LINES = 100_000
_FORMULA = ("=", "+", "-", "@", "\t", "\r", "＝", "＋", "－", "＠")


# --- invoices ---------------------------------------------------------------------------------


def issue(
    tx: Transaction,
    actor: Actor,
    trade_id: str,
    *,
    number: str,
    amount_fen: int,
    issued_on: date,
    tax_fen: int | None = None,
    period_id: str | None = None,
    invoice_id: str | None = None,
) -> Invoice:
    """Report an invoice over what was charged, tax within; together never more than that."""
    trade, venue = load(tx, actor, trade_id)
    allow(actor, "invoice.issue", trade, venue)
    tax = amounts.tax_within(amount_fen, trade.terms.tax_rate) if tax_fen is None else tax_fen
    if not 0 <= tax <= amount_fen:
        raise InvalidInput("the tax is a part of the amount", "税额应在金额之内", field="tax_fen")
    if period_id is not None:
        period = tx.one(Period, id=period_id)
        if period is None or period.trade_id != trade.id:
            raise absent("period", period_id)
    _need_past(tx, issued_on)
    charged = max(trade.billed_fen, trade.paid_fen - trade.refund_fen)
    invoiced = tx.total(Invoice, "amount_fen", trade_id=trade.id)
    need(
        invoiced + amount_fen <= charged,
        f"{invoiced} of {charged} fen have been invoiced: that would be too much",
        f"应开票 {charged} 分，已开票 {invoiced} 分，超出可开票金额",
        charged_fen=charged,
        invoiced_fen=invoiced,
    )
    return _add(
        tx,
        actor,
        trade,
        Invoice(
            id=_id(invoice_id),
            trade_id=trade.id,
            period_id=period_id,
            provider_id=trade.provider_id,
            user_id=trade.user_id,
            number=_number(number),
            amount_fen=amount_fen,
            tax_fen=tax,
            tax_rate=trade.terms.tax_rate,
            issued_on=issued_on,
            created_at=tx.now,
        ),
    )


def correct(
    tx: Transaction,
    actor: Actor,
    invoice_id: str,
    *,
    number: str,
    issued_on: date,
    reason: str,
    amount_fen: int | None = None,
    new_invoice_id: str | None = None,
) -> Invoice:
    """Report an invoice in red that takes back another, or `amount_fen` of it."""
    wrong, trade = find(tx, actor, invoice_id)
    allow(actor, "invoice.issue", trade, venue_of(tx, trade))
    need(wrong.corrects is None, "this invoice is in red itself", "该发票本身为红字发票")
    left = wrong.amount_fen + tx.total(Invoice, "amount_fen", corrects=wrong.id)
    amount = left if amount_fen is None else amount_fen
    need(
        0 < amount <= left,
        f"{left} fen of this invoice are left to take back",
        f"该发票尚可冲红 {left} 分",
        left_fen=left,
    )
    _need_past(tx, issued_on)
    return _add(
        tx,
        actor,
        trade,
        replace(
            wrong,
            id=_id(new_invoice_id),
            number=_number(number),
            amount_fen=-amount,
            tax_fen=-(wrong.tax_fen * amount // wrong.amount_fen),
            issued_on=issued_on,
            corrects=wrong.id,
            reason=written(reason),
            created_at=tx.now,
        ),
    )


def _add(tx: Transaction, actor: Actor, trade: Trade, made: Invoice) -> Invoice:
    tx.add(made)
    tx.record(
        trade.id,
        "invoice",
        actor_id=actor.id,
        from_state=trade.state,
        to_state=trade.state,
        payload={
            "invoice_id": made.id,
            "number": made.number,
            "amount_fen": made.amount_fen,
            "tax_fen": made.tax_fen,
            "issued_on": made.issued_on.isoformat(),
            "corrects": made.corrects,
        },
    )
    return made


def _id(given: str | None) -> str:
    if given is None:
        return new_id("inv")
    kind, _, digits = given.partition("_")
    if kind != "inv" or len(digits) != 32 or set(digits) - set("0123456789abcdef"):
        raise InvalidInput(
            "an invoice id is 'inv_' and 32 hex digits",
            "发票标识为 inv_ 加 32 位十六进制",
            field="invoice_id",
        )
    return given


def _number(text: str) -> str:
    if not text.strip() or not text.isprintable():
        raise InvalidInput("an invoice has a number", "发票需要号码", field="number")
    return text.strip()


def _need_past(tx: Transaction, day: date) -> None:
    if day > (tx.now + timedelta(hours=14)).date():  # it is tomorrow somewhere
        raise InvalidInput(
            "an invoice is reported when it has been issued",
            "开票日期不能晚于今天",
            field="issued_on",
        )


def find(reader: Reader, actor: Actor, invoice_id: str) -> tuple[Invoice, Trade]:
    """Return an invoice that exists for the actor, and its trade."""
    found = reader.one(Invoice, id=invoice_id)
    if found is None:
        raise absent("invoice", invoice_id)
    trade = reader.get(Trade, found.trade_id)
    if not can_see(actor, trade, venue_of(reader, trade)):
        raise absent("invoice", invoice_id)
    return found, trade


def of_party(
    reader: Reader, party_id: str, *, after: str | None = None, limit: int = 100
) -> list[Invoice]:
    """Return the invoices that a party issued or was issued, newest first."""
    found = {
        invoice.id: invoice
        for side in ({"provider_id": party_id}, {"user_id": party_id})
        for invoice in reader.find(Invoice, after=after, limit=limit, newest=True, **side)
    }
    return [found[i] for i in sorted(found, reverse=True)][:limit]


# --- payout statements ------------------------------------------------------------------------


def statement(reader: Reader, party_id: str, since: date, until: date) -> dict[str, Any]:
    """Return what was posted to a party's account from a day to another, both counted (UTC)."""
    if until < since:
        raise InvalidInput("the last day is before the first", "截止日早于起始日", field="to")
    start = datetime.combine(since, time(), UTC)
    end = datetime.combine(until + timedelta(days=1), time(), UTC)
    account = f"provider:{party_id}"
    lines = reader.account(account, since=start, until=end, limit=MOST_LINES + 1)
    if len(lines) > MOST_LINES:
        raise InvalidInput(
            f"more than {MOST_LINES} entries: ask for fewer days",
            f"分录超过 {MOST_LINES} 条，请缩短期间",
            field="to",
        )
    opening = reader.balance_before(account, start)
    shown = list(_lines(reader, lines))
    paid = sum(line["amount_fen"] for line in shown)
    return {
        "party_id": party_id,
        "account": account,
        "from": since.isoformat(),
        "to": until.isoformat(),
        "opening_fen": opening,
        "paid_fen": paid,
        "closing_fen": opening + paid,
        "lines": shown,
    }


def _lines(reader: Reader, lines: Iterable[Posting]) -> Iterable[dict[str, Any]]:
    trades: dict[str, tuple[Trade, Listing, Party, dict[str, Event]]] = {}
    for line in lines:
        if line.trade_id not in trades:
            trade = reader.get(Trade, line.trade_id)
            events = {e.digest: e for e in reader.events(trade.id)}
            listing, buyer = reader.get(Listing, trade.listing_id), reader.get(Party, trade.user_id)
            trades[line.trade_id] = (trade, listing, buyer, events)
        trade, listing, buyer, events = trades[line.trade_id]
        event = events.get(line.event_digest)
        payload = event.payload if event is not None and isinstance(event.payload, dict) else {}
        yield {
            "at": plain(line.at),
            "trade_id": trade.id,
            "contract_no": (trade.agreement or {}).get("contract_no", ""),
            "title": listing.title,
            "buyer": buyer.name,
            "entry": event.type if event is not None else "",
            "period": payload.get("number"),
            "gross_fen": payload.get("amount_fen"),
            "fee_fen": payload.get("fee_fen"),
            "amount_fen": line.amount_fen,
            "event_digest": line.event_digest,
        }


COLUMNS = (
    "at", "trade_id", "contract_no", "title", "buyer", "entry", "period", "gross_fen", "fee_fen",
    "amount_fen", "event_digest",
)  # fmt: skip


def as_csv(rows: Iterable[dict[str, Any]], columns: Iterable[str] = COLUMNS) -> str:
    """Return rows as CSV that no spreadsheet takes for formulas (numbers stay numbers)."""
    out = io.StringIO()
    writer = csv.writer(out, quoting=csv.QUOTE_ALL, lineterminator="\r\n")
    names = list(columns)
    writer.writerow(names)
    for row in rows:
        writer.writerow([_cell(row.get(name)) for name in names])
    return out.getvalue()


def _cell(value: Any) -> Any:
    if value is None:
        return ""
    if isinstance(value, str) and value.startswith(_FORMULA):
        return "'" + value
    return value
