"""Do the pictures, sounds and videos that records name exist, and is each one named?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from yaosu_schemas.errors import Text
from yaosu_schemas.paths import is_remote, path_problem
from yaosu_schemas.report import Metric
from yaosu_validators.check import Conclusion, Finding, check
from yaosu_validators.filecheck import PackageFiles
from yaosu_validators.media import KINDS, by_name

from .view import About, Places, Role, View

_MEDIA = ("image", "audio", "video")
_SUFFIXES = sorted(
    {name for name, kind in KINDS.items() if kind.family in _MEDIA} | {"jpeg", "tiff", "mpeg"}
)
_PATTERN = r"^[^\s\x00-\x1f][^\x00-\x1f]{0,500}\.(?:" + "|".join(_SUFFIXES) + ")$"
_MAX_BYTES = 512
_MAX_REFERENCES = 20_000_000


@dataclass(slots=True)
class ReferencesState:
    """Every file that the records of one resource name, with its first place and how often."""

    found: dict[str, tuple[int, int]] = field(default_factory=dict)
    records: int = 0
    full: bool = False


@check("media.references", "1")
@dataclass(frozen=True, slots=True, kw_only=True)
class References:
    """Every media file that a record names is there, and every one that is there is named."""

    listed: int = 1000
    sees: ClassVar = "records"

    def start(self, about: About) -> ReferencesState:
        return ReferencesState()

    def observe(self, state: ReferencesState, view: View) -> ReferencesState:
        state.records += len(view)
        short = np.asarray(pc.less_equal(pc.binary_length(view.texts), _MAX_BYTES))
        cells = np.flatnonzero((view.roles == Role.CELL) & short.astype(bool))
        if not len(cells):
            return state
        texts = view.texts.take(pa.array(cells))
        named = np.asarray(pc.match_substring_regex(texts, _PATTERN, ignore_case=True))
        hits = np.flatnonzero(named.astype(bool))
        owners = view.owners()[cells[hits]]
        places = view.positions[owners].tolist()
        for text, place in zip(texts.take(pa.array(hits)).to_pylist(), places, strict=True):
            first, count = state.found.get(text, (place, 0))
            if count or len(state.found) < _MAX_REFERENCES:
                state.found[text] = (first, count + 1)
            else:
                state.full = True
        return state

    def merge(self, left: ReferencesState, right: ReferencesState) -> ReferencesState:
        for text, (place, times) in right.found.items():
            first, count = left.found.get(text, (place, 0))
            left.found[text] = (first, count + times)
        left.records += right.records
        left.full = left.full or right.full
        return left

    def conclude(
        self, states: Sequence[tuple[About, ReferencesState]], places: Places
    ) -> Conclusion:
        files = places.files
        speaking = [(about, state) for about, state in states if state.found]
        if not speaking or files is None:
            return Conclusion()
        media = {p for p in files.sizes if _is_media(p)}
        used: set[str] = set()
        findings: list[tuple[str, Finding]] = []
        evidence = []
        total = there = 0
        for about, state in speaking:
            resolver = _Resolver(files.sizes, _folders(files, about.resource))
            missing: list[tuple[int, str]] = []
            counts = {"missing": 0, "remote": 0, "outside": 0, "found": 0}
            for text, (place, _) in sorted(state.found.items()):
                path = resolver.path(text)
                what = "found" if path is not None else _what(text)
                counts[what] += 1
                if path is not None:
                    used.add(path)
                elif what != "remote":
                    missing.append((place, what))
            total += counts["found"] + counts["missing"] + counts["outside"]
            there += counts["found"]
            if counts["found"] or media:
                findings += self._missing(about, missing, places)
            elif missing:
                findings.append((about.resource, _elsewhere(len(missing))))
            mentions = sum(count for _, count in state.found.values())
            evidence.append({
                "resource": about.resource, "records": state.records, "mentions": mentions,
                "files": counts, "complete": not state.full,
            })  # fmt: skip
        idle = len(media - used)
        if idle:
            note = Text(f"{idle} media files are there that no record names",
                        f"有 {idle} 个媒体文件未被任何记录引用")  # fmt: skip
            found = Finding(type="reference-unused", note=note, severity="warning")
            findings.append((speaking[0][0].resource, found))
        return Conclusion(
            metrics=(
                _share("own:references_found", there, total),
                _share("own:media_used", len(media & used), len(media)),
            ),
            findings=tuple(findings),
            evidence={"resources": evidence, "media": len(media), "unused": idle},
        )

    def _missing(
        self, about: About, missing: list[tuple[int, str]], places: Places
    ) -> Iterable[tuple[str, Finding]]:
        missing.sort()
        rows = places.rows(about.resource, np.array([p for p, _ in missing[: self.listed]], int))
        for row, (_, what) in zip(rows.tolist(), missing, strict=False):
            yield about.resource, Finding(type="reference-missing", note=_NOTES[what], row=row)


def _elsewhere(count: int) -> Finding:
    """Return the one warning where no media are part of the data at all."""
    note = Text(f"{count} media files are named and none is part of the data",
                f"引用了 {count} 个媒体文件，但数据中不含任何媒体")  # fmt: skip
    return Finding(type="reference-missing", note=note, severity="warning")


_NOTES = {
    "missing": Text("it names a media file that is not there", "引用的媒体文件不存在"),
    "outside": Text("it names a media file outside of the data", "引用了数据之外的媒体文件"),
}


def _share(id_: str, numerator: int, denominator: int) -> Metric:
    value = numerator / denominator if denominator else None
    return Metric(
        id=id_, standard="own", value=value, numerator=numerator, denominator=denominator,
        n=denominator,
    )  # fmt: skip


def _is_media(path: str) -> bool:
    kind = by_name(path)[0]
    return kind is not None and kind.family in _MEDIA


def _what(text: str) -> str:
    if is_remote(text):
        return "outside" if text.lower().startswith("file:") else "remote"
    return "missing" if path_problem(text.removeprefix("./")) is None else "outside"


def _folders(files: PackageFiles, resource: str) -> list[str]:
    """Return the folders that a reference may start from: of the resource's files, and above."""
    starts: list[str] = []
    for path, owner in files.owners.items():
        if owner == resource:
            parts = path.split("/")[:-1]
            starts += ["/".join(parts[:n]) + "/" for n in range(len(parts), 0, -1)]
    return list(dict.fromkeys([*starts, ""]))


@dataclass(frozen=True, slots=True)
class _Resolver:
    """Finds the file that a reference means; it may begin with folders above the data."""

    sizes: Mapping[str, int]
    folders: list[str]

    def path(self, text: str) -> str | None:
        parts = text.removeprefix("./").replace("\\", "/").split("/")
        for cut in range(min(len(parts), 8)):
            rest = "/".join(parts[cut:])
            if cut and len(parts) - cut < 2:
                return None  # a bare file name would match too much
            for folder in self.folders:
                if folder + rest in self.sizes:
                    return folder + rest
        return None
