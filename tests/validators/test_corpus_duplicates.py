"""Duplicates: known counts of real corpora, brute force as the oracle, any grouping of parts."""

from __future__ import annotations

import json
import pickle
import random
from collections.abc import Sequence
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from yaosu_schemas.report import Report
from yaosu_validators import judge, parts, validate
from yaosu_validators.corpus import clusters, duplicates
from yaosu_validators.corpus.duplicates import Duplicates, Ledger
from yaosu_validators.corpus.shapes import mapping_of
from yaosu_validators.corpus.shingles import normalised, shingles
from yaosu_validators.corpus.view import About, Places
from yaosu_validators.corpus.views import ViewMaker

CHECKS = ["corpus.duplicates"]
AI = "ai/llama-factory/data"
KNOWN = {
    f"{AI}/alpaca_en_demo.json": (14, 999),
    f"{AI}/alpaca_zh_demo.json": (8, 1000),
    f"{AI}/glaive_toolcall_zh_demo.json": (43, 300),
    f"{AI}/v1_multimodal_demo.jsonl": (18, 24),
}


def measured(report: Report, id_: str) -> tuple[int, int]:
    (found,) = [m for m in report.metrics if m.id == id_]
    assert isinstance(found.numerator, int)
    assert isinstance(found.denominator, int)
    return found.numerator, found.denominator


def evidence(report: Report) -> Any:
    return next(c for c in report.checks if c.name == "corpus.duplicates").evidence


@pytest.mark.parametrize(("path", "known"), KNOWN.items(), ids=[p.split("/")[-1] for p in KNOWN])
def test_the_known_duplicates_of_real_corpora_are_counted(
    testdata: Path, path: str, known: tuple[int, int]
) -> None:
    report = validate(testdata / path, checks=CHECKS)
    assert measured(report, "own:dup_exact") == known
    assert measured(report, "own:dup_near")[0] >= known[0]
    named = [f for f in report.tasks[0].findings if f.type == "duplicate-record"]
    assert len(named) == known[0]
    assert all("as in row" in f.note for f in named)


def test_predictions_repeat_every_task_they_were_made_for(testdata: Path) -> None:
    report = validate(testdata / "ai/self-instruct", checks=CHECKS)
    found = [b for b in evidence(report)["tasks"] if b["in"] == "user_oriented_instructions"]
    assert [(b["count"], b["of"]) for b in found] == [(252, 252)]


# --- brute force -------------------------------------------------------------------------------


def mutated(r: random.Random, words: list[str], alphabet: Sequence[str], edits: int) -> list[str]:
    words = list(words)
    for _ in range(edits):
        at = r.randrange(len(words))
        words[at : at + r.randint(0, 1)] = [r.choice(alphabet)]
    return words


def generated(seed: int, count: int, *, zh: bool) -> list[str]:
    """Return texts, many of them edited copies of others, around the threshold."""
    r = random.Random(seed)
    alphabet = [chr(0x4E00 + n) for n in range(800)] if zh else [f"word{n}" for n in range(400)]
    texts: list[list[str]] = []
    for _ in range(count):
        if texts and r.random() < 0.5:
            texts.append(mutated(r, r.choice(texts), alphabet, r.randint(0, 5)))
        else:
            texts.append([r.choice(alphabet) for _ in range(r.randint(8, 220))])
    return [("" if zh else " ").join(t) for t in texts]


def brute(texts: Sequence[str]) -> dict[tuple[int, int], float]:
    """Return the similarity of every pair, by the definition of a shingle in plain Python."""

    def cut(text: str) -> set[str]:
        wide = sum(1 for c in text if "\u4e00" <= c <= "\u9fff")
        units = list(text.replace(" ", "")) if wide > 0.3 * len(text) else text.lower().split()
        if len(units) < 5:
            return {"|".join(units)}
        return {"|".join(units[i : i + 5]) for i in range(len(units) - 4)}

    sets = [cut(t) for t in texts]
    return {
        (a, b): len(sets[a] & sets[b]) / len(sets[a] | sets[b])
        for a, b in combinations(range(len(texts)), 2)
    }


def roots_of(texts: Sequence[str]) -> list[int]:
    check = Duplicates()
    about = About("r", shape="text")
    state = check.observe(check.start(about), view_of([{"text": t} for t in texts]))
    everything = clusters.All.of([(about, state)], Places({"r": np.zeros(1, np.int64)}))
    exact = clusters.exact_roots(everything)
    return clusters.near_roots(everything, exact, 0.8, duplicates.BANDS).tolist()


def view_of(records: list[dict[str, Any]], first: int = 2) -> Any:
    maker = ViewMaker(mapping_of([{"text": "what reads like text, and is long enough for it"}]))
    return maker.view(np.arange(first, first + len(records)), records)


