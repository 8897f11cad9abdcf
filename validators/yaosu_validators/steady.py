"""A process that works through much data keeps the memory that it is given, and looks for no
cycles of garbage: between blocks it would give both back only to fetch them again. One that is
ours alone does without pandas."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # mallopt(3)
_KEPT_BYTES = 128 << 20
_FROM_SYSTEM_BYTES = 32 << 20  # larger pieces are fetched and given back one by one
_OBJECTS = 50_000  # made between two looks for garbage; nothing here makes cycles


@contextmanager
def steady() -> Iterator[None]:
    """Hold on to memory while this lasts."""
    import ctypes

    import pyarrow as pa

    pool = pa.default_memory_pool()
    with suppress(OSError, AttributeError):  # only the GNU C library has it
        libc = ctypes.CDLL(None)
        libc.mallopt(_TRIM_THRESHOLD, _KEPT_BYTES)
        libc.mallopt(_MMAP_THRESHOLD, _FROM_SYSTEM_BYTES)
        pa.set_memory_pool(pa.system_memory_pool())
    with few_looks():
        try:
            yield
        finally:
            pa.set_memory_pool(pool)


@contextmanager
def few_looks() -> Iterator[None]:
    """Look for cycles of garbage seldom while this lasts: findings are many, and make none."""
    looks = gc.get_threshold()
    gc.set_threshold(max(_OBJECTS, looks[0]), *looks[1:])
    try:
        yield
    finally:
        gc.set_threshold(*looks)


class _WithoutPandas:
    """An importer that finds no pandas while Arrow looks for it, when Arrow has just been loaded.

    Arrow looks once, at the first value that it is given, and would take half a second with it;
    `to_pandas` looks again.
    """

    looks = False

    @classmethod
    def find_spec(cls, name: str, *_: object) -> None:
        if name == "pandas" and cls.looks:
            raise ModuleNotFoundError(name)
        if name == "pyarrow.compute" and not cls.looks:
            import pyarrow as pa

            cls.looks = True
            try:
                pa.array([0])
            finally:
                sys.meta_path.remove(cls)
                cls.looks = False


def leave_pandas_out() -> None:
    """Keep Arrow from loading pandas where it is installed; for processes that are ours alone."""
    if not {"pyarrow", "pandas"} & {*sys.modules} and _WithoutPandas not in sys.meta_path:
        sys.meta_path.insert(0, _WithoutPandas)
