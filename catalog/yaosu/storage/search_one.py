"""One listing held against many searches: the index turned round, for saved searches.

The listing is an index of its own, in memory, made and asked as the real one is, so that a saved
search finds what the same search would find. It is never relaxed to near spellings: the real
index does that only where nothing at all fits.
"""

from __future__ import annotations

from collections.abc import Mapping

from tantivy import Index

from yaosu.model import JSON
from yaosu.ports import SearchQuery
from yaosu.text import ask

from .search_documents import ALIASES, document, schema
from .search_terms import Terms

_WRITER_BYTES = 15_000_000


class OneListing:
    """A listing that searches are tried on."""

    def __init__(self, listing_id: str, card: Mapping[str, JSON]) -> None:
        made = schema()
        self._terms = Terms(made)
        index = Index(made)
        writer = index.writer(_WRITER_BYTES, 1)
        writer.add_document(document(listing_id, card))
        writer.commit()
        index.reload()
        self._searcher = index.searcher()

    def fits(self, query: SearchQuery) -> bool:
        """Tell whether the search finds the listing."""
        clauses = self._terms.clauses(query, ask(query.text, ALIASES))
        return bool(self._searcher.search(self._terms.whole(clauses, query), 1, count=False).hits)
