"""Pieces of a resource that can be judged apart, and how their results become one.

A text file is cut at line ends without looking at quotes. Every part but the first supposes that a
row starts where it starts; the part before it knows. Where a quoted line break lies on a cut, the
part before ends early, and the next one is judged again from where the row really starts.
"""

from __future__ import annotations

import functools
import hashlib
import io
import pickle
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import IO, Any, Literal

from yaosu_schemas.errors import Text

from .check import Finding
from .checks.structure import Structure, TableState
from .dialects import Dialect
from .judge import Limits, Outcome, Tell, fast_form, fold_again, judge, open_for_parts
from .messages import write_ahead
from .resources import Resource
from .streams import CHUNK, Digests, SourceProblem, open_file

PART_BYTES = (16 << 20) - (1 << 16)  # two blocks with the line they end in, not two and a rest
_HASHED_AT_ONCE = 1 << 18  # stays in the cache between the two digests
ROW_GROUPS = 8

What = Literal["whole", "lines", "records", "columns", "digests"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One piece of work; it can be pickled."""

    resource: Resource
    limits: Limits
    what: What = "whole"
    start: int = 0
    stop: int = 0
    last: bool = True
    check: Structure | None = None
    dialect: Dialect | None = None
    labels: tuple[str, ...] = ()
    format: str = ""
    encoding: str = "utf-8"
    first: int = 1
    groups: tuple[int, ...] = ()
    number: int = 0
    course: Any = None  # corpus.folds.Course, where the corpus is checked too


@dataclass(slots=True)
class PartResult:
    """What one part came to: an outcome for a whole resource, else a state or digests."""

    outcome: Outcome | None = None
    state: TableState | None = None
    end: int = 0
    digests: Digests | None = None
    folded: Any = None  # corpus.folds.Folded
    seconds: float = 0.0


@dataclass(slots=True)
class Planned:
    """One resource with its parts; `opened` is what the parent found when it planned them."""

    resource: Resource
    limits: Limits
    parts: list[Part] = field(default_factory=list)
    size: int = 0
    opened: Outcome | None = None


def plan_parts(resource: Resource, limits: Limits, workers: int) -> Planned:
    """Cut a large resource into parts; everything else is one part."""
    planned = Planned(resource, limits, [Part(resource=resource, limits=limits)])
    if len(resource.paths) != 1 or resource.type != "table" or limits.checks:
        return planned
    if workers <= 1 and not limits.folds:  # a corpus is read in parts: bounded, and once
        return planned
    if resource.compression is not None or resource.format not in _CUTTABLE:
        return planned
    try:
        with open_file(resource.root, resource.paths[0]) as file:
            size = file.seek(0, io.SEEK_END)
            if size < 2 * PART_BYTES:
                return planned
            opened = open_for_parts(resource, limits)
            if opened is not None:
                planned.parts = _cut(resource, limits, opened, file, size)
                planned.opened = opened[0]
                planned.size = size
    except (SourceProblem, OSError):
        pass  # judged whole, which says what is wrong
    return planned


TEXTS = ("csv", "tsv", "jsonl")
_CUTTABLE = (*TEXTS, "parquet")


def _cut(resource: Resource, limits: Limits, opened: Any, file: IO[bytes], size: int) -> list[Part]:
    outcome, table = opened
    base = Part(
        resource=resource,
        limits=limits,
        check=replace(outcome.check, settles=False),
        dialect=table.dialect,
        labels=outcome.labels,
        format=table.format,
        encoding=table.encoding,
        course=_course(resource, limits),
    )
    digests = replace(base, what="digests")
    if table.format == "parquet":
        groups = table.arrow.groups
        cuts = [tuple(range(i, min(i + ROW_GROUPS, groups))) for i in range(0, groups, ROW_GROUPS)]
        return [
            *(replace(base, what="columns", groups=g, number=n) for n, g in enumerate(cuts)),
            digests,
        ]
    what: What = "records" if table.format == "jsonl" else "lines"
    starts = [0]
    while True:
        # The last ones are small: who is done early waits less for the others.
        step = PART_BYTES if size - starts[-1] > 4 * PART_BYTES else PART_BYTES // 2
        if starts[-1] + step + PART_BYTES // 16 >= size:
            break
        start = _line_start(file, starts[-1] + step)
        if start is None or start >= size:
            break
        starts.append(start)
    stops = [*starts[1:], size]
    first = table.dialect.first_content_row
    further = replace(table.dialect, comment_rows=())  # those lie above the first row of data
    return [
        *(
            replace(
                base,
                what=what,
                start=a,
                stop=b,
                last=b == size,
                first=first if a == 0 else 1,
                dialect=table.dialect if a == 0 else further,
                number=n,
            )
            for n, (a, b) in enumerate(zip(starts, stops, strict=True))
        ),
        digests,
    ]


def _course(resource: Resource, limits: Limits) -> Any:
    if not limits.folds:
        return None
    from .corpus.folds import course_of

    return course_of(resource, limits.folds)


def _line_start(file: IO[bytes], at: int) -> int | None:
    file.seek(at)
    offset = at
    while chunk := file.read(1 << 16):
        found = chunk.find(b"\n")
        if found >= 0:
            return offset + found + 1
        offset += len(chunk)
    return None


def judge_part(part: Part, tell: Tell | None = None) -> PartResult:
    """Judge one part wherever this runs; whatever is wrong inside is in the result."""
    if part.what == "whole":
        return PartResult(outcome=judge(part.resource, part.limits, tell))
    with open_file(part.resource.root, part.resource.paths[0]) as file:
        if part.what == "digests":
            return PartResult(digests=_digests(file))
        assert part.check is not None
        state = part.check.start()
        result = PartResult(state=state, end=part.stop)
        try:
            if part.what == "columns":
                _columns(part, file, state)
            else:
                result.end = _text(part, file, state)
        except SourceProblem as why:
            state.failed = why.finding
        for pairs in state.pairs:
            pairs.flush()
        if part.course is not None:
            result.folded = _folded(part, file)
        return result


def _folded(part: Part, file: IO[bytes]) -> Any:
    from .corpus.folds import fold_part

    place = {f: getattr(part, f) for f in ("start", "stop", "encoding", "dialect", "labels",
                                           "groups")}  # fmt: skip
    return fold_part(part.course, file, part.number, part.what, place)


def _digests(file: IO[bytes]) -> Digests:
    sha256, md5, count = hashlib.sha256(), hashlib.md5(usedforsecurity=False), 0
    room = memoryview(bytearray(_HASHED_AT_ONCE))
    while size := file.readinto(room):  # type: ignore[attr-defined]
        sha256.update(room[:size])
        md5.update(room[:size])
        count += size
    return Digests(sha256.hexdigest(), md5.hexdigest(), count)


def _columns(part: Part, file: IO[bytes], state: TableState) -> None:
    from .columns import ColumnJudge, checked, open_columns

    assert part.check is not None
    judge_ = ColumnJudge(part.check, offset=1 if part.groups[0] == 0 else 0)
    reader = open_columns("parquet", file)
    for batch in checked(reader.to_judge(part.groups), full=False):
        judge_.observe(state, batch)
        if state.full:
            return


def _text(part: Part, file: IO[bytes], state: TableState) -> int:
    """Judge a range of text and return where its last complete row ends."""
    from .steady import steady  # only here: it brings Arrow, which small files do without

    with steady():
        return _blocks(part, file, state)


def _blocks(part: Part, file: IO[bytes], state: TableState) -> int:
    from .blocks import Blocks

    assert part.check is not None
    assert part.dialect is not None
    file.seek(part.start)
    stream = io.BufferedReader(Window(file, part.stop - part.start), CHUNK)
    form = _form(pickle.dumps((part.check, part.dialect, part.labels, part.format)))
    encoding = part.encoding if part.start == 0 else "utf-8"
    blocks = Blocks(stream, encoding, open_end=not part.last, offset=part.start)
    if part.what == "records":
        from .records import RecordJudge

        RecordJudge(part.check, part.labels, form).read(state, blocks, head=part.start == 0)
    else:
        from .lines import LineJudge

        LineJudge(part.check, part.dialect, form, part.format).read(state, blocks, part.first)
    return part.stop - blocks.unused


@functools.lru_cache(maxsize=4)
def _form(table: bytes) -> Any:
    """Return the automaton of a table once for all of its parts."""
    return fast_form(*pickle.loads(table))


class Window(io.RawIOBase):
    """So many bytes of a file from where it stands."""

    def __init__(self, file: IO[bytes], size: int) -> None:
        self._file = file
        self._left = size

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        view = memoryview(buffer).cast("B")[: self._left]
        count = self._file.readinto(view)  # type: ignore[attr-defined]
        self._left -= count
        return int(count)


def join(planned: Planned, results: Iterator[PartResult]) -> Outcome:
    """Return the outcome of one resource from the results of its parts, each merged as it comes."""
    if planned.opened is None:
        whole = next(results).outcome
        assert whole is not None
        fold_again(whole, planned.limits)
        return whole
    outcome = planned.opened
    check = outcome.check
    assert check is not None
    state: TableState | None = None
    end = 0
    again = False
    for part in planned.parts[:-1]:
        result = next(results)
        if part.course is not None:
            outcome.folded = _join_folded(planned, part, outcome.folded, result.folded)
        if again or (state is not None and state.full):
            continue  # nothing behind this counts, but every part has its result taken
        if state is not None and part.what == "lines" and part.start != end:
            # A quoted line break lies on the cut: the row that started before goes on here.
            result = judge_part(replace(part, start=end))
        found = result.state
        assert found is not None
        if found.failed is not None or found.numbers + 1 < part.first:
            # Where bytes are bad, rows of the part before may be void too; a header may be longer
            # than its part. Once more, in one go.
            again = True
            continue
        end = result.end
        known = 0 if state is None else len(state.found)
        state = found if state is None else check.merge(state, found)
        write_ahead(state.found[known:])
    outcome.digests = next(results).digests
    if again:
        whole = judge(planned.resource, planned.limits, fold=False)
        whole.folded = outcome.folded
        return whole
    outcome.state = state
    counted = outcome.digests.bytes if outcome.digests is not None else planned.size
    if counted != planned.size or planned.resource.size != planned.size:
        outcome.end.append(
            Finding(
                type="file-changed",
                note=Text(
                    f"it had {planned.size} bytes when it was opened",
                    f"打开时为 {planned.size} 字节",
                ),
            )
        )
    return outcome


def _join_folded(planned: Planned, part: Part, left: Any, right: Any) -> Any:
    from .corpus.folds import merged

    if left is not None and part.what == "lines" and left.end != part.start:
        # The row that began before goes on beyond the cut: this part begins behind it.
        with open_file(planned.resource.root, planned.resource.paths[0]) as file:
            right = _folded(replace(part, start=min(left.end, part.stop)), file)
            right.end = max(right.end, left.end)
    return merged(planned.limits.folds, left, right)
