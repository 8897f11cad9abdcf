"""What a market finds wrong in a descriptor, the data files it names, and their paths."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from typing import Any

import orjson

from yaosu_schemas.documents import breaks, descriptor_problems
from yaosu_schemas.paths import is_remote, safe_path

from .errors import Problem, UnsafePath

MAX_PROBLEMS = 1000
"""More of them help nobody; errors come first when the rest is left out."""

OWN_NAMES = frozenset({"datapackage.json", "datapackage.yaml", "datapackage.yml"})
"""Names that the descriptor itself has beside the data."""


_KEPT = 64
_kept: OrderedDict[tuple[str, bytes], tuple[Problem, ...]] = OrderedDict()
_lock = threading.Lock()


def judged(descriptor: dict[str, Any], stage: str) -> list[Problem]:
    """Return every problem of a descriptor and of its paths, remembered for a while.

    A large descriptor takes seconds: whoever judges it beside the writer first leaves the
    writer only a digest to compute. At the stage `breaks` these are the errors alone that not even
    a draft may have, which takes a fraction of the time.
    """
    whole = orjson.dumps(descriptor, option=orjson.OPT_SORT_KEYS)
    mark = hashlib.sha256(whole).digest()
    known = _remembered(stage, mark)
    if known is None and stage == "breaks":
        more = _remembered("draft", mark)
        known = None if more is None else [p for p in more if p.severity == "error"]
    if known is not None:
        return known
    if stage == "breaks":
        found = breaks(descriptor)
    else:
        found = descriptor_problems(descriptor, stage="submit" if stage == "submit" else "draft")
    found = [*found, *path_problems(descriptor)]
    if len(found) > MAX_PROBLEMS:
        found = sorted(found, key=lambda p: p.severity != "error")[:MAX_PROBLEMS]
    with _lock:
        _kept[stage, mark] = tuple(found)
        while len(_kept) > _KEPT:
            _kept.popitem(last=False)
    return found


def _remembered(stage: str, mark: bytes) -> list[Problem] | None:
    with _lock:
        known = _kept.get((stage, mark))
        if known is None:
            return None
        _kept.move_to_end((stage, mark))
        return list(known)


def path_problems(descriptor: dict[str, Any]) -> Iterator[Problem]:
    """Yield one problem per path that a service must not accept from strangers (S9, security)."""
    good: dict[str, str] = {}
    for pointer, path in resource_paths(descriptor):
        if is_remote(path):
            yield Problem(
                pointer=pointer,
                code="remote_path",
                en="remote paths are recorded in `sources`, never fetched: give the file itself",
                zh="不接受远程路径（请写入 sources），请提供文件本身",
            )
            continue
        try:
            good.setdefault(safe_path(path), pointer)
        except UnsafePath as error:
            yield Problem(pointer=pointer, code=error.code, en=error.en, zh=error.zh)
            continue
        if path.casefold() in OWN_NAMES:
            yield Problem(
                pointer=pointer,
                code="unsafe_path",
                en="this is the name of the descriptor itself",
                zh="该名称由数据描述文件自身占用",
            )
    yield from _under_files(good)


def _under_files(paths: dict[str, str]) -> Iterator[Problem]:
    """Yield one problem per path that would need a folder where the package has a file."""
    for path, pointer in paths.items():
        parts = path.split("/")
        if any("/".join(parts[:n]) in paths for n in range(1, len(parts))):
            yield Problem(
                pointer=pointer,
                code="path_collision",
                en="a part of this path is a file of the package",
                zh="路径的一部分已是包内的文件",
            )


def resource_paths(descriptor: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield (JSON pointer, path) of every data path of the descriptor."""
    resources = descriptor.get("resources")
    for i, resource in enumerate(resources if isinstance(resources, list) else ()):
        path = resource.get("path") if isinstance(resource, dict) else None
        if isinstance(path, str):
            yield f"/resources/{i}/path", path
        elif isinstance(path, list):
            for j, part in enumerate(path):
                if isinstance(part, str):
                    yield f"/resources/{i}/path/{j}", part


def files_of(descriptor: dict[str, Any]) -> Iterator[tuple[str, str, str, int | None]]:
    """Yield (JSON pointer, path, sha256 hex or "", bytes) of every data file."""
    for i, resource in enumerate(descriptor.get("resources") or ()):
        path = resource.get("path")
        if isinstance(path, str):
            yield f"/resources/{i}", path, _hex(resource.get("hash")), resource.get("bytes")
        elif isinstance(path, list):
            parts = {p.get("path"): p for p in resource.get("parts") or () if isinstance(p, dict)}
            for j, name in enumerate(path):
                part = parts.get(name, {})
                yield (
                    f"/resources/{i}/path/{j}",
                    str(name),
                    _hex(part.get("hash")),
                    part.get("bytes"),
                )


def _hex(value: object) -> str:
    return value[7:] if isinstance(value, str) and value.startswith("sha256:") else ""


TABULAR = ("csv", "tsv", "json", "jsonl", "ndjson", "parquet", "pq", "arrow", "feather", "ipc")


def tables_of(descriptor: Mapping[str, Any]) -> list[str]:
    """Return the names of the resources of a package that are tables in one file."""
    found = []
    for resource in descriptor.get("resources") or ():
        path = resource.get("path") if isinstance(resource, dict) else None
        if not isinstance(path, str) or resource.get("type") not in (None, "table"):
            continue
        suffixes = path.lower().split("/")[-1].split(".")[1:]
        if any(s in TABULAR for s in suffixes) or resource.get("format") in TABULAR:
            found.append(str(resource["name"]))
    return found