@pytest.mark.parametrize("zh", [True, False], ids=["characters", "words"])
def test_recall_and_precision_against_brute_force(zh: bool) -> None:
    near = found = both = wrong = 0
    for seed in range(4):
        texts = generated(seed, 300, zh=zh)
        roots = roots_of(texts)
        pairs = brute(texts)
        for (a, b), similarity in pairs.items():
            if similarity >= 0.8:
                near += 1
                both += roots[a] == roots[b]
        members = [n for n, root in enumerate(roots) if roots.count(root) > 1]
        for n in members:
            found += 1
            wrong += not any(s >= 0.8 for (a, b), s in pairs.items() if n in (a, b))
    assert near > 300
    assert both / near >= 0.97
    assert 1 - wrong / found >= 0.98


def test_recall_and_precision_on_real_text(testdata: Path) -> None:
    raw = json.loads((testdata / AI / "alpaca_zh_demo.json").read_text("utf-8"))
    texts = [r["instruction"] + r["output"] for r in raw if len(r["output"]) > 40][:250]
    r = random.Random(5)
    texts += ["".join(mutated(r, list(t), "的一是在", r.randint(1, 6))) for t in texts[:150]]
    texts = [" ".join(t.split()) for t in texts]
    clean = normalised(pa.array(texts, pa.large_string()))
    roots, pairs = roots_of(texts), exact_pairs(clean)
    near = [pair for pair, s in pairs.items() if s >= 0.8]
    assert len(near) > 60
    assert sum(roots[a] == roots[b] for a, b in near) / len(near) >= 0.97


def exact_pairs(texts: pa.LargeStringArray) -> dict[tuple[int, int], float]:
    found = shingles(texts)
    sets = [
        set(found.hashes[a:b].tolist())
        for a, b in zip(found.starts[:-1], found.starts[1:], strict=True)
    ]
    return {
        (a, b): len(sets[a] & sets[b]) / max(1, len(sets[a] | sets[b]))
        for a, b in combinations(range(len(sets)), 2)
    }


# --- any grouping, any place -------------------------------------------------------------------


def concluded(states: list[tuple[About, Ledger]]) -> str:
    offsets = {a.resource: np.zeros(1, np.int64) for a, _ in states}
    made = Duplicates().conclude(states, Places(offsets))
    return repr((made.metrics, made.findings, json.dumps(made.evidence)))


@settings(max_examples=15, deadline=None)
@given(st.data())
def test_the_conclusion_is_the_same_for_any_grouping_of_parts(data: st.DataObject) -> None:
    texts = generated(data.draw(st.integers(0, 9)), 60, zh=data.draw(st.booleans()))
    records = [{"text": t} for t in texts]
    check, about = Duplicates(), About("r", shape="text")
    whole = check.observe(check.start(about), view_of(records))
    cuts = sorted(data.draw(st.sets(st.integers(1, 59), max_size=5)))
    pieces = []
    for a, b in zip([0, *cuts], [*cuts, 60], strict=True):
        view = view_of(records[a:b], first=a + 2)
        piece = check.observe(check.start(about), view)
        pieces.append(pickle.loads(pickle.dumps(piece)))
    before = duplicates.SPILL_BYTES
    duplicates.SPILL_BYTES = data.draw(st.sampled_from([1, 5000, before]))
    try:
        while len(pieces) > 1:
            at = data.draw(st.integers(0, len(pieces) - 2))
            pieces[at : at + 2] = [check.merge(pieces[at], pieces[at + 1])]
        assert concluded([(about, pieces[0])]) == concluded([(about, whole)])
    finally:
        duplicates.SPILL_BYTES = before


def test_ranges_of_keys_give_what_one_sort_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = generated(3, 200, zh=True)
    whole = roots_of(texts)
    monkeypatch.setattr(clusters, "AT_ONCE", 17)
    assert roots_of(texts) == whole


def test_parts_and_workers_find_the_same_duplicates(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = [json.dumps({"id": n, "text": t}, ensure_ascii=False) + "\n"
             for n, t in enumerate(generated(7, 500, zh=True))]  # fmt: skip
    path = tmp_path / "a.jsonl"
    path.write_text("".join(lines), encoding="utf-8")
    monkeypatch.setattr(judge, "SMALL", 0)
    whole = validate(path, checks=CHECKS)
    assert measured(whole, "own:dup_near")[0] > 50
    monkeypatch.setattr(parts, "PART_BYTES", 30_000)
    for workers in (1, 2):
        assert validate(path, checks=CHECKS, workers=workers).timeless() == whole.timeless()


# --- what counts as the same -------------------------------------------------------------------


def write(path: Path, records: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(r, ensure_ascii=False) + "\n" for r in records), "utf-8")
    return path


def test_width_space_and_ids_make_no_difference_and_labels_do(tmp_path: Path) -> None:
    text = "机器人 抓取 数据 with some words, to be long enough for a text of its own"
    path = write(
        tmp_path / "a.jsonl",
        [
            {"id": 1, "text": text, "label": "a"},
            {"id": 2, "text": text.replace(" ", "\u3000").replace(",", "，"), "label": "a"},
            {"id": 3, "text": text, "label": "b"},
        ],
    )
    assert measured(validate(path, checks=CHECKS), "own:dup_exact") == (1, 3)


