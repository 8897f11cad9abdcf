"""Lets the side speak whose step it is: schemathesis has one key, a trade has two sides.

Stands before the application. A call with the key of `everyone` on a step of a trade or a listing
is made with the key of somebody who may take it, and what no document can know (whose turn it is,
which key the market signs with) is filled into a body that is valid already. A walk has to begin
somewhere: most made-up ids become that of a thing from which the step is possible. Nothing else of
a request, and nothing of an answer, is touched.
"""

from __future__ import annotations

import json
import random
import re
from collections import Counter
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from pydantic import BaseModel, ValidationError

from people import Hall, Person
from yaosu.errors import NotFound, YaosuError
from yaosu.model import Delivery, Listing, Trade
from yaosu.steps import LISTING_STEPS, TRADE_STEPS, Relation
from yaosu.web.api import bodies
from yaosu.web.strict import parse

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

_STEP = re.compile(r"/v1/(trades|listings)/([^/]+)/([a-z_]+)")
_BODIES: dict[str, type[BaseModel]] = {
    "sign": bodies.Signed,
    "offer": bodies.Signed,
    "resolve": bodies.Outcome,
    "accept": bodies.Acceptance,
    "trades": bodies.NewTrade,
}


class Cast:
    """The people of a market, each speaking where they may."""

    def __init__(self, app: Any) -> None:
        self.app = app
        self.hall: Hall | None = None
        self.chance = random.Random(18)
        self.walked: Counter[str] = Counter()
        self.plays = False

    def begin(
        self, hall: Hall, everyone: Person, provider: Person, buyer: Person, *listings: str
    ) -> None:
        self.listings = listings
        self.everyone = f"Bearer {everyone.key}".encode()
        self.sides = {provider.id: provider, buyer.id: buyer}
        self.provider, self.buyer = provider, buyer
        self.signs = {
            side.id: side.post("/v1/signing-keys", {"held_by": "platform"})["key_id"]
            for side in (provider, buyer)
        }
        self.hall = hall

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        found = _STEP.fullmatch(scope.get("path", ""))
        key = next((v for n, v in scope.get("headers", ()) if n == b"authorization"), b"")
        making = scope.get("path") == "/v1/trades" and scope.get("method") == "POST"
        if not self.plays or key != self.everyone or not (found or making):
            await self.app(scope, receive, send)
            return
        body = await _whole(receive)
        noun, id, action = found.groups() if found else ("trades", "", "trades")
        if found:
            id = self._real(noun, id, action)
            path = f"/v1/{noun}/{id}/{action}"
            scope = {**scope, "path": path, "raw_path": path.encode()}
        who = self.buyer if making else self._who(noun, id, action)
        if who is not None:
            if scope["method"] == "POST":
                body = self._filled(action, id, who, body)
            scope = {**scope, "headers": _changed(scope["headers"], str(who.key), len(body))}
        given = False

        async def again() -> MutableMapping[str, Any]:
            nonlocal given
            if given:
                return await receive()
            given = True
            return {"type": "http.request", "body": body, "more_body": False}

        async def counted(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start" and scope["method"] == "POST":
                status = message["status"] // 100
                self.walked[f"{noun} {action} {status}xx"] += 1
            await send(message)

        await self.app(scope, again, counted)

    def _real(self, noun: str, id: str, action: str) -> str:
        """Return the id if there is such a thing, or else most often that of another."""
        assert self.hall is not None
        table: Any = TRADE_STEPS if noun == "trades" else LISTING_STEPS
        kind: Any = Trade if noun == "trades" else Listing
        states = {state for step in table if step.action == action for state in step.sources}
        with self.hall.market.store.read() as reader:
            known = reader.one(kind, id=id) is not None
            if known or not states or self.chance.random() < 0.1:
                return id
            fit = reader.find(kind, state=tuple(states), limit=50)
        return self.chance.choice(fit).id if fit else id

    def _who(self, noun: str, id: str, action: str) -> Person | None:
        """Return somebody who may take the step, by the tables."""
        assert self.hall is not None
        table: Any = TRADE_STEPS if noun == "trades" else LISTING_STEPS
        actors = {r for step in table if step.action == action for r in step.actors}
        kind: Any = Trade if noun == "trades" else Listing
        try:
            with self.hall.market.store.read() as reader:
                thing = reader.get(kind, id)
        except NotFound:
            return None
        sides = {
            Relation.PROVIDER: thing.provider_id,
            Relation.BUYER: getattr(thing, "user_id", ""),
        }
        if {*sides} <= actors and action in ("counter", "agree"):
            return self.sides.get(thing.turn)
        can = [p for r, i in sides.items() if r in actors and (p := self.sides.get(i))]
        if action == "sign":  # who has not yet
            done = {s.party_id for s in thing.signatures}
            can = [p for p in can if p.id not in done] or can
        if Relation.ADMIN in actors:
            can += [self.hall.admin, self.hall.admin2]
        if Relation.REVIEWER in actors:
            can.append(self.hall.reviewer)
        return self.chance.choice(can) if can else None

    def _filled(self, action: str, id: str, who: Person, body: bytes) -> bytes:
        kind = _BODIES.get(action)
        if kind is None or self.hall is None:
            return body
        try:
            value = parse(body)
            kind.model_validate(value)
        except (YaosuError, ValidationError):
            return body
        if action in ("sign", "offer") and who.id in self.signs:
            value["signature"] = {"key_id": self.signs[who.id], "platform": True}
        elif action == "resolve":
            value["to"] = self.chance.choice(["delivering", "delivered", "settling", "terminated"])
        elif action == "trades":
            value["wish"] = {"purpose": "x", "amount_fen": value["wish"].get("amount_fen", 0)}
            value["listing_id"] = self.listings[len(body) % len(self.listings)]
            value.pop("trade_id", None)
        elif action == "accept":
            with self.hall.market.store.read() as reader:
                delivery = reader.get(Trade, id).delivery_id
                if delivery is not None:
                    value["manifest_digest"] = reader.get(Delivery, delivery).manifest_digest
        return json.dumps(value).encode()


async def _whole(receive: Receive) -> bytes:
    parts = []
    while True:
        message = await receive()
        parts.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(parts)


def _changed(
    headers: list[tuple[bytes, bytes]], key: str, length: int
) -> list[tuple[bytes, bytes]]:
    kept = [(n, v) for n, v in headers if n not in (b"authorization", b"content-length")]
    sent = any(n == b"content-length" for n, _ in headers)
    size = [(b"content-length", str(length).encode())] if sent else []
    return [*kept, (b"authorization", f"Bearer {key}".encode()), *size]
