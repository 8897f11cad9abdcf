"""Official numbers: every published example judged right, and no valid number survives a slip."""

from __future__ import annotations

import json
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stdnum import luhn as stdnum_luhn
from stdnum.cn import ric as stdnum_ric
from stdnum.cn import uscc as stdnum_uscc

from yaosu_schemas import identifiers

USCC_ALPHABET = "0123456789ABCDEFGHJKLMNPQRTUWXY"
ORG_WEIGHTS = (3, 7, 9, 10, 5, 8, 4, 2)


@pytest.fixture(scope="session")
def vectors(testdata: Path) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = json.loads(
        (testdata / "china" / "vectors" / "cn_vectors.json").read_text("utf-8")
    )
    return found


def organisation_code(eight: str) -> str:
    check = 11 - sum(int(c, 36) * w for c, w in zip(eight, ORG_WEIGHTS, strict=True)) % 11
    return eight + {10: "X", 11: "0"}.get(check, str(check))


def credit_code(head: str, eight: str) -> str:
    body = head + organisation_code(eight)
    total = sum(USCC_ALPHABET.index(c) * pow(3, i, 31) for i, c in enumerate(body))
    return body + USCC_ALPHABET[-total % 31]


credit_codes = st.builds(
    credit_code,
    st.builds(
        "{}{}{}".format,
        st.sampled_from("123456789ANY"),
        st.sampled_from(USCC_ALPHABET),
        st.text("0123456789", min_size=6, max_size=6),
    ),
    st.text(USCC_ALPHABET, min_size=8, max_size=8),
)


def identity(region: str, birth: date, serial: int) -> str:
    body = f"{region}{birth:%Y%m%d}{serial:03d}"
    weights = (7, 9, 10, 5, 8, 4, 2, 1, 6, 3, 7, 9, 10, 5, 8, 4, 2)
    return body + "10X98765432"[sum(int(c) * w for c, w in zip(body, weights, strict=True)) % 11]


identity_numbers = st.builds(
    identity,
    st.sampled_from(["110105", "440100", "440300", "440304", "650102", "810000"]),
    st.dates(date(1900, 1, 1), date(2026, 12, 31)),
    st.integers(0, 999),
)


# --- unified social credit code ----------------------------------------------------------------


def test_every_published_credit_code_is_judged_right(
    vectors: dict[str, list[dict[str, Any]]],
) -> None:
    rows = vectors["uscc_gb32100"]
    wrong = [r for r in rows if identifiers.uscc(r["value"]).valid != r["upstream_expected"]]
    assert len(rows) >= 105
    assert wrong == []


@pytest.mark.parametrize(
    "code",
    ["91350100M000100Y43", "91440300MA5FAKE086", "91440300MA9DEMX01N", "91440300MB2XQ00142"],
)
def test_a_good_credit_code_passes_without_a_warning(code: str) -> None:
    assert identifiers.uscc(code) == identifiers.Verdict(True)


@pytest.mark.parametrize("code", ["91440300MA5FAKE0X7", "91440101MA9XXXXX0W"])
def test_a_broken_inner_code_is_a_warning_and_no_refusal(code: str) -> None:
    verdict = identifiers.uscc(code)
    assert verdict.valid
    assert len(verdict.warnings) == 1


@pytest.mark.parametrize(
    "code",
    ["", "91350100M000100Y4Z", "91440300MA5TEST01X", "91350100m000100y43", "91350100M000100Y42",
     "91350100M000100Y4", "91350100M000100Y433", "９1350100M000100Y43", "91350100M000100Y43\n"],
)  # fmt: skip
def test_a_bad_credit_code_is_refused_in_both_languages(code: str) -> None:
    verdict = identifiers.uscc(code)
    assert not verdict.valid
    assert verdict.problem is not None
    assert verdict.problem.en
    assert verdict.problem.zh


@given(credit_codes)
def test_whatever_is_built_by_the_standard_passes(code: str) -> None:
    assert identifiers.uscc(code) == identifiers.Verdict(True)
    # The second implementation knows no department or category that is a letter.
    assert stdnum_uscc.is_valid(code) == code[:2].isdigit()


