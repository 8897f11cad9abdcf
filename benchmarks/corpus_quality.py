"""All checks of the records of a corpus in one pass: CPU seconds, and the share of each check.

The generated corpus is half Chinese, half English: words of a vocabulary of 8,000 by their rank
(Zipf-Mandelbrot), with the function words of each language at its head, sentences and paragraphs of
drawn lengths (median 600 characters). No sentence repeats another by itself; what real corpora have
in small shares is put in by hand: exact and edited copies, texts that repeat themselves, lists,
residue of web pages, addresses and numbers of persons, text in a third language. The real one is
all instruction, preference and web text of the test data, each record once.
"""

from __future__ import annotations

import gzip
import json
import os
import random
import tempfile
import time
from bisect import bisect
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np
from figure import Figure

from yaosu_validators.check import Chosen, expanded
from yaosu_validators.corpus.folds import course
from yaosu_validators.corpus.reading import sample_of, table_batches
from yaosu_validators.corpus.view import Places
from yaosu_validators.corpus.views import ViewMaker
from yaosu_validators.resources import from_path
from yaosu_validators.sources import OpenFile

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("YAOSU_TESTDATA") or ROOT.parent / "shared" / "data") / "ai"
VOCABULARY = 8000
_EN = (
    "the of and to in a is that for it with as was on be by this are from or at an have not which "
    "but his they you we their has been can will one more when who there all would what about if"
)
_ZH = "的是了在和有不我这他也就人都说要对与为等中上将可"
_SYLLABLES = (
    "ta ri no ber con ment ple sti gra vel men dor lis cha per fen mo sur tin el qua re pro ad "
    "ver ning ous tal ex ship"
)


class Tongue:
    """Draws sentences of one language."""

    def __init__(self, r: random.Random, words: Sequence[str], *, wide: bool) -> None:
        self.r, self.words, self.wide = r, words, wide
        self.sums = list(accumulate(1 / (rank + 2.7) for rank in range(1, len(words) + 1)))

    def word(self) -> str:
        return self.words[bisect(self.sums, self.r.random() * self.sums[-1])]

    def sentence(self) -> str:
        r = self.r
        parts = ["".join(self.word() for _ in range(r.randint(3, 10))) if self.wide
                 else " ".join(self.word() for _ in range(r.randint(4, 12)))
                 for _ in range(r.randint(1, 3))]  # fmt: skip
        if r.random() < 0.15:
            parts[-1] += f"{'' if self.wide else ' '}{r.randint(1, 3000)}"
        if self.wide:
            return "，".join(parts) + r.choice("。。。。！？")
        text = ", ".join(parts)
        return text[0].upper() + text[1:] + r.choice("....?")

    def text(self) -> str:
        """Return paragraphs with a length that is drawn (log-normal)."""
        r, rows = self.r, []
        left = min(int(r.lognormvariate(6.4, 0.9) * (0.6 if self.wide else 1.6)), 20_000)
        while left > 0:
            some = [self.sentence() for _ in range(r.randint(1, 6))]
            rows.append(("" if self.wide else " ").join(some))
            left -= len(rows[-1])
        return "\n".join(rows)


def tongues(r: random.Random) -> tuple[Tongue, Tongue]:
    """Return Chinese and English with vocabularies that are drawn."""
    common = bytes(b for x in range(0xB0, 0xD7) for y in range(0xA1, 0xFF) for b in (x, y))
    signs = common.decode("gb2312", "ignore")
    zh = dict.fromkeys(_ZH)
    zh.update(dict.fromkeys("".join(r.choices(signs, k=r.choice((1, 2, 2, 2, 3, 4))))
                            for _ in range(VOCABULARY)))  # fmt: skip
    en = dict.fromkeys(_EN.split())
    syllables = _SYLLABLES.split()
    en.update(dict.fromkeys("".join(r.choices(syllables, k=r.randint(1, 4)))
                            for _ in range(VOCABULARY)))  # fmt: skip
    return Tongue(r, list(zh), wide=True), Tongue(r, list(en), wide=False)


def records(size: int) -> Iterator[dict[str, Any]]:
    """Yield instruction records until so many bytes were made."""
    r = random.Random(20260309)
    both = tongues(r)
    made = number = 0
    held: list[dict[str, Any]] = []
    while made < size:
        number += 1
        tongue = both[r.random() < 0.5]
        kind = r.random()
        if held and kind < 0.06:
            record = {**r.choice(held), "id": number}
            if kind > 0.02:
                record["output"] = _edited(r, record["output"], tongue)
        else:
            text = _marked(r, tongue)
            record = {"id": number, "instruction": tongue.sentence(), "input": "", "output": text}
            held = [*held[-999:], record]
        made += len(json.dumps(record, ensure_ascii=False).encode())
        yield record


def _edited(r: random.Random, text: str, tongue: Tongue) -> str:
    at = r.randrange(max(1, len(text)))
    return text[:at] + tongue.word() + text[at + 3 :]


