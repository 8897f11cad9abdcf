"""Memory and temporary disk of validation with keys, over a file far larger than both.

A CSV of 10 GB (quick: 100 MB) whose primary key grows and whose unique field is in no order. Memory
is the sum of the proportional set sizes of all processes (shared pages count once); temporary disk
is what their unnamed files hold. One run is killed in the middle to see what it leaves behind.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from figure import Figure

ROW_BYTES = 223
CHUNK_ROWS = 1 << 17
SCHEMA: dict[str, Any] = {
    "fields": [
        {"name": "id", "type": "integer", "constraints": {"required": True}},
        {"name": "code", "type": "string", "constraints": {"unique": True}},
        {"name": "price", "type": "number", "constraints": {"minimum": 0, "maximum": 1000}},
        {"name": "day", "type": "date"},
        {"name": "text", "type": "string", "constraints": {"minLength": 5}},
    ],
    "primaryKey": ["id"],
}
DOUBLES = 3  # rows at the end whose unique field repeats that of the first rows
RUN = """
import json, sys
from yaosu_validators import validate
path, schema, workers = json.loads(sys.argv[1])
if __name__ == "__main__":
    report = validate(path, schema=schema, workers=workers)
    task = report.tasks[0]
    errors = [[e.type, e.row_number] for e in task.errors]
    print(json.dumps({"rows": task.stats.rows, "errors": errors, "valid": report.valid}))
"""


@dataclass(slots=True)
class Peak:
    """The most that a process and its children held at once."""

    pss_mib: float = 0.0
    temporary_mib: float = 0.0

    def look(self, root: int) -> None:
        pids = [root, *_below(root)]
        self.pss_mib = max(self.pss_mib, sum(map(_pss, pids)) / 1024)
        self.temporary_mib = max(self.temporary_mib, _unnamed(pids) / (1 << 20))


def _below(pid: int) -> list[int]:
    found: list[int] = []
    for tasks in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            for child in map(int, tasks.read_text().split()):
                found += [child, *_below(child)]
        except OSError:
            continue
    return found


def _pss(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return next((int(line.split()[1]) for line in lines if line.startswith("Pss:")), 0)


def _unnamed(pids: list[int]) -> int:
    """Return the bytes on disk of files that are open and have no name any more."""
    held: dict[tuple[int, int], int] = {}
    for pid in pids:
        for link in Path(f"/proc/{pid}/fd").glob("*"):
            try:
                if link.readlink().name.endswith("(deleted)"):
                    status = link.stat()
                    held[status.st_dev, status.st_ino] = status.st_blocks * 512
            except OSError:
                continue
    return sum(held.values())


def write(path: Path, size: int) -> int:
    """Write a table of about so many bytes and return its number of rows."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc
    import pyarrow.csv

    rows = size // ROW_BYTES
    texts = pa.array([f"{'模型训练 corpus data '.strip()} {n:06} " + "x" * 150 for n in range(997)])
    options = pa.csv.WriteOptions(include_header=False, quoting_style="none")
    with path.open("wb") as file:
        file.write(b"id,code,price,day,text\n")
        for start in range(0, rows, CHUNK_ROWS):
            ids = np.arange(start, min(start + CHUNK_ROWS, rows), dtype=np.int64)
            seeds = np.where(ids >= rows - DOUBLES, ids - (rows - DOUBLES), ids)
            codes = (seeds * 0x9E3779B1 + 12345) % (1 << 40)  # odd factor: no two are the same
            table = pa.table(
                {
                    "id": ids,
                    "code": pc.binary_join_element_wise(
                        "K", pc.cast(pa.array(codes), "string"), ""
                    ),
                    "price": np.round((ids % 99_991) / 100, 2),
                    "day": pa.array((ids % 9000 + 10_000).astype(np.int32), pa.date32()),
                    "text": texts.take(pa.array(ids % 997)),
                }
            )
            pa.csv.write_csv(table, file, options)
    return rows


def start(path: Path, workers: int, temporary: Path) -> subprocess.Popen[bytes]:
    told = json.dumps([str(path), SCHEMA, workers])
    return subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", RUN, told],
        stdout=subprocess.PIPE,
        env={**os.environ, "TMPDIR": str(temporary)},
    )


def watched(path: Path, workers: int, temporary: Path) -> tuple[dict[str, Any], Peak, float]:
    """Run to the end and return (what was said, the peaks, wall seconds)."""
    peak, began = Peak(), time.perf_counter()
    process = start(path, workers, temporary)
    while process.poll() is None:
        peak.look(process.pid)
        time.sleep(0.1)
    assert process.stdout is not None
    said = json.loads(process.stdout.read())
    return said, peak, time.perf_counter() - began


def killed(path: Path, workers: int, temporary: Path) -> tuple[int, int, float]:
    """Kill a run once it has temporary files; return (files left, workers left, MiB it had)."""
    peak = Peak()
    process = start(path, workers, temporary)
    while process.poll() is None and not peak.temporary_mib:
        peak.look(process.pid)
        time.sleep(0.05)
    below = _below(process.pid)
    process.send_signal(signal.SIGKILL)
    process.wait()
    for _ in range(100):
        alive = [pid for pid in below if Path(f"/proc/{pid}/cmdline").exists() and _pss(pid)]
        if not alive:
            break
        time.sleep(0.1)
    return sum(1 for _ in temporary.rglob("*")), len(alive), peak.temporary_mib


def measure(quick: bool) -> Iterator[Figure]:
    size = 100_000_000 if quick else 10_400_000_000
    with tempfile.TemporaryDirectory(dir=os.environ.get("YAOSU_BENCH_DIR")) as name:
        path, temporary = Path(name, "large.csv"), Path(name, "temporary")
        temporary.mkdir()
        rows = write(path, size)
        size = path.stat().st_size
        expected = [["unique-error", rows - DOUBLES + 2 + n] for n in range(DOUBLES)]
        for workers in (1, 2):
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            said, peak, wall = watched(path, workers, temporary)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
            right = said["errors"] == expected and said["rows"] == rows
            facts = {
                "bytes": size,
                "rows": rows,
                "wall_s": round(wall, 1),
                "cpu_s": round(cpu, 1),
                "temporary_mib": round(peak.temporary_mib),
                "load": os.getloadavg()[0],
            }
            yield Figure(
                name=f"peak memory, {workers} worker{'s' * (workers > 1)}",
                value=round(peak.pss_mib),
                unit="MiB",
                goal=512,
                note="every repeated key was found" if right else f"WRONG: {said}",
                facts=facts,
            )
            yield Figure(
                name=f"temporary disk, {workers} worker{'s' * (workers > 1)}",
                value=round(peak.temporary_mib * (1 << 20) / size, 2),
                unit="of the input",
                goal=1,
            )
        for workers in (1, 2):
            files, processes, held = killed(path, workers, temporary)
            yield Figure(
                name=f"left behind after a kill, {workers} worker{'s' * (workers > 1)}",
                value=files + processes,
                unit="files and processes",
                goal=0,
                facts={"temporary_mib_when_killed": round(held)},
            )


if __name__ == "__main__":
    for figure in measure("--quick" in sys.argv):
        print(json.dumps(figure.as_json(), ensure_ascii=False), flush=True)
