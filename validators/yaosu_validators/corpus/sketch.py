"""A small sample of hashes by which two corpora tell how much they share, without showing data.

A sketch keeps the `k` smallest hashes of the records and of the runs of 13 tokens (bottom-k, also
called KMV; Cohen and Kaplan 2007, Beyer et al. 2007). The same hash is small in every corpus, so
two samples meet where the corpora do, and the share that meets estimates the overlap.

What a sketch could give away is limited: short records and runs never enter it, corpora of few
records have none, a hash tells nothing but that one text of billions was there, and only for the
`k` of all the texts (docs/sketches.md).
"""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from yaosu_schemas.errors import InvalidInput
from yaosu_validators.check import Conclusion, check

from . import pieces
from .contamination import GRAM, windows
from .duplicates import long_digest, text_digests
from .shingles import I64, U64, blocks, mixed, normalised, tokens
from .view import About, Places, Role, View

FORMAT = "yaosu-sketch/1"
K = 1024
LEAST_CHARACTERS = 40  # a shorter record could be guessed
LEAST_RECORDS = 200  # a smaller corpus would be shown by its sample
_SALT = np.uint64(0x59414F5355534B31)  # of the format's version: hashes of another do not compare
_Z = 1.96


@dataclass(slots=True)
class Sample:
    """The smallest hashes of a set, ascending, and whether the set has more than they are."""

    values: U64 = field(default_factory=lambda: np.zeros(0, np.uint64))
    whole: bool = True

    def add(self, hashes: U64, k: int) -> None:
        """Take in hashes; the result does not depend on their order or grouping."""
        both = np.concatenate((self.values, hashes))
        both.sort()
        both = both[np.concatenate(([True], both[1:] != both[:-1]))] if len(both) else both
        self.whole = self.whole and len(both) <= k
        self.values = both[:k]

    @property
    def distinct(self) -> float:
        """Return how many different ones there are, or an estimate of it."""
        if self.whole:
            return float(len(self.values))
        return (len(self.values) - 1) / (float(self.values[-1]) / 2.0**64)


@dataclass(slots=True)
class SketchState:
    records: int = 0
    left_out: int = 0
    by_record: Sample = field(default_factory=Sample)
    by_run: Sample = field(default_factory=Sample)


@check("corpus.sketch", "1")
@dataclass(frozen=True, slots=True, kw_only=True)
class Sketched:
    """A sample of hashes is taken, for others to estimate what they share with this corpus."""

    k: int = K
    sees: ClassVar = "records"
    asked_for: ClassVar = True  # not part of the group `quality`

    def start(self, about: About) -> SketchState:
        return SketchState()

    def observe(self, state: SketchState, view: View) -> SketchState:
        state.records += len(view)
        if not len(view):
            return state
        if view.long:
            self._long(state, view)
            return state
        texts = view.roles != Role.CELL
        clean = normalised(view.texts.filter(pa.array(texts)))
        owners = view.owners()[texts]
        digests, sizes = text_digests(clean, owners, len(view))
        long = sizes >= LEAST_CHARACTERS
        state.left_out += int((~long).sum())
        state.by_record.add(mixed(digests[long] ^ _SALT), self.k)
        keep = long[owners]
        self._runs(state, *tokens(clean.filter(pa.array(keep))))
        return state

    def _long(self, state: SketchState, view: View) -> None:
        """Take in one record whose texts are long, piece by piece."""
        texts = view.roles != Role.CELL
        digest, size = long_digest(pieces.clean(view.texts, texts))
        if size < LEAST_CHARACTERS:
            state.left_out += 1
            return
        state.by_record.add(mixed(digest ^ _SALT), self.k)
        for first, some in blocks(view.texts):
            chosen = texts[first : first + len(some)]
            if len(some) > 1 or some.nbytes <= pieces.PIECE:
                self._runs(state, *tokens(normalised(some.filter(pa.array(chosen)))))
                continue
            carried = np.zeros(0, np.uint64)
            for hashes in pieces.tokens(pieces.clean(some, chosen)):
                carried = np.concatenate((carried, hashes))
                self._runs(state, carried, np.zeros(len(carried), np.int64))
                carried = carried[1 - GRAM :]

    def _runs(self, state: SketchState, hashes: U64, segments: I64) -> None:
        for length, runs, inside in windows(hashes, segments):
            if length == GRAM:
                state.by_run.add(mixed(runs[inside] ^ _SALT), self.k)

    def merge(self, left: SketchState, right: SketchState) -> SketchState:
        left.records += right.records
        left.left_out += right.left_out
        for mine, other in ((left.by_record, right.by_record), (left.by_run, right.by_run)):
            whole = mine.whole and other.whole
            mine.add(other.values, self.k)
            mine.whole = mine.whole and whole
        return left

    def conclude(self, states: Sequence[tuple[About, SketchState]], places: Places) -> Conclusion:
        total = self.start(About(""))
        for _, state in states:
            total = self.merge(total, state)
        made = Sketch(
            records=total.records,
            left_out=total.left_out,
            k=self.k,
            by_record=total.by_record,
            by_run=total.by_run,
        )
        return Conclusion(evidence=made.as_json())


