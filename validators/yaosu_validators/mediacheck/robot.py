"""Is a recording of a robot all there, and does it move as a robot does? (LeRobot v2 and v3)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from yaosu_schemas.errors import Text
from yaosu_schemas.report import Metric
from yaosu_schemas.texts import clip
from yaosu_validators.check import Conclusion, Finding, Severity, check
from yaosu_validators.filecheck import MEMBER_MARK, FileItem, PackageFiles
from yaosu_validators.media import Kind
from yaosu_validators.streams import SourceProblem

from .containers import Video, video_of
from .lerobot import INFO, DataSet, EpisodeEntry, data_sets
from .trajectories import Episode, FrameFile, Ints, Joints, Rules, number_ranges, read_frames

_BINS = 12
_MOST = 1_000_000  # episodes that a bare total is believed to mean
_CODECS = {"av1": "av01", "h264": "avc1", "hevc": "hev1", "h265": "hev1", "vp9": "vp09"}
_FAMILIES = {"avc3": "avc1", "hvc1": "hev1"}
_STANDARD = "TC609-5-2025-04"


@dataclass(slots=True)
class RobotState:
    """What each file holds, by its path."""

    frames: dict[str, FrameFile] = field(default_factory=dict)
    videos: dict[str, Video | None] = field(default_factory=dict)
    broken: dict[str, Finding] = field(default_factory=dict)


@check("robot.lerobot", "1")
@dataclass(frozen=True, slots=True, kw_only=True)
class LeRobot:
    """What a LeRobot data set declares is there, regular in time, and plausible in its motion."""

    tolerance_s: float = 1e-4  # of a step in time, as LeRobot's own loader asks for
    jump_factor: float = 20.0  # of the robust spread of a joint's steps
    jump_share: float = 0.5  # of all that a joint moves in an episode
    limit_share: float = 1e-4  # of its declared range that a joint may go beyond it
    listed: int = 1000
    sees: ClassVar = "files"

    def wants(self, path: str, kind: Kind) -> bool:
        if MEMBER_MARK in path or "meta/" in path:
            return False
        return kind.format == "parquet" or (kind.family == "video" and "videos/" in path)

    def start(self) -> RobotState:
        return RobotState()

    def observe(self, state: RobotState, item: FileItem) -> RobotState:
        with item.open() as file:
            if item.kind.family == "video":
                state.videos[item.path] = video_of(file, item.kind.format)
                return state
            rules = Rules(self.tolerance_s, self.jump_factor, self.jump_share)
            try:
                found = read_frames(file, rules)
            except SourceProblem as why:
                state.broken[item.path] = why.finding
                return state
        if found is not None:
            state.frames[item.path] = found
        return state

    def merge(self, left: RobotState, right: RobotState) -> RobotState:
        left.frames.update(right.frames)
        left.videos.update(right.videos)
        left.broken.update(right.broken)
        return left

    def conclude(self, state: RobotState, package: PackageFiles) -> Conclusion:
        results = [_Judged(self, state, package, d) for d in data_sets(package)]
        if not results:
            return Conclusion()
        findings: list[tuple[str, Finding]] = []
        for result in results:
            where = package.resource_of(result.data.root + INFO)
            findings += [(where, found) for found in result.findings[: self.listed]]
        counts = np.sum([result.counts() for result in results], axis=0).tolist()
        names = ("tc609:0302", "own:robot_episodes", "own:robot_videos", "own:robot_regular",
                 "own:robot_smooth")  # fmt: skip
        return Conclusion(
            metrics=tuple(
                Metric(
                    id=name,
                    standard=_STANDARD if name.startswith("tc609") else "own",
                    value=counts[2 * i] / counts[2 * i + 1] if counts[2 * i + 1] else None,
                    numerator=counts[2 * i],
                    denominator=counts[2 * i + 1],
                    n=counts[2 * i + 1],
                )
                for i, name in enumerate(names)
            ),
            findings=tuple(findings),
            evidence={"datasets": [result.evidence() for result in results]},
        )


@dataclass(slots=True)
class _Judged:
    """One data set, declared against present."""

    rules: LeRobot
    state: RobotState
    package: PackageFiles
    data: DataSet
    present: dict[int, Episode] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    cameras: list[dict[str, Any]] = field(default_factory=list)
    irregular: set[int] = field(default_factory=set)
    wrong_length: set[int] = field(default_factory=set)
    videos: tuple[int, int] = (0, 0)

    def __post_init__(self) -> None:
        for note in self.data.problems:
            self._say("robot-metadata", note)
        self._gather()
        self._episodes()
        self._clock()
        self._features()
        self._cameras()
        self._motion()

    def _say(self, type_: str, note: Text, severity: Severity = "error") -> None:
        at = clip(self.data.root.rstrip("/"))
        if at:
            note = Text(f"{at}: {note.en}", f"{at}：{note.zh}")
        self.findings.append(Finding(type=type_, note=note, severity=severity))

    def _mine(self, path: str) -> bool:
        return path.startswith(self.data.root)

    def _gather(self) -> None:
        doubled: set[int] = set()
        for path, file in self.state.frames.items():
            if not self._mine(path):
                continue
            for number, episode in file.episodes.items():
                before = self.present.get(number)
                self.present[number] = episode if before is None else before.joined(episode)
                if before is not None:
                    doubled.add(number)
            if file.scattered:
                self._say("robot-index", Text(
                    f"{self._short(path)}: {file.scattered} times an episode goes on after another",
                    f"{self._short(path)}：有 {file.scattered} 处片段被其他片段隔断"))  # fmt: skip
        if doubled:
            self._list(
                "robot-index", doubled, "frames stand in several files", "的帧分散在多个文件中"
            )
        for path, found in self.state.broken.items():
            if self._mine(path) and path.startswith(self.data.root + "data/"):
                self._say("robot-frames", Text(
                    f"{self._short(path)}: {found.note.en}",
                    f"{self._short(path)}：{found.note.zh}"))  # fmt: skip

    def _short(self, path: str) -> str:
        return clip(path.removeprefix(self.data.root))

    def _list(
        self, type_: str, numbers: set[int], en: str, zh: str, severity: Severity = "error"
    ) -> None:
        ranges = clip(number_ranges(sorted(numbers)), 2000)
        self._say(
            type_,
            Text(
                f"{len(numbers)} episodes ({ranges}): {en}",
                f"{len(numbers)} 个片段（{ranges}）{zh}",
            ),
            severity,
        )

    def missing(self) -> set[int]:
        declared = set(self.data.episodes)
        if not declared:  # no list: the total speaks, as far as anyone could have meant it
            declared = set(range(min(self.data.totals.get("total_episodes", 0), _MOST)))
        return declared - set(self.present)

    def _episodes(self) -> None:
        if missing := self.missing():
            self._list("incomplete-episodes", missing, "declared, and no frames are there",
                       "已声明，但没有帧数据")  # fmt: skip
        if extra := set(self.present) - set(self.data.episodes):
            self._list("robot-metadata", extra, "there, and not declared", "存在但未声明")
        for number, episode in sorted(self.present.items()):
            entry = self.data.episodes.get(number)
            if entry is not None and entry.length != episode.frames:
                self.wrong_length.add(number)
                self._say("robot-frames", Text(
                    f"episode {number}: {entry.length} frames declared, {episode.frames} there",
                    f"片段 {number}：声明 {entry.length} 帧，实有 {episode.frames}"))  # fmt: skip

    def _clock(self) -> None:
        """See that frames are numbered without gaps and come at the declared rate."""
        before = 0
        starts: dict[int, int] = {}
        for number, entry in sorted(self.data.episodes.items()):
            starts[number] = entry.rows[0] if entry.rows is not None else before
            before += entry.length
            if entry.rows is not None and entry.rows[1] - entry.rows[0] != entry.length:
                self.irregular.add(number)
        gaps, offset, rate, late = set[int](), set[int](), set[int](), set[int]()
        tasks: set[int] = set()
        expected = 1 / self.data.fps if self.data.fps else 0.0
        for number, e in self.present.items():
            if e.frame_breaks or e.index_breaks or e.first_frame:
                gaps.add(number)
            if e.first_index >= 0 and number in starts and e.first_index != starts[number]:
                offset.add(number)
            if expected and e.frames > 1 and abs(e.step_s - expected) > self.rules.tolerance_s:
                rate.add(number)
            if e.late:
                late.add(number)
            if self.data.tasks is not None and not set(e.tasks) <= self.data.tasks:
                tasks.add(number)
        self.irregular |= rate | late
        fps = f"{self.data.fps:g}"
        for type_, numbers, en, zh in (
            ("robot-index", gaps, "frames are not numbered 0, 1, 2 …", "的帧编号不连续"),
            ("robot-index", offset, "they do not begin where the episodes before them end",
             "的起始序号与前面片段不衔接"),
            ("robot-clock", rate, f"frames do not come at the declared {fps} per second",
             f"的帧率与声明的 {fps} 不符"),
            ("robot-clock", late, "frames are missing or late (irregular time stamps)",
             "的时间戳不规则，可能丢帧"),
            ("robot-metadata", tasks, "they name a task that is not listed", "引用了未列出的任务"),
        ):  # fmt: skip
            if numbers:
                self._list(type_, numbers, en, zh)

    def _features(self) -> None:
        """Compare declared features with the columns of the files."""
        said: dict[tuple[str, str, str, Severity], int] = {}
        for path, file in self.state.frames.items():
            if not self._mine(path):
                continue
            for name, feature in self.data.features.items():
                if feature.dtype in ("video", "image", "string"):
                    continue
                there = file.types.get(name)
                severity: Severity = "error"
                if there is None:
                    en, zh = "is declared and is no column", "已声明但没有该列"
                elif there[1] not in (-1, feature.width):
                    en = f"has the declared width {feature.width} and holds {there[1]} numbers"
                    zh = f"声明维度为 {feature.width}，实为 {there[1]}"
                elif there[0] != feature.dtype:
                    en = f"is declared {feature.dtype} and stored as {there[0]}"
                    zh = f"声明为 {feature.dtype}，实际存为 {there[0]}"
                    severity = "warning"  # loaders cast it
                else:
                    continue
                key = (name, en, zh, severity)
                said[key] = said.get(key, 0) + 1
        for (name, en, zh, severity), count in said.items():
            self._say("robot-feature", Text(
                f"feature {clip(name)!r} {en} (in {count} files)",
                f"特征“{clip(name)}”{zh}（{count} 个文件）"), severity)  # fmt: skip

    def _cameras(self) -> None:
        there = wanted = 0
        for camera in self.data.cameras:
            missing = {
                number
                for number, entry in self.data.episodes.items()
                if entry.videos.get(camera) not in self.package.sizes
            }
            wanted += len(self.data.episodes)
            there += len(self.data.episodes) - len(missing)
            if missing:
                ranges = clip(number_ranges(sorted(missing)), 2000)
                name = clip(camera, 80)
                self._say("missing-videos", Text(
                    f"camera {name}: no video of {len(missing)} episodes ({ranges})",
                    f"相机 {name}：缺少 {len(missing)} 个片段的视频（{ranges}）"))  # fmt: skip
            shared: dict[str, list[EpisodeEntry]] = {}
            for entry in self.data.episodes.values():
                shared.setdefault(entry.videos.get(camera, ""), []).append(entry)
            present = sorted(p for p in shared if p in self.state.videos)
            for path in present:
                self._video(camera, path, shared[path])
            self.cameras.append({
                "camera": clip(camera, 80), "declared": len(self.data.episodes),
                "present": len(self.data.episodes) - len(missing), "files": len(present),
                "missing": clip(number_ranges(sorted(missing)), 2000),
                "missing_count": len(missing),
            })  # fmt: skip
        self.videos = (there, wanted)

    def _video(self, camera: str, path: str, shared: list[EpisodeEntry]) -> None:
        video = self.state.videos[path]
        at = self._short(path)
        if video is None:
            self._say(
                "robot-video", Text(f"{at}: it is no readable video", f"{at}：不是可读取的视频")
            )
            return
        for en, zh in self._video_faults(camera, shared, video):
            self._say("robot-video", Text(f"{at}: {en}", f"{at}：{zh}"))

    def _video_faults(
        self, camera: str, shared: list[EpisodeEntry], video: Video
    ) -> Iterator[tuple[str, str]]:
        feature = self.data.features[camera]
        frames = sum(e.length for e in shared)
        if video.truncated:
            yield "it breaks off before its end", "文件在结束前被截断"
        if video.frames is not None and video.frames != frames:
            yield (f"it has {video.frames} frames for {frames} of its episodes",
                   f"有 {video.frames} 帧，而对应片段共 {frames} 帧")  # fmt: skip
        sizes = {s for s in feature.shape if s > 4}
        if video.width and sizes and {video.width, video.height} != sizes:
            yield (f"it is {video.width}x{video.height}, not as declared",
                   f"尺寸为 {video.width}x{video.height}，与声明不符")  # fmt: skip
        if video.fps and self.data.fps and abs(video.fps - self.data.fps) > 0.01 * self.data.fps:
            yield (f"it runs at {video.fps:g} frames per second, declared are {self.data.fps:g}",
                   f"帧率为 {video.fps:g}，声明为 {self.data.fps:g}")  # fmt: skip
        said = str(feature.video.get("video.codec") or "").lower()
        codec = _FAMILIES.get(video.codec or "", video.codec)
        if codec and said in _CODECS and _CODECS[said] != codec:
            yield (f"its codec is {clip(codec, 20)}, declared is {said}",
                   f"编码为 {clip(codec, 20)}，声明为 {said}")  # fmt: skip
        ends = [e.spans[camera][1] for e in shared if camera in e.spans]
        if ends and video.duration_s and max(ends) > video.duration_s + 1 / max(self.data.fps, 1):
            yield (f"episodes reach to {max(ends):.2f} s, and it is {video.duration_s:.2f} s long",
                   f"片段延至 {max(ends):.2f} 秒，而视频仅 {video.duration_s:.2f} 秒")  # fmt: skip

    def _motion(self) -> None:
        missing = {n for n, e in self.present.items() if any(j.missing for j in e.joints.values())}
        if missing:
            self._list("robot-missing-values", missing, "frames with NaN, infinity or no value",
                       "存在 NaN、无穷或缺失值", "warning")  # fmt: skip
        jumps = {n: c for n, e in self.present.items() if (c := _jumps(e))}
        if jumps:
            total = sum(jumps.values())
            self._list("robot-jump", set(jumps), f"{total} sudden jumps of a joint",
                       f"共有 {total} 处关节突变", "warning")  # fmt: skip
        for name in self.data.features:
            over = {n for n, e in self.present.items() if self._outside(n, e, name).any()}
            if over:
                short = clip(name, 80)
                self._list("robot-limits", over, f"{short} goes beyond its declared range",
                           f"的 {short} 超出声明的最小或最大值", "warning")  # fmt: skip

    def _outside(self, number: int, episode: Episode, name: str) -> np.ndarray[Any, Any]:
        """Return which joints went beyond what is declared of this episode or of the set."""
        joints = episode.joints.get(name)
        if joints is None:
            return np.zeros(0, bool)
        entry = self.data.episodes.get(number)
        limits = (entry.limits.get(name) if entry is not None else None) or self.data.limits.get(
            name
        )
        if limits is None or limits[0].shape != joints.low.shape:
            return np.zeros(len(joints.low), bool)
        room = np.abs(limits[1] - limits[0]) * self.rules.limit_share + 1e-6
        outside = (joints.low < limits[0] - room) | (joints.high > limits[1] + room)
        return np.asarray(outside, bool)

    def counts(self) -> list[int]:
        """Return numerator and denominator of each measure, in their order."""
        frames = sum(e.frames for n, e in self.present.items() if n in self.data.episodes)
        declared = self.data.totals.get("total_frames", 0)
        whole = len(set(self.present) & set(self.data.episodes) - self.wrong_length)
        episodes = self.data.totals.get("total_episodes", len(self.data.episodes))
        smooth = sum(1 for e in self.present.values() if not _jumps(e))
        regular = len(set(self.present) - self.irregular)
        seen = len(self.present)
        return [min(frames, declared), declared, whole, episodes, *self.videos, regular, seen,
                smooth, seen]  # fmt: skip

    def evidence(self) -> dict[str, Any]:
        missing = self.missing()
        lengths = np.array([e.frames for _, e in sorted(self.present.items())], np.int64)
        bad = [f for f in self.findings if f.severity == "error"]
        short = {"incomplete-episodes", "missing-videos", "robot-frames"} & {f.type for f in bad}
        return {
            "root": self.data.root,
            "version": self.data.version,
            "robot": self.data.robot,
            "fps": self.data.fps,
            "verdict": "incomplete" if short else "faulty" if bad else "complete",
            "declared": {
                "episodes": self.data.totals.get("total_episodes"),
                "frames": self.data.totals.get("total_frames"),
                "tasks": self.data.totals.get("total_tasks"),
                "videos": self.videos[1],
            },
            "present": {
                "episodes": len(self.present),
                "frames": int(lengths.sum()),
                "videos": self.videos[0],
                "list": clip(number_ranges(sorted(self.present)), 2000),
            },
            "missing_episodes": clip(number_ranges(sorted(missing)), 2000),
            "missing_count": len(missing),
            "cameras": self.cameras,
            "lengths": _histogram(lengths),
            "features": self._strips(),
        }

    def _strips(self) -> dict[str, Any]:
        """Return the joints of every feature of numbers, as many in all as are listed."""
        strips: dict[str, Any] = {}
        left = self.rules.listed
        for name in self.data.features:
            if left > 0 and any(name in e.joints for e in self.present.values()):
                strips[clip(name, 80)] = self._strip(name)[:left]
                left -= len(strips[clip(name, 80)])
        return strips

    def _strip(self, name: str) -> list[dict[str, Any]]:
        """Return per joint what a range strip shows: range, usual range, declared range, faults."""
        feature = self.data.features[name]
        seen = [(n, e) for n, e in sorted(self.present.items()) if name in e.joints]
        width = seen[0][1].joints[name].low.shape
        seen = [(n, e) for n, e in seen if e.joints[name].low.shape == width]
        low = np.array([e.joints[name].low for _, e in seen])
        high = np.array([e.joints[name].high for _, e in seen])
        over = np.sum([self._outside(n, e, name) for n, e in seen], axis=0)
        jumps: Ints = np.sum([e.joints[name].jumps for _, e in seen], axis=0)
        declared = self._declared(name, width[0])
        reduce: Callable[..., Any] = _quietly
        lowest, highest = reduce(np.nanmin, low), reduce(np.nanmax, high)
        usual = reduce(np.nanmedian, low), reduce(np.nanmedian, high)
        return [
            {
                "name": feature.names[i] if i < len(feature.names) else str(i),
                "min": _short_number(lowest[i]),
                "max": _short_number(highest[i]),
                "usual_min": _short_number(usual[0][i]),
                "usual_max": _short_number(usual[1][i]),
                "declared_min": _short_number(declared[0][i]),
                "declared_max": _short_number(declared[1][i]),
                "episodes_outside": int(over[i]),
                "jumps": int(jumps[i]),
            }
            for i in range(min(width[0], self.rules.listed))
        ]

    def _declared(self, name: str, width: int) -> tuple[np.ndarray[Any, Any], ...]:
        pairs = [e.limits[name] for e in self.data.episodes.values() if name in e.limits]
        pairs += [self.data.limits[name]] if name in self.data.limits else []
        pairs = [p for p in pairs if p[0].shape == (width,)]
        if not pairs:
            return np.full(width, np.nan), np.full(width, np.nan)
        return (_quietly(np.nanmin, np.array([p[0] for p in pairs])),
                _quietly(np.nanmax, np.array([p[1] for p in pairs])))  # fmt: skip


def _quietly(reduce: Callable[..., Any], values: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Reduce over episodes; a joint that was never measured stays NaN."""
    out = np.full(values.shape[1], np.nan)
    some = np.isfinite(values).any(axis=0)
    if some.any():
        out[some] = reduce(values[:, some], axis=0)
    return out


def _jumps(episode: Episode) -> int:
    return sum(_total(joints) for joints in episode.joints.values())


def _total(joints: Joints) -> int:
    return int(joints.jumps.sum())


def _short_number(value: float) -> float | None:
    return float(f"{value:.6g}") if np.isfinite(value) else None


def _histogram(lengths: Ints) -> dict[str, Any]:
    if not len(lengths):
        return {"edges": [], "counts": []}
    low, high = int(lengths.min()), int(lengths.max())
    edges = np.unique(np.linspace(low, high + 1, _BINS + 1).astype(np.int64))
    return {
        "edges": edges.tolist(),
        "counts": np.histogram(lengths, edges)[0].tolist(),
        "min": low,
        "median": float(np.median(lengths)),
        "max": high,
    }
