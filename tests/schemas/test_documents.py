"""Descriptors: all problems at once, each with a place and two sentences; nothing is fetched."""

from __future__ import annotations

import copy
import json
import time
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from yaosu_schemas import documents
from yaosu_schemas.conformance import load, order, schema_names
from yaosu_schemas.dictionary import fields
from yaosu_schemas.documents import check, descriptor_problems, public_view, refuse
from yaosu_schemas.errors import InvalidDocument, NotFound, Problem

MISSING = object()


def edited(*changes: tuple[str, Any]) -> dict[str, Any]:
    """Return the example with values put at dotted paths, or taken away."""
    document = documents.example()
    for path, value in changes:
        node: Any = document
        *way, last = path.split(".")
        for part in way:
            node = node[int(part)] if isinstance(node, list) else node.setdefault(part, {})
        if value is MISSING:
            del node[int(last) if isinstance(node, list) else last]
        elif isinstance(node, list):
            node[int(last)] = value
        else:
            node[last] = value
    return document


def found(document: Any, stage: Any = "submit") -> dict[str, set[str]]:
    """Return {code: pointers} of everything that is more than advice."""
    out: dict[str, set[str]] = {}
    for problem in descriptor_problems(document, stage=stage):
        if problem.severity != "warning":
            out.setdefault(problem.code, set()).add(problem.pointer)
    return out


def is_whole(problem: Problem) -> bool:
    return bool(problem.en and problem.zh and problem.code) and (
        problem.pointer == "" or problem.pointer.startswith("/")
    )


# --- good ones ---------------------------------------------------------------------------------


def test_the_example_passes_submission() -> None:
    assert found(documents.example()) == {}


def speech() -> dict[str, Any]:
    """A natural person's open speech corpus, generated in part, not registered."""
    document = documents.example()
    element = document["dataElement"]
    name = "张示例"
    element["holder"] = {
        "name": name, "type": "natural_person", "id_type": "id_card",
        "contact": name, "phone": "+86 (20) 0000-0000", "address": "广州市示例路 2 号",
    }  # fmt: skip
    element["registration"] = {"scheme": "none"}
    element["rights"] = [{"type": "operate", "holder_name": name, "limitation": "无"}]
    element["ai"] |= {
        "modalities": ["audio", "text"], "stage": ["pretraining", "evaluation"],
        "generated_indicator": "mixed", "public_service": False,
        "generator": [{"model": "示例语音模型", "version": "2.1", "acquired_at": "2026-01-01"}],
    }  # fmt: skip
    element["form"] = {"content": ["audio", "text"], "structure": "unstructured"}
    element["languages"] = ["yue-Hant-HK", "zh-Hans-CN", "en"]
    element["license_spdx"] = "CC-BY-4.0"
    document["licenses"] = [{"name": "CC-BY-4.0", "title": "CC BY 4.0"}]
    element["offer"]["pricing"] = [{"mode": "free"}]
    element["contract_template"] = "custom"
    del element["policy"], element["identifiers"]
    return document


