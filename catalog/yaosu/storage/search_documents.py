"""What search keeps of a listing: the fields of the index and the document of one card."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence

from tantivy import Document, IndexWriter, Schema, SchemaBuilder

from yaosu.model import JSON
from yaosu.text import Indexed, canonical, index_characters, index_text, scrub, sort_key

FACETS = (
    "modality",
    "language",
    "licence",
    "industry",
    "dex12",
    "hq_field",
    "region",
    "stage",
    "price_band",
    "publisher",
    "size",
    "quality",
    "object_type",
    "venue",
    "state",
    "keyword",
    "format",
)
ALIASES = {name: name for name in FACETS} | {
    "lang": "language",
    "license": "licence",
    "模态": "modality",
    "语种": "language",
    "许可": "licence",
    "行业": "industry",
    "地区": "region",
    "阶段": "stage",
    "发布者": "publisher",
    "质量": "quality",
    "交易场所": "venue",
}
LAST = 2**63 - 1
STARTS = 3
"""Beginnings up to so many characters are terms of their own: they have too many completions."""
_BANDS = (
    (1 << 20, "lt_1mb"),
    (100 << 20, "1mb_100mb"),
    (1 << 30, "100mb_1gb"),
    (10 << 30, "1gb_10gb"),
    (100 << 30, "10gb_100gb"),
)


def schema() -> Schema:
    b = SchemaBuilder()
    b.add_text_field("id", stored=True, tokenizer_name="raw", index_option="basic")
    b.add_bytes_field("card", stored=True)
    for name in ("body", "title", "keywords", "publisher_name", "description"):
        b.add_text_field(name, tokenizer_name="whitespace", index_option="position")
    for name in ("characters", "title_characters"):
        b.add_text_field(name, tokenizer_name="whitespace", index_option="basic")
    for name in FACETS:
        b.add_text_field(name, fast=True, tokenizer_name="raw", index_option="basic")
    for name in ("tags", "exact", "audience", "view", "suggest", "starts"):
        b.add_text_field(name, tokenizer_name="raw", index_option="basic")
    b.add_text_field("title_key", fast=True, tokenizer_name="raw", index_option="basic")
    for name in ("listed_at", "price_up", "price_down", "size_bytes", "records", "tie",
                 "updated_at", "dataset_order"):  # fmt: skip
        b.add_integer_field(name, fast=True, indexed=True)
    b.add_integer_field("checkpoint", stored=True)
    return b.build()


def texts(value: object) -> list[str]:
    if isinstance(value, str):
        return [value] if value else []
    if isinstance(value, list) and all(type(v) is str for v in value):
        return [v for v in value if v]  # nearly always: to ask after abstract types costs much
    if isinstance(value, Mapping):
        return [t for v in value.values() for t in texts(v)]
    if isinstance(value, Iterable):
        return [t for v in value for t in texts(v)]
    return []


def _number(value: object, otherwise: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return otherwise
    return max(-LAST, min(LAST, int(value)))


def size_band(size_bytes: object) -> list[str]:
    """Return the size facet of so many bytes, or none when they are not known."""
    size = _number(size_bytes, -1)
    if size < 0:
        return []
    return [next((name for limit, name in _BANDS if size < limit), "ge_100gb")]


def _facet_values(card: Mapping[str, JSON], facet: str) -> list[str]:
    """Return the card's values of a facet, with the broader ones that contain them."""
    if facet == "size":
        return texts(card.get("size_band")) or size_band(card.get("size_bytes"))
    values = texts(card.get("keywords" if facet == "keyword" else facet))
    if facet == "industry":
        values += [v[0] for v in values if len(v) > 1]
    if facet == "language":
        values += [v.split("-")[0] for v in values if "-" in v]
    return list(dict.fromkeys(scrub(v)[:200] for v in values))


def _tie(listing_id: str) -> int:
    """Return a number that orders equals: derived from the id, so the same after a rebuild."""
    return int.from_bytes(hashlib.sha256(listing_id.encode()).digest()[:8], "big") >> 1


