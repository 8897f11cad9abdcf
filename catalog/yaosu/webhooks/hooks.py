"""Webhooks of a party: made, rotated, paused, replayed and removed, each as one step."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

from yaosu import present
from yaosu import topics as topics_
from yaosu.errors import Conflict, InvalidInput
from yaosu.identity import absent, allow, require_verified
from yaosu.model import Actor, Role, new_id
from yaosu.model_outside import Message, Webhook
from yaosu.ports import Reader, Transaction
from yaosu_connectors.exchange import names

MOST_PER_PARTY = 20
BOTH_SIGN = timedelta(hours=24)
"""How long the secret before a rotation goes on signing beside the new one."""
MOST_DEAD = 1000

SecretOf = Callable[[str, int], bytes]
"""(webhook id, generation) → the 32 secret bytes it signs with."""


def actor_of(hook: Webhook, roles: Sequence[Role]) -> Actor:
    """Return whose eyes a webhook sees with: its party's, in the roles it was made in."""
    mine = frozenset(hook.roles) & frozenset(roles)
    return Actor(party_id=hook.party_id, member_id=hook.id, key_id=hook.id, roles=mine)


def load(reader: Reader, actor: Actor, webhook_id: str) -> Webhook:
    """Return a webhook of the actor's party; one made in roles that the actor has not is hidden."""
    found = reader.one(Webhook, id=webhook_id)
    if found is None or not _own(found, actor) or found.state == "deleted":
        raise absent("webhook", webhook_id)
    return found


def _own(hook: Webhook, actor: Actor) -> bool:
    return hook.party_id == actor.party_id and set(hook.roles) <= actor.roles


def of_party(reader: Reader, actor: Actor) -> list[Webhook]:
    found = reader.find(Webhook, party_id=actor.party_id, limit=1000)
    return [h for h in found if h.state != "deleted" and _own(h, actor)]


def create(
    tx: Transaction,
    actor: Actor,
    *,
    url: str,
    topics: Sequence[str],
    description: str = "",
    scheme: str = "v1",
    form: str = "",
) -> Webhook:
    """Add a webhook; it is sent what happens from now on. The address was judged by the gate.

    Only for parties whose identity was checked: nobody else has requests sent to others.
    """
    allow(actor, "webhook.manage")
    require_verified(tx, actor.party_id)
    if len(of_party(tx, actor)) >= MOST_PER_PARTY:
        raise Conflict(
            f"a party has at most {MOST_PER_PARTY} webhooks", f"每个主体至多 {MOST_PER_PARTY} 个"
        )
    here = tx.log_size()
    made = Webhook(
        id=new_id("whk"),
        party_id=actor.party_id,
        url=url,
        topics=topics_.checked(topics),
        roles=tuple(sorted(actor.roles)),
        description=description,
        scheme=scheme,
        form=form_of(form),
        since=here,
        cursor=here,
        created_at=tx.now,
    )
    tx.add(made)
    payload = {"webhook_id": made.id, "topics": list(made.topics)}
    tx.record(actor.party_id, "webhook_added", actor_id=actor.id, payload=payload)
    return made


def rotate(tx: Transaction, actor: Actor, webhook_id: str) -> Webhook:
    """Begin a new secret; the one before signs too for a day."""
    hook = load(tx, actor, webhook_id)
    until = tx.now + BOTH_SIGN
    return _put(
        tx, actor, replace(hook, generation=hook.generation + 1, previous_until=until), "rotated"
    )


def secrets_of(hook: Webhook, now: Any, secret: SecretOf) -> list[bytes]:
    """Return what a message is signed with now, the newest first."""
    both = hook.previous_until is not None and now < hook.previous_until
    generations = [hook.generation, hook.generation - 1] if both else [hook.generation]
    return [secret(hook.id, generation) for generation in generations]


def pause(tx: Transaction, actor: Actor, webhook_id: str) -> Webhook:
    """Send nothing until it is resumed; nothing is lost meanwhile."""
    hook = load(tx, actor, webhook_id)
    _need(hook, "active")
    return _put(tx, actor, replace(hook, state="paused"), "paused")


def resume(tx: Transaction, actor: Actor, webhook_id: str) -> Webhook:
    """Go on where it stopped, whoever stopped it; the schedule begins anew."""
    hook = load(tx, actor, webhook_id)
    _need(hook, "paused", "disabled")
    for message in tx.find(Message, webhook_id=hook.id, state="pending", limit=10):
        tx.put(replace(message, tries=0, next_at=None))
    fresh = replace(hook, state="active", reason="", next_at=None, failing_since=None)
    return _put(tx, actor, fresh, "resumed")


def remove(tx: Transaction, actor: Actor, webhook_id: str) -> Webhook:
    """End a webhook for good; its address is forgotten, what it delivered is not."""
    hook = load(tx, actor, webhook_id)
    return _put(tx, actor, replace(hook, state="deleted", url=""), "removed")