def sensitive() -> dict[str, Any]:
    """Crawled and bought health data with everything the law asks for, on several terms."""
    document = documents.example()
    element = document["dataElement"]
    digest = "sha256:" + "5a" * 32
    element["provenance"] = {
        "origin": ["crawled", "agreement"], "substitutes_source": False,
        "source_records": [
            {"kind": "crawl", "url": "https://example.org/data"},
            {"kind": "commercial", "dataset": "示例", "organisation": "示例医院",
             "contract_no": "HT-2025-1"},
            {"kind": "user_data", "service": "示例应用", "authorisation": "协议 3.2 条"},
        ],
        "robots_respected": True, "optout_checked": True, "top_domains": ["example.org"],
        "acquired_from": "2025-01-01", "acquired_to": "2025-01-01",
    }  # fmt: skip
    element["compliance"] = {
        "data_level": "important", "important_approval": "批准文号 1", "personal_info": "sensitive",
        "sensitive_types": ["health"], "consent_basis": "单独书面同意",
        "separate_consent_doc": "docs/consent.pdf", "pia_doc": "docs/pia.pdf",
        "cross_border": "not_allowed",
        "legal_opinion": {"org": "示例律所", "uscc": "91440300MB2XQ00142",
                          "date": "2026-08-01", "hash": digest},
        "safety_report": {"org": "示例测评", "ruleset": "tc260-003@2024",
                          "date": "2026-08-02", "hash": digest},
    }  # fmt: skip
    element["ai"]["public_service"] = True
    element["offer"]["pricing"] = [
        {"mode": "per_volume", "unit": "GiB", "price_fen": 500,
         "tiers": [{"from_qty": 1, "price_fen": 500}, {"from_qty": 100, "price_fen": 300}]},
        {"mode": "subscription", "unit": "month", "price_fen": 10_000_00},
        {"mode": "revenue_share", "share_rate": "0.15"},
        {"mode": "negotiated", "price_fen": None},
    ]  # fmt: skip
    document["resources"][0] = {
        "name": "train", "path": ["data/a.jsonl", "data/b.jsonl"],
        "parts": [{"path": p, "bytes": 262144, "hash": digest}
                  for p in ("data/a.jsonl", "data/b.jsonl")],
    }  # fmt: skip
    return document


@pytest.mark.parametrize("make", [documents.example, speech, sensitive])
def test_a_whole_descriptor_passes(make: Any) -> None:
    assert found(make()) == {}
    refuse(descriptor_problems(make(), stage="submit"))


def test_checking_changes_nothing_in_the_document() -> None:
    document = sensitive()
    before = copy.deepcopy(document)
    descriptor_problems(document, stage="submit")
    assert document == before


# --- plain data packages -----------------------------------------------------------------------


def packages(testdata: Path) -> Iterator[tuple[str, Any]]:
    for group in ("examples", "datasets"):
        for file in sorted((testdata / "frictionless" / group).glob("*/datapackage.*")):
            text = file.read_text("utf-8")
            yield (
                file.parent.name,
                json.loads(text) if file.suffix == ".json" else yaml.safe_load(text),
            )


def test_every_published_package_is_a_draft_and_is_told_what_it_lacks(testdata: Path) -> None:
    names = []
    for name, package in packages(testdata):
        names.append(name)
        problems = descriptor_problems(package, stage="draft")
        assert [p for p in problems if p.severity == "error"] == [], name
        missing = {p.pointer for p in problems if p.severity == "missing"}
        assert {"/dataElement/holder/name", "/dataElement/license_spdx", "/created"} - missing <= {
            "/created"
        }, name
        assert len(missing) > 50
        assert all(is_whole(p) for p in problems)
        with pytest.raises(InvalidDocument):
            refuse(descriptor_problems(package, stage="submit"))
    assert len(names) == 33


def test_the_specs_own_profiles_are_not_needed_and_nothing_is_fetched(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import socket

    def refused(*_: Any, **__: Any) -> None:
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket, "socket", refused)
    monkeypatch.setattr(socket, "create_connection", refused)
    document = edited(
        ("$schema", "https://datapackage.org/profiles/2.0/datapackage.json"),
        ("profile", "https://example.org/profile.json"),
        ("resources.0.path", "https://example.org/data.csv"),
        ("resources.0.schema", "https://example.org/schema.json"),
        ("dataElement.policy.@context", "https://example.org/context.jsonld"),
    )
    places = found(document, "draft")
    assert places["remote_path"] == {"/resources/0/path", "/resources/0/schema"}
    assert places["pattern"] == {"/$schema"}
    assert all(p.severity != "error" for p in descriptor_problems(document, "draft"))
    assert {"/resources/0/path", "/$schema"} <= {
        p.pointer for p in descriptor_problems(document, "submit") if p.severity == "error"
    }


def test_a_draft_may_have_no_files_at_all() -> None:
    problems = descriptor_problems({"name": "firstdata", "title": "记录"}, stage="draft")
    assert "/resources" in {p.pointer for p in problems if p.severity == "missing"}
    assert not [p for p in problems if p.severity == "error"]


