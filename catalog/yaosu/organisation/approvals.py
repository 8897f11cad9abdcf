"""Steps that wait for another person: four eyes, among operators and within an organisation.

A step under a rule is kept whole and nothing of it happens. When the last yes is given it is taken
for the member who asked, in the same transaction, with every guard of it looked at anew: it happens
once, or the yes is not recorded. Who asked never answers.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

from yaosu.errors import Conflict, Forbidden, InvalidInput
from yaosu.identity import absent
from yaosu.model import JSON, SYSTEM, AccessKey, Actor, Listing, Member, Trade, new_id
from yaosu.model_evidence import RecallNotice
from yaosu.model_organisation import Approval, Decision, Rule
from yaosu.ports import Reader, Transaction
from yaosu_schemas.canonical import digest

from . import rules
from .members import is_owner

REMIND = timedelta(days=1)
"""How long before a request ends its approvers are reminded, once."""
MOST = 500

Perform = Callable[[Transaction, Actor, Approval], object]


class AwaitsSecond(Exception):
    """The step needs another person and has been noted; nothing else happened yet (four eyes)."""

    def __init__(self, approval: Approval) -> None:
        super().__init__(approval.id)
        self.approval = approval


# --- holding a step ---------------------------------------------------------------------------


def hold(
    tx: Transaction, actor: Actor, thing: Any, action: str, asked: JSON, about: str | None = None
) -> dict[str, JSON]:
    """Let pass what no rule is about, and what was approved; keep the rest as a request.

    `asked` is what the step needs to be taken later; `about` names by digest what it is taken on:
    a yes to one thing is none to what it has become. Returns what the step's event says of it.
    """
    if actor.party_id == SYSTEM.party_id:
        return {}
    found = _rules(tx, actor, thing, action)
    if not found and not actor.approval:
        return {}
    assert asked is not None, action  # else nobody could take the step later
    wanted = digest({"subject": thing.id, "action": action, "asked": asked, "about": about})
    if actor.approval:
        kept = tx.get(Approval, actor.approval)
        if kept.payload_digest != wanted:
            raise Conflict(
                "what was to be approved has changed since: it has to be asked for again",
                "待审批的内容已发生变化，需重新提交审批",
                approval_id=kept.id,
            )
        more = {r.id for r in found} - {i for d in kept.given for i in d.rule_ids}
        if more:  # a rule was added meanwhile
            kept = replace(kept, rule_ids=(*kept.rule_ids, *sorted(more - set(kept.rule_ids))))
            tx.put(kept)
            raise AwaitsSecond(kept)
        return {"approval_id": kept.id}
    raise AwaitsSecond(_request(tx, actor, thing, action, asked, wanted, found))


def _rules(tx: Reader, actor: Actor, thing: Any, action: str) -> list[Rule]:
    if action != "end_rule":
        return rules.applying(tx, actor.party_id, thing, action)
    return [thing] if rules.may_answer(tx, thing, action) - {actor.member_id} else []


def _request(
    tx: Transaction,
    actor: Actor,
    thing: Any,
    action: str,
    asked: JSON,
    wanted: str,
    found: list[Rule],
) -> Approval:
    """Return the request of this very step, made now if it is not waiting already."""
    for known in tx.find(Approval, subject_id=thing.id, limit=MOST):
        if (
            known.state == "waiting"
            and known.payload_digest == wanted
            and known.member_id == actor.member_id
        ):
            return known
    for rule in found:
        if not (rules.may_answer(tx, rule, action) - {actor.member_id}):
            raise Conflict(
                "a rule asks for somebody else's approval, and there is nobody else who could give "
                "it: an owner has to change the rule",
                "审批规则没有其他可审批的人，请机构所有者调整规则",
                rule_id=rule.id,
            )
    made = Approval(
        id=new_id("apv"),
        subject_id=thing.id,
        action=action,
        payload_digest=wanted,
        member_id=actor.member_id,
        created_at=tx.now,
        party_id=actor.party_id,
        state="waiting",
        asked=asked,
        key_id=actor.key_id,
        roles=tuple(sorted(actor.roles)),
        rule_ids=tuple(r.id for r in found),
        amount_fen=thing.terms.amount_fen if isinstance(thing, Trade) else None,
        expires_at=tx.now + timedelta(days=min(r.days for r in found)),
    )
    tx.add(made)
    _record(tx, made, "approval_asked", actor.id, payload_digest=wanted, rules=list(made.rule_ids))
    return made


def _record(tx: Transaction, kept: Approval, type: str, actor_id: str, **more: JSON) -> None:
    """Leave an event in the chain of the party: the other side of a trade sees nothing of it."""
    payload = {
        "approval_id": kept.id,
        "action": kept.action,
        "subject_id": kept.subject_id,
        **more,
    }
    tx.record(str(kept.party_id), type, actor_id=actor_id, payload=payload)


# --- answering --------------------------------------------------------------------------------


def load(reader: Reader, actor: Actor, approval_id: str) -> Approval:
    """Return a request of the actor's own party."""
    kept = reader.one(Approval, id=approval_id)
    if kept is None or kept.party_id != actor.party_id:
        raise absent("approval", approval_id)
    return kept


