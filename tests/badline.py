"""A line that breaks, and a server that answers by a script: what a client meets in the wild."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit


@dataclass
class Weather:
    """What the line does to the next connections; each entry is used once."""

    cut_up: list[int] = field(default_factory=list)  # bytes towards the server, then cut
    cut_down: list[int] = field(default_factory=list)  # bytes towards the client, then cut
    flip_up: list[int] = field(default_factory=list)  # position of one byte that is changed
    connections: int = 0


@contextlib.contextmanager
def bad_line(address: str) -> Iterator[tuple[str, Weather]]:
    """Yield (address of a proxy in front of `address`, its weather)."""
    there = urlsplit(address)
    weather = Weather()
    door = socket.create_server(("127.0.0.1", 0))
    host = f"127.0.0.1:{door.getsockname()[1]}"
    open_ones: list[socket.socket] = []

    def serve() -> None:
        while True:
            try:
                here, _ = door.accept()
            except OSError:
                return
            weather.connections += 1
            far = socket.create_connection((there.hostname, there.port))
            open_ones.extend((here, far))
            up = weather.cut_up.pop(0) if weather.cut_up else None
            down = weather.cut_down.pop(0) if weather.cut_down else None
            flip = weather.flip_up.pop(0) if weather.flip_up else None
            for args in ((here, far, up, flip), (far, here, down, None)):
                threading.Thread(target=_carry, args=args, daemon=True).start()

    threading.Thread(target=serve, daemon=True).start()
    try:
        yield f"http://{host}", weather
    finally:
        for one in (door, *open_ones):
            one.close()


def _carry(source: socket.socket, sink: socket.socket, limit: int | None, flip: int | None) -> None:
    """Carry bytes one way; past `limit` both ends are cut off hard."""
    done = 0
    try:
        while data := source.recv(65536):
            if flip is not None and done <= flip < done + len(data):
                at = flip - done
                data = data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]
            if limit is not None and done + len(data) >= limit:
                sink.sendall(data[: limit - done])
                break
            sink.sendall(data)
            done += len(data)
        else:
            sink.shutdown(socket.SHUT_WR)
            return
    except OSError:
        pass
    for end in (source, sink):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)


@dataclass
class Asked:
    """One request as the scripted server saw it."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


@dataclass
class Answer:
    """What the scripted server says; `drop` closes the connection instead."""

    status: int = 200
    json: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    body: bytes = b""
    drop: bool = False


Script = Callable[[Asked], Answer]


@contextlib.contextmanager
def scripted(script: Script) -> Iterator[tuple[str, list[Asked]]]:
    """Yield (address, what was asked) of a server that answers as the script says."""
    seen: list[Asked] = []

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _any(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            names = {k.lower(): v for k, v in self.headers.items()}
            asked = Asked(self.command, self.path, names, body)
            seen.append(asked)
            answer = script(asked)
            if answer.drop:
                self.close_connection = True
                self.connection.shutdown(socket.SHUT_RDWR)
                return
            kind = "application/problem+json" if answer.status >= 400 else "application/json"
            said = answer.body if answer.json is None else json.dumps(answer.json).encode()
            self.send_response(answer.status)
            headers = {"content-length": str(len(said))} | answer.headers
            if answer.json is not None:
                headers = {"content-type": kind} | headers
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(said)

        do_GET = do_POST = do_PUT = do_PATCH = do_HEAD = do_DELETE = _any

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", seen
    finally:
        server.shutdown()
        server.server_close()