@pytest.mark.parametrize("thing", [None, [], "text", 7, True, [1, 2], {"resources": 7}])
def test_what_is_no_descriptor_is_refused_even_as_a_draft(thing: Any) -> None:
    problems = descriptor_problems(thing, stage="draft")
    assert any(p.severity == "error" for p in problems)
    assert all(is_whole(p) for p in problems)


# --- bad ones ----------------------------------------------------------------------------------

E = "dataElement."
BAD: list[tuple[str, Any, str, str]] = [
    # (place, value, code, pointer)
    ("name", "Has Spaces", "pattern", "/name"),
    ("name", "a\n", "pattern", "/name"),
    ("version", "v1", "format_semver", "/version"),
    ("version", "1.0", "format_semver", "/version"),
    ("created", "2026-09-15T10:00:00", "format_date_time", "/created"),
    ("created", "2026-02-30T10:00:00Z", "format_date_time", "/created"),
    ("homepage", "javascript:alert(1)", "format_link", "/homepage"),
    ("image", " JavaScript:alert(1)", "format_address", "/image"),
    ("title", "t" * 501, "maxlength", "/title"),
    ("title", "x\x00", "unsafe_text", "/title"),
    ("description", "", "missing", "/description"),
    ("keywords", "one", "type", "/keywords"),
    ("licenses", [], "missing", "/licenses"),
    ("licenses.0", {"title": "x"}, "missing", "/licenses/0/name"),
    ("contributors", MISSING, "missing", "/contributors"),
    ("resources", [], "missing", "/resources"),
    ("resources.0.hash", "d41d8cd98f00b204e9800998ecf8427e", "format_digest", "/resources/0/hash"),
    ("resources.0.hash", MISSING, "missing", "/resources/0/hash"),
    ("resources.0.bytes", -1, "minimum", "/resources/0/bytes"),
    ("resources.0.bytes", 1.0, "type", "/resources/0/bytes"),
    ("resources.0.path", "../x", "unsafe_path", "/resources/0/path"),
    ("resources.0.path", ["a", "/b"], "unsafe_path", "/resources/0/path/1"),
    ("resources.0.path", ["a", "b"], "missing", "/resources/0/parts"),
    ("resources.0.path", 7, "type", "/resources/0/path"),
    ("resources.0.path", "data/TEST.jsonl", "path_collision", "/resources/1/path"),
    ("resources.0.data", [{"a": 1}], "inline_data", "/resources/0/data"),
    ("resources.1.name", "train", "duplicate_resource", "/resources/1/name"),
    (E + "holder.uscc", MISSING, "missing", "/dataElement/holder/uscc"),
    (E + "holder.uscc", "91350100M000100Y4Z", "format_uscc", "/dataElement/holder/uscc"),
    (E + "holder.type", "company", "unknown_code", "/dataElement/holder/type"),
    (E + "holder.id_type", "id_card", "id_type_differs", "/dataElement/holder/id_type"),
    (E + "holder.contact", "11010519491231002X", "identity_number", "/dataElement/holder/contact"),
    (E + "registration.certificate_no", MISSING, "missing",
     "/dataElement/registration/certificate_no"),
    (E + "registration.certificate_no", "SJ4412026130001", "certificate_no",
     "/dataElement/registration/certificate_no"),
    (E + "registration.scheme", "none", "scheme_differs", "/dataElement/registration/scheme"),
    (E + "registration.kind", "licence", "kind_of_other_scheme", "/dataElement/registration/kind"),
    (E + "registration.valid_until", "2026-01-01", "ends_before_start",
     "/dataElement/registration/valid_until"),
    (E + "registration.evidence_hash", "md5:00", "pattern",
     "/dataElement/registration/evidence_hash"),
    (E + "rights", [], "missing", "/dataElement/rights"),
    (E + "rights.0.type", "opperate", "unknown_code", "/dataElement/rights/0/type"),
    (E + "rights.0.holder_uscc", MISSING, "missing", "/dataElement/rights/0/holder_uscc"),
    (E + "rights.0.limitation", "", "missing", "/dataElement/rights/0/limitation"),
    (E + "rights.0.term_end", "2020-01-01", "ends_before_start", "/dataElement/rights/0/term_end"),
    (E + "identifiers.0.value", "SJ", "identifier_form", "/dataElement/identifiers/0/value"),
    (E + "industry.gbt4754", "I99", "unknown_code", "/dataElement/industry/gbt4754"),
    (E + "industry.dex12.0", "具身", "unknown_code", "/dataElement/industry/dex12/0"),
    (E + "coverage.spatial_codes.0", "440399", "unknown_code",
     "/dataElement/coverage/spatial_codes/0"),
    (E + "coverage.temporal.end", "2023-12-31", "ends_before_start",
     "/dataElement/coverage/temporal/end"),
    (E + "coverage.temporal.start", "2024-1-1", "format_date",
     "/dataElement/coverage/temporal/start"),
    (E + "update_frequency", "hourly-ish", "unknown_code", "/dataElement/update_frequency"),
    (E + "size.records", True, "type", "/dataElement/size/records"),
    (E + "size.records", 1199, "splits_differ", "/dataElement/ai/splits"),
    (E + "size.tokens", 10, "missing", "/dataElement/size/tokenizer"),
    (E + "languages", MISSING, "missing", "/dataElement/languages"),
    (E + "languages.0", "Chinese (simplified)", "format_language", "/dataElement/languages/0"),
    (E + "ai.modalities", ["text", "text"], "uniqueitems", "/dataElement/ai/modalities"),
    (E + "ai.generated_indicator", "mixed", "missing", "/dataElement/ai/generator"),
    (E + "ai.generator", [{"model": "m", "version": "1", "acquired_at": "2026-01-01"}],
     "generator_differs", "/dataElement/ai/generator"),
    (E + "ai.splits.1.name", "train", "duplicate_split", "/dataElement/ai/splits"),
    (E + "ai.public_service", True, "missing", "/dataElement/compliance/safety_report"),
    (E + "ai.annotation.method", MISSING, "missing", "/dataElement/ai/annotation/method"),
    (E + "docs.basic.scale", MISSING, "missing", "/dataElement/docs/basic/scale"),
    (E + "docs.basic.scale", 3, "type", "/dataElement/docs/basic/scale"),
    (E + "provenance.origin", ["crawled"], "missing",
     "/dataElement/provenance/substitutes_source"),
    (E + "provenance.origin", ["crawled"], "missing", "/dataElement/provenance/robots_respected"),
    (E + "provenance.origin", ["fused"], "missing", "/dataElement/provenance/fusion_consent"),
    (E + "provenance.origin", ["entrusted"], "right_not_supported", "/dataElement/rights/0/type"),
    (E + "provenance.origin", ["public_authorized"], "missing",
     "/dataElement/registration/public_data_no"),
    (E + "provenance.source_records.0", {"kind": "commercial"}, "missing",
     "/dataElement/provenance/source_records/0/contract_no"),
    (E + "provenance.source_records.0", {"kind": "user_data"}, "missing",
     "/dataElement/provenance/source_records/0/authorisation"),
    (E + "compliance.data_level", "core", "core_data", "/dataElement/compliance/data_level"),
    (E + "compliance.data_level", "important", "missing",
     "/dataElement/compliance/important_approval"),
    (E + "compliance.general_level", 5, "maximum", "/dataElement/compliance/general_level"),
    (E + "compliance.personal_info", "personal", "missing",
     "/dataElement/compliance/consent_basis"),
    (E + "compliance.personal_info", "deidentified", "missing", "/dataElement/compliance/pia_doc"),
    (E + "compliance.personal_info", "sensitive", "missing",
     "/dataElement/compliance/separate_consent_doc"),
    (E + "offer.payment_timing", MISSING, "missing", "/dataElement/offer/payment_timing"),
    (E + "offer.object_type", "dateset", "unknown_code", "/dataElement/offer/object_type"),
    (E + "offer.delivery_modes.0", "post", "unknown_code", "/dataElement/offer/delivery_modes/0"),
    (E + "offer.pricing.0.min_qty", True, "type", "/dataElement/offer/pricing/0/min_qty"),
    (E + "offer.pricing", [], "missing", "/dataElement/offer/pricing"),
    (E + "offer.pricing.0.price_fen", MISSING, "missing", "/dataElement/offer/pricing/0/price_fen"),
    (E + "offer.pricing.0.price_fen", 99.5, "type", "/dataElement/offer/pricing/0/price_fen"),
    (E + "offer.pricing.0.price_fen", 10**15 + 1, "maximum",
     "/dataElement/offer/pricing/0/price_fen"),
    (E + "offer.pricing.0.mode", "free", "price_differs", "/dataElement/offer/pricing/0/price_fen"),
    (E + "offer.pricing.0.mode", "subscription", "missing", "/dataElement/offer/pricing/0/unit"),
    (E + "offer.pricing.0.currency", "USD", "const", "/dataElement/offer/pricing/0/currency"),
    (E + "offer.tax_rate", "6%", "format_decimal", "/dataElement/offer/tax_rate"),
    (E + "offer.tax_rate", "6", "rate_above_one", "/dataElement/offer/tax_rate"),
    (E + "offer.trial.resource", "nothing", "unknown_resource",
     "/dataElement/offer/trial/resource"),
    (E + "offer.valid_to", "2031-09-20", "offer_outlives_registration",
     "/dataElement/offer/valid_to"),
    (E + "offer.valid_to", "2026-09-30", "ends_before_start", "/dataElement/offer/valid_to"),
    (E + "restrictions.export", MISSING, "missing", "/dataElement/restrictions/export"),
    (E + "policy.prohibition.0.action", "steal", "unknown_action",
     "/dataElement/policy/prohibition/0/action"),
    (E + "policy.permission.0.constraint.0.operator", "is", "unknown_operator",
     "/dataElement/policy/permission/0/constraint/0/operator"),
    (E + "policy.@type", "Agreement", "missing", "/dataElement/policy/assigner"),
    (E + "license_spdx", "CC-BY-NC-4.0", "licence_non_commercial", "/dataElement/license_spdx"),
    (E + "license_spdx", "CC-BY-ND-4.0", "licence_no_derivatives", "/dataElement/license_spdx"),
    (E + "license_spdx", "ODC-PDDL-1.0", "format_spdx", "/dataElement/license_spdx"),
    (E + "scenario", MISSING, "missing", "/dataElement/scenario"),
    (E + "contract_template", "GF-2025-9999", "unknown_code", "/dataElement/contract_template"),
]  # fmt: skip


