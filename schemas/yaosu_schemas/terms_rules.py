"""What a buyer pays, for how long, and under which licence: rules between the fields."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from decimal import Decimal, InvalidOperation
from typing import Any

from yaosu_schemas.errors import InvalidInput, Problem, Text

from .codes import code_list
from .formats import is_date
from .licences import from_open_definition, licences, parse, resale_findings
from .places import ELEMENT, Place, missing, part, rows, strings, wrong
from .texts import clip

_DERIVED_ORIGINS = frozenset({"derived", "fused"})


def terms_rules(document: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield what is wrong with the offer and the licence of a descriptor."""
    element = part(document, ELEMENT)
    offer = part(element, "offer")
    yield from offer_rules(offer, (ELEMENT, "offer"), "dataset")
    yield from _within_registration(element, offer)
    yield from _trial(document, offer)
    yield from _licence(document, element)


def offer_rules(offer: Mapping[str, Any], place: Place, schema: str) -> Iterator[Problem]:
    """Yield what is wrong inside an offer, wherever it stands."""
    modes = code_list("pricing_mode")
    for i, price in rows(offer, "pricing"):
        entry = modes.get(str(price.get("mode")))
        if entry is None:
            continue
        here: Place = (*place, "pricing", i)
        why = Text(f"the mode is: {entry.en}", f"计价方式为“{entry.zh}”")
        if entry["price"] == "required" and not {"price_fen", "tiers"} & price.keys():
            yield missing((*here, "price_fen"), why, schema)
        if entry["unit"] == "required" and "unit" not in price:
            yield missing((*here, "unit"), why, schema)
        if entry.code == "revenue_share" and "share_rate" not in price:
            yield missing((*here, "share_rate"), why, schema)
        if entry["price"] in ("none", "zero") and price.get("price_fen"):
            text = Text(f"there is a price, and {why.en}", f"填写了价格，但{why.zh}")
            yield wrong((*here, "price_fen"), "price_differs", text, schema=schema)
        yield from _tiers(price, here, schema)
        yield from _share(price, "share_rate", here, schema)
    yield from _share(offer, "tax_rate", place, schema)
    for i, share in rows(offer, "splits"):
        if len({"permille", "basis_points"} & share.keys()) != 1:
            text = Text(
                "a share is given once: per mille or in basis points",
                "分成须以千分比或万分比填写一次",
            )
            yield wrong((*place, "splits", i), "share_once", text, schema=schema)


def _tiers(price: Mapping[str, Any], place: Place, schema: str) -> Iterator[Problem]:
    starts = [_decimal(row.get("from_qty")) for _, row in rows(price, "tiers")]
    known = [s for s in starts if s is not None]
    if known == starts and any(b <= a for a, b in zip(known, known[1:], strict=False)):
        text = Text("their quantities do not rise", "起始数量须递增")
        yield wrong((*place, "tiers"), "tiers_order", text, schema=schema)


def _share(value: Mapping[str, Any], key: str, place: Place, schema: str) -> Iterator[Problem]:
    rate = _decimal(value.get(key))
    if rate is not None and rate > 1:
        text = Text("it is a share and at most 1", "比例不得大于 1")
        yield wrong((*place, key), "rate_above_one", text, schema=schema)


def _decimal(value: Any) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, int | str):
        return None
    try:
        return Decimal(value)
    except InvalidOperation:
        return None


def _within_registration(element: Mapping[str, Any], offer: Mapping[str, Any]) -> Iterator[Problem]:
    last, until = offer.get("valid_to"), part(element, "registration").get("valid_until")
    if (
        isinstance(last, str)
        and isinstance(until, str)
        and is_date(last)
        and is_date(until)
        and last > until
    ):
        text = Text(
            f"it ends on {last}, after the registration ends on {until}",
            f"截止日 {last} 晚于登记有效期 {until}",
        )
        yield wrong((ELEMENT, "offer", "valid_to"), "offer_outlives_registration", text)


def _trial(document: Mapping[str, Any], offer: Mapping[str, Any]) -> Iterator[Problem]:
    name = part(offer, "trial").get("resource")
    names = [resource.get("name") for _, resource in rows(document, "resources")]
    if isinstance(name, str) and name not in names:
        text = Text(f"there is no resource {clip(name)!r}", f"不存在资源“{clip(name)}”")
        yield wrong((ELEMENT, "offer", "trial", "resource"), "unknown_resource", text)


def _licence(document: Mapping[str, Any], element: Mapping[str, Any]) -> Iterator[Problem]:
    expression = element.get("license_spdx")
    if not isinstance(expression, str):
        return
    try:
        named = list(licences(parse(expression)))
    except InvalidInput:
        return  # told by the format of the field
    place: Place = (ELEMENT, "license_spdx")
    texts = [row for _, row in rows(document, "licenses") if "path" in row]
    if any(licence.is_reference for licence in named) and not texts:
        why = Text(
            "a licence outside the SPDX list needs a `path` to its text",
            "SPDX 列表之外的许可须在 path 中给出全文",
        )
        yield missing(("licenses", 0, "path"), why)
    ids = {licence.id for licence in named}
    for i, row in rows(document, "licenses"):
        spdx = from_open_definition(str(row.get("name", "")))
        if spdx is not None and spdx not in ids:
            text = Text(
                f"it is {spdx}, which the SPDX expression {clip(expression)!r} does not name",
                f"对应 {spdx}，与 SPDX 表达式“{clip(expression)}”不一致",
            )
            yield wrong(("licenses", i, "name"), "licence_differs", text, "warning")
    rights = [str(row.get("type")) for _, row in rows(element, "rights")]
    ai = part(element, "ai")
    derived = bool(
        _DERIVED_ORIGINS & set(strings(part(element, "provenance"), "origin"))
        or part(ai, "annotation")
    )
    for problem in resale_findings(expression, rights, derived=derived):
        yield wrong(place, problem.code, Text(problem.en, problem.zh), problem.severity)
