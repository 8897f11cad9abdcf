"""How others say it: what a connector can do, what it brings, and what became of it.

A connector has one or more small capabilities. It never knows that a database exists: it yields
`Record`s, each under an `origin_id` that its source keeps stable, and `compare` says against the
digests known from last time what was added, changed, unchanged, removed or skipped, and why.
Connectors, ours too, register under the entry point group `yaosu.connectors`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any, Literal, Protocol, runtime_checkable

from yaosu_schemas.errors import NotFound, Problem, Text

GROUP = "yaosu.connectors"
Kind = Literal["dataset", "trade"]
Outcome = Literal["added", "changed", "unchanged", "removed", "skipped"]
OUTCOMES: tuple[Outcome, ...] = ("added", "changed", "unchanged", "removed", "skipped")


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One thing as another catalog says it, in our words.

    `document` is a Data Package descriptor (kind `dataset`) or a trading record (kind `trade`).
    `files` maps each file path of the document to the local file; a record without files is a
    draft of metadata alone. `digest` is taken over what the source said: equal means unchanged.
    """

    origin_id: str
    kind: Kind
    document: Mapping[str, Any]
    digest: str
    files: Mapping[str, Path] = field(default_factory=dict)
    notes: tuple[Problem, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Skipped:
    """One thing of the source that cannot be brought over, and why."""

    origin_id: str
    why: Text


@dataclass(frozen=True, slots=True, kw_only=True)
class Gone:
    """One thing that the source says it has no more: only where it is asked for changes."""

    origin_id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What one record of the source means for the receiving side."""

    outcome: Outcome
    origin_id: str
    record: Record | None = None
    why: Text | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What became of every record of one run, by origin id; `skipped` says why."""

    added: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    unchanged: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    skipped: tuple[tuple[str, Text], ...] = ()

    @classmethod
    def of(cls, changes: Iterable[Change]) -> Report:
        """Return the report over changes, in their order."""
        ids: dict[str, list[str]] = {outcome: [] for outcome in OUTCOMES}
        skipped: list[tuple[str, Text]] = []
        for change in changes:
            ids[change.outcome].append(change.origin_id)
            if change.outcome == "skipped":
                skipped.append((change.origin_id, change.why or Text("", "")))
        return cls(
            added=tuple(ids["added"]),
            changed=tuple(ids["changed"]),
            unchanged=tuple(ids["unchanged"]),
            removed=tuple(ids["removed"]),
            skipped=tuple(skipped),
        )

    def as_json(self) -> dict[str, Any]:
        return {
            "added": list(self.added),
            "changed": list(self.changed),
            "unchanged": list(self.unchanged),
            "removed": list(self.removed),
            "skipped": [
                {"origin_id": origin_id, "message": why.en, "message_zh": why.zh}
                for origin_id, why in self.skipped
            ],
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivered:
    """One file handed over: its path in the delivery, its size and its digest."""

    path: str
    bytes: int
    hash: str


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """A connector in its own words; `speaks` names formats or protocols with their versions."""

    name: str
    title: Text
    speaks: tuple[str, ...]
    kinds: tuple[Kind, ...] = ("dataset",)


@runtime_checkable
class Describes(Protocol):
    """Says what it is: every connector does."""

    def about(self) -> About: ...


@runtime_checkable
class Harvests(Protocol):
    """Reads another catalog.

    Yields in a stable order; one bad record is a `Skipped`, never the end of the run. A source that
    cannot be opened at all raises NotFound or InvalidInput before the first record.
    """

    def harvest(self, source: str, /) -> Iterator[Record | Skipped]: ...


@runtime_checkable
class Publishes(Protocol):
    """Writes records into another catalog; running it again changes nothing.

    What an earlier run wrote and this one does not name is removed only with `prune`.
    """

    def publish(
        self, records: Iterable[Record], target: str, /, *, prune: bool = False
    ) -> Report: ...


@runtime_checkable
class Delivers(Protocol):
    """Hands the files of one record over at `target` and answers for their digests."""

    def deliver(self, record: Record, target: str, /) -> Iterator[Delivered]: ...


@runtime_checkable
class Pages(Protocol):
    """Reads a catalog at an address from any page on: what a harvest on a schedule needs.

    Yields (where the next page begins, what is on this one); see `remote`.
    """

    def pages(
        self, source: str, /, after: Any = None, ask: Any = None
    ) -> Iterator[tuple[Any, list[Record | Skipped]]]: ...


@runtime_checkable
class Changes(Protocol):
    """Reads only what has changed in a catalog since a mark that an earlier read left.

    A mark is text of the source's own clock: `mark` of the last `after` that `pages` or `changes`
    yielded, "" where the source tells too little. What a source drops without a word is seen
    by reading all of it alone.
    """

    def changes(
        self, source: str, since: str, /, after: Any = None, ask: Any = None
    ) -> Iterator[tuple[Any, list[Record | Skipped | Gone]]]: ...


CAPABILITIES: Mapping[str, type[Any]] = {
    "harvests": Harvests,
    "pages": Pages,
    "changes": Changes,
    "publishes": Publishes,
    "delivers": Delivers,
    "describes": Describes,
}


def compare(
    found: Iterable[Record | Skipped], known: Mapping[str, str], *, complete: bool = True
) -> Iterator[Change]:
    """Yield what each record means, given the digests by origin id of the last run.

    Removals come last, and only if `found` ran to its end and was `complete`. A record that is
    skipped today is not removed: it is there, only unreadable.
    """
    seen: set[str] = set()
    for item in found:
        if item.origin_id in seen:
            why = Text("the source names it twice", "来源中出现了两次")
            yield Change(outcome="skipped", origin_id=item.origin_id, why=why)
            continue
        seen.add(item.origin_id)
        if isinstance(item, Skipped):
            yield Change(outcome="skipped", origin_id=item.origin_id, why=item.why)
            continue
        before = known.get(item.origin_id)
        outcome: Outcome = (
            "added" if before is None else "unchanged" if before == item.digest else "changed"
        )
        yield Change(outcome=outcome, origin_id=item.origin_id, record=item)
    if complete:
        for origin_id in sorted(set(known) - seen):
            yield Change(outcome="removed", origin_id=origin_id)


@cache
def _registered() -> Mapping[str, EntryPoint]:
    return {point.name: point for point in sorted(entry_points(group=GROUP), key=lambda p: p.name)}


def names(capability: str | None = None) -> list[str]:
    """Return the names of all installed connectors, or of those with one capability."""
    return [n for n in _registered() if capability is None or capability in capabilities(n)]


def capabilities(name: str) -> tuple[str, ...]:
    """Return what a connector can do, as keys of CAPABILITIES."""
    connector = load(name)
    return tuple(key for key, kind in CAPABILITIES.items() if isinstance(connector, kind))


def load(name: str) -> Any:
    """Return a new connector by name; NotFound names those that do exist."""
    point = _registered().get(name)
    if point is None:
        there = ", ".join(_registered())
        raise NotFound(
            f"no connector is called {name!r}; installed: {there}",
            f"没有名为“{name}”的连接器；已安装：{there}",
            name=name,
            installed=list(_registered()),
        )
    return point.load()()
