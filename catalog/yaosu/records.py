"""Records with some of their fields changed: as `dataclasses.replace`, in a third of its time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import fields
from functools import cache
from operator import attrgetter
from typing import Any, TypeVar

T = TypeVar("T")


def replace(record: T, /, **changes: Any) -> T:
    """Return a copy of a frozen record with slots, in which these fields are others.

    `dataclasses.replace` asks every field what it is, and a frozen record's own `__init__` looks
    every slot up by its name: for a trade of 50 fields that is a twentieth of a whole command.
    """
    kind: Any = type(record)
    values, setters, by_name = _slots(kind)
    made: T = object.__new__(kind)
    for put, value in zip(setters, values(record)):  # noqa: B905 - of one length, and this is hot
        put(made, value)
    for name, value in changes.items():
        if name not in by_name:
            raise TypeError(f"{kind.__name__} has no field {name!r}")
        by_name[name](made, value)
    return made


Setter = Callable[[Any, Any], None]


@cache
def _slots(
    kind: type[Any],
) -> tuple[Callable[[Any], Any], tuple[Setter, ...], dict[str, Setter]]:
    """Return what reads all fields of a kind of record, and what sets each of them."""
    assert not hasattr(kind, "__post_init__"), kind
    by_name = {f.name: getattr(kind, f.name).__set__ for f in fields(kind)}
    return attrgetter(*by_name), tuple(by_name.values()), by_name
