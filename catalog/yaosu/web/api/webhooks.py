"""Native routes: webhooks of one's own party, and what became of their messages."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any

from fastapi import APIRouter, Request, Response
from pydantic import Field

from yaosu.model import Actor
from yaosu.model_outside import Message, Webhook
from yaosu.ports import Reader, Transaction
from yaosu.proof import signing
from yaosu.web.door import (
    Secret,
    StrictRoute,
    change,
    json_response,
    market_of,
    page,
    read_own,
)
from yaosu.webhooks import hooks, standard_webhooks

from .bodies import Body, Line, Nothing, Whole

router = APIRouter(prefix="/v1/webhooks", route_class=StrictRoute, tags=["webhooks"])
PAGE = 100


class NewWebhook(Body):
    url: Annotated[str, Field(max_length=2000)] = Field(examples=["https://example.org/hook"])
    topics: list[Line] = Field(min_length=1, max_length=50, examples=[["trade.*"]])
    description: Line = ""
    scheme: Line = Field(default="v1", description="v1: HMAC-SHA256; v1a: Ed25519")
    form: Line = Field(default="", description="events of a trade bring its record in this form")


class FromEvent(Body):
    event_id: Whole = Field(ge=0, lt=2**63, description="sent again from here on; 0: all")


def secret_facts(request: Request, hook: Webhook) -> dict[str, Any]:
    """Return what the receiver needs to check signatures; for v1a that is no secret."""
    raw = market_of(request).hook_secret(hook.id, hook.generation)
    if hook.scheme == "v1a":
        public = signing.Signer.from_seed(raw).public_bytes
        return {"public_key": standard_webhooks.public_text(public)}
    return {"secret": standard_webhooks.secret_text(raw)}


def _told(request: Request) -> Callable[[Reader, Webhook], Secret]:
    def render(_: Reader, hook: Webhook) -> Secret:
        facts = secret_facts(request, hook)
        kept = facts if "public_key" in facts else {"secret": None}
        return Secret({**hooks.shown(hook), **facts}, {**hooks.shown(hook), **kept})

    return render


@router.post("", status_code=201)
async def new_webhook(request: Request, body: NewWebhook) -> Response:
    """Have events sent to an address; the reply shows the secret once."""
    market_of(request).gate.target(body.url)
    scheme = hooks.scheme_of(body.scheme)
    return await change(
        request,
        lambda tx, actor: hooks.create(
            tx,
            actor,
            url=body.url,
            topics=body.topics,
            description=body.description,
            scheme=scheme,
            form=body.form,
        ),
        _told(request),
        status=201,
        location=lambda hook: f"/v1/webhooks/{hook.id}",
    )


@router.get("")
async def webhooks(request: Request) -> Response:
    """List the webhooks of one's own party."""

    def look(reader: Reader, actor: Actor) -> list[dict[str, Any]]:
        return [hooks.shown(h) for h in hooks.of_party(reader, actor)]

    return page(request, await read_own(request, look), None)


@router.get("/{webhook_id}")
async def one_webhook(request: Request, webhook_id: str) -> Response:
    """Show a webhook: how far it has come, and what stops it."""

    def look(reader: Reader, actor: Actor) -> dict[str, Any]:
        return hooks.shown(hooks.load(reader, actor, webhook_id))

    return json_response(await read_own(request, look))


@router.post("/{webhook_id}/rotate")
async def rotate(request: Request, webhook_id: str, body: Nothing) -> Response:
    """Begin a new secret, shown once; for a day both sign."""
    return await change(
        request, lambda tx, actor: hooks.rotate(tx, actor, webhook_id), _told(request)
    )


Do = Callable[[Transaction, Actor, str], Webhook]


def _step(name: str, do: Do) -> None:
    async def route(request: Request, webhook_id: str, body: Nothing) -> Response:
        return await change(
            request,
            lambda tx, actor: do(tx, actor, webhook_id),
            lambda _, hook: hooks.shown(hook),
        )

    route.__doc__ = do.__doc__
    router.add_api_route(
        f"/{{webhook_id}}/{name}",
        route,
        methods=["POST"],
        name=f"webhook_{name}",
        response_model=None,
    )


_step("pause", hooks.pause)
_step("resume", hooks.resume)
_step("remove", hooks.remove)


@router.post("/{webhook_id}/replay")
async def replay(request: Request, webhook_id: str, body: FromEvent) -> Response:
    """Send everything again from an event on, in order; receivers tell repeats by the id."""
    return await change(
        request,
        lambda tx, actor: hooks.replay(tx, actor, webhook_id, body.event_id),
        lambda _, hook: hooks.shown(hook),
    )


@router.post("/{webhook_id}/ping", status_code=202)
async def ping(request: Request, webhook_id: str, body: Nothing) -> Response:
    """Send a message without content now; its outcome is among the deliveries."""
    return await change(
        request,
        lambda tx, actor: hooks.ping(tx, actor, webhook_id),
        lambda _, message: hooks.message_shown(message),
        status=202,
    )


@router.get("/{webhook_id}/deliveries")
async def deliveries(
    request: Request,
    webhook_id: str,
    state: Annotated[str | None, Field(pattern="^(pending|waiting|delivered|dead|parked)$")] = None,
    cursor: str | None = None,
) -> Response:
    """List messages, newest first; state 'dead' are the dead letters."""

    def look(reader: Reader, actor: Actor) -> list[Message]:
        hook = hooks.load(reader, actor, webhook_id)
        wanted = {"webhook_id": hook.id, **({"state": state} if state else {})}
        return reader.find(Message, after=cursor, limit=PAGE, newest=True, **wanted)

    found = await read_own(request, look)
    after = found[-1].id if len(found) == PAGE else None
    return page(request, [hooks.message_shown(m) for m in found], after)


@router.post("/{webhook_id}/deliveries/{message_id}/retry", status_code=202)
async def retry(request: Request, webhook_id: str, message_id: str, body: Nothing) -> Response:
    """Send a dead letter, or a parked message, once more."""
    return await change(
        request,
        lambda tx, actor: hooks.second_chance(tx, actor, webhook_id, message_id),
        lambda _, message: hooks.message_shown(message),
        status=202,
    )
