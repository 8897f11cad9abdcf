"""Offline verification of a data directory: ledger, log and blobs, live or copied.

The database is read in one read-only snapshot that is taken
after the checkpoint was read, so that it knows every leaf the checkpoint counts.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from yaosu_schemas.canonical import digest

from . import checkpoint as notes
from . import signing
from .evidence import COVERED
from .proofs import Findings, Progress, VerifyReport, silent, strict_json
from .resting import holds
from .verify import DATABASE
from .verify_approvals import check_approvals
from .verify_database import (
    Database,
    check_records,
    check_replies,
    open_postgres,
    open_snapshot,
)
from .verify_log import check_checkpoint, check_log
from .verify_outside import check_webhooks
from .verify_reads import check_reads
from .verify_receipt import check_form, check_link, check_receipt
from .witness import Demand

_MAX_FEN = 10**15
_HEX = re.compile(r"[0-9a-f]{64}")
_EVENT = ("id", *COVERED, "payload", "digest")


def verify_market(
    folder: Path,
    *,
    log_key: str | None = None,
    demand: Demand | None = None,
    database_url: str = "",
    progress: Progress = silent,
) -> VerifyReport:
    """Verify a data directory, or the folder of a log alone."""
    found = Findings()
    alone = (folder / "checkpoint").exists()
    log = folder if alone else folder / "log"
    tree = None
    with found.shape("/log/checkpoint"):
        tree = check_checkpoint(log, log_key, demand or Demand(), found)
    at_rest = (folder / DATABASE).exists()
    if at_rest and not database_url:
        _at_rest(folder / DATABASE, found)
        with open_snapshot(folder / DATABASE) as db:
            _verify_database(db, folder, log, tree, found, progress)
    elif database_url:
        with open_postgres(database_url) as there:
            _verify_database(there, folder, log, tree, found, progress)
    elif not alone:
        found.wrong(
            f"/{DATABASE}",
            "absent",
            "there is no database here: log and blobs are checked alone",
            "此处没有数据库：仅核对日志与文件",
            severity="warning",
        )
        _blobs(folder / "blobs", {}, found, progress)
    if tree is not None and not (at_rest or database_url):
        check_log(log, tree, None, found, progress)
    return found.report("log" if alone else "market", folder.name)


# --- the database -----------------------------------------------------------------------------


def _at_rest(database: Path, found: Findings) -> None:
    """The file is as the market closed it, to the last unused byte (R7)."""
    as_closed = holds(database)
    if as_closed is not None:
        found.checked["sums"] += 1
        found.need(
            as_closed,
            "/database",
            "digest",
            "the database file was changed since the market closed it",
            "数据库文件在市场关闭后被改动",
        )


def _verify_database(
    db: Database,
    folder: Path,
    log: Path,
    tree: notes.Checkpoint | None,
    found: Findings,
    progress: Progress,
) -> None:
    steps: dict[str, Callable[[], None]] = {
        "/database": lambda: db.sound(found),
        "/events": lambda: _events(db, found, progress),
        "/postings": lambda: _postings(db, found),
        "/leaves": lambda: _places(db, found),
        "/records": lambda: check_records(db, found, progress),
        "/replies": lambda: check_replies(db, found, progress),
        "/trades": lambda: _trades(db, found),
        "/usage": lambda: _usage(db, found),
        "/reads": lambda: check_reads(db, found),
        "/receipts": lambda: _receipts(db, found),
        "/webhooks": lambda: check_webhooks(db, found),
        "/approvals": lambda: check_approvals(db, found),
        "/blobs": lambda: _blobs(folder / "blobs", _references(db, found), found, progress),
    }
    if tree is not None:
        signed = tree
        steps["/log"] = lambda: check_log(log, signed, _leaf_events(db), found, progress)
    for pointer, step in steps.items():
        with found.shape(pointer):
            try:
                step()
            except db.errors as error:
                found.wrong(
                    pointer,
                    "database",
                    f"the database cannot be read here: {error}",
                    f"数据库此处无法读取：{error}",
                )


def _row_event(row: tuple[Any, ...]) -> dict[str, Any]:
    return dict(zip(_EVENT, row, strict=True))


def _events(db: Database, found: Findings, progress: Progress) -> None:
    """Every chain is dense from 0 and linked, and every event is what its digests say (I1)."""
    total = db.execute("SELECT count(*) FROM event").fetchone()[0]
    columns = ", ".join(f'"{c}"' for c in _EVENT)
    before: dict[str, Any] | None = None
    rows = db.execute(f"SELECT {columns} FROM event ORDER BY subject_id, seq, id")
    for n, row in enumerate(rows, 1):
        event = _row_event(row)
        first = before is None or before["subject_id"] != event["subject_id"]
        with found.shape(f"/events/{event['id']}"):
            _event(event, None if first else before, found)
        before = event
        if n % 1000 == 0 or n == total:
            progress("events", n, total)


def _event(event: Mapping[str, Any], before: Mapping[str, Any] | None, found: Findings) -> None:
    place = f"/events/{event['id']}"
    found.checked["events"] += 1
    found.need(
        event["seq"] == (0 if before is None else before["seq"] + 1),
        f"{place}/seq",
        "chain",
        f"the chain of {event['subject_id']} is not dense at {event['seq']}",
        f"{event['subject_id']} 的存证链在 {event['seq']} 处不连续",
    )
    check_link(event, strict_json(event["payload"]), before, place, found)


def _postings(db: Database, found: Findings) -> None:
    """Entries balance, belong to an event of their trade, and overdraw no escrow (I2, I3)."""
    found.checked["postings"] += db.execute("SELECT count(*) FROM posting").fetchone()[0]
    unbalanced = (
        "SELECT event_digest, sum(amount_fen) FROM posting GROUP BY 1 HAVING sum(amount_fen) <> 0"
    )
    for named, total in db.execute(unbalanced):
        found.wrong(
            f"/postings/{named}",
            "unbalanced",
            f"the postings of this event add up to {total} fen, not 0",
            f"该事件的分录合计为 {total} 分，应为 0",
        )
    strays = (
        "SELECT p.id FROM posting p LEFT JOIN event e ON e.digest = p.event_digest "
        "WHERE e.id IS NULL OR e.subject_id <> p.trade_id OR e.at <> p.at"
    )
    for (number,) in db.execute(strays):
        found.wrong(
            f"/postings/{number}",
            "unbound",
            "the posting belongs to no event of its trade and time",
            "该分录不属于其交易的任何事件",
        )
    held: dict[str, int] = {}
    for number, account, amount in db.execute(
        "SELECT id, account, amount_fen FROM posting ORDER BY id"
    ):
        plain = type(amount) is int and abs(amount) <= _MAX_FEN
        found.need(
            plain,
            f"/postings/{number}",
            "amount",
            "the amount is not a whole number of fen within ±10^15",
            "金额不是 ±10^15 以内的整数（分）",
        )
        if plain and account.startswith("escrow:"):
            held[account] = held.get(account, 0) + amount
            found.need(
                held[account] >= 0,
                f"/postings/{number}",
                "overdrawn",
                f"{account} falls to {held[account]} fen",
                f"{account} 余额降至 {held[account]} 分",
            )
    kept = dict(db.execute("SELECT account, amount_fen FROM escrow").fetchall())
    for account in sorted(held.keys() | kept.keys()):
        found.need(
            held.get(account, 0) == kept.get(account),
            f"/escrow/{account}",
            "mismatch",
            f"escrow is kept as {kept.get(account)} fen, its postings make {held.get(account, 0)}",
            f"托管余额记为 {kept.get(account)} 分，分录合计为 {held.get(account, 0)} 分",
        )


def _places(db: Database, found: Findings) -> None:
    """Leaves are dense, and every event either has its leaf or waits for one (I10)."""
    found.checked["leaves"] += db.execute("SELECT count(*) FROM leaf").fetchone()[0]
    for n, (place,) in enumerate(db.execute("SELECT place FROM leaf ORDER BY place")):
        if place != n:
            found.wrong(f"/leaves/{n}", "chain", f"leaf {n} is missing", f"日志第 {n} 个叶子缺失")
            break
    query = (
        "SELECT e.id, l.place, q.event_id FROM event e LEFT JOIN leaf l ON l.event_id = e.id "
        "LEFT JOIN log_queue q ON q.event_id = e.id WHERE (l.place IS NULL) = (q.event_id IS NULL)"
    )
    for number, place, _ in db.execute(query):
        en = (
            "has a leaf and waits for one"
            if place is not None
            else "has no leaf and waits for none"
        )
        zh = "既有叶子又在排队" if place is not None else "既无叶子也未排队"
        found.wrong(f"/events/{number}", "unlogged", f"the event {en}", f"该事件{zh}")
    for (place,) in db.execute(
        "SELECT l.place FROM leaf l LEFT JOIN event e ON e.id = l.event_id WHERE e.id IS NULL"
    ):
        found.wrong(f"/leaves/{place}", "unbound", "the leaf has no event", "该叶子没有对应事件")
    if db.has("leaf_digest"):
        _heads(db, found)


def _heads(db: Database, found: Findings) -> None:
    """Every leaf is found by the head of its event's digest, and nothing else is."""
    for (place,) in db.execute(
        "SELECT d.place FROM leaf_digest d LEFT JOIN leaf l ON l.place = d.place "
        "LEFT JOIN event e ON e.id = l.event_id "
        "WHERE e.id IS NULL OR d.head <> substr(e.digest, 8, 12)"
    ):
        found.wrong(
            f"/leaves/{place}",
            "mismatch",
            "the leaf is looked up by another digest than that of its event",
            "该叶子的查找摘要与其事件不一致",
        )
    for (place,) in db.execute(
        "SELECT l.place FROM leaf l JOIN event e ON e.id = l.event_id WHERE NOT EXISTS (SELECT 1 "
        "FROM leaf_digest d WHERE d.head = substr(e.digest, 8, 12) AND d.place = l.place)"
    ):
        found.wrong(
            f"/leaves/{place}",
            "mismatch",
            "the leaf is not found by the digest of its event",
            "按事件摘要查不到该叶子",
        )


