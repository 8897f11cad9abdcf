"""Offline verification: a receipt, a delivered folder, a report, or a whole data directory.

Needs no server and no trust in the market beyond its public key. Everything that is wrong is
listed; nothing is mended. Whose key it is that signed the log is for the reader to compare: the
report names it.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from yaosu_schemas.canonical import content_digest, digest
from yaosu_schemas.errors import InvalidInput, Malformed, NotFound
from yaosu_schemas.paths import path_problem

from . import checkpoint as notes
from . import merkle, signing
from .evidence import event_digest, leaf_entry, stamp
from .proofs import Findings, Progress, VerifyReport, read_json, silent

DATABASE = "market.db"
_OURS = {"manifest.json", "receipt.json", "datapackage.json", "quality.json"}


def verify_path(
    path: str | Path, *, log_key: str | None = None, progress: Progress = silent
) -> VerifyReport:
    """Verify what is at a path; NotFound or InvalidInput when nothing there can be verified.

    `log_key` is the base64 public key that the log must have, where the reader knows it.
    """
    place = Path(path)
    if place.is_dir():
        if (
            (place / DATABASE).exists()
            or (place / "checkpoint").exists()
            or (place / "log").is_dir()
        ):
            from .verify_market import verify_market

            return verify_market(place, log_key=log_key, progress=progress)
        if (place / "manifest.json").exists():
            return verify_folder(place, log_key=log_key, progress=progress)
        raise _nothing(place)
    if not place.is_file():
        raise NotFound(
            f"there is nothing at {place.name!r}", f"{place.name!r} 不存在", path=place.name
        )
    found = Findings()
    try:
        document = read_json(place)
    except Malformed as error:
        found.wrong("", error.code, error.en, error.zh)
        return found.report("unknown", place.name)
    if isinstance(document, dict) and document.get("type") == "yaosu-receipt":
        return verify_receipt(document, target=place.name, log_key=log_key)
    if isinstance(document, dict) and {"valid", "tasks", "stats"} <= document.keys():
        return verify_report(document, target=place.name)
    if isinstance(document, dict) and {"files", "manifest_digest"} <= document.keys():
        return verify_folder(place.parent, log_key=log_key, progress=progress)
    raise _nothing(place)


def _nothing(place: Path) -> InvalidInput:
    return InvalidInput(
        f"{place.name!r} is not a receipt, report, delivered folder or data directory",
        f"{place.name!r} 不是收据、质量报告、交付目录或数据目录",
        path=place.name,
    )


# --- receipts ---------------------------------------------------------------------------------


def verify_receipt(
    receipt: Mapping[str, Any], *, target: str = "receipt", log_key: str | None = None
) -> VerifyReport:
    """Verify a receipt: seal, chain, agreement, signatures, and each event's place in the log."""
    found = Findings()
    check_receipt(receipt, found, log_key=log_key)
    return found.report("receipt", target)


def check_receipt(
    receipt: Mapping[str, Any], found: Findings, *, log_key: str | None = None
) -> None:
    with found.shape("/version"):
        found.need(
            receipt["version"] == 1,
            "/version",
            "version",
            f"this is version {receipt['version']!r} of a receipt; only 1 is known",
            f"收据版本 {receipt['version']!r} 未知，仅支持版本 1",
        )
    with found.shape("/log"):
        check_seal(receipt, found, log_key)
    with found.shape("/events"):
        check_chain(receipt["events"], receipt["trade"]["trade_id"], found)
    with found.shape("/agreement"):
        _check_agreement(receipt, found)
    with found.shape("/signatures"):
        _check_signatures(receipt, found)
    with found.shape("/trade"):
        _check_trade(receipt, found)
    with found.shape("/proofs"):
        _check_proofs(receipt, found)
    with found.shape("/trade"):
        found.facts["trade_id"] = receipt["trade"]["trade_id"]
        found.facts["state"] = receipt["trade"]["state"]


