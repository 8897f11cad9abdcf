"""Which language each text is in: its scripts decide, then small words, a model only in doubt.

The model is that of py3langid (BSD, shipped in its wheel, 97 languages). It reads at most the
first HEAD characters of a text that the script alone does not decide and whose small words do
not either.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from yaosu_validators.describing.language import FUNCTION_WORDS

from .script import HAN, LATIN, Flat, Kind, Rolling, flats, runs
from .view import Ints

HEAD = 240  # characters whose words are counted, and that a model reads
LEAST_LETTERS = 8  # of a script of several languages; below, the language is not told
LEAST_SIGNS = 2  # of Chinese, Japanese and Korean
SECOND = 20  # per cent of the weight: a second script from here on makes a record mixed
SURE = 0.5  # confidence that a model must have
# One sign of these scripts says about as much as two or three letters.
_SCRIPTS: tuple[tuple[str, tuple[Kind, ...], float], ...] = (
    ("han", HAN, 2.5),
    ("kana", (Kind.KANA,), 2.0),
    ("hangul", (Kind.HANGUL,), 2.0),
    ("latin", LATIN, 1.0),
    ("cyrillic", (Kind.CYRILLIC,), 1.0),
    ("arabic", (Kind.ARABIC,), 1.0),
    ("hebrew", (Kind.HEBREW,), 1.0),
    ("thai", (Kind.THAI,), 1.0),
    ("devanagari", (Kind.DEVANAGARI,), 1.0),
    ("greek", (Kind.GREEK,), 1.0),
    ("tibetan", (Kind.TIBETAN,), 1.0),
    ("mongolian", (Kind.MONGOLIAN,), 1.0),
    ("other", (Kind.LETTER,), 1.0),
)
SCRIPTS = tuple(name for name, _, _ in _SCRIPTS)
_WEIGHTS = np.array([weight * 2 for _, _, weight in _SCRIPTS], np.int64)  # in half letters
_HAN, _KANA, _HANGUL, _LATIN = range(4)
_ONE = {"hangul": "ko", "hebrew": "he", "thai": "th", "greek": "el", "tibetan": "bo",
        "mongolian": "mn"}  # fmt: skip
_OTHER_SCRIPTS = frozenset(("zh", "wuu", "yue", "ja", "ko", "he", "yi", "th", "el", "bo"))
NONE = "und"  # BCP 47: undetermined

_TAGS = tuple(FUNCTION_WORDS)
Model = Callable[[str], tuple[str, float]]


@dataclass(frozen=True, slots=True)
class Spoken:
    """The languages of some texts, and what was seen on the way."""

    tags: npt.NDArray[np.object_]  # (n,) BCP 47, or `und`
    mixed: npt.NDArray[np.bool_]  # (n,) a second script carries at least SECOND per cent
    simplified: Ints  # (n,) characters that only simplified Chinese has
    traditional: Ints
    asked: int  # texts that a model was asked about


def spoken(
    texts: pa.LargeStringArray, flat: Flat, counts: Ints, model: Callable[[], Model] | None
) -> Spoken:
    """Return the language of each text of a slice; counts: (n, KINDS) of `script`.

    `model` gives what is asked in doubt: it is loaded for the first text that is.
    """
    weights = np.stack([counts[:, list(k)].sum(axis=1) for _, k, _ in _SCRIPTS], axis=1)
    letters = weights.copy()
    weights *= _WEIGHTS
    japanese = (letters[:, _KANA] >= 2) & (letters[:, _KANA] * 8 >= letters[:, _HAN])
    weights[japanese, _KANA] += weights[japanese, _HAN]
    weights[japanese, _HAN] = 0
    main = weights.argmax(axis=1)
    rows = np.arange(len(flat))
    enough = letters[rows, main] >= np.where(main <= _HANGUL, LEAST_SIGNS, LEAST_LETTERS)
    total = weights.sum(axis=1)
    second = np.partition(weights, -2, axis=1)[:, -2]
    tags = np.full(len(flat), NONE, object)
    simplified, traditional = counts[:, Kind.SIMPLIFIED], counts[:, Kind.TRADITIONAL]
    chinese = enough & (main == _HAN)
    tags[chinese] = "zh"
    tags[chinese & (simplified > traditional)] = "zh-Hans"
    tags[chinese & (traditional > simplified)] = "zh-Hant"
    tags[enough & (main == _KANA)] = "ja"
    for script, tag in _ONE.items():
        tags[enough & (main == SCRIPTS.index(script))] = tag
    asked = np.flatnonzero(enough & (tags == NONE))
    if len(asked):
        some = texts if len(asked) == len(texts) else texts.take(pa.array(asked))
        heads = pc.utf8_slice_codeunits(some, 0, HEAD)
        by_words = np.full(len(asked), NONE, object)
        latin = main[asked] == _LATIN
        if latin.any():
            by_words[latin] = _by_words(heads.filter(pa.array(latin)))
        tags[asked] = by_words
        open_ = np.flatnonzero(by_words == NONE)
        if model is not None:
            for at in open_.tolist():
                tag, sure = model()(heads[at].as_py())
                foreign = main[asked[at]] != len(SCRIPTS) - 1 and tag in _OTHER_SCRIPTS
                tags[asked[at]] = tag if sure >= SURE and not foreign else NONE
        asked = open_
    return Spoken(
        tags, enough & (second * 100 >= SECOND * total), simplified, traditional, len(asked)
    )


@functools.cache
def offline_model() -> Model:
    """Return the model that is shipped in a wheel; loading it takes about half a second."""
    from py3langid.langid import MODEL_FILE, LanguageIdentifier

    identifier = LanguageIdentifier.from_model_file(MODEL_FILE, norm_probs=True)
    return identifier.classify  # type: ignore[no-any-return]


# --- small words --------------------------------------------------------------------------------


@functools.cache
def _words() -> tuple[npt.NDArray[np.uint64], npt.NDArray[np.int64]]:
    """Return the hashes of all small words in order, and which languages have each: (w, l)."""
    has: dict[str, set[int]] = {}
    for number, tag in enumerate(_TAGS):
        for word in FUNCTION_WORDS[tag]:
            has.setdefault(word, set()).add(number)
    words = list(has)
    chars = np.frombuffer("".join(words).encode("utf-32-le"), "<u4")
    ends = np.cumsum([len(word) for word in words], dtype=np.int64)
    hashes = Rolling(chars).of(np.concatenate(([0], ends[:-1])), ends)
    table = np.zeros((len(words), len(_TAGS)), np.int64)
    for row, word in enumerate(words):
        table[row, list(has[word])] = 1
    order = np.argsort(hashes)
    return hashes[order], table[order]


def _by_words(heads: pa.LargeStringArray) -> npt.NDArray[np.object_]:
    """Return the language of texts in the Latin script, where small words tell it clearly."""
    tags = np.full(len(heads), NONE, object)
    known, table = _words()
    for flat in flats(pc.utf8_lower(heads)):
        letter = (flat.kinds - np.uint8(Kind.LATIN) <= 1) | (flat.chars == 0x27)
        starts, ends = runs(letter)
        hashes = Rolling(flat.chars).of(starts, ends)
        at = np.minimum(np.searchsorted(known, hashes), len(known) - 1)
        hit = known[at] == hashes
        owner = flat.owners_of(starts)
        words = np.bincount(owner, minlength=len(flat))
        word, tag = np.nonzero(table[at[hit]])
        keys = owner[hit][word] * len(_TAGS) + tag
        votes = np.bincount(keys, minlength=len(flat) * len(_TAGS)).reshape(len(flat), -1)
        best = votes.argmax(axis=1)
        top = np.partition(votes, -2, axis=1)
        first, second = top[:, -1], top[:, -2]
        clear = (words >= 4) & (first >= 2) & (first * 10 >= words) & (first * 2 >= second * 3)
        names = np.array(_TAGS, object)[best]
        tags[flat.first : flat.first + len(flat)][clear] = names[clear]
    return tags
