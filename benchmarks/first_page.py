"""From `yaosu demo` on an empty folder to the first page, and to a market that is filled."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.error import HTTPError, URLError
from urllib.request import urlopen

from figure import Figure

LIMIT_SECONDS = 180


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def answers(url: str) -> bool:
    try:
        with urlopen(url, timeout=5) as reply:
            return bool(reply.status == 200)
    except (HTTPError, URLError, OSError):
        return False


def wait(url: str, server: subprocess.Popen[bytes], start: float) -> float:
    """Return the seconds from `start` until the address answers 200."""
    while time.perf_counter() - start < LIMIT_SECONDS:
        if answers(url):
            return round(time.perf_counter() - start, 2)
        if server.poll() is not None:
            raise RuntimeError(f"the market stopped with {server.returncode}")
        time.sleep(0.05)
    raise RuntimeError(f"no answer from {url} in {LIMIT_SECONDS} s")


def measure(quick: bool) -> Iterator[Figure]:
    program = Path(sys.executable).with_name("yaosu")
    with tempfile.TemporaryDirectory(dir=os.environ.get("YAOSU_BENCH_DIR")) as folder:
        port = free_port()
        command = [program, "demo", "--data", f"{folder}/data", "--port", str(port)]
        start = time.perf_counter()
        server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        # What it prints is read away, so that a full pipe never holds it up.
        threading.Thread(target=server.communicate, daemon=True).start()
        try:
            first = wait(f"http://127.0.0.1:{port}/", server, start)
            yield Figure(name="empty folder to first page", value=first, unit="s", goal=60)
            filled = wait(f"http://127.0.0.1:{port}/readyz", server, start)
            yield Figure(name="empty folder to a market that is ready", value=filled, unit="s")
        finally:
            server.send_signal(signal.SIGINT)
            server.wait(30)
