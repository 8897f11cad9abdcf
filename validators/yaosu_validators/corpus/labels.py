"""Labels: how they are spread, which are rare, and whether several annotators agree.

Counts are exact integers. A field with more different values than `classes` is no label field but
free text, and told as such. Names of classes appear in the evidence only where there are few and
all are short; otherwise there are only their numbers.

Annotations of several people are known by their form: columns `annotator…`, `rater…`, `label_1`,
`label_2` beside each other (one annotator each), or a list of one label each in a field of one of
the names in LISTS. Any other list is a set of labels of one record.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, ClassVar

import numpy as np
import numpy.typing as npt
import pyarrow as pa

from yaosu_schemas.errors import Text
from yaosu_schemas.report import Metric
from yaosu_validators.check import Conclusion, Finding, check

from .personal_names import shown
from .view import About, Ints, Places, View

LISTS = ("annotations", "annotators", "annotator_labels", "raters", "ratings", "votes", "标注")
COLUMNS = re.compile(r"(?:annotator|rater|标注员).*|label_(?:\d+|[a-z])", re.IGNORECASE)
_SHORT = 64


@dataclass(slots=True)
class Spread:
    """How often each label of one field occurs; None once there are too many to be labels."""

    counts: Counter[str] | None = field(default_factory=Counter)
    records: int = 0
    labelled: int = 0
    listed: bool = False

    def add(self, values: Mapping[str, int], records: int, labelled: int, most: int) -> None:
        self.records += records
        self.labelled += labelled
        if self.counts is not None:
            self.counts.update(values)
            if len(self.counts) > most:
                self.counts = None

    def merge(self, other: Spread, most: int) -> None:
        self.listed = self.listed or other.listed
        self.add(other.counts or {}, other.records, other.labelled, most)
        if other.counts is None:
            self.counts = None


@dataclass(slots=True)
class Agreement:
    """Sums over all records with at least two annotations, from which the coefficients follow."""

    disagreeing: Counter[int] = field(default_factory=Counter)  # ordered pairs, by annotations
    values: Counter[str] = field(default_factory=Counter)  # annotations by label
    pairs: Counter[str] = field(default_factory=Counter)  # first and second of two annotators
    both: int = 0
    same: int = 0
    records: int = 0
    conflicting: int = 0

    def add(self, labels: Sequence[str], two: tuple[str | None, str | None] | None) -> None:
        """Add one record; `two` is set where exactly two annotators label everything."""
        if len(labels) < 2:
            return
        tally = Counter(labels)
        pairs = sum(n * (len(labels) - n) for n in tally.values())
        self.records += 1
        self.conflicting += len(tally) > 1
        self.disagreeing[len(labels)] += pairs
        self.values.update(tally)
        if two is not None and two[0] is not None and two[1] is not None:
            self.both += 1
            self.same += two[0] == two[1]
            self.pairs.update(("a" + two[0], "b" + two[1]))

    def merge(self, other: Agreement) -> None:
        for name in ("disagreeing", "values", "pairs"):
            getattr(self, name).update(getattr(other, name))
        for name in ("both", "same", "records", "conflicting"):
            setattr(self, name, getattr(self, name) + getattr(other, name))

    def alpha(self) -> float | None:
        """Return Krippendorff's alpha for nominal data; None where one value is all there is."""
        n = sum(self.values.values())
        expected = n * n - sum(v * v for v in self.values.values())
        if not expected:
            return None
        observed = sum((Fraction(d, m - 1) for m, d in self.disagreeing.items()), Fraction(0))
        return float(1 - (n - 1) * observed / expected)

    def kappa(self) -> float | None:
        """Return Cohen's kappa of two annotators; None where chance alone explains all."""
        if not self.both:
            return None
        chance = sum(n * self.pairs["b" + k[1:]] for k, n in self.pairs.items() if k[0] == "a")
        expected, observed = Fraction(chance, self.both**2), Fraction(self.same, self.both)
        return None if expected == 1 else float((observed - expected) / (1 - expected))


@dataclass(slots=True)
class LabelState:
    """The labels of one resource."""

    fields: dict[str, Spread] = field(default_factory=dict)
    agreements: dict[str, Agreement] = field(default_factory=dict)
    places: list[int] = field(default_factory=list)  # records without any label
    missing: int = 0