def test_tables_of_numbers_are_compared_whole(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", [{"x": n % 3, "y": 1.5} for n in range(10)])
    assert measured(validate(path, checks=CHECKS), "own:dup_exact") == (7, 10)


def test_a_leak_names_the_record_of_training(tmp_path: Path) -> None:
    texts = generated(11, 60, zh=True)
    write(tmp_path / "train.jsonl", [{"text": t} for t in texts[:40]])
    edited = texts[3][:-1] + "好"
    write(tmp_path / "test.jsonl", [{"text": edited}, {"text": "别的" * 40}, {"text": texts[5]}])
    report = validate(tmp_path, checks=CHECKS)
    above, below = measured(report, "own:split_leak")
    assert (above, below) == (2, 3)
    (task,) = [t for t in report.tasks if t.name == "test"]
    leaks = [f for f in task.findings if f.type == "split-leak"]
    assert [f.row_number for f in leaks] == [2, 4]
    assert "'train'" in leaks[0].note


def test_one_question_with_two_answers_is_named(tmp_path: Path) -> None:
    rows = [("二加二等于几？", "四"), ("二加二等于几？", "五"), ("你好", "你好"), ("你好", "你好")]
    path = write(tmp_path / "a.jsonl", [{"instruction": q, "output": a} for q, a in rows])
    report = validate(path, checks=CHECKS)
    assert measured(report, "own:prompt_conflict") == (2, 4)
    found = [f for f in report.tasks[0].findings if f.type == "prompt-conflict"]
    assert [f.row_number for f in found] == [2, 3]


def test_a_hundred_thousand_equal_and_empty_records_take_linear_time(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    line = '{"text": "the same words again and again, as some crawls have them"}\n'
    path.write_text(line * 50_000 + '{"text": ""}\n' * 50_000, encoding="utf-8")
    report = validate(path, checks=CHECKS)
    assert measured(report, "own:dup_exact") == (99_998, 100_000)
    assert evidence(report)["exact"]["largest"] == 50_000
    assert len(report.tasks[0].findings) == 1000


def test_nothing_of_the_data_is_in_the_report(testdata: Path) -> None:
    path = testdata / AI / "glaive_toolcall_zh_demo.json"
    text = json.dumps(validate(path, checks=CHECKS).as_json(), ensure_ascii=False)
    records = json.loads(path.read_text("utf-8"))
    assert not any(r["conversations"][0]["value"][:40] in text for r in records)


@pytest.mark.parametrize("text", ["", " ", "x", "好", "a b", "\u0301", "🦾", "\x00", "a" * 300_000])
def test_a_lone_text_of_any_kind_is_taken(tmp_path: Path, text: str) -> None:
    path = write(tmp_path / "a.jsonl", [{"text": text}])
    every = ["corpus.duplicates", "corpus.contamination", "corpus.sketch"]
    bench = write(tmp_path / "b.jsonl", [{"text": text}, {"text": "another item"}])
    options = {"corpus.contamination": {"benchmarks": [str(bench)]}}
    report = validate(path, checks=every, options=options)
    assert measured(report, "own:dup_exact") == (0, 1)


def test_the_trial_sample_of_a_package_is_no_duplicate_of_it(tmp_path: Path) -> None:
    rows = [{"text": f"第 {n} 条设备检修记录，电缆接头温度正常，螺栓已紧固"} for n in range(20)]
    write(tmp_path / "all.jsonl", rows)
    write(tmp_path / "sample.jsonl", rows[:5])
    package = {
        "name": "p",
        "resources": [{"name": n, "path": f"{n}.jsonl"} for n in ("all", "sample")],
        "dataElement": {"offer": {"trial": {"resource": "sample"}}},
    }
    (tmp_path / "datapackage.json").write_text(json.dumps(package), encoding="utf-8")
    report = validate(tmp_path, checks=CHECKS)
    assert measured(report, "own:dup_exact") == (0, 20)
    (run,) = [c for c in report.checks if c.name == "corpus.duplicates"]
    assert (run.rows_seen, run.rows_total) == (20, 20)


def test_families_of_edited_copies_stay_together() -> None:
    texts = [*generated(2, 500, zh=True), *generated(2, 500, zh=False)]
    random.Random(3).shuffle(texts)
    texts = texts[:500]
    roots, pairs = roots_of(texts), brute(texts)
    near = [pair for pair, similarity in pairs.items() if similarity >= 0.8]
    assert sum(roots[a] == roots[b] for a, b in near) / len(near) >= 0.97


def test_near_records_with_different_labels_are_label_noise(tmp_path: Path) -> None:
    texts = generated(11, 30, zh=True)
    rows = [{"text": t, "label": "good"} for t in texts]
    alike = [{"text": max(texts, key=len) + "好", "label": "bad"}]
    path = write(tmp_path / "a.jsonl", [*rows, *alike])
    report = validate(path, checks=CHECKS)
    same, similar = measured(report, "iso5259:Con-ML-2")
    assert same == similar - 1
    found = [f.row_number for f in report.tasks[0].findings if f.type == "label-conflict"]
    assert 32 in found
