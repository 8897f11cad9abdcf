"""COCO annotations against the pictures that they speak of, and lists of results in their form."""

from __future__ import annotations

from array import array
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, BinaryIO, ClassVar, cast

import ijson
import numpy as np
import numpy.typing as npt

from yaosu_schemas.errors import Text
from yaosu_schemas.report import Metric
from yaosu_schemas.texts import clip
from yaosu_validators.check import Conclusion, Finding, Severity, check
from yaosu_validators.filecheck import FileItem, PackageFiles
from yaosu_validators.media import Kind
from yaosu_validators.streams import SourceProblem

from .measures import apart, histogram, ratio

_MARKS = (b'"images"', b'"annotations"', b'"categories"', b'"licenses"', b'"info"')
_BOX = ("left", "top", "width", "height")
_NONE = -(1 << 62)


@dataclass(slots=True)
class Annotated:
    """What one file of annotations says; annotations in order, as arrays."""

    path: str
    results: bool = False  # a list of results: no pictures, no categories
    names: list[str] = field(default_factory=list)  # of pictures
    picture_ids: array[int] = field(default_factory=lambda: array("q"))
    sizes: array[int] = field(default_factory=lambda: array("q"))  # width, height, width, …
    categories: dict[int, str] = field(default_factory=dict)
    twice_category: int = 0
    ids: array[int] = field(default_factory=lambda: array("q"))
    pictures: array[int] = field(default_factory=lambda: array("q"))
    kinds: array[int] = field(default_factory=lambda: array("q"))  # category of each annotation
    boxes: array[float] = field(default_factory=lambda: array("d"))
    areas: array[float] = field(default_factory=lambda: array("d"))
    drawn: array[float] = field(default_factory=lambda: array("d"))  # area of its polygons
    bad_scores: int = 0
    broken: bool = False


@check("media.coco", "1")
@dataclass(frozen=True, slots=True, kw_only=True)
class Coco:
    """Annotations belong to pictures that are there, lie inside them, and use known categories."""

    slack_px: float = 1.0  # by which a box may go over the edge
    area_share: float = 0.2  # by which a stated area may differ from the drawn one
    max_annotations: int = 50_000_000
    listed: int = 1000
    sees: ClassVar = "files"

    def wants(self, path: str, kind: Kind) -> bool:
        return kind.format == "json"

    def start(self) -> list[Annotated]:
        return []

    def observe(self, state: list[Annotated], item: FileItem) -> list[Annotated]:
        start = item.head.lstrip(b"\xef\xbb\xbf \t\r\n")
        if start.startswith(b"{") and any(mark in start for mark in _MARKS):
            with item.open() as file:
                found = _read(file, item.path, self.max_annotations)
            if found is not None:
                state.append(found)
        elif start.startswith(b"[") and b'"image_id"' in start:
            found = Annotated(item.path, results=True)
            with item.open() as file:
                _annotations(file, "item", found, self.max_annotations)
            state.append(found)
        return state

    def merge(self, left: list[Annotated], right: list[Annotated]) -> list[Annotated]:
        return left + right

    def conclude(self, state: list[Annotated], package: PackageFiles) -> Conclusion:
        if not state:
            return Conclusion()
        judged = [_Judged(self, found, package) for found in state]
        findings = [(package.resource_of(j.of.path), found) for j in judged for found in j.findings]
        total = sum(j.count for j in judged)
        bad = sum(int(j.bad.sum()) for j in judged)
        counts = Counter[int]()
        for j in judged:
            counts.update(j.per_category())
        return Conclusion(
            metrics=(
                ratio("tc609:0203", total - bad, total),
                apart("iso5259:Bal-ML-3", np.array(sorted(counts.values()), np.float64)),
                *_box_balance(judged),
            ),
            findings=tuple(findings[: self.listed]),
            evidence={"files": [j.evidence() for j in judged[: self.listed]]},
        )


