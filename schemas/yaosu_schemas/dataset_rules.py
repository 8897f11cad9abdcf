"""What JSON Schema cannot say of a descriptor: conditions, sums, orders, law.

Every rule reads only values of the right type (the schema has told of the others) and yields
problems: `missing` for what a condition asks for, `error` for contradictions, `warning` for
advice.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from yaosu_schemas.errors import Problem, Text

from .codes import code_list
from .formats import is_date
from .paths import collisions, is_remote, path_problem
from .places import (
    ELEMENT,
    Place,
    are_counts,
    missing,
    part,
    rows,
    strings,
    uscc_warnings,
    wrong,
)
from .policy_rules import policy_rules
from .registration_rules import registration_rules
from .terms_rules import terms_rules
from .texts import clip

TITLE_ADVICE = 40
DESCRIPTION_ADVICE = 400
_TUNING = frozenset({"pretraining", "instruction_tuning"})


def dataset_rules(document: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield every problem of a descriptor that its schema cannot state."""
    yield from _lints(document)
    yield from _resources(document)
    yield from _licence_entries(document)
    element = document.get(ELEMENT)
    if not isinstance(element, dict):
        return
    yield from registration_rules(element)
    yield from _sizes(document, element)
    yield from _spans(element)
    yield from _ai(element)
    yield from _provenance(element)
    yield from _compliance(element)
    yield from terms_rules(document)
    if isinstance(element.get("policy"), dict):
        yield from policy_rules(element["policy"], (ELEMENT, "policy"))


def _lints(document: Mapping[str, Any]) -> Iterator[Problem]:
    for key, limit in (("title", TITLE_ADVICE), ("description", DESCRIPTION_ADVICE)):
        value = document.get(key)
        if isinstance(value, str) and len(value) > limit:
            text = Text(
                f"it has {len(value)} characters; a registration advises at most {limit}",
                f"共 {len(value)} 个字符，登记时不宜超过 {limit} 个",
            )
            yield wrong((key,), "long_text", text, "warning")


def _resources(document: Mapping[str, Any]) -> Iterator[Problem]:
    seen: dict[str, int] = {}
    paths: dict[str, Place] = {}
    for i, resource in rows(document, "resources"):
        name = resource.get("name")
        if isinstance(name, str) and seen.setdefault(name, i) != i:
            text = Text(
                f"another resource has the name {clip(name)!r}", f"与其他资源同名：“{clip(name)}”"
            )
            yield wrong(("resources", i, "name"), "duplicate_resource", text)
        yield from _resource_places(resource, i, paths)
        yield from _resource_digests(resource, i)
        for key in ("schema", "dialect"):
            value = resource.get(key)
            if isinstance(value, str):
                yield from _place(value, ("resources", i, key))
    for first, second in collisions(paths):
        text = Text(
            f"a file system that ignores case takes it for {clip(first)!r}",
            f"在不区分大小写的文件系统中与“{clip(first)}”相同",
        )
        yield wrong(paths[second], "path_collision", text)


def _resource_places(
    resource: Mapping[str, Any], i: int, paths: dict[str, Place]
) -> Iterator[Problem]:
    path = resource.get("path")
    if path is None and "data" not in resource:
        yield missing(("resources", i, "path"), Text("a resource is a file", "资源须为文件"))
    if "data" in resource:
        text = Text(
            "the rows stand inside the descriptor; put them in a file before submission",
            "数据内嵌于描述文件中，提交前须存为文件",
        )
        yield wrong(("resources", i, "data"), "inline_data", text, "missing")
    several = path if isinstance(path, list) else [path]
    for n, one in enumerate(several):
        if isinstance(one, str):
            place: Place = ("resources", i, "path", n)[: 4 if isinstance(path, list) else 3]
            paths.setdefault(one, place)
            yield from _place(one, place)


def _place(path: str, place: Place) -> Iterator[Problem]:
    if is_remote(path):
        text = Text(
            f"{clip(path)} lies elsewhere and is not fetched; put the file in the package",
            f"{clip(path)} 位于外部，平台不会访问；请将文件放入数据包",
        )
        yield wrong(place, "remote_path", text, "missing")
        return
    problem = path_problem(path)
    if problem is not None:
        text = Text(
            f"{clip(path)!r} is not safe: {problem.en}", f"“{clip(path)}”不安全：{problem.zh}"
        )
        yield wrong(place, "unsafe_path", text)


def _resource_digests(resource: Mapping[str, Any], i: int) -> Iterator[Problem]:
    path = resource.get("path")
    if isinstance(path, list):
        named = [row.get("path") for _, row in rows(resource, "parts")]
        if not named:
            why = Text("each file has its size and digest", "须注明各文件的大小与摘要")
            yield missing(("resources", i, "parts"), why)
        elif named != path:
            text = Text(
                "they are not the files of `path`, in that order", "与 path 所列文件及顺序不一致"
            )
            yield wrong(("resources", i, "parts"), "parts_differ", text)
    elif isinstance(path, str):
        for key in ("bytes", "hash"):
            if key not in resource:
                why = Text("it pins what is sold", "用于固定所交易的内容")
                yield missing(("resources", i, key), why)


def _licence_entries(document: Mapping[str, Any]) -> Iterator[Problem]:
    for i, licence in rows(document, "licenses"):
        if "name" not in licence and "path" not in licence:
            why = Text("a licence has a name or a path", "许可须有名称或全文路径")
            yield missing(("licenses", i, "name"), why)


