"""Carries events to webhooks: each in the order of the log, all of them beside each other.

A webhook has a cursor over the leaves of the log, so that nothing is left out and the order is
kept: a message that fails is tried again on the schedule while those after it wait, and goes to
the dead letters after the last try. Every message is a coroutine of one loop: a receiver that is
slow or gone costs the others nothing, and no thread of the workers. What is under way is held by
a lease in the store, so that several processes may carry; a lease that runs out is as a job's.
"""

from __future__ import annotations

import asyncio
import logging
import random
import threading
import uuid
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, TypeVar

import orjson

from yaosu.errors import Stale, YaosuError
from yaosu.model import SYSTEM, Event, Party, new_id
from yaosu.model_outside import Attempt, Message, Webhook
from yaosu.outgoing import Answer, Gate, NotSent
from yaosu.ports import Clock, Reader, Store, Transaction
from yaosu.topics import chosen

from . import feed, hooks, standard_webhooks

log = logging.getLogger(__name__)
T = TypeVar("T")

SCHEDULE_S = (0, 5, 300, 1800, 7200, 18_000, 36_000, 36_000)
"""Seconds before each try; the last is 27 h 35 min after the first."""
JITTER = 0.1
LONGEST_WAIT_S = 24 * 3600
GIVE_UP = timedelta(days=5)
REFUSALS = frozenset({400, 405, 406, 409, 413, 414, 415, 422})
"""What a receiver says of one message; other failures are of the line, and all wait for it."""
PARKED_AFTER = 3
MOST_PARKED = 500
LEASE = timedelta(seconds=60)
EVERY_S = 0.25
AT_ONCE = 500
IN_A_ROW = 200
PAGE = 500
PAGES = 4
FAR = 1000
KEPT_ATTEMPTS = 20
TYPE = "application/cloudevents+json"


@dataclass(frozen=True, slots=True)
class _Work:
    """What a webhook gets next: a message, what it says, and its leaf if it is in line."""

    hook: Webhook
    message: Message
    body: bytes
    leaf: int | None
    behind: bool = False  # one before it of the same subject is parked: it is not sent


