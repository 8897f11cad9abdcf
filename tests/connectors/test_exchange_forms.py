"""Forms of exchanges: data, marked as placeholders, and nothing lost that is not written down."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as examples
from hypothesis import strategies as st

from yaosu_connectors import exchange
from yaosu_connectors.trading_record import build, valid
from yaosu_schemas.codes import code_list
from yaosu_schemas.documents import load as schema
from yaosu_schemas.errors import InvalidDocument, InvalidInput, NotFound

FORMS = exchange.names()
Parts = Callable[[str], dict[str, Any]]
WHOLE = {"policy", "events"}
"""Documents of their own: carried as they are."""


def leaves(node: dict[str, Any], path: str = "") -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the path and the schema of every value that a record can hold."""
    for name, inner in node.get("properties", {}).items():
        here = f"{path}.{name}" if path else name
        if here in WHOLE or not ({"properties", "items"} & set(inner)):
            yield here, inner
        elif "items" in inner:
            below = inner["items"]
            found = list(leaves(below, f"{here}[]"))
            yield from found or [(f"{here}[]", below)]
        else:
            yield from leaves(inner, here)


def values(node: dict[str, Any]) -> st.SearchStrategy[Any]:
    """Return values of the kind that a record holds at a path."""
    if "const" in node:
        return st.just(node["const"])
    if "enum" in node:
        return st.sampled_from(node["enum"])
    if "x-codes" in node:
        return st.sampled_from([e.code for e in code_list(node["x-codes"])])
    kind = node.get("type")
    if kind == "integer":
        return st.integers(0, 10**15 - 1)
    if kind == "boolean":
        return st.booleans()
    if "date-time" in str(node.get("format", "")):
        at = st.datetimes(min_value=datetime(2000, 1, 1))
        return at.map(lambda d: d.isoformat(timespec="microseconds") + "Z")
    return st.text(max_size=8)


def filled(node: dict[str, Any], path: str = "") -> st.SearchStrategy[dict[str, Any]]:
    """Return records in which any field may be there or not."""
    fields: dict[str, st.SearchStrategy[Any]] = {}
    for name, inner in node.get("properties", {}).items():
        if name == "contact":
            continue
        if name in WHOLE:
            fields[name] = st.dictionaries(st.text(max_size=3), st.integers(), max_size=2)
        elif "items" in inner:
            fields[name] = st.lists(filled(inner["items"]), min_size=1, max_size=2)
        elif "properties" in inner:
            fields[name] = filled(inner)
        else:
            fields[name] = values(inner)
    return st.fixed_dictionaries({}, optional=fields)


RECORDS = filled(schema("trading-record"))


def differences(before: Any, after: Any, path: str = "") -> Iterator[str]:
    """Yield our paths at which two records differ; nothing and an empty thing are alike."""
    if isinstance(before, dict) or isinstance(after, dict):
        for name in {*(before or {}), *(after or {})}:
            here = f"{path}.{name}" if path else str(name)
            one, other = ((x or {}).get(name) for x in (before, after))
            yield from differences(one, other, here)
    elif isinstance(before, list) or isinstance(after, list):
        pairs = max(len(before or ()), len(after or ()))
        for number in range(pairs):
            one, other = ((x or [])[number : number + 1] or [None] for x in (before, after))
            yield from differences(one[0], other[0], f"{path}[]")
    elif before != after:
        yield path


def is_lossy(path: str, form: exchange.Form) -> bool:
    return exchange._covered(path, set(form.lossy))


@pytest.mark.parametrize("name", FORMS)
def test_every_field_of_a_record_has_a_line_or_is_named_as_lost(name: str) -> None:
    form = exchange.form(name)
    known = {line.ours for line in form.lines if line.ours} | set(form.lost)
    contacts = {"provider.contact", "user.contact", "intermediaries[].contact"}
    without = [
        path
        for path, _ in leaves(schema("trading-record"))
        if not exchange._covered(path, known) and path not in contacts
    ]
    assert without == []


@pytest.mark.parametrize("name", FORMS)
def test_a_trade_comes_back_field_by_field_but_for_what_is_named(name: str, trade: Parts) -> None:
    record = build(**trade("trd_1"))
    form = exchange.form(name)
    told = json.loads(json.dumps(form.say(record)))
    again, notes = form.read(told)
    assert notes == ()
    assert [p for p in differences(record, again) if not is_lossy(p, form)] == []
    assert valid(again)
    assert form.say(again) == told


