"""What one file of frames holds: episodes, their clock, and how every joint moved.

A file is read once, column by column, an episode at a time; what is kept of an episode is a few
numbers per joint.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from yaosu_validators.columns import checked
from yaosu_validators.streams import problem

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
CLOCK = ("timestamp", "frame_index", "episode_index", "index", "task_index")
MAX_RUNS = 50_000  # of rows of one episode in one file
PIECE_FRAMES = 1 << 20  # a longer episode is looked at in pieces
_MAX_WIDTH = 4096
_MOVING = ("observation", "action")  # a reward may jump
_SWITCH = 10  # a joint with so few distinct values is a switch: it may go from end to end


@dataclass(frozen=True, slots=True)
class Rules:
    """From when on a movement is a jump, and a clock irregular."""

    tolerance_s: float
    jump_factor: float
    jump_share: float


@dataclass(slots=True)
class Joints:
    """One feature over one episode: float64 (d,) per number, NaN where nothing was measured."""

    low: Floats
    high: Floats
    missing: int  # frames with a NaN, an infinity or no value
    jumps: Ints

    def joined(self, other: Joints) -> Joints:
        if self.low.shape != other.low.shape:
            return self
        return Joints(
            np.fmin(self.low, other.low),
            np.fmax(self.high, other.high),
            self.missing + other.missing,
            self.jumps + other.jumps,
        )


@dataclass(slots=True)
class Episode:
    """The frames of one episode in one file."""

    frames: int
    first_frame: int
    frame_breaks: int  # steps of `frame_index` that are not 1
    first_index: int
    index_breaks: int
    first_time: float
    step_s: float  # median
    late: int  # steps that differ from the median by more than the tolerance
    worst_s: float
    tasks: tuple[int, ...] = ()
    joints: dict[str, Joints] = field(default_factory=dict)

    def joined(self, other: Episode) -> Episode:
        """Return both pieces as one; the clock is that of the longer one."""
        longer = self if self.frames >= other.frames else other
        joints = {k: v.joined(other.joints[k]) for k, v in self.joints.items() if k in other.joints}
        return Episode(
            self.frames + other.frames,
            self.first_frame,
            self.frame_breaks + other.frame_breaks,
            self.first_index,
            self.index_breaks + other.index_breaks,
            self.first_time,
            longer.step_s,
            self.late + other.late,
            max(self.worst_s, other.worst_s),
            tuple(sorted({*self.tasks, *other.tasks}))[:1000],
            joints,
        )


@dataclass(slots=True)
class FrameFile:
    """What a file of frames holds; `types` maps columns to (type of the numbers, width or -1)."""

    types: dict[str, tuple[str, int]] = field(default_factory=dict)
    episodes: dict[int, Episode] = field(default_factory=dict)
    scattered: int = 0  # times that an episode goes on after another one began
    rows: int = 0


def read_frames(file: BinaryIO, rules: Rules) -> FrameFile | None:
    """Return what a file of frames holds, None if it is no such; SourceProblem if broken."""
    import pyarrow.parquet as pq

    try:
        source = pq.ParquetFile(pa.PythonFile(file, mode="r"), pre_buffer=False)
        schema = source.schema_arrow
    except (pa.ArrowException, OSError, ValueError, EOFError) as why:
        raise problem(
            "source-error", f"it is no readable Parquet file: {type(why).__name__}",
            "不是可读取的 Parquet 文件",
        ) from None  # fmt: skip
    if "episode_index" not in schema.names or "frame_index" not in schema.names:
        return None
    found = FrameFile()
    wanted = []
    for item in schema:
        inner = _inner(item.type)
        found.types[item.name] = (str(inner).replace("double", "float64"), -1)
        if str(inner) == "float":
            found.types[item.name] = ("float32", -1)
        if item.name in CLOCK or pa.types.is_floating(inner) or pa.types.is_integer(inner):
            wanted.append(item.name)
    batches = checked(source.iter_batches(batch_size=8192, columns=wanted, use_threads=False))
    for number, piece in _episodes(batches, found):
        seen = _episode(piece, found, rules)
        before = found.episodes.get(number)
        found.episodes[number] = seen if before is None else before.joined(seen)
    return found


def _inner(type_: Any) -> Any:
    while pa.types.is_list(type_) or pa.types.is_large_list(type_) or _fixed(type_):
        type_ = type_.value_type
    return type_


def _fixed(type_: Any) -> bool:
    return bool(pa.types.is_fixed_size_list(type_))


def _episodes(batches: Iterator[Any], found: FrameFile) -> Iterator[tuple[int, pa.Table]]:
    """Yield runs of rows with one episode number, long ones in pieces."""
    held: list[Any] = []
    current: int | None = None
    done: set[int] = set()
    runs = 0
    for batch in batches:
        found.rows += batch.num_rows
        if not batch.num_rows:
            continue
        numbers = _ints(batch.column("episode_index"))
        cuts = [0, *(np.flatnonzero(np.diff(numbers)) + 1).tolist(), len(numbers)]
        for start, stop in zip(cuts, cuts[1:], strict=False):
            number = int(numbers[start])
            if current is not None and (
                number != current or sum(b.num_rows for b in held) >= PIECE_FRAMES
            ):
                yield current, pa.Table.from_batches(held)
                held = []
                runs += 1
                if runs > MAX_RUNS:
                    raise problem(
                        "resource-limit",
                        f"its episodes change more than {MAX_RUNS} times",
                        f"片段切换超过 {MAX_RUNS} 次",
                    )
                if number != current:
                    done.add(current)
                    found.scattered += number in done
            current = number
            held.append(batch.slice(start, stop - start))
    if current is not None and held:
        yield current, pa.Table.from_batches(held)


def _ints(column: Any) -> Ints:
    if isinstance(column, pa.ChunkedArray):
        column = column.combine_chunks()
    while not (pa.types.is_integer(column.type) or pa.types.is_floating(column.type)):
        if not hasattr(column, "flatten") or len(column.flatten()) != len(column):
            raise problem("source-error", "an index is no number", "索引不是数值")
        column = column.flatten()
    values = np.asarray(pc.fill_null(pc.cast(column, pa.float64(), safe=False), -1.0))
    whole: Ints = np.nan_to_num(values, nan=-1.0, posinf=-1.0, neginf=-1.0).astype(np.int64)
    return whole


def _matrix(column: Any) -> Floats | None:
    """Return a column of numbers or of equally long lists as (n, d); None where it is neither."""
    array = column.combine_chunks() if isinstance(column, pa.ChunkedArray) else column
    rows = len(array)
    while not (pa.types.is_integer(array.type) or pa.types.is_floating(array.type)):
        if array.null_count or not hasattr(array, "flatten"):
            return None
        array = array.flatten()
    if not rows or len(array) % rows or len(array) // rows > _MAX_WIDTH:
        return None
    if not _even(column, rows):
        return None
    values = np.asarray(pc.fill_null(pc.cast(array, pa.float64(), safe=False), np.nan))
    return values.reshape(rows, -1)


def _even(column: Any, rows: int) -> bool:
    if not (pa.types.is_list(column.type) or pa.types.is_large_list(column.type)):
        return True
    ends = pc.min_max(pc.list_value_length(column)).as_py()
    return bool(ends["min"] == ends["max"])


def _episode(table: pa.Table, found: FrameFile, rules: Rules) -> Episode:
    frames = _ints(table["frame_index"])
    has = set(table.column_names)
    index = _ints(table["index"]) if "index" in has else np.zeros(0, np.int64)
    times = _matrix(table["timestamp"]) if "timestamp" in has else None
    clock = times[:, 0] if times is not None and times.shape[1] == 1 else np.zeros(0)
    step, late, worst = regularity(clock, rules.tolerance_s)
    tasks = np.unique(_ints(table["task_index"]))[:1000].tolist() if "task_index" in has else []
    episode = Episode(
        frames=len(frames),
        first_frame=int(frames[0]),
        frame_breaks=int((np.diff(frames) != 1).sum()),
        first_index=int(index[0]) if len(index) else -1,
        index_breaks=int((np.diff(index) != 1).sum()),
        first_time=float(clock[0]) if len(clock) else 0.0,
        step_s=step,
        late=late,
        worst_s=worst,
        tasks=tuple(tasks),
    )
    for name in table.column_names:
        type_, width = found.types[name]
        if name in CLOCK:
            found.types[name] = (type_, 1)
            continue
        values = _matrix(table[name])
        if values is None:
            continue
        if width not in (-1, values.shape[1]):
            continue  # of another width than before: said by the width that was seen first
        found.types[name] = (type_, values.shape[1])
        episode.joints[name] = joints_of(values, rules, moves=name.startswith(_MOVING))
    return episode


def regularity(clock: Floats, tolerance_s: float) -> tuple[float, int, float]:
    """Return the median step, how many steps differ from it, and the worst difference (s).

    Times are often stored as float32: what such a number cannot tell apart counts as equal.
    """
    steps = np.diff(clock)
    if not len(steps):
        return 0.0, 0, 0.0
    if not np.isfinite(steps).all():
        late = int((~np.isfinite(steps)).sum())
        steps = steps[np.isfinite(steps)]
        if not len(steps):
            return 0.0, late, 0.0
    else:
        late = 0
    middle = float(np.median(steps))
    apart = np.abs(steps - middle)
    grain = float(np.spacing(np.float32(np.nanmax(np.abs(clock)))))
    late += int((apart > tolerance_s + grain).sum())
    return middle, late, float(apart.max())


def joints_of(values: Floats, rules: Rules, moves: bool = True) -> Joints:
    """Return range, gaps and jumps of each number of a feature: (n, d) over one episode.

    A jump is a step d with |d| > max(k·s, q·range), s = 1.4826·median|d - median d|: beyond what
    this joint does in this episode, and a good part of all it ever moves.
    """
    good = np.isfinite(values)
    missing = int((~good.all(axis=1)).sum())
    width = values.shape[1]
    if not len(values):
        nothing = np.full(width, np.nan)
        return Joints(nothing, nothing, 0, np.zeros(width, np.int64))
    clean = np.where(good, values, np.nan)
    some = good.any(axis=0)
    low, high = np.full(width, np.nan), np.full(width, np.nan)
    low[some] = np.nanmin(clean[:, some], axis=0)
    high[some] = np.nanmax(clean[:, some], axis=0)
    jumps = np.zeros(width, np.int64)
    if moves and len(values) > 2 and missing < len(values):
        steps = np.diff(np.where(good, values, 0.0), axis=0)
        steps[~(good[1:] & good[:-1])] = 0.0
        spread = 1.4826 * np.median(np.abs(steps - np.median(steps, axis=0)), axis=0)
        limit = np.maximum(rules.jump_factor * spread, rules.jump_share * (high - low))
        far = np.abs(steps) > np.nan_to_num(limit, nan=np.inf)
        for number in np.flatnonzero(far.any(axis=0)).tolist():
            if high[number] > low[number] and not _is_switch(values[:, number]):
                jumps[number] = int(far[:, number].sum())
    return Joints(low, high, missing, jumps)


def _is_switch(values: Floats) -> bool:
    return len(np.unique(values[:1000])) <= _SWITCH and len(np.unique(values)) <= _SWITCH


def number_ranges(numbers: Sequence[int]) -> str:
    """Return numbers as ranges: 0-3,7,9-12."""
    if not numbers:
        return ""
    ordered = np.array(sorted(set(numbers)), np.int64)
    cuts = np.flatnonzero(np.diff(ordered) != 1) + 1
    parts = [(int(run[0]), int(run[-1])) for run in np.split(ordered, cuts)]
    return ",".join(str(a) if a == b else f"{a}-{b}" for a, b in parts)
