"""Validation against frictionless and the floors: CPU seconds of whole processes, in one run.

The table has 10 columns and 16 kinds of errors in one row of sixty; both sides report every error
and hash the file with SHA-256 and MD5. Ratios are taken pairwise in this run.
"""

from __future__ import annotations

import compileall
import json
import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import validate_peers
from figure import Figure

WORDS = (
    *("corpus", "data", "模型", "训练", "elements", "trade", "verify", "薬"),
    *("lorem", "ipsum", "市场", "价格"),
)
CATEGORIES = ("alpha", "beta", "gamma", "delta")
NAMES = ["id", "code", "age", "price", "cat", "flag", "day", "at", "text", "email"]
SCHEMA: dict[str, Any] = {
    "fields": [
        {"name": "id", "type": "integer", "constraints": {"required": True}},
        {"name": "code", "type": "string", "constraints": {"pattern": "[A-G]{3}-[0-9]{4}"}},
        {"name": "age", "type": "integer", "constraints": {"minimum": 0, "maximum": 120}},
        {"name": "price", "type": "number", "constraints": {"minimum": 0, "maximum": 1000}},
        {"name": "cat", "type": "string", "constraints": {"enum": list(CATEGORIES)}},
        {"name": "flag", "type": "boolean"},
        {
            "name": "day",
            "type": "date",
            "constraints": {"minimum": "2000-01-01", "maximum": "2024-12-31"},
        },
        {"name": "at", "type": "datetime"},
        {"name": "text", "type": "string", "constraints": {"minLength": 5}},
        {"name": "email", "type": "string", "constraints": {"required": True}},
    ],
    "primaryKey": ["id"],
}


def row(r: random.Random, number: int) -> list[str]:
    day = f"20{r.randint(0, 24):02}-{r.randint(1, 12):02}-{r.randint(1, 28):02}"
    clock = f"{r.randint(0, 23):02}:{r.randint(0, 59):02}:{r.randint(0, 59):02}"
    text = " ".join(r.choices(WORDS, k=28))
    return [
        str(number),
        f"{r.choice('ABCDEFG') * 3}-{r.randint(0, 9999):04}",
        str(r.randint(0, 120)),
        f"{r.uniform(0, 1000):.2f}",
        r.choice(CATEGORIES),
        r.choice(("true", "false")),
        day,
        f"{day}T{clock}",
        f'"{text}, ""quoted"""' if r.random() < 0.02 else text,
        f"user{r.randint(1, 10**6)}@example.org",
    ]


PAIRS = 5  # of runs with one and with two processes
SPOILED = {
    0: (2, "x"),
    1: (2, "300"),
    2: (3, "abc"),
    3: (3, "-5"),
    4: (4, "omega"),
    5: (5, "yes"),
    6: (6, "2020-02-30"),
    7: (7, "2020-01-01 25:00:00"),
    8: (1, "bad code"),
    9: (8, "x"),
    10: (9, ""),
    11: (0, ""),
    12: (0, "1"),
}


def spoil(r: random.Random, cells: list[str]) -> list[str]:
    """Break a row in one of 16 ways."""
    kind = r.randrange(16)
    if kind in SPOILED:
        place, text = SPOILED[kind]
        cells[place] = text
        return cells
    return [[*cells, "extra"], cells[:-1], [""] * len(cells)][kind - 13]


def write(path: Path, rows: int, bad: float) -> None:
    r = random.Random(7)
    with path.open("w", encoding="utf-8", newline="") as file:
        file.write(",".join(NAMES) + "\n")
        for number in range(1, rows + 1):
            cells = row(r, number)
            if r.random() < bad:
                cells = spoil(r, cells)
            file.write(",".join(cells) + "\n")


def write_records(table: Path, path: Path, rows: int) -> None:
    import csv

    numbers = {"id": int, "age": int, "price": float}
    with table.open(encoding="utf-8", newline="") as source, path.open("w", encoding="utf-8") as f:
        for count, cells in enumerate(csv.DictReader(source)):
            if count >= rows:
                return
            record: dict[str, Any] = {k: v for k, v in cells.items() if k and v is not None}
            for name, cast in numbers.items():
                try:
                    record[name] = cast(record[name])
                except (KeyError, ValueError):
                    continue
            if record.get("flag") in ("true", "false"):
                record["flag"] = record["flag"] == "true"
            f.write(json.dumps(record, ensure_ascii=False) + "\n")


