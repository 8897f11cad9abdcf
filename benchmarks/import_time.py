"""How long `import yaosu` takes, and what the client adds to it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from statistics import median

from figure import Figure

CODE = "import time; t = time.perf_counter(); {work}; print(time.perf_counter() - t)"


def seconds(work: str, times: int) -> float:
    """Return the median over fresh interpreters, after one to warm the disk."""
    command = [sys.executable, "-I", "-c", CODE.format(work=work)]
    runs = [
        float(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        for _ in range(times + 1)
    ]
    return round(median(runs[1:]), 4)


def measure(quick: bool) -> Iterator[Figure]:
    times = 3 if quick else 15
    yield Figure(name="import yaosu", value=seconds("import yaosu", times), unit="s", goal=0.15)
    yield Figure(
        name="import yaosu; yaosu.Client",
        value=seconds("import yaosu; yaosu.Client", times),
        unit="s",
        peer="import httpx2",
        peer_value=seconds("import httpx2", times),
    )