def check_seal(receipt: Mapping[str, Any], found: Findings, log_key: str | None) -> None:
    """The market's own signature covers every byte of the receipt but itself."""
    log = receipt["log"]
    key = log["public_key"]
    raw = signing.read_public_key(key)
    found.facts |= {"log_origin": log["origin"], "log_key": key}
    found.facts["log_verifier_key"] = notes.verifier_key(log["origin"], raw)
    found.need(
        log.get("verifier_key") in (None, notes.verifier_key(log["origin"], raw)),
        "/log/verifier_key",
        "key",
        "the verifier key is not made of this origin and public key",
        "验证密钥与日志名称、公钥不一致",
    )
    found.need(
        log_key is None or log_key == key,
        "/log/public_key",
        "key",
        "the receipt is of a log with another key than the one you know",
        "收据所属日志的密钥与您已知的密钥不同",
    )
    seal = receipt["seal"]
    body = {name: value for name, value in receipt.items() if name != "seal"}
    fits = seal["digest"] == digest(body)
    found.need(
        fits,
        "/seal/digest",
        "digest",
        "something in the receipt was changed after it was issued",
        "收据在签发后被改动",
    )
    found.need(
        seal.keys() == {"public_key", "digest", "value"}
        and seal["public_key"] == key
        and signing.verify(key, seal["digest"], seal["value"]),
        "/seal/value",
        "signature",
        "the market's seal on the receipt does not hold",
        "市场对收据的签章无效",
    )
    found.checked["seals"] += 1


def check_chain(events: Any, subject_id: str, found: Findings, base: str = "/events") -> None:
    """Events are dense from 0, linked, of one subject, in time, and what their digests say."""
    found.need(
        isinstance(events, list) and bool(events),
        base,
        "empty",
        "there are no events",
        "没有存证事件",
    )
    before: Mapping[str, Any] | None = None
    for seq, event in enumerate(events):
        place = f"{base}/{seq}"
        with found.shape(place):
            _check_event(event, seq, subject_id, before, place, found)
            before = event


def _check_event(
    event: Mapping[str, Any],
    seq: int,
    subject_id: str,
    before: Mapping[str, Any] | None,
    place: str,
    found: Findings,
) -> None:
    found.checked["events"] += 1
    found.need(
        event["subject_id"] == subject_id,
        f"{place}/subject_id",
        "chain",
        "the event belongs to another subject",
        "事件属于其他主体",
    )
    found.need(
        event["seq"] == seq and not isinstance(event["seq"], bool),
        f"{place}/seq",
        "chain",
        f"the event should be number {seq}: one is missing, added or moved",
        f"事件序号应为 {seq}：存在缺失、插入或移位",
    )
    expected = before["digest"] if before is not None else None
    found.need(
        event["prev_digest"] == expected,
        f"{place}/prev_digest",
        "chain",
        "the event does not follow the one before it",
        "事件与前一事件不相连",
    )
    found.need(
        event["payload_digest"] == digest(event["payload"]),
        f"{place}/payload",
        "digest",
        "the content of the event is not what its digest says",
        "事件内容与其摘要不符",
    )
    found.need(
        event["digest"] == event_digest(event),
        f"{place}/digest",
        "digest",
        "the event is not what its digest says",
        "事件与其摘要不符",
    )
    if before is not None:
        found.need(
            str(stamp(event["at"])) >= str(stamp(before["at"])),
            f"{place}/at",
            "time",
            "the event is earlier than the one before it",
            "事件时间早于前一事件",
        )
        found.need(
            event["from_state"] in (None, before["to_state"]),
            f"{place}/from_state",
            "state",
            f"the step begins at {event['from_state']!r}, the one before ended at "
            f"{before['to_state']!r}",
            f"步骤起始状态 {event['from_state']!r} 与前一步结束状态 {before['to_state']!r} 不符",
        )


def _says(value: Any, wanted: object) -> bool:
    """Say whether a value occurs anywhere in a JSON value."""
    if isinstance(value, dict):
        return any(_says(v, wanted) for v in value.values())
    if isinstance(value, list):
        return any(_says(v, wanted) for v in value)
    return type(value) is type(wanted) and value == wanted


