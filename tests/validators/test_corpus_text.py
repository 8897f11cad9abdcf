"""Rules of text against their plain wording, on real corpora, in any cut of the records."""

from __future__ import annotations

import json
import pickle
import random
import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from yaosu_schemas.errors import InvalidInput
from yaosu_validators import validate
from yaosu_validators.corpus import textrules_repeats
from yaosu_validators.corpus.script import flats
from yaosu_validators.corpus.shapes import mapping_of
from yaosu_validators.corpus.textrules import TextRules, histogram, quantiles, residue, rules
from yaosu_validators.corpus.textrules_measures import measure
from yaosu_validators.corpus.view import About, Places, View
from yaosu_validators.corpus.views import ViewMaker

CHECKS = ["structure", "corpus.text"]
ABOUT = About("a", "text", fields=(("text", "text"),))


def view_of(texts: list[str], first: int = 0) -> View:
    records = [{"text": text} for text in texts]
    maker = ViewMaker(mapping_of(records, {"shape": "text", "roles": {"text": "text"}}))
    return maker.view(np.arange(first, first + len(texts)), records)


def measures(texts: list[str]) -> list[dict[str, int]]:
    found: list[dict[str, int]] = []
    for flat in flats(pa.array(texts, pa.large_string())):
        of = measure(flat, flat.counts()).of
        found += [{name: int(v[n]) for name, v in of.items()} for n in range(len(flat))]
    return found


# --- the wording of the rules, one text at a time ------------------------------------------------


def plainly(text: str) -> dict[str, int]:
    """Count by the words of Rae et al. 2021, as a person would."""
    words = text.split()
    lines = text.split("\n")
    if len(lines) > 1 and not lines[-1]:
        lines.pop()
    filled = [line for line in text.split("\n") if line]
    paragraphs = re.split(r"\n{2,}", text.strip("\n")) if text.strip("\n") else []
    told = {
        "chars": len(text),
        "tokens": len(words),
        "words": sum(any(c.isalnum() for c in w) for w in words),
        "alpha_words": sum(any(c.isalpha() for c in w) for w in words),
        "hashes": text.count("#"),
        "ellipses": text.count("...") + text.count("…"),
        "lines": len(lines),
        "bullets": sum(line.lstrip()[:1] in ("-", "•", "*") for line in lines if line.strip()),
        "ellipsis_lines": sum(line.rstrip().endswith(("...", "…")) for line in lines),
        "stop_words": len({"the", "be", "to", "of", "and", "that", "have", "with"} & set(words)),
        "lines_met": len(filled),
        "paragraphs_met": len(paragraphs),
    }
    if len(words) < 50:
        return told
    for name, items in (("line", filled), ("paragraph", paragraphs)):
        again = _again(items)
        told[f"dup_{name}s"] = len(again)
        told[f"dup_{name}_chars"] = sum(map(len, again))
    for n in (2, 3, 4):
        told[f"top_{n}"] = _top(words, n)
    for n in range(5, 11):
        told[f"dup_{n}"] = _dup(words, n)
    return told


def _again(items: list[str]) -> list[str]:
    met: set[str] = set()
    return [item for item in items if item in met or met.add(item)]  # type: ignore[func-returns-value]


def _top(words: list[str], n: int) -> int:
    grams = Counter(" ".join(words[i : i + n]) for i in range(len(words) - n + 1))
    times, long = max((times, len(gram)) for gram, times in grams.items())
    return times * long if times > 1 else 0


def _dup(words: list[str], n: int) -> int:
    met: set[tuple[str, ...]] = set()
    chars = at = 0
    while at <= len(words) - n:
        gram = tuple(words[at : at + n])
        if gram in met:
            chars += sum(map(len, gram))
            at += n
        else:
            met.add(gram)
            at += 1
    return chars


WORDS = re.split(
    " ",
    "the of and data model list #tag ... end. 12 ok, that's model with to have be data, x corpus… "
    "- • * «fin»",
)


def prose(r: random.Random, size: int, few: int) -> str:
    words = r.sample(WORDS, few)
    marks = (" ", " ", " ", " ", "\n", "\n\n", "  ", "\t")
    return "".join(r.choice(words) + r.choice(marks) for _ in range(size))


