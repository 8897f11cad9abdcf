"""Personal information and risk words: speed, precision and recall, beside presidio.

Presidio runs its pattern recognisers alone (no spaCy model: what a model finds, names and places,
is not compared), offline, in a virtual environment of its own: `PRESIDIO_PYTHON` names one, or it
is made in a temporary folder. Where neither works, its figures are left out.
"""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from figure import Figure

from yaosu_validators.corpus.personal import Personal
from yaosu_validators.corpus.personal_forms import KINDS
from yaosu_validators.corpus.personal_scan import scan
from yaosu_validators.corpus.safety import Safety
from yaosu_validators.corpus.shapes import mapping_of
from yaosu_validators.corpus.view import About, View
from yaosu_validators.corpus.views import ViewMaker

DATA = Path(os.environ.get("YAOSU_TESTDATA") or Path(__file__).parents[2] / "shared" / "data")
GOLD = DATA / "pii/presidio/tests/data/generated_small.json"
SHARED = {
    "PHONE_NUMBER": ("phone", "mobile_cn", "landline_cn"),
    "CREDIT_CARD": ("bank_card",),
    "US_SSN": ("us_ssn",),
    "IP_ADDRESS": ("ip",),
    "EMAIL_ADDRESS": ("email",),
    "US_DRIVER_LICENSE": ("us_driver_licence",),
}
EN = ("the", "quick", "model", "learns", "from", "data", "of", "many", "places", "and", "answers")
ZH = "数据要素市场模型训练语料质量的一是在不了有和人这中大为上个国我以要他时来用们生到作地于出就"
PLANTED = (
    "电话13800138000", "call +1 415-555-2671", "mail a.b@example.com", "身份证110101199001011237",
    "2023-04-05", "12345678", "58.74.121.78", "no. 4111 1111 1111 1111", "3.1415926",
)  # fmt: skip

# Runs in the other environment: reads texts, writes hits and CPU seconds as JSON.
PEER = """
import json, sys, time
import tldextract
tldextract.tldextract.TLD_EXTRACTOR = tldextract.TLDExtract(suffix_list_urls=())
import spacy
from presidio_analyzer import RecognizerRegistry
from presidio_analyzer.nlp_engine import NlpArtifacts
texts = json.load(sys.stdin)
registry = RecognizerRegistry()
registry.load_predefined_recognizers(languages=["en"])
every = [r for r in registry.recognizers if "Spacy" not in r.name]
wanted = set(sys.argv[1].split(","))
chosen = [r for r in every if set(r.supported_entities) & wanted]
def run(text):
    found = []
    for recogniser in chosen:
        for hit in recogniser.analyze(text, recogniser.supported_entities, None) or []:
            found.append([hit.entity_type, hit.start, hit.end])
    return found
for text in texts[:20]: run(text)
start = time.process_time()
hits = [run(text) for text in texts]
print(json.dumps({"seconds": time.process_time() - start, "hits": hits}))
"""


def texts_of(count: int, seed: int = 7) -> list[str]:
    """Return mixed Chinese and English texts; one in forty holds something of digits."""
    r = random.Random(seed)
    out = []
    for _ in range(count):
        words = r.choices(EN, k=80) if r.random() < 0.5 else ["".join(r.choices(ZH, k=200))]
        if r.random() < 0.025:
            words.insert(r.randrange(len(words) + 1), r.choice(PLANTED))
        out.append(" ".join(words))
    return out


def real_texts() -> list[str]:
    """Return the texts of instructions, conversations and preferences, Chinese and English."""
    out: list[str] = []

    def walk(value: Any) -> None:
        if isinstance(value, str):
            out.append(value)
        elif isinstance(value, dict | list):
            for inner in value.values() if isinstance(value, dict) else value:
                walk(inner)

    for path in sorted((DATA / "ai/llama-factory/data").glob("*_demo.json")):
        walk(json.loads(path.read_text("utf-8")))
    return out


def view_of(texts: list[str]) -> View:
    records = [{"text": text} for text in texts]
    maker = ViewMaker(mapping_of(records[:200], {"roles": {"text": "text"}}))
    return maker.view(np.arange(2, len(records) + 2), records)


def speed(check: Any, view: View, times: int = 3) -> float:
    """Return megabytes of text in a CPU second, the first pass (which compiles) left out."""
    size = sum(len(t.encode()) for t in view.texts.to_pylist())
    seconds = []
    for _ in range(times + 1):
        state, start = check.start(About("a")), time.process_time()
        check.observe(state, view)
        seconds.append(time.process_time() - start)
    return size / 1e6 / min(seconds[1:])