def _sizes(document: Mapping[str, Any], element: Mapping[str, Any]) -> Iterator[Problem]:
    size, place = part(element, "size"), (ELEMENT, "size")
    if "tokens" in size and "tokenizer" not in size:
        why = Text("a count of tokens means nothing without it", "词元数须注明分词器")
        yield missing((*place, "tokenizer"), why)
    splits: list[Any] = [row.get("records") for _, row in rows(part(element, "ai"), "splits")]
    records = size.get("records")
    if splits and are_counts([*splits, records]) and sum(splits) != records:
        text = Text(
            f"they add up to {sum(splits)} records, and the dataset has {records}",
            f"各划分合计 {sum(splits)} 条，而数据集共 {records} 条",
        )
        yield wrong((ELEMENT, "ai", "splits"), "splits_differ", text)
    counted: list[Any] = [_bytes_of(resource) for _, resource in rows(document, "resources")]
    total = size.get("bytes")
    if counted and are_counts([*counted, total]) and sum(counted) != total:
        text = Text(
            f"the resources add up to {sum(counted)} bytes, not {total}",
            f"各资源合计 {sum(counted)} 字节，与 {total} 不符",
        )
        yield wrong((*place, "bytes"), "bytes_differ", text, "warning")


def _bytes_of(resource: Mapping[str, Any]) -> Any:
    if isinstance(resource.get("bytes"), int):
        return resource["bytes"]
    parts: list[Any] = [row.get("bytes") for _, row in rows(resource, "parts")]
    return sum(parts) if parts and are_counts(parts) else None


def _spans(element: Mapping[str, Any]) -> Iterator[Problem]:
    spans: list[tuple[Mapping[str, Any], str, str, Place]] = [
        (part(part(element, "coverage"), "temporal"), "start", "end", ("coverage", "temporal")),
        (part(element, "provenance"), "acquired_from", "acquired_to", ("provenance",)),
        (part(element, "offer"), "valid_from", "valid_to", ("offer",)),
        (part(element, "registration"), "registered_at", "valid_until", ("registration",)),
    ]
    spans += [(r, "term_start", "term_end", ("rights", i)) for i, r in rows(element, "rights")]
    for value, start, end, place in spans:
        first, last = value.get(start), value.get(end)
        if (
            isinstance(first, str)
            and isinstance(last, str)
            and is_date(first)
            and is_date(last)
            and last < first
        ):
            text = Text(
                f"it ends on {last}, before it begins on {first}",
                f"结束日 {last} 早于起始日 {first}",
            )
            yield wrong((ELEMENT, *place, end), "ends_before_start", text)


def _ai(element: Mapping[str, Any]) -> Iterator[Problem]:
    ai, form = part(element, "ai"), part(element, "form")
    spoken = {"text", "audio"}
    if spoken & {*strings(ai, "modalities"), *strings(form, "content")} and not strings(
        element, "languages"
    ):
        why = Text("text and audio have a language", "文本与音频须注明语种")
        yield missing((ELEMENT, "languages"), why)
    if ai.get("generated_indicator") in ("1", "mixed") and not ai.get("generator"):
        why = Text("something was generated by a model", "含模型生成数据")
        yield missing((ELEMENT, "ai", "generator"), why)
    if ai.get("generated_indicator") == "0" and ai.get("generator"):
        text = Text(
            "a model is named, and nothing is said to be generated",
            "列出了生成模型，却声明不含生成数据",
        )
        yield wrong((ELEMENT, "ai", "generator"), "generator_differs", text)
    names = [row.get("name") for _, row in rows(ai, "splits")]
    if len(set(map(str, names))) < len(names):
        text = Text("two splits have the same name", "存在同名划分")
        yield wrong((ELEMENT, "ai", "splits"), "duplicate_split", text)


def _provenance(element: Mapping[str, Any]) -> Iterator[Problem]:
    provenance = part(element, "provenance")
    place: Place = (ELEMENT, "provenance")
    records = list(rows(provenance, "source_records"))
    crawled = "crawled" in strings(provenance, "origin") or any(
        r.get("kind") == "crawl" for _, r in records
    )
    if crawled:
        why = Text("data was collected by automated programs", "数据由自动化程序采集")
        for key in ("robots_respected", "optout_checked", "top_domains"):
            if key not in provenance:
                yield missing((*place, key), why)
    for i, record in records:
        kind = code_list("source_kind").get(str(record.get("kind")))
        for key in kind["needs"].split() if kind is not None else ():
            if key not in record:
                assert kind is not None
                why = Text(f"the source is: {kind.en}", f"来源类型为“{kind.zh}”")
                yield missing((*place, "source_records", i, key), why)


def _compliance(element: Mapping[str, Any]) -> Iterator[Problem]:
    compliance = part(element, "compliance")
    place: Place = (ELEMENT, "compliance")
    if compliance.get("data_level") == "core":
        text = Text("core data may not be traded here", "核心数据不得在此交易")
        yield wrong((*place, "data_level"), "core_data", text)
    needs: dict[str, Text] = {}
    if compliance.get("data_level") == "important":
        needs["important_approval"] = Text("the data is important data", "数据级别为重要数据")
    # De-identified data is still personal information (个人信息保护法 arts 4, 73).
    if compliance.get("personal_info") in ("personal", "sensitive", "deidentified"):
        why = Text("it holds personal information", "含个人信息")
        needs |= {"consent_basis": why, "pia_doc": why}
    if compliance.get("personal_info") == "sensitive":
        why = Text("it holds sensitive personal information", "含敏感个人信息")
        needs |= {"sensitive_types": why, "separate_consent_doc": why}
    ai = part(element, "ai")
    if ai.get("public_service") is True and _TUNING & set(strings(ai, "stage")):
        why = Text("it trains a public generative service", "用于面向公众的生成式服务的训练")
        needs["safety_report"] = why
    for key, why in needs.items():
        if not compliance.get(key):
            yield missing((*place, key), why)
    yield from uscc_warnings(part(compliance, "legal_opinion"), "uscc", (*place, "legal_opinion"))
