"""What a benchmark or a word list holds, in counts and digests: none of its text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from yaosu_schemas.errors import InvalidInput

from .contamination import LEAST, index_of
from .safety_words import load


def told_of(path: Path, kind: str) -> dict[str, Any]:
    """Return what is looked for in a file: items or words, and their digest."""
    if kind == "ruleset":
        lexicon = load(str(path))
        sizes = {name: count for name, count in lexicon.sizes.items() if count}
        return {"digest": lexicon.digest, "words": len(lexicon.words), "categories": sizes}
    index = index_of(path)
    if not (index.lengths > 0).any():
        raise InvalidInput(
            "the file holds no item of a benchmark", "文件中没有评测项", field="benchmarks"
        )
    return {
        "digest": f"sha256:{index.sha256}",
        "items": index.items,
        "short_items": int((index.lengths < LEAST).sum()),
    }
