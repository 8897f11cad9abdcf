"""What foreign bytes can and cannot do once a child reads them."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import openpyxl
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from yaosu_schemas.errors import InvalidInput, NotFound, SandboxFailed, Unavailable
from yaosu_validators import sandbox
from yaosu_validators.sandbox import MIB, Limits, kept_warm, run_in_sandbox

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="SKIPPED: Landlock is Linux only")

SMALL = Limits(memory_bytes=512 * MIB, cpu_s=2, wall_s=90, scratch_bytes=8 * MIB)

ATTEMPTS = """
import ctypes, multiprocessing, os, resource, signal, socket, stat, subprocess, sys, threading
import time
from yaosu_schemas.errors import InvalidInput
from yaosu_validators.child import main

def attempt(code):
    try:
        return repr(eval(code))
    except BaseException as why:
        return type(why).__name__

def scratch_write(size):
    with open(os.path.join(os.environ["TMPDIR"], "spill"), "wb") as out:
        for _ in range(size >> 20):
            out.write(b"0" * (1 << 20))
    return size

def many_files(n):
    for i in range(n):
        with open(os.path.join(os.environ["TMPDIR"], f"f{i}"), "wb") as out:
            out.write(b"0" * (1 << 20))
    time.sleep(600)

def thread():
    got = []
    worker = threading.Thread(target=lambda: got.append(1))
    worker.start(); worker.join()
    return got

def arrow():
    import pyarrow as pa, pyarrow.compute as pc
    return pc.sum(pa.array(range(1000))).as_py()

def simd():
    import numpy as np
    from yaosu_validators import simd
    cut = simd.cut(np.frombuffer(b"a,b", np.uint8), b",", b"", more=True)
    return None if cut is None else cut.separators.tolist()

def try_all(target, args, say):
    return {code: attempt(code) for code in args["codes"]}

def loop(target, args, say):
    while True: pass

def sleep(target, args, say):
    say({"progress": {"facts": ["asleep"], "named": {}}})
    time.sleep(600)

def hoard(target, args, say):
    got = []
    while True: got.append(bytearray(64 << 20))

def fall(target, args, say): ctypes.string_at(0)
def abort(target, args, say): os.abort()
def burst(target, args, say): raise ValueError("secret cell")
def spill(target, args, say): return scratch_write(64 << 20)
def litter(target, args, say): return many_files(64)
def refuse(target, args, say): raise InvalidInput("no", "不", field="x")
def flood(target, args, say):
    while True: say({"x": "y" * (1 << 20)})
def leak(target, args, say):
    return {"note": os.getcwd() + "/a.csv and " + os.environ["TMPDIR"] + "/b", "name": target}
def babble(target, args, say):
    for fd in range(3, 64):
        try:
            if stat.S_ISFIFO(os.fstat(fd).st_mode):
                os.write(fd, b"not json at all" + bytes([10]))
        except OSError:
            pass
    time.sleep(600)

def mute(target, args, say):
    os.closerange(2, 256)
    time.sleep(600)

def forge(target, args, say): return {"valid": True}
def environment(target, args, say): return dict(os.environ)

if __name__ == "__main__":
    main({f.__name__: f for f in (try_all, loop, sleep, hoard, fall, abort, burst, spill, litter,
        refuse, flood, leak, environment, babble, mute, forge)})
"""


@pytest.fixture(scope="module")
def roots(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A folder with the attempts, and a warm process that forks them."""
    folder = tmp_path_factory.mktemp("roots")
    (folder / "attempts.py").write_text(ATTEMPTS)
    with kept_warm("attempts", [folder]):
        yield folder


@pytest.fixture(autouse=True, params=["fresh", "forked"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """How children start: each imports for itself, or all are forked from one that has."""
    if request.param == "fresh":
        monkeypatch.setattr(sandbox, "_nurseries", {})
    return str(request.param)


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, roots: Path) -> Iterator[Any]:
    place = tmp_path / "temporary"  # other tests have their own scratch folders meanwhile
    place.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(place))
    target = tmp_path / "data"
    target.mkdir()
    (target / "a.csv").write_text("id\n1\n")
    (tmp_path / "secret").write_text("key")

    def go(job: str, *, limits: Limits = SMALL, **more: Any) -> dict[str, Any]:
        more.setdefault("target", target)
        return run_in_sandbox(job, limits=limits, entry="attempts", roots=[roots], **more)

    yield go
    assert list(place.iterdir()) == [], "a run left something behind"


