"""Children forked from one warm process know nothing of each other, and nobody misses it."""

from __future__ import annotations

import logging
import os
import signal
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from yaosu_schemas.errors import Unavailable
from yaosu_validators import nursery, sandbox
from yaosu_validators.nursery import Nursery
from yaosu_validators.sandbox import MIB, Limits, kept_warm, run_in_sandbox

pytestmark = pytest.mark.skipif(
    not Path("/proc/self/task").exists(), reason="SKIPPED: Landlock is Linux only"
)

JOBS = """
import builtins, os, random, signal, stat, sys, time, uuid
import numpy.random
from yaosu_validators.child import main

SEEN = []

def state():
    return {
        "seen": len(SEEN),
        "builtin": hasattr(builtins, "left_behind"),
        "module": "left_behind" in sys.modules,
        "environment": sorted(key for key in os.environ if key.startswith("LEFT")),
        "signal": signal.getsignal(signal.SIGUSR1) == signal.SIG_DFL,
        "umask": os.umask(0o22),
        "scratch": os.listdir(os.environ["TMPDIR"]),
        "here": os.listdir("."),
        "path": "left" in sys.path,
        "open": [fd for fd in range(1024) if is_open(fd)],
        "process_s": time.process_time() < 1,
    }

def is_open(fd):
    try:
        os.fstat(fd)
    except OSError:
        return False
    return True

def look(target, args, say): return state()

def leave(target, args, say):
    SEEN.append(1)
    builtins.left_behind = 1
    sys.modules["left_behind"] = sys
    os.environ["LEFT"] = "1"
    signal.signal(signal.SIGUSR1, signal.SIG_IGN)
    os.umask(0)
    sys.path.append("left")
    open(os.path.join(os.environ["TMPDIR"], "left"), "w").close()
    os.chdir(os.environ["TMPDIR"])
    return {"left": state()}

def chance(target, args, say):
    drawn = [random.random(), float(numpy.random.random()), uuid.uuid4().hex]
    return {"drawn": drawn, "pid": os.getpid(), "session": os.getsid(0)}

def sleep(target, args, say):
    say({"progress": {"facts": [os.getpid()], "named": {}}})
    time.sleep(600)

def pause(target, args, say):
    say({"progress": {"facts": [os.getpid()], "named": {}}})
    time.sleep(args["s"])
    return {"done": True}

def fall(target, args, say): os.abort()

if __name__ == "__main__":
    main({f.__name__: f for f in (look, leave, chance, sleep, pause, fall)})
"""
SMALL = Limits(memory_bytes=512 * MIB, cpu_s=5, wall_s=60, scratch_bytes=8 * MIB)


@pytest.fixture(scope="module")
def warm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Nursery, Path]]:
    roots = tmp_path_factory.mktemp("roots")
    (roots / "jobs.py").write_text(JOBS)
    with kept_warm("jobs", [roots]) as held:
        yield held, roots


@pytest.fixture
def held(warm: tuple[Nursery, Path]) -> Nursery:
    return warm[0]


@pytest.fixture
def run(tmp_path: Path, warm: tuple[Nursery, Path]) -> Any:
    (tmp_path / "a.csv").write_text("id\n1\n")

    def go(job: str, **more: Any) -> dict[str, Any]:
        entry = {"entry": "jobs", "roots": [warm[1]], "target": tmp_path, "limits": SMALL}
        return run_in_sandbox(job, **{**entry, **more})

    return go


def test_no_child_sees_what_another_left(run: Any, held: Nursery, monkeypatch: Any) -> None:
    first, zygote = run("look"), held.pid
    assert run("leave")["left"] != first
    assert run("look") == first
    assert first["open"] == [0, 1, 2, nursery.ANSWER_FD]
    assert held.pid == zygote, "all of them are children of the same"
    monkeypatch.setattr(sandbox, "_nurseries", {})
    afresh = run("look")
    assert {**afresh, "open": first["open"]} == first, "it begins as one that is started afresh"


def test_chance_is_each_childs_own(run: Any) -> None:
    said = [run("chance") for _ in range(3)]
    for drawn in zip(*(one["drawn"] for one in said), strict=True):
        assert len(set(drawn)) == 3
    assert all(one["session"] == one["pid"] for one in said)


def test_several_children_live_at_once(run: Any) -> None:
    together = threading.Barrier(3, timeout=60)  # nobody passes unless all are under way
    with ThreadPoolExecutor(3) as pool:
        jobs = [
            pool.submit(
                run, "pause", args={"s": 0.05}, progress=lambda *_: together.wait() and None
            )
            for _ in range(3)
        ]
        assert [job.result() for job in jobs] == [{"done": True}] * 3


