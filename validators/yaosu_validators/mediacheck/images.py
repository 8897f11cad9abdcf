"""Do the pictures decode, are they sharp, are some there twice, do they give people away?"""

from __future__ import annotations

import hashlib
from array import array
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from yaosu_schemas.errors import Text
from yaosu_schemas.texts import clip
from yaosu_validators.check import Conclusion, Finding, check
from yaosu_validators.describing.shapes import split_of
from yaosu_validators.filecheck import MEMBER_MARK, FileItem, PackageFiles
from yaosu_validators.media import Kind

from .embedded import Pictures
from .measures import apart, histogram, measure, ratio
from .pictures import Picture, Undecodable, clusters, decoded

_READ = ("png", "jpg", "gif", "webp", "bmp", "tif", "avif")
_REASONS = {
    "too-large": ("picture-too-large", Text("more pixels than the limit", "像素数超过上限")),
    "truncated": ("picture-broken", Text("it breaks off before its end", "文件在结束前被截断")),
    "unknown": ("picture-broken", Text("it is no picture", "不是图片")),
    "broken": ("picture-broken", Text("it does not decode", "无法解码")),
    "file-too-large": ("picture-too-large", Text("a larger file than the limit", "文件超过上限")),
}
_NUMBERS = ("width", "height", "sharpness", "brightness", "snr_db")


@dataclass(slots=True)
class ImagesState:
    """Numbers of every picture that decoded, in order; what did not decode, by reason."""

    paths: list[str] = field(default_factory=list)
    numbers: dict[str, array[float]] = field(
        default_factory=lambda: {name: array("f") for name in _NUMBERS}
    )
    hashes: array[int] = field(default_factory=lambda: array("Q"))
    flat: array[int] = field(default_factory=lambda: array("b"))
    digests: array[int] = field(default_factory=lambda: array("Q"))  # of the bytes
    counts: Counter[str] = field(default_factory=Counter)
    gps: list[str] = field(default_factory=list)
    person: list[str] = field(default_factory=list)
    bad: list[tuple[str, str, int, int]] = field(default_factory=list)


