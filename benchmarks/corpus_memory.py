"""Memory and temporary disk of all checks of a corpus, over text far larger than both.

JSON Lines of 10 GB (YAOSU_BENCH_GB : another size; quick: 100 MB), Chinese and English, drawn
by `corpus_quality`. One stretch is drawn; every further one has its letters and characters changed
by another key, so that hardly a record is like one of another stretch. Memory is the sum of the
proportional set sizes of all processes; temporary disk is what their unnamed files hold. A tenth of
the file is measured too: what is left of growth with the input shows in the difference.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from corpus_quality import records
from figure import Figure
from validate_memory import Peak

STRETCH = 64 << 20
KEPT = "。，！？"  # marks whose bytes the keys would change
LETTERS = b"abefghjklmqvwxyz"  # those that stand in no name of a field and no escape
RUN = """
import json, sys
from yaosu_validators import validate
if __name__ == "__main__":
    report = validate(sys.argv[1], checks=["structure", "quality"], workers=int(sys.argv[2]))
    values = {m.id: m.value for m in report.metrics}
    print(json.dumps({"rows": report.tasks[0].stats.rows, "near": values["own:dup_near"]}))
"""


def write(path: Path, size: int) -> None:
    """Write so many bytes of records, or a little more."""
    first = b"".join(
        json.dumps(record, ensure_ascii=False).encode() + b"\n"
        for record in records(min(STRETCH, size))
    )
    with path.open("wb") as file:
        for key in range(-(-size // len(first))):
            file.write(_changed(first, key))


def _changed(data: bytes, key: int) -> bytes:
    """Return records with other letters and characters: valid UTF-8 of the same length."""
    table = bytearray(range(256))
    turned = LETTERS[key % 16 :] + LETTERS[: key % 16]
    table[0x80:0xC0] = bytes(0x80 + (n + key) % 64 for n in range(64))
    table[0xE5:0xE9] = bytes(0xE5 + (n + key // 64) % 4 for n in range(4))
    for before, after in zip(LETTERS, turned, strict=True):
        table[before] = after
    data = data.translate(bytes(table))
    for mark in KEPT:
        data = data.replace(mark.encode().translate(bytes(table)), mark.encode())
    return data


def watched(path: Path, workers: int, temporary: Path) -> tuple[dict[str, Any], Peak, float]:
    """Run to the end and return (what was said, the peaks, wall seconds)."""
    peak, began = Peak(), time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, "-W", "ignore", "-c", RUN, str(path), str(workers)],
        stdout=subprocess.PIPE,
        env={**os.environ, "TMPDIR": str(temporary)},
    )
    while process.poll() is None:
        peak.look(process.pid)
        time.sleep(0.5)
    assert process.stdout is not None
    return json.loads(process.stdout.read()), peak, time.perf_counter() - began


def measure(quick: bool) -> Iterator[Figure]:
    size = 100_000_000 if quick else int(float(os.environ.get("YAOSU_BENCH_GB", "10")) * 1e9)
    with tempfile.TemporaryDirectory(dir=os.environ.get("YAOSU_BENCH_DIR")) as name:
        path, temporary = Path(name, "large.jsonl"), Path(name, "temporary")
        temporary.mkdir()
        for bytes_ in (size // 10, size):
            write(path, bytes_)
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            said, peak, wall = watched(path, 1, temporary)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
            written = path.stat().st_size
            yield Figure(
                name=f"peak memory over {written / 1e9:.1f} GB of text, all checks",
                value=round(peak.pss_mib),
                unit="MiB",
                goal=1024,
                facts={**said, "bytes": written, "wall_s": round(wall), "cpu_s": round(cpu),
                       "mb_per_cpu_s": round(written / 1e6 / cpu, 2),
                       "temporary_mib": round(peak.temporary_mib)},
            )  # fmt: skip
