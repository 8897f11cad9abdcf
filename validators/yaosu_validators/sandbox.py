"""Runs a reader of foreign bytes in a child process that can be killed and can reach nothing.

What the file does to the reader (a crash, a hang, a bomb) is a verdict on the file. What this
machine lacks to shut the reader in is `SandboxFailed`, an error of the set-up, and never a
verdict (reliability.md §2b, toolbox.md §9).
"""

from __future__ import annotations

import contextlib
import fcntl
import importlib.util
import json
import logging
import os
import re
import selectors
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from yaosu_schemas import errors
from yaosu_schemas.errors import NotFound, SandboxFailed, Unavailable, YaosuError

from .nursery import ANSWER_FD, Forked, Nursery
from .stopped import Stop, stopped_result

log = logging.getLogger(__name__)

MIB = 1 << 20
_ANSWER_BYTES = 256 * MIB
_STDERR_BYTES = 8192
_TICK_S = 0.1
_RETRIES = 8
_START_S = 120.0
_END_S = 10.0
_LOSSES = 2
_ENTRY = "yaosu_validators.child"
IN_CHILD = "YAOSU_IN_CHILD"  # set in the environment of a child, which starts no other
_SCRATCH_PREFIX = "yaosu-sandbox-"
_HEAD = 1 << 16
_MEMBERS = re.compile(rb"\b(?:resources|path)\b[\"']?\s*:")
_Child = subprocess.Popen[bytes] | Forked
_Kind = tuple[str, tuple[str, ...]]
_nurseries: dict[_Kind, Nursery] = {}
_nurseries_lock = threading.Lock()


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What one child may use; `sandbox=False` has to be said, and leaves only the limits."""

    memory_bytes: int = 2048 * MIB
    cpu_s: int = 60
    wall_s: float = 150.0
    scratch_bytes: int = 512 * MIB
    open_files: int = 256
    sandbox: bool = True

    def of_child(self) -> dict[str, int]:
        """Return what the child sets upon itself; the rest is watched from outside."""
        return {
            "memory_bytes": self.memory_bytes,
            "cpu_s": self.cpu_s,
            "file_bytes": self.scratch_bytes,
            "open_files": self.open_files,
        }

    @classmethod
    def for_bytes(cls, size_bytes: int, *, sandbox: bool = True) -> Limits:
        """Return limits for a target of `size_bytes`: at worst 1 MiB of it takes a second."""
        cpu_s = 60 + size_bytes // MIB
        return cls(
            memory_bytes=2048 * MIB + min(4 * size_bytes, 2048 * MIB),
            cpu_s=cpu_s,
            wall_s=2.0 * cpu_s + 30,
            scratch_bytes=512 * MIB + 8 * size_bytes,
            sandbox=sandbox,
        )


def run_in_sandbox(
    job: str,
    *,
    target: Path | str,
    args: Mapping[str, Any] | None = None,
    limits: Limits | None = None,
    progress: Callable[..., None] | None = None,
    stop: Callable[[], bool] | None = None,
    keep: Callable[[Path, dict[str, Any]], None] | None = None,
    reads: Sequence[Path | str] = (),
    entry: str = _ENTRY,
    roots: Sequence[Path | str] = (),
) -> dict[str, Any]:
    """Return the JSON answer of `job` (those of `child.py`) on `target`.

    The child sees `target` (relative to its own folder, so that no path of this machine can
    come back), `reads`, and an empty scratch folder; hard links inside the target work, symlinks
    out of it do not. A reader that crashes, hangs or exceeds `limits` gives a result that says
    so. `stop` is polled and ends the job with `Unavailable`; a machine that cannot confine
    raises `SandboxFailed`.
    """
    folder, name, readable = _place(Path(target))
    bounds = limits or Limits.for_bytes(_size_bytes(folder / name))
    request: dict[str, Any] = {
        "job": job,
        "args": dict(args or {}),
        "cwd": str(folder),
        "target": name,
        "reads": [str(readable), *(os.path.realpath(path) for path in reads)],
        "confined": bounds.sandbox,
        "parent": os.getpid(),
    }
    broken: list[tuple[str, str, str, str]] = []
    lost = 0
    while True:
        with _scratch() as scratch:
            request["scratch"] = str(scratch)
            request["limits"] = bounds.of_child()
            nursery = _nurseries.get(_kind(entry, roots)) if lost < _LOSSES else None
            with _started(request, scratch, entry, roots, nursery) as run:
                run.follow(bounds, progress or _ignore, stop or _never)
            if run.lost:  # its zygote ended: that says nothing of the file
                lost += 1
                if lost == _LOSSES:
                    log.warning("the warm process ends again and again: %s starts afresh", job)
                continue
            answer, why = _conclude(job, run, request, hide=[str(folder), str(scratch)])
            if why is None and keep is not None:
                keep(scratch, answer)
        if why is None or not _goes_on(job, why, run.at, broken):
            return answer
        # One file must not cost a person the description of all others: leave it out and retry.
        broken.append((run.at, why.type, *why.text))
        request["args"]["broken"] = broken


@contextlib.contextmanager
def kept_warm(entry: str = _ENTRY, roots: Sequence[Path | str] = ()) -> Iterator[Nursery]:
    """Let this process's children of `entry` be forked from a warm one while anybody holds this.

    For a server: a program that reads one file starts one child, and gains nothing.
    """
    kind = _kind(entry, roots)

    def start(control: int) -> subprocess.Popen[bytes]:
        env = _environment(Path(os.sep), roots)
        return _popen([entry, str(control)], subprocess.DEVNULL, control, env)

    with _nurseries_lock:
        nursery = _nurseries.setdefault(kind, Nursery(start))
        nursery.holders += 1
    try:
        yield nursery
    finally:
        with _nurseries_lock:
            nursery.holders -= 1
            if nursery.holders == 0:
                del _nurseries[kind]
                nursery.close()


def _kind(entry: str, roots: Sequence[Path | str]) -> _Kind:
    return entry, tuple(map(str, roots))


def _goes_on(job: str, why: Stop, at: str, broken: Sequence[Sequence[str]]) -> bool:
    """Say whether a description is tried again without the file that its reader fell over."""
    new = bool(at) and all(at != path for path, *_ in broken)
    return job == "describe" and why.kind in ("crash", "memory") and new and len(broken) < _RETRIES


def _place(target: Path) -> tuple[Path, str, Path]:
    """Return the child's folder, the target as seen from there, and what it may read."""
    real = Path(os.path.realpath(target))
    try:
        mode = real.stat().st_mode
    except OSError:
        raise NotFound(
            f"{target.name}: there is no such file or folder",
            f"{target.name}：文件或文件夹不存在",
        ) from None
    if stat.S_ISDIR(mode):
        return real, ".", real
    if not stat.S_ISREG(mode):
        raise NotFound(
            f"{target.name} is neither a file nor a folder", f"{target.name} 不是文件或文件夹"
        )
    return real.parent, real.name, real.parent if _names_others(real) else real


