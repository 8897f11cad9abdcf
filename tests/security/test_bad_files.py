"""Hostile files through the whole way: uploaded, described, submitted, judged in the child."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import io
import lzma
import os
import time
import zipfile
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard

from people import USCC, Hall, Person, described

MIB = 1 << 20
HUGE = 256 * MIB


@pytest.fixture(scope="module")
def provider(hall: Hall) -> Person:
    return hall.person("lingnan", "provider", uscc=USCC[0])


def parquet(rows: int = 1000) -> bytes:
    out = io.BytesIO()
    pq.write_table(pa.table({"a": list(range(rows)), "b": ["x" * 50] * rows}), out)
    return out.getvalue()


def zipped(members: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as pack:
        for name, data in members.items():
            pack.writestr(name, data)
    return out.getvalue()


def zeros_zstd() -> bytes:
    press = zstandard.ZstdCompressor(level=3).compressobj()
    return b"".join([*(press.compress(bytes(MIB)) for _ in range(HUGE // MIB)), press.flush()])


@cache
def zeros_gzip() -> bytes:
    out = io.BytesIO()
    with gzip.GzipFile(fileobj=out, mode="wb", compresslevel=6, mtime=0) as pack:
        for _ in range(HUGE // MIB):
            pack.write(bytes(MIB))
    return out.getvalue()


def zeros(press: Any) -> bytes:
    """Return zeros pressed by an incremental compressor."""
    return b"".join([*(press.compress(bytes(MIB)) for _ in range(HUGE // MIB)), press.flush()])


def one_cell() -> bytes:
    """A table whose second row is one cell that never ends."""
    out = io.BytesIO()
    with gzip.GzipFile(fileobj=out, mode="wb", compresslevel=1, mtime=0) as pack:
        pack.write(b'a,b\n1,"')
        for _ in range(HUGE // MIB):
            pack.write(b"x" * MIB)
    return out.getvalue()


def one_word() -> bytes:
    """A Parquet file of few KiB: a dictionary of one long word, named again and again."""
    out = io.BytesIO()
    word = pa.array(["x" * 8192])
    rows = pa.DictionaryArray.from_arrays(pa.array(bytes(200_000), pa.int8()), word)
    numbers = pa.array([0] * 200_000)
    pq.write_table(pa.table({"a": numbers, "b": rows}), out, compression="zstd")
    return out.getvalue()


GOOD = b'{"a": 1, "b": "x"}\n' * 50
BROKEN: dict[str, bytes] = {
    "empty.jsonl": b"",
    "empty.csv": b"",
    "empty.parquet": b"",
    "cut.jsonl.gz": gzip.compress(GOOD * 100)[:-20],
    "cut-head.jsonl.gz": gzip.compress(GOOD)[:6],
    "cut.jsonl.zst": zstandard.compress(GOOD * 100)[:-9],
    "cut.parquet": parquet()[:-300],
    "cut-head.parquet": parquet()[40:],
    "flipped.jsonl.gz": gzip.compress(GOOD)[:30] + b"\xff" + gzip.compress(GOOD)[31:],
    "plain.jsonl.gz": GOOD,
    "text.parquet": GOOD,
    "image.jsonl": b"\x89PNG\r\n\x1a\n" + os.urandom(2000),
    "program.csv": b"\x7fELF\x02\x01\x01" + bytes(range(256)) * 20,
    "pointer.jsonl.gz": b"version https://git-lfs.github.com/spec/v1\noid sha256:"
    + b"0" * 64
    + b"\nsize 12345\n",
    "nul.jsonl": b'{"a": 1}\x00\n{"a": 2}\n',
    "nan.jsonl": b'{"a": NaN, "b": "x"}\n',
    "deep.jsonl": b'{"a": ' + b"[" * 50_000 + b"]" * 50_000 + b"}\n",
    "half.jsonl": b'{"a": 1, "b": "x"}\n{"a": 2, "b": "',
    "utf16.csv": "a,b\n1,x\n".encode("utf-16"),
    "wide.csv": b",".join(b"c%d" % i for i in range(3_000)) + b"\n",
}
BOMBS: dict[str, Callable[[], bytes]] = {
    "bomb.csv.gz": zeros_gzip,
    "twice.jsonl.gz": lambda: gzip.compress(zeros_gzip()),
    "bomb.jsonl.zst": zeros_zstd,
    "bomb.csv.bz2": lambda: zeros(bz2.BZ2Compressor()),
    "bomb.jsonl.xz": lambda: zeros(lzma.LZMACompressor(preset=0)),
    "cell.csv.gz": one_cell,
    "member.csv.zip": lambda: zipped({"in.csv": bytes(HUGE)}),
    "nested.csv.zip": lambda: zipped({"in.zip": zipped({"in.csv": bytes(HUGE)})}),
}


def resource(name: str, data: bytes) -> dict[str, Any]:
    kind = name.split(".")[1]
    return {
        "name": name.replace(".", "-"),
        "path": name,
        "format": kind,
        "encoding": "utf-8",
        "bytes": len(data),
        "hash": f"sha256:{hashlib.sha256(data).hexdigest()}",
        "schema": {"fields": [{"name": "a", "type": "integer"}, {"name": "b", "type": "string"}]},
        **({"compression": name.split(".")[2]} if name.count(".") > 1 else {}),
    }


def resident() -> int:
    """Return the bytes of memory that the server (this process) has."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def judged(provider: Person, name: str, files: dict[str, bytes]) -> dict[str, Any]:
    for data in files.values():
        provider.upload(data, pieces=2 if data else 1)
    resources = [resource(path, data) for path, data in files.items()]
    descriptor = described(provider, name, resources, records=1)
    listing = provider.draft(descriptor)["listing_id"]
    found = provider.submit(listing, seconds=120)
    assert found["state"] == "returned", found["state"]
    report: dict[str, Any] = provider.get(f"/v1/listings/{listing}/report")
    return report


