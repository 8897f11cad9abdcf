"""Sketches: estimates keep their bounds, small corpora are withheld, no text is in them."""

from __future__ import annotations

import json
import pickle
import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import yaosu_validators
from yaosu_schemas.errors import InvalidInput
from yaosu_validators import judge, parts
from yaosu_validators.corpus.shapes import mapping_of
from yaosu_validators.corpus.sketch import K, Sketch, Sketched
from yaosu_validators.corpus.view import About, Places
from yaosu_validators.corpus.views import ViewMaker


def texts(seed: int, count: int) -> list[str]:
    r = random.Random(seed)
    words = [f"word{n}" for n in range(3000)]
    return [" ".join(r.choices(words, k=r.randint(15, 30))) for _ in range(count)]


def write(path: Path, rows: list[str]) -> Path:
    path.write_text("".join(json.dumps({"text": t}) + "\n" for t in rows), encoding="utf-8")
    return path


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 1.0])
def test_the_estimate_lies_within_its_bounds(tmp_path: Path, share: float) -> None:
    mine, others = texts(1, 4000), texts(2, 6000)
    common = int(share * len(mine))
    a = yaosu_validators.sketch(write(tmp_path / "a.jsonl", mine))
    b = yaosu_validators.sketch(write(tmp_path / "b.jsonl", others + mine[:common]))
    found = yaosu_validators.overlap(a, b)
    for kind in ("records", "runs"):
        of = found[kind]
        assert of.of_mine_low <= share <= of.of_mine_high
        assert of.of_mine_high - of.of_mine_low < 0.12
        assert of.of_theirs == pytest.approx(common / (6000 + common), abs=0.06)


def test_the_bounds_hold_as_often_as_they_say() -> None:
    from yaosu_validators.corpus.sketch import Sample, _overlap

    r, within, trials, share = np.random.default_rng(4), 0, 300, 0.3
    for _ in range(trials):
        mine = r.integers(1, 2**63, 5000, dtype=np.uint64)
        theirs = np.concatenate((mine[:1500], r.integers(1, 2**63, 9000, dtype=np.uint64)))
        a, b = Sample(), Sample()
        a.add(mine, K)
        b.add(theirs, K)
        found = _overlap(a, b)
        within += found.of_mine_low <= share <= found.of_mine_high
    assert within / trials >= 0.92


def test_a_small_corpus_has_no_sample(tmp_path: Path) -> None:
    path = write(tmp_path / "a.jsonl", texts(1, 150) + ["13800138000"] * 500)
    with pytest.raises(InvalidInput, match="holds no sample"):
        yaosu_validators.sketch(path)


def test_short_records_never_enter(tmp_path: Path) -> None:
    long = texts(1, 400)
    plain = yaosu_validators.sketch(write(tmp_path / "a.jsonl", long))
    secret = [f"张三 1380013{n:04d}" for n in range(3000)]
    more = yaosu_validators.sketch(write(tmp_path / "b.jsonl", long + secret))
    assert more.by_record.values.tolist() == plain.by_record.values.tolist()
    assert more.by_run.values.tolist() == plain.by_run.values.tolist()
    assert more.left_out == 3000


def test_a_sketch_is_small_and_comes_back_from_its_json(testdata: Path) -> None:
    made = yaosu_validators.sketch(testdata / "ai/llama-factory/data/alpaca_zh_demo.json")
    body = json.dumps(made.as_json())
    assert len(body) < 24 << 10
    again = Sketch.from_json(json.loads(body))
    found = yaosu_validators.overlap(made, again)["records"]
    assert (found.of_mine, found.of_theirs) == (1.0, 1.0)


@pytest.mark.parametrize(
    "body", [{}, [], None, {"format": "yaosu-sketch/1"},
             {"format": "yaosu-sketch/1", "k": 2, "records": 1, "left_out": 0,
              "by_record": {"whole": True, "values": "AAAAAAAAAAAAAAAAAAAAAA=="},
              "by_run": {"whole": True, "values": ""}}],
)  # fmt: skip
def test_what_is_no_sketch_is_refused(body: Any) -> None:
    with pytest.raises(InvalidInput):
        Sketch.from_json(body)


def test_parts_and_workers_take_the_same_sample(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(tmp_path / "a.jsonl", texts(3, 1500))
    monkeypatch.setattr(judge, "SMALL", 0)
    whole = yaosu_validators.sketch(path).as_json()
    monkeypatch.setattr(parts, "PART_BYTES", 50_000)
    assert yaosu_validators.sketch(path).as_json() == whole


@settings(max_examples=15, deadline=None)
@given(st.data())
def test_any_grouping_takes_the_same_sample(data: st.DataObject) -> None:
    records = [{"text": t} for t in texts(5, 300)]
    maker = ViewMaker(mapping_of(records))
    check, about = Sketched(k=64), About("r", shape="text")
    cuts = sorted(data.draw(st.sets(st.integers(1, 299), max_size=5)))
    states = []
    for a, b in zip([0, *cuts], [*cuts, 300], strict=True):
        view = maker.view(np.arange(a, b), records[a:b])
        states.append(pickle.loads(pickle.dumps(check.observe(check.start(about), view))))
    while len(states) > 1:
        at = data.draw(st.integers(0, len(states) - 2))
        states[at : at + 2] = [check.merge(states[at], states[at + 1])]
    whole = check.observe(check.start(about), maker.view(np.arange(300), records))
    places = Places({"r": np.zeros(1, np.int64)})
    grouped = check.conclude([(about, states[0])], places)
    assert grouped.evidence == check.conclude([(about, whole)], places).evidence
