"""Usage receipts: which trades fed which model, signed by the one who trained it.

The receipt itself is its party's own. The provider learns the fact, by an event of the trade,
only where the agreement's policy asks to be informed (ODRL duty `inform`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from yaosu import contract
from yaosu.client.agreements import usage_document
from yaosu.contract import PlatformSigner
from yaosu.errors import Conflict, InvalidInput, NotFound
from yaosu.identity import absent, allow
from yaosu.model import JSON, Actor, Delivery, Trade, new_id
from yaosu.model_evidence import UsageReceipt, UsageSource
from yaosu.organisation.approvals import hold
from yaosu.ports import Reader, Transaction
from yaosu.present import plain
from yaosu_schemas.canonical import digest

from .moves import load

STAGES = ("pretraining", "instruction_tuning", "reinforcement_learning", "evaluation", "other")


def record(
    tx: Transaction,
    actor: Actor,
    given: Mapping[str, Any],
    signature: Mapping[str, JSON],
    platform: PlatformSigner,
    *,
    receipt_id: str = "",
) -> UsageReceipt:
    """Keep a signed usage receipt, with one event in the log; providers who ask are told.

    One that was approved has the id under which it was asked for.
    """
    allow(actor, "usage.record")
    said = usage_document(actor.party_id, given)
    trades = [_source(tx, actor, source) for source in said["sources"]]
    named = {(s["trade_id"], s["content_digest"]) for s in said["sources"]}
    if len(named) != len(trades) or not trades:
        raise InvalidInput(
            "a usage receipt names each delivered version of a trade once",
            "每笔交易的每个交付版本须且仅须列出一次",
            field="sources",
        )
    signed = contract.sign_as(tx, actor, "usage", digest(said), signature, platform, tx.now)
    kept = UsageReceipt(
        id=receipt_id or new_id("usr"),
        party_id=actor.party_id,
        model=said["model"]["name"],
        model_version=said["model"]["version"],
        run=said["run"],
        document=said,
        digest=digest(said),
        signature=signed,
        created_at=tx.now,
    )
    asked = {"given": plain(given), "signature": plain(signature)}
    passed = hold(tx, actor, kept, "record_usage", asked, kept.digest)
    tx.add(kept)
    payload = {
        "document_digest": kept.digest,
        "key_id": signed.key_id,
        "trades": len(trades),
        **passed,
    }
    tx.record(kept.id, "usage_recorded", actor_id=actor.id, payload=payload)
    for trade in {t.id: t for t in trades}.values():
        tx.add(
            UsageSource(
                id=new_id("uss"),
                receipt_id=kept.id,
                trade_id=trade.id,
                listing_id=trade.listing_id,
                party_id=kept.party_id,
                created_at=tx.now,
            )
        )
        if informs(trade.agreement):
            _inform(tx, actor, trade, kept)
    return kept


def _source(tx: Transaction, actor: Actor, source: Mapping[str, Any]) -> Trade:
    """Return a trade that was delivered to the actor's party, with the content it names."""
    trade, _ = load(tx, actor, str(source["trade_id"]))
    if trade.user_id != actor.party_id:
        raise absent("trade", trade.id)
    given = {digest for _, digest in delivered(tx, trade)}
    if not given:
        raise Conflict(
            f"nothing has been delivered under {trade.id}",
            f"{trade.id} 尚未交付",
            trade_id=trade.id,
        )
    if source["content_digest"] not in given:
        raise InvalidInput(
            "this is not the content that was delivered under the trade",
            "该内容摘要与交易交付的内容不符",
            field="content_digest",
            trade_id=trade.id,
            content_digests=sorted(given),
        )
    return trade


def delivered(reader: Reader, trade: Trade) -> list[tuple[str, str]]:
    """Return (listing, content digest) of every version that was delivered under a trade."""
    found: dict[tuple[str, str], None] = {}
    for one in reader.find(Delivery, trade_id=trade.id, limit=1000):
        if one.opens_at is not None:
            version = one.listing_id or trade.listing_id
            found[version, one.content_digest or trade.content_digest] = None
    return list(found)


def _inform(tx: Transaction, actor: Actor, trade: Trade, kept: UsageReceipt) -> None:
    """Leave the fact on the trade: that its data was used, not for what."""
    tx.record(
        trade.id,
        "usage_reported",
        actor_id=actor.id,
        from_state=trade.state,
        to_state=trade.state,
        payload={"document_digest": kept.digest},
    )


def informs(agreement: Any) -> bool:
    """Tell whether the policy of an agreement, or one it inherits, asks to be informed of use."""
    policy = ((agreement or {}).get("rights") or {}).get("policy") or {}
    return any(_asks(p) for p in (policy, policy.get("inheritFrom")))


def _asks(policy: Any) -> bool:
    if not isinstance(policy, Mapping):
        return False
    duties = [*_list(policy.get("obligation"))]
    for rule in _list(policy.get("permission")):
        if isinstance(rule, Mapping):
            duties += _list(rule.get("duty"))
    return any(isinstance(d, Mapping) and d.get("action") == "inform" for d in duties)


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def load_receipt(reader: Reader, actor: Actor, receipt_id: str) -> UsageReceipt:
    """Return a usage receipt of the actor's own party; NotFound for all others."""
    try:
        found = reader.get(UsageReceipt, receipt_id)
    except NotFound:
        raise absent("usage receipt", receipt_id) from None
    if found.party_id != actor.party_id:
        raise absent("usage receipt", receipt_id)
    return found


def of_trade(reader: Reader, trade_id: str) -> list[UsageReceipt]:
    """Return the usage receipts that name a trade."""
    found = reader.find(UsageSource, trade_id=trade_id, limit=1000)
    return [reader.get(UsageReceipt, source.receipt_id) for source in found]


def used_by(reader: Reader, party_id: str, model: str | None = None) -> list[UsageReceipt]:
    """Return the usage receipts of a party, oldest first; of one model if it is named."""
    where: dict[str, Any] = {"party_id": party_id, **({"model": model} if model else {})}
    found: list[UsageReceipt] = []
    after: str | None = None
    while page := reader.find(UsageReceipt, after=after, limit=500, **where):
        after = page[-1].id
        found += page
    return found


def present(kept: UsageReceipt, leaf: int | None = None) -> dict[str, Any]:
    """Return a usage receipt as its party sees it."""

    return {
        "usage_receipt_id": kept.id,
        "digest": kept.digest,
        "document": kept.document,
        "signature": plain(kept.signature),
        "created_at": plain(kept.created_at),
        "leaf": leaf,
    }


def totals(receipts: Sequence[UsageReceipt]) -> dict[str, dict[str, Any]]:
    """Return per trade how much of it went into which models."""
    found: dict[str, dict[str, Any]] = {}
    for kept in receipts:
        for source in kept.document["sources"]:
            entry = found.setdefault(source["trade_id"], {"models": [], "tokens": None})
            name = f"{kept.model} {kept.model_version}".strip()
            if name not in entry["models"]:
                entry["models"].append(name)
            if source["tokens"] is not None:
                entry["tokens"] = (entry["tokens"] or 0) + source["tokens"]
    return found
