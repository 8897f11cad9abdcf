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

from .proofs import Findings, Progress, VerifyReport, read_bytes, read_json, silent, strict_json
from .verify_receipt import check_form, check_receipt, says
from .witness import Demand

DATABASE = "market.db"
_OURS = {"manifest.json", "receipt.json", "datapackage.json", "quality.json"}


def verify_path(
    path: str | Path,
    *,
    log_key: str | None = None,
    demand: Demand | None = None,
    database_url: str = "",
    progress: Progress = silent,
) -> VerifyReport:
    """Verify what is at a path; NotFound or InvalidInput when nothing there can be verified.

    `log_key` is the base64 public key that the log must have, where the reader knows it; `demand`
    the witnesses whose cosignatures the reader wants to see; `database_url` where the database of
    a data directory is, if not in it.
    """
    place = Path(path)
    if place.is_dir():
        if (
            (place / DATABASE).exists()
            or (place / "checkpoint").exists()
            or (place / "log").is_dir()
        ):
            from .verify_market import verify_market

            return verify_market(
                place,
                log_key=log_key,
                demand=demand,
                database_url=database_url,
                progress=progress,
            )
        if (place / "manifest.json").exists():
            return verify_folder(place, log_key=log_key, demand=demand, progress=progress)
        raise _nothing(place)
    if not place.is_file():
        raise NotFound(
            f"there is nothing at {place.name!r}", f"{place.name!r} 不存在", path=place.name
        )
    found = Findings()
    try:
        content = read_bytes(place)
        document = strict_json(content)
    except Malformed as error:
        found.wrong("", error.code, error.en, error.zh)
        return found.report("unknown", place.name)
    if isinstance(document, dict) and document.get("type") == "yaosu-receipt":
        check_form(content, document, found)
        check_receipt(document, found, log_key=log_key, demand=demand)
        return found.report("receipt", place.name)
    if isinstance(document, dict) and {"valid", "tasks", "stats"} <= document.keys():
        return verify_report(document, target=place.name)
    if isinstance(document, dict) and {"files", "manifest_digest"} <= document.keys():
        return verify_folder(place.parent, log_key=log_key, demand=demand, progress=progress)
    raise _nothing(place)


def _nothing(place: Path) -> InvalidInput:
    return InvalidInput(
        f"{place.name!r} is not a receipt, report, delivered folder or data directory",
        f"{place.name!r} 不是收据、质量报告、交付目录或数据目录",
        path=place.name,
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
    folder: Path,
    *,
    log_key: str | None = None,
    demand: Demand | None = None,
    progress: Progress = silent,
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
            content = read_bytes(folder / "receipt.json")
            receipt = strict_json(content)
            part = Findings()
            check_form(content, receipt, part)
            check_receipt(receipt, part, log_key=log_key, demand=demand)
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
    # A period may deliver a later version than the one that was sold; an event names which.
    periods = bool((trade.get("terms") or {}).get("period"))
    content = (manifest.get("content_digest") if periods else None) or trade["content_digest"]
    pinned = digest({"trade_id": trade["trade_id"], "content_digest": content, "files": files})
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
            any(says(e.get("payload"), pinned) for e in receipt["events"]),
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
