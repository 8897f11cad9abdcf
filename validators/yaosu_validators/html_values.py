"""Numbers, sizes and values as the report page writes them."""

from __future__ import annotations

from html import escape


def figure(n: object) -> str:
    """Return a number with its thousands apart, anything else as harmless text."""
    return f"{n:,}" if isinstance(n, int) else escape(str(n))


def size_of(n: float) -> str:
    """Return a number of bytes in a unit that suits it."""
    for unit in ("B", "KB", "MB", "GB"):
        if n < 1000:
            return f"{n:.0f} {unit}" if unit == "B" or n >= 100 else f"{n:.1f} {unit}"
        n /= 1000
    return f"{n:.1f} TB"


def short(value: object) -> str:
    """Return a value of a column in few characters."""
    if isinstance(value, bool) or value is None:
        return str(value or "")
    if isinstance(value, int):
        return f"{value:,}" if abs(value) >= 10_000 else str(value)  # years are numbers, too
    return f"{value:.4g}" if isinstance(value, float) else clip(str(value), 40)


def clip(text: str, most: int = 300) -> str:
    """Return a text, cut if it is long; unlike `texts.clip` with all of its characters."""
    return text if len(text) <= most else text[: most - 1] + "…"
