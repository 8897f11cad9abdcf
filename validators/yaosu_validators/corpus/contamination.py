"""Which items of a benchmark stand in a corpus, by hashes alone.

A token is a word in lower case (letters, digits, `_`) or one CJK character. An item is its prompt
and input, or its text where nothing is asked. It is found

by 13 tokens   if a run of 13 of its tokens stands in a record (Brown et al. 2020, appendix C)
whole          if all its tokens stand there in one run; items of fewer than eight tokens only if
               they are a whole segment, because a short phrase proves nothing inside a long text

An index of a benchmark holds hashes of 64 bits and no text.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from yaosu_schemas.errors import InvalidInput, Text
from yaosu_schemas.report import Metric
from yaosu_validators.check import Conclusion, Finding, check
from yaosu_validators.resources import from_path
from yaosu_validators.sources import OpenFile
from yaosu_validators.streams import SourceProblem

from . import pieces
from .reading import table_batches
from .shapes import ASKING, Mapped, mapping_of
from .shingles import I64, U64, blocks, clean_of, mixed, normalised, tokens
from .view import PROMPTS, About, Places, Role, View
from .views import ViewMaker

GRAM = 13
LEAST = 8  # tokens of an item that is looked for inside of longer texts
ROWS_LISTED = 20  # rows of one item
FORMAT = "yaosu-benchmark-index/1"
_STEPS = mixed(np.arange(1000, 1000 + GRAM, dtype=np.uint64)) | np.uint64(1)
_FILTER_BITS = 22


@dataclass(frozen=True, slots=True)
class Index:
    """The items of one benchmark: their lengths, and the hashes of their runs in order."""

    name: str
    lengths: npt.NDArray[np.int32]  # (items,) tokens
    starts: I64  # (items + 1,) into runs
    runs: U64  # of each item: its 13-grams in order, or the one hash of all its tokens

    @property
    def items(self) -> int:
        return len(self.lengths)

    @property
    def sha256(self) -> str:
        """Return the digest of what is looked for, in hex."""
        found = hashlib.sha256(self.lengths.astype("<i4").tobytes())
        found.update(self.runs.astype("<u8").tobytes())
        return found.hexdigest()

    def save(self, path: Path) -> None:
        """Write the index as an Arrow file that holds no text."""
        lists = pa.LargeListArray.from_arrays(pa.array(self.starts), pa.array(self.runs))
        table = pa.table({"tokens": pa.array(self.lengths), "runs": lists}).replace_schema_metadata(
            {"format": FORMAT, "name": self.name}
        )
        with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, table.schema) as writer:
            writer.write_table(table.combine_chunks())

    @classmethod
    def load(cls, path: Path) -> Index:
        """Read an index; InvalidInput for anything else."""
        try:
            with pa.OSFile(str(path), "rb") as file:
                table = pa.ipc.open_file(file).read_all().combine_chunks()
            about = {k.decode(): v.decode() for k, v in (table.schema.metadata or {}).items()}
            if about.get("format") != FORMAT:
                raise ValueError("no benchmark index")
            lists = table.column("runs").combine_chunks()
            return cls(
                about["name"][:100],
                table.column("tokens").to_numpy().astype(np.int32),
                lists.offsets.to_numpy().astype(np.int64),
                lists.values.to_numpy().astype(np.uint64),
            )
        except (pa.ArrowException, ValueError, KeyError, OSError) as why:
            raise InvalidInput(
                f"{path.name} is no index of a benchmark: {type(why).__name__}",
                f"{path.name} 不是评测集索引",
                field="benchmarks",
            ) from None


def index_of(path: Path, name: str = "") -> Index:
    """Return the index of a benchmark in any format that is read; an index is taken as it is."""
    with path.open("rb") as file:
        if file.read(6) == b"ARROW1" and path.suffix == ".bmx":
            return Index.load(path)
    resource = from_path(path.parent, path.name)
    maker: ViewMaker | None = None
    found: list[pa.LargeStringArray] = []
    try:
        with OpenFile(resource) as opened:
            for batch in table_batches(opened):
                if maker is None:
                    records = batch.records
                    if isinstance(records, pa.RecordBatch):
                        records = records.slice(0, 200).to_pylist()
                    maker = ViewMaker(_asking(records))
                found.append(_asked(maker.view(batch.rows, batch.records)))
    except SourceProblem as why:
        raise InvalidInput(
            f"{path.name}: {why.finding.note.en}", f"{path.name}：{why.finding.note.zh}",
            field="benchmarks",
        ) from None  # fmt: skip
    return _indexed(name or path.name.split(".")[0], found)


def _asking(records: Sequence[Any]) -> Mapped:
    """Return how the items of a benchmark are read: where nothing else tells, by what is asked.

    A file of questions alone has no shape of a corpus: its items are a field that is named like a
    question, or the only field of text that there is.
    """
    found = mapping_of(records)
    if any(role != Role.CELL for role in found.roles.values()):
        return found
    rows = [record for record in records if isinstance(record, Mapping)]
    texts = {str(k): None for record in rows for k, v in record.items() if isinstance(v, str)}
    asked = [name for name in texts if name.lower() in ASKING] or list(texts)
    return mapping_of(records, {"roles": {asked[0]: "prompt"}}) if len(asked) == 1 else found


def _asked(view: View) -> pa.LargeStringArray:
    """Return what each item asks, or its whole text."""
    asked = view.of(PROMPTS)
    nothing = np.bincount(view.owners()[asked], minlength=len(view)) == 0
    rest = nothing[view.owners()] & (view.roles != Role.CELL)
    return view.joined(asked | rest)


def _indexed(name: str, texts: list[pa.LargeStringArray]) -> Index:
    lengths: list[npt.NDArray[np.int64]] = []
    runs: list[U64] = []
    counts: list[npt.NDArray[np.int64]] = []
    for some in texts:
        hashes, owners = tokens(normalised(some))
        sizes = np.bincount(owners, minlength=len(some))
        lengths.append(sizes)
        hits = {n: h for n, h, _ in windows(hashes, owners)}
        whole = _all_tokens(hashes, owners, len(some))
        for item in range(len(some)):
            if sizes[item] >= GRAM:
                first = int(np.searchsorted(owners, item))
                runs.append(hits[GRAM][first : first + sizes[item] - GRAM + 1])
            else:
                runs.append(whole[item : item + 1] if sizes[item] else whole[:0])
            counts.append(np.array([len(runs[-1])]))
    ends = np.concatenate(([0], np.cumsum(np.concatenate(counts)))) if counts else np.zeros(1)
    return Index(
        name,
        np.concatenate(lengths).astype(np.int32) if lengths else np.zeros(0, np.int32),
        ends.astype(np.int64),
        np.concatenate(runs) if runs else np.zeros(0, np.uint64),
    )


def windows(
    hashes: U64, owners: I64, wanted: Collection[int] = range(LEAST, GRAM + 1)
) -> Iterator[tuple[int, U64, npt.NDArray[np.bool_]]]:
    """Yield for each wanted length from LEAST to GRAM: the hash of the run from every token on.

    The mask says which runs lie within one text; the others are there to keep places simple.
    """
    count = len(hashes)
    total = np.zeros(count, np.uint64)
    with np.errstate(over="ignore"):
        for step in range(GRAM):
            if step < count:
                total[: count - step] += hashes[step:] * _STEPS[step]
            length = step + 1
            if length < LEAST:
                continue
            inside = np.zeros(count, bool)
            if step < count:
                inside[: count - step] = owners[step:] == owners[: count - step]
            yield length, mixed(total + np.uint64(length)), inside


def _all_tokens(hashes: U64, owners: I64, count: int) -> U64:
    """Return the hash of all tokens of each text of at most GRAM - 1 of them: (count,)."""
    sizes = np.bincount(owners, minlength=count)
    firsts = np.concatenate(([0], np.cumsum(sizes)))[:-1]
    place = np.arange(len(hashes)) - np.repeat(firsts, sizes)
    with np.errstate(over="ignore"):
        turned = hashes * _STEPS[np.minimum(place, GRAM - 1)]
        sums = np.zeros(count, np.uint64)
        np.add.at(sums, owners, turned)
        return mixed(sums + sizes.astype(np.uint64))


@functools.lru_cache(maxsize=4)
def _sought(paths: tuple[str, ...]) -> _Sought:
    """Return what is looked for in all benchmarks; it is made once in each process."""
    return _Sought.of([index_of(Path(path)) for path in paths])


@dataclass(slots=True)
class _Sought:
    """All runs of all benchmarks, sorted, with the items that they belong to."""

    indexes: list[Index]
    keys: U64
    items: I64  # (keys,) number of an item, counted through all benchmarks
    places: I64  # (keys,) which run of its item it is
    table: npt.NDArray[np.uint8]  # one bit for each range of keys
    lengths: npt.NDArray[np.int32]  # (items,) tokens
    wanted: tuple[int, ...]  # lengths of the runs that stand among the keys
    whole: dict[int, list[int]]  # hash of all tokens to short items

    @classmethod
    def of(cls, indexes: list[Index]) -> _Sought:
        keys, items, places = [], [], []
        whole: dict[int, list[int]] = {}
        first = 0
        for index in indexes:
            sizes = np.diff(index.starts)
            owner = np.repeat(np.arange(index.items), sizes)
            place = np.arange(len(index.runs)) - index.starts[owner]
            long = index.lengths[owner] >= LEAST
            keys.append(index.runs[long])
            items.append(owner[long] + first)
            places.append(place[long])
            for item in np.flatnonzero((index.lengths > 0) & (index.lengths < GRAM)).tolist():
                alone = int(index.runs[index.starts[item]])
                whole.setdefault(alone, []).append(item + first)
            first += index.items
        key = np.concatenate(keys) if keys else np.zeros(0, np.uint64)
        order = np.argsort(key, kind="stable")
        filled = np.zeros(1 << _FILTER_BITS, bool)
        filled[(key >> np.uint64(64 - _FILTER_BITS)).astype(np.int64)] = True
        lengths = np.concatenate([index.lengths for index in indexes])
        wanted = np.unique(np.minimum(lengths[lengths >= LEAST], GRAM)).tolist()
        return cls(
            indexes, key[order], np.concatenate(items)[order], np.concatenate(places)[order],
            np.packbits(filled, bitorder="little"), lengths, tuple(wanted), whole,
        )  # fmt: skip

    def hits(self, hashes: U64) -> tuple[I64, I64]:
        """Return (place in hashes, place in keys) of every hash that is sought."""
        eighths = self.table.take((hashes >> np.uint64(67 - _FILTER_BITS)).view(np.int64))
        bits = (hashes >> np.uint64(64 - _FILTER_BITS)).astype(np.uint8) & np.uint8(7)
        maybe = np.flatnonzero((eighths >> bits) & np.uint8(1))
        left = np.searchsorted(self.keys, hashes[maybe], "left")
        right = np.searchsorted(self.keys, hashes[maybe], "right")
        found = right > left
        maybe, left, counts = maybe[found], left[found], (right - left)[found]
        at = np.repeat(maybe, counts)
        within = np.arange(len(at)) - np.repeat(np.cumsum(counts) - counts, counts)
        return at, np.repeat(left, counts) + within


@dataclass(slots=True)
class Hits:
    """What was found in one resource: for each item counts and its first rows."""

    records: int = 0
    hit: dict[int, int] = field(default_factory=dict)  # benchmark to records with any hit
    shared: dict[int, list[int]] = field(default_factory=dict)  # item to [count, rows …]
    whole: dict[int, list[int]] = field(default_factory=dict)


@check("corpus.contamination", "1")
@dataclass(frozen=True, slots=True, kw_only=True)
class Contamination:
    """No record holds an item of a benchmark that the model will be judged by."""

    benchmarks: tuple[str, ...] | list[str] = ()  # files of benchmarks, or indexes of them
    listed: int = 1000
    sees: ClassVar = "records"

    def _all(self) -> _Sought:
        given = (self.benchmarks,) if isinstance(self.benchmarks, str) else self.benchmarks
        for path in given:
            if not Path(path).is_file():
                raise InvalidInput(
                    f"there is no benchmark file {Path(path).name!r}",
                    f"没有评测集文件“{Path(path).name}”",
                    field="benchmarks",
                )
        return _sought(tuple(str(path) for path in given))

    def method(self) -> dict[str, Any]:
        """Return what the conclusion rests on: benchmarks by name and digest, not by place."""
        if not self.benchmarks:
            return {}
        return {"benchmarks": [{"name": x.name, "sha256": x.sha256} for x in self._all().indexes]}

    def start(self, about: About) -> Hits:
        return Hits()

    def observe(self, state: Hits, view: View) -> Hits:
        state.records += len(view)
        if not self.benchmarks or not len(view):
            return state
        sought = self._all()
        texts = view.roles != Role.CELL
        mask = pa.array(texts)
        segments = view.texts.filter(mask) if view.long else clean_of(view).filter(mask)
        owner_of = view.owners()[texts]
        shared, whole = [], []
        for first, some in blocks(segments):
            if view.long and some.nbytes > pieces.PIECE:
                parts, all_ = _found_in_pieces(sought, pieces.tokens(pieces.clean(some)))
            else:
                clean = normalised(some) if view.long else some
                parts, all_ = _found(sought, *tokens(clean), len(some))
            shared += [(item, segment + first) for item, segment in parts]
            whole += [(item, segment + first) for item, segment in all_]
        _note(state.shared, view, owner_of, shared)
        _note(state.whole, view, owner_of, whole)
        which = _benchmark_of(sought, np.array([i for i, _ in shared], np.int64))
        pairs = {(int(b), int(owner_of[s])) for b, (_, s) in zip(which, shared, strict=True)}
        for benchmark, _ in pairs:
            state.hit[benchmark] = state.hit.get(benchmark, 0) + 1
        return state

    def merge(self, left: Hits, right: Hits) -> Hits:
        left.records += right.records
        for benchmark, count in right.hit.items():
            left.hit[benchmark] = left.hit.get(benchmark, 0) + count
        for mine, other in ((left.shared, right.shared), (left.whole, right.whole)):
            for item, found in other.items():
                have = mine.setdefault(item, [0])
                have[0] += found[0]
                have += found[1 : 1 + ROWS_LISTED - (len(have) - 1)]
        return left

    def conclude(self, states: Sequence[tuple[About, Hits]], places: Places) -> Conclusion:
        if not self.benchmarks:
            return Conclusion(evidence={"benchmarks": []})
        sought = self._all()
        metrics: list[Metric] = []
        told: list[dict[str, Any]] = []
        findings: list[tuple[str, Finding]] = []
        first = 0
        records = sum(s.records for _, s in states)
        for number, index in enumerate(sought.indexes):
            hit = sum(s.hit.get(number, 0) for _, s in states)
            items = range(first, first + index.items)
            shared = [i for i in items if any(i in s.shared for _, s in states)]
            whole = [i for i in items if any(i in s.whole for _, s in states)]
            metrics += [
                _share("own:contamination", hit, records),
                _share("own:benchmark_found", len(shared), index.items),
                _share("own:benchmark_whole", len(whole), index.items),
            ]
            found = [self._item(i - first, i, states, places) for i in shared[: self.listed]]
            told.append(
                {"name": index.name, "items": index.items, "found_by_13": len(shared),
                 "found_whole": len(whole), "records": hit, "listed": found,
                 "too_short": int((index.lengths < LEAST).sum())}
            )  # fmt: skip
            findings += self._findings(index, found)
            first += index.items
        return Conclusion(
            metrics=tuple(metrics),
            findings=tuple(findings),
            evidence={"gram": GRAM, "benchmarks": told},
        )

    def _item(
        self, number: int, item: int, states: Sequence[tuple[About, Hits]], places: Places
    ) -> dict[str, Any]:
        rows = []
        for about, state in states:
            at = np.array(state.shared.get(item, [0])[1:], np.int64)
            rows += [[about.resource, row] for row in places.rows(about.resource, at).tolist()]
        return {
            "item": number + 1,
            "records": sum(s.shared.get(item, [0])[0] for _, s in states),
            "whole": sum(s.whole.get(item, [0])[0] for _, s in states),
            "rows": rows[:ROWS_LISTED],
        }

    def _findings(
        self, index: Index, found: Sequence[dict[str, Any]]
    ) -> Iterator[tuple[str, Finding]]:
        for item in found:
            whole = item["whole"] > 0
            en = "holds the whole of" if whole else f"shares {GRAM} tokens with"
            zh = "完整包含" if whole else f"与以下条目有 {GRAM} 个连续词相同："
            for resource, row in item["rows"]:
                note = Text(
                    f"{en} item {item['item']} of {index.name!r}",
                    f"{zh}“{index.name}”第 {item['item']} 条",
                )
                yield (
                    resource,
                    Finding(type="benchmark-item", note=note, row=row, severity="warning"),
                )


def _share(id_: str, above: int, below: int) -> Metric:
    return Metric(
        id=id_, standard="own", value=above / below if below else None, numerator=above,
        denominator=below, n=below, basis="market",
    )  # fmt: skip


def _found(
    sought: _Sought, hashes: U64, owners: I64, segments: int
) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """Return (item, segment) pairs: those that share a run, and those that hold all of an item."""
    lengths = sought.lengths
    shared: set[tuple[int, int]] = set()
    whole: set[tuple[int, int]] = set()
    for length, at, key, item in _hits(sought, hashes, owners):
        pairs = list(zip(item.tolist(), owners[at].tolist(), strict=True))
        shared |= set(pairs)
        if length < GRAM:
            whole |= set(pairs)
            continue
        # All of an item: as many hits in a row as it has runs, on one diagonal.
        diagonal = at - sought.places[key]
        order = np.lexsort((diagonal, item))
        same = (item[order][1:] == item[order][:-1]) & (diagonal[order][1:] == diagonal[order][:-1])
        edges = np.concatenate(([0], np.flatnonzero(~same) + 1, [len(order)]))
        for a, b in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
            if b > a and b - a == lengths[item[order[a]]] - GRAM + 1:
                whole.add((int(item[order[a]]), int(owners[at[order[a]]])))
    if sought.whole:
        alone = _all_tokens(hashes, owners, segments)
        sizes = np.bincount(owners, minlength=segments)
        for segment in np.flatnonzero((sizes > 0) & (sizes < GRAM)).tolist():
            for item_ in sought.whole.get(int(alone[segment]), ()):
                shared.add((item_, segment))
                whole.add((item_, segment))
    return sorted(shared), sorted(whole)


def _hits(sought: _Sought, hashes: U64, owners: I64) -> Iterator[tuple[int, I64, I64, I64]]:
    """Yield of each wanted length the hits: their first tokens, keys and items."""
    lengths = sought.lengths
    for length, runs, inside in windows(hashes, owners, sought.wanted):
        at, key = sought.hits(runs)
        item = sought.items[key]
        good = inside[at] & (
            (lengths[item] == length) | ((length == GRAM) & (lengths[item] > GRAM))
        )
        yield length, at[good], key[good], item[good]


def _found_in_pieces(
    sought: _Sought, hashes: Iterable[U64]
) -> tuple[list[tuple[int, int]], list[tuple[int, int]]]:
    """Return what `_found` does of one segment whose tokens come in pieces."""
    shared: set[int] = set()
    whole: set[int] = set()
    held = np.zeros(0, np.uint64)
    open_ = np.zeros((2, 0), np.int64)  # item and diagonal of each hit whose item may go on
    before = total = 0  # tokens before those that are held, and of all
    for more in hashes:
        held = np.concatenate((held, more))
        total += len(more)
        for length, at, key, item in _hits(sought, held, np.zeros(len(held), np.int64)):
            shared.update(item.tolist())
            if length < GRAM:
                whole.update(item.tolist())
                continue
            diagonals = at + before - sought.places[key]
            open_ = np.concatenate((open_, np.stack((item, diagonals))), axis=1)
        before += max(len(held) - GRAM + 1, 0)
        held = held[1 - GRAM :]
        runs, times = np.unique(open_, axis=1, return_counts=True)
        sizes = sought.lengths[runs[0]] - GRAM + 1
        whole.update(runs[0][times == sizes].tolist())
        open_ = open_[:, open_[1] + sought.lengths[open_[0]] - GRAM + 1 > before]
    if sought.whole and 0 < total < GRAM:
        alone = sought.whole.get(int(_all_tokens(held, np.zeros(total, np.int64), 1)[0]), ())
        shared.update(alone)
        whole.update(alone)
    return [(item, 0) for item in sorted(shared)], [(item, 0) for item in sorted(whole)]


def _note(
    kept: dict[int, list[int]], view: View, owner_of: I64, found: Sequence[tuple[int, int]]
) -> None:
    for item, record in sorted({(item, int(owner_of[segment])) for item, segment in found}):
        have = kept.setdefault(item, [0])
        have[0] += 1
        if len(have) <= ROWS_LISTED:
            have.append(int(view.positions[record]))


def _benchmark_of(sought: _Sought, items: I64) -> I64:
    ends = np.cumsum([index.items for index in sought.indexes])
    return np.searchsorted(ends, items, side="right")
