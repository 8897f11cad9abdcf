"""Single values: days, times, versions, tags and addresses as their standards write them."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from yaosu_schemas import documents
from yaosu_schemas.formats import FORMATS, parse_date_time

CASES = {
    "date": (
        ["2026-11-23", "2024-02-29"],
        ["2026-02-29", "2026-1-1", "20261123", "2026-11-23T00:00:00Z", "２026-11-23", "0000-01-01"],
    ),
    "date-time": (
        ["2026-11-23T08:30:00Z", "2026-11-23t08:30:00.123456789+08:00", "2016-12-31T23:59:60Z"],
        ["2026-11-23T08:30:00", "2026-11-23 08:30:00Z", "2026-11-23T24:00:00Z",
         "2026-11-23T08:60:00Z", "2026-11-23T08:30:61Z", "2026-11-23T08:30:00+0800",
         "2026-11-23T08:30Z", "2026-13-01T00:00:00Z", "2026-11-23T08:30:00+24:00"],
    ),
    "uri": (["urn:uuid:1", "https://x/y?z#a", "doi:10.1/x"], ["x", "/a", "http://a b", "1x:y"]),
    "link": (
        ["http://x", "https://例子.example/数据?a=1", "HTTPS://x.y:8080/"],
        ["ftp://x", "javascript:alert(1)", "//x", "http://", "http://u@x/", "https://x y"],
    ),
    "address": (
        ["docs/a.md", "https://x", "LICENCE"],
        ["javascript:1", " JAVASCRIPT:1", "data:text/html,x", "vbscript:x", "\tjavascript :1",
         "file:///etc/passwd"],
    ),
    "email": (["a.b@example.com", "数据@例子.中国"], ["a", "a@b", "a b@c.d", "@x.y", "a@@b.cd"]),
    "language": (
        ["zh", "zh-Hans", "zh-Hans-CN", "yue-Hant-HK", "en-US", "de-CH-1996", "zh-cmn-Hans-CN",
         "sl-rozaj-biske", "en-a-bbb-x-a-ccc", "es-419"],
        ["", "chinese language", "z", "zh_CN", "zh-", "-zh", "zh--CN", "abcdefghij", "中文"],
    ),
    "semver": (
        ["0.0.0", "1.2.3", "1.0.0-alpha.1", "1.0.0+build.5", "1.0.0-0a.x-y+z"],
        ["1", "1.0", "v1.0.0", "01.0.0", "1.0.0-", "1.0.0-01", "1.0.0+", "1.0.0 ", "1.0.0\n"],
    ),
    "decimal": (["0", "0.06", "12", "1.0"], ["6%", ".5", "1.", "-1", "1e3", "01", "", "1,5"]),
    "digest": (["sha256:" + "0a" * 32], ["sha256:" + "0A" * 32, "0a" * 32, "md5:" + "0a" * 16, ""]),
    "spdx": (["MIT", "LicenseRef-x"], ["", "ODC-PDDL-1.0", "MIT OR"]),
    "uscc": (["91440300MA5FAKE086"], ["91440300MA5FAKE087", ""]),
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(CASES))
def test_a_format_takes_what_it_names_and_nothing_else(name: str) -> None:
    good, bad = CASES[name]
    judge = FORMATS[name].judge
    assert [v for v in good if not judge(v)] == []
    assert [v for v in bad if judge(v)] == []


@pytest.mark.parametrize("name", sorted(FORMATS))
def test_a_format_explains_itself_in_both_languages(name: str) -> None:
    assert FORMATS[name].text.en
    assert FORMATS[name].text.zh


@given(st.datetimes(datetime(1, 1, 2), datetime(9999, 12, 30), timezones=st.just(UTC)))
def test_every_time_of_ours_is_read_back(at: datetime) -> None:
    text = at.isoformat(timespec="microseconds").replace("+00:00", "Z")
    assert FORMATS["date-time"].judge(text)
    assert parse_date_time(text) == at


def test_a_leap_second_and_long_fractions_are_read() -> None:
    assert parse_date_time("2016-12-31T23:59:60Z") == datetime(2016, 12, 31, 23, 59, 59, tzinfo=UTC)
    assert parse_date_time("2026-01-01T08:00:00.1234567891+08:00") - datetime(
        2026, 1, 1, tzinfo=UTC
    ) == timedelta(microseconds=123456)


@pytest.mark.parametrize("name", sorted(FORMATS))
@pytest.mark.parametrize(
    "unit", ["a", "1", "-", "a-", "1.", "a.", "@", "(", "a b ", "x-aaaaa-", "\t"]
)
def test_no_text_makes_a_format_slow(name: str, unit: str) -> None:
    text = unit * (10_000 // len(unit))
    start = time.perf_counter()
    FORMATS[name].judge(text)
    FORMATS[name].judge("1.0.0-" + text + "!")
    assert time.perf_counter() - start < 1


@pytest.mark.parametrize("version", ["1.0", "2.0"])
def test_the_example_is_a_data_package_by_the_published_profile(
    testdata: Path, version: str
) -> None:
    from jsonschema import validators

    folder = testdata / "frictionless" / "datapackage-spec" / "public" / "profiles" / version
    profile = json.loads((folder / "datapackage.json").read_text("utf-8"))
    example = documents.example()
    example["homepage"] = "https://example.org"
    judge = validators.validator_for(profile)(profile)
    errors = [e.message for e in judge.iter_errors(example)]
    assert errors == []
