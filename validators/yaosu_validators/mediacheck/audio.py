"""Do the sounds decode, are their headers true, how much is silence, clipped or noise?"""

from __future__ import annotations

from array import array
from collections import Counter
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from yaosu_schemas.errors import Text
from yaosu_schemas.texts import clip
from yaosu_validators.check import Conclusion, Finding, Severity, check
from yaosu_validators.filecheck import FileItem, PackageFiles
from yaosu_validators.media import Kind

from .measures import histogram, measure, ratio, total
from .sounds import DECODED, NoSound, Sound, sound_of

_LIES = {
    "riff": Text("its header tells of more bytes than there are", "文件头声明的长度大于文件"),
    "data": Text("its data should be longer than they are", "数据块声明的长度大于实际"),
    "block": Text("its data end within a sample", "数据在采样点中间结束"),
    "byte-rate": Text("its byte rate does not follow from its format", "字节率与格式不符"),
    "length": Text("it is not as long as its header says", "时长与文件头不符"),
}
_REASONS = {
    "empty": Text("it holds no sound", "没有声音数据"),
    "header": Text("its header makes no sense", "文件头无效"),
    "no-data": Text("it has no data", "没有数据块"),
    "undecodable": Text("it does not decode", "无法解码"),
    "too-large": Text("a larger file than the limit", "文件超过上限"),
}
_NUMBERS = ("rate", "channels", "bits", "seconds", "silence", "clipping", "snr_db", "kbit_s")


@dataclass(slots=True)
class AudioState:
    """Numbers of every sound that decoded, in order, and what is wrong with the others."""

    numbers: dict[str, array[float]] = field(
        default_factory=lambda: {name: array("d") for name in _NUMBERS}
    )
    counts: Counter[str] = field(default_factory=Counter)
    bad: list[tuple[str, str]] = field(default_factory=list)
    lying: list[tuple[str, str]] = field(default_factory=list)


@check("media.audio", "1")
@dataclass(frozen=True, slots=True, kw_only=True)
class Audio:
    """Every sound decodes and is what its header says."""

    silence_db: float = -50.0  # of full scale; a quieter frame of 20 ms is silent
    clipped_over: float = 1e-4  # share of samples from which on a sound counts as clipped
    silent_over: float = 0.9  # share of frames from which on a sound counts as silent
    max_frames: int = 1 << 30  # samples per channel that are decoded of one file
    max_bytes: int = 512 << 20  # of a coded file
    listed: int = 1000
    sees: ClassVar = "files"

    def wants(self, path: str, kind: Kind) -> bool:
        return kind.family == "audio"

    def start(self) -> AudioState:
        return AudioState()

    def observe(self, state: AudioState, item: FileItem) -> AudioState:
        state.counts["files"] += 1
        if item.kind.format not in DECODED:
            state.counts["not_decoded"] += 1
            return state
        try:
            with item.open() as file:
                sound = sound_of(
                    file,
                    item.kind.format,
                    item.size,
                    max_frames=self.max_frames,
                    max_bytes=self.max_bytes,
                    silence_db=self.silence_db,
                )
        except NoSound as why:
            if why.reason == "coding":
                state.counts["not_decoded"] += 1
                return state
            state.counts[why.reason] += 1
            state.bad.extend([(item.path, why.reason)][: self.listed - len(state.bad)])
            return state
        self._keep(state, item.path, sound)
        return state

    def _keep(self, state: AudioState, path: str, sound: Sound) -> None:
        for name, numbers in state.numbers.items():
            if name == "kbit_s":
                numbers.append(sound.bytes * 8 / 1000 / sound.seconds)
            else:
                numbers.append(float(getattr(sound, name)))
        state.counts["cut_short"] += sound.cut_short
        state.counts["streams"] += "stream" in sound.lies
        lies = [lie for lie in sound.lies if lie in _LIES]
        state.counts["lying"] += bool(lies)
        state.lying.extend([(path, lie) for lie in lies[:1]][: self.listed - len(state.lying)])

    def merge(self, left: AudioState, right: AudioState) -> AudioState:
        for name, numbers in left.numbers.items():
            numbers.extend(right.numbers[name])
        left.counts.update(right.counts)
        left.bad += right.bad[: self.listed - len(left.bad)]
        left.lying += right.lying[: self.listed - len(left.lying)]
        return left

    def conclude(self, state: AudioState, package: PackageFiles) -> Conclusion:
        files = state.counts["files"]
        if not files:
            return Conclusion()
        numbers = {k: np.array(v, np.float64) for k, v in state.numbers.items()}
        count = len(numbers["rate"])
        snr = numbers["snr_db"][np.isfinite(numbers["snr_db"])]
        bits = numbers["bits"][numbers["bits"] > 0]
        return Conclusion(
            metrics=(
                ratio("own:audio_decodable", count, files - state.counts["not_decoded"]),
                ratio("own:audio_true_headers", count - state.counts["lying"], count),
                measure("tc609:02080401", snr, "dB"),
                measure("tc609:02080403", numbers["rate"], "Hz"),
                measure("tc609:02080404", bits, "bit"),
                measure("tc609:02080405", numbers["kbit_s"], "kbit/s"),
                total("tc609:02080406", numbers["seconds"], "s"),
            ),
            findings=tuple(
                [
                    self._finding("sound-broken", path, _REASONS[reason], package)
                    for path, reason in state.bad
                ]
                + [
                    self._finding("sound-header", path, _LIES[lie], package, _severity(lie))
                    for path, lie in state.lying
                ]
            ),
            evidence={
                "files": files,
                "decoded": count,
                "not_decoded": state.counts["not_decoded"],
                "broken": {r: state.counts[r] for r in _REASONS if state.counts[r]},
                "untrue_headers": state.counts["lying"],
                "of_unknown_length": state.counts["streams"],
                "measured_in_part": state.counts["cut_short"],
                "rates": _counted(numbers["rate"]),
                "channels": _counted(numbers["channels"]),
                "bits": _counted(bits),
                "silent": int((numbers["silence"] > self.silent_over).sum()),
                "clipped": int((numbers["clipping"] > self.clipped_over).sum()),
                "seconds": histogram(numbers["seconds"]),
                "silence": histogram(numbers["silence"]),
                "snr_db": histogram(snr),
            },
        )

    def _finding(
        self,
        type_: str,
        path: str,
        why: Text,
        package: PackageFiles,
        severity: Severity = "error",
    ) -> tuple[str, Finding]:
        note = Text(f"{clip(path)}: {why.en}", f"{clip(path)}：{why.zh}")
        return package.resource_of(path), Finding(type=type_, note=note, severity=severity)


def _severity(lie: str) -> Severity:
    """Return how bad a lie is: no reader is misled by the sizes that none of them reads."""
    return "warning" if lie in ("riff", "byte-rate") else "error"


def _counted(values: np.ndarray[tuple[int, ...], np.dtype[np.float64]]) -> dict[str, int]:
    """Return how often each value occurs, the most frequent 100."""
    counts = Counter(int(v) for v in values)
    ordered = sorted(counts.items(), key=lambda pair: (-pair[1], pair[0]))
    return {str(value): count for value, count in ordered[:100]}
