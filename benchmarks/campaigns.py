"""Prints what the last long campaigns found (`make campaign` writes results/campaign_*.json).

python benchmarks/campaigns.py
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).resolve().parent / "results"


def counted(facts: dict[str, Any]) -> str:
    """Return the counts of a campaign in one line."""
    return ", ".join(
        f"{name.replace('_', ' ')} {sum(v.values()) if isinstance(v, dict) else v:,}"
        for name, v in facts.items()
    )


def main() -> int:
    broken = 0
    for path in sorted(RESULTS.glob("campaign_*.json")):
        told = json.loads(path.read_text("utf-8"))
        broken += bool(told["violations"])
        fine = "ok" if told["whole"] else "ok, short"
        mark = fine if not told["violations"] else f"{told['violations']} BROKEN"
        print(f"{told['campaign']:<22} {mark:<10} {told['goal']}")
        print(f"{'':<22} {'':<10} {counted(told['counted'])}  ({told['at']}, {told['commit']})")
    return bool(broken)


if __name__ == "__main__":
    sys.exit(main())
