"""Blocks cut by SIMD instructions: the same as byte by byte, wherever the bytes stand."""

from __future__ import annotations

import gc
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from yaosu_validators import blocks, judge, simd, simd_program, validate
from yaosu_validators.blocks import Lines
from yaosu_validators.plain import Pieces, PlainLines
from yaosu_validators.utf8 import is_utf8

ASKED = [(b",", b'"'), (b'"', b"\\"), (b"\t", b""), (b"", b"")]
CHARACTERS = 'ab,"\\\n\r\t\0\x1f\x7f 中é薬😀߿ࠀ\ud7ff\uffff\U00010000\U0010ffff'
BROKEN = [
    *(b"\x80", b"\xbf", b"\xc0\x80", b"\xc1\xbf", b"\xc2", b"\xe0\x9f\xbf", b"\xe4\xb8"),
    *(b"\xed\xa0\x80", b"\xf0\x8f\xbf\xbf", b"\xf0\x9f\x98", b"\xf4\x90\x80\x80", b"\xf5", b"\xff"),
    *(b"\xe4\xb8\xad\x80", b"\xf8\x88\x80\x80\x80"),
]
PIECES = st.one_of(
    st.text(CHARACTERS, max_size=90).map(str.encode),
    st.binary(max_size=70),
    st.sampled_from(BROKEN),
    st.integers(0, 70).map(lambda size: b"x" * size),
)
TEXTS = st.lists(PIECES, max_size=8).map(b"".join)


@pytest.fixture(autouse=True)
def machine(monkeypatch: pytest.MonkeyPatch) -> simd.Machine:
    """A machine of this test alone; where there is none for this platform, nothing is promised."""
    pytest.importorskip("wasmtime", reason="SKIPPED: no runtime of WebAssembly for this platform")
    monkeypatch.setattr(simd, "_machines", simd._Machines())
    made = simd._machines.made = simd.Machine()
    return made


def test_every_question_has_the_answer_of_a_look_at_each_byte() -> None:
    @given(TEXTS, st.sampled_from(ASKED))
    def same(text: bytes, asked: tuple[bytes, bytes]) -> None:
        delimiter, spoils = asked
        raw = np.frombuffer(text, np.uint8)
        cut = simd.cut(raw, delimiter, spoils, more=True)
        assert cut is not None
        separators, breaks = blocks.places(raw, delimiter + b"\n")
        assert cut.separators.tolist() == separators.tolist()
        assert not delimiter or cut.breaks.tolist() == breaks.tolist()
        assert cut.is_utf8 == is_utf8(text) == _decodes(text)
        assert cut.has_controls == any(byte < 0x20 and byte != 0x0A for byte in text)
        if spoils:
            assert cut.spoils.tolist() == [i for i, byte in enumerate(text) if byte == spoils[0]]

    same()


def test_a_broken_character_is_found_at_every_place_of_a_register() -> None:
    for bad in BROKEN:
        for place in range(130):
            for before, behind in (("中" * 70, "中" * 30), ("a" * 200, "a" * 70), ("a" * 200, "")):
                text = before.encode()[: place - place % 3] + b"a" * (place % 3) + bad
                text += behind.encode()
                cut = simd.cut(np.frombuffer(text, np.uint8), b",", b'"', more=True)
                assert cut is not None
                assert not cut.is_utf8, (bad, place)
                del cut


def test_cells_are_those_that_numpy_cuts() -> None:
    cell = st.sampled_from(["", "a", "中", "same", "0123456789abcdef", "long " * 9])

    @given(st.data(), st.integers(1, 6), st.sampled_from(["\n", "\r\n"]))
    def same(data: st.DataObject, width: int, end: str) -> None:
        rows = data.draw(st.lists(st.lists(cell, min_size=1, max_size=6), min_size=1, max_size=40))
        rows.append(["same"] * width)
        text = "".join(",".join(row) + end for row in rows).encode()
        quick, slow = _plain(text, width, end, more=True), _plain(text, width, end, more=False)
        assert quick.lines.cut is not None
        assert slow.lines.cut is None
        columns = data.draw(st.sets(st.integers(0, width - 1), min_size=1))
        runs = Pieces(dict.fromkeys(sorted(columns), "")).runs
        some = data.draw(st.sets(st.integers(0, len(slow.numbers) - 1)))
        for chosen in (None, np.array(sorted(some), np.int64)):
            mine, other = quick.joined(runs, chosen), slow.joined(runs, chosen)
            assert mine.to_pylist() == other.to_pylist()
            for i in range(width):
                kept = quick.cells(i, chosen)
                quick.joined(runs)
                assert kept.to_pylist() == slow.cells(i, chosen).to_pylist()
        assert quick.alike(runs).tolist() == slow.alike(runs).tolist()

    same()


