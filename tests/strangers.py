"""Clients of others that live in environments of their own, because they pin other versions."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def python_of(client: str) -> Path:
    """Return the interpreter of a client; where the system must be complete, its absence fails."""
    found = ROOT / ".venv" / "clients" / client / "bin" / "python"
    if not found.exists():
        why = f"no environment of {client}: make install-test"
        if os.environ.get("CI"):
            pytest.fail(f"needed here: {why}", pytrace=False)
        pytest.skip(why)
    return found