def _marked(r: random.Random, tongue: Tongue) -> str:
    text, kind = tongue.text(), r.random()
    if kind < 0.01:
        return text + (f"联系电话 138{r.randint(0, 99_999_999):08d}。" if tongue.wide
                       else f" Mail to user{_number_of(text)}@example.com.")  # fmt: skip
    if kind < 0.02:
        return text + ("点击查看更多" if tongue.wide else " All rights reserved.")
    if kind < 0.03:
        return "\n".join([text, *[tongue.sentence()] * r.randint(5, 40)])
    if kind < 0.05:
        return "\n".join(f"- {tongue.sentence()}" for _ in range(r.randint(4, 20)))
    if kind < 0.06:
        return " ".join("".join(r.choices("aeiouklmnprstvyäõ", k=r.randint(2, 9)))
                        for _ in range(60))  # fmt: skip
    return text


def _number_of(text: str) -> int:
    return sum(map(ord, text[:40]))


# --- real records -------------------------------------------------------------------------------


def real() -> list[str]:
    """Return the instructions, dialogues and web pages of the test data, shuffled."""
    texts: list[str] = []
    demos = DATA / "llama-factory/data"
    readers: dict[Path, Callable[[Path], Iterable[str]]] = {
        demos / "alpaca_zh_demo.json": _alpaca,
        demos / "alpaca_en_demo.json": _alpaca,
        demos / "dpo_zh_demo.json": _preferred,
        demos / "dpo_en_demo.json": _preferred,
        demos / "c4_demo.jsonl": lambda path: (row["text"] for row in _rows(path)),
        demos / "wiki_demo.txt": lambda path: path.read_text("utf-8").split("\n\n"),
        DATA / "gsm8k/grade_school_math/data/train.jsonl": lambda path: (
            row["question"] + "\n" + row["answer"] for row in _rows(path)
        ),
        DATA / "hh-rlhf/harmless-base/test.jsonl.gz": lambda path: (
            row["chosen"] for row in _rows(path)
        ),
    }
    for path, read in readers.items():
        if path.exists():
            texts += read(path)
    random.Random(1).shuffle(texts)
    return texts


def _alpaca(path: Path) -> Iterator[str]:
    for row in json.loads(path.read_text("utf-8")):
        yield "\n".join((row["instruction"], row["input"], row["output"]))


def _preferred(path: Path) -> Iterator[str]:
    for row in json.loads(path.read_text("utf-8")):
        yield "\n".join([*(turn["value"] for turn in row["conversations"]), row["chosen"]["value"]])


def _rows(path: Path) -> Iterator[dict[str, Any]]:
    with (gzip.open if path.suffix == ".gz" else open)(path, "rt", encoding="utf-8") as file:
        yield from map(json.loads, file)


# --- figures ------------------------------------------------------------------------------------


def write(path: Path, rows: Iterable[dict[str, Any]]) -> Path:
    with path.open("w", encoding="utf-8") as file:
        for row in rows:
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
    return path


def measure(quick: bool) -> Iterable[Figure]:
    """Return the throughput of all checks together, and the share of each."""
    with tempfile.TemporaryDirectory(prefix="yaosu-bench-") as folder:
        path = write(Path(folder) / "mixed.jsonl", records((6 if quick else 20) << 20))
        cold, _ = fold(path)  # tables, and the model of languages, are loaded once in a process
        yield _figure("all checks of records together, generated zh/en", path, first=cold)
        rows = [{"id": number, "text": text} for number, text in enumerate(real())]
        if rows:
            path = write(Path(folder) / "real.jsonl", rows[: 2000 if quick else None])
            yield _figure("all checks of records together, real zh/en", path)


def _figure(name: str, path: Path, first: float | None = None) -> Figure:
    total, spent = min((fold(path) for _ in range(7)), key=lambda got: got[0])
    size = path.stat().st_size / 1e6
    shares = {check: f"{100 * seconds / total:.1f} %" for check, seconds in spent.items()}
    return Figure(
        name=name,
        value=round(size / total, 2),
        unit="MB/CPU s",
        goal=6,
        lower_is_better=False,
        note="least CPU of seven runs; loading tables and the model of languages apart",
        facts={"mb": round(size, 1), "cpu_s": round(total, 2),
               **({"cpu_s_of_the_first_run": round(first, 2)} if first else {}), **shares,
               "reading and views": f"{100 * (total - sum(spent.values())) / total:.1f} %"},
    )  # fmt: skip


def fold(path: Path) -> tuple[float, dict[str, float]]:
    """Return the CPU seconds of one pass over a file, and those of each check."""
    resource = from_path(path.parent, path.name)
    names = [n for n in expanded(["quality"]) if n.startswith("corpus.")]
    going = course(resource, [Chosen(n) for n in names], sample_of(resource, 200))
    folds = [chosen.make() for chosen in going.checks]
    states = [check.start(going.about) for check in folds]
    maker = ViewMaker(going.mapped)
    spent = np.zeros(len(folds))
    begun = time.process_time()
    with OpenFile(resource) as file:
        for batch in table_batches(file):
            view = maker.view(batch.rows, batch.records)
            for n, check in enumerate(folds):
                at = time.process_time()
                states[n] = check.observe(states[n], view)
                spent[n] += time.process_time() - at
    places = Places({resource.name: np.zeros(1, np.int64)})
    for n, check in enumerate(folds):
        at = time.process_time()
        check.conclude([(going.about, states[n])], places)
        spent[n] += time.process_time() - at
    return time.process_time() - begun, dict(zip(names, spent.tolist(), strict=True))
