"""Every sentence of the pages exists in both languages, and values look as people expect."""

from __future__ import annotations

import csv
import re
from collections.abc import AsyncIterator
from dataclasses import replace
from importlib.resources import files

import anyio
import pytest

from desk import listing_record
from yaosu.errors import Malformed
from yaosu.model import ListingState
from yaosu.steps import LISTING_STEPS, TRADE_STEPS
from yaosu.web.api.market import FACETS
from yaosu.web.multipart import FormStream
from yaosu.web.pages import words
from yaosu.web.pages.steps_forms import Field, fen
from yaosu.web.pages.texts import TEXTS

TEMPLATES = files("yaosu.web").joinpath("templates")
SOURCES = {entry.name: entry.read_text("utf-8") for entry in TEMPLATES.iterdir()}


def test_every_sentence_that_a_page_names_is_there_in_both_languages() -> None:
    named = {
        name
        for text in SOURCES.values()
        for name in re.findall(r"\bt\('([a-z_0-9.]+)'\s*[,)]", text)
    }
    assert len(named) > 200
    assert sorted(named - set(TEXTS)) == []
    assert [n for n, text in TEXTS.items() if not text.en or not text.zh] == []
    gaps = re.compile(r"\{\w+\}")
    for name, text in TEXTS.items():
        assert set(gaps.findall(text.en)) == set(gaps.findall(text.zh)), name


def test_no_sentence_is_cut_at_a_comma_or_told_twice() -> None:
    lines = list(csv.reader(files("yaosu.web").joinpath("texts.csv").open(encoding="utf-8")))
    assert [line for line in lines if len(line) != 3] == []
    assert len({line[0] for line in lines}) == len(lines)


def test_every_step_and_facet_has_its_words() -> None:
    hidden = {"start_validation", "fail_validation", "pass_validation", "delivered", "sign"}
    shown = {"revise", "edit_text", "offer"}
    for kind, table in (("listing", LISTING_STEPS), ("trade", TRADE_STEPS)):
        for step in table:  # type: ignore[attr-defined]
            if step.action in hidden:
                continue
            assert f"{kind}.{step.action}" in TEXTS
            assert step.action in shown or f"{kind}.{step.action}.help" in TEXTS, step.action
    assert [f for f in FACETS if f"facet.{f}" not in TEXTS] == []


def test_no_page_holds_an_inline_script_style_or_handler() -> None:
    for name, text in SOURCES.items():
        assert not re.search(r"\sstyle=|<style|\son\w+=|hx-on|javascript:", text), name
        for tag in re.findall(r"<script[^>]*>", text):
            # A block of data is no script: browsers never run what has a type of its own.
            assert "src=" in tag or tag == '<script type="application/ld+json">', (name, tag)


def test_every_form_that_changes_something_carries_the_token() -> None:
    for name, text in SOURCES.items():
        for form in re.findall(r'<form method="post".*?</form>', text, re.DOTALL):
            assert "{{ token() }}" in form, (name, form[:200])


@pytest.mark.parametrize(
    ("text", "amount"),
    [("12", 1200), ("0.05", 5), ("1,234.50", 123_450), ("¥3", 300), (" 7.1 ", 710)],
)
def test_amounts_in_yuan_become_fen_exactly(text: str, amount: int) -> None:
    assert fen(text) == amount
    assert fen(words.money(amount)) == amount


@pytest.mark.parametrize("text", ["", "1.005", "-1", "1e30", "NaN", "twelve", "∞"])
def test_what_is_no_amount_is_refused(text: str) -> None:
    with pytest.raises(Exception, match="amount"):
        fen(text)


def test_markdown_of_strangers_loses_what_could_do_harm() -> None:
    shown = words.markdown(
        "# T\n\n<b onclick=x>raw</b> [a](javascript:x) [b](https://e.org) ![i](https://e.org/i)\n\n"
        "| a | b |\n|--|--|\n| 1 | 2 |\n\n~~gone~~"
    )
    assert "<h3>T</h3>" in shown
    assert "<td>1</td>" in shown
    assert "<s>gone</s>" in shown
    for bad in ("<b ", 'href="javascript', "<img", "<h1"):
        assert bad not in shown


def test_sizes_and_digests_are_short_and_whole_where_one_looks_closer() -> None:
    assert words.size(0) == "0 B"
    assert words.size(1536) == "1.5 KiB"
    assert words.size(20 << 30) == "20 GiB"
    digest = "sha256:" + "ab" * 32
    assert f'title="{digest}"' in words.digest(digest)
    assert len(re.sub("<[^>]+>", "", words.digest(digest))) < 25


def test_field_names_come_from_the_dictionary() -> None:
    assert words.field_name("/dataElement/license_spdx", "zh")
    assert words.field_name("/resources/0/path", "en")
    assert words.field_name("/no/such/field") == ""


@pytest.mark.parametrize("element", [None, "x", {}, {"titles": "x"}, {"titles": {"en": ""}}])
def test_a_listing_without_an_english_title_keeps_its_own(element: object) -> None:
    named = replace(listing_record(ListingState.DRAFT, "otc"), title="中文")
    assert words.titled(replace(named, descriptor={"dataElement": element}), "en") == "中文"


def test_a_listing_is_named_in_the_language_of_its_reader() -> None:
    named = replace(
        listing_record(ListingState.LISTED, "otc"),
        title="中文",
        descriptor={"dataElement": {"titles": {"en": "English"}}},
    )
    assert (words.titled(named, "en"), words.titled(named, "zh")) == ("English", "中文")


def test_a_field_without_a_kind_is_one_line_of_text() -> None:
    assert Field(name="filing_no").kind == "text"


# --- the form with a file ---------------------------------------------------------------------

BODY = (
    b'--XX\r\nContent-Disposition: form-data; name="form_token"\r\n\r\nabc\r\n'
    b'--XX\r\nContent-Disposition: form-data; name="empty"\r\n\r\n\r\n'
    b'--XX\r\nContent-Disposition: form-data; name="file"; filename="a b.bin"\r\n'
    b"Content-Type: application/octet-stream\r\n\r\n"
    b"\r\n--X\r\n--XXX".replace(b"--XXX", b"--XY")
    + b"\x00" * 50
    + b"\r\n-"
    b"\r\n--XX--\r\n"
)
CONTENT = b"\r\n--X\r\n--XY" + b"\x00" * 50 + b"\r\n-"


def read(body: bytes, step: int) -> tuple[dict[str, str], str, bytes]:
    async def pieces() -> AsyncIterator[bytes]:
        for at in range(0, len(body), step):
            yield body[at : at + step]

    async def all_of_it() -> tuple[dict[str, str], str, bytes]:
        form = FormStream("multipart/form-data; boundary=XX", pieces())
        fields = await form.fields()
        return fields, form.filename, b"".join([piece async for piece in form.file()])

    return anyio.run(all_of_it)


@pytest.mark.parametrize("step", [1, 2, 3, 5, 7, 16, 61, 4096])
def test_a_form_with_a_file_is_read_however_its_bytes_arrive(step: int) -> None:
    fields, name, content = read(BODY, step)
    assert fields == {"form_token": "abc", "empty": ""}
    assert name == "a b.bin"
    assert content == CONTENT


@pytest.mark.parametrize("end", [1, 20, 100, len(BODY) - 10])
def test_a_form_that_breaks_off_is_refused(end: int) -> None:
    with pytest.raises(Malformed):
        read(BODY[:end], 7)
