"""Ids that the caller chose for what a call makes: one rule for every kind, in one place.

A changing native call may carry `Yaosu-Id: trd_…` (several, separated by commas, where it makes
several things). The id is taken as it is; one that is taken already is a conflict, and one that the
call makes nothing for is refused with the whole call. A recall reaches versions that the caller may
not know of: its ids are the market's.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from .errors import InvalidInput
from .model import chosen_ids

HEADER = "yaosu-id"
KINDS: dict[str, str] = {
    "pty": "party", "mbr": "member", "key": "key", "sgk": "signing key", "dst": "dataset",
    "lst": "listing", "trd": "trade", "inv": "invoice", "ivt": "invitation", "whk": "webhook",
    "hvs": "harvest", "usr": "usage receipt", "cbk": "callback key",
    "rec": "reconciliation", "ssr": "saved search", "rul": "rule", "rnw": "renewal",
}  # fmt: skip
MOST = 4
_ID = re.compile(r"([a-z]{3})_[0-9a-f]{32}")


def read(text: str) -> dict[str, str]:
    """Return the ids of a header by their kind."""
    found: dict[str, str] = {}
    for part in filter(None, (p.strip() for p in text.split(","))):
        match = _ID.fullmatch(part)
        if match is None or match[1] not in KINDS or match[1] in found or len(found) == MOST:
            raise InvalidInput(
                "an id is the prefix of its kind, '_' and 32 hex digits, each kind once; kinds: "
                + ", ".join(KINDS),
                "编号为类型前缀加 _ 与 32 位十六进制，每类至多一个；类型：" + "、".join(KINDS),
                field="Yaosu-Id",
            )
        found[match[1]] = part
    return found


@contextmanager
def chosen(text: str) -> Iterator[None]:
    """Have what is made inside get the ids of a header; InvalidInput if one is left over."""
    if not text:
        yield
        return
    given = read(text)
    before = chosen_ids.set(given)
    try:
        yield
    finally:
        chosen_ids.reset(before)
    if given:
        left = ", ".join(given.values())
        raise InvalidInput(
            f"this call makes nothing that could have the id {left}",
            f"该请求不会创建编号为 {left} 的对象",
            field="Yaosu-Id",
        )
