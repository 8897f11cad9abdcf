"""The frame of a corpus: shapes are recognised, views hold every text, parts give one report."""

from __future__ import annotations

import gzip
import json
import random
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from yaosu_schemas.errors import InvalidInput
from yaosu_validators import blocks, judge, marks, parts, streams, validate
from yaosu_validators.corpus.shapes import mapping_of
from yaosu_validators.corpus.view import Role, View
from yaosu_validators.corpus.views import ViewMaker

CHECKS = ["structure", "corpus.records"]

SHAPES = {
    "llama-factory/data/alpaca_zh_demo.json": ("instruction", 1000),
    "llama-factory/data/glaive_toolcall_zh_demo.json": ("messages", 300),
    "llama-factory/data/v1_sft_demo.jsonl": ("messages", 500),
    "llama-factory/data/v1_dpo_demo.jsonl": ("preference", 10),
    "llama-factory/data/dpo_zh_demo.json": ("preference", 300),
    "llama-factory/data/kto_en_demo.json": ("kto", 300),
    "llama-factory/data/c4_demo.jsonl": ("text", 300),
    "llama-factory/data/v1_multimodal_demo.jsonl": ("messages", 24),
    "hh-rlhf/harmless-base/test.jsonl.gz": ("preference", 2312),
    "self-instruct/data/seed_tasks.jsonl": ("instruction", 175),
    "human-eval/data/HumanEval.jsonl.gz": ("qa", 164),
    "data-juicer/demos/process_on_ray/data/demo-dataset.json": ("text", 11),
    "data-juicer/demos/data_visualization_diversity/data/demo-dataset.jsonl": ("instruction", 29),
    "chinese-vicuna/sample/chat/data_sample.jsonl": ("instruction", 3),
}


@pytest.mark.parametrize(("path", "known"), SHAPES.items(), ids=[*SHAPES])
def test_the_shape_of_real_records_is_recognised(
    testdata: Path, path: str, known: tuple[str, int]
) -> None:
    report = validate(testdata / "ai" / path, checks=CHECKS)
    (run,) = [c for c in report.checks if c.name == "corpus.records"]
    (seen,) = run.evidence["resources"]
    assert (seen["shape"], seen["records"]) == known
    assert run.rows_seen == known[1]


WILD: list[tuple[str, dict[str, Any]]] = [
    ("instruction", {"instruction": "a", "input": "", "output": "b", "history": [["q", "r"]]}),
    ("instruction", {"kind": "Couplet", "input": "上联", "target": "下联"}),
    ("instruction", {"inputs": "translate", "targets": "翻译"}),
    ("instruction", {"instruction": "a", "context": "c", "response": "b", "category": "qa"}),
    ("instruction", {"query": "问", "response": "答"}),
    ("qa", {"id": 0, "question": "q", "A": "1", "B": "2", "C": "3", "D": "4", "answer": "A"}),
    ("qa", {"question": "q", "choices": ["a", "b"], "answer": 1}),
    ("qa", {"context": "c", "question": "q", "answers": {"text": ["a"], "answer_start": [1]}}),
    ("preference", {"prompt": "p", "response_0": "a", "response_1": "b", "better": 0}),
    ("preference", {"prompt": [{"role": "user", "content": "p"}],
                    "chosen": [{"role": "assistant", "content": "a"}],
                    "rejected": [{"role": "assistant", "content": "b"}]}),
    ("kto", {"prompt": "p", "completion": "c", "label": True}),
    ("caption", {"image": "a.jpg", "caption": "a cat on a mat"}),
    ("text", {"text": "some text", "label": 3}),
    ("text", {"document": "long text", "summary": "short text"}),
    ("tc609", {"id": "1", "data_content": [{"media_type": "text", "content": "正文"}],
               "annotation": {"label": ["x"]}}),
    ("table", {"city": "Guangzhou", "people": 18, "area": 7.4}),
]  # fmt: skip


@pytest.mark.parametrize(("shape", "record"), WILD, ids=[str(list(r))[:40] for _, r in WILD])
def test_shapes_that_are_met_in_the_wild(shape: str, record: dict[str, Any]) -> None:
    mapped = mapping_of([record] * 5)
    assert mapped.shape == shape
    view = ViewMaker(mapped).view(np.arange(1), [record])
    assert shape == "table" or (view.roles != Role.CELL).any()


def test_earlier_rounds_are_turns_too() -> None:
    record = {"instruction": "c", "output": "d", "history": [["a", "b"]]}
    found = roles(view_of([record]))
    assert ("prompt", "a") in found
    assert ("answer", "b") in found


