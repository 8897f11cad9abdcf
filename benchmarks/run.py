"""Runs every benchmark beside this file and writes `results/<name>.json`, the machine named.

    python benchmarks/run.py                 all of them
    python benchmarks/run.py search upload   only these
    python benchmarks/run.py --quick         small inputs: does it run at all?

A benchmark is a module with `measure(quick: bool) -> Iterable[Figure]`. Each runs in a process of
its own, so that memory and imports of one do not colour the next.
"""

from __future__ import annotations

import argparse
import importlib
import json
import os
import platform
import subprocess
import sys
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"
NOT_BENCHMARKS = {"run", "figure"}


def names() -> list[str]:
    return sorted(
        path.stem
        for path in HERE.glob("*.py")
        if path.stem not in NOT_BENCHMARKS and "\ndef measure(" in path.read_text("utf-8")
    )


def machine() -> dict[str, Any]:
    """Return what the figures depend on, without naming the host."""
    cpu = platform.processor() or platform.machine()
    memory = None
    try:
        lines = Path("/proc/cpuinfo").read_text("utf-8").splitlines()
        cpu = next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
        memory = round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30, 1)
    except (OSError, StopIteration, ValueError):
        pass
    return {
        "cpu": cpu,
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None,
        "memory_gib": memory,
        "system": f"{platform.system()} {platform.release()}",
        "python": platform.python_version(),
        "load_before": round(os.getloadavg()[0], 2),
    }


def commit() -> str | None:
    run = subprocess.run(
        ["git", "describe", "--always", "--dirty"],
        cwd=HERE, capture_output=True, text=True, check=False,
    )  # fmt: skip
    return run.stdout.strip() or None


def measure(name: str, *, quick: bool) -> None:
    """Run one benchmark in this process and write its result."""
    told = {
        "benchmark": name,
        "quick": quick,
        "at": datetime.now(UTC).isoformat(timespec="seconds").replace("+00:00", "Z"),
        "commit": commit(),
        "machine": machine(),
    }
    start = time.perf_counter()
    module = importlib.import_module(name)
    told["title"] = (module.__doc__ or name).strip().splitlines()[0]
    told["figures"] = [figure.as_json() for figure in module.measure(quick)]
    told["seconds"] = round(time.perf_counter() - start, 1)
    RESULTS.mkdir(exist_ok=True)
    place = RESULTS / f"{name}{'.quick' if quick else ''}.json"
    place.write_text(json.dumps(told, ensure_ascii=False, indent=2) + "\n", "utf-8")
    show(told)


def show(told: dict[str, Any]) -> None:
    print(f"\n{told['title']}  ({told['seconds']} s)")
    for figure in told["figures"]:
        mark = {True: "ok", False: "MISSED"}.get(figure.get("reached"), "")
        goal = f"goal {figure['goal']:g}" if "goal" in figure else ""
        peer = f"{figure['peer']}: {figure['peer_value']:g}" if "peer_value" in figure else ""
        row = f"  {figure['name']:<56} {figure['value']:>12,.4g} {figure['unit']:<8}"
        print(" ".join(filter(None, (row, goal, mark, peer, figure.get("note", "")))))
    sys.stdout.flush()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", metavar="NAME", help=", ".join(names()))
    parser.add_argument("--quick", action="store_true", help="small inputs")
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    given = parser.parse_args()
    unknown = sorted(set(given.names) - set(names()))
    if unknown:
        parser.error(f"no such benchmark: {', '.join(unknown)}; there are {', '.join(names())}")
    if given.one:
        measure(given.names[0], quick=given.quick)
        return 0
    failed = []
    for name in given.names or names():
        command = [sys.executable, __file__, "--one", name, *(["--quick"] if given.quick else [])]
        if subprocess.run(command, cwd=HERE.parent, check=False).returncode:
            failed.append(name)
    if failed:
        print(f"\ndid not finish: {', '.join(failed)}", file=sys.stderr)
    return bool(failed)


if __name__ == "__main__":
    sys.exit(main())