def test_measures_are_what_the_rules_say_in_words() -> None:
    r = random.Random(7)
    texts = [prose(r, r.randint(0, 120), r.randint(2, len(WORDS))) for _ in range(150)]
    texts += ["", "\n", "a", "\n\n", "...", "....", "......\n…", "- a\n- b\n\n- c\n"]
    compare(texts)


def compare(texts: list[str]) -> int:
    """Compare with the plain wording; n-grams only where they could come near a threshold."""
    seen = 0
    for text, found in zip(texts, measures(texts), strict=True):
        for name, value in plainly(text).items():
            far = name.startswith("top_") and value * 100 < 16 * len(text)
            far |= name.startswith("dup_") and name[4:].isdigit() and value * 100 < 10 * len(text)
            if far:
                assert found[name] * 100 < 20 * max(len(text), 1) or found[name] == value, name
            else:
                seen += value > 0
                assert found[name] == value, (name, text)
    return seen


def test_measures_of_real_english_are_what_the_rules_say(testdata: Path) -> None:
    folder = testdata / "ai/llama-factory/data"
    lines = (folder / "c4_demo.jsonl").read_text("utf-8").splitlines()
    texts = [json.loads(line)["text"] for line in lines]
    texts = [t for t in texts if not re.search("[^\x00-\x7f–—‘’“”…•]", t)]
    assert len(texts) > 200
    assert compare(texts) > 1000


@st.composite
def copied(draw: st.DrawFn) -> list[str]:
    """Draw words of which stretches are copied again and again, whole or in part."""
    words = draw(st.lists(st.sampled_from("abcdefgh"), min_size=8, max_size=60))
    for _ in range(draw(st.integers(1, 9))):
        start = draw(st.integers(0, len(words) - 1))
        words = words + words[start : start + draw(st.integers(3, 40))]
        words = words + draw(st.lists(st.sampled_from("abxyz"), max_size=2))
    return words * draw(st.integers(1, 3))


@given(copied(), st.sampled_from([0, 1, 12]))
@settings(max_examples=150, deadline=None)
def test_repetitions_taken_apart_are_those_of_one_walk(words: list[str], rounds: int) -> None:
    wide = "".join(words).translate({ord(c): 0x4E00 + ord(c) for c in "abcdefghxyz"})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(textrules_repeats, "_ROUNDS", rounds)
        latin, han, _ = measures([" ".join(words), wide, "one more"])
    for units, found, of_a_word in ((words, latin, 1), (list(wide), han, 2)):
        for n in range(5, 11):
            told = _dup(units, n * of_a_word)
            if len(units) >= 50 * of_a_word and told * 100 >= 10 * found["chars"]:
                assert found[f"dup_{n}"] == told
            else:  # too little to be judged
                assert found[f"dup_{n}"] in (0, told)


def test_in_chinese_two_characters_stand_for_a_word() -> None:
    text = "数据质量报告" * 40
    (found,) = measures([text])
    assert found["tokens"] == found["chars"] == 240
    assert found["top_2"] == 4 * 40  # the most frequent run of four characters, 40 times
    assert found["dup_5"] >= 200
    (varied,) = measures(["".join(chr(0x4E00 + 7 * n) for n in range(240))])
    assert varied["top_2"] == varied["dup_5"] == 0


# --- the check -----------------------------------------------------------------------------------

GOOD = (
    "The quality of data decides what a model can learn from it. We measure it with rules that "
    "everyone can read, and we report what was counted. A buyer sees the same numbers as the "
    "seller does. Nothing is hidden in a score that nobody can repeat. That is the whole idea."
)
KNOWN = {
    "repeated-text": "say it again and again and again. " * 30,
    "boilerplate": "Welcome to the shop. Please enable JavaScript to use this site.",
    "markup-residue": "A <b>bold</b> claim&nbsp;with <a href='x'>links</a> left in the text.",
    "missing-text": "  N/A ",
    "truncated-text": "A long story about data begins here. [...]",
}
KNOWN_ZH = {
    "repeated-text": "好好学习天天向上。" * 30,
    "boilerplate": "本文介绍数据质量。点击查看更多精彩内容",
    "markup-residue": "数据质量<br/>很重要&nbsp;。",
    "missing-text": "暂无数据",
    "truncated-text": "这是一个关于数据的故事，未完待续",
}


