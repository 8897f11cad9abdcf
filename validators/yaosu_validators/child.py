"""What runs inside the sandbox: one job on one target, then the end.

The parent (`sandbox.py`) sends one JSON document on standard input and reads JSON lines from
the descriptor named there: `ready`, any number of `progress`, and one of `result`, `refused`
(a typed error of ours) or `failed` (the reader gave up).
"""

from __future__ import annotations

import errno
import json
import os
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, is_dataclass
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from yaosu_schemas.errors import Text, YaosuError

from .check import GROUP, check_names
from .confine import UNAVAILABLE_EXIT, Unconfined, confine, die_with_parent, limit
from .nursery import serve

Say = Callable[[dict[str, object]], None]
Job = Callable[[str, dict[str, Any], Say], object]

_PROGRESS_EVERY_S = 0.2
_WARM = (
    *("pyseccomp", "pyarrow.csv", "pyarrow.parquet", "numpy.ma", "ijson", "re2", "zstandard"),
    *("jsonschema", "isodate", "dateutil.parser", "chardet", "_strptime"),
    *("yaosu_validators.columns", "yaosu_validators.records", "yaosu_validators.filecheck"),
    *("yaosu_validators.column_profile", "yaosu_validators.corpus.folds", "yaosu_validators.geo"),
    *("yaosu_validators.blocks", "yaosu_validators.batches", "yaosu_validators.lines"),
    *("yaosu_validators.corpus.clusters", "yaosu_validators.describe", "yaosu_validators.steady"),
)
"""Loaded by a job only when it comes to it, and by a zygote beforehand."""


def main(jobs: Mapping[str, Job] | None = None) -> None:
    """Answer the one request on standard input; never returns to the caller's code.

    With a descriptor as argument this is a zygote, and what goes on below are its children.
    """
    zygote = len(sys.argv) > 1
    if zygote:
        _import_all()
        serve(int(sys.argv[1]))
    request = json.loads(sys.stdin.buffer.read())
    out = os.fdopen(request["answer_fd"], "wb", buffering=0)
    if not zygote:
        die_with_parent(request["parent"])
    os.environ["HOME"] = os.environ["TMPDIR"] = request["scratch"]
    job = ({**JOBS, **(jobs or {})})[request["job"]]
    _import_reader(request["job"])
    try:
        _shut_in(request)
    except (Unconfined, OSError, ValueError) as why:
        sys.stderr.write(f"SANDBOX-UNAVAILABLE {why}\n")
        sys.stderr.flush()
        os._exit(UNAVAILABLE_EXIT)

    def say(message: dict[str, object]) -> None:
        line = json.dumps(message, ensure_ascii=True, allow_nan=False, default=_plain)
        _write_all(out, line.encode() + b"\n")

    say({"ready": True})
    say(_answer(job, request["target"], request["args"], say))
    sys.stderr.flush()
    os._exit(0)  # no finalizer of a library gets to run on what the file left behind


def _answer(job: Job, target: str, args: dict[str, Any], say: Say) -> dict[str, object]:
    try:
        return {"result": job(target, args, say)}
    except MemoryError:
        return {"failed": "memory"}
    except YaosuError as refusal:
        return {"refused": {"kind": type(refusal).__name__, **refusal.as_json()}}
    except OSError as why:
        if why.errno in (errno.EFBIG, errno.ENOSPC, errno.EDQUOT):
            return {"failed": "disk"}
        return _crashed(why)
    except Exception as why:
        return _crashed(why)


def _crashed(why: Exception) -> dict[str, object]:
    """Name the class only: the message may quote cells, and paths of this machine."""
    import traceback

    traceback.print_tb(why.__traceback__)  # for the log of the server, without the message too
    return {"failed": "crash", "exception": type(why).__name__}


def _shut_in(request: dict[str, Any]) -> None:
    bounds = request["limits"]
    os.chdir(request["cwd"])
    if request["confined"]:
        confine(
            reads=[Path(path) for path in request["reads"]],
            lists=[Path(request["cwd"])],
            scratch=Path(request["scratch"]),
            **bounds,
        )
    else:
        limit(**bounds)


def _import_reader(job: str) -> None:
    """Load what the job reads with now: what only some formats need is loaded from inside."""
    homes = {
        "validate": "run",
        "describe": "describing.compose",
        "sheet": "excel",
        "records": "lookup",
        "registered": "corpus.registered",
    }
    home = homes.get(job, job if job in JOBS else None)
    if home is not None:
        import_module(f"yaosu_validators.{home}")


def _import_all() -> None:
    """Load what any job may want; checks of others are loaded in a child that is shut in."""
    for job in JOBS:
        _import_reader(job)
    for name in _WARM:
        import_module(name)
    if all(point.module.startswith("yaosu_validators.") for point in entry_points(group=GROUP)):
        check_names()


def _write_all(out: Any, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[out.write(view) :]


def _plain(value: object) -> object:
    """Return what JSON can say of `value`: our dataclasses as objects, the rest as text."""
    as_json = getattr(value, "as_json", None)
    if callable(as_json):
        return as_json()
    if is_dataclass(value) and not isinstance(value, type):
        return asdict(value)
    return str(value)


def _teller(say: Say) -> Callable[..., None]:
    """Return a progress callback that tells the parent at most five times a second.

    A file that is begun is always told: if its reader falls, the parent knows over what.
    """
    last = 0.0
    where: object = None

    def tell(*facts: object, **named: object) -> None:
        nonlocal last, where
        now = time.monotonic()
        here = facts[2] if len(facts) > 2 else None
        if now - last >= _PROGRESS_EVERY_S or here != where:
            last, where = now, here
            say({"progress": {"facts": list(facts), "named": named}})

    return tell


def _validate(target: str, args: dict[str, Any], say: Say) -> object:
    from yaosu_validators import validate

    wanted = {key: value for key, value in args.items() if value is not None}
    wanted["workers"] = 1  # no child may start another
    return validate(target, **wanted, progress=_teller(say)).as_json()


def _describe(target: str, args: dict[str, Any], say: Say) -> object:
    from .describe import describe

    paths = args.get("paths") or [target]
    broken = {path: (code, Text(en, zh)) for path, code, en, zh in args.get("broken") or ()}
    said = describe(
        paths,
        args.get("existing"),
        name=args.get("name"),
        progress=_teller(say),
        broken=broken,
    )
    return said.as_json()


def _preview(target: str, args: dict[str, Any], say: Say) -> object:
    from .preview import preview

    return preview(target, **args).as_json()


def _records(target: str, args: dict[str, Any], say: Say) -> object:
    from .lookup import records_at

    by_number = bool(args.get("by_number"))
    return records_at(target, args["resource"], args["rows"], by_number=by_number)


def _sheet(target: str, args: dict[str, Any], say: Say) -> object:
    from .excel import told_rows

    return told_rows(target, args)


def _columnar(target: str, args: dict[str, Any], say: Say) -> object:
    from .columnar import columnar

    return columnar(Path(target), args["resource"], Path(os.environ["TMPDIR"])).as_json()


def _registered(target: str, args: dict[str, Any], say: Say) -> object:
    from .corpus.registered import told_of

    return told_of(Path(target), args["kind"])


JOBS: dict[str, Job] = {
    "validate": _validate,
    "describe": _describe,
    "preview": _preview,
    "columnar": _columnar,
    "sheet": _sheet,
    "records": _records,
    "registered": _registered,
}


if __name__ == "__main__":
    main()