def ours(texts: list[str]) -> list[list[tuple[str, int, int]]]:
    found: list[list[tuple[str, int, int]]] = [[] for _ in texts]
    for hit in scan(view_of(texts)):
        data = texts[hit.segment].encode()
        start = len(data[: hit.start].decode())
        stop = start + len(data[hit.start : hit.stop].decode())
        found[hit.segment].append((KINDS[hit.kind], start, stop))
    return found


def recall(cases: list[Any], hits: list[Any], names: dict[str, tuple[str, ...]]) -> dict[str, Any]:
    """Return for each entity found, gold and wrong (touching no gold span of it)."""
    gold: Counter[str] = Counter()
    right: Counter[str] = Counter()
    wrong: Counter[str] = Counter()
    for case, found in zip(cases, hits, strict=True):
        for entity, accepted in names.items():
            spans = [(s["start_position"], s["end_position"]) for s in case["spans"]
                     if s["entity_type"] == entity]  # fmt: skip
            mine = [(a, b) for kind, a, b in found if kind in accepted]
            gold[entity] += len(spans)
            right[entity] += sum(any(a < y and x < b for a, b in mine) for x, y in spans)
            wrong[entity] += sum(not any(a < y and x < b for x, y in spans) for a, b in mine)
    return {e: {"found": right[e], "gold": gold[e], "wrong": wrong[e]} for e in names}


def peer(texts: list[str], folder: Path) -> dict[str, Any] | None:
    """Return what presidio finds and how long it takes, or None where it cannot run."""
    python = os.environ.get("PRESIDIO_PYTHON")
    try:
        if not python:
            subprocess.run([sys.executable, "-m", "venv", folder / "v"], check=True)
            python = str(folder / "v/bin/python")
            subprocess.run([python, "-m", "pip", "install", "-q", "presidio-analyzer"],
                           check=True, capture_output=True)  # fmt: skip
        done = subprocess.run(
            [python, "-c", PEER, ",".join(SHARED)], input=json.dumps(texts), text=True,
            capture_output=True, check=True,
        )  # fmt: skip
    except (OSError, subprocess.CalledProcessError):
        return None
    return dict(json.loads(done.stdout.splitlines()[-1]))


def words_file(folder: Path) -> str:
    r = random.Random(3)
    words = {"".join(r.choices(ZH, k=r.randint(4, 6))) for _ in range(10_000)}
    path = folder / "words.csv"
    path.write_text("word,category\n" + "".join(f"{w},A1a\n" for w in sorted(words)), "utf-8")
    return str(path)


def measure(quick: bool) -> Iterator[Figure]:
    """Yield the speed of both checks, and recall against presidio on the same sentences."""
    texts = texts_of(2_000 if quick else 40_000)
    view = view_of(texts)
    rate = speed(Personal(), view)
    yield Figure(name="corpus.personal, mixed zh/en texts", value=round(rate, 1), unit="MB/CPU s",
                 goal=40, lower_is_better=False)  # fmt: skip
    real = real_texts()
    if real:
        rate = speed(Personal(), view_of(real))
        yield Figure(name="corpus.personal, real conversations",
                     value=round(rate, 1), unit="MB/CPU s", goal=40,
                     lower_is_better=False)  # fmt: skip
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        rate_words = speed(Safety(words=words_file(folder)), view)
        yield Figure(name="corpus.safety, 10,000 words", value=round(rate_words, 1),
                     unit="MB/CPU s", lower_is_better=False)  # fmt: skip
        if not GOLD.exists():
            return
        cases = json.loads(GOLD.read_text("utf-8"))
        sentences = [case["full_text"] for case in cases]
        mine = recall(cases, ours(sentences), SHARED)
        english = [t for t in texts if t.isascii()][: 100 if quick else 1_000]
        theirs = peer(sentences + english, folder)
    same = speed(Personal(), view_of((sentences + english) * 20))
    facts: dict[str, Any] = {"ours": mine}
    if theirs is not None:
        names = {entity: (entity,) for entity in SHARED}
        facts["presidio"] = recall(cases, theirs["hits"][: len(cases)], names)
        size = sum(len(t.encode()) for t in sentences + english) / 1e6
        rate_peer = size / theirs["seconds"]
        yield Figure(
            name="corpus.personal against presidio's pattern recognisers, same English texts",
            value=round(same / rate_peer, 1), unit="times", goal=50, lower_is_better=False,
            peer="presidio-analyzer, MB/CPU s", peer_value=round(rate_peer, 3),
            facts={"ours_mb_per_cpu_s": round(same, 1)},
        )  # fmt: skip
    found = sum(e["found"] for e in mine.values())
    gold = sum(e["gold"] for e in mine.values())
    yield Figure(name="recall on the shared identifiers", value=found / gold, unit="ratio", goal=1,
                 lower_is_better=False, facts=facts)  # fmt: skip
