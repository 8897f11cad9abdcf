"""Validation of typed columns by others: pandera, pointblank, Great Expectations, and ours.

All judge the same Parquet file by the same rules. The others live in an environment of their own,
which is made here (or found in YAOSU_BENCH_PEERS) and is no dependency of the project.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import venv
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from figure import Figure

PACKAGES = (
    *("frictionless[parquet]==5.21.*", "pandera[pandas]", "pointblank", "polars"),
    *("great_expectations", "pyarrow"),
)
PANDERA = """
import pandas as pd, pandera.pandas as pa
C, K = pa.Column, pa.Check
schema = pa.DataFrameSchema({{
    "id": C("int64", unique=True),
    "code": C(str, K.str_matches(r"^[A-G]{{3}}-[0-9]{{4}}$"), nullable=True),
    "age": C("int64", K.in_range(0, 120)), "price": C("float64", K.in_range(0, 1000)),
    "cat": C(str, K.isin(["alpha", "beta", "gamma", "delta"])), "flag": C("bool"),
    "day": C(None, K.in_range(pd.Timestamp(2000, 1, 1), pd.Timestamp(2024, 12, 31)), coerce=False),
    "at": C(None), "text": C(str, K.str_length(min_value=5)), "email": C(str)}})
frame = pd.read_parquet({path!r})
frame["day"] = pd.to_datetime(frame["day"])
try:
    schema.validate(frame, lazy=True)
    count = 0
except pa.errors.SchemaErrors as why:
    count = len(why.failure_cases)
"""
POINTBLANK = """
import polars as pl, pointblank as pb
from datetime import date
v = (pb.Validate(pl.read_parquet({path!r}))
    .rows_distinct(columns_subset=["id"]).col_vals_not_null("id")
    .col_vals_regex("code", r"^[A-G]{{3}}-[0-9]{{4}}$", na_pass=True)
    .col_vals_between("age", 0, 120).col_vals_between("price", 0, 1000)
    .col_vals_in_set("cat", ["alpha", "beta", "gamma", "delta"])
    .col_vals_between("day", date(2000, 1, 1), date(2024, 12, 31))
    .col_vals_regex("text", r"(?s)^.{{5,}}$").col_vals_not_null("email").interrogate())
count = sum(v.n_failed().values())
"""
EXPECTATIONS = """
import great_expectations as gx, great_expectations.expectations as e, pandas as pd
context = gx.get_context(mode="ephemeral")
frame = pd.read_parquet({path!r})
frame["day"] = pd.to_datetime(frame["day"])
asset = context.data_sources.add_pandas("p").add_dataframe_asset("a")
batch = asset.add_batch_definition_whole_dataframe("b")
suite = gx.ExpectationSuite("s", expectations=[
    e.ExpectColumnValuesToBeUnique(column="id"), e.ExpectColumnValuesToNotBeNull(column="id"),
    e.ExpectColumnValuesToMatchRegex(column="code", regex=r"^[A-G]{{3}}-[0-9]{{4}}$"),
    e.ExpectColumnValuesToBeBetween(column="age", min_value=0, max_value=120),
    e.ExpectColumnValuesToBeBetween(column="price", min_value=0, max_value=1000),
    e.ExpectColumnValuesToBeInSet(column="cat", value_set=["alpha", "beta", "gamma", "delta"]),
    e.ExpectColumnValuesToBeBetween(column="day", min_value=pd.Timestamp(2000, 1, 1),
                                    max_value=pd.Timestamp(2024, 12, 31)),
    e.ExpectColumnValueLengthsToBeBetween(column="text", min_value=5),
    e.ExpectColumnValuesToNotBeNull(column="email")])
