"""Canonical JSON and digests: one form, one digest, and no form for what has none."""

from __future__ import annotations

import copy
import json
from enum import StrEnum
from typing import Any
from unittest.mock import patch

import pytest
import rfc8785
from hypothesis import given, settings
from hypothesis import strategies as st

from yaosu_schemas import canonical, documents
from yaosu_schemas.canonical import content_digest, digest, is_digest, jcs, terms_digest
from yaosu_schemas.errors import Malformed

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(-(2**52), 2**52)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner, max_size=4)
    ),
    max_leaves=12,
)


def test_keys_are_sorted_by_utf16_and_numbers_are_ecmascript() -> None:
    # RFC 8785 §3.2.3: U+1F600 sorts before U+FB33, because its first half is U+D83D.
    assert jcs({"\ufb33": 1, "\U0001f600": 2, "b": 1e21, "a": 1.0}) == (
        '{"a":1,"b":1e+21,"\U0001f600":2,"\ufb33":1}'.encode()
    )


class Colour(StrEnum):
    RED = "red"


numbers = (
    st.floats(allow_nan=False, allow_infinity=False)
    | st.floats(1e-5, 1e-3)
    | st.floats(1e14, 1e16)
    | st.integers(-(2**53) + 1, 2**53 - 1).map(float)
    | st.sampled_from([0.0, -0.0, 1.0, 1e-4, 1e15, 9.999e-5, 0.1 + 0.2])
)
keys = st.text(st.sampled_from('ab"\\\n\x7fé中\ud7ff\ue000\U0001f600'), max_size=3)


@pytest.mark.parametrize("form", [canonical._standard, canonical._encode])
@settings(max_examples=400)
@given(value=st.dictionaries(keys, numbers | st.lists(numbers) | st.just(Colour.RED)))
def test_the_quick_form_is_that_of_the_library(form: Any, value: Any) -> None:
    with patch.object(canonical, "_encode", form):
        assert jcs(value) == rfc8785.dumps(value)


@given(values)
def test_the_form_reads_back_as_the_same_value(value: Any) -> None:
    assert json.loads(jcs(value)) == value
    assert jcs(json.loads(jcs(value))) == jcs(value)


@pytest.mark.parametrize("form", [canonical._standard, canonical._encode])
def test_both_encoders_write_every_character_as_the_rule_says(form: Any) -> None:
    """RFC 8785 §3.2.2.2: two-letter escapes, \\u00xx for other controls, all else as it is."""
    every = [chr(n) for n in range(0x110000) if not 0xD800 <= n < 0xE000]
    short = {
        "\b": "\\b",
        "\t": "\\t",
        "\n": "\\n",
        "\f": "\\f",
        "\r": "\\r",
        '"': '\\"',
        "\\": "\\\\",
    }
    told = "".join(short.get(c) or (f"\\u{ord(c):04x}" if c < " " else c) for c in every)
    assert form({"b": "".join(every), "a": -1}) == f'{{"a":-1,"b":"{told}"}}'.encode()


@given(st.dictionaries(st.text("abc中", max_size=3), st.integers(0, 9), max_size=5))
def test_the_order_of_keys_changes_no_digest(value: dict[str, int]) -> None:
    backwards = dict(reversed(list(value.items())))
    assert digest(value) == digest(backwards)


@pytest.mark.parametrize(
    "value",
    [float("nan"), float("inf"), 2**53, -(2**60), "\ud800", {"\udfff": 1}, object(), {1: 2},
     b"bytes", {"a": {"b": [float("-inf")]}}],
)  # fmt: skip
def test_what_has_no_canonical_form_is_malformed(value: object) -> None:
    with pytest.raises(Malformed) as caught:
        jcs(value)
    assert caught.value.en
    assert caught.value.zh


def test_a_digest_is_written_one_way() -> None:
    assert digest({}) == "sha256:44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
    assert is_digest(digest([]))
    for bad in ("", "sha256:", digest([]).upper(), digest([])[:-1], digest([]) + "0", None, 7):
        assert not is_digest(bad)


CONTENT_EDITS: list[tuple[str, Any]] = [
    ("name", "other"), ("version", "2.0.0"),
    ("resources.0.hash", "sha256:" + "00" * 32), ("resources.0.bytes", 1),
    ("resources.0.path", "data/other.jsonl"), ("resources.0.encoding", "gbk"),
    ("resources.0.schema.fields.0.type", "integer"), ("resources.0.dialect", {"delimiter": ";"}),
    ("resources.0.parts", [{"path": "a", "bytes": 1, "hash": "sha256:" + "00" * 32}]),
]  # fmt: skip
TERMS_EDITS: list[tuple[str, Any]] = [
    ("licenses.0.path", "OTHER.md"), ("dataElement.license_spdx", "MIT"),
    ("dataElement.offer.pricing.0.price_fen", 1), ("dataElement.restrictions.resale", "无"),
    ("dataElement.policy", None), ("dataElement.contract_template", "custom"),
]  # fmt: skip
FREE_EDITS: list[tuple[str, Any]] = [
    ("title", "另一个名称"), ("description", "x"), ("resources.0.title", "x"),
    ("dataElement.holder.phone", "1234567"), ("created", "2020-01-01T00:00:00Z"),
]  # fmt: skip


def edited(path: str, value: Any) -> dict[str, Any]:
    document = copy.deepcopy(documents.example())
    node: Any = document
    *way, last = path.split(".")
    for part in way:
        node = node[int(part) if isinstance(node, list) else part]
    node[last] = value
    return document


@pytest.mark.parametrize(("path", "value"), CONTENT_EDITS)
def test_what_is_sold_is_pinned_by_the_content_digest(path: str, value: Any) -> None:
    base = documents.example()
    assert content_digest(edited(path, value)) != content_digest(base)
    assert terms_digest(edited(path, value)) == terms_digest(base)


@pytest.mark.parametrize(("path", "value"), TERMS_EDITS)
def test_conditions_are_pinned_by_the_terms_digest(path: str, value: Any) -> None:
    base = documents.example()
    assert terms_digest(edited(path, value)) != terms_digest(base)
    assert content_digest(edited(path, value)) == content_digest(base)


@pytest.mark.parametrize(("path", "value"), FREE_EDITS)
def test_words_for_readers_change_no_digest(path: str, value: Any) -> None:
    base = documents.example()
    assert content_digest(edited(path, value)) == content_digest(base)
    assert terms_digest(edited(path, value)) == terms_digest(base)


@pytest.mark.parametrize("descriptor", [{}, {"resources": None}, {"resources": ["x", 7]},
                                        {"dataElement": "x", "resources": {}}])  # fmt: skip
def test_a_poor_descriptor_has_digests_too(descriptor: dict[str, Any]) -> None:
    assert is_digest(content_digest(descriptor))
    assert is_digest(terms_digest(descriptor))
