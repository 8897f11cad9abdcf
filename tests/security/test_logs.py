"""The search for secrets in logs finds them: a control for the plugin that watches every run."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from pathlib import Path

import httpx2
import pytest

import leaks
from people import Hall

KEY = "yk_" + "0a" * 16 + "_" + "Zm9vYmFyYmF6cXV4-_Zm9vYmFyYmF6cXV4Zm9vYmFyYm"
MAC = "ab" * 32


@pytest.mark.parametrize(
    "line",
    [
        f"GET /v1/me with {KEY}",
        f"authorization: Bearer {KEY.removeprefix('yk_')}",
        f"the secret alone: {KEY.rpartition('_')[2]}",
        f"whsec_{'A' * 32}",
        f"GET /v1/deliveries/dlv_1/files/0?expires=1&key=key_1&signature={MAC}",
        f"cookie yaosu_session=key_{'0' * 32}.1790000000.ab12.{MAC}",
        f"form_token={MAC}",
        f"a MAC of this run {MAC}",
    ],
)
def test_a_secret_in_a_line_is_found(line: str, tmp_path: Path) -> None:
    made = [KEY.rpartition("_")[2], MAC]
    (found,) = leaks.searched(["nothing here", line], made, tmp_path)
    assert KEY.rpartition("_")[2] not in found
    assert MAC not in found


def test_what_is_no_secret_is_not_called_one(tmp_path: Path) -> None:
    lines = [f"sha256:{'cd' * 32}", "key_" + "0" * 32, "trd_" + "1" * 32, "Bearer of a link"]
    assert leaks.searched(lines, [MAC], tmp_path) == []


PLANTED = """
import logging, secrets, subprocess, sys

log = logging.getLogger("yaosu.planted")


def test_one():
    log.info("plant-1 %s", secrets.token_urlsafe(32))
    log.warning("plant-2 %s", "yk_" + "0a" * 16 + "_" + "b" * 43)


def test_two():
    try:
        raise ValueError("plant-3 " + secrets.token_urlsafe(32))
    except ValueError:
        log.exception("failed")
    print("plant-4 whsec_" + "A" * 32, file=sys.stderr)
    code = "import logging, secrets; log = logging.getLogger('x'); "
    code += "log.error('plant-5 %s', secrets.token_urlsafe(32))"
    subprocess.run([sys.executable, "-c", code], check=True)
"""
CONFTEST = """
from leaks import Leaks


def pytest_configure(config):
    config.pluginmanager.register(Leaks())
"""


@pytest.mark.parametrize("workers", [[], ["-n", "2"]], ids=["alone", "two workers"])
def test_a_run_that_logs_a_secret_fails(tmp_path: Path, workers: list[str]) -> None:
    (tmp_path / "conftest.py").write_text(CONFTEST, encoding="utf-8")
    (tmp_path / "test_planted.py").write_text(PLANTED, encoding="utf-8")
    ran = _run(tmp_path, *workers)
    assert ran.returncode == 1, ran.stdout
    assert "secrets in logs" in ran.stdout
    for plant in range(1, 6):
        assert f"plant-{plant} ***" in ran.stdout, ran.stdout
    if not workers:
        (tmp_path / "test_planted.py").write_text("def test_it():\n    pass\n", encoding="utf-8")
        assert _run(tmp_path).returncode == 0


def _run(folder: Path, *more: str) -> subprocess.CompletedProcess[str]:
    env = {k: v for k, v in os.environ.items() if k != leaks.FOLDER}
    env["PYTHONPATH"] = str(Path(leaks.__file__).parent)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *more]
    return subprocess.run(
        [*command, "-c", os.devnull, "--rootdir", str(folder), str(folder)],
        cwd=folder, env=env, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


def test_this_very_run_is_watched(hall: Hall) -> None:
    folder = Path(os.environ[leaks.FOLDER])
    logging.getLogger("yaosu.test").info("heard %s", hall.address)
    assert f"heard {hall.address}" in (folder / f"{os.getpid()}.log").read_text("utf-8")
    made = (folder / f"{os.getpid()}.secrets").read_text("utf-8").split()
    assert str(hall.admin.key).split("_", 2)[2] in made


def test_who_logs_the_requests_of_the_client_logs_no_link(caplog: pytest.LogCaptureFixture) -> None:
    from yaosu.client.connection import Connection

    assert Connection is not None
    url = httpx2.URL(f"http://h/f?a=1&signature={MAC}")
    with caplog.at_level(logging.INFO, "httpx2"):
        logging.getLogger("httpx2").info('HTTP Request: %s %s "%d"', "GET", url, 200)
    assert "http://h/f?a=1&signature=***" in caplog.text
    assert MAC not in caplog.text
