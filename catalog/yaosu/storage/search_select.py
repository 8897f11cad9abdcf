"""Datasets by a tree of conditions: the query of another catalog's client on our index."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from tantivy import FieldType, Occur, Order, Query, Searcher

from yaosu.errors import InvalidInput
from yaosu.ports import Selected, Selection
from yaosu.text import ask, canonical
from yaosu_connectors.solr_query import Between, Each, Every, Not, Some, Term, Tree

from .search_documents import ALIASES
from .search_terms import Terms

RAW = {
    "organization": "publisher",
    "owner_org": "publisher",
    "groups": "modality",
    "tags": "keyword",
    "res_format": "format",
    "license_id": "licence",
    "language": "language",
    "price_band": "price_band",
}
"""Their fields of terms, and ours."""
TEXTS = {"": "body", "title": "title", "notes": "description", "title_string": "title"}
NUMBERS = {"metadata_modified": "updated_at", "metadata_created": "dataset_order"}
SORTS = {
    "id": "dataset_order",
    "metadata_created": "dataset_order",
    "metadata_modified": "updated_at",
    "title": "title_key",
    "title_string": "title_key",
    "name": "title_key",
}
ALWAYS = {"state": "active", "dataset_type": "dataset", "type": "dataset", "capacity": "public",
          "private": "false", "entity_type": "package"}  # fmt: skip
DEEPEST = 1_000_000
_BEFORE_NOW = ("draft", "submitted", "validating", "review", "notice", "registered", "returned")


def select(searcher: Searcher, terms: Terms, asked: Selection) -> Selected:
    """Return the page of listings, the total, and the counted values of fields."""
    states = ["listed", *(_BEFORE_NOW if asked.own else ())]
    clauses = [
        (Occur.Must, terms.any_of("state", states)),
        (Occur.Must, _query(terms, asked.where)),
        terms.visible(asked.viewer),
    ]
    if words := ask(asked.text, ALIASES):
        clauses += terms.text(words) if not words.blank else []
    whole = Query.boolean_query(clauses)
    found = _page(searcher, whole, asked)
    stored = [searcher.doc(address) for _, address in found.hits]
    total = int(getattr(found, "count", None) or 0)
    return Selected(
        total=total,
        listings=[str(doc["id"][0]) for doc in stored],
        cards=[json.loads(bytes(doc["card"][0])) for doc in stored] if asked.cards else [],
        facets=_facets(searcher, whole, asked),
    )


def _page(searcher: Searcher, whole: Query, asked: Selection) -> Any:
    fields = [(SORTS[name], down) for name, down in asked.sort if name in SORTS]
    limit, offset = max(1, asked.limit), min(asked.offset, DEEPEST)
    if not fields and asked.text:
        return searcher.search(whole, limit, offset=offset)
    name, down = fields[0] if fields else ("updated_at", True)
    order = Order.Desc if down else Order.Asc
    return searcher.search(whole, limit, offset=offset, order_by_field=name, order=order)


def _facets(searcher: Searcher, whole: Query, asked: Selection) -> dict[str, Any]:
    known = {name: size for name, size in asked.facets.items() if name in RAW}
    if not known:
        return {}
    wanted = {n: {"terms": {"field": RAW[n], "size": max(1, size)}} for n, size in known.items()}
    found = searcher.aggregate(whole, wanted)
    return {
        name: sorted(
            ((str(b["key"]), int(b["doc_count"])) for b in found[name]["buckets"]),
            key=lambda c: (-c[1], c[0]),
        )
        for name in known
    }


# --- conditions --------------------------------------------------------------------------------


def _query(terms: Terms, tree: Tree) -> Query:
    if isinstance(tree, Every) or tree == Each(()):
        return Query.all_query()
    if isinstance(tree, Not):
        both = [(Occur.Must, Query.all_query()), (Occur.MustNot, _query(terms, tree.part))]
        return Query.boolean_query(both)
    if isinstance(tree, Each | Some):
        occur = Occur.Must if isinstance(tree, Each) else Occur.Should
        return Query.boolean_query([(occur, _query(terms, part)) for part in tree.parts])
    if isinstance(tree, Between):
        return _between(terms, tree)
    return _term(terms, tree)


def _term(terms: Terms, term: Term) -> Query:
    if term.field in ALWAYS:
        same = term.text.lower() == ALWAYS[term.field]
        return Query.all_query() if same else Query.empty_query()
    if term.field in TEXTS:
        return _words(terms, term)
    if term.field in ("id", "name"):
        return _identity(terms, term)
    field = RAW.get(term.field)
    if field is None:
        return Query.empty_query()  # a field of their extras that nothing here has
    value = term.text.upper() if field == "format" else term.text
    if term.prefix:
        return Query.regex_query(terms.schema, field, re.escape(value) + ".*")
    return terms.term(field, value)


def _words(terms: Terms, term: Term) -> Query:
    """Return what has the words: as a phrase, with a beginning, or all of them."""
    asked = ask(f'"{term.text}"' if term.phrase else term.text, {})
    field = TEXTS[term.field]
    if term.prefix and field == "body" and not asked.blank:
        return Query.regex_query(terms.schema, field, re.escape(canonical(term.text)) + ".*")
    if asked.blank:
        return Query.all_query()
    if field == "body":
        wanted = terms.text(asked)
    else:
        runs = [*asked.words, *(run for phrase in asked.phrases for run in phrase)]
        wanted = [(Occur.Must, terms.term(field, t)) for run in runs for t in run.terms()]
    return Query.boolean_query(wanted) if wanted else Query.empty_query()


def _identity(terms: Terms, term: Term) -> Query:
    """Return the dataset of a UUID, or of a flat name `publisher__name`."""
    if term.field == "id":
        digits = term.text.replace("-", "").lower()
        return terms.term("exact", canonical(f"dst_{digits}"))
    publisher, both, name = term.text.partition("__")
    if not both:
        return Query.empty_query()
    parts: Sequence[tuple[Occur, Query]] = [(Occur.Must, terms.term("publisher", publisher))]
    if not term.prefix:
        parts = [*parts, (Occur.Must, terms.term("exact", canonical(name)))]
    return Query.boolean_query(parts)


def _between(terms: Terms, span: Between) -> Query:
    field = NUMBERS.get(span.field)
    if field is None:
        if span.low is None and span.high is None:
            name = RAW.get(span.field)
            return Query.regex_query(terms.schema, name, ".+") if name else Query.all_query()
        return Query.empty_query()
    low, high = (_moment(end) for end in (span.low, span.high))
    if field == "dataset_order":  # a millisecond and 14 bits
        ends = [None if end is None else int(end * 1000) << 14 for end in (low, high)]
    else:
        # Whole seconds are kept: a beginning within a second takes that second in.
        ends = [None if end is None else int(end) for end in (low, high)]
    return Query.range_query(
        terms.schema, field, FieldType.Integer, ends[0], ends[1], span.with_low, span.with_high
    )


def _moment(text: str | None) -> float | None:
    if text is None:
        return None
    if text.startswith("NOW"):
        return _relative(text)
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise InvalidInput(f"no such time: {text[:40]}", f"时间无效：{text[:40]}") from None
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()


def _relative(text: str) -> float:
    """Return NOW, NOW-3DAYS, NOW/DAY-1MONTH… in seconds; roundings are left out."""
    units = {"MINUTE": 60, "HOUR": 3600, "DAY": 86400, "WEEK": 604800, "MONTH": 2_629_800,
             "YEAR": 31_557_600}  # fmt: skip
    moment = datetime.now(UTC).timestamp()
    for sign, count, unit in re.findall(r"([+-])(\d{1,6})([A-Z]+?)S?(?![A-Z])", text):
        if unit not in units:
            raise InvalidInput(f"no such time: {text[:40]}", f"时间无效：{text[:40]}")
        moment += (1 if sign == "+" else -1) * int(count) * units[unit]
    return moment
