"""What a search index promises, whatever stands behind it."""

from __future__ import annotations

import html
import json
import os
import random
import re
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from yaosu.errors import InvalidInput, Unavailable
from yaosu.ports import SearchPage, SearchQuery
from yaosu.storage.search import TantivyIndex, _fingerprint
from yaosu.storage.search_order import Cursor
from yaosu.text import sort_key

DATA = Path(os.environ.get("YAOSU_TESTDATA", Path(__file__).parents[2] / "../shared/data"))


def card(listing_id: str, title: str, **more: Any) -> dict[str, Any]:
    base: dict[str, Any] = {
        "listing_id": listing_id,
        "title": title,
        "description": "",
        "keywords": [],
        "publisher": "sh-transport",
        "publisher_name": "上海某公司",
        "name": listing_id,
        "modality": ["text"],
        "language": ["zh"],
        "licence": "CC-BY-4.0",
        "industry": ["G54"],
        "region": ["310000"],
        "stage": ["pretraining"],
        "price_band": "free",
        "price_fen": 0,
        "size_bytes": 1000,
        "records": 10,
        "quality": "B",
        "listed_at": 1_700_000_000,
        "view_policy": "public",
        "invited": [],
    }
    return base | more


@pytest.fixture
def index(tmp_path: Path) -> Iterator[TantivyIndex]:
    index = TantivyIndex(tmp_path / "search")
    yield index
    index.close()


def put(index: TantivyIndex, *cards: dict[str, Any], checkpoint: int = 1) -> None:
    index.apply({c["listing_id"]: c for c in cards}, checkpoint=checkpoint)


def find(index: TantivyIndex, text: str = "", **more: Any) -> SearchPage:
    more.setdefault("filters", {})
    return index.search(SearchQuery(text=text, **more))


def ids(page: SearchPage) -> list[str]:
    return [hit.listing_id for hit in page.hits]


def test_two_characters_one_character_and_either_script_find_a_listing(index: TantivyIndex) -> None:
    put(index, card("a", "上海市公共交通客流数据"), card("b", "臺灣氣象觀測資料"))
    assert ids(find(index, "交通")) == ["a"]
    assert ids(find(index, "客")) == ["a"]
    assert ids(find(index, "台湾气象")) == ["b"]
    assert ids(find(index, "臺灣")) == ["b"]
    assert ids(find(index, "ＴＲＡＦＦＩＣ")) == []


def test_a_longer_question_finds_what_has_most_of_it(index: TantivyIndex) -> None:
    put(index, card("a", "上海市公共交通客流数据"), card("b", "医院影像"))
    assert ids(find(index, "上海公共交通数据")) == ["a"]


def test_filters_that_leave_nothing_do_not_loosen_the_question(index: TantivyIndex) -> None:
    put(index, card("a", "公共交通"), card("b", "公共卫生", licence="MIT"))
    page = find(index, "公共交通", filters={"licence": ["MIT"]}, facets=["licence"])
    assert page.total == 0
    assert dict(page.facets["licence"]) == {"CC-BY-4.0": 1, "MIT": 0}


def test_english_finds_plurals_and_beginnings(index: TantivyIndex) -> None:
    put(index, card("a", "Hospital imaging datasets", title_en="Radiology images"))
    for text in ("dataset", "DATASETS", "image", "radiol", "radiolo"):
        assert ids(find(index, text)) == ["a"], text


def test_a_quoted_phrase_is_exact_and_a_minus_leaves_out(index: TantivyIndex) -> None:
    put(
        index,
        card("a", "公共交通数据"),
        card("b", "公共汽车与轨道交通数据"),
        card("c", "公交 数据"),
    )
    assert ids(find(index, '"公共交通"')) == ["a"]
    assert sorted(ids(find(index, "数据 -汽车"))) == ["a", "c"]
    assert sorted(ids(find(index, "-汽车"))) == ["a", "c"]
    put(index, card("d", "open speech data"), card("e", "speech that is open"))
    assert ids(find(index, "“open speech”")) == ["d"]


def test_a_known_facet_may_be_typed_and_an_unknown_one_is_words(index: TantivyIndex) -> None:
    put(index, card("a", "数据甲"), card("b", "数据乙", licence="MIT", publisher="bj"))
    assert ids(find(index, "licence:mit")) == ["b"]
    assert ids(find(index, "数据 发布者：bj")) == ["b"]
    assert ids(find(index, "nonsense:数据乙"))[0] == "b"