def write_columns(table: Path, path: Path) -> None:
    import pyarrow as pa
    import pyarrow.csv as pc
    import pyarrow.parquet as pq

    whole = pa.string()
    types = {"id": pa.int64(), "age": pa.int64(), "price": pa.float64(), "flag": pa.bool_()}
    read = pc.read_csv(
        table,
        convert_options=pc.ConvertOptions(
            column_types={**dict.fromkeys(("code", "cat", "text", "email"), whole), **types}
        ),
    )
    pq.write_table(read, path)


OURS = """
from yaosu_validators import validate
report = validate({path!r}, schema={schema!r}, limit_errors=0)
found = [(e.type, e.row_number, e.field_number) for e in report.tasks[0].errors]
"""
THEIRS = """
from frictionless import Schema, system, validate
with system.use_context(trusted=True):
    schema = Schema.from_descriptor({schema!r})
    report = validate({path!r}, schema=schema, limit_errors=10**9)
kinds = [(e.type, getattr(e, "row_number", None), getattr(e, "field_number", None))
         for e in report.tasks[0].errors]
found = kinds
"""
STRINGS = """
import pyarrow as pa, pyarrow.csv as pc
options = pc.ConvertOptions(column_types={{n: pa.string() for n in {names!r}}})
skip = pc.ParseOptions(newlines_in_values=True, invalid_row_handler=lambda row: "skip")
one = pc.ReadOptions(use_threads=False)
for batch in pc.open_csv({path!r}, read_options=one, parse_options=skip, convert_options=options):
    pass
found = []
"""
COLUMNS = """
import pyarrow.parquet as pq
for batch in pq.ParquetFile({path!r}).iter_batches(use_threads=False):
    pass
found = []
"""
DIGESTS = """
import hashlib
sha256, md5 = hashlib.sha256(), hashlib.md5(usedforsecurity=False)
with open({path!r}, "rb", buffering=0) as file:
    while chunk := file.read(1 << 20):
        sha256.update(chunk)
        md5.update(chunk)
"""
TELL = """
import hashlib, json, resource
told = hashlib.sha256(repr(found).encode()).hexdigest()
used = resource.getrusage(resource.RUSAGE_SELF)
# Not ru_maxrss: a child starts with the peak of the process that it was made from.
peak = next(int(l.split()[1]) for l in open("/proc/self/status") if l.startswith("VmHWM"))
print(json.dumps([used.ru_utime + used.ru_stime, peak // 1024, len(found), told]))
"""


def run(code: str, path: Path, python: str = sys.executable) -> tuple[float, int, int, str]:
    """Return CPU seconds, peak MiB, number of errors and their digest of one fresh process."""
    text = code.format(path=str(path), schema=SCHEMA, names=NAMES) + TELL
    done = subprocess.run(
        [python, "-W", "ignore", "-c", text],
        capture_output=True,
        check=True,
        cwd=path.parent,
    )
    seconds, memory, errors, told = json.loads(done.stdout)
    return seconds, memory, errors, told


