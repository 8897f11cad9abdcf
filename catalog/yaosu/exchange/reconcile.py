"""The day of a venue beside the other side's file: matched, missing on either side, different.

Their table is compared field by field with ours, by the first of the numbers that it carries.
Sums are kept for every outcome on both sides, so that nothing can fall between them.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from yaosu import present
from yaosu.errors import InvalidInput, Malformed, Text
from yaosu.model import JSON, Actor, Venue, new_id
from yaosu.model_outside import Reconciliation
from yaosu.ports import Transaction
from yaosu_connectors import exchange
from yaosu_schemas.texts import clip

from . import sheets
from .statement import MONEY, Line, Statement

KEYS = ("trade_id", "contract_no", "filing_no")
TEXTS = ("contract_no", "filing_no", "listing_id", "provider_uscc", "user_uscc", "state")
OUTCOMES: Mapping[str, Text] = {
    "matched": Text("Matched", "一致"),
    "different": Text("Different", "不一致"),
    "missing_there": Text("Only here", "对方缺失"),
    "missing_here": Text("Only there", "我方缺失"),
    "twice": Text("Twice in their file", "对方重复"),
}
MOST_TEXT = 300
COLUMNS = ("outcome", "key", "trade_id", "row", "field", "ours", "theirs")
TITLES: Mapping[str, Text] = {
    "outcome": Text("Outcome", "结果"),
    "key": Text("Number", "编号"),
    "trade_id": Text("Trade", "交易编号"),
    "row": Text("Row of their file", "对方文件行号"),
    "field": Text("Field", "字段"),
    "ours": Text("Ours", "我方"),
    "theirs": Text("Theirs", "对方"),
}

Value = str | int | None


@dataclass(frozen=True, slots=True)
class Theirs:
    """One row of the other side: where it stands, and what it says of the fields we know."""

    row: int
    key: str
    values: Mapping[str, Value]


# --- reading ----------------------------------------------------------------------------------


def read(data: bytes, format_: str, form: str, parse: Any) -> tuple[str, list[Theirs]]:
    """Return the field that identifies their rows, and the rows; every refusal names its row."""
    if format_ == sheets.JSON:
        header, table = _objects(parse(data), form)
    else:
        names, cells = sheets.read(data, format_)
        header = [name.split(" ")[0] for name in names]
        table = _cells(header, cells)
    key = next((name for name in KEYS if name in header), None)
    if key is None:
        raise InvalidInput(
            f"the file has one of these columns: {', '.join(KEYS)}",
            f"文件须含以下任一列：{'、'.join(KEYS)}",
            field="header",
        )
    return key, [_theirs(row, key, values) for row, values in table if any(values.values())]


def _cells(
    header: Sequence[str], rows: Iterable[Sequence[Value]]
) -> Iterable[tuple[int, dict[str, Value]]]:
    if len(set(filter(None, header))) != len([n for n in header if n]):
        raise InvalidInput("a column stands twice", "表头有重复列", field="header")
    for number, row in enumerate(rows, 2):
        if len(row) > len(header) and any(row[len(header) :]):
            raise Malformed(
                f"row {number} has more cells than the header",
                f"第 {number} 行的单元格多于表头",
                row=number,
            )
        values = dict(zip(header, row, strict=False))
        if str(values.get("trade_id") or "").startswith("合计"):
            continue  # our own last row
        yield number, values


def _objects(said: JSON, form: str) -> tuple[list[str], Iterable[tuple[int, dict[str, Value]]]]:
    """Read a list of lines, of trading records, or of an exchange's forms."""
    items = said.get("items") if isinstance(said, dict) else said
    if not isinstance(items, list) or not all(isinstance(i, dict) for i in items):
        raise Malformed("JSON is a list of objects, or has one under `items`", "JSON 应为对象列表")
    if len(items) > sheets.MOST_ROWS:
        raise Malformed("too many rows", "行数过多", limit=sheets.MOST_ROWS)
    if form:
        items = [_of_record(exchange.form(form).read(i)[0] if form != "record" else i)
                 for i in items]  # fmt: skip
    header = list(dict.fromkeys(str(name) for item in items for name in item))
    table = [
        (n, {str(k): v if isinstance(v, str | int) else None for k, v in item.items()})
        for n, item in enumerate(items, 1)
    ]
    return header or list(KEYS), table