def _box_balance(judged: list[_Judged]) -> Iterator[Metric]:
    """Yield the balance of boxes: how many a picture has, how large, how wide for their height."""
    many, areas, shapes = [], [], []
    for j in judged:
        many.append(np.unique(j.pictures[j.boxed], return_counts=True)[1].astype(np.float64))
        areas.append((j.box[:, 2] * j.box[:, 3])[j.sound])
        shapes.append((j.box[:, 2] / np.where(j.sound, j.box[:, 3], 1.0))[j.sound])
    for number, values in ((4, many), (5, areas), (6, shapes)):
        yield apart(f"iso5259:Bal-ML-{number}", np.concatenate(values))


# --- reading -----------------------------------------------------------------------------------


def _read(file: BinaryIO, path: str, limit: int) -> Annotated | None:
    """Read one file of annotations; None where it is another kind of JSON."""
    found = Annotated(path)
    try:
        for picture in ijson.items(file, "images.item", use_float=True):
            if isinstance(picture, dict):
                found.names.append(str(picture.get("file_name", "")))
                found.picture_ids.append(_whole(picture.get("id")))
                found.sizes.append(max(0, _whole(picture.get("width"))))
                found.sizes.append(max(0, _whole(picture.get("height"))))
                if len(found.names) >= limit:
                    break
        file.seek(0)
        for category in ijson.items(file, "categories.item", use_float=True):
            if isinstance(category, dict) and len(found.categories) < 1_000_000:
                number = _whole(category.get("id"))
                found.twice_category += number in found.categories
                found.categories[number] = clip(str(category.get("name", "")), 80)
    except (ijson.JSONError, ValueError, RecursionError):
        found.broken = bool(found.names)
        return found if found.names else None
    file.seek(0)
    _annotations(file, "annotations.item", found, limit)
    return found if found.names and (len(found.pictures) or found.categories) else None


def _annotations(file: BinaryIO, prefix: str, found: Annotated, limit: int) -> None:
    try:
        for one in ijson.items(file, prefix, use_float=True):
            if not isinstance(one, dict):
                continue
            found.ids.append(_whole(one.get("id")))
            found.pictures.append(_whole(one.get("image_id")))
            found.kinds.append(_whole(one.get("category_id")))
            box = one.get("bbox")
            numbers = box if isinstance(box, list) and len(box) == 4 else [None] * 4
            found.boxes.extend(_number(n) for n in numbers)
            found.areas.append(_number(one.get("area")))
            found.drawn.append(_polygons(one.get("segmentation"), one.get("iscrowd")))
            score = one.get("score")
            found.bad_scores += score is not None and not 0 <= _number(score) <= 1
            if len(found.pictures) >= limit:
                break
    except (ijson.JSONError, ValueError, RecursionError):
        found.broken = True


def _whole(value: Any) -> int:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    good = isinstance(value, int) and not isinstance(value, bool) and abs(value) < 1 << 62
    return cast(int, value) if good else _NONE


def _number(value: Any) -> float:
    good = isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300
    return float(value) if good else float("nan")


def _polygons(value: Any, crowd: Any) -> float:
    """Return the area of polygons (shoelace formula); NaN where there are none."""
    if crowd or not isinstance(value, list) or not value:
        return float("nan")
    area = 0.0
    for ring in value:
        try:
            points = np.asarray(ring, np.float64).reshape(-1, 2)
        except (TypeError, ValueError):
            return float("nan")
        x, y = points[:, 0], points[:, 1]
        area += abs(float(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1)))) / 2
    return area


# --- judging -----------------------------------------------------------------------------------


