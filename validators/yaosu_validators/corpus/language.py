"""Languages of the records against those declared, forms of Chinese, and damaged text."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, ClassVar

import numpy as np

from yaosu_schemas.errors import Text
from yaosu_schemas.report import Metric
from yaosu_validators.check import Conclusion, Finding, check

from .encoding import CONTROLS, DAMAGE, controls, with_damage
from .language_kernel import NONE, offline_model, spoken
from .script import Bools
from .view import About, Ints, Places, Role, View

PROSE = (
    Role.TEXT,
    Role.SYSTEM,
    Role.PROMPT,
    Role.INPUT,
    Role.ANSWER,
    Role.CHOSEN,
    Role.REJECTED,
    Role.CAPTION,
)  # calls of tools are in no language
KINDS = ("wrong-language", "mixed-chinese", "mojibake", "control-characters")
_NOTES = {
    "wrong-language": Text("is in a language that is not declared", "所用语言未在声明之列"),
    "mixed-chinese": Text("mixes simplified and traditional Chinese", "简体与繁体混用"),
    "control-characters": CONTROLS,
}
_NAMES = {  # ISO 639-2 and -3, and languages that readers of the other one read
    "eng": "en", "zho": "zh", "chi": "zh", "cmn": "zh", "lzh": "zh", "jpn": "ja", "kor": "ko",
    "fra": "fr", "fre": "fr", "deu": "de", "ger": "de", "spa": "es", "rus": "ru", "por": "pt",
    "ita": "it", "ara": "ar", "nb": "no", "nn": "no", "ms": "id", "bo": "bo", "tib": "bo",
}  # fmt: skip
_HANT = ("hant", "tw", "hk", "mo")
_HANS = ("hans", "cn", "sg")


@dataclass(slots=True)
class LanguageState:
    """Counts of one resource, and the first places of each problem."""

    records: int = 0
    within: int = 0  # records in a declared language
    told: Counter[str] = field(default_factory=Counter)
    counts: Counter[str] = field(default_factory=Counter)
    places: dict[str, list[int]] = field(default_factory=lambda: {k: [] for k in KINDS})
    kinds: list[str] = field(default_factory=list)  # of damage, for each place of mojibake


@check("corpus.language", "1")
@dataclass(frozen=True, slots=True, kw_only=True)
class Language:
    """Every record is in a language that is declared, in one form of Chinese, and undamaged."""

    listed: int = 1000  # findings of one kind that are listed of one resource
    mixed_least: int = 2  # characters that only one form of Chinese has, of each form
    mixed_percent: int = 10  # share of the rarer form among them
    model: bool = True  # ask a model where scripts and small words do not decide
    sees: ClassVar = "records"

    def start(self, about: About) -> tuple[About, LanguageState]:
        return about, LanguageState()

    def observe(
        self, state: tuple[About, LanguageState], view: View
    ) -> tuple[About, LanguageState]:
        about, seen = state
        if not about.text:
            return state
        bodies, slices = with_damage(view, PROSE)
        model = offline_model if self.model else None
        seen.counts["mended"] += view.mended
        for flat, counts, damage in slices:
            texts = bodies.slice(flat.first, len(flat))
            found = spoken(texts, flat, counts, model)
            tags: Sequence[str] = found.tags.tolist()
            told = Counter(tags)
            seen.told.update(told)
            accepted = {t for t in told if t != NONE and within(t, about.languages)}
            declared = np.isin(found.tags.astype(str), sorted(accepted))
            forms = np.minimum(found.simplified, found.traditional)
            both = found.simplified + found.traditional
            chinese = np.char.startswith(found.tags.astype(str), "zh")
            mixed = (
                chinese & (forms >= self.mixed_least) & (forms * 100 >= both * self.mixed_percent)
            )
            broken = np.logical_or.reduce(list(damage.values()))
            where = view.positions[flat.first : flat.first + len(flat)]
            room = self.listed - len(seen.places["mojibake"])
            for at in np.flatnonzero(broken)[:room].tolist():
                seen.kinds.append(next(kind for kind, mask in damage.items() if mask[at]))
            problems = {
                "wrong-language": (found.tags != NONE) & ~declared & bool(about.languages),
                "mixed-chinese": mixed,
                "mojibake": broken,
                "control-characters": controls(counts),
            }
            self._note(seen, problems, where)
            seen.counts.update({k: int(v.sum()) for k, v in damage.items()})
            seen.counts.update(asked=found.asked, scripts=int(found.mixed.sum()), cut=flat.cut)
            seen.records += len(flat)
            seen.within += int(declared.sum())
        return state

    def _note(self, seen: LanguageState, problems: dict[str, Bools], where: Ints) -> None:
        for kind, mask in problems.items():
            seen.counts[kind] += int(mask.sum())
            room = self.listed - len(seen.places[kind])
            seen.places[kind] += where[mask][:room].tolist()

    def merge(
        self, left: tuple[About, LanguageState], right: tuple[About, LanguageState]
    ) -> tuple[About, LanguageState]:
        a, b = left[1], right[1]
        a.records += b.records
        a.within += b.within
        a.told.update(b.told)
        a.counts.update(b.counts)
        a.kinds += b.kinds[: self.listed - len(a.kinds)]
        for kind in KINDS:
            a.places[kind] += b.places[kind][: self.listed - len(a.places[kind])]
        return left

    def conclude(
        self, states: Sequence[tuple[About, tuple[About, LanguageState]]], places: Places
    ) -> Conclusion:
        judged = [(about, state) for about, (_, state) in states if about.text]
        findings: list[tuple[str, Finding]] = []
        for about, state in judged:
            for kind in KINDS:
                rows = places.rows(about.resource, np.array(state.places[kind], np.int64))
                for number, row in enumerate(rows.tolist()):
                    note = DAMAGE[state.kinds[number]] if kind == "mojibake" else _NOTES[kind]
                    found = Finding(type=kind, note=note, row=row, severity="warning")
                    findings.append((about.resource, found))
        if not judged:
            return Conclusion()
        stated = [state for about, state in judged if about.languages]
        told = sum(s.records - s.told[NONE] for s in stated)
        within_ = sum(s.within for s in stated)
        total = sum(s.records for _, s in judged)
        broken = sum(s.counts["mojibake"] for _, s in judged)
        return Conclusion(
            metrics=(
                _ratio("own:lang_share", within_, told),
                _ratio("own:mojibake", broken, total),
            ),
            findings=tuple(findings),
            evidence={"resources": [self._evidence(a, s) for a, s in judged]},
        )

    def _evidence(self, about: About, state: LanguageState) -> dict[str, Any]:
        found = sorted(state.told.items(), key=lambda item: (-item[1], item[0]))
        return {
            "resource": about.resource,
            "declared": list(about.languages),
            "records": state.records,
            "found": [{"language": tag, "records": n} for tag, n in found],
            "second_script": state.counts["scripts"],
            "model_asked": state.counts["asked"],
            "lone_surrogates": state.counts["mended"],
            "cut": state.counts["cut"],
            "problems": {kind: state.counts[kind] for kind in KINDS},
            "damage": {kind: state.counts[kind] for kind in DAMAGE},
            "listed": self.listed,
        }


def within(tag: str, declared: Sequence[str]) -> bool:
    """Say whether a language that was found is one of those declared (BCP 47, ISO 639-2, -3).

    `zh` covers both forms of Chinese; Chinese that both forms write alike fits either.
    """
    language, _, form = tag.partition("-")
    language = _NAMES.get(language, language)
    for name in declared:
        parts = name.lower().replace("_", "-").split("-")
        if _NAMES.get(parts[0], parts[0]) != language:
            continue
        asks_hant, asks_hans = any(p in _HANT for p in parts), any(p in _HANS for p in parts)
        if not (form == "Hans" and asks_hant) and not (form == "Hant" and asks_hans):
            return True
    return False


def _ratio(name: str, numerator: int, denominator: int) -> Metric:
    return Metric(
        id=name,
        standard="own",
        value=numerator / denominator if denominator else None,
        numerator=numerator,
        denominator=denominator,
        n=denominator,
    )
