"""Personal information: every vector is found, no value is told, numbers are no false alarms."""

from __future__ import annotations

import json
import random
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from yaosu_schemas.errors import InvalidInput
from yaosu_validators import validate
from yaosu_validators.corpus.personal import Personal
from yaosu_validators.corpus.personal_forms import KINDS
from yaosu_validators.corpus.personal_scan import Tier, scan
from yaosu_validators.corpus.shapes import mapping_of
from yaosu_validators.corpus.view import PART_BITS, About, Places, View
from yaosu_validators.corpus.views import ViewMaker

CHECKS = ["structure", "corpus.personal"]
ID, SPACED = "110101199001011237", "1101 0119 9001 0112 37"


def view_of(records: list[Any], first: int = 2, maker: ViewMaker | None = None) -> View:
    maker = maker or ViewMaker(mapping_of(records, {"roles": {"text": "text"}}))
    return maker.view(np.arange(first, first + len(records)), records)


def found(text: str) -> list[tuple[str, str, str]]:
    """Return type, tier and what stands at the offsets."""
    data = text.encode()
    return [
        (KINDS[h.kind], Tier(h.tier).name.lower(), data[h.start : h.stop].decode())
        for h in scan(view_of([{"text": text}]))
    ]


def kinds(text: str) -> list[str]:
    return [kind for kind, _, _ in found(text)]


# --- vectors -----------------------------------------------------------------------------------


def test_every_vector_of_personal_information_has_its_number_of_hits(testdata: Path) -> None:
    vectors = json.loads((testdata / "china/vectors/cn_vectors.json").read_text("utf-8"))
    assert len(vectors["pii_text_cases"]) == 21
    for case in vectors["pii_text_cases"]:
        assert len(found(case["text"])) == case["expected_count"], case["text"]
    for case in vectors["resident_id_gb11643"]:
        hits = kinds(case["value"]).count("resident_id")
        assert hits == case["check_digit_and_date_ok"], case
    for case in vectors["uscc_gb32100"]:
        individual = case["upstream_expected"] and case["value"].startswith("92")
        assert kinds(case["value"]) == ["uscc_individual"] * individual, case


# Types of the corpus, and ours; the others (persons, places …) are said to be not covered.
SHARED = {
    "PHONE_NUMBER": ("phone", "mobile_cn", "landline_cn"),
    "CREDIT_CARD": ("bank_card",),
    "US_SSN": ("us_ssn",),
    "IP_ADDRESS": ("ip",),
    "EMAIL_ADDRESS": ("email",),
    "US_DRIVER_LICENSE": ("us_driver_licence",),
}


def test_precision_and_recall_on_sentences_with_gold_spans(testdata: Path) -> None:
    cases = json.loads((testdata / "pii/presidio/tests/data/generated_small.json").read_text())
    gold: Counter[str] = Counter()
    right: Counter[str] = Counter()
    wrong: list[str] = []
    for case in cases:
        text = case["full_text"]
        ours = [(kind, value) for kind, _, value in found(text)]
        spans = [(s["entity_type"], s["entity_value"]) for s in case["spans"]]
        for entity, value in spans:
            if entity in SHARED:
                gold[entity] += 1
                right[entity] += any(k in SHARED[entity] and v == value for k, v in ours)
        values = {v: e for e, v in spans}
        wrong += [k for k, v in ours if k not in SHARED.get(values.get(v, ""), ())]
    assert gold == {
        "PHONE_NUMBER": 10, "CREDIT_CARD": 10, "US_SSN": 3, "IP_ADDRESS": 2, "EMAIL_ADDRESS": 2,
        "US_DRIVER_LICENSE": 1,
    }  # fmt: skip
    assert right == gold
    assert wrong == []


def test_columns_of_made_up_persons_are_found(testdata: Path) -> None:
    """Telephones of 30 countries: those of six digits, in pairs, are the ones that are missed."""
    path = testdata / "pii/presidio/tests/data/FakeNameGenerator.com_100.csv"
    (run,) = validate(path, checks=["corpus.personal"]).checks
    (told,) = run.evidence["resources"]
    fields = {f["field"]: sum(f["types"].values()) for f in told["fields"]}
    assert fields == {"CCNumber": 100, "EmailAddress": 100, "TelephoneNumber": 96}


