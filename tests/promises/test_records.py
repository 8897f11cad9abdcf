"""Every kind of record survives the way through JSON and a row, whatever is in it."""

from __future__ import annotations

import types
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass, replace
from datetime import UTC, date, datetime
from enum import Enum
from pathlib import Path
from typing import Any, Union, get_args, get_origin, get_type_hints

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from yaosu.ports import Store, Transaction
from yaosu.storage.sql import open_store
from yaosu.storage.tables import APPEND_ONLY, KINDS

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
NUMBERS = st.integers(-(2**53) + 1, 2**53 - 1)
JSON = st.recursive(
    st.none() | st.booleans() | NUMBERS | st.floats(allow_nan=False, allow_infinity=False) | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=8,
)
PLAIN: dict[Any, st.SearchStrategy[Any]] = {
    str: TEXT,
    int: NUMBERS,
    bool: st.booleans(),
    Any: JSON,
    date: st.dates(),
    datetime: st.datetimes(timezones=st.just(UTC)),
    type(None): st.none(),
}


def made(hint: Any) -> st.SearchStrategy[Any]:
    """Values of a type as the model uses it."""
    if hint in PLAIN:
        return PLAIN[hint]
    origin, args = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return st.one_of(*map(made, args))
    if origin is tuple:
        if args[-1] is Ellipsis:
            return st.lists(made(args[0]), max_size=3).map(tuple)
        return st.tuples(*map(made, args))
    if origin is Mapping:
        return st.dictionaries(made(args[0]), made(args[1]), max_size=3)
    if is_dataclass(hint):
        hints = get_type_hints(hint)
        return st.builds(hint, **{f.name: made(hints[f.name]) for f in fields(hint)})
    assert issubclass(hint, Enum), hint
    return st.sampled_from(hint)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    class Clock:
        def now(self) -> datetime:
            return datetime(2026, 3, 1, tzinfo=UTC)

    folder: Path = tmp_path_factory.mktemp("records")
    store = open_store(folder, clock=Clock())
    yield store
    store.close()


class Undone(Exception):
    """Ends a step, so that the next example finds an empty table."""


@pytest.mark.parametrize("kind", list(KINDS), ids=lambda kind: kind.__name__)
@given(data=st.data())
@settings(max_examples=12, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_record_of_any_content_is_the_same_afterwards(
    kept: Store, kind: type[Any], data: st.DataObject
) -> None:
    first, second = data.draw(made(kind)), data.draw(made(kind))

    def step(tx: Transaction) -> None:
        tx.add(first)
        assert tx.get(kind, first.id) == first
        changed = first
        if KINDS[kind].table.name not in APPEND_ONLY:
            changed = replace(second, id=first.id)
            tx.put(changed)
        assert tx.get(kind, first.id) == changed
        columns = KINDS[kind].columns
        assert tx.find(kind, **{c: getattr(changed, c) for c in columns}) == [changed]
        raise Undone

    with pytest.raises(Undone):
        kept.write(step)
