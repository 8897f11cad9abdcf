"""Are files what their names say, of one format, and data at all?"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import ClassVar

from yaosu_schemas.errors import Text
from yaosu_schemas.texts import clip
from yaosu_validators.check import Conclusion, Finding, Severity, check
from yaosu_validators.filecheck import FileItem, PackageFiles
from yaosu_validators.media import Kind, posing

from .measures import ratio

_MEDIA = ("image", "audio", "video")
_SAME = frozenset({("opus", "ogg"), ("ogg", "opus"), ("webm", "mkv"), ("mkv", "webm"),
                   ("mov", "mp4"), ("mp4", "mov"), ("m4a", "mp4"), ("mp4", "m4a")})  # fmt: skip
_TAIL = 66_000  # a zip directory ends within its last 64 KiB
_PROBLEMS: dict[str, tuple[str, Severity, Text]] = {
    "empty": ("file-empty", "error", Text("it is empty", "文件为空")),
    "lfs-pointer": ("lfs-pointer", "error", Text(
        "the data itself was never downloaded (Git LFS)", "数据本身并未下载（Git LFS）")),
    "html-page": ("html-page", "error", Text("it is a web page", "内容是网页")),
    "other": ("file-kind", "warning", Text("it is not what its name says", "与文件名所示类型不符")),
    "polyglot": ("file-polyglot", "warning", Text(
        "it is an archive too: a zip directory lies behind it", "媒体数据之后还附有压缩包")),
}  # fmt: skip


@dataclass(slots=True)
class KindsState:
    """Counts by format and by problem; places of the first of each problem."""

    formats: Counter[str] = field(default_factory=Counter)  # "image/png"
    named: int = 0
    agree: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    bad: list[tuple[str, str]] = field(default_factory=list)


@check("media.files", "1")
@dataclass(frozen=True, slots=True, kw_only=True)
class Kinds:
    """Pictures, sounds and videos are what their names say, and of one format each."""

    listed: int = 1000
    sees: ClassVar = "files"

    def wants(self, path: str, kind: Kind) -> bool:
        return True

    def start(self) -> KindsState:
        return KindsState()

    def observe(self, state: KindsState, item: FileItem) -> KindsState:
        declared, detected = item.declared, item.detected
        named = declared is not None and declared.family in _MEDIA
        if not named and item.kind.family not in _MEDIA:
            return state
        state.formats[f"{item.kind.family}/{item.kind.format}"] += 1
        problem = self._problem(item)
        if declared is not None and named:
            state.named += 1
            state.agree += problem in ("", "polyglot") and detected is not None
        if problem:
            state.counts[problem] += 1
            state.bad.extend([(item.path, problem)][: self.listed - len(state.bad)])
        return state

    def _problem(self, item: FileItem) -> str:
        if item.size == 0:
            return "empty"
        if poses := posing(item.head):
            return poses
        declared, detected = item.declared, item.detected
        if declared is not None and detected is not None and declared.format != detected.format:
            return "" if (declared.format, detected.format) in _SAME else "other"
        if item.kind.family in _MEDIA and item.size > 1000:
            with item.open() as file:
                file.seek(max(0, item.size - _TAIL))
                tail = file.read(_TAIL)
            at = tail.rfind(b"PK\x05\x06")
            if at >= 0 and b"PK\x01\x02" in tail and len(tail) - at >= 22:
                return "polyglot"
        return ""

    def merge(self, left: KindsState, right: KindsState) -> KindsState:
        left.formats.update(right.formats)
        left.named += right.named
        left.agree += right.agree
        left.counts.update(right.counts)
        left.bad += right.bad[: self.listed - len(left.bad)]
        return left

    def conclude(self, state: KindsState, package: PackageFiles) -> Conclusion:
        if not state.formats:
            return Conclusion()
        most: Counter[str] = Counter()
        for name, count in state.formats.items():
            family = name.split("/", 1)[0]
            most[family] = max(most[family], count)
        findings = []
        for path, problem in state.bad:
            type_, severity, why = _PROBLEMS[problem]
            note = Text(f"{clip(path)}: {why.en}", f"{clip(path)}：{why.zh}")
            found = Finding(type=type_, note=note, severity=severity)
            findings.append((package.resource_of(path), found))
        return Conclusion(
            metrics=(
                ratio("tc609:0207", state.agree, state.named),
                ratio("iso5259:Con-ML-3", sum(most.values()), state.formats.total()),
            ),
            findings=tuple(findings),
            evidence={
                "formats": dict(sorted(state.formats.items())),
                "problems": dict(sorted(state.counts.items())),
            },
        )
