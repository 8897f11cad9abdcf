"""Cuts blocks of text with SIMD instructions: every byte is looked at once, for all questions.

The instructions are WebAssembly, compiled where it runs. It works in a memory of its own: nothing
in a stranger's file can make it read or write elsewhere, and no compiler is needed. What does not
fit in, and a machine for which there is no such runtime, is served by NumPy with the same results.
"""

from __future__ import annotations

import logging
import sys
import threading
import weakref
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa

from . import simd_program as p

log = logging.getLogger(__name__)
Runs = Sequence[tuple[int, int]]  # of every line's cells: from, to, the latter not in it


@dataclass(frozen=True, slots=True, weakref_slot=True, eq=False)
class Cut:
    """What one block holds. The machine lends its memory: no other block is cut meanwhile."""

    machine: Machine
    separators: Any  # offsets of all delimiters and line breaks
    breaks: Any  # which of them are line breaks
    spoils: Any | None  # offsets of the character that no plain line holds; None: too many
    is_utf8: bool
    has_controls: bool  # below the space, other than LF

    def joined(self, first: Any, runs: Runs, *, trim: int, keep: bool = False) -> Any | None:
        """Return one text for each line. If it is not to be kept, the next call makes it void.

        `first` tells each line's first separator. Of every run `trim` bytes are left off at its
        end. None where there is no room.
        """
        if not _fits(first, runs):
            return None
        bounds, texts = self.machine.joined(first, runs, trim)
        if keep:
            bounds, texts = bounds.copy(), texts.copy()
        buffers = [None, pa.py_buffer(bounds), pa.py_buffer(texts)]
        return pa.Array.from_buffers(pa.utf8(), len(first), buffers)

    def alike(self, first: Any, runs: Runs) -> Any | None:
        """Say which lines hold in some runs what the first of them holds; None: no room."""
        return self.machine.alike(first, runs) if _fits(first, runs) else None


def _fits(first: Any, runs: Runs) -> bool:
    return 0 < len(first) < p.MOST_LINES and 0 < len(runs) <= p.MOST_RUNS


class Machine:
    """The program and its memory, of one thread."""

    def __init__(self) -> None:
        import ctypes

        import wasmtime

        if sys.byteorder != "little":
            raise OSError("WebAssembly's numbers are not those of this machine")
        config = wasmtime.Config()
        config.parallel_compilation = False  # the process may be copied, and has one thread
        config.signals_based_traps = False  # signals are the user's
        config.memory_init_cow = False  # no file
        config.memory_reservation = p.PAGES << 16  # no more: address space may be limited
        config.memory_reservation_for_growth = 0
        config.memory_guard_size = 0
        engine = wasmtime.Engine(config)
        self._store = wasmtime.Store(engine)
        # Closed with its thread. When the interpreter ends it could not be: its modules are gone.
        weakref.finalize(self, self._store.close).atexit = False
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(self._store))
        module = wasmtime.Module(engine, p.program())
        exports = wasmtime.Instance(self._store, module, []).exports(self._store)
        self._cut, self._join, self._alike = _functions(exports, "cut", "join", "alike")
        memory: Any = exports["memory"].get_buffer_ptr(self._store)  # type: ignore[union-attr]
        self._memory = np.frombuffer(memory, np.uint8)
        self._lent: Callable[[], Cut | None] = lambda: None

    def cut(self, raw: Any, delimiter: bytes, spoils: bytes) -> Cut | None:
        """Return what a block holds; None where there is no room for it."""
        size = len(raw)
        if size > p.ROOM_FOR_TEXT - p.STEP or self._lent() is not None:
            return None
        stop = p.TEXT + (size // p.STEP + 1) * p.STEP  # a broken character at the end shows
        self._memory[p.TEXT : p.TEXT + size] = raw
        self._memory[p.TEXT + size : stop] = next(b for b in b"xyz" if b not in delimiter + spoils)
        asked = delimiter or b"\n", spoils or b"\xff"  # the latter is in no UTF-8
        self._cut(self._store, p.TEXT, stop, *(ord(char) for char in asked))
        count, breaks, spoiled = self._numbers(p.COUNTS, 3).tolist()
        if count < 0:
            return None
        low, above = (self._memory[at : at + 16].min() for at in (p.LOWEST, p.LOWEST_ABOVE_LF))
        cut = Cut(
            self,
            self._numbers(p.SEPARATORS, count),
            self._numbers(p.BREAKS, breaks),
            self._numbers(p.SPOILS, spoiled) if spoiled < p.MANY_SPOILS else None,
            is_utf8=not self._memory[p.ILL_FORMED : p.ILL_FORMED + 16].any(),
            has_controls=bool(low < _LF or above < _SPACE - _LF - 1),
        )
        self._lent = weakref.ref(cut)
        return cut

    def joined(self, first: Any, runs: Runs, trim: int) -> tuple[Any, Any]:
        """Return the bounds of one text for each line of the block that was cut last, and all."""
        self._join(self._store, *self._asked(first, runs), trim)
        bounds = self._numbers(p.BOUNDS, len(first) + 1)
        return bounds, self._memory[p.JOINED : p.JOINED + bounds.item(-1)]

    def alike(self, first: Any, runs: Runs) -> Any:
        """Say which lines of that block are in some runs as the first."""
        self._alike(self._store, *self._asked(first, runs))
        return self._memory[p.ALIKE : p.ALIKE + len(first)].astype(bool)

    def _asked(self, first: Any, runs: Runs) -> tuple[int, int]:
        self._numbers(p.FIRST, len(first))[:] = first
        self._numbers(p.RUNS, 2 * len(runs))[:] = 4 * np.ravel(runs)
        return len(first), len(runs)

    def _numbers(self, at: int, count: int) -> Any:
        return self._memory[at : at + 4 * count].view(np.int32)


def _functions(exports: Any, *names: str) -> tuple[Callable[..., None], ...]:
    return tuple(exports[name] for name in names)


_LF, _SPACE = 0x0A, 0x20


class _Machines(threading.local):
    """The machine of each thread: made when it is first needed, or found not to be there."""

    made: Machine | None = None
    missing = False


_machines = _Machines()


def cut(raw: Any, delimiter: bytes, spoils: bytes, *, more: bool) -> Cut | None:
    """Return what a block holds; None where NumPy is to look.

    To start the machine costs what it saves on some blocks: only the first of several does.
    """
    if _machines.made is None and more:
        load()
    return None if _machines.made is None else _machines.made.cut(raw, delimiter, spoils)


def load() -> None:
    """Start the machine of this thread, which a copy of the process shares."""
    if _machines.missing or _machines.made is not None:
        return
    try:
        _machines.made = Machine()
    except Exception as why:  # no such runtime for this machine, or too little address space
        _machines.missing = True
        log.info("text is cut by NumPy, which takes longer: %s", why)
