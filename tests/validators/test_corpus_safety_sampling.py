"""Samples: drawn by the digest, the same for all, without a list of all; judged in integers."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from yaosu_schemas.errors import InvalidInput
from yaosu_validators.corpus.sampling import Sample, exceeds, plan, reaches, verdict, wilson


@given(st.integers(0, 20_000), st.text(max_size=20), st.sampled_from(["manual", "technical"]))
def test_a_sample_holds_distinct_records_of_the_corpus(total: int, digest: str, kind: str) -> None:
    sample = plan(total, digest, kind)  # type: ignore[arg-type]
    rows = sample.rows
    least = min(total, 4000) if kind == "manual" else -(-total // 10)
    assert len(rows) == len(set(rows)) == sample.n == least
    assert all(0 <= r < total for r in rows)
    assert sorted(sample) == rows
    assert rows == plan(total, digest, kind).rows  # type: ignore[arg-type]
    every = np.arange(total)
    assert np.flatnonzero(sample.holds(every)).tolist() == rows


def test_another_digest_another_kind_another_size_draw_another_sample() -> None:
    base = set(plan(100_000, "sha256:a", "manual").rows)
    for other in (plan(100_000, "sha256:b", "manual"), plan(100_001, "sha256:a", "manual")):
        assert len(base & set(other.rows)) < 400  # 160 are expected by chance
    assert plan(100_000, "sha256:a", "technical").seed != plan(100_000, "sha256:a", "manual").seed


def test_a_sample_does_not_change_between_versions() -> None:
    sample = plan(1_000_000, "sha256:0", "manual")
    assert sample.seed == 2401043087890163
    assert sample.rows[:4] == [21, 431, 735, 1407]


def test_every_record_is_drawn_equally_often() -> None:
    counts = np.zeros(500, np.int64)
    for digest in range(400):
        counts[Sample(500, 50, plan(500, str(digest), "manual").seed).rows] += 1
    # Binomial(400, 0.1): mean 40, deviation 6; chi-square over 500 cells lies within 5 deviations.
    chi = float(((counts - 40) ** 2 / 36).sum())
    assert abs(chi - 500) < 5 * (2 * 500) ** 0.5
    halves = counts[:250].sum() / counts.sum()
    assert 0.48 < halves < 0.52


def test_a_billion_records_cost_no_more_than_their_sample() -> None:
    start = time.process_time()
    sample = plan(10**9, "sha256:x", "manual")
    assert len(sample.rows) == 4000
    technical = plan(10**9, "sha256:x", "technical")
    assert technical.n == 10**8
    first = [row for row, _ in zip(technical, range(5), strict=False)]
    assert all(row in technical for row in first)
    assert time.process_time() - start < 2
    assert -1 not in technical
    assert 10**9 not in technical


def test_thresholds_are_compared_as_integers() -> None:
    assert verdict(3840, 4000, 96).passed is True
    assert verdict(3839, 4000, 96).passed is False
    assert reaches(96 * 10**15, 10**17, 96) is True
    assert reaches(96 * 10**15 - 1, 10**17, 96) is False
    assert exceeds(5, 100, 5) is False
    assert exceeds(5 * 10**15 + 1, 10**17, 5) is True


def test_a_verdict_over_nothing_is_not_applicable() -> None:
    metric = verdict(0, 0, 96)
    assert (metric.value, metric.passed, metric.basis) == (None, None, "human")
    assert wilson(0, 0) is None
    with pytest.raises(InvalidInput):
        verdict(5, 4, 96)
    with pytest.raises(InvalidInput):
        plan(-1, "x", "manual")
    with pytest.raises(InvalidInput):
        plan(1, "x", "else")  # type: ignore[arg-type]


def test_the_interval_of_an_exact_96_percent_is_known() -> None:
    low, high = wilson(3840, 4000) or (0, 0)
    assert low == pytest.approx(0.9535, abs=5e-5)
    assert high == pytest.approx(0.9656, abs=5e-5)


@given(st.integers(1, 10**6), st.data())
def test_the_interval_holds_its_share(n: int, data: st.DataObject) -> None:
    passed = data.draw(st.integers(0, n))
    low, high = wilson(passed, n) or (1, 0)
    assert 0 <= low <= passed / n <= high <= 1
