"""README cards and their folders: read as hubs write them, written as hubs read them."""

from __future__ import annotations

import json
import shutil
import subprocess
from importlib.resources import files
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from strangers import python_of
from yaosu_connectors import Record, Skipped, card, card_files, load
from yaosu_schemas.errors import TooLarge

# What the real library makes of a folder: rows and columns of every split of every config.
READER = """
import json, os, sys
os.environ |= {"HF_HUB_OFFLINE": "1", "HF_DATASETS_OFFLINE": "1"}
import datasets
datasets.disable_progress_bars()
found = {}
for folder in sys.argv[2:]:
    for config in datasets.get_dataset_config_names(folder):
        for split, data in datasets.load_dataset(folder, config, cache_dir=sys.argv[1]).items():
            columns = {n: str(getattr(f, "dtype", f)) for n, f in data.features.items()}
            found[f"{os.path.basename(folder)}/{config}/{split}"] = [len(data), columns, data[0]]
print(json.dumps(found, default=str))
"""


def loaded(cache: Path, *folders: Path) -> dict[str, Any]:
    """Load folders with Hugging Face's own library."""
    command = [str(python_of("datasets")), "-c", READER, str(cache), *map(str, folders)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, "utf-8")
    return path


def one(folder: Path) -> Record:
    (found,) = load("huggingface").harvest(str(folder))
    assert isinstance(found, Record), found
    return found


def example() -> dict[str, Any]:
    place = files("yaosu_schemas") / "json" / "example-dataset.json"
    found: dict[str, Any] = json.loads(place.read_text("utf-8"))
    return found


# --- the real library --------------------------------------------------------------------------


def test_the_library_of_the_hub_loads_what_is_written(tmp_path: Path, testdata: Path) -> None:
    gsm = testdata / "ai" / "gsm8k" / "grade_school_math" / "data"
    poems = testdata / "ai" / "llama-factory" / "data" / "alpaca_zh_demo.json"
    bought = tmp_path / "bought"
    (bought / "data").mkdir(parents=True)
    for name in ("train", "test"):
        shutil.copy(gsm / f"{name}.jsonl", bought / "data" / f"{name}.jsonl")
    shutil.copy(poems, bought / "zh.json")
    table = pa.table({"id": pa.array([1, 2, 3], pa.int32()), "at": pa.array([1, 2, 3]),
                      "vector": [[0.5], [1.0], [2.0]]})  # fmt: skip
    for shard in range(2):
        pq.write_table(table, bought / "data" / f"vectors-{shard:05}-of-00002.parquet")
    text = {"type": "string"}
    shards = {"name": "vectors", "path": [f"data/vectors-{n:05}-of-00002.parquet" for n in (0, 1)]}
    vectors = {"name": "vectors", "title": "Vectors", "resources": [shards]}
    package = {
        "name": "sums", "title": "应用题 Sums", "description": "# 应用题\n\n小学数学应用题。",
        "resources": [
            {"name": "train", "path": "data/train.jsonl",
             "schema": {"fields": [{"name": "question", **text}, {"name": "answer", **text}]}},
            {"name": "test", "path": "data/test.jsonl",
             "schema": {"fields": [{"name": "question", **text}, {"name": "answer", **text}]}},
            {"name": "instructions", "path": "zh.json"},
            shards,
        ],
        "dataElement": {
            "languages": ["zh-Hans", "en"], "license_spdx": "MIT",
            "ai": {"tasks": ["question-answering"], "splits": [
                {"name": "train", "records": 7473}, {"name": "test", "records": 1319}]},
        },
    }  # fmt: skip
    write(bought / "datapackage.json", json.dumps(package))
    write(bought / "vectors.datapackage.json", json.dumps(vectors))
    (record,) = load("folder").harvest(str(bought))
    assert isinstance(record, Record)
    other = Record(origin_id="v", kind="dataset", document=vectors, digest="sha256:1",
                   files={p: record.files[p] for p in shards["path"]})  # fmt: skip
    load("huggingface").publish([record, other], str(tmp_path / "hf"))
    load("modelscope").publish([record], str(tmp_path / "ms"))
    cards = tmp_path / "hf" / "sums", tmp_path / "hf" / "vectors", tmp_path / "ms" / "sums"
    found = loaded(tmp_path / "cache", *cards)
    assert {key: value[0] for key, value in found.items()} == {
        "sums/default/train": 7473, "sums/default/test": 1319,
        "sums/instructions/train": len(json.loads(poems.read_text("utf-8"))),
        "vectors/default/train": 6,
    }  # fmt: skip
    assert found["sums/default/test"][1] == {"question": "string", "answer": "string"}
    assert found["vectors/default/train"][1]["id"] == "int32"
    again = one(tmp_path / "hf" / "sums")
    assert again.document == record.document
    assert again.files.keys() == record.files.keys()


