"""Input of a shape that nobody means: a verdict with a type, in bounded time and memory.

One cell of 1 GiB (quick: 64 MiB), 100,000 columns, JSON of 10,000 levels, NUL bytes in the data.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from figure import Figure

COLUMNS = 100_000
DEPTH = 10_000
LIMIT_S = 300  # of processor time
RUN = """
import json, resource, sys
from yaosu_validators import validate
report = validate(sys.argv[1])
task = report.tasks[0]
used = resource.getrusage(resource.RUSAGE_SELF)
peak = next(int(l.split()[1]) for l in open("/proc/self/status") if l.startswith("VmHWM"))
types = sorted({e.type for e in [*report.errors, *task.errors]})
print(json.dumps([used.ru_utime + used.ru_stime, peak // 1024, task.stats.rows, types]))
"""


def huge_cell(file: IO[bytes], size: int) -> None:
    file.write(b"id,text\n1,a\n2,")
    for _ in range(size >> 20):
        file.write(b"x" * (1 << 20))
    file.write(b"\n3,b\n")


def huge_quoted(file: IO[bytes], size: int) -> None:
    file.write(b'id,text\n1,a\n2,"')
    for _ in range(size >> 20):
        file.write((b"x" * 1023 + b"\n") * 1024)
    file.write(b'"\n3,b\n')


def huge_string(file: IO[bytes], size: int) -> None:
    file.write(b'{"id": 1, "text": "a"}\n{"id": 2, "text": "')
    for _ in range(size >> 20):
        file.write(b"x" * (1 << 20))
    file.write(b'"}\n')


def wide_csv(file: IO[bytes], size: int) -> None:
    file.write(",".join(f"c{n}" for n in range(COLUMNS)).encode() + b"\n")
    for row in range(20):
        file.write(",".join(str(n + row) for n in range(COLUMNS)).encode() + b"\n")


def wide_jsonl(file: IO[bytes], size: int) -> None:
    for row in range(20):
        file.write(json.dumps({f"c{n}": n + row for n in range(COLUMNS)}).encode() + b"\n")


def deep_jsonl(file: IO[bytes], size: int) -> None:
    file.write(b'{"id": 1, "a": []}\n{"id": 2, "a": ' + b"[" * DEPTH + b"]" * DEPTH + b"}\n")


def deep_json(file: IO[bytes], size: int) -> None:
    file.write(b'[{"id": 1, "a": ' + b"[" * DEPTH + b"]" * DEPTH + b"}]")


def nul_csv(file: IO[bytes], size: int) -> None:
    file.write(b"id,text\n" + b"1,a\n" * 100_000 + b"2,a\x00b\n" + b"3,\x00\n" * 10)


def nul_jsonl(file: IO[bytes], size: int) -> None:
    file.write(b'{"id": 1, "text": "a"}\n' * 50_000 + b'{"id": 2, "text": "a\x00b"}\n')


CASES: tuple[tuple[str, str, Callable[[IO[bytes], int], None], tuple[str, ...]], ...] = (
    ("one cell of CSV", "cell.csv", huge_cell, ("resource-limit", "source-error")),
    ("one quoted cell of CSV", "quoted.csv", huge_quoted, ("resource-limit", "source-error")),
    ("one string of JSON Lines", "string.jsonl", huge_string, ("resource-limit", "source-error")),
    ("100,000 columns of CSV", "wide.csv", wide_csv, ()),
    ("100,000 keys of JSON Lines", "wide.jsonl", wide_jsonl, ()),
    ("JSON Lines 10,000 deep", "deep.jsonl", deep_jsonl, ("source-error",)),
    ("JSON 10,000 deep", "deep.json", deep_json, ("source-error",)),
    ("NUL bytes in CSV", "nul.csv", nul_csv, ()),
    ("NUL bytes in JSON Lines", "nul.jsonl", nul_jsonl, ("source-error",)),
)


def measure(quick: bool) -> Iterator[Figure]:
    size = (64 << 20) if quick else (1 << 30)
    with tempfile.TemporaryDirectory(dir=os.environ.get("YAOSU_BENCH_DIR")) as folder:
        for name, file_name, write, wanted in CASES:
            path = Path(folder, file_name)
            with path.open("wb") as file:
                write(file, size)
            yield judged(name, path, wanted)
            path.unlink()


def judged(name: str, path: Path, wanted: tuple[str, ...]) -> Figure:
    """Return the memory that a verdict took; the note says what it was."""
    command = [sys.executable, "-W", "ignore", "-c", RUN, str(path)]
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=10 * LIMIT_S,  # others may have most of the machine
            check=False,
            preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CPU, (LIMIT_S, LIMIT_S)),
        )
    except subprocess.TimeoutExpired:
        return Figure(name=name, value=-1, unit="MiB", note=f"NO VERDICT in {10 * LIMIT_S} s")
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["killed"])[-1]
        return Figure(name=name, value=-1, unit="MiB", note=f"NO VERDICT: {last[:120]}")
    seconds, peak, rows, types = json.loads(done.stdout)
    as_wanted = not wanted or bool(set(types) & set(wanted))
    verdict = ", ".join(types) or "valid"
    return Figure(
        name=f"{name}: peak memory",
        value=peak,
        unit="MiB",
        goal=512,
        note=verdict if as_wanted else f"UNEXPECTED: {verdict}",
        facts={"cpu_s": round(seconds, 2), "rows": rows, "bytes": path.stat().st_size},
    )


if __name__ == "__main__":
    for figure in measure("--quick" in sys.argv):
        print(json.dumps(figure.as_json(), ensure_ascii=False), flush=True)