@pytest.mark.parametrize("who", ["zygote", "child with its zygote"])
def test_a_zygote_that_is_killed_in_the_middle_is_started_again(
    run: Any, held: Nursery, who: str
) -> None:
    killed = []

    def kill_once(child: int) -> None:
        if not killed:
            killed.append(held.pid)
            os.kill(held.pid or 0, signal.SIGKILL)
            if who != "zygote":
                os.kill(child, signal.SIGKILL)

    assert run("pause", args={"s": 0.3}, progress=kill_once) == {"done": True}
    assert held.pid not in (None, *killed)


def test_a_zygote_that_never_lives_makes_children_start_afresh(
    run: Any, held: Nursery, caplog: pytest.LogCaptureFixture
) -> None:
    def kill(_: int) -> None:
        if (zygote := held.pid) is not None:
            os.kill(zygote, signal.SIGKILL)

    with caplog.at_level(logging.WARNING):
        assert run("pause", args={"s": 0.3}, progress=kill) == {"done": True}
    assert "afresh" in caplog.text


def test_a_crash_ends_the_zygote_whose_addresses_it_may_have_learnt(
    run: Any, held: Nursery
) -> None:
    run("look")
    before = held.pid
    asleep: list[int] = []
    with pytest.raises(Unavailable):
        run("sleep", progress=asleep.append, stop=lambda: bool(asleep))
    assert held.pid == before, "a child that was stopped has learnt nothing"
    assert run("fall")["error"]["type"] == "reader-crashed"
    run("look")
    assert held.pid not in (None, before)
    assert _gone(before)


def test_a_process_with_threads_forks_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    threads = "import threading, time\nthreading.Thread(target=time.sleep, args=(99,), daemon=True)"
    (tmp_path / "threaded.py").write_text(f"{threads}.start()\n{JOBS}")
    with kept_warm("threaded", [tmp_path]) as held, caplog.at_level(logging.WARNING):
        run = {"target": tmp_path, "entry": "threaded", "roots": [tmp_path], "limits": SMALL}
        assert run_in_sandbox("pause", args={"s": 0}, **run) == {"done": True}
        assert held.cold
        assert "has threads" in caplog.text
        caplog.clear()
        assert run_in_sandbox("pause", args={"s": 0}, **run) == {"done": True}
        assert caplog.text == "", "it is said once"


def test_a_stuck_zygote_cannot_keep_a_child_alive(
    run: Any, held: Nursery, monkeypatch: Any
) -> None:
    monkeypatch.setattr(nursery, "_KILL_S", 0.5)
    asleep: list[int] = []

    def stop() -> bool:
        if asleep:
            os.kill(held.pid or 0, signal.SIGSTOP)
        return bool(asleep)

    with pytest.raises(Unavailable):
        run("sleep", progress=asleep.append, stop=stop)
    assert _gone(asleep[0])
    assert run("pause", args={"s": 0}) == {"done": True}


def test_a_zygote_that_does_not_answer_gives_no_verdict(
    run: Any, held: Nursery, monkeypatch: Any
) -> None:
    monkeypatch.setattr(nursery, "_KILL_S", 0.2)
    monkeypatch.setattr(sandbox, "_END_S", 0.2)
    stopped: list[int] = []

    def stop_once(_: int) -> None:
        if not stopped:
            stopped.append(held.pid or 0)
            os.kill(stopped[0], signal.SIGSTOP)

    assert run("pause", args={"s": 0.1}, progress=stop_once) == {"done": True}
    assert _gone(stopped[0])


def test_whoever_lets_go_last_leaves_nothing(run: Any, warm: tuple[Nursery, Path]) -> None:
    with kept_warm("jobs", [warm[1], warm[1]]) as own:
        run("pause", args={"s": 0}, roots=[warm[1], warm[1]])
        zygote = own.pid
        with kept_warm("jobs", [warm[1], warm[1]]) as same:
            assert same is own
        assert own.pid == zygote
        assert zygote is not None
        assert os.getsid(zygote) == zygote, "Ctrl-C in a terminal goes to the server alone"
    assert _gone(zygote)
    answers, theirs = os.pipe()
    assert own.fork(theirs) is None, "who comes too late begins no other"
    os.close(answers)
    os.close(theirs)


def test_what_is_idle_for_long_ends_and_comes_again(run: Any, tmp_path: Path) -> None:
    roots = tmp_path
    patient = "    main("
    hasty = "    from yaosu_validators import nursery; nursery._IDLE_S = 0.05\n    main("
    (roots / "jobs.py").write_text(JOBS.replace(patient, hasty))
    with kept_warm("jobs", [roots]) as held:
        assert run("pause", args={"s": 0.3}, roots=[roots]) == {"done": True}
        deadline = time.monotonic() + 10
        while held.pid is not None and time.monotonic() < deadline:
            time.sleep(0.02)
        assert held.pid is None
        assert run("pause", args={"s": 0}, roots=[roots]) == {"done": True}


def _gone(pid: int | None, *, seconds: float = 10) -> bool:
    assert pid is not None
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        try:
            if Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z":
                return True
        except OSError:
            return True
        time.sleep(0.02)
    return False