def view_of(records: list[Any], declared: dict[str, Any] | None = None) -> View:
    maker = ViewMaker(mapping_of(records, declared))
    return maker.view(np.arange(2, len(records) + 2), records)


def roles(view: View) -> list[tuple[str, str]]:
    texts = view.texts.to_pylist()
    return [(Role(r).name.lower(), t) for r, t in zip(view.roles, texts, strict=True)]


def test_turns_get_the_role_of_their_speaker() -> None:
    talk = [
        {"from": "system", "value": "be kind"},
        {"from": "human", "value": "hello"},
        {"from": "function_call", "value": "{}"},
        {"from": "observation", "value": "42"},
        {"from": "gpt", "value": "it is 42"},
    ]
    view = view_of([{"conversations": talk, "tools": "[]", "id": 7}] * 2)
    assert roles(view)[:6] == [
        ("system", "be kind"),
        ("prompt", "hello"),
        ("tool", "{}"),
        ("observation", "42"),
        ("answer", "it is 42"),
        ("tools", "[]"),
    ]
    assert view.turns[:6].tolist() == [0, 1, 2, 3, 4, -1]
    assert view.ids is not None
    assert view.ids.to_pylist() == ["7", "7"]
    assert view.bodies()[0].as_py().splitlines() == [
        "be kind", "hello", "{}", "42", "it is 42", "[]",
    ]  # fmt: skip


def test_a_turn_in_several_parts_is_one_turn() -> None:
    parts_ = [{"type": "text", "value": "who?"}, {"type": "image_url", "value": "a.jpg"}]
    talk = [{"role": "user", "content": parts_}, {"role": "assistant", "content": "me"}]
    view = view_of([{"messages": talk}])
    assert roles(view) == [("prompt", "who?"), ("cell", "a.jpg"), ("answer", "me")]
    assert view.turns.tolist() == [0, 0, 1]


def test_a_publisher_corrects_the_guess() -> None:
    records = [{"甲": "问什么？", "乙": "答什么。", "丙": "x", "组": "test"}]
    declared = {"shape": "qa", "roles": {"甲": "prompt", "乙": "answer"}, "split": "组"}
    view = view_of(records, declared)
    assert roles(view) == [("prompt", "问什么？"), ("answer", "答什么。"), ("cell", "x"),
                           ("cell", "test")]  # fmt: skip
    assert view.splits is not None
    assert view.splits.to_pylist() == ["test"]
    with pytest.raises(InvalidInput, match=r"records\.roles\.甲"):
        mapping_of(records, {"roles": {"甲": "wisdom"}})


def test_a_wrong_correction_is_a_finding_of_its_resource(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "one two three"}\n', encoding="utf-8")
    resource = {"name": "a", "path": "a.jsonl", "records": {"shape": "poem"}}
    descriptor = tmp_path / "datapackage.json"
    descriptor.write_text(json.dumps({"name": "p", "resources": [resource]}), encoding="utf-8")
    report = validate(descriptor, checks=CHECKS)
    assert [e.type for e in report.errors] == ["resource-error"]
    assert "records.shape" in report.errors[0].message


def test_columns_and_records_make_the_same_view() -> None:
    rows = [
        {"text": f"第 {n} 段文字 with words" if n % 3 else None, "phone": 13_800_138_000 + n,
         "small": n, "name": "" if n % 2 else "甲"}
        for n in range(20)
    ]  # fmt: skip
    mapped = mapping_of(rows)
    positions = np.arange(2, 22)
    walked = ViewMaker(mapped).view(positions, rows)
    columns = ViewMaker(mapped).view(positions, pa.RecordBatch.from_pylist(rows))
    assert roles(walked) == roles(columns)
    assert walked.starts.tolist() == columns.starts.tolist()


def test_lone_surrogates_and_deep_and_wide_records_do_no_harm(tmp_path: Path) -> None:
    deep = "[" * 5000 + "]" * 5000
    wide = json.dumps({f"k{n}": "v" for n in range(100_000)})
    lines = ['{"text": "a \\ud800 b"}', '{"text": ' + deep + "}", wide, "not json", "[1]"]
    path = tmp_path / "a.jsonl"
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    report = validate(path, checks=CHECKS)
    (run,) = [c for c in report.checks if c.name == "corpus.records"]
    assert run.rows_seen < (run.rows_total or 0) == 5