def document(listing_id: str, card: Mapping[str, JSON]) -> Document:
    """Return the index document of one listing card."""
    title = texts([card.get("title"), card.get("title_en")])
    publisher = texts([card.get("publisher_name"), card.get("publisher")])
    keywords = texts([card.get("keywords"), card.get("name")])
    names = [card.get(name) for name in ("identifiers", "name", "dataset_id")]
    exact = texts([*names, listing_id])
    parts = {
        "title": title,
        "keywords": keywords,
        "publisher_name": publisher,
        "description": texts([card.get("description"), card.get("description_en")]),
    }
    rest = texts([card.get("resource_names"), card.get("field_names"), exact])
    cut = {name: [Indexed.of(text) for text in found] for name, found in parts.items()}
    everything = [piece for pieces in cut.values() for piece in pieces]
    everything += [Indexed.of(text) for text in dict.fromkeys(rest)]
    d = Document()
    d.add_text("id", listing_id)
    d.add_bytes("card", json.dumps(card, ensure_ascii=False).encode("utf-8", "replace"))
    d.add_text("body", index_text(everything))
    for name, pieces in cut.items():
        d.add_text(name, index_text(pieces))
    d.add_text("characters", index_characters(everything))
    d.add_text("title_characters", index_characters(cut["title"]))
    for value in exact:
        d.add_text("exact", canonical(value)[:200])
    for facet in FACETS:
        values = _facet_values(card, facet)
        for value in values:
            d.add_text(facet, value)
        named = publisher if facet == "publisher" else []
        for tag in dict.fromkeys(canonical(v) for v in [*values, *named]):
            d.add_text("tags", f"{facet}:{tag}")
    _add_order(d, listing_id, card, title)
    _add_audience(d, card)
    return d


def _add_order(
    d: Document, listing_id: str, card: Mapping[str, JSON], title: Sequence[str]
) -> None:
    d.add_text("title_key", sort_key(title[0] if title else ""))
    price = card.get("price_fen")
    d.add_integer("price_up", _number(price, LAST))
    d.add_integer("price_down", _number(price, -1))
    for name in ("listed_at", "size_bytes", "records", "updated_at"):
        d.add_integer(name, _number(card.get(name), -1))
    d.add_integer("tie", _tie(listing_id))
    d.add_integer("dataset_order", dataset_order(card.get("dataset_id")))


def dataset_order(dataset_id: object) -> int:
    """Return a number in the order of dataset ids: 48 bits of time (ms), 14 that follow."""
    digits = str(dataset_id or "")[-32:]
    try:
        return int(digits, 16) >> 66 if len(digits) == 32 else -1
    except ValueError:
        return -1


def suggestions(card: Mapping[str, JSON]) -> list[tuple[str, str]]:
    """Return (canonical, as written) of what a search box may complete to: titles, keywords, …"""
    names = [card.get(name) for name in ("title", "title_en", "keywords", "publisher_name")]
    shown = (scrub(name)[:120].strip() for name in texts(names))
    return [(canonical(name), name) for name in dict.fromkeys(shown) if name]


def _add_audience(d: Document, card: Mapping[str, JSON]) -> None:
    """Index who may find it; what is not public is restricted, whatever the policy's name."""
    if card.get("view_policy") == "public":
        found = suggestions(card)
        for flat, name in found:
            d.add_text("suggest", f"{flat}\u001f{name}")
        for start in {flat[:n] for flat, _ in found for n in range(1, STARTS + 1)}:
            d.add_text("starts", start)
        return
    d.add_text("view", "restricted")
    if card.get("view_policy") == "member":
        d.add_text("audience", "member")
    for party in texts([card.get("invited"), card.get("provider_id")]):
        d.add_text("audience", f"party:{party}")


def put_checkpoint(writer: IndexWriter, checkpoint: int) -> None:
    """Put the position beside the documents of the same commit (a commit takes no payload)."""
    writer.delete_documents_by_term("id", "_checkpoint")
    d = Document()
    d.add_text("id", "_checkpoint")
    d.add_text("view", "restricted")
    d.add_integer("checkpoint", checkpoint)
    writer.add_document(d)
