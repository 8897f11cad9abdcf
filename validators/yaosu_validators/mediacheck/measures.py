"""Measures and distributions in the form in which reports carry them."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from yaosu_schemas.report import Metric

_BINS = 16
_STANDARDS = {"tc609": "TC609-5-2025-04", "iso5259": "ISO/IEC 5259-2:2024", "own": "own"}


def _standard(id_: str) -> str:
    return _STANDARDS[id_.split(":", 1)[0]]


def ratio(id_: str, numerator: int, denominator: int) -> Metric:
    """Return a share; over nothing it is not applicable."""
    return Metric(
        id=id_,
        standard=_standard(id_),
        value=numerator / denominator if denominator else None,
        numerator=numerator,
        denominator=denominator,
        n=denominator,
    )


def measure(id_: str, values: npt.NDArray[np.float64], unit: str) -> Metric:
    """Return the median of what was measured of each item."""
    value = round(float(np.median(values)), 6) if len(values) else None
    return Metric(id=id_, standard=_standard(id_), value=value, unit=unit, n=len(values))


def total(id_: str, values: npt.NDArray[np.float64], unit: str) -> Metric:
    """Return the sum of what was measured of each item."""
    value = round(float(values.sum()), 3) if len(values) else None
    return Metric(id=id_, standard=_standard(id_), value=value, unit=unit, n=len(values))


def apart(id_: str, values: npt.NDArray[np.float64]) -> Metric:
    """Return how far items lie from their mean m: Σ|v - m| / Σ v; 0 is perfect balance."""
    whole = float(values.sum())
    away = float(np.abs(values - values.mean()).sum()) if len(values) else 0.0
    return Metric(
        id=id_,
        standard=_standard(id_),
        value=round(away / whole, 6) if whole > 0 else None,
        numerator=round(away, 6),
        denominator=round(whole, 6),
        n=len(values),
    )


def histogram(values: npt.NDArray[np.float64]) -> dict[str, Any]:
    """Return a distribution in equal steps from the least to the greatest value."""
    values = values[np.isfinite(values)]
    if not len(values):
        return {"edges": [], "counts": []}
    low, high = float(values.min()), float(values.max())
    edges = np.linspace(low, high if high > low else low + 1, _BINS + 1)
    return {
        "edges": [float(f"{e:.6g}") for e in edges],
        "counts": np.histogram(values, edges)[0].tolist(),
        "min": float(f"{low:.6g}"),
        "median": float(f"{np.median(values):.6g}"),
        "max": float(f"{high:.6g}"),
    }
