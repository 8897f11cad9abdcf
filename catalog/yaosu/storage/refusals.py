"""What callers and listeners are told by a store: the same words for both databases."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

from yaosu.errors import AlreadyExists, Conflict, NoSpace, Unavailable, YaosuError

log = logging.getLogger(__name__)


def tell(listeners: Iterable[Callable[[], None]]) -> None:
    """Call every listener; one that fails takes nothing else along."""
    for listener in listeners:
        try:
            listener()
        except Exception:
            log.exception("a listener of the store failed")


def refused(reason: str) -> YaosuError:
    """Return what a caller is told when a constraint of the tables refused a step."""
    if "append-only" in reason:
        return Conflict("what is recorded is never changed", "已记录的内容不可更改", reason=reason)
    if "unique" in reason.lower():
        return AlreadyExists("that is already there", "该记录已存在", reason=reason)
    return Conflict("the tables refuse that", "数据约束拒绝了该操作", reason=reason)


def no_space() -> NoSpace:
    return NoSpace(
        "the store has no space left; reads go on", "存储空间不足，写入已暂停，读取不受影响"
    )


def locked() -> Unavailable:
    return Unavailable(
        "the database is locked by another program: try again",
        "数据库被其他程序锁定，请稍后重试",
    )


def stopping() -> Unavailable:
    return Unavailable("the store is closed", "存储已关闭")
