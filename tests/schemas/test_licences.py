"""Licences: expressions as SPDX has them, other spellings named, traps of a resale shown."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from packaging.licenses import InvalidLicenseExpression, canonicalize_license_expression

from yaosu_schemas import licences
from yaosu_schemas.codes import code_list
from yaosu_schemas.errors import InvalidInput

IDS = code_list("spdx").codes


def theirs(expression: str) -> str | None:
    try:
        return str(canonicalize_license_expression(expression))
    except InvalidLicenseExpression:
        return None


@pytest.mark.parametrize(
    "expression",
    ["MIT", "mit", "CC-BY-4.0 AND ODbL-1.0", "MIT OR Apache-2.0", "(MIT OR CC0-1.0) AND PDDL-1.0",
     "GPL-2.0-only WITH Classpath-exception-2.0", "GPL-2.0+", "LicenseRef-GF-2025-2615",
     "MIT AND LicenseRef-a.b-1 OR CC-BY-SA-4.0", "((MIT))"],
)  # fmt: skip
def test_expressions_are_read_as_a_second_implementation_reads_them(expression: str) -> None:
    assert licences.known(expression)
    assert theirs(expression) is not None
    assert theirs(licences.canonical(expression)) == licences.canonical(expression)


@pytest.mark.parametrize(
    "expression",
    ["", " ", "MIT AND", "AND MIT", "(MIT", "MIT)", "MIT MIT", "ODC-PDDL-1.0", "CC-BY", "no such",
     "MIT WITH", "MIT WITH nothing", "LicenseRef-", "LicenseRef-a_b", "MIT OR OR MIT", "()",
     "(" * 5000, "MIT AND " * 5000, "许可"],
)  # fmt: skip
def test_what_is_no_expression_is_refused_in_both_languages(expression: str) -> None:
    assert not licences.known(expression)
    with pytest.raises(InvalidInput) as caught:
        licences.parse(expression)
    assert caught.value.zh
    assert len(caught.value.en) < 300


@given(st.lists(st.sampled_from([*IDS[::20], "AND", "OR", "WITH", "(", ")", "LicenseRef-x", "zz"]),
                max_size=7))  # fmt: skip
def test_any_row_of_words_is_judged_as_by_a_second_implementation(words: list[str]) -> None:
    expression = " ".join(words)
    assert licences.known(expression) == (theirs(expression) is not None)


def test_every_id_of_the_list_is_known_in_any_case() -> None:
    assert len(IDS) == 699
    for name in IDS:
        assert licences.canonical(name.upper()) == name


def test_other_spellings_are_translated() -> None:
    assert licences.from_open_definition("ODC-PDDL-1.0") == "PDDL-1.0"
    assert licences.from_open_definition("odc-by") == "ODC-By-1.0"
    assert licences.from_open_definition("CC-BY-4.0") == "CC-BY-4.0"
    assert licences.from_open_definition("other-closed") is None


def test_another_spelling_is_told_the_right_one() -> None:
    with pytest.raises(InvalidInput, match=r"write PDDL-1\.0"):
        licences.parse("ODC-PDDL-1.0")


def findings(expression: str, *rights: str, derived: bool = False) -> set[tuple[str, str]]:
    return {
        (p.code, p.severity) for p in licences.resale_findings(expression, rights, derived=derived)
    }


@pytest.mark.parametrize(
    ("expression", "expected"),
    [("CC-BY-4.0", set()),
     ("CC0-1.0", set()),
     ("CC-BY-NC-4.0", {("licence_non_commercial", "error")}),
     ("CC-BY-NC-3.0-DE", {("licence_non_commercial", "error")}),
     ("CC-BY-SA-4.0", {("licence_share_alike", "warning")}),
     ("ODbL-1.0", {("licence_share_alike", "warning")}),
     ("CDLA-Sharing-1.0", {("licence_share_alike", "warning")}),
     ("CC-BY-ND-4.0", {("licence_no_derivatives", "error")}),
     ("CC-BY-NC-ND-4.0", {("licence_non_commercial", "error"),
                          ("licence_no_derivatives", "error")}),
     ("C-UDA-1.0", {("licence_computational", "warning")}),
     ("LicenseRef-GF-2025-2615", {("licence_review", "warning")}),
     ("MIT AND CC-BY-NC-4.0", {("licence_non_commercial", "error")}),
     ("MIT OR CC-BY-NC-4.0", set()),
     ("nonsense", {("licence_unknown", "error")})],
)  # fmt: skip
def test_the_traps_of_a_resale(expression: str, expected: set[tuple[str, str]]) -> None:
    assert findings(expression, "use", "operate", derived=True) == expected


def test_a_condition_that_is_not_touched_blocks_nothing() -> None:
    assert findings("CC-BY-NC-4.0", "hold", "use") == set()
    assert findings("CC-BY-ND-4.0", "operate") == set()
