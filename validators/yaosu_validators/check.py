"""What a check is, what it finds, and how checks of others join ours.

A check is a mergeable fold: `start` makes a state, `observe` adds one batch to it, `merge` joins
the states of two neighbouring parts (left before right), `finish` turns the state into findings.
A check never asks which engine it runs on, and keeps nothing outside its state.

What a check looks at is its `sees`: rows of a table as they are (no `sees`), the records of a
corpus as views (`records`), the files of a target (`files`), the descriptor (`document`), or the
descriptor and what was found (`report`).
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, fields, is_dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, TypeVar, runtime_checkable

from yaosu_schemas.errors import InvalidInput, Text
from yaosu_schemas.report import Metric, ReportError

if TYPE_CHECKING:
    import pyarrow as pa

    from .corpus.view import About, Places, View

Severity = Literal["error", "warning"]
S = TypeVar("S")
C = TypeVar("C", bound=type)
NO_NOTE = Text("", "")
GROUP = "yaosu.checks"


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing that is wrong with the data; rows count from 1 and include the header."""

    type: str
    note: Text = NO_NOTE
    row: int | None = None
    field_name: str | None = None
    field_number: int | None = None
    cell: str | None = None
    cells: tuple[str, ...] | None = None
    label: str | None = None
    labels: tuple[str, ...] | None = None
    pointer: str | None = None
    severity: Severity = "error"
    words: ReportError | None = field(default=None, init=False, compare=False, repr=False)

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel between processes as plain values: there may be millions of them."""
        return _finding, _values(self)

    def moved(self, shift: int) -> Finding:
        """Return the finding with its row so many rows further on."""
        if not self.row or not shift:
            return self
        kind, note, row, *others = _values(self)
        return _finding(kind, note, row + shift, *others)


_NAMES = tuple(f.name for f in fields(Finding) if f.init)
_values = operator.attrgetter(*_NAMES)


def _finding(*values: Any) -> Finding:
    found = object.__new__(Finding)
    for put, value in zip(_PUTS, (*values, None), strict=True):
        put(found, value)
    return found


_PUTS = tuple(getattr(Finding, name).__set__ for name in (*_NAMES, "words"))


@runtime_checkable
class Check(Protocol[S]):
    """Sees every batch of a table once; states of two neighbouring parts can be merged.

    Batches hold the cells as columns named by the labels: text for CSV, typed for Parquet.
    A state must survive `pickle`, because an engine may send it from another process.
    """

    def start(self, schema: pa.Schema, /) -> S: ...
    def observe(self, state: S, batch: pa.RecordBatch, /) -> S: ...
    def merge(self, left: S, right: S, /) -> S: ...
    def finish(self, state: S, /) -> Iterable[Finding]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Conclusion:
    """What a check of a corpus came to: measures, findings by resource, and what they rest on.

    `evidence` is JSON for everyone who may see the report: counts, histograms, row numbers; never
    a value of the data. `private` are lines for a store of the data's owner alone.
    """

    metrics: tuple[Metric, ...] = ()
    findings: tuple[tuple[str, Finding], ...] = ()
    evidence: Mapping[str, Any] = field(default_factory=dict)
    private: Iterable[Mapping[str, Any]] = ()


class CorpusCheck(Protocol[S]):
    """Sees the views of every resource once; concludes over all resources together.

    Its dataclass fields are its options. A state survives `pickle`; the conclusion does not depend
    on how the records were cut into batches and parts.
    """

    sees: ClassVar[Literal["records"]]

    def start(self, about: About, /) -> S: ...
    def observe(self, state: S, view: View, /) -> S: ...
    def merge(self, left: S, right: S, /) -> S: ...
    def conclude(self, states: Sequence[tuple[About, S]], places: Places, /) -> Conclusion: ...


@dataclass(frozen=True, slots=True)
class Chosen:
    """One check by name with its options: what runs, and what its results are named after."""

    name: str
    options: tuple[tuple[str, Any], ...] = ()

    @property
    def version(self) -> str:
        return registered(self.name).version

    def make(self) -> Any:
        """Return the check; InvalidInput for an option that it does not have."""
        make = registered(self.name).make
        known = [f.name for f in fields(make) if f.init] if is_dataclass(make) else []
        for option, _ in self.options:
            if option not in known:
                raise InvalidInput(
                    f"{self.name} has no option {option!r}; it has: {', '.join(known) or 'none'}",
                    f"{self.name} 没有选项“{option}”；可用的有：{'、'.join(known) or '无'}",
                    check=self.name,
                    option=option,
                )
        return make(**dict(self.options))

    def method(self) -> dict[str, Any]:
        """Return the options as a report names them: what they are, not where they lie."""
        made = self.make()
        told = getattr(made, "method", None)
        return dict(self.options) if told is None else dict(told())


@dataclass(frozen=True, slots=True)
class Registered:
    """One check by name: who makes it, and the version that names its results."""

    name: str
    version: str
    make: Callable[..., Any]


_REGISTRY: dict[str, Registered] = {}


def check(name: str, version: str = "1") -> Callable[[C], C]:
    """Register a check class under a dotted name; raise the version when its verdicts change."""

    def register(cls: C) -> C:
        _REGISTRY[name] = Registered(name, version, cls)
        return cls

    return register


@functools.cache
def _discover() -> Mapping[str, Registered]:
    """Load every entry point of the group; loading a module registers its checks."""
    from importlib.metadata import entry_points

    for point in entry_points(group=GROUP):
        loaded = point.load()
        if isinstance(loaded, type) and not any(r.make is loaded for r in _REGISTRY.values()):
            _REGISTRY[point.name] = Registered(point.name, "1", loaded)
    return _REGISTRY


def registered(name: str) -> Registered:
    """Return the check of that name; InvalidInput names those that exist."""
    if name not in _REGISTRY:
        _discover()
    found = _REGISTRY.get(name)
    if found is None:
        names = sorted(_REGISTRY)
        from difflib import get_close_matches

        near = get_close_matches(name[:80], names, n=1)
        en, zh = "there are: ", "可用的有："
        if near:
            en, zh = f"did you mean {near[0]!r}? {en}", f"是否指“{near[0]}”？{zh}"
        raise InvalidInput(
            f"there is no check {name!r}; {en}{', '.join(names)}",
            f"没有名为“{name}”的检查；{zh}{'、'.join(names)}",
            check=name,
            checks=names,
        )
    return found


def expanded(names: Sequence[str]) -> list[str]:
    """Return the names of checks with groups written out: `quality` is all of a corpus."""
    if "quality" not in names:
        return list(dict.fromkeys(names))
    every = [
        name
        for name, entry in sorted(_discover().items())
        if getattr(entry.make, "sees", "") and not getattr(entry.make, "asked_for", False)
    ]
    return list(dict.fromkeys(x for n in names for x in (every if n == "quality" else [n])))


def check_names() -> list[str]:
    """Return the names of all checks that are installed, ours and others'."""
    return sorted(_discover())
