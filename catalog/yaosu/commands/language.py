"""In which language a person at a terminal reads names: sentences are always said in both."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any


def reads_english() -> bool:
    """Say whether the locale of the terminal is English (POSIX 8.2: the first one set decides)."""
    for name in ("LC_ALL", "LC_MESSAGES", "LANG"):
        if found := os.environ.get(name):
            return found.replace("-", "_").partition("_")[0].partition(".")[0].lower() == "en"
    return False


def named(chinese: object, english: object) -> str:
    """Return the name in the person's language, the other one where there is none in it."""
    first, other = (english, chinese) if reads_english() else (chinese, english)
    return str(first or other or "")


def called(party: Mapping[str, Any]) -> str:
    """Return what a party is called in the person's language."""
    return named(party["name"], party.get("name_en"))
