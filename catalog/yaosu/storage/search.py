"""The search index on tantivy: disposable, fed from the outbox, rebuilt from the store.

A folder holds one generation per rebuild and `CURRENT`, which names the one in use. A listing
is one document: `body` has every term and decides what is found, the narrower fields only
order it; facets are raw terms; the card is stored as it came.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import logging
import math
import os
import re
import shutil
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, cast

from tantivy import Document, FieldType, Index, IndexWriter, Occur, Query, Searcher

from yaosu.errors import InvalidInput, Unavailable
from yaosu.model import JSON
from yaosu.ports import Hit, SearchPage, SearchQuery, Selected, Selection
from yaosu.text import Question, Run, ask, canonical, needles, scrub, snippet

from .search_documents import (
    ALIASES,
    FACETS,
    STARTS,
    document,
    put_checkpoint,
    schema,
    suggestions,
    texts,
)
from .search_order import SORTS, Cursor, Row, by_key, by_score, count
from .search_select import select
from .search_terms import Terms

_log = logging.getLogger("yaosu.search")

FORMAT = 3
"""Raised when documents are cut or kept differently: an older index is then rebuilt."""

FACET_VALUES = 50
"""How many values of a facet are counted, the most frequent first."""

_COUNTS_KEPT = 1024
_REBUILD_PAUSE_SECONDS = 600.0
_SNAPSHOTS = 32
_SNAPSHOT_SECONDS = 120.0


Counts = list[tuple[str, int]]


@contextmanager
def _engine(index: TantivyIndex) -> Any:
    """Turn what the engine throws at a damaged index into one typed error."""
    try:
        yield
    except BaseException as error:
        panicked = type(error).__name__ == "PanicException"  # derives from BaseException
        if not panicked and not isinstance(error, ValueError | OSError | RuntimeError):
            raise
        index.found_damaged()
        _log.exception("the search index cannot be read")
        raise Unavailable(
            "the search index is damaged and has to be rebuilt",
            "检索索引已损坏，需要重建",
            rebuild=True,
        ) from error


class TantivyIndex:
    """SearchIndex in a folder of its own, for one process.

    `needs_rebuild` is true when there was no usable index (none yet, another format, damaged):
    an empty one stands in its place, and the caller rebuilds it from the store.
    """

    def __init__(self, path: Path, *, writer_bytes: int = 48_000_000) -> None:
        self.path = Path(path)
        self.needs_rebuild = False
        self._rebuilt_at = -math.inf
        self._writer_bytes = writer_bytes
        self._lock = threading.RLock()
        self._writer: IndexWriter | None = None
        self._snapshots: dict[str, tuple[Searcher, float]] = {}
        self._counted: dict[tuple[int, str, str], tuple[Searcher, Counts]] = {}
        self._schema = schema()
        self._terms = Terms(self._schema)
        self.path.mkdir(parents=True, exist_ok=True)
        self._open()

    # Reading

    def search(self, query: SearchQuery) -> SearchPage:
        """Return one page; InvalidInput for an unknown facet, sort or cursor."""
        check_query(query)
        asked = ask(query.text, ALIASES)
        cursor = Cursor.read(query.cursor, _fingerprint(query)) if query.cursor else None
        with _engine(self):
            return self._page(query, asked, cursor)

    def suggest(self, prefix: str, *, limit: int = 8) -> list[str]:
        """Return titles, keywords and publishers of public listings that begin so."""
        start = canonical(scrub(prefix[:100])).lstrip()
        if not start:
            return []
        with _engine(self):
            if len(start) <= STARTS:
                return self._newest_beginning(start, limit)
            found = self._searcher.terms_with_prefix("suggest", start, limit=limit * 3)
        out = {term.partition("\u001f")[0]: term.partition("\u001f")[2] for term, _ in found}
        return list(out.values())[:limit]

    def _newest_beginning(self, start: str, limit: int) -> list[str]:
        """Complete a short beginning from the newest listings, the commonest first."""
        searcher = self._searcher
        found = searcher.search(
            self._terms.term("starts", start), 64, count=False, order_by_field="listed_at"
        )
        seen: Counter[str] = Counter()
        shown: dict[str, str] = {}
        for _, address in found.hits:
            for flat, name in suggestions(_card(searcher.doc(address))):
                if flat.startswith(start):
                    seen[flat] += 1
                    shown.setdefault(flat, name)
        return [shown[flat] for flat, _ in seen.most_common(limit)]

    def checkpoint(self) -> int:
        """Return the outbox position of the last commit, 0 when there is none."""
        with _engine(self):
            searcher = self._searcher
            hits = searcher.search(self._terms.term("id", "_checkpoint"), 1).hits
            return int(searcher.doc(hits[0][1])["checkpoint"][0]) if hits else 0

    def count(self) -> int:
        """Return how many listings are indexed."""
        has = Query.range_query(self._schema, "tie", FieldType.Integer, 0, None)
        return count(self._searcher, has)

    def _page(self, query: SearchQuery, asked: Question, cursor: Cursor | None) -> SearchPage:
        searcher, version = self._searcher, self._version
        if cursor is not None and cursor.version in self._snapshots:
            searcher, version = self._snapshots[cursor.version][0], cursor.version
        clauses = self._terms.clauses(query, asked)
        total, rows = self._rows(searcher, version, query, asked, clauses, cursor)
        if not total and asked.words and not count(searcher, Query.boolean_query([*clauses])):
            # Nothing has all of it, whatever the filters: take what has half, or begins so.
            near = [t for run in asked.words for t in self._near(searcher, run)]
            clauses = self._terms.clauses(query, asked, near)
            total, rows = self._rows(searcher, version, query, asked, clauses, cursor)
        phrased = [run for phrase in asked.phrases for run in phrase]
        pattern = needles([*asked.words, *phrased])
        more = len(rows) > query.limit
        rows = rows[: query.limit]
        after = None
        if more and rows:
            key, tie, _ = rows[-1]
            offset = (cursor.offset if cursor else 0) + len(rows)
            after = Cursor(version, offset, key, tie).text(_fingerprint(query))
            self._keep(version, searcher)
        return SearchPage(
            hits=[_hit(searcher, address, key, pattern, query.lang) for key, _, address in rows],
            total=total,
            facets=self._counts(searcher, clauses, query),
            cursor=after,
        )

    def _rows(
        self,
        searcher: Searcher,
        version: str,
        query: SearchQuery,
        asked: Question,
        clauses: Sequence[tuple[Occur, Query]],
        cursor: Cursor | None,
    ) -> tuple[int, list[Row]]:
        sort = SORTS[query.sort]
        if sort is None and not (asked.words or asked.phrases):
            sort = SORTS["newest"]  # nothing to be relevant to
        if sort is not None:
            whole = self._terms.whole(clauses, query)
            return by_key(searcher, self._index, whole, sort, query.limit, cursor)
        whole = self._terms.whole([*clauses, *self._terms.boosts(asked)], query)
        same = cursor is None or cursor.version == version
        return by_score(searcher, whole, query.limit, cursor, same)

    @staticmethod
    def _near(searcher: Searcher, run: Run) -> list[str]:
        """Return indexed words that begin as the word does."""
        stem = run.terms()[0]
        if run.unspaced or len(stem) < 3:
            return []
        return [t for t, _ in searcher.terms_with_prefix("body", stem, limit=6) if t != stem]

    def _counts(
        self, searcher: Searcher, clauses: Sequence[tuple[Occur, Query]], query: SearchQuery
    ) -> dict[str, list[tuple[str, int]]]:
        """Count facet values; each facet ignores what is chosen in itself."""
        keys = {
            # The same counts serve every page, and every choice within the facet itself.
            name: (id(searcher), _fingerprint(query, skip=name), name)
            for name in query.facets
        }
        with self._lock:
            known = {name: self._counted.get(key) for name, key in keys.items()}
        missing = [name for name, kept in known.items() if kept is None]
        chosen = [name for name in missing if query.filters.get(name)]
        rest = [name for name in missing if name not in chosen]
        for skip, names in [*((name, [name]) for name in chosen), (None, rest)]:
            found = self._count(searcher, self._terms.whole(clauses, query, skip), names)
            with self._lock:
                for name in names:
                    known[name] = self._counted[keys[name]] = searcher, found[name]
                while len(self._counted) > _COUNTS_KEPT:
                    del self._counted[next(iter(self._counted))]
        return {
            name: self._with_chosen(searcher, clauses, query, name, kept[1])
            for name, kept in known.items()
            if kept is not None
        }

    @staticmethod
    def _count(searcher: Searcher, within: Query, names: Sequence[str]) -> dict[str, Counts]:
        if not names:
            return {}
        terms = {f: {"terms": {"field": f, "size": FACET_VALUES}} for f in names}
        found = searcher.aggregate(within, terms)
        return {
            name: sorted(
                ((b["key"], int(b["doc_count"])) for b in found[name]["buckets"]),
                key=lambda c: (-c[1], c[0]),
            )
            for name in names
        }

    def _with_chosen(
        self,
        searcher: Searcher,
        clauses: Sequence[tuple[Occur, Query]],
        query: SearchQuery,
        name: str,
        counts: list[tuple[str, int]],
    ) -> list[tuple[str, int]]:
        """Add the chosen values that are too rare to be among the counted ones."""
        shown = {value for value, _ in counts}
        chosen = dict.fromkeys(query.filters.get(name, ()))
        missing = [value for value in chosen if value not in shown]
        if not missing:
            return list(counts)
        within = (Occur.Must, self._terms.whole(clauses, query, name))
        extra = [
            (
                v,
                count(
                    searcher, Query.boolean_query([within, (Occur.Must, self._terms.term(name, v))])
                ),
            )
            for v in missing
        ]
        return sorted([*counts, *extra], key=lambda c: (-c[1], c[0]))

    def _keep(self, version: str, searcher: Searcher) -> None:
        """Keep the snapshot that a cursor was given out for, so that its order stays."""
        now = time.monotonic()
        with self._lock:
            self._snapshots[version] = (searcher, now)
            old = [v for v, (_, at) in self._snapshots.items() if now - at > _SNAPSHOT_SECONDS]
            for key in [*old, *list(self._snapshots)[:-_SNAPSHOTS]]:
                self._snapshots.pop(key, None)

    def found_damaged(self) -> None:
        """Ask for a rebuild, but not again and again for the same fault."""
        if time.monotonic() - self._rebuilt_at > _REBUILD_PAUSE_SECONDS:
            self.needs_rebuild = True

    def select(self, asked: Selection) -> Selected:
        """Return datasets by a tree of conditions and an offset, as catalogs of others ask."""
        with _engine(self):
            return select(self._searcher, self._terms, asked)

    # Writing

    def apply(self, documents: Mapping[str, JSON | None], *, checkpoint: int) -> None:
        """Index or remove listings and keep the position, in one durable commit."""
        made = {i: None if card is None else document(i, card) for i, card in documents.items()}
        with self._lock, _engine(self):
            writer = self._writer
            if writer is None:
                writer = self._writer = self._index.writer(self._writer_bytes, 1)
            try:
                for listing_id, entry in made.items():
                    writer.delete_documents_by_term("id", listing_id)
                    if entry is not None:
                        writer.add_document(entry)
                put_checkpoint(writer, checkpoint)
                writer.commit()
            except BaseException:
                self._writer = None  # what is not committed is dropped with it
                raise
            self._refresh()

    def rebuild(self, documents: Iterable[tuple[str, JSON]], *, checkpoint: int) -> int:
        """Index everything into a new folder, then swap it in; the old one serves meanwhile."""
        with self._lock:
            name = self._next_name()
        folder = self.path / name
        folder.mkdir()
        n = 0
        index = Index(self._schema, path=str(folder), reuse=False)
        writer = index.writer(max(128_000_000, self._writer_bytes), 1)
        try:
            for listing_id, card in documents:
                writer.add_document(document(listing_id, card))
                n += 1
            put_checkpoint(writer, checkpoint)
            writer.commit()
            writer.wait_merging_threads()
        except BaseException:
            writer.rollback()
            writer.wait_merging_threads()  # its threads write into the folder until then
            shutil.rmtree(folder, ignore_errors=True)
            raise
        with self._lock:
            self._drop_writer()
            self._point_to(name)
            self._open()
            self._rebuilt_at = time.monotonic()
        return n

    def close(self) -> None:
        """Let go of the folder; what was applied is durable already."""
        with self._lock:
            self._drop_writer()
            self._snapshots.clear()
            self._counted.clear()

    def _drop_writer(self) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            writer.wait_merging_threads()

    # The folder

    def _open(self) -> None:
        """Open the generation that CURRENT names, or put an empty one in its place."""
        try:
            current = json.loads((self.path / "CURRENT").read_bytes())
            if current["format"] != FORMAT:
                raise ValueError(f"format {current['format']}")
            index = Index.open(str(self.path / current["generation"]))
            self._use(index)
            self.needs_rebuild = False
            self.checkpoint()
        except (OSError, ValueError, KeyError, TypeError, Unavailable) as error:
            first = isinstance(error, FileNotFoundError) and not any(self.path.iterdir())
            _log.log(logging.INFO if first else logging.WARNING, "no search index: %s", error)
            name = self._next_name()
            (self.path / name).mkdir()
            self._use(Index(self._schema, path=str(self.path / name), reuse=False))
            self._point_to(name)
            self.needs_rebuild = True
        self._sweep()

    def _use(self, index: Index) -> None:
        index.config_reader("manual")
        self._index = index
        self._boot = os.urandom(6).hex()
        self._serial = itertools.count()
        self._refresh()

    def _refresh(self) -> None:
        self._index.reload()
        self._searcher = self._index.searcher()
        self._version = f"{self._boot}{next(self._serial)}"
        self._counted.clear()

    def _next_name(self) -> str:
        taken = [int(p.name[2:]) for p in self.path.glob("g-*") if p.name[2:].isdigit()]
        return f"g-{max(taken, default=0) + 1:06d}"

    def _point_to(self, name: str) -> None:
        """Name the generation in use, atomically and durably."""
        part = self.path / "CURRENT.part"
        with part.open("wb") as out:
            out.write(json.dumps({"generation": name, "format": FORMAT}).encode())
            out.flush()
            os.fsync(out.fileno())
        part.replace(self.path / "CURRENT")
        folder = os.open(self.path, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def _sweep(self) -> None:
        """Remove generations that nothing names; open files live on until they are closed."""
        current = json.loads((self.path / "CURRENT").read_bytes())["generation"]
        for folder in self.path.glob("g-*"):
            if folder.name != current:
                shutil.rmtree(folder, ignore_errors=True)


def check_query(query: SearchQuery) -> None:
    unknown = [f for f in (*query.filters, *query.facets) if f not in FACETS]
    if unknown:
        raise InvalidInput(
            f"unknown facet {unknown[0]!r}; there are {', '.join(FACETS)}",
            f"未知的分面 {unknown[0]!r}；可用的有 {'、'.join(FACETS)}",
            field=unknown[0],
        )
    if query.sort not in SORTS:
        raise InvalidInput(
            f"unknown order {query.sort!r}; there are {', '.join(SORTS)}",
            f"未知的排序 {query.sort!r}；可用的有 {'、'.join(SORTS)}",
            field="sort",
        )
    if not 1 <= query.limit <= 100:
        raise InvalidInput("a page has 1 to 100 hits", "每页 1 至 100 条", field="limit")


def _fingerprint(query: SearchQuery, *, skip: str | None = None) -> str:
    """Return what tells one search from another; with `skip` (a facet) order does not matter."""
    chosen = sorted((f, sorted(set(v))) for f, v in query.filters.items() if v and f != skip)
    body = json.dumps([query.text, chosen, query.viewer, query.sort if skip is None else ""])
    return hashlib.sha256(body.encode()).hexdigest()


def _sources(card: Mapping[str, JSON], lang: str) -> Iterator[str]:
    """Yield the texts a snippet may come from, the description first."""
    own = ("description_en", "description") if lang == "en" else ("description", "description_en")
    yield from (str(card.get(name) or "") for name in own)
    for name in ("keywords", "publisher_name", "resource_names", "field_names", "title_en"):
        yield " · ".join(texts(card.get(name)))


def _card(stored: Document) -> dict[str, JSON]:
    found: dict[str, JSON] = json.loads(bytes(cast(bytes, stored["card"][0])))
    return found


def _hit(
    searcher: Searcher, address: Any, key: Any, pattern: re.Pattern[str] | None, lang: str
) -> Hit:
    stored = searcher.doc(address)
    card = _card(stored)
    return Hit(
        listing_id=stored["id"][0],
        card=card,
        snippet=snippet(_sources(card, lang), pattern),
        score=float(key) if isinstance(key, float) else 0.0,
    )
