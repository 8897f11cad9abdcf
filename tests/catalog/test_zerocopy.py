"""Files leave by sendfile where the server can, and as pieces elsewhere: the same bytes."""

from __future__ import annotations

import asyncio
import hashlib
import os
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
import uvicorn
from fastapi import FastAPI, Request, Response

from yaosu.storage.blobs import LocalBlobs
from yaosu.web.ranged import ranged
from yaosu.web.zerocopy import EXTENSION, ZeroCopy

DATA = os.urandom(5_000_000)
SHA = hashlib.sha256(DATA).hexdigest()
CUT = hashlib.sha256(DATA[1:]).hexdigest()


@contextmanager
def served(
    folder: Path, *, http: Any, loop: Any, failed: list[Exception] | None = None
) -> Iterator[tuple[str, list[bool]]]:
    """Serve one blob, and one that is shorter than it was; yields address and what was offered."""
    blobs = LocalBlobs(folder, reserve_bytes=0)
    for data in (DATA, DATA[1:]):
        blobs.put([data])
    offered: list[bool] = []
    app = FastAPI()

    @app.get("/{sha256}")
    @app.head("/{sha256}")
    async def file(request: Request, sha256: str) -> Response:
        offered.append(EXTENSION in (request.scope.get("extensions") or {}))
        await asyncio.sleep(float(request.headers.get("x-wait", 0)))
        return ranged(request, blobs, sha256, len(DATA), "a.bin")

    @app.exception_handler(Exception)
    async def fail(request: Request, error: Exception) -> Response:
        if failed is not None:
            failed.append(error)
        return Response(status_code=500)

    bound = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(ZeroCopy(app), log_level="critical", http=http, loop=loop,
                            timeout_graceful_shutdown=1)  # fmt: skip
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [bound]}, daemon=True)
    thread.start()
    try:
        while not server.started:
            time.sleep(0.01)
        yield f"http://127.0.0.1:{bound.getsockname()[1]}", offered
    finally:
        server.should_exit = True
        thread.join(10)
        bound.close()


@pytest.fixture(params=[("httptools", "uvloop"), ("httptools", "asyncio"), ("h11", "asyncio")])
def site(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[tuple[str, bool]]:
    http, loop = request.param
    with served(tmp_path / "blobs", http=http, loop=loop) as (address, offered):
        yield address, http == "httptools"
    assert set(offered) == {http == "httptools"}


def open_files() -> int:
    names = []
    for number in os.listdir("/proc/self/fd"):
        try:
            names.append(os.readlink(f"/proc/self/fd/{number}"))
        except OSError:
            continue
    return sum(SHA in name for name in names)


def test_whole_and_ranges_are_the_bytes_that_lie_there(site: tuple[str, bool]) -> None:
    with httpx2.Client(base_url=site[0]) as client:  # one connection: the answers come in order
        for _ in range(2):
            whole = client.get(f"/{SHA}")
            assert whole.content == DATA
            assert whole.headers["etag"] == f'"{SHA}"'
        for asked, begin, end in (
            ("0-0", 0, 1),
            ("1000000-", 10**6, len(DATA)),
            ("-7", len(DATA) - 7, len(DATA)),
            ("5-2999999", 5, 3 * 10**6),
        ):
            part = client.get(f"/{SHA}", headers={"range": f"bytes={asked}"})
            assert (part.status_code, part.content) == (206, DATA[begin:end])
            assert part.headers["content-range"] == f"bytes {begin}-{end - 1}/{len(DATA)}"
        assert client.get(f"/{SHA}", headers={"range": "bytes=9999999-"}).status_code == 416
        assert client.get(f"/{SHA}", headers={"if-none-match": f'"{SHA}"'}).status_code == 304
        head = client.head(f"/{SHA}")
        assert (head.content, head.headers["content-length"]) == (b"", str(len(DATA)))


def test_one_who_reads_slowly_gets_all_and_one_who_leaves_holds_nothing(
    site: tuple[str, bool],
) -> None:
    host, port = site[0].removeprefix("http://").split(":")

    def asking() -> socket.socket:
        made = socket.socket()
        made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        made.connect((host, int(port)))
        made.sendall(f"GET /{SHA} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".encode())
        return made

    with asking() as slow:
        received = bytearray(slow.recv(1000))
        time.sleep(0.3)  # its buffers are full, and the server waits
        while piece := slow.recv(1 << 20):
            received += piece
    assert bytes(received).partition(b"\r\n\r\n")[2] == DATA
    with asking() as gone:
        assert gone.recv(100)
        assert open_files() == 1
    for _ in range(100):
        if open_files() == 0:
            break
        time.sleep(0.05)
    assert open_files() == 0
    assert httpx2.get(f"{site[0]}/{SHA}").content == DATA


@pytest.mark.parametrize("loop", ["uvloop", "asyncio"])
def test_one_who_leaves_before_the_answer_is_no_error_of_the_server(
    tmp_path: Path, loop: str
) -> None:
    failed: list[Exception] = []
    with served(tmp_path, http="httptools", loop=loop, failed=failed) as (address, offered):
        host, port = address.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port))) as gone:
            gone.sendall(f"GET /{SHA} HTTP/1.1\r\nhost: x\r\nx-wait: 0.3\r\n\r\n".encode())
            while not offered:
                time.sleep(0.01)
        assert httpx2.get(f"{address}/{SHA}", headers={"x-wait": "0.4"}).content == DATA
    assert failed == []


def test_a_file_that_became_shorter_ends_the_connection(site: tuple[str, bool]) -> None:
    with pytest.raises(httpx2.TransportError):
        httpx2.get(f"{site[0]}/{CUT}")