def replay(tx: Transaction, actor: Actor, webhook_id: str, event_id: int) -> Webhook:
    """Send everything again from an event on; 0 is the first there is."""
    hook = load(tx, actor, webhook_id)
    leaf = tx.leaf_of(event_id) if event_id else 0
    if leaf is None:
        raise absent("event", str(event_id))
    if leaf > hook.cursor:
        raise Conflict(
            "it has not come that far: what was not sent yet cannot be sent again",
            "尚未推送到该事件，无法重放",
        )
    for message in tx.find(Message, webhook_id=hook.id, state="pending", limit=10):
        tx.put(replace(message, tries=0, next_at=None))
    for message in parked(tx, hook.id):  # in line again, if they are from there on
        if int(message.event_id[4:]) >= event_id:
            tx.put(replace(message, state="pending", parked_at=None, tries=0))
    again = replace(hook, since=min(hook.since, leaf), cursor=leaf, next_at=None)
    return _put(tx, actor, again, "replayed", {"from_event": event_id})


def ping(tx: Transaction, actor: Actor, webhook_id: str) -> Message:
    """Line up one message without content, beside the events."""
    hook = load(tx, actor, webhook_id)
    _need(hook, "active")
    if tx.one(Message, webhook_id=hook.id, state="waiting") is not None:
        raise Conflict("a message is on its way already", "已有消息正在发送")
    made = Message(
        id=new_id("whm"),
        webhook_id=hook.id,
        event_id=new_id("ping"),
        type="ping",
        subject_id=hook.id,
        state="waiting",
        created_at=tx.now,
    )
    tx.add(made)
    return made


def second_chance(tx: Transaction, actor: Actor, webhook_id: str, message_id: str) -> Message:
    """Send a dead letter or a parked message once more, beside the line.

    Once a parked one has come through, those behind it follow in their order.
    """
    hook = load(tx, actor, webhook_id)
    _need(hook, "active")
    message = tx.one(Message, id=message_id)
    if message is None or message.webhook_id != hook.id:
        raise absent("message", message_id)
    if message.state not in ("dead", "parked"):
        raise Conflict(
            "only a dead letter or a parked message is sent again",
            "只有死信或已搁置的消息可以重发",
            state=message.state,
        )
    if message.state == "parked":
        first = next(m for m in parked(tx, hook.id) if m.subject_id == message.subject_id)
        if first.id != message.id:
            raise Conflict(
                f"it waits behind {first.id}, which is parked: send that one first",
                f"须先重发同一对象的较早消息 {first.id}",
                message_id=first.id,
            )
    again = replace(message, state="waiting", done_at=None)
    tx.put(again)
    return again


def parked(reader: Reader, webhook_id: str) -> list[Message]:
    """Return the parked messages of a webhook in the order of their events."""
    found = reader.find(Message, webhook_id=webhook_id, state="parked", limit=MOST_DEAD)
    return sorted(found, key=lambda m: int(m.event_id[4:]))


def _need(hook: Webhook, *states: str) -> None:
    if hook.state not in states:
        raise Conflict(
            f"the webhook is {hook.state}", f"该推送当前状态为 {hook.state}", state=hook.state
        )


def _put(
    tx: Transaction, actor: Actor, hook: Webhook, what: str, more: Mapping[str, Any] | None = None
) -> Webhook:
    tx.put(hook)
    payload = {"webhook_id": hook.id, **(more or {})}
    tx.record(hook.party_id, f"webhook_{what}", actor_id=actor.id, payload=payload)
    return hook


# --- as they are shown ------------------------------------------------------------------------


def shown(hook: Webhook) -> dict[str, Any]:
    """Return a webhook as its party sees it: never with its secret."""
    hidden = {"id", "leased_until", "lease", "roles", "generation"}
    facts = {k: v for k, v in present.plain(hook).items() if k not in hidden}
    return {"webhook_id": hook.id, **facts, "roles": [str(r) for r in hook.roles]}


def message_shown(message: Message) -> dict[str, Any]:
    """Return one delivery with its latest attempts."""
    facts = {k: v for k, v in present.plain(message).items() if k not in ("id", "tries")}
    return {"message_id": message.id, **facts}


def scheme_of(text: str) -> str:
    if text not in ("v1", "v1a"):
        raise InvalidInput("a scheme is v1 or v1a", "签名方式为 v1 或 v1a", field="scheme")
    return text


def form_of(text: str) -> str:
    """Return the name of an exchange's form, or none; InvalidInput names those there are."""
    if text and text not in names():
        known = ", ".join(names())
        raise InvalidInput(f"a form is one of: {known}", f"表单须为：{known}", field="form")
    return text
