"""The one view that all checks of a corpus share: segments of text in the order of the records.

A record becomes a run of segments. Each segment has a role (what the text is for), a field (the
path it stood at) and, in conversations, the number of its turn. Arrays are flat, so that a check
can look at a whole batch at once.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Hashable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import IntEnum
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

if TYPE_CHECKING:
    from yaosu_validators.filecheck import PackageFiles

Ints = npt.NDArray[np.int64]
T = TypeVar("T")
LONG = 4 << 20  # bytes of the texts of a record that is looked at alone, and in pieces


class Role(IntEnum):
    """What a segment of text is for."""

    CELL = 0  # any other value: looked at for personal information, no text of the corpus
    TEXT = 1
    SYSTEM = 2
    PROMPT = 3
    INPUT = 4
    ANSWER = 5
    CHOSEN = 6
    REJECTED = 7
    TOOL = 8  # a call made by the assistant
    OBSERVATION = 9  # what a tool gave back
    TOOLS = 10  # the declaration of tools
    CAPTION = 11


ANSWERS = (Role.ANSWER, Role.CHOSEN, Role.REJECTED)
PROMPTS = (Role.PROMPT, Role.INPUT)


@dataclass(frozen=True, slots=True)
class About:
    """What is known of a resource before its first record."""

    resource: str
    shape: str = "table"  # one of shapes.SHAPES
    split: str = ""  # train, validation, test, or unknown
    languages: tuple[str, ...] = ()  # declared, BCP 47
    fields: tuple[tuple[str, str], ...] = ()  # field path and the name of its role
    required: tuple[str, ...] = ()  # columns that the schema wants filled

    @property
    def text(self) -> bool:
        """Say whether the records hold text that someone could train on."""
        return any(role != "cell" for _, role in self.fields)


@dataclass(slots=True)
class View:
    """One batch: n records with s segments; record i owns `starts[i]:starts[i + 1]`."""

    positions: Ints  # (n,) opaque, ordered; `Places` turns them into row numbers at the end
    starts: Ints  # (n + 1,)
    texts: pa.LargeStringArray  # (s,) without nulls
    roles: npt.NDArray[np.uint8]  # (s,)
    fields: npt.NDArray[np.int32]  # (s,) index into names
    turns: npt.NDArray[np.int32]  # (s,) number of the turn in its conversation, -1 outside of one
    names: Sequence[str]
    ids: pa.Array | None = None  # (n,) text
    splits: pa.Array | None = None  # (n,) text
    labels: Mapping[str, pa.Array] = field(default_factory=dict)  # (n,) text, or lists of text
    id_name: str = ""
    raw: Sequence[Any] | pa.RecordBatch = ()
    mended: int = 0  # texts with lone surrogates, which became U+FFFD
    _made: dict[Any, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.positions)

    def of(self, roles: Collection[int]) -> npt.NDArray[np.bool_]:
        """Return which segments have one of these roles: bool (s,)."""
        wanted = np.zeros(256, bool)
        wanted[list(roles)] = True
        return wanted[self.roles]

    def owners(self) -> Ints:
        """Return the record of each segment: int64 (s,), positions in this batch."""
        return np.repeat(np.arange(len(self), dtype=np.int64), np.diff(self.starts))

    def bodies(self) -> pa.LargeStringArray:
        """Return the text of each record, its parts joined by a line feed: (n,)."""
        return self.once("bodies", lambda: self.joined(self.roles != Role.CELL))

    def once(self, name: Hashable, make: Callable[[], T]) -> T:
        """Return what `make` gives: made for the first check that asks, kept for the others."""
        if name not in self._made:
            self._made[name] = make()
        found: T = self._made[name]
        return found

    def joined(self, mask: npt.NDArray[np.bool_]) -> pa.LargeStringArray:
        """Return the chosen segments of each record joined by a line feed: (n,)."""
        if self.long and np.count_nonzero(mask) == 1:
            return self.texts.slice(int(mask.argmax()), 1)
        counts = np.zeros(len(self) + 1, np.int64)
        np.add.at(counts, self.owners()[mask] + 1, 1)
        if int(counts.sum()) == len(self) and (counts[1:] == 1).all():
            return self.texts if mask.all() else self.texts.filter(pa.array(mask))
        chosen = self.texts if mask.all() else self.texts.filter(pa.array(mask))
        lists = pa.LargeListArray.from_arrays(pa.array(np.cumsum(counts)), chosen)
        import pyarrow.compute as pc

        return pc.binary_join(lists, pa.scalar("\n", pa.large_string()))

    def alone(self) -> Iterator[View]:
        """Yield this view in parts: each record of more than LONG bytes stands alone."""
        if self.texts.nbytes <= LONG or len(self) <= 1:
            yield self
            return
        _, offsets, _ = self.texts.buffers()
        ends = np.frombuffer(offsets, np.int64)[self.texts.offset :].take(self.starts)
        long = np.flatnonzero(np.diff(ends) > LONG)
        bounds = np.unique(np.concatenate(([0, len(self)], long, long + 1))).tolist()
        for first, stop in zip(bounds, bounds[1:], strict=False):
            yield self.part(first, stop)

    def part(self, first: int, stop: int) -> View:
        """Return the view of some neighbouring records."""
        low, high = int(self.starts[first]), int(self.starts[stop])
        count, raw = stop - first, self.raw
        columnar = isinstance(raw, pa.RecordBatch)
        return View(
            positions=self.positions[first:stop],
            starts=self.starts[first : stop + 1] - low,
            texts=self.texts.slice(low, high - low),
            roles=self.roles[low:high],
            fields=self.fields[low:high],
            turns=self.turns[low:high],
            names=self.names,
            id_name=self.id_name,
            raw=raw.slice(first, count) if columnar else raw[first:stop],  # type: ignore[union-attr]
            mended=0 if first else self.mended,
            ids=None if self.ids is None else self.ids.slice(first, count),
            splits=None if self.splits is None else self.splits.slice(first, count),
            labels={name: column.slice(first, count) for name, column in self.labels.items()},
        )

    @property
    def long(self) -> bool:
        """Say whether this is one record of more than LONG bytes."""
        return len(self) == 1 and self.texts.nbytes > LONG

    def only(self, mask: npt.NDArray[np.bool_]) -> View:
        """Return the view of one record with the chosen segments alone."""
        at = np.flatnonzero(mask)
        first, count = int(at[0]) if len(at) else 0, len(at)
        if count and int(at[-1]) - first + 1 == count:
            texts = self.texts.slice(first, count)  # which may be long: it is not copied
        else:
            texts = self.texts.take(pa.array(at))
        starts = np.array([0, count], np.int64)
        return replace(self, starts=starts, texts=texts, roles=self.roles[mask],
                       fields=self.fields[mask], turns=self.turns[mask], _made={})  # fmt: skip


@dataclass(frozen=True, slots=True)
class Places:
    """Where records lie: a position is a part and a row in it, and parts follow each other."""

    offsets: Mapping[str, Ints]  # resource to the number of rows before each of its parts
    files: PackageFiles | None = None  # all files of the target, where they are known

    def rows(self, resource: str, positions: Ints) -> Ints:
        """Return row numbers as reports count them (from 1, header included): int64, same shape."""
        positions = np.asarray(positions, np.int64)
        before: Ints = self.offsets[resource][positions >> PART_BITS]
        return before + (positions & ROW_MASK)


PART_BITS = 40
ROW_MASK = (1 << PART_BITS) - 1
