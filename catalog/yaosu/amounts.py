"""Money arithmetic: whole fen, rounded here and nowhere else (I2, I6).

Every function takes and gives integers; what is divided always adds up to what there was.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction

WHOLE = 10_000
"""Basis points of a whole."""


def shared_out(amount_fen: int, weights: Sequence[int]) -> tuple[int, ...]:
    """Divide an amount by weights (largest remainder; a tie goes to whoever stands first)."""
    whole = sum(weights)
    if amount_fen < 0 or whole <= 0 or min(weights) < 0:
        raise ValueError("an amount is shared out by weights that are not negative, nor all 0")
    parts = [amount_fen * weight // whole for weight in weights]
    missing = amount_fen - sum(parts)
    by_remainder = sorted(
        range(len(weights)), key=lambda i: (-(amount_fen * weights[i] % whole), i)
    )
    for i in by_remainder[:missing]:
        parts[i] += 1
    return tuple(parts)


def split(
    amount_fen: int, fee_permyriad: int, seller: str, shares: Sequence[tuple[str, int]]
) -> tuple[int, tuple[tuple[str, int], ...]]:
    """Return (platform fee, ((party, fen), …)): the fee is floored, the net is shared out.

    `shares` are (party, basis points of the net); the seller has what they leave, and stands
    first. Fee + Σ parts = amount, always.
    """
    fee = amount_fen * fee_permyriad // WHOLE
    weights = [WHOLE - sum(points for _, points in shares), *(points for _, points in shares)]
    parts = shared_out(amount_fen - fee, weights)
    return fee, tuple(zip([seller, *(party for party, _ in shares)], parts, strict=True))


def unused(amount_fen: int, left: int, whole: int) -> int:
    """Return what goes back of a price of which `left` of `whole` units were not used (floor)."""
    return amount_fen * max(0, min(left, whole)) // whole if whole else amount_fen


def tax_within(amount_fen: int, rate: str | None) -> int:
    """Return the tax that an amount holds at a rate such as ``0.06`` (half a fen goes up)."""
    held = Fraction(amount_fen) * Fraction(rate or 0) / (1 + Fraction(rate or 0))
    return int(held + Fraction(1, 2)) if held >= 0 else -int(-held + Fraction(1, 2))
