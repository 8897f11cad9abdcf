"""In which order hits come, and where the next page begins."""

from __future__ import annotations

import base64
import hashlib
import itertools
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tantivy import FieldType, Index, Occur, Order, Query, Searcher, SearchResult

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
            version, offset, key, tie = json.loads(body)
            return cls(str(version), max(0, int(offset)), key, int(tie))
        except (ValueError, TypeError):
            raise not_a_cursor() from None


def not_a_cursor() -> InvalidInput:
    return InvalidInput(
        "the cursor is not one of this search; start again from the first page",
        "游标不属于本次检索，请从第一页重新开始",
        field="cursor",
    )


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


@dataclass(frozen=True, slots=True)
class Along:
    """The documents of an index along the key of an order."""

    index: Index
    sort: Sort

    def key(self, cursor: Cursor) -> int | str:
        """Return the key of a cursor; InvalidInput if it is none of this order."""
        try:
            return int(cursor.key) if self.sort.numeric else bytes.fromhex(str(cursor.key)).hex()
        except ValueError:
            raise not_a_cursor() from None

    def equal(self, key: int | str) -> Query:
        if isinstance(key, int):
            return self.between(self.sort.field, key, key)
        return Terms.quiet(Query.term_query(self.index.schema, self.sort.field, key))

    def beyond(self, key: int | str) -> Query:
        if isinstance(key, int):
            low, high = (key + 1, None) if self.sort.order == Order.Asc else (None, key - 1)
            return self.between(self.sort.field, low, high)
        # Ranges of text are to be had in the language of queries alone; a key is hexadecimal.
        low_text = f"{{{key}" if key else "[00"
        return Terms.quiet(self.index.parse_query(f"{self.sort.field}:{low_text} TO *}}"))

    def between(self, field: str, low: int | None, high: int | None) -> Query:
        schema = self.index.schema
        return Terms.quiet(Query.range_query(schema, field, FieldType.Integer, low, high))


def by_key(
    searcher: Searcher, index: Index, whole: Query, sort: Sort, limit: int, cursor: Cursor | None
) -> tuple[int, list[Row]]:
    """Return the total and up to `limit` + 1 rows after the cursor, in (key, tie) order.

    The cursor is a position in the order itself: what is added or removed before it moves
    nothing, and no page costs more than the first.
    """

    def both(*queries: Query) -> Query:
        return Query.boolean_query([(Occur.Must, q) for q in queries])

    along = Along(index, sort)
    rest = whole
    if cursor is not None:
        key = along.key(cursor)
        same = both(along.equal(key), along.between("tie", cursor.tie + 1, None))
        after = Query.boolean_query([(Occur.Should, along.beyond(key)), (Occur.Should, same)])
        rest = both(whole, after)
    found = searcher.search(rest, limit + 1, order_by_field=sort.field, order=sort.order)
    rows = _ties(searcher, found.hits)
    if len(rows) > limit:
        edge = rows[-1][0]  # equals of the last row may lie beyond it: take those of least tie
        kept = [r for r in rows if r[0] != edge]
        equals = searcher.search(
            both(rest, along.equal(edge)),
            limit + 1 - len(kept),
            order_by_field="tie",
            order=Order.Asc,
        )
        rows = kept + [(edge, int(t), a) for t, a in equals.hits]
    rows.sort(key=lambda r: r[1])
    rows.sort(key=lambda r: r[0], reverse=sort.order == Order.Desc)
    return _matches(found) if cursor is None else count(searcher, whole), rows


def by_score(
    searcher: Searcher, whole: Query, limit: int, cursor: Cursor | None, same: bool
) -> tuple[int, list[Row]]:
    """Return the total and up to `limit` + 1 rows by score, equals by tie.

    On the snapshot of the cursor its offset is exact. When that snapshot is gone (a restart, or
    minutes have passed) the rows that come after the cursor's score and tie are taken instead.
    """
    offset = cursor.offset if cursor else 0
    want = offset + limit + 1
    n = want + limit if same else want * 2
    while True:
        found = searcher.search(whole, n)
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
        return bool(row[0] < cursor.key)

    return _matches(found), [r for r in rows if after(r)][: limit + 1]
