"""Bytes that are no text: as many rows stand before them as Frictionless counts, wherever they lie.

Frictionless decodes 8 KiB at a time, and a bad byte voids its whole chunk.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from frictionless import Resource
from frictionless import validate as frictionless_validate

from yaosu_validators import blocks, judge, parts, validate

Verdict = tuple[int | None, list[str]]
TEXT = "é文😀 text, " * 100


def line(form: str, number: int) -> bytes:
    if form == "csv":
        return f'{number},"{TEXT * (1 + number % 3)}"\n'.encode()
    return json.dumps({"id": number, "text": TEXT}, ensure_ascii=number % 2 == 0).encode() + b"\n"


def lines(form: str, size: int) -> bytearray:
    found = bytearray(b"id,text\n" if form == "csv" else b"")
    number = 0
    while len(found) < size:
        found += line(form, number)
        number += 1
    return found


def theirs(path: Path, monkeypatch: pytest.MonkeyPatch) -> Verdict:
    monkeypatch.chdir(path.parent)
    task = frictionless_validate(Resource(path.name)).tasks[0]
    return task.stats.get("rows"), [e.type for e in task.errors]


def ours(path: Path, workers: int) -> Verdict:
    task = validate(path, workers=workers).tasks[0]
    return task.stats.rows, [e.type for e in task.errors]


@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_a_bad_byte_behind_the_border_of_blocks_voids_rows_before_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    data = lines(form, blocks.BLOCK + (1 << 20))
    border = data.rindex(b"\n", 0, blocks.BLOCK) + 1
    chunk = border - border % blocks.CHUNK
    assert data.count(b"\n", chunk, border) > 0, "rows of the first block are in the chunk"
    data[border + 20] = 0xFF
    path = tmp_path / f"a.{form}"
    path.write_bytes(data)
    wanted = theirs(path, monkeypatch)
    assert wanted == (data.count(b"\n", 0, chunk) - (form == "csv"), ["encoding-error"])
    assert ours(path, 1) == wanted
    monkeypatch.setattr(parts, "PART_BYTES", 2 << 20)
    assert ours(path, 2) == wanted


BAD = {
    "a byte of its own": b"\xff",
    "the end of a character": b"\x80",
    "longer than it may be": b"\xf0\x80\x98\x80",
    "half of a pair": b"\xed\xa0\x80",
    "beyond the last": b"\xf4\x90\x80\x80",
    "cut off at the end": b"",
}


@pytest.mark.parametrize("few", [5, 1 << 18])  # lines at once
@pytest.mark.parametrize("kind", BAD)
@pytest.mark.parametrize("form", ["csv", "jsonl"])
def test_bad_bytes_at_every_border_have_the_verdict_of_frictionless(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, form: str, kind: str, few: int
) -> None:
    monkeypatch.setattr(judge, "SMALL", 0)
    monkeypatch.setattr(blocks, "BLOCK", 32 << 10)
    monkeypatch.setattr(parts, "PART_BYTES", 48 << 10)
    monkeypatch.setattr(blocks, "_LINES", few)
    monkeypatch.setattr(blocks, "_SAMPLE", 64)
    whole = lines(form, 230_000)
    path = tmp_path / f"a.{form}"
    for place in (4 << 15, 6 << 15, len(whole) - 12_000):
        for away in (-8000, -700, 30, 1500, 8000):
            data: Any = whole[:]
            at = data.index("é".encode(), place + away)
            if BAD[kind]:
                data[at:at] = BAD[kind]
            else:
                del data[at + 1 :]
            path.write_bytes(data)
            wanted = theirs(path, monkeypatch)
            assert wanted[1] == ["encoding-error"]
            for workers in (1, 2):
                assert ours(path, workers) == wanted, (place, away, workers)
