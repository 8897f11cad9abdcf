"""Who applies, what is registered, and which rights the origin of the data supports.

The national rule is 国数综政策〔2026〕35号; its limits that say 一般 (generally) are warnings.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from datetime import date
from typing import Any

from yaosu_schemas.errors import Problem, Text

from .codes import code_list
from .formats import is_date
from .identifiers import certificate_number, identity_number
from .places import ELEMENT, Place, missing, part, rows, strings, uscc_warnings, wrong

# 国数综政策〔2026〕35号 art. 26: generally at most five years from the date of record.
TERM_YEARS = 5
_NEEDED = ("kind", "certificate_no", "agency", "registered_at", "valid_until")


def registration_rules(element: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield what is wrong with applicant, registration and rights."""
    yield from _holder(element)
    yield from _registration(element)
    yield from _rights(element)
    yield from _supported(element)
    yield from _identifiers(element)


def _holder(element: Mapping[str, Any]) -> Iterator[Problem]:
    place: Place = (ELEMENT, "holder")
    holder = part(element, "holder")
    if holder.get("id_type") == "uscc" and "uscc" not in holder:
        why = Text("the identity document is a credit code", "证件类型为统一社会信用代码")
        yield missing((*place, "uscc"), why)
    if holder.get("type") == "legal_person" and holder.get("id_type") == "id_card":
        text = Text("a legal person has a credit code", "法人应使用统一社会信用代码")
        yield wrong((*place, "id_type"), "id_type_differs", text)
    for key, value in holder.items():
        if isinstance(value, str) and identity_number(value.strip()).valid:
            text = Text(
                "it holds an identity card number, which must not stand in a descriptor",
                "含有居民身份证号码，不得写入描述文件",
            )
            yield wrong((*place, key), "identity_number", text)
    yield from uscc_warnings(holder, "uscc", place)


def _registration(element: Mapping[str, Any]) -> Iterator[Problem]:
    registration = part(element, "registration")
    place: Place = (ELEMENT, "registration")
    scheme = registration.get("scheme")
    if isinstance(scheme, str) and scheme != "none":
        why = Text("the data is registered", "数据已登记")
        for key in _NEEDED:
            if key not in registration:
                yield missing((*place, key), why)
    if scheme == "none" and "certificate_no" in registration:
        text = Text(
            "a certificate is named, and the scheme is none", "填写了凭证编号，却声明未登记"
        )
        yield wrong((*place, "scheme"), "scheme_differs", text)
    if "public_authorized" in strings(part(element, "provenance"), "origin") and (
        "public_data_no" not in registration
    ):
        why = Text("public data is operated under authorisation", "属公共数据授权运营")
        yield missing((*place, "public_data_no"), why)
    yield from _kind(registration, place)
    number = registration.get("certificate_no")
    if scheme == "nda" and isinstance(number, str):
        problem = certificate_number(number).problem
        if problem is not None:
            yield wrong((*place, "certificate_no"), "certificate_no", problem)
    yield from _term(registration, place)
    yield from uscc_warnings(registration, "agency_uscc", place)


def _kind(registration: Mapping[str, Any], place: Place) -> Iterator[Problem]:
    scheme, kind = registration.get("scheme"), registration.get("kind")
    entry = code_list("registration_kind").get(str(kind))
    if entry is None or scheme == "none" or scheme not in code_list("registration_scheme"):
        return
    if scheme not in entry["schemes"].split():
        names = code_list("registration_scheme").text(str(scheme))
        text = Text(
            f"the scheme {names.en!r} knows no kind {entry.en!r}",
            f"“{names.zh}”没有“{entry.zh}”这一类型",
        )
        yield wrong((*place, "kind"), "kind_of_other_scheme", text)


