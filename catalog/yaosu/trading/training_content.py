"""What a model developer has to show of bought data, from what the market knows of it.

Two tables: the sections of the public summary of training content (EU AI Act art. 53(1)(d), the
Commission's template of 2025) and the records of corpus sources that TC260-003 asks for. What the
market cannot know is named as blank, never guessed; neither table is an official form.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from yaosu.errors import Text
from yaosu.model import Listing, Party, StoredReport, Trade
from yaosu.model_evidence import UsageReceipt
from yaosu.ports import Reader
from yaosu.present import plain
from yaosu.quality import manual_sample

from . import usage

BLANK = Text(
    "not known to the market: the provider of the model fills it in",
    "平台不掌握，由模型提供者填写",
)
_RUN_BY_SPREADSHEETS = ("=", "+", "-", "@", "\t", "\r", "＝", "＋", "－", "＠")
_SIZES: Mapping[str, Text] = {
    "records": Text("records", "记录数"),
    "bytes": Text("bytes", "字节数"),
    "tokens": Text("tokens", "词元数"),
    "images": Text("images", "图像数"),
    "duration_s": Text("seconds", "时长（秒）"),
}
_TC260 = ("tc260:source_bad", "tc260:manual_pass", "tc260:tech_pass", "tc260:source_div")


@dataclass(frozen=True, slots=True)
class Bought:
    """One version delivered under a trade, with what its listing and report say of the data."""

    trade: Trade
    listing: Listing
    provider: Party
    content_digest: str
    report_digest: str | None
    metrics: Sequence[Mapping[str, Any]]

    @property
    def element(self) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.listing.descriptor.get("dataElement") or {}
        return found

    def of(self, *path: str) -> Any:
        """Return what the data element says at a path, or None."""
        value: Any = self.element
        for name in path:
            value = value.get(name) if isinstance(value, Mapping) else None
        return value


def bought(reader: Reader, party_id: str) -> list[Bought]:
    """Return everything that was delivered to a party, oldest trade first."""
    found: list[Bought] = []
    after: str | None = None
    while page := reader.find(Trade, user_id=party_id, after=after, limit=500):
        after = page[-1].id
        for trade in page:
            provider = reader.get(Party, trade.provider_id)
            for listing_id, content in usage.delivered(reader, trade):
                listing = reader.get(Listing, listing_id)
                report, metrics = _judged(reader, listing)
                found.append(Bought(trade, listing, provider, content, report, metrics))
    return found


def _judged(reader: Reader, listing: Listing) -> tuple[str | None, list[Mapping[str, Any]]]:
    """Return the digest of a version's report, and every measure of it."""
    report = reader.get(StoredReport, listing.report_id) if listing.report_id else None
    counted = (report.body.get("metrics") or ()) if report else ()
    return report.digest if report else None, [
        *counted,
        *manual_sample.measures(reader, listing),
    ]


# --- the summary of training content ------------------------------------------------------------


def summary(
    reader: Reader, party_id: str, model: str | None = None, version: str | None = None
) -> dict[str, Any]:
    """Return the sections of the summary for what fed a model, or for everything bought."""
    receipts = [
        r
        for r in usage.used_by(reader, party_id, model)
        if version is None or r.model_version == version
    ]
    fed = usage.totals(receipts)
    data = [b for b in bought(reader, party_id) if model is None or b.trade.id in fed]
    party = reader.get(Party, party_id)
    rows = [
        *_general(party, receipts, data),
        *_sources(data, fed),
        *_processing(data),
    ]
    return {
        "type": "yaosu-training-content",
        "version": 1,
        "template": "EU 2024/1689 art. 53(1)(d), template of 2025-07-24; not an official form",
        "model": model,
        "model_version": version,
        "usage_receipts": [{"usage_receipt_id": r.id, "digest": r.digest} for r in receipts],
        "rows": rows,
    }


def _row(section: str, en: str, zh: str, value: Any = None, basis: str = "") -> dict[str, Any]:
    """Return one line; an empty value is named as blank."""
    empty = value in (None, "", [], {})
    return {
        "section": section,
        "item": en,
        "item_zh": zh,
        "value": None if empty else plain(value),
        "blank": BLANK.en if empty else "",
        "blank_zh": BLANK.zh if empty else "",
        "basis": "" if empty else basis,
    }


def _general(
    party: Party, receipts: Sequence[UsageReceipt], data: Sequence[Bought]
) -> Iterator[dict[str, Any]]:
    models = sorted({f"{r.model} {r.model_version}".strip() for r in receipts})
    modalities = sorted({m for b in data for m in b.of("ai", "modalities") or ()})
    yield _row("1.1", "Provider of the model", "模型提供者", party.name, "market")
    yield _row("1.1", "Authorised representative", "授权代表")
    yield _row("1.2", "Models and versions", "模型及版本", models, "usage receipts")
    yield _row("1.2", "Date placed on the market", "投放市场日期")
    yield _row("1.3", "Modalities of bought data", "已购数据模态", modalities, "descriptors")
    for name, called in _SIZES.items():
        total = sum(b.of("size", name) or 0 for b in data)
        yield _row(
            "1.3",
            f"Size of bought data: {called.en}",
            f"已购数据规模：{called.zh}",
            total or None,
            "descriptors",
        )
    languages = sorted({t for b in data for t in b.of("languages") or ()})
    yield _row("1.3", "Languages", "语种", languages, "descriptors")
    yield _row("1.3", "Size range of all training data", "全部训练数据规模区间")
    latest = max((str(b.of("provenance", "acquired_to") or "") for b in data), default="")
    yield _row(
        "1.3", "Latest acquisition of bought data", "已购数据最近采集日期", latest, "descriptors"
    )


