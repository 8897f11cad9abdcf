"""What every test may lean on: the real data, a real PostgreSQL, a real Chromium, no network."""

from __future__ import annotations

import contextlib
import gc
import glob
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import pytest
from hypothesis import settings

from leaks import Leaks

ROOT = Path(__file__).resolve().parent.parent

# Seeded and short: the same cases on every run; `make campaign` runs the long ones.
settings.register_profile("suite", deadline=None, max_examples=60, derandomize=True)
examples = int(os.environ.get("HYPOTHESIS_EXAMPLES", "2000"))
settings.register_profile("campaign", deadline=None, max_examples=examples)
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "suite"))


class LeavesTheMachine(OSError):
    """A test tried to talk to something that is not on this machine."""


def _refuse_the_network(event: str, args: tuple[Any, ...]) -> None:
    if event != "socket.connect" or not isinstance(args[1], tuple):
        return
    host = str(args[1][0])
    if not (host.startswith("127.") or host in ("::1", "localhost", "0.0.0.0", "::")):
        raise LeavesTheMachine(f"no network in tests: {host}")


sys.addaudithook(_refuse_the_network)


def pytest_configure(config: pytest.Config) -> None:
    """Watch everything that is logged in this run for secrets."""
    config.pluginmanager.register(Leaks())


def missing(what: str) -> None:
    """Skip by name; under CI the system must be complete, so there it fails."""
    if os.environ.get("CI"):
        pytest.fail(f"needed here: {what}", pytrace=False)
    pytest.skip(what)


@pytest.hookimpl(hookwrapper=True)
def pytest_collection() -> Iterator[None]:
    """Leave what is loaded out of every collection of garbage: thousands of tests pay for it else.

    While modules are loaded nothing becomes garbage, and to look for it costs as much as to load.
    """
    gc.disable()
    yield
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 25, 25)
    gc.enable()


def pytest_terminal_summary(terminalreporter: Any) -> None:
    reasons: Counter[str] = Counter()
    for report in terminalreporter.stats.get("skipped", []):
        place = report.longrepr
        reasons[place[2] if isinstance(place, tuple) else str(place)] += 1
    for reason, count in reasons.most_common():
        terminalreporter.write_line(f"NOT RUN: {count} × {reason.removeprefix('Skipped: ')}")


@pytest.fixture(scope="session", autouse=True)
def scratch_of_ones_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Give each worker process its own temporary folder, so that none sees another's leftovers."""
    tmp_path_factory.getbasetemp()  # what tests write stays where pytest keeps it
    # A short name: Unix sockets lie below it.
    with tempfile.TemporaryDirectory(prefix="yt", ignore_cleanup_errors=True) as folder:
        before = os.environ.get("TMPDIR")
        os.environ["TMPDIR"] = tempfile.tempdir = folder
        yield
        tempfile.tempdir = None
        os.environ.pop("TMPDIR")
        if before is not None:
            os.environ["TMPDIR"] = before


@pytest.fixture(scope="session", autouse=True)
def children_of_one_warm_process(scratch_of_ones_own: None) -> Iterator[None]:
    """Fork the sandbox's children of all tests of a worker process from the same zygote."""
    from yaosu_validators.sandbox import kept_warm

    with kept_warm():
        yield


# --- real data ---------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def testdata() -> Path:
    """The folder of corpora made by others (YAOSU_TESTDATA, by default beside the checkout)."""
    folder = Path(os.environ.get("YAOSU_TESTDATA") or ROOT.parent / "shared" / "data")
    if not folder.is_dir():
        pytest.skip("no test data: set YAOSU_TESTDATA to its folder")
    return folder


# --- PostgreSQL --------------------------------------------------------------------------------


def postgres_binaries() -> Path | None:
    """The folder of `initdb` and `postgres`; Debian keeps it outside PATH."""
    candidates = [os.environ.get("PG_BIN", "")]
    candidates += sorted(glob.glob("/usr/lib/postgresql/*/bin"), reverse=True)
    candidates += [os.path.dirname(shutil.which("postgres") or "")]
    return next((Path(c) for c in candidates if c and Path(c, "initdb").exists()), None)


def _unprivileged() -> dict[str, Any]:
    """PostgreSQL refuses to run as root: name the user it runs as then."""
    if os.geteuid() != 0:
        return {}
    names = {user.pw_name: user for user in pwd.getpwall()}
    user = names.get("postgres") or names["nobody"]
    return {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}