def _term(registration: Mapping[str, Any], place: Place) -> Iterator[Problem]:
    first, last = registration.get("registered_at"), registration.get("valid_until")
    if registration.get("scheme") != "nda" or not _are_dates(first, last):
        return
    start = date.fromisoformat(str(first))
    if date.fromisoformat(str(last)) > _years_later(start, TERM_YEARS):
        text = Text(
            f"it is more than {TERM_YEARS} years after the date of record (art. 26)",
            f"超过存证日期后 {TERM_YEARS} 年（第二十六条：一般不超过）",
        )
        yield wrong((*place, "valid_until"), "long_term", text, "warning")


def _years_later(start: date, years: int) -> date:
    try:
        return start.replace(year=start.year + years)
    except ValueError:  # 29 February, or beyond the calendar
        return date(min(start.year + years, 9999), 3, 1)


def _are_dates(*values: Any) -> bool:
    return all(isinstance(v, str) and is_date(v) for v in values)


def _rights(element: Mapping[str, Any]) -> Iterator[Problem]:
    holder = part(element, "holder")
    named = False
    for i, right in rows(element, "rights"):
        place: Place = (ELEMENT, "rights", i)
        own = right.get("holder_name") == holder.get("name")
        named = named or own or right.get("holder_uscc") == holder.get("uscc")
        person = own and holder.get("type") == "natural_person"
        if "holder_uscc" not in right and not person:
            why = Text("the holder is not a natural person", "权利主体不是自然人")
            yield missing((*place, "holder_uscc"), why)
        yield from uscc_warnings(right, "holder_uscc", place)
    if list(rows(element, "rights")) and not named:
        text = Text("none of them belongs to the applicant", "其中没有申请人的权利")
        yield wrong((ELEMENT, "rights"), "applicant_without_right", text, "warning")


def _identifiers(element: Mapping[str, Any]) -> Iterator[Problem]:
    for i, row in rows(element, "identifiers"):
        entry, value = code_list("identifier_scheme").get(str(row.get("scheme"))), row.get("value")
        if entry is None or not isinstance(value, str) or len(value) > 500:
            continue
        if not re.fullmatch(entry["pattern"], value):
            text = Text(f"it is no {entry.en}", f"不是有效的{entry.zh}")
            yield wrong((ELEMENT, "identifiers", i, "value"), "identifier_form", text)


def _supported(element: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield rights that an origin does not support (arts 20-21): each origin has its say."""
    provenance = part(element, "provenance")
    for i, right in rows(element, "rights"):
        kind = right.get("type")
        if kind not in ("hold", "use", "operate"):
            continue
        for origin in strings(provenance, "origin"):
            entry = code_list("origin").get(origin)
            if entry is not None:
                place: Place = (ELEMENT, "rights", i, "type")
                yield from _verdict(entry[kind], entry.text, provenance, place)


def _verdict(
    condition: str, origin: Text, provenance: Mapping[str, Any], place: Place
) -> Iterator[Problem]:
    source: Place = (ELEMENT, "provenance")
    if condition == "no":
        text = Text(
            f"the origin “{origin.en}” supports no right", f"来源“{origin.zh}”不支持登记任何权利"
        )
        yield wrong(place, "right_not_supported", text)
    elif condition == "not_substitute":
        replaces = provenance.get("substitutes_source")
        if replaces is True:
            text = Text(
                "data collected by programs that replaces its source supports no right to operate",
                "对来源构成实质性替代的自动化采集数据不支持经营权",
            )
            yield wrong(place, "right_not_supported", text)
        elif replaces is None:
            why = Text("crawled data is to be operated", "拟经营自动化采集的数据")
            yield missing((*source, "substitutes_source"), why)
    elif condition == "consent" and "fusion_consent" not in provenance:
        why = Text("fused data is to be operated", "拟经营融合数据")
        yield missing((*source, "fusion_consent"), why)
    elif condition == "agreed" and not any(
        "contract_no" in record for _, record in rows(provenance, "source_records")
    ):
        text = Text(
            "it rests on an agreement, and no source record names its contract (art. 20)",
            "权利以协议为依据，但来源记录未注明合同（第二十条）",
        )
        yield wrong(place, "agreement_not_named", text, "warning")
