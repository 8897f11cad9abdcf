"""Forks the sandbox's children from one warm process, so that none imports its readers anew.

The warm process (a zygote) is started by exec, like any child, with nothing of its server in it. It
imports, waits and forks, and has one thread, as a fork keeps no other. A request and the bytes it
is about go past it, by descriptor, to the forked child, which shuts itself in as ever: what the
zygote is, no file has touched, and every child begins from it alone.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import random
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable
from typing import IO

from .confine import die_with_parent

log = logging.getLogger(__name__)

ANSWER_FD = 3
"""Where a forked child answers."""
_IDLE_S = 900
_KILL_S = 10.0
_THREADS = b"T"


class Forked:
    """One forked child as its server sees it: the part of `subprocess.Popen` that is needed.

    `lost` says that nobody knows how it ended, or that it never began: never the file's doing.
    """

    def __init__(
        self, task: socket.socket, zygote: subprocess.Popen[bytes], stdin: int, stderr: int
    ) -> None:
        self.stdin: IO[bytes] = os.fdopen(stdin, "wb")
        self.stderr: IO[bytes] = os.fdopen(stderr, "rb")
        self.returncode: int | None = None
        self.lost = False
        self.refused = False
        self.killed = False
        self.zygote = zygote
        self._task = task

    def poll(self) -> int | None:
        return self._ended(0)

    def wait(self, timeout: float | None = None) -> int:
        code = self._ended(timeout)
        if code is None:
            raise subprocess.TimeoutExpired("a forked child", timeout or 0)
        return code

    def kill(self) -> None:
        """Have the zygote kill the child and its group: a process number of its may be reused."""
        self.killed = True
        with contextlib.suppress(OSError):
            self._task.shutdown(socket.SHUT_WR)
        if self._ended(_KILL_S) is None:
            self.zygote.kill()  # it is stuck: all its children end with it

    def _ended(self, timeout: float | None) -> int | None:
        if self.returncode is None:
            self._task.settimeout(timeout)
            try:
                said = self._task.recv(8)
            except (BlockingIOError, TimeoutError):
                return None
            except OSError:
                said = b""
            self.refused = said == _THREADS
            self.lost = len(said) != 4
            self.returncode = -signal.SIGKILL if self.lost else int.from_bytes(said, signed=True)
            self._task.close()
        return self.returncode


class Nursery:
    """The server's end of a zygote, which is started on first need, and again when it is gone."""

    def __init__(self, start: Callable[[int], subprocess.Popen[bytes]]) -> None:
        self.holders = 0
        self.cold = sys.platform != "linux"
        self._start = start
        self._owner = os.getpid()
        self._lock = threading.Lock()
        self._zygote: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._leaving: list[subprocess.Popen[bytes]] = []

    @property
    def pid(self) -> int | None:
        """The zygote's process number, if there is one."""
        return self._zygote.pid if self._zygote and self._zygote.poll() is None else None

    def fork(self, answer: int) -> Forked | None:
        """Return a child that answers on `answer`; None where one has to be started afresh."""
        if self.cold or os.getpid() != self._owner:
            return None
        task, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        request, stdin = os.pipe()
        stderr, errors = os.pipe()
        try:
            with self._lock:
                zygote = self._sent([theirs.fileno(), request, answer, errors])
        except OSError as why:
            log.warning("no warm process to fork children from: %s", why)
            task.close()
            os.close(stdin)
            os.close(stderr)
            return None
        finally:
            theirs.close()
            os.close(request)
            os.close(errors)
        return Forked(task, zygote, stdin, stderr)

    def ended(self, child: Forked) -> None:
        """Learn from a child's end: one that fell of itself is a new zygote's reason.

        The children of one zygote share its addresses: a file that fells its reader may be after
        them, and its next attempt meets others.
        """
        if child.refused:
            self.cold = True
            log.warning("the warm process has threads: children are started afresh from now on")
        elif (child.returncode or 0) < 0 and not child.killed:
            with self._lock:
                if child.zygote is self._zygote:
                    self._retire()

    def close(self) -> None:
        """End the zygote and whatever it forked; from now on there is none."""
        with self._lock:
            self.cold = True
            self._retire()
            for zygote in self._leaving:
                zygote.kill()
                zygote.wait()
            self._leaving = []

    def _sent(self, descriptors: list[int]) -> subprocess.Popen[bytes]:
        if self._zygote is not None and self._zygote.poll() is None and self._control is not None:
            with contextlib.suppress(OSError):  # or it has just ended
                socket.send_fds(self._control, [b"."], descriptors)
                return self._zygote
        self._retire()
        if self.cold:
            raise OSError("it was closed")
        self._control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs:
            zygote = self._zygote = self._start(theirs.fileno())
            socket.send_fds(self._control, [b"."], descriptors)
        return zygote

    def _retire(self) -> None:
        """Send it no more tasks: it ends after the children it has."""
        if self._control is not None:
            self._control.close()
        if self._zygote is not None:
            self._leaving.append(self._zygote)
        self._control = self._zygote = None
        self._leaving = [zygote for zygote in self._leaving if zygote.poll() is None]