def test_the_library_reads_a_card_with_every_kind_of_feature(tmp_path: Path) -> None:
    place = tmp_path / "kinds"
    front = """---
dataset_info:
  features:
  - name: text
    dtype: string
  - name: score
    dtype: float32
  - name: label
    dtype:
      class_label:
        names:
          '0': 坏
          '1': 好
  - name: tokens
    list: int32
  - name: meta
    struct:
    - name: url
      dtype: string
---
"""
    write(place / "README.md", front)
    rows = [{"text": "a", "score": 0.5, "label": 1, "tokens": [1], "meta": {"url": "u"}}]
    write(place / "train.jsonl", "\n".join(map(json.dumps, rows)))
    record = one(place)
    (resource,) = record.document["resources"]
    fields = {f["name"]: f["type"] for f in resource["schema"]["fields"]}
    assert fields == {"text": "string", "score": "number", "label": "integer", "tokens": "array",
                      "meta": "object"}  # fmt: skip
    assert resource["schema"]["fields"][2]["categories"][1] == {"value": 1, "label": "好"}
    load("huggingface").publish([record], str(tmp_path / "out"))
    (count, columns, _) = loaded(tmp_path / "cache", tmp_path / "out" / "kinds")[
        "kinds/default/train"
    ]
    assert count == 1
    assert columns["score"] == "float32"
    assert columns["label"] == "int64"


# --- cards of others ---------------------------------------------------------------------------


def test_configs_with_globs_and_shards_become_resources(tmp_path: Path) -> None:
    place = tmp_path / "many"
    for shard in range(2):
        write(place / "data" / f"train-{shard:05}-of-00002.parquet", "x")
    write(place / "en" / "dev.csv", "a\n1\n")
    write(place / "en" / "more" / "train.csv", "a\n1\n")
    write(place / ".gitattributes", "*.parquet filter=lfs")
    write(place / "LICENSE.md", "text")
    write(
        place / "README.md",
        """---
license: cc-by-4.0
language: [zh, no]
task_categories: [text-generation]
annotations_creators: [expert-generated]
size_categories: [1K<n<10K]
configs:
- config_name: default
  data_files:
  - {split: train, path: data/train-*}
- config_name: en
  data_files:
    train: en/**/train*
    validation: [en/dev.csv, en/gone.csv]
arxiv: "1234.5678"
---
正文。
""",
    )
    record = one(place)
    said = record.document
    assert [(r["name"], r.get("config"), r.get("split"), r["path"]) for r in said["resources"]] == [
        ("train", None, "train",
         ["data/train-00000-of-00002.parquet", "data/train-00001-of-00002.parquet"]),
        ("en-train", "en", "train", "en/more/train.csv"),
        ("en-validation", "en", "validation", "en/dev.csv"),
        ("LICENSE.md", None, None, "LICENSE.md"),
    ]  # fmt: skip
    assert said["dataElement"]["languages"] == ["zh", "no"]
    assert said["dataElement"]["license_spdx"] == "CC-BY-4.0"
    notes = {(n.pointer, n.code) for n in record.notes}
    assert ("/configs", "missing_file") in notes
    assert ("/arxiv", "not_mapped") in notes
    assert any(n.pointer == "/dataElement/holder" or "holder" in n.en for n in record.notes)
    assert len(record.files) == 5


def test_without_configs_the_names_of_files_tell_the_splits(tmp_path: Path) -> None:
    names = ["data/train-00000-of-00001.jsonl", "data/test-00000-of-00001.jsonl",
             "data/extra_split-00000-of-00001.jsonl", "notes.csv"]  # fmt: skip
    parts = {p.split: p.paths for p in card_files.parts(None, names)}
    assert parts == {"train": (names[0],), "test": (names[1],), "extra_split": (names[2],)}
    assert [(p.split, p.paths) for p in card_files.parts(None, ["a.csv", "b.csv"])] == [
        ("train", ("a.csv", "b.csv"))
    ]
    dirs = {p.split for p in card_files.parts(None, ["dev/a.csv", "train/b.csv", "c.csv"])}
    assert dirs == {"validation", "train"}


