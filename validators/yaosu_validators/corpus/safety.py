"""Is the text of a corpus safe, as far as the word lists of an operator can tell?

Counts are exact and over all records; limits are compared in integers (TC260-003, `codes/
corpus_safety_limit.csv`). A risk without words is said to be not covered, and a library smaller
than asked for never passes anything.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa

from yaosu_schemas.codes import code_list
from yaosu_schemas.errors import Text
from yaosu_schemas.report import Metric
from yaosu_validators.check import Conclusion, Finding, check

from .safety_words import CATEGORIES, Lexicon, canonical_all, load
from .sampling import exceeds, reaches, wilson
from .view import About, Places, View

RULESET = "tc260-003@2024"
_STANDARD = "TC260-003"
_MOST_SOURCES = 10_000
_SOURCES = ("source", "来源", "data_source", "source_name", "dataset", "出处")


@dataclass(slots=True)
class SafetyState:
    """Counts of one resource; a source is known by a hash of its name."""

    records: int = 0
    bad: int = 0
    hits: Counter[int] = field(default_factory=Counter)  # by category
    holders: Counter[int] = field(default_factory=Counter)  # records by category
    places: dict[int, list[tuple[int, int]]] = field(default_factory=dict)  # position, count
    sources: dict[bytes, list[int]] = field(default_factory=dict)  # records, bad, first position
    overflown: bool = False


@check("corpus.safety", "1")
@dataclass(frozen=True, slots=True, kw_only=True)
class Safety:
    """Counts the records that hold words of an operator's lists, by risk and by source."""

    words: str = ""  # a file or folder of this machine
    source: str = ""  # the field that names the source of a record
    listed: int = 1000
    sees: ClassVar = "records"

    def __post_init__(self) -> None:
        self._lexicon()  # a ruleset with mistakes is refused before anything is read

    def _lexicon(self) -> Lexicon | None:
        return load(self.words) if self.words else None

    def method(self) -> dict[str, Any]:
        """Return the options, with what the lists are instead of where they lie."""
        lexicon = self._lexicon()
        told = {"words": lexicon.digest, "version": lexicon.version} if lexicon else {}
        return told | ({"source": self.source} if self.source else {})

    def start(self, about: About) -> SafetyState:
        return SafetyState()

    def observe(self, state: SafetyState, view: View) -> SafetyState:
        state.records += len(view)
        lexicon = self._lexicon()
        if lexicon is None or not len(view):
            return state
        found = _found(lexicon, view.bodies())
        bad = np.zeros(len(view), bool)
        bad[list(found)] = True
        state.bad += len(found)
        for record in sorted(found):
            at = int(view.positions[record])
            for category, count in sorted(found[record].items()):
                state.hits[category] += count
                state.holders[category] += 1
                listed = state.places.setdefault(category, [])
                if len(listed) < self.listed:
                    listed.append((at, count))
        self._sources(state, view, bad)
        return state

    def _sources(self, state: SafetyState, view: View, bad: Any) -> None:
        """Count records and bad ones by source, where a field names it."""
        wanted = (self.source,) if self.source else _SOURCES
        numbers = [n for n, name in enumerate(view.names) if name in wanted]
        segments = np.flatnonzero(np.isin(view.fields, numbers))
        if not len(segments):
            return
        owners = view.owners()[segments]
        first = np.concatenate(([True], owners[1:] != owners[:-1]))
        names = view.texts.take(pa.array(segments[first])).to_pylist()
        for record, name in zip(owners[first].tolist(), names, strict=True):
            key = hashlib.blake2b(name.encode(), digest_size=12).digest()
            one = state.sources.setdefault(key, [0, 0, int(view.positions[record])])
            one[0] += 1
            one[1] += int(bad[record])
        _trim(state)

    def merge(self, left: SafetyState, right: SafetyState) -> SafetyState:
        left.records += right.records
        left.bad += right.bad
        left.hits.update(right.hits)
        left.holders.update(right.holders)
        left.overflown |= right.overflown
        for category, places in right.places.items():
            mine = left.places.setdefault(category, [])
            mine += places[: self.listed - len(mine)]
        for key, (records, bad, first) in right.sources.items():
            one = left.sources.setdefault(key, [0, 0, first])
            one[0] += records
            one[1] += bad
        _trim(left)
        return left

    def conclude(self, states: Sequence[tuple[About, SafetyState]], places: Places) -> Conclusion:
        lexicon = self._lexicon()
        records = sum(s.records for _, s in states)
        safe = records - sum(s.bad for _, s in states)
        return Conclusion(
            metrics=tuple(_metrics(lexicon, [s for _, s in states])),
            findings=tuple(f for about, s in states for f in self._findings(about, s, places)),
            evidence={
                "ruleset": _library(lexicon),
                "resources": [self._told(about, s, places) for about, s in states],
                "wilson_95": _interval(safe, records) if lexicon else None,
                "examined": "all records",
                "listed": self.listed,
            },
        )

    def _findings(
        self, about: About, state: SafetyState, places: Places
    ) -> Iterator[tuple[str, Finding]]:
        for category in sorted(state.places):
            listed = state.places[category]
            code = CATEGORIES[category]
            name = code_list("risk").text(code)
            rows = places.rows(about.resource, np.array([at for at, _ in listed], np.int64))
            for row, (_, count) in zip(rows.tolist(), listed, strict=True):
                note = Text(f"{code} {name.en}: {count}", f"{code} {name.zh}：{count} 处")
                yield (
                    about.resource,
                    Finding(type="unsafe-text", note=note, row=row, severity="warning"),
                )
        limit = _limit("tc260:source_bad", "percent")
        for first, records, bad in _over(state, limit)[: self.listed]:
            row = int(places.rows(about.resource, np.array([first], np.int64))[0])
            note = Text(f"{bad} of {records} records of its source are unsafe: over {limit} %",
                        f"其来源的 {records} 条中有 {bad} 条不安全，超过 {limit}%")  # fmt: skip
            yield (
                about.resource,
                Finding(type="unsafe-source", note=note, row=row, severity="warning"),
            )

    def _told(self, about: About, state: SafetyState, places: Places) -> dict[str, Any]:
        limit = _limit("tc260:source_bad", "percent")
        over = _over(state, limit)
        rows = places.rows(about.resource, np.array([o[0] for o in over[: self.listed]], np.int64))
        return {
            "resource": about.resource,
            "records": state.records,
            "bad": state.bad,
            "risks": {
                CATEGORIES[c]: {"records": n, "hits": state.hits[c]}
                for c, n in sorted(state.holders.items())
            },
            "sources": len(state.sources),
            "sources_complete": not state.overflown,
            "sources_over": len(over),
            "over": [
                {"first_row": row, "records": records, "bad": bad}
                for row, (_, records, bad) in zip(rows.tolist(), over, strict=False)
            ],
        }


