"""Forks servers: a line `["DATA", PORT]` on stdin starts one, a line `PID` waits for its end.

    python nursery.py [--lie | --synchronous-off | --publish-without-sync]

The flags make the controls of the campaigns: a server that acknowledges a moment before it commits,
one whose commits do not wait for the disk, one that names files before they are written.
"""

from __future__ import annotations

import importlib
import json
import os
import signal
import stat
import sys
import time
from typing import Any


def tell_lies() -> None:
    """Let the writer answer before the commit."""
    from yaosu.storage.sqlite import SqliteStore

    def commit(self: Any, batch: list[Any]) -> None:
        self._connection.execute("BEGIN IMMEDIATE")
        woken: list[bool] = []
        for step in batch:
            value, error = self._take(step, woken)
            if error is None:
                step.future.set_result(value)
            else:
                step.future.set_exception(error)
        time.sleep(0.05)
        self._connection.execute("COMMIT")

    SqliteStore._commit = commit  # type: ignore[method-assign]


def commit_in_memory() -> None:
    """Let SQLite leave the writing to the system."""
    from yaosu.storage import sqlite

    sqlite.PRAGMAS["synchronous"] = ("OFF", 0)


def publish_without_sync() -> None:
    """Make names durable, but not what they name."""
    from yaosu.storage.files import Disk

    sync = Disk.sync

    def careless(self: Any, fd: int) -> None:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            sync(self, fd)

    Disk.sync = careless  # type: ignore[method-assign]


CONTROLS = {
    "--lie": tell_lies,
    "--synchronous-off": commit_in_memory,
    "--publish-without-sync": publish_without_sync,
}
LOADED = (
    "yaosu.commands.operate",
    "yaosu.serve",
    "yaosu.web.pages.router",
    "alembic.command",
    "jinja2",
)


def main() -> None:
    from yaosu.cli import main as command

    for name in LOADED:
        importlib.import_module(name)
    for flag in sys.argv[1:]:
        CONTROLS[flag]()
    alive: set[int] = set()
    for line in sys.stdin:
        told = json.loads(line)
        if isinstance(told, int):
            print(os.waitpid(told, 0)[1], flush=True)
            alive.discard(told)
            continue
        child = os.fork()
        if child == 0:
            signal.signal(signal.SIGINT, signal.SIG_DFL)
            out = os.open(os.devnull, os.O_RDWR)
            os.dup2(out, 0)
            os.dup2(out, 1)
            sys.argv = ["yaosu", "serve", "--data", told[0], "--port", str(told[1])]
            try:
                command()
            except SystemExit as end:
                os._exit(int(end.code or 0))
            os._exit(0)
        alive.add(child)
        print(child, flush=True)
    for child in alive:  # of a test that failed
        os.kill(child, signal.SIGKILL)


if __name__ == "__main__":
    main()
