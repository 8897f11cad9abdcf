"""Pieces of a resource that can be judged apart, and how their results become one.

A text file is cut at line ends that the quotes around them show to be the ends of rows. Every part
but the first supposes that a row starts where it starts; the part before it knows. Where a quoted
line break lies on a cut all the same, the part before ends early, and the next one is judged again
from where the row really starts, to the end of the last row that begins in it.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import io
import os
import pickle
import re
from collections.abc import Generator, Iterator
from dataclasses import dataclass, field, replace
from typing import IO, TYPE_CHECKING, Any, Literal, cast

from yaosu_schemas.errors import Text

from . import turns
from .check import Finding
from .checks.structure import Structure, TableState
from .dialects import Dialect
from .judge import (
    Limits,
    Outcome,
    Tell,
    failure,
    fast_form,
    fold_again,
    judge,
    open_for_parts,
)
from .messages import write_ahead
from .resources import Resource
from .streams import CHUNK, Digests, SourceProblem, difference, open_file

if TYPE_CHECKING:
    from .blocks import Block

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
    beyond: bool = False  # the row that goes on behind the part belongs to it, too
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
    status: os.stat_result | None = None
    opened: Outcome | None = None
    settled: bool = False  # what its parts still hold would change nothing

    def needs(self, part: Part) -> bool:
        """Say whether the result of a part still counts."""
        return not self.settled or part.what == "digests" or part.course is not None


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
            status = os.fstat(file.fileno())
            size = status.st_size
            if size < 2 * PART_BYTES:
                return planned
            opened = open_for_parts(resource, limits)
            if opened is not None:
                planned.parts = _cut(resource, limits, opened, file, size)
                planned.opened = opened[0]
                planned.status = status
    except (SourceProblem, OSError):
        pass  # judged whole, which says what is wrong
    finally:
        turns.leave()
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
    marks = None if what == "records" else quote_marks(table.dialect)
    starts = [0]
    most = PART_BYTES // 4 if _is_mostly_keys(base.check, table) else PART_BYTES
    while True:
        # The last ones are small: who is done early waits less for the others.
        step = most if size - starts[-1] > 4 * PART_BYTES else min(PART_BYTES // 2, most)
        if starts[-1] + step + PART_BYTES // 16 >= size:
            break
        start = _row_start(file, starts[-1] + step, marks)
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


def _is_mostly_keys(check: Structure | None, table: Any) -> bool:
    """Say whether the keys of a part take more memory than its text: several wait to be merged."""
    texts = sum(len(str(cell)) for cells in table.fragment for cell in cells)
    keys = len(check.keys) if check is not None else 0
    return keys * _KEY_BYTES * len(table.fragment) > texts


_KEY_BYTES = 24  # of a short key with its row


def _course(resource: Resource, limits: Limits) -> Any:
    if not limits.folds:
        return None
    from .corpus.folds import course_of

    return course_of(resource, limits.folds)


def quote_marks(dialect: Dialect) -> re.Pattern[bytes] | None:
    """Return what finds a quote that surely opens a cell (group 1), or surely closes one."""
    if dialect.quote_char == "" or len(delimiter := (dialect.delimiter or ",").encode()) != 1:
        return None
    edge = re.escape(delimiter) + rb"\r\n"
    return re.compile(rb'[%b]("(?=[^"%b]))|[^"%b]"(?=[%b])' % (edge, edge, edge, edge))


def _row_start(file: IO[bytes], at: int, marks: re.Pattern[bytes] | None) -> int | None:
    """Return where a row starts behind a place, most likely: the part before it knows."""
    file.seek(at)
    text = file.read(_LOOKED_AT) if marks is not None else b""
    found = marks.search(text) if marks is not None else None
    if found is None:
        return _line_start(file, at)
    end = found.start(1) if found[1] else found.end() - 1
    inside = (text.count(b'"', 0, end) + (not found[1])) % 2
    place = 0
    for number, piece in enumerate(text.split(b'"')):
        if number % 2 == inside and b"\n" in piece:
            return at + place + piece.index(b"\n") + 1
        place += len(piece) + 1
    return _line_start(file, at)


_LOOKED_AT = 1 << 18  # bytes


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
    try:
        return _judged(part, tell)
    finally:
        turns.leave()


def _judged(part: Part, tell: Tell | None) -> PartResult:
    if part.what == "whole":
        return PartResult(outcome=judge(part.resource, part.limits, tell))
    result = PartResult(end=part.stop)
    if part.check is not None and part.what != "digests":
        result.state = part.check.start()
    try:
        with open_file(part.resource.root, part.resource.paths[0]) as file:
            _read_part(part, file, result)
    except SourceProblem as why:  # it could be opened when the parts were planned
        if result.state is not None:
            result.state.failed = why.finding
    return result


def _read_part(part: Part, file: IO[bytes], result: PartResult) -> None:
    if part.what == "digests":
        result.digests = _digests(file)
        return
    state = result.state
    assert state is not None
    try:
        if part.what == "columns":
            _columns(part, file, state)
        else:
            result.end = _text(part, file, state)
    except SourceProblem as why:
        state.failed = failure(why, state)
    for pairs in state.pairs:
        pairs.flush()
    if part.course is not None:
        result.folded = _folded(part, file)


def _folded(part: Part, file: IO[bytes]) -> Any:
    from .corpus.folds import fold_part
    from .steady import give_back

    place = {f: getattr(part, f) for f in ("start", "stop", "encoding", "dialect", "labels",
                                           "groups")}  # fmt: skip
    folded = fold_part(part.course, file, part.number, part.what, place)
    give_back()  # the next part may be another process's, and a long text in it
    return folded


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

        judge_ = LineJudge(part.check, part.dialect, form, part.format)
        with contextlib.closing(_beyond(part, file)) as beyond:
            judge_.read(state, blocks, part.first, beyond)
    return part.stop - blocks.unused


def _beyond(part: Part, file: IO[bytes]) -> Generator[Block, None, None]:
    """Yield the text behind a part, for those that may look there."""
    from .blocks import Blocks

    if part.beyond and not part.last:
        file.seek(part.stop)
        stream = io.BufferedReader(cast(io.RawIOBase, file), CHUNK)
        try:
            yield from Blocks(stream, "utf-8", offset=part.stop)
        finally:
            stream.detach()


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


def join(planned: Planned, results: Iterator[PartResult], tell: Tell | None = None) -> Outcome:
    """Return the outcome of one resource from the results of its parts, each merged as it comes."""
    if planned.opened is None:
        whole = next(results).outcome
        assert whole is not None
        fold_again(whole, planned.limits, tell)
        return whole
    outcome = planned.opened
    try:
        again = _merge(planned, results, outcome)
        outcome.digests = next(results).digests
    except KeyboardInterrupt:  # what was merged until now stands
        outcome.interrupted = True
        return outcome
    if again:
        whole = judge(planned.resource, planned.limits, fold=False)
        whole.folded = outcome.folded
        if whole.opened and all(found.type != "file-changed" for found in whole.end):
            whole.end += _changes(planned, whole)
        return whole
    outcome.end += _changes(planned, outcome)
    return outcome


def _merge(planned: Planned, results: Iterator[PartResult], outcome: Outcome) -> bool:
    """Merge the parts of a resource into its outcome; True where it has to be judged in one go."""
    check = outcome.check
    assert check is not None
    end = 0
    again = False
    for part in planned.parts[:-1]:
        result = next(results)
        if part.course is not None:
            left, outcome.folded = outcome.folded, None
            outcome.folded = _join_folded(planned, part, left, result.folded)
        if planned.settled:
            continue  # nothing behind this counts, but every part has its result taken
        state = outcome.state
        if state is not None and part.what == "lines" and part.start != end:
            # A quoted line break lies on the cut: the row that started before goes on here.
            if end >= part.stop:
                continue
            first = max(planned.parts[0].first - state.numbers, 1)
            result = judge_part(replace(part, start=end, first=first, beyond=True, course=None))
        found = result.state
        assert found is not None
        bad = found.failed is not None and found.failed.row is None
        if bad or found.numbers + 1 < part.first:
            # Where bytes are bad, rows of the part before may be void too; a header may be longer
            # than its part. Once more, in one go.
            again = planned.settled = True
            continue
        end = result.end
        known = 0 if state is None else len(state.found)
        state = outcome.state = found if state is None else check.merge(state, found)
        planned.settled = state.full or state.failed is not None
        write_ahead(state.found[known:])
    return again


def _changes(planned: Planned, outcome: Outcome) -> Iterator[Finding]:
    """Yield how the file changed since its parts were planned: each was read for itself."""
    then, digests = planned.status, outcome.digests
    assert then is not None
    try:
        with open_file(planned.resource.root, planned.resource.paths[0]) as file:
            change = difference(then, os.fstat(file.fileno()))
    except SourceProblem as why:
        yield why.finding
        return
    if change is None and digests is not None and digests.bytes != then.st_size:
        change = Text(
            f"it had {then.st_size} bytes, and {digests.bytes} could be read",
            f"原有 {then.st_size} 字节，读到 {digests.bytes} 字节",
        )
    if change is not None:
        yield Finding(type="file-changed", note=change)


def _join_folded(planned: Planned, part: Part, left: Any, right: Any) -> Any:
    from .corpus.folds import merged

    if right is None:  # the file is gone
        return left
    if left is not None and part.what == "lines" and left.broken:
        return left  # a row that never ends: what lies behind its beginning are no rows
    if left is not None and part.what == "lines" and left.end != part.start:
        # The row that began before goes on beyond the cut: this part begins behind it.
        with open_file(planned.resource.root, planned.resource.paths[0]) as file:
            right = _folded(replace(part, start=min(left.end, part.stop)), file)
            right.end = max(right.end, left.end)
    return merged(planned.limits.folds, left, right)