GOOD = [
    ("电话13800138000转", "mobile_cn", "low", "13800138000"),
    ("手机＋８６ １３８ ００１３ ８０００", "mobile_cn", "low", None),
    (f"证件{ID}。", "resident_id", "medium", ID),
    (f"身份证：{SPACED}，", "resident_id", "high", SPACED),
    ("身份证11010519491231002x", "resident_id", "high", None),
    ("身份证号110105491231002", "resident_id_15", "low", "110105491231002"),
    ("卡号6222020000000000000", "bank_card", "high", None),
    ("6217001234567890122", "bank_card", "medium", None),
    ("座机020-81234567", "landline_cn", "low", "020-81234567"),
    ("IMEI 490154203237518", "imei", "high", "490154203237518"),
    ("车牌粤B12345", "plate_cn", "low", "粤B12345"),
    ("粤BD12345停在", "plate_cn", "low", "粤BD12345"),
    ("粤Z1234港", "plate_cn", "low", "粤Z1234港"),
    ("护照号EA1234567", "passport_cn", "low", "EA1234567"),
    ("往来港澳通行证C12345678", "hk_macau_permit", "low", "C12345678"),
    ("回乡证H12345678", "home_return_permit", "low", "H12345678"),
    ("台胞证12345678", "taiwan_permit", "low", "12345678"),
    ("香港身份证 A123456(3)", "hk_id", "high", "A123456(3)"),
    ("身分證 A123456789", "tw_id", "high", "A123456789"),
    ("ITIN 912-70-1234", "us_itin", "low", "912-70-1234"),
    ("NHS number 943 476 5919", "uk_nhs", "high", "943 476 5919"),
    ("NINO: AB 12 34 56 C", "uk_nino", "low", "AB 12 34 56 C"),
    ("IBAN GB29 NWBK 6016 1331 9268 19", "iban", "high", "GB29 NWBK 6016 1331 9268 19"),
    ("pay DE89370400440532013000", "iban", "medium", "DE89370400440532013000"),
    ("1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa", "crypto_address", "medium", None),
    ("bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4", "crypto_address", "medium", None),
    ("0xde0B295669a9FD93d5F28D9Ec85E40f4cb697BAe", "crypto_address", "low", None),
    ("from 58.74.121.78 today", "ip", "low", "58.74.121.78"),
    ("2606:4700:4700::1111", "ip", "low", "2606:4700:4700::1111"),
    ("MAC 3C:22:FB:9A:10:7E", "mac", "low", "3C:22:FB:9A:10:7E"),
    ("写信 a.b＠ｅｘａｍｐｌｅ.com 吧", "email", "low", "a.b＠ｅｘａｍｐｌｅ.com"),
    ("DEA number AB1234563", "medical_licence", "high", "AB1234563"),
    ("call +44 20 7946 0958 now", "phone", "low", "+44 20 7946 0958"),
    ("key AKIAIOSFODNN7ABCDEFG", "api_key", "low", "AKIAIOSFODNN7ABCDEFG"),
    ("ghp_" + "a1B2c3D4e5F6" * 3, "api_key", "low", None),
    ("-----BEGIN RSA PRIVATE KEY-----\nMIIEowIBAAKCAQEAx8Q2b7sPq0", "private_key", "medium", None),
    ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0NTY3ODkwIn0.dozjgNryP4J3jVmNHl0w5N_XgL0n3I9P",
     "jwt", "medium", None),
    ('password = "k3Jf9sQz2Lw8"', "password", "low", "k3Jf9sQz2Lw8"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "kind", "tier", "value"), GOOD, ids=[g[1] for g in GOOD])
def test_a_known_form_is_found_whole(text: str, kind: str, tier: str, value: str | None) -> None:
    ((got_kind, got_tier, got_value),) = found(text)
    assert (got_kind, got_tier) == (kind, tier)
    assert value is None or got_value == value


