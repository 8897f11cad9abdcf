"""Descriptions of corpora that others made: what a provider would see, and whether it is true."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from yaosu_schemas.documents import check
from yaosu_validators.describe import Description, describe
from yaosu_validators.sandbox import run_in_sandbox

Copy = Callable[[str], Path]


@pytest.fixture
def copy(testdata: Path, tmp_path: Path) -> Copy:
    """Return a writable copy of a corpus, without the notes on where it came from."""

    def make(name: str) -> Path:
        folder = tmp_path / Path(name).name
        if not (testdata / name).is_dir():
            pytest.skip(f"no test data: {name}")
        skipped = shutil.ignore_patterns("_SOURCE.json", "datapackage.*")
        shutil.copytree(testdata / name, folder, ignore=skipped)
        for path in (folder, *folder.rglob("*")):
            path.chmod(0o755 if path.is_dir() else 0o644)
        return folder

    return make


def element(said: Description) -> dict[str, Any]:
    found: dict[str, Any] = said.descriptor["dataElement"]
    return found


def resources(said: Description) -> dict[str, dict[str, Any]]:
    return {resource["name"]: resource for resource in said.descriptor["resources"]}


def errors(said: Description) -> dict[str, str]:
    """Return what the files themselves are blamed for, by code."""
    return {
        p.code: p.en
        for p in said.todo
        if p.severity == "error" and p.pointer.startswith("/resources") and p.code != "missing"
    }


def test_questions_and_answers_with_two_splits(copy: Copy) -> None:
    said = describe(copy("ai/gsm8k"))
    assert element(said)["size"]["records"] == 8792
    assert element(said)["languages"] == ["en"]
    assert element(said)["license_spdx"] == "MIT"
    assert element(said)["form"] == {"content": ["text"], "structure": "semi_structured"}
    assert element(said)["ai"] == {
        "modalities": ["text"],
        "stage": ["instruction_tuning", "evaluation"],
        "splits": [{"name": "train", "records": 7473}, {"name": "test", "records": 1319}],
    }
    assert not errors(said)


def test_preference_pairs_and_a_pointer_that_poses_as_one(copy: Copy) -> None:
    said = describe(copy("ai/hh-rlhf"))
    assert element(said)["size"]["records"] == 2312
    assert element(said)["ai"]["stage"] == ["reinforcement_learning"]
    assert resources(said)["test"]["compression"] == "gz"
    assert "git lfs pull" in errors(said)["lfs-pointer"]


def test_episodes_of_a_robot(copy: Copy) -> None:
    said = describe(copy("ai/lerobot-g1"))
    data = resources(said)["data"]
    assert len(data["parts"]) == 4
    assert data["rows"] == element(said)["size"]["records"] == 479 + 393 + 343 + 459
    assert element(said)["ai"]["modalities"] == ["video", "time_series"]
    assert element(said)["size"]["duration_s"] == pytest.approx(11.434)
    assert resources(said)["episodes"]["role"] == "metadata"


def test_a_hundred_recordings_are_one_resource(copy: Copy) -> None:
    said = describe(copy("ai/fsdd"))
    assert len(resources(said)["recordings"]["path"]) == 100
    assert element(said)["size"]["records"] == 100
    assert element(said)["size"]["duration_s"] == pytest.approx(42.473)
    assert element(said)["form"] == {"content": ["audio"], "structure": "unstructured"}
    assert said.descriptor["title"] == "Free Spoken Digit Dataset (FSDD)"


def test_a_mixed_bag_of_training_sets(copy: Copy) -> None:
    said = describe(copy("ai/llama-factory"))
    found = resources(said)
    assert found["alpaca_zh_demo"]["rows"] == 1000
    assert found["alpaca_en_demo"]["rows"] == 999
    assert element(said)["languages"] == ["en", "zh"]
    assert element(said)["ai"]["modalities"] == ["text", "image", "audio", "video"]
    assert element(said)["ai"]["stage"] == [
        "pretraining", "instruction_tuning", "reinforcement_learning",
    ]  # fmt: skip
    assert set(errors(said)) == {"source-error"}  # a blank line at the end of one file


def test_poems_in_two_scripts(copy: Copy) -> None:
    said = describe(copy("ai/chinese-poetry"))
    assert set(element(said)["languages"]) == {"zh-Hant", "zh"}
    assert "stage" not in element(said)["ai"]
    assert not errors(said)


def test_labels_of_pictures_know_their_number(copy: Copy) -> None:
    splits = element(describe(copy("ai/fashion-mnist")))["ai"]["splits"]
    assert splits == [{"name": "train", "records": 60_000}, {"name": "test", "records": 10_000}]


def test_programs_are_code(copy: Copy) -> None:
    ai = element(describe(copy("ai/human-eval")))["ai"]
    assert ai == {"modalities": ["text", "code"], "stage": ["evaluation"]}


def test_wrong_suffixes_are_told(copy: Copy) -> None:
    said = describe(copy("ai/data-juicer"))
    wrong = [p.en for p in said.todo if p.code == "format-mismatch"]
    assert len(wrong) == 2
    assert "image" in element(said)["ai"]["modalities"]  # inside the cells of a Parquet file


def test_published_tables(copy: Copy) -> None:
    gdp = describe(copy("frictionless/datasets/gdp"))
    fields = resources(gdp)["gdp"]["schema"]["fields"]
    assert [f["type"] for f in fields] == ["string", "string", "year", "number"]
    assert element(gdp)["form"] == {"content": ["table"], "structure": "structured"}
    assert "languages" not in element(gdp)
    co2 = describe(copy("frictionless/datasets/co2-ppm"))
    assert {p.code for p in co2.todo if p.severity == "warning"} >= {"ragged-rows"}
    assert element(co2)["ai"]["modalities"] == ["time_series"]


SOUND = (
    "ai/chinese-vicuna", "ai/chinese-xinhua", "ai/chinese-poetry", "ai/coco", "ai/data-juicer",
    "ai/fashion-mnist", "ai/fsdd", "ai/gsm8k", "ai/hf-datasets-fixtures", "ai/human-eval",
    "ai/lerobot-g1", "ai/self-instruct", "ai/webdataset", "edge/csv-spectrum",
    "frictionless/datasets/airport-codes", "frictionless/datasets/country-codes",
    "frictionless/datasets/currency-codes", "frictionless/datasets/gdp",
    "frictionless/datasets/global-temp", "frictionless/datasets/language-codes",
    "frictionless/datasets/population", "frictionless/datasets/s-and-p-500-companies",
)  # fmt: skip


@pytest.mark.parametrize("name", SOUND)
def test_what_is_described_holds_when_it_is_judged(copy: Copy, name: str) -> None:
    folder = copy(name)
    said = describe(folder)
    assert [p for p in check(said.descriptor) if p.severity == "error"] == []
    text = json.dumps(said.descriptor, ensure_ascii=False)
    (folder / "datapackage.json").write_text(text, encoding="utf-8")
    report = run_in_sandbox("validate", target=folder)
    assert report["valid"], [e["message"] for t in report["tasks"] for e in t["errors"]][:5]
    again = describe(folder, said.descriptor)
    assert (again.descriptor, again.changed) == (said.descriptor, [])


@pytest.mark.parametrize("name", ["edge/json-parsing", "edge/blns", "frictionless/frictionless-py"])
def test_bad_files_never_break_a_description(copy: Copy, name: str) -> None:
    said = run_in_sandbox("describe", target=copy(name), args={"name": "edge"})
    assert "error" not in said
    assert said["descriptor"]["resources"]
    json.dumps(said, allow_nan=False)