@check("corpus.labels", "1")
@dataclass(frozen=True, slots=True, kw_only=True)
class Labels:
    """Every record has its label, no class is left to chance, and annotators agree."""

    classes: int = 10_000  # more different values than these are no labels
    named: int = 100  # classes whose names appear in the evidence, if all are short
    rare: int = 10  # a class with fewer records is rare
    listed: int = 1000
    annotations: tuple[str, ...] = ()  # list fields that hold one label of each annotator
    sees: ClassVar = "records"

    def start(self, about: About) -> LabelState:
        return LabelState()

    def observe(self, state: LabelState, view: View) -> LabelState:
        columns = [n for n in view.labels if COLUMNS.fullmatch(n) and not _is_list(view, n)]
        bare = np.ones(len(view), bool)
        for name in sorted(view.labels):
            values = view.labels[name]
            spread = state.fields.setdefault(name, Spread())
            if _is_list(view, name):
                spread.listed = True
                has = self._lists(state, name, values, spread)
            else:
                keys = values.dictionary_encode()
                has = _filled(keys)
                spread.add(_tally(keys), len(values), int(has.sum()), self.classes)
            bare &= ~has
        if len(columns) >= 2:
            told = state.agreements.setdefault(" ".join(sorted(columns)), Agreement())
            rows = zip(*(view.labels[n].to_pylist() for n in sorted(columns)), strict=True)
            for row in rows:
                keys = [_key(value) for value in row if value]
                two = tuple(_key(v) if v else None for v in row) if len(row) == 2 else None
                told.add(keys, two)  # type: ignore[arg-type]
        if view.labels:
            state.missing += int(bare.sum())
            state.places += view.positions[bare][: self.listed - len(state.places)].tolist()
        return state

    def _lists(
        self, state: LabelState, name: str, values: pa.Array, spread: Spread
    ) -> np.ndarray[Any, np.dtype[np.bool_]]:
        rows = [[_key(x) for x in row or () if x] for row in values.to_pylist()]
        has = np.array([bool(row) for row in rows], bool)
        tally = Counter(key for row in rows for key in row)
        spread.add(tally, len(rows), int(has.sum()), self.classes)
        if name.lower() in LISTS or name in self.annotations:
            told = state.agreements.setdefault(name, Agreement())
            for row in rows:
                told.add(row, None)
        return has

    def merge(self, left: LabelState, right: LabelState) -> LabelState:
        for name, spread in right.fields.items():
            left.fields.setdefault(name, Spread()).merge(spread, self.classes)
        for name, told in right.agreements.items():
            left.agreements.setdefault(name, Agreement()).merge(told)
        left.missing += right.missing
        left.places += right.places[: self.listed - len(left.places)]
        return left

    def conclude(self, states: Sequence[tuple[About, LabelState]], places: Places) -> Conclusion:
        metrics: list[Metric] = []
        findings: list[tuple[str, Finding]] = []
        parts: list[dict[str, Any]] = []
        for about, state in states:
            if not state.fields:
                continue
            fields = [self._field(name, s) for name, s in sorted(state.fields.items())]
            agreements = [_agreed(name, a) for name, a in sorted(state.agreements.items())]
            parts.append({
                "resource": about.resource, "fields": fields, "agreement": agreements,
                "unlabelled": state.missing, "listed": self.listed,
            })  # fmt: skip
            rows = places.rows(about.resource, np.array(state.places, np.int64)).tolist()
            note = Text("has no label", "没有标签")
            findings += [
                (
                    about.resource,
                    Finding(type="missing-label", note=note, row=r, severity="warning"),
                )
                for r in rows
            ]
        for name, spread in _joined(states, self.classes).items():
            metrics += _metrics(shown(name), spread)
        told = Agreement()
        for _, state in states:
            for one in state.agreements.values():
                told.merge(one)
        if told.records:
            n = sum(told.values.values())
            metrics.append(Metric(id="own:iaa", standard="own", value=told.alpha(), unit="alpha",
                                  numerator=told.records - told.conflicting,
                                  denominator=told.records, n=n))  # fmt: skip
        return Conclusion(
            metrics=tuple(metrics), findings=tuple(findings), evidence={"resources": parts}
        )

    def _field(self, name: str, spread: Spread) -> dict[str, Any]:
        told: dict[str, Any] = {
            "field": shown(name), "records": spread.records, "labelled": spread.labelled,
            "list": spread.listed,
        }  # fmt: skip
        if spread.counts is None:
            return {**told, "classes": None, "more_than": self.classes}
        ranked = sorted(spread.counts.items(), key=lambda item: (-item[1], item[0]))
        rare = sum(1 for _, n in ranked if n < self.rare)
        told |= {"classes": len(ranked), "rare": rare, "rare_below": self.rare, **balance(ranked)}
        named = len(ranked) <= self.named and all(len(key) <= _SHORT for key, _ in ranked)
        top = ranked[: self.named]
        told["counts"] = [
            {"label": shown(k), "records": n} if named else {"records": n} for k, n in top
        ]
        return told


def balance(ranked: Sequence[tuple[str, int]]) -> dict[str, float]:
    """Return the measures of a distribution, from counts of each class (all above 0)."""
    total = sum(n for _, n in ranked)
    if not total:
        return {}
    shares = [n / total for _, n in ranked]
    entropy = -math.fsum(p * math.log(p) for p in shares if p < 1)
    k = len(ranked)
    half = [(p + 1 / k) / 2 for p in shares]
    against = math.fsum(p * math.log2(p / m) for p, m in zip(shares, half, strict=True))
    uniform = math.fsum(math.log2(1 / k / m) / k for m in half)
    return {
        "entropy": round(entropy / math.log(k), 12) if k > 1 else 0.0,
        "simpson": round(1 - sum(n * n for _, n in ranked) / total**2, 12),
        "ratio": round(ranked[0][1] / ranked[-1][1], 12),
        "divergence": round(max((against + uniform) / 2, 0.0), 12),  # Jensen-Shannon, bits
    }


