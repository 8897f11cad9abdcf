"""Is it true? Data packages against their schemas and promises, at any size.

`validate(target)` returns a `Report`; `describe(paths)` writes what can be inferred. Both are
loaded when first used, because they bring the readers of data with them. A check of your own
starts with `from yaosu_validators.check import Finding, check`.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

# NumPy's OpenBLAS starts a thread per core, and each turns idly for 2**26 cycles, which is as much
# CPU as the rest of NumPy's start takes; for 2**4 they are still there for those who need them.
os.environ.setdefault("OPENBLAS_THREAD_TIMEOUT", "4")

if TYPE_CHECKING:
    from .check import Check as Check
    from .check import Finding as Finding
    from .corpus.sketch import Sketch as Sketch
    from .corpus.sketch import overlap as overlap
    from .corpus.sketch import sketch as sketch
    from .describe import describe as describe
    from .run import validate as validate
    from .steady import leave_pandas_out as leave_pandas_out

__all__ = [
    "Check",
    "Finding",
    "Sketch",
    "describe",
    "leave_pandas_out",
    "overlap",
    "sketch",
    "validate",
]

_HOMES = {
    "Check": "check",
    "Finding": "check",
    "Sketch": "corpus.sketch",
    "overlap": "corpus.sketch",
    "sketch": "corpus.sketch",
    "describe": "describe",
    "leave_pandas_out": "steady",
    "validate": "run",
}


def __getattr__(name: str) -> Any:
    home = _HOMES.get(name)
    if home is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    found = getattr(import_module(f"{__name__}.{home}"), name)
    globals()[name] = found  # a module of the same name would stand in its place
    return found