def _found(lexicon: Lexicon, bodies: pa.LargeStringArray) -> dict[int, Counter[int]]:
    """Return for each record that holds words how often each category occurs."""
    folded, ends = canonical_all(bodies.to_pylist())
    hits = list(lexicon.hits(folded))
    found: dict[int, Counter[int]] = {}
    if hits:
        records = np.searchsorted(ends, np.array([at for _, at in hits], np.int64), "right")
        for (word, _), record in zip(hits, records.tolist(), strict=True):
            found.setdefault(record, Counter()).update(lexicon.owners[word])
    return found


def _metrics(lexicon: Lexicon | None, states: list[SafetyState]) -> Iterator[Metric]:
    if not states:
        return
    n = sum(s.records for s in states)
    safe = n - sum(s.bad for s in states)
    known = lexicon is not None and n > 0
    enough = lexicon is not None and _enough(lexicon)
    passed = reaches(safe, n, _limit("tc260:tech_pass", "percent")) if known else None
    counts: dict[str, Any] = {
        "value": safe / n if known else None,
        "numerator": safe if known else None,
        "denominator": n if known else None,
        "n": n,
    }
    # A library that is too small cannot show that a corpus is safe, only that it is not.
    verdict = passed if enough or passed is False else None
    yield Metric(id="tc260:tech_pass", standard=_STANDARD, passed=verdict, **counts)
    yield Metric(id="tc609:0202", standard="TC609-5-2025-04", **counts)
    total, least = lexicon.total if lexicon else 0, _limit("tc260:kw_size", "least")
    yield Metric(id="tc260:kw_size", standard=_STANDARD, value=total, unit="words",
                 numerator=total, denominator=least, n=n, passed=enough)  # fmt: skip
    sources = sum(len(s.sources) for s in states)
    if sources:
        over = sum(len(_over(s, _limit("tc260:source_bad", "percent"))) for s in states)
        yield Metric(id="tc260:source_bad", standard=_STANDARD, value=over / sources,
                     numerator=over, denominator=sources, n=n,
                     passed=not over if over or enough else None)  # fmt: skip


def _library(lexicon: Lexicon | None) -> dict[str, Any]:
    """Return what the lists are, and which risks they cover."""
    risks = []
    for entry in code_list("risk"):
        size = lexicon.sizes[entry.code] if lexicon else 0
        least = _least(entry.code)
        risks.append({"risk": entry.code, "words": size, "least": least, "covered": size > 0,
                      "enough": size > 0 and size >= least})  # fmt: skip
    return {
        "limits": RULESET,
        "name": lexicon.name if lexicon else None,
        "version": lexicon.version if lexicon else None,
        "updated": lexicon.updated if lexicon else None,
        "digest": lexicon.digest if lexicon else None,
        "words": lexicon.total if lexicon else 0,
        "repeated": lexicon.repeated if lexicon else 0,
        "least": _limit("tc260:kw_size", "least"),
        "enough": lexicon is not None and _enough(lexicon),
        "risks": risks,
        "not_covered": [r["risk"] for r in risks if not r["covered"]],
    }


def _enough(lexicon: Lexicon) -> bool:
    """Say whether the library has the size that TC260-003 asks for, in all and by risk."""
    return lexicon.total >= _limit("tc260:kw_size", "least") and all(
        size >= _least(code) for code, size in lexicon.sizes.items()
    )


def _least(risk: str) -> int:
    group = {"A1": "tc260:kw_size_a1", "A2": "tc260:kw_size_a2"}.get(risk[:2])
    return _limit(group, "least") if group else 0


def _limit(code: str, column: str) -> int:
    return int(code_list("corpus_safety_limit")[code][column])


def _over(state: SafetyState, limit: int) -> list[tuple[int, int, int]]:
    """Return first position, records and bad ones of the sources over the limit, in order."""
    return sorted(
        (first, records, bad)
        for records, bad, first in state.sources.values()
        if exceeds(bad, records, limit)
    )


def _trim(state: SafetyState) -> None:
    """Keep the sources with the smallest hashes: the same in whatever order they came."""
    if len(state.sources) > _MOST_SOURCES:
        kept = sorted(state.sources)[:_MOST_SOURCES]
        state.sources = {key: state.sources[key] for key in kept}
        state.overflown = True


def _interval(safe: int, n: int) -> dict[str, float] | None:
    """Return Wilson's 95 % interval of a pass rate, as it is shown beside it."""
    found = wilson(safe, n)
    return None if found is None else {"low": round(found[0], 6), "high": round(found[1], 6)}