@contextlib.contextmanager
def postgres(binaries: Path, **settings: str) -> Iterator[str]:
    """Run a throw-away server that listens on a Unix socket only, and yield its URL."""
    # A short path: the name of a Unix socket may hold about 100 bytes.
    home = Path(tempfile.mkdtemp(prefix="pg", dir="/tmp"))
    who = _unprivileged()
    if who:
        os.chown(home, who["user"], who["group"])
    initdb = [binaries / "initdb", "-D", home / "d", "-U", "app", "--auth=trust", "--no-sync"]
    subprocess.run(
        [*initdb, "-E", "UTF8", "--locale=C.UTF-8"],
        check=True, cwd=home, capture_output=True, **who,
    )  # fmt: skip
    options = {
        "listen_addresses": "",
        "unix_socket_directories": home,
        "fsync": "off",
        "full_page_writes": "off",
        "shared_buffers": "32MB",
        **settings,
    }
    flags = [part for name, value in options.items() for part in ("-c", f"{name}={value}")]
    with (home / "log").open("wb") as log:
        server = subprocess.Popen(
            [binaries / "postgres", "-D", home / "d", *flags], cwd=home, stderr=log, **who
        )
    try:
        for _ in range(400):
            ready = [binaries / "pg_isready", "-q", "-h", home]
            if subprocess.run(ready, check=False).returncode == 0:
                break
            if server.poll() is not None:
                raise RuntimeError((home / "log").read_text("utf-8"))
            time.sleep(0.05)
        yield f"postgresql+psycopg://app@/postgres?host={home}"
    finally:
        server.send_signal(signal.SIGQUIT)  # immediate: nothing of it is kept
        server.wait(20)
        shutil.rmtree(home, ignore_errors=True)


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[str]:
    """The URL of one server's maintenance database (one server per worker process)."""
    given = os.environ.get("TEST_POSTGRES_URL")
    if given:
        yield given.replace("postgresql://", "postgresql+psycopg://", 1)
        return
    binaries = postgres_binaries()
    if binaries is None:
        missing("no PostgreSQL server binaries (or set TEST_POSTGRES_URL)")
        return
    with postgres(binaries) as url:
        yield url


@pytest.fixture
def postgres_url(postgres_server: str) -> Iterator[str]:
    """The URL of an empty database of one's own, dropped afterwards."""
    import psycopg

    name = f"t{uuid.uuid4().hex[:16]}"
    admin = postgres_server.replace("+psycopg", "", 1)
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}" TEMPLATE template0')
    try:
        yield urlunsplit(urlsplit(postgres_server)._replace(path=f"/{name}"))
    finally:
        with psycopg.connect(admin, autocommit=True) as connection:
            connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


# --- the store, on each database ----------------------------------------------------------------


class HeldClock:
    """Time that moves only when a test says so."""

    def __init__(self) -> None:
        self.at = datetime(2026, 3, 1, 8, 0, 0, 123456, tzinfo=UTC)

    def now(self) -> datetime:
        return self.at

    def forward(self, **by: float) -> None:
        self.at += timedelta(**by)


@pytest.fixture
def clock() -> HeldClock:
    return HeldClock()


@pytest.fixture(scope="session")
def migrated_database(postgres_server: str) -> Iterator[str]:
    """The URL of a database with today's tables, for the tests of one process in turn."""
    import psycopg

    from yaosu.storage.sql import upgrade

    name = f"migrated_{uuid.uuid4().hex[:16]}"
    admin = postgres_server.replace("+psycopg", "", 1)
    with psycopg.connect(admin, autocommit=True) as connection:
        connection.execute(f'CREATE DATABASE "{name}" TEMPLATE template0')
    url = urlunsplit(urlsplit(postgres_server)._replace(path=f"/{name}"))
    upgrade(url)
    try:
        yield url
    finally:
        with psycopg.connect(admin, autocommit=True) as connection:
            connection.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


@pytest.fixture
def migrated_url(migrated_database: str) -> str:
    """The URL of a database with today's tables and nothing in them."""
    import psycopg

    from yaosu.storage.tables import metadata

    with psycopg.connect(migrated_database.replace("+psycopg", "", 1)) as connection:
        # Only so can append-only tables be emptied: the triggers sleep in this role.
        connection.execute("SET session_replication_role = replica")
        names = ", ".join(f'"{table}"' for table in metadata.tables)
        connection.execute(f"TRUNCATE {names} RESTART IDENTITY")
    return migrated_database


@pytest.fixture(params=["sqlite", "postgresql"])
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where an empty store is, on each database in turn."""
    if request.param == "sqlite":
        from template import with_tables

        return str(with_tables(tmp_path / "data"))
    url: str = request.getfixturevalue("migrated_url")
    return url


@pytest.fixture
def open_here(store_url: str, clock: HeldClock) -> Iterator[Callable[..., Any]]:
    """Open the store of this test, again and again; what is left open is closed."""
    from yaosu.storage.sql import open_store

    opened: list[Any] = []

    def open_again(**options: Any) -> Any:
        store = open_store(store_url, **{"clock": clock, **options})
        opened.append(store)
        return store

    yield open_again
    for store in opened:
        store.close()


@pytest.fixture
def store(open_here: Callable[..., Any]) -> Any:
    """A store of the market: every adapter keeps the same promises."""
    return open_here()


# --- Chromium ----------------------------------------------------------------------------------


@pytest.fixture(scope="session")
def chromium() -> str:
    """The path of the system's Chromium."""
    names = ("chromium", "chromium-browser", "google-chrome")
    path = next(filter(None, map(shutil.which, names)), None)
    if path is None:
        missing("no Chromium")
    return str(path)
