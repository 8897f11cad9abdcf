"""Verification of a quality attestation: its seal, its content, and its numbers counted again."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from yaosu_schemas.canonical import content_digest
from yaosu_schemas.errors import YaosuError
from yaosu_schemas.measures import measure
from yaosu_schemas.paths import path_problem

from .proofs import Findings, read_json
from .verify_receipt import check_seal

FILE = "quality.json"
_UNCOUNTED = "corpus.sketch"
_KEPT = ("value", "unit", "numerator", "denominator", "n")


def check_quality(folder: Path, manifest: Any, found: Findings, log_key: str | None) -> None:
    """Check the attestation of a delivered folder, and count what rests on content again.

    Where the files lack or differ, nothing is counted: the number would be of something else.
    """
    sound = not any(p.severity == "error" for p in found.problems)
    with found.shape(f"/{FILE}"):
        attestation = read_json(folder / FILE)
        part = Findings()
        with part.shape("/seal"):
            check_seal(attestation, part, log_key)
        found.within(f"/{FILE}#", part)
        named = manifest.get("content_digest") if isinstance(manifest, Mapping) else None
        fits = found.need(
            attestation["type"] == "yaosu-quality" and attestation["content_digest"] == named,
            f"/{FILE}#/content_digest",
            "digest",
            "the attestation is of other content than was delivered",
            "质量证明所指内容与交付内容不一致",
        )
        found.checked["attestations"] += 1
        if not (fits and sound) or not (folder / "datapackage.json").is_file():
            return
        descriptor = read_json(folder / "datapackage.json")
        if content_digest(descriptor) == named:
            paths = [str(f["path"]) for f in manifest["files"]]
            _count_again(folder, paths, attestation, found)


def _count_again(
    folder: Path, paths: Iterable[str], attestation: Mapping[str, Any], found: Findings
) -> None:
    """Count every measure that rests on content, and say of each whether it is equal."""
    claimed = [m for m in attestation["measures"] if m["basis"] == "content"]
    found.checked["measures signed only"] += len(attestation["measures"]) - len(claimed)
    needed = {means.check for m in claimed if (means := measure(str(m["id"]))) is not None}
    runs = [
        c
        for c in attestation["checks"]
        if c["name"] != _UNCOUNTED and (c["name"] in needed or not c["options"])
    ]
    counted = _measured(folder, paths, runs, found)
    if counted is None:
        return
    versions, measures = counted
    stale = [c["name"] for c in runs if versions.get(c["name"]) != c["version"]]
    if stale:
        found.wrong(
            f"/{FILE}#/checks",
            "version",
            f"made by other versions of: {', '.join(sorted(stale))}; their measures may differ",
            f"由其他版本的检查得出：{'、'.join(sorted(stale))}，其指标可能不同",
            severity="warning",
        )
    seen: Counter[tuple[str, str]] = Counter()
    for n, metric in enumerate(claimed):
        key = (metric["id"], metric["unit"])
        same = measures.get(key, [])
        again = same[seen[key]] if seen[key] < len(same) else None
        seen[key] += 1
        if again is not None and all(again.get(k) == metric.get(k) for k in _KEPT):
            found.checked["measures equal"] += 1
            continue
        found.checked["measures different"] += 1
        was, now = _told(metric), "–" if again is None else _told(again)
        found.wrong(
            f"/{FILE}#/measures/{n}",
            "measure",
            f"{metric['id']}: {was} is attested, {now} was counted here",
            f"{metric['id']}：证明为 {was}，此处复算为 {now}",
            severity="warning" if stale else "error",
        )


def _measured(
    folder: Path, paths: Iterable[str], runs: list[Mapping[str, Any]], found: Findings
) -> tuple[dict[str, str], dict[tuple[str, str], list[dict[str, Any]]]] | None:
    """Return (versions of checks, measures by id and unit) of the delivered files alone."""
    from yaosu_validators.run import validate

    names = [str(c["name"]) for c in runs]
    options = {str(c["name"]): c["options"] for c in runs if c["options"]}
    with tempfile.TemporaryDirectory(prefix="yaosu-verify-") as scratch:
        try:
            _lay_out(folder, [*paths, "datapackage.json"], Path(scratch))
            report = validate(scratch, checks=names, options=options)
        except (OSError, YaosuError) as error:
            told = error if isinstance(error, YaosuError) else None
            found.wrong(
                f"/{FILE}",
                "uncounted",
                f"the measures were not counted again: {told.en if told else 'disk'}",
                f"未能复算指标：{told.zh if told else '磁盘错误'}",
                severity="warning",
            )
            return None
    measures: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for metric in report.metrics:
        measures.setdefault((metric.id, metric.unit), []).append(metric.as_json())
    return {c.name: c.version for c in report.checks}, measures


def _lay_out(folder: Path, paths: Iterable[str], scratch: Path) -> None:
    """Give the files a folder of their own: by links where the disk allows, else as copies."""
    for path in paths:
        if path_problem(path) is not None:
            continue
        target = scratch / path
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.link(folder / path, target, follow_symlinks=False)
        except OSError:
            shutil.copyfile(folder / path, target, follow_symlinks=False)


def _told(metric: Mapping[str, Any]) -> str:
    if metric.get("denominator") is None:
        return str(metric.get("value"))
    return f"{metric.get('numerator')}/{metric.get('denominator')}"
