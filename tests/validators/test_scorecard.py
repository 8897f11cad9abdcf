"""The scorecard: every number has a name, a formula, its counts, and a way to count it again."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from yaosu_schemas.codes import code_list
from yaosu_schemas.measures import PARTS, STATUS, measure
from yaosu_validators import validate
from yaosu_validators.check import check_names
from yaosu_validators.corpus.completeness import Completeness
from yaosu_validators.corpus.view import About, Places, View
from yaosu_validators.lookup import records_at
from yaosu_validators.messages import KINDS, corpus_words
from yaosu_validators.scorecard import HEADLINES, behind, scorecard
from yaosu_validators.scorecard_html import scorecard_fragment

SOURCES = Path(__file__).parents[2] / "validators" / "yaosu_validators"


def write(folder: Path, records: list[dict[str, Any]], name: str = "train.jsonl") -> Path:
    folder.mkdir(exist_ok=True)
    text = "".join(json.dumps(r, ensure_ascii=False) + "\n" for r in records)
    (folder / name).write_text(text, encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def body(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The report on a small corpus with twins, an empty answer and an empty cell."""
    rng = random.Random(4)
    words = ["阀门", "仪表", "电缆", "接头", "传送带", "机械臂", "关节", "温度", "压力", "工单"]
    records = [
        {
            "instruction": "".join(rng.choices(words, k=14)) + f"（{n}）",
            "output": "".join(rng.choices(words, k=20)),
            "note": "" if n == 7 else "x",
        }
        for n in range(60)
    ]
    records[40] = dict(records[3])
    records[50]["output"] = ""
    folder = write(tmp_path_factory.mktemp("card") / "corpus", records)
    return validate(folder, checks=["structure", "quality"]).as_json()


def test_every_measure_has_a_name_a_formula_and_a_source_in_both_languages() -> None:
    known = {c.code for c in code_list("quality_measure")}
    assert {"tc609:0101", "gbt36344:0303", "iso5259:Com-ML-4", "own:dup_near"} <= known
    for code in known:
        means = measure(code)
        assert means is not None
        assert means.part in PARTS
        assert means.status in STATUS
        assert all((means.name.zh, means.name.en, means.formula.zh, means.formula.en)), code
        assert (means.status == "own") == code.startswith("own:"), code
        assert set(means.findings) <= {*KINDS, *corpus_words()}, code
        assert not means.check or means.check in check_names(), code
    assert set(HEADLINES) <= known


def test_every_measure_that_a_check_names_is_in_the_catalogue() -> None:
    import re

    named = set()
    for file in SOURCES.rglob("*.py"):
        text = file.read_text("utf-8")
        named |= set(re.findall(r'"((?:own|tc609|gbt36344|iso5259|tc260):[A-Za-z0-9_.-]+)"', text))
    limits = {"tc260:kw_size_a1", "tc260:kw_size_a2"}  # rows of corpus_safety_limit, no measures
    assert len(named) > 40
    assert {n for n in named if measure(n) is None} - limits == {"tc609:01"} & named


def test_what_a_measure_is_narrowed_to_means_the_same() -> None:
    assert measure("own:pii_density.confirmed.email") == measure("own:pii_density")
    assert measure("own:nothing") is None


def test_every_number_of_a_report_is_on_the_card_with_its_counts(body: dict[str, Any]) -> None:
    card = scorecard(body)
    lines = list(card.lines())
    assert len(lines) == len(body["metrics"]) > 20
    by_id = {line.id: line for line in lines}
    twins = by_id["own:dup_exact"]
    assert (twins.numerator, twins.denominator) == (1, 60)
    assert [g.rows for g in behind(body, twins)] == [(42,)]
    assert twins.command == "yaosu validate . --checks corpus.duplicates"
    assert by_id["tc609:0204"].numerator == 59
    assert [g.rows for g in behind(body, by_id["tc609:0204"])] == [(52,)]


def test_a_share_of_nothing_is_not_applicable(body: dict[str, Any]) -> None:
    lines = {line["id"]: line for part in scorecard(body).as_json()["parts"]
             for line in part["measures"]}  # fmt: skip
    none = lines["gbt36344:0402"]
    assert (none["numerator"], none["denominator"], none["value"]) == (0, 0, None)
    assert none["result"] == "not_applicable"
    assert "gbt36344:0402" not in scorecard(body).as_json()["first"]


@pytest.mark.parametrize("lang", ["zh", "en", "both"])
def test_the_page_shows_no_word_of_the_data_and_runs_no_script(
    body: dict[str, Any], lang: Any
) -> None:
    page = scorecard_fragment(body, lang=lang)
    assert "<script" not in page
    assert "style=" not in page
    assert "传送带" not in page
    assert "own:dup_near" in page
    assert "href" not in page
    shown = scorecard_fragment(body, lang=lang, rows=lambda name, rows: f"/r?{name}&{rows[0]}")
    assert 'href="/r?train&amp;42"' in shown


def test_what_is_hostile_in_a_report_stays_text() -> None:
    metric = {"id": "own:dup_near.<b>", "value": 0.5, "unit": "ratio of <i>", "numerator": 1,
              "denominator": 2, "basis": "<u>"}  # fmt: skip
    said = {"about": "own:dup_near.<b>", "kind": "contest", "text": "<script>x</script>"}
    page = scorecard_fragment({"metrics": [metric], "contests": [said]})
    assert not any(mark in page for mark in ("<b>", "<i>", "<u>", "<script>"))
    assert "contested by the provider" in page


