"""Where parts are judged: in this process, or in others that ship their states back as bytes.

Parts are planned before the engine is known, and merged in order, so that the report is the same
on every engine and with any number of workers. A worker is a copy of this process or
`python -m yaosu_validators.engines`: it reads one part, writes one result, and ends when its
parent is gone. Both ends are ours, so what travels is pickled; the data itself never does.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import pickle
import signal
import struct
import subprocess
import sys
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import IO, TYPE_CHECKING, Any, NoReturn, Protocol, cast

from yaosu_schemas.errors import Unavailable

from .parts import Part, PartResult, judge_part
from .steady import few_looks, leave_pandas_out, short_turns
from .turns import Turns

if TYPE_CHECKING:
    from .filecheck import FilePart, Seen  # a table does without: it brings what media need

_LENGTH = struct.Struct("!Q")
Needed = Callable[[int], bool]  # whether the result of a part, by its number, still counts


def _all(number: int) -> bool:
    return True


class Engine(Protocol):
    """Judges parts and gives their results back in the order of the parts.

    Which of them are needed is asked as late as can be; the others have an empty result.
    """

    def run(self, parts: Sequence[Part], needed: Needed) -> Iterator[PartResult]: ...


@dataclass(slots=True)
class ProcessEngine:
    """Parts here and in other processes; what goes there and comes back is bytes, as on a cluster.

    This process judges parts while it waits: it is one of the workers.
    """

    workers: int
    _others: list[Worker] = field(default_factory=list)
    _board: _Board | None = None
    _threads: list[threading.Thread] = field(default_factory=list)

    def begin(self) -> None:
        """Start the others before there are parts.

        A process of one thread is copied once it has loaded what large tables need. Of any other
        new ones are started, which load it while the parts are planned.
        """
        copied = _has_one_thread()
        if copied:
            _load()
        while len(self._others) < self.workers - 1:
            other = _Copy(self._others) if copied else _start(_EARLY)
            self._others.append(other)

    def run(self, parts: Sequence[Part], needed: Needed = _all) -> Iterator[PartResult]:
        return self._answers(parts, needed)

    def see(self, parts: Sequence[FilePart]) -> Iterator[Seen]:
        """Give what was seen in each part of the files of a target, in their order."""
        return self._answers(parts, _all)

    def _answers(self, parts: Sequence[Part | FilePart], needed: Needed) -> Iterator[Any]:
        board = self._board = _Board(parts, self.workers + 2, needed)
        for _ in range(min(self.workers, len(parts)) - 1 - len(self._others)):
            self._others.append(_start())
        for worker in self._others:
            thread = threading.Thread(target=board.serve, args=(worker,), daemon=True)
            thread.start()
            self._threads.append(thread)
        with short_turns(), contextlib.closing(board):
            for number in range(len(parts)):
                yield board.result(number)

    def stopped(self) -> dict[int, PartResult]:
        """Stop the others, and return what they have that was not given back, by its number."""
        if self._board is None:
            return {}
        self._board.close()
        for worker in self._others:
            worker.interrupt()
        end = time.monotonic() + _PATIENCE
        for thread in self._threads:
            thread.join(max(0.0, end - time.monotonic()))
        return self._board.left()

    def close(self) -> None:
        for worker in self._others:
            worker.kill()
            worker.wait()
            for pipe in (worker.stdin, worker.stdout):
                if pipe is not None:
                    pipe.close()


class _Board:
    """Hands out parts, and gives their results back in the order of the parts.

    Only `ahead` states are ever under way or waiting to be merged. Digests are small, and take
    long: they are handed out before the other parts of their file, and their results come last.
    """

    def __init__(self, parts: Sequence[Part | FilePart], ahead: int, needed: Needed) -> None:
        self._parts = parts
        self._needed = needed
        self._order = _digests_first(parts)
        self._left = ahead
        self._results: dict[int, Any] = {}
        self._changed = threading.Condition()

    def result(self, number: int) -> Any:
        """Return the result of a part; parts are judged here until it is there."""
        while True:
            with self._changed:
                self._pass_over()
                if number in self._results:
                    self._left += not _is_digests(self._parts[number])
                    self._changed.notify_all()
                    found = self._results.pop(number)
                    break
                mine = self._take()
                if mine is None:
                    self._changed.wait()
                    continue
            done = answered(self._parts[mine])
            self._put(mine, done)
            if mine != number and isinstance(done, PartResult) and _is_stopped(done):
                raise KeyboardInterrupt
        if isinstance(found, Exception):
            raise found
        return found

    def serve(self, worker: Worker) -> None:
        """Let another process judge parts until there are none left.

        It is given its next part before its last result is unpacked, so that it need not wait.
        """
        number = self._asked(worker, wait=True)
        while number is not None:
            answer = _answer(worker)
            following = self._asked(worker, wait=False)
            try:
                self._put(number, _GONE if answer is None else pickle.loads(answer))
            except Exception as why:  # told where the result is waited for
                self._put(number, why)
            number = self._asked(worker, wait=True) if following is None else following

    def _asked(self, worker: Worker, *, wait: bool) -> int | None:
        """Take a part and send it; None where there is none left, or none yet and no time."""
        with self._changed:
            while (number := self._take()) is None:
                if not self._order or not wait:
                    return None
                self._changed.wait()
        try:
            send(cast(IO[bytes], worker.stdin), pickle.dumps(self._parts[number]))
        except Exception:  # it is gone or cannot be told: let no one wait for its answer
            worker.kill()
        return number

    def close(self) -> None:
        """Hand out nothing more."""
        with self._changed:
            self._order.clear()
            self._changed.notify_all()

    def left(self) -> dict[int, PartResult]:
        """Return the results that were not asked for, by the numbers of their parts."""
        with self._changed:
            return {n: r for n, r in self._results.items() if isinstance(r, PartResult)}

    def _pass_over(self) -> None:
        while self._order and not self._needed(self._order[0]):
            self._results[self._order.popleft()] = PartResult()
            self._left -= 1

    def _take(self) -> int | None:
        self._pass_over()
        if not self._order:
            return None
        if not _is_digests(self._parts[self._order[0]]):
            if self._left <= 0:
                return None
            self._left -= 1
        return self._order.popleft()

    def _put(self, number: int, result: Any) -> None:
        with self._changed:
            self._results[number] = result
            self._changed.notify_all()


_PATIENCE = 2.0  # seconds that a person who stopped a run waits for what others had begun
_GONE = Unavailable("a worker process stopped; try again", "工作进程已停止；请重试")


def _is_digests(part: Part | FilePart) -> bool:
    return isinstance(part, Part) and part.what == "digests"


def _is_stopped(result: PartResult) -> bool:
    return result.outcome is not None and result.outcome.interrupted


def _digests_first(parts: Sequence[Part | FilePart]) -> deque[int]:
    order: list[int] = []
    first = 0  # of the parts of one file
    for number, part in enumerate(parts):
        order.insert(first if _is_digests(part) else len(order), number)
        if _is_digests(part) or not isinstance(part, Part) or part.what == "whole":
            first = number + 1
    return deque(order)


def _answer(worker: Worker) -> bytes | None:
    try:
        return receive(cast(IO[bytes], worker.stdout))
    except (OSError, ValueError):  # it is gone, or its pipes are closed
        return None


class Worker(Protocol):
    """Another process that judges parts, as far as `subprocess.Popen` is used here."""

    @property
    def stdin(self) -> IO[bytes] | None: ...
    @property
    def stdout(self) -> IO[bytes] | None: ...
    def interrupt(self) -> None: ...
    def kill(self) -> None: ...
    def wait(self) -> int: ...


class _Copy:
    """A copy of this process that judges parts until nobody asks any more."""

    def __init__(self, others: Sequence[Worker]) -> None:
        inbox, ask = os.pipe()
        answers, outbox = os.pipe()
        self.pid = os.fork()
        if not self.pid:
            for pipe in (ask, answers):
                os.close(pipe)
            _work_as_copy(inbox, outbox, others)
        for pipe in (inbox, outbox):
            os.close(pipe)
        self.stdin, self.stdout = os.fdopen(ask, "wb"), os.fdopen(answers, "rb")
        _widen(self.stdout)

    def interrupt(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGINT)

    def kill(self) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)

    def wait(self) -> int:
        return os.waitpid(self.pid, 0)[1]


class _Started(subprocess.Popen[bytes]):
    """A new process that judges parts."""

    def interrupt(self) -> None:
        self.send_signal(signal.SIGINT)


def _work_as_copy(inbox: int, outbox: int, others: Sequence[Worker]) -> NoReturn:
    """Be a worker, and nothing of what this process was."""
    try:
        os.setsid()  # Ctrl-C is for the parent: it keeps what it has
        signal.signal(signal.SIGINT, signal.default_int_handler)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        for other in others:  # they are to hear it when the parent is gone
            for pipe in (other.stdin, other.stdout):
                if pipe is not None:
                    pipe.close()
        with few_looks():
            work(os.fdopen(inbox, "rb"), os.fdopen(outbox, "wb"), answered)
    except KeyboardInterrupt:
        pass
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(0)  # nothing of the parent is written or tidied up twice


def _has_one_thread() -> bool:
    """Say whether this process may be copied: no other thread can hold a lock in the copy.

    What NumPy starts when it is loaded here ends itself before a fork; in a process that has used
    NumPy or Arrow already, more may be going on.
    """
    if sys.platform != "linux" or {"numpy", "pyarrow"} & {*sys.modules}:
        return False
    return len(os.listdir("/proc/self/task")) == 1


def _load() -> None:
    from . import lines, records, simd  # noqa: F401 (they bring Arrow)

    simd.load()


_EARLY = "early"


def _start(*arguments: str) -> _Started:
    turns = Turns.here()
    shared = [] if turns is None else [turns.file.fileno()]
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # until it can take it
    try:
        worker = _Started(
            [sys.executable, "-m", __name__, *map(str, shared), *arguments],
            pass_fds=shared,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=env,
            start_new_session=True,  # Ctrl-C is for the parent: it keeps what it has
        )
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    _widen(cast(IO[bytes], worker.stdout))
    return worker


def _widen(pipe: IO[bytes]) -> None:
    with contextlib.suppress(OSError, AttributeError):  # only Linux has it, and up to its limits
        fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)


_PIPE_BYTES = 1 << 20  # a result that fits into the pipe is delivered at once


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
    return judge_part(part) if isinstance(part, Part) else part.see()


def work(inbox: IO[bytes], outbox: IO[bytes], judge: Callable[[Any], Any]) -> None:
    """Answer parts with results until nobody asks any more, or somebody stops it."""
    with contextlib.suppress(BrokenPipeError, KeyboardInterrupt):  # who asked may be gone
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})
        while (request := receive(inbox)) is not None:
            send(outbox, pickle.dumps(judge(pickle.loads(request)), protocol=5))


if __name__ == "__main__":
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever a library prints goes to standard error, not between our messages
    leave_pandas_out()
    if _EARLY in sys.argv:
        _load()
    with contextlib.ExitStack() as stack:
        stack.enter_context(few_looks())
        for shared in filter(str.isdigit, sys.argv[1:]):
            stack.enter_context(Turns.kept(os.fdopen(int(shared), "r+b")))
        work(sys.stdin.buffer, answers, answered)
