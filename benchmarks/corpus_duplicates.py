"""Duplicates and contamination: recall, precision, speed beside two peers, memory at 10 M records.

Recall is the share of pairs of at least 0.8 (brute force over whole sets) that stand in one
cluster; precision the share of clustered records that have such a partner. The peers run in a
Python of their own (YAOSU_MINHASH names one; else a virtual environment is made in a temporary
folder): datasketch and the signatures of datatrove over the same texts, 126 permutations, 21 bands
of 6, five words or characters a shingle. They sign only; ours also takes exact digests, prompts and
answers. Of each the least of three runs counts.
"""

from __future__ import annotations

import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from figure import Figure

from yaosu_validators.corpus import clusters, duplicates
from yaosu_validators.corpus.contamination import Contamination
from yaosu_validators.corpus.duplicates import Duplicates
from yaosu_validators.corpus.shapes import mapping_of
from yaosu_validators.corpus.shingles import normalised, shingles
from yaosu_validators.corpus.view import About, Places, Role, View
from yaosu_validators.corpus.views import ViewMaker

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("YAOSU_TESTDATA") or ROOT.parent / "shared" / "data") / "ai"
THRESHOLD = 0.8
PEER = r"""
import json, sys, time
texts = json.load(open(sys.argv[1], encoding="utf-8"))
which = sys.argv[2]
def cut(text):
    wide = sum(1 for c in text if "\u4e00" <= c <= "\u9fff")
    units = list(text.replace(" ", "")) if wide > 0.3 * len(text) else text.lower().split()
    return {"|".join(units[i : i + 5]) for i in range(max(1, len(units) - 4))}
def datasketch():
    from datasketch import MinHash, MinHashLSH
    start = time.process_time()
    lsh = MinHashLSH(params=(21, 6), num_perm=126)
    pairs = []
    for n, text in enumerate(texts):
        one = MinHash(num_perm=126, seed=1)
        one.update_batch([s.encode() for s in cut(text)])
        pairs += [[int(m), n] for m in lsh.query(one)]
        lsh.insert(str(n), one)
    return time.process_time() - start, sorted(pairs)
def datatrove():
    from datatrove.pipeline.dedup.minhash import MinhashConfig, MinhashDedupSignature
    signer = MinhashDedupSignature("/nowhere", config=MinhashConfig(5, 21, 6), language="en")
    signer.word_tokenizer = type("Words", (), {"word_tokenize": staticmethod(
        lambda t: list(t) if "\u4e00" <= t[:1] <= "\u9fff" else t.split())})()
    start = time.process_time()
    buckets, pairs = {}, set()
    for n, text in enumerate(texts):
        shingles = signer.get_shingles(text)
        if not len(shingles):
            continue
        for band, values in enumerate(signer.get_signature(shingles)):
            like = buckets.setdefault((band, tuple(values)), [])
            pairs.update((m, n) for m in like)
            like.append(n)
    return time.process_time() - start, sorted(pairs)
runs = [globals()[which]() for _ in range(3)]
print(json.dumps([min(run[0] for run in runs), runs[0][1]]))
"""


def measure(quick: bool) -> Iterator[Figure]:
    for zh in (True, False):
        name = "generated Chinese" if zh else "generated English"
        yield from _quality(name, generated(1, 400 if quick else 1500, zh=zh))
    for name, texts in _real(400 if quick else 1500).items():
        yield from _quality(name, texts)
    mixed = [t for z in (True, False) for t in generated(2, 400 if quick else 2500, zh=z)]
    random.Random(3).shuffle(mixed)
    yield from _speed(mixed)
    yield from _peers(mixed[: 400 if quick else 2000])
    yield from _memory((20_000, 100_000) if quick else (1_000_000, 10_000_000))


# --- texts --------------------------------------------------------------------------------------