found = batch.get_batch({{"dataframe": frame}}).validate(suite)
count = sum(r.result.get("unexpected_count", 0) for r in found.results)
"""
OURS = """
import json
from yaosu_validators import validate
report = validate({path!r}, schema=json.loads({schema!r}), limit_errors=0)
count = len(report.tasks[0].errors)
"""
TELL = """
import json, resource
used = resource.getrusage(resource.RUSAGE_SELF)
peak = next(int(l.split()[1]) for l in open("/proc/self/status") if l.startswith("VmHWM"))
print(json.dumps([used.ru_utime + used.ru_stime, peak // 1024, int(count)]))
"""
SIDES = (
    ("Great Expectations", EXPECTATIONS, "a count and a sample of values per rule; no row numbers"),
    ("pandera", PANDERA, "each failing value with its rule and row index"),
    ("pointblank", POINTBLANK, "passed and failed counts and failing rows per rule"),
)


@cache
def python() -> str:
    """Return the interpreter of the environment of the others; made where none is named."""
    named = os.environ.get("YAOSU_BENCH_PEERS")
    folder = Path(named) if named else Path(tempfile.gettempdir(), "yaosu-bench-peers")
    inside = folder / "bin" / "python"
    if not inside.exists():
        venv.create(folder, with_pip=True)
        subprocess.run([inside, "-m", "pip", "install", "-q", *PACKAGES], check=False)
    return str(inside)


def spoiled(source: Path, path: Path) -> int:
    """Break one row in sixty in one of five ways and return the number of wrong cells."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    table = pq.read_table(source)
    frame = {name: table.column(name).combine_chunks() for name in table.column_names}
    rows = np.arange(table.num_rows)
    for kind, (name, value) in enumerate(
        (("age", 300), ("price", -5.0), ("cat", "omega"), ("text", "x"), ("code", "bad code"))
    ):
        chosen = pa.array(rows % 300 == 60 * kind)
        frame[name] = pa.compute.if_else(chosen, pa.scalar(value, frame[name].type), frame[name])
    pq.write_table(pa.table(frame), path)
    return sum(int((rows % 300 == 60 * kind).sum()) for kind in range(5))


def tell(code: str, path: Path, interpreter: str) -> tuple[float, int, int]:
    import validate_csv

    text = code.format(path=str(path), schema=json.dumps(validate_csv.SCHEMA)) + TELL
    done = subprocess.run(
        [interpreter, "-W", "ignore", "-c", text],
        capture_output=True,
        text=True,
        check=True,
        cwd=path.parent,
        env={**os.environ, "GX_ANALYTICS_ENABLED": "false"},
    )
    seconds, peak, count = json.loads(done.stdout.strip().splitlines()[-1])
    return seconds, peak, count


def measure(quick: bool) -> Iterator[Figure]:
    import validate_csv

    rows = 100_000 if quick else 1_000_000
    with tempfile.TemporaryDirectory(dir=os.environ.get("YAOSU_BENCH_DIR")) as name:
        table, clean, path = (Path(name, n) for n in ("t.csv", "clean.parquet", "typed.parquet"))
        validate_csv.write(table, rows, 0)
        validate_csv.write_columns(table, clean)
        wrong = spoiled(clean, path)
        ours, peak, count = tell(OURS, path, sys.executable)
        yield Figure(
            name="ours: CPU",
            value=round(ours, 2),
            unit="s",
            note="every wrong cell with row, field and reason; digests of the file",
            facts={"rows": rows, "wrong_cells": wrong, "reported": count, "rss_mib": peak},
        )
        for side, code, says in SIDES:
            try:
                theirs, peak, count = tell(code, path, python())
            except (subprocess.CalledProcessError, OSError, ValueError) as why:
                last = str(getattr(why, "stderr", "") or why).strip().splitlines()[-1:]
                yield Figure(name=f"{side}: did not run", value=0, unit="s", note=str(last)[:160])
                continue
            yield Figure(
                name=f"times {side}",
                value=round(theirs / ours, 1),
                unit="x",
                goal=1,
                lower_is_better=False,
                peer=f"{side}, CPU s",
                peer_value=round(theirs, 2),
                note=says,
                facts={"reported": count, "rss_mib": peak},
            )


if __name__ == "__main__":
    for figure in measure("--quick" in sys.argv):
        print(json.dumps(figure.as_json(), ensure_ascii=False), flush=True)