@pytest.mark.parametrize(("path", "value", "code", "pointer"), BAD)
def test_a_bad_value_is_told_at_its_place(path: str, value: Any, code: str, pointer: str) -> None:
    problems = descriptor_problems(edited((path, value)), stage="submit")
    hits = [p for p in problems if (p.code, p.pointer) == (code, pointer)]
    assert hits
    assert hits[0].severity == "error"
    assert all(is_whole(p) for p in problems)


def test_the_reference_licence_needs_its_text() -> None:
    document = edited(("licenses.0.path", MISSING))
    assert "/licenses/0/path" in found(document)["missing"]


def test_all_problems_come_at_once() -> None:
    changes = [("version", "v1"), (E + "holder.uscc", "1"), (E + "offer.tax_rate", "x"),
               (E + "compliance.data_level", "core"), (E + "scenario", MISSING)]  # fmt: skip
    pointers = {p.pointer for p in descriptor_problems(edited(*changes), stage="submit")}
    assert {"/version", "/dataElement/holder/uscc", "/dataElement/offer/tax_rate",
            "/dataElement/compliance/data_level", "/dataElement/scenario"} <= pointers  # fmt: skip


WARNED: list[tuple[str, Any, str]] = [
    ("title", "名" * 41, "long_text"),
    ("description", "述" * 401, "long_text"),
    (E + "holder.uscc", "91440300MA5FAKE0X7", "uscc_inner"),
    (E + "registration.valid_until", "2036-09-21", "long_term"),
    (E + "size.bytes", 1, "bytes_differ"),
    (E + "colour", "red", "unknown_field"),
    (E + "holder.nmae", "x", "unknown_field"),
    (E + "offer.discount", "x", "unknown_field"),
    (E + "policy.prohibition.0.action", "share", "deprecated_action"),
    (E + "provenance.origin", ["agreement"], "agreement_not_named"),
    (E + "rights.0.type", "benefit", "unknown_code"),
    (E + "holder.name", "另一公司", "applicant_without_right"),
]


