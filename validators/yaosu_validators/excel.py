"""The one door to the frictionless library: rows of XLSX, XLS and ODS sheets.

Its types stay in this file, and it is loaded only here. It trusts what it reads, so the market
calls it in the sandboxed child alone.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping
from typing import Any

from yaosu_schemas.errors import Text
from yaosu_schemas.texts import clip

from .check import Finding
from .streams import SourceProblem


def sheet_rows(book: bytes, format_: str, controls: Mapping[str, Any]) -> Iterator[list[Any]]:
    """Yield the rows of one sheet as lists of Python values; SourceProblem if it is unreadable."""
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
        raise SourceProblem(Finding(type=why.error.type, note=Text(note, note))) from None
    except Exception as why:  # its readers raise whatever the file makes them raise
        note = clip(f"{type(why).__name__}: {why}", 200)
        raise SourceProblem(Finding(type="source-error", note=Text(note, note))) from None
