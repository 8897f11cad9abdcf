"""Labels: their spread, agreement and noise, against second opinions and real label files."""

from __future__ import annotations

import json
import math
import pickle
from collections import Counter
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from yaosu_validators import validate
from yaosu_validators.corpus.labels import Agreement, Labels, balance, disagreement
from yaosu_validators.corpus.view import About, Places, View
from yaosu_validators.corpus.views import _labels

CHECKS = ["structure", "corpus.labels"]
ABOUT = About("a", "text")


def view_of(records: list[dict[str, Any]], first: int = 0) -> View:
    """Return a view that holds labels alone: every field of the records is one."""
    count = len(records)
    names = sorted({name for record in records for name in record})
    return View(
        positions=np.arange(first, first + count),
        starts=np.zeros(count + 1, np.int64),
        texts=pa.array([], pa.large_string()),
        roles=np.zeros(0, np.uint8),
        fields=np.zeros(0, np.int32),
        turns=np.zeros(0, np.int32),
        names=(),
        labels={name: _labels(records, name) for name in names},
    )


def judged(records: list[dict[str, Any]], **options: Any) -> Any:
    check = Labels(**options)
    state = check.observe(check.start(ABOUT), view_of(records))
    return check.conclude([(ABOUT, state)], Places({"a": np.zeros(1, np.int64)}))


def test_the_published_example_of_a_distribution_comes_out() -> None:
    told = balance([("a", 50), ("b", 30), ("c", 20)])
    assert round(told["entropy"], 4) == 0.9372
    assert round(told["simpson"], 12) == 0.62
    assert told["ratio"] == 2.5
    assert balance([("a", 4), ("b", 4)]) == {
        "entropy": 1.0, "simpson": 0.5, "ratio": 1.0, "divergence": 0.0,
    }  # fmt: skip
    assert balance([("a", 9)])["entropy"] == 0.0


def test_krippendorff_s_own_example_of_nominal_data_comes_out() -> None:
    # Krippendorff (2011), Computing Krippendorff's Alpha-Reliability, section C: four observers.
    table = """
        1 2 3 3 2 1 4 1 2 . . .
        1 2 3 3 2 2 4 1 2 5 . 3
        . 3 3 3 2 3 4 2 2 5 1 .
        1 2 3 3 2 4 4 1 2 5 1 ."""
    rows = [line.split() for line in table.strip().splitlines()]
    told = Agreement()
    for unit in zip(*rows, strict=True):
        told.add([value for value in unit if value != "."], None)
    alpha = told.alpha()
    assert alpha is not None
    assert round(alpha, 3) == 0.743


def test_kappa_of_two_annotators_is_that_of_the_textbook() -> None:
    # 20 yes-yes, 5 yes-no, 10 no-yes, 15 no-no: observed 0.7, by chance 0.5.
    pairs = [("yes", "yes")] * 20 + [("yes", "no")] * 5 + [("no", "yes")] * 10 + [("no", "no")] * 15
    records = [{"annotator_1": a, "annotator_2": b} for a, b in pairs]
    (seen,) = judged(records).evidence["resources"]
    (agreement,) = seen["agreement"]
    assert agreement["fields"] == "annotator_1 annotator_2"
    assert agreement["kappa"] == pytest.approx(0.4)
    assert (agreement["records"], agreement["conflicting"]) == (50, 15)


def test_two_names_of_one_label_are_no_two_annotators() -> None:
    records = [{"label_id": "1", "label_text": "cat"}, {"label_id": "2", "label_text": "dog"}]
    (seen,) = judged(records).evidence["resources"]
    assert seen["agreement"] == []


UNITS = st.lists(st.lists(st.sampled_from("abc"), max_size=4), min_size=1, max_size=12)


@given(UNITS)
def test_alpha_is_that_of_the_coincidences_of_all_pairs(units: list[list[str]]) -> None:
    told = Agreement()
    pairs: Counter[tuple[str, str]] = Counter()
    for unit in units:
        told.add(unit, None)
        for a, b in permutations(unit, 2) if len(unit) > 1 else ():
            pairs[a, b] += 12 // (len(unit) - 1)  # a common multiple, so that all is whole
    n = sum(pairs.values())
    margins = Counter[str]()
    for (a, _), times in pairs.items():
        margins[a] += times
    observed = sum(times for (a, b), times in pairs.items() if a != b)
    expected = n * n - sum(v * v for v in margins.values())
    if not expected:
        assert told.alpha() is None
        return
    whole = n // 12
    alpha = 1 - (whole - 1) * (observed / 12) / (expected / 144)
    assert told.alpha() == pytest.approx(alpha)


