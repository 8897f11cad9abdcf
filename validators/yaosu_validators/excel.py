"""The one door to the frictionless library: rows of XLSX, XLS and ODS sheets.

Its types stay in this file. It trusts what it reads, so it runs in the sandboxed child alone:
whoever asks for rows outside of one starts a child that sends them back as JSON.
"""

from __future__ import annotations

import os
import tempfile
import warnings
from collections.abc import Iterator, Mapping
from datetime import date, datetime, time
from pathlib import Path
from typing import Any

from yaosu_schemas.errors import Text
from yaosu_schemas.texts import clip

from .check import Finding
from .sandbox import IN_CHILD, Limits, run_in_sandbox
from .streams import SourceProblem, problem

_TYPED: dict[str, Any] = {"datetime": datetime, "date": date, "time": time}


def sheet_rows(book: bytes, format_: str, controls: Mapping[str, Any]) -> Iterator[list[Any]]:
    """Yield the rows of one sheet as lists of Python values; SourceProblem if it is unreadable.

    SandboxFailed where this machine cannot shut a reader in, and `YAOSU_SANDBOX=false` was not
    said either.
    """
    if IN_CHILD in os.environ:
        yield from _read(book, format_, controls)
        return
    trusted = os.environ.get("YAOSU_SANDBOX", "").lower() in ("0", "false", "no", "off")
    with tempfile.NamedTemporaryFile(prefix="yaosu-sheet-") as copy:
        copy.write(book)
        copy.flush()
        answer = run_in_sandbox(
            "sheet",
            target=Path(copy.name),
            args={"format": format_, "controls": dict(controls)},
            limits=Limits.for_bytes(len(book), sandbox=not trusted),
        )
    error = answer.get("error")
    if isinstance(error, dict):
        kind, words = str(error.get("type")), (error.get("message"), error.get("message_zh"))
        raise SourceProblem(Finding(type=kind, note=Text(*(clip(w or "") for w in words))))
    yield from _rows(answer.get("rows"))


def told_rows(target: str, args: Mapping[str, Any]) -> dict[str, Any]:
    """Return the rows of a sheet as JSON, inside the child; what cannot be read is an `error`."""
    rows = _read(Path(target).read_bytes(), args["format"], args["controls"])
    try:
        return {"rows": [[_told(value) for value in row] for row in rows]}
    except SourceProblem as why:
        note = why.finding.note
        error = {"type": why.finding.type, "message": note.en, "message_zh": note.zh}
        return {"error": error}


def _told(value: Any) -> Any:
    if value is None or isinstance(value, str | bool | int):
        return value
    if isinstance(value, float) and value - value == 0:
        return value
    for name, kind in _TYPED.items():
        if isinstance(value, kind):
            return {name: value.isoformat()}
    return {"float": repr(value)} if isinstance(value, float) else str(value)


def _rows(rows: object) -> Iterator[list[Any]]:
    """Take what a child told; one that was taken over may have said anything."""
    if not isinstance(rows, list):
        raise _garbled()
    for row in rows:
        if not isinstance(row, list):
            raise _garbled()
        yield [_heard(value) if isinstance(value, dict) else value for value in row]


def _heard(value: dict[str, Any]) -> Any:
    try:
        ((kind, text),) = value.items()
        return float(text) if kind == "float" else _TYPED[kind].fromisoformat(text)
    except (KeyError, TypeError, ValueError):
        raise _garbled() from None


def _garbled() -> SourceProblem:
    return problem("source-error", "its reader gave no rows", "读取程序未返回行")


_DAMAGED = Text(
    "the workbook is damaged, has a password, or is none of this format",
    "工作簿已损坏、设有密码，或不是该格式",
)


def _read(book: bytes, format_: str, controls: Mapping[str, Any]) -> Iterator[list[Any]]:
    from frictionless import Dialect, FrictionlessException, system
    from frictionless.resources import TableResource

    kind = "ods" if format_ == "ods" else "excel"
    described: dict[str, Any] = {"header": False}
    if isinstance(controls.get(kind), Mapping):
        described[kind] = dict(controls[kind])
    try:
        with warnings.catch_warnings(), system.use_context(trusted=True):
            warnings.simplefilter("ignore")
            resource = TableResource(
                data=book,
                scheme="buffer",
                format=format_,
                dialect=Dialect.from_descriptor(described),
            )
            parser = system.create_parser(resource)
            with parser:
                yield from parser.cell_stream
    except FrictionlessException as why:
        note = clip(why.error.note, 200)
        text = _DAMAGED if note.startswith("invalid excel file") else Text(note, note)
        raise SourceProblem(Finding(type=why.error.type, note=text)) from None
    except Exception as why:  # its readers raise whatever the file makes them raise
        note = clip(f"{type(why).__name__}: {why}", 200)
        raise SourceProblem(Finding(type="source-error", note=Text(note, note))) from None