def test_the_title_counts_most_then_keywords_publisher_description_fields(
    index: TantivyIndex,
) -> None:
    put(
        index,
        card("fields", "甲", field_names=["泥石流"]),
        card("description", "乙", description="泥石流"),
        card("publisher", "丙", publisher_name="泥石流"),
        card("keywords", "丁", keywords=["泥石流"]),
        card("title", "泥石流"),
        *[card(f"x{n}", "别的数据", description="别的说明", keywords=["别的"]) for n in range(20)],
    )
    order = ["title", "keywords", "publisher", "description", "fields"]
    assert ids(find(index, "泥石流")) == order


def test_values_of_a_facet_are_or_and_facets_are_and(index: TantivyIndex) -> None:
    put(
        index,
        card("a", "甲", modality=["text"], licence="MIT"),
        card("b", "乙", modality=["image"], licence="MIT"),
        card("c", "丙", modality=["image", "text"], licence="CC0-1.0"),
        card("d", "丁", modality=["audio"], licence="MIT"),
    )
    both = {"modality": ["text", "image"]}
    assert sorted(ids(find(index, filters=both))) == ["a", "b", "c"]
    assert sorted(ids(find(index, filters=both | {"licence": ["MIT"]}))) == ["a", "b"]
    assert sorted(ids(find(index, filters={"modality": []}))) == ["a", "b", "c", "d"]


def test_each_facet_counts_as_if_nothing_were_chosen_in_it(index: TantivyIndex) -> None:
    random.seed(7)
    cards = [
        card(
            f"l{n}",
            "数据",
            modality=random.sample(["text", "image", "audio"], random.randint(1, 2)),
            licence=random.choice(["MIT", "CC0-1.0", "CC-BY-4.0"]),
            industry=[random.choice(["G54", "I65", "Q84"])],
        )
        for n in range(200)
    ]
    put(index, *cards)
    chosen = {"modality": ["text"], "licence": ["MIT", "CC0-1.0"]}
    page = find(index, "数据", filters=chosen, facets=["modality", "licence", "industry"])

    def keeps(c: dict[str, Any], skip: str) -> bool:
        return (skip == "modality" or "text" in c["modality"]) and (
            skip == "licence" or c["licence"] in ("MIT", "CC0-1.0")
        )

    for facet in ("modality", "licence", "industry"):
        expected: dict[str, int] = {}
        for c in cards:
            if keeps(c, facet):
                values = c[facet] if isinstance(c[facet], list) else [c[facet]]
                if facet == "industry":
                    values = [*values, values[0][0]]
                for value in values:
                    expected[value] = expected.get(value, 0) + 1
        assert dict(page.facets[facet]) == expected, facet
    assert page.total == sum(keeps(c, "") for c in cards)


def test_a_chosen_value_is_counted_even_when_nothing_has_it(index: TantivyIndex) -> None:
    put(index, card("a", "甲"))
    page = find(index, filters={"licence": ["MIT"]}, facets=["licence"])
    assert dict(page.facets["licence"]) == {"CC-BY-4.0": 1, "MIT": 0}


def test_broader_codes_find_narrower_ones(index: TantivyIndex) -> None:
    put(index, card("a", "甲", industry="G54", language=["zh-CN"]))
    assert ids(find(index, filters={"industry": ["G"], "language": ["zh"]})) == ["a"]


@pytest.mark.parametrize(
    ("sort", "expected"),
    [
        ("newest", ["b", "c", "a"]),
        ("price_asc", ["c", "a", "b"]),
        ("price_desc", ["a", "c", "b"]),
        ("size", ["a", "b", "c"]),
        ("records", ["c", "b", "a"]),
        ("title", ["c", "b", "a"]),
    ],
)
def test_every_order_holds(index: TantivyIndex, sort: str, expected: list[str]) -> None:
    put(
        index,
        card("a", "中国", listed_at=1, price_fen=900, size_bytes=9, records=1),
        card("b", "安徽", listed_at=3, price_fen=None, size_bytes=8, records=2),
        card("c", "Air", listed_at=2, price_fen=100, size_bytes=7, records=3),
    )
    assert ids(find(index, sort=sort)) == expected


def walk(index: TantivyIndex, text: str, sort: str, limit: int = 7) -> list[str]:
    out: list[str] = []
    cursor = None
    while True:
        page = find(index, text, sort=sort, limit=limit, cursor=cursor)
        out += ids(page)
        cursor = page.cursor
        if cursor is None:
            return out


SORTS = ["relevance", "newest", "price_asc", "price_desc", "size", "records", "title"]