NOTHING = [
    "12800138000", "440300199913990010", "440300199002290128", "999999199001010016",
    "110105194912310021", "6217001234567890123", "粤I12345", "粤B1234 ", "粤B12O45", "a@b",
    "192.168.1.1 127.0.0.1 203.0.113.5 10.0.0.1", "version 1.2.3.4", "00:00:5E:00:53:01",
    "订单号ORDER12345678901234", "3.14159265358979323846", "2023-04-05 12:30:45", "1990-1995",
    "x = 13800138000 * 2 = 27600276000", "$ 13800000000", "id 08e41396-2809-423d-9bbc-1e6fb24c0ca1",
    "978-3-16-148410-0", "6000-600-150-1200-2000 = 2050", "std::vector<int> a::b", "E12345678",
    "192.0.2.0/24 and 8.8.8.0/24", "0000000000000000", "ab13800138000", "1.13800138000",
    "password: ********", "api_key = your_api_key_123", "sk-xxxxxxxxxxxxxxxxxxxxxxxx", "12345678",
    "91350100M000100Y43",
]  # fmt: skip


@pytest.mark.parametrize("text", NOTHING)
def test_what_only_looks_like_it_is_no_hit(text: str) -> None:
    assert found(text) == []


@given(st.text(alphabet="电话身份证卡a @-.+()0123456789Xx１３８手机\n", max_size=120))
def test_offsets_lie_in_the_text_and_never_overlap(text: str) -> None:
    data = text.encode()
    last = 0
    for hit in scan(view_of([{"text": text}])):
        assert last <= hit.start < hit.stop <= len(data)
        data[hit.start : hit.stop].decode()
        last = hit.stop


@given(st.integers(0, 10**6), st.sampled_from(["，", " ", "\n", "话", "(", "“"]))
def test_a_number_is_found_wherever_it_stands(seed: int, edge: str) -> None:
    filler = "".join(random.Random(seed).choices("的一是在 了abc。", k=seed % 400))
    text = f"{filler}{edge}{ID}{edge}{filler}"
    assert ID in [v for _, _, v in found(text)]


# --- the check ---------------------------------------------------------------------------------

PLANTED = [
    ID, "13800138000", "6222020000000000000", "a.b@example.com", "58.74.121.78", "粤B12345",
    "AKIAIOSFODNN7ABCDEFG", "k3Jf9sQz2Lw8", "531-21-7351", "DE89370400440532013000", "15912345678",
]  # fmt: skip


def planted_lines() -> list[str]:
    a, b, c, d, e, f, g, h, i, j, k = PLANTED
    records: list[dict[str, Any]] = [
        {"text": f"身份证{a}，手机{b}", "n": int(b)},
        {"text": f"卡号{c}", "mail": d, "nested": {"ip": f, "list": [e]}},
        {"text": f"key {g}, password = {h}; SSN {i}; IBAN {j}"},
        {"text": "ok", "users": {k: {"name": "x"}}},
        {"text": "nothing here"},
    ]
    return [json.dumps(r, ensure_ascii=False) for r in records]


