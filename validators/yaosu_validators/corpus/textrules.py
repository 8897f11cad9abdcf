"""Is the text worth training on: length, repetition, rules of Gopher and C4, residue, cut texts.

Rules, thresholds and their origins are data (`textrules.csv`, `textrules_residue.csv`); ratios are
compared as integers. Judged is what a model would learn to read and write: neither the rejected
side of a preference nor calls of tools and their results.
"""

from __future__ import annotations

import csv
import functools
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib.resources import files
from typing import Any, ClassVar

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from yaosu_schemas.errors import Text
from yaosu_schemas.report import Metric
from yaosu_validators.check import Conclusion, Finding, check

from .encoding import controls, holding, matching, with_damage
from .script import Bools, Flat, Kind
from .textrules_measures import Measured, measure
from .tokens import TokenCounter, counter_of
from .view import About, Ints, Places, Role, View

JUDGED = (Role.TEXT, Role.SYSTEM, Role.PROMPT, Role.INPUT, Role.ANSWER, Role.CHOSEN, Role.CAPTION)
KINDS = ("repeated-text", "boilerplate", "markup-residue", "truncated-text", "missing-text")
_NOTES = {
    "repeated-text": Text("{rule}", "{rule}"),
    "boilerplate": Text("holds boilerplate of a web page", "含网页套话"),
    "markup-residue": Text("holds tags or entities of a markup language", "含标记语言的标签或实体"),
    "truncated-text": Text("breaks off", "文本中断"),
    "missing-text": Text("has no text, or a placeholder", "没有文本，或只有占位符"),
}
_STEP = 1 << 16  # lengths above are kept to three digits


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule: the record fails if measure (times 1,000, over `per`) is beyond the limit."""

    name: str
    group: str
    scope: str
    measure: str
    above: bool
    limit: int
    per: str
    note: Text

    def fails(self, of: Mapping[str, Ints]) -> Bools:
        """Return which records fail; a ratio over nothing fails nothing."""
        left = of[self.measure] * 1000 if self.per else of[self.measure]
        right = of[self.per] * self.limit if self.per else np.full_like(left, self.limit)
        failed: Bools = left > right if self.above else left < right
        return failed


def _table(name: str) -> list[dict[str, str]]:
    text = files("yaosu_validators.corpus").joinpath(name).read_text("utf-8")
    return list(csv.DictReader(text.splitlines()))


@functools.cache
def rules() -> tuple[Rule, ...]:
    """Return the rules of text with their thresholds."""
    return tuple(
        Rule(
            name=row["rule"],
            group=row["group"],
            scope=row["scope"],
            measure=row["measure"],
            above=row["op"] == ">",
            limit=int(row["limit"]),
            per=row["per"],
            note=Text(row["en"], row["zh"]),
        )
        for row in _table("textrules.csv")
    )


@functools.cache
def residue(kind: str, scope: str) -> str:
    """Return the pattern of one kind of residue, as it applies to one scope."""
    found = [
        row["pattern"]
        for row in _table("textrules_residue.csv")
        if row["kind"] == kind and row["scope"] in ("any", scope)
    ]
    return "(?:" + ")|(?:".join(found) + ")"


@dataclass(slots=True)
class TextState:
    """Counts of one resource, lengths in characters, and the first places of each problem."""

    about: About
    records: int = 0
    clean: int = 0
    counts: Counter[str] = field(default_factory=Counter)
    judged: Counter[str] = field(default_factory=Counter)  # records by scope
    failed: Counter[str] = field(default_factory=Counter)  # records by rule and scope
    lengths: Counter[int] = field(default_factory=Counter)
    open: Counter[int] = field(default_factory=Counter)  # of records without an end, by length
    open_clean: Counter[int] = field(default_factory=Counter)  # … in which nothing else is wrong
    places: dict[str, list[tuple[int, int]]] = field(
        default_factory=lambda: {k: [] for k in (*KINDS, "open")}
    )  # position, and the number of a rule or the length
    tokens: int = 0


@check("corpus.text", "2")
@dataclass(frozen=True, slots=True, kw_only=True)
class TextRules:
    """Every text is whole, says something, does not repeat itself and holds no residue."""

    listed: int = 1000  # findings of one kind that are listed of one resource
    cut_least: int = 200  # characters that a text must have before its end is judged
    cut_cluster: int = 8  # texts of the very same length without an end: one limit cut them
    tokenizer: str = ""  # "estimate" or "file:tokenizer.json"; nothing: no tokens
    sees: ClassVar = "records"

    def start(self, about: About) -> TextState:
        if self.tokenizer:
            counter_of(self.tokenizer)  # refused before anything is read
        return TextState(about)

    def observe(self, state: TextState, view: View) -> TextState:
        if not state.about.text:
            return state
        texts, slices = with_damage(view, JUDGED)
        counter = counter_of(self.tokenizer) if self.tokenizer else None
        residues = _left(texts) if len(texts) else {}
        if isinstance(slices, list) and slices:  # a pattern is compiled anew at each look
            signs = np.concatenate([_signs(chars) for _, chars, _ in slices])
            residues["markup"] = _markup(texts, residues["screened"] | signs)
        for flat, chars, damage in slices:
            these = slice(flat.first, flat.first + len(flat))
            left = {kind: mask[these] for kind, mask in residues.items()}
            left["damaged"] = np.logical_or.reduce([*damage.values(), controls(chars)])
            some = texts.slice(flat.first, len(flat))
            if "markup" not in left:
                left["markup"] = _markup(some, left["screened"] | _signs(chars))
            self._observe(state, flat, chars, some, view.positions[these], left, counter)
        return state

    def _observe(
        self,
        state: TextState,
        flat: Flat,
        counts: Ints,
        texts: pa.LargeStringArray,
        where: Ints,
        left: Mapping[str, Bools],
        counter: TokenCounter | None,
    ) -> None:
        found = measure(flat, counts)
        if counter is not None:
            state.tokens += counter(texts, counts)
        _keep_sentences(found, flat, left, texts)
        repeated = self._rules(state, found)
        open_ = (found.of["open"] > 0) & (found.of["chars"] >= self.cut_least)
        problems = {
            "repeated-text": repeated > 0,
            "boilerplate": left["boilerplate"],
            "markup-residue": left["markup"],
            "truncated-text": left["truncated"],
            "missing-text": left["placeholder"] | (found.of["tokens"] == 0),
        }
        damage = left["damaged"]
        bad = np.logical_or.reduce(list(problems.values())) | damage
        lengths = _binned(found.of["chars"])
        state.counts.update({kind: int(mask.sum()) for kind, mask in problems.items()})
        pure = ~(problems["boilerplate"] | problems["markup-residue"] | damage)
        state.counts.update(pure=int(pure.sum()), cut=flat.cut)
        state.records += len(flat)
        state.clean += int((~bad).sum())
        for tally, mask in (
            (state.lengths, np.ones(len(flat), bool)),
            (state.open, open_ & ~left["truncated"]),
            (state.open_clean, open_ & ~bad),
        ):
            values, times = np.unique(lengths[mask], return_counts=True)
            tally.update(dict(zip(values.tolist(), times.tolist(), strict=True)))
        self._note(
            state, {**problems, "open": open_ & ~left["truncated"]}, where, repeated, lengths
        )

    def _rules(self, state: TextState, found: Measured) -> Ints:
        """Count the records that fail each rule; return which rule says that they repeat (or 0)."""
        languages = state.about.languages
        english = not languages or any(name.lower().startswith("en") for name in languages)
        words = found.of["tokens"] > 0
        scopes = {"spaced": found.spaced & words, "chinese": ~found.spaced & words, "any": words}
        scopes["english"] = scopes["spaced"] & english
        state.judged.update({name: int(mask.sum()) for name, mask in scopes.items()})
        repeated = np.zeros(len(words), np.int64)
        groups: dict[str, Bools] = {}
        for number, rule in enumerate(rules(), start=1):
            failed = rule.fails(found.of) & scopes[rule.scope]
            state.failed[f"{rule.group}.{rule.name}.{rule.scope}"] += int(failed.sum())
            groups[rule.group] = groups.get(rule.group, failed) | failed
            if rule.group == "repetition":
                repeated = np.where((repeated == 0) & failed, number, repeated)
        state.failed.update({group: int(mask.sum()) for group, mask in groups.items()})
        return repeated

    def _note(
        self,
        state: TextState,
        problems: Mapping[str, Bools],
        where: Ints,
        repeated: Ints,
        lengths: Ints,
    ) -> None:
        for kind, mask in problems.items():
            at = np.flatnonzero(mask)[: self.listed - len(state.places[kind])]
            told = lengths if kind == "open" else repeated
            state.places[kind] += zip(where[at].tolist(), told[at].tolist(), strict=True)

    def merge(self, left: TextState, right: TextState) -> TextState:
        left.records += right.records
        left.clean += right.clean
        left.tokens += right.tokens
        for name in ("counts", "judged", "failed", "lengths", "open", "open_clean"):
            getattr(left, name).update(getattr(right, name))
        for kind, listed in left.places.items():
            listed += right.places[kind][: self.listed - len(listed)]
        return left

    # --- the conclusion -----------------------------------------------------------------------

    def conclude(self, states: Sequence[tuple[About, TextState]], places: Places) -> Conclusion:
        judged = [state for about, state in states if about.text]
        if not judged:
            return Conclusion()
        findings: list[tuple[str, Finding]] = []
        total, parts = Counter[str](), []
        for state in judged:
            limits = self._limits(state)
            cut = state.counts["truncated-text"] + sum(state.open[n] for n in limits)
            total.update({k: state.counts[k] for k in ("repeated-text", "missing-text", "pure")})
            total.update(records=state.records, cut=cut)
            total["clean"] += state.clean - sum(state.open_clean[n] for n in limits)
            findings += self._findings(state, limits, places)
            parts.append(self._evidence(state, limits, cut))
        n = total["records"]
        metrics = [
            _ratio("tc609:0208", total["clean"], n),
            _ratio("tc609:02080103", total["repeated-text"], n),
            _ratio("tc609:02080104", n - total["cut"], n),
            _ratio("tc609:02080105", total["missing-text"], n),
            _ratio("tc609:02080106", total["pure"], n),
            _lengths_metric(judged),
        ]
        for group in ("gopher_quality", "repetition", "c4"):
            some = [s for s in judged if s.about.shape in ("text", "completion")]
            words = sum(s.judged["any"] for s in some)
            failed = sum(s.failed[group] for s in some)
            metrics.append(_ratio(f"own:{group}", words - failed, words))
        return Conclusion(
            metrics=tuple(metrics), findings=tuple(findings), evidence={"resources": parts}
        )

    def _limits(self, state: TextState) -> list[int]:
        """Return the lengths at which texts were cut: many of them, and most without an end."""
        return sorted(
            length
            for length, times in state.open.items()
            if times >= self.cut_cluster
            and times * 5 >= state.lengths[length] * 4
            and times * 20 >= sum(state.open.values())
            and length < _STEP
        )

    def _findings(
        self, state: TextState, limits: Sequence[int], places: Places
    ) -> list[tuple[str, Finding]]:
        found: list[tuple[str, Finding]] = []
        name = state.about.resource
        for kind in KINDS:
            listed = list(state.places[kind])
            if kind == "truncated-text":
                listed = sorted(listed + [p for p in state.places["open"] if p[1] in limits])
            rows = places.rows(name, np.array([p for p, _ in listed], np.int64)).tolist()
            for row, (_, number) in zip(rows, listed[: self.listed], strict=False):
                note = _NOTES[kind]
                if kind == "repeated-text":
                    rule = rules()[number - 1].note
                    note = Text(note.en.format(rule=rule.en), note.zh.format(rule=rule.zh))
                found.append((name, Finding(type=kind, note=note, row=row, severity="warning")))
        return found

    def _evidence(self, state: TextState, limits: Sequence[int], cut: int) -> dict[str, Any]:
        problems = {kind: state.counts[kind] for kind in KINDS}
        told: dict[str, Any] = {
            "resource": state.about.resource,
            "records": state.records,
            "characters": quantiles(state.lengths),
            "histogram": histogram(state.lengths),
            "problems": {**problems, "truncated-text": cut},
            "cut_at": [{"characters": n, "records": state.open[n]} for n in limits[:20]],
            "looked_at_in_part": state.counts["cut"],
            "rules": [
                {
                    "group": rule.group,
                    "rule": rule.name,
                    "scope": rule.scope,
                    "failed": state.failed[f"{rule.group}.{rule.name}.{rule.scope}"],
                    "judged": state.judged[rule.scope],
                }
                for rule in rules()
            ],
            "listed": self.listed,
        }
        if self.tokenizer:
            told["tokens"] = {**counter_of(self.tokenizer).about(), "count": state.tokens}
        return told


@functools.cache
def _screen() -> str:
    """Return one pattern for all residue: one look over texts, most of which are clean.

    What must stand at the end of a text may stand anywhere here.
    """
    kinds = ("boilerplate", "line", "lorem", "truncated")
    scopes = ("spaced", "chinese")
    patterns = [residue(k, s).replace(r"\s*$", "") for k in kinds for s in scopes]
    return r"(?i)\[/|\[url=|" + "|".join(dict.fromkeys(patterns))


def _signs(counts: Ints) -> Bools:
    """Return which texts hold a character that markup begins with."""
    found: Bools = counts[:, [Kind.LESS, Kind.AMPERSAND, Kind.BOM]].sum(axis=1) > 0
    return found


def _markup(texts: pa.LargeStringArray, some: Bools) -> Bools:
    """Return which texts hold markup; inside of code marked by three back ticks it is wanted."""
    found = matching(texts, residue("markup", "any"), lambda: some)
    return found & ~matching(texts, "```|(?i)<!doctype|<html", lambda: found)


def _left(texts: pa.LargeStringArray) -> dict[str, Bools]:
    """Return of each kind of residue which texts of a batch hold it."""
    some = holding(texts, _screen())
    sizes = pc.binary_length(texts).to_numpy(zero_copy_only=False)

    def of(kind: str, scope: str, where: Bools) -> Bools:
        return matching(texts, "(?i)" + residue(kind, scope), lambda: where)

    return {
        "screened": some,
        "boilerplate": of("boilerplate", "chinese", some),
        "line spaced": of("line", "spaced", some),
        "line chinese": of("line", "chinese", some),
        "lorem": of("lorem", "any", some),
        "truncated": of("truncated", "any", some),
        "placeholder": of("placeholder", "any", sizes < 120),
    }


def _keep_sentences(
    found: Measured, flat: Flat, left: Mapping[str, Bools], texts: pa.LargeStringArray
) -> None:
    """Count the sentences in the lines that C4 keeps: none that speak of cookies or javascript."""
    lines, kept = found.lines, found.kept.copy()
    bounds = np.searchsorted(lines.owners, np.arange(len(flat) + 1))
    speaks = np.where(found.spaced, left["line spaced"], left["line chinese"])
    for record in np.flatnonzero(speaks).tolist():
        scope = "spaced" if found.spaced[record] else "chinese"
        unwanted = re.compile(residue("line", scope), re.IGNORECASE)
        rows = texts[record].as_py().split("\n")[: bounds[record + 1] - bounds[record]]
        for at, row in enumerate(rows, start=int(bounds[record])):
            kept[at] = kept[at] and not unwanted.search(row)
    sums = np.concatenate(([0], np.cumsum(np.where(kept, found.sentences, 0))))
    found.of["kept_sentences"] = sums[bounds[1:]] - sums[bounds[:-1]]
    found.of["lorem"] = left["lorem"].astype(np.int64)


def _binned(lengths: Ints) -> Ints:
    """Return lengths as they are counted: exact below 65,536, else down to 10 binary digits."""
    shift = np.maximum(np.floor(np.log2(np.maximum(lengths, 1))).astype(np.int64) - 9, 0)
    return np.where(lengths < _STEP, lengths, lengths >> shift << shift)


def quantiles(lengths: Mapping[int, int]) -> dict[str, int]:
    """Return sum, least, p1, p50, p99 (nearest rank) and most of counted lengths."""
    values = sorted(lengths)
    if not values:
        return {}
    sums = np.cumsum([lengths[v] for v in values])
    total = int(sums[-1])

    def rank(percent: int) -> int:
        return values[int(np.searchsorted(sums, -(-percent * total // 100)))]

    return {
        "total": sum(v * n for v, n in lengths.items()),
        "min": values[0], "p1": rank(1), "p50": rank(50), "p99": rank(99), "max": values[-1],
    }  # fmt: skip


def histogram(lengths: Mapping[int, int]) -> list[dict[str, int]]:
    """Return records by length in four steps to each power of two: `below` characters."""
    bins = Counter[int]()
    for length, times in lengths.items():
        fine = max(length.bit_length() - 3, 0)
        bins[((length >> fine) + 1) << fine] += times
    return [{"below": edge, "records": n} for edge, n in sorted(bins.items())]


def _lengths_metric(states: Sequence[TextState]) -> Metric:
    lengths = sum((s.lengths for s in states), Counter[int]())
    told = quantiles(lengths)
    n = sum(lengths.values())
    return Metric(
        id="own:len_stats", standard="own", value=told.get("p50"), unit="characters", n=n
    )  # fmt: skip


def _ratio(name: str, numerator: int, denominator: int) -> Metric:
    return Metric(
        id=name,
        standard="TC609-5-2025-04" if name.startswith("tc609") else "own",
        value=numerator / denominator if denominator else None,
        numerator=numerator,
        denominator=denominator,
        n=denominator,
    )
