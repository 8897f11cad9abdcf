"""Checks of a corpus over one resource, whole or in parts, and what they conclude over all.

    records of a part → views → the states of all checks together → merged, left before right
    → one conclusion for each check, over all resources

A long resource that cannot be cut is folded piece by piece too, so that every state stays small
until it is merged, and a check that keeps much can lay it on disk there.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import IO, Any

import numpy as np

from yaosu_validators import long_texts, turns
from yaosu_validators.blocks import Blocks
from yaosu_validators.check import Chosen, Conclusion
from yaosu_validators.describing.shapes import split_of
from yaosu_validators.filecheck import PackageFiles
from yaosu_validators.resources import Resource
from yaosu_validators.sources import OpenFile
from yaosu_validators.steady import give_back
from yaosu_validators.streams import SourceProblem

from .reading import (
    TOO_LONG,
    Batch,
    column_batches,
    first_records,
    line_batches,
    names_of,
    part_rows,
    sample_of,
    table_batches,
)
from .shapes import SAMPLE, Mapped, mapping_of
from .view import LONG, PART_BITS, About, Places
from .views import ViewMaker

PIECE_BYTES = 16 << 20  # of text between two merges


@dataclass(frozen=True, slots=True)
class Course:
    """What all parts of one resource have in common: the checks, and how records are read."""

    about: About
    mapped: Mapped
    checks: tuple[Chosen, ...]


@dataclass(slots=True)
class Folded:
    """The states of all checks over one part, or over all parts so far."""

    about: About
    states: list[Any] = field(default_factory=list)
    rows: list[int] = field(default_factory=list)  # rows of each part, header and all
    records: int = 0
    unreadable: int = 0
    broken: bool = False  # reading ended before the data did
    end: int = 0  # where the next part begins, in bytes


def course(resource: Resource, checks: Sequence[Chosen], sample: Sequence[Any]) -> Course:
    """Return how the records of a resource are read, from the first of them."""
    mapped = mapping_of(sample, resource.records)
    about = About(
        resource=resource.name,
        shape=mapped.shape,
        split=resource.split or (split_of(resource.paths[0]) if resource.paths else ""),
        languages=resource.languages,
        fields=mapped.fields(),
        required=tuple(f.name for f in resource.schema.fields if f.required)
        if resource.schema is not None
        else (),
    )
    return Course(about, mapped, tuple(checks))


def course_of(resource: Resource, checks: Sequence[Chosen]) -> Course:
    """Return the course of a resource that is going to be read in parts."""
    with long_texts.wanted():
        going = course(resource, checks, sample_of(resource, SAMPLE))
    give_back()
    return going


def fold_table(file: OpenFile, checks: Sequence[Chosen]) -> Folded:
    """Fold a whole resource in one go."""
    with long_texts.wanted():
        return _fold_table(file, checks)


def _fold_table(file: OpenFile, checks: Sequence[Chosen]) -> Folded:
    batches = table_batches(file)
    held: list[Batch] = []
    sample: list[Any] = []
    broken = False
    try:
        while len(sample) < SAMPLE and (some := next(batches, None)) is not None:
            sample += first_records(some.records, SAMPLE - len(sample))
            held.append(some)
            del some
    except SourceProblem:
        if not held:
            raise
        broken = True
    going = course(file.resource, checks, sample)
    sample.clear()  # it may be large
    held.reverse()

    def every() -> Iterator[Batch]:
        while held:
            yield held.pop()
        if not broken:
            yield from batches

    folded = _fold(going, every(), part=0)
    folded.broken = folded.broken or broken
    return folded


def fold_part(
    going: Course, file: IO[bytes], part: int, what: str, place: Mapping[str, Any]
) -> Folded:
    """Fold one part of a resource; `place` says where it lies (see `parts.Part`)."""
    ends = _End(place["stop"])
    if what == "records":
        from yaosu_validators.parts import Window

        file.seek(place["start"])
        window = Window(file, place["stop"] - place["start"])
        encoding = place["encoding"] if place["start"] == 0 else "utf-8"
        blocks = Blocks(window, encoding, instead=TOO_LONG)  # type: ignore[arg-type]
        batches = line_batches(blocks, numbers=int(place["start"] == 0))
    elif what == "lines":
        rows = part_rows(file, place["start"], place["stop"], place["dialect"],
                         names_of(place["labels"]))  # fmt: skip
        batches = ends.of(rows)
    else:
        from yaosu_validators.columns import open_columns

        groups = place["groups"]
        first = 2 if groups[0] == 0 else 1
        columns = open_columns("parquet", file)
        batches = column_batches(columns.batches(groups), parquet=True, first=first)
    with long_texts.wanted():
        folded = _fold(going, batches, part)
    folded.end = ends.at
    return folded


@dataclass(slots=True)
class _End:
    at: int

    def of(self, batches: Iterable[tuple[Batch, int]]) -> Iterator[Batch]:
        for batch, end in batches:
            self.at = end
            yield batch


def _fold(going: Course, batches: Iterable[Batch], part: int) -> Folded:
    folds = [chosen.make() for chosen in going.checks]
    maker = ViewMaker(going.mapped)
    folded = Folded(going.about, [fold.start(going.about) for fold in folds], rows=[0])
    piece: list[Any] | None = None
    size = 0
    try:
        for batch in batches:
            view = maker.view(batch.rows + (part << PART_BITS), batch.records)
            states = piece if piece is not None else folded.states
            for some in view.alone():
                for number, fold in enumerate(folds):
                    if some.long:
                        give_back()  # what the check before took
                    states[number] = fold.observe(states[number], some)
            folded.rows[0] = batch.numbers
            folded.records += len(view)
            folded.unreadable += batch.unreadable
            size += view.texts.nbytes
            if size >= PIECE_BYTES:
                _join(folds, folded.states, piece)
                piece, size = [fold.start(going.about) for fold in folds], 0
            if view.texts.nbytes > LONG:
                turns.leave("source")
            del batch, view, some  # they may be large, as what is read next
    except SourceProblem:
        folded.broken = True
    _join(folds, folded.states, piece)
    return folded


def _join(folds: Sequence[Any], left: list[Any], right: list[Any] | None) -> None:
    if right is not None:
        left[:] = [f.merge(a, b) for f, a, b in zip(folds, left, right, strict=True)]


def merged(checks: Sequence[Chosen], left: Folded | None, right: Folded) -> Folded:
    """Join two neighbouring parts of one resource."""
    if left is None:
        return right
    _join([chosen.make() for chosen in checks], left.states, right.states)
    left.rows += right.rows
    left.records += right.records
    left.unreadable += right.unreadable
    left.broken = left.broken or right.broken
    left.end = right.end
    return left


def conclude(
    checks: Sequence[Chosen], folded: Sequence[Folded], files: PackageFiles | None = None
) -> Iterator[Conclusion]:
    """Yield what each check concludes over all resources."""
    offsets = {
        f.about.resource: np.cumsum([0, *f.rows[:-1]], dtype=np.int64) for f in folded if f.rows
    }
    places = Places(offsets, files)
    for number, chosen in enumerate(checks):
        states = [(f.about, f.states[number]) for f in folded]
        yield chosen.make().conclude(states, places)
