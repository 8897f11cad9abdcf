"""Damaged files: cut anywhere, one bit wrong anywhere. Each is described, none breaks the rest."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
import random
import struct
import tarfile
import wave
import zipfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq
import pytest
import zstandard

from yaosu_validators import sandbox
from yaosu_validators.sandbox import MIB, Limits, run_in_sandbox

CUTS, FLIPS = 12, 20


def seeds(folder: Path) -> dict[str, bytes]:
    """Return one small sound file of each kind."""
    lines = "".join(json.dumps({"text": f"line {n}", "n": n}) + "\n" for n in range(50)).encode()
    table = pa.table({"i": list(range(50)), "t": [f"t{n}" for n in range(50)], "l": [[1]] * 50})
    pq.write_table(table, folder / "x")
    parquet = (folder / "x").read_bytes()
    arrow = io.BytesIO()
    with pa.ipc.new_file(arrow, table.schema) as sink:
        sink.write_table(table)
    stream = io.BytesIO()
    with pa.ipc.new_stream(stream, table.schema) as sink:
        sink.write_table(table)
    (folder / "x").unlink()
    sound = io.BytesIO()
    with wave.open(sound, "wb") as out:
        out.setnchannels(1)
        out.setsampwidth(2)
        out.setframerate(8000)
        out.writeframes(bytes(800))
    tar = io.BytesIO()
    with tarfile.open(fileobj=tar, mode="w") as archive:
        for n in range(3):
            entry = tarfile.TarInfo(f"{n}.json")
            entry.size = 2
            archive.addfile(entry, io.BytesIO(b"{}"))
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w") as archive_:
        archive_.writestr("a.csv", "a\n1\n")
    moov = struct.pack(">I4s", 116, b"moov") + struct.pack(">I4s", 108, b"mvhd") + bytes(100)
    return {
        "a.csv": b'id,name,day\n1,"x, y",2024-01-01\n2,z,2024-01-02\n' * 5,
        "u.csv": "城市,人口\n广州,1881\n".encode("utf-16") * 3,
        "g.csv": ("城市,人口\n" + "广州,1881\n" * 20).encode("gb18030"),
        "a.json": b"[" + lines.strip().replace(b"\n", b",") + b"]",
        "a.jsonl": lines,
        "a.jsonl.gz": gzip.compress(lines),
        "b.jsonl.zst": zstandard.compress(lines),
        "c.jsonl.bz2": bz2.compress(lines),
        "d.jsonl.xz": lzma.compress(lines),
        "a.parquet": parquet,
        "a.arrow": arrow.getvalue(),
        "a.arrows": stream.getvalue(),
        "a.wav": sound.getvalue(),
        "a.tar": tar.getvalue(),
        "b.tar.gz": gzip.compress(tar.getvalue()),
        "a.zip": packed.getvalue(),
        "a.mp4": struct.pack(">I4s8s", 16, b"ftyp", b"isom") + moov,
        "README.md": b"---\nlicense: mit\ntags: [a]\n---\n# Title\n\nWords about the data.\n",
    }


@pytest.mark.parametrize("seed", range(3))
def test_damaged_files_are_described_one_by_one(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    folder = tmp_path / "data"
    folder.mkdir()
    count = 0
    for name, data in seeds(tmp_path).items():
        for n in range(CUTS):
            place = folder / f"cut{n}" / name
            place.parent.mkdir(exist_ok=True)
            place.write_bytes(data[: chance.randrange(len(data))])
            count += 1
        for n in range(FLIPS):
            place = folder / f"flip{n}" / name
            place.parent.mkdir(exist_ok=True)
            broken = bytearray(data)
            broken[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
            place.write_bytes(broken)
            count += 1
    limits = Limits(cpu_s=60, memory_bytes=1024 * MIB)
    said = run_in_sandbox("describe", target=folder, args={"name": "damaged"}, limits=limits)
    assert "error" not in said, said["error"]["message"]
    assert _files(said["descriptor"]) == count
    assert all(p["message"] and p["message_zh"] for p in said["todo"])
    json.dumps(said, allow_nan=False)


def _files(descriptor: dict[str, Any]) -> int:
    paths = [resource["path"] for resource in descriptor["resources"]]
    return sum(1 if isinstance(path, str) else len(path) for path in paths)


def test_strange_texts_as_cells_names_and_keys_stay_what_they_are(tmp_path: Path) -> None:
    odd = ["=1+1", "<script>", "\u202etxt", "\ufeff", "NaN", "İ", "ﷺ", "\U0001f4a9", "a\u0000b"]
    (tmp_path / "a.jsonl").write_text("".join(json.dumps({text: text}) + "\n" for text in odd))
    (tmp_path / "b.csv").write_text(",".join(odd) + "\n" + ",".join(odd) + "\n", encoding="utf-8")
    said = run_in_sandbox("describe", target=tmp_path, args={"name": "x"})
    assert "error" not in said
    names = {f["name"] for r in said["descriptor"]["resources"] for f in r["schema"]["fields"]}
    assert set(odd) - {"\ufeff", "a\u0000b"} <= names


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("deep.json", b"[" * 1_000_000),
        ("deep.jsonl", b'{"a":' * 100_000 + b"\n"),
        ("wide.csv", b",".join(b"c%d" % n for n in range(20_000)) + b"\n"),
        ("long.csv", b"a,b\n" + b"x" * (9 * MIB) + b",1\n"),
        ("quote.csv", b'a,b\n"' + b"x\n" * 500_000),
        ("blank.csv", b"\n" * 100_000),
        ("nul.csv", b"a,b\n\0,\0\n" * 1000),
        ("mixed.csv", b"a,b\r1,2\n3,4\r\n5,6\r"),
        ("number.json", b"[" + b"9" * 100_000 + b"]"),
        ("late.jsonl", b'{"a": 1}\n' * 1000 + b"\xff\xfe\n"),
        ("late.csv", b"a,b\n" + b"1,2\n" * 100_000 + b"\xff,\xfe\n"),
        ("infinite.json", b'[{"a": Infinity}]'),
        ("one.json", b"3"),
        ("space.json", b" " * 100_000),
    ],
)
def test_what_is_sent_to_break_readers_is_described(
    tmp_path: Path, name: str, content: bytes
) -> None:
    (tmp_path / name).write_bytes(content)
    limits = Limits(cpu_s=20, memory_bytes=1024 * MIB, wall_s=40)
    said = run_in_sandbox("describe", target=tmp_path, args={"name": "x"}, limits=limits)
    assert "error" not in said, said["error"]["message"]
    assert said["descriptor"]["resources"][0]["bytes"] == len(content)


def test_a_file_that_fells_its_reader_costs_only_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The reader is made to fall here: today's libraries survive every file that we have."""
    (tmp_path / "felling.py").write_text(
        "import os\n"
        "from yaosu_validators.child import main\n"
        "from yaosu_validators.describing import measure\n"
        "real = measure.read_table\n"
        "def falls(path, *more):\n"
        "    os.abort() if path.name.startswith('bad') else None\n"
        "    return real(path, *more)\n"
        "measure.read_table = falls\n"
        "if __name__ == '__main__':\n"
        "    main()\n"
    )
    data = tmp_path / "data"
    data.mkdir()
    for name in ("a.csv", "bad1.csv", "badder.csv", "z.csv"):
        (data / name).write_text("id,name\n1,x\n")
    said = run_in_sandbox("describe", target=data, entry="felling", roots=[tmp_path])
    rows = {r["path"]: r.get("rows") for r in said["descriptor"]["resources"]}
    assert rows == {"a.csv": 1, "bad1.csv": None, "badder.csv": None, "z.csv": 1}
    assert all("hash" in r for r in said["descriptor"]["resources"])
    crashed = [p["pointer"] for p in said["todo"] if p["code"] == "reader-crashed"]
    assert crashed == ["/resources/1", "/resources/2"]
    monkeypatch.setattr(sandbox, "_RETRIES", 1)  # a folder full of such files is given up
    assert "error" in run_in_sandbox("describe", target=data, entry="felling", roots=[tmp_path])
