"""Harvests and Delta Sharing over HTTP: packages per second, latency of a query, bytes per second.

The other side of the harvest and the reader run in processes of their own. The peers of the
download stand on this machine and are asked in turns: the same HTTP server with Starlette's plain
file response, and a plain file server (nginx where it is installed, else Python's own).
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "tests"))

import httpx2  # noqa: E402
import pyarrow as pa  # noqa: E402
import pyarrow.parquet as pq  # noqa: E402
from figure import Figure, latencies, timed  # noqa: E402

from people import USCC, Hall, described, jsonl, open_hall, until  # noqa: E402
from stall import delivered, sold_as  # noqa: E402

SITE = r"""
import json, sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
count = int(sys.argv[1])
def package(n):
    return {"id": f"00000000-0000-4000-8000-{n:012}", "name": f"set-{n}", "title": f"Set {n}",
            "notes": "A set of another catalog, with some words about it. " * 5,
            "license_id": "cc-by-4.0", "metadata_modified": "2026-01-01T00:00:00",
            "organization": {"name": "office", "title": "Office"},
            "tags": [{"name": t} for t in ("统计", "open", f"t{n % 50}")],
            "extras": [{"key": "spatial", "value": "everywhere"}],
            "resources": [{"name": f"r{k}", "url": f"https://example.org/{n}/{k}.csv",
                           "format": "CSV"} for k in range(3)]}
class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_POST(self):
        asked = json.loads(self.rfile.read(int(self.headers["content-length"])) or b"{}")
        start, rows = int(asked.get("start", 0)), int(asked.get("rows", 10))
        found = [package(n) for n in range(start, min(count, start + rows))]
        body = json.dumps({"success": True, "result": {"count": count, "results": found}}).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *_): ...