def _names_others(file: Path) -> bool:
    """Say whether a file may be a descriptor, whose data lie beside it: looked at, not parsed."""
    if file.suffix.lower() not in (".json", ".yaml", ".yml"):
        return False
    with file.open("rb") as opened:
        return bool(_MEMBERS.search(opened.read(_HEAD)))


def _size_bytes(path: Path) -> int:
    if path.is_file():
        return path.stat().st_size
    total = 0
    for folder, _, names in os.walk(path, followlinks=False):
        for name in names:
            with contextlib.suppress(OSError):
                total += os.lstat(os.path.join(folder, name)).st_size
    return total


@contextlib.contextmanager
def _scratch() -> Iterator[Path]:
    """Give an empty folder that is gone afterwards, also after a kill of this very process.

    The folder is locked while its run lives. Whoever comes next removes the unlocked ones.
    """
    _sweep(Path(tempfile.gettempdir()))
    folder = Path(tempfile.mkdtemp(prefix=_SCRATCH_PREFIX))
    lock = os.open(folder, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        os.close(lock)


def _sweep(place: Path, *, older_than_s: float = 10.0) -> None:
    for folder in place.glob(_SCRATCH_PREFIX + "*"):
        with contextlib.suppress(OSError):
            if folder.is_symlink() or time.time() - folder.lstat().st_ctime < older_than_s:
                continue
            if folder.lstat().st_uid != os.geteuid():
                continue
            lock = os.open(folder, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(lock)


@contextlib.contextmanager
def _started(
    request: dict[str, Any],
    scratch: Path,
    entry: str,
    roots: Sequence[Path | str],
    nursery: Nursery | None,
) -> Iterator[_Run]:
    read_end, write_end = os.pipe()
    child: _Child | None = None
    try:
        if nursery is not None:
            child = nursery.fork(write_end)
        answer_fd = ANSWER_FD if child is not None else write_end
        if child is None:
            env = _environment(scratch, roots)
            child = _popen([entry], subprocess.PIPE, write_end, env)
    except OSError as why:
        os.close(read_end)
        raise _unavailable(str(why)) from None
    finally:
        os.close(write_end)
    try:
        run = _Run(child, read_end, scratch)
        run.send({**request, "answer_fd": answer_fd})
        yield run
    finally:
        _kill(child)
        os.close(read_end)
        if isinstance(child, Forked) and nursery is not None:
            nursery.ended(child)


def _popen(
    module: list[str], pipes: int, passed: int, env: dict[str, str]
) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [sys.executable, "-s", "-P", "-B", "-m", *module],
        stdin=pipes,
        stdout=subprocess.DEVNULL,
        stderr=pipes,
        pass_fds=(passed,),
        start_new_session=True,
        cwd=env["HOME"],
        env=env,
    )


def _environment(scratch: Path, roots: Sequence[Path | str]) -> dict[str, str]:
    """Return the child's environment: none of the server's, so no key can be read from it."""
    ours = [str(_source_root(name)) for name in ("yaosu_validators", "yaosu_schemas")]
    return {
        IN_CHILD: "1",
        "PATH": os.defpath,
        "LANG": "C.UTF-8",
        "TZ": "UTC",
        "HOME": str(scratch),
        "TMPDIR": str(scratch),
        "PYTHONPATH": os.pathsep.join(dict.fromkeys([*map(str, roots), *ours])),
        # Arrow's own pools reserve address space by the gigabyte, which the limit counts.
        "ARROW_DEFAULT_MEMORY_POOL": "system",
        "MALLOC_ARENA_MAX": "2",
        "OMP_NUM_THREADS": "2",
        # A process that forks may have one thread only.
        "OPENBLAS_NUM_THREADS": "1",
        "JE_ARROW_MALLOC_CONF": "background_thread:false",
        "ARROW_IO_THREADS": "2",
    }


def _source_root(package: str) -> Path:
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.submodule_search_locations:
        raise _unavailable(f"{package} is not installed")
    return Path(next(iter(spec.submodule_search_locations))).parent


class _Run:
    """One child under way: what it said, and how it ended."""

    def __init__(self, child: _Child, answers: int, scratch: Path) -> None:
        self.child = child
        self.answers = answers
        self.scratch = scratch
        self.said: dict[str, Any] = {}
        self.stderr = b""
        self.stopped: Stop | None = None
        self.at = ""
        self._buffer = bytearray()
        self._heard = 0

    @property
    def lost(self) -> bool:
        """Whether the child ended, unasked, because its zygote did."""
        return isinstance(self.child, Forked) and self.child.lost and self.stopped is None

    def send(self, request: dict[str, Any]) -> None:
        pipe = self.child.stdin
        assert pipe is not None
        with contextlib.suppress(BrokenPipeError):
            pipe.write(json.dumps(request).encode())
        with contextlib.suppress(BrokenPipeError):
            pipe.close()

    def follow(
        self, limits: Limits, progress: Callable[..., None], stop: Callable[[], bool]
    ) -> None:
        """Read what the child says until it ends, is stopped, or has used up its share."""
        deadline, ready_at = time.monotonic() + _START_S, 0.0
        errors_pipe: IO[bytes] | None = self.child.stderr
        assert errors_pipe is not None
        looked = time.monotonic()
        with selectors.DefaultSelector() as ready:
            ready.register(self.answers, selectors.EVENT_READ)
            ready.register(errors_pipe.fileno(), selectors.EVENT_READ)
            while ready.get_map() and self.stopped is None:
                for key, _ in ready.select(_TICK_S):
                    data = os.read(key.fd, 1 << 16)
                    if not data:
                        ready.unregister(key.fd)
                    elif key.fd == self.answers:
                        self._take(data, progress)
                    else:
                        self.stderr = (self.stderr + data)[-_STDERR_BYTES:]
                now = time.monotonic()
                if not ready_at and "ready" in self.said:  # the imports are not the file's doing
                    ready_at, deadline = now, now + limits.wall_s
                if stop():
                    raise Unavailable("the job was stopped", "任务已停止")
                if self.stopped is not None:
                    break  # the first reason is the reason
                if now > deadline:
                    self.stopped = Stop("time", limits.wall_s)
                elif now - looked > 0.5:
                    looked = now
                    if _size_bytes(self.scratch) > limits.scratch_bytes:
                        self.stopped = Stop("disk", limits.scratch_bytes)
        if self.stopped is None:
            try:
                self.child.wait(timeout=_END_S)
            except subprocess.TimeoutExpired:
                _kill(self.child)
                if not self.lost:  # it had fallen silent, and lived on
                    self.stopped = Stop("crash", detail="no answer")
        _kill(self.child)

    def _take(self, data: bytes, progress: Callable[..., None]) -> None:
        self._buffer += data
        self._heard += len(data)
        if self._heard > _ANSWER_BYTES:
            self.stopped = Stop("answer", _ANSWER_BYTES)
            return
        if b"\n" not in data:
            return
        *lines, rest = self._buffer.split(b"\n")
        self._buffer = bytearray(rest)
        for line in lines:
            self._hear(bytes(line), progress)

    def _hear(self, line: bytes, progress: Callable[..., None]) -> None:
        """Take one message; a child that was taken over may say anything."""
        try:
            message = json.loads(line)
            told = message.get("progress")
        except (ValueError, AttributeError, RecursionError):
            self.stopped = Stop("crash", detail="answer")
            return
        if told is None:
            self.said.update(message)
        elif isinstance(told, dict):
            facts, named = told.get("facts"), told.get("named")
            if isinstance(facts, list) and isinstance(named, dict):
                if len(facts) > 2 and isinstance(facts[2], str):
                    self.at = facts[2]
                progress(*facts, **named)


def _kill(child: _Child) -> None:
    if child.poll() is None:
        if isinstance(child, subprocess.Popen):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(child.pid, signal.SIGKILL)
        child.kill()
    child.wait()
    for pipe in (child.stdin, child.stderr):
        if pipe is not None:
            with contextlib.suppress(OSError):
                pipe.close()


def _conclude(
    job: str, run: _Run, request: dict[str, Any], *, hide: list[str]
) -> tuple[dict[str, Any], Stop | None]:
    """Return the answer of a child, and why it was ended early if it was."""
    said, status = run.said, run.child.returncode
    if run.stderr:
        log.info("sandboxed %s, exit %s: %s", job, status, run.stderr.decode(errors="replace"))
    if "ready" not in said:  # no foreign byte was read yet: it is not the file's doing
        last = run.stderr.decode(errors="replace").strip().splitlines()
        reason = last[-1] if last else f"the child ended with {status} before it was ready"
        raise _unavailable(reason.removeprefix("SANDBOX-UNAVAILABLE "))
    if run.stopped is None and isinstance(said.get("refused"), dict):
        raise _as_error(said["refused"])
    if run.stopped is None and _well_formed(job, said.get("result")):
        return _without_paths(said["result"], hide), None
    why = _why(run, request)
    return stopped_result(job, why, request["args"]), why


def _well_formed(job: str, answer: object) -> bool:
    """Say whether an answer has the shape that its readers rely on."""
    if not isinstance(answer, dict):
        return False
    if job != "validate":
        return True
    lists = all(isinstance(answer.get(key), list) for key in ("tasks", "errors", "checks"))
    return lists and isinstance(answer.get("valid"), bool) and isinstance(answer.get("stats"), dict)


def _why(run: _Run, request: dict[str, Any]) -> Stop:
    """Say what ended the child, from its last word, its signal and its last line."""
    bounds = request["limits"]
    if run.stopped is not None:
        return run.stopped
    failed = run.said.get("failed")
    status = run.child.returncode or 0
    if failed == "memory" or b"bad_alloc" in run.stderr or b"MemoryError" in run.stderr[-400:]:
        return Stop("memory", bounds["memory_bytes"])
    if failed == "disk":
        return Stop("disk", bounds["file_bytes"])
    if status == -signal.SIGXCPU:
        return Stop("cpu", bounds["cpu_s"])
    if status == -signal.SIGKILL:  # the second CPU limit, or the kernel short of memory
        return Stop("killed")
    if failed == "crash":
        return Stop("crash", detail=str(run.said.get("exception", "")))
    name = signal.Signals(-status).name if status < 0 else "no answer"
    return Stop("crash", detail=name)


def _as_error(refused: dict[str, Any]) -> YaosuError:
    kind = getattr(errors, str(refused.pop("kind", "")), YaosuError)
    if not (isinstance(kind, type) and issubclass(kind, YaosuError)):
        kind = YaosuError
    refused.pop("code", None)
    en, zh = refused.pop("message", ""), refused.pop("message_zh", "")
    error = kind.__new__(kind)
    YaosuError.__init__(error, en, zh, **refused)
    return error


def _unavailable(why: str) -> SandboxFailed:
    return SandboxFailed(
        f"foreign files cannot be read safely on this machine: {why}"
        " (YAOSU_SANDBOX=false reads them without, where you trust them)",
        f"本机无法安全地读取外来文件：{why}（若信任这些文件，可设 YAOSU_SANDBOX=false）",
        why=why,
    )


def _without_paths(value: Any, hide: Sequence[str]) -> Any:
    """Return `value` without any folder of this machine; cells stay as they are in the data."""
    if isinstance(value, str):
        for path in hide:
            if path in value:
                value = value.replace(path + os.sep, "").replace(path, "")
        return value
    if isinstance(value, list):
        return [_without_paths(item, hide) for item in value]
    if isinstance(value, dict):
        return {
            key: item if key in ("rows", "cell", "cells") else _without_paths(item, hide)
            for key, item in value.items()
        }
    return value


def _ignore(*_: object, **__: object) -> None:
    return None


def _never() -> bool:
    return False