def _sources(
    data: Sequence[Bought], fed: Mapping[str, Mapping[str, Any]]
) -> Iterator[dict[str, Any]]:
    licensed = [_dataset(b, fed) for b in data if b.trade.terms.mode != "free"]
    free = [_dataset(b, fed) for b in data if b.trade.terms.mode == "free"]
    crawled = [
        {"dataset": _name(b), "top_domains": b.of("provenance", "top_domains") or []}
        for b in data
        if "crawled" in (b.of("provenance", "origin") or ())
    ]
    synthetic = [
        {"dataset": _name(b), "indicator": b.of("ai", "generated_indicator"),
         "generators": b.of("ai", "generator") or []}
        for b in data
        if str(b.of("ai", "generated_indicator")) not in ("0", "None")
    ]  # fmt: skip
    yield _row("2.1", "Public datasets, free of charge", "公开且免费的数据集", free, "trades")
    yield _row(
        "2.2",
        "Data licensed or bought from third parties",
        "自第三方许可或购买的数据",
        licensed,
        "trades",
    )
    yield _row(
        "2.3",
        "Bought data that others had crawled",
        "由他人爬取后出售的数据",
        crawled,
        "descriptors",
    )
    yield _row("2.3", "Data crawled by the provider of the model", "模型提供者自行爬取的数据")
    yield _row("2.4", "User data", "用户数据")
    yield _row(
        "2.5",
        "Bought data with generated content",
        "含生成内容的已购数据",
        synthetic,
        "descriptors",
    )
    yield _row("2.6", "Other sources", "其他来源")


def _name(b: Bought) -> str:
    return f"{b.listing.publisher}/{b.listing.name} v{b.listing.descriptor.get('version') or ''}"


