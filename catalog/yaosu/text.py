"""Text as search sees it: canonical form, words and bigrams, what a person asked, marks on a hit.

Index and query go through the same functions. Chinese (and other scripts written without
spaces) is cut into overlapping bigrams, so that every two-character word is found, with its
position, so that a phrase is a phrase; other scripts are cut into words.
"""

from __future__ import annotations

import html
import re
import unicodedata
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from itertools import pairwise

MAX_QUERY_CHARS = 512
MAX_QUERY_WORDS = 32
_MAX_WORD_CHARS = 64
_GAP = "|"

# Scripts that are written without spaces: Han, kana, Hangul, Thai, Lao, Burmese, Khmer.
_UNSPACED = (
    "\u3005-\u3007\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uac00-\ud7af"
    "\uf900-\ufaff\U00020000-\U0003347f\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff"
)
_RUN = re.compile(
    f"(?P<unspaced>[{_UNSPACED}]+)|(?P<word>[^\\W_{_UNSPACED}]+)|(?P<sign>[\u2600-\u27bf\U0001f300-\U0001faff])"
)
_UNSPACED_RUN = re.compile(f"[{_UNSPACED}]+")
# Full-width ASCII and the ideographic space: one to one, so offsets stay (NFKC does the same).
_FULL_WIDTH = {0xFF01 + n: 0x21 + n for n in range(94)} | {0x3000: 0x20}
_FULL = re.compile("[\u3000\uff01-\uff5e]")
_MAX_SNIPPET_SOURCE = 10_000
_QUOTES = str.maketrans("“”„«»「」『』《》", '"' * 11)


def scrub(text: str) -> str:
    """Return the text without lone surrogates and control characters (UTF-8 safe)."""
    if not text.isprintable():
        text = text.encode("utf-8", "replace").decode("utf-8")
        text = "".join(" " if unicodedata.category(c) in ("Cc", "Cs") else c for c in text)
    return text


@cache
def _simplified() -> dict[int, int]:
    """Return the traditional → simplified table, one character to one.

    Whole-phrase conversion depends on the neighbours, so that a query and the text around the
    same word could differ; a table cannot.
    """
    from opencc import OpenCC  # server side only: the client never canonicalises

    han = [*range(0x3400, 0x4DC0), *range(0x4E00, 0xA000), *range(0xF900, 0xFB00)]
    lines = OpenCC("t2s").convert("\n".join(map(chr, han))).split("\n")
    return {a: ord(b) for a, b in zip(han, lines, strict=True) if len(b) == 1 and ord(b) != a}


@cache
def _traditional() -> re.Pattern[str]:
    return re.compile(f"[{''.join(map(chr, _simplified()))}]")


def _simplify(text: str) -> str:
    # Most texts hold nothing to simplify; to look is ten times cheaper than to translate.
    return text.translate(_simplified()) if _traditional().search(text) else text


def canonical(text: str) -> str:
    """Return the text in NFKC, lower case, simplified Chinese."""
    if text.isascii():
        return text.lower()
    return _simplify(unicodedata.normalize("NFKC", scrub(text)).lower())


def _stem(word: str) -> str:
    """Return an English plural as its singular; anything else as it is."""
    if len(word) < 4 or not word.endswith("s") or not word.isascii() or not word.isalpha():
        return word
    if word.endswith("ies") and len(word) > 4:
        return word[:-3] + "y"
    return word if word.endswith(("ss", "us", "is")) else word[:-1]


@dataclass(frozen=True, slots=True)
class Run:
    """A stretch of canonical text: one word, or unspaced characters to be cut into bigrams."""

    text: str
    unspaced: bool

    def terms(self) -> list[str]:
        """Return the index terms of the run in order, one per position."""
        if not self.unspaced:
            return [_stem(self.text[:_MAX_WORD_CHARS])]
        if len(self.text) == 1:
            return [self.text]
        return [self.text[i : i + 2] for i in range(len(self.text) - 1)]


def runs(text: str) -> Iterator[Run]:
    """Cut canonical text into words and unspaced stretches."""
    for found in _RUN.finditer(text):
        yield Run(found.group(), found.lastgroup == "unspaced")


@dataclass(frozen=True, slots=True)
class Indexed:
    """A piece of text as the index takes it: its terms in order, its unspaced characters."""

    terms: str
    characters: str

    @classmethod
    def of(cls, text: str) -> Indexed:
        """Cut a piece of text once, for every field that it goes into."""
        flat = canonical(text)
        out: list[str] = []
        for found in _RUN.finditer(flat):
            run = found.group()
            if found.lastgroup != "unspaced":
                out.append(_stem(run[:_MAX_WORD_CHARS]))
            elif len(run) == 1:
                out.append(run)
            else:
                out.extend(map("".join, pairwise(run)))
        return cls(" ".join(out), "".join(_UNSPACED_RUN.findall(flat)))


def index_text(pieces: Iterable[Indexed]) -> str:
    """Return the terms of the pieces joined by spaces, with a gap that no phrase crosses."""
    return f" {_GAP} ".join(piece.terms for piece in pieces)


def index_characters(pieces: Iterable[Indexed]) -> str:
    """Return every unspaced character of the pieces once, for one-character queries."""
    return " ".join(dict.fromkeys("".join(piece.characters for piece in pieces)))