def test_a_modelscope_card_and_dataset_infos_are_read(tmp_path: Path) -> None:
    place = tmp_path / "ms"
    write(place / "train.csv", "q,a\n1,2\n")
    write(
        place / "README.md",
        "---\nlicense: Apache License 2.0\ntext:\n  text_generation:\n    languages: [zh]\n---\n",
    )
    text = {"dtype": "string", "_type": "Value"}
    features = {"q": {"dtype": "int64", "_type": "Value"},
                "a": {"names": ["no", "yes"], "_type": "ClassLabel"},
                "w": {"feature": text, "_type": "Sequence"}}  # fmt: skip
    infos = {"default": {"features": features, "homepage": "https://example.org/",
                         "splits": {"train": {"name": "train", "num_examples": 1}}}}  # fmt: skip
    write(place / "dataset_infos.json", json.dumps(infos))
    said = one(place).document
    assert said["dataElement"]["license_spdx"] == "Apache-2.0"
    assert said["dataElement"]["ai"] == {
        "tasks": ["text-generation"], "splits": [{"name": "train", "records": 1}]
    }  # fmt: skip
    assert said["homepage"] == "https://example.org/"
    (resource,) = said["resources"]
    assert [f["type"] for f in resource["schema"]["fields"]] == ["integer", "integer", "array"]


# --- there and back ----------------------------------------------------------------------------


def there_and_back(package: dict[str, Any], dialect: card.Dialect) -> dict[str, Any]:
    paths = [p for r in package["resources"] for p in
             ([r["path"]] if isinstance(r["path"], str) else r["path"])]  # fmt: skip
    text = card.write(card.front_matter(package, dialect), card.body(package))
    read = card.read(text)
    assert read is not None
    return card.descriptor(*read, package["name"], paths)[0]


@pytest.mark.parametrize("dialect", ["huggingface", "modelscope"])
def test_what_the_table_calls_kept_is_kept(dialect: card.Dialect) -> None:
    said = example()
    again = there_and_back(said, dialect)
    for key in ("name", "title", "description", "version", "keywords"):
        assert again[key] == said[key], key
    ours, theirs = said["dataElement"], again["dataElement"]
    assert theirs["languages"] == ours["languages"]
    assert theirs["license_spdx"] == ours["license_spdx"]
    assert again["licenses"][0]["path"] == said["licenses"][0]["path"]
    assert theirs["ai"]["tasks"] == ours["ai"]["tasks"]
    assert theirs["ai"]["splits"] == ours["ai"]["splits"]
    assert {r["path"] for r in again["resources"]} == {r["path"] for r in said["resources"]}
    assert again["resources"][2]["config"] == "sample"
    columns = [f["name"] for f in again["resources"][0]["schema"]["fields"]]
    assert columns == ["instruction", "input", "output"]


WORD = st.text(st.characters(categories=("L", "N", "P", "S")), min_size=1, max_size=12).filter(
    lambda s: s.strip() == s
)
NAME = st.from_regex(r"[a-z][a-z0-9]{0,7}", fullmatch=True)


@settings(deadline=None, max_examples=50, suppress_health_check=[HealthCheck.too_slow])
@given(
    title=WORD, words=st.lists(WORD, max_size=3, unique=True), description=WORD,
    licence=st.sampled_from(["MIT", "Apache-2.0", "CC0-1.0", "GPL-3.0-only", "LicenseRef-x",
                             "ODbL-1.0", "MIT OR Apache-2.0"]),
    languages=st.lists(st.sampled_from(["zh-Hans", "zh-Hant", "en", "no"]), unique=True),
    data=st.lists(st.tuples(NAME, st.sampled_from(["", "train", "test", "odd"]),
                            st.sampled_from(["string", "integer", "number", "boolean", "date"])),
                  max_size=5, unique_by=lambda t: t[0]),
    dialect=st.sampled_from(["huggingface", "modelscope"]),
)  # fmt: skip
def test_a_card_of_a_card_is_the_same_card(
    title: str, words: list[str], description: str, licence: str, languages: list[str],
    data: list[tuple[str, str, str]], dialect: card.Dialect,
) -> None:  # fmt: skip
    package: dict[str, Any] = {
        "name": "any", "title": title, "description": description, "keywords": words,
        "resources": [
            {"name": name, "path": f"data/{name}.jsonl", **({"split": split} if split else {}),
             "schema": {"fields": [{"name": "c", "type": kind}]}}
            for name, split, kind in data
        ],
        "dataElement": {"license_spdx": licence, "languages": languages},
    }  # fmt: skip
    again = there_and_back(package, dialect)
    assert card.front_matter(again, dialect) == card.front_matter(package, dialect)
    assert card.body(again) == card.body(package)
    assert there_and_back(again, dialect) == again


