"""The report as a page: complete, safe to embed, and silent about the data unless it may speak."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from yaosu_validators import validate
from yaosu_validators.html import mask, report_css, report_fragment, report_html
from yaosu_validators.mending import MENDING, how_to_mend
from yaosu_validators.messages import KINDS
from yaosu_validators.svg import heat_map, level

EVIL = "<script>alert(1)</script>\"'&"


class Elements(HTMLParser):
    """Collects tags, attributes and text, and sees that every element is closed."""

    VOID = frozenset(("meta", "br"))

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str | None]] = []
        self.words = ""
        self.open: list[str] = []
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: Any) -> None:
        self.tags.append(tag)
        self.attributes += attrs
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: Any) -> None:
        self.tags.append(tag)
        self.attributes += attrs

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not self.open or self.open[-1] != "style":
            self.words += data


@pytest.fixture
def report(tmp_path: Path) -> dict[str, Any]:
    lines = [f"{n},secret{n}" for n in range(1, 40)]
    lines[4] = "five,secret5"
    lines[20:26] = [f"{n},s,extra" for n in range(21, 27)]
    (tmp_path / "a.csv").write_text("id,name\n" + "\n".join(lines) + "\n")
    schema = {"fields": [{"name": "id", "type": "integer"}, {"name": "name", "type": "string"}]}
    return validate(tmp_path / "a.csv", schema=schema).as_json()


def error(**facts: Any) -> dict[str, Any]:
    base = {"type": "type-error", "title": "Wrong type", "title_zh": "类型错误", "message": "m"}
    return {**base, "message_zh": "说明", "description": "d", "description_zh": "描述", **facts}


def of(*errors: dict[str, Any], **task: Any) -> dict[str, Any]:
    one = {
        "name": "t", "place": "t.csv", "type": "table", "valid": not errors,
        "stats": {"rows": 100, "bytes": 5, "errors": len(errors)}, "errors": list(errors), **task,
    }  # fmt: skip
    return {"valid": not errors, "stats": {"errors": len(errors)}, "tasks": [one], "errors": []}


def test_a_person_sees_verdict_kind_place_and_remedy(report: dict[str, Any]) -> None:
    words = Elements(report_html(report)).words
    for expected in (
        "未通过", "Not valid", "类型错误", "Wrong type", "多余单元格", "id", "6", "22–27",
        MENDING["type-error"].zh, MENDING["type-error"].en, "structure", "39 / 39", "全部",
    ):  # fmt: skip
        assert expected in words, expected


def test_a_valid_report_says_so_and_no_more(tmp_path: Path) -> None:
    (tmp_path / "a.csv").write_text("id\n1\n")
    words = Elements(report_html(validate(tmp_path / "a.csv").as_json())).words
    assert "通过" in words
    assert "未通过" not in words
    assert "问题分类" not in words


@pytest.mark.parametrize("lang", ["zh", "en"])
def test_one_language_keeps_to_itself(report: dict[str, Any], lang: Any) -> None:
    words = Elements(report_fragment(report, lang=lang)).words
    assert bool(re.search("[\u4e00-\u9fff]", words)) == (lang == "zh")


def test_cells_are_masked_unless_the_reader_may_see_them(report: dict[str, Any]) -> None:
    hidden, shown = report_html(report), report_html(report, show_cells=True)
    assert "five" not in hidden
    assert "secret" not in hidden
    assert mask("five") in hidden
    assert "five" in shown


def test_the_fragment_passes_under_a_strict_policy(report: dict[str, Any]) -> None:
    page = Elements(report_fragment(report))
    assert not {"script", "style", "link", "iframe", "img", "object"} & set(page.tags)
    assert not [name for name, _ in page.attributes if name.startswith("on") or name == "style"]
    assert not [name for name, _ in page.attributes if name in ("href", "src", "xlink:href")]


def test_the_document_needs_nothing_from_elsewhere(report: dict[str, Any]) -> None:
    html = report_html(report)
    assert "://" not in html.replace("http://www.w3.org/2000/svg", "")
    assert "url(" not in report_css()
    assert "@import" not in report_css()
    assert "default-src 'none'" in html


def test_every_class_in_use_is_in_the_style_sheet(report: dict[str, Any]) -> None:
    report["metrics"] = [{"id": "m", "standard": "s", "value": 0.5, "unit": "ratio", "pass": True}]
    used = {
        name
        for attribute, value in Elements(report_fragment(report)).attributes
        if attribute == "class"
        for name in (value or "").split()
    }
    known = set(re.findall(r"\.(yr[\w-]*)", report_css()))
    assert used - known <= {"yr-histogram"}


@pytest.mark.parametrize("show", [True, False])
def test_words_of_strangers_stay_words(show: bool) -> None:
    found = error(rowNumber=2, fieldName=EVIL, fieldNumber=1, cell=EVIL, type=EVIL, title=EVIL)
    found |= {"message": EVIL, "message_zh": EVIL, "description": EVIL, "description_zh": EVIL}
    body = of(found, name=EVIL, place=EVIL, warnings=[EVIL])
    body["errors"] = [error(message=EVIL, message_zh=EVIL, pointer=EVIL)]
    body |= {"warnings": [EVIL], "target": EVIL, "ruleset": EVIL, "engine": EVIL}
    body["checks"] = [{"name": EVIL, "version": EVIL, "coverage": {"rows_seen": 1}}]
    body["metrics"] = [{"id": EVIL, "standard": EVIL, "value": EVIL, "unit": EVIL, "basis": EVIL}]
    columns = [{"name": EVIL, "type": EVIL, "min": EVIL, "max": EVIL, "top": [[EVIL, 3]]}]
    body["tasks"][0]["profile"] = {"columns": columns}
    for lang in ("zh", "en", "both"):
        page = Elements(report_fragment(body, lang=lang, show_cells=show))  # type: ignore[arg-type]
        assert "script" not in page.tags
        assert all(not name.startswith("on") for name, _ in page.attributes)


def test_a_reader_that_was_stopped_is_shown_as_such() -> None:
    from yaosu_validators.stopped import Stop, stopped_result

    words = Elements(report_html(stopped_result("validate", Stop("memory", 1 << 30), {}))).words
    assert "1024 MiB" in words
    assert MENDING["resource-limit"].zh in words


def test_every_kind_of_finding_has_a_remedy() -> None:
    for kind in [*KINDS, "resource-limit", "reader-crashed"]:
        text = how_to_mend(kind)
        assert text.en
        assert text.zh
        assert kind in MENDING or kind.endswith("-error"), kind


def test_ten_thousand_errors_stay_a_page(report: dict[str, Any]) -> None:
    many = of(*(error(rowNumber=n * 2, fieldName=f"f{n % 40}", cell="x") for n in range(10_000)))
    many["tasks"][0]["stats"]["errors"] = 250_000
    html = report_html(many)
    assert len(html) < 200_000
    assert "250,000" in html
    assert "24 more fields" in html


def test_a_hollow_report_is_still_a_page() -> None:
    assert "未通过" in report_html({})
    Elements(report_html({"valid": True, "tasks": [{}], "checks": [{}], "metrics": [{}]}))


def test_the_map_is_darker_where_more_is_wrong() -> None:
    assert [level(n, 100) for n in (1, 6, 7, 13, 25, 50, 51, 100)] == [1, 1, 2, 3, 3, 4, 5, 5]
    drawn = heat_map(["a"], {(0, 3): 9}, buckets=10, last="100", label="x", tip=lambda *at: f"{at}")
    assert drawn.count("yr-h5") == 1
    assert "(0, 3, 9)" in drawn


def test_what_is_noticed_and_no_error_is_told_with_its_rows_and_how_to_mend_it(
    tmp_path: Path,
) -> None:
    answer = "the same line of words again and again. " * 30
    line = f'{{"instruction": "a question %d", "output": "{answer}"}}\n'
    (tmp_path / "a.jsonl").write_text("".join(line % n for n in range(30)), encoding="utf-8")
    report = validate(tmp_path, checks=["structure", "corpus.text"]).as_json()
    kinds = {f["type"] for f in report["tasks"][0]["findings"]}
    assert kinds
    words = Elements(report_html(report, lang="en")).words
    assert "What was noticed" in words
    assert re.search(r"(\d+, ){10}…", words)
    for kind in kinds:
        assert kind in words
        assert how_to_mend(kind).en in words


def test_a_table_of_many_columns_is_folded_and_says_what_it_leaves_out() -> None:
    def page(count: int) -> Elements:
        columns = [{"name": f"c{n}", "type": "integer"} for n in range(count)]
        task = {"name": "a", "valid": True, "profile": {"columns": columns}}
        return Elements(report_html({"valid": True, "tasks": [task]}, lang="en"))

    assert page(3).tags.count("details") == page(200).tags.count("details") - 1
    assert "100 more columns" in page(600).words


def test_a_stopped_run_is_never_called_valid() -> None:
    report = {"valid": False, "partial": True, "tasks": []}
    words = Elements(report_html(report, lang="en")).words
    assert "Stopped, no error until then" in words
    assert "Valid\n" not in words


def test_notes_are_in_the_language_of_the_page_and_a_table_half_read_has_no_verdict() -> None:
    note = "stopped within it / 读取中停止"
    task = {"name": "a", "valid": False, "partial": True, "stats": {"rows": 1}, "warnings": [note]}
    report = {"valid": False, "partial": True, "tasks": [task], "warnings": ["a / b", "x / y / 值"]}
    en, zh = (Elements(report_html(report, lang=lang)).words for lang in ("en", "zh"))
    assert "stopped within it" in en
    assert "读取中停止" not in en
    assert "读取中停止" in zh
    assert "stopped within it" not in zh
    assert all("a / b" in words and "x / y / 值" in words for words in (en, zh))
    assert "a stopped 1 row" in en
