"""Where parts are judged: in this process, or in others that ship their states back as bytes.

Parts are planned before the engine is known, and merged in order, so that the report is the same
on every engine and with any number of workers. A worker is `python -m yaosu_validators.engines`:
it reads one part from standard input, writes one result to standard output, and ends when its
parent is gone. Both ends are ours, so what travels is pickled; the data itself never does.
"""

from __future__ import annotations

import os
import pickle
import queue
import struct
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import islice
from typing import IO, Any, Protocol, cast

from yaosu_schemas.errors import Unavailable

from .filecheck import FilePart, Seen
from .judge import Tell
from .parts import Part, PartResult, judge_part

_LENGTH = struct.Struct("!Q")


class Engine(Protocol):
    """Judges parts and gives their results back in the order of the parts."""

    def run(self, parts: Sequence[Part]) -> Iterator[PartResult]: ...


@dataclass(frozen=True, slots=True)
class LocalEngine:
    """One part after the other, in this process."""

    tell: Tell | None = None

    def run(self, parts: Sequence[Part]) -> Iterator[PartResult]:
        return (judge_part(part, self.tell) for part in parts)


@dataclass(slots=True)
class ProcessEngine:
    """Parts in other processes; what goes and what comes back is bytes, as on a cluster."""

    workers: int
    tell: Tell | None = None
    _idle: queue.SimpleQueue[subprocess.Popen[bytes]] = field(default_factory=queue.SimpleQueue)
    _all: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def run(self, parts: Sequence[Part]) -> Iterator[PartResult]:
        for part, result in zip(parts, self._answers(parts), strict=True):
            if self.tell is not None:
                whole = part.resource.size if part.what == "whole" else 0
                self.tell(part.resource.place, whole or part.stop - part.start, 0)
            yield result

    def see(self, parts: Sequence[FilePart]) -> Iterator[Seen]:
        """Give what was seen in each part of the files of a target, in their order."""
        return self._answers(parts)

    def _answers(self, parts: Sequence[Part] | Sequence[FilePart]) -> Iterator[Any]:
        for _ in range(min(self.workers, len(parts)) - len(self._all)):
            worker = _start()
            self._all.append(worker)
            self._idle.put(worker)
        with ThreadPoolExecutor(self.workers) as threads:
            waiting: deque[Future[bytes]] = deque()
            ahead = iter(parts)
            try:
                for _ in parts:
                    # Only so many states are ever under way or waiting to be merged.
                    for other in islice(ahead, self.workers + 1 - len(waiting)):
                        waiting.append(threads.submit(self._ask, pickle.dumps(other)))
                    yield pickle.loads(waiting.popleft().result())
            finally:
                for future in waiting:
                    future.cancel()

    def _ask(self, request: bytes) -> bytes:
        worker = self._idle.get()
        try:
            send(cast(IO[bytes], worker.stdin), request)
            answer = receive(cast(IO[bytes], worker.stdout))
        except OSError:
            answer = None
        finally:
            self._idle.put(worker)
        if answer is None:
            raise Unavailable("a worker process stopped; try again", "工作进程已停止；请重试")
        return answer

    def close(self) -> None:
        for worker in self._all:
            worker.kill()
            worker.wait()
            for pipe in (worker.stdin, worker.stdout):
                if pipe is not None:
                    pipe.close()


def _start() -> subprocess.Popen[bytes]:
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    return subprocess.Popen(
        [sys.executable, "-m", __name__],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=env,
        start_new_session=True,  # Ctrl-C is for the parent: it keeps what it has
    )


def send(pipe: IO[bytes], message: bytes) -> None:
    """Write one message with its length in front."""
    pipe.write(_LENGTH.pack(len(message)))
    pipe.write(message)
    pipe.flush()


def receive(pipe: IO[bytes]) -> bytes | None:
    """Return the next message, or None when the other end is gone."""
    head = pipe.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        return None
    (size,) = _LENGTH.unpack(head)
    message = pipe.read(size)
    return message if len(message) == size else None


def answered(part: Part | FilePart) -> PartResult | Seen:
    """Do one piece of work of either sort."""
    return part.see() if isinstance(part, FilePart) else judge_part(part)


def work(inbox: IO[bytes], outbox: IO[bytes], judge: Callable[[Any], Any]) -> None:
    """Answer parts with results until nobody asks any more."""
    while (request := receive(inbox)) is not None:
        send(outbox, pickle.dumps(judge(pickle.loads(request)), protocol=5))


if __name__ == "__main__":
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a library prints goes to standard error, not between our messages
    work(sys.stdin.buffer, answers, answered)