def _joined(states: Sequence[tuple[About, LabelState]], most: int) -> dict[str, Spread]:
    """Return the spread of each field over all resources."""
    every: dict[str, Spread] = {}
    for _, state in states:
        for name, spread in state.fields.items():
            every.setdefault(name, Spread()).merge(spread, most)
    return dict(sorted(every.items()))


def _metrics(name: str, spread: Spread) -> Iterable[Metric]:
    """Yield the measures of one label field; the unit says which field it is."""
    iso, n = "ISO/IEC 5259-2:2024", spread.labelled
    yield Metric(
        id="iso5259:Com-ML-5", standard=iso, unit=f"ratio of {name}",
        value=n / spread.records if spread.records else None,
        numerator=n, denominator=spread.records, n=spread.records,
    )  # fmt: skip
    if not spread.counts:
        return
    ranked = sorted(spread.counts.items(), key=lambda item: (-item[1], item[0]))
    told, total = balance(ranked), sum(spread.counts.values())
    most, least = ranked[0][1], ranked[-1][1]

    def one(id_: str, standard: str, value: float, unit: str) -> Metric:
        return Metric(id=id_, standard=standard, value=value, unit=f"{unit} of {name}", n=n)

    yield one("tc609:0301", "TC609-5-2025-04", told["entropy"], "normalised entropy")
    yield Metric(id="own:imbalance", standard="own", value=told["ratio"], n=n,
                 unit=f"max/min of {name}", numerator=most, denominator=least)  # fmt: skip
    yield Metric(id="iso5259:Bal-ML-7", standard=iso, value=most / total, n=n,
                 unit=f"largest share of {name}", numerator=most, denominator=total)  # fmt: skip
    yield one("iso5259:Bal-ML-8", iso, told["divergence"], "Jensen-Shannon bits")
    yield one("iso5259:Div-ML-1", iso, len(ranked), "classes")
    yield Metric(id="iso5259:Div-ML-2", standard=iso, value=least / total, n=n,
                 unit=f"smallest share of {name}", numerator=least, denominator=total)  # fmt: skip
    yield one("iso5259:Div-ML-3", iso, told["simpson"], "Simpson")


def _agreed(name: str, told: Agreement) -> dict[str, Any]:
    alpha, kappa = told.alpha(), told.kappa()
    return {
        "fields": " ".join(shown(one) for one in name.split(" ")),
        "records": told.records,
        "conflicting": told.conflicting,
        "annotations": sum(told.values.values()),
        "alpha": None if alpha is None else round(alpha, 12),
        "kappa": None if kappa is None else round(kappa, 12),
    }


def _is_list(view: View, name: str) -> bool:
    kind = view.labels[name].type
    return bool(pa.types.is_large_list(kind) or pa.types.is_list(kind))


def _filled(keys: pa.DictionaryArray) -> np.ndarray[Any, np.dtype[np.bool_]]:
    """Return which values say something: neither null nor empty."""
    full = np.array([bool(v) for v in keys.dictionary.to_pylist()] + [False], bool)
    codes = keys.indices.fill_null(len(full) - 1).to_numpy(zero_copy_only=False)
    found: np.ndarray[Any, np.dtype[np.bool_]] = full[codes]
    return found


def _tally(keys: pa.DictionaryArray) -> dict[str, int]:
    times = np.bincount(
        keys.indices.drop_null().to_numpy(zero_copy_only=False), minlength=len(keys.dictionary)
    )
    found: Counter[str] = Counter()
    for value, n in zip(keys.dictionary.to_pylist(), times.tolist(), strict=True):
        if value and n:
            found[_key(value)] += n
    return dict(found)


def _key(value: str) -> str:
    """Return a label as it is counted; a long one by its hash, so that states stay small."""
    if len(value) <= _SHORT:
        return value
    return "sha256:" + hashlib.sha256(value.encode("utf-8", "replace")).hexdigest()


# --- noise ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Disagreement:
    """Labels within clusters of near-duplicates (ISO/IEC 5259-2 Con-ML-2)."""

    items: int  # labelled members of clusters with at least two of them
    agreeing: int  # members with the label that most of their cluster have
    clusters: tuple[int, ...]  # numbers of the clusters that hold more than one label

    @property
    def consistency(self) -> float | None:
        return self.agreeing / self.items if self.items else None


def disagreement(
    clusters: Iterable[Ints], labels: Sequence[Any] | npt.NDArray[np.uint64]
) -> Disagreement:
    """Return how far near-duplicates have the same label; clusters hold numbers into labels.

    A member without a label does not count; of a tie, one label is taken as the most common.
    """
    items = agreeing = 0
    conflicts: list[int] = []
    for number, cluster in enumerate(clusters):
        tally = Counter(label for at in cluster if (label := labels[int(at)]))
        size = sum(tally.values())
        if size < 2:
            continue
        items += size
        agreeing += max(tally.values())
        if len(tally) > 1:
            conflicts.append(number)
    return Disagreement(items, agreeing, tuple(conflicts))