@dataclass(slots=True)
class _Judged:
    """One file of annotations, held against the files of the target."""

    rules: Coco
    of: Annotated
    package: PackageFiles
    findings: list[Finding] = field(default_factory=list)
    problems: Counter[str] = field(default_factory=Counter)
    pictures: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    kinds: npt.NDArray[np.int64] = field(default_factory=lambda: np.zeros(0, np.int64))
    box: npt.NDArray[np.float64] = field(default_factory=lambda: np.zeros((0, 4)))
    boxed: npt.NDArray[Any] = field(default_factory=lambda: np.zeros(0, bool))
    sound: npt.NDArray[np.bool_] = field(default_factory=lambda: np.zeros(0, bool))
    bad: npt.NDArray[Any] = field(default_factory=lambda: np.zeros(0, bool))
    unused: int = 0

    def __post_init__(self) -> None:
        self.pictures = np.array(self.of.pictures, np.int64)
        self.kinds = np.array(self.of.kinds, np.int64)
        self.box = np.array(self.of.boxes, np.float64).reshape(-1, 4)
        self.boxed = np.asarray(np.isfinite(self.box).all(axis=1))
        self.sound = self.boxed & (self.box[:, 2] > 0) & (self.box[:, 3] > 0)
        self.bad = np.zeros(self.count, bool)
        if self.of.broken:
            self._say("coco-broken", "the JSON breaks off or is broken", "JSON 不完整或已损坏", 1)
        self._boxes()
        if self.of.bad_scores:
            self._say(
                "coco-box", "scores outside 0 to 1", "分数不在 0 到 1 之间", self.of.bad_scores
            )
        if not self.of.results:
            self._ids()
            self._areas()
            self._pictures()

    @property
    def count(self) -> int:
        return len(self.of.pictures)

    def _say(
        self, type_: str, en: str, zh: str, count: int, severity: Severity = "error",
        first: int | None = None,
    ) -> None:  # fmt: skip
        path = clip(self.of.path)
        at = ("", "") if first is None else (f" (first: annotation {first + 1})",
                                             f"（首个：第 {first + 1} 条标注）")  # fmt: skip
        note = Text(f"{path}: {count} {en}{at[0]}", f"{path}：{count} 处{zh}{at[1]}")
        self.problems[type_] += count
        self.findings.append(Finding(type=type_, note=note, severity=severity))

    def _mark(
        self, type_: str, wrong: npt.NDArray[Any], en: str, zh: str, severity: Severity = "error"
    ) -> None:
        if wrong.any():
            self.bad |= wrong
            first = int(np.flatnonzero(wrong)[0])
            self._say(type_, en, zh, int(wrong.sum()), severity, first)

    def _boxes(self) -> None:
        self._mark("coco-box", self.boxed & ~self.sound,
                   "boxes without width or height", "标注框宽或高不为正")  # fmt: skip
        low = self.boxed & (self.box[:, :2] < -self.rules.slack_px).any(axis=1)
        if self.of.results or not self.count:
            return
        ids = np.array(self.of.picture_ids, np.int64)
        sizes = np.array(self.of.sizes, np.float64).reshape(-1, 2)
        order = np.argsort(ids, kind="stable")
        at = np.searchsorted(ids[order], self.pictures)
        at = order[np.minimum(at, max(0, len(ids) - 1))] if len(ids) else at
        known = ids[at] == self.pictures if len(ids) else np.zeros(self.count, bool)
        self._mark("coco-orphan", ~known, "annotations of a picture that is not listed",
                   "标注所属图片未列出")  # fmt: skip
        size = np.where(known[:, None], sizes[at] if len(ids) else 0.0, np.inf)
        size = np.where(size > 0, size, np.inf)
        over = self.boxed & (self.box[:, :2] + self.box[:, 2:] > size + self.rules.slack_px).any(1)
        self._mark("coco-box", low | over, "boxes that leave their picture", "标注框超出图片")
        self.unused = len(ids) - len(np.intersect1d(ids, self.pictures))

    def _ids(self) -> None:
        ids = np.array(self.of.ids, np.int64)
        given = ids != _NONE
        _, first = np.unique(ids, return_index=True)
        again = np.ones(len(ids), bool)
        again[first] = False
        self._mark("coco-id", again & given, "annotation ids that came before", "标注编号重复")
        unknown = ~np.isin(self.kinds, np.array(sorted(self.of.categories), np.int64))
        if self.of.categories or (self.kinds != _NONE).any():
            self._mark("coco-category", unknown, "annotations of an unknown category", "类别未定义")
        twice = len(self.of.picture_ids) - len(set(self.of.picture_ids))
        if twice:
            self._say("coco-id", "picture ids that came before", "图片编号重复", twice)
        if self.of.twice_category:
            self._say("coco-id", "category ids that came before", "类别编号重复",
                      self.of.twice_category)  # fmt: skip

    def _areas(self) -> None:
        areas = np.array(self.of.areas, np.float64)
        drawn = np.array(self.of.drawn, np.float64)
        box = np.where(self.sound, self.box[:, 2] * self.box[:, 3], np.nan)
        share = self.rules.area_share
        with np.errstate(invalid="ignore"):
            apart_ = np.abs(areas - drawn) > share * np.maximum(areas, drawn) + 1
            over = areas > box * (1 + share) + 1
        self._mark("coco-area", apart_ | over, "stated areas that differ from what is drawn",
                   "面积与图形不符", "warning")  # fmt: skip

    def _pictures(self) -> None:
        """Look for the pictures below the folder of the annotations, then anywhere by name."""
        base = self.of.path.rsplit("/", 1)[0] + "/" if "/" in self.of.path else ""
        by_name: dict[str, str] = {}
        for path in self.package.sizes:
            by_name.setdefault(path.rsplit("/", 1)[-1], path)
        missing, differ = 0, 0
        for number, name in enumerate(self.of.names):
            places = (base + name, name, by_name.get(name.rsplit("/", 1)[-1], ""))
            at = next((p for p in places if p in self.package.sizes), None)
            missing += at is None
            size = (self.of.sizes[2 * number], self.of.sizes[2 * number + 1])
            differ += at is not None and _differs(self.package, at, size)
        if missing:
            none = missing == len(self.of.names)
            self._say("coco-picture", "listed pictures that are not there", "已列出但缺少的图片",
                      missing, "warning" if none else "error")  # fmt: skip
        if differ:
            self._say("coco-picture", "pictures of another size than is stated",
                      "图片尺寸与标注不符", differ)  # fmt: skip

    def per_category(self) -> Mapping[int, int]:
        numbers, counts = np.unique(self.kinds[self.kinds != _NONE], return_counts=True)
        found = dict(zip(numbers.tolist(), counts.tolist(), strict=True))
        return {**dict.fromkeys(self.of.categories, 0), **found}

    def evidence(self) -> dict[str, Any]:
        counts = sorted(self.per_category().items(), key=lambda p: (-p[1], p[0]))
        boxes = self.box[self.sound]
        return {
            "file": clip(self.of.path, 200),
            "form": "results" if self.of.results else "annotations",
            "pictures": len(self.of.names),
            "pictures_without_annotation": self.unused,
            "annotations": self.count,
            "faulty": int(self.bad.sum()),
            "problems": dict(sorted(self.problems.items())),
            "categories": {
                "total": len(counts),
                "listed": [
                    {"id": number, "name": self.of.categories.get(number, ""), "count": count}
                    for number, count in counts[: self.rules.listed]
                ],
            },
            "box_side_px": histogram(np.sqrt(boxes[:, 2] * boxes[:, 3])),
        }


def _differs(package: PackageFiles, path: str, size: tuple[int, int]) -> bool:
    import imagesize

    if 0 in size:
        return False
    try:
        with package.open(path) as file:
            found = imagesize.get(file)
    except (SourceProblem, OSError, ValueError, LookupError, AttributeError, TypeError):
        return False
    return min(found) > 0 and tuple(int(s) for s in found) not in (size, size[::-1])
