"""Rules of the documents of a trade: offers, agreements, trading records, events, policies."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from yaosu_schemas.errors import Problem

from .policy_rules import policy_rules
from .terms_rules import offer_rules


def record_rules(name: str, document: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield every problem that the schema of that name cannot state."""
    if name == "offer":
        yield from offer_rules(document, (), "offer")
    elif name == "policy":
        yield from policy_rules(document, (), "policy")
