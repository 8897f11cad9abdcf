"""The page of benchmarks and word lists: members see digests, operators add and remove."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, Request, Response

from yaosu.errors import InvalidInput, YaosuError
from yaosu.identity import allow
from yaosu.model import Actor, Registered
from yaosu.ports import Reader, Transaction
from yaosu.quality import registered
from yaosu.web import session
from yaosu.web.door import in_children
from yaosu.web.multipart import FormStream
from yaosu.web.uploads import UNLIMITED

from .console import take_form
from .visit import (
    PageRoute,
    Visit,
    act,
    market_of,
    one,
    read_form,
    read_of,
    see_other,
    show,
    status_of,
)

router = APIRouter(route_class=PageRoute, include_in_schema=False)


def _facts(reader: Reader, visit: Visit) -> Mapping[str, Any]:
    kinds = registered.KINDS.items()
    return {
        "manages": visit.may("registered.manage"),
        "kinds": {
            path: [registered.shown(r) for r in registered.versions(reader, visit.known, kind)]
            for path, kind in kinds
        },
    }


@router.get("/registered")
async def listed(request: Request) -> Response:
    """What every corpus is looked through for, by name, version and digest."""
    return await show(request, "registered.html", _facts)


@router.post("/registered/{path}", max_body_size=UNLIMITED)
async def add(request: Request, path: str) -> Response:
    """Take a file from a form, have a child read it, and register it."""
    reading = FormStream(request.headers.get("content-type", ""), request.stream())
    fields = await reading.fields()
    market = market_of(request)
    session.from_our_form(market, request, fields.get(session.TOKEN_FIELD, ""))

    def operator() -> Actor:
        with market.store.read() as reader:
            actor = session.must_be_known(session.actor_of(market, reader, request))
            allow(actor, "registered.manage")
            return actor

    actor = await read_of(request, operator)
    try:
        kind, name = _kind(path), fields.get("name", "").strip()
        suffix = registered.suffix_of(reading.filename, kind)
        upload = await take_form(request, actor, reading.filename, reading.file())
        sha256 = str(upload.sha256)
        facts = await in_children(lambda: market.looked_at(kind, sha256, suffix))

        def step(tx: Transaction) -> Registered:
            return registered.add(tx, actor, kind, name, sha256, suffix, facts)

        await asyncio.wrap_future(market.store.submit(step))
    except YaosuError as error:
        return await show(request, "registered.html", _facts, status=status_of(error), error=error)
    return see_other("/registered?done=registered")


@router.post("/registered/{path}/{name}/remove")
async def remove(request: Request, path: str, name: str) -> Response:
    """Look for a name no longer."""
    form = await read_form(request)

    def do(tx: Transaction, actor: Actor) -> Registered:
        if one(form, "sure") != "yes":
            raise InvalidInput("say that you are sure", "请确认移除", field="sure")
        return registered.remove(tx, actor, _kind(path), name)

    async def again(error: YaosuError, status: int) -> Response:
        return await show(request, "registered.html", _facts, status=status, error=error)

    return await act(request, do, lambda _: "/registered?done=step", again=again)


def _kind(path: str) -> str:
    if path not in registered.KINDS:
        raise InvalidInput("benchmarks or rulesets", "应为 benchmarks 或 rulesets", field="kind")
    return registered.KINDS[path]
