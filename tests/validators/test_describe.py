"""What a description of a folder says of it, on data made here."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
import struct
import tarfile
import wave
import zlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.ipc
import pyarrow.parquet as pq
import pytest
import zstandard

from yaosu_schemas.documents import check
from yaosu_schemas.errors import InvalidInput, NotFound
from yaosu_validators.describe import Description, describe
from yaosu_validators.sandbox import MIB, Limits, run_in_sandbox

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
ZH = "今天的天气很好，我们一起去公园散步，然后回家吃饭。"
EN = "The weather is fine today and we go for a walk in the park with the others."


def put(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def rows(*records: object) -> str:
    return "".join(json.dumps(record, ensure_ascii=False) + "\n" for record in records)


def wav(seconds: float) -> bytes:
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(8000)
        file.writeframes(b"\0\0" * int(8000 * seconds))
    return out.getvalue()


def png(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    pixels = zlib.compress(b"".join(b"\0" + b"\0" * width for _ in range(height)))
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    )


def of(folder: Path, existing: dict[str, Any] | None = None) -> Description:
    return describe(folder, existing, now=NOW)


def resource(said: Description, name: str) -> dict[str, Any]:
    found: dict[str, Any] = next(r for r in said.descriptor["resources"] if r["name"] == name)
    return found


def types(resource: dict[str, Any]) -> dict[str, str]:
    return {field["name"]: field["type"] for field in resource["schema"]["fields"]}


def codes(said: Description) -> set[str]:
    return {problem.code for problem in said.todo}


def test_a_table_is_measured_exactly(tmp_path: Path) -> None:
    path = put(tmp_path, "a.csv", "id,name\n1,x\n2,y\n")
    found = resource(of(tmp_path), "a")
    assert found == {
        "name": "a",
        "type": "table",
        "path": "a.csv",
        "format": "csv",
        "mediatype": "text/csv",
        "encoding": "utf-8",
        "bytes": 16,
        "hash": "sha256:" + hashlib.sha256(path.read_bytes()).hexdigest(),
        "schema": {
            "fields": [{"name": "id", "type": "integer"}, {"name": "name", "type": "string"}]
        },
        "rows": 2,
    }


@pytest.mark.parametrize(
    ("cells", "type_"),
    [
        (["1", "2", ""], "integer"),
        (["007", "12"], "string"),
        (["1", "2.5", "-3e8"], "number"),
        (["1", "2", "three"], "string"),
        (["true", "false"], "boolean"),
        (["0", "1"], "integer"),
        (["2024-02-29", "2024-03-01"], "date"),
        (["2023-02-29", "2024-03-01"], "string"),
        (["2024-01-01T10:00:00", "2024-01-01T10:00:00Z"], "datetime"),
        (["10:00:00", "23:59:59"], "time"),
        (["2024-01", "2024-12"], "yearmonth"),
        (["", ""], "string"),
        (["NaN", "1.0"], "string"),
        (["１２", "３"], "string"),
    ],
)
def test_a_type_is_inferred_only_if_every_cell_has_it(
    tmp_path: Path, cells: list[str], type_: str
) -> None:
    put(tmp_path, "a.csv", "k,v\n" + "".join(f"k,{cell}\n" for cell in cells))
    assert types(resource(of(tmp_path), "a"))["v"] == type_


def test_columns_that_the_first_record_lacks_are_columns(tmp_path: Path) -> None:
    put(tmp_path, "a.jsonl", rows({"a": 1}, {"b": "x"}, {"a": 2, "c": None}))
    found = resource(of(tmp_path), "a")
    assert types(found) == {"a": "integer", "b": "string", "c": "any"}
    assert found["dialect"] == {"itemKeys": ["a", "b", "c"]}


def test_one_late_cell_decides_over_a_million(tmp_path: Path) -> None:
    put(tmp_path, "a.csv", "v,w\n" + "1,1\n" * 300_000 + "1.5,x\n")
    assert types(resource(of(tmp_path), "a")) == {"v": "number", "w": "string"}


def test_years_are_years_only_where_the_column_is_called_so(tmp_path: Path) -> None:
    put(tmp_path, "a.csv", "Year,count,年份\n1999,1999,2001\n")
    assert types(resource(of(tmp_path), "a")) == {
        "Year": "year",
        "count": "integer",
        "年份": "year",
    }


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "gb18030", "utf-16"])
def test_chinese_tables_are_read_in_their_encoding(tmp_path: Path, encoding: str) -> None:
    put(tmp_path, "a.csv", ("城市,人口\n" + "广州,1881\n深圳,1779\n" * 500).encode(encoding))
    found = resource(of(tmp_path), "a")
    assert types(found) == {"城市": "string", "人口": "integer"}
    assert found["rows"] == 1000
    assert found["encoding"] == {"utf-8-sig": "utf-8"}.get(encoding, encoding)


def test_dialects_are_seen(tmp_path: Path) -> None:
    put(tmp_path, "semi.csv", 'a;b\n1;"x, y"\n2;"u;v"\n')
    put(tmp_path, "tab.tsv", "a\tb\n1\t2\n")
    put(tmp_path, "bare.csv", "1.5,2\n3.5,4\n")
    said = of(tmp_path)
    assert resource(said, "semi")["dialect"] == {"delimiter": ";"}
    assert "dialect" not in resource(said, "tab")
    assert resource(said, "bare")["dialect"] == {"header": False}
    assert types(resource(said, "bare")) == {"field1": "number", "field2": "integer"}
    assert resource(said, "bare")["rows"] == 2


def test_ragged_rows_are_counted_and_named(tmp_path: Path) -> None:
    put(tmp_path, "a.csv", "a,b\n1,2\n1,2,3\n4\n")
    said = of(tmp_path)
    assert "ragged-rows" in codes(said)
    assert said.descriptor["dataElement"]["size"]["records"] == 3
    assert "rows" not in resource(said, "a")


def test_json_types_are_those_of_every_record(tmp_path: Path) -> None:
    put(
        tmp_path,
        "a.jsonl",
        rows(
            {"i": 1, "n": 1, "s": "x", "d": "2024-01-01", "l": [1], "o": {}, "b": True, "m": 1},
            {"i": 2, "n": 1.5, "s": None, "d": "2024-01-02", "l": [], "o": {}, "b": False, "m": ""},
        ),
    )  # fmt: skip
    assert types(resource(of(tmp_path), "a")) == {
        "i": "integer", "n": "number", "s": "string", "d": "date", "l": "array", "o": "object",
        "b": "boolean", "m": "any",
    }  # fmt: skip


@pytest.mark.parametrize(("suffix", "pack"), [("gz", gzip.compress), ("zst", zstandard.compress)])
def test_packed_lines_are_read_through(tmp_path: Path, suffix: str, pack: Any) -> None:
    put(tmp_path, f"train.jsonl.{suffix}", pack(rows({"text": EN}, {"text": EN}).encode()))
    said = of(tmp_path)
    found = resource(said, "train")
    assert (found["format"], found["compression"], found["rows"]) == ("jsonl", suffix, 2)
    assert said.descriptor["dataElement"]["ai"]["splits"] == [{"name": "train", "records": 2}]


def test_a_json_array_is_streamed_and_a_lone_object_is_a_document(tmp_path: Path) -> None:
    records = [{"n": number, "t": "x" * 1000} for number in range(300)]
    put(tmp_path, "many.json", json.dumps(records, indent=1))
    put(tmp_path, "config.json", '{"a": 1, "b": 2}')
    put(tmp_path, "numbers.json", "[1, 22, 333]")
    said = of(tmp_path)
    assert resource(said, "many")["rows"] == 300
    assert resource(said, "config")["type"] == "json"
    assert "schema" not in resource(said, "numbers")


def test_content_wins_over_the_name_and_the_difference_is_told(tmp_path: Path) -> None:
    put(tmp_path, "lines.json", rows({"a": 1}, {"a": 2}))
    put(tmp_path, "array.jsonl", json.dumps([{"a": 1}], indent=1))
    put(tmp_path, "photo.jpg", png(3, 2))
    said = of(tmp_path)
    assert resource(said, "lines")["format"] == "jsonl"
    assert resource(said, "array")["format"] == "json"
    assert resource(said, "photo")["mediatype"] == "image/png"
    mismatches = [p.pointer for p in said.todo if p.code == "format-mismatch"]
    assert len(mismatches) == 3


def test_what_poses_as_data_is_named(tmp_path: Path) -> None:
    pointer = "version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n"
    put(tmp_path, "a.jsonl.gz", pointer)
    put(tmp_path, "b.csv", "<!DOCTYPE html><html><body>404</body></html>")
    put(tmp_path, "c.parquet", b"PAR1 and then nothing of it")
    put(tmp_path, "d.csv", "")
    put(tmp_path, "e.jsonl.gz", gzip.compress(rows({"a": 1}).encode() * 50)[:-9])
    said = of(tmp_path)
    assert {"lfs-pointer", "html-page", "malformed", "source-error"} <= codes(said)
    blocking = {p.pointer for p in said.todo if p.severity == "error" and p.code != "missing"}
    assert {f"/resources/{number}" for number in range(5)} <= blocking
    assert all("schema" not in r for r in said.descriptor["resources"])


def test_a_compression_bomb_stops_early(tmp_path: Path) -> None:
    put(tmp_path, "a.jsonl.gz", gzip.compress(b"[" + b" " * (64 << 20)))
    assert "too_large" in codes(of(tmp_path))


def test_parquet_and_arrow_keep_their_types(tmp_path: Path) -> None:
    table = pa.table(
        {"i": [1, 2], "x": [0.5, None], "t": ["a", "b"], "l": [[1], []], "s": [{"k": 1}, None]}
    )
    pq.write_table(table, tmp_path / "a.parquet")
    with pa.ipc.new_file(str(tmp_path / "b.arrow"), table.schema) as sink:
        sink.write_table(table)
    said = of(tmp_path)
    expected = {"i": "integer", "x": "number", "t": "string", "l": "array", "s": "object"}
    for name in ("a", "b"):
        assert types(resource(said, name)) == expected
        assert resource(said, name)["rows"] == 2


def test_shards_of_one_table_are_one_resource(tmp_path: Path) -> None:
    for number in range(3):
        pq.write_table(pa.table({"i": [number]}), tmp_path / f"train-0000{number}-of-00003.parquet")
    found = resource(of(tmp_path), "train")
    assert found["path"] == [f"train-0000{number}-of-00003.parquet" for number in range(3)]
    assert found["rows"] == 3
    for part in found["parts"]:
        data = (tmp_path / part["path"]).read_bytes()
        digest = "sha256:" + hashlib.sha256(data).hexdigest()
        assert (part["bytes"], part["hash"]) == (len(data), digest)
    assert [part["path"] for part in found["parts"]] == found["path"]
    assert "hash" not in found
    assert "bytes" not in found


def test_shards_of_different_shape_stay_apart(tmp_path: Path) -> None:
    put(tmp_path, "t-1.csv", "a,b\n1,2\n")
    put(tmp_path, "t-2.csv", "a,c\n1,2\n")
    assert [r["path"] for r in of(tmp_path).descriptor["resources"]] == ["t-1.csv", "t-2.csv"]


def test_a_folder_of_media_is_one_resource_with_its_measures(tmp_path: Path) -> None:
    for number in range(4):
        put(tmp_path, f"clips/{number}.wav", wav(0.5))
    for kind in ("cat", "dog"):
        put(tmp_path, f"images/{kind}/1.png", png(4, 3))
    said = of(tmp_path)
    assert len(resource(said, "clips")["parts"]) == 4
    assert resource(said, "images")["path"] == ["images/cat/1.png", "images/dog/1.png"]
    element = said.descriptor["dataElement"]
    assert element["size"]["duration_s"] == pytest.approx(2.0)
    assert element["size"]["images"] == 2
    assert element["size"]["records"] == 6
    assert element["form"] == {"content": ["image", "audio"], "structure": "unstructured"}
    assert element["ai"]["modalities"] == ["image", "audio"]


def test_splits_of_media_come_from_folders_not_from_what_they_show(tmp_path: Path) -> None:
    put(tmp_path, "a/train_1.png", png(1, 1))
    put(tmp_path, "a/cat_1.png", png(1, 1))
    assert "splits" not in of(tmp_path).descriptor["dataElement"]["ai"]
    other = tmp_path / "other"
    put(other, "train/1.png", png(1, 1))
    put(other, "test/1.png", png(1, 1))
    put(other, "test/2.png", png(1, 1))
    assert of(other).descriptor["dataElement"]["ai"]["splits"] == [
        {"name": "train", "records": 1},
        {"name": "test", "records": 2},
    ]


def test_a_shard_of_samples_is_counted_without_unpacking(tmp_path: Path) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for number in range(5):
            for suffix, data in (("png", png(1, 1)), ("txt", b"x")):
                entry = tarfile.TarInfo(f"{number:04}.{suffix}")
                entry.size = len(data)
                archive.addfile(entry, io.BytesIO(data))
        link = tarfile.TarInfo("0009.png")
        link.type, link.linkname = tarfile.SYMTYPE, "/etc/passwd"
        archive.addfile(link)
    put(tmp_path, "shard-000000.tar", out.getvalue())
    said = of(tmp_path)
    assert said.descriptor["dataElement"]["size"]["records"] == 5
    assert said.descriptor["dataElement"]["size"]["images"] == 5
    assert "unsafe-member" in codes(said)


@pytest.mark.parametrize(
    ("record", "stage"),
    [
        ({"instruction": EN, "input": "", "output": EN}, ["instruction_tuning"]),
        ({"messages": [{"role": "user", "content": EN}]}, ["instruction_tuning"]),
        ({"prompt": EN, "chosen": EN, "rejected": EN}, ["reinforcement_learning"]),
        ({"messages": [{"content": EN}], "label": True}, ["reinforcement_learning"]),
        ({"text": EN}, ["pretraining"]),
        ({"question": EN, "choices": ["a"], "answer": 0}, ["evaluation"]),
        ({"title": EN, "paragraph": EN}, None),
        ({"text": EN, "label": 1}, None),
    ],
)
def test_a_stage_is_named_only_where_the_shape_says_so(
    tmp_path: Path, record: dict[str, Any], stage: list[str] | None
) -> None:
    put(tmp_path, "a.jsonl", rows(record, record))
    ai = of(tmp_path).descriptor["dataElement"].get("ai", {})
    assert ai.get("stage") == stage
    assert ai["modalities"] == ["text"]


def test_questions_are_for_training_or_for_evaluation_as_their_split(tmp_path: Path) -> None:
    put(tmp_path, "train.jsonl", rows({"question": EN, "answer": EN}))
    put(tmp_path, "test.jsonl", rows({"question": EN, "answer": EN}))
    ai = of(tmp_path).descriptor["dataElement"]["ai"]
    assert ai["stage"] == ["instruction_tuning", "evaluation"]


@pytest.mark.parametrize(
    ("texts", "tags"),
    [
        ([EN], ["en"]),
        ([ZH], ["zh"]),
        (["今天的天氣很好，我們一起去公園散步，然後回家吃飯。"], ["zh-Hant"]),
        (["今日は天気がいいですから、公園を散歩します。"], ["ja"]),
        (["오늘은 날씨가 좋아서 공원에서 산책을 합니다."], ["ko"]),
        (["Сегодня хорошая погода, и мы гуляем в парке вместе."], ["ru"]),
        (["الطقس جميل اليوم ونحن نمشي في الحديقة معا كل صباح"], ["ar"]),
        (["Il fait beau et nous nous promenons dans le parc avec les autres."], ["fr"]),
        ([ZH, EN], ["en", "zh"]),
        (["0x3f2a 9b1c a0 b1 c2 d3 e4 f5 a6 b7 c8"], None),
    ],
)
def test_languages_are_told_by_script_and_small_words(
    tmp_path: Path, texts: list[str], tags: list[str] | None
) -> None:
    put(tmp_path, "a.jsonl", rows(*({"text": text} for text in texts * 3)))
    assert of(tmp_path).descriptor["dataElement"].get("languages") == tags


def test_a_plain_table_has_no_language(tmp_path: Path) -> None:
    put(tmp_path, "a.csv", "country,value\n" + "Federal Republic of Germany,1\n" * 20)
    element = of(tmp_path).descriptor["dataElement"]
    assert "languages" not in element
    assert element["form"] == {"content": ["table"], "structure": "structured"}


def test_the_card_beside_the_data_is_read(tmp_path: Path) -> None:
    put(tmp_path, "a.csv", "a,b\n1,2\n")
    put(
        tmp_path,
        "README.md",
        "---\npretty_name: 测试集\nlicense: cc-by-4.0\nlanguage: [zh, en]\ntags: [a, b]\n"
        "task_categories: [text-generation]\n---\n# Other\n\n[![x](y)](z)\n\n"
        "A small collection of things that were counted.\n",
    )
    put(tmp_path, "LICENSE", "Creative Commons Attribution 4.0 International Public License")
    descriptor = of(tmp_path).descriptor
    assert descriptor["title"] == "测试集"
    assert descriptor["description"] == "A small collection of things that were counted."
    assert descriptor["licenses"] == [{"name": "CC-BY-4.0", "path": "LICENSE"}]
    assert descriptor["keywords"] == ["a", "b"]
    element = descriptor["dataElement"]
    assert (element["license_spdx"], element["languages"]) == ("CC-BY-4.0", ["zh", "en"])
    assert element["ai"]["tasks"] == ["text-generation"]
    roles = {r["path"]: r.get("role") for r in descriptor["resources"]}
    assert roles == {"a.csv": None, "README.md": "documentation", "LICENSE": "documentation"}


def test_what_is_no_data_is_left_out_by_name(tmp_path: Path) -> None:
    outside = put(tmp_path, "outside.csv", "a,b\n1,2\n")
    folder = tmp_path / "data"
    put(folder, "a.csv", "a,b\n1,2\n")
    put(folder, ".hidden.csv", "a\n1\n")
    put(folder, ".git/config", "x")
    put(folder, ".DS_Store", "x")
    put(folder, "sub/Thumbs.db", "x")
    put(folder, "__MACOSX/a.csv", "x")
    put(folder, "a:b.csv", "x")
    put(folder, "datapackage.json", "{}")
    (folder / "link.csv").symlink_to(outside)
    (folder / "up").symlink_to(tmp_path)
    os.mkfifo(folder / "pipe")
    said = of(folder)
    assert [r["path"] for r in said.descriptor["resources"]] == ["a.csv"]
    assert {item["path"] for item in said.skipped} == {
        ".hidden.csv", ".git", ".DS_Store", "sub/Thumbs.db", "__MACOSX", "a:b.csv", "link.csv",
        "up", "pipe",
    }  # fmt: skip
    assert all(item["reason"] and item["reason_zh"] for item in said.skipped)


def test_single_files_can_be_described(tmp_path: Path) -> None:
    put(tmp_path, "x/a.csv", "a,b\n1,2\n")
    put(tmp_path, "y/b.csv", "a,b\n1,2\n")
    said = describe([tmp_path / "x" / "a.csv", tmp_path / "y" / "b.csv"], now=NOW)
    assert [r["path"] for r in said.descriptor["resources"]] == ["x/a.csv", "y/b.csv"]


def test_nothing_to_describe_is_said(tmp_path: Path) -> None:
    with pytest.raises(InvalidInput):
        describe(tmp_path)
    with pytest.raises(NotFound) as missing:
        describe(tmp_path / "gone")
    assert str(tmp_path) not in str(missing.value)


def test_the_same_folder_gives_the_same_description(tmp_path: Path) -> None:
    for number in (3, 1, 2):
        put(tmp_path, f"c{number}/x.jsonl", rows({"text": EN}))
        put(tmp_path, f"m/{number}.png", png(1, 1))
    once, twice = of(tmp_path), of(tmp_path)
    assert json.dumps(once.as_json()) == json.dumps(twice.as_json())


def test_the_draft_has_no_error_of_form(tmp_path: Path) -> None:
    put(tmp_path, "数据/训练.jsonl", rows({"text": ZH}))
    put(tmp_path, "b.csv", "a,b\n1,2\n")
    descriptor = of(tmp_path).descriptor
    assert [p for p in check(descriptor) if p.severity == "error"] == []
    names = [r["name"] for r in descriptor["resources"]]
    assert len(set(names)) == 2


def test_todo_names_what_only_a_person_knows(tmp_path: Path) -> None:
    put(tmp_path, "a.csv", "a,b\n1,2\n")
    todo = of(tmp_path).todo
    wanted = ("/contributors", "/dataElement/holder", "/dataElement/offer", "/dataElement/scenario")
    for pointer in wanted:
        assert any(problem.pointer.startswith(pointer) for problem in todo), pointer
    assert all(problem.en and problem.zh for problem in todo)


def test_progress_tells_bytes_and_file(tmp_path: Path) -> None:
    put(tmp_path, "a.csv", "a,b\n1,2\n")
    told: list[tuple[int, int, str]] = []
    describe(tmp_path, progress=lambda *facts: told.append(facts))
    assert told[-1] == (8, 8, "a.csv")


def test_memory_does_not_grow_with_the_file(tmp_path: Path) -> None:
    """Described by a child that may map fewer bytes than the file has, Python included."""
    line = rows({"text": EN * 200, "n": 1})
    with (tmp_path / "a.jsonl").open("w") as out:
        for _ in range(180):
            out.write(line * (2 * MIB // len(line)))
    with (tmp_path / "b.csv").open("w") as out:
        for _ in range(40):
            out.write("1,2024-01-01,xyz\n" * (MIB // 17))
    limits = Limits(memory_bytes=380 * MIB, cpu_s=120, wall_s=200)
    said = run_in_sandbox("describe", target=tmp_path, args={"name": "big"}, limits=limits)
    assert "error" not in said
    assert said["descriptor"]["dataElement"]["size"]["bytes"] > limits.memory_bytes


def test_what_is_described_is_valid_when_judged(tmp_path: Path) -> None:
    """Types, dialects, encodings, shards and measures are all what a validator finds."""
    put(tmp_path, "semi.csv", 'a;b;c\n1;"x, y";2024-01-01\n2;;\n')
    put(tmp_path, "tab.tsv", "a\tb\n1\t2.5\n")
    put(tmp_path, "bare.csv", "1.5,2\n3.5,4\n")
    put(tmp_path, "gb.csv", ("城市,人口\n" + "广州,1881\n" * 50).encode("gb18030"))
    put(tmp_path, "u16.csv", ("城市,人口\n" + "广州,1881\n" * 50).encode("utf-16"))
    put(tmp_path, "bom.csv", "城市,人口\n广州,1881\n".encode("utf-8-sig"))
    put(tmp_path, "times.csv", "Year,t,d,m,b\n2001,10:00:00,2024-01-01T10:00:00Z,2024-01,true\n")
    put(tmp_path, "codes.csv", "code,x\n007,+1\n010,-2\n")
    put(tmp_path, "sparse.jsonl", rows({"a": 1}, {"a": 2, "b": [1]}, {"c": "x"}))
    put(tmp_path, "array.json", json.dumps([{"a": 1.0, "d": "2024-01-01"}] * 3))
    put(tmp_path, "lines.json", rows({"a": 1}, {"a": 2}))
    put(tmp_path, "one.json", '{"a": {"b": [1]}}')
    for number in (1, 2, 3):
        put(tmp_path, f"parts/p-{number}.csv", f"id,name\n{number},x\n")
        put(tmp_path, f"packed/p-{number}.jsonl.gz", gzip.compress(rows({"n": number}).encode()))
        put(tmp_path, f"zstd/p-{number}.csv.zst", zstandard.compress(b"id\n%d\n" % number))
        put(tmp_path, f"sounds/{number}.wav", wav(0.1))
        put(tmp_path, f"texts/t{number}.txt", EN)
        pq.write_table(pa.table({"i": [number], "l": [[1]]}), tmp_path / f"p-{number}.parquet")
    with pa.ipc.new_file(str(tmp_path / "b.arrow"), pa.schema({"i": pa.int8()})) as sink:
        sink.write_table(pa.table({"i": pa.array([1], pa.int8())}))
    said = of(tmp_path)
    (tmp_path / "datapackage.json").write_text(json.dumps(said.descriptor))
    report = run_in_sandbox("validate", target=tmp_path)
    blamed = {
        task["name"]: [(e["type"], e["message"]) for e in task["errors"]]
        for task in report["tasks"]
        if not task["valid"]
    }
    assert (blamed, report["errors"]) == ({}, [])
    counted = {task["name"]: task["stats"].get("rows") for task in report["tasks"]}
    declared = {r["name"]: r["rows"] for r in said.descriptor["resources"] if "rows" in r}
    assert {name: counted[name] for name in declared} == declared
    assert len(declared) == 16