def measure(quick: bool) -> Iterator[Figure]:
    for name in ("schemas", "validators"):  # as an installation does, for both sides
        compileall.compile_dir(Path(__file__).parents[1] / name, quiet=1)
    rows = 100_000 if quick else 1_000_000
    with tempfile.TemporaryDirectory(dir=os.environ.get("YAOSU_BENCH_DIR")) as name:
        folder = Path(name)
        dirty, clean = folder / "dirty.csv", folder / "clean.csv"
        write(dirty, rows, 1 / 60)
        write(clean, rows, 0)
        yield from against("CSV, 16 error kinds", dirty, dirty, 1, 15, rows)
        yield from floor("CSV without errors", clean, STRINGS, "pyarrow reading text")
        records = folder / "records.jsonl"
        write_records(dirty, records, rows)
        yield from against("JSON Lines", records, records, 1, 15, rows)
        yield two_processes("CSV, 16 error kinds", dirty)
        yield two_processes("JSON Lines", records)
        few, columns = folder / "few.csv", folder / "typed.parquet"
        write_columns(clean, columns)
        with clean.open("rb") as source, few.open("wb") as sink:
            sink.writelines(source.readline() for _ in range(rows // 50 + 1))
        small = folder / "few.parquet"
        write_columns(few, small)
        with clean.open("rb") as source, few.open("wb") as sink:
            sink.writelines(source.readline() for _ in range(2))
        write_columns(few, folder / "start.parquet")
        python = validate_peers.python()  # Frictionless needs pandas to read Parquet
        yield from against("Parquet", columns, small, 50, 100, rows, python)
        yield from floor("Parquet", columns, COLUMNS, "pyarrow reading columns")


def against(
    name: str,
    path: Path,
    sample: Path,
    times: int,
    goal: float,
    rows: int,
    python: str = sys.executable,
) -> Iterator[Figure]:
    """Measure us on a file, and frictionless on it or on a part of it of one in `times` rows.

    We take a twentieth of its time, in which a machine may be fast or slow: ours is the median of
    three runs before it and three behind it.
    """
    runs = [run(OURS, path) for _ in range(3)]
    memory, errors, told = runs[0][1:]
    expected = told if times == 1 else run(OURS, sample)[3]
    try:
        theirs, peak, _, other = run(THEIRS, sample, python)
        if times > 1:  # its start is not multiplied
            begin = run(THEIRS, sample.with_name("start.parquet"), python)[0]
            theirs = begin + (theirs - begin) * times
    except subprocess.CalledProcessError as why:
        theirs, peak, other = 0.0, 0, why.stderr.decode(errors="replace")[-200:]
    runs += [run(OURS, path) for _ in range(3)]
    ours = statistics.median(seconds for seconds, *_ in runs)
    facts = {"rows": rows, "cpu_s": round(ours, 2), "rss_mib": memory, "errors": errors}
    same = other == expected
    if not same and times > 1:  # it needs pandas for columns, and fails on some of them
        note = "frictionless could not read the sample, so there is no ratio"
        yield Figure(name=f"{name}: CPU", value=round(ours, 2), unit="s", note=note, facts=facts)
        return
    yield Figure(
        name=f"{name}: times frictionless",
        value=round(theirs / ours, 1),
        unit="x",
        goal=goal,
        lower_is_better=False,
        peer="frictionless 5.21, CPU s",
        peer_value=round(theirs, 2),
        note=("identical errors" if same else "THE ERRORS DIFFER")
        + (
            f"; theirs read one row in {times}: the time beyond its start is multiplied"
            if times > 1
            else ""
        ),
        facts={**facts, "peer_rss_mib": peak},
    )
    yield Figure(name=f"{name}: peak memory", value=memory, unit="MiB", goal=512)


def floor(name: str, path: Path, code: str, peer: str) -> Iterator[Figure]:
    """Compare with reading alone, and with reading and the digests that a report must give."""
    both = ((code, peer), (DIGESTS + code, f"{peer}, with the same digests"))
    for code_, peer_ in both:
        ours = min(run(OURS, path)[0] for _ in range(2))
        least = min(run(code_, path)[0] for _ in range(2))
        yield Figure(
            name=f"{name}: times {peer_.removeprefix('pyarrow ')}",
            value=round(ours / least, 2),
            unit="x",
            goal=2,
            peer=f"{peer_}, CPU s",
            peer_value=round(least, 2),
            note="ours with hashes and the start of the process; the better of two runs",
            facts={"cpu_s": round(ours, 2), "load": round(os.getloadavg()[0], 1)},
        )


WALL = """
import time
from yaosu_validators import validate
start = time.perf_counter()
validate({path!r}, schema={schema!r}, limit_errors=0, workers=%d)
print(time.perf_counter() - start)
"""


def two_processes(name: str, path: Path) -> Figure:
    """Compare wall time with one and two processes; only a quiet machine tells the truth."""
    pairs = []
    for _ in range(PAIRS):
        walls = []
        for workers in (1, 2):
            code = (WALL % workers).format(path=str(path), schema=SCHEMA)
            command = [sys.executable, "-W", "ignore", "-c", code]
            walls.append(float(subprocess.run(command, capture_output=True, check=True).stdout))
        pairs.append(walls)
    one, two = (min(walls) for walls in zip(*pairs, strict=True))
    return Figure(
        name=f"{name}: two processes, wall time",
        value=round(statistics.median(alone / both for alone, both in pairs), 2),
        unit="x",
        goal=1.7,
        lower_is_better=False,
        peer="one process, wall s",
        peer_value=round(one, 2),
        facts={"load": round(os.getloadavg()[0], 1), "wall_s": round(two, 2)},
    )


if __name__ == "__main__":
    for figure in measure("--quick" in sys.argv):
        print(json.dumps(figure.as_json(), ensure_ascii=False))
    print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss // 1024, "MiB at most")