def judged(texts: list[str], **options: Any) -> Any:
    check = TextRules(**options)
    state = check.observe(check.start(ABOUT), view_of(texts))
    return check.conclude([(ABOUT, state)], Places({"a": np.zeros(1, np.int64)}))


@pytest.mark.parametrize("known", [KNOWN, KNOWN_ZH], ids=["en", "zh"])
def test_each_problem_is_found_where_it_is_and_nowhere_else(known: dict[str, str]) -> None:
    came = judged([GOOD, *known.values(), "数据质量决定模型能学到什么。"])
    assert {(f.type, f.row) for _, f in came.findings} == {
        (kind, row) for row, kind in enumerate(known, start=1)
    }
    by_id = {m.id: m for m in came.metrics}
    assert (by_id["tc609:0208"].numerator, by_id["tc609:0208"].denominator) == (2, 7)
    assert by_id["tc609:02080103"].numerator == 1
    assert by_id["tc609:02080105"].numerator == 1
    assert by_id["tc609:02080106"].numerator == 5
    assert by_id["tc609:02080104"].numerator == 6
    assert not any(text in json.dumps(came.evidence) for text in known.values())


def test_markup_inside_of_marked_code_is_wanted() -> None:
    came = judged(["Write a heading like this:\n```html\n<h1>Title</h1>\n```\nand save the file."])
    assert came.findings == ()


def test_texts_cut_at_one_length_are_found_by_that_length() -> None:
    r = random.Random(3)
    whole = [" ".join(r.choices(GOOD.split(), k=r.randint(60, 160))) + "." for _ in range(60)]
    cut = [text[:299] + "x" for text in whole if len(text) > 320]
    assert len(cut) > 20
    came = judged(whole + cut)
    rows = {f.row for _, f in came.findings if f.type == "truncated-text"}
    assert rows == set(range(60, 60 + len(cut)))
    (seen,) = came.evidence["resources"]
    assert seen["cut_at"] == [{"characters": 300, "records": len(cut)}]


def test_every_rule_has_its_origin_and_patterns_compile_in_linear_time() -> None:
    import re2

    assert len({(rule.group, rule.name, rule.scope) for rule in rules()}) == len(rules())
    for kind in ("markup", "boilerplate", "line", "truncated", "placeholder", "lorem"):
        for scope in ("any", "spaced", "chinese"):
            re2.compile("(?i)" + residue(kind, scope))


@given(st.lists(st.integers(0, 300), min_size=1, max_size=40))
def test_quantiles_are_those_of_the_sorted_lengths(lengths: list[int]) -> None:
    told, ordered = quantiles(Counter(lengths)), sorted(lengths)
    for percent in (1, 50, 99):
        rank = -(-percent * len(ordered) // 100)
        assert told[f"p{percent}"] == ordered[rank - 1]
    assert told["total"] == sum(lengths)
    assert sum(b["records"] for b in histogram(Counter(lengths))) == len(lengths)


SOME = st.sampled_from([GOOD, GOOD[:250], "", *KNOWN.values(), *KNOWN_ZH.values(), "x " * 200])


@given(st.lists(SOME, max_size=16), st.lists(st.integers(0, 16), max_size=3), st.booleans())
@settings(max_examples=20, deadline=None)
def test_any_way_to_cut_the_records_gives_the_same_conclusion(
    texts: list[str], cuts: list[int], leftmost: bool
) -> None:
    check = TextRules(listed=3, cut_cluster=2, tokenizer="estimate")

    def fold(some: list[str], first: int) -> Any:
        start = check.start(ABOUT)
        return check.observe(start, view_of(some, first)) if some else start

    bounds = sorted({0, len(texts), *(min(c, len(texts)) for c in cuts)})
    parts = [fold(texts[a:b], a) for a, b in zip(bounds, bounds[1:], strict=False)] or [fold([], 0)]
    parts = [pickle.loads(pickle.dumps(part)) for part in parts]
    while len(parts) > 1:
        at = 0 if leftmost else len(parts) - 2
        parts[at : at + 2] = [check.merge(parts[at], parts[at + 1])]
    places = Places({"a": np.zeros(1, np.int64)})
    whole = check.conclude([(ABOUT, fold(texts, 0))], places)
    assert check.conclude([(ABOUT, parts[0])], places) == whole


def test_parts_and_workers_give_the_report_of_one_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from yaosu_validators import judge, parts

    r = random.Random(11)
    texts = [GOOD, "数据质量决定模型能学到什么。", "", *KNOWN.values(), *KNOWN_ZH.values()]
    records = [{"text": r.choice(texts), "label": r.choice("aab")} for _ in range(200)]
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps(record) + "\n" for record in records), encoding="utf-8")
    monkeypatch.setattr(judge, "SMALL", 0)
    checks = ["structure", "corpus.language", "corpus.labels", "corpus.text"]
    whole = validate(path, checks=checks)
    assert {f.type for f in whole.tasks[0].findings} >= {*KNOWN}
    monkeypatch.setattr(parts, "PART_BYTES", 12_000)
    for workers in (1, 2):
        assert validate(path, checks=checks, workers=workers).timeless() == whole.timeless()