def _waiting(tx: Transaction, actor: Actor, approval_id: str) -> Approval:
    load(tx, actor, approval_id)
    kept = tx.get(Approval, approval_id)  # and nobody else answers meanwhile
    if kept.state != "waiting" or kept.expires_at is None or kept.expires_at <= tx.now:
        state = "expired" if kept.state == "waiting" else kept.state
        raise Conflict(
            f"the request waits no more: it is '{state}'",
            f"该审批已结束：{state}",
            state=state,
        )
    return kept


def open_rules(reader: Reader, kept: Approval) -> list[Rule]:
    """Return the rules of a request that still hold and have no yes."""
    done = {i for d in kept.given for i in d.rule_ids}
    found = [reader.get(Rule, i) for i in kept.rule_ids if i not in done]
    return [r for r in found if r.ended_at is None]


def answers(reader: Reader, actor: Actor, kept: Approval) -> list[Rule]:
    """Return the rules of a request that this actor can say yes to."""
    if kept.state != "waiting" or actor.member_id == kept.member_id:
        return []
    return [
        r
        for r in open_rules(reader, kept)
        if actor.member_id in rules.may_answer(reader, r, kept.action)
    ]


def approvers(reader: Reader, kept: Approval) -> set[str]:
    """Return the members whose yes a request still waits for."""
    return _may_answer(reader, kept, open_rules(reader, kept))


def asked_of(reader: Reader, kept: Approval) -> set[str]:
    """Return the members whose yes a request was for, whatever has become of it."""
    return _may_answer(reader, kept, [reader.get(Rule, i) for i in kept.rule_ids])


def _may_answer(reader: Reader, kept: Approval, found: list[Rule]) -> set[str]:
    said = (rules.may_answer(reader, r, kept.action) for r in found)
    return set().union(*said) - {kept.member_id}


def _must_answer(tx: Reader, actor: Actor, kept: Approval) -> list[Rule]:
    if actor.member_id == kept.member_id:
        raise Forbidden(
            "nobody approves what they have asked for themselves",
            "不能审批本人提交的申请",
            operation="approval.answer",
        )
    found = answers(tx, actor, kept)
    if not found:
        raise Forbidden(
            "you are not an approver of this, or have answered already",
            "您不是该事项的审批人，或已审批",
            operation="approval.answer",
        )
    return found


def approve(tx: Transaction, actor: Actor, approval_id: str, perform: Perform) -> Approval:
    """Say yes; the last yes takes the step for who asked, as things stand now."""
    kept = _waiting(tx, actor, approval_id)
    mine = tuple(r.id for r in _must_answer(tx, actor, kept))
    kept = replace(
        kept, given=(*kept.given, Decision(member_id=actor.member_id, rule_ids=mine, at=tx.now))
    )
    tx.put(kept)
    _record(tx, kept, "approval_given", actor.id, rules=list(mine))
    if open_rules(tx, kept):
        return kept
    try:
        perform(tx, _asker(tx, kept), kept)
    except AwaitsSecond as more:
        return more.approval
    done = replace(kept, state="done", used_by=actor.member_id, asked=None, ended_at=tx.now)
    tx.put(done)
    _record(tx, done, "approval_done", kept.member_id, payload_digest=kept.payload_digest)
    return done