@given(credit_codes, st.integers(0, 17), st.sampled_from(USCC_ALPHABET))
def test_one_wrong_character_never_passes(code: str, at: int, other: str) -> None:
    slip = code[:at] + other + code[at + 1 :]
    assert identifiers.uscc(slip).valid == (slip == code)


@given(
    st.text("0123456789", min_size=8, max_size=8),
    st.text(USCC_ALPHABET + "IOSVZ", min_size=9, max_size=9),
    st.sampled_from(USCC_ALPHABET),
)
def test_it_agrees_with_a_second_implementation(head: str, body: str, last: str) -> None:
    code = head + body + last
    right = head[0] != "0" and stdnum_uscc.is_valid(code)
    assert identifiers.uscc(code).valid == right


@given(st.text(max_size=40))
def test_no_text_makes_a_judge_fail(text: str) -> None:
    for judge in (
        identifiers.uscc,
        identifiers.identity_number,
        identifiers.certificate_number,
        identifiers.luhn,
        identifiers.contract_number,
    ):
        verdict = judge(text)
        assert verdict.valid == (verdict.problem is None)


# --- resident identity number ------------------------------------------------------------------


def test_every_published_identity_number_is_judged_right(
    vectors: dict[str, list[dict[str, Any]]],
) -> None:
    rows = vectors["resident_id_gb11643"]
    assert len(rows) >= 11
    wrong = [
        r
        for r in rows
        if identifiers.identity_number(r["value"]).valid != r["check_digit_and_date_ok"]
    ]
    assert wrong == []


@pytest.mark.parametrize(
    "number", ["11010519491231002X", "11010519491231002x", "440100199001010015",
               "440300200002290123"]
)  # fmt: skip
def test_a_good_identity_number_passes(number: str) -> None:
    assert identifiers.identity_number(number).valid


@pytest.mark.parametrize(
    "number",
    ["11010519491231002Y", "110105194912310021", "440300199913990010", "440300199002290128",
     "999999199001010016", "110105491231002", "１1010519491231002X", ""],
)  # fmt: skip
def test_a_bad_identity_number_is_refused(number: str) -> None:
    assert not identifiers.identity_number(number).valid


@given(identity_numbers)
def test_whatever_is_built_by_the_rule_is_an_identity_number(number: str) -> None:
    assert identifiers.identity_number(number).valid


@given(identity_numbers, st.integers(0, 17), st.sampled_from("0123456789"))
def test_one_wrong_digit_never_makes_an_identity_number(number: str, at: int, other: str) -> None:
    slip = number[:at] + other + number[at + 1 :]
    assert identifiers.identity_number(slip).valid == (slip == number)


@given(identity_numbers)
def test_the_second_implementation_accepts_known_regions_too(number: str) -> None:
    # It also asks its table of counties, so it is only asked for its check character.
    assert stdnum_ric.calc_check_digit(number) == number[-1]


# --- the others --------------------------------------------------------------------------------


def test_certificate_numbers_of_the_national_rule() -> None:
    assert identifiers.certificate_number("SJ4412026090001").valid
    assert identifiers.certificate_number("SJ0012026120001").valid
    for bad in ("SJ4412026130001", "SJ4412026090000", "SJ441202609001", "sj4412026090001", ""):
        assert not identifiers.certificate_number(bad).valid


@pytest.mark.parametrize(
    ("number", "good"),
    [("6222020000000000000", True), ("622848000000000007", True), ("4000000000000002", True),
     ("6217001234567890122", True), ("6217001234567890123", False), ("490154203237518", True),
     ("4 000", False), ("", False)],
)  # fmt: skip
def test_luhn_examples(number: str, good: bool) -> None:
    assert identifiers.luhn(number).valid is good


@given(st.text("0123456789", min_size=2, max_size=19))
def test_luhn_agrees_with_a_second_implementation(number: str) -> None:
    assert identifiers.luhn(number).valid == stdnum_luhn.is_valid(number)


def test_a_contract_number_is_judged_by_its_shape_alone() -> None:
    number = "C3" + "91440300MA5FAKE086" + "4403" + "20261123083000" + "ABCD1234" + "7"
    assert len(number) == 47
    assert identifiers.contract_number(number).valid
    assert identifiers.contract_number(number[:-1] + "8").valid
    assert not identifiers.contract_number(number.replace("20261123", "20261323")).valid
    assert not identifiers.contract_number(number[:-1]).valid
