"""All checks of the records of a corpus in one pass: CPU seconds, and the share of each check.

Texts are made of whole sentences of a demonstration corpus in Chinese and a grammar of English
sentences, so that most languages are told without a model, as in a real corpus.
"""

from __future__ import annotations

import json
import random
import tempfile
import time
from collections.abc import Iterable, Iterator
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

NOUNS = (
    "pump",
    "valve",
    "robot",
    "sensor",
    "motor",
    "cable",
    "gripper",
    "battery",
    "camera",
    "joint",
)
VERBS = ("checks", "replaces", "measures", "cleans", "calibrates", "inspects", "records", "reports")
ENDS = (
    "before every shift",
    "with great care",
    "after the alarm",
    "in the workshop",
    "twice a week",
)
机 = (
    "机器人",
    "传送带",
    "电缆接头",
    "冷却风扇",
    "减速器",
    "控制柜",
    "抓手",
    "电池组",
    "摄像头",
    "关节电机",
)
动 = (
    "完成了检查",
    "温度偏高",
    "需要更换润滑油",
    "运行正常",
    "发出异常声响",
    "已经重新标定",
    "螺栓松动",
)
时 = ("在巡检之前", "按照规程", "报警之后", "在车间里", "每周两次", "由两人共同", "断电以后")


def records(size: int) -> Iterator[dict[str, Any]]:
    """Yield instruction records until so many bytes were made."""
    r = random.Random(20260309)
    made = number = 0
    while made < size:
        number += 1
        zh = r.random() < 0.5
        many = r.randint(3, 30)
        text = "".join(_zh(r) for _ in range(many)) if zh else " ".join(_en(r) for _ in range(many))
        ask = _zh(r) if zh else _en(r)
        if r.random() < 0.01:
            text += (
                f" 联系电话 138{r.randint(0, 99_999_999):08d}" if zh else " Mail ops@example.com."
            )
        record = {"id": number, "instruction": ask, "input": "", "output": text}
        made += len(json.dumps(record, ensure_ascii=False).encode())
        yield record


def _zh(r: random.Random) -> str:
    first, second = r.choice(机) + r.choice(动), r.choice(机) + r.choice(动)
    return f"{r.choice(时)}，{r.randint(1, 999)} 号{first}，{second}。"


def _en(r: random.Random) -> str:
    return (
        f"The {r.choice(NOUNS)} {r.randint(1, 999)} {r.choice(VERBS)} that the {r.choice(NOUNS)} "
        f"and the {r.choice(NOUNS)} work {r.choice(ENDS)}."
    )


def measure(quick: bool) -> Iterable[Figure]:
    """Return the throughput of all checks together, and of each."""
    with tempfile.TemporaryDirectory(prefix="yaosu-bench-") as folder:
        path = Path(folder) / "mixed.jsonl"
        with path.open("w", encoding="utf-8") as file:
            for record in records((6 if quick else 60) << 20):
                file.write(json.dumps(record, ensure_ascii=False) + "\n")
        yield from _figures(path)


def _figures(path: Path) -> Iterable[Figure]:
    resource = from_path(path.parent, path.name)
    names = [n for n in expanded(["quality"]) if n.startswith("corpus.")]
    going = course(resource, [Chosen(n) for n in names], sample_of(resource, 200))
    folds = [chosen.make() for chosen in going.checks]
    states = [fold.start(going.about) for fold in folds]
    maker = ViewMaker(going.mapped)
    spent = np.zeros(len(folds))
    begun = time.process_time()
    with OpenFile(resource) as file:
        for batch in table_batches(file):
            view = maker.view(batch.rows, batch.records)
            for n, fold in enumerate(folds):
                at = time.process_time()
                states[n] = fold.observe(states[n], view)
                spent[n] += time.process_time() - at
    places = Places({resource.name: np.zeros(1, np.int64)})
    for n, fold in enumerate(folds):
        at = time.process_time()
        fold.conclude([(going.about, states[n])], places)
        spent[n] += time.process_time() - at
    total = time.process_time() - begun
    size = path.stat().st_size / 1e6
    shares = {name: f"{100 * s / total:.1f} %" for name, s in zip(names, spent, strict=True)}
    yield Figure(
        name="all checks of records together",
        value=round(size / total, 2),
        unit="MB/CPU s",
        goal=6,
        lower_is_better=False,
        note="sentences of one grammar: most records repeat themselves, the hard case of the rules",
        facts={"mb": round(size, 1), "cpu_s": round(total, 2), **shares,
               "reading and views": f"{100 * (total - spent.sum()) / total:.1f} %"},
    )  # fmt: skip
