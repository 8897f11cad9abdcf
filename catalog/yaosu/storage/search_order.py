"""In which order hits come, and where the next page begins."""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tantivy import FieldType, Occur, Order, Query, Schema, Searcher, SearchResult

from yaosu.errors import InvalidInput

from .search_terms import Terms


@dataclass(frozen=True, slots=True)
class Sort:
    field: str
    order: Order
    numeric: bool = True


SORTS: Mapping[str, Sort | None] = {
    "relevance": None,
    "newest": Sort("listed_at", Order.Desc),
    "price_asc": Sort("price_up", Order.Asc),
    "price_desc": Sort("price_down", Order.Desc),
    "size": Sort("size_bytes", Order.Desc),
    "records": Sort("records", Order.Desc),
    "title": Sort("title_key", Order.Asc, numeric=False),
}

_TIES_SORTED = 10_000


@dataclass(frozen=True, slots=True)
class Cursor:
    """Where the last page ended: snapshot and offset, and the order key and tie of the end."""

    version: str
    offset: int
    key: float | int | str
    tie: int

    def text(self, fingerprint: str) -> str:
        body = json.dumps([self.version, self.offset, self.key, self.tie], separators=(",", ":"))
        check = hashlib.sha256(f"{fingerprint}{body}".encode()).hexdigest()[:16]
        return base64.urlsafe_b64encode(f"{check}{body}".encode()).decode().rstrip("=")

    @classmethod
    def read(cls, text: str, fingerprint: str) -> Cursor:
        """Read a cursor; InvalidInput when it is cut, changed, or of another query."""
        try:
            raw = base64.urlsafe_b64decode(text.encode("ascii") + b"=" * (-len(text) % 4))
            check, body = raw[:16].decode("ascii"), raw[16:].decode()
            if check != hashlib.sha256(f"{fingerprint}{body}".encode()).hexdigest()[:16]:
                raise ValueError("check")
            return cls(*json.loads(body))
        except (ValueError, TypeError):
            raise InvalidInput(
                "the cursor is not one of this search; start again from the first page",
                "游标不属于本次检索，请从第一页重新开始",
                field="cursor",
            ) from None


def _matches(found: SearchResult) -> int:
    return int(getattr(found, "count", None) or 0)  # the stubs of the library leave it out


def count(searcher: Searcher, query: Query) -> int:
    """Return how many documents match."""
    return _matches(searcher.search(query, 1))


Row = tuple[Any, int, Any]
"""The order key, the tie-break and the address of one hit."""


def _ties(searcher: Searcher, hits: Sequence[tuple[Any, Any]]) -> list[Row]:
    ties = searcher.fast_field_values("tie", [address for _, address in hits])
    return [(k, int(t or 0), a) for (k, a), t in zip(hits, ties, strict=True)]


def by_number(
    searcher: Searcher,
    schema: Schema,
    whole: Query,
    sort: Sort,
    limit: int,
    cursor: Cursor | None,
) -> tuple[int, list[Row]]:
    """Return the total and up to `limit` + 1 rows after the cursor, in (key, tie) order.

    The cursor is a position in the order itself, so that what is added or removed before it
    moves nothing.
    """

    def between(field: str, low: int | None, high: int | None) -> Query:
        return Terms.quiet(Query.range_query(schema, field, FieldType.Integer, low, high))

    def both(*queries: Query) -> Query:
        return Query.boolean_query([(Occur.Must, q) for q in queries])

    step = 1 if sort.order == Order.Asc else -1
    rest = whole
    if cursor is not None:
        key = int(cursor.key)
        beyond = between(sort.field, *((key + 1, None) if step > 0 else (None, key - 1)))
        same = both(between(sort.field, key, key), between("tie", cursor.tie + 1, None))
        rest = both(whole, Query.boolean_query([(Occur.Should, beyond), (Occur.Should, same)]))
    found = searcher.search(rest, limit + 1, order_by_field=sort.field, order=sort.order)
    rows = _ties(searcher, found.hits)
    if len(rows) > limit:
        edge = rows[-1][0]  # equals of the last row may lie beyond it: take those of least tie
        equals = both(rest, between(sort.field, edge, edge))
        kept = [r for r in rows if r[0] != edge]
        found_equals = searcher.search(
            equals, limit + 1 - len(kept), order_by_field="tie", order=Order.Asc
        )
        rows = kept + [(edge, int(t), a) for t, a in found_equals.hits]
    rows.sort(key=lambda r: (r[0] * step, r[1]))
    return _matches(found) if cursor is None else count(searcher, whole), rows


def by_rank(
    searcher: Searcher,
    whole: Query,
    sort: Sort | None,
    limit: int,
    cursor: Cursor | None,
    same: bool,
) -> tuple[int, list[Row]]:
    """Return the total and up to `limit` + 1 rows by score or by title, equals by tie.

    On the snapshot of the cursor its offset is exact. When that snapshot is gone (a restart, or
    minutes have passed) the rows that come after the cursor's key and tie are taken instead.
    """
    offset = cursor.offset if cursor else 0
    want = offset + limit + 1

    def fetch(n: int) -> SearchResult:
        if sort is None:
            return searcher.search(whole, n)
        return searcher.search(whole, n, order_by_field=sort.field, order=sort.order)

    n = want + limit if same else want * 2
    while True:
        found = fetch(n)
        hits = found.hits
        whole_group = len(hits) < n or hits[-1][0] != hits[want - 1][0]
        if whole_group or n >= _TIES_SORTED:
            break
        n = min(n * 4, _TIES_SORTED)
    rows: list[Row] = []
    for _, group in itertools.groupby(_ties(searcher, hits), key=lambda r: r[0]):
        members = list(group)
        # An open group would be sorted by what happened to be fetched: leave it as it is.
        if len(rows) + len(members) < min(n, _TIES_SORTED):
            members.sort(key=lambda r: r[1])
        rows += members
    if cursor is None or same:
        return _matches(found), rows[offset:want]

    def after(row: Row) -> bool:
        if row[0] == cursor.key:
            return row[1] > cursor.tie
        return bool(row[0] < cursor.key if sort is None else row[0] > cursor.key)

    return _matches(found), [r for r in rows if after(r)][: limit + 1]
