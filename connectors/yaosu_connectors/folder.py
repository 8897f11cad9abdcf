"""A catalog as a folder of Data Packages: every dataset a folder with its files and descriptor.

    market/
      catalog.json                  origin id, folder, digest of each dataset (made by publish)
      gdp/datapackage.json          one dataset …
      gdp/data/gdp.csv              … and its files, at the paths its resources name
      loose.datapackage.json        a descriptor may also stand alone, beside the files it names

Where nobody wrote a `catalog.json`, the path below the root is the origin id.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from yaosu_schemas.canonical import digest
from yaosu_schemas.errors import InvalidInput, NotFound, Problem, Text, UnsafePath, YaosuError
from yaosu_schemas.paths import collisions, is_remote, safe_path
from yaosu_schemas.texts import clip

from . import local
from .connector import About, Delivered, Record, Report, Skipped
from .shelf import INDEX, Shelf, read_index

DESCRIPTORS = ("datapackage.json", "datapackage.yaml", "datapackage.yml")


class FolderCatalog:
    """Harvests, publishes and delivers Data Packages (v1 and v2) as plain folders."""

    def about(self) -> About:
        return About(
            name="folder",
            title=Text("Folder of Data Packages", "数据包文件夹"),
            speaks=("Data Package v2", "Data Package v1"),
        )

    def harvest(self, source: str, /) -> Iterator[Record | Skipped]:
        root = local.open_root(source)
        origins = {folder: origin for origin, (folder, _) in read_index(root).items()}
        return _harvest(root, origins)

    def publish(self, records: Iterable[Record], target: str, /, *, prune: bool = False) -> Report:
        shelf = Shelf(root=local.make_root(target), marker=DESCRIPTORS[0], describe=_describe)
        return shelf.publish(records, prune=prune)

    def deliver(self, record: Record, target: str, /) -> Iterator[Delivered]:
        return deliver(record, target)


def deliver(record: Record, target: str) -> Iterator[Delivered]:
    """Copy the files of a record below a folder, each whole or not at all."""
    root = local.make_root(target)
    for path, file in record.files.items():
        place = root / safe_path(path)
        place.parent.mkdir(parents=True, exist_ok=True)
        if place.parent.resolve() != root / PurePosixPath(path).parent:
            raise UnsafePath(
                f"the path {clip(path)!r} leads through a symbolic link",
                f"路径“{clip(path)}”经过符号链接",
            )
        arriving = place.with_name(f".{hashlib.sha256(path.encode()).hexdigest()[:16]}.part")
        arriving.unlink(missing_ok=True)
        size, found = local.copy_file(file, arriving)
        os.replace(arriving, place)
        yield Delivered(path=path, bytes=size, hash=found)


# --- reading -----------------------------------------------------------------------------------


def _harvest(root: Path, origins: Mapping[str, str]) -> Iterator[Record | Skipped]:
    walking = local.walk(root)
    step = next(walking, None)
    while step is not None:
        if isinstance(step, local.Refused):
            yield Skipped(origin_id=step.path, why=step.why)
            step = next(walking, None)
            continue
        named = next((name for name in DESCRIPTORS if name in step.files), None)
        if named is not None:
            origin = origins.get(step.path, step.path or ".")
            yield _read(root / step.path, named, origin)
        else:
            for name in _loose_descriptors(root / step.path, step.files):
                path = f"{step.path}/{name}" if step.path else name
                yield _read(root / step.path, name, origins.get(path, path))
        # The folders below a dataset hold its files, not other datasets; the root may hold both.
        step = after(walking, stay_out=named is not None and bool(step.path))


def after(walking: Any, *, stay_out: bool) -> Any:
    """Return the next step of a walk, told whether to look below this folder."""
    try:
        return walking.send(stay_out)
    except StopIteration:
        return None


def _loose_descriptors(folder: Path, files: Iterable[str]) -> Iterator[str]:
    """Yield the JSON files that are descriptors by name, or by holding a list of resources."""
    for name in files:
        if name.endswith((".datapackage.json", ".datapackage.yaml")):
            yield name
        elif name.endswith(".json") and name != INDEX:
            try:
                document = local.read_document(folder / name)
            except (YaosuError, OSError):
                continue  # a data file, or nothing of ours
            if isinstance(document, dict) and isinstance(document.get("resources"), list):
                yield name


def _read(folder: Path, name: str, origin_id: str) -> Record | Skipped:
    """Return one dataset, or why it cannot be brought over."""
    try:
        document = local.read_document(folder / name)
        if not isinstance(document, dict):
            raise InvalidInput("the descriptor is not an object", "描述文件不是 JSON 对象")
        if "resources" in document:
            document = {**document, "resources": _resources(folder, document)}
        files, notes = _files(folder, document.get("resources", []))
        hashes = {path: local.file_digest(file)[1] for path, file in files.items()}
        said = digest({"document": document, "files": hashes})
    except (YaosuError, OSError) as e:
        return Skipped(origin_id=origin_id, why=local.why_not(e))
    return Record(
        origin_id=origin_id,
        kind="dataset",
        document=document,
        digest=said,
        files=files,
        notes=tuple(notes),
    )


def _resources(folder: Path, document: Mapping[str, Any]) -> list[Any]:
    """Return the resources with the schemas and dialects they keep in other files put in."""
    resources = document["resources"]
    if not isinstance(resources, list):
        raise InvalidInput("`resources` is not a list", "`resources` 不是列表")
    found: list[Any] = []
    for resource in resources:
        if isinstance(resource, dict):
            told = {key: resource[key] for key in ("schema", "dialect") if key in resource}
            inside = {key: _inside(folder, value) for key, value in told.items()}
            found.append({**resource, **inside})
        else:
            found.append(resource)
    return found


def _inside(folder: Path, value: Any) -> Any:
    if not isinstance(value, str):
        return value
    if is_remote(value):
        raise UnsafePath(
            f"it points to {clip(value)!r}, which is never fetched",
            f"指向外部地址“{clip(value)}”，不会下载",
        )
    return local.read_document(local.plain_file(folder, value))


def _files(folder: Path, resources: Iterable[Any]) -> tuple[dict[str, Path], list[Problem]]:
    """Return the files that resources name, and a note for each that is missing."""
    files: dict[str, Path] = {}
    notes: list[Problem] = []
    for number, resource in enumerate(resources):
        path = resource.get("path") if isinstance(resource, dict) else None
        for part in path if isinstance(path, list) else [path] if path is not None else []:
            if not isinstance(part, str):
                raise InvalidInput("a path is not text", "路径不是文本")
            try:
                files[part] = local.plain_file(folder, part)
            except NotFound as e:
                pointer = f"/resources/{number}/path"
                notes.append(Problem(pointer=pointer, code="missing_file", en=e.en, zh=e.zh))
    for one, other in collisions(files):
        raise UnsafePath(
            f"the paths {clip(one)!r} and {clip(other)!r} are one on many systems",
            f"路径“{clip(one)}”与“{clip(other)}”在许多系统上相同",
        )
    return files, notes


def _describe(folder: Path, record: Record) -> None:
    local.write_document(folder / DESCRIPTORS[0], dict(record.document))