def _plain(text: bytes, width: int, end: str, *, more: bool) -> PlainLines:
    lines = Lines(bytearray(text), last=not more, delimiter=b",")
    if not more:  # the machine is there, and would be asked
        lines.cut = None
    numbers = np.flatnonzero(np.diff(lines.breaks, prepend=-1) == width)
    first = lines.breaks[numbers] - (width - 1)
    returns = end == "\r\n"
    separators = lines.separators.copy()
    if not more:
        lines.breaks = lines.breaks.copy()
    return PlainLines(lines, numbers, separators, first, width, returns)


def test_what_does_not_fit_is_left_to_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    def cut(text: bytes) -> simd.Cut | None:
        return simd.cut(np.frombuffer(text, np.uint8), b",", b'"', more=True)

    assert cut(b"a" * (simd_program.ROOM_FOR_TEXT + 1)) is None
    assert cut(b"," * (simd_program.MOST_SEPARATORS + 1)) is None
    crowded = cut(b'"' * (2 * simd_program.MOST_SPOILS) + b"\n")
    assert crowded is not None
    assert crowded.spoils is None, "not all of them: whoever needs them looks again"
    assert cut(b"a,b\n") is None, "the memory is lent: its answers would change"
    del crowded
    assert cut(b"a,b\n") is not None
    gc.collect()


def test_lines_tell_the_same_where_too_much_is_spoiled() -> None:
    text = b'""\n' * simd_program.MOST_SPOILS
    lines = Lines(bytearray(text), last=False, delimiter=b",", spoils=b'"')
    assert lines.cut is not None
    spoiled = np.searchsorted(lines.ends[1:], lines.spoiled(), "right")
    assert len(np.unique(spoiled)) == len(lines)


SCHEMA: dict[str, Any] = {
    "fields": [
        {"name": "id", "type": "integer", "constraints": {"required": True}},
        {"name": "text", "type": "string", "constraints": {"minLength": 3}},
        {"name": "day", "type": "date"},
    ],
    "primaryKey": ["id"],
}


@pytest.mark.parametrize("format_", ["csv", "crlf.csv", "jsonl"])
def test_a_report_is_the_same_with_and_without_the_machine(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, format_: str
) -> None:
    monkeypatch.setattr(judge, "SMALL", 0)
    monkeypatch.setattr(blocks, "BLOCK", 1 << 12)
    rows = [[n, f"文本 text {n}", "2024-02-29"] for n in range(600)]
    for n in range(0, 600, 7):
        rows[n] = [
            rows[n - 1][0],
            ["文", "a", 'say "no"', "back\\slash"][n % 4],
            f"2023-02-{n % 31}",
        ]
    path = tmp_path / f"rows.{format_}"
    names = ["id", "text", "day"]
    with path.open("w", encoding="utf-8", newline="") as file:
        if format_ == "jsonl":
            for row in rows:
                file.write(json.dumps(dict(zip(names, row, strict=True)), ensure_ascii=False))
                file.write("\n")
        else:
            end = "\r\n" if "crlf" in format_ else "\n"
            for row in [names, *rows]:
                file.write(",".join(_quoted(str(cell)) for cell in row) + end)
    seen = []
    cut = simd.Machine.cut

    def watched(*args: Any) -> Any:
        answer = cut(*args)
        seen.append(answer is not None)
        return answer

    monkeypatch.setattr(simd.Machine, "cut", watched)
    with_ = validate(path, schema=SCHEMA, limit_errors=0).as_json()
    assert seen, "the machine was not asked"
    assert all(seen), "the memory was still lent when the next block came"
    asked = len(seen)
    monkeypatch.setattr(simd, "cut", lambda *_, **__: None)
    without = validate(path, schema=SCHEMA, limit_errors=0).as_json()
    assert len(seen) == asked
    assert with_["stats"]["errors"] > 100
    assert _told(with_) == _told(without)


def _quoted(cell: str) -> str:
    return '"' + cell.replace('"', '""') + '"' if '"' in cell else cell


def _told(report: dict[str, Any]) -> Any:
    (task,) = report["tasks"]
    return task["errors"], {k: v for k, v in task["stats"].items() if k != "seconds"}


def test_a_platform_without_the_runtime_reads_on(monkeypatch: pytest.MonkeyPatch) -> None:
    def no_machine(_: Any) -> None:
        raise ImportError("there is none for this platform")

    monkeypatch.setattr(simd, "_machines", simd._Machines())
    monkeypatch.setattr(simd.Machine, "__init__", no_machine)
    lines = Lines(bytearray(b"a,b\nc\n"), last=False, delimiter=b",")
    assert lines.cut is None
    assert lines.separators.tolist() == [1, 3, 5]
    assert simd._machines.missing, "it is not looked for again"


def _decodes(text: bytes) -> bool:
    try:
        text.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True
