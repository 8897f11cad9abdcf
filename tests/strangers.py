"""Clients of others that live in environments of their own, because they pin other versions."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def python_of(client: str, *, wanted: bool = False) -> Path:
    """Return the interpreter of a client; where the system must be complete, its absence fails.

    What is only `wanted` is too large to be installed with the others: `make client-<name>`.
    """
    found = ROOT / ".venv" / "clients" / client / "bin" / "python"
    if not found.exists():
        how = f"client-{client}" if wanted else "install-test"
        why = f"no environment of {client}: make {how}"
        if os.environ.get("CI") and not wanted:
            pytest.fail(f"needed here: {why}", pytrace=False)
        pytest.skip(why)
    return found
