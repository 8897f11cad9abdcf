"""Long rows in turn: of the processes that work together, one at a time holds any.

A row may have 64 MiB, which are 256 MiB as text: what one process may take, several may not.
"""

from __future__ import annotations

import fcntl
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from typing import IO

from .steady import give_back

LONG = 4 << 20  # bytes of a row


@dataclass(slots=True)
class Turns:
    """A lock that several processes share by its file; it ends with the process that holds it."""

    file: IO[bytes]
    _reasons: set[str] = field(default_factory=set)

    @classmethod
    @contextmanager
    def kept(cls, file: IO[bytes] | None = None) -> Iterator[Turns]:
        """Take turns by this file, or by one of their own, in what is done meanwhile."""
        turns = cls(file or tempfile.TemporaryFile())  # noqa: SIM115 (closed below)
        token = _turns.set(turns)
        try:
            yield turns
        finally:
            turns.leave()
            _turns.reset(token)
            turns.file.close()

    @staticmethod
    def here() -> Turns | None:
        """Return the turns that are kept here, if any."""
        return _turns.get()

    def take(self, reason: str) -> None:
        if not self._reasons:
            give_back()
            fcntl.lockf(self.file, fcntl.LOCK_EX)
        self._reasons.add(reason)

    def leave(self, *reasons: str) -> None:
        if not self._reasons:
            return
        self._reasons.difference_update(reasons or [*self._reasons])
        if not self._reasons:
            give_back()
            fcntl.lockf(self.file, fcntl.LOCK_UN)


_turns: ContextVar[Turns | None] = ContextVar("turns", default=None)


def take(reason: str) -> None:
    """Wait until no other process holds a long row; it is held until its last reason is left."""
    if (turns := _turns.get()) is not None:
        turns.take(reason)


def leave(*reasons: str) -> None:
    """Let others have long rows; without reasons, leave all of them."""
    if (turns := _turns.get()) is not None:
        turns.leave(*reasons)
