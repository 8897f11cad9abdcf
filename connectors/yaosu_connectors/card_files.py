"""Which files a README card means: its configs and splits, or the names of the files alone."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from yaosu_schemas.errors import TooLarge
from yaosu_schemas.texts import clip

DEFAULT = "default"
FORMATS = ("parquet", "jsonl", "json", "csv", "tsv", "arrow", "txt", "tar")
MAX_TESTS = 1_000_000
"""Patterns times files: a card of a stranger must not hold the machine up."""
_COMPRESSED = (".gz", ".bz2", ".zst", ".xz")
_WORDS = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "dev", "val"),
    "test": ("test", "testing", "eval", "evaluation"),
}
_SHARD = re.compile(r"(?:.*/)?([A-Za-z0-9_.]+?)-\d{5}-of-\d{5}[^/]*")


@dataclass(frozen=True, slots=True)
class Part:
    """The files of one split of one config; `empty` names the patterns that found nothing."""

    config: str
    split: str
    paths: tuple[str, ...]
    empty: tuple[str, ...] = ()


def format_of(path: str) -> str:
    """Return the format of a data file by its name, without its compression; "" if it is none."""
    name = path.rsplit("/", 1)[-1].lower()
    for ending in _COMPRESSED:
        name = name.removesuffix(ending)
    ending = name.rsplit(".", 1)[-1] if "." in name else ""
    ending = {"ndjson": "jsonl"}.get(ending, ending)
    return ending if ending in FORMATS else ""


def split_of(path: str) -> str:
    """Return the split that the name of a file tells, or ""."""
    shard = _SHARD.fullmatch(path)
    if shard is not None:
        return shard[1]
    found = ""
    for word in re.split(r"[-._ /0-9]+", path.lower()):
        found = next((split for split, words in _WORDS.items() if word in words), found)
    return found


def parts(configs: object, files: Sequence[str]) -> Iterator[Part]:
    """Yield what each config of a card names; without configs, what the file names tell."""
    budget = [MAX_TESTS]
    listed = [c for c in configs if isinstance(c, Mapping)] if isinstance(configs, list) else []
    if not listed:
        yield from _by_name(DEFAULT, files)
        return
    for config in listed:
        name = str(config.get("config_name") or DEFAULT)
        below = str(config.get("data_dir") or "").strip("./")
        inside = [f for f in files if not below or f.startswith(f"{below}/")]
        if "data_files" not in config:
            yield from _by_name(name, inside)
            continue
        for split, patterns in _data_files(config["data_files"]):
            yield _match(name, split, patterns, below, inside, budget)


def _data_files(said: object) -> Iterator[tuple[str, list[str]]]:
    """Yield (split, patterns) of each spelling that there is."""
    if isinstance(said, Mapping):
        for split, patterns in said.items():
            yield str(split), _texts(patterns)
        return
    listed = said if isinstance(said, list) else [said]
    if all(isinstance(item, str) for item in listed):
        yield "train", _texts(listed)
        return
    for item in listed:
        if isinstance(item, Mapping):
            yield str(item.get("split") or "train"), _texts(item.get("path"))


def _texts(said: object) -> list[str]:
    return [s for s in (said if isinstance(said, list) else [said]) if isinstance(s, str) and s]


def _match(
    config: str, split: str, patterns: list[str], below: str, files: Sequence[str],
    budget: list[int],
) -> Part:  # fmt: skip
    there = set(files)
    found: dict[str, None] = {}
    empty: list[str] = []
    for pattern in patterns:
        plain = pattern.removeprefix("./")
        wanted = [plain, f"{below}/{plain}"] if below else [plain]
        hits = [w for w in wanted if w in there]
        if not hits and re.search(r"[*?\[]", plain) and len(plain) <= 500:
            budget[0] -= len(files)
            if budget[0] < 0:
                raise TooLarge(
                    "the card has too many patterns for so many files",
                    "卡片中的匹配模式与文件过多",
                )
            hits = [f for f in files if any(matches(f, w) for w in wanted)]
        if not hits:
            empty.append(clip(pattern, 200))
        found |= dict.fromkeys(hits)
    return Part(config, split, tuple(found), tuple(empty))


def matches(path: str, pattern: str) -> bool:
    """Say whether a path fits a pattern: `*` stays in its folder, `**` is any number of them."""
    names, wanted = path.split("/"), pattern.split("/")
    if len(wanted) > 30:
        return False
    reached = {0}  # how many names are used up by the pattern so far
    for part in wanted:
        if part == "**":
            reached = set(range(min(reached), len(names) + 1))
        else:
            reached = {n + 1 for n in reached if n < len(names) and fnmatchcase(names[n], part)}
        if not reached:
            return False
    return len(names) in reached


def _by_name(config: str, files: Sequence[str]) -> Iterator[Part]:
    """Yield the splits that file names tell, of the format that most data files have."""
    counted: dict[str, list[str]] = {}
    for path in files:
        kind = format_of(path)
        if kind and not path.endswith(("dataset_infos.json", "datapackage.json")):
            counted.setdefault(kind, []).append(path)
    if not counted:
        return
    chosen = max(counted.values(), key=len)
    splits: dict[str, list[str]] = {}
    told = {path: split_of(path) for path in chosen}
    for path in chosen:
        # Where names tell a split, a file without one is no data of it.
        split = told[path] or ("" if any(told.values()) else "train")
        if split:
            splits.setdefault(split, []).append(path)
    for split, paths in splits.items():
        yield Part(config, split, tuple(paths))


def as_configs(found: Sequence[tuple[str, str, Any]]) -> list[dict[str, Any]]:
    """Return (config, split, path or paths) as the `configs` of a card."""
    configs: dict[str, list[dict[str, Any]]] = {}
    for config, split, path in found:
        configs.setdefault(config, []).append({"split": split, "path": path})
    return [
        {"config_name": name, "data_files": files, **({"default": True} if not n else {})}
        for n, (name, files) in enumerate(configs.items())
    ]
