"""Native routes of an exchange: signed callbacks in, and the keys they are signed with."""

from __future__ import annotations

import asyncio
import hashlib
from typing import Any

import orjson
from fastapi import APIRouter, Request, Response
from pydantic import Field

from yaosu import callbacks, present, standard_webhooks
from yaosu.model import Actor, Listing, Party, Reply, Trade
from yaosu.outside import CallbackKey
from yaosu.ports import Reader, Transaction

from .bodies import Body, Line, Nothing
from .door import Secret, StrictRoute, change, market_of, page, read
from .strict import parse

router = APIRouter(prefix="/v1/venues/{venue_id}", route_class=StrictRoute, tags=["exchange"])


class NewCallbackKey(Body):
    public_key: Line = Field(
        default="", description="whpk_… or base64 of an Ed25519 key; empty: a secret is made here"
    )
    label: Line = ""


# --- keys -------------------------------------------------------------------------------------


@router.post("/callback-keys", status_code=201)
async def new_key(request: Request, venue_id: str, body: NewCallbackKey) -> Response:
    """Register what callbacks are signed with; a secret made here is shown once."""
    market = market_of(request)

    def render(_: Reader, key: CallbackKey) -> Secret:
        shown = callbacks.key_shown(key)
        if key.scheme == "v1a":
            return Secret(shown, shown)
        secret = standard_webhooks.secret_text(market.hook_secret(key.id, 1))
        return Secret({**shown, "secret": secret}, {**shown, "secret": None})

    return await change(
        request,
        lambda tx, actor: callbacks.add_key(
            tx, actor, venue_id, public_key=body.public_key, label=body.label
        ),
        render,
        status=201,
    )


@router.get("/callback-keys")
async def keys(request: Request, venue_id: str) -> Response:
    """List the keys of one's own place of trading."""

    def look(reader: Reader, actor: Actor | None) -> list[dict[str, Any]]:
        assert actor is not None
        venue = callbacks.venue_held(reader, actor, venue_id)
        return [callbacks.key_shown(k) for k in callbacks.keys_of(reader, venue.id)]

    return page(request, await read(request, look, needed=True), None)


@router.post("/callback-keys/{key_id}/revoke")
async def end_key(request: Request, venue_id: str, key_id: str, body: Nothing) -> Response:
    """End a key at once."""
    return await change(
        request,
        lambda tx, actor: callbacks.revoke_key(tx, actor, venue_id, key_id),
        lambda _, key: callbacks.key_shown(key),
    )


# --- callbacks --------------------------------------------------------------------------------


@router.post("/callbacks")
async def callback(request: Request, venue_id: str) -> Response:
    """Take a signed message of the exchange: filed, payment confirmed, certificate issued.

    The signature is the key: no other is asked for. The same id has one effect and one reply.
    """
    market = market_of(request)
    body = await request.body()
    given = {name: request.headers.get(name, "") for name in standard_webhooks.HEADERS}

    def look() -> tuple[str, CallbackKey]:
        with market.store.read() as reader:
            return callbacks.opened(
                reader, venue_id, given, body, market.clock.now(), market.hook_secret
            )

    # Outside the writer: what is forged costs nobody a place in its line.
    message_id, key = look() if market.embedded else await asyncio.to_thread(look)
    message = parse(body)

    def work(tx: Transaction) -> Reply:
        before, answer = callbacks.receive(tx, venue_id, message_id, key, body, message, _shown)
        if before is not None:
            return before
        digest = hashlib.sha256(body).hexdigest()
        reply = Reply(fingerprint=digest, status=200, headers={}, body=orjson.dumps(answer))
        tx.remember(f"callback:{venue_id}", message_id, reply)
        return reply

    reply = await asyncio.wrap_future(market.store.submit(work))
    return Response(reply.body, status_code=reply.status, media_type="application/json")


def _shown(reader: Reader, result: Trade | Listing) -> dict[str, Any]:
    if isinstance(result, Listing):
        return present.listing(result, reader.get(Party, result.provider_id))
    parties = [reader.get(Party, i) for i in (result.provider_id, result.user_id)]
    return present.trade(result, *parties)