def _of_record(record: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a trading record says of the fields of a statement."""

    def at(*path: str) -> Any:
        node: Any = record
        for name in path:
            node = node.get(name) if isinstance(node, Mapping) else None
        return node

    found = {
        "trade_id": at("trade_id"),
        "contract_no": at("contract", "no"),
        "filing_no": at("filing", "no"),
        "listing_id": at("listing_id"),
        "provider_uscc": at("provider", "uscc"),
        "user_uscc": at("user", "uscc"),
        "state": at("state"),
        "amount_fen": at("price", "amount_fen"),
    }
    return {name: value for name, value in found.items() if value is not None}


def _theirs(row: int, key: str, values: Mapping[str, Value]) -> Theirs:
    known: dict[str, Value] = {}
    for name in MONEY:
        if name in values:
            known[name] = sheets.whole(values[name], row, name)
    for name in (*TEXTS, "trade_id"):
        if name in values:
            known[name] = str(values[name] if values[name] is not None else "").strip()[:MOST_TEXT]
    number = str(values.get(key) or "").strip()
    if not number:
        raise InvalidInput(
            f"row {row}: {key} is missing", f"第 {row} 行：缺少 {key}", row=row, field=key
        )
    return Theirs(row, number[:MOST_TEXT], known)


# --- comparing --------------------------------------------------------------------------------


def compare(ours: Statement, key: str, theirs: Sequence[Theirs]) -> JSON:
    """Return every line of both sides under one outcome, with the sums of each."""
    here = {str(getattr(line, key)): line for line in ours.lines if getattr(line, key)}
    items: list[JSON] = []
    sums = {name: {side: dict.fromkeys(MONEY, 0) for side in ("ours", "theirs")}
            for name in OUTCOMES}  # fmt: skip
    seen: set[str] = set()
    met: set[str] = set()
    for one in theirs:
        differences: list[dict[str, Value]] = []
        line = here.get(one.key)
        if one.key in seen:
            outcome = "twice"
        elif line is None:
            outcome = "missing_here"
        else:
            differences = _differences(line, key, one)
            outcome = "different" if differences else "matched"
        items.append(_item(outcome, one.key, line, one.row, differences))
        _add(sums[outcome], None if one.key in seen else line, one)
        seen.add(one.key)
        met |= {line.trade_id} if line else set()
    for line in ours.lines:
        if line.trade_id not in met:
            items.append(_item("missing_there", str(getattr(line, key)), line, None, []))
            _add(sums["missing_there"], line, None)
    counts = {name: sum(i["outcome"] == name for i in items) for name in OUTCOMES}
    order = {name: n for n, name in enumerate(OUTCOMES)}
    items.sort(key=lambda i: (-order[i["outcome"]], i["key"], i["row"] or 0))
    whole = {side: {name: sum(s[side][name] for s in sums.values()) for name in MONEY}
             for side in ("ours", "theirs")}  # fmt: skip
    stated = [name for name in MONEY if any(one.values.get(name) is not None for one in theirs)]
    return {
        "key": key,
        "stated": stated,
        "counts": counts,
        "sums": sums,
        "totals": whole,
        "items": items,
    }


def _differences(line: Line, key: str, one: Theirs) -> list[dict[str, Value]]:
    """Return the fields that both sides state and that are not the same."""
    return [
        {"field": name, "ours": getattr(line, name), "theirs": one.values[name]}
        for name in (*TEXTS, *MONEY)
        if name != key
        and one.values.get(name) is not None
        and one.values[name] != getattr(line, name)
    ]


def _item(
    outcome: str, key: str, line: Line | None, row: int | None, differences: JSON
) -> dict[str, Any]:
    return {
        "outcome": outcome,
        "key": key,
        "trade_id": line.trade_id if line else None,
        "row": row,
        "differences": differences,
    }


def _add(sums: Mapping[str, dict[str, int]], line: Line | None, one: Theirs | None) -> None:
    for name in MONEY:
        if line is not None:
            sums["ours"][name] += getattr(line, name)
        value = one.values.get(name) if one is not None else None
        if isinstance(value, int):
            sums["theirs"][name] += value


# --- keeping and showing ----------------------------------------------------------------------


def keep(
    tx: Transaction, actor: Actor, venue: Venue, day: str, file_sha256: str, result: JSON
) -> Reconciliation:
    """Keep an outcome with the digest of the file that was compared."""
    made = Reconciliation(
        id=new_id("rec"),
        venue=venue.id,
        day=day,
        by=actor.id,
        file_sha256=file_sha256,
        counts=result["counts"],
        result=result,
        created_at=tx.now,
    )
    tx.add(made)
    payload = {
        "reconciliation_id": made.id,
        "day": day,
        "file_sha256": made.file_sha256,
        "counts": dict(made.counts),
    }
    tx.record(f"venue:{venue.id}", "reconciled", actor_id=actor.id, payload=payload)
    return made


def shown(made: Reconciliation, *, most: int | None = None) -> dict[str, Any]:
    """Return an outcome with at most so many of its lines; `more` counts the others."""
    hidden = {"id", "venue", "result"}
    facts = {k: v for k, v in present.plain(made).items() if k not in hidden}
    told = {"reconciliation_id": made.id, "venue_id": made.venue, **facts}
    if most == 0:
        return told
    items = (made.result or {}).get("items", [])
    first = items[:most]
    result = {**(made.result or {}), "items": first}
    return {**told, "result": result, "more": len(items) - len(first)}


def header() -> list[str]:
    return [f"{name} {TITLES[name].zh}" for name in COLUMNS]


def rows(made: Reconciliation) -> list[list[str | int | None]]:
    """Return the outcome as a table: one row for each line, or for each field that differs."""
    table: list[list[str | int | None]] = []
    for item in made.result["items"]:
        first = [item["outcome"], clip(item["key"]), item["trade_id"], item["row"]]
        fields = item["differences"] or [{"field": None, "ours": None, "theirs": None}]
        table += [[*first, d["field"], d["ours"], d["theirs"]] for d in fields]
    return table
