"""How a question becomes a query of the engine: terms only, its own parser is never used."""

from __future__ import annotations

from collections.abc import Sequence

from tantivy import Occur, Query, Schema

from yaosu.ports import SearchQuery
from yaosu.text import Question, Run

BOOSTS = {"title": 4.0, "keywords": 2.5, "publisher_name": 1.5, "description": 0.6}


class Terms:
    """Builds queries from terms: the text is never parsed by the engine."""

    def __init__(self, schema: Schema) -> None:
        self.schema = schema

    def term(self, field: str, value: str) -> Query:
        return Query.term_query(self.schema, field, value, "position")

    def any_of(self, field: str, values: Sequence[str]) -> Query:
        if len(values) == 1:
            return self.quiet(self.term(field, values[0]))
        return self.quiet(
            Query.boolean_query([(Occur.Should, self.term(field, v)) for v in values])
        )

    @staticmethod
    def quiet(query: Query) -> Query:
        return Query.const_score_query(query, 0.0)

    def run(self, run: Run) -> list[Query]:
        """Return what must all hold for a run of text to be in a document."""
        if run.unspaced and len(run.text) == 1:
            return [self.term("characters", run.text)]
        return [self.term("body", t) for t in dict.fromkeys(run.terms())]

    def phrase(self, found: Sequence[Run], field: str = "body") -> list[Query]:
        """Return what must all hold for the runs to stand side by side.

        A single unspaced character has no bigram of its own, so it only has to be there.
        """
        must: list[Query] = []
        stretch: list[str] = []
        for run in [*found, Run("", True)]:
            if run.unspaced and len(run.text) <= 1:
                if len(stretch) > 1:
                    must.append(Query.phrase_query(self.schema, field, list(stretch)))
                elif stretch:
                    must.append(self.term(field, stretch[0]))
                stretch = []
                if run.text:
                    must.append(self.term("characters", run.text))
            else:
                stretch += run.terms()
        return must

    def text(
        self, asked: Question, relaxed: Sequence[str] | None = None
    ) -> list[tuple[Occur, Query]]:
        """Return what has to hold; with `relaxed` (near spellings) half of the words will do."""
        clauses: list[tuple[Occur, Query]] = []
        wanted = [q for run in asked.words for q in self.run(run)]
        if relaxed is None:
            clauses += [(Occur.Must, q) for q in wanted]
        elif wanted:
            wanted += [self.term("body", t) for t in relaxed]
            least = max(1, (len(wanted) - len(relaxed)) // 2)
            clauses.append((Occur.Must, self.at_least(wanted, least)))
        for phrase in asked.phrases:
            clauses += [(Occur.Must, q) for q in self.phrase(phrase)]
        for phrase in asked.excluded:
            parts = [(Occur.Must, q) for q in self.phrase(phrase)]
            clauses.append((Occur.MustNot, Query.boolean_query(parts)))
        for facet, values in asked.facets.items():
            clauses.append((Occur.Must, self.any_of("tags", [f"{facet}:{v}" for v in values])))
        return clauses

    @staticmethod
    def at_least(wanted: Sequence[Query], least: int) -> Query:
        return Query.boolean_query(
            [(Occur.Should, q) for q in wanted], minimum_number_should_match=least
        )

    def boosts(self, asked: Question) -> list[tuple[Occur, Query]]:
        """Return the optional clauses that order what was found; counting goes without them."""
        runs = [*asked.words, *(run for phrase in asked.phrases for run in phrase)]
        return [(Occur.Should, query) for run in runs for query in self._boosts(run)]

    def _boosts(self, run: Run) -> list[Query]:
        if run.unspaced and len(run.text) == 1:
            return [Query.boost_query(self.term("title_characters", run.text), BOOSTS["title"])]
        terms = list(dict.fromkeys(run.terms()))
        out = [
            Query.boost_query(self.term(field, term), boost / len(terms))
            for field, boost in BOOSTS.items()
            for term in terms
        ]
        if len(terms) > 1:
            out.append(Query.phrase_query(self.schema, "title", [*run.terms()]))
        return out

    def visible(self, viewer: str | None) -> tuple[Occur, Query]:
        """Return the clause that hides what the viewer may not see (c.2 view_policy)."""
        restricted = self.term("view", "restricted")
        if viewer is None:
            return Occur.MustNot, restricted
        mine = self.any_of("audience", ["member", f"party:{viewer}"])
        hidden = Query.boolean_query([(Occur.Must, restricted), (Occur.MustNot, mine)])
        return Occur.MustNot, hidden

    def clauses(
        self, query: SearchQuery, asked: Question, relaxed: Sequence[str] | None = None
    ) -> list[tuple[Occur, Query]]:
        """Return what the text asks for and the viewer may see."""
        seen = self.visible(query.viewer)
        if asked.blank:
            return [(Occur.Must, Query.all_query()), seen]
        wanted = self.text(asked, relaxed)
        if any(occur == Occur.Must for occur, _ in wanted):
            return [*wanted, seen]
        if asked.excluded:
            return [(Occur.Must, Query.all_query()), *wanted, seen]
        return [(Occur.Must, Query.empty_query())]  # only signs: nothing can match

    def whole(
        self,
        clauses: Sequence[tuple[Occur, Query]],
        query: SearchQuery,
        skip: str | None = None,
    ) -> Query:
        """Return the clauses within what was chosen in the facets, but for the one to skip."""
        chosen = [
            (Occur.Must, self.any_of(facet, list(dict.fromkeys(values))))
            for facet, values in query.filters.items()
            if values and facet != skip
        ]
        return Query.boolean_query([*clauses, *chosen])
