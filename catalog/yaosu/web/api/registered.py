"""Benchmarks and word lists that every corpus is looked through for: members see their digests."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Request, Response
from pydantic import Field

from yaosu.identity import allow
from yaosu.model import Actor, Registered
from yaosu.ports import Reader
from yaosu.quality import registered
from yaosu.web.door import StrictRoute, change, in_children, market_of, page, read_own

from .bodies import Body

Name = Annotated[str, Field(pattern="^[a-z0-9][a-z0-9-]{0,62}$")]

router = APIRouter(prefix="/v1", route_class=StrictRoute, tags=["registered"])


class GivenFile(Body):
    """A file that was uploaded before: its digest, and a name whose ending says the format."""

    sha256: str = Field(pattern="^[0-9a-f]{64}$")
    filename: str = Field(min_length=1, max_length=255, examples=["test.jsonl"])


@router.get("/benchmarks")
async def benchmarks(request: Request) -> Response:
    """List the benchmarks that corpora are looked through for, all versions, without their text."""
    return await _all(request, "benchmark")


@router.put("/benchmarks/{name}")
async def set_benchmark(request: Request, name: Name, body: GivenFile) -> Response:
    """Register the next version of a benchmark (operator)."""
    return await _add(request, "benchmark", name, body)


@router.delete("/benchmarks/{name}")
async def drop_benchmark(request: Request, name: Name) -> Response:
    """Look for a benchmark no longer (operator)."""
    return await _remove(request, "benchmark", name)


@router.get("/rulesets")
async def rulesets(request: Request) -> Response:
    """List the word lists of unsafe text that corpora are looked through for, without a word."""
    return await _all(request, "ruleset")


@router.put("/rulesets/{name}")
async def set_ruleset(request: Request, name: Name, body: GivenFile) -> Response:
    """Register the next version of a word list (operator)."""
    return await _add(request, "ruleset", name, body)


@router.delete("/rulesets/{name}")
async def drop_ruleset(request: Request, name: Name) -> Response:
    """Look for a word list no longer (operator)."""
    return await _remove(request, "ruleset", name)


async def _all(request: Request, kind: str) -> Response:
    found = await read_own(request, lambda reader, actor: registered.versions(reader, actor, kind))
    return page(request, [registered.shown(one) for one in found], None)


async def _add(request: Request, kind: str, name: str, body: GivenFile) -> Response:
    suffix = registered.suffix_of(body.filename, kind)

    def mine(reader: Reader, actor: Actor) -> None:
        registered.held(reader, actor, body.sha256)

    await read_own(request, mine)
    market = market_of(request)
    facts = await in_children(lambda: market.looked_at(kind, body.sha256, suffix))
    return await change(
        request,
        lambda tx, actor: registered.add(tx, actor, kind, name, body.sha256, suffix, facts),
        _shown,
    )


async def _remove(request: Request, kind: str, name: str) -> Response:
    await read_own(request, lambda _, actor: allow(actor, "registered.manage"))
    return await change(request, lambda tx, actor: registered.remove(tx, actor, kind, name), _shown)


def _shown(_: Reader, one: Registered) -> dict[str, Any]:
    return registered.shown(one)