def test_files_that_are_not_what_they_say_are_returned_one_by_one(
    hall: Hall, provider: Person
) -> None:
    report = judged(provider, "broken-files", BROKEN)
    verdicts = {task["place"].rsplit("/", 1)[-1]: task for task in report["tasks"]}
    assert set(verdicts) == set(BROKEN)
    wrong = {path for path, task in verdicts.items() if task["valid"] or not task["errors"]}
    assert not wrong
    for task in verdicts.values():
        for error in task["errors"]:
            assert error["message"]
            assert error["message_zh"]
            assert len(str(error)) < 4000
    where = str(hall.market.settings.folder)
    assert where not in str(report)
    assert hall.stranger.get("/healthz")["status"] == "ok"


@pytest.mark.parametrize("name", BOMBS)
def test_bombs_go_off_in_the_child_and_cost_the_server_nothing(
    hall: Hall, provider: Person, name: str
) -> None:
    before, began = resident(), time.monotonic()
    report = judged(provider, f"bomb-{name.replace('.', '-')}", {name: BOMBS[name]()})
    assert not report["valid"]
    assert time.monotonic() - began < 60
    assert resident() - before < 64 * MIB
    assert hall.stranger.get("/healthz")["status"] == "ok"


def test_a_word_that_stands_again_and_again_costs_the_server_nothing(
    hall: Hall, provider: Person
) -> None:
    """1.6 GB of text in a Parquet file of a few KiB may be judged or refused: in bounded memory."""
    data = one_word()
    assert len(data) < MIB
    before, began = resident(), time.monotonic()
    provider.upload(data)
    descriptor = described(provider, "word", [resource("word.parquet", data)], records=1)
    found = provider.submit(provider.draft(descriptor)["listing_id"], seconds=240)
    assert found["state"] in ("returned", "review")
    assert time.monotonic() - began < 240
    assert resident() - before < 64 * MIB
    assert hall.stranger.get("/healthz")["status"] == "ok"


def test_packed_packages_and_pages_are_data_never_opened_by_the_server(
    hall: Hall, provider: Person
) -> None:
    """A zip is a file to deliver: nothing unpacks it on the host, whatever its members say."""
    outside = hall.market.settings.folder.parent / "escaped.txt"
    member = f"../../../../../../..{outside}"
    files = {
        "slip.zip": zipped({member: b"x", "/etc/x": b"x", "ok.csv": b"a,b\n1,x\n"}),
        "nested.zip": zipped({"in.zip": zipped({"in.csv": bytes(10 * MIB)})}),
        "bz.csv.bz2": bz2.compress(bytes(50 * MIB)),
        "xz.csv.xz": lzma.compress(bytes(50 * MIB)),
    }
    judged(provider, "packed", files)
    assert not outside.exists()
    assert not any(p.is_symlink() for p in hall.market.settings.folder.rglob("*"))
    assert not list((hall.market.settings.folder / "scratch").iterdir())


def test_a_file_is_served_as_bytes_even_if_it_is_a_page(hall: Hall, provider: Person) -> None:
    """Markup that a provider uploads is never shown by a browser as part of the market."""
    page = b"<html><script>alert(document.domain)</script></html>\n"
    found = provider.raw("GET", f"/v1/holdings/{provider.upload(page)}")
    assert found.headers["content-type"] == "application/json"
    assert found.headers["x-content-type-options"] == "nosniff"


PACKERS = {
    "gz": lambda data: gzip.compress(data, mtime=0),
    "bz2": bz2.compress,
    "xz": lzma.compress,
    "zst": zstandard.compress,
}


@pytest.mark.parametrize("kind", PACKERS)
def test_a_compressed_file_that_breaks_off_is_never_whole(tmp_path: Path, kind: str) -> None:
    """Wherever it breaks off, before or behind what a reader takes at once."""
    from yaosu_validators import validate

    words = [os.urandom(20).hex().encode() for _ in range(30_000)]
    rows = b"".join(b'{"a": %d, "b": "%s"}\n' % pair for pair in enumerate(words))
    packed = PACKERS[kind](rows)
    whole = tmp_path / f"whole.jsonl.{kind}"
    whole.write_bytes(packed)
    assert validate(whole).as_json()["tasks"][0]["stats"]["rows"] == 30_000
    for left in (1, 5, 40, len(packed) // 3, len(packed) // 2, len(packed) - 9, len(packed) - 1):
        cut = tmp_path / f"cut-{left}.jsonl.{kind}"
        cut.write_bytes(packed[:left])
        assert not validate(cut).as_json()["valid"], (kind, left)
    two = tmp_path / f"two.jsonl.{kind}"
    two.write_bytes(packed + packed)
    assert validate(two).as_json()["tasks"][0]["stats"]["rows"] == 60_000
    two.write_bytes(packed + packed[:-3])
    assert not validate(two).as_json()["valid"]
