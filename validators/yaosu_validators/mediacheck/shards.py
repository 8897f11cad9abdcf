"""WebDataset shards: are samples whole, keys unique, names safe, archives unbroken?

A sample is the run of neighbouring members with one key: their path up to the first dot of the
file name. Loaders read front to back, so a key that comes again later makes two half samples.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from yaosu_schemas.errors import Text
from yaosu_schemas.paths import path_problem
from yaosu_schemas.texts import clip
from yaosu_validators.check import Conclusion, Finding, Severity, check
from yaosu_validators.filecheck import MEMBER_MARK, FileItem, PackageFiles, is_tar, plain_tar
from yaosu_validators.media import Kind
from yaosu_validators.streams import SourceProblem
from yaosu_validators.tars import Member, TarProblem, members

from .measures import ratio

_MANY_SETS = 200  # kinds of sample that are told apart
_SKIPPED = ("__", "._")  # members that loaders and file systems add


@dataclass(slots=True)
class Shard:
    """What one archive holds."""

    path: str
    members: int = 0
    samples: int = 0
    problems: Counter[str] = field(default_factory=Counter)
    first: dict[str, str] = field(default_factory=dict)  # problem to the first name that has it
    broken: Text | None = None
    sets: Counter[str] = field(default_factory=Counter)  # "cls,jpg" to samples


@dataclass(slots=True)
class ShardsState:
    """All shards, in order, and digests of the keys of all samples."""

    shards: list[Shard] = field(default_factory=list)
    keys: list[bytes] = field(default_factory=list)  # 8 bytes a sample, one string per shard


@check("media.webdataset", "1")
@dataclass(frozen=True, slots=True, kw_only=True)
class WebDataset:
    """Samples of a shard are whole and once there; no member leaves its folder."""

    listed: int = 1000
    sees: ClassVar = "files"

    def wants(self, path: str, kind: Kind) -> bool:
        name = path.lower()
        packed = (".tar", ".tgz", ".tar.gz", ".tar.zst", ".tar.xz", ".tar.bz2")
        return MEMBER_MARK not in path and (kind.format == "tar" or name.endswith(packed))

    def start(self) -> ShardsState:
        return ShardsState()

    def observe(self, state: ShardsState, item: FileItem) -> ShardsState:
        shard = Shard(item.path)
        keys: list[bytes] = []
        try:
            if is_tar(item):
                with plain_tar(item) as (file, _):
                    _walk(members(file), shard, keys)
        except TarProblem as why:
            shard.broken = why.note
        except SourceProblem as why:
            shard.broken = why.finding.note
        state.shards.append(shard)
        state.keys.append(b"".join(keys))
        return state

    def merge(self, left: ShardsState, right: ShardsState) -> ShardsState:
        left.shards += right.shards
        left.keys += right.keys
        return left

    def conclude(self, state: ShardsState, package: PackageFiles) -> Conclusion:
        if not state.shards:
            return Conclusion()
        sets: Counter[str] = Counter()
        for shard in state.shards:
            sets.update(shard.sets)
        usual = _usual(state.shards)
        alike = sum(s.sets[usual[_family(s.path)]] for s in state.shards if s.sets)
        samples = sum(s.samples for s in state.shards)
        keys = np.frombuffer(b"".join(state.keys), np.uint64)
        twice = len(keys) - len(np.unique(keys))
        within = sum(s.problems["key-again"] for s in state.shards)
        problems: Counter[str] = Counter()
        for shard in state.shards:
            problems.update(shard.problems)
        return Conclusion(
            metrics=(
                ratio("own:shards_whole", sum(s.broken is None for s in state.shards),
                      len(state.shards)),
                ratio("own:shards_samples_alike", alike, samples),
                ratio("own:shards_keys_unique", samples - twice, samples),
            ),
            findings=tuple(self._findings(state, package, usual, twice - within)),
            evidence={
                "shards": len(state.shards),
                "members": sum(s.members for s in state.shards),
                "samples": samples,
                "sets": dict(sorted(sets.items(), key=lambda p: (-p[1], p[0]))[:50]),
                "keys_again": twice,
                "problems": dict(sorted(problems.items())),
                "samples_per_shard": [s.samples for s in state.shards[: self.listed]],
            },
        )  # fmt: skip

    def _findings(
        self,
        state: ShardsState,
        package: PackageFiles,
        usual: dict[str, str],
        across: int,
    ) -> Iterator[tuple[str, Finding]]:
        for shard in state.shards[: self.listed]:
            where = package.resource_of(shard.path)
            most = usual.get(_family(shard.path), "")
            if shard.broken is not None:
                yield where, _finding("shard-broken", "error", shard.path, shard.broken)
            for problem, count in sorted(shard.problems.items()):
                type_, severity, why = _PROBLEMS[problem]
                name = clip(shard.first[problem], 80)
                note = Text(f"{why.en}: {count} (first: {name!r})",
                            f"{why.zh}：{count} 个（首个：“{name}”）")  # fmt: skip
                if type_ == "shard-key" and "," not in most:
                    severity = "warning"  # where a sample is one file, no loader is misled
                yield where, _finding(type_, severity, shard.path, note)
            if count := shard.samples - shard.sets[most]:
                note = Text(f"{count} samples do not have the usual members ({clip(most, 100)})",
                            f"{count} 个样本的成员与通常不同（{clip(most, 100)}）")  # fmt: skip
                yield where, _finding("shard-sample", "warning", shard.path, note)
        if across > 0:
            note = Text(f"{across} keys stand in several shards", f"{across} 个键出现在多个分片中")
            yield "", Finding(type="shard-key", note=note)


_PROBLEMS: dict[str, tuple[str, Severity, Text]] = {
    "unsafe": ("unsafe-path", "error", Text(
        "members whose names leave the folder, hide or deceive", "成员名称越出目录、隐藏或有误导")),
    "link": ("unsafe-path", "error", Text("members that are links or devices", "成员是链接或设备")),
    "key-again": ("shard-key", "error", Text(
        "keys that come again after another sample", "样本键在其他样本之后再次出现")),
    "twice": ("shard-key", "error", Text(
        "members that stand twice in one sample", "同一样本中重复的成员")),
    "no-extension": ("shard-sample", "warning", Text(
        "members without an extension, which loaders skip", "没有扩展名的成员，会被加载程序跳过")),
    "empty": ("shard-sample", "warning", Text("members that are empty", "空成员")),
}  # fmt: skip


def _family(path: str) -> str:
    """Return the name of a shard without its numbers: shards of one family hold the same."""
    return re.sub(r"\d+", "#", path)


def _usual(shards: list[Shard]) -> dict[str, str]:
    """Return for each family of shards the members that most samples have."""
    sets: dict[str, Counter[str]] = {}
    for shard in shards:
        sets.setdefault(_family(shard.path), Counter()).update(shard.sets)
    return {f: max(sorted(c), key=lambda name: c[name]) for f, c in sets.items() if c}


def _finding(type_: str, severity: Severity, path: str, note: Text) -> Finding:
    text = Text(f"{clip(path)}: {note.en}", f"{clip(path)}：{note.zh}")
    return Finding(type=type_, note=text, severity=severity)


def _walk(found: Iterator[Member], shard: Shard, keys: list[bytes]) -> None:
    """Put members together to samples."""
    current: str | None = None
    extensions: list[str] = []
    seen: set[bytes] = set()

    def close() -> None:
        if current is None:
            return
        digest = hashlib.blake2b(current.encode("utf-8", "replace"), digest_size=8).digest()
        if digest in seen:
            _count(shard, "key-again", current)
        seen.add(digest)
        keys.append(digest)
        shard.samples += 1
        name = clip(",".join(sorted(set(extensions))), 200)
        shard.sets[name if name in shard.sets or len(shard.sets) < _MANY_SETS else "…"] += 1

    try:
        for member in found:
            shard.members += 1
            name = member.name
            if member.kind == "folder":
                continue
            if member.kind in ("link", "device"):
                _count(shard, "link", name)
                continue
            base = name.rsplit("/", 1)[-1]
            if base.startswith(_SKIPPED):
                continue
            if path_problem(name.removeprefix("./")) is not None:
                _count(shard, "unsafe", name)
                continue
            stem, dot, extension = base.partition(".")
            if not dot or not stem:
                _count(shard, "no-extension", name)
                continue
            if member.size == 0:
                _count(shard, "empty", name)
            key = name[: len(name) - len(base)] + stem
            if key != current:
                close()
                current, extensions = key, []
            if extension.lower() in extensions:
                _count(shard, "twice", name)
            extensions.append(extension.lower())
    finally:
        close()


def _count(shard: Shard, problem: str, name: str) -> None:
    shard.problems[problem] += 1
    shard.first.setdefault(problem, name)
