"""Names of fields that are personal themselves: a report shows a mask in their place."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

import numpy as np
import pyarrow as pa

from .personal_scan import Hit, scan
from .view import Role, View

MASKED = "(masked)"
_NAME = re.compile("[0-9][0-9 ().-]{5,}[0-9]|@")


@lru_cache(maxsize=50_000)
def named(path: str) -> tuple[Hit, ...]:
    """Return what is found in the parts of a path: keys of an object may be telephone numbers."""
    if not _NAME.search(path):
        return ()
    parts = path.replace("[]", ".").split(".")
    texts = [path, *parts] if "@" in path or path.count(".") >= 3 else parts
    view = View(
        positions=np.zeros(1, np.int64),
        starts=np.array([0, len(texts)], np.int64),
        texts=pa.array(texts, pa.large_string()),
        roles=np.full(len(texts), Role.TEXT, np.uint8),
        fields=np.zeros(len(texts), np.int32),
        turns=np.full(len(texts), -1, np.int32),
        names=("",),
    )
    return tuple(scan(view))


@lru_cache(maxsize=50_000)
def shown(path: str) -> str:
    """Return a path as a report may show it."""
    return MASKED if named(path) else path


def hits_in_names(view: View, personal: set[str]) -> Iterator[Hit]:
    """Yield the hits in the names of fields, once for each record that has the field."""
    owners = view.owners()
    seen: set[tuple[int, int, str]] = set()
    numbers = [n for n, name in enumerate(view.names) if name in personal]
    for segment in np.flatnonzero(np.isin(view.fields, numbers)).tolist():
        for hit in named(view.names[view.fields[segment]]):
            one = int(owners[segment]), hit.kind, hit.value
            if one not in seen:
                seen.add(one)
                yield Hit(segment, 0, 0, hit.kind, hit.tier, hit.context, hit.value)