def test_no_value_is_ever_told(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text("\n".join(planted_lines()) + "\n", encoding="utf-8")
    lines: list[Any] = []
    options = {"corpus.personal": {"key": "the owner's own"}}
    report = validate(path, checks=CHECKS, options=options, private=lines.append)
    (run,) = [c for c in report.checks if c.name == "corpus.personal"]
    (told,) = run.evidence["resources"]
    assert (told["records_with_personal"], told["records_with_secrets"]) == (4, 1)
    whole = json.dumps(report.as_json(), ensure_ascii=False) + json.dumps(lines, ensure_ascii=False)
    for value in [*PLANTED, "the owner's own"]:
        assert value not in whole
    assert [line for line in lines if line["type"] == "resident_id"] == [
        {
            "check": "corpus.personal", "resource": "a", "row": 2, "field": "text", "tier": "high",
            "type": "resident_id", "start": 3, "end": 21, "hmac_sha256": lines[0]["hmac_sha256"],
        }
    ]  # fmt: skip
    assert {line["field"] for line in lines if line["row"] == 5} == {"(masked)"}


def test_no_check_tells_the_name_of_a_field_that_is_personal_itself(tmp_path: Path) -> None:
    rows = [
        {"text": f"line {n} about pumps and their valves in a workshop", "label": LABELS[n % 2],
         "13800138000": {"text": "a field whose name is a telephone number"} if n % 3 else ""}
        for n in range(30)
    ]  # fmt: skip
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), "utf-8")
    report = validate(path, checks=["quality"])
    evidence = {c.name: json.dumps(c.evidence) for c in report.checks}
    whole = json.dumps([list(evidence.items()), [m.as_json() for m in report.metrics]])
    for value in ("13800138000", *LABELS):
        assert value not in whole
    for name in ("corpus.records", "corpus.labels", "corpus.completeness", "corpus.personal"):
        assert "(masked)" in evidence[name], name


LABELS = ("wang.wei@example.com", "li.na@example.com")


