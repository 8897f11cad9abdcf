"""What an approved request does: the one table from a kept step to the function that takes it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from yaosu import listing as shelf
from yaosu.contract import PlatformSigner
from yaosu.model import Actor
from yaosu.model_organisation import Approval
from yaosu.organisation import rules
from yaosu.organisation.approvals import Perform
from yaosu.ports import Transaction

from . import negotiation, recall, usage

Do = Callable[[Transaction, Actor, str, Any, PlatformSigner], object]

TRADE: dict[str, Do] = {
    "sign": lambda t, a, i, k, s: negotiation.sign(t, a, i, k["signature"], s),
    "answer": lambda t, a, i, k, s: negotiation.answer(t, a, i, k["changes"]),
    "counter": lambda t, a, i, k, s: negotiation.counter(t, a, i, k["changes"]),
    "confirm_deletion": lambda t, a, i, k, s: recall.confirm(
        t, a, i, k["statement"], k["signature"], s
    ),
    "agree": lambda t, a, i, k, s: negotiation.agree(t, a, i, k["offer_digest"]),
}
LISTING: dict[str, Do] = {
    "submit": lambda t, a, i, k, s: shelf.submit(t, a, i, apply=k["apply"]),
    "offer": lambda t, a, i, k, s: negotiation.offer_standing(t, a, i, k["signature"], s),
}
USAGE: dict[str, Do] = {
    "record_usage": lambda t, a, i, k, s: usage.record(
        t, a, k["given"], k["signature"], s, receipt_id=i
    ),
}
RULE: dict[str, Do] = {"end_rule": lambda t, a, i, k, s: rules.end(t, a, i)}
_OF = {"trd": TRADE, "lst": LISTING, "usr": USAGE, "rul": RULE}


def performer(sign: PlatformSigner) -> Perform:
    """Return what takes a kept step, with the market's hand for keys that it holds."""

    def perform(tx: Transaction, actor: Actor, kept: Approval) -> object:
        do = _OF[kept.subject_id[:3]][kept.action]
        return do(tx, actor, kept.subject_id, kept.asked, sign)

    return perform