def _asker(tx: Reader, kept: Approval) -> Actor:
    """Return who asked, if they could still ask today."""
    member = tx.get(Member, kept.member_id)
    key = tx.one(AccessKey, id=kept.key_id)
    if member.ended_at is not None or key is None or key.revoked_at is not None:
        raise Conflict(
            "who asked for this has left, or the key it was asked with was revoked",
            "申请人已离开，或其密钥已撤销",
        )
    return Actor(
        party_id=member.party_id,
        member_id=member.id,
        key_id=kept.key_id,
        roles=frozenset(kept.roles),
        approval=kept.id,
        operations=None if key.operations is None else frozenset(key.operations),
        bound_to=frozenset(key.bound_to),
    )


def refuse(tx: Transaction, actor: Actor, approval_id: str, reason: str) -> Approval:
    """Say no, with a reason; one no ends the request."""
    kept = _waiting(tx, actor, approval_id)
    _must_answer(tx, actor, kept)
    if not reason.strip():
        raise InvalidInput("a written reason is needed", "需要书面说明", field="reason")
    return _end(tx, kept, "refused", actor.id, reason.strip())


def withdraw(tx: Transaction, actor: Actor, approval_id: str, reason: str = "") -> Approval:
    """Take back what one asked for oneself; an owner may take back anyone's."""
    kept = _waiting(tx, actor, approval_id)
    if actor.member_id != kept.member_id and not is_owner(tx, actor):
        raise Forbidden(
            "who asked takes it back, or an owner",
            "仅申请人或机构所有者可撤回",
            operation="approval.withdraw",
        )
    return _end(tx, kept, "withdrawn", actor.id, reason.strip())


def _end(tx: Transaction, kept: Approval, state: str, actor_id: str, reason: str = "") -> Approval:
    ended = replace(kept, state=state, reason=reason, asked=None, ended_at=tx.now)
    tx.put(ended)
    _record(tx, ended, f"approval_{state}", actor_id, reason_digest=digest(reason))
    return ended


# --- looking ----------------------------------------------------------------------------------


def of_party(
    reader: Reader, actor: Actor, state: str | None = None, *, limit: int = MOST
) -> list[Approval]:
    """Return the requests of the actor's party, newest first."""
    where = {"state": state} if state else {}
    return reader.find(Approval, party_id=actor.party_id, newest=True, limit=limit, **where)


def to_answer(reader: Reader, actor: Actor) -> list[Approval]:
    """Return what waits for this member's answer, newest first."""
    return [a for a in of_party(reader, actor, "waiting") if answers(reader, actor, a)]


# --- time -------------------------------------------------------------------------------------


def waiting(reader: Reader) -> list[str]:
    """Return the requests that time may end."""
    return [a.id for a in reader.find(Approval, state="waiting", limit=100_000)]


def tick(tx: Transaction, approval_id: str) -> None:
    """End a request whose time is over, or which cannot come true; remind once before its end."""
    kept = tx.get(Approval, approval_id)
    if kept.state != "waiting" or kept.expires_at is None:
        return
    if kept.expires_at <= tx.now:
        _end(tx, kept, "expired", SYSTEM.id)
    elif not _possible(tx, kept):
        _end(tx, kept, "lapsed", SYSTEM.id)
    elif kept.reminded_at is None and kept.expires_at - tx.now <= REMIND:
        tx.put(replace(kept, reminded_at=tx.now))
        _record(tx, kept, "approval_reminder", SYSTEM.id, expires_at=kept.expires_at.isoformat())


def _possible(tx: Reader, kept: Approval) -> bool:
    """Tell whether the step can still be taken from where its thing stands."""
    from yaosu.steps import LISTING_STEPS, TRADE_STEPS, next_actions

    if kept.action == "record_usage":
        return True
    if kept.action == "confirm_deletion":
        notices = tx.find(RecallNotice, trade_id=kept.subject_id, limit=100)
        return any(n.state == "pending" for n in notices)
    if kept.subject_id.startswith("trd_"):
        return kept.action in next_actions(TRADE_STEPS, tx.get(Trade, kept.subject_id).state)
    if kept.subject_id.startswith("lst_"):
        return kept.action in next_actions(LISTING_STEPS, tx.get(Listing, kept.subject_id).state)
    return tx.get(Rule, kept.subject_id).ended_at is None
