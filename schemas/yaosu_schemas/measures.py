"""What measures of quality mean: names, formulas and sources of every id that a report may carry.

The ids are namespaced by who defined them (`gbt36344:`, `tc609:`, `tc260:`, `iso5259:`, `own:`);
what follows a dot narrows a measure (`own:pii_density.confirmed`) and means the same. They are
reported and not certified: `status` says how well the source is known.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, cast

from .codes import code_list
from .errors import Text

Part = Literal["documentation", "data", "application"]
Direction = Literal["up", "down", "informative"]
PARTS: dict[Part, Text] = {
    "documentation": Text("Documentation", "说明文档"),
    "data": Text("Quality of the data", "数据质量"),
    "application": Text("Fitness for models", "模型应用"),
}
STATUS = {
    "recalled": Text("numbering recalled, the text was not read", "编号凭记忆，未核对原文"),
    "third_party": Text(
        "code from a third party, formula ours", "代码来自第三方资料，公式由本系统定义"
    ),
    "own": Text("defined by this system", "由本系统定义"),
}


@dataclass(frozen=True, slots=True)
class Measure:
    """One measure as its source names it, and the formula by which it is counted here."""

    id: str
    name: Text
    formula: Text
    part: Part
    direction: Direction
    unit: str
    source: str
    status: str
    check: str  # which check counts it, where one does
    findings: tuple[str, ...]  # kinds of findings that say which records are behind the number


def measure(id_: str) -> Measure | None:
    """Return the measure of an id, or of what it narrows; None for an id that nobody defined."""
    known = code_list("quality_measure")
    entry = known.get(id_) or known.get(id_.split(".", 1)[0])
    if entry is None:
        return None
    return Measure(
        id=entry.code,
        name=entry.text,
        formula=Text(entry["formula"], entry["formula_zh"]),
        part=cast(Part, entry["part"]),
        direction=cast(Direction, entry["direction"]),
        unit=entry["unit"],
        source=entry["source"],
        status=entry["status"],
        check=entry["check"],
        findings=tuple(entry["findings"].split()),
    )
