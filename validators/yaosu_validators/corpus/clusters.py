"""From what was kept of the records to clusters of duplicates, and what is said of them.

Records are numbered through all resources, in their order. Equal keys are found by sorting, range
of keys after range, so that memory does not grow with their number; clusters are a forest in one
array. Every result is in the order of the records, whatever the parts were.
"""

from __future__ import annotations

import bisect
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from yaosu_schemas.errors import Text
from yaosu_schemas.report import Metric
from yaosu_validators.check import Conclusion, Finding

from .labels import Disagreement, disagreement
from .shingles import I64, U64
from .view import About, Places

if TYPE_CHECKING:
    from .duplicates import Duplicates, Ledger

AT_ONCE = 4_000_000  # keys that are sorted in memory at a time
REPRESENTATIVES = 8  # records of one bucket that a later one is compared with
STANDARDS = {
    "own:dup_exact": "own",
    "gbt36344:0303": "GB/T 36344-2018",
    "iso5259:Con-ML-1": "ISO/IEC 5259-2:2024",
    "own:dup_near": "own",
}
_NAMES = ("", "train", "validation", "test")


class Forest:
    """Disjoint sets over n records; the root of a set is its first record."""

    def __init__(self, count: int) -> None:
        self.up = np.arange(count, dtype=np.int64)

    def root(self, record: int) -> int:
        up = self.up
        while up[record] != record:
            up[record] = up[up[record]]
            record = int(up[record])
        return record

    def join(self, left: int, right: int) -> None:
        a, b = self.root(left), self.root(right)
        if a != b:
            self.up[max(a, b)] = min(a, b)

    def roots(self) -> I64:
        """Return the root of every record: int64 (n,)."""
        up = self.up
        while True:
            further = up[up]
            if (further == up).all():
                return up
            up = self.up = further


@dataclass(slots=True)
class All:
    """The ledgers of all resources, with records numbered through."""

    states: Sequence[tuple[About, Ledger]]
    places: Places
    firsts: I64
    count: int
    _positions: I64 | None = None

    @classmethod
    def of(cls, states: Sequence[tuple[About, Ledger]], places: Places) -> All:
        counts = [ledger.count for _, ledger in states]
        firsts = np.concatenate(([0], np.cumsum(counts))).astype(np.int64)
        return cls(states, places, firsts, int(firsts[-1]))

    def column(self, name: str, band: int | None = None) -> Iterator[tuple[int, Any]]:
        """Yield (number of its first record, values) of one column, chunk after chunk."""
        at = 0
        for _, ledger in self.states:
            for values in ledger.column(name, band):
                yield at, values
                at += len(values)

    def whole(self, name: str) -> npt.NDArray[Any]:
        return np.concatenate([values for _, values in self.column(name)])

    def resource_of(self, records: I64) -> I64:
        return np.searchsorted(self.firsts, records, side="right") - 1

    def rows(self, records: I64) -> list[tuple[str, int]]:
        """Return (resource, row) of records."""
        if self._positions is None:
            self._positions = self.whole("positions")
        rows = np.zeros(len(records), np.int64)
        names = [about.resource for about, _ in self.states]
        which = self.resource_of(records)
        for n, name in enumerate(names):
            rows[which == n] = self.places.rows(name, self._positions[records[which == n]])
        return [(names[n], row) for n, row in zip(which, rows.tolist(), strict=True)]