@dataclass(frozen=True, slots=True, kw_only=True)
class Sketch:
    """What is published of a corpus."""

    records: int
    left_out: int
    k: int
    by_record: Sample
    by_run: Sample

    def as_json(self) -> dict[str, Any]:
        """Return the sketch; without samples where the corpus is too small to hide in them."""
        small = self.records - self.left_out < LEAST_RECORDS
        body: dict[str, Any] = {
            "format": FORMAT,
            "k": self.k,
            "records": self.records,
            "left_out": self.left_out,
        }
        if small:
            return {**body, "withheld": f"fewer than {LEAST_RECORDS} records of some length"}
        for name, sample in (("by_record", self.by_record), ("by_run", self.by_run)):
            values = base64.b64encode(sample.values.astype("<u8").tobytes()).decode()
            body[name] = {"whole": sample.whole, "values": values}
        return body

    @classmethod
    def from_json(cls, body: Any) -> Sketch:
        """Read a sketch; InvalidInput for what is none, is withheld, or is of another version."""
        try:
            if body["format"] != FORMAT:
                raise ValueError
            if "withheld" in body:
                raise InvalidInput(
                    f"this sketch holds no sample: {body['withheld']}",
                    "该摘要不含样本：语料过小，样本会暴露内容",
                    field="sketch",
                )
            k = int(body["k"])
            samples = [_sample(body[name], k) for name in ("by_record", "by_run")]
            return cls(
                records=int(body["records"]),
                left_out=int(body["left_out"]),
                k=k,
                by_record=samples[0],
                by_run=samples[1],
            )
        except (KeyError, TypeError, ValueError):
            raise InvalidInput(
                f"this is no sketch of the format {FORMAT}",
                f"不是 {FORMAT} 格式的摘要",
                field="sketch",
            ) from None


def _sample(body: Mapping[str, Any], k: int) -> Sample:
    values = np.frombuffer(base64.b64decode(body["values"], validate=True), "<u8")
    ascending = bool((values[1:] > values[:-1]).all())
    if not 0 < k <= 65_536 or len(values) > k or not ascending:
        raise ValueError
    return Sample(values.astype(np.uint64), bool(body["whole"]))


@dataclass(frozen=True, slots=True, kw_only=True)
class Overlap:
    """An estimate with its 95 % interval: `of_mine` is the share of the first that is shared."""

    of_mine: float
    of_mine_low: float
    of_mine_high: float
    of_theirs: float
    of_theirs_low: float
    of_theirs_high: float
    shared: float
    exact: bool

    def as_json(self) -> dict[str, Any]:
        return {
            "of_mine": {"estimate": self.of_mine, "low": self.of_mine_low,
                        "high": self.of_mine_high},
            "of_theirs": {"estimate": self.of_theirs, "low": self.of_theirs_low,
                          "high": self.of_theirs_high},
            "shared": self.shared,
            "exact": self.exact,
        }  # fmt: skip


def overlap(mine: Sketch, theirs: Sketch) -> dict[str, Overlap]:
    """Return how much two corpora share: `records`, equal after normalisation, and `runs` of
    13 tokens."""
    return {
        "records": _overlap(mine.by_record, theirs.by_record),
        "runs": _overlap(mine.by_run, theirs.by_run),
    }


def _overlap(a: Sample, b: Sample) -> Overlap:
    """Estimate containment both ways from two bottom-k samples.

    Below the smaller of both thresholds the samples are complete, so every hash there is a fair
    draw of its set: the share of the draws of A that B has too estimates |A ∩ B| / |A|.
    """
    limits = [float(s.values[-1]) for s in (a, b) if not s.whole and len(s.values)]
    limit = min(limits, default=math.inf)
    left, right = a.values[a.values <= limit], b.values[b.values <= limit]
    both = len(np.intersect1d(left, right, assume_unique=True))
    exact = a.whole and b.whole
    mine = _share(both, len(left), exact)
    theirs = _share(both, len(right), exact)
    return Overlap(
        of_mine=mine[0], of_mine_low=mine[1], of_mine_high=mine[2],
        of_theirs=theirs[0], of_theirs_low=theirs[1], of_theirs_high=theirs[2],
        shared=mine[0] * a.distinct, exact=exact,
    )  # fmt: skip


def _share(hits: int, draws: int, exact: bool) -> tuple[float, float, float]:
    """Return a share with its Wilson score interval (95 %)."""
    if not draws:
        return 0.0, 0.0, 0.0 if exact else 1.0
    p = hits / draws
    if exact:
        return p, p, p
    z2 = _Z * _Z
    middle = (p + z2 / (2 * draws)) / (1 + z2 / draws)
    half = _Z * math.sqrt(p * (1 - p) / draws + z2 / (4 * draws * draws)) / (1 + z2 / draws)
    low, high = round(middle - half, 12), round(middle + half, 12)  # 1.0 is 1, not a hair below
    return p, max(0.0, low), min(1.0, high)


def sketch(target: Any, **options: Any) -> Sketch:
    """Return the sketch of a file, folder or package; InvalidInput where it is withheld."""
    from yaosu_validators.run import validate

    report = validate(target, checks=["corpus.sketch"], options={"corpus.sketch": options})
    (run,) = [c for c in report.checks if c.name == "corpus.sketch"]
    return Sketch.from_json(run.evidence)
