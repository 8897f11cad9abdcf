"""A process that works through much data keeps the memory that it is given, and looks for no
cycles of garbage: between blocks it would give both back only to fetch them again. It does without
pandas. It may be a user's own, and used by several threads at once: what is changed is put back."""

from __future__ import annotations

import functools
import gc
import importlib.util
import os
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from importlib.machinery import ModuleSpec
from types import ModuleType

_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3  # mallopt(3)
_KEPT_BYTES = 128 << 20
_FROM_SYSTEM_BYTES = 32 << 20  # larger pieces are fetched and given back one by one
_TURN = 0.0005  # seconds that a thread keeps the others waiting
_OBJECTS = 50_000  # made between two looks for garbage; nothing here makes cycles


class _Setting:
    """A setting of the whole process: the first who holds it changes it, the last puts it back."""

    def __init__(self, change: Callable[[], Callable[[], None]]) -> None:
        self._change = change
        self._back: Callable[[], None] | None = None
        self._holders = 0

    @contextmanager
    def held(self) -> Iterator[None]:
        with _lock:
            if not self._holders:
                self._back = self._change()
            self._holders += 1
        try:
            yield
        finally:
            with _lock:
                self._holders -= 1
                if not self._holders and self._back is not None:
                    self._back()


_lock = threading.Lock()
os.register_at_fork(
    before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release
)


def _memory() -> Callable[[], None]:
    import ctypes

    import pyarrow as pa

    pool = pa.default_memory_pool()
    with suppress(OSError, AttributeError):  # only the GNU C library has it
        libc = ctypes.CDLL(None)
        libc.mallopt(_TRIM_THRESHOLD, _KEPT_BYTES)
        libc.mallopt(_MMAP_THRESHOLD, _FROM_SYSTEM_BYTES)
        pa.set_memory_pool(pa.system_memory_pool())
    return functools.partial(pa.set_memory_pool, pool)


def _looks() -> Callable[[], None]:
    looks = gc.get_threshold()
    gc.set_threshold(max(_OBJECTS, looks[0]), *looks[1:])
    return functools.partial(gc.set_threshold, *looks)


def _turns() -> Callable[[], None]:
    turn = sys.getswitchinterval()
    sys.setswitchinterval(_TURN)
    return functools.partial(sys.setswitchinterval, turn)


_steady, _few_looks, _short_turns = _Setting(_memory), _Setting(_looks), _Setting(_turns)


@contextmanager
def steady() -> Iterator[None]:
    """Hold on to memory while this lasts."""
    with _steady.held(), few_looks():
        yield


def give_back() -> None:
    """Give the system what was kept, once: it may be much, and another process is in need of it."""
    import ctypes

    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def few_looks() -> AbstractContextManager[None]:
    """Look for cycles of garbage seldom while this lasts: findings are many, and make none."""
    return _few_looks.held()


def short_turns() -> AbstractContextManager[None]:
    """Let threads take turns often while this lasts: some only take a result, and soon."""
    return _short_turns.held()


class _PandasLater:
    """An importer that finds no pandas while Arrow first looks for it, and tells Arrow of it later.

    Arrow looks at the first value that it is given, and would take half a second with it. Whoever
    wants pandas loads it as ever: then Arrow is made to look again, and knows its types.
    """

    looking = 0  # the thread in which Arrow looks; others may load pandas meanwhile

    @classmethod
    def find_spec(cls, name: str, *_: object) -> ModuleSpec | None:
        if name == "pyarrow.compute" and not cls.looking:
            cls.look()
        if name != "pandas":
            return None
        if cls.looking == threading.get_ident():
            raise ModuleNotFoundError(name)
        with suppress(ValueError):
            sys.meta_path.remove(cls)
        spec = importlib.util.find_spec(name)
        if spec is not None and spec.loader is not None:
            spec.loader.exec_module = functools.partial(  # type: ignore[method-assign]
                _loaded, spec.loader.exec_module
            )
        return spec

    @classmethod
    def look(cls) -> None:
        import pyarrow as pa

        cls.looking = threading.get_ident()
        try:
            pa.array([0])
        finally:
            cls.looking = 0


def _loaded(load: Callable[[ModuleType], None], module: ModuleType) -> None:
    load(module)
    with suppress(AttributeError, ImportError):
        _ = sys.modules["pyarrow.lib"]._pandas_api.pd if "pyarrow.lib" in sys.modules else None


def leave_pandas_out() -> None:
    """Keep Arrow from loading pandas where nobody has loaded it; who does can use it as ever."""
    if "pandas" in sys.modules or _PandasLater in sys.meta_path:
        return
    arrow = sys.modules.get("pyarrow.lib")
    if arrow is not None and not hasattr(arrow, "_pandas_api"):
        return
    sys.meta_path.insert(0, _PandasLater)
    if "pyarrow.compute" in sys.modules:
        _PandasLater.look()
