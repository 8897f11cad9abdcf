"""One measured figure: what, how much, in which unit, and what it should reach."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from time import perf_counter
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """A value with its unit; `goal` is the least (or, with `lower_is_better`, the most) it may be.

    `peer` names the same measurement of something else in the same run, on the same machine.
    """

    name: str
    value: float
    unit: str
    goal: float | None = None
    lower_is_better: bool = True
    peer: str | None = None
    peer_value: float | None = None
    note: str = ""
    facts: dict[str, Any] = field(default_factory=dict)

    @property
    def reached(self) -> bool | None:
        """Say whether the goal is reached; None where there is none."""
        if self.goal is None:
            return None
        return self.value <= self.goal if self.lower_is_better else self.value >= self.goal

    def as_json(self) -> dict[str, Any]:
        told = {k: v for k, v in asdict(self).items() if v not in (None, "", {})}
        return {**told, "reached": self.reached} if self.goal is not None else told


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value below which `share` (0 to 1) of the values lie (nearest rank)."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, max(0, round(share * len(ordered) + 0.5) - 1))]


def timed(work: Callable[[], object], times: int) -> list[float]:
    """Return the seconds of each of `times` runs."""
    seconds: list[float] = []
    for _ in range(times):
        start = perf_counter()
        work()
        seconds.append(perf_counter() - start)
    return seconds


def latencies(name: str, seconds: Sequence[float], **goals: float) -> list[Figure]:
    """Return p50, p95 and p99 in milliseconds; goals are given as `p99=20.0`."""
    return [
        Figure(
            name=f"{name}, {rank}",
            value=round(percentile(seconds, share) * 1000, 3),
            unit="ms",
            goal=goals.get(rank),
            facts={"n": len(seconds), "mean_ms": round(statistics.fmean(seconds) * 1000, 3)},
        )
        for rank, share in (("p50", 0.50), ("p95", 0.95), ("p99", 0.99))
    ]
