"""The day of a place of trading in whole fen: what was held, came in, went back, was paid out.

A day is a day in Beijing. Everything is read from the evidence and the postings of that day, so
that the statement of a past day is the same whenever it is asked for, and always adds up:
opening + paid − refunded − settled = held, and settled = fee + net.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, date, datetime, time, timedelta, timezone
from typing import Any

from yaosu.errors import InvalidInput, Text
from yaosu.model import Event, Party, Posting, Trade, Venue
from yaosu.ports import Reader

BEIJING = timezone(timedelta(hours=8))
SLACK = timedelta(minutes=5)
"""How far the order of the store and that of times may differ where many write."""
PAGE = 1000

MONEY = (
    "amount_fen", "opening_fen", "paid_fen", "refunded_fen", "settled_fen", "fee_fen", "net_fen",
    "held_fen",
)  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One trade on one day: amounts are of the day, `opening` and `held` at its ends."""

    trade_id: str
    contract_no: str
    filing_no: str
    listing_id: str
    provider: str
    provider_uscc: str
    user: str
    user_uscc: str
    state: str
    last_at: str
    amount_fen: int
    opening_fen: int
    paid_fen: int
    refunded_fen: int
    settled_fen: int
    fee_fen: int
    net_fen: int
    held_fen: int


COLUMNS = tuple(f.name for f in fields(Line))
TITLES: Mapping[str, Text] = {
    "trade_id": Text("Trade", "交易编号"),
    "contract_no": Text("Contract", "合同编号"),
    "filing_no": Text("Filing", "备案号"),
    "listing_id": Text("Listing", "挂牌编号"),
    "provider": Text("Provider", "供方"),
    "provider_uscc": Text("Provider's code", "供方信用代码"),
    "user": Text("Buyer", "需方"),
    "user_uscc": Text("Buyer's code", "需方信用代码"),
    "state": Text("State", "状态"),
    "last_at": Text("Last event", "最后事件时间"),
    "amount_fen": Text("Contract amount", "合同金额"),
    "opening_fen": Text("Held at the beginning", "期初托管"),
    "paid_fen": Text("Paid in", "当日收款"),
    "refunded_fen": Text("Refunded", "当日退款"),
    "settled_fen": Text("Settled", "当日结算"),
    "fee_fen": Text("Fee", "其中费用"),
    "net_fen": Text("To right holders", "其中权利人所得"),
    "held_fen": Text("Held at the end", "期末托管"),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """The lines of a day, ordered by trade."""

    venue: str
    day: date
    lines: tuple[Line, ...]

    @property
    def totals(self) -> dict[str, int]:
        return totals(self.lines)

    def as_json(self) -> dict[str, Any]:
        return {
            "venue_id": self.venue,
            "day": self.day.isoformat(),
            "items": [line_json(line) for line in self.lines],
            "totals": self.totals,
        }


def line_json(line: Line) -> dict[str, Any]:
    return {name: getattr(line, name) for name in COLUMNS}


def totals(lines: Iterable[Line]) -> dict[str, int]:
    """Return the sums of the columns of money."""
    found = dict.fromkeys(MONEY, 0)
    for line in lines:
        for name in MONEY:
            found[name] += getattr(line, name)
    return found


def header() -> list[str]:
    """Return the names of the columns, each with what it means in Chinese."""
    return [f"{name} {TITLES[name].zh}" for name in COLUMNS]


def rows(made: Statement) -> list[list[str | int | None]]:
    """Return the statement as a table, the sums in the last row."""
    table: list[list[str | int | None]] = [
        [getattr(line, name) for name in COLUMNS] for line in made.lines
    ]
    sums = made.totals
    table.append(["合计 total", *(sums.get(name) for name in COLUMNS[1:])])
    return table


def day_of(text: str) -> date:
    try:
        if len(text) != 10:
            raise ValueError
        return date.fromisoformat(text)
    except ValueError:
        raise InvalidInput("a day is YYYY-MM-DD", "日期应为 YYYY-MM-DD", field="day") from None


def bounds(day: date) -> tuple[datetime, datetime]:
    """Return the first moment of a day in Beijing and that of the next, in UTC."""
    try:
        start = datetime.combine(day, time(), BEIJING).astimezone(UTC)
        return start, start + timedelta(days=1)
    except OverflowError:
        raise InvalidInput("no such day", "无此日期", field="day") from None


def of_day(reader: Reader, venue: Venue, day: date) -> Statement:
    """Return the statement of a venue: its signed trades to which something happened that day."""
    start, end = bounds(day)
    found = {}
    for trade_id in _touched(reader, start, end):
        trade = reader.one(Trade, id=trade_id)
        if trade is not None and trade.venue == venue.id:
            events = [e for e in reader.events(trade_id) if e.at < end]
            if any(e.type == "sign" for e in events) and events[-1].at >= start:
                found[trade_id] = _line(reader, trade, events, start, end)
    return Statement(venue=venue.id, day=day, lines=tuple(found[i] for i in sorted(found)))


def _touched(reader: Reader, start: datetime, end: datetime) -> set[str]:
    """Return the trades that have an event within these times."""
    found: set[str] = set()
    after = last_before(reader, start - SLACK)
    while page := reader.events_after(after, limit=PAGE):
        found |= {e.subject_id for e in page if start <= e.at < end}
        if page[-1].at >= end + SLACK:
            break
        after = page[-1].id
    return {i for i in found if i.startswith("trd_")}


def last_before(reader: Reader, at: datetime) -> int:
    """Return an event id up to which all events are earlier than a time (a binary search)."""
    low, step = 0, 1
    while (page := reader.events_after(low + step, limit=1)) and page[0].at < at:
        low, step = low + step, step * 2
    high = low + step
    while high - low > 1:
        middle = (low + high) // 2
        page = reader.events_after(middle, limit=1)
        if page and page[0].at < at:
            low = middle
        else:
            high = middle
    return low


def _line(
    reader: Reader, trade: Trade, events: Sequence[Event], start: datetime, end: datetime
) -> Line:
    provider, user = reader.get(Party, trade.provider_id), reader.get(Party, trade.user_id)
    states = [e.to_state for e in events if e.to_state]
    filed = any(e.type == "file" for e in events)
    return Line(
        trade_id=trade.id,
        contract_no=str((trade.agreement or {}).get("contract_no") or ""),
        filing_no=trade.filing_no or "" if filed else "",
        listing_id=trade.listing_id,
        provider=provider.name,
        provider_uscc=provider.uscc or "",
        user=user.name,
        user_uscc=user.uscc or "",
        state=states[-1] if states else str(trade.state),
        last_at=events[-1].at.astimezone(BEIJING).strftime("%Y-%m-%d %H:%M:%S"),
        amount_fen=trade.terms.amount_fen,
        **money(reader.postings(trade.id), start, end),
    )


def money(postings: Iterable[Posting], start: datetime, end: datetime) -> dict[str, int]:
    """Return what a day's postings of a trade say: every line is counted, under one name.

    The periods of a trade have escrows of their own: they are held as well.
    """
    found = dict.fromkeys(MONEY[1:], 0)
    for line in postings:
        if line.at >= end:
            continue
        held = line.account.startswith("escrow:")
        if line.at < start:
            found["opening_fen"] += line.amount_fen if held else 0
        elif held:
            found["held_fen"] += line.amount_fen
        elif line.account.startswith("buyer:"):
            name = "paid_fen" if line.amount_fen < 0 else "refunded_fen"
            found[name] += abs(line.amount_fen)
        elif line.account.startswith("fee:"):
            found["fee_fen"] += line.amount_fen
        else:
            found["net_fen"] += line.amount_fen
    found["settled_fen"] = found["fee_fen"] + found["net_fen"]
    found["held_fen"] += found["opening_fen"]
    return found