@pytest.mark.parametrize(("path", "value", "code"), WARNED)
def test_advice_is_a_warning_and_stops_nothing(path: str, value: Any, code: str) -> None:
    document = edited((path, value))
    if code == "applicant_without_right":
        document["dataElement"]["holder"]["uscc"] = "91440300MB2XQ00142"
    problems = descriptor_problems(document, stage="submit")
    assert {p.severity for p in problems if p.code == code} == {"warning"}
    assert not [p for p in problems if p.severity == "error"]


def test_five_years_to_the_day_are_not_long() -> None:
    codes = {p.code for p in descriptor_problems(documents.example())}
    assert "long_term" not in codes


def test_a_licence_named_otherwise_is_noticed() -> None:
    document = edited(("licenses.0", {"name": "ODC-PDDL-1.0", "path": "x"}))
    assert "licence_differs" in {p.code for p in descriptor_problems(document)}


# --- hostile ones ------------------------------------------------------------------------------


def test_a_secret_is_never_echoed_and_a_value_only_in_part() -> None:
    secret = "0755-secret-" + "9" * 200
    document = edited((E + "holder.phone", secret), ("version", "v" * 5000))
    text = "".join(p.en + p.zh for p in descriptor_problems(document))
    assert "secret" not in text
    assert "v" * 80 not in text


