"""Lets a child process of the suite take part in the search for secrets in logs."""

import contextlib
import os
import sys
from pathlib import Path

if os.environ.get("YAOSU_LEAKS"):
    with contextlib.suppress(Exception):
        sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
        import leaks

        sys.path.pop(0)
        leaks.listen(Path(os.environ["YAOSU_LEAKS"]))