@pytest.mark.parametrize("sort", SORTS)
@pytest.mark.parametrize("text", ["", "数据"])
def test_pages_give_every_listing_once_though_all_are_equal(
    index: TantivyIndex, text: str, sort: str
) -> None:
    cards = [card(f"l{n:03d}", "一样的数据", records=n % 3) for n in range(60)]
    for at in range(0, 60, 20):  # several segments
        put(index, *cards[at : at + 20])
    once = walk(index, text, sort)
    assert sorted(once) == sorted(c["listing_id"] for c in cards)
    assert walk(index, text, sort, limit=11) == once
    index.rebuild(((c["listing_id"], c) for c in reversed(cards)), checkpoint=9)
    assert walk(index, text, sort) == once, "a rebuild must not shuffle equals"


@pytest.mark.parametrize("sort", SORTS)
def test_what_is_listed_while_a_person_turns_pages_moves_nothing(
    index: TantivyIndex, sort: str
) -> None:
    put(index, *[card(f"l{n:03d}", f"数据 {n % 5}") for n in range(40)])
    seen: list[str] = []
    cursor = None
    for turn in range(20):
        page = find(index, "数据", sort=sort, limit=5, cursor=cursor)
        seen += ids(page)
        cursor = page.cursor
        if cursor is None:
            break
        put(index, card(f"new{turn}", "数据 数据 数据", description="新的数据"))
    old = [i for i in seen if i.startswith("l")]
    assert len(seen) == len(set(seen))
    assert sorted(old) == [f"l{n:03d}" for n in range(40)]


def test_pages_by_title_are_the_whole_list_in_its_order(index: TantivyIndex) -> None:
    titles = ["", "安徽", "Air", "中国", "数据", 'a " {x TO *}', "\N{BRAIN}", "x" * 300]
    cards = [card(f"l{n:03d}", titles[n % len(titles)]) for n in range(56)]
    put(index, *cards[:20])
    put(index, *cards[20:])
    whole = ids(find(index, sort="title", limit=100))
    order = {c["listing_id"]: sort_key(c["title"]) for c in cards}
    assert [order[i] for i in whole] == sorted(order.values())
    for limit in (1, 6, 7, 8):
        assert walk(index, "", "title", limit) == whole


def test_a_cursor_of_another_kind_of_order_is_refused(index: TantivyIndex) -> None:
    put(index, *[card(f"l{n}", "数据") for n in range(9)])
    for sort, key in [("title", '"} OR x:{'), ("title", "7"), ("newest", "x")]:
        asked = SearchQuery(filters={}, sort=sort, limit=3)
        made = Cursor("x", 3, key, 0).text(_fingerprint(asked))
        with pytest.raises(InvalidInput, match="cursor"):
            find(index, sort=sort, limit=3, cursor=made)


def test_a_cursor_outlives_the_process(tmp_path: Path) -> None:
    index = TantivyIndex(tmp_path)
    put(index, *[card(f"l{n:03d}", "数据") for n in range(30)])
    first = find(index, "数据", limit=10)
    index.close()
    again = TantivyIndex(tmp_path)
    second = find(again, "数据", limit=10, cursor=first.cursor)
    third = find(again, "数据", limit=10, cursor=second.cursor)
    assert len({*ids(first), *ids(second), *ids(third)}) == 30
    again.close()


def test_pages_of_a_loose_match_go_on_as_they_began(index: TantivyIndex) -> None:
    put(index, *[card(f"l{n:03d}", f"公共交通 {n}") for n in range(30)])
    found = walk(index, "公共交通客流 absent", "relevance")
    assert sorted(found) == [f"l{n:03d}" for n in range(30)]


def test_a_cursor_that_is_cut_changed_or_of_another_search_is_refused(
    index: TantivyIndex,
) -> None:
    put(index, *[card(f"l{n}", "数据") for n in range(9)])
    good = find(index, "数据", limit=3).cursor
    assert good is not None
    for bad in (good[:-3], "A" + good[1:], "x", "é", "\ud800", "=", good + "AAAA", "Z" * 5000):
        with pytest.raises(InvalidInput, match="cursor"):
            find(index, "数据", limit=3, cursor=bad)
    with pytest.raises(InvalidInput, match="cursor"):
        find(index, "别的", limit=3, cursor=good)


def test_unknown_facets_and_orders_are_refused_by_name(index: TantivyIndex) -> None:
    with pytest.raises(InvalidInput, match="colour"):
        find(index, filters={"colour": ["red"]})
    with pytest.raises(InvalidInput, match="alphabet"):
        find(index, sort="alphabet")
    with pytest.raises(InvalidInput):
        find(index, limit=0)


