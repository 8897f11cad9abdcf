"""Small charts as SVG text: coloured by class names alone, so that they pass under any policy."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from html import escape

_LEVELS = 5
_LEFT, _LANE, _WIDTH = 190, 18, 1000
_LETTER = 7.2  # width of a letter of the axis at most


def bar(n: float, most: float) -> str:
    """Return a bar of `n` out of `most`; what is there at all can be seen."""
    width = 0 if most <= 0 or not n else max(1, round(100 * min(n, most) / most))
    return (
        '<svg class="yr-bar" viewBox="0 0 100 8" width="100" height="8" aria-hidden="true">'
        '<rect width="100" height="8" rx="4" class="yr-h0"/>'
        f'<rect width="{width}" height="8" rx="4" class="yr-part"/></svg>'
    )


def histogram(counts: Sequence[int], label: str) -> str:
    """Return bars of counts, the highest as high as the picture."""
    most, step = max(max(counts), 1), 120 / len(counts)
    bars = "".join(
        f'<rect x="{i * step:.1f}" y="{30 - 30 * n / most:.1f}" '
        f'width="{max(step - 0.6, 0.6):.1f}" height="{30 * n / most:.1f}" class="yr-part"/>'
        for i, n in enumerate(counts)
    )
    return (
        '<svg class="yr-histogram" viewBox="0 0 120 30" width="120" height="30" role="img" '
        f'aria-label="{label}">{bars}</svg>'
    )


def columns(steps: Sequence[tuple[str, int]], label: str) -> str:
    """Return a distribution as columns over its axis: (name of the step, count), left to right.

    Names are thinned out until they do not touch; `label` is HTML text already.
    """
    most, wide, high = max((n for _, n in steps), default=1) or 1, 300, 90
    step = wide / max(len(steps), 1)
    column = min(max(step - 2, 1.0), 44.0)
    every = max(1, -(-len(steps) * 44 // wide))
    shapes = []
    for i, (name, n) in enumerate(steps):
        tall = 0 if not n else max(2.0, high * n / most)
        shapes.append(
            f'<rect x="{i * step + (step - column) / 2:.1f}" y="{high - tall + 12:.1f}" '
            f'width="{column:.1f}" height="{tall:.1f}" rx="2" class="yr-part">'
            f"<title>{escape(name)}: {n:,}</title></rect>"
        )
        if i % every == 0:
            half = len(name) * _LETTER / 2
            x = min(max(i * step + step / 2, half), wide - half)
            shapes.append(
                f'<text x="{x:.1f}" y="{high + 26}" class="yr-axis yr-middle">{escape(name)}</text>'
            )
    return (
        f'<svg class="sc-columns" viewBox="0 0 {wide} {high + 32}" role="img" '
        f'aria-label="{label}">{"".join(shapes)}</svg>'
    )


def heat_map(
    lanes: Sequence[str],
    counts: Mapping[tuple[int, int], int],
    *,
    buckets: int,
    last: str,
    label: str,
    tip: Callable[[int, int, int], str],
) -> str:
    """Return lanes from top to bottom and `buckets` from left to right, darker where more.

    `counts` are by (lane, bucket); `tip(lane, bucket, n)` is what a pointer shows; `last` labels
    the right end of the axis. `label` and tips are HTML text already.
    """
    step = (_WIDTH - _LEFT) / buckets
    most = max(counts.values(), default=1)
    shapes = []
    for number, lane in enumerate(lanes):
        top = number * _LANE
        name = escape(lane if len(lane) <= 24 else lane[:23] + "…")
        shapes.append(f'<text x="{_LEFT - 8}" y="{top + 13}" class="yr-lane">{name}</text>')
        shapes.append(_cell(_LEFT, top, _WIDTH - _LEFT, 0))
    for (number, bucket), n in sorted(counts.items()):
        shapes.append(
            _cell(_LEFT + bucket * step, number * _LANE, max(step, 2), level(n, most))[:-2]
            + f"><title>{tip(number, bucket, n)}</title></rect>"
        )
    base = len(lanes) * _LANE
    shapes.append(f'<text x="{_LEFT}" y="{base + 14}" class="yr-axis">1</text>')
    shapes.append(f'<text x="{_WIDTH}" y="{base + 14}" class="yr-axis yr-end">{last}</text>')
    return (
        f'<svg class="yr-map" viewBox="0 0 {_WIDTH} {base + 20}" width="{_WIDTH}" '
        f'height="{base + 20}" role="img" aria-label="{label}">{"".join(shapes)}</svg>'
    )


def shades() -> str:
    """Return the shades of a heat map from few to many."""
    cells = "".join(
        f'<rect x="{14 * i}" width="13" height="10" class="yr-h{i + 1}"/>' for i in range(_LEVELS)
    )
    return (
        f'<svg class="yr-bar" viewBox="0 0 {14 * _LEVELS} 10" width="{14 * _LEVELS}" height="10" '
        f'aria-hidden="true">{cells}</svg>'
    )


def level(n: int, most: int) -> int:
    """Return 1 to 5, each about twice as many as the one before."""
    at = _LEVELS
    while at > 1 and n * 2 ** (_LEVELS - at + 1) <= most:
        at -= 1
    return at


def _cell(x: float, top: float, width: float, shade: int) -> str:
    return (
        f'<rect x="{x:.1f}" y="{top + 2}" width="{width:.1f}" height="{_LANE - 4}" '
        f'class="yr-h{shade}"/>'
    )
