"""Every example of the guides runs, in order, against a demonstration market."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from people import Hall, open_hall
from yaosu import demo

DOCS = Path(__file__).resolve().parent.parent / "docs"
BLOCK = re.compile(r"^```(console|python)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
GUIDES = ("provider", "developer", "exchange", "operate", "money", "organisation")


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Hall, dict[str, str]]]:
    with open_hall(tmp_path_factory.mktemp("demo"), people=False) as hall:
        yield hall, demo.fill(hall.market)


def script(guide: Path) -> str:
    """Return the guide's examples as one shell script that stops at the first failure."""
    lines = ["set -euo pipefail"]
    for language, body in BLOCK.findall(guide.read_text(encoding="utf-8")):
        if language == "console":
            lines += [line[2:] for line in body.splitlines() if line.startswith("$ ")]
        else:
            lines += ["python - <<'PYTHON'", body.rstrip(), "PYTHON"]
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("name", GUIDES)
def test_the_examples_of_a_guide_run(
    shown: tuple[Hall, dict[str, str]], tmp_path: Path, name: str
) -> None:
    hall, keys = shown
    text = script(DOCS / f"{name}.md")
    assert text.count("\n") > 1
    env = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
        "HOME": str(tmp_path),
        "YAOSU_MARKET": hall.address,
        "PROVIDER_KEY": keys["lingnan-data"],
        "BUYER_KEY": keys["zhujiang-model"],
        "REVIEWER_KEY": keys["reviewer"],
        "ADMIN_KEY": keys["operator"],
        "DATA_FOLDER": str(hall.market.settings.folder),
        "LC_ALL": "C.UTF-8",
    }
    ran = subprocess.run(
        ["bash", "-c", text], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=180
    )
    assert ran.returncode == 0, f"{ran.stdout[-2000:]}\n{ran.stderr[-3000:]}"


def test_every_guide_and_link_is_there() -> None:
    for guide in DOCS.glob("*.md"):
        for link in re.findall(r"\]\(([^)#]+?)(?:#[^)]*)?\)", guide.read_text(encoding="utf-8")):
            if "://" not in link:
                assert (guide.parent / link).exists(), f"{guide.name}: {link}"
