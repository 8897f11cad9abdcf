"""What a LeRobot data set says of itself: `meta/` of versions 2.0, 2.1 and 3.0, one view of both.

v2: `meta/episodes.jsonl`, `tasks.jsonl`, `episodes_stats.jsonl` (or `stats.json`), one Parquet file
and one video per camera for each episode. v3: `meta/episodes/chunk-*/file-*.parquet`,
`tasks.parquet`, `stats.json`; files of frames and videos hold many episodes each.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeGuard

import numpy as np
import pyarrow as pa

from yaosu_schemas.errors import Text
from yaosu_schemas.paths import path_problem
from yaosu_schemas.texts import clip
from yaosu_validators.columns import checked
from yaosu_validators.filecheck import PackageFiles
from yaosu_validators.streams import SourceProblem

from .trajectories import Floats

INFO = "meta/info.json"
_INFO_BYTES = 16 << 20
_STATS_BYTES = 256 << 20
_LINE_BYTES = 16 << 20
_MAX_FEATURES = 1000
_MAX_EPISODES = 10_000_000
_FIELD = re.compile(r"\{(\w+)(?::0?(\d{1,2})d)?\}")
_DATA_2 = "data/chunk-{episode_chunk:03d}/episode_{episode_index:06d}.parquet"
_VIDEO_2 = "videos/chunk-{episode_chunk:03d}/{video_key}/episode_{episode_index:06d}.mp4"
_DATA_3 = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"
_VIDEO_3 = "videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4"


@dataclass(frozen=True, slots=True)
class Feature:
    """One declared feature: type of its numbers, shape, names of its joints where given."""

    dtype: str
    shape: tuple[int, ...]
    names: tuple[str, ...] = ()
    video: Mapping[str, Any] = field(default_factory=dict)

    @property
    def width(self) -> int:
        return int(np.prod(self.shape, dtype=np.int64)) if self.shape else 1


@dataclass(slots=True)
class EpisodeEntry:
    """One declared episode: its length, its files, where it lies in them."""

    number: int
    length: int
    data: str
    videos: dict[str, str] = field(default_factory=dict)  # camera to path
    spans: dict[str, tuple[float, float]] = field(default_factory=dict)  # seconds in the video
    limits: dict[str, tuple[Floats, Floats]] = field(default_factory=dict)
    rows: tuple[int, int] | None = None  # dataset_from_index, dataset_to_index


@dataclass(slots=True)
class DataSet:
    """All that is declared; `problems` are what is wrong with the declaration itself."""

    root: str  # folder inside the target, "" or ending in "/"
    version: str
    fps: float
    totals: dict[str, int]
    features: dict[str, Feature]
    robot: str = ""
    episodes: dict[int, EpisodeEntry] = field(default_factory=dict)
    tasks: frozenset[int] | None = None
    limits: dict[str, tuple[Floats, Floats]] = field(default_factory=dict)  # of the whole set
    problems: list[Text] = field(default_factory=list)

    @property
    def cameras(self) -> list[str]:
        return [name for name, f in self.features.items() if f.dtype == "video"]


def data_sets(package: PackageFiles) -> Iterator[DataSet]:
    """Yield the LeRobot data sets of a target."""
    for path in package.sizes:
        if path == INFO or path.endswith("/" + INFO):
            found = _data_set(package, path.removesuffix(INFO))
            if found is not None:
                yield found


def _data_set(package: PackageFiles, root: str) -> DataSet | None:
    try:
        info = json.loads(package.read(root + INFO, _INFO_BYTES))
    except (ValueError, RecursionError):
        info = None
    except SourceProblem:
        return None
    if not isinstance(info, dict):
        return DataSet(root, "", 0.0, {}, {}, problems=[
            Text("meta/info.json is no JSON object", "meta/info.json 不是 JSON 对象")])  # fmt: skip
    version = info.get("codebase_version")
    if not isinstance(version, str) or not isinstance(info.get("features"), dict):
        return None
    totals = {k: v for k, v in info.items() if k.startswith("total_") and _count(v)}
    fps = info.get("fps")
    found = DataSet(
        root=root,
        version=clip(version, 16),
        fps=float(fps) if isinstance(fps, int | float) and 0 < fps < 1e6 else 0.0,
        totals=totals,
        features={
            str(k): _feature(v)
            for k, v in list(info["features"].items())[:_MAX_FEATURES]
            if isinstance(v, dict)
        },
        robot=clip(str(info.get("robot_type") or ""), 60),
    )
    if not found.fps:
        found.problems.append(Text("it declares no frame rate (fps)", "未声明帧率（fps）"))
    for name in ("total_episodes", "total_frames"):
        if name not in totals:
            found.problems.append(Text(f"it declares no {name}", f"未声明 {name}"))
    later = not version.startswith(("v1", "v2"))
    (_read_v3 if later else _read_v2)(package, found, info)
    _compare(found, info)
    return found


def _count(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 53


def _feature(declared: Mapping[str, Any]) -> Feature:
    shape = declared.get("shape")
    sizes = tuple(s for s in shape if _count(s)) if isinstance(shape, list) else ()
    names = declared.get("names")
    if isinstance(names, dict):
        names = [n for inner in names.values() if isinstance(inner, list) for n in inner]
    while isinstance(names, list) and len(names) == 1 and isinstance(names[0], list):
        names = names[0]
    listed = tuple(clip(str(n), 60) for n in names) if isinstance(names, list) else ()
    video = declared.get("info") or declared.get("video_info")
    return Feature(
        dtype=clip(str(declared.get("dtype")), 20),
        shape=sizes[:8],
        names=listed[:4096],
        video=video if isinstance(video, dict) else {},
    )


def _compare(found: DataSet, info: Mapping[str, Any]) -> None:
    """See whether the totals agree with the list of episodes."""
    frames = sum(e.length for e in found.episodes.values())
    counted = {"total_episodes": len(found.episodes), "total_frames": frames}
    for name, count in counted.items():
        said = found.totals.get(name)
        if said is not None and said != count:
            found.problems.append(
                Text(
                    f"{name} is {said}, and the list of episodes comes to {count}",
                    f"{name} 为 {said}，而片段清单合计 {count}",
                )
            )
    said = found.totals.get("total_tasks")
    if found.tasks is not None and said is not None and said != len(found.tasks):
        found.problems.append(
            Text(f"total_tasks is {said}, and {len(found.tasks)} are listed",
                 f"total_tasks 为 {said}，而清单中有 {len(found.tasks)} 个")
        )  # fmt: skip
    splits = info.get("splits")
    for name, span in splits.items() if isinstance(splits, dict) else ():
        match = re.fullmatch(r"(\d{1,15}):(\d{1,15})", str(span))
        if match and int(match[2]) > len(found.episodes):
            found.problems.append(
                Text(f"split {clip(str(name), 40)!r} goes beyond the last episode",
                     f"划分“{clip(str(name), 40)}”超出最后一个片段")
            )  # fmt: skip


def _lines(package: PackageFiles, path: str, found: DataSet) -> Iterator[dict[str, Any]]:
    if path not in package.sizes:
        return
    bad = 0
    try:
        with package.open(path) as file:
            while line := file.readline(_LINE_BYTES):
                value = _object(line)
                if value is not None:
                    yield value
                else:
                    bad += bool(line.strip())
    except SourceProblem as why:
        found.problems.append(why.finding.note)
    if bad:
        name = path.removeprefix(found.root)
        found.problems.append(
            Text(f"{name}: {bad} lines are no JSON object", f"{name}：{bad} 行不是 JSON 对象")
        )


def _object(line: bytes) -> dict[str, Any] | None:
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _read_v2(package: PackageFiles, found: DataSet, info: Mapping[str, Any]) -> None:
    chunk = info.get("chunks_size")
    per_chunk = chunk if _count(chunk) and chunk else 1000
    data, video = info.get("data_path") or _DATA_2, info.get("video_path") or _VIDEO_2
    if found.root + "meta/episodes.jsonl" not in package.sizes:
        found.problems.append(Text("meta/episodes.jsonl is missing", "缺少 meta/episodes.jsonl"))
    for line in _lines(package, found.root + "meta/episodes.jsonl", found):
        number, length = line.get("episode_index"), line.get("length")
        if not _count(number) or not _count(length) or len(found.episodes) >= _MAX_EPISODES:
            continue
        facts = {"episode_index": number, "episode_chunk": number // per_chunk}
        entry = EpisodeEntry(number, length, _path(found, data, facts))
        entry.videos = {c: _path(found, video, {**facts, "video_key": c}) for c in found.cameras}
        found.episodes[number] = entry
    for line in _lines(package, found.root + "meta/episodes_stats.jsonl", found):
        entry_ = found.episodes.get(line.get("episode_index", -1))
        if entry_ is not None:
            entry_.limits = _limits(line.get("stats"), found)
    _read_stats(package, found)
    lines = list(_lines(package, found.root + "meta/tasks.jsonl", found))
    found.tasks = frozenset(t for line in lines if _count(t := line.get("task_index"))) or None


def _read_stats(package: PackageFiles, found: DataSet) -> None:
    path = found.root + "meta/stats.json"
    if path in package.sizes:
        try:
            found.limits = _limits(json.loads(package.read(path, _STATS_BYTES)), found)
        except (SourceProblem, ValueError, RecursionError):
            found.problems.append(
                Text("meta/stats.json cannot be read", "无法读取 meta/stats.json")
            )


def _limits(stats: Any, found: DataSet) -> dict[str, tuple[Floats, Floats]]:
    limits: dict[str, tuple[Floats, Floats]] = {}
    for name, numbers in stats.items() if isinstance(stats, dict) else ():
        feature = found.features.get(name)
        if feature is None or feature.dtype in ("video", "image") or not isinstance(numbers, dict):
            continue
        pair = (_vector(numbers.get("min"), feature), _vector(numbers.get("max"), feature))
        if pair[0] is not None and pair[1] is not None:
            limits[name] = (pair[0], pair[1])
    return limits


def _vector(value: Any, feature: Feature) -> Floats | None:
    try:
        numbers = np.asarray(value, np.float64).reshape(-1)
    except (TypeError, ValueError):
        return None
    return numbers if len(numbers) == feature.width else None


def _path(found: DataSet, template: Any, facts: Mapping[str, Any]) -> str:
    """Fill a path template; only plain names and widths are known, so that nothing can hide."""

    def fill(match: re.Match[str]) -> str:
        value = facts.get(match[1], "")
        return f"{value:0{int(match[2] or 0)}d}" if isinstance(value, int) else str(value)

    path = _FIELD.sub(fill, template) if isinstance(template, str) and len(template) < 500 else ""
    return found.root + path if path_problem(path) is None else ""


def _read_v3(package: PackageFiles, found: DataSet, info: Mapping[str, Any]) -> None:
    data, video = info.get("data_path") or _DATA_3, info.get("video_path") or _VIDEO_3
    folder = found.root + "meta/episodes/"
    paths = sorted(p for p in package.sizes if p.startswith(folder) and p.endswith(".parquet"))
    if not paths:
        found.problems.append(Text("meta/episodes is missing", "缺少 meta/episodes"))
    for path in paths:
        for row in _rows(package, path, found):
            number, length = row.get("episode_index"), row.get("length")
            if not _count(number) or not _count(length) or len(found.episodes) >= _MAX_EPISODES:
                continue
            found.episodes[number] = _entry_v3(found, row, data, video)
    _read_stats(package, found)
    tasks = found.root + "meta/tasks.parquet"
    if tasks in package.sizes:
        listed = list(_rows(package, tasks, found))
        found.tasks = frozenset(t for row in listed if _count(t := row.get("task_index")))


def _entry_v3(found: DataSet, row: Mapping[str, Any], data: Any, video: Any) -> EpisodeEntry:
    def place(prefix: str) -> dict[str, Any]:
        return {k: v for k in ("chunk_index", "file_index") if _count(v := row.get(prefix + k))}

    entry = EpisodeEntry(row["episode_index"], row["length"], _path(found, data, place("data/")))
    for camera in found.cameras:
        prefix = f"videos/{camera}/"
        entry.videos[camera] = _path(found, video, {**place(prefix), "video_key": camera})
        span = (row.get(prefix + "from_timestamp"), row.get(prefix + "to_timestamp"))
        if all(isinstance(s, int | float) for s in span):
            entry.spans[camera] = (float(span[0]), float(span[1]))  # type: ignore[arg-type]
    rows = (row.get("dataset_from_index"), row.get("dataset_to_index"))
    if _count(rows[0]) and _count(rows[1]):
        entry.rows = rows  # type: ignore[assignment]
    stats: dict[str, dict[str, Any]] = {}
    for name, value in row.items():
        if name.startswith("stats/") and name.endswith(("/min", "/max")):
            _, feature, what = name.split("/", 2)
            stats.setdefault(feature, {})[what] = value
    entry.limits = _limits(stats, found)
    return entry


def _rows(package: PackageFiles, path: str, found: DataSet) -> Iterator[dict[str, Any]]:
    """Yield the rows of a Parquet file of `meta/`, the wide statistics of pictures left out."""
    import pyarrow.parquet as pq

    try:
        with package.open(path) as file:
            source = pq.ParquetFile(pa.PythonFile(file, mode="r"), pre_buffer=False)
            names = [n for n in source.schema_arrow.names if _wanted(n, found)]
            batches = source.iter_batches(batch_size=1024, columns=names, use_threads=False)
            for batch in checked(batches):
                yield from batch.to_pylist()
    except (SourceProblem, pa.ArrowException, OSError, ValueError, EOFError) as why:
        name = path.removeprefix(found.root)
        found.problems.append(
            Text(f"{name} cannot be read ({type(why).__name__})", f"无法读取 {name}")
        )


def _wanted(name: str, found: DataSet) -> bool:
    if not name.startswith("stats/"):
        return name != "tasks"
    _, feature, what = (*name.split("/", 2), "")[:3]
    return what in ("min", "max") and found.features.get(feature, _NONE).dtype not in _PICTURES


_PICTURES = ("video", "image", "")
_NONE = Feature("", ())
