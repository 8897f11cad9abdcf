"""Recordings of robots in LeRobot's layouts: what is declared against what is there."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mediafiles import bilingual, found, in_parts, kinds, looked, mp4, seen
from yaosu_validators import validate
from yaosu_validators.filecheck import files_of
from yaosu_validators.mediacheck import trajectories
from yaosu_validators.mediacheck.trajectories import Rules, joints_of, number_ranges, regularity

LENGTHS = (20, 31, 25, 40)
CAMERA = "observation.images.front"
RULES = Rules(tolerance_s=1e-4, jump_factor=20, jump_share=0.5)


def motion(episode: int, length: int) -> np.ndarray:
    """Return a smooth motion of three joints."""
    t = np.arange(length)[:, None] / 30
    return np.sin(t * [1.0, 1.7, 0.4] + episode).astype(np.float32)


def frames(episodes: range, start: int, lengths: tuple[int, ...] = LENGTHS) -> dict[str, Any]:
    columns: dict[str, list[Any]] = {n: [] for n in ("timestamp", "frame_index", "episode_index")}
    values = []
    for episode in episodes:
        length = lengths[episode]
        columns["timestamp"] += (np.arange(length) / 30).tolist()
        columns["frame_index"] += range(length)
        columns["episode_index"] += [episode] * length
        values.append(motion(episode, length))
    total = sum(lengths[e] for e in episodes)
    joints = np.concatenate(values)
    return {
        "observation.state": joints,
        "action": joints.copy(),
        "timestamp": np.array(columns["timestamp"], np.float32),
        "frame_index": np.array(columns["frame_index"], np.int64),
        "episode_index": np.array(columns["episode_index"], np.int64),
        "index": np.arange(start, start + total),
        "task_index": np.zeros(total, np.int64),
    }


def write_frames(path: Path, columns: dict[str, Any]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    arrays = {
        name: pa.FixedSizeListArray.from_arrays(pa.array(v.reshape(-1)), v.shape[1])
        if v.ndim == 2
        else pa.array(v)
        for name, v in columns.items()
    }
    pq.write_table(pa.table(arrays), path)


def info(version: str, **more: Any) -> dict[str, Any]:
    joints = {"dtype": "float32", "shape": [3], "names": ["hip", "knee", "foot"]}
    scalar = {"dtype": "int64", "shape": [1], "names": None}
    video = {"dtype": "video", "shape": [48, 64, 3], "names": ["height", "width", "channels"],
             "info": {"video.fps": 30, "video.codec": "av1"}}  # fmt: skip
    return {
        "codebase_version": version, "robot_type": "test", "fps": 30, "chunks_size": 1000,
        "total_episodes": len(LENGTHS), "total_frames": sum(LENGTHS), "total_tasks": 1,
        "splits": {"train": f"0:{len(LENGTHS)}"},
        "features": {
            "observation.state": joints, "action": joints, CAMERA: video,
            "timestamp": {**scalar, "dtype": "float32"}, "frame_index": scalar,
            "episode_index": scalar, "index": scalar, "task_index": scalar,
        },
        **more,
    }  # fmt: skip


def limits() -> dict[str, Any]:
    low, high = [-1.0, -1.0, -1.0], [1.0, 1.0, 1.0]
    return {n: {"min": low, "max": high} for n in ("observation.state", "action")}


def write_v3(folder: Path) -> None:
    """Write a data set of version 3.0: two files of frames, all videos in one file."""
    (folder / "meta").mkdir(parents=True)
    declared = info(
        "v3.0",
        data_path="data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet",
        video_path="videos/{video_key}/chunk-{chunk_index:03d}/file-{file_index:03d}.mp4",
    )
    (folder / "meta/info.json").write_text(json.dumps(declared))
    (folder / "meta/stats.json").write_text(json.dumps(limits()))
    tasks = pa.table({"task_index": [0], "__index_level_0__": ["walk"]})
    pq.write_table(tasks, folder / "meta/tasks.parquet")
    write_frames(folder / "data/chunk-000/file-000.parquet", frames(range(2), 0))
    write_frames(folder / "data/chunk-000/file-001.parquet", frames(range(2, 4), sum(LENGTHS[:2])))
    ends = np.cumsum(LENGTHS)
    starts = ends - LENGTHS
    rows = {
        "episode_index": list(range(4)),
        "tasks": [["walk"]] * 4,
        "length": list(LENGTHS),
        "data/chunk_index": [0] * 4,
        "data/file_index": [0, 0, 1, 1],
        "dataset_from_index": starts.tolist(),
        "dataset_to_index": ends.tolist(),
        f"videos/{CAMERA}/chunk_index": [0] * 4,
        f"videos/{CAMERA}/file_index": [0] * 4,
        f"videos/{CAMERA}/from_timestamp": (starts / 30).tolist(),
        f"videos/{CAMERA}/to_timestamp": (ends / 30).tolist(),
        "stats/action/min": [[-1.0] * 3] * 4,
        "stats/action/max": [[1.0] * 3] * 4,
    }
    path = folder / "meta/episodes/chunk-000/file-000.parquet"
    path.parent.mkdir(parents=True)
    pq.write_table(pa.table(rows), path)
    video = folder / f"videos/{CAMERA}/chunk-000/file-000.mp4"
    video.parent.mkdir(parents=True)
    video.write_bytes(mp4(sum(LENGTHS)))


def write_v2(folder: Path) -> None:
    """Write the same data set in version 2.1: one file and one video an episode."""
    (folder / "meta").mkdir(parents=True)
    (folder / "meta/info.json").write_text(json.dumps(info("v2.1", total_videos=4)))
    lines = [{"episode_index": n, "tasks": ["walk"], "length": v} for n, v in enumerate(LENGTHS)]
    stats = [{"episode_index": n, "stats": limits()} for n in range(4)]
    for name, rows in (("episodes", lines), ("episodes_stats", stats),
                       ("tasks", [{"task_index": 0, "task": "walk"}])):  # fmt: skip
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (folder / f"meta/{name}.jsonl").write_text(text)
    videos = folder / "videos/chunk-000" / CAMERA
    videos.mkdir(parents=True)
    start = 0
    for n, length in enumerate(LENGTHS):
        path = folder / f"data/chunk-000/episode_{n:06d}.parquet"
        write_frames(path, frames(range(n, n + 1), start))
        (videos / f"episode_{n:06d}.mp4").write_bytes(mp4(length))
        start += length


WRITERS = {"v2.1": write_v2, "v3.0": write_v3}


@pytest.fixture(params=WRITERS, ids=str)
def recorded(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    WRITERS[request.param](tmp_path / "set")
    return tmp_path / "set"


def test_the_real_set_is_incomplete_and_what_is_missing_is_listed(testdata: Path) -> None:
    report = validate(testdata / "ai" / "lerobot-g1", checks=["robot.lerobot"])
    (run,) = report.checks
    (evidence,) = run.evidence["datasets"]
    assert evidence["verdict"] == "incomplete"
    assert evidence["declared"] == {"episodes": 100, "frames": 35965, "tasks": 1, "videos": 100}
    assert evidence["present"] == {"episodes": 4, "frames": 1674, "videos": 1, "list": "0-3"}
    assert (evidence["missing_episodes"], evidence["missing_count"]) == ("4-99", 96)
    assert evidence["cameras"] == [
        {"camera": "observation.images.cam_high", "declared": 100, "present": 1, "files": 1,
         "missing": "0-1,3-99", "missing_count": 99}
    ]  # fmt: skip
    assert evidence["lengths"]["counts"][0] == 1
    assert (evidence["lengths"]["min"], evidence["lengths"]["max"]) == (343, 479)
    strip = evidence["features"]["observation.state"]
    assert len(strip) == 26
    assert strip[0]["name"] == "kLeftShoulderPitch"
    assert all(j["declared_min"] <= j["min"] <= j["max"] <= j["declared_max"] for j in strip)
    assert [e.type for t in report.tasks for e in t.errors] == [
        "incomplete-episodes", "missing-videos",
    ]  # fmt: skip
    metrics = {m.id: (m.numerator, m.denominator) for m in report.metrics}
    assert metrics["tc609:0302"] == (1674, 35965)
    assert metrics["own:robot_regular"] == (4, 4)
    assert not report.valid


def test_a_whole_set_of_either_version_is_complete(recorded: Path) -> None:
    result = seen(recorded, "robot.lerobot")
    assert not result.findings, found(result)
    (evidence,) = result.evidence["datasets"]
    assert evidence["verdict"] == "complete"
    assert evidence["present"] == {"episodes": 4, "frames": 116, "videos": 4, "list": "0-3"}
    assert {m.value for m in result.metrics} == {1.0}
    joints = evidence["features"]["action"]
    assert [j["name"] for j in joints] == ["hip", "knee", "foot"]
    assert (joints[0]["declared_min"], joints[0]["declared_max"]) == (-1.0, 1.0)


def test_a_set_in_a_folder_of_its_own_is_found(recorded: Path) -> None:
    result = seen(recorded.parent, "robot.lerobot")
    (evidence,) = result.evidence["datasets"]
    assert evidence["root"] == "set/"
    assert evidence["verdict"] == "complete"


def change(folder: Path, edit: Callable[[dict[str, Any]], None], path: Path | None = None) -> None:
    """Edit the columns of a file of frames, the first if none is named."""
    path = path or sorted((folder / "data").rglob("*.parquet"))[0]
    table = pq.read_table(path)
    columns = {n: np.array(table[n].to_pylist()) for n in table.column_names}
    for name in ("observation.state", "action", "timestamp"):
        columns[name] = columns[name].astype(np.float32)
    edit(columns)
    write_frames(path, columns)


def _put(column: str, row: int, value_: Any) -> Callable[[dict[str, Any]], None]:
    def edit(columns: dict[str, Any]) -> None:
        columns[column][row] = value_

    return edit


def _drop(columns: dict[str, Any]) -> None:
    for name in columns:
        columns[name] = np.delete(columns[name], 7, axis=0)


def _slow(columns: dict[str, Any]) -> None:
    columns["timestamp"] *= 2


def _wider(columns: dict[str, Any]) -> None:
    columns["action"] = np.hstack([columns["action"], columns["action"][:, :1]])


def _gone(columns: dict[str, Any]) -> None:
    del columns["observation.state"]


@pytest.mark.parametrize(
    ("edit", "type_", "note"),
    [
        (_put("action", 9, np.nan), "robot-missing-values", "1 episodes (0): frames with NaN"),
        (_put("action", 9, 50.0), "robot-jump", "1 episodes (0): 6 sudden jumps"),
        (_put("action", 9, 50.0), "robot-limits", "1 episodes (0): action goes beyond"),
        (_put("timestamp", 9, 0.31), "robot-clock", "1 episodes (0): frames are missing or late"),
        (_put("frame_index", 9, 70), "robot-index", "1 episodes (0): frames are not numbered"),
        (_put("index", 0, 9), "robot-index", "1 episodes (0): they do not begin where"),
        (_put("task_index", 3, 5), "robot-metadata", "1 episodes (0): they name a task"),
        (_drop, "robot-frames", "episode 0: 20 frames declared, 19 there"),
        (_drop, "robot-clock", "1 episodes (0): frames are missing or late"),
        (_slow, "robot-clock", "frames do not come at the declared 30 per second"),
        (_wider, "robot-feature", "feature 'action' has the declared width 3 and holds 4 numbers"),
        (_gone, "robot-feature", "feature 'observation.state' is declared and is no column"),
    ],
)
def test_every_fault_of_frames_is_named(
    recorded: Path, edit: Callable[[dict[str, Any]], None], type_: str, note: str
) -> None:
    change(recorded, edit)
    result = seen(recorded, "robot.lerobot")
    assert any(t == type_ and note in n for t, n in found(result)), found(result)
    assert bilingual(result.findings)


def test_episodes_and_videos_that_are_missing_are_listed(recorded: Path) -> None:
    sorted((recorded / "data").rglob("*.parquet"))[-1].unlink()
    shutil.rmtree(recorded / "videos")
    result = seen(recorded, "robot.lerobot")
    (evidence,) = result.evidence["datasets"]
    assert evidence["verdict"] == "incomplete"
    assert evidence["missing_episodes"] in ("3", "2-3")  # one file holds one or two episodes
    assert evidence["cameras"][0]["missing"] == "0-3"
    assert {"incomplete-episodes", "missing-videos"} == kinds(result)


def test_a_video_that_is_not_of_its_episodes_is_named(recorded: Path) -> None:
    path = sorted((recorded / "videos").rglob("*.mp4"))[0]
    whole = mp4(7, 25, 100, 90, codec=b"avc1")
    path.write_bytes(whole)
    notes = " ".join(n for t, n in found(seen(recorded, "robot.lerobot")) if t == "robot-video")
    for said in ("it has 7 frames for", "it is 100x90", "it runs at 25", "its codec is avc1"):
        assert said in notes
    path.write_bytes(whole[:-20])
    assert any("breaks off" in n for _, n in found(seen(recorded, "robot.lerobot")))


def test_a_declaration_that_contradicts_itself_is_named(recorded: Path) -> None:
    path = recorded / "meta/info.json"
    declared = json.loads(path.read_text())
    declared.update(total_frames=999, total_episodes=9, total_tasks=3, splits={"train": "0:9"})
    path.write_text(json.dumps(declared))
    notes = [n for t, n in found(seen(recorded, "robot.lerobot")) if t == "robot-metadata"]
    assert notes == [
        "total_episodes is 9, and the list of episodes comes to 4",
        "total_frames is 999, and the list of episodes comes to 116",
        "total_tasks is 3, and 1 are listed",
        "split 'train' goes beyond the last episode",
    ]


@pytest.mark.parametrize(
    "hostile",
    [
        b"", b"[]", b"{", b"[" * 100_000, b'{"codebase_version": "v2.1", "features": {}}',
        b'{"codebase_version": "v3.0", "features": {"a": {"shape": [-1, "x"], "names": {"b": 1}}}}',
        json.dumps(info("v2.1", fps=0, data_path="../{episode_index:099999999d}",
                        video_path="{video_key.__class__}/{0}")).encode(),
        json.dumps(info("v2.1", features={"a": None, "b": {"dtype": [], "shape": 7}})).encode(),
        json.dumps(info("v2.1", chunks_size=0, total_frames="many", fps="fast")).encode(),
    ],
    ids=range(9),
)  # fmt: skip
def test_hostile_declarations_are_findings_and_nothing_worse(
    recorded: Path, hostile: bytes
) -> None:
    (recorded / "meta/info.json").write_bytes(hostile)
    result = seen(recorded, "robot.lerobot")
    assert result.findings or not result.evidence
    assert bilingual(result.findings)


def test_a_total_without_a_list_is_believed_within_reason(tmp_path: Path) -> None:
    (tmp_path / "meta").mkdir()
    (tmp_path / "meta/info.json").write_text(json.dumps(info("v2.1", total_episodes=2**50)))
    result = seen(tmp_path, "robot.lerobot")
    (evidence,) = result.evidence["datasets"]
    assert evidence["missing_episodes"] == "0-999999"
    assert "incomplete-episodes" in kinds(result)


def test_a_file_whose_episodes_change_with_every_frame_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trajectories, "MAX_RUNS", 40)
    write_v3(tmp_path)
    edit = _put("episode_index", slice(0, 51), np.arange(51))
    change(tmp_path, edit)
    notes = [n for t, n in found(seen(tmp_path, "robot.lerobot")) if t == "robot-frames"]
    assert notes == ["data/chunk-000/file-000.parquet: its episodes change more than 40 times"]


def test_files_that_are_broken_are_findings(recorded: Path) -> None:
    for path in [*recorded.rglob("*.parquet"), *recorded.rglob("*.jsonl")]:
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    types = kinds(seen(recorded, "robot.lerobot"))
    assert {"robot-frames", "robot-metadata"} <= types


def test_any_cut_of_the_files_gives_the_same_conclusion(recorded: Path) -> None:
    package = files_of(recorded)
    whole = repr(looked(recorded, "robot.lerobot").conclusions[0])
    for cuts in ([2], [1, 4, 5], list(range(1, len(package.sizes)))):
        assert repr(in_parts(package, "robot.lerobot", cuts)) == whole


@given(st.lists(st.integers(0, 60)))
def test_ranges_name_exactly_their_numbers(numbers: list[int]) -> None:
    back: list[int] = []
    for part in filter(None, number_ranges(numbers).split(",")):
        first, _, last = part.partition("-")
        back += range(int(first), int(last or first) + 1)
    assert back == sorted(set(numbers))


def test_times_in_float32_are_regular_even_after_an_hour() -> None:
    clock = (np.arange(3600 * 30, 3600 * 30 + 900) / 30).astype(np.float32).astype(np.float64)
    assert regularity(clock, 1e-4)[1] == 0
    late = clock.copy()
    late[400:] += 1 / 30
    assert regularity(late, 1e-4)[1] == 1


def test_a_reward_may_jump_and_a_column_of_another_type_is_a_warning(recorded: Path) -> None:
    path = recorded / "meta/info.json"
    declared = json.loads(path.read_text())
    declared["features"]["next.reward"] = {"dtype": "float64", "shape": [1], "names": None}
    path.write_text(json.dumps(declared))

    def reward(columns: dict[str, Any]) -> None:
        columns["next.reward"] = np.zeros(len(columns["index"]), np.float32)
        columns["next.reward"][15:] = np.linspace(90, 100, len(columns["index"]) - 15)

    for data in (recorded / "data").rglob("*.parquet"):
        change(recorded, reward, data)
    result = seen(recorded, "robot.lerobot")
    assert {(f.type, f.severity) for _, f in result.findings} == {("robot-feature", "warning")}
    assert "is declared float64 and stored as float32" in found(result)[0][1]


def test_a_gripper_may_close_and_a_joint_may_not_jump() -> None:
    values = motion(1, 300).astype(np.float64)
    values[:, 2] = np.arange(300) % 100 < 50  # open, closed
    assert joints_of(values, RULES).jumps.tolist() == [0, 0, 0]
    values[150, 0] = 9.0
    assert joints_of(values, RULES).jumps.tolist() == [2, 0, 0]
    values[151] = np.nan
    joints = joints_of(values, RULES)
    assert joints.missing == 1
    assert joints.jumps.tolist() == [1, 0, 0]
