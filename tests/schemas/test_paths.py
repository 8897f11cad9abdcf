"""File names and words of strangers: nothing leaves the folder, hides or deceives."""

from __future__ import annotations

import contextlib
import json
import unicodedata
from pathlib import Path, PurePosixPath

import pytest
from hypothesis import given
from hypothesis import strategies as st

from yaosu_schemas.errors import UnsafePath
from yaosu_schemas.paths import collisions, is_remote, safe_path
from yaosu_schemas.texts import clip, text_problem


@pytest.mark.parametrize(
    "path", ["data.csv", "data/a b.csv", "数据/训练集.jsonl", "a/b/c..d", "x-1_2~"]
)
def test_a_plain_relative_path_passes(path: str) -> None:
    assert safe_path(path) == path


@pytest.mark.parametrize(
    "path",
    ["", "/etc/passwd", "../x", "a/../b", "a/..", "./a", "a/./b", "a//b", "a/", ".git/config",
     "a/.hidden", "a\\b", "C:\\x", "C:/x", "a:b", "a\x00b", "a\nb", "a\u202eb", "\ud800",
     "http://x/y", "HTTPS://x/y", "file:///etc/passwd", "//host/share", "\\\\host\\share",
     "s3://b/k", "x" * 256, "/".join(["x" * 200] * 6), "a/\u200b/b", "a/ /b", "~/../x/..",
     "a\u2028b", "data:text/csv,a"],
)  # fmt: skip
def test_a_path_that_leaves_hides_or_deceives_is_refused(path: str) -> None:
    with pytest.raises(UnsafePath) as caught:
        safe_path(path)
    assert caught.value.en
    assert caught.value.zh
    assert len(caught.value.en) < 400


def test_two_spellings_of_a_letter_become_one() -> None:
    assert safe_path("e\u0301.csv") == "\u00e9.csv"


@given(st.text(max_size=60))
def test_whatever_passes_stays_inside_its_folder(text: str) -> None:
    try:
        path = safe_path(text)
    except UnsafePath:
        return
    assert safe_path(path) == path
    assert unicodedata.is_normalized("NFC", path)
    inside = Path("/srv/store").joinpath(*PurePosixPath(path).parts)
    assert not PurePosixPath(path).is_absolute()
    assert inside.is_relative_to("/srv/store")
    assert inside != Path("/srv/store")
    assert ".." not in inside.parts
    assert not any(part.startswith(".") for part in PurePosixPath(path).parts)
    assert not is_remote(path)


def test_naughty_strings_never_crash_the_gates(testdata: Path) -> None:
    rows = json.loads((testdata / "edge" / "blns" / "blns.json").read_text("utf-8"))
    assert len(rows) > 400
    for row in rows:
        text_problem(row)
        assert len(clip(row)) <= 80
        with contextlib.suppress(UnsafePath):
            assert safe_path(row)


def test_names_that_a_file_system_confuses_are_found() -> None:
    assert collisions(["a.csv", "A.CSV", "b.csv", "\uff42.csv", "a.csv"]) == [
        ("a.csv", "A.CSV"),
        ("b.csv", "\uff42.csv"),
    ]
    assert collisions(["a", "b", "a"]) == []


@pytest.mark.parametrize(
    "text",
    ["a\x00", "a\x1b[31m", "\ud800", "a\u202eb", "\u2066", "\u200b\u200d", "   ", "\x85"],
)  # fmt: skip
def test_words_that_deceive_are_refused(text: str) -> None:
    problem = text_problem(text)
    assert problem is not None
    assert problem.en
    assert problem.zh


@pytest.mark.parametrize(
    "text", ["", "plain", "两行\n文字\t。", "👩‍👩‍👧 family", "עברית", "e\u0301"]
)
def test_words_of_every_script_pass(text: str) -> None:
    assert text_problem(text) is None


def test_a_line_break_may_not_stand_in_a_key() -> None:
    assert text_problem("a\nb") is None
    assert text_problem("a\nb", layout=False) is not None


@given(st.text(max_size=300))
def test_what_is_shown_of_a_value_is_one_short_printable_line(text: str) -> None:
    shown = clip(text)
    assert len(shown) <= 80
    assert all(c.isprintable() for c in shown)