def test_only_those_who_may_see_a_listing_find_it(index: TantivyIndex) -> None:
    put(
        index,
        card("open", "数据"),
        card("member", "数据", view_policy="member"),
        card("mine", "数据", view_policy="private", provider_id="pty_p", invited=["pty_b"]),
        card("odd", "数据", view_policy="something new"),
    )
    facets = ["licence"]
    for viewer, expected in [
        (None, ["open"]),
        ("pty_x", ["member", "open"]),
        ("pty_b", ["member", "mine", "open"]),
        ("pty_p", ["member", "mine", "open"]),
    ]:
        for text in ("数据", "", "-甲", "据"):
            page = find(index, text, viewer=viewer, facets=facets)
            assert sorted(ids(page)) == expected
            assert page.total == len(expected)
            assert dict(page.facets["licence"]) == {"CC-BY-4.0": len(expected)}


def test_suggestions_complete_chinese_and_latin_and_keep_secrets(index: TantivyIndex) -> None:
    put(
        index,
        card("a", "上海市公共交通", keywords=["Shanghai Metro"]),
        card("b", "上海空气质量"),
        card("c", "上海机密", view_policy="private"),
    )
    assert set(index.suggest("上海")) == {"上海市公共交通", "上海空气质量", "上海某公司"}
    assert index.suggest("shang") == ["Shanghai Metro"]
    assert index.suggest("") == []
    assert len(index.suggest("上", limit=1)) == 1
    assert index.suggest("[^") == []


def test_a_snippet_marks_the_original_text_and_escapes_the_rest(index: TantivyIndex) -> None:
    text = "前言。" * 80 + "這裡有<b onload=x>公共交通</b>的客流數據 & ＣＳＶ " + "後記。" * 80
    put(index, card("a", "甲", description=text))
    snippet = find(index, "公共交通数据 csv").hits[0].snippet
    assert "<mark>公共交通</mark>" in snippet
    assert "<mark>數據</mark>" in snippet
    assert "<mark>ＣＳＶ</mark>" in snippet
    bare = re.sub("</?mark>", "", snippet)
    assert "<" not in bare
    assert html.unescape(bare).strip("…") in text
    assert len(html.unescape(bare)) <= 162


def test_a_snippet_shows_where_the_word_is_when_the_description_has_it_not(
    index: TantivyIndex,
) -> None:
    put(index, card("a", "甲", description="说明", field_names=["passenger_count"]))
    assert "<mark>passenger</mark>" in find(index, "passengers").hits[0].snippet


def test_a_combined_letter_is_not_torn(index: TantivyIndex) -> None:
    word = "cafe\u0301"
    put(index, card("a", "甲", description=f"un {word} noir"))
    assert find(index, "café").hits[0].snippet == f"un <mark>{word}</mark> noir"


def test_a_removed_listing_is_gone_and_a_changed_one_is_found_by_its_new_words(
    index: TantivyIndex,
) -> None:
    put(index, card("a", "旧的"), card("b", "别的"))
    put(index, card("a", "新的"), checkpoint=2)
    assert ids(find(index, "旧")) == []
    assert ids(find(index, "新")) == ["a"]
    index.apply({"a": None, "absent": None}, checkpoint=3)
    assert ids(find(index)) == ["b"]
    assert index.checkpoint() == 3
    assert index.count() == 1


def test_the_position_and_the_documents_survive_together(tmp_path: Path) -> None:
    index = TantivyIndex(tmp_path)
    assert index.needs_rebuild
    assert index.checkpoint() == 0
    put(index, card("a", "数据"), checkpoint=41)
    index.close()
    again = TantivyIndex(tmp_path)
    assert not again.needs_rebuild
    assert again.checkpoint() == 41
    assert ids(find(again)) == ["a"]
    again.close()


def test_a_rebuild_swaps_whole_and_leaves_one_generation(index: TantivyIndex) -> None:
    put(index, card("old", "数据"), checkpoint=5)

    def documents() -> Iterator[tuple[str, Any]]:
        yield "new", card("new", "数据")
        assert ids(find(index, "数据")) == ["old"], "the old index serves meanwhile"
        yield "new2", card("new2", "数据")

    assert index.rebuild(documents(), checkpoint=7) == 2
    assert sorted(ids(find(index, "数据"))) == ["new", "new2"]
    assert index.checkpoint() == 7
    assert len(list(index.path.glob("g-*"))) == 1
    put(index, card("later", "数据"), checkpoint=8)
    assert find(index, "数据").total == 3


def test_a_rebuild_that_breaks_off_changes_nothing(index: TantivyIndex) -> None:
    put(index, card("old", "数据"), checkpoint=5)

    def broken() -> Iterator[tuple[str, Any]]:
        yield "new", card("new", "数据")
        raise RuntimeError("power cut")

    with pytest.raises(RuntimeError):
        index.rebuild(broken(), checkpoint=7)
    assert ids(find(index)) == ["old"]
    assert index.checkpoint() == 5
    assert len(list(index.path.glob("g-*"))) == 1