@pytest.mark.parametrize(
    "value",
    [float("nan"), float("inf"), 2**53, "\ud800", b"bytes", object(), date, {1, 2}],
)
def test_what_json_cannot_carry_is_refused(value: Any) -> None:
    problems = descriptor_problems(edited(("extra", value)), stage="draft")
    assert {p.code for p in problems if p.severity == "error"} == {"not_json"}
    assert all(is_whole(p) for p in problems)


def test_days_of_yaml_are_read_as_text() -> None:
    document = edited((E + "coverage.temporal.start", date(2024, 1, 1)))
    assert found(document) == {}


def test_depth_and_breadth_have_limits() -> None:
    deep: Any = "x"
    for _ in range(5000):
        deep = [deep]
    for hostile in (deep, {str(i): 1 for i in range(10_001)}):
        problems = descriptor_problems(edited(("extra", hostile)), stage="draft")
        assert [p.code for p in problems] == ["too_large"]


def test_a_flood_of_problems_ends() -> None:
    document = edited((E + "languages", ["not a language"] * 3000))
    problems = descriptor_problems(document, stage="submit")
    assert len(problems) <= 1001


def test_a_large_descriptor_is_judged_quickly() -> None:
    document = documents.example()
    one = document["resources"][0]
    document["resources"] = [
        {**one, "name": f"r{i}", "path": f"data/{i}.jsonl"} for i in range(500)
    ]
    descriptor_problems(documents.example())
    start = time.perf_counter()
    descriptor_problems(document, stage="submit")
    assert time.perf_counter() - start < 5


def test_every_naughty_string_is_taken_or_refused_with_reason(testdata: Path) -> None:
    rows = json.loads((testdata / "edge" / "blns" / "blns.json").read_text("utf-8"))
    for row in rows:
        document = edited(("title", row), ("description", row), ("keywords", [row]),
                          ("resources.0.path", row), (row or "x", row))  # fmt: skip
        for problem in descriptor_problems(document, stage="draft"):
            assert is_whole(problem)
            json.dumps(problem.as_json()).encode()


