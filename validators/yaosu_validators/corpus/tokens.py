"""How many tokens texts are, by a tokenizer that is named: one from a file, or an estimate.

An estimate is called one. It adds up characters by script over fixed rates, which lie within the
range of byte-pair vocabularies of 100,000 and more entries; a file of a tokenizer gives the number.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from yaosu_schemas.errors import InvalidInput

from .script import HAN, LATIN, LETTERS, Kind
from .view import Ints

# Characters for each 100 tokens.
_RATES: tuple[tuple[tuple[Kind, ...], int], ...] = (
    (LATIN, 450),
    ((*HAN, Kind.KANA, Kind.HANGUL), 150),
    ((Kind.CYRILLIC, Kind.GREEK), 280),
    (tuple(k for k in LETTERS if k > Kind.CYRILLIC and k != Kind.GREEK), 180),
    ((Kind.DIGIT,), 250),
    ((Kind.NEWLINE, Kind.MARK, Kind.WIDE, Kind.HASH, Kind.BRACE, Kind.LESS, Kind.AMPERSAND,
      Kind.DOT, Kind.ELLIPSIS, Kind.OTHER, Kind.REPLACEMENT, Kind.CONTROL, Kind.PRIVATE), 130),
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class TokenCounter:
    """Counts the tokens of texts; `method` says how, `digest` of which file."""

    name: str
    method: str
    digest: str
    count: Callable[[pa.LargeStringArray, Ints], int]

    def __call__(self, texts: pa.LargeStringArray, counts: Ints) -> int:
        """Return the tokens of all texts; counts: (n, KINDS) of `script`."""
        return self.count(texts, counts)

    def about(self) -> dict[str, Any]:
        told: dict[str, Any] = {"tokenizer": self.name, "method": self.method}
        return {**told, "sha256": self.digest} if self.digest else told


def estimate(texts: pa.LargeStringArray, counts: Ints) -> int:
    """Return an estimate from the characters of each script, rounded up for each text."""
    parts = np.zeros(len(counts), np.int64)  # in thousandths of a token
    for kinds, rate in _RATES:
        parts += counts[:, list(kinds)].sum(axis=1) * 100_000 // rate
    return int((-(-parts // 1000)).sum())


@functools.lru_cache(maxsize=4)
def counter_of(name: str) -> TokenCounter:
    """Return the counter of that name; InvalidInput where it is not on this machine."""
    if name == "estimate":
        rates = "Latin 4.5, Han, kana and hangul 1.5, Cyrillic and Greek 2.8, other letters 1.8, "
        method = f"estimate: characters per token {rates}digits 2.5, other signs 1.3"
        return TokenCounter("estimate-1", method, "", estimate)
    kind, _, place = name.partition(":")
    if kind == "file" and place:
        return _from_file(Path(place))
    raise InvalidInput(
        "tokenizer: say estimate, or file:tokenizer.json",
        "tokenizer：请写 estimate 或 file:tokenizer.json",
        option="tokenizer",
    )


def _from_file(path: Path) -> TokenCounter:
    library = _library("tokenizers")
    data = _bytes(path)
    try:
        tokenizer = library.Tokenizer.from_str(data.decode("utf-8"))
    except Exception as why:  # the library raises bare exceptions
        raise _unusable(path.name) from why
    tokenizer.no_truncation()
    tokenizer.no_padding()

    def count(texts: pa.LargeStringArray, counts: Ints) -> int:
        found = tokenizer.encode_batch(texts.to_pylist(), add_special_tokens=False)
        return sum(len(one.ids) for one in found)

    digest = hashlib.sha256(data).hexdigest()
    return TokenCounter(path.name, f"tokenizers {library.__version__}", digest, count)


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as why:
        raise _unusable(path.name) from why


def _library(name: str) -> Any:
    from importlib import import_module

    try:
        return import_module(name)
    except ImportError as why:
        raise InvalidInput(
            f"tokenizer: the package {name} is not installed",
            f"tokenizer：未安装 {name} 包",
            option="tokenizer",
        ) from why


def _unusable(name: str) -> InvalidInput:
    return InvalidInput(
        f"tokenizer: {name} is no file of a tokenizer that can be read here",
        f"tokenizer：{name} 不是此处可读取的分词器文件",
        option="tokenizer",
    )
