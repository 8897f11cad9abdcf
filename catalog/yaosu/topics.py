"""Topics of events: what an event is about, a full stop, what happened; and choices of them."""

from __future__ import annotations

import re
from collections.abc import Iterable

from .errors import InvalidInput

MOST = 50
_KINDS = {"trd": "trade", "lst": "listing", "pty": "party", "usr": "usage"}
_TOPIC = re.compile(r"\*|(trade|listing|party|usage|market)\.(\*|[a-z][a-z_]{0,40})")


def topic(subject_id: str, type: str) -> str:
    """Return the topic of an event."""
    return f"{_KINDS.get(subject_id[:3], 'market')}.{type}"


def chosen(topics: Iterable[str], name: str) -> bool:
    """Tell whether a topic is among the chosen: itself, its kind with `.*`, or `*`."""
    return not {name, name.partition(".")[0] + ".*", "*"}.isdisjoint(topics)


def checked(topics: Iterable[str]) -> tuple[str, ...]:
    """Return topics without repetition; InvalidInput for what can never be one."""
    found = tuple(dict.fromkeys(topics))
    if not found or len(found) > MOST or not all(_TOPIC.fullmatch(t) for t in found):
        raise InvalidInput(
            "topics: 1 to 50 of '*', 'trade.*', 'trade.paid' (or listing, party, usage, market)",
            "主题为 1–50 个，形如 *、trade.* 或 trade.paid（trade、listing、party、usage、market）",
            field="topics",
        )
    return found