values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=10),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["name", "type", "records", "mode", "x"]), inner, max_size=3
        )
    ),
    max_leaves=6,
)
PLACES = sorted({path for path, *_ in BAD})


@given(st.dictionaries(st.sampled_from(PLACES), values, min_size=1, max_size=4))
def test_no_value_anywhere_makes_the_check_fail(changes: dict[str, Any]) -> None:
    document = documents.example()
    for path, value in changes.items():
        node: Any = document
        *way, last = path.split(".")
        for part in way:
            child = node[int(part)] if isinstance(node, list) and len(node) > int(part) else (
                node.get(part) if isinstance(node, dict) else None
            )  # fmt: skip
            if not isinstance(child, dict | list):
                break
            node = child
        else:
            if isinstance(node, dict):
                node[last] = value
    for problem in descriptor_problems(document, stage="draft"):
        assert is_whole(problem)


# --- the schemas themselves --------------------------------------------------------------------


@pytest.mark.parametrize("name", schema_names())
def test_every_field_has_title_and_meaning_in_both_languages(name: str) -> None:
    listed = list(fields(load(name)))
    assert listed
    for path, node in listed:
        for key in ("title", "title_zh", "description", "description_zh", "x-card", "x-source"):
            assert node.get(key), (name, path, key)
        assert node["x-card"] in {"1", "0..1", "1..n", "0..n", "C"}


@pytest.mark.parametrize("name", schema_names())
def test_a_schema_is_a_schema_and_its_lists_exist(name: str) -> None:
    from jsonschema import Draft202012Validator

    from yaosu_schemas.codes import names

    published = documents.load(name)
    Draft202012Validator.check_schema(published)
    assert published["$id"] == f"urn:yaosu:schema:{name}:1.0"
    for path, node in fields(load(name)):
        listed = node.get("x-codes") or node.get("items", {}).get("x-codes")
        assert listed is None or listed in names(), path


@pytest.mark.parametrize("name", schema_names())
def test_needed_fields_are_those_of_their_cardinality(name: str) -> None:
    def visit(schema: Any) -> None:
        for key, node in schema.get("properties", {}).items():
            needed = key in schema.get("required", [])
            assert needed == node["x-card"].startswith("1"), key
            visit(node.get("items", {}) if node.get("type") == "array" else node)

    visit(load(name))


def test_the_published_schema_writes_its_code_lists_out() -> None:
    published = documents.load("dataset")
    level = published["properties"]["dataElement"]["properties"]["compliance"]["properties"]
    assert level["data_level"]["enum"] == ["core", "important", "general"]
    published["properties"].clear()
    assert documents.load("dataset")["properties"]


def test_an_unknown_schema_is_named() -> None:
    for name in ("nothing", "../codes/index", ""):
        with pytest.raises(NotFound) as caught:
            documents.load(name)
        assert "dataset" in caught.value.en
    with pytest.raises(NotFound):
        check({}, against="nothing")


def test_problems_come_in_the_order_of_the_form() -> None:
    problems = [p for p in descriptor_problems({}) if p.severity == "missing"]
    pointers = [p.pointer for p in problems]
    assert pointers.index("/title") < pointers.index("/resources")
    assert pointers.index("/dataElement/holder/name") < pointers.index("/dataElement/scenario")
    assert pointers == sorted(pointers, key=lambda p: order("dataset", p))


# --- what everybody may see --------------------------------------------------------------------


def test_private_fields_are_not_in_the_public_view() -> None:
    shown = public_view(documents.example())
    assert set(shown["dataElement"]["holder"]) == {"name", "type", "id_type", "uscc"}
    text = json.dumps(shown, ensure_ascii=False)
    assert "0755-00000000" not in text
    assert "王示例" not in text
    example = documents.example()
    del example["dataElement"]["holder"], shown["dataElement"]["holder"]
    assert shown == example
