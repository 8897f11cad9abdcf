"""The audit of reads holds together: of a delivery, by its buyer, within what was delivered."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from . import merkle
from .evidence import READS, READS_ANCHORED, read_leaf
from .proofs import Findings, strict_json
from .verify_database import Database

_SUMS = ("count", "bytes")


def check_reads(db: Database, found: Findings) -> None:
    """Check every read and that the sums by day are those of the reads."""
    if "data_read" not in db.tables():
        return  # a directory of an earlier version
    deliveries = _bodies(db, "delivery")
    keys = _bodies(db, "access_key")
    sums: dict[tuple[str, str, str, str], dict[str, int]] = {}
    reads: dict[str, Mapping[str, Any]] = {}
    leaves: dict[str, list[bytes]] = {}
    for number, body in db.execute("SELECT id, body FROM data_read ORDER BY id"):
        place = f"/reads/{number}"
        with found.shape(place):
            read = strict_json(body)
            reads[number] = read
            hour = read.get("hour") or ""
            leaves.setdefault(hour, []).append(merkle.leaf_hash(read_leaf(read)))
            late = not hour or hour >= read["at"][:13]
            found.need(late, f"{place}/hour", "hour", "it is earlier than the read", "早于读取时间")
            found.checked["reads"] += 1
            _read(read, deliveries.get(read["delivery_id"]), keys, reads, place, found)
            name = (read["delivery_id"], read["at"][:10], read["way"], read["name"])
            total = sums.setdefault(name, dict.fromkeys(_SUMS, 0))
            for what in _SUMS:
                total[what] += read[what]
    for number, body in db.execute("SELECT id, body FROM data_use ORDER BY id"):
        with found.shape(f"/uses/{number}"):
            use = strict_json(body)
            name = (use["delivery_id"], use["day"], use["way"], use["name"])
            total = sums.pop(name, dict.fromkeys(_SUMS, 0))
            found.need(
                all(use[what] == total[what] for what in _SUMS),
                f"/uses/{number}",
                "mismatch",
                f"{use['count']} reads of {use['bytes']} bytes are summed up; on record are "
                f"{total['count']} of {total['bytes']}",
                f"汇总为 {use['count']} 次、{use['bytes']} 字节，"
                f"明细为 {total['count']} 次、{total['bytes']} 字节",
            )
    _anchors(db, leaves, found)
    for delivery, day, *_ in sums:
        found.wrong(
            f"/uses/{delivery}",
            "missing",
            f"the reads of {day} are in no sum",
            f"{day} 的读取未计入汇总",
        )


def _anchors(db: Database, leaves: Mapping[str, Sequence[bytes]], found: Findings) -> None:
    """Every hour up to the last that is anchored holds the reads that its anchor says."""
    anchored: set[str] = set()
    rows = db.execute(
        f"SELECT id, payload FROM event WHERE subject_id = '{READS}' "
        f"AND type = '{READS_ANCHORED}' ORDER BY id"
    )
    for number, payload in rows:
        with found.shape(f"/events/{number}"):
            said = strict_json(payload)
            hour = str(said["hour"])
            anchored.add(hour)
            found.checked["hours of reads"] += 1
            held = leaves.get(hour, ())
            root = merkle.root(merkle.node_in_memory(held), len(held)).hex()
            found.need(
                (said["count"], said["root"]) == (len(held), f"sha256:{root}"),
                f"/reads/{hour}",
                "anchor",
                f"the reads of {hour or 'the time before anchors'} are not those that were "
                f"anchored in the log: {said['count']} then, {len(held)} now",
                f"{hour or '锚定之前'} 的读取记录与日志锚定不符：当时 {said['count']} 条，"
                f"现有 {len(held)} 条",
            )
    for hour in sorted(set(leaves) - anchored):
        if anchored and hour < max(anchored):
            found.wrong(
                f"/reads/{hour}",
                "anchor",
                f"{len(leaves[hour])} reads stand in an hour that was anchored without any",
                f"{len(leaves[hour])} 条读取记录出现在未锚定任何读取的时段",
            )


def _bodies(db: Database, table: str) -> dict[str, Mapping[str, Any]]:
    rows = db.execute(f"SELECT id, body FROM {table}")
    return {number: strict_json(body) for number, body in rows}


def _read(
    read: Mapping[str, Any],
    delivery: Mapping[str, Any] | None,
    keys: Mapping[str, Mapping[str, Any]],
    reads: Mapping[str, Mapping[str, Any]],
    place: str,
    found: Findings,
) -> None:
    if not found.need(
        delivery is not None and delivery["trade_id"] == read["trade_id"],
        place,
        "unbound",
        "the read is of no delivery of its trade",
        "该读取不属于其交易的任何交付",
    ):
        return
    assert delivery is not None
    key = keys.get(read["key_id"])
    found.need(
        key is not None and key["party_id"] == delivery["user_id"],
        f"{place}/key_id",
        "stranger",
        "the key that read is none of the buyer's",
        "读取所用密钥不属于买方",
    )
    found.need(
        delivery["opens_at"] is not None and delivery["opens_at"] <= read["at"],
        f"{place}/at",
        "early",
        "it was read before the delivery was open",
        "读取发生在交付开放之前",
    )
    if read["corrects"] is not None:
        before = reads.get(read["corrects"])
        found.need(
            before is not None
            and before["delivery_id"] == read["delivery_id"]
            and read["count"] == 0
            and -before["bytes"] <= read["bytes"] < 0,
            f"{place}/corrects",
            "correction",
            "it takes back what was not read",
            "更正超出原读取记录",
        )
        return
    sizes = {file["sha256"]: file["bytes"] for file in delivery["files"]}
    whole = sizes.get(read["sha256"])
    fits = read["way"] != "file" or (whole is not None and read["end"] <= whole)
    found.need(
        fits and read["count"] == 1 and 0 <= read["start"] <= read["end"]
        and read["bytes"] == read["end"] - read["start"],
        f"{place}/bytes",
        "range",
        "the bytes are not those of the range, or of no file that was delivered",
        "字节数与区间不符，或不在所交付文件之内",
    )  # fmt: skip
