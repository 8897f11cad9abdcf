"""Are the videos whole, and what do their containers say? Frames are not decoded."""

from __future__ import annotations

import hashlib
import json
import shutil
import subprocess
import tempfile
from array import array
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, BinaryIO, ClassVar

import numpy as np

from yaosu_schemas.errors import Text
from yaosu_schemas.texts import clip
from yaosu_validators.check import Conclusion, Finding, check
from yaosu_validators.filecheck import FileItem, PackageFiles
from yaosu_validators.media import Kind
from yaosu_validators.streams import CHUNK

from .containers import Video, video_of
from .measures import histogram, measure, ratio, total

_NUMBERS = ("width", "height", "frames", "duration_s", "fps")
_READ = ("mp4", "mov", "mkv", "webm", "avi")
_WAIT_S = 20


@dataclass(slots=True)
class VideoState:
    """What the containers say, in order; what is wrong with some."""

    numbers: dict[str, array[float]] = field(
        default_factory=lambda: {name: array("d") for name in _NUMBERS}
    )
    counts: Counter[str] = field(default_factory=Counter)
    codecs: Counter[str] = field(default_factory=Counter)
    digests: list[bytes] = field(default_factory=list)
    bad: list[tuple[str, str]] = field(default_factory=list)
    apart: list[tuple[str, str]] = field(default_factory=list)  # from what ffprobe says


@check("media.video", "1")
@dataclass(frozen=True, slots=True, kw_only=True)
class Videos:
    """Every video is whole, and says its size, length and rate."""

    ffprobe: bool = False  # ask ffprobe too, where it is on the PATH
    listed: int = 1000
    sees: ClassVar = "files"

    def wants(self, path: str, kind: Kind) -> bool:
        return kind.family == "video"

    def start(self) -> VideoState:
        return VideoState()

    def observe(self, state: VideoState, item: FileItem) -> VideoState:
        state.counts["files"] += 1
        if item.size == 0:
            return self._bad(state, item.path, "empty")
        with item.open() as file:
            state.digests.append(_digest(file))
            if item.kind.format not in _READ:
                state.counts["not_read"] += 1
                return state
            video = video_of(file, item.kind.format)
        if video is None:
            return self._bad(state, item.path, "unreadable")
        if video.truncated:
            self._bad(state, item.path, "truncated")
        for name, numbers in state.numbers.items():
            value = getattr(video, name)
            numbers.append(float("nan") if value is None else float(value))
        for name in ("variable_rate", "audio"):
            state.counts[name] += bool(getattr(video, name))
        state.counts["slow_start"] += video.faststart is False
        state.codecs[clip(video.codec or "", 32)] += 1
        if self.ffprobe:
            self._second_opinion(state, item, video)
        return state

    def _bad(self, state: VideoState, path: str, reason: str) -> VideoState:
        state.counts[reason] += 1
        state.bad.extend([(path, reason)][: self.listed - len(state.bad)])
        return state

    def _second_opinion(self, state: VideoState, item: FileItem, video: Video) -> None:
        said = probed(item)
        if said is None:
            return
        state.counts["probed"] += 1
        for name, slack in (("width", 0.5), ("height", 0.5), ("duration_s", 0.2)):
            ours = getattr(video, name)
            if ours is not None and name in said and abs(ours - said[name]) > slack:
                state.counts["disagree"] += 1
                state.apart.extend([(item.path, name)][: self.listed - len(state.apart)])

    def merge(self, left: VideoState, right: VideoState) -> VideoState:
        for name, numbers in left.numbers.items():
            numbers.extend(right.numbers[name])
        left.counts.update(right.counts)
        left.codecs.update(right.codecs)
        left.digests += right.digests
        left.bad += right.bad[: self.listed - len(left.bad)]
        left.apart += right.apart[: self.listed - len(left.apart)]
        return left

    def conclude(self, state: VideoState, package: PackageFiles) -> Conclusion:
        files = state.counts["files"]
        if not files:
            return Conclusion()
        seen = {k: np.array(v, np.float64) for k, v in state.numbers.items()}
        side = np.minimum(seen["width"], seen["height"])
        good = {k: v[np.isfinite(v)] for k, v in {**seen, "side": side}.items()}
        lost = sum(state.counts[r] for r in _REASONS)
        same = len(state.digests) - len(set(state.digests))
        return Conclusion(
            metrics=(
                ratio("own:video_whole", files - lost - state.counts["not_read"],
                      files - state.counts["not_read"]),
                measure("tc609:02080301", good["side"], "px"),
                ratio("tc609:02080302", same, len(state.digests)),
                measure("tc609:02080303", good["fps"], "1/s"),
                total("tc609:02080304", good["duration_s"], "s"),
            ),
            findings=tuple(self._findings(state, package)),
            evidence={
                "files": files,
                "not_read": state.counts["not_read"],
                "broken": {r: state.counts[r] for r in _REASONS if state.counts[r]},
                "same_bytes": same,
                "with_sound": state.counts["audio"],
                "variable_rate": state.counts["variable_rate"],
                "index_behind_frames": state.counts["slow_start"],
                "codecs": dict(sorted(state.codecs.items())),
                "seconds": histogram(good["duration_s"]),
                "fps": histogram(good["fps"]),
                "shorter_side": histogram(good["side"]),
                "frames": int(good["frames"].sum()),
                "ffprobe": {
                    "asked": self.ffprobe,
                    "answered": state.counts["probed"],
                    "disagrees": state.counts["disagree"],
                },
            },
        )  # fmt: skip

    def _findings(self, state: VideoState, package: PackageFiles) -> Iterator[tuple[str, Finding]]:
        for path, reason in state.bad:
            why = _REASONS[reason]
            note = Text(f"{clip(path)}: {why.en}", f"{clip(path)}：{why.zh}")
            yield package.resource_of(path), Finding(type="video-broken", note=note)
        for path, name in state.apart:
            note = Text(f"{clip(path)}: ffprobe reads another {name}",
                        f"{clip(path)}：ffprobe 读出的 {name} 不同")  # fmt: skip
            found = Finding(type="video-header", note=note, severity="warning")
            yield package.resource_of(path), found


