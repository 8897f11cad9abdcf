"""What an organisation's own members may do only with the approval of another one of them.

A rule is added by an owner and holds at once; ending one is itself a step that waits for somebody
else, as long as there is somebody else who could say yes.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from yaosu.errors import Conflict, InvalidInput
from yaosu.identity import absent
from yaosu.model import Actor, Listing, Trade, new_id
from yaosu.model_evidence import UsageReceipt
from yaosu.model_organisation import Rule
from yaosu.ports import Reader, Transaction

from .kinds import LISTING, STEPS, TRADE, USAGE
from .members import living, need_owner, owners

MOST_RULES = 50
MOST_DAYS = 90


def kinds(thing: object, action: str, party_id: str) -> Sequence[str]:
    """Return the kinds of rules that can be about a step of that party."""
    if isinstance(thing, Trade):
        side = "buyer" if party_id == thing.user_id else "provider"
        return TRADE[side].get(action, ())
    if isinstance(thing, UsageReceipt):
        return USAGE.get(action, ())
    return LISTING.get(action, ()) if isinstance(thing, Listing) else ()


def of_party(reader: Reader, party_id: str) -> list[Rule]:
    """Return the rules that hold, oldest first."""
    return [r for r in reader.find(Rule, party_id=party_id, limit=1000) if r.ended_at is None]


def applying(reader: Reader, party_id: str, thing: object, action: str) -> list[Rule]:
    """Return the rules under which a step of the party stands."""
    wanted = kinds(thing, action, party_id)
    if not wanted:
        return []
    amount = thing.terms.amount_fen if isinstance(thing, Trade) else None
    return [r for r in of_party(reader, party_id) if r.step in wanted and _reaches(r, amount)]


def _reaches(rule: Rule, amount_fen: int | None) -> bool:
    return rule.above_fen is None or (amount_fen is not None and amount_fen > rule.above_fen)


def add(
    tx: Transaction,
    actor: Actor,
    step: str,
    approvers: Iterable[str],
    *,
    above_fen: int | None = None,
    days: int = 7,
) -> Rule:
    """Set a rule of the actor's party; it holds from now on."""
    need_owner(tx, actor)
    if step not in STEPS:
        raise InvalidInput(
            f"a rule is about one of: {', '.join(STEPS)}",
            f"规则对象为：{'、'.join(STEPS)}",
            field="step",
        )
    if above_fen is not None and step != "order":
        raise InvalidInput(
            "an amount belongs to a rule about orders", "金额仅适用于订购规则", field="above_fen"
        )
    if not 1 <= days <= MOST_DAYS:
        raise InvalidInput(
            f"a request waits 1 to {MOST_DAYS} days", f"有效期为 1–{MOST_DAYS} 天", field="days"
        )
    chosen = tuple(dict.fromkeys(approvers))
    known = {m.id for m in living(tx, actor.party_id)}
    if not chosen or not set(chosen) <= known:
        raise InvalidInput(
            "approvers are members of your organisation, at least one",
            "审批人应为本机构成员，至少一人",
            field="approvers",
        )
    if len(of_party(tx, actor.party_id)) >= MOST_RULES:
        raise Conflict(f"an organisation has at most {MOST_RULES} rules", "规则数量已达上限")
    rule = Rule(
        id=new_id("rul"),
        party_id=actor.party_id,
        step=step,
        above_fen=above_fen,
        approvers=chosen,
        days=days,
        set_by=actor.member_id,
        created_at=tx.now,
    )
    tx.add(rule)
    payload = {
        "rule_id": rule.id,
        "step": step,
        "above_fen": above_fen,
        "approvers": list(chosen),
        "days": days,
    }
    tx.record(actor.party_id, "rule_set", actor_id=actor.id, payload=payload)
    return rule


def end(tx: Transaction, actor: Actor, rule_id: str) -> Rule:
    """End a rule of one's party, with the yes of another owner or approver if there is one."""
    from .approvals import hold

    need_owner(tx, actor)
    rule = load(tx, actor, rule_id)
    if rule.ended_at is not None:
        raise Conflict("the rule has ended already", "该规则已终止")
    payload = {"rule_id": rule.id, **hold(tx, actor, rule, "end_rule", {})}
    ended = replace(rule, ended_at=tx.now)
    tx.put(ended)
    tx.record(actor.party_id, "rule_ended", actor_id=actor.id, payload=payload)
    return ended


def load(reader: Reader, actor: Actor, rule_id: str) -> Rule:
    """Return a rule of the actor's own party."""
    rule = reader.one(Rule, id=rule_id)
    if rule is None or rule.party_id != actor.party_id:
        raise absent("rule", rule_id)
    return rule


def may_answer(reader: Reader, rule: Rule, action: str) -> set[str]:
    """Return who can say yes under a rule: its approvers; to ending it, the owners as well."""
    found = set(rule.approvers) & {m.id for m in living(reader, rule.party_id)}
    if action == "end_rule":
        found |= {m.id for m in owners(reader, rule.party_id)}
    return found
