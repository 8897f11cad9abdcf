"""The command line as a person or a program uses it: arguments in, exit code and output out."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from yaosu.cli import app
from yaosu.commands.terminal import guarded


@dataclass
class Said:
    """What one command said."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one JSON document on stdout."""
        return json.loads(self.out)


class Terminal:
    """Runs commands in this process, with a home and an environment of their own."""

    def __init__(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, home: Path
    ) -> None:
        self._capsys = capsys
        self._monkeypatch = monkeypatch
        self.home = home

    def __call__(self, *args: object, key: str | None = None, market: str | None = None) -> Said:
        for name, value in (("YAOSU_KEY", key), ("YAOSU_MARKET", market)):
            if value is not None:
                self._monkeypatch.setenv(name, value)
        self._capsys.readouterr()
        words = [str(a) for a in args]
        code = guarded(lambda: app(words, prog_name="yaosu"))
        said = self._capsys.readouterr()
        return Said(code, said.out, said.err)

    def ok(self, *args: object, **more: Any) -> Any:
        """Run with --json; returns the document of a command that must succeed."""
        said = self(*args, "--json", **more)
        assert said.code == 0, said.err
        return said.json


def terminal_in(
    home: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Terminal]:
    """Yield a terminal whose home, settings and working folder are `home`."""
    import os

    for name in [n for n in os.environ if n.startswith("YAOSU_")]:
        monkeypatch.delenv(name)
    for name in ("XDG_CONFIG_HOME", "XDG_STATE_HOME", "XDG_CACHE_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir(home)
    yield Terminal(capsys, monkeypatch, home)