def test_a_card_that_was_edited_goes_before_the_descriptor_beside_it(tmp_path: Path) -> None:
    place = tmp_path / "in" / "a"
    write(place / "train.csv", "a\n1\n")
    package = {"name": "a", "title": "Old", "created": "2026-01-01", "resources": [
        {"name": "train", "path": "train.csv", "split": "train", "format": "csv"}]}  # fmt: skip
    write(place / "datapackage.json", json.dumps(package))
    load("huggingface").publish(list(load("folder").harvest(str(tmp_path / "in"))),
                                str(tmp_path / "out"))  # fmt: skip
    out = tmp_path / "out" / "a"
    assert one(out).document == package
    write(out / "README.md", (out / "README.md").read_text("utf-8").replace("Old", "New"))
    assert one(out).document["title"] == "New"
    assert one(out).document["created"] == "2026-01-01"


# --- strangers ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "front",
    ["a: [1", "- 1", "a: &x [1]\nb: *x", "configs: 5", "configs: [{data_files: [{path: 7}]}]",
     "configs: [{config_name: [1], data_files: {train: {a: 1}}}]", "dataset_info: [[1]]",
     "dataset_info: {features: [{name: 1}, {name: x, dtype: {class_label: 3}}]}",
     "license: [1]\nlanguage: {a: 1}\ntags: 5", "configs: [{data_files: '../../etc/passwd'}]",
     "configs: [{data_files: 'https://example.org/x.csv'}]"],
)  # fmt: skip
def test_a_hostile_card_is_skipped_or_read_never_a_fault(tmp_path: Path, front: str) -> None:
    write(tmp_path / "a" / "README.md", f"---\n{front}\n---\n")
    write(tmp_path / "a" / "train.csv", "a\n")
    (found,) = load("huggingface").harvest(str(tmp_path))
    assert isinstance(found, Record | Skipped)
    if isinstance(found, Record):
        assert set(found.files) <= {"train.csv"}


def test_patterns_that_would_take_for_ever_are_refused() -> None:
    names = [f"data/{'a' * 40}{n}.csv" for n in range(2_000)]
    slow = [{"split": f"s{n}", "path": "*a" * 12 + f"*/**/x{n}*"} for n in range(600)]
    with pytest.raises(TooLarge):
        list(card_files.parts([{"data_files": slow}], names))


def test_one_folder_that_links_out_is_told_and_not_followed(tmp_path: Path) -> None:
    secret = write(tmp_path / "secret.csv", "a\n")
    place = tmp_path / "a"
    write(place / "README.md", "---\npretty_name: A\n---\n")
    (place / "train.csv").symlink_to(secret)
    record = one(place)
    assert record.files == {}
    assert any(n.code == "refused" for n in record.notes)


def test_one_command_turns_what_was_bought_into_a_folder_of_the_hub(
    tmp_path: Path, make_package: Any
) -> None:
    from typer.testing import CliRunner

    from yaosu.cli import app

    make_package(tmp_path / "in" / "a", "a")
    make_package(tmp_path / "in" / "b", "b").write_text("{", "utf-8")
    words = ["connect", "convert", "folder", str(tmp_path / "in"), "modelscope"]
    done = CliRunner().invoke(app, [*words, str(tmp_path / "out"), "--json"])
    assert done.exit_code == 1, done.output
    said = json.loads(done.stdout)
    assert said["added"] == ["a"]
    assert [s["origin_id"] for s in said["skipped"]] == ["b"]
    assert (tmp_path / "out" / "a" / "README.md").is_file()
    back = CliRunner().invoke(app, ["connect", "convert", "ckan-publish", "x", "folder", "y"])
    assert back.exit_code != 0