def _check_agreement(receipt: Mapping[str, Any], found: Findings) -> None:
    agreement, named = receipt["agreement"], receipt["agreement_digest"]
    found.checked["agreements"] += 1
    found.need(
        digest(agreement) == named,
        "/agreement",
        "digest",
        "the agreement is not what its digest says",
        "合同与其摘要不符",
    )
    found.need(
        any(_says(event.get("payload"), named) for event in receipt["events"]),
        "/agreement_digest",
        "unbound",
        "no event of the trade names this agreement",
        "没有任何存证事件提及该合同",
    )


def _check_signatures(receipt: Mapping[str, Any], found: Findings) -> None:
    """Both sides have signed what they had to, and each signature holds under its key."""
    agreement, trade = receipt["agreement"], receipt["trade"]
    parties = {
        "provider": trade["provider"]["party_id"],
        "user": trade["user"]["party_id"],
    }
    signed: set[str] = set()
    for n, signature in enumerate(receipt["signatures"]):
        place = f"/signatures/{n}"
        with found.shape(place):
            found.checked["signatures"] += 1
            over, named, party = signature["over"], signature["digest"], signature["party_id"]
            document = {
                "agreement": receipt["agreement_digest"],
                "standing_offer": digest(agreement.get("standing_offer")),
            }.get(over)
            fits = found.need(
                document == named,
                f"{place}/digest",
                "digest",
                f"the signature is over another document than the {over!r} of this trade",
                f"签名对象不是本交易的 {over!r}",
            )
            holds = found.need(
                signing.verify(signature["public_key"], named, signature["value"]),
                f"{place}/value",
                "signature",
                "the signature does not hold under its key",
                "签名在其公钥下无效",
            )
            allowed = over == "agreement" or party == parties["provider"]
            found.need(
                party in parties.values() and allowed,
                f"{place}/party_id",
                "party",
                "the signature is of a party that had not to sign this",
                "签名方不应签署该文件",
            )
            found.need(
                over != "agreement"
                or any(_says(e.get("payload"), signature["key_id"]) for e in receipt["events"]),
                f"{place}/key_id",
                "unbound",
                "no event of the trade names the key of this signature",
                "没有任何存证事件提及该签名的密钥",
            )
            if fits and holds:
                signed.add(party)
    for role, party in parties.items():
        found.need(
            party in signed,
            "/signatures",
            "unsigned",
            f"there is no valid signature of the {role}",
            f"缺少{'提供方' if role == 'provider' else '需方'}的有效签名",
        )


_SUBJECT = ("listing_id", "listing_version", "content_digest", "terms_digest", "report_digest")


def _check_trade(receipt: Mapping[str, Any], found: Findings) -> None:
    """What the receipt tells of the trade is what was agreed and recorded."""
    trade, agreement = receipt["trade"], receipt["agreement"]
    told = {f"/trade/{name}": (trade[name], agreement["subject"][name]) for name in _SUBJECT}
    told |= {
        "/trade/trade_id": (trade["trade_id"], agreement["trade_id"]),
        "/trade/venue": (trade["venue"], agreement["venue"]),
        "/trade/agreement_digest": (trade["agreement_digest"], receipt["agreement_digest"]),
        "/trade/offer_digest": (trade["offer_digest"], agreement["offer_digest"]),
    }
    for side in ("provider", "user"):
        for name in ("party_id", "name", "uscc"):
            told[f"/trade/{side}/{name}"] = (trade[side].get(name), agreement[side].get(name))
    for name in ("mode", "unit", "unit_price_fen", "quantity", "amount_fen", "currency"):
        told[f"/trade/terms/{name}"] = (trade["terms"][name], agreement["price"][name])
    for pointer, (here, there) in told.items():
        found.need(
            here == there,
            pointer,
            "mismatch",
            "the trade says something else than its agreement",
            "交易记录与合同不一致",
        )
    for name in ("voucher_no", "filing_no"):
        value = trade.get(name)
        found.need(
            value is None or any(_says(e.get("payload"), value) for e in receipt["events"]),
            f"/trade/{name}",
            "unbound",
            "no event of the trade names this number",
            "没有任何存证事件提及该编号",
        )


