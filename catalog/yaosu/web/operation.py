"""What an operator's tools ask: is it alive, is it ready, how much of what (Prometheus text)."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, MutableMapping
from typing import Any

import orjson
from fastapi import FastAPI, Response

from yaosu import __version__
from yaosu.errors import Unavailable, YaosuError
from yaosu.market import Market
from yaosu.storage.sql import DATABASE_FILE

Requests = Counter[tuple[str, str, int]]
"""How many requests were answered, by method, template of the route, and status."""


def add(app: FastAPI, market: Market, problem: Callable[[YaosuError], Response]) -> None:
    """Add the three routes of operation."""

    @app.get("/healthz", tags=["operation"])
    async def healthz() -> Response:
        """Alive: answers 503 once writing has ended for good (P1)."""
        if market.fatal is not None:
            return problem(Unavailable("writing has stopped", "已停止写入"))
        sandbox = market.settings.sandbox
        return _json({"status": "ok", "version": __version__, "sandbox": sandbox})

    @app.get("/readyz", tags=["operation"])
    async def readyz() -> Response:
        """Ready: takes requests; 503 while it stops or once writing has ended; space may be low."""
        if market.fatal is not None:
            return problem(Unavailable("writing has stopped", "已停止写入"))
        if getattr(app.state, "stopping", False):
            return problem(Unavailable("the market is being stopped", "平台正在停止"))
        with market.store.read() as reader:
            behind = len(reader.outbox("listing", market.search.checkpoint(), limit=1000))
            waiting = reader.log_waiting()
        room = market.free_bytes() >= market.settings.reserve_bytes
        return _json(
            {
                "status": "ok",
                "index_behind": behind,
                "log_behind": waiting,
                "space": "ok" if room else "low",
            }
        )

    @app.get("/metrics", tags=["operation"])
    async def metrics() -> Response:
        """Prometheus text: work, log, space, and requests by the template of their route."""
        lines = [*_gauges(market), *_requests(app.state.requests)]
        return Response("\n".join(lines) + "\n", media_type="text/plain; version=0.0.4")


def _json(value: Any) -> Response:
    return Response(orjson.dumps(value), media_type="application/json")


def _gauges(market: Market) -> Iterator[str]:
    with market.store.read() as reader:
        jobs = reader.job_states()
        waiting = reader.log_waiting()
        behind = len(reader.outbox("listing", market.search.checkpoint(), limit=1000))
    now = market.clock.now()
    oldest = min((at for state, (_, at) in jobs.items() if state == "ready"), default=now)
    yield "# TYPE yaosu_jobs gauge"
    for state in ("ready", "leased", "dead"):
        yield f'yaosu_jobs{{state="{state}"}} {jobs.get(state, (0, now))[0]}'
    folder = market.settings.folder
    values: dict[str, float] = {
        "oldest_job_seconds": max(0.0, (now - oldest).total_seconds()),
        "log_waiting": waiting,
        "index_behind": behind,
        "free_bytes": market.free_bytes(),
        "reserve_bytes": market.settings.reserve_bytes,
        "writing": int(market.fatal is None),
    }
    if market.embedded:
        values["database_bytes"] = _size(folder / DATABASE_FILE)
        values["wal_bytes"] = _size(folder / f"{DATABASE_FILE}-wal")
    for name, value in values.items():
        yield f"# TYPE yaosu_{name} gauge"
        yield f"yaosu_{name} {value:.10g}"
    yield "# TYPE yaosu_log_size counter"
    yield f"yaosu_log_size {market.log.size}"


def _size(path: os.PathLike[str]) -> int:
    try:
        return os.stat(path).st_size
    except FileNotFoundError:
        return 0


def _requests(seen: Requests) -> Iterator[str]:
    yield "# TYPE yaosu_requests_total counter"
    for (method, route, status), count in sorted(seen.items()):
        labels = f'method="{method}",route="{route}",status="{status}"'
        yield f"yaosu_requests_total{{{labels}}} {count}"


_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})


class Counted:
    """Counts what is answered, by the template of its route: never by what a stranger typed."""

    def __init__(self, app: Any, seen: Requests) -> None:
        self.app = app
        self.seen = seen

    async def __call__(
        self,
        scope: MutableMapping[str, Any],
        receive: Callable[[], Awaitable[Any]],
        send: Callable[[MutableMapping[str, Any]], Awaitable[None]],
    ) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def counting(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                method = scope["method"] if scope["method"] in _METHODS else "other"
                route = getattr(scope.get("route"), "path", "other")
                self.seen[method, route, message["status"]] += 1
            await send(message)

        await self.app(scope, receive, counting)
