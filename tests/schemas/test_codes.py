"""Code lists: each has an origin, both names, and the facts it is known for."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from yaosu_schemas import codes
from yaosu_schemas.errors import NotFound

FOLDER = Path(codes.__file__).parent / "codes"
NAMES = codes.names()


def test_every_list_stands_in_the_index_and_the_other_way_round() -> None:
    files = {f.stem for f in FOLDER.glob("*.csv")} - {"index"}
    assert files == set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_a_list_says_where_it_comes_from(name: str) -> None:
    found = codes.code_list(name)
    assert found.source
    assert found.version
    assert found.mark in {"F", "R", "D", "X"}
    assert found.title.en
    assert found.title.zh


@pytest.mark.parametrize("name", NAMES)
def test_codes_are_unique_and_have_both_names(name: str) -> None:
    found = codes.code_list(name)
    assert len(found.codes) == len(found) > 0
    for entry in found:
        assert entry.code == entry.code.strip() != ""
        assert entry.en.strip()
        assert entry.zh.strip()


@pytest.mark.parametrize("name", [*NAMES, "index"])
def test_a_file_is_tidy(name: str) -> None:
    data = (FOLDER / f"{name}.csv").read_bytes()
    assert b"\r" not in data
    assert data.endswith(b"\n")
    rows = list(csv.reader(data.decode("utf-8").splitlines()))
    assert {len(row) for row in rows} == {len(rows[0])}


def test_an_unknown_list_names_those_that_exist() -> None:
    with pytest.raises(NotFound) as caught:
        codes.code_list("colours")
    assert "modality" in caught.value.en
    assert "modality" in caught.value.zh
    with pytest.raises(NotFound):
        codes.code_list("../../etc/passwd")


def test_the_industries_follow_their_ranges() -> None:
    industry = codes.code_list("industry")
    ranges = ("A01-05 B06-12 C13-43 D44-46 E47-50 F51-52 G53-60 H61-62 I63-65 J66-69 K70-70 "
              "L71-72 M73-75 N76-79 O80-82 P83-83 Q84-85 R86-90 S91-96 T97-97")  # fmt: skip
    expected = [
        f"{span[0]}{n:02d}"
        for span in ranges.split()
        for n in range(int(span[1:3]), int(span[4:6]) + 1)
    ]
    assert [e.code for e in industry if e["level"] == "division"] == expected
    assert [e.code for e in industry if e["level"] == "section"] == list("ABCDEFGHIJKLMNOPQRST")


def test_the_divisions_hold_together() -> None:
    division = codes.code_list("division")
    assert division["440300"].zh == "深圳市"
    assert division["440100"].en == "Guangzhou"
    assert division["440000"]["level"] == "province"
    assert sum(e["level"] == "province" for e in division) == 34
    assert sum(e.code[:2] == "44" and e["level"] == "city" for e in division) == 21
    for entry in division:
        assert len(entry.code) == 6
        parent = entry["parent"]
        assert (parent == "") == (entry["level"] == "province")
        assert not parent or parent in division


@pytest.mark.parametrize(
    ("name", "size"),
    [("rights", 3), ("dex12", 12), ("hq_field", 24), ("risk", 31), ("modality", 8), ("stage", 4),
     ("listing_state", 11), ("trade_state", 16), ("contract_template", 5), ("role", 9),
     ("docs_element", 20), ("sensitive_type", 7)],
)  # fmt: skip
def test_lists_have_the_size_of_their_source(name: str, size: int) -> None:
    assert len(codes.code_list(name)) == size


def test_the_risks_come_in_five_groups() -> None:
    groups = [e["group"] for e in codes.code_list("risk")]
    assert [groups.count(g) for g in ("A1", "A2", "A3", "A4", "A5")] == [8, 9, 5, 7, 2]


def test_the_rights_have_two_names_in_time() -> None:
    rights = codes.code_list("rights")
    assert rights["use"].zh == "数据使用权"
    assert rights["use"]["policy2022"] == "数据加工使用权"


def test_a_mistyped_code_is_guessed_in_either_language() -> None:
    modality = codes.code_list("modality")
    assert modality.near("图象") == ["image"]
    assert modality.near("vidoe")[0] == "video"
    assert codes.code_list("hq_field").near("具身") == ["embodied"]


def test_an_open_list_takes_a_new_code_but_no_typo() -> None:
    rights = codes.code_list("rights")
    assert rights.open
    assert rights.allows("benefit")
    assert not rights.allows("opperate")
    assert not codes.code_list("modality").allows("smell")


def test_a_code_outside_a_list_names_itself() -> None:
    assert codes.code_list("modality").text("smell") == ("smell", "smell")
