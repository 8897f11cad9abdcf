"""Samples that a person or a machine judges: drawn by the content's digest, so that all agree.

Whoever knows the digest and the number of records draws the same sample, and can ask of any record
whether it is in it, without a list of all: the order of drawing is a keyed permutation (a Feistel
network over the next power of four, walked until it falls inside).
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from yaosu_schemas.codes import code_list
from yaosu_schemas.errors import InvalidInput
from yaosu_schemas.report import Metric

from .view import Ints

Kind = Literal["manual", "technical"]
Z95 = 1.959963984540054  # two-sided 95 %
_ROUNDS = 6
_BLOCK = 1 << 16
_U = npt.NDArray[np.uint64]


@dataclass(frozen=True, slots=True)
class Sample:
    """`n` of `total` records, counted from 0, drawn without replacement, each equally likely."""

    total: int
    n: int
    seed: int

    @property
    def rows(self) -> list[int]:
        """Return the records of the sample in their order."""
        parts = [self._drawn(start) for start in range(0, self.n, _BLOCK)]
        return sorted(int(r) for part in parts for r in part)

    def __iter__(self) -> Iterator[int]:
        """Yield the records in the order of drawing, a few at a time."""
        for start in range(0, self.n, _BLOCK):
            yield from self._drawn(start).tolist()

    def __contains__(self, row: object) -> bool:
        return isinstance(row, int) and bool(self.holds(np.array([row], np.int64))[0])

    def holds(self, rows: Ints) -> npt.NDArray[np.bool_]:
        """Return which of these records are in the sample: bool, same shape."""
        inside = (rows >= 0) & (rows < self.total)
        places = self._walk(np.where(inside, rows, 0).astype(np.uint64), forward=False)
        return inside & (places < self.n)

    def _drawn(self, start: int) -> _U:
        stop = min(start + _BLOCK, self.n)
        return self._walk(np.arange(start, stop, dtype=np.uint64), forward=True)

    def _walk(self, values: _U, forward: bool) -> _U:
        """Permute `0:total`: what falls outside is permuted again until it is inside."""
        out = self._permute(values, forward)
        while (outside := out >= self.total).any():
            out[outside] = self._permute(out[outside], forward)
        return out

    def _permute(self, values: _U, forward: bool) -> _U:
        half = np.uint64(max(1, ((self.total - 1).bit_length() + 1) // 2))
        mask = np.uint64((1 << int(half)) - 1)
        left, right = values >> half, values & mask
        for number in range(_ROUNDS) if forward else range(_ROUNDS - 1, -1, -1):
            if forward:
                left, right = right, left ^ (_mixed(right, self.seed, number) & mask)
            else:
                left, right = right ^ (_mixed(left, self.seed, number) & mask), left
        return (left << half) | right


def _mixed(values: _U, seed: int, number: int) -> _U:
    """Return the values mixed with the seed and the number of the round (SplitMix64)."""
    step = (seed + (number + 1) * 0x9E3779B97F4A7C15) & 0xFFFFFFFFFFFFFFFF
    x = values + np.uint64(step)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))


def plan(total: int, digest: str, kind: Kind) -> Sample:
    """Return the sample of a corpus of `total` records with this content digest.

    Manual: 4,000 records, or all where there are fewer. Technical: a tenth of all, rounded up
    (TC260-003, through a summary; the limits are in `codes/corpus_safety_limit.csv`).
    """
    if total < 0 or total >= 1 << 60:
        raise InvalidInput("total: the number of records is 0 or more", "total：记录数须不小于 0",
                           field="total")  # fmt: skip
    if kind == "manual":
        n = min(total, int(_limit("tc260:manual_pass", "least")))
    elif kind == "technical":
        share = int(_limit("tc260:tech_pass", "share"))
        n = -(-total * share // 100)
    else:
        raise InvalidInput(f"kind: {kind!r} is not manual or technical",
                           f"kind：“{kind}”不是 manual 或 technical", field="kind")  # fmt: skip
    told = f"yaosu.sample/1\n{kind}\n{total}\n{digest}".encode()
    # 53 bits: a seed that JSON readers of every language keep whole.
    seed = int.from_bytes(hashlib.sha256(told).digest()[:8], "big") >> 11
    return Sample(total, n, seed)


def verdict(
    passed: int, n: int, threshold: int | None = None, *, seed: int | None = None
) -> Metric:
    """Return the pass rate of a manual sample; `threshold` in percent, 96 unless given."""
    limit = int(_limit("tc260:manual_pass", "percent")) if threshold is None else threshold
    _counts(passed, n)
    return Metric(
        id="tc260:manual_pass",
        standard="TC260-003",
        value=passed / n if n else None,
        numerator=passed,
        denominator=n,
        n=n,
        seed=seed,
        basis="human",
        passed=reaches(passed, n, limit),
    )


def reaches(passed: int, n: int, percent: int) -> bool | None:
    """Say whether `passed` of `n` is at least so many percent, in integers; None of nothing."""
    return 100 * passed >= percent * n if n else None


def exceeds(bad: int, n: int, percent: int) -> bool:
    """Say whether `bad` of `n` is more than so many percent; exactly so many is not."""
    return 100 * bad > percent * n


def wilson(passed: int, n: int, z: float = Z95) -> tuple[float, float] | None:
    """Return Wilson's score interval of a share (95 % unless `z` says else); None of nothing."""
    _counts(passed, n)
    if not n:
        return None
    p, zz = passed / n, z * z
    middle = (p + zz / (2 * n)) / (1 + zz / n)
    half = z * math.sqrt(p * (1 - p) / n + zz / (4 * n * n)) / (1 + zz / n)
    low = 0.0 if passed == 0 else max(0.0, middle - half)
    return low, 1.0 if passed == n else min(1.0, middle + half)


def _counts(passed: int, n: int) -> None:
    if not 0 <= passed <= n:
        raise InvalidInput(
            f"{passed} of {n}: more passed than were judged",
            f"{n} 个中 {passed} 个合格：合格数超过已判数",
            field="passed",
        )


def _limit(code: str, column: str) -> str:
    return code_list("corpus_safety_limit")[code][column]
