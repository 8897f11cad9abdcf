"""Keys judged at the end, over all tables: twins within one, references from one to another."""

from __future__ import annotations

from collections.abc import Set

from yaosu_schemas.errors import Text

from .check import Finding
from .judge import Limits, Outcome, judge
from .keys import KeyIndex, KeyPairs, comparable, duplicates, shown, strangers, twins


class Indexes:
    """The keys of all outcomes, sorted when first asked for."""

    def __init__(self, outcomes: list[Outcome], names: Set[str], *, judged: bool = True) -> None:
        self._outcomes = outcomes
        self._judged = judged  # False where a person stopped it before keys were compared
        self._names = names  # of all resources, those that were not reached included
        self._read: dict[tuple[str, tuple[str, ...]], Outcome] = {}

    def close(self) -> None:
        for outcome in (*self._outcomes, *self._read.values()):
            for pairs in outcome.state.pairs if outcome.state is not None else ():
                if pairs.index is not None:
                    pairs.index.close()

    def _index(self, outcome: Outcome, position: int) -> KeyIndex:
        assert outcome.state is not None
        return outcome.state.pairs[position].settled()

    def findings(self, outcome: Outcome) -> list[Finding]:
        """Return what is wrong with the keys of one table, in no particular order."""
        found: list[Finding] = []
        if not self._judged:
            return found
        assert outcome.check is not None
        for position, key in enumerate(outcome.check.keys):
            if key.rule == "lookup":
                continue
            if key.rule == "foreign":
                found += self._foreign(outcome, position)
                continue
            pairs = outcome.state.pairs[position] if outcome.state else KeyPairs()
            few = not pairs.chunks and pairs.index is None and pairs.lost is None
            same = twins(pairs) if few else duplicates(self._index(outcome, position))
            for row, before in same:
                found.append(_duplicate(outcome, position, row, before))
        return found

    def unreferred(self, outcome: Outcome) -> Finding | None:
        """Say why foreign keys cannot be judged: what they refer to is not there, or broken."""
        for key in outcome.schema.foreign_keys:
            name = key.resource or outcome.resource.name
            other = next((o for o in self._outcomes if o.resource.name == name), None)
            if other is None and name in self._names:
                continue  # a person stopped before it was read
            if other is None:
                return Finding(
                    type="resource-error",
                    note=Text(
                        f"a foreign key refers to the resource {name!r}, which is not there",
                        f"外键引用的资源“{name}”不存在",
                    ),
                )
            broken = other.state.failed if other.state is not None else None
            # Frictionless opens no records where there are none.
            lines = other.resource.format == "jsonl"
            empty = other.resource.data == [] or (lines and not other.labels)
            if broken is None and other.start and (empty or not other.opened):
                broken = other.start[0]
            if broken is not None:
                return broken
        return None

    def _foreign(self, outcome: Outcome, position: int) -> list[Finding]:
        assert outcome.check is not None
        key = outcome.check.keys[position]
        assert key.reference is not None
        if self._cut_short(key.reference.resource or outcome.resource.name):
            return []
        children = self._index(outcome, position)
        parents = self._parents(outcome, key.reference.resource, key.reference.reference_fields)
        if parents is None or not comparable(parents[1], key.families):
            parents = (KeyIndex(), key.families)
        where = key.reference.resource or outcome.resource.name
        return [
            Finding(
                type="foreign-key",
                note=Text(
                    f'"{shown(text)}" of {", ".join(key.names)} is not in '
                    f"{', '.join(key.reference.reference_fields)} of {where!r}",
                    f"{'、'.join(key.names)} 的值“{shown(text)}”不在“{where}”的"
                    f" {'、'.join(key.reference.reference_fields)} 中",
                ),
                row=row,
            )
            for row, text in strangers(children, parents[0])
        ]

    def _cut_short(self, name: str) -> bool:
        """Say whether a person stopped before all of a resource was read: its keys are unknown."""
        other = next((o for o in self._outcomes if o.resource.name == name), None)
        return name in self._names if other is None else other.interrupted

    def _whole(self, outcome: Outcome, names: tuple[str, ...]) -> Outcome:
        key = (outcome.resource.name, names)
        if key not in self._read:
            self._read[key] = judge(outcome.resource, Limits(errors=0, wanted=(names,)))
            if self._read[key].interrupted:
                raise KeyboardInterrupt
        return self._read[key]

    def _parents(
        self, outcome: Outcome, resource: str, names: tuple[str, ...]
    ) -> tuple[KeyIndex, tuple[str, ...]] | None:
        for other in self._outcomes:
            if other.resource.name != (resource or outcome.resource.name):
                continue
            if other.check is None or other.state is None:
                return None
            if other.state.full:  # it stopped at the limit of errors, and its keys are needed all
                other = self._whole(other, names)
            assert other.check is not None
            for position, key in enumerate(other.check.keys):
                if key.rule == "lookup" and key.names == names:
                    return self._index(other, position), key.families
        return None


def _duplicate(outcome: Outcome, position: int, row: int, before: int) -> Finding:
    assert outcome.check is not None
    key = outcome.check.keys[position]
    note = Text(f"the same stands in row {before}", f"与第 {before} 行相同")
    if key.rule == "unique":
        return Finding(
            type="unique-error",
            note=note,
            row=row,
            field_name=key.names[0],
            field_number=key.columns[0] + 1,
        )
    return Finding(
        type="primary-key" if key.rule == "primary" else "unique-key", note=note, row=row
    )
