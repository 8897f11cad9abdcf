"""Every word of the pages, in both languages: read from `texts.csv`, one sentence a line.

Names of codes are not here but in the code lists; messages of errors stand where they are raised.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from importlib.resources import files

from yaosu.errors import Text


def _read() -> dict[str, Text]:
    table = files("yaosu.web").joinpath("texts.csv").read_text("utf-8")
    return {row["name"]: Text(row["en"], row["zh"]) for row in csv.DictReader(io.StringIO(table))}


TEXTS: Mapping[str, Text] = _read()
"""Sentence by name; a page that asks for a name that is not here fails in the tests."""


def said(name: str) -> Text:
    """Return the sentence of that name; a name without one says its own last word."""
    word = name.rpartition(".")[2]
    return TEXTS.get(name) or Text(word, word)
