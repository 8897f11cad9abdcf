"""Rules of the documents of a trade: offers, agreements, trading records, events, policies.

Order of times, sums and the links of the evidence chain are judged where records are exchanged
and where the ledger is verified; here stands what concerns parties, policies and signatures.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from yaosu_schemas.errors import Problem, Text

from .places import missing, part, rows, uscc_warnings, wrong
from .policy_rules import policy_rules
from .terms_rules import offer_rules

_TRADE = "trading-record"


def record_rules(name: str, document: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield every problem that the schema of that name cannot state."""
    if name == "offer":
        yield from offer_rules(document, (), name)
    elif name == "policy":
        yield from policy_rules(document, (), name)
    elif name == "event":
        yield from _event(document)
    elif name == "agreement":
        policy = part(part(document, "rights"), "policy")
        yield from _agreed_policy(policy, ("rights", "policy"), name)
        for side in ("provider", "user"):
            yield from uscc_warnings(part(document, side), "uscc", (side,), name)
    elif name == _TRADE:
        yield from _trading_record(document)


def _trading_record(record: Mapping[str, Any]) -> Iterator[Problem]:
    yield from _agreed_policy(part(record, "policy"), ("policy",), _TRADE)
    for side in ("provider", "user"):
        yield from uscc_warnings(part(record, side), "uscc", (side,), _TRADE)
    for i, party in rows(record, "intermediaries"):
        yield from uscc_warnings(party, "uscc", ("intermediaries", i), _TRADE)
    if part(record, "provider").get("uscc", 0) == part(record, "user").get("uscc", 1):
        text = Text("buyer and seller are the same", "供需双方为同一主体")
        yield wrong(("user", "uscc"), "self_trade", text, schema=_TRADE)
    if "certificate_no" in record and "certificate_valid_until" not in record:
        why = Text("a certificate is copied with its last day", "凭证须连同有效期一并复制")
        place = ("certificate_valid_until",)
        yield wrong(place, "missing", Text(why.en, why.zh), "warning", _TRADE)
    signed = part(record, "contract").get("hash")
    for i, signature in rows(record, "signatures"):
        if signature.get("over", "agreement") != "agreement":
            continue
        if isinstance(signed, str) and signature.get("digest") not in (None, signed):
            text = Text("another digest was signed than the contract's", "所签摘要与合同摘要不一致")
            yield wrong(("signatures", i, "digest"), "digest_differs", text, schema=_TRADE)


def _agreed_policy(
    policy: Mapping[str, Any], place: tuple[str, ...], schema: str
) -> Iterator[Problem]:
    if not policy:
        return
    if str(policy.get("@type")).removeprefix("odrl:") != "Agreement":
        text = Text("what was agreed is an ODRL Agreement", "达成的策略须为 ODRL 协议")
        yield wrong((*place, "@type"), "policy_type", text, schema=schema)
    yield from policy_rules(policy, place, schema)


def _event(event: Mapping[str, Any]) -> Iterator[Problem]:
    first = event.get("seq") == 0
    if not first and "prev_digest" not in event:
        why = Text("only the first event has none before it", "仅首个事件没有前一事件")
        yield missing(("prev_digest",), why, "event")
    if first and "prev_digest" in event:
        text = Text("the first event has none before it", "首个事件不应有前一事件")
        yield wrong(("prev_digest",), "first_event", text, schema="event")
