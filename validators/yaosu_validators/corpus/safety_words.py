"""Word lists of an operator by the risks of TC260-003; none are shipped.

A ruleset is one CSV file, or a folder of CSV files with an optional `ruleset.json`
(`{"name": …, "version": …, "updated": "2026-01-31"}`). Columns: `word`, `category` (A1a to A5b),
and optional `language` and `match` (`substring`, or `word`: no letter or digit beside it).
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from yaosu_schemas.codes import code_list
from yaosu_schemas.errors import InvalidInput, Text

CATEGORIES = code_list("risk").codes
LONGEST_WORD, MOST_WORDS, MOST_BYTES = 100, 1_000_000, 64 << 20
_DFA_WORDS = 50_000
_SHOWN = 50  # problems that are named
_COLUMNS = ("word", "category", "language", "match")
_LAST = 0x110000
Codes = npt.NDArray[np.uint32]


@dataclass(frozen=True, slots=True)
class Lexicon:
    """The words in canonical form; `owners[i]` are the categories of word i as numbers."""

    name: str
    version: str
    updated: str
    digest: str
    words: tuple[str, ...]
    owners: tuple[tuple[int, ...], ...]
    whole: npt.NDArray[np.bool_]  # (w,) nothing of a word may stand beside it
    sizes: Mapping[str, int]  # words by category, in the order of the risks
    repeated: int  # lines that say again what another one said
    automaton: Any = field(repr=False)

    @property
    def total(self) -> int:
        return sum(self.sizes.values())

    def hits(self, text: bytes) -> Iterator[tuple[int, int]]:
        """Yield (word, byte) of each occurrence in canonical text, overlapping ones too."""
        for word, start, stop in self.automaton.find_matches_as_indexes(text, overlapping=True):
            if not self.whole[word] or not (_joins(text, start - 1) or _joins(text, stop)):
                yield word, start


def _joins(text: bytes, at: int) -> bool:
    return 0 <= at < len(text) and text[at : at + 1].isalnum()


@cache
def _table() -> tuple[Codes, npt.NDArray[np.bool_]]:
    """Return for every character its canonical one, and which have none of one character.

    NFKC, lower case, simplified Chinese: one to one, so that a word and a text fold alike.
    """
    from opencc import OpenCC

    table = np.arange(_LAST, dtype=np.uint32)
    special = np.zeros(_LAST, bool)
    for code in range(0x80, _LAST):
        if 0xD800 <= code < 0xE000:
            special[code] = True
            continue
        if 0xE000 <= code < 0xF900 or 0x30000 <= code < 0xE0000:
            continue  # private or unassigned: nothing to fold
        folded = unicodedata.normalize("NFKC", chr(code)).lower()
        if len(folded) == 1:
            table[code] = ord(folded)
        else:
            special[code] = True
        special[code] |= unicodedata.combining(chr(code)) != 0
    table[0x41:0x5B] += 32
    han = [*range(0x3400, 0x4DC0), *range(0x4E00, 0xA000)]
    lines = OpenCC("t2s").convert("\n".join(map(chr, han))).split("\n")
    simple = np.arange(_LAST, dtype=np.uint32)
    for a, b in zip(han, lines, strict=True):
        if len(b) == 1:
            simple[a] = ord(b)
    return simple[table], special


def canonical(text: str) -> str:
    """Return a text in NFKC, lower case and simplified Chinese; lone surrogates are replaced."""
    return _folded(text) or _folded(_mended(text), always=True) or ""


def canonical_all(texts: list[str]) -> tuple[bytes, npt.NDArray[np.int64]]:
    """Return texts in canonical form as UTF-8 with a line feed between, and where each ends."""
    folded = _folded("\n".join(texts))
    if folded is None:  # a ligature, a combining mark: lengths change, so each goes alone
        parts = [canonical(text).encode() for text in texts]
        lengths = np.fromiter(map(len, parts), np.int64, len(parts))
        return b"\n".join(parts), np.cumsum(lengths + 1)
    codes = np.frombuffer((folded + "\n").encode("utf-32-le"), np.uint32)
    widths = 1 + (codes > 0x7F).astype(np.uint8) + (codes > 0x7FF) + (codes > 0xFFFF)
    starts = np.cumsum(np.fromiter(map(len, texts), np.int64, len(texts)) + 1)
    starts = np.concatenate(([0], starts[:-1]))
    return folded.encode(), np.cumsum(np.add.reduceat(widths, starts, dtype=np.int64))


def _mended(text: str) -> str:
    whole = text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    return unicodedata.normalize("NFKC", whole).lower()


def _folded(text: str, *, always: bool = False) -> str | None:
    """Return a text folded character by character, None where that is not enough."""
    table, special = _table()
    codes = np.frombuffer(text.encode("utf-32-le", "surrogatepass"), np.uint32)
    if not always and special[codes].any():
        return None
    return table[codes].tobytes().decode("utf-32-le")


def load(path: str) -> Lexicon:
    """Return the ruleset of a file or folder; InvalidInput names all that is wrong with it."""
    place = Path(path)
    try:
        files = sorted(place.glob("*.csv")) if place.is_dir() else [place]
        stamp = tuple((str(f), f.stat().st_mtime_ns, f.stat().st_size) for f in files)
        if sum(size for _, _, size in stamp) > MOST_BYTES:
            raise _refused([Text(f"it is larger than {MOST_BYTES >> 20} MiB",
                                 f"超过 {MOST_BYTES >> 20} MiB")])  # fmt: skip
        about = place / "ruleset.json" if place.is_dir() else None
        told = about.read_text("utf-8") if about and about.exists() else "{}"
    except (OSError, ValueError) as why:
        raise _refused([Text(f"it cannot be read ({type(why).__name__})", "无法读取")]) from None
    if not files:
        raise _refused([Text("the folder holds no .csv file", "文件夹中没有 .csv 文件")])
    return _load(stamp, told)


@lru_cache(maxsize=4)
def _load(stamp: tuple[tuple[str, int, int], ...], told: str) -> Lexicon:
    problems: list[Text] = []
    about = _about(told, problems)
    rows: set[tuple[str, str, str, str]] = set()
    lines = 0
    for file, _, _ in stamp:
        for row in _rows(Path(file), problems):
            lines += 1
            rows.add(row)
    if len(rows) > MOST_WORDS:
        problems.append(
            Text(f"it holds more than {MOST_WORDS:,} words", f"词数超过 {MOST_WORDS:,}")
        )
    if problems:
        raise _refused(problems)
    return _made(about, sorted(rows), lines)


def _made(about: Mapping[str, str], rows: list[tuple[str, str, str, str]], lines: int) -> Lexicon:
    import ahocorasick_rs

    owners: dict[tuple[str, str], set[int]] = {}
    sizes = Counter(dict.fromkeys(CATEGORIES, 0))
    for word, category, _, match in rows:
        of_word = owners.setdefault((word, match), set())
        sizes[category] += CATEGORIES.index(category) not in of_word
        of_word.add(CATEGORIES.index(category))
    keys = sorted(owners)
    kinds = ahocorasick_rs.Implementation
    told = json.dumps(rows, ensure_ascii=False).encode()
    return Lexicon(
        name=about.get("name", ""),
        version=about.get("version", ""),
        updated=about.get("updated", ""),
        digest=f"sha256:{hashlib.sha256(told).hexdigest()}",
        words=tuple(word for word, _ in keys),
        owners=tuple(tuple(sorted(owners[key])) for key in keys),
        whole=np.array([match == "word" for _, match in keys], bool),
        sizes=dict(sizes),
        repeated=lines - len(rows),
        automaton=ahocorasick_rs.BytesAhoCorasick(
            [word.encode() for word, _ in keys],
            # A DFA is half again as fast, and takes some kilobytes for each word.
            implementation=kinds.DFA if len(keys) <= _DFA_WORDS else kinds.ContiguousNFA,
        ),
    )


def _about(told: str, problems: list[Text]) -> dict[str, str]:
    try:
        about = json.loads(told)
    except ValueError:
        about = None
    if isinstance(about, dict) and all(
        isinstance(about.get(k, ""), str) and len(about.get(k, "")) <= 100
        for k in ("name", "version", "updated")
    ):
        return {k: about[k] for k in ("name", "version", "updated") if k in about}
    problems.append(
        Text(
            "ruleset.json: name, version and updated are texts of up to 100 characters",
            "ruleset.json：name、version、updated 须为不超过 100 字符的文本",
        )
    )
    return {}


def _rows(file: Path, problems: list[Text]) -> Iterator[tuple[str, str, str, str]]:
    """Yield word (canonical), category, language and match of each line that is in order."""
    try:
        text = file.read_bytes().decode("utf-8-sig")
        if "\x00" in text:
            raise ValueError
    except (OSError, ValueError):
        problems.append(Text(f"{file.name}: it is no UTF-8 text", f"{file.name}：不是 UTF-8 文本"))
        return
    lines = csv.reader(io.StringIO(text, newline=""))
    try:
        header = next(lines, [])
        if (
            not {"word", "category"} <= set(header)
            or len(set(header)) < len(header)
            or (set(header) - set(_COLUMNS))
        ):
            problems.append(Text(f"{file.name}: its columns are not {', '.join(_COLUMNS)}",
                                 f"{file.name}：列须为 {'、'.join(_COLUMNS)}"))  # fmt: skip
            return
        for cells in lines:
            if not cells:
                continue
            line = lines.line_num
            row = dict(zip(header, (c.strip() for c in cells), strict=False))
            found = _wrong(row, len(cells) - len(header))
            if found is None:
                yield (canonical(row["word"]), row["category"], row.get("language", ""),
                       row.get("match") or "substring")  # fmt: skip
            else:
                problems.append(Text(f"{file.name}, line {line}: {found.en}",
                                     f"{file.name} 第 {line} 行：{found.zh}"))  # fmt: skip
    except csv.Error:
        line = lines.line_num
        problems.append(Text(f"{file.name}, line {line}: it is no CSV",
                             f"{file.name} 第 {line} 行：不是 CSV"))  # fmt: skip


def _wrong(row: Mapping[str, str], more: int) -> Text | None:
    """Return what is wrong with a line, if anything."""
    word = canonical(row.get("word", ""))
    match = row.get("match") or "substring"
    if more > 0:
        return Text("it has more cells than columns", "单元格多于列数")
    if not word or len(word) > LONGEST_WORD or any(not c.isprintable() for c in word):
        return Text(f"its word is not 1 to {LONGEST_WORD} visible characters",
                    f"word 须为 1 至 {LONGEST_WORD} 个可见字符")  # fmt: skip
    if row.get("category", "") not in CATEGORIES:
        return Text(f"its category is none of {CATEGORIES[0]} to {CATEGORIES[-1]}",
                    f"category 不在 {CATEGORIES[0]} 至 {CATEGORIES[-1]} 之中")  # fmt: skip
    if match not in ("substring", "word"):
        return Text("its match is not substring or word", "match 须为 substring 或 word")
    if match == "substring" and len(word) == 1 and word.isascii():
        return Text("one letter would be found everywhere", "单个字母会处处命中")
    if row.get("language") and not re.fullmatch(
        "[A-Za-z]{2,3}(?:-[A-Za-z0-9]{2,8})*", row["language"]
    ):
        return Text("its language is no tag of BCP 47", "language 不是 BCP 47 语言标签")
    return None


def _refused(problems: list[Text]) -> InvalidInput:
    shown = problems[:_SHOWN]
    more_en = [f"and {len(problems) - _SHOWN} more"] * (len(problems) > _SHOWN)
    more_zh = [f"另有 {len(problems) - _SHOWN} 处"] * (len(problems) > _SHOWN)
    return InvalidInput(
        "the ruleset of corpus.safety: " + "; ".join([p.en for p in shown] + more_en),
        "corpus.safety 的规则集：" + "；".join([p.zh for p in shown] + more_zh),
        check="corpus.safety",
        option="words",
        problems=len(problems),
    )
