"""Checks of media: files and megabytes per CPU second, memory per file, doubles found and missed.

Pictures are generated with large shapes and grain; a tenth of them comes again as a smaller JPEG of
quality 60, so that what the perceptual hash finds can be counted against the truth.
"""

from __future__ import annotations

import io
import json
import pickle
import resource
import struct
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from time import process_time
from typing import Any

import numpy as np
from figure import Figure
from PIL import Image

from yaosu_validators.check import Chosen, Conclusion
from yaosu_validators.filecheck import files_of, look
from yaosu_validators.mediacheck.pictures import clusters


def picture(rng: np.random.Generator, width: int, height: int) -> Image.Image:
    coarse = Image.fromarray(rng.integers(0, 255, (6, 8, 3), np.uint8)).resize((width, height), 2)
    grain = rng.normal(0, 4, (height, width, 1))
    return Image.fromarray(np.clip(np.asarray(coarse) + grain, 0, 255).astype(np.uint8))


def pictures(folder: Path, count: int) -> None:
    rng = np.random.default_rng(4)
    for number in range(count):
        image = picture(rng, 640, 480)
        image.save(folder / f"{number:06d}.jpg", quality=90)
        if number % 10 == 0:
            image.resize((400, 300)).save(folder / f"{number:06d}_again.jpg", quality=60)


def sounds(folder: Path, count: int) -> None:
    rng = np.random.default_rng(5)
    for number in range(count):
        samples = (rng.normal(0, 3000, 160_000)).astype("<i2").tobytes()
        head = struct.pack("<HHIIHH", 1, 1, 16000, 32000, 2, 16)
        body = b"WAVEfmt " + struct.pack("<I", 16) + head + b"data"
        body += struct.pack("<I", len(samples)) + samples
        (folder / f"{number:06d}.wav").write_bytes(b"RIFF" + struct.pack("<I", len(body)) + body)


def episodes(folder: Path, count: int) -> None:
    """Write a LeRobot v2.1 set of 26 joints, a thousand frames an episode."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    (folder / "meta").mkdir()
    data = folder / "data/chunk-000"
    data.mkdir(parents=True)
    joint = {"dtype": "float32", "shape": [26], "names": None}
    info: dict[str, Any] = {
        "codebase_version": "v2.1", "fps": 30, "total_episodes": count, "chunks_size": 100_000,
        "total_frames": 1000 * count, "total_tasks": 1,
        "features": {"observation.state": joint, "action": joint},
    }  # fmt: skip
    (folder / "meta/info.json").write_text(json.dumps(info))
    lines = [json.dumps({"episode_index": n, "length": 1000}) for n in range(count)]
    (folder / "meta/episodes.jsonl").write_text("\n".join(lines))
    rng = np.random.default_rng(6)
    for n in range(count):
        values = np.cumsum(rng.normal(0, 0.01, (1000, 26)), axis=0).astype(np.float32)
        both = pa.FixedSizeListArray.from_arrays(pa.array(values.reshape(-1)), 26)
        table = pa.table({
            "observation.state": both, "action": both,
            "timestamp": pa.array((np.arange(1000) / 30).astype(np.float32)),
            "frame_index": np.arange(1000), "episode_index": np.full(1000, n),
            "index": np.arange(1000) + 1000 * n,
        })  # fmt: skip
        pq.write_table(table, data / f"episode_{n:06d}.parquet")


def _run(name: str, write: Callable[[Path, int], None], count: int) -> tuple[Any, ...]:
    with tempfile.TemporaryDirectory(prefix="yaosu-media-") as folder:
        write(Path(folder), count)
        package = files_of(Path(folder))
        start = process_time()
        concluded: Conclusion = look(package, [Chosen(name)]).conclusions[0]
        took = process_time() - start
        return concluded, took, sum(package.sizes.values()) / 1e6, len(package.sizes)


def measure(quick: bool) -> Iterator[Figure]:
    """Measure each kind of medium on generated files."""
    many = 200 if quick else 2000
    result, took, size, files = _run("media.images", pictures, many)
    yield Figure(name="pictures of 640 x 480, decoded and measured", value=round(files / took),
                 unit="pictures/CPU s", facts={"MB": round(size, 1), "files": files})  # fmt: skip
    members = [set(c) for c in result.evidence["clusters"]["members"]]
    right = [c for c in members if len({Path(m).stem[:6] for m in c}) == 1]
    yield Figure(name="recall of doubles (smaller, JPEG 60)", value=len(right) / (many // 10),
                 unit="ratio", goal=0.97, lower_is_better=False)  # fmt: skip
    yield Figure(name="precision of doubles", value=len(right) / max(1, len(members)),
                 unit="ratio", goal=0.98, lower_is_better=False)  # fmt: skip
    result, took, size, files = _run("media.audio", sounds, many // 4)
    yield Figure(
        name="WAV of 10 s",
        value=round(size / took, 1),
        unit="MB/CPU s",
        facts={"hours of sound per CPU second": round(files * 10 / 3600 / took, 2)},
    )
    result, took, size, files = _run("robot.lerobot", episodes, many // 10)
    yield Figure(name="frames of 26 + 26 joints", value=round(many // 10 * 1000 / took),
                 unit="frames/CPU s", facts={"MB": round(size, 1)})  # fmt: skip
    yield from _hashes(100_000 if quick else 1_000_000)


def _hashes(count: int) -> Iterator[Figure]:
    """Cluster random hashes, a hundredth of them with up to four changed bits."""
    rng = np.random.default_rng(7)
    hashes = rng.integers(0, 2**64, count, np.uint64)
    twins = count // 100
    changed = hashes[:twins].copy()
    for _ in range(4):
        changed ^= np.uint64(1) << rng.integers(0, 64, twins).astype(np.uint64)
    every = np.concatenate([hashes, changed])
    start = process_time()
    found = clusters(every, 4)
    took = process_time() - start
    hit = sum(1 for c in found if any(a < twins and a + count in c for a in c))
    yield Figure(name=f"clustering {len(every):,} hashes", value=round(took, 2), unit="CPU s",
                 facts={"recall": hit / twins, "clusters": len(found)})  # fmt: skip
    yield Figure(
        name="peak memory of this process",
        value=round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        unit="MiB",
        facts={"bytes of a pickled state of 1,000 pictures": _state_bytes()},
    )


def _state_bytes() -> int:
    """Return the size of what is kept of a thousand pictures."""
    out = io.BytesIO()
    picture(np.random.default_rng(1), 64, 48).save(out, "JPEG")
    with tempfile.TemporaryDirectory(prefix="yaosu-media-") as folder:
        for number in range(1000):
            (Path(folder) / f"{number:06d}.jpg").write_bytes(out.getvalue())
        chosen = Chosen("media.images")
        fold = chosen.make()
        state = fold.start()
        from yaosu_validators.filecheck import file_parts

        for part in file_parts(files_of(Path(folder)), [chosen]):
            state = fold.merge(state, part.see().states[0])
        return len(pickle.dumps(state))