def _dataset(b: Bought, fed: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    used = fed.get(b.trade.id) or {}
    return {
        "dataset": _name(b),
        "title": b.listing.title,
        "rights_holder": b.provider.name,
        "trade_id": b.trade.id,
        "contract_no": b.trade.agreement["contract_no"] if b.trade.agreement else None,
        "licence": b.of("license_spdx"),
        "content_digest": b.content_digest,
        "modalities": b.of("ai", "modalities") or [],
        "size": {n: b.of("size", n) for n in _SIZES if b.of("size", n)},
        "collected": [b.of("provenance", "acquired_from"), b.of("provenance", "acquired_to")],
        "models": used.get("models") or [],
        "tokens_used": used.get("tokens"),
    }


def _processing(data: Sequence[Bought]) -> Iterator[dict[str, Any]]:
    def each(*path: str) -> list[dict[str, Any]]:
        return [
            {"dataset": _name(b), path[-1]: b.of(*path)} for b in data if b.of(*path) is not None
        ]

    measured = [
        {"dataset": _name(b), **{str(m["id"]): m.get("value") for m in b.metrics if _on_safety(m)}}
        for b in data
        if any(map(_on_safety, b.metrics))
    ]
    yield _row(
        "3.1",
        "Opt-outs checked (bought data)",
        "已核查退出声明（已购数据）",
        each("provenance", "optout_checked"),
        "descriptors",
    )
    yield _row(
        "3.1",
        "Robots rules respected (bought data)",
        "已遵守爬虫协议（已购数据）",
        each("provenance", "robots_respected"),
        "descriptors",
    )
    yield _row("3.1", "Measures for copyright of the provider of the model", "模型提供者的版权措施")
    yield _row(
        "3.2",
        "Measured on bought data: unsafe and personal content",
        "已购数据实测：不安全与个人信息内容",
        measured,
        "quality reports",
    )
    yield _row(
        "3.2",
        "Removal of illegal content by the provider of the model",
        "模型提供者的违法内容清除措施",
    )
    yield _row("3.3", "Other relevant processing", "其他相关处理")


def _on_safety(metric: Mapping[str, Any]) -> bool:
    named = str(metric.get("id"))
    return named in _TC260 or named in ("tc609:0202", "iso5259:Idn-ML-1", "own:pii_records")


# --- records of corpus sources ------------------------------------------------------------------

COLUMNS: Mapping[str, Text] = {
    "corpus": Text("Corpus", "语料名称"),
    "source_type": Text("Kind of source", "来源类型"),
    "supplier": Text("Supplier", "提供方"),
    "supplier_uscc": Text("Its credit code", "提供方统一社会信用代码"),
    "contract_no": Text("Contract", "交易合同编号"),
    "voucher_no": Text("Voucher", "交易凭证号"),
    "certificate_no": Text("Registration certificate", "登记凭证编号"),
    "licence": Text("Licence", "许可"),
    "origin": Text("Origin of the data", "数据来源"),
    "source_records": Text("Records of its sources", "来源记录"),
    "collected_from": Text("Collected from", "采集开始"),
    "collected_to": Text("Collected to", "采集结束"),
    "modalities": Text("Modalities", "模态"),
    "languages": Text("Languages", "语种"),
    "records": Text("Records", "数据量（条）"),
    "bytes": Text("Bytes", "数据量（字节）"),
    "personal_info": Text("Personal information", "个人信息情况"),
    "consent_basis": Text("Basis of consent", "同意依据"),
    "generated": Text("Generated content", "生成内容标识"),
    "manual_pass": Text("Manual sample passed", "人工抽检合格率"),
    "tech_pass": Text("Technical sample passed", "技术抽检合格率"),
    "report_digest": Text("Quality report", "质量报告摘要"),
    "content_digest": Text("Content", "内容摘要"),
    "delivered_at": Text("Delivered", "交付时间"),
    "models": Text("Models it fed", "用于模型"),
    "tokens_used": Text("Tokens used", "使用词元数"),
}


def source_records(reader: Reader, party_id: str) -> list[dict[str, Any]]:
    """Return one record per delivered trade: commercial corpora with their contracts."""
    fed = usage.totals(usage.used_by(reader, party_id))
    return [_source_record(b, fed.get(b.trade.id) or {}) for b in bought(reader, party_id)]


def _source_record(b: Bought, used: Mapping[str, Any]) -> dict[str, Any]:
    passed = {str(m["id"]): m.get("value") for m in b.metrics}
    certificate = b.listing.certificate
    found = {
        "corpus": f"{b.listing.title}（{_name(b)}）",
        "source_type": "open_licence" if b.trade.terms.mode == "free" else "commercial",
        "supplier": b.provider.name,
        "supplier_uscc": b.provider.uscc,
        "contract_no": (b.trade.agreement or {}).get("contract_no"),
        "voucher_no": b.trade.voucher_no,
        "certificate_no": certificate.number if certificate else None,
        "licence": b.of("license_spdx"),
        "origin": b.of("provenance", "origin"),
        "source_records": b.of("provenance", "source_records"),
        "collected_from": b.of("provenance", "acquired_from"),
        "collected_to": b.of("provenance", "acquired_to"),
        "modalities": b.of("ai", "modalities"),
        "languages": b.of("languages"),
        "records": b.of("size", "records"),
        "bytes": b.of("size", "bytes"),
        "personal_info": b.of("compliance", "personal_info"),
        "consent_basis": b.of("compliance", "consent_basis"),
        "generated": b.of("ai", "generated_indicator"),
        "manual_pass": passed.get("tc260:manual_pass"),
        "tech_pass": passed.get("tc260:tech_pass"),
        "report_digest": b.report_digest,
        "content_digest": b.content_digest,
        "delivered_at": plain(b.trade.delivered_at),
        "models": used.get("models"),
        "tokens_used": used.get("tokens"),
    }
    assert found.keys() == COLUMNS.keys()
    return {name: plain(value) for name, value in found.items()}


# --- as CSV --------------------------------------------------------------------------------------


def summary_csv(found: Mapping[str, Any]) -> bytes:
    """Return the rows of a summary as CSV for a spreadsheet."""
    names = ("section", "item", "item_zh", "value", "basis", "blank", "blank_zh")
    return _csv(names, [[row[name] for name in names] for row in found["rows"]])


def records_csv(records: Sequence[Mapping[str, Any]]) -> bytes:
    """Return source records as CSV, headed in both languages; blanks are named."""
    heads = [f"{name} {text.zh}" for name, text in COLUMNS.items()]
    rows = [
        [BLANK.zh if record[name] in (None, "", []) else record[name] for name in COLUMNS]
        for record in records
    ]
    return _csv(heads, rows)


def _csv(heads: Sequence[str], rows: Sequence[Sequence[Any]]) -> bytes:
    out = io.StringIO()
    writer = csv.writer(out, quoting=csv.QUOTE_ALL, lineterminator="\r\n")
    writer.writerow(heads)
    for row in rows:
        writer.writerow([cell(value) for value in row])
    return "\ufeff".encode() + out.getvalue().encode()  # spreadsheets ask for the mark


def cell(value: Any) -> str | int | float:
    """Return a value for a cell; text that a spreadsheet would run gets a quote (OWASP V1.2.10)."""
    if value is None:
        return ""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return value
    text = words(value)
    return (
        "'" + text if text[:1] in ("=", "+", "-", "@", "\t", "\r", "＝", "＋", "－", "＠") else text
    )


def words(value: Any) -> str:
    """Return lists and objects as text that people read."""
    if isinstance(value, Mapping):
        return "; ".join(f"{k}: {words(v)}" for k, v in value.items() if v not in (None, "", []))
    if isinstance(value, (list, tuple)):
        return " | ".join(words(v) for v in value if v is not None)
    return str(value)