@pytest.mark.parametrize("name", FORMS)
@examples(max_examples=20)
@given(data=st.data())
def test_any_record_comes_back_but_for_what_is_named(name: str, data: st.DataObject) -> None:
    record = data.draw(RECORDS)
    form = exchange.form(name)
    again, notes = form.read(json.loads(json.dumps(form.say(record))))
    assert notes == ()
    assert [p for p in differences(record, again) if not is_lossy(p, form)] == []


@pytest.mark.parametrize("name", FORMS)
def test_a_form_says_that_it_is_not_the_exchanges_own(name: str, trade: Parts) -> None:
    text = (exchange.FOLDER / f"{name}.toml").read_text("utf-8")
    form = exchange.form(name)
    assert "adapt before use" in form.notice.en
    assert "适配" in form.notice.zh
    if name != "generic":
        assert text.startswith("# FORMAT NOT PUBLIC: ADAPT BEFORE USE.")
        said = json.dumps(form.say(build(**trade("trd_1"))), ensure_ascii=False)
        assert "NOT PUBLIC" in said or "格式未公开" in said


def test_a_value_without_a_word_is_refused_by_place_and_not_repeated(trade: Parts) -> None:
    form = exchange.form("gzdex")
    record = build(**trade("trd_1"))
    record["contract"]["status"] = "secret-status"
    record["delivery"][0]["mode"] = "pigeon"
    with pytest.raises(InvalidDocument) as refused:
        form.say(record)
    assert [p.pointer for p in refused.value.problems] == ["/contract/status", "/delivery/0/mode"]
    assert "secret-status" not in str(refused.value.as_json())


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("计价", {"金额元": "12.3"}),
        ("计价", {"金额元": 12.30}),
        ("计价", {"金额元": "-1.00"}),
        ("计价", {"金额元": "1e3.00"}),
        ("计价", {"金额元": "٣.٠٠"}),
        ("合同", {"签署时间": "2026-13-01 00:00:00"}),
        ("合同", {"合同状态": "已签"}),
        ("说明", "format of the exchange"),
        ("权利内容", [{"独占": "maybe"}]),
    ],
)
def test_what_is_wrong_in_a_form_is_named(trade: Parts, path: str, value: Any) -> None:
    form = exchange.form("gzdex")
    told = {**form.say(build(**trade("trd_1"))), path: value}
    with pytest.raises(InvalidDocument) as refused:
        form.read(told)
    assert refused.value.problems[0].pointer.startswith(f"/{path}")


def test_what_the_mapping_does_not_know_is_left_out_and_said(trade: Parts) -> None:
    form = exchange.form("gzdex")
    told = form.say(build(**trade("trd_1")))
    told["合同"]["备注"] = "x"
    record, notes = form.read({**told, "附件": [{"名称": "y"}]})
    assert valid(record)
    assert [n.pointer for n in notes] == ["/合同/备注", "/附件[]/名称"]


def test_a_form_of_ones_own_is_loaded_and_a_wrong_one_refused(tmp_path: Path) -> None:
    good = (exchange.FOLDER / "szdex.toml").read_text("utf-8")
    path = tmp_path / "own.toml"
    path.write_text(good.replace('name = "szdex"', 'name = "own"'), "utf-8")
    assert exchange.load_form(path).name == "own"
    for old, new in (
        ('theirs = "order.orderId"', 'theirs = "order.marketCode"'),
        ('signed = "2"', 'signed = "1"'),
        ('codes = "bizType"', 'codes = "nothing"'),
        ('unit = "beijing"', 'unit = "moon"'),
        ('theirs = "agents[].orgName"', 'theirs = "agents.orgName"'),
        ('ours = "trade_id"', 'mine = "trade_id"'),
        ("fields = [", "fields = 7\nx = ["),
    ):
        path.write_text(good.replace(old, new, 1), "utf-8")
        with pytest.raises(InvalidInput):
            exchange.load_form(path)
    with pytest.raises(NotFound):
        exchange.form("../generic")
