"""One report, whoever judges: parts, processes, cached results, further checks."""

from __future__ import annotations

import gc
import gzip
import importlib
import json
import os
import random
import subprocess
import sys
import time
from collections.abc import Iterable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq
import pytest

from yaosu_schemas.errors import InvalidInput
from yaosu_schemas.report import Report
from yaosu_validators import judge, parts, run, steady, validate
from yaosu_validators.check import Finding, check, check_names
from yaosu_validators.results import FolderResults

SCHEMA: dict[str, Any] = {
    "fields": [
        {"name": "id", "type": "integer", "constraints": {"required": True}},
        {"name": "text", "type": "string"},
        {"name": "price", "type": "number", "constraints": {"minimum": 0}},
    ],
    "primaryKey": ["id"],
}


def table(rows: int, seed: int = 1) -> str:
    """Write rows with quoted line breaks, bad cells, ragged rows and repeated keys."""
    r = random.Random(seed)
    lines = ["id,text,price"]
    for number in range(1, rows + 1):
        key = r.randint(1, number) if r.random() < 0.05 else number
        text = '"two\nlines, ""quoted"""' if r.random() < 0.2 else "plain"
        price = r.choice(["1.5", "2", "-1", "x", ""]) if r.random() < 0.1 else "3.25"
        line = f"{key},{text},{price}"
        lines.append(line if r.random() > 0.02 else line + ",more")
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("limit", [0, 1000, 7])
def test_parts_and_workers_give_the_report_of_one_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, limit: int
) -> None:
    path = tmp_path / "a.csv"
    path.write_text(table(3000), encoding="utf-8")
    monkeypatch.setattr(judge, "SMALL", 0)
    alone = validate(path, schema=SCHEMA, limit_errors=limit)
    assert not alone.valid
    monkeypatch.setattr(parts, "PART_BYTES", 4096)
    for workers in (2, 3):
        report = validate(path, schema=SCHEMA, limit_errors=limit, workers=workers)
        assert report.digest() == alone.digest()