def serve(control_fd: int) -> None:
    """Be the zygote: fork a child for every task that comes, and return in each child alone."""
    control = socket.socket(fileno=control_fd)
    gc.collect()
    gc.freeze()  # a collection in a child need not write to what it shares
    house = _House()
    server = os.pidfd_open(os.getppid())
    for fd in (control_fd, server):
        house.poll.register(fd, select.POLLIN)
    hiring = True
    while hiring or house.children:
        happened = house.poll.poll(None if house.children else _IDLE_S * 1000)
        if not happened:
            break
        for fd, _ in happened:
            if fd == server:
                os._exit(0)  # the kernel kills the children after it
            elif fd == control_fd:
                _, passed, _, _ = socket.recv_fds(control, 1, 4)
                if not passed:
                    hiring = False  # retired: those that are under way end in peace
                    house.poll.unregister(control_fd)
                elif house.fork(passed):
                    control.detach()
                    return
            else:
                house.attend(fd)
    os._exit(0)


class _House:
    """The children of a zygote, each with a socket on which its server hears of its end."""

    def __init__(self) -> None:
        self.poll = select.poll()
        self.children: dict[int, tuple[int, int]] = {}  # by pidfd: process number and socket
        self._sockets: dict[int, int] = {}  # by socket: process number
        self._own = os.getpid()

    def fork(self, passed: list[int]) -> bool:
        """Return True in the new child; the zygote keeps only the socket of what was passed."""
        task, *theirs = passed
        alone = len(os.listdir("/proc/self/task")) == 1
        child = os.fork() if alone else -1
        if child == 0:
            _settle(self._own, *theirs)
            return True
        for fd in theirs:
            os.close(fd)
        if alone:
            pidfd = os.pidfd_open(child)
            self.children[pidfd] = child, task
            self._sockets[task] = child
            self.poll.register(pidfd, select.POLLIN)
            self.poll.register(task, select.POLLIN)
        else:
            _tell(task, _THREADS)
            os.close(task)
        return False

    def attend(self, fd: int) -> None:
        """Tell a server of its child's end, or end a child whose server wants no more of it."""
        if fd in self._sockets:
            self.poll.unregister(fd)
            _kill_group(self._sockets[fd])
        elif fd in self.children:
            child, task = self.children.pop(fd)
            _kill_group(child)
            _, status = os.waitpid(child, 0)
            _tell(task, os.waitstatus_to_exitcode(status).to_bytes(4, signed=True))
            del self._sockets[task]
            for closed in (fd, task):
                with contextlib.suppress(KeyError):
                    self.poll.unregister(closed)
                os.close(closed)


def _settle(zygote: int, request: int, answer: int, errors: int) -> None:
    """Make the forked child what a fresh one is: a session, its descriptors, seeds of its own."""
    os.setsid()
    die_with_parent(zygote)
    for had, wanted in ((request, 0), (errors, 2), (answer, ANSWER_FD)):
        os.dup2(had, wanted)
    os.closerange(ANSWER_FD + 1, os.sysconf("SC_OPEN_MAX"))
    tempfile.tempdir = None
    random.seed()
    if (numpy := sys.modules.get("numpy.random")) is not None:
        numpy.seed()


def _kill_group(child: int) -> None:
    """Kill a child that was not waited for: its number is its own until then."""
    for kill in (os.killpg, os.kill):  # it may not have a group yet
        with contextlib.suppress(ProcessLookupError, PermissionError):
            kill(child, signal.SIGKILL)


def _tell(task: int, word: bytes) -> None:
    with contextlib.suppress(OSError):  # its server is gone
        os.write(task, word)
