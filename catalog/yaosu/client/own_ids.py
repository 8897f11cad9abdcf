"""Ids that the caller chose for what its calls make (`Yaosu-Id`): a program that broke off looks.

    with market.naming("trd_" + uuid.uuid4().hex):
        trade = market.listing("lst_…").order(purpose="training")

An id that was written down before the call is there to be looked for after it, whatever happened to
the program in between. Each id goes to the first call inside that makes a thing of its kind.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from yaosu.errors import InvalidInput

_chosen: ContextVar[dict[str, str] | None] = ContextVar("own_ids", default=None)


@contextmanager
def naming(*ids: str) -> Iterator[None]:
    """Have what is made inside get these ids; InvalidInput if one is left over."""
    given = {id.partition("_")[0]: id for id in ids}
    if len(given) != len(ids) or not all("_" in id and id.isascii() for id in ids):
        raise InvalidInput(
            "an id is the prefix of its kind, '_' and 32 hex digits, each kind once",
            "编号为类型前缀加 _ 与 32 位十六进制，每类至多一个",
            field="id",
        )
    before = _chosen.set(given)
    try:
        yield
    finally:
        _chosen.reset(before)
    if given:
        left = ", ".join(given.values())
        raise InvalidInput(
            f"nothing was made that could have the id {left}",
            f"没有创建可使用编号 {left} 的对象",
            field="id",
        )


def taken(kinds: str) -> dict[str, str]:
    """Return the header for a call that makes these kinds (`dst lst`), taking the ids away."""
    given = _chosen.get()
    ids = [given.pop(kind) for kind in kinds.split() if kind in given] if given else []
    return {"Yaosu-Id": ",".join(ids)} if ids else {}
