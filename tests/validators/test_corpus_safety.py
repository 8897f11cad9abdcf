"""Safety: lists of an operator find what they name in either script; limits are integers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from yaosu_schemas.errors import InvalidInput
from yaosu_validators import validate
from yaosu_validators.corpus.safety import Safety
from yaosu_validators.corpus.safety_words import CATEGORIES, canonical, canonical_all, load
from yaosu_validators.corpus.shapes import mapping_of
from yaosu_validators.corpus.view import PART_BITS, About, Places
from yaosu_validators.corpus.views import ViewMaker

CHECKS = ["structure", "corpus.safety"]


def ruleset(folder: Path, *lines: str, header: str = "word,category,language,match") -> str:
    path = folder / "words.csv"
    path.write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    return str(path)


def judged(folder: Path, records: list[dict[str, Any]], words: str, **more: Any) -> Any:
    path = folder / "a.jsonl"
    lines = [json.dumps(r, ensure_ascii=False) for r in records]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    report = validate(path, checks=CHECKS, options={"corpus.safety": {"words": words, **more}})
    (run,) = [c for c in report.checks if c.name == "corpus.safety"]
    return report, run.evidence, {m.id: m for m in report.metrics}


def test_a_word_is_found_in_either_script_and_width_and_case(tmp_path: Path) -> None:
    words = ruleset(tmp_path, "發財,A3b,zh,", "Bad Word,A2i,en,word", "坏,A1g,zh,substring")
    texts = [
        "恭喜发财",
        "恭喜發財",
        "ＢＡＤ　ＷＯＲＤ!",
        "badwording bad words",
        "壞人",
        "好",
        "ﬁne bad word",
    ]
    report, evidence, metrics = judged(tmp_path, [{"text": t} for t in texts], words)
    found = [(f.row_number, f.note[:3]) for f in report.tasks[0].findings]
    assert sorted(found) == [
        (2, "A3b"), (3, "A3b"), (4, "A2i"), (6, "A1g"), (8, "A2i"),
    ]  # fmt: skip
    assert (metrics["tc260:tech_pass"].numerator, metrics["tc260:tech_pass"].denominator) == (2, 7)
    assert metrics["tc260:tech_pass"].passed is False
    assert evidence["ruleset"]["digest"].startswith("sha256:")
    assert len(evidence["ruleset"]["not_covered"]) == 31 - 3
    assert "发财" not in json.dumps(report.as_json(), ensure_ascii=False)
    assert str(tmp_path) not in json.dumps(report.as_json(), ensure_ascii=False)


def test_without_lists_nothing_is_covered_and_nothing_passes(tmp_path: Path) -> None:
    _, evidence, metrics = judged(tmp_path, [{"text": "x"}], "")
    assert evidence["ruleset"]["not_covered"] == list(CATEGORIES)
    assert len(CATEGORIES) == 31
    assert metrics["tc260:tech_pass"].value is None
    assert metrics["tc260:tech_pass"].passed is None
    assert metrics["tc260:kw_size"].passed is False


def library(folder: Path, total: int, *, less: str = "") -> str:
    """Write a library of made-up words that has the asked-for size, but for one risk."""
    wanted = {c: {"A1": 200, "A2": 100}.get(c[:2], 1) for c in CATEGORIES}
    if less:
        wanted[less] -= 1
    wanted["A4g"] += total - sum(wanted.values())
    words = (f"qz{c}{n}x,{c}" for c, count in wanted.items() for n in range(count))
    return ruleset(folder, *words, header="word,category")


@pytest.mark.parametrize(
    ("total", "less", "bad", "passed"),
    [
        (10_000, "", 2, True),
        (10_000, "", 3, False),
        (9_999, "", 2, None),
        (10_000, "A1c", 2, None),
        (10_000, "A2h", 2, None),
        (9_999, "", 3, False),
    ],
)
def test_a_library_that_is_too_small_never_passes_a_corpus(
    tmp_path: Path, total: int, less: str, bad: int, passed: bool | None
) -> None:
    records = [{"text": "qza1a0x" if n < bad else "fine"} for n in range(100)]
    _, evidence, metrics = judged(tmp_path, records, library(tmp_path, total, less=less))
    metric = metrics["tc260:tech_pass"]
    assert (metric.numerator, metric.denominator, metric.passed) == (100 - bad, 100, passed)
    assert metrics["tc260:kw_size"].passed is (passed is not None and total == 10_000 and not less)
    assert evidence["wilson_95"]["low"] < metric.value < evidence["wilson_95"]["high"]


def test_a_source_at_exactly_five_percent_is_not_over(tmp_path: Path) -> None:
    words = ruleset(tmp_path, "坏,A1g,zh,")
    records = [{"text": "坏" if n < bad else "好", "source": name}
               for name, bad in (("甲", 5), ("乙", 6), ("丙", 0)) for n in range(100)]  # fmt: skip
    report, evidence, metrics = judged(tmp_path, records, words)
    (told,) = evidence["resources"]
    assert (told["sources"], told["sources_over"]) == (3, 1)
    assert told["over"] == [{"first_row": 102, "records": 100, "bad": 6}]
    metric = metrics["tc260:source_bad"]
    assert (metric.numerator, metric.denominator, metric.passed) == (1, 3, False)
    assert [f.row_number for f in report.tasks[0].findings if f.type == "unsafe-source"] == [102]


def test_all_mistakes_of_a_ruleset_are_named_without_its_folder(tmp_path: Path) -> None:
    words = ruleset(
        tmp_path, "好,A9z,zh,", ",A1a,zh,", "x,A1a,en,substring", "y y,A1a,en,regex",
        "z,A1a,z!,word", "a,b,c,d,e", "x" * 101 + ",A1a,,",
    )  # fmt: skip
    with pytest.raises(InvalidInput) as caught:
        load(words)
    for line in range(2, 9):
        assert f"line {line}:" in caught.value.en
        assert f"第 {line} 行" in caught.value.zh
    assert str(tmp_path) not in caught.value.en
    for broken in ("word;category\n", "", "word,category,word\n"):
        (tmp_path / "words.csv").write_text(broken, "utf-8")
        with pytest.raises(InvalidInput, match="columns"):
            load(words)
    (tmp_path / "words.csv").write_bytes(b"word,category\n\xff\xfe,A1a\n")
    with pytest.raises(InvalidInput, match="UTF-8"):
        load(words)
    with pytest.raises(InvalidInput, match="cannot be read"):
        load(str(tmp_path / "absent.csv"))


def test_a_folder_is_a_ruleset_with_a_version_and_one_digest_in_any_order(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    (tmp_path / "one/a.csv").write_text("word,category\n甲词,A1a\n乙词,A2b\n", "utf-8")
    (tmp_path / "one/ruleset.json").write_text('{"version": "2026.11"}', "utf-8")
    (tmp_path / "two/b.csv").write_text("category,word\nA2b,乙词\nA2b,乙詞\n", "utf-8")
    (tmp_path / "two/a.csv").write_text("word,category\n甲词,A1a\n", "utf-8")
    one, two = load(str(tmp_path / "one")), load(str(tmp_path / "two"))
    assert one.digest == two.digest
    assert (one.version, two.version) == ("2026.11", "")
    assert (one.repeated, two.repeated) == (0, 1)
    (tmp_path / "one/ruleset.json").write_text("[]", "utf-8")
    with pytest.raises(InvalidInput, match=r"ruleset\.json"):
        load(str(tmp_path / "one"))


@given(st.lists(st.text(max_size=12), min_size=1, max_size=6))
def test_texts_fold_alike_alone_and_together(texts: list[str]) -> None:
    folded, ends = canonical_all(texts)
    starts = [0, *ends[:-1].tolist()]
    for text, start, end in zip(texts, starts, ends.tolist(), strict=True):
        assert folded[start : end - 1].decode() == canonical(text)
        assert canonical(canonical(text)) == canonical(text)


@settings(max_examples=20)
@given(st.data())
def test_any_cutting_of_the_records_gives_the_same_conclusion(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    words = ruleset(tmp_path_factory.mktemp("w"), "坏,A1g,zh,", "ab,A2a,en,", "b坏,A1f,,")
    texts = data.draw(st.lists(st.text(alphabet="ab坏壞\nﬁ", max_size=6), min_size=1, max_size=20))
    records = [{"text": t, "source": str(n % 3)} for n, t in enumerate(texts)]
    cuts = sorted(data.draw(st.sets(st.integers(0, len(records)), max_size=4)))
    check = Safety(words=words, listed=3)

    def folded(parts: list[list[Any]]) -> str:
        whole, rows = None, []
        for number, part in enumerate(parts):
            maker = ViewMaker(mapping_of([], {"roles": {"text": "text"}}))
            positions = np.arange(len(part)) + (2 if number == 0 else 1) + (number << PART_BITS)
            state = check.observe(check.start(About("a")), maker.view(positions, part))
            whole = state if whole is None else check.merge(whole, state)
            rows.append(len(part) + (number == 0))
        places = Places({"a": np.cumsum([0, *rows[:-1]])})
        return repr(check.conclude([(About("a"), whole)], places))

    edges = [0, *cuts, len(records)]
    parts = [records[a:b] for a, b in zip(edges, edges[1:], strict=False)]
    assert folded(parts) == folded([records])


# --- real lists on real texts -------------------------------------------------------------------

# Which risk a list of the test data is taken for; the lists themselves know none.
LISTS = {
    "色情词库": "A1f", "涉枪涉爆": "A1d", "贪腐词库": "A1g", "民生词库": "A1c", "广告类型": "A3b",
    "非法网址": "A1h",
}  # fmt: skip


@pytest.fixture(scope="module")
def real_words(testdata: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    lines = []
    for name, risk in LISTS.items():
        text = (testdata / f"china/sensitive-lexicon/Vocabulary/{name}.txt").read_text("utf-8")
        lines += [f"{w},{risk},zh," for w in dict.fromkeys(map(str.strip, text.split("\n")))
                  if w and "," not in w and '"' not in w and 1 < len(w) <= 100]  # fmt: skip
    return ruleset(tmp_path_factory.mktemp("real"), *lines)


def test_lists_of_words_are_often_wrong_about_classical_poems(
    testdata: Path, tmp_path: Path, real_words: str
) -> None:
    """The figures stand in docs/quality-methods.md: a hit is a reason to look, no judgement."""
    poems = [p for file in sorted((testdata / "ai/chinese-poetry").rglob("poet.*.json"))
             for p in json.loads(file.read_text("utf-8"))]  # fmt: skip
    records = [{"text": "\n".join(p["paragraphs"])} for p in poems]
    _, evidence, metrics = judged(tmp_path, records, real_words)
    (told,) = evidence["resources"]
    assert (told["records"], told["bad"]) == (6002, 75)
    assert {risk: n["records"] for risk, n in told["risks"].items()} == {
        "A1c": 21, "A1f": 53, "A1g": 1, "A3b": 2,
    }  # fmt: skip
    assert metrics["tc260:tech_pass"].numerator == 6002 - 75