@check("media.images", "2")
@dataclass(frozen=True, slots=True, kw_only=True)
class Images:
    """Every picture decodes whole, within limits, and few are blurred or there twice."""

    max_pixels: int = 100_000_000  # a picture that says more is not decoded
    max_bytes: int = 256 << 20
    blurred_below: float = 50.0  # variance of the Laplacian at 512 pixels
    distance: int = 4  # bits of 64 by which the hashes of one motif may differ
    embedded: int = 10_000  # rows of a Parquet file whose pictures are decoded; more: in part
    least_side: int = 224  # pixels; smaller pictures are counted, not refused
    listed: int = 1000
    sees: ClassVar = "files"

    def wants(self, path: str, kind: Kind) -> bool:
        return kind.family == "image" or kind.format == "parquet"

    def start(self) -> ImagesState:
        return ImagesState()

    def observe(self, state: ImagesState, item: FileItem) -> ImagesState:
        if item.kind.format == "parquet":
            with item.open() as file:
                self._table(state, item.path, Pictures.of(file))
            return state
        state.counts["files"] += 1
        if item.kind.format not in _READ:
            state.counts["not_decoded"] += 1
            return state
        try:
            if item.size > self.max_bytes:
                raise Undecodable("file-too-large")
            with item.open() as file:
                data = file.read(self.max_bytes + 1)
        except Undecodable as why:
            self._refuse(state, item.path, why)
            return state
        self._decode(state, item.path, data)
        return state

    def _table(self, state: ImagesState, path: str, pictures: Pictures | None) -> None:
        """Look at the pictures of a table: all of them, or those of every so many rows."""
        if pictures is None:
            return
        step = max(1, -(-pictures.rows // max(1, self.embedded)))
        state.counts.update(tables=1, table_rows=pictures.rows)
        state.counts["table_rows_seen"] += -(-pictures.rows // step)
        try:
            for found in pictures.every(step, self.max_bytes):
                where = f"{path}{MEMBER_MARK}{found.column}, row {found.row}"
                if found.data is not None:
                    state.counts["files"] += 1
                    state.counts["in_tables"] += 1
                    self._decode(state, where, found.data)
                elif found.size:
                    state.counts["files"] += 1
                    self._refuse(state, where, Undecodable("file-too-large"))
                else:
                    state.counts["only_named"] += 1
        except (pa.ArrowException, OSError, ValueError):
            state.counts["tables_broken"] += 1

    def _decode(self, state: ImagesState, path: str, data: bytes) -> None:
        try:
            self._keep(state, path, decoded(data, self.max_pixels), data)
        except Undecodable as why:
            self._refuse(state, path, why)

    def _refuse(self, state: ImagesState, path: str, why: Undecodable) -> None:
        state.counts[why.reason] += 1
        if len(state.bad) < self.listed:
            state.bad.append((path, why.reason, why.width, why.height))

    def _keep(self, state: ImagesState, path: str, picture: Picture, data: bytes) -> None:
        state.paths.append(path)
        for name, numbers in state.numbers.items():
            numbers.append(getattr(picture, name))
        state.hashes.append(picture.hash)
        state.flat.append(picture.flat)
        digest = hashlib.blake2b(data, digest_size=8).digest()
        state.digests.append(int.from_bytes(digest, "big"))
        for found, places, kind in ((picture.gps, state.gps, "gps"),
                                    (picture.person, state.person, "person")):  # fmt: skip
            if found:
                state.counts[kind] += 1
                places.extend([path][: self.listed - len(places)])

    def merge(self, left: ImagesState, right: ImagesState) -> ImagesState:
        left.paths += right.paths
        for name, numbers in left.numbers.items():
            numbers.extend(right.numbers[name])
        left.hashes.extend(right.hashes)
        left.flat.extend(right.flat)
        left.digests.extend(right.digests)
        left.counts.update(right.counts)
        for mine, theirs in ((left.gps, right.gps), (left.person, right.person)):
            mine.extend(theirs[: self.listed - len(mine)])
        left.bad += right.bad[: self.listed - len(left.bad)]
        return left

    def conclude(self, state: ImagesState, package: PackageFiles) -> Conclusion:
        files = state.counts["files"]
        if not files:
            return Conclusion()
        numbers = {k: np.array(v, np.float64) for k, v in state.numbers.items()}
        count = len(state.paths)
        side = np.minimum(numbers["width"], numbers["height"])
        pixels = numbers["width"] * numbers["height"]
        sharp = int((numbers["sharpness"] >= self.blurred_below).sum())
        snr = numbers["snr_db"][np.isfinite(numbers["snr_db"])]
        groups = self._groups(state)
        twice = sum(len(group) - 1 for group in groups)
        leaks = [g for g in groups if len(_splits(state.paths[i] for i in g)) > 1]
        same = count - len(set(state.digests))
        tried = files - state.counts["not_decoded"]
        return Conclusion(
            metrics=(
                ratio("own:images_decodable", count, tried),
                measure("tc609:02080201", side, "px"),
                ratio("tc609:02080202", twice, count),
                measure("tc609:02080203", snr, "dB"),
                ratio("tc609:02080204", sharp, count),
                apart("iso5259:Bal-ML-1", numbers["brightness"]),
                apart("iso5259:Bal-ML-2", pixels),
            ),
            findings=(*self._findings(state, package), *_leaks(state, leaks, package)),
            evidence={
                "files": files,
                "decoded": count,
                "not_decoded": state.counts["not_decoded"],
                "broken": {r: state.counts[r] for r in _REASONS if state.counts[r]},
                **self._of_tables(state),
                "small": int((side < self.least_side).sum()),
                "blurred": count - sharp,
                "same_bytes": same,
                "near_duplicates": twice,
                "clusters_across_splits": len(leaks),
                "clusters": {
                    "total": len(groups),
                    "listed": min(len(groups), self.listed),
                    "members": [
                        [clip(state.paths[i], 200) for i in group[:50]]
                        for group in groups[: self.listed]
                    ],
                },
                "with_position": state.counts["gps"],
                "with_person": state.counts["person"],
                "shorter_side": histogram(side),
                "sharpness": histogram(numbers["sharpness"]),
                "brightness": histogram(numbers["brightness"]),
                "snr_db": histogram(snr),
            },
        )

    def _of_tables(self, state: ImagesState) -> dict[str, Any]:
        """Return what was looked at inside of tables, and of how many rows; nothing without any."""
        if not state.counts["tables"]:
            return {}
        return {
            "tables": {
                "files": state.counts["tables"],
                "broken": state.counts["tables_broken"],
                "rows": state.counts["table_rows"],
                "rows_looked_at": state.counts["table_rows_seen"],
                "pictures": state.counts["in_tables"],
                "without_bytes": state.counts["only_named"],
                "most_rows_of_a_file": self.embedded,
            }
        }

    def _groups(self, state: ImagesState) -> list[list[int]]:
        """Return groups of one motif; pictures of one colour only where their bytes are equal."""
        flat = np.array(state.flat, bool)
        hashes = np.array(state.hashes, np.uint64)
        digests = np.array(state.digests, np.uint64)
        found = []
        for mask, keys, distance in ((~flat, hashes, self.distance), (flat, digests, 0)):
            where = np.flatnonzero(mask)
            found += [where[group].tolist() for group in clusters(keys[mask], distance)]
        return sorted(found)

    def _findings(self, state: ImagesState, package: PackageFiles) -> list[tuple[str, Finding]]:
        found: list[tuple[str, Finding]] = []
        for path, reason, width, height in state.bad:
            type_, why = _REASONS[reason]
            size = f" ({width} x {height})" if width else ""
            note = Text(f"{clip(path)}: {why.en}{size}", f"{clip(path)}：{why.zh}{size}")
            found.append((package.resource_of(path), Finding(type=type_, note=note)))
        for kind, places, en, zh in (
            ("gps", state.gps, "pictures carry the position of the camera", "张图片带有拍摄位置"),
            ("person", state.person, "pictures name a person or one camera",
             "张图片含作者姓名或相机序列号"),
        ):  # fmt: skip
            if places:
                total = state.counts[kind]
                note = Text(f"{total} {en}", f"{total} {zh}")
                where = package.resource_of(places[0])
                found.append((where, _warning("picture-personal-data", note)))
        return found


def _splits(paths: Iterable[str]) -> set[str]:
    """Return the splits that folders and tables name; the name of a picture itself says nothing."""
    return {s for path in paths if (s := split_of(_holder(path)))}


def _holder(path: str) -> str:
    table, mark, _ = path.partition(f".parquet{MEMBER_MARK}")
    return f"{table}.parquet" if mark else path.rpartition("/")[0] + "/"


def _leaks(
    state: ImagesState, leaks: list[list[int]], package: PackageFiles
) -> Iterator[tuple[str, Finding]]:
    if leaks:
        first = clip(state.paths[leaks[0][0]])
        note = Text(f"{len(leaks)} motifs stand in more than one split (first: {first})",
                    f"{len(leaks)} 个画面出现在多个划分中（首个：{first}）")  # fmt: skip
        yield package.resource_of(state.paths[leaks[0][0]]), _warning("picture-leak", note)


def _warning(type_: str, note: Text) -> Finding:
    return Finding(type=type_, note=note, severity="warning")