def _trades(db: Database, found: Findings) -> None:
    """A trade stands where its events led it; its documents and signatures hold (I4, I7)."""
    _states(db, "trade", found)
    _states(db, "listing", found)
    for trade_id, body in db.execute("SELECT id, body FROM trade ORDER BY id"):
        place = f"/trades/{trade_id}"
        with found.shape(place):
            trade = strict_json(body)
            if trade.get("agreement") is not None:
                found.need(
                    digest(trade["agreement"]) == trade["agreement_digest"],
                    f"{place}/agreement",
                    "digest",
                    "the agreement is not what its digest says",
                    "合同与其摘要不符",
                )
            _money(db, trade, place, found)
            for n, signature in enumerate(trade.get("signatures") or ()):
                found.checked["signatures"] += 1
                found.need(
                    signing.verify(signature["public_key"], signature["digest"], signature["value"])
                    and (
                        signature["over"] != "agreement"
                        or signature["digest"] == trade["agreement_digest"]
                    ),
                    f"{place}/signatures/{n}",
                    "signature",
                    "the signature does not hold",
                    "签名无效",
                )


def _states(db: Database, table: str, found: Findings) -> None:
    query = (
        f"SELECT t.id, {db.member('t.body', 'state')}, (SELECT e.to_state FROM event e "
        f"WHERE e.subject_id = t.id ORDER BY e.seq DESC LIMIT 1) FROM {table} t ORDER BY t.id"
    )
    for number, state, last in db.execute(query):
        found.checked[f"{table}s"] += 1
        found.need(
            state == last,
            f"/{table}s/{number}/state",
            "state",
            f"the {table} is {state!r}, its events end at {last!r}",
            f"{'交易' if table == 'trade' else '挂牌'}状态为 {state!r}，而存证链止于 {last!r}",
        )