def test_a_bad_byte_in_a_later_part_is_the_same_finding(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.csv"
    data = table(12_000).encode()  # the encoding is guessed from the first 100,000 bytes
    path.write_bytes(data[:150_000] + b"\xff" + data[150_000:])
    alone = validate(path, schema=SCHEMA)
    assert alone.tasks[0].errors[-1].type == "encoding-error"
    monkeypatch.setattr(judge, "SMALL", 0)
    monkeypatch.setattr(parts, "PART_BYTES", 50_000)
    assert validate(path, schema=SCHEMA, workers=2).digest() == alone.digest()


def test_row_groups_of_parquet_are_judged_apart(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = [*range(1, 4000), 17]
    columns = {"id": ids, "text": ["a"] * 4000, "price": [1.0] * 3990 + [-1.0] * 10}
    pq.write_table(pa.table(columns), tmp_path / "a.parquet", row_group_size=100)
    alone = validate(tmp_path / "a.parquet", schema=SCHEMA)
    assert [e.type for e in alone.tasks[0].errors] == ["constraint-error"] * 10 + ["primary-key"]
    assert alone.tasks[0].errors[-1].row_number == 4001
    monkeypatch.setattr(parts, "PART_BYTES", 1000)
    report = validate(tmp_path / "a.parquet", schema=SCHEMA, workers=2)
    assert report.digest() == alone.digest()


# --- results that are kept -----------------------------------------------------------------------


class Counting(FolderResults):
    """Counts how often a result was found."""

    hits = 0

    def get(self, planned: Any) -> Any:
        found = super().get(planned)
        self.hits += found is not None
        return found


def test_an_unchanged_file_is_not_judged_again(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(table(50), encoding="utf-8")
    cache = Counting(tmp_path / "cache")
    first = validate(path, schema=SCHEMA, cache=cache)
    again = validate(path, schema=SCHEMA, cache=cache)
    assert cache.hits == 1
    assert again.digest() == first.digest()
    path.write_text(table(51), encoding="utf-8")
    validate(path, schema=SCHEMA, cache=cache)
    assert cache.hits == 1


def test_a_new_version_of_a_check_runs_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.csv"
    path.write_text(table(50), encoding="utf-8")
    cache = Counting(tmp_path / "cache")
    validate(path, schema=SCHEMA, cache=cache)
    monkeypatch.setattr("yaosu_validators.results.VERSION", "next")
    validate(path, schema=SCHEMA, cache=cache)
    assert cache.hits == 0


# --- checks of others ----------------------------------------------------------------------------


@check("test.shouting", "1")
@dataclass(frozen=True, slots=True)
class Shouting:
    """No text may be all capitals."""

    def start(self, schema: pa.Schema) -> int:
        return 0

    def observe(self, state: int, batch: pa.RecordBatch) -> int:
        return state + int(pc.sum(pc.equal(batch.column("text"), "LOUD")).as_py() or 0)

    def merge(self, left: int, right: int) -> int:
        return left + right

    def finish(self, state: int) -> Iterable[Finding]:
        if state:
            yield Finding(type="test.shouting")


def test_a_check_of_others_sees_every_row_and_is_named_in_the_report(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id,text\n1,LOUD\nx,quiet\n", encoding="utf-8")
    report = validate(tmp_path / "a.csv", checks=["structure", "test.shouting"])
    assert [e.type for e in report.tasks[0].errors] == ["test.shouting"]
    assert [(c.name, c.rows_seen) for c in report.checks] == [
        ("structure", 2),
        ("test.shouting", 2),
    ]


def test_only_the_named_checks_speak(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id,text\n1\n", encoding="utf-8")
    assert not validate(tmp_path / "a.csv").valid
    assert validate(tmp_path / "a.csv", checks=["test.shouting"]).valid


def test_an_unknown_check_is_refused_with_the_names_of_those_that_exist() -> None:
    with pytest.raises(InvalidInput, match="structure"):
        validate({"resources": []}, checks=["nothing"])
    assert {"structure", "metadata.licence", "metadata.profile"} <= set(check_names())


def test_the_licence_of_a_package_must_be_known(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id\n1\n", encoding="utf-8")
    package = {
        "resources": [{"name": "a", "path": "a.csv"}],
        "licenses": [{"name": "CC-BY-4.0"}, {"name": "mine"}],
    }
    (tmp_path / "datapackage.json").write_text(json.dumps(package))
    report = validate(tmp_path, checks=["structure", "metadata.licence"])
    assert [(e.type, e.pointer) for e in report.errors] == [("licence-error", "/licenses/1/name")]


def test_the_example_of_the_guide_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    guide = Path(__file__).resolve().parents[2] / "CONTRIBUTING.md"
    text = guide.read_text(encoding="utf-8") if guide.is_file() else ""
    if "## A check of your own" not in text:
        pytest.skip("CONTRIBUTING.md has no example of a check yet")
    code = text.split("## A check of your own", 1)[1].split("```python\n", 1)[1].split("```", 1)[0]
    (tmp_path / "guide_example.py").write_text(code, encoding="utf-8")
    monkeypatch.syspath_prepend(str(tmp_path))
    importlib.import_module("guide_example")
    (tmp_path / "a.csv").write_text("id,text\n1,a\n2,\n3,\n", encoding="utf-8")
    report = validate(tmp_path / "a.csv", checks=["example.nulls"])
    assert not report.valid
    assert report.checks[0].name == "example.nulls"
    assert report.checks[0].rows_seen == 3


# --- progress and stopping -----------------------------------------------------------------------


@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("checks", [["structure"], ["structure", "corpus.text"]])
def test_progress_counts_bytes_and_rows_up_to_all_of_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, checks: list[str], workers: int
) -> None:
    monkeypatch.setattr(parts, "PART_BYTES", 1 << 14)
    monkeypatch.setattr(judge, "FOLDED_HERE", 1 << 14)
    (tmp_path / "a.csv").write_text(table(3000), encoding="utf-8")
    (tmp_path / "b.csv.gz").write_bytes(gzip.compress(table(2000).encode()))
    pq.write_table(pa.table({"text": ["some words"] * 1000}), tmp_path / "c.parquet")
    (tmp_path / "d.csv").write_text("id,text\n1,a\n", encoding="utf-8")
    told: list[dict[str, Any]] = []

    def tell(**facts: Any) -> None:
        told.append(facts)

    validate(tmp_path, checks=checks, workers=workers, progress=tell)
    size = sum(path.stat().st_size for path in tmp_path.iterdir())
    assert told[-1]["done"] == told[-1]["total"] == size
    assert told[-1]["rows"] == 3000 + 2000 + 1000 + 1
    done = [facts["done"] for facts in told]
    assert done == sorted(done)
    assert max(done) == size
    rows = [facts["rows"] for facts in told]
    assert rows == sorted(rows)
    assert len(set(done)) > 4, "it moves on within a file, too"


def test_who_stops_a_run_keeps_what_was_seen(tmp_path: Path) -> None:
    for name in "ab":
        (tmp_path / f"{name}.csv").write_text("id,text\n1\n", encoding="utf-8")

    def stop(**facts: Any) -> None:
        if facts["name"] == "b.csv":
            raise KeyboardInterrupt

    report = validate(tmp_path, progress=stop)
    assert report.tasks[0].errors[0].type == "missing-cell"
    assert "partial" in report.warnings[0]
    assert report.checks[0].rows_total is None


@pytest.mark.parametrize("phase", ["make_plan", "_outcomes", "_conclude", "_look", "Indexes"])
def test_who_stops_a_run_gets_a_partial_report_whatever_went_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, phase: str
) -> None:
    (tmp_path / "a.csv").write_text("id,text\n1\n", encoding="utf-8")
    real, stops = getattr(run, phase), iter([True])

    def stop(*arguments: Any, **named: Any) -> Any:
        if next(stops, False):
            raise KeyboardInterrupt
        return real(*arguments, **named)

    monkeypatch.setattr(run, phase, stop)
    report = validate(tmp_path, checks=["structure", "corpus.text", "media.files"])
    assert report.partial
    assert Report.from_json(report.as_json()) == report
    assert sum("partial" in warning for warning in report.warnings) == 1
    assert all(check.rows_total is None for check in report.checks[:1])
    if phase not in ("make_plan", "_outcomes"):
        assert report.tasks[0].errors[0].type == "missing-cell"


@pytest.mark.parametrize("form", ["csv", "parquet"])
def test_the_command_does_without_pandas_where_it_is_installed(tmp_path: Path, form: str) -> None:
    (tmp_path / "pandas").mkdir()
    (tmp_path / "pandas" / "__init__.py").write_text(
        f"open({str(tmp_path / 'loaded')!r}, 'w').close()\nraise ImportError\n", encoding="utf-8"
    )
    data = pa.table({"id": range(60_000), "a": ["text"] * 60_000})
    write = pa.csv.write_csv if form == "csv" else pq.write_table
    write(data, tmp_path / f"a.{form}")
    path = os.pathsep.join([str(tmp_path), *(p for p in sys.path if p)])

    def run(code: str, *arguments: str) -> bool:
        subprocess.run(
            [sys.executable, "-c", code, *arguments],
            env={**os.environ, "PYTHONPATH": path},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            check=True,
        )
        return (tmp_path / "loaded").exists()

    command = "from yaosu.cli import main; main()"
    assert not run(command, "validate", str(tmp_path / f"a.{form}"))
    assert not run("import runpy; runpy.run_module('yaosu_validators.engines', {}, '__main__')")
    assert run("import pyarrow; pyarrow.array([0])")


def test_a_users_own_process_does_without_pandas_until_the_user_wants_it(tmp_path: Path) -> None:
    lines = ("class DataFrame: ...", "class Index: ...", "class Categorical: ...",
             "class Series(list): ...", "__version__ = '3.0.0'", "from . import api")  # fmt: skip
    (tmp_path / "pandas" / "api").mkdir(parents=True)
    (tmp_path / "pandas" / "__init__.py").write_text("\n".join(lines), encoding="utf-8")
    for name in ("types", "extensions"):
        names = ("DatetimeTZDtype", "ExtensionArray", "ExtensionDtype", "SparseDtype")
        text = "\n".join(f"class {each}: ..." for each in names)
        (tmp_path / "pandas" / "api" / f"{name}.py").write_text(text, encoding="utf-8")
    text = "from . import extensions, types\n"
    (tmp_path / "pandas" / "api" / "__init__.py").write_text(text, encoding="utf-8")
    (tmp_path / "a.csv").write_text(table(20_000), encoding="utf-8")
    (tmp_path / "user.py").write_text(
        "import sys\n"
        "if 'arrow' in sys.argv: import pyarrow, pyarrow.compute\n"
        "from yaosu_validators import validate\n"
        "assert not validate(sys.argv[1]).valid\n"
        "assert 'pyarrow' in sys.modules and 'pandas' not in sys.modules\n"
        "from pyarrow.lib import _pandas_api as arrows\n"
        "assert not arrows.have_pandas\n"
        "import pandas\n"
        "assert arrows.have_pandas and arrows.is_series(pandas.Series())\n"
        "assert arrows.pd is pandas and validate(sys.argv[1]).tasks\n",
        encoding="utf-8",
    )
    path = os.pathsep.join([str(tmp_path), *(p for p in sys.path if p)])
    for arguments in ([], ["arrow"]):
        subprocess.run(
            [sys.executable, tmp_path / "user.py", tmp_path / "a.csv", *arguments],
            env={**os.environ, "PYTHONPATH": path},
            check=True,
        )


def test_what_a_process_sets_for_all_of_its_threads_is_put_back_by_the_last() -> None:
    usual = sys.getswitchinterval(), gc.get_threshold(), pa.default_memory_pool().backend_name
    first, second = ExitStack(), ExitStack()
    for stack in (first, second):
        for each in (steady.steady, steady.short_turns, steady.few_looks):
            stack.enter_context(each())
    during = sys.getswitchinterval(), gc.get_threshold(), pa.default_memory_pool().backend_name
    assert during != usual
    first.close()
    assert during == (
        sys.getswitchinterval(), gc.get_threshold(), pa.default_memory_pool().backend_name
    )  # fmt: skip
    second.close()
    assert usual == (
        sys.getswitchinterval(), gc.get_threshold(), pa.default_memory_pool().backend_name
    )  # fmt: skip


COPIED = """
import json, os, signal, sys
from yaosu_validators import engines, judge, parts, passes, validate

parts.PART_BYTES = passes.PART_BYTES = 20_000
judge.SMALL = 0
engines._start = None  # what is judged elsewhere is judged by copies
children = f"/proc/self/task/{os.getpid()}/children"

def killed(**_):
    print(open(children).read(), flush=True)
    os.kill(os.getpid(), signal.SIGKILL)

target, schema, workers, end = sys.argv[1:]
report = validate(target, schema=json.loads(schema), limit_errors=0, workers=int(workers),
                  progress=killed if end == "killed" else None)
print(json.dumps([[e.as_json() for e in report.tasks[0].errors], open(children).read()]))
"""


def copied(path: Path, workers: int, end: str) -> str:
    done = subprocess.run(
        [sys.executable, "-c", COPIED, str(path), json.dumps(SCHEMA), str(workers), end],
        capture_output=True,
        text=True,
        check=end != "killed",
    )
    return done.stdout


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere new processes are started")
def test_copies_of_a_process_of_one_thread_give_its_report_and_end_with_it(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text(table(3000), encoding="utf-8", newline="")
    alone, together = (json.loads(copied(path, workers, "well")) for workers in (1, 3))
    assert alone[0]
    assert not alone[1]
    assert together == alone
    left = [Path(f"/proc/{pid}/stat") for pid in copied(path, 3, "killed").split()]
    assert len(left) == 2
    until = time.monotonic() + 20
    while any(is_running(stat) for stat in left):
        assert time.monotonic() < until, "copies outlive who asks them"
        time.sleep(0.02)


def is_running(stat: Path) -> bool:
    with suppress(FileNotFoundError, ProcessLookupError):
        return stat.read_text().rpartition(")")[2].split()[0] != "Z"
    return False
