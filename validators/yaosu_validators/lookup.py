"""Records of a resource by the row numbers that a report names, for those who may read them."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from yaosu_schemas.errors import NotFound, Unsupported
from yaosu_schemas.texts import clip

from .corpus.reading import table_batches
from .plans import make_plan
from .preview import cell
from .sources import OpenFile
from .streams import SourceProblem

CUT = 2000
MOST = 200


def records_at(
    target: str | Path,
    resource: str,
    rows: Sequence[int],
    *,
    by_number: bool = False,
    cut: int = CUT,
) -> dict[str, Any]:
    """Return the records at some rows (as reports count them), with texts cut at `cut` characters.

    `by_number` takes `rows` as the numbers of records instead, counted from 0.

    At most 200 are returned; a row that holds no record is left out. NotFound for a resource that
    the target does not have, Unsupported for one without records.
    """
    wanted = sorted({int(n) for n in rows})[:MOST]
    found: list[dict[str, Any]] = []
    with make_plan(target) as plan:
        chosen = next((r for r in plan.resources if r.name == resource), None)
        if chosen is None:
            raise NotFound(
                f"there is no resource {clip(resource)!r}", f"没有资源“{clip(resource)}”"
            )
        if chosen.type != "table":
            raise Unsupported(f"{clip(resource)!r} holds no records", f"“{clip(resource)}”不含记录")
        if not wanted:
            return {"resource": resource, "rows": []}
        with OpenFile(chosen) as file:
            try:
                seen = 0
                for batch in table_batches(file):
                    numbers = np.arange(seen, seen + len(batch.rows))
                    keys = numbers if by_number else batch.rows
                    for at in np.flatnonzero(np.isin(keys, wanted)).tolist():
                        place = {"row": int(batch.rows[at]), "number": int(numbers[at])}
                        found.append({**place, "record": _record(batch, at, cut)})
                    seen += len(batch.rows)
                    if (seen > wanted[-1]) if by_number else (batch.numbers >= wanted[-1]):
                        break
            except SourceProblem as why:
                note = why.finding.note
                return {
                    "resource": resource,
                    "rows": found,
                    "error": {"type": why.finding.type, "message": note.en, "message_zh": note.zh},
                }
    return {"resource": resource, "rows": found}


def _record(batch: Any, at: int, cut: int) -> Any:
    if isinstance(batch.records, pa.RecordBatch):
        return cell(batch.records.slice(at, 1).to_pylist()[0], cut)
    return cell(batch.records[at], cut)
