"""What each surface keeps of a record, as tables for the documentation, made of the mappings.

`python -m yaosu_connectors.mappings docs/connectors.md` writes them between their marks.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from . import card, ckan_package, croissant, dcat, exchange, oai, schema_org
from .published import Mapped, table

BEGIN, END = "<!-- mappings: begin -->", "<!-- mappings: end -->"
SURFACES: Mapping[str, Sequence[Mapped]] = {
    "CKAN packages": ckan_package.FIELDS,
    "Croissant 1.1": croissant.FIELDS,
    "schema.org/Dataset": schema_org.FIELDS,
    "DCAT-AP 3.0.1": dcat.FIELDS,
    "OAI-PMH, oai_dc": oai.FIELDS,
    **{
        f"{made.title.en} (`{made.name}`: {made.notice.en})": tuple(made.mapped())
        for made in map(exchange.form, exchange.names())
    },
    "README cards of Hugging Face and ModelScope": card.FIELDS,
}


def text() -> str:
    """Return the tables of all surfaces as Markdown."""
    parts = ["\n".join([f"### {name}", "", *table(SURFACES[name])]) for name in SURFACES]
    return "\n\n".join([BEGIN, *parts, END])


def written(document: str) -> str:
    """Return a document with fresh tables between its marks."""
    before, _, rest = document.partition(BEGIN)
    return before + text() + rest.partition(END)[2]


if __name__ == "__main__":
    path = Path(sys.argv[1])
    path.write_text(written(path.read_text("utf-8")), "utf-8")
