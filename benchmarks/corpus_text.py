"""Language, rules of text and labels: MB per CPU second, and datatrove's filters in the same run.

The peer runs in a Python of its own (YAOSU_DATATROVE names one; else a virtual environment is made
in a temporary folder). Verdicts are compared record by record, with its own words (spaCy) and with
words cut at white space, as ours are; what differs is counted by the rule that it names.
"""

from __future__ import annotations

import gzip
import json
import os
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from figure import Figure

ROOT = Path(__file__).resolve().parent.parent
DATA = Path(os.environ.get("YAOSU_TESTDATA") or ROOT.parent / "shared" / "data") / "ai"
GROUPS = ("gopher_quality", "repetition", "c4")
CUTS = {"own": "by spaCy", "space": "at white space"}
PEER = r"""
import json, sys, time
from datatrove.data import Document
from datatrove.pipeline.filters import C4QualityFilter, GopherQualityFilter, GopherRepetitionFilter
from datatrove.pipeline.filters import gopher_quality_filter, gopher_repetition_filter
texts = json.load(open(sys.argv[1], encoding="utf-8"))
said = {}
for words in ("own", "space"):
    if words == "space":
        for module in (gopher_quality_filter, gopher_repetition_filter):
            module.split_into_words = lambda text, language: text.split()
    filters = {"gopher_quality": GopherQualityFilter(), "repetition": GopherRepetitionFilter(),
               "c4": C4QualityFilter()}
    for name, filter_ in filters.items():
        def judge(text):
            try:
                got = filter_.filter(Document(text=text, id="x"))
            except ZeroDivisionError:
                got = (False, "division by zero")
            return True if got is True else got[1]
        judge(texts[0])
        start = time.process_time()
        verdicts = [judge(text) for text in texts]
        said[f"{name} {words}"] = [time.process_time() - start, verdicts]
json.dump(said, sys.stdout)
"""


def measure(quick: bool) -> Iterator[Figure]:
    corpora = {"zh": _alpaca(), "en": _lines("c4_demo.jsonl"), "mixed": []}
    corpora["mixed"] = [t for pair in zip(_alpaca() * 3, _dialogues(), strict=False) for t in pair]
    size = 1 if quick else 8
    for name, texts in corpora.items():
        yield from _ours(name, texts * size if name != "mixed" else texts)
    yield from _against_datatrove(_lines("c4_demo.jsonl")[: 60 if quick else None])


def _alpaca() -> list[str]:
    path = DATA / "llama-factory/data/alpaca_zh_demo.json"
    records = json.loads(path.read_text("utf-8"))
    return ["\n".join((r["instruction"], r["input"], r["output"])) for r in records]


def _lines(name: str) -> list[str]:
    path = DATA / "llama-factory/data" / name
    return [json.loads(line)["text"] for line in path.read_text("utf-8").splitlines()]


def _dialogues() -> list[str]:
    with gzip.open(DATA / "hh-rlhf/harmless-base/test.jsonl.gz", "rt", encoding="utf-8") as file:
        return [json.loads(line)["chosen"] for line in file]


def _best(work: Callable[[], object], times: int = 5) -> float:
    """Return the least CPU seconds of some runs: others on this machine only ever add to it."""
    seconds = []
    for _ in range(times):
        start = time.process_time()
        work()
        seconds.append(time.process_time() - start)
    return min(seconds)


def _checks() -> dict[str, Any]:
    from yaosu_validators.corpus.language import Language
    from yaosu_validators.corpus.textrules import TextRules

    estimate = TextRules(tokenizer="estimate")
    return {"language": Language(), "text": TextRules(), "text with estimated tokens": estimate}


def _views(texts: list[str]) -> list[Any]:
    from yaosu_validators.corpus.shapes import mapping_of
    from yaosu_validators.corpus.views import ViewMaker

    records = [{"text": text} for text in texts]
    maker = ViewMaker(mapping_of(records[:1], {"shape": "text", "roles": {"text": "text"}}))
    return [
        maker.view(np.arange(at, min(at + 4096, len(records))), records[at : at + 4096])
        for at in range(0, len(records), 4096)
    ]