def equal_keys(
    chunks: Callable[[], Iterator[tuple[int, U64]]], count: int, forest: Forest | None = None
) -> Iterator[I64]:
    """Yield the numbers of records that share a key, ascending, group after group.

    `chunks` gives (first number, keys) and may be asked several times; key 0 is no key. Groups that
    are one set of the forest already are left out.
    """
    ranges = max(1, -(-count // AT_ONCE))
    for part in range(ranges):
        keys, numbers = [], []
        for first, values in chunks():
            mine = values != 0
            if ranges > 1:
                mine &= values % np.uint64(ranges) == np.uint64(part)
            at = np.flatnonzero(mine)
            keys.append(values[at])
            numbers.append(at + first)
        if not keys:
            return
        key, number = np.concatenate(keys), np.concatenate(numbers)
        order = np.argsort(key, kind="stable")
        key, number = key[order], number[order]
        same = key[1:] == key[:-1]
        if not same.any():
            continue
        edges = np.flatnonzero(np.diff(np.concatenate(([False], same, [False])).astype(np.int8)))
        starts, stops = edges[::2], edges[1::2]
        if forest is not None:
            roots = forest.roots()[number]
            apart = np.concatenate(([0], np.cumsum(same & (roots[1:] != roots[:-1]))))
            several = apart[stops] > apart[starts]
            starts, stops = starts[several], stops[several]
        for start, stop in zip(starts.tolist(), stops.tolist(), strict=True):
            yield number[start : stop + 1]


# --- exact and near ----------------------------------------------------------------------------


def exact_roots(everything: All) -> I64:
    """Return the first record of the same content for every record: int64 (n,)."""
    forest = Forest(everything.count)
    second = np.concatenate([d[:, 1] for _, d in everything.column("digests")])
    for group in equal_keys(
        lambda: ((n, d[:, 0]) for n, d in everything.column("digests")), everything.count
    ):
        halves = second[group]
        if (halves == halves[0]).all():
            forest.up[group] = group[0]
            continue
        for half in np.unique(halves):  # 64 equal bits are not yet 128
            same = group[halves == half]
            forest.up[same] = same[0]
    return forest.roots()


@dataclass(slots=True)
class Bottoms:
    """The bottom hashes of all records, read where they lie, and the size of each set."""

    pieces: list[Callable[[int, int], npt.NDArray[np.uint32]]]
    firsts: list[int]  # number of the first value of each piece
    starts: I64  # (n + 1,) number of the first value of each record
    sizes: npt.NDArray[np.uint32]

    @classmethod
    def of(cls, everything: All) -> Bottoms:
        kept = everything.whole("ends").astype(np.int64)
        starts = np.concatenate(([0], np.cumsum(kept)))
        pieces = [piece for _, ledger in everything.states for piece in ledger.pieces("bottoms")]
        firsts = np.cumsum([0, *(count for count, _ in pieces)])[:-1].tolist()
        return cls([read for _, read in pieces], firsts, starts, everything.whole("sizes"))

    def values(self, record: int) -> npt.NDArray[np.uint32]:
        start, stop = int(self.starts[record]), int(self.starts[record + 1])
        if start == stop:
            return np.zeros(0, np.uint32)
        piece = bisect.bisect_right(self.firsts, start) - 1
        first = self.firsts[piece]
        return self.pieces[piece](start - first, stop - first)

    def similarity(self, left: int, right: int) -> float:
        """Return the Jaccard similarity: exact where both sets were kept whole."""
        a, b = self.values(left), self.values(right)
        if not len(a) or not len(b):
            return 0.0
        before = b.searchsorted(a)  # of each of a: how many of b are smaller
        shared = b.take(before, mode="clip") == a
        if len(a) == self.sizes[left] and len(b) == self.sizes[right]:
            both = int(np.count_nonzero(shared))
            return both / (len(a) + len(b) - both)
        least = min(len(a), len(b))  # of the union, by its smallest hashes
        at = np.flatnonzero(shared)
        rank = at + before[at] - np.arange(len(at))
        return int(np.count_nonzero(rank < least)) / least


def near_roots(everything: All, exact: I64, threshold: float, bands: int) -> I64:
    """Return the first record of the cluster of every record: int64 (n,)."""
    forest = Forest(everything.count)
    forest.up[:] = exact
    bottoms = Bottoms.of(everything)
    alone = exact == np.arange(everything.count)  # one of equal records stands for all
    comparable = alone & (bottoms.sizes > 0)
    known: set[int] = set()
    for band in range(bands):

        def keys(band: int = band) -> Iterator[tuple[int, U64]]:
            for first, values in everything.column("bands", band):
                yield first, np.where(comparable[first : first + len(values)], values, np.uint64(0))

        for group in equal_keys(keys, everything.count, forest):
            _join_bucket(group, forest, bottoms, threshold, known)
    return forest.roots()


def _join_bucket(
    group: I64, forest: Forest, bottoms: Bottoms, threshold: float, known: set[int]
) -> None:
    """Join what is near in one bucket; each record meets only so many others."""
    stand: list[int] = []  # also of one cluster: its members need not be near to each other
    for record in group.tolist():
        for other in stand:
            pair = other * len(forest.up) + record
            if forest.root(other) == forest.root(record) or pair in known:
                continue
            if bottoms.similarity(other, record) >= threshold:
                forest.join(other, record)
            else:
                known.add(pair)
        if len(stand) < REPRESENTATIVES:
            stand.append(record)


# --- what is said ------------------------------------------------------------------------------


def conclude(
    check: Duplicates, states: Sequence[tuple[About, Ledger]], places: Places
) -> Conclusion:
    """Return measures, findings and clusters over all resources."""
    from .duplicates import BANDS

    everything = All.of(states, places)
    count = everything.count
    if not count:
        return Conclusion(metrics=tuple(_share(*measure, 0, 0) for measure in STANDARDS.items()))
    exact = exact_roots(everything)
    near = near_roots(everything, exact, check.threshold, BANDS)
    splits = _splits(everything)
    leaked = _leaked(near, splits)
    tasks = _tasks(everything)
    distinct = int((exact == np.arange(count)).sum())
    apart = int((near == np.arange(count)).sum())
    held_out = int((splits >= 2).sum())
    metrics = [
        *(
            _share(id_, standard, count - distinct, count)
            for id_, standard in STANDARDS.items()
            if id_ != "own:dup_near"
        ),
        _share("own:dup_near", "own", count - apart, count),
        _share("own:prompt_conflict", "own", len(tasks.conflicts), tasks.asked),
    ]
    if held_out and (splits == 1).any():
        metrics.append(_share("own:split_leak", "own", len(leaked), held_out))
    noise, unlike = _label_noise(everything, near)
    if noise.items:
        metrics.append(
            _share("iso5259:Con-ML-2", "ISO/IEC 5259-2:2024", noise.agreeing, noise.items)
        )
    only_near = np.flatnonzero((near != np.arange(count)) & (exact == np.arange(count)))
    only_exact = np.flatnonzero(exact != np.arange(count))
    findings = [
        *_findings(check, everything, "duplicate-record", only_exact, exact),
        *_findings(check, everything, "near-duplicate", only_near, near),
        *_findings(check, everything, "split-leak", leaked, _partner(near, splits, leaked)),
        *_findings(check, everything, "prompt-conflict", tasks.conflicts, tasks.firsts),
        *_findings(check, everything, "label-conflict", unlike, near),
    ]
    return Conclusion(
        metrics=tuple(metrics),
        findings=tuple(findings),
        evidence={
            "method": {
                "threshold": check.threshold,
                "shingle": "5 characters (CJK), 5 words (others)",
                "bands": BANDS,
                "rows": 6,
                "compared": "bottom 256 hashes",
            },
            "exact": _clusters(check, everything, exact),
            "near": _clusters(check, everything, near),
            "between": _between(everything, near),
            "tasks": tasks.between,
        },
    )


def _share(id_: str, standard: str, above: int, below: int) -> Metric:
    return Metric(
        id=id_,
        standard=standard,
        value=above / below if below else None,
        numerator=above,
        denominator=below,
        n=below,
    )


def _findings(
    check: Duplicates, everything: All, kind: str, records: I64, others: I64
) -> Iterator[tuple[str, Finding]]:
    """Yield a finding for each record, naming the one it is like; so many of each resource."""
    which = everything.resource_of(records)
    chosen = np.concatenate(
        [records[which == n][: check.listed] for n in range(len(everything.states))]
        or [np.zeros(0, np.int64)]
    )
    here = everything.rows(chosen)
    there = everything.rows(others[chosen])
    for (name, row), (other, at) in zip(here, there, strict=True):
        where = f"row {at}" if other == name else f"row {at} of {other!r}"
        zh = f"第 {at} 行" if other == name else f"“{other}”第 {at} 行"
        yield (
            name,
            Finding(type=kind, note=Text(f"as in {where}", f"同{zh}"), row=row, severity="warning"),
        )


def _clusters(check: Duplicates, everything: All, roots: I64) -> dict[str, Any]:
    """Return how many clusters there are, and the members of the first."""
    order = np.argsort(roots, kind="stable")
    sorted_ = roots[order]
    starts = np.flatnonzero(np.concatenate(([True], sorted_[1:] != sorted_[:-1])))
    sizes = np.diff(np.concatenate((starts, [len(sorted_)])))
    large = np.flatnonzero(sizes > 1)
    listed = []
    for cluster in large[: check.listed]:
        members = order[starts[cluster] : starts[cluster] + sizes[cluster]]
        rows = everything.rows(members[:_MEMBERS])
        listed.append({"size": int(sizes[cluster]), "rows": [list(row) for row in rows]})
    return {
        "clusters": len(large),
        "records": int(sizes[large].sum()),
        "largest": int(sizes.max()) if len(sizes) else 0,
        "listed": listed,
        "members_listed": _MEMBERS,
    }


_MEMBERS = 50


def _between(everything: All, roots: I64) -> list[dict[str, Any]]:
    """Return for each pair of resources how many records of one have their like in the other."""
    names = [about.resource for about, _ in everything.states]
    if len(names) < 2:
        return []
    which = everything.resource_of(np.arange(everything.count))
    pairs = np.unique(np.stack([roots, which], 1), axis=0)
    found = []
    inside = [set(pairs[pairs[:, 1] == n, 0].tolist()) for n in range(len(names))]
    for a, left in enumerate(names):
        mine = roots[everything.firsts[a] : everything.firsts[a + 1]]
        for b, right in enumerate(names):
            shared = inside[a] & inside[b] if a != b else set()
            if shared:
                count = int(np.isin(mine, np.array(sorted(shared))).sum())
                found.append({"records_of": left, "in": right, "count": count,
                              "of": len(mine)})  # fmt: skip
    return found


def _label_noise(everything: All, roots: I64) -> tuple[Disagreement, I64]:
    """Return how far near records have one label, and those whose cluster has several."""
    labels = everything.whole("labels")
    labelled = np.flatnonzero(labels != 0)
    order = labelled[np.argsort(roots[labelled], kind="stable")]
    edges = np.flatnonzero(np.diff(roots[order])) + 1
    clusters = [c for c in np.split(order, edges) if len(c) > 1]
    found = disagreement(clusters, labels)
    unlike = [clusters[n][1:] for n in found.clusters]
    return found, np.concatenate(unlike) if unlike else np.zeros(0, np.int64)


# --- splits and tasks --------------------------------------------------------------------------


def _splits(everything: All) -> npt.NDArray[np.uint8]:
    """Return the split of each record: of its own, else of its resource (0: unknown)."""
    found = everything.whole("splits").copy() if everything.count else np.zeros(0, np.uint8)
    for n, (about, _) in enumerate(everything.states):
        part = found[everything.firsts[n] : everything.firsts[n + 1]]
        if about.split in _NAMES:
            part[part == 0] = _NAMES.index(about.split)
    return found


def _leaked(roots: I64, splits: npt.NDArray[np.uint8]) -> I64:
    """Return the records held out for a test whose like stands in the training split."""
    trained = np.zeros(len(roots), bool)
    trained[roots[splits == 1]] = True
    return np.flatnonzero((splits >= 2) & trained[roots])


def _partner(roots: I64, splits: npt.NDArray[np.uint8], leaked: I64) -> I64:
    """Return for each leaked record the first record of training like it: int64 (n,)."""
    first = np.full(len(roots), -1, np.int64)
    train = np.flatnonzero(splits == 1)[::-1]
    first[roots[train]] = train
    return first[roots]


@dataclass(slots=True)
class _Tasks:
    asked: int
    conflicts: I64
    firsts: I64
    between: list[dict[str, Any]]


def _tasks(everything: All) -> _Tasks:
    """Find what is asked more than once: answered differently, or in another resource too."""
    count = everything.count
    none = _Tasks(0, np.zeros(0, np.int64), np.zeros(0, np.int64), [])
    if not count:
        return none
    askers = []
    at = 0
    for _, ledger in everything.states:
        for who, positions in zip(ledger.column("askers"), ledger.column("positions"), strict=True):
            askers.append(who.astype(np.int64) + at)
            at += len(positions)
    who = np.concatenate(askers)
    answers = everything.whole("answers")
    firsts = np.full(count, -1, np.int64)
    conflict = np.zeros(count, bool)
    which = everything.resource_of(np.arange(count))
    names = [about.resource for about, _ in everything.states]
    shared = np.zeros((len(names), count), bool)
    for group in equal_keys(lambda: everything.column("tasks"), len(who)):
        records = np.unique(who[group])
        if len(records) < 2:
            continue
        here = which[records]
        for resource in np.unique(here):
            mine = records[here == resource]
            said = answers[mine]
            if len(mine) > 1 and (said != said[0]).any():
                conflict[mine] = True
                firsts[mine] = np.where(firsts[mine] < 0, mine[0], firsts[mine])
                firsts[mine[0]] = mine[np.flatnonzero(said != said[0])[0]]
            shared[resource, records[here != resource]] = True
    between = [
        {"records_of": names[a], "in": names[b], "count": int(shared[b, which == a].sum()),
         "of": int((which == a).sum())}
        for a in range(len(names)) for b in range(len(names))
        if a != b and shared[b, which == a].any()
    ]  # fmt: skip
    return _Tasks(len(np.unique(who)), np.flatnonzero(conflict), firsts, between)
