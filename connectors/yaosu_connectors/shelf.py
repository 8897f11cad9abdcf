"""A folder of datasets with its index: each is written whole or not at all, and found again.

shelf/
  catalog.json     origin id, folder and digest of each dataset
  gdp/…            one dataset, as the connector that owns the shelf writes it
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from yaosu_schemas.errors import InvalidInput, NotFound, Text, UnsafePath, YaosuError
from yaosu_schemas.paths import collisions, path_problem, safe_path
from yaosu_schemas.texts import clip, text_problem

from . import local
from .connector import Change, Record, Report

INDEX = "catalog.json"
INDEX_EVERY = 100
Index = dict[str, tuple[str, str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Shelf:
    """Writes records as folders: their files, and what `describe` puts beside them.

    `marker` is the file by which a folder is known as a dataset of this shelf.
    """

    root: Path
    marker: str
    describe: Callable[[Path, Record], None]

    def publish(self, records: Iterable[Record], *, prune: bool) -> Report:
        """Write what is new or changed; remove what is gone only with `prune`."""
        index = read_index(self.root)
        changes: list[Change] = []
        named: set[str] = set()
        try:
            for number, record in enumerate(records, 1):
                changes.append(self._publish(index, record, named))
                named.add(record.origin_id)
                if number % INDEX_EVERY == 0:
                    _write_index(self.root, index)
            if prune:
                changes += [self._remove(index, origin) for origin in sorted(set(index) - named)]
        finally:
            if any(change.outcome in ("added", "changed", "removed") for change in changes):
                _write_index(self.root, index)
        return Report.of(changes)

    def _publish(self, index: Index, record: Record, named: set[str]) -> Change:
        """Write one dataset and note it in the index."""
        origin = record.origin_id
        if record.kind != "dataset":
            why = Text("a folder of datasets holds datasets only", "数据集文件夹只收录数据集")
            return Change(outcome="skipped", origin_id=origin, why=why)
        if origin in named:
            why = Text("the source names it twice", "来源中出现了两次")
            return Change(outcome="skipped", origin_id=origin, why=why)
        folder, said = index.get(origin, ("", ""))
        there = bool(folder) and (self.root / folder / self.marker).is_file()
        if there and said == record.digest:
            return Change(outcome="unchanged", origin_id=origin, record=record)
        folder = folder or _free_name(self.root, index, record)
        try:
            self._write(folder, record)
        except (InvalidInput, NotFound) as e:
            return Change(outcome="skipped", origin_id=origin, why=local.why_not(e))
        index[origin] = (folder, record.digest)
        return Change(outcome="changed" if there else "added", origin_id=origin, record=record)

    def _write(self, folder: str, record: Record) -> None:
        for one, other in collisions([*record.files, self.marker]):
            raise UnsafePath(
                f"the paths {clip(one)!r} and {clip(other)!r} are one on many systems",
                f"路径“{clip(one)}”与“{clip(other)}”在许多系统上相同",
            )
        arriving = Path(tempfile.mkdtemp(prefix=".yaosu-", dir=self.root))
        try:
            for path, file in record.files.items():
                place = arriving / safe_path(path)
                place.parent.mkdir(parents=True, exist_ok=True)
                local.copy_file(file, place)
            self.describe(arriving, record)
            arriving.chmod(0o755)
            _swap(self.root, arriving, self.root / folder)
        finally:
            shutil.rmtree(arriving, ignore_errors=True)

    def _remove(self, index: Index, origin: str) -> Change:
        folder, _ = index.pop(origin)
        place = self.root / folder
        ours = place.is_dir() and place.resolve() == self.root / folder
        if ours and (place / self.marker).is_file():
            shutil.rmtree(place)
        return Change(outcome="removed", origin_id=origin)


def read_index(root: Path) -> Index:
    """Return folder and digest by origin id; what does not read as an index is none."""
    try:
        document = local.read_document(local.plain_file(root, INDEX))
    except (YaosuError, OSError):
        return {}
    entries = document.get("datasets") if isinstance(document, dict) else None
    index: Index = {}
    for entry in entries if isinstance(entries, list) else []:
        if not isinstance(entry, dict):
            continue
        told = [entry.get(key) for key in ("origin_id", "folder", "digest")]
        if all(isinstance(value, str) and len(value) <= 500 for value in told):
            origin, folder, said = map(str, told)
            if path_problem(folder) is None and text_problem(origin, layout=False) is None:
                index[origin] = (folder, said)
    return index


def _write_index(root: Path, index: Index) -> None:
    datasets = [
        {"origin_id": origin, "folder": folder, "digest": said}
        for origin, (folder, said) in sorted(index.items())
    ]
    local.write_document(root / INDEX, {"datasets": datasets})


def _free_name(root: Path, index: Index, record: Record) -> str:
    """Return a folder name that reads like the dataset and is nobody else's."""
    name = re.sub(r"[^a-z0-9._-]+", "-", str(record.document.get("name", "")).lower())[:80]
    name = name.strip("._-") or "dataset"
    taken = {folder for folder, _ in index.values()} | {INDEX}
    if name in taken or os.path.lexists(root / name):
        name = f"{name}-{hashlib.sha256(record.origin_id.encode()).hexdigest()[:12]}"
    return name


def _swap(root: Path, arriving: Path, place: Path) -> None:
    """Put a finished folder in the place of an older one."""
    if not os.path.lexists(place):
        place.parent.mkdir(parents=True, exist_ok=True)
        arriving.rename(place)
        return
    if place.is_symlink():
        raise UnsafePath("a symbolic link stands in its place", "目标位置是符号链接")
    old = Path(tempfile.mkdtemp(prefix=".yaosu-", dir=root))
    place.rename(old / "old")
    arriving.rename(place)
    shutil.rmtree(old, ignore_errors=True)
