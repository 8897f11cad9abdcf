"""Native routes of an exchange: signed callbacks in, the statement of a day, reconciliation."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Sequence
from typing import Annotated, Any

import orjson
from fastapi import APIRouter, Request, Response
from pydantic import Field

from yaosu import present
from yaosu.errors import Unsupported
from yaosu.exchange import callbacks, reconcile, sheets, statement
from yaosu.exchange.statement import Statement
from yaosu.identity import absent
from yaosu.model import Actor, Listing, Party, Reply, Trade
from yaosu.model_money import Period
from yaosu.model_outside import CallbackKey, Reconciliation
from yaosu.ports import Reader, Transaction
from yaosu.web.door import (
    Secret,
    StrictRoute,
    change,
    idempotency_key,
    in_children,
    json_response,
    market_of,
    page,
    read_own,
)
from yaosu.web.strict import parse
from yaosu.webhooks import standard_webhooks
from yaosu_schemas import documents

from .bodies import Body, Line, Nothing

PAGE = 100

router = APIRouter(prefix="/v1", route_class=StrictRoute, tags=["exchange"])
VENUE = "/venues/{venue_id}"


class NewCallbackKey(Body):
    public_key: Line = Field(
        default="", description="whpk_… or base64 of an Ed25519 key; empty: a secret is made here"
    )
    label: Line = ""


@router.get("/schemas/{schema_name}")
async def one_schema(request: Request, schema_name: str) -> Response:
    """Return one of the market's JSON Schemas, as `trading-record`; its version is in `$id`."""
    if schema_name not in documents.names():
        raise absent("schema", schema_name)
    return json_response(documents.load(schema_name))


# --- keys -------------------------------------------------------------------------------------


@router.post(VENUE + "/callback-keys", status_code=201)
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


@router.get(VENUE + "/callback-keys")
async def keys(request: Request, venue_id: str) -> Response:
    """List the keys of one's own place of trading."""

    def look(reader: Reader, actor: Actor) -> list[dict[str, Any]]:
        venue = callbacks.venue_held(reader, actor, venue_id)
        return [callbacks.key_shown(k) for k in callbacks.keys_of(reader, venue.id)]

    return page(request, await read_own(request, look), None)


@router.post(VENUE + "/callback-keys/{key_id}/revoke")
async def end_key(request: Request, venue_id: str, key_id: str, body: Nothing) -> Response:
    """End a key at once."""
    return await change(
        request,
        lambda tx, actor: callbacks.revoke_key(tx, actor, venue_id, key_id),
        lambda _, key: callbacks.key_shown(key),
    )


# --- callbacks --------------------------------------------------------------------------------


@router.post(VENUE + "/callbacks")
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


def _shown(reader: Reader, result: Trade | Listing | Period) -> dict[str, Any]:
    if isinstance(result, Period):
        return present.period(result)
    if isinstance(result, Listing):
        return present.listing(result, reader.get(Party, result.provider_id))
    parties = [reader.get(Party, i) for i in (result.provider_id, result.user_id)]
    return present.trade(result, *parties)


# --- statement and reconciliation -------------------------------------------------------------

Format = Annotated[str, Field(pattern="^(json|csv|xlsx)$")]
Day = Annotated[str, Field(max_length=10)]
MAX_FILE = 8 << 20
FIRST_LINES = 500


@router.get(VENUE + "/statement")
async def one_day(request: Request, venue_id: str, day: Day, format: Format = "json") -> Response:
    """Return what happened to the trades of one's own place on a day (in Beijing), in fen."""

    def look(reader: Reader, actor: Actor) -> Statement:
        venue = callbacks.venue_held(reader, actor, venue_id)
        return statement.of_day(reader, venue, statement.day_of(day))

    made = await read_own(request, look, beside=True)
    if format == sheets.JSON:
        return json_response(made.as_json())
    rows = statement.rows(made)
    return table(format, f"{venue_id}-{day}", statement.header(), rows)


def table(format_: str, name: str, header: list[str], rows: Sequence[sheets.Row]) -> Response:
    """Return a table to be kept as a file."""
    body = (
        sheets.to_csv(header, rows)
        if format_ == sheets.CSV
        else sheets.to_xlsx(name[:31], header, rows)
    )
    disposition = f'attachment; filename="{name}.{format_}"'
    return Response(
        body, media_type=sheets.MEDIA[format_], headers={"content-disposition": disposition}
    )


@router.post(VENUE + "/reconciliation", status_code=201, max_body_size=MAX_FILE)
async def new_reconciliation(
    request: Request, venue_id: str, day: Day, form: Annotated[str, Field(max_length=40)] = ""
) -> Response:
    """Compare a day with the other side's file: CSV, XLSX, or JSON of lines, records or forms."""
    idempotency_key(request)
    data = await request.body()
    result = await compared(request, venue_id, day, data, _format(request), form)
    digest = hashlib.sha256(data).hexdigest()

    def step(tx: Transaction, actor: Actor) -> Reconciliation:
        venue = callbacks.venue_held(tx, actor, venue_id)
        return reconcile.keep(tx, actor, venue, day, digest, result)

    return await change(
        request,
        step,
        lambda _, made: reconcile.shown(made, most=FIRST_LINES),
        status=201,
        location=lambda made: f"/v1/venues/{venue_id}/reconciliations/{made.id}",
    )


def _format(request: Request) -> str:
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    for name, media in sheets.MEDIA.items():
        if kind == media.partition(";")[0]:
            return name
    raise Unsupported(
        "the file is text/csv, application/json, or that of XLSX",
        "文件类型应为 CSV、JSON 或 XLSX",
        field="content-type",
    )


async def compared(
    request: Request, venue_id: str, day: str, data: bytes, format_: str, form: str
) -> Any:
    """Return the comparison of a day with a file; who may not have the day reads no file."""

    def look(reader: Reader, actor: Actor) -> Statement:
        venue = callbacks.venue_held(reader, actor, venue_id)
        return statement.of_day(reader, venue, statement.day_of(day))

    ours = await read_own(request, look, beside=True)
    key, theirs = await in_children(lambda: reconcile.read(data, format_, form, parse))
    return await asyncio.to_thread(reconcile.compare, ours, key, theirs)


@router.get(VENUE + "/reconciliations")
async def reconciliations(request: Request, venue_id: str, cursor: str | None = None) -> Response:
    """List what was compared, newest first."""

    def look(reader: Reader, actor: Actor) -> list[Reconciliation]:
        venue = callbacks.venue_held(reader, actor, venue_id)
        return reader.find(Reconciliation, venue=venue.id, after=cursor, limit=PAGE, newest=True)

    found = await read_own(request, look)
    after = found[-1].id if len(found) == PAGE else None
    return page(request, [reconcile.shown(r, most=0) for r in found], after)


@router.get(VENUE + "/reconciliations/{reconciliation_id}")
async def one_reconciliation(
    request: Request, venue_id: str, reconciliation_id: str, format: Format = "json"
) -> Response:
    """Return one comparison as it came out."""

    def look(reader: Reader, actor: Actor) -> Reconciliation:
        venue = callbacks.venue_held(reader, actor, venue_id)
        found = reader.one(Reconciliation, id=reconciliation_id)
        if found is None or found.venue != venue.id:
            raise absent("reconciliation", reconciliation_id)
        return found

    made = await read_own(request, look)
    if format == sheets.JSON:
        return json_response(reconcile.shown(made))
    name = f"{venue_id}-{made.day}-reconciliation"
    return table(format, name, reconcile.header(), reconcile.rows(made))
