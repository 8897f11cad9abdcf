"""Rows that go on from part to part: one report, and no byte read again and again."""

from __future__ import annotations

import csv
import errno
import io
import os
import pickle
import random
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from yaosu_validators import blocks, engines, feeds, judge, parts, validate
from yaosu_validators.dialects import Dialect

SCHEMA: dict[str, Any] = {
    "fields": [
        {"name": "id", "type": "integer", "constraints": {"required": True}},
        {"name": "text", "type": "string", "constraints": {"maxLength": 9000}},
        {"name": "more", "type": "string"},
    ],
    "primaryKey": ["id"],
}


class BytesEngine:
    """Judges parts one after the other; what comes back was bytes, as on a cluster."""

    judged: list[parts.Part]

    def __init__(self, workers: int, tell: Any = None) -> None:
        BytesEngine.judged = []
        self.tell = tell

    def begin(self) -> None: ...

    def close(self) -> None: ...

    def stopped(self) -> dict[int, parts.PartResult]:
        return {}

    def run(
        self, todo: Sequence[parts.Part], needed: Callable[[int], bool]
    ) -> Iterator[parts.PartResult]:
        for number, part in enumerate(todo):
            result = parts.PartResult()
            if needed(number):
                self.judged.append(part)
                result = parts.judge_part(pickle.loads(pickle.dumps(part)))
            if self.tell is not None:
                self.tell(part.resource.place, part.stop - part.start, 0)
            yield pickle.loads(pickle.dumps(result))


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts, blocks and rows are a thousand times smaller than they are."""
    monkeypatch.setattr(engines, "ProcessEngine", BytesEngine)
    monkeypatch.setattr(judge, "SMALL", 0)
    monkeypatch.setattr(parts, "PART_BYTES", 16 << 10)
    monkeypatch.setattr(blocks, "BLOCK", 8 << 10)
    monkeypatch.setattr(feeds, "LONG_ROW", 1 << 10)
    for module in (blocks, feeds):
        monkeypatch.setattr(module, "MAX_ROW_BYTES", 64 << 10)


WANTED = ["structure", "corpus.records", "corpus.duplicates"]
CELLS = st.text(st.sampled_from('ab,"\n\r文😀'), max_size=40)
LONG = st.tuples(st.text(st.sampled_from('ab,"\n\r文'), min_size=1, max_size=12),
                 st.integers(1, 9000)).map(lambda pair: pair[0] * pair[1])  # fmt: skip


@given(
    st.lists(st.tuples(st.integers(0, 50), st.one_of(CELLS, LONG), CELLS), max_size=60),
    st.sampled_from(["", '"', '7,"open', "\n\n", 'x"y,"z"\n', '8,"a""']),
    st.integers(0, 10_000),
)
@settings(
    max_examples=24,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
def test_rows_across_parts_give_the_report_of_one_pass(
    tmp_path: Path, small: None, rows: list[Any], odd: str, seed: int
) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator=random.Random(seed).choice(["\n", "\r\n"]))
    writer.writerows([("id", "text", "more"), *rows])
    whole = text.getvalue()
    ends = [at for at, char in enumerate(whole) if char == "\n"]
    at = random.Random(seed).choice(ends) + 1
    path = tmp_path / "a.csv"
    path.write_bytes((whole[:at] + odd + whole[at:] + "5,plain,row\n" * 5000).encode())
    alone = validate(path, schema=SCHEMA, limit_errors=0)
    assert validate(path, schema=SCHEMA, limit_errors=0, workers=2).digest() == alone.digest()


def test_a_cell_of_many_lines_is_whole_where_it_is_judged(tmp_path: Path, small: None) -> None:
    cell = 'first ""line""\r\nsecond, 文\n' * 1500
    head, rest = "id,text,more\n1,", ",b\n" + "2,c,d\n" * 10_000
    (tmp_path / "a.csv").write_bytes(f'{head}"{cell}"{rest}'.encode())
    length = len(cell.replace('""', '"'))
    for most, wanted in ((length, []), (length - 1, [("constraint-error", 2)])):
        text = {"name": "text", "type": "string", "constraints": {"maxLength": most}}
        schema = {**SCHEMA, "fields": [SCHEMA["fields"][0], text, SCHEMA["fields"][2]]}
        schema = {**schema, "primaryKey": []}
        for workers in (1, 2):
            task = validate(tmp_path / "a.csv", schema=schema, workers=workers).tasks[0]
            assert [(e.type, e.row_number) for e in task.errors] == wanted
            assert task.stats.rows == 10_001


@pytest.mark.parametrize("line", ["text, text\n", "文本😀\n", 'the ""word""\n', "a\r\n"])
def test_a_quote_that_is_never_closed_is_read_a_few_times_at_most(
    tmp_path: Path, small: None, monkeypatch: pytest.MonkeyPatch, line: str
) -> None:
    monkeypatch.setattr(feeds, "MAX_ROW_BYTES", 1 << 20)
    monkeypatch.setattr(blocks, "MAX_ROW_BYTES", 1 << 20)
    path = tmp_path / "a.csv"
    path.write_bytes(('id,text,more\n1,a,b\n2,"' + line * (2_000_000 // len(line))).encode())
    size = path.stat().st_size
    alone = validate(path, schema=SCHEMA)
    [error] = alone.tasks[0].errors
    assert (error.type, error.row_number) == ("resource-limit", 3)
    assert error.message.startswith("row 3: ")
    assert error.message_zh.startswith("第 3 行：")
    read = [0]

    class Counted(io.FileIO):
        def readinto(self, buffer: Any) -> int:
            count = super().readinto(buffer) or 0
            read[0] += count
            return count

    monkeypatch.setattr(parts, "open_file", lambda root, path: Counted(Path(root, path)))
    assert validate(path, schema=SCHEMA, workers=2).digest() == alone.digest()
    assert size < read[0] < 3 * size


def test_parts_behind_the_last_error_that_is_listed_are_not_judged(
    tmp_path: Path, small: None
) -> None:
    (tmp_path / "a.csv").write_text(
        "id,text,more\n" + "x,a,b\n" * 10 + "".join(f"{n},a,b\n" for n in range(50_000))
    )
    alone = validate(tmp_path / "a.csv", schema=SCHEMA, limit_errors=5)
    report = validate(tmp_path / "a.csv", schema=SCHEMA, limit_errors=5, workers=2)
    assert report.digest() == alone.digest()
    assert [part.what for part in BytesEngine.judged] == ["lines", "digests"]


@given(st.lists(st.text(st.sampled_from('ab, "\n文'), max_size=30), min_size=200, max_size=300))
@settings(max_examples=50, deadline=None)
def test_a_part_begins_where_a_row_does(cells: list[str]) -> None:
    """Also in text full of quotes and line breaks, as long as it is written as RFC 4180 has it."""
    text, starts = io.StringIO(), set()
    writer = csv.writer(text, lineterminator="\n", quoting=csv.QUOTE_ALL)
    for cell in cells:
        starts.add(len(text.getvalue().encode()))
        writer.writerow(["word", cell, "word"])
    data = text.getvalue().encode()
    starts.add(len(data))
    marks = parts.quote_marks(Dialect())
    for at in range(0, len(data) // 2, 97):
        found = parts._row_start(io.BytesIO(data), at, marks)
        assert found in starts
        assert found == min(start for start in starts if start > at)


def test_the_corpus_is_looked_at_up_to_a_quote_that_is_never_closed(
    tmp_path: Path, small: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("yaosu_validators.corpus.reading._LONGEST", 64 << 10)
    rows = "".join(f'{n},"word {n}, and\nanother of its own",b\n' for n in range(1000))
    (tmp_path / "a.csv").write_text("id,text,more\n" + rows + '0,"' + "text, text\n" * 100_000)
    for workers in (1, 2):
        report = validate(tmp_path / "a.csv", checks=WANTED, workers=workers)
        assert [e.row_number for e in report.tasks[0].errors] == [1002]
        [exact] = [c for c in report.checks if c.name == "corpus.duplicates"]
        assert (exact.rows_seen, exact.rows_total) == (1000, None)


@pytest.mark.parametrize("how", ["grows", "shrinks", "is written to", "is another", "is gone"])
@pytest.mark.parametrize("workers", [1, 2])
def test_a_file_that_changes_while_its_parts_are_read_is_found_out(
    tmp_path: Path, small: None, how: str, workers: int
) -> None:
    path = tmp_path / "a.csv"
    data = b"id,text,more\n" + b"".join(b"%d,a,b\n" % n for n in range(50_000))
    path.write_bytes(data)
    os.utime(path, (1, 1))

    def change(**facts: Any) -> None:
        if changed or facts["done"] < 100_000:
            return
        changed.append(how)
        if how == "grows":
            path.write_bytes(data + b"60000,a,b\n")
        elif how == "shrinks":
            os.truncate(path, len(data) // 2)
        elif how == "is written to":
            path.write_bytes(data.replace(b",a,b", b",c,d"))
        elif how == "is another":
            (tmp_path / "b").write_bytes(data)
            os.replace(tmp_path / "b", path)
        else:
            path.unlink()

    changed: list[str] = []
    report = validate(path, schema=SCHEMA, workers=workers, progress=change)
    types = [e.type for t in report.tasks for e in t.errors]
    if workers == 1 and how in ("is another", "is gone"):
        assert report.valid  # it was opened once: what was read is what it was
    else:
        assert types == ["scheme-error"] if how == "is gone" else "file-changed" in types


@pytest.mark.parametrize("workers", [1, 2])
def test_keys_that_find_no_room_on_disk_are_not_called_valid(
    tmp_path: Path, small: None, monkeypatch: pytest.MonkeyPatch, workers: int
) -> None:
    def full(*_: Any) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("yaosu_validators.keys.SETTLE_BYTES", 1 << 14)
    monkeypatch.setattr("yaosu_validators.keys.KeyIndex.add", full)
    data = "id,text,more\n" + "".join(f"{n * 7919 % 50_021},a,b\n" for n in range(50_000))
    (tmp_path / "a.csv").write_text(data + "60000,a\n")
    task = validate(tmp_path / "a.csv", schema=SCHEMA, workers=workers).tasks[0]
    assert [e.type for e in task.errors] == ["missing-cell", "resource-limit"]
    assert "No space left" in task.errors[1].message


@pytest.mark.parametrize("workers", [1, 2])
def test_who_stops_in_the_middle_of_a_large_file_keeps_what_was_seen_of_it(
    tmp_path: Path, small: None, workers: int
) -> None:
    (tmp_path / "a.csv").write_text("id,text,more\nx,a,b\n" + "1,a,b\n" * 800_000)

    def stop(**facts: Any) -> None:
        if facts["done"] > 3_000_000:
            raise KeyboardInterrupt

    schema = {**SCHEMA, "primaryKey": []}
    report = validate(tmp_path / "a.csv", schema=schema, workers=workers, progress=stop)
    assert [e.type for e in report.tasks[0].errors] == ["type-error"]
    assert 0 < (report.tasks[0].stats.rows or 0) < 800_000
    assert "partial" in report.warnings[0]
    assert report.checks[0].rows_total is None