def edited(r: random.Random, units: Sequence[str], alphabet: Sequence[str]) -> list[str]:
    out = list(units)
    for _ in range(r.randint(0, max(1, len(out) // 40))):
        at = r.randrange(len(out))
        out[at : at + r.randint(0, 1)] = [r.choice(alphabet)]
    return out


def generated(seed: int, count: int, *, zh: bool) -> list[str]:
    """Return texts of 20 to 800 units, half of them edited copies of others."""
    r = random.Random(seed)
    alphabet = [chr(0x4E00 + n) for n in range(3000)] if zh else [f"wo{n:x}rd" for n in range(9000)]
    texts: list[list[str]] = []
    for _ in range(count):
        if texts and r.random() < 0.5:
            texts.append(edited(r, r.choice(texts), alphabet))
        else:
            texts.append([r.choice(alphabet) for _ in range(r.randint(20, 800))])
    return [("" if zh else " ").join(t) for t in texts]


def _real(count: int) -> dict[str, list[str]]:
    """Return real records with edited copies of half of them."""
    found = {}
    for name in ("alpaca_zh_demo", "alpaca_en_demo"):
        path = DATA / "llama-factory/data" / f"{name}.json"
        if not path.exists():
            continue
        r = random.Random(4)
        raw = json.loads(path.read_text("utf-8"))
        texts = ["\n".join((x["instruction"], x["input"], x["output"])) for x in raw]
        texts = texts[: count * 2 // 3]
        cut, glue = (list, "") if "zh" in name else (str.split, " ")
        for text in texts[: len(texts) // 2]:
            units = cut(text)
            texts.append(glue.join(edited(r, units, units)))
        found[f"real records, {name} with edited copies"] = texts
    return found


def view_of(texts: Sequence[str], at_once: int = 1000) -> list[View]:
    declared = {"shape": "text", "roles": {"text": "text"}}
    maker = ViewMaker(mapping_of([{"text": texts[0]}], declared))
    return [
        maker.view(np.arange(n, min(n + at_once, len(texts))),
                   [{"text": t} for t in texts[n : n + at_once]])
        for n in range(0, len(texts), at_once)
    ]  # fmt: skip


# --- recall and precision -----------------------------------------------------------------------


def near_pairs(texts: Sequence[str]) -> dict[int, set[int]]:
    """Return for every text those of at least the threshold, from whole sets, pair by pair."""
    found = [shingles(normalised(pa.array(texts[n : n + 1000], pa.large_string())))
             for n in range(0, len(texts), 1000)]  # fmt: skip
    sets = [s.hashes[a:b] for s in found for a, b in zip(s.starts[:-1], s.starts[1:], strict=True)]
    holders: dict[int, list[int]] = {}
    near: dict[int, set[int]] = {n: set() for n in range(len(texts))}
    for n, mine in enumerate(sets):
        shared: dict[int, int] = {}
        for shingle in mine.tolist():
            for other in holders.setdefault(shingle, []):
                shared[other] = shared.get(other, 0) + 1
            holders[shingle].append(n)
        for other, both in shared.items():
            if both / (len(mine) + len(sets[other]) - both) >= THRESHOLD:
                near[n].add(other)
                near[other].add(n)
    return near


def _quality(name: str, texts: list[str]) -> Iterator[Figure]:
    near = near_pairs(texts)
    roots = roots_of(view_of(texts))
    pairs = [(a, b) for a, others in near.items() for b in others if a < b]
    hit = sum(int(roots[a] == roots[b]) for a, b in pairs)
    _, where, sizes = np.unique(roots, return_inverse=True, return_counts=True)
    members = np.flatnonzero(sizes[where] > 1).tolist()
    right = sum(1 for n in members if any(roots[n] == roots[m] for m in near[n]))
    facts = {"records": len(texts), "pairs": len(pairs), "clustered": len(members)}
    yield Figure(name=f"recall, {name}", value=round(hit / max(1, len(pairs)), 4), unit="ratio",
                 goal=0.97, lower_is_better=False, facts=facts)  # fmt: skip
    yield Figure(name=f"precision, {name}", value=round(right / max(1, len(members)), 4),
                 unit="ratio", goal=0.98, lower_is_better=False, facts=facts)  # fmt: skip


def roots_of(views: Sequence[View]) -> Any:
    check, about = Duplicates(), About("r", shape="text")
    state = check.start(about)
    for view in views:
        state = check.observe(state, view)
    everything = clusters.All.of([(about, state)], Places({"r": np.zeros(1, np.int64)}))
    return clusters.near_roots(
        everything, clusters.exact_roots(everything), THRESHOLD, duplicates.BANDS
    )


# --- speed --------------------------------------------------------------------------------------


def _least(work: Callable[[], object]) -> float:
    """Return the least CPU seconds of three runs: others on this machine only ever add to it."""
    seconds = []
    for _ in range(3):
        start = time.process_time()
        work()
        seconds.append(time.process_time() - start)
    return min(seconds)


def _speed(texts: list[str]) -> Iterator[Figure]:
    size = sum(len(t.encode()) for t in texts)
    views, about = view_of(texts), About("r", shape="text")
    check = Duplicates()
    took = _least(lambda: [check.observe(check.start(about), view) for view in views])
    yield Figure(name="duplicates, exact and near, mixed zh/en", value=round(size / took / 1e6, 1),
                 unit="MB/CPU s", goal=25, lower_is_better=False)  # fmt: skip
    benchmark = DATA / "gsm8k/grade_school_math/data/test.jsonl"
    if benchmark.exists():
        sought = Contamination(benchmarks=(str(benchmark),))
        sought.observe(sought.start(about), views[0])
        took = _least(lambda: [sought.observe(sought.start(about), view) for view in views])
        yield Figure(name="contamination against GSM8K test, mixed zh/en",
                     value=round(size / took / 1e6, 1), unit="MB/CPU s", goal=60,
                     lower_is_better=False)  # fmt: skip


def _peers(texts: list[str]) -> Iterator[Figure]:
    size = sum(len(t.encode()) for t in texts) / 1e6
    views, near = view_of(texts), near_pairs(texts)
    mine = _least(lambda: roots_of(views))
    roots = roots_of(views)
    pairs = {(a, b) for a, others in near.items() for b in others if a < b}
    recall = sum(int(roots[a] == roots[b]) for a, b in pairs) / len(pairs)
    with tempfile.TemporaryDirectory() as folder:
        python = os.environ.get("YAOSU_MINHASH") or _make_peer(Path(folder))
        (Path(folder) / "texts.json").write_text(json.dumps(texts), encoding="utf-8")
        for peer in ("datasketch", "datatrove"):
            command = [python, "-c", PEER, f"{folder}/texts.json", peer]
            done = subprocess.run(command, capture_output=True, text=True, check=False)
            if done.returncode:
                sys.stderr.write(done.stderr[-2000:])
                continue
            took, said = json.loads(done.stdout.splitlines()[-1])
            told = {(a, b) for a, b in said}
            facts = {
                "recall": round(recall, 4),
                "peer_recall_of_pairs": round(len(told & pairs) / len(pairs), 4),
                "peer_pairs_below_the_threshold": len(told - pairs),
                "ours_mb_s": round(size / mine, 2), "peer_mb_s": round(size / took, 3),
            }  # fmt: skip
            yield Figure(name=f"signatures and clusters against {peer}",
                         value=round(took / mine, 1), unit="times as fast", goal=10,
                         lower_is_better=False, facts=facts)  # fmt: skip


def _make_peer(folder: Path) -> str:
    subprocess.run([sys.executable, "-m", "venv", folder / "peer"], check=True)
    python = str(folder / "peer/bin/python")
    subprocess.run([python, "-m", "pip", "install", "-q", "datasketch", "datatrove", "orjson"],
                   check=True)  # fmt: skip
    return python


# --- memory -------------------------------------------------------------------------------------

_AT_ONCE = 4000
_WORDS = 14  # a record; one word of the last changed leaves 9 of 11 shingles
RUN = """
import json, sys
sys.path.insert(0, sys.argv[1])
import corpus_duplicates
print(json.dumps(corpus_duplicates.many(int(sys.argv[2]))))
"""


def many(count: int) -> dict[str, Any]:
    """Fold and conclude records of which 5 % repeat the one before and 5 % nearly do."""
    vocabulary = pa.array([f"w{n:x}ord" for n in range(20_000)], pa.large_string())
    rng = np.random.default_rng(5)
    check, about = Duplicates(), About("r", shape="text")
    state, planted, size = check.start(about), [0, 0], 0
    start = time.process_time()
    made = 0.0
    for first in range(0, count, _AT_ONCE):
        began = time.process_time()
        rows = min(_AT_ONCE, count - first)
        words = rng.integers(0, len(vocabulary), (rows, _WORDS))
        kind = rng.random(rows)
        kind[::2] = 1.0  # a copy never stands behind a copy
        for n, which in enumerate((kind < 0.1, (kind >= 0.1) & (kind < 0.2))):
            at = np.flatnonzero(which)
            changed = words[at, -1]
            words[at] = words[at - 1]
            if n:
                words[at, -1] = (changed + 1) % len(vocabulary)
            planted[n] += len(at)
        ends = pa.array(np.arange(0, (rows + 1) * _WORDS, _WORDS, dtype=np.int64))
        lists = pa.LargeListArray.from_arrays(ends, vocabulary.take(pa.array(words.reshape(-1))))
        texts = pc.binary_join(lists, pa.scalar(" ", pa.large_string()))
        size += pc.sum(pc.binary_length(texts)).as_py()
        view = View(
            np.arange(first, first + rows), np.arange(rows + 1), texts,
            np.full(rows, Role.TEXT, np.uint8), np.zeros(rows, np.int32),
            np.full(rows, -1, np.int32), ("text",),
        )  # fmt: skip
        made += time.process_time() - began
        part = check.observe(check.start(about), view)
        state = check.merge(state, part)
    folded = _peak()
    took = time.process_time() - start - made
    start = time.process_time()
    told = check.conclude([(about, state)], Places({"r": np.zeros(1, np.int64)}))
    measures = {m.id: m.numerator for m in told.metrics}
    return {
        "records": count, "MB": round(size / 1e6), "folded_mib": folded, "peak_mib": _peak(),
        "fold_cpu_s": round(took, 1), "conclude_cpu_s": round(time.process_time() - start, 1),
        "planted": planted, "exact": measures["own:dup_exact"], "near": measures["own:dup_near"],
    }  # fmt: skip


def _peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def _memory(counts: tuple[int, int]) -> Iterator[Figure]:
    told = []
    for count in counts:
        command = [sys.executable, "-c", RUN, str(Path(__file__).parent), str(count)]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        told.append(json.loads(done.stdout))
    for facts in told:
        yield Figure(name=f"peak memory while {facts['records']:,} records are folded",
                     value=facts["folded_mib"], unit="MiB", goal=512, facts=facts)  # fmt: skip
        yield Figure(name=f"peak memory with the clusters of {facts['records']:,} records",
                     value=facts["peak_mib"], unit="MiB")  # fmt: skip
        found = facts["near"] - facts["exact"]
        yield Figure(name=f"near copies found among {facts['records']:,}",
                     value=round(found / max(1, facts["planted"][1]), 4), unit="ratio", goal=0.97,
                     lower_is_better=False)  # fmt: skip
