"""Ctrl-C while several processes validate: what they had finished or begun is in the report."""

from __future__ import annotations

import gzip
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from yaosu_schemas.report import Report
from yaosu_validators import validate
from yaosu_validators.html import report_html
from yaosu_validators.results import FolderResults

ROWS = 200_000  # of one member of a file; it has many, and is read for several seconds
MEMBER = gzip.compress(b"".join(b"%d,%d\n" % (n, n * 7919 % 1000003) for n in range(ROWS)), 1)
PARTIAL_EXIT = 130


def long_table(path: Path) -> None:
    with path.open("wb") as file:
        file.write(gzip.compress(b"id,n\n"))
        for _ in range(80):
            file.write(MEMBER)


def stopped(target: Path, workers: int, *opened: Path) -> dict[str, Any]:
    """Return the report of a run that gets a real SIGINT when the files have been read a while."""
    command = [sys.executable, "-m", "yaosu", "validate", str(target), "--json"]
    running = subprocess.Popen(
        [*command, "--workers", str(workers)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    end = time.monotonic() + 60
    while not all(_is_open(path, running.pid) for path in opened):
        assert running.poll() is None, running.communicate()
        assert time.monotonic() < end
        time.sleep(0.02)
    time.sleep(0.7)  # the other process has judged its small files, or some rows of its large one
    running.send_signal(signal.SIGINT)
    out, err = running.communicate(timeout=60)
    assert (running.returncode, err.count("Traceback")) == (PARTIAL_EXIT, 0), err
    report: dict[str, Any] = json.loads(out)
    assert (report["valid"], report["partial"]) == (False, True)
    assert Report.from_json(report).as_json() == report
    return report


def _is_open(path: Path, parent: int) -> bool:
    """Say whether a process, or one that it started, reads a file."""
    children = Path(f"/proc/{parent}/task/{parent}/children")
    try:
        for pid in (str(parent), *children.read_text().split()):
            for fd in Path(f"/proc/{pid}/fd").iterdir():
                if os.readlink(fd) == str(path):
                    return True
    except OSError:
        pass
    return False


needs_proc = pytest.mark.skipif(sys.platform != "linux", reason="looks into /proc")


@needs_proc
def test_what_other_processes_finished_is_reported_and_the_rest_is_named(tmp_path: Path) -> None:
    long_table(tmp_path / "a.csv.gz")
    for name in "bcdefg":
        (tmp_path / f"{name}.csv").write_text("id,text\n1\n")
    report = stopped(tmp_path, 2, tmp_path / "a.csv.gz")
    first, *others = report["tasks"]
    assert 0 < first["stats"]["rows"] < 80 * ROWS
    assert "stopped within it" in first["warnings"][-1]
    assert (first["valid"], first["partial"]) == (False, True)
    assert [(t["name"], t["stats"]["errors"]) for t in others][:2] == [("b", 1), ("c", 1)]
    assert all(task["warnings"] == [] for task in others), "they were read to their ends"
    unseen = [name for name in "abcdefg" if name not in {t["name"] for t in report["tasks"]}]
    assert unseen, "the other process waits for this one: not all are judged ahead"
    assert f"not looked at: {', '.join(unseen)} / 未检查：{'、'.join(unseen)}" in report["warnings"]


@needs_proc
def test_what_another_process_is_reading_is_reported_up_to_there(tmp_path: Path) -> None:
    for name in "ab":
        long_table(tmp_path / f"{name}.csv.gz")
    report = stopped(tmp_path, 2, *(tmp_path / f"{name}.csv.gz" for name in "ab"))
    rows = {task["name"]: task["stats"]["rows"] for task in report["tasks"]}
    assert rows.keys() == {"a", "b"}
    assert all(0 < count < 80 * ROWS for count in rows.values()), rows
    assert all("stopped within it" in task["warnings"][-1] for task in report["tasks"])


@needs_proc
@pytest.mark.parametrize("order", [("parents", "children"), ("children", "parents")])
def test_no_key_is_called_missing_in_a_table_that_was_not_read_to_its_end(
    tmp_path: Path, order: tuple[str, str]
) -> None:
    long_table(tmp_path / "parents.csv.gz")
    (tmp_path / "children.csv").write_text("id\nno\nnone\n")
    key = {"fields": "id", "reference": {"resource": "parents", "fields": "id"}}
    names = [{"name": "id", "type": "string"}]
    described = {
        "parents": {"path": "parents.csv.gz", "schema": {"fields": [*names, {"name": "n"}]}},
        "children": {"path": "children.csv", "schema": {"fields": names, "foreignKeys": [key]}},
    }
    package = {"resources": [{"name": name, **described[name]} for name in order]}
    (tmp_path / "datapackage.json").write_text(json.dumps(package))
    report = stopped(tmp_path, 2, tmp_path / "parents.csv.gz")
    assert {task["name"] for task in report["tasks"]} == {"parents", "children"}
    assert report["stats"]["errors"] == 0, report["tasks"]


def test_what_was_seen_of_a_table_until_a_stop_is_never_kept_as_its_result(tmp_path: Path) -> None:
    data, kept = tmp_path / "data", FolderResults(tmp_path / "kept")
    data.mkdir()
    for name in "ab":
        (data / f"{name}.csv").write_text(f"id\n{name}\n" + "1\n" * 200_000)

    def stop(**facts: Any) -> None:
        if facts["name"] == "b.csv":
            raise KeyboardInterrupt

    report = validate(data, progress=stop, cache=kept)
    assert (report.partial, report.valid) == (True, False)
    assert [task.name for task in report.tasks] == ["a", "b"]
    assert len(list(kept.folder.iterdir())) == 1, "of the one that was read to its end"
    assert [task.stats.rows for task in validate(data, cache=kept).tasks] == [200_001] * 2


def test_a_partial_report_that_calls_itself_valid_is_not_believed() -> None:
    whole = Report(target="sha256:0", ruleset="yaosu-validators/1").as_json()
    assert Report.from_json(whole).valid
    forged = {**whole, "valid": True, "partial": True}
    assert not Report.from_json(forged).valid
    assert ">Valid<" not in report_html(forged, lang="en")
    assert ">Valid<" in report_html(whole, lang="en")