_REASONS = {
    "empty": Text("it is empty", "文件为空"),
    "unreadable": Text("it is no readable video", "不是可读取的视频"),
    "truncated": Text("it breaks off before its end", "文件在结束前被截断"),
}


def _digest(file: BinaryIO) -> bytes:
    digest = hashlib.blake2b(digest_size=16)
    while chunk := file.read(CHUNK):
        digest.update(chunk)
    return digest.digest()


def probed(item: FileItem) -> dict[str, float] | None:
    """Ask ffprobe, an optional program of the system; None where it is absent or fails."""
    program = shutil.which("ffprobe")
    if program is None:
        return None
    command = [program, "-v", "error", "-select_streams", "v:0", "-of", "json",
               "-protocol_whitelist", "file,fd",
               "-show_entries", "stream=width,height,duration:format=duration"]  # fmt: skip
    with tempfile.NamedTemporaryFile(prefix="yaosu-video-", suffix="." + item.kind.format) as copy:
        with item.open() as file:
            shutil.copyfileobj(file, copy, CHUNK)
        copy.flush()
        try:
            done = subprocess.run(
                [*command, copy.name], capture_output=True, timeout=_WAIT_S, check=True
            )
            said: Any = json.loads(done.stdout)
            stream = said["streams"][0]
            length = stream.get("duration") or said.get("format", {}).get("duration")
            found = {"width": float(stream["width"]), "height": float(stream["height"])}
            return {**found, "duration_s": float(length)} if length else found
        except (OSError, subprocess.SubprocessError, ValueError, LookupError, TypeError):
            return None
