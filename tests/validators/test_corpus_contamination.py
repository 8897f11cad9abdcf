"""Benchmarks in a corpus: known overlaps, whole benchmarks found whole, indexes without text."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from yaosu_schemas.errors import InvalidInput
from yaosu_schemas.report import Report
from yaosu_validators import judge, parts, validate
from yaosu_validators.corpus.contamination import index_of

NAME = "corpus.contamination"
GSM8K = "ai/gsm8k/grade_school_math/data"


def checked(corpus: Path, *benchmarks: Path, workers: int = 1) -> tuple[Report, list[Any]]:
    options = {NAME: {"benchmarks": [str(path) for path in benchmarks]}}
    report = validate(corpus, checks=[NAME], options=options, workers=workers)
    return report, next(c for c in report.checks if c.name == NAME).evidence["benchmarks"]


def write(path: Path, records: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(r, ensure_ascii=False) + "\n" for r in records), "utf-8")
    return path


def test_gsm8k_shares_three_items_between_its_splits_and_none_whole(testdata: Path) -> None:
    data = testdata / GSM8K
    _, (found,) = checked(data / "train.jsonl", data / "test.jsonl")
    assert (found["items"], found["found_by_13"], found["found_whole"]) == (1319, 3, 0)
    assert [item["item"] for item in found["listed"]] == [582, 603, 633]


@pytest.mark.parametrize(
    "path", [f"{GSM8K}/test.jsonl", "ai/human-eval/data/HumanEval.jsonl.gz"], ids=["gsm8k", "code"]
)
def test_a_benchmark_inside_a_corpus_is_found_whole(
    testdata: Path, tmp_path: Path, path: str
) -> None:
    import gzip

    source = testdata / path
    data = source.read_bytes()
    text = gzip.decompress(data) if source.suffix == ".gz" else data
    records = [json.loads(line) for line in text.splitlines() if line]
    asked = [r.get("question") or r["prompt"] for r in records]
    long = [{"text": f"Something before. {a}\n And more behind it."} for a in asked]
    corpus = write(tmp_path / "crawl.jsonl", [{"text": "other text " * 30}, *long])
    _, (found,) = checked(corpus, source)
    assert found["found_whole"] == found["items"] == len(records)
    assert found["records"] == len(records)


def test_chinese_items_and_short_ones_are_found(tmp_path: Path) -> None:
    items = [
        {"question": "请问广州塔的高度是多少米，建成于哪一年？", "answer": "600"},
        {"question": "珠江有多长有多宽？", "answer": "2320"},  # eight characters: also inside
        {"question": "二加二？", "answer": "四"},  # three: only as a whole segment
    ]
    bench = write(tmp_path / "bench.jsonl", items)
    inside = [{"text": f"有人问：{i['question']}然后走了，再也没有回来过。"} for i in items]
    _, (found,) = checked(write(tmp_path / "a.jsonl", inside), bench)
    assert found["found_whole"] == 2
    same = [{"instruction": i["question"], "output": "不知道"} for i in items]
    _, (found,) = checked(write(tmp_path / "b.jsonl", same), bench)
    assert found["found_whole"] == 3


def test_width_case_and_punctuation_make_no_difference(tmp_path: Path) -> None:
    words = "The quick brown fox jumps over the lazy dog and runs away from all hunters"
    bench = write(tmp_path / "b.jsonl", [{"question": words, "answer": "x"}])
    corpus = write(tmp_path / "c.jsonl", [{"text": "Well: " + words.upper().replace(" ", ",  ")}])
    _, (found,) = checked(corpus, bench)
    assert found["found_whole"] == 1


def test_an_index_finds_what_the_benchmark_finds_and_holds_no_text(
    testdata: Path, tmp_path: Path
) -> None:
    source = testdata / GSM8K / "test.jsonl"
    index = tmp_path / "gsm8k.bmx"
    index_of(source, "gsm8k").save(index)
    assert b"Janet" in source.read_bytes()
    assert b"Janet" not in index.read_bytes()
    _, (by_text,) = checked(testdata / GSM8K / "train.jsonl", source)
    report, (by_index,) = checked(testdata / GSM8K / "train.jsonl", index)
    assert by_index["name"] == "gsm8k"
    assert {**by_text, "name": ""} == {**by_index, "name": ""}
    body = json.dumps(report.as_json())
    assert str(tmp_path) not in body
    assert "Janet" not in body
    (run,) = [c for c in report.checks if c.name == NAME]
    assert list(run.options["benchmarks"][0]) == ["name", "sha256"]


def test_parts_and_workers_find_the_same(testdata: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    data = testdata / GSM8K
    monkeypatch.setattr(judge, "SMALL", 0)
    whole, _ = checked(data / "train.jsonl", data / "test.jsonl")
    monkeypatch.setattr(parts, "PART_BYTES", 400_000)
    for workers in (1, 2):
        report, _ = checked(data / "train.jsonl", data / "test.jsonl", workers=workers)
        assert report.timeless() == whole.timeless()


@pytest.mark.parametrize("field", ["question", "Problem", "riddle text"])
def test_a_benchmark_of_one_short_field_is_usable(tmp_path: Path, field: str) -> None:
    asked = ["How many ribs has a seal of eight years?", "Who baked the ninth loaf?"]
    items = [{"id": n, field: text} for n, text in enumerate(asked)]
    benchmark = write(tmp_path / "sums.jsonl", items)
    corpus = write(tmp_path / "a.jsonl", [{"text": asked[0]}, {"text": "no item stands in here"}])
    report, evidence = checked(corpus, benchmark)
    assert index_of(benchmark).items == 2
    assert report.metrics[0].numerator == 1


def test_a_table_with_several_fields_of_text_is_no_benchmark_by_itself(tmp_path: Path) -> None:
    table = write(tmp_path / "t.jsonl", [{"name": "Ann", "town": "Bath"}])
    assert not (index_of(table).lengths > 0).any()


@pytest.mark.parametrize("body", [b"", b"ARROW1 and nothing more", b"\x1f\x8bnot gzip"])
def test_what_is_no_benchmark_is_refused_by_name(tmp_path: Path, body: bytes) -> None:
    corpus = write(tmp_path / "a.jsonl", [{"text": "some text to look at"}])
    wrong = tmp_path / "wrong.bmx"
    wrong.write_bytes(body)
    with pytest.raises(InvalidInput) as why:
        checked(corpus, wrong)
    assert str(tmp_path) not in str(why.value)
    with pytest.raises(InvalidInput):
        checked(corpus, tmp_path / "nowhere.jsonl")


def test_without_a_benchmark_nothing_is_claimed(tmp_path: Path) -> None:
    corpus = write(tmp_path / "a.jsonl", [{"text": "some text to look at"}])
    report = validate(corpus, checks=[NAME])
    assert report.metrics == ()
