"""Arrays of the MNIST family (IDX): are they as large as they say, and what classes do labels hold?

Header: two zero bytes, a type, the number of dimensions, their sizes as big-endian uint32.
"""

from __future__ import annotations

import io
import struct
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import BinaryIO, ClassVar, cast

import numpy as np

from yaosu_schemas.errors import Text
from yaosu_schemas.texts import clip
from yaosu_validators.check import Conclusion, Finding, check
from yaosu_validators.filecheck import FileItem, PackageFiles
from yaosu_validators.media import Kind, by_name
from yaosu_validators.streams import CHUNK, SourceProblem, decompressed

from .measures import ratio

_WIDTHS = {0x08: 1, 0x09: 1, 0x0B: 2, 0x0C: 4, 0x0D: 4, 0x0E: 8}


@dataclass(slots=True)
class Idx:
    """One array: its shape, how many values are there, its classes where it is a row of bytes."""

    path: str
    shape: tuple[int, ...] = ()
    values: int = 0
    problem: Text | None = None
    classes: Counter[int] = field(default_factory=Counter)


@check("media.idx", "1")
@dataclass(frozen=True, slots=True, kw_only=True)
class IdxArrays:
    """An IDX file holds as many values as its header says, and pictures have as many labels."""

    sees: ClassVar = "files"

    def wants(self, path: str, kind: Kind) -> bool:
        declared = by_name(path)[0]
        return declared is not None and declared.format == "idx"

    def start(self) -> list[Idx]:
        return []

    def observe(self, state: list[Idx], item: FileItem) -> list[Idx]:
        found = Idx(item.path)
        try:
            with _plain(item) as file:
                _read(file, found)
        except SourceProblem as why:
            found.problem = why.finding.note
        state.append(found)
        return state

    def merge(self, left: list[Idx], right: list[Idx]) -> list[Idx]:
        return left + right

    def conclude(self, state: list[Idx], package: PackageFiles) -> Conclusion:
        if not state:
            return Conclusion()
        by_path = {found.path: found for found in state}
        findings = []
        for found in state:
            note = found.problem or _unpaired(found, by_path)
            if note is not None:
                text = Text(f"{clip(found.path)}: {note.en}", f"{clip(found.path)}：{note.zh}")
                where = package.resource_of(found.path)
                findings.append((where, Finding(type="array-size", note=text)))
        whole = sum(found.problem is None for found in state)
        return Conclusion(
            metrics=(ratio("own:arrays_whole", whole, len(state)),),
            findings=tuple(findings[:1000]),
            evidence={
                "arrays": [
                    {
                        "file": clip(found.path, 200),
                        "shape": list(found.shape),
                        "classes": {str(k): n for k, n in sorted(found.classes.items())},
                    }
                    for found in state[:1000]
                ]
            },
        )


@contextmanager
def _plain(item: FileItem) -> Iterator[BinaryIO]:
    compression = by_name(item.path)[1] or None
    with (
        item.open() as raw,
        decompressed(cast(io.RawIOBase, raw), compression, None, size=item.size) as (file, _),
    ):
        yield cast(BinaryIO, file)


def _read(file: BinaryIO, found: Idx) -> None:
    head = file.read(4)
    if len(head) < 4 or head[:2] != b"\0\0" or head[2] not in _WIDTHS or not 0 < head[3] <= 8:
        found.problem = Text("its header is no IDX header", "文件头不是 IDX 格式")
        return
    sizes = file.read(4 * head[3])
    if len(sizes) < 4 * head[3]:
        found.problem = Text("it breaks off in its header", "文件头被截断")
        return
    found.shape = struct.unpack(f">{head[3]}I", sizes)
    declared = 1
    for size in found.shape:
        declared *= size
    count = 0
    while chunk := file.read(CHUNK):
        count += len(chunk)
        if head[2] == 0x08 and head[3] == 1:
            values, times = np.unique(np.frombuffer(chunk, np.uint8), return_counts=True)
            found.classes.update(dict(zip(values.tolist(), times.tolist(), strict=True)))
    found.values = count // _WIDTHS[head[2]]
    if count != declared * _WIDTHS[head[2]]:
        found.problem = Text(
            f"it declares {declared} values and holds {found.values}",
            f"声明 {declared} 个数值，实有 {found.values} 个",
        )


def _unpaired(found: Idx, by_path: dict[str, Idx]) -> Text | None:
    """See that pictures have as many labels: their names differ in that word and the rank."""
    name = found.path
    if "images-idx3" not in name or not found.shape:
        return None
    labels = by_path.get(name.replace("images-idx3", "labels-idx1"))
    if labels is None or not labels.shape or labels.shape[0] == found.shape[0]:
        return None
    return Text(
        f"it has {found.shape[0]} pictures for {labels.shape[0]} labels",
        f"有 {found.shape[0]} 张图片，却有 {labels.shape[0]} 个标签",
    )