def test_equal_values_have_equal_marks_under_one_key_only(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('{"text": "手机13800138000"}\n{"text": "tel １３８-0013-8000"}\n', "utf-8")
    marks = []
    for key in ("one", "two"):
        lines: list[Any] = []
        options = {"corpus.personal": {"key": key}}
        validate(path, checks=CHECKS, options=options, private=lines.append)
        marks.append([line["hmac_sha256"] for line in lines])
        assert marks[-1][0] == marks[-1][1]
    assert marks[0] != marks[1]
    lines = []
    validate(path, checks=CHECKS, private=lines.append)
    assert lines == []


def test_numbers_of_a_table_are_no_telephones_but_named_columns_are(tmp_path: Path) -> None:
    r = random.Random(1)
    rows = [
        f"{r.randint(13 * 10**9, 19 * 10**9)},{r.randint(10**15, 10**16)},{13800138000 + n}"
        for n in range(500)
    ]
    path = tmp_path / "a.csv"
    path.write_text("visits,reference,手机号\n" + "\n".join(rows) + "\n", encoding="utf-8")
    report = validate(path, checks=CHECKS)
    (run,) = [c for c in report.checks if c.name == "corpus.personal"]
    (told,) = run.evidence["resources"]
    assert {f["field"]: f["types"] for f in told["fields"]} == {"手机号": {"mobile_cn": 500}}


def test_numbers_of_real_tables_are_no_false_alarms(testdata: Path) -> None:
    """Years, gross products, codes, coordinates, scores, item texts of benchmarks, poems."""
    tables = sorted((testdata / "frictionless/datasets").rglob("*.csv"))
    assert len(tables) > 10
    other = [
        "ai/gsm8k/grade_school_math/data/test.jsonl", "ai/human-eval/data/HumanEval.jsonl.gz",
        "ai/coco/results/instances_val2014_fakebbox100_results.json",
        "ai/lerobot-g1/data/chunk-000/episode_000000.parquet", "china/gb2260/dist/areas.csv",
    ]  # fmt: skip
    for path in [*tables, *(testdata / name for name in other)]:
        report = validate(path, checks=["corpus.personal"], kind="table")
        (run,) = report.checks
        assert [r["types"] for r in run.evidence["resources"]] == [{}], path.name


def fold(check: Personal, parts: list[list[list[Any]]]) -> Any:
    """Fold parts of batches of records, as the frame does, and return the conclusion."""
    states, row = [], 2
    rows = [sum(map(len, part)) + (n == 0) for n, part in enumerate(parts)]
    for number, part in enumerate(parts):
        maker = ViewMaker(mapping_of([], {"roles": {"text": "text"}}))
        state, row = check.start(About("a")), 2 if number == 0 else 1
        for batch in part:
            view = view_of(batch, row + (number << PART_BITS), maker)
            state = check.observe(state, view)
            row += len(batch)
        states.append(state)
    whole = states[0]
    for state in states[1:]:
        whole = check.merge(whole, state)
    places = Places({"a": np.cumsum([0, *rows[:-1]])})
    out = check.conclude([(About("a"), whole)], places)
    return out.metrics, out.findings, json.dumps(out.evidence), list(out.private)


@settings(max_examples=25)
@given(st.data())
def test_any_cutting_of_the_records_gives_the_same_conclusion(data: st.DataObject) -> None:
    records = [json.loads(line) for line in planted_lines()] * 3
    records += [{"text": f"1380013{n:04}", f"k{n % 7}": f"x{n}@y.com"} for n in range(20)]
    data.draw(st.randoms(use_true_random=False)).shuffle(records)
    check = Personal(listed=5, key="k")
    batches: list[list[Any]] = []
    left = records
    while left:
        size = data.draw(st.integers(1, len(left)))
        batches.append(left[:size])
        left = left[size:]
    cut = data.draw(st.integers(0, len(batches) - 1))
    parts = [batches[: cut + 1], *([b] for b in batches[cut + 1 :])]
    assert fold(check, parts) == fold(check, [[records]])


# --- rules of the operator, hostile input --------------------------------------------------------


def test_a_rule_of_the_operator_is_found_beside_its_words() -> None:
    rules = [{"type": "staff", "pattern": "[AB]-[0-9]{6}", "context": "工号|staff"}]
    _, _, evidence, _ = fold(
        Personal(rules=rules), [[[{"text": "工号 A-123456"}, {"text": "part B-654321"}]]]
    )
    assert json.loads(evidence)["resources"][0]["types"]["custom:staff"]["records"] == 1


@pytest.mark.parametrize(
    "pattern",
    [r"(a+)+\1", r"(?<=x)y", "a{1,100000}", "(", "x*", "", "a" * 2000, "((a{1,99}){1,99}){1,99}"],
)
def test_a_pattern_that_linear_time_cannot_run_is_refused(pattern: str) -> None:
    rules = [{"type": "good", "pattern": "x"}, {"type": "bad", "pattern": pattern}]
    with pytest.raises(InvalidInput, match="rule 2"):
        Personal(rules=rules)


def test_all_problems_of_the_rules_are_named() -> None:
    with pytest.raises(InvalidInput, match=r"rule 1.*rule 2.*rule 3"):
        Personal(rules=[{"type": "A"}, {"type": "a", "pattern": "("}, {"x": 1}])


def test_long_rows_of_digits_and_a_million_hits_take_linear_time(tmp_path: Path) -> None:
    texts = [
        "1 2 3 4 5 6 7 8 9 0 " * 20_000,
        "12 34 567 " * 5_000,
        "9" * 400_000,
        "13800138000 " * 20_000,
    ]
    texts += ["(" * 200_000 + "1-" * 100_000, "a@" * 200_000, "-----BEGIN " * 50_000]
    path = tmp_path / "a.jsonl"
    path.write_text("".join(json.dumps({"text": t}) + "\n" for t in texts), encoding="utf-8")
    report = validate(path, checks=CHECKS, options={"corpus.personal": {"key": "k"}})
    (run,) = [c for c in report.checks if c.name == "corpus.personal"]
    assert run.evidence["resources"][0]["types"]["mobile_cn"]["low"] == 20_000


def test_a_record_of_many_keys_and_broken_surrogates_do_no_harm() -> None:
    wide = {f"k{n}": "v" for n in range(200_000)} | {"13800138000": "x"}
    broken = {"text": "\ud800 手机13800138000 \udfff"}
    metrics, findings, _, _ = fold(Personal(), [[[wide, broken]]])
    assert [f.row for _, f in findings] == [3]  # the frame keeps no more than 10,000 names
    assert metrics[0].numerator == 1


def test_a_record_of_many_megabytes_is_read_through() -> None:
    text = ("没有什么 nothing at all, 2023-04-05. " * 300_000) + ID
    assert [value for _, _, value in found(text)] == [ID]