@pytest.mark.parametrize("at", [1, 150])
def test_a_record_over_the_limit_is_named_and_the_others_are_looked_at(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    monkeypatch.setattr(marks, "LONG_LINE", 1 << 18)
    for module in (blocks, marks, streams):
        monkeypatch.setattr(module, "MAX_ROW_BYTES", 1 << 20)
    monkeypatch.setattr(blocks, "BLOCK", 1 << 18)
    records = [{"text": f"record {n} says something of its own"} for n in range(160)]
    before = sum(len(json.dumps(record)) + 1 for record in records[:at])
    records.insert(at, {"text": "so long " * (1 << 18)})
    write(tmp_path / "a.jsonl", records)
    for workers in (1, 2):
        report = validate(tmp_path / "a.jsonl", checks=["structure", "quality"], workers=workers)
        [error] = [e for e in report.tasks[0].errors if e.type == "resource-limit"]
        assert f"byte {before:,} is longer than 1 MiB" in error.note
        exact = next(m for m in report.metrics if m.id == "own:dup_exact")
        assert (exact.numerator, exact.denominator) == (0, 160)


def corpus(count: int, seed: int) -> list[dict[str, Any]]:
    r = random.Random(seed)
    return [
        {
            "instruction": r.choice(["说什么？", "say\nit", ""]),
            "output": r.choice(["好", "a, \"quoted\"\nline", "", "  "]) + "x" * r.randint(0, 40),
        }
        for _ in range(count)
    ]  # fmt: skip


def write(path: Path, records: list[dict[str, Any]]) -> None:
    if path.suffix == ".jsonl":
        path.write_text("".join(json.dumps(r) + "\n" for r in records), encoding="utf-8")
    elif path.suffix == ".csv":
        import csv

        with path.open("w", newline="", encoding="utf-8") as file:
            writer = csv.DictWriter(file, ["instruction", "output"])
            writer.writeheader()
            writer.writerows(records)
    elif path.suffix == ".json":
        path.write_text(json.dumps(records), encoding="utf-8")
    else:
        pq.write_table(pa.Table.from_pylist(records), path, row_group_size=50)


@pytest.mark.parametrize("name", ["a.jsonl", "a.csv", "a.parquet"])
def test_parts_and_workers_give_the_conclusions_of_one_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    path = tmp_path / name
    write(path, corpus(2000, 3))
    monkeypatch.setattr(judge, "SMALL", 0)
    whole = validate(path, checks=CHECKS)
    assert whole.tasks[0].findings
    monkeypatch.setattr(parts, "PART_BYTES", 5000)
    for workers in (1, 2):
        report = validate(path, checks=CHECKS, workers=workers)
        assert report.timeless() == whole.timeless()


def test_findings_name_the_rows_of_the_file_in_every_format(tmp_path: Path) -> None:
    records = corpus(300, 5)
    bad = [n + 2 for n, r in enumerate(records) if not r["instruction"].strip()]
    for name in ("a.jsonl", "a.csv", "a.json", "a.parquet"):
        write(tmp_path / name, records)
        report = validate(tmp_path / name, checks=CHECKS)
        found = [f.row_number for f in report.tasks[0].findings if f.type == "missing-prompt"]
        assert found == bad, name
    with gzip.open(tmp_path / "b.jsonl.gz", "wb") as file:
        file.write((tmp_path / "a.jsonl").read_bytes())
    packed = validate(tmp_path / "b.jsonl.gz", checks=CHECKS)
    assert [f.row_number for f in packed.tasks[0].findings if f.type == "missing-prompt"] == bad


def test_an_option_that_does_not_exist_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "x"}\n', encoding="utf-8")
    for options in ({"corpus.records": {"depth": 1}}, {"corpus.nothing": {}}):
        with pytest.raises(InvalidInput):
            validate(tmp_path / "a.jsonl", checks=CHECKS, options=options)


NOTHING = {
    "empty.jsonl": b"",
    "blank.jsonl": b"\n\n",
    "broken.jsonl": b"{]\n",
    "empty.json": b"[]",
    "header.csv": b"text,label\n",
    "pointer.jsonl": b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 9\n",
    "null.jsonl": b'{"text": null}\n',
    "one.jsonl": b'{"text": "x"}\n',
}


@pytest.mark.parametrize("name", NOTHING)
def test_every_check_comes_to_a_conclusion_over_nothing(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(NOTHING[name])
    report = validate(tmp_path / name, checks=["structure", "quality", "corpus.sketch"])
    for metric in report.metrics:
        assert metric.denominator != 0 or metric.value is None, metric.id
    package = {
        "name": "p",
        "resources": [{"name": "r", "path": name, "format": name.split(".")[1]}],
    }
    (tmp_path / "datapackage.json").write_text(json.dumps(package), encoding="utf-8")
    again = validate(tmp_path, checks=["structure", "quality"], profile=True)
    assert again.valid == report.valid or name.endswith("json")
