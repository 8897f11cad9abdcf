"""What a check is, what it finds, and how checks of others join ours.

A check is a mergeable fold: `start` makes a state, `observe` adds one batch to it, `merge` joins
the states of two neighbouring parts (left before right), `finish` turns the state into findings.
A check never asks which engine it runs on, and keeps nothing outside its state.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeVar, runtime_checkable

from yaosu_schemas.errors import InvalidInput, Text

if TYPE_CHECKING:
    import pyarrow as pa

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
        raise InvalidInput(
            f"there is no check {name!r}; there are: {', '.join(names)}",
            f"没有名为“{name}”的检查；可用的有：{'、'.join(names)}",
            check=name,
            checks=names,
        )
    return found


def check_names() -> list[str]:
    """Return the names of all checks that are installed, ours and others'."""
    return sorted(_discover())