def test_a_percentage_says_all_or_nothing_only_where_it_is() -> None:
    def value(above: int, below: int) -> str:
        metric = {"id": "own:dup_near", "value": above / below, "unit": "ratio",
                  "numerator": above, "denominator": below, "basis": "content"}  # fmt: skip
        return scorecard_fragment({"metrics": [metric]}, lang="en").split("<dd>")[1].split("<")[0]

    shown = [value(a, b) for a, b in ((0, 10), (10, 10), (1, 3), (999_999, 10**6), (1, 10**6))]
    assert shown == ["0 %", "100 %", "33.33 %", "&gt; 99.99 %", "&lt; 0.01 %"]


def test_documentation_is_counted_from_what_the_descriptor_shows(tmp_path: Path) -> None:
    folder = write(tmp_path / "c", [{"text": "一段文字"}])
    descriptor = {
        "name": "c",
        "version": "1.0.0",
        "resources": [{"name": "train", "path": "train.jsonl", "format": "jsonl"}],
        "dataElement": {
            "docs": {
                "basic": {"scale": True, "support": "mailto:a@b.example"},
                "content": {"labels": True, "limitations": False},
            },
            "scenario": "x",
        },
    }
    (folder / "datapackage.json").write_text(json.dumps(descriptor), "utf-8")
    report = validate(folder, checks=["structure", "package.documentation"])
    counted = {m.id: (m.numerator, m.denominator) for m in report.metrics}
    # A bare claim of a size is not believed where the descriptor could show it and does not.
    assert counted["tc609:0101"] == (3, 5)  # format, structure, support
    assert counted["tc609:0102"] == (1, 5)
    assert counted["tc609:0103"] == (1, 5)  # version
    assert counted["tc609:0104"] == (1, 5)  # scenario
    assert counted["gbt36344:0103"][0] < counted["gbt36344:0103"][1]
    run = next(c for c in report.checks if c.name == "package.documentation")
    assert {"element": "basic.support", "by": "said"} in run.evidence["elements"]


def test_tables_are_counted_by_rows_cells_and_keys(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("id,n\n1,5\n1,x\n3,7\n4,\n", "utf-8")
    descriptor = {
        "name": "t",
        "resources": [
            {
                "name": "t",
                "path": "t.csv",
                "hash": "sha256:" + "0" * 64,
                "schema": {
                    "fields": [
                        {"name": "id", "type": "integer"},
                        {"name": "n", "type": "integer", "constraints": {"required": True}},
                    ],
                    "primaryKey": ["id"],
                },
            }
        ],
    }
    (tmp_path / "datapackage.json").write_text(json.dumps(descriptor), "utf-8")
    report = validate(tmp_path, checks=["structure", "package.tables", "corpus.completeness"])
    counted = {m.id: (m.numerator, m.denominator) for m in report.metrics}
    assert counted["gbt36344:0104"] == (2, 4)
    assert counted["gbt36344:0302"] == (6, 8)
    assert counted["gbt36344:0304"] == (3, 4)
    assert counted["gbt36344:0402"] == (0, 0)
    assert counted["own:hash_match"] == (0, 1)
    assert counted["gbt36344:0201"] == (3, 4)
    assert counted["iso5259:Com-ML-1"] == (7, 8)
    assert counted["iso5259:Com-ML-4"] == (3, 4)


def test_columns_and_rows_are_equally_complete(tmp_path: Path) -> None:
    records = [{"a": None if n % 3 == 0 else n, "b": "" if n % 5 == 0 else "x"} for n in range(30)]
    write(tmp_path / "rows", records)
    (tmp_path / "columns").mkdir()
    pq.write_table(pa.Table.from_pylist(records), tmp_path / "columns" / "train.parquet")
    both = [
        validate(tmp_path / kind, checks=["corpus.completeness"]).metrics
        for kind in ("rows", "columns")
    ]
    assert both[0] == both[1]
    assert {m.id: m.numerator for m in both[0]}["iso5259:Com-ML-4"] == 16


RECORD = st.dictionaries(st.sampled_from("abcd"), st.sampled_from([None, "", "x", 0, False]))


@settings(max_examples=60, deadline=None)
@given(st.lists(RECORD, max_size=12), st.lists(st.integers(0, 12), max_size=4))
def test_completeness_does_not_depend_on_how_records_are_cut(
    records: list[dict[str, Any]], cuts: list[int]
) -> None:
    import numpy as np

    fold = Completeness()

    def seen(some: list[dict[str, Any]]) -> Any:
        none = np.zeros(0)
        view = View(np.arange(len(some)), np.zeros(len(some) + 1, np.int64),
                    pa.array([], pa.large_string()), none, none, none, (), raw=some)  # fmt: skip
        return fold.observe(fold.start(About("r")), view)

    edges = sorted({0, len(records), *(c for c in cuts if c <= len(records))})
    state = fold.start(About("r"))
    for low, high in zip(edges, edges[1:], strict=False):
        state = fold.merge(state, seen(records[low:high]))
    places = Places({})
    one = fold.conclude([(About("r"), seen(records))], places)
    assert fold.conclude([(About("r"), state)], places) == one


def test_rows_of_a_report_are_read_again_by_their_numbers(tmp_path: Path) -> None:
    records = [{"n": n, "text": "字" * 3000 if n == 5 else "x"} for n in range(10)]
    folder = write(tmp_path / "c", records)
    found = records_at(folder, "train", [2, 7, 7, 99])
    assert [(r["row"], r["record"]["n"]) for r in found["rows"]] == [(2, 0), (7, 5)]
    assert len(found["rows"][1]["record"]["text"]) < 2100
    numbered = records_at(folder, "train", [0, 9], by_number=True)
    assert [r["record"]["n"] for r in numbered["rows"]] == [0, 9]