def test_rare_classes_missing_labels_and_free_text_are_told() -> None:
    records = [{"label": "a"}] * 40 + [{"label": "b"}] * 3 + [{"label": ""}, {"label": None}]
    came = judged(records)
    (seen,) = came.evidence["resources"]
    (told,) = seen["fields"]
    assert (told["classes"], told["rare"], told["labelled"], told["records"]) == (2, 1, 43, 45)
    assert told["counts"] == [{"label": "a", "records": 40}, {"label": "b", "records": 3}]
    assert [(f.type, f.row) for _, f in came.findings] == [
        ("missing-label", 43), ("missing-label", 44),
    ]  # fmt: skip
    by_id = {m.id: m for m in came.metrics}
    assert (by_id["iso5259:Com-ML-5"].numerator, by_id["iso5259:Com-ML-5"].denominator) == (43, 45)
    assert by_id["own:imbalance"].value == pytest.approx(40 / 3)
    free = judged([{"label": f"text {n}"} for n in range(50)], classes=20)
    assert free.evidence["resources"][0]["fields"][0]["classes"] is None


def test_names_of_classes_are_told_only_where_they_are_few_and_short() -> None:
    secret = "a whole sentence that someone wrote into the label field, which is no name of a class"
    assert secret not in json.dumps(judged([{"label": secret}, {"label": "a"}]).evidence)
    many = judged([{"label": f"class {n}"} for n in range(101)])
    assert "class 7" not in json.dumps(many.evidence)
    assert many.evidence["resources"][0]["fields"][0]["classes"] == 101


VALUES = st.one_of(st.sampled_from(["a", "b", "", "c" * 80]), st.none(), st.text(max_size=3))
RECORDS = st.lists(
    st.fixed_dictionaries({
        "label": VALUES, "label_2": VALUES, "votes": st.lists(st.sampled_from("xyz"), max_size=4),
    }),
    max_size=14,
)  # fmt: skip


@given(RECORDS, st.lists(st.integers(0, 14), max_size=3), st.booleans())
@settings(max_examples=60, deadline=None)
def test_any_way_to_cut_the_records_gives_the_same_conclusion(
    records: list[dict[str, Any]], cuts: list[int], leftmost: bool
) -> None:
    check = Labels(listed=3, classes=4)

    def fold(some: list[dict[str, Any]], first: int) -> Any:
        start = check.start(ABOUT)
        return check.observe(start, view_of(some, first)) if some else start

    count = len(records)
    bounds = sorted({0, count, *(min(c, count) for c in cuts)})
    parts = [fold(records[a:b], a) for a, b in zip(bounds, bounds[1:], strict=False)]
    parts = [pickle.loads(pickle.dumps(part)) for part in parts or [fold([], 0)]]
    while len(parts) > 1:
        at = 0 if leftmost else len(parts) - 2
        parts[at : at + 2] = [check.merge(parts[at], parts[at + 1])]
    places = Places({"a": np.zeros(1, np.int64)})
    whole = check.conclude([(ABOUT, fold(records, 0))], places)
    assert check.conclude([(ABOUT, parts[0])], places) == whole


def test_label_noise_is_disagreement_within_clusters_of_near_duplicates() -> None:
    labels = ["a", "a", "b", None, "c", "c", "d"]
    clusters = [np.array([0, 1, 2]), np.array([3, 4]), np.array([4, 5])]
    found = disagreement(clusters, labels)
    assert (found.items, found.agreeing, found.clusters) == (5, 4, (0,))
    assert found.consistency == 0.8
    assert disagreement([], labels).consistency is None


def test_the_labels_of_fashion_mnist_are_ten_even_classes(testdata: Path, tmp_path: Path) -> None:
    import gzip

    (path,) = (testdata / "ai/fashion-mnist").rglob("t10k-labels-idx1-ubyte.gz")
    labels = np.frombuffer(gzip.decompress(path.read_bytes())[8:], np.uint8)
    rows = [
        "text,label",
        *(f"picture {n} of the test set,{label}" for n, label in enumerate(labels)),
    ]
    (tmp_path / "labels.csv").write_text("\n".join(rows) + "\n", encoding="utf-8")
    report = validate(tmp_path / "labels.csv", checks=CHECKS)
    by_id = {m.id: m for m in report.metrics}
    assert by_id["tc609:0301"].value == 1.0
    assert by_id["own:imbalance"].value == 1.0
    assert by_id["iso5259:Div-ML-1"].value == 10
    assert math.isclose(by_id["iso5259:Div-ML-3"].value or 0, 0.9)


def test_the_flags_of_kto_are_labels(testdata: Path) -> None:
    path = testdata / "ai/llama-factory/data/kto_en_demo.json"
    records = json.loads(path.read_text("utf-8"))
    wanted = Counter(str(r["label"]).lower() for r in records)
    report = validate(path, checks=CHECKS)
    (run,) = [c for c in report.checks if c.name == "corpus.labels"]
    (told,) = run.evidence["resources"][0]["fields"]
    assert {c["label"]: c["records"] for c in told["counts"]} == dict(wanted)