def test_the_child_reads_its_target_and_nothing_else(run: Any, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    inside = "open('a.csv').read()"
    outside = [
        "open('/etc/passwd').read()",
        "os.listdir('/')",
        "os.listdir('..')",
        "os.listdir('/tmp')",
        f"open({str(secret)!r}).read()",
        "open('../secret').read()",
        "open('/proc/self/environ').read()",
        "open('a.csv', 'w')",
        "open('../x', 'w')",
        "os.unlink('a.csv')",
        "os.mkdir('../zz')",
        "os.symlink('/etc/passwd', os.environ['TMPDIR'] + '/s')",
    ]
    said = run("try_all", args={"codes": [inside, *outside]})
    assert said.pop(inside) == "'id\\n1\\n'"
    allowed = {code: answer for code, answer in said.items() if answer != "PermissionError"}
    assert allowed == {}


def test_a_lone_file_is_read_and_its_neighbours_are_not(run: Any, tmp_path: Path) -> None:
    (tmp_path / "data" / "b.csv").write_text("secret")
    codes = ["open('a.csv').read()", "open('b.csv').read()"]
    said = run("try_all", target=tmp_path / "data" / "a.csv", args={"codes": codes})
    assert list(said.values()) == ["'id\\n1\\n'", "PermissionError"]


def test_a_lone_descriptor_brings_its_data_along(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id\n1\n2\n")
    descriptor = {"name": "x", "resources": [{"name": "a", "path": "a.csv"}]}
    for name in ("datapackage.json", "other.json"):
        (tmp_path / name).write_text(json.dumps(descriptor))
        report = run_in_sandbox("validate", target=tmp_path / name)
        assert report["valid"], report["errors"]
        assert report["tasks"][0]["stats"]["rows"] == 2
    (tmp_path / "data.yaml").write_text("name: x\nresources:\n- name: a\n  path: a.csv\n")
    assert run_in_sandbox("validate", target=tmp_path / "data.yaml")["tasks"][0]["valid"]


@pytest.mark.parametrize("name", ["a.csv", "a.parquet", "a.xlsx", "a.csv.zip"])
def test_every_kind_of_table_can_be_judged_inside(tmp_path: Path, name: str) -> None:
    table = pa.table({"id": [1, 2], "name": ["x", "y"]})
    if name == "a.parquet":
        pq.write_table(table, tmp_path / name)
    elif name == "a.xlsx":
        book = openpyxl.Workbook()
        for row in (["id", "name"], [1, "x"], [2, "y"]):
            book.active.append(row)
        book.save(tmp_path / name)
    elif name == "a.csv.zip":
        with zipfile.ZipFile(tmp_path / name, "w") as packed:
            packed.writestr("a.csv", "id,name\n1,x\n2,y\n")
    else:
        (tmp_path / name).write_text("id,name\n1,x\n2,y\n")
    report = run_in_sandbox("validate", target=tmp_path / name)
    assert report["valid"], report
    assert report["tasks"][0]["stats"]["rows"] == 2


def test_a_symlink_in_the_target_leads_nowhere(run: Any, tmp_path: Path) -> None:
    (tmp_path / "data" / "link.csv").symlink_to("/etc/passwd")
    said = run("try_all", args={"codes": ["open('link.csv').read()"]})
    assert list(said.values()) == ["PermissionError"]


def test_the_child_reaches_no_network_and_starts_no_program(run: Any) -> None:
    codes = [
        "socket.socket()",
        "socket.socketpair()",
        "socket.create_connection(('127.0.0.1', 9))",
        "subprocess.run(['/bin/true'])",
        "os.execv('/bin/true', ['true'])",
        "os.fork()",
        "os.posix_spawn('/bin/true', ['true'], {})",
        "multiprocessing.get_context('fork').Process(target=int).start()",
    ]
    said = run("try_all", args={"codes": codes})
    assert set(said.values()) <= {"PermissionError", "BlockingIOError"}, said


def test_the_child_cannot_signal_raise_limits_or_change_other_files(run: Any) -> None:
    codes = [
        "os.kill(os.getppid(), 0)",
        "os.kill(-1, 0)",
        "os.chmod('/etc/hostname', 0o644)",
        "os.chmod('a.csv', 0o777)",
        "os.utime('/etc/hostname')",
        "os.chown('a.csv', 0, 0)",
        "os.setsid()",
        "resource.setrlimit(resource.RLIMIT_CPU, (9999, 9999))",
        "os.setxattr('a.csv', 'user.x', b'1')",
    ]
    outlive = "ctypes.CDLL(None).prctl(1, 0, 0, 0, 0)"  # PR_SET_PDEATHSIG
    said = run("try_all", args={"codes": [*codes, outlive]})
    assert said.pop(outlive) == "-1"
    assert set(said.values()) <= {"PermissionError", "ValueError"}, said


def test_threads_arrow_and_scratch_work_inside(run: Any) -> None:
    codes = ["thread()", "arrow()", "scratch_write(1 << 20)"]
    assert list(run("try_all", args={"codes": codes}).values()) == ["[1]", "499500", "1048576"]


def test_text_is_cut_by_simd_inside(run: Any) -> None:
    pytest.importorskip("wasmtime", reason="SKIPPED: no runtime of WebAssembly for this platform")
    assert run("try_all", args={"codes": ["simd()"]}) == {"simd()": "[1]"}


def test_the_servers_environment_stays_outside(run: Any, monkeypatch: Any) -> None:
    monkeypatch.setenv("YAOSU_KEY", "do-not-tell")
    said = run("environment")
    assert "do-not-tell" not in json.dumps(said)
    assert "YAOSU_KEY" not in said


@pytest.mark.parametrize(
    ("job", "kind", "note"),
    [
        ("loop", "resource-limit", "cpu"),
        ("hoard", "resource-limit", "memory"),
        ("spill", "resource-limit", "disk"),
        ("litter", "resource-limit", "disk"),
        ("fall", "reader-crashed", "crash"),
        ("abort", "reader-crashed", "crash"),
        ("burst", "reader-crashed", "crash"),
    ],
)
def test_what_a_file_does_to_its_reader_is_a_verdict(
    run: Any, job: str, kind: str, note: str
) -> None:
    started = time.monotonic()
    error = run(job, limits=replace(SMALL, cpu_s=1) if job == "loop" else SMALL)["error"]
    assert (error["type"], error["note"]) == (kind, note)
    assert error["message"]
    assert error["message_zh"]
    assert "secret cell" not in json.dumps(error)
    assert time.monotonic() - started < 80


def test_a_sleeper_is_ended_at_the_wall_limit(run: Any) -> None:
    limits = Limits(cpu_s=60, wall_s=1.5)
    error = run("sleep", limits=limits)["error"]
    assert (error["type"], error["note"]) == ("resource-limit", "time")


def test_an_endless_answer_is_cut_off(run: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(sandbox, "_ANSWER_BYTES", 4 * MIB)
    error = run("flood")["error"]
    assert (error["type"], error["note"]) == ("resource-limit", "answer")


def test_a_child_that_was_taken_over_cannot_confuse_its_parent(run: Any) -> None:
    started = time.monotonic()
    assert run("babble")["error"]["type"] == "reader-crashed"
    assert time.monotonic() - started < 60


def test_a_child_that_falls_silent_and_lives_on_is_ended(run: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(sandbox, "_END_S", 0.5)
    assert run("mute")["error"]["type"] == "reader-crashed"


def test_a_forged_report_is_no_report(tmp_path: Path) -> None:
    (tmp_path / "forger.py").write_text(
        "from yaosu_validators.child import main\n"
        "if __name__ == '__main__':\n"
        "    main({'validate': lambda target, args, say: {'valid': True, 'tasks': 'none'}})\n"
    )
    target = tmp_path / "a.csv"
    target.write_text("id\n1\n")
    report = run_in_sandbox("validate", target=target, entry="forger", roots=[tmp_path])
    assert report["valid"] is False
    assert report["errors"][0]["type"] == "reader-crashed"


def test_a_typed_error_of_the_child_is_raised_as_that_error(run: Any) -> None:
    with pytest.raises(InvalidInput) as refused:
        run("refuse")
    assert (refused.value.en, refused.value.zh, refused.value.facts) == ("no", "不", {"field": "x"})


def test_no_path_of_the_machine_is_in_the_answer(run: Any, tmp_path: Path) -> None:
    said = run("leak")
    assert str(tmp_path) not in json.dumps(said)
    assert "yaosu-sandbox" not in json.dumps(said)
    assert said["name"] == "."


def test_a_stopped_job_leaves_no_child_and_no_scratch(run: Any) -> None:
    asleep = threading.Event()
    with pytest.raises(Unavailable):
        run("sleep", progress=lambda *_: asleep.set(), stop=asleep.is_set)
    assert asleep.is_set()


def test_a_machine_that_cannot_confine_is_an_error_of_the_set_up(way: str, tmp_path: Path) -> None:
    (tmp_path / "attempts.py").write_text(ATTEMPTS)
    (tmp_path / "pyseccomp.py").write_text("raise ImportError('not here')")
    with contextlib.ExitStack() as held:
        if way == "forked":
            held.enter_context(kept_warm("attempts", [tmp_path]))
        with pytest.raises(SandboxFailed, match="pyseccomp"):
            run_in_sandbox("try_all", target=tmp_path, entry="attempts", roots=[tmp_path])


def test_switching_the_sandbox_off_has_to_be_said_and_keeps_the_limits(run: Any) -> None:
    off = replace(SMALL, cpu_s=1, sandbox=False)
    said = run("try_all", limits=off, args={"codes": ["len(open('/etc/passwd').read()) > 0"]})
    assert list(said.values()) == ["True"]
    assert run("loop", limits=off)["error"]["note"] == "cpu"


def test_a_child_that_cannot_start_is_an_error_of_the_set_up(tmp_path: Path) -> None:
    with pytest.raises(SandboxFailed):
        run_in_sandbox("validate", target=tmp_path, entry="no_such_module_of_ours")


def test_a_missing_target_is_named_without_its_folder(tmp_path: Path) -> None:
    with pytest.raises(NotFound) as missing:
        run_in_sandbox("validate", target=tmp_path / "gone.csv")
    assert str(tmp_path) not in missing.value.en + missing.value.zh
    assert "gone.csv" in missing.value.en


def test_a_killed_parent_takes_the_child_along_and_the_next_run_sweeps(
    run: Any, tmp_path: Path, roots: Path, way: str
) -> None:
    place = tmp_path / "tmp"
    place.mkdir()
    code = (
        "from yaosu_validators.sandbox import *\n"
        f"with kept_warm('attempts' if {way == 'forked'} else 'another', [{str(roots)!r}]):\n"
        f"  run_in_sandbox('sleep', target={str(tmp_path / 'data')!r}, entry='attempts',"
        f" roots=[{str(roots)!r}], progress=lambda *_: print('up', flush=True))"
    )
    env = {**os.environ, "TMPDIR": str(place), "PYTHONPATH": os.pathsep.join(sys.path)}
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, env=env)
    assert parent.stdout is not None
    assert parent.stdout.readline() == b"up\n"
    started = _children(parent.pid)
    started += [child for zygote in started for child in _children(zygote)]
    assert len(started) == {"fresh": 1, "forked": 2}[way]
    os.kill(parent.pid, signal.SIGKILL)
    parent.wait()
    parent.stdout.close()
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline and any(map(_alive, started)):
        time.sleep(0.05)
    assert not any(map(_alive, started))
    assert len(list(place.iterdir())) == 1
    sandbox._sweep(place, older_than_s=0)
    assert list(place.iterdir()) == []


def test_a_living_runs_scratch_is_never_swept(run: Any) -> None:
    seen = []

    def sweep(*_: object) -> None:
        place = Path(tempfile.gettempdir())
        sandbox._sweep(place, older_than_s=0)
        seen.append(list(place.glob("yaosu-sandbox-*")))

    with pytest.raises(Unavailable):
        run("sleep", progress=sweep, stop=lambda: bool(seen))
    assert seen[0]


def _children(pid: int) -> list[int]:
    return [int(n) for n in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def _alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False