def _about() -> Any:
    from yaosu_validators.corpus.view import About

    return About("a", "text", fields=(("text", "text"),))


GOALS = {"language": 60.0, "text": 40.0}


def _ours(name: str, texts: list[str]) -> Iterator[Figure]:
    views = _views(texts)
    bytes_ = sum(len(text.encode()) for text in texts)
    for check_name, check in _checks().items():

        def fold(check: Any = check) -> None:
            state = check.start(_about())
            for view in views:
                state = check.observe(state, view)

        fold()
        yield Figure(
            name=f"corpus.{check_name}, {name}",
            value=round(bytes_ / _best(fold) / 1e6, 1),
            unit="MB per CPU second",
            goal=GOALS.get(check_name) if name == "mixed" else None,
            lower_is_better=False,
            facts={"records": len(texts), "bytes": bytes_},
        )


# --- datatrove ------------------------------------------------------------------------------------


def _against_datatrove(texts: list[str]) -> Iterator[Figure]:
    with tempfile.TemporaryDirectory() as folder:
        python = os.environ.get("YAOSU_DATATROVE") or _make_peer(Path(folder))
        (Path(folder) / "texts.json").write_text(json.dumps(texts), encoding="utf-8")
        command = [python, "-c", PEER, f"{folder}/texts.json"]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.stderr.write(done.stderr[-2000:])
        return
    said = json.loads(done.stdout[done.stdout.index("{") :])
    bytes_ = sum(len(text.encode()) for text in texts)
    ours, rules_of = _verdicts(texts)
    check = _checks()["text"]
    views = _views(texts)
    mine = _best(lambda: [check.observe(check.start(_about()), view) for view in views])
    peer = sum(said[f"{group} own"][0] for group in GROUPS)
    yield Figure(
        name="all rules of text against three filters of datatrove",
        value=round(peer / mine, 1),
        unit="times as fast",
        goal=10.0,
        lower_is_better=False,
        facts={
            "ours_mb_s": round(bytes_ / mine / 1e6, 2),
            "peer_mb_s": round(bytes_ / peer / 1e6, 3),
        },
    )
    for group in GROUPS:
        for words in ("space", "own"):
            verdicts = said[f"{group} {words}"][1]
            same = [(v is True) == o for v, o in zip(verdicts, ours[group], strict=True)]
            differ = Counter(
                f"peer: {v if v is not True else 'passes'}; ours: {' '.join(r) or 'passes'}"
                for v, r, s in zip(verdicts, rules_of[group], same, strict=True)
                if not s
            )
            yield Figure(
                name=f"{group}: same verdict, peer's words {CUTS[words]}",
                value=round(sum(same) / len(same), 4),
                unit="share of records",
                goal=0.99 if words == "space" and group != "c4" else None,
                lower_is_better=False,
                facts={"n": len(same), "differences": dict(differ.most_common(8))},
            )


def _verdicts(texts: list[str]) -> tuple[dict[str, list[bool]], dict[str, list[list[str]]]]:
    """Return of each record whether it passes each group of rules, and which rules it fails."""
    check = _checks()["text"]
    passed: dict[str, list[bool]] = {group: [] for group in GROUPS}
    failed: dict[str, list[list[str]]] = {group: [] for group in GROUPS}
    for text in texts:
        (view,) = _views([text])
        state = check.observe(check.start(_about()), view)
        for group in GROUPS:
            passed[group].append(not state.failed[group])
            names = [k for k, n in state.failed.items() if n and k.startswith(f"{group}.")]
            failed[group].append([name.split(".")[1] for name in names])
    return passed, failed


def _make_peer(folder: Path) -> str:
    subprocess.run([sys.executable, "-m", "venv", folder / "peer"], check=True)
    python = str(folder / "peer/bin/python")
    packages = ["datatrove[processing]", "spacy", "nltk"]
    subprocess.run([python, "-m", "pip", "install", "-q", *packages], check=True)
    return python