@pytest.mark.parametrize("damage", ["no folder", "no meta", "bad meta", "bad pointer", "format"])
def test_a_damaged_index_opens_empty_and_says_so(tmp_path: Path, damage: str) -> None:
    index = TantivyIndex(tmp_path)
    put(index, card("a", "数据"), checkpoint=3)
    index.close()
    folder = next(tmp_path.glob("g-*"))
    if damage == "no folder":
        for file in folder.iterdir():
            file.unlink()
        folder.rmdir()
    elif damage == "no meta":
        (folder / "meta.json").unlink()
    elif damage == "bad meta":
        (folder / "meta.json").write_text("{")
    elif damage == "bad pointer":
        (tmp_path / "CURRENT").write_bytes(b"\xff")
    else:
        (tmp_path / "CURRENT").write_text(json.dumps({"generation": folder.name, "format": 0}))
    again = TantivyIndex(tmp_path)
    assert again.needs_rebuild
    assert again.checkpoint() == 0
    assert ids(find(again)) == []
    again.rebuild([("a", card("a", "数据"))], checkpoint=4)
    assert not again.needs_rebuild
    assert ids(find(again, "数据")) == ["a"]
    again.close()


def test_damage_found_while_searching_is_a_typed_error(tmp_path: Path) -> None:
    index = TantivyIndex(tmp_path)
    put(index, *[card(f"l{n}", f"数据 {n}") for n in range(50)])
    index.close()
    for file in next(tmp_path.glob("g-*")).iterdir():
        if file.suffix not in (".json", ".lock"):
            file.write_bytes(b"\0" * file.stat().st_size)
    again = TantivyIndex(tmp_path)
    if not again.needs_rebuild:
        with pytest.raises(Unavailable):
            find(again, "数据")
        assert again.needs_rebuild
    again.rebuild([("a", card("a", "数据"))], checkpoint=1)
    assert not again.needs_rebuild
    assert ids(find(again, "数据")) == ["a"]
    again.found_damaged()
    assert not again.needs_rebuild, "a fault that comes back at once is not mended by rebuilding"
    again.close()


def test_any_junk_is_a_question_with_an_answer(index: TantivyIndex) -> None:
    put(index, card("a", "数据"))
    random.seed(3)
    signs = "\"-:()[]{}*?~^\\/+&|!<>=,.;'“”《》：　\u202e\u200b\ud800\udfff\0\n\taé数水1👍ก"
    junk = ["".join(random.choices(signs, k=random.randint(1, 40))) for _ in range(400)]
    for text in [*junk, "-", '"', '""', ":", "a:", ":b", "- -", "*", "x" * 10_000, "水" * 3000]:
        page = find(index, text, facets=["licence"])
        assert page.total >= 0
        index.suggest(text)


def test_junk_in_a_card_is_kept_and_marked_up_safely(index: TantivyIndex) -> None:
    junk = ["\ud800", "\0", "<script>alert(1)</script>", "\u202e", "é" * 70_000, "水" * 30_000, ""]
    put(index, *[card(f"j{n}", t, description=t, keywords=[t]) for n, t in enumerate(junk)])
    page = find(index, limit=50)
    assert page.total == len(junk)
    for hit in [*page.hits, *find(index, "script alert 水水").hits]:
        assert "<" not in re.sub("</?mark>", "", hit.snippet)
        hit.snippet.encode()


def test_naughty_strings_go_in_and_out(index: TantivyIndex) -> None:
    source = DATA / "edge" / "blns" / "blns.json"
    if not source.is_file():
        pytest.skip("YAOSU_TESTDATA/edge/blns is absent")
    naughty = json.loads(source.read_text("utf-8"))
    put(index, *[card(f"n{n}", t, description=t) for n, t in enumerate(naughty)])
    assert index.count() == len(naughty)
    for text in naughty:
        for hit in find(index, text, limit=5).hits:
            assert "<" not in re.sub("</?mark>", "", hit.snippet)
        index.suggest(text)


def test_a_listing_is_found_within_a_second_of_being_applied(index: TantivyIndex) -> None:
    put(index, *[card(f"l{n}", f"数据 {n}") for n in range(500)])
    begin = time.perf_counter()
    put(index, card("late", "刚刚挂牌"))
    assert ids(find(index, "刚刚挂牌")) == ["late"]
    assert time.perf_counter() - begin < 1.0