def _money(db: Database, trade: Mapping[str, Any], place: str, found: Findings) -> None:
    """What was posted for the trade is what it says was paid, settled and given back (I3, I6)."""
    paid, back, fee = trade["paid_fen"], trade["refund_fen"], trade["fee_fen"]
    shared = sum(fen for _, fen in trade["shares"])
    lines = [(f"buyer:{trade['user_id']}", back - paid), (f"fee:{trade['venue']}", fee)]
    lines += [(f"provider:{party}", fen) for party, fen in trade["shares"]]
    if (trade.get("terms") or {}).get("period"):
        lines += _held_by_periods(db, trade, place, found)
    else:
        lines.append((f"escrow:{trade['id']}", paid - back - fee - shared))
    for correction in trade.get("corrections") or ():
        lines += [(account, fen) for account, fen in correction["lines"]]
    expected: dict[str, int] = {}
    for account, fen in lines:
        expected[account] = expected.get(account, 0) + fen
    query = "SELECT account, sum(amount_fen) FROM posting WHERE trade_id = ? GROUP BY account"
    posted = dict(db.execute(query, (trade["id"],)).fetchall())
    for account in sorted(expected.keys() | posted.keys()):
        found.need(
            expected.get(account, 0) == posted.get(account, 0),
            f"{place}/postings/{account}",
            "mismatch",
            f"{posted.get(account, 0)} fen are posted to {account}; "
            f"the trade says {expected.get(account, 0)}",
            f"{account} 的分录为 {posted.get(account, 0)} 分，"
            f"交易记载为 {expected.get(account, 0)} 分",
        )


