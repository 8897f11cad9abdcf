"""Secrets never in logs: what every process of a run logs is searched when the run ends.

Each process writes what is logged (whatever the handlers do with it) and every secret it makes into
one folder; children take part through `childlogs/sitecustomize.py`. The first process of the run
searches at its end: for each secret by value, and for anything of the form of one.
"""

from __future__ import annotations

import atexit
import contextlib
import hmac
import logging
import os
import re
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

FOLDER = "YAOSU_LEAKS"
SHORTEST = 20
"""Characters: what is shorter is no secret of ours, and would be found everywhere."""
FORMS = {
    "access key, token of a trade": r"yk_[0-9a-f]{32}_[A-Za-z0-9_-]{20,}",
    "secret of a webhook": r"whs[ek]c?_[A-Za-z0-9+/=_-]{24,}",
    "link to a file": r"signature=[0-9a-f]{64}",
    "session": r"key_[0-9a-f]{32}\.[0-9]{9,12}\.[0-9a-f]+\.[0-9a-f]{64}",
    "token of a form": r"form.token[\"'=: ]+[0-9a-f]{64}",
    "header with a key": r"(?i)bearer [A-Za-z0-9_-]{20,}",
}
_FORM = re.compile("|".join(f"({form})" for form in FORMS.values()).replace("(?i)", ""))
_TOKEN = re.compile(rf"[A-Za-z0-9_+/=-]{{{SHORTEST},}}")


def listen(folder: Path) -> None:
    """Have this process write what it logs, and the secrets it makes, into the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    logs = folder / f"{os.getpid()}.log"
    known = folder / f"{os.getpid()}.secrets"
    made: set[str] = set()

    def write(text: str, path: Path = logs) -> None:
        with contextlib.suppress(OSError), path.open("a", encoding="utf-8", errors="replace") as f:
            f.write(text + "\n")

    # A test that signs in with a provider is the browser and the provider too: what they write of
    # their own wire, and of addresses that carry a `state` (RFC 6749 §4.1.1) or an invitation, is
    # no log of ours.
    def foreign(record: logging.LogRecord) -> object:
        if record.name.split(".")[0] in ("werkzeug", "httpcore2"):
            return True
        return record.name == "httpx2" and re.search(r"[?&](state|join)=", record.getMessage())

    hand_on = logging.Logger.callHandlers  # after the filters
    plain = logging.Formatter("%(name)s %(levelname)s %(message)s")

    def handled(self: logging.Logger, record: logging.LogRecord) -> None:
        with contextlib.suppress(Exception):  # what cannot be written is the test's own business
            if not foreign(record):
                write(plain.format(record))
            record.exc_text = None  # others may format the traceback in their own way
        hand_on(self, record)

    def remember(text: str) -> str:
        if len(text) >= SHORTEST and text not in made:
            made.add(text)
            write(text, known)
        return text

    token, mac = secrets.token_urlsafe, hmac.new

    def new_mac(*args: Any, **more: Any) -> hmac.HMAC:
        found = mac(*args, **more)
        remember(found.hexdigest())
        return found

    logging.Logger.callHandlers = handled  # type: ignore[method-assign]
    secrets.token_urlsafe = lambda *a, **k: remember(token(*a, **k))
    hmac.new = new_mac  # type: ignore[assignment]
    _tee_children(write)
    # What is quiet by default is heard here; without handlers it still reaches nobody else.
    for name in ("yaosu", "uvicorn"):
        logging.getLogger(name).setLevel(logging.INFO)
    atexit.register(logging.shutdown)


def _tee_children(write: Callable[[str], None]) -> None:
    """Take part in what children wrote to stderr, where a test reads it."""
    communicate = subprocess.Popen.communicate

    def told(self: Any, *args: Any, **more: Any) -> Any:
        out, err = communicate(self, *args, **more)
        if err:
            write(err if isinstance(err, str) else err.decode(errors="replace"))
        return out, err

    subprocess.Popen.communicate = told  # type: ignore[method-assign]


def found_in(folder: Path) -> list[str]:
    """Return what leaked: the kind, where, and the line with the secret taken out."""
    made: set[str] = set()
    for path in folder.glob("*.secrets"):
        made.update(path.read_text("utf-8").split())
    found = []
    for path in sorted(folder.glob("*.log")):
        with path.open(encoding="utf-8", errors="replace") as lines:
            for number, line in enumerate(lines, 1):
                for kind, secret in _leaks(line, made):
                    shown = line.strip().replace(secret, "***")[:300]
                    found.append(f"{kind}: {path.name}:{number}: {shown}")
    return found


def _leaks(line: str, made: set[str]) -> Iterator[tuple[str, str]]:
    whole = _FORM.search(line)
    if whole is not None:
        kind = next(k for k, part in zip(FORMS, whole.groups(), strict=True) if part)
        yield kind, whole.group()
        return
    for token in _TOKEN.findall(line):
        parts = {token, *re.split(r"[=/+]", token), token.rpartition("_")[2]}
        if token.startswith("yk_"):
            parts.add(token.split("_", 2)[-1])
        if hit := next((p for p in parts if p in made), None):
            yield "a secret of this run", hit
            return


class Leaks:
    """The plugin: registered in every process of a run, searches in the first."""

    def __init__(self) -> None:
        given = os.environ.get(FOLDER)
        self.first = given is None
        self.folder = Path(given or tempfile.mkdtemp(prefix="yaosu-leaks-"))
        self.found: list[str] = []
        self.lines = 0
        os.environ[FOLDER] = str(self.folder)
        children = str(Path(__file__).parent / "childlogs")
        before = os.environ.get("PYTHONPATH")
        os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, (children, before)))
        listen(self.folder)

    def pytest_runtest_logreport(self, report: Any) -> None:
        """Take what children and servers wrote to stderr, as pytest caught it."""
        texts = [text for name, text in report.sections if "stderr" in name]
        if texts:
            path = self.folder / f"{os.getpid()}-stderr.log"
            with path.open("a", encoding="utf-8", errors="replace") as file:
                for line in "\n".join(texts).split("\n"):
                    file.write(f"{report.nodeid} {line}\n")

    def pytest_sessionfinish(self, session: Any) -> None:
        if not self.first:
            return
        self.lines = sum(_lines(path) for path in self.folder.glob("*.log"))
        self.found = found_in(self.folder)
        if self.found:
            session.exitstatus = 1

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        if self.found:
            terminalreporter.section("secrets in logs", red=True)
            for leak in self.found[:50]:
                terminalreporter.write_line(leak)

    def pytest_unconfigure(self) -> None:
        if self.first:
            os.environ.pop(FOLDER, None)
            shutil.rmtree(self.folder, ignore_errors=True)


def _lines(path: Path) -> int:
    with path.open("rb") as file:
        return sum(1 for _ in file)


def searched(texts: Iterable[str], made: Iterable[str], folder: Path) -> list[str]:
    """Search texts as if a run had logged them: for the test of the search itself."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "x.secrets").write_text("\n".join(made), encoding="utf-8")
    (folder / "x.log").write_text("\n".join(texts), encoding="utf-8")
    return found_in(folder)