def _check_proofs(receipt: Mapping[str, Any], found: Findings) -> None:
    """Each event is a leaf of the tree whose root the log has signed."""
    log = receipt["log"]
    with found.shape("/checkpoint"):
        tree = notes.verified(receipt["checkpoint"].encode(), log["origin"], log["public_key"])
        found.facts["log_size"] = tree.size
        found.checked["checkpoints"] += 1
        proofs = {proof["event_digest"]: proof for proof in receipt["proofs"]}
        for n, event in enumerate(receipt["events"]):
            place = f"/proofs/{n}"
            with found.shape(place):
                proof = proofs.get(event["digest"])
                if proof is None:
                    found.wrong(
                        place, "missing", f"event {n} has no proof", f"事件 {n} 没有日志证明"
                    )
                    continue
                check_inclusion(event, proof, tree, place, found)


def check_inclusion(
    event: Mapping[str, Any],
    proof: Mapping[str, Any],
    tree: notes.Checkpoint,
    place: str,
    found: Findings,
) -> None:
    """Note a problem unless the proof leads from the event's leaf to the root."""
    found.checked["proofs"] += 1
    hashes = [bytes.fromhex(h) for h in proof["hashes"]]
    index, size = proof["index"], proof["size"]
    plain = type(index) is int and type(size) is int
    found.need(
        plain
        and size == tree.size
        and merkle.verify_inclusion(
            merkle.leaf_hash(leaf_entry(event)), index, size, hashes, tree.root
        ),
        place,
        "proof",
        "the proof does not lead from the event to the signed root of the log",
        "证明无法由该事件推出日志已签名的根",
    )


# --- reports ----------------------------------------------------------------------------------


def verify_report(report: Mapping[str, Any], *, target: str = "report") -> VerifyReport:
    """Verify that a report is consistent with itself, and name the digest it is known by.

    A report carries no signature: its digest stands in the trade's agreement and receipt.
    """
    from yaosu_schemas.report import Report

    found = Findings()
    with found.shape(""):
        read = Report.from_json(report)
        found.checked["reports"] += 1
        found.facts |= {
            "report_digest": digest(report),
            "timeless_digest": read.digest(),
            "judged": read.target,
            "valid": read.valid,
        }
        again = read.as_json()
        for name in ("valid", "stats"):
            found.need(
                report[name] == again[name],
                f"/{name}",
                "mismatch",
                f"the report's {name!r} is not what its findings amount to",
                f"报告的 {name!r} 与其发现不一致",
            )
        for n, task in enumerate(report["tasks"]):
            found.need(
                task["valid"] == read.tasks[n].valid,
                f"/tasks/{n}/valid",
                "mismatch",
                "the verdict on the resource is not what its findings amount to",
                "资源结论与其发现不一致",
            )
    return found.report("report", target)


# --- delivered folders ------------------------------------------------------------------------


def verify_folder(
    folder: Path, *, log_key: str | None = None, progress: Progress = silent
) -> VerifyReport:
    """Verify a delivered folder: files against the manifest, the manifest against the trade."""
    found = Findings()
    manifest: Any = {}
    with found.shape("/manifest.json"):
        manifest = read_json(folder / "manifest.json")
        _check_files(folder, manifest["files"], found, progress)
    receipt: Any = None
    if (folder / "receipt.json").is_file():
        with found.shape("/receipt.json"):
            receipt = read_json(folder / "receipt.json")
            part = Findings()
            check_receipt(receipt, part, log_key=log_key)
            found.within("/receipt.json#", part)
            found.facts |= part.facts
    else:
        found.wrong(
            "/receipt.json",
            "absent",
            "there is no receipt here: the files are checked, not which trade they belong to",
            "此处没有收据：仅核对了文件，未核对其所属交易",
            severity="warning",
        )
    with found.shape("/manifest.json"):
        _check_manifest(manifest, receipt, found)
    _check_descriptor(folder, manifest, found)
    if (folder / "quality.json").is_file():
        from .verify_quality import check_quality  # loads the readers of data

        check_quality(folder, manifest, found, log_key)
    return found.report("delivery", folder.name)