def _held_by_periods(
    db: Database, trade: Mapping[str, Any], place: str, found: Findings
) -> list[tuple[str, int]]:
    """Return what the escrow of each period should hold; the trade says the sums of them all."""
    sums = dict.fromkeys(("paid_fen", "billed_fen", "fee_fen", "refund_fen"), 0)
    lines = []
    query = "SELECT id, body FROM period WHERE trade_id = ? ORDER BY id"
    for n, (number, body) in enumerate(db.execute(query, (trade["id"],)), 1):
        period = strict_json(body)
        found.checked["periods"] += 1
        for name in sums:
            sums[name] += period[name]
        shared = sum(fen for _, fen in period["shares"])
        held = period["paid_fen"] - period["refund_fen"] - period["fee_fen"] - shared
        lines.append((f"escrow:{number}", held))
        found.need(
            period["number"] == n and (period["settled_at"] is None or held == 0),
            f"{place}/periods/{number}",
            "period",
            "the period is out of order, or has ended and still holds money",
            "周期序号不连续，或已结束但仍有托管余额",
        )
    for name, total in sums.items():
        found.need(
            trade[name] == total,
            f"{place}/{name}",
            "mismatch",
            f"the trade says {trade[name]}, its periods make {total}",
            f"交易记载 {trade[name]}，各周期合计 {total}",
        )
    return lines


def _usage(db: Database, found: Findings) -> None:
    """Every metered call was counted once, and the deliveries say the sums of them."""
    if "metered_call" not in db.tables():
        return  # a directory of an earlier version
    counted = {
        row[0]: (row[1], row[2])
        for row in db.execute(
            "SELECT delivery_id, count(*), sum(units) FROM metered_call GROUP BY 1"
        )
    }
    for number, body in db.execute("SELECT id, body FROM delivery"):
        delivery = strict_json(body)
        calls, used = counted.pop(number, (0, 0))
        found.checked["metered calls"] += calls
        found.need(
            (delivery.get("calls", 0), delivery.get("used", 0)) == (calls, used),
            f"/deliveries/{number}/used",
            "mismatch",
            f"{calls} calls make {used}; the delivery says {delivery.get('used', 0)}",
            f"{calls} 次调用合计 {used}，交付记载 {delivery.get('used', 0)}",
        )
    for number in counted:
        found.wrong(
            f"/deliveries/{number}", "unbound", "calls of no delivery", "调用不属于任何交付"
        )