class _Once:
    """A snapshot in which each thing is read once, however many webhooks ask about it."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._things: dict[tuple[Any, str], Any] = {}

    def one(self, kind: Any, *, id: str) -> Any:
        if (kind, id) not in self._things:
            self._things[kind, id] = self._reader.one(kind, id=id)
        return self._things[kind, id]

    def get(self, kind: Any, id: str) -> Any:
        return self.one(kind, id=id)

    def leaves(self, start: int, *, limit: int) -> list[Event]:
        return self._reader.leaves(start, limit=limit)


class _Leaves:
    """The stretch of the log that was read last: leaves never change, so it stays true."""

    def __init__(self) -> None:
        self._start = 0
        self._events: list[Event] = []

    def at(self, reader: Reader, leaf: int) -> list[Event]:
        """Return events from a leaf on, none at the end of the log."""
        if not 0 <= leaf - self._start < len(self._events):
            self._start, self._events = leaf, reader.leaves(leaf, limit=PAGE)
        return self._events[leaf - self._start :]


class Courier:
    """Brings events to the webhooks of a store."""

    def __init__(
        self,
        store: Store,
        clock: Clock,
        gate: Gate,
        secret: hooks.SecretOf,
        source: str,
        *,
        chance: Callable[[], float] = random.random,
    ) -> None:
        self._store = store
        self._clock = clock
        self._gate = gate
        self._secret = secret
        self._source = source
        self._chance = chance
        # (cursor, leaf): between them lies nothing for this webhook; forgotten with the process.
        self._clear: dict[str, tuple[int, int]] = {}
        self._busy: dict[str, asyncio.Task[int]] = {}
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="courier", daemon=True)

    def start(self, *, alone: bool) -> None:
        """Begin to carry; `alone` says that no other process can hold a lease."""
        if alone:
            self._store.write(_free_all)
        self._thread.start()

    def stop(self) -> None:
        """Carry nothing more; what is under way is sent again by whoever comes next."""
        self._stop.set()
        if self._thread.ident is not None:
            self._thread.join(30)
        self._gate.close()

    def once(self) -> int:
        """Carry what is due now and wait for it; returns how many messages were tried."""
        return asyncio.run(self._round(wait=True))

    def _run(self) -> None:
        asyncio.run(self._loop())

    async def _loop(self) -> None:
        while not self._stop.is_set():
            try:
                await self._round(wait=False)
            except Exception:
                log.exception("the courier failed and goes on")
            # In a thread, so that stopping does not wait for the pause to end.
            await asyncio.to_thread(self._stop.wait, EVERY_S)
        for task in self._busy.values():
            task.cancel()
        await asyncio.gather(*self._busy.values(), return_exceptions=True)

    async def _round(self, *, wait: bool) -> int:
        tasks = []
        for webhook_id in self._due():
            if len(self._busy) < AT_ONCE and webhook_id not in self._busy:
                task = asyncio.create_task(self._serve(webhook_id))
                self._busy[webhook_id] = task
                tasks.append(task)
        return sum(await asyncio.gather(*tasks)) if wait else len(tasks)

    def _due(self) -> list[str]:
        """Return the webhooks for which there is something to send now."""
        now = self._clock.now()
        leaves = _Leaves()
        found: list[str] = []
        with self._store.read() as reader:
            once: Any = _Once(reader)
            head = reader.log_size()
            waiting = {m.webhook_id for m in reader.find(Message, state="waiting", limit=PAGE)}
            after: str | None = None
            while hooks_ := reader.find(Webhook, state="active", after=after, limit=PAGE):
                after = hooks_[-1].id
                for hook in hooks_:
                    if hook.leased_until is not None and hook.leased_until > now:
                        continue
                    ready = hook.next_at is None or hook.next_at <= now
                    ready = ready and self._seen(hook) < head
                    ready = ready and self._next(once, hook, leaves) is not None
                    if ready or hook.id in waiting:
                        found.append(hook.id)
                    self._move_far(hook)
        return found

    def _seen(self, hook: Webhook) -> int:
        """Return the first leaf that has not been looked at for this webhook."""
        cursor, leaf = self._clear.get(hook.id, (0, 0))
        return leaf if cursor == hook.cursor else hook.cursor

    def _next(self, reader: Reader, hook: Webhook, leaves: _Leaves) -> tuple[int, Event] | None:
        """Return the first event from the cursor on that concerns the webhook, with its leaf.

        A long stretch that is for others is passed in several rounds: the loop has other work.
        """
        actor = hooks.actor_of(hook, reader.get(Party, hook.party_id).roles)
        leaf = self._seen(hook)
        for _ in range(PAGES):
            events = leaves.at(reader, leaf)
            for number, event in enumerate(events, leaf):
                if chosen(hook.topics, feed.topic_of(event)) and feed.concerns(
                    reader, actor, event.subject_id
                ):
                    self._clear[hook.id] = (hook.cursor, number)
                    return number, event
            leaf += len(events)
            self._clear[hook.id] = (hook.cursor, leaf)
            if not events:
                break
        return None

    def _move_far(self, hook: Webhook) -> None:
        """Keep the position after a long stretch for others, so that no restart walks it again."""
        seen = self._seen(hook)
        if seen - hook.cursor >= FAR and hook.id not in self._busy:
            self._store.submit(lambda tx: _moved(tx, hook, seen))

    # --- one webhook ----------------------------------------------------------------------------

    async def _serve(self, webhook_id: str) -> int:
        """Send what is due to one webhook, until there is no more or one try fails."""
        lease, tried, leaves = uuid.uuid4().hex, 0, _Leaves()
        try:
            if not await self._write(lambda tx: _take(tx, webhook_id, lease)):
                return 0
            while tried < IN_A_ROW and not self._stop.is_set():
                work = self._work(webhook_id, leaves)
                if work is None:
                    break
                if work.behind:
                    await self._write(_parked_behind(work, lease))
                    tried += 1
                    continue
                attempt, answer = await self._send(work)
                tried += 1
                again = await self._write(self._noted(work, lease, attempt, answer))
                if not again:
                    break
            await self._write(lambda tx: _let_go(tx, webhook_id, lease))
        except Stale:
            log.warning("a webhook went to another process while a message was under way")
        except YaosuError as error:
            log.warning("webhook %s could not be served: %s", webhook_id, error.code)
        finally:
            self._busy.pop(webhook_id, None)
        return tried

    async def _write(self, step: Callable[[Transaction], T]) -> T:
        return await asyncio.wrap_future(self._store.submit(step))

    def _work(self, webhook_id: str, leaves: _Leaves) -> _Work | None:
        now = self._clock.now()
        with self._store.read() as reader:
            hook = reader.get(Webhook, webhook_id)
            if hook.state != "active":
                return None
            beside = reader.find(Message, webhook_id=hook.id, state="waiting", limit=1)
            if beside:
                return _Work(hook, beside[0], self._body_of(reader, hook, beside[0]), None)
            if hook.next_at is not None and hook.next_at > now:
                return None
            found = self._next(reader, hook, leaves)
            if found is None:
                return None
            leaf, event = found
            name = feed.event_name(event)
            message = reader.one(Message, webhook_id=hook.id, event_id=name) or Message(
                id=new_id("whm"),
                webhook_id=hook.id,
                event_id=name,
                type=feed.topic_of(event),
                subject_id=event.subject_id,
                created_at=now,
            )
            parked = reader.find(Message, webhook_id=hook.id, state="parked", limit=MOST_PARKED)
            behind = any(m.subject_id == event.subject_id for m in parked)
            return _Work(hook, message, self._envelope(reader, hook, event, leaf), leaf, behind)

    def _envelope(self, reader: Reader, hook: Webhook, event: Event, leaf: int) -> bytes:
        told = feed.envelope(event, leaf, self._source)
        if hook.form and event.subject_id.startswith("trd_"):
            told["data"] |= feed.record_of(reader, event.subject_id, hook.form)
        return orjson.dumps(told)

    def _body_of(self, reader: Reader, hook: Webhook, message: Message) -> bytes:
        if message.type != "ping":
            event = reader.events_after(int(message.event_id[4:]) - 1, limit=1)[0]
            return self._envelope(reader, hook, event, reader.leaf_of(event.id) or 0)
        return orjson.dumps(
            {
                "specversion": "1.0",
                "id": message.event_id,
                "source": self._source,
                "type": "yaosu.ping",
                "subject": message.webhook_id,
            }
        )

    async def _send(self, work: _Work) -> tuple[Attempt, Answer | None]:
        now = self._clock.now()
        signed = standard_webhooks.headers(
            work.message.event_id,
            now,
            work.body,
            hooks.secrets_of(work.hook, now, self._secret),
            scheme=work.hook.scheme,
        )
        loop = asyncio.get_running_loop()
        began = loop.time()
        answer, error = None, ""
        try:
            answer = await self._gate.post(
                work.hook.url, work.body, {"content-type": TYPE, "user-agent": "yaosu", **signed}
            )
        except NotSent as failed:
            error = failed.code
        ms = int((loop.time() - began) * 1000)
        return Attempt(at=now, status=answer.status if answer else None, error=error, ms=ms), answer

    def _noted(
        self, work: _Work, lease: str, attempt: Attempt, answer: Answer | None
    ) -> Callable[[Transaction], bool]:
        """Return the step that records an attempt; its answer says whether to go on."""
        good = answer is not None and 200 <= answer.status < 300
        chance = self._chance()

        def step(tx: Transaction) -> bool:
            hook = _held(tx, work.hook.id, lease)
            kept = tx.one(Message, webhook_id=hook.id, event_id=work.message.event_id)
            message = kept or work.message
            attempts = (*message.attempts, attempt)[-KEPT_ATTEMPTS:]
            message = replace(message, attempts=attempts, tries=message.tries + 1)
            if work.leaf is None:
                failed = "parked" if message.parked_at else "dead"
                state = "delivered" if good else failed
                message = replace(message, state=state, tries=0, done_at=tx.now)
                if good and message.parked_at:
                    _release(tx, message)
            elif good:
                message = replace(message, state="delivered", tries=0, next_at=None, done_at=tx.now)
                hook = replace(hook, next_at=None, failing_since=None)
                # A replay that came meanwhile has set the cursor back: it stays there.
                hook = replace(hook, cursor=_past(hook, work))
            else:
                hook, message = _failed(tx, hook, message, work, answer, chance)
            (tx.put if kept else tx.add)(message)
            tx.put(replace(hook, leased_until=tx.now + LEASE))
            return good or work.leaf is None

        return step


def _past(hook: Webhook, work: _Work) -> int:
    moved = hook.cursor != work.hook.cursor
    return hook.cursor if moved else int(work.leaf or 0) + 1


def _failed(
    tx: Transaction,
    hook: Webhook,
    message: Message,
    work: _Work,
    answer: Answer | None,
    chance: float,
) -> tuple[Webhook, Message]:
    """Plan the next try, or give up the message, or the whole webhook."""
    since = hook.failing_since or tx.now
    hook = replace(hook, failing_since=since)
    if answer is not None and answer.status == 410:
        return _disabled(tx, hook, "gone"), replace(message, state="pending", next_at=None)
    refused = answer is not None and answer.status in REFUSALS
    few = tx.count(Message, webhook_id=hook.id, state="parked") < MOST_PARKED
    if refused and message.tries >= PARKED_AFTER and few:
        message = replace(message, state="parked", next_at=None, tries=0, parked_at=tx.now)
        hook = replace(hook, cursor=_past(hook, work), next_at=None)
    elif message.tries >= len(SCHEDULE_S):
        message = replace(message, state="dead", next_at=None, tries=0, done_at=tx.now)
        hook = replace(hook, cursor=_past(hook, work), next_at=None)
    else:
        wait = SCHEDULE_S[message.tries] * (1 + JITTER * chance)
        wait = max(wait, _asked_wait(answer, tx.now))
        at = tx.now + timedelta(seconds=min(wait, LONGEST_WAIT_S))
        message = replace(message, state="pending", next_at=at)
        hook = replace(hook, next_at=at)
    if tx.now - since >= GIVE_UP:
        hook = _disabled(tx, hook, "failing")
    return hook, message


def _parked_behind(work: _Work, lease: str) -> Callable[[Transaction], None]:
    """Return the step that parks a message behind one of its subject, and goes on in line."""

    def step(tx: Transaction) -> None:
        hook = _held(tx, work.hook.id, lease)
        kept = tx.one(Message, webhook_id=hook.id, event_id=work.message.event_id)
        message = replace(kept or work.message, state="parked", parked_at=tx.now, tries=0)
        (tx.put if kept else tx.add)(message)
        tx.put(replace(hook, cursor=_past(hook, work), leased_until=tx.now + LEASE))

    return step


def _release(tx: Transaction, delivered: Message) -> None:
    """Line up the next message that was parked behind one that has come through."""
    waits = [m for m in hooks.parked(tx, delivered.webhook_id)
             if m.subject_id == delivered.subject_id and m.id != delivered.id]  # fmt: skip
    if waits:
        tx.put(replace(waits[0], state="waiting", done_at=None))


def _disabled(tx: Transaction, hook: Webhook, reason: str) -> Webhook:
    payload = {"webhook_id": hook.id, "reason": reason}
    tx.record(hook.party_id, "webhook_disabled", actor_id=SYSTEM.id, payload=payload)
    return replace(hook, state="disabled", reason=reason, next_at=None)


def _asked_wait(answer: Answer | None, now: datetime) -> float:
    """Return the seconds of Retry-After (RFC 9110 §10.2.3), 0 without or with a wrong one."""
    text = (answer.headers.get("retry-after", "") if answer else "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    try:
        at: Any = parsedate_to_datetime(text)
        return max(0.0, float((at - now).total_seconds()))
    except (ValueError, TypeError):
        return 0.0


def _take(tx: Transaction, webhook_id: str, lease: str) -> bool:
    hook = tx.get(Webhook, webhook_id)
    free = hook.leased_until is None or hook.leased_until <= tx.now
    if hook.state != "active" or not free:
        return False
    tx.put(replace(hook, lease=lease, leased_until=tx.now + LEASE))
    return True


def _held(tx: Transaction, webhook_id: str, lease: str) -> Webhook:
    hook = tx.get(Webhook, webhook_id)
    if hook.lease != lease:
        raise Stale("the lease of this webhook ran out", "该推送的租约已失效")
    return hook


def _let_go(tx: Transaction, webhook_id: str, lease: str) -> None:
    tx.put(replace(_held(tx, webhook_id, lease), lease="", leased_until=None))


def _moved(tx: Transaction, seen_as: Webhook, leaf: int) -> None:
    hook = tx.get(Webhook, seen_as.id)
    if hook.cursor == seen_as.cursor:
        tx.put(replace(hook, cursor=leaf))


def _free_all(tx: Transaction) -> None:
    for hook in tx.find(Webhook, state="active", limit=100_000):
        if hook.lease:
            tx.put(replace(hook, lease="", leased_until=None))