def test_classical_poems_are_clean_text(testdata: Path) -> None:
    report = validate(testdata / "ai/chinese-poetry/全唐诗/poet.tang.2000.json", checks=CHECKS)
    by_id = {m.id: m for m in report.metrics}
    assert (by_id["tc609:0208"].numerator, by_id["tc609:0208"].denominator) == (1002, 1002)


def test_empty_biographies_of_poets_are_missing_texts(testdata: Path) -> None:
    path = testdata / "ai/chinese-poetry/全唐诗/authors.tang.json"
    records = json.loads(path.read_text("utf-8"))
    empty = sum(r["desc"].strip() in ("", "--") for r in records)
    report = validate(path, checks=CHECKS)
    (missing,) = [m for m in report.metrics if m.id == "tc609:02080105"]
    assert empty > 1000
    assert (missing.numerator, missing.denominator) == (empty, len(records))


def test_naughty_strings_and_a_huge_record_are_judged(testdata: Path) -> None:
    texts = json.loads((testdata / "edge/blns/blns.json").read_text("utf-8"))
    huge = "word " * 900_000
    came = judged([*texts, huge])
    assert came.evidence["resources"][0]["records"] == len(texts) + 1
    assert came.evidence["resources"][0]["looked_at_in_part"] == 1


# --- tokens ---------------------------------------------------------------------------------------


def test_an_estimate_of_tokens_is_called_one_and_lies_near_a_real_count() -> None:
    came = judged([GOOD, "数据质量决定模型能学到什么。"], tokenizer="estimate")
    told = came.evidence["resources"][0]["tokens"]
    assert told["tokenizer"] == "estimate-1"
    assert told["method"].startswith("estimate")
    assert 60 <= told["count"] <= 90
    assert "tokens" not in judged([GOOD]).evidence["resources"][0]


def test_a_tokenizer_that_is_not_there_is_refused_before_anything_is_read(tmp_path: Path) -> None:
    (tmp_path / "a.jsonl").write_text('{"text": "x"}\n', encoding="utf-8")
    for name in ("gpt", "file:", f"file:{tmp_path}/none.json"):
        with pytest.raises(InvalidInput) as why:
            validate(
                tmp_path / "a.jsonl", checks=CHECKS, options={"corpus.text": {"tokenizer": name}}
            )
        assert str(tmp_path) not in str(why.value)


def test_the_steps_of_lengths_are_four_to_each_power_of_two() -> None:
    steps = {n: next(b["below"] for b in histogram(Counter([n]))) for n in range(5000)}
    assert all(n < below for n, below in steps.items())
    edges = sorted(set(steps.values()))
    assert all(steps[edge] != edge for edge in edges if edge in steps)
    assert [e for e in edges if 64 < e <= 128] == [80, 96, 112, 128]