def _check_files(folder: Path, files: Any, found: Findings, progress: Progress) -> None:
    listed: set[str] = set()
    total = sum(f["bytes"] for f in files)
    done = 0
    for n, entry in enumerate(files):
        pointer = f"/manifest.json#/files/{n}"
        with found.shape(pointer):
            path = entry["path"]
            listed.add(path)
            unsafe = path_problem(path)
            if unsafe is not None:
                found.wrong(pointer, "unsafe_path", unsafe.en, unsafe.zh)
                continue
            _check_file(folder, path, entry, found)
            done += entry["bytes"]
            progress("files", done, total)
    for base, folders, names in os.walk(folder):
        folders[:] = [f for f in folders if not f.startswith(".")]
        for name in names:
            path = (Path(base) / name).relative_to(folder).as_posix()
            if path not in listed and path not in _OURS and not name.startswith("."):
                found.wrong(
                    f"/{path}",
                    "unlisted",
                    f"{path} is not part of the delivery",
                    f"{path} 不属于该交付",
                    severity="warning",
                )


def _check_file(folder: Path, path: str, entry: Mapping[str, Any], found: Findings) -> None:
    place = f"/{path}"
    found.checked["files"] += 1
    current = folder
    for part in path.split("/"):
        current = current / part
        if current.is_symlink():
            found.wrong(place, "unsafe_path", "it is a symbolic link", "是符号链接")
            return
    try:
        fd = os.open(current, os.O_RDONLY | os.O_NOFOLLOW)
    except OSError:
        found.wrong(place, "missing", f"{path} is missing or unreadable", f"{path} 缺失或不可读")
        return
    with os.fdopen(fd, "rb") as file:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            found.wrong(place, "missing", f"{path} is not a file", f"{path} 不是文件")
            return
        size = os.fstat(fd).st_size
        sha256 = hashlib.file_digest(file, "sha256").hexdigest()
    found.need(
        size == entry["bytes"],
        place,
        "bytes",
        f"{path} has {size} bytes, not {entry['bytes']}",
        f"{path} 大小为 {size} 字节，应为 {entry['bytes']}",
    )
    found.need(
        sha256 == entry["sha256"],
        place,
        "digest",
        f"{path} is not what its digest says",
        f"{path} 与其摘要不符",
    )


def _check_manifest(manifest: Mapping[str, Any], receipt: Any, found: Findings) -> None:
    trade = receipt["trade"] if isinstance(receipt, dict) else manifest
    files = [{name: f[name] for name in ("path", "bytes", "sha256")} for f in manifest["files"]]
    pinned = digest(
        {"trade_id": trade["trade_id"], "content_digest": trade["content_digest"], "files": files}
    )
    found.checked["manifests"] += 1
    found.need(
        pinned == manifest["manifest_digest"],
        "/manifest.json#/manifest_digest",
        "digest",
        "the manifest is not what its digest says",
        "交付清单与其摘要不符",
    )
    if isinstance(receipt, dict):
        found.need(
            any(_says(e.get("payload"), pinned) for e in receipt["events"]),
            "/manifest.json#/manifest_digest",
            "unbound",
            "no event of the trade names this manifest: the files are of another delivery",
            "没有任何存证事件提及该清单：文件属于其他交付",
        )


def _check_descriptor(folder: Path, manifest: Any, found: Findings) -> None:
    if not (folder / "datapackage.json").is_file():
        return
    with found.shape("/datapackage.json"):
        found.checked["descriptors"] += 1
        named = manifest.get("content_digest")
        found.need(
            named is None or content_digest(read_json(folder / "datapackage.json")) == named,
            "/datapackage.json",
            "digest",
            "the descriptor is not that of the version that was sold",
            "描述文件不是所售版本的描述",
        )