def sort_key(title: str) -> str:
    """Return a key that orders titles: Latin by letter, common Chinese by pinyin.

    GB 18030 keeps the order of GB 2312, whose first level is arranged by pinyin.
    """
    return canonical(title).strip().encode("gb18030", "replace")[:96].hex()


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What a person typed: words, quoted phrases, exclusions, and values of known facets."""

    words: Sequence[Run] = ()
    phrases: Sequence[Sequence[Run]] = ()
    excluded: Sequence[Sequence[Run]] = ()
    facets: Mapping[str, Sequence[str]] = field(default_factory=dict)
    blank: bool = True


_PIECE = re.compile(
    r'(?P<not>(?<!\S)-)?(?:(?P<key>[^\s:"]{1,20}):)?(?:"(?P<phrase>[^"]*)"|(?P<word>\S+))'
)


def ask(text: str, facets: Mapping[str, str]) -> Question:
    """Read a query: `"a phrase"`, `-without`, `facet:value` of `facets`; the rest is words.

    Any text is a query: what is not understood is words. `facets` maps canonical alias → name.
    """
    line = canonical(scrub(text[:MAX_QUERY_CHARS]).translate(_QUOTES))
    words: list[Run] = []
    phrases: list[list[Run]] = []
    excluded: list[list[Run]] = []
    chosen: dict[str, list[str]] = {}
    for piece in _PIECE.finditer(line):
        key, phrase = piece["key"], piece["phrase"]
        body = phrase if phrase is not None else piece["word"]
        if key in facets and not piece["not"] and body.strip(' "'):
            chosen.setdefault(facets[key], []).append(body.strip(' "'))
            continue
        found = list(runs(body if key is None else f"{key} {body}"))
        if piece["not"]:
            excluded.append(found)
        elif phrase is not None:
            phrases.append(found)
        else:
            words.extend(found)
    return Question(
        words=list(dict.fromkeys(words))[:MAX_QUERY_WORDS],
        phrases=[p[:MAX_QUERY_WORDS] for p in phrases if p][:8],
        excluded=[p[:MAX_QUERY_WORDS] for p in excluded if p][:8],
        facets=chosen,
        blank=not line.strip(),
    )


def _aligned(text: str) -> tuple[str, list[int] | None]:
    """Return canonical text and, where characters do not map one to one, their origins."""
    flat = text.translate(_FULL_WIDTH) if _FULL.search(text) else text
    if unicodedata.is_normalized("NFKC", flat):
        lower = flat.lower()
        if len(lower) == len(text):
            return _simplify(lower), None
    out: list[str] = []
    origin: list[int] = []
    start = 0
    for at in range(1, len(text) + 1):
        if at < len(text) and unicodedata.combining(text[at]):
            continue  # a mark stays with the letter it stands on
        piece = canonical(text[start:at])
        out.append(piece)
        origin.extend([start] * len(piece))
        start = at
    return "".join(out), [*origin, len(text)]


def needles(words: Sequence[Run]) -> re.Pattern[str] | None:
    """Return a pattern that finds the words in canonical text, the longest first."""
    whole = [re.escape(w.text) for w in words if w.unspaced]
    pairs = [re.escape(t) for w in words if w.unspaced and len(w.text) > 2 for t in w.terms()]
    parts = sorted(dict.fromkeys(whole), key=len, reverse=True)
    for stem in dict.fromkeys(_stem(w.text) for w in words if not w.unspaced):
        forms = f"{re.escape(stem)}(?:e?s)?"
        if stem.endswith("y"):
            forms = f"(?:{forms}|{re.escape(stem[:-1])}ies)"
        parts.append(rf"(?<![^\W_]){forms}(?![^\W_])")
    parts += dict.fromkeys(pairs)
    return re.compile("|".join(parts)) if parts else None


def _spans(text: str, pattern: re.Pattern[str]) -> list[tuple[int, int]]:
    """Return where the pattern stands in the original text, merged and in order."""
    flat, origin = _aligned(text)
    out: list[tuple[int, int]] = []
    at = 0
    while found := pattern.search(flat, at):
        a, b = found.span()
        at = max(a + 1, b - 1)  # bigrams overlap by one
        if origin is not None:
            a, b = origin[a], origin[bisect_right(origin, origin[b - 1])]
        if out and a <= out[-1][1]:
            out[-1] = (out[-1][0], max(b, out[-1][1]))
        else:
            out.append((a, b))
    return out


def _window(text: str, spans: Sequence[tuple[int, int]], width: int) -> tuple[int, int]:
    """Return the stretch of at most `width` characters that shows the most marks."""
    start = 0
    if len(text) > width and spans:
        begins = [a for a, _ in spans]
        shown = [bisect_right(begins, a + width) - n for n, a in enumerate(begins)]
        best = begins[shown.index(max(shown))]
        start = min(max(0, best - width // 4), len(text) - width)
    end = min(len(text), start + width)
    while start > 0 and unicodedata.combining(text[start]):
        start -= 1
    while end < len(text) and unicodedata.combining(text[end]):
        end += 1
    return start, end


def snippet(sources: Iterable[str], pattern: re.Pattern[str] | None, *, width: int = 160) -> str:
    """Return a stretch of the first source that the pattern is in, as safe HTML with `<mark>`.

    Without a match, the beginning of the first source that is not empty. Everything but the
    marks is escaped; the text is the original one, never its canonical form.
    """
    first = ""
    for source in sources:
        text = scrub(source[:_MAX_SNIPPET_SOURCE])
        first = first or text
        if pattern is None and first:
            break
        if text and pattern is not None and (spans := _spans(text, pattern)):
            return _marked(text, spans, width)
    return _marked(first, [], width)


def _marked(text: str, spans: Sequence[tuple[int, int]], width: int) -> str:
    start, end = _window(text, spans, width)
    out = ["…"] if start else []
    at = start
    for a, b in spans:
        a, b = max(a, start), min(b, end)
        if a >= b:
            continue
        out += [html.escape(text[at:a]), "<mark>", html.escape(text[a:b]), "</mark>"]
        at = b
    out += [html.escape(text[at:end]), "…" if end < len(text) else ""]
    return "".join(out)