def _receipts(db: Database, found: Findings) -> None:
    for key, body in db.execute("SELECT key, body FROM view WHERE key LIKE 'receipt:%'"):
        place = f"/receipts/{key.partition(':')[2]}"
        with found.shape(place):
            part = Findings()
            document = strict_json(bytes(body))
            check_form(bytes(body), document, part)
            check_receipt(document, part)
            found.checked["receipts"] += 1
            found.within(place, part)


def _leaf_events(db: Database) -> Iterator[dict[str, Any]]:
    columns = ", ".join(f'e."{c}"' for c in _EVENT)
    query = f"SELECT {columns} FROM leaf l JOIN event e ON e.id = l.event_id ORDER BY l.place"
    return map(_row_event, db.execute(query))


# --- blobs ------------------------------------------------------------------------------------


def _references(db: Database, found: Findings) -> dict[str, tuple[int | None, str]]:
    """Return SHA-256 → (bytes, where) of every blob that the database refers to."""
    wanted: dict[str, tuple[int | None, str]] = {}
    for number, body in db.execute("SELECT id, body FROM holding"):
        with found.shape(f"/holdings/{number}"):
            holding = strict_json(body)
            wanted[holding["sha256"]] = (holding["bytes"], f"/holdings/{number}")
    for number, body in db.execute("SELECT id, body FROM delivery"):
        with found.shape(f"/deliveries/{number}"):
            for file in strict_json(body)["files"]:
                wanted.setdefault(file["sha256"], (file["bytes"], f"/deliveries/{number}"))
    return wanted


def _blobs(
    folder: Path, wanted: Mapping[str, tuple[int | None, str]], found: Findings, progress: Progress
) -> None:
    """Every blob referred to is there, and every blob is what its name says (B2, B7)."""
    there: dict[str, Path] = {}
    for path in sorted((folder / "sha256").glob("*/*/*")):
        if _HEX.fullmatch(path.name) and path.parent.name == path.name[2:4]:
            there[path.name] = path
        else:
            found.wrong(
                f"/blobs/{path.name}",
                "unlisted",
                "this file is not named by a digest",
                "该文件未以摘要命名",
                severity="warning",
            )
    for sha256, (_, where) in wanted.items():
        found.need(
            sha256 in there,
            f"/blobs/{sha256}",
            "missing",
            f"the bytes that {where} refers to are missing",
            f"{where} 引用的文件内容缺失",
        )
    for n, (sha256, path) in enumerate(there.items(), 1):
        _blob(sha256, path, wanted.get(sha256, (None, ""))[0], found)
        progress("blobs", n, len(there))
    aside = list((folder / "quarantine").glob("*"))
    found.need(
        not aside,
        "/blobs/quarantine",
        "quarantined",
        f"{len(aside)} blobs were set aside because they differ from their names",
        f"{len(aside)} 个文件因与摘要不符已被隔离",
    )


def _blob(sha256: str, path: Path, size: int | None, found: Findings) -> None:
    found.checked["blobs"] += 1
    pointer = f"/blobs/{sha256}"
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError as error:
        if path.is_symlink() or path.exists():
            found.wrong(pointer, "missing", f"it cannot be read: {error}", f"无法读取：{error}")
        return  # removed by the sweep since it was listed
    with os.fdopen(fd, "rb") as file:
        real = os.fstat(fd).st_size
        same = hashlib.file_digest(file, "sha256").hexdigest() == sha256
    found.need(same, pointer, "digest", "the bytes are not what their name says", "内容与摘要不符")
    found.need(
        size in (None, real),
        f"{pointer}/bytes",
        "bytes",
        f"it has {real} bytes, not {size}",
        f"大小为 {real} 字节，应为 {size}",
    )