server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(server.server_address[1], flush=True)
server.serve_forever()
"""
PLAIN = r"""
import sys, socket, uvicorn
from starlette.applications import Starlette
from starlette.responses import FileResponse
from starlette.routing import Route
async def file(request): return FileResponse(sys.argv[1])
bound = socket.create_server(("127.0.0.1", 0))
print(bound.getsockname()[1], flush=True)
app = Starlette(routes=[Route("/file", file)])
uvicorn.Server(uvicorn.Config(app, log_level="warning")).run(sockets=[bound])
"""
FILES = r"""
import functools, http.server, sys
class Handler(http.server.SimpleHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def log_message(self, *_): ...
made = functools.partial(Handler, directory=sys.argv[1])
server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), made)
print(server.server_address[1], flush=True)
server.serve_forever()
"""
NGINX = r"""
import socket, subprocess, sys, tempfile
folder, nginx = sys.argv[1:]
with socket.create_server(("127.0.0.1", 0)) as free: port = free.getsockname()[1]
work = tempfile.mkdtemp()
paths = " ".join(f"{n}_temp_path {work}/{n};" for n in
                 ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
open(f"{work}/nginx.conf", "w").write(f'''daemon off; pid {work}/pid; worker_processes 1;
error_log {work}/errors; events {{}} http {{ access_log off; sendfile on; {paths}
server {{ listen 127.0.0.1:{port}; root {folder}; }} }}''')
child = subprocess.Popen([nginx, "-c", f"{work}/nginx.conf", "-e", f"{work}/errors"])
import signal, time
signal.signal(signal.SIGTERM, lambda *_: child.terminate())
time.sleep(1)
print(port, flush=True)
child.wait()
"""


@contextmanager
def beside(code: str, *args: str) -> Iterator[str]:
    """Run a server in a process of its own; yields its address."""
    child = subprocess.Popen([sys.executable, "-c", code, *args], stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    try:
        yield f"http://127.0.0.1:{int(child.stdout.readline())}"
    finally:
        child.terminate()
        child.wait(10)


def measure(quick: bool) -> Iterator[Figure]:
    """Yield the rates of a harvest, and latency and rate of a shared table."""
    with tempfile.TemporaryDirectory() as folder:
        yield from harvest(Path(folder), 300 if quick else 10_000)
    with tempfile.TemporaryDirectory() as folder:
        yield from shared(Path(folder), 100_000 if quick else 200_000, 20 if quick else 300)


def harvest(folder: Path, count: int) -> Iterator[Figure]:
    """Bring a catalog over, and again when nothing has changed."""
    with (
        beside(SITE, str(count)) as site,
        open_hall(folder, outgoing_allow="127.0.0.1/32") as hall,
    ):
        provider = hall.person("reaper", "provider")
        for name in ("first run", "second run, nothing changed"):
            cpu, wall = time.process_time(), time.perf_counter()
            if name == "first run":
                body = {"url": site, "rights": "open", "interval_hours": 0}
                known = provider.post("/v1/harvests", body)["harvest_id"]
            else:
                provider.post(f"/v1/harvests/{known}/start")
            base = f"/v1/harvests/{known}"
            while provider.get(base)["run_id"]:
                time.sleep(0.5)
            seconds, waited = time.process_time() - cpu, time.perf_counter() - wall
            run = provider.get(f"{base}/runs")["items"][0]
            assert run["imported"] == count, run
            yield Figure(
                name=f"harvest of {count} packages, {name}", value=round(count / seconds, 1),
                unit="packages per CPU second of the market", lower_is_better=False, goal=200,
                facts={"seconds": round(waited, 1), "counts": run["counts"]},
            )  # fmt: skip


def shared(folder: Path, rows: int, times: int) -> Iterator[Figure]:
    """Query a shared table and fetch its file, in turns with a plain server of the same bytes."""
    with open_hall(folder) as hall:
        endpoint, token = _profile(hall, rows)
        reader = httpx2.Client(headers={"authorization": f"Bearer {token}"}, timeout=60)
        base = f"{endpoint}shares/bench-seller/schemas/numbers/tables/joints"
        until(lambda: reader.get(f"{base}/metadata").status_code, lambda s: s == 200, seconds=300)
        answer = reader.post(f"{base}/query", json={})
        yield from latencies(
            "Delta Sharing query", timed(lambda: reader.post(f"{base}/query", json={}), times)
        )
        file = json.loads(answer.text.splitlines()[2])["file"]
        copy = folder / "plain.parquet"
        copy.write_bytes(httpx2.get(file["url"]).content)
        nginx = shutil.which("nginx")
        code, what = (NGINX, "nginx") if nginx else (FILES, "Python's http.server")
        more = (str(folder), nginx) if nginx else (str(folder),)
        rounds = 3 if times < 50 else 15
        with beside(PLAIN, str(copy)) as plain, beside(code, *more) as files:
            places = {
                "ours": file["url"],
                "stack": f"{plain}/file",
                "files": f"{files}/{copy.name}",
            }
            taken: dict[str, list[float]] = {name: [] for name in places}
            cpu = 0.0
            for _ in range(rounds):
                for name, url in places.items():
                    before = time.process_time()
                    taken[name].append(_fetch(url, file["size"]))
                    cpu += time.process_time() - before if name == "ours" else 0.0
        best = {name: file["size"] / min(seconds) / 1e6 for name, seconds in taken.items()}
        facts = {
            "megabytes_per_second": round(best["ours"], 1),
            "megabytes_per_cpu_second_of_the_market": round(file["size"] * rounds / cpu / 1e6),
        }
        peers = (("stack", "Starlette FileResponse on the same server"), ("files", what))
        for name, peer in peers:
            yield Figure(
                name=f"Delta Sharing download of {file['size'] / 1e6:.0f} MB against {peer}",
                value=round(best["ours"] / best[name], 2), unit="times", lower_is_better=False,
                goal=0.7, peer=f"{peer}, MB/s", peer_value=round(best[name], 1), facts=facts,
            )  # fmt: skip


def _fetch(url: str, size: int) -> float:
    """Return the seconds that curl takes for a file: a reader that costs little itself."""
    told = "%{size_download} %{time_total}"
    done = subprocess.run(["curl", "-s", "-o", os.devnull, "-w", told, url],
                          capture_output=True, text=True, check=True)  # fmt: skip
    received, seconds = done.stdout.split()
    assert int(received) == size, done.stdout
    return float(seconds)


def _profile(hall: Hall, rows: int) -> tuple[str, str]:
    """Sell a table of 80 bytes a row, no two alike; return the buyer's endpoint and token."""
    provider = hall.person("bench-seller", "provider", uscc=USCC[2])
    buyer = hall.person("bench-buyer", "buyer")
    sink = pa.BufferOutputStream()
    numbers = pa.array(memoryview(os.urandom(rows * 8)).cast("q"), pa.int64())
    noise = pa.array([os.urandom(72) for _ in range(rows)], pa.binary())
    pq.write_table(pa.table({"n": numbers, "noise": noise}), sink, use_dictionary=False)
    resources: list[dict[str, Any]] = []
    sample = jsonl([{"n": n, "text": f"样例 {n}"} for n in range(20)])
    for path, data in (("data/joints.parquet", bytes(sink.getvalue())), ("data/s.jsonl", sample)):
        resources.append({
            "name": path[5:].split(".")[0], "path": path, "format": path.rsplit(".", 1)[-1],
            "bytes": len(data), "hash": f"sha256:{provider.upload(data)}",
            "mediatype": "application/octet-stream",
        })  # fmt: skip
    descriptor = described(provider, "numbers", resources, records=rows + 20, sample="s")
    trade = delivered(hall, buyer, sold_as(hall, provider, descriptor))
    made = buyer.post(f"/v1/trades/{trade['trade_id']}/profile")
    return str(made["endpoint"]), str(made["bearerToken"])
