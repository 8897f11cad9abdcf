"""Runs the market in one process: uvicorn with a shutdown that lets the writer finish.

One process owns the single writer, the index and the log; SIGTERM and Ctrl-C end open streams,
run the application's shutdown, and exit 0. A failed sync ends the process with exit 1 (P1).
"""

from __future__ import annotations

import gc
import signal
import socket
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import uvicorn

from .errors import Unavailable
from .market import Market
from .settings import Settings
from .web.app import create_app
from .web.zerocopy import ZeroCopy

# The writer gives the interpreter up at every SQL statement and gets it back from the event loop
# after this time at the latest: with the default of 5 ms a step would wait for it a dozen times.
SWITCH_S = 0.0005


class _Server(uvicorn.Server):
    """Tells the application first that it is stopping, so that streams can end themselves."""

    def __init__(self, config: uvicorn.Config, app: Any) -> None:
        super().__init__(config)
        self._app = app

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        # What is loaded by now stays: a collection that walks it stops every caller for 0.15 s.
        gc.collect()
        gc.freeze()
        # Every command makes some thousand objects and hardly a cycle: looking for cycles at the
        # default of every 700 takes a tenth of the server's time.
        gc.set_threshold(20_000, 20, 50)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._app.state.stopping = True
        super().handle_exit(sig, frame)


def listen(host: str, port: int) -> socket.socket:
    """Return a bound socket; Unavailable when the address is taken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
    except OSError as error:
        bound.close()
        raise Unavailable(
            f"cannot listen on {host}:{port}: {error.strerror}; choose another with --port",
            f"无法监听 {host}:{port}，请用 --port 指定其他端口",
            host=host,
            port=port,
        ) from None
    bound.listen(1024)
    return bound


def run(
    settings: Settings,
    *,
    host: str = "127.0.0.1",
    port: int = 8000,
    ready: Callable[[Market, str], None] | None = None,
) -> int:
    """Serve until told to stop; `ready(market, address)` is called once it answers.

    Returns the exit code: 0 after a clean stop, 1 when writing had to end.
    """
    bound = listen(host, port)
    address = f"http://{host}:{bound.getsockname()[1]}"
    try:
        market = Market(settings)
    except BaseException:
        bound.close()
        raise
    sys.setswitchinterval(SWITCH_S)
    app = create_app(market)
    config = uvicorn.Config(
        ZeroCopy(app),
        log_level="warning",
        timeout_graceful_shutdown=20,
        access_log=False,
        server_header=False,
        h11_max_incomplete_event_size=64 * 1024,
    )
    server = _Server(config, app)
    market.on_fatal = lambda: setattr(server, "should_exit", True)
    app.state.ready = (lambda: ready(market, address)) if ready else None
    # uvicorn raises the signal again after a clean stop; with a handler of ours the exit is 0.
    before = {s: signal.signal(s, signal.SIG_IGN) for s in (signal.SIGTERM, signal.SIGINT)}
    try:
        server.run(sockets=[bound])
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        bound.close()
    return 1 if market.fatal is not None else 0
