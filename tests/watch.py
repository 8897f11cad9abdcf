"""Witnesses for the tests: the real server, on loopback."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import httpx2
import uvicorn

from people import until
from yaosu.proof.witness_server import Witness, create_app


@dataclass(frozen=True)
class Watching:
    """A witness that answers on loopback."""

    witness: Witness
    address: str

    @property
    def key(self) -> str:
        return self.witness.key

    @property
    def place(self) -> str:
        """How the setting `witnesses` names it."""
        return f"{self.address} {self.key}"

    def post(self, body: bytes) -> httpx2.Response:
        return httpx2.post(f"{self.address}/add-checkpoint", content=body)


@contextlib.contextmanager
def watching(folder: Path, name: str, log_keys: Sequence[str]) -> Iterator[Watching]:
    """Run a witness over a folder behind a real HTTP server."""
    bound = socket.create_server(("127.0.0.1", 0))
    witness = Witness(folder, name, log_keys)
    config = uvicorn.Config(create_app(witness), log_level="warning", timeout_graceful_shutdown=2)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]}, daemon=True)
    thread.start()
    try:
        until(lambda: server.started or not thread.is_alive(), bool)
        yield Watching(witness, f"http://127.0.0.1:{bound.getsockname()[1]}")
    finally:
        server.should_exit = True
        thread.join(10)
        bound.close()
