"""A person at a terminal reads names in the language of its locale, on every command alike."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from people import USCC, Hall, open_hall, small_corpus, until
from stall import offered, sold_as
from terminal import Terminal, terminal_in
from yaosu.commands.language import called, named, reads_english


@pytest.mark.parametrize(
    ("locale", "english"),
    [
        ({"LANG": "en_GB.UTF-8"}, True),
        ({"LANG": "en"}, True),
        ({"LANG": "zh_CN.UTF-8"}, False),
        ({"LANG": "en_US.UTF-8", "LC_MESSAGES": "zh_CN.UTF-8"}, False),
        ({"LANG": "zh_CN.UTF-8", "LC_ALL": "en_US.UTF-8"}, True),
        ({"LANG": "en_US.UTF-8", "LC_ALL": ""}, True),
        ({"LANG": "C.UTF-8"}, False),
        ({"LANG": "eng"}, False),
        ({}, False),
    ],
)
def test_the_first_locale_that_is_set_decides(
    monkeypatch: pytest.MonkeyPatch, locale: dict[str, str], english: bool
) -> None:
    for name in ("LC_ALL", "LC_MESSAGES", "LANG"):
        monkeypatch.delenv(name, raising=False)
    for name, value in locale.items():
        monkeypatch.setenv(name, value)
    assert reads_english() is english
    assert named("语料", "Corpus") == ("Corpus" if english else "语料")
    assert named("语料", None) == "语料"
    assert named("", "Corpus") == "Corpus"


@pytest.fixture(scope="module")
def hall(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hall]:
    with open_hall(tmp_path_factory.mktemp("hall")) as found:
        yield found


@pytest.fixture
def yaosu(
    hall: Hall, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Terminal]:
    for found in terminal_in(tmp_path, capsys, monkeypatch):
        monkeypatch.setenv("YAOSU_MARKET", hall.address)
        monkeypatch.delenv("LC_ALL", raising=False)
        monkeypatch.delenv("LC_MESSAGES", raising=False)
        yield found


def test_every_command_names_a_corpus_in_the_language_of_the_terminal(
    yaosu: Terminal, hall: Hall, monkeypatch: pytest.MonkeyPatch
) -> None:
    provider = hall.person("lingnan", "provider", uscc=USCC[0])
    buyer = hall.person("model-lab", "buyer")
    descriptor, data = small_corpus(provider, "plain", mode="free")
    descriptor["dataElement"]["titles"] = {"en": "Plain questions"}
    chinese = descriptor["title"]
    provider.upload(data)
    listing = sold_as(hall, provider, descriptor)
    until(lambda: yaosu.ok("search", key=buyer.key)["items"], bool)
    shows = [("search",), ("listing", "show", listing)]
    for locale, wanted, other in [
        ("en_US.UTF-8", "Plain questions", chinese),
        ("zh_CN.UTF-8", chinese, "Plain questions"),
    ]:
        monkeypatch.setenv("LANG", locale)
        for words in shows:
            said = yaosu(*words, key=buyer.key)
            assert said.code == 0, said.err
            assert wanted in said.out, words
            assert other not in said.out, words
        # What a program reads is the same in every locale.
        assert yaosu.ok("search")["items"][0]["card"]["title"] == chinese
        assert yaosu.ok("listing", "show", listing)["title"] == chinese


def test_a_stranger_is_told_how_to_look_at_a_corpus_and_buy_it(yaosu: Terminal, hall: Hall) -> None:
    provider = hall.person("hinting", "provider", uscc=USCC[1])
    listing = offered(hall, provider, "hinted", mode="free")
    said = yaosu("listing", "show", listing)
    assert f"yaosu listing preview {listing}; buy: yaosu buy {listing}" in said.out
    assert "next 下一步" not in said.out
    assert "buy:" not in yaosu("listing", "show", listing, key=provider.key).out


def test_statements_that_are_missing_are_one_line_wherever_they_are_told(
    yaosu: Terminal, tmp_path: Path
) -> None:
    (tmp_path / "rows.csv").write_text("a,b\n1,2\n", "utf-8")
    described = yaosu("describe", tmp_path)
    planned = yaosu("submit", tmp_path, "--dry-run")
    for said in (described, planned):
        assert "/dataElement/docs" in said.out
        assert "/dataElement/docs/basic" not in said.out
        assert "basic/scale" in said.out


def test_a_party_is_called_by_its_name_in_the_language_of_the_terminal(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    party = {"name": "鹏城", "name_en": "Pengcheng"}
    for locale, expected in (("en_GB.UTF-8", "Pengcheng"), ("zh_CN.UTF-8", "鹏城")):
        monkeypatch.setenv("LC_ALL", locale)
        assert called(party) == expected
        assert called({"name": "鹏城", "name_en": ""}) == "鹏城"
