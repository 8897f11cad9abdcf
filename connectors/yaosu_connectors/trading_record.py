"""The neutral trading record: one trade as a dictionary that any exchange can read.

The fields are those of the trading record's data dictionary (parties, object, rights, contract,
price, bills, deliveries, acceptance, settlement, voucher, disputes, evidence). It is built from
plain parts, checked against the schema `trading-record` and the rules between its fields, and
read back by the same door.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime
from enum import Enum
from pathlib import Path
from typing import Any

from yaosu_schemas.canonical import digest, jcs
from yaosu_schemas.errors import InvalidDocument, InvalidInput, Problem, Text, YaosuError
from yaosu_schemas.paths import path_problem
from yaosu_schemas.texts import clip

from . import local
from .connector import About, Change, Record, Report, Skipped

SCHEMA = "trading-record"
SUFFIX = ".trade.json"
# National rules ask for 20 years, Shenzhen's for 30: the longer one holds for all.
RETENTION_YEARS = 30

JSON = Mapping[str, Any]


def build(
    *,
    trade: JSON,
    agreement: JSON | None = None,
    signatures: Sequence[JSON] = (),
    delivery: JSON | None = None,
    events: Sequence[JSON] = (),
    usage: Sequence[JSON] = (),
) -> dict[str, Any]:
    """Return the record of one trade from what a market tells of it, as far as it has come.

    The parts are the market's plain JSON. What is unknown yet is left out, private contacts of the
    parties always; `problems` says what a trade that is still under way lacks.
    """
    agreement = agreement or {}
    subject = agreement.get("subject") or {}
    object_type = subject.get("object_type")
    record = {
        "trade_id": trade.get("trade_id"),
        "exchange": trade.get("venue"),
        "state": trade.get("state"),
        "listing_id": trade.get("listing_id"),
        "listing_version": trade.get("listing_version"),
        "content_digest": trade.get("content_digest"),
        "terms_digest": trade.get("terms_digest"),
        "report_digest": trade.get("report_digest"),
        "object_type": object_type,
        "business_type": object_type and ("service" if object_type == "service" else "product"),
        "provider": _party(trade.get("provider"), "provider"),
        "user": _party(trade.get("user"), "user"),
        "certificate_no": agreement.get("certificate_no"),
        "certificate_valid_until": agreement.get("certificate_valid_until"),
        **_rights(trade, agreement),
        "contract": _contract_part(trade, agreement, signatures),
        "signatures": [_signature(signature) for signature in signatures],
        **_money(trade, agreement),
        "delivery": [_delivery(trade, delivery)] if delivery else None,
        "usage": [dict(use) for use in usage],
        **_ending(trade, agreement, events),
        "events": [_event(event, trade.get("trade_id")) for event in events],
    }
    return _dated(tidy(record))


def tidy(parts: JSON) -> dict[str, Any]:
    """Return parts in the dictionary's own names as plain JSON: nothing empty, no contacts.

    Datetimes become RFC 3339 in UTC, dates ISO 8601; a float is refused, money is whole fen.
    """
    record: dict[str, Any] = {}
    for key, value in parts.items():
        plain = _plain(value)
        if plain not in (None, "", [], {}):
            record[key] = plain
    return record


def read(text: str) -> dict[str, Any]:
    """Return the record in a JSON text; Malformed, or InvalidDocument with every problem."""
    return valid(local.parse_json(text))


def valid(record: Any) -> dict[str, Any]:
    """Return a record that is whole; InvalidDocument with every problem of it."""
    found = [problem for problem in problems(record) if problem.severity != "warning"]
    if found:
        raise InvalidDocument(found)
    jcs(record)  # what has no canonical form cannot be signed either
    return dict(record)


def problems(record: object) -> list[Problem]:
    """Return all that is wrong with a record: its shape, then what its fields say together."""
    from yaosu_schemas.documents import check

    found: list[Problem] = check(record, against=SCHEMA)
    if isinstance(record, Mapping) and all(p.severity == "warning" for p in found):
        found = [*found, *_order(record), *_amounts(record), *_chain(record)]
    return found


class TradingRecords:
    """Harvests and publishes a folder of trading records, one JSON file for each trade."""

    suffix = SUFFIX

    def say(self, record: JSON) -> dict[str, Any]:
        """Return a record as the files hold it."""
        return dict(record)

    def hear(self, document: Any) -> tuple[dict[str, Any], tuple[Problem, ...]]:
        """Return what a file holds as a record, and what of it was left out."""
        return document, ()

    def about(self) -> About:
        return About(
            name="trading-record",
            title=Text("Neutral trading records", "中立交易记录"),
            speaks=("yaosu trading record v1",),
            kinds=("trade",),
        )

    def harvest(self, source: str, /) -> Iterator[Record | Skipped]:
        return self._harvest(local.open_root(source))

    def publish(self, records: Iterable[Record], target: str, /, *, prune: bool = False) -> Report:
        root = local.make_root(target)
        changes = [self._publish(root, record) for record in records]
        if prune:
            kept = {change.origin_id + self.suffix for change in changes}
            changes += [
                self._remove(root, name) for name in sorted(os.listdir(root))
                if name.endswith(self.suffix) and not name.startswith(".") and name not in kept
            ]  # fmt: skip
        return Report.of(changes)

    def _harvest(self, root: Path) -> Iterator[Record | Skipped]:
        for step in local.walk(root):
            if isinstance(step, local.Refused):
                yield Skipped(origin_id=step.path, why=step.why)
                continue
            for name in step.files:
                if name.endswith(self.suffix):
                    path = f"{step.path}/{name}" if step.path else name
                    yield self._one(root / path, name.removesuffix(self.suffix))

    def _one(self, path: Path, origin: str) -> Record | Skipped:
        try:
            record, notes = self.hear(local.read_document(path))
            return replace(as_record(valid(record)), notes=notes)
        except (YaosuError, OSError) as e:
            return Skipped(origin_id=origin, why=local.why_not(e))

    def _publish(self, root: Path, record: Record) -> Change:
        origin = record.origin_id
        name = origin + self.suffix
        if record.kind != "trade":
            why = Text("a folder of trading records holds trades only", "交易记录文件夹只收录交易")
            return Change(outcome="skipped", origin_id=origin, why=why)
        problem = path_problem(name) or (Text("it holds '/'", "含有“/”") if "/" in name else None)
        if problem is None and (root / name).is_symlink():
            problem = Text("a symbolic link stands in its place", "目标位置是符号链接")
        if problem is not None:
            return Change(outcome="skipped", origin_id=origin, why=problem)
        try:
            document = self.say(valid(dict(record.document)))
        except YaosuError as e:
            return Change(outcome="skipped", origin_id=origin, why=local.why_not(e))
        there = (root / name).exists()
        if there and _same(root / name, document):
            return Change(outcome="unchanged", origin_id=origin, record=record)
        local.write_document(root / name, document)
        return Change(outcome="changed" if there else "added", origin_id=origin, record=record)

    def _remove(self, root: Path, name: str) -> Change:
        (root / name).unlink()
        return Change(outcome="removed", origin_id=name.removesuffix(self.suffix))


def as_record(document: Mapping[str, Any]) -> Record:
    """Return a built trading record as something that can be published."""
    return Record(
        origin_id=str(document["trade_id"]),
        kind="trade",
        document=document,
        digest=digest(dict(document)),
    )


def _same(path: Path, document: Mapping[str, Any]) -> bool:
    try:
        return jcs(local.read_document(path)) == jcs(dict(document))
    except (YaosuError, OSError):
        return False


# --- from the market's words to the dictionary's ------------------------------------------------


def _party(party: JSON | None, role: str) -> dict[str, Any] | None:
    if not party:
        return None
    shown = {key: party.get(key) for key in ("name", "uscc", "party_id") if party.get(key)}
    return {**shown, "role": role}


def _rights(trade: JSON, agreement: JSON) -> dict[str, Any]:
    terms = trade.get("terms") or {}
    granted = agreement.get("rights") or {}
    days = terms.get("term_days")
    return {
        "rights_granted": [
            {
                "type": right,
                "mode": terms.get("rights_mode"),
                "exclusive": terms.get("exclusive"),
                "term": f"P{days}D" if days else None,
                "territory": terms.get("territory") or None,
            }
            for right in terms.get("rights") or ()
        ],
        "scenario": agreement.get("scenario") or terms.get("scenario"),
        "purpose": agreement.get("purpose") or terms.get("purpose"),
        "policy": granted.get("policy"),
    }


def _contract_part(
    trade: JSON, agreement: JSON, signatures: Sequence[JSON]
) -> dict[str, Any] | None:
    if not agreement:
        return None
    signed = trade.get("signed_at")
    modes = {str(s["sign_mode"]) for s in signatures if s.get("sign_mode")}
    void = str(trade.get("state", "")).upper() in ("TERMINATED", "CANCELLED")
    return {
        "no": agreement.get("contract_no"),
        "name": agreement.get("contract_name"),
        "template": agreement.get("template"),
        # One side's own key does not make a contract that the platform signed for the other.
        "sign_mode": max(modes) if modes else None,
        "signed_at": signed,
        "effective_at": signed,
        "end_at": agreement.get("end_at"),
        "status": "void" if void else "signed" if signed else "unsigned",
        "hash": trade.get("agreement_digest"),
    }


def _signature(signature: JSON) -> dict[str, Any]:
    names = ("party_id", "algorithm", "key_id", "public_key", "over", "digest", "value",
             "sign_mode", "at")  # fmt: skip
    return {name: signature.get(name) for name in names}


def _money(trade: JSON, agreement: JSON) -> dict[str, Any]:
    terms = trade.get("terms") or {}
    settlement = None
    if trade.get("settled_at"):
        settlement = {
            "amount_fen": trade.get("billed_fen"),
            "fee_fen": trade.get("fee_fen"),
            "shares": trade.get("shares"),
            "at": trade.get("settled_at"),
        }
    bill = None
    if trade.get("bill_no"):
        status = "settled" if trade.get("settled_at") else "due_confirmation"
        amount = trade.get("billed_fen")
        bill = [{"no": trade["bill_no"], "amount_fen": amount, "status": status}]
    return {
        "price": {
            "mode": terms.get("mode"),
            "unit": terms.get("unit") or None,
            "unit_price_fen": terms.get("unit_price_fen"),
            "qty": terms.get("quantity"),
            "amount_fen": terms.get("amount_fen"),
            "currency": terms.get("currency"),
        },
        "payment": {"timing": terms.get("payment_timing"), "paid_at": trade.get("paid_at")},
        "bill": bill,
        "settlement": settlement,
    }


def _delivery(trade: JSON, delivery: JSON) -> dict[str, Any]:
    done = bool(trade.get("delivered_at"))
    files = delivery.get("files") or ()
    return {
        "task_no": delivery.get("delivery_id"),
        "mode": "file",
        "stage": "done" if done else "running" if delivery.get("opens_at") else "waiting",
        "result": "success" if done else None,
        "bytes": sum(file.get("bytes", 0) for file in files),
        "sha256": delivery.get("manifest_digest"),
        "at": trade.get("delivered_at"),
    }


def _ending(trade: JSON, agreement: JSON, events: Sequence[JSON]) -> dict[str, Any]:
    """Return filing, acceptance, voucher, rating and disputes, each only if there is one."""
    times = {event.get("type"): event.get("at") for event in events}
    accepted, voucher = trade.get("accepted_at"), trade.get("voucher_no")
    digests = {event.get("type"): event.get("digest") for event in events}
    actors = {event.get("type"): event.get("actor_id") for event in events}
    period = (agreement.get("acceptance") or {}).get("inspection_days")
    rating = trade.get("rating")
    return {
        "filing": trade.get("filing_no")
        and {"no": trade["filing_no"], "authority": trade.get("venue"), "at": times.get("file")},
        "acceptance": accepted
        and {
            "period_days": period,
            "result": "accepted",
            "objection": trade.get("objection") or None,
            "by": actors.get("accept"),
            "at": accepted,
        },
        "voucher": voucher
        and {
            "no": voucher,
            "issued_at": trade.get("vouchered_at"),
            "digest": digests.get("voucher"),
        },
        "rating": rating and {"score": rating, "text": trade.get("rating_text") or None},
        "dispute": [
            {
                key: dispute.get(key)
                for key in ("raised_by", "ground", "opened_at", "channel", "outcome")
                if dispute.get(key)
            }
            for dispute in trade.get("disputes") or ()
        ],
    }


def _event(event: JSON, trade_id: Any) -> dict[str, Any]:
    """Return one link of the chain; its time is written as the ledger hashed it."""
    at = event.get("at")
    time = _time(at) if isinstance(at, str) else at
    return {
        "trade_id": event.get("subject_id", trade_id),
        "seq": event.get("seq"),
        "type": event.get("type"),
        "from": event.get("from_state"),
        "to": event.get("to_state"),
        "actor_id": event.get("actor_id"),
        "at": time,
        "payload_digest": event.get("payload_digest"),
        "prev_digest": event.get("prev_digest"),
        "digest": event.get("digest"),
    }


# --- plain values ------------------------------------------------------------------------------


def _plain(value: Any) -> Any:
    """Return a part as JSON has it; money stays an integer, a float is refused."""
    if isinstance(value, Enum):
        return _plain(value.value)
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise InvalidInput("a time without its zone", "时间缺少时区")
        # microseconds, as the ledger writes them: an event's digest is taken over this text
        text = value.astimezone(UTC).isoformat(timespec="microseconds")
        return text.replace("+00:00", "Z")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, Mapping):
        plain = {str(key): _plain(inner) for key, inner in value.items()}
        return {key: inner for key, inner in plain.items() if inner is not None}
    if isinstance(value, Sequence) and not isinstance(value, bytes):
        return [_plain(inner) for inner in value]
    kind = type(value).__name__
    raise InvalidInput(f"a trading record holds no {kind}", f"交易记录不能包含 {kind} 类型")


def _dated(record: dict[str, Any]) -> dict[str, Any]:
    """Add the day until which the record is kept, counted from its last event or its signing."""
    told = [event.get("at") for event in record.get("events", [])]
    told.append(record.get("contract", {}).get("signed_at"))
    times = [time for time in map(_time, told) if time is not None]
    if times:
        record["retention_until"] = _years_later(max(times).date(), RETENTION_YEARS).isoformat()
    return record


def _years_later(day: date, years: int) -> date:
    try:
        return day.replace(year=day.year + years)
    except ValueError:  # 29 February
        return day.replace(year=day.year + years, day=28)


# --- what the fields say together --------------------------------------------------------------


def _problem(pointer: str, code: str, en: str, zh: str) -> Problem:
    return Problem(pointer=pointer, code=code, en=en, zh=zh)


def _order(record: Mapping[str, Any]) -> Iterator[Problem]:
    """Signed ≤ effective < end."""
    contract = record.get("contract", {})
    at = {k: _time(contract.get(k)) for k in ("signed_at", "effective_at", "end_at")}
    signed, effective, end = at["signed_at"], at["effective_at"], at["end_at"]
    if signed and effective and signed > effective:
        en, zh = "the contract takes effect before it is signed", "合同生效时间早于签署时间"
        yield _problem("/contract/effective_at", "order", en, zh)
    if effective and end and effective >= end:
        en, zh = "the contract ends before it takes effect", "合同结束时间不晚于生效时间"
        yield _problem("/contract/end_at", "order", en, zh)


def _amounts(record: Mapping[str, Any]) -> Iterator[Problem]:
    """The shares and the fee of a settlement make up its amount."""
    settlement = record.get("settlement") or {}
    shares = settlement.get("shares")
    if not isinstance(shares, list) or not isinstance(settlement.get("amount_fen"), int):
        return
    paid = sum(s.get("amount_fen", 0) for s in shares if isinstance(s, dict))
    if paid + settlement.get("fee_fen", 0) != settlement["amount_fen"]:
        en, zh = (
            "the shares and the fee do not make up the amount",
            "分配金额与费用之和不等于结算金额",
        )
        yield _problem("/settlement", "sum", en, zh)


def _chain(record: Mapping[str, Any]) -> Iterator[Problem]:
    """Each event is this trade's, next in line, and carries its own digest."""
    before: str | None = None
    for number, event in enumerate(record.get("events", [])):
        place = f"/events/{number}"
        if event.get("trade_id") != record.get("trade_id"):
            en, zh = "the event belongs to another trade", "事件属于其他交易"
            yield _problem(f"{place}/trade_id", "chain", en, zh)
        if event.get("seq") != number:
            en = f"the event should be number {number}"
            yield _problem(f"{place}/seq", "chain", en, f"事件序号应为 {number}")
        if event.get("prev_digest") != before:
            en, zh = "the event does not follow the one before it", "事件与前一事件不相连"
            yield _problem(f"{place}/prev_digest", "chain", en, zh)
        if event.get("digest") != event_digest(event):
            en, zh = "the event is not what its digest says", "事件内容与摘要不符"
            yield _problem(f"{place}/digest", "chain", en, zh)
        before = event.get("digest")


def event_digest(event: Mapping[str, Any]) -> str:
    """Return the digest of one link of a trade's chain, under the names the ledger keeps it by."""
    return digest(
        {
            "subject_id": event.get("trade_id"),
            "seq": event.get("seq"),
            "type": event.get("type"),
            "from_state": event.get("from"),
            "to_state": event.get("to"),
            "actor_id": event.get("actor_id"),
            "at": event.get("at"),
            "payload_digest": event.get("payload_digest"),
            "prev_digest": event.get("prev_digest"),
        }
    )


def _time(value: object) -> datetime | None:
    try:
        return datetime.fromisoformat(value) if isinstance(value, str) else None
    except ValueError:
        raise InvalidInput(f"{clip(value)!r} is no time", f"“{clip(value)}”不是有效时间") from None
