"""Which kinds of rules are about which step: one table, for the market and for its verification."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

STEPS = ("order", "sign", "publish", "price", "declare")

TRADE: Mapping[str, Mapping[str, Sequence[str]]] = {
    "buyer": {"sign": ("sign", "order"), "confirm_deletion": ("declare",)},
    "provider": {
        "sign": ("sign",),
        "answer": ("price",),
        "counter": ("price",),
        "agree": ("price",),
    },
}
"""By the side that takes the step: a buyer is bound by signing, a provider by naming a price."""

USAGE: Mapping[str, Sequence[str]] = {"record_usage": ("declare",)}
"""A signed receipt of what trained a model: a statement in the organisation's name."""

LISTING: Mapping[str, Sequence[str]] = {"submit": ("publish", "price"), "offer": ("price", "sign")}
